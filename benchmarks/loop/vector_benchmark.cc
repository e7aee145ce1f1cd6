// Vector search beside plain hnswlib on the same graph: recall@10, queries a second, filters,
// memory.
//
//   vector_benchmark [ROWS] [FOLDER] [SECONDS]   default 1000000 /tmp/vector_benchmark no limit
//
// Vectors of 256 components: 1,000 centres from a standard normal, around each 16 directions of its
// own along which vectors spread normally with deviation 1, and 0.1 of noise in every component;
// queries from the same, not in the table. Tables and graph stay in FOLDER and are used again; the
// graph grows on all cores, for at most SECONDS, and grows on in the next run; searches use one.
// Above kPeerRows there is no peer and no f32 table; a run that finds all files made then says how
// much memory our own search takes.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/base/random.h"
#include "athanor/loop/mining/vector_index.h"
#include "benchmarks/loop/hnswlib_peer.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr int kDimension = 256, kCentres = 1000, kDirections = 16, kQueries = 400, kNeighbours = 10;
constexpr int64_t kPeerRows = 2'000'000;  // a kilobyte of f32 each, twice
constexpr int kWidths[] = {10, 16, 24, 32, 48, 64, 96, 128, 192, 256};

double Seconds() {
  using Clock = std::chrono::steady_clock;
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

class Generator {
 public:
  Generator() {
    Random random(1);
    shape_.resize(size_t{kCentres} * (1 + kDirections) * kDimension);
    for (float& x : shape_) x = random.Normal();
    // Directions of about length 1.
    for (int c = 0; c < kCentres; ++c) {
      float* directions = shape_.data() + (size_t{1} + kDirections) * kDimension * c + kDimension;
      for (int i = 0; i < kDirections * kDimension; ++i) directions[i] /= 4;
    }
  }
  // Unit length.
  void Make(uint64_t index, float* out) const {
    Random random(MixBits(index + 12345));
    const float* shape =
        shape_.data() + size_t{random.Below(kCentres)} * (1 + kDirections) * kDimension;
    for (int c = 0; c < kDimension; ++c) out[c] = shape[c] + 0.1f * random.Normal();
    for (int d = 1; d <= kDirections; ++d) {
      const float along = random.Normal();
      for (int c = 0; c < kDimension; ++c) out[c] += along * shape[d * kDimension + c];
    }
    double square = 0;
    for (int c = 0; c < kDimension; ++c) square += double{out[c]} * out[c];
    for (int c = 0; c < kDimension; ++c) out[c] = static_cast<float>(out[c] / std::sqrt(square));
  }

 private:
  std::vector<float> shape_;
};

std::shared_ptr<VectorTable> MakeTable(const Generator& generator, const fs::path& path,
                                       int64_t rows, VectorPrecision precision) {
  auto table = fs::exists(path)
                   ? VectorTable::Open(path, true)
                   : VectorTable::Create(path, {"benchmark", "object", kDimension, precision});
  constexpr int64_t kBatch = 1 << 16;
  while (table->rows() < rows) {
    const int64_t first = table->rows(), count = std::min(kBatch, rows - first);
    std::vector<int64_t> ids(count);
    std::vector<float> vectors(count * kDimension);
    for (int64_t i = 0; i < count; ++i) {
      ids[i] = first + i;
      generator.Make(static_cast<uint64_t>(first + i), vectors.data() + i * kDimension);
    }
    table->Append(ids, vectors);
  }
  return table;
}

using Truth = std::vector<std::vector<int64_t>>;

double RecallOf(const std::vector<int64_t>& found, const std::vector<int64_t>& truth) {
  int hit = 0;
  for (const int64_t id : truth) hit += std::count(found.begin(), found.end(), id) > 0;
  return truth.empty() ? 1 : static_cast<double>(hit) / static_cast<double>(truth.size());
}

struct Measured {
  double recall = 0, per_second = 0, scored = 0;
};

template <typename F>
Measured Run(const std::vector<float>& queries, const Truth& truth, F&& search) {
  Measured measured;
  std::vector<std::vector<int64_t>> found(truth.size());
  const double begin = Seconds();
  for (size_t q = 0; q < truth.size(); ++q) found[q] = search(queries.data() + q * kDimension);
  measured.per_second = static_cast<double>(truth.size()) / (Seconds() - begin);
  for (size_t q = 0; q < truth.size(); ++q) {
    measured.recall += RecallOf(found[q], truth[q]) / static_cast<double>(truth.size());
  }
  return measured;
}

std::vector<int64_t> IdsOf(const VectorSearchResult& result) {
  std::vector<int64_t> ids;
  for (const VectorHit& hit : result.hits) ids.push_back(hit.id);
  return ids;
}

// Queries a second at recall 0.95, between the two measured points around it (log against linear).
double AtRecall(const std::vector<Measured>& curve, double recall) {
  for (size_t i = 0; i < curve.size(); ++i) {
    if (curve[i].recall < recall) continue;
    if (i == 0) return curve[0].per_second;
    const Measured &a = curve[i - 1], &b = curve[i];
    const double along = (recall - a.recall) / std::max(b.recall - a.recall, 1e-9);
    return std::exp(std::log(a.per_second) +
                    along * (std::log(b.per_second) - std::log(a.per_second)));
  }
  return std::nan("");
}

float Dot(const float* a, const float* b) {
  constexpr int kLanes = 16;
  float sums[kLanes] = {};
  for (int c = 0; c < kDimension; c += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) sums[lane] += a[c + lane] * b[c + lane];
  }
  float sum = 0;
  for (const float partial : sums) sum += partial;
  return sum;
}

// The nearest of all rows, by vectors made anew: no table of f32 is needed.
Truth TruthOf(const Generator& generator, int64_t rows, const VectorTable& table,
              const std::vector<float>& queries) {
  constexpr int64_t kBatch = 1 << 15;
  std::vector<float> vectors(kBatch * kDimension);
  std::vector<TopK> best(kQueries, TopK(kNeighbours));
  for (int64_t first = 0; first < rows; first += kBatch) {
    const int64_t count = std::min(kBatch, rows - first);
    ParallelFor(count, 1024, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        generator.Make(static_cast<uint64_t>(first + i), vectors.data() + i * kDimension);
      }
    });
    ParallelFor(kQueries, 4, [&](int64_t begin, int64_t end) {
      for (int64_t i = 0; i < count; ++i) {
        for (int64_t q = begin; q < end; ++q) {
          const float score = Dot(vectors.data() + i * kDimension, queries.data() + q * kDimension);
          if (score > best[q].threshold()) best[q].Add(score, static_cast<uint32_t>(first + i));
        }
      }
    });
  }
  Truth truth;
  for (TopK& top : best) {
    std::vector<int64_t>& ids = truth.emplace_back();
    for (const VectorHit& hit : top.Take(table)) ids.push_back(hit.id);
  }
  return truth;
}

double PeakGigabytes() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024 / 1e9;
}

// Rows past what a peer has room for: a graph and one table in memory at a time, the smaller first:
// the peak of the process then grows with the larger.
void SearchAlone(const fs::path& graph, const std::vector<float>& queries, const Truth& truth,
                 const std::vector<fs::path>& tables) {
  for (const fs::path& path : tables) {
    const auto index = VectorIndex::Load(graph, VectorTable::Open(path, false));
    std::printf("\n%s, %.2f GB of rows\nwidth\n", path.extension().c_str() + 1,
                static_cast<double>(fs::file_size(path)) / 1e9);
    std::vector<Measured> curve;
    for (const int width : kWidths) {
      Measured best;
      for (int repeat = 0; repeat < 3; ++repeat) {
        const Measured now = Run(queries, truth, [&](const float* query) {
          return IdsOf(index->Search({query, kDimension}, kNeighbours,
                                     {.width = width, .plan = SearchPlan::kGraph}));
        });
        if (now.per_second > best.per_second) best = now;
      }
      std::printf("%5d   %.4f %9.0f/s\n", width, best.recall, best.per_second);
      curve.push_back(best);
    }
    const double begin = Seconds();
    index->Scan(std::span(queries).first(4 * kDimension), kNeighbours);
    std::printf("at recall 0.95: %.0f/s; a scan for four %.2f s; peak memory %.2f GB\n",
                AtRecall(curve, 0.95), Seconds() - begin, PeakGigabytes());
  }
}

int Main(int64_t rows, const fs::path& folder, double limit_s) {
  const Generator generator;
  fs::create_directories(folder);
  const auto name = [&](const char* what) { return folder / (std::to_string(rows) + what); };
  auto bytes = MakeTable(generator, name(".i8"), rows, VectorPrecision::kInt8);

  const fs::path graph = name(".graph");
  const double begin = Seconds();
  auto index =
      fs::exists(graph) ? VectorIndex::Load(graph, bytes) : std::make_unique<VectorIndex>(bytes);
  const int64_t before = index->indexed_rows();
  while (index->indexed_rows() < rows && Seconds() - begin < limit_s) index->AddMissing(2000);
  const int64_t built = index->indexed_rows();
  if (built > before) {
    std::printf(
        "graph: %lld of %lld rows, %.0f us a row on %d threads (i8, 16 links, build width 120)\n",
        static_cast<long long>(built), static_cast<long long>(rows),
        1e6 * (Seconds() - begin) / static_cast<double>(built - before), NumThreads());
    index->Save(graph);
  }
  if (built < rows) return 0;

  auto half = MakeTable(generator, name(".f16"), rows, VectorPrecision::kFloat16);
  std::printf("bytes a row: graph %.0f, f16 %.0f, i8 %.0f\n",
              static_cast<double>(index->graph_bytes()) / rows,
              static_cast<double>(fs::file_size(half->path())) / rows,
              static_cast<double>(fs::file_size(bytes->path())) / rows);
  std::vector<float> queries(size_t{kQueries} * kDimension);
  for (int q = 0; q < kQueries; ++q) {
    generator.Make((uint64_t{1} << 40) + q, queries.data() + size_t{kDimension} * q);
  }
  if (rows > kPeerRows) {
    index.reset();
    const Truth truth = TruthOf(generator, rows, *bytes, queries);
    bytes.reset();
    half.reset();
    SetNumThreads(1);
    SearchAlone(graph, queries, truth, {name(".i8"), name(".f16")});
    return 0;
  }
  SetNumThreads(1);
  const auto exact = MakeTable(generator, name(".f32"), rows, VectorPrecision::kFloat32);
  Truth truth;
  {
    const VectorIndex scanner(exact);
    for (const auto& result : scanner.Scan(queries, kNeighbours)) truth.push_back(IdsOf(result));
  }

  // Beside one another, width by width, so that whatever else the machine does meets both.
  std::vector<float> vectors(static_cast<size_t>(rows) * kDimension);
  for (int64_t row = 0; row < rows; ++row) exact->Read(row, vectors.data() + row * kDimension);
  HnswlibPeer peer(vectors, kDimension, graph);
  vectors = {};
  const auto half_index = VectorIndex::Load(graph, half);
  std::vector<Measured> curves[3];
  std::printf("\nwidth    hnswlib f32         ours f16            ours i8\n");
  for (const int width : kWidths) {
    const auto ours = [&](const VectorIndex& searched) {
      return [&searched, width](const float* query) {
        return IdsOf(searched.Search({query, kDimension}, kNeighbours,
                                     {.width = width, .plan = SearchPlan::kGraph}));
      };
    };
    Measured best[3];
    for (int repeat = 0; repeat < 3; ++repeat) {
      const Measured now[3] = {
          Run(queries, truth,
              [&](const float* query) { return peer.Search(query, kNeighbours, width); }),
          Run(queries, truth, ours(*half_index)), Run(queries, truth, ours(*index))};
      for (int i = 0; i < 3; ++i) {
        if (now[i].per_second > best[i].per_second) best[i] = now[i];
      }
    }
    std::printf("%5d", width);
    for (int i = 0; i < 3; ++i) {
      std::printf("   %.4f %9.0f/s", best[i].recall, best[i].per_second);
      curves[i].push_back(best[i]);
    }
    std::printf("\n");
  }
  const double reference = AtRecall(curves[0], 0.95);
  std::printf("at recall 0.95: hnswlib %.0f/s, f16 %.0f/s (%.2fx), i8 %.0f/s (%.2fx)\n", reference,
              AtRecall(curves[1], 0.95), AtRecall(curves[1], 0.95) / reference,
              AtRecall(curves[2], 0.95), AtRecall(curves[2], 0.95) / reference);

  std::printf("\nfilter   plan    walk: recall   ms   scored     scan: recall   ms   chosen\n");
  for (const double share : {0.1, 0.01, 0.001}) {
    std::vector<int64_t> ids;
    for (int64_t id = 0; id < rows; ++id) {
      if (static_cast<double>(MixBits(id)) < share * 0x1p64) ids.push_back(id);
    }
    const VectorFilter filter = FilterOf(*half, ids);
    const size_t some = 50;
    Truth filtered;
    const VectorIndex scanner(exact);
    for (const auto& result :
         scanner.Scan(std::span(queries).first(some * kDimension), kNeighbours, &filter)) {
      filtered.push_back(IdsOf(result));
    }
    Measured measured[3];
    double scored = 0;
    SearchPlan chosen = SearchPlan::kAuto;
    int i = 0;
    for (const auto plan : {SearchPlan::kGraph, SearchPlan::kScan, SearchPlan::kAuto}) {
      measured[i++] = Run(queries, filtered, [&](const float* query) {
        const auto result = half_index->Search({query, kDimension}, kNeighbours,
                                               {.width = 64, .filter = &filter, .plan = plan});
        if (plan == SearchPlan::kGraph) scored += static_cast<double>(result.scored) / some;
        chosen = result.plan;
        return IdsOf(result);
      });
    }
    std::printf("%5.1f %%  %-5s      %.4f  %7.2f  %8.0f        %.4f  %7.2f  %.2f\n", 100 * share,
                chosen == SearchPlan::kScan ? "scan" : "walk", measured[0].recall,
                1e3 / measured[0].per_second, scored, measured[1].recall,
                1e3 / measured[1].per_second, 1e3 / measured[2].per_second);
  }
  // The planner's constant: a row met on a walk against a row of a scan.
  double walk_rows = 0;
  const double walk_begin = Seconds();
  for (int q = 0; q < kQueries; ++q) {
    walk_rows +=
        static_cast<double>(half_index
                                ->Search({queries.data() + size_t{kDimension} * q, kDimension},
                                         kNeighbours, {.width = 128, .plan = SearchPlan::kGraph})
                                .scored);
  }
  const double walked = (Seconds() - walk_begin) / walk_rows;
  const double scan_begin = Seconds();
  for (int q = 0; q < 4; ++q) {
    half_index->Scan(std::span(queries).subspan(size_t{kDimension} * q, kDimension), kNeighbours);
  }
  const double scanned = (Seconds() - scan_begin) / 4 / static_cast<double>(rows);
  std::printf("\na row of a walk %.1f ns, of a scan %.1f ns: %.2f\n", 1e9 * walked, 1e9 * scanned,
              walked / scanned);
  std::printf("peak memory %.2f GB (with hnswlib's copy and the f32 table)\n", PeakGigabytes());

  // Building, on a part.
  const int64_t part = std::min<int64_t>(rows, 10000);
  std::vector<float> some(static_cast<size_t>(part) * kDimension);
  for (int64_t row = 0; row < part; ++row) exact->Read(row, some.data() + row * kDimension);
  const double peer_begin = Seconds();
  const HnswlibPeer built_peer(some, kDimension, 16, 120);
  const double peer_s = Seconds() - peer_begin;
  VectorIndex rebuilt(bytes);
  const double ours_begin = Seconds();
  rebuilt.AddMissing(part);
  const double ours_s = Seconds() - ours_begin;
  std::printf("building %lld rows: hnswlib f32 %.2f s, ours i8 %.2f s\n",
              static_cast<long long>(part), peer_s, ours_s);
  return 0;
}

}  // namespace
}  // namespace athanor

int main(int argc, char** argv) {
  try {
    return athanor::Main(argc > 1 ? std::atoll(argv[1]) : 1000000,
                         argc > 2 ? argv[2] : "/tmp/vector_benchmark",
                         argc > 3 ? std::atof(argv[3]) : 1e9);
  } catch (const athanor::Error& error) {
    std::fprintf(stderr, "vector_benchmark: %s\n", error.what());
    return 1;
  }
}
