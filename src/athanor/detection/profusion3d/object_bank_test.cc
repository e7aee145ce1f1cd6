#include "athanor/detection/profusion3d/object_bank.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <string>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"
#include "athanor/detection/profusion3d/object_paste.h"
#include "athanor/detection/profusion3d/sample_test_util.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

// A sample without objects: a camera that looks ahead over grey ground, a LiDAR with points on a
// grid at the height of the boxes' middle.
DetectionSample EmptyStreet(uint8_t grey = 60) {
  DetectionSample sample;
  sample.images = at::full({1, 3, 120, 320}, grey, at::kByte);
  sample.camera_from_ego = at::zeros({1, 4, 4}, at::kFloat);
  float* e = sample.camera_from_ego.data_ptr<float>();
  e[0 * 4 + 1] = -1, e[1 * 4 + 2] = -1, e[1 * 4 + 3] = 1.5f, e[2 * 4 + 0] = 1, e[15] = 1;
  sample.intrinsics = at::zeros({1, 3, 3}, at::kFloat);
  float* k = sample.intrinsics.data_ptr<float>();
  k[0] = k[4] = 200, k[2] = 160, k[5] = 60, k[8] = 1;
  sample.has_camera = at::ones({1}, at::kByte);
  sample.points = at::zeros({100 * 100, kPointColumns}, at::kFloat);
  for (int i = 0; i < 100 * 100; ++i) {
    float* p = sample.points.data_ptr<float>() + i * kPointColumns;
    p[0] = 0.5f * static_cast<float>(i % 100);
    p[1] = 0.5f * static_cast<float>(i / 100) - 25;
    p[2] = 0.9f;
    p[3] = 0.25f;
  }
  sample.boxes = at::empty({0, kBoxColumns}, at::kFloat);
  sample.labels = at::empty({0}, at::kLong);
  sample.attributes = at::empty({0}, at::kLong);
  return sample;
}

// Puts an object there: a box, painted in one colour, with `intensity` on its points.
void AddObject(DetectionSample* sample, int label, const std::array<float, kBoxColumns>& row,
               std::array<int, 3> rgb, float intensity, int attribute = -1) {
  at::Tensor box = at::empty({1, kBoxColumns}, at::kFloat);
  std::copy(row.begin(), row.end(), box.data_ptr<float>());
  sample->boxes = at::cat({sample->boxes, box});
  sample->labels = at::cat({sample->labels, at::full({1}, label, at::kLong)});
  sample->attributes = at::cat({sample->attributes, at::full({1}, attribute, at::kLong)});
  for (int64_t i = 0; i < sample->points.size(0); ++i) {
    float* p = sample->points.data_ptr<float>() + i * kPointColumns;
    if (BoxOfRow(box[0]).Contains(Eigen::Vector3d(p[0], p[1], p[2]))) p[3] = intensity;
  }
  Eigen::Vector2d low(1e9, 1e9), high(-1e9, -1e9);
  for (const Eigen::Vector2d& pixel : OutlineOf(row, CameraOf(*sample, 0))) {
    low = low.cwiseMin(pixel), high = high.cwiseMax(pixel);
  }
  for (int y = std::max(0, int(low.y())); y < std::min(120.0, std::ceil(high.y())); ++y) {
    for (int x = std::max(0, int(low.x())); x < std::min(320.0, std::ceil(high.x())); ++x) {
      for (int c = 0; c < 3; ++c) sample->images[0][c][y][x] = rgb[c];
    }
  }
}

std::array<int, 3> ColorOf(const DetectionSample& sample, const Eigen::Vector3d& point) {
  const auto seen = SeePoint(sample, 0, point);
  std::array<int, 3> color;
  for (int c = 0; c < 3; ++c) {
    color[c] = sample.images[0][c][int(seen->pixel.y())][int(seen->pixel.x())].item<int>();
  }
  return color;
}

// JPEG rounds.
void ExpectColor(const std::array<int, 3>& found, const std::array<int, 3>& expected) {
  for (int c = 0; c < 3; ++c) EXPECT_NEAR(found[c], expected[c], 12) << c;
}

constexpr std::array<float, kBoxColumns> kCar = {20, 2, 0.8f, 4.4f, 2, 1.6f, 0.3f, 5, 1};
constexpr int kParked = 6;  // its attribute
constexpr std::array<int, 3> kRed = {200, 30, 40}, kBlue = {20, 40, 220};

// A bank of one car at kCar.
fs::path OneCar(const std::string& name) {
  const fs::path path = TestFolder(name) / "objects.bank";
  DetectionSample street = EmptyStreet();
  AddObject(&street, 0, kCar, kRed, 0.75f, kParked);
  ObjectBankWriter writer(path);
  EXPECT_EQ(writer.AddFrame(street), 1);
  writer.Finish();
  return path;
}

PasteOptions OneOfEach() {
  PasteOptions options;
  options.counts.fill(1);
  return options;
}

TEST(ObjectBank, GivesBackWhatWasCutOut) {
  const ObjectBank bank(OneCar("back"));
  ASSERT_EQ(bank.count(0), 1);
  EXPECT_EQ(bank.count(1), 0);
  const BankObject car = bank.Read(0, 0);
  EXPECT_EQ(car.box, kCar);
  EXPECT_EQ(car.attribute, kParked);
  DetectionSample street = EmptyStreet();
  AddObject(&street, 0, kCar, kRed, 0.75f);
  EXPECT_EQ(static_cast<int>(car.points.size()) / kPointColumns, CountPoints(street)[0]);
  for (size_t i = 3; i < car.points.size(); i += kPointColumns) EXPECT_EQ(car.points[i], 0.75f);
  ASSERT_EQ(car.patches.size(), 1u);
  const ObjectPatch& patch = car.patches[0];
  const auto center = SeePoint(street, 0, {kCar[0], kCar[1], kCar[2]});
  const int x = int(center->pixel.x()) - patch.left_px, y = int(center->pixel.y()) - patch.top_px;
  ASSERT_TRUE(x > 0 && y > 0 && x < patch.image.width && y < patch.image.height);
  ExpectColor({patch.image.at(x, y)[0], patch.image.at(x, y)[1], patch.image.at(x, y)[2]}, kRed);
}

TEST(ObjectBank, KeepsNoObjectOfFewPoints) {
  const fs::path path = TestFolder("few") / "objects.bank";
  DetectionSample street = EmptyStreet();
  AddObject(&street, 9, {20, 0, 0.8f, 0.4f, 0.4f, 1, 0, 0, 0}, kRed, 1);
  ObjectBankWriter writer(path);
  EXPECT_EQ(writer.AddFrame(street), 0);
  EXPECT_THAT(ErrorOf([&] { writer.Finish(); }),
              HasSubstr("objects.bank: expected objects of at least 5 LiDAR points"));
  EXPECT_FALSE(fs::exists(path));
}

TEST(ObjectBank, RefusesDamagedFiles) {
  const fs::path path = OneCar("damaged");
  const std::string good = ReadFile(path);
  const auto error = [&](const std::string& bytes) {
    WriteFile(path, bytes);
    return ErrorOf([&] { ObjectBank(path).Read(0, 0); });
  };
  EXPECT_EQ(error(good), "");
  EXPECT_THAT(error("no bank"), HasSubstr("objects.bank: expected a bank of objects"));
  EXPECT_THAT(error(good.substr(0, good.size() - 9)), HasSubstr("or half of one"));
  std::string bad = good;
  bad[8] = 7;
  EXPECT_THAT(error(bad), HasSubstr("expected a bank of version 2"));
  bad = good;
  bad[good.size() - 16] = 3;  // number of objects
  EXPECT_THAT(error(bad), HasSubstr("an index of 3 objects"));
  bad = good;
  bad[good.size() - 25] = 99;  // class
  EXPECT_THAT(error(bad), HasSubstr("object 0: expected a class below 11"));
  bad = good;
  bad[16 + 36] = 8;  // attribute
  EXPECT_THAT(error(bad), HasSubstr("expected an attribute below 8, or -1, found 8"));
  bad = good;
  bad.replace(16 + 40, 4, "\xff\xff\xff\x7f");  // number of points
  EXPECT_THAT(error(bad), AllOf(HasSubstr("object at byte 16"), HasSubstr("points")));
  // Nothing that a byte can do ends otherwise than in an Error or an object.
  for (size_t i = 16; i < good.size(); i += 19) {
    bad = good;
    bad[i] = static_cast<char>(~bad[i]);
    error(bad);
  }
}

TEST(PasteObjects, ThePointsAndThePictureShowTheCar) {
  const ObjectBank bank(OneCar("paste"));
  DetectionSample street = EmptyStreet(100);
  const int64_t before = street.points.size(0);
  Random random(1);
  EXPECT_EQ(PasteObjects(bank, OneOfEach(), &random, &street), 1);
  ASSERT_EQ(street.boxes.size(0), 1);
  EXPECT_EQ(street.labels[0].item<int64_t>(), 0);
  EXPECT_EQ(BoxOfRow(street.boxes[0]).frame_from_box.translation.x(), 20);
  // The ground's points in the box gave way to the car's, which stand on the same grid.
  EXPECT_EQ(street.points.size(0), before);
  int shiny = 0;
  for (int64_t i = 0; i < street.points.size(0); ++i) {
    shiny += street.points[i][3].item<float>() == 0.75f;
  }
  EXPECT_EQ(shiny, CountPoints(street)[0]);
  EXPECT_GT(shiny, 20);
  ExpectColor(ColorOf(street, {20, 2, 0.8}), kRed);
  ExpectColor(ColorOf(street, {20, 6, 0.8}), {100, 100, 100});
}

TEST(PasteObjects, MirroredAndZoomedPicturesShowItWhereItsBoxIs) {
  const ObjectBank bank(OneCar("mirror"));
  DetectionSample street = EmptyStreet(100);
  street.camera_from_ego[0][0] *= -1;
  street.intrinsics[0][0] *= 1.2;
  street.intrinsics[0][1] *= 1.2;
  street.intrinsics[0][0][2] = 150;
  Random random(1);
  ASSERT_EQ(PasteObjects(bank, OneOfEach(), &random, &street), 1);
  const Box3 box = BoxOfRow(street.boxes[0]);
  for (const double along : {-0.4, 0.0, 0.4}) {
    ExpectColor(ColorOf(street, box.frame_from_box * Eigen::Vector3d(along * 4, 0, 0.3)), kRed);
  }
}

TEST(PasteObjects, WhatIsNearerStaysInFront) {
  const ObjectBank bank(OneCar("near"));
  DetectionSample street = EmptyStreet();
  // A cone of the sample before the car covers a little of it.
  const std::array<float, kBoxColumns> cone = {10, 1, 0.9f, 0.4f, 0.4f, 1.2f, 0, 0, 0};
  AddObject(&street, 9, cone, kBlue, 0.5f);
  Random random(1);
  EXPECT_EQ(PasteObjects(bank, OneOfEach(), &random, &street), 1);
  EXPECT_TRUE(at::equal(street.attributes, at::tensor({-1, kParked}, at::kLong)));
  ExpectColor(ColorOf(street, {10, 1, 0.9}), kBlue);
  ExpectColor(ColorOf(street, {20, 2.6, 0.8}), kRed);
}

TEST(PasteObjects, LeavesOutWhatWouldStandInOrBehindAnother) {
  const ObjectBank bank(OneCar("refuse"));
  Random random(1);
  DetectionSample street = EmptyStreet();
  AddObject(&street, 1, {22, 3.5f, 1, 3, 2, 2, 0, 0, 0}, kBlue, 0.5f);  // their corners touch
  EXPECT_EQ(PasteObjects(bank, OneOfEach(), &random, &street), 0);
  street = EmptyStreet();
  AddObject(&street, 1, {10, 1, 1, 2, 4, 3, 0, 0, 0}, kBlue, 0.5f);  // hides it
  EXPECT_EQ(PasteObjects(bank, OneOfEach(), &random, &street), 0);
  street = EmptyStreet();
  AddObject(&street, 9, {40, 4, 0.9f, 0.5f, 0.5f, 1, 0, 0, 0}, kBlue, 0.5f);  // would be hidden
  EXPECT_EQ(PasteObjects(bank, OneOfEach(), &random, &street), 0);
  // One car is there already.
  street = EmptyStreet();
  AddObject(&street, 0, {20, -8, 0.8f, 4, 2, 1.6f, 0, 0, 0}, kBlue, 0.5f);
  EXPECT_EQ(PasteObjects(bank, OneOfEach(), &random, &street), 0);
  // A camera that looks back has no patch to show, and need not; one that looks half aside would.
  street = EmptyStreet();
  street.has_camera.zero_();
  EXPECT_EQ(PasteObjects(bank, OneOfEach(), &random, &street), 1);
}

TEST(OverlapOnGround, AgreesWithPointsOnAGrid) {
  Random random(9);
  int overlapping = 0;
  for (int round = 0; round < 300; ++round) {
    std::array<float, kBoxColumns> boxes[2] = {};
    for (auto& box : boxes) {
      box = {random.Uniform(-3, 3), random.Uniform(-3, 3), 0,
             random.Uniform(1, 5),  random.Uniform(1, 3),  1,
             random.Uniform(-4, 4)};
    }
    const auto is_inside = [](const std::array<float, kBoxColumns>& box, double x, double y) {
      const double c = std::cos(box[6]), s = std::sin(box[6]);
      const double dx = x - box[0], dy = y - box[1];
      return std::abs(c * dx + s * dy) < box[3] / 2 && std::abs(-s * dx + c * dy) < box[4] / 2;
    };
    int common = 0;
    for (double x = -6; x < 6; x += 0.04) {
      for (double y = -6; y < 6; y += 0.04) {
        common += is_inside(boxes[0], x, y) && is_inside(boxes[1], x, y);
      }
    }
    const bool found = OverlapOnGround(boxes[0], boxes[1]);
    if (common > 0) {
      EXPECT_TRUE(found) << round;
    }
    if (found) {
      ++overlapping;
    }
    EXPECT_EQ(found, OverlapOnGround(boxes[1], boxes[0]));
    // Corners may overlap between the points of the grid.
    if (common == 0 && found) {
      std::array<float, kBoxColumns> smaller = boxes[0];
      smaller[3] -= 0.3f, smaller[4] -= 0.3f;
      EXPECT_FALSE(OverlapOnGround(smaller, boxes[1])) << round;
    }
  }
  EXPECT_GT(overlapping, 50);
  EXPECT_LT(overlapping, 280);
}

}  // namespace
}  // namespace athanor
