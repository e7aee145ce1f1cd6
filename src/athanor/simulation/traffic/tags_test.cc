#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "athanor/simulation/traffic/traffic.h"

namespace athanor {
namespace {

// Straight roads and a roundabout, made by hand:
//   edge "in" (lanes 0 and 1, x from 0 to 100) -> :enter -> "ring1" -> :mid -> "ring2" -> :exit ->
//   "out"; and "in" -> :left -> "up", a plain turn to the left at another junction.
class TagsTest : public ::testing::Test {
 protected:
  TagsTest() {
    net_.junctions.resize(4);
    in_ = AddEdge("in", false, 2, {{0, 0, 0}, {100, 0, 0}});
    ring1_ = AddEdge("ring1", false, 1, {{104, 0, 0}, {110, 0, 0}});
    ring2_ = AddEdge("ring2", false, 1, {{114, 0, 0}, {120, 0, 0}});
    out_ = AddEdge("out", false, 1, {{124, 0, 0}, {200, 0, 0}});
    up_ = AddEdge("up", false, 1, {{104, 4, 0}, {104, 80, 0}});
    side_ = AddEdge("side", false, 1, {{112, -60, 0}, {112, -4, 0}});
    net_.edges[ring1_].roundabout = net_.edges[ring2_].roundabout = 0;
    net_.roundabouts.push_back({{ring1_, ring2_}, {}, {115, 10}, 15});
    enter_ = AddInside("enter", in_, ring1_);
    mid_ = AddInside("mid", ring1_, ring2_);
    exit_ = AddInside("exit", ring2_, out_);
    left_ = AddInside("left", in_, up_);
    side_enter_ = AddInside("side_enter", side_, ring2_);
    log_.step_s = 0.1;
    log_.num_steps = 101;
    log_.actors.resize(1);
    log_.actors[0].id = "ego";
    log_.actors[0].size_m = {4, 2, 1.5};
    log_.actors[0].states = Still(net_.edges[in_].lanes[0], 101);
  }

  int AddEdge(const std::string& id, bool inside, int lanes, std::vector<Eigen::Vector3d> shape) {
    RoadEdge edge;
    edge.id = id;
    edge.inside_junction = inside;
    edge.from_junction = inside ? -1 : 0;
    edge.to_junction = inside ? -1 : 1;
    const int index = static_cast<int>(net_.edges.size());
    for (int i = 0; i < lanes; ++i) {
      RoadLane lane;
      lane.id = id + "_" + std::to_string(i);
      lane.edge = index;
      lane.index = i;
      lane.width_m = 3;
      lane.shape = shape;
      for (Eigen::Vector3d& point : lane.shape) point.y() += 3 * i;
      lane.length_m = LineLength(shape);
      edge.lanes.push_back(static_cast<int>(net_.lanes.size()));
      net_.lanes.push_back(lane);
    }
    net_.edges.push_back(edge);
    return index;
  }
  int AddInside(const std::string& id, int from, int to) {
    const int edge = AddEdge(id, true, 1, {{500, 500, 0}, {504, 500, 0}});
    const int lane = net_.edges[edge].lanes[0];
    net_.lanes[lane].from_edge = from;
    net_.lanes[lane].to_edge = to;
    return lane;
  }
  static std::vector<ActorState> Still(int lane, int count) {
    std::vector<ActorState> states(count);
    for (ActorState& state : states) state.lane = lane;
    return states;
  }
  int Lane(int edge, int index = 0) const { return net_.edges[edge].lanes[index]; }
  std::vector<ActorState>& Ego() { return log_.actors[0].states; }
  void SetLane(std::vector<ActorState>* states, int first, int last, int lane) {
    for (int i = first; i <= last; ++i) (*states)[i].lane = lane;
  }
  std::vector<std::pair<double, double>> Times(const std::string& name, int track = -1) {
    std::vector<std::pair<double, double>> times;
    for (const LogTag& tag : ComputeTags(net_, log_)) {
      if (tag.name == name && tag.track == track) {
        times.push_back({tag.begin_us / 1e6, tag.end_us / 1e6});
      }
    }
    return times;
  }

  RoadNetwork net_;
  TrafficLog log_;
  int in_, ring1_, ring2_, out_, up_, side_, enter_, mid_, exit_, left_, side_enter_;
};

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST_F(TagsTest, StopStartAndHardBrake) {
  // 8 m/s; from 2.0 s -4 m/s^2 until it stands at 4.0 s; drives off at 6.0 s with 2 m/s^2.
  for (int i = 0; i <= 100; ++i) {
    const double t = i * 0.1;
    ActorState& state = Ego()[i];
    state.speed_mps = t < 2 ? 8 : t < 4 ? 8 - 4 * (t - 2) : t < 6 ? 0 : 2 * (t - 6);
    state.accel_mps2 = i < 20 ? 0 : i < 40 ? -4 : i < 60 ? 0 : 2;
  }
  EXPECT_THAT(Times("ego.hard_brake"), ElementsAre(Pair(2.0, 3.9)));
  // Stands below 0.2 m/s: from 4.0 (3.9 has 0.4) to 6.0 (6.1 has 0.2).
  EXPECT_THAT(Times("ego.stopped"), ElementsAre(Pair(4.0, 6.0)));
  // Under way means 3 m/s: last at 3.2 s (3.2 m/s), first again at 7.5 s.
  EXPECT_THAT(Times("ego.stop"), ElementsAre(Pair(3.2, 4.0)));
  EXPECT_THAT(Times("ego.start"), ElementsAre(Pair(6.0, 7.5)));
}

TEST_F(TagsTest, RoundaboutAndWhoEntersWhileEgoCirculates) {
  for (int i = 0; i <= 100; ++i) Ego()[i].speed_mps = 5;
  for (int i = 0; i <= 30; ++i) Ego()[i].center_m.x() = 30 + 2.2 * i;
  SetLane(&Ego(), 31, 35, enter_);
  SetLane(&Ego(), 36, 45, Lane(ring1_));
  SetLane(&Ego(), 46, 50, mid_);
  SetLane(&Ego(), 51, 60, Lane(ring2_));
  SetLane(&Ego(), 61, 65, exit_);
  SetLane(&Ego(), 66, 100, Lane(out_));
  TrafficActor other;
  other.id = "other";
  other.size_m = {4, 2, 1.5};
  other.first_step = 20;
  other.states = Still(Lane(side_), 60);  // steps 20 .. 79
  for (ActorState& state : other.states) state.center_m = {112, -30, 0};
  SetLane(&other.states, 28, 35, side_enter_);  // steps 48 .. 55
  SetLane(&other.states, 36, 59, Lane(ring2_));
  log_.actors.push_back(other);
  EXPECT_THAT(Times("ego.roundabout_enter"), ElementsAre(Pair(3.1, 3.5)));
  EXPECT_THAT(Times("ego.roundabout_circulate"), ElementsAre(Pair(3.6, 6.0)));
  EXPECT_THAT(Times("ego.roundabout_exit"), ElementsAre(Pair(6.1, 6.5)));
  // Its front (2 m ahead of the middle) is within 50 m of the end from x = 48 on: step 9.
  EXPECT_THAT(Times("ego.roundabout_approach"), ElementsAre(Pair(0.9, 3.1)));
  EXPECT_THAT(Times("actor.roundabout_enter", 1), ElementsAre(Pair(4.8, 5.5)));
  EXPECT_THAT(Times("actor.roundabout_enter_while_ego_circulates", 1), ElementsAre(Pair(4.8, 5.5)));
  // On the ring before it: the same entry counts no more.
  SetLane(&Ego(), 31, 60, Lane(in_));
  EXPECT_THAT(Times("actor.roundabout_enter_while_ego_circulates", 1), IsEmpty());
}

TEST_F(TagsTest, TurnLaneChangeAndCutIn) {
  for (int i = 0; i <= 100; ++i) {
    Ego()[i].speed_mps = 6;
    Ego()[i].center_m.x() = 0.3 * i;
  }
  SetLane(&Ego(), 70, 80, left_);
  for (int i = 70; i <= 100; ++i) {
    Ego()[i].yaw_rad = std::min(1.0, (i - 70) / 15.0) * std::numbers::pi / 2;
  }
  SetLane(&Ego(), 81, 100, Lane(up_));
  TrafficActor other;
  other.id = "other";
  other.size_m = {4, 2, 1.5};
  other.states = Still(Lane(in_, 1), 60);
  for (int i = 0; i < 60; ++i) other.states[i].center_m.x() = 12 + 0.3 * i;
  SetLane(&other.states, 30, 59, Lane(in_, 0));
  log_.actors.push_back(other);
  EXPECT_THAT(Times("ego.turn_left"), ElementsAre(Pair(7.0, 8.0)));
  EXPECT_THAT(Times("ego.turn_right"), IsEmpty());
  EXPECT_THAT(Times("actor.lane_change_right", 1), ElementsAre(Pair(1.5, 4.5)));
  EXPECT_THAT(Times("actor.cut_in", 1), ElementsAre(Pair(1.5, 4.5)));
  EXPECT_THAT(Times("ego.follow_lane"), ElementsAre(Pair(0.0, 6.9), Pair(8.1, 10.0)));
  // Farther ahead than 20 m it cuts nobody off.
  for (int i = 0; i < 60; ++i) log_.actors[1].states[i].center_m.x() += 20;
  EXPECT_THAT(Times("actor.cut_in", 1), IsEmpty());
}

TEST_F(TagsTest, JaywalkersDogsAndFlocks) {
  TrafficActor walker;
  walker.actor_class = ActorClass::kPedestrian;
  walker.size_m = {0.5, 0.5, 1.8};
  walker.states.resize(101);
  // Crosses both lanes of "in" (y from -1.5 to 4.5) at 1 m/s, from y = -3.05 on.
  for (int i = 0; i <= 100; ++i) walker.states[i].center_m = {50, -3.05 + 0.1 * i, 0.9};
  log_.actors.push_back(walker);
  TrafficActor dog = walker;
  dog.actor_class = ActorClass::kDog;
  dog.first_step = 10;
  dog.states.resize(21);
  log_.actors.push_back(dog);
  for (int i = 0; i < 3; ++i) {
    TrafficActor sheep = dog;
    sheep.actor_class = ActorClass::kSheep;
    sheep.group = 7;
    sheep.first_step = 10 * i;
    log_.actors.push_back(sheep);
  }
  EXPECT_THAT(Times("actor.jaywalk", 1), ElementsAre(Pair(1.6, 7.5)));
  EXPECT_THAT(Times("type.dog", 2), ElementsAre(Pair(1.0, 3.0)));
  EXPECT_THAT(Times("type.sheep_flock"), ElementsAre(Pair(0.0, 4.0)));
}

TEST_F(TagsTest, YieldingNeedsAGreenOrNoLightAndOthersThatPass) {
  for (int i = 0; i <= 100; ++i) {
    Ego()[i].center_m = {96, 0, 0};
    Ego()[i].speed_mps = i < 40 ? 0 : 4;
    if (i >= 40) Ego()[i].lane = enter_;
  }
  EXPECT_THAT(Times("ego.yield"), IsEmpty());
  net_.junctions[1].roundabout = 0;
  TrafficActor other;
  other.size_m = {4, 2, 1.5};
  other.states = Still(Lane(ring1_), 60);
  for (ActorState& state : other.states) {
    state.center_m = {106, 0, 0};
    state.speed_mps = 6;
  }
  log_.actors.push_back(other);
  EXPECT_THAT(Times("ego.yield"), ElementsAre(Pair(0.0, 3.9)));
  net_.lights = {"light"};
  net_.connections.push_back({Lane(in_), Lane(ring1_), enter_, TurnDirection::kStraight, 0, 0});
  log_.lights = {{0, 0, "r"}};
  EXPECT_THAT(Times("ego.yield"), IsEmpty());
}

}  // namespace
}  // namespace athanor
