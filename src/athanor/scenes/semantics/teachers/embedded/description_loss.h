// The loss that brings pixels near the phrases that are true of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "athanor/scenes/semantics/teachers/embedded/lexicon.h"

namespace athanor {

// Phrases of which one is true of a pixel: names of all kinds, one kind in each colour, its parts.
struct PhraseGroup {
  int64_t first = 0, count = 0;  // consecutive phrases
  at::Tensor pixels;             // [n] i64: those that belong to exactly one of them
  at::Tensor targets;            // [n] i64, 0..count-1: which
  at::Tensor excluded;           // [n,count] bool: phrases that say nothing against the target
  double weight = 1;
};

struct DescriptionTargets {
  at::Tensor truth;  // [N,T] i8: 1 true, 0 false, -1 the labels do not say
  std::vector<PhraseGroup> groups;
};

// What training uses: phrases are true of pixels above this cosine, and how sharply.
constexpr double kDescriptionCosine = 0.25, kDescriptionScale = 30;

struct DescriptionLoss {
  at::Tensor pairs;   // of all pixels with all phrases
  at::Tensor groups;  // weighted sum
  at::Tensor neutral;
  at::Tensor total;
};

// pixels [N,D], phrases [T,D] and neutral [D] are unit vectors; s is `scale`.
//
// A pixel x and a phrase t agree by z = s (x.t - c), c = kDescriptionCosine. As SigLIP does (Zhai
// et al. 2023), each pair has a logistic loss of its own, since several descriptions are true at
// once. Within a group a softmax over s x.t makes the right phrase the nearest. The neutral phrase
// n ("thing") is held at x.n = c, so that relevancy against neutral words (Kerr et al. 2023, LERF)
// is above one half where the phrase is true.
DescriptionLoss ComputeDescriptionLoss(const at::Tensor& pixels, const at::Tensor& phrases,
                                       const at::Tensor& neutral, double scale,
                                       const DescriptionTargets& targets);

// The phrases of one step, and how they hang together.
struct DescriptionSet {
  std::vector<Phrase> phrases;
  struct Group {
    int64_t first = 0, count = 0;
    // Phrases that name the same kinds as another do not speak against it.
    bool names_kinds = false;
    double weight = 0.1;
  };
  std::vector<Group> groups;
};

// Names of all kinds; one kind in all colours, and all parts of one, for kinds that are seen;
// descriptions that are true or nearly true of labels that are seen.
DescriptionSet SampleDescriptions(const Lexicon& lexicon, std::span<const PixelLabel> seen,
                                  Random& random);

// Targets of pixels with the labels `seen[of_pixel[i]]`.
DescriptionTargets MakeTargets(const Lexicon& lexicon, const DescriptionSet& set,
                               std::span<const PixelLabel> seen, std::span<const int32_t> of_pixel);

}  // namespace athanor
