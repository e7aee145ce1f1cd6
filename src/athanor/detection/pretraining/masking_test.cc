// Masks: how much is hidden, that nothing of it shows, and that what is to be found is the truth.
#include "athanor/detection/pretraining/masking.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "athanor/base/test_util.h"
#include "athanor/detection/pretraining/pretraining_test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

constexpr int kStride = 8;

MaskedSample Mask(const DetectionSample& sample, uint64_t seed,
                  const MaskingOptions& options = {}) {
  Random random(seed);
  return MaskSample(sample, SmallDetector().Grid(), kStride, options, &random);
}

// The cell of a point, as a person would count.
int64_t CellOf(const DetectionSample& sample, int64_t n, double cell_m, int64_t columns) {
  const double x = sample.points[n][0].item<double>() + 12.8;
  const double y = sample.points[n][1].item<double>() + 12.8;
  return static_cast<int64_t>(y / cell_m) * columns + static_cast<int64_t>(x / cell_m);
}

TEST(Masking, HidesTheSharesAndOneSensorMore) {
  const DetectionSample sample = WavySample();
  std::set<int64_t> occupied;
  for (int64_t n = 0; n < sample.points.size(0); ++n) occupied.insert(CellOf(sample, n, 0.8, 32));
  std::map<bool, int> drawn;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const MaskedSample masked = Mask(sample, seed);
    ++drawn[masked.hides_more_of_pictures];
    const double pictures = masked.hides_more_of_pictures ? 0.75 : 0.5;
    // Patches of 16 px are four cells of 8.
    const int64_t cells = 2 * 8 * 12;
    EXPECT_EQ(masked.masked_patches.numel(), 4 * std::lround(pictures * cells / 4));
    EXPECT_EQ(masked.masked_patches.numel() + masked.visible_patches.numel(), cells);
    EXPECT_EQ(masked.masked_points.cells.numel(),
              std::lround((1.25 - pictures) * static_cast<double>(occupied.size())));
  }
  EXPECT_GT(drawn[false], 10);
  EXPECT_GT(drawn[true], 10);
}

TEST(Masking, TheSameNumbersGiveTheSame) {
  const DetectionSample sample = WavySample();
  const MaskedSample a = Mask(sample, 5), b = Mask(sample, 5), c = Mask(sample, 6);
  EXPECT_TRUE(a.input.images.equal(b.input.images));
  EXPECT_TRUE(a.input.points.equal(b.input.points));
  EXPECT_TRUE(a.patch_noise.equal(b.patch_noise));
  EXPECT_TRUE(a.masked_points.places.equal(b.masked_points.places));
  EXPECT_FALSE(a.input.images.equal(c.input.images));
  EXPECT_NE(a.input.points.sum().item<float>(), c.input.points.sum().item<float>());
}

TEST(Masking, NothingOfWhatIsHiddenShows) {
  const DetectionSample sample = WavySample();
  for (const int column_cells : {1, 3}) {
    const MaskingOptions options = {.column_cells = column_cells};
    const MaskedSample masked = Mask(sample, 3, options);
    DetectionSample other = sample;
    other.images = sample.images.clone();
    const at::Tensor cells = other.images.view({2, 3, 8, kStride, 12, kStride});
    for (int64_t t = 0; t < masked.masked_patches.numel(); ++t) {
      const int64_t cell = masked.masked_patches[t].item<int64_t>();
      cells.select(0, cell / 96).select(1, cell / 12 % 8).select(2, cell % 12).fill_(t % 256);
    }
    // Masked points go up and to their cell's middle, and there are twice as many of them.
    std::set<int64_t> hidden;
    for (int64_t m = 0; m < masked.masked_points.cells.numel(); ++m) {
      hidden.insert(masked.masked_points.cells[m].item<int64_t>());
    }
    std::vector<at::Tensor> rows;
    for (int64_t n = 0; n < sample.points.size(0); ++n) {
      const int64_t cell = CellOf(sample, n, 0.8, 32);
      at::Tensor row = sample.points[n].clone();
      if (hidden.contains(cell)) {
        row[0] = -12.8 + 0.8 * (static_cast<double>(cell % 32) + 0.5);
        row[1] = -12.8 + 0.8 * (static_cast<double>(cell / 32) + 0.5);
        row[2] += 0.05;
        rows.push_back(row);
      }
      rows.push_back(row);
    }
    other.points = at::stack(rows);
    const MaskedSample same = Mask(other, 3, options);
    EXPECT_TRUE(masked.input.images.equal(same.input.images));
    EXPECT_TRUE(masked.input.points.equal(same.input.points));
    EXPECT_FALSE(masked.patch_pixels.equal(same.patch_pixels));
    EXPECT_FALSE(masked.masked_points.places.equal(same.masked_points.places));
    EXPECT_TRUE(masked.visible_points.places.equal(same.visible_points.places));
    // No visible point was in a hidden cell before the noise moved it.
    const MaskedSample still =
        Mask(sample, 3, {.column_cells = column_cells, .pixel_sigma = 0, .point_sigma_m = 0});
    for (int64_t n = 0; n < still.input.points.size(0); ++n) {
      EXPECT_FALSE(hidden.contains(CellOf(still.input, n, 0.8, 32)));
    }
  }
}

TEST(Masking, TargetsAreTheTruth) {
  const DetectionSample sample = WavySample();
  const MaskedSample masked = Mask(sample, 9, {.max_points = 4000});
  // Pixels: the truth from mean and spread, which are those of the whole patch.
  const at::Tensor images = sample.images.to(at::kFloat);
  const at::Tensor input = masked.input.images.to(at::kFloat);
  const auto square = [&](const at::Tensor& all, int64_t cell, int64_t side) {
    const int64_t y = cell / 12 % 8 * kStride / side * side, x = cell % 12 * kStride / side * side;
    return all[cell / 96].narrow(1, y, side).narrow(2, x, side);
  };
  for (int64_t t = 0; t < masked.masked_patches.numel(); ++t) {
    const auto cell = masked.masked_patches[t].item<int64_t>();
    const at::Tensor back = masked.patch_pixels[t] * masked.patch_spread[t] + masked.patch_mean[t];
    EXPECT_LT((back - square(images, cell, 8)).abs().max().item<float>(), 1e-3);
    const at::Tensor patch = square(images, cell, 16);
    EXPECT_NEAR(patch.mean().item<float>(), masked.patch_mean[t].item<float>(), 1e-2);
    EXPECT_NEAR(patch.std(false).item<float>(), masked.patch_spread[t].item<float>(), 1e-2);
    EXPECT_TRUE(square(input, cell, 8).eq(115).all().item<bool>());
  }
  // Noise: what input and truth differ by.
  double squares = 0;
  for (int64_t v = 0; v < masked.visible_patches.numel(); ++v) {
    const auto cell = masked.visible_patches[v].item<int64_t>();
    const at::Tensor added = (square(input, cell, 8) - square(images, cell, 8)) / (0.25 * 58);
    EXPECT_LT((at::avg_pool2d(added, 4) - masked.patch_noise[v]).abs().max().item<float>(), 1e-4);
    squares += added.square().mean().item<double>();
  }
  EXPECT_NEAR(std::sqrt(squares / static_cast<double>(masked.visible_patches.numel())), 1, 0.1);

  // Points: all of them are somewhere, once.
  const auto count = [](const PointTargets& t) { return t.counts.sum().item<int64_t>(); };
  EXPECT_EQ(count(masked.masked_points) + masked.input.points.size(0), sample.points.size(0));
  double sum = 0, true_sum = 0;
  const PointTargets& hidden = masked.masked_points;
  std::set<int64_t> cells;
  for (int64_t m = 0; m < hidden.cells.numel(); ++m) {
    const auto cell = hidden.cells[m].item<int64_t>();
    cells.insert(cell);
    const auto n = hidden.counts[m].item<int64_t>();
    const at::Tensor places = hidden.places[m].narrow(0, 0, n);
    EXPECT_LE(places.narrow(1, 0, 2).abs().max().item<float>(), 0.401);
    sum += (places.select(1, 0) - 12.8 + 0.8 * (static_cast<double>(cell % 32) + 0.5))
               .sum()
               .item<double>();
  }
  for (int64_t n = 0; n < sample.points.size(0); ++n) {
    if (cells.contains(CellOf(sample, n, 0.8, 32))) true_sum += sample.points[n][0].item<double>();
  }
  EXPECT_NEAR(sum, true_sum, 1e-2);
  // Noise of points: less it, they are where they were.
  const PointTargets& seen = masked.visible_points;
  const MaskedSample still = Mask(sample, 9, {.point_sigma_m = 0, .max_points = 4000});
  ASSERT_EQ(still.input.points.size(0), masked.input.points.size(0));
  const at::Tensor moved = masked.input.points - still.input.points;
  EXPECT_LE(moved.abs().max().item<float>(), 0.1501);
  EXPECT_NEAR(moved.narrow(1, 0, 3).std().item<float>(), 0.05, 0.003);
  EXPECT_NEAR(seen.attributes.sum().item<double>() * 0.05, moved.sum().item<double>(), 0.5);
}

TEST(Masking, KnowsWhatTheOtherSensorSees) {
  DetectionSample sample = WavySample();
  // One point, 6 m ahead, 1 m to the left, 0.5 m up: at 60 / 6 pixels per metre.
  sample.points = at::tensor({6.0f, 1.0f, 0.5f, 0.0f, 0.0f, -5.0f, 9.0f, 0.0f, 0.0f, 0.0f})
                      .view({2, kPointColumns});
  const MaskedSample masked = Mask(sample, 1, {.high_ratio = 1, .low_ratio = 1});
  ASSERT_EQ(masked.masked_points.cells.numel(), 2);
  const at::Tensor pixel = sample.images[0].select(1, 27).select(1, 38).to(at::kFloat);
  const double brightness = (pixel * at::tensor({0.299f, 0.587f, 0.114f})).sum().item<double>();
  EXPECT_NEAR(masked.masked_points.attributes[0][0][0].item<double>(), brightness / 255, 1e-5);
  // The other is 9 m beside the car: no camera looks there.
  EXPECT_TRUE(std::isnan(masked.masked_points.attributes[1][0][0].item<float>()));
  const at::Tensor depth = masked.patch_log_depth;
  ASSERT_EQ(depth.numel(), 2 * 8 * 12);
  EXPECT_EQ(at::isfinite(depth).sum().item<int64_t>(), 1);
  EXPECT_NEAR(depth[27 / 8 * 12 + 38 / 8].item<double>(), std::log(6.0), 1e-5);
}

TEST(Masking, DoesWithoutASensor) {
  DetectionSample blind = WavySample();
  blind.has_camera.zero_();
  const MaskedSample no_cameras = Mask(blind, 2);
  EXPECT_EQ(no_cameras.masked_patches.numel() + no_cameras.visible_patches.numel(), 0);
  EXPECT_GT(no_cameras.masked_points.cells.numel(), 0);
  EXPECT_FALSE(at::isfinite(no_cameras.masked_points.attributes)
                   .logical_and(no_cameras.masked_points.attributes != 0)
                   .any()
                   .item<bool>());
  DetectionSample no_lidar = WavySample();
  no_lidar.points = at::zeros({0, kPointColumns}), no_lidar.has_lidar = false;
  const MaskedSample no_points = Mask(no_lidar, 2);
  EXPECT_EQ(no_points.masked_points.cells.numel() + no_points.visible_points.cells.numel(), 0);
  EXPECT_GT(no_points.masked_patches.numel(), 0);
  EXPECT_FALSE(at::isfinite(no_points.patch_log_depth).any().item<bool>());
}

TEST(Masking, RefusesWhatDoesNotFit) {
  const DetectionSample sample = WavySample();
  EXPECT_THAT(ErrorOf([&] { Mask(sample, 1, {.patch_px = 12}); }), HasSubstr("8 px, found 12"));
  EXPECT_THAT(ErrorOf([&] { Mask(sample, 1, {.noise_block_px = 3}); }), HasSubstr("found 3"));
  EXPECT_THAT(ErrorOf([&] { Mask(sample, 1, {.patch_px = 40}); }),
              HasSubstr("made up: expected pictures of whole patches of 40 px, found 96 x 64"));
  EXPECT_THAT(ErrorOf([&] { Mask(sample, 1, {.high_ratio = 0.3}); }), HasSubstr("found 0.5 and"));
}

}  // namespace
}  // namespace athanor
