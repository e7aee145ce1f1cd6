#include <algorithm>
#include <cmath>

#include "athanor/simulation/render/frame_renderer.h"

namespace athanor {
namespace {

using Eigen::Vector3f;

}  // namespace

void FrameRenderer::MakeGatherDirections() {
  const int n = (options_.gather_rays + kRayPacketSize - 1) / kRayPacketSize * kRayPacketSize;
  for (int copy = 0; copy < 4; ++copy) {
    for (int i = 0; i < n; ++i) {
      const int k = 4 * i + copy;  // all copies together are one even set
      const float u = (static_cast<float>(k) + 0.5f) / static_cast<float>(4 * n);
      const float turns = static_cast<float>(k) * 0.6180339887f;
      const float angle = 6.2831853f * (turns - std::floor(turns));
      const float r = std::sqrt(u);
      gather_directions_[copy].push_back(
          {r * std::cos(angle), r * std::sin(angle), std::sqrt(1 - u)});
    }
  }
}

void FrameRenderer::GatherRow(int row) {
  for (int column = 0; column < gather_width_; ++column) {
    const int x = std::min(column * kGather + kGather / 2, width_ - 1);
    const int y = std::min(row * kGather + kGather / 2, height_ - 1);
    const Pixel& pixel = at(x, y);
    if (pixel.depth <= 0) continue;
    GatherPoint& point = gathered_[static_cast<size_t>(row) * gather_width_ + column];
    point.position = pixel.position;
    point.normal = pixel.normal;
    point.valid = true;
    point.light = Gather(pixel, (row & 1) * 2 + (column & 1),
                         static_cast<uint32_t>(row * gather_width_ + column));
  }
}

Vector3f FrameRenderer::Gather(const Pixel& pixel, int copy, uint32_t seed) const {
  const Vector3f& z = pixel.normal;
  const Vector3f other = std::abs(z.z()) < 0.8f ? Vector3f::UnitZ() : Vector3f::UnitX();
  const Vector3f x = z.cross(other).normalized(), y = z.cross(x);
  const Vector3f origin =
      pixel.position + RayWorld::StartDistance(pixel.position) * pixel.geometric_normal;
  const std::vector<Vector3f>& directions = gather_directions_[copy];
  Vector3f sum = Vector3f::Zero();
  RayHitPacket packet;
  Vector3f radiance[kRayPacketSize];
  for (size_t first = 0; first < directions.size(); first += kRayPacketSize) {
    for (int i = 0; i < kRayPacketSize; ++i) {
      const Vector3f& d = directions[first + i];
      const Vector3f direction = d.x() * x + d.y() * y + d.z() * z;
      packet.ray.Set(i, origin.data(), direction.data(), 0, options_.max_distance_m);
    }
    shader_.Radiance16(&packet, false, seed * 8 + static_cast<uint32_t>(first), radiance);
    for (const Vector3f& r : radiance) sum += r;
  }
  return sum / static_cast<float>(directions.size()) + lighting_.ambient;
}

void FrameRenderer::SmoothRow(int row) {
  for (int column = 0; column < gather_width_; ++column) {
    const size_t index = static_cast<size_t>(row) * gather_width_ + column;
    const GatherPoint& center = gathered_[index];
    if (!center.valid) continue;
    const float size = (center.position - eye_).norm() * rays_->pixel_angle_rad * kGather;
    Vector3f sum = Vector3f::Zero();
    float total = 0;
    for (int dy = -2; dy <= 2; ++dy) {
      for (int dx = -2; dx <= 2; ++dx) {
        const int gx = column + dx, gy = row + dy;
        if (gx < 0 || gy < 0 || gx >= gather_width_ || gy >= gather_height_) continue;
        const GatherPoint& point = gathered_[static_cast<size_t>(gy) * gather_width_ + gx];
        if (!point.valid || point.normal.dot(center.normal) < 0.8f) continue;
        const float off = (point.position - center.position).dot(center.normal);
        if (std::abs(off) > 0.5f * size + 0.01f) continue;
        constexpr float kTent[5] = {1, 2, 2, 2, 1};
        const float weight = kTent[dx + 2] * kTent[dy + 2];
        sum += weight * point.light;
        total += weight;
      }
    }
    smoothed_[index].light = sum / total;
  }
}

Vector3f FrameRenderer::Indirect(float px, float py, const Vector3f& position,
                                 const Vector3f& normal, float distance) const {
  if (!options_.indirect) return lighting_.ambient + shader_.OpenSky(normal);
  const float gx = px / kGather - 0.5f, gy = py / kGather - 0.5f;
  const int x0 = static_cast<int>(std::floor(gx)), y0 = static_cast<int>(std::floor(gy));
  const float scale = 1 / (0.25f * distance * rays_->pixel_angle_rad * kGather + 0.01f);
  Vector3f sum = Vector3f::Zero();
  float total = 0;
  const auto add = [&](int x, int y, float weight) {
    if (x < 0 || y < 0 || x >= gather_width_ || y >= gather_height_) return;
    const GatherPoint& point = smoothed_[static_cast<size_t>(y) * gather_width_ + x];
    if (!point.valid) return;
    const float cosine = point.normal.dot(normal);
    if (cosine < 0.5f) return;
    const float off = (point.position - position).dot(normal) * scale;
    const float squared = cosine * cosine;
    weight *= squared * squared / (1 + off * off * off * off);
    sum += weight * point.light;
    total += weight;
  };
  const float fx = gx - static_cast<float>(x0), fy = gy - static_cast<float>(y0);
  add(x0, y0, (1 - fx) * (1 - fy) + 1e-3f);
  add(x0 + 1, y0, fx * (1 - fy) + 1e-3f);
  add(x0, y0 + 1, (1 - fx) * fy + 1e-3f);
  add(x0 + 1, y0 + 1, fx * fy + 1e-3f);
  if (total < 0.02f) {
    for (int y = y0 - 2; y <= y0 + 3; ++y) {
      for (int x = x0 - 2; x <= x0 + 3; ++x) add(x, y, 0.1f);
    }
  }
  if (total > 1e-3f) return sum / total;
  // A surface too narrow for points of its own: what those close by get, whichever way they face.
  const float per_m2 = scale * scale / 16;
  for (int y = y0 - 1; y <= y0 + 2; ++y) {
    for (int x = x0 - 1; x <= x0 + 2; ++x) {
      if (x < 0 || y < 0 || x >= gather_width_ || y >= gather_height_) continue;
      const GatherPoint& point = smoothed_[static_cast<size_t>(y) * gather_width_ + x];
      if (!point.valid) continue;
      const float squared = (point.position - position).squaredNorm() * per_m2;
      const float weight =
          (0.05f + std::max(point.normal.dot(normal), 0.f)) / (1 + squared * squared);
      sum += weight * point.light;
      total += weight;
    }
  }
  if (total > 1e-3f) return sum / total;
  return lighting_.ambient + lighting_.sky_share_of_bounces * shader_.OpenSky(normal);
}

}  // namespace athanor
