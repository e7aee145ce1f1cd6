// athanor demo: from nothing to a scene that one can look at.
#include <iostream>

#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/cli/commands.h"
#include "athanor/cli/options_cli.h"
#include "athanor/cli/scene_report.h"
#include "athanor/datasets/synthetic_scene.h"
#include "athanor/media/draw.h"
#include "athanor/ops/device.h"
#include "athanor/scenes/gaussians/show.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

struct DemoOptions {
  int iterations = 1500;
  int images = 40;
  int frames = 24;
  std::string device = "cpu";
};

OptionList Describe(DemoOptions& o) {
  OptionList list;
  list.Add("iterations", &o.iterations, "training steps", {.min = 1});
  list.Add("images", &o.images, "photographs of the small world", {.min = 8, .max = 1000});
  list.Add("frames", &o.frames, "pictures of the orbit", {.min = 1, .max = 10000});
  list.Add("device", &o.device, "cpu, cuda or cuda:N");
  return list;
}

// A short training wants its stages earlier than a long one.
ReconstructOptions TrainingOptions(const DemoOptions& options) {
  ReconstructOptions training;
  training.iterations = options.iterations;
  training.device = options.device;
  training.max_side_px = 0;
  training.coarse_levels = 1;
  training.coarse_iterations = std::max(1, options.iterations / 6);
  training.sh_degree = 2;
  training.sh_interval = std::max(1, options.iterations / 3);
  training.densify_from = options.iterations / 6;
  training.densify_until = options.iterations * 3 / 4;
  training.opacity_reset_every = 0;
  training.checkpoint_every = std::max(1, options.iterations / 4);
  return training;
}

enum class Earlier { kNone, kUnfinished, kFinished };

// What `run` holds of an earlier demo with the same options. A run of anything else is refused.
Earlier FindEarlier(const fs::path& run, const fs::path& capture, ReconstructOptions options) {
  if (!fs::exists(run)) return Earlier::kNone;
  RunInfo info = ReadRun(run);
  std::error_code error;
  ATHANOR_CHECK(fs::weakly_canonical(info.input, error) == fs::weakly_canonical(capture, error),
                run.string(), ": expected a run of the demo, found one of ", info.input.string());
  const bool same = Describe(info.options).ToToml() == Describe(options).ToToml();
  return same && !fs::exists(info.scene) ? Earlier::kUnfinished : Earlier::kFinished;
}

}  // namespace

CommandAction SetUpDemo(CLI::App& app) {
  struct Arguments {
    fs::path out = "runs/demo";
    DemoOptions options;
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "-o,--out", &arguments->out,
          "folder for all that the demo makes (default: runs/demo)");
  OptionFlags flags(app, Describe(arguments->options), false, "Options of the demo");
  app.footer(
      "A demo that was stopped goes on where it stopped; one that had finished is made anew.");
  return [arguments, flags]() mutable {
    flags.Apply();
    const auto& [out, options] = *arguments;
    const c10::Device device = ParseDevice(options.device);
    const fs::path capture = out / "capture", run = out / "run", pictures = out / "pictures";
    const ReconstructOptions training = TrainingOptions(options);

    const Earlier earlier = FindEarlier(run, capture, training);
    if (earlier == Earlier::kFinished) fs::remove_all(run);
    if (earlier == Earlier::kUnfinished) {
      LogInfo(StrCat("going on with ", run.string()));
    } else {
      LogInfo(StrCat("1/4 making a small world: ", options.images, " photographs in ",
                     capture.string()));
      SyntheticSceneOptions world;
      world.num_images = options.images;
      WriteSyntheticCapture(capture, world);
    }

    LogInfo(StrCat("2/4 reconstructing it: ", options.iterations, " steps"));
    ReconstructResult result;
    {
      const StopOnSignal stop;
      result = Reconstruct(capture, run, training, earlier == Earlier::kUnfinished,
                           [] { return StopOnSignal::Received() != 0; });
    }
    if (result.interrupted) {
      std::cout << "stopped at step " << result.step << "; the same command goes on\n";
      return 128 + StopOnSignal::Received();
    }

    LogInfo("3/4 scoring it on the photographs that training has not seen");
    const OpenedScene scene = OpenScene(run, true);
    const SceneScore score = EvaluateHeldOut(scene, device, pictures / "held_out");
    WriteFile(run / "eval.json", ScoreJson(score, scene));

    LogInfo("4/4 flying around it");
    const auto model = GaussianModel::FromCloud(scene.cloud, /*with_moments=*/false, device);
    const std::vector<PathView> orbit = OrbitPath(*scene.capture, options.frames);
    const RenderOptions render = RenderOptionsOf(scene.options);
    const fs::path color = RenderPath(model, orbit, render, Channel::kRgb, pictures / "orbit");
    const fs::path depth =
        RenderPath(model, orbit, render, Channel::kDepth, pictures / "orbit_depth");
    const fs::path first =
        pictures / "held_out" / fs::path(score.views[0].name).replace_extension(".png");
    const Image parts[] = {ReadImage(first), ReadImage(color), ReadImage(depth)};
    const char* captions[] = {"a photograph that training has not seen", "around the scene",
                              "the same as depth: near is warm, far is cold"};
    std::vector<std::vector<SheetCell>> rows;
    for (int i = 0; i < 3; ++i) rows.push_back({{parts[i], captions[i]}});
    const fs::path overview = out / "overview.png";
    WriteImage(overview, ContactSheet({}, rows, parts[1].width));

    std::cout << "scene      " << scene.file.string() << ": " << Grouped(result.gaussians)
              << " Gaussians in " << Fixed(result.seconds, 1) << " s\nheld out   "
              << score.views.size() << " images: " << ScoreLine(score) << "\npictures   "
              << overview.string() << "\n           " << (pictures / "held_out").string()
              << "\n           " << (pictures / "orbit").string() << "\n";
    return 0;
  };
}

}  // namespace athanor
