// Where the boxes of frames come from: what people drew into a log, or what a detector found, in
// the result files of the nuScenes benchmark (`detect predict`, `infer`).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "athanor/datasets/log.h"
#include "athanor/loop/mining/mined_box.h"

namespace athanor {

struct NuscenesResults;

struct SourcedBox {
  Box3 box;  // world frame
  std::string class_name;
  // Into the classes of the nuScenes benchmark and "animal"; -1: none of them.
  int class_index = -1;
  double score = 1;
  int track = -1;   // of annotations: index into Log::tracks
  int points = -1;  // LiDAR points inside, as annotated; -1: not known
};

// The box as miners compare it, of frame number `frame`.
MinedBox ToMinedBox(const SourcedBox& box, int64_t frame);

class BoxSource {
 public:
  // What is in the logs, in the data set's own words ("vehicle.car").
  static BoxSource Annotations();
  // Reads a results file. Throws Error (file, byte or sample, expectation).
  static BoxSource Results(const std::filesystem::path& path);
  // "annotations", or the path of results.
  static BoxSource Open(const std::string& name);

  const std::string& name() const { return name_; }
  bool is_annotations() const { return results_ == nullptr; }
  // Two sources of one identity have the same boxes.
  const std::string& identity() const { return identity_; }

  // In the source's order. None for a frame that results do not have.
  std::vector<SourcedBox> Boxes(const Log& log, int frame) const;
  bool Has(const Log& log, int frame) const;

 private:
  std::string name_, identity_;
  std::shared_ptr<const NuscenesResults> results_;
  std::unordered_map<std::string, int64_t> sample_of_token_;
};

}  // namespace athanor
