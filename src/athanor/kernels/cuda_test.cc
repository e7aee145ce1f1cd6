// The CUDA kernels against their CPU twins on random scenes. Skipped where there is no GPU.
#include <cuda_runtime.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <deque>
#include <limits>
#include <set>
#include <utility>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/base/random.h"
#include "athanor/kernels/cuda_test_util.h"
#include "athanor/kernels/gaussian_step.h"
#include "athanor/kernels/image_loss.h"
#include "athanor/kernels/project.h"
#include "athanor/kernels/rasterize.h"
#include "athanor/kernels/spherical_harmonics.h"
#include "athanor/kernels/tile_binning.h"

namespace athanor {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// One field of an array of structs of floats.
template <typename T>
std::vector<float> Field(const std::vector<T>& structs, int field) {
  std::vector<float> values;
  for (const T& s : structs) values.push_back(reinterpret_cast<const float*>(&s)[field]);
  return values;
}

// Gaussians in front of a camera, behind it, beside it; one covers the image, some are not finite,
// some share their depth. A faint cluster makes a long list, an opaque one fills pixels early.
struct Scene {
  static constexpr int64_t kNum = 1200, kFaintBegin = 600, kOpaqueBegin = 1000;
  std::vector<float> means, quats, log_scales, opacity_logits;
  PinholeView view = {{0.98006658f, 0, 0.19866933f, 0.1f,  //
                       0, 1, 0, -0.05f,                    //
                       -0.19866933f, 0, 0.98006658f, 1.0f},
                      60,
                      55,
                      33.3f,
                      22.7f,
                      70,
                      45};
  ProjectOptions options;

  Scene() {
    Random random(7);
    for (int64_t i = 0; i < kNum; ++i) {
      const bool faint = i >= kFaintBegin && i < kOpaqueBegin, opaque = i >= kOpaqueBegin;
      const float spread = faint || opaque ? 0.1f : 1.4f;
      const float center = faint ? -0.6f : opaque ? 0.6f : 0.0f;
      means.insert(means.end(),
                   {center + random.Uniform(-spread, spread), random.Uniform(-spread, spread),
                    random.Uniform(opaque ? 2.0f : -1.2f, 4.0f)});
      for (int k = 0; k < 4; ++k) quats.push_back(random.Normal());
      for (int k = 0; k < 3; ++k) {
        log_scales.push_back(opaque ? -1.0f : random.Uniform(-4.0f, -1.5f));
      }
      opacity_logits.push_back(faint    ? random.Uniform(-5.3f, -4.0f)
                               : opaque ? random.Uniform(2.0f, 9.0f)
                                        : random.Uniform(-5.0f, 4.0f));
    }
    for (int k = 0; k < 3; ++k) log_scales[3 * 10 + k] = 1.0f;
    opacity_logits[10] = -3;
    // Far behind: over many pixels its alpha is clipped.
    means[3 * 11] = 0.3f, means[3 * 11 + 1] = 0.2f, means[3 * 11 + 2] = 4.2f;
    for (int k = 0; k < 3; ++k) log_scales[3 * 11 + k] = 0.7f;
    opacity_logits[11] = 8;
    std::copy_n(means.begin() + 3 * 20, 3, means.begin() + 3 * 21);
    std::copy_n(means.begin() + 3 * 20, 3, means.begin() + 3 * 22);
    means[3 * 30] = kNan;
    log_scales[3 * 31] = 200.0f;
    for (int k = 0; k < 4; ++k) quats[4 * 32 + k] = 0;
  }
  GaussianArrays arrays() const {
    return {kNum, means.data(), quats.data(), log_scales.data(), opacity_logits.data()};
  }
  size_t pixels() const { return static_cast<size_t>(view.width_px) * view.height_px; }
  int tiles() const { return MakeTileGrid(view.width_px, view.height_px).size(); }
  std::vector<Splat> Splats() const {
    std::vector<Splat> splats(kNum);
    ProjectForwardCpu({arrays(), view, options, splats.data()});
    return splats;
  }
};

// Copies of a scene's arrays on the device.
struct DeviceScene {
  DeviceArray<float> means, quats, log_scales, opacity_logits;

  explicit DeviceScene(const Scene& s)
      : means(s.means),
        quats(s.quats),
        log_scales(s.log_scales),
        opacity_logits(s.opacity_logits) {}
  GaussianArrays arrays() const {
    return {Scene::kNum, means.data(), quats.data(), log_scales.data(), opacity_logits.data()};
  }
};

TEST_F(CudaTest, ProjectionAgrees) {
  Scene scene;
  const DeviceScene device(scene);
  for (const bool antialias : {false, true}) {
    scene.options.antialias = antialias;
    std::vector<Splat> expected = scene.Splats();
    DeviceArray<Splat> device_splats(expected.size());
    ProjectForwardCuda({device.arrays(), scene.view, scene.options, device_splats.data()}, nullptr);
    std::vector<Splat> found = device_splats.Host();
    int visible = 0, differ = 0;
    for (int64_t i = 0; i < Scene::kNum; ++i) {
      visible += expected[i].radius > 0;
      differ += (expected[i].radius > 0) != (found[i].radius > 0);
      if (!(expected[i].radius > 0 && found[i].radius > 0)) expected[i] = found[i] = {};
    }
    EXPECT_GT(visible, 100);
    EXPECT_LE(differ, 1);
    for (int field = 0; field < 8; ++field) {
      EXPECT_LT(RelativeError(Field(found, field), Field(expected, field)), 1e-4) << field;
    }
  }
}

TEST_F(CudaTest, ProjectionGradientAgrees) {
  Scene scene;
  const DeviceScene device(scene);
  std::vector<SplatGradient> gradients(Scene::kNum);
  Random random(3);
  for (SplatGradient& g : gradients) {
    g = {random.Normal(), random.Normal(), random.Normal(), random.Normal(),
         random.Normal(), random.Normal(), random.Normal()};
  }
  const DeviceArray<SplatGradient> device_gradients(gradients);
  for (const bool antialias : {false, true}) {
    scene.options.antialias = antialias;
    const std::vector<Splat> splats = scene.Splats();
    const DeviceArray<Splat> device_splats(splats);
    constexpr int kWidths[4] = {3, 4, 3, 1};
    std::vector<std::vector<float>> expected;
    std::deque<DeviceArray<float>> found;
    for (const int width : kWidths) {
      expected.emplace_back(width * Scene::kNum, kNan);
      found.emplace_back(width * Scene::kNum);
    }
    ProjectBackwardCpu({scene.arrays(), scene.view, scene.options, splats.data(), gradients.data(),
                        expected[0].data(), expected[1].data(), expected[2].data(),
                        expected[3].data()});
    ProjectBackwardCuda(
        {device.arrays(), scene.view, scene.options, device_splats.data(), device_gradients.data(),
         found[0].data(), found[1].data(), found[2].data(), found[3].data()},
        nullptr);
    for (int k = 0; k < 4; ++k) {
      EXPECT_LT(RelativeError(found[k].Host(), expected[k]), 1e-3) << "parameter " << k;
    }
  }
}

TEST_F(CudaTest, SphericalHarmonicsAgree) {
  Scene scene;
  scene.means[3 * 30] = 0;  // the harmonics skip only what is not visible
  const std::vector<Splat> splats = scene.Splats();
  const DeviceArray<Splat> device_splats(splats);
  const DeviceArray<float> means(scene.means);
  const std::vector<float> d_colors = UniformValues(3 * Scene::kNum, 5, -1, 1);
  const DeviceArray<float> device_d_colors(d_colors);
  for (const auto& [degree, k] :
       std::vector<std::pair<int, int>>{{0, 1}, {1, 4}, {2, 9}, {3, 16}, {0, 16}, {2, 16}}) {
    const std::vector<float> sh = UniformValues(3 * Scene::kNum * k, 4, -1, 1);
    const DeviceArray<float> device_sh(sh);
    for (const bool skip : {false, true}) {
      std::vector<float> colors(3 * Scene::kNum, 0.0f);
      ShForwardArgs args = {Scene::kNum,
                            degree,
                            k,
                            scene.means.data(),
                            sh.data(),
                            {0.1f, 0.2f, -1},
                            skip ? splats.data() : nullptr,
                            colors.data()};
      ShForwardArgs device_args = args;
      const DeviceArray<float> device_colors(colors);
      device_args.means = means.data(), device_args.sh = device_sh.data();
      device_args.splats = skip ? device_splats.data() : nullptr;
      device_args.colors = device_colors.data();
      ShForwardCpu(args);
      ShForwardCuda(device_args, nullptr);
      EXPECT_LT(RelativeError(device_colors.Host(), colors), 1e-5) << degree << " " << k;

      std::vector<float> d_sh(sh.size()), d_means(3 * Scene::kNum);
      const DeviceArray<float> device_d_sh(sh.size()), device_d_means(3 * Scene::kNum);
      const DeviceArray<float> same_colors(colors);
      ShBackwardCpu({Scene::kNum,
                     degree,
                     k,
                     scene.means.data(),
                     sh.data(),
                     {0.1f, 0.2f, -1},
                     args.splats,
                     colors.data(),
                     d_colors.data(),
                     d_sh.data(),
                     d_means.data()});
      ShBackwardCuda({Scene::kNum,
                      degree,
                      k,
                      means.data(),
                      device_sh.data(),
                      {0.1f, 0.2f, -1},
                      device_args.splats,
                      same_colors.data(),
                      device_d_colors.data(),
                      device_d_sh.data(),
                      device_d_means.data()},
                     nullptr);
      EXPECT_LT(RelativeError(device_d_sh.Host(), d_sh), 1e-5) << degree << " " << k;
      EXPECT_LT(RelativeError(device_d_means.Host(), d_means), 1e-4) << degree << " " << k;
    }
  }
}

// What BinTilesCuda returns, with the memory that it lies in.
struct DeviceBins {
  std::deque<DeviceArray<char>> memory;
  int32_t* offsets = nullptr;
  int32_t* ids = nullptr;
  int64_t entries = 0;

  DeviceBins(const Splat* splats, int64_t n, int width_px, int height_px) {
    const auto allocate = [](void* context, size_t bytes) -> void* {
      return static_cast<DeviceBins*>(context)->memory.emplace_back(bytes).data();
    };
    entries = BinTilesCuda(splats, n, width_px, height_px, allocate, this, nullptr, &offsets, &ids);
  }
  static std::vector<int32_t> Host(const int32_t* values, size_t count) {
    std::vector<int32_t> host(count);
    CheckCall(cudaDeviceSynchronize());
    CheckCall(cudaMemcpy(host.data(), values, count * sizeof(int32_t), cudaMemcpyDeviceToHost));
    return host;
  }
};

TEST_F(CudaTest, TileListsAgree) {
  // Wide enough that large splats are shared out over their warps.
  Scene scene;
  scene.view.width_px = 700, scene.view.height_px = 1200;
  scene.view.fx_px = scene.view.fy_px = 600;
  scene.view.cx_px = 350, scene.view.cy_px = 600;
  const std::vector<Splat> splats = scene.Splats();
  TileBins bins;
  BinTilesCpu(splats.data(), Scene::kNum, 700, 1200, &bins);
  const DeviceArray<Splat> device_splats(splats);
  const DeviceBins found(device_splats.data(), Scene::kNum, 700, 1200);
  const int tiles = scene.tiles();
  const auto offsets = DeviceBins::Host(found.offsets, tiles + 1);
  const auto ids = DeviceBins::Host(found.ids, found.entries);
  ASSERT_EQ(offsets.front(), 0);
  ASSERT_EQ(offsets.back(), found.entries);
  std::set<std::pair<int, int>> expected_pairs, differ;
  for (int tile = 0; tile < tiles; ++tile) {
    ASSERT_LE(offsets[tile], offsets[tile + 1]);
    for (int32_t k = bins.offsets[tile]; k < bins.offsets[tile + 1]; ++k) {
      expected_pairs.insert({tile, bins.ids[k]});
    }
  }
  differ = expected_pairs;
  for (int tile = 0; tile < tiles; ++tile) {
    for (int32_t k = offsets[tile]; k < offsets[tile + 1]; ++k) {
      ASSERT_GE(ids[k], 0);
      ASSERT_LT(ids[k], Scene::kNum);
      if (differ.erase({tile, ids[k]}) == 0) {
        ASSERT_EQ(expected_pairs.count({tile, ids[k]}), 0u) << "an entry twice";
        differ.insert({tile, ids[k]});
      }
      if (k == offsets[tile]) continue;
      const std::pair<float, int> before = {splats[ids[k - 1]].depth, ids[k - 1]};
      const std::pair<float, int> here = {splats[ids[k]].depth, ids[k]};
      ASSERT_LT(before, here);
    }
  }
  EXPECT_GT(expected_pairs.size(), 5000u);
  EXPECT_LE(differ.size(), expected_pairs.size() / 1000);
}

TEST_F(CudaTest, NothingToSee) {
  const DeviceArray<Splat> none(std::vector<Splat>(5));
  for (const int64_t n : {0, 5}) {
    const DeviceBins bins(none.data(), n, 40, 20);
    EXPECT_EQ(bins.entries, 0);
    EXPECT_EQ(DeviceBins::Host(bins.offsets, 7), std::vector<int32_t>(7, 0));
    const DeviceArray<float> image(800), transmittance(800);
    const DeviceArray<float> background(std::vector<float>{0.25f});
    const DeviceArray<int32_t> walked(6);
    RasterizeForwardArgs args = {};
    args.width_px = 40, args.height_px = 20, args.channels = 1;
    args.splats = none.data(), args.background = background.data();
    args.tile_offsets = bins.offsets, args.tile_ids = bins.ids;
    args.image = image.data(), args.transmittance = transmittance.data();
    args.tile_walked = walked.data();
    RasterizeForwardCuda(args, nullptr);
    EXPECT_EQ(image.Host(), std::vector<float>(800, 0.25f));
    EXPECT_EQ(transmittance.Host(), std::vector<float>(800, 1.0f));
    EXPECT_EQ(walked.Host(), std::vector<int32_t>(6, 0));
  }
}

// The scene's splats, tile lists and features here and on the device.
struct RasterizeInputs {
  Scene scene;
  std::vector<Splat> splats = scene.Splats();
  TileBins bins;
  std::vector<float> features, background;
  DeviceArray<Splat> device_splats;
  DeviceArray<int32_t> device_offsets, device_ids;
  DeviceArray<float> device_features, device_background;

  explicit RasterizeInputs(int channels)
      : bins(Bin(scene, splats)),
        features(UniformValues(channels * Scene::kNum, 8, -0.2f, 1)),
        background(UniformValues(channels, 9, 0, 1)),
        device_splats(splats),
        device_offsets(bins.offsets),
        device_ids(bins.ids),
        device_features(features),
        device_background(background) {}
  static TileBins Bin(const Scene& scene, const std::vector<Splat>& splats) {
    TileBins bins;
    BinTilesCpu(splats.data(), Scene::kNum, scene.view.width_px, scene.view.height_px, &bins);
    return bins;
  }
};

struct HostImages {
  std::vector<float> image, transmittance, depth, median, top_weights;
  std::vector<int32_t> walked, top_ids;
};

// Renders on the CPU, and on the GPU when `found` is given.
HostImages Render(const RasterizeInputs& in, int channels, int top_k, HostImages* found) {
  const size_t pixels = in.scene.pixels();
  HostImages out;
  out.image.resize(channels * pixels);
  out.transmittance.resize(pixels), out.depth.resize(pixels), out.median.resize(pixels);
  out.walked.resize(in.scene.tiles());
  out.top_ids.resize(top_k * pixels), out.top_weights.resize(top_k * pixels);
  RasterizeForwardArgs args = {};
  args.width_px = in.scene.view.width_px, args.height_px = in.scene.view.height_px;
  args.channels = channels, args.top_k = top_k;
  args.splats = in.splats.data(), args.features = in.features.data();
  args.background = in.background.data();
  args.tile_offsets = in.bins.offsets.data(), args.tile_ids = in.bins.ids.data();
  args.image = out.image.data(), args.transmittance = out.transmittance.data();
  args.depth = out.depth.data(), args.median_depth = out.median.data();
  args.tile_walked = out.walked.data();
  args.top_ids = out.top_ids.data(), args.top_weights = out.top_weights.data();
  RasterizeForwardCpu(args);
  if (found == nullptr) return out;

  const DeviceArray<float> image(channels * pixels), transmittance(pixels), depth(pixels);
  const DeviceArray<float> median(pixels), top_weights(top_k * pixels);
  const DeviceArray<int32_t> walked(in.scene.tiles()), top_ids(top_k * pixels);
  args.splats = in.device_splats.data(), args.features = in.device_features.data();
  args.background = in.device_background.data();
  args.tile_offsets = in.device_offsets.data(), args.tile_ids = in.device_ids.data();
  args.image = image.data(), args.transmittance = transmittance.data();
  args.depth = depth.data(), args.median_depth = median.data();
  args.tile_walked = walked.data();
  args.top_ids = top_ids.data(), args.top_weights = top_weights.data();
  RasterizeForwardCuda(args, nullptr);
  *found = {image.Host(),       transmittance.Host(), depth.Host(),  median.Host(),
            top_weights.Host(), walked.Host(),        top_ids.Host()};
  return out;
}

TEST_F(CudaTest, RasterizedImagesAgree) {
  constexpr float kTolerance = 1e-4f;
  constexpr double kShare = 2e-3;
  for (const auto& [channels, top_k] :
       std::vector<std::pair<int, int>>{{0, 0}, {1, 1}, {3, 0}, {4, 16}, {13, 0}, {70, 6}}) {
    SCOPED_TRACE(testing::Message() << channels << " channels, top " << top_k);
    const RasterizeInputs in(channels);
    HostImages found;
    const HostImages expected = Render(in, channels, top_k, &found);
    EXPECT_LE(ShareOff(found.image, expected.image, kTolerance), kShare);
    EXPECT_LE(ShareOff(found.transmittance, expected.transmittance, kTolerance), kShare);
    EXPECT_LE(ShareOff(found.depth, expected.depth, 10 * kTolerance), kShare);
    EXPECT_LE(ShareOff(found.median, expected.median, kTolerance), kShare);
    EXPECT_LE(ShareOff(found.top_weights, expected.top_weights, kTolerance), kShare);
    int longest = 0, cut_short = 0;
    for (int tile = 0; tile < in.scene.tiles(); ++tile) {
      const int entries = in.bins.offsets[tile + 1] - in.bins.offsets[tile];
      longest = std::max(longest, entries);
      cut_short += expected.walked[tile] < entries;
      EXPECT_NEAR(found.walked[tile], expected.walked[tile], 2) << "tile " << tile;
    }
    EXPECT_GT(longest, 256) << "more than one batch";
    EXPECT_GT(cut_short, 0) << "tiles whose pixels are all full";
    size_t other_ids = 0;
    for (size_t i = 0; i < found.top_ids.size(); ++i) {
      other_ids += found.top_ids[i] != expected.top_ids[i];
    }
    EXPECT_LE(other_ids, found.top_ids.size() / 200);
  }
}

TEST_F(CudaTest, RasterizeGradientAgrees) {
  struct Case {
    int channels;
    bool absolute, with_depth;
  };
  for (const Case& c : {Case{3, true, true}, Case{4, false, false}, Case{9, true, false},
                        Case{50, false, true}, Case{50, true, true}}) {
    SCOPED_TRACE(testing::Message() << c.channels << " channels, absolute " << c.absolute);
    const RasterizeInputs in(c.channels);
    const HostImages images = Render(in, c.channels, 0, nullptr);
    const size_t pixels = in.scene.pixels();
    const auto d_image = UniformValues(c.channels * pixels, 11, -1, 1);
    const auto d_transmittance = UniformValues(pixels, 12, -1, 1);
    const auto d_depth = UniformValues(pixels, 13, -1, 1);
    std::vector<SplatGradient> d_splats(Scene::kNum);
    std::vector<float> d_features(c.channels * Scene::kNum);
    RasterizeBackwardArgs args = {};
    args.n = Scene::kNum;
    args.width_px = in.scene.view.width_px, args.height_px = in.scene.view.height_px;
    args.channels = c.channels, args.absolute = c.absolute;
    args.splats = in.splats.data(), args.features = in.features.data();
    args.background = in.background.data();
    args.tile_offsets = in.bins.offsets.data(), args.tile_ids = in.bins.ids.data();
    args.image = images.image.data(), args.transmittance = images.transmittance.data();
    args.tile_walked = images.walked.data();
    args.d_image = d_image.data();
    if (c.with_depth) {
      args.depth = images.depth.data(), args.d_depth = d_depth.data();
      args.d_transmittance = d_transmittance.data();
    }
    args.d_splats = d_splats.data(), args.d_features = d_features.data();
    RasterizeBackwardCpu(args);

    const DeviceArray<float> image(images.image), transmittance(images.transmittance);
    const DeviceArray<float> depth(images.depth), device_d_image(d_image);
    const DeviceArray<float> device_d_transmittance(d_transmittance), device_d_depth(d_depth);
    const DeviceArray<int32_t> walked(images.walked);
    const DeviceArray<SplatGradient> device_d_splats(Scene::kNum);
    const DeviceArray<float> device_d_features(d_features.size());
    args.splats = in.device_splats.data(), args.features = in.device_features.data();
    args.background = in.device_background.data();
    args.tile_offsets = in.device_offsets.data(), args.tile_ids = in.device_ids.data();
    args.image = image.data(), args.transmittance = transmittance.data();
    args.tile_walked = walked.data();
    args.d_image = device_d_image.data();
    if (c.with_depth) {
      args.depth = depth.data(), args.d_depth = device_d_depth.data();
      args.d_transmittance = device_d_transmittance.data();
    }
    args.d_splats = device_d_splats.data(), args.d_features = device_d_features.data();
    RasterizeBackwardCuda(args, nullptr);
    EXPECT_LT(RelativeError(device_d_features.Host(), d_features), 3e-4);
    const auto found = device_d_splats.Host();
    for (int field = 0; field < 9; ++field) {
      EXPECT_LT(RelativeError(Field(found, field), Field(d_splats, field)), 3e-4) << field;
    }
  }
}

TEST_F(CudaTest, ImageLossAgrees) {
  constexpr int kWidth = 75, kHeight = 37, kChannels = 3;
  const auto image = UniformValues(kWidth * kHeight * kChannels, 1, 0, 1);
  auto target = UniformValues(kWidth * kHeight * kChannels, 2, 0, 1);
  for (size_t i = 0; i < target.size(); ++i) target[i] = 0.7f * image[i] + 0.3f * target[i];
  std::vector<uint8_t> mask(kWidth * kHeight, 1);
  for (int i = 0; i < 900; ++i) mask[i] = i % kWidth < 40;
  const DeviceArray<float> device_image(image), device_target(target);
  const DeviceArray<uint8_t> device_mask(mask);
  for (const bool masked : {false, true}) {
    std::vector<float> gradient(image.size());
    ImageLossArgs args = {kWidth, kHeight, kChannels, image.data(), target.data()};
    args.mask = masked ? mask.data() : nullptr;
    args.ssim_weight = 0.2f;
    args.d_image = gradient.data();
    ImageLossCpu(&args);
    ImageLossArgs device_args = args;
    const DeviceArray<float> device_gradient(image.size());
    const DeviceArray<double> sums(2);
    device_args.image = device_image.data(), device_args.target = device_target.data();
    device_args.mask = masked ? device_mask.data() : nullptr;
    device_args.d_image = device_gradient.data();
    ImageLossCuda(device_args, sums.data(), nullptr);
    EXPECT_NEAR(sums.Host()[0], args.l1, 1e-6);
    EXPECT_NEAR(sums.Host()[1], args.ssim, 1e-5);
    EXPECT_LT(RelativeError(device_gradient.Host(), gradient), 1e-4);
    device_args.d_image = nullptr;
    ImageLossCuda(device_args, sums.data(), nullptr);
    EXPECT_NEAR(sums.Host()[1], args.ssim, 1e-5) << "values only";
  }
}

// The parameters and moments of a scene: here, or copied to the device.
struct StepState {
  std::vector<std::vector<float>> arrays;  // means quats log_scales logits sh, second moments
  std::vector<uint16_t> first;             // moments

  StepState(const Scene& s, int k) {
    arrays = {s.means,
              s.quats,
              s.log_scales,
              s.opacity_logits,
              UniformValues(3 * k * Scene::kNum, 21, -1, 1),
              UniformValues(kNumMoments * Scene::kNum, 23, 0.1f, 1)};
    for (int64_t i = 0; i < kNumMoments * Scene::kNum; ++i) {
      first.push_back(static_cast<uint16_t>(0x3c00 + i % 512 + (i % 2) * 0x8000));  // +- 0.01
    }
  }
};

std::vector<float> FromBfloat16(const std::vector<uint16_t>& bits) {
  std::vector<float> values;
  for (const uint16_t b : bits) values.push_back(std::bit_cast<float>(uint32_t{b} << 16));
  return values;
}

std::vector<float> Difference(std::vector<float> a, const std::vector<float>& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
  return a;
}

TEST_F(CudaTest, GaussianStepAgrees) {
  Scene scene;
  scene.means[3 * 30] = 0, scene.log_scales[3 * 31] = -2, scene.quats[4 * 32] = 1;
  const std::vector<Splat> splats = scene.Splats();
  const auto colors = UniformValues(3 * Scene::kNum, 14, -0.3f, 1);
  const auto d_colors = UniformValues(3 * Scene::kNum, 15, -1, 1);
  std::vector<SplatGradient> d_splats(Scene::kNum);
  Random random(16);
  for (SplatGradient& g : d_splats) {
    g = {random.Normal(), random.Normal(), random.Normal(), random.Normal(),
         random.Normal(), random.Normal(), random.Normal()};
  }
  const DeviceArray<Splat> device_splats(splats);
  const DeviceArray<float> device_colors(colors), device_d_colors(d_colors);
  const DeviceArray<SplatGradient> device_d_splats(d_splats);
  struct Case {
    int degree, k;
    bool visible_only;
  };
  for (const Case& c : {Case{0, 1, false}, Case{1, 16, true}, Case{2, 9, false}, Case{3, 16, true},
                        Case{3, 16, false}}) {
    SCOPED_TRACE(testing::Message() << "degree " << c.degree << " of " << c.k);
    const StepState before(scene, c.k);
    StepState after = before;
    GaussianStepArgs args = {};
    args.n = Scene::kNum, args.sh_degree = c.degree, args.sh_coefficients = c.k;
    args.view = scene.view;
    args.camera_center[2] = -1;
    args.lr_means = 1e-3f, args.lr_quats = 2e-3f, args.lr_log_scales = 5e-3f;
    args.lr_opacity_logits = 5e-2f, args.lr_sh_dc = 3e-3f, args.lr_sh_rest = 1e-3f;
    args.beta1 = 0.9f, args.beta2 = 0.999f, args.epsilon = 1e-15f;
    args.step = 5;
    args.visible_only = c.visible_only;
    args.opacity_regularizer = 10, args.scale_regularizer = 20;
    GaussianStepArgs device_args = args;
    auto& a = after.arrays;
    args.parameters = {a[0].data(), a[1].data(), a[2].data(), a[3].data(), a[4].data()};
    args.moments = {after.first.data(), a[5].data()};
    args.splats = splats.data(), args.colors = colors.data();
    args.d_splats = d_splats.data(), args.d_colors = d_colors.data();
    GaussianStepCpu(args);

    std::deque<DeviceArray<float>> d;
    for (const auto& array : before.arrays) d.emplace_back(array);
    device_args.parameters = {d[0].data(), d[1].data(), d[2].data(), d[3].data(), d[4].data()};
    const DeviceArray<uint16_t> device_first(before.first);
    device_args.moments = {device_first.data(), d[5].data()};
    device_args.splats = device_splats.data(), device_args.colors = device_colors.data();
    device_args.d_splats = device_d_splats.data();
    device_args.d_colors = device_d_colors.data();
    GaussianStepCuda(device_args, nullptr);
    for (size_t k = 0; k < a.size(); ++k) {
      const auto expected = Difference(a[k], before.arrays[k]);
      EXPECT_LT(RelativeError(Difference(d[k].Host(), before.arrays[k]), expected), 2e-3) << k;
    }
    EXPECT_LT(RelativeError(FromBfloat16(device_first.Host()), FromBfloat16(after.first)), 1e-3);
    if (!c.visible_only) continue;
    const auto sh = d[4].Host();
    for (int64_t i = 0; i < Scene::kNum; ++i) {
      if (splats[i].radius > 0) continue;
      EXPECT_TRUE(std::equal(sh.begin() + 3 * c.k * i, sh.begin() + 3 * c.k * (i + 1),
                             before.arrays[4].begin() + 3 * c.k * i));
    }
  }
}

TEST_F(CudaTest, RefusesMoreTopSplatsThanItCanHold) {
  RasterizeForwardArgs args = {};
  args.top_k = 17;
  try {
    RasterizeForwardCuda(args, nullptr);
    FAIL() << "no Error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("0..16, found 17"));
  }
}

}  // namespace
}  // namespace athanor
