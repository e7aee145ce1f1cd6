#include "athanor/loop/inference/models/open_model.h"

#include <ATen/core/Tensor.h>

#include "athanor/base/error.h"
#include "athanor/base/sha256.h"
#include "athanor/loop/labeling/words/word_labeler.h"
#include "athanor/nn/model_card.h"
#include "athanor/nn/safetensors.h"
#include "athanor/scenes/semantics/teachers/embedded/embedded_teacher.h"

namespace athanor {
namespace {

constexpr const char* kDetector = "detector";
constexpr const char* kTeacher = "teacher";
constexpr const char* kGaussians = "gaussians";

// Of the settings: what a teacher that its file alone does not tell computes.
constexpr const char* kTeacherKey = "teacher_key";

std::string Joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += (text.empty() ? "" : "\n") + line;
  return text;
}

// The file by which a teacher is known: its weights, or its card, which names them.
std::filesystem::path FileOfTeacher(const std::string& teacher, const TeacherWithWords& open) {
  if (!open.weights.empty()) return std::filesystem::absolute(open.weights);
  std::error_code error;
  if (std::filesystem::is_regular_file(teacher, error)) return std::filesystem::absolute(teacher);
  return std::filesystem::absolute(FindModelCard(teacher).path);
}

}  // namespace

ModelSpec SpecOfWeights(const std::string& name, const std::filesystem::path& weights,
                        const ModelSettings& settings) {
  CheckModelName(name);
  ATHANOR_CHECK(settings.max_boxes >= 1 && settings.max_boxes <= 500, "model ", name,
                ": expected 1 to 500 boxes, found ", settings.max_boxes);
  ATHANOR_CHECK(settings.regions >= 0 && settings.regions <= 64, "model ", name,
                ": expected 0 to 64 regions, found ", settings.regions);
  ModelSpec spec;
  spec.name = name;
  spec.weights = std::filesystem::absolute(weights);
  spec.weights_sha256 = Sha256OfFile(weights);
  spec.settings["device"] = settings.device;
  const bool is_card = weights.extension() == ".toml";
  const SafeTensors file = is_card ? SafeTensors() : ReadSafeTensors(weights);
  // The numbers behind "outputs" go up whenever the code gives other bits for the same weights.
  if (file.metadata.contains("architecture")) {
    spec.kind = kDetector;
    spec.settings["outputs"] = "detector 1";
    spec.settings["bfloat16"] = settings.bfloat16 ? "1" : "0";
    spec.settings["min_score"] = StrCat(settings.min_score);
    spec.settings["max_boxes"] = StrCat(settings.max_boxes);
  } else {
    ATHANOR_CHECK(is_card || file.metadata.contains("vocabulary"), weights.string(),
                  ": expected weights of a detector or of a teacher, found a file of something "
                  "else");
    ATHANOR_CHECK(settings.device == "cpu", weights.string(),
                  ": expected the device cpu for a teacher, found ", settings.device);
    spec.kind = kTeacher;
    spec.has_boxes = false;
    spec.settings["outputs"] = "teacher 1";
    spec.settings["regions"] = StrCat(settings.regions);
    if (is_card) spec.settings[kTeacherKey] = OpenTeacher(spec.weights.string())->key();
  }
  return spec;
}

ModelSpec SpecOfGaussians(const std::string& name, const std::string& teacher,
                          const std::vector<std::string>& texts) {
  CheckModelName(name);
  const TeacherWithWords open = OpenTeacherWithWords(teacher);
  ModelSpec spec;
  spec.name = name;
  spec.kind = kGaussians;
  spec.weights = FileOfTeacher(teacher, open);
  spec.weights_sha256 = Sha256OfFile(spec.weights);
  WordLabelOptions options;
  spec.settings = {{"outputs", "gaussians 1"},
                   {kTeacherKey, open.teacher->key()},
                   {"texts", Joined(texts)},
                   {"options", Describe(options).ToToml()}};
  OpenSceneModel(spec);  // words that cannot be read are told before any work
  return spec;
}

void CheckTeacher(const ModelSpec& spec, const Teacher& teacher) {
  const auto expected = spec.settings.find(kTeacherKey);
  ATHANOR_CHECK(expected == spec.settings.end() || expected->second == teacher.key(), "model ",
                spec.name, ": expected the teacher ", expected->second, ", found ", teacher.key());
}

std::unique_ptr<FrameModel> OpenFrameModel(const ModelSpec& spec) {
  const std::string found = Sha256OfFile(spec.weights);
  ATHANOR_CHECK(found == spec.weights_sha256, spec.weights.string(), ": expected the weights ",
                spec.weights_sha256.substr(0, 12), " of model ", spec.name, ", found ",
                found.substr(0, 12));
  if (spec.kind == kDetector) return OpenDetectorModel(spec);
  if (spec.kind == kGaussians) return OpenSceneModel(spec);
  ATHANOR_CHECK(spec.kind == kTeacher, "model ", spec.name, ": there is no kind '", spec.kind, "'");
  return OpenTeacherModel(spec);
}

std::vector<float> EncodeWords(const ModelSpec& spec, const std::string& words) {
  ATHANOR_CHECK(spec.kind != kDetector, "model ", spec.name, ": expected a teacher, which knows ",
                "words, found a ", spec.kind);
  const std::unique_ptr<TextEncoder> text = OpenTeacherWithWords(spec.weights.string()).encoder;
  const at::Tensor vector = text->Encode(std::span(&words, 1)).contiguous();
  return {vector.data_ptr<float>(), vector.data_ptr<float>() + vector.numel()};
}

}  // namespace athanor
