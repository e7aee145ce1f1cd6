// Stores for tests: objects in memory that count what is read and fail when told to.
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "athanor/base/random.h"
#include "athanor/lake/object_store.h"

namespace athanor {

inline std::string RandomBytes(int64_t size, uint64_t seed) {
  Random random(seed);
  std::string bytes(static_cast<size_t>(size), '\0');
  for (char& byte : bytes) byte = static_cast<char>(random.NextBits());
  return bytes;
}

class MemoryStore : public ObjectStore {
 public:
  // Called for each Read() before it is served; may wait or throw.
  std::function<void(const std::string& object, int64_t offset, int64_t length)> on_read;

  void Put(const std::string& object, std::string bytes) {
    const std::lock_guard lock(mutex_);
    auto& [content, version] = objects_[object];
    content = std::move(bytes);
    ++version;
  }
  const std::string& Content(const std::string& object) const {
    const std::lock_guard lock(mutex_);
    return objects_.at(object).first;
  }

  std::string ReadVersion(const std::string& object, int64_t offset, int64_t length,
                          const ObjectInfo* expected) const override {
    ++reads_;
    bytes_read_ += length;
    if (on_read) on_read(object, offset, length);
    const std::lock_guard lock(mutex_);
    CheckVersion(expected, InfoLocked(object), object);
    const std::string& content = objects_.at(object).first;
    ATHANOR_CHECK(offset >= 0 && offset + length <= static_cast<int64_t>(content.size()), object,
                  ": the test's store was asked for bytes it does not have");
    return content.substr(static_cast<size_t>(offset), static_cast<size_t>(length));
  }
  ObjectInfo Info(const std::string& object) const override {
    const std::lock_guard lock(mutex_);
    return InfoLocked(object);
  }
  std::vector<std::string> List(const std::string& prefix) const override {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> names;
    for (const auto& [name, content] : objects_) {
      if (name.starts_with(prefix)) names.push_back(name);
    }
    return names;
  }

  int64_t reads() const { return reads_; }
  int64_t bytes_read() const { return bytes_read_; }

 private:
  ObjectInfo InfoLocked(const std::string& object) const {
    const auto found = objects_.find(object);
    ATHANOR_CHECK(found != objects_.end(), object, ": no such object");
    return {static_cast<int64_t>(found->second.first.size()),
            StrCat("version ", found->second.second)};
  }

  mutable std::mutex mutex_;
  std::map<std::string, std::pair<std::string, int>> objects_;
  mutable std::atomic<int64_t> reads_{0}, bytes_read_{0};
};

}  // namespace athanor
