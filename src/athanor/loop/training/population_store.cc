#include "athanor/loop/training/population_store.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "athanor/base/error.h"
#include "athanor/base/files.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::array<std::string_view, 5> kStates = {"planned", "trained", "evaluated", "failed",
                                                     "imported"};

// What is asked for has a column; the rest is one object.
constexpr std::string_view kSteps[] = {R"(
CREATE TABLE members(
  member INTEGER PRIMARY KEY, state TEXT NOT NULL, trial INTEGER NOT NULL, steps INTEGER NOT NULL,
  hyper TEXT NOT NULL, mutation TEXT NOT NULL, seed TEXT NOT NULL, checkpoint TEXT NOT NULL,
  has_checkpoint INTEGER NOT NULL, work REAL NOT NULL, monitors TEXT NOT NULL,
  objectives TEXT NOT NULL, failure TEXT NOT NULL, evaluated INTEGER NOT NULL,
  train_s REAL NOT NULL, evaluate_s REAL NOT NULL);
CREATE TABLE parents(
  member INTEGER NOT NULL REFERENCES members, place INTEGER NOT NULL,
  parent INTEGER NOT NULL REFERENCES members, PRIMARY KEY(member, place)) WITHOUT ROWID;
)"};

fs::path DatabaseOf(const fs::path& run) {
  MakeFolder(run / "checkpoints");
  return run / "population.sqlite";
}

}  // namespace

std::string_view MemberStateName(MemberState state) { return kStates[static_cast<size_t>(state)]; }

fs::path PopulationStore::CheckpointPath(const fs::path& run, int64_t id) {
  char name[24];
  std::snprintf(name, sizeof name, "%06lld", static_cast<long long>(id));
  return run / "checkpoints" / name;
}

PopulationStore::PopulationStore(const fs::path& run)
    : run_(run), database_(DatabaseOf(run), SqliteDatabase::Mode::kCreate) {
  database_.Migrate(kSteps);
  SqliteStatement rows(database_,
                       "SELECT member, state, trial, steps, hyper, mutation, seed, checkpoint, "
                       "has_checkpoint, work, monitors, objectives, failure, evaluated, train_s, "
                       "evaluate_s FROM members ORDER BY member");
  SqliteStatement parents(database_, "SELECT parent FROM parents WHERE member = ? ORDER BY place");
  rows.Bind();
  while (rows.Step()) {
    Member member;
    member.id = rows.Integer(0);
    const auto state = std::find(kStates.begin(), kStates.end(), rows.Text(1));
    if (state == kStates.end() || member.id != std::ssize(members_)) {
      database_.Fail(StrCat("member ", member.id, " is in no known state"));
    }
    member.state = static_cast<MemberState>(state - kStates.begin());
    member.trial = rows.Integer(2), member.steps = rows.Integer(3);
    try {
      member.hyper = json::parse(rows.Text(4)).get<HyperParameters>();
      const json mutation = json::parse(rows.Text(5));
      member.mutation = {mutation.at("shrink"), mutation.at("perturb"), mutation.at("replace")};
      member.seed = std::stoull(std::string(rows.Text(6)));
      member.report.monitors = json::parse(rows.Text(10)).get<std::map<std::string, double>>();
      member.objectives = json::parse(rows.Text(11)).get<std::map<std::string, double>>();
    } catch (const std::exception& error) {
      database_.Fail(StrCat("member ", member.id, ": ", error.what()));
    }
    member.checkpoint_sha256 = rows.Text(7);
    member.has_checkpoint = rows.Integer(8) != 0;
    member.report.work = rows.Real(9);
    member.failure = rows.Text(12);
    member.order = rows.Integer(13);
    member.train_s = rows.Real(14), member.evaluate_s = rows.Real(15);
    next_order_ = std::max(next_order_, member.order + 1);
    parents.Bind(member.id);
    while (parents.Step()) member.parents.push_back(parents.Integer(0));
    members_.push_back(std::move(member));
  }
  RemoveDropped();
}

void PopulationStore::Save(const Member& member) {
  SqliteStatement(database_,
                  "INSERT INTO members VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, "
                  "?13, ?14, ?15, ?16) ON CONFLICT DO UPDATE SET state = ?2, checkpoint = ?8, "
                  "has_checkpoint = ?9, work = ?10, monitors = ?11, objectives = ?12, "
                  "failure = ?13, evaluated = ?14, train_s = ?15, evaluate_s = ?16")
      .Run(member.id, MemberStateName(member.state), member.trial, member.steps,
           json(member.hyper).dump(),
           json{{"shrink", member.mutation.shrink},
                {"perturb", member.mutation.perturb},
                {"replace", member.mutation.replace}}
               .dump(),
           std::to_string(member.seed), member.checkpoint_sha256, member.has_checkpoint ? 1 : 0,
           member.report.work, json(member.report.monitors).dump(), json(member.objectives).dump(),
           member.failure, member.order, member.train_s, member.evaluate_s);
}

void PopulationStore::Plan(std::vector<Member> planned) {
  SqliteTransaction transaction(database_);
  for (int64_t id = std::ssize(members_); Member & member : planned) {
    member.id = id++;
    Save(member);
    for (int64_t place = 0; const int64_t parent : member.parents) {
      ATHANOR_CHECK(parent >= 0 && parent < std::ssize(members_) && members_[parent].has_checkpoint,
                    database_.name(), ": member ", member.id, ": expected a parent with a ",
                    "checkpoint, found ", parent);
      SqliteStatement(database_, "INSERT INTO parents(member, place, parent) VALUES (?, ?, ?)")
          .Run(member.id, place++, parent);
    }
  }
  transaction.Commit();
  for (Member& member : planned) members_.push_back(std::move(member));
}

Member& PopulationStore::At(int64_t id, MemberState expected) {
  ATHANOR_CHECK(id >= 0 && id < std::ssize(members_) && members_[id].state == expected,
                database_.name(), ": expected member ", id, " to be ", MemberStateName(expected));
  return members_[id];
}

void PopulationStore::SetTrained(int64_t id, const TrainReport& report, const std::string& sha256,
                                 double seconds) {
  Member member = At(id, MemberState::kPlanned);
  member.state = MemberState::kTrained;
  member.report = report, member.train_s = seconds;
  member.checkpoint_sha256 = sha256, member.has_checkpoint = true;
  Save(member);
  members_[id] = std::move(member);
}

void PopulationStore::SetEvaluated(int64_t id, const std::map<std::string, double>& objectives,
                                   double seconds) {
  Member member = At(id, MemberState::kTrained);
  member.state = MemberState::kEvaluated;
  member.objectives = objectives, member.evaluate_s = seconds;
  member.order = next_order_;
  Save(member);
  ++next_order_;
  members_[id] = std::move(member);
}

void PopulationStore::SetFailed(int64_t id, const std::string& reason) {
  ATHANOR_CHECK(id >= 0 && id < std::ssize(members_) && members_[id].is_open(), database_.name(),
                ": expected member ", id, " to be at work");
  Member member = members_[id];
  member.state = MemberState::kFailed;
  member.failure = reason.substr(0, reason.find('\n'));
  member.order = next_order_;
  Save(member);
  ++next_order_;
  members_[id] = std::move(member);
}

std::vector<int64_t> PopulationStore::AncestorsOf(int64_t id, bool by_weights) const {
  std::set<int64_t> found;
  std::vector<int64_t> open = {id};
  while (!open.empty()) {
    const Member& member = members_.at(open.back());
    open.pop_back();
    for (const int64_t parent : member.parents) {
      if (found.insert(parent).second) open.push_back(parent);
      if (by_weights) break;
    }
  }
  return {found.begin(), found.end()};  // a parent was planned before its child
}

int64_t PopulationStore::DropCheckpoints(const std::set<int64_t>& needed) {
  std::set<int64_t> kept = needed;
  for (const Member& member : members_) {
    if (member.is_open()) kept.insert(member.id);
  }
  for (auto id = kept.rbegin(); id != kept.rend(); ++id) {
    // Those that are added are smaller, and so come later in this walk.
    for (const int64_t parent : members_.at(*id).parents) kept.insert(parent);
  }
  std::vector<int64_t> dropped;
  for (const Member& member : members_) {
    if (member.has_checkpoint && !kept.contains(member.id)) dropped.push_back(member.id);
  }
  if (dropped.empty()) return 0;
  SqliteTransaction transaction(database_);
  for (const int64_t id : dropped) {
    SqliteStatement(database_, "UPDATE members SET has_checkpoint = 0 WHERE member = ?").Run(id);
  }
  transaction.Commit();
  for (const int64_t id : dropped) {
    members_[id].has_checkpoint = false;
    std::error_code error;
    fs::remove(CheckpointOf(id), error);
  }
  return std::ssize(dropped);
}

// What a kill between the two has left.
void PopulationStore::RemoveDropped() const {
  std::error_code error;
  for (const Member& member : members_) {
    if (member.has_checkpoint || member.state == MemberState::kPlanned) continue;
    fs::remove(CheckpointOf(member.id), error);
  }
}

}  // namespace athanor
