#include "athanor/simulation/traffic/sumo_files.h"

#include <unistd.h>

#include <atomic>
#include <string>

#include "athanor/base/error.h"
#include "athanor/base/files.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

bool IsPlain(const fs::path& path) {
  return path.string().find_first_of(" \t\n,;") == std::string::npos;
}

}  // namespace

SumoFiles::SumoFiles() {
  static std::atomic<int> count{0};
  const fs::path temporary = fs::temp_directory_path();
  folder_ = (IsPlain(temporary) ? temporary : fs::path("/tmp")) /
            StrCat("athanor-traffic-", getpid(), "-", count++);
  // Left there by a process of the same number that was killed.
  fs::remove_all(folder_);
  MakeFolder(folder_);
}

SumoFiles::~SumoFiles() {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

fs::path SumoFiles::Plain(const fs::path& path) {
  if (IsPlain(path)) return path;
  if (IsPlain(path.filename())) return Plain(path.parent_path()) / path.filename();
  // The ending says to SUMO whether it is packed.
  const fs::path ending = IsPlain(path.extension()) ? path.extension() : fs::path();
  const fs::path link = folder_ / StrCat("link-", num_links_++, ending.string());
  fs::create_symlink(fs::absolute(path), link);
  return link;
}

}  // namespace athanor
