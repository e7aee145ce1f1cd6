// athanor detect train
#include <iostream>

#include "athanor/cli/commands.h"
#include "athanor/cli/options_cli.h"
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
                << Fixed(result.nd_score, 4) << "\n";
    }
    return 0;
  };
}

}  // namespace athanor
