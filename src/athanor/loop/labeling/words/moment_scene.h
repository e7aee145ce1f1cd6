// A moment of a driving log as a scene of Gaussians without training: one Gaussian for each LiDAR
// point, and the pictures that cameras took as the beam passed. What walks is where it was seen,
// because no other moment takes part.
#pragma once

#include <Eigen/Core>
#include <span>
#include <string>
#include <vector>

#include "athanor/datasets/log.h"
#include "athanor/media/image.h"
#include "athanor/scenes/gaussians/gaussian_model.h"
#include "athanor/scenes/gaussians/renderer.h"

namespace athanor {

struct MomentOptions {
  int sweeps = 1;             // of the LiDAR: the frame's and those before, which smear what moves
  double max_range_m = 40;    // from the LiDAR; sparser points make no boxes
  double min_range_m = 2;     // what is nearer is the car itself
  double spread_rad = 0.006;  // standard deviation of a Gaussian, as the LiDAR sees it
};

struct MomentScene {
  // The scene's frame is the world's, moved here: world = scene + origin.
  Eigen::Vector3d origin_in_world = Eigen::Vector3d::Zero();
  Eigen::Vector3d lidar = Eigen::Vector3d::Zero();            // where it stood, scene frame
  std::vector<Eigen::Vector3d> points;                        // [N] scene frame
  std::vector<float> height_m;                                // [N] above the ground at that place
  GaussianModel model{0, /*with_moments=*/false, c10::kCPU};  // row i is points[i]
  std::vector<PinholeView> views;                             // of the cameras that see a point
  std::vector<Image> pictures;                                // undistorted, as `views` see them
  std::vector<std::string> names;                             // of the pictures

  bool is_empty() const { return points.empty() || views.empty(); }
};

// Empty when the frame's sweep or all of its pictures are not at hand. Throws Error for damaged
// files, and for a log without a LiDAR.
MomentScene MakeMomentScene(const Log& log, int frame, const MomentOptions& options = {});

// Heights over the ground: that under a point is the lowest around, at most 6 m away, where ground
// may rise by 5 % of the distance; of the cells around, a tenth may be lower still, which fog and
// mirrors do. points: z up, metres.
std::vector<float> HeightsAboveGround(std::span<const Eigen::Vector3d> points);

}  // namespace athanor
