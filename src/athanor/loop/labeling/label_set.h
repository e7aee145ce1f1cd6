// A version of labels: boxes of the frames of some logs, with where they come from. It never
// changes; another opinion is another version, with this one as its parent.
//
// File FOLDER/ID.labels: a line of JSON with the provenance, then a line per frame. ID is the
// SHA-256 of the file, which is also how damage is found.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/datasets/log.h"
#include "athanor/detection/evaluation/nuscenes_eval.h"
#include "athanor/loop/labeling/offline_tracker.h"
#include "athanor/loop/labeling/precision.h"

namespace athanor {

struct Label {
  NuscenesBox box;    // world frame; `score`: confidence
  std::string track;  // unique in its log; empty: none
  // "auto": by a model; "filled": between two of them; "person": drawn or confirmed by people.
  std::string source = "auto";
  bool is_accepted = false;  // to be trained on
};

struct FrameLabels {
  std::string log, frame;  // Log::name, LogFrame::id
  int64_t time_us = 0;
  bool is_complete = false;  // people have seen all of it
  std::vector<Label> labels;
};

// Where labels come from.
struct LabelProvenance {
  std::string kind;   // "auto", "words", "audited", "people"
  std::string model;  // name or file of the weights, or of the predictions
  std::string model_sha256;
  std::string data;     // SHA-256 over the ids and times of all frames
  std::string parent;   // id of the version that this one was made from; empty: none
  std::string options;  // of what made it, as text
  std::map<std::string, double> thresholds;  // by class; missing: goes to people
};

struct LabelSet {
  LabelProvenance provenance;
  std::vector<FrameLabels> frames;

  int64_t CountAccepted() const;
};

std::string EncodeLabels(const LabelSet& labels);
// Throws Error (`name`, line, expectation).
LabelSet DecodeLabels(std::string_view bytes, std::string_view name);

// Writes FOLDER/ID.labels. Returns the id. The same labels are the same file.
std::string StoreLabels(const std::filesystem::path& folder, const LabelSet& labels);
// `path`: the file. Throws Error, also when it is not what its name says.
LabelSet ReadLabels(const std::filesystem::path& path);

// The labels of a model's boxes, tracked with hindsight. `boxes`: per frame of the log.
std::vector<FrameLabels> LabelLog(const Log& log,
                                  const std::vector<std::vector<NuscenesBox>>& boxes,
                                  const TrackerOptions& options);

// SHA-256 that names the frames of labels.
std::string NameFrames(const std::vector<FrameLabels>& frames);

// What an audit found: labels beside truth, class by class.
struct LabelAudit {
  std::array<ClassThreshold, kNuscenesAllClasses> thresholds;
  std::array<int64_t, kNuscenesAllClasses> right = {};   // labels, of any confidence
  std::array<int64_t, kNuscenesAllClasses> truths = {};  // true boxes of the audited frames
  std::array<int64_t, kNuscenesAllClasses> found = {};   // of them, those that have a label
};
// Which labels and true boxes count.
struct AuditScope {
  double range_m = std::numeric_limits<double>::infinity();  // from the car, in the plane
  // True boxes with fewer LiDAR points need no label; one that has a label is no mistake.
  int least_points = 0;
};
// Compares the labels of the logs in `truth` (frames by id; those without labels are left out).
// Throws Error when none is labelled.
LabelAudit AuditLabels(const LabelSet& labels, const std::vector<const Log*>& truth,
                       double precision, double confidence, const AuditScope& scope = {});
// A child version whose labels are accepted from the thresholds on. People's always are.
LabelSet AcceptLabels(const LabelSet& labels, const std::string& id,
                      const std::array<ClassThreshold, kNuscenesAllClasses>& thresholds);

// How precise and how complete accepted labels are.
struct LabelScore {
  std::array<int64_t, kNuscenesAllClasses> accepted = {}, right = {}, truths = {}, found = {};
};
LabelScore ScoreLabels(const LabelSet& labels, const std::vector<const Log*>& truth,
                       const AuditScope& scope = {});

// The log with its boxes and tracks replaced by accepted labels (all labels, when `with_all`), in
// the categories of nuScenes. Points in boxes are counted where the sweeps are at hand. Frames that
// have no labels lose their boxes; a log none of whose frames is labelled throws Error.
Log WithLabels(const Log& log, const LabelSet& labels, bool with_all = false);

// Takes all frames away but these (LogFrame::id), and readings that are not within half a second
// before one that stays: sweeps that may be merged into it.
void KeepFrames(const std::set<std::string>& ids, Log* log);

}  // namespace athanor
