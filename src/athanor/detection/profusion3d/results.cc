#include "athanor/detection/profusion3d/results.h"

#include <Eigen/Core>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>

#include "athanor/base/error.h"
#include "athanor/datasets/kitti_reader.h"
#include "athanor/detection/profusion3d/class_names.h"
#include "athanor/detection/profusion3d/sample.h"
#include "athanor/geometry/box3.h"

namespace athanor {
namespace {

// The detections best first, after a check.
std::vector<Detection> Sorted(const Log& log, int frame, std::span<const Detection> detections) {
  ATHANOR_CHECK(frame >= 0 && frame < static_cast<int>(log.frames.size()), log.source, ": log ",
                log.name, ": expected a frame of 0 to ", log.frames.size(), " (excluded), found ",
                frame);
  std::vector<Detection> result(detections.begin(), detections.end());
  for (const Detection& detection : result) {
    ATHANOR_CHECK(detection.label >= 0 && detection.label < kNumDetectionClasses,
                  "detections: expected classes of 0 to ", kNumDetectionClasses - 1, ", found ",
                  detection.label);
  }
  std::stable_sort(result.begin(), result.end(),
                   [](const Detection& a, const Detection& b) { return a.score > b.score; });
  return result;
}

// In the ego frame.
Box3 BoxOf(const Detection& detection) {
  const auto& box = detection.box;
  return MakeBox3({box[0], box[1], box[2]}, {box[3], box[4], box[5]}, box[6]);
}

}  // namespace

std::string_view NuscenesAttributeOf(int detection_class, double speed_mps) {
  const std::string_view name = kDetectionClasses.at(detection_class);
  const bool is_moving = speed_mps > 0.2;
  if (name == "barrier" || name == "traffic_cone" || name == "animal") return {};
  if (name == "pedestrian") return is_moving ? "pedestrian.moving" : "pedestrian.standing";
  if (name == "bicycle" || name == "motorcycle") {
    return is_moving ? "cycle.with_rider" : "cycle.without_rider";
  }
  if (is_moving) return "vehicle.moving";
  return name == "bus" ? "vehicle.stopped" : "vehicle.parked";
}

void AddNuscenesResults(const Log& log, int frame, std::span<const Detection> detections,
                        NuscenesResults* results, int max_boxes) {
  std::vector<Detection> best = Sorted(log, frame, detections);
  if (static_cast<int>(best.size()) > max_boxes) best.resize(max_boxes);
  const Rigid3& world_from_ego = log.frames[frame].world_from_ego;
  for (const Detection& detection : best) {
    const Box3 box = world_from_ego * BoxOf(detection);
    const auto known = [](float x) { return std::isfinite(x) ? double{x} : 0; };
    const Eigen::Vector3d in_ego(known(detection.box[7]), known(detection.box[8]), 0);
    const Eigen::Quaterniond& q = box.frame_from_box.rotation;
    const Eigen::Vector3d velocity = world_from_ego.rotation * in_ego;
    NuscenesBox out;
    out.translation_m = box.frame_from_box.translation;
    out.size_wlh_m = {box.size_m.y(), box.size_m.x(), box.size_m.z()};
    out.rotation_wxyz = {q.w(), q.x(), q.y(), q.z()};
    out.velocity_mps = velocity.head<2>();
    out.score = detection.score;
    out.class_index = static_cast<int8_t>(FindNuscenesClass(kDetectionClasses[detection.label]));
    const std::string_view attribute = detection.attribute >= 0
                                           ? detection.AttributeName()
                                           : NuscenesAttributeOf(detection.label, in_ego.norm());
    out.attribute =
        attribute.empty() ? int8_t{-1} : static_cast<int8_t>(FindNuscenesAttribute(attribute));
    results->boxes.push_back(out);
  }
  results->sample_tokens.push_back(log.frames[frame].id);
  results->first_box.push_back(static_cast<int64_t>(results->boxes.size()));
}

std::string NuscenesMeta(bool use_camera, bool use_lidar) {
  const auto word = [](bool value) { return value ? "true" : "false"; };
  return StrCat(R"({"use_camera": )", word(use_camera), R"(, "use_lidar": )", word(use_lidar),
                R"(, "use_radar": false, "use_map": false, "use_external": false})");
}

std::vector<Argoverse2Detection> ArgoverseResults(const Log& log, int frame,
                                                  std::span<const Detection> detections) {
  std::vector<Argoverse2Detection> rows;
  for (const Detection& detection : Sorted(log, frame, detections)) {
    const std::string_view category = ArgoverseCategoryOf(detection.label);
    if (category.empty()) continue;
    Argoverse2Detection row;
    row.log_id = log.name;
    const std::string& id = log.frames[frame].id;
    const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), row.timestamp_ns);
    ATHANOR_CHECK(error == std::errc() && end == id.data() + id.size(), log.source, ": log ",
                  log.name, ": expected a time in nanoseconds as the id of frame ", frame,
                  ", found '", id, "'");
    row.category = category;
    row.box_in_ego = BoxOf(detection);
    row.score = detection.score;
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<KittiLabel> KittiResults(const Log& log, int frame,
                                     std::span<const Detection> detections) {
  constexpr double kNearest_m = 0.1;
  const std::vector<Detection> sorted = Sorted(log, frame, detections);
  const KittiCalibration calibration = ReadKittiCalibration(
      std::filesystem::path(log.source) / "calib" / (log.frames[frame].id + ".txt"));
  // The benchmark's own size where the picture is not at hand.
  const LogSensor* sensor = log.FindSensor("image_2");
  const Eigen::Vector2d last(sensor == nullptr ? 1241 : sensor->camera.width_px - 1,
                             sensor == nullptr ? 374 : sensor->camera.height_px - 1);
  std::vector<KittiLabel> labels;
  for (const Detection& detection : sorted) {
    const std::string_view type = KittiTypeOf(detection.label);
    if (type.empty()) continue;
    const Box3 box = calibration.rectified_from_velodyne * BoxOf(detection);
    if (box.frame_from_box.translation.z() < kNearest_m) continue;
    Eigen::Vector2d low(INFINITY, INFINITY), high(-INFINITY, -INFINITY);
    for (Eigen::Vector3d corner : box.Corners()) {
      // Corners beside the camera are seen at the border.
      corner.z() = std::max(corner.z(), kNearest_m);
      const Eigen::Vector2d pixel =
          (calibration.projections[2] * corner.homogeneous()).hnormalized();
      low = low.cwiseMin(pixel);
      high = high.cwiseMax(pixel);
    }
    low = low.cwiseMax(0);
    high = high.cwiseMin(last);
    if (!(low.x() < high.x() && low.y() < high.y())) continue;
    KittiLabel label;
    label.type = type;
    SetKittiBox(box, &label);
    label.box_px = {low.x(), low.y(), high.x(), high.y()};
    label.score = detection.score;
    labels.push_back(std::move(label));
  }
  return labels;
}

}  // namespace athanor
