// athanor semantic eval
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "athanor/base/files.h"
#include "athanor/base/progress.h"
#include "athanor/cli/commands.h"
#include "athanor/cli/options_cli.h"
#include "athanor/cli/semantic_scene.h"
#include "athanor/datasets/view_cache.h"
#include "athanor/scenes/gaussians/reconstruct_run.h"
#include "athanor/scenes/semantics/query/pixels.h"
#include "athanor/scenes/semantics/teachers/open_teacher.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct EvalOptions {
  std::string maps, classes, annotations;
  std::string ignore = "other,unlabelled,unannotated";
  std::string images = "test";
  std::string combine = "max";
};

struct Arguments {
  std::vector<fs::path> runs;
  std::vector<std::string> tags;
  std::string teacher;
  fs::path json_path;
  EvalOptions options;
};

// A run, its features of one tag, and its views as they were trained on.
struct EvaluatedRun {
  SemanticScene scene;
  fs::path capture;  // that relative paths begin from
  std::unique_ptr<ViewCache> photographs;

  PinholeView View(int image) const {
    return MakeView(photographs->camera(image),
                    scene.opened.capture->images[image].camera_from_world);
  }
};

EvaluatedRun OpenRun(const fs::path& run, const std::string& tag, const std::string& combine) {
  const RunInfo info = ReadRun(run);
  std::vector<fs::path> fields;
  // The default opens what lies beside the scene, the 3D network's field too.
  std::istringstream parts(tag);
  for (std::string part; std::getline(parts, part, '+');) {
    fields.push_back(SemanticFieldPath(info.scene, part));
  }
  EvaluatedRun evaluated = {OpenSemanticScene(run, {}, fields, combine), info.input, nullptr};
  evaluated.photographs = std::make_unique<ViewCache>(
      *evaluated.scene.opened.capture, ViewOptionsOf(evaluated.scene.opened.options));
  return evaluated;
}

std::vector<std::string> SplitWords(const std::string& text) {
  std::vector<std::string> words;
  std::istringstream stream(text);
  for (std::string word; std::getline(stream, word, ',');) {
    if (!word.empty()) words.push_back(word);
  }
  return words;
}

std::string Percent(double share) { return std::isfinite(share) ? Fixed(100 * share, 1) : "-"; }

struct ClassList {
  std::vector<std::string> names;
  std::map<int, int> index_of_id;
};

ClassList ReadClasses(const fs::path& path, const std::vector<std::string>& ignore) {
  json list = json::parse(ReadFile(path), nullptr, false);
  if (list.is_object() && list.contains("classes")) list = list["classes"];
  ClassList classes;
  try {
    for (const json& entry : list) {
      const auto name = entry.at("name").get<std::string>();
      // A class that nobody may answer is no class: its pixels are unlabelled, for all methods.
      if (std::find(ignore.begin(), ignore.end(), name) != ignore.end()) continue;
      classes.index_of_id[entry.at("id").get<int>()] = static_cast<int>(classes.names.size());
      classes.names.push_back(name);
    }
  } catch (const json::exception&) {
    throw Error(path.string() + ": expected a list of {\"id\": number, \"name\": text}");
  }
  ATHANOR_CHECK(!classes.names.empty(), path.string(), ": expected at least one class");
  return classes;
}

// The label map of a view at the view's size; ids that are no class are -1.
std::vector<int32_t> ReadTruth(const fs::path& file, const ClassList& classes,
                               const PinholeView& view) {
  const DepthImage map = ReadDepthPng(file);
  std::vector<int32_t> truth(static_cast<size_t>(view.width_px) * view.height_px);
  int32_t* out = truth.data();
  for (int y = 0; y < view.height_px; ++y) {
    const int from_y =
        static_cast<int>((2 * int64_t{y} + 1) * map.height / (2 * int64_t{view.height_px}));
    for (int x = 0; x < view.width_px; ++x) {
      const int from_x =
          static_cast<int>((2 * int64_t{x} + 1) * map.width / (2 * int64_t{view.width_px}));
      const auto index = classes.index_of_id.find(*map.at(from_x, from_y));
      *out++ = index == classes.index_of_id.end() ? -1 : index->second;
    }
  }
  return truth;
}

// Images to score, by index.
std::vector<int> ImagesToScore(const OpenedScene& scene, const std::string& which,
                               const fs::path& run) {
  std::vector<int> images;
  if (which == "all") {
    for (int i = 0; i < std::ssize(scene.capture->images); ++i) images.push_back(i);
  } else {
    images = MakeSplit(*scene.capture, scene.options).test;
  }
  ATHANOR_CHECK(!images.empty(), run.string(), ": the run holds out no images; try --images all");
  return images;
}

fs::path MapOf(const fs::path& maps, const PosedImage& image) {
  return maps / fs::path(image.name).replace_extension(".png");
}

json ReportLabels(const std::string& line, const std::vector<std::string>& names,
                  const ConfusionMatrix& confusion, std::vector<std::vector<std::string>>* table) {
  const SegmentationScores scores = confusion.Scores();
  json per_class = json::array();
  for (size_t k = 0; k < names.size(); ++k) {
    if (std::isfinite(scores.iou[k])) {
      per_class.push_back(
          {{"name", names[k]}, {"iou", scores.iou[k]}, {"accuracy", scores.accuracy[k]}});
    }
  }
  table->push_back({line, Percent(scores.mean_iou), Percent(scores.mean_accuracy),
                    Percent(scores.pixel_accuracy), std::to_string(scores.classes_present)});
  return {{"tag", line},
          {"mean_iou", scores.mean_iou},
          {"mean_accuracy", scores.mean_accuracy},
          {"pixel_accuracy", scores.pixel_accuracy},
          {"classes", per_class}};
}

// What the teacher itself says of the photographs: the class whose name is nearest to each pixel.
// The line that lifting is compared with.
json EvaluateTeacher(const Arguments& arguments, std::vector<std::vector<std::string>>* table) {
  const EvalOptions& options = arguments.options;
  const std::unique_ptr<Teacher> teacher = OpenTeacher(arguments.teacher);
  const std::unique_ptr<TextEncoder> encoder = OpenTextEncoder(teacher->text_space());
  std::unique_ptr<ConfusionMatrix> confusion;
  std::vector<std::string> names;
  at::Tensor text;
  for (const fs::path& run : arguments.runs) {
    const OpenedScene scene = OpenScene(run, true);
    const fs::path capture = ReadRun(run).input;
    const ClassList classes = ReadClasses(capture / options.classes, SplitWords(options.ignore));
    if (!confusion) {
      names = classes.names;
      text = encoder->Encode(names);
      confusion = std::make_unique<ConfusionMatrix>(static_cast<int>(names.size()));
    }
    ATHANOR_CHECK(names == classes.names, run.string(),
                  ": its classes are not those of the first run");
    ViewCache photographs(*scene.capture, ViewOptionsOf(scene.options));
    for (const int image : ImagesToScore(scene, options.images, run)) {
      const PosedImage& posed = scene.capture->images[image];
      const PinholeView view = MakeView(photographs.camera(image), posed.camera_from_world);
      const ViewFeatures features = teacher->Describe(photographs.Get(image)->rgb, posed.name);
      const ViewCells cells = MakeViewCells(features, posed.name);
      const std::vector<int32_t> truth =
          ReadTruth(MapOf(capture / options.maps, posed), classes, view);
      // A detector may find nothing in a view.
      if (std::all_of(cells.cells.begin(), cells.cells.end(), [](int32_t c) { return c < 0; })) {
        confusion->Add(truth, std::vector<int32_t>(truth.size(), -1));
        continue;
      }
      const SemanticField field = FieldOfView(cells, *teacher);
      const at::Tensor cosines = FieldSet({&field}, Combine::kMax).Cosines(text);
      const at::Tensor nearest = SpreadOverPixels(cells, features, cosines).argmax(0);
      const int64_t* found = nearest.data_ptr<int64_t>();
      std::vector<int32_t> predicted(truth.size());
      for (size_t i = 0; i < truth.size(); ++i) {
        predicted[i] = cells.cells[i] < 0 ? -1 : static_cast<int32_t>(found[i]);
      }
      confusion->Add(truth, predicted);
    }
  }
  return ReportLabels(arguments.teacher + " in 2D", names, *confusion, table);
}

// One line of the table: mIoU and mAcc over one matrix of all runs.
json EvaluateLabels(const Arguments& arguments, const std::string& tag,
                    std::vector<std::vector<std::string>>* table) {
  const EvalOptions& options = arguments.options;
  std::unique_ptr<ConfusionMatrix> confusion;
  std::vector<std::string> names;
  for (const fs::path& run : arguments.runs) {
    const EvaluatedRun evaluated = OpenRun(run, tag, options.combine);
    const ClassList classes =
        ReadClasses(evaluated.capture / options.classes, SplitWords(options.ignore));
    if (!confusion) {
      names = classes.names;
      confusion = std::make_unique<ConfusionMatrix>(static_cast<int>(names.size()));
    }
    ATHANOR_CHECK(names == classes.names, run.string(),
                  ": its classes are not those of the first run");
    // Labels know only the names that some view holds.
    const std::vector<std::string>& known = evaluated.scene.fields->first().labels;
    std::vector<std::string> asked;
    std::vector<int32_t> class_of_asked;
    for (size_t k = 0; k < names.size(); ++k) {
      if (!known.empty() && std::find(known.begin(), known.end(), names[k]) == known.end())
        continue;
      asked.push_back(names[k]);
      class_of_asked.push_back(static_cast<int32_t>(k));
    }
    const PosedImages& capture = *evaluated.scene.opened.capture;
    const std::vector<int> images = ImagesToScore(evaluated.scene.opened, options.images, run);
    std::vector<PinholeView> views;
    for (const int image : images) views.push_back(evaluated.View(image));
    AddLabelViews(
        evaluated.scene.Queried(), asked, class_of_asked, views,
        [&](int v) {
          return ReadTruth(MapOf(evaluated.capture / options.maps, capture.images[images[v]]),
                           classes, views[v]);
        },
        confusion.get());
  }
  return ReportLabels(tag.empty() ? "default" : tag, names, *confusion, table);
}

json EvaluatePhrases(const Arguments& arguments, const std::string& tag,
                     std::vector<std::vector<std::string>>* table) {
  std::vector<std::vector<PhraseScore>> scenes;
  json queries = json::array();
  for (const fs::path& run : arguments.runs) {
    const EvaluatedRun evaluated = OpenRun(run, tag, arguments.options.combine);
    const std::vector<AnnotatedView> annotated =
        ReadLerfAnnotations(evaluated.capture / arguments.options.annotations);
    const PosedImages& capture = *evaluated.scene.opened.capture;
    std::vector<PinholeView> views;
    for (const AnnotatedView& view : annotated) {
      // By the image's name, never by its place in a list: COLMAP leaves images out.
      const auto stem = fs::path(view.image_name).stem();
      const auto image = std::find_if(
          capture.images.begin(), capture.images.end(),
          [&](const PosedImage& candidate) { return fs::path(candidate.name).stem() == stem; });
      ATHANOR_CHECK(image != capture.images.end(), run.string(), ": the capture has no image '",
                    view.image_name, "', which is annotated");
      views.push_back(evaluated.View(static_cast<int>(image - capture.images.begin())));
    }
    scenes.push_back(ScorePhrases(evaluated.scene.Queried(), annotated, views));
    for (const PhraseScore& score : scenes.back()) {
      queries.push_back({{"run", run.string()},
                         {"view", score.view},
                         {"phrase", score.phrase},
                         {"localized", score.localized},
                         {"iou_2d", score.iou_2d},
                         {"iou_3d", score.iou_3d}});
    }
  }
  const PhraseSummary summary = SummarizePhrases(scenes);
  table->push_back({tag.empty() ? "default" : tag, Percent(summary.localization.scene_mean),
                    Percent(summary.localization.query_weighted), Percent(summary.iou_2d_scenes),
                    Percent(summary.iou_2d_queries), Percent(summary.selection.mean_iou),
                    Percent(summary.selection.accuracy_25), Percent(summary.selection.accuracy_50),
                    std::to_string(summary.queries)});
  return {{"tag", tag},
          {"localization",
           {{"scene_mean", summary.localization.scene_mean},
            {"query_weighted", summary.localization.query_weighted}}},
          {"iou_2d",
           {{"scene_mean", summary.iou_2d_scenes}, {"query_weighted", summary.iou_2d_queries}}},
          {"selection_3d",
           {{"mean_iou", summary.selection.mean_iou},
            {"accuracy_25", summary.selection.accuracy_25},
            {"accuracy_50", summary.selection.accuracy_50}}},
          {"queries", queries}};
}

}  // namespace

CommandAction SetUpSemanticEval(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  app.add_option("RUNS", arguments->runs,
                 "folders of runs that have features; all count as one set")
      ->required()
      ->type_name("PATH");
  app.add_option("--tag", arguments->tags,
                 "features to score, by the word they were lifted with; several give a line each; "
                 "a+b puts two together (default: those without a tag, and the 3D network's)")
      ->type_name("TEXT");
  app.add_option("--teacher", arguments->teacher,
                 "with --maps, a line more: this teacher on the photographs themselves")
      ->type_name("TEXT");
  AddPath(app, "--json", &arguments->json_path, "file for all scores");
  OptionList list;
  EvalOptions& o = arguments->options;
  list.Add(
      "maps", &o.maps,
      "folder of label maps (PNG), from the capture's folder: mIoU and mAcc of rendered labels");
  list.Add("classes", &o.classes, "their classes, JSON, from the capture's folder");
  list.Add("ignore", &o.ignore, "classes that do not count, separated by commas");
  list.Add("images", &o.images, "views to compare with maps: those held out, or all",
           {.choices = {"test", "all"}});
  list.Add("annotations", &o.annotations,
           "folder of LERF annotations, from the capture's folder: localisation, masks, 3D "
           "selection");
  list.Add("combine", &o.combine, "how lifted and predicted features are put together",
           {.choices = {"max", "concat", "fill"}});
  OptionFlags flags(app, std::move(list), false, "Options of the evaluation");
  return [arguments, flags]() mutable {
    flags.Apply();
    const EvalOptions& options = arguments->options;
    if (options.maps.empty() == options.annotations.empty() ||
        options.maps.empty() != options.classes.empty()) {
      throw UsageError("expected --maps with --classes, or --annotations");
    }
    if (!arguments->teacher.empty() && options.maps.empty()) {
      throw UsageError("--teacher goes with --maps");
    }
    if (arguments->tags.empty()) arguments->tags.emplace_back();
    std::vector<std::vector<std::string>> table;
    json results = json::array();
    if (!options.maps.empty()) {
      table.push_back({"features", "mIoU", "mAcc", "pixels", "classes"});
    } else {
      table.push_back({"features", "localised", "by query", "mask IoU", "by query", "3D IoU",
                       "3D @.25", "3D @.50", "queries"});
    }
    if (!arguments->teacher.empty()) results.push_back(EvaluateTeacher(*arguments, &table));
    for (const std::string& tag : arguments->tags) {
      results.push_back(options.maps.empty() ? EvaluatePhrases(*arguments, tag, &table)
                                             : EvaluateLabels(*arguments, tag, &table));
    }
    std::cout << Table(table);
    if (!arguments->json_path.empty()) {
      WriteFile(
          arguments->json_path,
          json{{"results", results}}.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
      std::cout << "scores     " << arguments->json_path.string() << "\n";
    }
    return 0;
  };
}

}  // namespace athanor
