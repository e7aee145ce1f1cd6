#include "athanor/loop/inference/inference_plan.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <set>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/hash.h"
#include "athanor/base/sha256.h"
#include "athanor/lake/clip.h"
#include "athanor/lake/lake.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kRecentClips = 2;

// The clip of a log, with the sizes of its payloads and without their SHA-256.
Clip ClipWithoutContent(const Log& log) {
  Clip clip;
  clip.log = log;
  clip.log.payloads = nullptr;
  clip.payloads.resize(log.readings.size());
  for (size_t i = 0; i < log.readings.size(); ++i) {
    clip.payloads[i].extension = PayloadExtension(log.readings[i].path);
  }
  return clip;
}

// What changes when a file of the log does, without reading any.
std::string FingerprintOf(const Log& log, const Clip& clip) {
  Sha256 sum;
  sum.Add(EncodeClip(clip));
  for (const LogReading& reading : log.readings) {
    std::error_code error;
    const auto size = fs::file_size(reading.path, error);
    if (error) continue;
    const auto time = fs::last_write_time(reading.path, error).time_since_epoch();
    sum.Add(StrCat(fs::absolute(reading.path).string(), " ", size, " ",
                   std::chrono::duration_cast<std::chrono::nanoseconds>(time).count(), "\n"));
  }
  return sum.Finish();
}

// As Lake::Ingest names it.
std::string IdOf(const Log& log, Clip clip) {
  std::string bytes;
  for (size_t i = 0; i < log.readings.size(); ++i) {
    if (!HasPayload(log, log.readings[i])) continue;
    bytes = ReadPayload(log, log.readings[i]);
    clip.payloads[i].length = std::ssize(bytes);
    clip.payloads[i].sha256 = Sha256Of(bytes);
  }
  return ClipId(EncodeClip(clip));
}

std::vector<PlannedClip> PlanLake(const fs::path& source) {
  std::vector<LakeClip> clips;
  const std::unique_ptr<LogDataset> logs = OpenLakeLogs(source, &clips);
  std::vector<PlannedClip> planned;
  for (const LakeClip& clip : clips) {
    const auto index = static_cast<int>(planned.size());
    planned.push_back(
        {source, index, logs->names()[index], clip.id, static_cast<int>(clip.frames)});
  }
  return planned;
}

}  // namespace

int InferencePlan::FindClip(std::string_view id) const {
  for (size_t i = 0; i < clips.size(); ++i) {
    if (clips[i].id == id) return static_cast<int>(i);
  }
  return -1;
}

int InferencePlan::FindModel(std::string_view key) const {
  for (size_t i = 0; i < models.size(); ++i) {
    if (models[i].Key() == key) return static_cast<int>(i);
  }
  return -1;
}

std::vector<CellShard> InferencePlan::Shards() const {
  std::vector<CellShard> shards;
  std::set<std::pair<std::string, std::string>> planned;
  for (const ModelSpec& model : models) {
    const std::string key = model.Key();
    for (const PlannedClip& clip : clips) {
      if (!planned.insert({key, clip.id}).second) continue;
      for (CellShard& shard : ShardsOf(key, clip.id, clip.frames)) {
        shards.push_back(std::move(shard));
      }
    }
  }
  return shards;
}

std::string EncodePlan(const InferencePlan& plan) {
  json clips = json::array(), models = json::array();
  for (const PlannedClip& clip : plan.clips) {
    clips.push_back({{"source", clip.source.string()},
                     {"index", clip.index},
                     {"name", clip.name},
                     {"id", clip.id},
                     {"frames", clip.frames}});
  }
  for (const ModelSpec& model : plan.models) {
    models.push_back({{"name", model.name},
                      {"kind", model.kind},
                      {"weights", model.weights.string()},
                      {"weights_sha256", model.weights_sha256},
                      {"settings", model.settings},
                      {"has_boxes", model.has_boxes}});
  }
  return json{{"clips", clips}, {"models", models}, {"cells", plan.cells.string()}}.dump(1);
}

InferencePlan DecodePlan(std::string_view text, std::string_view name) {
  InferencePlan plan;
  try {
    const json root = json::parse(text);
    for (const json& clip : root.at("clips")) {
      plan.clips.push_back({clip.at("source").get<std::string>(), clip.at("index").get<int>(),
                            clip.at("name").get<std::string>(), clip.at("id").get<std::string>(),
                            clip.at("frames").get<int>()});
    }
    for (const json& model : root.at("models")) {
      plan.models.push_back(
          {model.at("name").get<std::string>(), model.at("kind").get<std::string>(),
           model.at("weights").get<std::string>(), model.at("weights_sha256").get<std::string>(),
           model.at("settings").get<std::map<std::string, std::string>>(),
           model.at("has_boxes").get<bool>()});
    }
    plan.cells = root.at("cells").get<std::string>();
  } catch (const json::exception& error) {
    throw Error(StrCat(name, ": expected a plan of an inference: ", error.what()));
  }
  return plan;
}

std::vector<PlannedClip> PlanClips(
    const fs::path& source, const fs::path& memory,
    const std::function<void(const std::string&)>& refuse,
    const std::function<void(int64_t done, int64_t total)>& progress) {
  if (Lake::IsLake(source)) return PlanLake(source);
  const std::unique_ptr<LogDataset> logs = OpenLogs(source);
  std::vector<PlannedClip> planned;
  const auto total = std::ssize(logs->names());
  for (int i = 0; i < total; ++i) {
    try {
      const Log log = logs->Read(i);
      CheckClip(log);
      const Clip clip = ClipWithoutContent(log);
      const fs::path known = memory / FingerprintOf(log, clip);
      std::error_code error;
      std::string id = fs::is_regular_file(known, error) ? ReadFile(known) : std::string();
      if (id.size() != 64) {
        id = IdOf(log, clip);
        WriteFile(known, id);
      }
      planned.push_back({source, i, logs->names()[i], id, static_cast<int>(log.frames.size())});
    } catch (const Error& error) {
      refuse(error.what());
    }
    if (progress) progress(i + 1, total);
  }
  return planned;
}

std::shared_ptr<const Log> ClipReader::Read(const PlannedClip& clip) {
  for (auto entry = recent_.begin(); entry != recent_.end(); ++entry) {
    if (entry->first != clip.id) continue;
    recent_.splice(recent_.begin(), recent_, entry);
    return recent_.front().second;
  }
  std::shared_ptr<const Log> log;
  if (Lake::IsLake(clip.source)) {
    log = std::make_shared<Log>(Lake(clip.source).Read(clip.id));
  } else {
    auto& dataset = datasets_[clip.source];
    if (dataset == nullptr) dataset = OpenLogs(clip.source);
    ATHANOR_CHECK(
        clip.index < std::ssize(dataset->names()) && dataset->names()[clip.index] == clip.name,
        clip.source.string(), ": expected log ", clip.name, " as number ", clip.index,
        ": the data set has changed");
    log = std::make_shared<Log>(dataset->Read(clip.index));
  }
  ATHANOR_CHECK(std::ssize(log->frames) == clip.frames, clip.source.string(), ": log ", clip.name,
                ": expected ", clip.frames, " frames, found ", log->frames.size());
  recent_.emplace_front(clip.id, log);
  if (recent_.size() > kRecentClips) recent_.pop_back();
  return log;
}

}  // namespace athanor
