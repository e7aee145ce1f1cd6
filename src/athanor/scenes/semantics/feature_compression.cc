// Learns the tables of compressed features: k-means, as plain or spherical, and sparse terms.
#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/base/random.h"
#include "athanor/scenes/semantics/feature_table.h"

namespace athanor {
namespace {

constexpr int kPartLength = 8, kPartEntries = 256;
constexpr int kCodebookEntries = 64, kCodebookTerms = 4;
constexpr int kClusters = 511;  // and the zero vector
constexpr int64_t kMaxSample = 32768;
constexpr int kRounds = 12;

// Index of the nearest centre: argmin |x|^2 - 2 x.c + |c|^2.
at::Tensor Nearest(const at::Tensor& rows, const at::Tensor& centers) {
  const at::Tensor square = at::sum(centers * centers, {1});
  return at::argmin(at::addmm(square, rows, centers.t(), /*beta=*/1, /*alpha=*/-2), 1);
}

// Lloyd's rounds from rows that lie apart (k-means++ on a random shortlist would cost as much as
// the rounds): the first centre is drawn, each further one is the row farthest from all so far.
// Farthest points begin with outliers; a round moves them to the middle of what they took.
at::Tensor KMeans(const at::Tensor& rows, int64_t k, bool spherical, Random* random) {
  const int64_t n = rows.size(0);
  k = std::min(k, n);
  at::Tensor centers = at::empty({k, rows.size(1)});
  at::Tensor distance = at::full({n}, std::numeric_limits<float>::infinity());
  int64_t next = random->Below(static_cast<uint32_t>(n));
  int64_t used = 0;
  while (used < k) {
    centers[used] = rows[next];
    ++used;
    distance = at::minimum(distance, at::sum(at::square(rows - rows[next]), {1}));
    next = at::argmax(distance).item<int64_t>();
    if (distance[next].item<float>() < 1e-9f) break;  // every row is a centre
  }
  centers = centers.narrow(0, 0, used).clone();
  for (int round = 0; round < kRounds; ++round) {
    const at::Tensor nearest = Nearest(rows, centers);
    at::Tensor sums = at::zeros_like(centers).index_add_(0, nearest, rows);
    const at::Tensor counts = at::bincount(nearest, {}, used).to(at::kFloat).view({used, 1});
    at::Tensor means = sums / at::clamp_min(counts, 1);
    if (spherical) means = means / at::clamp_min(at::norm(means, 2, {1}, true), 1e-12);
    const at::Tensor moved = at::where(counts > 0, means, centers);
    if (at::equal(moved, centers)) break;
    centers = moved;
  }
  return centers;
}

// The weights of `terms` entries whose sum comes nearest to each row: the entry that fits the rest
// best joins, then all weights are solved for anew (orthogonal matching pursuit). Entries are unit
// vectors; weights may be of either sign.
void MatchTerms(const at::Tensor& rows, const at::Tensor& entries, int64_t first, uint16_t* codes,
                at::Half* weights) {
  const int64_t count = rows.size(0), entry_count = entries.size(0);
  const at::Tensor fit_of = at::mm(rows, entries.t()).contiguous();
  const at::Tensor gram_of = at::mm(entries, entries.t()).contiguous();
  const float* all_fits = fit_of.data_ptr<float>();
  const float* gram = gram_of.data_ptr<float>();
  ParallelFor(count, 512, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* fit = all_fits + i * entry_count;
      int chosen[kCodebookTerms] = {};
      double weight[kCodebookTerms] = {};
      int used = 0;
      for (; used < kCodebookTerms && used < entry_count; ++used) {
        int best = -1;
        double best_rest = 1e-6;
        for (int e = 0; e < entry_count; ++e) {
          if (std::find(chosen, chosen + used, e) != chosen + used) continue;
          double rest = fit[e];
          for (int k = 0; k < used; ++k) rest -= weight[k] * gram[e * entry_count + chosen[k]];
          if (std::abs(rest) > best_rest) best = e, best_rest = std::abs(rest);
        }
        if (best < 0) break;
        chosen[used] = best;
        // Cholesky of the chosen part of the Gram matrix, slightly loaded on the diagonal.
        const int size = used + 1;
        double l[kCodebookTerms][kCodebookTerms] = {}, y[kCodebookTerms];
        for (int r = 0; r < size; ++r) {
          for (int c = 0; c <= r; ++c) {
            double sum = gram[chosen[r] * entry_count + chosen[c]] + (r == c ? 1e-4 : 0);
            for (int k = 0; k < c; ++k) sum -= l[r][k] * l[c][k];
            l[r][c] = r == c ? std::sqrt(std::max(sum, 1e-6)) : sum / l[c][c];
          }
        }
        for (int r = 0; r < size; ++r) {
          y[r] = fit[chosen[r]];
          for (int k = 0; k < r; ++k) y[r] -= l[r][k] * y[k];
          y[r] /= l[r][r];
        }
        for (int r = size - 1; r >= 0; --r) {
          weight[r] = y[r];
          for (int k = r + 1; k < size; ++k) weight[r] -= l[k][r] * weight[k];
          weight[r] /= l[r][r];
        }
      }
      for (int k = 0; k < kCodebookTerms; ++k) {
        codes[(first + i) * kCodebookTerms + k] = static_cast<uint16_t>(chosen[k]);
        weights[(first + i) * kCodebookTerms + k] = static_cast<float>(k < used ? weight[k] : 0);
      }
    }
  });
}

}  // namespace

FeatureTable FeatureTable::Compress(FeatureStore store, uint64_t seed) const {
  if (store == store_) return *this;
  ATHANOR_CHECK(store_ == FeatureStore::kHalf, "features: they are kept as '",
                FeatureStoreName(store_), "'; only full rows can be compressed");
  if (store == FeatureStore::kHalf) return *this;
  FeatureTable out;
  out.store_ = store, out.size_ = size_, out.dimension_ = dimension_;
  Random random(seed);

  // A sample of the rows that say something.
  std::vector<int64_t> filled;
  constexpr int64_t kBlock = 16384;
  at::Tensor is_filled = at::empty({size_}, at::kBool);
  for (int64_t first = 0; first < size_; first += kBlock) {
    const int64_t count = std::min(kBlock, size_ - first);
    is_filled.narrow(0, first, count)
        .copy_(rows_.narrow(0, first, count).to(at::kFloat).abs().amax(1) > 0);
  }
  const bool* flag = is_filled.data_ptr<bool>();
  for (int64_t i = 0; i < size_; ++i) {
    if (flag[i]) filled.push_back(i);
  }
  const auto sample_size = std::min<int64_t>(kMaxSample, static_cast<int64_t>(filled.size()));
  for (int64_t i = 0; i < sample_size; ++i) {
    const auto left = static_cast<uint32_t>(filled.size() - static_cast<size_t>(i));
    std::swap(filled[i], filled[i + random.Below(left)]);
  }
  const at::Tensor sample =
      Decode(at::tensor(at::ArrayRef<int64_t>(filled.data(), sample_size), at::kLong));

  const bool product = store == FeatureStore::kProduct;
  const int64_t parts = (dimension_ + kPartLength - 1) / kPartLength;
  const auto pad = [&](const at::Tensor& rows) {
    at::Tensor padded = at::zeros({rows.size(0), parts * kPartLength});
    padded.narrow(1, 0, dimension_).copy_(rows);
    return padded.view({rows.size(0), parts, kPartLength});
  };
  if (product) {
    // Entry 0 of each part is zero, so that rows of zeros stay so.
    out.table_ = at::zeros({parts, kPartEntries, kPartLength});
    out.codes_ = at::zeros({size_, parts}, at::kByte);
    if (sample_size > 0) {
      const at::Tensor padded = pad(sample);
      for (int64_t m = 0; m < parts; ++m) {
        const at::Tensor centers =
            KMeans(padded.select(1, m).contiguous(), kPartEntries - 1, false, &random);
        out.table_[m].narrow(0, 1, centers.size(0)).copy_(centers);
        // Unused entries repeat a centre: they are never nearer.
        const int64_t left = kPartEntries - 1 - centers.size(0);
        if (left > 0)
          out.table_[m]
              .narrow(0, 1 + centers.size(0), left)
              .copy_(centers[0].expand({left, kPartLength}));
      }
    }
  } else {
    const bool cluster = store == FeatureStore::kCluster;
    const int64_t entries = cluster ? kClusters : kCodebookEntries;
    at::Tensor centers =
        sample_size > 0 ? KMeans(sample, entries, true, &random) : at::zeros({1, dimension_});
    out.table_ = cluster ? at::cat({at::zeros({1, dimension_}), centers}) : centers;
    out.codes_ = at::zeros({size_, 2 * (cluster ? 1 : kCodebookTerms)}, at::kByte);
    if (!cluster) out.weights_ = at::zeros({size_, kCodebookTerms}, at::kHalf);
  }
  if (sample_size == 0) return out;

  for (int64_t first = 0; first < size_; first += kBlock) {
    const int64_t count = std::min(kBlock, size_ - first);
    const at::Tensor rows = rows_.narrow(0, first, count).to(at::kFloat);
    if (product) {
      const at::Tensor padded = pad(rows);
      for (int64_t m = 0; m < parts; ++m) {
        out.codes_.narrow(0, first, count)
            .select(1, m)
            .copy_(Nearest(padded.select(1, m).contiguous(), out.table_[m]).to(at::kByte));
      }
      out.codes_.narrow(0, first, count)
          .masked_fill_(at::logical_not(is_filled.narrow(0, first, count)).view({count, 1}), 0);
    } else if (store == FeatureStore::kCodebook) {
      MatchTerms(rows, out.table_, first, static_cast<uint16_t*>(out.codes_.data_ptr()),
                 out.weights_.data_ptr<at::Half>());
    } else {
      const at::Tensor nearest = Nearest(rows, out.table_.narrow(0, 1, out.table_.size(0) - 1)) + 1;
      const at::Tensor code = nearest * is_filled.narrow(0, first, count).to(at::kLong);
      const int64_t* from = code.data_ptr<int64_t>();
      auto* codes = static_cast<uint16_t*>(out.codes_.data_ptr());
      for (int64_t i = 0; i < count; ++i) codes[first + i] = static_cast<uint16_t>(from[i]);
    }
  }
  return out;
}

}  // namespace athanor
