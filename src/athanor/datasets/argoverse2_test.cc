#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/base/files.h"
#include "athanor/datasets/argoverse2_files.h"
#include "athanor/datasets/argoverse2_map.h"
#include "athanor/datasets/argoverse2_reader.h"
#include "athanor/datasets/dataset_test_util.h"
#include "athanor/datasets/polygon_raster.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kRealLog[] = "argoverse2/sensor_val_7fab2350";

using Rows = std::vector<std::pair<std::string, std::vector<double>>>;

ArrowTable Table(const std::string& name, const Rows& columns) {
  ArrowTable table(name, static_cast<int64_t>(columns[0].second.size()));
  for (const auto& [column, values] : columns) table.AddNumbers(column, values);
  return table;
}

void AddTimes(ArrowTable& table, const std::vector<int64_t>& times) {
  table.AddNumbers("timestamp_ns", times);
}

// Two frames 0.1 s apart; the vehicle moves 1 m along the city's y and looks along it; a car stands
// 10 m ahead of where it was, a walker is seen once.
fs::path MakeLog(const fs::path& folder) {
  const double h = std::sqrt(0.5);
  ArrowTable poses = Table("poses", {{"qw", {h, h, h}},
                                     {"qx", {0, 0, 0}},
                                     {"qy", {0, 0, 0}},
                                     {"qz", {h, h, h}},
                                     {"tx_m", {100, 100, 100}},
                                     {"ty_m", {52, 50, 51}},
                                     {"tz_m", {0, 0, 0}}});
  AddTimes(poses, {1'200'000'000, 1'000'000'000, 1'100'000'000});
  WriteArrow(folder / "city_SE3_egovehicle.feather", poses);
  ArrowTable sensors = Table("sensors", {{"qw", {0.5}},
                                         {"qx", {-0.5}},
                                         {"qy", {0.5}},
                                         {"qz", {-0.5}},
                                         {"tx_m", {1.5}},
                                         {"ty_m", {0}},
                                         {"tz_m", {1.6}}});
  sensors.AddStrings("sensor_name", {"ring_front_center"});
  WriteArrow(folder / "calibration" / "egovehicle_SE3_sensor.feather", sensors);
  ArrowTable cameras = Table("cameras", {{"fx_px", {1000}},
                                         {"fy_px", {1001}},
                                         {"cx_px", {774.5}},
                                         {"cy_px", {1023.5}},
                                         {"k1", {-0.2}},
                                         {"k2", {-0.1}},
                                         {"k3", {0.2}}});
  cameras.AddStrings("sensor_name", {"ring_front_center"});
  cameras.AddNumbers("width_px", std::vector<uint16_t>{1550});
  cameras.AddNumbers("height_px", std::vector<uint16_t>{2048});
  WriteArrow(folder / "calibration" / "intrinsics.feather", cameras);
  ArrowTable boxes = Table("boxes", {{"length_m", {4, 4, 1}},
                                     {"width_m", {2, 2, 1}},
                                     {"height_m", {1.5, 1.5, 2}},
                                     {"qw", {1, 1, 1}},
                                     {"qx", {0, 0, 0}},
                                     {"qy", {0, 0, 0}},
                                     {"qz", {0, 0, 0}},
                                     {"tx_m", {10, 9, 5}},
                                     {"ty_m", {0, 0.25, 3}},
                                     {"tz_m", {1, 1, 1}}});
  AddTimes(boxes, {1'000'000'000, 1'100'000'000, 1'100'000'000});
  boxes.AddStrings("track_uuid", {"car", "car", "walker"});
  boxes.AddStrings("category", {"REGULAR_VEHICLE", "REGULAR_VEHICLE", "PEDESTRIAN"});
  boxes.AddNumbers("num_interior_pts", std::vector<int64_t>{7, 8, 9});
  WriteArrow(folder / "annotations.feather", boxes);
  ArrowTable sweep = Table("sweep", {{"x", {10}}, {"y", {0.5}}, {"z", {1}}});
  sweep.AddNumbers("intensity", std::vector<uint8_t>{51});
  sweep.AddNumbers("laser_number", std::vector<uint8_t>{63});
  sweep.AddNumbers("offset_ns", std::vector<int32_t>{2'000'000});
  WriteArrow(folder / "sensors" / "lidar" / "1000000000.feather", sweep);
  WriteImage(folder / "sensors" / "cameras" / "ring_front_center" / "1090000000.jpg",
             Image(8, 8, 3));
  WriteFile(folder / "map" / "log_map_archive_x____PIT_city_1.json", R"({"drivable_areas": {
      "1": {"id": 1, "area_boundary": [{"x": 90, "y": 40, "z": 0}, {"x": 110, "y": 40, "z": 0},
                                       {"x": 110, "y": 60, "z": 0}, {"x": 90, "y": 60, "z": 0}]}}})");
  return folder;
}

TEST(Argoverse2, LogHasFramesInTheCityFrame) {
  const fs::path folder = MakeLog(TestFolder("argoverse2 log") / "log a");
  EXPECT_TRUE(IsArgoverse2Log(folder));
  const auto dataset = OpenArgoverse2Logs(folder);
  EXPECT_EQ(dataset->format(), "argoverse2");
  EXPECT_THAT(dataset->names(), ElementsAre("log a"));
  const Log log = dataset->Read(0);
  EXPECT_EQ(log.location, "PIT");
  ASSERT_EQ(log.sensors.size(), 2u);
  EXPECT_EQ(log.sensors[0].channel, "ring_front_center");
  // Straight ahead of the camera is its principal point, half a pixel from the file's.
  const Camera& camera = log.sensors[0].camera;
  EXPECT_EQ(camera.model, CameraModel::kPinhole);
  EXPECT_EQ(*camera.Project({0, 0, 1}), Eigen::Vector2d(775, 1024));
  const Eigen::Vector3d ahead = log.sensors[0].ego_from_sensor * Eigen::Vector3d(0, 0, 1);
  EXPECT_NEAR((ahead - Eigen::Vector3d(2.5, 0, 1.6)).norm(), 0, 1e-12);

  ASSERT_EQ(log.frames.size(), 2u);
  EXPECT_EQ(log.frames[0].id, "1000000000");
  EXPECT_EQ(log.frames[1].time_us, 1'100'000);
  ASSERT_EQ(log.frames[1].boxes.size(), 2u);
  const LogBox& car = log.frames[1].boxes[0];
  EXPECT_EQ(log.tracks[car.track].category, "REGULAR_VEHICLE");
  EXPECT_NEAR((car.box.frame_from_box.translation - Eigen::Vector3d(99.75, 60, 1)).norm(), 0,
              1e-12);
  EXPECT_NEAR(car.box.yaw_rad(), M_PI / 2, 1e-12);
  EXPECT_NEAR((car.velocity_mps - Eigen::Vector2d(-2.5, 0)).norm(), 0, 1e-9);
  EXPECT_EQ(car.num_lidar_points, 8);
  EXPECT_TRUE(std::isnan(log.frames[1].boxes[1].velocity_mps.x()));

  // The image was taken 10 ms before the second frame, the sweep of which is not on the disk.
  EXPECT_EQ(log.frames[0].readings[0], -1);
  const LogReading& image = log.readings[log.frames[1].readings[0]];
  EXPECT_EQ(image.frame, 1);
  EXPECT_NEAR(image.world_from_ego.translation.y(), 50.9, 1e-9);
  const LidarSweep sweep = ReadSweep(log, log.frames[0].readings[1]);
  EXPECT_THAT(sweep.points, ElementsAre(Eigen::Vector3f(10, 0.5f, 1)));
  EXPECT_THAT(sweep.intensity, ElementsAre(0.2f));
  EXPECT_THAT(sweep.ring, ElementsAre(63));
  EXPECT_THAT(sweep.time_s, ElementsAre(0.002f));
  EXPECT_EQ(log.frames[1].readings[1], -1);
}

TEST(Argoverse2, FindsTheLogsOfASplit) {
  const fs::path folder = TestFolder("argoverse2 splits");
  MakeLog(folder / "val" / "b");
  MakeLog(folder / "val" / "a");
  MakeLog(folder / "train" / "c");
  fs::create_directories(folder / "val" / "no log");
  EXPECT_THAT(OpenArgoverse2Logs(folder / "val")->names(), ElementsAre("a", "b"));
  EXPECT_THAT(OpenArgoverse2Logs(folder)->names(), ElementsAre("c", "a", "b"));
  EXPECT_THAT(ErrorOf([&] { OpenArgoverse2Logs(folder / "nowhere"); }),
              HasSubstr("expected an Argoverse 2 log"));
}

TEST(Argoverse2, DetectionsComeBackExactly) {
  std::vector<Argoverse2Detection> detections(3);
  for (int i = 0; i < 3; ++i) {
    detections[i].log_id = StrCat("log", i);
    detections[i].timestamp_ns = 315966265259836000 + i;
    detections[i].category = "BUS";
    detections[i].box_in_ego = MakeBox3({1.0 / 3, 2, i + 0.1}, {4, 2, 1.5}, 0.3 * i);
    detections[i].score = 1.0 / (i + 1);
  }
  const fs::path folder = TestFolder("detections");
  WriteArgoverse2Detections(folder / "a.feather", detections);
  WriteArgoverse2Detections(folder / "b.feather", {detections[0]});
  const auto read = ReadArgoverse2Detections(folder);
  ASSERT_EQ(read.size(), 4u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(read[i].log_id, detections[i].log_id);
    EXPECT_EQ(read[i].timestamp_ns, detections[i].timestamp_ns);
    EXPECT_EQ(read[i].category, "BUS");
    EXPECT_EQ(read[i].score, detections[i].score);
    EXPECT_EQ(read[i].box_in_ego.size_m, detections[i].box_in_ego.size_m);
    EXPECT_EQ(read[i].box_in_ego.frame_from_box.translation,
              detections[i].box_in_ego.frame_from_box.translation);
    EXPECT_NEAR(read[i].box_in_ego.yaw_rad(), 0.3 * i, 1e-15);
  }
  EXPECT_TRUE(ReadArgoverse2Detections(folder / "b.feather").size() == 1);
  WriteArgoverse2Detections(folder / "none.feather", {});
  EXPECT_TRUE(ReadArgoverse2Detections(folder / "none.feather").empty());
}

TEST(Argoverse2, BadTablesEndInOneLine) {
  Rows box = {{"length_m", {4}}, {"width_m", {2}}, {"height_m", {1.5}}, {"qw", {1}},
              {"qx", {0}},       {"qy", {0}},      {"qz", {0}},         {"tx_m", {10}},
              {"ty_m", {0}},     {"tz_m", {1}}};
  const auto error_with = [&](size_t column, double value) {
    Rows changed = box;
    changed[column].second[0] = value;
    ArrowTable table = Table("a.feather", changed);
    AddTimes(table, {0});
    table.AddStrings("track_uuid", {"t"});
    table.AddStrings("category", {"BUS"});
    table.AddNumbers("num_interior_pts", std::vector<int64_t>{7});
    return ErrorOf([&] { ParseArgoverse2Cuboids(table); });
  };
  EXPECT_EQ(error_with(0, 4), "");
  EXPECT_THAT(error_with(1, 0), HasSubstr("a.feather: row 0: expected a box of positive size"));
  EXPECT_THAT(error_with(1, NAN), HasSubstr("column 'width_m': row 0: expected a finite number"));
  EXPECT_THAT(error_with(3, 0.5), HasSubstr("row 0: expected a quaternion of length 1, found 0.5"));
  EXPECT_THAT(ErrorOf([&] { ParseArgoverse2Detections(Table("d", box)); }),
              HasSubstr("d: expected a column 'log_id'"));

  const fs::path folder = MakeLog(TestFolder("argoverse2 log") / "bad");
  const Argoverse2Poses poses = ReadArgoverse2Poses(folder / "city_SE3_egovehicle.feather");
  EXPECT_EQ(poses.At(1'000'000'000).translation.y(), 50);
  EXPECT_THAT(ErrorOf([&] { poses.At(999'999'999); }), HasSubstr("expected poses around the time"));
  const auto map_error = [](std::string_view json) {
    return ErrorOf([&] { Argoverse2Map::Parse(json, "m.json"); });
  };
  EXPECT_THAT(map_error("{"), HasSubstr("m.json: "));
  EXPECT_THAT(map_error("{}"), HasSubstr("expected an object 'drivable_areas'"));
  EXPECT_THAT(map_error(R"({"drivable_areas": {"1": {"area_boundary": [{"x": 1, "y": 2}]}}})"),
              HasSubstr("drivable area '1': expected points with x, y and z"));
  EXPECT_THAT(map_error(R"({"drivable_areas": {"1": {"area_boundary": [
      {"x": 0, "y": 0, "z": 0}, {"x": 1e6, "y": 0, "z": 0}, {"x": 0, "y": 1e6, "z": 0}]}}})"),
              HasSubstr("expected drivable areas of at most"));
}

TEST(Argoverse2Map, RoiIsTheDrivableAreaAndFiveMetres) {
  const Argoverse2Map map = Argoverse2Map::Read(MakeLog(TestFolder("argoverse2 log") / "roi"));
  EXPECT_FALSE(map.has_ground_height());
  EXPECT_TRUE(map.InDrivableArea({100, 50}));
  EXPECT_TRUE(map.InRoi({100, 50}));
  // The raster ends 1 m beyond the largest coordinates: there is no region of interest past it.
  EXPECT_FALSE(map.InDrivableArea({110.5, 50}));
  EXPECT_TRUE(map.InRoi({110.5, 50}));
  EXPECT_FALSE(map.InRoi({111.5, 50}));
  EXPECT_TRUE(map.InRoi({89.95, 50}));  // cut off towards zero
  EXPECT_FALSE(map.InRoi({89.85, 50}));
  EXPECT_FALSE(map.InRoi({NAN, 50}));
}

TEST(Argoverse2Map, GroundHeightsAreRead) {
  const auto array = [](const std::string& header, int values) {
    return "\x93NUMPY\x01" + std::string(1, '\0') + Bytes(static_cast<uint16_t>(header.size())) +
           header + std::string(2 * values, '\x3c');
  };
  const std::string header = "{'descr': '<f2', 'fortran_order': False, 'shape': (3, 2), }\n";
  const GroundHeights heights = ParseGroundHeights(array(header, 6), "g.npy");
  EXPECT_EQ(heights.height, 3);
  EXPECT_EQ(heights.width, 2);
  EXPECT_THAT(heights.height_m, testing::Each(1 + 60.0f / 1024));  // 0x3c3c
  EXPECT_THAT(ErrorOf([&] { ParseGroundHeights(array(header, 5), "g.npy"); }),
              HasSubstr("g.npy: byte "));
  std::string other = header;
  other.replace(other.find("f2"), 2, "f4");
  EXPECT_THAT(ErrorOf([&] { ParseGroundHeights(array(other, 6), "g.npy"); }),
              HasSubstr("expected an array [rows, columns] of float16"));
}

TEST(Argoverse2Map, PolygonsAreFilledAsPillowFillsThem) {
  // Sums that Pillow's own Draw.c (12.x) gives for the same polygons, spikes and crossings among
  // them. Pillow 9.4 differs in 19 of these cells, and in none of the real map below.
  uint64_t state = 12345;
  const auto below = [&](int n) {
    state = (state * 1103515245 + 12345) % (uint64_t{1} << 31);
    return static_cast<int>((state >> 16) % n);
  };
  int64_t cells_set = 0, hash = 0;
  for (int k = 0; k < 300; ++k) {
    std::vector<Eigen::Vector2i> corners(3 + below(6));
    for (Eigen::Vector2i& corner : corners) {
      corner.x() = below(80) - 8;
      corner.y() = below(k % 3 != 0 ? 60 : 12) - 6;
    }
    std::vector<uint8_t> cells(64 * 48, 0);
    FillPolygonAsPillow(corners, 64, 48, 1, cells);
    int64_t sum = 0;
    for (size_t i = 0; i < cells.size(); ++i) {
      cells_set += cells[i];
      sum += cells[i] != 0 ? static_cast<int64_t>(i) : 0;
    }
    hash = (hash * 31 + sum) % 1000000007;
  }
  EXPECT_EQ(cells_set, 136760);
  EXPECT_EQ(hash, 332456552);
}

TEST(Argoverse2RealLog, CountsAreThoseOfTheDataSet) {
  ATHANOR_SKIP_WITHOUT(kRealLog);
  const auto cuboids = ReadArgoverse2Cuboids(SharedData(kRealLog) / "annotations.feather");
  EXPECT_EQ(cuboids.size(), 11364u);
  const auto dataset = OpenLogs(SharedData(kRealLog));
  EXPECT_EQ(dataset->format(), "argoverse2");
  ASSERT_EQ(dataset->names().size(), 1u);
  const Log log = dataset->Read(0);
  EXPECT_EQ(log.tracks.size(), 114u);
  EXPECT_EQ(log.frames.size(), 156u);
  EXPECT_EQ(log.sensors.size(), 10u);
  EXPECT_EQ(log.location, "PIT");
  int64_t boxes = 0;
  std::vector<int64_t> points;
  for (const LogFrame& frame : log.frames) {
    boxes += static_cast<int64_t>(frame.boxes.size());
    if (frame.readings.back() < 0) continue;
    const LogReading& reading = log.readings[frame.readings.back()];
    const LidarSweep sweep = ReadSweep(log, frame.readings.back());
    points.push_back(sweep.size());
    if (frame.id != "315966265259836000") continue;
    EXPECT_EQ(frame.boxes.size(), 81u);
    int64_t inside_all = 0;
    for (const LogBox& box : frame.boxes) {
      const Box3 box_in_ego = reading.world_from_ego.Inverse() * box.box;
      int inside = 0;
      for (const Eigen::Vector3f& point : sweep.points) {
        inside += box_in_ego.Contains(point.cast<double>());
      }
      EXPECT_EQ(inside, box.num_lidar_points) << log.tracks[box.track].id;
      inside_all += inside;
    }
    EXPECT_EQ(inside_all, 9399);
  }
  EXPECT_EQ(boxes, 11364);
  EXPECT_THAT(points, ElementsAre(99229, 99466));

  const ArrowTable flow = ReadArrow(SharedData(kRealLog) / "flow_labels.feather");
  EXPECT_EQ(flow.rows(), 99229);
  EXPECT_EQ(flow.Column("dynamic").type, ArrowType::kBool);
  // The same numbers, written by us and read back.
  const ArrowTable again = ParseArrow(FormatArrow(flow, ArrowCompression::kLz4, 65536), "again");
  for (const ArrowColumn& column : flow.columns()) {
    EXPECT_EQ(again.Column(column.name).values, column.values) << column.name;
  }
}

TEST(Argoverse2RealLog, MapRastersAreThoseOfTheOfficialTools) {
  ATHANOR_SKIP_WITHOUT(kRealLog);
  const Argoverse2Map map = Argoverse2Map::Read(SharedData(kRealLog));
  EXPECT_EQ(map.drivable_areas().size(), 13u);
  // Counts, and sums of the indices of the cells set, from NumPy, Pillow 9.4 and SciPy run as
  // map_api.py runs them.
  EXPECT_EQ(map.CountCells(false), 2652365);
  EXPECT_EQ(map.CountCells(true), 5811738);
  int64_t drivable = 0, roi = 0;
  for (int64_t i = 0; i < 3910 * 5120; ++i) {
    const Eigen::Vector2d centre(4949 + 0.1 * (static_cast<double>(i % 5120) + 0.5),
                                 2190 + 0.1 * (static_cast<double>(i / 5120) + 0.5));
    drivable += map.InDrivableArea(centre) ? i : 0;
    roi += map.InRoi(centre) ? i : 0;
  }
  EXPECT_EQ(drivable % 1000003, 427873);
  EXPECT_EQ(roi % 1000003, 76996);

  // The ego vehicle drives on the drivable area, its rear axle within a metre of the ground.
  const auto poses = ReadArgoverse2Poses(SharedData(kRealLog) / "city_SE3_egovehicle.feather");
  ASSERT_TRUE(map.has_ground_height());
  for (const Rigid3& city_from_ego : poses.city_from_ego) {
    const Eigen::Vector3d& place = city_from_ego.translation;
    EXPECT_TRUE(map.InDrivableArea(place.head<2>()));
    const auto ground = map.GroundHeight(place.head<2>());
    ASSERT_TRUE(ground);
    EXPECT_NEAR(*ground, place.z(), 1);
  }
}

}  // namespace
}  // namespace athanor
