#include "athanor/datasets/log_drawing.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>
#include <utility>

#include "athanor/base/error.h"
#include "athanor/geometry/box3.h"

namespace athanor {
namespace {

constexpr Color kRing = {52, 58, 68};
constexpr Color kEgo = {255, 255, 255};
constexpr double kNear_m = 0.1;

}  // namespace

Color Scaled(Color color, double factor) {
  const auto scale = [&](uint8_t value) {
    return static_cast<uint8_t>(std::clamp(value * factor, 0.0, 255.0));
  };
  return {scale(color.r), scale(color.g), scale(color.b)};
}

Color HeightColor(float height_m) {
  constexpr float kLow_m = -0.5f, kHigh_m = 3.5f;
  const float share = std::clamp((height_m - kLow_m) / (kHigh_m - kLow_m), 0.0f, 1.0f);
  return MapColor(ColorMap::kTurbo, 0.1f + 0.85f * share);
}

AboveView::AboveView(Image* image, double range_m)
    : image_(image), px_per_m_(image->width / (2.0 * range_m)) {
  FillRectangle(image_, 0, 0, image_->width, image_->height, kViewBackground);
  const double step_m = range_m > 80 ? 25 : 10;
  for (double radius_m = step_m; radius_m < 1.42 * range_m; radius_m += step_m) {
    constexpr int kPieces = 180;
    Eigen::Vector2d last = PixelOf({radius_m, 0, 0});
    for (int i = 1; i <= kPieces; ++i) {
      const double angle = 2 * M_PI * i / kPieces;
      const Eigen::Vector2d next =
          PixelOf({radius_m * std::cos(angle), radius_m * std::sin(angle), 0});
      DrawLine(image_, last.x(), last.y(), next.x(), next.y(), kRing);
      last = next;
    }
    if (radius_m < range_m) {
      const Eigen::Vector2d at = PixelOf({radius_m, 0, 0});
      DrawText(image_, static_cast<int>(at.x()) + 3, static_cast<int>(at.y()) + 2,
               StrCat(radius_m, " m"), kViewFaint);
    }
  }
}

Eigen::Vector2d AboveView::PixelOf(const Eigen::Vector3d& point) const {
  const double middle = 0.5 * image_->width;
  return {middle - px_per_m_ * point.y(), middle - px_per_m_ * point.x()};
}

void AboveView::DrawPoints(std::span<const Eigen::Vector3d> points, std::span<const Color> colors) {
  std::vector<std::pair<float, int>> order(points.size());
  for (size_t i = 0; i < points.size(); ++i) {
    order[i] = {static_cast<float>(points[i].z()), static_cast<int>(i)};
  }
  std::sort(order.begin(), order.end());
  for (const auto& [height_m, i] : order) {
    const Eigen::Vector2d at = PixelOf(points[i]);
    if (!(at.x() >= 0 && at.y() >= 0 && at.x() < image_->width && at.y() < image_->height)) {
      continue;
    }
    FillRectangle(image_, static_cast<int>(at.x()), static_cast<int>(at.y()), 1, 1, colors[i]);
  }
}

void AboveView::DrawBox(const BoxCorners& corners, Color color, double thickness) {
  constexpr int kAround[] = {0, 2, 6, 4};  // front left, front right, back right, back left
  for (int i = 0; i < 4; ++i) {
    const Eigen::Vector2d a = PixelOf(corners[kAround[i]]);
    const Eigen::Vector2d b = PixelOf(corners[kAround[(i + 1) % 4]]);
    DrawLine(image_, a.x(), a.y(), b.x(), b.y(), color, i == 0 ? thickness + 1 : thickness);
  }
  const Eigen::Vector2d middle = PixelOf(0.5 * (corners[0] + corners[6]));
  const Eigen::Vector2d front = PixelOf(0.5 * (corners[0] + corners[2]));
  DrawLine(image_, middle.x(), middle.y(), front.x(), front.y(), color, thickness);
}

void AboveView::DrawCar() { DrawBox(MakeBox3({1.4, 0, 0}, {4.6, 1.9, 1.6}, 0).Corners(), kEgo); }

void CameraView::DrawPoints(std::span<const Eigen::Vector3d> points) {
  constexpr double kNearest_m = 1.0;
  constexpr float kWarmest_m = 3.0f, kColdest_m = 60.0f;
  const int width = image_->width, height = image_->height;
  std::vector<std::pair<float, Eigen::Vector2f>> projected;
  for (const Eigen::Vector3d& point : points) {
    if (!(point.z() >= kNearest_m)) continue;
    const auto pixel = camera_.Project(point);
    if (!pixel ||
        !(pixel->x() >= 0 && pixel->y() >= 0 && pixel->x() < width && pixel->y() < height)) {
      continue;
    }
    projected.emplace_back(static_cast<float>(point.z()), pixel->cast<float>());
  }
  std::sort(projected.begin(), projected.end(),
            [](const auto& a, const auto& b) { return a.first > b.first; });
  // Where points are dense, small ones leave the picture visible.
  const int size = 16 * projected.size() > static_cast<size_t>(width) * height ? 1 : 2;
  for (const auto& [depth_m, pixel] : projected) {
    const float t = (1 / depth_m - 1 / kColdest_m) / (1 / kWarmest_m - 1 / kColdest_m);
    FillRectangle(image_, static_cast<int>(pixel.x()) + 1 - size,
                  static_cast<int>(pixel.y()) + 1 - size, size, size,
                  MapColor(ColorMap::kTurbo, 0.08f + 0.85f * std::sqrt(std::max(t, 0.0f))));
  }
}

void CameraView::DrawSegment(Eigen::Vector3d a, Eigen::Vector3d b, Color color, double thickness,
                             Eigen::AlignedBox2d* bounds) {
  if (a.z() < kNear_m && b.z() < kNear_m) return;
  if (a.z() < kNear_m) std::swap(a, b);
  if (b.z() < kNear_m) b = a + (b - a) * ((a.z() - kNear_m) / (a.z() - b.z()));
  const int pieces = camera_.IsPinhole() ? 1 : 16;
  std::optional<Eigen::Vector2d> last = camera_.Project(a);
  if (last) bounds->extend(*last);
  for (int i = 1; i <= pieces; ++i) {
    const auto next = camera_.Project(a + (b - a) * (static_cast<double>(i) / pieces));
    if (next) bounds->extend(*next);
    if (last && next) {
      DrawLine(image_, last->x(), last->y(), next->x(), next->y(), color, thickness);
    }
    last = next;
  }
}

Eigen::AlignedBox2d CameraView::DrawBox(const BoxCorners& corners, Color color, double thickness) {
  Eigen::AlignedBox2d bounds;
  // Corners are numbered front/left/bottom by bits 4, 2, 1: edges join those that differ in one.
  for (int i = 0; i < 8; ++i) {
    for (const int bit : {4, 2, 1}) {
      if ((i & bit) != 0) continue;
      const bool front = (i & 4) == 0 && bit != 4;
      DrawSegment(corners[i], corners[i | bit], front ? color : Scaled(color, 0.75),
                  front ? thickness : 0.7 * thickness, &bounds);
    }
  }
  DrawSegment(0.5 * (corners[0] + corners[6]), 0.5 * (corners[0] + corners[2]), color,
              0.7 * thickness, &bounds);
  return bounds;
}

std::vector<std::vector<int>> CameraRows(std::span<const CameraPlace> cameras) {
  constexpr size_t kMaxColumns = 4;
  // Sorted by direction, in steps of 3 degrees, then place: the cameras of a stereo pair look the
  // same way.
  std::vector<std::tuple<double, double, int>> ahead, back;
  for (size_t i = 0; i < cameras.size(); ++i) {
    const Eigen::Vector3d& direction = cameras[i].direction;
    (direction.x() > -0.2 ? ahead : back)
        .emplace_back(-std::round(20 * direction.y()), -cameras[i].position.y(),
                      static_cast<int>(i));
  }
  std::vector<std::vector<int>> rows;
  for (auto* list : {&ahead, &back}) {
    std::sort(list->begin(), list->end());
    const size_t num_rows = (list->size() + kMaxColumns - 1) / kMaxColumns;
    for (size_t r = 0; r < num_rows; ++r) {
      std::vector<int>& row = rows.emplace_back();
      for (size_t i = r * list->size() / num_rows; i < (r + 1) * list->size() / num_rows; ++i) {
        row.push_back(std::get<2>((*list)[i]));
      }
    }
  }
  return rows;
}

}  // namespace athanor
