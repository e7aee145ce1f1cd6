#include "athanor/datasets/ply_points.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/datasets/text_lines.h"

namespace athanor {
namespace {

enum class Type { kI8, kU8, kI16, kU16, kI32, kU32, kF32, kF64 };

struct TypeInfo {
  std::string_view name;
  std::string_view sized_name;
  size_t bytes;
};
constexpr TypeInfo kTypes[] = {
    {"char", "int8", 1}, {"uchar", "uint8", 1}, {"short", "int16", 2},   {"ushort", "uint16", 2},
    {"int", "int32", 4}, {"uint", "uint32", 4}, {"float", "float32", 4}, {"double", "float64", 8}};

size_t SizeOf(Type type) { return kTypes[static_cast<int>(type)].bytes; }
bool IsReal(Type type) { return type == Type::kF32 || type == Type::kF64; }

constexpr int kMaxLabel = 1 << 30;

enum class Encoding { kAscii, kLittleEndian, kBigEndian };

// What a property of a vertex is to us.
enum Role { kX, kY, kZ, kRed, kGreen, kBlue, kLabel, kNumRoles };
constexpr std::string_view kRoleNames[kNumRoles] = {"x", "y", "z", "red", "green", "blue", "label"};

struct Property {
  std::string name;
  Type type = Type::kF32;
  bool is_list = false;
  Type count_type = Type::kU8;  // of a list
  int role = kNumRoles;
};

struct Element {
  std::string name;
  uint64_t count = 0;
  std::vector<Property> properties;
};

struct Header {
  Encoding encoding = Encoding::kAscii;
  std::vector<Element> elements;
  size_t end = 0;  // the byte after it
};

Type ReadType(TextLines& lines) {
  const std::string_view name = lines.Field();
  for (size_t i = 0; i < std::size(kTypes); ++i) {
    if (name == kTypes[i].name || name == kTypes[i].sized_name) return static_cast<Type>(i);
  }
  lines.Fail(
      StrCat("expected the type of a property (uchar, int, float, ...), found ", Quoted(name)));
}

void AddProperty(TextLines& lines, Element& element) {
  Property property;
  TextLines type_is_list = lines;
  if (type_is_list.Field() == "list") {
    lines.Field();
    property.is_list = true;
    property.count_type = ReadType(lines);
    if (IsReal(property.count_type)) lines.Fail("expected an integer type for the length of lists");
  }
  property.type = ReadType(lines);
  property.name = lines.Field();
  if (property.name.empty()) lines.Fail("expected the name of a property, found none");
  for (const Property& other : element.properties) {
    if (other.name == property.name) {
      lines.Fail(StrCat("property ", Quoted(property.name), " occurs twice"));
    }
  }
  if (element.name == "vertex" && !property.is_list) {
    property.role =
        static_cast<int>(std::find(kRoleNames, kRoleNames + kNumRoles, property.name) - kRoleNames);
  }
  element.properties.push_back(std::move(property));
}

Header ParseHeader(std::string_view bytes, std::string_view name) {
  TextLines lines(bytes, name);
  ATHANOR_CHECK(lines.Next() && lines.rest() == "ply", name,
                ": byte 0: expected a PLY file, which begins with the line 'ply'");
  Header header;
  bool has_format = false;
  while (lines.Next()) {
    const std::string_view keyword = lines.Field();
    if (keyword == "end_header") {
      if (!has_format) lines.Fail("expected a line 'format' before the end of the header");
      header.end = lines.position();
      return header;
    }
    if (keyword == "format") {
      const std::string_view format = lines.Field();
      has_format = true;
      if (format == "ascii") {
        header.encoding = Encoding::kAscii;
      } else if (format == "binary_little_endian") {
        header.encoding = Encoding::kLittleEndian;
      } else if (format == "binary_big_endian") {
        header.encoding = Encoding::kBigEndian;
      } else {
        lines.Fail(
            StrCat("expected format ascii, binary_little_endian or binary_big_endian, found ",
                   Quoted(format)));
      }
    } else if (keyword == "element") {
      Element element;
      element.name = lines.Field();
      element.count = lines.Number<uint64_t>("number of elements");
      header.elements.push_back(std::move(element));
    } else if (keyword == "property") {
      if (header.elements.empty()) lines.Fail("expected an element before the first property");
      AddProperty(lines, header.elements.back());
    } else if (!keyword.empty() && keyword != "comment" && keyword != "obj_info") {
      lines.Fail(StrCat("expected a line of a PLY header, found ", Quoted(keyword)));
    }
  }
  lines.Fail("expected a line 'end_header', found the end of the file");
}

// The numbers after the header, of either encoding, one after another.
class Numbers {
 public:
  Numbers(std::string_view bytes, std::string_view name, const Header& header)
      : encoding_(header.encoding), reader_(bytes, name) {
    reader_.Take(header.end, "header");
  }

  double Read(Type type, std::string_view what) {
    if (encoding_ == Encoding::kAscii) return ReadText(what);
    switch (type) {
      case Type::kI8:
        return ReadBinary<int8_t>(what);
      case Type::kU8:
        return ReadBinary<uint8_t>(what);
      case Type::kI16:
        return ReadBinary<int16_t>(what);
      case Type::kU16:
        return ReadBinary<uint16_t>(what);
      case Type::kI32:
        return ReadBinary<int32_t>(what);
      case Type::kU32:
        return ReadBinary<uint32_t>(what);
      case Type::kF32:
        return ReadBinary<float>(what);
      case Type::kF64:
        return ReadBinary<double>(what);
    }
    return 0;
  }

  void Skip(const Property& property) {
    uint64_t count = 1;
    if (property.is_list) {
      const double length = Read(property.count_type, property.name);
      if (!(length >= 0 && length <= 0xffffffffu)) {
        Fail(StrCat("expected the length of list ", Quoted(property.name), ", found ", length));
      }
      count = static_cast<uint64_t>(length);
    }
    CheckFits(count, 1, SizeOf(property.type), property.name);
    if (encoding_ == Encoding::kAscii) {
      for (uint64_t i = 0; i < count; ++i) ReadText(property.name);
    } else {
      reader_.Take(count * SizeOf(property.type), property.name);
    }
  }

  // Refuses a count of records that the rest of the file cannot hold. In text, a number takes at
  // least a digit and what parts it from the next; the last one needs nothing after it.
  void CheckFits(uint64_t count, size_t record_numbers, size_t record_bytes,
                 std::string_view what) const {
    if (encoding_ != Encoding::kAscii) {
      reader_.CheckFits(count, record_bytes, what);
    } else if (count > (reader_.remaining() + 1) / (2 * record_numbers)) {
      Fail(StrCat("expected ", count, " records of ", Quoted(what), ", which do not fit in the ",
                  reader_.remaining(), " bytes that are left"));
    }
  }

  [[noreturn]] void Fail(std::string_view message) const { reader_.Fail(message); }

 private:
  template <typename T>
  double ReadBinary(std::string_view what) {
    auto bytes = reader_.Read<std::array<char, sizeof(T)>>(what);
    if (encoding_ == Encoding::kBigEndian) std::reverse(bytes.begin(), bytes.end());
    return static_cast<double>(std::bit_cast<T>(bytes));
  }

  double ReadText(std::string_view what) {
    const auto is_space = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
    const auto peek = [&] {
      ByteReader copy = reader_;
      return copy.Take(std::min<size_t>(copy.remaining(), 64), what);
    };
    std::string_view ahead = peek();
    while (!ahead.empty() && is_space(ahead[0])) {
      size_t spaces = 0;
      while (spaces < ahead.size() && is_space(ahead[spaces])) ++spaces;
      reader_.Take(spaces, what);
      ahead = peek();
    }
    size_t size = 0;
    while (size < ahead.size() && !is_space(ahead[size])) ++size;
    double value = 0;
    const auto [end, error] = std::from_chars(ahead.data(), ahead.data() + size, value);
    if (error != std::errc() || end != ahead.data() + size) {
      Fail(StrCat("expected a number as ", Quoted(what), ", found ",
                  size == 0 ? "the end of the file" : Quoted(ahead.substr(0, size))));
    }
    reader_.Take(size, what);
    return value;
  }

  Encoding encoding_;
  ByteReader reader_;
};

uint8_t ColorByte(double value, Type type, const Numbers& numbers) {
  const double full = IsReal(type) ? 1 : type == Type::kU16 ? 65535 : 255;
  if (!(value >= 0 && value <= full)) {
    numbers.Fail(StrCat("expected a colour of 0 to ", full, ", found ", value));
  }
  return static_cast<uint8_t>(std::lround(value * (255 / full)));
}

}  // namespace

std::vector<ColoredPoint> ParsePlyPoints(std::string_view bytes, std::string_view name,
                                         std::vector<int>* labels) {
  const Header header = ParseHeader(bytes, name);
  Numbers numbers(bytes, name, header);
  for (const Element& element : header.elements) {
    if (element.properties.empty()) continue;  // takes no bytes, whatever its count
    size_t record_bytes = 0;
    std::array<bool, kNumRoles> has = {};
    for (const Property& property : element.properties) {
      record_bytes += SizeOf(property.is_list ? property.count_type : property.type);
      if (property.role < kNumRoles) has[property.role] = true;
    }
    numbers.CheckFits(element.count, element.properties.size(), record_bytes, element.name);
    if (element.name != "vertex") {
      for (uint64_t i = 0; i < element.count; ++i) {
        for (const Property& property : element.properties) numbers.Skip(property);
      }
      continue;
    }
    ATHANOR_CHECK(has[kX] && has[kY] && has[kZ], name,
                  ": expected the properties x, y and z of element vertex");
    ATHANOR_CHECK(labels == nullptr || has[kLabel], name,
                  ": expected the property label of element vertex");
    std::vector<ColoredPoint> points;
    points.reserve(static_cast<size_t>(element.count));
    for (uint64_t i = 0; i < element.count; ++i) {
      ColoredPoint point = {{0, 0, 0}, {128, 128, 128}};
      for (const Property& property : element.properties) {
        if (property.role == kNumRoles || (property.role == kLabel && labels == nullptr)) {
          numbers.Skip(property);
          continue;
        }
        const double value = numbers.Read(property.type, property.name);
        if (property.role == kLabel) {
          if (!(value >= 0 && value <= kMaxLabel && value == std::floor(value))) {
            numbers.Fail(StrCat("expected a label of 0 to ", kMaxLabel, ", found ", value));
          }
          labels->push_back(static_cast<int>(value));
          continue;
        }
        if (property.role >= kRed) {
          point.color[property.role - kRed] = ColorByte(value, property.type, numbers);
          continue;
        }
        point.position[property.role] = static_cast<float>(value);
        if (!std::isfinite(point.position[property.role])) {
          numbers.Fail(
              StrCat("point ", i, ": expected a finite ", property.name, ", found ", value));
        }
      }
      points.push_back(point);
    }
    return points;
  }
  throw Error(StrCat(name, ": expected an element vertex with properties, found none"));
}

std::vector<ColoredPoint> ReadPlyPoints(const std::filesystem::path& path,
                                        std::vector<int>* labels) {
  return ParsePlyPoints(ReadFile(path), path.string(), labels);
}

}  // namespace athanor
