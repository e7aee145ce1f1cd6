// The program `athanor`: one table of commands. Each command is declared in the file of its group.
#include <ATen/Parallel.h>
#include <c10/util/Exception.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <map>
#include <new>
#include <set>
#include <string>

#include "athanor/base/log.h"
#include "athanor/base/parallel.h"
#include "athanor/cli/blas.h"
#include "athanor/cli/commands.h"
#include "athanor/cli/options_cli.h"
#include "athanor/lake/lake.h"
#include "athanor/loop/vehicle/upload.h"

namespace athanor {
namespace {

constexpr int kFailed = 1, kWrongUsage = 2;  // exit statuses

struct Command {
  const char* group;  // "" for a command without verbs
  const char* verb;
  const char* help;
  CommandAction (*set_up)(CLI::App& app);
};

const Command kCommands[] = {
    {"scene", "import", "Find camera poses, or the points of a capture that has poses only",
     SetUpSceneImport},
    {"scene", "reconstruct", "Train 3D Gaussians from photographs with poses",
     SetUpSceneReconstruct},
    {"scene", "eval", "Score a scene on the photographs that were held out", SetUpSceneEval},
    {"scene", "render", "Render pictures of a scene along a camera path", SetUpSceneRender},
    {"scene", "info", "Say what is in a scene", SetUpSceneInfo},
    {"scene", "export", "Write a scene in another format", SetUpSceneExport},
    {"edit", "remove", "Take part of a scene away", SetUpEditRemove},
    {"edit", "isolate", "Keep part of a scene and take the rest away", SetUpEditIsolate},
    {"edit", "recolor", "Give part of a scene another colour, with its light and shade",
     SetUpEditRecolor},
    {"edit", "transform", "Move, turn, scale or copy part of a scene", SetUpEditTransform},
    {"edit", "insert", "Put another scene into a scene", SetUpEditInsert},
    {"semantic", "lift", "Give every Gaussian a feature, from what a 2D model says of the views",
     SetUpSemanticLift},
    {"semantic", "query", "Find what words describe: heat maps, and objects with 3D boxes",
     SetUpSemanticQuery},
    {"semantic", "segment", "Give every Gaussian one of a list of labels", SetUpSemanticSegment},
    {"semantic", "eval", "Score features on label maps or on annotated phrases", SetUpSemanticEval},
    {"semantic", "distill", "Teach a 3D network the features of many scenes", SetUpSemanticDistill},
    {"semantic", "predict", "Give a scene without photographs the features of a 3D network",
     SetUpSemanticPredict},
    {"semantic", "train-teacher",
     "Train the teacher that comes with the program, on simulated rooms",
     SetUpSemanticTrainTeacher},
    {"log", "info", "Say what is in driving logs", SetUpLogInfo},
    {"log", "check", "Look for faults in driving logs: tables, files, points in boxes",
     SetUpLogCheck},
    {"log", "view", "Draw frames of a driving log: from above, and what the cameras saw",
     SetUpLogView},
    {"log", "corrupt", "Write a nuScenes data set with its sensors corrupted: fog, snow, losses",
     SetUpLogCorrupt},
    {"lake", "ingest", "Take driving logs into a lake; what is there already adds nothing",
     SetUpLakeIngest},
    {"lake", "info", "Say what is in a lake", SetUpLakeInfo},
    {"lake", "mirror", "Read a lake that lies elsewhere, through a cache", SetUpLakeMirror},
    {"lake", "verify", "Read all of a lake, and check every byte against its checksum",
     SetUpLakeVerify},
    {"lake", "remove", "Take clips out of a lake", SetUpLakeRemove},
    {"lake", "gc", "Give back the room of what was removed", SetUpLakeGc},
    {"lake", "export", "Write clips of a lake as a nuScenes data set", SetUpLakeExport},
    {"", "infer", "Let models look at every frame: boxes and vectors, nothing computed twice",
     SetUpInfer},
    {"registry", "add", "Take a model in: weights, parents, data, how it did", SetUpRegistryAdd},
    {"registry", "list", "Show the models", SetUpRegistryList},
    {"registry", "show", "Say all that is known of a model", SetUpRegistryShow},
    {"registry", "set", "Change the role of a model, add how it did", SetUpRegistrySet},
    {"registry", "remove", "Give models up; what others descend from stays", SetUpRegistryRemove},
    {"registry", "gc", "Take away what was given up and nothing needs", SetUpRegistryGc},
    {"mine", "similar", "Find boxes or frames that are like examples, or like words",
     SetUpMineSimilar},
    {"mine", "uncertain", "Find boxes that the members of an ensemble do not agree on",
     SetUpMineUncertain},
    {"mine", "undigested", "Find what a small model does not do as a large one does",
     SetUpMineUndigested},
    {"mine", "digest", "Say which undigested frames were learned from", SetUpMineDigest},
    {"mine", "rule", "Find frames and boxes by SQL over their attributes", SetUpMineRule},
    {"mine", "select", "Choose a batch to label from what was mined, within a cost",
     SetUpMineSelect},
    {"mine", "purity", "Say how much of what was mined is of a class, by true boxes",
     SetUpMinePurity},
    {"label", "auto", "Label logs by a large model, tracked through past and future",
     SetUpLabelAuto},
    {"label", "words", "Label what nobody has labelled, by words, through Gaussian scenes",
     SetUpLabelWords},
    {"label", "audit", "Find how sure labels have to be to be as precise as asked for",
     SetUpLabelAudit},
    {"label", "queue", "Write what people should look at first", SetUpLabelQueue},
    {"label", "import", "Take back what people made of it", SetUpLabelImport},
    {"label", "export", "Write logs with these labels as a nuScenes data set, to train on",
     SetUpLabelExport},
    {"detect", "eval", "Score detections on a benchmark, as its official tool does",
     SetUpDetectEval},
    {"detect", "train", "Train the LiDAR-camera detector on driving logs", SetUpDetectTrain},
    {"detect", "follow", "Be one of the processes of a `detect train --processes`",
     SetUpDetectFollow},
    {"detect", "pretrain", "Teach the detector's encoders to fill in what is hidden, without boxes",
     SetUpDetectPretrain},
    {"detect", "predict", "Find objects in driving logs: results and pictures", SetUpDetectPredict},
    {"detect", "bench", "Time the detector on driving logs, stage by stage", SetUpDetectBench},
    {"detect", "export", "Write the weights of a training in a small file", SetUpDetectExport},
    {"eval", "compare", "Say whether one detector is better than another beyond luck",
     SetUpEvalCompare},
    {"eval", "robustness", "Say how well a detector resists corruptions: mRA, RRA",
     SetUpEvalRobustness},
    {"models", "list", "Show the networks of others that we can run, and which are here",
     SetUpModelsList},
    {"models", "fetch", "Download a network of others, or copy it, with its checksum checked",
     SetUpModelsFetch},
    {"sim", "room", "Make furnished rooms: photographs with poses and the truth of every pixel",
     SetUpSimRoom},
    {"sim", "street",
     "Simulate driving logs: streets, traffic, cameras and LiDAR, with exact truth",
     SetUpSimStreet},
    {"train", "population",
     "Breed models: short steps, changing hyper-parameters, and the Pareto front as the result",
     SetUpTrainPopulation},
    {"vehicle", "run", "Drive logs again as a car that keeps only what matters, under hard budgets",
     SetUpVehicleRun},
    {"vehicle", "bundle", "Tell a car what to look for, what it may use, and what to send",
     SetUpVehicleBundle},
    {"vehicle", "receive", "Take what a car sent over NATS into a folder", SetUpVehicleReceive},
    {"loop", "run", "Mine, label, train, evaluate, promote: round after round, nobody in between",
     SetUpLoopRun},
    {"loop", "status", "Say how far a loop has come, and how good its models are", SetUpLoopStatus},
    {"loop", "report", "Write a loop on one page, with plots and pictures", SetUpLoopReport},
    {"", "demo", "Make a small capture, reconstruct it, score it and show it", SetUpDemo},
    {"", "doctor", "Say what this machine offers, and test every kernel on it", SetUpDoctor},
};

const std::map<std::string, std::string> kGroupHelp = {
    {"detect", "3D object detection"},
    {"edit", "Changes to Gaussian scenes; the result is a scene like any other"},
    {"eval", "What scores mean"},
    {"label", "Labels without people, and with few: versions that never change"},
    {"lake", "Where clips live: a catalog and packed shards; reads as a driving log everywhere"},
    {"log", "Driving logs of the public formats"},
    {"loop", "Data in, better models out"},
    {"mine", "The few frames worth labelling in all that was driven"},
    {"models", "Networks of others: 2D teachers, text encoders, masks"},
    {"registry", "Models and where they come from"},
    {"scene", "Photographs to 3D Gaussian scenes, and what to do with them"},
    {"semantic", "Words for scenes: features of 2D models on Gaussians, and questions to them"},
    {"sim", "Simulated worlds with exact truth"},
    {"train", "Models that are trained by themselves, many at once"},
    {"vehicle", "What a car keeps and uploads, and what the cloud tells it"},
};

void PrintError(std::string_view message) {
  std::cerr << "athanor: " << message.substr(0, message.find('\n')) << "\n";
}

// A command that a loop started goes down with it, whatever ends the loop.
void FollowParent() {
  const char* parent = std::getenv("ATHANOR_PARENT");
  if (parent == nullptr) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (std::to_string(::getppid()) != parent) std::exit(kFailed);  // it has ended already
  ::unsetenv("ATHANOR_PARENT");  // which is not that of our own children
}

// Of the groups whose commands run the detector, whose many short loops are shared out to threads.
const std::set<std::string> kManyShortLoops = {"detect", "infer", "label",
                                               "loop",   "train", "vehicle"};

// Two libraries read the environment when they are loaded, so the program begins anew where
// - threads of libgomp would spin while they wait, and keep the cores from everybody else's: two
//   cores were slower than one;
// - OpenBLAS does not know the processor.
// What the environment says already stands, so that this ends.
void BeginAnewIfBetter(char** argv, bool many_short_loops) {
  bool better = false;
  const auto set = [&](const char* name, const std::string& value) {
    if (std::getenv(name) != nullptr) return;
    ::setenv(name, value.c_str(), 1);
    better = true;
  };
  if (many_short_loops) set("OMP_WAIT_POLICY", "passive");
  if (const std::string kernels = BetterBlasKernels(); !kernels.empty()) {
    set("OPENBLAS_CORETYPE", kernels);
  }
  if (better) ::execv("/proc/self/exe", argv);
}

void SetThreads(int threads) {
  SetNumThreads(threads);
  at::set_num_threads(NumThreads());
  SetBlasThreads(NumThreads());
}

int Run(int argc, char** argv) {
  FollowParent();
  CLI::App app("Athanor, a perception data engine: from driving data to scenes, labels and models",
               "athanor");
  app.formatter(MakeHelpFormatter());
  app.fallthrough();
  app.set_version_flag("--version", std::string("athanor ") + ATHANOR_VERSION,
                       "Print the version and exit");
  app.set_help_flag("-h,--help", "Print this help and exit");
  int threads = 0;
  app.add_option("--threads", threads, "threads to use; 0 = all cores (default: 0)")
      ->check(CLI::Range(0, 4096).description(""))
      ->type_name("N");
  std::string log_level = "info";
  const std::map<std::string, LogLevel> levels = {{"debug", LogLevel::kDebug},
                                                  {"info", LogLevel::kInfo},
                                                  {"warning", LogLevel::kWarning},
                                                  {"error", LogLevel::kError}};
  app.add_option("--log-level", log_level, "least serious messages to show (default: info)")
      ->check(CLI::IsMember(levels).description(""))
      ->type_name("debug|info|warning|error");

  std::map<const CLI::App*, CommandAction> actions;
  std::map<std::string, CLI::App*> groups = {{"", &app}};
  for (const Command& command : kCommands) {
    CLI::App*& group = groups[command.group];
    if (group == nullptr) {
      group = app.add_subcommand(command.group, kGroupHelp.at(command.group));
    }
    CLI::App* verb = group->add_subcommand(command.verb, command.help);
    actions[verb] = command.set_up(*verb);
  }
  // Hidden: an empty group leaves it out of the help.
  CLI::App* docs = app.add_subcommand("docs", "Print docs/cli.md")->group("");
  actions[docs] = [&app] {
    std::cout << CommandReference(app);
    return 0;
  };

  // The innermost command that was named, and how to ask for its help.
  const auto find_chosen = [&app] {
    const CLI::App* chosen = &app;
    while (!chosen->get_subcommands().empty()) chosen = chosen->get_subcommands().front();
    return chosen;
  };
  const auto hint = [](const CLI::App* chosen) {
    std::string path = chosen->get_name();
    for (const CLI::App* up = chosen->get_parent(); up != nullptr; up = up->get_parent()) {
      path = up->get_name() + " " + path;
    }
    return " (see '" + path + " --help')";
  };
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    const std::string message = error.what();
    throw UsageError(message.substr(0, message.find('\n')) + hint(find_chosen()));
  }
  const CLI::App* chosen = find_chosen();
  if (argc == 1) {
    std::cout << app.help();
    return 0;
  }
  if (!actions.contains(chosen)) throw UsageError("expected a command" + hint(chosen));
  const CLI::App* group = chosen;
  while (group->get_parent() != &app) group = group->get_parent();
  BeginAnewIfBetter(argv, kManyShortLoops.contains(group->get_name()));
  SetLogLevel(levels.at(log_level));
  SetThreads(threads);
  RegisterLakes();
  RegisterUploads();
  return actions.at(chosen)();
}

}  // namespace
}  // namespace athanor

int main(int argc, char** argv) {
  using athanor::PrintError;
  try {
    const int status = athanor::Run(argc, argv);
    std::cout.flush();
    if (!std::cout) {
      PrintError("cannot write to the standard output");
      return athanor::kFailed;
    }
    return status;
  } catch (const athanor::UsageError& error) {
    PrintError(error.what());
    return athanor::kWrongUsage;
  } catch (const c10::Error& error) {
    PrintError(error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    PrintError("out of memory");
  } catch (const std::exception& error) {
    PrintError(error.what());
  }
  return athanor::kFailed;
}
