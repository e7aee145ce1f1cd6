// The memoised matrix of models and frames: a cell is what a model says of a frame, kept in files
// that hold a run of frames of one clip each.
//
//   FOLDER/MODEL KEY/CLIP ID/FIRST.cells         all cells of a shard, published whole
//   FOLDER/MODEL KEY/CLIP ID/FIRST.WORKER.part   cells so far, appended by one worker
//   FOLDER/MODEL KEY/CLIP ID/FIRST.FRAME.WORKER.died   a worker's end, at this frame
//
// A cell is written once, right after its forward pass: a worker that is killed loses the pass that
// it was in, and no other. Every record has a CRC32C; what a kill or a loss of power left half
// written is not there. Files of the same shard hold the same bytes, whoever wrote them. Clips are
// cut at fixed frames, so that shards keep their names when data or models are added.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/loop/inference/frame_model.h"

namespace athanor {

inline constexpr int kShardFrames = 16;

struct CellShard {
  std::string model;  // ModelSpec::Key
  std::string clip;   // id of the clip
  int first = 0, count = 0;

  // Names it in queues.
  std::string Id() const;
};

// Shards of a clip of so many frames.
std::vector<CellShard> ShardsOf(const std::string& model, const std::string& clip, int frames);

// A file that was published is damaged.
class CellDamage : public Error {
 public:
  CellDamage(const std::string& message, CellShard damaged)
      : Error(message), shard(std::move(damaged)) {}
  const CellShard shard;
};

// Thread-safe; any number of processes may use a folder at once.
class CellStore {
 public:
  explicit CellStore(std::filesystem::path folder) : folder_(std::move(folder)) {}

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path PathOf(const CellShard& shard) const;

  bool Has(const CellShard& shard) const;
  // [count], in the order of frames. Throws Error when it is not there, CellDamage when it is not
  // what was written.
  std::vector<FrameOutput> Read(const CellShard& shard) const;
  // Publishes a shard, and takes its parts and notes away.
  void Write(const CellShard& shard, const std::vector<FrameOutput>& outputs) const;
  // Puts a damaged file aside, to be computed again.
  void SetAside(const CellShard& shard) const;

  // By frame: what all workers have left of a shard that is not published.
  std::map<int, FrameOutput> ReadParts(const CellShard& shard) const;
  void AppendPart(const CellShard& shard, const std::string& worker, int frame,
                  const FrameOutput& output) const;

  // Cells that failed, of a shard that is published or not, leave; the others stay as parts of
  // `worker`. Throws as Read.
  void ForgetFailures(const CellShard& shard, const std::string& worker) const;

  // Where to note that a worker died or hung at a frame: a file that holds the reason.
  std::filesystem::path NotePath(const CellShard& shard, const std::string& worker,
                                 int frame) const;
  // By frame: the reasons that were noted, sorted.
  std::map<int, std::vector<std::string>> ReadNotes(const CellShard& shard) const;

 private:
  std::filesystem::path FolderOf(const CellShard& shard) const;
  std::vector<std::filesystem::path> Leftovers(const CellShard& shard,
                                               std::string_view ending) const;

  std::filesystem::path folder_;
};

// A cell as bytes, and back. Throws Error (`name`, byte, expectation).
std::string EncodeOutput(const FrameOutput& output);
FrameOutput DecodeOutput(std::string_view bytes, std::string_view name);

}  // namespace athanor
