// A network of fixed classes as a teacher of open words (ConSE: Norouzi et al., "Zero-shot learning
// by convex combination of semantic embeddings", ICLR 2014): the vector of a pixel is the mean of
// the text vectors of its most probable classes, weighted by their probabilities. It knows where
// things are, the text space knows what is like what: "vehicle" finds cars.
#pragma once

#include "athanor/nn/model_store.h"
#include "athanor/scenes/semantics/teachers/teacher.h"
#include "athanor/scenes/semantics/teachers/window_network.h"

namespace athanor {

class ConseTeacher : public Teacher {
 public:
  // Card of kind "closed-vocabulary": file "network", port "logits", labels with phrases, numbers
  // "top" (classes that are mixed), "cell" (pixels a cell), "overlap", "sureness", "scale1",
  // "scale2" ...
  ConseTeacher(const ModelCard& card, const ModelStore& store, TextEncoder& words);

  std::string key() const override { return key_; }
  int dimension() const override { return static_cast<int>(vectors_.size(1)); }
  std::string text_space() const override { return text_space_; }
  std::vector<std::string> classes() const override { return labels_; }
  ViewFeatures Describe(const Image& rgb, const std::string& name) override;

  // [rows,columns,classes] f32, summing to 1: what the network itself says.
  at::Tensor Probabilities(const Image& rgb);
  // [rows,columns,D] of probabilities; only the `top` largest count, and sum to 1.
  static at::Tensor Mix(const at::Tensor& probabilities, const at::Tensor& vectors, int top);

 private:
  std::string key_, text_space_;
  std::vector<std::string> labels_;
  int cell_px_, top_;
  at::Tensor vectors_;  // [classes,D]
  WindowNetwork network_;
};

// Scales, overlap and the rest of "numbers" for networks that see windows.
WindowOptions WindowOptionsOf(const ModelCard& card);
// What stands for each label when it is looked up: itself, or the card's phrase for it.
std::vector<std::string> LabelPhrases(const ModelCard& card);
// Of text vectors, for keys: another encoder of a space gives others.
std::string VectorsKey(const at::Tensor& vectors);
// Of a card and its files, for keys of teachers.
std::string CardKey(const ModelCard& card, const ModelStore& store);

}  // namespace athanor
