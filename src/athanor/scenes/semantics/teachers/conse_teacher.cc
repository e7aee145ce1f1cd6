#include "athanor/scenes/semantics/teachers/conse_teacher.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/hash.h"

namespace athanor {
std::vector<std::string> LabelPhrases(const ModelCard& card) {
  std::vector<std::string> phrases;
  for (const std::string& label : card.labels) {
    const auto found = card.phrases.find(label);
    phrases.push_back(found == card.phrases.end() ? label : found->second);
  }
  return phrases;
}

std::string VectorsKey(const at::Tensor& vectors) {
  const at::Tensor dense = vectors.contiguous();
  return HexDigits(HashBytes({static_cast<const char*>(dense.data_ptr()), dense.nbytes()}));
}

WindowOptions WindowOptionsOf(const ModelCard& card) {
  WindowOptions options;
  options.overlap = card.Number("overlap", options.overlap);
  options.sureness = card.Number("sureness", options.sureness);
  std::vector<double> scales;
  for (int i = 1; card.numbers.contains("scale" + std::to_string(i)); ++i) {
    scales.push_back(card.Number("scale" + std::to_string(i), 1));
  }
  if (!scales.empty()) options.scales = std::move(scales);
  return options;
}

std::string CardKey(const ModelCard& card, const ModelStore& store) {
  uint64_t hash = HashBytes(ReadFile(card.path));
  for (const ModelFile& file : card.files) {
    const auto path = store.Find(card, file);
    if (path.empty()) continue;
    // Without a digest on the card, size and time tell one file from another well enough.
    const std::string digest =
        !file.sha256.empty()
            ? file.sha256
            : StrCat(std::filesystem::file_size(path), " ",
                     std::filesystem::last_write_time(path).time_since_epoch().count());
    hash = HashBytes(file.name + digest, hash);
  }
  return card.name + "-" + HexDigits(hash);
}

ConseTeacher::ConseTeacher(const ModelCard& card, const ModelStore& store, TextEncoder& words)
    : key_(CardKey(card, store)),
      text_space_(card.text_space),
      labels_(LabelPhrases(card)),
      cell_px_(static_cast<int>(card.Number("cell", 8))),
      top_(static_cast<int>(card.Number("top", 3))),
      vectors_(words.Encode(labels_)),
      network_(OpenForeignModel(store.Require(card, "network")), card, card.Port("logits"),
               static_cast<int>(card.labels.size()), card.Number("channels_last", 0) != 0, [&card] {
                 WindowOptions options = WindowOptionsOf(card);
                 options.softmax = true;
                 return options;
               }()) {
  ATHANOR_CHECK(!card.labels.empty(), card.path.string(), ": expected 'labels'");
  ATHANOR_CHECK(cell_px_ >= 1 && cell_px_ <= 256, card.path.string(), ": cell ", cell_px_,
                ", expected 1 to 256 pixels");
  ATHANOR_CHECK(top_ >= 1, card.path.string(), ": top ", top_, ", expected at least 1");
  ATHANOR_CHECK(words.space() == text_space_, card.path.string(), ": text space ", text_space_,
                ", found an encoder of ", words.space());
  // Another encoder of the same space gives other vectors.
  key_ += '-';
  key_ += VectorsKey(vectors_);
}

at::Tensor ConseTeacher::Probabilities(const Image& rgb) {
  return network_.Map(rgb, GridOf(rgb, cell_px_));
}

at::Tensor ConseTeacher::Mix(const at::Tensor& probabilities, const at::Tensor& vectors, int top) {
  const int64_t count = std::min<int64_t>(top, probabilities.size(-1));
  const auto [largest, index] = probabilities.topk(count, -1);
  const at::Tensor kept = at::zeros_like(probabilities).scatter_(-1, index, largest);
  return at::matmul(kept / largest.sum(-1, true).clamp_min(1e-12), vectors);
}

ViewFeatures ConseTeacher::Describe(const Image& rgb, const std::string& name) {
  ViewFeatures features;
  features.width_px = rgb.width;
  features.height_px = rgb.height;
  features.features = Mix(Probabilities(rgb), vectors_, top_).to(at::kHalf).contiguous();
  features.Check(name);
  return features;
}

}  // namespace athanor
