#include "athanor/detection/evaluation/nuscenes_curves.h"

#include <algorithm>
#include <cmath>

#include "athanor/detection/evaluation/interpolate.h"

namespace athanor {
namespace {

// As the devkit records a class without truth or without a match.
NuscenesCurve CurveOfNothing() {
  NuscenesCurve curve;
  for (int i = 0; i < kNuscenesRecalls; ++i) curve.recall[i] = RecallAt(i, kNuscenesRecalls);
  curve.precision.fill(0);
  curve.confidence.fill(0);
  for (auto& error : curve.errors) error.fill(1);
  return curve;
}

// numpy.interp of one quantity over recall, at the 101 recalls, fed point by point.
class RecallSampler {
 public:
  RecallSampler(NuscenesCurve::Samples* precision, NuscenesCurve::Samples* confidence)
      : precision_(*precision), confidence_(*confidence) {
    precision_.fill(0);
    confidence_.fill(0);
  }
  // The next point of the curve; recalls ascend. `last` is the point right before it.
  struct Point {
    double recall, precision, confidence;
  };
  void Add(const Point& last, const Point& point, bool is_first) {
    for (; next_ < kNuscenesRecalls; ++next_) {
      const double recall = RecallAt(next_, kNuscenesRecalls);
      if (recall >= point.recall) return;
      if (is_first) {
        Set(point.precision, point.confidence);
      } else if (recall == last.recall) {
        Set(last.precision, last.confidence);
      } else {
        const double step = point.recall - last.recall, ahead = recall - last.recall;
        Set((point.precision - last.precision) / step * ahead + last.precision,
            (point.confidence - last.confidence) / step * ahead + last.confidence);
      }
    }
  }
  void Finish(const Point& last) {
    for (; next_ < kNuscenesRecalls && RecallAt(next_, kNuscenesRecalls) <= last.recall; ++next_) {
      Set(last.precision, last.confidence);
    }
  }

 private:
  void Set(double precision, double confidence) {
    precision_[next_] = precision;
    confidence_[next_] = confidence;
  }
  NuscenesCurve::Samples& precision_;
  NuscenesCurve::Samples& confidence_;
  int next_ = 0;
};

// Running means of the errors of the hits, by confidence, at the confidences of the curve.
void SampleErrors(const NuscenesMatches::Class& matches, const std::vector<int32_t>& order,
                  const std::vector<double>& confidence, NuscenesCurve* curve) {
  const size_t count = order.size();
  std::vector<double> ascending(confidence.rbegin(), confidence.rend()), means(count);
  for (int e = 0; e < kNuscenesErrors; ++e) {
    double sum = 0;
    int64_t known = 0;
    for (size_t i = 0; i < count; ++i) {
      const double error = matches.errors[order[i]][e];
      if (!std::isnan(error)) sum += error, ++known;
      means[count - 1 - i] = known == 0 ? 0 : sum / static_cast<double>(known);
    }
    if (known == 0) std::fill(means.begin(), means.end(), 1.0);
    for (int k = 0; k < kNuscenesRecalls; ++k) {
      curve->errors[e][k] = InterpolateLinear(curve->confidence[k], ascending, means);
    }
  }
}

int FirstRecall(double min_recall) {
  return static_cast<int>(std::nearbyint(100 * min_recall)) + 1;
}

}  // namespace

NuscenesCurve MakeNuscenesCurve(const NuscenesMatches::Class& matches, int distance,
                                std::span<const int32_t> weights, bool with_errors) {
  int64_t truths = 0;
  for (size_t i = 0; i < matches.truths.size(); ++i) {
    truths += int64_t{matches.truths[i]} * (weights.empty() ? 1 : weights[i]);
  }
  NuscenesCurve curve = CurveOfNothing();
  if (truths == 0) return curve;
  RecallSampler sampler(&curve.precision, &curve.confidence);
  std::vector<int32_t> order;
  std::vector<double> confidence;
  int64_t tp = 0, fp = 0;
  double last_score = 0;
  size_t hit = 0;
  const auto point = [&] {
    return RecallSampler::Point{static_cast<double>(tp) / static_cast<double>(truths),
                                static_cast<double>(tp) / static_cast<double>(fp + tp), last_score};
  };
  const size_t count = matches.score.size();
  for (size_t i = 0; i < count; ++i) {
    const int weight = weights.empty() ? 1 : weights[matches.sample[i]];
    const bool is_hit = (matches.hits[i] >> distance & 1) != 0;
    if (is_hit) ++hit;
    if (weight == 0) continue;
    if (!is_hit) {
      fp += weight;
      last_score = matches.score[i];
      continue;
    }
    for (int copy = 0; copy < weight; ++copy) {
      const bool is_first = tp + fp == 0;
      const RecallSampler::Point last = is_first ? RecallSampler::Point{} : point();
      ++tp;
      last_score = matches.score[i];
      sampler.Add(last, point(), is_first);
      if (with_errors) {
        order.push_back(matches.hit_errors[distance][hit - 1]);
        confidence.push_back(last_score);
      }
    }
  }
  if (tp == 0) return CurveOfNothing();
  sampler.Finish(point());
  if (with_errors) SampleErrors(matches, order, confidence, &curve);
  return curve;
}

double NuscenesAveragePrecision(const NuscenesCurve& curve, const NuscenesConfig& config) {
  const int first = FirstRecall(config.min_recall);
  double sum = 0;
  for (int k = first; k < kNuscenesRecalls; ++k) {
    sum += std::max(curve.precision[k] - config.min_precision, 0.0);
  }
  return sum / (kNuscenesRecalls - first) / (1 - config.min_precision);
}

double NuscenesMeanError(const NuscenesCurve& curve, int error, const NuscenesConfig& config) {
  const int first = FirstRecall(config.min_recall);
  int last = kNuscenesRecalls - 1;
  while (last > 0 && curve.confidence[last] == 0) --last;
  if (last < first) return 1;
  double sum = 0;
  for (int k = first; k <= last; ++k) sum += curve.errors[error][k];
  return sum / (last - first + 1);
}

}  // namespace athanor
