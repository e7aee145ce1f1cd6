// Rows of nuScenes tables as JSON, and all rows of one scene as a part file, which is what
// NuscenesWriter keeps of a scene until it makes the tables. Internal to the writer; others want
// nuscenes_writer.h.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "athanor/datasets/log.h"

namespace athanor {

// Tables whose rows belong to one scene; the others are made from all scenes when they are there.
enum class NuscenesTable {
  kCalibratedSensor,
  kEgoPose,
  kInstance,
  kLog,
  kSample,
  kSampleAnnotation,
  kSampleData,
  kScenarioTag,
  kScene,
};
inline constexpr int kNumNuscenesTables = 9;
inline constexpr std::array<const char*, kNumNuscenesTables> kNuscenesTableNames = {
    "calibrated_sensor", "ego_pose",    "instance",     "log",  "sample",
    "sample_annotation", "sample_data", "scenario_tag", "scene"};

// The token of what `name` says, one for each name.
std::string NuscenesTokenOf(std::string_view name);

// True for at most 200 letters, digits, '-', '_', '.' and '+', without a dot in front.
bool IsNuscenesFileName(std::string_view name);

// One row of a table, key by key. Throws Error for numbers that are not finite.
class NuscenesRow {
 public:
  // `where` is what errors name.
  NuscenesRow(std::string_view where, std::string_view token) : where_(where) {
    Text("token", token);
  }

  NuscenesRow& Text(const char* key, std::string_view value);
  NuscenesRow& Integer(const char* key, int64_t value) { return Raw(key, std::to_string(value)); }
  NuscenesRow& Bool(const char* key, bool value) { return Raw(key, value ? "true" : "false"); }
  NuscenesRow& Vector(const char* key, const Eigen::Vector3d& v);
  NuscenesRow& Rotation(const Eigen::Quaterniond& q);
  NuscenesRow& Pose(const Rigid3& pose);
  NuscenesRow& Intrinsics(const Camera& camera);
  NuscenesRow& Raw(const char* key, std::string_view json);
  std::string Finish() const { return text_ + "}"; }

 private:
  std::string List(const char* key, std::initializer_list<double> values) const;

  std::string where_;
  std::string text_;
};

// The rows of a scene as the bytes of a part: header lines, then the rows of each table. Throws
// Error as NuscenesWriter::AddScene() says; paths of readings are relative to `root`.
std::string FormatNuscenesPart(const Log& log, const std::filesystem::path& root);

struct NuscenesPart {
  nlohmann::json header;  // name, location, categories, attributes, sensors
  std::array<std::string_view, kNumNuscenesTables> tables;  // rows, in `bytes` of the parser
};
// Throws Error for what FormatNuscenesPart() did not write.
NuscenesPart ParseNuscenesPart(std::string_view bytes, const std::string& name);

}  // namespace athanor
