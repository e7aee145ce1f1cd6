#include "athanor/detection/pretraining/masking.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/detection/profusion3d/camera_encoder.h"
#include "athanor/detection/profusion3d/plain_tensor.h"

namespace athanor {
namespace {

constexpr double kNearestM = 0.1;
constexpr float kUnknown = std::numeric_limits<float>::quiet_NaN();
// Least deviation of a patch's bytes: one without any contrast has nothing to be found.
constexpr double kLeastSpread = 1;

// Exactly the rounded share of `count`, each as likely as any other.
std::vector<uint8_t> Draw(int64_t count, double share, Random* random) {
  std::vector<uint8_t> drawn(count);
  auto wanted = static_cast<uint32_t>(std::lround(share * static_cast<double>(count)));
  for (int64_t i = 0; i < count; ++i) {
    drawn[i] = random->Below(static_cast<uint32_t>(count - i)) < wanted;
    wanted -= drawn[i];
  }
  return drawn;
}

float ClippedNormal(double clip, Random* random) {
  return std::clamp(random->Normal(), static_cast<float>(-clip), static_cast<float>(clip));
}

at::Tensor ToTensor(const std::vector<int64_t>& values) {
  const at::Tensor tensor = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), tensor.data_ptr<int64_t>());
  return tensor;
}

// The pictures of a sample as bytes, and where its cameras see points.
class Pictures {
 public:
  explicit Pictures(const DetectionSample& sample)
      : images_(sample.images.contiguous()),
        camera_from_ego_(sample.camera_from_ego.contiguous()),
        intrinsics_(sample.intrinsics.contiguous()),
        height_(images_.size(2)),
        width_(images_.size(3)) {
    for (int64_t c = 0; c < images_.size(0); ++c) {
      if (sample.has_camera[c].item<uint8_t>() != 0) cameras_.push_back(c);
    }
  }

  const std::vector<int64_t>& cameras() const { return cameras_; }  // those that are there
  int64_t height() const { return height_; }
  int64_t width() const { return width_; }
  // Of colour k at row y.
  const uint8_t* Row(int64_t camera, int k, int64_t y) const {
    return images_.data_ptr<uint8_t>() + ((camera * 3 + k) * height_ + y) * width_;
  }

  struct Seen {
    int64_t x, y;  // pixel
    double depth_m;
  };
  std::optional<Seen> See(int64_t camera, const float* point) const {
    const float* m = camera_from_ego_.data_ptr<float>() + camera * 16;
    const float* k = intrinsics_.data_ptr<float>() + camera * 9;
    std::array<double, 3> at;
    for (int row = 0; row < 3; ++row) {
      at[row] = double{m[row * 4]} * point[0] + double{m[row * 4 + 1]} * point[1] +
                double{m[row * 4 + 2]} * point[2] + m[row * 4 + 3];
    }
    if (!(at[2] > kNearestM)) return std::nullopt;
    const double x = (k[0] * at[0] + k[1] * at[1]) / at[2] + k[2];
    const double y = k[4] * at[1] / at[2] + k[5];
    const bool inside =
        x >= 0 && x < static_cast<double>(width_) && y >= 0 && y < static_cast<double>(height_);
    if (!inside) return std::nullopt;
    return Seen{static_cast<int64_t>(x), static_cast<int64_t>(y), at[2]};
  }

  // 0..1, as ITU-R BT.601 weighs the colours; NaN where no camera looks.
  float BrightnessOf(const float* point) const {
    for (const int64_t c : cameras_) {
      const auto seen = See(c, point);
      if (!seen) continue;
      return (0.299f * Row(c, 0, seen->y)[seen->x] + 0.587f * Row(c, 1, seen->y)[seen->x] +
              0.114f * Row(c, 2, seen->y)[seen->x]) /
             255;
    }
    return kUnknown;
  }

 private:
  at::Tensor images_, camera_from_ego_, intrinsics_;
  int64_t height_, width_;
  std::vector<int64_t> cameras_;
};

// Masks and disturbs the pictures of `result->input`; says what is to be found there.
class PatchMasker {
 public:
  PatchMasker(const Pictures& pictures, const MaskingOptions& options, MaskedSample* result)
      : pictures_(pictures), options_(options), result_(result) {}

  void Run(double ratio, Random* masks, Random* noise) {
    const int64_t patch = options_.patch_px;
    const int64_t rows = pictures_.height() / patch, columns = pictures_.width() / patch;
    const auto per_camera = rows * columns;
    const int64_t per_patch = patch / result_->stride_px;
    const std::vector<uint8_t> drawn =
        Draw(static_cast<int64_t>(pictures_.cameras().size()) * per_camera, ratio, masks);
    is_masked_.assign(result_->input.images.size(0) * result_->map_height * result_->map_width, 0);
    std::vector<int64_t> masked, visible;
    for (size_t i = 0; i < pictures_.cameras().size(); ++i) {
      const int64_t c = pictures_.cameras()[i];
      for (int64_t y = 0; y < result_->map_height; ++y) {
        for (int64_t x = 0; x < result_->map_width; ++x) {
          const int64_t cell = CellAt(c, y, x);
          is_masked_[cell] =
              drawn[static_cast<int64_t>(i) * per_camera + y / per_patch * columns + x / per_patch];
          (is_masked_[cell] != 0 ? masked : visible).push_back(cell);
        }
      }
    }
    result_->masked_patches = ToTensor(masked);
    result_->visible_patches = ToTensor(visible);
    Hide(masked);
    Disturb(visible, noise);
  }

  // Depths of the masked cells; points [N, kPointColumns].
  void FindDepths(const at::Tensor& points) {
    std::vector<double> sums(is_masked_.size());
    std::vector<int32_t> counts(is_masked_.size());
    const auto* point = points.data_ptr<float>();
    for (int64_t n = 0; n < points.size(0); ++n, point += kPointColumns) {
      for (const int64_t c : pictures_.cameras()) {
        const auto seen = pictures_.See(c, point);
        if (!seen) continue;
        const int64_t cell = CellAt(c, seen->y / result_->stride_px, seen->x / result_->stride_px);
        sums[cell] += std::log(seen->depth_m);
        ++counts[cell];
      }
    }
    const at::Tensor& cells = result_->masked_patches;
    result_->patch_log_depth = at::empty(cells.sizes(), at::kFloat);
    for (int64_t t = 0; t < cells.size(0); ++t) {
      const int64_t cell = cells.data_ptr<int64_t>()[t];
      result_->patch_log_depth.data_ptr<float>()[t] =
          counts[cell] > 0 ? static_cast<float>(sums[cell] / counts[cell]) : kUnknown;
    }
  }

 private:
  int64_t CellAt(int64_t camera, int64_t y, int64_t x) const {
    return (camera * result_->map_height + y) * result_->map_width + x;
  }
  // The first pixel of a cell.
  struct Corner {
    int64_t camera, y, x;
  };
  Corner CornerOf(int64_t cell) const {
    const int64_t row = cell / result_->map_width;
    return {row / result_->map_height, row % result_->map_height * result_->stride_px,
            cell % result_->map_width * result_->stride_px};
  }
  uint8_t* InputRow(int64_t camera, int k, int64_t y) {
    return result_->input.images.data_ptr<uint8_t>() +
           ((camera * 3 + k) * pictures_.height() + y) * pictures_.width();
  }

  void Hide(const std::vector<int64_t>& cells) {
    const auto count = static_cast<int64_t>(cells.size());
    const int64_t side = result_->stride_px, patch = options_.patch_px;
    result_->patch_pixels = at::empty({count, 3, side, side}, at::kFloat);
    result_->patch_mean = at::empty({count}, at::kFloat);
    result_->patch_spread = at::empty({count}, at::kFloat);
    auto* pixels = result_->patch_pixels.data_ptr<float>();
    for (int64_t t = 0; t < count; ++t) {
      const Corner at = CornerOf(cells[t]);
      double sum = 0, squares = 0;  // of the whole patch
      for (int k = 0; k < 3; ++k) {
        for (int64_t y = at.y / patch * patch, end = y + patch; y < end; ++y) {
          const uint8_t* row = pictures_.Row(at.camera, k, y) + at.x / patch * patch;
          for (int64_t x = 0; x < patch; ++x) sum += row[x], squares += row[x] * row[x];
        }
      }
      const auto numbers = static_cast<double>(3 * patch * patch);
      const double mean = sum / numbers;
      const double spread =
          std::max(std::sqrt(std::max(squares / numbers - mean * mean, 0.0)), kLeastSpread);
      result_->patch_mean.data_ptr<float>()[t] = static_cast<float>(mean);
      result_->patch_spread.data_ptr<float>()[t] = static_cast<float>(spread);
      for (int k = 0; k < 3; ++k) {
        for (int64_t y = 0; y < side; ++y) {
          const uint8_t* row = pictures_.Row(at.camera, k, at.y + y) + at.x;
          for (int64_t x = 0; x < side; ++x) {
            *pixels++ = static_cast<float>((row[x] - mean) / spread);
          }
          std::memset(InputRow(at.camera, k, at.y + y) + at.x, static_cast<int>(kPixelMean), side);
        }
      }
    }
  }

  void Disturb(const std::vector<int64_t>& cells, Random* random) {
    const auto count = static_cast<int64_t>(cells.size());
    const int64_t block = options_.noise_block_px, blocks = result_->stride_px / block;
    result_->patch_noise = at::empty({count, 3, blocks, blocks}, at::kFloat);
    const double sigma = options_.pixel_sigma * kPixelDeviation;
    if (sigma == 0) {
      result_->patch_noise.zero_();
      return;
    }
    auto* added = result_->patch_noise.data_ptr<float>();
    for (const int64_t cell : cells) {
      const Corner at = CornerOf(cell);
      for (int k = 0; k < 3; ++k) {
        for (int64_t b = 0; b < blocks * blocks; ++b) {
          const double noise = sigma * ClippedNormal(options_.noise_clip, random);
          int64_t difference = 0;  // bytes end at 0 and 255
          for (int64_t y = 0; y < block; ++y) {
            uint8_t* row =
                InputRow(at.camera, k, at.y + b / blocks * block + y) + at.x + b % blocks * block;
            for (int64_t x = 0; x < block; ++x) {
              const int before = row[x];
              row[x] = static_cast<uint8_t>(
                  std::lround(std::clamp(static_cast<double>(before) + noise, 0.0, 255.0)));
              difference += row[x] - before;
            }
          }
          *added++ = static_cast<float>(static_cast<double>(difference) /
                                        (static_cast<double>(block * block) * sigma));
        }
      }
    }
  }

  const Pictures& pictures_;
  const MaskingOptions& options_;
  MaskedSample* result_;
  std::vector<uint8_t> is_masked_;  // per cell of all camera maps
};

// Cells of the bird's-eye view.
class Cells {
 public:
  explicit Cells(const BevGrid& grid) : grid_(grid), rows_(grid.rows()), columns_(grid.columns()) {}
  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  // -1 out of range.
  int64_t CellOf(const float* point) const {
    const double column = (double{point[0]} - grid_.range_m[0]) / grid_.cell_m;
    const double row = (double{point[1]} - grid_.range_m[1]) / grid_.cell_m;
    const bool inside = column >= 0 && column < static_cast<double>(columns_) && row >= 0 &&
                        row < static_cast<double>(rows_) && point[2] >= grid_.range_m[2] &&
                        point[2] < grid_.range_m[5];
    return inside ? static_cast<int64_t>(row) * columns_ + static_cast<int64_t>(column) : -1;
  }
  float MiddleX(int64_t cell) const {
    return grid_.range_m[0] + (static_cast<float>(cell % columns_) + 0.5f) * grid_.cell_m;
  }
  float MiddleY(int64_t cell) const {
    return grid_.range_m[1] + (static_cast<float>(cell / columns_) + 0.5f) * grid_.cell_m;
  }

 private:
  const BevGrid& grid_;
  int64_t rows_, columns_;
};

// Gathers points by cell.
class TargetMaker {
 public:
  TargetMaker(const Cells& cells, int attributes) : cells_(cells), attributes_(attributes) {}

  void Add(int64_t cell, const float* point, const float* attributes) {
    cell_of_.push_back(cell);
    values_.insert(values_.end(),
                   {point[0] - cells_.MiddleX(cell), point[1] - cells_.MiddleY(cell), point[2]});
    values_.insert(values_.end(), attributes, attributes + attributes_);
  }

  PointTargets Make(int64_t max_points, Random* random) const {
    std::vector<int32_t> counts(cells_.rows() * cells_.columns());
    for (const int64_t cell : cell_of_) ++counts[cell];
    std::vector<int64_t> occupied;
    std::vector<int64_t> index(counts.size(), -1);
    for (size_t cell = 0; cell < counts.size(); ++cell) {
      if (counts[cell] == 0) continue;
      index[cell] = static_cast<int64_t>(occupied.size());
      occupied.push_back(static_cast<int64_t>(cell));
    }
    const auto m = static_cast<int64_t>(occupied.size());
    PointTargets targets;
    targets.cells = ToTensor(occupied);
    targets.places = PlainZeros({m, max_points, 3}, at::kFloat);
    targets.attributes = PlainZeros({m, max_points, attributes_}, at::kFloat);
    targets.counts = PlainZeros({m}, at::kInt);
    // Reservoir sampling: point i takes the place of one of those kept with odds max_points / i.
    std::vector<int32_t> met(m);
    const float* value = values_.data();
    for (const int64_t cell : cell_of_) {
      const int64_t row = index[cell];
      const int32_t number = met[row]++;
      const int64_t slot =
          number < max_points ? number : random->Below(static_cast<uint32_t>(number) + 1);
      if (slot < max_points) {
        const int64_t at = row * max_points + slot;
        std::copy(value, value + 3, targets.places.data_ptr<float>() + at * 3);
        std::copy(value + 3, value + 3 + attributes_,
                  targets.attributes.data_ptr<float>() + at * attributes_);
      }
      value += 3 + attributes_;
    }
    for (int64_t i = 0; i < m; ++i) {
      targets.counts.data_ptr<int32_t>()[i] = std::min(met[i], static_cast<int32_t>(max_points));
    }
    return targets;
  }

 private:
  const Cells& cells_;
  int attributes_;
  std::vector<int64_t> cell_of_;  // of each point
  std::vector<float> values_;
};

struct PointRandoms {
  Random *masks, *noise, *chosen;
};

void MaskPoints(const at::Tensor& points, const Pictures& pictures, const BevGrid& grid,
                const MaskingOptions& options, double ratio, const PointRandoms& random,
                MaskedSample* result) {
  const Cells cells(grid);
  const int64_t side = options.column_cells;
  const int64_t across = (cells.columns() + side - 1) / side;
  const auto column_of = [&](int64_t cell) {
    return cell / cells.columns() / side * across + cell % cells.columns() / side;
  };
  const auto* point = points.data_ptr<float>();
  std::vector<int64_t> cell_of(points.size(0));
  std::vector<uint8_t> state((cells.rows() + side - 1) / side * across);  // 1: points, 2: masked
  for (int64_t n = 0; n < points.size(0); ++n) {
    cell_of[n] = cells.CellOf(point + n * kPointColumns);
    if (cell_of[n] >= 0) state[column_of(cell_of[n])] = 1;
  }
  const std::vector<uint8_t> drawn =
      Draw(std::count(state.begin(), state.end(), 1), ratio, random.masks);
  size_t token = 0;
  for (uint8_t& column : state) {
    if (column != 0) column = 1 + drawn[token++];
  }
  TargetMaker masked(cells, 1), visible(cells, 3);
  std::vector<float> kept;
  const auto sigma = static_cast<float>(options.point_sigma_m);
  for (int64_t n = 0; n < points.size(0); ++n, point += kPointColumns) {
    if (cell_of[n] < 0) continue;
    if (state[column_of(cell_of[n])] == 2) {
      const float brightness = pictures.BrightnessOf(point);
      masked.Add(cell_of[n], point, &brightness);
      continue;
    }
    std::array<float, kPointColumns> moved;
    std::copy(point, point + kPointColumns, moved.begin());
    std::array<float, 3> noise = {};
    if (sigma > 0) {
      for (int axis = 0; axis < 3; ++axis) {
        noise[axis] = ClippedNormal(options.noise_clip, random.noise);
        moved[axis] += sigma * noise[axis];
      }
    }
    kept.insert(kept.end(), moved.begin(), moved.end());
    const int64_t now_in = cells.CellOf(moved.data());
    if (now_in >= 0) visible.Add(now_in, moved.data(), noise.data());
  }
  result->input.points =
      at::empty({static_cast<int64_t>(kept.size()) / kPointColumns, kPointColumns}, at::kFloat);
  std::copy(kept.begin(), kept.end(), result->input.points.data_ptr<float>());
  result->visible_points = visible.Make(options.max_points, random.chosen);
  result->masked_points = masked.Make(options.max_points, random.chosen);
}

void Check(const DetectionSample& sample, int stride_px, const MaskingOptions& o) {
  const auto is_share = [](double p) { return p >= 0 && p <= 1; };
  ATHANOR_CHECK(is_share(o.high_ratio) && is_share(o.low_ratio) && o.low_ratio <= o.high_ratio,
                "masking: expected ratios from 0 to 1, the low one first, found ", o.low_ratio,
                " and ", o.high_ratio);
  ATHANOR_CHECK(stride_px > 0 && o.patch_px > 0 && o.patch_px % stride_px == 0,
                "masking: expected patches of a multiple of the camera map's stride, ", stride_px,
                " px, found ", o.patch_px);
  ATHANOR_CHECK(o.noise_block_px > 0 && stride_px % o.noise_block_px == 0,
                "masking: expected noise in blocks that divide the camera map's stride, ",
                stride_px, " px, found ", o.noise_block_px);
  ATHANOR_CHECK(o.column_cells > 0 && o.max_points > 0 && o.pixel_sigma >= 0 &&
                    o.point_sigma_m >= 0 && o.noise_clip > 0,
                "masking: expected columns of 1 cell or more, 1 point or more, and noise of 0 or "
                "more, found ",
                o.column_cells, ", ", o.max_points, ", ", o.pixel_sigma, ", ", o.point_sigma_m);
  ATHANOR_CHECK(sample.images.size(2) % o.patch_px == 0 && sample.images.size(3) % o.patch_px == 0,
                "sample ", sample.id, ": expected pictures of whole patches of ", o.patch_px,
                " px, found ", sample.images.size(3), " x ", sample.images.size(2));
}

}  // namespace

MaskedSample MaskSample(const DetectionSample& sample, const BevGrid& grid, int stride_px,
                        const MaskingOptions& options, Random* random) {
  Check(sample, stride_px, options);
  MaskedSample result;
  result.hides_more_of_pictures = random->Below(2) == 0;
  // Each has numbers of its own: a point more or less changes nothing in the pictures.
  Random patches(random->NextBits()), patch_noise(random->NextBits());
  Random columns(random->NextBits()), point_noise(random->NextBits()), chosen(random->NextBits());
  const double ratios[] = {options.low_ratio, options.high_ratio};

  result.input = sample;
  result.input.images = PlainCopy(sample.images.contiguous());
  result.stride_px = stride_px;
  result.map_height = sample.images.size(2) / stride_px;
  result.map_width = sample.images.size(3) / stride_px;
  const Pictures pictures(sample);
  const at::Tensor points = sample.points.contiguous();
  PatchMasker masker(pictures, options, &result);
  masker.Run(ratios[result.hides_more_of_pictures ? 1 : 0], &patches, &patch_noise);
  masker.FindDepths(points);
  MaskPoints(points, pictures, grid, options, ratios[result.hides_more_of_pictures ? 0 : 1],
             {&columns, &point_noise, &chosen}, &result);
  return result;
}

}  // namespace athanor
