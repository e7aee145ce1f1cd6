// Two kernels: SSIM of every pixel with its derivatives with respect to the filtered moments; then
// the gradient, which filters those derivatives once more. Each block filters a tile in shared
// memory, along x and then along y.
#include "athanor/kernels/cuda_check.cuh"
#include "athanor/kernels/image_loss.h"

namespace athanor {
namespace {

constexpr int kRadius = 5;
constexpr int kWindow = 2 * kRadius + 1;
// Gaussian of sigma 1.5, normalised.
__constant__ float kWeights[kWindow] = {0.00102838f, 0.00759876f, 0.03600077f, 0.10936069f,
                                        0.21300554f, 0.26601172f, 0.21300554f, 0.10936069f,
                                        0.03600077f, 0.00759876f, 0.00102838f};
constexpr float kC1 = 0.01f * 0.01f, kC2 = 0.03f * 0.03f;
constexpr int kMoments = 4;   // x, y, xx + yy (SSIM needs no more of the squares), xy
constexpr int kPartials = 3;  // dS / d(mean x), d(mean xx), d(mean xy)

constexpr int kColumns = 32, kRows = 16;  // pixels of a block, one per thread
constexpr int kThreads = kColumns * kRows;
constexpr int kWideColumns = kColumns + 2 * kRadius, kWideRows = kRows + 2 * kRadius;
constexpr unsigned kWarp = 0xffffffffu;

// The pixel of a thread, in channel blockIdx.z.
struct Pixel {
  int x, y;
  bool inside;
  int64_t at;  // into one channel
};

__device__ Pixel PixelAt(const ImageLossArgs& args, int x, int y) {
  return {x, y, x >= 0 && y >= 0 && x < args.width_px && y < args.height_px,
          int64_t{y} * args.width_px + x};
}

__device__ Pixel PixelOfThread(const ImageLossArgs& args) {
  return PixelAt(args, blockIdx.x * kColumns + threadIdx.x % kColumns,
                 blockIdx.y * kRows + threadIdx.x / kColumns);
}

// Calls visit(row, column, pixel) for every pixel of the block and kRadius around it.
template <typename Visit>
__device__ void ForEachWide(const ImageLossArgs& args, const Visit& visit) {
  for (int i = threadIdx.x; i < kWideRows * kWideColumns; i += kThreads) {
    const int row = i / kWideColumns, column = i % kWideColumns;
    visit(row, column,
          PixelAt(args, static_cast<int>(blockIdx.x) * kColumns + column - kRadius,
                  static_cast<int>(blockIdx.y) * kRows + row - kRadius));
  }
}

__device__ bool Masked(const ImageLossArgs& args, int64_t at) {
  return args.mask != nullptr && args.mask[at] == 0;
}

// The thread's pixel of a map that is filtered along x.
__device__ float FilterAlongY(const float (&map)[kWideRows][kColumns]) {
  const int row = threadIdx.x / kColumns, column = threadIdx.x % kColumns;
  float sum = 0;
#pragma unroll
  for (int k = 0; k < kWindow; ++k) sum += kWeights[k] * map[row + k][column];
  return sum;
}

// Adds scale * (sum of value over the block) to *sum. The order of additions between blocks, and so
// the last bits, differ from run to run.
__device__ void AddOverBlock(float value, double scale, double* sum) {
  __shared__ double warp_sums[kThreads / 32];
  double total = value;
  for (int bit = 16; bit > 0; bit /= 2) total += __shfl_xor_sync(kWarp, total, bit);
  __syncthreads();  // an earlier call may still read
  if (threadIdx.x % 32 == 0) warp_sums[threadIdx.x / 32] = total;
  __syncthreads();
  if (threadIdx.x != 0) return;
  total = 0;
  for (const double warp_sum : warp_sums) total += warp_sum;
  atomicAdd(sum, scale * total);
}

// Adds to sums; writes `partials` [C,kPartials,H,W] unless it is null.
__global__ void __launch_bounds__(kThreads)
    SsimKernel(ImageLossArgs args, float* partials, double* sums) {
  __shared__ float x[kWideRows][kWideColumns], y[kWideRows][kWideColumns];
  __shared__ float along_x[kMoments][kWideRows][kColumns];
  const int64_t plane = int64_t{args.width_px} * args.height_px;
  const float* image = args.image + blockIdx.z * plane;
  const float* target = args.target + blockIdx.z * plane;
  ForEachWide(args, [&](int row, int column, const Pixel& p) {
    y[row][column] = p.inside ? target[p.at] : 0.0f;
    x[row][column] = p.inside && !Masked(args, p.at) ? image[p.at] : y[row][column];
  });
  __syncthreads();
  for (int i = threadIdx.x; i < kWideRows * kColumns; i += kThreads) {
    const int row = i / kColumns, column = i % kColumns;
    float sum[kMoments] = {};
#pragma unroll
    for (int k = 0; k < kWindow; ++k) {
      const float a = x[row][column + k], b = y[row][column + k];
      const float wa = kWeights[k] * a, wb = kWeights[k] * b;
      sum[0] += wa, sum[1] += wb;
      sum[2] += wa * a + wb * b, sum[3] += wa * b;
    }
#pragma unroll
    for (int m = 0; m < kMoments; ++m) along_x[m][row][column] = sum[m];
  }
  __syncthreads();

  const Pixel p = PixelOfThread(args);
  float l1 = 0, ssim = 0;
  if (p.inside) {
    const float mx = FilterAlongY(along_x[0]), my = FilterAlongY(along_x[1]);
    const float squares = FilterAlongY(along_x[2]), xy = FilterAlongY(along_x[3]);
    const float a1 = 2 * mx * my + kC1, a2 = 2 * (xy - mx * my) + kC2;
    const float b1 = mx * mx + my * my + kC1;
    const float b2 = squares - mx * mx - my * my + kC2;
    const float inverse = 1.0f / (b1 * b2);
    ssim = a1 * a2 * inverse;
    if (partials != nullptr) {
      float* out = partials + blockIdx.z * kPartials * plane + p.at;
      out[0] = 2 * my * (a2 - a1) * inverse + 2 * mx * ssim * (b1 - b2) * inverse;
      out[plane] = -ssim * b1 * inverse;
      out[2 * plane] = 2 * a1 * inverse;
    }
    if (!Masked(args, p.at)) l1 = fabsf(image[p.at] - target[p.at]);
  }
  const double scale = 1.0 / (static_cast<double>(plane) * args.channels);
  AddOverBlock(l1, scale, sums);
  AddOverBlock(ssim, scale, sums + 1);
}

__global__ void __launch_bounds__(kThreads)
    GradientKernel(ImageLossArgs args, const float* partials) {
  __shared__ float wide[kPartials][kWideRows][kWideColumns];
  __shared__ float along_x[kPartials][kWideRows][kColumns];
  const int64_t plane = int64_t{args.width_px} * args.height_px;
  const float* channel_partials = partials + blockIdx.z * kPartials * plane;
  ForEachWide(args, [&](int row, int column, const Pixel& p) {
#pragma unroll
    for (int m = 0; m < kPartials; ++m) {
      wide[m][row][column] = p.inside ? channel_partials[m * plane + p.at] : 0.0f;
    }
  });
  __syncthreads();
  for (int i = threadIdx.x; i < kWideRows * kColumns; i += kThreads) {
    const int row = i / kColumns, column = i % kColumns;
#pragma unroll
    for (int m = 0; m < kPartials; ++m) {
      float sum = 0;
#pragma unroll
      for (int k = 0; k < kWindow; ++k) sum += kWeights[k] * wide[m][row][column + k];
      along_x[m][row][column] = sum;
    }
  }
  __syncthreads();

  const Pixel p = PixelOfThread(args);
  if (!p.inside) return;
  const int64_t at = blockIdx.z * plane + p.at;
  const float a = args.image[at], b = args.target[at];
  const double count = static_cast<double>(plane) * args.channels;
  const auto l1_scale = static_cast<float>((1.0 - args.ssim_weight) / count);
  const auto ssim_scale = static_cast<float>(-args.ssim_weight / count);
  const float sign = a > b ? l1_scale : (a < b ? -l1_scale : 0.0f);
  const float d_ssim =
      FilterAlongY(along_x[0]) + 2 * a * FilterAlongY(along_x[1]) + b * FilterAlongY(along_x[2]);
  args.d_image[at] = Masked(args, p.at) ? 0.0f : sign + ssim_scale * d_ssim;
}

}  // namespace

void ImageLossCuda(const ImageLossArgs& args, double* sums, void* stream) {
  const auto s = static_cast<cudaStream_t>(stream);
  CheckCuda(cudaMemsetAsync(sums, 0, 2 * sizeof(double), s), "clear the sums of the image loss");
  const int64_t values = int64_t{args.width_px} * args.height_px * args.channels;
  if (values == 0) return;
  const dim3 blocks((args.width_px + kColumns - 1) / kColumns, (args.height_px + kRows - 1) / kRows,
                    args.channels);
  if (args.d_image == nullptr) {
    SsimKernel<<<blocks, kThreads, 0, s>>>(args, nullptr, sums);
    CheckLaunch("image loss");
    return;
  }
  DeviceScratch<float> partials(kPartials * values, s);
  SsimKernel<<<blocks, kThreads, 0, s>>>(args, partials.data(), sums);
  CheckLaunch("image loss");
  GradientKernel<<<blocks, kThreads, 0, s>>>(args, partials.data());
  CheckLaunch("image loss gradient");
}

}  // namespace athanor
