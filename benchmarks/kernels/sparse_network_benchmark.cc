// MinkUNet34A, 3 channels to 20, on the cloud of sparse_conv_benchmark.cc: voxels, kernel maps and
// the forward pass; forward and backward of a training step. With `--dump FILE` first, writes
// weights, input, output and gradients instead, for benchmarks/peers/minkowski_unet.py to run
// MinkowskiEngine on the same.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>

#include <cstring>

#include "athanor/base/parallel.h"
#include "athanor/nn/mink_unet.h"
#include "benchmarks/kernels/lidar_cloud.h"

namespace athanor {
namespace {

constexpr int kInputs = 3, kClasses = 20;

// Running statistics as a trained network has them: of this very input.
const MinkUNet& Network() {
  static const MinkUNet network = [] {
    MinkUNet made(NamedMinkUNet("34A", kInputs, kClasses), 1);
    const at::NoGradGuard no_grad;
    at::manual_seed(2);
    const auto grid = std::make_shared<VoxelGrid>(LidarVoxels(false));
    const SparseTensor input = {grid, at::rand({grid->size(), kInputs})};
    for (int i = 0; i < 3; ++i) made.Forward(input, /*training=*/true);
    return made;
  }();
  return network;
}

at::Tensor Features(int64_t voxels) {
  at::manual_seed(3);
  return at::rand({voxels, kInputs});
}

void BM_MinkUNet34A(benchmark::State& state) {
  const bool stacked = state.range(0) != 0;
  const MinkUNetPredictor predictor(
      Network(), state.range(1) != 0 ? ConvPrecision::kBfloat16 : ConvPrecision::kFloat32);
  const VoxelSet voxels = LidarVoxels(stacked);
  const at::Tensor features = Features(voxels.size());
  for (auto _ : state) {
    // A grid of its own: maps are built anew.
    const SparseTensor input = {std::make_shared<VoxelGrid>(voxels), features};
    benchmark::DoNotOptimize(predictor.Predict(input));
  }
}
BENCHMARK(BM_MinkUNet34A)
    ->ArgsProduct({{0, 1}, {0, 1}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

// What a training step sums up to, less the optimiser: normalisation by this very cloud, and each
// output weighed by a number of its own.
at::Tensor TrainingLoss(const SparseTensor& input, const at::Tensor& weights,
                        ConvPrecision precision) {
  for (const auto& [name, tensor] : Network().Parameters()) tensor.set_requires_grad(true);
  return (Network().Forward(input, /*training=*/true, precision) * weights).sum() /
         static_cast<double>(weights.size(0));
}

at::Tensor LossWeights(int64_t voxels) {
  at::manual_seed(4);
  return at::randn({voxels, kClasses});
}

void BM_MinkUNet34ATraining(benchmark::State& state) {
  const auto precision = state.range(0) != 0 ? ConvPrecision::kBfloat16 : ConvPrecision::kFloat32;
  const VoxelSet voxels = LidarVoxels(false);
  const at::Tensor features = Features(voxels.size()), weights = LossWeights(voxels.size());
  for (auto _ : state) {
    TrainingLoss({std::make_shared<VoxelGrid>(voxels), features}, weights, precision).backward();
  }
}
BENCHMARK(BM_MinkUNet34ATraining)->Arg(0)->Arg(1)->UseRealTime()->Unit(benchmark::kMillisecond);

void Dump(const char* path) {
  const auto grid = std::make_shared<VoxelGrid>(LidarVoxels(false));
  const SparseTensor input = {grid, Features(grid->size())};
  // First, as it moves the running statistics.
  const at::Tensor weights = LossWeights(grid->size());
  TrainingLoss(input, weights, ConvPrecision::kFloat32).backward();
  const at::NoGradGuard no_grad;
  SafeTensors content = Network().ToSafeTensors();
  const at::Tensor cells = at::empty({grid->size(), 4}, at::kInt);
  for (int64_t i = 0; i < grid->size(); ++i) {
    const VoxelCell cell = CellOfKey(grid->voxels().keys()[i]);
    std::memcpy(cells.data_ptr<int32_t>() + 4 * i, &cell, sizeof cell);
  }
  content.tensors.emplace_back("cells", cells);
  content.tensors.emplace_back("features", input.features);
  for (const auto precision : {ConvPrecision::kFloat32, ConvPrecision::kBfloat16}) {
    content.tensors.emplace_back(
        precision == ConvPrecision::kFloat32 ? "output" : "output_bfloat16",
        MinkUNetPredictor(Network(), precision).Predict(input));
  }
  content.tensors.emplace_back("loss_weights", weights);
  for (const auto& [name, tensor] : Network().Parameters()) {
    if (tensor.grad().defined()) content.tensors.emplace_back("gradient." + name, tensor.grad());
  }
  WriteSafeTensors(path, content);
}

}  // namespace
}  // namespace athanor

int main(int argc, char** argv) {
  at::set_num_threads(athanor::NumThreads());
  if (argc == 3 && std::strcmp(argv[1], "--dump") == 0) {
    athanor::Dump(argv[2]);
    return 0;
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
