#include <algorithm>
#include <cstring>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/kernels/sparse_conv.h"
#include "athanor/kernels/sparse_conv_tiles.h"

namespace athanor {
namespace {

int NumPanels(int channels) {
  const int width = GetConvKernels().width;
  return (channels + width - 1) / width;
}

// Calls tile(first, count) on pieces of `pairs` of nearly equal size, at most `rows` each: a short
// last piece would keep few sums in flight.
template <typename F>
void CutIntoTiles(int pairs, int rows, const F& tile) {
  const int tiles = (pairs + rows - 1) / rows;
  for (int t = 0, at = 0; t < tiles; ++t) {
    const int count = (pairs - at + tiles - t - 1) / (tiles - t);
    tile(at, count);
    at += count;
  }
}

// Calls up the beginnings of the rows of the next tile; what follows, the processor foresees.
void PrefetchRows(const void* features, size_t row_bytes, const int32_t* inputs, const int32_t* end,
                  int count) {
  constexpr size_t kLinesAhead = 4;
  const auto* bytes = static_cast<const uint8_t*>(features);
  const size_t ahead = std::min(row_bytes, kLinesAhead * kCacheLineBytes);
  const int32_t* last = inputs + std::min<int64_t>(count, end - inputs);
  for (const int32_t* input = inputs; input != last; ++input) {
    for (size_t at = 0; at < ahead; at += kCacheLineBytes) {
      __builtin_prefetch(bytes + *input * row_bytes + at);
    }
  }
}

}  // namespace

PackedWeights::PackedWeights(const float* weights, const WeightLayout& layout)
    : volume_(layout.volume),
      in_channels_(layout.transposed ? layout.out_channels : layout.in_channels),
      out_channels_(layout.transposed ? layout.in_channels : layout.out_channels),
      precision_(layout.precision) {
  const ConvKernels& kernels = GetConvKernels();
  const int width = kernels.width, panels = NumPanels(out_channels_);
  const bool rounded = precision_ == ConvPrecision::kBfloat16;
  const bool pairs = rounded && kernels.packs_pairs;
  const int rows = pairs ? (in_channels_ + 1) / 2 * 2 : in_channels_;
  panel_bytes_ = static_cast<size_t>(rows) * width * (pairs ? sizeof(uint16_t) : sizeof(float));
  data_.assign(panel_bytes_ * panels * volume_, 0);
  ParallelFor(int64_t{panels} * volume_, 1, [&](int64_t begin, int64_t end) {
    std::vector<uint16_t> bits(width);
    std::vector<float> row(width);
    for (int64_t p = begin; p < end; ++p) {
      const auto k = static_cast<int>(p % volume_);
      const int first = static_cast<int>(p / volume_) * width;
      const int count = std::min(width, out_channels_ - first);
      const float* from = weights + static_cast<size_t>(layout.mirrored ? volume_ - 1 - k : k) *
                                        in_channels_ * out_channels_;
      uint8_t* to = data_.data() + p * panel_bytes_;
      for (int c = 0; c < in_channels_; ++c) {
        for (int o = 0; o < count; ++o) {
          row[o] = layout.transposed ? from[static_cast<size_t>(first + o) * in_channels_ + c]
                                     : from[static_cast<size_t>(c) * out_channels_ + first + o];
        }
        if (rounded) kernels.to_bfloat16(row.data(), count, bits.data());
        if (pairs) {
          auto* out = reinterpret_cast<uint16_t*>(to) + static_cast<size_t>(c / 2) * 2 * width;
          for (int o = 0; o < count; ++o) out[2 * o + c % 2] = bits[o];
        } else {
          for (int o = 0; rounded && o < count; ++o) {
            const uint32_t wide = uint32_t{bits[o]} << 16;
            std::memcpy(&row[o], &wide, sizeof wide);
          }
          std::copy_n(row.data(), count, reinterpret_cast<float*>(to) + c * width);
        }
      }
    }
  });
}

void SparseConvForwardCpu(const SparseConvForwardArgs& args) {
  const KernelMap& map = *args.map;
  const PackedWeights& weights = *args.weights;
  ATHANOR_CHECK(map.volume == weights.volume(), "sparse convolution: expected weights of ",
                map.volume, " offsets, as the map has, found ", weights.volume());
  const ConvKernels& kernels = GetConvKernels();
  const int width = kernels.width, channels = weights.out_channels();
  const int panels = NumPanels(channels);
  const auto blocks = static_cast<int64_t>(map.blocks.size());
  const auto& tiles = weights.precision() == ConvPrecision::kBfloat16 ? kernels.bfloat16_tiles
                                                                      : kernels.float_tiles;
  // All panels of a block find its inputs in cache; they are shared out where blocks are few.
  constexpr int kTasksPerThread = 32;
  const int groups = blocks >= int64_t{kTasksPerThread} * NumThreads() ? 1 : panels;
  const size_t row_bytes = static_cast<size_t>(weights.in_channels()) *
                           (weights.precision() == ConvPrecision::kBfloat16 ? 2 : 4);
  const size_t value_bytes = args.out_is_bfloat16 ? sizeof(uint16_t) : sizeof(float);
  ParallelChunks(blocks * groups, [&](int64_t task) {
    thread_local AlignedVector<float> sums;
    sums.resize(static_cast<size_t>(kMapBlock) * width);
    const int64_t b = task / groups;
    const auto group = static_cast<int>(task % groups);
    const MapBlock& block = map.blocks[b];
    const int32_t* inputs_end = block.inputs.data() + block.inputs.size();
    const int64_t first_row = b * kMapBlock;
    const int64_t rows = std::min<int64_t>(kMapBlock, map.num_outputs - first_row);
    for (int panel = group; panel < panels; panel += groups) {
      const int count = std::min(width, channels - panel * width);
      alignas(kCacheLineBytes) float bias[64] = {};
      if (args.bias != nullptr) std::copy_n(args.bias + panel * width, count, bias);
      for (int64_t r = 0; r < rows; ++r) std::copy_n(bias, width, sums.data() + r * width);
      for (int k = 0; k < map.volume; ++k) {
        const int32_t begin = block.starts[k];
        ConvTile tile = {args.features,         nullptr,    nullptr, weights.Panel(panel, k),
                         weights.in_channels(), sums.data()};
        CutIntoTiles(block.starts[k + 1] - begin, kernels.rows, [&](int at, int size) {
          tile.inputs = block.inputs.data() + begin + at;
          tile.outputs = block.outputs.data() + begin + at;
          PrefetchRows(args.features, row_bytes, tile.inputs + size, inputs_end, kernels.rows);
          tiles[size - 1](tile);
        });
      }
      const size_t at = (first_row * channels + panel * width) * value_bytes;
      ConvEpilogue epilogue = {};
      epilogue.sums = sums.data(), epilogue.width = width;
      epilogue.rows = rows, epilogue.channels = count;
      epilogue.stride = channels;
      epilogue.is_bfloat16 = args.out_is_bfloat16, epilogue.relu = args.relu;
      epilogue.out = static_cast<uint8_t*>(args.out) + at;
      if (args.residual != nullptr) {
        epilogue.residual = static_cast<const uint8_t*>(args.residual) + at;
      }
      kernels.epilogue(epilogue);
    }
  });
}

void SparseConvBackwardWeightsCpu(const SparseConvWeightsArgs& args) {
  const KernelMap& map = *args.map;
  const ConvKernels& kernels = GetConvKernels();
  const int width = kernels.width, panels = NumPanels(args.out_channels);
  // A task has the gradient of one offset and some input channels to itself.
  const int channels_per_task = 4 * kernels.rows;
  const int groups = (args.in_channels + channels_per_task - 1) / channels_per_task;
  ParallelChunks(int64_t{map.volume} * groups, [&](int64_t task) {
    const auto k = static_cast<int>(task / groups);
    const int first = static_cast<int>(task % groups) * channels_per_task;
    const int channels = std::min(channels_per_task, args.in_channels - first);
    AlignedVector<float> sums(static_cast<size_t>(panels) * channels * width, 0.0f);
    AlignedVector<float> d_out(static_cast<size_t>(kMapBlock) * width, 0.0f);
    for (size_t b = 0; b < map.blocks.size(); ++b) {
      const MapBlock& block = map.blocks[b];
      const int32_t begin = block.starts[k];
      const int pairs = block.starts[k + 1] - begin;
      if (pairs == 0) continue;
      const float* rows = args.d_out + static_cast<int64_t>(b) * kMapBlock * args.out_channels;
      for (int panel = 0; panel < panels; ++panel) {
        const int count = std::min(width, args.out_channels - panel * width);
        for (int i = 0; i < pairs; ++i) {
          const float* row =
              rows + int64_t{block.outputs[begin + i]} * args.out_channels + panel * width;
          std::copy_n(row, count, d_out.data() + i * width);
          std::fill(d_out.data() + i * width + count, d_out.data() + (i + 1) * width, 0.0f);
        }
        WeightTile tile = {};
        tile.stride = args.in_channels;
        tile.inputs = block.inputs.data() + begin, tile.pairs = pairs;
        tile.d_out = d_out.data();
        CutIntoTiles(channels, kernels.rows, [&](int at, int size) {
          tile.features = args.features + first + at;
          tile.d_weights = sums.data() + (static_cast<size_t>(panel) * channels + at) * width;
          kernels.weight_tiles[size - 1](tile);
        });
      }
    }
    for (int c = 0; c < channels; ++c) {
      float* to = args.d_weights +
                  (static_cast<size_t>(k) * args.in_channels + first + c) * args.out_channels;
      for (int panel = 0; panel < panels; ++panel) {
        const int count = std::min(width, args.out_channels - panel * width);
        std::copy_n(sums.data() + (static_cast<size_t>(panel) * channels + c) * width, count,
                    to + panel * width);
      }
    }
  });
}

bool HasBfloat16Dot() { return GetConvKernels().packs_pairs; }

void ToBfloat16Cpu(const float* in, int64_t n, uint16_t* out) {
  constexpr int64_t kGrain = 1 << 16;
  ParallelFor(n, kGrain, [&](int64_t begin, int64_t end) {
    GetConvKernels().to_bfloat16(in + begin, end - begin, out + begin);
  });
}

}  // namespace athanor
