#include "athanor/scenes/semantics/lifting/feature_cache.h"

#include <cctype>
#include <string_view>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/hash.h"
#include "athanor/base/log.h"

namespace athanor {

namespace fs = std::filesystem;

namespace {

uint64_t HashPicture(const Image& picture) {
  const std::string_view pixels(reinterpret_cast<const char*>(picture.data.data()),
                                picture.data.size());
  return HashBytes(pixels, HashBytes(StrCat(picture.width, " x ", picture.height)));
}

}  // namespace

FeatureCache::FeatureCache(const fs::path& root, Teacher* teacher) : teacher_(teacher) {
  std::string name;
  constexpr size_t kReadable = 40;
  for (const char c : teacher->key().substr(0, kReadable)) {
    name += std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '-';
  }
  folder_ = root / StrCat(name, "-", HexDigits(HashBytes(teacher->key())));
  WriteFile(folder_ / "teacher.txt", teacher->key() + "\n");
}

ViewFeatures FeatureCache::Get(const std::string& name, const Image& picture) {
  const fs::path relative =
      fs::path(StrCat(name, "-", HexDigits(HashPicture(picture)), ".safetensors"))
          .lexically_normal();
  ATHANOR_CHECK(relative.is_relative() && *relative.begin() != "..", "view '", name,
                "': expected a name inside of the capture");
  const fs::path file = folder_ / relative;
  std::error_code error;
  if (fs::exists(file, error)) {
    try {
      ViewFeatures features = ReadViewFeatures(file);
      if (features.width_px == picture.width && features.height_px == picture.height &&
          features.dimension() == teacher_->dimension()) {
        return features;
      }
    } catch (const Error& reason) {
      LogWarning(StrCat(reason.what(), "; the view is described anew"));
    }
  }
  ++described_;
  ViewFeatures features = teacher_->Describe(picture, name);
  features.Check(StrCat("teacher '", teacher_->key(), "', view '", name, "'"));
  WriteViewFeatures(file, features);
  return features;
}

}  // namespace athanor
