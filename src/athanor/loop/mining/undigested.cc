#include "athanor/loop/mining/undigested.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "athanor/base/error.h"

namespace athanor {
namespace {

void CheckBoxes(std::span<const MinedBox> boxes, std::string_view whose) {
  for (size_t b = 0; b < boxes.size(); ++b) {
    const MinedBox& box = boxes[b];
    ATHANOR_CHECK(box.center_m.allFinite() && box.size_m.allFinite() &&
                      std::isfinite(box.yaw_rad) && box.score >= 0 && box.score <= 1,
                  "disagreement: frame ", box.frame, ": ", whose, "'s box ", b,
                  ": expected finite numbers and a score of 0 to 1, found a score of ", box.score);
  }
}

double Distance(const MinedBox& a, const MinedBox& b) {
  return (a.center_m - b.center_m).head<2>().norm();
}

// Student's boxes, best first, each to the nearest free teacher's box that `allowed` lets it have.
template <typename Allowed>
void Match(std::span<const MinedBox> student, std::span<const MinedBox> teacher,
           const std::vector<int>& best_first, double within_m, const Allowed& allowed,
           std::vector<int>* teacher_of, std::vector<int>* student_of) {
  for (const int s : best_first) {
    if ((*teacher_of)[s] >= 0) continue;
    int nearest = -1;
    double best = within_m;
    for (size_t t = 0; t < teacher.size(); ++t) {
      const double distance = Distance(student[s], teacher[t]);
      if ((*student_of)[t] < 0 && distance < best && allowed(s, static_cast<int>(t))) {
        best = distance, nearest = static_cast<int>(t);
      }
    }
    if (nearest < 0) continue;
    (*teacher_of)[s] = nearest;
    (*student_of)[nearest] = s;
  }
}

// The table of undigested.h, but for what agreements add up to.
using Next = std::optional<DigestState>;
constexpr DigestState kN = DigestState::kNew, kU = DigestState::kUndigested,
                      kQ = DigestState::kQueued, kT = DigestState::kTrained,
                      kD = DigestState::kDigested, kR = DigestState::kRetired;
const Next kNext[6][5] = {
    // agreed, disagreed, queued, trained, retired
    {kN, kU, {}, {}, {}},  // new
    {kU, kU, kQ, {}, {}},  // undigested
    {kQ, kQ, kQ, kT, {}},  // queued
    {kT, kU, {}, kT, {}},  // trained
    {kD, kU, {}, kD, kR},  // digested
    {kR, kU, {}, {}, kR},  // retired
};

}  // namespace

std::string_view DisagreementKindName(DisagreementKind kind) {
  constexpr std::string_view kNames[] = {"missed", "ghost", "class flip", "localisation"};
  return kNames[static_cast<int>(kind)];
}

std::string_view DigestStateName(DigestState state) {
  constexpr std::string_view kNames[] = {"new",     "undigested", "queued",
                                         "trained", "digested",   "retired"};
  return kNames[static_cast<int>(state)];
}

std::string_view DigestEventName(DigestEvent event) {
  constexpr std::string_view kNames[] = {"agreed", "disagreed", "queued", "trained", "retired"};
  return kNames[static_cast<int>(event)];
}

std::vector<Disagreement> CompareWithTeacher(std::span<const MinedBox> student,
                                             std::span<const MinedBox> teacher,
                                             const DisagreementOptions& options) {
  CheckBoxes(student, "the student");
  CheckBoxes(teacher, "the teacher");
  const double within_m = options.match_distance_m;
  std::vector<int> best_first;
  for (size_t s = 0; s < student.size(); ++s) {
    if (student[s].score >= options.student_confidence) best_first.push_back(static_cast<int>(s));
  }
  std::stable_sort(best_first.begin(), best_first.end(),
                   [&](int a, int b) { return student[a].score > student[b].score; });
  std::vector<int> teacher_of(student.size(), -1), student_of(teacher.size(), -1);
  const auto confident = [&](int t) { return teacher[t].score >= options.teacher_confidence; };
  const auto same_class = [&](int s, int t) {
    return student[s].class_index == teacher[t].class_index;
  };
  // What agrees first; then what is confidently something else. Weak teacher's boxes match last:
  // they say nothing about a student's box, neither for nor against it being right.
  Match(
      student, teacher, best_first, within_m,
      [&](int s, int t) { return confident(t) && same_class(s, t); }, &teacher_of, &student_of);
  Match(
      student, teacher, best_first, within_m,
      [&](int s, int t) { return confident(t) && !same_class(s, t); }, &teacher_of, &student_of);

  std::vector<Disagreement> found;
  const auto add = [&](DisagreementKind kind, double amount, int s, int t) {
    const MinedBox& box = t >= 0 ? teacher[t] : student[s];
    if (options.relevance) amount *= options.relevance(box);
    const auto c = static_cast<size_t>(box.class_index);
    if (box.class_index >= 0 && c < options.teacher_fault.size()) {
      amount *= 1 - options.teacher_fault[c];
    }
    if (amount > 0) found.push_back({kind, box.class_index, amount, s, t});
  };
  for (size_t i = 0; i < teacher.size(); ++i) {
    const int t = static_cast<int>(i), s = student_of[i];
    if (!confident(t)) continue;
    if (s < 0) {
      add(DisagreementKind::kMissed, teacher[t].score, -1, t);
    } else if (!same_class(s, t)) {
      add(DisagreementKind::kClassFlip, teacher[t].score * student[s].score, s, t);
    } else if (Distance(student[s], teacher[t]) >= options.localisation_m) {
      add(DisagreementKind::kLocalisation,
          teacher[t].score * Distance(student[s], teacher[t]) / within_m, s, t);
    }
  }
  for (const int s : best_first) {
    if (teacher_of[s] >= 0) continue;
    double nearby = 0;
    for (const MinedBox& box : teacher) {
      if (Distance(student[s], box) < within_m) nearby = std::max(nearby, box.score);
    }
    add(DisagreementKind::kGhost, student[s].score * (1 - nearby), s, -1);
  }
  std::stable_sort(found.begin(), found.end(), [](const Disagreement& a, const Disagreement& b) {
    return a.amount > b.amount;
  });
  return found;
}

double DisagreementOfFrame(std::span<const Disagreement> disagreements) {
  return std::accumulate(disagreements.begin(), disagreements.end(), 0.0,
                         [](double sum, const Disagreement& d) { return sum + d.amount; });
}

DigestSample Advance(const DigestSample& sample, DigestEvent event, const DigestRules& rules) {
  const Next next = kNext[static_cast<int>(sample.state)][static_cast<int>(event)];
  ATHANOR_CHECK(next.has_value(), "digestion: a sample that is ", DigestStateName(sample.state),
                " cannot be ", DigestEventName(event));
  DigestSample after = sample;
  after.state = *next;
  if (event == DigestEvent::kAgreed) {
    // Those that wait for training are not done with by luck.
    const bool may_finish = *next == kN || *next == kU || *next == kT;
    ++after.agreements;
    if (may_finish && after.agreements >= rules.agreements) after.state = kD;
  } else if (event == DigestEvent::kDisagreed) {
    after.agreements = 0;
    if (sample.state == kD || sample.state == kR) ++after.reopened;
  } else if (*next != sample.state && event == DigestEvent::kTrained) {
    after.agreements = 0;  // what was agreed before training says nothing about what was learnt
  }
  return after;
}

double SampleWeight(const DigestSample& sample, const DigestRules& rules) {
  return rules.weights[static_cast<int>(sample.state)] * (1 + sample.reopened);
}

}  // namespace athanor
