#include "athanor/lake/mirror.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <mutex>

#include "athanor/base/files.h"
#include "athanor/base/progress.h"
#include "athanor/lake/block_cache.h"
#include "athanor/lake/catalog.h"
#include "athanor/lake/http_store.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr const char *kCatalog = "lake.sqlite", *kConfig = "mirror.toml";
constexpr int kMostProcesses = 256;

std::shared_ptr<const ObjectStore> OpenStore(const std::string& store) {
  if (store.starts_with("http://") || store.starts_with("https://")) {
    return std::make_shared<HttpStore>(store);
  }
  return std::make_shared<DirectoryStore>(store);
}

// SQLite's log beside the catalog holds what is not in it yet.
bool HasLog(const ObjectStore& store) {
  try {
    return store.Info(std::string(kCatalog) + "-wal").size_bytes > 0;
  } catch (const Error&) {
    return false;  // as it is when nobody writes
  }
}

void FetchCatalog(const ObjectStore& store, const fs::path& path) {
  constexpr int64_t kPiece = int64_t{8} << 20;
  const ObjectInfo info = store.Info(kCatalog);
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  Progress progress("catalog", info.size_bytes);
  for (int64_t at = 0; at < info.size_bytes && file; at += kPiece) {
    const int64_t length = std::min(kPiece, info.size_bytes - at);
    file << store.ReadVersion(kCatalog, at, length, &info);
    progress.Update(at + length, "");
  }
  file.close();
  ATHANOR_CHECK(file, path.string(), ": cannot write: the disk may be full");
}

}  // namespace

OptionList Describe(MirrorOptions& o) {
  OptionList list;
  list.Add("store", &o.store, "where the lake is: http://HOST:PORT/LAKE, or a folder");
  list.Add("memory", &o.memory_mb, "MB of payloads kept in memory by each process that reads",
           {.min = 1, .max = 1 << 24});
  list.Add("disk", &o.disk_mb, "MB of payloads kept on disk by each; 0: none",
           {.min = 0, .max = 1 << 30});
  list.Add("block", &o.block_kb, "KB read at a time", {.min = 4, .max = 1 << 20});
  return list;
}

bool IsMirror(const fs::path& folder) {
  std::error_code error;
  return fs::is_regular_file(folder / kConfig, error);
}

MirrorOptions ReadMirrorOptions(const fs::path& folder) {
  MirrorOptions options;
  Describe(options).ReadToml(folder / kConfig);
  return options;
}

void MirrorLake(const fs::path& folder, const MirrorOptions& given) {
  MirrorOptions options = given;
  if (!options.store.starts_with("http")) options.store = fs::absolute(options.store).string();
  std::error_code error;
  if (IsMirror(folder)) {
    const std::string before = ReadMirrorOptions(folder).store;
    ATHANOR_CHECK(before == options.store, folder.string(), ": mirrors ", before, ", not ",
                  options.store);
  } else {
    ATHANOR_CHECK(!fs::exists(folder / kCatalog, error), folder.string(),
                  ": is a lake of its own, no mirror");
  }
  const auto store = OpenStore(options.store);
  const ObjectInfo info = store->Info(kCatalog);
  const std::string busy =
      StrCat(options.store, ": the lake is being written to; try again when that is done");
  ATHANOR_CHECK(!HasLog(*store), busy);
  MakeFolder(folder);
  const fs::path aside = folder / "lake.sqlite.part";
  try {
    FetchCatalog(*store, aside);
  } catch (const ObjectChanged&) {
    throw Error(busy);
  }
  ATHANOR_CHECK(!HasLog(*store) && store->Info(kCatalog) == info, busy);
  {
    SqliteDatabase catalog(aside, SqliteDatabase::Mode::kWrite);
    {
      SqliteStatement check(catalog, "PRAGMA quick_check(1)");
      ATHANOR_CHECK(check.Step() && check.Text(0) == "ok", options.store, "/", kCatalog,
                    ": expected a catalog, found a damaged one");
    }
    catalog.Execute("PRAGMA journal_mode = DELETE");  // it is only read, and is one file
  }
  const Catalog catalog(aside, SqliteDatabase::Mode::kRead);  // of a program that is not newer
  WriteFile(folder / kConfig, Describe(options).ToToml());
  fs::rename(aside, folder / kCatalog);
}

std::shared_ptr<const ObjectStore> OpenMirror(const fs::path& folder) {
  static std::mutex mutex;
  static std::map<std::string, std::weak_ptr<const BlockCache>> open;
  const std::lock_guard lock(mutex);
  std::weak_ptr<const BlockCache>& known = open[fs::weakly_canonical(folder).string()];
  if (auto cache = known.lock()) return cache;
  const MirrorOptions mirror = ReadMirrorOptions(folder);
  BlockCacheOptions options;
  options.block_bytes = mirror.block_kb << 10;
  options.memory_bytes = std::max(mirror.memory_mb << 20, options.block_bytes);
  options.disk_bytes = mirror.disk_mb << 20;
  const auto store = OpenStore(mirror.store);
  std::shared_ptr<const BlockCache> cache;
  if (mirror.disk_mb == 0) cache = std::make_shared<BlockCache>(store, options);
  for (int process = 0; cache == nullptr; ++process) {
    options.folder = folder / "cache" / std::to_string(process);
    try {
      MakeFolder(options.folder);
      cache = std::make_shared<BlockCache>(store, options);
    } catch (const FolderInUse&) {
      if (process == kMostProcesses) throw;
    }
  }
  known = cache;
  return cache;
}

}  // namespace athanor
