// L1 + SSIM and its gradient against a plain loop over windows.
#include "athanor/kernels/image_loss.h"

#include <gtest/gtest.h>

#include <cmath>
#include <utility>
#include <vector>

#include "athanor/base/random.h"

namespace athanor {
namespace {

double OracleLoss(const std::vector<double>& x, const std::vector<double>& y, int width, int height,
                  int channels, double weight, double* l1, double* ssim) {
  double window[11], total = 0;
  for (int k = 0; k < 11; ++k) total += window[k] = std::exp(-(k - 5) * (k - 5) / (2 * 1.5 * 1.5));
  for (double& v : window) v /= total;
  const size_t pixels = static_cast<size_t>(width) * height;
  *l1 = *ssim = 0;
  for (int c = 0; c < channels; ++c) {
    for (int row = 0; row < height; ++row) {
      for (int column = 0; column < width; ++column) {
        double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
        for (int j = -5; j <= 5; ++j) {
          for (int i = -5; i <= 5; ++i) {
            if (row + j < 0 || row + j >= height || column + i < 0 || column + i >= width) continue;
            const double w = window[j + 5] * window[i + 5];
            const size_t at = c * pixels + static_cast<size_t>(row + j) * width + column + i;
            mx += w * x[at], my += w * y[at];
            xx += w * x[at] * x[at], yy += w * y[at] * y[at], xy += w * x[at] * y[at];
          }
        }
        *ssim += (2 * mx * my + 1e-4) * (2 * (xy - mx * my) + 9e-4) /
                 ((mx * mx + my * my + 1e-4) * (xx - mx * mx + yy - my * my + 9e-4));
        const size_t at = c * pixels + static_cast<size_t>(row) * width + column;
        *l1 += std::abs(x[at] - y[at]);
      }
    }
  }
  *l1 /= static_cast<double>(pixels * channels);
  *ssim /= static_cast<double>(pixels * channels);
  return (1 - weight) * *l1 + weight * (1 - *ssim);
}

TEST(ImageLossTest, ValueAndGradientAgreeWithTheOracle) {
  for (auto [width, height] : {std::pair{23, 19}, {1, 1}, {40, 150}, {3, 7}}) {
    constexpr int kColors = 2;
    Random random(6);
    std::vector<float> x, y;
    for (int i = 0; i < width * height * kColors; ++i) {
      x.push_back(random.Uniform());
      y.push_back(0.5f * x.back() + 0.5f * random.Uniform());
    }
    std::vector<float> d(x.size());
    ImageLossArgs args = {width,   height, kColors,  x.data(), y.data(),
                          nullptr, 0.2f,   d.data(), 0,        0};
    ImageLossCpu(&args);
    std::vector<double> dx(x.begin(), x.end());
    const std::vector<double> dy(y.begin(), y.end());
    double l1, ssim;
    OracleLoss(dx, dy, width, height, kColors, 0.2, &l1, &ssim);
    EXPECT_NEAR(args.l1, l1, 1e-6);
    EXPECT_NEAR(args.ssim, ssim, 2e-5);
    for (int trial = 0; trial < 12; ++trial) {
      const size_t at = random.Below(static_cast<uint32_t>(dx.size()));
      const double value = dx[at];
      dx[at] = value + 1e-6;
      const double above = OracleLoss(dx, dy, width, height, kColors, 0.2, &l1, &ssim);
      dx[at] = value - 1e-6;
      const double below = OracleLoss(dx, dy, width, height, kColors, 0.2, &l1, &ssim);
      dx[at] = value;
      const double expected = (above - below) / 2e-6;
      EXPECT_NEAR(d[at], expected, 2e-3 * std::abs(expected) + 2e-7) << width << "x" << height;
    }
    // Values alone are the same, and so is the loss of an image with itself: none.
    ImageLossArgs values = args;
    values.d_image = nullptr;
    ImageLossCpu(&values);
    EXPECT_EQ(values.l1, args.l1);
    EXPECT_EQ(values.ssim, args.ssim);
    values.target = values.image;
    ImageLossCpu(&values);
    EXPECT_EQ(values.l1, 0);
    EXPECT_NEAR(values.ssim, 1, 1e-6);
  }
}

TEST(ImageLossTest, MaskedPixelsCountAsEqual) {
  constexpr int kWidth = 30, kHeight = 20;
  Random random(8);
  std::vector<float> x, y;
  std::vector<uint8_t> mask;
  for (int i = 0; i < kWidth * kHeight; ++i) {
    x.push_back(random.Uniform());
    y.push_back(random.Uniform());
    mask.push_back(random.Uniform() < 0.5f ? 0 : 255);
  }
  std::vector<float> equal = x, d(x.size()), d_equal(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    if (mask[i] == 0) equal[i] = y[i];
  }
  ImageLossArgs args = {kWidth, kHeight, 1, x.data(), y.data(), mask.data(), 0.2f, d.data(), 0, 0};
  ImageLossCpu(&args);
  ImageLossArgs other = {kWidth,         kHeight, 1, equal.data(), y.data(), nullptr, 0.2f,
                         d_equal.data(), 0,       0};
  ImageLossCpu(&other);
  EXPECT_NEAR(args.l1, other.l1, 1e-7);
  EXPECT_NEAR(args.ssim, other.ssim, 1e-6);
  for (size_t i = 0; i < x.size(); ++i) {
    if (mask[i] == 0) {
      EXPECT_EQ(d[i], 0);
    } else {
      EXPECT_NEAR(d[i], d_equal[i], 1e-8);
    }
  }
}

}  // namespace
}  // namespace athanor
