#include "athanor/loop/labeling/label_set.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/sha256.h"
#include "athanor/detection/evaluation/evaluation_inputs.h"
#include "athanor/loop/labeling/label_json.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int kFormat = 1;

// The category that stands for a class, in nuScenes' words.
std::string_view CategoryOf(int class_index) {
  constexpr std::array<std::string_view, kNuscenesAllClasses> kCategories = {
      "vehicle.car",
      "vehicle.truck",
      "vehicle.bus.rigid",
      "vehicle.trailer",
      "vehicle.construction",
      "human.pedestrian.adult",
      "vehicle.motorcycle",
      "vehicle.bicycle",
      "movable_object.trafficcone",
      "movable_object.barrier",
      "animal"};
  return kCategories.at(class_index);
}

Json JsonOf(const Label& label) {
  const NuscenesBox& box = label.box;
  const auto numbers = [](const auto& vector) {
    return std::vector<double>(vector.data(), vector.data() + vector.size());
  };
  Json json = {{"class", kNuscenesClassNames[box.class_index]},
               {"center", numbers(box.translation_m)},
               {"size_wlh", numbers(box.size_wlh_m)},
               {"rotation_wxyz", numbers(box.rotation_wxyz)}};
  if (box.velocity_mps.allFinite()) json["velocity"] = numbers(box.velocity_mps);
  json["confidence"] = box.score;
  if (box.attribute >= 0) json["attribute"] = kNuscenesAttributeNames[box.attribute];
  if (!label.track.empty()) json["track"] = label.track;
  json["source"] = label.source;
  json["accepted"] = label.is_accepted;
  return json;
}

template <typename Vector>
void ReadNumbers(const Json& json, Vector* vector) {
  ATHANOR_CHECK(json.is_array() && std::ssize(json) == vector->size(), "expected ", vector->size(),
                " numbers, found ", json.dump());
  for (int i = 0; i < vector->size(); ++i) {
    (*vector)[i] = json[i].get<double>();
    ATHANOR_CHECK(std::isfinite((*vector)[i]), "expected finite numbers, found ", json.dump());
  }
}

Label LabelOf(const Json& json) {
  Label label;
  NuscenesBox& box = label.box;
  const auto name = json.at("class").get<std::string>();
  const int class_index = FindNuscenesClass(name);
  ATHANOR_CHECK(class_index >= 0, "there is no class \"", name, "\"");
  box.class_index = static_cast<int8_t>(class_index);
  ReadNumbers(json.at("center"), &box.translation_m);
  ReadNumbers(json.at("size_wlh"), &box.size_wlh_m);
  ReadNumbers(json.at("rotation_wxyz"), &box.rotation_wxyz);
  ATHANOR_CHECK(box.size_wlh_m.minCoeff() > 0 && box.rotation_wxyz.norm() > 1e-6,
                "expected a box of a size and a rotation, found ", json.dump());
  box.velocity_mps.setConstant(std::nan(""));
  if (json.contains("velocity")) ReadNumbers(json.at("velocity"), &box.velocity_mps);
  box.score = json.value("confidence", 1.0);
  ATHANOR_CHECK(box.score >= 0 && box.score <= 1, "expected a confidence of 0 to 1, found ",
                box.score);
  const std::string attribute = json.value("attribute", "");
  if (!attribute.empty()) {
    box.attribute = static_cast<int8_t>(FindNuscenesAttribute(attribute));
    ATHANOR_CHECK(box.attribute >= 0, "there is no attribute \"", attribute, "\"");
  }
  label.track = json.value("track", "");
  label.source = json.value("source", "person");
  label.is_accepted = json.value("accepted", true);
  return label;
}

// By the id of frames.
std::unordered_map<std::string, const FrameLabels*> ByFrame(const LabelSet& labels) {
  std::unordered_map<std::string, const FrameLabels*> by_frame;
  for (const FrameLabels& frame : labels.frames) by_frame[frame.frame] = &frame;
  return by_frame;
}

// Calls for each frame of the logs that has labels; with its true boxes, of any number of points: a
// label on what no beam met is no mistake.
template <typename Function>
int64_t ForEachWithTruth(const LabelSet& labels, const std::vector<const Log*>& truth,
                         const Function& function) {
  const auto by_frame = ByFrame(labels);
  int64_t count = 0;
  for (const Log* log : truth) {
    NuscenesTruth of_log;
    AddNuscenesTruth(*log, 0, &of_log);
    for (const NuscenesSample& sample : of_log.samples) {
      const auto found = by_frame.find(sample.token);
      if (found == by_frame.end()) continue;
      ++count;
      function(*found->second, sample);
    }
  }
  ATHANOR_CHECK(count > 0, "labels and truth: expected frames that both have, found none");
  return count;
}

// Labels of a frame beside its true boxes.
struct Compared {
  std::vector<NuscenesBox> boxes;  // of the labels that count
  std::vector<uint8_t> is_right;   // of each
  std::array<int64_t, kNuscenesAllClasses> truths = {}, found = {};
};
template <typename Takes>
Compared CompareToTruth(const FrameLabels& frame, const NuscenesSample& sample,
                        const AuditScope& scope, const Takes& takes) {
  const auto is_near = [&](const NuscenesBox& box) {
    return (box.translation_m.head<2>() - sample.ego_xy_m).norm() <= scope.range_m;
  };
  Compared compared;
  for (const Label& label : frame.labels) {
    if (takes(label) && is_near(label.box)) compared.boxes.push_back(label.box);
  }
  compared.is_right = MatchToTruth(compared.boxes, sample.boxes);
  std::vector<NuscenesBox> counted;
  for (const NuscenesBox& box : sample.boxes) {
    if (!is_near(box) || box.num_points < scope.least_points) continue;
    ++compared.truths[box.class_index];
    counted.push_back(box);
  }
  const std::vector<uint8_t> finds = MatchToTruth(compared.boxes, counted);
  for (size_t i = 0; i < finds.size(); ++i) {
    compared.found[compared.boxes[i].class_index] += finds[i];
  }
  return compared;
}

void AddTo(const std::array<int64_t, kNuscenesAllClasses>& counts,
           std::array<int64_t, kNuscenesAllClasses>* sums) {
  for (int k = 0; k < kNuscenesAllClasses; ++k) (*sums)[k] += counts[k];
}

}  // namespace

Json JsonOfFrame(const FrameLabels& frame) {
  Json json = {{"log", frame.log}, {"frame", frame.frame}, {"time_us", frame.time_us}};
  if (frame.is_complete) json["complete"] = true;
  json["labels"] = Json::array();
  for (const Label& label : frame.labels) json["labels"].push_back(JsonOf(label));
  return json;
}

FrameLabels FrameOfJson(const Json& json) {
  FrameLabels frame;
  json.at("log").get_to(frame.log);
  json.at("frame").get_to(frame.frame);
  json.at("time_us").get_to(frame.time_us);
  frame.is_complete = json.value("complete", false);
  for (const Json& label : json.at("labels")) frame.labels.push_back(LabelOf(label));
  return frame;
}

int64_t LabelSet::CountAccepted() const {
  int64_t count = 0;
  for (const FrameLabels& frame : frames) {
    for (const Label& label : frame.labels) count += label.is_accepted;
  }
  return count;
}

std::string EncodeLabels(const LabelSet& labels) {
  const LabelProvenance& from = labels.provenance;
  const Json head = {{"athanor_labels", kFormat},
                     {"kind", from.kind},
                     {"model", from.model},
                     {"model_sha256", from.model_sha256},
                     {"data", from.data},
                     {"parent", from.parent},
                     {"options", from.options},
                     {"thresholds", from.thresholds},
                     {"frames", labels.frames.size()}};
  std::string bytes = head.dump() + "\n";
  for (const FrameLabels& frame : labels.frames) bytes += JsonOfFrame(frame).dump() + "\n";
  return bytes;
}

LabelSet DecodeLabels(std::string_view bytes, std::string_view name) {
  LabelSet labels;
  size_t expected = 0;
  int line = 0;
  try {
    for (size_t begin = 0; begin < bytes.size();) {
      const size_t end = std::min(bytes.find('\n', begin), bytes.size());
      const Json json = Json::parse(bytes.substr(begin, end - begin));
      begin = end + 1;
      ++line;
      if (line == 1) {
        const int format = json.at("athanor_labels").get<int>();
        ATHANOR_CHECK(format == kFormat, "expected labels of format ", kFormat, ", found ", format);
        LabelProvenance& from = labels.provenance;
        json.at("kind").get_to(from.kind);
        json.at("model").get_to(from.model);
        json.at("model_sha256").get_to(from.model_sha256);
        json.at("data").get_to(from.data);
        json.at("parent").get_to(from.parent);
        json.at("options").get_to(from.options);
        json.at("thresholds").get_to(from.thresholds);
        json.at("frames").get_to(expected);
        continue;
      }
      labels.frames.push_back(FrameOfJson(json));
    }
  } catch (const std::exception& error) {
    throw Error(StrCat(name, ":", std::max(1, line), ": ", error.what()));
  }
  ATHANOR_CHECK(line > 0 && labels.frames.size() == expected, name, ": expected ", expected,
                " frames, found ", labels.frames.size());
  return labels;
}

std::string StoreLabels(const fs::path& folder, const LabelSet& labels) {
  const std::string bytes = EncodeLabels(labels);
  const std::string id = Sha256Of(bytes);
  WriteFile(folder / (id + ".labels"), bytes);
  return id;
}

LabelSet ReadLabels(const fs::path& path) {
  const std::string bytes = ReadFile(path);
  const std::string id = Sha256Of(bytes);
  ATHANOR_CHECK(path.stem() == id, path.string(), ": damaged: its SHA-256 is ", id);
  return DecodeLabels(bytes, path.string());
}

std::string NameFrames(const std::vector<FrameLabels>& frames) {
  Sha256 hash;
  for (const FrameLabels& frame : frames) {
    hash.Add(StrCat(frame.log, "\n", frame.frame, "\n", frame.time_us, "\n"));
  }
  return hash.Finish();
}

std::vector<FrameLabels> LabelLog(const Log& log,
                                  const std::vector<std::vector<NuscenesBox>>& boxes,
                                  const TrackerOptions& options) {
  ATHANOR_CHECK(boxes.size() == log.frames.size(), log.source, ": log ", log.name, ": expected ",
                log.frames.size(), " frames of boxes, found ", boxes.size());
  std::vector<int64_t> times_us;
  for (const LogFrame& frame : log.frames) times_us.push_back(frame.time_us);
  const auto tracked = TrackWithHindsight(boxes, times_us, options);
  std::vector<FrameLabels> frames;
  for (size_t f = 0; f < tracked.size(); ++f) {
    FrameLabels& frame = frames.emplace_back();
    frame.log = log.name;
    frame.frame = log.frames[f].id;
    frame.time_us = times_us[f];
    for (const TrackedBox& box : tracked[f]) {
      Label& label = frame.labels.emplace_back();
      label.box = box.box;
      label.track = std::to_string(box.track);
      if (box.is_filled) label.source = "filled";
    }
  }
  return frames;
}

LabelAudit AuditLabels(const LabelSet& labels, const std::vector<const Log*>& truth,
                       double precision, double confidence, const AuditScope& scope) {
  LabelAudit audit;
  std::vector<AuditedLabel> audited;
  ForEachWithTruth(labels, truth, [&](const FrameLabels& frame, const NuscenesSample& sample) {
    const Compared compared =
        CompareToTruth(frame, sample, scope, [](const Label&) { return true; });
    for (size_t i = 0; i < compared.boxes.size(); ++i) {
      const NuscenesBox& box = compared.boxes[i];
      audited.push_back({box.class_index, box.score, compared.is_right[i] != 0});
      audit.right[box.class_index] += compared.is_right[i];
    }
    AddTo(compared.truths, &audit.truths);
    AddTo(compared.found, &audit.found);
  });
  audit.thresholds = ChooseThresholds(audited, precision, confidence);
  return audit;
}

LabelSet AcceptLabels(const LabelSet& labels, const std::string& id,
                      const std::array<ClassThreshold, kNuscenesAllClasses>& thresholds) {
  LabelSet accepted = labels;
  LabelProvenance& from = accepted.provenance;
  from.kind = "audited";
  from.parent = id;
  from.thresholds.clear();
  for (int k = 0; k < kNuscenesAllClasses; ++k) {
    if (thresholds[k].threshold <= 1) {
      from.thresholds[std::string(kNuscenesClassNames[k])] = thresholds[k].threshold;
    }
  }
  for (FrameLabels& frame : accepted.frames) {
    for (Label& label : frame.labels) {
      label.is_accepted = label.source == "person" ||
                          label.box.score >= thresholds[label.box.class_index].threshold;
    }
  }
  return accepted;
}

LabelScore ScoreLabels(const LabelSet& labels, const std::vector<const Log*>& truth,
                       const AuditScope& scope) {
  LabelScore score;
  ForEachWithTruth(labels, truth, [&](const FrameLabels& frame, const NuscenesSample& sample) {
    const Compared compared =
        CompareToTruth(frame, sample, scope, [](const Label& label) { return label.is_accepted; });
    for (size_t i = 0; i < compared.boxes.size(); ++i) {
      ++score.accepted[compared.boxes[i].class_index];
      score.right[compared.boxes[i].class_index] += compared.is_right[i];
    }
    AddTo(compared.truths, &score.truths);
    AddTo(compared.found, &score.found);
  });
  return score;
}

Log WithLabels(const Log& log, const LabelSet& labels, bool with_all) {
  const auto by_frame = ByFrame(labels);
  Log out = log;
  out.tracks.clear();
  // What is known of true objects is not known of these.
  std::erase_if(out.tags, [](const LogTag& tag) { return tag.track >= 0; });
  std::map<std::string, int> tracks;
  bool is_labelled = false;
  const int lidar = log.MainLidar();
  for (LogFrame& frame : out.frames) {
    frame.boxes.clear();
    const auto found = by_frame.find(frame.id);
    if (found == by_frame.end()) continue;
    is_labelled = true;
    std::vector<Eigen::Vector3d> points;
    const int reading = lidar >= 0 ? frame.readings.at(lidar) : -1;
    if (reading >= 0 && HasPayload(log, log.readings[reading])) {
      const Rigid3 world_from_lidar =
          log.readings[reading].world_from_ego * log.sensors[lidar].ego_from_sensor;
      for (const Eigen::Vector3f& point : ReadSweep(log, reading).points) {
        points.push_back(world_from_lidar * point.cast<double>());
      }
    }
    std::set<int> in_frame;
    for (const Label& label : found->second->labels) {
      if (!label.is_accepted && !with_all) continue;
      const std::string category(CategoryOf(label.box.class_index));
      std::string key = category + "/" + label.track;
      if (label.track.empty()) key = StrCat(key, frame.id, "/", frame.boxes.size());
      auto [track, is_new] = tracks.try_emplace(key, static_cast<int>(out.tracks.size()));
      if (is_new) out.tracks.push_back({"", category});
      if (!in_frame.insert(track->second).second) continue;  // one object is in one place
      LogBox& box = frame.boxes.emplace_back();
      box.track = track->second;
      const Eigen::Vector4d& q = label.box.rotation_wxyz;
      box.box.frame_from_box = {Eigen::Quaterniond(q[0], q[1], q[2], q[3]).normalized(),
                                label.box.translation_m};
      box.box.size_m = {label.box.size_wlh_m.y(), label.box.size_wlh_m.x(),
                        label.box.size_wlh_m.z()};
      box.velocity_mps = label.box.velocity_mps;
      if (label.box.attribute >= 0) {
        box.attributes = {std::string(kNuscenesAttributeNames[label.box.attribute])};
      }
      if (reading >= 0) {
        const double reach_m = 0.5 * box.box.size_m.norm();
        int inside = 0;
        for (const Eigen::Vector3d& point : points) {
          inside += (point - label.box.translation_m).squaredNorm() <= reach_m * reach_m &&
                    box.box.Contains(point);
        }
        box.num_lidar_points = inside;
      }
      box.num_radar_points = 0;
    }
  }
  ATHANOR_CHECK(is_labelled, log.source, ": log ", log.name, ": there are no labels for it");
  return out;
}

void KeepFrames(const std::set<std::string>& ids, Log* log) {
  constexpr int64_t kBefore_us = 500'000;
  std::vector<int> moved_frames(log->frames.size(), -1);
  std::vector<LogFrame> frames;
  for (size_t f = 0; f < log->frames.size(); ++f) {
    if (!ids.contains(log->frames[f].id)) continue;
    moved_frames[f] = static_cast<int>(frames.size());
    frames.push_back(std::move(log->frames[f]));
  }
  std::vector<int> moved(log->readings.size(), -1);
  std::vector<LogReading> readings;
  for (size_t r = 0; r < log->readings.size(); ++r) {
    LogReading& reading = log->readings[r];
    if (reading.frame >= 0) reading.frame = moved_frames[reading.frame];
    const bool is_needed =
        reading.frame >= 0 || std::any_of(frames.begin(), frames.end(), [&](const auto& frame) {
          return reading.time_us <= frame.time_us && reading.time_us >= frame.time_us - kBefore_us;
        });
    if (!is_needed) continue;
    moved[r] = static_cast<int>(readings.size());
    readings.push_back(std::move(reading));
  }
  for (LogFrame& frame : frames) {
    for (int& reading : frame.readings) reading = reading < 0 ? -1 : moved[reading];
  }
  log->frames = std::move(frames);
  log->readings = std::move(readings);
}

}  // namespace athanor
