// A feature vector per Gaussian, kept whole or compressed; scored against text vectors as it is.
//
// Stores: full float16 rows; product quantisation (Jegou et al. 2011; Dr.Splat, Kim et al. 2025); a
// codebook of 64 with 4 terms per Gaussian (LangSplatV2, Li et al. 2025); the 2-byte number of a
// cluster (as LightSplat keeps it, 2026).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace athanor {

enum class FeatureStore { kHalf, kProduct, kCodebook, kCluster };
// "half", "product", "codebook", "cluster". FromName throws Error for others.
std::string_view FeatureStoreName(FeatureStore store);
FeatureStore FeatureStoreFromName(std::string_view name);

// N vectors of length D, kept in one of the ways above. All tensors are on the CPU. Thread-safe
// while it is only read.
class FeatureTable {
 public:
  FeatureTable() = default;
  // rows: [N,D] f16 or f32. Each becomes of length 1; a row of zeros stays so. Throws Error for
  // another type or shape, or naming a row that is not finite.
  static FeatureTable FromRows(const at::Tensor& rows);

  // The same vectors in another store. Tables are learnt from a sample of the rows that are not
  // zero, drawn from `seed`; same seed, same bytes. Zero rows stay exactly zero.
  FeatureTable Compress(FeatureStore store, uint64_t seed = 0) const;

  FeatureStore store() const { return store_; }
  int64_t size() const { return size_; }
  int dimension() const { return dimension_; }
  // Per row, and of the tables that all rows share.
  double bytes_per_row() const;
  int64_t table_bytes() const;

  // rows: [R] i64 -> [R,D] f32, as stored: of length 1 up to the store's error, or zero.
  at::Tensor Decode(const at::Tensor& rows) const;
  // [N,D] f32. For N as large as memory allows.
  at::Tensor DecodeAll() const;
  // The first of these rows ([R] i64) that is not all zeros, as an index into `rows`; -1: none.
  int64_t FindNonZero(const at::Tensor& rows) const;
  // These rows ([R] i64) in the same store, in their order.
  FeatureTable TakeRows(const at::Tensor& rows) const;
  // targets: [P,D] f32 -> [N,P] f32, the dot product of every row with every target: cosines when
  // targets have length 1. 0 for a row of zeros. Throws Error for another length of vectors.
  at::Tensor Score(const at::Tensor& targets) const;

  // By name, for files. FromState checks shapes and codes against each other; throws Error naming
  // `where`.
  std::vector<std::pair<std::string, at::Tensor>> State() const;
  static FeatureTable FromState(FeatureStore store, int dimension,
                                const std::vector<std::pair<std::string, at::Tensor>>& state,
                                std::string_view where);

 private:
  FeatureStore store_ = FeatureStore::kHalf;
  int64_t size_ = 0;
  int dimension_ = 0;
  at::Tensor rows_;     // kHalf: [N,D] f16
  at::Tensor codes_;    // kProduct: [N,M] u8; kCodebook [N,8], kCluster [N,2] u8: 16-bit numbers
  at::Tensor weights_;  // kCodebook: [N,4] f16
  at::Tensor table_;    // kProduct: [M,256,8] f32, M = D/8 rounded up; else [entries,D] f32
};

}  // namespace athanor
