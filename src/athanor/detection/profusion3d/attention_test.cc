#include "athanor/detection/profusion3d/attention.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

// All at once, with ATen's own gradients.
at::Tensor PlainAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const at::Tensor& allowed) {
  at::Tensor scores = at::matmul(q, k.transpose(1, 2)) / std::sqrt(double(q.size(2)));
  if (allowed.defined()) scores = scores.masked_fill(allowed.logical_not(), -1e30);
  return at::matmul(at::softmax(scores, -1), v);
}

at::Tensor Leaf(at::IntArrayRef sizes) {
  return at::randn(sizes, at::kDouble).requires_grad_(true);
}

TEST(Attention, BlocksAreTheWholeInValuesAndGradients) {
  // 2 x 30000 keys make blocks of 69 queries.
  for (const int64_t keys : {7, 30000}) {
    for (const bool masked : {false, true}) {
      const at::Tensor q = Leaf({2, 80, 4}), k = Leaf({2, keys, 4}), v = Leaf({2, keys, 3});
      at::Tensor allowed;
      if (masked) {
        allowed = at::rand({80, keys}).gt(0.5);
        allowed.select(1, 0).fill_(true);
      }
      const at::Tensor expected = PlainAttention(q, k, v, allowed);
      const at::Tensor found = BlockedAttention(q, k, v, allowed);
      EXPECT_TRUE(at::allclose(found, expected, 1e-10, 1e-12));
      const at::Tensor weight = at::randn(expected.sizes(), at::kDouble);
      std::vector<at::Tensor> gradients;
      for (const at::Tensor& out : {expected, found}) {
        (out * weight).sum().backward();
        for (const at::Tensor* leaf : {&q, &k, &v}) {
          gradients.push_back(leaf->grad().clone());
          leaf->mutable_grad() = at::Tensor();
        }
      }
      for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(at::allclose(gradients[i], gradients[i + 3], 1e-8, 1e-12)) << i;
      }
    }
  }
}

TEST(Attention, IsTheSameWhateverTheThreads) {
  const at::Tensor q = at::randn({4, 90, 16}), k = at::randn({4, 6000, 16});
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor one = BlockedAttention(q, k, k, {});
  at::set_num_threads(2);
  const at::Tensor two = BlockedAttention(q, k, k, {});
  at::set_num_threads(threads);
  EXPECT_TRUE(at::equal(one, two));
}

TEST(Attention, HeadsSeeTheirOwnPartOfTheWidth) {
  Parameters parameters;
  const MultiHeadAttention attention({&parameters, 2, "a."}, 6, 2);
  const at::Tensor x = at::randn({5, 6}), y = at::randn({9, 6}), z = at::randn({9, 6});
  const auto apply = [&](const std::string& name, const at::Tensor& in) {
    return at::linear(in, parameters.Get("a." + name + ".weight"),
                      parameters.Get("a." + name + ".bias"));
  };
  const at::Tensor q = apply("query", x), k = apply("key", y), v = apply("value", z);
  std::vector<at::Tensor> heads;
  for (int h = 0; h < 2; ++h) {
    const auto part = [&](const at::Tensor& t) {
      return t.slice(1, 3 * h, 3 * h + 3).unsqueeze(0);
    };
    heads.push_back(PlainAttention(part(q), part(k), part(v), {})[0]);
  }
  EXPECT_TRUE(
      at::allclose(attention.Forward(x, y, z), apply("out", at::cat(heads, 1)), 1e-5, 1e-6));
  EXPECT_THAT(ErrorOf([&] {
                MultiHeadAttention({&parameters, 2, "b."}, 7, 2);
              }),
              HasSubstr("2 heads share, found 7"));
  EXPECT_THAT(ErrorOf([&] { attention.Forward(x, y.slice(0, 0, 0), z.slice(0, 0, 0)); }),
              HasSubstr("M > 0"));
}

}  // namespace
}  // namespace athanor
