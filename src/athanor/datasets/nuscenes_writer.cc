#include "athanor/datasets/nuscenes_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/datasets/nuscenes_rows.h"
#include "athanor/datasets/text_lines.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kPartExtension = ".rows";

struct NamedText {
  const char* name;
  const char* description;
};
constexpr NamedText kAttributes[] = {
    {"vehicle.moving", "Vehicle is moving."},
    {"vehicle.stopped", "Vehicle, with a driver in it, is stationary but means to move."},
    {"vehicle.parked", "Vehicle is stationary with no intent to move."},
    {"cycle.with_rider", "There is a rider on the bicycle or motorcycle."},
    {"cycle.without_rider", "There is no rider on the bicycle or motorcycle."},
    {"pedestrian.sitting_lying_down", "The person is sitting or lying down."},
    {"pedestrian.standing", "The person is standing."},
    {"pedestrian.moving", "The person is moving."}};
constexpr const char* kCategories[] = {"human.pedestrian.adult",
                                       "human.pedestrian.child",
                                       "human.pedestrian.wheelchair",
                                       "human.pedestrian.stroller",
                                       "human.pedestrian.personal_mobility",
                                       "human.pedestrian.police_officer",
                                       "human.pedestrian.construction_worker",
                                       "animal",
                                       "vehicle.car",
                                       "vehicle.motorcycle",
                                       "vehicle.bicycle",
                                       "vehicle.bus.bendy",
                                       "vehicle.bus.rigid",
                                       "vehicle.truck",
                                       "vehicle.construction",
                                       "vehicle.emergency.ambulance",
                                       "vehicle.emergency.police",
                                       "vehicle.trailer",
                                       "movable_object.barrier",
                                       "movable_object.trafficcone",
                                       "movable_object.pushable_pullable",
                                       "movable_object.debris",
                                       "static_object.bicycle_rack"};
constexpr NamedText kVisibilities[] = {
    {"v0-40", "visibility of whole object is between 0 and 40%"},
    {"v40-60", "visibility of whole object is between 40 and 60%"},
    {"v60-80", "visibility of whole object is between 60 and 80%"},
    {"v80-100", "visibility of whole object is between 80 and 100%"}};

std::string MapPath(const std::string& location) {
  return "maps/" + NuscenesTokenOf("map/" + location) + ".png";
}

// A table being written row by row.
class TableFile {
 public:
  explicit TableFile(const fs::path& path) : file_(path) { file_.Write("["); }
  void Add(std::string_view rows) {
    if (rows.empty()) return;
    file_.Write(first_ ? "\n" : ",\n");
    file_.Write(rows);
    first_ = false;
  }
  void Commit() {
    file_.Write("\n]\n");
    file_.Commit();
  }

 private:
  FileWriter file_;
  bool first_ = true;
};

// Throws when a token of `rows` was seen before.
void CheckTokens(std::string_view rows, std::string_view table,
                 std::unordered_set<std::string>& seen) {
  constexpr std::string_view kStart = "{\"token\": \"";
  for (size_t at = 0; at < rows.size();) {
    const size_t end = std::min(rows.find('\n', at), rows.size());
    const std::string token(rows.substr(at + kStart.size(), 32));
    ATHANOR_CHECK(seen.insert(token).second, table, ": two rows have the token ", Quoted(token),
                  ": ids of logs must differ between scenes");
    at = end + 1;
  }
}

}  // namespace

NuscenesWriter::NuscenesWriter(const fs::path& root, const NuscenesWriterOptions& options)
    : root_(root), tables_(root / options.version), parts_(tables_ / "scenes") {
  ATHANOR_CHECK(IsNuscenesFileName(options.version) && options.version.rfind("v1.0-", 0) == 0,
                "nuScenes version: expected v1.0-SOMETHING, found ", Quoted(options.version));
  std::error_code error;
  ATHANOR_CHECK(!fs::exists(tables_ / "scene.json", error) || fs::is_directory(parts_, error),
                tables_.string(),
                ": there are tables already that this program did not write: name another folder");
  MakeFolder(parts_);
}

fs::path NuscenesWriter::ReadingPath(const std::string& scene, const std::string& channel,
                                     int64_t time_us, bool key_frame, std::string_view extension) {
  return fs::path(key_frame ? "samples" : "sweeps") / channel /
         StrCat(scene, "__", channel, "__", time_us, extension);
}

bool NuscenesWriter::Has(const std::string& scene) const {
  std::error_code error;
  return IsNuscenesFileName(scene) && fs::is_regular_file(parts_ / (scene + kPartExtension), error);
}

void NuscenesWriter::AddScene(const Log& log) {
  const std::string rows = FormatNuscenesPart(log, root_);
  WriteFile(parts_ / (log.name + kPartExtension), rows);
}

void NuscenesWriter::SetMap(const std::string& location, const Image& mask) {
  ATHANOR_CHECK(mask.channels == 1, "map of ", Quoted(location), ": expected a grey mask, found ",
                mask.channels, " channels");
  WriteImage(root_ / MapPath(location), mask);
}

void NuscenesWriter::Finish() {
  const std::vector<fs::path> parts = ListFiles(parts_, {kPartExtension});
  ATHANOR_CHECK(!parts.empty(), tables_.string(), ": expected at least one scene, found none");
  std::error_code error;
  fs::remove(tables_ / "scene.json", error);

  // Names and kinds from all scenes: the usual ones first, in their order.
  std::vector<std::string> categories(std::begin(kCategories), std::end(kCategories));
  std::vector<std::string> attributes;
  for (const NamedText& attribute : kAttributes) attributes.push_back(attribute.name);
  std::vector<std::pair<std::string, std::string>> sensors;
  std::map<std::string, std::vector<std::string>> logs_of_location;
  const auto add_new = [](auto& list, const auto& value) {
    if (std::find(list.begin(), list.end(), value) == list.end()) list.push_back(value);
  };
  for (const fs::path& path : parts) {
    const std::string bytes = ReadFile(path);
    try {
      const Json header = ParseNuscenesPart(bytes, path.string()).header;
      for (const auto& name : header.at("categories")) add_new(categories, name.get<std::string>());
      for (const auto& name : header.at("attributes")) add_new(attributes, name.get<std::string>());
      for (const auto& sensor : header.at("sensors")) {
        add_new(sensors,
                std::pair(sensor.at(0).get<std::string>(), sensor.at(1).get<std::string>()));
      }
      const auto name = header.at("name").get<std::string>();
      logs_of_location[header.at("location").get<std::string>()].push_back(
          NuscenesTokenOf(name + "/log"));
    } catch (const Json::exception&) {
      throw Error(StrCat(path.string(), ": damaged: its header lacks a field"));
    }
  }

  const auto write = [&](const char* table, const std::vector<NuscenesRow>& rows) {
    TableFile file(tables_ / StrCat(table, ".json"));
    for (const NuscenesRow& row : rows) file.Add(row.Finish());
    file.Commit();
  };
  std::vector<NuscenesRow> rows;
  for (size_t i = 0; i < categories.size(); ++i) {
    rows.push_back(NuscenesRow("category", NuscenesTokenOf("category/" + categories[i]))
                       .Text("name", categories[i])
                       .Text("description", "")
                       .Integer("index", static_cast<int64_t>(i) + 1));  // 0 is lidarseg's noise
  }
  write("category", rows);
  rows.clear();
  for (size_t i = 0; i < attributes.size(); ++i) {
    rows.push_back(
        NuscenesRow("attribute", NuscenesTokenOf("attribute/" + attributes[i]))
            .Text("name", attributes[i])
            .Text("description", i < std::size(kAttributes) ? kAttributes[i].description : ""));
  }
  write("attribute", rows);
  rows.clear();
  for (const auto& [channel, modality] : sensors) {
    rows.push_back(NuscenesRow("sensor", NuscenesTokenOf("sensor/" + channel))
                       .Text("channel", channel)
                       .Text("modality", modality));
  }
  write("sensor", rows);
  rows.clear();
  for (size_t i = 0; i < std::size(kVisibilities); ++i) {
    rows.push_back(NuscenesRow("visibility", std::to_string(i + 1))
                       .Text("level", kVisibilities[i].name)
                       .Text("description", kVisibilities[i].description));
  }
  write("visibility", rows);
  rows.clear();
  for (const auto& [location, logs] : logs_of_location) {
    const std::string mask = MapPath(location);
    if (!fs::exists(root_ / mask, error)) WriteImage(root_ / mask, Image(64, 64, 1));
    rows.push_back(NuscenesRow("map", NuscenesTokenOf("map/" + location))
                       .Raw("log_tokens", Json(logs).dump())
                       .Text("category", "semantic_prior")
                       .Text("filename", mask));
  }
  write("map", rows);

  // Table after table, so that one is open at a time; scene.json, the last of them, opens the door.
  for (int table = 0; table < kNumNuscenesTables; ++table) {
    TableFile file(tables_ / StrCat(kNuscenesTableNames[table], ".json"));
    std::unordered_set<std::string> tokens;
    for (const fs::path& path : parts) {
      const std::string bytes = ReadFile(path);
      const NuscenesPart part = ParseNuscenesPart(bytes, path.string());
      CheckTokens(part.tables[table], kNuscenesTableNames[table], tokens);
      file.Add(part.tables[table]);
    }
    file.Commit();
  }
}

}  // namespace athanor
