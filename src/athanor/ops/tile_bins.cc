#include "athanor/ops/tile_bins.h"

#include <ATen/ATen.h>

#include <vector>

#include "athanor/ops/device.h"

namespace athanor {
namespace {

#ifdef ATHANOR_HAS_CUDA
void BinOnGpu(const at::Tensor& splats, int width_px, int height_px, TileBinTensors* bins) {
  const c10::DeviceGuard guard(splats.device());
  // Torch's caching allocator provides the memory; what holds the lists is kept.
  struct Context {
    at::TensorOptions options;
    std::vector<at::Tensor> blocks;
  } context{splats.options().dtype(at::kByte), {}};
  const auto allocate = [](void* opaque, size_t bytes) -> void* {
    auto* c = static_cast<Context*>(opaque);
    c->blocks.push_back(at::empty({static_cast<int64_t>(bytes)}, c->options));
    return c->blocks.back().data_ptr();
  };
  int32_t *offsets, *ids;
  const int64_t entries = BinTilesCuda(
      reinterpret_cast<const Splat*>(splats.data_ptr<float>()), splats.size(0), width_px, height_px,
      allocate, &context, c10::cuda::getCurrentCUDAStream(splats.device().index()).stream(),
      &offsets, &ids);
  const auto view = [&](int32_t* begin, int64_t size) {
    for (const at::Tensor& block : context.blocks) {
      const auto byte = reinterpret_cast<char*>(begin) - static_cast<char*>(block.data_ptr());
      if (byte >= 0 && byte < block.numel()) {
        return block.slice(0, byte, byte + size * 4).view(at::kInt);
      }
    }
    return at::empty({0}, splats.options().dtype(at::kInt));
  };
  bins->offsets = view(offsets, MakeTileGrid(width_px, height_px).size() + 1);
  bins->ids = view(ids, entries);
}
#endif

void BinOnCpu(const at::Tensor& splats, int width_px, int height_px, TileBinTensors* bins) {
  BinTilesCpu(reinterpret_cast<const Splat*>(splats.data_ptr<float>()), splats.size(0), width_px,
              height_px, &bins->memory);
  const auto wrap = [](std::vector<int32_t>& v) {
    return at::from_blob(v.data(), {static_cast<int64_t>(v.size())}, at::kInt);
  };
  bins->offsets = wrap(bins->memory.offsets);
  bins->ids = wrap(bins->memory.ids);
}

}  // namespace

void CheckImageSize(int width_px, int height_px) {
  ATHANOR_CHECK(
      width_px >= 1 && width_px <= kMaxSidePx && height_px >= 1 && height_px <= kMaxSidePx,
      "image size: expected sides of 1 to ", kMaxSidePx, " px, found ", width_px, " x ", height_px);
}

void BinTiles(const at::Tensor& splats, int width_px, int height_px, TileBinTensors* bins) {
  CheckTensor(splats, "splats", at::kFloat, KernelDevice(splats, "splats"), {-1, 8});
  CheckImageSize(width_px, height_px);
  bins->num_splats = -1;  // what is there now is no longer valid, nor is it when binning fails
#ifdef ATHANOR_HAS_CUDA
  if (splats.is_cuda()) {
    BinOnGpu(splats, width_px, height_px, bins);
  } else {
    BinOnCpu(splats, width_px, height_px, bins);
  }
#else
  BinOnCpu(splats, width_px, height_px, bins);
#endif
  bins->num_splats = splats.size(0);
  bins->width_px = width_px;
  bins->height_px = height_px;
}

}  // namespace athanor
