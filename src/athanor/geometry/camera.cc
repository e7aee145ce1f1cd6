#include "athanor/geometry/camera.h"

#include <Eigen/LU>
#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "athanor/base/error.h"

namespace athanor {
namespace {

struct ModelInfo {
  std::string_view name;
  int num_parameters;
};

// In the order of CameraModel.
constexpr ModelInfo kModels[kNumCameraModels] = {
    {"SIMPLE_PINHOLE", 3}, {"PINHOLE", 4},        {"SIMPLE_RADIAL", 4}, {"RADIAL", 5},
    {"OPENCV", 8},         {"OPENCV_FISHEYE", 8}, {"FULL_OPENCV", 12},
};

const ModelInfo& InfoOf(CameraModel model) {
  const auto index = static_cast<size_t>(model);
  ATHANOR_CHECK(index < kNumCameraModels, "camera model: expected 0 to ", kNumCameraModels - 1,
                ", found ", index);
  return kModels[index];
}

// The principal point follows the focal lengths.
int NumFocalLengths(CameraModel model) {
  return model == CameraModel::kSimplePinhole || model == CameraModel::kSimpleRadial ||
                 model == CameraModel::kRadial
             ? 1
             : 2;
}

// Coefficients of 1, u, u^2, ... The highest that any model needs is u^6.
template <size_t N>
using Polynomial = std::array<double, N>;

template <size_t N>
double Evaluate(const Polynomial<N>& c, double u) {
  double value = c[N - 1];
  for (size_t i = N - 1; i-- > 0;) value = value * u + c[i];
  return value;
}

template <size_t N>
double EvaluateDerivative(const Polynomial<N>& c, double u) {
  double value = (N - 1) * c[N - 1];
  for (size_t i = N - 1; i-- > 1;) value = value * u + static_cast<double>(i) * c[i];
  return value;
}

// Whether the polynomial is positive on all of [low, high], 0 <= low. Rigorous: the least value of
// each term bounds the sum from below, and halves are tried where that bound is too weak. A
// polynomial that nearly touches zero counts as not positive.
template <size_t N>
bool IsPositive(const Polynomial<N>& c, double low, double high, int depth = 12) {
  double bound = 0, low_power = 1, high_power = 1;
  for (size_t i = 0; i < N; ++i) {
    bound += c[i] * (c[i] < 0 ? high_power : low_power);
    low_power *= low;
    high_power *= high;
  }
  if (bound > 0) return true;
  if (depth == 0 || !(Evaluate(c, high) > 0)) return false;
  const double middle = 0.5 * (low + high);
  return IsPositive(c, low, middle, depth - 1) && IsPositive(c, middle, high, depth - 1);
}

// Whether the polynomial is positive on all of [0, high]. Where its negative terms alone do not
// outweigh the constant, as for most lenses, one evaluation says so.
template <size_t N>
bool IsPositiveUpTo(const Polynomial<N>& c, double high) {
  double bound = 0;
  for (size_t i = N; i-- > 1;) bound = (bound + std::min(c[i], 0.0)) * high;
  return c[0] + bound > 0 || IsPositive(c, 0, high);
}

// All perspective models as one: x_d = x N(u) / D(u) + tangential terms, u = x^2 + y^2.
struct Distortion {
  Polynomial<4> numerator = {1, 0, 0, 0};
  Polynomial<4> denominator = {1, 0, 0, 0};
  double p1 = 0;
  double p2 = 0;
  bool rational = false;

  explicit Distortion(const Camera& camera) {
    const auto& p = camera.parameters;
    switch (camera.model) {
      case CameraModel::kSimpleRadial:
        numerator[1] = p[3];
        break;
      case CameraModel::kRadial:
        numerator[1] = p[3];
        numerator[2] = p[4];
        break;
      case CameraModel::kFullOpenCv:
        numerator[3] = p[8];
        denominator = {1, p[9], p[10], p[11]};
        rational = true;
        [[fallthrough]];
      case CameraModel::kOpenCv:
        numerator[1] = p[4];
        numerator[2] = p[5];
        p1 = p[6];
        p2 = p[7];
        break;
      default:
        break;
    }
  }

  // Whether the distorted radius grows with the true one all the way to u. Beyond the first radius
  // where it does not, the model folds back and would show what the lens never sees. The tangential
  // terms are too small to matter here.
  bool IsValid(double u) const {
    if (!rational) {
      return IsPositiveUpTo(Polynomial<4>{1, 3 * numerator[1], 5 * numerator[2], 7 * numerator[3]},
                            u);
    }
    // The numerator of d(r N / D) / dr is N D + 2 u (N' D - N D').
    Polynomial<7> slope = {};
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < 4; ++j) {
        slope[i + j] += numerator[i] * denominator[j] * (1 + 2 * (i - j));
      }
    }
    return IsPositiveUpTo(denominator, u) && IsPositiveUpTo(slope, u);
  }

  Eigen::Vector2d Apply(double x, double y) const {
    const double u = x * x + y * y;
    double radial = Evaluate(numerator, u);
    if (rational) radial /= Evaluate(denominator, u);
    return {x * radial + 2 * p1 * x * y + p2 * (u + 2 * x * x),
            y * radial + p1 * (u + 2 * y * y) + 2 * p2 * x * y};
  }

  Eigen::Matrix2d Jacobian(double x, double y) const {
    const double u = x * x + y * y;
    const double d = Evaluate(denominator, u);
    const double radial = Evaluate(numerator, u) / d;
    const double slope =
        (EvaluateDerivative(numerator, u) - radial * EvaluateDerivative(denominator, u)) / d;
    const double mixed = 2 * (x * y * slope + p1 * x + p2 * y);
    Eigen::Matrix2d jacobian;
    jacobian << radial + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x, mixed,  //
        mixed, radial + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x;
    return jacobian;
  }
};

// Kannala and Brandt 2006: theta_d = theta (1 + k1 theta^2 + ... + k4 theta^8).
struct Fisheye {
  Polynomial<5> profile;  // in theta^2

  explicit Fisheye(const Camera& camera)
      : profile{1, camera.parameters[4], camera.parameters[5], camera.parameters[6],
                camera.parameters[7]} {}

  double Slope(double theta) const { return Evaluate(SlopePolynomial(), theta * theta); }
  double Distorted(double theta) const { return theta * Evaluate(profile, theta * theta); }
  bool IsValid(double theta) const {
    return theta <= std::numbers::pi && IsPositiveUpTo(SlopePolynomial(), theta * theta);
  }

 private:
  Polynomial<5> SlopePolynomial() const {
    return {1, 3 * profile[1], 5 * profile[2], 7 * profile[3], 9 * profile[4]};
  }
};

constexpr int kMaxNewtonSteps = 100;
constexpr int kMaxHalvings = 30;
constexpr double kNewtonTolerance = 1e-12;  // of the distorted coordinate

// The angle that the fisheye distorts to `distorted`: Newton's method that never leaves the domain
// and never lets the residual grow.
std::optional<double> InvertFisheye(const Fisheye& fisheye, double distorted) {
  double theta = 0;
  double residual = distorted;
  for (int step = 0; step < kMaxNewtonSteps; ++step) {
    if (std::abs(residual) <= kNewtonTolerance * std::max(1.0, distorted)) return theta;
    double change = residual / fisheye.Slope(theta);
    bool improved = false;
    for (int halving = 0; halving < kMaxHalvings && !improved; ++halving, change *= 0.5) {
      const double next = theta + change;
      if (!(next >= 0) || !fisheye.IsValid(next)) continue;
      const double next_residual = distorted - fisheye.Distorted(next);
      if (std::abs(next_residual) < std::abs(residual)) {
        theta = next;
        residual = next_residual;
        improved = true;
      }
    }
    if (!improved) return std::nullopt;
  }
  return std::nullopt;
}

// As InvertFisheye, in two dimensions.
std::optional<Eigen::Vector2d> InvertDistortion(const Distortion& distortion,
                                                const Eigen::Vector2d& distorted) {
  Eigen::Vector2d point = Eigen::Vector2d::Zero();
  if (distortion.IsValid(distorted.squaredNorm())) point = distorted;
  Eigen::Vector2d residual = distorted - distortion.Apply(point.x(), point.y());
  const double tolerance = kNewtonTolerance * std::max(1.0, distorted.norm());
  for (int step = 0; step < kMaxNewtonSteps; ++step) {
    if (residual.norm() <= tolerance) return point;
    Eigen::Vector2d change = distortion.Jacobian(point.x(), point.y()).inverse() * residual;
    bool improved = false;
    for (int halving = 0; halving < kMaxHalvings && !improved; ++halving, change *= 0.5) {
      const Eigen::Vector2d next = point + change;
      if (!distortion.IsValid(next.squaredNorm())) continue;
      const Eigen::Vector2d next_residual = distorted - distortion.Apply(next.x(), next.y());
      if (next_residual.squaredNorm() < residual.squaredNorm()) {
        point = next;
        residual = next_residual;
        improved = true;
      }
    }
    if (!improved) return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

std::string_view CameraModelName(CameraModel model) { return InfoOf(model).name; }

std::optional<CameraModel> CameraModelFromName(std::string_view name) {
  for (int i = 0; i < kNumCameraModels; ++i) {
    if (kModels[i].name == name) return static_cast<CameraModel>(i);
  }
  return std::nullopt;
}

int NumCameraParameters(CameraModel model) { return InfoOf(model).num_parameters; }

double Camera::fy() const { return parameters[NumFocalLengths(model) - 1]; }
double Camera::cx() const { return parameters[NumFocalLengths(model)]; }
double Camera::cy() const { return parameters[NumFocalLengths(model) + 1]; }

bool Camera::IsPinhole() const {
  if (model == CameraModel::kOpenCvFisheye) return false;
  return std::all_of(parameters.begin() + NumFocalLengths(model) + 2,
                     parameters.begin() + NumCameraParameters(model),
                     [](double k) { return k == 0; });
}

std::optional<Eigen::Vector2d> Camera::Project(const Eigen::Vector3d& point_in_camera) const {
  const double z = point_in_camera.z();
  Eigen::Vector2d distorted;
  if (model == CameraModel::kOpenCvFisheye) {
    const double radius = point_in_camera.head<2>().norm();
    const double theta = std::atan2(radius, z);
    const Fisheye fisheye(*this);
    if (!fisheye.IsValid(theta) || (radius == 0 && !(z > 0))) return std::nullopt;
    distorted =
        radius > 0
            ? Eigen::Vector2d(point_in_camera.head<2>() * (fisheye.Distorted(theta) / radius))
            : Eigen::Vector2d::Zero();
  } else {
    if (!(z > 0)) return std::nullopt;
    distorted = point_in_camera.head<2>() / z;
    if (model != CameraModel::kPinhole && model != CameraModel::kSimplePinhole) {
      const Distortion distortion(*this);
      if (!distortion.IsValid(distorted.squaredNorm())) return std::nullopt;
      distorted = distortion.Apply(distorted.x(), distorted.y());
    }
  }
  const Eigen::Vector2d pixel(fx() * distorted.x() + cx(), fy() * distorted.y() + cy());
  if (!std::isfinite(pixel.x()) || !std::isfinite(pixel.y())) return std::nullopt;
  return pixel;
}

std::optional<Eigen::Vector3d> Camera::Unproject(const Eigen::Vector2d& pixel) const {
  const Eigen::Vector2d distorted((pixel.x() - cx()) / fx(), (pixel.y() - cy()) / fy());
  if (!distorted.allFinite()) return std::nullopt;
  if (model == CameraModel::kOpenCvFisheye) {
    const double radius = distorted.norm();
    const std::optional<double> theta = InvertFisheye(Fisheye(*this), radius);
    // At 90 degrees and more no direction has z = 1.
    if (!theta || !(*theta < 0.5 * std::numbers::pi)) return std::nullopt;
    const double scale = radius > 0 ? std::tan(*theta) / radius : 1;
    return Eigen::Vector3d(distorted.x() * scale, distorted.y() * scale, 1);
  }
  if (IsPinhole()) return Eigen::Vector3d(distorted.x(), distorted.y(), 1);
  const std::optional<Eigen::Vector2d> point = InvertDistortion(Distortion(*this), distorted);
  if (!point) return std::nullopt;
  return Eigen::Vector3d(point->x(), point->y(), 1);
}

Camera Camera::Resized(int new_width_px, int new_height_px) const {
  ATHANOR_CHECK(width_px > 0 && height_px > 0 && new_width_px > 0 && new_height_px > 0,
                "resizing a camera: expected positive sizes, found ", width_px, "x", height_px,
                " to ", new_width_px, "x", new_height_px);
  const double x_ratio = static_cast<double>(new_width_px) / width_px;
  const double y_ratio = static_cast<double>(new_height_px) / height_px;
  Camera resized = *this;
  resized.width_px = new_width_px;
  resized.height_px = new_height_px;
  if (NumFocalLengths(model) == 1 && x_ratio != y_ratio) {
    // One focal length no longer does: the same lens, in the model that has two.
    resized.model =
        model == CameraModel::kSimplePinhole ? CameraModel::kPinhole : CameraModel::kOpenCv;
    resized.parameters = {fx(), fy(), cx(), cy(), parameters[3], parameters[4]};
  }
  auto& p = resized.parameters;
  if (NumFocalLengths(resized.model) == 1) {
    p[0] *= x_ratio;
    p[1] *= x_ratio;
    p[2] *= y_ratio;
  } else {
    p[0] *= x_ratio;
    p[1] *= y_ratio;
    p[2] *= x_ratio;
    p[3] *= y_ratio;
  }
  return resized;
}

void Camera::Check(std::string_view where) const {
  ATHANOR_CHECK(static_cast<size_t>(model) < kNumCameraModels, where,
                ": camera model: expected 0 to ", kNumCameraModels - 1, ", found ",
                static_cast<int>(model));
  ATHANOR_CHECK(width_px > 0 && height_px > 0, where, ": image size: expected positive, found ",
                width_px, "x", height_px);
  for (int i = 0; i < NumCameraParameters(model); ++i) {
    ATHANOR_CHECK(std::isfinite(parameters[i]), where, ": parameter ", i, " of ",
                  CameraModelName(model), ": expected a finite number, found ", parameters[i]);
  }
  ATHANOR_CHECK(fx() > 0 && fy() > 0, where, ": focal lengths: expected positive, found ", fx(),
                " and ", fy());
}

Camera UndistortedCamera(const Camera& camera) {
  camera.Check("undistorting a camera");
  const double width = camera.width_px, height = camera.height_px;
  const double fx = camera.fx(), fy = camera.fy(), cx = camera.cx(), cy = camera.cy();
  Camera pinhole{CameraModel::kPinhole, camera.width_px, camera.height_px, {fx, fy, cx, cy}};
  if (camera.IsPinhole()) return pinhole;
  ATHANOR_CHECK(cx > 0 && cx < width && cy > 0 && cy < height,
                "undistorting a camera: expected its principal point inside the image of ", width,
                "x", height, " pixels, found it at ", cx, " ", cy);

  // What the camera sees is a star about the principal direction. Its edge is found along many
  // directions of the plane z = 1, up to a limit that keeps a wide fisheye from growing without
  // end: half of the field of view, on each side.
  constexpr double kMaxSlope = std::numbers::sqrt3;  // 60 degrees
  constexpr int kDirections = 4096;                  // a multiple of 4: none straddles an axis
  const auto sees = [&](double x, double y) {
    const auto pixel = camera.Project({x, y, 1});
    return pixel && pixel->x() >= 0 && pixel->x() <= width && pixel->y() >= 0 &&
           pixel->y() <= height;
  };
  std::vector<Eigen::Vector2d> edge(kDirections + 1);
  for (int i = 0; i <= kDirections; ++i) {
    const double angle = 2 * std::numbers::pi * i / kDirections;
    const Eigen::Vector2d direction(std::cos(angle), std::sin(angle));
    double inside = 0, outside = 2 * kMaxSlope;
    for (int halving = 0; halving < 50; ++halving) {
      const double middle = 0.5 * (inside + outside);
      (sees(middle * direction.x(), middle * direction.y()) ? inside : outside) = middle;
    }
    edge[i] = inside * direction;
  }

  // The rectangle must hold none of these corners: the inner corner of the box around each two
  // neighbours on the edge. Per side (left, right), sorted outwards: how far a rectangle that
  // reaches just to this corner's x may extend up and down.
  struct Reach {
    double x;  // > 0, away from the axis
    double up;
    double down;
  };
  std::vector<Reach> sides[2];
  for (int i = 0; i < kDirections; ++i) {
    const double x = std::min(std::abs(edge[i].x()), std::abs(edge[i + 1].x()));
    const double y = std::min(std::abs(edge[i].y()), std::abs(edge[i + 1].y()));
    const bool right = edge[i].x() + edge[i + 1].x() > 0;
    const bool below = edge[i].y() + edge[i + 1].y() > 0;
    sides[right].push_back({x, below ? kMaxSlope : y, below ? y : kMaxSlope});
  }
  for (std::vector<Reach>& side : sides) {
    side.push_back({kMaxSlope, kMaxSlope, kMaxSlope});
    std::sort(side.begin(), side.end(), [](const Reach& a, const Reach& b) { return a.x < b.x; });
    double up = kMaxSlope, down = kMaxSlope;
    for (Reach& reach : side) {
      // The corner itself does not lie strictly inside: what counts are those before it.
      const double own_up = reach.up, own_down = reach.down;
      reach = {std::min(reach.x, kMaxSlope), up, down};
      up = std::min(up, own_up);
      down = std::min(down, own_down);
    }
  }
  double best_area = 0, left = 0, right = 0, top = 0, bottom = 0;
  for (const Reach& l : sides[0]) {
    for (const Reach& r : sides[1]) {
      const double up = std::min(l.up, r.up), down = std::min(l.down, r.down);
      const double area = (l.x + r.x) * (up + down);
      if (area > best_area) {
        best_area = area;
        left = l.x, right = r.x, top = up, bottom = down;
      }
    }
  }
  // What rounding down to whole pixels leaves over is shared between the two sides.
  const double exact_width = fx * (left + right), exact_height = fy * (top + bottom);
  pinhole.width_px = static_cast<int>(exact_width);
  pinhole.height_px = static_cast<int>(exact_height);
  ATHANOR_CHECK(pinhole.width_px > 0 && pinhole.height_px > 0,
                "undistorting a camera: nothing is left of the ", width, "x", height,
                " pixels: its distortion is too strong");
  pinhole.parameters[2] = fx * left - 0.5 * (exact_width - pinhole.width_px);
  pinhole.parameters[3] = fy * top - 0.5 * (exact_height - pinhole.height_px);
  return pinhole;
}

}  // namespace athanor
