// A member of a population: one network at one moment, which never changes. Training it for a short
// step gives a new member, its child.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/loop/training/trainable.h"

namespace athanor {

enum class MemberState {
  kPlanned,    // to be trained
  kTrained,    // to be evaluated; from here on there is a checkpoint
  kEvaluated,  // may be a parent
  kFailed,     // diverged, or killed those who trained it
  kImported    // came from an earlier run: a parent without objectives, and no part of the front
};
std::string_view MemberStateName(MemberState state);

struct Member {
  int64_t id = 0;  // from 0, in the order of planning
  MemberState state = MemberState::kPlanned;
  int64_t trial = 0;  // which line of members this one continues: a place of the population
  // The first gave the weights, a second one part of the hyper-parameters. None: a new network.
  std::vector<int64_t> parents;
  HyperParameters hyper;
  ParameterMutation mutation;
  uint64_t seed = 0;
  int64_t steps = 0;  // short steps that its weights have behind them, with its own

  std::string checkpoint_sha256;
  bool has_checkpoint = false;  // false again when nothing needs it any more
  TrainReport report;
  std::map<std::string, double> objectives;
  std::string failure;                 // one line
  int64_t order = -1;                  // in which members were evaluated or failed, from 0
  double train_s = 0, evaluate_s = 0;  // wall time of the worker

  bool is_open() const { return state == MemberState::kPlanned || state == MemberState::kTrained; }
};

}  // namespace athanor
