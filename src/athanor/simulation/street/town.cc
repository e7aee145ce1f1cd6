#include "athanor/simulation/street/town.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "athanor/base/error.h"
#include "athanor/base/hash.h"
#include "athanor/simulation/street/town_parts.h"

namespace athanor {
namespace {

using Eigen::Vector2d;
using Eigen::Vector3d;
using Eigen::Vector3f;

constexpr double kPi = std::numbers::pi;
constexpr double kHorizon_m = 900;

Rigid3 Placed(const Vector3d& at, double yaw_rad) {
  return {Eigen::Quaterniond(Eigen::AngleAxisd(yaw_rad, Vector3d::UnitZ())), at};
}

Vector2d Left(double yaw_rad) { return {-std::sin(yaw_rad), std::cos(yaw_rad)}; }

// The network's part that is near, and what it is made of.
class TownBuilder {
 public:
  TownBuilder(const RoadNetwork& roads, const TownOptions& options)
      : roads_(roads), options_(options), map_(Bound(-1), Bound(1)) {
    for (size_t i = 0; i < roads.lanes.size(); ++i) {
      if (IsNear(roads.lanes[i].shape)) lanes_.push_back(static_cast<int>(i));
    }
    for (size_t i = 0; i < roads.junctions.size(); ++i) {
      const RoadJunction& junction = roads.junctions[i];
      if (junction.shape.size() >= 3 && IsNear(junction.shape)) {
        junctions_.push_back(static_cast<int>(i));
      }
    }
    for (const int i : lanes_) {
      const RoadLane& lane = roads.lanes[i];
      for (const Vector3d& point : lane.shape) ground_z_ = std::min(ground_z_, point.z());
      if (lane.kind == LaneKind::kWalkingArea) {
        map_.MarkPolygon(lane.shape, 0.3, GroundMap::kSidewalk);
      } else {
        map_.MarkLine(lane.shape, lane.width_m / 2 + 0.3,
                      lane.kind == LaneKind::kSidewalk ? GroundMap::kSidewalk : GroundMap::kRoad);
      }
    }
    if (lanes_.empty()) ground_z_ = 0;
    for (const int i : junctions_) {
      map_.MarkPolygon(roads.junctions[i].shape, 0.3, GroundMap::kRoad);
    }
    for (const TownBuilding& taken : options.keep_free) {
      map_.MarkRectangle(taken, GroundMap::kBuilt);
    }
  }

  Town Build() {
    AddSurfaces();
    AddBuildings();
    AddSignals();
    AddFurniture();
    AddHorizon();
    for (const MeshInstance& instance : town_.instances) {
      town_.num_triangles += static_cast<int64_t>(town_.meshes[instance.mesh].triangles.size());
    }
    return std::move(town_);
  }

 private:
  Vector2d Bound(double side) const {
    ATHANOR_CHECK(!options_.around.empty(), "town: expected at least one point to build around");
    Vector2d bound = options_.around.front();
    for (const Vector2d& p : options_.around) {
      ATHANOR_CHECK(p.allFinite(), "town: a point to build around is not finite");
      bound = side < 0 ? Vector2d(bound.cwiseMin(p)) : Vector2d(bound.cwiseMax(p));
    }
    return bound + Vector2d::Constant(side * (options_.radius_m + 60));
  }

  double DistanceTo(const Vector2d& point) const {
    double nearest = 1e18;
    for (const Vector2d& p : options_.around)
      nearest = std::min(nearest, (p - point).squaredNorm());
    return std::sqrt(nearest);
  }

  bool IsNear(const std::vector<Vector3d>& shape) const {
    if (shape.empty()) return false;
    const double length = LineLength(shape);
    for (double s = 0;; s += 20) {
      if (DistanceTo(PointOnLine(shape, std::min(s, length)).position.head<2>()) <
          options_.radius_m) {
        return true;
      }
      if (s >= length) return false;
    }
  }

  int AddMesh(Mesh mesh) {
    town_.meshes.push_back(std::move(mesh));
    return static_cast<int>(town_.meshes.size()) - 1;
  }

  void Place(int mesh, const Rigid3& world_from_mesh, TownPart part,
             const Vector3f& paint = Vector3f::Constant(-1)) {
    MeshInstance instance;
    instance.mesh = mesh;
    instance.world_from_mesh = world_from_mesh;
    instance.object = static_cast<int32_t>(part);
    instance.paint = paint;
    town_.instances.push_back(instance);
  }

  void PlaceBuilt(MeshBuilder builder, TownPart part) {
    if (builder.num_triangles() == 0) return;
    Place(AddMesh(std::move(builder).Build()), Rigid3{}, part);
  }

  void AddSurfaces() {
    MeshBuilder road, marking, sidewalk, ground;
    AddRoads(roads_, lanes_, junctions_, {&road, &marking, &sidewalk});
    MeshBuilder island;
    for (const Roundabout& roundabout : roads_.roundabouts) {
      if (DistanceTo(roundabout.center_m) > options_.radius_m) continue;
      double half_width = 0;
      for (const int edge : roundabout.edges) {
        double width = 0;
        for (const int lane : roads_.edges[edge].lanes) width += roads_.lanes[lane].width_m;
        half_width = std::max(half_width, width / 2);
      }
      AddIsland(roundabout, half_width, ground_z_, &island);
      islands_.push_back(roundabout.center_m);
      island_radius_.push_back(roundabout.radius_m - half_width - 0.8);
    }
    SurfaceMaterial grass;
    grass.color = {0.16f, 0.24f, 0.06f};
    grass.second_color = {0.10f, 0.15f, 0.04f};
    grass.pattern = SurfaceMaterial::Pattern::kGrass;
    grass.lidar_reflectance = 0.45f;
    ground.UseMaterial(grass);
    ground.BeginPart("meadow");
    const Vector2d middle = (Bound(-1) + Bound(1)) / 2;
    ground.AddPlane(Vector3d(middle.x(), middle.y(), ground_z_ - 0.04).cast<float>(),
                    2 * kHorizon_m, 2 * kHorizon_m);
    PlaceBuilt(std::move(road), TownPart::kRoad);
    PlaceBuilt(std::move(marking), TownPart::kMarking);
    PlaceBuilt(std::move(sidewalk), TownPart::kSidewalk);
    PlaceBuilt(std::move(island), TownPart::kSidewalk);
    PlaceBuilt(std::move(ground), TownPart::kGround);
  }

  // Right border of an edge: a line, and the width of the sidewalk when there is one.
  struct Border {
    std::vector<Vector3d> line;  // outer edge of everything that belongs to the road
    double sidewalk_m = 0;
    int edge = 0;
  };
  std::vector<Border> Borders() const {
    std::vector<Border> borders;
    for (size_t e = 0; e < roads_.edges.size(); ++e) {
      const RoadEdge& edge = roads_.edges[e];
      if (edge.inside_junction || edge.lanes.empty()) continue;
      const RoadLane& right = roads_.lanes[edge.lanes.front()];
      if (!IsNear(right.shape)) continue;
      Border border;
      border.edge = static_cast<int>(e);
      border.line = OffsetLine(right.shape, -right.width_m / 2);
      border.sidewalk_m = right.kind == LaneKind::kSidewalk ? right.width_m : 0;
      borders.push_back(std::move(border));
      bool has_opposite = false;
      for (const RoadEdge& other : roads_.edges) {
        has_opposite |= other.from_junction == edge.to_junction &&
                        other.to_junction == edge.from_junction && !other.inside_junction;
      }
      if (!has_opposite && edge.roundabout < 0) {
        const RoadLane& left = roads_.lanes[edge.lanes.back()];
        Border other;
        other.edge = static_cast<int>(e);
        other.line = OffsetLine(left.shape, left.width_m / 2);
        std::reverse(other.line.begin(), other.line.end());
        borders.push_back(std::move(other));
      }
    }
    return borders;
  }

  Random RandomOf(std::string_view what, uint64_t number) const {
    return Random(MixBits(options_.seed ^ HashBytes(what)) + MixBits(number));
  }

  void AddBuildings() {
    MeshBuilder houses;
    uint64_t number = 0;
    for (const Border& border : Borders()) {
      Random random = RandomOf("houses", HashBytes(roads_.edges[border.edge].id) + number++);
      const double length = LineLength(border.line);
      // One street has houses of one kind, more or less.
      const float tallness = random.Uniform();
      double s = random.Uniform(1, 6);
      while (s < length - 5) {
        const double width = random.Uniform(8, tallness > 0.6f ? 26.0f : 17.0f);
        const double depth = random.Uniform(8, 15);
        const double setback =
            (border.sidewalk_m > 0 ? 0.6 : 2.5) +
            (tallness > 0.5f ? random.Uniform(0.3f, 2.5f) : random.Uniform(2.0f, 7.0f));
        const LinePoint at = PointOnLine(border.line, s + width / 2);
        TownBuilding building;
        building.yaw_rad = at.yaw_rad;
        building.half_m = {width / 2, depth / 2};
        building.center_m = at.position.head<2>() - Left(at.yaw_rad) * (setback + depth / 2);
        const bool tower = random.Uniform() < 0.08f;
        building.height_m = tower             ? random.Uniform(22, 48)
                            : tallness > 0.5f ? random.Uniform(9, 19)
                                              : random.Uniform(5.5f, 9);
        const bool wanted = random.Uniform() < options_.buildings;
        if (wanted && map_.In(building, 0.4) == GroundMap::kFree) {
          map_.MarkRectangle(building, GroundMap::kBuilt);
          AddBuilding(building, ground_z_ - 0.05, &random, &houses);
          town_.buildings.push_back(building);
          s += width + (tallness > 0.5f && random.Uniform() < 0.6f ? 0.2 : random.Uniform(1.5f, 7));
        } else {
          s += wanted ? 3 : width;
        }
      }
    }
    PlaceBuilt(std::move(houses), TownPart::kBuilding);
  }

  // Heads over the stop lines of every approach that a light controls.
  void AddSignals() {
    const int pole = AddMesh(SignalPoleMesh());
    for (int i = 0; i < 5; ++i) town_.signal_meshes[i] = AddMesh(SignalHeadMesh(i));
    std::vector<std::vector<const RoadConnection*>> of_edge(roads_.edges.size());
    for (const RoadConnection& connection : roads_.connections) {
      const RoadLane& from = roads_.lanes[connection.from_lane];
      if (connection.light < 0 || roads_.edges[from.edge].inside_junction) continue;
      if (from.kind != LaneKind::kDriving && from.kind != LaneKind::kBus) continue;
      of_edge[from.edge].push_back(&connection);
    }
    for (size_t e = 0; e < of_edge.size(); ++e) {
      if (of_edge[e].empty()) continue;
      const RoadConnection* shown = of_edge[e].front();
      for (const RoadConnection* connection : of_edge[e]) {
        if (connection->direction == TurnDirection::kStraight) shown = connection;
      }
      const RoadEdge& edge = roads_.edges[e];
      const RoadLane& right = roads_.lanes[edge.lanes.front()];
      const LinePoint end = PointOnLine(right.shape, LineLength(right.shape) - 0.3);
      if (DistanceTo(end.position.head<2>()) > options_.radius_m) continue;
      const bool walk = right.kind == LaneKind::kSidewalk;
      // The pole stands at the kerb.
      const double aside = walk ? right.width_m / 2 - 0.35 : -right.width_m / 2 - 0.5;
      Vector3d foot = end.position;
      foot.head<2>() += Left(end.yaw_rad) * aside;
      if (walk) foot.z() += kKerbHeight;
      Place(pole, Placed(foot, end.yaw_rad), TownPart::kSignal);
      // Two heads: one at the pole, one over the lanes; both look at those who come.
      for (const auto& [left, up] :
           {std::pair{0.28, 2.7}, {static_cast<double>(kSignalArm_m), 5.3}}) {
        TownSignal signal;
        signal.light = shown->light;
        signal.light_index = shown->light_index;
        Vector3d at = foot + Vector3d(0, 0, up);
        at.head<2>() += Left(end.yaw_rad) * left;
        signal.world_from_head = Placed(at, end.yaw_rad + kPi);
        town_.signals.push_back(signal);
      }
    }
  }

  bool IsFreeFor(const Vector2d& at, double half_m) const {
    TownBuilding spot;
    spot.center_m = at;
    spot.half_m = Vector2d::Constant(half_m);
    return map_.In(spot, 0) == GroundMap::kFree;
  }
  void Take(const Vector2d& at, double half_m) {
    TownBuilding spot;
    spot.center_m = at;
    spot.half_m = Vector2d::Constant(half_m);
    map_.MarkRectangle(spot, GroundMap::kBuilt);
  }

  void AddFurniture() {
    Random shapes = RandomOf("shapes", 0);
    constexpr int kTrees = 12, kHedges = 4;
    std::vector<int> trees, hedges;
    for (int i = 0; i < kTrees; ++i) trees.push_back(AddMesh(TreeMesh(i, &shapes)));
    for (int i = 0; i < kHedges; ++i) hedges.push_back(AddMesh(HedgeMesh(&shapes)));
    const int bench = AddMesh(BenchMesh()), lamp = AddMesh(StreetLampMesh(options_.night));
    std::vector<int> signs;
    for (int i = 0; i < kNumSignKinds; ++i)
      signs.push_back(AddMesh(SignMesh(static_cast<SignKind>(i))));
    const auto leaf_color = [](Random* random) {
      const float t = random->Uniform();
      return Vector3f(random->Uniform(0.05f, 0.14f) + 0.1f * t * t * t,
                      random->Uniform(0.13f, 0.22f), random->Uniform(0.015f, 0.05f));
    };
    uint64_t number = 0;
    for (const Border& border : Borders()) {
      const RoadEdge& edge = roads_.edges[border.edge];
      Random random = RandomOf("furniture", HashBytes(edge.id) + number++);
      const double length = LineLength(border.line);
      const double kerb = border.sidewalk_m;  // from the border to the left: the kerb
      // Lamps at the kerb; their arms reach over the road.
      if (edge.roundabout < 0 || border.sidewalk_m > 0) {
        for (double s = random.Uniform(4, 14); s < length - 4; s += options_.lamp_spacing_m) {
          const LinePoint at = PointOnLine(border.line, s);
          Vector3d foot = at.position;
          foot.head<2>() += Left(at.yaw_rad) * (kerb > 0 ? kerb - 0.35 : -0.7);
          if (kerb > 0) foot.z() += kKerbHeight;
          if ((map_.At(foot.head<2>()) & (GroundMap::kRoad | GroundMap::kBuilt)) != 0) continue;
          Place(lamp, Placed(foot, at.yaw_rad + kPi / 2), TownPart::kLamp);
          if (!options_.night) continue;
          Lamp light;
          Vector3d bulb = foot + Vector3d(0, 0, kLampHeight_m - 0.1);
          bulb.head<2>() += Left(at.yaw_rad) * (kLampArm_m - 0.2);
          light.position_m = bulb.cast<float>();
          light.color = {1.0f, 0.78f, 0.48f};
          light.strength = 34;
          light.radius_m = 0.15f;
          light.inner_angle_rad = 0.9f;
          light.outer_angle_rad = 1.45f;
          light.range_m = 26;
          light.clearance_m = 0.3f;
          town_.lamps.push_back(light);
        }
      }
      // Trees and hedges behind the sidewalk.
      const bool avenue = random.Uniform() < 0.65f;
      for (double s = random.Uniform(2, 10); s < length - 3;
           s += options_.tree_spacing_m * random.Uniform(0.6f, avenue ? 1.3f : 3.0f)) {
        const LinePoint at = PointOnLine(border.line, s);
        const uint32_t kind = random.Below(kTrees);
        // Conifers are wide where people walk.
        const double aside = random.Uniform(0.9f, 1.8f) + (kind % 4 == 3 ? 1.8 : 0);
        const Vector2d spot = at.position.head<2>() - Left(at.yaw_rad) * aside;
        if (!IsFreeFor(spot, 0.5)) continue;
        Take(spot, 1.2);
        Place(trees[kind], Placed({spot.x(), spot.y(), ground_z_ - 0.04}, random.Uniform(0, 6.28f)),
              TownPart::kTree, leaf_color(&random));
      }
      for (double s = random.Uniform(0, 20); s < length - 3; s += random.Uniform(2.2f, 16)) {
        const LinePoint at = PointOnLine(border.line, s);
        const Vector2d spot = at.position.head<2>() - Left(at.yaw_rad) * random.Uniform(1.2f, 5.0f);
        if (!IsFreeFor(spot, 1.1)) continue;
        Take(spot, 1.0);
        const bool sits = border.sidewalk_m > 0 && random.Uniform() < 0.08f;
        Place(sits ? bench : hedges[random.Below(kHedges)],
              Placed({spot.x(), spot.y(), ground_z_ - 0.04}, at.yaw_rad),
              sits ? TownPart::kBench : TownPart::kHedge,
              sits ? Vector3f(Vector3f::Constant(-1)) : leaf_color(&random));
      }
      // Signs at the beginning and at the end.
      const auto sign = [&](SignKind kind, double s) {
        const LinePoint at = PointOnLine(border.line, s);
        Vector3d foot = at.position;
        foot.head<2>() += Left(at.yaw_rad) * (kerb > 0 ? 0.3 : -0.5);
        if (kerb > 0) foot.z() += kKerbHeight;
        if ((map_.At(foot.head<2>()) & (GroundMap::kRoad | GroundMap::kBuilt)) != 0) return;
        Place(signs[static_cast<int>(kind)], Placed(foot, at.yaw_rad + kPi), TownPart::kSign);
      };
      if (length < 25 || edge.to_junction < 0) continue;
      const RoadJunction& to = roads_.junctions[edge.to_junction];
      const double speed = roads_.lanes[edge.lanes.back()].speed_mps;
      sign(speed < 10 ? SignKind::kSpeed30 : SignKind::kSpeed50, 12);
      if (to.roundabout >= 0 && edge.roundabout < 0) {
        sign(SignKind::kRoundabout, length - 8);
        sign(SignKind::kYield, length - 2);
      } else if (to.type == "priority") {
        sign(random.Uniform() < 0.3f ? SignKind::kStop : SignKind::kYield, length - 2);
      } else if (to.type == "traffic_light" && random.Uniform() < 0.5f) {
        sign(SignKind::kCrossing, length - 9);
      }
      if (random.Uniform() < 0.5f) sign(SignKind::kNoParking, 0.5 * length);
    }
    // Islands.
    for (size_t i = 0; i < islands_.size(); ++i) {
      Random random = RandomOf("island", i);
      const double radius = island_radius_[i];
      if (radius < 2) continue;
      const int count = static_cast<int>(std::clamp(radius * radius / 12, 1.0, 14.0));
      for (int k = 0; k < count; ++k) {
        const double angle = random.Uniform(0, 6.28f),
                     r = (radius - 1.5) * std::sqrt(random.Uniform());
        const Vector2d at = islands_[i] + r * Vector2d(std::cos(angle), std::sin(angle));
        const bool tree = random.Uniform() < 0.35f;
        Place(tree ? trees[random.Below(kTrees)] : hedges[random.Below(kHedges)],
              Placed({at.x(), at.y(), ground_z_ + 0.1}, angle),
              tree ? TownPart::kTree : TownPart::kHedge, leaf_color(&random));
      }
    }
    // Woods and gardens away from the roads.
    Random random = RandomOf("woods", 0);
    const Vector2d low = Bound(-1), high = Bound(1);
    const int tries = static_cast<int>((high - low).prod() / 450);
    for (int i = 0; i < tries; ++i) {
      const Vector2d at(random.Uniform(static_cast<float>(low.x()), static_cast<float>(high.x())),
                        random.Uniform(static_cast<float>(low.y()), static_cast<float>(high.y())));
      const uint32_t kind = random.Below(kTrees + kHedges);
      const Vector3f color = leaf_color(&random);
      const float yaw = random.Uniform(0, 6.28f);
      if (!IsFreeFor(at, 2.0)) continue;
      Take(at, 1.5);
      Place(kind < kTrees ? trees[kind] : hedges[kind - kTrees],
            Placed({at.x(), at.y(), ground_z_ - 0.04}, yaw),
            kind < kTrees ? TownPart::kTree : TownPart::kHedge, color);
    }
  }

  // A skyline where the town that was built ends.
  void AddHorizon() {
    MeshBuilder skyline;
    Random random = RandomOf("skyline", 0);
    const Vector2d low = Bound(-1), high = Bound(1), middle = (low + high) / 2;
    const double inner = (high - low).norm() / 2;
    for (int i = 0; i < 90; ++i) {
      const double angle = 2 * kPi * (i + 0.7 * random.Uniform()) / 90;
      const double distance = inner + random.Uniform(10, 280);
      TownBuilding block;
      block.center_m = middle + distance * Vector2d(std::cos(angle), std::sin(angle));
      block.half_m = {random.Uniform(8, 26), random.Uniform(6, 14)};
      block.yaw_rad = random.Uniform(0, 6.28f);
      block.height_m = random.Uniform() < 0.15f ? random.Uniform(25, 60) : random.Uniform(7, 18);
      AddDistantBuilding(block, ground_z_ - 1, &random, &skyline);
    }
    PlaceBuilt(std::move(skyline), TownPart::kBuilding);
  }

  const RoadNetwork& roads_;
  const TownOptions& options_;
  GroundMap map_;
  Town town_;
  double ground_z_ = std::numeric_limits<double>::infinity();  // of the lowest road
  std::vector<int> lanes_, junctions_;
  std::vector<Vector2d> islands_;
  std::vector<double> island_radius_;
};

}  // namespace

Town BuildTown(const RoadNetwork& roads, const TownOptions& options) {
  return TownBuilder(roads, options).Build();
}

int SignalMeshOf(char state) {
  switch (state) {
    case 'r':
    case 's':
      return 1;
    case 'y':
    case 'Y':
      return 2;
    case 'g':
    case 'G':
      return 3;
    case 'u':
      return 4;
    default:
      return 0;
  }
}

}  // namespace athanor
