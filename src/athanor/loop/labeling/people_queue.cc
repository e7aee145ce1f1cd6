#include "athanor/loop/labeling/people_queue.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <queue>
#include <set>
#include <unordered_map>

#include "athanor/base/error.h"
#include "athanor/datasets/log_projection.h"
#include "athanor/detection/evaluation/evaluation_inputs.h"
#include "athanor/loop/labeling/label_json.h"

namespace athanor {
namespace {

using Json = nlohmann::ordered_json;

// A box in a picture: left, top, width, height; pixels.
struct FlatBox {
  double x = 0, y = 0, width = 0, height = 0;
  bool is_seen() const { return width >= 2 && height >= 2; }
};

double Overlap(const FlatBox& a, const FlatBox& b) {
  const double width = std::min(a.x + a.width, b.x + b.width) - std::max(a.x, b.x);
  const double height = std::min(a.y + a.height, b.y + b.height) - std::max(a.y, b.y);
  if (width <= 0 || height <= 0) return 0;
  const double both = width * height;
  return both / (a.width * a.height + b.width * b.height - both);
}

FlatBox Project(const NuscenesBox& box, const Log& log, const LogReading& reading) {
  const LogSensor& sensor = log.sensors[reading.sensor];
  const Eigen::Vector4d& q = box.rotation_wxyz;
  const Box3 in_world = {
      {Eigen::Quaterniond(q[0], q[1], q[2], q[3]).normalized(), box.translation_m},
      {box.size_wlh_m.y(), box.size_wlh_m.x(), box.size_wlh_m.z()}};
  const Rigid3 camera_from_world = (reading.world_from_ego * sensor.ego_from_sensor).Inverse();
  const Box3 in_camera = camera_from_world * in_world;
  // All of it in front: outlines that pass the camera are of no use to people.
  for (const Eigen::Vector3d& corner : in_camera.Corners()) {
    if (corner.z() < kNearestProjected_m) return {};
  }
  double left = 1e9, top = 1e9, right = -1e9, bottom = -1e9;
  for (const Eigen::Vector2d& point : OutlineOf(in_camera, sensor.camera)) {
    left = std::min(left, point.x());
    right = std::max(right, point.x());
    top = std::min(top, point.y());
    bottom = std::max(bottom, point.y());
  }
  left = std::max(left, 0.0);
  top = std::max(top, 0.0);
  right = std::min(right, static_cast<double>(sensor.camera.width_px));
  bottom = std::min(bottom, static_cast<double>(sensor.camera.height_px));
  return {left, top, right - left, bottom - top};
}

struct FrameOfLogs {
  const Log* log = nullptr;
  int frame = 0;
};
std::unordered_map<std::string, FrameOfLogs> FramesById(const std::vector<const Log*>& logs) {
  std::unordered_map<std::string, FrameOfLogs> frames;
  for (const Log* log : logs) {
    for (int f = 0; f < std::ssize(log->frames); ++f) frames[log->frames[f].id] = {log, f};
  }
  return frames;
}

std::vector<const LogReading*> PicturesOf(const FrameOfLogs& at) {
  std::vector<const LogReading*> pictures;
  for (const int reading : at.log->frames[at.frame].readings) {
    if (reading < 0) continue;
    const LogReading& picture = at.log->readings[reading];
    if (at.log->sensors[picture.sensor].kind == SensorKind::kCamera) pictures.push_back(&picture);
  }
  return pictures;
}

// Pictures go by the frame and the channel: tools keep names of files, if nothing else.
std::string PictureName(const FrameLabels& frame, const Log& log, const LogReading& picture) {
  return frame.frame + "/" + log.sensors[picture.sensor].channel + "/" +
         picture.path.filename().string();
}

Json ParseJson(std::string_view json, std::string_view name) {
  Json parsed = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  ATHANOR_CHECK(!parsed.is_discarded() && parsed.is_object(), name,
                ": expected a JSON object, found damaged JSON");
  return parsed;
}

ImportedLabels StartImport(const LabelSet& labels, const std::string& id) {
  ImportedLabels imported;
  imported.labels = labels;
  imported.labels.provenance.kind = "people";
  imported.labels.provenance.parent = id;
  return imported;
}

std::unordered_map<std::string, size_t> IndexFrames(const LabelSet& labels) {
  std::unordered_map<std::string, size_t> index;
  for (size_t i = 0; i < labels.frames.size(); ++i) index[labels.frames[i].frame] = i;
  return index;
}

// Says what people did to a frame, by the nearest label of before.
void Compare(const FrameLabels& before, const FrameLabels& after, ImportedLabels* imported) {
  std::vector<uint8_t> is_matched(before.labels.size());
  for (const Label& label : after.labels) {
    double nearest_m = 0.5;
    size_t found = before.labels.size();
    for (size_t i = 0; i < before.labels.size(); ++i) {
      const double away_m = (before.labels[i].box.translation_m - label.box.translation_m).norm();
      if (!is_matched[i] && away_m < nearest_m) nearest_m = away_m, found = i;
    }
    if (found == before.labels.size()) {
      ++imported->added;
      continue;
    }
    is_matched[found] = 1;
    const bool is_same =
        nearest_m < 0.01 && before.labels[found].box.class_index == label.box.class_index;
    ++(is_same ? imported->kept : imported->changed);
  }
  imported->removed += std::count(is_matched.begin(), is_matched.end(), 0);
}

void TakeFrame(FrameLabels after, FrameLabels* frame, ImportedLabels* imported) {
  for (Label& label : after.labels) {
    label.source = "person";
    label.is_accepted = true;
    label.box.score = 1;
  }
  after.is_complete = true;
  Compare(*frame, after, imported);
  *frame = std::move(after);
  ++imported->frames;
}

}  // namespace

std::vector<QueuedFrame> QueueForPeople(const LabelSet& labels, int64_t count) {
  constexpr double kMostWeight = 10, kAgain = 0.1;
  std::array<double, kNuscenesAllClasses> counts = {};
  double total = 0, classes = 0;
  for (const FrameLabels& frame : labels.frames) {
    for (const Label& label : frame.labels) {
      if (counts[label.box.class_index]++ == 0) ++classes;
      ++total;
    }
  }
  std::set<std::string> queued_tracks;
  const auto gain_of = [&](const FrameLabels& frame) {
    double gain = 0;
    if (frame.is_complete) return gain;
    for (const Label& label : frame.labels) {
      if (label.is_accepted) continue;
      const double c = label.box.score;
      const double weight =
          std::min(kMostWeight, std::sqrt(total / classes / counts[label.box.class_index]));
      const bool again =
          !label.track.empty() && queued_tracks.contains(frame.log + "/" + label.track);
      gain += 4 * c * (1 - c) * weight * (again ? kAgain : 1);
    }
    return gain;
  };
  // Gains only fall: the best of the heap is taken when it still is what it was.
  const auto is_worse = [](const QueuedFrame& a, const QueuedFrame& b) {
    return a.gain != b.gain ? a.gain < b.gain : a.index > b.index;
  };
  std::priority_queue<QueuedFrame, std::vector<QueuedFrame>, decltype(is_worse)> heap(is_worse);
  for (size_t i = 0; i < labels.frames.size(); ++i) heap.push({i, gain_of(labels.frames[i])});
  std::vector<QueuedFrame> queue;
  while (!heap.empty() && std::ssize(queue) < count) {
    QueuedFrame best = heap.top();
    heap.pop();
    const FrameLabels& frame = labels.frames[best.index];
    const double now = gain_of(frame);
    if (now < best.gain) {
      heap.push({best.index, now});
      continue;
    }
    if (now <= 0) break;
    queue.push_back(best);
    for (const Label& label : frame.labels) {
      if (!label.track.empty()) queued_tracks.insert(frame.log + "/" + label.track);
    }
  }
  return queue;
}

std::string EncodeQueueJson(const LabelSet& labels, const std::vector<QueuedFrame>& queue) {
  Json frames = Json::array();
  for (const QueuedFrame& queued : queue) {
    Json frame = JsonOfFrame(labels.frames.at(queued.index));
    frame["gain"] = queued.gain;
    frames.push_back(std::move(frame));
  }
  return Json{{"athanor_queue", 1}, {"frames", std::move(frames)}}.dump(1) + "\n";
}

std::string EncodeQueueCoco(const LabelSet& labels, const std::vector<QueuedFrame>& queue,
                            const std::vector<const Log*>& logs) {
  const auto frames = FramesById(logs);
  Json images = Json::array(), annotations = Json::array(), categories = Json::array();
  for (int k = 0; k < kNuscenesAllClasses; ++k) {
    categories.push_back({{"id", k + 1}, {"name", kNuscenesClassNames[k]}});
  }
  for (const QueuedFrame& queued : queue) {
    const FrameLabels& frame = labels.frames.at(queued.index);
    const auto at = frames.find(frame.frame);
    ATHANOR_CHECK(at != frames.end(), "COCO: frame ", frame.frame, " of log ", frame.log,
                  " is not in the logs");
    for (const LogReading* picture : PicturesOf(at->second)) {
      const Camera& camera = at->second.log->sensors[picture->sensor].camera;
      const int64_t image = std::ssize(images) + 1;
      images.push_back({{"id", image},
                        {"file_name", PictureName(frame, *at->second.log, *picture)},
                        {"width", camera.width_px},
                        {"height", camera.height_px},
                        {"path", picture->path.string()}});
      for (const Label& label : frame.labels) {
        const FlatBox box = Project(label.box, *at->second.log, *picture);
        if (!box.is_seen()) continue;
        annotations.push_back({{"id", std::ssize(annotations) + 1},
                               {"image_id", image},
                               {"category_id", label.box.class_index + 1},
                               {"bbox", {box.x, box.y, box.width, box.height}},
                               {"area", box.width * box.height},
                               {"iscrowd", 0},
                               {"score", label.box.score}});
      }
    }
  }
  return Json{{"images", images}, {"annotations", annotations}, {"categories", categories}}.dump(
             1) +
         "\n";
}

ImportedLabels ImportQueueJson(const LabelSet& labels, const std::string& id, std::string_view json,
                               std::string_view name) {
  const Json parsed = ParseJson(json, name);
  ImportedLabels imported = StartImport(labels, id);
  const auto index = IndexFrames(labels);
  try {
    for (const Json& item : parsed.at("frames")) {
      FrameLabels after = FrameOfJson(item);
      const auto at = index.find(after.frame);
      ATHANOR_CHECK(at != index.end(), "frame ", after.frame, " is not in the labels");
      const FrameLabels& before = labels.frames[at->second];
      ATHANOR_CHECK(after.log == before.log && after.time_us == before.time_us, "frame ",
                    after.frame, ": expected log ", before.log, " and time ", before.time_us,
                    " us, found ", after.log, " and ", after.time_us);
      TakeFrame(std::move(after), &imported.labels.frames[at->second], &imported);
    }
  } catch (const std::exception& error) {
    throw Error(StrCat(name, ": frame ", imported.frames, ": ", error.what()));
  }
  return imported;
}

ImportedLabels ImportQueueCoco(const LabelSet& labels, const std::string& id, std::string_view json,
                               std::string_view name, const std::vector<const Log*>& logs) {
  const Json parsed = ParseJson(json, name);
  ImportedLabels imported = StartImport(labels, id);
  const auto index = IndexFrames(labels);
  const auto frames = FramesById(logs);
  struct Annotation {
    FlatBox box;
    int class_index;
  };
  try {
    std::map<int64_t, int> classes;
    for (const Json& category : parsed.at("categories")) {
      classes[category.at("id").get<int64_t>()] =
          FindNuscenesClass(category.at("name").get<std::string>());
    }
    std::map<int64_t, std::string> images;
    std::set<std::string> pictures;  // that came back
    for (const Json& image : parsed.at("images")) {
      const auto file = image.at("file_name").get<std::string>();
      images[image.at("id").get<int64_t>()] = file;
      pictures.insert(file);
    }
    std::map<std::string, std::vector<Annotation>> by_picture;
    for (const Json& item : parsed.at("annotations")) {
      const auto bbox = item.at("bbox").get<std::vector<double>>();
      ATHANOR_CHECK(bbox.size() == 4, "expected a bbox of 4 numbers, found ", bbox.size());
      const auto image = images.find(item.at("image_id").get<int64_t>());
      const auto of_class = classes.find(item.at("category_id").get<int64_t>());
      ATHANOR_CHECK(image != images.end() && of_class != classes.end() && of_class->second >= 0,
                    "annotation ", item.value("id", 0), ": expected an image and a class of ours");
      by_picture[image->second].push_back({{bbox[0], bbox[1], bbox[2], bbox[3]}, of_class->second});
    }
    std::set<std::string> seen_frames;
    for (const auto& [unused, file] : images) seen_frames.insert(file.substr(0, file.find('/')));
    for (const std::string& frame_id : seen_frames) {
      const auto at = index.find(frame_id);
      const auto in_logs = frames.find(frame_id);
      ATHANOR_CHECK(at != index.end() && in_logs != frames.end(), "frame ", frame_id,
                    " is not in the labels and the logs");
      FrameLabels& frame = imported.labels.frames[at->second];
      std::vector<uint8_t> is_shown(frame.labels.size()), is_kept(frame.labels.size());
      std::vector<int> as_class(frame.labels.size(), -1);
      for (const LogReading* picture : PicturesOf(in_logs->second)) {
        const std::string picture_name = PictureName(frame, *in_logs->second.log, *picture);
        if (!pictures.contains(picture_name)) continue;  // nobody was asked about it
        const auto drawn = by_picture.find(picture_name);
        std::vector<Annotation> left;
        if (drawn != by_picture.end()) left = drawn->second;
        for (size_t i = 0; i < frame.labels.size(); ++i) {
          const FlatBox box = Project(frame.labels[i].box, *in_logs->second.log, *picture);
          if (!box.is_seen()) continue;
          is_shown[i] = 1;
          const auto best = std::max_element(left.begin(), left.end(), [&](auto& a, auto& b) {
            return Overlap(a.box, box) < Overlap(b.box, box);
          });
          if (best == left.end() || Overlap(best->box, box) < 0.5) continue;
          is_kept[i] = 1;
          as_class[i] = best->class_index;
          left.erase(best);
        }
        imported.flat += std::ssize(left);
      }
      // What no picture shows stays as it was, and the frame is not complete then.
      FrameLabels after = frame;
      after.labels.clear();
      for (size_t i = 0; i < frame.labels.size(); ++i) {
        Label label = frame.labels[i];
        if (is_shown[i] && !is_kept[i]) {
          ++imported.removed;
          continue;
        }
        if (is_kept[i]) {
          ++(label.box.class_index == as_class[i] ? imported.kept : imported.changed);
          label.box.class_index = static_cast<int8_t>(as_class[i]);
          label.box.score = 1;
          label.source = "person";
          label.is_accepted = true;
        }
        after.labels.push_back(std::move(label));
      }
      frame = std::move(after);
      ++imported.frames;
    }
  } catch (const std::exception& error) {
    throw Error(StrCat(name, ": ", error.what()));
  }
  return imported;
}

ImportedLabels ImportLogs(const LabelSet& labels, const std::string& id,
                          const std::vector<const Log*>& logs, const std::set<std::string>* only) {
  ImportedLabels imported = StartImport(labels, id);
  const auto index = IndexFrames(labels);
  for (const Log* log : logs) {
    for (const LogFrame& frame : log->frames) {
      if (only != nullptr && !only->contains(frame.id)) continue;
      const auto at = index.find(frame.id);
      if (at == index.end()) continue;
      FrameLabels after = imported.labels.frames[at->second];
      after.labels.clear();
      for (const LogBox& box : frame.boxes) {
        const int class_index = NuscenesClassOfCategory(log->tracks[box.track].category);
        if (class_index < 0) continue;
        Label& label = after.labels.emplace_back();
        label.track = log->tracks[box.track].id;
        label.box.class_index = static_cast<int8_t>(class_index);
        label.box.translation_m = box.box.frame_from_box.translation;
        label.box.size_wlh_m = {box.box.size_m.y(), box.box.size_m.x(), box.box.size_m.z()};
        const Eigen::Quaterniond& q = box.box.frame_from_box.rotation;
        label.box.rotation_wxyz = {q.w(), q.x(), q.y(), q.z()};
        label.box.velocity_mps = box.velocity_mps;
        if (!box.attributes.empty()) {
          label.box.attribute = static_cast<int8_t>(FindNuscenesAttribute(box.attributes[0]));
        }
      }
      TakeFrame(std::move(after), &imported.labels.frames[at->second], &imported);
    }
  }
  ATHANOR_CHECK(imported.frames > 0, "labels: expected logs with frames of theirs, found none");
  return imported;
}

}  // namespace athanor
