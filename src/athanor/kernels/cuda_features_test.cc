// The CUDA kernels of lifting and of scores against their CPU twins. Skipped where there is no GPU.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "athanor/kernels/cuda_test_util.h"
#include "athanor/kernels/feature_scores.h"
#include "athanor/kernels/kernel_test_util.h"
#include "athanor/kernels/lift.h"

namespace athanor {
namespace {

std::vector<uint16_t> HalfValues(size_t size, uint64_t seed) {
  std::vector<uint16_t> halves;
  for (const float value : UniformValues(size, seed, -1, 1)) {
    const auto half = static_cast<_Float16>(value);
    std::memcpy(&halves.emplace_back(), &half, sizeof half);
  }
  return halves;
}

std::vector<int32_t> Numbers(size_t size, uint64_t seed, uint32_t below) {
  Random random(seed);
  std::vector<int32_t> numbers(size);
  for (int32_t& n : numbers) n = static_cast<int32_t>(random.Below(below));
  return numbers;
}

TEST_F(CudaTest, LiftedTilesAgree) {
  const TestScene scene(400);
  const int width = scene.view.width_px, height = scene.view.height_px;
  std::vector<Splat> splats(scene.n);
  ProjectForwardCpu({scene.arrays(), scene.view, scene.options, splats.data()});
  TileBins bins;
  BinTilesCpu(splats.data(), scene.n, width, height, &bins);
  // Cells of 4 x 4 pixels; a fifth of the pixels says nothing.
  const int columns = (width + 3) / 4, cells = columns * ((height + 3) / 4);
  std::vector<int32_t> cell_of(static_cast<size_t>(width) * height);
  for (int p = 0; p < width * height; ++p) {
    cell_of[p] = p % 5 == 0 ? -1 : p / width / 4 * columns + p % width / 4;
  }
  const DeviceArray<Splat> device_splats(splats);
  const DeviceArray<int32_t> offsets(bins.offsets), ids(bins.ids), device_cells(cell_of);
  // Less than a tile's threads, and more.
  for (const int dimension : {5, 300}) {
    const int64_t stride = dimension + 3;
    const auto features = HalfValues(static_cast<size_t>(cells) * dimension, 3);
    const auto scales = UniformValues(cells, 4, 0.5f, 2);
    const DeviceArray<uint16_t> device_features(features);
    const DeviceArray<float> device_scales(scales);
    for (const bool per_footprint : {false, true}) {
      SCOPED_TRACE(testing::Message() << dimension << " " << per_footprint);
      std::vector<float> sums(scene.n * stride, 0.5f), weights(scene.n, 0), largest(scene.n, 0),
          center(scene.n, 0);
      const DeviceArray<float> device_sums(sums), device_weights(weights), device_largest(largest),
          device_center(center);
      LiftTilesArgs args = {};
      args.view = {width,           height,         scene.n, splats.data(), bins.offsets.data(),
                   bins.ids.data(), cell_of.data(), 0,       1.0f / 255,    per_footprint};
      args.totals = {weights.data(), largest.data(), center.data()};
      args.dimension = dimension;
      args.features = features.data(), args.scales = scales.data();
      args.factor = -2;
      args.sums = sums.data(), args.stride = stride;
      LiftTilesArgs device_args = args;
      device_args.view.splats = device_splats.data();
      device_args.view.tile_offsets = offsets.data(), device_args.view.tile_ids = ids.data();
      device_args.view.cells = device_cells.data();
      device_args.totals = {device_weights.data(), device_largest.data(), device_center.data()};
      device_args.features = device_features.data(), device_args.scales = device_scales.data();
      device_args.sums = device_sums.data();
      LiftTilesCpu(args);
      LiftTilesCuda(device_args, nullptr);
      // A weight at the very threshold may fall to either side.
      EXPECT_LT(RelativeError(device_sums.Host(), sums), 1e-3);
      EXPECT_LT(RelativeError(device_weights.Host(), weights), 1e-3);
      EXPECT_LT(RelativeError(device_largest.Host(), largest), 1e-3);
      EXPECT_LT(RelativeError(device_center.Host(), center), 1e-3);
    }
  }
}

TEST_F(CudaTest, RefusesToLiftByTheLargestWeights) {
  LiftTilesArgs args = {};
  args.view.top_k = 4;
  EXPECT_THROW(LiftTilesCuda(args, nullptr), Error);
}

TEST_F(CudaTest, LiftedRowsAgree) {
  constexpr int64_t kRows = 500, kSumRows = 600;
  constexpr int kColumns = 90;
  std::vector<int64_t> offsets = {0};
  for (int64_t row = 0; row < kRows; ++row) offsets.push_back(offsets.back() + row % 6);
  const auto entries = static_cast<size_t>(offsets.back());
  const auto columns = Numbers(entries, 5, kColumns);
  const auto weights = UniformValues(entries, 6, 0, 1),
             scales = UniformValues(kColumns, 7, 0.5f, 2);
  std::vector<int32_t> row_ids(kRows);
  for (int64_t row = 0; row < kRows; ++row) row_ids[row] = static_cast<int32_t>(kSumRows - 1 - row);
  const DeviceArray<int64_t> device_offsets(offsets);
  const DeviceArray<int32_t> device_columns(columns), device_row_ids(row_ids);
  const DeviceArray<float> device_weights(weights), device_scales(scales);
  for (const int dimension : {1, 33, 200}) {
    for (const bool named : {false, true}) {
      const auto features = HalfValues(static_cast<size_t>(kColumns) * dimension, 8);
      auto sums = UniformValues(kSumRows * dimension, 9, -1, 1);
      const DeviceArray<uint16_t> device_features(features);
      const DeviceArray<float> device_sums(sums);
      LiftRowsCpu({kRows, named ? row_ids.data() : nullptr, offsets.data(), columns.data(),
                   weights.data(), dimension, features.data(), scales.data(), sums.data(),
                   dimension});
      LiftRowsCuda({kRows, named ? device_row_ids.data() : nullptr, device_offsets.data(),
                    device_columns.data(), device_weights.data(), dimension, device_features.data(),
                    device_scales.data(), device_sums.data(), dimension},
                   nullptr);
      EXPECT_LT(RelativeError(device_sums.Host(), sums), 1e-5) << dimension;
    }
  }
}

TEST_F(CudaTest, ScoresAgree) {
  constexpr int64_t kRows = 301;
  for (const int vectors : {1, 4, 9}) {
    for (const int dimension : {3, 32, 130}) {
      SCOPED_TRACE(testing::Message() << vectors << " " << dimension);
      const auto rows = HalfValues(kRows * dimension, 10);
      const auto targets = UniformValues(static_cast<size_t>(vectors) * dimension, 11, -1, 1);
      std::vector<float> scores(kRows * vectors);
      HalfScoresCpu({kRows, dimension, vectors, rows.data(), targets.data(), scores.data()});
      const DeviceArray<uint16_t> device_rows(rows);
      const DeviceArray<float> device_targets(targets), found(scores.size());
      HalfScoresCuda(
          {kRows, dimension, vectors, device_rows.data(), device_targets.data(), found.data()},
          nullptr);
      EXPECT_LT(RelativeError(found.Host(), scores), 1e-5);
    }
  }
}

TEST_F(CudaTest, CodedScoresAgree) {
  constexpr int64_t kRows = 301;
  constexpr int kEntries = 64, kTerms = 4, kVectors = 5, kParts = 7;
  std::vector<uint16_t> codes;
  for (const int32_t n : Numbers(kRows * kTerms, 12, kEntries)) {
    codes.push_back(static_cast<uint16_t>(n));
  }
  const auto weights = HalfValues(kRows * kTerms, 13);
  const auto entry_scores = UniformValues(kEntries * kVectors, 14, -1, 1);
  const DeviceArray<uint16_t> device_codes(codes), device_weights(weights);
  const DeviceArray<float> device_entries(entry_scores);
  for (const bool weighted : {false, true}) {
    std::vector<float> scores(kRows * kVectors);
    CodedScoresCpu({kRows, kTerms, kVectors, codes.data(), weighted ? weights.data() : nullptr,
                    kEntries, entry_scores.data(), scores.data()});
    const DeviceArray<float> found(scores.size());
    CodedScoresCuda(
        {kRows, kTerms, kVectors, device_codes.data(), weighted ? device_weights.data() : nullptr,
         kEntries, device_entries.data(), found.data()},
        nullptr);
    EXPECT_LT(RelativeError(found.Host(), scores), 1e-5) << weighted;
  }
  std::vector<uint8_t> parts;
  for (const int32_t n : Numbers(kRows * kParts, 15, 256)) parts.push_back(static_cast<uint8_t>(n));
  const auto table = UniformValues(kParts * 256 * kVectors, 16, -1, 1);
  std::vector<float> scores(kRows * kVectors);
  ProductScoresCpu({kRows, kParts, kVectors, parts.data(), table.data(), scores.data()});
  const DeviceArray<uint8_t> device_parts(parts);
  const DeviceArray<float> device_table(table), found(scores.size());
  ProductScoresCuda(
      {kRows, kParts, kVectors, device_parts.data(), device_table.data(), found.data()}, nullptr);
  EXPECT_LT(RelativeError(found.Host(), scores), 1e-5);
}

}  // namespace
}  // namespace athanor
