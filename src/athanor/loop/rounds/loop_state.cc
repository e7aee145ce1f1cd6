#include "athanor/loop/rounds/loop_state.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "athanor/base/error.h"
#include "athanor/base/files.h"

namespace athanor {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

bool LoopRoundRecord::Has(const std::string& stage) const {
  return std::any_of(stages.begin(), stages.end(),
                     [&](const LoopStageRecord& done) { return done.name == stage; });
}

const LoopRoundRecord& LoopState::DeployedRound(size_t round) const {
  for (size_t r = std::min(round, rounds.size()); r-- > 0;) {
    if (rounds[r].is_promoted) return rounds[r];
  }
  throw Error("loop: expected a deployed model, found none");
}

const std::string& LoopState::Deployed(size_t round) const { return DeployedRound(round).weights; }

LoopState ReadLoopState(const fs::path& folder) {
  const fs::path path = folder / "state.json";
  LoopState state;
  if (!fs::exists(path)) return state;
  try {
    const ordered_json root = ordered_json::parse(ReadFile(path));
    ATHANOR_CHECK(root.at("athanor_loop").get<int>() == 1, path.string(),
                  ": expected a loop's state of version 1");
    for (const ordered_json& item : root.at("rounds")) {
      LoopRoundRecord& round = state.rounds.emplace_back();
      for (const ordered_json& stage : item.at("stages")) {
        round.stages.push_back(
            {stage.at("name").get<std::string>(), stage.at("seconds").get<double>()});
      }
      round.scores = item.at("scores").get<std::map<std::string, double>>();
      round.weights = item.at("weights").get<std::string>();
      round.is_promoted = item.at("is_promoted").get<bool>();
      round.decision = item.at("decision").get<std::string>();
      round.frames = item.at("frames").get<int64_t>();
      round.rare_in_batch = item.at("rare_in_batch").get<int64_t>();
      round.rare_frames = item.at("rare_frames").get<int64_t>();
      round.lake_frames = item.at("lake_frames").get<int64_t>();
    }
  } catch (const nlohmann::json::exception& error) {
    throw Error(StrCat(path.string(), ": expected a loop's state: ", error.what()));
  }
  return state;
}

void WriteLoopState(const fs::path& folder, const LoopState& state) {
  ordered_json root = {{"athanor_loop", 1}, {"rounds", ordered_json::array()}};
  for (const LoopRoundRecord& round : state.rounds) {
    ordered_json stages = ordered_json::array();
    for (const LoopStageRecord& stage : round.stages) {
      stages.push_back({{"name", stage.name}, {"seconds", stage.seconds}});
    }
    root["rounds"].push_back({{"stages", stages},
                              {"scores", round.scores},
                              {"weights", round.weights},
                              {"is_promoted", round.is_promoted},
                              {"decision", round.decision},
                              {"frames", round.frames},
                              {"rare_in_batch", round.rare_in_batch},
                              {"rare_frames", round.rare_frames},
                              {"lake_frames", round.lake_frames}});
  }
  WriteFile(folder / "state.json", root.dump(2) + "\n");
}

}  // namespace athanor
