#include "athanor/scenes/semantics/teachers/embedded/train_teacher.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/base/memory.h"
#include "athanor/base/parallel.h"
#include "athanor/media/plot.h"
#include "athanor/nn/training_run.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int64_t kMetricsEvery = 10, kCheckpointEvery = 500, kScoreEvery = 1000;
constexpr int64_t kQuickViews = 24;

// A run goes on with its own options; only its length may change.
void CheckSameOptions(const fs::path& path, TrainTeacherOptions options) {
  TrainTeacherOptions before;
  Describe(before).ReadToml(path);
  before.steps = options.steps;
  ATHANOR_CHECK(Describe(before).ToToml() == Describe(options).ToToml(), path.string(),
                ": this run has other options; only --steps may change when it goes on");
}

std::string Listed(const std::vector<fs::path>& folders) {
  std::string list;
  for (const fs::path& folder : folders) list += (list.empty() ? "" : ", ") + folder.string();
  return list;
}

std::string AboutRun(const std::vector<fs::path>& folders, const LabelledWorlds& worlds) {
  std::vector<fs::path> absolute;
  for (const fs::path& folder : folders) absolute.push_back(fs::absolute(folder));
  return Json{{"kind", "semantic train-teacher"},
              {"threads", NumThreads()},
              {"worlds", Listed(absolute)},
              {"worlds_hash", worlds.Fingerprint()}}
             .dump(2) +
         "\n";
}

// A run goes on with the worlds that it began with.
void CheckSameWorlds(const fs::path& path, const std::vector<fs::path>& folders,
                     const LabelledWorlds& worlds) {
  if (!fs::exists(path)) {
    LogWarning(StrCat(path.string(),
                      ": there is none, which would say whether the run began with "
                      "these worlds"));
    return;
  }
  const Json run = Json::parse(ReadFile(path), nullptr, /*allow_exceptions=*/false);
  ATHANOR_CHECK(run.is_object() && run.value("kind", "") == "semantic train-teacher" &&
                    run.contains("worlds") && run["worlds"].is_string() &&
                    run.contains("worlds_hash") && run["worlds_hash"].is_string(),
                path.string(), ": expected the run of a train-teacher with 'worlds'");
  ATHANOR_CHECK(run["worlds_hash"].get<std::string>() == worlds.Fingerprint(), path.string(),
                ": the run began with the worlds of ", run["worlds"].get<std::string>(),
                "; expected the same ones in the same order, found others in ", Listed(folders));
}

// "dog=animal,sheep=" by kind.
std::map<std::string, std::string> ReadCalls(const std::string& text) {
  std::map<std::string, std::string> calls;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const size_t equals = part.find('=');
    ATHANOR_CHECK(equals != std::string::npos && equals > 0, "--call: expected KIND=NAME, found '",
                  part, "'");
    calls[part.substr(0, equals)] = part.substr(equals + 1);
  }
  return calls;
}

std::string Percent(double share) {
  char text[16];
  std::snprintf(text, sizeof text, "%.1f", 100 * share);
  return text;
}

void PlotMetrics(const fs::path& out) {
  PlotSeries pairs{"pairs x 10"}, groups{"groups"};
  std::map<std::string, PlotSeries> miou;  // by sort of worlds
  std::istringstream lines(ReadFile(out / "metrics.jsonl"));
  double mean_pairs = 0, mean_groups = 0;
  int64_t count = 0;
  for (std::string line; std::getline(lines, line);) {
    const Json json = Json::parse(line, nullptr, false);
    if (!json.is_object()) continue;
    const double step = json.value("step", 0.0);
    if (json.contains("miou")) {
      const std::string sort = json.value("worlds", "");
      PlotSeries& series = miou.try_emplace(sort, PlotSeries{"mIoU of " + sort}).first->second;
      series.x.push_back(step);
      series.y.push_back(json.value("miou", 0.0));
      continue;
    }
    // Steps are noisy: means of ten lines.
    mean_pairs += json.value("pairs", 0.0);
    mean_groups += json.value("groups", 0.0);
    if (++count % 10 == 0) {
      pairs.x.push_back(step);
      pairs.y.push_back(mean_pairs);
      groups.x.push_back(step);
      groups.y.push_back(mean_groups / 10);
      mean_pairs = mean_groups = 0;
    }
  }
  std::vector<PlotSeries> series = {groups, pairs};
  for (const auto& [sort, of_sort] : miou) series.push_back(of_sort);
  WriteImage(out / "curves.png", PlotLines(series, {.title = "training of the embedded teacher",
                                                    .x_label = "step",
                                                    .y_label = "loss, mIoU of held-out worlds"}));
}

}  // namespace

std::string TeacherCard(const TrainTeacherResult& run, const TrainTeacherOptions& options,
                        const Lexicon& lexicon, const std::string& trained_on) {
  std::ostringstream card;
  card << "# The embedded teacher\n\n"
       << "Pictures to one unit vector per 4 x 4 pixels, phrases to vectors of the same space. "
       << run.parameters << " parameters. Trained on " << trained_on << " (seeds from "
       << kFirstTrainingSeed << "), " << run.step << " steps of " << 2 * options.pictures
       << " crops, "
       << (options.start_from.empty() ? "from nothing" : "from the networks of another run")
       << ".\n";
  for (const TeacherScore& score : run.scores) {
    card << "\n## Measured on " << score.sort << "\n\n"
         << score.views << " pictures of " << score.worlds << " simulated " << score.sort
         << " with seeds below " << kFirstTrainingSeed
         << ", none of which was trained on; their things have other shapes, colours and places, "
            "made by the same simulator.\n\n| | |\n|---|---|\n"
         << "| mIoU / mAcc, structure and the 20 kinds of most pixels | "
         << Percent(score.frequent_miou) << " / " << Percent(score.frequent_macc) << " % |\n"
         << "| mIoU / mAcc, all " << score.kinds.size() << " kinds that are seen | "
         << Percent(score.miou) << " / " << Percent(score.macc) << " % |\n"
         << "| pixels given the right kind among " << lexicon.kinds().size() << " | "
         << Percent(score.pixel_accuracy) << " % |\n"
         << "| colour of a thing, among " << lexicon.colors().size() << " | "
         << Percent(score.color_accuracy) << " % |\n"
         << "| part of a thing (\"mug handle\"), mean over parts | " << Percent(score.part_accuracy)
         << " % |\n\n| kind | pixels | IoU % |\n|---|---|---|\n";
    for (const TeacherScore::Kind& kind : score.kinds) {
      card << "| " << kind.name << (kind.frequent ? " *" : "") << " | " << kind.pixels << " | "
           << Percent(kind.iou) << " |\n";
    }
    card << "\n\\* among structure and the 20 kinds of most pixels.\n";
  }
  card << "\n## What it does not know\n\n"
          "It has seen nothing but such worlds: no text, no kind that is not in a table, and no "
          "photograph. In photographs expect far less than these numbers. Where things are (\"on "
          "the table\") is read and ignored. Sizes compare things of one kind, which a picture "
          "seldom shows. The colour of a thing is that of its main surface.\n";
  return card.str();
}

TrainTeacherResult TrainTeacher(const std::vector<fs::path>& folders,
                                const std::vector<fs::path>& scored_on, const fs::path& out,
                                const TrainTeacherOptions& options, bool resume,
                                const std::function<bool()>& stop) {
  const auto start = std::chrono::steady_clock::now();
  const TrainingRun run(out);
  if (resume) {
    ATHANOR_CHECK(fs::exists(run.config()), out.string(),
                  ": expected a run of train-teacher to go ", "on with, found no config.toml");
    CheckSameOptions(run.config(), options);
  } else {
    run.CheckFree();
  }
  const std::map<std::string, std::string> calls = ReadCalls(options.call);
  LabelledWorlds worlds(folders, LabelledWorlds::Use::kTraining, calls);
  std::optional<WordNet> wordnet;
  if (!options.wordnet.empty()) wordnet.emplace(options.wordnet);
  const Lexicon lexicon = worlds.MakeLexicon(wordnet ? &*wordnet : nullptr);
  worlds.UseLexicon(lexicon);
  std::vector<LabelledWorlds> held_out;
  for (const fs::path& folder : scored_on) {
    held_out.push_back(LabelledWorlds({folder}, LabelledWorlds::Use::kScoring, calls));
    held_out.back().UseLexicon(lexicon);
  }
  if (resume) CheckSameWorlds(out / "run.json", folders, worlds);
  TeacherTrainer trainer(worlds, lexicon, options, {});
  TrainTeacherOptions copy = options;
  const std::string config = Describe(copy).ToToml();
  if (resume) {
    WriteFile(run.config(), config);  // there may be more steps
  } else {
    run.Create(config, AboutRun(folders, worlds));
  }
  const LogFile log(out / "log.txt");
  if (resume) run.CompareThreads();
  const auto checkpoint = run.NewestCheckpoint();
  if (resume && checkpoint) {
    trainer.Restore(ReadSafeTensors(*checkpoint), checkpoint->string());
    LogInfo(StrCat("resumed from ", checkpoint->string(), " at step ", trainer.step()));
  } else if (!options.start_from.empty()) {
    trainer.StartFrom(ReadSafeTensors(options.start_from), options.start_from);
  }
  run.TruncateMetrics(trainer.step());
  LogInfo(StrCat(worlds.num_views(), " pictures of ", worlds.num_worlds(), " worlds, ",
                 lexicon.kinds().size(), " kinds, ", lexicon.Words().size(), " words, ",
                 trainer.CountParameters(), " parameters"));

  KeepFreedMemory();
  TrainTeacherResult result;
  result.parameters = trainer.CountParameters();
  const auto score = [&](int64_t views) {
    EmbeddedPair pair = EmbeddedPair::FromTensors(trainer.Export(), out.string());
    std::vector<TeacherScore> scores;
    for (const LabelledWorlds& worlds : held_out) {
      scores.push_back(ScoreTeacher(*pair.teacher, *pair.text, worlds, lexicon, views));
    }
    return scores;
  };
  TrainStepReport report;
  TrainingLoop loop;
  loop.title = "training";
  loop.first = trainer.step(), loop.steps = options.steps;
  loop.checkpoint_every = kCheckpointEvery, loop.metrics_every = kMetricsEvery;
  loop.step = [&] { report = trainer.Step(); };
  loop.note = [&] {
    char text[32];
    std::snprintf(text, sizeof text, "loss %.3f", report.loss);
    return std::string(text);
  };
  loop.metrics = [&](int64_t step) {
    return Json{{"step", step},
                {"loss", report.loss},
                {"pairs", report.pairs},
                {"groups", report.groups},
                {"gradient_norm", report.gradient_norm},
                {"rate", report.rate}}
        .dump();
  };
  loop.observe = [&](int64_t step) {
    if (step % kScoreEvery != 0) return;
    for (const TeacherScore& quick : score(kQuickViews)) {
      run.AddMetrics(Json{{"step", step},
                          {"worlds", quick.sort},
                          {"miou", quick.miou},
                          {"frequent_miou", quick.frequent_miou},
                          {"color_accuracy", quick.color_accuracy},
                          {"part_accuracy", quick.part_accuracy}}
                         .dump());
    }
  };
  loop.checkpoint = [&] { return trainer.Checkpoint(); };
  loop.stop = stop;
  result.interrupted = !run.Train(loop);
  result.step = trainer.step();
  if (fs::exists(out / "metrics.jsonl")) PlotMetrics(out);
  if (!result.interrupted) {
    result.weights = out / "teacher.safetensors";
    WriteSafeTensors(result.weights, trainer.Export());
    result.scores = score(0);
    if (result.scores.empty()) {
      fs::remove(out / "card.md");  // of other weights
    } else {
      result.card = out / "card.md";
      WriteFile(result.card,
                TeacherCard(result, options, lexicon,
                            StrCat(worlds.num_views(), " pictures of ", worlds.num_worlds(),
                                   " simulated ", worlds.Sort())));
    }
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace athanor
