#include <algorithm>
#include <cmath>
#include <limits>

#include "athanor/base/error.h"
#include "athanor/media/draw.h"
#include "athanor/simulation/traffic/traffic.h"

namespace athanor {
namespace {

constexpr Color kGround = {226, 232, 218}, kRoad = {128, 130, 134}, kSidewalk = {196, 190, 182},
                kStrip = {150, 148, 150}, kCycle = {176, 120, 108}, kEgo = {220, 20, 30};

class Canvas {
 public:
  Canvas(int width, int height, const Eigen::Vector2d& corner, double px_per_m)
      : image_(width, height, 3), corner_(corner), scale_(px_per_m) {
    FillRectangle(&image_, 0, 0, width, height, kGround);
  }

  // North is up.
  Eigen::Vector2d Pixel(const Eigen::Vector2d& world) const {
    return {(world.x() - corner_.x()) * scale_, image_.height - (world.y() - corner_.y()) * scale_};
  }
  double scale() const { return scale_; }
  Image& image() { return image_; }

  bool Sees(const Eigen::Vector2d& world, double margin_m) const {
    const Eigen::Vector2d p = Pixel(world);
    const double margin = margin_m * scale_;
    return p.x() > -margin && p.y() > -margin && p.x() < image_.width + margin &&
           p.y() < image_.height + margin;
  }

  void Line(const Eigen::Vector2d& a, const Eigen::Vector2d& b, Color color, double width_px) {
    if (!Sees(a, 5) && !Sees(b, 5) && !Sees((a + b) / 2, (b - a).norm() / 2 + 5)) return;
    const Eigen::Vector2d p = Pixel(a), q = Pixel(b);
    DrawLine(&image_, p.x(), p.y(), q.x(), q.y(), color, std::max(width_px, 1.0));
  }

  // Any simple polygon, by even-odd scan lines.
  void Fill(const std::vector<Eigen::Vector2d>& polygon, Color color) {
    if (polygon.size() < 3) return;
    std::vector<Eigen::Vector2d> p;
    double low = std::numeric_limits<double>::infinity(), high = -low;
    for (const Eigen::Vector2d& world : polygon) {
      p.push_back(Pixel(world));
      low = std::min(low, p.back().y());
      high = std::max(high, p.back().y());
    }
    const int first = std::max(0, static_cast<int>(std::floor(std::min(low, 1e6))));
    const int last = std::min(image_.height - 1, static_cast<int>(std::ceil(std::min(high, 1e6))));
    std::vector<double> cuts;
    for (int y = first; y <= last; ++y) {
      cuts.clear();
      for (size_t i = 0; i < p.size(); ++i) {
        const Eigen::Vector2d &a = p[i], &b = p[(i + 1) % p.size()];
        const double at = y + 0.5;
        if ((a.y() <= at) != (b.y() <= at)) {
          cuts.push_back(a.x() + (at - a.y()) / (b.y() - a.y()) * (b.x() - a.x()));
        }
      }
      std::sort(cuts.begin(), cuts.end());
      for (size_t i = 0; i + 1 < cuts.size(); i += 2) {
        const int x0 = static_cast<int>(std::lround(std::clamp(cuts[i], 0.0, 1e6)));
        const int x1 = static_cast<int>(std::lround(std::clamp(cuts[i + 1], 0.0, 1e6)));
        FillRectangle(&image_, x0, y, std::min(x1, image_.width) - x0, 1, color);
      }
    }
  }

 private:
  Image image_;
  Eigen::Vector2d corner_;
  double scale_;
};

std::vector<Eigen::Vector2d> Flat(const std::vector<Eigen::Vector3d>& line) {
  std::vector<Eigen::Vector2d> flat;
  for (const Eigen::Vector3d& point : line) flat.push_back(point.head<2>());
  return flat;
}

void DrawLane(const RoadLane& lane, Color color, Canvas* canvas) {
  for (size_t i = 1; i < lane.shape.size(); ++i) {
    canvas->Line(lane.shape[i - 1].head<2>(), lane.shape[i].head<2>(), color,
                 lane.width_m * canvas->scale());
  }
}

void DrawRoads(const RoadNetwork& roads, Canvas* canvas) {
  for (const RoadLane& lane : roads.lanes) {
    if (lane.kind == LaneKind::kWalkingArea) canvas->Fill(Flat(lane.shape), kSidewalk);
    if (lane.kind == LaneKind::kSidewalk) DrawLane(lane, kSidewalk, canvas);
  }
  for (const RoadJunction& junction : roads.junctions) canvas->Fill(Flat(junction.shape), kRoad);
  for (const RoadLane& lane : roads.lanes) {
    if (lane.kind == LaneKind::kWalkingArea) canvas->Fill(Flat(lane.shape), kSidewalk);
  }
  for (const RoadLane& lane : roads.lanes) {
    if (roads.edges[lane.edge].inside_junction) continue;
    if (lane.kind == LaneKind::kForbidden) DrawLane(lane, kStrip, canvas);
    if (lane.kind == LaneKind::kDriving || lane.kind == LaneKind::kBus)
      DrawLane(lane, kRoad, canvas);
    if (lane.kind == LaneKind::kBicycle) DrawLane(lane, kCycle, canvas);
  }
  for (const RoadLane& lane : roads.lanes) {
    const RoadEdge& edge = roads.edges[lane.edge];
    if (lane.kind == LaneKind::kCrossing) {  // stripes along the way of the cars
      const double length = LineLength(lane.shape);
      for (double s = 0.4; s < length; s += 1.0) {
        const LinePoint at = PointOnLine(lane.shape, s);
        const Eigen::Vector2d side =
            Eigen::Vector2d(-std::sin(at.yaw_rad), std::cos(at.yaw_rad)) * lane.width_m / 2;
        canvas->Line(at.position.head<2>() - side, at.position.head<2>() + side, kWhite,
                     0.5 * canvas->scale());
      }
    } else if (!edge.inside_junction && canvas->scale() > 3 &&
               (lane.kind == LaneKind::kDriving || lane.kind == LaneKind::kBus)) {
      for (size_t i = 1; i < lane.shape.size(); ++i) {  // the line on its left
        const Eigen::Vector2d a = lane.shape[i - 1].head<2>(), b = lane.shape[i].head<2>();
        const Eigen::Vector2d along = (b - a).normalized();
        const Eigen::Vector2d side = Eigen::Vector2d(-along.y(), along.x()) * lane.width_m / 2;
        canvas->Line(a + side, b + side, {220, 220, 220}, 0.12 * canvas->scale());
      }
    }
  }
}

Color ColorOf(ActorClass actor_class) {
  switch (actor_class) {
    case ActorClass::kCar:
      return {40, 90, 200};
    case ActorClass::kVan:
      return {30, 140, 190};
    case ActorClass::kTruck:
      return {110, 60, 160};
    case ActorClass::kBus:
      return {230, 170, 20};
    case ActorClass::kTrailer:
      return {150, 100, 190};
    case ActorClass::kMotorcycle:
      return {20, 60, 90};
    case ActorClass::kBicycle:
      return {20, 150, 60};
    case ActorClass::kPedestrian:
      return {200, 60, 160};
    case ActorClass::kScooter:
    case ActorClass::kStroller:
    case ActorClass::kWheelchair:
      return {240, 120, 200};
    case ActorClass::kDog:
      return {120, 60, 10};
    case ActorClass::kSheep:
      return {255, 255, 250};
    case ActorClass::kBag:
      return {120, 220, 240};
    case ActorClass::kShrub:
      return {60, 130, 40};
    case ActorClass::kFence:
    case ActorClass::kBarrier:
      return {200, 40, 20};
    case ActorClass::kCone:
      return {255, 110, 0};
    case ActorClass::kCargo:
      return {150, 110, 60};
    case ActorClass::kConstructionWorker:
      return {190, 220, 0};
    case ActorClass::kConstructionVehicle:
      return {230, 140, 0};
    case ActorClass::kBicycleRack:
      return {120, 120, 130};
    case ActorClass::kPushable:
      return {50, 90, 50};
  }
  return kBlack;
}

void DrawActor(const Box3& box, Color color, bool vehicle, Canvas* canvas) {
  const Eigen::Vector3d center = box.frame_from_box.translation;
  if (!canvas->Sees(center.head<2>(), 20)) return;
  const Eigen::Vector3d half = box.size_m / 2;
  const auto corner = [&](double x, double y) -> Eigen::Vector2d {
    return (box.frame_from_box * Eigen::Vector3d(x * half.x(), y * half.y(), 0)).head<2>();
  };
  const std::vector<Eigen::Vector2d> outline = {corner(1, 1), corner(1, -1), corner(-1, -1),
                                                corner(-1, 1)};
  canvas->Fill(outline, color);
  for (int i = 0; i < 4; ++i) canvas->Line(outline[i], outline[(i + 1) % 4], kBlack, 1);
  // The bonnet, so that one sees where it goes.
  if (vehicle) canvas->Line(corner(0.5, 1), corner(0.5, -1), kBlack, 1);
}

}  // namespace

Image DrawTraffic(const RoadNetwork& roads, const TrafficLog* log,
                  const DrawTrafficOptions& options) {
  ATHANOR_CHECK(options.width_px >= 16 && options.width_px <= 16384,
                "bird's-eye view: expected a width of 16 to 16384 pixels, found ",
                options.width_px);
  Eigen::Vector2d corner = roads.min_m - Eigen::Vector2d::Constant(10);
  Eigen::Vector2d size = roads.max_m - roads.min_m + Eigen::Vector2d::Constant(20);
  if (log != nullptr && options.side_m > 0) {
    const Rigid3 ego = log->WorldFromEgo(options.time_s);
    corner = ego.translation.head<2>() - Eigen::Vector2d::Constant(options.side_m / 2);
    size = Eigen::Vector2d::Constant(options.side_m);
  }
  const double scale = options.width_px / size.x();
  const double height = std::clamp(std::round(size.y() * scale), 16.0, 16384.0);
  Canvas canvas(options.width_px, static_cast<int>(height), corner, scale);
  DrawRoads(roads, &canvas);
  if (log == nullptr) return std::move(canvas.image());
  if (options.trails) {
    for (size_t i = 0; i < log->actors.size(); ++i) {
      const TrafficActor& actor = log->actors[i];
      const bool ego = static_cast<int>(i) == log->ego;
      for (size_t k = 2; k < actor.states.size(); k += 2) {
        canvas.Line(actor.states[k - 2].center_m.head<2>(), actor.states[k].center_m.head<2>(),
                    ego ? kEgo : ColorOf(actor.actor_class), ego ? 2 : 1);
      }
    }
  }
  for (size_t i = 0; i < log->actors.size(); ++i) {
    const std::optional<Box3> box = log->BoxAt(static_cast<int>(i), options.time_s);
    if (!box) continue;
    const TrafficActor& actor = log->actors[i];
    DrawActor(*box, static_cast<int>(i) == log->ego ? kEgo : ColorOf(actor.actor_class),
              IsVehicle(actor.actor_class), &canvas);
  }
  return std::move(canvas.image());
}

}  // namespace athanor
