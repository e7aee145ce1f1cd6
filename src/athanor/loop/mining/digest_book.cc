#include "athanor/loop/mining/digest_book.h"

#include "athanor/base/error.h"

namespace athanor {
namespace {

constexpr std::string_view kSteps[] = {R"(
CREATE TABLE samples (
  log TEXT NOT NULL, frame INTEGER NOT NULL, state INTEGER NOT NULL, agreements INTEGER NOT NULL,
  reopened INTEGER NOT NULL, PRIMARY KEY (log, frame)) WITHOUT ROWID;
)"};

SqliteDatabase& WithTables(SqliteDatabase& database) {
  database.Migrate(kSteps);
  return database;
}

}  // namespace

DigestBook::DigestBook(const std::filesystem::path& path, const DigestRules& rules)
    : database_(path, SqliteDatabase::Mode::kCreate),
      rules_(rules),
      transaction_(WithTables(database_)),
      find_(database_,
            "SELECT state, agreements, reopened FROM samples WHERE log = ? AND frame = ?"),
      write_(database_, "INSERT OR REPLACE INTO samples VALUES (?, ?, ?, ?, ?)") {}

DigestSample DigestBook::Find(std::string_view log, int frame) {
  DigestSample sample;
  find_.Bind(log, frame);
  if (find_.Step()) {
    const int64_t state = find_.Integer(0);
    ATHANOR_CHECK(state >= 0 && state <= static_cast<int>(DigestState::kRetired), database_.name(),
                  ": frame ", log, "/", frame, ": expected a state of 0 to 5, found ", state);
    sample.state = static_cast<DigestState>(state);
    sample.agreements = static_cast<int>(find_.Integer(1));
    sample.reopened = static_cast<int>(find_.Integer(2));
  }
  find_.Reset();
  return sample;
}

DigestSample DigestBook::Record(std::string_view log, int frame, DigestEvent event) {
  const DigestSample after = Advance(Find(log, frame), event, rules_);
  write_.Run(log, frame, static_cast<int>(after.state), after.agreements, after.reopened);
  return after;
}

std::array<int64_t, 6> DigestBook::Counts() {
  std::array<int64_t, 6> counts = {};
  SqliteStatement all(database_, "SELECT state, count(*) FROM samples GROUP BY state");
  while (all.Step()) {
    const int64_t state = all.Integer(0);
    ATHANOR_CHECK(state >= 0 && state < std::ssize(counts), database_.name(),
                  ": expected states of 0 to 5, found ", state);
    counts[state] = all.Integer(1);
  }
  return counts;
}

void DigestBook::Commit() { transaction_.Commit(); }

}  // namespace athanor
