#include "athanor/loop/mining/directed.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "athanor/base/error.h"
#include "athanor/base/random.h"
#include "athanor/loop/mining/selection.h"

namespace athanor {
namespace {

double Dot(const float* a, const float* b, int dimension) {
  float sums[16] = {};
  int c = 0;
  for (; c + 16 <= dimension; c += 16) {
    for (int k = 0; k < 16; ++k) sums[k] += a[c + k] * b[c + k];
  }
  for (; c < dimension; ++c) sums[0] += a[c] * b[c];
  return std::accumulate(std::begin(sums), std::end(sums), 0.0);
}

// A copy, of length 1 for cosine tables.
std::vector<float> Prepared(std::span<const float> vectors, const VectorTableSpec& spec,
                            std::string_view what) {
  ATHANOR_CHECK(vectors.size() % spec.dimension == 0, "directed mining: expected ", what, " of ",
                spec.dimension, " components, found ", vectors.size(), " numbers");
  std::vector<float> out(vectors.begin(), vectors.end());
  for (size_t at = 0; at < out.size(); at += spec.dimension) {
    float* v = out.data() + at;
    for (int c = 0; c < spec.dimension; ++c) {
      ATHANOR_CHECK(std::isfinite(v[c]), "directed mining: ", what, " ", at / spec.dimension,
                    ": component ", c, " is ", v[c], ", expected a finite number");
    }
    const double length = std::sqrt(Dot(v, v, spec.dimension));
    if (spec.metric != VectorMetric::kCosine || !(length > 0)) continue;
    for (int c = 0; c < spec.dimension; ++c) v[c] = static_cast<float>(v[c] / length);
  }
  return out;
}

struct Nearest {
  int index = -1;
  double similarity = -1e30;
};

// Solves A x = b in place, A [n,n] symmetric and positive definite (Cholesky).
void SolvePositive(std::vector<double>* a, std::vector<double>* b) {
  const size_t n = b->size();
  auto& m = *a;
  for (size_t j = 0; j < n; ++j) {
    for (size_t k = 0; k < j; ++k) m[j * n + j] -= m[j * n + k] * m[j * n + k];
    m[j * n + j] = std::sqrt(std::max(m[j * n + j], 1e-12));
    for (size_t i = j + 1; i < n; ++i) {
      for (size_t k = 0; k < j; ++k) m[i * n + j] -= m[i * n + k] * m[j * n + k];
      m[i * n + j] /= m[j * n + j];
    }
  }
  for (size_t i = 0; i < n; ++i) {
    for (size_t k = 0; k < i; ++k) (*b)[i] -= m[i * n + k] * (*b)[k];
    (*b)[i] /= m[i * n + i];
  }
  for (size_t i = n; i-- > 0;) {
    for (size_t k = i + 1; k < n; ++k) (*b)[i] -= m[k * n + i] * (*b)[k];
    (*b)[i] /= m[i * n + i];
  }
}

// Scores rows; built once per query.
class Scorer {
 public:
  Scorer(const VectorTable& table, const DirectedQuery& query)
      : query_(query),
        dimension_(table.spec().dimension),
        positives_(Prepared(query.positives, table.spec(), "example")),
        negatives_(Prepared(query.negatives, table.spec(), "negative")),
        text_(Prepared(query.text, table.spec(), "text")) {
    ATHANOR_CHECK(!positives_.empty() || !text_.empty(),
                  "directed mining: expected an example or a text, found neither");
    ATHANOR_CHECK(query.temperature > 0 && query.text_weight >= 0 && query.text_weight <= 1 &&
                      query.negative_weight >= 0 && query.ridge > 0,
                  "directed mining: expected a temperature and a ridge > 0, a weight of negatives "
                  ">= 0, a weight of the text of 0 to 1");
    ATHANOR_CHECK(text_.size() <= static_cast<size_t>(dimension_),
                  "directed mining: expected one text");
    if (query.score == ExampleScore::kLogistic) FitHead(table);
  }

  // What the index is to be asked for: rows that score well are near one of these.
  std::vector<std::vector<float>> Probes() const {
    std::vector<std::vector<float>> probes;
    if (!head_.empty()) {
      probes.emplace_back(head_.begin(), head_.end() - 1);
    } else if (query_.score == ExampleScore::kMean && !positives_.empty()) {
      std::vector<float> mean(dimension_, 0.0f);
      for (size_t i = 0; i < positives_.size(); ++i) mean[i % dimension_] += positives_[i];
      probes.push_back(mean);
    } else {
      for (size_t at = 0; at < positives_.size(); at += dimension_) {
        probes.emplace_back(positives_.begin() + at, positives_.begin() + at + dimension_);
      }
    }
    if (!text_.empty()) probes.push_back(text_);
    return probes;
  }

  DirectedHit Score(int64_t id, const float* vector) const {
    DirectedHit hit;
    hit.id = id;
    const Nearest example = NearestOf(positives_, vector), negative = NearestOf(negatives_, vector);
    hit.nearest_example = example.index;
    const auto rounded = [](double x) { return std::round(x * 1000) / 1000; };
    if (!head_.empty()) {
      double sum = head_.back();
      for (int c = 0; c < dimension_; ++c) sum += head_[c] * vector[c];
      hit.score = 1 / (1 + std::exp(-sum));
      hit.reason = StrCat("head ", rounded(hit.score), ", ");
    } else if (!positives_.empty()) {
      hit.score = Combined(vector, example.similarity);
    }
    if (example.index >= 0) {
      hit.reason += StrCat("like example ", example.index, " (", rounded(example.similarity), ")");
    }
    if (!text_.empty()) {
      const double similarity = Dot(text_.data(), vector, dimension_);
      const double weight = positives_.empty() ? 1 : query_.text_weight;
      hit.score = weight * similarity + (1 - weight) * hit.score;
      hit.reason += StrCat(positives_.empty() ? "" : ", ", "text ", rounded(similarity));
    }
    if (negative.index >= 0) {
      if (head_.empty()) hit.score -= query_.negative_weight * negative.similarity;
      hit.reason +=
          StrCat(", unlike negative ", negative.index, " (", rounded(negative.similarity), ")");
    }
    return hit;
  }

 private:
  Nearest NearestOf(const std::vector<float>& vectors, const float* vector) const {
    Nearest nearest;
    for (size_t at = 0; at < vectors.size(); at += dimension_) {
      const double similarity = Dot(vectors.data() + at, vector, dimension_);
      if (similarity > nearest.similarity) {
        nearest = {static_cast<int>(at / dimension_), similarity};
      }
    }
    return nearest;
  }

  double Combined(const float* vector, double nearest) const {
    if (query_.score == ExampleScore::kMax) return nearest;
    double sum = 0, weights = 0;
    for (size_t at = 0; at < positives_.size(); at += dimension_) {
      const double similarity = Dot(positives_.data() + at, vector, dimension_);
      const double weight = query_.score == ExampleScore::kMean
                                ? 1
                                : std::exp((similarity - nearest) / query_.temperature);
      sum += weight * similarity;
      weights += weight;
    }
    return sum / weights;
  }

  void FitHead(const VectorTable& table) {
    ATHANOR_CHECK(!positives_.empty(), "directed mining: a logistic head needs an example");
    std::vector<float> vectors = positives_;
    vectors.insert(vectors.end(), negatives_.begin(), negatives_.end());
    const int64_t rows = table.rows();
    Random random(query_.seed);
    for (int i = 0; i < query_.background && rows > 0; ++i) {
      const int64_t row = random.Below(static_cast<uint32_t>(rows));
      if (table.is_deleted(row)) continue;
      vectors.resize(vectors.size() + dimension_);
      table.Read(row, vectors.data() + vectors.size() - dimension_);
    }
    std::vector<uint8_t> labels(vectors.size() / dimension_, 0);
    std::fill_n(labels.begin(), positives_.size() / dimension_, uint8_t{1});
    head_ = FitLogisticHead(vectors, labels, dimension_, query_.ridge);
  }

  const DirectedQuery& query_;
  int dimension_;
  std::vector<float> positives_, negatives_, text_;
  std::vector<double> head_;  // weights and bias; empty without
};

}  // namespace

std::string_view ExampleScoreName(ExampleScore score) {
  constexpr std::string_view kNames[] = {"max", "mean", "softmax-mean", "logistic"};
  return kNames[static_cast<int>(score)];
}

// The weights of the best head are a sum of the examples, w = X^T a: n unknowns, not D. With
// K = X X^T the loss is sum c_i log(1 + exp(-y_i z_i)) + ridge/2 a^T K a, z = K a + b.
std::vector<double> FitLogisticHead(std::span<const float> vectors, std::span<const uint8_t> labels,
                                    int dimension, double ridge) {
  const size_t n = labels.size();
  ATHANOR_CHECK(dimension >= 1 && vectors.size() == n * dimension, "logistic head: expected ", n,
                " vectors of ", dimension, " components, found ", vectors.size(), " numbers");
  const auto ones = static_cast<double>(std::count(labels.begin(), labels.end(), 1));
  const double zeros = static_cast<double>(n) - ones;
  std::vector<double> head(dimension + 1, 0.0);
  if (n == 0) return head;
  std::vector<double> kernel(n * n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j <= i; ++j) {
      kernel[i * n + j] = kernel[j * n + i] =
          Dot(vectors.data() + i * dimension, vectors.data() + j * dimension, dimension);
    }
  }
  std::vector<double> weight(n), a(n, 0.0);
  for (size_t i = 0; i < n; ++i) {
    weight[i] = labels[i] == 1 ? 0.5 / std::max(ones, 1.0) : 0.5 / std::max(zeros, 1.0);
  }
  // Newton as weighted least squares: (K + ridge W^-1) a + b = working response. The bias is kept
  // small by a ridge of its own, as one more constant component of value 1.
  for (size_t i = 0; i < n * n; ++i) kernel[i] += 1;
  std::vector<double> z(n, 0.0);
  for (int step = 0; step < 25; ++step) {
    std::vector<double> matrix = kernel, target(n);
    double moved = 0;
    for (size_t i = 0; i < n; ++i) {
      const double p = 1 / (1 + std::exp(-z[i]));
      const double curvature = std::max(p * (1 - p), 1e-6);
      target[i] = z[i] + ((labels[i] == 1 ? 1.0 : 0.0) - p) / curvature;
      matrix[i * n + i] += ridge / (weight[i] * curvature);
    }
    SolvePositive(&matrix, &target);
    a = target;
    for (size_t i = 0; i < n; ++i) {
      const double now = std::inner_product(a.begin(), a.end(), kernel.begin() + i * n, 0.0);
      moved = std::max(moved, std::abs(now - z[i]));
      z[i] = std::clamp(now, -30.0, 30.0);
    }
    if (moved < 1e-6) break;
  }
  for (size_t i = 0; i < n; ++i) {
    for (int c = 0; c < dimension; ++c) head[c] += a[i] * vectors[i * dimension + c];
    head[dimension] += a[i];
  }
  return head;
}

DirectedResult MineDirected(const VectorIndex& index, const DirectedQuery& query,
                            const DirectedOptions& options) {
  ATHANOR_CHECK(options.count >= 1 && options.rerank >= 1,
                "directed mining: expected a count and a rerank factor >= 1, found ", options.count,
                " and ", options.rerank);
  const VectorTable& table = index.table();
  const int dimension = table.spec().dimension;
  const Scorer scorer(table, query);
  DirectedResult result;
  std::set<int64_t> rows;
  const int wanted = static_cast<int>(std::min<int64_t>(int64_t{options.count} * options.rerank,
                                                        std::max<int64_t>(table.rows(), 1)));
  for (const std::vector<float>& probe : scorer.Probes()) {
    const auto found = index.Search(probe, wanted, {options.width, options.filter});
    for (const VectorHit& hit : found.hits) rows.insert(hit.row);
    if (result.plan.empty()) result.plan = found.Explain(table.rows());
  }
  result.candidates = static_cast<int64_t>(rows.size());

  std::vector<DirectedHit> hits;
  std::vector<Candidate> candidates;
  std::vector<float> vectors(rows.size() * dimension);
  for (const int64_t row : rows) {
    float* vector = vectors.data() + hits.size() * dimension;
    table.Read(row, vector);
    hits.push_back(scorer.Score(table.id(row), vector));
    const Moment moment = options.moment ? options.moment(table.id(row)) : Moment{row, 0};
    candidates.push_back({table.id(row), hits.back().score, moment.group, moment.time_us});
  }
  const std::vector<int> one_each = DeduplicateInTime(candidates, options.window_us);
  for (const int i : SpreadOut(one_each, vectors, dimension, options.min_distance, options.count)) {
    result.hits.push_back(hits[i]);
  }
  return result;
}

}  // namespace athanor
