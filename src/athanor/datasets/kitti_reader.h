// The KITTI object benchmark: image_2, velodyne, calib and label_2.
//
// Every frame is a log of its own. The world and the ego frame are the LiDAR's (x forward, y left,
// z up). Camera i is the rectified one of P_i, "image_i", where the frame has its picture; half a
// pixel is added to its principal point, which counts from the centre of the first. Boxes are the
// labels but "DontCare" (ReadKittiLabels has those too), moved into the LiDAR's frame with the
// small tilt between the sensors.
//
// Format: the development kit of the benchmark, readme.txt (Geiger, Lenz, Urtasun 2012).
#pragma once

#include <Eigen/Core>
#include <array>
#include <filesystem>
#include <memory>
#include <string_view>

#include "athanor/datasets/log.h"

namespace athanor {

struct KittiCalibration {
  // pixel of camera i (homogeneous) = P_i * point in the rectified frame of camera 0
  std::array<Eigen::Matrix<double, 3, 4>, 4> projections;
  // R0_rect * Tr_velo_to_cam, with the nearest rotation to what the rounded digits say.
  Rigid3 rectified_from_velodyne;

  // K of camera i, and its centre: P_i = K [I | t], camera_from_rectified = t.
  Eigen::Matrix3d Intrinsics(int camera) const;
  Rigid3 CameraFromRectified(int camera) const;
};

// calib/*.txt. Throws Error (name, line, expectation): a missing matrix, too few numbers, what is
// no rotation or no projection.
KittiCalibration ParseKittiCalibration(std::string_view text, std::string_view name);
KittiCalibration ReadKittiCalibration(const std::filesystem::path& path);

// velodyne/*.bin: 4 floats a point, x y z reflectance. Throws Error.
LidarSweep ParseKittiSweep(std::string_view bytes, std::string_view name);

// True for a folder with calib/ and velodyne/, image_2/ or label_2/, or one where training/ or
// testing/ is such a folder.
bool IsKittiFolder(const std::filesystem::path& folder);

// Names are those of the files ("000042"), after "training/" or "testing/" where the folder has
// those. Throws Error when there is no frame.
std::unique_ptr<LogDataset> OpenKittiLogs(const std::filesystem::path& path);

}  // namespace athanor
