// athanor detect train, detect pretrain, detect follow
#include <csignal>
#include <iostream>

#include "athanor/base/files.h"
#include "athanor/base/parallel.h"
#include "athanor/cli/commands.h"
#include "athanor/cli/follower_command.h"
#include "athanor/cli/options_cli.h"
#include "athanor/detection/pretraining/pretrainer.h"
#include "athanor/detection/profusion3d/detector_trainer.h"

namespace athanor {

FollowerCommand FollowThisProgram(int threads) {
  return [threads](const std::string& address) {
    return std::vector<std::string>{"/proc/self/exe", "--threads", std::to_string(threads),
                                    "detect",         "follow",    address};
  };
}

CommandAction SetUpDetectFollow(CLI::App& app) {
  auto address = std::make_shared<std::string>();
  app.add_option("ADDRESS", *address, "what `detect train --port` says")
      ->required()
      ->type_name("HOST:PORT");
  app.footer("The data must lie at the same paths. Ends with the training.");
  return [address] {
    // Ctrl-C reaches all processes of a terminal: the leader stops where it can go on.
    std::signal(SIGINT, SIG_IGN);
    FollowTraining(*ProcessGroup::Follow(*address));
    return 0;
  };
}

CommandAction SetUpDetectTrain(CLI::App& app) {
  struct Arguments {
    std::vector<std::filesystem::path> logs, scored_on;
    std::filesystem::path out;
    bool resume = false;
    ProcessGroupOptions group{.processes = 1};
    DetectTrainOptions options;
  };
  auto arguments = std::make_shared<Arguments>();
  app.add_option("LOGS", arguments->logs, "driving logs to learn from, any that `log info` opens")
      ->required()
      ->type_name("PATH");
  app.add_option("--score", arguments->scored_on, "driving logs to score on")->type_name("PATH");
  AddPath(app, "-o,--out", &arguments->out, "folder of the run")->required();
  app.add_flag("--resume", arguments->resume, "go on with the run in the folder");
  app.add_option("--processes", arguments->group.processes,
                 "that share each batch; they share the cores, or have a GPU each (default: 1)")
      ->check(CLI::Range(1, 4096).description(""))
      ->type_name("N");
  app.add_option("--port", arguments->group.port,
                 "wait here for the other processes, which `detect follow` starts on any machine")
      ->check(CLI::Range(1, 65535).description(""))
      ->type_name("N");
  OptionFlags flags(app, Describe(arguments->options), true, "Network and training",
                    "configs/detect");
  return [arguments, flags]() mutable {
    flags.Apply();
    Arguments& a = *arguments;
    DetectTrainResult result;
    {
      if (a.group.port != 0 && a.group.processes == 1) {
        throw UsageError("--port: expected --processes 2 or more, found 1");
      }
      std::unique_ptr<ProcessGroup> group;
      if (a.group.processes > 1) {
        if (a.group.port == 0) {
          SetNumThreads(std::max(1, NumThreads() / a.group.processes));
          a.group.follower = FollowThisProgram(NumThreads());
        }
        MakeFolder(a.out);
        a.group.log = a.out / "processes.txt";
        group = ProcessGroup::Lead(a.group);
      }
      const StopOnSignal stop;
      result = TrainDetector(
          a.logs, a.scored_on, a.out, a.options, a.resume,
          [] { return StopOnSignal::Received() != 0; }, group.get());
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
