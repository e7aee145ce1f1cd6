// athanor semantic distill, predict
#include <iostream>

#include "athanor/base/program.h"
#include "athanor/cli/commands.h"
#include "athanor/cli/options_cli.h"
#include "athanor/scenes/gaussians/reconstruct_run.h"
#include "athanor/scenes/semantics/network/distill.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

// The file of Gaussians of a finished run, or the file itself.
fs::path SceneFile(const fs::path& run_or_file) {
  if (!fs::is_directory(run_or_file)) return run_or_file;
  const fs::path scene = ReadRun(run_or_file).scene;
  ATHANOR_CHECK(fs::exists(scene), run_or_file.string(),
                ": the run has not finished: it has no scene.ply; go on with --resume");
  return scene;
}

}  // namespace

CommandAction SetUpSemanticDistill(CLI::App& app) {
  struct Arguments {
    std::vector<fs::path> scenes;
    fs::path out, resume;
    DistillOptions options;
  };
  auto arguments = std::make_shared<Arguments>();
  app.add_option("SCENES", arguments->scenes,
                 "folders of runs, or files of Gaussians, each with lifted features beside it")
      ->type_name("PATH");
  AddPath(app, "-o,--out", &arguments->out, "folder of the training run");
  AddPath(app, "--resume", &arguments->resume, "go on with the run of this folder")
      ->excludes("--out");
  OptionFlags flags(app, Describe(arguments->options), true, "Options of the training");
  return [arguments, flags]() mutable {
    flags.Apply();
    const bool resume = !arguments->resume.empty();
    if (resume && (!arguments->scenes.empty() || !flags.FirstGiven().empty())) {
      throw UsageError(StrCat("--resume takes everything from ", arguments->resume.string(),
                              ": expected no other option of the training, found ",
                              arguments->scenes.empty() ? flags.FirstGiven() : "SCENES"));
    }
    if (!resume && (arguments->scenes.empty() || arguments->out.empty())) {
      throw UsageError(
          "expected SCENES and -o RUN, or --resume RUN (see 'athanor semantic distill --help')");
    }
    std::vector<DistillScene> scenes;
    for (const fs::path& path : arguments->scenes) {
      const fs::path file = SceneFile(path), field = SemanticFieldPath(file);
      ATHANOR_CHECK(fs::exists(field), path.string(), ": expected lifted features at ",
                    field.string(), ", found none; make them with 'athanor semantic lift'");
      scenes.push_back({file, field});
    }
    const fs::path& folder = resume ? arguments->resume : arguments->out;
    DistillResult result;
    {
      const StopOnSignal stop;
      result = Distill(scenes, folder, arguments->options, resume,
                       [] { return StopOnSignal::Received() != 0; });
    }
    if (result.interrupted) {
      std::cout << "stopped at step " << result.step
                << "; go on with:\n  athanor semantic distill --resume " << ShellWord(folder)
                << "\n";
      return 128 + StopOnSignal::Received();
    }
    std::cout << "network    " << (folder / "network.safetensors").string() << "\nloss       "
              << Fixed(result.loss, 4) << " (1 - cosine)\nseconds    " << Fixed(result.seconds, 1)
              << "\nnext       athanor semantic predict SCENE --network " << ShellWord(folder)
              << "\n";
    return 0;
  };
}

CommandAction SetUpSemanticPredict(CLI::App& app) {
  struct Arguments {
    fs::path scene, network, out;
    std::string precision = "float32";
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "SCENE", &arguments->scene, "folder of a run, or a file (.ply, .splat, .spz)")
      ->required();
  AddPath(app, "--network", &arguments->network,
          "folder of a distillation, or its network.safetensors")
      ->required();
  AddPath(app, "-o,--out", &arguments->out,
          "file to write (default: beside the scene, where queries look for it)");
  app.add_option("--precision", arguments->precision,
                 "of the convolutions; bfloat16 is faster where the processor multiplies it "
                 "(default: float32)")
      ->check(CLI::IsMember({"float32", "bfloat16"}).description(""))
      ->type_name("float32|bfloat16");
  return [arguments] {
    const fs::path file = SceneFile(arguments->scene);
    const fs::path out = arguments->out.empty() ? SemanticFieldPath(file, "3d") : arguments->out;
    const SemanticField field = PredictField(file, arguments->network, arguments->precision);
    WriteSemanticField(out, field);
    std::cout << "features   " << out.string() << ": " << Grouped(field.size()) << " Gaussians, "
              << field.dimension() << " numbers each\n";
    return 0;
  };
}

}  // namespace athanor
