#include "athanor/scenes/semantics/semantic_field.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"
#include "athanor/nn/safetensors.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Unit rows around a few directions, as the objects of a scene have them; every fifth is zero.
at::Tensor RowsOfObjects(int64_t n, int dimension, int objects, double spread) {
  at::manual_seed(3);
  const at::Tensor centers = at::randn({objects, dimension});
  at::Tensor rows = centers.index_select(0, at::arange(n, at::kLong) % objects) +
                    spread * at::randn({n, dimension});
  rows /= at::norm(rows, 2, {1}, true);
  rows.index_fill_(0, at::arange(0, n, 5, at::kLong), 0);
  return rows;
}

SemanticField FieldOf(const at::Tensor& rows) {
  SemanticField field;
  field.features = FeatureTable::FromRows(rows);
  field.seen = (rows.abs().amax(1) > 0).to(at::kByte);
  field.agreement = field.seen.to(at::kFloat) * 0.5;
  field.max_weight = field.seen.to(at::kFloat) * 0.25;
  field.text_space = "clip";
  field.teacher_key = "test 1";
  field.lift_mode = "weights";
  field.scene_hash = "0123456789abcdef";
  return field;
}

TEST(FeatureTable, ScoresAreDotProducts) {
  for (const int dimension : {1, 7, 16, 33, 512}) {
    for (const int prompts : {1, 3, 4, 9}) {
      const at::Tensor rows = RowsOfObjects(101, dimension, 6, 0.3);
      const FeatureTable table = FeatureTable::FromRows(rows);
      const at::Tensor targets = at::randn({prompts, dimension});
      const at::Tensor expected = at::mm(rows.to(at::kHalf).to(at::kFloat), targets.t());
      EXPECT_LT((table.Score(targets) - expected).abs().max().item<float>(),
                2e-3f * std::sqrt(dimension))
          << dimension << " " << prompts;
    }
  }
}

TEST(FeatureTable, RowsHaveLengthOne) {
  const at::Tensor rows = at::tensor({3.0f, 4.0f, 0.0f, 0.0f}).view({2, 2});
  const at::Tensor decoded = FeatureTable::FromRows(rows).DecodeAll();
  EXPECT_NEAR(decoded[0][0].item<float>(), 0.6, 1e-3);
  EXPECT_EQ(decoded[1].abs().sum().item<float>(), 0);
}

TEST(FeatureTable, StoresComeNearTheRows) {
  const at::Tensor rows = RowsOfObjects(4000, 60, 40, 0.25);
  const FeatureTable full = FeatureTable::FromRows(rows);
  const at::Tensor seen = rows.abs().amax(1) > 0;
  const at::Tensor targets = at::randn({5, 60});
  for (const FeatureStore store :
       {FeatureStore::kProduct, FeatureStore::kCodebook, FeatureStore::kCluster}) {
    SCOPED_TRACE(FeatureStoreName(store));
    const FeatureTable table = full.Compress(store);
    const at::Tensor decoded = table.DecodeAll();
    const at::Tensor cosine =
        at::cosine_similarity(decoded, full.DecodeAll(), 1).masked_select(seen);
    // Each row is its object's direction and noise of a quarter of its length; a code that finds
    // the object alone gives 0.97.
    EXPECT_GT(cosine.mean().item<float>(), 0.96);
    EXPECT_EQ(decoded.index_select(0, at::arange(0, 4000, 5, at::kLong)).abs().max().item<float>(),
              0);
    // Scores are those of the decoded rows, which were made by other code.
    EXPECT_LT((table.Score(targets) - at::mm(decoded, targets.t())).abs().max().item<float>(),
              1e-3);
    EXPECT_LT(table.bytes_per_row(), 17);
  }
  EXPECT_EQ(full.Compress(FeatureStore::kCluster).bytes_per_row(), 2);
}

TEST(FeatureTable, CompressingAgainGivesTheSameBytes) {
  const FeatureTable full = FeatureTable::FromRows(RowsOfObjects(500, 24, 9, 0.2));
  for (const FeatureStore store :
       {FeatureStore::kProduct, FeatureStore::kCodebook, FeatureStore::kCluster}) {
    const auto a = full.Compress(store, 5).State(), b = full.Compress(store, 5).State();
    for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(at::equal(a[i].second, b[i].second));
  }
}

TEST(FeatureTable, TakesFewRowsAndNone) {
  for (const int64_t n : {0, 1, 2, 5}) {
    const FeatureTable full = FeatureTable::FromRows(RowsOfObjects(n, 9, 3, 0.1));
    for (const FeatureStore store : {FeatureStore::kHalf, FeatureStore::kProduct,
                                     FeatureStore::kCodebook, FeatureStore::kCluster}) {
      const FeatureTable table = full.Compress(store);
      EXPECT_LT((table.DecodeAll() - full.DecodeAll()).abs().sum().item<float>(), 0.05) << n;
      EXPECT_EQ(table.Score(at::ones({2, 9})).size(0), n);
    }
  }
}

TEST(FeatureTable, NamesARowThatIsNotFinite) {
  at::Tensor rows = at::ones({5, 3});
  rows[3][1] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(ErrorOf([&] { FeatureTable::FromRows(rows); }), HasSubstr("row 3 is not finite"));
}

TEST(SemanticField, RoundTrips) {
  const auto folder = TestFolder("semantic_field");
  SemanticField field = FieldOf(RowsOfObjects(60, 10, 4, 0.2));
  const SemanticField full = field;
  for (const FeatureStore store : {FeatureStore::kHalf, FeatureStore::kProduct,
                                   FeatureStore::kCodebook, FeatureStore::kCluster}) {
    field.features = full.features.Compress(store);
    WriteSemanticField(folder / "a.safetensors", field);
    const SemanticField read = ReadSemanticField(folder / "a.safetensors");
    EXPECT_TRUE(at::equal(read.features.DecodeAll(), field.features.DecodeAll()));
    EXPECT_TRUE(at::equal(read.seen, field.seen));
    EXPECT_TRUE(at::equal(read.agreement, field.agreement));
    EXPECT_EQ(read.num_seen(), 48);
    EXPECT_EQ(read.teacher_key, "test 1");
    EXPECT_EQ(read.scene_hash, field.scene_hash);
  }
}

TEST(SemanticField, UnseenGaussiansGoBeforeOrBehind) {
  const SemanticField full = FieldOf(RowsOfObjects(60, 10, 4, 0.2));
  for (const FeatureStore store : {FeatureStore::kHalf, FeatureStore::kCluster}) {
    SemanticField field = full;
    field.features = full.features.Compress(store);
    const at::Tensor rows = field.features.DecodeAll();
    for (const bool before : {false, true}) {
      const SemanticField more = before ? field.PrependUnseen(7) : field.AppendUnseen(7);
      more.Check("more");
      EXPECT_EQ(more.size(), 67);
      EXPECT_EQ(more.features.store(), store);
      EXPECT_EQ(more.num_seen(), field.num_seen());
      const int64_t first = before ? 7 : 0;
      EXPECT_TRUE(at::equal(more.seen.narrow(0, first, 60), field.seen));
      EXPECT_TRUE(at::allclose(more.features.DecodeAll().narrow(0, first, 60), rows, 0, 2e-3));
    }
  }
}

TEST(SemanticField, RefusesWhatDoesNotFit) {
  const auto folder = TestFolder("semantic_field_bad");
  const auto path = folder / "a.safetensors";
  SemanticField field = FieldOf(RowsOfObjects(20, 6, 4, 0.2));
  field.features = field.features.Compress(FeatureStore::kCluster);
  WriteSemanticField(path, field);
  const SafeTensors good = ReadSafeTensors(path);

  const auto error_with = [&](const auto& change) {
    SafeTensors bad = good;
    for (auto& [name, tensor] : bad.tensors) tensor = tensor.clone();
    change(bad);
    WriteSafeTensors(path, bad);
    return ErrorOf([&] { ReadSemanticField(path); });
  };
  EXPECT_THAT(error_with([](SafeTensors& c) { c.tensors[0].second.fill_(255); }),
              AllOf(HasSubstr("a.safetensors"), HasSubstr("'codes' of Gaussian 0"),
                    HasSubstr("found 65535")));
  EXPECT_THAT(error_with([](SafeTensors& c) { c.metadata["store"] = "zip"; }),
              HasSubstr("found 'zip'"));
  EXPECT_THAT(error_with([](SafeTensors& c) { c.metadata.erase("teacher_key"); }),
              HasSubstr("expected 'teacher_key'"));
  EXPECT_THAT(error_with([](SafeTensors& c) { c.tensors[2].second = at::ones({3}, at::kByte); }),
              HasSubstr("'seen' should be"));
  EXPECT_THAT(error_with([](SafeTensors& c) { c.metadata["dimension"] = "-7"; }),
              HasSubstr("length -7"));

  // Gaussian 3 has a feature, and the file says that it was never seen.
  for (const FeatureStore store : {FeatureStore::kHalf, FeatureStore::kProduct,
                                   FeatureStore::kCodebook, FeatureStore::kCluster}) {
    SemanticField unseen = FieldOf(RowsOfObjects(20, 6, 4, 0.2));
    unseen.features = unseen.features.Compress(store);
    unseen.Check("before");
    unseen.seen[3] = 0;
    EXPECT_THAT(ErrorOf([&] { unseen.Check("field"); }),
                HasSubstr("field: Gaussian 3 was never seen: expected features of zeros"))
        << FeatureStoreName(store);
  }

  WriteFile(folder / "scene.ply", "something else");
  EXPECT_THAT(ErrorOf([&] { field.CheckScene(folder / "scene.ply", 20, "a"); }),
              AllOf(HasSubstr("0123456789abcdef"), HasSubstr("lift again")));
  EXPECT_THAT(ErrorOf([&] { field.CheckScene(folder / "scene.ply", 21, "a"); }),
              HasSubstr("features of 20 Gaussians"));
}

}  // namespace
}  // namespace athanor
