// athanor scene ...
#include <iostream>

#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/base/program.h"
#include "athanor/cli/commands.h"
#include "athanor/cli/options_cli.h"
#include "athanor/cli/scene_report.h"
#include "athanor/datasets/colmap_program.h"
#include "athanor/datasets/colmap_writer.h"
#include "athanor/ops/device.h"
#include "athanor/scenes/gaussians/evaluate.h"
#include "athanor/scenes/gaussians/open_scene.h"
#include "athanor/scenes/gaussians/reconstruct_run.h"
#include "athanor/scenes/gaussians/show.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRunOrFile =
    "folder of a run, or a file (.ply, .splat, .spz, test_garden.npz)";

struct ImportOptions {
  ColmapOptions colmap;
  int64_t random_points = 0;
};

OptionList Describe(ImportOptions& o) {
  OptionList list;
  list.Add("matcher", &o.colmap.matcher,
           "which photographs to compare: all pairs, or neighbours by name (video)",
           {.choices = {"exhaustive", "sequential"}});
  list.Add("camera-model", &o.colmap.camera_model, "lens model to fit, as COLMAP names it");
  list.Add("single-camera", &o.colmap.single_camera, "all photographs are of one camera");
  list.Add("max-image-side", &o.colmap.max_image_side_px,
           "find features in photographs shrunk to this, pixels", {.min = 1});
  list.Add("colmap", &o.colmap.program, "the COLMAP program: a name in PATH, or a path");
  list.Add("random-points", &o.random_points,
           "begin with so many random points instead of triangulating some (INPUT only)",
           {.min = 0, .max = 1e7});
  return list;
}

// Links `link` to the file `target`, replacing an older link.
void LinkFile(const fs::path& link, const fs::path& target) {
  MakeFolder(link.parent_path());
  std::error_code error;
  if (fs::is_symlink(link, error)) fs::remove(link, error);
  fs::create_symlink(fs::absolute(target), link, error);
  ATHANOR_CHECK(!error, link.string(), ": cannot link to ", target.string(), ": ", error.message());
}

// Writes the capture as a COLMAP project whose photographs, masks and depths are links.
void WriteProject(const PosedImages& posed, const fs::path& out) {
  WriteColmapModel(out / "sparse" / "0", posed);
  constexpr double kDepthUnitOfProjects_m = 0.001;
  const bool with_depth = posed.depth_unit_m == kDepthUnitOfProjects_m;
  bool depth_left_out = false;
  for (const PosedImage& image : posed.images) {
    const fs::path name = fs::path(image.name).lexically_normal();
    ATHANOR_CHECK(name.is_relative() && !name.empty() && *name.begin() != "..", posed.source,
                  ": image '", image.name, "': expected a name inside the folder of photographs");
    LinkFile(out / "images" / name, image.image_path);
    const auto beside = [&](const char* folder) { return out / folder / (name.string() + ".png"); };
    if (!image.mask_path.empty()) LinkFile(beside("masks"), image.mask_path);
    if (!image.depth_path.empty() && with_depth) LinkFile(beside("depth"), image.depth_path);
    depth_left_out |= !image.depth_path.empty() && !with_depth;
  }
  if (depth_left_out) {
    LogWarning(StrCat(posed.source, ": depths in steps of ", posed.depth_unit_m,
                      " are left out: a COLMAP project has steps of ", kDepthUnitOfProjects_m));
  }
}

void PrintCapture(const PosedImages& posed, const fs::path& out) {
  std::cout << "capture    " << out.string() << ": " << posed.images.size() << " images, "
            << posed.cameras.size() << " cameras, " << Grouped(posed.points.size())
            << " points\nnext       athanor scene reconstruct " << ShellWord(out) << " -o "
            << ShellWord(out / "run") << "\n";
}

std::string BoxText(const SceneBox& box) {
  const auto corner = [](const Eigen::Vector3d& p) {
    return StrCat("(", Fixed(p.x(), 3), ", ", Fixed(p.y(), 3), ", ", Fixed(p.z(), 3), ")");
  };
  return corner(box.low) + " to " + corner(box.high);
}

std::string FiveNumbers(const double values[5]) {
  std::string text;
  for (int i = 0; i < 5; ++i) {
    std::ostringstream number;
    number.precision(3);
    number << values[i];
    text += (i == 0 ? "" : "  ") + number.str();
  }
  return text;
}

Eigen::Vector3d UpFromName(const std::string& name) {
  const double sign = name[0] == '-' ? -1 : 1;
  const char axis = name.back();
  return sign * Eigen::Vector3d(axis == 'x', axis == 'y', axis == 'z');
}

}  // namespace

CommandAction SetUpSceneImport(CLI::App& app) {
  struct Arguments {
    fs::path input, images, out;
    ImportOptions options;
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "INPUT", &arguments->input,
          "capture with poses but without points, such as transforms.json");
  AddPath(app, "--images", &arguments->images, "folder of photographs without poses");
  AddPath(app, "-o,--out", &arguments->out, "folder to write the capture to")->required();
  OptionFlags flags(app, Describe(arguments->options), false, "Options of the import");
  return [arguments, flags]() mutable {
    flags.Apply();
    const auto& [input, images, out, options] = *arguments;
    if (input.empty() == images.empty()) {
      throw UsageError("expected either INPUT or --images (see 'athanor scene import --help')");
    }
    if (!images.empty()) {
      if (options.random_points > 0) {
        throw UsageError("--random-points goes with INPUT, not with --images");
      }
      PrintCapture(ImportImages(images, out, options.colmap), out);
      return 0;
    }
    PosedImages posed = ReadPosedImages(input);
    if (options.random_points > 0) {
      posed.points = RandomPoints(posed, options.random_points);
    } else {
      posed = TriangulateFromPoses(posed, out / "colmap", options.colmap);
    }
    WriteProject(posed, out);
    PrintCapture(posed, out);
    return 0;
  };
}

CommandAction SetUpSceneReconstruct(CLI::App& app) {
  struct Arguments {
    fs::path input, run, resume;
    ReconstructOptions options;
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "INPUT", &arguments->input,
          "capture: a folder with a COLMAP model, transforms.json or transforms_train.json; with "
          "--clip a driving data set");
  AddPath(app, "-o,--out", &arguments->run, "new folder for the run");
  AddPath(app, "--resume", &arguments->resume,
          "go on with this run, with the options that it was started with");
  OptionFlags flags(app, Describe(arguments->options), true, "Options of the training");
  return [arguments, flags]() mutable {
    flags.Apply();
    auto& [input, run, resume, options] = *arguments;
    if (!resume.empty()) {
      if (!input.empty() || !run.empty() || !flags.FirstGiven().empty()) {
        throw UsageError(StrCat("--resume takes everything from ", resume.string(),
                                "/config.toml: expected no other option of the training, found ",
                                !input.empty() ? "INPUT"
                                : !run.empty() ? "--out"
                                               : flags.FirstGiven()));
      }
      run = resume;
    } else if (input.empty() || run.empty()) {
      throw UsageError(
          "expected INPUT and -o RUN, or --resume RUN (see 'athanor scene reconstruct --help')");
    }
    ReconstructResult result;
    {
      const StopOnSignal stop;
      result = Reconstruct(input, run, options, !resume.empty(),
                           [] { return StopOnSignal::Received() != 0; });
    }
    if (result.interrupted) {
      std::cout << "stopped at step " << result.step
                << "; go on with:\n  athanor scene reconstruct --resume " << ShellWord(run) << "\n";
      return 128 + StopOnSignal::Received();
    }
    PrintRun(run, result);
    return 0;
  };
}

CommandAction SetUpSceneEval(CLI::App& app) {
  struct Arguments {
    fs::path run, out, json, scene, input;
    std::string device = "cpu";
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "RUN", &arguments->run, "folder of a finished run");
  AddPath(app, "-o,--out", &arguments->out, "folder for the contact sheets (default: RUN/eval)");
  AddPath(app, "--json", &arguments->json, "file for the scores (default: RUN/eval.json)");
  AddPath(app, "--scene", &arguments->scene, "file of Gaussians to score instead of a run's");
  AddPath(app, "--input", &arguments->input, "capture to score it on, with --scene");
  app.add_option("--device", arguments->device, "cpu, cuda or cuda:N (default: cpu)")
      ->type_name("TEXT");
  return [arguments] {
    auto& [run, out, json, scene_file, input, device] = *arguments;
    if (run.empty() == (scene_file.empty() || input.empty()) ||
        (!run.empty() && !(scene_file.empty() && input.empty()))) {
      throw UsageError("expected RUN, or --scene FILE with --input CAPTURE");
    }
    const c10::Device on = ParseDevice(device);
    OpenedScene scene = OpenScene(run.empty() ? scene_file : run, true);
    if (run.empty()) {
      scene.capture = ReadPosedImages(input);
    } else {
      if (out.empty()) out = run / "eval";
      if (json.empty()) json = run / "eval.json";
    }
    const SceneScore score = EvaluateHeldOut(scene, on, out);
    std::cout << ScoreTable(score);
    if (!json.empty()) WriteFile(json, ScoreJson(score, scene));
    if (!json.empty()) std::cout << "scores     " << json.string() << "\n";
    if (!out.empty()) std::cout << "pictures   " << out.string() << "\n";
    return 0;
  };
}

CommandAction SetUpSceneRender(CLI::App& app) {
  struct Options {
    std::string cameras = "orbit";
    int frames = 60;
    std::string channel = "rgb";
    int width_px = 0;
    int64_t time = 0;
    std::string up = "-y";
    std::string device = "cpu";
  };
  struct Arguments {
    fs::path scene, out;
    Options options;
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "SCENE", &arguments->scene, kRunOrFile)->required();
  AddPath(app, "-o,--out", &arguments->out,
          "folder for the pictures (default: in the run, named after what they show)");
  OptionList list;
  Options& o = arguments->options;
  list.Add("cameras", &o.cameras,
           "where to look from: around the scene, or the photographs' places (a run only)",
           {.choices = {"orbit", "train", "test", "all"}});
  list.Add("frames", &o.frames, "pictures of the orbit", {.min = 1, .max = 100000});
  list.Add("channel", &o.channel, "what to show",
           {.choices = {"rgb", "depth", "alpha", "median_depth"}});
  list.Add("width", &o.width_px,
           "width of the pictures, pixels; 0 = as in training (bare file: 800)",
           {.min = 0, .max = 16384});
  list.Add("time", &o.time, "which time of a scene that moves (params.npz), from 0", {.min = 0});
  list.Add("up", &o.up, "which way is up in a bare file",
           {.choices = {"x", "y", "z", "-x", "-y", "-z"}});
  list.Add("device", &o.device, "cpu, cuda or cuda:N");
  OptionFlags flags(app, std::move(list), false, "Options of the rendering");
  app.add_flag_callback(
         "--orbit", [arguments] { arguments->options.cameras = "orbit"; },
         "the same as --cameras orbit, the default")
      ->group("Options of the rendering")
      ->excludes("--cameras");
  return [arguments, flags]() mutable {
    flags.Apply();
    auto& [path, out, options] = *arguments;
    if (out.empty()) {
      if (!fs::is_directory(path))
        throw UsageError("a bare file needs a folder for its pictures: -o");
      out = path /
            (options.channel == "rgb" ? options.cameras : options.cameras + "_" + options.channel);
    }
    const c10::Device device = ParseDevice(options.device);
    const OpenedScene scene = OpenScene(path, true, options.time);
    std::vector<PathView> views;
    if (options.cameras == "orbit") {
      if (scene.capture) {
        views = OrbitPath(*scene.capture, options.frames);
      } else {
        constexpr int kWidth_px = 800, kHeight_px = 600;
        views = OrbitBox(FindSceneBox(scene.cloud), UpFromName(options.up), kWidth_px, kHeight_px,
                         options.frames);
      }
    } else {
      ATHANOR_CHECK(scene.capture.has_value(), path.string(), ": --cameras ", options.cameras,
                    " needs a run: a bare file has no cameras");
      std::vector<int> images;
      if (options.cameras == "all") {
        for (size_t i = 0; i < scene.capture->images.size(); ++i) images.push_back(int(i));
      } else {
        const Split split = MakeSplit(*scene.capture, scene.options);
        images = options.cameras == "test" ? split.test : split.train;
      }
      ATHANOR_CHECK(!images.empty(), path.string(), ": the run holds out no images");
      views = CapturePath(*scene.capture, images);
    }
    const auto model = GaussianModel::FromCloud(scene.cloud, /*with_moments=*/false, device);
    const fs::path overview =
        RenderPath(model, ResizePath(std::move(views), options.width_px, scene.options.max_side_px),
                   RenderOptionsOf(scene.options), ChannelFromName(options.channel), out);
    std::cout << "pictures   " << out.string() << "\noverview   " << overview.string() << "\n";
    return 0;
  };
}

CommandAction SetUpSceneInfo(CLI::App& app) {
  auto path = std::make_shared<fs::path>();
  AddPath(app, "SCENE", path.get(), kRunOrFile)->required();
  return [path] {
    const OpenedScene scene = OpenScene(*path, false);
    const SceneSummary summary = Summarize(scene.cloud);
    std::cout << "file       " << scene.file.string() << "\ngaussians  "
              << Grouped(summary.gaussians) << "\nSH degree  " << summary.sh_degree
              << "\nbytes      " << Grouped(scene.file_bytes) << ", "
              << Fixed(
                     static_cast<double>(scene.file_bytes) / static_cast<double>(summary.gaussians),
                     1)
              << " per Gaussian\nbox        " << BoxText(summary.box)
              << " (2nd to 98th percentile of what is solid)\nfull box   "
              << BoxText(summary.full_box)
              << "\n           min, 10th, 50th, 90th percentile, max\nopacity    "
              << FiveNumbers(summary.opacity) << "\nscale      " << FiveNumbers(summary.scale)
              << "  (longest axis)\n";
    return 0;
  };
}

CommandAction SetUpSceneExport(CLI::App& app) {
  struct Arguments {
    fs::path scene, out;
    std::string format;
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "SCENE", &arguments->scene, kRunOrFile)->required();
  AddPath(app, "-o,--out", &arguments->out, "file to write")->required();
  app.add_option("--format", arguments->format,
                 "format to write (default: as the file's name says)")
      ->check(CLI::IsMember({"ply", "splat", "spz"}).description(""))
      ->type_name("ply|splat|spz");
  return [arguments] {
    const auto& [path, out, format] = *arguments;
    const GaussianFormat target =
        GaussianFormatFromPath(format.empty() ? out : fs::path("scene." + format));
    const OpenedScene scene = OpenScene(path, false);
    WriteGaussians(out, scene.cloud, target);
    std::cout << "written    " << out.string() << ": " << Grouped(scene.cloud.size())
              << " Gaussians, " << Grouped(static_cast<int64_t>(fs::file_size(out)))
              << " bytes (was " << Grouped(scene.file_bytes) << ")\n";
    return 0;
  };
}

}  // namespace athanor
