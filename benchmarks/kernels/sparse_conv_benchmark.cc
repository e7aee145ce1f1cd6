// Sparse convolution on the LiDAR cloud of spconv's published benchmark: 198,130 points, voxels of
// 0.1 m, 125,565 of them; "stacked" is 8 copies beside each other. Without the cloud: random
// planes.
//
// The counter `flops` counts a multiplication and an addition per pair of voxels and of channels.
#include <benchmark/benchmark.h>

#include <vector>

#include "athanor/base/random.h"
#include "athanor/kernels/sparse_conv.h"
#include "benchmarks/kernels/lidar_cloud.h"

namespace athanor {
namespace {

void SetFlops(benchmark::State& state, const KernelMap& map, int64_t in, int64_t out) {
  state.counters["flops"] =
      benchmark::Counter(2.0 * static_cast<double>(map.num_pairs() * in * out),
                         benchmark::Counter::kIsIterationInvariantRate);
}

void BM_Voxelize(benchmark::State& state) {
  const bool stacked = state.range(0) != 0;
  LidarCloud(stacked);
  int64_t voxels = 0;
  for (auto _ : state) voxels = LidarVoxels(stacked).size();
  state.counters["voxels"] = static_cast<double>(voxels);
}
BENCHMARK(BM_Voxelize)->Arg(0)->Arg(1)->UseRealTime()->Unit(benchmark::kMillisecond);

void BM_SubmanifoldMap(benchmark::State& state) {
  const VoxelSet voxels = LidarVoxels(state.range(0) != 0);
  const auto size = static_cast<int>(state.range(1));
  for (auto _ : state) benchmark::DoNotOptimize(SubmanifoldMapCpu(voxels, size));
}
BENCHMARK(BM_SubmanifoldMap)
    ->Args({0, 3})
    ->Args({1, 3})
    ->Args({0, 5})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

std::vector<float> RandomFloats(int64_t n) {
  std::vector<float> values(n);
  Random random(2);
  for (float& v : values) v = random.Uniform(-1, 1);
  return values;
}

// Arguments: stacked, channels, bfloat16. The map is built anew each time, weights are packed.
void BM_SubmanifoldConv(benchmark::State& state) {
  const VoxelSet voxels = LidarVoxels(state.range(0) != 0);
  const auto channels = static_cast<int>(state.range(1));
  const bool rounded = state.range(2) != 0;
  const auto weights = RandomFloats(int64_t{27} * channels * channels);
  const auto features = RandomFloats(voxels.size() * channels);
  std::vector<uint16_t> bits(features.size());
  ToBfloat16Cpu(features.data(), static_cast<int64_t>(features.size()), bits.data());
  std::vector<float> out(features.size());
  std::vector<uint16_t> out_bits(features.size());
  KernelMap map;
  for (auto _ : state) {
    map = SubmanifoldMapCpu(voxels, 3);
    const PackedWeights packed(weights.data(),
                               {27, channels, channels, false, false,
                                rounded ? ConvPrecision::kBfloat16 : ConvPrecision::kFloat32});
    SparseConvForwardArgs args = {};
    args.map = &map, args.weights = &packed;
    args.features = rounded ? static_cast<const void*>(bits.data()) : features.data();
    args.out_is_bfloat16 = rounded;
    args.out = rounded ? static_cast<void*>(out_bits.data()) : out.data();
    SparseConvForwardCpu(args);
  }
  SetFlops(state, map, channels, channels);
}
BENCHMARK(BM_SubmanifoldConv)
    ->ArgsProduct({{0, 1}, {64}, {0, 1}})
    ->ArgsProduct({{0}, {32, 128, 256}, {0, 1}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

void BM_ConvBackwardWeights(benchmark::State& state) {
  const VoxelSet voxels = LidarVoxels(false);
  const auto channels = static_cast<int>(state.range(0));
  const auto features = RandomFloats(voxels.size() * channels);
  std::vector<float> d_weights(size_t{27} * channels * channels);
  const KernelMap map = SubmanifoldMapCpu(voxels, 3);
  for (auto _ : state) {
    SparseConvBackwardWeightsCpu(
        {&map, channels, channels, features.data(), features.data(), d_weights.data()});
  }
  SetFlops(state, map, channels, channels);
}
BENCHMARK(BM_ConvBackwardWeights)->Arg(64)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace athanor

BENCHMARK_MAIN();
