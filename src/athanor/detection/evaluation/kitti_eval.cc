#include "athanor/detection/evaluation/kitti_eval.h"

#include <strings.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"

namespace athanor {

const std::array<std::string_view, kKittiClasses> kKittiClassNames = {"Car", "Pedestrian",
                                                                      "Cyclist"};
const std::array<std::string_view, kKittiDifficulties> kKittiDifficultyNames = {"easy", "moderate",
                                                                                "hard"};
const std::array<std::string_view, kKittiTasks> kKittiTaskNames = {"bbox", "bev", "3d", "aos"};

namespace {

constexpr int kMinHeightPx[kKittiDifficulties] = {40, 25, 25};
constexpr int kMaxOcclusion[kKittiDifficulties] = {0, 1, 2};
constexpr double kMaxTruncation[kKittiDifficulties] = {0.15, 0.3, 0.5};
constexpr double kMinOverlap[2][kKittiClasses] = {{0.7, 0.5, 0.5}, {0.5, 0.25, 0.25}};
// Classes that are near enough to another one for its detections to be forgiven.
constexpr const char* kNeighbours[kKittiClasses] = {"Van", "Person_sitting", ""};

using Polygon = std::vector<Eigen::Vector2d>;

bool IsNamed(const KittiLabel& label, std::string_view name) {
  return label.type.size() == name.size() &&
         strncasecmp(label.type.c_str(), name.data(), name.size()) == 0;
}

double SignedArea(const Polygon& polygon) {
  double twice = 0;
  for (size_t i = 0; i < polygon.size(); ++i) {
    const Eigen::Vector2d &a = polygon[i], &b = polygon[(i + 1) % polygon.size()];
    twice += a.x() * b.y() - a.y() * b.x();
  }
  return twice / 2;
}

// Seen from above, in the plane of the camera's x and z. Counter-clockwise.
Polygon Footprint(const KittiLabel& label) {
  const double c = std::cos(label.rotation_y_rad), s = std::sin(label.rotation_y_rad);
  const double l = label.length_m / 2, w = label.width_m / 2;
  Polygon polygon;
  for (const auto& [x, z] : {std::pair{l, w}, {-l, w}, {-l, -w}, {l, -w}}) {
    polygon.emplace_back(c * x + s * z + label.bottom_in_camera_m.x(),
                         -s * x + c * z + label.bottom_in_camera_m.z());
  }
  return polygon;
}

// Of two convex polygons, counter-clockwise: the first is cut by every edge of the second.
double SharedArea(Polygon polygon, const Polygon& cutter) {
  for (size_t i = 0; i < cutter.size() && !polygon.empty(); ++i) {
    const Eigen::Vector2d from = cutter[i], edge = cutter[(i + 1) % cutter.size()] - from;
    const auto side = [&](const Eigen::Vector2d& p) {
      return edge.x() * (p.y() - from.y()) - edge.y() * (p.x() - from.x());
    };
    Polygon kept;
    for (size_t j = 0; j < polygon.size(); ++j) {
      const Eigen::Vector2d &a = polygon[j], &b = polygon[(j + 1) % polygon.size()];
      const double side_a = side(a), side_b = side(b);
      if (side_a >= 0) kept.push_back(a);
      if ((side_a > 0 && side_b < 0) || (side_a < 0 && side_b > 0)) {
        kept.push_back(a + (b - a) * (side_a / (side_a - side_b)));
      }
    }
    polygon.swap(kept);
  }
  return polygon.size() < 3 ? 0 : std::max(SignedArea(polygon), 0.0);
}

// Of a part in the union of two wholes, or with `of_first` in the first.
double Share(double part, double first, double second, bool of_first) {
  if (!(part > 0)) return 0;
  return part / (of_first ? first : first + second - part);
}

double ImageOverlap(const KittiLabel& a, const KittiLabel& b, bool of_first) {
  const double width = std::min(a.box_px[2], b.box_px[2]) - std::max(a.box_px[0], b.box_px[0]);
  const double height = std::min(a.box_px[3], b.box_px[3]) - std::max(a.box_px[1], b.box_px[1]);
  if (width <= 0 || height <= 0) return 0;
  const auto area = [](const KittiLabel& label) {
    return (label.box_px[2] - label.box_px[0]) * (label.box_px[3] - label.box_px[1]);
  };
  return Share(width * height, area(a), area(b), of_first);
}

// Both tasks need the rectangles on the ground.
struct Overlaps {
  double ground, box3;
};

Overlaps GroundOverlaps(const KittiLabel& a, const KittiLabel& b, bool of_first) {
  // Most pairs are far apart.
  const double reach = std::hypot(a.length_m, a.width_m) + std::hypot(b.length_m, b.width_m);
  const Eigen::Vector3d apart = a.bottom_in_camera_m - b.bottom_in_camera_m;
  if (std::abs(apart.x()) > reach || std::abs(apart.z()) > reach) return {0, 0};
  const Polygon first = Footprint(a), second = Footprint(b);
  const double area = SharedArea(first, second);
  const double top =
      std::max(a.bottom_in_camera_m.y() - a.height_m, b.bottom_in_camera_m.y() - b.height_m);
  const double bottom = std::min(a.bottom_in_camera_m.y(), b.bottom_in_camera_m.y());
  const auto volume = [](const KittiLabel& x) { return x.height_m * x.length_m * x.width_m; };
  return {Share(area, SignedArea(first), SignedArea(second), of_first),
          Share(area * std::max(0.0, bottom - top), volume(a), volume(b), of_first)};
}

// One frame with the overlaps of all pairs.
struct FrameOverlaps {
  std::vector<const KittiLabel*> dont_care;
  // [task][truth or region * detections + detection]
  std::array<std::vector<double>, 3> with_truth, with_region;
};

FrameOverlaps ComputeOverlaps(const KittiFrame& frame) {
  FrameOverlaps out;
  for (const KittiLabel& truth : frame.truths) {
    if (IsNamed(truth, "DontCare")) out.dont_care.push_back(&truth);
  }
  const auto add = [&](const KittiLabel& other, bool of_detection, auto* overlaps) {
    for (const KittiLabel& detection : frame.detections) {
      (*overlaps)[0].push_back(ImageOverlap(detection, other, of_detection));
      const Overlaps ground = GroundOverlaps(detection, other, of_detection);
      (*overlaps)[1].push_back(ground.ground);
      (*overlaps)[2].push_back(ground.box3);
    }
  };
  for (const KittiLabel& truth : frame.truths) add(truth, false, &out.with_truth);
  for (const KittiLabel* region : out.dont_care) add(*region, true, &out.with_region);
  return out;
}

// What counts for one class and difficulty: 0 it does, 1 it is forgiven, -1 it is not looked at.
struct Ignored {
  std::vector<int8_t> truths, detections;
  int valid_truths = 0;
};

Ignored FindIgnored(const KittiFrame& frame, int class_index, int difficulty) {
  Ignored out;
  for (const KittiLabel& truth : frame.truths) {
    const bool is_class = IsNamed(truth, kKittiClassNames[class_index]);
    const bool is_neighbour =
        kNeighbours[class_index][0] != '\0' && IsNamed(truth, kNeighbours[class_index]);
    const bool is_hard = truth.occluded > kMaxOcclusion[difficulty] ||
                         truth.truncated > kMaxTruncation[difficulty] ||
                         truth.box_px[3] - truth.box_px[1] < kMinHeightPx[difficulty];
    const bool is_valid = is_class && !is_hard;
    out.truths.push_back(is_valid ? 0 : is_class || is_neighbour ? 1 : -1);
    out.valid_truths += is_valid ? 1 : 0;
  }
  for (const KittiLabel& detection : frame.detections) {
    // Cut to a whole number, and before the class is looked at: small boxes of any class may take a
    // true box. So does the development kit.
    const double height = std::trunc(std::abs(detection.box_px[1] - detection.box_px[3]));
    const bool is_class = IsNamed(detection, kKittiClassNames[class_index]);
    out.detections.push_back(height < kMinHeightPx[difficulty] ? 1 : is_class ? 0 : -1);
  }
  return out;
}

struct Counts {
  int32_t tp = 0, fp = 0;
  double similarity = 0;
};

// One of the development kit's runs over all frames.
struct Run {
  const std::vector<KittiFrame>& frames;
  const std::vector<FrameOverlaps>& overlaps;
  const std::vector<Ignored>& ignored;
  int task;
  double min_overlap;
};

// First pass: every true box takes the best-scored detection that overlaps enough.
void CollectHits(const Run& run, size_t f, std::vector<KittiMatches::Hit>* hits) {
  const KittiFrame& frame = run.frames[f];
  const Ignored& ignored = run.ignored[f];
  const size_t detections = frame.detections.size();
  std::vector<bool> assigned(detections);
  for (size_t i = 0; i < frame.truths.size(); ++i) {
    if (ignored.truths[i] == -1) continue;
    int best = -1;
    for (size_t j = 0; j < detections; ++j) {
      if (ignored.detections[j] == -1 || assigned[j]) continue;
      if (run.overlaps[f].with_truth[run.task][i * detections + j] > run.min_overlap &&
          (best < 0 || *frame.detections[j].score > *frame.detections[best].score)) {
        best = static_cast<int>(j);
      }
    }
    if (best < 0) continue;
    assigned[best] = true;
    if (ignored.truths[i] == 0 && ignored.detections[best] == 0) {
      hits->push_back({*frame.detections[best].score, static_cast<int32_t>(f)});
    }
  }
}

// Second pass: with the detections of at least `threshold`, every true box takes the one that
// overlaps most.
Counts CountFrame(const Run& run, size_t f, double threshold) {
  const KittiFrame& frame = run.frames[f];
  const Ignored& ignored = run.ignored[f];
  const size_t detections = frame.detections.size();
  std::vector<bool> done(detections);  // assigned, or below the threshold
  Counts counts;
  int32_t candidates = 0;
  for (size_t j = 0; j < detections; ++j) {
    done[j] = *frame.detections[j].score < threshold;
    candidates += !done[j] && ignored.detections[j] == 0 ? 1 : 0;
  }
  for (size_t i = 0; i < frame.truths.size(); ++i) {
    if (ignored.truths[i] == -1) continue;
    int best = -1;
    double most = 0;
    bool is_small = false;
    for (size_t j = 0; j < detections; ++j) {
      if (ignored.detections[j] == -1 || done[j]) continue;
      const double overlap = run.overlaps[f].with_truth[run.task][i * detections + j];
      if (!(overlap > run.min_overlap)) continue;
      if (ignored.detections[j] == 0) {
        if (overlap > most || is_small) {
          most = overlap;
          best = static_cast<int>(j);
          is_small = false;
        }
      } else if (best < 0) {
        best = static_cast<int>(j);
        is_small = true;
      }
    }
    if (best < 0) continue;
    done[best] = true;
    candidates -= ignored.detections[best] == 0 ? 1 : 0;
    if (ignored.truths[i] == 1 || ignored.detections[best] == 1) continue;
    ++counts.tp;
    counts.similarity +=
        (1 + std::cos(frame.truths[i].alpha_rad - frame.detections[best].alpha_rad)) / 2;
  }
  // What is left over is wrong, unless it lies in a region that nobody labelled.
  for (size_t i = 0; i < run.overlaps[f].dont_care.size(); ++i) {
    for (size_t j = 0; j < detections; ++j) {
      if (done[j] || ignored.detections[j] != 0) continue;
      if (run.overlaps[f].with_region[run.task][i * detections + j] > run.min_overlap) {
        done[j] = true;
        --candidates;
      }
    }
  }
  counts.fp = candidates;
  return counts;
}

// The counts of a frame change at the scores of its detections only.
void CollectChanges(const Run& run, size_t f, std::vector<KittiMatches::Change>* changes) {
  std::vector<double> scores;
  for (size_t j = 0; j < run.frames[f].detections.size(); ++j) {
    if (run.ignored[f].detections[j] != -1) scores.push_back(*run.frames[f].detections[j].score);
  }
  std::sort(scores.begin(), scores.end(), std::greater<>());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  Counts before;
  for (const double score : scores) {
    const Counts counts = CountFrame(run, f, score);
    changes->push_back({score, static_cast<int32_t>(f), counts.tp - before.tp,
                        counts.fp - before.fp, counts.similarity - before.similarity});
    before = counts;
  }
}

// Scores at which recall passes 0, 1/40, ... as nearly as can be. `scores` descend.
std::vector<double> PickThresholds(const std::vector<double>& scores, int64_t truths) {
  std::vector<double> thresholds;
  double recall = 0;
  const auto total = static_cast<double>(truths);
  for (size_t i = 0; i < scores.size() && thresholds.size() < kKittiRecalls; ++i) {
    const bool is_last = i + 1 == scores.size();
    const double left = static_cast<double>(i + 1) / total;
    const double right = is_last ? left : static_cast<double>(i + 2) / total;
    if (right - recall < recall - left && !is_last) continue;
    thresholds.push_back(scores[i]);
    recall += 1.0 / (kKittiRecalls - 1);
  }
  return thresholds;
}

KittiMatches::Run MatchRun(const Run& run) {
  KittiMatches::Run matches;
  matches.is_evaluated = true;
  for (size_t f = 0; f < run.frames.size(); ++f) {
    matches.truths.push_back(run.ignored[f].valid_truths);
    CollectHits(run, f, &matches.hits);
    CollectChanges(run, f, &matches.changes);
  }
  const auto by_score = [](const auto& a, const auto& b) { return a.score > b.score; };
  std::stable_sort(matches.hits.begin(), matches.hits.end(), by_score);
  std::stable_sort(matches.changes.begin(), matches.changes.end(), by_score);
  return matches;
}

void SummarizeRun(const KittiMatches::Run& run, const std::vector<int32_t>& weights,
                  KittiCurve* precision, KittiCurve* aos) {
  const auto weight_of = [&](int32_t frame) { return weights.empty() ? 1 : weights[frame]; };
  int64_t truths = 0;
  for (size_t f = 0; f < run.truths.size(); ++f) {
    truths += int64_t{run.truths[f]} * weight_of(static_cast<int32_t>(f));
  }
  std::vector<double> scores;
  for (const KittiMatches::Hit& hit : run.hits) {
    scores.insert(scores.end(), weight_of(hit.frame), hit.score);
  }
  const std::vector<double> thresholds = PickThresholds(scores, truths);
  auto change = run.changes.begin();
  int64_t tp = 0, fp = 0;
  double similarity = 0;
  for (size_t i = 0; i < thresholds.size(); ++i) {
    for (; change != run.changes.end() && change->score >= thresholds[i]; ++change) {
      const int weight = weight_of(change->frame);
      tp += int64_t{weight} * change->true_positives;
      fp += int64_t{weight} * change->false_positives;
      similarity += weight * change->similarity;
    }
    // Every box at the threshold may be forgiven: the development kit divides by 0.
    const double found =
        tp + fp > 0 ? static_cast<double>(tp + fp) : std::numeric_limits<double>::quiet_NaN();
    precision->values[i] = static_cast<double>(tp) / found;
    aos->values[i] = similarity / found;
  }
  for (KittiCurve* curve : {precision, aos}) {
    for (size_t i = 0; i < thresholds.size(); ++i) {
      curve->values[i] =
          *std::max_element(curve->values.begin() + static_cast<int64_t>(i), curve->values.end());
    }
    curve->is_evaluated = true;
  }
}

void CheckFrame(const KittiFrame& frame) {
  for (const KittiLabel& detection : frame.detections) {
    ATHANOR_CHECK(detection.score.has_value(), frame.name,
                  ": expected a score (column 16) with every detection, found none");
    ATHANOR_CHECK(std::isfinite(*detection.score) && detection.bottom_in_camera_m.allFinite() &&
                      std::isfinite(detection.rotation_y_rad) &&
                      std::all_of(detection.box_px.begin(), detection.box_px.end(),
                                  [](double x) { return std::isfinite(x); }),
                  frame.name, ": a detection has a number that is not finite");
  }
}

}  // namespace

double KittiCurve::Average11() const {
  if (!is_evaluated) return std::numeric_limits<double>::quiet_NaN();
  double sum = 0;
  for (int i = 0; i < kKittiRecalls; i += 4) sum += values[i];
  return sum / 11;
}

double KittiCurve::Average40() const {
  if (!is_evaluated) return std::numeric_limits<double>::quiet_NaN();
  double sum = 0;
  for (int i = 1; i < kKittiRecalls; ++i) sum += values[i];
  return sum / 40;
}

double KittiGroundOverlap(const KittiLabel& a, const KittiLabel& b) {
  return GroundOverlaps(a, b, false).ground;
}

double KittiBox3Overlap(const KittiLabel& a, const KittiLabel& b) {
  return GroundOverlaps(a, b, false).box3;
}

KittiMatches MatchKitti(const std::vector<KittiFrame>& frames) {
  KittiMatches matches;
  matches.num_frames = static_cast<int64_t>(frames.size());
  matches.with_orientation = true;
  bool named[3][kKittiClasses] = {};
  for (const KittiFrame& frame : frames) {
    CheckFrame(frame);
    for (const KittiLabel& detection : frame.detections) {
      if (detection.alpha_rad == -10) matches.with_orientation = false;
      for (int c = 0; c < kKittiClasses; ++c) {
        if (!IsNamed(detection, kKittiClassNames[c])) continue;
        named[0][c] |= detection.box_px[0] >= 0;
        named[1][c] |= detection.bottom_in_camera_m.x() != -1000;
        named[2][c] |= detection.bottom_in_camera_m.y() != -1000;
      }
    }
  }
  std::vector<FrameOverlaps> overlaps(frames.size());
  ParallelFor(static_cast<int64_t>(frames.size()), 16, [&](int64_t begin, int64_t end) {
    for (int64_t f = begin; f < end; ++f) overlaps[f] = ComputeOverlaps(frames[f]);
  });
  ParallelChunks(kKittiClasses * kKittiDifficulties, [&](int64_t chunk) {
    const int c = static_cast<int>(chunk) / kKittiDifficulties;
    const int difficulty = static_cast<int>(chunk) % kKittiDifficulties;
    std::vector<Ignored> ignored;
    for (const KittiFrame& frame : frames) {
      ignored.push_back(FindIgnored(frame, c, difficulty));
    }
    for (int task = 0; task < 3; ++task) {
      if (!named[task][c]) continue;
      for (int set = 0; set < (task == 0 ? 1 : 2); ++set) {
        matches.runs[c][task][set][difficulty] =
            MatchRun({frames, overlaps, ignored, task, kMinOverlap[set][c]});
      }
    }
  });
  return matches;
}

KittiMetrics SummarizeKitti(const KittiMatches& matches, const std::vector<int32_t>& weights) {
  ATHANOR_CHECK(weights.empty() || static_cast<int64_t>(weights.size()) == matches.num_frames,
                "expected one weight per frame (", matches.num_frames, "), found ", weights.size());
  KittiMetrics metrics;
  constexpr int kAos = static_cast<int>(KittiTask::kOrientation);
  ParallelChunks(kKittiClasses * kKittiDifficulties, [&](int64_t chunk) {
    const int c = static_cast<int>(chunk) / kKittiDifficulties;
    const int d = static_cast<int>(chunk) % kKittiDifficulties;
    auto& curves = metrics.curves[c];
    for (int task = 0; task < 3; ++task) {
      for (int set = 0; set < (task == 0 ? 1 : 2); ++set) {
        const KittiMatches::Run& run = matches.runs[c][task][set][d];
        if (!run.is_evaluated) continue;
        KittiCurve aos;
        SummarizeRun(run, weights, &curves[task][set][d], &aos);
        if (task != 0) continue;
        curves[0][1][d] = curves[0][0][d];  // in the image there is one overlap only
        if (matches.with_orientation) curves[kAos][0][d] = curves[kAos][1][d] = aos;
      }
    }
  });
  return metrics;
}

KittiMetrics EvaluateKitti(const std::vector<KittiFrame>& frames) {
  return SummarizeKitti(MatchKitti(frames));
}

}  // namespace athanor
