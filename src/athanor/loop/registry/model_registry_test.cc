#include "athanor/loop/registry/model_registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/random.h"
#include "athanor/base/sha256.h"
#include "athanor/lake/lake_test_util.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

NewModel SomeModel(const fs::path& folder, const std::string& name, const std::string& bytes,
                   std::vector<std::string> parents = {}) {
  NewModel added;
  added.model.name = name;
  added.model.kind = "detector";
  added.model.parents = std::move(parents);
  added.weights = folder / (name + ".weights");
  WriteFile(added.weights, bytes);
  return added;
}

std::set<std::string> FilesIn(const fs::path& registry) {
  std::set<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(registry / "files")) {
    if (entry.is_regular_file()) files.insert(entry.path().filename().string());
  }
  return files;
}

TEST(ModelRegistryTest, RemembersAllOfAModel) {
  const fs::path folder = MemoryFolder("remembers");
  {
    ModelRegistry registry(folder / "r", ModelRegistry::Mode::kCreate);
    registry.Add(SomeModel(folder, "parent", "p"));
    NewModel added = SomeModel(folder, "small", "weights", {"parent"});
    added.model.role = ModelRole::kVehicleSmall;
    added.model.hyper = {{"rate", "0.001"}, {"steps", "2000"}};
    added.model.metrics = {{"rain", {{"mAP", 0.25}}}, {"all", {{"mAP", 0.5}, {"NDS", 0.4}}}};
    added.optimizer = folder / "adam";
    added.manifest = folder / "clips.json";
    WriteFile(added.optimizer, "moments");
    WriteFile(added.manifest, "[]");
    registry.Add(added);
    registry.SetMetric("small", "rain", "mAP", 0.3);
  }
  ModelRegistry registry(folder / "r");
  const RegisteredModel model = registry.Get("small");
  EXPECT_EQ(model.role, ModelRole::kVehicleSmall);
  EXPECT_EQ(model.kind, "detector");
  EXPECT_EQ(model.weights, Sha256Of("weights"));
  EXPECT_EQ(ReadFile(registry.FileOf(model.weights)), "weights");
  EXPECT_EQ(ReadFile(registry.FileOf(model.optimizer)), "moments");
  EXPECT_EQ(ReadFile(registry.FileOf(model.manifest)), "[]");
  EXPECT_EQ(model.hyper.at("steps"), "2000");
  EXPECT_THAT(model.parents, ElementsAre("parent"));
  EXPECT_EQ(model.metrics.at("rain").at("mAP"), 0.3);
  EXPECT_EQ(model.metrics.at("all").size(), 2u);
}

TEST(ModelRegistryTest, RefusesWhatWouldMislead) {
  const fs::path folder = MemoryFolder("refuses");
  EXPECT_THAT([&] { ModelRegistry(folder / "r"); },
              ThrowsMessage<Error>(HasSubstr("expected a registry of models")));
  ModelRegistry registry(folder / "r", ModelRegistry::Mode::kCreate);
  registry.Add(SomeModel(folder, "a", "1"));
  EXPECT_THAT([&] { registry.Add(SomeModel(folder, "a", "2")); },
              ThrowsMessage<Error>(HasSubstr("names are given once")));
  EXPECT_THAT([&] { registry.Add(SomeModel(folder, "b", "2", {"c"})); },
              ThrowsMessage<Error>(HasSubstr("there is no model 'c' (there are: a)")));
  EXPECT_THAT([&] { registry.SetMetric("a", "all", "mAP", NAN); },
              ThrowsMessage<Error>(HasSubstr("expected a finite mAP of all")));
  EXPECT_THAT([&] { ParseModelRole("boss"); }, ThrowsMessage<Error>(HasSubstr("found 'boss'")));
  EXPECT_THAT([&] { registry.Add(SomeModel(folder, "b c", "2")); },
              ThrowsMessage<Error>(HasSubstr("without spaces")));
  for (const char* name : {"", "../a", ".a", "-a", "a/b", "a\"b"}) {
    NewModel bad = SomeModel(folder, "fine", "2");
    bad.model.name = name;
    EXPECT_THAT([&] { registry.Add(bad); }, ThrowsMessage<Error>(HasSubstr("letters"))) << name;
  }
  // The name of what is gone is not given again.
  registry.Remove("a");
  EXPECT_EQ(registry.CollectGarbage().models, 1);
  EXPECT_THAT([&] { registry.Add(SomeModel(folder, "a", "3")); },
              ThrowsMessage<Error>(HasSubstr("names are given once")));
}

TEST(ModelRegistryTest, AFileThatWasDamagedIsWrittenAgain) {
  const fs::path folder = MemoryFolder("damaged");
  ModelRegistry registry(folder / "r", ModelRegistry::Mode::kCreate);
  const RegisteredModel a = registry.Add(SomeModel(folder, "a", "weights"));
  WriteFile(registry.FileOf(a.weights), "weighty");
  registry.Add(SomeModel(folder, "b", "weights"));
  EXPECT_EQ(ReadFile(registry.FileOf(a.weights)), "weights");
}

// Over random descents: what stays, and all that it descends from, is there with its files; nothing
// else is. Reachability is told by another walk than the registry's.
TEST(ModelRegistryTest, CollectingNeverTakesANeededParent) {
  const fs::path root = MemoryFolder("garbage");
  for (uint64_t seed = 1; seed <= 25; ++seed) {
    Random random(seed);
    const fs::path folder = root / std::to_string(seed);
    ModelRegistry registry(folder / "r", ModelRegistry::Mode::kCreate);
    struct Known {
      std::set<std::string> parents;
      std::string weights, optimizer;
      bool is_removed = false, is_intermediate = false;
    };
    std::map<std::string, Known> known;
    int count = 0;
    for (int round = 0; round < 4; ++round) {
      for (int i = 0; i < 8; ++i) {
        std::vector<std::string> names;
        for (const auto& [name, model] : known) names.push_back(name);
        NewModel added = SomeModel(folder, "m" + std::to_string(++count),
                                   std::to_string(random.Below(12)));  // some share their weights
        Known& model = known[added.model.name];
        for (uint32_t p = random.Below(4); p > 0 && !names.empty(); --p) {
          model.parents.insert(names[random.Below(static_cast<uint32_t>(names.size()))]);
        }
        added.model.parents.assign(model.parents.begin(), model.parents.end());
        added.model.role = static_cast<ModelRole>(random.Below(4));
        model.is_intermediate = added.model.role == ModelRole::kIntermediate;
        if (random.Below(2) == 0) {
          added.optimizer = folder / "optimizer";
          WriteFile(added.optimizer, "o" + std::to_string(random.Below(20)));
        }
        const RegisteredModel registered = registry.Add(added);
        model.weights = registered.weights;
        model.optimizer = registered.optimizer;
      }
      for (auto& [name, model] : known) {
        if (random.Below(3) > 0) continue;
        registry.Remove(name);
        model.is_removed = true;
      }
      const bool intermediates = random.Below(2) == 0;
      std::set<std::string> needed;
      const std::function<void(const std::string&)> need = [&](const std::string& name) {
        if (!needed.insert(name).second) return;
        for (const std::string& parent : known.at(name).parents) need(parent);
      };
      for (const auto& [name, model] : known) {
        if (!model.is_removed && !(intermediates && model.is_intermediate)) need(name);
      }
      const RegistryGarbage garbage = registry.CollectGarbage(intermediates);
      EXPECT_EQ(garbage.models, std::ssize(known) - std::ssize(needed));
      std::erase_if(known, [&](const auto& entry) { return !needed.contains(entry.first); });
      std::set<std::string> listed, files;
      for (const RegisteredModel& model : registry.List()) {
        listed.insert(model.name);
        const Known& expected = known.at(model.name);
        EXPECT_EQ(std::set<std::string>(model.parents.begin(), model.parents.end()),
                  expected.parents);
        for (const std::string& file : {expected.weights, expected.optimizer}) {
          if (file.empty()) continue;
          files.insert(file);
          EXPECT_EQ(Sha256OfFile(registry.FileOf(file)), file);
        }
      }
      EXPECT_EQ(listed, needed);
      EXPECT_EQ(FilesIn(folder / "r"), files);
      EXPECT_EQ(registry.CollectGarbage(intermediates).models, 0);
    }
  }
}

TEST(ModelRegistryTest, TellsWhereAModelComesFrom) {
  const fs::path folder = MemoryFolder("lineage");
  ModelRegistry registry(folder / "r", ModelRegistry::Mode::kCreate);
  registry.Add(SomeModel(folder, "a", "1"));
  registry.Add(SomeModel(folder, "b", "2", {"a"}));
  registry.Add(SomeModel(folder, "c", "3", {"a"}));
  registry.Add(SomeModel(folder, "d", "4", {"b", "c"}));
  registry.Add(SomeModel(folder, "e", "5"));
  EXPECT_THAT(registry.Ancestors("d"), ElementsAre("a", "b", "c"));
  EXPECT_TRUE(registry.Ancestors("e").empty());
}

}  // namespace
}  // namespace athanor
