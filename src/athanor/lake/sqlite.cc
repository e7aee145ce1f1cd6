#include "athanor/lake/sqlite.h"

#include <sqlite3.h>

#include <chrono>
#include <utility>

#include "athanor/base/error.h"

namespace athanor {
namespace {

constexpr int kWait_ms = 60'000;

// SQL in one line, short enough for a message.
std::string OneLine(std::string_view sql) {
  constexpr size_t kMost = 100;
  std::string line;
  for (const char c : sql) {
    const bool space = c == ' ' || c == '\n' || c == '\t';
    if (!space) {
      line += c;
    } else if (!line.empty() && line.back() != ' ') {
      line += ' ';
    }
    if (line.size() == kMost) return line + "...";
  }
  return line;
}

// Switches to the write-ahead log. Where several make a file at once, SQLite fails the others at
// once instead of waiting, for fear of a deadlock. What else is wrong is left to the next
// statement.
void WaitForLog(sqlite3* database) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::milliseconds(kWait_ms);
  while (Clock::now() < end) {
    const int status =
        sqlite3_exec(database, "PRAGMA journal_mode = WAL", nullptr, nullptr, nullptr);
    if ((status & 0xff) != SQLITE_BUSY) return;
    sqlite3_sleep(5);
  }
}

}  // namespace

SqliteStatement::SqliteStatement(SqliteDatabase& database, std::string_view sql)
    : database_(&database) {
  const char* rest = nullptr;
  const int status = sqlite3_prepare_v3(database.handle(), sql.data(), static_cast<int>(sql.size()),
                                        SQLITE_PREPARE_PERSISTENT, &statement_, &rest);
  if (status != SQLITE_OK) database.Fail(OneLine(sql));
  const std::string_view behind = sql.substr(static_cast<size_t>(rest - sql.data()));
  if (statement_ == nullptr || behind.find_first_not_of(" \n\t;") != std::string_view::npos) {
    sqlite3_finalize(statement_);
    throw Error(StrCat(database.name(), ": expected one SQL statement, found ",
                       statement_ == nullptr ? "none" : "more", ": ", OneLine(sql)));
  }
}

SqliteStatement::~SqliteStatement() { sqlite3_finalize(statement_); }

SqliteStatement::SqliteStatement(SqliteStatement&& other) noexcept
    : database_(other.database_), statement_(std::exchange(other.statement_, nullptr)) {}

void SqliteStatement::Begin(int values) {
  Reset();
  const int expected = sqlite3_bind_parameter_count(statement_);
  ATHANOR_CHECK(values == expected, database_->name(), ": expected ", expected, " values, found ",
                values, ": ", OneLine(sqlite3_sql(statement_)));
}

void SqliteStatement::Reset() {
  sqlite3_reset(statement_);  // repeats the error of the last Step(), which was thrown
}

bool SqliteStatement::Step() {
  const int status = sqlite3_step(statement_);
  if (status == SQLITE_ROW) return true;
  if (status != SQLITE_DONE) database_->Fail(OneLine(sqlite3_sql(statement_)));
  return false;
}

int SqliteStatement::num_columns() const { return sqlite3_column_count(statement_); }

bool SqliteStatement::IsNull(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

int64_t SqliteStatement::Integer(int column) const {
  return sqlite3_column_int64(statement_, column);
}

double SqliteStatement::Real(int column) const { return sqlite3_column_double(statement_, column); }

std::string_view SqliteStatement::Text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return text == nullptr ? std::string_view()
                         : std::string_view(text, sqlite3_column_bytes(statement_, column));
}

std::string_view SqliteStatement::Blob(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  return bytes == nullptr ? std::string_view()
                          : std::string_view(bytes, sqlite3_column_bytes(statement_, column));
}

void SqliteStatement::BindNull(int index) {
  if (sqlite3_bind_null(statement_, index) != SQLITE_OK) database_->Fail("cannot bind");
}

void SqliteStatement::BindInteger(int index, int64_t value) {
  if (sqlite3_bind_int64(statement_, index, value) != SQLITE_OK) database_->Fail("cannot bind");
}

void SqliteStatement::BindReal(int index, double value) {
  if (sqlite3_bind_double(statement_, index, value) != SQLITE_OK) database_->Fail("cannot bind");
}

// A view without data would bind NULL.
void SqliteStatement::BindText(int index, std::string_view value) {
  const char* text = value.data() == nullptr ? "" : value.data();
  if (sqlite3_bind_text64(statement_, index, text, value.size(), SQLITE_STATIC, SQLITE_UTF8) !=
      SQLITE_OK) {
    database_->Fail("cannot bind");
  }
}

void SqliteStatement::BindBlob(int index, std::string_view value) {
  const char* bytes = value.data() == nullptr ? "" : value.data();
  if (sqlite3_bind_blob64(statement_, index, bytes, value.size(), SQLITE_STATIC) != SQLITE_OK) {
    database_->Fail("cannot bind");
  }
}

SqliteDatabase::SqliteDatabase(const std::filesystem::path& path, Mode mode)
    : name_(path.string()) {
  const int flags =
      SQLITE_OPEN_NOMUTEX |
      (mode == Mode::kCreate ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READWRITE);
  try {
    // A reader, too, takes part in the write-ahead log, whose index is a file beside it.
    if (sqlite3_open_v2(path.c_str(), &database_, flags, nullptr) != SQLITE_OK) {
      Fail("cannot open");
    }
    sqlite3_extended_result_codes(database_, 1);
    sqlite3_busy_timeout(database_, kWait_ms);
    if (mode == Mode::kRead) {
      Execute("PRAGMA query_only = ON");
    } else {
      WaitForLog(database_);
      Execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON");
    }
    QueryInteger("PRAGMA schema_version");  // reads the file: what is no database fails here
  } catch (...) {
    sqlite3_close_v2(database_);
    throw;
  }
}

SqliteDatabase::~SqliteDatabase() { sqlite3_close_v2(database_); }

void SqliteDatabase::Execute(std::string_view sql) {
  const std::string text(sql);
  if (sqlite3_exec(database_, text.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
    Fail(OneLine(sql));
  }
}

int64_t SqliteDatabase::QueryInteger(std::string_view sql) {
  SqliteStatement query(*this, sql);
  query.Bind();
  return query.Step() ? query.Integer(0) : 0;
}

int64_t SqliteDatabase::last_insert_id() const { return sqlite3_last_insert_rowid(database_); }

int64_t SqliteDatabase::changes() const { return sqlite3_changes64(database_); }

void SqliteDatabase::Migrate(std::span<const std::string_view> steps) {
  const auto newest = static_cast<int64_t>(steps.size());
  if (QueryInteger("PRAGMA user_version") == newest) return;
  for (int64_t step = 0; step < newest; ++step) {
    SqliteTransaction transaction(*this);
    if (QueryInteger("PRAGMA user_version") > step) continue;  // another process was faster
    Execute(steps[step]);
    Execute(StrCat("PRAGMA user_version = ", step + 1));
    transaction.Commit();
  }
  const int64_t version = QueryInteger("PRAGMA user_version");
  ATHANOR_CHECK(version == newest, name_, ": expected a schema of version ", newest,
                " or older, found ", version, ": a newer program wrote it");
}

void SqliteDatabase::Fail(std::string_view what) const {
  throw Error(StrCat(
      name_, ": ", database_ == nullptr ? "out of memory" : sqlite3_errmsg(database_), ": ", what));
}

SqliteTransaction::SqliteTransaction(SqliteDatabase& database) : database_(database) {
  database_.Execute("BEGIN IMMEDIATE");
}

SqliteTransaction::~SqliteTransaction() {
  // Fails only where SQLite has undone it already, after a full disk for example.
  if (open_) sqlite3_exec(database_.handle(), "ROLLBACK", nullptr, nullptr, nullptr);
}

void SqliteTransaction::Commit() {
  database_.Execute("COMMIT");
  open_ = false;
}

}  // namespace athanor
