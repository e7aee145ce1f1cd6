#include "athanor/detection/evaluation/evaluation_inputs.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <sstream>
#include <string_view>
#include <utility>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/progress.h"
#include "athanor/datasets/nuscenes_reader.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

// Official scene numbers (nuscenes-devkit, utils/splits.py).
constexpr std::array kMiniTrain = {61, 553, 655, 757, 796, 1077, 1094, 1100};
constexpr std::array kMiniVal = {103, 916};
constexpr std::array kVal = {
    3,    12,   13,   14,   15,   16,   17,   18,   35,   36,   38,   39,   92,   93,   94,
    95,   96,   97,   98,   99,   100,  101,  102,  103,  104,  105,  106,  107,  108,  109,
    110,  221,  268,  269,  270,  271,  272,  273,  274,  275,  276,  277,  278,  329,  330,
    331,  332,  344,  345,  346,  519,  520,  521,  522,  523,  524,  552,  553,  554,  555,
    556,  557,  558,  559,  560,  561,  562,  563,  564,  565,  625,  626,  627,  629,  630,
    632,  633,  634,  635,  636,  637,  638,  770,  771,  775,  777,  778,  780,  781,  782,
    783,  784,  794,  795,  796,  797,  798,  799,  800,  802,  904,  905,  906,  907,  908,
    909,  910,  911,  912,  913,  914,  915,  916,  917,  919,  920,  921,  922,  923,  924,
    925,  926,  927,  928,  929,  930,  931,  962,  963,  966,  967,  968,  969,  971,  972,
    1059, 1060, 1061, 1062, 1063, 1064, 1065, 1066, 1067, 1068, 1069, 1070, 1071, 1072, 1073};

// What Argoverse 2 annotates and does not score.
constexpr std::array<std::string_view, 4> kNotScored = {"ANIMAL", "OFFICIAL_SIGNALER",
                                                        "RAILED_VEHICLE", "TRAFFIC_LIGHT_TRAILER"};

std::string SceneName(int number) {
  std::string digits = std::to_string(number);
  digits.insert(0, digits.size() < 4 ? 4 - digits.size() : 0, '0');
  return "scene-" + digits;
}

// The words of a text file.
std::set<std::string> ReadNames(const fs::path& path) {
  std::istringstream text(ReadFile(path));
  std::set<std::string> names;
  for (std::string name; text >> name;) names.insert(name);
  ATHANOR_CHECK(!names.empty(), path.string(), ": expected names, one per line, found none");
  return names;
}

bool IsEverything(const std::string& split) { return split.empty() || split == "all"; }

NuscenesBox ToNuscenesBox(const LogBox& from) {
  NuscenesBox box;
  box.translation_m = from.box.frame_from_box.translation;
  const Eigen::Vector3d& size = from.box.size_m;
  box.size_wlh_m = {size.y(), size.x(), size.z()};
  const Eigen::Quaterniond& q = from.box.frame_from_box.rotation;
  box.rotation_wxyz = {q.w(), q.x(), q.y(), q.z()};
  box.velocity_mps = from.velocity_mps;
  if (from.num_lidar_points >= 0 || from.num_radar_points >= 0) {
    box.num_points = std::max(from.num_lidar_points, 0) + std::max(from.num_radar_points, 0);
  }
  return box;
}

}  // namespace

int NuscenesClassOfCategory(std::string_view category) {
  static constexpr std::pair<std::string_view, std::string_view> kClasses[] = {
      {"movable_object.barrier", "barrier"},
      {"vehicle.bicycle", "bicycle"},
      {"vehicle.bus.bendy", "bus"},
      {"vehicle.bus.rigid", "bus"},
      {"vehicle.car", "car"},
      {"vehicle.construction", "construction_vehicle"},
      {"vehicle.motorcycle", "motorcycle"},
      {"human.pedestrian.adult", "pedestrian"},
      {"human.pedestrian.child", "pedestrian"},
      {"human.pedestrian.construction_worker", "pedestrian"},
      {"human.pedestrian.police_officer", "pedestrian"},
      {"movable_object.trafficcone", "traffic_cone"},
      {"vehicle.trailer", "trailer"},
      {"vehicle.truck", "truck"}};
  for (const auto& [name, of_class] : kClasses) {
    if (name == category) return FindNuscenesClass(of_class);
  }
  return FindNuscenesClass(category);
}

void AddNuscenesTruth(const Log& log, int scene, NuscenesTruth* truth) {
  for (const LogFrame& frame : log.frames) {
    NuscenesSample sample;
    sample.token = frame.id;
    sample.scene = scene;
    sample.ego_xy_m = frame.world_from_ego.translation.head<2>();
    for (const LogBox& from : frame.boxes) {
      const std::string& category = log.tracks.at(from.track).category;
      const bool is_rack = category == "static_object.bicycle_rack";
      const int index = NuscenesClassOfCategory(category);
      if (!is_rack && index < 0) continue;
      NuscenesBox box = ToNuscenesBox(from);
      if (is_rack) {
        sample.bike_racks.push_back(box);
        continue;
      }
      box.class_index = static_cast<int8_t>(index);
      ATHANOR_CHECK(from.attributes.size() <= 1, log.source, ": ", log.name, ", sample ", frame.id,
                    ": expected at most one attribute per box, found ", from.attributes.size());
      if (!from.attributes.empty()) {
        box.attribute = static_cast<int8_t>(FindNuscenesAttribute(from.attributes[0]));
        ATHANOR_CHECK(box.attribute >= 0, log.source, ": ", log.name, ", sample ", frame.id,
                      ": expected an attribute of nuScenes, found '", from.attributes[0], "'");
      }
      sample.boxes.push_back(box);
    }
    truth->samples.push_back(std::move(sample));
  }
}

std::vector<std::string> NuscenesSplit(std::string_view name) {
  std::vector<std::string> scenes;
  const auto add = [&](const auto& numbers) {
    for (const int number : numbers) scenes.push_back(SceneName(number));
  };
  if (name == "val") add(kVal);
  if (name == "mini_val") add(kMiniVal);
  if (name == "mini_train") add(kMiniTrain);
  return scenes;
}

std::set<std::string> NamesOfSplit(const std::vector<std::string>& names, const std::string& split,
                                   const std::string& where) {
  const std::set<std::string> all(names.begin(), names.end());
  if (IsEverything(split)) return all;
  const bool is_train = split == "train";
  const std::vector<std::string> official = NuscenesSplit(is_train ? "val" : split);
  std::set<std::string> kept;
  if (official.empty()) {
    ATHANOR_CHECK(fs::is_regular_file(split),
                  "expected a split to be all, train, val, mini_train, "
                  "mini_val or a text file of scene names, found '",
                  split, "'");
    for (const std::string& name : ReadNames(split)) {
      ATHANOR_CHECK(all.contains(name), split, ": names the scene ", name, ", which ", where,
                    " does not have");
      kept.insert(name);
    }
  } else {
    const std::set<std::string> listed(official.begin(), official.end());
    for (const std::string& name : all) {
      if (listed.contains(name) != is_train) kept.insert(name);
    }
  }
  ATHANOR_CHECK(!kept.empty(), where, ": no scene of the split '", split, "' is here");
  return kept;
}

NuscenesTruth ReadNuscenesTruth(const fs::path& path, const std::string& split) {
  const bool is_key_frame = fs::exists(path / "sample.json");
  const std::unique_ptr<LogDataset> logs = is_key_frame ? OpenLogs(path) : OpenNuscenesLogs(path);
  const std::set<std::string> wanted = NamesOfSplit(logs->names(), split, path.string());
  NuscenesTruth truth;
  truth.source = path.string();
  const auto& names = logs->names();
  int scenes = 0;
  Progress progress("reading scenes", static_cast<int64_t>(names.size()));
  for (size_t i = 0; i < names.size(); ++i) {
    if (wanted.contains(names[i])) {
      AddNuscenesTruth(logs->Read(static_cast<int>(i)), scenes++, &truth);
    }
    progress.Update(static_cast<int64_t>(i + 1));
  }
  return truth;
}

ArgoverseInput::ArgoverseInput(const fs::path& truth, const std::string& split, bool with_roi,
                               const ArgoverseConfig& config)
    : config_(config), with_roi_(with_roi), source_(truth.string()) {
  const fs::path root = IsEverything(split) ? truth : truth / split;
  ATHANOR_CHECK(fs::is_directory(root), root.string(), ": expected a folder of Argoverse 2 logs");
  const auto is_log = [](const fs::path& folder) {
    return fs::is_regular_file(folder / "annotations.feather");
  };
  std::vector<fs::path> folders;
  if (is_log(root)) {
    folders.push_back(root);
  } else {
    for (auto it = fs::recursive_directory_iterator(root); it != fs::end(it); ++it) {
      if (!it->is_directory()) continue;
      if (is_log(it->path())) {
        folders.push_back(it->path());
        it.disable_recursion_pending();
      } else if (it.depth() >= 1) {
        it.disable_recursion_pending();
      }
    }
  }
  ATHANOR_CHECK(!folders.empty(), root.string(),
                ": no Argoverse 2 log found: expected annotations.feather in folders of logs");
  std::sort(folders.begin(), folders.end());

  for (const fs::path& folder : folders) {
    const std::string log_id = fs::weakly_canonical(folder).filename().string();
    ATHANOR_CHECK(!logs_.contains(log_id), folder.string(), ": log ", log_id, " comes twice");
    LogPart& part = logs_[log_id];
    part.poses = ReadArgoverse2Poses(folder / "city_SE3_egovehicle.feather");
    if (with_roi) part.map = Argoverse2Map::Read(folder);
    for (const Argoverse2Cuboid& cuboid : ReadArgoverse2Cuboids(folder / "annotations.feather")) {
      const size_t at = FindSweep(log_id, cuboid.timestamp_ns);
      ArgoverseBox box;
      box.center_m = cuboid.box_in_ego.frame_from_box.translation;
      box.size_m = cuboid.box_in_ego.size_m;
      const Eigen::Quaterniond& q = cuboid.box_in_ego.frame_from_box.rotation;
      box.rotation_wxyz = {q.w(), q.x(), q.y(), q.z()};
      box.num_points = cuboid.num_interior_pts;
      box.category = FindCategory(cuboid.category);
      sweeps_[at].truths.push_back(box);
    }
  }
}

int ArgoverseInput::FindCategory(const std::string& name) const {
  const auto found = std::find(config_.categories.begin(), config_.categories.end(), name);
  return found == config_.categories.end() ? -1
                                           : static_cast<int>(found - config_.categories.begin());
}

size_t ArgoverseInput::FindSweep(const std::string& log_id, int64_t timestamp_ns) {
  const auto [at, is_new] = sweep_at_.emplace(std::pair(log_id, timestamp_ns), sweeps_.size());
  if (is_new) sweeps_.push_back({.log_id = log_id, .timestamp_ns = timestamp_ns});
  return at->second;
}

void ArgoverseInput::AddSweepsOf(const std::vector<Argoverse2Detection>& detections,
                                 const std::string& source) {
  for (const Argoverse2Detection& detection : detections) {
    if (sweep_at_.contains({detection.log_id, detection.timestamp_ns})) continue;
    const auto log = logs_.find(detection.log_id);
    ATHANOR_CHECK(log != logs_.end(), source, ": holds detections of log ", detection.log_id,
                  ", which ", source_, " does not have");
    log->second.poses.At(detection.timestamp_ns);
    FindSweep(detection.log_id, detection.timestamp_ns);
  }
}

std::vector<ArgoverseSweep> ArgoverseInput::WithDetections(
    const std::vector<Argoverse2Detection>& detections, const std::string& source) const {
  ATHANOR_CHECK(!detections.empty(), source, ": expected detections, found none");
  std::vector<ArgoverseSweep> sweeps = sweeps_;
  for (const Argoverse2Detection& detection : detections) {
    const auto found = sweep_at_.find({detection.log_id, detection.timestamp_ns});
    ATHANOR_CHECK(found != sweep_at_.end(), source, ": holds detections of log ", detection.log_id,
                  " at ", detection.timestamp_ns, " ns, which ", source_, " does not have");
    ArgoverseBox box;
    box.center_m = detection.box_in_ego.frame_from_box.translation;
    box.size_m = detection.box_in_ego.size_m;
    const Eigen::Quaterniond& q = detection.box_in_ego.frame_from_box.rotation;
    box.rotation_wxyz = {q.w(), q.x(), q.y(), q.z()};
    box.score = detection.score;
    box.category = FindCategory(detection.category);
    ATHANOR_CHECK(box.category >= 0 || std::find(kNotScored.begin(), kNotScored.end(),
                                                 detection.category) != kNotScored.end(),
                  source, ": expected categories of Argoverse 2, such as REGULAR_VEHICLE, found '",
                  detection.category, "'");
    sweeps[found->second].detections.push_back(box);
  }
  return sweeps;
}

ArgoverseRoi ArgoverseInput::Roi() const {
  if (!with_roi_) return {};
  return [this](const ArgoverseSweep& sweep, const ArgoverseBox& box) {
    const LogPart& log = logs_.at(sweep.log_id);
    const Eigen::Vector4d& q = box.rotation_wxyz;
    const Box3 box3 = {{Eigen::Quaterniond(q[0], q[1], q[2], q[3]), box.center_m}, box.size_m};
    for (const Eigen::Vector3d& corner : (log.poses.At(sweep.timestamp_ns) * box3).Corners()) {
      if (log.map.InRoi(corner.head<2>())) return true;
    }
    return false;
  };
}

std::vector<KittiFrame> ReadKittiFrames(const fs::path& truth, const fs::path& results,
                                        const std::string& split) {
  fs::path labels = truth;
  for (const char* below : {"training/label_2", "label_2"}) {
    if (fs::is_directory(truth / below)) labels = truth / below;
  }
  const fs::path found = fs::is_directory(results / "data") ? results / "data" : results;
  std::vector<fs::path> files;
  if (IsEverything(split)) {
    files = ListFiles(found, {".txt"});
  } else {
    for (const std::string& name : ReadNames(split)) files.push_back(found / (name + ".txt"));
  }
  ATHANOR_CHECK(!files.empty(), found.string(), ": expected a .txt file per frame, found none");
  std::vector<KittiFrame> frames;
  for (const fs::path& file : files) {
    KittiFrame frame;
    frame.name = file.string();
    ATHANOR_CHECK(fs::is_regular_file(labels / file.filename()), file.string(),
                  ": has no labels: expected ", (labels / file.filename()).string());
    frame.truths = ReadKittiLabels(labels / file.filename());
    frame.detections = ReadKittiLabels(file);
    frames.push_back(std::move(frame));
  }
  return frames;
}

}  // namespace athanor
