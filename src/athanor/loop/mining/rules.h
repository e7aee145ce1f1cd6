// Rule mining: SQL over the attribute tables of attributes.h. A rule is a SELECT that returns a
// column `frame` (and `box`, where one is meant):
//
//   SELECT frame FROM boxes WHERE class = 'dog' AND distance_cm < 2000
//
// Functions of ours beside SQLite's:
//   similarity('set', id)   of row `id` (a frame, or a box by frame * 4096 + box: RuleIdOfBox) to
//                           the nearest vector of a named set; NULL when it has no vector
//   distance_m(x_cm, y_cm)  in the plane to the ego vehicle
//   within(a_us, b_us, s)   whether two times are at most s seconds apart
//   disagreement(frame)     of the small model with the large one; NULL when not known
//
// Rules only read: what writes, attaches or loads is refused before it runs. A rule that runs too
// long, fills memory or has endless hits is stopped, and says so in one line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "athanor/loop/mining/attributes.h"
#include "athanor/loop/mining/vector_table.h"

namespace athanor {

constexpr int64_t RuleIdOfBox(int64_t frame, int64_t box) { return frame * 4096 + box; }

struct Rule {
  std::string name;
  int version = 0;  // from 1; 0: not saved
  std::string sql;
};

// Saved rules. A rule that is saved again with other text becomes a new version; none is ever lost.
class RuleBook {
 public:
  // Makes its table when it is missing. `database` must outlive the book.
  explicit RuleBook(SqliteDatabase& database);

  // The version. Names are a letter, then letters, digits or _, in lower case, and none of the
  // attribute tables'.
  int Save(const std::string& name, const std::string& sql);
  // The newest version, or the one asked for; nothing when there is none.
  std::optional<Rule> Find(const std::string& name, int version = 0) const;
  std::vector<Rule> List() const;  // newest versions, by name

 private:
  SqliteDatabase& database_;
};

struct RuleLimits {
  double seconds = 10;
  int64_t memory_bytes = int64_t{1} << 30;  // of SQLite, over what it held before; and of hits
  int64_t hits = 1'000'000;
};

struct RuleHit {
  int64_t frame = 0;
  int64_t box = -1;                  // -1: the rule names none
  std::vector<std::string> columns;  // the others, as text, as RuleResult::columns names them
  // For each condition of the WHERE, the alternatives of it that are true.
  std::vector<std::string> fired;

  friend bool operator==(const RuleHit&, const RuleHit&) = default;
};

struct RuleResult {
  std::vector<std::string> columns;
  std::vector<RuleHit> hits;
  double seconds = 0;
};

// Runs rules over history. A rule for which all boxes have to be read is run on several cores, over
// ranges of frames. Not thread-safe, and the only engine of its connection: threads open databases
// of their own.
class RuleEngine {
 public:
  // `database`: attribute tables; `book` may be null. Both must outlive the engine.
  RuleEngine(SqliteDatabase& database, const RuleBook* book, const RuleLimits& limits = {});
  ~RuleEngine();
  RuleEngine(const RuleEngine&) = delete;
  RuleEngine& operator=(const RuleEngine&) = delete;

  // `vectors` [N,dimension]: what similarity('name', id) compares with. `rows`: ids of the table's
  // rows by those that rules say; null: they are the same.
  using RowIds = std::unordered_map<int64_t, int64_t>;
  void AddVectorSet(const std::string& name, std::shared_ptr<const VectorTable> table,
                    std::span<const float> vectors, std::shared_ptr<const RowIds> rows = nullptr);
  void SetDisagreement(std::function<std::optional<double>(int64_t frame)> disagreement);

  // A rule may use another's name as a table, or "name@2" for a version of it.
  // Throws Error in one line: rule, line and column of a mistake, or the limit that was met.
  RuleResult Run(const Rule& rule);
  // Throws as Run would, without running it.
  void Check(const Rule& rule);

 private:
  friend class RuleStream;
  class Statement;
  struct VectorSet;

  // Whose hits are returned: of all frames, of the frame ?1, of those from ?1 to ?2.
  enum class Frames { kAll, kOne, kRange };
  std::unique_ptr<Statement> Prepare(const Rule& rule, Frames frames);
  void DefineUsedRules(const Rule& rule, std::set<std::string>* open);
  void DefineView(const std::string& name, const std::string& sql);
  RuleResult Collect(const Rule& rule, Statement& statement, double deadline_s);
  // What SQLite does first.
  std::string FirstStep(const Statement& statement);
  // Whether ranges of frames, one behind the other, give the same hits, and each reads its share.
  bool FallsIntoRanges(const Rule& rule, const Statement& whole);
  RuleResult RunRanges(const Rule& rule, double deadline_s);

  SqliteDatabase& database_;
  const RuleBook* book_;
  RuleLimits limits_;
  std::map<std::string, std::string> defined_;  // views made of rules: name, SQL
  std::map<std::string, std::shared_ptr<const VectorSet>> sets_;
  std::function<std::optional<double>(int64_t)> disagreement_;
  // While a statement runs.
  double deadline_s_ = 0;
  int64_t most_memory_ = 0;
  std::string stopped_;  // which limit was met

  struct Callbacks;
};

// The same rule over frames that arrive one by one, clip by clip, in the order of time. A frame is
// decided once all frames of its clip up to `future_s` later are in, from those at most `past_s`
// before and `future_s` after it: what it finds equals Run() when the rule looks at frames of the
// same clip within these windows only. Rules with a LIMIT are refused.
class RuleStream {
 public:
  RuleStream(const Rule& rule, const RuleBook* book, double past_s = 0, double future_s = 0,
             const RuleLimits& limits = {});
  ~RuleStream();

  // For vector sets and disagreement.
  RuleEngine& engine() { return engine_; }

  // Hits of the frames that are decided now. Throws Error for a time that goes backwards in a clip.
  std::vector<RuleHit> Push(const FrameAttributes& frame);
  // Of those that are still waiting: the clip is over.
  std::vector<RuleHit> Flush();

 private:
  void Decide(int64_t until_us, std::vector<RuleHit>* hits);

  Rule rule_;
  int64_t past_us_, future_us_;
  SqliteDatabase database_;  // in memory, the frames of the window
  RuleEngine engine_;
  std::unique_ptr<RuleEngine::Statement> statement_;
  std::vector<std::pair<int64_t, int64_t>> waiting_, held_;  // time, frame
  int64_t clip_ = 0;
};

}  // namespace athanor
