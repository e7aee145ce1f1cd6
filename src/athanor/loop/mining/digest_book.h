// What has become of each sample over many evaluations (the states of undigested.h), in SQLite.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string_view>

#include "athanor/lake/sqlite.h"
#include "athanor/loop/mining/undigested.h"

namespace athanor {

class DigestBook {
 public:
  // Made when missing.
  explicit DigestBook(const std::filesystem::path& path, const DigestRules& rules = {});

  // By log and number of the frame; a new sample when it was never seen.
  DigestSample Find(std::string_view log, int frame);
  // The sample after an event. Throws Error for one that cannot happen to it.
  DigestSample Record(std::string_view log, int frame, DigestEvent event);
  // How many samples are in each state.
  std::array<int64_t, 6> Counts();
  // What was recorded since is undone unless Commit() is reached: an evaluation counts as a whole.
  void Commit();

 private:
  SqliteDatabase database_;
  DigestRules rules_;
  SqliteTransaction transaction_;
  SqliteStatement find_, write_;
};

}  // namespace athanor
