#include "athanor/nn/window_attention.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/base/test_util.h"

namespace athanor {
namespace {

TEST(WindowAttentionLayer, IsItsProjectionsAroundTheOperation) {
  Parameters parameters;
  const WindowOptions options = {4, 2, 2, 2};
  const WindowAttentionLayer layer({&parameters, 1, "a."}, 16, 24, options);
  const at::Tensor x = at::randn({2, 9, 6, 16}), context = at::randn({2, 9, 6, 24});
  const auto project = [&](const at::Tensor& map, const std::string& name) {
    return at::linear(map, parameters.Get("a." + name + ".weight"),
                      parameters.Get("a." + name + ".bias"));
  };
  const at::Tensor inside = WindowAttentionReference(
      project(x, "query"), project(context, "key_value"), parameters.Get("a.table"), options);
  EXPECT_TRUE(at::allclose(layer.Forward(x, context), project(inside, "out"), 1e-4, 1e-5));
}

TEST(WindowAttentionLayer, HeadsMustDivideTheWidth) {
  Parameters parameters;
  EXPECT_THAT(ErrorOf([&] {
                WindowAttentionLayer({&parameters, 1, "fusion."}, 20, 20, {6, 8, 0, 0});
              }),
              testing::AllOf(testing::HasSubstr("fusion."), testing::HasSubstr("8 heads"),
                             testing::HasSubstr("found 20")));
}

}  // namespace
}  // namespace athanor
