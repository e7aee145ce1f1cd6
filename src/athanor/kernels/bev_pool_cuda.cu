// Pool and spread: a thread per sum, neighbouring threads on neighbouring channels. The gradient
// of weights: a warp per pixel and bin.
#include "athanor/kernels/bev_pool.h"
#include "athanor/kernels/cuda_check.cuh"

namespace athanor {
namespace {

constexpr int kThreads = 256, kWarp = 32;

__global__ void __launch_bounds__(kThreads) PoolKernel(BevPoolArgs args) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= args.cells * args.channels) return;
  const int64_t cell = i / args.channels, c = i % args.channels;
  float sum = 0;
  for (int32_t m = args.offsets[cell]; m < args.offsets[cell + 1]; ++m) {
    const float weight = args.weights != nullptr ? args.weights[args.places[m]] : 1.0f;
    sum += weight * args.features[int64_t{args.pixels[m]} * args.channels + c];
  }
  args.out[i] = sum;
}

__global__ void __launch_bounds__(kThreads) SpreadKernel(BevSpreadArgs args) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= args.pixels * args.channels) return;
  const int64_t pixel = i / args.channels, c = i % args.channels;
  int64_t place = pixel / args.plane * args.bins * args.plane + pixel % args.plane;
  float sum = 0;
  for (int bin = 0; bin < args.bins; ++bin, place += args.plane) {
    const int32_t cell = args.cells[pixel * args.bins + bin];
    if (cell < 0) continue;
    const float weight = args.weights != nullptr ? args.weights[place] : 1.0f;
    sum += weight * args.values[int64_t{cell} * args.channels + c];
  }
  args.out[i] = sum;
}

__global__ void __launch_bounds__(kThreads) WeightsKernel(BevSpreadArgs args) {
  const int64_t i = int64_t{blockIdx.x} * (kThreads / kWarp) + threadIdx.x / kWarp;
  if (i >= args.pixels * args.bins) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t pixel = i / args.bins, bin = i % args.bins;
  const int32_t cell = args.cells[i];
  float sum = 0;
  if (cell >= 0) {
    for (int c = lane; c < args.channels; c += kWarp) {
      sum +=
          args.features[pixel * args.channels + c] * args.values[int64_t{cell} * args.channels + c];
    }
    for (int step = kWarp / 2; step > 0; step /= 2) {
      sum += __shfl_xor_sync(0xffffffffu, sum, step);
    }
  }
  if (lane == 0) {
    args.d_weights[(pixel / args.plane * args.bins + bin) * args.plane + pixel % args.plane] = sum;
  }
}

}  // namespace

void BevPoolCuda(const BevPoolArgs& args, void* stream) {
  const int64_t n = args.cells * args.channels;
  if (n == 0) return;
  PoolKernel<<<BlockCount(n, kThreads), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(args);
  CheckLaunch("BEV pool");
}

void BevSpreadCuda(const BevSpreadArgs& args, void* stream) {
  const auto s = static_cast<cudaStream_t>(stream);
  const int64_t n = args.pixels * args.channels;
  if (args.out != nullptr && n > 0) {
    SpreadKernel<<<BlockCount(n, kThreads), kThreads, 0, s>>>(args);
    CheckLaunch("BEV spread");
  }
  const int64_t weights = args.pixels * args.bins;
  if (args.d_weights != nullptr && weights > 0) {
    WeightsKernel<<<BlockCount(weights, kThreads / kWarp), kThreads, 0, s>>>(args);
    CheckLaunch("gradient of BEV pool weights");
  }
}

}  // namespace athanor
