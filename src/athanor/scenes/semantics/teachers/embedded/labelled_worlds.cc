#include "athanor/scenes/semantics/teachers/embedded/labelled_worlds.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "athanor/base/error.h"
#include "athanor/base/files.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

Json ReadJson(const fs::path& path) {
  Json json = Json::parse(ReadFile(path), nullptr, /*allow_exceptions=*/false);
  ATHANOR_CHECK(json.is_object(), path.string(), ": expected a JSON object");
  return json;
}

void AddOnce(std::vector<std::string>* list, const std::string& value) {
  if (!value.empty() && std::find(list->begin(), list->end(), value) == list->end()) {
    list->push_back(value);
  }
}

// The picture of a view: JPEG or PNG.
fs::path PicturePath(const fs::path& folder, const std::string& stem) {
  const fs::path jpg = folder / "images" / (stem + ".jpg");
  return fs::exists(jpg) ? jpg : folder / "images" / (stem + ".png");
}

}  // namespace

LabelledWorlds::LabelledWorlds(const std::vector<fs::path>& folders, Use use) {
  patterns_ = {""};
  for (const fs::path& folder : folders) {
    ATHANOR_CHECK(fs::is_directory(folder), folder.string(), ": expected a folder of `sim room`");
    if (fs::exists(folder / "objects.json")) {
      ReadRoom(folder, use);
      continue;
    }
    std::vector<fs::path> rooms;
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (fs::exists(entry.path() / "objects.json")) rooms.push_back(entry.path());
    }
    ATHANOR_CHECK(!rooms.empty(), folder.string(),
                  ": expected objects.json of `sim room`, in it or in its folders");
    std::sort(rooms.begin(), rooms.end());
    for (const fs::path& room : rooms) ReadRoom(room, use);
  }
  ATHANOR_CHECK(!views_.empty(), "labelled worlds: expected pictures, found none");
  for (auto* list : {&colors_, &materials_, &sizes_}) std::sort(list->begin(), list->end());
  std::sort(patterns_.begin(), patterns_.end());  // plain, "", comes first
}

void LabelledWorlds::ReadRoom(const fs::path& folder, Use use) {
  const fs::path objects_path = folder / "objects.json", classes_path = folder / "classes.json";
  const std::string classes_json = ReadFile(classes_path);
  ATHANOR_CHECK(classes_json_.empty() || classes_json == classes_json_, classes_path.string(),
                ": expected the classes of the first room; these come from another version");
  try {
    if (classes_json_.empty()) {
      classes_json_ = classes_json;
      const Json classes = ReadJson(classes_path);
      for (const Json& entry : classes.at("classes")) {
        KindWords kind;
        kind.name = entry.at("name").get<std::string>();
        kind.synonyms = entry.at("synonyms").get<std::vector<std::string>>();
        kind.category = entry.at("category").get<std::string>();
        kind.affordances = entry.at("affordances").get<std::vector<std::string>>();
        for (const Json& part : entry.at("parts")) {
          kind.parts.push_back(part.at("name").get<std::string>());
        }
        kinds_.push_back(std::move(kind));
      }
    }
    const Json json = ReadJson(objects_path);
    const int64_t seed = json.at("room").at("seed").get<int64_t>();
    const bool for_training = seed >= kFirstTrainingSeed;
    ATHANOR_CHECK(for_training == (use == Use::kTraining), objects_path.string(), ": seed ", seed,
                  for_training ? " is of a training world; scores are of seeds below "
                               : " is held out for scores; training takes seeds from ",
                  kFirstTrainingSeed, for_training ? "" : " on");
    World world;
    world.folder = folder;
    for (const Json& entry : json.at("objects")) {
      Thing thing;
      ATHANOR_CHECK(entry.at("id").get<size_t>() == world.things.size() + 1, objects_path.string(),
                    ": expected object ", world.things.size() + 1, ", found ",
                    entry.at("id").get<int64_t>());
      thing.kind = entry.at("kind").get<std::string>();
      const Json& attributes = entry.at("attributes");
      thing.color = attributes.at("color").get<std::string>();
      thing.material = attributes.at("material").get<std::string>();
      thing.pattern = attributes.at("pattern").get<std::string>();
      thing.size = attributes.at("size").get<std::string>();
      for (const Json& part : entry.at("parts")) {
        thing.parts.emplace_back(part.at("id").get<int>(), part.at("name").get<std::string>());
      }
      AddOnce(&colors_, thing.color);
      AddOnce(&materials_, thing.material);
      AddOnce(&patterns_, thing.pattern);
      AddOnce(&sizes_, thing.size);
      world.things.push_back(std::move(thing));
    }
    worlds_.push_back(std::move(world));
  } catch (const Json::exception& error) {
    throw Error(StrCat(objects_path.string(), " or classes.json beside it: ", error.what()));
  }
  for (const fs::path& path : ListFiles(folder / "instance", {".png"})) {
    views_.emplace_back(static_cast<int32_t>(worlds_.size()) - 1, path.stem().string());
  }
}

Lexicon LabelledWorlds::MakeLexicon(const WordNet* wordnet) const {
  return Lexicon(kinds_, colors_, materials_, patterns_, sizes_, wordnet);
}

void LabelledWorlds::UseLexicon(const Lexicon& lexicon) {
  std::map<PixelLabel, int32_t> numbers;
  labels_.clear();
  for (World& world : worlds_) {
    world.labels.assign(world.things.size(), {});
    for (size_t t = 0; t < world.things.size(); ++t) {
      const Thing& thing = world.things[t];
      PixelLabel label;
      label.kind = lexicon.FindKind(thing.kind);
      ATHANOR_CHECK(label.kind != kUnknown, world.folder.string(), ": the kind '", thing.kind,
                    "' is not in the lexicon");
      label.color = lexicon.FindColor(thing.color);
      label.material = lexicon.FindMaterial(thing.material);
      label.pattern = lexicon.FindPattern(thing.pattern);
      label.size = lexicon.FindSize(thing.size);
      for (const auto& [number, name] : thing.parts) {
        label.part = lexicon.FindPart(name);
        const auto [it, added] = numbers.emplace(label, static_cast<int32_t>(labels_.size()));
        if (added) labels_.push_back(label);
        world.labels[t].emplace_back(number, it->second);
      }
    }
  }
}

LabelledView LabelledWorlds::ReadView(int64_t view) const {
  const auto& [world_index, stem] = views_[view];
  const World& world = worlds_[world_index];
  const fs::path instance_path = world.folder / "instance" / (stem + ".png");
  const fs::path part_path = world.folder / "part" / (stem + ".png");
  LabelledView result;
  result.rgb = ReadImage(PicturePath(world.folder, stem), 3);
  const DepthImage instance = ReadDepthPng(instance_path), part = ReadDepthPng(part_path);
  for (const auto& [path, image] : {std::pair(&instance_path, &instance), {&part_path, &part}}) {
    ATHANOR_CHECK(image->width == result.rgb.width && image->height == result.rgb.height,
                  path->string(), ": expected ", result.rgb.width, " x ", result.rgb.height,
                  " pixels as the picture has, found ", image->width, " x ", image->height);
  }
  result.labels.resize(instance.data.size(), -1);
  for (size_t i = 0; i < instance.data.size(); ++i) {
    const uint16_t thing = instance.data[i];
    if (thing == 0) continue;
    ATHANOR_CHECK(thing <= world.labels.size(), instance_path.string(), ": pixel ", i,
                  " names object ", thing, "; objects.json has ", world.labels.size());
    for (const auto& [number, label] : world.labels[thing - 1]) {
      if (number == part.data[i]) result.labels[i] = label;
    }
  }
  return result;
}

}  // namespace athanor
