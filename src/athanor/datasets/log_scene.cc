#include "athanor/datasets/log_scene.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <unordered_map>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/parallel.h"
#include "athanor/base/progress.h"
#include "athanor/base/random.h"
#include "athanor/datasets/log_projection.h"
#include "athanor/media/image.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr double kDepthUnit_m = 0.001;

// A moving object through time, in the frame of the scene.
class MovingTrack {
 public:
  void Add(int64_t time_us, const Box3& box) { boxes_.emplace_back(time_us, box); }
  const std::vector<std::pair<int64_t, Box3>>& boxes() const { return boxes_; }

  // Between two boxes: on the way from one to the other. Before the first and after the last: moved
  // on as between the nearest two, for as long as annotations are apart. None beyond.
  std::optional<Box3> At(int64_t time_us) const {
    constexpr int64_t kMaxBeyond_us = 600000;
    if (boxes_.empty() || time_us < boxes_.front().first - kMaxBeyond_us ||
        time_us > boxes_.back().first + kMaxBeyond_us) {
      return std::nullopt;
    }
    if (boxes_.size() == 1) return boxes_[0].second;
    auto next = std::upper_bound(boxes_.begin(), boxes_.end(), time_us,
                                 [](int64_t t, const auto& box) { return t < box.first; });
    next = std::clamp(next, boxes_.begin() + 1, boxes_.end() - 1);
    const auto& [t0, a] = *(next - 1);
    const auto& [t1, b] = *next;
    const double t = static_cast<double>(time_us - t0) / static_cast<double>(t1 - t0);
    const Rigid3 &pose_a = a.frame_from_box, &pose_b = b.frame_from_box;
    Box3 box;
    box.frame_from_box.translation = (1 - t) * pose_a.translation + t * pose_b.translation;
    box.frame_from_box.rotation = pose_a.rotation.slerp(std::clamp(t, 0.0, 1.0), pose_b.rotation);
    box.size_m = a.size_m.cwiseMax(b.size_m);
    return box;
  }

 private:
  std::vector<std::pair<int64_t, Box3>> boxes_;  // sorted by time
};

bool IsMoving(const MovingTrack& track, double max_speed_mps, const LogSceneOptions& options) {
  if (max_speed_mps > options.moving_speed_mps) return true;
  for (const auto& [time_us, box] : track.boxes()) {
    const double distance_m =
        (box.frame_from_box.translation - track.boxes().front().second.frame_from_box.translation)
            .norm();
    if (distance_m > options.moving_distance_m) return true;
  }
  return false;
}

// The means of what falls into the cells of a grid, and the colours that pictures saw there.
class Voxels {
 public:
  explicit Voxels(double size_m) : size_m_(size_m) {}

  // The number of the voxel; -1 when the point is more than 2^20 voxels away from the origin.
  int Add(const Eigen::Vector3f& point) {
    uint64_t key = 0;
    for (int i = 0; i < 3; ++i) {
      const double cell = std::floor(point[i] / size_m_) + (1 << 20);
      if (!(cell >= 0 && cell < (1 << 21))) return -1;
      key = key << 21 | static_cast<uint64_t>(cell);
    }
    const auto [entry, added] = index_.emplace(key, static_cast<int>(sums_.size()));
    if (added) sums_.emplace_back(Eigen::Vector4d::Zero());
    sums_[entry->second] += Eigen::Vector4d(point.x(), point.y(), point.z(), 1);
    return entry->second;
  }
  // Before the first AddColor(), and after the last Add().
  void BeginColors() { colors_ = std::vector<ColorSum>(sums_.size()); }
  // From any thread: sums of whole numbers do not depend on the order.
  void AddColor(int voxel, const uint8_t* rgb) {
    ColorSum& sum = colors_[voxel];
    for (int c = 0; c < 3; ++c) sum.rgb[c].fetch_add(rgb[c], std::memory_order_relaxed);
    sum.count.fetch_add(1, std::memory_order_relaxed);
  }
  std::vector<ColoredPoint> Points() const {
    std::vector<ColoredPoint> points;
    for (size_t i = 0; i < sums_.size(); ++i) {
      const ColorSum& color = colors_[i];
      const uint32_t count = color.count.load();
      if (count == 0) continue;
      ColoredPoint& point = points.emplace_back();
      for (int k = 0; k < 3; ++k) {
        point.position[k] = static_cast<float>(sums_[i][k] / sums_[i][3]);
        point.color[k] = static_cast<uint8_t>((color.rgb[k].load() + count / 2) / count);
      }
    }
    return points;
  }

 private:
  struct ColorSum {
    std::array<std::atomic<uint32_t>, 3> rgb = {};
    std::atomic<uint32_t> count = 0;
  };
  double size_m_;
  std::unordered_map<uint64_t, int> index_;
  std::vector<Eigen::Vector4d> sums_;  // x, y, z, count
  std::vector<ColorSum> colors_;
};

// The static points of one sweep, in the frame of the scene.
struct StaticSweep {
  int64_t time_us = 0;
  std::vector<Eigen::Vector3f> points;
  std::vector<int> voxels;
};

class SceneMaker {
 public:
  SceneMaker(const Log& log, const fs::path& cache_folder, const LogSceneOptions& options)
      : log_(log), cache_(cache_folder), options_(options), voxels_(options.voxel_m) {}

  LogScene Make() {
    ChooseReadings();
    FindMoving();
    ReadSweeps();
    MakeImages();
    FinishPosedImages(scene_.posed);
    MakePoints();
    return std::move(scene_);
  }

 private:
  std::string Where() const { return StrCat(log_.source, ": log ", log_.name); }

  void ChooseReadings() {
    ATHANOR_CHECK(!log_.frames.empty(), Where(), ": expected at least one frame, found none");
    ATHANOR_CHECK(options_.begin_s >= 0 && options_.seconds >= 0 && options_.picture_step >= 1 &&
                      options_.voxel_m > 0 && options_.depth_sweeps >= 1 &&
                      options_.max_points >= 1 && options_.max_depth_m > 0,
                  Where(), ": expected positive options of the scene");
    // Sensors fire around the time of a frame: a little before the first belongs to it.
    constexpr int64_t kSlack_us = 60000;
    const double most_s = 1e12;
    begin_us_ = log_.frames.front().time_us +
                static_cast<int64_t>(1e6 * std::min(options_.begin_s, most_s)) - kSlack_us;
    const int64_t end_us =
        options_.seconds > 0
            ? begin_us_ + static_cast<int64_t>(1e6 * std::min(options_.seconds, most_s)) +
                  2 * kSlack_us
            : log_.frames.back().time_us + kSlack_us;
    const int lidar = log_.MainLidar();
    ATHANOR_CHECK(lidar >= 0, Where(), ": expected a LiDAR, found none");
    std::vector<int> nth(log_.sensors.size(), 0);
    for (size_t i = 0; i < log_.readings.size(); ++i) {
      const LogReading& reading = log_.readings[i];
      if (reading.time_us < begin_us_ || reading.time_us > end_us) continue;
      if (!HasPayload(log_, reading)) continue;
      if (reading.sensor == lidar) sweep_readings_.push_back(static_cast<int>(i));
      if (log_.sensors[reading.sensor].kind == SensorKind::kCamera &&
          nth[reading.sensor]++ % options_.picture_step == 0) {
        picture_readings_.push_back(static_cast<int>(i));
      }
    }
    ATHANOR_CHECK(!picture_readings_.empty(), Where(), ": no picture of this stretch is on disk");
    ATHANOR_CHECK(!sweep_readings_.empty(), Where(), ": no LiDAR sweep of this stretch is on disk");
    scene_.origin_in_world = log_.readings[sweep_readings_[0]].world_from_ego.translation;
    scene_from_world_.translation = -scene_.origin_in_world;
  }

  void FindMoving() {
    if (sweep_readings_.size() == 1) return;  // one moment: nothing moves in it
    std::vector<MovingTrack> tracks(log_.tracks.size());
    std::vector<double> speeds_mps(log_.tracks.size(), 0);
    for (const LogFrame& frame : log_.frames) {
      for (const LogBox& box : frame.boxes) {
        tracks[box.track].Add(frame.time_us, scene_from_world_ * box.box);
        const double speed_mps = box.velocity_mps.norm();
        if (speed_mps > speeds_mps[box.track]) speeds_mps[box.track] = speed_mps;
      }
    }
    for (size_t t = 0; t < tracks.size(); ++t) {
      if (!IsMoving(tracks[t], speeds_mps[t], options_)) continue;
      scene_.moving_tracks.push_back(static_cast<int>(t));
      moving_.push_back(std::move(tracks[t]));
    }
  }

  // Boxes of what moves at that time, grown by the margin.
  std::vector<Box3> MovingBoxes(int64_t time_us) const {
    std::vector<Box3> boxes;
    for (const MovingTrack& track : moving_) {
      auto box = track.At(time_us);
      if (!box) continue;
      box->size_m.array() += 2 * options_.box_margin_m;
      boxes.push_back(*box);
    }
    return boxes;
  }

  void ReadSweeps() {
    sweeps_.resize(sweep_readings_.size());
    Progress progress("reading LiDAR sweeps", static_cast<int64_t>(sweeps_.size()));
    constexpr int64_t kBatch = 32;  // between two reports of the progress
    for (int64_t begin = 0; begin < static_cast<int64_t>(sweeps_.size()); begin += kBatch) {
      const int64_t end = std::min<int64_t>(begin + kBatch, static_cast<int64_t>(sweeps_.size()));
      ParallelChunks(end - begin, [&](int64_t i) { ReadStaticSweep(begin + i); });
      for (int64_t i = begin; i < end; ++i) {
        for (const Eigen::Vector3f& point : sweeps_[i].points) {
          sweeps_[i].voxels.push_back(voxels_.Add(point));
        }
        scene_.lidar_points += static_cast<int64_t>(sweeps_[i].points.size());
      }
      progress.Update(end);
    }
    std::sort(sweeps_.begin(), sweeps_.end(),
              [](const StaticSweep& a, const StaticSweep& b) { return a.time_us < b.time_us; });
    voxels_.BeginColors();
  }

  void ReadStaticSweep(int64_t index) {
    const LogReading& reading = log_.readings[sweep_readings_[index]];
    const LidarSweep sweep = ReadSweep(log_, sweep_readings_[index]);
    const Rigid3 scene_from_lidar =
        scene_from_world_ * (reading.world_from_ego * log_.sensors[reading.sensor].ego_from_sensor);
    const Eigen::Matrix3d rotation = scene_from_lidar.rotation.toRotationMatrix();
    struct Cut {
      Box3 box;
      Rigid3 box_from_scene;
      double reach_m;
    };
    std::vector<Cut> cuts;
    for (const Box3& box : MovingBoxes(reading.time_us)) {
      cuts.push_back({box, box.frame_from_box.Inverse(), 0.5 * box.size_m.norm()});
    }
    StaticSweep& out = sweeps_[index];
    out.time_us = reading.time_us;
    for (const Eigen::Vector3f& p : sweep.points) {
      if (p.head<2>().norm() < options_.min_distance_m) continue;
      const Eigen::Vector3d point = rotation * p.cast<double>() + scene_from_lidar.translation;
      const bool moves = std::any_of(cuts.begin(), cuts.end(), [&](const Cut& cut) {
        const Eigen::Vector3d& centre = cut.box.frame_from_box.translation;
        if ((point - centre).squaredNorm() > cut.reach_m * cut.reach_m) return false;
        const Eigen::Vector3d local = cut.box_from_scene * point;
        return (local.cwiseAbs().array() <= 0.5 * cut.box.size_m.array()).all();
      });
      if (!moves) out.points.push_back(point.cast<float>());
    }
  }

  void MakeImages() {
    PosedImages& posed = scene_.posed;
    posed.source = Where();
    posed.depth_unit_m = kDepthUnit_m;
    std::vector<int> camera_of_sensor(log_.sensors.size(), -1);
    for (const int reading : picture_readings_) {
      int& camera = camera_of_sensor[log_.readings[reading].sensor];
      if (camera >= 0) continue;
      camera = static_cast<int>(posed.cameras.size());
      posed.cameras.push_back(log_.sensors[log_.readings[reading].sensor].camera);
    }
    posed.images.resize(picture_readings_.size());
    for (const char* kind : {"depth", "masks"}) {
      for (size_t s = 0; s < log_.sensors.size(); ++s) {
        if (camera_of_sensor[s] >= 0) MakeFolder(cache_ / kind / log_.sensors[s].channel);
      }
    }
    Progress progress("projecting the LiDAR into pictures",
                      static_cast<int64_t>(posed.images.size()));
    constexpr int64_t kBatch = 32;
    const auto count = static_cast<int64_t>(posed.images.size());
    for (int64_t begin = 0; begin < count; begin += kBatch) {
      const int64_t end = std::min(begin + kBatch, count);
      ParallelChunks(end - begin, [&](int64_t k) {
        const int64_t i = begin + k;
        const LogReading& reading = log_.readings[picture_readings_[i]];
        posed.images[i].camera = camera_of_sensor[reading.sensor];
        MakeImage(reading, posed.images[i]);
      });
      progress.Update(end);
    }
  }

  void MakeImage(const LogReading& reading, PosedImage& image) {
    const LogSensor& sensor = log_.sensors[reading.sensor];
    const Camera& camera = sensor.camera;
    image.name = StrCat(sensor.channel, "/", reading.time_us, reading.path.extension().string());
    const std::string bytes = ReadPayload(log_, reading);
    if (log_.payloads == nullptr) {
      image.image_path = reading.path;
    } else {  // training reads pictures by path, again and again
      image.image_path = cache_ / "pictures" / image.name;
      WriteFile(image.image_path, bytes);
    }
    image.camera_from_world =
        (scene_from_world_ * (reading.world_from_ego * sensor.ego_from_sensor)).Inverse();

    Image mask(camera.width_px, camera.height_px, 1, 255);
    bool masked = false;
    for (const Box3& box : MovingBoxes(reading.time_us)) {
      const std::vector<Eigen::Vector2d> outline = OutlineOf(image.camera_from_world * box, camera);
      masked |= !outline.empty();
      CutHull(outline, &mask);
    }
    masked &= std::find(mask.data.begin(), mask.data.end(), uint8_t{0}) != mask.data.end();
    if (masked) {
      image.mask_path = cache_ / "masks" / (image.name + ".png");
      WriteImage(image.mask_path, mask);
    }

    std::vector<PixelHit> hits = Project(reading.time_us, camera, image.camera_from_world);
    RemoveHidden(camera, &hits);
    const Image picture = DecodeImage(bytes, reading.path.string());
    ATHANOR_CHECK(picture.width == camera.width_px && picture.height == camera.height_px,
                  reading.path.string(), ": the picture is ", picture.width, "x", picture.height,
                  ", but its camera is ", camera.width_px, "x", camera.height_px);
    DepthImage depth(camera.width_px, camera.height_px, 1);
    int64_t pixels = 0;
    for (const PixelHit& hit : hits) {
      if (*mask.at(hit.x, hit.y) == 0) continue;
      if (hit.voxel >= 0) voxels_.AddColor(hit.voxel, picture.at(hit.x, hit.y));
      uint16_t& value = *depth.at(hit.x, hit.y);
      const auto steps = static_cast<uint16_t>(std::lround(hit.depth_m / kDepthUnit_m));
      pixels += value == 0;
      if (value == 0 || steps < value) value = steps;
    }
    image.depth_path = cache_ / "depth" / (image.name + ".png");
    WriteDepthPng(image.depth_path, depth);
    const std::lock_guard lock(mutex_);
    scene_.depth_pixels += pixels;
  }

  // The points of the sweeps nearest in time that fall into the picture.
  std::vector<PixelHit> Project(int64_t time_us, const Camera& camera,
                                const Rigid3& camera_from_scene) const {
    std::vector<int> order(sweeps_.size());
    std::iota(order.begin(), order.end(), 0);
    const auto count = std::min<size_t>(order.size(), options_.depth_sweeps);
    std::partial_sort(order.begin(), order.begin() + static_cast<int64_t>(count), order.end(),
                      [&](int a, int b) {
                        return std::pair(std::abs(sweeps_[a].time_us - time_us), a) <
                               std::pair(std::abs(sweeps_[b].time_us - time_us), b);
                      });
    const Eigen::Matrix3d rotation = camera_from_scene.rotation.toRotationMatrix();
    const double most_m = std::min(options_.max_depth_m, 65535 * kDepthUnit_m);
    std::vector<PixelHit> hits;
    for (size_t k = 0; k < count; ++k) {
      const StaticSweep& sweep = sweeps_[order[k]];
      for (size_t i = 0; i < sweep.points.size(); ++i) {
        const Eigen::Vector3d point =
            rotation * sweep.points[i].cast<double>() + camera_from_scene.translation;
        if (!(point.z() >= kNearestProjected_m && point.z() <= most_m)) continue;
        const auto pixel = camera.Project(point);
        if (!pixel || !(pixel->x() >= 0 && pixel->y() >= 0 && pixel->x() < camera.width_px &&
                        pixel->y() < camera.height_px)) {
          continue;
        }
        hits.push_back({static_cast<int>(pixel->x()), static_cast<int>(pixel->y()),
                        static_cast<float>(point.z()), sweep.voxels[i]});
      }
    }
    return hits;
  }

  void MakePoints() {
    std::vector<ColoredPoint>& points = scene_.posed.points;
    points = voxels_.Points();
    ATHANOR_CHECK(!points.empty(), Where(), ": no picture sees a LiDAR point");
    const auto most = static_cast<size_t>(options_.max_points);
    if (points.size() <= most) return;
    // A random choice that keeps their order.
    std::vector<std::pair<uint64_t, size_t>> order(points.size());
    for (size_t i = 0; i < points.size(); ++i) order[i] = {MixBits(i), i};
    std::nth_element(order.begin(), order.begin() + static_cast<int64_t>(most), order.end());
    order.resize(most);
    std::sort(order.begin(), order.end(),
              [](const auto& a, const auto& b) { return a.second < b.second; });
    for (size_t i = 0; i < most; ++i) points[i] = points[order[i].second];
    points.resize(most);
  }

  const Log& log_;
  const fs::path& cache_;
  const LogSceneOptions& options_;
  int64_t begin_us_ = 0;
  std::vector<int> sweep_readings_, picture_readings_;
  Rigid3 scene_from_world_;
  std::vector<MovingTrack> moving_;
  std::vector<StaticSweep> sweeps_;
  Voxels voxels_;
  std::mutex mutex_;
  LogScene scene_;
};

}  // namespace

OptionList Describe(LogSceneOptions& o) {
  OptionList list;
  list.Add("begin", &o.begin_s, "where the stretch begins, seconds from the first frame",
           {.min = 0});
  list.Add("seconds", &o.seconds, "how long it is, seconds; 0 = to the end", {.min = 0});
  list.Add("picture-step", &o.picture_step, "take every n-th picture of each camera", {.min = 1});
  list.Add("moving-speed", &o.moving_speed_mps,
           "objects that were faster than this are masked, metres per second", {.min = 0});
  list.Add("moving-distance", &o.moving_distance_m,
           "and those that moved by more than this, metres", {.min = 0});
  list.Add("box-margin", &o.box_margin_m, "by which their boxes are grown on each side, metres",
           {.min = 0, .max = 10});
  list.Add("depth-sweeps", &o.depth_sweeps, "LiDAR sweeps in each depth map",
           {.min = 1, .max = 1000});
  list.Add("max-depth", &o.max_depth_m, "depths beyond are left out, metres",
           {.min = 1, .max = 65});
  list.Add("min-distance", &o.min_distance_m,
           "returns nearer to the LiDAR (the car itself) are left out, metres", {.min = 0});
  list.Add("voxel", &o.voxel_m, "starting points: one per cell of this size, metres",
           {.min = 0.001, .max = 100});
  list.Add("max-points", &o.max_points, "starting points at most", {.min = 1});
  return list;
}

LogScene MakeLogScene(const Log& log, const fs::path& cache_folder,
                      const LogSceneOptions& options) {
  return SceneMaker(log, cache_folder, options).Make();
}

PosedImages ReadClip(const std::filesystem::path& path, const std::string& clip,
                     const std::filesystem::path& cache_folder) {
  const auto logs = OpenLogs(path);
  return MakeLogScene(logs->Read(FindLog(*logs, path, clip)), cache_folder).posed;
}

}  // namespace athanor
