// athanor demo: from nothing to a scene that one can look at and ask.
#include <ATen/ATen.h>

#include <iostream>

#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/cli/commands.h"
#include "athanor/cli/options_cli.h"
#include "athanor/cli/scene_report.h"
#include "athanor/cli/semantic_scene.h"
#include "athanor/media/draw.h"
#include "athanor/ops/device.h"
#include "athanor/scenes/gaussians/reconstruct_run.h"
#include "athanor/scenes/gaussians/show.h"
#include "athanor/scenes/semantics/query/pictures.h"
#include "athanor/scenes/semantics/teachers/open_teacher.h"
#include "athanor/simulation/rooms/write_room.h"

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
  list.Add("images", &o.images, "photographs of the room", {.min = 8, .max = 1000});
  list.Add("frames", &o.frames, "pictures of the orbit", {.min = 1, .max = 10000});
  list.Add("device", &o.device, "cpu, cuda or cuda:N");
  return list;
}

// A room with a laid table that the teacher has never seen, from a walk around that table.
SimRoomOptions RoomOfDemo(const DemoOptions& options) {
  SimRoomOptions room;
  room.seed = 11;
  room.room.type = "kitchen";
  room.room.light = "day";
  room.room.clutter = 0.8;
  room.camera.images = options.images;
  room.camera.width_px = 400, room.camera.height_px = 300;
  room.camera.path = "orbit";
  return room;
}

// What is asked in the end.
const std::vector<std::string> kQuestions = {"table", "something to sit on", "a green thing"};

// Lifts the embedded teacher's features onto the run's scene and asks; a heat map for each
// question, over the given view.
std::vector<SheetCell> Ask(const fs::path& run, const OpenedScene& scene, const PathView& from,
                           const fs::path& pictures) {
  const std::unique_ptr<Teacher> teacher = OpenTeacher("embedded");
  FeatureCache cache(run / "features", teacher.get());
  LiftSummary summary;
  SemanticField field = LiftFromViews(scene, MakeSplit(*scene.capture, scene.options).train,
                                      LiftOptions(), false, &cache, &summary);
  SignField(*teacher, SceneFileHash(scene.file), &field);
  WriteSemanticField(SemanticFieldPath(scene.file), field);
  const std::unique_ptr<TextEncoder> encoder = OpenTextEncoder(field.text_space);
  const ScoredPrompts scored = ScorePrompts(FieldSet({&field}, Combine::kMax), encoder.get(),
                                            kQuestions, ChooseNegatives("", field, encoder.get()));
  const auto model = GaussianModel::FromCloud(scene.cloud, /*with_moments=*/false, c10::kCPU);
  const RenderOptions render = RenderOptionsOf(scene.options);
  const PinholeView view = MakeView(from.camera, from.camera_from_world);
  GaussianRenderer renderer;
  renderer.Render(model, view, render);
  const ScoreMaps maps = RenderScores(model, view, render.project, scored.scores);
  std::vector<SheetCell> cells;
  for (size_t q = 0; q < kQuestions.size(); ++q) {
    const at::Tensor map = maps.maps[static_cast<int64_t>(q)];
    const double high = std::max<double>(scored.neutral + 0.05, map.max().item<float>());
    cells.push_back({DrawHeatMap(ToImage(renderer.image), map, scored.neutral, high, kQuestions[q]),
                     "asked: \"" + kQuestions[q] + "\""});
    WriteImage(pictures / ("asked_" + std::to_string(q) + ".png"), cells.back().picture);
  }
  return cells;
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
    if (earlier == Earlier::kFinished) {
      fs::remove_all(run);
      fs::remove_all(capture);
    }
    if (earlier == Earlier::kUnfinished) {
      LogInfo(StrCat("going on with ", run.string()));
    } else {
      LogInfo(StrCat("1/5 making a room: ", options.images, " photographs in ", capture.string()));
      const StopOnSignal stop;
      if (WriteRooms(capture, RoomOfDemo(options), [] {
            return StopOnSignal::Received() != 0;
          }).interrupted) {
        std::cout << "stopped in the room; the same command goes on\n";
        return 128 + StopOnSignal::Received();
      }
    }

    LogInfo(StrCat("2/5 reconstructing it: ", options.iterations, " steps"));
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

    LogInfo("3/5 scoring it on the photographs that training has not seen");
    const OpenedScene scene = OpenScene(run, true);
    const SceneScore score = EvaluateHeldOut(scene, device, pictures / "held_out");
    WriteFile(run / "eval.json", ScoreJson(score, scene));

    LogInfo("4/5 flying around it");
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

    LogInfo("5/5 asking it in words");
    const std::vector<SheetCell> asked = Ask(run, scene, orbit[0], pictures);
    rows.push_back({{ContactSheet({}, {asked}, parts[1].width / 3), "asked in words"}});
    const fs::path overview = out / "overview.png";
    WriteImage(overview, ContactSheet({}, rows, parts[1].width));

    std::cout << "scene      " << scene.file.string() << ": " << Grouped(result.gaussians)
              << " Gaussians in " << Fixed(result.seconds, 1) << " s\nheld out   "
              << score.views.size() << " images: " << ScoreLine(score) << "\npictures   "
              << overview.string() << "\n           " << (pictures / "held_out").string()
              << "\n           " << (pictures / "orbit").string()
              << "\nask more   athanor semantic query " << ShellWord(run) << " 'a red mug'\n";
    return 0;
  };
}

}  // namespace athanor
