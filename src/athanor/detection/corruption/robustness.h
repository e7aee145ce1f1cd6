// How well a detector resists corruptions: MultiCorrupt's resistance ability (RA) and relative
// resistance ability (RRA), arXiv 2402.11677 section III.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace athanor {

struct RobustnessTable {
  double clean = 0;                                      // score on clean data
  std::map<std::string, std::vector<double>> corrupted;  // per kind: one score per severity
};

struct RobustnessScores {
  std::map<std::string, double> of_kind;
  double mean = 0;  // over the kinds
};

// RA of a kind = mean over severities of score / clean score; mRA = mean over kinds. Throws Error
// for a clean score that is not positive, a kind without scores, or no kinds.
RobustnessScores ResistanceAbility(const RobustnessTable& table);

// RRA of a kind, percent = 100 (sum of scores / sum of the baseline's - 1); mRRA = their mean, over
// the kinds that both have. Throws Error when a kind has different numbers of severities, the
// baseline's sum is not positive, or no kind is shared.
RobustnessScores RelativeResistance(const RobustnessTable& table, const RobustnessTable& baseline);

// Scores from metrics_summary.json, as `detect eval --out` and the devkit write them: CLEAN/ and
// FOLDER/KIND/SEVERITY/ (also FOLDER/KIND/ for kinds of one severity). `metric` is a field of it:
// "nd_score" or "mean_ap". Throws Error (file, expectation).
RobustnessTable ReadRobustnessTable(const std::filesystem::path& clean,
                                    const std::filesystem::path& folder, const std::string& metric);

}  // namespace athanor
