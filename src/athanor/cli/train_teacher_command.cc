// athanor semantic train-teacher
#include <iostream>

#include "athanor/cli/commands.h"
#include "athanor/cli/options_cli.h"
#include "athanor/scenes/semantics/teachers/embedded/train_teacher.h"

namespace athanor {

CommandAction SetUpSemanticTrainTeacher(CLI::App& app) {
  struct Arguments {
    std::vector<std::filesystem::path> worlds, scored_on;
    std::filesystem::path out;
    bool resume = false;
    TrainTeacherOptions options;
  };
  auto arguments = std::make_shared<Arguments>();
  app.add_option("WORLDS", arguments->worlds,
                 StrCat("folders of `sim room` or `sim street --truth`, with seeds from ",
                        kFirstTrainingSeed, " on"))
      ->required()
      ->type_name("PATH");
  app.add_option("--score", arguments->scored_on,
                 StrCat("folders of worlds that are held out, with seeds below ",
                        kFirstTrainingSeed, ", for the card"))
      ->type_name("PATH");
  AddPath(app, "-o,--out", &arguments->out, "folder of the run")->required();
  app.add_flag("--resume", arguments->resume, "go on with the run in the folder");
  OptionFlags flags(app, Describe(arguments->options), true, "Options of the training");
  app.footer(
      "Needs no picture but simulated ones. The weights open as any teacher; "
      "docs/teachers_embedded.md "
      "says what they know.");
  return [arguments, flags]() mutable {
    flags.Apply();
    const Arguments& a = *arguments;
    TrainTeacherResult result;
    {
      const StopOnSignal stop;
      result = TrainTeacher(a.worlds, a.scored_on, a.out, a.options, a.resume,
                            [] { return StopOnSignal::Received() != 0; });
    }
    if (result.interrupted) {
      std::cout << "stopped at step " << Grouped(result.step) << "; --resume goes on\n";
      return 128 + StopOnSignal::Received();
    }
    std::cout << "weights    " << result.weights.string() << ": " << Grouped(result.parameters)
              << " parameters, " << Grouped(result.step) << " steps\n";
    for (const TeacherScore& s : result.scores) {
      std::cout << "held out   " << s.sort << ": mIoU " << Fixed(100 * s.frequent_miou, 1)
                << " % of frequent kinds, " << Fixed(100 * s.miou, 1) << " % of all "
                << s.kinds.size() << "; colours " << Fixed(100 * s.color_accuracy, 1)
                << " %, parts " << Fixed(100 * s.part_accuracy, 1) << " %\n";
    }
    if (!result.card.empty()) std::cout << "card       " << result.card.string() << "\n";
    return 0;
  };
}

}  // namespace athanor
