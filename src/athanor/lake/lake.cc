#include "athanor/lake/lake.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <unordered_map>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/base/sha256.h"
#include "athanor/lake/mirror.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCatalogName = "lake.sqlite";
constexpr size_t kShownIdDigits = 12;

// The payload of a block of one shard, from a byte on, checked.
using BlockReader = std::function<std::string(const ShardBlock& block, int64_t from)>;

// Reads from shards that stay open, so that collecting garbage meanwhile does no harm.
class LakePayloads : public PayloadSource {
 public:
  struct Payload {
    BlockReader shard;
    ShardBlock block;
  };
  explicit LakePayloads(std::unordered_map<std::string, Payload> payloads)
      : payloads_(std::move(payloads)) {}
  bool Has(const LogReading& reading) const override {
    return payloads_.contains(reading.path.string());
  }
  std::string Read(const LogReading& reading) const override {
    const auto found = payloads_.find(reading.path.string());
    ATHANOR_CHECK(found != payloads_.end(), reading.path.string(),
                  ": the lake does not have this reading");
    return found->second.shard(found->second.block, kPayloadStart);
  }

 private:
  const std::unordered_map<std::string, Payload> payloads_;
};

class LakeLogs : public LogDataset {
 public:
  LakeLogs(const fs::path& path, std::vector<LakeClip>* out) : lake_(path) {
    std::map<std::string, int> count;
    const std::vector<LakeClip> clips = lake_.Clips();
    if (out != nullptr) *out = clips;
    for (const LakeClip& clip : clips) ++count[clip.name];
    for (const LakeClip& clip : clips) {
      ids_.push_back(clip.id);
      names_.push_back(count[clip.name] == 1
                           ? clip.name
                           : StrCat(clip.name, "@", clip.id.substr(0, kShownIdDigits)));
    }
  }
  const std::string& format() const override { return format_; }
  const std::vector<std::string>& names() const override { return names_; }
  Log Read(int index) const override {
    ATHANOR_CHECK(index >= 0 && index < static_cast<int>(ids_.size()), lake_.path().string(),
                  ": expected a clip of 0 to ", ids_.size(), " (excluded), found ", index);
    return lake_.Read(ids_[index]);
  }

 private:
  mutable Lake lake_;
  const std::string format_ = "lake";
  std::vector<std::string> names_, ids_;
};

bool HasEnd(std::string_view bytes, std::string_view end, size_t within) {
  const size_t from = bytes.size() > within ? bytes.size() - within : 0;
  return bytes.substr(from).find(end) != std::string_view::npos;
}

}  // namespace

void CheckPayload(std::string_view bytes, std::string_view extension, std::string_view name) {
  constexpr size_t kBehindEnd = 4096;  // some cameras pad their files
  std::string_view expected;
  bool good = !bytes.empty();
  if (!good) {
    expected = "bytes";
  } else if (extension == ".jpg" || extension == ".jpeg") {
    expected = "a JPEG with its end";
    good = bytes.starts_with("\xff\xd8") && HasEnd(bytes, "\xff\xd9", kBehindEnd);
  } else if (extension == ".png") {
    expected = "a PNG with its end";
    good = bytes.starts_with("\x89PNG") && HasEnd(bytes, "IEND", kBehindEnd);
  } else if (extension == ".pcd.bin") {
    expected = "whole points of 20 bytes";
    good = bytes.size() % 20 == 0;
  } else if (extension == ".bin") {
    expected = "whole numbers of 4 bytes";
    good = bytes.size() % 4 == 0;
  } else if (extension == ".feather") {
    expected = "a Feather file with its end";
    good = bytes.starts_with("ARROW1") && bytes.ends_with("ARROW1");
  }
  ATHANOR_CHECK(good, name, ": expected ", expected, ", found ", bytes.size(), " bytes without");
}

bool Lake::IsLake(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path / kCatalogName, error);
}

Lake::Lake(const fs::path& path, Mode mode, const LakeOptions& options)
    : path_(path), options_(options) {
  std::error_code error;
  const bool has_shards = fs::is_directory(path / "shards", error);
  ATHANOR_CHECK(mode == Mode::kCreate || IsLake(path) || (mode == Mode::kWrite && has_shards),
                path.string(), ": expected a lake (", kCatalogName, "), found none");
  ATHANOR_CHECK(mode == Mode::kRead || !IsMirror(path), path.string(), ": mirrors ",
                ReadMirrorOptions(path).store, "; a mirror is only read");
  if (mode == Mode::kRead) {
    if (IsMirror(path)) store_ = OpenMirror(path);
    catalog_ = std::make_unique<Catalog>(path / kCatalogName, SqliteDatabase::Mode::kRead);
    return;
  }
  MakeFolder(path / "shards");
  lock_ = ::open((path / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  const bool locked = lock_ >= 0 && ::flock(lock_, LOCK_EX | LOCK_NB) == 0;
  try {
    ATHANOR_CHECK(
        locked, path.string(), ": ",
        errno == EWOULDBLOCK ? "another process is writing into the lake" : std::strerror(errno));
    catalog_ = std::make_unique<Catalog>(path / kCatalogName, SqliteDatabase::Mode::kCreate);
    Recover();
  } catch (...) {
    if (lock_ >= 0) ::close(lock_);
    throw;
  }
}

Lake::~Lake() {
  active_.reset();
  catalog_.reset();
  if (lock_ >= 0) ::close(lock_);
}

std::string Lake::ShardName(int64_t number) {
  char name[32];
  std::snprintf(name, sizeof name, "shards/%08lld.shard", static_cast<long long>(number));
  return name;
}

void Lake::RequireWriter() const {
  ATHANOR_CHECK(lock_ >= 0, path_.string(), ": the lake was opened for reading");
}

// The shard that grows: the last one, or a new one.
ShardWriter& Lake::Active() {
  if (active_) return *active_;
  const std::vector<LakeShard> shards = catalog_->Shards();
  if (!shards.empty() && !shards.back().sealed) {
    active_number_ = shards.back().number;
    active_committed_ = shards.back().bytes;
    try {
      active_ = ShardWriter::Continue(ShardPath(active_number_), active_committed_);
      return *active_;
    } catch (const Error& damage) {
      LogWarning(StrCat(damage.what(), "; the lake goes on with a new shard"));
    }
  }
  active_number_ = shards.empty() ? 1 : shards.back().number + 1;
  active_committed_ = kShardStart;
  std::error_code error;
  fs::remove(ShardPath(active_number_), error);  // begun by a call that failed
  active_ = ShardWriter::Create(ShardPath(active_number_));
  return *active_;
}

// After a failure: the shard as the catalog knows it. What cannot be cut off now is cut off when
// the shard is opened again.
void Lake::TakeBack() {
  if (!active_) return;
  try {
    if (active_committed_ > kShardStart) active_->CutTo(active_committed_);
  } catch (const Error&) {
  }
  active_.reset();
}

void Lake::SealWhenFull() {
  if (!active_ || active_->end() < options_.shard_bytes) return;
  try {
    active_->Seal();
    SqliteTransaction transaction(catalog_->database());
    catalog_->SetShard({active_number_, active_->end(), /*sealed=*/true});
    transaction.Commit();
  } catch (...) {
    TakeBack();  // nothing may be appended behind half a seal
    throw;
  }
  active_.reset();
}

IngestResult Lake::Ingest(const Log& log, const IngestOptions& options) {
  RequireWriter();
  CheckClip(log);
  IngestResult result;
  Clip clip;
  clip.log = log;
  clip.log.payloads = nullptr;
  clip.payloads.resize(log.readings.size());
  std::unordered_map<std::string, LakePlace> stored;  // by this call
  std::string bytes;
  try {
    ShardWriter& shard = *OfLake([&] { return &Active(); });
    for (size_t i = 0; i < log.readings.size(); ++i) {
      const LogReading& reading = log.readings[i];
      ClipPayload& payload = clip.payloads[i];
      payload.extension = PayloadExtension(reading.path);
      if (!HasPayload(log, reading)) {
        ATHANOR_CHECK(options.partial, reading.path.string(), ": log ", log.name,
                      " is not complete: this file is missing");
        continue;
      }
      if (log.payloads == nullptr) {
        ReadFile(reading.path, &bytes);
      } else {
        bytes = log.payloads->Read(reading);
      }
      CheckPayload(bytes, payload.extension, reading.path.string());
      payload.length = std::ssize(bytes);
      payload.sha256 = Sha256Of(bytes);
      result.bytes += payload.length;
      OfLake([&] {
        if (stored.contains(payload.sha256) || catalog_->FindBlob(payload.sha256)) return;
        const ShardBlock block = shard.Append(kPayloadBlock, BytesOfHex(payload.sha256), bytes);
        stored[payload.sha256] = {active_number_, block.offset, block.length};
      });
      if (options.progress) options.progress({log.source, 0, 1, result.bytes});
    }
    const std::string encoded = EncodeClip(clip);
    result.id = ClipId(encoded);
    if (catalog_->FindClip(result.id)) {
      if (shard.end() > active_committed_) TakeBack();
      return result;
    }
    OfLake([&] {
      const ShardBlock block = shard.Append(kClipBlock, encoded);
      // Bytes first, then the catalog: what it names is there.
      shard.Sync();
      SqliteTransaction transaction(catalog_->database());
      catalog_->SetShard({active_number_, shard.end()});
      for (const auto& [sha256, place] : stored) catalog_->AddBlob(sha256, place);
      catalog_->AddClip(result.id, clip, {active_number_, block.offset, block.length});
      transaction.Commit();
    });
    result.added = true;
    result.stored_bytes = shard.end() - active_committed_;
    active_committed_ = shard.end();
  } catch (...) {
    TakeBack();
    throw;
  }
  OfLake([&] { SealWhenFull(); });
  return result;
}

std::string Lake::FindId(std::string_view prefix) {
  const std::vector<std::string> ids = catalog_->IdsWith(prefix, 2);
  ATHANOR_CHECK(!prefix.empty() && !ids.empty(), path_.string(), ": no clip's id begins with '",
                prefix, "'");
  ATHANOR_CHECK(ids.size() == 1, path_.string(), ": several clips' ids begin with '", prefix,
                "': give more digits");
  return ids[0];
}

Log Lake::Read(std::string_view id) {
  // A second look when the first falls into a collection of garbage: it may have moved the clip, or
  // a payload that the clip shares with others.
  for (int attempt = 0;; ++attempt) {
    const auto found = catalog_->FindClip(id);
    ATHANOR_CHECK(found.has_value(), path_.string(), ": there is no clip ", id);
    std::map<int64_t, BlockReader> shards;
    const auto shard = [&](int64_t number) {
      BlockReader& reader = shards[number];
      if (reader == nullptr && store_ != nullptr) {
        reader = [store = store_, name = ShardName(number)](const ShardBlock& block, int64_t from) {
          return ReadShardBlock(*store, name, block, from);
        };
      } else if (reader == nullptr) {
        reader = [file = std::make_shared<const ShardReader>(ShardPath(number))](
                     const ShardBlock& block, int64_t from) { return file->Read(block, from); };
      }
      return reader;
    };
    try {
      const LakePlace& place = found->place;
      const ShardBlock block{place.offset, place.length, kClipBlock};
      Clip clip = DecodeClip(shard(place.shard)(block, 0),
                             StrCat(ShardPath(place.shard).string(), " at ", place.offset));
      Log& log = clip.log;
      log.source = path_.string();
      const fs::path folder = path_ / std::string(id.substr(0, kShownIdDigits));
      for (size_t i = 0; i < log.readings.size(); ++i) {
        LogReading& reading = log.readings[i];
        reading.path = folder / log.sensors[reading.sensor].channel /
                       StrCat(reading.time_us, clip.payloads[i].extension);
      }
      std::unordered_map<std::string, LakePayloads::Payload> payloads;
      SqliteStatement query(catalog_->database(),
                            "SELECT reading, shard, offset, length FROM payloads JOIN blobs "
                            "USING (blob) WHERE clip = ?");
      query.Bind(found->clip);
      while (query.Step()) {
        const int64_t i = query.Integer(0);
        ATHANOR_CHECK(i >= 0 && i < std::ssize(log.readings), path_.string(), ": clip ", id,
                      ": the catalog names reading ", i, ", which the clip does not have");
        payloads[log.readings[i].path.string()] = {
            shard(query.Integer(1)), {query.Integer(2), query.Integer(3), kPayloadBlock}};
      }
      log.payloads = std::make_shared<LakePayloads>(std::move(payloads));
      return std::move(log);
    } catch (const Error&) {
      if (attempt > 0) throw;
    }
  }
}

void Lake::Remove(std::string_view id) {
  RequireWriter();
  ATHANOR_CHECK(catalog_->FindClip(id).has_value(), path_.string(), ": there is no clip ", id);
  try {
    ShardWriter& shard = Active();
    shard.Append(kRemovalBlock, BytesOfHex(id));
    shard.Sync();
    SqliteTransaction transaction(catalog_->database());
    catalog_->RemoveClip(id);
    catalog_->SetShard({active_number_, shard.end()});
    transaction.Commit();
    active_committed_ = shard.end();
  } catch (...) {
    TakeBack();
    throw;
  }
}

std::unique_ptr<LogDataset> OpenLakeLogs(const fs::path& path, std::vector<LakeClip>* clips) {
  return std::make_unique<LakeLogs>(path, clips);
}

void RegisterLakes() {
  RegisterLogFormat({"a lake (lake.sqlite)", &Lake::IsLake,
                     [](const fs::path& path) { return OpenLakeLogs(path); }});
}

}  // namespace athanor
