// athanor mine uncertain, undigested, digest, purity
#include <iostream>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "athanor/cli/commands.h"
#include "athanor/cli/mine_report.h"
#include "athanor/cli/options_cli.h"
#include "athanor/detection/evaluation/nuscenes_eval.h"
#include "athanor/loop/mining/box_miners.h"
#include "athanor/loop/mining/digest_book.h"
#include "athanor/loop/mining/mined_hits.h"
#include "athanor/loop/mining/purity.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

// "12 undigested, 3 queued".
std::string StatesOf(DigestBook& book) {
  const auto counts = book.Counts();
  std::string states;
  for (size_t s = 0; s < counts.size(); ++s) {
    if (counts[s] == 0) continue;
    states += StrCat(states.empty() ? "" : ", ", counts[s], " ",
                     DigestStateName(static_cast<DigestState>(s)));
  }
  return states;
}

void AddRarity(CLI::App& app, double* rarity) {
  app.add_option(
         "--rarity", *rarity,
         "how much more a rare class counts: the power of how many times as many frames have "
         "the commonest; 0 = all count the same (default: 0.5)")
      ->check(CLI::Range(0.0, 1.0).description(""))
      ->type_name("X");
}

}  // namespace

CommandAction SetUpMineUncertain(CLI::App& app) {
  struct Arguments {
    MineArguments mine;
    std::vector<std::string> members;
    EnsembleMatching matching;
    double rarity = 0.5;
    std::string level = "box";
  };
  auto arguments = std::make_shared<Arguments>();
  AddMineArguments(app, &arguments->mine, 1);
  app.add_option("--predictions", arguments->members,
                 "results of each member of the ensemble, in nuScenes' format: two or more")
      ->required()
      ->type_name("FILE ...");
  app.add_option("--level", arguments->level,
                 "what is found: boxes, or frames by their most uncertain box (default: box)")
      ->check(CLI::IsMember({"box", "frame"}).description(""))
      ->type_name("box|frame");
  app.add_option("--min-score", arguments->matching.min_score,
                 "boxes below are noise (default: 0.05)")
      ->check(CLI::Range(0.0, 1.0).description(""))
      ->type_name("X");
  AddRarity(app, &arguments->rarity);
  return [arguments] {
    const MinedData data(arguments->mine.data);
    std::vector<BoxSource> members;
    for (const std::string& path : arguments->members) members.push_back(BoxSource::Open(path));
    UncertainFound found =
        MineUncertain(data, members, arguments->matching, ShowProgress("frames"));
    WeighByRarity(arguments->rarity, &found.hits);
    MinedHits hits{"uncertain", arguments->mine.data.string(), {}, {}};
    hits.about.emplace_back("frames", Grouped(found.frames));
    hits.about.emplace_back("members", StrCat(members.size()));
    for (size_t m = 0; m < found.calibration.size(); ++m) {
      hits.about.emplace_back(StrCat("ECE ", m), Fixed(found.calibration[m].expected_error, 3) +
                                                     ", calibration error of " +
                                                     arguments->members[m]);
    }
    if (arguments->level == "frame") {
      std::map<std::pair<std::string, int>, MinedHit> best;
      for (const MinedHit& hit : found.hits) {
        MinedHit& of_frame = best.try_emplace({hit.log, hit.frame}, hit).first->second;
        if (hit.score > of_frame.score) of_frame = hit;
      }
      found.hits.clear();
      for (auto& [key, hit] : best) {
        hit.why = hit.class_name + ": " + hit.why;
        hit.box_in_world.reset();
        hit.class_name.clear();
        found.hits.push_back(std::move(hit));
      }
    }
    hits.hits = BestHits(std::move(found.hits), arguments->mine.window_us(), arguments->mine.count);
    ReportMined(arguments->mine, data, hits);
    return 0;
  };
}

CommandAction SetUpMineUndigested(CLI::App& app) {
  struct Arguments {
    MineArguments mine;
    std::string student, teacher;
    fs::path digest;
    UndigestedOptions options;
    double rarity = 0.5;
  };
  auto arguments = std::make_shared<Arguments>();
  AddMineArguments(app, &arguments->mine, 1);
  app.add_option("--student", arguments->student,
                 "what the deployed model found: results in nuScenes' format")
      ->required()
      ->type_name("FILE");
  app.add_option("--teacher", arguments->teacher,
                 StrCat("what the large model found: ", kBoxSourceHelp))
      ->required()
      ->type_name("FILE|annotations");
  AddPath(app, "--digest", &arguments->digest,
          "file that keeps the state of each frame over evaluations; made when missing");
  app.add_option("--teacher-confidence", arguments->options.compare.teacher_confidence,
                 "a teacher's box below says nothing (default: 0.5)")
      ->check(CLI::Range(0.0, 1.0).description(""))
      ->type_name("X");
  app.add_option("--student-confidence", arguments->options.compare.student_confidence,
                 "a student's box below is none (default: 0.3)")
      ->check(CLI::Range(0.0, 1.0).description(""))
      ->type_name("X");
  app.add_option("--range", arguments->options.range_m,
                 "boxes matter less the further away, and from here on nothing, metres "
                 "(default: 60)")
      ->check(CLI::Range(1.0, 1000.0).description(""))
      ->type_name("M");
  AddRarity(app, &arguments->rarity);
  return [arguments] {
    const MinedData data(arguments->mine.data);
    const BoxSource student = BoxSource::Open(arguments->student);
    const BoxSource teacher = BoxSource::Open(arguments->teacher);
    std::optional<DigestBook> book;
    if (!arguments->digest.empty()) book.emplace(arguments->digest);
    UndigestedFound found = MineUndigested(data, student, teacher, arguments->options,
                                           book ? &*book : nullptr, ShowProgress("frames"));
    WeighByRarity(arguments->rarity, &found.hits);
    MinedHits hits{"undigested", arguments->mine.data.string(), {}, {}};
    hits.about.emplace_back("frames", StrCat(Grouped(found.frames), ", ", found.agreed, " agreed"));
    std::string kinds;
    for (size_t k = 0; k < found.kinds.size(); ++k) {
      kinds += StrCat(k == 0 ? "" : ", ", found.kinds[k], " ",
                      DisagreementKindName(static_cast<DisagreementKind>(k)));
    }
    hits.about.emplace_back("found", kinds);
    if (book) {
      hits.about.emplace_back("digest", StatesOf(*book));
    }
    hits.hits = BestHits(std::move(found.hits), arguments->mine.window_us(), arguments->mine.count);
    ReportMined(arguments->mine, data, hits);
    // Only what was reported whole counts as an evaluation.
    if (book) book->Commit();
    return 0;
  };
}

CommandAction SetUpMineDigest(CLI::App& app) {
  struct Arguments {
    fs::path digest;
    std::vector<fs::path> trained, retired;
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "DIGEST", &arguments->digest, "file of `mine undigested --digest`")->required();
  app.add_option("--trained", arguments->trained,
                 "hits.json of batches that were learned from: queued frames in it are trained now")
      ->type_name("FILE ...");
  app.add_option("--retire", arguments->retired,
                 "hits.json of frames that need not be learned again: digested ones are retired")
      ->type_name("FILE ...");
  return [arguments] {
    const Arguments& a = *arguments;
    ATHANOR_CHECK(fs::is_regular_file(a.digest), a.digest.string(),
                  ": expected a file of `mine undigested --digest`, found none");
    std::set<std::pair<std::string, int>> trained, retired;
    for (const auto& [paths, frames] : {std::pair(&a.trained, &trained), {&a.retired, &retired}}) {
      for (const fs::path& path : *paths) {
        for (const MinedHit& hit : ReadMinedHits(path).hits) frames->emplace(hit.log, hit.frame);
      }
    }
    DigestBook book(a.digest);
    // Those that are in another state stay there: what is done twice changes nothing.
    const auto advance = [&](const auto& frames, DigestState from, DigestEvent event) {
      int64_t count = 0;
      for (const auto& [log, frame] : frames) {
        if (book.Find(log, frame).state != from) continue;
        book.Record(log, frame, event);
        ++count;
      }
      return count;
    };
    const int64_t learned = advance(trained, DigestState::kQueued, DigestEvent::kTrained);
    const int64_t done = advance(retired, DigestState::kDigested, DigestEvent::kRetired);
    std::cout << "digest     " << a.digest.string() << "\ntrained    " << Grouped(learned)
              << " now\nretired    " << Grouped(done) << " now\nframes     " << StatesOf(book)
              << "\n";
    book.Commit();
    return 0;
  };
}

CommandAction SetUpMinePurity(CLI::App& app) {
  struct Arguments {
    fs::path truth;
    std::vector<fs::path> hits;
    std::string class_name;
    std::vector<std::string> without;
    double range_m = 50;
    std::vector<int64_t> counts = {10, 20, 50, 100, 200};
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "TRUTH", &arguments->truth, "the driving logs that were mined, with true boxes")
      ->required();
  app.add_option("--hits", arguments->hits, "hits.json of miners")
      ->required()
      ->type_name("FILE ...");
  app.add_option("--class", arguments->class_name, "of the nuScenes benchmark, or animal")
      ->required()
      ->type_name("NAME");
  app.add_option("--range", arguments->range_m,
                 "a box counts when it is nearer than this, metres (default: 50)")
      ->check(CLI::Range(0.1, 1e6).description(""))
      ->type_name("M");
  app.add_option("--count", arguments->counts, "of so many frames (default: 10 20 50 100 200)")
      ->check(CLI::Range(int64_t{1}, int64_t{1000000000}).description(""))
      ->type_name("N ...");
  app.add_option("--without", arguments->without,
                 "frames that count nowhere, as those that a miner was shown: LOG/NUMBER")
      ->type_name("FRAME ...");
  return [arguments] {
    const Arguments& a = *arguments;
    const int class_index = FindNuscenesClass(a.class_name);
    if (class_index < 0) {
      throw UsageError("--class: expected a class of the benchmark or animal, found '" +
                       a.class_name + "'");
    }
    const MinedData truth(a.truth);
    std::set<std::string> without;
    for (const std::string& text : a.without) {
      const FrameRef ref = truth.Parse(text);
      without.insert(truth.Read(ref.log)->frames.at(ref.frame).id);
    }
    std::vector<std::vector<std::string>> rows = {
        {"hits", "frames", "with " + a.class_name, "share", "95 % from", "to", "times all"}};
    for (const fs::path& path : a.hits) {
      const Purity purity =
          MeasurePurity(truth, ReadMinedHits(path).hits, class_index, a.range_m, a.counts, without);
      const auto add = [&](const std::string& name, const PurityAt& at) {
        rows.push_back({name, Grouped(at.frames), Grouped(at.with), Fixed(at.share, 4),
                        Fixed(at.low, 4), Fixed(at.high, 4), Fixed(purity.Gain(at), 1)});
      };
      if (rows.size() == 1) add("all", purity.all);
      for (const PurityAt& at : purity.best) add(path.parent_path().filename().string(), at);
    }
    std::cout << Table(rows);
    return 0;
  };
}

}  // namespace athanor
