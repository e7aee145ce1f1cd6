// A driving log: what the sensors of one vehicle saw in one stretch of driving, and the boxes that
// people (or we) drew into it. Every reader of a driving format returns this one type.
#pragma once

#include <Eigen/Core>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/geometry/box3.h"
#include "athanor/geometry/camera.h"
#include "athanor/geometry/rigid3.h"

namespace athanor {

enum class SensorKind { kCamera, kLidar, kRadar };

// "camera", "lidar", "radar": nuScenes' words.
std::string_view SensorKindName(SensorKind kind);

struct LogSensor {
  std::string channel;  // as in the data set: "CAM_FRONT", "LIDAR_TOP"; unique in a log
  SensorKind kind = SensorKind::kCamera;
  Rigid3 ego_from_sensor;
  Camera camera;  // of cameras only
};

// One picture or one sweep.
struct LogReading {
  std::string id;  // the data set's own (nuScenes: sample_data token); empty when it has none
  int sensor = 0;  // index into Log::sensors
  int64_t time_us = 0;
  Rigid3 world_from_ego;       // at time_us
  std::filesystem::path path;  // may be missing on disk when a data set is shipped in parts
  int frame = -1;              // of which annotated frame it is part; -1: in between
};

// What a box belongs to: one object through time.
struct LogTrack {
  std::string id;
  std::string category;  // in the data set's own words: "vehicle.car", "REGULAR_VEHICLE"
};

struct LogBox {
  std::string id;  // the data set's own; empty when it has none
  int track = 0;   // index into Log::tracks
  Box3 box;        // world frame
  // World frame, metres per second; NaN when not known.
  Eigen::Vector2d velocity_mps = Eigen::Vector2d::Constant(std::nan(""));
  std::vector<std::string> attributes;  // nuScenes: none or one ("vehicle.moving")
  int num_lidar_points = -1;            // inside the box, as annotated; -1: not known
  int num_radar_points = -1;
  int visibility = 0;  // nuScenes: 1..4 = 0-40, 40-60, 60-80, 80-100 %; 0: not known
};

// An annotated moment.
struct LogFrame {
  std::string id;  // nuScenes: sample token
  int64_t time_us = 0;
  Rigid3 world_from_ego;      // of the LiDAR's reading when there is one
  std::vector<int> readings;  // per sensor: index into Log::readings, or -1
  std::vector<LogBox> boxes;
};

// Something that happened: "ego.hard_brake", "actor.cut_in". Truth of simulated logs; other sets
// have none.
struct LogTag {
  std::string name;
  int track = -1;  // whose behaviour; -1: the ego vehicle's, or the scene's as a whole
  int64_t begin_us = 0, end_us = 0;
};

// Where the bytes of readings come from when they are not files of their own. Thread-safe.
class PayloadSource {
 public:
  virtual ~PayloadSource() = default;
  virtual bool Has(const LogReading& reading) const = 0;
  // The bytes as the sensor stored them. Throws Error.
  virtual std::string Read(const LogReading& reading) const = 0;
};

struct Log {
  std::string source;   // path it was read from, for messages
  std::string dataset;  // "nuscenes", "argoverse2", "kitti", "nuscenes_keyframe"
  std::string name;     // "scene-0061"; unique in its data set
  std::string location, description, vehicle;
  std::vector<LogSensor> sensors;
  std::vector<LogReading> readings;  // sorted by sensor, then time
  std::vector<LogTrack> tracks;
  std::vector<LogFrame> frames;  // sorted by time
  std::vector<LogTag> tags;
  // Null: each reading is the file at its `path`. Else `path` is but a name, with the ending that
  // says how the bytes are to be decoded.
  std::shared_ptr<const PayloadSource> payloads;

  // Null when there is none of that channel.
  const LogSensor* FindSensor(std::string_view channel) const;
  // Index of the first LiDAR (the one whose readings boxes are drawn on), or -1.
  int MainLidar() const;
};

// Whether the picture or sweep is at hand: data sets are shipped in parts.
bool HasPayload(const Log& log, const LogReading& reading);
// The bytes of a picture or a sweep, as the sensor stored them. Throws Error (path, reason).
std::string ReadPayload(const Log& log, const LogReading& reading);
std::string ReadPayload(const Log& log, int reading);

// The logs of one data set on disk.
class LogDataset {
 public:
  virtual ~LogDataset() = default;
  virtual const std::string& format() const = 0;  // "nuscenes", "argoverse2", ...
  // Names of its logs, in the data set's order.
  virtual const std::vector<std::string>& names() const = 0;
  // Throws Error (file, record, expectation).
  virtual Log Read(int index) const = 0;
};

// Opens a folder, telling the format by content:
//   nuScenes v1.0      FOLDER/v1.0-*/scene.json, or the folder of tables itself
//   Argoverse 2        city_SE3_egovehicle.feather and calibration/ (one log), a folder of such
//                      folders, or a folder of those
//   KITTI object       label_2/ or velodyne/ beside calib/; every frame is a log of its own
//   nuScenes key frame sample.json (one exported frame)
// and what RegisterLogFormat added. Throws Error that says what was looked for.
std::unique_ptr<LogDataset> OpenLogs(const std::filesystem::path& path);

// A format of a module above this one, which OpenLogs is to know.
struct LogFormat {
  std::string looked_for;  // for messages: "a lake (lake.sqlite)"
  std::function<bool(const std::filesystem::path&)> is_one;
  std::function<std::unique_ptr<LogDataset>(const std::filesystem::path&)> open;
};
// To be called before threads begin. Registering the same `looked_for` again changes nothing.
void RegisterLogFormat(LogFormat format);

// Index of the log called `name`, or whose number from 0 it is. Throws Error, naming `path`, when
// there is none.
int FindLog(const LogDataset& logs, const std::filesystem::path& path, const std::string& name);

// The points of one LiDAR reading.
struct LidarSweep {
  std::vector<Eigen::Vector3f> points;  // [N] sensor frame at the reading's time, metres
  std::vector<float> intensity;         // [N] 0..1 (nuScenes and Argoverse store 0..255)
  std::vector<uint16_t> ring;           // [N] beam, or empty when not stored
  // [N] seconds from the reading's time to when the point was measured; empty when not stored.
  std::vector<float> time_s;

  int64_t size() const { return static_cast<int64_t>(points.size()); }
};

// Reads the points of a LiDAR reading by its path's ending (.pcd.bin, KITTI .bin, .feather).
// Throws Error (path, byte) for a damaged file.
LidarSweep ReadSweep(const Log& log, int reading);

// The sweep of frame `frame` and up to `max_sweeps - 1` readings of the same LiDAR before it, moved
// to the sensor frame of the first by the ego poses (sensor -> ego -> world -> ego -> sensor), as
// the nuScenes devkit does. Points of every sweep with |x| < `min_distance_m` and |y| <
// `min_distance_m` are left out (returns from the car itself), and so are earlier sweeps that are
// not on disk (data sets shipped in parts). `time_s` is the time of the sweep less that of the key
// sweep (<= 0).
LidarSweep MergeSweeps(const Log& log, int frame, int max_sweeps, float min_distance_m = 1.0f);

}  // namespace athanor
