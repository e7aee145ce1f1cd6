// Pooling and spreading against plain tensor arithmetic that makes the whole product.
#include "athanor/ops/bev_pool.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/base/parallel.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kCameras = 2, kHeight = 3, kWidth = 7, kBins = 5, kCells = 40;

// Cells of random pixels and bins; a third meets none, and the last ten cells are empty.
at::Tensor RandomTable() {
  const at::Tensor cell = at::randint(kCells - 10, {kCameras, kHeight, kWidth, kBins}, at::kInt);
  return at::where(at::rand(cell.sizes()) < 0.33, at::full({1}, -1, at::kInt), cell).to(at::kInt);
}

// All products of features and weights, added to their cells, in the type of the features.
at::Tensor PoolReference(const at::Tensor& features, const at::Tensor& weights,
                         const at::Tensor& table) {
  const at::Tensor products =
      weights.permute({0, 2, 3, 1}).unsqueeze(4) * features.permute({0, 2, 3, 1}).unsqueeze(3);
  const at::Tensor meets = (table >= 0).flatten().nonzero().flatten();
  return at::zeros({kCells, features.size(1)}, features.options())
      .index_add(0, table.flatten().index_select(0, meets).to(at::kLong),
                 products.flatten(0, 3).index_select(0, meets));
}

at::Tensor SpreadReference(const at::Tensor& values, const at::Tensor& table) {
  const at::Tensor meets = (table >= 0).to(values.scalar_type()).flatten().unsqueeze(1);
  const at::Tensor rows =
      values.index_select(0, table.clamp_min(0).flatten().to(at::kLong)) * meets;
  return rows.view({kCameras, kHeight, kWidth, kBins, -1}).sum(3).permute({0, 3, 1, 2});
}

double RelativeError(const at::Tensor& got, const at::Tensor& expected) {
  EXPECT_EQ(got.sizes(), expected.sizes());
  const double scale = expected.abs().max().item<double>();
  return (got.to(at::kDouble) - expected).abs().max().item<double>() / std::max(scale, 1e-12);
}

at::Tensor Leaf(const at::Tensor& tensor, at::ScalarType type) {
  return tensor.detach().to(type).clone(at::MemoryFormat::Preserve).requires_grad_();
}

class BevPoolTest : public ::testing::Test {
 protected:
  BevPoolTest() {
    at::manual_seed(5);
    table_ = RandomTable();
    links_ = MakeBevLinks(table_, kCells);
  }
  at::Tensor Features(int64_t channels) { return at::randn({kCameras, channels, kHeight, kWidth}); }
  at::Tensor Weights() { return at::randn({kCameras, kBins, kHeight, kWidth}).softmax(1); }

  at::Tensor table_;
  BevLinks links_;
};

// Channels: less than a vector, whole vectors, several blocks of them, and with a remainder.
TEST_F(BevPoolTest, ValuesAndGradientsEqualTheReference) {
  for (const int64_t channels : {1, 7, 16, 64, 64 + 16 + 3, 128}) {
    for (const bool channels_last : {false, true}) {
      at::Tensor values = Features(channels);
      if (channels_last) values = values.contiguous(at::MemoryFormat::ChannelsLast);
      const at::Tensor features = Leaf(values, at::kFloat), exact = Leaf(values, at::kDouble);
      const at::Tensor share = Weights();
      const at::Tensor weights = Leaf(share, at::kFloat), exact_weights = Leaf(share, at::kDouble);
      const at::Tensor out = BevPool(features, weights, links_);
      const at::Tensor expected = PoolReference(exact, exact_weights, table_);
      const at::Tensor d_out = at::randn_like(out);
      out.backward(d_out);
      expected.backward(d_out.to(at::kDouble));
      EXPECT_LT(RelativeError(out.detach(), expected.detach()), 2e-6);
      EXPECT_LT(RelativeError(features.grad(), exact.grad()), 2e-6);
      EXPECT_LT(RelativeError(weights.grad(), exact_weights.grad()), 2e-6);
    }
  }
}

TEST_F(BevPoolTest, EitherGradientComesAlone) {
  const at::Tensor values = Features(20), share = Weights(), d_out = at::randn({kCells, 20});
  const at::Tensor features = Leaf(values, at::kFloat), weights = Leaf(share, at::kFloat);
  BevPool(features, weights, links_).backward(d_out);
  const at::Tensor features_alone = Leaf(values, at::kFloat);
  const at::Tensor weights_alone = Leaf(share, at::kFloat);
  BevPool(features_alone, share, links_).backward(d_out);
  BevPool(values, weights_alone, links_).backward(d_out);
  EXPECT_TRUE(at::equal(features.grad(), features_alone.grad()));
  EXPECT_TRUE(at::equal(weights.grad(), weights_alone.grad()));
}

TEST_F(BevPoolTest, SpreadingEqualsTheReference) {
  for (const int64_t channels : {3, 64, 70}) {
    const at::Tensor start = at::randn({kCells, channels});
    const at::Tensor values = Leaf(start, at::kFloat), exact = Leaf(start, at::kDouble);
    const at::Tensor out = BevSpread(values, links_), expected = SpreadReference(exact, table_);
    EXPECT_TRUE(out.is_contiguous(at::MemoryFormat::ChannelsLast));
    const at::Tensor d_out = at::randn(out.sizes());
    out.backward(d_out);
    expected.backward(d_out.to(at::kDouble));
    EXPECT_LT(RelativeError(out.detach(), expected.detach()), 2e-6);
    EXPECT_LT(RelativeError(values.grad(), exact.grad()), 2e-6);
  }
}

TEST_F(BevPoolTest, TakesBfloat16AndSumsInFloat32) {
  const at::Tensor values = Features(24).to(at::kBFloat16), share = Weights().to(at::kBFloat16);
  const at::Tensor pooled = BevPool(values, share, links_);
  EXPECT_EQ(pooled.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(at::equal(
      pooled, BevPool(values.to(at::kFloat), share.to(at::kFloat), links_).to(at::kBFloat16)));
  EXPECT_EQ(BevSpread(pooled, links_).scalar_type(), at::kBFloat16);
}

TEST_F(BevPoolTest, NoCamerasAndNoLinksAreZeros) {
  const BevLinks none = MakeBevLinks(at::full({2, 3, 7, 5}, -1, at::kInt), kCells);
  const at::Tensor features = Leaf(Features(4), at::kFloat);
  const at::Tensor out = BevPool(features, Weights(), none);
  EXPECT_EQ(out.count_nonzero().item<int64_t>(), 0);
  out.sum().backward();
  EXPECT_EQ(features.grad().count_nonzero().item<int64_t>(), 0);
  const BevLinks no_cameras = MakeBevLinks(at::zeros({0, 3, 7, 5}, at::kInt), kCells);
  const at::Tensor zeros = BevPool(at::zeros({0, 4, 3, 7}), at::zeros({0, 5, 3, 7}), no_cameras);
  EXPECT_EQ(zeros.sizes(), at::IntArrayRef({kCells, 4}));
  EXPECT_EQ(zeros.count_nonzero().item<int64_t>(), 0);
  EXPECT_EQ(BevSpread(at::ones({kCells, 4}), no_cameras).size(0), 0);
}

TEST_F(BevPoolTest, SameBytesWhateverTheThreads) {
  const at::Tensor table = at::randint(3000, {3, 20, 30, 40}, at::kInt);
  const BevLinks links = MakeBevLinks(table, 3000);
  const at::Tensor values = at::randn({3, 48, 20, 30}), share = at::rand({3, 40, 20, 30});
  const at::Tensor d_out = at::randn({3000, 48});
  std::vector<at::Tensor> first;
  for (const int threads : {1, 2, 3, 7}) {
    SetNumThreads(threads);
    const at::Tensor features = Leaf(values, at::kFloat), weights = Leaf(share, at::kFloat);
    const at::Tensor out = BevPool(features, weights, links);
    out.backward(d_out);
    const at::Tensor cells = Leaf(d_out, at::kFloat), spread = BevSpread(cells, links);
    spread.backward(values);
    const std::vector<at::Tensor> all = {out.detach(), features.grad(), weights.grad(),
                                         spread.detach(), cells.grad()};
    if (first.empty()) first = all;
    for (size_t i = 0; i < all.size(); ++i) EXPECT_TRUE(at::equal(all[i], first[i])) << i;
  }
  SetNumThreads(0);
}

TEST_F(BevPoolTest, CudaEqualsCpu) {
#ifdef ATHANOR_HAS_CUDA
  if (!at::hasCUDA()) GTEST_SKIP() << "needs a GPU";
  const at::Tensor values = Features(70), share = Weights(), d_out = at::randn({kCells, 70});
  std::vector<at::Tensor> results[2];
  for (const bool on_gpu : {false, true}) {
    const c10::Device device = on_gpu ? at::kCUDA : at::kCPU;
    const BevLinks links = links_.To(device);
    const auto features = values.to(device).clone().requires_grad_();
    const auto weights = share.to(device).clone().requires_grad_();
    const auto cells = d_out.to(device).clone().requires_grad_();
    const at::Tensor out = BevPool(features, weights, links), spread = BevSpread(cells, links);
    out.backward(d_out.to(device));
    spread.backward(values.to(device));
    results[on_gpu] = {out.detach(), features.grad(), weights.grad(), spread.detach(),
                       cells.grad()};
  }
  for (size_t i = 0; i < results[0].size(); ++i) {
    EXPECT_LT(RelativeError(results[1][i].to(at::kCPU), results[0][i].to(at::kDouble)), 1e-5) << i;
  }
#else
  GTEST_SKIP() << "this build has no CUDA";
#endif
}

TEST_F(BevPoolTest, RefusesWrongTensors) {
  const at::Tensor features = Features(4), weights = Weights();
  EXPECT_THAT(ErrorOf([&] { BevPool(at::Tensor(), weights, links_); }),
              HasSubstr("features: expected a tensor, found none"));
  EXPECT_THAT(ErrorOf([&] { BevPool(features, at::Tensor(), links_); }),
              HasSubstr("weights: expected a tensor"));
  EXPECT_THAT(ErrorOf([&] { BevPool(features.narrow(2, 0, 2), weights, links_); }),
              HasSubstr("features: expected shape [2, -1, 3, 7] (-1: any from 1), found [2, 4, "
                        "2, 7]"));
  EXPECT_THAT(ErrorOf([&] { BevPool(features, weights.narrow(1, 0, 4), links_); }),
              HasSubstr("weights: expected shape [2, 5, 3, 7]"));
  EXPECT_THAT(ErrorOf([&] { BevPool(features.to(at::kDouble), weights, links_); }),
              HasSubstr("features: expected type Float or BFloat16, found Double"));
  EXPECT_THAT(ErrorOf([&] {
                BevSpread(at::zeros({kCells + 1, 4}), links_);
              }),
              HasSubstr("values: expected shape [40, -1]"));
  EXPECT_THAT(ErrorOf([&] { MakeBevLinks(table_, 7); }), HasSubstr("expected cells below 7"));
  EXPECT_THAT(ErrorOf([&] { MakeBevLinks(table_.to(at::kLong), kCells); }),
              HasSubstr("cells of pixels: expected type Int, found Long"));
}

}  // namespace
}  // namespace athanor
