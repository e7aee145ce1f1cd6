#include "athanor/simulation/traffic/traffic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <set>

#include "athanor/base/files.h"
#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/simulation/traffic/demand.h"
#include "athanor/simulation/traffic/long_tail.h"
#include "athanor/simulation/traffic/traffic_test_util.h"
#include "athanor/simulation/traffic/trajectories.h"
#include "athanor/simulation/traffic/xml.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

// Small enough for a test: one roundabout, half a minute of traffic before the log.
TrafficOptions Quick() {
  TrafficOptions options;
  options.seed = 3;
  options.duration_s = 8;
  options.warm_up_s = 30;
  options.search_s = 25;
  return options;
}

class TrafficTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!WhyNoSumo().empty()) GTEST_SKIP() << WhyNoSumo();
  }
  TrafficNetwork Make(const std::string& kind, int64_t seed = 3) {
    NetworkOptions options;
    options.kind = kind;
    options.seed = seed;
    return GenerateNetwork(options, folder_.path() / kind);
  }
  NetworkFolder folder_;
};

TEST_F(TrafficTest, GeneratesNetworksOfEachKind) {
  for (const char* kind : {"grid", "arterial", "roundabout", "town"}) {
    const TrafficNetwork network = Make(kind);
    std::set<LaneKind> kinds;
    for (const RoadLane& lane : network.roads.lanes) kinds.insert(lane.kind);
    EXPECT_TRUE(kinds.count(LaneKind::kDriving)) << kind;
    EXPECT_TRUE(kinds.count(LaneKind::kSidewalk)) << kind;
    EXPECT_TRUE(kinds.count(LaneKind::kCrossing)) << kind;
    EXPECT_TRUE(kinds.count(LaneKind::kWalkingArea)) << kind;
    const bool round = std::string(kind) == "roundabout" || std::string(kind) == "town";
    EXPECT_EQ(!network.roads.roundabouts.empty(), round) << kind;
    for (const Roundabout& roundabout : network.roads.roundabouts) {
      EXPECT_GE(roundabout.edges.size(), 3u);
      EXPECT_GT(roundabout.radius_m, 8);
      EXPECT_LT(roundabout.radius_m, 30);
    }
  }
}

TEST_F(TrafficTest, EqualSeedsMakeEqualNetworks) {
  const std::string first = ReadFile(Make("town", 5).roads.path);
  EXPECT_EQ(first, ReadFile(Make("town", 5).roads.path));
  EXPECT_NE(first, ReadFile(Make("town", 6).roads.path));
}

TEST_F(TrafficTest, FoldersWithSpacesAndCommasWork) {
  NetworkOptions options;
  options.kind = "roundabout";
  options.seed = 3;
  const TrafficNetwork network = GenerateNetwork(options, folder_.path() / "a b" / "c, d");
  EXPECT_EQ(network.roads.path, folder_.path() / "a b" / "c, d" / "network.net.xml");
  const TrafficNetwork plain = Make("roundabout");
  EXPECT_EQ(ReadFile(network.roads.path), ReadFile(plain.roads.path));
  EXPECT_EQ(RunTraffic(network, Quick()).Hash(), RunTraffic(plain, Quick()).Hash());
  // A network of the user's whose own name has one.
  const std::filesystem::path named = folder_.path() / "my town.net.xml";
  WriteFile(named, ReadFile(plain.roads.path));
  EXPECT_EQ(RunTraffic(LoadNetwork(named), Quick()).Hash(), RunTraffic(plain, Quick()).Hash());
}

TEST_F(TrafficTest, EqualSeedsMakeEqualLogsInOneProcess) {
  const TrafficNetwork network = Make("roundabout");
  TrafficOptions options = Quick();
  options.dogs = options.jaywalkers = 3;
  const uint64_t first = RunTraffic(network, options).Hash();
  options.seed = 4;
  EXPECT_NE(RunTraffic(network, options).Hash(), first);
  options.seed = 3;
  EXPECT_EQ(RunTraffic(network, options).Hash(), first);
}

TEST_F(TrafficTest, NothingMovesFasterThanPhysicsAllows) {
  const TrafficNetwork network = Make("roundabout");
  TrafficOptions options = Quick();
  options.wish = "roundabout";
  options.duration_s = 16;
  const TrafficLog log = RunTraffic(network, options);
  ASSERT_EQ(log.num_steps, 161);
  EXPECT_EQ(log.actors[log.ego].first_step, 0);
  EXPECT_EQ(log.actors[log.ego].states.size(), 161u);
  int vehicles = 0, walkers = 0;
  for (const TrafficActor& actor : log.actors) {
    if (actor.parked || actor.is_static) continue;
    const bool vehicle = IsVehicle(actor.actor_class);
    (vehicle ? vehicles : walkers) += 1;
    for (size_t i = 1; i < actor.states.size(); ++i) {
      const ActorState &a = actor.states[i - 1], &b = actor.states[i];
      const Eigen::Vector3d move = b.center_m - a.center_m;
      EXPECT_LT(move.norm() / log.step_s, vehicle ? 25 : 8) << actor.id << " step " << i;
      EXPECT_LT(std::abs(b.accel_mps2), vehicle ? 9.0 : 12.0) << actor.id << " step " << i;
      if (!vehicle) continue;
      EXPECT_LT(std::abs(b.yaw_rad - a.yaw_rad) / log.step_s, 1.5) << actor.id << " step " << i;
      if (actor.actor_class == ActorClass::kTrailer) continue;
      // The rear axle does not slip sideways.
      const auto axle = [&](const ActorState& s) -> Eigen::Vector2d {
        return s.center_m.head<2>() -
               0.34 * actor.size_m.x() * Eigen::Vector2d(std::cos(s.yaw_rad), std::sin(s.yaw_rad));
      };
      const double yaw = (a.yaw_rad + b.yaw_rad) / 2;
      const double slip = (axle(b) - axle(a)).dot(Eigen::Vector2d(-std::sin(yaw), std::cos(yaw)));
      EXPECT_LT(std::abs(slip), 0.03) << actor.id << " step " << i;
    }
  }
  EXPECT_GT(vehicles, 3);
  EXPECT_GT(walkers, 0);
}

// Emergency braking of SUMO's vehicles (emergencyDecel) and of ours before hazards is 8 m/s^2 at
// most, and no way of drawing their paths may make more of it.
TEST_F(TrafficTest, SlowNobodyBrakesHarderThanTyresHold) {
  int64_t states = 0;
  for (const char* kind : {"roundabout", "town"}) {
    for (int64_t seed = 1; seed <= 4; ++seed) {
      const TrafficNetwork network = Make(kind, seed);
      TrafficOptions options = Quick();
      options.seed = seed;
      options.duration_s = 20;
      options.dogs = options.jaywalkers = 4;
      const TrafficLog log = RunTraffic(network, options);
      for (const TrafficActor& actor : log.actors) {
        if (!IsVehicle(actor.actor_class) || actor.parked) continue;
        for (size_t i = 0; i < actor.states.size(); ++i) {
          ++states;
          EXPECT_LT(std::abs(actor.states[i].accel_mps2), 8)
              << kind << " " << seed << " " << actor.id << " step " << actor.first_step + i;
        }
      }
    }
  }
  EXPECT_GT(states, 10'000);
}

TEST_F(TrafficTest, TheWishedRoundaboutIsDriven) {
  const TrafficNetwork network = Make("roundabout");
  TrafficOptions options = Quick();
  options.wish = "roundabout";
  options.duration_s = 16;
  options.road_works = options.cargo = options.dogs = options.jaywalkers = options.sheep = 0;
  const TrafficLog log = RunTraffic(network, options);
  std::set<std::string> names;
  for (const LogTag& tag : log.tags) {
    if (tag.track < 0) names.insert(tag.name);
  }
  EXPECT_THAT(names, ::testing::IsSupersetOf({"ego.roundabout_approach", "ego.roundabout_enter",
                                              "ego.roundabout_circulate", "ego.roundabout_exit"}));
}

TEST_F(TrafficTest, SheepStopTheTraffic) {
  const TrafficNetwork network = Make("arterial");
  TrafficOptions options = Quick();
  options.duration_s = 14;
  options.dogs = options.jaywalkers = options.cargo = options.road_works = 0;
  options.sheep = 0;
  const TrafficLog without = RunTraffic(network, options);
  options.sheep = 6;
  const TrafficLog with = RunTraffic(network, options);
  ASSERT_EQ(without.actors[without.ego].id, with.actors[with.ego].id);
  const auto slowest = [](const TrafficLog& log) {
    double speed = 100;
    for (const ActorState& state : log.actors[log.ego].states) {
      speed = std::min(speed, state.speed_mps);
    }
    return speed;
  };
  EXPECT_GT(slowest(without), 2);
  EXPECT_LT(slowest(with), 0.5);
  int sheep = 0;
  for (const TrafficActor& actor : with.actors) sheep += actor.actor_class == ActorClass::kSheep;
  EXPECT_GE(sheep, 6);
  // Who was far enough to brake hits none of them: the ego vehicle is.
  for (size_t i = 0; i < with.actors.size(); ++i) {
    if (with.actors[i].actor_class != ActorClass::kSheep) continue;
    for (int step = 0; step < with.num_steps; step += 5) {
      const auto ego = with.BoxAt(with.ego, step * with.step_s);
      const auto other = with.StateAt(static_cast<int>(i), step * with.step_s);
      if (other) {
        EXPECT_FALSE(ego->Contains(other->center_m)) << "step " << step;
      }
    }
  }
}

// Cars parked where a flock crosses would stand among the sheep.
TEST_F(TrafficTest, NothingOfOursStandsWhereOthersWalk) {
  const TrafficNetwork network = Make("town");
  std::map<ActorClass, int> count, works_count;
  for (int64_t seed = 3; seed <= 6; ++seed) {
    TrafficOptions options = Quick();
    options.seed = seed;
    options.parked = 1;
    options.sheep = options.dogs = options.jaywalkers = options.road_works = options.small_wheels =
        10;
    options.bicycle_racks = options.bins = 30;
    const TrafficLog log = RunTraffic(network, options);
    for (size_t i = 0; i < log.actors.size(); ++i) {
      const TrafficActor& thing = log.actors[i];
      ++count[thing.actor_class];
      // Strollers have the box of who pushes them.
      if (thing.actor_class == ActorClass::kStroller) {
        EXPECT_GT(thing.size_m.z(), 1.5);
      }
      const bool stands = thing.parked || thing.actor_class == ActorClass::kBicycleRack ||
                          thing.actor_class == ActorClass::kPushable;
      if (!stands) continue;
      EXPECT_EQ(thing.states.size(), 1u);
      const Box3 box = *log.BoxAt(static_cast<int>(i), 0);
      EXPECT_NEAR(thing.states[0].center_m.z(), thing.size_m.z() / 2, 0.5) << thing.id;
      for (const TrafficActor& other : log.actors) {
        const bool walks = other.group >= 0 || other.actor_class == ActorClass::kPedestrian;
        if (!walks || other.id == thing.id || IsVehicle(other.actor_class)) continue;
        for (const ActorState& state : other.states) {
          EXPECT_FALSE(box.Contains({state.center_m.x(), state.center_m.y(), thing.size_m.z() / 2}))
              << thing.id << " and " << other.id;
        }
      }
    }
    // Works take the places that nothing else has taken.
    options.sheep = options.dogs = options.jaywalkers = 0;
    for (const TrafficActor& actor : RunTraffic(network, options).actors) {
      ++works_count[actor.actor_class];
    }
  }
  EXPECT_GT(count[ActorClass::kBicycleRack], 3);
  EXPECT_GT(count[ActorClass::kPushable], 3);
  EXPECT_GT(count[ActorClass::kSheep], 3);
  EXPECT_GT(count[ActorClass::kStroller], 3);
  EXPECT_GT(works_count[ActorClass::kConstructionVehicle], 0);
}

TEST_F(TrafficTest, SlowBolognaRunsItsOwnDemand) {
  const std::filesystem::path folder = SharedData("sumo_bologna_acosta");
  if (folder.empty()) GTEST_SKIP() << "sumo_bologna_acosta is not there";
  const TrafficNetwork network = LoadNetwork(folder / "run.sumocfg");
  TrafficOptions options = Quick();
  options.duration_s = 16;
  options.warm_up_s = 60;
  options.wish = "roundabout";
  const TrafficLog log = RunTraffic(network, options);
  EXPECT_TRUE(std::any_of(log.tags.begin(), log.tags.end(), [](const LogTag& tag) {
    return tag.name == "ego.roundabout_circulate";
  }));
  EXPECT_FALSE(log.lights.empty());
  EXPECT_EQ(RunTraffic(network, options).Hash(), log.Hash());
}

TEST_F(TrafficTest, WalkersJoinAUsersOwnDemand) {
  const TrafficNetwork made = Make("roundabout");
  TrafficOptions options = Quick();
  // A user who calls all as we do but for the prefix.
  std::string own = MakeDemand(made.roads, options, 0, 120, true);
  for (size_t at = 0; (at = own.find("athanor.", at)) != own.npos;) own.erase(at, 8);
  WriteFile(folder_.path() / "own.net.xml", ReadFile(made.roads.path));
  WriteFile(folder_.path() / "own.rou.xml", own);
  WriteFile(folder_.path() / "own.sumocfg",
            "<configuration><input><net-file value=\"own.net.xml\"/>"
            "<route-files value=\"own.rou.xml\"/></input></configuration>");
  const TrafficLog log = RunTraffic(LoadNetwork(folder_.path() / "own.sumocfg"), options);
  int ours = 0;
  for (const TrafficActor& actor : log.actors) ours += actor.id.rfind("athanor.p", 0) == 0;
  EXPECT_GT(ours, 0);
}

TEST_F(TrafficTest, SaysWhyItCannotRun) {
  const TrafficNetwork network = Make("roundabout");
  TrafficOptions options = Quick();
  options.vehicles = options.bicycles = 0;
  EXPECT_THAT(ErrorOf([&] { RunTraffic(network, options); }), HasSubstr("none of 0 cars fits"));
  options = Quick();
  options.duration_s = 0;
  EXPECT_THAT(ErrorOf([&] { RunTraffic(network, options); }),
              HasSubstr("expected a positive step"));
  EXPECT_THAT(ErrorOf([&] { LoadNetwork(folder_.path() / "x.txt"); }), HasSubstr(".sumocfg"));
  WriteFile(folder_.path() / "bad.sumocfg", "<configuration><input/></configuration>");
  EXPECT_THAT(ErrorOf([&] { LoadNetwork(folder_.path() / "bad.sumocfg"); }),
              HasSubstr("names no road network"));
  // A network that SUMO refuses although we read it.
  TrafficNetwork broken = network;
  broken.roads.path = folder_.path() / "missing.net.xml";
  EXPECT_THAT(ErrorOf([&] { RunTraffic(broken, Quick()); }), HasSubstr("SUMO"));
  // And the next run works.
  EXPECT_GT(RunTraffic(network, Quick()).actors.size(), 1u);
}

TEST_F(TrafficTest, DrawsRoadsAndActors) {
  const TrafficNetwork network = Make("roundabout");
  const TrafficLog log = RunTraffic(network, Quick());
  DrawTrafficOptions options;
  options.width_px = 300;
  options.side_m = 60;
  const Image image = DrawTraffic(network.roads, &log, options);
  ASSERT_EQ(image.width, 300);
  ASSERT_EQ(image.height, 300);
  // The ego vehicle's rear axle is in the middle.
  const uint8_t* middle = image.at(150, 150);
  EXPECT_GT(middle[0], 150);
  EXPECT_LT(middle[1], 80);
  const Image all = DrawTraffic(network.roads, nullptr);
  EXPECT_EQ(all.width, 1024);
}

TEST(TrafficLog, InterpolatesAndPlacesTheRearAxle) {
  TrafficLog log;
  log.num_steps = 3;
  TrafficActor car;
  car.size_m = {4, 2, 1.5};
  car.states.resize(3);
  for (int i = 0; i < 3; ++i) car.states[i].center_m = {10.0 + i, 5, 0.75};
  log.actors = {car};
  const Rigid3 pose = log.WorldFromEgo(0.05);
  EXPECT_NEAR(pose.translation.x(), 10.5 - 0.339 * 4, 1e-9);
  EXPECT_NEAR(pose.translation.z(), 0, 1e-12);
  EXPECT_NEAR(log.StateAt(0, 0.2)->center_m.x(), 12, 1e-9);
  EXPECT_FALSE(log.StateAt(0, 0.25).has_value());
  EXPECT_FALSE(log.StateAt(0, -0.01).has_value());
  EXPECT_NEAR(log.BoxAt(0, 0.1)->frame_from_box.translation.x(), 11, 1e-9);
}

// A street of one lane, drawn half as long as SUMO takes it to be.
RoadNetwork HalfDrawnStreet(const std::string& id) {
  return ParseRoadNetwork(
      StrCat("<net><edge id=\"", id, "\" from=\"a\" to=\"b\">",
             "<lane id=\"w\" index=\"0\" allow=\"pedestrian\" speed=\"1\" length=\"400\" "
             "shape=\"0,-4 200,-4\"/>"
             "<lane id=\"d\" index=\"1\" disallow=\"pedestrian\" speed=\"14\" length=\"400\" "
             "shape=\"0,0 200,0\"/></edge>"
             "<junction id=\"a\" type=\"dead_end\" x=\"0\" y=\"0\" incLanes=\"\" intLanes=\"\"/>"
             "<junction id=\"b\" type=\"dead_end\" x=\"200\" y=\"0\" incLanes=\"\" intLanes=\"\"/>"
             "</net>"),
      "street");
}

TEST(Demand, IdsAreEscaped) {
  TrafficOptions options;
  options.pedestrians = 50;
  const RoadNetwork roads = HalfDrawnStreet("x");
  RoadNetwork odd = roads;
  odd.edges[0].id = "A&B \"<1>\"";
  odd.edges.push_back(odd.edges[0]);
  int walks = 0;
  VisitXml(MakeDemand(odd, options, 0, 60, true), "demand", [&](const XmlElement& element) {
    if (element.name() != "walk") return;
    ++walks;
    EXPECT_EQ(element.Text("from"), odd.edges[0].id);
    EXPECT_EQ(element.Text("to"), odd.edges[0].id);
  });
  EXPECT_GT(walks, 10);
}

TEST(LongTail, HazardsLieInSumosMetres) {
  const RoadNetwork roads = HalfDrawnStreet("x");
  TrafficOptions options;
  options.dogs = options.jaywalkers = options.sheep = options.road_works = 0;
  options.cargo = 20;
  std::vector<ActorState> ego(151);
  for (size_t i = 0; i < ego.size(); ++i) {
    ego[i].center_m.x() = static_cast<double>(i);
    ego[i].speed_mps = 10;
    ego[i].lane = 1;
  }
  Random random(5);
  const LongTailPlan plan =
      PlanLongTail(roads, options, ego, static_cast<int>(ego.size()), &random);
  ASSERT_GE(plan.hazards.size(), 3u);
  ASSERT_EQ(plan.hazards.size(), plan.intrusions.size());
  for (size_t i = 0; i < plan.hazards.size(); ++i) {
    const LaneIntrusion& blocked = plan.intrusions[i];
    EXPECT_NEAR(plan.hazards[i].position_m, std::max(1.0, 2 * (blocked.begin_m - 12)), 1e-6);
    EXPECT_NEAR(plan.hazards[i].length_m, 2 * (blocked.end_m - blocked.begin_m + 24), 1e-6);
  }
}

TEST(Trajectories, LaneJumpBecomesASmoothWay) {
  // SUMO changes lanes at once: 3.2 m to the left at 1 s, at 10 m/s.
  RawTrack track;
  track.id = "v";
  track.size_m = {4.5, 1.8, 1.5};
  for (int i = 0; i <= 40; ++i) {
    RawState state;
    state.position = {i * 1.0, i < 10 ? 0.0 : 3.2, 0};
    state.speed_mps = 10;
    track.states.push_back(state);
  }
  const TrafficActor actor = SmoothTrack(track, 0.1)[0];
  for (size_t i = 1; i < actor.states.size(); ++i) {
    EXPECT_LT(std::abs(actor.states[i].yaw_rad - actor.states[i - 1].yaw_rad), 0.15) << i;
    EXPECT_LT(std::abs(actor.states[i].center_m.y() - actor.states[i - 1].center_m.y()), 0.6) << i;
  }
  EXPECT_NEAR(actor.states.back().center_m.y(), 3.2, 0.05);
  EXPECT_NEAR(actor.states.back().center_m.x(), 40 - 2.25, 0.1);
  EXPECT_NEAR(actor.states[20].center_m.z(), 0.75, 1e-9);
  EXPECT_NEAR(actor.states[30].speed_mps, 10, 0.2);
}

TEST(Trajectories, SlowVehicleThatIsMovedSidewaysDoesNotJerk) {
  // On a ring of 15 m radius at 2 m/s, SUMO lifts it 1.5 m inwards within half a second.
  RawTrack track;
  track.id = "v";
  track.size_m = {4.5, 1.8, 1.5};
  for (int i = 0; i <= 120; ++i) {
    RawState state;
    const double radius = 15 - 1.5 * std::clamp((i - 50) / 5.0, 0.0, 1.0);
    const double angle = i * 0.2 / 15;
    state.speed_mps = 2;
    state.yaw_rad = angle;
    state.position = {radius * std::sin(angle), 15 - radius * std::cos(angle), 0};
    track.states.push_back(state);
  }
  const TrafficActor actor = SmoothTrack(track, 0.1)[0];
  for (size_t i = 0; i < actor.states.size(); ++i) {
    EXPECT_LT(std::abs(actor.states[i].accel_mps2), 0.6) << i;
    EXPECT_NEAR(actor.states[i].speed_mps, 2, 0.4) << i;
  }
}

TEST(Trajectories, VehicleThatIsSetBackWaitsAndDoesNotJump) {
  // 3 m/s; SUMO sets it back by 2 m, as where lanes of a junction overlap.
  RawTrack track;
  track.id = "v";
  track.size_m = {4.5, 1.8, 1.5};
  for (int i = 0; i <= 160; ++i) {
    RawState state;
    state.speed_mps = 3;
    state.position.x() = 0.3 * i - (i > 80 ? 2 : 0);
    track.states.push_back(state);
  }
  const TrafficActor actor = SmoothTrack(track, 0.1)[0];
  for (size_t i = 0; i < actor.states.size(); ++i) {
    EXPECT_LT(std::abs(actor.states[i].accel_mps2), 1) << i;
    EXPECT_GT(actor.states[i].speed_mps, 1.5) << i;
    EXPECT_LT(actor.states[i].speed_mps, 4) << i;
  }
}

TEST(Trajectories, BusGetsAroundACornerThatIsTooTightForIt) {
  RawTrack track;
  track.id = "b";
  track.actor_class = ActorClass::kBus;
  track.size_m = {11.5, 2.5, 3.2};
  constexpr double kRadius = 4, kQuarter = 1.5707963 * kRadius;
  for (int i = 0; i <= 250; ++i) {
    RawState state;
    state.speed_mps = 5;
    const double s = 0.5 * i - 40;
    const double angle = std::clamp(s, 0.0, kQuarter) / kRadius;
    state.yaw_rad = angle;
    state.position = {std::min(s, 0.0) + kRadius * std::sin(angle),
                      kRadius * (1 - std::cos(angle)) + std::max(s - kQuarter, 0.0), 0};
    track.states.push_back(state);
  }
  const TrafficActor actor = SmoothTrack(track, 0.1)[0];
  for (size_t i = 0; i < actor.states.size(); ++i) {
    EXPECT_LT(std::abs(actor.states[i].accel_mps2), 8) << i;
    EXPECT_GT(actor.states[i].speed_mps, 0) << i;
  }
  EXPECT_NEAR(actor.states.back().yaw_rad, 1.57, 0.05);
  EXPECT_NEAR(actor.states.back().center_m.x(), kRadius, 0.3);
  EXPECT_NEAR(actor.states.back().center_m.y(), track.states.back().position.y() - 11.5 / 2, 1.0);
}

// Lanes that bend more than the vehicle can and are drawn too long or too short; now and then SUMO
// sets it back or aside by up to 2 m, as it does in junctions.
RawTrack DisturbedTrack(ActorClass actor_class, double length_m, uint64_t seed) {
  Random random(seed);
  RawTrack track;
  track.id = "d";
  track.actor_class = actor_class;
  track.size_m = {length_m, 2, 2};
  RawState state;
  state.speed_mps = random.Uniform(0, 13);
  double wanted_mps = state.speed_mps, bend_per_m = 0, left_m = 0, drawn = 1;
  for (int i = 0; i < 240; ++i) {
    if (random.Uniform() < 0.02f) wanted_mps = 3.0 * random.Below(5);
    state.speed_mps = std::clamp(wanted_mps, state.speed_mps - 0.45, state.speed_mps + 0.25);
    const double move = 0.1 * state.speed_mps * drawn;
    left_m -= move;
    if (left_m <= 0) {
      const double radius = random.Uniform(7, 20);
      const bool bends = random.Below(3) == 0;
      bend_per_m = bends ? (random.Below(2) == 0 ? 1 : -1) / radius : 0;
      left_m = (bends ? radius : 20) * random.Uniform(0.5f, 1.6f);
      drawn = random.Uniform(0.75f, 1.33f);
    }
    state.yaw_rad += bend_per_m * move;
    const Eigen::Vector3d ahead(std::cos(state.yaw_rad), std::sin(state.yaw_rad), 0);
    state.position += move * ahead;
    const bool drives = state.speed_mps > 0.5;
    if (drives && random.Uniform() < 0.01f) state.position -= random.Uniform(0.5f, 2) * ahead;
    if (drives && random.Uniform() < 0.01f) {
      state.position += random.Uniform(-2, 2) * Eigen::Vector3d(-ahead.y(), ahead.x(), 0);
    }
    track.states.push_back(state);
  }
  return track;
}

TEST(Trajectories, NoDisturbanceOfAWayMakesMoreThanTyresHold) {
  int64_t states = 0;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    for (const auto& [actor_class, length_m] :
         {std::pair(ActorClass::kCar, 4.5), std::pair(ActorClass::kTruck, 8.0),
          std::pair(ActorClass::kBus, 11.5)}) {
      const RawTrack track = DisturbedTrack(actor_class, length_m, seed);
      const TrafficActor actor = SmoothTrack(track, 0.1)[0];
      for (size_t i = 0; i < actor.states.size(); ++i) {
        const ActorState& state = actor.states[i];
        ++states;
        EXPECT_LT(std::abs(state.accel_mps2), 8)
            << length_m << " m, seed " << seed << " step " << i;
        ASSERT_GE(state.speed_mps, 0) << length_m << " m, seed " << seed << " step " << i;
        const Eigen::Vector3d front =
            state.center_m +
            length_m / 2 * Eigen::Vector3d(std::cos(state.yaw_rad), std::sin(state.yaw_rad), 0);
        EXPECT_LT((front - track.states[i].position).head<2>().norm(), 6)
            << length_m << " m, seed " << seed << " step " << i;
      }
    }
  }
  EXPECT_EQ(states, 100 * 3 * 240);
}

TEST(Trajectories, LanesDrawnTooShortOrTooLongMakeNoBrakes) {
  // 8 m/s all the time, then a stop at 1.6 m/s^2; SUMO draws the lane from 20 m to 40 m a third
  // longer than it is.
  RawTrack track;
  track.id = "v";
  track.size_m = {4.5, 1.8, 1.5};
  double gone = 0;
  for (int i = 0; i <= 160; ++i) {
    RawState state;
    state.speed_mps = std::clamp(8 - (i - 70) * 0.16, 0.0, 8.0);
    if (i > 0) gone += 0.1 * state.speed_mps;
    state.position.x() = gone + std::clamp(gone - 20, 0.0, 20.0) / 3;
    track.states.push_back(state);
  }
  const TrafficActor actor = SmoothTrack(track, 0.1)[0];
  for (size_t i = 0; i < actor.states.size(); ++i) {
    EXPECT_LT(std::abs(actor.states[i].accel_mps2), 2.2) << i;
    EXPECT_NEAR(actor.states[i].center_m.x() + 2.25, track.states[i].position.x(), 1.0) << i;
    if (i > 132) {
      EXPECT_EQ(actor.states[i].speed_mps, 0) << i;
    }
  }
}

TEST(Trajectories, ArticulatedTruckIsTwoActorsThatStayCoupled) {
  RawTrack track;
  track.id = "t";
  track.actor_class = ActorClass::kTrailer;
  track.size_m = {16, 2.5, 4};
  for (int i = 0; i <= 60; ++i) {  // a quarter of a circle of 15 m radius
    RawState state;
    const double angle = i * 0.026;
    state.speed_mps = 3.9;
    state.yaw_rad = angle;
    state.position = {15 * std::sin(angle), 15 - 15 * std::cos(angle), 0};
    track.states.push_back(state);
  }
  const std::vector<TrafficActor> actors = SmoothTrack(track, 0.1);
  ASSERT_EQ(actors.size(), 2u);
  EXPECT_EQ(actors[0].actor_class, ActorClass::kTruck);
  EXPECT_EQ(actors[1].actor_class, ActorClass::kTrailer);
  const ActorState &truck = actors[0].states.back(), &trailer = actors[1].states.back();
  EXPECT_GT(truck.yaw_rad, trailer.yaw_rad + 0.2);
  const double distance = (truck.center_m - trailer.center_m).head<2>().norm();
  EXPECT_LT(distance, (actors[0].size_m.x() + actors[1].size_m.x()) / 2 + 0.8);
}

}  // namespace
}  // namespace athanor
