// athanor mine similar, select: what needs vectors.
#include <algorithm>
#include <iostream>
#include <map>
#include <optional>
#include <set>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/cli/commands.h"
#include "athanor/cli/mine_report.h"
#include "athanor/cli/mine_vectors.h"
#include "athanor/cli/options_cli.h"
#include "athanor/detection/evaluation/nuscenes_eval.h"
#include "athanor/loop/features/class_words.h"
#include "athanor/loop/mining/digest_book.h"
#include "athanor/loop/mining/directed.h"
#include "athanor/loop/mining/score_table.h"
#include "athanor/loop/mining/selection.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

// Where vectors and boxes come from.
struct VectorArguments {
  TeacherVectorOptions teacher;
  std::string boxes, model;
  fs::path table;

  BoxSource OpenBoxes() const {
    if (!boxes.empty()) return BoxSource::Open(boxes);
    if (table.empty()) return BoxSource::Annotations();
    const fs::path results = BoxesOfTable(table, model);
    return results.empty() ? BoxSource::Annotations() : BoxSource::Results(results);
  }
  std::unique_ptr<MinedVectors> Open(const MinedData& data, const BoxSource& source,
                                     const fs::path& out) {
    if (!table.empty()) {
      return VectorsOfTable(data, boxes.empty() ? nullptr : &source, table, model);
    }
    if (teacher.folder.empty()) teacher.folder = (data.is_lake() ? data.path() : out) / "vectors";
    return DescribeByTeacher(data, source, teacher);
  }
};

void AddVectorArguments(CLI::App& app, VectorArguments* arguments) {
  app.add_option("--boxes", arguments->boxes,
                 StrCat("the boxes that are described, and that examples are of: ", kBoxSourceHelp,
                        " (default: annotations; with --features the model's own)"))
      ->type_name("FILE|annotations");
  AddPath(app, "--features", &arguments->table,
          "table of `athanor infer`, whose vectors are used instead of a teacher's");
  app.add_option("--model", arguments->model, "model of that table (default: the only one)")
      ->type_name("NAME");
  AddPath(app, "--vectors", &arguments->teacher.folder,
          "folder that keeps a teacher's vectors (default: vectors/ in the lake, else in OUT)");
}

// Boxes of a detector by words: those of the classes that the words mean, best score first. Nothing
// when no class does.
std::vector<MinedHit> HitsByClass(const MinedData& data, const BoxSource& boxes,
                                  const std::string& words) {
  const std::vector<std::string> classes(kNuscenesClassNames.begin(), kNuscenesClassNames.end());
  const std::vector<double> fits = FitClasses(words, classes, WordNet::Installed());
  std::vector<MinedHit> hits;
  if (*std::max_element(fits.begin(), fits.end()) == 0) return hits;
  for (int l = 0; l < data.num_logs(); ++l) {
    const std::shared_ptr<const Log> log = data.Read(l);
    for (int f = 0; f < std::ssize(log->frames); ++f) {
      const std::vector<SourcedBox> of_frame = boxes.Boxes(*log, f);
      for (int b = 0; b < std::ssize(of_frame); ++b) {
        const SourcedBox& box = of_frame[b];
        if (box.class_index < 0 || fits[box.class_index] == 0) continue;
        MinedHit& hit = hits.emplace_back(HitOf(data, {l, f, b}));
        hit.boxes_in_frame = static_cast<int>(of_frame.size());
        hit.box_in_world = box.box;
        hit.class_name = box.class_name;
        hit.score = box.score * fits[box.class_index];
        hit.why = StrCat(words, " is ", box.class_name, " (", Fixed(fits[box.class_index], 2),
                         "), the detector says ", Fixed(box.score, 2));
      }
    }
  }
  return hits;
}

}  // namespace

CommandAction SetUpMineSimilar(CLI::App& app) {
  struct Arguments {
    MineArguments mine;
    VectorArguments vectors;
    std::vector<std::string> examples, negatives;
    std::string text, not_text, level = "box", reader = "auto";
    std::string score = "max";
    double min_distance = 0, negative_weight = 0.5;
  };
  auto arguments = std::make_shared<Arguments>();
  AddMineArguments(app, &arguments->mine, 2);
  app.add_option("--text", arguments->text, "what to look for, in words")->type_name("WORDS");
  app.add_option("--reader", arguments->reader,
                 "who reads the words: the teacher, or the classes of the detector that the boxes "
                 "are from, by WordNet; auto = classes where one fits (default: auto)")
      ->check(CLI::IsMember({"auto", "teacher", "classes"}).description(""))
      ->type_name("auto|teacher|classes");
  app.add_option("--example", arguments->examples,
                 "what it looks like: a box (LOG/NUMBER:BOX), with --level frame a frame "
                 "(LOG/NUMBER), or a picture of it")
      ->type_name("BOX|FRAME|FILE ...");
  app.add_option("--not", arguments->negatives, "what it is not, in the same forms")
      ->type_name("BOX|FRAME|FILE ...");
  app.add_option("--not-text", arguments->not_text, "what it is not, in words, by commas")
      ->type_name("WORDS");
  app.add_option("--level", arguments->level, "what is found (default: box)")
      ->check(CLI::IsMember({"box", "frame"}).description(""))
      ->type_name("box|frame");
  app.add_option("--score", arguments->score,
                 "how likenesses to several examples become one: of the nearest, the mean, between "
                 "the two, or a classifier fitted on the spot (default: max)")
      ->check(CLI::IsMember({"max", "mean", "softmax-mean", "logistic"}).description(""))
      ->type_name("max|mean|softmax-mean|logistic");
  app.add_option("--min-distance", arguments->min_distance,
                 "between vectors of hits, 0 to 2: spreads them out (default: 0)")
      ->check(CLI::Range(0.0, 2.0).description(""))
      ->type_name("X");
  app.add_option("--negative-weight", arguments->negative_weight,
                 "of the nearest negative against the rest (default: 0.5)")
      ->check(CLI::Range(0.0, 10.0).description(""))
      ->type_name("X");
  app.add_option("--teacher", arguments->vectors.teacher.teacher,
                 "what describes pictures: embedded, or a card (default: embedded)")
      ->type_name("NAME");
  AddVectorArguments(app, &arguments->vectors);
  return [arguments] {
    const MineArguments& mine = arguments->mine;
    if (arguments->text.empty() && arguments->examples.empty()) {
      throw UsageError("mine similar: expected --text or --example");
    }
    const MinedData data(mine.data);
    const BoxSource boxes = arguments->vectors.OpenBoxes();
    MinedHits hits{"similar", mine.data.string(), {}, {}};
    const bool by_class = arguments->reader == "classes";
    if (by_class && (arguments->text.empty() || !arguments->examples.empty())) {
      throw UsageError("mine similar: --reader classes needs --text alone");
    }
    if (by_class || (arguments->reader == "auto" && arguments->examples.empty() &&
                     arguments->level == "box" && !boxes.is_annotations())) {
      std::vector<MinedHit> found = HitsByClass(data, boxes, arguments->text);
      ATHANOR_CHECK(!by_class || !found.empty(), boxes.name(), ": no class of these means '",
                    arguments->text, "'");
      if (!found.empty()) {
        hits.about.emplace_back("reader", "classes of " + boxes.name());
        hits.about.emplace_back("boxes", Grouped(std::ssize(found)));
        hits.hits = BestHits(std::move(found), mine.window_us(), mine.count);
        ReportMined(mine, data, hits);
        return 0;
      }
    }
    const std::unique_ptr<MinedVectors> vectors = arguments->vectors.Open(data, boxes, mine.out);
    for (const auto& line : vectors->About()) hits.about.push_back(line);

    DirectedQuery query;
    std::vector<float> positives, negatives, text;
    const auto append = [](std::vector<float>* list, const std::vector<float>& vector) {
      list->insert(list->end(), vector.begin(), vector.end());
    };
    for (const std::string& example : arguments->examples) {
      append(&positives, vectors->Example(example, arguments->level));
    }
    for (const std::string& example : arguments->negatives) {
      append(&negatives, vectors->Example(example, arguments->level));
    }
    for (size_t begin = 0; begin < arguments->not_text.size();) {
      const size_t end = std::min(arguments->not_text.find(',', begin), arguments->not_text.size());
      append(&negatives, vectors->Words(arguments->not_text.substr(begin, end - begin)));
      begin = end + 1;
    }
    if (!arguments->text.empty()) text = vectors->Words(arguments->text);
    query.positives = positives;
    query.negatives = negatives;
    query.text = text;
    query.negative_weight = arguments->negative_weight;
    for (const ExampleScore score : {ExampleScore::kMax, ExampleScore::kMean,
                                     ExampleScore::kSoftmaxMean, ExampleScore::kLogistic}) {
      if (ExampleScoreName(score) == arguments->score) query.score = score;
    }

    const VectorLevel& level = vectors->Level(arguments->level);
    std::vector<int64_t> ids;
    for (const auto& [id, ref] : level.items) ids.push_back(id);
    const VectorFilter filter = FilterOf(*level.table, ids);
    DirectedOptions options;
    options.count = mine.count;
    options.window_us = mine.window_us();
    options.min_distance = arguments->min_distance;
    options.filter = &filter;
    options.moment = [&](int64_t id) -> Moment {
      const FrameRef& ref = level.items.at(id);
      return {ref.log, data.Read(ref.log)->frames[ref.frame].time_us};
    };
    const VectorIndex index(level.table);
    const DirectedResult result = MineDirected(index, query, options);
    for (const DirectedHit& found : result.hits) {
      MinedHit& hit = hits.hits.emplace_back(vectors->Hit(level.items.at(found.id)));
      hit.score = found.score;
      hit.why = found.reason;
    }
    hits.about.emplace_back("searched", result.plan);
    ReportMined(mine, data, hits);
    return 0;
  };
}

CommandAction SetUpMineSelect(CLI::App& app) {
  struct Arguments {
    MineArguments mine;
    std::vector<fs::path> hits, labelled;
    VectorArguments vectors;
    SelectionCost cost;
    std::string method = "score";
    uint64_t seed = 1;
    fs::path digest;
  };
  auto arguments = std::make_shared<Arguments>();
  arguments->cost.budget = 100;
  arguments->mine.count = 1'000'000;
  arguments->vectors.teacher.teacher.clear();
  AddMineArguments(app, &arguments->mine, 2);
  app.add_option("--hits", arguments->hits, "hits.json of one or more miners of the same data")
      ->required()
      ->type_name("FILE ...");
  app.add_option("--labelled", arguments->labelled,
                 "hits.json of earlier batches, whose frames are not chosen again")
      ->type_name("FILE ...");
  app.add_option("--budget", arguments->cost.budget, "what labelling may cost (default: 100)")
      ->check(CLI::Range(0.0, 1e12).description(""))
      ->type_name("X");
  app.add_option("--per-frame", arguments->cost.per_frame, "cost of a frame (default: 1)")
      ->check(CLI::Range(0.0, 1e9).description(""))
      ->type_name("X");
  app.add_option("--per-box", arguments->cost.per_box, "cost of a box in it (default: 0.1)")
      ->check(CLI::Range(0.0, 1e9).description(""))
      ->type_name("X");
  app.add_option("--method", arguments->method,
                 "the best scores, or with vectors those unlike one another (default: score)")
      ->check(CLI::IsMember({"score", "random", "k-centre", "k-means++"}).description(""))
      ->type_name("score|random|k-centre|k-means++");
  app.add_option("--teacher", arguments->vectors.teacher.teacher,
                 "what describes frames, for k-centre and k-means++: embedded, or a card")
      ->type_name("NAME");
  AddVectorArguments(app, &arguments->vectors);
  app.add_option("--seed", arguments->seed, "of what is drawn at random (default: 1)")
      ->type_name("N");
  AddPath(app, "--digest", &arguments->digest,
          "file of `mine undigested --digest`, where undigested frames that are chosen become "
          "queued");
  return [arguments] {
    const MineArguments& mine = arguments->mine;
    const bool by_vectors = arguments->method.starts_with("k-");
    const bool has_vectors =
        !arguments->vectors.teacher.teacher.empty() || !arguments->vectors.table.empty();
    if (by_vectors && !has_vectors) {
      throw UsageError("mine select: --method " + arguments->method +
                       " needs --features or --teacher");
    }
    const MinedData data(mine.data);
    const BoxSource boxes = arguments->vectors.OpenBoxes();
    MinedHits about{"select", mine.data.string(), {}, {}};
    std::vector<MinedHits> lists;
    for (const fs::path& path : arguments->hits) lists.push_back(ReadMinedHits(path));
    std::set<std::string> labelled;
    for (const fs::path& path : arguments->labelled) {
      for (const MinedHit& hit : ReadMinedHits(path).hits) labelled.insert(hit.id);
    }
    std::vector<MinedHit> wanted = MergeHits(lists);
    std::erase_if(wanted, [&](const MinedHit& hit) { return labelled.contains(hit.id); });
    const std::vector<MinedHit> merged = BestHits(std::move(wanted), mine.window_us(), mine.count);
    std::vector<Candidate> candidates;
    for (const MinedHit& hit : merged) {
      candidates.push_back({std::ssize(candidates), hit.score, 0, hit.time_us, hit.boxes_in_frame});
    }
    SelectionArgs args;
    args.cost = arguments->cost;
    args.seed = arguments->seed;
    std::vector<float> vectors;
    if (has_vectors) {
      const std::unique_ptr<MinedVectors> kept = arguments->vectors.Open(data, boxes, mine.out);
      for (const auto& line : kept->About()) about.about.push_back(line);
      const VectorTable& table = *kept->Level("frame").table;
      args.dimension = table.spec().dimension;
      for (const MinedHit& hit : merged) {
        const int log = data.FindLog(hit.log);
        ATHANOR_CHECK(log >= 0, data.path().string(), ": no log is called '", hit.log, "'");
        const int64_t frames = std::ssize(data.Read(log)->frames);
        ATHANOR_CHECK(hit.frame >= 0 && hit.frame < frames, data.path().string(), ": log ", hit.log,
                      " has ", frames, " frames, found ", hit.frame);
        const int64_t row = table.Find(kept->FrameId(log, hit.frame));
        vectors.resize(vectors.size() + args.dimension, 0);
        if (row >= 0) table.Read(row, &vectors[vectors.size() - args.dimension]);
      }
      args.vectors = vectors;
    }
    args.candidates = candidates;

    // Always beside it: chance, and the scores alone.
    std::vector<std::vector<std::string>> rows = {
        {"method", "frames", "boxes", "cost", "logs", "mean score"}};
    std::set<std::string> methods = {"random", "score", arguments->method};
    for (const SelectionMethod method : {SelectionMethod::kRandom, SelectionMethod::kScore,
                                         SelectionMethod::kKCentre, SelectionMethod::kKMeansPlus}) {
      const std::string name(SelectionMethodName(method));
      if (!methods.contains(name)) continue;
      args.method = method;
      const Selection selection = SelectWithinCost(args);
      MinedHits chosen = about;
      chosen.about.emplace_back("method", name);
      std::set<std::string> logs;
      int64_t boxes_in = 0;
      double score = 0;
      for (const int i : selection.indices) {
        chosen.hits.push_back(merged[i]);
        logs.insert(merged[i].log);
        boxes_in += merged[i].boxes_in_frame;
        score += merged[i].score;
      }
      const double n = std::max<double>(1, static_cast<double>(selection.indices.size()));
      rows.push_back({name, Grouped(std::ssize(selection.indices)), Grouped(boxes_in),
                      Fixed(selection.cost, 1), StrCat(logs.size()), Fixed(score / n, 3)});
      if (name == arguments->method) {
        about.hits = chosen.hits;
      } else {
        WriteMinedHits(mine.out / (name + ".json"), chosen);
      }
    }
    std::cout << Table(rows) << "\n";
    about.about.emplace_back("method", arguments->method);
    about.about.emplace_back("candidates", StrCat(candidates.size(), " frames of ", lists.size(),
                                                  lists.size() == 1 ? " list" : " lists"));
    std::optional<DigestBook> book;
    if (!arguments->digest.empty()) {
      ATHANOR_CHECK(fs::is_regular_file(arguments->digest), arguments->digest.string(),
                    ": expected a file of `mine undigested --digest`, found none");
      book.emplace(arguments->digest);
      int64_t queued = 0;
      for (const MinedHit& hit : about.hits) {
        if (book->Find(hit.log, hit.frame).state != DigestState::kUndigested) continue;
        book->Record(hit.log, hit.frame, DigestEvent::kQueued);
        ++queued;
      }
      about.about.emplace_back("digest", StrCat(queued, " undigested frames are queued now"));
    }
    ReportMined(mine, data, about);
    if (book) book->Commit();
    return 0;
  };
}

}  // namespace athanor
