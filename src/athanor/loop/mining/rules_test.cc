#include "athanor/loop/mining/rules.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

#include "athanor/base/parallel.h"
#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/loop/mining/rule_text.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::vector<FrameAttributes> RandomFrames(int clips, int frames, uint64_t seed) {
  Random random(seed);
  constexpr const char* kClasses[] = {"car", "dog", "cat", "bus"};
  std::vector<FrameAttributes> all;
  for (int c = 0; c < clips; ++c) {
    for (int f = 0; f < frames; ++f) {
      FrameAttributes frame;
      frame.frame = c * 1000 + f;
      frame.clip = c;
      frame.time_us = int64_t{c} * 1'000'000'000 + int64_t{f} * 500'000;
      frame.weather = random.Below(2) == 0 ? "rain" : "dry";
      frame.daylight = c % 2 == 0 ? "day" : "night";
      frame.ego_speed_mps = random.Uniform(0, 20);
      if (random.Below(4) == 0) frame.tags.push_back("ego.hard_brake");
      const int boxes = static_cast<int>(random.Below(6));
      for (int b = 0; b < boxes; ++b) {
        BoxAttributes box;
        box.class_name = kClasses[random.Below(4)];
        box.track = b;
        box.score = random.Uniform();
        box.center_in_ego_m = {random.Uniform(-50, 50), random.Uniform(-50, 50), 0};
        frame.boxes.push_back(box);
      }
      all.push_back(frame);
    }
  }
  return all;
}

class RulesTest : public ::testing::Test {
 protected:
  RulesTest()
      : folder_(TestFolder("rules")),
        database_(folder_ / "attributes.sqlite", SqliteDatabase::Mode::kCreate),
        rules_(folder_ / "rules.sqlite", SqliteDatabase::Mode::kCreate),
        book_(rules_),
        frames_(RandomFrames(4, 60, 1)) {
    MakeAttributeTables(database_);
    AttributeWriter writer(database_);
    for (const FrameAttributes& frame : frames_) writer.Add(frame);
    writer.Commit();
  }

  RuleResult Run(const std::string& sql, const RuleLimits& limits = {}) {
    return RuleEngine(database_, &book_, limits).Run({"test", 0, sql});
  }
  std::string Fault(const std::string& sql, const RuleLimits& limits = {}) {
    return ErrorOf([&] { Run(sql, limits); });
  }

  std::filesystem::path folder_;
  SqliteDatabase database_, rules_;
  RuleBook book_;
  std::vector<FrameAttributes> frames_;
};

std::vector<std::pair<int64_t, int64_t>> Places(const std::vector<RuleHit>& hits) {
  std::vector<std::pair<int64_t, int64_t>> places;
  for (const RuleHit& hit : hits) places.emplace_back(hit.frame, hit.box);
  std::sort(places.begin(), places.end());
  return places;
}

TEST_F(RulesTest, FindsWhatALoopFinds) {
  std::vector<std::pair<int64_t, int64_t>> near_dogs, rainy_dogs;
  for (const FrameAttributes& frame : frames_) {
    bool dog = false;
    for (size_t b = 0; b < frame.boxes.size(); ++b) {
      const BoxAttributes& box = frame.boxes[b];
      dog |= box.class_name == "dog";
      const double distance = box.center_in_ego_m.head<2>().norm();
      if (box.class_name == "dog" && std::llround(100 * distance) < 3000) {
        near_dogs.emplace_back(frame.frame, b);
      }
    }
    const bool tagged = !frame.tags.empty();
    if (dog && frame.weather == "rain" && tagged) rainy_dogs.emplace_back(frame.frame, -1);
  }
  ASSERT_GT(near_dogs.size(), 10u);
  ASSERT_GT(rainy_dogs.size(), 2u);
  EXPECT_EQ(
      Places(Run("SELECT frame, box FROM boxes WHERE class = 'dog' AND distance_cm < 3000").hits),
      near_dogs);
  EXPECT_EQ(Places(Run("SELECT frame FROM frames WHERE weather = 'rain' AND frame IN (SELECT frame "
                       "FROM boxes WHERE class = 'dog') AND EXISTS (SELECT 1 FROM tags t WHERE "
                       "t.frame = frames.frame AND tag = 'ego.hard_brake');  -- and a comment")
                       .hits),
            rainy_dogs);
}

TEST_F(RulesTest, SaysWhichConditionFired) {
  const auto result = Run(
      "SELECT frame, box, class, score_pct AS score FROM boxes\nWHERE (class = 'dog' OR class = "
      "'cat'\n OR x_cm BETWEEN 0 AND 1000) AND score_pct >= 50 ORDER BY frame, box");
  EXPECT_THAT(result.columns, ElementsAre("class", "score"));
  ASSERT_GT(result.hits.size(), 20u);
  int with_two = 0;
  for (const RuleHit& hit : result.hits) {
    const BoxAttributes& box = std::find_if(frames_.begin(), frames_.end(), [&](const auto& f) {
                                 return f.frame == hit.frame;
                               })->boxes[hit.box];
    std::vector<std::string> expected;
    if (box.class_name == "dog") expected.push_back("class = 'dog'");
    if (box.class_name == "cat") expected.push_back("class = 'cat'");
    const auto x_cm = std::llround(100 * box.center_in_ego_m.x());
    if (x_cm >= 0 && x_cm <= 1000) expected.push_back("x_cm BETWEEN 0 AND 1000");
    with_two += expected.size() == 2;
    expected.push_back("score_pct >= 50");
    EXPECT_EQ(hit.fired, expected);
    EXPECT_EQ(hit.columns[0], box.class_name);
  }
  EXPECT_GT(with_two, 0);
  EXPECT_THAT(Run("SELECT DISTINCT frame FROM boxes WHERE class = 'dog'").hits[0].fired,
              ElementsAre("the rule as a whole"));
}

TEST(RulesOnManyCores, FindTheSameInTheSameOrder) {
  const std::filesystem::path path = TestFolder("rules on cores") / "attributes.sqlite";
  SqliteDatabase database(path, SqliteDatabase::Mode::kCreate);
  SqliteDatabase rules(":memory:", SqliteDatabase::Mode::kCreate);
  MakeAttributeTables(database);
  {
    AttributeWriter writer(database, true);
    for (const FrameAttributes& frame : RandomFrames(25, 1000, 3)) writer.Add(frame);
    writer.Commit();
  }
  RuleBook book(rules);
  book.Save("west", "SELECT frame, box, x_cm FROM boxes WHERE y_cm > 1000");
  RuleEngine engine(database, &book);
  const int threads = NumThreads();
  for (const char* sql :
       {"SELECT frame, box, class FROM boxes WHERE x_cm > 4000 AND (y_cm > 4000 OR y_cm < 0)",
        "SELECT frame, box FROM west WHERE x_cm > 4500", "SELECT frame FROM frames",
        "SELECT frame, box FROM boxes WHERE x_cm > 4900 ORDER BY frame DESC",
        "SELECT frame, box FROM boxes WHERE x_cm > 4900 LIMIT 3",
        "SELECT max(frame) AS frame FROM boxes WHERE x_cm > 4000",
        "SELECT a.frame FROM boxes a JOIN boxes b ON b.frame = a.frame WHERE a.x_cm > 4900 AND "
        "b.x_cm < -4900"}) {
    SetNumThreads(1);
    const RuleResult one = engine.Run({"", 0, sql});
    SetNumThreads(3);
    const RuleResult three = engine.Run({"", 0, sql});
    EXPECT_EQ(one.hits, three.hits) << sql;
    EXPECT_EQ(one.columns, three.columns) << sql;
    EXPECT_FALSE(one.hits.empty()) << sql;
  }
  const Rule all = {"", 0, "SELECT frame, box FROM boxes WHERE x_cm > -4900"};
  EXPECT_THAT(ErrorOf([&] { RuleEngine(database, &book, {.hits = 40'000}).Run(all); }),
              HasSubstr("stopped at 40000 hits"));
  EXPECT_THAT(ErrorOf([&] { RuleEngine(database, &book, {.seconds = 0}).Run(all); }),
              HasSubstr("stopped after 0 s"));
  SetNumThreads(threads);
}

TEST_F(RulesTest, MistakesAreNamedWithTheirPlace) {
  EXPECT_EQ(Fault("SELECT frame\nFORM boxes WHERE class = 'dog'"),
            "rule test: line 2, column 6: near \"boxes\": syntax error");
  EXPECT_THAT(Fault("SELECT frame FROM boxes WHERE klass = 'dog'"),
              AllOf(HasSubstr("line 1, column 31"), HasSubstr("no such column: klass")));
  EXPECT_THAT(Fault("SELECT frame FROM things"), HasSubstr("no such table: things"));
  EXPECT_THAT(Fault("SELECT frame FROM boxes WHERE"), HasSubstr("incomplete input"));
  EXPECT_THAT(Fault(""), HasSubstr("found nothing"));
  EXPECT_THAT(Fault("SELECT frame FROM boxes; SELECT 2"), HasSubstr("expected one statement"));
  EXPECT_THAT(Fault("SELECT class FROM boxes"), HasSubstr("expected a column `frame`"));
  EXPECT_THAT(Fault("SELECT frame FROM boxes WHERE box = ?"), HasSubstr("no values to bind"));
  EXPECT_THAT(Fault("SELECT frame FROM boxes WHERE similarity('dogs', frame) > 0.5"),
              HasSubstr("no set of vectors 'dogs'"));
  EXPECT_THAT(Fault("SELECT frame FROM frames WHERE disagreement(frame) > 0.5"),
              HasSubstr("no models have been compared"));
}

TEST_F(RulesTest, OnlyReads) {
  for (const char* sql :
       {"DELETE FROM box_rows", "INSERT INTO names (name) VALUES ('x')", "DROP TABLE box_rows",
        "ATTACH 'other' AS other", "PRAGMA query_only = OFF", "CREATE TABLE t (frame)",
        "SELECT name AS frame FROM sqlite_schema", "VACUUM",
        "SELECT load_extension('x') AS frame FROM frames",
        "WITH x AS (SELECT 1) DELETE FROM box_rows"}) {
    EXPECT_THAT(Fault(sql), AllOf(HasSubstr("rule test: "), Not(HasSubstr("\n")))) << sql;
  }
  EXPECT_EQ(database_.QueryInteger("SELECT count(*) FROM frame_rows"), 240);
}

TEST_F(RulesTest, EndlessOnesAreStopped) {
  EXPECT_EQ(Fault("SELECT a.frame FROM boxes a, boxes b, boxes c, boxes d WHERE a.x_cm + b.x_cm + "
                  "c.x_cm + d.x_cm = 123456789",
                  {.seconds = 0.1}),
            "rule test: stopped after 0.1 s, its limit");
  EXPECT_THAT(Fault("WITH RECURSIVE n (frame) AS (SELECT 1 UNION ALL SELECT frame + 1 FROM n) "
                    "SELECT frame FROM n WHERE frame < 0",
                    {.seconds = 0.1}),
              HasSubstr("stopped after"));
  EXPECT_THAT(Fault("WITH RECURSIVE n (frame) AS (SELECT 1 UNION SELECT frame + 1 FROM n) SELECT "
                    "frame FROM n WHERE frame < 0",
                    {.seconds = 30, .memory_bytes = 16 << 20}),
              HasSubstr("of memory, its limit"));
  EXPECT_THAT(Fault("SELECT frame FROM boxes", {.hits = 10}), HasSubstr("stopped at 10 hits"));
  EXPECT_THAT(Fault("SELECT frame, zeroblob(1000000000) FROM boxes"), HasSubstr("too big"));
  EXPECT_THAT(Fault("SELECT frame, printf('%100000s', 'x') FROM boxes", {.memory_bytes = 16 << 20}),
              HasSubstr("stopped at 16 MiB of what it selects"));
  EXPECT_EQ(Run("SELECT frame FROM frames").hits.size(), 240u);  // and the next one runs
}

TEST_F(RulesTest, SavedRulesHaveVersionsAndCompose) {
  EXPECT_EQ(book_.Save("dogs", "SELECT frame, box FROM boxes WHERE class = 'dog'"), 1);
  EXPECT_EQ(book_.Save("dogs", "SELECT frame, box FROM boxes WHERE class = 'dog'"), 1);
  EXPECT_EQ(book_.Save("dogs", "SELECT frame, box FROM boxes WHERE class IN ('dog', 'cat');"), 2);
  EXPECT_EQ(book_.Save("wet", "SELECT frame FROM frames WHERE weather = 'rain'"), 1);
  EXPECT_EQ(book_.Save("wet_dogs",
                       "SELECT d.frame, d.box FROM dogs d JOIN wet ON wet.frame = "
                       "d.frame"),
            1);
  EXPECT_EQ(book_.Find("dogs")->version, 2);
  EXPECT_EQ(book_.Find("dogs", 1)->sql, "SELECT frame, box FROM boxes WHERE class = 'dog'");
  EXPECT_FALSE(book_.Find("dogs", 3).has_value());
  EXPECT_FALSE(book_.Find("cats").has_value());
  EXPECT_EQ(book_.List().size(), 3u);

  const auto composed = Run("SELECT frame, box FROM wet_dogs WHERE box > 0").hits;
  const auto flat =
      Run("SELECT b.frame, b.box FROM boxes b JOIN frames f ON f.frame = b.frame WHERE b.class IN "
          "('dog', 'cat') AND f.weather = 'rain' AND b.box > 0")
          .hits;
  EXPECT_GT(flat.size(), 5u);
  EXPECT_EQ(Places(composed), Places(flat));
  EXPECT_EQ(Places(Run("SELECT frame, box FROM \"dogs@1\"").hits),
            Places(Run("SELECT frame, box FROM boxes WHERE class = 'dog'").hits));
  // A rule that changed is used as it is now, by an engine that used it before, too.
  RuleEngine engine(database_, &book_);
  const Rule rule = {"", 0, "SELECT frame FROM wet"};
  EXPECT_NE(engine.Run(rule).hits.size(), 240u);
  book_.Save("wet", "SELECT frame FROM frames");
  EXPECT_EQ(engine.Run(rule).hits.size(), 240u);

  book_.Save("hen", "SELECT frame FROM egg");
  book_.Save("egg", "SELECT frame FROM hen");
  EXPECT_THAT(Fault("SELECT frame FROM hen"), HasSubstr("rules that use one another"));
  book_.Save("broken", "SELECT frame FROM nowhere");
  EXPECT_THAT(Fault("SELECT frame FROM broken"),
              HasSubstr("rule broken@1: line 1, column 19: no such table: nowhere"));
  EXPECT_THAT(ErrorOf([&] { book_.Save("Boxes!", "x"); }), HasSubstr("lower-case letters"));
  EXPECT_THAT(ErrorOf([&] { book_.Save("boxes", "x"); }), HasSubstr("cannot be called boxes"));
}

TEST_F(RulesTest, OurFunctions) {
  const auto near = Run("SELECT frame, box FROM boxes WHERE x_cm * x_cm + y_cm * y_cm < 4000000");
  RuleEngine engine(database_, &book_);
  const auto table = VectorTable::Create(folder_ / "vectors", {"m", "frame", 2});
  table->Append(std::vector<int64_t>{0, 1, 2}, std::vector<float>{1, 0, 0, 1, 1, 1});
  engine.AddVectorSet("east", table, std::vector<float>{5, 0});
  engine.AddVectorSet("both", table, std::vector<float>{5, 0, 0, 1});
  const auto frames = [&](const std::string& sql) {
    std::vector<int64_t> found;
    for (const RuleHit& hit : engine.Run({"", 0, sql}).hits) found.push_back(hit.frame);
    return found;
  };
  EXPECT_THAT(
      frames("SELECT frame FROM frames WHERE similarity('east', frame) > 0.7 ORDER BY frame"),
      ElementsAre(0, 2));
  EXPECT_THAT(
      frames("SELECT frame FROM frames WHERE similarity('both', frame) > 0.9 ORDER BY frame"),
      ElementsAre(0, 1));
  EXPECT_THAT(frames("SELECT frame FROM frames WHERE similarity('east', frame) IS NOT NULL").size(),
              3);
  engine.AddVectorSet("shifted", table, std::vector<float>{5, 0},
                      std::make_shared<RuleEngine::RowIds>(RuleEngine::RowIds{{3, 0}, {4, 1}}));
  EXPECT_THAT(
      frames("SELECT frame FROM frames WHERE similarity('shifted', frame) > 0.7 ORDER BY frame"),
      ElementsAre(3));
  engine.SetDisagreement([](int64_t frame) {
    return frame < 5 ? std::optional<double>(0.1 * static_cast<double>(frame)) : std::nullopt;
  });
  EXPECT_THAT(frames("SELECT frame FROM frames WHERE disagreement(frame) > 0.25 ORDER BY frame"),
              ElementsAre(3, 4));
  EXPECT_THAT(
      frames("SELECT frame FROM frames WHERE clip = 0 AND within(time_us, 3000000, 0.5) ORDER "
             "BY frame"),
      ElementsAre(5, 6, 7));
  const Rule by_distance = {"", 0,
                            "SELECT frame, box FROM boxes WHERE distance_m(x_cm, y_cm) < 20"};
  EXPECT_EQ(Places(engine.Run(by_distance).hits), Places(near.hits));
}

// The same rule over history and over a stream of the same frames.
TEST_F(RulesTest, BatchEqualsStream) {
  book_.Save("near_dogs",
             "SELECT frame, box FROM boxes WHERE class = 'dog' AND distance_cm < 4000");
  const struct {
    const char* sql;
    double past_s, future_s;
  } rules[] = {
      {"SELECT frame, box, class FROM boxes WHERE (class = 'dog' OR class = 'cat') AND score_pct > "
       "40",
       0, 0},
      {"SELECT frame FROM frames WHERE weather = 'rain' AND num_boxes > 2", 0, 0},
      {"SELECT frame, box FROM near_dogs -- composed", 0, 0},
      {"SELECT f.frame FROM frames f WHERE EXISTS (SELECT 1 FROM tags t WHERE t.frame = f.frame)",
       0, 0},
      {"SELECT frame, count(*) AS dogs FROM boxes WHERE class = 'dog' GROUP BY frame", 0, 0},
      {"SELECT DISTINCT f.frame FROM frames f JOIN frames g ON g.clip = f.clip AND "
       "within(f.time_us, "
       "g.time_us, 2) AND g.time_us < f.time_us JOIN tags t ON t.frame = g.frame WHERE f.weather = "
       "'rain'",
       2, 0},
      {"SELECT f.frame FROM frames f WHERE f.ego_speed_cmps > 500 AND EXISTS (SELECT 1 FROM frames "
       "g "
       "JOIN boxes b ON b.frame = g.frame WHERE g.clip = f.clip AND b.class = 'bus' AND "
       "within(g.time_us, f.time_us, 1.5))",
       1.5, 1.5},
  };
  for (const auto& [sql, past_s, future_s] : rules) {
    const Rule rule = {"both", 0, sql};
    std::vector<RuleHit> batch = Run(sql).hits;
    ASSERT_FALSE(batch.empty()) << sql;
    std::vector<RuleHit> streamed;
    RuleStream stream(rule, &book_, past_s, future_s);
    for (const FrameAttributes& frame : frames_) {
      for (const RuleHit& hit : stream.Push(frame)) streamed.push_back(hit);
    }
    for (const RuleHit& hit : stream.Flush()) streamed.push_back(hit);
    const auto by_place = [](const RuleHit& a, const RuleHit& b) {
      return std::pair(a.frame, a.box) < std::pair(b.frame, b.box);
    };
    std::stable_sort(batch.begin(), batch.end(), by_place);
    std::stable_sort(streamed.begin(), streamed.end(), by_place);
    EXPECT_EQ(streamed, batch) << sql;
  }
  EXPECT_THAT(ErrorOf([&] {
                RuleStream({"l", 0, "SELECT frame FROM frames LIMIT 3"}, &book_);
              }),
              HasSubstr("cannot run on a stream"));
  RuleStream stream({"", 0, "SELECT frame FROM frames"}, nullptr);
  stream.Push(frames_[5]);
  EXPECT_THAT(ErrorOf([&] { stream.Push(frames_[4]); }), HasSubstr("or later"));
}

TEST_F(RulesTest, FramesAreReplacedAndRemoved) {
  FrameAttributes frame = frames_[0];
  frame.boxes.assign(2, {});
  frame.boxes[0].class_name = frame.boxes[1].class_name = "elk";
  {
    AttributeWriter writer(database_);
    writer.Add(frame);
    writer.Remove(frames_[1].frame);
    writer.Commit();
  }
  EXPECT_EQ(Run("SELECT frame FROM frames").hits.size(), 239u);
  EXPECT_EQ(Run("SELECT frame FROM boxes WHERE class = 'elk'").hits.size(), 2u);
  EXPECT_EQ(Run("SELECT frame FROM boxes WHERE frame < 2").hits.size(), 2u);
  frame.boxes[1].score = std::nan("");
  AttributeWriter writer(database_);
  EXPECT_THAT(ErrorOf([&] { writer.Add(frame); }), HasSubstr("frame 0: box 1"));
}

TEST(RuleTextTest, SplitsConditions) {
  const auto text = ReadRuleText(
      "WITH w AS (SELECT frame FROM frames WHERE a AND b) SELECT frame, CASE WHEN x THEN 1 END "
      "FROM w /* AND */ WHERE a = 'x AND y' AND (b BETWEEN 1 AND 2 OR (c AND d)) AND NOT e "
      "ORDER BY f");
  ASSERT_EQ(text.clauses.size(), 3u);
  EXPECT_EQ(text.clauses[0].text, "a = 'x AND y'");
  EXPECT_EQ(text.clauses[1].text, "(b BETWEEN 1 AND 2 OR (c AND d))");
  EXPECT_THAT(text.clauses[1].alternatives, ElementsAre("b BETWEEN 1 AND 2", "(c AND d)"));
  EXPECT_EQ(text.clauses[2].text, "NOT e");
  EXPECT_THAT(text.names, ::testing::IsSupersetOf({"w", "frames"}));
  EXPECT_FALSE(text.has_limit);
  const auto either = ReadRuleText("select frame from boxes where a and b or c limit 5");
  ASSERT_EQ(either.clauses.size(), 1u);
  EXPECT_THAT(either.clauses[0].alternatives, ElementsAre("a and b", "c"));
  EXPECT_TRUE(either.has_limit);
  for (const char* sql : {"", "SELECT", "SELECT 1 WHERE", "WHERE FROM SELECT", "SELECT a FROM b",
                          "SELECT a FROM b WHERE", "((((", "))))", "SELECT a FROM b WHERE c AND",
                          "SELECT a FROM b WHERE (c", "'", "\"", "/*", "END END",
                          "SELECT a FROM b "
                          "WHERE AND OR AND",
                          "[", "--"}) {
    EXPECT_THAT(ReadRuleText(sql).clauses.size(), ::testing::Le(1)) << sql;
  }
}

}  // namespace
}  // namespace athanor
