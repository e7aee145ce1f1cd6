// The state of a population's training, durable: a SQLite file and the checkpoints beside it.
//
//   RUN/population.sqlite      members, their parents, what became of them
//   RUN/checkpoints/000042     of members; a file is there, flushed, before the database says so
//
// Each change of a member is one transaction. A checkpoint is taken away only when neither its
// member nor any that descends from it is needed: first from the database, then from the disk.
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "athanor/lake/sqlite.h"
#include "athanor/loop/training/member.h"

namespace athanor {

// Not thread-safe; one process writes. Everything throws Error with the path.
class PopulationStore {
 public:
  // Makes the folder and the file when they are missing.
  explicit PopulationStore(const std::filesystem::path& run);

  // In the order of their ids, which are their indices.
  const std::vector<Member>& members() const { return members_; }
  std::filesystem::path CheckpointOf(int64_t id) const { return CheckpointPath(run_, id); }
  static std::filesystem::path CheckpointPath(const std::filesystem::path& run, int64_t id);

  // Adds members, all or none, with the next ids. Throws Error for parents without a checkpoint.
  void Plan(std::vector<Member> planned);
  // Its checkpoint is there and flushed.
  void SetTrained(int64_t id, const TrainReport& report, const std::string& sha256, double seconds);
  void SetEvaluated(int64_t id, const std::map<std::string, double>& objectives, double seconds);
  void SetFailed(int64_t id, const std::string& reason);

  // Takes away checkpoints of all but `needed`, what these descend from, and the parents of open
  // members. Returns how many.
  int64_t DropCheckpoints(const std::set<int64_t>& needed);
  // Ids of all that a member descends from, oldest first; with `by_weights` only those that gave
  // their weights.
  std::vector<int64_t> AncestorsOf(int64_t id, bool by_weights = false) const;

 private:
  void Save(const Member& member);
  Member& At(int64_t id, MemberState expected);
  void RemoveDropped() const;

  std::filesystem::path run_;
  SqliteDatabase database_;
  std::vector<Member> members_;
  int64_t next_order_ = 0;
};

}  // namespace athanor
