#include "athanor/scenes/semantics/lifting/vote.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

SemanticField Field(const std::vector<std::vector<float>>& rows) {
  SemanticField field;
  const auto n = static_cast<int64_t>(rows.size());
  at::Tensor values = at::zeros({n, 2});
  for (int64_t i = 0; i < n; ++i) {
    for (int j = 0; j < 2; ++j) values[i][j] = rows[i][j];
  }
  field.features = FeatureTable::FromRows(values);
  field.seen = values.norm(2, 1).gt(0).to(at::kByte);
  field.agreement = field.seen.to(at::kFloat);
  field.max_weight = field.seen * 0.5f;
  field.text_space = "words";
  return field;
}

TEST(FieldVote, TimesThatSawAGaussianAreAveraged) {
  FieldVote vote;
  vote.Add(Field({{1, 0}, {0, 2}, {0, 0}, {1, 0}}));
  vote.Add(Field({{1, 0}, {0, 0}, {0, 0}, {0, 1}}));
  const SemanticField field = vote.Result();
  field.Check("vote");
  const float r = std::sqrt(0.5f);
  const at::Tensor expected = at::tensor({1.0f, 0.0f, 0.0f, 1.0f, 0.0f, 0.0f, r, r}).view({4, 2});
  EXPECT_TRUE(at::allclose(field.features.DecodeAll(), expected, 0, 1e-3));
  EXPECT_TRUE(at::equal(field.seen, at::tensor({1, 1, 0, 1}, at::kByte)));
  EXPECT_TRUE(at::allclose(field.agreement, at::tensor({1.0f, 1.0f, 0.0f, r}), 0, 1e-3));
  EXPECT_EQ(field.text_space, "words");
}

TEST(FieldVote, RefusesFieldsOfAnotherScene) {
  FieldVote vote;
  EXPECT_THAT(ErrorOf([&] { vote.Result(); }), HasSubstr("at least one field"));
  vote.Add(Field({{1, 0}}));
  EXPECT_THAT(
      ErrorOf([&] {
        vote.Add(Field({{1, 0}, {0, 1}}));
      }),
      HasSubstr("expected 1 vectors of length 2 in 'words' and one list of labels, found 2 of 2"));
}

}  // namespace
}  // namespace athanor
