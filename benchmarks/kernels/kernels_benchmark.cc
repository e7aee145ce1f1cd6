// Each kernel alone, on one scene: 100,000 Gaussians of about 6 px, 960 x 540, SH degree 3.
//
// Counters: time `per_item` (Gaussian, tile entry, or pixel and channel) and, where the arrays are
// larger than the caches, the bytes per second that must pass between memory and core.
// BM_MemoryCopy says how many of these the machine can do.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <vector>

#include "athanor/base/parallel.h"
#include "athanor/base/random.h"
#include "athanor/kernels/gaussian_step.h"
#include "athanor/kernels/image_loss.h"
#include "athanor/kernels/project.h"
#include "athanor/kernels/rasterize.h"
#include "athanor/kernels/spherical_harmonics.h"
#include "athanor/kernels/tile_binning.h"

namespace athanor {
namespace {

constexpr int64_t kGaussians = 100'000;
constexpr int kWidth = 960, kHeight = 540, kCoefficients = 16;
constexpr size_t kPixels = static_cast<size_t>(kWidth) * kHeight;

struct Scene {
  std::vector<float> means, quats, log_scales, opacity_logits, sh, colors, features;
  std::vector<Splat> splats;
  TileBins bins;
  PinholeView view = {{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0}, 800, 800, 480, 270, kWidth, kHeight};
  std::vector<float> image, transmittance, d_image, d_features;
  std::vector<int32_t> walked;
  std::vector<SplatGradient> d_splats;

  explicit Scene(int channels) {
    Random random(1);
    for (int64_t i = 0; i < kGaussians; ++i) {
      const float z = random.Uniform(2, 6);
      means.insert(means.end(),
                   {random.Uniform(-0.62f, 0.62f) * z, random.Uniform(-0.35f, 0.35f) * z, z});
      for (int k = 0; k < 4; ++k) quats.push_back(random.Normal());
      for (int k = 0; k < 3; ++k) log_scales.push_back(random.Uniform(-5.3f, -4.0f));
      opacity_logits.push_back(random.Uniform(-3, 2));
      for (int k = 0; k < 3 * kCoefficients; ++k) sh.push_back(random.Uniform(-0.2f, 0.2f));
      for (int c = 0; c < channels; ++c) features.push_back(random.Uniform());
    }
    splats.resize(kGaussians);
    colors.resize(3 * kGaussians);
    Project();
    BinTilesCpu(splats.data(), kGaussians, kWidth, kHeight, &bins);
    image.resize(channels * kPixels);
    transmittance.resize(kPixels);
    d_image.assign(channels * kPixels, 1e-6f);
    d_features.resize(kGaussians * channels);
    walked.resize(MakeTileGrid(kWidth, kHeight).size());
    d_splats.resize(kGaussians);
    Forward(channels);
  }
  void Project() {
    ProjectForwardCpu(
        {{kGaussians, means.data(), quats.data(), log_scales.data(), opacity_logits.data()},
         view,
         {},
         splats.data()});
  }
  void Forward(int channels) {
    RasterizeForwardArgs args = {};
    args.width_px = kWidth, args.height_px = kHeight, args.channels = channels;
    args.splats = splats.data(), args.features = features.data();
    args.tile_offsets = bins.offsets.data(), args.tile_ids = bins.ids.data();
    args.image = image.data(), args.transmittance = transmittance.data();
    args.tile_walked = walked.data();
    RasterizeForwardCpu(args);
  }
  void Backward(int channels) {
    RasterizeBackwardArgs args = {};
    args.n = kGaussians;
    args.width_px = kWidth, args.height_px = kHeight, args.channels = channels;
    args.splats = splats.data(), args.features = features.data();
    args.tile_offsets = bins.offsets.data(), args.tile_ids = bins.ids.data();
    args.image = image.data(), args.transmittance = transmittance.data();
    args.tile_walked = walked.data(), args.d_image = d_image.data();
    args.d_splats = d_splats.data(), args.d_features = d_features.data();
    RasterizeBackwardCpu(args);
  }
};

void SetPerItem(benchmark::State& state, double items, double bytes = 0) {
  state.counters["per_item"] = benchmark::Counter(
      items, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
  if (bytes > 0) {
    state.counters["bytes"] =
        benchmark::Counter(bytes, benchmark::Counter::kIsIterationInvariantRate);
  }
}

void BM_Project(benchmark::State& state) {
  Scene s(3);
  for (auto _ : state) s.Project();
  SetPerItem(state, kGaussians, kGaussians * (11.0 * 4 + sizeof(Splat)));
}

void BM_SphericalHarmonics(benchmark::State& state) {
  Scene s(3);
  for (auto _ : state) {
    ShForwardCpu({kGaussians,
                  3,
                  kCoefficients,
                  s.means.data(),
                  s.sh.data(),
                  {0, 0, 0},
                  s.splats.data(),
                  s.colors.data()});
  }
  SetPerItem(state, kGaussians, kGaussians * (3.0 * kCoefficients * 4 + 24 + sizeof(Splat)));
}

void BM_TileBinning(benchmark::State& state) {
  Scene s(3);
  for (auto _ : state) BinTilesCpu(s.splats.data(), kGaussians, kWidth, kHeight, &s.bins);
  SetPerItem(state, static_cast<double>(s.bins.ids.size()));
}

void BM_RasterizeForward(benchmark::State& state) {
  const auto channels = static_cast<int>(state.range(0));
  Scene s(channels);
  for (auto _ : state) s.Forward(channels);
  SetPerItem(state, static_cast<double>(s.bins.ids.size()));
}

void BM_RasterizeBackward(benchmark::State& state) {
  const auto channels = static_cast<int>(state.range(0));
  Scene s(channels);
  for (auto _ : state) s.Backward(channels);
  SetPerItem(state, static_cast<double>(s.bins.ids.size()));
}

void BM_ImageLoss(benchmark::State& state) {
  std::vector<float> image(3 * kPixels), target(3 * kPixels), d_image(3 * kPixels);
  Random random(2);
  for (float& v : image) v = random.Uniform();
  for (float& v : target) v = random.Uniform();
  for (auto _ : state) {
    ImageLossArgs args = {kWidth,         kHeight, 3, image.data(), target.data(), nullptr, 0.2f,
                          d_image.data(), 0,       0};
    ImageLossCpu(&args);
    benchmark::DoNotOptimize(args.ssim);
  }
  SetPerItem(state, 3.0 * kPixels, 3.0 * kPixels * 12);
}

void BM_GaussianStep(benchmark::State& state) {
  Scene s(3);
  s.Backward(3);
  ShForwardCpu({kGaussians,
                3,
                kCoefficients,
                s.means.data(),
                s.sh.data(),
                {0, 0, 0},
                s.splats.data(),
                s.colors.data()});
  std::vector<uint16_t> first(kNumMoments * kGaussians);
  std::vector<float> second(kNumMoments * kGaussians);
  GaussianStepArgs args = {};
  args.n = kGaussians, args.sh_degree = 3, args.sh_coefficients = kCoefficients;
  args.parameters = {s.means.data(), s.quats.data(), s.log_scales.data(), s.opacity_logits.data(),
                     s.sh.data()};
  args.moments = {first.data(), second.data()};
  args.view = s.view;
  args.splats = s.splats.data(), args.colors = s.colors.data();
  args.d_splats = s.d_splats.data(), args.d_colors = s.d_features.data();
  // Rates of 0 leave the scene as it is, at the same cost.
  args.beta1 = 0.9f, args.beta2 = 0.999f, args.epsilon = 1e-15f;
  args.visible_only = true;
  for (auto _ : state) {
    ++args.step;
    GaussianStepCpu(args);
  }
  // Parameters and moments are read and written; splats, colours and their gradients are read.
  SetPerItem(state, kGaussians,
             kGaussians * (2.0 * (59 * 4 + 84) + sizeof(Splat) + sizeof(SplatGradient) + 24));
}

void BM_MemoryCopy(benchmark::State& state) {
  constexpr int64_t kFloats = int64_t{1} << 25, kPiece = 1 << 16;
  std::vector<float> from(kFloats, 1.0f), to(kFloats);
  for (auto _ : state) {
    ParallelFor(kFloats, kPiece, [&](int64_t begin, int64_t end) {
      std::copy(from.begin() + begin, from.begin() + end, to.begin() + begin);
    });
    benchmark::ClobberMemory();
  }
  SetPerItem(state, kFloats, 8.0 * kFloats);
}

BENCHMARK(BM_MemoryCopy)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(BM_Project)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(BM_SphericalHarmonics)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(BM_TileBinning)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(BM_RasterizeForward)->Arg(3)->Arg(32)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(BM_RasterizeBackward)->Arg(3)->Arg(32)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(BM_ImageLoss)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(BM_GaussianStep)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace athanor

BENCHMARK_MAIN();
