// ScanNetSens: the container of ScanNet's raw scans.
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/datasets/rotation_matrix.h"
#include "athanor/datasets/scannet_reader.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kVersion = 4;
constexpr uint32_t kMaxSidePx = 1 << 14;
constexpr uint64_t kMaxNameBytes = 4096;
constexpr uint64_t kMatrixBytes = 64;
constexpr uint64_t kFrameBytes = kMatrixBytes + 4 * 8;  // before the pictures of a frame

enum ColorCompression { kColorRaw, kColorPng, kColorJpeg };
enum DepthCompression { kDepthRaw, kDepthZlib };

Eigen::Matrix4f MatrixOf(ByteReader& reader, std::string_view what) {
  Eigen::Matrix4f matrix;
  for (int row = 0; row < 4; ++row) {
    for (int column = 0; column < 4; ++column) matrix(row, column) = reader.Read<float>(what);
  }
  return matrix;
}

std::string FormatMatrix(const Eigen::Matrix4d& matrix) {
  std::ostringstream text;
  text.precision(9);
  for (int row = 0; row < 4; ++row) {
    for (int column = 0; column < 4; ++column)
      text << (column > 0 ? " " : "") << matrix(row, column);
    text << "\n";
  }
  return text.str();
}

}  // namespace

ScanNetSens::ScanNetSens(const fs::path& path)
    : stream_(std::make_unique<std::ifstream>(path, std::ios::binary)), name_(path.string()) {
  ATHANOR_CHECK(*stream_, name_, ": cannot be opened");
  ReadIndex();
}

ScanNetSens::ScanNetSens(std::unique_ptr<std::istream> stream, std::string name)
    : stream_(std::move(stream)), name_(std::move(name)) {
  ReadIndex();
}

std::string ScanNetSens::ReadBytes(uint64_t offset, uint64_t count) const {
  ATHANOR_CHECK(offset <= file_bytes_ && count <= file_bytes_ - offset, name_, ": byte ", offset,
                ": expected ", count, " bytes, found ",
                file_bytes_ - std::min(offset, file_bytes_));
  std::string bytes(count, '\0');
  stream_->clear();
  stream_->seekg(static_cast<std::streamoff>(offset));
  stream_->read(bytes.data(), static_cast<std::streamsize>(count));
  ATHANOR_CHECK(static_cast<uint64_t>(stream_->gcount()) == count, name_, ": byte ", offset,
                ": expected ", count, " bytes, found ", stream_->gcount());
  return bytes;
}

void ScanNetSens::ReadIndex() {
  stream_->seekg(0, std::ios::end);
  const std::streamoff end = stream_->tellg();
  ATHANOR_CHECK(end >= 0, name_, ": cannot be read");
  file_bytes_ = static_cast<uint64_t>(end);

  const std::string start = ReadBytes(0, 12);
  ByteReader prefix(start, name_);
  const auto version = prefix.Read<uint32_t>("version");
  if (version != kVersion) {
    prefix.Fail(StrCat("expected a .sens file of version ", kVersion, ", found ", version));
  }
  const auto name_bytes = prefix.Read<uint64_t>("length of the sensor's name");
  if (name_bytes > kMaxNameBytes) {
    prefix.Fail(StrCat("expected a sensor's name of at most ", kMaxNameBytes, " bytes, found ",
                       name_bytes));
  }
  sensor_name_ = ReadBytes(12, name_bytes);
  uint64_t offset = 12 + name_bytes;
  const std::string header = ReadBytes(offset, 4 * kMatrixBytes + 6 * 4 + 4 + 8);
  ByteReader reader(header, name_);
  for (Eigen::Matrix4f& matrix : matrices_) matrix = MatrixOf(reader, "calibration");
  const auto fail = [&](std::string_view message) {
    throw Error(StrCat(name_, ": byte ", offset + reader.position(), ": ", message));
  };
  color_compression_ = reader.Read<int32_t>("compression of colour");
  depth_compression_ = reader.Read<int32_t>("compression of depth");
  if (color_compression_ < kColorRaw || color_compression_ > kColorJpeg) {
    fail(StrCat("expected colour stored raw (0), as PNG (1) or JPEG (2), found ",
                color_compression_));
  }
  if (depth_compression_ != kDepthRaw && depth_compression_ != kDepthZlib) {
    fail(StrCat("expected depth stored raw (0) or by zlib (1), found ", depth_compression_));
  }
  uint32_t sides[4];
  for (uint32_t& side : sides) {
    side = reader.Read<uint32_t>("size of images");
    if (side == 0 || side > kMaxSidePx) {
      fail(StrCat("expected images of 1 to ", kMaxSidePx, " pixels a side, found ", side));
    }
  }
  color_size_ = {static_cast<int>(sides[0]), static_cast<int>(sides[1])};
  depth_size_ = {static_cast<int>(sides[2]), static_cast<int>(sides[3])};
  depth_shift_ = reader.Read<float>("steps of depth per metre");
  if (!(depth_shift_ > 0 && std::isfinite(depth_shift_))) {
    fail(StrCat("expected steps of depth per metre, found ", depth_shift_));
  }
  const auto count = reader.Read<uint64_t>("number of frames");
  offset += header.size();
  ATHANOR_CHECK(count <= (file_bytes_ - offset) / kFrameBytes, name_, ": byte ", offset,
                ": expected ", count, " frames, which do not fit in the ", file_bytes_ - offset,
                " bytes that are left");
  frames_.resize(count);
  for (uint64_t i = 0; i < count; ++i) {
    const std::string bytes = ReadBytes(offset, kFrameBytes);
    ByteReader fields(bytes, name_);
    Frame& frame = frames_[i];
    const Eigen::Matrix4d pose = MatrixOf(fields, "pose").cast<double>();
    if (pose.allFinite()) {
      const auto rotation = NearestRotation(pose.topLeftCorner<3, 3>());
      ATHANOR_CHECK(rotation, name_, ": byte ", offset, ": frame ", i,
                    ": expected a pose, found what is no rotation");
      frame.world_from_camera = Rigid3{*rotation, pose.topRightCorner<3, 1>()};
    }
    frame.color_time_us = fields.Read<uint64_t>("time of colour");
    frame.depth_time_us = fields.Read<uint64_t>("time of depth");
    frame.color_bytes = fields.Read<uint64_t>("bytes of colour");
    frame.depth_bytes = fields.Read<uint64_t>("bytes of depth");
    offset += kFrameBytes;
    const uint64_t left = file_bytes_ - offset;
    ATHANOR_CHECK(frame.color_bytes <= left && frame.depth_bytes <= left - frame.color_bytes, name_,
                  ": byte ", offset, ": frame ", i, ": expected pictures within the ", left,
                  " bytes that are left, found ", frame.color_bytes, " and ", frame.depth_bytes,
                  " bytes");
    frame.color_offset = offset;
    offset += frame.color_bytes + frame.depth_bytes;
  }
}

const ScanNetSens::Frame& ScanNetSens::At(int64_t frame) const {
  ATHANOR_CHECK(frame >= 0 && frame < static_cast<int64_t>(frames_.size()), name_,
                ": expected a frame of 0 to ", static_cast<int64_t>(frames_.size()) - 1, ", found ",
                frame);
  return frames_[frame];
}

std::string ScanNetSens::ReadColorBytes(int64_t frame) const {
  return ReadBytes(At(frame).color_offset, At(frame).color_bytes);
}

Image ScanNetSens::ReadColor(int64_t frame) const {
  const std::string bytes = ReadColorBytes(frame);
  const std::string where = StrCat(name_, ": colour of frame ", frame);
  Image image;
  if (color_compression_ == kColorRaw) {
    ATHANOR_CHECK(bytes.size() == size_t{3} * color_size_.width * color_size_.height, where,
                  ": expected ", color_size_.width, "x", color_size_.height, " RGB, found ",
                  bytes.size(), " bytes");
    image = Image(color_size_.width, color_size_.height, 3);
    std::copy(bytes.begin(), bytes.end(), image.data.begin());
    return image;
  }
  image = DecodeImage(bytes, where, 3);
  ATHANOR_CHECK(image.width == color_size_.width && image.height == color_size_.height, where,
                ": expected ", color_size_.width, "x", color_size_.height, ", found ", image.width,
                "x", image.height);
  return image;
}

DepthImage ScanNetSens::ReadDepth(int64_t frame) const {
  const Frame& place = At(frame);
  const std::string bytes = ReadBytes(place.color_offset + place.color_bytes, place.depth_bytes);
  DepthImage depth(depth_size_.width, depth_size_.height, 1);
  uLongf size = static_cast<uLongf>(depth.size_bytes());
  if (depth_compression_ == kDepthZlib) {
    const int result = uncompress(reinterpret_cast<Bytef*>(depth.data.data()), &size,
                                  reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
    if (result != Z_OK) size = 0;
  } else {
    std::memcpy(depth.data.data(), bytes.data(), std::min<size_t>(size, bytes.size()));
    size = bytes.size();
  }
  ATHANOR_CHECK(size == depth.size_bytes(), name_, ": depth of frame ", frame, ": expected ",
                depth_size_.width, "x", depth_size_.height, " values of 16 bits, found ",
                bytes.size(), " bytes that hold others");
  return depth;
}

void ScanNetSens::Export(const fs::path& folder, int every) const {
  ATHANOR_CHECK(every >= 1, name_, ": expected to export every 1st frame or fewer, found every ",
                every);
  WriteFile(folder / "intrinsic" / "intrinsic_color.txt",
            FormatMatrix(matrices_[0].cast<double>()));
  WriteFile(folder / "intrinsic" / "extrinsic_color.txt",
            FormatMatrix(matrices_[1].cast<double>()));
  WriteFile(folder / "intrinsic" / "intrinsic_depth.txt",
            FormatMatrix(matrices_[2].cast<double>()));
  WriteFile(folder / "intrinsic" / "extrinsic_depth.txt",
            FormatMatrix(matrices_[3].cast<double>()));
  for (size_t i = 0; i < frames_.size(); i += every) {
    const auto frame = static_cast<int64_t>(i);
    Eigen::Matrix4d pose = Eigen::Matrix4d::Constant(-INFINITY);
    if (frames_[i].world_from_camera) {
      pose.setIdentity();
      pose.topRows<3>() = frames_[i].world_from_camera->ToMatrix();
    }
    if (color_compression_ == kColorJpeg) {
      WriteFile(folder / "color" / StrCat(i, ".jpg"), ReadColorBytes(frame));
    } else {
      WriteImage(folder / "color" / StrCat(i, ".png"), ReadColor(frame));
    }
    DepthImage depth = ReadDepth(frame);
    if (depth_shift_ != 1000) {
      for (uint16_t& steps : depth.data) {
        const double mm = std::round(1000.0 / depth_shift_ * steps);
        steps = static_cast<uint16_t>(std::min(mm, 65535.0));
      }
    }
    WriteDepthPng(folder / "depth" / StrCat(i, ".png"), depth);
    WriteFile(folder / "pose" / StrCat(i, ".txt"), FormatMatrix(pose));
  }
}

}  // namespace athanor
