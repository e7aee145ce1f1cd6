#include "athanor/detection/evaluation/nuscenes_eval.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numbers>
#include <numeric>
#include <unordered_map>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/detection/evaluation/nuscenes_curves.h"

namespace athanor {

const std::array<std::string_view, kNuscenesAllClasses> kNuscenesClassNames = {
    "car",        "truck",      "bus",     "trailer",      "construction_vehicle",
    "pedestrian", "motorcycle", "bicycle", "traffic_cone", "barrier",
    "animal"};
const std::array<std::string_view, kNuscenesErrors> kNuscenesErrorNames = {
    "trans_err", "scale_err", "orient_err", "vel_err", "attr_err"};
const std::array<std::string_view, 8> kNuscenesAttributeNames = {
    "pedestrian.moving",   "pedestrian.sitting_lying_down",
    "pedestrian.standing", "cycle.with_rider",
    "cycle.without_rider", "vehicle.moving",
    "vehicle.parked",      "vehicle.stopped"};

namespace {

enum ErrorIndex { kTranslation, kScale, kOrientation, kVelocity, kAttribute };
constexpr int kMotorcycle = 6, kBicycle = 7, kTrafficCone = 8, kBarrier = 9, kAnimal = 10;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

template <size_t N>
int FindName(const std::array<std::string_view, N>& names, std::string_view name) {
  const auto found = std::find(names.begin(), names.end(), name);
  return found == names.end() ? -1 : static_cast<int>(found - names.begin());
}

// The columns of the rotation of a quaternion of any length; zero for the zero quaternion.
std::array<Eigen::Vector3d, 3> Axes(const Eigen::Vector4d& wxyz) {
  const double norm = wxyz.norm();
  const Eigen::Vector4d q = norm > 0 ? Eigen::Vector4d(wxyz / norm) : wxyz;
  const double w = q[0], x = q[1], y = q[2], z = q[3];
  return {Eigen::Vector3d(w * w + x * x - y * y - z * z, 2 * (x * y + w * z), 2 * (x * z - w * y)),
          Eigen::Vector3d(2 * (x * y - w * z), w * w - x * x + y * y - z * z, 2 * (y * z + w * x)),
          Eigen::Vector3d(2 * (x * z + w * y), 2 * (y * z - w * x), w * w - x * x - y * y + z * z)};
}

double Yaw(const Eigen::Vector4d& wxyz) {
  const Eigen::Vector3d heading = Axes(wxyz)[0];
  return std::atan2(heading.y(), heading.x());
}

// The sign of the divisor, as Python's %.
double FloorMod(double x, double period) {
  const double remainder = std::fmod(x, period);
  return remainder < 0 ? remainder + period : remainder;
}

double YawDifference(double a, double b, double period) {
  double difference = FloorMod(a - b + period / 2, period) - period / 2;
  if (difference > std::numbers::pi) difference -= 2 * std::numbers::pi;
  return std::abs(difference);
}

// Of two boxes with the same centre and heading.
double SizeIou(const Eigen::Vector3d& a, const Eigen::Vector3d& b) {
  const double overlap = a.cwiseMin(b).prod();
  return overlap / (a.prod() + b.prod() - overlap);
}

bool IsInside(const NuscenesBox& rack, const Eigen::Vector3d& point) {
  const auto axes = Axes(rack.rotation_wxyz);
  const Eigen::Vector3d half(rack.size_wlh_m[1] / 2, rack.size_wlh_m[0] / 2,
                             rack.size_wlh_m[2] / 2);
  const Eigen::Vector3d corner =
      rack.translation_m + axes[0] * half[0] + axes[1] * half[1] + axes[2] * half[2];
  for (int i = 0; i < 3; ++i) {
    const Eigen::Vector3d edge = axes[i] * (-2 * half[i]);
    const double along = edge.dot(point - corner);
    if (along < 0 || along > edge.dot(edge)) return false;
  }
  return true;
}

bool Counts(const NuscenesBox& box, const NuscenesSample& sample, const NuscenesConfig& config) {
  const Eigen::Vector2d from_ego = box.translation_m.head<2>() - sample.ego_xy_m;
  const double distance = std::sqrt(from_ego.x() * from_ego.x() + from_ego.y() * from_ego.y());
  if (!(distance < config.class_range_m[box.class_index])) return false;
  if (box.num_points == 0) return false;
  if (box.class_index != kBicycle && box.class_index != kMotorcycle) return true;
  return std::none_of(sample.bike_racks.begin(), sample.bike_racks.end(),
                      [&](const NuscenesBox& rack) { return IsInside(rack, box.translation_m); });
}

std::array<double, kNuscenesErrors> MatchErrors(const NuscenesBox& truth, const NuscenesBox& found,
                                                double distance_m) {
  std::array<double, kNuscenesErrors> errors;
  errors[kTranslation] = distance_m;
  errors[kScale] = 1 - SizeIou(truth.size_wlh_m, found.size_wlh_m);
  // A barrier looks the same from both sides.
  const double period = (truth.class_index == kBarrier ? 1 : 2) * std::numbers::pi;
  errors[kOrientation] = YawDifference(Yaw(truth.rotation_wxyz), Yaw(found.rotation_wxyz), period);
  errors[kVelocity] = (found.velocity_mps - truth.velocity_mps).norm();
  errors[kAttribute] = truth.attribute < 0 ? kNan : truth.attribute == found.attribute ? 0 : 1;
  return errors;
}

void CheckBox(const NuscenesBox& box, const std::string& source, const std::string& token) {
  ATHANOR_CHECK(box.class_index >= 0 && box.class_index < kNuscenesAllClasses, source, ": sample ",
                token, ": no class has index ", int{box.class_index});
  ATHANOR_CHECK(box.translation_m.allFinite() && box.rotation_wxyz.allFinite(), source, ": sample ",
                token, ": a box has a translation or rotation that is not finite");
  ATHANOR_CHECK(box.size_wlh_m.allFinite() && (box.size_wlh_m.array() > 0).all(), source,
                ": sample ", token, ": expected box sizes > 0, found [", box.size_wlh_m.x(), ", ",
                box.size_wlh_m.y(), ", ", box.size_wlh_m.z(), "]");
  ATHANOR_CHECK(!std::isnan(box.score), source, ": sample ", token, ": a box's score is NaN");
}

// For every sample of the results, which sample of the truth it is. Throws unless they are the
// same set.
std::vector<int32_t> PairSamples(const NuscenesTruth& truth, const NuscenesResults& results) {
  std::unordered_map<std::string_view, int32_t> index_of;
  for (size_t i = 0; i < truth.samples.size(); ++i) {
    ATHANOR_CHECK(index_of.emplace(truth.samples[i].token, static_cast<int32_t>(i)).second,
                  truth.source, ": sample ", truth.samples[i].token, " comes twice");
  }
  std::vector<int32_t> pairs;
  std::vector<bool> seen(truth.samples.size());
  const std::string* unknown = nullptr;
  int64_t unknown_count = 0;
  for (const std::string& token : results.sample_tokens) {
    const auto found = index_of.find(token);
    if (found == index_of.end()) {
      if (unknown_count++ == 0) unknown = &token;
      continue;
    }
    ATHANOR_CHECK(!seen[found->second], results.source, ": sample ", token, " comes twice");
    seen[found->second] = true;
    pairs.push_back(found->second);
  }
  const auto others = [](int64_t count) {
    return count > 1 ? StrCat(" (and ", count - 1, " more)") : std::string();
  };
  ATHANOR_CHECK(unknown_count == 0, results.source, ": holds sample ", *unknown,
                others(unknown_count), ", which ", truth.source, " does not");
  const auto missing = std::find(seen.begin(), seen.end(), false);
  if (missing != seen.end()) {
    throw Error(StrCat(results.source, ": lacks sample ",
                       truth.samples[missing - seen.begin()].token,
                       others(std::count(seen.begin(), seen.end(), false)), " of ", truth.source,
                       ": every sample must have a list of boxes, be it empty"));
  }
  return pairs;
}

// One detection with what it matched.
struct Found {
  double score;
  int64_t order;  // index into NuscenesResults::boxes
  int32_t sample;
  uint8_t hits;
  std::array<int32_t, kMaxMatchDistances> error;  // per distance: into Piece::errors
};

// The detections of a run of samples, by class.
struct Piece {
  std::array<std::vector<Found>, kNuscenesAllClasses> found;
  std::array<std::vector<std::array<double, kNuscenesErrors>>, kNuscenesAllClasses> errors;
};

// Later boxes first among equal scores, as the devkit's reversed sort has it.
bool IsBetter(const Found& a, const Found& b) {
  return a.score != b.score ? a.score > b.score : a.order > b.order;
}

// Matches the boxes of one class in one sample, appending to `piece`.
void MatchSample(const std::vector<const NuscenesBox*>& truths,
                 const std::vector<const NuscenesBox*>& boxes, const NuscenesBox* first_box,
                 int32_t sample, const NuscenesConfig& config, int class_index, Piece* piece) {
  const int distances = static_cast<int>(config.match_distances_m.size());
  std::vector<Found>& found = piece->found[class_index];
  auto& errors = piece->errors[class_index];
  const size_t begin = found.size();
  for (const NuscenesBox* box : boxes) {
    found.push_back({box->score, box - first_box, sample, 0, {}});
  }
  if (truths.empty()) return;
  std::sort(found.begin() + static_cast<int64_t>(begin), found.end(), IsBetter);
  std::vector<uint8_t> taken(truths.size());  // bit t: at distance t
  std::vector<double> range(truths.size());
  for (size_t i = begin; i < found.size(); ++i) {
    const NuscenesBox& box = first_box[found[i].order];
    for (size_t j = 0; j < truths.size(); ++j) {
      const double dx = box.translation_m.x() - truths[j]->translation_m.x();
      const double dy = box.translation_m.y() - truths[j]->translation_m.y();
      range[j] = std::sqrt(dx * dx + dy * dy);
    }
    std::array<int, kMaxMatchDistances> nearest;
    for (int t = 0; t < distances; ++t) {
      nearest[t] = -1;
      double least = std::numeric_limits<double>::infinity();
      for (size_t j = 0; j < truths.size(); ++j) {
        if (range[j] < least && (taken[j] >> t & 1) == 0) {
          least = range[j];
          nearest[t] = static_cast<int>(j);
        }
      }
      if (!(least < config.match_distances_m[t])) continue;
      taken[nearest[t]] |= static_cast<uint8_t>(1 << t);
      found[i].hits |= static_cast<uint8_t>(1 << t);
      // Often the same pair as at the distance before.
      bool known = false;
      for (int before = 0; before < t && !known; ++before) {
        known = (found[i].hits >> before & 1) != 0 && nearest[before] == nearest[t];
        if (known) found[i].error[t] = found[i].error[before];
      }
      if (!known) {
        found[i].error[t] = static_cast<int32_t>(errors.size());
        errors.push_back(MatchErrors(*truths[nearest[t]], box, least));
      }
    }
  }
}

// The detections of all samples of one class in one ranking.
void Rank(const std::vector<Piece>& pieces, int class_index, int distances,
          NuscenesMatches::Class* ranked) {
  std::vector<Found> all;
  size_t total = 0;
  for (const Piece& piece : pieces) total += piece.found[class_index].size();
  all.reserve(total);
  for (const Piece& piece : pieces) {
    const auto base = static_cast<int32_t>(ranked->errors.size());
    const auto& errors = piece.errors[class_index];
    ranked->errors.insert(ranked->errors.end(), errors.begin(), errors.end());
    for (Found found : piece.found[class_index]) {
      for (int t = 0; t < distances; ++t) found.error[t] += base;
      all.push_back(found);
    }
  }
  std::sort(all.begin(), all.end(), IsBetter);
  ranked->score.reserve(total);
  ranked->sample.reserve(total);
  ranked->hits.reserve(total);
  ranked->hit_errors.resize(distances);
  for (const Found& found : all) {
    ranked->score.push_back(found.score);
    ranked->sample.push_back(found.sample);
    ranked->hits.push_back(found.hits);
    for (int t = 0; t < distances; ++t) {
      if (found.hits >> t & 1) ranked->hit_errors[t].push_back(found.error[t]);
    }
  }
}

bool IsDefined(int class_index, int error) {
  if (class_index == kTrafficCone) return error == kTranslation || error == kScale;
  if (class_index == kAnimal) return error != kAttribute;
  if (class_index == kBarrier) return error != kVelocity && error != kAttribute;
  return true;
}

void CheckConfig(const NuscenesConfig& config) {
  const auto& distances = config.match_distances_m;
  ATHANOR_CHECK(!distances.empty() && distances.size() <= kMaxMatchDistances, "expected 1 to ",
                kMaxMatchDistances, " match distances, found ", distances.size());
  ATHANOR_CHECK(
      std::find(distances.begin(), distances.end(), config.tp_distance_m) != distances.end(),
      "expected dist_th_tp to be one of dist_ths, found ", config.tp_distance_m);
  ATHANOR_CHECK(config.min_recall >= 0 && config.min_recall < 1,
                "expected min_recall in [0, 1), found ", config.min_recall);
  ATHANOR_CHECK(config.min_precision >= 0 && config.min_precision < 1,
                "expected min_precision in [0, 1), found ", config.min_precision);
}

}  // namespace

int FindNuscenesClass(std::string_view name) { return FindName(kNuscenesClassNames, name); }
int FindNuscenesAttribute(std::string_view name) { return FindName(kNuscenesAttributeNames, name); }

NuscenesMatches MatchNuscenes(const NuscenesTruth& truth, const NuscenesResults& results,
                              const NuscenesConfig& config) {
  CheckConfig(config);
  const std::vector<int32_t> pairs = PairSamples(truth, results);
  const int distances = static_cast<int>(config.match_distances_m.size());
  NuscenesMatches matches;
  matches.num_samples = static_cast<int64_t>(truth.samples.size());
  for (auto& of_class : matches.classes) of_class.truths.assign(truth.samples.size(), 0);

  constexpr int64_t kGrain = 64;
  const auto samples = static_cast<int64_t>(pairs.size());
  std::vector<Piece> pieces((samples + kGrain - 1) / kGrain);
  ParallelFor(samples, kGrain, [&](int64_t begin, int64_t end) {
    Piece& piece = pieces[begin / kGrain];
    std::array<std::vector<const NuscenesBox*>, kNuscenesAllClasses> truths, boxes;
    for (int64_t i = begin; i < end; ++i) {
      const NuscenesSample& sample = truth.samples[pairs[i]];
      for (int c = 0; c < kNuscenesAllClasses; ++c) truths[c].clear(), boxes[c].clear();
      for (const NuscenesBox& box : sample.boxes) {
        CheckBox(box, truth.source, sample.token);
        if (Counts(box, sample, config)) truths[box.class_index].push_back(&box);
      }
      const int64_t first = results.first_box[i], last = results.first_box[i + 1];
      ATHANOR_CHECK(last - first <= config.max_boxes_per_sample, results.source, ": sample ",
                    sample.token, ": expected at most ", config.max_boxes_per_sample,
                    " boxes, found ", last - first);
      for (int64_t j = first; j < last; ++j) {
        const NuscenesBox& box = results.boxes[j];
        CheckBox(box, results.source, sample.token);
        if (Counts(box, sample, config)) boxes[box.class_index].push_back(&box);
      }
      for (int c = 0; c < kNuscenesAllClasses; ++c) {
        matches.classes[c].truths[pairs[i]] = static_cast<int32_t>(truths[c].size());
        MatchSample(truths[c], boxes[c], results.boxes.data(), pairs[i], config, c, &piece);
      }
    }
  });
  ParallelChunks(kNuscenesAllClasses, [&](int64_t c) {
    Rank(pieces, static_cast<int>(c), distances, &matches.classes[c]);
  });
  return matches;
}

NuscenesMetrics SummarizeNuscenes(const NuscenesMatches& matches, const NuscenesConfig& config,
                                  std::span<const int32_t> weights,
                                  std::vector<NuscenesCurve>* curves) {
  CheckConfig(config);
  ATHANOR_CHECK(weights.empty() || static_cast<int64_t>(weights.size()) == matches.num_samples,
                "expected one weight per sample (", matches.num_samples, "), found ",
                weights.size());
  const int distances = static_cast<int>(config.match_distances_m.size());
  if (curves != nullptr) curves->resize(kNuscenesAllClasses * distances);
  NuscenesMetrics metrics;
  ParallelChunks(kNuscenesAllClasses, [&](int64_t chunk) {
    const int c = static_cast<int>(chunk);
    double sum = 0;
    for (int t = 0; t < distances; ++t) {
      const bool is_tp = config.match_distances_m[t] == config.tp_distance_m;
      const NuscenesCurve curve =
          MakeNuscenesCurve(matches.classes[c], t, weights, is_tp || curves != nullptr);
      metrics.label_aps[c].push_back(NuscenesAveragePrecision(curve, config));
      sum += metrics.label_aps[c].back();
      if (is_tp) {
        for (int e = 0; e < kNuscenesErrors; ++e) {
          metrics.label_tp_errors[c][e] =
              IsDefined(c, e) ? NuscenesMeanError(curve, e, config) : NuscenesMetrics::kNone;
        }
      }
      if (curves != nullptr) (*curves)[c * distances + t] = curve;
    }
    metrics.mean_dist_aps[c] = sum / distances;
  });

  metrics.mean_ap = std::accumulate(metrics.mean_dist_aps.begin(),
                                    metrics.mean_dist_aps.begin() + kNuscenesClasses, 0.0) /
                    kNuscenesClasses;
  double score = config.mean_ap_weight * metrics.mean_ap;
  for (int e = 0; e < kNuscenesErrors; ++e) {
    double sum = 0;
    int known = 0;
    for (int c = 0; c < kNuscenesClasses; ++c) {
      const double error = metrics.label_tp_errors[c][e];
      if (!std::isnan(error)) sum += error, ++known;
    }
    metrics.tp_errors[e] = sum / known;
    metrics.tp_scores[e] = std::max(0.0, 1 - metrics.tp_errors[e]);
    score += metrics.tp_scores[e];
  }
  metrics.nd_score = score / (config.mean_ap_weight + kNuscenesErrors);
  return metrics;
}

double MeanApOfClassesWithTruth(const NuscenesMatches& matches, const NuscenesMetrics& metrics,
                                int* classes) {
  double sum = 0;
  int count = 0;
  for (int c = 0; c < kNuscenesClasses; ++c) {
    const auto& truths = matches.classes[c].truths;
    if (std::none_of(truths.begin(), truths.end(), [](int32_t n) { return n > 0; })) continue;
    sum += metrics.mean_dist_aps[c];
    ++count;
  }
  if (classes != nullptr) *classes = count;
  return count == 0 ? 0 : sum / count;
}

NuscenesMetrics EvaluateNuscenes(const NuscenesTruth& truth, const NuscenesResults& results,
                                 const NuscenesConfig& config, std::vector<NuscenesCurve>* curves) {
  const auto start = std::chrono::steady_clock::now();
  const NuscenesMatches matches = MatchNuscenes(truth, results, config);
  NuscenesMetrics metrics = SummarizeNuscenes(matches, config, {}, curves);
  metrics.eval_time_s =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return metrics;
}

}  // namespace athanor
