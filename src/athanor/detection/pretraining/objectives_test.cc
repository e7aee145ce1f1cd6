// The objectives against plain loops, and their gradients against finite differences.
#include "athanor/detection/pretraining/objectives.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/detection/pretraining/pretraining_test_util.h"
#include "athanor/ops/strict_device_test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

at::Tensor Noise(at::IntArrayRef sizes, Random* random) {
  const at::Tensor tensor = at::empty(sizes, at::kFloat);
  for (int64_t i = 0; i < tensor.numel(); ++i) tensor.data_ptr<float>()[i] = random->Normal();
  return tensor;
}

PointTargets MakeTargets(Random* random) {
  PointTargets targets;
  targets.cells = at::tensor({3, 8, 11, 40}, at::kLong);
  targets.places = Noise({4, 5, 3}, random);
  targets.attributes = Noise({4, 5, 2}, random);
  targets.counts = at::tensor({5, 1, 3, 2}, at::kInt);
  targets.attributes[0][2][1] = std::nan("");
  targets.attributes[3][0].fill_(std::nan(""));
  return targets;
}

// Both distances in double precision, pair by pair.
std::pair<double, double> PlainDistance(const at::Tensor& said, const PointTargets& targets) {
  const auto a = said.accessor<float, 3>();
  const auto b = targets.places.accessor<float, 3>();
  const auto attributes = targets.attributes.accessor<float, 3>();
  double places = 0, difference = 0, known = 0;
  const auto distance = [&](int64_t m, int64_t k, int64_t n) {
    double squares = 0;
    for (int axis = 0; axis < 3; ++axis) {
      squares += std::pow(double{a[m][k][axis]} - b[m][n][axis], 2);
    }
    return std::sqrt(squares);
  };
  const auto meet = [&](int64_t m, int64_t k, int64_t n) {
    for (int i = 0; i < 2; ++i) {
      if (std::isnan(attributes[m][n][i])) continue;
      difference += std::abs(double{a[m][k][3 + i]} - attributes[m][n][i]);
      ++known;
    }
  };
  const int64_t cells = said.size(0), points = said.size(1);
  for (int64_t m = 0; m < cells; ++m) {
    const int64_t count = targets.counts[m].item<int64_t>();
    double forth = 0, back = 0;
    for (int64_t k = 0; k < points; ++k) {
      int64_t best = 0;
      for (int64_t n = 1; n < count; ++n) {
        if (distance(m, k, n) < distance(m, k, best)) best = n;
      }
      forth += distance(m, k, best);
      meet(m, k, best);
    }
    for (int64_t n = 0; n < count; ++n) {
      int64_t best = 0;
      for (int64_t k = 1; k < points; ++k) {
        if (distance(m, k, n) < distance(m, best, n)) best = k;
      }
      back += distance(m, best, n);
      meet(m, best, n);
    }
    places += forth / static_cast<double>(points) + back / static_cast<double>(count);
  }
  return {places / static_cast<double>(cells), difference / known};
}

TEST(CompareSets, IsWhatPlainLoopsFind) {
  Random random(3);
  const PointTargets targets = MakeTargets(&random);
  const at::Tensor said = Noise({4, 7, 5}, &random);
  const auto [places, attributes] = PlainDistance(said, targets);
  const SetDistance distance = CompareSets(said, targets);
  EXPECT_NEAR(distance.places.item<double>(), places, 2e-3);  // distances are rounded off at 1 mm
  EXPECT_NEAR(distance.attributes.item<double>(), attributes, 1e-5);
  EXPECT_FALSE(CompareSets(said.narrow(2, 0, 3), targets).attributes.defined());
  // Rows that are no points do not matter.
  PointTargets other = targets;
  other.places = targets.places.clone();
  other.places[1].narrow(0, 1, 4).fill_(0.1);
  EXPECT_EQ(CompareSets(said, other).places.item<float>(), distance.places.item<float>());
  // Equal sets are at no distance.
  const at::Tensor same = at::cat({targets.places.narrow(0, 0, 1), at::zeros({1, 5, 2})}, 2);
  PointTargets one = targets;
  for (at::Tensor* rows : {&one.cells, &one.places, &one.attributes, &one.counts}) {
    *rows = rows->narrow(0, 0, 1);
  }
  EXPECT_NEAR(CompareSets(same, one).places.item<double>(), 0, 1e-6);
  one.attributes = at::full_like(one.attributes, std::nan(""));
  EXPECT_FALSE(CompareSets(same, one).attributes.defined());
  EXPECT_THAT(ErrorOf([&] { CompareSets(said.narrow(2, 0, 4), targets); }),
              HasSubstr("expected [4,K,3 or 5], found [4, 7, 4]"));
}

// Central differences of `f` along random directions, against the gradient. `first`: of the last
// axis, what moves. (When a place moves, a point may meet another one, and attributes jump.)
void CheckGradient(const std::function<at::Tensor(const at::Tensor&)>& f, const at::Tensor& at_x,
                   uint64_t seed, int64_t first = 0) {
  Random random(seed);
  at::Tensor x = at_x.clone().requires_grad_(true);
  f(x).backward();
  for (int trial = 0; trial < 5; ++trial) {
    const at::Tensor direction = Noise(at_x.sizes(), &random);
    direction.narrow(-1, 0, first).zero_();
    const double slope = (x.grad() * direction).sum().item<double>();
    constexpr double kStep = 1e-3;
    const double difference =
        (f(at_x + kStep * direction).item<double>() - f(at_x - kStep * direction).item<double>()) /
        (2 * kStep);
    EXPECT_NEAR(difference, slope, 2e-3 + 1e-2 * std::abs(slope));
  }
}

TEST(CompareSets, GradientsAreThoseOfFiniteDifferences) {
  Random random(4);
  const PointTargets targets = MakeTargets(&random);
  const at::Tensor said = Noise({4, 6, 5}, &random);
  CheckGradient([&](const at::Tensor& x) { return CompareSets(x, targets).places; }, said, 1);
  CheckGradient([&](const at::Tensor& x) { return CompareSets(x, targets).attributes; }, said, 2,
                3);
}

MaskedSample MakeMasked() {
  Random random(5);
  return MaskSample(WavySample(), SmallDetector().Grid(), 8, {}, &random);
}

// Answers of the shapes that the heads give.
PretrainOutputs RandomOutputs(const MaskedSample& masked, Random* random) {
  const int64_t hidden = masked.masked_patches.numel(), seen = masked.visible_patches.numel();
  PretrainOutputs out;
  out.pixels = Noise({hidden, 192}, random);
  out.pixel_noise = Noise({seen, 12}, random);
  out.log_depth = Noise({hidden}, random) + 2;
  out.points = Noise({masked.masked_points.cells.numel(), 4, 4}, random);
  out.point_noise = Noise({masked.visible_points.cells.numel(), 4, 6}, random);
  return out;
}

TEST(PretrainLoss, GradientsAreThoseOfFiniteDifferences) {
  const MaskedSample masked = MakeMasked();
  Random random(6);
  const PretrainOutputs out = RandomOutputs(masked, &random);
  const auto check = [&](at::Tensor PretrainOutputs::*field, int64_t first) {
    const auto loss = [&](const at::Tensor& x) {
      PretrainOutputs only;
      only.*field = x;
      return ComputePretrainLoss(only, masked).Total();
    };
    CheckGradient(loss, out.*field, 7, first);
  };
  check(&PretrainOutputs::pixels, 0);
  check(&PretrainOutputs::pixel_noise, 0);
  check(&PretrainOutputs::log_depth, 0);
  check(&PretrainOutputs::points, 3);
  check(&PretrainOutputs::point_noise, 3);
  // Without attributes, places move too.
  CheckGradient(
      [&](const at::Tensor& x) { return ComputePretrainLoss({.points = x}, masked).Total(); },
      out.points.narrow(2, 0, 3).contiguous(), 8);
}

TEST(PretrainLoss, PartsAreWhatTheySay) {
  const MaskedSample masked = MakeMasked();
  Random random(8);
  PretrainOutputs out = RandomOutputs(masked, &random);
  const PretrainLoss loss = ComputePretrainLoss(out, masked);
  const auto part = [&](const PretrainLoss& of, int i) { return of.parts[i].item<double>(); };
  double sum = 0;
  for (size_t i = 0; i < loss.parts.size(); ++i) sum += part(loss, static_cast<int>(i));
  EXPECT_NEAR(loss.Total().item<double>(), sum, 1e-4);
  // Depth, by hand: the mean over patches with points.
  double depth = 0, known = 0;
  for (int64_t t = 0; t < masked.patch_log_depth.numel(); ++t) {
    const float truth = masked.patch_log_depth[t].item<float>();
    if (std::isnan(truth)) continue;
    depth += std::abs(out.log_depth[t].item<float>() - truth), ++known;
  }
  EXPECT_GT(known, 5);
  EXPECT_NEAR(part(loss, 5), depth / known, 1e-4);
  // The truth itself costs nothing; saying that there is no noise costs 0.8 of its deviation.
  out.pixels = masked.patch_pixels.view({-1, 192});
  out.pixel_noise = at::zeros_like(out.pixel_noise);
  out.log_depth = at::where(at::isfinite(masked.patch_log_depth), masked.patch_log_depth,
                            at::full_like(masked.patch_log_depth, 100));
  out.points = at::cat({masked.masked_points.places, masked.masked_points.attributes}, 2);
  out.points = at::where(at::isfinite(out.points), out.points, at::zeros_like(out.points));
  // Rows that are none repeat the first.
  for (int64_t m = 0; m < out.points.size(0); ++m) {
    for (int64_t n = masked.masked_points.counts[m].item<int64_t>(); n < out.points.size(1); ++n) {
      out.points[m][n].copy_(out.points[m][0]);
    }
  }
  const PretrainLoss none = ComputePretrainLoss(out, masked);
  EXPECT_NEAR(part(none, 0), 0, 1e-6);
  EXPECT_NEAR(part(none, 1), 0, 1e-5);
  EXPECT_NEAR(part(none, 2), 0.8, 0.1);
  EXPECT_NEAR(part(none, 4), 0, 1e-5);
  EXPECT_NEAR(part(none, 5), 0, 1e-5);
  EXPECT_FALSE(ComputePretrainLoss({}, masked).Total().defined());
}

// On a device that, like a GPU, does not take tensors of the CPU.
TEST(PretrainHeads, SayTheSameOnAnotherDevice) {
  const MaskedSample masked = MakeMasked();
  const auto run = [&](const c10::Device& device) {
    Random random(9);
    const ViewMaps maps = {Noise({16, 32, 32}, &random).to(device),
                           Noise({2, 16, 8, 12}, &random).to(device)};
    Parameters parameters(device);
    const PretrainHeads heads({&parameters, 1, ""}, 16, 8, {}, {});
    const at::Tensor total = ComputePretrainLoss(heads.Forward(maps, masked), masked).Total();
    EXPECT_EQ(total.device(), device);
    total.backward();
    for (const auto& [name, tensor] : parameters.trained()) {
      EXPECT_TRUE(tensor.grad().defined()) << name;
    }
    return total.item<double>();
  };
  EXPECT_NEAR(run(StrictDevice()), run(c10::kCPU), 1e-4);
}

TEST(PretrainHeads, SayOnlyWhatIsAskedFor) {
  const MaskedSample masked = MakeMasked();
  Random random(9);
  const ViewMaps maps = {Noise({16, 32, 32}, &random), Noise({2, 16, 8, 12}, &random)};
  for (int mask = 1; mask < 8; ++mask) {
    const ObjectiveOptions options = {(mask & 1) != 0, (mask & 2) != 0, (mask & 4) != 0, 6};
    Parameters parameters;
    const PretrainHeads heads({&parameters, 1, ""}, 16, 8, {}, options);
    const PretrainOutputs out = heads.Forward(maps, masked);
    EXPECT_EQ(out.pixels.defined(), options.reconstruction);
    EXPECT_EQ(out.points.defined(), options.reconstruction);
    EXPECT_EQ(out.pixel_noise.defined(), options.denoising);
    EXPECT_EQ(out.point_noise.defined(), options.denoising);
    EXPECT_EQ(out.log_depth.defined(), options.attributes);
    if (out.points.defined()) {
      EXPECT_EQ(out.points.size(1), 6);
      EXPECT_EQ(out.points.size(2), options.attributes ? 4 : 3);
    }
    EXPECT_TRUE(std::isfinite(ComputePretrainLoss(out, masked).Total().item<double>()));
  }
  Parameters parameters;
  EXPECT_THAT(ErrorOf([&] {
                PretrainHeads({&parameters, 1, ""}, 16, 8, {}, {false, false, false});
              }),
              HasSubstr("expected an objective"));
}

}  // namespace
}  // namespace athanor
