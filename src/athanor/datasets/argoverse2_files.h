// The Feather files of the Argoverse 2 sensor data set, one by one.
//
// Format: argoverse.github.io/user-guide/datasets/sensor.html (Wilson et al. 2021, "Argoverse 2:
// Next Generation Datasets for Self-Driving Perception and Forecasting"). The ego frame is the
// vehicle's (x forward, y left, z up, rear axle); "city" is its world frame.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/datasets/arrow_file.h"
#include "athanor/datasets/log.h"
#include "athanor/geometry/box3.h"

namespace athanor {

// A row of annotations.feather.
struct Argoverse2Cuboid {
  int64_t timestamp_ns = 0;
  std::string track_uuid;
  std::string category;  // "REGULAR_VEHICLE", ...
  Box3 box_in_ego;
  int64_t num_interior_pts = 0;
};

// A row of a submission.
struct Argoverse2Detection {
  std::string log_id;
  int64_t timestamp_ns = 0;
  std::string category;
  Box3 box_in_ego;
  double score = 0;
};

// city_SE3_egovehicle.feather: sorted by time.
struct Argoverse2Poses {
  std::string source;  // for messages
  std::vector<int64_t> timestamps_ns;
  std::vector<Rigid3> city_from_ego;

  // The pose at that time: the file's own, or between the two around it. Throws Error outside of
  // the file's times.
  Rigid3 At(int64_t timestamp_ns) const;
};

// All rows in the file's order. Throws Error (path, column, row, expectation): missing columns,
// sizes that are not positive, numbers that are not finite, quaternions that are no rotation.
std::vector<Argoverse2Cuboid> ReadArgoverse2Cuboids(const std::filesystem::path& path);
std::vector<Argoverse2Cuboid> ParseArgoverse2Cuboids(const ArrowTable& table);

// Submissions may have more columns (track_uuid), which are not read. A folder: all its .feather
// files, in the order of their names.
std::vector<Argoverse2Detection> ReadArgoverse2Detections(const std::filesystem::path& path);
std::vector<Argoverse2Detection> ParseArgoverse2Detections(const ArrowTable& table);
// LZ4, written aside and renamed.
void WriteArgoverse2Detections(const std::filesystem::path& path,
                               const std::vector<Argoverse2Detection>& detections);

// Throws Error for no pose at all, or two of one time.
Argoverse2Poses ReadArgoverse2Poses(const std::filesystem::path& path);

// sensors/lidar/TIME.feather: points in the ego frame at that time (the data set has compensated
// the motion), intensity, laser number and time. Throws Error.
LidarSweep ParseArgoverse2Sweep(std::string_view bytes, std::string_view name);

// The pose columns (qw qx qy qz tx_m ty_m tz_m) of every row; `world_from_ego` and so on by what
// the table is.
std::vector<Rigid3> ParseArgoverse2Transforms(const ArrowTable& table);

}  // namespace athanor
