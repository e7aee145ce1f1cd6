// Logs of the Argoverse 2 sensor data set.
//
// The world frame is the city's. One LiDAR, "lidar", whose frame is the ego frame: the data set
// gives both of the roof's as one sweep, with the motion compensated. Cameras are pinholes: the
// images come undistorted (k1, k2, k3 in intrinsics.feather describe the lenses that were taken
// out, argoverse/av2-api issue 219), and half a pixel is added to their principal points, which
// count from the centre of the first. A frame is a sweep: every time that has annotations or a
// file; its id is the time in nanoseconds.
#pragma once

#include <filesystem>
#include <memory>

#include "athanor/datasets/log.h"

namespace athanor {

// True for a folder with calibration/ and city_SE3_egovehicle.feather.
bool IsArgoverse2Log(const std::filesystem::path& folder);

// One log, or a folder of logs (a split), or a folder of splits: those below are found by
// themselves, sorted by path. Throws Error when there is none.
std::unique_ptr<LogDataset> OpenArgoverse2Logs(const std::filesystem::path& path);

}  // namespace athanor
