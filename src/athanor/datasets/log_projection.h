// Boxes and LiDAR points as the cameras of a log see them: outlines to mask, and which points are
// hidden behind others. Used by log_scene.cc.
#pragma once

#include <Eigen/Core>
#include <vector>

#include "athanor/geometry/box3.h"
#include "athanor/geometry/camera.h"
#include "athanor/media/image.h"

namespace athanor {

// What is nearer to a camera is not projected.
inline constexpr double kNearestProjected_m = 0.1;

// Where a box appears: its edges in pieces, as far as they lie before the camera. Pixels.
std::vector<Eigen::Vector2d> OutlineOf(const Box3& box_in_camera, const Camera& camera);

// Fills the convex hull of the points, every pixel that it touches, with 0. `mask` has one channel.
void CutHull(std::vector<Eigen::Vector2d> points, Image* mask);

// A point in a picture.
struct PixelHit {
  int x, y;  // inside the picture
  float depth_m;
  int voxel;  // -1: none
};

// Removes hits that are hidden: with nearer ones close by both above and below (log_scene.h says
// why). The result does not depend on their order, which is kept.
void RemoveHidden(const Camera& camera, std::vector<PixelHit>* hits);

}  // namespace athanor
