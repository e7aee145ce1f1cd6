// athanor log corrupt, athanor eval robustness
#include <iostream>
#include <optional>

#include "athanor/base/progress.h"
#include "athanor/cli/commands.h"
#include "athanor/cli/options_cli.h"
#include "athanor/detection/corruption/corrupt_dataset.h"
#include "athanor/detection/corruption/robustness.h"
#include "athanor/media/image.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

void CorruptOne(const fs::path& from, const fs::path& to, const Corruption& corruption,
                const CorruptDatasetOptions& options) {
  const std::string what = StrCat(CorruptionName(corruption.kind), " ", corruption.severity);
  std::unique_ptr<Progress> progress;
  const CorruptDatasetResult result =
      CorruptDataset(from, to, corruption, options, [&](int64_t done, int64_t total) {
        if (progress == nullptr) progress = std::make_unique<Progress>(what, total);
        progress->Update(done);
      });
  progress.reset();
  // Beside the data set, which holds what nuScenes has and nothing else.
  fs::path sheet = to;
  if (sheet.filename().empty()) sheet = sheet.parent_path();
  sheet += ".jpg";
  WriteImage(sheet, DrawBeforeAfter(from, to, corruption));
  std::cout << what << " (" << CorruptionHelp(corruption.kind) << ")\n  " << Grouped(result.changed)
            << " files changed (" << Grouped(result.present) << " before), "
            << Grouped(result.linked) << " others linked; " << to.string() << ", " << sheet.string()
            << "\n";
}

}  // namespace

CommandAction SetUpLogCorrupt(CLI::App& app) {
  struct State {
    fs::path from, to;
    std::string kind, fog = "depth";
    int severity = 0;
    Corruption corruption;
    CorruptDatasetOptions options;
  };
  auto state = std::make_shared<State>();
  AddPath(app, "PATH", &state->from, "nuScenes data set")->required();
  std::string kinds = "all, multicorrupt (the ten of MultiCorrupt), or one of";
  for (int k = 0; k < kNumCorruptions; ++k) {
    kinds += StrCat(k == 0 ? " " : ", ", CorruptionName(static_cast<CorruptionKind>(k)));
  }
  app.add_option("--kind", state->kind, kinds + " (docs/corruptions.md)")
      ->type_name("NAME")
      ->required();
  app.add_option("--severity", state->severity,
                 "1, 2 or 3 (default: 1; every one where --kind names several)")
      ->check(CLI::Range(1, 3).description(""))
      ->type_name("N");
  AddPath(app, "-o,--out", &state->to,
          "folder to write; with several kinds, OUT/KIND/SEVERITY for each")
      ->required();
  app.add_option("--seed", state->corruption.seed, "of the random numbers (default: 1000)")
      ->type_name("N");
  app.add_option("--image-fog", state->fog,
                 "fog in pictures by depth guessed from the LiDAR, or as MultiCorrupt draws it "
                 "(default: depth)")
      ->check(CLI::IsMember({"depth", "published"}).description(""))
      ->type_name("depth|published");
  return [state] {
    state->options.image_fog = state->fog == "depth" ? ImageFog::kByDepth : ImageFog::kAsPublished;
    const bool is_many = state->kind == "all" || state->kind == "multicorrupt";
    if (!is_many) {
      state->corruption.kind = CorruptionFromName(state->kind);
      state->corruption.severity = std::max(state->severity, 1);
      CorruptOne(state->from, state->to, state->corruption, state->options);
      return 0;
    }
    const int count = state->kind == "all" ? kNumCorruptions : kNumMultiCorrupt;
    for (int k = 0; k < count; ++k) {
      Corruption corruption = state->corruption;
      corruption.kind = static_cast<CorruptionKind>(k);
      for (int severity = 1; severity <= NumSeverities(corruption.kind); ++severity) {
        if (state->severity != 0 && severity != state->severity) continue;
        corruption.severity = severity;
        CorruptOne(state->from,
                   state->to / CorruptionName(corruption.kind) / std::to_string(severity),
                   corruption, state->options);
      }
    }
    return 0;
  };
}

CommandAction SetUpEvalRobustness(CLI::App& app) {
  struct State {
    fs::path clean, results, baseline_clean, baseline;
    std::string metric = "nd_score";
  };
  auto state = std::make_shared<State>();
  AddPath(app, "CLEAN", &state->clean, "folder of the metrics on clean data ('detect eval --out')")
      ->required();
  AddPath(app, "RESULTS", &state->results,
          "folder of the others: KIND/SEVERITY/metrics_summary.json")
      ->required();
  AddPath(app, "--baseline-clean", &state->baseline_clean, "CLEAN of the detector to compare with");
  AddPath(app, "--baseline", &state->baseline, "RESULTS of the detector to compare with");
  app.add_option("--metric", state->metric, "field of metrics_summary.json (default: nd_score)")
      ->check(CLI::IsMember({"nd_score", "mean_ap"}).description(""))
      ->type_name("nd_score|mean_ap");
  return [state] {
    if (state->baseline.empty() != state->baseline_clean.empty()) {
      throw UsageError("--baseline and --baseline-clean go together");
    }
    const RobustnessTable table = ReadRobustnessTable(state->clean, state->results, state->metric);
    const RobustnessScores scores = ResistanceAbility(table);
    std::optional<RobustnessScores> relative;
    if (!state->baseline.empty()) {
      relative = RelativeResistance(
          table, ReadRobustnessTable(state->baseline_clean, state->baseline, state->metric));
    }
    std::vector<std::vector<std::string>> rows = {{"corruption", "scores", "RA"}};
    if (relative) rows[0].push_back("RRA %");
    for (const auto& [kind, ra] : scores.of_kind) {
      std::string values;
      for (const double value : table.corrupted.at(kind)) {
        if (!values.empty()) values += ' ';
        values += Fixed(value, 4);
      }
      rows.push_back({kind, values, Fixed(ra, 3)});
      if (!relative) continue;
      const auto found = relative->of_kind.find(kind);
      rows.back().push_back(found == relative->of_kind.end() ? "-" : Fixed(found->second, 3));
    }
    rows.push_back({"mean", "", Fixed(scores.mean, 3)});
    if (relative) rows.back().push_back(Fixed(relative->mean, 3));
    std::cout << "clean " << state->metric << " " << Fixed(table.clean, 4) << "\n\n" << Table(rows);
    return 0;
  };
}

}  // namespace athanor
