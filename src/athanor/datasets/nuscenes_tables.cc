#include "athanor/datasets/nuscenes_tables.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "athanor/base/error.h"
#include "athanor/base/random.h"
#include "athanor/datasets/text_lines.h"

namespace athanor {
namespace {

constexpr uint64_t kOtherText = ~uint64_t{0};
constexpr int kMaxSidePx = 1 << 20;

std::optional<uint64_t> HexValue(std::string_view digits) {
  uint64_t value = 0;
  for (const char c : digits) {
    int digit;
    if (c >= '0' && c <= '9') {
      digit = c - '0';
    } else if (c >= 'a' && c <= 'f') {
      digit = c - 'a' + 10;
    } else {
      return std::nullopt;
    }
    value = value << 4 | static_cast<uint64_t>(digit);
  }
  return value;
}

// Tokens of prev and next, kept until all rows of a table are there.
struct Links {
  std::vector<Token> prev, next;
};

class TablesReader {
 public:
  TablesReader(const std::string& where, const TableOpener& open, const FaultSink& faults)
      : where_(where), open_(open), faults_(faults) {}

  NuscenesTables Read() {
    ReadSensors();
    ReadPoses();
    ReadScenes();
    ReadSamples();
    ReadSampleData();
    ReadInstances();
    ReadAnnotations();
    ReadTags();
    return std::move(t_);
  }

 private:
  std::string NameOf(const std::string& table) const { return where_ + "/" + table + ".json"; }

  // Calls `add` for each row; the first key is always the token.
  template <typename Add>
  void ReadTable(const std::string& table, const std::vector<std::string>& keys, Add add,
                 bool required = true) {
    const std::unique_ptr<std::istream> stream = open_(table);
    if (stream == nullptr) {
      ATHANOR_CHECK(!required, NameOf(table), ": no such file, and nuScenes cannot be without it");
      return;
    }
    ParseJsonTable(*stream, NameOf(table), keys, add, faults_);
  }

  // Runs a check whose Error is a fault.
  template <typename Check>
  void Guard(Check check) {
    try {
      check();
    } catch (const Error& error) {
      if (!faults_) throw;
      faults_(error.what());
    }
  }

  void AddToken(const JsonRow& row, TokenIndex& index) {
    if (index.size() == std::numeric_limits<int32_t>::max()) row.Fail("too many rows");
    if (index.Add(t_.pool.Of(row.Text(0))) < 0) {
      row.Fail("expected a token of its own, found that of an earlier record");
    }
  }

  int Reference(const JsonRow& row, int key, const char* key_name, const TokenIndex& index,
                const char* table) {
    const std::string& text = row.Text(key);
    const int found = index.Find(t_.pool.Of(text));
    if (found < 0) {
      row.Fail(StrCat(key_name, ": no ", table, " has the token ", Quoted(text)));
    }
    return found;
  }

  void ReadSensors() {
    ReadTable("sensor", {"token", "channel", "modality"}, [&](const JsonRow& row) {
      NuscenesTables::Sensor sensor;
      sensor.channel = row.Text(1);
      const std::string& modality = row.Text(2);
      if (modality == "lidar") {
        sensor.kind = SensorKind::kLidar;
      } else if (modality == "radar") {
        sensor.kind = SensorKind::kRadar;
      } else if (modality != "camera") {
        row.Fail(StrCat("modality: expected camera, lidar or radar, found ", Quoted(modality)));
      }
      AddToken(row, t_.sensor_index);
      t_.sensors.push_back(std::move(sensor));
    });
    ReadTable("calibrated_sensor",
              {"token", "sensor_token", "translation", "rotation", "camera_intrinsic"},
              [&](const JsonRow& row) {
                NuscenesTables::CalibratedSensor calibrated;
                calibrated.sensor = Reference(row, 1, "sensor_token", t_.sensor_index, "sensor");
                calibrated.ego_from_sensor = {row.Rotation(3), row.Vector(2)};
                if (t_.sensors[calibrated.sensor].kind == SensorKind::kCamera) {
                  const std::vector<double>& k = row.Numbers(4);
                  if (k.size() != 9 || !(k[0] > 0 && k[4] > 0) || k[1] != 0 || k[3] != 0 ||
                      k[6] != 0 || k[7] != 0 || k[8] != 1) {
                    row.Fail("camera_intrinsic: expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]");
                  }
                  calibrated.fx = k[0];
                  calibrated.cx = k[2];
                  calibrated.fy = k[4];
                  calibrated.cy = k[5];
                }
                AddToken(row, t_.calibrated_index);
                t_.calibrated_sensors.push_back(calibrated);
              });
  }

  void ReadPoses() {
    ReadTable("ego_pose", {"token", "translation", "rotation"}, [&](const JsonRow& row) {
      const Eigen::Quaterniond q = row.Rotation(2);
      const Eigen::Vector3d v = row.Vector(1);
      AddToken(row, t_.pose_index);
      t_.poses.push_back({{q.w(), q.x(), q.y(), q.z()}, {v.x(), v.y(), v.z()}});
    });
  }

  void ReadScenes() {
    ReadTable("log", {"token", "vehicle", "location"}, [&](const JsonRow& row) {
      NuscenesTables::LogRow log{row.OptionalText(1), row.OptionalText(2)};
      AddToken(row, t_.log_index);
      t_.logs.push_back(std::move(log));
    });
    std::unordered_map<std::string, int> names;
    ReadTable("scene", {"token", "name", "description", "log_token"}, [&](const JsonRow& row) {
      NuscenesTables::Scene scene{row.Text(1), row.OptionalText(2),
                                  Reference(row, 3, "log_token", t_.log_index, "log")};
      if (!names.emplace(scene.name, 0).second) {
        row.Fail(StrCat("name: two scenes are called ", Quoted(scene.name)));
      }
      AddToken(row, t_.scene_index);
      t_.scenes.push_back(std::move(scene));
    });
  }

  void ReadSamples() {
    Links links;
    ReadTable("sample", {"token", "timestamp", "scene_token", "prev", "next"},
              [&](const JsonRow& row) {
                NuscenesTables::Sample sample{
                    row.Integer(1), Reference(row, 2, "scene_token", t_.scene_index, "scene")};
                const Token prev = t_.pool.Of(row.OptionalText(3));
                const Token next = t_.pool.Of(row.OptionalText(4));
                AddToken(row, t_.sample_index);
                t_.samples.push_back(sample);
                links.prev.push_back(prev);
                links.next.push_back(next);
              });
    CheckLinks(
        "sample", t_.sample_index, links, [&](int row) { return t_.samples[row].time_us; },
        [&](int a, int b) { return t_.samples[a].scene == t_.samples[b].scene; }, "scene",
        /*strictly=*/true);
  }

  void ReadSampleData() {
    Links links;
    ReadTable("sample_data",
              {"token", "sample_token", "ego_pose_token", "calibrated_sensor_token", "filename",
               "timestamp", "is_key_frame", "width", "height", "prev", "next"},
              [&](const JsonRow& row) {
                NuscenesTables::SampleData data;
                data.sample = Reference(row, 1, "sample_token", t_.sample_index, "sample");
                data.pose = Reference(row, 2, "ego_pose_token", t_.pose_index, "ego_pose");
                data.calibrated_sensor = Reference(row, 3, "calibrated_sensor_token",
                                                   t_.calibrated_index, "calibrated_sensor");
                const std::string& filename = row.Text(4);
                if (filename.find('\0') != std::string::npos) {
                  row.Fail("filename: expected a path, found a NUL byte");
                }
                data.time_us = row.Integer(5);
                data.is_key_frame = row.Bool(6);
                const int sensor = t_.calibrated_sensors[data.calibrated_sensor].sensor;
                if (t_.sensors[sensor].kind == SensorKind::kCamera) {
                  data.width_px = Side(row, 7);
                  data.height_px = Side(row, 8);
                }
                const Token prev = t_.pool.Of(row.OptionalText(9));
                const Token next = t_.pool.Of(row.OptionalText(10));
                AddToken(row, t_.data_index);
                data.filename = t_.filenames.size();
                t_.filenames.append(filename.c_str(), filename.size() + 1);
                t_.data.push_back(data);
                links.prev.push_back(prev);
                links.next.push_back(next);
              });
    t_.filenames.shrink_to_fit();
    CheckLinks(
        "sample_data", t_.data_index, links, [&](int row) { return t_.data[row].time_us; },
        [&](int a, int b) { return t_.data[a].calibrated_sensor == t_.data[b].calibrated_sensor; },
        "sensor", /*strictly=*/false);
  }

  static int Side(const JsonRow& row, int key) {
    const int64_t side = row.Integer(key);
    if (side < 1 || side > kMaxSidePx) {
      row.Fail(StrCat(key == 7 ? "width" : "height", ": expected 1 to ", kMaxSidePx,
                      " pixels, found ", side));
    }
    return static_cast<int>(side);
  }

  void ReadInstances() {
    ReadTable("category", {"token", "name"}, [&](const JsonRow& row) {
      std::string name = row.Text(1);
      AddToken(row, t_.category_index);
      t_.categories.push_back(std::move(name));
    });
    ReadTable(
        "attribute", {"token", "name"},
        [&](const JsonRow& row) {
          std::string name = row.Text(1);
          AddToken(row, t_.attribute_index);
          t_.attributes.push_back(std::move(name));
        },
        /*required=*/false);
    ReadTable("instance", {"token", "category_token", "nbr_annotations"}, [&](const JsonRow& row) {
      const NuscenesTables::Instance instance{
          Reference(row, 1, "category_token", t_.category_index, "category"), row.Integer(2)};
      AddToken(row, t_.instance_index);
      t_.instances.push_back(instance);
    });
    // The table of visibilities says what everyone knows: its tokens are "1" to "4".
  }

  void ReadAnnotations() {
    Links links;
    ReadTable(
        "sample_annotation",
        {"token", "sample_token", "instance_token", "attribute_tokens", "visibility_token",
         "translation", "size", "rotation", "num_lidar_pts", "num_radar_pts", "prev", "next"},
        [&](const JsonRow& row) {
          NuscenesTables::Annotation box;
          box.sample = Reference(row, 1, "sample_token", t_.sample_index, "sample");
          box.instance = Reference(row, 2, "instance_token", t_.instance_index, "instance");
          const std::vector<std::string>& attributes = row.Texts(3);
          if (attributes.size() > 255) row.Fail("attribute_tokens: expected at most 255");
          std::vector<int> attribute_rows;
          for (const std::string& attribute : attributes) {
            attribute_rows.push_back(t_.attribute_index.Find(t_.pool.Of(attribute)));
            if (attribute_rows.back() < 0) {
              row.Fail(StrCat("attribute_tokens: no attribute has the token ", Quoted(attribute)));
            }
          }
          box.visibility = Visibility(row, row.OptionalText(4));
          const Eigen::Vector3d centre = row.Vector(5), size = row.Vector(6);
          if (!(size.array() > 0).all()) {
            row.Fail(StrCat("size: expected width, length and height above 0, found ", size.x(),
                            ", ", size.y(), ", ", size.z()));
          }
          const Eigen::Quaterniond q = row.Rotation(7);
          for (int i = 0; i < 3; ++i) {
            box.translation[i] = centre[i];
            box.size[i] = size[i];
          }
          box.rotation[0] = q.w();
          box.rotation[1] = q.x();
          box.rotation[2] = q.y();
          box.rotation[3] = q.z();
          box.num_lidar_points = PointCount(row, 8);
          box.num_radar_points = PointCount(row, 9);
          const Token prev = t_.pool.Of(row.OptionalText(10));
          const Token next = t_.pool.Of(row.OptionalText(11));
          AddToken(row, t_.annotation_index);
          box.attributes_begin = static_cast<uint32_t>(t_.attribute_lists.size());
          box.num_attributes = static_cast<uint8_t>(attribute_rows.size());
          t_.attribute_lists.insert(t_.attribute_lists.end(), attribute_rows.begin(),
                                    attribute_rows.end());
          t_.annotations.push_back(box);
          links.prev.push_back(prev);
          links.next.push_back(next);
        });
    CheckLinks(
        "sample_annotation", t_.annotation_index, links,
        [&](int row) { return t_.samples[t_.annotations[row].sample].time_us; },
        [&](int a, int b) { return t_.annotations[a].instance == t_.annotations[b].instance; },
        "instance", /*strictly=*/true);
    for (size_t i = 0; i < t_.annotations.size(); ++i) {
      t_.annotations[i].prev = t_.annotation_index.Find(links.prev[i]);
      t_.annotations[i].next = t_.annotation_index.Find(links.next[i]);
    }
    // Matters to nobody who reads: a fault for those who look for faults.
    if (!faults_) return;
    std::vector<int64_t> counts(t_.instances.size(), 0);
    for (const NuscenesTables::Annotation& box : t_.annotations) ++counts[box.instance];
    for (size_t i = 0; i < counts.size(); ++i) {
      if (counts[i] == t_.instances[i].num_annotations) continue;
      faults_(StrCat(NameOf("instance"), ": ",
                     Quoted(t_.pool.TextOf(t_.instance_index.token(static_cast<int>(i)))),
                     ": nbr_annotations is ", t_.instances[i].num_annotations, ", but there are ",
                     counts[i]));
    }
  }

  static uint8_t Visibility(const JsonRow& row, const std::string& token) {
    if (token.empty()) return 0;
    if (token.size() != 1 || token[0] < '1' || token[0] > '4') {
      row.Fail(StrCat("visibility_token: expected '1' to '4' or none, found ", Quoted(token)));
    }
    return static_cast<uint8_t>(token[0] - '0');
  }

  static int PointCount(const JsonRow& row, int key) {
    const int64_t count = row.Integer(key);
    if (count < -1 || count > std::numeric_limits<int>::max()) {
      row.Fail(StrCat(key == 8 ? "num_lidar_pts" : "num_radar_pts",
                      ": expected a count of points, found ", count));
    }
    return static_cast<int>(count);
  }

  void ReadTags() {
    ReadTable(
        "scenario_tag",
        {"token", "scene_token", "instance_token", "name", "begin_timestamp", "end_timestamp"},
        [&](const JsonRow& row) {
          NuscenesTables::Tag tag;
          tag.scene = Reference(row, 1, "scene_token", t_.scene_index, "scene");
          if (!row.OptionalText(2).empty()) {
            tag.instance = Reference(row, 2, "instance_token", t_.instance_index, "instance");
          }
          tag.name = row.Text(3);
          tag.begin_us = row.Integer(4);
          tag.end_us = row.Integer(5);
          if (tag.begin_us > tag.end_us) row.Fail("expected a begin before the end");
          t_.tags.push_back(std::move(tag));
        },
        /*required=*/false);
  }

  // Neighbours must exist, name one another, belong together (`same`, of what `group` says), and go
  // forward in time, so that no chain is a ring.
  template <typename Time, typename Same>
  void CheckLinks(const char* table, const TokenIndex& index, const Links& links, Time time_of,
                  Same same, const char* group, bool strictly) {
    const Token none;
    const auto text = [&](Token token) { return Quoted(t_.pool.TextOf(token)); };
    for (int i = 0; i < index.size(); ++i) {
      Guard([&] {
        for (const bool forward : {true, false}) {
          const Token token = forward ? links.next[i] : links.prev[i];
          if (token == none) continue;
          const char* key = forward ? "next" : "prev";
          const int other = index.Find(token);
          ATHANOR_CHECK(other >= 0, NameOf(table), ": ", text(index.token(i)), ": ", key, ": no ",
                        table, " has the token ", text(token));
          const Token back = forward ? links.prev[other] : links.next[other];
          ATHANOR_CHECK(back == index.token(i), NameOf(table), ": ", text(index.token(i)), ": ",
                        key, " is ", text(token), ", which names ", text(back), " in turn");
          ATHANOR_CHECK(same(i, other), NameOf(table), ": ", text(index.token(i)), ": ", key,
                        " is of another ", group);
          const int64_t step = forward ? time_of(other) - time_of(i) : time_of(i) - time_of(other);
          ATHANOR_CHECK(strictly ? step > 0 : step >= 0, NameOf(table), ": ", text(index.token(i)),
                        ": ", key, " is ", text(token), ", which is not ",
                        forward ? "later" : "earlier", ": a ring, or times out of order");
        }
      });
    }
  }

  const std::string& where_;
  const TableOpener& open_;
  const FaultSink& faults_;
  NuscenesTables t_;
};

}  // namespace

Token TokenPool::Of(std::string_view text) {
  if (text.size() == 32) {
    const auto high = HexValue(text.substr(0, 16)), low = HexValue(text.substr(16));
    if (high && low && *high != kOtherText) return {*high, *low};
  }
  const auto [entry, added] = index_of_other_.emplace(std::string(text), others_.size());
  if (added) others_.emplace_back(text);
  return {kOtherText, entry->second};
}

std::string TokenPool::TextOf(Token token) const {
  if (token.high == kOtherText) return others_.at(token.low);
  std::string text(32, '0');
  for (int i = 0; i < 32; ++i) {
    const uint64_t word = i < 16 ? token.high : token.low;
    text[i] = "0123456789abcdef"[word >> (60 - 4 * (i % 16)) & 15];
  }
  return text;
}

size_t TokenIndex::SlotOf(Token token) const {
  const size_t mask = slots_.size() - 1;
  size_t slot = MixBits(token.high ^ MixBits(token.low)) & mask;
  while (slots_[slot] >= 0 && !(tokens_[slots_[slot]] == token)) slot = (slot + 1) & mask;
  return slot;
}

int TokenIndex::Add(Token token) {
  if (2 * (tokens_.size() + 1) > slots_.size()) {
    slots_.assign(std::max<size_t>(16, 2 * slots_.size()), -1);
    for (size_t row = 0; row < tokens_.size(); ++row) {
      slots_[SlotOf(tokens_[row])] = static_cast<int32_t>(row);
    }
  }
  const size_t slot = SlotOf(token);
  if (slots_[slot] >= 0) return -1;
  slots_[slot] = static_cast<int32_t>(tokens_.size());
  tokens_.push_back(token);
  return slots_[slot];
}

int TokenIndex::Find(Token token) const { return slots_.empty() ? -1 : slots_[SlotOf(token)]; }

NuscenesTables ReadNuscenesTables(const std::string& where, const TableOpener& open,
                                  const FaultSink& faults) {
  return TablesReader(where, open, faults).Read();
}

}  // namespace athanor
