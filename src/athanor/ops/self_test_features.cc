// The part of self_test without Gaussians.
#include <cmath>

#include "athanor/kernels/feature_scores.h"
#include "athanor/kernels/lift.h"
#include "athanor/ops/bev_pool.h"
#include "athanor/ops/device.h"
#include "athanor/ops/self_test_checks.h"
#include "athanor/ops/sparse_conv.h"
#include "athanor/ops/window_attention.h"

namespace athanor::self_test {
namespace {

constexpr int64_t kScored = 200;

// Rows of a sparse matrix, of 0 to 4 entries each, times vectors.
void CheckLiftRows(const c10::Device& device, Random* random, Checks* checks) {
  constexpr int64_t kRows = 70, kColumns = 30, kDimension = 21;
  std::vector<int64_t> offsets = {0};
  std::vector<int32_t> columns;
  for (int64_t row = 0; row < kRows; ++row) {
    for (int64_t entry = 0; entry < row % 5; ++entry) {
      columns.push_back(static_cast<int32_t>(random->Below(kColumns)));
    }
    offsets.push_back(std::ssize(columns));
  }
  const at::Tensor weights = Uniform({std::ssize(columns)}, 0, 1, random);
  const at::Tensor features = Uniform({kColumns, kDimension}, -1, 1, random).to(at::kHalf);
  const at::Tensor scales = Uniform({kColumns}, 0.5f, 2, random);
  const at::Tensor before = Uniform({kRows, kDimension}, -1, 1, random);
  const at::Tensor expected = before.to(at::kDouble).clone();
  for (int64_t row = 0; row < kRows; ++row) {
    for (int64_t e = offsets[row]; e < offsets[row + 1]; ++e) {
      expected[row] += weights[e].to(at::kDouble) * scales[columns[e]].to(at::kDouble) *
                       features[columns[e]].to(at::kDouble);
    }
  }
  const at::Tensor sums = before.to(device).clone(), on_device[] = {
                                                         at::tensor(offsets).to(device),
                                                         at::tensor(columns).to(device),
                                                         weights.to(device),
                                                         features.to(device),
                                                         scales.to(device),
                                                     };
  LiftRowsArgs args = {};
  args.rows = kRows;
  args.offsets = on_device[0].data_ptr<int64_t>();
  args.columns = on_device[1].data_ptr<int32_t>();
  args.weights = on_device[2].data_ptr<float>();
  args.dimension = kDimension;
  args.features = static_cast<const uint16_t*>(on_device[3].data_ptr());
  args.scales = on_device[4].data_ptr<float>();
  args.sums = sums.data_ptr<float>();
  args.stride = kDimension;
  ATHANOR_RUN_KERNEL(device, LiftRows, args);
  checks->Add("lift rows", 1e-4, {{sums, expected}});
}

void CheckScores(const c10::Device& device, Random* random, Checks* checks) {
  const at::Tensor rows = Uniform({kScored, 40}, -1, 1, random).to(device, at::kHalf);
  const at::Tensor targets = Uniform({7, 40}, -1, 1, random).to(device);
  const at::Tensor scores = at::empty({kScored, 7}, targets.options());
  const HalfScoresArgs args = {kScored,
                               40,
                               7,
                               static_cast<const uint16_t*>(rows.data_ptr()),
                               targets.data_ptr<float>(),
                               scores.data_ptr<float>()};
  ATHANOR_RUN_KERNEL(device, HalfScores, args);
  checks->Add("feature scores", 1e-4, {{scores, at::matmul(Host(rows), Host(targets).t())}});
}

// Rows kept as numbers of vectors whose own scores are known, with weights or in parts.
void CheckCodedScores(const c10::Device& device, Random* random, Checks* checks) {
  constexpr int kEntries = 50, kTerms = 4, kVectors = 7, kParts = 3;
  const at::Tensor codes = Uniform({kScored, kTerms}, 0, kEntries, random).to(at::kShort);
  const at::Tensor weights = Uniform({kScored, kTerms}, -1, 1, random).to(at::kHalf);
  const at::Tensor entries = Uniform({kEntries, kVectors}, -1, 1, random);
  const at::Tensor expected =
      (entries.to(at::kDouble).index_select(0, codes.flatten().to(at::kLong)) *
       weights.to(at::kDouble).view({-1, 1}))
          .view({kScored, kTerms, kVectors})
          .sum(1);
  const at::Tensor device_codes = codes.to(device), device_weights = weights.to(device);
  const at::Tensor device_entries = entries.to(device);
  const at::Tensor scores = at::empty({kScored, kVectors}, device_entries.options());
  const CodedScoresArgs args = {kScored,
                                kTerms,
                                kVectors,
                                static_cast<const uint16_t*>(device_codes.data_ptr()),
                                static_cast<const uint16_t*>(device_weights.data_ptr()),
                                kEntries,
                                device_entries.data_ptr<float>(),
                                scores.data_ptr<float>()};
  ATHANOR_RUN_KERNEL(device, CodedScores, args);
  checks->Add("coded scores", 1e-4, {{scores, expected}});

  const at::Tensor part_codes = Uniform({kScored, kParts}, 0, 256, random).to(at::kByte);
  const at::Tensor table = Uniform({kParts, 256, kVectors}, -1, 1, random);
  at::Tensor expected_parts = at::zeros({kScored, kVectors}, at::kDouble);
  for (int64_t part = 0; part < kParts; ++part) {
    expected_parts +=
        table[part].to(at::kDouble).index_select(0, part_codes.select(1, part).to(at::kLong));
  }
  const at::Tensor device_parts = part_codes.to(device), device_table = table.to(device);
  const at::Tensor part_scores = at::empty({kScored, kVectors}, device_table.options());
  const ProductScoresArgs product = {kScored,
                                     kParts,
                                     kVectors,
                                     device_parts.data_ptr<uint8_t>(),
                                     device_table.data_ptr<float>(),
                                     part_scores.data_ptr<float>()};
  ATHANOR_RUN_KERNEL(device, ProductScores, product);
  checks->Add("product scores", 1e-4, {{part_scores, expected_parts}});
}

// Against a dense convolution over a grid that is zero where there is no voxel.
void CheckSparseConv(const c10::Device& device, Random* random, Checks* checks) {
  constexpr int kSide = 7, kIn = 9, kOut = 6;
  std::vector<float> points;
  std::vector<int64_t> places;
  for (int64_t place = 0; place < kSide * kSide * kSide; ++place) {
    if (random->Uniform() < 0.6f) continue;
    for (const int64_t c : {place / (kSide * kSide), place / kSide % kSide, place % kSide}) {
      points.push_back(static_cast<float>(c) + 0.5f);
    }
    places.push_back(place);
  }
  const auto count = static_cast<int64_t>(places.size());
  const VoxelizedPoints voxels = VoxelizePoints(at::tensor(points).view({count, 3}), {}, 1.0);
  // Of each voxel, its place in the grid.
  const at::Tensor place = at::empty({count}, at::kLong);
  place.index_put_({voxels.voxel_of_point}, at::tensor(places));
  const at::Tensor features = Uniform({count, kIn}, -1, 1, random);
  const at::Tensor weights = Uniform({27, kIn, kOut}, -1, 1, random);
  const at::Tensor d_answer = Uniform({count, kOut}, -1, 1, random);

  const at::Tensor leaf = Leaf(features, device, at::kFloat);
  const at::Tensor weight_leaf = Leaf(weights, device, at::kFloat);
  const at::Tensor answer = SparseConv(leaf, weight_leaf, voxels.grid->Submanifold(3));
  answer.backward(d_answer.to(device));

  const at::Tensor oracle = Leaf(features, c10::kCPU, at::kDouble);
  const at::Tensor oracle_weights = Leaf(weights, c10::kCPU, at::kDouble);
  const at::Tensor grid = at::zeros({int64_t{kSide} * kSide * kSide, kIn}, at::kDouble)
                              .index_put({place}, oracle)
                              .t()
                              .reshape({1, kIn, kSide, kSide, kSide});
  const at::Tensor kernel = oracle_weights.view({3, 3, 3, kIn, kOut}).permute({4, 3, 0, 1, 2});
  const at::Tensor expected = at::conv3d(grid, kernel, {}, 1, 1)
                                  .reshape({kOut, int64_t{kSide} * kSide * kSide})
                                  .t()
                                  .index_select(0, place);
  expected.backward(d_answer.to(at::kDouble));
  checks->Add("sparse convolution", 1e-4,
              {{answer, expected},
               {leaf.grad(), oracle.grad()},
               {weight_leaf.grad(), oracle_weights.grad()}});
}

// Shifted windows over a map that they do not divide.
void CheckWindowAttention(const c10::Device& device, Random* random, Checks* checks) {
  constexpr int64_t kRows = 13, kColumns = 17, kChannels = 32;
  const WindowOptions options = {.window = 6, .heads = 2, .shift_rows = 3, .shift_columns = 3};
  const at::Tensor queries = Uniform({1, kRows, kColumns, kChannels}, -2, 2, random);
  const at::Tensor keys_values = Uniform({1, kRows, kColumns, 2 * kChannels}, -2, 2, random);
  const at::Tensor table = Uniform({2, 11 * 11}, -1, 1, random);
  const at::Tensor d_answer = Uniform({1, kRows, kColumns, kChannels}, -1, 1, random);
  const at::Tensor leaves[] = {Leaf(queries, device, at::kFloat),
                               Leaf(keys_values, device, at::kFloat),
                               Leaf(table, device, at::kFloat)};
  const at::Tensor oracle[] = {Leaf(queries, c10::kCPU, at::kDouble),
                               Leaf(keys_values, c10::kCPU, at::kDouble),
                               Leaf(table, c10::kCPU, at::kDouble)};
  const at::Tensor answer = WindowAttention(leaves[0], leaves[1], leaves[2], options);
  const at::Tensor expected = WindowAttentionReference(oracle[0], oracle[1], oracle[2], options);
  answer.backward(d_answer.to(device));
  expected.backward(d_answer.to(at::kDouble));
  checks->Add("window attention", 1e-4,
              {{answer, expected},
               {leaves[0].grad(), oracle[0].grad()},
               {leaves[1].grad(), oracle[1].grad()},
               {leaves[2].grad().flatten(), oracle[2].grad().flatten()}});
}

// Against the whole product of pixels and bins, added to its cells.
void CheckBevPool(const c10::Device& device, Random* random, Checks* checks) {
  constexpr int64_t kCameras = 2, kHeight = 3, kWidth = 7, kBins = 5, kCells = 30, kFeatures = 19;
  // A fifth of the bins meets no cell.
  const at::Tensor table =
      Uniform({kCameras, kHeight, kWidth, kBins}, -0.25f * kCells, kCells, random)
          .floor()
          .clamp_min(-1)
          .to(at::kInt);
  const BevLinks links = MakeBevLinks(table, kCells).To(device);
  const at::Tensor features = Uniform({kCameras, kFeatures, kHeight, kWidth}, -1, 1, random);
  const at::Tensor weights = Uniform({kCameras, kBins, kHeight, kWidth}, 0, 1, random);
  const at::Tensor values = Uniform({kCells, kFeatures}, -1, 1, random);
  const at::Tensor d_pooled = Uniform({kCells, kFeatures}, -1, 1, random);
  const at::Tensor d_spread = Uniform({kCameras, kFeatures, kHeight, kWidth}, -1, 1, random);

  const at::Tensor meets = (table >= 0).flatten().nonzero().flatten();
  const at::Tensor cells = table.flatten().index_select(0, meets).to(at::kLong);
  const at::Tensor oracle_features = Leaf(features, c10::kCPU, at::kDouble);
  const at::Tensor oracle_weights = Leaf(weights, c10::kCPU, at::kDouble);
  const at::Tensor products = (oracle_weights.permute({0, 2, 3, 1}).unsqueeze(4) *
                               oracle_features.permute({0, 2, 3, 1}).unsqueeze(3))
                                  .flatten(0, 3);
  const at::Tensor expected_pooled = at::zeros({kCells, kFeatures}, at::kDouble)
                                         .index_add(0, cells, products.index_select(0, meets));
  const at::Tensor leaf_features = Leaf(features, device, at::kFloat);
  const at::Tensor leaf_weights = Leaf(weights, device, at::kFloat);
  const at::Tensor pooled = BevPool(leaf_features, leaf_weights, links);
  pooled.backward(d_pooled.to(device));
  expected_pooled.backward(d_pooled.to(at::kDouble));
  checks->Add("bev pool", 1e-4,
              {{pooled, expected_pooled},
               {leaf_features.grad(), oracle_features.grad()},
               {leaf_weights.grad(), oracle_weights.grad()}});

  const at::Tensor oracle_values = Leaf(values, c10::kCPU, at::kDouble);
  const at::Tensor expected_spread =
      at::zeros({kCameras * kHeight * kWidth * kBins, kFeatures}, at::kDouble)
          .index_add(0, meets, oracle_values.index_select(0, cells))
          .view({kCameras, kHeight, kWidth, kBins, kFeatures})
          .sum(3)
          .permute({0, 3, 1, 2});
  const at::Tensor leaf_values = Leaf(values, device, at::kFloat);
  const at::Tensor spread = BevSpread(leaf_values, links);
  spread.backward(d_spread.to(device));
  expected_spread.backward(d_spread.to(at::kDouble));
  checks->Add("bev spread", 1e-4,
              {{spread, expected_spread}, {leaf_values.grad(), oracle_values.grad()}});
}

}  // namespace

void CheckFeatureKernels(const c10::Device& device, Random* random, Checks* checks) {
  CheckLiftRows(device, random, checks);
  CheckScores(device, random, checks);
  CheckCodedScores(device, random, checks);
  CheckSparseConv(device, random, checks);
  CheckWindowAttention(device, random, checks);
  CheckBevPool(device, random, checks);
}

}  // namespace athanor::self_test
