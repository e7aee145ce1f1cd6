#include "athanor/nn/training_run.h"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/base/parallel.h"
#include "athanor/base/progress.h"

namespace athanor {
namespace {

constexpr const char* kCheckpoints = "checkpoints";
constexpr size_t kKeptCheckpoints = 2;

}  // namespace

void TrainingRun::CheckFree() const {
  ATHANOR_CHECK(!std::filesystem::exists(config()), path_.string(),
                ": already holds a run; go on with --resume, or choose another folder");
}

void TrainingRun::Create(const std::string& config_toml, const std::string& run_json) const {
  MakeFolder(path_ / kCheckpoints);
  if (!run_json.empty()) WriteFile(path_ / "run.json", run_json);
  WriteFile(config(), config_toml);
}

void TrainingRun::CompareThreads(int processes) const {
  const auto path = path_ / "run.json";
  if (!std::filesystem::exists(path)) return;
  const auto run = nlohmann::json::parse(ReadFile(path), nullptr, /*allow_exceptions=*/false);
  const auto compare = [&](const char* one, const char* many, int64_t now) {
    if (!run.is_object() || !run.contains(many) || !run[many].is_number_integer()) return;
    const auto before = run[many].get<int64_t>();
    if (before == now) return;
    LogWarning(StrCat(path_.string(), ": began with ", before, " ", before == 1 ? one : many,
                      ", goes on with ", now,
                      ": the result is not, byte by byte, that of an unbroken run (--", many, ")"));
  };
  compare("thread", "threads", NumThreads());
  compare("process", "processes", processes);
}

void TrainingRun::SaveCheckpoint(int64_t step, const SafeTensors& content) const {
  char name[48];
  std::snprintf(name, sizeof name, "step_%08ld.safetensors", static_cast<long>(step));
  WriteSafeTensors(path_ / kCheckpoints / name, content);
  auto files = ListFiles(path_ / kCheckpoints, {".safetensors"});
  for (size_t i = 0; i + kKeptCheckpoints < files.size(); ++i) std::filesystem::remove(files[i]);
}

std::optional<std::filesystem::path> TrainingRun::NewestCheckpoint() const {
  if (!std::filesystem::is_directory(path_ / kCheckpoints)) return std::nullopt;
  const auto files = ListFiles(path_ / kCheckpoints, {".safetensors"});
  if (files.empty()) return std::nullopt;
  return files.back();
}

int64_t TrainingRun::CheckpointStep() const {
  const auto checkpoint = NewestCheckpoint();
  if (!checkpoint) return 0;
  const std::string name = checkpoint->stem().string();
  const auto digits = name.find_first_of("0123456789");
  return digits == std::string::npos ? 0 : std::stoll(name.substr(digits));
}

void TrainingRun::AddMetrics(const std::string& line) const {
  AppendFile(path_ / "metrics.jsonl", line + "\n");
}

void TrainingRun::TruncateMetrics(int64_t step) const {
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

bool TrainingRun::Train(const TrainingLoop& loop) const {
  Progress progress(loop.title, loop.steps, loop.first);
  for (int64_t step = loop.first + 1; step <= loop.steps; ++step) {
    loop.step();
    progress.Update(step, loop.note());
    const bool last = step == loop.steps;
    if (last || step % loop.metrics_every == 0) AddMetrics(loop.metrics(step));
    if (!last && loop.observe) loop.observe(step);
    const bool stopped = !last && loop.stop && loop.stop();
    if (last || stopped || (loop.checkpoint_every > 0 && step % loop.checkpoint_every == 0)) {
      SaveCheckpoint(step, loop.checkpoint());
    }
    if (stopped) return false;
  }
  return true;
}

}  // namespace athanor
