// Sparse voxels, kernel maps and sparse convolution against oracles over ordered maps.
#include "athanor/kernels/sparse_conv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <tuple>

#include "athanor/base/parallel.h"
#include "athanor/base/random.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

// Cells on a few crossing planes, about one in three, in two batches, duplicates included.
std::vector<VoxelCell> SomeCells(int n, int span, uint64_t seed = 1) {
  Random random(seed);
  std::vector<VoxelCell> cells;
  const auto coordinate = [&] { return static_cast<int32_t>(random.Below(span)) - span / 2; };
  for (int i = 0; i < n; ++i) {
    VoxelCell cell = {static_cast<int32_t>(random.Below(2)), coordinate(), coordinate(),
                      coordinate() / 4};
    cells.push_back(cell);
  }
  return cells;
}

std::vector<float> RandomFloats(int64_t n, uint64_t seed) {
  Random random(seed);
  std::vector<float> values(n);
  for (float& v : values) v = random.Uniform(-1, 1);
  return values;
}

float Rounded(float v) {
  uint16_t bits;
  ToBfloat16Cpu(&v, 1, &bits);
  return std::bit_cast<float>(uint32_t{bits} << 16);
}

std::vector<float> Rounded(std::vector<float> values) {
  std::vector<uint16_t> bits(values.size());
  ToBfloat16Cpu(values.data(), static_cast<int64_t>(values.size()), bits.data());
  for (size_t i = 0; i < bits.size(); ++i) {
    values[i] = std::bit_cast<float>(uint32_t{bits[i]} << 16);
  }
  return values;
}

using Pairs = std::vector<std::tuple<int, int64_t, int64_t>>;  // offset, output, input

Pairs PairsOf(const KernelMap& map) {
  Pairs pairs;
  for (size_t b = 0; b < map.blocks.size(); ++b) {
    const MapBlock& block = map.blocks[b];
    for (int k = 0; k < map.volume; ++k) {
      for (int i = block.starts[k]; i < block.starts[k + 1]; ++i) {
        pairs.emplace_back(k, b * kMapBlock + block.outputs[i], block.inputs[i]);
      }
    }
  }
  std::sort(pairs.begin(), pairs.end());
  return pairs;
}

Pairs ExpectedPairs(const VoxelSet& in, const VoxelSet& out, int size, int stride) {
  std::map<std::tuple<int, int, int, int>, int64_t> inputs;
  for (int64_t i = 0; i < in.size(); ++i) {
    const VoxelCell c = CellOfKey(in.keys()[i]);
    inputs[{c.batch, c.x, c.y, c.z}] = i;
  }
  const int low = size % 2 == 1 ? -(size / 2) : 0;
  Pairs pairs;
  for (int64_t o = 0; o < out.size(); ++o) {
    const VoxelCell c = CellOfKey(out.keys()[o]);
    for (int k = 0; k < size * size * size; ++k) {
      const auto found =
          inputs.find({c.batch, c.x * stride + low + k / size / size,
                       c.y * stride + low + k / size % size, c.z * stride + low + k % size});
      if (found != inputs.end()) pairs.emplace_back(k, o, found->second);
    }
  }
  std::sort(pairs.begin(), pairs.end());
  return pairs;
}

TEST(VoxelSet, KeysKeepCells) {
  for (const int32_t v : {0, 1, -1, 5, -77, 12345, kMaxVoxelCoordinate, -kMaxVoxelCoordinate}) {
    const VoxelCell cell = {kMaxVoxelBatch, v, -v, v / 2};
    EXPECT_EQ(CellOfKey(VoxelKey(cell)), cell);
    const VoxelCell parent = CellOfKey(ParentKey(VoxelKey(cell)));
    const auto half = [](int32_t x) { return static_cast<int32_t>(std::floor(x / 2.0)); };
    EXPECT_EQ(parent, (VoxelCell{cell.batch, half(cell.x), half(cell.y), half(cell.z)}));
  }
}

TEST(VoxelSet, RanksEveryRowAndFindsEveryCell) {
  const auto cells = SomeCells(5000, 24);
  std::vector<int32_t> rank;
  const VoxelSet set = MakeVoxelSet(cells.data(), cells.size(), &rank);
  EXPECT_TRUE(std::is_sorted(set.keys().begin(), set.keys().end()));
  EXPECT_LT(set.size(), 5000);
  for (size_t i = 0; i < cells.size(); ++i) {
    EXPECT_EQ(CellOfKey(set.keys()[rank[i]]), cells[i]);
    EXPECT_EQ(set.Find(VoxelKey(cells[i])), rank[i]);
  }
  EXPECT_EQ(set.Find(VoxelKey({0, 500, 0, 0})), -1);
}

TEST(VoxelSet, MeansGoOverAllPointsOfAVoxel) {
  const auto points = RandomFloats(3 * 2000, 3);
  const auto features = RandomFloats(5 * 2000, 4);
  std::vector<int32_t> rank;
  const VoxelSet set = Voxelize(points.data(), nullptr, 2000, 0.3, &rank);
  std::vector<double> sums(5 * set.size());
  std::vector<int> counts(set.size());
  for (int i = 0; i < 2000; ++i) {
    const VoxelCell cell = CellOfKey(set.keys()[rank[i]]);
    EXPECT_EQ(cell.x, std::floor(points[3 * i] / 0.3));
    EXPECT_EQ(cell.y, std::floor(points[3 * i + 1] / 0.3));
    EXPECT_EQ(cell.z, std::floor(points[3 * i + 2] / 0.3));
    ++counts[rank[i]];
    for (int c = 0; c < 5; ++c) sums[5 * rank[i] + c] += features[5 * i + c];
  }
  std::vector<float> means(sums.size());
  VoxelMeansCpu(GroupByVoxel(rank, set.size()), features.data(), 5, means.data());
  for (size_t i = 0; i < means.size(); ++i) EXPECT_NEAR(means[i], sums[i] / counts[i / 5], 1e-5);
}

TEST(VoxelSet, RefusesWhatHasNoKey) {
  std::vector<int32_t> rank;
  const VoxelCell far = {0, 1, kMaxVoxelCoordinate + 1, 2};
  EXPECT_THAT(ErrorOf([&] { MakeVoxelSet(&far, 1, &rank); }), HasSubstr("voxel 0: expected"));
  for (const float bad : {NAN, INFINITY, 1e30f}) {
    const float point[] = {0, 0, 0, 0, bad, 0};
    EXPECT_THAT(ErrorOf([&] { Voxelize(point, nullptr, 2, 0.1, &rank); }), HasSubstr("point 1: "));
  }
}

TEST(KernelMap, EqualsTheOracle) {
  for (const auto& [n, span] : {std::pair{1, 3}, {300, 12}, {9000, 60}, {4000, 7}}) {
    std::vector<int32_t> rank;
    const auto cells = SomeCells(n, span);
    const VoxelSet set = MakeVoxelSet(cells.data(), n, &rank);
    for (const int size : {1, 3, 5, 7}) {
      EXPECT_EQ(PairsOf(SubmanifoldMapCpu(set, size)), ExpectedPairs(set, set, size, 1));
    }
    for (const auto& [size, stride] : {std::pair{2, 2}, {3, 2}, {3, 3}, {1, 2}}) {
      const VoxelSet out = StridedVoxelsCpu(set, size, stride);
      const KernelMap map = StridedMapCpu(set, out, size, stride);
      const Pairs expected = ExpectedPairs(set, out, size, stride);
      EXPECT_EQ(PairsOf(map), expected);
      Pairs swapped;
      for (const auto& [k, o, i] : expected) swapped.emplace_back(k, i, o);
      std::sort(swapped.begin(), swapped.end());
      EXPECT_EQ(PairsOf(TransposeMapCpu(map)), swapped);
      const StridedMaps maps = StridedMapsCpu(set, size, stride);
      EXPECT_EQ(maps.outputs.keys(), out.keys());
      EXPECT_EQ(PairsOf(maps.map), expected);
      EXPECT_EQ(PairsOf(maps.transposed), swapped);
      // Every output has an input, and every input that a kernel can reach has an output.
      std::vector<bool> used(out.size());
      for (const auto& [k, o, i] : expected) used[o] = true;
      EXPECT_EQ(std::count(used.begin(), used.end(), true), out.size());
      if (size >= stride) {
        EXPECT_GE(static_cast<int64_t>(expected.size()), set.size());
      }
    }
  }
}

TEST(KernelMap, WorksAtTheEdgeOfTheRange) {
  std::vector<VoxelCell> cells;
  for (const int32_t v : {kMaxVoxelCoordinate, -kMaxVoxelCoordinate}) {
    for (int32_t step = 0; step < 3; ++step) {
      cells.push_back({0, v - (v > 0 ? step : -step), v, v});
    }
  }
  std::vector<int32_t> rank;
  const VoxelSet set = MakeVoxelSet(cells.data(), cells.size(), &rank);
  EXPECT_EQ(PairsOf(SubmanifoldMapCpu(set, 3)), ExpectedPairs(set, set, 3, 1));
  const VoxelSet out = StridedVoxelsCpu(set, 3, 2);
  EXPECT_EQ(PairsOf(StridedMapCpu(set, out, 3, 2)), ExpectedPairs(set, out, 3, 2));
}

TEST(KernelMap, OfNothingIsEmpty) {
  const VoxelSet none;
  EXPECT_EQ(SubmanifoldMapCpu(none, 3).num_pairs(), 0);
  EXPECT_EQ(StridedVoxelsCpu(none, 2, 2).size(), 0);
  EXPECT_THAT(ErrorOf([&] { SubmanifoldMapCpu(none, 2); }), HasSubstr("odd kernel size"));
  EXPECT_THAT(ErrorOf([&] { SubmanifoldMapCpu(none, 9); }), HasSubstr("1..7, found 9"));
}

struct Convolution {
  KernelMap map;
  int in, out;
  std::vector<float> features, weights, d_out;

  Convolution(int voxels, int in_channels, int out_channels) : in(in_channels), out(out_channels) {
    std::vector<int32_t> rank;
    const auto cells = SomeCells(voxels, 16);
    const VoxelSet set = MakeVoxelSet(cells.data(), voxels, &rank);
    map = SubmanifoldMapCpu(set, 3);
    features = RandomFloats(set.size() * in, 5);
    weights = RandomFloats(int64_t{27} * in * out, 6);
    d_out = RandomFloats(set.size() * out, 7);
  }
  std::vector<double> Forward(bool rounded) const {
    std::vector<double> sums(map.num_outputs * out);
    const std::vector<float> f = rounded ? Rounded(features) : features;
    const std::vector<float> w = rounded ? Rounded(weights) : weights;
    for (const auto& [k, o, i] : PairsOf(map)) {
      for (int c = 0; c < in; ++c) {
        for (int d = 0; d < out; ++d) {
          sums[o * out + d] += double{f[i * in + c]} * w[(int64_t{k} * in + c) * out + d];
        }
      }
    }
    return sums;
  }
};

constexpr std::pair<int, int> kChannels[] = {{1, 1},   {3, 32},  {5, 20},
                                             {16, 33}, {56, 64}, {64, 96}};

TEST(SparseConv, ForwardEqualsTheOracle) {
  for (const auto& [in, out] : kChannels) {
    const Convolution conv(1500, in, out);
    const auto residual = RandomFloats(conv.map.num_outputs * out, 8);
    const auto bias = RandomFloats(out, 9);
    for (const bool rounded : {false, true}) {
      for (const bool with_epilogue : {false, true}) {
        const PackedWeights packed(conv.weights.data(),
                                   {27, in, out, false, false,
                                    rounded ? ConvPrecision::kBfloat16 : ConvPrecision::kFloat32});
        std::vector<uint16_t> bits(conv.features.size());
        ToBfloat16Cpu(conv.features.data(), bits.size(), bits.data());
        std::vector<float> got(conv.map.num_outputs * out, NAN);
        SparseConvForwardArgs args = {};
        args.map = &conv.map, args.weights = &packed;
        args.features = rounded ? static_cast<const void*>(bits.data()) : conv.features.data();
        args.out = got.data();
        if (with_epilogue) args.bias = bias.data(), args.residual = residual.data();
        args.relu = with_epilogue;
        SparseConvForwardCpu(args);
        const auto expected = conv.Forward(rounded);
        for (size_t i = 0; i < got.size(); ++i) {
          double e = expected[i];
          if (with_epilogue) e = std::max(0.0, e + bias[i % out] + residual[i]);
          ASSERT_NEAR(got[i], e, 2e-4) << in << " to " << out << ", value " << i;
        }
        // The same in bfloat16 is the rounded float32.
        std::vector<uint16_t> got_bits(got.size()), residual_bits(residual.size());
        args.out_is_bfloat16 = true, args.out = got_bits.data(), args.residual = nullptr;
        SparseConvForwardCpu(args);
        args.out_is_bfloat16 = false, args.out = got.data();
        SparseConvForwardCpu(args);
        for (size_t i = 0; i < got.size(); ++i) {
          ASSERT_EQ(std::bit_cast<float>(uint32_t{got_bits[i]} << 16), Rounded(got[i]));
        }
      }
    }
  }
}

TEST(SparseConv, GradientsEqualTheOracle) {
  for (const auto& [in, out] : kChannels) {
    const Convolution conv(1500, in, out);
    std::vector<double> d_features(conv.features.size()), d_weights(conv.weights.size());
    for (const auto& [k, o, i] : PairsOf(conv.map)) {
      for (int c = 0; c < in; ++c) {
        for (int d = 0; d < out; ++d) {
          const int64_t w = (int64_t{k} * in + c) * out + d;
          d_features[i * in + c] += double{conv.d_out[o * out + d]} * conv.weights[w];
          d_weights[w] += double{conv.d_out[o * out + d]} * conv.features[i * in + c];
        }
      }
    }
    // By the map transposed, and by the same map mirrored.
    const KernelMap transposed = TransposeMapCpu(conv.map);
    for (const bool mirrored : {false, true}) {
      const PackedWeights packed(conv.weights.data(),
                                 {27, in, out, true, mirrored, ConvPrecision::kFloat32});
      std::vector<float> got(d_features.size(), NAN);
      SparseConvForwardArgs args = {};
      args.map = mirrored ? &conv.map : &transposed;
      args.weights = &packed, args.features = conv.d_out.data(), args.out = got.data();
      SparseConvForwardCpu(args);
      for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], d_features[i], 2e-4);
    }
    std::vector<float> got(d_weights.size(), NAN);
    SparseConvBackwardWeightsCpu(
        {&conv.map, in, out, conv.features.data(), conv.d_out.data(), got.data()});
    for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], d_weights[i], 1e-3);
  }
}

TEST(SparseConv, SameBytesWhateverTheThreads) {
  const Convolution conv(4000, 24, 40);
  const PackedWeights packed(conv.weights.data(),
                             {27, 24, 40, false, false, ConvPrecision::kFloat32});
  std::vector<float> out[2], d_weights[2];
  for (int run = 0; run < 2; ++run) {
    SetNumThreads(run == 0 ? 1 : 3);
    out[run].resize(conv.map.num_outputs * 40);
    d_weights[run].resize(conv.weights.size());
    SparseConvForwardArgs args = {};
    args.map = &conv.map, args.weights = &packed;
    args.features = conv.features.data(), args.out = out[run].data();
    SparseConvForwardCpu(args);
    SparseConvBackwardWeightsCpu(
        {&conv.map, 24, 40, conv.features.data(), conv.d_out.data(), d_weights[run].data()});
  }
  SetNumThreads(0);
  EXPECT_EQ(out[0], out[1]);
  EXPECT_EQ(d_weights[0], d_weights[1]);
}

TEST(SparseConv, RefusesWeightsOfAnotherKernel) {
  const Convolution conv(10, 2, 2);
  const PackedWeights packed(conv.weights.data(), {8, 2, 2, false, false});
  SparseConvForwardArgs args = {};
  args.map = &conv.map, args.weights = &packed;
  EXPECT_THAT(ErrorOf([&] { SparseConvForwardCpu(args); }), HasSubstr("27 offsets"));
}

TEST(SparseConv, RoundsToBfloat16) {
  EXPECT_EQ(Rounded(1.00390625f), 1.0f);       // half way, to even
  EXPECT_EQ(Rounded(1.01171875f), 1.015625f);  // half way, to even
  EXPECT_EQ(Rounded(INFINITY), INFINITY);
  std::vector<float> values(40, std::bit_cast<float>(0x7fffffffu));
  std::vector<uint16_t> bits(40);
  ToBfloat16Cpu(values.data(), 40, bits.data());
  for (const uint16_t b : bits) EXPECT_TRUE(std::isnan(std::bit_cast<float>(uint32_t{b} << 16)));
}

}  // namespace
}  // namespace athanor
