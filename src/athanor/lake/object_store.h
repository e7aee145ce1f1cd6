// Where the bytes of a lake lie: named objects that are read in ranges. A folder, a web server
// (http_store.h), anything slower behind a cache (block_cache.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "athanor/base/error.h"

namespace athanor {

// Which bytes an object holds: two reads that saw the same version saw parts of the same content.
struct ObjectInfo {
  int64_t size_bytes = 0;
  std::string version;  // not empty; an ETag, a time of change: only compared

  bool operator==(const ObjectInfo&) const = default;
};

// The object is not of the version that was expected. Whoever keeps parts of it drops them and asks
// for Info() again.
class ObjectChanged : public Error {
 public:
  using Error::Error;
};

// Thread-safe. Names are relative paths with '/' between their parts. Every failure is an Error of
// one line that names store and object.
class ObjectStore {
 public:
  virtual ~ObjectStore() = default;

  // Exactly these bytes; a range that leaves the object is an Error. Throws ObjectChanged when
  // `expected` is given and they would come from an object of another version or size.
  virtual std::string ReadVersion(const std::string& object, int64_t offset, int64_t length,
                                  const ObjectInfo* expected) const = 0;
  std::string Read(const std::string& object, int64_t offset, int64_t length) const {
    return ReadVersion(object, offset, length, nullptr);
  }
  // As it is now, asked anew.
  virtual ObjectInfo Info(const std::string& object) const = 0;
  // Names that begin with `prefix`, sorted.
  virtual std::vector<std::string> List(const std::string& prefix) const = 0;

  int64_t Size(const std::string& object) const { return Info(object).size_bytes; }
};

// Throws ObjectChanged, which begins with `where`, unless `found` is what was expected, if
// anything.
void CheckVersion(const ObjectInfo* expected, const ObjectInfo& found, const std::string& where);

// Throws Error unless `object` is a relative path without "." or ".." or empty parts, so that no
// name leads out of its store, and unless offset and length are not negative.
void CheckObjectRange(const std::string& object, int64_t offset, int64_t length);

// The files of a folder and of the folders in it.
class DirectoryStore : public ObjectStore {
 public:
  // Throws Error when there is no such folder.
  explicit DirectoryStore(const std::filesystem::path& folder);

  std::string ReadVersion(const std::string& object, int64_t offset, int64_t length,
                          const ObjectInfo* expected) const override;
  ObjectInfo Info(const std::string& object) const override;
  std::vector<std::string> List(const std::string& prefix) const override;

 private:
  std::filesystem::path folder_;
};

// A store as slow as one far away, for tests and measurements: each call waits for `latency_s`, and
// then for its bytes at `bytes_per_s`. Calls do not wait for one another, as if each thread had a
// connection of its own.
class ThrottledStore : public ObjectStore {
 public:
  ThrottledStore(std::shared_ptr<const ObjectStore> store, double latency_s, double bytes_per_s);

  std::string ReadVersion(const std::string& object, int64_t offset, int64_t length,
                          const ObjectInfo* expected) const override;
  ObjectInfo Info(const std::string& object) const override;
  std::vector<std::string> List(const std::string& prefix) const override;

 private:
  void Wait(int64_t bytes) const;

  std::shared_ptr<const ObjectStore> store_;
  double latency_s_, bytes_per_s_;
};

}  // namespace athanor
