// Which models are to look at which clips, and what of that is not computed yet.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "athanor/loop/inference/cell_store.h"
#include "athanor/loop/inference/frame_model.h"

namespace athanor {

struct PlannedClip {
  std::filesystem::path source;  // a data set or a lake
  int index = 0;                 // of the log in it
  std::string name;              // of the log in it
  std::string id;                // of the clip (lake/clip.h), 64 hexadecimal digits
  int frames = 0;

  bool operator==(const PlannedClip&) const = default;
};

struct InferencePlan {
  std::vector<PlannedClip> clips;  // in the order of the data
  std::vector<ModelSpec> models;
  std::filesystem::path cells;

  // Index into clips or models; -1: none.
  int FindClip(std::string_view id) const;
  int FindModel(std::string_view key) const;
  // Model by model, clip by clip. Each shard once, also where clips or models come twice.
  std::vector<CellShard> Shards() const;
};

// As JSON, for worker processes. Throws Error.
std::string EncodePlan(const InferencePlan& plan);
InferencePlan DecodePlan(std::string_view json, std::string_view name);

// The clips of a data set or a lake. In a lake, ids are in the catalog; elsewhere they are the
// SHA-256 of all that the log holds, which `memory` (a folder) keeps by names, sizes and times of
// its files, so that nothing is read twice for it. A log that cannot be a clip (a clock that jumps)
// is left out, and `refuse` hears why, in one line.
std::vector<PlannedClip> PlanClips(
    const std::filesystem::path& source, const std::filesystem::path& memory,
    const std::function<void(const std::string&)>& refuse,
    const std::function<void(int64_t done, int64_t total)>& progress = nullptr);

// Logs of planned clips; the last few stay in memory. Not thread-safe.
class ClipReader {
 public:
  // Throws Error.
  std::shared_ptr<const Log> Read(const PlannedClip& clip);

 private:
  std::map<std::filesystem::path, std::unique_ptr<LogDataset>> datasets_;
  std::list<std::pair<std::string, std::shared_ptr<const Log>>> recent_;
};

}  // namespace athanor
