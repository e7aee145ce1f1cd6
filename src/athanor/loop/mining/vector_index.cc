#include "athanor/loop/mining/vector_index.h"

// Its distances are not used, and without this its header defines functions of its own.
#define NO_MANUAL_VECTORIZATION
#include <hnswlib/hnswlib.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <queue>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/hash.h"
#include "athanor/base/parallel.h"
#include "athanor/base/random.h"

namespace athanor {
namespace {

using Node = hnswlib::tableint;

constexpr char kMagic[] = "ATHGRF01";
constexpr int kMaxLevel = 64;

// What hnswlib calls data is the number of a row here.
class RowSpace : public hnswlib::SpaceInterface<float> {
 public:
  explicit RowSpace(const VectorTable& table)
      : table_(table), dot_(FindVectorDot(table.layout().precision)) {}

  size_t get_data_size() override { return sizeof(uint32_t); }
  hnswlib::DISTFUNC<float> get_dist_func() override { return &Distance; }
  void* get_dist_func_param() override { return this; }

 private:
  static float Distance(const void* a, const void* b, const void* space) {
    const auto& self = *static_cast<const RowSpace*>(space);
    uint32_t row_a, row_b;
    std::memcpy(&row_a, a, sizeof row_a);
    std::memcpy(&row_b, b, sizeof row_b);
    return 1 -
           self.dot_(self.table_.row(row_a), self.table_.row(row_b), self.table_.layout().padded());
  }

  const VectorTable& table_;
  VectorDotFunction dot_;
};

// A search's marks of the nodes that it has seen; a new search needs a new number, not new marks.
struct Visited {
  std::vector<uint16_t> marks;
  uint16_t number = 0;

  void Begin(size_t nodes) {
    if (marks.size() < nodes) marks.resize(nodes + nodes / 4, 0);
    if (++number == 0) {
      std::fill(marks.begin(), marks.end(), 0);
      number = 1;
    }
  }
};

class VisitedPool {
 public:
  std::unique_ptr<Visited> Take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return std::make_unique<Visited>();
    auto taken = std::move(free_.back());
    free_.pop_back();
    return taken;
  }
  void Return(std::unique_ptr<Visited> visited) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(visited));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Visited>> free_;
};

template <typename T>
void AppendValue(std::string* bytes, const T& value) {
  bytes->append(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace

struct VectorIndex::Graph {
  RowSpace space;
  std::unique_ptr<hnswlib::HierarchicalNSW<float>> hnsw;
  // Row of a node. Nodes and rows are numbered alike unless rows were added by several threads.
  std::vector<uint32_t> rows;
  mutable VisitedPool visited;
  mutable std::atomic<double> distances_per_step = 20;
  // Searches share; additions take it alone. A reader-writer lock alone would let a stream of
  // searches keep additions waiting for ever: both pass the gate first.
  mutable std::mutex gate;
  mutable std::shared_mutex mutex;
  std::mutex adding;

  explicit Graph(const VectorTable& table) : space(table) {}

  std::shared_lock<std::shared_mutex> Share() const {
    const std::lock_guard pass(gate);
    return std::shared_lock(mutex);
  }
  std::unique_lock<std::shared_mutex> Own() const {
    const std::lock_guard pass(gate);
    return std::unique_lock(mutex);
  }
  void MakeRoom(size_t nodes, const VectorIndexOptions& options) {
    if (hnsw == nullptr) {
      hnsw = std::make_unique<hnswlib::HierarchicalNSW<float>>(
          &space, std::max<size_t>(nodes, 64), options.links, options.build_width, options.seed);
    } else if (nodes > hnsw->max_elements_) {
      hnsw->resizeIndex(std::max(nodes, hnsw->max_elements_ + hnsw->max_elements_ / 4));
    }
  }
};

struct VectorIndex::Query {
  EncodedQuery encoded;

  static Query Of(const VectorTable& table, std::span<const float> query, int k) {
    const VectorTableSpec& spec = table.spec();
    ATHANOR_CHECK(static_cast<int>(query.size()) == spec.dimension, table.path().string(),
                  ": expected a query of ", spec.dimension, " components, found ", query.size());
    ATHANOR_CHECK(k >= 1, "expected k >= 1, found ", k);
    double square = 0;
    for (size_t c = 0; c < query.size(); ++c) {
      ATHANOR_CHECK(std::isfinite(query[c]), "query: component ", c, " is ", query[c],
                    ", expected a finite number");
      square += double{query[c]} * query[c];
    }
    std::vector<float> unit(query.begin(), query.end());
    if (spec.metric == VectorMetric::kCosine && square > 0) {
      for (float& x : unit) x = static_cast<float>(x / std::sqrt(square));
    }
    return {EncodedQuery(table.layout(), unit.data())};
  }
};

VectorIndex::VectorIndex(std::shared_ptr<VectorTable> table, const VectorIndexOptions& options)
    : table_(std::move(table)), options_(options) {
  ATHANOR_CHECK(options.links >= 2 && options.links <= 128, "expected 2 to 128 links, found ",
                options.links);
  ATHANOR_CHECK(options.build_width >= 1, "expected a build width >= 1, found ",
                options.build_width);
  graph_ = std::make_unique<Graph>(*table_);
}

VectorIndex::~VectorIndex() = default;

int64_t VectorIndex::indexed_rows() const {
  const auto lock = graph_->Share();
  return static_cast<int64_t>(graph_->rows.size());
}

int64_t VectorIndex::graph_bytes() const {
  const auto lock = graph_->Share();
  if (graph_->hnsw == nullptr) return 0;
  const auto& hnsw = *graph_->hnsw;
  int64_t bytes =
      static_cast<int64_t>(hnsw.max_elements_ * (hnsw.size_data_per_element_ + sizeof(void*) +
                                                 sizeof(std::mutex) + sizeof(int)) +
                           graph_->rows.capacity() * sizeof(uint32_t));
  for (size_t node = 0; node < graph_->rows.size(); ++node) {
    bytes += static_cast<int64_t>(hnsw.element_levels_[node] * hnsw.size_links_per_element_);
  }
  return bytes;
}

void VectorIndex::Add(std::span<const int64_t> ids, std::span<const float> vectors) {
  table_->Append(ids, vectors);
  AddMissing();
}

int64_t VectorIndex::AddMissing(int64_t limit) {
  const std::lock_guard adding(graph_->adding);
  const auto first = static_cast<int64_t>(graph_->rows.size());
  const int64_t end = first + std::min(table_->rows() - first, limit);
  // Searches get in between batches. The first rows are added one by one, else they would not see
  // one another.
  constexpr int64_t kBatch = 256, kAlone = 1024;
  for (int64_t begin = first; begin < end;) {
    const int64_t stop = std::min(end, begin + kBatch);
    const auto lock = graph_->Own();
    graph_->MakeRoom(static_cast<size_t>(end), options_);
    auto& hnsw = *graph_->hnsw;
    const auto add = [&](int64_t row) {
      const auto number = static_cast<uint32_t>(row);
      hnsw.addPoint(&number, static_cast<hnswlib::labeltype>(row));
    };
    if (begin < kAlone || NumThreads() == 1) {
      for (int64_t row = begin; row < stop; ++row) add(row);
    } else {
      ParallelFor(stop - begin, 16, [&](int64_t from, int64_t to) {
        for (int64_t i = from; i < to; ++i) add(begin + i);
      });
    }
    for (int64_t node = begin; node < stop; ++node) {
      uint32_t row;
      std::memcpy(&row, hnsw.getDataByInternalId(static_cast<Node>(node)), sizeof row);
      graph_->rows.push_back(row);
    }
    hnsw.label_lookup_.clear();  // rows are never added twice: 40 bytes each
    begin = stop;
  }
  return end - first;
}

VectorSearchResult VectorIndex::Walk(const Query& query, int k, int width,
                                     const VectorFilter* filter) const {
  VectorSearchResult result;
  result.plan = SearchPlan::kGraph;
  const auto lock = graph_->Share();
  if (graph_->rows.empty()) return result;
  const auto& hnsw = *graph_->hnsw;
  const std::vector<uint32_t>& rows = graph_->rows;
  auto visited = graph_->visited.Take();
  visited->Begin(rows.size());
  uint16_t* marks = visited->marks.data();
  const uint16_t mark = visited->number;

  const EncodedQuery* queries[] = {&query.encoded};
  std::vector<Node> nodes;
  std::vector<const void*> pointers;
  std::vector<float> scores;
  const auto score_nodes = [&] {
    pointers.clear();
    for (const Node node : nodes) pointers.push_back(table_->row(rows[node]));
    scores.resize(nodes.size());
    VectorScoresCpu({table_->layout(), 1, queries, static_cast<int64_t>(nodes.size()),
                     pointers.data(), scores.data()});
    result.scored += static_cast<int64_t>(nodes.size());
  };

  Node best = hnsw.enterpoint_node_;
  nodes = {best};
  score_nodes();
  float best_score = scores[0];
  for (int level = hnsw.maxlevel_; level > 0; --level) {
    for (bool moved = true; moved;) {
      moved = false;
      const auto* list = hnsw.get_linklist(best, level);
      const auto* links = reinterpret_cast<const Node*>(list + 1);
      nodes.assign(links, links + hnsw.getListCount(const_cast<unsigned*>(list)));
      score_nodes();
      for (size_t i = 0; i < nodes.size(); ++i) {
        if (scores[i] > best_score) best = nodes[i], best_score = scores[i], moved = true;
      }
    }
  }

  const bool all_pass = filter == nullptr && table_->live_rows() == table_->rows();
  const auto passes = [&](Node node) { return all_pass || Passes(*table_, filter, rows[node]); };
  using Entry = std::pair<float, Node>;
  std::vector<Entry> open, found;  // heaps: best first; worst first
  const auto worse = [](const Entry& a, const Entry& b) { return a.first > b.first; };
  const auto full = [&] { return static_cast<int>(found.size()) >= width; };
  const auto meet = [&](Node node, float score) {
    if (full() && score <= found.front().first) return;
    open.emplace_back(score, node);
    std::push_heap(open.begin(), open.end());
    if (!passes(node)) return;
    if (full()) {
      std::pop_heap(found.begin(), found.end(), worse);
      found.pop_back();
    }
    found.emplace_back(score, node);
    std::push_heap(found.begin(), found.end(), worse);
  };
  marks[best] = mark;
  meet(best, best_score);
  int64_t steps = 0;
  const int64_t scored_above = result.scored;
  while (!open.empty()) {
    const auto [score, node] = open.front();
    if (full() && score < found.front().first) break;
    std::pop_heap(open.begin(), open.end());
    open.pop_back();
    ++steps;
    const auto* list = hnsw.get_linklist0(node);
    const auto* links = reinterpret_cast<const Node*>(list + 1);
    const int count = hnsw.getListCount(const_cast<unsigned*>(list));
    for (int i = 0; i < count; ++i) __builtin_prefetch(marks + links[i]);
    nodes.clear();
    for (int i = 0; i < count; ++i) {
      if (marks[links[i]] == mark) continue;
      marks[links[i]] = mark;
      nodes.push_back(links[i]);
    }
    if (!open.empty()) __builtin_prefetch(hnsw.get_linklist0(open.front().second));
    score_nodes();
    for (size_t i = 0; i < nodes.size(); ++i) meet(nodes[i], scores[i]);
  }
  graph_->visited.Return(std::move(visited));
  if (steps > 0) {
    const double now = static_cast<double>(result.scored - scored_above) / steps;
    const double before = graph_->distances_per_step.load(std::memory_order_relaxed);
    graph_->distances_per_step.store(before + 0.05 * (now - before), std::memory_order_relaxed);
  }
  TopK top(k);
  for (const auto& [score, node] : found) top.Add(score, rows[node]);
  result.hits = top.Take(*table_);
  return result;
}

VectorSearchResult VectorIndex::ScanOne(const Query& query, int k,
                                        const VectorFilter* filter) const {
  const EncodedQuery* queries[] = {&query.encoded};
  return ScanTable(*table_, queries, k, filter)[0];
}

VectorSearchResult VectorIndex::Search(std::span<const float> query, int k,
                                       const VectorSearchOptions& options) const {
  ATHANOR_CHECK(options.width >= 1, "expected a width >= 1, found ", options.width);
  const Query encoded = Query::Of(*table_, query, k);
  const int64_t rows = table_->rows();
  const double passing = CountPassing(*table_, options.filter, rows);
  const int width = std::max(options.width, k);
  const SearchPlan plan =
      options.plan != SearchPlan::kAuto ? options.plan
      : indexed_rows() < rows
          ? SearchPlan::kScan  // it sees rows that the graph has not
          : CheaperPlan(rows, passing, options.filter, width, graph_->distances_per_step);
  if (plan == SearchPlan::kScan) return ScanOne(encoded, k, options.filter);
  VectorSearchResult result = Walk(encoded, k, width, options.filter);
  result.passing = passing;
  result.recall = recalls_.At(width);
  return result;
}

std::vector<VectorSearchResult> VectorIndex::Scan(std::span<const float> queries, int k,
                                                  const VectorFilter* filter) const {
  const auto dimension = static_cast<size_t>(table_->spec().dimension);
  ATHANOR_CHECK(queries.size() % dimension == 0, table_->path().string(), ": expected queries of ",
                dimension, " components, found ", queries.size(), " numbers");
  std::vector<Query> encoded;
  std::vector<const EncodedQuery*> pointers;
  for (size_t at = 0; at < queries.size(); at += dimension) {
    encoded.push_back(Query::Of(*table_, queries.subspan(at, dimension), k));
  }
  for (const Query& query : encoded) pointers.push_back(&query.encoded);
  return ScanTable(*table_, pointers, k, filter);
}

void VectorIndex::MeasureRecall(int samples, int k) {
  const int64_t rows = table_->rows();
  const int dimension = table_->spec().dimension;
  Random random(options_.seed);
  std::vector<float> queries;
  for (int64_t tried = 0; tried < 4 * samples && rows > 0; ++tried) {
    if (static_cast<int>(queries.size()) >= samples * dimension) break;
    const int64_t row = random.Below(static_cast<uint32_t>(rows));
    if (table_->is_deleted(row)) continue;
    queries.resize(queries.size() + dimension);
    float* query = queries.data() + queries.size() - dimension;
    table_->Read(row, query);
    double square = 0;
    for (int c = 0; c < dimension; ++c) square += double{query[c]} * query[c];
    // A tenth of the vector's length away from it.
    const auto noise = static_cast<float>(0.1 * std::sqrt(square / dimension));
    for (int c = 0; c < dimension; ++c) query[c] += noise * random.Normal();
  }
  recalls_.points.clear();
  if (queries.empty()) return;
  const std::vector<VectorSearchResult> truth = Scan(queries, k);
  for (int width = std::max(16, k); width <= 512; width *= 2) {
    int64_t hit = 0, wanted = 0;
    for (size_t q = 0; q < truth.size(); ++q) {
      const auto found = Search(std::span(queries).subspan(q * dimension, dimension), k,
                                {.width = width, .plan = SearchPlan::kGraph});
      for (const VectorHit& best : truth[q].hits) {
        ++wanted;
        hit += std::any_of(found.hits.begin(), found.hits.end(),
                           [&](const VectorHit& h) { return h.row == best.row; });
      }
    }
    recalls_.points.push_back(
        {double(width), static_cast<double>(hit) / static_cast<double>(wanted)});
  }
}

int VectorIndex::WidthFor(double recall) const {
  ATHANOR_CHECK(!recalls_.points.empty(), table_->path().string(),
                ": the recall of this index has not been measured");
  return recalls_.WidthFor(recall);
}

// File: magic, the table's names and shape as a hash, options, nodes, entry, top level, recalls;
// per node its row, level and lists; a hash of all that.
void VectorIndex::Save(const std::filesystem::path& path) const {
  const auto lock = graph_->Share();
  const VectorTableSpec& spec = table_->spec();
  std::string bytes(kMagic, 8);
  AppendValue(&bytes, HashBytes(spec.model + "\n" + spec.level, spec.dimension));
  AppendValue(&bytes, static_cast<int32_t>(options_.links));
  AppendValue(&bytes, static_cast<int32_t>(options_.build_width));
  AppendValue(&bytes, options_.seed);
  AppendValue(&bytes, static_cast<uint64_t>(recalls_.points.size()));
  for (const RecallPoint& point : recalls_.points) AppendValue(&bytes, point);
  const uint64_t nodes = graph_->rows.size();
  AppendValue(&bytes, nodes > 0 ? graph_->hnsw->enterpoint_node_ : Node{0});
  AppendValue(&bytes, static_cast<int32_t>(nodes > 0 ? graph_->hnsw->maxlevel_ : 0));
  AppendValue(&bytes, nodes);
  FileWriter file(path);
  uint64_t hash = 0;
  const auto flush = [&] {
    hash = HashBytes(bytes, hash);
    file.Write(bytes);
    bytes.clear();
  };
  flush();
  for (uint64_t node = 0; node < nodes; ++node) {
    auto& hnsw = *graph_->hnsw;
    const int level = hnsw.element_levels_[node];
    AppendValue(&bytes, graph_->rows[node]);
    AppendValue(&bytes, static_cast<uint16_t>(level));
    for (int l = 0; l <= level; ++l) {
      auto* list = hnsw.get_linklist_at_level(static_cast<Node>(node), l);
      const uint16_t count = hnsw.getListCount(list);
      AppendValue(&bytes, count);
      bytes.append(reinterpret_cast<const char*>(list + 1), count * sizeof(Node));
    }
    if (node % 4096 == 4095) flush();
  }
  flush();
  AppendValue(&bytes, hash);
  file.Write(bytes);
  file.Commit();
}

std::unique_ptr<VectorIndex> VectorIndex::Load(const std::filesystem::path& path,
                                               std::shared_ptr<VectorTable> table) {
  const std::string bytes = ReadFile(path);
  const std::string name = path.string();
  ByteReader in(bytes, name);
  ATHANOR_CHECK(bytes.starts_with(kMagic), name,
                ": byte 0: expected the graph of a table of vectors (ATHGRF01)");
  in.Take(8, "the magic");
  const VectorTableSpec& spec = table->spec();
  if (in.Read<uint64_t>("the table's hash") !=
      HashBytes(spec.model + "\n" + spec.level, spec.dimension)) {
    in.Fail(StrCat("this graph is not of ", table->path().string()));
  }
  VectorIndexOptions options;
  options.links = in.Read<int32_t>("links");
  options.build_width = in.Read<int32_t>("the build width");
  options.seed = in.Read<uint64_t>("the seed");
  if (options.links < 2 || options.links > 128 || options.build_width < 1) {
    in.Fail("the options are damaged");
  }
  auto index = std::make_unique<VectorIndex>(table, options);
  index->recalls_.points.resize(in.ReadCount(sizeof(RecallPoint), "recalls"));
  for (RecallPoint& point : index->recalls_.points) point = in.Read<RecallPoint>("a recall");
  const auto entry = in.Read<Node>("the entry");
  const auto top_level = in.Read<int32_t>("the top level");
  const uint64_t nodes = in.ReadCount(8, "nodes");
  if (nodes > static_cast<uint64_t>(table->rows())) {
    in.Fail(StrCat("expected at most ", table->rows(), " nodes, as many as ",
                   table->path().string(), " has rows; found ", nodes));
  }
  if ((nodes > 0 && entry >= nodes) || top_level < 0 || top_level > kMaxLevel) {
    in.Fail("the entry is damaged");
  }
  uint64_t hash = HashBytes(std::string_view(bytes).substr(0, in.position()));
  size_t hashed = in.position();
  if (nodes == 0) {
    hash = HashBytes({}, hash);
    if (in.Read<uint64_t>("the hash") != hash) in.Fail("the graph is damaged: its hash is wrong");
    return index;
  }
  Graph& graph = *index->graph_;
  graph.MakeRoom(nodes, options);
  auto& hnsw = *graph.hnsw;
  std::vector<bool> seen(table->rows(), false);
  for (uint64_t node = 0; node < nodes; ++node) {
    const auto row = in.Read<uint32_t>("a row");
    const auto level = in.Read<uint16_t>("a level");
    if (row >= seen.size() || seen[row]) in.Fail("a row's number is damaged");
    if (level > top_level) in.Fail("a level is damaged");
    seen[row] = true;
    graph.rows.push_back(row);
    hnsw.element_levels_[node] = level;
    std::memset(hnsw.data_level0_memory_ + node * hnsw.size_data_per_element_, 0,
                hnsw.size_data_per_element_);
    std::memcpy(hnsw.getDataByInternalId(static_cast<Node>(node)), &row, sizeof row);
    hnsw.setExternalLabel(static_cast<Node>(node), row);
    if (level > 0) {
      hnsw.linkLists_[node] =
          static_cast<char*>(std::calloc(1, hnsw.size_links_per_element_ * level + 1));
      ATHANOR_CHECK(hnsw.linkLists_[node] != nullptr, name, ": out of memory");
    }
    hnsw.cur_element_count = node + 1;  // what the destructor frees, should we throw
    for (int l = 0; l <= level; ++l) {
      const auto count = in.Read<uint16_t>("a list's length");
      if (count > options.links * (l == 0 ? 2 : 1)) in.Fail("a list's length is damaged");
      auto* list = hnsw.get_linklist_at_level(static_cast<Node>(node), l);
      const std::string_view links = in.Take(count * sizeof(Node), "links");
      std::memcpy(list + 1, links.data(), links.size());
      hnsw.setListCount(list, count);
      const auto* link = reinterpret_cast<const Node*>(list + 1);
      for (int i = 0; i < count; ++i) {
        if (link[i] >= nodes) in.Fail("a link is damaged");
      }
    }
    if (node % 4096 == 4095) {
      hash = HashBytes(std::string_view(bytes).substr(hashed, in.position() - hashed), hash);
      hashed = in.position();
    }
  }
  hash = HashBytes(std::string_view(bytes).substr(hashed, in.position() - hashed), hash);
  if (in.Read<uint64_t>("the hash") != hash) in.Fail("the graph is damaged: its hash is wrong");
  // Walks go down from the entry: what an upper list names has to be on that level.
  if (hnsw.element_levels_[entry] != top_level) in.Fail("the entry is damaged");
  for (uint64_t node = 0; node < nodes; ++node) {
    for (int l = 1; l <= hnsw.element_levels_[node]; ++l) {
      auto* list = hnsw.get_linklist(static_cast<Node>(node), l);
      const auto* link = reinterpret_cast<const Node*>(list + 1);
      for (int i = 0; i < hnsw.getListCount(list); ++i) {
        if (hnsw.element_levels_[link[i]] < l) in.Fail("a link is damaged");
      }
    }
  }
  hnsw.enterpoint_node_ = entry;
  hnsw.maxlevel_ = top_level;
  // Levels of rows to come: not those of the rows that are there.
  hnsw.level_generator_.seed(static_cast<unsigned>(MixBits(options.seed + nodes)));
  return index;
}

}  // namespace athanor
