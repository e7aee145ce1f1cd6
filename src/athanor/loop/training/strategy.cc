#include "athanor/loop/training/strategy.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "athanor/base/error.h"

namespace athanor {
namespace {

// What strategies share: random numbers of a member, new networks, continued ones.
class Planner {
 public:
  explicit Planner(const StrategyContext& context) : context_(context) {}

 protected:
  const PopulationOptions& options() const { return context_.options; }
  const SearchSpace& space() const { return context_.space; }

  Random RandomOf(int64_t id) const {
    return Random(MixBits(static_cast<uint64_t>(options().seed)) ^
                  MixBits(static_cast<uint64_t>(id) + 0xa7));
  }
  ParetoPoint PointOf(const Member& member) const {
    return ScaledPoint(context_.objectives, member.objectives);
  }
  ParetoPoint Reference() const { return ParetoPoint(context_.objectives.size(), 0.0); }

  Member Planned(int64_t id, int64_t trial, HyperParameters hyper) const {
    Member member;
    member.id = id, member.trial = trial;
    member.hyper = std::move(hyper);
    member.seed = MixBits(MixBits(static_cast<uint64_t>(options().seed) + 0x5eed) ^
                          static_cast<uint64_t>(id));
    member.steps = 1;
    return member;
  }
  // A new network; or, as every other one where there are such, one that goes on from an earlier
  // run, its parameters mutated so that it can learn again.
  Member NewMember(const std::vector<Member>& members, int64_t trial, int64_t number,
                   Random* random) const {
    const int64_t id = std::ssize(members);
    std::vector<const Member*> imported;
    for (const Member& member : members) {
      if (member.state == MemberState::kImported) imported.push_back(&member);
    }
    if (imported.empty() || number % 2 == 1) return Planned(id, trial, space().Sample(random));
    const Member& parent = *imported[number / 2 % imported.size()];
    Member child = Continued(id, trial, parent, parent.hyper);
    child.mutation = {random->Uniform(static_cast<float>(options().shrink), 1),
                      random->Uniform() * options().perturb};
    return child;
  }
  Member Continued(int64_t id, int64_t trial, const Member& parent, HyperParameters hyper) const {
    Member member = Planned(id, trial, std::move(hyper));
    member.parents = {parent.id};
    member.steps = parent.steps + 1;
    return member;
  }

  const StrategyContext context_;
};

class ParetoStrategy : public Strategy, Planner {
 public:
  using Planner::Planner;

  void See(const Member& member) override {
    if (member.state != MemberState::kEvaluated) return;
    pool_.push_back(member.id);
    points_.push_back(PointOf(member));
    std::vector<int64_t> pool;
    std::vector<ParetoPoint> points;
    for (const int i : SelectBest(points_, Reference(), options().population)) {
      pool.push_back(pool_[i]);
      points.push_back(points_[i]);
    }
    pool_ = std::move(pool), points_ = std::move(points);
  }

  std::optional<Member> Next(const std::vector<Member>& members) override {
    const int64_t id = std::ssize(members);
    Random random = RandomOf(id);
    int64_t begun = 0, open = 0;
    std::map<int64_t, int> children;
    for (const Member& member : members) {
      begun += member.state != MemberState::kImported;
      open += member.is_open();
      if (!member.parents.empty()) ++children[member.parents[0]];
    }
    if (begun < options().population) return NewMember(members, id, begun, &random);
    if (pool_.empty() && open > 0) return std::nullopt;
    if (pool_.empty() || random.Uniform() < options().newborn) {
      return Planned(id, id, space().Sample(&random));
    }
    const auto next = std::min_element(pool_.begin(), pool_.end(), [&](int64_t a, int64_t b) {
      return children[a] < children[b];
    });
    const Member& parent = members[*next];
    HyperParameters hyper = parent.hyper;
    int64_t other = -1;
    // A second child of the same hyper-parameters would be the same network but for its samples.
    if (children[*next] > 0 || random.Uniform() < options().explore) {
      if (random.Uniform() < options().cross) {
        other = pool_[random.Below(static_cast<uint32_t>(pool_.size()))];
        hyper = space().Cross(hyper, members[other].hyper, &random);
      }
      hyper = space().Perturb(hyper, options().resample, &random);
    }
    Member child = Continued(id, parent.trial, parent, std::move(hyper));
    if (other >= 0 && other != parent.id) child.parents.push_back(other);
    if (random.Uniform() < options().mutate) {
      if (random.Below(2) == 0) {
        child.mutation.shrink = random.Uniform(static_cast<float>(options().shrink), 1);
        child.mutation.perturb = random.Uniform() * options().perturb;
      } else {
        child.mutation.replace = random.Uniform() * options().replace;
      }
    }
    return child;
  }

  std::set<int64_t> Live() const override { return {pool_.begin(), pool_.end()}; }

 private:
  std::vector<int64_t> pool_;  // best first
  std::vector<ParetoPoint> points_;
};

// Places that each train one line of members: random search, and population-based training.
class PlacesStrategy : public Strategy, Planner {
 public:
  PlacesStrategy(const StrategyContext& context, bool copies)
      : Planner(context),
        copies_(copies),
        weights_(ParseWeights(context.options.weights, context.objectives.size())),
        places_(context.options.population) {}

  void See(const Member& member) override {
    Place& place = places_.at(member.trial);
    place.latest = member.id;
    place.is_alive = member.state == MemberState::kEvaluated;
    if (!place.is_alive) return;
    const ParetoPoint point = PointOf(member);
    place.score = std::inner_product(point.begin(), point.end(), weights_.begin(), 0.0);
  }

  std::optional<Member> Next(const std::vector<Member>& members) override {
    const int64_t id = std::ssize(members);
    Random random = RandomOf(id);
    std::vector<int64_t> count(places_.size()), open(places_.size());
    for (const Member& member : members) {
      if (member.state == MemberState::kImported) continue;
      ++count[member.trial];
      open[member.trial] += member.is_open();
    }
    // The place that is behind.
    int64_t trial = -1;
    for (int64_t p = 0; p < std::ssize(places_); ++p) {
      if (open[p] == 0 && (trial < 0 || count[p] < count[trial])) trial = p;
    }
    if (trial < 0) return std::nullopt;
    const Place& place = places_[trial];
    if (place.latest < 0) return NewMember(members, trial, trial, &random);
    if (copies_) {
      std::vector<int64_t> ranked;  // worst first
      for (int64_t p = 0; p < std::ssize(places_); ++p) {
        if (places_[p].is_alive) ranked.push_back(p);
      }
      std::stable_sort(ranked.begin(), ranked.end(),
                       [&](int64_t a, int64_t b) { return places_[a].score < places_[b].score; });
      const auto quarter = static_cast<uint32_t>((ranked.size() + 3) / 4);
      const bool is_low = ranked.size() >= 2 && std::find(ranked.begin(), ranked.begin() + quarter,
                                                          trial) != ranked.begin() + quarter;
      if ((is_low || !place.is_alive) && !ranked.empty()) {
        const int64_t winner = ranked[ranked.size() - 1 - random.Below(quarter)];
        const Member& parent = members[places_[winner].latest];
        return Continued(id, trial, parent,
                         space().Perturb(parent.hyper, options().resample, &random));
      }
    }
    if (!place.is_alive) return Planned(id, trial, space().Sample(&random));
    const Member& parent = members[place.latest];
    return Continued(id, trial, parent, parent.hyper);
  }

  std::set<int64_t> Live() const override {
    std::set<int64_t> live;
    for (const Place& place : places_) {
      if (place.is_alive) live.insert(place.latest);
    }
    return live;
  }

 private:
  struct Place {
    int64_t latest = -1;  // member
    bool is_alive = false;
    double score = 0;
  };

  const bool copies_;
  const std::vector<double> weights_;
  std::vector<Place> places_;
};

class HalvingStrategy : public Strategy, Planner {
 public:
  explicit HalvingStrategy(const StrategyContext& context) : Planner(context) {
    // As far as random search takes each of its places.
    const int64_t most = std::max<int64_t>(1, context.options.budget / context.options.population);
    for (int64_t steps = 1; steps < most; steps *= context.options.eta) rungs_.push_back(steps);
    rungs_.push_back(most);
    reached_.resize(rungs_.size());
  }

  void See(const Member& member) override {
    if (member.state == MemberState::kFailed) {
      latest_.erase(member.trial);
      return;
    }
    latest_[member.trial] = member.id;
    const auto rung = std::find(rungs_.begin(), rungs_.end(), member.steps);
    if (rung == rungs_.end()) {
      between_.insert(member.trial);
      return;
    }
    between_.erase(member.trial);
    reached_[rung - rungs_.begin()].push_back({member.trial, member.id, PointOf(member)});
  }

  std::optional<Member> Next(const std::vector<Member>& members) override {
    const int64_t id = std::ssize(members);
    Random random = RandomOf(id);
    std::set<int64_t> open;
    int64_t begun = 0;
    for (const Member& member : members) {
      if (member.is_open()) open.insert(member.trial);
      begun += member.state != MemberState::kImported && member.steps == 1;
    }
    const auto on = [&](int64_t trial) {
      const Member& parent = members[latest_.at(trial)];
      return Continued(id, trial, parent, parent.hyper);
    };
    for (const int64_t trial : between_) {
      if (latest_.contains(trial) && !open.contains(trial)) return on(trial);
    }
    for (size_t r = rungs_.size() - 1; r-- > 0;) {
      std::vector<ParetoPoint> points;
      for (const Reached& reached : reached_[r]) points.push_back(reached.point);
      const int promoted = static_cast<int>(points.size()) / options().eta;
      for (const int i : SelectBest(points, Reference(), promoted)) {
        const Reached& reached = reached_[r][i];
        const auto latest = latest_.find(reached.trial);
        if (latest != latest_.end() && latest->second == reached.member &&
            !open.contains(reached.trial)) {
          return on(reached.trial);
        }
      }
    }
    return NewMember(members, id, begun, &random);
  }

  std::set<int64_t> Live() const override {
    std::set<int64_t> live;
    for (const auto& [trial, member] : latest_) live.insert(member);
    return live;
  }

 private:
  struct Reached {
    int64_t trial, member;
    ParetoPoint point;
  };
  std::vector<int64_t> rungs_;                 // short steps
  std::vector<std::vector<Reached>> reached_;  // of each
  std::map<int64_t, int64_t> latest_;          // trial to member
  std::set<int64_t> between_;                  // trials on their way to a rung
};

}  // namespace

std::unique_ptr<Strategy> MakeStrategy(const StrategyContext& context) {
  const std::string& name = context.options.strategy;
  if (name == "pareto") return std::make_unique<ParetoStrategy>(context);
  if (name == "pbt") return std::make_unique<PlacesStrategy>(context, true);
  if (name == "random") return std::make_unique<PlacesStrategy>(context, false);
  ATHANOR_CHECK(name == "asha", "there is no strategy '", name, "'");
  return std::make_unique<HalvingStrategy>(context);
}

}  // namespace athanor
