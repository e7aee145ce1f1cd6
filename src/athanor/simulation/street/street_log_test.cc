#include "athanor/simulation/street/street_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "athanor/base/files.h"
#include "athanor/base/hash.h"
#include "athanor/base/parallel.h"
#include "athanor/base/test_util.h"
#include "athanor/datasets/log.h"
#include "athanor/media/image.h"
#include "athanor/simulation/street/rig.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using Eigen::Vector2d;
using Eigen::Vector3d;
using ::testing::HasSubstr;

TEST(StreetRig, CamerasLookWhereNuScenesDoes) {
  const StreetRig rig = NuScenesRig(1600, 900);
  ASSERT_EQ(rig.sensors.size(), 7u);
  const std::map<std::string, double> yaw_deg = {{"CAM_FRONT", 0},         {"CAM_FRONT_LEFT", 55},
                                                 {"CAM_FRONT_RIGHT", -56}, {"CAM_BACK_LEFT", 109},
                                                 {"CAM_BACK_RIGHT", -110}, {"CAM_BACK", 180}};
  for (size_t i = 1; i < rig.sensors.size(); ++i) {
    const LogSensor& sensor = rig.sensors[i];
    const Vector3d forward = sensor.ego_from_sensor.rotation * Vector3d::UnitZ();
    const Vector3d down = sensor.ego_from_sensor.rotation * Vector3d::UnitY();
    const double wanted = yaw_deg.at(sensor.channel) / 180 * M_PI;
    EXPECT_GT(forward.dot(Vector3d(std::cos(wanted), std::sin(wanted), 0)), 0.999)
        << sensor.channel;
    EXPECT_LT(down.z(), -0.999);
    sensor.camera.Check(sensor.channel);
    EXPECT_LE(rig.trigger_us[i], 0);
    EXPECT_GE(rig.trigger_us[i], -50'000);
  }
  // The beam passes the left front first, the left back last.
  EXPECT_LT(rig.trigger_us[6], rig.trigger_us[1]);
  EXPECT_EQ(rig.trigger_us[5], 0);
  // The LiDAR's y axis is the car's x axis.
  EXPECT_NEAR((rig.sensors[0].ego_from_sensor.rotation * Vector3d::UnitY()).x(), 1, 1e-12);
}

TEST(StreetRig, SmallPicturesAreCutAtTheTop) {
  const StreetRig full = NuScenesRig(1600, 900), small = NuScenesRig(704, 256);
  const Camera& a = full.sensors[1].camera;
  const Camera& b = small.sensors[1].camera;
  EXPECT_NEAR(b.fx(), 0.44 * a.fx(), 1e-9);
  EXPECT_NEAR(b.cx(), 0.44 * a.cx(), 1e-9);
  EXPECT_NEAR(256 - b.cy(), 0.44 * (900 - a.cy()), 1e-9);
}

// One second, small pictures, everything that can happen.
StreetOptions SmallOptions() {
  StreetOptions options;
  options.scenes = 2;
  options.seconds = 1;
  options.seed = 11;
  options.network = "grid";
  options.weather = "sun";
  options.width_px = 176;
  options.height_px = 64;
  options.lidar_sweeps = 2;
  options.camera_sweeps = 1;
  options.truth = true;
  options.traffic.warm_up_s = 30;
  options.traffic.search_s = 20;
  options.traffic.dogs = 2;
  options.traffic.road_works = 1;
  return options;
}

// Hash of every file of a folder, by name.
std::map<std::string, uint64_t> HashFiles(const fs::path& folder) {
  std::map<std::string, uint64_t> hashes;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    hashes[fs::relative(entry.path(), folder).string()] = HashBytes(ReadFile(entry.path()));
  }
  return hashes;
}

class SlowStreetLog : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = fs::temp_directory_path() / "athanor street tests";
    fs::remove_all(folder_);
    if (!WhyNoSumo().empty()) return;
    report_ = SimulateStreets(SmallOptions(), folder_ / "W");
  }
  static void TearDownTestSuite() { fs::remove_all(folder_); }
  void SetUp() override {
    if (!WhyNoSumo().empty()) GTEST_SKIP() << WhyNoSumo();
  }
  static Log ReadScene(int index) { return OpenLogs(folder_ / "W")->Read(index); }

  static fs::path folder_;
  static StreetReport report_;
};
fs::path SlowStreetLog::folder_;
StreetReport SlowStreetLog::report_;

TEST_F(SlowStreetLog, OurReaderReadsWhatTheReportSays) {
  EXPECT_EQ(report_.scenes_made, 2);
  EXPECT_EQ(report_.frames, 4);
  EXPECT_EQ(report_.pictures, 4 * 6 * 2);
  EXPECT_EQ(report_.sweeps, 4 * 2);
  const auto dataset = OpenLogs(folder_ / "W");
  EXPECT_THAT(dataset->names(), testing::ElementsAre("scene-0001", "scene-0002"));
  int64_t boxes = 0;
  for (int i = 0; i < 2; ++i) {
    const Log log = dataset->Read(i);
    ASSERT_EQ(log.sensors.size(), 7u);
    ASSERT_EQ(log.frames.size(), 2u);
    EXPECT_EQ(log.readings.size(), 2u * (6 * 2 + 2));
    for (const LogReading& reading : log.readings)
      EXPECT_TRUE(fs::exists(reading.path)) << reading.path;
    for (const LogFrame& frame : log.frames) {
      boxes += static_cast<int64_t>(frame.boxes.size());
      EXPECT_GT(frame.boxes.size(), 3u);
      for (const LogBox& box : frame.boxes) {
        EXPECT_GE(box.visibility, 1);
        EXPECT_LE(box.visibility, 4);
      }
    }
  }
  EXPECT_EQ(boxes, report_.boxes);
}

TEST_F(SlowStreetLog, PointsInBoxesAreThoseThatWereCounted) {
  for (int i = 0; i < 2; ++i) {
    const Log log = ReadScene(i);
    const int lidar = log.MainLidar();
    ASSERT_GE(lidar, 0);
    int total = 0;
    for (const LogFrame& frame : log.frames) {
      const int reading = frame.readings[lidar];
      const LidarSweep sweep = ReadSweep(log, reading);
      EXPECT_GT(sweep.size(), 10'000);
      const Rigid3 world_from_lidar =
          log.readings[reading].world_from_ego * log.sensors[lidar].ego_from_sensor;
      for (const LogBox& box : frame.boxes) {
        int inside = 0;
        for (const Eigen::Vector3f& point : sweep.points) {
          inside += box.box.Contains(world_from_lidar * point.cast<double>()) ? 1 : 0;
        }
        // The tables hold poses and sizes as text of 17 digits; a point on a face may change sides.
        EXPECT_NEAR(inside, box.num_lidar_points, 1);
        total += inside;
      }
    }
    EXPECT_GT(total, 50);
  }
}

TEST_F(SlowStreetLog, ProjectedBoxesHoldTheObjectsPixels) {
  int64_t inside = 0, all = 0;
  for (int scene = 0; scene < 2; ++scene) {
    const Log log = ReadScene(scene);
    const auto legend = nlohmann::json::parse(ReadFile(folder_ / "W/truth" / (log.name + ".json")));
    std::map<int, std::set<int>> parts_of;  // per object of the legend
    for (const auto& object : legend["objects"]) {
      for (const auto& part : object["parts"]) parts_of[object["id"]].insert(part["id"].get<int>());
    }
    EXPECT_EQ(legend["street"]["seed"], SmallOptions().seed);
    for (const LogFrame& frame : log.frames) {
      for (size_t s = 0; s < log.sensors.size(); ++s) {
        const LogSensor& sensor = log.sensors[s];
        if (sensor.kind != SensorKind::kCamera) continue;
        const LogReading& reading = log.readings[frame.readings[s]];
        const fs::path base = folder_ / "W/truth" / sensor.channel / reading.path.stem();
        const DepthImage instance = ReadDepthPng(base.string() + ".instance.png");
        const DepthImage part = ReadDepthPng(base.string() + ".part.png");
        const DepthImage depth = ReadDepthPng(base.string() + ".depth.png");
        // Every pixel of an actor, put back into the world at its depth, lies in a box, which has
        // moved on a little between the picture and the sweep.
        const Rigid3 world_from_camera = reading.world_from_ego * sensor.ego_from_sensor;
        for (int y = 0; y < instance.height; ++y) {
          for (int x = 0; x < instance.width; ++x) {
            const int value = *instance.at(x, y);
            const double z = *depth.at(x, y) * 0.01;
            ASSERT_EQ(parts_of[value].count(*part.at(x, y)), 1u) << value << " in " << base;
            if (value <= 16 || z > 60) continue;
            const auto direction = sensor.camera.Unproject({x + 0.5, y + 0.5});
            const Vector3d point = world_from_camera * Vector3d(z * *direction);
            ++all;
            for (const LogBox& box : frame.boxes) {
              Box3 grown = box.box;
              const double moved =
                  0.05 * (box.velocity_mps.allFinite() ? box.velocity_mps.norm() : 0);
              grown.size_m += Vector3d::Constant(0.1 + 2 * moved);
              if (grown.Contains(point)) {
                ++inside;
                break;
              }
            }
          }
        }
      }
    }
  }
  EXPECT_GT(all, 500);
  EXPECT_GT(static_cast<double>(inside), 0.99 * static_cast<double>(all));
}

TEST_F(SlowStreetLog, TheSameBytesWhateverTheThreads) {
  const fs::path again = folder_ / "again";
  SetNumThreads(1);
  SimulateStreets(SmallOptions(), again);
  SetNumThreads(0);
  EXPECT_EQ(HashFiles(folder_ / "W"), HashFiles(again));
  // One scene lost: only that is made anew, and nothing differs.
  const auto before = HashFiles(again);
  for (const auto& [name, hash] : before) {
    if (name.find("scene-0002") != std::string::npos) fs::remove(again / name);
  }
  ASSERT_LT(HashFiles(again).size(), before.size());
  const StreetReport report = SimulateStreets(SmallOptions(), again);
  EXPECT_EQ(report.scenes_kept, 1);
  EXPECT_EQ(report.scenes_made, 1);
  EXPECT_EQ(HashFiles(again), before);
}

TEST_F(SlowStreetLog, TheCarDrivesOnTheMap) {
  std::set<std::string> masks;
  for (const auto& entry : fs::directory_iterator(folder_ / "W/maps")) {
    masks.insert(entry.path().string());
  }
  // One for each scene. Which is whose does not matter here: the car drives on one of them.
  ASSERT_EQ(masks.size(), 2u);
  for (int scene = 0; scene < 2; ++scene) {
    const Log log = ReadScene(scene);
    int best = 0, all = 0;
    for (const std::string& name : masks) {
      const Image mask = ReadImage(name);
      int on = 0;
      all = 0;
      for (const LogFrame& frame : log.frames) {
        const Vector3d at = frame.world_from_ego.translation;
        const int x = static_cast<int>(at.x() / 0.1);
        const int y = static_cast<int>(mask.height - at.y() / 0.1);
        ++all;
        if (x >= 0 && y >= 0 && x < mask.width && y < mask.height) on += *mask.at(x, y) == 255;
      }
      best = std::max(best, on);
    }
    EXPECT_EQ(best, all);
  }
}

TEST_F(SlowStreetLog, AFolderOfOtherOptionsIsRefused) {
  StreetOptions options = SmallOptions();
  options.seed = 12;
  EXPECT_THAT(ErrorOf([&] { SimulateStreets(options, folder_ / "W"); }),
              HasSubstr("other options"));
}

TEST_F(SlowStreetLog, ANetworkThatIsNotThereIsAnError) {
  StreetOptions options = SmallOptions();
  options.network = (folder_ / "nowhere.net.xml").string();
  EXPECT_THAT(ErrorOf([&] { SimulateStreets(options, folder_ / "none"); }),
              HasSubstr("nowhere.net.xml"));
}

}  // namespace
}  // namespace athanor
