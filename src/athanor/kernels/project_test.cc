// Projection against the double-precision oracle; its gradients are tested with those of blending,
// in rasterize_test.cc.
#include "athanor/kernels/project.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "athanor/kernels/kernel_test_util.h"

namespace athanor {
namespace {

TEST(ProjectTest, AgreesWithTheOracle) {
  for (bool antialias : {false, true}) {
    TestScene s(400);
    s.options.antialias = antialias;
    const Rendered r = Render(s);
    int visible = 0;
    for (int64_t i = 0; i < s.n; ++i) {
      const OracleSplat o = OracleProject(GaussianAt(s, i), s.view, s.options);
      if (r.splats[i].radius == 0) continue;
      ++visible;
      ASSERT_TRUE(o.visible);
      EXPECT_NEAR(r.splats[i].x, o.x, 1e-3 + 1e-4 * std::abs(o.x));
      EXPECT_NEAR(r.splats[i].y, o.y, 1e-3 + 1e-4 * std::abs(o.y));
      const double scale = std::abs(o.a) + std::abs(o.c);
      EXPECT_NEAR(r.splats[i].a, o.a, 2e-4 * scale);
      EXPECT_NEAR(r.splats[i].b, o.b, 2e-4 * scale);
      EXPECT_NEAR(r.splats[i].c, o.c, 2e-4 * scale);
      EXPECT_NEAR(r.splats[i].opacity, o.opacity, 1e-4);
      EXPECT_NEAR(r.splats[i].depth, o.depth, 1e-5);
    }
    EXPECT_GT(visible, 150);
  }
}

TEST(ProjectTest, WhatIsNotFiniteOrOutsideIsNotVisible) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInf = std::numeric_limits<float>::infinity();
  TestScene s(12);
  for (int64_t i = 0; i < s.n; ++i) {
    s.means[3 * i] = s.means[3 * i + 1] = 0, s.means[3 * i + 2] = 2;
    s.opacity_logits[i] = 1;
  }
  s.means[0] = kNan;
  s.means[3 + 2] = kInf;
  s.quats[4 * 2] = kNan;
  std::fill_n(s.quats.begin() + 4 * 3, 4, 0.0f);
  s.log_scales[3 * 4] = kInf;
  s.log_scales[3 * 5] = 1000;
  s.opacity_logits[6] = kNan;
  s.opacity_logits[7] = -kInf;
  s.means[3 * 8 + 2] = -2;       // behind
  s.means[3 * 9] = 1000;         // far to the right
  s.log_scales[3 * 10] = -1000;  // a flat one is fine
  const Rendered r = Render(s);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(r.splats[i].radius, 0) << i;
  EXPECT_GT(r.splats[10].radius, 0);
  EXPECT_GT(r.splats[11].radius, 0);
  for (float v : r.image) ASSERT_TRUE(std::isfinite(v));
}

}  // namespace
}  // namespace athanor
