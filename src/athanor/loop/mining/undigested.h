// What the deployed small model has not digested: where it disagrees with the large one, and what
// has become of each sample since.
//
// Boxes are matched as in the nuScenes evaluation: by class, the student's best score first, to the
// nearest unmatched centre in the plane.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "athanor/loop/mining/mined_box.h"

namespace athanor {

enum class DisagreementKind { kMissed, kGhost, kClassFlip, kLocalisation };
// "missed", "ghost", "class flip", "localisation".
std::string_view DisagreementKindName(DisagreementKind kind);

struct Disagreement {
  DisagreementKind kind = DisagreementKind::kMissed;
  int class_index = 0;   // the teacher's; the student's for a ghost
  double amount = 0;     // 0 .. 1, times relevance
  int student_box = -1;  // indices into the boxes compared; -1: none
  int teacher_box = -1;
};

struct DisagreementOptions {
  double match_distance_m = 2;
  double localisation_m = 0.5;      // centres nearer than this agree
  double teacher_confidence = 0.5;  // a teacher's box below says nothing
  double student_confidence = 0.3;  // a student's box below is none
  // How much a box matters, 0 .. 1: its distance to the ego vehicle, or whether it is on its way.
  // Null: all alike.
  std::function<double(const MinedBox&)> relevance;
  // By class: share of disagreements that people found to be the teacher's fault; missing: 0.
  std::span<const double> teacher_fault;
};

// Of one frame. The amount of
//   missed         teacher's score
//   ghost          student's score * (1 - best score of a teacher's box nearby, of any class and
//                  however weak): a teacher that half sees something half excuses it
//   class flip     teacher's score * student's score
//   localisation   teacher's score * distance / match_distance_m
// each times relevance and (1 - teacher_fault of the class). Largest first. Throws Error for NaN
// and scores outside 0 .. 1, naming whose box.
std::vector<Disagreement> CompareWithTeacher(std::span<const MinedBox> student,
                                             std::span<const MinedBox> teacher,
                                             const DisagreementOptions& options = {});

// Sum of the amounts.
double DisagreementOfFrame(std::span<const Disagreement> disagreements);

// The life of a sample. Evaluations agree or disagree at any time; queueing, training and retiring
// happen to those that are ready for it.
//
//   state        agreed            disagreed     queued   trained   retired
//   new          digested after n  undigested    -        -         -
//   undigested   digested after n  stays         queued   -         -
//   queued       stays             stays         stays    trained   -
//   trained      digested after n  undigested    -        stays     -
//   digested     stays             undigested *  -        stays     retired
//   retired      stays             undigested *  -        -         stays
//
// n agreeing evaluations in a row. "*": re-opened, a regression. "-": an Error.
enum class DigestState : uint8_t { kNew, kUndigested, kQueued, kTrained, kDigested, kRetired };
enum class DigestEvent : uint8_t { kAgreed, kDisagreed, kQueued, kTrained, kRetired };
// "new", "undigested", ...; "agreed", "disagreed", ...
std::string_view DigestStateName(DigestState state);
std::string_view DigestEventName(DigestEvent event);

struct DigestSample {
  DigestState state = DigestState::kNew;
  int agreements = 0;  // in a row
  int reopened = 0;    // how often it regressed
};

struct DigestRules {
  int agreements = 2;  // n
  // How often a sampler should draw a sample, by state.
  std::array<double, 6> weights = {1, 4, 4, 2, 1, 0.25};
};

// Pure. Throws Error for an event that cannot happen in this state.
DigestSample Advance(const DigestSample& sample, DigestEvent event, const DigestRules& rules = {});

// The weight of its state, times 1 + the number of times it was re-opened.
double SampleWeight(const DigestSample& sample, const DigestRules& rules = {});

}  // namespace athanor
