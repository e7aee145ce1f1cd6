// The catalog of a lake, lake.sqlite: which clips there are, where their bytes lie, and what was
// seen in them, as tables to ask. All of it can be made again from the shards.
//
//   clips       one row a clip; `clip` is the number by which the other tables name it
//   blobs       one row a distinct payload: SHA-256 and place
//   payloads    (clip, channel, time_us) -> blob
//   frames      annotated moments: time, pose and speed of the ego vehicle
//   tracks      objects through time
//   boxes       objects in frames, as the ego vehicle saw them
//   tags        what happened
//   objects     boxes with the words of their tracks, as a view
//   shards      how far each file is part of the lake
//   dead_letters  logs that could not be taken, and why
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/lake/clip.h"
#include "athanor/lake/shard.h"
#include "athanor/lake/sqlite.h"

namespace athanor {

// Kinds of blocks in the shards of a lake.
inline constexpr uint32_t kPayloadBlock = 1;  // 32 bytes of SHA-256, then the payload
inline constexpr uint32_t kClipBlock = 2;     // EncodeClip
inline constexpr uint32_t kRemovalBlock = 3;  // 32 bytes: the id of a clip that was removed
inline constexpr int64_t kPayloadStart = 32;  // of the payload in its block

// Where a block lies.
struct LakePlace {
  int64_t shard = 0;
  int64_t offset = 0;  // of the block's header
  int64_t length = 0;  // of the block's payload
};

struct LakeClip {
  int64_t clip = 0;  // number in the catalog
  std::string id;    // 64 hexadecimal digits
  std::string name, dataset, location, vehicle;
  int64_t begin_us = 0, end_us = 0;  // first and last reading
  int64_t readings = 0, frames = 0, boxes = 0;
  int64_t bytes = 0;  // of its payloads
  LakePlace place;
};

struct LakeShard {
  int64_t number = 0;
  int64_t bytes = 0;  // what lies behind is not part of the lake yet
  bool sealed = false;
  bool dropped = false;  // its live blocks are elsewhere: the file goes
};

struct DeadLetter {
  std::string source, name, reason;
  int64_t time_us = 0;  // since 1970
};

// Not thread-safe. Throws Error.
class Catalog {
 public:
  Catalog(const std::filesystem::path& path, SqliteDatabase::Mode mode);

  SqliteDatabase& database() { return database_; }

  std::vector<LakeClip> Clips();
  std::optional<LakeClip> FindClip(std::string_view id);
  // The ids that begin so, at most `most`.
  std::vector<std::string> IdsWith(std::string_view prefix, int most);
  std::optional<LakePlace> FindBlob(std::string_view sha256);
  std::vector<LakeShard> Shards();
  std::vector<DeadLetter> DeadLetters();

  // Within a transaction of the caller:
  void AddBlob(std::string_view sha256, const LakePlace& place);
  // All rows of a clip, whose blobs are there already.
  void AddClip(std::string_view id, const Clip& clip, const LakePlace& place);
  // False when there is none. Its blobs stay until garbage is collected.
  bool RemoveClip(std::string_view id);
  void SetShard(const LakeShard& shard);
  void ForgetShard(int64_t number);

  void AddDeadLetter(const DeadLetter& letter);
  void ForgetDeadLetter(std::string_view source, std::string_view name);

 private:
  void AddFrames(int64_t clip, const Log& log);

  SqliteDatabase database_;
};

}  // namespace athanor
