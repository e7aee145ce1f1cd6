#include <algorithm>
#include <array>
#include <bit>
#include <numeric>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/kernels/voxel_map.h"

namespace athanor {
namespace {

int64_t NumBlocks(int64_t outputs) { return (outputs + kMapBlock - 1) / kMapBlock; }

// Gathers the pairs of one block of outputs, in any order of offsets but by rising output in each.
// Kept by each thread from block to block: fresh memory of this size costs more than filling it.
class BlockBuilder {
 public:
  void Reset(int volume) {
    volume_ = volume;
    counts_.assign(volume, 0);
    const size_t size = size_t{kMapBlock} * volume;
    if (inputs_.size() < size) inputs_.resize(size), outputs_.resize(size);
  }

  void Add(int offset, int32_t input, int output) {
    const size_t at = size_t{kMapBlock} * offset + counts_[offset]++;
    inputs_[at] = input;
    outputs_[at] = static_cast<uint16_t>(output);
  }
  // Hands the pairs over and forgets them.
  MapBlock Take() {
    MapBlock block;
    block.starts.resize(volume_ + 1);
    std::partial_sum(counts_.begin(), counts_.end(), block.starts.begin() + 1);
    block.inputs.reserve(block.starts.back());
    block.outputs.reserve(block.starts.back());
    for (int k = 0; k < volume_; ++k) {
      const size_t at = size_t{kMapBlock} * k;
      block.inputs.insert(block.inputs.end(), &inputs_[at], &inputs_[at] + counts_[k]);
      block.outputs.insert(block.outputs.end(), &outputs_[at], &outputs_[at] + counts_[k]);
      counts_[k] = 0;
    }
    return block;
  }

 private:
  int volume_ = 0;
  std::vector<int32_t> counts_;
  std::vector<int32_t> inputs_;  // [volume,kMapBlock]
  std::vector<uint16_t> outputs_;
};

// Calls fill(block, builder) for every block of outputs.
template <typename F>
KernelMap BuildMap(int64_t num_inputs, int64_t num_outputs, int volume, const F& fill) {
  KernelMap map;
  map.num_inputs = num_inputs;
  map.num_outputs = num_outputs;
  map.volume = volume;
  map.blocks.resize(NumBlocks(num_outputs));
  constexpr int64_t kGrain = 4;
  ParallelFor(static_cast<int64_t>(map.blocks.size()), kGrain, [&](int64_t begin, int64_t end) {
    thread_local BlockBuilder builder;
    builder.Reset(volume);
    for (int64_t b = begin; b < end; ++b) {
      fill(b, &builder);
      map.blocks[b] = builder.Take();
    }
  });
  return map;
}

// Coordinates in a 4x4x4 block, or region, by bit; and back.
struct NodePlaces {
  std::array<std::array<int8_t, 3>, 64> at;
  constexpr NodePlaces() : at() {
    for (int bit = 0; bit < 64; ++bit) {
      at[bit] = {static_cast<int8_t>((bit >> 2 & 1) | (bit >> 4 & 2)),
                 static_cast<int8_t>((bit >> 1 & 1) | (bit >> 3 & 2)),
                 static_cast<int8_t>((bit & 1) | (bit >> 2 & 2))};
    }
  }
};
constexpr NodePlaces kPlaces;

constexpr int BitOfPlace(int x, int y, int z) {
  return (x & 1) << 2 | (y & 1) << 1 | (z & 1) | (x & 2) << 4 | (y & 2) << 3 | (z & 2) << 2;
}

// What a window of this reach around a 4x4x4 block looks up, direction by direction of 27.
template <int kReach>
struct WindowTables {
  static constexpr int kSide = 4 + 2 * kReach;
  // Where the block in a direction from the block at a bit of its region is: a region, and a bit.
  std::array<std::array<uint8_t, 27>, 64> region, bit;
  // Where the cells of that block lie in the window: row (x,y), and z. Row -1: outside.
  std::array<std::array<int8_t, 64>, 27> row, z;

  constexpr WindowTables() : region(), bit(), row(), z() {
    for (int n = 0; n < 27; ++n) {
      const int dx = n / 9 - 1, dy = n / 3 % 3 - 1, dz = n % 3 - 1;
      for (int b = 0; b < 64; ++b) {
        const auto& at = kPlaces.at[b];
        const int bx = at[0] + dx, by = at[1] + dy, bz = at[2] + dz;  // -1 .. 4
        region[b][n] = static_cast<uint8_t>((((bx + 4) / 4) * 3 + (by + 4) / 4) * 3 + (bz + 4) / 4);
        bit[b][n] = static_cast<uint8_t>(BitOfPlace(bx & 3, by & 3, bz & 3));
        const int x = at[0] + 4 * dx + kReach, y = at[1] + 4 * dy + kReach;
        const int along = at[2] + 4 * dz + kReach;
        const bool inside =
            x >= 0 && x < kSide && y >= 0 && y < kSide && along >= 0 && along < kSide;
        row[n][b] = static_cast<int8_t>(inside ? x * kSide + y : -1);
        z[n][b] = static_cast<int8_t>(along);
      }
    }
  }
};
template <int kReach>
constexpr WindowTables<kReach> kWindowTables;

// A 4x4x4 block and the cells around it: the number of each voxel, and a row of bits along z for
// each (x,y). A voxel's neighbours are then a few bits of a few rows.
template <int kReach>
class NeighborWindow {
 public:
  void Fill(const VoxelSet& voxels, const VoxelSet::Node& center) {
    const auto& tables = kWindowTables<kReach>;
    rows_.fill(0);
    if (!has_region_ || center.key >> 6 != region_) FindRegions(voxels, center.key >> 6);
    const auto& region_of = tables.region[center.key & 63];
    const auto& bit_of = tables.bit[center.key & 63];
    for (int n = 0; n < 27; ++n) {
      const VoxelSet::Node* region = regions_[region_of[n]];
      if (region == nullptr) continue;
      const int32_t found = region->Find(bit_of[n]);
      if (found < 0) continue;
      const VoxelSet::Node& block = voxels.blocks()[found];
      int32_t number = block.first;
      for (uint64_t bits = block.mask; bits != 0; bits &= bits - 1, ++number) {
        const int bit = std::countr_zero(bits);
        const int row = tables.row[n][bit];
        if (row < 0) continue;
        rows_[row] |= 1u << tables.z[n][bit];
        numbers_[row * kSide + tables.z[n][bit]] = number;
      }
    }
  }

  // Adds the pairs of the voxel at `bit` of the centre.
  void AddPairs(int bit, int output, BlockBuilder* builder) const {
    constexpr int kSize = 2 * kReach + 1;
    const auto& at = kPlaces.at[bit];
#pragma GCC unroll 8
    for (int x = 0; x < kSize; ++x) {
#pragma GCC unroll 8
      for (int y = 0; y < kSize; ++y) {
        const int row = (at[0] + x) * kSide + at[1] + y;
        uint32_t bits = rows_[row] >> at[2] & ((1u << kSize) - 1);
        for (; bits != 0; bits &= bits - 1) {
          const int z = std::countr_zero(bits);
          builder->Add((x * kSize + y) * kSize + z, numbers_[row * kSide + at[2] + z], output);
        }
      }
    }
  }

 private:
  static constexpr int kSide = 4 + 2 * kReach;

  void FindRegions(const VoxelSet& voxels, uint64_t region) {
    has_region_ = true, region_ = region;
    const VoxelCell corner = CellOfKey(region << 12);
    for (int n = 0; n < 27; ++n) {
      regions_[n] = voxels.FindRegion(
          VoxelKey({corner.batch, corner.x + 16 * (n / 9 - 1), corner.y + 16 * (n / 3 % 3 - 1),
                    corner.z + 16 * (n % 3 - 1)}) >>
          12);
    }
  }

  bool has_region_ = false;
  uint64_t region_ = 0;  // whose neighbours are at hand
  std::array<const VoxelSet::Node*, 27> regions_;
  std::array<uint32_t, kSide * kSide> rows_;
  std::array<int32_t, kSide * kSide * kSide> numbers_;
};

template <int kReach>
KernelMap SubmanifoldMapOfReach(const VoxelSet& voxels) {
  constexpr int kVolume = (2 * kReach + 1) * (2 * kReach + 1) * (2 * kReach + 1);
  const auto& blocks = voxels.blocks();
  return BuildMap(voxels.size(), voxels.size(), kVolume, [&](int64_t b, BlockBuilder* builder) {
    const auto begin = static_cast<int32_t>(b * kMapBlock);
    const auto end = static_cast<int32_t>(std::min<int64_t>(voxels.size(), begin + kMapBlock));
    // The block of cells that voxel `begin` is in.
    auto cells = std::upper_bound(blocks.begin(), blocks.end(), begin,
                                  [](int32_t v, const auto& block) { return v < block.first; }) -
                 1;
    NeighborWindow<kReach> window;
    for (; cells != blocks.end() && cells->first < end; ++cells) {
      window.Fill(voxels, *cells);
      int32_t voxel = cells->first;
      for (uint64_t bits = cells->mask; bits != 0; bits &= bits - 1, ++voxel) {
        if (voxel >= begin && voxel < end) {
          window.AddPairs(std::countr_zero(bits), voxel - begin, builder);
        }
      }
    }
  });
}

int FloorDiv(int a, int b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

}  // namespace

void CheckKernel(int kernel_size, int stride) {
  ATHANOR_CHECK(kernel_size >= 1 && kernel_size <= kMaxKernelSize,
                "sparse convolution: expected a kernel size of 1..", kMaxKernelSize, ", found ",
                kernel_size);
  ATHANOR_CHECK(stride >= 1 && stride <= 64, "sparse convolution: expected a stride of 1..64, ",
                "found ", stride);
  ATHANOR_CHECK(stride > 1 || kernel_size % 2 == 1,
                "sparse convolution: expected an odd kernel size at stride 1, found ", kernel_size);
}

int64_t KernelMap::num_pairs() const {
  int64_t sum = 0;
  for (const MapBlock& block : blocks) sum += static_cast<int64_t>(block.inputs.size());
  return sum;
}

KernelMap SubmanifoldMapCpu(const VoxelSet& voxels, int kernel_size) {
  CheckKernel(kernel_size, 1);
  static_assert(kMaxKernelSize == 7);
  switch (kernel_size) {
    case 1:
      return IdentityMap(voxels.size());
    case 3:
      return SubmanifoldMapOfReach<1>(voxels);
    case 5:
      return SubmanifoldMapOfReach<2>(voxels);
    default:
      return SubmanifoldMapOfReach<3>(voxels);
  }
}

VoxelSet StridedVoxelsCpu(const VoxelSet& inputs, int kernel_size, int stride) {
  CheckKernel(kernel_size, stride);
  const int low = kernel_size % 2 == 1 ? -(kernel_size / 2) : 0, high = low + kernel_size - 1;
  // Outputs o with o * stride + offset = input: input - high <= o * stride <= input - low.
  const auto first = [&](int v) { return -FloorDiv(high - v, stride); };
  const auto last = [&](int v) { return FloorDiv(v - low, stride); };
  std::vector<uint64_t> keys;
  keys.reserve(inputs.size());
  for (const uint64_t key : inputs.keys()) {
    const VoxelCell in = CellOfKey(key);
    for (int x = first(in.x); x <= last(in.x); ++x) {
      for (int y = first(in.y); y <= last(in.y); ++y) {
        for (int z = first(in.z); z <= last(in.z); ++z) {
          const uint64_t out = VoxelKey({in.batch, x, y, z});
          if (keys.empty() || keys.back() != out) keys.push_back(out);
        }
      }
    }
  }
  return VoxelSet(std::move(keys));
}

KernelMap StridedMapCpu(const VoxelSet& inputs, const VoxelSet& outputs, int kernel_size,
                        int stride) {
  CheckKernel(kernel_size, stride);
  const int low = kernel_size % 2 == 1 ? -(kernel_size / 2) : 0;
  const auto fill = [&](int64_t b, BlockBuilder* builder) {
    const int64_t begin = b * kMapBlock;
    const int64_t end = std::min(outputs.size(), begin + kMapBlock);
    for (int64_t o = begin; o < end; ++o) {
      const VoxelCell out = CellOfKey(outputs.keys()[o]);
      int k = 0;
      for (int x = 0; x < kernel_size; ++x) {
        for (int y = 0; y < kernel_size; ++y) {
          for (int z = 0; z < kernel_size; ++z, ++k) {
            const int32_t in =
                inputs.Find(VoxelKey({out.batch, out.x * stride + low + x, out.y * stride + low + y,
                                      out.z * stride + low + z}));
            if (in >= 0) builder->Add(k, in, static_cast<int>(o - begin));
          }
        }
      }
    }
  };
  return BuildMap(inputs.size(), outputs.size(), kernel_size * kernel_size * kernel_size, fill);
}

StridedMaps StridedMapsCpu(const VoxelSet& inputs, int kernel_size, int stride) {
  CheckKernel(kernel_size, stride);
  StridedMaps maps;
  if (kernel_size != 2 || stride != 2) {
    maps.outputs = StridedVoxelsCpu(inputs, kernel_size, stride);
    maps.map = StridedMapCpu(inputs, maps.outputs, kernel_size, stride);
    maps.transposed = TransposeMapCpu(maps.map);
    return maps;
  }
  // Every input has one output, and both are in the same order.
  const auto& keys = inputs.keys();
  std::vector<uint64_t> parents(keys.size());
  std::transform(keys.begin(), keys.end(), parents.begin(), ParentKey);
  std::vector<int32_t> output_of;
  maps.outputs = VoxelSet(std::move(parents), &output_of);
  constexpr int kVolume = 8;
  const int64_t outputs = maps.outputs.size();
  maps.map = BuildMap(inputs.size(), outputs, kVolume, [&](int64_t b, BlockBuilder* builder) {
    const auto first = static_cast<int32_t>(b * kMapBlock);
    auto at = std::lower_bound(output_of.begin(), output_of.end(), first);
    for (; at != output_of.end() && *at < first + kMapBlock; ++at) {
      const auto input = static_cast<int32_t>(at - output_of.begin());
      builder->Add(static_cast<int>(keys[input] & 7), input, *at - first);
    }
  });
  maps.transposed =
      BuildMap(outputs, inputs.size(), kVolume, [&](int64_t b, BlockBuilder* builder) {
        const int64_t begin = b * kMapBlock, end = std::min(inputs.size(), begin + kMapBlock);
        for (int64_t i = begin; i < end; ++i) {
          builder->Add(static_cast<int>(keys[i] & 7), output_of[i], static_cast<int>(i - begin));
        }
      });
  return maps;
}

KernelMap TransposeMapCpu(const KernelMap& map) {
  // An input meets an offset once at most, so that the new blocks fit their builders; blocks are
  // walked in order, so that in each offset the old outputs, and with them the new pairs, rise.
  struct Pair {
    int32_t offset, input, output;
  };
  std::vector<std::vector<Pair>> pairs(NumBlocks(map.num_inputs));
  for (size_t b = 0; b < map.blocks.size(); ++b) {
    const MapBlock& block = map.blocks[b];
    for (int k = 0; k < map.volume; ++k) {
      for (int32_t i = block.starts[k]; i < block.starts[k + 1]; ++i) {
        const auto old_output = static_cast<int32_t>(b * kMapBlock + block.outputs[i]);
        pairs[block.inputs[i] / kMapBlock].push_back({k, old_output, block.inputs[i] % kMapBlock});
      }
    }
  }
  const auto fill = [&](int64_t b, BlockBuilder* builder) {
    std::stable_sort(pairs[b].begin(), pairs[b].end(),
                     [](const Pair& x, const Pair& y) { return x.output < y.output; });
    for (const Pair& pair : pairs[b]) builder->Add(pair.offset, pair.input, pair.output);
  };
  return BuildMap(map.num_outputs, map.num_inputs, map.volume, fill);
}

KernelMap IdentityMap(int64_t rows) {
  return BuildMap(rows, rows, 1, [&](int64_t b, BlockBuilder* builder) {
    const int64_t begin = b * kMapBlock, end = std::min(rows, begin + kMapBlock);
    for (int64_t i = begin; i < end; ++i) {
      builder->Add(0, static_cast<int32_t>(i), static_cast<int>(i - begin));
    }
  });
}

}  // namespace athanor
