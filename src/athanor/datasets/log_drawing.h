// What pictures of driving are drawn with: a view from above and the view of a camera, with LiDAR
// points and boxes. Used by log_view.cc, and for what a detector sees and says.
#pragma once

#include <Eigen/Core>
#include <Eigen/Geometry>
#include <array>
#include <span>
#include <vector>

#include "athanor/geometry/camera.h"
#include "athanor/media/color_map.h"
#include "athanor/media/draw.h"
#include "athanor/media/image.h"

namespace athanor {

inline constexpr Color kViewBackground = {16, 18, 22};
inline constexpr Color kViewPanel = {26, 29, 35};
inline constexpr Color kViewFaint = {150, 156, 166};  // of captions

// Every channel times `factor`.
Color Scaled(Color color, double factor);

// Turbo over heights above the ground plane of the car, 0.5 m below to 3.5 m above.
Color HeightColor(float height_m);

// Corners as Box3::Corners() has them.
using BoxCorners = std::array<Eigen::Vector3d, 8>;

// A square view from above: the car in the middle, driving up. All positions are in its ego frame:
// x forward, y left, z up, metres.
class AboveView {
 public:
  // Paints the background, and rings every 10 m; every 25 m where more than 80 m are in view.
  // `range_m`: from the car to the edge.
  AboveView(Image* image, double range_m);

  // One pixel each, higher points over lower ones: what stands is not painted over by the road.
  void DrawPoints(std::span<const Eigen::Vector3d> points, std::span<const Color> colors);
  // With a line from the middle to the front, whose edge is heavier.
  void DrawBox(const BoxCorners& corners, Color color, double thickness = 1.5);
  // A car of common size, its rear axle at the origin.
  void DrawCar();

 private:
  Eigen::Vector2d PixelOf(const Eigen::Vector3d& point) const;

  Image* image_;
  double px_per_m_;
};

// A camera's picture. All positions are in its frame, z along the view.
class CameraView {
 public:
  CameraView(Image* image, const Camera& camera) : image_(image), camera_(camera) {}

  // By depth: near is warm. What is nearer than a metre is left out.
  void DrawPoints(std::span<const Eigen::Vector3d> points);
  // With a stroke on the ground towards the front; its front edges are brighter. Lenses bend lines;
  // what lies behind the camera is cut off. Returns the pixels around all that lies before the
  // camera, which may be outside of the picture; empty when nothing does.
  Eigen::AlignedBox2d DrawBox(const BoxCorners& corners, Color color, double thickness = 2);

 private:
  void DrawSegment(Eigen::Vector3d a, Eigen::Vector3d b, Color color, double thickness,
                   Eigen::AlignedBox2d* bounds);

  Image* image_;
  const Camera camera_;
};

// How cameras stand on a sheet: rows of indices, those that look ahead, then those that look back,
// each from left to right, at most 4 in a row.
struct CameraPlace {
  Eigen::Vector3d direction, position;  // in the ego frame
};
std::vector<std::vector<int>> CameraRows(std::span<const CameraPlace> cameras);

}  // namespace athanor
