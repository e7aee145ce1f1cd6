#include "athanor/scenes/semantics/teachers/id_maps.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <set>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/hash.h"
#include "athanor/nn/safetensors.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kFamily = "id maps";
constexpr size_t kMaxIds = 4096;

json ReadJson(const fs::path& path) {
  const json content = json::parse(ReadFile(path), nullptr, false);
  ATHANOR_CHECK(!content.is_discarded(), path.string(), ": expected JSON");
  return content;
}

std::map<int, std::string> ReadClasses(const fs::path& path) {
  json list = ReadJson(path);
  if (list.is_object() && list.contains("classes")) list = list["classes"];
  std::map<int, std::string> names;
  try {
    for (const json& entry : list) {
      names[entry.at("id").get<int>()] = entry.at("name").get<std::string>();
    }
  } catch (const json::exception&) {
    throw Error(path.string() + ": expected a list of {\"id\": number, \"name\": text}");
  }
  return names;
}

std::string LowerCase(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

class LabelEncoder : public TextEncoder {
 public:
  explicit LabelEncoder(std::vector<std::string> labels) : labels_(std::move(labels)) {}
  std::string space() const override { return {}; }
  int dimension() const override { return static_cast<int>(labels_.size()); }
  at::Tensor Encode(std::span<const std::string> prompts) override {
    at::Tensor vectors = at::zeros({static_cast<int64_t>(prompts.size()), dimension()});
    float* out = vectors.data_ptr<float>();
    for (const std::string& prompt : prompts) {
      const auto same = [&](const std::string& label) {
        return LowerCase(label) == LowerCase(prompt);
      };
      const auto label = std::find_if(labels_.begin(), labels_.end(), same);
      ATHANOR_CHECK(label != labels_.end(), "prompt '", prompt,
                    "': this scene's features are labels, and none is called so; there are ",
                    Known());
      out[label - labels_.begin()] = 1;
      out += dimension();
    }
    return vectors;
  }

 private:
  std::string Known() const {
    constexpr size_t kShown = 12;
    std::string text;
    for (size_t i = 0; i < std::min(kShown, labels_.size()); ++i) {
      text += (i > 0 ? ", " : "") + labels_[i];
    }
    return labels_.size() > kShown ? text + " .." : text;
  }
  std::vector<std::string> labels_;
};

}  // namespace

bool IsIdMaps(const fs::path& card_or_folder) {
  std::error_code error;
  if (fs::is_directory(card_or_folder, error)) {
    return !ListFiles(card_or_folder, {".png"}).empty();
  }
  if (card_or_folder.extension() != ".json" || !fs::exists(card_or_folder, error)) return false;
  const json card = json::parse(ReadFile(card_or_folder), nullptr, false);
  return card.is_object() && card.value("family", json()) == kFamily;
}

IdMapTeacher::IdMapTeacher(const fs::path& card_or_folder) {
  std::error_code error;
  std::map<int, std::string> names;
  std::set<int> ignored = {0};
  at::Tensor given;
  const std::string where = card_or_folder.string();
  if (fs::is_directory(card_or_folder, error)) {
    maps_ = card_or_folder;
  } else {
    const json card = ReadJson(card_or_folder);
    try {
      ATHANOR_CHECK(card.at("family").get<std::string>() == kFamily, where,
                    ": expected the family '", kFamily, "'");
      const fs::path folder = card_or_folder.parent_path();
      maps_ = folder / card.at("maps").get<std::string>();
      if (card.contains("classes"))
        names = ReadClasses(folder / card["classes"].get<std::string>());
      if (card.contains("ignore")) ignored = card["ignore"].get<std::set<int>>();
      if (card.contains("vectors")) {
        const fs::path file = folder / card["vectors"].get<std::string>();
        given = ReadSafeTensors(file).Get("vectors", file.string()).to(at::kHalf);
        ATHANOR_CHECK(given.dim() == 2 && given.size(1) > 0, file.string(),
                      ": 'vectors' should be [K,D], found ", given.sizes());
        text_space_ = card.value("text_space", std::string());
      }
    } catch (const json::exception& reason) {
      throw Error(StrCat(where, ": ", reason.what()));
    }
  }

  const std::vector<fs::path> files = ListFiles(maps_, {".png"});
  ATHANOR_CHECK(!files.empty(), maps_.string(), ": expected maps of ids as PNG files, found none");
  std::set<int> found;
  uint64_t hash = HashBytes(text_space_);
  std::vector<bool> is_used(1 << 16);
  for (const fs::path& file : files) {
    const std::string bytes = ReadFile(file);
    hash = HashBytes(bytes, HashBytes(file.lexically_relative(maps_).string(), hash));
    const DepthImage map = DecodeDepthPng(bytes, file.string());
    for (const uint16_t id : map.data) is_used[id] = true;
  }
  for (int id = 0; id < 1 << 16; ++id) {
    if (is_used[id] && !ignored.contains(id)) found.insert(id);
  }
  ATHANOR_CHECK(!found.empty(), maps_.string(), ": every pixel of every map has an ignored id");
  ATHANOR_CHECK(found.size() <= kMaxIds, maps_.string(), ": expected at most ", kMaxIds,
                " different ids, found ", found.size());
  for (const int id : found) {
    const int row = static_cast<int>(rows_.size());
    rows_[id] = row;
    if (!given.defined()) {
      const auto name = names.find(id);
      labels_.push_back(name != names.end() ? name->second : std::to_string(id));
    }
    ATHANOR_CHECK(!given.defined() || id < given.size(0), maps_.string(), ": id ", id,
                  " has no vector: there are ", given.size(0));
  }
  if (given.defined()) {
    std::vector<int64_t> ids(found.begin(), found.end());
    vectors_ = given.index_select(0, at::tensor(ids, at::kLong));
    hash = HashBytes({static_cast<const char*>(vectors_.data_ptr()), vectors_.nbytes()}, hash);
  } else {
    vectors_ = at::eye(static_cast<int64_t>(found.size())).to(at::kHalf);
    for (const std::string& label : labels_) hash = HashBytes(label, hash);
  }
  key_ = "id maps " + HexDigits(hash);
}

ViewFeatures IdMapTeacher::Describe(const Image& rgb, const std::string& name) {
  // "left/0001.jpg" -> "left/0001.png"
  const fs::path file = maps_ / fs::path(name).replace_extension(".png");
  const DepthImage map = ReadDepthPng(file);
  ViewFeatures features;
  features.width_px = rgb.width, features.height_px = rgb.height;
  features.features = vectors_;
  features.mask_ids = at::full({1, rgb.height, rgb.width}, -1, at::kInt);
  int32_t* out = features.mask_ids.data_ptr<int32_t>();
  std::vector<int32_t> row_of(1 << 16, -1);
  for (const auto& [id, row] : rows_) row_of[id] = row;
  for (int y = 0; y < rgb.height; ++y) {
    const int from_y =
        static_cast<int>((2 * int64_t{y} + 1) * map.height / (2 * int64_t{rgb.height}));
    for (int x = 0; x < rgb.width; ++x) {
      const int from_x =
          static_cast<int>((2 * int64_t{x} + 1) * map.width / (2 * int64_t{rgb.width}));
      *out++ = row_of[*map.at(from_x, from_y)];
    }
  }
  return features;
}

std::unique_ptr<TextEncoder> MakeLabelEncoder(std::vector<std::string> labels) {
  return std::make_unique<LabelEncoder>(std::move(labels));
}

}  // namespace athanor
