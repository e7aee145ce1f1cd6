// The fused optimiser step against the gradients of the separate kernels and the first step of
// Adam.
#include "athanor/kernels/gaussian_step.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "athanor/base/random.h"
#include "athanor/kernels/kernel_test_util.h"
#include "athanor/kernels/project.h"
#include "athanor/kernels/spherical_harmonics.h"

namespace athanor {
namespace {

TEST(GaussianStepTest, GeometryAndDcFollowAdam) {
  TestScene s(200, 17);
  constexpr int kCoefficients = 16;
  std::vector<float> sh(3 * kCoefficients * s.n);
  Random random(2);
  for (float& v : sh) v = random.Uniform(-0.2f, 0.3f);
  const std::vector<float> sh_before = sh, means_before = s.means;
  const Rendered r = Render(s);
  std::vector<float> colors(3 * s.n), d_colors(3 * s.n);
  ShForwardCpu({s.n,
                3,
                kCoefficients,
                s.means.data(),
                sh.data(),
                {0, 0, 0},
                r.splats.data(),
                colors.data()});
  for (float& v : d_colors) v = random.Uniform(-1, 1);
  std::vector<SplatGradient> d_splats(s.n);
  for (auto& g : d_splats) {
    for (float* v : {&g.x, &g.y, &g.a, &g.b, &g.c, &g.opacity, &g.depth})
      *v = random.Uniform(-1, 1);
  }
  std::vector<float> d_means(3 * s.n), d_quats(4 * s.n), d_scales(3 * s.n), d_opacity(s.n);
  ProjectBackwardCpu({s.arrays(), s.view, s.options, r.splats.data(), d_splats.data(),
                      d_means.data(), d_quats.data(), d_scales.data(), d_opacity.data()});
  std::vector<float> d_sh(sh.size()), d_means_of_color(3 * s.n);
  ShBackwardCpu({s.n,
                 3,
                 kCoefficients,
                 s.means.data(),
                 sh.data(),
                 {0, 0, 0},
                 r.splats.data(),
                 colors.data(),
                 d_colors.data(),
                 d_sh.data(),
                 d_means_of_color.data()});

  std::vector<uint16_t> first(kNumMoments * s.n);
  std::vector<float> second(kNumMoments * s.n);
  GaussianStepArgs args = {};
  args.n = s.n, args.sh_degree = 3, args.sh_coefficients = kCoefficients;
  args.parameters = {s.means.data(), s.quats.data(), s.log_scales.data(), s.opacity_logits.data(),
                     sh.data()};
  args.moments = {first.data(), second.data()};
  args.view = s.view, args.options = s.options;
  args.splats = r.splats.data(), args.colors = colors.data();
  args.d_splats = d_splats.data(), args.d_colors = d_colors.data();
  args.lr_means = 1e-3f, args.lr_quats = 2e-3f, args.lr_log_scales = 3e-3f;
  args.lr_opacity_logits = 4e-3f, args.lr_sh_dc = 5e-3f, args.lr_sh_rest = 6e-3f;
  args.beta1 = 0.9f, args.beta2 = 0.999f, args.epsilon = 1e-15f;
  args.step = 1;
  args.visible_only = true;
  GaussianStepCpu(args);
  for (int64_t i = 0; i < s.n; ++i) {
    const bool visible = r.splats[i].radius > 0;
    for (int axis = 0; axis < 3; ++axis) {
      // The first step of Adam is the learning rate against the sign of the gradient.
      const float g = d_means[3 * i + axis] + d_means_of_color[3 * i + axis];
      const float moved = s.means[3 * i + axis] - means_before[3 * i + axis];
      if (!visible) {
        ASSERT_EQ(moved, 0);
      } else if (std::abs(g) > 1e-3f) {
        ASSERT_NEAR(moved, g > 0 ? -1e-3f : 1e-3f, 2e-6f);
        const auto mean = std::bit_cast<float>(uint32_t{first[kNumMoments * i + axis]} << 16);
        ASSERT_NEAR(mean, 0.1f * g, 4e-4f * std::abs(g) + 1e-6f) << "bfloat16 keeps 8 bits";
        ASSERT_NEAR(second[kNumMoments * i + axis], 0.001f * g * g, 1e-3f * 0.001f * g * g + 1e-9f);
      }
    }
    for (int c = 0; c < 3; ++c) {
      const int64_t at = (3 * i + c) * kCoefficients;
      const float g = d_sh[at];
      const float moved = sh[at] - sh_before[at];
      if (visible && std::abs(g) > 1e-3f) {
        ASSERT_NEAR(moved, g > 0 ? -5e-3f : 5e-3f, 5e-6f);
        // The other coefficients move along their basis function, relative to DC's.
        const float ratio = d_sh[at + 7] / g;
        ASSERT_NEAR(sh[at + 7] - sh_before[at + 7], (g > 0 ? -6e-3f : 6e-3f) * ratio,
                    1e-3f * 6e-3f * (std::abs(ratio) + 0.1f));
      } else if (!visible) {
        ASSERT_EQ(moved, 0);
      }
    }
  }
}

}  // namespace
}  // namespace athanor
