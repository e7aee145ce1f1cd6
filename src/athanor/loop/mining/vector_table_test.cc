#include "athanor/loop/mining/vector_table.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <thread>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/random.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

std::vector<float> RandomVectors(int64_t n, int dimension, uint64_t seed) {
  Random random(seed);
  std::vector<float> vectors(static_cast<size_t>(n * dimension));
  for (float& x : vectors) x = random.Normal();
  return vectors;
}

std::vector<int64_t> Iota(int64_t n, int64_t first = 0) {
  std::vector<int64_t> ids(n);
  for (int64_t i = 0; i < n; ++i) ids[i] = first + i;
  return ids;
}

TEST(VectorTableTest, KeepsVectorsAcrossSegmentsAndOpenings) {
  for (const auto precision :
       {VectorPrecision::kFloat32, VectorPrecision::kFloat16, VectorPrecision::kInt8}) {
    for (const auto metric : {VectorMetric::kCosine, VectorMetric::kInnerProduct}) {
      const auto path = TestFolder("table") / "objects.vectors";
      const VectorTableSpec spec = {"detector-7", "object", 10, precision, metric};
      const int64_t n = 40000;  // three segments
      const auto vectors = RandomVectors(n, spec.dimension, 1);
      {
        const auto table = VectorTable::Create(path, spec);
        const auto ids = Iota(n, -5);
        for (int64_t at = 0; at < n; at += 12345) {
          const int64_t count = std::min<int64_t>(12345, n - at);
          EXPECT_EQ(table->Append(std::span(ids).subspan(at, count),
                                  std::span(vectors).subspan(at * 10, count * 10)),
                    at);
        }
        EXPECT_EQ(table->Remove(std::vector<int64_t>{0, 20000, 999999}), 2);
        EXPECT_EQ(table->Remove(std::vector<int64_t>{0}), 0);
      }
      const auto table = VectorTable::Open(path);
      table->Verify();
      EXPECT_EQ(table->spec().model, "detector-7");
      EXPECT_EQ(table->spec().level, "object");
      EXPECT_EQ(table->rows(), n);
      EXPECT_EQ(table->live_rows(), n - 2);
      EXPECT_EQ(table->Find(0), -1);
      EXPECT_EQ(table->Find(20000), -1);
      EXPECT_EQ(table->Find(-6), -1);
      EXPECT_EQ(table->Find(n), -1);
      EXPECT_TRUE(table->is_deleted(5));
      for (int64_t i = 1; i < n; i += 977) {
        ASSERT_EQ(table->Find(i - 5), i);
        std::vector<float> v(10);
        table->Read(i, v.data());
        double square = 0;
        for (int c = 0; c < 10; ++c) square += vectors[i * 10 + c] * vectors[i * 10 + c];
        const double scale = metric == VectorMetric::kCosine ? 1 / std::sqrt(square) : 1;
        for (int c = 0; c < 10; ++c) EXPECT_NEAR(v[c], vectors[i * 10 + c] * scale, 0.03);
      }
      EXPECT_THAT(ErrorOf([&] { table->Append(Iota(1), RandomVectors(1, 10, 2)); }),
                  HasSubstr("reading only"));
    }
  }
}

TEST(VectorTableTest, AnIdThatComesAgainReplaces) {
  const auto path = TestFolder("again") / "t";
  const auto table = VectorTable::Create(path, {"m", "frame", 2, VectorPrecision::kFloat32});
  table->Append(std::vector<int64_t>{7, 8, 7}, std::vector<float>{1, 0, 0, 1, -1, 0});
  EXPECT_EQ(table->Find(7), 2);
  EXPECT_EQ(table->live_rows(), 2);
  table->Remove(std::vector<int64_t>{7});
  EXPECT_EQ(table->Find(7), -1);
  EXPECT_EQ(table->Append(std::vector<int64_t>{7}, std::vector<float>{0, 2}), 3);
  EXPECT_EQ(table->Find(7), 3);
  EXPECT_EQ(VectorTable::Open(path)->Find(7), 3);
  EXPECT_EQ(VectorTable::Open(path)->live_rows(), 2);

  const auto compact = path.parent_path() / "compact";
  table->CompactTo(compact);
  const auto kept = VectorTable::Open(compact);
  kept->Verify();
  EXPECT_EQ(kept->rows(), 2);
  EXPECT_EQ(kept->live_rows(), 2);
  EXPECT_EQ(std::memcmp(kept->row(kept->Find(7)), table->row(3), table->layout().row_bytes()), 0);
}

TEST(VectorTableTest, RefusesWhatIsNoVector) {
  const auto path = TestFolder("refuse") / "t";
  const auto table = VectorTable::Create(
      path, {"m", "frame", 3, VectorPrecision::kFloat16, VectorMetric::kInnerProduct});
  const float nan = std::nanf(""), inf = std::numeric_limits<float>::infinity();
  const std::vector<int64_t> ids = {1, 2};
  EXPECT_THAT(ErrorOf([&] {
                table->Append(ids, std::vector<float>{1, 2, 3, 4, nan, 6});
              }),
              HasSubstr("vector 1 (id 2): component 1 is nan"));
  EXPECT_THAT(ErrorOf([&] {
                table->Append(ids, std::vector<float>{1, inf, 3, 4, 5, 6});
              }),
              HasSubstr("component 1 is inf"));
  EXPECT_THAT(ErrorOf([&] {
                table->Append(ids, std::vector<float>{1, 2, 3, 4, 5, 70000});
              }),
              HasSubstr("up to 65504"));
  EXPECT_THAT(ErrorOf([&] { table->Append(ids, std::vector<float>(5)); }),
              HasSubstr("expected 2 vectors of 3 components, found 5 numbers"));
  EXPECT_EQ(table->rows(), 0);
  EXPECT_THAT(ErrorOf([&] {
                VectorTable::Create(path, {"m", "frame", 3});
              }),
              HasSubstr("expected no file here yet"));
  EXPECT_THAT(ErrorOf([&] {
                VectorTable::Create(path / "x", {"m", "frame", 0});
              }),
              HasSubstr("expected a dimension"));
  EXPECT_THAT(ErrorOf([&] { VectorTable::Open(path, true); }), HasSubstr("another process"));
  EXPECT_THAT(ErrorOf([&] { VectorTable::Open(path.parent_path() / "none"); }),
              HasSubstr("none: cannot open the vectors"));
}

// Every damaged byte of the header and every shortened file is an Error or harmless.
TEST(VectorTableTest, NoticesDamage) {
  const auto path = TestFolder("damage") / "t";
  {
    const auto table = VectorTable::Create(path, {"model", "frame", 4});
    table->Append(Iota(100), RandomVectors(100, 4, 3));
  }
  const std::string good = ReadFile(path);
  const auto open = [&](const std::string& bytes) {
    WriteFile(path, bytes);
    return ErrorOf([&] { VectorTable::Open(path)->Verify(); });
  };
  EXPECT_EQ(open(good), "");
  for (size_t at = 0; at < 42; ++at) {
    std::string bytes = good;
    bytes[at] ^= 0x40;
    EXPECT_THAT(open(bytes), HasSubstr(path.string())) << at;
  }
  std::string bytes = good;
  bytes[2048 + 4] ^= 1;
  bytes[3072 + 4] ^= 1;
  EXPECT_THAT(open(bytes), HasSubstr("both counts of rows are damaged"));
  bytes = good;
  bytes[4096 + 266240 + 64 * 3 + 5] ^= 1;  // in the fourth row
  EXPECT_THAT(open(bytes), HasSubstr("bytes are damaged"));
  for (const size_t size : {size_t{0}, size_t{100}, size_t{4096}, good.size() - 1}) {
    EXPECT_THAT(open(good.substr(0, size)), HasSubstr("expected")) << size;
  }
}

TEST(VectorTableTest, AReaderSeesWhatAWriterAppends) {
  const auto path = TestFolder("refresh") / "t";
  const auto writer = VectorTable::Create(path, {"m", "frame", 4});
  const auto reader = VectorTable::Open(path);
  EXPECT_FALSE(reader->Refresh());
  writer->Append(Iota(20000), RandomVectors(20000, 4, 1));
  EXPECT_EQ(reader->rows(), 0);
  EXPECT_TRUE(reader->Refresh());
  EXPECT_EQ(reader->rows(), 20000);
  EXPECT_EQ(reader->Find(19999), 19999);
  reader->Verify();
}

TEST(VectorTableTest, ReadersRunWhileRowsAreAppended) {
  const auto table =
      VectorTable::Create(TestFolder("threads") / "t", {"m", "frame", 8, VectorPrecision::kInt8});
  std::atomic<bool> stop = false;
  std::atomic<int64_t> wrong = 0, read = 0;
  std::thread reader([&] {
    while (!stop || read == 0) {
      const int64_t rows = table->rows();
      for (int64_t row = 0; row < rows; row += 101) {
        wrong += table->id(row) == row * 3 && table->Find(row * 3) == row ? 0 : 1;
        ++read;
      }
    }
  });
  for (int64_t first = 0; first < 60000; first += 4000) {
    std::vector<int64_t> ids(4000);
    for (int64_t i = 0; i < 4000; ++i) ids[i] = (first + i) * 3;
    table->Append(ids, RandomVectors(4000, 8, first));
  }
  stop = true;
  reader.join();
  EXPECT_EQ(wrong, 0);
}

// A writer that is killed at any moment leaves whole appends.
TEST(VectorTableTest, SurvivesKills) {
  const auto path = TestFolder("kill") / "t";
  VectorTable::Create(path, {"m", "object", 16});
  constexpr int64_t kBatch = 700;
  Random random(5);
  int64_t last = 0;
  for (int trial = 0; trial < 25; ++trial) {
    const pid_t child = ::fork();
    if (child == 0) {
      const auto table = VectorTable::Open(path, true);
      while (true) {
        const int64_t first = table->rows();
        table->Append(Iota(kBatch, first), RandomVectors(kBatch, 16, first));
      }
    }
    ::usleep(2000 + random.Below(30000));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    const auto table = VectorTable::Open(path);
    table->Verify();
    ASSERT_EQ(table->rows() % kBatch, 0);
    ASSERT_GE(table->rows(), last);
    last = table->rows();
  }
  const auto table = VectorTable::Open(path);
  for (int64_t first = 0; first < last; first += kBatch) {
    ASSERT_EQ(table->Find(first), first);
    const auto vectors = RandomVectors(kBatch, 16, first);
    std::vector<float> v(16);
    table->Read(first + 1, v.data());
    EXPECT_GT(v[3] * vectors[16 + 3], 0);
  }
  EXPECT_GT(last, 0);
}

}  // namespace
}  // namespace athanor
