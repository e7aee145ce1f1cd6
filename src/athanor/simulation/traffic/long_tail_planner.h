// Plans what crosses the ego vehicle's way; every kind of actor adds itself to one plan. Internal
// to traffic/. Definitions: long_tail.cc (the plan as a whole), long_tail_things.cc (parked cars
// and what stands or blows about), long_tail_walkers.cc (people and animals), long_tail_works.cc
// (what blocks a part of the road).
#pragma once

#include <Eigen/Core>
#include <cmath>
#include <functional>
#include <vector>

#include "athanor/base/random.h"
#include "athanor/simulation/traffic/long_tail.h"

namespace athanor {

// A place on the ego vehicle's way where something can happen: well within an edge, at speed.
struct Encounter {
  int edge;
  double position_m;
  double time_s;  // when the ego vehicle would be there
  double speed_mps;
};

class LongTailPlanner {
 public:
  LongTailPlanner(const RoadNetwork& roads, const TrafficOptions& options,
                  const std::vector<ActorState>& ego, int num_steps, Random* random)
      : roads_(roads), options_(options), ego_(ego), num_steps_(num_steps), random_(*random) {}

  LongTailPlan Plan();

 private:
  // Poisson, so that the frequency is the mean.
  void Repeat(double mean, const std::function<void()>& body);
  double Range(double low, double high) { return low + (high - low) * random_.Uniform(); }
  TrafficActor NewActor(ActorClass actor_class, const Eigen::Vector3d& size_m);
  Eigen::Vector3d PersonSize() { return {Range(0.45, 0.65), Range(0.5, 0.65), Range(1.52, 1.92)}; }

  // Stands still at a place for the whole log.
  void AddStatic(TrafficActor actor, const Eigen::Vector3d& ground, double yaw_rad);
  // Moves along a path given by the place of its feet at each step, facing where it goes.
  void AddMoving(TrafficActor actor, const std::vector<Eigen::Vector3d>& ground, double yaw_rad);

  void FindNearEdges();
  double Length(int edge) const;
  // SUMO's metres along an edge per metre of its centre line.
  double SumoMetres(int edge) const;
  bool NearEgo(const Eigen::Vector3d& place, double within_m) const;
  // A place beside the road, `offset_m` beyond its outermost lane, on the edge's right side.
  Eigen::Vector3d Beside(const RoadSection& section, double offset_m) const;
  static Eigen::Vector3d Left(double yaw_rad) { return {-std::sin(yaw_rad), std::cos(yaw_rad), 0}; }
  static Eigen::Vector3d Ahead(double yaw_rad) { return {std::cos(yaw_rad), std::sin(yaw_rad), 0}; }
  // Whether a place lies in a junction's area or on any lane at all.
  bool OnPavement(const Eigen::Vector3d& place, double margin_m) const;

  // long_tail_things.cc.
  // Parking strips where there are some; else at the kerb of quiet roads.
  void Park();
  // A random place along the roads around the ego vehicle's way.
  bool RandomSection(RoadSection* section, int* edge, double margin_m);
  void Shrub();
  // Where things stand on a sidewalk: along its back, so that most of it stays free. False where
  // there is none.
  bool OnSidewalk(const Eigen::Vector3d& size_m, LinePoint* at);
  void BicycleRack();
  void Bins();
  // Whether another's box, at any time, overlaps with that of a thing that stands. From above.
  static bool Meet(const TrafficActor& thing, const TrafficActor& other);
  // Nobody parks, and nothing stands, where somebody of ours walks or where works are: a flock that
  // crosses would go through the cars at the kerb.
  void ClearWays();
  // A thin bag in the wind: gusts, hops, turns.
  void Bag();

  // Where the ego vehicle drives at speed on a plain stretch of road, between two moments.
  bool FindEncounter(double from_s, double to_s, double least_speed, Encounter* encounter);
  double EndTime() const { return (num_steps_ - 1) * options_.step_s; }

  // long_tail_walkers.cc.
  // A straight way over the road, from outside its right border to outside its left one (or back),
  // begun such that the driving lanes are entered at `enter_s`.
  struct Crossing {
    Eigen::Vector3d start, direction;
    double speed_mps, start_s, enter_s, leave_s, length_m;
  };
  Crossing PlanCrossing(const RoadSection& section, bool from_right, double speed_mps,
                        double enter_s, double beside_m);
  // Metres gone at time t: at rest until the start, at full speed within a second.
  static double Gone(const Crossing& crossing, double t);
  void AddCrosser(TrafficActor actor, const Crossing& crossing, const Eigen::Vector3d& offset,
                  double wobble_m, double delay_s);
  // Drivers of both directions stop for it.
  void AddStop(const Encounter& encounter, const RoadSection& section, double begin_s, double end_s,
               double half_width_m);
  // Walks along a sidewalk (or the roadside) at the ego vehicle's way.
  bool AddWalkers(const std::function<void(const std::vector<Eigen::Vector3d>&, double yaw)>& add,
                  double speed_mps);
  void SmallWheels();
  Eigen::Vector3d DogSize();
  void Dog();
  void Jaywalker();
  void Sheep();

  // long_tail_works.cc.
  // Keeps to the right part of the outermost driving lane; drivers slow down and pass.
  void AddIntrusion(const Encounter& encounter, double begin_m, double end_m, double shift_m);
  void RoadWorks();
  void Cargo();

  const RoadNetwork& roads_;
  const TrafficOptions& options_;
  const std::vector<ActorState>& ego_;
  const int num_steps_;
  Random& random_;
  std::vector<int> near_edges_;
  std::vector<Encounter> used_;
  LongTailPlan plan_;
  int number_ = 0, group_ = 0;
};

}  // namespace athanor
