// SQLite, with errors that name the file and statements that cannot leak or mix up their values.
#pragma once

#include <concepts>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

struct sqlite3;
struct sqlite3_stmt;

namespace athanor {

// Bytes to bind as a blob; text binds as text.
struct SqliteBlob {
  std::string_view bytes;
};

// A prepared statement: values are bound by position from 1, columns read by position from 0. Must
// not outlive its database.
//
//   SqliteStatement query(database, "SELECT id, frames FROM clips WHERE begin_us >= ?");
//   query.Bind(begin_us);
//   while (query.Step()) Use(query.Text(0), query.Integer(1));
class SqliteStatement {
 public:
  // Throws Error with SQLite's reason and the statement.
  SqliteStatement(class SqliteDatabase& database, std::string_view sql);
  ~SqliteStatement();
  SqliteStatement(SqliteStatement&& other) noexcept;
  SqliteStatement& operator=(SqliteStatement&&) = delete;

  // Begins anew with these values: as many as the statement has question marks. Text and blobs must
  // live until the last Step().
  template <typename... Values>
  void Bind(const Values&... values) {
    Begin(sizeof...(values));
    int index = 0;
    (BindValue(++index, values), ...);
  }
  // Fetches the next row; false after the last. Throws Error.
  bool Step();
  // Bind, then Step until the end: for statements without rows.
  template <typename... Values>
  void Run(const Values&... values) {
    Bind(values...);
    while (Step()) {
    }
    Reset();
  }
  // Lets go of the rows, so that nothing is locked by a statement that waits for its next use.
  void Reset();

  int num_columns() const;
  bool IsNull(int column) const;
  int64_t Integer(int column) const;
  double Real(int column) const;
  // The views hold until the next Step() or Reset().
  std::string_view Text(int column) const;
  std::string_view Blob(int column) const;

 private:
  void Begin(int values);
  template <typename T>
  void BindValue(int index, const T& value) {
    if constexpr (std::is_same_v<T, std::nullptr_t>) {
      BindNull(index);
    } else if constexpr (std::integral<T>) {
      BindInteger(index, static_cast<int64_t>(value));
    } else if constexpr (std::floating_point<T>) {
      BindReal(index, static_cast<double>(value));  // NaN becomes NULL
    } else if constexpr (std::is_same_v<T, SqliteBlob>) {
      BindBlob(index, value.bytes);
    } else {
      BindText(index, std::string_view(value));
    }
  }
  void BindNull(int index);
  void BindInteger(int index, int64_t value);
  void BindReal(int index, double value);
  void BindText(int index, std::string_view value);
  void BindBlob(int index, std::string_view value);

  SqliteDatabase* database_;
  sqlite3_stmt* statement_ = nullptr;
};

// One connection. Not thread-safe: a thread opens its own.
class SqliteDatabase {
 public:
  enum class Mode {
    kRead,    // the file must be there; writing is refused
    kWrite,   // the file must be there
    kCreate,  // made when missing
  };
  // Waits up to a minute for other processes' locks. Journal mode WAL, where the file system allows
  // it, and synchronous=FULL: what is committed survives a loss of power. Throws Error.
  SqliteDatabase(const std::filesystem::path& path, Mode mode);
  ~SqliteDatabase();
  SqliteDatabase(const SqliteDatabase&) = delete;
  SqliteDatabase& operator=(const SqliteDatabase&) = delete;

  // Runs statements, separated by semicolons, without values or rows.
  void Execute(std::string_view sql);
  // The one number that a query without values returns; 0 when it has no row.
  int64_t QueryInteger(std::string_view sql);
  int64_t last_insert_id() const;
  int64_t changes() const;  // rows that the last statement changed

  // Brings the schema to version steps.size(): runs, each in a transaction, those of `steps` that
  // PRAGMA user_version says were not run. A step is never edited once released; a new one is added
  // behind it. Throws Error when the file is of a newer program.
  void Migrate(std::span<const std::string_view> steps);

  const std::string& name() const { return name_; }
  // For what this class does not wrap: functions, extensions.
  sqlite3* handle() { return database_; }

  // Throws Error: file, what was attempted, SQLite's reason.
  [[noreturn]] void Fail(std::string_view what) const;

 private:
  std::string name_;
  sqlite3* database_ = nullptr;
};

// All or nothing: what was run since is undone unless Commit() is reached.
class SqliteTransaction {
 public:
  // Takes the write lock at once, so that no later statement fails for it.
  explicit SqliteTransaction(SqliteDatabase& database);
  ~SqliteTransaction();
  SqliteTransaction(const SqliteTransaction&) = delete;
  SqliteTransaction& operator=(const SqliteTransaction&) = delete;
  void Commit();

 private:
  SqliteDatabase& database_;
  bool open_ = true;
};

}  // namespace athanor
