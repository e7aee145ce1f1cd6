// What the semantic commands share: a scene with its features and what encodes words for them.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "athanor/scenes/gaussians/open_scene.h"
#include "athanor/scenes/semantics/lifting/feature_cache.h"
#include "athanor/scenes/semantics/lifting/lift_features.h"
#include "athanor/scenes/semantics/query/protocols.h"
#include "athanor/scenes/semantics/query/scores.h"

namespace athanor {

// A scene and its cameras: those of the run, or for a bare file those of the capture `input`.
// Throws Error when there are none.
OpenedScene OpenSceneWithCapture(const std::filesystem::path& run_or_file,
                                 const std::filesystem::path& input);

// Lifts a teacher's features from `images` of the capture, photographed or rendered, onto a scene
// at rest. The field is without its origin: SignField.
SemanticField LiftFromViews(const OpenedScene& scene, const std::vector<int>& images,
                            const LiftOptions& options, bool rendered, FeatureCache* cache,
                            LiftSummary* summary);
// Says in the field where its features come from and which file's Gaussians have them.
void SignField(const Teacher& teacher, const std::string& scene_hash, SemanticField* field);

struct SemanticScene {
  OpenedScene opened;
  GaussianModel model;
  std::vector<std::unique_ptr<SemanticField>> loaded;
  std::unique_ptr<FieldSet> fields;
  std::unique_ptr<TextEncoder> encoder;

  QueriedScene Queried() const {
    return {&model, RenderOptionsOf(opened.options).project, fields.get(), encoder.get()};
  }
};

// Opens the scene with these files of features; with none, with those beside the scene: the lifted
// one and the 3D network's, as far as they are there. `input` may be empty: then a bare file has no
// capture. `time`: of a scene that moves. Throws Error (path, what is missing, how to make it).
SemanticScene OpenSemanticScene(const std::filesystem::path& run_or_file,
                                const std::filesystem::path& input,
                                const std::vector<std::filesystem::path>& fields,
                                const std::string& combine, int64_t time = 0);

// What prompts are compared with: the words of `given`, between commas; when it is empty, the
// classes that the field's teacher tells apart, or LERF's, as far as the encoder can read them.
// Throws Error when it can read none.
std::vector<std::string> ChooseNegatives(const std::string& given, const SemanticField& field,
                                         TextEncoder* encoder);
// A line for each prompt of which the encoder says how it understood it, if not literally.
void PrintUnderstanding(const TextEncoder& encoder, const std::vector<std::string>& prompts);

// Images of the capture, evenly spaced, `count` at most; none without a capture.
std::vector<int> ImagesToShow(const OpenedScene& scene, int count);
// Views to draw a scene from: evenly spaced photographs' places of the run, or an orbit.
std::vector<PathView> ViewsToShow(const OpenedScene& scene, int count, int width_px);

// A label per line; blank lines are skipped. Throws Error when there is none, or one twice.
std::vector<std::string> ReadLabelFile(const std::filesystem::path& path);

}  // namespace athanor
