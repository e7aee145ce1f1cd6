// athanor label ...
#include <algorithm>
#include <iostream>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include "athanor/base/files.h"
#include "athanor/base/progress.h"
#include "athanor/base/sha256.h"
#include "athanor/cli/commands.h"
#include "athanor/cli/detect_results.h"
#include "athanor/cli/options_cli.h"
#include "athanor/datasets/nuscenes_writer.h"
#include "athanor/datasets/paths.h"
#include "athanor/detection/evaluation/nuscenes_files.h"
#include "athanor/detection/profusion3d/results.h"
#include "athanor/lake/lake.h"
#include "athanor/loop/labeling/people_queue.h"
#include "athanor/loop/mining/mined_hits.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr const char* kVersionHelp = "a version: LABELS/ID.labels, or the first digits of its id";

// The file of LABELS/DIGITS.
fs::path FindVersion(const fs::path& path) {
  if (IsFile(path)) return path;
  fs::path found;
  if (IsFolder(path.parent_path())) {
    for (const fs::path& file : ListFiles(path.parent_path(), {".labels"})) {
      if (!file.filename().string().starts_with(path.filename().string())) continue;
      ATHANOR_CHECK(found.empty(), path.string(), ": several versions begin so");
      found = file;
    }
  }
  ATHANOR_CHECK(!found.empty(), path.string(), ": there is no such version of labels");
  return found;
}

std::vector<const Log*> Pointers(const Logs& logs) {
  std::vector<const Log*> pointers;
  for (const auto& log : logs) pointers.push_back(log.get());
  return pointers;
}

void PrintStored(const fs::path& folder, const std::string& id, const LabelSet& labels) {
  int64_t count = 0, frames = 0;
  for (const FrameLabels& frame : labels.frames) {
    count += std::ssize(frame.labels);
    frames += frame.is_complete;
  }
  std::cout << "labels     " << (folder / (id + ".labels")).string() << "\nframes     "
            << Grouped(std::ssize(labels.frames)) << ", " << Grouped(frames)
            << " seen by people\nboxes      " << Grouped(count) << ", "
            << Grouped(labels.CountAccepted()) << " accepted\n";
}

// The frames of a batch that `mine` or `mine select` chose.
constexpr const char* kHitsHelp = "hits.json of `mine select`: only the frames in it";
std::set<std::string> FramesOfHits(const fs::path& path) {
  std::set<std::string> frames;
  for (const MinedHit& hit : ReadMinedHits(path).hits) frames.insert(hit.id);
  return frames;
}

std::string Share(int64_t part, int64_t all) {
  return all > 0 ? Fixed(static_cast<double>(part) / static_cast<double>(all), 3) : "-";
}

}  // namespace

CommandAction SetUpLabelAuto(CLI::App& app) {
  struct Arguments {
    fs::path logs, labels, predictions, audited;
    std::string model = "tiny", device = "cpu";
    TrackerOptions tracker;
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "LOGS", &arguments->logs, "driving logs, any that `log info` opens")->required();
  AddPath(app, "-o,--out", &arguments->labels, "folder of versions of labels")->required();
  app.add_option("--model", arguments->model, kDetectorModelHelp)->type_name("NAME|FILE");
  app.add_option("--device", arguments->device, "cpu, cuda or cuda:N (default: cpu)")
      ->type_name("DEVICE");
  AddPath(app, "--predictions", &arguments->predictions,
          "results_nusc.json of `detect predict`, instead of running the model");
  AddPath(app, "--audited", &arguments->audited,
          "an audited version, whose thresholds say what is accepted (default: nothing is)");
  app.add_option("--sure", arguments->tracker.sure, "scores that begin a track (default: 0.3)")
      ->check(CLI::Range(0.0, 1.0).description(""))
      ->type_name("X");
  app.add_option("--boxes", arguments->tracker.boxes,
                 "tracks with fewer boxes are dropped (default: 3)")
      ->check(CLI::Range(1, 1000).description(""))
      ->type_name("N");
  return [arguments] {
    const Arguments& a = *arguments;
    const Logs logs = ReadLogs({a.logs});
    std::map<std::string, std::vector<NuscenesBox>> boxes;  // by frame
    LabelSet labels;
    LabelProvenance& from = labels.provenance;
    from.kind = "auto";
    const auto take = [&](const NuscenesResults& results) {
      for (size_t i = 0; i < results.sample_tokens.size(); ++i) {
        boxes[results.sample_tokens[i]] = {results.boxes.begin() + results.first_box[i],
                                           results.boxes.begin() + results.first_box[i + 1]};
      }
    };
    if (!a.predictions.empty()) {
      take(ReadNuscenesResults(a.predictions));
      from.model = a.predictions.filename().string();
      from.model_sha256 = Sha256OfFile(a.predictions);
    } else {
      const auto detector = OpenDetector(a.model, a.device);
      NuscenesResults results;
      LogDetectionOptions options;
      options.title = "frames";
      options.predictions.min_score = static_cast<float>(a.tracker.least);
      DetectFrames(detector.get(), FramesOf(logs), options,
                   [&](const FrameOfLog& frame, const DetectionSample&,
                       const std::vector<Detection>& found) {
                     AddNuscenesResults(*frame.log, frame.frame, found, &results);
                   });
      take(results);
      from.model = a.model;
      from.model_sha256 = Sha256OfFile(DetectorFile(a.model));
    }
    std::ostringstream options;
    options << "sure " << a.tracker.sure << ", least " << a.tracker.least << ", boxes "
            << a.tracker.boxes << ", gap " << a.tracker.gap_s << " s";
    from.options = options.str();
    for (const auto& log : logs) {
      std::vector<std::vector<NuscenesBox>> of_log;
      for (const LogFrame& frame : log->frames) {
        const auto found = boxes.find(frame.id);
        ATHANOR_CHECK(found != boxes.end() || a.predictions.empty(), a.predictions.string(),
                      ": there are no predictions for frame ", frame.id, " of log ", log->name);
        of_log.push_back(found == boxes.end() ? std::vector<NuscenesBox>() : found->second);
      }
      for (FrameLabels& frame : LabelLog(*log, of_log, a.tracker)) {
        labels.frames.push_back(std::move(frame));
      }
    }
    from.data = NameFrames(labels.frames);
    if (!a.audited.empty()) {
      const fs::path path = FindVersion(a.audited);
      std::array<ClassThreshold, kNuscenesAllClasses> thresholds;
      const LabelSet audited = ReadLabels(path);
      ATHANOR_CHECK(!audited.provenance.thresholds.empty(), path.string(),
                    ": expected an audited version, found one without thresholds");
      for (const auto& [name, threshold] : audited.provenance.thresholds) {
        const int index = FindNuscenesClass(name);
        ATHANOR_CHECK(index >= 0, path.string(), ": there is no class \"", name, "\"");
        thresholds[index].threshold = threshold;
      }
      labels = AcceptLabels(labels, path.stem().string(), thresholds);
    }
    PrintStored(a.labels, StoreLabels(a.labels, labels), labels);
    return 0;
  };
}

CommandAction SetUpLabelAudit(CLI::App& app) {
  struct Arguments {
    fs::path version, truth, out;
    std::string split, held_out;
    double precision = 0.9, confidence = 0.95;
    AuditScope scope;
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "VERSION", &arguments->version, kVersionHelp)->required();
  AddPath(app, "--truth", &arguments->truth, "logs whose boxes people drew, some of those labelled")
      ->required();
  app.add_option("--split", arguments->split,
                 "the audited slice: a split, or a file of scene names (default: all of the truth)")
      ->type_name("NAME|FILE");
  app.add_option("--held-out", arguments->held_out,
                 "another slice, on which the accepted labels are scored")
      ->type_name("NAME|FILE");
  app.add_option("--precision", arguments->precision, "what labels are to reach (default: 0.9)")
      ->check(CLI::Range(0.01, 0.9999).description(""))
      ->type_name("X");
  app.add_option("--confidence", arguments->confidence,
                 "how sure the bound of each class is to hold (default: 0.95)")
      ->check(CLI::Range(0.5, 0.9999).description(""))
      ->type_name("X");
  app.add_option("--range", arguments->scope.range_m,
                 "labels and true boxes count that are nearer to the car, metres (default: all)")
      ->check(CLI::PositiveNumber.description(""))
      ->type_name("X");
  app.add_option("--least-points", arguments->scope.least_points,
                 "true boxes with fewer LiDAR points need no label (default: 0)")
      ->check(CLI::Range(0, 1000000).description(""))
      ->type_name("N");
  AddPath(app, "-o,--out", &arguments->out,
          "folder of the audited version (default: that of the version)");
  return [arguments] {
    const Arguments& a = *arguments;
    const fs::path path = FindVersion(a.version);
    const LabelSet labels = ReadLabels(path);
    const Logs audited = LogsOfSplit(a.truth, a.split);
    const LabelAudit audit =
        AuditLabels(labels, Pointers(audited), a.precision, a.confidence, a.scope);
    std::vector<std::vector<std::string>> rows = {{"class", "labels", "precision", "true boxes",
                                                   "recall", "threshold", "accepted", "right",
                                                   "precision", "at least"}};
    for (int k = 0; k < kNuscenesAllClasses; ++k) {
      const ClassThreshold& of_class = audit.thresholds[k];
      if (of_class.audited == 0 && audit.truths[k] == 0) continue;
      const bool is_reached = of_class.threshold <= 1;
      rows.push_back({std::string(kNuscenesClassNames[k]), Grouped(of_class.audited),
                      Share(audit.right[k], of_class.audited), Grouped(audit.truths[k]),
                      Share(audit.found[k], audit.truths[k]),
                      is_reached ? Fixed(of_class.threshold, 3) : "people",
                      Grouped(of_class.accepted), Grouped(of_class.right),
                      Share(of_class.right, of_class.accepted),
                      is_reached ? Fixed(of_class.lower_bound, 3) : "-"});
    }
    std::cout << Table(rows) << "\n";
    const LabelSet accepted = AcceptLabels(labels, path.stem().string(), audit.thresholds);
    if (!a.held_out.empty()) {
      const Logs held_out = LogsOfSplit(a.truth, a.held_out);
      const LabelScore score = ScoreLabels(accepted, Pointers(held_out), a.scope);
      rows = {{"held out", "accepted", "right", "precision", "true boxes", "recall"}};
      LabelScore sum;
      for (int k = 0; k < kNuscenesAllClasses; ++k) {
        sum.accepted[0] += score.accepted[k];
        sum.right[0] += score.right[k];
        sum.truths[0] += score.truths[k];
        sum.found[0] += score.found[k];
        if (score.accepted[k] == 0 && score.truths[k] == 0) continue;
        rows.push_back({std::string(kNuscenesClassNames[k]), Grouped(score.accepted[k]),
                        Grouped(score.right[k]), Share(score.right[k], score.accepted[k]),
                        Grouped(score.truths[k]), Share(score.found[k], score.truths[k])});
      }
      rows.push_back({"all", Grouped(sum.accepted[0]), Grouped(sum.right[0]),
                      Share(sum.right[0], sum.accepted[0]), Grouped(sum.truths[0]),
                      Share(sum.found[0], sum.truths[0])});
      std::cout << Table(rows) << "\n";
    }
    const fs::path out = a.out.empty() ? path.parent_path() : a.out;
    PrintStored(out, StoreLabels(out, accepted), accepted);
    return 0;
  };
}

CommandAction SetUpLabelQueue(CLI::App& app) {
  struct Arguments {
    fs::path version, logs, out;
    std::string format = "json";
    int64_t count = 100;
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "VERSION", &arguments->version, kVersionHelp)->required();
  AddPath(app, "-o,--out", &arguments->out, "file to write")->required();
  app.add_option("--format", arguments->format, "json, or coco, which needs --logs (default: json)")
      ->check(CLI::IsMember({"json", "coco"}).description(""))
      ->type_name("json|coco");
  AddPath(app, "--logs", &arguments->logs, "the logs that are labelled");
  app.add_option("--count", arguments->count, "frames (default: 100)")
      ->check(CLI::Range(int64_t{1}, int64_t{1000000000}).description(""))
      ->type_name("N");
  return [arguments] {
    const Arguments& a = *arguments;
    const LabelSet labels = ReadLabels(FindVersion(a.version));
    const auto queue = QueueForPeople(labels, a.count);
    if (a.format == "coco") {
      if (a.logs.empty()) throw UsageError("--format coco: expected --logs LOGS");
      const Logs logs = ReadLogs({a.logs});
      WriteFile(a.out, EncodeQueueCoco(labels, queue, Pointers(logs)));
    } else {
      WriteFile(a.out, EncodeQueueJson(labels, queue));
    }
    double gain = 0;
    for (const QueuedFrame& frame : queue) gain += frame.gain;
    std::cout << "queue      " << a.out.string() << "\nframes     " << Grouped(std::ssize(queue))
              << ", expected gain " << Fixed(gain, 1) << "\n";
    return 0;
  };
}

CommandAction SetUpLabelImport(CLI::App& app) {
  struct Arguments {
    fs::path version, logs, out, hits;
    std::vector<fs::path> inputs;
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "VERSION", &arguments->version, "the version that people were given")->required();
  app.add_option(
         "INPUT", arguments->inputs,
         "what came back: .json of `label queue`, COCO, or driving logs with boxes, of which "
         "there may be several")
      ->required()
      ->type_name("PATH ...");
  AddPath(app, "--logs", &arguments->logs, "COCO: the logs that are labelled");
  AddPath(app, "--hits", &arguments->hits, StrCat("logs: ", kHitsHelp));
  AddPath(app, "-o,--out", &arguments->out, "folder of the new version (default: that of the old)");
  return [arguments] {
    const Arguments& a = *arguments;
    const fs::path path = FindVersion(a.version);
    const LabelSet labels = ReadLabels(path);
    const std::string id = path.stem().string();
    ImportedLabels imported;
    if (IsFolder(a.inputs[0])) {
      const Logs logs = ReadLogs(a.inputs);
      std::set<std::string> only;
      if (!a.hits.empty()) only = FramesOfHits(a.hits);
      imported = ImportLogs(labels, id, Pointers(logs), a.hits.empty() ? nullptr : &only);
    } else {
      if (a.inputs.size() > 1) throw UsageError("expected one file, or folders of driving logs");
      const fs::path& input = a.inputs[0];
      const std::string bytes = ReadFile(input);
      const bool is_coco = bytes.find("\"annotations\"") != std::string::npos;
      if (is_coco && a.logs.empty()) throw UsageError("COCO: expected --logs LOGS");
      if (is_coco) {
        const Logs logs = ReadLogs({a.logs});
        imported = ImportQueueCoco(labels, id, bytes, input.string(), Pointers(logs));
      } else {
        imported = ImportQueueJson(labels, id, bytes, input.string());
      }
    }
    std::cout << "imported   " << Grouped(imported.frames) << " frames: " << Grouped(imported.kept)
              << " labels kept, " << Grouped(imported.changed) << " changed, "
              << Grouped(imported.removed) << " removed, " << Grouped(imported.added) << " added\n";
    if (imported.flat > 0) {
      std::cout << "left out   " << Grouped(imported.flat) << " boxes in pictures, without depth\n";
    }
    const fs::path out = a.out.empty() ? path.parent_path() : a.out;
    PrintStored(out, StoreLabels(out, imported.labels), imported.labels);
    return 0;
  };
}

CommandAction SetUpLabelExport(CLI::App& app) {
  struct Arguments {
    fs::path version, logs, out, hits;
    bool all = false;
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "VERSION", &arguments->version, kVersionHelp)->required();
  AddPath(app, "LOGS", &arguments->logs, "the logs that are labelled")->required();
  AddPath(app, "-o,--out", &arguments->out,
          "folder of a nuScenes data set, for `detect train` or for people")
      ->required();
  app.add_flag("--all", arguments->all, "labels that are not accepted, too");
  AddPath(app, "--hits", &arguments->hits, kHitsHelp);
  return [arguments] {
    const Arguments& a = *arguments;
    const LabelSet labels = ReadLabels(FindVersion(a.version));
    std::set<std::string> labelled;
    for (const FrameLabels& frame : labels.frames) labelled.insert(frame.log);
    NuscenesWriter writer(a.out);
    Logs logs = ReadLogs({a.logs});
    std::erase_if(logs, [&](const auto& log) { return !labelled.contains(log->name); });
    ATHANOR_CHECK(!logs.empty(), a.logs.string(), ": expected logs of the labels, found none");
    std::set<std::string> only;
    if (!a.hits.empty()) {
      only = FramesOfHits(a.hits);
      std::erase_if(logs, [&](const auto& log) {
        return std::none_of(log->frames.begin(), log->frames.end(),
                            [&](const LogFrame& frame) { return only.contains(frame.id); });
      });
      ATHANOR_CHECK(!logs.empty(), a.hits.string(), ": none of its frames is in ", a.logs.string());
    }
    Progress progress("exporting", std::ssize(logs));
    int64_t boxes = 0, frames = 0;
    for (size_t i = 0; i < logs.size(); ++i) {
      Log log = *logs[i];
      if (!a.hits.empty()) KeepFrames(only, &log);
      log = WithLabels(log, labels, a.all);
      frames += std::ssize(log.frames);
      StoreReadings(a.out, &log);
      for (const LogFrame& frame : log.frames) boxes += std::ssize(frame.boxes);
      writer.AddScene(log);
      progress.Update(static_cast<int64_t>(i) + 1);
    }
    writer.Finish();
    std::cout << "data set   " << a.out.string() << " (nuscenes)\nlogs       "
              << Grouped(std::ssize(logs)) << "\nframes     " << Grouped(frames) << "\nboxes      "
              << Grouped(boxes) << "\n";
    return 0;
  };
}

}  // namespace athanor
