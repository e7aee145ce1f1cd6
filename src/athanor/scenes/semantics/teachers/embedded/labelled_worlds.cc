#include "athanor/scenes/semantics/teachers/embedded/labelled_worlds.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/hash.h"

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

LabelledWorlds::LabelledWorlds(const std::vector<fs::path>& folders, Use use,
                               std::map<std::string, std::string> calls)
    : calls_(std::move(calls)) {
  patterns_ = {""};
  for (const fs::path& folder : folders) {
    ATHANOR_CHECK(fs::is_directory(folder), folder.string(),
                  ": expected a folder of `sim room` or `sim street`");
    if (fs::exists(folder / "street.toml")) {
      ReadStreets(folder, use);
      continue;
    }
    if (fs::exists(folder / "objects.json")) {
      ReadRoom(folder, use);
      continue;
    }
    std::vector<fs::path> rooms;
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (fs::exists(entry.path() / "objects.json")) rooms.push_back(entry.path());
    }
    ATHANOR_CHECK(!rooms.empty(), folder.string(),
                  ": expected objects.json of `sim room`, in it or in its folders, or street.toml "
                  "of `sim street`");
    std::sort(rooms.begin(), rooms.end());
    for (const fs::path& room : rooms) ReadRoom(room, use);
  }
  ATHANOR_CHECK(!views_.empty(), "labelled worlds: expected pictures, found none");
  for (const auto& [kind, name] : calls_) {
    ATHANOR_CHECK(called_.contains(kind), "labelled worlds: there is no kind '", kind,
                  "' to call otherwise");
  }
  for (auto* list : {&colors_, &materials_, &sizes_}) std::sort(list->begin(), list->end());
  std::sort(patterns_.begin(), patterns_.end());  // plain, "", comes first
}

std::string LabelledWorlds::Sort() const {
  std::string sort;
  for (const auto& [name, text] : classes_read_) {
    sort += StrCat(sort.empty() ? "" : " and ", name, "s");
  }
  return sort;
}

std::string LabelledWorlds::Fingerprint() const {
  uint64_t hash = 0;
  for (const auto& [name, text] : classes_read_) hash = HashBytes(text, hash);
  for (const World& world : worlds_) hash = HashBytes(ReadFile(world.list), hash);
  for (const View& view : views_) hash = HashBytes(view.picture.filename().string(), hash);
  return HexDigits(hash);
}

void LabelledWorlds::ReadRoom(const fs::path& folder, Use use) {
  ReadClasses(folder / "classes.json");
  ReadWorld(folder / "objects.json", "room", use);
  for (const fs::path& path : ListFiles(folder / "instance", {".png"})) {
    views_.push_back({static_cast<int32_t>(worlds_.size()) - 1,
                      PicturePath(folder, path.stem().string()), path,
                      folder / "part" / path.filename()});
  }
}

void LabelledWorlds::ReadStreets(const fs::path& folder, Use use) {
  const fs::path truth = folder / "truth";
  ATHANOR_CHECK(fs::is_directory(truth), folder.string(),
                ": expected truth/, which `sim street --truth` writes, found none");
  ReadClasses(truth / "classes.json");
  std::map<std::string, int32_t> scenes;
  for (const fs::path& path : ListFiles(truth, {".json"})) {
    if (path.filename() == "classes.json") continue;
    ReadWorld(path, "street", use);
    scenes[path.stem().string()] = static_cast<int32_t>(worlds_.size()) - 1;
  }
  std::vector<fs::path> channels;
  for (const auto& entry : fs::directory_iterator(truth)) {
    if (entry.is_directory()) channels.push_back(entry.path());
  }
  std::sort(channels.begin(), channels.end());
  constexpr std::string_view kInstance = ".instance";
  for (const fs::path& channel : channels) {
    for (const fs::path& path : ListFiles(channel, {".png"})) {
      const std::string stem = path.stem().string();
      if (!stem.ends_with(kInstance)) continue;
      const std::string name = stem.substr(0, stem.size() - kInstance.size());
      // NAME is SCENE__CHANNEL__TIME, as in nuScenes.
      const auto scene = scenes.find(name.substr(0, name.find("__")));
      ATHANOR_CHECK(scene != scenes.end(), path.string(), ": expected the scene's list in ",
                    truth.string(), ", found none");
      views_.push_back({scene->second, folder / "samples" / channel.filename() / (name + ".jpg"),
                        path, channel / (name + ".part.png")});
    }
  }
}

KindWords* LabelledWorlds::KindNamed(const std::string& name) {
  for (KindWords& kind : kinds_) {
    if (kind.name == name) return &kind;
  }
  return nullptr;
}

std::string LabelledWorlds::CallOf(const std::string& kind) const {
  const auto call = calls_.find(kind);
  return call == calls_.end() ? kind : call->second;
}

// What one sort of worlds calls its kinds: the same for all worlds of the sort.
void LabelledWorlds::ReadClasses(const fs::path& path) {
  const std::string sort = path.parent_path().filename() == "truth" ? "street" : "room";
  const std::string text = ReadFile(path);
  const auto [known, added] = classes_read_.emplace(sort, text);
  ATHANOR_CHECK(known->second == text, path.string(), ": expected the classes of the first ", sort,
                "; these come from another version");
  if (!added) return;
  try {
    const Json classes = ReadJson(path);
    for (const Json& entry : classes.at("classes")) {
      KindWords kind;
      kind.name = entry.at("name").get<std::string>();
      kind.synonyms = entry.at("synonyms").get<std::vector<std::string>>();
      kind.category = entry.at("category").get<std::string>();
      kind.affordances = entry.at("affordances").get<std::vector<std::string>>();
      for (const Json& part : entry.value("parts", Json::array())) {
        kind.parts.push_back(part.at("name").get<std::string>());
      }
      if (calls_.contains(kind.name)) {
        called_.insert(kind.name);
        kind.name = CallOf(kind.name);
        kind.synonyms.clear();
      }
      if (!kind.name.empty() && KindNamed(kind.name) == nullptr) kinds_.push_back(std::move(kind));
    }
  } catch (const Json::exception& error) {
    throw Error(StrCat(path.string(), ": ", error.what()));
  }
}

// `about`: the key of what the list says of the whole world.
void LabelledWorlds::ReadWorld(const fs::path& list, const char* about, Use use) {
  try {
    const Json json = ReadJson(list);
    const int64_t seed = json.at(about).at("seed").get<int64_t>();
    const bool for_training = seed >= kFirstTrainingSeed;
    ATHANOR_CHECK(for_training == (use == Use::kTraining), list.string(), ": seed ", seed,
                  for_training ? " is of a training world; scores are of seeds below "
                               : " is held out for scores; training takes seeds from ",
                  kFirstTrainingSeed, for_training ? "" : " on");
    World world;
    world.list = list;
    for (const Json& entry : json.at("objects")) {
      Thing thing;
      const int id = entry.at("id").get<int>();
      ATHANOR_CHECK(world.thing_of.emplace(id, world.things.size()).second, list.string(),
                    ": object ", id, " comes twice");
      thing.kind = CallOf(entry.at("kind").get<std::string>());
      const Json attributes = entry.value("attributes", Json::object());
      thing.color = attributes.value("color", "");
      thing.material = attributes.value("material", "");
      thing.size = attributes.value("size", "");
      if (attributes.contains("pattern")) {
        thing.pattern = attributes["pattern"].get<std::string>();
        AddOnce(&patterns_, *thing.pattern);
      }
      AddOnce(&colors_, thing.color);
      AddOnce(&materials_, thing.material);
      AddOnce(&sizes_, thing.size);
      for (const Json& part : entry.at("parts")) {
        Part& read = thing.parts.emplace_back();
        read = {part.at("id").get<int>(), part.at("name").get<std::string>(),
                part.contains("kind") ? CallOf(part["kind"].get<std::string>()) : thing.kind};
        if (read.kind.empty()) {
          thing.parts.pop_back();
          continue;
        }
        KindWords* kind = KindNamed(read.kind);
        ATHANOR_CHECK(kind != nullptr, list.string(), ": object ", id, ": the kind '", read.kind,
                      "' is not in classes.json");
        // A road's part "road" says no more than the kind.
        if (read.name == kind->name) read.name.clear();
        AddOnce(&kind->parts, read.name);
      }
      world.things.push_back(std::move(thing));
    }
    worlds_.push_back(std::move(world));
  } catch (const Json::exception& error) {
    throw Error(StrCat(list.string(), ": ", error.what()));
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
      for (const Part& part : thing.parts) {
        PixelLabel label;
        label.kind = lexicon.FindKind(part.kind);
        ATHANOR_CHECK(label.kind != kUnknown, world.list.string(), ": the kind '", part.kind,
                      "' is not in the lexicon");
        label.part = lexicon.FindPart(part.name);
        if (part.kind == thing.kind) {
          label.color = lexicon.FindColor(thing.color);
          label.material = lexicon.FindMaterial(thing.material);
          if (thing.pattern) label.pattern = lexicon.FindPattern(*thing.pattern);
          label.size = lexicon.FindSize(thing.size);
        }
        const auto [it, added] = numbers.emplace(label, static_cast<int32_t>(labels_.size()));
        if (added) labels_.push_back(label);
        world.labels[t].emplace_back(part.number, it->second);
      }
    }
  }
}

LabelledView LabelledWorlds::ReadView(int64_t view) const {
  const auto& [world_index, picture_path, instance_path, part_path] = views_[view];
  const World& world = worlds_[world_index];
  LabelledView result;
  result.rgb = ReadImage(picture_path, 3);
  const DepthImage instance = ReadDepthPng(instance_path), part = ReadDepthPng(part_path);
  for (const auto& [path, image] : {std::pair(&instance_path, &instance), {&part_path, &part}}) {
    ATHANOR_CHECK(image->width == result.rgb.width && image->height == result.rgb.height,
                  path->string(), ": expected ", result.rgb.width, " x ", result.rgb.height,
                  " pixels as the picture has, found ", image->width, " x ", image->height);
  }
  result.labels.resize(instance.data.size(), -1);
  for (size_t i = 0; i < instance.data.size(); ++i) {
    const auto thing = world.thing_of.find(instance.data[i]);
    if (thing == world.thing_of.end()) {
      ATHANOR_CHECK(instance.data[i] == 0, instance_path.string(), ": pixel ", i, " names object ",
                    instance.data[i], ", which is not in ", world.list.string());
      continue;
    }
    for (const auto& [number, label] : world.labels[thing->second]) {
      if (number == part.data[i]) result.labels[i] = label;
    }
  }
  return result;
}

}  // namespace athanor
