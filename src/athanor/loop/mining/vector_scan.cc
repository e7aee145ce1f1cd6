#include "athanor/loop/mining/vector_scan.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"

namespace athanor {
namespace {

constexpr int64_t kScanRows = 1024;      // scored at a time
constexpr int64_t kScanChunk = 1 << 16;  // rows of a task
constexpr int kQueriesAtOnce = 4;

bool InBitmap(const std::vector<uint64_t>& bitmap, int64_t row) {
  return row / 64 < static_cast<int64_t>(bitmap.size()) && ((bitmap[row / 64] >> (row % 64)) & 1);
}

// Scores the rows of [begin, end) that pass, a block at a time.
void ScanRange(const VectorTable& table, std::span<const EncodedQuery* const> queries,
               const VectorFilter* filter, int64_t begin, int64_t end, std::vector<TopK>* tops,
               int64_t* scored) {
  std::vector<const void*> pointers;
  std::vector<uint32_t> rows;
  std::vector<float> scores;
  pointers.reserve(kScanRows), rows.reserve(kScanRows);
  const auto flush = [&] {
    const auto n = static_cast<int64_t>(rows.size());
    scores.resize(queries.size() * n);
    VectorScoresCpu({table.layout(), static_cast<int>(queries.size()), queries.data(), n,
                     pointers.data(), scores.data()});
    for (size_t q = 0; q < queries.size(); ++q) {
      TopK& top = (*tops)[q];
      float threshold = top.threshold();
      for (int64_t i = 0; i < n; ++i) {
        const float score = scores[q * n + i];
        if (score < threshold) continue;
        top.Add(score, rows[i]);
        threshold = top.threshold();
      }
    }
    *scored += n * static_cast<int64_t>(queries.size());
    rows.clear(), pointers.clear();
  };
  const auto take = [&](int64_t row) {
    if (!Passes(table, filter, row)) return;
    rows.push_back(static_cast<uint32_t>(row));
    pointers.push_back(table.row(row));
    if (static_cast<int64_t>(rows.size()) == kScanRows) flush();
  };
  if (filter != nullptr && !filter->rows.empty()) {
    for (int64_t word = begin / 64; word < (end + 63) / 64; ++word) {
      if (word >= static_cast<int64_t>(filter->rows.size())) break;
      for (uint64_t bits = filter->rows[word]; bits != 0; bits &= bits - 1) {
        const int64_t row = word * 64 + std::countr_zero(bits);
        if (row < end) take(row);
      }
    }
  } else {
    for (int64_t row = begin; row < end; ++row) take(row);
  }
  flush();
}

}  // namespace

VectorFilter FilterOf(const VectorTable& table, std::span<const int64_t> ids) {
  VectorFilter filter;
  filter.rows.assign(table.rows() / 64 + 1, 0);
  for (const int64_t id : ids) {
    const int64_t row = table.Find(id);
    if (row >= 0 && row / 64 < static_cast<int64_t>(filter.rows.size())) {
      filter.rows[row / 64] |= uint64_t{1} << (row % 64);
    }
  }
  return filter;
}

bool Passes(const VectorTable& table, const VectorFilter* filter, int64_t row) {
  if (table.is_deleted(row)) return false;
  if (filter == nullptr) return true;
  if (!filter->rows.empty() && !InBitmap(filter->rows, row)) return false;
  return !filter->predicate || filter->predicate(table.id(row));
}

std::string VectorSearchResult::Explain(int64_t rows) const {
  if (plan == SearchPlan::kScan) {
    return StrCat("scan of ", static_cast<int64_t>(passing), " of ", rows, " rows, exact");
  }
  const std::string expected =
      std::isnan(recall) ? "unknown" : StrCat(std::round(recall * 1000) / 1000);
  return StrCat("walk of the graph, ", scored, " of ", rows, " rows scored, about ",
                static_cast<int64_t>(passing), " pass, expected recall ", expected);
}

std::vector<VectorSearchResult> ScanTable(const VectorTable& table,
                                          std::span<const EncodedQuery* const> queries, int k,
                                          const VectorFilter* filter) {
  const int64_t rows = table.rows(), chunks = (rows + kScanChunk - 1) / kScanChunk;
  const auto count = static_cast<int64_t>(queries.size());
  std::vector<VectorSearchResult> results;
  for (int64_t first = 0; first < count; first += kQueriesAtOnce) {
    const auto some = queries.subspan(first, std::min<int64_t>(kQueriesAtOnce, count - first));
    std::vector<std::vector<TopK>> tops(std::max<int64_t>(chunks, 1),
                                        std::vector<TopK>(some.size(), TopK(k)));
    std::vector<int64_t> scored(std::max<int64_t>(chunks, 1), 0);
    ParallelChunks(chunks, [&](int64_t chunk) {
      ScanRange(table, some, filter, chunk * kScanChunk, std::min(rows, (chunk + 1) * kScanChunk),
                &tops[chunk], &scored[chunk]);
    });
    const int64_t total = std::accumulate(scored.begin(), scored.end(), int64_t{0});
    for (size_t q = 0; q < some.size(); ++q) {
      for (int64_t chunk = 1; chunk < chunks; ++chunk) tops[0][q].Add(tops[chunk][q]);
      VectorSearchResult result;
      result.hits = tops[0][q].Take(table);
      result.scored = total / static_cast<int64_t>(some.size());
      result.passing = static_cast<double>(result.scored);
      results.push_back(std::move(result));
    }
  }
  return results;
}

}  // namespace athanor
