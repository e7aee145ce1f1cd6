// athanor demo: from nothing to a scene that one can look at and ask.
#include <ATen/ATen.h>

#include <iostream>

#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/base/program.h"
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

enum class Earlier { kNone, kUnfinished, kFinished, kOther };

// Where the demo keeps what it makes, and how far an earlier one came.
struct DemoFolder {
  explicit DemoFolder(const fs::path& out)
      : options(out / "demo.toml"),
        capture(out / "capture"),
        run(out / "run"),
        pictures(out / "pictures"),
        overview(out / "overview.png") {}

  bool has_run() const { return fs::exists(run / "config.toml"); }
  bool has_scene() const { return fs::exists(SceneOfRun(run)); }

  // `wanted`: the options, as they stand in the file. A run of anything else is refused.
  Earlier Find(const std::string& wanted) const {
    const bool is_demo = fs::exists(options);
    if (has_run() || (fs::exists(run) && !is_demo)) {
      const RunInfo info = ReadRun(run);
      std::error_code error;
      ATHANOR_CHECK(fs::weakly_canonical(info.input, error) == fs::weakly_canonical(capture, error),
                    run.string(), ": expected a run of the demo, found one of ",
                    info.input.string());
      if (!is_demo) return Earlier::kOther;
    }
    // What is there without the demo's options is not the demo's, and not to be cleared away later.
    ATHANOR_CHECK(is_demo || !fs::exists(capture) || fs::is_empty(capture), capture.string(),
                  ": expected none, or that of a demo, with demo.toml beside its folder");
    if (!is_demo) return Earlier::kNone;
    if (ReadFile(options) != wanted) return Earlier::kOther;
    return has_scene() && fs::exists(overview) ? Earlier::kFinished : Earlier::kUnfinished;
  }

  void Clear() const {
    for (const fs::path& path : {overview, run, capture, options}) fs::remove_all(path);
  }

  const fs::path options, capture, run, pictures, overview;
};

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
      "A demo that was stopped goes on where it stopped; one that had finished, or had other "
      "options, is made anew.");
  return [arguments, flags]() mutable {
    flags.Apply();
    const auto& [out, options] = *arguments;
    const c10::Device device = ParseDevice(options.device);
    const DemoFolder folder(out);
    const fs::path &capture = folder.capture, &run = folder.run, &pictures = folder.pictures,
                   &overview = folder.overview;
    DemoOptions copy = options;
    const std::string wanted = Describe(copy).ToToml();
    switch (folder.Find(wanted)) {
      case Earlier::kNone:
        break;
      case Earlier::kUnfinished:
        LogInfo(StrCat("going on with the demo in ", out.string()));
        break;
      case Earlier::kFinished:
        LogInfo(StrCat("the demo in ", out.string(), " had finished: it is made anew"));
        folder.Clear();
        break;
      case Earlier::kOther:
        LogInfo(StrCat("the demo in ", out.string(), " had other options: it is made anew"));
        folder.Clear();
        break;
    }
    WriteFile(folder.options, wanted);

    if (!folder.has_run()) {
      LogInfo(StrCat("1/5 making a room: ", options.images, " photographs in ", capture.string()));
      const StopOnSignal stop;
      if (WriteRooms(capture, RoomOfDemo(options), [] {
            return StopOnSignal::Received() != 0;
          }).interrupted) {
        std::cout << "stopped in the room; the same command goes on\n";
        return 128 + StopOnSignal::Received();
      }
    }

    std::string training_time;
    if (!folder.has_scene()) {
      LogInfo(StrCat("2/5 reconstructing it: ", options.iterations, " steps"));
      const StopOnSignal stop;
      const ReconstructResult result =
          Reconstruct(capture, run, TrainingOptions(options), folder.has_run(),
                      [] { return StopOnSignal::Received() != 0; });
      if (result.interrupted) {
        std::cout << "stopped at step " << result.step << "; the same command goes on\n";
        return 128 + StopOnSignal::Received();
      }
      training_time = StrCat(" in ", Fixed(result.seconds, 1), " s");
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
    WriteImage(overview, ContactSheet({}, rows, parts[1].width));

    std::cout << "scene      " << scene.file.string() << ": " << Grouped(scene.cloud.size())
              << " Gaussians" << training_time << "\nheld out   " << score.views.size()
              << " images: " << ScoreLine(score) << "\npictures   " << overview.string()
              << "\n           " << (pictures / "held_out").string() << "\n           "
              << (pictures / "orbit").string() << "\nask more   athanor semantic query "
              << ShellWord(run) << " 'a red mug'\n";
    return 0;
  };
}

}  // namespace athanor
