// A stretch of a driving log as a capture that scenes are reconstructed from: pictures with poses,
// masks over what moves, depth maps and starting points from the LiDAR.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "athanor/base/options.h"
#include "athanor/datasets/log.h"
#include "athanor/datasets/posed_images.h"

namespace athanor {

struct LogSceneOptions {
  double begin_s = 0;              // from the first frame
  double seconds = 0;              // 0: to the end
  int picture_step = 1;            // take every n-th picture of each camera
  double moving_speed_mps = 0.5;   // a track is moving when one of its boxes is faster than this
  double moving_distance_m = 1.0;  // or when two of its boxes are further apart than this
  double box_margin_m = 0.25;      // by which moving boxes are grown on each side
  int depth_sweeps = 5;            // LiDAR sweeps, nearest in time, in each depth map
  double max_depth_m = 65;         // what lies further away is left out; a 16-bit PNG of
                                   // millimetres ends at 65.5 m
  double min_distance_m = 2.5;     // returns nearer to the LiDAR (the car itself) are left out
  double voxel_m = 0.1;            // starting points: one for each cell of this size
  int64_t max_points = 1000000;    // at most so many starting points
};
OptionList Describe(LogSceneOptions& options);

struct LogScene {
  PosedImages posed;
  // posed's frame is the world moved here, so that single-precision numbers are exact to
  // micrometres and not to centimetres: world = scene + origin.
  Eigen::Vector3d origin_in_world = Eigen::Vector3d::Zero();
  std::vector<int> moving_tracks;  // indices into Log::tracks
  int64_t lidar_points = 0;        // static ones, before thinning
  int64_t depth_pixels = 0;        // with a depth, over all depth maps
};

// Each picture on disk within the stretch becomes an image with the pose of its camera at its own
// time; name CHANNEL/TIME.jpg (or .png). In a stretch of one sweep, nothing moves. Static LiDAR
// points (outside of moving boxes, which are interpolated to the time of each sweep) are projected
// into it. A point is taken to be hidden when nearer ones are close to it both above and below:
// what is seen through the gaps between the rings on a car is behind the car, while on a road,
// nearer points are below only. Depth maps and masks are written to `cache_folder`/depth and
// /masks, NAME.png, each replaced as a whole.
//
// Starting points are the means of the static points in each voxel, in the mean colour of the
// pictures that see them; what no picture sees is left out. The same input gives the same bytes,
// whatever the number of threads. Throws Error when no picture or no sweep of the stretch is on
// disk, or no picture sees a point.
LogScene MakeLogScene(const Log& log, const std::filesystem::path& cache_folder,
                      const LogSceneOptions& options = {});

// The log called `clip` (or whose number from 0 that is) of a driving data set, as a capture.
PosedImages ReadClip(const std::filesystem::path& path, const std::string& clip,
                     const std::filesystem::path& cache_folder);

}  // namespace athanor
