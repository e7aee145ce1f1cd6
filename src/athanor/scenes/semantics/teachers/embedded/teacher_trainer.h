// Trains the embedded teacher on labelled worlds.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "athanor/base/options.h"
#include "athanor/nn/adamw.h"
#include "athanor/nn/safetensors.h"
#include "athanor/scenes/semantics/teachers/embedded/labelled_worlds.h"
#include "athanor/scenes/semantics/teachers/embedded/network.h"
#include "athanor/scenes/semantics/teachers/embedded/words.h"

namespace athanor {

struct TrainTeacherOptions {
  int64_t steps = 6000;
  int pictures = 8;                        // per step; two crops of each
  int crop_px = 192;                       // side of a crop, a multiple of 32
  double zoom_low = 0.5, zoom_high = 1.1;  // of crops against the pictures
  int pixels = 192;                        // of each crop that the loss looks at
  double rate = 2e-3;                      // highest
  double decay = 0.4;                      // of the steps, in which the rate falls to 0
  bool bfloat16 = true;                    // twice as fast where the processor has it
  int64_t seed = 0;
  std::string wordnet = "/usr/share/wordnet";
  std::string start_from;  // checkpoint of another run; empty: from nothing
  std::string call;        // kinds by other names: "dog=animal,sheep="
};

OptionList Describe(TrainTeacherOptions& options);

struct TrainStepReport {
  double loss = 0, pairs = 0, groups = 0;
  double gradient_norm = 0, rate = 0;
};

// Not thread-safe; uses all threads.
class TeacherTrainer {
 public:
  // The worlds must use the lexicon. Both outlive this.
  TeacherTrainer(const LabelledWorlds& worlds, const Lexicon& lexicon,
                 const TrainTeacherOptions& options, const EmbeddedNetworkShape& shape);

  int64_t step() const { return step_; }
  // What a step does depends on the options, the worlds and its number alone. Throws Error when the
  // loss is not finite.
  TrainStepReport Step();

  // Everything that going on needs.
  SafeTensors Checkpoint() const;
  void Restore(const SafeTensors& file, std::string_view where);
  // Takes the networks of another run's checkpoint, which may have other words: those that both
  // know keep their vectors, the others begin anew.
  void StartFrom(const SafeTensors& checkpoint, std::string_view where);

  // The file that OpenEmbeddedTeacher reads: averaged weights in float16, shape, vocabulary.
  SafeTensors Export() const;
  int64_t CountParameters() const;

 private:
  void Average();

  const LabelledWorlds& worlds_;
  const Lexicon& lexicon_;
  TrainTeacherOptions options_;
  Vocabulary vocabulary_;
  EmbeddedNetworkShape shape_;
  ImageNetwork image_, average_image_;
  TextNetwork text_, average_text_;
  AdamW image_adam_, text_adam_;
  int64_t step_ = 0;
};

}  // namespace athanor
