// From data sets on disk to what the evaluators take: truth of nuScenes logs, sweeps of Argoverse 2
// with their region of interest, frames of KITTI.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "athanor/datasets/argoverse2_files.h"
#include "athanor/datasets/argoverse2_map.h"
#include "athanor/datasets/log.h"
#include "athanor/detection/evaluation/argoverse_eval.h"
#include "athanor/detection/evaluation/kitti_eval.h"
#include "athanor/detection/evaluation/nuscenes_eval.h"

namespace athanor {

// The class of the detection benchmark that a nuScenes category belongs to, or -1:
// "vehicle.bus.bendy" is a bus, "movable_object.debris" is none. A class is its own: exported key
// frames name these.
int NuscenesClassOfCategory(std::string_view category);

// Appends the frames of one scene: boxes in the benchmark's classes and bicycle racks. Throws Error
// for a box with more than one attribute, or one that nuScenes does not know.
void AddNuscenesTruth(const Log& log, int scene, NuscenesTruth* truth);

// The scenes of a split, from a data set in nuScenes format, or an exported key frame. `split`: ""
// or "all" for every scene; "val", "train" (all others), "mini_val", "mini_train"; or a text file
// with the name of a scene per line, all of which must be there. Throws Error when a split has no
// scene here.
NuscenesTruth ReadNuscenesTruth(const std::filesystem::path& path, const std::string& split);

// Of the logs with these names, those of a split, as ReadNuscenesTruth takes it; `where` is what
// messages call the data set. Throws Error when none is left.
std::set<std::string> NamesOfSplit(const std::vector<std::string>& names, const std::string& split,
                                   const std::string& where);

// The official scenes of "val", "mini_val" or "mini_train"; empty for other names.
std::vector<std::string> NuscenesSplit(std::string_view name);

// Argoverse 2: sweeps with truth and detections, and what decides which boxes count.
class ArgoverseInput {
 public:
  // `truth`: a folder of logs, of splits, or one log. `split`: the folder below it to use; "" or
  // "all": every log found. `with_roi`: reads maps and poses, as the benchmark does. Throws Error
  // for a log without annotations or, with_roi, without a map.
  ArgoverseInput(const std::filesystem::path& truth, const std::string& split, bool with_roi,
                 const ArgoverseConfig& config);

  // Makes sure that every sweep of a submission is there: one without any annotation holds false
  // positives only. To be called for all submissions that are compared, before WithDetections.
  // Throws Error for a log that is not there, or a time for which it has no pose.
  void AddSweepsOf(const std::vector<Argoverse2Detection>& detections, const std::string& source);
  // All sweeps with the detections of one submission. Throws Error when there are none, one is in a
  // sweep that is not there, or of a category that Argoverse 2 does not know.
  std::vector<ArgoverseSweep> WithDetections(const std::vector<Argoverse2Detection>& detections,
                                             const std::string& source) const;
  // Null without region of interest. Valid as long as this object.
  ArgoverseRoi Roi() const;

 private:
  struct LogPart {
    Argoverse2Poses poses;
    Argoverse2Map map;
  };
  int FindCategory(const std::string& name) const;
  size_t FindSweep(const std::string& log_id, int64_t timestamp_ns);

  const ArgoverseConfig config_;
  bool with_roi_;
  std::string source_;
  std::map<std::string, LogPart> logs_;
  std::vector<ArgoverseSweep> sweeps_;
  std::map<std::pair<std::string, int64_t>, size_t> sweep_at_;  // (log, time) to sweeps_
};

// KITTI: the frames that `results` (a folder of 000000.txt, or of data/000000.txt) has, each with
// its labels below `truth` (label_2/, training/label_2/, or the folder of labels itself). `split`:
// "" or "all", or a text file of frame names, each of which must be there. Throws Error for a frame
// without labels.
std::vector<KittiFrame> ReadKittiFrames(const std::filesystem::path& truth,
                                        const std::filesystem::path& results,
                                        const std::string& split);

}  // namespace athanor
