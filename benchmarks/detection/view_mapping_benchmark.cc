// The detector's two view mappings at the size of nuScenes: 6 cameras of 256 x 704 px with features
// of 64 channels at stride 16, 48 bins of depth, cells of 0.6 m over +-54 m. The peer of the lift
// is what plain tensors do: all products of probabilities and features in memory, then index_add.
//
// The argument is the number of height slices; those with "train" go forward and backward.
#include <ATen/ATen.h>
#include <benchmark/benchmark.h>

#include <cmath>

#include "athanor/detection/profusion3d/view_mapping.h"

namespace athanor {
namespace {

constexpr int64_t kCameras = 6, kHeight = 16, kWidth = 44, kBins = 48, kChannels = 64;
constexpr int64_t kImageHeight = 256, kImageWidth = 704;
const PvGrid kPv = {kHeight, kWidth, 16};
const DepthBins kDepthBins = {1, 1, kBins};

// Cameras all around, 60 degrees apart.
CameraRig Rig() {
  CameraRig rig = {
      at::zeros({kCameras, 4, 4}), at::zeros({kCameras, 3, 3}), {}, kImageHeight, kImageWidth};
  for (int c = 0; c < kCameras; ++c) {
    const float yaw = 1.0471976f * static_cast<float>(c), s = std::sin(yaw), cosine = std::cos(yaw);
    rig.camera_from_ego[c].copy_(at::tensor({s, -cosine, 0.0f, 0.0f, 0.0f, 0.0f, -1.0f, 1.5f,
                                             cosine, s, 0.0f, -1.0f, 0.0f, 0.0f, 0.0f, 1.0f})
                                     .view({4, 4}));
    rig.intrinsics[c].copy_(
        at::tensor({557.0f, 0.0f, 352.0f, 0.0f, 557.0f, 100.0f, 0.0f, 0.0f, 1.0f}).view({3, 3}));
  }
  return rig;
}

struct LiftInputs {
  explicit LiftInputs(int64_t slices) : plan(MakeLiftPlan(Rig(), kPv, kDepthBins, {}, slices)) {
    at::manual_seed(1);
    features = at::randn({kCameras, kChannels, kHeight, kWidth})
                   .contiguous(at::MemoryFormat::ChannelsLast);
    depth = at::randn({kCameras, kBins, kHeight, kWidth}).softmax(1);
    d_bev = at::randn({plan.rows, plan.columns, slices * kChannels}).permute({2, 0, 1});
  }
  LiftPlan plan;
  at::Tensor features, depth, d_bev;
};

// The same by plain tensors. `kept` are the points of rays that meet a cell, `cells` these cells.
at::Tensor NaiveLift(const at::Tensor& features, const at::Tensor& depth, const LiftPlan& plan,
                     const at::Tensor& kept, const at::Tensor& cells) {
  const at::Tensor products =
      depth.permute({0, 2, 3, 1}).unsqueeze(4) * features.permute({0, 2, 3, 1}).unsqueeze(3);
  return at::zeros({plan.links.cells, kChannels})
      .index_add(0, cells, products.flatten(0, 3).index_select(0, kept))
      .view({plan.rows, plan.columns, plan.slices * kChannels})
      .permute({2, 0, 1});
}

template <typename F>
void Run(benchmark::State& state, bool train, const LiftInputs& in, const F& lift) {
  const at::Tensor features = in.features.detach().requires_grad_(train);
  const at::Tensor depth = in.depth.detach().requires_grad_(train);
  for (auto _ : state) {
    const at::Tensor bev = lift(features, depth);
    if (!train) continue;
    features.mutable_grad().reset(), depth.mutable_grad().reset();
    bev.backward(in.d_bev);
  }
  state.counters["points"] = static_cast<double>(in.plan.links.pixels.numel());
}

void BM_Lift(benchmark::State& state, bool train) {
  const LiftInputs in(state.range(0));
  Run(state, train, in,
      [&](const at::Tensor& f, const at::Tensor& d) { return LiftToBev(f, d, in.plan); });
}

void BM_NaiveLift(benchmark::State& state, bool train) {
  const LiftInputs in(state.range(0));
  const at::Tensor flat = in.plan.links.cell_of.flatten().to(at::kLong);
  const at::Tensor kept = (flat >= 0).nonzero().flatten(), cells = flat.index_select(0, kept);
  Run(state, train, in, [&](const at::Tensor& f, const at::Tensor& d) {
    return NaiveLift(f, d, in.plan, kept, cells);
  });
}

void BM_LiftPlan(benchmark::State& state) {
  const CameraRig rig = Rig();
  for (auto _ : state) MakeLiftPlan(rig, kPv, kDepthBins, {}, state.range(0));
}

// 250,000 points: ten sweeps, most of them near, on the ground and up to 2 m above it.
at::Tensor Points() {
  at::manual_seed(2);
  const at::Tensor radius = 60 * at::rand({250000}).square() + 2,
                   angle = 6.2832 * at::rand({250000});
  return at::stack({radius * angle.cos(), radius * angle.sin(), 2 * at::rand({250000}).square()},
                   1);
}

void BM_PvPlan(benchmark::State& state) {
  const CameraRig rig = Rig();
  const at::Tensor points = Points();
  for (auto _ : state) MakePvPlan(rig, kPv, {}, FindOccupiedColumns(points, {}, 0.2f));
}

void BM_ProjectToPv(benchmark::State& state, bool train) {
  const PvPlan plan = MakePvPlan(Rig(), kPv, {}, FindOccupiedColumns(Points(), {}, 0.2f));
  const at::Tensor bev =
      at::randn({plan.rows, plan.columns, kChannels}).permute({2, 0, 1}).requires_grad_(train);
  const at::Tensor d_pv = ProjectToPv(bev.detach(), plan);
  for (auto _ : state) {
    const at::Tensor pv = ProjectToPv(bev, plan);
    if (!train) continue;
    bev.mutable_grad().reset();
    pv.backward(d_pv);
  }
}

#define ATHANOR_TIMED UseRealTime()->MeasureProcessCPUTime()->Unit(benchmark::kMillisecond)
BENCHMARK_CAPTURE(BM_Lift, forward, false)->Arg(1)->Arg(4)->ATHANOR_TIMED;
BENCHMARK_CAPTURE(BM_Lift, train, true)->Arg(1)->Arg(4)->ATHANOR_TIMED;
BENCHMARK_CAPTURE(BM_NaiveLift, forward, false)->Arg(1)->Arg(4)->ATHANOR_TIMED;
BENCHMARK_CAPTURE(BM_NaiveLift, train, true)->Arg(1)->Arg(4)->ATHANOR_TIMED;
BENCHMARK(BM_LiftPlan)->Arg(1)->Arg(4)->ATHANOR_TIMED;
BENCHMARK(BM_PvPlan)->ATHANOR_TIMED;
BENCHMARK_CAPTURE(BM_ProjectToPv, forward, false)->ATHANOR_TIMED;
BENCHMARK_CAPTURE(BM_ProjectToPv, train, true)->ATHANOR_TIMED;

}  // namespace
}  // namespace athanor

BENCHMARK_MAIN();
