#include "athanor/scenes/gaussians/reconstruct_run.h"

#include <nlohmann/json.hpp>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/hash.h"
#include "athanor/base/parallel.h"

namespace athanor {

std::filesystem::path SceneOfRun(const std::filesystem::path& run_folder) {
  return run_folder / "scene.ply";
}

void CreateReconstructRun(const TrainingRun& run, const std::filesystem::path& input,
                          const ReconstructOptions& options) {
  ReconstructOptions copy = options;
  const std::string config = Describe(copy).ToToml();
  const nlohmann::ordered_json about = {{"kind", "scene reconstruct"},
                                        {"input", std::filesystem::absolute(input).string()},
                                        {"threads", NumThreads()},
                                        {"options_hash", HexDigits(HashBytes(config))}};
  run.Create(config, about.dump(2) + "\n");
}

RunInfo ReadRun(const std::filesystem::path& run_folder) {
  const auto path = run_folder / "run.json";
  ATHANOR_CHECK(std::filesystem::exists(path), run_folder.string(),
                ": expected a run folder with run.json, found none");
  const auto run = nlohmann::json::parse(ReadFile(path), nullptr, /*allow_exceptions=*/false);
  ATHANOR_CHECK(run.is_object() && run.contains("input") && run["input"].is_string(), path.string(),
                ": expected a JSON object with a text 'input'");
  RunInfo info;
  info.input = run["input"].get<std::string>();
  Describe(info.options).ReadToml(run_folder / "config.toml");
  info.scene = SceneOfRun(run_folder);
  info.step = TrainingRun(run_folder).CheckpointStep();
  return info;
}

Split MakeSplit(const PosedImages& posed, const ReconstructOptions& options) {
  Split split;
  if (!options.test_list.empty()) {
    split = SplitByList(posed, options.test_list);
  } else if (auto given = SplitAsGiven(posed)) {
    split = *given;
  } else {
    split = SplitEvery(posed, options.test_every);
  }
  ATHANOR_CHECK(!split.train.empty(), posed.source, ": no image is left to train on");
  return split;
}

}  // namespace athanor
