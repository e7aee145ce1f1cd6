// What the tests of the traffic share.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "athanor/simulation/traffic/traffic.h"

namespace athanor {

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
