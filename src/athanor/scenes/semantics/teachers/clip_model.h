// CLIP and its kin (Radford et al. 2021): pictures and phrases to vectors of one space.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "athanor/media/image.h"
#include "athanor/nn/foreign_model.h"
#include "athanor/nn/model_card.h"
#include "athanor/nn/model_store.h"
#include "athanor/scenes/semantics/teachers/clip_tokenizer.h"
#include "athanor/scenes/semantics/teachers/teacher.h"

namespace athanor {

// Card of kind "clip": file "network" (TorchScript, methods encode_image and encode_text) or files
// "image" and "text" (ONNX), and "vocabulary"; numbers "dimension", "context", "batch"; ports
// "image_output" and "text_output" where a file has several outputs.
class ClipImageEncoder {
 public:
  ClipImageEncoder(const ModelCard& card, const ModelStore& store);

  int dimension() const { return dimension_; }
  // [N,D] f32, rows of length 1, of pictures of any size (squares keep their shape), in batches.
  // Throws Error when the network gives another shape or NaN.
  at::Tensor Encode(const std::vector<Image>& pictures);

 private:
  ModelCard card_;
  std::unique_ptr<ForeignModel> model_;
  int dimension_, batch_;
};

class ClipTextEncoder : public TextEncoder {
 public:
  ClipTextEncoder(const ModelCard& card, const ModelStore& store);

  std::string space() const override { return card_.text_space; }
  int dimension() const override { return dimension_; }
  // Prompts are read as they are.
  at::Tensor Encode(std::span<const std::string> prompts) override;

 private:
  ModelCard card_;
  ClipTokenizer tokenizer_;
  std::unique_ptr<ForeignModel> model_;
  int dimension_, context_;
};

}  // namespace athanor
