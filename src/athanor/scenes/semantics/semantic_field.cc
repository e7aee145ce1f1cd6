#include "athanor/scenes/semantics/semantic_field.h"

#include <ATen/ATen.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/hash.h"
#include "athanor/nn/safetensors.h"

namespace athanor {
namespace {

constexpr const char* kFormat = "athanor semantic field 1";

void CheckColumn(const at::Tensor& column, const char* name, at::ScalarType type, int64_t n,
                 std::string_view where) {
  ATHANOR_CHECK(column.defined() && column.scalar_type() == type && column.dim() == 1 &&
                    column.size(0) == n && column.is_contiguous() && column.device().is_cpu(),
                where, ": '", name, "' should be dense ", c10::toString(type), " [", n,
                "] on the CPU");
}

void CheckShare(const at::Tensor& column, const char* name, std::string_view where) {
  if (column.numel() == 0) return;
  // Written so that NaN fails.
  const float low = column.min().item<float>(), high = column.max().item<float>();
  ATHANOR_CHECK(low >= 0 && high <= 1.001f, where, ": '", name,
                "' should lie in [0, 1], found values from ", low, " to ", high);
}

// `count` Gaussians that were never seen, with features that mean what those of `field` do.
SemanticField UnseenLike(const SemanticField& field, int64_t count) {
  SemanticField unseen = field;
  unseen.features = FeatureTable::FromRows(at::zeros({count, field.dimension()}));
  unseen.seen = at::zeros({count}, at::kByte);
  unseen.agreement = at::zeros({count});
  unseen.max_weight = at::zeros({count});
  return unseen;
}

}  // namespace

int64_t SemanticField::num_seen() const { return at::sum(seen, at::kLong).item<int64_t>(); }

SemanticField SemanticField::TakeRows(const at::Tensor& rows) const {
  SemanticField taken = *this;
  taken.features = features.TakeRows(rows);
  taken.seen = seen.index_select(0, rows);
  taken.agreement = agreement.index_select(0, rows);
  taken.max_weight = max_weight.index_select(0, rows);
  return taken;
}

SemanticField SemanticField::AppendUnseen(int64_t more) const {
  return Append(UnseenLike(*this, more));
}

SemanticField SemanticField::PrependUnseen(int64_t more) const {
  SemanticField both = UnseenLike(*this, more).Append(*this);
  if (features.store() != FeatureStore::kHalf) {
    both.features = both.features.Compress(features.store());
  }
  return both;
}

SemanticField SemanticField::Append(const SemanticField& other) const {
  ATHANOR_CHECK(
      other.text_space == text_space && other.dimension() == dimension() && other.labels == labels,
      "features: expected those of the text space '", text_space, "', of length ", dimension(),
      ", found '", other.text_space, "', ", other.dimension(),
      other.labels == labels ? "" : ", with other labels");
  SemanticField both = *this;
  both.features =
      FeatureTable::FromRows(at::cat({features.DecodeAll(), other.features.DecodeAll()}));
  if (features.store() != FeatureStore::kHalf) {
    both.features = both.features.Compress(features.store());
  }
  both.seen = at::cat({seen, other.seen});
  both.agreement = at::cat({agreement, other.agreement});
  both.max_weight = at::cat({max_weight, other.max_weight});
  return both;
}

void SemanticField::Check(std::string_view where) const {
  const int64_t n = features.size();
  CheckColumn(seen, "seen", at::kByte, n, where);
  CheckColumn(agreement, "agreement", at::kFloat, n, where);
  CheckColumn(max_weight, "max_weight", at::kFloat, n, where);
  if (n > 0) {
    ATHANOR_CHECK(seen.max().item<int>() <= 1, where, ": 'seen' should be 0 or 1, found ",
                  seen.max().item<int>());
  }
  CheckShare(agreement, "agreement", where);
  CheckShare(max_weight, "max_weight", where);
  const at::Tensor unseen = at::nonzero(seen == 0).view({-1});
  const int64_t bad = features.FindNonZero(unseen);
  ATHANOR_CHECK(bad < 0, where, ": Gaussian ", unseen[bad].item<int64_t>(),
                " was never seen: expected features of zeros, found others");
  ATHANOR_CHECK(labels.empty() || static_cast<int>(labels.size()) == dimension(), where,
                ": expected a name for each of ", dimension(), " classes, found ", labels.size());
}

void SemanticField::CheckScene(const std::filesystem::path& scene_file, int64_t gaussians,
                               std::string_view where) const {
  ATHANOR_CHECK(size() == gaussians, where, ": features of ", size(), " Gaussians, but ",
                scene_file.string(), " has ", gaussians);
  const std::string hash = SceneFileHash(scene_file);
  ATHANOR_CHECK(hash == scene_hash, where, ": made for a scene whose file has the hash ",
                scene_hash, ", but ", scene_file.string(), " has ", hash,
                "; lift again: athanor semantic lift");
}

std::string SceneFileHash(const std::filesystem::path& scene_file) {
  return HexDigits(HashBytes(ReadFile(scene_file)));
}

std::filesystem::path SemanticFieldPath(const std::filesystem::path& scene_file,
                                        std::string_view tag) {
  std::string name = scene_file.stem().string() + ".semantics";
  if (!tag.empty()) name += StrCat("-", tag);
  return scene_file.parent_path() / (name + ".safetensors");
}

void WriteSemanticField(const std::filesystem::path& path, const SemanticField& field) {
  field.Check(path.string());
  SafeTensors content;
  content.tensors = field.features.State();
  content.tensors.emplace_back("seen", field.seen);
  content.tensors.emplace_back("agreement", field.agreement.to(at::kHalf));
  content.tensors.emplace_back("max_weight", field.max_weight.to(at::kHalf));
  content.metadata = {{"format", kFormat},
                      {"store", std::string(FeatureStoreName(field.features.store()))},
                      {"dimension", std::to_string(field.dimension())},
                      {"text_space", field.text_space},
                      {"teacher_key", field.teacher_key},
                      {"lift_mode", field.lift_mode},
                      {"scene_hash", field.scene_hash},
                      {"labels", nlohmann::json(field.labels).dump()},
                      {"classes", nlohmann::json(field.classes).dump()}};
  WriteSafeTensors(path, content);
}

SemanticField ReadSemanticField(const std::filesystem::path& path) {
  const SafeTensors content = ReadSafeTensors(path);
  const std::string where = path.string();
  const auto entry = [&](const char* key) {
    const auto found = content.metadata.find(key);
    ATHANOR_CHECK(found != content.metadata.end(), where, ": expected '", key, "' in the metadata");
    return found->second;
  };
  ATHANOR_CHECK(entry("format") == kFormat, where, ": expected the format '", kFormat, "', found '",
                entry("format"), "'");
  const std::string dimension_text = entry("dimension");
  int dimension = 0;
  const char* text_end = dimension_text.data() + dimension_text.size();
  const auto [end, error] = std::from_chars(dimension_text.data(), text_end, dimension);
  ATHANOR_CHECK(error == std::errc() && end == text_end, where,
                ": 'dimension' should be a number, found '", dimension_text, "'");
  SemanticField field;
  FeatureStore store;
  try {
    store = FeatureStoreFromName(entry("store"));
    field.labels = nlohmann::json::parse(entry("labels")).get<std::vector<std::string>>();
    if (content.metadata.contains("classes")) {
      field.classes = nlohmann::json::parse(entry("classes")).get<std::vector<std::string>>();
    }
  } catch (const nlohmann::json::exception&) {
    throw Error(where + ": 'labels' and 'classes' should be JSON lists of names");
  } catch (const Error& reason) {
    throw Error(StrCat(where, ": ", reason.what()));
  }
  field.features = FeatureTable::FromState(store, dimension, content.tensors, where);
  const auto column = [&](const char* name, at::ScalarType type) {
    const at::Tensor& tensor = content.Get(name, where);
    CheckColumn(tensor, name, type, field.features.size(), where);
    return tensor;
  };
  field.seen = column("seen", at::kByte);
  field.agreement = column("agreement", at::kHalf).to(at::kFloat);
  field.max_weight = column("max_weight", at::kHalf).to(at::kFloat);
  field.text_space = entry("text_space");
  field.teacher_key = entry("teacher_key");
  field.lift_mode = entry("lift_mode");
  field.scene_hash = entry("scene_hash");
  field.Check(where);
  return field;
}

}  // namespace athanor
