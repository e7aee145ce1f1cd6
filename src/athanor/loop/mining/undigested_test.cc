#include "athanor/loop/mining/undigested.h"

#include <gmock/gmock.h>

#include <cmath>
#include <map>

#include "athanor/base/random.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

MinedBox Box(double x, double score, int class_index = 0) {
  MinedBox box;
  box.center_m = {x, 0, 0};
  box.score = score;
  box.class_index = class_index;
  return box;
}

TEST(CompareWithTeacherTest, TellsTheKindsApart) {
  const std::vector<MinedBox> teacher = {Box(0, 0.9),  Box(10, 0.8), Box(20, 0.7),
                                         Box(30, 0.6), Box(40, 0.4), Box(60, 0.4)};
  const std::vector<MinedBox> student = {
      Box(0.1, 0.9),    // agrees
      Box(11, 0.8),     // a metre off
      Box(20, 0.5, 1),  // something else
      Box(50, 0.7),     // where nothing is
      Box(60, 0.6),     // where the teacher half sees something
      Box(30, 0.2)      // too weak to count
  };
  const auto found = CompareWithTeacher(student, teacher);
  std::map<std::pair<DisagreementKind, int>, Disagreement> by_place;
  for (const Disagreement& d : found) {
    const double x = d.teacher_box >= 0 ? teacher[d.teacher_box].center_m.x()
                                        : student[d.student_box].center_m.x();
    by_place[{d.kind, static_cast<int>(x)}] = d;
  }
  ASSERT_EQ(found.size(), 5u);
  EXPECT_NEAR(by_place.at({DisagreementKind::kMissed, 30}).amount, 0.6, 1e-12);
  EXPECT_NEAR(by_place.at({DisagreementKind::kLocalisation, 10}).amount, 0.8 * 0.5, 1e-12);
  EXPECT_NEAR(by_place.at({DisagreementKind::kClassFlip, 20}).amount, 0.7 * 0.5, 1e-12);
  EXPECT_NEAR(by_place.at({DisagreementKind::kGhost, 50}).amount, 0.7, 1e-12);
  EXPECT_NEAR(by_place.at({DisagreementKind::kGhost, 60}).amount, 0.6 * 0.6, 1e-12);
  EXPECT_EQ(found[0].kind, DisagreementKind::kGhost);
  for (size_t i = 1; i < found.size(); ++i) EXPECT_GE(found[i - 1].amount, found[i].amount);
  EXPECT_NEAR(DisagreementOfFrame(found), 0.6 + 0.4 + 0.35 + 0.7 + 0.36, 1e-12);
}

TEST(CompareWithTeacherTest, WeighsByRelevanceAndFault) {
  const std::vector<MinedBox> teacher = {Box(0, 1), Box(50, 1, 1)};
  DisagreementOptions options;
  options.relevance = [](const MinedBox& box) { return box.center_m.x() < 10 ? 1.0 : 0.5; };
  const std::vector<double> fault = {0.25};
  options.teacher_fault = fault;
  const auto found = CompareWithTeacher({}, teacher, options);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_NEAR(found[0].amount, 0.75, 1e-12);
  EXPECT_EQ(found[0].class_index, 0);
  EXPECT_NEAR(found[1].amount, 0.5, 1e-12);
  EXPECT_TRUE(CompareWithTeacher({}, {}).empty());
  EXPECT_TRUE(CompareWithTeacher(teacher, teacher).empty());
}

// On random boxes: nothing is counted twice, all that is confident is accounted for, and a model
// never disagrees with itself.
TEST(CompareWithTeacherTest, AccountsForEveryBoxOnce) {
  Random random(3);
  for (int trial = 0; trial < 200; ++trial) {
    const auto make = [&](int n) {
      std::vector<MinedBox> boxes;
      for (int i = 0; i < n; ++i) {
        boxes.push_back(Box(random.Uniform(0, 12), random.Uniform(), int(random.Below(2))));
      }
      return boxes;
    };
    const auto student = make(8), teacher = make(8);
    std::map<int, int> students, teachers;
    for (const Disagreement& d : CompareWithTeacher(student, teacher)) {
      if (d.student_box >= 0) ++students[d.student_box];
      if (d.teacher_box >= 0) {
        ++teachers[d.teacher_box];
        EXPECT_GE(teacher[d.teacher_box].score, 0.5);
      }
      EXPECT_GT(d.amount, 0);
      EXPECT_LE(d.amount, 1);
    }
    for (const auto& [box, count] : students) EXPECT_EQ(count, 1);
    for (const auto& [box, count] : teachers) EXPECT_EQ(count, 1);
    EXPECT_EQ(DisagreementOfFrame(CompareWithTeacher(
                  student, student, {.teacher_confidence = 0, .student_confidence = 0})),
              0);
  }
}

TEST(CompareWithTeacherTest, RefusesNaN) {
  const std::vector<MinedBox> good = {Box(0, 1)}, bad = {Box(0, 1), Box(NAN, 1)},
                              loud = {Box(0, 1.5)};
  EXPECT_THAT(ErrorOf([&] { CompareWithTeacher(good, bad); }), HasSubstr("the teacher's box 1"));
  EXPECT_THAT(ErrorOf([&] { CompareWithTeacher(loud, good); }),
              HasSubstr("the student's box 0: expected finite numbers and a score of 0 to 1, found "
                        "a score of 1.5"));
}

TEST(DigestTest, GoesThroughLife) {
  DigestSample s;
  s = Advance(s, DigestEvent::kDisagreed);
  EXPECT_EQ(s.state, DigestState::kUndigested);
  s = Advance(s, DigestEvent::kQueued);
  s = Advance(s, DigestEvent::kAgreed);
  s = Advance(s, DigestEvent::kAgreed);
  s = Advance(s, DigestEvent::kAgreed);
  EXPECT_EQ(s.state, DigestState::kQueued);  // luck before training
  s = Advance(s, DigestEvent::kTrained);
  EXPECT_EQ(s.state, DigestState::kTrained);
  s = Advance(s, DigestEvent::kAgreed);
  EXPECT_EQ(s.state, DigestState::kTrained);
  s = Advance(s, DigestEvent::kAgreed);
  EXPECT_EQ(s.state, DigestState::kDigested);
  s = Advance(s, DigestEvent::kRetired);
  EXPECT_EQ(s.state, DigestState::kRetired);
  EXPECT_EQ(SampleWeight(s), 0.25);
  s = Advance(s, DigestEvent::kDisagreed);
  EXPECT_EQ(s.state, DigestState::kUndigested);
  EXPECT_EQ(s.reopened, 1);
  EXPECT_EQ(s.agreements, 0);
  EXPECT_EQ(SampleWeight(s), 8);
}

TEST(DigestTest, AgreementHasToBeInARow) {
  DigestSample s;
  const DigestRules rules = {.agreements = 3};
  for (const auto event : {DigestEvent::kAgreed, DigestEvent::kAgreed, DigestEvent::kDisagreed,
                           DigestEvent::kAgreed, DigestEvent::kAgreed}) {
    s = Advance(s, event, rules);
  }
  EXPECT_EQ(s.state, DigestState::kUndigested);
  s = Advance(s, DigestEvent::kAgreed, rules);
  EXPECT_EQ(s.state, DigestState::kDigested);
  EXPECT_EQ(s.reopened, 0);
}

// Whatever happens: a state of the table or an Error, re-opening only from digested and retired,
// digested only with enough agreement.
TEST(DigestTest, KeepsItsInvariants) {
  Random random(9);
  int errors = 0;
  for (int trial = 0; trial < 300; ++trial) {
    DigestSample s;
    for (int step = 0; step < 40; ++step) {
      const auto event = static_cast<DigestEvent>(random.Below(5));
      DigestSample after;
      const std::string error = ErrorOf([&] { after = Advance(s, event); });
      if (!error.empty()) {
        EXPECT_THAT(error,
                    HasSubstr(std::string("cannot be ") + std::string(DigestEventName(event))));
        ++errors;
        continue;
      }
      const bool was_done = s.state == DigestState::kDigested || s.state == DigestState::kRetired;
      EXPECT_EQ(after.reopened - s.reopened, event == DigestEvent::kDisagreed && was_done);
      if (after.state == DigestState::kDigested) {
        EXPECT_GE(after.agreements, 2);
      }
      if (after.state == DigestState::kRetired) {
        EXPECT_TRUE(was_done);
      }
      if (after.state == DigestState::kTrained && s.state != after.state) {
        EXPECT_EQ(s.state, DigestState::kQueued);
      }
      s = after;
    }
  }
  EXPECT_GT(errors, 0);
  EXPECT_THAT(ErrorOf([] { Advance({}, DigestEvent::kTrained); }),
              HasSubstr("a sample that is new cannot be trained"));
}

}  // namespace
}  // namespace athanor
