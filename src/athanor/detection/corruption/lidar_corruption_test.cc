#include "athanor/detection/corruption/lidar_corruption.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "athanor/base/parallel.h"
#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/detection/corruption/lidar_fog.h"
#include "athanor/detection/corruption/lidar_snow.h"

namespace athanor {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// 32 beams over flat ground 1.8 m below, walls at 60 m.
LidarSweep MakeSweep(int azimuths = 400) {
  LidarSweep sweep;
  for (int a = 0; a < azimuths; ++a) {
    for (int ring = 0; ring < 32; ++ring) {
      const double elevation = (-30.67 + 1.333 * ring) * M_PI / 180;
      const double azimuth = 2 * M_PI * a / azimuths;
      double range_m = 60 / std::cos(elevation);
      if (elevation < 0) range_m = std::min(range_m, 1.8 / std::sin(-elevation));
      sweep.points.emplace_back(range_m * std::cos(elevation) * std::cos(azimuth),
                                range_m * std::cos(elevation) * std::sin(azimuth),
                                range_m * std::sin(elevation));
      sweep.intensity.push_back(static_cast<float>(5 + (a * 7 + ring) % 90) / 255);
      sweep.ring.push_back(static_cast<uint16_t>(ring));
    }
  }
  return sweep;
}

bool Same(const LidarSweep& a, const LidarSweep& b) {
  return a.points == b.points && a.intensity == b.intensity && a.ring == b.ring;
}

TEST(CorruptSweep, KeepsThePublishedRings) {
  const LidarSweep sweep = MakeSweep(4);
  const auto rings = [&](int severity) {
    const LidarSweep left =
        CorruptSweep(sweep, {CorruptionKind::kBeamsReducing, severity}, {.key = 1});
    EXPECT_EQ(left.size(), 4 * (32 >> severity));
    return std::set<int>(left.ring.begin(), left.ring.end());
  };
  EXPECT_THAT(rings(1), ElementsAre(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31));
  EXPECT_THAT(rings(2), ElementsAre(1, 5, 9, 13, 17, 21, 25, 29));
  EXPECT_THAT(rings(3), ElementsAre(1, 9, 17, 25));
}

TEST(CorruptSweep, RemovesThePublishedShareAndNests) {
  const LidarSweep sweep = MakeSweep();
  std::set<std::vector<float>> before;
  for (int severity = 1; severity <= 3; ++severity) {
    const LidarSweep left =
        CorruptSweep(sweep, {CorruptionKind::kPointsReducing, severity}, {.key = 5});
    EXPECT_EQ(left.size(), std::lround(sweep.size() * (0.4 - 0.1 * severity)));
    // Every ring loses as much: 400 points each, binomial, five sigma.
    const double share = 0.4 - 0.1 * severity;
    std::vector<int> of_ring(32, 0);
    std::set<std::vector<float>> now;
    for (int64_t i = 0; i < left.size(); ++i) {
      ++of_ring[left.ring[i]];
      now.insert({left.points[i].x(), left.points[i].y(), left.points[i].z()});
    }
    for (const int count : of_ring) {
      EXPECT_NEAR(count, 400 * share, 5 * std::sqrt(400 * share * (1 - share)));
    }
    if (severity > 1) {
      EXPECT_TRUE(std::includes(before.begin(), before.end(), now.begin(), now.end()));
    }
    before = now;
  }
}

TEST(CorruptSweep, MisalignsByThePublishedTransformAsOftenAsPublished) {
  const LidarSweep sweep = MakeSweep(1);
  for (int severity = 1; severity <= 3; ++severity) {
    const Corruption corruption = {CorruptionKind::kSpatialMisalignment, severity};
    const double c = std::cos(severity * M_PI / 180), s = std::sin(severity * M_PI / 180);
    Eigen::Matrix3d x, y, z;
    x << 1, 0, 0, 0, c, s, 0, -s, c;
    y << c, 0, -s, 0, 1, 0, s, 0, c;
    z << c, s, 0, -s, c, 0, 0, 0, 1;
    const Rigid3 transform = SpatialMisalignment(corruption);
    EXPECT_LT((transform.rotation.toRotationMatrix() - x * y * z).norm(), 1e-12);
    EXPECT_EQ(transform.translation, Eigen::Vector3d(2, 0, 0));
    int moved = 0;
    for (uint64_t key = 0; key < 2000; ++key) {
      const LidarSweep result = CorruptSweep(sweep, corruption, {.key = MixBits(key)});
      if (Same(result, sweep)) continue;
      ++moved;
      ASSERT_LT(
          (transform * sweep.points[3].cast<double>() - result.points[3].cast<double>()).norm(),
          1e-4);
    }
    const double p = 0.2 * severity;
    EXPECT_NEAR(moved, 2000 * p, 5 * std::sqrt(2000 * p * (1 - p)));
  }
}

TEST(CorruptSweep, JittersWithThePublishedSigmas) {
  const LidarSweep sweep = MakeSweep();
  const double sigmas[3] = {0.06, 0.1, 0.13}, shares[3] = {0.15, 0.2, 0.12};
  for (int severity = 1; severity <= 3; ++severity) {
    const double sigma = sigmas[severity - 1];
    double global = 0;
    constexpr int kSweeps = 60;
    for (uint64_t key = 0; key < kSweeps; ++key) {
      const LidarSweep result =
          CorruptSweep(sweep, {CorruptionKind::kMotionBlur, severity}, {.key = MixBits(key)});
      Eigen::Vector3d mean = Eigen::Vector3d::Zero(), square = Eigen::Vector3d::Zero();
      for (int64_t i = 0; i < sweep.size(); ++i) {
        const Eigen::Vector3d d = (result.points[i] - sweep.points[i]).cast<double>();
        mean += d / sweep.size();
        square += d.cwiseAbs2() / sweep.size();
      }
      global += mean.squaredNorm() / 3 / kSweeps;
      const Eigen::Vector3d deviation = (square - mean.cwiseAbs2()).cwiseSqrt();
      for (int axis = 0; axis < 3; ++axis) {
        EXPECT_NEAR(deviation[axis], sigma * shares[axis], 0.03 * sigma * shares[axis]);
      }
    }
    // Chi-squared with 180 degrees of freedom, five sigma.
    EXPECT_NEAR(global / (sigma * sigma), 1, 5 * std::sqrt(2.0 / (3 * kSweeps)));
  }
}

TEST(CorruptSweep, LosesDeadBeamsThroughTheLogAndTheFieldOfView) {
  const LidarSweep sweep = MakeSweep();
  for (int severity = 1; severity <= 3; ++severity) {
    const Corruption beams = {CorruptionKind::kBeamLoss, severity};
    const LidarSweep a = CorruptSweep(sweep, beams, {.key = 1, .log_key = 9});
    EXPECT_EQ(a.size(), 400 * (32 - (2 << severity)));
    EXPECT_TRUE(Same(a, CorruptSweep(sweep, beams, {.key = 2, .log_key = 9})));
    EXPECT_FALSE(Same(a, CorruptSweep(sweep, beams, {.key = 1, .log_key = 10})));

    // A LiDAR turned by 90 degrees, as nuScenes': its y axis looks ahead.
    SweepContext context;
    context.ego_from_sensor.rotation = Eigen::AngleAxisd(-M_PI / 2, Eigen::Vector3d::UnitZ());
    const LidarSweep ahead = CorruptSweep(sweep, {CorruptionKind::kFieldLoss, severity}, context);
    const double half = std::vector<double>{90, 60, 45}[severity - 1];
    EXPECT_NEAR(ahead.size(), sweep.size() * half / 180, 65);
    for (const Eigen::Vector3f& p : ahead.points) {
      ASSERT_LE(std::abs(std::atan2(p.x(), p.y())) * 180 / M_PI, half + 1e-3);
    }
  }
  EXPECT_EQ(CorruptSweep(sweep, {CorruptionKind::kNoLidar}, {}).size(), 0);
}

TEST(LidarFog, ResponseIsTheIntegral) {
  LidarFogParameters parameters;
  parameters.alpha_per_m = 0;
  const FogResponse clear(parameters);
  // Far away 1 / r^2 hardly changes along the pulse: the integral of sin^2 is half its length. The
  // pulse's middle lies c * half_power / 2 = 3 m nearer.
  EXPECT_NEAR(clear.At(150) * 147 * 147, 20e-9, 0.001 * 20e-9);
  parameters.alpha_per_m = 0.06;
  const FogResponse thick(parameters);
  EXPECT_NEAR(thick.At(150) / clear.At(150), std::exp(-2 * 0.06 * 147), 0.05 * std::exp(-17.64));
  EXPECT_EQ(clear.At(0.8), 0);
  // Brute force in 20,000 steps at a range where the overlap counts.
  double sum = 0;
  for (int k = 0; k < 20000; ++k) {
    const double t = (k + 0.5) * 40e-9 / 20000, r = 4 - 0.5 * 299792458.0 * t;
    if (r <= 0.9) break;
    const double sine = std::sin(M_PI * t / 40e-9);
    sum += sine * sine * std::min(1.0, (r - 0.9) / 0.1) * std::exp(-0.12 * r) / (r * r) * 40e-9 /
           20000;
  }
  EXPECT_NEAR(thick.At(4) / sum, 1, 0.01);
}

TEST(LidarFog, HardTargetsAreWeakenedTwiceAndSoftOnesAreNearer) {
  const LidarSweep sweep = MakeSweep();
  int64_t soft_before = 0;
  double energy_before = 1e9;
  for (int severity = 1; severity <= 3; ++severity) {
    const double alpha = std::vector<double>{0.02, 0.03, 0.06}[severity - 1];
    const LidarSweep fog = CorruptSweep(sweep, {CorruptionKind::kFog, severity}, {.key = 3});
    ASSERT_EQ(fog.size(), sweep.size());
    int64_t soft = 0;
    double energy = 0;
    for (int64_t i = 0; i < sweep.size(); ++i) {
      const double range = sweep.points[i].norm(), new_range = fog.points[i].norm();
      energy += fog.intensity[i] / (new_range * new_range) * (new_range == range);
      const double hard = sweep.intensity[i] * std::exp(-2 * alpha * range);
      if (fog.points[i] == sweep.points[i]) {
        ASSERT_NEAR(fog.intensity[i], hard, 1e-6);
        continue;
      }
      ++soft;
      ASSERT_LT(new_range, range);
      ASSERT_LT(fog.points[i].cross(sweep.points[i]).norm(), 1e-3 * range);  // on the same ray
      // The stronger return won.
      ASSERT_TRUE(fog.intensity[i] >= hard || fog.intensity[i] == 1);
    }
    EXPECT_GT(soft, soft_before);
    EXPECT_LT(energy, energy_before);
    soft_before = soft;
    energy_before = energy;
  }
}

TEST(LidarSnow, FlakesAreAsManyAndAsLargeAsTheRatesSay) {
  for (int severity = 1; severity <= 3; ++severity) {
    const LidarSnowParameters parameters = LidarSnowOfSeverity(severity);
    Random random(severity);
    std::vector<Snowflake> flakes;
    double count = 0, area = 0;
    const double range_m = 60;
    constexpr int kBeams = 20000;
    for (int i = 0; i < kBeams; ++i) {
      SampleFlakes(parameters, range_m, &random, &flakes);
      count += static_cast<double>(flakes.size());
      double last = 0;
      for (const Snowflake& flake : flakes) {
        ASSERT_GE(flake.range_m, last);
        ASSERT_LE(flake.range_m, range_m);
        last = flake.range_m;
        area += M_PI / 4 * flake.diameter_m * flake.diameter_m;
      }
    }
    const double beam_m2 = 0.5 * 0.003 * range_m * range_m;
    const double expected = kBeams * beam_m2 * parameters.FlakesPerM2();
    EXPECT_NEAR(count, expected, 5 * std::sqrt(expected));
    EXPECT_NEAR(area / (kBeams * beam_m2) / parameters.Occupancy(), 1, 0.05);
  }
  EXPECT_NEAR(LidarSnowOfSeverity(2).Occupancy(), 2.5 / 3.6e6 / 0.16, 1e-12);
}

// One beam in 2^24 draws a first flake at no distance, where it would hide endlessly much.
TEST(LidarSnow, AFlakeAtTheSensorHidesNothing) {
  uint64_t key = 0;
  while (Random(key).Uniform() != 0) ++key;
  const LidarSnowParameters parameters = LidarSnowOfSeverity(3);
  Random random(key);
  std::vector<Snowflake> flakes;
  SampleFlakes(parameters, 20, &random, &flakes);
  for (const Snowflake& flake : flakes) EXPECT_GT(flake.range_m, 0);
  LidarSweep sweep;
  sweep.points = {{20, 0, 0}};
  sweep.intensity = {0.3f};
  const LidarSweep snow = SnowSweep(sweep, parameters, key);
  for (const float intensity : snow.intensity) {
    EXPECT_GE(intensity, 0);
    EXPECT_LE(intensity, 1);
  }
}

TEST(LidarSnow, WetGroundIsDarkerTheMoreSoAtGrazingAngles) {
  // Normal incidence: Fresnel reflects ((1.33 - 1) / (1.33 + 1))^2.
  const double in = 1 - std::pow(0.33 / 2.33, 2);
  EXPECT_NEAR(WetReflectivity(0.2, 0), in * in * 0.2 / (1.33 * 1.33 * 0.9), 1e-12);
  double last = 1;
  for (double angle = 0; angle < 1.57; angle += 0.1) {
    const double wet = WetReflectivity(0.2, angle);
    EXPECT_LE(wet, last + 1e-9);
    EXPECT_LT(wet, 0.2);
    last = wet;
  }
  EXPECT_NEAR(WetReflectivity(0.2, M_PI / 2), 0, 1e-9);
}

TEST(LidarSnow, FindsTheGround) {
  LidarSweep sweep = MakeSweep();
  const Eigen::Matrix3f tilt =
      Eigen::AngleAxisf(0.03f, Eigen::Vector3f(1, 1, 0).normalized()).toRotationMatrix();
  for (Eigen::Vector3f& point : sweep.points) point = tilt * point;
  const auto plane = FindGroundPlane(sweep, 4);
  ASSERT_TRUE(plane);
  EXPECT_NEAR(plane->height_m, 1.8, 0.02);
  EXPECT_GT(plane->normal.dot(tilt.cast<double>().col(2)), std::cos(0.002));
  EXPECT_FALSE(FindGroundPlane({}, 4));
}

TEST(LidarSnow, HidesMoreTheMoreItSnows) {
  const LidarSweep sweep = MakeSweep();
  int64_t unmoved_before = sweep.size();
  double light_before = 1e9;
  for (int severity = 1; severity <= 3; ++severity) {
    const LidarSweep snow = CorruptSweep(sweep, {CorruptionKind::kSnow, severity}, {.key = 3});
    EXPECT_LE(snow.size(), sweep.size());
    std::set<std::vector<float>> there;
    for (const auto& p : sweep.points) there.insert({p.x(), p.y(), p.z()});
    int64_t unmoved = 0, near = 0;
    double light = 0;
    for (int64_t i = 0; i < snow.size(); ++i) {
      const Eigen::Vector3f& p = snow.points[i];
      ASSERT_LE(snow.intensity[i], 1);
      if (there.contains({p.x(), p.y(), p.z()})) {
        ++unmoved;
        light += snow.intensity[i];
      } else {
        near += p.norm() < 15;
        ASSERT_GE(p.norm(), 0.9f);
      }
    }
    EXPECT_GT(near, 0);
    EXPECT_LT(unmoved, unmoved_before);
    EXPECT_LT(light, light_before);
    unmoved_before = unmoved;
    light_before = light;
  }
}

TEST(CorruptSweep, IsDeterministicWhateverTheThreadsAndTakesEmptySweeps) {
  const LidarSweep sweep = MakeSweep(50);
  for (int k = 0; k < kNumCorruptions; ++k) {
    const Corruption corruption = {static_cast<CorruptionKind>(k), 3};
    const SweepContext context = {.key = 77, .log_key = 78};
    SetNumThreads(1);
    const LidarSweep one = CorruptSweep(sweep, corruption, context);
    SetNumThreads(3);
    const LidarSweep three = CorruptSweep(sweep, corruption, context);
    SetNumThreads(0);
    EXPECT_TRUE(Same(one, three)) << CorruptionName(corruption.kind);
    EXPECT_EQ(CorruptSweep({}, corruption, context).size(), 0);
    EXPECT_EQ(CorruptionFromName(CorruptionName(corruption.kind)), corruption.kind);
  }
}

TEST(CorruptSweep, SaysWhatIsWrong) {
  LidarSweep sweep = MakeSweep(1);
  EXPECT_THAT(ErrorOf([&] {
                CorruptSweep(sweep, {CorruptionKind::kFog, 4}, {});
              }),
              HasSubstr("expected 1, 2 or 3, found 4"));
  sweep.ring.clear();
  EXPECT_THAT(ErrorOf([&] { CorruptSweep(sweep, {CorruptionKind::kBeamsReducing}, {}); }),
              HasSubstr("beam of every point"));
  sweep.intensity.pop_back();
  EXPECT_THAT(ErrorOf([&] { CorruptSweep(sweep, {CorruptionKind::kFog}, {}); }),
              HasSubstr("expected 32 intensities"));
  EXPECT_THAT(ErrorOf([] { CorruptionFromName("hail"); }), HasSubstr("found 'hail'"));
}

}  // namespace
}  // namespace athanor
