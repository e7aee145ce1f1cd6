// gsplat's test_garden.npz: NumPy arrays (.npy) in a zip archive.
//
// Zip: PKWARE APPNOTE 6.3.3, stored and deflated members, found by the central directory at the
// end. npy: numpy.org/doc/stable/reference/generated/numpy.lib.format.html, versions 1 to 3.
#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/datasets/gaussian_formats.h"
#include "athanor/geometry/nearest.h"

namespace athanor::internal {
namespace {

constexpr size_t kEndRecordBytes = 22;
constexpr uint32_t kEntryMagic = 0x02014b50;
constexpr uint32_t kMemberMagic = 0x04034b50;
// What deflate cannot exceed: 258 bytes from 2 bits, and a little more for its tables.
constexpr uint64_t kMaxDeflateRatio = 1040;
constexpr float kPointOpacity = 0.9f;
constexpr int kNeighbors = 3;
// Points that lie upon each other would get a Gaussian of size 0.
constexpr float kMinVariance = 1e-7f;
// A point far from all others would cover the picture: no scale is larger than this many medians.
constexpr float kMaxScaleInMedians = 4.0f;

struct Member {
  uint16_t method;  // 0 stored, 8 deflated
  uint32_t crc;
  uint64_t compressed_bytes;
  uint64_t plain_bytes;
  uint64_t offset;  // of its local header
};

// A cursor at `offset`, which may lie beyond the end.
ByteReader ReaderAt(std::string_view bytes, std::string_view name, uint64_t offset,
                    std::string_view what) {
  ByteReader reader(bytes, name);
  ATHANOR_CHECK(offset <= bytes.size(), name, ": expected ", what, " at byte ", offset,
                ", found the end of the file at ", bytes.size());
  reader.Take(offset, what);
  return reader;
}

std::map<std::string, Member, std::less<>> ReadDirectory(std::string_view bytes,
                                                         std::string_view name) {
  // The end record is last but for a comment of at most 65535 bytes.
  const std::string_view magic("PK\x05\x06", 4);
  const size_t end = bytes.rfind(magic);
  ATHANOR_CHECK(end != std::string_view::npos && bytes.size() - end <= kEndRecordBytes + 65535,
                name, ": byte ", bytes.size(),
                ": expected the end record of a zip archive, found none: the file is cut off");
  ByteReader reader = ReaderAt(bytes, name, end, "end record");
  reader.Take(10, "end record");
  const auto entries = reader.Read<uint16_t>("number of members");
  reader.Take(4, "size of the directory");
  const auto directory = reader.Read<uint32_t>("offset of the directory");
  reader.Take(reader.Read<uint16_t>("length of the comment"), "comment");

  std::map<std::string, Member, std::less<>> members;
  reader = ReaderAt(bytes, name, directory, "zip directory");
  for (int k = 0; k < entries; ++k) {
    if (reader.Read<uint32_t>("zip directory") != kEntryMagic) {
      reader.Fail(StrCat("expected entry ", k, " of the zip directory"));
    }
    Member member;
    reader.Take(4, "versions");
    const auto flags = reader.Read<uint16_t>("flags");
    member.method = reader.Read<uint16_t>("method");
    reader.Take(4, "time");
    member.crc = reader.Read<uint32_t>("checksum");
    member.compressed_bytes = reader.Read<uint32_t>("compressed size");
    member.plain_bytes = reader.Read<uint32_t>("plain size");
    const auto name_bytes = reader.Read<uint16_t>("length of the name");
    const auto extra_bytes = reader.Read<uint16_t>("length of the extra field");
    const auto comment_bytes = reader.Read<uint16_t>("length of the comment");
    reader.Take(8, "attributes");
    member.offset = reader.Read<uint32_t>("offset of the member");
    const std::string member_name(reader.Take(name_bytes, "name of a member"));
    reader.Take(size_t{extra_bytes} + comment_bytes, "extra field");
    if ((flags & 1) != 0) reader.Fail(StrCat("member '", member_name, "' is encrypted"));
    if (member.compressed_bytes == 0xffffffff || member.plain_bytes == 0xffffffff ||
        member.offset == 0xffffffff) {
      reader.Fail(StrCat("member '", member_name, "' is of 4 GiB or more (zip64)"));
    }
    members[member_name] = member;
  }
  return members;
}

std::string ReadMember(std::string_view bytes, std::string_view name, std::string_view member_name,
                       const Member& member) {
  ByteReader reader = ReaderAt(bytes, name, member.offset, "zip member");
  if (reader.Read<uint32_t>("zip member") != kMemberMagic) {
    reader.Fail(StrCat("expected the header of zip member '", member_name, "'"));
  }
  reader.Take(22, "zip member");
  const auto name_bytes = reader.Read<uint16_t>("length of the name");
  const auto extra_bytes = reader.Read<uint16_t>("length of the extra field");
  reader.Take(size_t{name_bytes} + extra_bytes, "name of a zip member");
  const size_t start = reader.position();
  const std::string_view compressed = reader.Take(member.compressed_bytes, member_name);
  const auto fail = [&](std::string_view message) {
    throw Error(StrCat(name, ": byte ", start, ": zip member '", member_name, "': ", message));
  };
  std::string plain;
  if (member.method == 0) {
    if (member.plain_bytes != member.compressed_bytes) fail("stored, but its two sizes differ");
    plain = compressed;
  } else if (member.method == 8) {
    if (member.plain_bytes > member.compressed_bytes * kMaxDeflateRatio) {
      fail(StrCat(member.plain_bytes, " bytes cannot come out of ", member.compressed_bytes));
    }
    plain.resize(member.plain_bytes);
    z_stream stream = {};
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data()));
    stream.avail_in = static_cast<uInt>(compressed.size());
    stream.next_out = reinterpret_cast<Bytef*>(plain.data());
    stream.avail_out = static_cast<uInt>(plain.size());
    ATHANOR_CHECK(inflateInit2(&stream, -MAX_WBITS) == Z_OK, name, ": cannot start zlib");
    const int result = inflate(&stream, Z_FINISH);
    const bool whole = result == Z_STREAM_END && stream.avail_out == 0;
    inflateEnd(&stream);
    if (!whole) fail(StrCat("expected ", member.plain_bytes, " bytes, its stream is damaged"));
  } else {
    fail(StrCat("expected it stored or deflated, found method ", member.method));
  }
  const auto crc =
      crc32(0, reinterpret_cast<const Bytef*>(plain.data()), static_cast<uInt>(plain.size()));
  if (crc != member.crc) fail("its checksum is wrong");
  return plain;
}

struct Array {
  std::string bytes;  // the whole .npy
  size_t start = 0;   // of the values
  std::vector<uint64_t> shape;

  template <typename T>
  T at(size_t i) const {
    T value;
    std::memcpy(&value, bytes.data() + start + i * sizeof(T), sizeof(T));
    return value;
  }
};

// What stands after 'key': in the header of an .npy, a Python dictionary.
std::string_view HeaderValue(std::string_view header, std::string_view key,
                             std::string_view where) {
  const size_t at = header.find(StrCat("'", key, "':"));
  ATHANOR_CHECK(at != std::string_view::npos, where, ": expected '", key, "' in the npy header");
  std::string_view value = header.substr(at + key.size() + 3);
  value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
  return value;
}

class Archive {
 public:
  Archive(std::string_view bytes, std::string_view name)
      : bytes_(bytes), name_(name), members_(ReadDirectory(bytes, name)) {}

  // Array `key` of these values in C order. `shape`: what is expected; 0 = any size.
  Array Read(std::string_view key, std::string_view descr, const std::vector<uint64_t>& shape) {
    const std::string member_name = StrCat(key, ".npy");
    const auto found = members_.find(member_name);
    ATHANOR_CHECK(found != members_.end(), name_, ": expected an array '", key,
                  "' as in gsplat's test_garden.npz, found none");
    const std::string where = StrCat(name_, ": ", member_name);
    Array array;
    array.bytes = ReadMember(bytes_, name_, member_name, found->second);
    ByteReader reader(array.bytes, where);
    if (reader.Take(6, "npy magic") != std::string_view("\x93NUMPY", 6)) {
      reader.Fail("expected an npy array");
    }
    const auto version = reader.Read<uint8_t>("npy version");
    reader.Take(1, "npy version");
    const size_t header_bytes = version == 1 ? reader.Read<uint16_t>("size of the npy header")
                                             : reader.Read<uint32_t>("size of the npy header");
    const std::string_view header = reader.Take(header_bytes, "npy header");
    array.start = reader.position();

    const std::string_view type = HeaderValue(header, "descr", where);
    ATHANOR_CHECK(type.starts_with(StrCat("'", descr, "'")), where, ": expected values of type '",
                  descr, "', found ", type.substr(0, type.find(',')));
    ATHANOR_CHECK(HeaderValue(header, "fortran_order", where).starts_with("False"), where,
                  ": expected C order");
    std::string_view sizes = HeaderValue(header, "shape", where);
    sizes = sizes.substr(0, sizes.find(')'));
    uint64_t values = 1;
    for (size_t i = 0; i < sizes.size();) {
      uint64_t size = 0;
      const auto [end, error] =
          std::from_chars(sizes.data() + i, sizes.data() + sizes.size(), size);
      if (error == std::errc::invalid_argument) {
        ++i;
        continue;
      }
      i = end - sizes.data();
      const uint64_t limit = array.bytes.size() / std::max<uint64_t>(values, 1);
      ATHANOR_CHECK(error == std::errc() && size <= limit, where, ": shape ", sizes,
                    ") does not fit in its ", array.bytes.size(), " bytes");
      array.shape.push_back(size);
      values *= size;
    }
    bool as_expected = array.shape.size() == shape.size();
    for (size_t k = 0; as_expected && k < shape.size(); ++k) {
      as_expected = shape[k] == 0 || shape[k] == array.shape[k];
    }
    ATHANOR_CHECK(as_expected, where, ": shape ", sizes, ") is not that of test_garden.npz");
    const size_t value_bytes = descr.back() - '0';
    ATHANOR_CHECK(reader.remaining() / value_bytes >= values, where, ": expected ", values,
                  " values, found ", reader.remaining() / value_bytes);
    return array;
  }

 private:
  std::string_view bytes_;
  std::string_view name_;
  std::map<std::string, Member, std::less<>> members_;
};

int ReadSize(Archive& archive, std::string_view key, std::string_view name) {
  const auto size = archive.Read(key, "<i8", {}).at<int64_t>(0);
  ATHANOR_CHECK(size > 0 && size <= 1 << 20, name, ": ", key,
                ".npy: expected a size in pixels, found ", size);
  return static_cast<int>(size);
}

std::vector<ColoredPoint> ReadPoints(Archive& archive, std::string_view name) {
  const Array means = archive.Read("means3d", "<f4", {0, 3});
  const Array colors = archive.Read("colors", "|u1", {0, 3});
  ATHANOR_CHECK(means.shape[0] > 0, name, ": expected at least 1 point, found none");
  ATHANOR_CHECK(means.shape[0] == colors.shape[0], name, ": expected as many colours as points, ",
                "found ", colors.shape[0], " and ", means.shape[0]);
  std::vector<ColoredPoint> points(means.shape[0]);
  for (size_t i = 0; i < points.size(); ++i) {
    for (int j = 0; j < 3; ++j) {
      points[i].position[j] = means.at<float>(i * 3 + j);
      points[i].color[j] = colors.at<uint8_t>(i * 3 + j);
      ATHANOR_CHECK(std::isfinite(points[i].position[j]), name, ": means3d.npy: point ", i,
                    ": expected a finite position, found ", points[i].position[j]);
    }
  }
  return points;
}

}  // namespace

GaussianCloud DecodeGardenNpz(std::string_view bytes, std::string_view name) {
  Archive archive(bytes, name);
  const std::vector<ColoredPoint> points = ReadPoints(archive, name);
  GaussianCloud cloud;
  cloud.Resize(static_cast<int64_t>(points.size()));
  for (size_t i = 0; i < points.size(); ++i) {
    for (int j = 0; j < 3; ++j) {
      cloud.means[i * 3 + j] = points[i].position[j];
      cloud.sh[i * 3 + j] = (static_cast<float>(points[i].color[j]) / 255.0f - 0.5f) / kShDc;
    }
    cloud.quats[i * 4] = 1;
  }
  const std::vector<float> squared =
      MeanSquaredDistanceToNearest(cloud.means.data(), cloud.size(), kNeighbors);
  std::vector<float> sorted = squared;
  std::nth_element(sorted.begin(), sorted.begin() + sorted.size() / 2, sorted.end());
  const float max_variance =
      std::max(kMinVariance, kMaxScaleInMedians * kMaxScaleInMedians * sorted[sorted.size() / 2]);
  for (size_t i = 0; i < points.size(); ++i) {
    const float log_scale = 0.5f * std::log(std::clamp(squared[i], kMinVariance, max_variance));
    std::fill_n(&cloud.log_scales[i * 3], 3, log_scale);
    cloud.opacity_logits[i] = std::log(kPointOpacity / (1 - kPointOpacity));
  }
  cloud.Check(name);
  return cloud;
}

PosedImages DecodeGardenViews(std::string_view bytes, std::string_view name) {
  Archive archive(bytes, name);
  const int width = ReadSize(archive, "width", name);
  const int height = ReadSize(archive, "height", name);
  const Array intrinsics = archive.Read("Ks", "<f4", {0, 3, 3});
  const Array poses = archive.Read("viewmats", "<f4", {0, 4, 4});
  ATHANOR_CHECK(intrinsics.shape[0] == poses.shape[0], name,
                ": expected as many cameras as poses, found ", intrinsics.shape[0], " and ",
                poses.shape[0]);
  PosedImages posed;
  posed.source = name;
  posed.points = ReadPoints(archive, name);
  for (size_t view = 0; view < poses.shape[0]; ++view) {
    const std::string where = StrCat(name, ": view ", view);
    Camera camera;
    camera.width_px = width;
    camera.height_px = height;
    const auto k = [&](int i) { return intrinsics.at<float>(view * 9 + i); };
    camera.parameters = {k(0), k(4), k(2), k(5)};  // fx, fy, cx, cy
    camera.Check(where);
    posed.cameras.push_back(camera);

    Eigen::Matrix3d rotation;
    PosedImage image;
    for (int row = 0; row < 3; ++row) {
      for (int column = 0; column < 3; ++column) {
        rotation(row, column) = poses.at<float>(view * 16 + row * 4 + column);
      }
      image.camera_from_world.translation[row] = poses.at<float>(view * 16 + row * 4 + 3);
    }
    const double error = (rotation * rotation.transpose() - Eigen::Matrix3d::Identity()).norm();
    ATHANOR_CHECK(error < 1e-3 && rotation.determinant() > 0 &&
                      image.camera_from_world.translation.allFinite(),
                  where, ": viewmats.npy: expected a rigid pose, found one off by ", error);
    image.camera_from_world.rotation = Eigen::Quaterniond(rotation).normalized();
    image.name = StrCat(view);
    image.camera = static_cast<int>(view);
    posed.images.push_back(std::move(image));
  }
  return posed;
}

}  // namespace athanor::internal
