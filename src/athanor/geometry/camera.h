// Camera models: what maps a direction in the camera frame to a pixel. Camera axes are x right, y
// down, z forward; the centre of the first pixel is at (0.5, 0.5).
//
// Models and the order of their parameters are COLMAP's (colmap.github.io/cameras.html).
#pragma once

#include <Eigen/Core>
#include <array>
#include <optional>
#include <string_view>

namespace athanor {

enum class CameraModel {
  kSimplePinhole,  // f, cx, cy
  kPinhole,        // fx, fy, cx, cy
  kSimpleRadial,   // f, cx, cy, k
  kRadial,         // f, cx, cy, k1, k2
  kOpenCv,         // fx, fy, cx, cy, k1, k2, p1, p2
  kOpenCvFisheye,  // fx, fy, cx, cy, k1, k2, k3, k4
  kFullOpenCv,     // fx, fy, cx, cy, k1, k2, p1, p2, k3, k4, k5, k6
};

inline constexpr int kNumCameraModels = 7;
inline constexpr int kMaxCameraParameters = 12;

// "OPENCV_FISHEYE" and so on, as COLMAP's text files write it.
std::string_view CameraModelName(CameraModel model);
std::optional<CameraModel> CameraModelFromName(std::string_view name);
int NumCameraParameters(CameraModel model);

struct Camera {
  CameraModel model = CameraModel::kPinhole;
  int width_px = 0;
  int height_px = 0;
  std::array<double, kMaxCameraParameters> parameters = {};  // order: see CameraModel; rest 0

  double fx() const { return parameters[0]; }
  double fy() const;
  double cx() const;
  double cy() const;
  // True when the model has no distortion terms, or all of them are zero. A fisheye never is.
  bool IsPinhole() const;

  // Pixel of a point in the camera frame, which may lie outside the image; none when the point is
  // not in front of the camera (z <= 0; a fisheye sees further), not finite, or past the angle from
  // which the distortion folds back, where no lens sees.
  std::optional<Eigen::Vector2d> Project(const Eigen::Vector3d& point_in_camera) const;
  // Unit-z direction (x, y, 1) in the camera frame that projects to `pixel` (Newton's method on the
  // distortion, to 1e-10); none when it does not converge: the pixel is outside the model's domain.
  std::optional<Eigen::Vector3d> Unproject(const Eigen::Vector2d& pixel) const;

  // The same camera for the image resized to these pixels. Where width and height change by
  // different factors, a model with one focal length becomes the one with two.
  Camera Resized(int new_width_px, int new_height_px) const;

  // Throws Error, naming `where`, unless size and focal lengths are positive and all is finite.
  void Check(std::string_view where) const;
};

// The largest pinhole camera (by area), with the focal lengths and principal direction of `camera`,
// every pixel of which sees something that `camera` sees: undistorting leaves no blank border. A
// wide fisheye is cut at 60 degrees on each side. Throws Error when the principal point lies
// outside the image.
Camera UndistortedCamera(const Camera& camera);

}  // namespace athanor
