#include "athanor/scenes/semantics/teachers/clip_model.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "athanor/base/error.h"
#include "athanor/scenes/semantics/teachers/window_network.h"

namespace athanor {
namespace {

std::unique_ptr<ForeignModel> OpenHalf(const ModelCard& card, const ModelStore& store,
                                       const std::string& half) {
  for (const ModelFile& file : card.files) {
    if (file.role == "network") {
      return OpenForeignModel(store.Require(card, "network"), "encode_" + half);
    }
  }
  return OpenForeignModel(store.Require(card, half));
}

std::vector<std::string> OutputOf(const ModelCard& card, const std::string& port) {
  const auto found = card.ports.find(port);
  return found == card.ports.end() ? std::vector<std::string>()
                                   : std::vector<std::string>{found->second};
}

// Rows of length 1, checked.
at::Tensor Normalised(const at::Tensor& rows, int64_t count, int dimension,
                      const std::string& where) {
  ATHANOR_CHECK(rows.dim() == 2 && rows.size(0) == count && rows.size(1) == dimension, where,
                ": expected vectors [", count, ",", dimension, "], found ", rows.sizes());
  const at::Tensor values = rows.to(at::kFloat);
  const at::Tensor lengths = values.norm(2, 1, true);
  ATHANOR_CHECK(at::isfinite(values).all().item<bool>() && lengths.min().item<float>() > 0, where,
                ": a vector is NaN, infinite or of length 0");
  return values / lengths;
}

}  // namespace

ClipImageEncoder::ClipImageEncoder(const ModelCard& card, const ModelStore& store)
    : card_(card),
      model_(OpenHalf(card, store, "image")),
      dimension_(static_cast<int>(card.Number("dimension", 512))),
      batch_(static_cast<int>(card.Number("batch", 16))) {
  ATHANOR_CHECK(card.input.width_px > 0 && card.input.height_px > 0, card.path.string(),
                ": [input] should say width and height");
  ATHANOR_CHECK(model_->inputs().size() == 1, card.path.string(),
                ": the image encoder should have one input, found ", model_->inputs().size());
  const auto& shape = model_->inputs().front().shape;
  if (!shape.empty() && shape[0] > 0) batch_ = static_cast<int>(shape[0]);
  ATHANOR_CHECK(batch_ >= 1 && batch_ <= 4096, card.path.string(), ": batch ", batch_);
}

at::Tensor ClipImageEncoder::Encode(const std::vector<Image>& pictures) {
  std::vector<at::Tensor> found;
  for (size_t begin = 0; begin < pictures.size(); begin += static_cast<size_t>(batch_)) {
    const size_t end = std::min(pictures.size(), begin + static_cast<size_t>(batch_));
    std::vector<at::Tensor> inputs;
    for (size_t i = begin; i < end; ++i) {
      inputs.push_back(
          InputTensor(pictures[i], card_.input.width_px, card_.input.height_px, card_.input));
    }
    // An export of a fixed batch is fed a whole one.
    const auto& shape = model_->inputs().front().shape;
    const bool is_fixed = !shape.empty() && shape[0] > 0;
    while (is_fixed && static_cast<int>(inputs.size()) < batch_) inputs.push_back(inputs.back());
    const auto outputs = model_->Run({{model_->inputs().front().name, at::cat(inputs)}},
                                     OutputOf(card_, "image_output"));
    found.push_back(
        Normalised(outputs.front(), static_cast<int64_t>(inputs.size()), dimension_, card_.name)
            .slice(0, 0, static_cast<int64_t>(end - begin)));
  }
  return found.empty() ? at::empty({0, dimension_}) : at::cat(found);
}

ClipTextEncoder::ClipTextEncoder(const ModelCard& card, const ModelStore& store)
    : card_(card),
      tokenizer_(store.Require(card, "vocabulary")),
      model_(OpenHalf(card, store, "text")),
      dimension_(static_cast<int>(card.Number("dimension", 512))),
      context_(static_cast<int>(card.Number("context", 77))) {
  ATHANOR_CHECK(model_->inputs().size() == 1, card.path.string(),
                ": the text encoder should have one input, found ", model_->inputs().size());
}

at::Tensor ClipTextEncoder::Encode(std::span<const std::string> prompts) {
  std::vector<at::Tensor> found;
  for (const std::string& prompt : prompts) {
    const at::Tensor tokens =
        at::tensor(tokenizer_.EncodePadded(prompt, context_)).to(at::kLong).unsqueeze(0);
    const auto outputs =
        model_->Run({{model_->inputs().front().name, tokens}}, OutputOf(card_, "text_output"));
    found.push_back(Normalised(outputs.front(), 1, dimension_, card_.name));
  }
  return found.empty() ? at::empty({0, dimension_}) : at::cat(found);
}

}  // namespace athanor
