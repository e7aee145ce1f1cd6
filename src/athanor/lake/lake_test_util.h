// What the tests of the lake share.
#pragma once

#include <filesystem>
#include <string>

#include "athanor/base/random.h"
#include "athanor/base/test_util.h"

namespace athanor {

// TestFolder in memory where the system offers it: tests that flush thousands of files to a disk
// would do little else.
inline std::filesystem::path MemoryFolder(const std::string& name) {
  struct Root {
    std::string path = "/dev/shm/athanor tests XXXXXX";
    bool made = ::mkdtemp(path.data()) != nullptr;
    ~Root() {
      std::error_code error;
      if (made) std::filesystem::remove_all(path, error);
    }
  };
  static const Root root;
  if (!root.made) return TestFolder(name);
  const std::filesystem::path folder = std::filesystem::path(root.path) / name;
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

inline std::string RandomBytes(size_t size, uint64_t seed) {
  Random random(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random.NextBits());
  return bytes;
}

}  // namespace athanor
