#include "athanor/datasets/nuscenes_keyframe_reader.h"

#include <Eigen/SVD>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/datasets/text_lines.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr double kRigidTolerance = 1e-3;
constexpr int kMaxSidePx = 1 << 20;

// An object of the file, and where it stands: "sample.json: box 12".
class Record {
 public:
  Record(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
    ATHANOR_CHECK(object.is_object(), where_, ": expected an object, found ", object.type_name());
  }
  [[noreturn]] void Fail(const char* key, std::string_view expected) const {
    throw Error(StrCat(where_, ": ", key, ": expected ", expected));
  }
  const Json& At(const char* key, std::string_view expected) const {
    const auto found = object_.find(key);
    if (found == object_.end()) Fail(key, StrCat(expected, ", found nothing"));
    return *found;
  }
  std::string Text(const char* key) const {
    const Json& value = At(key, "text");
    if (!value.is_string() || value.get_ref<const std::string&>().empty()) Fail(key, "text");
    return value.get<std::string>();
  }
  double Number(const char* key) const {
    const Json& value = At(key, "a number");
    if (!value.is_number()) Fail(key, "a number");
    return value.get<double>();
  }
  int64_t Time_us(const char* key) const {
    constexpr double kMax_s = 1e11;
    const double seconds = Number(key);
    if (!(std::abs(seconds) < kMax_s)) Fail(key, "a time in seconds");
    return std::llround(seconds * 1e6);
  }
  int Count(const char* key, int low, int high) const {
    const double value = Number(key);
    if (!(value >= low && value <= high && value == std::floor(value))) {
      Fail(key, StrCat("a whole number of ", low, " to ", high));
    }
    return static_cast<int>(value);
  }
  // Rows x columns numbers; one row is a plain list.
  Eigen::MatrixXd Matrix(const char* key, int rows, int columns) const {
    const std::string expected =
        rows == 1 ? StrCat(columns, " numbers") : StrCat(rows, " x ", columns, " numbers");
    const Json& value = At(key, expected);
    Eigen::MatrixXd matrix(rows, columns);
    const auto fill = [&](const Json& list, int row) {
      if (!list.is_array() || static_cast<int>(list.size()) != columns) Fail(key, expected);
      for (int c = 0; c < columns; ++c) {
        if (!list[c].is_number()) Fail(key, expected);
        matrix(row, c) = list[c].get<double>();
      }
    };
    if (rows == 1) {
      fill(value, 0);
    } else {
      if (!value.is_array() || static_cast<int>(value.size()) != rows) Fail(key, expected);
      for (int r = 0; r < rows; ++r) fill(value[r], r);
    }
    return matrix;
  }
  Rigid3 Transform(const char* key) const {
    const Eigen::MatrixXd m = Matrix(key, 4, 4);
    const Eigen::Matrix3d r = m.topLeftCorner<3, 3>();
    const bool rigid =
        (r * r.transpose() - Eigen::Matrix3d::Identity()).cwiseAbs().maxCoeff() < kRigidTolerance &&
        r.determinant() > 0 && m.row(3) == Eigen::RowVector4d(0, 0, 0, 1);
    if (!rigid) Fail(key, "a rotation and a translation");
    return {Eigen::Quaterniond(r).normalized(), m.topRightCorner<3, 1>()};
  }
  const Json& List(const char* key) const {
    const Json& value = At(key, "a list");
    if (!value.is_array()) Fail(key, "a list");
    return value;
  }
  fs::path File(const char* key, const fs::path& folder) const {
    const fs::path file = Text(key);
    if (file.is_absolute() || *file.begin() == "..") Fail(key, "a file beside sample.json");
    return folder / file;
  }

 private:
  const Json& object_;
  std::string where_;
};

class KeyframeLogs : public LogDataset {
 public:
  explicit KeyframeLogs(Log log) : log_(std::move(log)), names_{log_.name} {}
  const std::string& format() const override { return log_.dataset; }
  const std::vector<std::string>& names() const override { return names_; }
  Log Read(int index) const override {
    ATHANOR_CHECK(index == 0, log_.source, ": there is one log only, number 0, not ", index);
    return log_;
  }

 private:
  Log log_;
  std::vector<std::string> names_;
};

fs::path FileOf(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error) ? path / "sample.json" : path;
}

}  // namespace

bool IsNuscenesKeyframe(const fs::path& path) {
  std::error_code error;
  const fs::path file = FileOf(path);
  return file.filename() == "sample.json" && fs::is_regular_file(file, error);
}

Log ParseNuscenesKeyframe(std::string_view text, const std::string& name, const fs::path& folder) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  ATHANOR_CHECK(!json.is_discarded(), name, ": not valid JSON");
  const Record file(json, name);
  Log log;
  log.source = name;
  log.dataset = "nuscenes_keyframe";
  log.name = file.Text("scene");
  log.description = file.Text("dataset");
  const Rigid3 world_from_ego = file.Transform("T_global_ego");
  const Rigid3 ego_from_lidar = file.Transform("T_ego_lidar");
  LogFrame frame;
  frame.id = file.Text("token");
  frame.time_us = file.Time_us("timestamp");
  frame.world_from_ego = world_from_ego;

  const auto add = [&](LogSensor sensor, int64_t time_us, fs::path path) {
    LogReading reading;
    reading.sensor = static_cast<int>(log.sensors.size());
    reading.time_us = time_us;
    reading.world_from_ego = world_from_ego;
    reading.path = std::move(path);
    reading.frame = 0;
    frame.readings.push_back(reading.sensor);
    log.readings.push_back(std::move(reading));
    log.sensors.push_back(std::move(sensor));
  };
  add({"LIDAR_TOP", SensorKind::kLidar, ego_from_lidar, {}}, frame.time_us,
      file.File("lidar", folder));
  std::set<std::string> channels = {"LIDAR_TOP"};
  int index = 0;
  for (const Json& object : file.List("cameras")) {
    const std::string where = StrCat(name, ": camera ", index++);
    const Record record(object, where);
    LogSensor sensor;
    sensor.channel = record.Text("name");
    ATHANOR_CHECK(channels.insert(sensor.channel).second, where, ": name: there are two ",
                  Quoted(sensor.channel));
    sensor.ego_from_sensor = ego_from_lidar * record.Transform("T_cam_lidar").Inverse();
    const Eigen::MatrixXd k = record.Matrix("K", 3, 3);
    sensor.camera.width_px = record.Count("width", 1, kMaxSidePx);
    sensor.camera.height_px = record.Count("height", 1, kMaxSidePx);
    sensor.camera.parameters = {k(0, 0), k(1, 1), k(0, 2), k(1, 2)};
    sensor.camera.Check(where);
    add(std::move(sensor), record.Time_us("timestamp"), record.File("file", folder));
  }

  const Rigid3 world_from_lidar = world_from_ego * ego_from_lidar;
  index = 0;
  for (const Json& object : file.List("boxes")) {
    const Record record(object, StrCat(name, ": box ", index));
    LogBox box;
    box.track = index++;
    log.tracks.push_back({"", record.Text("cls")});
    const Eigen::MatrixXd size = record.Matrix("lwh", 1, 3);
    if (!(size.array() > 0).all()) record.Fail("lwh", "a length, width and height above 0");
    box.box = world_from_lidar * MakeBox3(record.Matrix("center", 1, 3).transpose(),
                                          size.transpose(), record.Number("yaw"));
    const Eigen::MatrixXd velocity = record.Matrix("velocity", 1, 2);
    box.velocity_mps =
        (world_from_lidar.rotation * Eigen::Vector3d(velocity(0), velocity(1), 0)).head<2>();
    box.num_lidar_points = record.Count("num_lidar_pts", 0, 1 << 30);
    frame.boxes.push_back(std::move(box));
  }
  log.frames.push_back(std::move(frame));
  return log;
}

std::unique_ptr<LogDataset> OpenNuscenesKeyframe(const fs::path& path) {
  const fs::path file = FileOf(path);
  return std::make_unique<KeyframeLogs>(
      ParseNuscenesKeyframe(ReadFile(file), file.string(), file.parent_path()));
}

}  // namespace athanor
