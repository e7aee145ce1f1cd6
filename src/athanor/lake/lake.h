// A lake: where clips live. A folder with a catalog (lake.sqlite) and shards (shards/*.shard).
//
// Clips never change; their name is the SHA-256 of what they hold. Ingesting is at least once,
// storing once: a clip that is there already adds nothing, and payloads that clips share are kept
// once. A clip's blocks are in the shard and flushed before the catalog names it; what a kill or a
// loss of power left half done is finished or taken back when the lake is next opened for writing,
// and a lost catalog is made again from the shards.
//
// A mirror (mirror.h) is a lake whose payloads lie elsewhere, and is only read.
//
// One process writes at a time, any number read. A Lake is not thread-safe; the logs it gives are,
// and outlive it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/datasets/log.h"
#include "athanor/lake/catalog.h"
#include "athanor/lake/object_store.h"

namespace athanor {

struct LakeOptions {
  int64_t shard_bytes = int64_t{1} << 30;  // a shard is sealed once it is larger
};

struct IngestProgress {
  std::string source;           // the data set
  int64_t logs = 0, total = 0;  // of it, done and in all
  int64_t bytes = 0;            // read by this call
};

struct IngestOptions {
  // Takes logs of which some readings' files are missing, without those.
  bool partial = false;
  // A source with files younger than this may still be being written: its faults are put down to
  // that. Seconds.
  double settle_s = 10;
  // Called after each payload and each log.
  std::function<void(const IngestProgress&)> progress;
};

struct IngestResult {
  std::string id;
  bool added = false;        // false: it was there
  int64_t bytes = 0;         // of its payloads
  int64_t stored_bytes = 0;  // by which the shard grew
};

// What became of the logs of a source, one line each.
struct IngestReport {
  int64_t added = 0, present = 0;
  int64_t bytes = 0, stored_bytes = 0;
  std::vector<std::string> waiting;  // not whole yet: to be taken another time
  std::vector<std::string> dead;     // bad; also in the catalog's dead_letters
};

struct LakeReport {
  int64_t clips = 0, payloads = 0, shards = 0, blocks = 0, bytes = 0;
  std::vector<std::string> faults;  // one line each
};

struct GarbageReport {
  int64_t shards_removed = 0, blocks_kept = 0, bytes_freed = 0;
  std::vector<std::string> faults;  // shards that could not be compacted
};

// The lake itself fails (a full disk, a damaged catalog), not what it was given.
class LakeError : public Error {
 public:
  using Error::Error;
};
// What `f` throws is the lake's own fault.
template <typename F>
auto OfLake(F&& f) {
  try {
    return f();
  } catch (const Error& error) {
    throw LakeError(error.what());
  }
}

class Lake {
 public:
  enum class Mode {
    kRead,    // beside a writer
    kWrite,   // the only writer
    kCreate,  // the same, made when missing
  };
  // Throws Error: no lake, another writer, a newer program's lake.
  explicit Lake(const std::filesystem::path& path, Mode mode = Mode::kRead,
                const LakeOptions& options = {});
  ~Lake();
  Lake(const Lake&) = delete;
  Lake& operator=(const Lake&) = delete;

  static bool IsLake(const std::filesystem::path& path);

  // Takes a log with all its payloads. Throws Error, leaving the lake as it was, for what CheckClip
  // refuses, a payload that is missing or torn; LakeError for a full disk.
  IngestResult Ingest(const Log& log, const IngestOptions& options = {});
  // Takes all logs of a data set, or of the data sets in a folder that is filled from elsewhere.
  // Faults of one log do not keep the others; those of the lake itself (a full disk) are thrown.
  // Nothing of the source is changed.
  IngestReport IngestSource(const std::filesystem::path& source, const IngestOptions& options = {});

  // By time.
  std::vector<LakeClip> Clips() { return catalog_->Clips(); }
  // The id that begins so. Throws Error when none or several do.
  std::string FindId(std::string_view prefix);
  // The log, whose payloads come from the shards. Throws Error.
  Log Read(std::string_view id);
  // Takes a clip out of the catalog; its bytes go with the next collection of garbage.
  void Remove(std::string_view id);

  // Reads everything: every CRC and SHA-256, the catalog against the shards. Repairs nothing. May
  // run beside a writer, also one that collects garbage. Throws Error for a mirror.
  LakeReport Verify(const std::function<void(int64_t done, int64_t total)>& progress = nullptr);
  // Copies what lives out of shards that hold something dead, and removes those.
  GarbageReport CollectGarbage();
  // Writes clips as a nuScenes v1.0 data set (datasets/nuscenes_writer.h), sweeps of other formats
  // as .pcd.bin. Two clips of one name are told apart by their ids. Throws Error for what nuScenes
  // cannot hold.
  void ExportNuscenes(const std::filesystem::path& out, const std::vector<std::string>& ids,
                      const std::function<void(int64_t done, int64_t total)>& progress = nullptr);

  // Payloads come from elsewhere, through a cache (mirror.h).
  bool is_mirror() const { return store_ != nullptr; }
  Catalog& catalog() { return *catalog_; }
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path ShardPath(int64_t number) const { return path_ / ShardName(number); }

 private:
  static std::string ShardName(int64_t number);
  void RequireWriter() const;
  // What the catalog does not know of a shard, found at opening.
  void Recover();
  ShardWriter& Active();
  void TakeBack();
  void SealWhenFull();

  std::filesystem::path path_;
  LakeOptions options_;
  int lock_ = -1;
  std::shared_ptr<const ObjectStore> store_;  // of the lake that this one mirrors
  std::unique_ptr<Catalog> catalog_;
  std::optional<ShardWriter> active_;
  int64_t active_number_ = 0, active_committed_ = 0;
};

// The clips of a lake as logs: what OpenLogs gives for one, once RegisterLakes() was called. They
// are those of one moment: log i is `clips[i]`, whatever comes in meanwhile.
std::unique_ptr<LogDataset> OpenLakeLogs(const std::filesystem::path& path,
                                         std::vector<LakeClip>* clips = nullptr);
void RegisterLakes();

// Puts the pictures and sweeps of a log where a nuScenes data set of that root has them
// (NuscenesWriter::ReadingPath), and says so in the log: paths relative to the root. Sweeps of
// other formats become .pcd.bin. Of a file in a folder nothing is copied where the file system can
// give it a second name. `stored` is called after each. Throws Error when one cannot be read or
// written, and, before anything is, for names that nuScenes cannot have: they are names of files.
void StoreReadings(const std::filesystem::path& root, Log* log,
                   const std::function<void()>& stored = {});

// Throws Error when the bytes cannot be all of a file with that ending: a picture, a sweep whose
// end is missing.
void CheckPayload(std::string_view bytes, std::string_view extension, std::string_view name);

}  // namespace athanor
