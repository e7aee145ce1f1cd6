#include "athanor/loop/registry/model_registry.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/sha256.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCatalogName = "registry.sqlite";
constexpr std::array<std::string_view, 4> kRoleNames = {"cloud_large", "vehicle_small", "candidate",
                                                        "intermediate"};

// Names of models that are gone stay known: a name never means something else.
constexpr std::string_view kSteps[] = {R"(
CREATE TABLE models(
  model INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, role TEXT NOT NULL,
  kind TEXT NOT NULL, weights TEXT NOT NULL, optimizer TEXT NOT NULL, manifest TEXT NOT NULL,
  hyper TEXT NOT NULL, added_us INTEGER NOT NULL, removed INTEGER NOT NULL DEFAULT 0);
CREATE TABLE parents(
  model INTEGER NOT NULL REFERENCES models, parent INTEGER NOT NULL REFERENCES models,
  PRIMARY KEY(model, parent)) WITHOUT ROWID;
CREATE INDEX parents_by_parent ON parents(parent);
CREATE TABLE metrics(
  model INTEGER NOT NULL REFERENCES models, scenario TEXT NOT NULL, metric TEXT NOT NULL,
  value REAL NOT NULL, PRIMARY KEY(model, scenario, metric)) WITHOUT ROWID;
CREATE TABLE gone(name TEXT PRIMARY KEY, weights TEXT NOT NULL) WITHOUT ROWID;
)"};

// One process adds or collects at a time: a file is not taken away while a model is being added
// that names it.
class WriterLock {
 public:
  explicit WriterLock(const fs::path& path) {
    file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (file_ >= 0 && ::flock(file_, LOCK_EX) == 0) return;
    const std::string reason = std::strerror(errno);
    if (file_ >= 0) ::close(file_);
    throw Error(StrCat(path.string(), ": cannot lock: ", reason));
  }
  ~WriterLock() { ::close(file_); }
  WriterLock(const WriterLock&) = delete;
  WriterLock& operator=(const WriterLock&) = delete;

 private:
  int file_ = -1;
};

SqliteDatabase::Mode DatabaseMode(ModelRegistry::Mode mode) {
  return mode == ModelRegistry::Mode::kRead    ? SqliteDatabase::Mode::kRead
         : mode == ModelRegistry::Mode::kWrite ? SqliteDatabase::Mode::kWrite
                                               : SqliteDatabase::Mode::kCreate;
}

fs::path CatalogOf(const fs::path& folder, ModelRegistry::Mode mode) {
  if (mode == ModelRegistry::Mode::kCreate) {
    MakeFolder(folder / "files");
  } else {
    ATHANOR_CHECK(ModelRegistry::IsRegistry(folder), folder.string(),
                  ": expected a registry of models (", kCatalogName, "), found none");
  }
  return folder / kCatalogName;
}

void CheckText(std::string_view text, std::string_view what, std::string_view name) {
  const bool is_word = !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return c > ' ' && c != 127;
  });
  ATHANOR_CHECK(is_word, "registry: model ", name, ": expected ", what, " without spaces, found '",
                text, "'");
}

}  // namespace

std::string_view ModelRoleName(ModelRole role) { return kRoleNames[static_cast<size_t>(role)]; }

ModelRole ParseModelRole(std::string_view name) {
  const auto* found = std::find(kRoleNames.begin(), kRoleNames.end(), name);
  ATHANOR_CHECK(found != kRoleNames.end(),
                "expected a role of cloud_large, vehicle_small, candidate or intermediate, found '",
                name, "'");
  return static_cast<ModelRole>(found - kRoleNames.begin());
}

ModelRegistry::ModelRegistry(const fs::path& folder, Mode mode)
    : folder_(folder), database_(CatalogOf(folder, mode), DatabaseMode(mode)) {
  if (mode != Mode::kRead) {
    database_.Migrate(kSteps);
    return;
  }
  const int64_t version = database_.QueryInteger("PRAGMA user_version");
  ATHANOR_CHECK(version == std::ssize(kSteps), database_.name(),
                ": expected a registry of version ", std::ssize(kSteps), ", found ", version);
}

bool ModelRegistry::IsRegistry(const fs::path& folder) {
  std::error_code error;
  return fs::is_regular_file(folder / kCatalogName, error);
}

fs::path ModelRegistry::FileOf(std::string_view sha256) const {
  return folder_ / "files" / std::string(sha256.substr(0, 2)) / std::string(sha256);
}

std::string ModelRegistry::Publish(const fs::path& file) {
  if (file.empty()) return {};
  const std::string bytes = ReadFile(file);
  std::string sha256 = Sha256Of(bytes);
  const fs::path path = FileOf(sha256);
  std::error_code error;
  if (!fs::is_regular_file(path, error) || Sha256OfFile(path) != sha256) WriteFile(path, bytes);
  return sha256;
}

int64_t ModelRegistry::NumberOf(std::string_view name) {
  SqliteStatement find(database_, "SELECT model FROM models WHERE name = ?");
  find.Bind(name);
  if (find.Step()) return find.Integer(0);
  std::string names;
  SqliteStatement all(database_, "SELECT name FROM models ORDER BY model");
  all.Bind();
  while (all.Step()) names += StrCat(names.empty() ? "" : ", ", all.Text(0));
  throw Error(StrCat(folder_.string(), ": there is no model '", name,
                     "' (there are: ", names.empty() ? "none" : names, ")"));
}

RegisteredModel ModelRegistry::Add(const NewModel& added) {
  RegisteredModel model = added.model;
  const std::string& name = model.name;
  const bool is_name = !name.empty() && name.size() <= 64 && name[0] != '.' && name[0] != '-' &&
                       std::all_of(name.begin(), name.end(), [](unsigned char c) {
                         return std::isalnum(c) || c == '-' || c == '_' || c == '.';
                       });
  ATHANOR_CHECK(is_name,
                "registry: expected a name of up to 64 letters, digits, '-', '_' and '.', ",
                "without spaces, found '", name, "'");
  CheckText(model.kind, "a kind", model.name);
  ATHANOR_CHECK(!added.weights.empty(), "registry: model ", model.name,
                ": expected a file of weights");
  const WriterLock lock(folder_ / "lock");
  SqliteStatement known(database_,
                        "SELECT 1 FROM models WHERE name = ?1 UNION ALL "
                        "SELECT 1 FROM gone WHERE name = ?1");
  known.Bind(model.name);
  ATHANOR_CHECK(!known.Step(), folder_.string(), ": there is, or was, a model '", model.name,
                "'; names are given once");
  known.Reset();
  std::set<std::string> names(model.parents.begin(), model.parents.end());
  model.parents.assign(names.begin(), names.end());
  std::vector<int64_t> parents;
  for (const std::string& parent : model.parents) parents.push_back(NumberOf(parent));
  model.weights = Publish(added.weights);
  model.optimizer = Publish(added.optimizer);
  model.manifest = Publish(added.manifest);
  model.added_us = std::chrono::duration_cast<std::chrono::microseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  model.is_removed = false;
  SqliteTransaction transaction(database_);
  SqliteStatement(database_,
                  "INSERT INTO models(name, role, kind, weights, optimizer, manifest, hyper, "
                  "added_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
      .Run(model.name, ModelRoleName(model.role), model.kind, model.weights, model.optimizer,
           model.manifest, nlohmann::json(model.hyper).dump(), model.added_us);
  const int64_t number = database_.last_insert_id();
  for (const int64_t parent : parents) {
    SqliteStatement(database_, "INSERT INTO parents(model, parent) VALUES (?, ?)")
        .Run(number, parent);
  }
  for (const auto& [scenario, metrics] : model.metrics) {
    for (const auto& [metric, value] : metrics) SetMetric(model.name, scenario, metric, value);
  }
  transaction.Commit();
  return model;
}

void ModelRegistry::SetRole(std::string_view name, ModelRole role) {
  SqliteStatement(database_, "UPDATE models SET role = ? WHERE model = ?")
      .Run(ModelRoleName(role), NumberOf(name));
}

void ModelRegistry::SetMetric(std::string_view name, std::string_view scenario,
                              std::string_view metric, double value) {
  CheckText(scenario, "a scenario", name);
  CheckText(metric, "a metric", name);
  ATHANOR_CHECK(std::isfinite(value), "registry: model ", name, ": expected a finite ", metric,
                " of ", scenario, ", found ", value);
  SqliteStatement(database_,
                  "INSERT INTO metrics(model, scenario, metric, value) VALUES (?1, ?2, ?3, ?4) "
                  "ON CONFLICT DO UPDATE SET value = ?4")
      .Run(NumberOf(name), scenario, metric, value);
}

void ModelRegistry::Remove(std::string_view name) {
  SqliteStatement(database_, "UPDATE models SET removed = 1 WHERE model = ?").Run(NumberOf(name));
}

std::vector<RegisteredModel> ModelRegistry::List() {
  std::vector<RegisteredModel> models;
  SqliteStatement rows(database_,
                       "SELECT model, name, role, kind, weights, optimizer, manifest, hyper, "
                       "added_us, removed FROM models ORDER BY model");
  rows.Bind();
  while (rows.Step()) {
    RegisteredModel& model = models.emplace_back();
    const int64_t number = rows.Integer(0);
    model.name = rows.Text(1);
    model.role = ParseModelRole(rows.Text(2));
    model.kind = rows.Text(3);
    model.weights = rows.Text(4);
    model.optimizer = rows.Text(5);
    model.manifest = rows.Text(6);
    try {
      model.hyper = nlohmann::json::parse(rows.Text(7)).get<std::map<std::string, std::string>>();
    } catch (const nlohmann::json::exception& error) {
      database_.Fail(StrCat("model ", model.name, ": hyper-parameters: ", error.what()));
    }
    model.added_us = rows.Integer(8);
    model.is_removed = rows.Integer(9) != 0;
    SqliteStatement parents(database_,
                            "SELECT name FROM parents JOIN models ON models.model = parent "
                            "WHERE parents.model = ? ORDER BY name");
    parents.Bind(number);
    while (parents.Step()) model.parents.emplace_back(parents.Text(0));
    SqliteStatement metrics(database_,
                            "SELECT scenario, metric, value FROM metrics WHERE model = ?");
    metrics.Bind(number);
    while (metrics.Step()) {
      model.metrics[std::string(metrics.Text(0))][std::string(metrics.Text(1))] = metrics.Real(2);
    }
  }
  return models;
}

std::optional<RegisteredModel> ModelRegistry::Find(std::string_view name) {
  for (RegisteredModel& model : List()) {
    if (model.name == name) return std::move(model);
  }
  return std::nullopt;
}

RegisteredModel ModelRegistry::Get(std::string_view name) {
  NumberOf(name);
  return *Find(name);
}

std::vector<std::string> ModelRegistry::Ancestors(std::string_view name) {
  // UNION drops what was reached before: a descent that joins again is walked once.
  SqliteStatement walk(database_,
                       "WITH RECURSIVE up(model) AS ("
                       "  SELECT parent FROM parents WHERE model = ? UNION "
                       "  SELECT parent FROM parents JOIN up USING (model)) "
                       "SELECT name FROM up JOIN models USING (model) ORDER BY model");
  walk.Bind(NumberOf(name));
  std::vector<std::string> names;
  while (walk.Step()) names.emplace_back(walk.Text(0));
  return names;
}

RegistryGarbage ModelRegistry::CollectGarbage(bool intermediates) {
  const WriterLock lock(folder_ / "lock");
  RegistryGarbage garbage;
  {
    SqliteTransaction transaction(database_);
    database_.Execute("CREATE TEMP TABLE IF NOT EXISTS needed(model INTEGER PRIMARY KEY)");
    database_.Execute("DELETE FROM needed");
    // What stays, and all that it descends from.
    SqliteStatement(database_,
                    "WITH RECURSIVE up(model) AS ("
                    "  SELECT model FROM models WHERE removed = 0 AND NOT (? AND role = "
                    "'intermediate') UNION "
                    "  SELECT parent FROM parents JOIN up USING (model)) "
                    "INSERT INTO needed SELECT model FROM up")
        .Run(intermediates ? 1 : 0);
    garbage.models = database_.QueryInteger(
        "SELECT count(*) FROM models WHERE model NOT IN (SELECT model FROM needed)");
    for (const char* sql : {"INSERT INTO gone SELECT name, weights FROM models "
                            "WHERE model NOT IN (SELECT model FROM needed)",
                            "DELETE FROM metrics WHERE model NOT IN (SELECT model FROM needed)",
                            "DELETE FROM parents WHERE model NOT IN (SELECT model FROM needed)",
                            "DELETE FROM models WHERE model NOT IN (SELECT model FROM needed)"}) {
      database_.Execute(sql);
    }
    transaction.Commit();
  }
  std::set<std::string> named;
  SqliteStatement files(database_,
                        "SELECT weights FROM models UNION SELECT optimizer FROM models UNION "
                        "SELECT manifest FROM models");
  files.Bind();
  while (files.Step()) named.emplace(files.Text(0));
  std::vector<fs::path> unnamed;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder_ / "files", error), end;
       !error && entry != end; entry.increment(error)) {
    if (entry->is_regular_file(error) && !named.contains(entry->path().filename().string())) {
      unnamed.push_back(entry->path());
    }
  }
  for (const fs::path& path : unnamed) {
    const auto bytes = fs::file_size(path, error);
    if (fs::remove(path, error)) {
      ++garbage.files;
      garbage.bytes += static_cast<int64_t>(bytes);
    }
  }
  return garbage;
}

}  // namespace athanor
