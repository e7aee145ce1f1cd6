#include "athanor/datasets/nuscenes_points.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <optional>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/datasets/text_lines.h"

namespace athanor {
namespace {

constexpr size_t kFloats = 5;  // x, y, z, intensity, ring
constexpr float kMaxIntensity = 255;
constexpr float kMaxRing = 65535;

// Names what is wrong with a point, or null.
const char* WhatIsWrong(const float point[kFloats]) {
  for (int i = 0; i < 3; ++i) {
    if (!std::isfinite(point[i])) return "expected finite coordinates";
  }
  if (!(point[3] >= 0 && point[3] <= kMaxIntensity)) return "expected an intensity of 0 to 255";
  if (!(point[4] >= 0 && point[4] <= kMaxRing && point[4] == std::floor(point[4]))) {
    return "expected a whole number as ring (is this a file of 3 or 4 floats a point?)";
  }
  return nullptr;
}

void CheckPoint(const float point[kFloats], std::string_view name, size_t index) {
  const char* wrong = WhatIsWrong(point);
  ATHANOR_CHECK(wrong == nullptr, name, ": point ", index, ": ", wrong, ", found x ", point[0],
                ", y ", point[1], ", z ", point[2], ", intensity ", point[3], ", ring ", point[4]);
}

// What a field of a PCD file looks like in a record.
struct PcdField {
  std::string name;
  size_t offset = 0;
  int size = 0;
  char type = 0;  // F, I or U
};

struct PcdHeader {
  std::vector<PcdField> fields;
  size_t record_bytes = 0;
  uint64_t points = 0;
  size_t data_begin = 0;
};

std::vector<std::string_view> Words(std::string_view line) {
  std::vector<std::string_view> words;
  while (true) {
    const size_t begin = line.find_first_not_of(" \t\r");
    if (begin == std::string_view::npos) return words;
    const size_t end = std::min(line.find_first_of(" \t\r", begin), line.size());
    words.push_back(line.substr(begin, end - begin));
    line.remove_prefix(end);
  }
}

template <typename T>
std::optional<T> NumberFrom(std::string_view text) {
  T value;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

PcdHeader ParsePcdHeader(std::string_view bytes, std::string_view name) {
  constexpr size_t kMaxFields = 64;
  constexpr int kMaxCount = 4096;
  PcdHeader header;
  std::vector<std::string_view> names, sizes, types, counts;
  std::optional<uint64_t> points;
  size_t position = 0;
  for (int line_number = 1;; ++line_number) {
    const size_t end = bytes.find('\n', position);
    ATHANOR_CHECK(end != std::string_view::npos, name, ": line ", line_number,
                  ": the header ends before its line DATA");
    const std::string_view line = bytes.substr(position, end - position);
    position = end + 1;
    std::vector<std::string_view> words = Words(line);
    if (words.empty() || words[0][0] == '#') continue;
    const std::string_view key = words[0];
    words.erase(words.begin());
    ATHANOR_CHECK(words.size() <= kMaxFields, name, ": line ", line_number, ": expected at most ",
                  kMaxFields, " fields, found ", words.size());
    if (key == "FIELDS") names = words;
    if (key == "SIZE") sizes = words;
    if (key == "TYPE") types = words;
    if (key == "COUNT") counts = words;
    if (key == "POINTS") {
      points = words.size() == 1 ? NumberFrom<uint64_t>(words[0]) : std::nullopt;
      ATHANOR_CHECK(points, name, ": line ", line_number, ": POINTS: expected a number, found ",
                    Quoted(line));
    }
    if (key == "DATA") {
      ATHANOR_CHECK(words.size() == 1 && words[0] == "binary", name, ": line ", line_number,
                    ": expected DATA binary, found ", Quoted(line));
      break;
    }
  }
  ATHANOR_CHECK(!names.empty() && sizes.size() == names.size() && types.size() == names.size() &&
                    (counts.empty() || counts.size() == names.size()) && points,
                name,
                ": header: expected FIELDS, SIZE, TYPE, COUNT of one length and POINTS, found ",
                names.size(), ", ", sizes.size(), ", ", types.size(), ", ", counts.size(),
                points ? "" : " and no POINTS");
  for (size_t i = 0; i < names.size(); ++i) {
    const auto size = NumberFrom<int>(sizes[i]);
    const auto count = counts.empty() ? std::optional<int>(1) : NumberFrom<int>(counts[i]);
    const bool known_type = types[i] == "F"
                                ? size == 4 || size == 8
                                : (types[i] == "I" || types[i] == "U") &&
                                      (size == 1 || size == 2 || size == 4 || size == 8);
    ATHANOR_CHECK(known_type && count && *count >= 1 && *count <= kMaxCount, name,
                  ": header: field ", Quoted(names[i]),
                  ": expected a TYPE F, I or U with a SIZE that fits, found ", Quoted(types[i]),
                  " of ", Quoted(sizes[i]), " bytes");
    header.fields.push_back({std::string(names[i]), header.record_bytes, *size, types[i][0]});
    header.record_bytes += static_cast<size_t>(*size) * *count;
  }
  header.points = *points;
  header.data_begin = position;
  return header;
}

template <typename T>
double Load(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return static_cast<double>(value);
}

double LoadField(const PcdField& field, const char* record) {
  const char* from = record + field.offset;
  if (field.type == 'F') return field.size == 4 ? Load<float>(from) : Load<double>(from);
  const bool is_signed = field.type == 'I';
  switch (field.size) {
    case 1:
      return is_signed ? Load<int8_t>(from) : Load<uint8_t>(from);
    case 2:
      return is_signed ? Load<int16_t>(from) : Load<uint16_t>(from);
    case 4:
      return is_signed ? Load<int32_t>(from) : Load<uint32_t>(from);
    default:
      return is_signed ? Load<int64_t>(from) : Load<uint64_t>(from);
  }
}

}  // namespace

LidarSweep DecodePcdBin(std::string_view bytes, std::string_view name) {
  constexpr size_t kPointBytes = kFloats * sizeof(float);
  ATHANOR_CHECK(bytes.size() % kPointBytes == 0, name, ": expected a whole number of points of ",
                kPointBytes, " bytes (x, y, z, intensity, ring as float32), found ", bytes.size(),
                " bytes",
                bytes.size() % 16 == 0   ? ": a file of 4 floats a point?"
                : bytes.size() % 12 == 0 ? ": a file of 3 floats a point?"
                                         : "");
  const size_t count = bytes.size() / kPointBytes;
  LidarSweep sweep;
  sweep.points.resize(count);
  sweep.intensity.resize(count);
  sweep.ring.resize(count);
  for (size_t i = 0; i < count; ++i) {
    float point[kFloats];
    std::memcpy(point, bytes.data() + i * kPointBytes, kPointBytes);
    CheckPoint(point, name, i);
    sweep.points[i] = {point[0], point[1], point[2]};
    sweep.intensity[i] = point[3] / kMaxIntensity;
    sweep.ring[i] = static_cast<uint16_t>(point[4]);
  }
  return sweep;
}

std::string EncodePcdBin(const LidarSweep& sweep) {
  const size_t count = sweep.points.size();
  ATHANOR_CHECK(
      sweep.intensity.size() == count && (sweep.ring.empty() || sweep.ring.size() == count),
      "sweep: expected ", count, " intensities and as many rings or none, found ",
      sweep.intensity.size(), " and ", sweep.ring.size());
  std::string bytes(count * kFloats * sizeof(float), '\0');
  for (size_t i = 0; i < count; ++i) {
    const Eigen::Vector3f& p = sweep.points[i];
    const float point[kFloats] = {p.x(), p.y(), p.z(), sweep.intensity[i] * kMaxIntensity,
                                  sweep.ring.empty() ? 0.0f : sweep.ring[i]};
    CheckPoint(point, "sweep", i);
    std::memcpy(bytes.data() + i * sizeof point, point, sizeof point);
  }
  return bytes;
}

std::vector<RadarPoint> DecodeRadarPcd(std::string_view bytes, std::string_view name) {
  const PcdHeader header = ParsePcdHeader(bytes, name);
  enum { kX, kY, kZ, kVx, kVy, kVxComp, kVyComp, kRcs, kInvalid, kDynamic, kAmbiguity, kWanted };
  constexpr std::array<const char*, kWanted> kNames = {
      "x",        "y",          "z", "vx", "vy", "vx_comp", "vy_comp", "rcs", "invalid_state",
      "dyn_prop", "ambig_state"};
  std::array<const PcdField*, kWanted> wanted;
  for (int i = 0; i < kWanted; ++i) {
    const auto found = std::find_if(header.fields.begin(), header.fields.end(),
                                    [&](const PcdField& field) { return field.name == kNames[i]; });
    ATHANOR_CHECK(found != header.fields.end(), name, ": header: expected a field ", kNames[i]);
    wanted[i] = &*found;
  }
  ByteReader reader(bytes, name);
  reader.Take(header.data_begin, "header");
  reader.CheckFits(header.points, header.record_bytes, "radar points");
  std::vector<RadarPoint> points;
  points.reserve(header.points);
  for (uint64_t i = 0; i < header.points; ++i) {
    const char* record = reader.Take(header.record_bytes, "radar point").data();
    std::array<double, kWanted> v;
    for (int k = 0; k < kWanted; ++k) v[k] = LoadField(*wanted[k], record);
    if (i == 0 && std::isnan(v[kX])) return {};
    for (int k = 0; k < kInvalid; ++k) {
      ATHANOR_CHECK(std::isfinite(v[k]), name, ": radar point ", i, ": ", kNames[k],
                    ": expected a finite number, found ", v[k]);
    }
    for (int k = kInvalid; k < kWanted; ++k) {
      ATHANOR_CHECK(v[k] >= -128 && v[k] <= 255, name, ": radar point ", i, ": ", kNames[k],
                    ": expected a code of one byte, found ", v[k]);
    }
    RadarPoint& point = points.emplace_back();
    point.position_m = Eigen::Vector3d(v[kX], v[kY], v[kZ]).cast<float>();
    point.velocity_mps = Eigen::Vector2d(v[kVx], v[kVy]).cast<float>();
    point.compensated_velocity_mps = Eigen::Vector2d(v[kVxComp], v[kVyComp]).cast<float>();
    point.cross_section_dbsm = static_cast<float>(v[kRcs]);
    point.invalid_state = static_cast<int>(v[kInvalid]);
    point.dynamic_property = static_cast<int>(v[kDynamic]);
    point.ambiguity_state = static_cast<int>(v[kAmbiguity]);
  }
  return points;
}

}  // namespace athanor
