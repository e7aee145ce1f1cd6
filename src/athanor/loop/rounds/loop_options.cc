#include "athanor/loop/rounds/loop_options.h"

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/detection/evaluation/nuscenes_eval.h"

namespace athanor {

namespace fs = std::filesystem;

OptionList Describe(LoopOptions& o) {
  OptionList list;
  const char* kLogs = "driving logs, or a .toml of `sim street`";
  list.Add("rounds", &o.rounds, "how many", {.min = 1, .max = 1000});
  list.Add("logs", &o.logs, StrCat("what the fleet drives: ", kLogs, "; {round} is its number"));
  list.Add("home", &o.home, StrCat("what the first small model learned from: ", kLogs));
  list.Add("test", &o.test, StrCat("where every model is scored: ", kLogs));
  list.Add("small", &o.small, "the first small model, as `detect predict --model` takes it");
  list.Add("large", &o.large, "the model that labels and says what the small one missed");
  list.Add("words", &o.words, "what is to be found, in words");
  list.Add("rare", &o.rare,
           "class that the report looks at, and that new models are to be better at");
  list.Add("upload", &o.upload, "all, or what a car may send: 10%");
  list.Add("choose", &o.choose, "which frames are labelled", {.choices = {"mined", "random"}});
  list.Add("batch", &o.batch, "frames that are labelled in a round", {.min = 1, .max = 1e6});
  list.Add("window", &o.window_s, "of each log one frame in so many seconds; 0: all",
           {.min = 0, .max = 1e6});
  list.Add("labels", &o.labels,
           "large: what the large model is sure of; people: the boxes of the logs, as people would "
           "draw them",
           {.choices = {"large", "people"}});
  list.Add("audited", &o.audited, "version of labels whose thresholds say what is sure");
  list.Add("preset", &o.preset, "of `detect train`");
  list.Add("start", &o.start, "the model that each round's training begins at",
           {.choices = {"first", "deployed"}});
  list.Add("steps", &o.steps, "of training in a round", {.min = 1, .max = 1e9});
  list.Add("rate", &o.rate, "highest learning rate", {.min = 0, .max = 1});
  list.Add("members", &o.members,
           "that a round trains as a population (`train population`), of which one is chosen",
           {.min = 1, .max = 1000});
  list.Add("check", &o.check, StrCat("where members are compared: ", kLogs, ", other than test"));
  list.Add("ranges", &o.ranges, "configuration of `detect eval`");
  list.Add("tolerance", &o.tolerance,
           "of mAP that a new model may lose for what it gains in the rare class",
           {.min = 0, .max = 1});
  list.Add("workers", &o.workers, "processes of `infer`", {.min = 1, .max = 4096});
  list.Add("cells", &o.cells, "folder of what models said, which loops may share; empty: its own");
  list.Add("seed", &o.seed, "of all that is random", {.min = 0, .max = 1e6});
  return list;
}

namespace {

// Of a file that comes with the program: its place there, unless the path is there as it is.
void FindFile(std::string* path) {
  if (path->empty() || fs::exists(*path) ||
      !(path->starts_with("configs/") || path->starts_with("models/"))) {
    return;
  }
  *path = FindShared(*path).string();
}

}  // namespace

LoopOptions ReadLoopOptions(const fs::path& path) {
  LoopOptions options;
  Describe(options).ReadToml(path);
  ATHANOR_CHECK(FindNuscenesClass(options.rare) >= 0, path.string(),
                ": rare: expected a class of the nuScenes benchmark or animal, found '",
                options.rare, "'");
  for (std::string* file : {&options.logs, &options.home, &options.test, &options.check,
                            &options.small, &options.ranges}) {
    FindFile(file);
  }
  return options;
}

void CheckLoopOptions(const LoopOptions& options) {
  for (const auto& [name, value] : {std::pair("logs", options.logs),
                                    {"home", options.home},
                                    {"test", options.test},
                                    {"small", options.small}}) {
    ATHANOR_CHECK(!value.empty(), "loop: expected a value for ", name, ", found none");
  }
  const bool is_simulated = options.logs.ends_with(".toml");
  const bool has_number = options.logs.find("{round}") != std::string::npos;
  ATHANOR_CHECK(is_simulated != has_number,
                "loop: logs: expected a .toml, or a path with {round}, ", "found '", options.logs,
                "'");
  ATHANOR_CHECK(options.members == 1 || (!options.check.empty() && options.check != options.test),
                "loop: members = ", options.members,
                ": expected check, driving logs other than test to compare them on");
  for (const std::string& path : {options.home, options.test, options.ranges, options.check}) {
    if (path.empty()) continue;
    ATHANOR_CHECK(fs::exists(path), "loop: ", path, ": no such file or folder");
  }
  if (is_simulated) {
    ATHANOR_CHECK(fs::exists(options.logs), "loop: ", options.logs, ": no such file");
  }
  ATHANOR_CHECK(options.labels != "large" || !options.audited.empty(),
                "loop: labels = \"large\": expected audited, a version of labels with thresholds");
}

}  // namespace athanor
