// Attention in windows at the detector's two sizes, the kernel beside plain tensors: the map from
// above, 180 x 180 x 128 in windows of 6 with 8 heads, and six cameras' maps, 16 x 44 x 64 in
// windows of 4 with 4 heads; keys shifted by half a window.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>

#include "athanor/base/parallel.h"
#include "athanor/ops/window_attention.h"

namespace athanor {
namespace {

// Arguments: cameras instead of the map from above, plain tensors, bfloat16, with gradients.
void BM_WindowAttention(benchmark::State& state) {
  at::set_num_threads(NumThreads());
  const bool cameras = state.range(0) != 0, plain = state.range(1) != 0;
  const auto type = state.range(2) != 0 ? at::kBFloat16 : at::kFloat;
  const bool gradients = state.range(3) != 0;
  const int m = cameras ? 4 : 6, heads = cameras ? 4 : 8;
  const int64_t channels = cameras ? 64 : 128;
  const std::vector<int64_t> size = cameras ? std::vector<int64_t>{6, 16, 44, channels}
                                            : std::vector<int64_t>{1, 180, 180, channels};
  at::manual_seed(1);
  const at::Tensor q = at::randn(size).to(type).requires_grad_(gradients);
  const at::Tensor kv = at::cat({at::randn(size), at::randn(size)}, -1).to(type).detach();
  const at::Tensor keys = kv.requires_grad_(gradients);
  const at::Tensor table = at::randn({heads, (2 * m - 1) * (2 * m - 1)}).requires_grad_(gradients);
  const at::Tensor ones = at::ones(size).to(type);
  const WindowOptions options = {m, heads, m / 2, m / 2};
  for (auto _ : state) {
    const at::Tensor out = plain ? WindowAttentionReference(q, keys, table, options)
                                 : WindowAttention(q, keys, table, options);
    if (gradients) {
      out.backward(ones);
      for (const at::Tensor& leaf : {q, keys, table}) leaf.mutable_grad() = at::Tensor();
    }
    benchmark::DoNotOptimize(out.data_ptr());
  }
}
BENCHMARK(BM_WindowAttention)
    ->ArgsProduct({{0, 1}, {0, 1}, {0, 1}, {0, 1}})
    ->ArgNames({"cameras", "plain", "bfloat16", "gradients"})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace athanor

BENCHMARK_MAIN();
