// A lake that lies elsewhere, on a web server or a slow disk: a folder with a copy of its catalog,
// mirror.toml, which says where it is, and a cache of its payloads. It is read like any lake.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "athanor/base/options.h"
#include "athanor/lake/object_store.h"

namespace athanor {

struct MirrorOptions {
  std::string store;         // http://HOST:PORT/LAKE, or a folder
  int64_t memory_mb = 1024;  // of payloads, of each process that reads
  int64_t disk_mb = 16384;   // the same
  int64_t block_kb = 1024;   // read at a time (block_cache.h)
};
OptionList Describe(MirrorOptions& options);

// Makes the folder, or, where it mirrors that store already, fetches its catalog anew and takes the
// other options over. What the folder holds besides stays. Throws Error: no lake there, one of
// a newer program, one that is being written to just now, a folder that is something else.
void MirrorLake(const std::filesystem::path& folder, const MirrorOptions& options);

bool IsMirror(const std::filesystem::path& folder);
MirrorOptions ReadMirrorOptions(const std::filesystem::path& folder);

// The objects of the lake, through the cache; one cache for all of a process that have it open.
// Processes side by side have a cache each, FOLDER/cache/0, 1 and so on. Throws Error.
std::shared_ptr<const ObjectStore> OpenMirror(const std::filesystem::path& folder);

}  // namespace athanor
