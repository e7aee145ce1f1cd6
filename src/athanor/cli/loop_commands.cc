// athanor loop ...
#include <iostream>
#include <memory>

#include "athanor/base/files.h"
#include "athanor/cli/commands.h"
#include "athanor/cli/detect_results.h"
#include "athanor/cli/options_cli.h"
#include "athanor/loop/rounds/loop_report.h"
#include "athanor/loop/rounds/loop_run.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLoopHelp = "folder of the loop (default: runs/loop)";

void PrintStatus(const fs::path& folder, const LoopOptions& options) {
  const LoopState state = ReadLoopState(folder);
  std::vector<std::vector<std::string>> rows = {{"round", "stages", "labelled",
                                                 "with " + options.rare, options.rare + " AP",
                                                 "mAP", "NDS", "seconds", "what became of it"}};
  for (int r = 0; r < std::ssize(state.rounds); ++r) {
    const LoopRoundRecord& round = state.rounds[r];
    double seconds = 0;
    for (const LoopStageRecord& stage : round.stages) seconds += stage.seconds;
    const auto score = [&](const std::string& name) {
      return round.scores.contains(name) ? Fixed(round.scores.at(name), 3) : std::string("-");
    };
    rows.push_back({StrCat(r), StrCat(round.stages.size()), r == 0 ? "-" : Grouped(round.frames),
                    round.rare_in_batch < 0 ? "-" : Grouped(round.rare_in_batch),
                    score(options.rare), score("mAP"), score("NDS"), Fixed(seconds, 0),
                    round.decision.empty() && !round.stages.empty()
                        ? "after " + round.stages.back().name
                        : round.decision});
  }
  std::cout << Table(rows);
}

// Writes FOLDER/report.html.
void WriteReport(const fs::path& folder) {
  const fs::path path = folder / "report.html";
  WriteFile(path, MakeLoopReport(folder));
  std::cout << "report     " << path.string() << "\n";
}

int RunLoopHere(const fs::path& folder, LoopOptions options, int threads) {
  CheckLoopOptions(options);
  LoopRunOptions run;
  run.program = {"/proc/self/exe", "--threads", std::to_string(threads)};
  run.small = DetectorFile(options.small), run.large = DetectorFile(options.large);
  const StopOnSignal stop;
  run.stop = [] { return StopOnSignal::Received() != 0; };
  if (!RunLoop(folder, options, run)) {
    std::cout << "stopped; the same command goes on\n";
    return 128 + StopOnSignal::Received();
  }
  PrintStatus(folder, options);
  std::cout << "\n";
  WriteReport(folder);
  return 0;
}

}  // namespace

CommandAction SetUpLoopRun(CLI::App& app) {
  struct Arguments {
    fs::path config, folder = "runs/loop";
    int rounds = 0;
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "CONFIG", &arguments->config, "TOML file with the loop's options: docs/loop.md")
      ->required();
  AddPath(app, "-o,--out", &arguments->folder, kLoopHelp);
  app.add_option("--rounds", arguments->rounds, "how many (default: as the configuration says)")
      ->check(CLI::Range(1, 1000).description(""))
      ->type_name("N");
  app.footer("Killed at any time, the same command goes on; with more --rounds it goes further.");
  return [arguments, command = &app] {
    LoopOptions options = ReadLoopOptions(arguments->config);
    if (arguments->rounds > 0) options.rounds = arguments->rounds;
    const CLI::App* root = command;
    while (root->get_parent() != nullptr) root = root->get_parent();
    return RunLoopHere(arguments->folder, options, root->get_option("--threads")->as<int>());
  };
}

CommandAction SetUpLoopStatus(CLI::App& app) {
  auto folder = std::make_shared<fs::path>("runs/loop");
  AddPath(app, "FOLDER", folder.get(), kLoopHelp);
  return [folder] {
    PrintStatus(*folder, OptionsOfLoop(*folder));
    return 0;
  };
}

CommandAction SetUpLoopReport(CLI::App& app) {
  auto folder = std::make_shared<fs::path>("runs/loop");
  AddPath(app, "FOLDER", folder.get(), kLoopHelp);
  return [folder] {
    WriteReport(*folder);
    return 0;
  };
}

}  // namespace athanor
