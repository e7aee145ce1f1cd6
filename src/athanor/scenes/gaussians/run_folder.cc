#include "athanor/scenes/gaussians/run_folder.h"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/hash.h"
#include "athanor/base/parallel.h"

namespace athanor {
namespace {

constexpr const char* kCheckpoints = "checkpoints";
constexpr size_t kKeptCheckpoints = 2;

}  // namespace

void RunFolder::CheckFree() const {
  ATHANOR_CHECK(!std::filesystem::exists(path_ / "run.json"), path_.string(),
                ": already holds a run; go on with --resume, or choose another folder");
}

void RunFolder::Create(const std::filesystem::path& input,
                       const ReconstructOptions& options) const {
  MakeFolder(path_ / kCheckpoints);
  ReconstructOptions copy = options;
  const std::string config = Describe(copy).ToToml();
  WriteFile(path_ / "config.toml", config);
  const nlohmann::ordered_json run = {{"kind", "scene reconstruct"},
                                      {"input", std::filesystem::absolute(input).string()},
                                      {"threads", NumThreads()},
                                      {"options_hash", HexDigits(HashBytes(config))}};
  WriteFile(path_ / "run.json", run.dump(2) + "\n");
}

void RunFolder::SaveCheckpoint(int64_t step, const SafeTensors& content) const {
  char name[48];
  std::snprintf(name, sizeof name, "step_%08ld.safetensors", static_cast<long>(step));
  WriteSafeTensors(path_ / kCheckpoints / name, content);
  auto files = ListFiles(path_ / kCheckpoints, {".safetensors"});
  for (size_t i = 0; i + kKeptCheckpoints < files.size(); ++i) std::filesystem::remove(files[i]);
}

std::optional<std::filesystem::path> RunFolder::NewestCheckpoint() const {
  if (!std::filesystem::is_directory(path_ / kCheckpoints)) return std::nullopt;
  const auto files = ListFiles(path_ / kCheckpoints, {".safetensors"});
  if (files.empty()) return std::nullopt;
  return files.back();
}

void RunFolder::AddMetrics(const std::string& line) const {
  AppendFile(path_ / "metrics.jsonl", line + "\n");
}

void RunFolder::TruncateMetrics(int64_t step) const {
  const auto path = path_ / "metrics.jsonl";
  if (!std::filesystem::exists(path)) return;
  std::istringstream lines(ReadFile(path));
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    const auto metrics = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    // A line that a kill cut short is dropped too.
    if (metrics.is_object() && metrics.value("step", int64_t{0}) <= step) kept += line + "\n";
  }
  WriteFile(path, kept);
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
  const RunFolder folder(run_folder);
  info.scene = folder.scene();
  if (const auto checkpoint = folder.NewestCheckpoint()) {
    const std::string name = checkpoint->stem().string();
    const auto digits = name.find_first_of("0123456789");
    if (digits != std::string::npos) info.step = std::stoll(name.substr(digits));
  }
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
