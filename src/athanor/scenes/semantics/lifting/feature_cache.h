// Features of views on disk, so that a teacher looks at each picture once.
#pragma once

#include <filesystem>
#include <string>

#include "athanor/media/image.h"
#include "athanor/scenes/semantics/teachers/teacher.h"

namespace athanor {

// One file per view and picture, NAME-HASH.safetensors with the hash of the picture's pixels, in
// ROOT/TEACHER, a folder for each teacher's key (its name is made of the key and a hash of it).
// What a teacher says depends on the picture, so captures whose views have the same names, and
// views rendered from other scenes or places, may share a folder. A file is written whole or not at
// all, so a run that was stopped goes on where it was. Not thread-safe.
class FeatureCache {
 public:
  FeatureCache(const std::filesystem::path& root, Teacher* teacher);

  const std::filesystem::path& folder() const { return folder_; }
  // From the file, or from the teacher, who is shown `picture` then. A file that is damaged is made
  // anew. Throws what the teacher and the disk throw.
  ViewFeatures Get(const std::string& name, const Image& picture);
  int64_t described() const { return described_; }  // pictures that the teacher looked at

 private:
  std::filesystem::path folder_;
  Teacher* teacher_;
  int64_t described_ = 0;
};

}  // namespace athanor
