#include "athanor/datasets/kitti_reader.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/datasets/kitti_labels.h"
#include "athanor/datasets/paths.h"
#include "athanor/datasets/rotation_matrix.h"
#include "athanor/datasets/text_lines.h"
#include "athanor/media/image.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

bool HasFrames(const fs::path& folder) {
  return IsFolder(folder / "calib") &&
         (IsFolder(folder / "velodyne") || IsFolder(folder / "label_2") ||
          IsFolder(folder / "image_2"));
}

Eigen::Quaterniond ReadRotation(const Eigen::Matrix3d& matrix, std::string_view name,
                                std::string_view key) {
  const auto rotation = NearestRotation(matrix);
  ATHANOR_CHECK(rotation, name, ": ", key, ": expected a rotation, found another matrix");
  return *rotation;
}

Log ReadFrame(const fs::path& folder, const std::string& id, const std::string& name) {
  Log log;
  log.source = folder.string();
  log.dataset = "kitti";
  log.name = name;
  const KittiCalibration calibration = ReadKittiCalibration(folder / "calib" / (id + ".txt"));
  LogFrame frame;
  frame.id = id;
  for (int i = 0; i < 4; ++i) {
    const std::string channel = StrCat("image_", i);
    fs::path path = folder / channel / (id + ".png");
    if (!IsFile(path)) path.replace_extension(".jpg");
    if (!IsFile(path)) continue;
    const ImageSize size = ReadImageSize(path);
    const Eigen::Matrix3d intrinsics = calibration.Intrinsics(i);
    LogSensor sensor;
    sensor.channel = channel;
    sensor.kind = SensorKind::kCamera;
    sensor.camera = {
        CameraModel::kPinhole,
        size.width,
        size.height,
        {intrinsics(0, 0), intrinsics(1, 1), intrinsics(0, 2) + 0.5, intrinsics(1, 2) + 0.5}};
    sensor.camera.Check(StrCat((folder / "calib" / (id + ".txt")).string(), ": P", i));
    sensor.ego_from_sensor =
        (calibration.CameraFromRectified(i) * calibration.rectified_from_velodyne).Inverse();
    frame.readings.push_back(static_cast<int>(log.readings.size()));
    LogReading reading;
    reading.id = id;
    reading.sensor = static_cast<int>(log.sensors.size());
    reading.path = path;
    reading.frame = 0;
    log.readings.push_back(std::move(reading));
    log.sensors.push_back(std::move(sensor));
  }
  LogReading sweep;
  sweep.id = id;
  sweep.sensor = static_cast<int>(log.sensors.size());
  sweep.path = folder / "velodyne" / (id + ".bin");
  sweep.frame = 0;
  frame.readings.push_back(IsFile(sweep.path) ? static_cast<int>(log.readings.size()) : -1);
  if (IsFile(sweep.path)) log.readings.push_back(std::move(sweep));
  LogSensor lidar;
  lidar.channel = "velodyne";
  lidar.kind = SensorKind::kLidar;
  log.sensors.push_back(std::move(lidar));

  const fs::path labels = folder / "label_2" / (id + ".txt");
  ATHANOR_CHECK(!log.readings.empty() || IsFile(labels),
                (folder / "calib" / (id + ".txt")).string(), ": expected velodyne/", id,
                ".bin, image_2/", id, ".png or label_2/", id, ".txt beside calib/, found none",
                IsFolder(folder / "velodyne" / id) || IsFolder(folder / "image_02" / id)
                    ? ": this is KITTI tracking or raw data; KITTI object has one file per frame"
                    : "");
  if (IsFile(labels)) {
    const Rigid3 velodyne_from_rectified = calibration.rectified_from_velodyne.Inverse();
    for (const KittiLabel& label : ReadKittiLabels(labels)) {
      if (label.type == "DontCare" || !label.has_box3()) continue;
      LogBox box;
      box.track = static_cast<int>(log.tracks.size());
      box.box = velodyne_from_rectified * KittiBoxInCamera(label);
      log.tracks.push_back({StrCat(id, "_", log.tracks.size()), label.type});
      frame.boxes.push_back(std::move(box));
    }
  }
  log.frames.push_back(std::move(frame));
  return log;
}

class KittiDataset : public LogDataset {
 public:
  explicit KittiDataset(const fs::path& path) {
    if (HasFrames(path)) {
      AddFrames(path, "");
    } else {
      for (const char* split : {"training", "testing"}) {
        if (HasFrames(path / split)) AddFrames(path / split, StrCat(split, "/"));
      }
    }
    ATHANOR_CHECK(!names_.empty(), path.string(),
                  ": expected KITTI frames (calib/*.txt beside velodyne/, image_2/ or label_2/), "
                  "found none");
  }
  const std::string& format() const override {
    static const std::string format = "kitti";
    return format;
  }
  const std::vector<std::string>& names() const override { return names_; }
  Log Read(int index) const override {
    ATHANOR_CHECK(index >= 0 && index < static_cast<int>(names_.size()),
                  "KITTI: expected a log from 0 to ", names_.size() - 1, ", found ", index);
    return ReadFrame(folders_[index], ids_[index], names_[index]);
  }

 private:
  void AddFrames(const fs::path& folder, const std::string& prefix) {
    for (const fs::path& path : ListFiles(folder / "calib", {".txt"})) {
      folders_.push_back(folder);
      ids_.push_back(path.stem().string());
      names_.push_back(prefix + ids_.back());
    }
  }

  std::vector<fs::path> folders_;
  std::vector<std::string> ids_, names_;
};

}  // namespace

Eigen::Matrix3d KittiCalibration::Intrinsics(int camera) const {
  return projections[camera].leftCols<3>();
}

Rigid3 KittiCalibration::CameraFromRectified(int camera) const {
  Rigid3 camera_from_rectified;
  camera_from_rectified.translation = Intrinsics(camera).inverse() * projections[camera].col(3);
  return camera_from_rectified;
}

KittiCalibration ParseKittiCalibration(std::string_view text, std::string_view name) {
  std::map<std::string, std::vector<double>, std::less<>> matrices;
  TextLines lines(text, name);
  while (lines.NextRecord()) {
    std::string_view key = lines.Field();
    if (key.ends_with(':')) key.remove_suffix(1);
    // Other programs add lines of their own (dates, names), which are not numbers.
    const bool is_known = key == "P0" || key == "P1" || key == "P2" || key == "P3" ||
                          key == "R0_rect" || key == "R_rect" || key == "Tr_velo_to_cam" ||
                          key == "Tr_velo_cam";
    if (!is_known) continue;
    std::vector<double>& values = matrices[std::string(key)];
    if (!values.empty()) lines.Fail(StrCat(key, " occurs twice"));
    const size_t count = key.starts_with('R') ? 9 : 12;
    for (size_t i = 0; i < count; ++i) {
      values.push_back(lines.Number<double>(key));
      if (!std::isfinite(values.back())) {
        lines.Fail(StrCat("expected finite numbers as ", key, ", found ", values.back()));
      }
    }
    if (!lines.Field().empty())
      lines.Fail(StrCat("expected ", count, " numbers as ", key, ", found more"));
  }
  const auto find = [&](std::string_view key, std::string_view other) -> const double* {
    auto found = matrices.find(key);
    if (found == matrices.end()) found = matrices.find(other);
    ATHANOR_CHECK(found != matrices.end(), name, ": expected a line '", key, ":', found none");
    return found->second.data();
  };
  using Matrix34 = Eigen::Matrix<double, 3, 4, Eigen::RowMajor>;
  using Matrix33 = Eigen::Matrix<double, 3, 3, Eigen::RowMajor>;
  KittiCalibration calibration;
  for (int i = 0; i < 4; ++i) {
    const std::string key = StrCat("P", i);
    const Matrix34 p = Eigen::Map<const Matrix34>(find(key, key));
    ATHANOR_CHECK(p(0, 0) > 0 && p(1, 1) > 0 && p(0, 1) == 0 && p(1, 0) == 0 && p(2, 0) == 0 &&
                      p(2, 1) == 0 && p(2, 2) == 1,
                  name, ": ", key, ": expected the projection of a pinhole camera: fx 0 cx tx, ",
                  "0 fy cy ty, 0 0 1 tz");
    calibration.projections[i] = p;
  }
  const Matrix33 rectification = Eigen::Map<const Matrix33>(find("R0_rect", "R_rect"));
  const Matrix34 camera_from_velodyne =
      Eigen::Map<const Matrix34>(find("Tr_velo_to_cam", "Tr_velo_cam"));
  Rigid3 rectified_from_camera, camera;
  rectified_from_camera.rotation = ReadRotation(rectification, name, "R0_rect");
  camera.rotation = ReadRotation(camera_from_velodyne.leftCols<3>(), name, "Tr_velo_to_cam");
  camera.translation = camera_from_velodyne.col(3);
  calibration.rectified_from_velodyne = rectified_from_camera * camera;
  return calibration;
}

KittiCalibration ReadKittiCalibration(const fs::path& path) {
  return ParseKittiCalibration(ReadFile(path), path.string());
}

LidarSweep ParseKittiSweep(std::string_view bytes, std::string_view name) {
  ATHANOR_CHECK(bytes.size() % 16 == 0, name, ": expected points of 4 floats (x y z reflectance), ",
                "found ", bytes.size(), " bytes, which 16 does not divide");
  LidarSweep sweep;
  sweep.points.resize(bytes.size() / 16);
  sweep.intensity.resize(bytes.size() / 16);
  for (size_t i = 0; i < sweep.points.size(); ++i) {
    float values[4];
    std::memcpy(values, bytes.data() + 16 * i, 16);
    const bool good = std::isfinite(values[0]) && std::isfinite(values[1]) &&
                      std::isfinite(values[2]) && std::isfinite(values[3]) && values[3] >= 0;
    ATHANOR_CHECK(good, name, ": byte ", 16 * i,
                  ": expected a point (finite x y z, reflectance of 0 or more), found ", values[0],
                  " ", values[1], " ", values[2], " ", values[3]);
    sweep.points[i] = {values[0], values[1], values[2]};
    sweep.intensity[i] = values[3];
  }
  return sweep;
}

bool IsKittiFolder(const fs::path& folder) {
  return HasFrames(folder) || HasFrames(folder / "training") || HasFrames(folder / "testing");
}

std::unique_ptr<LogDataset> OpenKittiLogs(const fs::path& path) {
  return std::make_unique<KittiDataset>(path);
}

}  // namespace athanor
