// What the tests of the traffic share.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "athanor/simulation/traffic/traffic.h"

namespace athanor {

// A folder of the shared real data; empty when it is not there.
inline std::filesystem::path SharedData(const std::string& name) {
  const char* chosen = std::getenv("ATHANOR_SHARED_DATA");
  const std::filesystem::path folder =
      (chosen != nullptr ? std::filesystem::path(chosen)
                         : std::filesystem::path(ATHANOR_SOURCE_DIR) / "../shared/data") /
      name;
  std::error_code error;
  return std::filesystem::exists(folder, error) ? folder : std::filesystem::path();
}

// A folder of this process that vanishes with it. Its path has no space: SUMO's programs take one
// for the end of a file name.
class NetworkFolder {
 public:
  NetworkFolder()
      : path_(std::filesystem::temp_directory_path() /
              ("athanor-networks-" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~NetworkFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  NetworkFolder(const NetworkFolder&) = delete;
  NetworkFolder& operator=(const NetworkFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace athanor
