#include "athanor/cli/semantic_scene.h"

#include <algorithm>
#include <iostream>
#include <span>
#include <sstream>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/datasets/dynamic_capture.h"
#include "athanor/scenes/gaussians/evaluate.h"
#include "athanor/scenes/gaussians/show.h"
#include "athanor/scenes/semantics/teachers/id_maps.h"
#include "athanor/scenes/semantics/teachers/open_teacher.h"

namespace athanor {

namespace fs = std::filesystem;

OpenedScene OpenSceneWithCapture(const fs::path& run_or_file, const fs::path& input) {
  OpenedScene scene = OpenScene(run_or_file, input.empty());
  if (!input.empty()) scene.capture = ReadPosedImages(input);
  ATHANOR_CHECK(scene.capture.has_value(), run_or_file.string(),
                ": a bare file has no photographs: expected the folder of a run, or --input "
                "CAPTURE");
  return scene;
}

SemanticField LiftFromViews(const OpenedScene& scene, const std::vector<int>& images,
                            const LiftOptions& options, bool rendered, FeatureCache* cache,
                            LiftSummary* summary) {
  ViewCache photographs(*scene.capture, ViewOptionsOf(scene.options));
  const auto model = GaussianModel::FromCloud(scene.cloud, /*with_moments=*/false, c10::kCPU);
  const RenderOptions render = RenderOptionsOf(scene.options);
  GaussianRenderer renderer;
  std::vector<PinholeView> views;
  for (const int image : images) {
    views.push_back(
        MakeView(photographs.camera(image), scene.capture->images[image].camera_from_world));
  }
  const auto features = [&](int v) {
    const std::string& name = scene.capture->images[images[v]].name;
    if (!rendered) return cache->Get(name, photographs.Get(images[v])->rgb);
    renderer.Render(model, views[v], render);
    return cache->Get(name, ToImage(renderer.image));
  };
  return LiftFeatures(model, views, render.project, features, options, summary);
}

void SignField(const Teacher& teacher, const std::string& scene_hash, SemanticField* field) {
  field->teacher_key = teacher.key();
  field->text_space = teacher.text_space();
  field->classes = teacher.classes();
  field->scene_hash = scene_hash;
  if (const auto* maps = dynamic_cast<const IdMapTeacher*>(&teacher)) {
    field->labels = maps->labels();
  }
}

SemanticScene OpenSemanticScene(const fs::path& run_or_file, const fs::path& input,
                                const std::vector<fs::path>& given, const std::string& combine,
                                int64_t time) {
  OpenedScene opened = OpenScene(run_or_file, input.empty(), time);
  if (!input.empty() && opened.times == 1) opened.capture = ReadPosedImages(input);
  if (!input.empty() && opened.times > 1) {
    std::vector<PosedImages> captures = ReadDynamicCapture(input);
    ATHANOR_CHECK(std::ssize(captures) == opened.times, input.string(),
                  ": expected photographs of ", opened.times, " times, found ", captures.size());
    opened.capture = std::move(captures[time]);
  }
  std::vector<fs::path> paths = given;
  if (paths.empty()) {
    std::error_code error;
    for (const char* tag : {"", "3d"}) {
      const fs::path path = SemanticFieldPath(opened.file, tag);
      if (fs::exists(path, error)) paths.push_back(path);
    }
    ATHANOR_CHECK(!paths.empty(), SemanticFieldPath(opened.file).string(),
                  ": there is none; make it with: athanor semantic lift ", run_or_file.string(),
                  " --teacher NAME");
  }
  std::vector<std::unique_ptr<SemanticField>> loaded;
  std::vector<const SemanticField*> pointers;
  for (const fs::path& path : paths) {
    loaded.push_back(std::make_unique<SemanticField>(ReadSemanticField(path)));
    loaded.back()->CheckScene(opened.file, opened.cloud.size(), path.string());
    pointers.push_back(loaded.back().get());
  }
  auto fields = std::make_unique<FieldSet>(pointers, CombineFromName(combine));
  const SemanticField& first = *pointers[0];
  ATHANOR_CHECK(!first.labels.empty() || !first.text_space.empty(), paths[0].string(),
                ": the features of '", first.teacher_key, "' have no words");
  std::unique_ptr<TextEncoder> encoder =
      first.labels.empty() ? OpenTextEncoder(first.text_space) : MakeLabelEncoder(first.labels);
  auto model = GaussianModel::FromCloud(opened.cloud, /*with_moments=*/false, c10::kCPU);
  return {std::move(opened), std::move(model), std::move(loaded), std::move(fields),
          std::move(encoder)};
}

std::vector<std::string> ChooseNegatives(const std::string& given, const SemanticField& field,
                                         TextEncoder* encoder) {
  std::vector<std::string> negatives;
  if (!given.empty()) {
    std::istringstream words(given);
    for (std::string word; std::getline(words, word, ',');) negatives.push_back(word);
    return negatives;
  }
  if (!field.labels.empty()) return kNegativePhrases;  // labels are not compared with any
  if (!field.classes.empty()) return field.classes;
  for (const std::string& phrase : kNegativePhrases) {
    try {
      encoder->Encode(std::span(&phrase, 1));
      negatives.push_back(phrase);
    } catch (const Error&) {
      // A table of names does not know all of them.
    }
  }
  ATHANOR_CHECK(!negatives.empty(), "text space '", encoder->space(),
                "' knows none of LERF's negatives; name others: --negatives WORD,WORD");
  return negatives;
}

void PrintUnderstanding(const TextEncoder& encoder, const std::vector<std::string>& prompts) {
  constexpr size_t kLines = 40, kCharacters = 100;
  for (size_t p = 0; p < std::min(prompts.size(), kLines); ++p) {
    std::string words = encoder.Explain(prompts[p]);
    if (words.empty() || words == prompts[p]) continue;
    if (words.size() > kCharacters) words = words.substr(0, kCharacters) + "...";
    std::cout << "read       '" << prompts[p] << "' as " << words << "\n";
  }
}

std::vector<int> ImagesToShow(const OpenedScene& scene, int count) {
  std::vector<int> chosen;
  if (!scene.capture) return chosen;
  const auto images = static_cast<int>(scene.capture->images.size());
  for (int k = 0; k < std::min(count, images); ++k) {
    chosen.push_back(static_cast<int>(int64_t{k} * images / std::min(count, images)));
  }
  return chosen;
}

std::vector<PathView> ViewsToShow(const OpenedScene& scene, int count, int width_px) {
  std::vector<PathView> views;
  if (scene.capture) {
    views = CapturePath(*scene.capture, ImagesToShow(scene, count));
  } else {
    constexpr int kWidth_px = 800, kHeight_px = 600;
    views = OrbitBox(FindSceneBox(scene.cloud), -Eigen::Vector3d::UnitY(), kWidth_px, kHeight_px,
                     count);
  }
  return ResizePath(std::move(views), width_px, scene.options.max_side_px);
}

std::vector<std::string> ReadLabelFile(const fs::path& path) {
  std::istringstream lines(ReadFile(path));
  std::vector<std::string> labels;
  for (std::string line; std::getline(lines, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (line.empty()) continue;
    ATHANOR_CHECK(std::find(labels.begin(), labels.end(), line) == labels.end(), path.string(),
                  ": the label '", line, "' stands there twice");
    labels.push_back(line);
  }
  ATHANOR_CHECK(!labels.empty(), path.string(), ": expected a label per line, found none");
  return labels;
}

}  // namespace athanor
