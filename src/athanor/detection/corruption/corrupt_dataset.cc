#include "athanor/detection/corruption/corrupt_dataset.h"

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/parallel.h"
#include "athanor/datasets/log_view.h"
#include "athanor/datasets/nuscenes_points.h"
#include "athanor/datasets/nuscenes_reader.h"
#include "athanor/media/draw.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

// The folder above the tables.
fs::path RootOf(const fs::path& path) {
  const fs::path full = fs::weakly_canonical(path);
  return fs::exists(full / "scene.json") ? full.parent_path() : full;
}

bool IsWithin(const fs::path& path, const fs::path& folder) {
  const fs::path relative = path.lexically_relative(folder);
  return !relative.empty() && *relative.begin() != "..";
}

// A hard link, or a copy where there are none; whole or not at all.
void LinkFile(const fs::path& from, const fs::path& to) {
  if (fs::exists(to)) return;
  MakeFolder(to.parent_path());
  std::error_code error;
  fs::create_hard_link(from, to, error);
  if (error) WriteFile(to, ReadFile(from));
}

// Refuses a folder that holds something else.
void ClaimFolder(const fs::path& to, const Corruption& corruption,
                 const CorruptDatasetOptions& options, const fs::path& from) {
  nlohmann::ordered_json json;
  json["kind"] = CorruptionName(corruption.kind);
  json["severity"] = corruption.severity;
  json["seed"] = corruption.seed;
  json["source"] = from.string();
  json["image_fog"] = options.image_fog == ImageFog::kByDepth ? "depth" : "published";
  json["jpeg_quality"] = options.jpeg_quality;
  const std::string text = json.dump(2) + "\n";
  const fs::path path = to / "corruption.json";
  if (fs::exists(path)) {
    ATHANOR_CHECK(ReadFile(path) == text, path.string(),
                  ": expected the same corruption of the same data set, found another: name an "
                  "empty folder");
    return;
  }
  ATHANOR_CHECK(!fs::exists(to) || fs::is_empty(to), to.string(),
                ": expected an empty folder, or one that this command began");
  WriteFile(path, text);
}

std::string MisalignedTable(const fs::path& tables, const Corruption& corruption) {
  const auto parse = [&](const char* name) {
    auto json = nlohmann::ordered_json::parse(ReadFile(tables / name), nullptr, false);
    ATHANOR_CHECK(json.is_array(), (tables / name).string(), ": expected a table, an array");
    return json;
  };
  std::map<std::string, std::pair<std::string, bool>> sensors;  // channel, is a camera
  for (const auto& row : parse("sensor.json")) {
    sensors[row.at("token").get<std::string>()] = {row.at("channel").get<std::string>(),
                                                   row.at("modality") == "camera"};
  }
  auto calibrated = parse("calibrated_sensor.json");
  for (auto& row : calibrated) {
    const auto& [channel, is_camera] = sensors.at(row.at("sensor_token").get<std::string>());
    if (!is_camera) continue;
    const auto q = row.at("rotation").get<std::array<double, 4>>();
    const auto t = row.at("translation").get<std::array<double, 3>>();
    const Rigid3 mount = MisalignedMount(
        corruption, channel, {Eigen::Quaterniond(q[0], q[1], q[2], q[3]), {t[0], t[1], t[2]}});
    const Eigen::Quaterniond& r = mount.rotation;
    row["rotation"] = {r.w(), r.x(), r.y(), r.z()};
    row["translation"] = {mount.translation.x(), mount.translation.y(), mount.translation.z()};
  }
  return calibrated.dump(1) + "\n";
}

class Corrupter {
 public:
  Corrupter(const fs::path& from, const fs::path& to, const Corruption& corruption,
            const CorruptDatasetOptions& options)
      : from_(from), to_(to), corruption_(corruption), options_(options) {}

  fs::path Target(const LogReading& reading) const {
    const fs::path relative = fs::weakly_canonical(reading.path).lexically_relative(from_);
    ATHANOR_CHECK(!relative.empty() && *relative.begin() != "..", reading.path.string(),
                  ": expected a file below ", from_.string());
    return to_ / relative;
  }

  void WriteReading(const Log& log, int i, const ReadingPlan& plan) const {
    const LogReading& reading = log.readings[i];
    const fs::path target = Target(reading);
    if (!plan.is_changed) {
      LinkFile(log.readings[plan.source].path, target);
    } else if (log.sensors[reading.sensor].kind == SensorKind::kLidar) {
      WriteFile(target, EncodePcdBin(ReadCorruptedSweep(log, i, corruption_, plan)));
    } else {
      WriteImage(target, ReadCorruptedImage(log, i, corruption_, plan, options_.image_fog),
                 options_.jpeg_quality);
    }
  }

 private:
  fs::path from_, to_;
  Corruption corruption_;
  CorruptDatasetOptions options_;
};

}  // namespace

CorruptDatasetResult CorruptDataset(
    const fs::path& from_path, const fs::path& to_path, const Corruption& corruption,
    const CorruptDatasetOptions& options,
    const std::function<void(int64_t done, int64_t total)>& progress) {
  corruption.Check();
  ATHANOR_CHECK(IsNuscenes(from_path), from_path.string(),
                ": expected a nuScenes data set (v1.0-*/scene.json): only those can be written");
  const fs::path from = RootOf(from_path), to = fs::weakly_canonical(to_path);
  ATHANOR_CHECK(!IsWithin(to, from) && !IsWithin(from, to), to.string(), ": lies in ",
                from.string(), " or holds it; expected a folder of its own");
  const auto logs = OpenNuscenesLogs(from_path);
  MakeFolder(to);
  ClaimFolder(to, corruption, options, from);
  const Corrupter corrupter(from, to, corruption, options);

  struct Job {
    int log = 0, reading = 0;
    ReadingPlan plan;
  };
  const int num_logs = static_cast<int>(logs->names().size());
  CorruptDatasetResult result;
  std::vector<Job> jobs;
  for (int l = 0; l < num_logs; ++l) {
    const Log log = logs->Read(l);
    const std::vector<ReadingPlan> plans = PlanCorruption(log, corruption);
    for (int i = 0; i < static_cast<int>(plans.size()); ++i) {
      const bool is_other = plans[i].is_changed || plans[i].source != i;
      if (!is_other || !fs::exists(log.readings[plans[i].source].path)) continue;
      if (!fs::exists(log.readings[i].path)) continue;
      ++result.changed;
      if (fs::exists(corrupter.Target(log.readings[i]))) {
        ++result.present;
      } else {
        jobs.push_back({l, i, plans[i]});
      }
    }
  }
  const auto total = static_cast<int64_t>(jobs.size());
  constexpr int64_t kBatch = 16;
  Log log;
  for (int64_t begin = 0, end = 0, current = -1; begin < total; begin = end) {
    if (jobs[begin].log != current) log = logs->Read(static_cast<int>(current = jobs[begin].log));
    while (end < total && end - begin < kBatch && jobs[end].log == current) ++end;
    ParallelChunks(end - begin, [&](int64_t k) {
      corrupter.WriteReading(log, jobs[begin + k].reading, jobs[begin + k].plan);
    });
    if (progress) progress(end, total);
  }

  // Everything else: tables last, scene.json last of all.
  std::vector<std::pair<int, fs::path>> others;
  for (const auto& entry : fs::recursive_directory_iterator(from)) {
    if (!entry.is_regular_file()) continue;
    const fs::path relative = entry.path().lexically_relative(from);
    const bool is_table = relative.extension() == ".json";
    others.emplace_back(!is_table ? 0 : relative.filename() != "scene.json" ? 1 : 2, relative);
  }
  std::sort(others.begin(), others.end());
  for (const auto& [order, relative] : others) {
    // A corruption of a corrupted set keeps its own note.
    if (relative == "corruption.json" || fs::exists(to / relative)) continue;
    if (corruption.kind == CorruptionKind::kExtrinsics &&
        relative.filename() == "calibrated_sensor.json") {
      WriteFile(to / relative, MisalignedTable((from / relative).parent_path(), corruption));
      continue;
    }
    LinkFile(from / relative, to / relative);
    ++result.linked;
  }
  return result;
}

Image DrawBeforeAfter(const fs::path& from, const fs::path& to, const Corruption& corruption) {
  const auto clean_logs = OpenNuscenesLogs(from), corrupted_logs = OpenNuscenesLogs(to);
  ATHANOR_CHECK(!clean_logs->names().empty(), from.string(), ": expected a log, found none");
  const Log clean = clean_logs->Read(0), corrupted = corrupted_logs->Read(0);
  const std::vector<ReadingPlan> plans = PlanCorruption(clean, corruption);
  int best = FrameToShow(clean), most = 0;
  for (size_t f = 0; f < clean.frames.size(); ++f) {
    int count = 0;
    for (const int i : clean.frames[f].readings) {
      if (i < 0 || !fs::exists(clean.readings[i].path)) continue;
      count += plans[i].is_changed || plans[i].source != i;
    }
    if (count > most) {
      most = count;
      best = static_cast<int>(f);
    }
  }
  constexpr int kWidth = 720;
  LogViewOptions above, camera;
  above.color = "intensity";
  camera.camera_width_px = kWidth;
  camera.boxes = false;
  camera.points_in_cameras = corruption.kind == CorruptionKind::kExtrinsics ||
                             corruption.kind == CorruptionKind::kSpatialMisalignment ||
                             corruption.kind == CorruptionKind::kTemporalMisalignment ||
                             corruption.kind == CorruptionKind::kStaleLidar ||
                             corruption.kind == CorruptionKind::kStaleCameras;
  std::vector<std::vector<SheetCell>> rows;
  if (clean.MainLidar() >= 0) {
    rows.push_back({{DrawFromAbove(clean, best, kWidth, above), "from above"},
                    {DrawFromAbove(corrupted, best, kWidth, above), "from above"}});
  }
  for (size_t s = 0; s < clean.sensors.size(); ++s) {
    if (clean.sensors[s].kind != SensorKind::kCamera) continue;
    const int sensor = static_cast<int>(s);
    rows.push_back({{DrawCamera(clean, best, sensor, camera), clean.sensors[s].channel},
                    {DrawCamera(corrupted, best, sensor, camera), clean.sensors[s].channel}});
  }
  return ContactSheet({"before", StrCat(CorruptionName(corruption.kind), " ", corruption.severity)},
                      rows, kWidth);
}

}  // namespace athanor
