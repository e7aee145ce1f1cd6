#include "athanor/detection/corruption/robustness.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

// From the README of MultiCorrupt (6cd6225): clean NDS, mRA, mRRA, then RA per corruption.
struct Published {
  const char* name;
  double clean, mra, mrra;
  double ra[10];
  double rra[10];
};
constexpr const char* kKinds[10] = {
    "beamsreducing",       "brightness",          "dark",           "fog",
    "missingcamera",       "motionblur",          "pointsreducing", "snow",
    "spatialmisalignment", "temporalmisalignment"};
constexpr Published kPublished[] = {
    {"BEVFusion",
     0.714,
     0.830,
     0,
     {0.676, 0.967, 0.969, 0.752, 0.974, 0.866, 0.872, 0.774, 0.705, 0.742},
     {}},
    {"CMT",
     0.729,
     0.865,
     7.161,
     {0.786, 0.937, 0.948, 0.806, 0.974, 0.841, 0.925, 0.833, 0.809, 0.788},
     {18.642, -1.138, -0.096, 9.398, 2.041, -0.841, 8.213, 9.887, 17.053, 8.448}},
    {"MEFormer",
     0.739,
     0.856,
     7.391,
     {0.764, 0.944, 0.952, 0.790, 0.941, 0.835, 0.918, 0.834, 0.796, 0.787},
     {16.759, 0.878, 1.556, 8.586, -0.168, -0.307, 8.865, 11.382, 16.689, 9.668}},
    {"TransFusion",
     0.708,
     0.824,
     -1.718,
     {0.633, 0.993, 0.988, 0.754, 0.985, 0.826, 0.851, 0.748, 0.685, 0.777},
     {-7.210, 1.799, 1.146, -0.552, 0.340, -5.412, -3.296, -4.220, -3.626, 3.850}},
    {"DeepInteraction",
     0.691,
     0.795,
     -7.221,
     {0.655, 0.969, 0.929, 0.583, 0.842, 0.832, 0.882, 0.759, 0.731, 0.768},
     {-6.361, -3.150, -7.215, -25.037, -16.386, -7.077, -2.188, -5.149, 0.212, 0.145}},
};

// Scores that have the published RA: equal at the three severities.
RobustnessTable TableOf(const Published& model) {
  RobustnessTable table;
  table.clean = model.clean;
  for (int k = 0; k < 10; ++k) {
    table.corrupted[kKinds[k]] = std::vector<double>(3, model.ra[k] * model.clean);
  }
  return table;
}

TEST(Robustness, ReproducesThePublishedTables) {
  const RobustnessTable baseline = TableOf(kPublished[0]);
  for (const Published& model : kPublished) {
    const RobustnessTable table = TableOf(model);
    EXPECT_NEAR(ResistanceAbility(table).mean, model.mra, 0.00101) << model.name;
    const RobustnessScores relative = RelativeResistance(table, baseline);
    // RA and clean scores are printed to three digits.
    for (int k = 0; k < 10; ++k) {
      EXPECT_NEAR(relative.of_kind.at(kKinds[k]), model.rra[k], 0.4) << model.name << kKinds[k];
    }
    EXPECT_NEAR(relative.mean, model.mrra, 0.2) << model.name;
  }
}

TEST(Robustness, AveragesOverSeverities) {
  const RobustnessTable table = {0.8, {{"fog", {0.6, 0.4, 0.2}}, {"nolidar", {0.1}}}};
  const RobustnessScores scores = ResistanceAbility(table);
  EXPECT_DOUBLE_EQ(scores.of_kind.at("fog"), 0.5);
  EXPECT_DOUBLE_EQ(scores.of_kind.at("nolidar"), 0.125);
  EXPECT_DOUBLE_EQ(scores.mean, 0.3125);
  const RobustnessTable baseline = {0.7, {{"fog", {0.5, 0.3, 0.2}}}};
  EXPECT_NEAR(RelativeResistance(table, baseline).mean, 20, 1e-9);
  EXPECT_THAT(ErrorOf([&] {
                RelativeResistance(table, {0.7, {{"fog", {0.5}}}});
              }),
              HasSubstr("expected as many severities as the baseline's 1, found 3"));
  EXPECT_THAT(ErrorOf([&] {
                RelativeResistance(table, {0.7, {{"snow", {0.5}}}});
              }),
              HasSubstr("in both tables"));
  EXPECT_THAT(ErrorOf([] { ResistanceAbility({0, {{"fog", {0.5}}}}); }), HasSubstr("above 0"));
}

TEST(Robustness, ReadsTheFilesOfEvaluations) {
  const fs::path root = fs::path(testing::TempDir()) / "athanor_robustness";
  fs::remove_all(root);
  const auto write = [&](const char* folder, const char* text) {
    WriteFile(root / folder / "metrics_summary.json", text);
  };
  // NaN is what the devkit writes for what is not defined.
  write("clean", R"({"tp_errors": {"vel_err": NaN}, "nd_score": 0.5, "mean_ap": 0.4})");
  write("all/fog/1", R"({"nd_score": 0.4, "mean_ap": 0.3})");
  write("all/fog/2", R"({"nd_score": 0.3, "mean_ap": 0.2})");
  write("all/nolidar", R"({"nd_score": 0.1, "mean_ap": 0})");
  const RobustnessTable table = ReadRobustnessTable(root / "clean", root / "all", "nd_score");
  EXPECT_DOUBLE_EQ(ResistanceAbility(table).of_kind.at("fog"), 0.7);
  EXPECT_DOUBLE_EQ(ResistanceAbility(table).of_kind.at("nolidar"), 0.2);
  EXPECT_THAT(ErrorOf([&] { ReadRobustnessTable(root / "clean", root / "clean", "nd_score"); }),
              HasSubstr("found none"));
  write("all/fog/2", R"({"nd_score": "high"})");
  EXPECT_THAT(ErrorOf([&] { ReadRobustnessTable(root / "clean", root / "all", "nd_score"); }),
              HasSubstr("expected nd_score as a number, found"));
  write("all/fog/2", "{");
  EXPECT_THAT(ErrorOf([&] { ReadRobustnessTable(root / "clean", root / "all", "nd_score"); }),
              HasSubstr("fog/2/metrics_summary.json"));
  fs::remove_all(root);
}

}  // namespace
}  // namespace athanor
