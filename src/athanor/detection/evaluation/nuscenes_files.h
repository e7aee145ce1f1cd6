// The files of the nuScenes detection benchmark: results JSON in and out, the configuration, and
// the two files of metrics that the devkit writes. Format:
// https://www.nuscenes.org/object-detection ("Results format").
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/detection/evaluation/nuscenes_eval.h"

namespace athanor {

// Reads {"meta": {...}, "results": {sample token: [box, ...]}} of any size: the file is mapped, not
// copied, and parsed on several cores. "unscored", of the same form, may hold animals, which
// official tools do not see; a sample's come after its others. Throws Error in one line (file, byte
// or sample, expectation) for damaged JSON, a wrong type, an unknown class or attribute, a number
// that is not finite (a velocity may be NaN), a size that is not positive, a sample that comes
// twice, or more boxes in a sample than `max_boxes_per_sample`.
NuscenesResults ReadNuscenesResults(const std::filesystem::path& path,
                                    int max_boxes_per_sample = 500);
// From text; `name` is what messages call it.
NuscenesResults ParseNuscenesResults(std::string_view text, const std::string& name,
                                     int max_boxes_per_sample = 500);
// Writes results as they come: in memory are the names of samples, and boxes of "unscored". Numbers
// are written so that reading gives back the same bits. Unless Commit() is reached, `path` stays as
// it was. Throws Error.
class NuscenesResultsWriter {
 public:
  NuscenesResultsWriter(const std::filesystem::path& path, const std::string& meta_json);
  ~NuscenesResultsWriter();

  // A sample, which has not come before.
  void Add(const std::string& sample_token, std::span<const NuscenesBox> boxes);
  void Commit();

 private:
  struct State;
  std::unique_ptr<State> state_;
};
// All at once.
void WriteNuscenesResults(const std::filesystem::path& path, const NuscenesResults& results);

// A configuration as the devkit has it (eval/detection/configs/*.json); "animal" may be an eleventh
// class_range.
NuscenesConfig ReadNuscenesConfig(const std::filesystem::path& path);

// FOLDER/metrics_summary.json and FOLDER/metrics_details.json, byte for byte as the devkit writes
// the same numbers. `curves` as SummarizeNuscenes gives them, `meta_json` from the results. What
// the devkit does not score is in FOLDER/metrics_unscored.json: "animal" with its "mean_dist_ap".
void WriteNuscenesMetrics(const std::filesystem::path& folder, const NuscenesMetrics& metrics,
                          const std::vector<NuscenesCurve>& curves, const NuscenesConfig& config,
                          const std::string& meta_json);

// A number as Python's repr writes it: the shortest that reads back the same ("0.1", "1e-05",
// "NaN").
std::string PythonNumber(double value);

}  // namespace athanor
