#include <algorithm>
#include <cmath>
#include <vector>

#include "athanor/base/parallel.h"
#include "athanor/kernels/image_loss.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "athanor/kernels/image_loss_cpu.cc"
// clang-format off
#include <hwy/foreach_target.h>
// clang-format on
#include <hwy/highway.h>

#ifndef ATHANOR_KERNELS_IMAGE_LOSS_STRIP_  // this file is read again for every instruction set
#define ATHANOR_KERNELS_IMAGE_LOSS_STRIP_
namespace athanor {
namespace {

// Rows [begin, end) of one channel, and what they add to the loss.
struct LossStrip {
  int channel, begin, end;
  double l1, ssim;  // sums
};

}  // namespace
}  // namespace athanor
#endif

HWY_BEFORE_NAMESPACE();
namespace athanor {
namespace HWY_NAMESPACE {

constexpr int kRadius = 5;
constexpr int kWindow = 2 * kRadius + 1;
// Gaussian of sigma 1.5, normalised.
constexpr float kWeights[kWindow] = {0.00102838f, 0.00759876f, 0.03600077f, 0.10936069f,
                                     0.21300554f, 0.26601172f, 0.21300554f, 0.10936069f,
                                     0.03600077f, 0.00759876f, 0.00102838f};
constexpr float kC1 = 0.01f * 0.01f, kC2 = 0.03f * 0.03f;
constexpr int kMoments = 4;   // x, y, xx + yy (SSIM needs no more of the squares), xy
constexpr int kPartials = 3;  // dS / d(mean x), d(mean xx), d(mean xy)

// The last kWindow rows of `kMaps` maps, filtered along x, of which each new row completes one that
// is filtered along both axes.
template <int kMaps>
class RowRing {
 public:
  explicit RowRing(int width)
      : width_(width), rows_(static_cast<size_t>(kWindow) * kMaps * width, 0.0f) {}

  float* Row(int y, int map) {
    const int slot = (y % kWindow + kWindow) % kWindow;
    return rows_.data() + (static_cast<size_t>(slot) * kMaps + map) * width_;
  }
  // out = sum over the window around row y.
  HWY_ATTR void FilterAlongY(int y, int map, float* __restrict out) {
    const float* r[kWindow];
    for (int k = 0; k < kWindow; ++k) r[k] = Row(y - kRadius + k, map);
#pragma omp simd
    for (int x = 0; x < width_; ++x) {
      float sum = kWeights[kRadius] * r[kRadius][x];
      sum += kWeights[0] * (r[0][x] + r[10][x]);
      sum += kWeights[1] * (r[1][x] + r[9][x]);
      sum += kWeights[2] * (r[2][x] + r[8][x]);
      sum += kWeights[3] * (r[3][x] + r[7][x]);
      sum += kWeights[4] * (r[4][x] + r[6][x]);
      out[x] = sum;
    }
  }

 private:
  int width_;
  std::vector<float> rows_;
};

// out[x] = sum over the window around x of `padded`, which begins kRadius zeros before x = 0.
HWY_ATTR void FilterAlongX(const float* __restrict padded, int width, float* __restrict out) {
#pragma omp simd
  for (int x = 0; x < width; ++x) {
    float sum = kWeights[kRadius] * padded[x + 5];
    sum += kWeights[0] * (padded[x] + padded[x + 10]);
    sum += kWeights[1] * (padded[x + 1] + padded[x + 9]);
    sum += kWeights[2] * (padded[x + 2] + padded[x + 8]);
    sum += kWeights[3] * (padded[x + 3] + padded[x + 7]);
    sum += kWeights[4] * (padded[x + 4] + padded[x + 6]);
    out[x] = sum;
  }
}

// SSIM of a row and its derivatives, from the filtered moments.
HWY_ATTR float SsimRow(const float* const* moments, int width, float* __restrict d_mean,
                       float* __restrict d_square, float* __restrict d_product) {
  const float* __restrict mean_x = moments[0];
  const float* __restrict mean_y = moments[1];
  const float* __restrict squares = moments[2];
  const float* __restrict xy = moments[3];
  float total = 0;
#pragma omp simd reduction(+ : total)
  for (int x = 0; x < width; ++x) {
    const float mx = mean_x[x], my = mean_y[x];
    const float a1 = 2 * mx * my + kC1, a2 = 2 * (xy[x] - mx * my) + kC2;
    const float b1 = mx * mx + my * my + kC1;
    const float b2 = squares[x] - mx * mx - my * my + kC2;
    const float inverse = 1.0f / (b1 * b2);
    const float s = a1 * a2 * inverse;
    total += s;
    d_square[x] = -s * b1 * inverse;
    d_product[x] = 2 * a1 * inverse;
    d_mean[x] = 2 * my * (a2 - a1) * inverse + 2 * mx * s * (b1 - b2) * inverse;
  }
  return total;
}

HWY_ATTR void LossOfStrip(const ImageLossArgs& args, LossStrip* strip) {
  const int width = args.width_px, height = args.height_px;
  const size_t plane = static_cast<size_t>(width) * height;
  const float* image = args.image + strip->channel * plane;
  const float* target = args.target + strip->channel * plane;
  float* d_image = args.d_image != nullptr ? args.d_image + strip->channel * plane : nullptr;
  const double count = static_cast<double>(plane) * args.channels;
  const auto l1_scale = static_cast<float>((1.0 - args.ssim_weight) / count);
  const auto ssim_scale = static_cast<float>(-args.ssim_weight / count);

  const int padded_width = width + 2 * kRadius;
  std::vector<float> padded(static_cast<size_t>(kMoments) * padded_width, 0.0f);
  float* inside[kMoments];
  for (int m = 0; m < kMoments; ++m) inside[m] = padded.data() + m * padded_width + kRadius;
  std::vector<float> padded_partials(static_cast<size_t>(kPartials) * padded_width, 0.0f);
  float* partial[kPartials];
  for (int m = 0; m < kPartials; ++m) {
    partial[m] = padded_partials.data() + m * padded_width + kRadius;
  }
  std::vector<float> filtered(static_cast<size_t>(kMoments) * width);
  float* both[kMoments];
  for (int m = 0; m < kMoments; ++m) both[m] = filtered.data() + m * width;
  RowRing<kMoments> moments(width);
  RowRing<kPartials> partials(width);

  // Row y comes in; it completes the SSIM of row y - 5, which completes the gradient of row y - 10.
  const int halo = d_image != nullptr ? 2 * kRadius : kRadius;
  for (int y = strip->begin - halo; y < strip->end + halo; ++y) {
    if (y >= 0 && y < height) {
      const float* __restrict a = image + static_cast<size_t>(y) * width;
      const float* __restrict b = target + static_cast<size_t>(y) * width;
      float* __restrict px = inside[0];
      float* __restrict py = inside[1];
      if (args.mask != nullptr) {
        const uint8_t* mask = args.mask + static_cast<size_t>(y) * width;
        for (int x = 0; x < width; ++x) px[x] = mask[x] != 0 ? a[x] : b[x];
      } else {
        std::copy_n(a, width, px);
      }
      std::copy_n(b, width, py);
      float* __restrict squares = inside[2];
      float* __restrict pxy = inside[3];
#pragma omp simd
      for (int x = 0; x < width; ++x) {
        squares[x] = px[x] * px[x] + py[x] * py[x];
        pxy[x] = px[x] * py[x];
      }
      for (int m = 0; m < kMoments; ++m) {
        FilterAlongX(inside[m] - kRadius, width, moments.Row(y, m));
      }
    } else {
      for (int m = 0; m < kMoments; ++m) std::fill_n(moments.Row(y, m), width, 0.0f);
    }

    const int middle = y - kRadius;
    if (middle < strip->begin - (halo - kRadius)) continue;
    if (middle >= 0 && middle < height) {
      for (int m = 0; m < kMoments; ++m) moments.FilterAlongY(middle, m, both[m]);
      const float ssim = SsimRow(both, width, partial[0], partial[1], partial[2]);
      if (middle >= strip->begin && middle < strip->end) strip->ssim += ssim;
      for (int m = 0; m < kPartials; ++m) {
        FilterAlongX(partial[m] - kRadius, width, partials.Row(middle, m));
      }
    } else {
      for (int m = 0; m < kPartials; ++m) std::fill_n(partials.Row(middle, m), width, 0.0f);
    }

    const int done = middle - (halo - kRadius);
    if (done < strip->begin) continue;
    const float* __restrict a = image + static_cast<size_t>(done) * width;
    const float* __restrict b = target + static_cast<size_t>(done) * width;
    const uint8_t* mask =
        args.mask != nullptr ? args.mask + static_cast<size_t>(done) * width : nullptr;
    float l1 = 0;
    if (mask == nullptr) {
#pragma omp simd reduction(+ : l1)
      for (int x = 0; x < width; ++x) l1 += std::fabs(a[x] - b[x]);
    } else {
      for (int x = 0; x < width; ++x) l1 += mask[x] != 0 ? std::fabs(a[x] - b[x]) : 0.0f;
    }
    strip->l1 += l1;
    if (d_image == nullptr) continue;
    for (int m = 0; m < kPartials; ++m) partials.FilterAlongY(done, m, both[m]);
    const float* __restrict p0 = both[0];
    const float* __restrict p1 = both[1];
    const float* __restrict p2 = both[2];
    float* __restrict out = d_image + static_cast<size_t>(done) * width;
#pragma omp simd
    for (int x = 0; x < width; ++x) {
      const float difference = a[x] - b[x];
      const float sign = difference > 0.0f ? l1_scale : (difference < 0.0f ? -l1_scale : 0.0f);
      out[x] = sign + ssim_scale * (p0[x] + 2 * a[x] * p1[x] + b[x] * p2[x]);
    }
    if (mask != nullptr) {
      for (int x = 0; x < width; ++x) out[x] = mask[x] != 0 ? out[x] : 0.0f;
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace athanor
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace athanor {

HWY_EXPORT(LossOfStrip);

void ImageLossCpu(ImageLossArgs* args) {
  constexpr int kStripRows = 128;  // 20 rows around it are filtered again
  std::vector<LossStrip> strips;
  for (int channel = 0; channel < args->channels; ++channel) {
    for (int y = 0; y < args->height_px; y += kStripRows) {
      strips.push_back({channel, y, std::min(y + kStripRows, args->height_px), 0, 0});
    }
  }
  ParallelChunks(static_cast<int64_t>(strips.size()), [&](int64_t i) {
    HWY_DYNAMIC_DISPATCH(LossOfStrip)(*args, &strips[i]);
  });
  const double count = static_cast<double>(args->width_px) * args->height_px * args->channels;
  args->l1 = args->ssim = 0;
  for (const LossStrip& strip : strips) {
    args->l1 += strip.l1 / count;
    args->ssim += strip.ssim / count;
  }
}

}  // namespace athanor
#endif
