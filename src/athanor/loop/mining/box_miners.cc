#include "athanor/loop/mining/box_miners.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>
#include <string>

#include "athanor/base/error.h"
#include "athanor/base/log.h"
#include "athanor/detection/evaluation/nuscenes_eval.h"
#include "athanor/loop/mining/selection.h"

namespace athanor {
namespace {

std::string Number(double value, int digits = 2) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

struct FrameOfSource {
  std::vector<SourcedBox> boxes;
  std::vector<MinedBox> mined;
};

// Boxes of the classes that detectors know; what else is annotated has no counterpart.
FrameOfSource ReadFrame(const BoxSource& source, const Log& log, int frame) {
  FrameOfSource out;
  for (SourcedBox& box : source.Boxes(log, frame)) {
    if (box.class_index < 0) continue;
    out.mined.push_back(ToMinedBox(box, frame));
    out.boxes.push_back(std::move(box));
  }
  return out;
}

double PlaneDistance(const Eigen::Vector3d& a, const Eigen::Vector3d& b) {
  return (a - b).head<2>().norm();
}

// Confidence and whether a true box of the class is within 2 m, each true box used once.
void AddConfidences(const std::vector<MinedBox>& found, const std::vector<MinedBox>& truth,
                    double min_score, std::vector<double>* confidences,
                    std::vector<uint8_t>* correct) {
  constexpr double kMatch_m = 2;
  std::vector<const MinedBox*> order;
  for (const MinedBox& box : found) {
    if (box.score >= min_score) order.push_back(&box);
  }
  std::stable_sort(order.begin(), order.end(),
                   [](const MinedBox* a, const MinedBox* b) { return a->score > b->score; });
  std::vector<uint8_t> used(truth.size(), 0);
  for (const MinedBox* box : order) {
    int best = -1;
    double nearest = kMatch_m;
    for (size_t t = 0; t < truth.size(); ++t) {
      if (used[t] != 0 || truth[t].class_index != box->class_index) continue;
      const double distance = PlaneDistance(truth[t].center_m, box->center_m);
      if (distance <= nearest) {
        nearest = distance;
        best = static_cast<int>(t);
      }
    }
    if (best >= 0) used[best] = 1;
    confidences->push_back(box->score);
    correct->push_back(best >= 0);
  }
}

// Calls `f` for all frames of the data, log by log. A log that cannot be read is left out.
template <typename F>
void ForFrames(const MinedData& data, const MiningProgress& progress, F&& f) {
  for (int l = 0; l < data.num_logs(); ++l) {
    std::shared_ptr<const Log> log;
    try {
      log = data.Read(l);
    } catch (const Error& damage) {
      LogWarning(StrCat("left out: ", damage.what()));
    }
    const int64_t frames = log == nullptr ? 0 : std::ssize(log->frames);
    for (int i = 0; i < frames; ++i) f(*log, FrameRef{l, i, -1});
    if (progress) progress(l + 1, data.num_logs());
  }
}

}  // namespace

std::vector<MinedHit> BestHits(std::vector<MinedHit> hits, int64_t window_us, int count) {
  std::map<std::string, int64_t> groups;
  std::vector<Candidate> candidates;
  for (const MinedHit& hit : hits) {
    Candidate& candidate = candidates.emplace_back();
    candidate.id = std::ssize(candidates) - 1;
    candidate.score = hit.score;
    candidate.group = groups.try_emplace(hit.log, std::ssize(groups)).first->second;
    candidate.time_us = hit.time_us;
    // Without a window, each hit stands alone.
    if (window_us == 0) candidate.group = candidate.id;
  }
  std::vector<MinedHit> best;
  for (const int index : DeduplicateInTime(candidates, window_us)) {
    if (std::ssize(best) >= count) break;
    best.push_back(std::move(hits[index]));
  }
  return best;
}

void WeighByRarity(double exponent, std::vector<MinedHit>* hits) {
  std::map<std::string, std::set<std::string>> frames;
  size_t most = 0;
  for (const MinedHit& hit : *hits) {
    if (hit.class_name.empty()) continue;
    std::set<std::string>& of_class = frames[hit.class_name];
    of_class.insert(hit.id);
    most = std::max(most, of_class.size());
  }
  for (MinedHit& hit : *hits) {
    if (hit.class_name.empty()) continue;
    const size_t of_class = frames[hit.class_name].size();
    hit.score *= std::pow(static_cast<double>(most) / static_cast<double>(of_class), exponent);
  }
}

UncertainFound MineUncertain(const MinedData& data, const std::vector<BoxSource>& members,
                             const EnsembleMatching& matching, const MiningProgress& progress) {
  ATHANOR_CHECK(members.size() >= 2, "uncertainty: expected at least two members, found ",
                members.size());
  UncertainFound found;
  std::vector<std::vector<double>> confidences(members.size());
  std::vector<std::vector<uint8_t>> correct(members.size());
  const BoxSource annotations = BoxSource::Annotations();
  ForFrames(data, progress, [&](const Log& log, const FrameRef& ref) {
    if (!std::all_of(members.begin(), members.end(),
                     [&](const BoxSource& member) { return member.Has(log, ref.frame); })) {
      return;
    }
    ++found.frames;
    std::vector<FrameOfSource> frames;
    std::vector<std::vector<MinedBox>> boxes;
    for (const BoxSource& member : members) {
      frames.push_back(ReadFrame(member, log, ref.frame));
      boxes.push_back(frames.back().mined);
    }
    const std::vector<MinedBox> truth = ReadFrame(annotations, log, ref.frame).mined;
    if (!truth.empty()) {
      for (size_t m = 0; m < members.size(); ++m) {
        AddConfidences(boxes[m], truth, matching.min_score, &confidences[m], &correct[m]);
      }
    }
    for (const BoxCluster& cluster : MatchMembers(boxes, matching)) {
      if (!(cluster.uncertainty > 0)) continue;
      MinedHit hit = HitOf(data, ref);
      hit.score = cluster.uncertainty;
      hit.class_name = kNuscenesClassNames[cluster.class_index];
      hit.why = StrCat(cluster.members, " of ", members.size(), " members, mean score ",
                       Number(cluster.mean_score), ", mutual information ",
                       Number(cluster.mutual_information, 3), ", centre spread ",
                       Number(std::sqrt(cluster.center_variance_m2)), " m");
      // Shown as the member has it whose box is nearest to the mean.
      double nearest = 1e30;
      for (const FrameOfSource& frame : frames) {
        for (const SourcedBox& box : frame.boxes) {
          if (box.class_index != cluster.class_index || box.score < matching.min_score) continue;
          const double distance =
              PlaneDistance(box.box.frame_from_box.translation, cluster.center_m);
          if (distance < nearest) {
            nearest = distance;
            hit.box_in_world = box.box;
          }
        }
      }
      found.hits.push_back(std::move(hit));
    }
  });
  for (size_t m = 0; m < members.size() && !confidences[0].empty(); ++m) {
    found.calibration.push_back(MeasureCalibration(confidences[m], correct[m]));
  }
  return found;
}

UndigestedFound MineUndigested(const MinedData& data, const BoxSource& student,
                               const BoxSource& teacher, const UndigestedOptions& options,
                               DigestBook* book, const MiningProgress& progress) {
  UndigestedFound found;
  ForFrames(data, progress, [&](const Log& log, const FrameRef& ref) {
    if (!student.Has(log, ref.frame) || !teacher.Has(log, ref.frame)) return;
    ++found.frames;
    const FrameOfSource small = ReadFrame(student, log, ref.frame);
    const FrameOfSource large = ReadFrame(teacher, log, ref.frame);
    DisagreementOptions compare = options.compare;
    const Eigen::Vector3d ego = log.frames[ref.frame].world_from_ego.translation;
    compare.relevance = [&](const MinedBox& box) {
      return std::max(0.0, 1 - PlaneDistance(box.center_m, ego) / options.range_m);
    };
    const std::vector<Disagreement> disagreements =
        CompareWithTeacher(small.mined, large.mined, compare);
    const bool agrees = DisagreementOfFrame(disagreements) < options.agrees_below;
    found.agreed += agrees;
    double weight = 1;
    std::string state;
    if (book != nullptr) {
      const DigestSample sample = book->Record(
          data.name(ref.log), ref.frame, agrees ? DigestEvent::kAgreed : DigestEvent::kDisagreed);
      weight = SampleWeight(sample);
      state =
          StrCat(", ", DigestStateName(sample.state), sample.reopened > 0 ? ", a regression" : "");
    }
    for (const Disagreement& one : disagreements) {
      if (!(one.amount > 0)) continue;
      ++found.kinds[static_cast<size_t>(one.kind)];
      MinedHit hit = HitOf(data, ref);
      const bool has_teacher = one.teacher_box >= 0;
      const SourcedBox& box =
          has_teacher ? large.boxes[one.teacher_box] : small.boxes[one.student_box];
      hit.score = weight * one.amount;
      hit.class_name = kNuscenesClassNames[box.class_index];
      hit.box_in_world = box.box;
      hit.why = std::string(DisagreementKindName(one.kind));
      if (has_teacher) {
        hit.why += StrCat(": teacher says ", hit.class_name, " ", Number(box.score));
        if (one.student_box >= 0) {
          const SourcedBox& other = small.boxes[one.student_box];
          hit.why += StrCat(", student ", kNuscenesClassNames[other.class_index], " ",
                            Number(other.score), ", ",
                            Number(PlaneDistance(other.box.frame_from_box.translation,
                                                 box.box.frame_from_box.translation)),
                            " m away");
        }
      } else {
        hit.why += StrCat(": student says ", hit.class_name, " ", Number(box.score));
      }
      hit.why += StrCat(", ", Number(PlaneDistance(box.box.frame_from_box.translation, ego), 0),
                        " m from the car", state);
      found.hits.push_back(std::move(hit));
    }
  });
  return found;
}

}  // namespace athanor
