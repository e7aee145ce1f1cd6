// Boxes of what words mean in a scene of Gaussians: those that belong to a phrase and stand above
// the ground are joined to objects, and each gets a box.
#pragma once

#include <Eigen/Core>
#include <span>
#include <vector>

#include "athanor/detection/evaluation/nuscenes_eval.h"

namespace athanor {

// Gaussians that are asked about.
struct ScoredPoints {
  std::span<const Eigen::Vector3d> points;  // [N] z up, metres, frame of the result
  std::span<const float> height_m;          // [N] above the ground
  std::span<const float> scores;            // [N] 0 .. 1
  Eigen::Vector3d sensor;                   // that measured the points
};

struct WordBoxOptions {
  double threshold = 0.5;    // a Gaussian belongs to the phrase above this score
  double clearance_m = 0.2;  // what is nearer to the ground is ground
  int min_points = 3;        // of a box
};

// How large a thing of a class is, and what it may be at least and at most: width, length, height
// in metres. Means of nuScenes' annotations, rounded; of animals, dogs to cattle.
struct ClassSize {
  Eigen::Vector3d usual_m, least_m, most_m;
};
const ClassSize& SizeOfClass(int class_index);

// Points within 2 % of their distance to the sensor (at least 0.4 m, at most 1.2 m) belong
// together; groups larger than the class may be are cut with half of that, down to 0.15 m. Behind
// an object, points that the sensor sees within a degree of it are taken to be its border in the
// pictures, and left out.
//
// Box: yaw by the principal axis of the points in the plane, for classes longer than 1.5 m by the
// closest rectangle (Zhang et al., "Efficient L-shape fitting", IV 2017), which holds for the sides
// that a LiDAR sees of a car; a side that is shorter than the class may be grows away from the
// sensor; from the ground up. `score`: mean of the scores, times n / (n + 1), times the share of
// the phrase's points among all that stand in the box and 0.25 m around it. Best first; the same
// input gives the same boxes.
std::vector<NuscenesBox> FindWordBoxes(const ScoredPoints& scored, int class_index,
                                       const WordBoxOptions& options = {});

namespace internal {
// Yaw of the closest rectangle around points in the plane, [0, pi/2).
double ClosestRectangleYaw(std::span<const Eigen::Vector2d> points);
}  // namespace internal

}  // namespace athanor
