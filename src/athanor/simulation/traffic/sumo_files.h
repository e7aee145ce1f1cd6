// Files that SUMO's programs read and write. They take a space or a comma in a path for the end of
// a name, so such paths reach them through links in a folder of ours. Internal to simulation/.
#pragma once

#include <filesystem>

namespace athanor {

// A new folder in the system's temporary one, without such characters, that vanishes with this.
class SumoFiles {
 public:
  SumoFiles();
  ~SumoFiles();
  SumoFiles(const SumoFiles&) = delete;
  SumoFiles& operator=(const SumoFiles&) = delete;

  const std::filesystem::path& folder() const { return folder_; }
  // A path to the same file or folder that SUMO understands: `path` itself where it will do. What
  // lies beside a file is found beside the result too, unless the file's own name has a space.
  std::filesystem::path Plain(const std::filesystem::path& path);

 private:
  std::filesystem::path folder_;
  int num_links_ = 0;
};

}  // namespace athanor
