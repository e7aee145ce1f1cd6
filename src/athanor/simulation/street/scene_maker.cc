#include "athanor/simulation/street/scene_maker.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/parallel.h"
#include "athanor/base/random.h"
#include "athanor/datasets/log_view.h"
#include "athanor/datasets/nuscenes_points.h"
#include "athanor/datasets/nuscenes_writer.h"
#include "athanor/media/draw.h"
#include "athanor/simulation/render/camera_renderer.h"
#include "athanor/simulation/render/lidar.h"
#include "athanor/simulation/street/kinds.h"
#include "athanor/simulation/street/rig.h"
#include "athanor/simulation/street/stopwatch.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using Eigen::Vector2d;
using Eigen::Vector3d;
using Eigen::Vector3f;

constexpr double kAnnotated_m = 80;
constexpr int64_t kKeyInterval_us = 500'000, kSweepInterval_us = 50'000;
constexpr int kCameraIntervals = 6;  // pictures per key interval: 12 a second
// Scenes begin an hour apart.
constexpr int64_t kEpoch_us = 1'700'000'000'000'000, kSceneInterval_us = 3'600'000'000;
constexpr int kSurfacePoints = 48;

// Points spread over an actor's surface, mesh frame, with normals.
struct SurfacePoint {
  Vector3f position, normal;
};
std::vector<SurfacePoint> SampleSurface(const Mesh& mesh) {
  std::vector<float> area(mesh.triangles.size());
  float total = 0;
  const auto corner = [&](size_t t, int k) { return mesh.vertices[mesh.triangles[t][k]]; };
  for (size_t t = 0; t < area.size(); ++t) {
    total += (corner(t, 1) - corner(t, 0)).cross(corner(t, 2) - corner(t, 0)).norm();
    area[t] = total;
  }
  std::vector<SurfacePoint> points;
  for (int i = 0; i < kSurfacePoints; ++i) {
    const float at = total * (static_cast<float>(i) + 0.5f) / kSurfacePoints;
    const size_t t = std::min<size_t>(std::lower_bound(area.begin(), area.end(), at) - area.begin(),
                                      area.size() - 1);
    const uint64_t bits = MixBits(static_cast<uint64_t>(i));
    float u = static_cast<float>(bits >> 40) * 0x1p-24f;
    float v = static_cast<float>((bits >> 8) & 0xffffff) * 0x1p-24f;
    if (u + v > 1) u = 1 - u, v = 1 - v;
    const Vector3f a = corner(t, 0), b = corner(t, 1), c = corner(t, 2);
    points.push_back({a + u * (b - a) + v * (c - a), (b - a).cross(c - a).normalized()});
  }
  return points;
}

// What the sensors of one key frame got of one actor.
struct Seen {
  int lidar_points = 0;
  float visible = 0;  // best share over the cameras
  bool in_view = false;
};

// Makes one scene.
class SceneMaker {
 public:
  SceneMaker(const PreparedScene& prepared, const StreetOptions& options, int number,
             const fs::path& folder, StreetReport* report)
      : prepared_(prepared),
        scene_(prepared.scene.get()),
        options_(options),
        seed_(prepared.seed),
        name_(prepared.name),
        folder_(folder),
        epoch_us_(kEpoch_us + number * kSceneInterval_us),
        rig_(NuScenesRig(options.width_px, options.height_px)),
        report_(report) {}

  int NumFrames() const { return NumKeyFrames(options_); }

  Log Make(const std::function<void(int frames)>& on_frame) {
    Log log;
    log.source = folder_.string();
    log.dataset = "nuscenes";
    log.name = name_;
    log.vehicle = "simulated";
    log.location = StreetLocation(prepared_);
    log.sensors = rig_.sensors;
    const int frames = NumFrames();
    readings_.resize(rig_.sensors.size());
    surface_.resize(scene_->traffic().actors.size());
    seen_.assign(frames, std::vector<Seen>(scene_->traffic().actors.size()));
    for (int k = 0; k < frames; ++k) {
      MakeFrame(k);
      on_frame(k + 1);
      ++report_->frames;
    }
    Assemble(&log);
    if (options_.truth) WriteLegend(log);
    if (options_.pictures) WritePictures(log);
    return log;
  }

 private:
  static double Seconds(int64_t time_us) { return static_cast<double>(time_us) * 1e-6; }
  // The first key frame comes after the sweeps and pictures that lead up to it.
  static int64_t KeyTime(int frame) { return (frame + 1) * kKeyInterval_us; }

  std::string PathOf(size_t sensor, int64_t time_us, bool key) const {
    return NuscenesWriter::ReadingPath(name_, rig_.sensors[sensor].channel, epoch_us_ + time_us,
                                       key, sensor == 0 ? ".pcd.bin" : ".jpg")
        .string();
  }

  void AddReading(size_t sensor, int64_t time_us, int frame) {
    LogReading reading;
    reading.sensor = static_cast<int>(sensor);
    reading.time_us = epoch_us_ + time_us;
    reading.world_from_ego = scene_->WorldFromEgo(Seconds(time_us));
    reading.path = PathOf(sensor, time_us, frame >= 0);
    reading.frame = frame;
    readings_[sensor].push_back(std::move(reading));
  }

  void MakeFrame(int frame) {
    const int64_t key = KeyTime(frame);
    for (int i = kCameraIntervals - 1; i >= 0; --i) {
      if (i > options_.camera_sweeps) continue;
      const int64_t at = key - i * kKeyInterval_us / kCameraIntervals;
      MakePictures(at, i == 0 ? frame : -1);
    }
    for (int i = options_.lidar_sweeps - 1; i >= 0; --i) {
      MakeSweep(key - i * kSweepInterval_us, i == 0 ? frame : -1);
    }
  }

  void MakeSweep(int64_t time_us, int frame) {
    const double t0 = Seconds(time_us);
    SimulatedSweep made;
    {
      const Stopwatch watch(&report_->lidar_s);
      const Rigid3& ego_from_lidar = rig_.sensors[0].ego_from_sensor;
      LidarMotion motion;
      motion.world_from_sensor = [&](double t) {
        return scene_->WorldFromEgo(t0 + t) * ego_from_lidar;
      };
      motion.instances = [&](double t) { return scene_->InstancesAt(t0 + t); };
      motion.instance_steps = 6;
      made = SimulateLidar(&scene_->world(), scene_->LightingAt(t0), rig_.lidar, motion,
                           MixBits(seed_ + static_cast<uint64_t>(time_us)));
    }
    {
      const Stopwatch watch(&report_->write_s);
      WriteFile(folder_ / PathOf(0, time_us, frame >= 0), EncodePcdBin(made.sweep));
    }
    AddReading(0, time_us, frame);
    ++report_->sweeps;
    if (frame < 0) return;
    const Stopwatch watch(&report_->truth_s);
    CountPoints(made, t0, frame);
  }

  void CountPoints(const SimulatedSweep& made, double time_s, int frame) {
    const Rigid3 world_from_lidar = scene_->WorldFromEgo(time_s) * rig_.sensors[0].ego_from_sensor;
    std::vector<Vector3d> points;
    points.reserve(made.sweep.points.size());
    for (const Vector3f& point : made.sweep.points)
      points.push_back(world_from_lidar * point.cast<double>());
    const Vector2d ego = scene_->WorldFromEgo(time_s).translation.head<2>();
    std::vector<Seen>& seen = seen_[frame];
    ParallelChunks(static_cast<int64_t>(seen.size()), [&](int64_t i) {
      if (static_cast<int>(i) == scene_->traffic().ego) return;
      const std::optional<Box3> box = scene_->BoxAt(static_cast<int>(i), time_s);
      if (!box || (box->frame_from_box.translation.head<2>() - ego).norm() > kAnnotated_m) return;
      const double reach = box->size_m.norm() / 2;
      for (const Vector3d& point : points) {
        if ((point - box->frame_from_box.translation).squaredNorm() > reach * reach) continue;
        seen[i].lidar_points += box->Contains(point) ? 1 : 0;
      }
    });
  }

  // All cameras of one turn, each at its own moment.
  void MakePictures(int64_t time_us, int frame) {
    const size_t cameras = rig_.sensors.size() - 1;
    std::vector<RenderedView> views(cameras);
    std::vector<int64_t> times(cameras);
    for (size_t c = 0; c < cameras; ++c) {
      const LogSensor& sensor = rig_.sensors[c + 1];
      times[c] = time_us + rig_.trigger_us[c + 1];
      const double t = Seconds(times[c]);
      const bool truth = options_.truth && frame >= 0;
      const Rigid3 camera_from_world = (scene_->WorldFromEgo(t) * sensor.ego_from_sensor).Inverse();
      {
        const Stopwatch watch(&report_->render_s);
        scene_->world().SetInstances(scene_->InstancesAt(t));
        CameraRenderOptions render;
        render.truth = truth;
        render.seed = MixBits(seed_ ^ static_cast<uint64_t>(times[c])) + c;
        render.noise_dark = prepared_.weather == StreetWeather::kNight ? 2.5f : 1.0f;
        render.noise_bright = 1.2f;
        render.indirect = false;
        views[c] = RenderCamera(scene_->world(), scene_->LightingAt(t), sensor.camera,
                                camera_from_world, render);
      }
      if (truth) NumberParts(&views[c]);
      ++report_->pictures;
      AddReading(c + 1, times[c], frame);
      if (frame >= 0) {
        const Stopwatch watch(&report_->truth_s);
        MeasureVisibility(sensor.camera, camera_from_world, frame);
      }
    }
    {
      const Stopwatch watch(&report_->write_s);
      ParallelChunks(static_cast<int64_t>(cameras), [&](int64_t c) {
        WriteImage(folder_ / PathOf(c + 1, times[c], frame >= 0), views[c].image,
                   options_.jpeg_quality);
        if (options_.truth && frame >= 0) WriteTruth(views[c], c + 1, times[c]);
      });
    }
    if (frame >= 0 && options_.pictures && frame == NumFrames() / 2) {
      sheet_.clear();
      for (size_t c = 0; c < cameras; ++c) {
        sheet_.push_back({views[c].image, rig_.sensors[c + 1].channel});
      }
    }
  }

  void MeasureVisibility(const Camera& camera, const Rigid3& camera_from_world, int frame) {
    RayWorld& world = scene_->world();
    const Vector3d eye = camera_from_world.Inverse().translation;
    const auto& instances = world.instances();
    ParallelChunks(static_cast<int64_t>(instances.size()), [&](int64_t i) {
      const MeshInstance& instance = instances[i];
      const int actor = instance.object - kFirstActorObject;
      if (actor < 0) return;
      if ((instance.world_from_mesh.translation - eye).norm() > kAnnotated_m) return;
      std::vector<SurfacePoint>& points = surface_[actor];
      // The points of one pose will do for all: they lie on the surface or near it.
      if (points.empty()) points = SampleSurface(world.mesh(instance.mesh));
      int facing = 0, visible = 0;
      for (const SurfacePoint& point : points) {
        const Vector3d at = instance.world_from_mesh * point.position.cast<double>();
        const Vector3d normal = instance.world_from_mesh.rotation * point.normal.cast<double>();
        const Vector3d way = at - eye;
        if (normal.dot(way) >= 0) continue;
        // What lies outside the picture counts as hidden: a corner of an actor in a picture's edge
        // says less than the whole of it in another.
        ++facing;
        const std::optional<Vector2d> pixel = camera.Project(camera_from_world * at);
        if (!pixel || pixel->x() < 0 || pixel->y() < 0 || pixel->x() >= camera.width_px ||
            pixel->y() >= camera.height_px) {
          continue;
        }
        const RayHit hit = world.Cast(eye.cast<float>(), way.normalized().cast<float>(),
                                      static_cast<float>(way.norm()) + 0.3f);
        visible += hit.object == instance.object ? 1 : 0;
      }
      if (facing == 0) return;
      Seen& seen = seen_[frame][actor];
      seen.in_view = seen.in_view || visible > 0;
      seen.visible =
          std::max(seen.visible, static_cast<float>(visible) / static_cast<float>(facing));
    });
  }

  fs::path TruthPath(size_t sensor, int64_t time_us, const char* what) const {
    return folder_ / "truth" / rig_.sensors[sensor].channel /
           (fs::path(PathOf(sensor, time_us, true)).stem().string() + what);
  }

  // Puts numbers of the scene's part names where the parts of single meshes were; 0: nothing.
  void NumberParts(RenderedView* view) {
    const Stopwatch watch(&report_->truth_s);
    const RayWorld& world = scene_->world();
    for (size_t i = 0; i < view->part.data.size(); ++i) {
      const int32_t instance = view->instance.data[i];
      if (instance < 0) continue;
      const MeshInstance& hit = world.instances()[instance];
      const std::string& name = world.mesh(hit.mesh).parts[view->part.data[i]];
      const auto number =
          part_numbers_.emplace(name, static_cast<uint16_t>(part_numbers_.size() + 1)).first;
      view->part.data[i] = number->second;
      parts_of_[hit.object].insert(*number);
    }
  }

  void WriteTruth(const RenderedView& view, size_t sensor, int64_t time_us) const {
    DepthImage depth(view.image.width, view.image.height, 1), instance = depth;
    for (size_t i = 0; i < depth.data.size(); ++i) {
      depth.data[i] = static_cast<uint16_t>(
          std::clamp(std::lround(100 * std::min(view.depth_m.data[i], 655.0f)), 0l, 65535l));
      instance.data[i] = static_cast<uint16_t>(view.object.data[i] + 1);
    }
    WriteDepthPng(TruthPath(sensor, time_us, ".depth.png"), depth);
    WriteDepthPng(TruthPath(sensor, time_us, ".instance.png"), instance);
    WriteDepthPng(TruthPath(sensor, time_us, ".part.png"), view.part);
  }

  // What the values of instance and part images mean.
  void WriteLegend(const Log& log) const {
    nlohmann::ordered_json json;
    json["street"] = {{"seed", options_.seed}, {"weather", StreetWeatherName(prepared_.weather)}};
    json["objects"] = {{{"id", 0}, {"kind", "sky"}, {"parts", {{{"id", 0}, {"name", ""}}}}}};
    for (const auto& [object, parts] : parts_of_) {
      nlohmann::ordered_json entry = {{"id", object + 1}};
      const int actor = object - kFirstActorObject;
      const TrafficActor* moving = actor < 0 ? nullptr : &scene_->traffic().actors[actor];
      if (moving == nullptr) {
        entry["kind"] = KindOfTown(static_cast<TownPart>(object));
      } else {
        const std::string& category = scene_->Category(actor);
        entry["kind"] = KindOfActor(moving->actor_class, category);
        entry["actor"] = moving->id;
        entry["category"] = category;
        entry["attributes"] = {{"color", scene_->Color(actor)}};
      }
      for (const auto& [name, number] : parts) {
        nlohmann::ordered_json part = {{"id", number}, {"name", name}};
        if (moving != nullptr) {
          const std::string_view kind =
              KindOfActorPart(moving->actor_class, scene_->Category(actor), name);
          if (kind != entry["kind"]) part["kind"] = kind;
        }
        entry["parts"].push_back(std::move(part));
      }
      json["objects"].push_back(std::move(entry));
    }
    WriteFile(folder_ / "truth" / (log.name + ".json"), json.dump(1) + "\n");
    WriteFile(folder_ / "truth" / "classes.json", StreetClassesJson());
  }

  static int Visibility(const Seen& seen) {
    return seen.visible < 0.4f ? 1 : seen.visible < 0.6f ? 2 : seen.visible < 0.8f ? 3 : 4;
  }

  void Assemble(Log* log) {
    const TrafficLog& traffic = scene_->traffic();
    const int frames = NumFrames();
    // Readings by sensor, then time.
    std::vector<std::vector<int>> of_frame(frames, std::vector<int>(rig_.sensors.size(), -1));
    for (size_t s = 0; s < readings_.size(); ++s) {
      std::sort(readings_[s].begin(), readings_[s].end(),
                [](const LogReading& a, const LogReading& b) { return a.time_us < b.time_us; });
      for (LogReading& reading : readings_[s]) {
        if (reading.frame >= 0) of_frame[reading.frame][s] = static_cast<int>(log->readings.size());
        log->readings.push_back(std::move(reading));
      }
    }
    log->frames.resize(frames);
    for (int k = 0; k < frames; ++k) {
      LogFrame& frame = log->frames[k];
      frame.time_us = epoch_us_ + KeyTime(k);
      frame.world_from_ego = scene_->WorldFromEgo(Seconds(KeyTime(k)));
      frame.readings = of_frame[k];
    }
    std::vector<int> track_of(traffic.actors.size(), -1);
    for (int i = 0; i < static_cast<int>(traffic.actors.size()); ++i) {
      if (i == traffic.ego) continue;
      int first = frames, last = -1;
      for (int k = 0; k < frames; ++k) {
        if (seen_[k][i].lidar_points == 0 && !seen_[k][i].in_view) continue;
        first = std::min(first, k);
        last = k;
      }
      if (last < 0) continue;
      for (int k = first; k <= last; ++k) {
        const double t = Seconds(KeyTime(k));
        const std::optional<Box3> box = scene_->BoxAt(i, t);
        const std::optional<ActorState> state = traffic.StateAt(i, t);
        if (!box || !state) continue;
        if (track_of[i] < 0) {
          track_of[i] = static_cast<int>(log->tracks.size());
          log->tracks.push_back({traffic.actors[i].id, scene_->Category(i)});
        }
        LogBox entry;
        entry.track = track_of[i];
        entry.box = *box;
        entry.velocity_mps =
            state->speed_mps * Vector2d(std::cos(state->yaw_rad), std::sin(state->yaw_rad));
        const std::string attribute = scene_->Attribute(i, t);
        if (!attribute.empty()) entry.attributes = {attribute};
        entry.num_lidar_points = seen_[k][i].lidar_points;
        entry.num_radar_points = 0;
        entry.visibility = Visibility(seen_[k][i]);
        log->frames[k].boxes.push_back(std::move(entry));
        ++report_->boxes;
      }
    }
    const int64_t begin = epoch_us_ + KeyTime(0), end = epoch_us_ + KeyTime(frames - 1);
    std::set<std::string> ego_does;
    for (const LogTag& tag : traffic.tags) {
      LogTag moved = tag;
      moved.track = tag.track < 0 ? -1 : track_of[tag.track];
      if (tag.track >= 0 && moved.track < 0) continue;
      moved.begin_us = std::max(tag.begin_us + epoch_us_, begin);
      moved.end_us = std::min(tag.end_us + epoch_us_, end);
      if (moved.end_us < moved.begin_us) continue;
      if (moved.track < 0) ego_does.insert(moved.name);
      log->tags.push_back(std::move(moved));
    }
    log->tags.push_back(
        {"weather." + std::string(StreetWeatherName(prepared_.weather)), -1, begin, end});
    log->description = StrCat(StreetWeatherName(prepared_.weather), ", ", prepared_.road_kind);
    for (const std::string& name : ego_does) log->description += ", " + name;
  }

  // One after the other, they would keep all cores but one waiting for half a second.
  void WritePictures(const Log& log) const {
    ParallelChunks(2, [&](int64_t i) {
      if (i == 0) {
        WriteSheet();
      } else {
        WriteBoxes(log);
      }
    });
  }

  // The cameras at half time, and the roads from above.
  void WriteSheet() const {
    std::vector<std::vector<SheetCell>> rows(2);
    // As they look around the car: left, front, right; back left, back, back right.
    for (const int c : {5, 0, 1}) rows[0].push_back(sheet_[c]);
    for (const int c : {4, 3, 2}) rows[1].push_back(sheet_[c]);
    const Image cameras = ContactSheet({}, rows, std::min(options_.width_px, 640));
    DrawTrafficOptions draw;
    draw.width_px = cameras.height;
    draw.side_m = 110;
    draw.time_s = Seconds(KeyTime(NumFrames() / 2));
    const Image above = DrawTraffic(prepared_.roads, &scene_->traffic(), draw);
    Image both(cameras.width + above.width, std::max(cameras.height, above.height), 3);
    Paste(&both, cameras, 0, 0);
    Paste(&both, above, cameras.width, 0);
    WriteImage(folder_ / "pictures" / (name_ + ".png"), both);
  }

  void WriteBoxes(Log log) const {
    for (LogReading& reading : log.readings) reading.path = folder_ / reading.path;
    WriteImage(folder_ / "pictures" / (name_ + ".boxes.png"), DrawFrame(log, NumFrames() / 2));
  }

  const PreparedScene& prepared_;
  StreetScene* scene_;
  const StreetOptions& options_;
  uint64_t seed_;
  std::string name_;
  fs::path folder_;
  int64_t epoch_us_;
  StreetRig rig_;
  StreetReport* report_;
  std::vector<std::vector<SurfacePoint>> surface_;  // per actor
  std::vector<std::vector<LogReading>> readings_;   // per sensor
  std::vector<std::vector<Seen>> seen_;             // per frame and actor
  std::vector<SheetCell> sheet_;                    // per camera
  // Of the truth: numbers of names of parts; per object those that were seen.
  std::map<std::string, uint16_t> part_numbers_;
  std::map<int32_t, std::set<std::pair<std::string, uint16_t>>> parts_of_;
};

}  // namespace

int NumKeyFrames(const StreetOptions& options) {
  return static_cast<int>(std::floor(options.seconds * 1e6 / kKeyInterval_us + 1e-6));
}

std::string StreetLocation(const PreparedScene& prepared) {
  return StrCat("simulated-", prepared.road_kind, "-", prepared.name);
}

Log MakeScene(const PreparedScene& prepared, const StreetOptions& options, int number,
              const fs::path& folder, StreetReport* report,
              const std::function<void(int frames)>& on_frame) {
  return SceneMaker(prepared, options, number, folder, report).Make(on_frame);
}

}  // namespace athanor
