// Boxes of things that nobody has labelled, by words: each moment of a log as a scene of Gaussians,
// a 2D teacher's features lifted onto them, phrases scored against other phrases, and boxes around
// what they are true of. Tracking joins the boxes of moments to labels (label_set.h).
#pragma once

#include <string>
#include <vector>

#include "athanor/base/options.h"
#include "athanor/datasets/log.h"
#include "athanor/detection/evaluation/nuscenes_eval.h"
#include "athanor/loop/labeling/words/moment_scene.h"
#include "athanor/loop/labeling/words/word_boxes.h"
#include "athanor/scenes/semantics/teachers/teacher.h"

namespace athanor {

struct WordLabelOptions {
  MomentOptions moment;
  WordBoxOptions boxes;
  // Of relevancy (LERF, Kerr et al. 2023). At 30, that of a softmax over phrases is what the
  // embedded teacher was trained with.
  double temperature = 30;
};
OptionList Describe(WordLabelOptions& options);

// A phrase, and the class whose boxes it gives.
struct AskedWords {
  std::string text;
  int class_index = 0;
};
// The class of nuScenes that the words fit best, by WordNet: "dog" is an animal; or the one that is
// named behind a "=". Throws Error for words that fit none, and for another class.
AskedWords AskFor(const std::string& text);

// What stands in streets, and words that mean anything: what phrases are compared with when nobody
// says otherwise.
extern const std::vector<std::string> kStreetWords;

class WordLabeler {
 public:
  // `negatives`: what each phrase is compared with, beside the other phrases; empty: the teacher's
  // classes, or kStreetWords. Left out are those that the encoder cannot read, and for a phrase
  // those that are another word for it, a kind of it, or what it is a kind of. Both pointers must
  // outlive this. Throws Error for a phrase that the encoder cannot read, or that nothing is left
  // to be compared with.
  WordLabeler(Teacher* teacher, TextEncoder* encoder, std::vector<AskedWords> asked,
              const std::vector<std::string>& negatives, const WordLabelOptions& options);

  // Per phrase, what it is compared with.
  const std::vector<std::vector<std::string>>& negatives() const { return negatives_; }

  struct Found {
    std::vector<NuscenesBox> boxes;  // world frame
    int64_t gaussians = 0, seen = 0, pictures = 0;
    // In the teacher's space, of length 1 or zero: the mean over the Gaussians of the scene [D],
    // and over those in each box [boxes,D]. Empty when asked without.
    at::Tensor vector, box_vectors;
  };
  // The boxes of a moment (moment_scene.h); none when the scene is empty. Throws Error.
  Found Look(const MomentScene& scene, bool with_vectors = false);
  Found Look(const Log& log, int frame) {
    return Look(MakeMomentScene(log, frame, options_.moment));
  }

 private:
  Teacher* teacher_;
  TextEncoder* encoder_;
  std::vector<AskedWords> asked_;
  std::vector<std::vector<std::string>> negatives_;
  WordLabelOptions options_;
};

}  // namespace athanor
