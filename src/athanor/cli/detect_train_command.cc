// athanor detect train, detect pretrain
#include <iostream>

#include "athanor/cli/commands.h"
#include "athanor/cli/options_cli.h"
#include "athanor/detection/pretraining/pretrainer.h"
#include "athanor/detection/profusion3d/detector_trainer.h"

namespace athanor {

CommandAction SetUpDetectTrain(CLI::App& app) {
  struct Arguments {
    std::vector<std::filesystem::path> logs, scored_on;
    std::filesystem::path out;
    bool resume = false;
    DetectTrainOptions options;
  };
  auto arguments = std::make_shared<Arguments>();
  app.add_option("LOGS", arguments->logs, "driving logs to learn from, any that `log info` opens")
      ->required()
      ->type_name("PATH");
  app.add_option("--score", arguments->scored_on, "driving logs to score on")->type_name("PATH");
  AddPath(app, "-o,--out", &arguments->out, "folder of the run")->required();
  app.add_flag("--resume", arguments->resume, "go on with the run in the folder");
  OptionFlags flags(app, Describe(arguments->options), true, "Network and training",
                    "configs/detect");
  return [arguments, flags]() mutable {
    flags.Apply();
    const Arguments& a = *arguments;
    DetectTrainResult result;
    {
      const StopOnSignal stop;
      result = TrainDetector(a.logs, a.scored_on, a.out, a.options, a.resume,
                             [] { return StopOnSignal::Received() != 0; });
    }
    if (result.interrupted) {
      std::cout << "stopped at step " << Grouped(result.step) << "; --resume goes on\n";
      return 128 + StopOnSignal::Received();
    }
    std::cout << "weights    " << result.weights.string() << ": " << Grouped(result.parameters)
              << " parameters, " << Grouped(result.step) << " steps on " << Grouped(result.frames)
              << " frames, loss " << Fixed(result.loss, 2) << "\n"
              << "curves     " << (a.out / "curves.png").string() << "\n";
    if (result.mean_ap >= 0) {
      std::cout << "scored     mAP " << Fixed(result.mean_ap, 4) << "   NDS "
                << Fixed(result.nd_score, 4) << "   mAP of the classes that occur "
                << Fixed(result.present_ap, 4) << "\n";
    }
    return 0;
  };
}

CommandAction SetUpDetectPretrain(CLI::App& app) {
  struct Arguments {
    std::vector<std::filesystem::path> logs;
    std::filesystem::path out;
    std::string preset;
    bool resume = false;
    DetectTrainOptions detector;  // of which the network counts
    PretrainOptions options;
  };
  auto arguments = std::make_shared<Arguments>();
  app.add_option("LOGS", arguments->logs, "driving logs; their boxes are not looked at")
      ->required()
      ->type_name("PATH");
  AddPath(app, "-o,--out", &arguments->out, "folder of the run")->required();
  app.add_option("--preset", arguments->preset,
                 "one of configs/detect, or a TOML file as `detect train` takes it: its network")
      ->type_name("NAME|FILE.toml");
  app.add_flag("--resume", arguments->resume, "go on with the run in the folder");
  OptionFlags network(app, Describe(arguments->detector.model), false, "Network");
  OptionFlags flags(app, Describe(arguments->options), false, "Pre-training");
  app.footer("`detect train --start-from OUT/pretrained.safetensors` takes the weights over.");
  return [arguments, network, flags]() mutable {
    Arguments& a = *arguments;
    if (!a.preset.empty()) {
      Describe(a.detector).ReadToml(PresetPath("configs/detect", a.preset));
    }
    network.Apply();
    flags.Apply();
    PretrainResult result;
    {
      const StopOnSignal stop;
      result = PretrainDetector(a.logs, a.out, a.detector.model, a.options, a.resume,
                                [] { return StopOnSignal::Received() != 0; });
    }
    if (result.interrupted) {
      std::cout << "stopped at step " << Grouped(result.step) << "; --resume goes on\n";
      return 128 + StopOnSignal::Received();
    }
    std::cout << "weights    " << (a.out / "pretrained.safetensors").string() << ": "
              << Grouped(result.step) << " steps in " << Fixed(result.seconds, 1) << " s, loss "
              << Fixed(result.loss, 3) << "\npicture    " << (a.out / "pretrained.png").string()
              << "\n";
    return 0;
  };
}

}  // namespace athanor
