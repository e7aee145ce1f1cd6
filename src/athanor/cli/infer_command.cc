// athanor infer
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <optional>

#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/base/progress.h"
#include "athanor/cli/commands.h"
#include "athanor/cli/options_cli.h"
#include "athanor/cli/registry_options.h"
#include "athanor/loop/inference/inference_run.h"
#include "athanor/loop/inference/models/open_model.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::vector<std::string> data, models, ensembles, gaussians, texts;
  fs::path out, cells, registry, as_worker;
  std::string worker_name;
  ModelSettings settings;
  InferenceOptions options;
};

// "a=b" as its halves; the first is empty when there is no "=".
std::pair<std::string, std::string> Halves(const std::string& text) {
  const size_t middle = text.find('=');
  if (middle == std::string::npos) return {"", text};
  return {text.substr(0, middle), text.substr(middle + 1)};
}

std::vector<std::string> SplitWords(const std::string& text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    if (c == ',') {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  return words;
}

// Models of --model and --ensemble, each once.
std::vector<ModelSpec> SpecsOf(const Arguments& a, Ensembles* ensembles) {
  std::vector<ModelSpec> specs;
  const auto add_spec = [&](const ModelSpec& spec) {
    for (const ModelSpec& known : specs) {
      if (known.name != spec.name) continue;
      if (known.Key() != spec.Key()) {
        throw UsageError(StrCat("--model: two models are called '", spec.name,
                                "': give one another name, NAME=FILE"));
      }
      return spec.name;
    }
    specs.push_back(spec);
    return spec.name;
  };
  const auto add = [&](const std::string& text) {
    const auto [name, where] = Halves(text);
    const FoundModel file = FindModelFile(a.registry, where);
    return add_spec(SpecOfWeights(name.empty() ? file.name : name, file.weights, a.settings));
  };
  for (const std::string& text : a.gaussians) {
    const auto [name, teacher] = Halves(text);
    if (a.texts.empty()) throw UsageError("--gaussians: expected words to ask for, --text WORDS");
    add_spec(SpecOfGaussians(name.empty() ? "gaussians" : name, teacher, a.texts));
  }
  for (const std::string& text : a.models) add(text);
  for (const std::string& text : a.ensembles) {
    const auto [name, members] = Halves(text);
    const std::vector<std::string> words = SplitWords(members);
    if (name.empty() || words.size() < 2) {
      throw UsageError(
          StrCat("--ensemble: expected NAME=MODEL,MODEL[,MODEL ...], found '", text, "'"));
    }
    for (const std::string& word : words) (*ensembles)[name].push_back(add(word));
  }
  return specs;
}

std::string Seconds(double seconds) { return Fixed(seconds, 1) + " s"; }

int RunInfer(const Arguments& a, int threads) {
  Ensembles ensembles;
  InferencePlan plan;
  plan.models = SpecsOf(a, &ensembles);
  plan.cells = a.cells.empty() ? a.out / "cells" : a.cells;
  int64_t refused = 0;
  for (const std::string& source : a.data) {
    std::optional<Progress> bar;
    const auto clips = PlanClips(
        source, plan.cells / "clip-ids",
        [&](const std::string& why) {
          LogWarning(StrCat("left out: ", why));
          ++refused;
        },
        [&](int64_t done, int64_t total) {
          if (!bar) bar.emplace("naming clips", total);
          bar->Update(done);
        });
    plan.clips.insert(plan.clips.end(), clips.begin(), clips.end());
  }
  ATHANOR_CHECK(!plan.clips.empty(), a.data[0], ": expected at least one clip, found none");
  InferenceOptions options = a.options;
  options.show_progress = true;
  options.worker_command = [threads](const fs::path& run, const std::string& worker) {
    return std::vector<std::string>{
        "/proc/self/exe", "--threads",  std::to_string(threads), "infer", ".", "-o", ".",
        "--as-worker",    run.string(), "--worker-name",         worker};
  };
  const InferenceReport report = RunInference(a.out, plan, ensembles, options);

  int64_t frames = 0;
  for (const PlannedClip& clip : plan.clips) frames += clip.frames;
  std::vector<std::vector<std::string>> rows = {
      {"model", "kind", "key", "objects", "frame vectors", "object vectors", "failed"}};
  const InferenceTable table(a.out);
  for (const InferredModel& model : table.models()) {
    rows.push_back({model.spec.name, model.spec.kind, model.spec.Key().substr(0, 12),
                    Grouped(model.objects), Grouped(model.frame_dimension),
                    Grouped(model.object_dimension), Grouped(std::ssize(model.failed))});
    for (size_t i = 0; i < std::min<size_t>(model.failed.size(), 5); ++i) {
      const FailedFrame& failed = model.failed[i];
      LogWarning(StrCat(model.spec.name, ": ", table.clips()[failed.clip].name, "/", failed.frame,
                        ": ", failed.reason));
    }
    if (model.failed.size() > 5) {
      LogWarning(StrCat(model.spec.name, ": and ", model.failed.size() - 5, " more"));
    }
  }
  for (const std::string& line : report.dead) LogWarning(line);
  std::cout << Table(rows) << "\ntable      " << a.out.string() << "\nclips      "
            << Grouped(std::ssize(plan.clips)) << ", " << Grouped(frames) << " frames\ncells      "
            << Grouped(report.cells) << ", " << Grouped(report.reused)
            << " of them from before\npasses     " << Grouped(report.passes) << " in "
            << Seconds(report.wall_s) << ": reading " << Seconds(report.read_s)
            << ", waiting for it " << Seconds(report.wait_s) << ", computing "
            << Seconds(report.forward_s) << "\n";
  if (report.deaths > 0) std::cout << "workers    " << report.deaths << " died\n";
  return report.dead.empty() && refused == 0 ? 0 : 1;
}

}  // namespace

CommandAction SetUpInfer(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  Arguments& a = *arguments;
  app.add_option("DATA", a.data, "driving logs, any that `log info` opens, or lakes")
      ->required()
      ->type_name("PATH ...");
  app.add_option("--model", a.models,
                 "a model that is to look at every frame: a name of the registry, tiny or words, "
                 "which come with the program, the card of a teacher, or a file of weights; NAME= "
                 "before it gives it another name (default: tiny)")
      ->type_name("[NAME=]MODEL")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--ensemble", a.ensembles,
                 "models that are one ensemble, for `mine uncertain`: NAME=MODEL,MODEL,...")
      ->type_name("NAME=MODELS")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--gaussians", a.gaussians,
                 "each moment as a scene of Gaussians with this teacher's features on them "
                 "(embedded, a card, a file), which is asked for --text: boxes of what nobody has "
                 "labelled; NAME= before it names it")
      ->type_name("[NAME=]TEACHER")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--text", a.texts,
                 "what --gaussians asks for, in words; its class is the one that it fits best, or "
                 "WORDS=CLASS; again for more")
      ->type_name("WORDS")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  AddPath(app, "-o,--out", &a.out, "folder of the table; what is in it is not computed again")
      ->required();
  app.add_option("--workers", a.options.workers,
                 "processes that share the work; each computes on one thread, or on --threads "
                 "(default: 1)")
      ->check(CLI::Range(1, 4096).description(""))
      ->type_name("N");
  app.add_option("--nats", a.options.nats,
                 "share the work over a NATS server with JetStream: run the same command on any "
                 "number of machines that see the folder")
      ->type_name("URL");
  app.add_option("--lease", a.options.lease_s,
                 "a worker that is silent for so long has lost its work; a frame must take less, "
                 "seconds (default: 60)")
      ->check(CLI::Range(0.5, 86400.0).description(""))
      ->type_name("SECONDS");
  AddPath(app, "--registry", &a.registry, kRegistryHelp);
  AddPath(app, "--cells", &a.cells,
          "folder of what models said, which tables may share (default: cells in the table)");
  app.add_flag("--retry-failed", a.options.retry_failed, "try frames that failed before again");
  app.add_option("--device", a.settings.device, "of detectors: cpu, cuda or cuda:N (default: cpu)")
      ->type_name("DEVICE");
  app.add_flag("--bfloat16,!--no-bfloat16", a.settings.bfloat16,
               "convolutions of detectors compute in bfloat16, where the processor has AVX-512 "
               "(default: on)");
  app.add_option("--min-score", a.settings.min_score, "boxes below are not kept (default: 0.02)")
      ->check(CLI::Range(0.0, 1.0).description(""))
      ->type_name("X");
  app.add_option("--regions", a.settings.regions,
                 "vectors of regions that a teacher gives for each picture (default: 12)")
      ->check(CLI::Range(0, 64).description(""))
      ->type_name("N");
  // How this command starts its own workers.
  AddPath(app, "--as-worker", &a.as_worker, "")->group("");
  app.add_option("--worker-name", a.worker_name, "")->group("");
  app.footer(
      "Killed at any time, the same command goes on where it was. Writes models/NAME/boxes.json, "
      "frames.vectors and objects.vectors: docs/inference.md.");
  CLI::App* root = &app;
  return [arguments, root] {
    if (!arguments->as_worker.empty()) {
      return RunWorkerProcess(arguments->as_worker, arguments->worker_name, &OpenFrameModel);
    }
    if (arguments->models.empty() && arguments->ensembles.empty() && arguments->gaussians.empty()) {
      arguments->models = {"tiny"};
    }
    // One unless they were chosen: frames are shared out better than loops, and bits stay the same
    // on machines of any number of cores.
    const int threads = root->get_parent()->get_option("--threads")->as<int>();
    return RunInfer(*arguments, threads == 0 ? 1 : threads);
  };
}

}  // namespace athanor
