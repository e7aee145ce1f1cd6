#include "athanor/kernels/vector_distance.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "athanor/base/random.h"

namespace athanor {
namespace {

double Dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t c = 0; c < a.size(); ++c) sum += double{a[c]} * b[c];
  return sum;
}

class VectorDistanceTest
    : public ::testing::TestWithParam<std::tuple<VectorPrecision, int, int, int>> {};

// Against doubles, on the values that the rows hold after rounding.
TEST_P(VectorDistanceTest, ScoresAreInnerProducts) {
  const auto [precision, dimension, n, queries] = GetParam();
  const VectorLayout layout = {precision, dimension};
  Random random(static_cast<uint64_t>(dimension));
  const auto make = [&] {
    std::vector<float> v(dimension);
    for (float& x : v) x = random.Normal();
    return v;
  };
  std::vector<std::vector<float>> held(n), asked(queries);
  std::vector<uint8_t> bytes(n * layout.row_bytes());
  std::vector<const void*> rows(n);
  for (int i = 0; i < n; ++i) {
    const std::vector<float> v = make();
    rows[i] = bytes.data() + i * layout.row_bytes();
    EncodeVector(layout, v.data(), bytes.data() + i * layout.row_bytes());
    held[i].resize(dimension);
    DecodeVector(layout, rows[i], held[i].data());
    const double step = precision == VectorPrecision::kFloat32   ? 0
                        : precision == VectorPrecision::kFloat16 ? 3e-3
                                                                 : 0.025;
    for (int c = 0; c < dimension; ++c) EXPECT_NEAR(held[i][c], v[c], step);
  }
  std::vector<EncodedQuery> encoded;
  std::vector<const EncodedQuery*> pointers;
  for (auto& query : asked) {
    query = make();
    encoded.emplace_back(layout, query.data());
  }
  for (const EncodedQuery& query : encoded) pointers.push_back(&query);
  std::vector<float> scores(static_cast<size_t>(queries) * n, -1);
  VectorScoresCpu({layout, queries, pointers.data(), n, rows.data(), scores.data()});
  // Queries on i8 rows are rounded to 1/8191 of their largest component.
  const double tolerance =
      (precision == VectorPrecision::kInt8 ? 1e-3 : 2e-5) * std::sqrt(dimension) + 1e-5;
  for (int q = 0; q < queries; ++q) {
    for (int i = 0; i < n; ++i) {
      EXPECT_NEAR(scores[q * n + i], Dot(asked[q], held[i]), tolerance) << q << " " << i;
    }
  }
  const VectorDotFunction dot = FindVectorDot(precision);
  for (int i = 1; i < n; ++i) {
    EXPECT_NEAR(dot(rows[i - 1], rows[i], layout.padded()), Dot(held[i - 1], held[i]),
                2e-5 * std::sqrt(dimension) + 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, VectorDistanceTest,
                         ::testing::Combine(::testing::Values(VectorPrecision::kFloat32,
                                                              VectorPrecision::kFloat16,
                                                              VectorPrecision::kInt8),
                                            ::testing::Values(1, 31, 32, 100, 256, 1000),
                                            ::testing::Values(1, 2, 13),
                                            ::testing::Values(0, 1, 3, 5)));

TEST(VectorDistanceTest, LargeSumsOfInt8DoNotOverflow) {
  const VectorLayout layout = {VectorPrecision::kInt8, kMaxVectorDimension};
  const std::vector<float> ones(kMaxVectorDimension, 1.0f);
  std::vector<uint8_t> row(layout.row_bytes());
  EncodeVector(layout, ones.data(), row.data());
  const EncodedQuery query(layout, ones.data());
  const EncodedQuery* queries[] = {&query};
  const void* rows[] = {row.data()};
  float score = 0;
  VectorScoresCpu({layout, 1, queries, 1, rows, &score});
  EXPECT_NEAR(score, kMaxVectorDimension, 0.1);
  EXPECT_NEAR(FindVectorDot(VectorPrecision::kInt8)(row.data(), row.data(), layout.padded()),
              kMaxVectorDimension, 0.1);
}

TEST(VectorDistanceTest, AZeroVectorScoresZero) {
  for (const auto precision :
       {VectorPrecision::kFloat32, VectorPrecision::kFloat16, VectorPrecision::kInt8}) {
    const VectorLayout layout = {precision, 5};
    const std::vector<float> zero(5, 0.0f), some = {1, -2, 3, 4, 5};
    std::vector<uint8_t> row(layout.row_bytes());
    EncodeVector(layout, zero.data(), row.data());
    const EncodedQuery query(layout, some.data()), none(layout, zero.data());
    const EncodedQuery* queries[] = {&query, &none};
    const void* rows[] = {row.data()};
    float scores[2] = {1, 1};
    VectorScoresCpu({layout, 2, queries, 1, rows, scores});
    EXPECT_EQ(scores[0], 0);
    EXPECT_EQ(scores[1], 0);
  }
}

}  // namespace
}  // namespace athanor
