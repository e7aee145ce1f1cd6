#include "athanor/loop/mining/uncertainty.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <numeric>

#include "athanor/base/error.h"

namespace athanor {
namespace {

double EntropyTerm(double p) { return p > 0 ? -p * std::log(p) : 0; }

double BinaryEntropy(double p) { return EntropyTerm(p) + EntropyTerm(1 - p); }

struct Member {
  int member;
  const MinedBox* box;
};

BoxCluster Summarize(const std::vector<Member>& boxes, int num_members) {
  BoxCluster cluster;
  const auto count = static_cast<double>(boxes.size()), all = static_cast<double>(num_members);
  cluster.class_index = boxes[0].box->class_index;
  cluster.members = static_cast<int>(boxes.size());
  cluster.center_m.setZero();
  Eigen::Vector3d size = Eigen::Vector3d::Zero();
  std::complex<double> direction = 0;
  double expected_entropy = 0;
  for (const auto& [member, box] : boxes) {
    cluster.center_m += box->center_m / count;
    size += box->size_m / count;
    direction += std::polar(1 / count, box->yaw_rad);
    cluster.mean_score += box->score / all;
    expected_entropy += BinaryEntropy(box->score) / all;
  }
  for (const auto& [member, box] : boxes) {
    cluster.center_variance_m2 +=
        (box->center_m - cluster.center_m).head<2>().squaredNorm() / count;
    cluster.size_variance_m2 += (box->size_m - size).squaredNorm() / count;
  }
  cluster.yaw_variance = std::max(0.0, 1 - std::abs(direction));
  cluster.predictive_entropy = BinaryEntropy(std::min(cluster.mean_score, 1.0));
  cluster.mutual_information = std::max(0.0, cluster.predictive_entropy - expected_entropy);
  cluster.uncertainty = cluster.mutual_information / std::log(2.0) +
                        cluster.mean_score * ((1 - std::exp(-cluster.center_variance_m2)) / 2 +
                                              (1 - std::exp(-cluster.size_variance_m2)) / 4 +
                                              cluster.yaw_variance / 4);
  return cluster;
}

}  // namespace

ClassUncertainty MeasureClassUncertainty(std::span<const double> probabilities, int classes) {
  ATHANOR_CHECK(classes >= 1 && !probabilities.empty() && probabilities.size() % classes == 0,
                "ensemble: expected probabilities of ", classes, " classes for each member, found ",
                probabilities.size(), " numbers");
  const auto members = static_cast<int>(probabilities.size() / classes);
  std::vector<double> mean(classes, 0.0);
  std::vector<int> votes(classes, 0);
  ClassUncertainty result;
  for (int m = 0; m < members; ++m) {
    const auto p = probabilities.subspan(size_t(m) * classes, classes);
    double sum = 0, entropy = 0;
    for (int c = 0; c < classes; ++c) {
      ATHANOR_CHECK(p[c] >= 0 && p[c] <= 1 + 1e-3, "ensemble: member ", m, ", class ", c,
                    ": expected a probability, found ", p[c]);
      sum += p[c];
      entropy += EntropyTerm(p[c]);
      mean[c] += p[c] / members;
    }
    ATHANOR_CHECK(std::abs(sum - 1) <= 1e-3, "ensemble: member ", m,
                  ": expected probabilities that sum to 1, found ", sum);
    result.expected_entropy += entropy / members;
    ++votes[std::max_element(p.begin(), p.end()) - p.begin()];
  }
  for (const double p : mean) result.predictive_entropy += EntropyTerm(p);
  result.mutual_information = std::max(0.0, result.predictive_entropy - result.expected_entropy);
  result.variation_ratio =
      1 - static_cast<double>(*std::max_element(votes.begin(), votes.end())) / members;
  std::sort(mean.begin(), mean.end(), std::greater<>());
  result.margin = classes > 1 ? mean[0] - mean[1] : 1;
  return result;
}

std::vector<BoxCluster> MatchMembers(std::span<const std::vector<MinedBox>> members,
                                     const EnsembleMatching& matching) {
  std::vector<Member> all;
  for (size_t m = 0; m < members.size(); ++m) {
    for (size_t b = 0; b < members[m].size(); ++b) {
      const MinedBox& box = members[m][b];
      ATHANOR_CHECK(box.center_m.allFinite() && box.size_m.allFinite() &&
                        std::isfinite(box.yaw_rad) && box.score >= 0 && box.score <= 1,
                    "ensemble: frame ", box.frame, ": member ", m, ", box ", b,
                    ": expected finite numbers and a score of 0 to 1, found a score of ",
                    box.score);
      if (box.score >= matching.min_score) all.push_back({static_cast<int>(m), &box});
    }
  }
  // Best first; each joins the nearest object that its member has no box of yet, or founds one.
  std::stable_sort(all.begin(), all.end(),
                   [](const Member& a, const Member& b) { return a.box->score > b.box->score; });
  std::vector<std::vector<Member>> objects;
  for (const Member& next : all) {
    std::vector<Member>* nearest = nullptr;
    double best = matching.distance_m;
    for (auto& object : objects) {
      const MinedBox& founder = *object[0].box;
      if (founder.class_index != next.box->class_index) continue;
      const double distance = (founder.center_m - next.box->center_m).head<2>().norm();
      const bool taken = std::any_of(object.begin(), object.end(),
                                     [&](const Member& m) { return m.member == next.member; });
      if (!taken && distance < best) best = distance, nearest = &object;
    }
    if (nearest == nullptr) {
      objects.emplace_back();
      nearest = &objects.back();
    }
    nearest->push_back(next);
  }
  std::vector<BoxCluster> clusters;
  for (const auto& object : objects) {
    clusters.push_back(Summarize(object, static_cast<int>(members.size())));
  }
  std::stable_sort(clusters.begin(), clusters.end(), [](const BoxCluster& a, const BoxCluster& b) {
    return a.uncertainty > b.uncertainty;
  });
  return clusters;
}

double AggregateFrame(std::span<const BoxCluster> clusters, FrameAggregate aggregate) {
  double sum = 0, largest = 0;
  for (const BoxCluster& cluster : clusters) {
    sum += cluster.uncertainty;
    largest = std::max(largest, cluster.uncertainty);
  }
  if (aggregate == FrameAggregate::kMax || clusters.empty()) return largest;
  return aggregate == FrameAggregate::kSum ? sum : sum / static_cast<double>(clusters.size());
}

Calibration MeasureCalibration(std::span<const double> confidences,
                               std::span<const uint8_t> correct, int bins) {
  ATHANOR_CHECK(bins >= 1 && confidences.size() == correct.size(), "calibration: expected ",
                confidences.size(), " outcomes and at least one bin, found ", correct.size(),
                " and ", bins);
  Calibration result;
  result.bins.resize(bins);
  for (int b = 0; b < bins; ++b) {
    result.bins[b].low = static_cast<double>(b) / bins;
    result.bins[b].high = static_cast<double>(b + 1) / bins;
  }
  for (size_t i = 0; i < confidences.size(); ++i) {
    ATHANOR_CHECK(confidences[i] >= 0 && confidences[i] <= 1, "calibration: prediction ", i,
                  ": expected a confidence of 0 to 1, found ", confidences[i]);
    const int b = std::clamp(static_cast<int>(std::ceil(confidences[i] * bins)) - 1, 0, bins - 1);
    CalibrationBin& bin = result.bins[b];
    ++bin.count;
    bin.mean_confidence += confidences[i];
    bin.accuracy += correct[i] != 0 ? 1 : 0;
  }
  for (CalibrationBin& bin : result.bins) {
    if (bin.count == 0) continue;
    bin.mean_confidence /= static_cast<double>(bin.count);
    bin.accuracy /= static_cast<double>(bin.count);
    const double error = std::abs(bin.accuracy - bin.mean_confidence);
    result.expected_error +=
        error * static_cast<double>(bin.count) / static_cast<double>(confidences.size());
    result.largest_error = std::max(result.largest_error, error);
  }
  return result;
}

}  // namespace athanor
