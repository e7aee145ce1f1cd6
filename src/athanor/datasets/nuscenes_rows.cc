#include "athanor/datasets/nuscenes_rows.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>
#include <set>

#include "athanor/base/error.h"
#include "athanor/base/hash.h"
#include "athanor/datasets/text_lines.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// First line of a part, with its version: a change of the format makes old parts foreign.
constexpr const char* kPartMagic = "athanor nuscenes scene 1";

bool IsToken(std::string_view text) {
  return text.size() == 32 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string QuotedJson(std::string_view text) {
  return Json(std::string(text)).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string DateOf(int64_t time_us) {
  const std::time_t seconds = time_us / 1000000 - (time_us % 1000000 < 0 ? 1 : 0);
  std::tm parts;
  char text[64];
  if (gmtime_r(&seconds, &parts) == nullptr ||
      std::strftime(text, sizeof text, "%Y-%m-%d", &parts) == 0) {
    return "1970-01-01";
  }
  return text;
}

// The rows of one scene.
class SceneRows {
 public:
  SceneRows(const Log& log, const fs::path& root)
      : log_(log), root_(root), where_("scene " + log.name) {
    Check();
    AddScene();
    AddSensors();
    AddSamples();
    AddReadings();
    AddAnnotations();
    AddTags();
  }

  std::string ToBytes() const {
    Json header = {{"name", log_.name},         {"location", log_.location},
                   {"categories", categories_}, {"attributes", attributes_},
                   {"sensors", Json::array()},  {"bytes", Json::array()}};
    for (const LogSensor& sensor : log_.sensors) {
      header["sensors"].push_back({sensor.channel, SensorKindName(sensor.kind)});
    }
    for (const std::string& table : tables_) header["bytes"].push_back(table.size());
    std::string bytes = kPartMagic;
    bytes += '\n';
    bytes += header.dump(-1, ' ', true, Json::error_handler_t::replace);
    bytes += '\n';
    for (const std::string& table : tables_) bytes += table;
    return bytes;
  }

 private:
  void Check() const {
    ATHANOR_CHECK(IsNuscenesFileName(log_.name),
                  "nuScenes writer: expected a name of letters, digits, '-', '_' and '.', found ",
                  Quoted(log_.name));
    ATHANOR_CHECK(!log_.frames.empty(), where_, ": expected at least one frame, found none");
    std::set<std::string> channels;
    for (const LogSensor& sensor : log_.sensors) {
      ATHANOR_CHECK(IsNuscenesFileName(sensor.channel), where_, ": sensor ", Quoted(sensor.channel),
                    ": expected a name of letters, digits, '-', '_' and '.'");
      ATHANOR_CHECK(channels.insert(sensor.channel).second, where_, ": two sensors are called ",
                    Quoted(sensor.channel));
      if (sensor.kind != SensorKind::kCamera) continue;
      sensor.camera.Check(StrCat(where_, ": ", sensor.channel));
      ATHANOR_CHECK(sensor.camera.IsPinhole(), where_, ": ", sensor.channel,
                    ": expected a camera without distortion: nuScenes holds rectified pictures");
    }
    for (size_t i = 1; i < log_.frames.size(); ++i) {
      ATHANOR_CHECK(log_.frames[i - 1].time_us < log_.frames[i].time_us, where_, ": frame ", i,
                    ": expected a time after that of the frame before, ",
                    log_.frames[i - 1].time_us, ", found ", log_.frames[i].time_us);
    }
    for (size_t i = 0; i < log_.readings.size(); ++i) CheckReading(i);
    for (size_t f = 0; f < log_.frames.size(); ++f) {
      const LogFrame& frame = log_.frames[f];
      ATHANOR_CHECK(frame.readings.size() == log_.sensors.size(), where_, ": frame ", f,
                    ": expected a reading or -1 for each of ", log_.sensors.size(),
                    " sensors, found ", frame.readings.size());
      for (size_t s = 0; s < frame.readings.size(); ++s) {
        const int r = frame.readings[s];
        if (r < 0) continue;
        ATHANOR_CHECK(r < static_cast<int>(log_.readings.size()) &&
                          log_.readings[r].sensor == static_cast<int>(s) &&
                          log_.readings[r].frame == static_cast<int>(f),
                      where_, ": frame ", f, ": reading ", r,
                      ": expected a reading of that sensor and frame");
      }
    }
  }

  void CheckReading(size_t i) const {
    const LogReading& reading = log_.readings[i];
    ATHANOR_CHECK(reading.sensor >= 0 && reading.sensor < static_cast<int>(log_.sensors.size()) &&
                      reading.frame >= -1 && reading.frame < static_cast<int>(log_.frames.size()),
                  where_, ": reading ", i, ": its sensor or frame is not in the log");
    if (reading.frame >= 0) {
      const auto& of_frame = log_.frames[reading.frame].readings;
      ATHANOR_CHECK(reading.sensor < static_cast<int>(of_frame.size()) &&
                        of_frame[reading.sensor] == static_cast<int>(i),
                    where_, ": reading ", i, ": frame ", reading.frame,
                    " does not name it as its own");
    }
    if (i > 0) {
      const LogReading& before = log_.readings[i - 1];
      ATHANOR_CHECK(before.sensor < reading.sensor ||
                        (before.sensor == reading.sensor && before.time_us < reading.time_us),
                    where_, ": reading ", i, ": expected readings by sensor, then time");
    }
    const fs::path path = reading.path.lexically_normal();
    ATHANOR_CHECK(!path.empty() && path.is_relative() && *path.begin() != "..", where_,
                  ": reading ", i, ": expected a path inside the data set, found ",
                  Quoted(reading.path.string()));
    std::error_code error;
    ATHANOR_CHECK(fs::is_regular_file(root_ / path, error), where_, ": reading ", i,
                  ": no such file: ", (root_ / path).string());
  }

  // The id when it can be a token, else one made from the scene's name and `what`.
  std::string Token(const std::string& id, std::string_view kind, int64_t index) const {
    return IsToken(id) ? id : NuscenesTokenOf(StrCat(log_.name, "/", kind, "/", index));
  }
  std::string SceneToken() const { return NuscenesTokenOf(log_.name + "/scene"); }
  std::string SampleToken(int64_t frame) const {
    if (frame < 0 || frame >= static_cast<int64_t>(log_.frames.size())) return "";
    return Token(log_.frames[frame].id, "sample", frame);
  }
  std::string ReadingToken(int64_t reading) const {
    return Token(log_.readings[reading].id, "sample_data", reading);
  }
  std::string InstanceToken(int64_t track) const {
    return Token(log_.tracks[track].id, "instance", track);
  }
  std::string SensorToken(int64_t sensor) const {
    return NuscenesTokenOf(StrCat(log_.name, "/calibrated_sensor/", sensor));
  }

  void Add(NuscenesTable table, const NuscenesRow& row) {
    std::string& rows = tables_[static_cast<int>(table)];
    if (!rows.empty()) rows += ",\n";
    rows += row.Finish();
  }

  void AddScene() {
    const std::string log_token = NuscenesTokenOf(log_.name + "/log");
    Add(NuscenesTable::kScene, NuscenesRow(where_, SceneToken())
                                   .Text("log_token", log_token)
                                   .Integer("nbr_samples", static_cast<int64_t>(log_.frames.size()))
                                   .Text("first_sample_token", SampleToken(0))
                                   .Text("last_sample_token", SampleToken(log_.frames.size() - 1))
                                   .Text("name", log_.name)
                                   .Text("description", log_.description));
    Add(NuscenesTable::kLog, NuscenesRow(where_, log_token)
                                 .Text("logfile", log_.name)
                                 .Text("vehicle", log_.vehicle)
                                 .Text("date_captured", DateOf(log_.frames[0].time_us))
                                 .Text("location", log_.location));
  }

  void AddSensors() {
    for (size_t i = 0; i < log_.sensors.size(); ++i) {
      const LogSensor& sensor = log_.sensors[i];
      NuscenesRow row(where_ + ": " + sensor.channel, SensorToken(i));
      row.Text("sensor_token", NuscenesTokenOf("sensor/" + sensor.channel))
          .Pose(sensor.ego_from_sensor);
      if (sensor.kind == SensorKind::kCamera) {
        row.Intrinsics(sensor.camera);
      } else {
        row.Raw("camera_intrinsic", "[]");
      }
      Add(NuscenesTable::kCalibratedSensor, row);
    }
  }

  void AddSamples() {
    for (size_t i = 0; i < log_.frames.size(); ++i) {
      Add(NuscenesTable::kSample, NuscenesRow(where_, SampleToken(i))
                                      .Integer("timestamp", log_.frames[i].time_us)
                                      .Text("prev", SampleToken(static_cast<int64_t>(i) - 1))
                                      .Text("next", SampleToken(i + 1))
                                      .Text("scene_token", SceneToken()));
    }
  }

  // Of a reading between frames: the frame that follows, or the last.
  int64_t FrameOf(const LogReading& reading) const {
    if (reading.frame >= 0) return reading.frame;
    const auto next =
        std::lower_bound(log_.frames.begin(), log_.frames.end(), reading.time_us,
                         [](const LogFrame& frame, int64_t t) { return frame.time_us < t; });
    return std::min<int64_t>(next - log_.frames.begin(), log_.frames.size() - 1);
  }

  void AddReadings() {
    const auto of_sensor = [&](int64_t i, int sensor) -> std::string {
      if (i < 0 || i >= static_cast<int64_t>(log_.readings.size())) return "";
      return log_.readings[i].sensor == sensor ? ReadingToken(i) : "";
    };
    for (size_t i = 0; i < log_.readings.size(); ++i) {
      const LogReading& reading = log_.readings[i];
      const LogSensor& sensor = log_.sensors[reading.sensor];
      const bool is_camera = sensor.kind == SensorKind::kCamera;
      const std::string token = ReadingToken(i);
      const std::string where = StrCat(where_, ": reading ", i);
      Add(NuscenesTable::kEgoPose, NuscenesRow(where, token)
                                       .Integer("timestamp", reading.time_us)
                                       .Pose(reading.world_from_ego));
      const std::string extension = reading.path.extension().string();
      Add(NuscenesTable::kSampleData,
          NuscenesRow(where, token)
              .Text("sample_token", SampleToken(FrameOf(reading)))
              .Text("ego_pose_token", token)
              .Text("calibrated_sensor_token", SensorToken(reading.sensor))
              .Integer("timestamp", reading.time_us)
              .Text("fileformat",
                    is_camera && extension.size() > 1 ? extension.substr(1) : std::string("pcd"))
              .Bool("is_key_frame", reading.frame >= 0)
              .Integer("height", is_camera ? sensor.camera.height_px : 0)
              .Integer("width", is_camera ? sensor.camera.width_px : 0)
              .Text("filename", reading.path.lexically_normal().generic_string())
              .Text("prev", of_sensor(static_cast<int64_t>(i) - 1, reading.sensor))
              .Text("next", of_sensor(i + 1, reading.sensor)));
    }
  }

  void AddAnnotations() {
    const size_t tracks = log_.tracks.size();
    // Tokens of the boxes of each track, in order of time.
    std::vector<std::vector<std::string>> tokens(tracks);
    std::vector<int> last_frame(tracks, -1);
    for (size_t f = 0; f < log_.frames.size(); ++f) {
      for (const LogBox& box : log_.frames[f].boxes) {
        ATHANOR_CHECK(box.track >= 0 && box.track < static_cast<int>(tracks), where_, ": frame ", f,
                      ": box of track ", box.track, ", which the log does not have");
        ATHANOR_CHECK(last_frame[box.track] != static_cast<int>(f), where_, ": frame ", f,
                      ": two boxes are of track ", box.track);
        last_frame[box.track] = static_cast<int>(f);
        tokens[box.track].push_back(
            Token(box.id, StrCat("sample_annotation/", box.track), static_cast<int64_t>(f)));
      }
    }
    std::vector<bool> tagged(tracks, false);
    for (const LogTag& tag : log_.tags) {
      ATHANOR_CHECK(tag.track >= -1 && tag.track < static_cast<int>(tracks), where_, ": tag ",
                    Quoted(tag.name), " is of track ", tag.track, ", which the log does not have");
      if (tag.track >= 0) tagged[tag.track] = true;
    }
    for (size_t t = 0; t < tracks; ++t) {
      if (tokens[t].empty() && !tagged[t]) continue;
      const std::string& category = log_.tracks[t].category;
      ATHANOR_CHECK(!category.empty(), where_, ": track ", t, ": expected a category");
      categories_.insert(category);
      Add(NuscenesTable::kInstance,
          NuscenesRow(where_, InstanceToken(t))
              .Text("category_token", NuscenesTokenOf("category/" + category))
              .Integer("nbr_annotations", static_cast<int64_t>(tokens[t].size()))
              .Text("first_annotation_token", tokens[t].empty() ? "" : tokens[t].front())
              .Text("last_annotation_token", tokens[t].empty() ? "" : tokens[t].back()));
    }
    std::vector<size_t> seen(tracks, 0);
    for (size_t f = 0; f < log_.frames.size(); ++f) {
      for (const LogBox& box : log_.frames[f].boxes) AddBox(f, box, tokens[box.track], seen);
    }
  }

  void AddBox(size_t frame, const LogBox& box, const std::vector<std::string>& tokens,
              std::vector<size_t>& seen) {
    const size_t k = seen[box.track]++;
    const std::string where = StrCat(where_, ": frame ", frame, ": box of track ", box.track);
    ATHANOR_CHECK((box.box.size_m.array() > 0).all(), where, ": expected a size above 0, found ",
                  box.box.size_m.transpose());
    ATHANOR_CHECK(box.visibility >= 0 && box.visibility <= 4, where,
                  ": expected a visibility of 0 to 4, found ", box.visibility);
    std::string attributes = "[";
    for (const std::string& attribute : box.attributes) {
      attributes_.insert(attribute);
      if (attributes.size() > 1) attributes += ", ";
      attributes += QuotedJson(NuscenesTokenOf("attribute/" + attribute));
    }
    const Eigen::Vector3d& size = box.box.size_m;
    Add(NuscenesTable::kSampleAnnotation,
        NuscenesRow(where, tokens[k])
            .Text("sample_token", SampleToken(frame))
            .Text("instance_token", InstanceToken(box.track))
            .Text("visibility_token", box.visibility == 0 ? "" : std::to_string(box.visibility))
            .Raw("attribute_tokens", attributes + "]")
            .Vector("translation", box.box.frame_from_box.translation)
            .Vector("size", {size.y(), size.x(), size.z()})  // width, length, height
            .Rotation(box.box.frame_from_box.rotation)
            .Text("prev", k > 0 ? tokens[k - 1] : "")
            .Text("next", k + 1 < tokens.size() ? tokens[k + 1] : "")
            .Integer("num_lidar_pts", box.num_lidar_points)
            .Integer("num_radar_pts", box.num_radar_points));
  }

  void AddTags() {
    for (size_t i = 0; i < log_.tags.size(); ++i) {
      const LogTag& tag = log_.tags[i];
      Add(NuscenesTable::kScenarioTag,
          NuscenesRow(where_, NuscenesTokenOf(StrCat(log_.name, "/scenario_tag/", i)))
              .Text("scene_token", SceneToken())
              .Text("instance_token", tag.track < 0 ? "" : InstanceToken(tag.track))
              .Text("name", tag.name)
              .Integer("begin_timestamp", tag.begin_us)
              .Integer("end_timestamp", tag.end_us));
    }
  }

  const Log& log_;
  const fs::path& root_;
  std::string where_;
  std::array<std::string, kNumNuscenesTables> tables_;
  std::set<std::string> categories_, attributes_;
};

}  // namespace

std::string NuscenesTokenOf(std::string_view name) {
  return HexDigits(HashBytes(name, 1)) + HexDigits(HashBytes(name, 2));
}

bool IsNuscenesFileName(std::string_view name) {
  return !name.empty() && name[0] != '.' && name.size() <= 200 &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == '+';
         });
}

NuscenesRow& NuscenesRow::Text(const char* key, std::string_view value) {
  return Raw(key, QuotedJson(value));
}

NuscenesRow& NuscenesRow::Vector(const char* key, const Eigen::Vector3d& v) {
  return Raw(key, List(key, {v.x(), v.y(), v.z()}));
}

NuscenesRow& NuscenesRow::Rotation(const Eigen::Quaterniond& q) {
  ATHANOR_CHECK(std::abs(q.norm() - 1) < 1e-6, where_,
                ": rotation: expected a quaternion of length 1, found length ", q.norm());
  return Raw("rotation", List("rotation", {q.w(), q.x(), q.y(), q.z()}));
}

NuscenesRow& NuscenesRow::Pose(const Rigid3& pose) {
  return Vector("translation", pose.translation).Rotation(pose.rotation);
}

NuscenesRow& NuscenesRow::Intrinsics(const Camera& camera) {
  constexpr const char* kKey = "camera_intrinsic";
  return Raw(kKey, StrCat("[", List(kKey, {camera.fx(), 0, camera.cx()}), ", ",
                          List(kKey, {0, camera.fy(), camera.cy()}), ", [0.0, 0.0, 1.0]]"));
}

NuscenesRow& NuscenesRow::Raw(const char* key, std::string_view json) {
  text_ += text_.empty() ? "{\"" : ", \"";
  text_ += key;
  text_ += "\": ";
  text_ += json;
  return *this;
}

std::string NuscenesRow::List(const char* key, std::initializer_list<double> values) const {
  std::string text = "[";
  for (const double value : values) {
    ATHANOR_CHECK(std::isfinite(value), where_, ": ", key, ": expected finite numbers, found ",
                  value);
    char digits[32];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    if (text.size() > 1) text += ", ";
    const std::string_view number(digits, static_cast<size_t>(end - digits));
    text += number;
    // Programs that tell integers from reals by the point should see a real.
    if (number.find_first_of(".e") == std::string_view::npos) text += ".0";
  }
  return text + "]";
}

std::string FormatNuscenesPart(const Log& log, const fs::path& root) {
  return SceneRows(log, root).ToBytes();
}

NuscenesPart ParseNuscenesPart(std::string_view bytes, const std::string& name) {
  TextLines lines(bytes, name);
  ATHANOR_CHECK(lines.Next() && lines.rest() == kPartMagic, name,
                ": expected the rows of a scene as this version writes them (", kPartMagic, ")");
  NuscenesPart part;
  ATHANOR_CHECK(lines.Next(), name, ": it ends before its header");
  part.header = Json::parse(lines.rest(), nullptr, /*allow_exceptions=*/false);
  const size_t header_end = bytes.find('\n', bytes.find('\n') + 1);
  size_t position = header_end == std::string_view::npos ? bytes.size() : header_end + 1;
  bool good = part.header.is_object() && part.header.contains("bytes") &&
              part.header["bytes"].is_array() && part.header["bytes"].size() == kNumNuscenesTables;
  for (int i = 0; good && i < kNumNuscenesTables; ++i) {
    const Json& size = part.header["bytes"][i];
    good = size.is_number_unsigned() && size.get<uint64_t>() <= bytes.size() - position;
    if (!good) break;
    part.tables[i] = bytes.substr(position, size.get<uint64_t>());
    position += part.tables[i].size();
  }
  ATHANOR_CHECK(good && position == bytes.size(), name,
                ": damaged: its tables are not as long as its header says");
  return part;
}

}  // namespace athanor
