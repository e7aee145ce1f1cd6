// athanor detect ..., athanor eval ...
#include <chrono>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>

#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/cli/commands.h"
#include "athanor/cli/detect_results.h"
#include "athanor/cli/options_cli.h"
#include "athanor/detection/evaluation/compare.h"
#include "athanor/detection/evaluation/evaluation_inputs.h"
#include "athanor/detection/evaluation/nuscenes_files.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTruthHelp =
    "data set with the true boxes: nuScenes v1.0, Argoverse 2 sensor, or KITTI object";
constexpr const char* kSplitHelp =
    "nuScenes: train, val, mini_train, mini_val or a file of scene names; Argoverse 2: the folder "
    "of "
    "the split; KITTI: a file of frame names (default: everything)";

// What both commands need to know.
struct EvaluationInput {
  fs::path truth;
  std::string split, format, config;
  bool with_roi = true;

  void AddTo(CLI::App& app) {
    AddPath(app, "--truth", &truth, kTruthHelp)->required();
    app.add_option("--split", split, kSplitHelp)->type_name("NAME");
    app.add_option("--format", format, "benchmark (default: by the results: .json, .feather, .txt)")
        ->check(CLI::IsMember({"nuscenes", "argoverse2", "kitti"}).description(""))
        ->type_name("nuscenes|argoverse2|kitti");
    app.add_option("--config", config,
                   "nuScenes: a configuration as the devkit has it (default: detection_cvpr_2019)")
        ->type_name("FILE");
    app.add_flag("--roi,!--no-roi", with_roi,
                 "Argoverse 2: only what lies within 5 m of the drivable area counts (default; "
                 "needs the maps)");
  }

  // By content: a file of JSON, Feather files, or text files.
  std::string FormatOf(const fs::path& results) const {
    if (!format.empty()) return format;
    ATHANOR_CHECK(fs::exists(results), results.string(), ": no such file or folder");
    if (results.extension() == ".json") return "nuscenes";
    if (results.extension() == ".feather") return "argoverse2";
    if (fs::is_directory(results)) {
      return ListFiles(results, {".feather"}).empty() ? "kitti" : "argoverse2";
    }
    throw Error(results.string() +
                ": expected .json (nuScenes), .feather (Argoverse 2) or a folder of .txt (KITTI); "
                "--format says which");
  }

  NuscenesConfig ReadConfig() const {
    return config.empty() ? NuscenesConfig() : ReadNuscenesConfig(config);
  }
};

std::string Number(double value, int digits = 4) {
  return std::isnan(value) ? "-" : Fixed(value, digits);
}

void EvalNuscenes(const EvaluationInput& input, const fs::path& results, const fs::path& out) {
  const NuscenesConfig config = input.ReadConfig();
  const NuscenesTruth truth = ReadNuscenesTruth(input.truth, input.split);
  const NuscenesResults found = ReadNuscenesResults(results, config.max_boxes_per_sample);
  std::vector<NuscenesCurve> curves;
  const auto start = std::chrono::steady_clock::now();
  const NuscenesMatches matches = MatchNuscenes(truth, found, config);
  NuscenesMetrics metrics = SummarizeNuscenes(matches, config, {}, &curves);
  metrics.eval_time_s =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  int present = 0;
  const double present_ap = MeanApOfClassesWithTruth(matches, metrics, &present);
  std::vector<std::vector<std::string>> rows = {{"class"}};
  for (const double distance : config.match_distances_m) {
    rows[0].push_back("AP " + PythonNumber(distance));
  }
  for (const char* head : {"AP", "ATE m", "ASE", "AOE rad", "AVE m/s", "AAE"}) {
    rows[0].push_back(head);
  }
  const auto add_class = [&](int c) {
    rows.push_back({std::string(kNuscenesClassNames[c])});
    for (const double ap : metrics.label_aps[c]) rows.back().push_back(Number(ap));
    rows.back().push_back(Number(metrics.mean_dist_aps[c]));
    for (const double error : metrics.label_tp_errors[c]) rows.back().push_back(Number(error));
  };
  for (int c = 0; c < kNuscenesClasses; ++c) add_class(c);
  rows.push_back({"mean"});
  rows.back().resize(1 + config.match_distances_m.size());
  rows.back().push_back(Number(metrics.mean_ap));
  for (const double error : metrics.tp_errors) rows.back().push_back(Number(error));
  // What the benchmark does not score stands under the mean.
  for (int c = kNuscenesClasses; c < kNuscenesAllClasses; ++c) {
    const auto& truths = matches.classes[c].truths;
    if (std::any_of(truths.begin(), truths.end(), [](int n) { return n > 0; })) add_class(c);
  }
  std::cout << Table(rows) << "\nmAP " << Number(metrics.mean_ap) << "   NDS "
            << Number(metrics.nd_score) << "   samples "
            << Grouped(static_cast<int64_t>(truth.samples.size())) << "   detections "
            << Grouped(static_cast<int64_t>(found.boxes.size())) << "\n";
  if (present < kNuscenesClasses) {
    std::cout << "mAP of the " << present << " classes that occur " << Number(present_ap) << "\n";
  }
  if (!out.empty()) WriteNuscenesMetrics(out, metrics, curves, config, found.meta_json);
}

void EvalArgoverse(const EvaluationInput& input, const fs::path& results, const fs::path& out) {
  const ArgoverseConfig config;
  ArgoverseInput data(input.truth, input.split, input.with_roi, config);
  const auto detections = ReadArgoverse2Detections(results);
  data.AddSweepsOf(detections, results.string());
  const auto sweeps = data.WithDetections(detections, results.string());
  const ArgoverseMatches matches = MatchArgoverse(sweeps, config, data.Roi());
  const ArgoverseMetrics metrics = SummarizeArgoverse(matches, config);
  std::vector<std::vector<std::string>> rows = {
      {"category", "AP", "ATE m", "ASE", "AOE rad", "CDS", "true boxes"}};
  nlohmann::ordered_json json;
  const auto add = [&](const std::string& name, const ArgoverseScores& exact, int64_t truths) {
    const ArgoverseScores scores = Rounded(exact);  // as the official table shows them
    rows.push_back({name, Number(scores.ap, 3), Number(scores.ate_m, 3), Number(scores.ase, 3),
                    Number(scores.aoe_rad, 3), Number(scores.cds, 3), Grouped(truths)});
    json[name] = {{"AP", exact.ap},
                  {"ATE", exact.ate_m},
                  {"ASE", exact.ase},
                  {"AOE", exact.aoe_rad},
                  {"CDS", exact.cds}};
  };
  int64_t all = 0;
  for (size_t c = 0; c < config.categories.size(); ++c) {
    int64_t truths = 0;
    for (const int32_t count : matches.categories[c].truths) truths += count;
    all += truths;
    add(config.categories[c], metrics.categories[c], truths);
  }
  add("AVERAGE_METRICS", metrics.average, all);
  std::cout << Table(rows);
  if (!out.empty()) WriteFile(out / "metrics.json", json.dump(2) + "\n");
}

void EvalKitti(const EvaluationInput& input, const fs::path& results, const fs::path& out) {
  const auto frames = ReadKittiFrames(input.truth, results, input.split);
  const KittiMetrics metrics = EvaluateKitti(frames);
  std::vector<std::vector<std::string>> rows = {
      {"class", "task", "overlap", "R40 easy", "moderate", "hard", "R11 easy", "moderate", "hard"}};
  nlohmann::ordered_json json;
  for (int c = 0; c < kKittiClasses; ++c) {
    for (int set = 0; set < 2; ++set) {
      for (int task = 0; task < kKittiTasks; ++task) {
        const bool is_ground = task == static_cast<int>(KittiTask::kGround) ||
                               task == static_cast<int>(KittiTask::kBox3d);
        if (set == 1 && !is_ground) continue;
        const auto& curves = metrics.curves[c][task][set];
        const std::string overlap = set == 0 ? "strict" : "loose";
        rows.push_back(
            {std::string(kKittiClassNames[c]), std::string(kKittiTaskNames[task]), overlap});
        auto& entry = json[rows.back()[0]][rows.back()[1]][overlap];
        for (const bool of_40 : {true, false}) {
          for (int d = 0; d < kKittiDifficulties; ++d) {
            const double ap = of_40 ? curves[d].Average40() : curves[d].Average11();
            rows.back().push_back(Number(100 * ap, 2));
            entry[of_40 ? "R40" : "R11"][std::string(kKittiDifficultyNames[d])] = ap;
          }
        }
      }
    }
  }
  std::cout << Table(rows) << "\n"
            << Grouped(static_cast<int64_t>(frames.size()))
            << " frames; percent; '-': the detector does not name the class, or gives no angles\n";
  if (!out.empty()) WriteFile(out / "metrics.json", json.dump(2) + "\n");
}

std::vector<ComparisonRow> CompareFiles(const EvaluationInput& input, const fs::path& a,
                                        const fs::path& b, const CompareOptions& options) {
  const std::string format = input.FormatOf(a);
  if (format == "nuscenes") {
    const NuscenesConfig config = input.ReadConfig();
    const NuscenesTruth truth = ReadNuscenesTruth(input.truth, input.split);
    const auto match = [&](const fs::path& path) {
      return MatchNuscenes(truth, ReadNuscenesResults(path, config.max_boxes_per_sample), config);
    };
    return CompareNuscenes(truth, match(a), match(b), config, options);
  }
  if (format == "kitti") {
    const auto of_a = ReadKittiFrames(input.truth, a, input.split);
    const auto of_b = ReadKittiFrames(input.truth, b, input.split);
    const auto name = [](const std::vector<KittiFrame>& frames, size_t i) {
      return i < frames.size() ? fs::path(frames[i].name).filename().string() : "no more";
    };
    for (size_t i = 0; i < std::max(of_a.size(), of_b.size()); ++i) {
      ATHANOR_CHECK(name(of_a, i) == name(of_b, i), a.string(), " and ", b.string(),
                    ": expected the same frames, found ", name(of_a, i), " and ", name(of_b, i));
    }
    return CompareKitti(MatchKitti(of_a), MatchKitti(of_b), options);
  }
  const ArgoverseConfig config;
  ArgoverseInput data(input.truth, input.split, input.with_roi, config);
  const auto of_a = ReadArgoverse2Detections(a), of_b = ReadArgoverse2Detections(b);
  data.AddSweepsOf(of_a, a.string());
  data.AddSweepsOf(of_b, b.string());
  const auto sweeps = data.WithDetections(of_a, a.string());
  const ArgoverseMatches matches_a = MatchArgoverse(sweeps, config, data.Roi());
  const ArgoverseMatches matches_b =
      MatchArgoverse(data.WithDetections(of_b, b.string()), config, data.Roi());
  return CompareArgoverse(sweeps, matches_a, matches_b, config, options);
}

}  // namespace

CommandAction SetUpDetectEval(CLI::App& app) {
  struct State {
    EvaluationInput input;
    std::string model, device = "cpu";
    fs::path results, out;
    std::vector<std::string> drop;
  };
  auto state = std::make_shared<State>();
  state->input.AddTo(app);
  CLI::Option* results =
      AddPath(app, "--results", &state->results,
              "detections in the benchmark's own format: JSON, Feather, or a folder of text files");
  CLI::Option* model =
      app.add_option("--model", state->model,
                     "a detector to run first, as `detect predict` takes it; needs --out")
          ->type_name("NAME|FILE");
  CLI::Option* device =
      app.add_option("--device", state->device, "cpu, cuda or cuda:N (default: cpu)")
          ->type_name("DEVICE");
  CLI::Option* drop = app.add_option("--drop", state->drop,
                                     "sensors that fail: lidar, cameras, or the name of a camera")
                          ->type_name("SENSOR");
  AddPath(app, "-o,--out", &state->out, "folder for the metrics as JSON, and what a model finds");
  model->excludes(results);
  drop->needs(model);
  device->needs(model);
  return [state] {
    if (!state->model.empty()) {
      if (state->out.empty()) throw UsageError("--model: needs --out, where detections go");
      const auto detector = OpenDetector(state->model, state->device);
      DetectToFilesOptions options;
      options.detection.drop = state->drop, options.detection.title = "frames";
      const Logs logs = LogsOfSplit(state->input.truth, state->input.split);
      state->results = DetectToFiles(detector.get(), FramesOf(logs), state->out, options).results;
    }
    if (state->results.empty()) {
      throw UsageError("expected --results, or a detector to run: --model");
    }
    const std::string format = state->input.FormatOf(state->results);
    if (format == "nuscenes") EvalNuscenes(state->input, state->results, state->out);
    if (format == "argoverse2") EvalArgoverse(state->input, state->results, state->out);
    if (format == "kitti") EvalKitti(state->input, state->results, state->out);
    return 0;
  };
}

CommandAction SetUpEvalCompare(CLI::App& app) {
  struct State {
    EvaluationInput input;
    fs::path a, b;
    CompareOptions options;
    std::unique_ptr<OptionFlags> flags;
  };
  auto state = std::make_shared<State>();
  AddPath(app, "A", &state->a, "results of one detector")->required();
  AddPath(app, "B", &state->b, "results of another, on the same truth")->required();
  state->input.AddTo(app);
  OptionList list;
  Describe(state->options, list);
  state->flags = std::make_unique<OptionFlags>(app, std::move(list), false, "Bootstrap");
  return [state] {
    state->flags->Apply();
    const auto rows = CompareFiles(state->input, state->a, state->b, state->options);
    const std::string percent = PythonNumber(100 * state->options.confidence);
    std::vector<std::vector<std::string>> table = {
        {"metric", "A", "B", "B - A", "low", "high", "beyond luck"}};
    for (const ComparisonRow& row : rows) {
      table.push_back({row.name, Number(row.a), Number(row.b), Number(row.b - row.a),
                       Number(row.low), Number(row.high), row.is_significant() ? "yes" : "no"});
    }
    std::cout << Table(table) << "\nlow to high: " << percent << " % of the differences, of "
              << state->options.draws << " draws of "
              << (state->input.FormatOf(state->a) == "kitti" ? "frame" : state->options.unit)
              << "s\n";
    return 0;
  };
}

}  // namespace athanor
