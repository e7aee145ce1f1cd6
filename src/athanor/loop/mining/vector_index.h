// Nearest neighbours in a VectorTable by cosine or inner product: a graph (HNSW, Malkov and
// Yashunin 2018, built by hnswlib) over the rows where they lie in the table, an exact scan
// (vector_scan.h), and a planner that takes the cheaper one and says which (search_planner.h).
//
// The graph holds row numbers, not vectors: with 16 links about 205 bytes a row, links (144), upper
// levels (5) and what hnswlib keeps beside them. 10 M rows of 256-d: 2.1 GB beside 5.3 GB of f16 or
// 2.8 GB of i8. It is walked by a traversal of our own, which fetches the rows of a whole list of
// neighbours ahead, takes filters into the walk, and never throws for too few results.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "athanor/loop/mining/search_planner.h"
#include "athanor/loop/mining/vector_scan.h"
#include "athanor/loop/mining/vector_table.h"

namespace athanor {

struct VectorIndexOptions {
  int links = 16;         // per row and level, twice as many on the lowest: 2 .. 128
  int build_width = 120;  // candidates looked at for each new row
  uint64_t seed = 1;
};

struct VectorSearchOptions {
  int width = 64;  // candidates that a walk keeps: recall against time; at least k are kept
  const VectorFilter* filter = nullptr;
  SearchPlan plan = SearchPlan::kAuto;
};

// Searches run at any time, from any threads; one thread may add, remove or save meanwhile. A
// search sees a row or does not, never half of one.
class VectorIndex {
 public:
  explicit VectorIndex(std::shared_ptr<VectorTable> table, const VectorIndexOptions& options = {});
  // Reads the graph of `table`. Throws Error (path, byte) for a damaged file or another table's.
  static std::unique_ptr<VectorIndex> Load(const std::filesystem::path& path,
                                           std::shared_ptr<VectorTable> table);
  ~VectorIndex();

  const VectorTable& table() const { return *table_; }
  // Rows of the table that are in the graph; scans see the others too.
  int64_t indexed_rows() const;
  int64_t graph_bytes() const;

  // Into the table and the graph.
  void Add(std::span<const int64_t> ids, std::span<const float> vectors);
  int64_t Remove(std::span<const int64_t> ids) { return table_->Remove(ids); }
  // Into the graph, what the table has and the graph has not: at most `limit` rows, on all cores.
  // How many it added.
  int64_t AddMissing(int64_t limit = VectorTable::kMaxRows);
  void Save(const std::filesystem::path& path) const;

  // `query`: [dimension], any length for cosine. Throws Error for NaN and for k < 1.
  VectorSearchResult Search(std::span<const float> query, int k,
                            const VectorSearchOptions& options = {}) const;
  // `queries`: [Q,dimension]. Exact, all at once: each row is read once for every four of them.
  std::vector<VectorSearchResult> Scan(std::span<const float> queries, int k,
                                       const VectorFilter* filter = nullptr) const;

  // Asks for `samples` of its own rows with noise on them, by walk and by scan, at widths of 16 to
  // 512: what Search then states. Costs a scan for every four samples.
  void MeasureRecall(int samples = 64, int k = 10);
  // The narrowest measured width that reaches `recall`, or the widest. Throws Error when none was
  // measured.
  int WidthFor(double recall) const;

 private:
  struct Graph;
  struct Query;

  VectorSearchResult Walk(const Query& query, int k, int width, const VectorFilter* filter) const;
  VectorSearchResult ScanOne(const Query& query, int k, const VectorFilter* filter) const;

  std::shared_ptr<VectorTable> table_;
  VectorIndexOptions options_;
  std::unique_ptr<Graph> graph_;
  RecallCurve recalls_;
};

}  // namespace athanor
