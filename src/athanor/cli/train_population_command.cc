// athanor train population
#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "athanor/base/files.h"
#include "athanor/base/parallel.h"
#include "athanor/cli/commands.h"
#include "athanor/cli/follower_command.h"
#include "athanor/cli/options_cli.h"
#include "athanor/loop/training/population_run.h"
#include "athanor/loop/training/trainables/open_trainable.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string config;
  fs::path out, as_worker;
  std::string worker_name;
  bool join = false;
  PopulationRunOptions options;
};

std::string Short(const std::string& number) {
  char* end = nullptr;
  const double value = std::strtod(number.c_str(), &end);
  if (number.empty() || *end != '\0') return number;
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

void PrintFront(const fs::path& run, const PopulationConfig& config,
                const std::vector<Objective>& objectives, const PopulationReport& report) {
  const PopulationStore store(run);
  std::vector<std::vector<std::string>> rows(1);
  rows[0] = {"model", "steps", "parents"};
  for (const Objective& objective : objectives) rows[0].push_back(objective.name);
  for (const HyperRange& range : config.space.ranges()) rows[0].push_back(range.name);
  std::vector<int64_t> front = report.front;
  // The best in the first objective first.
  std::stable_sort(front.begin(), front.end(), [&](int64_t a, int64_t b) {
    return ScaledPoint(objectives, store.members()[a].objectives) >
           ScaledPoint(objectives, store.members()[b].objectives);
  });
  for (const int64_t id : front) {
    const Member& member = store.members()[id];
    std::string parents;
    for (const int64_t parent : member.parents) {
      parents += StrCat(parents.empty() ? "" : ", ", parent);
    }
    rows.push_back({std::to_string(id), Grouped(member.steps), parents});
    for (const Objective& objective : objectives) {
      rows.back().push_back(Short(HyperText(member.objectives.at(objective.name))));
    }
    for (const HyperRange& range : config.space.ranges()) {
      rows.back().push_back(Short(member.hyper.at(range.name)));
    }
  }
  std::cout << Table(rows);
}

// Trains in the processes that a configuration asks for.
TrainableOpener Opener(int threads) {
  return [follower = FollowThisProgram(threads)](const std::string& kind, std::string_view toml,
                                                 std::string_view name) {
    return OpenTrainable(kind, toml, name, follower);
  };
}

int Run(const Arguments& a, int threads) {
  PopulationRunOptions options = a.options;
  options.open = Opener(threads);
  options.show_progress = true;
  options.stop = [] { return StopOnSignal::Received() != 0; };
  options.worker_command = [threads](const fs::path& session, const std::string& worker) {
    return std::vector<std::string>{"/proc/self/exe",
                                    "--threads",
                                    std::to_string(threads),
                                    "train",
                                    "population",
                                    ".",
                                    "-o",
                                    ".",
                                    "--as-worker",
                                    session.string(),
                                    "--worker-name",
                                    worker};
  };
  const StopOnSignal stop;
  if (a.join) {
    JoinPopulation(a.out, options);
    return 0;
  }
  const fs::path path = PresetPath("configs/population", a.config);
  const PopulationConfig config = ParsePopulationConfig(ReadFile(path), path.string());
  if (options.registry.empty()) options.registry = a.out / "registry";
  if (options.name.empty()) options.name = fs::absolute(a.out).lexically_normal().stem().string();
  const PopulationReport report = RunPopulation(a.out, config, options);
  if (report.interrupted) {
    std::cout << "stopped after " << Grouped(report.steps)
              << " short steps; the same command goes on\n";
    return 128 + StopOnSignal::Received();
  }
  const auto trainable = options.open(config.options.trainable, config.toml, config.name);
  const auto objectives = ChooseObjectives(trainable->objectives(), config.options.objectives);
  PrintFront(a.out, config, objectives, report);
  std::cout << "\nfront        " << report.front.size() << " models, "
            << (a.out / "front.json").string() << "\nhypervolume  " << Fixed(report.hypervolume, 4)
            << "\nmembers      " << Grouped(report.members) << ", " << Grouped(report.failed)
            << " failed\nthis time    " << Grouped(report.steps) << " short steps in "
            << Fixed(report.wall_s, 1) << " s, " << Fixed(report.busy_s, 1)
            << " s of them in steps and evaluations"
            << "\npictures     " << (a.out / "front.png").string() << ", "
            << (a.out / "progress.png").string() << "\nregistry     " << options.registry.string()
            << ": " << options.name << "-...\n";
  if (report.deaths > 0) std::cout << "workers      " << report.deaths << " died\n";
  return 0;
}

}  // namespace

CommandAction SetUpTrainPopulation(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  Arguments& a = *arguments;
  app.add_option("CONFIG", a.config,
                 "what is trained, for how long, and which hyper-parameters it has: one of "
                 "configs/population, or a TOML file")
      ->required()
      ->type_name("NAME|FILE.toml");
  AddPath(app, "-o,--out", &a.out, "folder of the run; one that is there goes on")->required();
  app.add_option("--workers", a.options.workers,
                 "processes that train and evaluate; each computes on one thread, or on --threads "
                 "(default: 1)")
      ->check(CLI::Range(1, 4096).description(""))
      ->type_name("N");
  app.add_option("--nats", a.options.nats,
                 "share the work over a NATS server with JetStream; --join brings workers of other "
                 "machines that see the folder")
      ->type_name("URL");
  app.add_flag("--join", a.join, "bring workers to the run in the folder until it is done");
  AddPath(app, "--start-from", &a.options.start_from,
          "another run, whose front are the first parents, beside new networks");
  AddPath(app, "--registry", &a.options.registry,
          "folder of the registry of models that gets the front (default: registry in the run)");
  app.add_option("--name", a.options.name,
                 "begins the names of models there (default: that of the run's folder)")
      ->type_name("NAME");
  // How this command starts its own workers.
  AddPath(app, "--as-worker", &a.as_worker, "")->group("");
  app.add_option("--worker-name", a.worker_name, "")->group("");
  app.footer(
      "Killed at any time, the same command goes on where it was. Writes front.json, front.png, "
      "progress.png and members.csv: docs/training.md.");
  CLI::App* root = &app;
  return [arguments, root] {
    if (!arguments->as_worker.empty()) {
      return RunPopulationWorker(arguments->as_worker, arguments->worker_name,
                                 Opener(NumThreads()));
    }
    // One unless they were chosen: bits stay the same on machines of any number of cores.
    const int threads = root->get_parent()->get_parent()->get_option("--threads")->as<int>();
    return Run(*arguments, threads == 0 ? 1 : threads);
  };
}

}  // namespace athanor
