// hnswlib as it comes: its inner-product space over float32, its own search, compiled for the
// machine at hand. The peer of vector_benchmark.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

namespace athanor {

class HnswlibPeer {
 public:
  // `vectors`: [N,dimension]. Builds its own graph.
  HnswlibPeer(std::span<const float> vectors, int dimension, int links, int build_width);
  // Takes the graph that VectorIndex::Save wrote: the same links, so that searches can be compared.
  HnswlibPeer(std::span<const float> vectors, int dimension, const std::filesystem::path& graph);
  ~HnswlibPeer();

  std::vector<int64_t> Search(const float* query, int k, int width);

 private:
  struct Index;
  std::unique_ptr<Index> index_;
};

}  // namespace athanor
