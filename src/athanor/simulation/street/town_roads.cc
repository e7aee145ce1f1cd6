// The ground of a town: which of it is taken, roads, markings, sidewalks, islands.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "athanor/simulation/street/town_parts.h"

namespace athanor {
namespace {

using Eigen::Vector2d;
using Eigen::Vector2f;
using Eigen::Vector3d;
using Eigen::Vector3f;
using Line = std::vector<Vector3d>;

constexpr double kCell_m = 0.5;
constexpr double kMarkingHeight_m = 0.012;

double SignedArea(const Line& outline) {
  double area = 0;
  for (size_t i = 0; i < outline.size(); ++i) {
    const Vector3d &a = outline[i], &b = outline[(i + 1) % outline.size()];
    area += a.x() * b.y() - b.x() * a.y();
  }
  return area / 2;
}

// Counter-clockwise, without repeated points.
std::vector<Vector2f> Outline(const Line& shape) {
  Line line;
  for (const Vector3d& p : shape) {
    if (line.empty() || (p - line.back()).head<2>().norm() > 0.01) line.push_back(p);
  }
  while (line.size() > 1 && (line.front() - line.back()).head<2>().norm() <= 0.01) line.pop_back();
  if (SignedArea(line) < 0) std::reverse(line.begin(), line.end());
  std::vector<Vector2f> outline;
  for (const Vector3d& p : line) outline.push_back(p.head<2>().cast<float>());
  return outline;
}

// A strip between two distances to the left of a line, `lift_m` over it, facing up.
void AddStrip(const Line& line, double right_m, double left_m, double lift_m, MeshBuilder* out) {
  if (line.size() < 2) return;
  const Line right = OffsetLine(line, right_m), left = OffsetLine(line, left_m);
  const Vector3f lift(0, 0, static_cast<float>(lift_m));
  for (size_t i = 0; i + 1 < line.size(); ++i) {
    out->AddQuad(right[i].cast<float>() + lift, right[i + 1].cast<float>() + lift,
                 left[i + 1].cast<float>() + lift, left[i].cast<float>() + lift);
  }
}

// Dashes along a line; `gap_m` = 0 makes it whole.
void AddDashes(const Line& line, double offset_m, double width_m, double dash_m, double gap_m,
               MeshBuilder* out) {
  const Line moved = OffsetLine(line, offset_m);
  const double length = LineLength(moved);
  if (gap_m <= 0) return AddStrip(moved, -width_m / 2, width_m / 2, kMarkingHeight_m, out);
  for (double s = gap_m / 2; s + dash_m < length; s += dash_m + gap_m) {
    AddStrip(SliceLine(moved, s, s + dash_m), -width_m / 2, width_m / 2, kMarkingHeight_m, out);
  }
}

// The raised strip of a sidewalk with its kerbs.
void AddRaisedStrip(const Line& line, double width_m, MeshBuilder* out) {
  AddStrip(line, -width_m / 2, width_m / 2, kKerbHeight, out);
  for (const double side : {-1.0, 1.0}) {
    const Line edge = OffsetLine(line, side * width_m / 2);
    const Vector3f up(0, 0, static_cast<float>(kKerbHeight)), down(0, 0, -0.06f);
    for (size_t i = 0; i + 1 < edge.size(); ++i) {
      const Vector3f a = edge[i].cast<float>(), b = edge[i + 1].cast<float>();
      if (side < 0) {
        out->AddQuad(a + down, b + down, b + up, a + up);
      } else {
        out->AddQuad(b + down, a + down, a + up, b + up);
      }
    }
  }
}

// Straight ahead, left, right as painted on lanes; heads along the lane's end.
void AddArrow(const LinePoint& at, TurnDirection direction, MeshBuilder* out) {
  double turn = 0;
  if (direction == TurnDirection::kLeft || direction == TurnDirection::kPartLeft) turn = 1;
  if (direction == TurnDirection::kRight || direction == TurnDirection::kPartRight) turn = -1;
  const float c = static_cast<float>(std::cos(at.yaw_rad));
  const float s = static_cast<float>(std::sin(at.yaw_rad));
  const auto point = [&](float x, float y) {
    return Vector3f(static_cast<float>(at.position.x()) + c * x - s * y,
                    static_cast<float>(at.position.y()) + s * x + c * y,
                    static_cast<float>(at.position.z() + kMarkingHeight_m));
  };
  if (turn == 0) {
    out->AddQuad(point(0, -0.08f), point(2.4f, -0.08f), point(2.4f, 0.08f), point(0, 0.08f));
    out->AddTriangle(point(2.4f, -0.3f), point(3.6f, 0), point(2.4f, 0.3f));
  } else {
    const float side = static_cast<float>(turn);
    out->AddQuad(point(0, -0.08f), point(2.0f, -0.08f), point(2.0f, 0.08f), point(0, 0.08f));
    const Vector3f a = point(2.0f, 0.3f * side), b = point(2.0f, -0.08f * side);
    const Vector3f d = point(2.2f, 0.3f * side), e = point(2.2f, -0.08f * side);
    const Vector3f tip = point(2.1f, 0.95f * side), f = point(1.8f, 0.3f * side),
                   g = point(2.4f, 0.3f * side);
    if (side > 0) {
      out->AddQuad(b, e, d, a);
      out->AddTriangle(f, g, tip);
    } else {
      out->AddQuad(a, d, e, b);
      out->AddTriangle(tip, g, f);
    }
  }
}

}  // namespace

GroundMap::GroundMap(const Vector2d& low, const Vector2d& high)
    : low_(low),
      width_(static_cast<int>((high.x() - low.x()) / kCell_m) + 1),
      height_(static_cast<int>((high.y() - low.y()) / kCell_m) + 1),
      cells_(static_cast<size_t>(width_) * height_, kFree) {}

void GroundMap::MarkLine(const std::vector<Vector3d>& line, double radius_m, Use use) {
  const double length = LineLength(line);
  for (double s = 0;; s += kCell_m) {
    const Vector2d at =
        (PointOnLine(line, std::min(s, length)).position.head<2>() - low_) / kCell_m;
    const double r = radius_m / kCell_m;
    for (int y = std::max(0, static_cast<int>(at.y() - r));
         y < std::min<double>(height_, at.y() + r); ++y) {
      for (int x = std::max(0, static_cast<int>(at.x() - r));
           x < std::min<double>(width_, at.x() + r); ++x) {
        if ((Vector2d(x + 0.5, y + 0.5) - at).squaredNorm() <= r * r) cells_[Index(x, y)] |= use;
      }
    }
    if (s >= length) break;
  }
}

void GroundMap::MarkPolygon(const std::vector<Vector3d>& outline, double margin_m, Use use) {
  Vector2d low = outline.front().head<2>(), high = low;
  for (const Vector3d& p : outline) {
    low = low.cwiseMin(p.head<2>());
    high = high.cwiseMax(p.head<2>());
  }
  const Vector2d from = (low - low_) / kCell_m, to = (high - low_) / kCell_m;
  for (int y = std::max(0, static_cast<int>(from.y())); y < std::min<double>(height_, to.y() + 1);
       ++y) {
    for (int x = std::max(0, static_cast<int>(from.x())); x < std::min<double>(width_, to.x() + 1);
         ++x) {
      const Vector2d p = low_ + kCell_m * Vector2d(x + 0.5, y + 0.5);
      bool inside = false;
      for (size_t i = 0, j = outline.size() - 1; i < outline.size(); j = i++) {
        const Vector3d &a = outline[i], &b = outline[j];
        if ((a.y() > p.y()) != (b.y() > p.y()) &&
            p.x() < (b.x() - a.x()) * (p.y() - a.y()) / (b.y() - a.y()) + a.x()) {
          inside = !inside;
        }
      }
      if (inside) cells_[Index(x, y)] |= use;
    }
  }
  Line closed = outline;
  closed.push_back(outline.front());
  MarkLine(closed, margin_m, use);
}

template <typename F>
void GroundMap::Visit(const TownBuilding& rectangle, double margin_m, F&& visit) const {
  const double c = std::cos(rectangle.yaw_rad), s = std::sin(rectangle.yaw_rad);
  const Vector2d half = rectangle.half_m + Vector2d::Constant(margin_m);
  const int steps_x = static_cast<int>(std::ceil(2 * half.x() / (0.7 * kCell_m)));
  const int steps_y = static_cast<int>(std::ceil(2 * half.y() / (0.7 * kCell_m)));
  for (int i = 0; i <= steps_y; ++i) {
    for (int j = 0; j <= steps_x; ++j) {
      const double u = half.x() * (2.0 * j / steps_x - 1), v = half.y() * (2.0 * i / steps_y - 1);
      visit(Vector2d(rectangle.center_m + Vector2d(c * u - s * v, s * u + c * v)));
    }
  }
}

void GroundMap::MarkRectangle(const TownBuilding& rectangle, Use use) {
  Visit(rectangle, 0, [&](const Vector2d& point) {
    const Vector2d at = (point - low_) / kCell_m;
    if (at.minCoeff() < 0 || at.x() >= width_ || at.y() >= height_) return;
    cells_[Index(static_cast<int>(at.x()), static_cast<int>(at.y()))] |= use;
  });
}

uint8_t GroundMap::In(const TownBuilding& rectangle, double margin_m) const {
  uint8_t found = kFree;
  Visit(rectangle, margin_m, [&](const Vector2d& point) { found |= At(point); });
  return found;
}

uint8_t GroundMap::At(const Vector2d& point) const {
  const Vector2d at = (point - low_) / kCell_m;
  if (!(at.minCoeff() >= 0) || at.x() >= width_ || at.y() >= height_) return kBuilt;
  return cells_[Index(static_cast<int>(at.x()), static_cast<int>(at.y()))];
}

Line OffsetLine(const Line& line, double left_m) {
  Line moved;
  for (size_t i = 0; i < line.size(); ++i) {
    Vector2d before = Vector2d::Zero(), after = Vector2d::Zero();
    if (i > 0) before = (line[i] - line[i - 1]).head<2>().stableNormalized();
    if (i + 1 < line.size()) after = (line[i + 1] - line[i]).head<2>().stableNormalized();
    const Vector2d along = (before + after).stableNormalized();
    const Vector2d& edge = i > 0 ? before : after;
    // Mitred, but sharp corners are cut.
    const double stretch = 1 / std::max(0.5, along.dot(edge));
    moved.push_back(line[i] + left_m * stretch * Vector3d(-along.y(), along.x(), 0));
  }
  return moved;
}

Line SliceLine(const Line& line, double from_m, double to_m) {
  Line slice = {PointOnLine(line, from_m).position};
  double s = 0;
  for (size_t i = 0; i + 1 < line.size(); ++i) {
    s += (line[i + 1] - line[i]).norm();
    if (s > from_m + 1e-3 && s < to_m - 1e-3) slice.push_back(line[i + 1]);
  }
  slice.push_back(PointOnLine(line, to_m).position);
  return slice;
}

void AddRoads(const RoadNetwork& roads, const std::vector<int>& lanes,
              const std::vector<int>& junctions, const RoadBuilders& out) {
  SurfaceMaterial asphalt;
  asphalt.color = {0.115f, 0.115f, 0.12f};
  asphalt.second_color = {0.075f, 0.075f, 0.08f};
  asphalt.pattern = SurfaceMaterial::Pattern::kAsphalt;
  asphalt.pattern_scale = 3;
  asphalt.roughness = 0.9f;
  asphalt.lidar_reflectance = 0.16f;
  SurfaceMaterial cycle_way = asphalt;
  cycle_way.color = {0.24f, 0.085f, 0.06f};
  cycle_way.second_color = {0.16f, 0.06f, 0.045f};
  SurfaceMaterial parking = asphalt;
  parking.color = {0.16f, 0.155f, 0.15f};
  parking.second_color = {0.11f, 0.108f, 0.105f};
  SurfaceMaterial gravel = asphalt;
  gravel.color = {0.2f, 0.18f, 0.15f};
  gravel.second_color = {0.1f, 0.09f, 0.08f};
  SurfaceMaterial paint;
  paint.color = {0.62f, 0.62f, 0.6f};
  paint.second_color = {0.4f, 0.4f, 0.39f};
  paint.pattern = SurfaceMaterial::Pattern::kNoise;
  paint.pattern_scale = 3;
  paint.roughness = 0.7f;
  paint.lidar_reflectance = 0.45f;
  paint.retroreflection = 0.25f;  // glass beads
  SurfaceMaterial paving;
  paving.color = {0.34f, 0.33f, 0.31f};
  paving.second_color = {0.22f, 0.21f, 0.2f};
  paving.pattern = SurfaceMaterial::Pattern::kTiles;
  paving.pattern_scale = 2.2f;
  paving.lidar_reflectance = 0.3f;
  out.road->UseMaterial(asphalt);
  out.marking->UseMaterial(paint);
  out.sidewalk->UseMaterial(paving);
  out.road->BeginPart("road");
  out.marking->BeginPart("marking");
  out.sidewalk->BeginPart("sidewalk");

  for (const int j : junctions) {
    const RoadJunction& junction = roads.junctions[j];
    const std::vector<Vector2f> outline = Outline(junction.shape);
    if (outline.size() >= 3) {
      out.road->AddPolygon(outline, static_cast<float>(junction.shape.front().z() - 0.004));
    }
  }
  // Which turns each lane allows, for the arrows.
  std::vector<TurnDirection> turn(roads.lanes.size(), TurnDirection::kNone);
  for (const RoadConnection& connection : roads.connections) {
    TurnDirection& known = turn[connection.from_lane];
    if (known == TurnDirection::kNone || connection.direction == TurnDirection::kStraight) {
      known = connection.direction;
    }
  }
  for (const int i : lanes) {
    const RoadLane& lane = roads.lanes[i];
    const RoadEdge& edge = roads.edges[lane.edge];
    const double half = lane.width_m / 2;
    switch (lane.kind) {
      case LaneKind::kWalkingArea: {
        const std::vector<Vector2f> outline = Outline(lane.shape);
        if (outline.size() < 3) continue;
        const auto z = static_cast<float>(lane.shape.front().z());
        out.sidewalk->AddExtrusion(outline, z - 0.06f,
                                   z + static_cast<float>(kKerbHeight) - 0.003f);
        continue;
      }
      case LaneKind::kSidewalk:
        AddRaisedStrip(lane.shape, lane.width_m, out.sidewalk);
        continue;
      case LaneKind::kCrossing: {
        // Bars along the traffic's direction, a metre apart.
        const double length = LineLength(lane.shape);
        for (double s = 0.3; s + 0.5 < length; s += 1.0) {
          AddStrip(SliceLine(lane.shape, s, s + 0.5), -half, half, kMarkingHeight_m, out.marking);
        }
        continue;
      }
      default:
        break;
    }
    // Ways cross inside junctions: one surface for all, or they would flicker.
    out.road->UseMaterial(edge.inside_junction                ? asphalt
                          : lane.kind == LaneKind::kBicycle   ? cycle_way
                          : lane.kind == LaneKind::kForbidden ? parking
                          : lane.kind == LaneKind::kRail      ? gravel
                                                              : asphalt);
    // Lanes inside junctions lie a little lower, so that paint on them is never buried.
    AddStrip(lane.shape, -half - 0.02, half + 0.02, edge.inside_junction ? -0.002 : 0, out.road);
    if (edge.inside_junction) continue;
    const bool motor = lane.kind == LaneKind::kDriving || lane.kind == LaneKind::kBus;
    if (!motor) continue;
    const RoadLane* left = nullptr;
    if (lane.index + 1 < static_cast<int>(edge.lanes.size())) {
      left = &roads.lanes[edge.lanes[lane.index + 1]];
    }
    const RoadLane* right = lane.index > 0 ? &roads.lanes[edge.lanes[lane.index - 1]] : nullptr;
    const double length = LineLength(lane.shape);
    if (left != nullptr && left->kind == LaneKind::kDriving) {
      AddDashes(lane.shape, half, 0.13, 3, 4.5, out.marking);
    } else if (left == nullptr && edge.roundabout < 0) {
      // The middle of the road, drawn by both directions; near junctions it is whole.
      AddDashes(lane.shape, half - 0.03, 0.14, 3, edge.lanes.size() > 2 || length < 30 ? 0 : 3,
                out.marking);
    }
    if (right == nullptr || right->kind != LaneKind::kDriving) {
      if (right == nullptr || right->kind != LaneKind::kForbidden) {
        AddDashes(lane.shape, -half + 0.12, 0.11, 1, 0, out.marking);
      } else {
        AddDashes(lane.shape, -half, 0.1, 0.8, 0.8, out.marking);
      }
    }
    if (edge.to_junction < 0 || length < 6) continue;
    const RoadJunction& to = roads.junctions[edge.to_junction];
    if (to.type != "dead_end") {
      const bool lit = to.type == "traffic_light";
      const Line stop = SliceLine(lane.shape, length - (lit ? 0.75 : 0.55), length - 0.2);
      if (lit) {
        AddStrip(stop, -half + 0.1, half - 0.1, kMarkingHeight_m, out.marking);
      } else if (edge.roundabout < 0) {
        for (double y = -half + 0.25; y + 0.5 < half; y += 0.8) {
          AddStrip(stop, y, y + 0.5, kMarkingHeight_m, out.marking);
        }
      }
    }
    if (length > 30 && edge.roundabout < 0 && turn[i] != TurnDirection::kNone &&
        (edge.lanes.size() > 2 || to.type == "traffic_light")) {
      AddArrow(PointOnLine(lane.shape, length - 10), turn[i], out.marking);
    }
  }
}

void AddIsland(const Roundabout& roundabout, double lanes_half_width_m, double ground_z,
               MeshBuilder* out) {
  const auto radius = static_cast<float>(roundabout.radius_m - lanes_half_width_m - 0.4);
  if (radius < 0.6f) return;
  SurfaceMaterial kerb;
  kerb.color = Vector3f::Constant(0.45f);
  kerb.lidar_reflectance = 0.35f;
  SurfaceMaterial grass;
  grass.color = {0.15f, 0.27f, 0.06f};
  grass.second_color = {0.09f, 0.16f, 0.04f};
  grass.pattern = SurfaceMaterial::Pattern::kGrass;
  grass.lidar_reflectance = 0.45f;
  const Vector3f base(static_cast<float>(roundabout.center_m.x()),
                      static_cast<float>(roundabout.center_m.y()), static_cast<float>(ground_z));
  out->UseMaterial(kerb);
  out->BeginPart("kerb");
  out->AddLathe(
      base, {{radius, -0.05f}, {radius, 0.14f}, {radius - 0.35f, 0.16f}, {radius - 0.35f, 0.1f}},
      40);
  out->UseMaterial(grass);
  out->BeginPart("island");
  out->AddLathe(base,
                {{radius - 0.3f, 0.0f},
                 {radius - 0.32f, 0.12f},
                 {0.6f * radius, 0.12f + 0.03f * radius},
                 {0.0f, 0.12f + 0.05f * radius}},
                40);
}

}  // namespace athanor
