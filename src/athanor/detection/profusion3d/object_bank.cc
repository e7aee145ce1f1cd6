#include "athanor/detection/profusion3d/object_bank.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string_view>

#include "athanor/base/error.h"
#include "athanor/detection/profusion3d/attributes.h"
#include "athanor/geometry/box3.h"

namespace athanor {
namespace {

constexpr std::string_view kMagic = "ATHOBANK";
constexpr uint32_t kVersion = 2;
constexpr size_t kHeaderBytes = 16, kEntryBytes = 16, kFooterBytes = 24;
constexpr int kJpegQuality = 92;

template <typename T>
void Append(const T& value, std::string* bytes) {
  static_assert(std::is_trivially_copyable_v<T>);
  bytes->append(reinterpret_cast<const char*>(&value), sizeof value);
}

Box3 BoxOf(const std::array<float, kBoxColumns>& row) {
  return MakeBox3({row[0], row[1], row[2]}, {row[3], row[4], row[5]}, row[6]);
}

// The part of picture `camera` around the outline; empty when too small.
Image CutPatch(const at::Tensor& images, int64_t camera,
               const std::vector<Eigen::Vector2d>& outline, int min_px, int* left, int* top) {
  Eigen::Vector2d low(INFINITY, INFINITY), high(-INFINITY, -INFINITY);
  for (const Eigen::Vector2d& pixel : outline) {
    low = low.cwiseMin(pixel);
    high = high.cwiseMax(pixel);
  }
  const auto width = static_cast<int>(images.size(3)), height = static_cast<int>(images.size(2));
  if (outline.empty() || !(low.x() < width && low.y() < height && high.x() > 0 && high.y() > 0)) {
    return {};
  }
  *left = static_cast<int>(std::floor(std::max(low.x(), 0.0)));
  *top = static_cast<int>(std::floor(std::max(low.y(), 0.0)));
  const int right = static_cast<int>(std::ceil(std::min<double>(high.x(), width)));
  const int bottom = static_cast<int>(std::ceil(std::min<double>(high.y(), height)));
  if (right - *left < min_px || bottom - *top < min_px) return {};
  Image patch(right - *left, bottom - *top, 3);
  const uint8_t* planes = images.data_ptr<uint8_t>() + camera * 3 * width * height;
  for (int y = 0; y < patch.height; ++y) {
    for (int x = 0; x < patch.width; ++x) {
      for (int c = 0; c < 3; ++c) {
        patch.at(x, y)[c] =
            planes[(static_cast<size_t>(c) * height + y + *top) * width + x + *left];
      }
    }
  }
  return patch;
}

std::string Pack(const BankObject& object) {
  std::string bytes;
  Append(object.box, &bytes);
  Append(static_cast<int32_t>(object.attribute), &bytes);
  Append(static_cast<uint32_t>(object.points.size() / kPointColumns), &bytes);
  Append(static_cast<uint32_t>(object.patches.size()), &bytes);
  bytes.append(reinterpret_cast<const char*>(object.points.data()),
               object.points.size() * sizeof(float));
  for (const ObjectPatch& patch : object.patches) {
    const std::string jpeg = EncodeJpeg(patch.image, "patch of an object", kJpegQuality);
    Append(patch.camera, &bytes);
    Append(static_cast<int32_t>(patch.left_px), &bytes);
    Append(static_cast<int32_t>(patch.top_px), &bytes);
    Append(static_cast<uint32_t>(jpeg.size()), &bytes);
    bytes += jpeg;
  }
  return bytes;
}

}  // namespace

SampleCamera CameraOf(const DetectionSample& sample, int64_t camera) {
  SampleCamera result;
  const float* matrix = sample.camera_from_ego.data_ptr<float>() + camera * 16;
  std::copy(matrix, matrix + 12, result.camera_from_ego.begin());
  const float* k = sample.intrinsics.data_ptr<float>() + camera * 9;
  result.fx_fy_cx_cy = {k[0], k[4], k[2], k[5]};
  return result;
}

std::vector<Eigen::Vector2d> OutlineOf(const std::array<float, kBoxColumns>& box,
                                       const SampleCamera& camera) {
  constexpr int kPieces = 8;
  constexpr double kNearest_m = 0.1;
  const Eigen::Matrix<double, 3, 4> matrix =
      Eigen::Map<const Eigen::Matrix<float, 3, 4, Eigen::RowMajor>>(camera.camera_from_ego.data())
          .cast<double>();
  const auto [fx, fy, cx, cy] = camera.fx_fy_cx_cy;
  std::array<Eigen::Vector3d, 8> corners = BoxOf(box).Corners();
  for (Eigen::Vector3d& corner : corners) corner = matrix * corner.homogeneous();
  std::vector<Eigen::Vector2d> outline;
  for (int i = 0; i < 8; ++i) {
    for (const int bit : {4, 2, 1}) {
      if ((i & bit) != 0) continue;
      Eigen::Vector3d a = corners[i], b = corners[i | bit];
      if (a.z() < b.z()) std::swap(a, b);
      if (a.z() < kNearest_m) continue;
      if (b.z() < kNearest_m) b = a + (b - a) * ((a.z() - kNearest_m) / (a.z() - b.z()));
      for (int k = 0; k <= kPieces; ++k) {
        const Eigen::Vector3d at = a + (b - a) * (static_cast<double>(k) / kPieces);
        outline.emplace_back(fx * at.x() / at.z() + cx, fy * at.y() / at.z() + cy);
      }
    }
  }
  return outline;
}

ObjectBankWriter::ObjectBankWriter(const std::filesystem::path& path, const BankOptions& options)
    : path_(path), options_(options), file_(path) {
  std::string header(kMagic);
  Append(kVersion, &header);
  Append(static_cast<uint32_t>(kPointColumns), &header);
  file_.Write(header);
  written_ = header.size();
}

int ObjectBankWriter::AddFrame(const DetectionSample& sample) {
  const at::Tensor points = sample.points.contiguous(), images = sample.images.contiguous();
  const at::Tensor boxes = sample.boxes.contiguous();
  const float* const first_point = points.data_ptr<float>();
  int added = 0;
  for (int64_t b = 0; b < boxes.size(0); ++b) {
    BankObject object;
    object.label = static_cast<int>(sample.labels.data_ptr<int64_t>()[b]);
    object.attribute = static_cast<int>(sample.attributes.data_ptr<int64_t>()[b]);
    const float* row = boxes.data_ptr<float>() + b * kBoxColumns;
    std::copy(row, row + kBoxColumns, object.box.begin());
    const Box3 box = BoxOf(object.box);
    if (std::hypot(row[0], row[1]) < options_.min_distance_m) continue;
    const auto radius = static_cast<float>(0.5 * box.size_m.norm());
    for (int64_t i = 0; i < points.size(0); ++i) {
      const float* p = first_point + i * kPointColumns;
      if (std::abs(p[0] - row[0]) > radius || std::abs(p[1] - row[1]) > radius) continue;
      if (!box.Contains(Eigen::Vector3d(p[0], p[1], p[2]))) continue;
      object.points.insert(object.points.end(), p, p + kPointColumns);
    }
    if (static_cast<int>(object.points.size()) < options_.min_points * kPointColumns) continue;
    for (int64_t c = 0; c < images.size(0); ++c) {
      if (sample.has_camera.data_ptr<uint8_t>()[c] == 0) continue;
      ObjectPatch patch;
      patch.camera = CameraOf(sample, c);
      patch.image = CutPatch(images, c, OutlineOf(object.box, patch.camera), options_.min_patch_px,
                             &patch.left_px, &patch.top_px);
      if (patch.image.width > 0) object.patches.push_back(std::move(patch));
    }
    const std::string bytes = Pack(object);
    file_.Write(bytes);
    entries_.push_back(
        {written_, static_cast<uint32_t>(bytes.size()), static_cast<uint32_t>(object.label)});
    written_ += bytes.size();
    ++added;
  }
  return added;
}

void ObjectBankWriter::Finish() {
  ATHANOR_CHECK(!entries_.empty(), path_.string(), ": expected objects of at least ",
                options_.min_points, " LiDAR points for the bank, found none");
  std::string bytes;
  for (const Entry& entry : entries_) {
    Append(entry.offset, &bytes);
    Append(entry.size, &bytes);
    Append(entry.label, &bytes);
  }
  Append(written_, &bytes);
  Append(static_cast<uint64_t>(entries_.size()), &bytes);
  bytes += kMagic;
  file_.Write(bytes);
  file_.Commit();
}

ObjectBank::ObjectBank(const std::filesystem::path& path) : name_(path.string()), file_(path) {
  const std::string_view bytes = file_.bytes();
  ATHANOR_CHECK(bytes.size() >= kHeaderBytes + kFooterBytes && bytes.starts_with(kMagic) &&
                    bytes.ends_with(kMagic),
                name_, ": expected a bank of objects, found another file, or half of one");
  ByteReader header(bytes.substr(kMagic.size()), name_);
  const auto version = header.Read<uint32_t>("version");
  const auto columns = header.Read<uint32_t>("columns");
  ATHANOR_CHECK(version == kVersion && columns == kPointColumns, name_,
                ": expected a bank of version ", kVersion, " with ", kPointColumns,
                " columns, found version ", version, " with ", columns);
  ByteReader footer(bytes.substr(bytes.size() - kFooterBytes), name_);
  const auto index = footer.Read<uint64_t>("place of the index");
  const auto count = footer.Read<uint64_t>("number of objects");
  const size_t index_end = bytes.size() - kFooterBytes;
  ATHANOR_CHECK(index >= kHeaderBytes && index <= index_end &&
                    (index_end - index) % kEntryBytes == 0 &&
                    (index_end - index) / kEntryBytes == count,
                name_, ": byte ", index_end, ": expected an index of ", count, " objects at byte ",
                index, ", which does not fit");
  ByteReader entries(bytes.substr(index, index_end - index), name_);
  for (uint64_t i = 0; i < count; ++i) {
    Entry entry;
    entry.offset = entries.Read<uint64_t>("place of an object");
    entry.size = entries.Read<uint32_t>("size of an object");
    const auto label = entries.Read<uint32_t>("class of an object");
    ATHANOR_CHECK(label < kNumDetectionClasses && entry.offset >= kHeaderBytes &&
                      entry.offset <= index && entry.size <= index - entry.offset,
                  name_, ": object ", i, ": expected a class below ", kNumDetectionClasses,
                  " and bytes before ", index, ", found class ", label, ", ", entry.size,
                  " bytes at ", entry.offset);
    entries_[label].push_back(entry);
  }
}

BankObject ObjectBank::Read(int label, int64_t index) const {
  const Entry& entry = entries_.at(label).at(index);
  const std::string where = name_ + ": object at byte " + std::to_string(entry.offset);
  ByteReader bytes(file_.bytes().substr(entry.offset, entry.size), where);
  BankObject object;
  object.label = label;
  object.box = bytes.Read<std::array<float, kBoxColumns>>("box");
  object.attribute = bytes.Read<int32_t>("attribute");
  ATHANOR_CHECK(object.attribute >= -1 && object.attribute < kNumAttributes, where,
                ": expected an attribute below ", kNumAttributes, ", or -1, found ",
                object.attribute);
  const auto points = bytes.Read<uint32_t>("number of points");
  const auto patches = bytes.Read<uint32_t>("number of patches");
  const std::string_view rows =
      bytes.Take(size_t{points} * kPointColumns * sizeof(float), "points");
  object.points.resize(size_t{points} * kPointColumns);
  std::memcpy(object.points.data(), rows.data(), rows.size());
  for (const float value : object.points) {
    ATHANOR_CHECK(std::isfinite(value), where, ": expected finite points, found ", value);
  }
  for (int k = 0; k < 7; ++k) {  // velocities may be NaN
    ATHANOR_CHECK(std::isfinite(object.box[k]) && (k < 3 || k == 6 || object.box[k] > 0), where,
                  ": expected a box, found ", object.box[k], " in column ", k);
  }
  for (uint32_t i = 0; i < patches; ++i) {
    ObjectPatch patch;
    patch.camera = bytes.Read<SampleCamera>("camera");
    patch.left_px = bytes.Read<int32_t>("left of a patch");
    patch.top_px = bytes.Read<int32_t>("top of a patch");
    const auto size = bytes.Read<uint32_t>("size of a patch");
    patch.image = DecodeImage(bytes.Take(size, "patch"), where, 3);
    object.patches.push_back(std::move(patch));
  }
  return object;
}

}  // namespace athanor
