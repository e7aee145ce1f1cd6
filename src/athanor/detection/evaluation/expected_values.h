// The numbers that the official tools gave for the random cases, for tests only: testdata/*.bin.z,
// written by benchmarks/peers.
#pragma once

#include <gtest/gtest.h>
#include <zlib.h>

#include <cmath>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/base/files.h"

namespace athanor {

inline std::filesystem::path EvaluationTestData() {
  return std::filesystem::path(ATHANOR_SOURCE_DIR) / "src/athanor/detection/evaluation/testdata";
}

// [cases * values]
inline std::vector<double> ReadExpectedValues(const std::string& name, size_t cases,
                                              size_t values) {
  const std::string packed = ReadFile(EvaluationTestData() / name);
  std::vector<double> table(cases * values);
  uLongf size = table.size() * sizeof(double);
  const int status =
      uncompress(reinterpret_cast<Bytef*>(table.data()), &size,
                 reinterpret_cast<const Bytef*>(packed.data()), static_cast<uLong>(packed.size()));
  ATHANOR_CHECK(status == Z_OK && size == table.size() * sizeof(double), name, ": expected ", cases,
                " cases of ", values, " values");
  return table;
}

// Both NaN, or equal to 1e-9.
inline void ExpectParity(std::span<const double> found, std::span<const double> expected,
                         const std::string& what, double* worst) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    if (std::isnan(expected[i])) {
      EXPECT_TRUE(std::isnan(found[i])) << what << ", value " << i << ": " << found[i];
      continue;
    }
    EXPECT_NEAR(found[i], expected[i], 1e-9) << what << ", value " << i;
    *worst = std::max(*worst, std::abs(found[i] - expected[i]));
  }
}

}  // namespace athanor
