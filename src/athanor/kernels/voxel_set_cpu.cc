#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/kernels/voxel_set.h"

namespace athanor {
namespace {

constexpr int kAxisBits = 19, kMortonBits = 3 * kAxisBits;
constexpr int32_t kBias = 1 << (kAxisBits - 1);
constexpr int64_t kGrain = 8192;

// Two zero bits before each of the lower 21 bits.
uint64_t Spread(uint64_t v) {
  v = (v | v << 32) & 0x001f00000000ffffull;
  v = (v | v << 16) & 0x001f0000ff0000ffull;
  v = (v | v << 8) & 0x100f00f00f00f00full;
  v = (v | v << 4) & 0x10c30c30c30c30c3ull;
  return (v | v << 2) & 0x1249249249249249ull;
}

uint64_t Compact(uint64_t v) {
  v &= 0x1249249249249249ull;
  v = (v | v >> 2) & 0x10c30c30c30c30c3ull;
  v = (v | v >> 4) & 0x100f00f00f00f00full;
  v = (v | v >> 8) & 0x001f0000ff0000ffull;
  v = (v | v >> 16) & 0x001f00000000ffffull;
  return (v | v >> 32) & 0x1fffff;
}

struct Entry {
  uint64_t key;
  int32_t id;
};

// Stable radix sort by key. A pass in which all keys share their digit is skipped.
void SortByKey(std::vector<Entry>* entries) {
  constexpr int kDigitBits = 11, kDigits = 1 << kDigitBits, kPasses = 6;
  std::vector<std::array<uint32_t, kDigits>> counts(kPasses);
  for (const Entry& entry : *entries) {
    for (int pass = 0; pass < kPasses; ++pass) {
      ++counts[pass][entry.key >> (pass * kDigitBits) & (kDigits - 1)];
    }
  }
  std::vector<Entry> swap(entries->size());
  for (int pass = 0; pass < kPasses; ++pass) {
    auto& count = counts[pass];
    const uint64_t first = entries->front().key >> (pass * kDigitBits) & (kDigits - 1);
    if (count[first] == entries->size()) continue;
    uint32_t sum = 0;
    for (uint32_t& c : count) c = std::exchange(sum, sum + c);
    for (const Entry& entry : *entries) {
      swap[count[entry.key >> (pass * kDigitBits) & (kDigits - 1)]++] = entry;
    }
    entries->swap(swap);
  }
}

void CheckCount(int64_t n) {
  ATHANOR_CHECK(n >= 0 && n <= std::numeric_limits<int32_t>::max(),
                "voxels: expected at most 2^31 - 1 rows, found ", n);
}

}  // namespace

uint64_t VoxelKey(const VoxelCell& cell) {
  const auto biased = [](int32_t v) { return static_cast<uint64_t>(v + kBias); };
  return static_cast<uint64_t>(cell.batch) << kMortonBits | Spread(biased(cell.x)) << 2 |
         Spread(biased(cell.y)) << 1 | Spread(biased(cell.z));
}

VoxelCell CellOfKey(uint64_t key) {
  const uint64_t morton = key & ((uint64_t{1} << kMortonBits) - 1);
  const auto axis = [&](int shift) {
    return static_cast<int32_t>(Compact(morton >> shift)) - kBias;
  };
  return {static_cast<int32_t>(key >> kMortonBits), axis(2), axis(1), axis(0)};
}

VoxelSet::VoxelSet(std::vector<uint64_t> keys, std::vector<int32_t>* rank) {
  CheckCount(static_cast<int64_t>(keys.size()));
  if (rank != nullptr) rank->resize(keys.size());
  if (std::is_sorted(keys.begin(), keys.end())) {
    int64_t last = -1;
    for (size_t i = 0; i < keys.size(); ++i) {
      if (last < 0 || keys[last] != keys[i]) keys[++last] = keys[i];
      if (rank != nullptr) (*rank)[i] = static_cast<int32_t>(last);
    }
    keys.resize(last + 1);
    keys_ = std::move(keys);
  } else {
    std::vector<Entry> entries(keys.size());
    for (size_t i = 0; i < keys.size(); ++i) entries[i] = {keys[i], static_cast<int32_t>(i)};
    SortByKey(&entries);
    for (const Entry& entry : entries) {
      if (keys_.empty() || keys_.back() != entry.key) keys_.push_back(entry.key);
      if (rank != nullptr) (*rank)[entry.id] = static_cast<int32_t>(keys_.size()) - 1;
    }
  }
  IndexBlocks();
}

void VoxelSet::IndexBlocks() {
  const auto add = [](uint64_t key, int32_t number, std::vector<Node>* nodes) {
    if (nodes->empty() || nodes->back().key != key >> 6) nodes->push_back({key >> 6, 0, number});
    nodes->back().mask |= uint64_t{1} << (key & 63);
  };
  for (size_t i = 0; i < keys_.size(); ++i) add(keys_[i], static_cast<int32_t>(i), &blocks_);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    add(blocks_[i].key, static_cast<int32_t>(i), &regions_);
  }
  slots_.assign(std::bit_ceil(2 * regions_.size() + 1), -1);
  slot_mask_ = slots_.size() - 1;
  for (size_t i = 0; i < regions_.size(); ++i) {
    uint64_t slot = Hash(regions_[i].key) & slot_mask_;
    while (slots_[slot] >= 0) slot = (slot + 1) & slot_mask_;
    slots_[slot] = static_cast<int32_t>(i);
  }
}

uint64_t ParentKey(uint64_t key) {
  // Halved, the bias of every coordinate is half of what it has to be. Adding the other half flips
  // the bit below the top one and carries it up.
  constexpr int kTop = kMortonBits - 6;
  const uint64_t batch = key >> kMortonBits << kMortonBits;
  const uint64_t halved = (key ^ batch) >> 3;
  const uint64_t top = halved >> kTop;
  return batch | top << (kTop + 3) | (~top & 7) << kTop | (halved & ((uint64_t{1} << kTop) - 1));
}

VoxelSet MakeVoxelSet(const VoxelCell* cells, int64_t n, std::vector<int32_t>* rank) {
  CheckCount(n);
  std::vector<uint64_t> keys(n);
  ParallelFor(n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const VoxelCell& c = cells[i];
      ATHANOR_CHECK(IsValidCell(c), "voxel ", i, ": expected batch 0..", kMaxVoxelBatch,
                    " and coordinates within +-", kMaxVoxelCoordinate, ", found batch ", c.batch,
                    " (", c.x, ", ", c.y, ", ", c.z, ")");
      keys[i] = VoxelKey(c);
    }
  });
  return VoxelSet(std::move(keys), rank);
}

VoxelSet Voxelize(const float* points, const int32_t* batch, int64_t n, double voxel_size,
                  std::vector<int32_t>* rank) {
  CheckCount(n);
  ATHANOR_CHECK(voxel_size > 0 && std::isfinite(voxel_size),
                "voxel size: expected a number above 0, found ", voxel_size);
  std::vector<uint64_t> keys(n);
  ParallelFor(n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      double at[3];
      for (int axis = 0; axis < 3; ++axis) {
        at[axis] = std::floor(double{points[3 * i + axis]} / voxel_size);
        ATHANOR_CHECK(std::abs(at[axis]) <= kMaxVoxelCoordinate, "point ", i,
                      ": expected coordinates within +-", kMaxVoxelCoordinate * voxel_size,
                      " (voxels of ", voxel_size, "), found ", points[3 * i + axis]);
      }
      const VoxelCell cell = {batch != nullptr ? batch[i] : 0, static_cast<int32_t>(at[0]),
                              static_cast<int32_t>(at[1]), static_cast<int32_t>(at[2])};
      ATHANOR_CHECK(cell.batch >= 0 && cell.batch <= kMaxVoxelBatch, "point ", i,
                    ": expected batch 0..", kMaxVoxelBatch, ", found ", cell.batch);
      keys[i] = VoxelKey(cell);
    }
  });
  return VoxelSet(std::move(keys), rank);
}

VoxelMembers GroupByVoxel(const std::vector<int32_t>& rank, int64_t num_voxels) {
  VoxelMembers members;
  members.starts.assign(num_voxels + 1, 0);
  for (const int32_t voxel : rank) ++members.starts[voxel + 1];
  for (int64_t v = 0; v < num_voxels; ++v) members.starts[v + 1] += members.starts[v];
  std::vector<int32_t> next(members.starts.begin(), members.starts.end() - 1);
  members.ids.resize(rank.size());
  for (size_t i = 0; i < rank.size(); ++i) members.ids[next[rank[i]]++] = static_cast<int32_t>(i);
  return members;
}

void VoxelMeansCpu(const VoxelMembers& members, const float* features, int channels, float* means) {
  const auto voxels = static_cast<int64_t>(members.starts.size()) - 1;
  ParallelFor(voxels, 1024, [&](int64_t begin, int64_t end) {
    for (int64_t v = begin; v < end; ++v) {
      float* mean = means + v * channels;
      std::fill_n(mean, channels, 0.0f);
      for (int32_t i = members.starts[v]; i < members.starts[v + 1]; ++i) {
        const float* row = features + int64_t{members.ids[i]} * channels;
        for (int c = 0; c < channels; ++c) mean[c] += row[c];
      }
      const float scale = 1.0f / static_cast<float>(members.starts[v + 1] - members.starts[v]);
      for (int c = 0; c < channels; ++c) mean[c] *= scale;
    }
  });
}

}  // namespace athanor
