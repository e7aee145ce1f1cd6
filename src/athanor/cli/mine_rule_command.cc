// athanor mine rule
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <map>
#include <optional>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/cli/commands.h"
#include "athanor/cli/mine_report.h"
#include "athanor/cli/mine_vectors.h"
#include "athanor/cli/options_cli.h"
#include "athanor/loop/mining/attribute_base.h"
#include "athanor/loop/mining/box_miners.h"
#include "athanor/loop/mining/rules.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

struct RuleArguments {
  MineArguments mine;
  std::string sql, saved, save, boxes = "annotations", student, teacher;
  fs::path attributes, rules;
  RuleLimits limits;
  bool list = false;
  // Of similarity(): "NAME=EXAMPLE", "NAME=WORDS".
  std::vector<std::string> like, like_text;
  std::string level = "box", model;
  TeacherVectorOptions describer;
  fs::path features;

  bool has_rule() const { return !sql.empty() || !saved.empty(); }
};

// "near_dogs" or "near_dogs@2".
Rule FindSaved(const RuleBook& book, const std::string& text, const fs::path& file) {
  const size_t at = text.find('@');
  int version = 0;
  if (at != std::string::npos) {
    const std::string digits = text.substr(at + 1);
    if (digits.empty() || digits.size() > 9 ||
        digits.find_first_not_of("0123456789") != std::string::npos) {
      throw UsageError("mine rule: expected NAME@VERSION, found " + text);
    }
    version = std::stoi(digits);
  }
  const std::optional<Rule> found = book.Find(text.substr(0, at), version);
  ATHANOR_CHECK(found.has_value(), file.string(), ": no rule is called '", text, "'");
  return *found;
}

// What disagreement(frame) says: the sum of a frame's disagreements.
void SetDisagreement(const RuleArguments& arguments, const MinedData& data, AttributeBase* base,
                     RuleEngine* engine) {
  const BoxSource student = BoxSource::Open(arguments.student);
  const BoxSource teacher = BoxSource::Open(arguments.teacher);
  const UndigestedFound found =
      MineUndigested(data, student, teacher, {}, nullptr, ShowProgress("comparing"));
  std::map<std::pair<std::string, int>, double> sums;
  for (const MinedHit& hit : found.hits) sums[{hit.log, hit.frame}] += hit.score;
  engine->SetDisagreement(
      [&data, base, sums, student, teacher](int64_t frame) -> std::optional<double> {
        const std::optional<FrameRef> ref = base->FrameOf(data, frame);
        if (!ref) return std::nullopt;
        const std::shared_ptr<const Log> log = data.Read(ref->log);
        if (!student.Has(*log, ref->frame) || !teacher.Has(*log, ref->frame)) return std::nullopt;
        const auto sum = sums.find({data.name(ref->log), ref->frame});
        return sum == sums.end() ? 0.0 : sum->second;
      });
}

// "dogs=scene-0001/3:2" as its halves.
std::pair<std::string, std::string> SetAndMember(const std::string& option,
                                                 const std::string& text) {
  const size_t middle = text.find('=');
  if (middle == std::string::npos || middle == 0 || middle + 1 == text.size()) {
    throw UsageError(StrCat("mine rule: ", option, ": expected NAME=",
                            option == "--like" ? "BOX, NAME=FRAME or NAME=FILE" : "WORDS",
                            ", found ", text));
  }
  return {text.substr(0, middle), text.substr(middle + 1)};
}

// What similarity() compares with, by the numbers that the tables have.
void AddSets(RuleArguments& arguments, const MinedData& data, const BoxSource& boxes,
             AttributeBase* base, RuleEngine* engine, MinedHits* about) {
  if (arguments.like.empty() && arguments.like_text.empty()) return;
  const bool by_box = arguments.level == "box";
  if (by_box && !arguments.features.empty()) {
    throw UsageError(
        "mine rule: --features has vectors of a model's own boxes, not of those in the tables: "
        "expected --level frame");
  }
  if (arguments.describer.folder.empty()) {
    arguments.describer.folder = (data.is_lake() ? data.path() : arguments.mine.out) / "vectors";
  }
  const std::unique_ptr<MinedVectors> vectors =
      arguments.features.empty()
          ? DescribeByTeacher(data, boxes, arguments.describer)
          : VectorsOfTable(data, nullptr, arguments.features, arguments.model);
  for (const auto& line : vectors->About()) about->about.push_back(line);
  std::map<std::string, std::vector<float>> sets;
  const auto add = [&](const std::string& name, const std::vector<float>& vector) {
    std::vector<float>& set = sets[name];
    set.insert(set.end(), vector.begin(), vector.end());
  };
  for (const std::string& text : arguments.like) {
    const auto [name, example] = SetAndMember("--like", text);
    add(name, vectors->Example(example, arguments.level));
  }
  for (const std::string& text : arguments.like_text) {
    const auto [name, words] = SetAndMember("--like-text", text);
    add(name, vectors->Words(words));
  }
  const VectorLevel& level = vectors->Level(arguments.level);
  const std::map<std::string, int64_t> clips = base->ClipsByName();
  auto rows = std::make_shared<RuleEngine::RowIds>();
  for (const auto& [id, ref] : level.items) {
    const auto clip = clips.find(data.name(ref.log));
    if (clip == clips.end()) continue;
    const int64_t frame = (clip->second << MinedData::kFrameBits) + ref.frame;
    (*rows)[by_box ? RuleIdOfBox(frame, ref.box) : frame] = id;
  }
  for (const auto& [name, set] : sets) engine->AddVectorSet(name, level.table, set, rows);
}

// The hits as all miners have them. Logs are read for the first `count` only, unless the rule
// selects a column "score": then all have to be seen to find the best.
std::vector<MinedHit> HitsOf(const RuleResult& result, const MinedData& data,
                             const BoxSource& boxes, AttributeBase* base,
                             const MineArguments& mine) {
  const auto score_column = std::find(result.columns.begin(), result.columns.end(), "score");
  const bool is_scored = score_column != result.columns.end();
  const size_t score = score_column - result.columns.begin();
  std::vector<MinedHit> hits;
  for (const RuleHit& hit : result.hits) {
    if (mine.window_s == 0 && !is_scored && std::ssize(hits) >= mine.count) break;
    std::optional<FrameRef> ref = base->FrameOf(data, hit.frame);
    ATHANOR_CHECK(ref.has_value(), "mine rule: expected numbers of frames, found ", hit.frame,
                  " in the column frame");
    ref->box = static_cast<int>(hit.box);
    MinedHit& out = hits.emplace_back(HitOf(data, *ref));
    const std::vector<SourcedBox> of_frame = boxes.Boxes(*data.Read(ref->log), ref->frame);
    out.boxes_in_frame = static_cast<int>(of_frame.size());
    if (hit.box >= 0 && hit.box < std::ssize(of_frame)) {
      out.box_in_world = of_frame[hit.box].box;
      out.class_name = of_frame[hit.box].class_name;
    }
    out.score = is_scored ? std::atof(hit.columns[score].c_str()) : 1;
    const auto say = [&](const std::string& reason) {
      out.why += (out.why.empty() ? "" : "; ") + reason;
    };
    for (const std::string& reason : hit.fired) say(reason);
    for (size_t c = 0; c < result.columns.size(); ++c) {
      say(StrCat(result.columns[c], " = ", hit.columns[c]));
    }
  }
  return hits;
}

int Run(RuleArguments& arguments) {
  const MineArguments& mine = arguments.mine;
  if (arguments.student.empty() != arguments.teacher.empty()) {
    throw UsageError("mine rule: --student and --teacher go together");
  }
  if (!arguments.sql.empty() && !arguments.saved.empty()) {
    throw UsageError("mine rule: expected a rule or --saved, found both");
  }
  if (!arguments.has_rule() && !arguments.list) {
    throw UsageError("mine rule: expected a rule, --saved NAME or --list");
  }
  const MinedData data(mine.data);
  const BoxSource boxes = BoxSource::Open(arguments.boxes);
  if (arguments.attributes.empty()) {
    arguments.attributes =
        (data.is_lake() ? mine.data : mine.out) /
        (boxes.is_annotations() ? "attributes.sqlite"
                                : StrCat("attributes_", boxes.identity().substr(0, 12), ".sqlite"));
  }
  if (arguments.rules.empty()) {
    arguments.rules = arguments.attributes.parent_path() / "rules.sqlite";
  }
  MakeFolder(mine.out);
  SqliteDatabase rule_file(arguments.rules, SqliteDatabase::Mode::kCreate);
  RuleBook book(rule_file);
  if (arguments.list) {
    std::vector<std::vector<std::string>> rows = {{"rule", "version", "SQL"}};
    for (const Rule& rule : book.List())
      rows.push_back({rule.name, StrCat(rule.version), rule.sql});
    std::cout << (rows.size() > 1 ? Table(rows) : "no rules are saved\n");
    if (!arguments.has_rule()) return 0;
  }
  Rule rule = arguments.saved.empty() ? Rule{"", 0, arguments.sql}
                                      : FindSaved(book, arguments.saved, arguments.rules);
  SqliteDatabase database(arguments.attributes, SqliteDatabase::Mode::kCreate);
  AttributeBase base(database);
  const AttributeUpdate update = base.Update(data, boxes, ShowProgress("attributes"));
  RuleEngine engine(database, &book, arguments.limits);
  MinedHits hits{"rule", mine.data.string(), {}, {}};
  if (!arguments.student.empty()) SetDisagreement(arguments, data, &base, &engine);
  AddSets(arguments, data, boxes, &base, &engine, &hits);
  if (!arguments.save.empty()) {
    engine.Check({arguments.save, 0, rule.sql});  // what is wrong is not kept
    rule = {arguments.save, book.Save(arguments.save, rule.sql), rule.sql};
  }
  const RuleResult result = engine.Run(rule);

  hits.about.emplace_back("rule", rule.sql);
  if (rule.version > 0) hits.about.emplace_back("name", StrCat(rule.name, "@", rule.version));
  hits.about.emplace_back("boxes", boxes.name());
  hits.about.emplace_back(
      "tables",
      StrCat(arguments.attributes.string(), ": ", update.logs_added, " logs added, ",
             update.logs_kept, " kept, ", update.logs_removed, " removed",
             update.logs_unreadable > 0 ? StrCat(", ", update.logs_unreadable, " cannot be read")
                                        : ""));
  hits.about.emplace_back("answered", StrCat(Grouped(std::ssize(result.hits)), " hits in ",
                                             Fixed(1e3 * result.seconds, 1), " ms"));
  hits.hits = BestHits(HitsOf(result, data, boxes, &base, mine), mine.window_us(), mine.count);
  ReportMined(mine, data, hits);
  return 0;
}

}  // namespace

CommandAction SetUpMineRule(CLI::App& app) {
  auto arguments = std::make_shared<RuleArguments>();
  arguments->mine.count = 1000;
  AddMineArguments(app, &arguments->mine, 0);
  app.add_option("RULE", arguments->sql, "a SELECT with a column frame, and box where one is meant")
      ->type_name("SQL");
  app.add_option("--saved", arguments->saved, "run a saved rule: NAME, or NAME@VERSION")
      ->type_name("NAME");
  app.add_option("--save", arguments->save,
                 "keep the rule under this name; other text becomes a new version")
      ->type_name("NAME");
  app.add_flag("--list", arguments->list, "list the saved rules");
  app.add_option(
         "--boxes", arguments->boxes,
         StrCat("what the boxes of the tables are: ", kBoxSourceHelp, " (default: annotations)"))
      ->type_name("FILE|annotations");
  app.add_option("--student", arguments->student,
                 "results of a small model, and with them disagreement(frame)")
      ->type_name("FILE");
  app.add_option("--teacher", arguments->teacher, "what a large model found, for the same")
      ->type_name("FILE|annotations");
  app.add_option("--like", arguments->like,
                 "an example of a set, for similarity('NAME', frame * 4096 + box): a box "
                 "(LOG/NUMBER:BOX), with --level frame a frame, or a picture; again for more")
      ->type_name("NAME=BOX|FRAME|FILE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--like-text", arguments->like_text,
                 "words as an example of a set; again for more")
      ->type_name("NAME=WORDS")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--level", arguments->level,
                 "what similarity() is asked for: boxes of the tables, or frames, by "
                 "similarity('NAME', frame) (default: box)")
      ->check(CLI::IsMember({"box", "frame"}).description(""))
      ->type_name("box|frame");
  app.add_option("--describer", arguments->describer.teacher,
                 "what describes pictures for these sets: embedded, or a card (default: embedded)")
      ->type_name("NAME");
  AddPath(app, "--vectors", &arguments->describer.folder,
          "folder that keeps its vectors (default: vectors/ in the lake, else in OUT)");
  AddPath(app, "--features", &arguments->features,
          "table of `athanor infer`, whose vectors of frames are used instead");
  app.add_option("--model", arguments->model, "model of that table (default: the only one)")
      ->type_name("NAME");
  AddPath(app, "--attributes", &arguments->attributes,
          "file of the attribute tables (default: in the lake, else in OUT)");
  AddPath(app, "--rules", &arguments->rules,
          "file of the saved rules (default: beside the attribute tables)");
  app.add_option("--seconds", arguments->limits.seconds,
                 "a rule that takes longer is stopped (default: 10)")
      ->check(CLI::Range(0.001, 86400.0).description(""))
      ->type_name("SECONDS");
  return [arguments] { return Run(*arguments); };
}

}  // namespace athanor
