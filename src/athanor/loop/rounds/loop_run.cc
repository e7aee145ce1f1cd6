#include "athanor/loop/rounds/loop_run.h"

#include <unistd.h>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/base/program.h"
#include "athanor/datasets/log.h"
#include "athanor/detection/evaluation/nuscenes_files.h"
#include "athanor/loop/mining/mined_hits.h"
#include "athanor/loop/mining/purity.h"
#include "athanor/loop/queue/worker_processes.h"
#include "athanor/loop/registry/model_registry.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

struct Stopped {};
// Nothing came in, or nothing is worth labelling: the round ends.
struct NothingNew {
  std::string what;
};

bool IsSimulated(const std::string& logs) { return logs.ends_with(".toml"); }

std::string ShellLine(const Words& words) {
  std::string line;
  for (const std::string& word : words) line += (line.empty() ? "" : " ") + ShellWord(word);
  return line;
}

// What `detect eval` left: "mAP", "NDS", and the AP of each class by its name, 0 for none.
std::map<std::string, double> ReadScores(const fs::path& folder) {
  const auto read = [&](const char* name) {
    std::string text = ReadFile(folder / name);
    // As Python writes it, which JSON does not know.
    const std::string nan = ": NaN";
    for (size_t at = 0; (at = text.find(nan, at)) != std::string::npos;) {
      text.replace(at, nan.size(), ": null");
    }
    return nlohmann::json::parse(text);
  };
  const auto number = [](const nlohmann::json& value) {
    return value.is_null() ? 0 : value.get<double>();
  };
  try {
    const nlohmann::json summary = read("metrics_summary.json"),
                         unscored = read("metrics_unscored.json");
    std::map<std::string, double> scores = {{"mAP", number(summary.at("mean_ap"))},
                                            {"NDS", number(summary.at("nd_score"))}};
    for (const auto& [name, ap] : summary.at("mean_dist_aps").items()) scores[name] = number(ap);
    for (const auto& [name, item] : unscored.items()) {
      scores[name] = number(item.at("mean_dist_ap"));
    }
    return scores;
  } catch (const nlohmann::json::exception& error) {
    throw Error(StrCat(folder.string(), ": expected metrics of detect eval: ", error.what()));
  }
}

// The one file of a folder of versions of labels.
fs::path VersionIn(const fs::path& folder) {
  const std::vector<fs::path> files = ListFiles(folder, {".labels"});
  ATHANOR_CHECK(files.size() == 1, folder.string(), ": expected one version of labels, found ",
                files.size());
  return files[0];
}

class Loop {
 public:
  Loop(const fs::path& folder, const LoopOptions& options, const LoopRunOptions& run)
      : folder_(folder), options_(options), run_(run), state_(ReadLoopState(folder)) {}

  void Do() {
    if (state_.rounds.empty()) state_.rounds.emplace_back();
    Begin();
    for (int r = 1; r <= options_.rounds; ++r) {
      if (std::ssize(state_.rounds) <= r) state_.rounds.emplace_back();
      round_ = r;
      if (Record().Has("promote")) continue;
      try {
        DoRound(r);
      } catch (const NothingNew& nothing) {
        Record().decision = nothing.what;
        Record().stages.push_back({"promote", 0});
        WriteLoopState(folder_, state_);
      }
    }
  }

 private:
  // Round 0: the worlds, and how good the first model is.
  void Begin() {
    round_ = 0;
    for (const auto& [name, logs] :
         {std::pair("home", options_.home), {"test", options_.test}, {"check", options_.check}}) {
      if (!IsSimulated(logs)) continue;
      Stage(name, {}, [&] {
        Run({"sim", "street", "--preset", logs, "-o", (folder_ / "world" / name).string()});
      });
    }
    Stage("evaluate", {RoundFolder() / "eval"}, [&] { Evaluate(run_.small); });
    Stage("promote", {}, [&] {
      Record().weights = fs::absolute(run_.small).string();
      Record().is_promoted = true;
      Record().decision = "the first model";
      Register("large", ModelRole::kCloudLarge, run_.large, "");
      Register("round-0", ModelRole::kVehicleSmall, run_.small, "");
    });
  }

  void DoRound(int r) {
    const fs::path here = RoundFolder(), lake = folder_ / "lake", table = folder_ / "table";
    const std::string logs = LoopLogs(folder_, options_, r).string();
    const std::string deployed = state_.Deployed(r);
    if (IsSimulated(options_.logs)) {
      Stage("record", {}, [&] {
        const int64_t seed = 1000 * (options_.seed + 1) + r;
        Run({"sim", "street", "--preset", options_.logs, "--seed", std::to_string(seed), "-o",
             logs});
      });
    }
    const bool has_car = options_.upload != "all";
    if (has_car) {
      Stage("drive", {}, [&] {
        Run({"vehicle", "run", logs, "-o", (here / "car").string(), "--model", deployed, "--budget",
             options_.upload});
      });
    }
    Stage("ingest", {}, [&] {
      const fs::path sent = here / "car" / "cloud";
      if (has_car && !fs::exists(sent / "clips")) return;
      Run({"lake", "ingest", has_car ? sent.string() : logs, "-o", lake.string(), "--settle", "0"});
    });
    if (!fs::exists(lake)) throw NothingNew{"nothing came in"};
    Stage("infer", {}, [&] {
      Words words = {"infer",     lake.string(),
                     "--model",   "small=" + deployed,
                     "--model",   "large=" + run_.large.string(),
                     "-o",        table.string(),
                     "--workers", std::to_string(options_.workers)};
      if (!options_.cells.empty()) {
        words.emplace_back("--cells");
        words.push_back(options_.cells);
      }
      Run(words);
    });
    Stage("mine", {here / "undigested", here / "similar", here / "everything", here / "batch"},
          [&] { Mine(here, lake, table); });
    Stage("label", {here / "labels", here / "data"}, [&] { Label(here, lake, table); });
    Stage("train", {}, [&] {
      const std::string start = options_.start == "first" ? state_.rounds[0].weights : deployed;
      if (options_.members > 1) {
        TrainPopulation(here, start);
      } else {
        Train(here, start);
      }
      if (options_.choose == "mined") {
        Run({"mine", "digest", (folder_ / "digest.sqlite").string(), "--trained",
             (here / "batch" / "hits.json").string()});
      }
    });
    const fs::path weights = here / "train" / "detector.safetensors";
    Stage("evaluate", {here / "eval"}, [&] { Evaluate(weights); });
    Stage("promote", {}, [&] { Promote(weights); });
  }

  void Mine(const fs::path& here, const fs::path& lake, const fs::path& table) {
    Words select = {"mine",
                    "select",
                    lake.string(),
                    "-o",
                    (here / "batch").string(),
                    "--budget",
                    std::to_string(options_.batch),
                    "--per-frame",
                    "1",
                    "--per-box",
                    "0",
                    "--window",
                    StrCat(options_.window_s)};
    if (options_.choose == "random") {
      Run({"mine", "rule", lake.string(), "SELECT frame FROM frames", "--count", "1000000",
           "--drawn", "1", "-o", (here / "everything").string()});
      for (const std::string& word :
           Words{"--method", "random", "--seed", std::to_string(options_.seed + round_), "--hits",
                 (here / "everything" / "hits.json").string()}) {
        select.push_back(word);
      }
    } else {
      const fs::path models = table / "models";
      // Places in a list count when miners meet: of long ones even the last would count as good.
      const std::string count = std::to_string(2 * options_.batch);
      Run({"mine", "undigested", lake.string(), "--student",
           (models / "small" / "boxes.json").string(), "--teacher",
           (models / "large" / "boxes.json").string(), "--digest",
           (folder_ / "digest.sqlite").string(), "--count", count, "-o",
           (here / "undigested").string()});
      Run({"mine", "similar", lake.string(), "--text", options_.words, "--features", table.string(),
           "--model", "large", "--count", count, "--window", StrCat(options_.window_s), "-o",
           (here / "similar").string()});
      for (const std::string& word : Words{"--digest", (folder_ / "digest.sqlite").string(),
                                           "--hits", (here / "undigested" / "hits.json").string(),
                                           (here / "similar" / "hits.json").string()}) {
        select.push_back(word);
      }
    }
    Words labelled;
    for (int k = 1; k < round_; ++k) {
      const fs::path hits = LoopRoundFolder(folder_, k) / "batch" / "hits.json";
      if (fs::exists(hits)) labelled.push_back(hits.string());
    }
    if (!labelled.empty()) select.emplace_back("--labelled");
    select.insert(select.end(), labelled.begin(), labelled.end());
    Run(select);
    const MinedHits batch = ReadMinedHits(here / "batch" / "hits.json");
    if (batch.hits.empty()) throw NothingNew{"nothing new is worth labelling"};
    CountRare(batch, lake);
  }

  // How pure the batch is, by the boxes of the logs.
  void CountRare(const MinedHits& batch, const fs::path& lake) {
    const int class_index = FindNuscenesClass(options_.rare);
    const double range_m = ReadNuscenesConfig(options_.ranges).class_range_m[class_index];
    std::set<std::string> rare;
    bool has_boxes = false;
    for (int k = 1; k <= round_; ++k) {
      const auto logs = OpenLogs(LoopLogs(folder_, options_, k));
      for (int i = 0; i < std::ssize(logs->names()); ++i) {
        const Log log = logs->Read(i);
        has_boxes |= !log.tracks.empty();
        rare.merge(FramesWithClass(log, class_index, range_m));
      }
    }
    LoopRoundRecord& record = Record();
    std::set<std::string> chosen;
    for (const MinedHit& hit : batch.hits) chosen.insert(hit.id);
    record.frames = std::ssize(chosen);
    if (!has_boxes) return;
    record.rare_in_batch = record.rare_frames = record.lake_frames = 0;
    for (const std::string& id : chosen) record.rare_in_batch += rare.contains(id);
    const auto all = OpenLogs(lake);
    for (int i = 0; i < std::ssize(all->names()); ++i) {
      for (const LogFrame& frame : all->Read(i).frames) {
        ++record.lake_frames;
        record.rare_frames += rare.contains(frame.id);
      }
    }
  }

  void Label(const fs::path& here, const fs::path& lake, const fs::path& table) {
    const fs::path labels = here / "labels";
    const std::string hits = (here / "batch" / "hits.json").string();
    const bool by_people = options_.labels == "people";
    Words words = {"label",
                   "auto",
                   lake.string(),
                   "--predictions",
                   (table / "models" / "large" / "boxes.json").string(),
                   "-o",
                   (labels / "large").string()};
    if (!by_people) {
      words.emplace_back("--audited");
      words.push_back(options_.audited);
    }
    Run(words);
    fs::path version = VersionIn(labels / "large");
    if (by_people) {
      words = {"label", "import", version.string()};
      for (int k = 1; k <= round_; ++k) {
        words.push_back(LoopLogs(folder_, options_, k).string());
      }
      for (const std::string& word : Words{"--hits", hits, "-o", (labels / "people").string()}) {
        words.push_back(word);
      }
      Run(words);
      version = VersionIn(labels / "people");
    }
    Run({"label", "export", version.string(), lake.string(), "--hits", hits, "-o",
         (here / "data").string()});
  }

  void Train(const fs::path& here, const std::string& start) {
    Words words = {"detect", "train"};
    for (const std::string& logs : LearnedLogs()) words.push_back(logs);
    const fs::path out = here / "train";
    for (const std::string& word :
         Words{"--preset", options_.preset, "--start-from", start, "--steps",
               std::to_string(options_.steps), "--rate", StrCat(options_.rate), "--seed",
               std::to_string(options_.seed + round_), "-o", out.string()}) {
      words.push_back(word);
    }
    if (fs::exists(out / "config.toml")) {
      words.emplace_back("--resume");
    } else {
      fs::remove_all(out);
    }
    if (!fs::exists(out / "detector.safetensors")) Run(words);
  }

  // Members differ in rate and in what they have seen when; chance is chosen from, not suffered.
  void TrainPopulation(const fs::path& here, const std::string& start) {
    constexpr int kShortSteps = 4;
    const fs::path config = here / "population.toml", out = here / "population";
    std::string data;
    for (const std::string& logs : LearnedLogs()) {
      ATHANOR_CHECK(logs.find(',') == std::string::npos, "loop: ", logs,
                    ": a population takes no paths with commas");
      data += (data.empty() ? "" : ",") + logs;
    }
    const auto text = [](const std::string& value) { return nlohmann::json(value).dump(); };
    WriteFile(config,
              StrCat("trainable = \"detector\"\nobjectives = \"rare_ap,map\"\npopulation = ",
                     options_.members, "\nbudget = ", options_.members * kShortSteps,
                     "\nupdates = ", std::max<int64_t>(1, options_.steps / kShortSteps),
                     "\nseed = ", options_.seed + round_, "\n[space]\nrate = { low = ",
                     options_.rate / 4, ", high = ", options_.rate * 4,
                     ", scale = \"log\" }\n[detector]\ndata = ", text(data), "\nscore-on = ",
                     text((IsSimulated(options_.check) ? folder_ / "world" / "check"
                                                       : fs::path(options_.check))
                              .string()),
                     "\npreset = ", text(options_.preset), "\nrare = ", text(options_.rare),
                     "\nstart-from = ", text(start), "\nscore-frames = 1000000\n"));
    Run({"train", "population", config.string(), "-o", out.string(), "--workers",
         std::to_string(options_.workers)});
    ModelRegistry members(out / "registry");
    std::optional<RegisteredModel> best;
    double best_sum = -1;
    for (const RegisteredModel& model : members.List()) {
      if (model.role != ModelRole::kCandidate) continue;
      const auto& metrics = model.metrics.at("all");
      const double sum = metrics.at("rare_ap") + metrics.at("map");
      if (sum > best_sum) best = model, best_sum = sum;
    }
    ATHANOR_CHECK(best.has_value(), out.string(), ": expected a front of models, found none");
    MakeFolder(here / "train");
    WriteFile(here / "train" / "detector.safetensors", ReadFile(members.FileOf(best->weights)));
    LogInfo(StrCat("round ", round_, ": of the population, ", best->name, " goes on"));
  }

  void Evaluate(const fs::path& weights) {
    const fs::path out = RoundFolder() / "eval";
    Run({"detect", "eval", "--truth", LoopTest(folder_, options_).string(), "--config",
         options_.ranges, "--model", weights.string(), "-o", out.string()});
    Record().scores = ReadScores(out);
  }

  // What is not worse is deployed.
  void Promote(const fs::path& weights) {
    LoopRoundRecord& record = Record();
    const LoopRoundRecord& deployed = state_.DeployedRound(round_);
    const double rare = record.scores.at(options_.rare) - deployed.scores.at(options_.rare);
    const double mean = record.scores.at("mAP") - deployed.scores.at("mAP");
    record.weights = fs::absolute(weights).string();
    record.is_promoted = rare >= 0 && mean >= -options_.tolerance && (rare > 0 || mean > 0);
    record.decision = record.is_promoted ? "deployed"
                      : rare < 0         ? StrCat("kept back: ", options_.rare, " got worse")
                      : mean < -options_.tolerance ? "kept back: mAP got worse"
                                                   : "kept back: no better";
    Register(
        StrCat("round-", round_),
        record.is_promoted ? ModelRole::kVehicleSmall : ModelRole::kCandidate, weights,
        options_.start == "first" ? "round-0" : StrCat("round-", &deployed - state_.rounds.data()));
  }

  void Register(const std::string& name, ModelRole role, const fs::path& weights,
                const std::string& parent) {
    ModelRegistry registry(folder_ / "registry", ModelRegistry::Mode::kCreate);
    if (!registry.Find(name)) {
      NewModel added;
      added.model.name = name, added.model.role = role, added.model.kind = "detector";
      added.weights = weights;
      if (!parent.empty()) {
        added.model.parents = {parent};
        added.model.hyper = {{"steps", std::to_string(options_.steps)},
                             {"rate", StrCat(options_.rate)}};
        added.manifest = RoundFolder() / "data.txt";
        std::string manifest;
        for (const std::string& logs : LearnedLogs()) manifest += logs + "\n";
        WriteFile(added.manifest, manifest);
      }
      registry.Add(added);
    }
    if (name == "large") return;
    for (const auto& [metric, value] : Record().scores) {
      registry.SetMetric(name, "all", metric, value);
    }
  }

  // A stage that is not done yet. What an earlier call left in `anew` goes first.
  template <typename Work>
  void Stage(const std::string& name, const std::vector<fs::path>& anew, const Work& work) {
    if (Record().Has(name)) return;
    if (run_.stop && run_.stop()) throw Stopped();
    stage_ = name;
    LogInfo(StrCat("round ", round_, " of ", options_.rounds, ": ", name));
    MakeFolder(RoundFolder());
    for (const fs::path& path : anew) fs::remove_all(path);
    const auto start = std::chrono::steady_clock::now();
    work();
    Record().stages.push_back(
        {name, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()});
    WriteLoopState(folder_, state_);
  }

  // A command of the program.
  void Run(const Words& command) {
    Words words = run_.program;
    words.insert(words.end(), command.begin(), command.end());
    Words typed = {"athanor"};
    typed.insert(typed.end(), command.begin(), command.end());
    const fs::path log = RoundFolder() / (stage_ + ".log");
    AppendFile(folder_ / "commands.sh", ShellLine(typed) + "\n");
    AppendFile(log, "$ " + ShellLine(typed) + "\n");
    // It goes down with this process.
    const int status = RunProgram(words, log, "", {{"ATHANOR_PARENT", std::to_string(::getpid())}});
    if (status == 0) return;
    if (run_.stop && run_.stop()) throw Stopped();
    throw Error(StrCat("round ", round_, ", ", stage_, ": athanor ", command[0], " ",
                       command.size() > 1 ? command[1] : "", ": ", LastLine(ReadFile(log)), " (",
                       log.string(), ")"));
  }

  LoopRoundRecord& Record() { return state_.rounds[round_]; }
  fs::path RoundFolder() const { return LoopRoundFolder(folder_, round_); }
  // What a round's model learns from: home, and every batch so far.
  Words LearnedLogs() const {
    Words logs = {IsSimulated(options_.home) ? (folder_ / "world" / "home").string()
                                             : options_.home};
    for (int k = 1; k <= round_; ++k) {
      const fs::path data = LoopRoundFolder(folder_, k) / "data";
      if (fs::exists(data)) logs.push_back(data.string());
    }
    return logs;
  }

  const fs::path folder_;
  const LoopOptions options_;
  const LoopRunOptions run_;
  LoopState state_;
  int round_ = 0;
  std::string stage_;
};

// The options but for the number of rounds.
std::string Fixed(LoopOptions options) {
  options.rounds = 1;
  return Describe(options).ToToml();
}

}  // namespace

fs::path LoopRoundFolder(const fs::path& folder, int round) {
  return folder / "rounds" / StrCat(round < 10 ? "0" : "", round);
}

fs::path LoopLogs(const fs::path& folder, const LoopOptions& options, int round) {
  ATHANOR_CHECK(round > 0, "loop: expected a round from 1, found ", round);
  if (IsSimulated(options.logs)) return LoopRoundFolder(folder, round) / "logs";
  std::string path = options.logs;
  const std::string mark = "{round}";
  path.replace(path.find(mark), mark.size(), std::to_string(round));
  return path;
}

fs::path LoopTest(const fs::path& folder, const LoopOptions& options) {
  return IsSimulated(options.test) ? folder / "world" / "test" : fs::path(options.test);
}

LoopOptions OptionsOfLoop(const fs::path& folder) {
  const fs::path path = folder / "loop.toml";
  ATHANOR_CHECK(fs::exists(path), folder.string(), ": expected a loop (loop.toml), found none");
  return ReadLoopOptions(path);
}

bool RunLoop(const fs::path& folder, const LoopOptions& options, const LoopRunOptions& run) {
  CheckLoopOptions(options);
  for (const fs::path& weights : {run.small, run.large}) {
    ATHANOR_CHECK(fs::exists(weights), "loop: ", weights.string(), ": no such file");
  }
  MakeFolder(folder);
  const FileLock lock(folder / "lock", FileLock::Mode::kExclusive,
                      folder.string() + ": another loop is at work in this folder");
  if (fs::exists(folder / "loop.toml")) {
    ATHANOR_CHECK(Fixed(OptionsOfLoop(folder)) == Fixed(options), folder.string(),
                  ": holds a loop of other options (loop.toml); expected the same, or another "
                  "folder");
  }
  LoopOptions copy = options;
  WriteFile(folder / "loop.toml", Describe(copy).ToToml());
  try {
    Loop(folder, options, run).Do();
  } catch (const Stopped&) {
    return false;
  }
  return true;
}

}  // namespace athanor
