// athanor semantic lift, query, segment
#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <sstream>

#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/base/program.h"
#include "athanor/base/progress.h"
#include "athanor/cli/commands.h"
#include "athanor/cli/options_cli.h"
#include "athanor/cli/semantic_pictures.h"
#include "athanor/cli/semantic_scene.h"
#include "athanor/datasets/dynamic_capture.h"
#include "athanor/datasets/dynamic_gaussians.h"
#include "athanor/datasets/lerf_annotations.h"
#include "athanor/media/draw.h"
#include "athanor/nn/safetensors.h"
#include "athanor/scenes/gaussians/evaluate.h"
#include "athanor/scenes/gaussians/reconstruct_run.h"
#include "athanor/scenes/gaussians/show.h"
#include "athanor/scenes/semantics/lifting/feature_cache.h"
#include "athanor/scenes/semantics/lifting/lift_features.h"
#include "athanor/scenes/semantics/lifting/vote.h"
#include "athanor/scenes/semantics/query/objects.h"
#include "athanor/scenes/semantics/query/pictures.h"
#include "athanor/scenes/semantics/teachers/id_maps.h"
#include "athanor/scenes/semantics/teachers/open_teacher.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kRunOrFile = "folder of a run, or a file (.ply, .splat, .spz)";

std::string JsonText(const json& content) {
  // Prompts may hold bytes that are no UTF-8.
  return content.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

struct LiftCommandOptions {
  LiftOptions lift;
  std::string views = "photographs";
  std::string images = "train";
  int every = 1;
  std::string store = "half";
};

OptionList Describe(LiftCommandOptions& o) {
  OptionList list = Describe(o.lift);
  list.Add("views", &o.views, "what the teacher looks at: the photographs, or the scene itself",
           {.choices = {"photographs", "rendered"}});
  list.Add("images", &o.images, "which images: those that were trained on, or all",
           {.choices = {"train", "all"}});
  list.Add("every", &o.every, "only every so manyth of these images", {.min = 1, .max = 1e6});
  list.Add("store", &o.store, "how features are kept: half is exact, the others are small",
           {.choices = {"half", "product", "codebook", "cluster"}});
  return list;
}

// Indices of the images to lift.
std::vector<int> ChooseImages(const OpenedScene& scene, const LiftCommandOptions& options,
                              const fs::path& without) {
  std::vector<int> chosen;
  if (options.images == "all") {
    for (size_t i = 0; i < scene.capture->images.size(); ++i) chosen.push_back(static_cast<int>(i));
  } else {
    chosen = MakeSplit(*scene.capture, scene.options).train;
  }
  std::set<std::string> left_out;
  if (!without.empty()) {
    for (const AnnotatedView& view : ReadLerfAnnotations(without)) {
      left_out.insert(fs::path(view.image_name).stem().string());
    }
  }
  std::vector<int> kept;
  for (size_t k = 0; k < chosen.size(); k += options.every) {
    const fs::path name = scene.capture->images[chosen[k]].name;
    if (!left_out.contains(name.stem().string())) kept.push_back(chosen[k]);
  }
  ATHANOR_CHECK(!kept.empty(), scene.capture->source, ": no image is left to lift from");
  return kept;
}

std::string Numbered(const char* format, size_t number) {
  char text[64];
  std::snprintf(text, sizeof text, format, number);
  return text;
}

json ObjectJson(const FoundObject& object) {
  const Eigen::Vector3d center = object.box.frame_from_box.translation;
  const Eigen::Vector3d& size = object.box.size_m;
  return {{"center", {center.x(), center.y(), center.z()}},
          {"size", {size.x(), size.y(), size.z()}},
          {"score", object.score},
          {"mass", object.mass},
          {"gaussians", object.gaussians.size()}};
}

// The value that a thousandth of the seen Gaussians exceeds.
double UpperEnd(const at::Tensor& scores, const at::Tensor& seen) {
  const at::Tensor of_seen = scores.masked_select(seen > 0);
  if (of_seen.numel() == 0) return 0;
  const int64_t rank = std::max<int64_t>(1, of_seen.numel() - of_seen.numel() / 1000);
  return std::get<0>(at::kthvalue(of_seen, rank)).item<float>();
}

// A scene that moves, time after time; its times vote.
SemanticField LiftMoving(const fs::path& path, const fs::path& input,
                         const LiftCommandOptions& options, FeatureCache* cache,
                         LiftSummary* summary) {
  const DynamicGaussians moving = ReadDynamicGaussians(path);
  std::vector<PosedImages> captures = ReadDynamicCapture(input);
  ATHANOR_CHECK(std::ssize(captures) == moving.frames, input.string(), ": expected photographs of ",
                moving.frames, " times, as ", path.string(), " has, found ", captures.size());
  FieldVote vote;
  OpenedScene scene;
  scene.options.max_side_px = 0;
  for (int64_t time = 0; time < moving.frames; ++time) {
    scene.cloud = moving.At(time);
    scene.capture = std::move(captures[time]);
    std::vector<int> images;
    for (int i = 0; i < std::ssize(scene.capture->images); i += options.every) images.push_back(i);
    LiftSummary of_time;
    vote.Add(LiftFromViews(scene, images, options.lift, false, cache, &of_time));
    summary->views += of_time.views;
    summary->rejected += of_time.rejected;
    summary->feature_seconds += of_time.feature_seconds;
    summary->lift_seconds += of_time.lift_seconds;
  }
  SemanticField field = vote.Result();
  summary->gaussians = field.size();
  summary->seen = field.num_seen();
  if (summary->seen > 0) {
    summary->mean_agreement =
        field.agreement.sum().item<double>() / static_cast<double>(summary->seen);
  }
  return field;
}

}  // namespace

CommandAction SetUpSemanticLift(CLI::App& app) {
  struct Arguments {
    fs::path scene, input, out, cache, without;
    std::string teacher, tag;
    LiftCommandOptions options;
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "SCENE", &arguments->scene, kRunOrFile)->required();
  app.add_option("--teacher", arguments->teacher,
                 "what describes the views: a name, a card (.toml; of id maps .json), or a folder "
                 "of id maps (PNG)")
      ->required()
      ->type_name("TEXT");
  AddPath(app, "--input", &arguments->input,
          "capture, for a bare file; of a scene that moves, the folder of its train_meta.json");
  AddPath(app, "-o,--out", &arguments->out,
          "file for the features (default: SCENE.semantics.safetensors beside the scene)");
  app.add_option("--tag", arguments->tag,
                 "word for the file's name, to keep several beside a scene")
      ->type_name("TEXT");
  AddPath(app, "--cache", &arguments->cache,
          "folder for the teacher's features (default: features/ beside the scene)");
  AddPath(app, "--without", &arguments->without,
          "folder of LERF annotations whose images are not lifted from, so that nothing leaks");
  OptionFlags flags(app, Describe(arguments->options), true, "Options of the lifting");
  app.footer("The teacher sees each view once: the same command goes on where it was stopped.");
  return [arguments, flags]() mutable {
    flags.Apply();
    auto& [path, input, out, cache_root, without, teacher_name, tag, options] = *arguments;
    const bool moves = !fs::is_directory(path) && IsDynamicGaussians(path);
    ATHANOR_CHECK(!moves || !input.empty(), path.string(),
                  ": a scene that moves needs its photographs: --input FOLDER, with the "
                  "train_meta.json of Dynamic 3D Gaussians");
    if (moves &&
        (!without.empty() || options.views != "photographs" || options.images != "train")) {
      throw UsageError(
          "--without, --views and --images: a scene that moves is lifted from all its "
          "photographs");
    }
    const OpenedScene scene = moves ? OpenScene(path, false) : OpenSceneWithCapture(path, input);
    if (out.empty()) out = SemanticFieldPath(scene.file, tag);
    if (cache_root.empty()) cache_root = scene.file.parent_path() / "features";
    const std::unique_ptr<Teacher> teacher =
        IsIdMaps(teacher_name) ? std::unique_ptr<Teacher>(new IdMapTeacher(teacher_name))
                               : OpenTeacher(teacher_name);
    const std::string hash = SceneFileHash(scene.file);
    FeatureCache cache(cache_root, teacher.get());
    LiftSummary summary;
    SemanticField field =
        moves ? LiftMoving(path, input, options, &cache, &summary)
              : LiftFromViews(scene, ChooseImages(scene, options, without), options.lift,
                              options.views == "rendered", &cache, &summary);
    SignField(*teacher, hash, &field);
    field.features = field.features.Compress(FeatureStoreFromName(options.store));
    WriteSemanticField(out, field);
    std::cout << "features   " << out.string() << ": " << Grouped(summary.seen) << " of "
              << Grouped(summary.gaussians) << " Gaussians seen, vectors of length "
              << field.dimension() << ", " << Fixed(field.features.bytes_per_row(), 0)
              << " bytes each\nviews      " << summary.views << ", mean agreement "
              << Fixed(summary.mean_agreement, 3) << ", " << Grouped(summary.rejected)
              << " contradicting (Gaussian, view) pairs left out\ntime       "
              << Fixed(summary.lift_seconds, 1) << " s, and " << Fixed(summary.feature_seconds, 1)
              << " s for features (" << cache.described() << " views described now)\n"
              << "next       athanor semantic query " << ShellWord(path) << " "
              << (field.labels.empty() ? "'a red mug'" : ShellWord(field.labels.front())) << "\n";
    return 0;
  };
}

CommandAction SetUpSemanticQuery(CLI::App& app) {
  struct Options {
    std::string negatives;
    double temperature = kRelevancyTemperature;
    double threshold = 0.5;
    int views = 4;
    int pictures = 16;
    int width_px = 0;
    std::string backdrop = "scene";
    int64_t time = 0;
    std::string combine = "max";
  };
  struct Arguments {
    fs::path scene, input, out;
    std::vector<fs::path> fields;
    std::vector<std::string> prompts;
    std::string teacher;
    Options options;
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(
      app, "SCENE", &arguments->scene,
      "folder of a run, or a file (.ply, .splat, .spz); with --teacher a photograph or a folder "
      "of them")
      ->required();
  app.add_option("PROMPTS", arguments->prompts, "what to look for, in words: one or more")
      ->required()
      ->type_name("TEXT");
  app.add_option("--field", arguments->fields,
                 "files of features (default: those beside the scene, lifted and 3d)")
      ->type_name("PATH");
  AddPath(app, "--input", &arguments->input, "capture to show a bare file from");
  app.add_option("--teacher", arguments->teacher,
                 "what describes photographs, when SCENE is of these: a name, or a card")
      ->type_name("TEXT");
  AddPath(app, "-o,--out", &arguments->out, "folder for pictures and objects.json");
  OptionList list;
  Options& o = arguments->options;
  list.Add("negatives", &o.negatives,
           "what a prompt must be more like than, separated by commas; empty = the classes of a "
           "teacher that knows no others, else LERF's: object, things, stuff, texture");
  list.Add("temperature", &o.temperature, "how sharply relevancy tells a prompt from negatives",
           {.min = 0.01, .max = 1000});
  list.Add("threshold", &o.threshold, "Gaussians above this relevancy make up objects",
           {.min = 0, .max = 1});
  list.Add("view-count", &o.views, "views to draw", {.min = 1, .max = 1000});
  list.Add("pictures", &o.pictures, "prompts to draw; of the others, only the objects are written",
           {.min = 0, .max = 10000});
  list.Add("width", &o.width_px, "width of the pictures, pixels; 0 = as in training",
           {.min = 0, .max = 16384});
  list.Add("backdrop", &o.backdrop, "what maps are drawn over: the scene, or its photographs",
           {.choices = {"scene", "photographs"}});
  list.Add("time", &o.time, "which time of a scene that moves (params.npz), from 0", {.min = 0});
  list.Add("combine", &o.combine, "how lifted and predicted features are put together",
           {.choices = {"max", "concat", "fill"}});
  OptionFlags flags(app, std::move(list), false, "Options of the query");
  return [arguments, flags]() mutable {
    flags.Apply();
    auto& [path, input, out, field_paths, prompts, teacher, options] = *arguments;
    if (!teacher.empty()) {
      const std::vector<fs::path> photographs = FindPhotographs(path);
      ATHANOR_CHECK(!photographs.empty(), path.string(),
                    ": with --teacher, expected a photograph (.png, .jpg) or a folder of them; a "
                    "scene is described by: athanor semantic lift ",
                    path.string(), " --teacher ", teacher);
      if (out.empty()) throw UsageError("expected -o FOLDER for the pictures");
      QueryPictures(photographs,
                    {.teacher = teacher,
                     .prompts = prompts,
                     .negatives = options.negatives,
                     .temperature = options.temperature,
                     .threshold = options.threshold,
                     .drawn = options.pictures},
                    out);
      return 0;
    }
    SemanticScene scene =
        OpenSemanticScene(path, input, field_paths, options.combine, options.time);
    if (out.empty()) out = scene.opened.file.parent_path() / "query";
    const std::vector<std::string> negatives =
        ChooseNegatives(options.negatives, scene.fields->first(), scene.encoder.get());
    const auto start = std::chrono::steady_clock::now();
    const ScoredPrompts scored =
        ScorePrompts(*scene.fields, scene.encoder.get(), prompts, negatives, options.temperature);
    const double milliseconds =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    const std::vector<PathView> views = ViewsToShow(scene.opened, options.views, options.width_px);
    const RenderOptions render = RenderOptionsOf(scene.opened.options);

    ObjectOptions object_options;
    object_options.threshold = options.threshold;
    json report = {{"scene", scene.opened.file.string()}, {"prompts", json::array()}};
    std::vector<std::vector<std::string>> rows = {{"prompt", "best", "Gaussians", "objects"}};
    std::vector<double> upper;
    for (size_t p = 0; p < prompts.size(); ++p) {
      const at::Tensor scores = scored.scores.select(1, static_cast<int64_t>(p)).contiguous();
      const std::vector<FoundObject> objects = FindObjects(
          scene.opened.cloud, {scores.data_ptr<float>(), static_cast<size_t>(scores.numel())},
          object_options);
      const int64_t chosen = (scores > options.threshold).sum().item<int64_t>();
      const double best = scores.max().item<float>();
      json list_of_objects = json::array();
      for (const FoundObject& object : objects) list_of_objects.push_back(ObjectJson(object));
      report["prompts"].push_back({{"prompt", prompts[p]},
                                   {"best_score", best},
                                   {"gaussians", chosen},
                                   {"objects", list_of_objects}});
      constexpr size_t kLines = 40;
      if (p < kLines) {
        rows.push_back({prompts[p], Fixed(best, 3), Grouped(chosen), Grouped(objects.size())});
      }
      upper.push_back(UpperEnd(scores, scene.fields->seen()));
    }
    WriteFile(out / "objects.json", JsonText(report));

    const size_t drawn = std::min(prompts.size(), static_cast<size_t>(options.pictures));
    std::vector<std::vector<SheetCell>> sheet(drawn);
    const std::vector<int> images = ImagesToShow(scene.opened, options.views);
    std::optional<ViewCache> photographs;
    if (options.backdrop == "photographs") {
      ATHANOR_CHECK(!images.empty(), path.string(), ": has no photographs to draw over");
      photographs.emplace(*scene.opened.capture, ViewOptionsOf(scene.opened.options));
    }
    GaussianRenderer renderer;
    for (size_t v = 0; v < views.size() && drawn > 0; ++v) {
      const PinholeView view = MakeView(views[v].camera, views[v].camera_from_world);
      renderer.Render(scene.model, view, render);
      Image picture = ToImage(renderer.image);
      if (photographs) {
        picture = Resize(photographs->Get(images[v])->rgb, picture.width, picture.height);
      }
      const ScoreMaps maps =
          RenderScores(scene.model, view, render.project,
                       scored.scores.narrow(1, 0, static_cast<int64_t>(drawn)).contiguous());
      for (size_t p = 0; p < drawn; ++p) {
        const double high = std::max(upper[p], scored.neutral + 0.05);
        const Image map = DrawHeatMap(picture, maps.maps[static_cast<int64_t>(p)], scored.neutral,
                                      high, prompts[p]);
        const std::string name =
            Numbered("%02zu_", p) + Slug(prompts[p]) + Numbered("_%03zu.png", v);
        WriteImage(out / name, map);
        if (v < 4) sheet[p].push_back({map, name});
      }
    }
    if (drawn > 0) WriteImage(out / "overview.png", ContactSheet({}, sheet, 400));
    std::cout << Table(rows);
    if (prompts.size() + 1 > rows.size()) {
      std::cout << "... and " << prompts.size() + 1 - rows.size() << " more in objects.json\n";
    }
    PrintUnderstanding(*scene.encoder, prompts);
    std::cout << "scored     " << Grouped(scene.fields->size()) << " Gaussians in "
              << Fixed(milliseconds, 1) << " ms\nobjects    " << (out / "objects.json").string()
              << "\n";
    if (drawn > 0) std::cout << "pictures   " << (out / "overview.png").string() << "\n";
    if (drawn < prompts.size()) {
      std::cout << "not drawn  " << prompts.size() - drawn << " prompts (--pictures)\n";
    }
    return 0;
  };
}

CommandAction SetUpSemanticSegment(CLI::App& app) {
  struct Options {
    double temperature = kLabelTemperature;
    int views = 8;
    int width_px = 0;
    int64_t time = 0;
    std::string combine = "max";
  };
  struct Arguments {
    fs::path scene, input, labels, out;
    std::vector<fs::path> fields;
    Options options;
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "SCENE", &arguments->scene, kRunOrFile)->required();
  AddPath(app, "--labels", &arguments->labels,
          "text file with a label per line (default: the features' own labels)");
  app.add_option("--field", arguments->fields,
                 "files of features (default: those beside the scene, lifted and 3d)")
      ->type_name("PATH");
  AddPath(app, "--input", &arguments->input, "capture to show a bare file from");
  AddPath(app, "-o,--out", &arguments->out,
          "folder for label maps, pictures, legend and a coloured scene");
  OptionList list;
  Options& o = arguments->options;
  list.Add("temperature", &o.temperature, "of the softmax over labels", {.min = 0.01, .max = 1000});
  list.Add("view-count", &o.views, "views to draw", {.min = 1, .max = 100000});
  list.Add("width", &o.width_px, "width of the pictures, pixels; 0 = as in training",
           {.min = 0, .max = 16384});
  list.Add("time", &o.time, "which time of a scene that moves (params.npz), from 0", {.min = 0});
  list.Add("combine", &o.combine, "how lifted and predicted features are put together",
           {.choices = {"max", "concat", "fill"}});
  OptionFlags flags(app, std::move(list), false, "Options of the segmentation");
  return [arguments, flags]() mutable {
    flags.Apply();
    auto& [path, input, labels_path, out, field_paths, options] = *arguments;
    SemanticScene scene =
        OpenSemanticScene(path, input, field_paths, options.combine, options.time);
    if (out.empty()) out = scene.opened.file.parent_path() / "segments";
    std::vector<std::string> names = scene.fields->first().labels;
    if (!labels_path.empty()) names = ReadLabelFile(labels_path);
    if (names.empty()) throw UsageError("expected --labels FILE: the features have no labels");

    const GaussianLabels labels =
        LabelGaussians(*scene.fields, scene.encoder.get(), names, options.temperature);
    std::vector<int64_t> counts(names.size(), 0);
    std::vector<bool> is_used(names.size(), false);
    const int32_t* label = labels.labels.data_ptr<int32_t>();
    for (int64_t i = 0; i < labels.labels.numel(); ++i) {
      if (label[i] < 0) continue;
      ++counts[label[i]];
      is_used[label[i]] = true;
    }
    const std::vector<PathView> views = ViewsToShow(scene.opened, options.views, options.width_px);
    const RenderOptions render = RenderOptionsOf(scene.opened.options);
    std::vector<std::vector<SheetCell>> sheet;
    GaussianRenderer renderer;
    Progress progress("drawing", static_cast<int64_t>(views.size()));
    for (size_t v = 0; v < views.size(); ++v) {
      const PinholeView view = MakeView(views[v].camera, views[v].camera_from_world);
      renderer.Render(scene.model, view, render);
      const at::Tensor map = RenderLabels(scene.model, view, render.project, labels.labels,
                                          labels.confidence, static_cast<int>(names.size()));
      DepthImage ids(view.width_px, view.height_px, 1);
      const int32_t* at = map.data_ptr<int32_t>();
      for (uint16_t& id : ids.data) id = static_cast<uint16_t>(*at++ + 1);
      const std::string name = Numbered("%04zu.png", v);
      WriteDepthPng(out / "maps" / name, ids);
      const Image picture = DrawLabels(ToImage(renderer.image), map);
      WriteImage(out / "pictures" / name, picture);
      if (v < 8) {
        if (v % 4 == 0) sheet.emplace_back();
        sheet.back().push_back({picture, name});
      }
      progress.Update(static_cast<int64_t>(v) + 1);
    }
    WriteImage(out / "overview.png", ContactSheet({}, sheet, 400));
    WriteImage(out / "legend.png", DrawLegend(names, is_used));
    WriteGaussians(out / "segments.ply", ColorByLabel(scene.opened.cloud, labels.labels),
                   GaussianFormat::kPly);
    SafeTensors per_gaussian;
    per_gaussian.tensors = {{"labels", labels.labels}, {"confidence", labels.confidence}};
    WriteSafeTensors(out / "labels.safetensors", per_gaussian);
    json list_of_labels = json::array();
    for (size_t k = 0; k < names.size(); ++k) {
      const Color c = LabelColor(static_cast<int>(k));
      list_of_labels.push_back({{"id", k + 1},
                                {"name", names[k]},
                                {"gaussians", counts[k]},
                                {"color", {c.r, c.g, c.b}}});
    }
    WriteFile(out / "labels.json", JsonText({{"labels", list_of_labels}}));
    const auto used = std::count(is_used.begin(), is_used.end(), true);
    std::cout << "labels     " << used << " of " << names.size() << " are in the scene\nmaps       "
              << (out / "maps").string() << "\npictures   " << (out / "overview.png").string()
              << "\nlegend     " << (out / "legend.png").string() << "\nscene      "
              << (out / "segments.ply").string() << "\n";
    return 0;
  };
}

}  // namespace athanor
