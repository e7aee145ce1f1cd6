// Gaussians in PLY: what Inria's gaussian-splatting writes (one float property per parameter), and
// SuperSplat's packed PLY (developer.playcanvas.com, "Compressed PLY"): chunks of 256 Gaussians
// with the bounds that the chunk's packed integers span.
#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/parallel.h"
#include "athanor/datasets/gaussian_formats.h"

namespace athanor::internal {
namespace {

constexpr size_t kMaxHeaderBytes = 1 << 20;
constexpr int64_t kChunkGaussians = 256;

enum class PlyType { kInt8, kUint8, kInt16, kUint16, kInt32, kUint32, kFloat, kDouble };

struct PlyTypeName {
  std::string_view name;
  std::string_view sized_name;
  PlyType type;
  size_t bytes;
};

constexpr PlyTypeName kTypeNames[] = {
    {"char", "int8", PlyType::kInt8, 1},      {"uchar", "uint8", PlyType::kUint8, 1},
    {"short", "int16", PlyType::kInt16, 2},   {"ushort", "uint16", PlyType::kUint16, 2},
    {"int", "int32", PlyType::kInt32, 4},     {"uint", "uint32", PlyType::kUint32, 4},
    {"float", "float32", PlyType::kFloat, 4}, {"double", "float64", PlyType::kDouble, 8},
};

struct PlyProperty {
  std::string name;
  PlyType type;
  size_t offset;  // bytes from the start of its record
};

struct PlyElement {
  std::string name;
  uint64_t count = 0;
  size_t record_bytes = 0;
  bool has_lists = false;  // records of varying size: nothing after them can be found
  std::vector<PlyProperty> properties;
  std::string_view records;

  const PlyProperty* Find(std::string_view property) const {
    for (const PlyProperty& p : properties) {
      if (p.name == property) return &p;
    }
    return nullptr;
  }
};

template <typename T>
float LoadAs(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return static_cast<float>(value);
}

float LoadFloat(const char* record, const PlyProperty& property) {
  const char* from = record + property.offset;
  switch (property.type) {
    case PlyType::kInt8:
      return LoadAs<int8_t>(from);
    case PlyType::kUint8:
      return LoadAs<uint8_t>(from);
    case PlyType::kInt16:
      return LoadAs<int16_t>(from);
    case PlyType::kUint16:
      return LoadAs<uint16_t>(from);
    case PlyType::kInt32:
      return LoadAs<int32_t>(from);
    case PlyType::kUint32:
      return LoadAs<uint32_t>(from);
    case PlyType::kFloat:
      return LoadAs<float>(from);
    case PlyType::kDouble:
      return LoadAs<double>(from);
  }
  return 0;
}

// The words of a line, at most 5: no line that we read has more, but a comment may.
std::vector<std::string_view> Words(std::string_view line) {
  std::vector<std::string_view> words;
  size_t at = 0;
  while (words.size() < 5) {
    at = line.find_first_not_of(" \t\r", at);
    if (at == std::string_view::npos) break;
    const size_t end = std::min(line.find_first_of(" \t\r", at), line.size());
    words.push_back(line.substr(at, end - at));
    at = end;
  }
  return words;
}

class PlyFile {
 public:
  PlyFile(std::string_view bytes, std::string_view name) : name_(name) {
    const size_t body = ParseHeader(bytes);
    Locate(bytes, body);
  }

  const PlyElement* Find(std::string_view element) const {
    for (const PlyElement& e : elements_) {
      if (e.name == element) return &e;
    }
    return nullptr;
  }

  // The property, whose records are at hand. Throws when there is none.
  const PlyProperty& Get(const PlyElement& element, std::string_view property) const {
    const PlyProperty* found = element.Find(property);
    ATHANOR_CHECK(found != nullptr, name_, ": header: expected a property '", property,
                  "' of element '", element.name, "', found none");
    return *found;
  }
  const PlyProperty& Get(const PlyElement& element, std::string_view property, PlyType type) const {
    const PlyProperty& found = Get(element, property);
    ATHANOR_CHECK(found.type == type, name_, ": header: property '", property, "' of element '",
                  element.name, "' has another type than a packed PLY's");
    return found;
  }

 private:
  [[noreturn]] void FailAtLine(int line, std::string_view message) const {
    throw Error(StrCat(name_, ": header line ", line, ": ", message));
  }

  // Returns where the body starts.
  size_t ParseHeader(std::string_view bytes) {
    size_t at = 0;
    bool has_format = false;
    for (int line_number = 1;; ++line_number) {
      const size_t end = bytes.substr(0, kMaxHeaderBytes).find('\n', at);
      ATHANOR_CHECK(end != std::string_view::npos, name_, ": byte ", at,
                    ": expected a PLY header that ends with 'end_header', found its end missing");
      const auto words = Words(bytes.substr(at, end - at));
      at = end + 1;
      if (line_number == 1) {
        if (words.size() != 1 || words[0] != "ply") FailAtLine(1, "expected 'ply'");
        continue;
      }
      if (words.empty() || words[0] == "comment" || words[0] == "obj_info") continue;
      if (words[0] == "end_header") {
        ATHANOR_CHECK(has_format, name_, ": header: expected a line 'format', found none");
        return at;
      }
      if (words[0] == "format") {
        if (words.size() != 3 || words[1] != "binary_little_endian") {
          FailAtLine(line_number, StrCat("expected format binary_little_endian, found ",
                                         words.size() > 1 ? words[1] : "none"));
        }
        has_format = true;
      } else if (words[0] == "element") {
        ParseElement(words, line_number);
      } else if (words[0] == "property") {
        ParseProperty(words, line_number);
      } else {
        FailAtLine(line_number, StrCat("expected format, comment, element, property or end_header, "
                                       "found '",
                                       words[0], "'"));
      }
    }
  }

  void ParseElement(const std::vector<std::string_view>& words, int line) {
    PlyElement element;
    if (words.size() != 3) FailAtLine(line, "expected 'element NAME COUNT'");
    element.name = words[1];
    const std::string_view count = words[2];
    const auto [end, error] =
        std::from_chars(count.data(), count.data() + count.size(), element.count);
    if (error != std::errc() || end != count.data() + count.size()) {
      FailAtLine(line, StrCat("expected a count of records, found '", count, "'"));
    }
    elements_.push_back(std::move(element));
  }

  void ParseProperty(const std::vector<std::string_view>& words, int line) {
    if (elements_.empty()) FailAtLine(line, "expected an element before its first property");
    PlyElement& element = elements_.back();
    if (words.size() >= 2 && words[1] == "list") {
      element.has_lists = true;
      return;
    }
    if (words.size() != 3) FailAtLine(line, "expected 'property TYPE NAME'");
    for (const PlyTypeName& type : kTypeNames) {
      if (words[1] != type.name && words[1] != type.sized_name) continue;
      if (element.Find(words[2]) != nullptr) {
        FailAtLine(line, StrCat("property '", words[2], "' appears twice"));
      }
      element.properties.push_back({std::string(words[2]), type.type, element.record_bytes});
      element.record_bytes += type.bytes;
      return;
    }
    FailAtLine(line, StrCat("expected a type of number, found '", words[1], "'"));
  }

  void Locate(std::string_view bytes, size_t body) {
    size_t at = body;
    for (PlyElement& element : elements_) {
      // What Gaussians are made of comes before any mesh; the rest is not looked at.
      if (element.has_lists && element.count > 0) {
        elements_.erase(elements_.begin() + (&element - elements_.data()), elements_.end());
        return;
      }
      if (element.record_bytes == 0) continue;
      const size_t left = bytes.size() - at;
      ATHANOR_CHECK(element.count <= left / element.record_bytes, name_, ": byte ", at,
                    ": expected ", element.count, " records of ", element.record_bytes,
                    " bytes for element '", element.name, "', found ", left, " bytes");
      const size_t size = element.count * element.record_bytes;
      element.records = bytes.substr(at, size);
      at += size;
    }
  }

  std::string_view name_;
  std::vector<PlyElement> elements_;
};

// The SH degree that has this many coefficients beside the DC ones.
int DegreeFromRest(size_t rest, std::string_view name) {
  for (int degree = 0; degree <= 3; ++degree) {
    if (rest == static_cast<size_t>(3 * ((degree + 1) * (degree + 1) - 1))) return degree;
  }
  throw Error(StrCat(name, ": header: expected 0, 9, 24 or 45 properties f_rest_*, found ", rest));
}

// Properties f_rest_0 .. f_rest_(n-1), in this order: channel by channel, as in memory.
std::vector<const PlyProperty*> RestProperties(const PlyFile& file, const PlyElement& element) {
  size_t rest = 0;
  for (const PlyProperty& p : element.properties) rest += p.name.starts_with("f_rest_");
  std::vector<const PlyProperty*> properties;
  for (size_t k = 0; k < rest; ++k) properties.push_back(&file.Get(element, StrCat("f_rest_", k)));
  return properties;
}

GaussianCloud DecodeInria(const PlyFile& file, const PlyElement& vertex, std::string_view name) {
  const auto rest = RestProperties(file, vertex);
  GaussianCloud cloud;
  cloud.sh_degree = DegreeFromRest(rest.size(), name);
  const int coefficients = cloud.sh_coefficients();

  // Where each property of a record goes: array and place in the Gaussian's part of it.
  struct Target {
    const PlyProperty* property;
    std::vector<float>* values;
    int per_gaussian;
    int place;
  };
  std::vector<Target> targets;
  const auto add = [&](std::string_view property, std::vector<float>& values, int per_gaussian,
                       int place) {
    targets.push_back({&file.Get(vertex, property), &values, per_gaussian, place});
  };
  for (int j = 0; j < 3; ++j) {
    constexpr const char* kAxes[] = {"x", "y", "z"};
    add(kAxes[j], cloud.means, 3, j);
    add(StrCat("scale_", j), cloud.log_scales, 3, j);
    add(StrCat("f_dc_", j), cloud.sh, 3 * coefficients, j * coefficients);
  }
  for (int j = 0; j < 4; ++j) add(StrCat("rot_", j), cloud.quats, 4, j);
  add("opacity", cloud.opacity_logits, 1, 0);
  const int rest_per_channel = coefficients - 1;
  for (int k = 0; k < static_cast<int>(rest.size()); ++k) {
    const int place = k / rest_per_channel * coefficients + 1 + k % rest_per_channel;
    targets.push_back({rest[k], &cloud.sh, 3 * coefficients, place});
  }

  cloud.Resize(static_cast<int64_t>(vertex.count));
  ParallelFor(cloud.size(), kGaussianGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const char* record = vertex.records.data() + i * vertex.record_bytes;
      for (const Target& t : targets) {
        (*t.values)[i * t.per_gaussian + t.place] = LoadFloat(record, *t.property);
      }
    }
  });
  return cloud;
}

// `bits` of `packed` from bit `shift` on, as a fraction of their largest value.
float Fraction(uint32_t packed, int shift, int bits) {
  const uint32_t largest = (1u << bits) - 1;
  return static_cast<float>((packed >> shift) & largest) / static_cast<float>(largest);
}

float Lerp(float low, float high, float t) { return low * (1 - t) + high * t; }

// 2 bits name the component (wxyz) of largest size, which is left out; 10 bits for each other one,
// from -sqrt(1/2) to sqrt(1/2).
std::array<float, 4> UnpackRotation(uint32_t packed) {
  const uint32_t largest = packed >> 30;
  std::array<float, 4> q = {};
  float rest = 1;
  int shift = 20;
  for (uint32_t j = 0; j < 4; ++j) {
    if (j == largest) continue;
    q[j] = (Fraction(packed, shift, 10) - 0.5f) * std::sqrt(2.0f);
    rest -= q[j] * q[j];
    shift -= 10;
  }
  q[largest] = std::sqrt(std::max(rest, 0.0f));
  return q;
}

// The bounds of one quantity over a chunk.
struct Bounds {
  float low[3] = {0, 0, 0};
  float high[3] = {1, 1, 1};
};

Bounds LoadBounds(const char* record, const std::array<const PlyProperty*, 6>& properties) {
  Bounds bounds;
  for (int j = 0; j < 3; ++j) {
    bounds.low[j] = LoadFloat(record, *properties[j]);
    bounds.high[j] = LoadFloat(record, *properties[3 + j]);
  }
  return bounds;
}

GaussianCloud DecodePacked(const PlyFile& file, const PlyElement& chunk, const PlyElement& vertex,
                           std::string_view name) {
  const auto bounds_of = [&](const std::array<std::string_view, 3>& axes) {
    std::array<const PlyProperty*, 6> found;
    for (int j = 0; j < 3; ++j) {
      found[j] = &file.Get(chunk, StrCat("min_", axes[j]), PlyType::kFloat);
      found[3 + j] = &file.Get(chunk, StrCat("max_", axes[j]), PlyType::kFloat);
    }
    return found;
  };
  const auto position_bounds = bounds_of({"x", "y", "z"});
  const auto scale_bounds = bounds_of({"scale_x", "scale_y", "scale_z"});
  // Older files have none: their colours span 0 to 1.
  std::optional<std::array<const PlyProperty*, 6>> color_bounds;
  if (chunk.Find("min_r") != nullptr) color_bounds = bounds_of({"r", "g", "b"});
  const PlyProperty& position = file.Get(vertex, "packed_position", PlyType::kUint32);
  const PlyProperty& rotation = file.Get(vertex, "packed_rotation", PlyType::kUint32);
  const PlyProperty& scale = file.Get(vertex, "packed_scale", PlyType::kUint32);
  const PlyProperty& color = file.Get(vertex, "packed_color", PlyType::kUint32);
  const uint64_t chunks =
      vertex.count / kChunkGaussians + (vertex.count % kChunkGaussians != 0 ? 1 : 0);
  ATHANOR_CHECK(chunk.count == chunks, name, ": header: expected ", chunks, " chunks of ",
                kChunkGaussians, " for ", vertex.count, " Gaussians, found ", chunk.count);

  const PlyElement* sh = file.Find("sh");
  std::vector<const PlyProperty*> rest;
  if (sh != nullptr) {
    rest = RestProperties(file, *sh);
    for (const PlyProperty* p : rest) file.Get(*sh, p->name, PlyType::kUint8);
    ATHANOR_CHECK(sh->count == vertex.count, name, ": header: expected ", vertex.count,
                  " records of element 'sh', found ", sh->count);
  }
  GaussianCloud cloud;
  cloud.sh_degree = DegreeFromRest(rest.size(), name);
  const int coefficients = cloud.sh_coefficients();
  cloud.Resize(static_cast<int64_t>(vertex.count));

  ParallelFor(cloud.size(), kGaussianGrain, [&](int64_t begin, int64_t end) {
    Bounds position_range, scale_range, color_range;
    for (int64_t i = begin; i < end; ++i) {
      if (i == begin || i % kChunkGaussians == 0) {
        const char* record = chunk.records.data() + i / kChunkGaussians * chunk.record_bytes;
        position_range = LoadBounds(record, position_bounds);
        scale_range = LoadBounds(record, scale_bounds);
        if (color_bounds) color_range = LoadBounds(record, *color_bounds);
      }
      const char* record = vertex.records.data() + i * vertex.record_bytes;
      const auto load = [&](const PlyProperty& p) {
        uint32_t value;
        std::memcpy(&value, record + p.offset, sizeof value);
        return value;
      };
      const uint32_t packed_position = load(position);
      const uint32_t packed_scale = load(scale);
      const uint32_t packed_color = load(color);
      constexpr int kShifts[] = {21, 11, 0};
      constexpr int kBits[] = {11, 10, 11};
      for (int j = 0; j < 3; ++j) {
        cloud.means[i * 3 + j] = Lerp(position_range.low[j], position_range.high[j],
                                      Fraction(packed_position, kShifts[j], kBits[j]));
        cloud.log_scales[i * 3 + j] = Lerp(scale_range.low[j], scale_range.high[j],
                                           Fraction(packed_scale, kShifts[j], kBits[j]));
        const float value =
            Lerp(color_range.low[j], color_range.high[j], Fraction(packed_color, 24 - 8 * j, 8));
        cloud.sh[(i * 3 + j) * coefficients] = (value - 0.5f) / kShDc;
      }
      cloud.opacity_logits[i] = LogitOfStored(Fraction(packed_color, 0, 8));
      const auto q = UnpackRotation(load(rotation));
      std::copy(q.begin(), q.end(), &cloud.quats[i * 4]);
      if (sh == nullptr) continue;
      const char* sh_record = sh->records.data() + i * sh->record_bytes;
      for (int k = 0; k < static_cast<int>(rest.size()); ++k) {
        // 0 and 255 mean the ends of [-4, 4], the bytes between the middles of 256 steps.
        const auto byte = static_cast<uint8_t>(sh_record[rest[k]->offset]);
        const float t = byte == 0 ? 0.0f : byte == 255 ? 1.0f : (byte + 0.5f) / 256.0f;
        const int channel = k / (coefficients - 1);
        const int place = 1 + k % (coefficients - 1);
        cloud.sh[(i * 3 + channel) * coefficients + place] = (t - 0.5f) * 8.0f;
      }
    }
  });
  return cloud;
}

}  // namespace

GaussianCloud DecodeGaussianPly(std::string_view bytes, std::string_view name) {
  const PlyFile file(bytes, name);
  const PlyElement* vertex = file.Find("vertex");
  ATHANOR_CHECK(vertex != nullptr, name, ": header: expected an element 'vertex', found none");
  const PlyElement* chunk = file.Find("chunk");
  const bool packed = chunk != nullptr && vertex->Find("packed_position") != nullptr;
  GaussianCloud cloud =
      packed ? DecodePacked(file, *chunk, *vertex, name) : DecodeInria(file, *vertex, name);
  cloud.Check(name);
  return cloud;
}

std::string EncodeGaussianPly(const GaussianCloud& cloud) {
  const int coefficients = cloud.sh_coefficients();
  const int rest = 3 * (coefficients - 1);
  std::string bytes =
      StrCat("ply\nformat binary_little_endian 1.0\nelement vertex ", cloud.size(), "\n");
  const auto add = [&](std::string_view property) {
    bytes += StrCat("property float ", property, "\n");
  };
  for (const char* property : {"x", "y", "z", "nx", "ny", "nz"}) add(property);
  for (int j = 0; j < 3; ++j) add(StrCat("f_dc_", j));
  for (int k = 0; k < rest; ++k) add(StrCat("f_rest_", k));
  add("opacity");
  for (int j = 0; j < 3; ++j) add(StrCat("scale_", j));
  for (int j = 0; j < 4; ++j) add(StrCat("rot_", j));
  bytes += "end_header\n";

  const size_t body = bytes.size();
  const int floats = 17 + rest;
  bytes.resize(body + cloud.size() * floats * sizeof(float));
  ParallelFor(cloud.size(), kGaussianGrain, [&](int64_t begin, int64_t end) {
    std::vector<float> record(floats);
    for (int64_t i = begin; i < end; ++i) {
      const float* sh = &cloud.sh[i * 3 * coefficients];
      float* to = std::copy_n(&cloud.means[i * 3], 3, record.data());
      to = std::fill_n(to, 3, 0.0f);  // normals, which nobody uses
      for (int j = 0; j < 3; ++j) *to++ = sh[j * coefficients];
      for (int j = 0; j < 3; ++j) to = std::copy_n(sh + j * coefficients + 1, coefficients - 1, to);
      *to++ = cloud.opacity_logits[i];
      to = std::copy_n(&cloud.log_scales[i * 3], 3, to);
      std::copy_n(&cloud.quats[i * 4], 4, to);
      std::memcpy(bytes.data() + body + i * floats * sizeof(float), record.data(),
                  floats * sizeof(float));
    }
  });
  return bytes;
}

}  // namespace athanor::internal
