#include "athanor/scenes/gaussians/camera_path.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"

namespace athanor {
namespace {

constexpr double kPi = 3.14159265358979323846;

// The value below which a share of `values` lies; nearest rank, values not empty.
double Percentile(std::vector<double> values, double share) {
  const auto rank = static_cast<size_t>(share * static_cast<double>(values.size() - 1) + 0.5);
  std::nth_element(values.begin(), values.begin() + rank, values.end());
  return values[rank];
}

// Two unit vectors that make a right-handed frame with the unit vector `up` as third.
std::pair<Eigen::Vector3d, Eigen::Vector3d> HorizontalAxes(const Eigen::Vector3d& up) {
  const Eigen::Vector3d first = up.unitOrthogonal();
  return {first, up.cross(first)};
}

// Rows of R are the camera's axes in the world.
Eigen::Vector3d Right(const Rigid3& pose) {
  return pose.rotation.conjugate() * Eigen::Vector3d::UnitX();
}
Eigen::Vector3d Up(const Rigid3& pose) {
  return pose.rotation.conjugate() * -Eigen::Vector3d::UnitY();
}
Eigen::Vector3d Forward(const Rigid3& pose) {
  return pose.rotation.conjugate() * Eigen::Vector3d::UnitZ();
}
Eigen::Vector3d Center(const Rigid3& pose) { return pose.Inverse().translation; }

// Level cameras have their x axes at right angles to up. Where these leave it open (all cameras
// look the same way), the mean of the cameras' own up decides.
Eigen::Vector3d FindUp(const PosedImages& posed) {
  constexpr double kWeightOfMean = 0.05;
  Eigen::Vector3d mean = Eigen::Vector3d::Zero();
  Eigen::Matrix3d spread = Eigen::Matrix3d::Zero();
  for (const PosedImage& image : posed.images) {
    const Eigen::Vector3d right = Right(image.camera_from_world);
    mean += Up(image.camera_from_world);
    spread += right * right.transpose();
  }
  const auto n = static_cast<double>(posed.images.size());
  if (mean.norm() < 1e-3 * n) mean = Up(posed.images[0].camera_from_world);
  mean.normalize();
  spread = spread / n + kWeightOfMean * (Eigen::Matrix3d::Identity() - mean * mean.transpose());
  const Eigen::SelfAdjointEigenSolver<Eigen::Matrix3d> solver(spread);
  const Eigen::Vector3d up = solver.eigenvectors().col(0);
  return up.dot(mean) < 0 ? Eigen::Vector3d(-up) : up;
}

// Of a direction from the centre: how far round, and how far up.
struct Bearing {
  double azimuth_rad, elevation_rad;
};
Bearing BearingOf(const Eigen::Vector3d& offset, const Eigen::Vector3d& up) {
  const auto [east, north] = HorizontalAxes(up);
  const double x = offset.dot(east), y = offset.dot(north), z = offset.dot(up);
  return {std::atan2(y, x), std::atan2(z, std::hypot(x, y))};
}
Eigen::Vector3d DirectionOf(const Bearing& bearing, const Eigen::Vector3d& up) {
  const auto [east, north] = HorizontalAxes(up);
  return std::cos(bearing.elevation_rad) *
             (std::cos(bearing.azimuth_rad) * east + std::sin(bearing.azimuth_rad) * north) +
         std::sin(bearing.elevation_rad) * up;
}

// The widest gap between neighbouring azimuths: where it begins and how wide it is, radians.
struct Gap {
  double begin, width;
};
Gap WidestGap(std::vector<double> azimuths) {
  std::sort(azimuths.begin(), azimuths.end());
  Gap widest = {azimuths.back(), azimuths.front() + 2 * kPi - azimuths.back()};
  for (size_t i = 1; i < azimuths.size(); ++i) {
    const double width = azimuths[i] - azimuths[i - 1];
    if (width > widest.width) widest = {azimuths[i - 1], width};
  }
  return widest;
}

std::vector<Bearing> Bearings(const PosedImages& posed, const CaptureLayout& layout) {
  std::vector<Bearing> bearings;
  for (const PosedImage& image : posed.images) {
    bearings.push_back(BearingOf(Center(image.camera_from_world) - layout.center, layout.up));
  }
  return bearings;
}

std::vector<double> Azimuths(const std::vector<Bearing>& bearings) {
  std::vector<double> azimuths;
  for (const Bearing& bearing : bearings) azimuths.push_back(bearing.azimuth_rad);
  return azimuths;
}

// Where to look when the optical axes do not meet: the median of the points that lie ahead of the
// middle camera, or a point ahead of it.
Eigen::Vector3d CenterAhead(const PosedImages& posed, const Eigen::Vector3d& middle,
                            const Eigen::Vector3d& forward, double extent) {
  std::vector<double> ahead;
  for (const ColoredPoint& point : posed.points) {
    const Eigen::Vector3d position(point.position[0], point.position[1], point.position[2]);
    const double distance = (position - middle).dot(forward);
    if (distance > 0) ahead.push_back(distance);
  }
  const double distance = ahead.empty() ? std::max(extent, 1e-3) : Percentile(ahead, 0.5);
  return middle + distance * forward;
}

}  // namespace

Rigid3 LookAt(const Eigen::Vector3d& position, const Eigen::Vector3d& target,
              const Eigen::Vector3d& up) {
  const Eigen::Vector3d forward = (target - position).normalized();
  const Eigen::Vector3d right = forward.cross(up).normalized();
  ATHANOR_CHECK(forward.allFinite() && right.allFinite() && right.norm() > 0.5,
                "look-at: expected a target away from the camera, and not straight above or below "
                "it");
  Eigen::Matrix3d world_from_camera;
  world_from_camera << right, forward.cross(right), forward;
  Rigid3 pose;
  pose.rotation = Eigen::Quaterniond(Eigen::Matrix3d(world_from_camera.transpose())).normalized();
  pose.translation = -(pose.rotation * position);
  return pose;
}

CaptureLayout FindLayout(const PosedImages& posed) {
  ATHANOR_CHECK(!posed.images.empty(), posed.source, ": expected at least one image, found none");
  const auto n = static_cast<double>(posed.images.size());
  Eigen::Matrix3d normal = Eigen::Matrix3d::Zero();
  Eigen::Vector3d rhs = Eigen::Vector3d::Zero(), middle = rhs, forward = rhs;
  for (const PosedImage& image : posed.images) {
    const Eigen::Vector3d axis = Forward(image.camera_from_world);
    const Eigen::Vector3d center = Center(image.camera_from_world);
    const Eigen::Matrix3d across = Eigen::Matrix3d::Identity() - axis * axis.transpose();
    normal += across;
    rhs += across * center;
    middle += center / n;
    forward += axis / n;
  }
  double extent = 0;
  for (const PosedImage& image : posed.images) {
    extent = std::max(extent, (Center(image.camera_from_world) - middle).norm());
  }

  CaptureLayout layout;
  layout.up = FindUp(posed);
  // Nearly parallel axes meet nowhere that can be trusted.
  constexpr double kLeastCurvature = 1e-3;
  const Eigen::SelfAdjointEigenSolver<Eigen::Matrix3d> solver(normal / n);
  bool meet = solver.eigenvalues()[0] > kLeastCurvature;
  if (meet) {
    layout.center = normal.ldlt().solve(rhs);
    int in_front = 0;
    for (const PosedImage& image : posed.images) {
      in_front += (image.camera_from_world * layout.center).z() > 0;
    }
    meet = 2 * in_front > static_cast<int>(posed.images.size());
  }
  if (!meet) {
    if (forward.norm() < 1e-3) forward = Forward(posed.images[0].camera_from_world);
    layout.center = CenterAhead(posed, middle, forward.normalized(), extent);
  }

  std::vector<double> distances;
  for (const PosedImage& image : posed.images) {
    distances.push_back((Center(image.camera_from_world) - layout.center).norm());
  }
  layout.distance = Percentile(distances, 0.5);
  layout.all_around = WidestGap(Azimuths(Bearings(posed, layout))).width < kPi / 2;
  return layout;
}

std::vector<PathView> OrbitPath(const PosedImages& posed, int frames) {
  ATHANOR_CHECK(frames >= 1, "orbit: expected at least 1 frame, found ", frames);
  const CaptureLayout layout = FindLayout(posed);
  const std::vector<Bearing> bearings = Bearings(posed, layout);
  std::vector<double> elevations;
  for (const Bearing& bearing : bearings) elevations.push_back(bearing.elevation_rad);

  // Azimuths counted from the end of the widest gap, so that those covered are one interval.
  const Gap gap = WidestGap(Azimuths(bearings));
  const double first = gap.begin + gap.width;
  std::vector<double> turns;
  for (const Bearing& bearing : bearings) {
    turns.push_back(std::fmod(bearing.azimuth_rad - first + 4 * kPi, 2 * kPi));
  }
  // A single photograph, or all from one place, still gets a little sway.
  constexpr double kLeastSway = 3 * kPi / 180, kHighest = 80 * kPi / 180;
  const auto middle_and_half = [&](const std::vector<double>& angles, double margin) {
    const double low = Percentile(angles, margin), high = Percentile(angles, 1 - margin);
    return std::pair((low + high) / 2, std::max((high - low) / 2, kLeastSway));
  };
  const auto [turn, half_turn] = middle_and_half(turns, 0.1);
  const auto [elevation, half_elevation] = middle_and_half(elevations, 0.25);

  const Camera camera = UndistortedCamera(posed.cameras.at(posed.images[0].camera));
  std::vector<PathView> path;
  for (int i = 0; i < frames; ++i) {
    const double phase = 2 * kPi * i / frames;
    Bearing bearing;
    if (layout.all_around) {
      bearing = {first + phase, Percentile(elevations, 0.5)};
    } else {
      bearing = {first + turn + half_turn * std::sin(phase),
                 elevation + half_elevation * std::cos(phase)};
    }
    bearing.elevation_rad = std::clamp(bearing.elevation_rad, -kHighest, kHighest);
    const Eigen::Vector3d position =
        layout.center + layout.distance * DirectionOf(bearing, layout.up);
    path.push_back({camera, LookAt(position, layout.center, layout.up)});
  }
  return path;
}

std::vector<PathView> CapturePath(const PosedImages& posed, const std::vector<int>& images,
                                  int between) {
  ATHANOR_CHECK(between >= 0, "camera path: expected 0 or more views between, found ", between);
  std::vector<PathView> path;
  for (size_t i = 0; i < images.size(); ++i) {
    const auto image_at = [&](size_t k) -> const PosedImage& {
      ATHANOR_CHECK(images[k] >= 0 && images[k] < static_cast<int>(posed.images.size()),
                    posed.source, ": expected an image of 0 to ",
                    static_cast<int>(posed.images.size()) - 1, ", found ", images[k]);
      return posed.images[images[k]];
    };
    const PosedImage& from = image_at(i);
    const Camera camera = UndistortedCamera(posed.cameras.at(from.camera));
    path.push_back({camera, from.camera_from_world});
    if (i + 1 == images.size()) break;
    const Rigid3 world_from_a = from.camera_from_world.Inverse();
    const Rigid3 world_from_b = image_at(i + 1).camera_from_world.Inverse();
    for (int step = 1; step <= between; ++step) {
      const double t = static_cast<double>(step) / (between + 1);
      const Rigid3 world_from_camera = {
          world_from_a.rotation.slerp(t, world_from_b.rotation),
          (1 - t) * world_from_a.translation + t * world_from_b.translation};
      path.push_back({camera, world_from_camera.Inverse()});
    }
  }
  return path;
}

SceneBox FindSceneBox(const GaussianCloud& cloud) {
  ATHANOR_CHECK(cloud.size() > 0, "a scene of no Gaussians has no extent");
  constexpr float kSolidLogit = -2.1972246f;  // opacity 0.1
  const bool any_solid = std::any_of(cloud.opacity_logits.begin(), cloud.opacity_logits.end(),
                                     [](float logit) { return logit >= kSolidLogit; });
  SceneBox box;
  for (int axis = 0; axis < 3; ++axis) {
    std::vector<double> values;
    for (int64_t i = 0; i < cloud.size(); ++i) {
      if (!any_solid || cloud.opacity_logits[i] >= kSolidLogit) {
        values.push_back(cloud.means[3 * i + axis]);
      }
    }
    box.low[axis] = Percentile(values, 0.02);
    box.high[axis] = Percentile(values, 0.98);
  }
  return box;
}

std::vector<PathView> OrbitBox(const SceneBox& box, const Eigen::Vector3d& up, int width_px,
                               int height_px, int frames) {
  ATHANOR_CHECK(frames >= 1, "orbit: expected at least 1 frame, found ", frames);
  constexpr double kHalfView = 25 * kPi / 180, kElevation = 15 * kPi / 180;
  const Eigen::Vector3d center = 0.5 * (box.low + box.high);
  const double radius = std::max(0.5 * (box.high - box.low).norm(), 1e-3);
  // The half angle holds along the shorter side of the picture.
  const double focal_px = 0.5 * std::min(width_px, height_px) / std::tan(kHalfView);
  Camera camera;
  camera.width_px = width_px;
  camera.height_px = height_px;
  camera.parameters = {focal_px, focal_px, 0.5 * width_px, 0.5 * height_px};
  camera.Check("orbit");
  std::vector<PathView> path;
  for (int i = 0; i < frames; ++i) {
    const Eigen::Vector3d direction =
        DirectionOf({2 * kPi * i / frames, kElevation}, up.normalized());
    path.push_back({camera, LookAt(center + radius / std::sin(kHalfView) * direction, center, up)});
  }
  return path;
}

}  // namespace athanor
