#include "athanor/detection/profusion3d/intra_inter_fusion.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kWidth = 16;
constexpr FusionVariant kVariants[] = {FusionVariant::kConcat, FusionVariant::kSelfThenCross,
                                       FusionVariant::kWindowedUnits,
                                       FusionVariant::kIntraInterUnit, FusionVariant::kFull};

IntraInterFusionOptions Small(FusionVariant variant) {
  return {.width = kWidth, .heads = 2, .window = 4, .feed_forward = 2, .variant = variant};
}

at::Tensor Map(at::IntArrayRef sizes, int64_t seed) {
  at::manual_seed(seed);
  return at::randn(sizes);
}

TEST(IntraInterFusion, EveryVariantTrainsAllOfItsParameters) {
  for (const FusionVariant variant : kVariants) {
    SCOPED_TRACE(static_cast<int>(variant));
    Parameters parameters;
    const IntraInterFusion fusion({&parameters, 1, "bev."}, Small(variant));
    const at::Tensor intra = Map({kWidth, 9, 10}, 1), inter = Map({kWidth, 9, 10}, 2);
    const at::Tensor weights = Map({kWidth, 9, 10}, 3);
    const at::Tensor out = fusion.Forward(intra, inter, true);
    EXPECT_EQ(out.sizes(), intra.sizes());
    EXPECT_TRUE(at::isfinite(out).all().item<bool>());
    // Once with both maps, once without each: only then are the missing ones' vectors read.
    const at::Tensor some = fusion.Forward(intra, {}, true) + fusion.Forward({}, inter, true);
    ((out + some) * weights).sum().backward();
    for (const auto& [name, tensor] : parameters.trained()) {
      ASSERT_TRUE(tensor.grad().defined()) << name;
      EXPECT_TRUE(at::isfinite(tensor.grad()).all().item<bool>()) << name;
      EXPECT_GT(tensor.grad().abs().max().item<float>(), 1e-6f) << name;
    }
  }
}

// Each unit by itself, without batch normalisation, in double precision.
TEST(IntraInterFusion, GradientsAreFiniteDifferences) {
  for (const FusionVariant variant : {FusionVariant::kSelfThenCross, FusionVariant::kWindowedUnits,
                                      FusionVariant::kIntraInterUnit}) {
    SCOPED_TRACE(static_cast<int>(variant));
    Parameters parameters;
    const IntraInterFusion fusion({&parameters, 1, ""}, Small(variant));
    const at::Tensor intra = Map({kWidth, 5, 6}, 1).to(at::kDouble).requires_grad_(true);
    const at::Tensor inter = Map({kWidth, 5, 6}, 2).to(at::kDouble).requires_grad_(true);
    const at::Tensor weights = Map({kWidth, 5, 6}, 3).to(at::kDouble);
    const auto loss = [&](const at::Tensor& a, const at::Tensor& b) {
      return (fusion.Forward(a, b, true) * weights).sum();
    };
    loss(intra, inter).backward();
    c10::NoGradGuard guard;
    constexpr double kStep = 1e-5;
    for (int64_t seed = 4; seed < 8; ++seed) {
      const at::Tensor da = Map({kWidth, 5, 6}, seed).to(at::kDouble);
      const at::Tensor db = Map({kWidth, 5, 6}, seed + 10).to(at::kDouble);
      const auto along = ((intra.grad() * da).sum() + (inter.grad() * db).sum()).item<double>();
      const auto high = loss(intra + kStep * da, inter + kStep * db).item<double>();
      const auto low = loss(intra - kStep * da, inter - kStep * db).item<double>();
      EXPECT_NEAR(along, (high - low) / (2 * kStep), 1e-6 * (1 + std::abs(along)));
    }
  }
}

// The unit as the paper's text says it, from plain operations.
TEST(IntraInterFusion, UnitIsWhatThePaperSays) {
  Parameters parameters;
  const IntraInterFusionOptions options = Small(FusionVariant::kIntraInterUnit);
  const IntraInterFusion fusion({&parameters, 1, ""}, options);
  const at::Tensor intra = Map({2, kWidth, 9, 10}, 1), inter = 5 * Map({2, kWidth, 9, 10}, 2);
  const auto get = [&](const std::string& name) { return parameters.Get(name); };
  const auto norm = [&](const at::Tensor& x, const std::string& name) {
    return at::layer_norm(x, {kWidth}, get(name + ".scale"), get(name + ".shift"));
  };
  const auto linear = [&](const at::Tensor& x, const std::string& name) {
    return at::linear(x, get(name + ".weight"), get(name + ".bias"));
  };
  at::Tensor x = intra.permute({0, 2, 3, 1});
  const at::Tensor both =
      at::cat({norm(x, "intra_norm"), norm(inter.permute({0, 2, 3, 1}), "inter_norm")}, -1);
  for (int i = 0; i < 2; ++i) {
    const std::string step = "unit1." + std::to_string(i);
    const at::Tensor found = WindowAttentionReference(
        linear(norm(x, step + ".attention_norm"), step + ".attention.query"),
        linear(both, step + ".attention.key_value"), get(step + ".attention.table"),
        {4, 2, 2 * i, 2 * i});
    x = x + linear(found, step + ".attention.out");
    x = x + linear(at::relu(linear(norm(x, step + ".perceptron_norm"), step + ".perceptron.0")),
                   step + ".perceptron.1");
  }
  EXPECT_TRUE(
      at::allclose(fusion.Forward(intra, inter, false), x.permute({0, 3, 1, 2}), 1e-3, 1e-4));
}

// In the unit, what step 2 brings from the neighbours below and right arrives there, and no
// further than a window and a half away.
TEST(IntraInterFusion, ShiftedKeysOpenTheNeighbouringWindows) {
  Parameters parameters;
  const IntraInterFusion fusion({&parameters, 1, ""}, Small(FusionVariant::kIntraInterUnit));
  c10::NoGradGuard guard;
  const at::Tensor intra = Map({kWidth, 12, 12}, 1), inter = Map({kWidth, 12, 12}, 2);
  const at::Tensor before = fusion.Forward(intra, inter, false);
  at::Tensor changed = inter.clone();
  changed.select(1, 5).select(1, 5).fill_(3);  // in window (1, 1); shifted, a key of window (0, 0)
  const at::Tensor differs = fusion.Forward(intra, changed, false).ne(before).any(0);
  for (int64_t y = 0; y < 12; ++y) {
    for (int64_t x = 0; x < 12; ++x) {
      const bool same_window = y / 4 == 1 && x / 4 == 1, above_left = y / 4 == 0 && x / 4 == 0;
      EXPECT_EQ(differs[y][x].item<bool>(), same_window || above_left) << y << ", " << x;
    }
  }
}

TEST(IntraInterFusion, MissingMapsAreLearnedVectors) {
  for (const FusionVariant variant : kVariants) {
    SCOPED_TRACE(static_cast<int>(variant));
    Parameters parameters;
    const IntraInterFusion fusion({&parameters, 1, ""}, Small(variant));
    c10::NoGradGuard guard;
    const at::Tensor map = Map({3, kWidth, 8, 9}, 1);
    const auto learned = [&](const char* name) {
      return parameters.Get(name).view({1, kWidth, 1, 1}).expand(map.sizes());
    };
    EXPECT_TRUE(at::allclose(fusion.Forward(map, {}, true),
                             fusion.Forward(map, learned("missing_inter"), true)));
    EXPECT_TRUE(at::allclose(fusion.Forward({}, map, true),
                             fusion.Forward(map + learned("missing_intra"), map, true)));
    // Running statistics, which have just moved, do not count when one is missing.
    EXPECT_TRUE(at::allclose(fusion.Forward(map, {}, false), fusion.Forward(map, {}, true)));
    EXPECT_TRUE(at::allclose(fusion.Forward({}, map, false), fusion.Forward({}, map, true)));
  }
}

TEST(IntraInterFusion, LayoutsBatchesAndTypes) {
  Parameters parameters;
  IntraInterFusionOptions options = Small(FusionVariant::kFull);
  options.project = false;
  const IntraInterFusion fusion({&parameters, 1, ""}, options);
  EXPECT_EQ(fusion.out_width(), 2 * kWidth);
  c10::NoGradGuard guard;
  const at::Tensor intra = Map({2, kWidth, 8, 9}, 1), inter = Map({2, kWidth, 8, 9}, 2);
  const at::Tensor out = fusion.Forward(intra, inter, false);
  EXPECT_EQ(out.sizes(), (std::vector<int64_t>{2, 2 * kWidth, 8, 9}));
  EXPECT_TRUE(out.is_contiguous(at::MemoryFormat::ChannelsLast));
  const auto last = at::MemoryFormat::ChannelsLast;
  EXPECT_TRUE(at::allclose(fusion.Forward(intra.contiguous(last), inter.contiguous(last), false),
                           out, 1e-4, 1e-5));
  EXPECT_TRUE(at::allclose(fusion.Forward(intra[1], inter[1], false), out[1], 1e-4, 1e-5));
  const at::Tensor rounded =
      fusion.Forward(intra.to(at::kBFloat16), inter.to(at::kBFloat16), false);
  EXPECT_EQ(rounded.scalar_type(), at::kBFloat16);
  EXPECT_LT((rounded.to(at::kFloat) - out).abs().mean().item<float>(),
            0.03f * out.abs().mean().item<float>());
}

TEST(IntraInterFusion, BadMapsAreOneLine) {
  Parameters parameters;
  const IntraInterFusion fusion({&parameters, 1, ""}, Small(FusionVariant::kFull));
  const auto error = [&](const at::Tensor& intra, const at::Tensor& inter) {
    return ErrorOf([&] { fusion.Forward(intra, inter, false); });
  };
  const at::Tensor map = at::zeros({kWidth, 8, 8});
  EXPECT_THAT(error({}, {}), AllOf(HasSubstr("undefined"), Not(HasSubstr("\n"))));
  EXPECT_THAT(error(at::zeros({8, 8}), {}), AllOf(HasSubstr("[16,H,W]"), HasSubstr("[8, 8]")));
  EXPECT_THAT(error({}, at::zeros({8, 4, 4})), AllOf(HasSubstr("inter"), HasSubstr("[8, 4, 4]")));
  EXPECT_THAT(error(map, at::zeros({kWidth, 8, 9})),
              AllOf(HasSubstr("[16, 8, 8]"), HasSubstr("[16, 8, 9]"), Not(HasSubstr("\n"))));
  EXPECT_THAT(error(map, map.to(at::kBFloat16)), AllOf(HasSubstr("Float"), HasSubstr("BFloat16")));
}

}  // namespace
}  // namespace athanor
