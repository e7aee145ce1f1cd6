// Any 2D model, behind one interface: pictures to features, words to vectors of the same space.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <string>

#include "athanor/media/image.h"
#include "athanor/scenes/semantics/view_features.h"

namespace athanor {

// Gives vectors to the pixels of a picture. Semantic Gaussians (Guo et al. 2024), section III-B,
// has three families: pixel-level, instance-level and image-level models.
class Teacher {
 public:
  virtual ~Teacher() = default;

  // Names what is computed, weights and settings included: two teachers of one key give the same
  // features. Caches go by it.
  virtual std::string key() const = 0;
  virtual int dimension() const = 0;
  // The text space that the features live in ("clip-vit-b-32"); features and text vectors of one
  // space can be compared. Empty when words mean nothing to them (ids of a tracker).
  virtual std::string text_space() const = 0;
  // What the model tells apart, in words, when that is all it knows; empty for open vocabularies.
  virtual std::vector<std::string> classes() const { return {}; }

  // rgb: [H,W,3] sRGB, of any size. `name` is that of the view, for teachers that read files.
  // Not thread-safe. Throws Error.
  virtual ViewFeatures Describe(const Image& rgb, const std::string& name) = 0;
};

class TextEncoder {
 public:
  virtual ~TextEncoder() = default;

  virtual std::string space() const = 0;
  virtual int dimension() const = 0;
  // [P,D] float32, rows of length 1. Throws Error (prompt, reason) for a prompt that is empty or
  // that the encoder cannot read.
  virtual at::Tensor Encode(std::span<const std::string> prompts) = 0;
  // How the prompt was understood ("car + bus + truck"); empty where that is not to be told in
  // words.
  virtual std::string Explain(const std::string& /*prompt*/) const { return {}; }
};

}  // namespace athanor
