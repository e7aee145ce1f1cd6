// athanor label words
#include <algorithm>
#include <iostream>
#include <set>
#include <sstream>

#include "athanor/base/progress.h"
#include "athanor/base/sha256.h"
#include "athanor/cli/commands.h"
#include "athanor/cli/detect_results.h"
#include "athanor/cli/options_cli.h"
#include "athanor/cli/semantic_scene.h"
#include "athanor/loop/labeling/label_set.h"
#include "athanor/loop/labeling/words/word_labeler.h"
#include "athanor/loop/mining/contact_sheet.h"
#include "athanor/scenes/semantics/teachers/open_teacher.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

struct WordsCommandOptions {
  WordLabelOptions labels;
  TrackerOptions tracker;
  int64_t pictures = 60;
};

OptionList Describe(WordsCommandOptions& o) {
  OptionList list = Describe(o.labels);
  list.Add("sure", &o.tracker.sure, "scores that begin a track", {.min = 0, .max = 1});
  list.Add("boxes", &o.tracker.boxes, "tracks with fewer boxes are dropped",
           {.min = 1, .max = 1000});
  list.Add("pictures", &o.pictures, "labels drawn on the contact sheet, one a track",
           {.min = 0, .max = 10000});
  return list;
}

std::string Listed(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

// The surest label of each track, best first.
std::vector<MinedHit> HitsOf(const LabelSet& labels, const Logs& logs,
                             const std::map<int, std::string>& text_of_class) {
  std::vector<MinedHit> hits;
  size_t first = 0;  // frames of labels come as those of the logs
  for (const auto& log : logs) {
    std::map<std::string, MinedHit> best;
    for (size_t f = 0; f < log->frames.size(); ++f) {
      const FrameLabels& frame = labels.frames[first + f];
      for (const Label& label : frame.labels) {
        MinedHit hit;
        hit.log = log->name;
        hit.frame = static_cast<int>(f);
        hit.id = frame.frame;
        hit.time_us = frame.time_us;
        hit.score = label.box.score;
        hit.class_name = kNuscenesClassNames[label.box.class_index];
        hit.why = "'" + text_of_class.at(label.box.class_index) + "', track " + label.track;
        const Eigen::Vector4d& q = label.box.rotation_wxyz;
        const Eigen::Vector3d& wlh = label.box.size_wlh_m;
        Box3 box;
        box.frame_from_box = {Eigen::Quaterniond(q[0], q[1], q[2], q[3]).normalized(),
                              label.box.translation_m};
        box.size_m = {wlh.y(), wlh.x(), wlh.z()};
        hit.box_in_world = box;
        MinedHit& kept = best.try_emplace(hit.class_name + "/" + label.track, hit).first->second;
        if (hit.score > kept.score) kept = hit;
      }
    }
    for (auto& [track, hit] : best) hits.push_back(std::move(hit));
    first += log->frames.size();
  }
  std::stable_sort(hits.begin(), hits.end(),
                   [](const MinedHit& a, const MinedHit& b) { return a.score > b.score; });
  return hits;
}

}  // namespace

CommandAction SetUpLabelWords(CLI::App& app) {
  struct Arguments {
    fs::path logs, labels;
    std::vector<std::string> texts, clips;
    std::string teacher = "embedded", negatives;
    WordsCommandOptions options;
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "LOGS", &arguments->logs, "driving logs, any that `log info` opens")->required();
  app.add_option("--text", arguments->texts,
                 "what to label, in words; its class is the one that it fits best, or WORDS=CLASS")
      ->required()
      ->type_name("WORDS");
  AddPath(app, "-o,--out", &arguments->labels, "folder of versions of labels")->required();
  app.add_option("--clip", arguments->clips, "only logs of this name (default: all)")
      ->type_name("NAME");
  app.add_option("--teacher", arguments->teacher,
                 "whose features are lifted: a name of `models list`, a card, or a file of "
                 "`semantic train-teacher` (default: embedded)")
      ->type_name("NAME|FILE");
  app.add_option("--negatives", arguments->negatives,
                 "words between commas, which phrases are compared with (default: the teacher's "
                 "classes, or what stands in streets)")
      ->type_name("WORDS");
  OptionFlags flags(app, Describe(arguments->options), true, "Options of the labels");
  app.footer(
      "Each moment of a log is a scene of Gaussians, one per LiDAR point. docs/labels.md says how "
      "well this finds what.");
  return [arguments, flags]() mutable {
    flags.Apply();
    const Arguments& a = *arguments;
    std::vector<AskedWords> asked;
    std::map<int, std::string> text_of_class;
    for (const std::string& text : a.texts) {
      asked.push_back(AskFor(text));
      std::string& of_class = text_of_class[asked.back().class_index];
      of_class += (of_class.empty() ? "" : ", ") + asked.back().text;
    }
    Logs logs = ReadLogs({a.logs});
    if (!a.clips.empty()) {
      const std::set<std::string> names(a.clips.begin(), a.clips.end());
      for (const std::string& name : names) {
        ATHANOR_CHECK(std::any_of(logs.begin(), logs.end(),
                                  [&](const auto& log) { return log->name == name; }),
                      a.logs.string(), ": no log is called '", name, "'");
      }
      std::erase_if(logs, [&](const auto& log) { return !names.contains(log->name); });
    }
    const TeacherWithWords both = OpenTeacherWithWords(a.teacher);
    std::vector<std::string> negatives;
    std::istringstream words(a.negatives);
    for (std::string word; std::getline(words, word, ',');) negatives.push_back(word);
    WordLabeler labeler(both.teacher.get(), both.encoder.get(), asked, negatives, a.options.labels);
    PrintUnderstanding(*both.encoder, [&] {
      std::vector<std::string> prompts;
      for (const AskedWords& each : asked) prompts.push_back(each.text);
      return prompts;
    }());

    LabelSet labels;
    LabelProvenance& from = labels.provenance;
    from.kind = "words";
    from.model = a.teacher;
    from.model_sha256 =
        both.weights.empty() ? Sha256Of(both.teacher->key()) : Sha256OfFile(both.weights);
    std::ostringstream options;
    for (size_t p = 0; p < asked.size(); ++p) {
      options << "'" << asked[p].text << "'";
      const std::string read = both.encoder->Explain(asked[p].text);
      if (!read.empty()) options << " read as '" << read << "'";
      options << " is " << kNuscenesClassNames[asked[p].class_index] << ", against "
              << Listed(labeler.negatives()[p]) << "; ";
    }
    const WordsCommandOptions& o = a.options;
    options << "threshold " << o.labels.boxes.threshold << ", temperature " << o.labels.temperature
            << ", clearance " << o.labels.boxes.clearance_m << " m, points "
            << o.labels.boxes.min_points << ", range " << o.labels.moment.max_range_m
            << " m, sweeps " << o.labels.moment.sweeps << ", spread " << o.labels.moment.spread_rad
            << "; sure " << o.tracker.sure << ", boxes " << o.tracker.boxes << "; clips "
            << (a.clips.empty() ? "all" : Listed(a.clips));
    from.options = options.str();

    int64_t frames = 0, done = 0, unseen = 0, boxes = 0;
    for (const auto& log : logs) frames += std::ssize(log->frames);
    Progress progress("frames", frames);
    for (const auto& log : logs) {
      std::vector<std::vector<NuscenesBox>> of_log;
      for (int f = 0; f < std::ssize(log->frames); ++f) {
        WordLabeler::Found found = labeler.Look(*log, f);
        unseen += found.gaussians == 0 || found.pictures == 0;
        boxes += std::ssize(found.boxes);
        of_log.push_back(std::move(found.boxes));
        progress.Update(++done, log->name);
      }
      for (FrameLabels& frame : LabelLog(*log, of_log, o.tracker)) {
        labels.frames.push_back(std::move(frame));
      }
    }
    ATHANOR_CHECK(unseen < frames, a.logs.string(),
                  ": no frame has a LiDAR sweep and a picture at hand");
    from.data = NameFrames(labels.frames);
    const std::string id = StoreLabels(a.labels, labels);
    const std::vector<MinedHit> hits = HitsOf(labels, logs, text_of_class);
    int64_t count = 0;
    for (const FrameLabels& frame : labels.frames) count += std::ssize(frame.labels);
    std::cout << "labels     " << (a.labels / (id + ".labels")).string() << "\nframes     "
              << Grouped(frames);
    if (unseen > 0) std::cout << ", " << Grouped(unseen) << " without a sweep or a picture";
    std::cout << "\nboxes      " << Grouped(count) << " of " << Grouped(std::ssize(hits))
              << " tracks, from " << Grouped(boxes) << " of single moments\n";
    if (!hits.empty() && o.pictures > 0) {
      const fs::path sheet = a.labels / (id + ".png");
      ContactSheetOptions drawing;
      drawing.most = static_cast<int>(o.pictures);
      WriteImage(sheet, DrawMinedHits(MinedData(a.logs), hits, drawing));
      std::cout << "pictures   " << sheet.string() << "\n";
    }
    return 0;
  };
}

}  // namespace athanor
