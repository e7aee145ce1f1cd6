// What the tests of every module share.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "athanor/base/error.h"

namespace athanor {

// The message of the Error that `f` throws; empty when it throws none.
template <typename F>
std::string ErrorOf(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

// An empty folder of this process alone, with a name that shells and careless code stumble over.
// All of them go when the program ends.
inline std::filesystem::path TestFolder(const std::string& name) {
  struct Root {
    std::string path = (std::filesystem::temp_directory_path() / "athanor tests é XXXXXX").string();
    Root() { ATHANOR_CHECK(::mkdtemp(path.data()) != nullptr, path, ": cannot make"); }
    ~Root() {
      std::error_code error;
      std::filesystem::remove_all(path, error);
    }
  };
  static const Root root;
  const std::filesystem::path folder = std::filesystem::path(root.path) / name;
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

#ifdef ATHANOR_SOURCE_DIR
// A folder or file of the real data that is not part of the sources: in $ATHANOR_SHARED_DATA, or
// ../shared/data. Empty where it is not at hand.
inline std::filesystem::path SharedData(const std::string& name) {
  const char* chosen = std::getenv("ATHANOR_SHARED_DATA");
  const auto root = chosen != nullptr
                        ? std::filesystem::path(chosen)
                        : std::filesystem::path(ATHANOR_SOURCE_DIR).parent_path() / "shared/data";
  std::error_code error;
  return std::filesystem::exists(root / name, error) ? root / name : std::filesystem::path();
}
#define ATHANOR_SKIP_WITHOUT(name) \
  if (SharedData(name).empty()) GTEST_SKIP() << "needs " << name << " in ../shared/data"
#endif

}  // namespace athanor
