// The models that an inference can run: our detector, teachers of pictures and words, and scenes of
// Gaussians that are asked for words. (An ensemble is several of them, whose boxes are compared:
// inference_table.h.)
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/loop/inference/frame_model.h"
#include "athanor/scenes/semantics/teachers/open_teacher.h"

namespace athanor {

struct ModelSettings {
  std::string device = "cpu";  // part of the key: other devices give other last bits
  bool bfloat16 = true;        // detectors: convolutions compute in bfloat16
  double min_score = 0.02;     // detectors: boxes below are not kept
  int max_boxes = 200;         // detectors: of a frame, 1 .. 500
  int regions = 12;            // teachers: of a picture, 0 .. 64
};

// Says what a file of weights is, by its content, and names it; a .toml file is the card of a
// teacher (nn/model_card.h). Throws Error for a file of something else, a name or settings that
// cannot be.
ModelSpec SpecOfWeights(const std::string& name, const std::filesystem::path& weights,
                        const ModelSettings& settings = {});

// Each moment as a scene of Gaussians that carry a teacher's features, asked for words: boxes of
// their classes, with vectors (loop/labeling/words/word_labeler.h). `teacher` as OpenTeacher has
// it. `texts` are words, or WORDS=CLASS; `negatives` may be empty. Throws Error.
ModelSpec SpecOfGaussians(const std::string& name, const std::string& teacher,
                          const std::vector<std::string>& texts);

// Throws Error also when the file is not the one that the spec was made of.
std::unique_ptr<FrameModel> OpenFrameModel(const ModelSpec& spec);

// The vector of a phrase in the space of a teacher's vectors, of length 1. Throws Error for a model
// that knows no words, and for words that it does not know.
std::vector<float> EncodeWords(const ModelSpec& spec, const std::string& words);

// How the kinds are made; for open_model.cc.
std::unique_ptr<FrameModel> OpenDetectorModel(const ModelSpec& spec);
std::unique_ptr<FrameModel> OpenTeacherModel(const ModelSpec& spec);
std::unique_ptr<FrameModel> OpenSceneModel(const ModelSpec& spec);
// Throws Error unless the teacher computes what the spec was made of.
void CheckTeacher(const ModelSpec& spec, const Teacher& teacher);

}  // namespace athanor
