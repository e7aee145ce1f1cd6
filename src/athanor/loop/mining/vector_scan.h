// An exact search: every row of a VectorTable that a filter lets through is scored. What a search
// returns, whichever way it was done, is here too.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "athanor/loop/mining/vector_table.h"

namespace athanor {

// Which rows may be found. Both given: both have to agree.
struct VectorFilter {
  std::vector<uint64_t> rows;                 // bitmap over the table's rows; empty: all
  std::function<bool(int64_t id)> predicate;  // null: all. Called from the searching threads
};
// A filter that lets these ids through; ids that are not there do not matter.
VectorFilter FilterOf(const VectorTable& table, std::span<const int64_t> ids);

// Whether a row is live and may be found.
bool Passes(const VectorTable& table, const VectorFilter* filter, int64_t row);

enum class SearchPlan { kAuto, kGraph, kScan };

struct VectorHit {
  int64_t id = 0, row = 0;
  float score = 0;  // cosine or inner product: more is nearer
};

struct VectorSearchResult {
  std::vector<VectorHit> hits;  // best first, equal scores by row; fewer than k when fewer pass
  SearchPlan plan = SearchPlan::kScan;  // what was done
  double recall = 1;                    // expected share of the true k best; NaN: not measured
  double passing = 0;                   // rows that the filter lets through, estimated if need be
  int64_t scored = 0;                   // distances taken

  // "scan of 1,012 of 1,000,000 rows, exact".
  std::string Explain(int64_t rows) const;
};

// The best k by score, then by row: the same whatever order rows come in.
class TopK {
 public:
  explicit TopK(int k) : k_(k) { heap_.reserve(std::min(k, 4096)); }

  // Nothing at or below this gets in any more (a later row loses a tie).
  float threshold() const {
    return static_cast<int>(heap_.size()) < k_ ? -std::numeric_limits<float>::infinity()
                                               : heap_.front().first;
  }
  void Add(float score, uint32_t row) {
    const std::pair<float, uint32_t> entry(score, row);
    if (static_cast<int>(heap_.size()) < k_) {
      heap_.push_back(entry);
      std::push_heap(heap_.begin(), heap_.end(), Better);
    } else if (Better(entry, heap_.front())) {
      std::pop_heap(heap_.begin(), heap_.end(), Better);
      heap_.back() = entry;
      std::push_heap(heap_.begin(), heap_.end(), Better);
    }
  }
  void Add(const TopK& other) {
    for (const auto& [score, row] : other.heap_) Add(score, row);
  }
  std::vector<VectorHit> Take(const VectorTable& table) {
    std::sort(heap_.begin(), heap_.end(), Better);
    std::vector<VectorHit> hits;
    for (const auto& [score, row] : heap_) hits.push_back({table.id(row), row, score});
    return hits;
  }

 private:
  static bool Better(const std::pair<float, uint32_t>& a, const std::pair<float, uint32_t>& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  }

  int k_;
  std::vector<std::pair<float, uint32_t>> heap_;
};

// `queries`: encoded for the table. Exact, on all cores; each row is read once for every four of
// them.
std::vector<VectorSearchResult> ScanTable(const VectorTable& table,
                                          std::span<const EncodedQuery* const> queries, int k,
                                          const VectorFilter* filter);

}  // namespace athanor
