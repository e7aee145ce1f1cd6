// Labels by words: heights, boxes, and whole moments of a street that is built here.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/test_util.h"
#include "athanor/loop/labeling/words/moment_test_util.h"
#include "athanor/loop/labeling/words/word_labeler.h"

namespace athanor {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

const int kCar = FindNuscenesClass("car"), kAnimal = FindNuscenesClass("animal"),
          kPerson = FindNuscenesClass("pedestrian"), kBarrier = FindNuscenesClass("barrier");

struct Asked {
  std::vector<Eigen::Vector3d> points;
  std::vector<float> heights, scores;
  void Add(const std::vector<Eigen::Vector3d>& more, float score) {
    for (const Eigen::Vector3d& p : more) {
      points.push_back(p);
      heights.push_back(static_cast<float>(p.z()));
      scores.push_back(score);
    }
  }
  ScoredPoints Scored() const { return {points, heights, scores, {0, 0, 1.8}}; }
};

double YawOf(const NuscenesBox& box) {
  return 2 * std::atan2(box.rotation_wxyz[3], box.rotation_wxyz[0]);
}
// Between two axes, 0 .. pi/2: which end is the front is not told by points.
double BetweenAxes(double a, double b) { return std::abs(std::remainder(a - b, std::numbers::pi)); }

TEST(HeightsAboveGround, SeesWhatStandsOnASlope) {
  std::vector<Eigen::Vector3d> points;
  const auto ground = [](double x, double y) { return 0.04 * x - 0.02 * y - 3; };
  for (double x = -20; x < 20; x += 0.7) {
    for (double y = -20; y < 20; y += 0.7) points.emplace_back(x, y, ground(x, y));
  }
  const size_t on_ground = points.size();
  for (double z = 0.3; z < 1; z += 0.1) points.emplace_back(5.2, 3.1, ground(5.2, 3.1) + z);
  const std::vector<float> heights = HeightsAboveGround(points);
  for (size_t i = 0; i < on_ground; ++i) EXPECT_LT(heights[i], 0.1) << i;
  for (size_t i = on_ground; i < points.size(); ++i) {
    EXPECT_NEAR(heights[i], points[i].z() - ground(5.2, 3.1), 0.1);
  }
  // In fog, some returns come from below the road.
  for (int i = 0; i < 40; ++i) {
    const double x = -19 + 6.1 * (i % 7), y = -19 + 6.7 * (i / 7);
    points.emplace_back(x, y, ground(x, y) - 1 - i % 5);
  }
  const std::vector<float> in_fog = HeightsAboveGround(points);
  for (size_t i = 0; i < heights.size(); ++i) EXPECT_NEAR(in_fog[i], heights[i], 0.1) << i;
}

TEST(WordBoxes, StandsWhereTheThingStands) {
  for (const double yaw : {0.0, 0.5, 1.2, -0.7}) {
    const Box3 car = MakeBox3({14, 6, 0.85}, {4.5, 1.9, 1.7}, yaw);
    Asked asked;
    asked.Add(SidesOf(car, 0.15), 0.9f);
    asked.Add(SidesOf(MakeBox3({14, -8, 1}, {4, 2, 2}, 0), 0.15), 0.2f);  // something else
    const auto boxes = FindWordBoxes(asked.Scored(), kCar);
    ASSERT_EQ(boxes.size(), 1u) << yaw;
    EXPECT_LT((boxes[0].translation_m - car.frame_from_box.translation).norm(), 0.25) << yaw;
    EXPECT_LT(BetweenAxes(YawOf(boxes[0]), yaw), 0.06) << yaw;
    EXPECT_NEAR(boxes[0].size_wlh_m.x(), 1.9, 0.2);
    EXPECT_NEAR(boxes[0].size_wlh_m.y(), 4.5, 0.3);
    EXPECT_NEAR(boxes[0].size_wlh_m.z(), 1.7, 0.2);
    EXPECT_NEAR(boxes[0].score, 0.9, 0.02);
  }
}

TEST(WordBoxes, GrowsAwayFromTheSensorWhereOneSideIsSeen) {
  Asked asked;  // the back of a car ahead
  for (double y = -0.9; y <= 0.9; y += 0.1) {
    for (double z = 0.3; z < 1.5; z += 0.2) asked.Add({{10, y, z}}, 1);
  }
  const auto boxes = FindWordBoxes(asked.Scored(), kCar);
  ASSERT_EQ(boxes.size(), 1u);
  const ClassSize& size = SizeOfClass(kCar);
  // What is seen is the width or the length; either way it lies behind the back.
  const double depth = boxes[0].translation_m.x() - 10;
  EXPECT_GT(depth, 0.45 * size.least_m.x());
  EXPECT_LE(boxes[0].size_wlh_m.y(), size.most_m.y());
  EXPECT_GE(boxes[0].size_wlh_m.y(), size.least_m.y());
}

TEST(WordBoxes, TellsThingsApartAndCutsGroups) {
  Asked asked;
  const auto person = [&](double x, double y) {
    asked.Add(SidesOf(MakeBox3({x, y, 0.9}, {0.4, 0.5, 1.7}, 0), 0.12), 0.8f);
  };
  person(10, 0);
  person(10, 4);
  person(10, 4.8);  // nearer to the last than points are joined
  person(10, 5.6);
  const auto boxes = FindWordBoxes(asked.Scored(), kPerson);
  EXPECT_EQ(boxes.size(), 4u);
  // A wall that is called a person is none.
  Asked wall;
  wall.Add(SidesOf(MakeBox3({15, 0, 1.5}, {0.3, 20, 3}, 0), 0.1), 0.8f);
  EXPECT_TRUE(FindWordBoxes(wall.Scored(), kPerson).empty());
}

TEST(WordBoxes, LeavesOutGroundFaintPointsAndBorders) {
  Asked asked;
  for (double x = 5; x < 20; x += 0.3) asked.Add({{x, 2, 0.05}}, 0.9f);  // ground
  asked.Add(SidesOf(MakeBox3({9, 0, 0.3}, {0.8, 0.3, 0.5}, 1.57), 0.08), 0.9f);
  // On the house behind it, seen past its back.
  for (double y = -0.5; y < 0.5; y += 0.05) asked.Add({{22, y, 1.8 - 22.0 / 9 * 1.3}}, 0.7f);
  const auto boxes = FindWordBoxes(asked.Scored(), kAnimal);
  ASSERT_EQ(boxes.size(), 1u);
  EXPECT_NEAR(boxes[0].translation_m.x(), 9, 0.3);
  WordBoxOptions strict;
  strict.threshold = 0.95;
  EXPECT_TRUE(FindWordBoxes(asked.Scored(), kAnimal, strict).empty());
}

TEST(WordBoxes, WhatIsPartOfSomethingElseScoresLess) {
  const auto side = SidesOf(MakeBox3({10, 0, 0.8}, {1.9, 4.5, 1.5}, 0), 0.12);
  Asked asked;
  for (const Eigen::Vector3d& p : side) {
    const bool is_called = std::abs(p.y()) < 0.3;
    asked.Add({p}, is_called ? 0.9f : 0.1f);
  }
  const auto boxes = FindWordBoxes(asked.Scored(), kPerson);
  ASSERT_EQ(boxes.size(), 1u);
  EXPECT_LT(boxes[0].score, 0.7);
  EXPECT_GT(boxes[0].score, 0.3);
}

TEST(WordBoxes, ABarrierIsWiderThanLong) {
  Asked asked;
  asked.Add(SidesOf(MakeBox3({10, 0, 0.5}, {0.4, 2.2, 1.0}, 0.3), 0.1), 0.9f);
  const auto boxes = FindWordBoxes(asked.Scored(), kBarrier);
  ASSERT_EQ(boxes.size(), 1u);
  EXPECT_GT(boxes[0].size_wlh_m.x(), boxes[0].size_wlh_m.y());
  EXPECT_LT(BetweenAxes(YawOf(boxes[0]), 0.3), 0.1);
}

TEST(WordBoxes, RefusesCountsThatDiffer) {
  const Asked asked;
  ScoredPoints scored = asked.Scored();
  const std::vector<float> one = {1};
  scored.scores = one;
  EXPECT_THAT(ErrorOf([&] { FindWordBoxes(scored, kCar); }), HasSubstr("expected 0 scores"));
}

// Pixels say their colour: words are colours too.
class ColorTeacher : public Teacher {
 public:
  std::string key() const override { return "colours"; }
  int dimension() const override { return 3; }
  std::string text_space() const override { return "colours"; }
  ViewFeatures Describe(const Image& rgb, const std::string&) override {
    ViewFeatures features;
    features.width_px = rgb.width, features.height_px = rgb.height;
    features.features =
        at::from_blob(const_cast<uint8_t*>(rgb.data.data()), {rgb.height, rgb.width, 3}, at::kByte)
            .to(at::kHalf) /
        255;
    return features;
  }
};
class ColorWords : public TextEncoder {
 public:
  std::string space() const override { return "colours"; }
  int dimension() const override { return 3; }
  at::Tensor Encode(std::span<const std::string> prompts) override {
    const at::Tensor rows = at::zeros({static_cast<int64_t>(prompts.size()), 3});
    for (size_t p = 0; p < prompts.size(); ++p) {
      const std::string& word = prompts[p];
      const int channel = word == "dog"                         ? 0
                          : word == "grass" || word == "things" ? 1
                          : word == "person"                    ? 2
                                                                : -1;
      ATHANOR_CHECK(channel >= 0, "prompt '", word, "' is no colour");
      rows[static_cast<int64_t>(p)][channel] = 1;
    }
    return rows;
  }
};

TEST(WordLabeler, FindsTheThingsThatWordsMean) {
  const auto folder = TestFolder("word labels");
  const std::vector<Box3> truth = {MakeBox3({8, 1, 0.35}, {0.9, 0.4, 0.7}, 0.4),
                                   MakeBox3({12, -2, 0.9}, {0.6, 0.6, 1.8}, 0)};
  const Log log = MakeStreet(folder, truth);
  ColorTeacher teacher;
  ColorWords words;
  WordLabeler labeler(&teacher, &words, {AskFor("dog"), AskFor("person")}, {}, {});
  // The other phrase, and what can be read of the words for streets.
  EXPECT_THAT(labeler.negatives()[0], ::testing::UnorderedElementsAre("person", "grass", "things"));
  const WordLabeler::Found found = labeler.Look(log, 0);
  EXPECT_EQ(found.pictures, 1);
  ASSERT_EQ(found.boxes.size(), 2u);
  for (const NuscenesBox& box : found.boxes) {
    const bool is_dog = box.class_index == kAnimal;
    EXPECT_EQ(box.class_index, is_dog ? kAnimal : kPerson);
    const Eigen::Vector3d place =
        truth[is_dog ? 0 : 1].frame_from_box.translation + Eigen::Vector3d(1000, -2000, 30);
    EXPECT_LT((box.translation_m - place).norm(), 0.4);
    EXPECT_GT(box.score, 0.4);  // some of its points are its border to the meadow
  }
  // Vectors of boxes are those of the colours; a box of a phrase is not that of the other.
  const WordLabeler::Found with = labeler.Look(MakeMomentScene(log, 0), /*with_vectors=*/true);
  ASSERT_EQ(with.box_vectors.sizes(), (std::vector<int64_t>{2, 3}));
  for (int b = 0; b < 2; ++b) {
    const int colour = with.boxes[b].class_index == kAnimal ? 0 : 2;
    EXPECT_GT(with.box_vectors[b][colour].item<float>(), 0.9);
  }
  EXPECT_NEAR(with.vector.norm().item<double>(), 1, 1e-3);
  EXPECT_GT(with.vector[1].item<float>(), 0.9);  // most is meadow
  EXPECT_FALSE(found.vector.defined());
  // One word alone finds its own only.
  WordLabeler dogs(&teacher, &words, {AskFor("dog")}, {"grass", "person"}, {});
  EXPECT_EQ(dogs.Look(log, 0).boxes.size(), 1u);
}

TEST(WordLabeler, SaysWhatIsMissing) {
  EXPECT_EQ(AskFor("traffic cone").class_index, FindNuscenesClass("traffic_cone"));
  EXPECT_EQ(AskFor("red box=animal").class_index, kAnimal);
  EXPECT_EQ(AskFor("red box=animal").text, "red box");
  EXPECT_THAT(ErrorOf([] { AskFor("dog=cat"); }), HasSubstr("there is no class \"cat\""));
  EXPECT_THAT(ErrorOf([] { AskFor("sky"); }), HasSubstr("fits no class"));
  ColorTeacher teacher;
  ColorWords words;
  EXPECT_THAT(ErrorOf([&] {
                WordLabeler(&teacher, &words, {{"zebra", kAnimal}}, {}, {});
              }),
              HasSubstr("prompt 'zebra' is no colour"));
  EXPECT_THAT(ErrorOf([&] {
                WordLabeler(&teacher, &words, {{"dog", kAnimal}}, {"dog"}, {});
              }),
              HasSubstr("no words left"));
  // A picture that is not at hand: no boxes, no error.
  const auto folder = TestFolder("no picture");
  Log log = MakeStreet(folder, {});
  std::filesystem::remove(folder / "picture.png");
  WordLabeler labeler(&teacher, &words, {{"dog", kAnimal}}, {"grass"}, {});
  EXPECT_TRUE(labeler.Look(log, 0).boxes.empty());
}

}  // namespace
}  // namespace athanor
