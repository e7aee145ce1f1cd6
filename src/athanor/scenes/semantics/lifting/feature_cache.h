// Features of views on disk, so that a teacher looks at each view once.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "athanor/media/image.h"
#include "athanor/scenes/semantics/teachers/teacher.h"

namespace athanor {

// One file per view in ROOT/TEACHER, a folder for each teacher's key (its name is made of the key
// and a hash of it). A file is written whole or not at all, so a run that was stopped goes on where
// it was. Not thread-safe.
class FeatureCache {
 public:
  // `source` tells views of one name apart: "photographs", or what they were rendered from.
  FeatureCache(const std::filesystem::path& root, Teacher* teacher, const std::string& source);

  const std::filesystem::path& folder() const { return folder_; }
  // From the file, or from the teacher, who is shown `picture()` then. A file that is damaged, or
  // for another size, is made anew. Throws what the teacher and the disk throw.
  ViewFeatures Get(const std::string& name, int width_px, int height_px,
                   const std::function<Image()>& picture);
  int64_t described() const { return described_; }  // views that the teacher looked at

 private:
  std::filesystem::path folder_;
  Teacher* teacher_;
  int64_t described_ = 0;
};

}  // namespace athanor
