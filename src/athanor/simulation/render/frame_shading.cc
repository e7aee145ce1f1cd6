#include <algorithm>
#include <cmath>
#include <utility>

#include "athanor/simulation/render/frame_renderer.h"

namespace athanor {
namespace {

using Eigen::Vector2f;
using Eigen::Vector3f;

constexpr float kMirrorMin = 0.015f;
constexpr float kFaintMirror = 0.12f;  // 2 x 2 pixels that mirror less share a ray

}  // namespace

float FrameRenderer::LampRatio(int x, int y) const {
  const Pixel& pixel = at(x, y);
  const int bx0 = std::max(x - 2, 0) / kBlock, bx1 = std::min(x + 1, width_ - 1) / kBlock;
  const int by0 = std::max(y - 2, 0) / kBlock, by1 = std::min(y + 1, height_ - 1) / kBlock;
  const float first = block_ratio_[static_cast<size_t>(by0) * block_width_ + bx0];
  if (first >= 0 && first == block_ratio_[static_cast<size_t>(by0) * block_width_ + bx1] &&
      first == block_ratio_[static_cast<size_t>(by1) * block_width_ + bx0] &&
      first == block_ratio_[static_cast<size_t>(by1) * block_width_ + bx1]) {
    return first;
  }
  float sum = 0, total = 0;
  for (int j = std::max(y - 2, 0); j <= std::min(y + 1, height_ - 1); ++j) {
    for (int i = std::max(x - 2, 0); i <= std::min(x + 1, width_ - 1); ++i) {
      const Pixel& other = at(i, j);
      if (other.depth <= 0 || !IsSameSurface(pixel, other)) continue;
      sum += other.lamp_ratio;
      total += 1;
    }
  }
  return total > 0 ? sum / total : pixel.lamp_ratio;
}

void FrameRenderer::ShadeTile(int x0, int y0, int x1, int y1) {
  int mirrors[kTile * kTile];           // pixels that cast a ray
  int mirrored[kTile * kTile];          // pixels that show one
  int ray_of_pixel[kTile * kTile];      // into `mirrors`; -1: shows none
  Vector3f reflections[kTile * kTile];  // of `mirrors`
  int borrowers[kTile * kTile];         // pixels that show the ray of another
  int num_mirrors = 0, num_mirrored = 0, num_borrowers = 0;
  std::fill_n(ray_of_pixel, kTile * kTile, -1);
  for (int y = y0; y < y1; ++y) {
    for (int x = x0; x < x1; ++x) {
      const Pixel& pixel = at(x, y);
      if (pixel.depth <= 0) {
        color(x, y) = SkyAt(rays_->at(x, y));
        continue;
      }
      const Vector3f indirect = Indirect(static_cast<float>(x) + 0.5f, static_cast<float>(y) + 0.5f,
                                         pixel.position, pixel.normal, pixel.distance);
      Vector3f light = pixel.lit + pixel.albedo.cwiseProduct(indirect);
      if (shader_.has_lamps()) {
        light += LampRatio(x, y) * pixel.lamps;
      }
      color(x, y) = light;
      if (options_.mirrors && pixel.mirror > kMirrorMin) {
        const int index = (y - y0) * kTile + x - x0;
        const int lender = index & ~(kTile | 1);  // first of its 2 x 2 pixels
        mirrored[num_mirrored++] = index;
        if (lender != index && pixel.mirror < kFaintMirror) {
          const Pixel& other = at(x0 + lender % kTile, y0 + lender / kTile);
          if (other.mirror > kMirrorMin && IsSameSurface(pixel, other)) {
            ray_of_pixel[index] = ray_of_pixel[lender];
            borrowers[num_borrowers++] = index;
            continue;
          }
        }
        ray_of_pixel[index] = num_mirrors;
        mirrors[num_mirrors++] = index;
      }
    }
  }
  const auto reflect = [&](int begin) {
    for (int first = begin; first < num_mirrors; first += kRayPacketSize) {
      RayHitPacket packet;
      Vector3f radiance[kRayPacketSize];
      const int count = std::min(kRayPacketSize, num_mirrors - first);
      for (int i = 0; i < kRayPacketSize; ++i) {
        packet.ray.Disable(i);
        if (i >= count) continue;
        const Pixel& pixel = at(x0 + mirrors[first + i] % kTile, y0 + mirrors[first + i] / kTile);
        const Vector3f ray = (pixel.position - eye_) / pixel.distance;
        Vector3f direction = ray - 2 * ray.dot(pixel.normal) * pixel.normal;
        // A smooth normal must not send the ray into the surface.
        const float into = direction.dot(pixel.geometric_normal);
        if (into < 0.01f) direction += (0.01f - into) * pixel.geometric_normal;
        direction.normalize();
        const Vector3f origin =
            pixel.position + RayWorld::StartDistance(pixel.position) * pixel.geometric_normal;
        packet.ray.Set(i, origin.data(), direction.data(), 0, options_.max_distance_m);
      }
      shader_.Radiance16(&packet, true, static_cast<uint32_t>(first), radiance);
      std::copy_n(radiance, count, reflections + first);
    }
  };
  reflect(0);
  // Where the reflections of neighbours visibly differ, each pixel casts its own after all.
  const int num_shared = num_mirrors;
  for (int i = 0; i < num_borrowers; ++i) {
    const int index = borrowers[i], x = index % kTile, y = index / kTile;
    const Vector3f& own = reflections[ray_of_pixel[index]];
    const float scale = lighting_.exposure * at(x0 + x, y0 + y).mirror;
    bool differs = false;
    for (const auto& [dx, dy] : {std::pair(-2, 0), {2, 0}, {0, -2}, {0, 2}}) {
      const int nx = (x & ~1) + dx, ny = (y & ~1) + dy;
      if (nx < 0 || ny < 0 || nx >= kTile || ny >= kTile) continue;
      const int ray = ray_of_pixel[ny * kTile + nx];
      if (ray < 0 || ray >= num_shared) continue;
      differs |= (reflections[ray] - own).cwiseAbs().maxCoeff() * scale > 0.015f;
    }
    if (differs) mirrors[num_mirrors++] = index;
  }
  reflect(num_shared);
  for (int ray = num_shared; ray < num_mirrors; ++ray) ray_of_pixel[mirrors[ray]] = ray;
  for (int i = 0; i < num_mirrored; ++i) {
    const int x = x0 + mirrored[i] % kTile, y = y0 + mirrored[i] / kTile;
    color(x, y) += at(x, y).mirror * (reflections[ray_of_pixel[mirrored[i]]] - color(x, y));
  }
  for (int y = y0; y < y1; ++y) {
    for (int x = x0; x < x1; ++x) {
      const Pixel& pixel = at(x, y);
      if (pixel.depth > 0) color(x, y) = shader_.ThroughAir(color(x, y), pixel.distance);
      color(x, y) = ToneCurve(lighting_.exposure * color(x, y));
    }
  }
}

Vector3f FrameRenderer::SkyAt(const Vector2f& direction) const {
  if (!direction.allFinite()) return Vector3f::Zero();
  const Vector3f unit = WorldDirection(direction).normalized();
  const Vector3f sky = SkyColor(lighting_, unit);
  if (lighting_.fog_extinction_per_m <= 0) return sky;
  // Fog and haze are a layer some 150 m high.
  return shader_.ThroughAir(sky, std::min(150 / std::max(unit.z(), 0.01f), 5000.f));
}

}  // namespace athanor
