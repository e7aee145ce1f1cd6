// Who is trained next, from what, and with which hyper-parameters.
//
// A strategy is a function of the configuration and of the members so far, in the order in which
// they were evaluated: a run that is taken up again plans what it would have planned.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "athanor/loop/training/member.h"
#include "athanor/loop/training/population_options.h"

namespace athanor {

// What all strategies go by.
struct StrategyContext {
  PopulationOptions options;
  SearchSpace space;
  std::vector<Objective> objectives;
};

class Strategy {
 public:
  virtual ~Strategy() = default;
  // A member that was evaluated or has failed; each once, in order.
  virtual void See(const Member& member) = 0;
  // The next member to plan; `members` are all so far. None: not before one of those at work is
  // done.
  virtual std::optional<Member> Next(const std::vector<Member>& members) = 0;
  // Who may still be a parent.
  virtual std::set<int64_t> Live() const = 0;
};

//   pareto  The population are the best by non-dominated rank, then by what they add to the
//           hypervolume (SelectBest; steady state as in SMS-EMOA, Beume et al., 2007). The one with
//           the fewest children is next; children explore hyper-parameters, cross them, mutate
//           parameters.
//   pbt     Population-based training of a weighted sum (Jaderberg et al., 2017): each place goes
//           on, but those in the lowest quarter copy one of the highest and explore.
//   asha    Asynchronous successive halving (Li et al., MLSys 2020), promoting by rank and
//           hypervolume instead of a single number (as MO-ASHA; Schmucker et al., 2021).
//   random  Each place draws its hyper-parameters once.
std::unique_ptr<Strategy> MakeStrategy(const StrategyContext& context);

}  // namespace athanor
