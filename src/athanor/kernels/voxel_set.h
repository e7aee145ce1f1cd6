// Sparse voxels: a sorted set of integer cells, and the points that fall into them.
//
// Cells lie along a Z-order curve (Morton 1966), so that neighbours in space are neighbours in
// memory and a cell's parent at half the resolution keeps its place in the order. They are found
// through a tree of two levels of 64 bits: blocks of 4x4x4 cells, regions of 4x4x4 blocks, and a
// hash table of the regions, which stays in cache. Same input, same bytes, whatever the threads.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace athanor {

struct VoxelCell {
  int32_t batch, x, y, z;
  bool operator==(const VoxelCell&) const = default;
};

// Cells of this range and batch have a key.
inline constexpr int32_t kMaxVoxelCoordinate = (1 << 18) - 32;
inline constexpr int32_t kMaxVoxelBatch = 126;

inline bool IsValidCell(const VoxelCell& cell) {
  const auto inside = [](int32_t v) {
    return v >= -kMaxVoxelCoordinate && v <= kMaxVoxelCoordinate;
  };
  return cell.batch >= 0 && cell.batch <= kMaxVoxelBatch && inside(cell.x) && inside(cell.y) &&
         inside(cell.z);
}

// 7 bits of batch over 57 bits of Z-order, x before y before z. The cell has to be valid, but for
// neighbours up to 16 cells outside. The lower 6 bits are the place in its 4x4x4 block.
uint64_t VoxelKey(const VoxelCell& cell);
VoxelCell CellOfKey(uint64_t key);

class VoxelSet {
 public:
  VoxelSet() = default;
  // Keys in any order, each any number of times. `rank`, when not null, gets the voxel of each.
  explicit VoxelSet(std::vector<uint64_t> keys, std::vector<int32_t>* rank = nullptr);

  int64_t size() const { return static_cast<int64_t>(keys_.size()); }
  const std::vector<uint64_t>& keys() const { return keys_; }  // [V], rising

  // 4x4x4 cells (a block) or 4x4x4 blocks (a region), with at least one in it.
  struct Node {
    uint64_t key;   // of its members, shifted right by 6
    uint64_t mask;  // bit (key & 63) of each member
    int32_t first;  // number of the member with the lowest bit
    // The member's number, -1 when there is none.
    int32_t Find(int bit) const {
      if ((mask >> bit & 1) == 0) return -1;
      return first + std::popcount(mask & ((uint64_t{1} << bit) - 1));
    }
  };
  const std::vector<Node>& blocks() const { return blocks_; }
  // Null when there is none.
  const Node* FindRegion(uint64_t region_key) const {
    if (regions_.empty()) return nullptr;
    for (uint64_t slot = Hash(region_key) & slot_mask_;; slot = (slot + 1) & slot_mask_) {
      const int32_t region = slots_[slot];
      if (region < 0) return nullptr;
      if (regions_[region].key == region_key) return &regions_[region];
    }
  }
  // The voxel's number, -1 when there is none.
  int32_t Find(uint64_t key) const {
    const Node* region = FindRegion(key >> 12);
    const int32_t block = region == nullptr ? -1 : region->Find(static_cast<int>(key >> 6 & 63));
    return block < 0 ? -1 : blocks_[block].Find(static_cast<int>(key & 63));
  }

 private:
  static uint64_t Hash(uint64_t key) {
    key *= 0x9e3779b97f4a7c15ull;
    return key ^ (key >> 32);
  }
  void IndexBlocks();

  std::vector<uint64_t> keys_;
  std::vector<Node> blocks_, regions_;
  std::vector<int32_t> slots_;  // open addressing, at most half full; -1 = free
  uint64_t slot_mask_ = 0;
};

// The key of the cell at half the resolution, every coordinate halved and rounded down. Rises with
// the key. The place of the cell in its parent, x before y before z, is key & 7.
uint64_t ParentKey(uint64_t key);

// Cells [N]. Throws Error (which row) for a cell out of range, or 2^31 rows or more.
VoxelSet MakeVoxelSet(const VoxelCell* cells, int64_t n, std::vector<int32_t>* rank);

// Points fall into cells floor(p / voxel_size). Throws Error for a point that is not finite or
// falls out of range.
//   points  [N,3], metres
//   batch   [N]; null: all 0
//   rank    [N] out: the voxel of each point
VoxelSet Voxelize(const float* points, const int32_t* batch, int64_t n, double voxel_size,
                  std::vector<int32_t>* rank);

// The points of each voxel: those of voxel v are ids[starts[v] .. starts[v+1]], rising.
struct VoxelMembers {
  std::vector<int32_t> starts;  // [V+1]
  std::vector<int32_t> ids;     // [N]
};
VoxelMembers GroupByVoxel(const std::vector<int32_t>& rank, int64_t num_voxels);

// means [V,C]: the mean over each voxel's points of features [N,C].
void VoxelMeansCpu(const VoxelMembers& members, const float* features, int channels, float* means);

}  // namespace athanor
