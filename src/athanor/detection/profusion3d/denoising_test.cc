#include "athanor/detection/profusion3d/denoising.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "athanor/detection/profusion3d/box_code.h"

namespace athanor {
namespace {

at::Tensor TwoBoxes() {
  return at::tensor({10.0f, 5.0f, -1.0f, 4.0f, 2.0f, 1.6f, 0.7f, 0.0f, 0.0f,  //
                     -20.0f, 8.0f, 0.0f, 12.0f, 3.0f, 3.5f, -2.0f, 1.0f, 0.0f})
      .view({2, 9});
}

TEST(Denoising, QueriesLieWithinTheirBoxes) {
  Random random(3);
  const BevGrid grid;
  const DenoisingOptions options = {.groups = 2000, .max_queries = 4000};
  const DenoisingQueries queries = MakeDenoisingQueries(TwoBoxes(), grid, options, &random);
  ASSERT_EQ(queries.size(), 4000);
  const at::Tensor boxes = TwoBoxes().index_select(0, queries.truth);
  const at::Tensor offset = DenormalizePoints(queries.anchors, grid) - boxes.slice(1, 0, 3);
  const at::Tensor c = boxes.select(1, 6).cos(), s = boxes.select(1, 6).sin();
  const at::Tensor along = offset.select(1, 0) * c + offset.select(1, 1) * s;
  const at::Tensor aside = offset.select(1, 1) * c - offset.select(1, 0) * s;
  const at::Tensor noise =
      at::stack({along, aside, offset.select(1, 2)}, 1) / boxes.slice(1, 3, 6) * 2;
  EXPECT_LE(noise.abs().max().item<float>(), 1 + 1e-3f);
  EXPECT_GT(noise.abs().max().item<float>(), 0.99f);
  EXPECT_LT(noise.mean(0).abs().max().item<float>(), 0.05f);
  const at::Tensor length = noise.pow(2).sum(1).sqrt();
  const at::Tensor clear = (length - 0.75).abs().gt(1e-3);
  EXPECT_TRUE((queries.positive.eq(length.lt(0.75)) | clear.logical_not()).all().item<bool>());
  // The ball's part of the cube.
  EXPECT_NEAR(queries.positive.to(at::kFloat).mean().item<float>(),
              std::numbers::pi / 6 * std::pow(0.75, 3), 0.03);
}

TEST(Denoising, GroupsHoldEveryBoxOnce) {
  Random random(3);
  DenoisingQueries queries =
      MakeDenoisingQueries(TwoBoxes(), BevGrid(), {.groups = 3, .noise = 0}, &random);
  EXPECT_TRUE(at::equal(queries.truth, at::tensor({0, 1, 0, 1, 0, 1}, at::kLong)));
  EXPECT_TRUE(at::equal(queries.groups, at::tensor({0, 0, 1, 1, 2, 2}, at::kLong)));
  const at::Tensor centres = NormalizePoints(TwoBoxes().slice(1, 0, 3), BevGrid()).repeat({3, 1});
  EXPECT_TRUE(at::allclose(queries.anchors, centres, 1e-5, 1e-6));
  // Many boxes: fewer groups, at least one.
  const at::Tensor many = TwoBoxes().repeat({100, 1});
  EXPECT_EQ(MakeDenoisingQueries(many, BevGrid(), {.max_queries = 500}, &random).size(), 400);
  EXPECT_EQ(MakeDenoisingQueries(many, BevGrid(), {.max_queries = 50}, &random).size(), 200);
  EXPECT_EQ(MakeDenoisingQueries(at::zeros({0, 9}), BevGrid(), {}, &random).size(), 0);
}

TEST(Denoising, MaskKeepsGroupsApart) {
  const at::Tensor mask = GroupMask(at::tensor({-1, 0, 1, -1}, at::kLong));
  const at::Tensor expected = at::tensor({1, 0, 0, 1,  //
                                          1, 1, 0, 1,  //
                                          1, 0, 1, 1,  //
                                          1, 0, 0, 1})
                                  .view({4, 4})
                                  .to(at::kBool);
  EXPECT_TRUE(at::equal(mask, expected));
}

}  // namespace
}  // namespace athanor
