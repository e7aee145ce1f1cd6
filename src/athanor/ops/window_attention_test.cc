// Window attention: a loop over pixels in double precision, plain tensors, and the kernel.
#include "athanor/ops/window_attention.h"

#include <cmath>
#include <string>
#include <tuple>

#include "athanor/base/parallel.h"
#include "athanor/base/test_util.h"
#include "athanor/ops/ops_test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

struct Case {
  int64_t maps, rows, columns;
  int window, heads, head_channels, shift_rows, shift_columns;
  int offset_rows = 0, offset_columns = 0;

  WindowOptions options() const {
    return {window, heads, shift_rows, shift_columns, offset_rows, offset_columns};
  }
};

std::vector<Case> Cases() {
  return {
      {1, 12, 12, 6, 8, 16, 0, 0},        // whole windows
      {1, 12, 18, 6, 8, 16, 3, 3},        // shifted
      {2, 13, 17, 6, 2, 16, 3, 3},        // padded; the last row of windows has no keys
      {1, 16, 12, 4, 4, 16, 2, 2},        //
      {3, 9, 10, 4, 1, 32, 2, 1},         //
      {1, 15, 8, 5, 3, 8, 2, 2},          //
      {1, 7, 14, 7, 4, 32, 3, 3},         // one row of windows
      {1, 20, 9, 7, 2, 12, 0, 3},         // shifted along one axis
      {1, 17, 16, 8, 2, 8, 4, 4},         //
      {2, 10, 11, 6, 2, 20, -3, -2},      // shifted up and left
      {1, 5, 3, 8, 2, 8, 4, 0},           // a map smaller than a window
      {1, 1, 1, 4, 1, 4, 0, 0},           //
      {1, 3, 2, 1, 2, 4, 0, 0},           // windows of one pixel
      {1, 33, 16, 16, 1, 64, 8, 8},       // the largest
      {2, 14, 21, 7, 2, 8, 0, 0, 4, 4},   // Swin's shift by 3
      {1, 13, 10, 6, 2, 4, 0, 0, 1, 5},   //
      {1, 12, 12, 6, 2, 8, 3, -2, 3, 2},  // both
      {1, 3, 5, 8, 1, 8, 0, 0, 7, 4},     // four windows meet in a map smaller than one
  };
}

std::string NameOf(const Case& c) {
  return StrCat(c.maps, "x", c.rows, "x", c.columns, " window ", c.window, " heads ", c.heads, "x",
                c.head_channels, " shift ", c.shift_rows, ",", c.shift_columns, " offset ",
                c.offset_rows, ",", c.offset_columns);
}

struct Inputs {
  at::Tensor queries, keys_values, table;
  std::vector<at::Tensor> list() const { return {queries, keys_values, table}; }
};

Inputs Make(const Case& c, at::ScalarType type, uint64_t seed = 1) {
  Random random(seed);
  const int64_t channels = int64_t{c.heads} * c.head_channels, side = 2 * c.window - 1;
  return {Leaf(Uniform({c.maps, c.rows, c.columns, channels}, -2, 2, &random), type),
          Leaf(Uniform({c.maps, c.rows, c.columns, 2 * channels}, -2, 2, &random), type),
          Leaf(Uniform({c.heads, side * side}, -1, 1, &random),
               type == at::kBFloat16 ? at::kFloat : type)};
}

at::Tensor Attend(const Inputs& in, const Case& c) {
  return WindowAttention(in.queries, in.keys_values, in.table, c.options());
}

// Whether the query at (row, column) meets the key at (key_row, key_column): the key lies in the
// query's window moved by the shift.
bool Meets(const Case& c, int64_t row, int64_t column, int64_t key_row, int64_t key_column) {
  const auto corner = [&c](int64_t place, int64_t offset) {
    return (place + offset) / c.window * c.window - offset;
  };
  const int64_t r = key_row - (corner(row, c.offset_rows) + c.shift_rows);
  const int64_t k = key_column - (corner(column, c.offset_columns) + c.shift_columns);
  return r >= 0 && r < c.window && k >= 0 && k < c.window;
}

// Every pair of pixels of a map is looked at.
at::Tensor Naive(const Inputs& in, const Case& c) {
  const int64_t channels = int64_t{c.heads} * c.head_channels;
  const at::Tensor q = in.queries.to(at::kDouble), kv = in.keys_values.to(at::kDouble);
  const at::Tensor table = in.table.to(at::kDouble), out = at::zeros_like(q);
  const auto query = q.accessor<double, 4>(), key = kv.accessor<double, 4>();
  const auto bias = table.accessor<double, 2>();
  auto sums = out.accessor<double, 4>();
  const int64_t m = c.window, pixels = c.rows * c.columns;
  for (int64_t b = 0; b < c.maps; ++b) {
    for (int64_t p = 0; p < pixels; ++p) {
      const int64_t y = p / c.columns, x = p % c.columns;
      for (int h = 0; h < c.heads; ++h) {
        double total = 0;
        for (int64_t o = 0; o < pixels; ++o) {
          const int64_t ky = o / c.columns, kx = o % c.columns;
          if (!Meets(c, y, x, ky, kx)) continue;
          double score = 0;
          for (int64_t i = h * c.head_channels; i < (h + 1) * c.head_channels; ++i) {
            score += query[b][y][x][i] * key[b][ky][kx][i];
          }
          score /= std::sqrt(c.head_channels);
          const int64_t down = y - ky + c.shift_rows + m - 1,
                        right = x - kx + c.shift_columns + m - 1;
          const double weight = std::exp(score + bias[h][down * (2 * m - 1) + right]);
          total += weight;
          for (int64_t i = h * c.head_channels; i < (h + 1) * c.head_channels; ++i) {
            sums[b][y][x][i] += weight * key[b][ky][kx][channels + i];
          }
        }
        for (int64_t i = h * c.head_channels; total > 0 && i < (h + 1) * c.head_channels; ++i) {
          sums[b][y][x][i] /= total;
        }
      }
    }
  }
  return out;
}

TEST(WindowAttention, IsTheLoopOverPixels) {
  for (const Case& c : Cases()) {
    SCOPED_TRACE(NameOf(c));
    c10::NoGradGuard guard;
    const Inputs exact = Make(c, at::kDouble);
    const at::Tensor expected = Naive(exact, c);
    EXPECT_LT(Difference(Attend(exact, c), expected), 1e-12);
    EXPECT_LT(Difference(Attend(Make(c, at::kFloat), c), expected), 2e-6);
  }
}

std::vector<at::Tensor> Gradients(const Inputs& in, const Case& c) {
  Random random(9);
  const at::Tensor out = Attend(in, c);
  const at::Tensor weights = Uniform(out.sizes(), -1, 1, &random).to(out.scalar_type());
  (out * weights).sum().backward();
  std::vector<at::Tensor> gradients;
  for (const at::Tensor& leaf : in.list()) gradients.push_back(leaf.grad());
  return gradients;
}

TEST(WindowAttention, GradientsAreThoseOfPlainTensors) {
  for (const Case& c : Cases()) {
    SCOPED_TRACE(NameOf(c));
    const auto expected = Gradients(Make(c, at::kDouble), c);
    const auto found = Gradients(Make(c, at::kFloat), c);
    for (size_t i = 0; i < found.size(); ++i) EXPECT_LT(Difference(found[i], expected[i]), 4e-6);
  }
}

// Kernel against differences of the loop in double precision, which shares nothing with it.
TEST(WindowAttention, GradientsAreFiniteDifferences) {
  for (const Case& c : {Case{1, 5, 7, 4, 2, 8, 2, 2}, Case{1, 4, 4, 4, 1, 4, -1, 3},
                        Case{1, 6, 5, 4, 2, 4, 0, 0, 2, 1}}) {
    SCOPED_TRACE(NameOf(c));
    const auto gradients = Gradients(Make(c, at::kFloat), c);
    const Inputs in = Make(c, at::kDouble);
    Random random(9), chosen(5);
    const at::Tensor weights = Uniform(in.queries.sizes(), -1, 1, &random).to(at::kDouble);
    c10::NoGradGuard guard;
    constexpr double kStep = 1e-5;
    for (size_t leaf = 0; leaf < in.list().size(); ++leaf) {
      const at::Tensor values = in.list()[leaf].view({-1});
      const at::Tensor gradient = gradients[leaf].contiguous().view({-1});
      for (int n = 0; n < 40; ++n) {
        const auto i = static_cast<int64_t>(chosen.Below(static_cast<uint32_t>(values.numel())));
        const auto value = values[i].item<double>();
        values[i].fill_(value + kStep);
        const auto high = (Naive(in, c) * weights).sum().item<double>();
        values[i].fill_(value - kStep);
        const auto low = (Naive(in, c) * weights).sum().item<double>();
        values[i].fill_(value);
        EXPECT_NEAR(gradient[i].item<float>(), (high - low) / (2 * kStep), 1e-5)
            << "input " << leaf << ", value " << i;
      }
    }
  }
}

TEST(WindowAttention, Bfloat16RoundsOnlyWhatGoesInAndOut) {
  for (const Case& c : Cases()) {
    SCOPED_TRACE(NameOf(c));
    const Inputs rounded = Make(c, at::kBFloat16);
    const Inputs exact = {Leaf(rounded.queries, at::kDouble),
                          Leaf(rounded.keys_values, at::kDouble), Leaf(rounded.table, at::kDouble)};
    const at::Tensor out = Attend(rounded, c);
    EXPECT_EQ(out.scalar_type(), at::kBFloat16);
    EXPECT_LT(Difference(out, Attend(exact, c)), 1 / 256.0);
    const at::Tensor ones = at::ones_like(out);
    out.backward(ones);
    Attend(exact, c).backward(ones.to(at::kDouble));
    for (size_t i = 0; i < rounded.list().size(); ++i) {
      EXPECT_EQ(rounded.list()[i].grad().scalar_type(), rounded.list()[i].scalar_type());
      EXPECT_LT(Difference(rounded.list()[i].grad(), exact.list()[i].grad()), 1 / 256.0);
    }
  }
}

// What a query does not meet may be anything, NaN included; what it meets counts.
TEST(WindowAttention, OutputDependsOnTheKeysOfItsWindowAlone) {
  const Case c = {2, 13, 11, 6, 2, 8, 3, 3};
  c10::NoGradGuard guard;
  const Inputs in = Make(c, at::kFloat);
  const at::Tensor before = Attend(in, c);
  for (const auto& [row, column] : {std::pair{0, 0}, {2, 9}, {5, 5}, {9, 4}, {12, 10}}) {
    SCOPED_TRACE(StrCat("key ", row, ", ", column));
    Inputs changed = in;
    changed.keys_values = in.keys_values.clone();
    changed.keys_values[1][row][column].fill_(NAN);
    const at::Tensor differs = Attend(changed, c).ne(before).any(-1);  // [B,H,W]; NaN differs
    EXPECT_FALSE(differs[0].any().item<bool>()) << "the other map";
    for (int64_t y = 0; y < c.rows; ++y) {
      for (int64_t x = 0; x < c.columns; ++x) {
        EXPECT_EQ(differs[1][y][x].item<bool>(), Meets(c, y, x, row, column)) << y << ", " << x;
      }
    }
  }
  // And a query counts for itself alone.
  Inputs changed = in;
  changed.queries = in.queries.clone();
  changed.queries[0][7][3].fill_(NAN);
  const at::Tensor differs = Attend(changed, c).ne(before).any(-1);
  EXPECT_EQ(differs.sum().item<int64_t>(), 1);
  EXPECT_TRUE(differs[0][7][3].item<bool>());
}

TEST(WindowAttention, QueriesWithoutKeysGetZero) {
  // Row 6 is the only one of its window, whose keys would be rows 9 to 14.
  const Case c = {1, 7, 6, 6, 2, 8, 3, 0};
  const Inputs in = Make(c, at::kFloat);
  const at::Tensor out = Attend(in, c);
  EXPECT_EQ(out.slice(1, 6).abs().max().item<float>(), 0);
  out.sum().backward();
  EXPECT_EQ(in.queries.grad().slice(1, 6).abs().max().item<float>(), 0);
  // Rows 0 to 2 are the keys of no window.
  EXPECT_EQ(in.keys_values.grad().slice(1, 0, 3).abs().max().item<float>(), 0);
  EXPECT_GT(in.keys_values.grad().slice(1, 3).slice(3, 16).abs().min().item<float>(), 0);
  EXPECT_TRUE(IsFinite(in.keys_values.grad()));
}

TEST(WindowAttention, LargeScoresDoNotOverflow) {
  const Case c = {1, 8, 8, 4, 2, 16, 2, 2};
  Inputs in = Make(c, at::kFloat);
  in.queries = Leaf(in.queries * 1e4f, at::kFloat);
  const auto gradients = Gradients(in, c);
  for (const at::Tensor& gradient : gradients) EXPECT_TRUE(IsFinite(gradient));
  const Inputs exact = {Leaf(in.queries, at::kDouble), Leaf(in.keys_values, at::kDouble),
                        Leaf(in.table, at::kDouble)};
  EXPECT_LT(Difference(Attend(in, c), Attend(exact, c)), 1e-2);
}

TEST(WindowAttention, SameBytesWhateverTheThreads) {
  const Case c = {2, 40, 37, 6, 2, 16, 3, 3};
  const int threads = NumThreads();
  std::vector<std::vector<at::Tensor>> found;
  for (const int n : {1, 3}) {
    SetNumThreads(n);
    const Inputs in = Make(c, at::kFloat);
    found.push_back(Gradients(in, c));
    found.back().push_back(Attend(in, c));
  }
  SetNumThreads(threads);
  for (size_t i = 0; i < found[0].size(); ++i) EXPECT_TRUE(at::equal(found[0][i], found[1][i]));
}

TEST(WindowAttention, ViewsAndEmptyMaps) {
  const Case c = {1, 12, 12, 6, 2, 8, 3, 3};
  c10::NoGradGuard guard;
  const Inputs in = Make(c, at::kFloat);
  Inputs view = in;
  view.queries = in.queries.permute({0, 3, 1, 2}).contiguous().permute({0, 2, 3, 1});
  EXPECT_TRUE(at::equal(Attend(view, c), Attend(in, c)));
  const Case none = {0, 12, 12, 6, 2, 8, 3, 3};
  const Inputs empty = Make(none, at::kFloat);
  EXPECT_EQ(Attend(empty, none).numel(), 0);
}

TEST(WindowAttention, BadInputsAreOneLine) {
  const Case c = {1, 12, 12, 6, 2, 8, 3, 3};
  const Inputs in = Make(c, at::kFloat);
  const auto error = [&](at::Tensor q, at::Tensor kv, at::Tensor table, WindowOptions options) {
    return ErrorOf([&] { WindowAttention(q, kv, table, options); });
  };
  const WindowOptions good = c.options();
  EXPECT_THAT(error(in.queries[0], in.keys_values, in.table, good),
              OneLine("[B,H,W,C]", "[12, 12, 16]"));
  EXPECT_THAT(error({}, in.keys_values, in.table, good), OneLine("undefined"));
  EXPECT_THAT(error(in.queries, in.queries, in.table, good), OneLine("[1, 12, 12, 32]", "found"));
  EXPECT_THAT(error(in.queries, in.keys_values.to(at::kDouble), in.table, good),
              OneLine("queries' type", "Double"));
  EXPECT_THAT(error(in.queries, in.keys_values, in.table.slice(1, 1), good),
              OneLine("[2, 121]", "[2, 120]"));
  EXPECT_THAT(error(in.queries.to(at::kInt), in.keys_values, in.table, good), OneLine("Int"));
  WindowOptions options = good;
  options.window = 17;
  EXPECT_THAT(error(in.queries, in.keys_values, in.table, options), OneLine("1 to 16", "17"));
  options = good, options.shift_rows = 6;
  EXPECT_THAT(error(in.queries, in.keys_values, in.table, options), OneLine("6 pixels", "(6, 3)"));
  options = good, options.offset_columns = 6;
  EXPECT_THAT(error(in.queries, in.keys_values, in.table, options), OneLine("0 to 5", "(0, 6)"));
  options = good, options.heads = 3;
  EXPECT_THAT(error(in.queries, in.keys_values, in.table, options), OneLine("3 heads", "16"));
  options = good, options.heads = 8;
  EXPECT_THAT(error(in.queries, in.keys_values, in.table, options), OneLine("per head", "2"));
}

}  // namespace
}  // namespace athanor
