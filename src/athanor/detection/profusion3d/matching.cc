#include "athanor/detection/profusion3d/matching.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "athanor/base/error.h"

namespace athanor {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Rows no more than columns. A row at a time: Dijkstra over columns, from the row to the nearest
// one that is free, with costs that the potentials keep above 0.
class Solver {
 public:
  Solver(const double* cost, int64_t rows, int64_t columns)
      : cost_(cost),
        rows_(rows),
        columns_(columns),
        row_potential_(rows),
        column_potential_(columns),
        open_potential_(columns),
        distance_(columns),
        from_(columns),
        column_of_row_(rows, -1),
        row_of_column_(columns, -1) {}

  void Run() {
    // Most boxes have a nearest query of their own: these rows are done at once.
    for (int64_t i = 0; i < rows_; ++i) {
      const double* costs = cost_ + i * columns_;
      const int64_t nearest = std::min_element(costs, costs + columns_) - costs;
      row_potential_[i] = costs[nearest];
      if (row_of_column_[nearest] < 0) Pair(i, nearest);
    }
    for (int64_t i = 0; i < rows_; ++i) {
      if (column_of_row_[i] < 0) Augment(i);
    }
  }

  const std::vector<int64_t>& column_of_row() const { return column_of_row_; }
  const std::vector<int64_t>& row_of_column() const { return row_of_column_; }
  const std::vector<double>& row_potential() const { return row_potential_; }
  const std::vector<double>& column_potential() const { return column_potential_; }

 private:
  struct Closed {
    int64_t column;
    double distance;
  };

  void Pair(int64_t row, int64_t column) {
    column_of_row_[row] = column;
    row_of_column_[column] = row;
  }

  void Augment(int64_t start) {
    std::copy(column_potential_.begin(), column_potential_.end(), open_potential_.begin());
    std::fill(distance_.begin(), distance_.end(), kInfinity);
    closed_.clear();
    int64_t row = start;
    double reached = 0;
    while (true) {
      Relax(row, reached);
      const int64_t column = Nearest();
      reached = distance_[column];
      closed_.push_back({column, reached});
      if (row_of_column_[column] < 0) break;
      row = row_of_column_[column];
      // Infinitely far from now on, so that the loops over columns need no condition.
      distance_[column] = kInfinity, open_potential_[column] = -kInfinity;
    }
    row_potential_[start] += reached;
    for (const Closed& closed : closed_) {
      const double less = reached - closed.distance;
      column_potential_[closed.column] -= less;
      const int64_t owner = row_of_column_[closed.column];
      if (owner >= 0) row_potential_[owner] += less;
    }
    for (int64_t column = closed_.back().column; column >= 0;) {
      const int64_t owner = from_[column], next = column_of_row_[owner];
      Pair(owner, column);
      column = next;
    }
  }

  // Distances of columns by way of a row.
  void Relax(int64_t row, double reached) {
    const double* costs = cost_ + row * columns_;
    const double base = reached - row_potential_[row];
    double* distance = distance_.data();
    int64_t* from = from_.data();
    const double* potential = open_potential_.data();
    for (int64_t j = 0; j < columns_; ++j) {
      const double way = base + costs[j] - potential[j];
      const bool nearer = way < distance[j];
      distance[j] = nearer ? way : distance[j];
      from[j] = nearer ? row : from[j];
    }
  }

  // The open column at the least distance; of equal ones one that is free, which ends the search.
  int64_t Nearest() const {
    double least = kInfinity;
    for (const double distance : distance_) least = std::min(least, distance);
    int64_t first = -1;
    for (int64_t j = 0; j < columns_; ++j) {
      if (distance_[j] != least) continue;
      if (row_of_column_[j] < 0) return j;
      if (first < 0) first = j;
    }
    return first;
  }

  const double* cost_;
  int64_t rows_, columns_;
  std::vector<double> row_potential_, column_potential_, open_potential_, distance_;
  std::vector<int64_t> from_, column_of_row_, row_of_column_;
  std::vector<Closed> closed_;
};

}  // namespace

Assignment SolveAssignment(const at::Tensor& cost, std::string_view where) {
  ATHANOR_CHECK(cost.dim() == 2, where, ": expected costs [rows,columns], found ", cost.sizes());
  const int64_t rows = cost.size(0), columns = cost.size(1);
  const bool turned = rows > columns;
  const at::Tensor plain =
      (turned ? cost.detach().t() : cost.detach()).to(at::kCPU, at::kDouble).contiguous();
  const double* values = plain.data_ptr<double>();
  for (int64_t i = 0; i < rows * columns; ++i) {
    if (std::isfinite(values[i])) [[likely]]
      continue;
    const int64_t slow = i / plain.size(1), fast = i % plain.size(1);
    throw Error(StrCat(where, ": expected finite costs, found ", values[i], " at row ",
                       turned ? fast : slow, ", column ", turned ? slow : fast));
  }
  Assignment result;
  result.column_of_row.assign(rows, -1);
  result.row_potential.assign(rows, 0);
  result.column_potential.assign(columns, 0);
  if (rows == 0 || columns == 0) return result;
  Solver solver(values, plain.size(0), plain.size(1));
  solver.Run();
  result.column_of_row = turned ? solver.row_of_column() : solver.column_of_row();
  result.row_potential = turned ? solver.column_potential() : solver.row_potential();
  result.column_potential = turned ? solver.row_potential() : solver.column_potential();
  for (int64_t i = 0; i < plain.size(0); ++i) {
    result.cost += values[i * plain.size(1) + solver.column_of_row()[i]];
  }
  return result;
}

at::Tensor MatchingCost(const at::Tensor& logits, const at::Tensor& codes, const at::Tensor& labels,
                        const at::Tensor& true_codes, const DetectionWeights& weights) {
  const at::Tensor x = logits.detach().to(at::kFloat);
  const at::Tensor p = x.sigmoid();
  const double alpha = weights.focal_alpha, gamma = weights.focal_gamma;
  const at::Tensor yes = alpha * (1 - p).pow(gamma) * at::softplus(-x);
  const at::Tensor no = (1 - alpha) * p.pow(gamma) * at::softplus(x);
  const at::Tensor classes = (yes - no).t().index_select(0, labels);
  const at::Tensor truth = true_codes.detach().to(at::kFloat);
  const at::Tensor known = truth.isnan().logical_not();
  const at::Tensor weight = at::tensor(at::ArrayRef<double>(weights.code), truth.options()) * known;
  const at::Tensor distance =
      (codes.detach().to(at::kFloat).unsqueeze(0) - truth.nan_to_num(0).unsqueeze(1)).abs();
  return weights.classes * classes + weights.boxes * (distance * weight.unsqueeze(1)).sum(-1);
}

}  // namespace athanor
