#include "athanor/detection/corruption/robustness.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/detection/evaluation/json_cursor.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

double Sum(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

void SetMean(RobustnessScores* scores) {
  for (const auto& [kind, score] : scores->of_kind) scores->mean += score;
  scores->mean /= static_cast<double>(scores->of_kind.size());
}

// Undefined errors stand as NaN in these files, which strict parsers of JSON refuse.
double ReadScore(const fs::path& folder, const std::string& metric) {
  const fs::path path = folder / "metrics_summary.json";
  const std::string text = ReadFile(path), name = path.string();
  JsonCursor cursor(text, name);
  std::optional<double> score;
  std::string key;
  cursor.Expect('{', "an object of metrics");
  for (bool first = true; cursor.NextMember(&key, &first);) {
    if (key == metric) {
      score = cursor.ReadNumber(metric + " as a number");
    } else {
      cursor.SkipValue();
    }
  }
  cursor.ExpectEnd();
  ATHANOR_CHECK(score, name, ": expected a number '", metric, "', found none");
  ATHANOR_CHECK(*score >= 0 && *score <= 1, name, ": ", metric, ": expected 0 to 1, found ",
                *score);
  return *score;
}

std::vector<fs::path> FoldersOf(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.is_directory()) folders.push_back(entry.path());
  }
  ATHANOR_CHECK(!error, folder.string(), ": ", error.message());
  std::sort(folders.begin(), folders.end());
  return folders;
}

}  // namespace

RobustnessScores ResistanceAbility(const RobustnessTable& table) {
  ATHANOR_CHECK(table.clean > 0, "resistance ability: expected a clean score above 0, found ",
                table.clean);
  ATHANOR_CHECK(!table.corrupted.empty(), "resistance ability: expected scores on corrupted data");
  RobustnessScores scores;
  for (const auto& [kind, values] : table.corrupted) {
    ATHANOR_CHECK(!values.empty(), "resistance ability: ", kind, ": no score");
    scores.of_kind[kind] = Sum(values) / static_cast<double>(values.size()) / table.clean;
  }
  SetMean(&scores);
  return scores;
}

RobustnessScores RelativeResistance(const RobustnessTable& table, const RobustnessTable& baseline) {
  RobustnessScores scores;
  for (const auto& [kind, values] : table.corrupted) {
    const auto other = baseline.corrupted.find(kind);
    if (other == baseline.corrupted.end()) continue;
    ATHANOR_CHECK(values.size() == other->second.size(), "relative resistance: ", kind,
                  ": expected as many severities as the baseline's ", other->second.size(),
                  ", found ", values.size());
    const double sum = Sum(other->second);
    ATHANOR_CHECK(sum > 0, "relative resistance: ", kind, ": expected a baseline above 0, found ",
                  sum);
    scores.of_kind[kind] = 100 * (Sum(values) / sum - 1);
  }
  ATHANOR_CHECK(!scores.of_kind.empty(), "relative resistance: no corruption is in both tables");
  SetMean(&scores);
  return scores;
}

RobustnessTable ReadRobustnessTable(const fs::path& clean, const fs::path& folder,
                                    const std::string& metric) {
  RobustnessTable table;
  table.clean = ReadScore(clean, metric);
  for (const fs::path& kind : FoldersOf(folder)) {
    std::vector<double> scores;
    if (fs::exists(kind / "metrics_summary.json")) {
      if (fs::equivalent(kind, clean)) continue;
      scores.push_back(ReadScore(kind, metric));
    }
    for (const fs::path& severity : FoldersOf(kind)) {
      if (fs::exists(severity / "metrics_summary.json")) {
        scores.push_back(ReadScore(severity, metric));
      }
    }
    if (!scores.empty()) table.corrupted[kind.filename().string()] = scores;
  }
  ATHANOR_CHECK(!table.corrupted.empty(), folder.string(),
                ": expected KIND/SEVERITY/metrics_summary.json, found none");
  return table;
}

}  // namespace athanor
