// Where the camera goes when a scene is shown: around what was photographed, along the photographs,
// or around a bare scene.
#pragma once

#include <Eigen/Core>
#include <vector>

#include "athanor/datasets/gaussian_cloud.h"
#include "athanor/datasets/posed_images.h"
#include "athanor/geometry/camera.h"
#include "athanor/geometry/rigid3.h"

namespace athanor {

struct PathView {
  Camera camera;  // a pinhole
  Rigid3 camera_from_world;
};

// The pose of a camera at `position` that looks at `target` with `up` pointing up in its picture.
// Throws Error when the three name no direction.
Rigid3 LookAt(const Eigen::Vector3d& position, const Eigen::Vector3d& target,
              const Eigen::Vector3d& up);

// How the cameras of a capture stand around what they look at.
struct CaptureLayout {
  Eigen::Vector3d center;  // nearest to all optical axes, in the sense of least squares
  Eigen::Vector3d up;      // unit length
  double distance;         // median, of the cameras to the centre
  bool all_around;         // no gap between neighbouring azimuths is wider than 90 degrees
};
// Where the axes do not meet in front of the cameras (a street, a single photograph), the centre is
// the middle of the points, or a point ahead of the cameras. Throws Error for no image.
CaptureLayout FindLayout(const PosedImages& posed);

// A smooth closed orbit of `frames` views, looking at the centre of the layout with the camera of
// the first image. Around a capture that was taken from all sides it is a circle at the median
// height and distance; otherwise an ellipse that stays where the photographs were taken (10th to
// 90th percentile of the azimuth, 25th to 75th of the elevation), so that the scene is seen from
// where it is known.
// Throws Error for no image or frames < 1.
std::vector<PathView> OrbitPath(const PosedImages& posed, int frames);

// The views of `images` (indices into posed.images) in that order, each followed by `between` more
// on the way to the next (linear in position, slerp in rotation). Throws Error for a bad index.
std::vector<PathView> CapturePath(const PosedImages& posed, const std::vector<int>& images,
                                  int between = 0);

// A box that holds what is solid of a scene: the 2nd to the 98th percentile, per axis, of the
// centres of Gaussians with an opacity of at least 0.1 (of all, when none has).
struct SceneBox {
  Eigen::Vector3d low, high;
};
// Throws Error for an empty scene.
SceneBox FindSceneBox(const GaussianCloud& cloud);

// A circle around a box, from 15 degrees above, as near as shows all of it. `up`: not zero. Throws
// Error for frames < 1.
std::vector<PathView> OrbitBox(const SceneBox& box, const Eigen::Vector3d& up, int width_px,
                               int height_px, int frames);

}  // namespace athanor
