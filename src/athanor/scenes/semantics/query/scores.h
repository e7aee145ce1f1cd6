// What words mean to Gaussians: cosines, relevancies, labels.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "athanor/scenes/semantics/semantic_field.h"
#include "athanor/scenes/semantics/teachers/teacher.h"

namespace athanor {

// What a phrase is compared with, so that "relevant" has a zero (LERF, Kerr et al. 2023).
inline const std::vector<std::string> kNegativePhrases = {"object", "things", "stuff", "texture"};
inline constexpr double kRelevancyTemperature = 10;
// A Gaussian that is nearer to the phrase than to every negative has a relevancy above this.
inline constexpr double kNeutralRelevancy = 0.5;
// A negative whose text vector has more than this cosine with the prompt's means the same, and does
// not speak against it. In CLIP ViT-B/32, car and vehicle have 0.96, dog and cat 0.94.
inline constexpr double kSameMeaning = 0.95;
// Among the classes of a closed vocabulary, a prompt means the nearest, and those that are nearer
// to it than the nearest less this: car, truck and bus for "vehicle". One that is a class means
// that.
inline constexpr double kMeaningMargin = 0.03, kIsClass = 0.99;

// How a field that was lifted from pictures and one that a 3D network predicted are put together
// (Semantic Gaussians, Guo et al. 2024, section III-D, and its code; fill is ours).
enum class Combine {
  kMax,     // the larger of the two cosines
  kConcat,  // the cosine of both vectors, one behind the other: the mean of the two
  kFill,    // that of the first field that saw the Gaussian: others speak where it is silent
};
Combine CombineFromName(const std::string& name);

// The fields of one scene that a question goes to: one, or two of the same text space. Points to
// them.
class FieldSet {
 public:
  // Throws Error for none, for fields of different sizes, spaces or lengths, and when no Gaussian
  // was seen by any.
  FieldSet(std::vector<const SemanticField*> fields, Combine combine);

  int64_t size() const { return fields_[0]->size(); }
  int dimension() const { return fields_[0]->dimension(); }
  // [N] u8: seen by some field.
  const at::Tensor& seen() const { return seen_; }
  const SemanticField& first() const { return *fields_[0]; }

  // [N,P] cosines with text vectors [P,D]. A field that never saw a Gaussian has no say in it; 0
  // where none did.
  at::Tensor Cosines(const at::Tensor& text) const;

 private:
  std::vector<const SemanticField*> fields_;
  Combine combine_;
  at::Tensor seen_;
};

// min over negatives of the softmax of (phrase, negative): 1 / (1 + exp(T (max_n negative_n -
// phrase))). cosines: [N,P], negatives: [N,M], M >= 1 -> [N,P] in [0,1]. excluded: [P,M] bool,
// negatives that are left out for a phrase, never all of them; or undefined.
at::Tensor Relevancy(const at::Tensor& cosines, const at::Tensor& negatives,
                     double temperature = kRelevancyTemperature, const at::Tensor& excluded = {});

struct ScoredPrompts {
  at::Tensor scores;     // [N,P] f32 in [0,1]; 0 where never seen
  double neutral = 0.5;  // above this a Gaussian belongs to the phrase
};
// Relevancies of prompts, each against the negatives that do not mean the same (all of them, when
// all do; which do is another question when they are the first field's classes); for features that
// are labels, where negatives mean nothing, the cosines. Any number of prompts that memory holds.
// Throws what the encoder throws, and Error for no prompt or a blank one, or for vectors of another
// length than the features'.
// `all_negatives`: each counts for each prompt, as LERF's protocol has it.
ScoredPrompts ScorePrompts(const FieldSet& fields, TextEncoder* encoder,
                           std::span<const std::string> prompts,
                           const std::vector<std::string>& negatives = kNegativePhrases,
                           double temperature = kRelevancyTemperature, bool all_negatives = false);

struct GaussianLabels {
  at::Tensor labels;      // [N] i32; -1 where never seen
  at::Tensor confidence;  // [N] f32: softmax of the label's score among all
};
// The label of every Gaussian: argmax of cosines over prompts, taken in blocks, so that thousands
// of labels need no N x P table. softmax(T cosine).
GaussianLabels LabelGaussians(const FieldSet& fields, TextEncoder* encoder,
                              std::span<const std::string> labels, double temperature);

}  // namespace athanor
