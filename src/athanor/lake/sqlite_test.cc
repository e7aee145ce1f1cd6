#include "athanor/lake/sqlite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barrier>
#include <cmath>
#include <limits>
#include <thread>
#include <vector>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Mode = SqliteDatabase::Mode;

TEST(SqliteTest, ValuesComeBack) {
  SqliteDatabase database(TestFolder("sqlite") / "a.sqlite", Mode::kCreate);
  database.Execute("CREATE TABLE t(i, r, s, b, n)");
  SqliteStatement insert(database, "INSERT INTO t VALUES (?, ?, ?, ?, ?)");
  const std::string text("zero\0inside 'é'", 16), bytes("\xff\0\x01", 3);
  insert.Run(std::numeric_limits<int64_t>::min(), 0.1, text, SqliteBlob{bytes}, nullptr);
  insert.Run(7, std::nan(""), std::string_view(), SqliteBlob{}, 1.0f);
  EXPECT_EQ(database.changes(), 1);
  EXPECT_EQ(database.last_insert_id(), 2);

  SqliteStatement query(database, "SELECT * FROM t WHERE rowid >= ? ORDER BY rowid");
  query.Bind(1);
  ASSERT_TRUE(query.Step());
  EXPECT_EQ(query.num_columns(), 5);
  EXPECT_EQ(query.Integer(0), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(query.Real(1), 0.1);
  EXPECT_EQ(query.Text(2), text);
  EXPECT_EQ(query.Blob(3), bytes);
  EXPECT_TRUE(query.IsNull(4));
  ASSERT_TRUE(query.Step());
  EXPECT_TRUE(query.IsNull(1));
  EXPECT_FALSE(query.IsNull(2));
  EXPECT_FALSE(query.IsNull(3));
  EXPECT_FALSE(query.Step());
  query.Bind(2);
  ASSERT_TRUE(query.Step());
  EXPECT_EQ(query.Integer(0), 7);
}

TEST(SqliteTest, ATransactionIsWholeOrNothing) {
  const auto path = TestFolder("sqlite") / "a.sqlite";
  SqliteDatabase database(path, Mode::kCreate);
  database.Execute("CREATE TABLE t(i)");
  {
    const SqliteTransaction transaction(database);
    database.Execute("INSERT INTO t VALUES (1)");
  }
  EXPECT_EQ(database.QueryInteger("SELECT count(*) FROM t"), 0);
  {
    SqliteTransaction transaction(database);
    database.Execute("INSERT INTO t VALUES (1)");
    SqliteDatabase reader(path, Mode::kRead);  // sees what was committed, while another writes
    EXPECT_EQ(reader.QueryInteger("SELECT count(*) FROM t"), 0);
    transaction.Commit();
    EXPECT_EQ(reader.QueryInteger("SELECT count(*) FROM t"), 1);
    EXPECT_THAT(ErrorOf([&] { reader.Execute("DELETE FROM t"); }), HasSubstr("readonly"));
  }
}

TEST(SqliteTest, MigrationsRunOnceAndInOrder) {
  const auto path = TestFolder("sqlite") / "a.sqlite";
  const std::string_view steps[] = {"CREATE TABLE t(i); INSERT INTO t VALUES (1)",
                                    "ALTER TABLE t ADD COLUMN j DEFAULT 5"};
  {
    SqliteDatabase database(path, Mode::kCreate);
    database.Migrate(std::span(steps).first(1));
  }
  SqliteDatabase database(path, Mode::kWrite);
  database.Migrate(steps);
  database.Migrate(steps);
  EXPECT_EQ(database.QueryInteger("SELECT sum(i + j) FROM t"), 6);
  EXPECT_THAT(ErrorOf([&] { database.Migrate(std::span(steps).first(1)); }),
              AllOf(HasSubstr(path.string()), HasSubstr("newer program")));
}

TEST(SqliteTest, SeveralMakeAFileAtOnce) {
  const auto folder = TestFolder("sqlite at once");
  std::vector<std::string> errors(8);
  for (int round = 0; round < 50; ++round) {
    std::vector<std::thread> threads;
    std::barrier start(std::ssize(errors));
    for (std::string& error : errors) {
      threads.emplace_back([&] {
        start.arrive_and_wait();
        try {
          SqliteDatabase database(folder / std::to_string(round), Mode::kCreate);
          database.Execute("CREATE TABLE IF NOT EXISTS t(i); INSERT INTO t VALUES (1)");
        } catch (const std::exception& thrown) {
          error = thrown.what();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const std::string& error : errors) ASSERT_EQ(error, "") << "round " << round;
    SqliteDatabase database(folder / std::to_string(round), Mode::kRead);
    EXPECT_EQ(database.QueryInteger("SELECT count(*) FROM t"), 8);
  }
}

TEST(SqliteTest, ErrorsNameFileAndStatement) {
  const auto folder = TestFolder("sqlite");
  EXPECT_THAT(ErrorOf([&] { SqliteDatabase(folder / "none", Mode::kRead); }), HasSubstr("none"));
  WriteFile(folder / "text", std::string(4096, 'x'));
  EXPECT_THAT(ErrorOf([&] { SqliteDatabase(folder / "text", Mode::kRead); }),
              AllOf(HasSubstr("text"), HasSubstr("not a database")));
  SqliteDatabase database(folder / "a.sqlite", Mode::kCreate);
  EXPECT_THAT(ErrorOf([&] { SqliteStatement(database, "SELECT\n  i FROM t"); }),
              HasSubstr("a.sqlite: no such table: t: SELECT i FROM t"));
  EXPECT_THAT(ErrorOf([&] { SqliteStatement(database, "SELECT 1; SELECT 2"); }),
              HasSubstr("one SQL statement"));
  EXPECT_THAT(ErrorOf([&] { SqliteStatement(database, " ; "); }), HasSubstr("found none"));
  SqliteStatement query(database, "SELECT ?");
  EXPECT_THAT(ErrorOf([&] { query.Bind(1, 2); }), HasSubstr("expected 1 values, found 2"));
}

}  // namespace
}  // namespace athanor
