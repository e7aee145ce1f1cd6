#include "athanor/loop/inference/models/open_model.h"

#include <ATen/core/Tensor.h>

#include "athanor/base/error.h"
#include "athanor/base/sha256.h"
#include "athanor/nn/safetensors.h"
#include "athanor/scenes/semantics/teachers/embedded/embedded_teacher.h"

namespace athanor {
namespace {

constexpr const char* kDetector = "detector";
constexpr const char* kTeacher = "teacher";

}  // namespace

ModelSpec SpecOfWeights(const std::string& name, const std::filesystem::path& weights,
                        const ModelSettings& settings) {
  CheckModelName(name);
  ATHANOR_CHECK(settings.max_boxes >= 1 && settings.max_boxes <= 500, "model ", name,
                ": expected 1 to 500 boxes, found ", settings.max_boxes);
  ATHANOR_CHECK(settings.regions >= 0 && settings.regions <= 64, "model ", name,
                ": expected 0 to 64 regions, found ", settings.regions);
  const SafeTensors file = ReadSafeTensors(weights);
  ModelSpec spec;
  spec.name = name;
  spec.weights = std::filesystem::absolute(weights);
  spec.weights_sha256 = Sha256OfFile(weights);
  spec.settings["device"] = settings.device;
  // The numbers behind "outputs" go up whenever the code gives other bits for the same weights.
  if (file.metadata.contains("architecture")) {
    spec.kind = kDetector;
    spec.settings["outputs"] = "detector 1";
    spec.settings["bfloat16"] = settings.bfloat16 ? "1" : "0";
    spec.settings["min_score"] = StrCat(settings.min_score);
    spec.settings["max_boxes"] = StrCat(settings.max_boxes);
  } else {
    ATHANOR_CHECK(file.metadata.contains("vocabulary"), weights.string(),
                  ": expected weights of a detector or of a teacher, found a file of something "
                  "else");
    ATHANOR_CHECK(settings.device == "cpu", weights.string(),
                  ": expected the device cpu for a teacher, found ", settings.device);
    spec.kind = kTeacher;
    spec.has_boxes = false;
    spec.settings["outputs"] = "teacher 1";
    spec.settings["regions"] = StrCat(settings.regions);
  }
  return spec;
}

std::unique_ptr<FrameModel> OpenFrameModel(const ModelSpec& spec) {
  const std::string found = Sha256OfFile(spec.weights);
  ATHANOR_CHECK(found == spec.weights_sha256, spec.weights.string(), ": expected the weights ",
                spec.weights_sha256.substr(0, 12), " of model ", spec.name, ", found ",
                found.substr(0, 12));
  if (spec.kind == kDetector) return OpenDetectorModel(spec);
  ATHANOR_CHECK(spec.kind == kTeacher, "model ", spec.name, ": there is no kind '", spec.kind, "'");
  return OpenTeacherModel(spec);
}

std::vector<float> EncodeWords(const ModelSpec& spec, const std::string& words) {
  ATHANOR_CHECK(spec.kind == kTeacher, "model ", spec.name, ": expected a teacher, which knows ",
                "words, found a ", spec.kind);
  const EmbeddedPair pair = OpenEmbedded(spec.weights);
  const at::Tensor vector = pair.text->Encode(std::span(&words, 1)).contiguous();
  return {vector.data_ptr<float>(), vector.data_ptr<float>() + vector.numel()};
}

}  // namespace athanor
