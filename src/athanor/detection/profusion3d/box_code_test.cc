#include "athanor/detection/profusion3d/box_code.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/detection/profusion3d/sample.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

at::Tensor RandomBoxes(int64_t count, uint64_t seed) {
  Random r(seed);
  at::Tensor boxes = at::empty({count, kBoxColumns}, at::kDouble);
  auto at = boxes.accessor<double, 2>();
  for (int64_t i = 0; i < count; ++i) {
    at[i][0] = r.Uniform(-50, 50), at[i][1] = r.Uniform(-50, 50), at[i][2] = r.Uniform(-4, 2);
    for (int k = 3; k < 6; ++k) at[i][k] = r.Uniform(0.2f, 15);
    at[i][6] = r.Uniform(-3.14f, 3.14f);
    at[i][7] = r.Uniform(-20, 20), at[i][8] = r.Uniform(-20, 20);
  }
  return boxes;
}

TEST(BoxCode, BoxesReturnFromTheirCodes) {
  const at::Tensor boxes = RandomBoxes(200, 1);
  EXPECT_TRUE(at::allclose(DecodeBoxes(EncodeBoxes(boxes)), boxes, 1e-12, 1e-12));
  // A heading that is not of length 1 is the same heading.
  at::Tensor code = EncodeBoxes(boxes);
  code.slice(1, 6, 8).mul_(0.3);
  EXPECT_TRUE(at::allclose(DecodeBoxes(code), boxes, 1e-12, 1e-12));
  // No box, and numbers in the order that the header states.
  EXPECT_EQ(EncodeBoxes(boxes.slice(0, 0, 0)).sizes(), (std::vector<int64_t>{0, 10}));
  const at::Tensor one =
      EncodeBoxes(at::tensor({1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.5, 7.0, 8.0}).view({1, 9}));
  const at::Tensor expected = at::tensor({1.0, 2.0, std::log(5.0), std::log(4.0), 3.0,
                                          std::log(6.0), std::sin(0.5), std::cos(0.5), 7.0, 8.0});
  EXPECT_TRUE(at::allclose(one[0], expected));
}

TEST(BoxCode, HeadsSayPlacesWithinTheRange) {
  const BevGrid grid;
  const at::Tensor anchors = at::rand({50, 3}, at::kDouble);
  at::Tensor head = at::zeros({50, 10}, at::kDouble);
  // Zeros: the anchor itself.
  at::Tensor boxes = DecodeBoxes(CodeOfHead(head, anchors, grid, 3));
  EXPECT_TRUE(at::allclose(NormalizePoints(boxes.slice(1, 0, 3), grid), anchors, 0, 1e-4));
  EXPECT_TRUE(at::allclose(boxes.slice(1, 3, 6), at::ones({50, 3}, at::kDouble)));
  // The numbers that take an anchor to any box within the range.
  const at::Tensor truth = RandomBoxes(50, 2);
  head = EncodeBoxes(truth);
  const at::Tensor offsets = (truth.slice(1, 0, 3) - DenormalizePoints(anchors, grid)) / 3.0;
  head.select(1, 0).copy_(offsets.select(1, 0)), head.select(1, 1).copy_(offsets.select(1, 1));
  head.select(1, 4).copy_(offsets.select(1, 2));
  EXPECT_TRUE(at::allclose(DecodeBoxes(CodeOfHead(head, anchors, grid, 3)), truth, 1e-9, 1e-9));
  // Whatever a head says lies within the range, and is finite.
  boxes = DecodeBoxes(CodeOfHead(1e4 * at::randn({50, 10}, at::kDouble), anchors, grid, 3));
  EXPECT_TRUE(boxes.isfinite().all().item<bool>());
  const at::Tensor place = NormalizePoints(boxes.slice(1, 0, 3), grid);
  EXPECT_TRUE((place.ge(0) & place.le(1)).all().item<bool>());
}

TEST(BoxCode, NamesTheBoxThatCannotBe) {
  at::Tensor boxes = RandomBoxes(3, 3);
  boxes[1][7] = std::nan(""), boxes[1][8] = std::nan("");
  EXPECT_TRUE(EncodeBoxes(boxes)[1].slice(0, 8, 10).isnan().all().item<bool>());
  boxes[2][4] = 0;
  EXPECT_THAT(ErrorOf([&] { EncodeBoxes(boxes); }), AllOf(HasSubstr("box 2"), HasSubstr("size")));
  boxes[2][4] = std::nan("");
  EXPECT_THAT(ErrorOf([&] { EncodeBoxes(boxes); }), HasSubstr("box 2: expected a finite number"));
  EXPECT_THAT(ErrorOf([] { EncodeBoxes(at::zeros({2, 7})); }), HasSubstr("[2, 7]"));
  EXPECT_THAT(ErrorOf([] { DecodeBoxes(at::zeros({2, 9})); }), HasSubstr("[2, 9]"));
}

}  // namespace
}  // namespace athanor
