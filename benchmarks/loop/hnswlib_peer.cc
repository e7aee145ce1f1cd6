#include "benchmarks/loop/hnswlib_peer.h"

// A namespace of its own: this file is compiled for other instructions than the library's.
#define hnswlib hnswlib_native
#include <hnswlib/hnswlib.h>
#undef hnswlib

#include "athanor/base/files.h"

namespace athanor {

namespace peer = hnswlib_native;

struct HnswlibPeer::Index {
  peer::InnerProductSpace space;
  peer::HierarchicalNSW<float> hnsw;

  Index(int dimension, size_t n, int links, int build_width)
      : space(dimension), hnsw(&space, n, links, build_width) {}
};

HnswlibPeer::HnswlibPeer(std::span<const float> vectors, int dimension, int links,
                         int build_width) {
  const size_t n = vectors.size() / dimension;
  index_ = std::make_unique<Index>(dimension, n, links, build_width);
  for (size_t i = 0; i < n; ++i) index_->hnsw.addPoint(vectors.data() + i * dimension, i);
}

HnswlibPeer::HnswlibPeer(std::span<const float> vectors, int dimension,
                         const std::filesystem::path& graph) {
  const std::string bytes = ReadFile(graph);
  ByteReader in(bytes, graph.string());
  in.Take(16, "magic");
  const auto links = in.Read<int32_t>("links"), width = in.Read<int32_t>("width");
  in.Read<uint64_t>("seed");
  in.Take(16 * in.Read<uint64_t>("recalls"), "recalls");
  const auto entry = in.Read<uint32_t>("entry");
  const auto top = in.Read<int32_t>("top");
  const auto nodes = in.Read<uint64_t>("nodes");
  index_ = std::make_unique<Index>(dimension, nodes, links, width);
  auto& hnsw = index_->hnsw;
  for (uint64_t node = 0; node < nodes; ++node) {
    const auto row = in.Read<uint32_t>("row");
    const auto level = in.Read<uint16_t>("level");
    hnsw.element_levels_[node] = level;
    std::memset(hnsw.data_level0_memory_ + node * hnsw.size_data_per_element_, 0,
                hnsw.size_data_per_element_);
    std::memcpy(hnsw.getDataByInternalId(node), vectors.data() + size_t{row} * dimension,
                sizeof(float) * dimension);
    hnsw.setExternalLabel(node, row);
    if (level > 0) {
      hnsw.linkLists_[node] =
          static_cast<char*>(std::calloc(1, hnsw.size_links_per_element_ * level + 1));
    }
    for (int l = 0; l <= level; ++l) {
      auto* list = hnsw.get_linklist_at_level(node, l);
      const auto count = in.Read<uint16_t>("count");
      std::memcpy(list + 1, in.Take(4 * count, "links").data(), 4 * count);
      hnsw.setListCount(list, count);
    }
  }
  hnsw.cur_element_count = nodes;
  hnsw.enterpoint_node_ = entry;
  hnsw.maxlevel_ = top;
}

HnswlibPeer::~HnswlibPeer() = default;

std::vector<int64_t> HnswlibPeer::Search(const float* query, int k, int width) {
  index_->hnsw.setEf(width);
  auto found = index_->hnsw.searchKnn(query, k);
  std::vector<int64_t> ids;
  for (; !found.empty(); found.pop()) ids.push_back(static_cast<int64_t>(found.top().second));
  return ids;
}

}  // namespace athanor
