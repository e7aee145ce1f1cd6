#include "athanor/loop/mining/vector_index.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <set>
#include <thread>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/parallel.h"
#include "athanor/base/random.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

constexpr int kDimension = 24;

// Clusters, as features of things are.
std::vector<float> ClusteredVectors(int64_t n, uint64_t seed) {
  Random centres_random(99), random(seed);
  std::vector<float> centres(40 * kDimension);
  for (float& x : centres) x = centres_random.Normal();
  std::vector<float> vectors;
  for (int64_t i = 0; i < n; ++i) {
    const float* centre = centres.data() + random.Below(40) * kDimension;
    for (int c = 0; c < kDimension; ++c) vectors.push_back(centre[c] + 0.5f * random.Normal());
  }
  return vectors;
}

std::vector<int64_t> Ids(int64_t n, int64_t first = 0) {
  std::vector<int64_t> ids(n);
  for (int64_t i = 0; i < n; ++i) ids[i] = first + 10 * i;
  return ids;
}

// By hand, in doubles, on what the table holds.
std::vector<int64_t> BestIds(const VectorTable& table, std::span<const float> query, int k,
                             const std::function<bool(int64_t)>& passes) {
  std::vector<std::pair<double, int64_t>> all;
  std::vector<float> v(table.spec().dimension);
  for (int64_t row = 0; row < table.rows(); ++row) {
    if (table.is_deleted(row) || !passes(table.id(row))) continue;
    table.Read(row, v.data());
    double dot = 0;
    for (size_t c = 0; c < v.size(); ++c) dot += double{v[c]} * query[c];
    all.emplace_back(-dot, row);
  }
  std::sort(all.begin(), all.end());
  std::vector<int64_t> ids;
  for (size_t i = 0; i < std::min<size_t>(k, all.size()); ++i) {
    ids.push_back(table.id(all[i].second));
  }
  return ids;
}

std::vector<int64_t> IdsOf(const VectorSearchResult& result) {
  std::vector<int64_t> ids;
  for (const VectorHit& hit : result.hits) ids.push_back(hit.id);
  return ids;
}

double Recall(const std::vector<int64_t>& found, const std::vector<int64_t>& truth) {
  const std::set<int64_t> set(found.begin(), found.end());
  int64_t hit = 0;
  for (const int64_t id : truth) hit += set.contains(id);
  return truth.empty() ? 1 : static_cast<double>(hit) / static_cast<double>(truth.size());
}

class VectorIndexTest : public ::testing::TestWithParam<std::tuple<VectorPrecision, VectorMetric>> {
 protected:
  std::shared_ptr<VectorTable> MakeTable(const std::string& name) {
    const auto [precision, metric] = GetParam();
    return VectorTable::Create(TestFolder(name) / "t",
                               {"m", "object", kDimension, precision, metric});
  }
};

TEST_P(VectorIndexTest, ScansAreExactAndWalksFindAlmostAll) {
  VectorIndex index(MakeTable("exact"));
  const int64_t n = 5000;
  index.Add(Ids(n), ClusteredVectors(n, 1));
  index.Remove(std::vector<int64_t>{0, 10, 20});
  const auto all = [](int64_t) { return true; };
  // On i8 rows a query is rounded too, so near ties may change places.
  const bool rounds = index.table().spec().precision == VectorPrecision::kInt8;
  double recall = 0;
  const int queries = 20;
  const auto vectors = ClusteredVectors(queries, 2);
  const auto scans = index.Scan(vectors, 10);
  ASSERT_EQ(scans.size(), queries);
  for (int q = 0; q < queries; ++q) {
    const auto query = std::span(vectors).subspan(q * kDimension, kDimension);
    const auto truth = BestIds(index.table(), query, 10, all);
    if (!rounds) {
      EXPECT_EQ(IdsOf(scans[q]), truth);
    }
    EXPECT_GE(Recall(IdsOf(scans[q]), truth), 0.9);
    const auto walk = index.Search(query, 10, {.width = 100, .plan = SearchPlan::kGraph});
    EXPECT_EQ(walk.plan, SearchPlan::kGraph);
    EXPECT_TRUE(std::isnan(walk.recall));
    EXPECT_LT(walk.scored, n);
    recall += Recall(IdsOf(walk), IdsOf(scans[q])) / queries;
    for (size_t i = 1; i < walk.hits.size(); ++i) {
      EXPECT_GE(walk.hits[i - 1].score, walk.hits[i].score);
    }
  }
  EXPECT_GE(recall, 0.95);
  index.MeasureRecall(32);
  const auto stated = index.Search(std::span(vectors).first(kDimension), 10,
                                   {.width = 64, .plan = SearchPlan::kGraph});
  EXPECT_GE(stated.recall, 0.9);
  EXPECT_THAT(stated.Explain(n),
              testing::MatchesRegex(".*, about [0-9]+ pass, expected recall (1|0.9.*)"));
  EXPECT_GE(index.WidthFor(0.9), 16);
}

TEST_P(VectorIndexTest, FiltersByBitmapAndPredicate) {
  VectorIndex index(MakeTable("filter"));
  const int64_t n = 4000;
  index.Add(Ids(n), ClusteredVectors(n, 1));
  const auto query = ClusteredVectors(1, 7);
  for (const int64_t every : {2, 20, 1000, 5000}) {
    const auto passes = [&](int64_t id) { return id / 10 % every == every - 1; };
    std::vector<int64_t> ids;
    for (int64_t i = 0; i < n; ++i) {
      if (passes(i * 10)) ids.push_back(i * 10);
    }
    VectorFilter bitmap = FilterOf(index.table(), ids);
    VectorFilter predicate;
    predicate.predicate = passes;
    const auto truth = IdsOf(index.Scan(query, 10, &bitmap)[0]);
    ASSERT_EQ(truth.size(), std::min<size_t>(10, ids.size()));
    EXPECT_GE(Recall(truth, BestIds(index.table(), query, 10, passes)), 0.9);
    for (const VectorFilter* filter : std::array<const VectorFilter*, 2>{&bitmap, &predicate}) {
      const auto scan = index.Search(query, 10, {.filter = filter, .plan = SearchPlan::kScan});
      EXPECT_EQ(IdsOf(scan), truth) << every;
      EXPECT_EQ(scan.recall, 1);
      EXPECT_EQ(scan.scored, static_cast<int64_t>(ids.size()));
      const auto walk =
          index.Search(query, 10, {.width = 100, .filter = filter, .plan = SearchPlan::kGraph});
      for (const VectorHit& hit : walk.hits) EXPECT_TRUE(passes(hit.id));
      EXPECT_GE(Recall(IdsOf(walk), truth), every >= 1000 ? 1.0 : 0.9) << every;
      const auto chosen = index.Search(query, 10, {.filter = filter});
      if (every >= 20) {
        EXPECT_EQ(chosen.plan, SearchPlan::kScan);
      }
    }
  }
}

TEST_P(VectorIndexTest, ComesBackFromItsFile) {
  const auto table = MakeTable("saved");
  const auto path = table->path().parent_path() / "graph";
  const int64_t n = 3000;
  const auto query = ClusteredVectors(1, 5);
  std::vector<int64_t> before;
  {
    VectorIndex index(table);
    index.Add(Ids(n), ClusteredVectors(n, 1));
    index.MeasureRecall(16);
    index.Save(path);
    before = IdsOf(index.Search(query, 10, {.plan = SearchPlan::kGraph}));
  }
  table->Append(Ids(500, 5), ClusteredVectors(500, 3));
  auto index = VectorIndex::Load(path, table);
  EXPECT_EQ(index->indexed_rows(), n);
  EXPECT_EQ(IdsOf(index->Search(query, 10, {.plan = SearchPlan::kGraph})), before);
  EXPECT_FALSE(std::isnan(index->Search(query, 10, {.plan = SearchPlan::kGraph}).recall));
  // Rows that the graph lacks are found by scanning until they are added.
  EXPECT_EQ(index->Search(query, 10).plan, SearchPlan::kScan);
  EXPECT_EQ(index->AddMissing(200), 200);
  EXPECT_EQ(index->AddMissing(), 300);
  EXPECT_EQ(index->AddMissing(), 0);
  const auto truth = IdsOf(index->Scan(query, 10)[0]);
  EXPECT_GE(
      Recall(IdsOf(index->Search(query, 10, {.width = 200, .plan = SearchPlan::kGraph})), truth),
      0.9);
  index->Save(path);
  EXPECT_EQ(VectorIndex::Load(path, table)->indexed_rows(), n + 500);
}

INSTANTIATE_TEST_SUITE_P(
    Precisions, VectorIndexTest,
    ::testing::Combine(::testing::Values(VectorPrecision::kFloat32, VectorPrecision::kFloat16,
                                         VectorPrecision::kInt8),
                       ::testing::Values(VectorMetric::kCosine, VectorMetric::kInnerProduct)));

std::shared_ptr<VectorTable> SmallTable(const std::string& name) {
  return VectorTable::Create(TestFolder(name) / "t", {"m", "object", kDimension});
}

TEST(VectorIndexEdgesTest, EmptyTablesAndLargeKReturnFewer) {
  VectorIndex index(SmallTable("empty"));
  const auto query = ClusteredVectors(1, 1);
  for (const auto plan : {SearchPlan::kAuto, SearchPlan::kGraph, SearchPlan::kScan}) {
    EXPECT_TRUE(index.Search(query, 10, {.plan = plan}).hits.empty());
  }
  EXPECT_EQ(index.Scan(query, 3)[0].hits.size(), 0u);
  EXPECT_TRUE(index.Scan({}, 3).empty());
  index.MeasureRecall();
  index.Add(Ids(3), ClusteredVectors(3, 2));
  for (const auto plan : {SearchPlan::kAuto, SearchPlan::kGraph, SearchPlan::kScan}) {
    EXPECT_EQ(index.Search(query, 1000, {.plan = plan}).hits.size(), 3u);
  }
  index.Remove(std::vector<int64_t>{0, 10});
  for (const auto plan : {SearchPlan::kGraph, SearchPlan::kScan}) {
    EXPECT_THAT(IdsOf(index.Search(query, 1000, {.plan = plan})), ::testing::ElementsAre(20));
  }
  index.Remove(std::vector<int64_t>{20});
  for (const auto plan : {SearchPlan::kAuto, SearchPlan::kGraph, SearchPlan::kScan}) {
    EXPECT_TRUE(index.Search(query, 10, {.plan = plan}).hits.empty());
  }
  const VectorFilter none = FilterOf(index.table(), {});
  EXPECT_TRUE(index.Search(query, 10, {.filter = &none}).hits.empty());
}

TEST(VectorIndexEdgesTest, ADeletedIdThatIsAddedAgainIsFoundAtItsNewPlace) {
  VectorIndex index(SmallTable("readd"));
  index.Add(Ids(2000), ClusteredVectors(2000, 1));
  const auto vector = ClusteredVectors(1, 77);
  for (int round = 0; round < 5; ++round) {
    index.Remove(std::vector<int64_t>{500});
    index.Add(std::vector<int64_t>{500}, vector);
    const auto found = index.Search(vector, 5, {.plan = SearchPlan::kGraph});
    ASSERT_FALSE(found.hits.empty());
    EXPECT_EQ(found.hits[0].id, 500);
    EXPECT_NEAR(found.hits[0].score, 1, 2e-3);
    EXPECT_EQ(std::set<int64_t>({found.hits[0].id}).size(), 1u);
  }
  EXPECT_EQ(index.table().live_rows(), 2000);
}

TEST(VectorIndexEdgesTest, RefusesWhatCannotBeAsked) {
  VectorIndex index(SmallTable("refuse"));
  index.Add(Ids(5), ClusteredVectors(5, 1));
  auto query = ClusteredVectors(1, 1);
  EXPECT_THAT(ErrorOf([&] { index.Search(query, 0); }), HasSubstr("k >= 1"));
  EXPECT_THAT(ErrorOf([&] { index.Search(std::span(query).first(3), 1); }),
              HasSubstr("expected a query of 24 components, found 3"));
  query[4] = std::nanf("");
  EXPECT_THAT(ErrorOf([&] { index.Search(query, 1); }), HasSubstr("component 4 is nan"));
  EXPECT_THAT(ErrorOf([&] { VectorIndex bad(SmallTable("bad"), {.links = 1}); }),
              HasSubstr("links"));
}

TEST(VectorIndexEdgesTest, SearchesRunWhileRowsAreAdded) {
  SetNumThreads(2);
  VectorIndex index(SmallTable("threads"));
  index.Add(Ids(300), ClusteredVectors(300, 1));
  std::atomic<bool> stop = false;
  std::atomic<int64_t> wrong = 0, searches = 0;
  std::vector<std::thread> readers;
  for (int t = 0; t < 2; ++t) {
    readers.emplace_back([&, t] {
      const auto query = ClusteredVectors(1, 50 + t);
      while (!stop || searches < 10) {
        const auto plan = searches++ % 2 == 0 ? SearchPlan::kGraph : SearchPlan::kScan;
        const auto found = index.Search(query, 20, {.plan = plan});
        std::set<int64_t> ids;
        for (const VectorHit& hit : found.hits) {
          wrong += hit.score > 1.01f || !ids.insert(hit.row).second;
        }
        wrong += found.hits.size() != 20;
      }
    });
  }
  for (int batch = 0; batch < 10; ++batch) {
    index.Add(Ids(400, 100000 * (batch + 1)), ClusteredVectors(400, 10 + batch));
    index.Remove(Ids(50, 100000 * (batch + 1)));
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  SetNumThreads(0);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(index.indexed_rows(), 4300);
  const auto query = ClusteredVectors(1, 9);
  EXPECT_GE(Recall(IdsOf(index.Search(query, 10, {.width = 100, .plan = SearchPlan::kGraph})),
                   IdsOf(index.Scan(query, 10)[0])),
            0.9);
}

TEST(VectorIndexEdgesTest, NoticesADamagedGraph) {
  const auto table = SmallTable("damage");
  const auto path = table->path().parent_path() / "graph";
  VectorIndex index(table);
  index.Add(Ids(400), ClusteredVectors(400, 1));
  index.Save(path);
  const std::string good = ReadFile(path);
  Random random(3);
  for (int trial = 0; trial < 400; ++trial) {
    std::string bytes = good;
    const size_t at =
        trial < 100 ? static_cast<size_t>(trial) : random.Below(static_cast<uint32_t>(good.size()));
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.Below(8)));
    if (trial % 4 == 3) bytes.resize(at);
    WriteFile(path, bytes);
    EXPECT_THAT(ErrorOf([&] { VectorIndex::Load(path, table); }), HasSubstr(path.string()))
        << trial << " " << at;
  }
  WriteFile(path, good);
  const auto other = VectorTable::Create(path.parent_path() / "other", {"m2", "object", 24});
  EXPECT_THAT(ErrorOf([&] { VectorIndex::Load(path, other); }), HasSubstr("is not of"));
  const auto shorter = VectorTable::Create(path.parent_path() / "short", {"m", "object", 24});
  EXPECT_THAT(ErrorOf([&] { VectorIndex::Load(path, shorter); }), HasSubstr("at most 0 nodes"));
}

}  // namespace
}  // namespace athanor
