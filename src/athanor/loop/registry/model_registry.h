// Models and where they come from: weights, the state of their optimiser, hyper-parameters,
// parents, data and how they did in each scenario.
//
//   REGISTRY/registry.sqlite        the catalog
//   REGISTRY/files/ab/abcd...       files, named by their SHA-256; never changed
//
// A file is there before the catalog names it, and no longer named before it goes. What a model
// descends from stays as long as the model does.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/lake/sqlite.h"

namespace athanor {

enum class ModelRole {
  kCloudLarge,    // teaches
  kVehicleSmall,  // is deployed
  kCandidate,     // may be next
  kIntermediate   // a snapshot of a training
};
// "cloud_large", "vehicle_small", "candidate", "intermediate".
std::string_view ModelRoleName(ModelRole role);
// Throws Error that lists them.
ModelRole ParseModelRole(std::string_view name);

// By scenario ("all", "rain", "roundabout") and metric ("mAP").
using ScenarioMetrics = std::map<std::string, std::map<std::string, double>>;

struct RegisteredModel {
  std::string name;  // up to 64 letters, digits, '-', '_', '.'; unique, for good
  ModelRole role = ModelRole::kCandidate;
  std::string kind;                 // who runs it: "detector", "teacher"
  std::string weights;              // SHA-256, as all files
  std::string optimizer, manifest;  // state of its optimiser, list of its data; empty: none
  std::map<std::string, std::string> hyper;
  std::vector<std::string> parents;  // names, sorted
  ScenarioMetrics metrics;
  int64_t added_us = 0;     // since 1970
  bool is_removed = false;  // kept only because others descend from it
};

// What is to be added: a model, and its files. SHA-256 are filled in.
struct NewModel {
  RegisteredModel model;
  std::filesystem::path weights, optimizer, manifest;  // copied; may be empty but for the weights
};

struct RegistryGarbage {
  int64_t models = 0, files = 0, bytes = 0;
};

// Any number of processes may use a registry at once. Not thread-safe. Everything throws Error with
// the registry's path.
class ModelRegistry {
 public:
  enum class Mode { kRead, kWrite, kCreate };
  explicit ModelRegistry(const std::filesystem::path& folder, Mode mode = Mode::kRead);

  static bool IsRegistry(const std::filesystem::path& folder);

  // Refuses a name that was ever given, and parents that are not there. A kill leaves a file at
  // most, which the next collection takes.
  RegisteredModel Add(const NewModel& added);
  void SetRole(std::string_view name, ModelRole role);
  void SetMetric(std::string_view name, std::string_view scenario, std::string_view metric,
                 double value);
  // Gives a model up: it goes with the next collection, unless others descend from it.
  void Remove(std::string_view name);

  // In the order in which they were added, also those that are removed and still needed.
  std::vector<RegisteredModel> List();
  std::optional<RegisteredModel> Find(std::string_view name);
  // Throws Error that lists the names.
  RegisteredModel Get(std::string_view name);
  // All that it descends from, parents first; each once.
  std::vector<std::string> Ancestors(std::string_view name);
  std::filesystem::path FileOf(std::string_view sha256) const;

  // Takes away models that were removed and of which no model that stays descends, and files that
  // no model names. `intermediates`: gives up snapshots that no other model descends from, too.
  RegistryGarbage CollectGarbage(bool intermediates = false);

 private:
  std::string Publish(const std::filesystem::path& file);
  int64_t NumberOf(std::string_view name);

  std::filesystem::path folder_;
  SqliteDatabase database_;
};

}  // namespace athanor
