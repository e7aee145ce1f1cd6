#include "athanor/loop/mining/rules.h"

#include <sqlite3.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/loop/mining/rule_text.h"

namespace athanor {
namespace {

constexpr int kStepsBetweenLooks = 20'000;  // of SQLite's machine: about a millisecond
constexpr int kLargestValueBytes = 1 << 20;
constexpr int kFewFrames = 20'000;  // fewer are read faster than threads begin

double Now() {
  using Clock = std::chrono::steady_clock;
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

std::string TitleOf(const Rule& rule) {
  if (rule.name.empty()) return "rule";
  return rule.version > 0 ? StrCat("rule ", rule.name, "@", rule.version)
                          : StrCat("rule ", rule.name);
}

// "line 2, column 5" of a byte.
std::string PlaceOf(std::string_view sql, size_t byte) {
  const std::string_view before = sql.substr(0, byte);
  const auto lines = std::count(before.begin(), before.end(), '\n');
  const size_t start = before.rfind('\n');
  return StrCat("line ", lines + 1, ", column ",
                byte - (start == std::string_view::npos ? 0 : start + 1) + 1);
}

const std::set<std::string>& AttributeTables() {
  static const std::set<std::string> tables = {"frames", "boxes",      "tags",     "names",
                                               "logs",   "frame_rows", "box_rows", "tag_rows"};
  return tables;
}

bool IsRuleName(std::string_view name) {
  const auto lower = [](char c) { return c >= 'a' && c <= 'z'; };
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  return !name.empty() && name.size() <= 100 && lower(name[0]) &&
         std::all_of(name.begin(), name.end(),
                     [&](char c) { return lower(c) || digit(c) || c == '_'; });
}

// A rule's reading of the database, and nothing else.
int Authorize(void* refused, int action, const char* first, const char* second, const char*,
              const char*) {
  switch (action) {
    case SQLITE_SELECT:
    case SQLITE_RECURSIVE:
      return SQLITE_OK;
    case SQLITE_READ:
      if (std::string_view(first).starts_with("sqlite_")) break;
      return SQLITE_OK;
    case SQLITE_FUNCTION:
      if (std::string_view(second) == "load_extension" ||
          std::string_view(second) == "fts3_tokenizer") {
        break;
      }
      return SQLITE_OK;
    default:
      break;
  }
  *static_cast<bool*>(refused) = true;
  return SQLITE_DENY;
}

std::string ColumnText(sqlite3_stmt* statement, int column) {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, column));
  return text == nullptr ? "" : std::string(text, sqlite3_column_bytes(statement, column));
}

}  // namespace

RuleBook::RuleBook(SqliteDatabase& database) : database_(database) {
  database.Execute(
      "CREATE TABLE IF NOT EXISTS rules (name TEXT NOT NULL, version INTEGER NOT NULL, "
      "sql TEXT NOT NULL, PRIMARY KEY (name, version)) WITHOUT ROWID");
}

int RuleBook::Save(const std::string& name, const std::string& sql) {
  ATHANOR_CHECK(IsRuleName(name), database_.name(),
                ": expected a rule's name of lower-case letters, digits and _, found '", name, "'");
  ATHANOR_CHECK(!AttributeTables().contains(name), database_.name(), ": a rule cannot be called ",
                name, ", as a table of attributes is");
  SqliteTransaction transaction(database_);
  const std::optional<Rule> newest = Find(name);
  if (newest && newest->sql == sql) return newest->version;
  const int version = newest ? newest->version + 1 : 1;
  SqliteStatement(database_, "INSERT INTO rules VALUES (?, ?, ?)").Run(name, version, sql);
  transaction.Commit();
  return version;
}

std::optional<Rule> RuleBook::Find(const std::string& name, int version) const {
  SqliteStatement query(database_,
                        "SELECT version, sql FROM rules WHERE name = ?1 AND (?2 = 0 OR version = "
                        "?2) ORDER BY version DESC LIMIT 1");
  query.Bind(name, version);
  if (!query.Step()) return std::nullopt;
  return Rule{name, static_cast<int>(query.Integer(0)), std::string(query.Text(1))};
}

std::vector<Rule> RuleBook::List() const {
  SqliteStatement query(database_,
                        "SELECT name, max(version), sql FROM rules GROUP BY name ORDER BY name");
  query.Bind();
  std::vector<Rule> rules;
  while (query.Step()) {
    rules.push_back({std::string(query.Text(0)), static_cast<int>(query.Integer(1)),
                     std::string(query.Text(2))});
  }
  return rules;
}

// A prepared rule.
class RuleEngine::Statement {
 public:
  explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  sqlite3_stmt* get() const { return statement_; }

  int frame_column = -1, box_column = -1;
  int columns = 0;                   // of the rule; behind them come the conditions
  std::vector<std::string> reasons;  // of each column behind
  std::string whole_reason;          // where there are none

 private:
  sqlite3_stmt* statement_;
};

struct RuleEngine::VectorSet {
  std::shared_ptr<const VectorTable> table;
  std::shared_ptr<const RowIds> rows;
  std::vector<EncodedQuery> queries;
  std::vector<const EncodedQuery*> pointers;
};

struct RuleEngine::Callbacks {
  static RuleEngine& Engine(sqlite3_context* context) {
    return *static_cast<RuleEngine*>(sqlite3_user_data(context));
  }

  static void Similarity(sqlite3_context* context, int, sqlite3_value** values) {
    const RuleEngine& engine = Engine(context);
    const auto* text = reinterpret_cast<const char*>(sqlite3_value_text(values[0]));
    const auto set = engine.sets_.find(text == nullptr ? "" : text);
    if (set == engine.sets_.end()) {
      const std::string message =
          StrCat("similarity: there is no set of vectors '", text == nullptr ? "" : text, "'");
      sqlite3_result_error(context, message.c_str(), -1);
      return;
    }
    const VectorSet& vectors = *set->second;
    if (sqlite3_value_type(values[1]) == SQLITE_NULL) return;
    int64_t id = sqlite3_value_int64(values[1]);
    if (vectors.rows != nullptr) {
      const auto known = vectors.rows->find(id);
      if (known == vectors.rows->end()) return;
      id = known->second;
    }
    const int64_t row = vectors.table->Find(id);
    if (row < 0) return;
    const void* rows[] = {vectors.table->row(row)};
    std::vector<float> scores(vectors.pointers.size());
    VectorScoresCpu({vectors.table->layout(), static_cast<int>(scores.size()),
                     vectors.pointers.data(), 1, rows, scores.data()});
    sqlite3_result_double(context, *std::max_element(scores.begin(), scores.end()));
  }

  static bool AnyNull(int count, sqlite3_value** values) {
    return std::any_of(values, values + count, [](sqlite3_value* value) {
      return sqlite3_value_type(value) == SQLITE_NULL;
    });
  }

  static void Distance(sqlite3_context* context, int count, sqlite3_value** values) {
    if (AnyNull(count, values)) return;
    sqlite3_result_double(
        context,
        std::hypot(sqlite3_value_double(values[0]), sqlite3_value_double(values[1])) / 100);
  }

  static void Within(sqlite3_context* context, int count, sqlite3_value** values) {
    if (AnyNull(count, values)) return;
    const double apart_us = std::abs(
        static_cast<double>(sqlite3_value_int64(values[0]) - sqlite3_value_int64(values[1])));
    sqlite3_result_int(context, apart_us <= 1e6 * sqlite3_value_double(values[2]));
  }

  static void Disagreement(sqlite3_context* context, int count, sqlite3_value** values) {
    const RuleEngine& engine = Engine(context);
    if (!engine.disagreement_) {
      sqlite3_result_error(context, "disagreement: no models have been compared", -1);
      return;
    }
    if (AnyNull(count, values)) return;
    try {
      const auto amount = engine.disagreement_(sqlite3_value_int64(values[0]));
      if (amount) sqlite3_result_double(context, *amount);
    } catch (const std::exception& error) {  // SQLite is C: nothing may fly through it
      sqlite3_result_error(context, error.what(), -1);
    }
  }

  static int Look(void* self) {
    auto& engine = *static_cast<RuleEngine*>(self);
    if (Now() > engine.deadline_s_) {
      engine.stopped_ = StrCat("stopped after ", engine.limits_.seconds, " s, its limit");
    } else if (sqlite3_memory_used() > engine.most_memory_) {
      engine.stopped_ =
          StrCat("stopped at ", engine.limits_.memory_bytes >> 20, " MiB of memory, its limit");
    }
    return engine.stopped_.empty() ? 0 : 1;
  }
};

RuleEngine::RuleEngine(SqliteDatabase& database, const RuleBook* book, const RuleLimits& limits)
    : database_(database), book_(book), limits_(limits) {
  const auto add = [&](const char* name, int values,
                       void (*function)(sqlite3_context*, int, sqlite3_value**)) {
    const int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS;
    if (sqlite3_create_function_v2(database.handle(), name, values, flags, this, function, nullptr,
                                   nullptr, nullptr) != SQLITE_OK) {
      database.Fail(StrCat("cannot add the function ", name));
    }
  };
  add("similarity", 2, &Callbacks::Similarity);
  add("distance_m", 2, &Callbacks::Distance);
  add("within", 3, &Callbacks::Within);
  add("disagreement", 1, &Callbacks::Disagreement);
  // What a rule sorts or collects counts as memory: it fills no disk. Pages of the file are read
  // where the system has them, without copies.
  database.Execute("PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 2147418112");
  // A value of a gigabyte takes one step: the memory limit would come too late.
  sqlite3_limit(database.handle(), SQLITE_LIMIT_LENGTH, kLargestValueBytes);
}

RuleEngine::~RuleEngine() {
  for (const char* name : {"similarity", "distance_m", "within", "disagreement"}) {
    const int values = std::string_view(name) == "within"         ? 3
                       : std::string_view(name) == "disagreement" ? 1
                                                                  : 2;
    sqlite3_create_function_v2(database_.handle(), name, values, SQLITE_UTF8, nullptr, nullptr,
                               nullptr, nullptr, nullptr);
  }
}

void RuleEngine::AddVectorSet(const std::string& name, std::shared_ptr<const VectorTable> table,
                              std::span<const float> vectors, std::shared_ptr<const RowIds> rows) {
  const int dimension = table->spec().dimension;
  ATHANOR_CHECK(!vectors.empty() && vectors.size() % dimension == 0, "set of vectors ", name,
                ": expected vectors of ", dimension, " components, found ", vectors.size(),
                " numbers");
  auto set = std::make_shared<VectorSet>();
  set->table = std::move(table);
  set->rows = std::move(rows);
  for (size_t at = 0; at < vectors.size(); at += dimension) {
    std::vector<float> v(vectors.begin() + at, vectors.begin() + at + dimension);
    double square = 0;
    for (const float x : v) {
      ATHANOR_CHECK(std::isfinite(x), "set of vectors ", name, ": vector ", at / dimension,
                    " has a component that is ", x);
      square += double{x} * x;
    }
    if (set->table->spec().metric == VectorMetric::kCosine && square > 0) {
      for (float& x : v) x = static_cast<float>(x / std::sqrt(square));
    }
    set->queries.emplace_back(set->table->layout(), v.data());
  }
  for (const EncodedQuery& query : set->queries) set->pointers.push_back(&query);
  sets_[name] = std::move(set);
}

void RuleEngine::SetDisagreement(std::function<std::optional<double>(int64_t frame)> disagreement) {
  disagreement_ = std::move(disagreement);
}

void RuleEngine::DefineUsedRules(const Rule& rule, std::set<std::string>* open) {
  if (book_ == nullptr) return;
  for (const std::string& used : ReadRuleText(rule.sql).names) {
    const size_t at = used.find('@');
    const std::string name = used.substr(0, at);
    if (!IsRuleName(name) || AttributeTables().contains(name)) continue;
    int version = 0;
    if (at != std::string::npos) {
      const std::string digits = used.substr(at + 1);
      if (digits.empty() || digits.size() > 6 ||
          digits.find_first_not_of("0123456789") != std::string::npos) {
        continue;
      }
      version = std::stoi(digits);
    }
    const std::optional<Rule> found = book_->Find(name, version);
    if (!found) continue;  // a column, an alias: if not, SQLite will say so
    ATHANOR_CHECK(!open->contains(used), TitleOf(rule), ": rules that use one another: ", used);
    open->insert(used);
    DefineUsedRules(*found, open);
    open->erase(used);
    if (defined_.contains(used) && defined_[used] == found->sql) continue;
    Rule alone = *found;
    Prepare(alone, Frames::kAll);  // says what is wrong with it, with its own name
    DefineView(used, found->sql);
    defined_[used] = found->sql;
  }
}

void RuleEngine::DefineView(const std::string& name, const std::string& sql) {
  sqlite3_set_authorizer(database_.handle(), nullptr, nullptr);
  const bool reads_only = database_.QueryInteger("PRAGMA query_only") != 0;
  if (reads_only) database_.Execute("PRAGMA query_only = OFF");
  const std::string body = sql.substr(0, ReadRuleText(sql).statement_end);
  database_.Execute(
      StrCat("DROP VIEW IF EXISTS temp.\"", name, "\"; CREATE TEMP VIEW \"", name, "\" AS ", body));
  if (reads_only) database_.Execute("PRAGMA query_only = ON");
}

std::unique_ptr<RuleEngine::Statement> RuleEngine::Prepare(const Rule& rule, Frames frames) {
  const RuleText text = ReadRuleText(rule.sql);
  const std::string title = TitleOf(rule);
  sqlite3* handle = database_.handle();
  bool refused = false;
  sqlite3_set_authorizer(handle, &Authorize, &refused);
  struct Reset {
    sqlite3* handle;
    ~Reset() { sqlite3_set_authorizer(handle, nullptr, nullptr); }
  } reset{handle};

  const char* rest = nullptr;
  const auto prepare = [&](const std::string& sql) {
    sqlite3_stmt* prepared = nullptr;
    if (sqlite3_prepare_v3(handle, sql.c_str(), static_cast<int>(sql.size()), 0, &prepared,
                           &rest) != SQLITE_OK) {
      prepared = nullptr;
    }
    return prepared;
  };
  // As it was written: what is wrong is then where the author sees it.
  std::unique_ptr<Statement> plain;
  if (sqlite3_stmt* prepared = prepare(rule.sql)) {
    plain = std::make_unique<Statement>(prepared);
  } else {
    const std::string reason = sqlite3_errmsg(handle);
    ATHANOR_CHECK(!refused, title, ": expected a SELECT that only reads: ", reason);
    int byte = sqlite3_error_offset(handle);
    const std::string_view missing = "no such table: ";
    if (byte < 0 && reason.starts_with(missing)) {  // whose place SQLite does not say
      const size_t at = rule.sql.find(reason.substr(missing.size()));
      if (at != std::string::npos) byte = static_cast<int>(at);
    }
    ATHANOR_CHECK(sqlite3_errcode(handle) == SQLITE_OK || byte < 0, title, ": ",
                  PlaceOf(rule.sql, static_cast<size_t>(std::max(byte, 0))), ": ", reason);
    ATHANOR_CHECK(sqlite3_errcode(handle) == SQLITE_OK, title, ": ", reason);
    throw Error(StrCat(title, ": expected a SELECT, found nothing"));
  }
  const std::string_view behind(rest);
  ATHANOR_CHECK(!HasStatement(behind), title, ": ",
                PlaceOf(rule.sql, rule.sql.size() - behind.size()),
                ": expected one statement, found more");
  ATHANOR_CHECK(sqlite3_stmt_readonly(plain->get()) != 0 && sqlite3_column_count(plain->get()) > 0,
                title, ": expected a SELECT that only reads");
  ATHANOR_CHECK(sqlite3_bind_parameter_count(plain->get()) == 0, title,
                ": expected no ? or :name in it; a rule has no values to bind");
  const auto find_columns = [&](Statement* statement, int columns) {
    statement->columns = columns;
    for (int c = 0; c < columns; ++c) {
      const std::string_view name = sqlite3_column_name(statement->get(), c);
      if (sqlite3_stricmp(name.data(), "frame") == 0 && statement->frame_column < 0) {
        statement->frame_column = c;
      } else if (sqlite3_stricmp(name.data(), "box") == 0 && statement->box_column < 0) {
        statement->box_column = c;
      }
    }
  };
  const int columns = sqlite3_column_count(plain->get());
  find_columns(plain.get(), columns);
  ATHANOR_CHECK(plain->frame_column >= 0, title, ": expected a column `frame` in what it selects");
  ATHANOR_CHECK(frames == Frames::kAll || !text.has_limit, title,
                ": a rule with a LIMIT cannot run on a stream: its hits depend on one another");

  // The conditions as more columns, where they can be taken so.
  const std::string sql = rule.sql.substr(0, text.statement_end);
  std::string explained = sql;
  std::vector<std::string> reasons;
  if (text.columns_end > 0) {
    std::string added;
    for (const RuleClause& clause : text.clauses) {
      for (const std::string& alternative : clause.alternatives) {
        added += StrCat(", (", alternative, ") ");
        reasons.push_back(alternative);
      }
    }
    explained.insert(text.columns_end, added);
  }
  // A line of its own: the rule may end in a comment.
  const auto wrap = [&](const std::string& inner) {
    if (frames == Frames::kAll) return inner;
    return StrCat("SELECT * FROM (", inner, "\n) WHERE frame ",
                  frames == Frames::kOne ? "= ?1" : "BETWEEN ?1 AND ?2");
  };
  if (!reasons.empty()) {
    if (sqlite3_stmt* prepared = prepare(wrap(explained))) {
      auto statement = std::make_unique<Statement>(prepared);
      if (sqlite3_column_count(prepared) == columns + static_cast<int>(reasons.size())) {
        find_columns(statement.get(), columns);
        statement->reasons = reasons;
        return statement;
      }
    }
  }
  if (frames != Frames::kAll) {
    sqlite3_stmt* prepared = prepare(wrap(sql));
    ATHANOR_CHECK(prepared != nullptr, title, ": ", sqlite3_errmsg(handle));
    plain = std::make_unique<Statement>(prepared);
    find_columns(plain.get(), columns);
  }
  plain->whole_reason = "the rule as a whole";
  return plain;
}

RuleResult RuleEngine::Collect(const Rule& rule, Statement& statement, double deadline_s) {
  RuleResult result;
  const double begin = Now();
  deadline_s_ = deadline_s;
  most_memory_ = sqlite3_memory_used() + limits_.memory_bytes;
  stopped_.clear();
  sqlite3* handle = database_.handle();
  sqlite3_progress_handler(handle, kStepsBetweenLooks, &Callbacks::Look, this);
  struct Reset {
    sqlite3* handle;
    sqlite3_stmt* statement;
    ~Reset() {
      sqlite3_progress_handler(handle, 0, nullptr, nullptr);
      sqlite3_reset(statement);
    }
  } reset{handle, statement.get()};

  sqlite3_stmt* rows = statement.get();
  const auto is_other = [&](int c) {
    return c != statement.frame_column && c != statement.box_column;
  };
  for (int c = 0; c < statement.columns; ++c) {
    if (is_other(c)) result.columns.push_back(sqlite3_column_name(rows, c));
  }
  int64_t bytes = 0;  // of columns
  while (true) {
    const int status = sqlite3_step(rows);
    if (status == SQLITE_DONE) break;
    if (status != SQLITE_ROW) {
      ATHANOR_CHECK(stopped_.empty(), TitleOf(rule), ": ", stopped_);
      throw Error(StrCat(TitleOf(rule), ": ", sqlite3_errmsg(handle)));
    }
    if (sqlite3_column_type(rows, statement.frame_column) == SQLITE_NULL) continue;
    ATHANOR_CHECK(static_cast<int64_t>(result.hits.size()) < limits_.hits, TitleOf(rule),
                  ": stopped at ", limits_.hits, " hits, its limit");
    RuleHit hit;
    hit.frame = sqlite3_column_int64(rows, statement.frame_column);
    if (statement.box_column >= 0 &&
        sqlite3_column_type(rows, statement.box_column) != SQLITE_NULL) {
      hit.box = sqlite3_column_int64(rows, statement.box_column);
    }
    for (int c = 0; c < statement.columns; ++c) {
      if (!is_other(c)) continue;
      hit.columns.push_back(ColumnText(rows, c));
      bytes += std::ssize(hit.columns.back());
    }
    ATHANOR_CHECK(bytes <= limits_.memory_bytes, TitleOf(rule), ": stopped at ",
                  limits_.memory_bytes >> 20, " MiB of what it selects, its limit");
    for (size_t r = 0; r < statement.reasons.size(); ++r) {
      if (sqlite3_column_double(rows, statement.columns + static_cast<int>(r)) != 0) {
        hit.fired.push_back(statement.reasons[r]);
      }
    }
    if (!statement.whole_reason.empty()) hit.fired.push_back(statement.whole_reason);
    result.hits.push_back(std::move(hit));
  }
  result.seconds = Now() - begin;
  return result;
}

RuleResult RuleEngine::Run(const Rule& rule) {
  std::set<std::string> open;
  if (!rule.name.empty()) open.insert(rule.name);
  DefineUsedRules(rule, &open);
  const double begin = Now();
  const std::unique_ptr<Statement> whole = Prepare(rule, Frames::kAll);
  RuleResult result = NumThreads() > 1 && FallsIntoRanges(rule, *whole)
                          ? RunRanges(rule, begin + limits_.seconds)
                          : Collect(rule, *whole, begin + limits_.seconds);
  result.seconds = Now() - begin;
  return result;
}

std::string RuleEngine::FirstStep(const Statement& statement) {
  SqliteStatement plan(database_, StrCat("EXPLAIN QUERY PLAN ", sqlite3_sql(statement.get())));
  return plan.Step() ? std::string(plan.Text(3)) : "";
}

bool RuleEngine::FallsIntoRanges(const Rule& rule, const Statement& whole) {
  const RuleText text = ReadRuleText(rule.sql);
  // A plain SELECT, whose hits come in the order of frames when it reads all boxes.
  if (text.columns_end == 0 || text.has_limit || text.has_order || disagreement_) return false;
  const char* file = sqlite3_db_filename(database_.handle(), "main");
  if (file == nullptr || *file == '\0' || sqlite3_get_autocommit(database_.handle()) == 0 ||
      database_.QueryInteger(StrCat("SELECT count(*) FROM (SELECT 1 FROM frame_rows LIMIT ",
                                    kFewFrames, ")")) < kFewFrames) {
    return false;
  }
  const std::string first = FirstStep(whole);
  return first.starts_with("SCAN") && first.find(" USING ") == std::string::npos &&
         FirstStep(*Prepare(rule, Frames::kRange))
             .ends_with("USING PRIMARY KEY (frame>? AND frame<?)");
}

RuleResult RuleEngine::RunRanges(const Rule& rule, double deadline_s) {
  const int64_t first = database_.QueryInteger("SELECT min(frame) FROM frame_rows");
  const int64_t last = database_.QueryInteger("SELECT max(frame) FROM frame_rows");
  const int64_t ranges = 8 * NumThreads();
  std::vector<RuleResult> parts(ranges);
  const std::string file = sqlite3_db_filename(database_.handle(), "main");
  ParallelChunks(ranges, [&](int64_t r) {
    SqliteDatabase database(file, SqliteDatabase::Mode::kRead);
    RuleEngine engine(database, nullptr, limits_);
    for (const auto& [name, sql] : defined_) engine.DefineView(name, sql);
    for (const auto& [name, set] : sets_) engine.sets_[name] = set;
    const std::unique_ptr<Statement> statement = engine.Prepare(rule, Frames::kRange);
    // In 128 bits: frames may be any numbers.
    const auto bound = [&](int64_t i) {
      const auto length = static_cast<__int128>(last) - first + 1;
      return static_cast<int64_t>(first + length * i / ranges);
    };
    sqlite3_bind_int64(statement->get(), 1, bound(r));
    sqlite3_bind_int64(statement->get(), 2, bound(r + 1) - 1);
    parts[r] = engine.Collect(rule, *statement, deadline_s);
  });
  RuleResult result;
  result.columns = parts[0].columns;
  for (RuleResult& part : parts) {
    result.hits.insert(result.hits.end(), std::make_move_iterator(part.hits.begin()),
                       std::make_move_iterator(part.hits.end()));
  }
  ATHANOR_CHECK(std::ssize(result.hits) <= limits_.hits, TitleOf(rule), ": stopped at ",
                limits_.hits, " hits, its limit");
  return result;
}

void RuleEngine::Check(const Rule& rule) {
  std::set<std::string> open;
  if (!rule.name.empty()) open.insert(rule.name);
  DefineUsedRules(rule, &open);
  Prepare(rule, Frames::kAll);
}

RuleStream::RuleStream(const Rule& rule, const RuleBook* book, double past_s, double future_s,
                       const RuleLimits& limits)
    : rule_(rule),
      past_us_(std::llround(past_s * 1e6)),
      future_us_(std::llround(future_s * 1e6)),
      database_(":memory:", SqliteDatabase::Mode::kCreate),
      engine_(database_, book, limits) {
  ATHANOR_CHECK(past_s >= 0 && future_s >= 0, TitleOf(rule), ": expected windows >= 0 s, found ",
                past_s, " and ", future_s);
  MakeAttributeTables(database_);
  std::set<std::string> open;
  if (!rule.name.empty()) open.insert(rule.name);
  engine_.DefineUsedRules(rule, &open);
  statement_ = engine_.Prepare(rule, RuleEngine::Frames::kOne);
}

RuleStream::~RuleStream() = default;

std::vector<RuleHit> RuleStream::Push(const FrameAttributes& frame) {
  std::vector<RuleHit> hits;
  if (!held_.empty() && frame.clip != clip_) hits = Flush();
  ATHANOR_CHECK(held_.empty() || frame.time_us >= held_.back().first, TitleOf(rule_), ": frame ",
                frame.frame, " of clip ", frame.clip, ": expected a time of ", held_.back().first,
                " us or later, found ", frame.time_us);
  clip_ = frame.clip;
  // What lies more than the window ahead is not to be seen by those that are decided first.
  if (!waiting_.empty()) Decide(frame.time_us - future_us_ - 1, &hits);
  {
    AttributeWriter writer(database_);
    const int64_t oldest_needed =
        (waiting_.empty() ? frame.time_us : std::min(waiting_.front().first, frame.time_us)) -
        past_us_;
    size_t gone = 0;
    for (; gone < held_.size() && held_[gone].first < oldest_needed; ++gone) {
      writer.Remove(held_[gone].second);
    }
    held_.erase(held_.begin(), held_.begin() + static_cast<int64_t>(gone));
    writer.Add(frame);
    writer.CommitSmall();
  }
  held_.emplace_back(frame.time_us, frame.frame);
  waiting_.emplace_back(frame.time_us, frame.frame);
  return hits;
}

std::vector<RuleHit> RuleStream::Flush() {
  std::vector<RuleHit> hits;
  Decide(std::numeric_limits<int64_t>::max(), &hits);
  AttributeWriter writer(database_);
  for (const auto& [time_us, frame] : held_) writer.Remove(frame);
  writer.CommitSmall();
  held_.clear();
  return hits;
}

void RuleStream::Decide(int64_t until_us, std::vector<RuleHit>* hits) {
  size_t decided = 0;
  for (; decided < waiting_.size() && waiting_[decided].first <= until_us; ++decided) {
    sqlite3_bind_int64(statement_->get(), 1, waiting_[decided].second);
    RuleResult result = engine_.Collect(rule_, *statement_, Now() + engine_.limits_.seconds);
    hits->insert(hits->end(), std::make_move_iterator(result.hits.begin()),
                 std::make_move_iterator(result.hits.end()));
  }
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<int64_t>(decided));
}

}  // namespace athanor
