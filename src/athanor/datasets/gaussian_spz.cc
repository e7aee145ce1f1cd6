// SPZ of Niantic (github.com/nianticlabs/spz, README.md), little-endian.
//
//   bytes 0-15   uint32 magic "NGSP", uint32 version, uint32 count, uint8 SH degree, uint8
//   fractional
//                bits of positions, uint8 flags, uint8 (version 4: number of streams)
//   then, attribute by attribute: positions 3 x 24-bit fixed point, opacities uint8, colours
//   3 uint8, scales 3 uint8, rotations (version 2: 3 bytes, later 4), SH uint8 (coefficient by
//   coefficient, R G B inside)
//
// Versions 2 and 3: all of it in one gzip stream. Version 4: the header is plain and 32 bytes long,
// with uint32 at 16 for where the table of streams starts (uint64 compressed and plain size each);
// every attribute is a zstd stream of its own.
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <limits>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/base/parallel.h"
#include "athanor/datasets/gaussian_formats.h"

namespace athanor::internal {
namespace {

constexpr uint32_t kMagic = 0x5053474e;  // "NGSP"
constexpr size_t kHeaderBytes = 16;
constexpr size_t kHeaderBytesVersion4 = 32;
constexpr uint8_t kFlagAntialiased = 1;
// A colour byte is 255 (0.5 + 0.15 x coefficient): wider than what is displayed.
constexpr float kColorScale = 0.15f;
// No scene takes less than one byte per 64 Gaussians, nor can gzip write one that does; a header
// that promises more is a lie or a bomb.
constexpr uint64_t kMaxGaussiansPerByte = 64;

enum Attribute { kPositions, kOpacities, kColors, kScales, kRotations, kSh, kNumAttributes };
constexpr std::string_view kAttributeNames[] = {"positions", "opacities", "colours",
                                                "scales",    "rotations", "SH coefficients"};

struct Header {
  uint32_t version;
  uint32_t count;
  uint8_t sh_degree;
  uint8_t fractional_bits;
  uint8_t flags;
  uint8_t streams;

  int sh_rest() const { return (sh_degree + 1) * (sh_degree + 1) - 1; }
  size_t BytesPerGaussian(int attribute) const {
    const size_t bytes[] = {9, 1, 3, 3, version == 2 ? 3u : 4u, 3u * sh_rest()};
    return bytes[attribute];
  }
};

using Attributes = std::array<std::string_view, kNumAttributes>;

Header ReadHeader(std::string_view header_bytes, size_t file_bytes, std::string_view name) {
  ByteReader reader(header_bytes, name);
  if (reader.Read<uint32_t>("SPZ magic") != kMagic) {
    throw Error(StrCat(name, ": byte 0: expected the SPZ magic 'NGSP' inside the gzip stream"));
  }
  Header header;
  header.version = reader.Read<uint32_t>("SPZ version");
  header.count = reader.Read<uint32_t>("number of Gaussians");
  header.sh_degree = reader.Read<uint8_t>("SH degree");
  header.fractional_bits = reader.Read<uint8_t>("fractional bits");
  header.flags = reader.Read<uint8_t>("flags");
  header.streams = reader.Read<uint8_t>("number of streams");
  ATHANOR_CHECK(header.version >= 2 && header.version <= 4, name,
                ": byte 4: expected SPZ version 2, 3 or 4, found ", header.version);
  ATHANOR_CHECK(header.sh_degree <= 4, name, ": byte 12: expected an SH degree of 0 to 4, found ",
                int{header.sh_degree});
  ATHANOR_CHECK(header.fractional_bits <= 24, name,
                ": byte 13: expected at most 24 fractional bits, found ",
                int{header.fractional_bits});
  ATHANOR_CHECK(header.count <= file_bytes * kMaxGaussiansPerByte, name, ": byte 8: ", header.count,
                " Gaussians cannot be in a file of ", file_bytes, " bytes");
  return header;
}

// Inflates a gzip stream piece by piece, into memory that the caller has sized.
class GzipReader {
 public:
  GzipReader(std::string_view bytes, std::string_view name) : name_(name) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    ATHANOR_CHECK(bytes.size() <= std::numeric_limits<uInt>::max(), name,
                  ": expected a gzip stream below 4 GiB, found ", bytes.size(), " bytes");
    stream_.avail_in = static_cast<uInt>(bytes.size());
    ATHANOR_CHECK(inflateInit2(&stream_, 16 + MAX_WBITS) == Z_OK, name, ": cannot start zlib");
  }
  ~GzipReader() { inflateEnd(&stream_); }
  GzipReader(const GzipReader&) = delete;
  GzipReader& operator=(const GzipReader&) = delete;

  // Fills up to `size` bytes; fewer when the stream ends before. Throws for a damaged stream.
  size_t Read(char* to, size_t size) {
    size_t done = 0;
    while (done < size && !ended_) {
      const auto room = static_cast<uInt>(std::min<size_t>(size - done, 1u << 30));
      stream_.next_out = reinterpret_cast<Bytef*>(to + done);
      stream_.avail_out = room;
      const int result = inflate(&stream_, Z_NO_FLUSH);
      done += room - stream_.avail_out;
      if (result == Z_STREAM_END) {
        ended_ = true;
      } else if (result != Z_OK) {
        throw Error(StrCat(name_, ": byte ", stream_.total_in, ": the gzip stream is ",
                           result == Z_BUF_ERROR    ? "cut off"
                           : stream_.msg != nullptr ? stream_.msg
                                                    : "damaged"));
      }
    }
    return done;
  }
  uint64_t consumed() const { return stream_.total_in; }

 private:
  z_stream stream_ = {};
  std::string_view name_;
  bool ended_ = false;
};

// Versions 2 and 3. `body` keeps what the attributes point into.
Header ReadGzip(std::string_view bytes, std::string_view name, std::string& body,
                Attributes& attributes) {
  GzipReader gzip(bytes, name);
  std::string header_bytes(kHeaderBytes, '\0');
  const size_t got = gzip.Read(header_bytes.data(), kHeaderBytes);
  const Header header = ReadHeader(header_bytes.substr(0, got), bytes.size(), name);
  ATHANOR_CHECK(header.version != 4, name, ": expected SPZ version 2 or 3 in gzip, found 4");
  size_t size = 0;
  for (int a = 0; a < kNumAttributes; ++a) size += header.BytesPerGaussian(a);
  size *= header.count;
  body.resize(size);
  const size_t found = gzip.Read(body.data(), size);
  ATHANOR_CHECK(found == size, name, ": byte ", gzip.consumed(), ": expected ", size,
                " bytes of Gaussians in the gzip stream, found ", found);
  // What may follow are extensions of other programs, announced by a flag. Without one, reading
  // once more checks the stream's end and its checksum.
  if ((header.flags & ~kFlagAntialiased) == 0) {
    char extra;
    ATHANOR_CHECK(gzip.Read(&extra, 1) == 0, name, ": byte ", gzip.consumed(),
                  ": expected the end of the gzip stream after ", header.count, " Gaussians");
  }
  size_t at = 0;
  for (int a = 0; a < kNumAttributes; ++a) {
    const size_t part = header.BytesPerGaussian(a) * header.count;
    attributes[a] = std::string_view(body).substr(at, part);
    at += part;
  }
  return header;
}

// Version 4.
Header ReadStreams(std::string_view bytes, std::string_view name,
                   std::array<std::string, kNumAttributes>& bodies, Attributes& attributes) {
  const Header header = ReadHeader(bytes.substr(0, kHeaderBytes), bytes.size(), name);
  ATHANOR_CHECK(header.version == 4, name, ": byte 4: expected SPZ version 4 without gzip, found ",
                header.version);
  ByteReader reader(bytes, name);
  reader.Take(kHeaderBytes, "SPZ header");
  const auto table = reader.Read<uint32_t>("offset of the table of streams");
  ATHANOR_CHECK(table >= kHeaderBytesVersion4, name,
                ": byte 16: expected a table of streams after the header of ", kHeaderBytesVersion4,
                " bytes, found it at ", table);
  // Vendors' extensions lie in between; none changes what we read.
  reader.Take(table - reader.position(), "header and extensions");
  // An attribute without bytes has no stream.
  std::vector<int> present;
  for (int a = 0; a < kNumAttributes; ++a) {
    if (header.BytesPerGaussian(a) * header.count > 0) present.push_back(a);
  }
  ATHANOR_CHECK(header.streams == present.size(), name, ": byte 15: expected ", present.size(),
                " streams, found ", int{header.streams});
  std::vector<uint64_t> compressed_bytes;
  for (const int a : present) {
    const size_t entry = reader.position();
    compressed_bytes.push_back(reader.Read<uint64_t>("compressed size"));
    const auto plain = reader.Read<uint64_t>("plain size");
    const uint64_t expected = uint64_t{header.BytesPerGaussian(a)} * header.count;
    ATHANOR_CHECK(plain == expected, name, ": byte ", entry + 8, ": expected ", expected,
                  " bytes of ", kAttributeNames[a], ", found ", plain);
  }
  for (size_t k = 0; k < present.size(); ++k) {
    const int a = present[k];
    const size_t start = reader.position();
    const std::string_view compressed = reader.Take(compressed_bytes[k], kAttributeNames[a]);
    std::string& body = bodies[a];
    body.resize(header.BytesPerGaussian(a) * header.count);
    const size_t got =
        ZSTD_decompress(body.data(), body.size(), compressed.data(), compressed.size());
    ATHANOR_CHECK(!ZSTD_isError(got), name, ": byte ", start, ": the zstd stream of ",
                  kAttributeNames[a], " is damaged: ", ZSTD_getErrorName(got));
    ATHANOR_CHECK(got == body.size(), name, ": byte ", start, ": expected ", body.size(),
                  " bytes of ", kAttributeNames[a], ", found ", got);
    attributes[a] = body;
  }
  return header;
}

uint8_t ByteAt(std::string_view bytes, size_t i) { return static_cast<uint8_t>(bytes[i]); }

// Version 2: x, y, z as bytes; w >= 0 follows.
void UnpackFirstThree(std::string_view packed, float* wxyz) {
  float rest = 1;
  for (int j = 0; j < 3; ++j) {
    wxyz[1 + j] = static_cast<float>(ByteAt(packed, j)) / 127.5f - 1.0f;
    rest -= wxyz[1 + j] * wxyz[1 + j];
  }
  wxyz[0] = std::sqrt(std::max(rest, 0.0f));
}

// Versions 3 and 4: 2 bits name the largest of x, y, z, w, which is left out; each other one has a
// sign and 9 bits of size up to sqrt(1/2), the last in the lowest bits.
void UnpackSmallestThree(std::string_view packed, float* wxyz) {
  uint32_t bits;
  std::memcpy(&bits, packed.data(), sizeof bits);
  const int largest = static_cast<int>(bits >> 30);
  float rest = 1;
  const auto place = [](int xyzw) { return (xyzw + 1) % 4; };
  for (int j = 3; j >= 0; --j) {
    if (j == largest) continue;
    const float size = static_cast<float>(bits & 511) / 511.0f * std::sqrt(0.5f);
    wxyz[place(j)] = (bits & 512) != 0 ? -size : size;
    rest -= size * size;
    bits >>= 10;
  }
  wxyz[place(largest)] = std::sqrt(std::max(rest, 0.0f));
}

// One of the 24 rotations that carry the coordinate axes onto each other. Turning a Gaussian's own
// frame by it and its scales with it leaves the Gaussian as it is.
struct AxisTurn {
  float wxyz[4];
  int scale_from[3];  // the turned axis j is the old axis scale_from[j]
};

std::vector<AxisTurn> MakeAxisTurns() {
  std::vector<AxisTurn> turns;
  // Unit quaternions up to sign: all permutations and signs of (1,0,0,0), (1,1,0,0)/sqrt(2) and
  // (1,1,1,1)/2. Those whose first component that is not 0 is positive stand for the pair.
  for (int code = 0; code < 81; ++code) {
    int q[4] = {code / 27 % 3 - 1, code / 9 % 3 - 1, code / 3 % 3 - 1, code % 3 - 1};
    int first = 0;
    while (first < 4 && q[first] == 0) ++first;
    const int length2 = q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3];
    if (first == 4 || q[first] < 0 || length2 == 3) continue;
    const float scale = 1.0f / std::sqrt(static_cast<float>(length2));
    AxisTurn turn;
    for (int j = 0; j < 4; ++j) turn.wxyz[j] = static_cast<float>(q[j]) * scale;
    const auto [w, x, y, z] = turn.wxyz;
    const float matrix[3][3] = {
        {1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)},
        {2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)},
        {2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)}};
    for (int column = 0; column < 3; ++column) {
      for (int row = 0; row < 3; ++row) {
        if (std::abs(matrix[row][column]) > 0.5f) turn.scale_from[column] = row;
      }
    }
    turns.push_back(turn);
  }
  return turns;
}

// Packs a rotation as version 2 does, and says how the Gaussian's axes are named. Version 2 derives
// w from three coarse bytes, which is off by up to 13 degrees where w is small; with the axes named
// so that w is largest (at least 0.85) the error stays below one degree.
const AxisTurn& PackFirstThree(const float* wxyz, const std::vector<AxisTurn>& turns,
                               char* packed) {
  const double length =
      std::hypot(std::hypot(double{wxyz[0]}, wxyz[1]), std::hypot(double{wxyz[2]}, wxyz[3]));
  const auto unit = [&](int j) { return static_cast<float>(wxyz[j] / length); };
  const float w = unit(0), x = unit(1), y = unit(2), z = unit(3);
  const AxisTurn* best = nullptr;
  float best_w = 0;
  for (const AxisTurn& turn : turns) {
    const float* t = turn.wxyz;
    const float turned_w = w * t[0] - x * t[1] - y * t[2] - z * t[3];
    // By a margin, so that rounding does not choose among equals.
    if (best == nullptr || std::abs(turned_w) > std::abs(best_w) + 1e-6f) {
      best = &turn;
      best_w = turned_w;
    }
  }
  const float* t = best->wxyz;
  const float turned[3] = {w * t[1] + x * t[0] + y * t[3] - z * t[2],
                           w * t[2] - x * t[3] + y * t[0] + z * t[1],
                           w * t[3] + x * t[2] - y * t[1] + z * t[0]};
  const float sign = best_w < 0 ? -127.5f : 127.5f;
  for (int j = 0; j < 3; ++j) packed[j] = static_cast<char>(ToByte(turned[j] * sign + 127.5f));
  return *best;
}

// SH coefficients keep 5 bits in degree 1 and 4 above, in the high bits of a byte, which is what
// makes them compress. 0 stays 0.
uint8_t PackSh(float value, int coefficient) {
  const int step = coefficient <= 3 ? 8 : 16;
  const int level =
      static_cast<int>(std::round(std::clamp(value, -2.0f, 2.0f) * 128.0f)) + 128 + step / 2;
  return static_cast<uint8_t>(std::clamp(level / step * step, 0, 255));
}

// As many fractional bits as 24 bits leave beside the farthest position, but 12 (a quarter of a
// millimetre, where the unit is a metre) unless a scene is so small that it needs more.
int ChooseFractionalBits(const GaussianCloud& cloud, std::string_view name) {
  float farthest = 0;
  for (const float v : cloud.means) farthest = std::max(farthest, std::abs(v));
  const auto steps = [&](int bits) { return std::ldexp(double{farthest}, bits) + 1; };
  ATHANOR_CHECK(steps(0) < 0x1p23, name, ": expected positions below 2^23 - 1, which is what SPZ ",
                "can hold, found ", farthest);
  int bits = 12;
  while (steps(bits) >= 0x1p23) --bits;
  while (farthest > 0 && bits < 23 && steps(bits) < 0x1p15) ++bits;
  return bits;
}

std::string Gzip(std::string_view bytes) {
  z_stream stream = {};
  ATHANOR_CHECK(deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 16 + MAX_WBITS, 8,
                             Z_DEFAULT_STRATEGY) == Z_OK,
                "cannot start zlib");
  std::string out;
  size_t at = 0;
  int result = Z_OK;
  std::vector<char> buffer(1 << 20);
  while (result == Z_OK || result == Z_BUF_ERROR) {
    if (stream.avail_in == 0) {
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data() + at));
      stream.avail_in = static_cast<uInt>(std::min<size_t>(bytes.size() - at, 1u << 30));
      at += stream.avail_in;
    }
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = static_cast<uInt>(buffer.size());
    result = deflate(&stream, at == bytes.size() ? Z_FINISH : Z_NO_FLUSH);
    out.append(buffer.data(), buffer.size() - stream.avail_out);
  }
  deflateEnd(&stream);
  return out;
}

}  // namespace

GaussianCloud DecodeSpz(std::string_view bytes, std::string_view name) {
  Attributes attributes;
  std::string body;
  std::array<std::string, kNumAttributes> bodies;
  const Header header = bytes.starts_with("NGSP") ? ReadStreams(bytes, name, bodies, attributes)
                                                  : ReadGzip(bytes, name, body, attributes);
  GaussianCloud cloud;
  cloud.sh_degree = std::min<int>(header.sh_degree, 3);
  if (header.sh_degree > 3) {
    LogWarning(StrCat(name, ": dropped the fourth degree of its spherical harmonics"));
  }
  cloud.Resize(header.count);
  const int coefficients = cloud.sh_coefficients();
  const size_t rotation_bytes = header.BytesPerGaussian(kRotations);
  ParallelFor(cloud.size(), kGaussianGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int j = 0; j < 3; ++j) {
        const size_t at = (i * 3 + j) * 3;
        const uint32_t fixed = ByteAt(attributes[kPositions], at) |
                               ByteAt(attributes[kPositions], at + 1) << 8 |
                               ByteAt(attributes[kPositions], at + 2) << 16;
        // 24 bits with sign: the highest is worth -2^23.
        const int32_t value = static_cast<int32_t>(fixed ^ 0x800000) - 0x800000;
        cloud.means[i * 3 + j] =
            std::ldexp(static_cast<float>(value), -int{header.fractional_bits});
        cloud.log_scales[i * 3 + j] =
            static_cast<float>(ByteAt(attributes[kScales], i * 3 + j)) / 16.0f - 10.0f;
        float* sh = &cloud.sh[(i * 3 + j) * coefficients];
        const float color = static_cast<float>(ByteAt(attributes[kColors], i * 3 + j)) / 255.0f;
        sh[0] = (color - 0.5f) / kColorScale;
        for (int k = 1; k < coefficients; ++k) {
          const size_t place = (i * header.sh_rest() + k - 1) * 3 + j;
          sh[k] = (static_cast<float>(ByteAt(attributes[kSh], place)) - 128.0f) / 128.0f;
        }
      }
      cloud.opacity_logits[i] =
          LogitOfStored(static_cast<float>(ByteAt(attributes[kOpacities], i)) / 255.0f);
      const std::string_view packed =
          attributes[kRotations].substr(i * rotation_bytes, rotation_bytes);
      if (header.version == 2) {
        UnpackFirstThree(packed, &cloud.quats[i * 4]);
      } else {
        UnpackSmallestThree(packed, &cloud.quats[i * 4]);
      }
    }
  });
  cloud.Check(name);
  return cloud;
}

std::string EncodeSpz(const GaussianCloud& cloud, std::string_view name) {
  ATHANOR_CHECK(cloud.size() <= std::numeric_limits<uint32_t>::max(), name,
                ": expected fewer Gaussians than 2^32, found ", cloud.size());
  const int coefficients = cloud.sh_coefficients();
  const Header header{2,
                      static_cast<uint32_t>(cloud.size()),
                      static_cast<uint8_t>(cloud.sh_degree),
                      static_cast<uint8_t>(ChooseFractionalBits(cloud, name)),
                      0,
                      0};
  std::string bytes(kHeaderBytes, '\0');
  std::memcpy(bytes.data(), &kMagic, 4);
  std::memcpy(bytes.data() + 4, &header, kHeaderBytes - 4);
  static_assert(sizeof(Header) == kHeaderBytes - 4);
  std::array<size_t, kNumAttributes> start;
  for (int a = 0; a < kNumAttributes; ++a) {
    start[a] = bytes.size();
    bytes.resize(bytes.size() + header.BytesPerGaussian(a) * cloud.size());
  }
  const std::vector<AxisTurn> turns = MakeAxisTurns();
  ParallelFor(cloud.size(), kGaussianGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const AxisTurn& turn =
          PackFirstThree(&cloud.quats[i * 4], turns, &bytes[start[kRotations] + i * 3]);
      bytes[start[kOpacities] + i] =
          static_cast<char>(ToByte(255.0f * Sigmoid(cloud.opacity_logits[i])));
      for (int j = 0; j < 3; ++j) {
        const auto fixed = static_cast<int32_t>(
            std::lround(std::ldexp(double{cloud.means[i * 3 + j]}, header.fractional_bits)));
        for (int byte = 0; byte < 3; ++byte) {
          bytes[start[kPositions] + (i * 3 + j) * 3 + byte] =
              static_cast<char>(static_cast<uint32_t>(fixed) >> (8 * byte));
        }
        const float log_scale = cloud.log_scales[i * 3 + turn.scale_from[j]];
        bytes[start[kScales] + i * 3 + j] = static_cast<char>(ToByte((log_scale + 10.0f) * 16.0f));
        const float* sh = &cloud.sh[(i * 3 + j) * coefficients];
        bytes[start[kColors] + i * 3 + j] =
            static_cast<char>(ToByte(255.0f * (0.5f + kColorScale * sh[0])));
        for (int k = 1; k < coefficients; ++k) {
          bytes[start[kSh] + (i * (coefficients - 1) + k - 1) * 3 + j] =
              static_cast<char>(PackSh(sh[k], k));
        }
      }
    }
  });
  return Gzip(bytes);
}

}  // namespace athanor::internal
