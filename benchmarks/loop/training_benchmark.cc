// Measurements behind docs/training.md, on the small problem (loop/training/stream_problem.h):
//
//   training_benchmark strategies [SEEDS]   hypervolume at equal compute
//   training_benchmark warm [SEEDS]         warm starts against fresh training, one more drop
//   training_benchmark drops [SEEDS]        30 drops of data against retraining
//   training_benchmark overhead             of the engine, by the length of a step
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/loop/training/front_report.h"
#include "athanor/loop/training/population_run.h"
#include "athanor/loop/training/stream_problem.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

fs::path WorkFolder() {
  static const fs::path folder =
      fs::temp_directory_path() / StrCat("training_benchmark.", ::getpid());
  return folder;
}

struct Spread {
  double mean = 0, deviation = 0;
};
Spread SpreadOf(const std::vector<double>& values) {
  Spread spread;
  for (const double value : values) spread.mean += value / static_cast<double>(values.size());
  for (const double value : values) spread.deviation += std::pow(value - spread.mean, 2);
  spread.deviation =
      std::sqrt(spread.deviation / std::max<double>(1, static_cast<double>(values.size()) - 1));
  return spread;
}

std::unique_ptr<Trainable> OpenStream(const std::string&, std::string_view toml,
                                      std::string_view name) {
  return StreamProblem::FromToml(toml, name);
}

PopulationConfig StreamConfig() {
  const fs::path path = FindShared("configs/population/stream.toml");
  return ParsePopulationConfig(ReadFile(path), path.string());
}

// Hypervolume after work was spent, in the order of evaluation.
struct Curve {
  std::vector<double> work, volume;
  double At(double spent) const {
    double volume_then = 0;
    for (size_t i = 0; i < work.size() && work[i] <= spent; ++i) volume_then = volume[i];
    return volume_then;
  }
};

void CompareStrategies(int seeds) {
  struct Variant {
    const char* name;
    std::function<void(PopulationOptions&)> change;
  };
  const std::vector<Variant> variants = {
      {"pareto", [](PopulationOptions&) {}},
      {"pareto, parameters never mutated", [](PopulationOptions& o) { o.mutate = 0; }},
      {"pbt of the sum", [](PopulationOptions& o) { o.strategy = "pbt"; }},
      {"pbt of map", [](PopulationOptions& o) { o.strategy = "pbt", o.weights = "0,1,0"; }},
      {"asha", [](PopulationOptions& o) { o.strategy = "asha"; }},
      {"random", [](PopulationOptions& o) { o.strategy = "random"; }},
  };
  std::map<std::string, std::vector<double>> at_steps, at_work, at_half;
  for (int seed = 1; seed <= seeds; ++seed) {
    std::vector<Curve> curves;
    for (const Variant& variant : variants) {
      PopulationConfig config = StreamConfig();
      config.options.seed = seed;
      variant.change(config.options);
      PopulationRunOptions options;
      options.workers = 0, options.open = &OpenStream;
      const fs::path run = WorkFolder() / StrCat(seed, "-", curves.size());
      RunPopulation(run, config, options);
      const PopulationStore store(run);
      std::vector<const Member*> members;
      for (const Member& member : store.members()) {
        if (member.order >= 0) members.push_back(&member);
      }
      std::sort(members.begin(), members.end(),
                [](const Member* a, const Member* b) { return a->order < b->order; });
      const std::vector<double> volumes =
          HypervolumesOf(store.members(), StreamProblem({}).objectives());
      Curve& curve = curves.emplace_back();
      double work = 0;
      size_t evaluated = 0;
      for (const Member* member : members) {
        work += member->report.work;
        if (member->state != MemberState::kEvaluated) continue;
        curve.work.push_back(work);
        curve.volume.push_back(volumes[evaluated++]);
      }
      fs::remove_all(run);
    }
    double least = INFINITY;
    for (const Curve& curve : curves) least = std::min(least, curve.work.back());
    for (size_t i = 0; i < variants.size(); ++i) {
      at_steps[variants[i].name].push_back(curves[i].volume.back());
      at_work[variants[i].name].push_back(curves[i].At(least));
      at_half[variants[i].name].push_back(curves[i].At(least / 2));
    }
  }
  std::printf(
      "| strategy | at equal multiply-adds | at half of these | at equal steps | wins of "
      "pareto, of %d |\n|---|---|---|---|---|\n",
      seeds);
  for (const Variant& variant : variants) {
    const Spread work = SpreadOf(at_work[variant.name]), half = SpreadOf(at_half[variant.name]),
                 steps = SpreadOf(at_steps[variant.name]);
    int wins = 0;
    for (int s = 0; s < seeds; ++s) {
      wins += at_work[variants[0].name][s] > at_work[variant.name][s];
    }
    std::printf("| %s | %.4f +- %.4f | %.4f +- %.4f | %.4f +- %.4f | %d |\n", variant.name,
                work.mean, work.deviation, half.mean, half.deviation, steps.mean, steps.deviation,
                wins);
  }
}

// A network of 64 units a layer, at a rate that fits all labels.
HyperParameters Learner(double replacement_rate = 0) {
  return {{"rate", "0.02"},
          {"momentum", "0.9"},
          {"weight-decay", "0"},
          {"hidden", "64"},
          {"replacement-rate", HyperText(replacement_rate)}};
}

struct Trained {
  double on_training = 0, on_tests = 0;
};
Trained TrainOnce(StreamProblem& problem, const fs::path& from, const fs::path& to,
                  const ParameterMutation& mutation, int64_t updates, uint64_t seed,
                  double replacement_rate = 0) {
  TrainRequest request;
  request.from = from, request.hyper = Learner(replacement_rate), request.mutation = mutation;
  request.updates = updates, request.seed = seed;
  problem.Train(request, to);
  const StreamNetwork network = StreamNetwork::Decode(ReadFile(to), to.string());
  return {problem.Accuracy(network, false), problem.Accuracy(network, true)};
}

StreamProblemOptions FewSamples(int drops, int samples, int64_t seed) {
  StreamProblemOptions options;
  options.drops = drops, options.samples = samples, options.data_seed = seed;
  options.spread = 0.9, options.wrong = 0.1, options.tests = 4000;
  return options;
}

void CompareWarmStarts(int seeds) {
  struct Variant {
    const char* name;
    bool is_warm;
    ParameterMutation mutation;
  };
  const std::vector<Variant> variants = {
      {"fresh", false, {}},
      {"warm", true, {}},
      {"warm, shrink 0.8 perturb 0.1", true, {0.8, 0.1}},
      {"warm, shrink 0.6 perturb 0.1", true, {0.6, 0.1}},
      {"warm, shrink 0.4 perturb 0.1", true, {0.4, 0.1}},
      {"warm, shrink 0.2 perturb 0.2", true, {0.2, 0.2}},
      {"warm, half of the units anew", true, {1, 0, 0.5}},
  };
  std::map<std::string, std::vector<double>> tests, gaps, training;
  const fs::path folder = WorkFolder();
  for (int seed = 1; seed <= seeds; ++seed) {
    StreamProblemOptions options = FewSamples(2, 300, seed);
    options.drift = 0, options.new_clouds = 0;  // more of the same
    StreamProblem both(options);
    options.drops = 1;
    StreamProblem half(options);
    constexpr int64_t kUpdates = 4000;
    TrainOnce(half, {}, folder / "half", {}, kUpdates, seed);
    double fresh = 0;
    for (const Variant& variant : variants) {
      const Trained trained = TrainOnce(both, variant.is_warm ? folder / "half" : fs::path(),
                                        folder / "both", variant.mutation, kUpdates, seed + 1000);
      if (!variant.is_warm) fresh = trained.on_tests;
      tests[variant.name].push_back(100 * trained.on_tests);
      gaps[variant.name].push_back(100 * (trained.on_tests - fresh));
      training[variant.name].push_back(100 * trained.on_training);
    }
  }
  std::printf(
      "| start | accuracy on tests, %% | against fresh, points | standard error | on "
      "training samples, %% |\n|---|---|---|---|---|\n");
  for (const Variant& variant : variants) {
    const Spread test = SpreadOf(tests[variant.name]), gap = SpreadOf(gaps[variant.name]);
    std::printf("| %s | %.2f +- %.2f | %+.2f | %.2f | %.1f |\n", variant.name, test.mean,
                test.deviation, gap.mean, gap.deviation / std::sqrt(seeds),
                SpreadOf(training[variant.name]).mean);
  }
}

void CompareDrops(int seeds) {
  struct Variant {
    const char* name;
    ParameterMutation mutation;
    double replacement_rate;
  };
  const std::vector<Variant> variants = {
      {"warm", {}, 0},
      {"warm, shrink 0.8 perturb 0.1", {0.8, 0.1}, 0},
      {"warm, shrink 0.6 perturb 0.1", {0.6, 0.1}, 0},
      {"warm, shrink 0.4 perturb 0.1", {0.4, 0.1}, 0},
      {"warm, continual backpropagation 1e-3", {}, 1e-3},
  };
  constexpr int kDrops = 30, kEvery = 3;
  constexpr int64_t kUpdates = 1000, kFresh = 4000;
  // [part of the stream] differences to retraining, points.
  std::map<std::string, std::vector<std::vector<double>>> parts;
  const fs::path folder = WorkFolder();
  for (int seed = 1; seed <= seeds; ++seed) {
    std::map<int, double> fresh;
    for (const Variant& variant : variants) {
      parts[variant.name].resize(3);
      std::vector<std::vector<double>> of_seed(3);
      for (int drop = 1; drop <= kDrops; ++drop) {
        StreamProblemOptions options = FewSamples(drop, 200, seed);
        options.drift = 0.05;
        StreamProblem problem(options);
        const fs::path before = folder / StrCat("drop-", drop - 1),
                       after = folder / StrCat("drop-", drop);
        const Trained trained =
            TrainOnce(problem, drop == 1 ? fs::path() : before, after,
                      drop == 1 ? ParameterMutation() : variant.mutation,
                      drop == 1 ? kFresh : kUpdates, 100 * seed + drop, variant.replacement_rate);
        if (drop % kEvery != 0) continue;
        if (!fresh.contains(drop)) {
          fresh[drop] =
              TrainOnce(problem, {}, folder / "fresh", {}, kFresh, 7000 + 100 * seed + drop)
                  .on_tests;
        }
        of_seed[(drop - 1) * 3 / kDrops].push_back(100 * (trained.on_tests - fresh[drop]));
      }
      for (int part = 0; part < 3; ++part) {
        parts[variant.name][part].push_back(SpreadOf(of_seed[part]).mean);
      }
    }
  }
  std::printf("| stream | drops 1 to 10 | 11 to 20 | 21 to 30 |\n|---|---|---|---|\n");
  for (const Variant& variant : variants) {
    std::printf("| %s |", variant.name);
    for (const std::vector<double>& part : parts[variant.name]) {
      const Spread spread = SpreadOf(part);
      std::printf(" %+.2f +- %.2f |", spread.mean, spread.deviation);
    }
    std::printf("\n");
  }
}

void MeasureOverhead(const std::string& self) {
  std::printf(
      "| updates a step | seconds a step | generations | workers | wall, s | steps and "
      "evaluations, s | overhead |\n|---|---|---|---|---|---|---|\n");
  int run_number = 0;
  for (const auto& [updates, budget] : {std::pair{500, 96}, {5000, 24}, {25000, 16}}) {
    for (const bool is_synchronous : {true, false}) {
      PopulationConfig config = StreamConfig();
      config.options.updates = updates, config.options.budget = budget;
      config.options.population = 8;
      config.options.synchronous = is_synchronous;
      PopulationRunOptions options;
      options.workers = 1, options.open = &OpenStream;
      options.worker_command = [&](const fs::path& session, const std::string& name) {
        return std::vector<std::string>{self, "worker", session.string(), name};
      };
      const fs::path run = WorkFolder() / StrCat("overhead-", run_number++);
      const PopulationReport report = RunPopulation(run, config, options);
      std::printf("| %d | %.3f | %s | 1 | %.2f | %.2f | %.1f %% |\n", updates,
                  report.busy_s / budget, is_synchronous ? "synchronous" : "asynchronous",
                  report.wall_s, report.busy_s, 100 * (report.wall_s / report.busy_s - 1));
    }
  }
}

}  // namespace
}  // namespace athanor

int main(int argc, char** argv) {
  using namespace athanor;
  const std::string what = argc > 1 ? argv[1] : "";
  try {
    if (what == "worker" && argc == 4) return RunPopulationWorker(argv[2], argv[3], &OpenStream);
    SetLogLevel(LogLevel::kError);
    fs::create_directories(WorkFolder());
    const int seeds = argc > 2 ? std::max(1, std::atoi(argv[2])) : 5;
    if (what == "strategies") {
      CompareStrategies(seeds);
    } else if (what == "warm") {
      CompareWarmStarts(seeds);
    } else if (what == "drops") {
      CompareDrops(seeds);
    } else if (what == "overhead") {
      MeasureOverhead(argv[0]);
    } else {
      throw Error("expected strategies, warm, drops or overhead");
    }
    fs::remove_all(WorkFolder());
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "training_benchmark: %s\n", error.what());
    return 1;
  }
}
