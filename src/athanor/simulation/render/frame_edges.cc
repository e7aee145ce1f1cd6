#include <algorithm>
#include <cmath>
#include <utility>

#include "athanor/base/random.h"
#include "athanor/simulation/render/frame_renderer.h"

namespace athanor {
namespace {

using Eigen::Vector3f;

constexpr int kSubsamples = 4;  // of an edge pixel, on a rotated grid
constexpr float kOffsets[kSubsamples][2] = {
    {-0.125f, -0.375f}, {0.375f, -0.125f}, {0.125f, 0.375f}, {-0.375f, 0.125f}};

}  // namespace

bool FrameRenderer::Differs(const Pixel& a, const Pixel& b) const {
  if (a.instance != b.instance) return true;
  if (a.instance < 0) return false;
  return a.part != b.part || a.material != b.material || a.sun_visible != b.sun_visible ||
         !IsSameSurface(a, b);
}

void FrameRenderer::CompareColors(int x, int y, int dx, int dy, int count, bool* differs) const {
  const float* a = color(x, y).data();
  const float* b = color(x + dx, y + dy).data();
  uint32_t apart[3 * (kTile + 1)];
  for (int i = 0; i < 3 * count; ++i) {
    apart[i] = std::abs(a[i] - b[i]) > 0.03f * a[i] + 0.002f ? 1 : 0;
  }
  for (int i = 0; i < count; ++i) {
    differs[i] = (apart[3 * i] | apart[3 * i + 1] | apart[3 * i + 2]) != 0;
  }
}

void FrameRenderer::FindEdges(int x0, int y0, int x1, int y1, bool* edge) const {
  bool differs[kTile + 1];
  const int left = std::max(x0 - 1, 0), right = std::min(x1, width_ - 1);
  for (int y = y0; y < y1; ++y) {
    CompareColors(left, y, 1, 0, right - left, differs);
    for (int x = left; x < right; ++x) {
      if (!differs[x - left] || !Differs(at(x, y), at(x + 1, y))) continue;
      if (x >= x0) edge[(y - y0) * kTile + x - x0] = true;
      if (x + 1 < x1) edge[(y - y0) * kTile + x + 1 - x0] = true;
    }
  }
  for (int y = std::max(y0 - 1, 0); y < std::min(y1, height_ - 1); ++y) {
    CompareColors(x0, y, 0, 1, x1 - x0, differs);
    for (int x = x0; x < x1; ++x) {
      if (!differs[x - x0] || !Differs(at(x, y), at(x, y + 1))) continue;
      if (y >= y0) edge[(y - y0) * kTile + x - x0] = true;
      if (y + 1 < y1) edge[(y + 1 - y0) * kTile + x - x0] = true;
    }
  }
}

void FrameRenderer::FinishTile(int x0, int y0, int x1, int y1) {
  int edges[kTile * kTile];
  int num_edges = 0;
  Vector3f out[kTile * kTile];
  bool edge[kTile * kTile] = {};
  if (options_.antialias) FindEdges(x0, y0, x1, y1, edge);
  for (int y = y0; y < y1; ++y) {
    for (int x = x0; x < x1; ++x) {
      const int index = (y - y0) * kTile + x - x0;
      out[index] = color(x, y);
      if (edge[index] && rays_->at(x, y).allFinite()) edges[num_edges++] = index;
    }
  }
  for (int first = 0; first < num_edges; first += kRayPacketSize / kSubsamples) {
    Supersample(x0, y0, edges + first, std::min(kRayPacketSize / kSubsamples, num_edges - first),
                out);
  }
  for (int y = y0; y < y1; ++y) {
    for (int x = x0; x < x1; ++x) {
      EncodePixel(out[(y - y0) * kTile + x - x0], x, y);
      if (options_.truth) StoreTruth(x, y);
    }
  }
}

void FrameRenderer::Supersample(int x0, int y0, const int* pixels, int count, Vector3f* out) {
  RayHitPacket packet;
  Vector3f directions[kRayPacketSize];
  for (int i = 0; i < kRayPacketSize; ++i) {
    packet.ray.Disable(i);
    if (i / kSubsamples >= count) continue;
    const int index = pixels[i / kSubsamples];
    const float* offset = kOffsets[i % kSubsamples];
    directions[i] =
        WorldDirection(rays_->Beside(x0 + index % kTile, y0 + index / kTile, offset[0], offset[1]));
    packet.ray.Set(i, eye_.data(), directions[i].data(), 0, options_.max_distance_m);
  }
  world_.CastTogether16(&packet);
  RayHit hits[kRayPacketSize];
  RayPacket sun_rays;
  bool sun_visible[kRayPacketSize] = {};
  bool any_sun = false;
  Alike alike[kRayPacketSize];
  for (int i = 0; i < kRayPacketSize; ++i) {
    sun_rays.Disable(i);
    if (!packet.hit.IsHit(i)) continue;
    const float length = directions[i].norm();
    hits[i] = world_.Describe(packet.hit.instance[i], packet.hit.triangle[i], packet.hit.u[i],
                              packet.hit.v[i], packet.ray.far[i] * length, directions[i] / length);
    const int index = pixels[i / kSubsamples];
    alike[i] = FindAlike(x0 + index % kTile, y0 + index / kTile, kOffsets[i % kSubsamples], hits[i],
                         eye_ + packet.ray.far[i] * directions[i]);
    // Only where sun and shadow meet does it take a ray to tell them apart.
    if ((alike[i].lit != nullptr) != (alike[i].shaded != nullptr)) continue;
    if (shader_.has_sun() && hits[i].geometric_normal.dot(lighting_.to_sun) > 0 &&
        hits[i].normal.dot(lighting_.to_sun) > 0) {
      Vector3f position = eye_ + packet.ray.far[i] * directions[i];
      position += RayWorld::StartDistance(position) * hits[i].geometric_normal;
      sun_rays.Set(i, position.data(), lighting_.to_sun.data(), 0, kSunReachM);
      any_sun = true;
    }
  }
  if (any_sun) {
    world_.Occlude16(&sun_rays);
    for (int i = 0; i < kRayPacketSize; ++i) sun_visible[i] = sun_rays.far[i] > 0;
  }
  for (int k = 0; k < count; ++k) {
    const int x = x0 + pixels[k] % kTile, y = y0 + pixels[k] / kTile;
    Vector3f sum = Vector3f::Zero();
    for (int s = 0; s < kSubsamples; ++s) {
      const int i = k * kSubsamples + s;
      if (!packet.hit.IsHit(i)) {
        sum += SkyFrom(x, y, directions[i]);
        continue;
      }
      const Vector3f position = eye_ + packet.ray.far[i] * directions[i];
      const Pixel* like = sun_visible[i] ? alike[i].lit : alike[i].shaded;
      if (like == nullptr) like = sun_visible[i] ? alike[i].shaded : alike[i].lit;
      sum += like != nullptr ? colors_[static_cast<size_t>(like - pixels_.data())]
                             : ShadeAlone(x, y, hits[i], position, sun_visible[i]);
    }
    out[pixels[k]] = sum / kSubsamples;
  }
}

Vector3f FrameRenderer::SkyFrom(int x, int y, const Vector3f& direction) {
  for (const auto& [dx, dy] : {std::pair(0, 0), {-1, 0}, {1, 0}, {0, -1}, {0, 1}}) {
    const int i = x + dx, j = y + dy;
    if (i < 0 || j < 0 || i >= width_ || j >= height_) continue;
    if (at(i, j).depth <= 0 && rays_->at(i, j).allFinite()) return color(i, j);
  }
  Vector3f sky = SkyColor(lighting_, direction.normalized());
  sky = shader_.ThroughAir(sky, 150 / std::max(direction.normalized().z(), 0.03f));
  return ToneCurve(lighting_.exposure * sky);
}

Alike FrameRenderer::FindAlike(int x, int y, const float* offset, const RayHit& hit,
                               const Vector3f& position) const {
  Alike best;
  float nearest[2] = {1e9f, 1e9f};
  const float tolerance = 0.004f * hit.distance + 0.002f;
  for (int j = std::max(y - 1, 0); j <= std::min(y + 1, height_ - 1); ++j) {
    for (int i = std::max(x - 1, 0); i <= std::min(x + 1, width_ - 1); ++i) {
      const Pixel& pixel = at(i, j);
      if (pixel.instance != hit.instance || pixel.material != hit.material ||
          pixel.part != hit.part) {
        continue;
      }
      const float dx = static_cast<float>(i - x) - offset[0];
      const float dy = static_cast<float>(j - y) - offset[1];
      const float distance = dx * dx + dy * dy;
      if (distance >= nearest[pixel.sun_visible] || pixel.normal.dot(hit.normal) < 0.93f ||
          std::abs((pixel.position - position).dot(hit.geometric_normal)) > tolerance) {
        continue;
      }
      nearest[pixel.sun_visible] = distance;
      (pixel.sun_visible ? best.lit : best.shaded) = &pixel;
    }
  }
  return best;
}

Vector3f FrameRenderer::ShadeAlone(int x, int y, const RayHit& hit, const Vector3f& position,
                                   bool sun_visible) const {
  const Vector3f ray = (position - eye_) / hit.distance;
  Surface surface = shader_.SurfaceAt(hit, Footprint(hit.distance, -hit.geometric_normal.dot(ray)));
  surface.position = position;
  Vector3f light = surface.emission;
  if (sun_visible) light += shader_.SunAt(surface, -ray);
  light += surface.albedo.cwiseProduct(Indirect(static_cast<float>(x) + 0.5f,
                                                static_cast<float>(y) + 0.5f, position, hit.normal,
                                                hit.distance));
  if (shader_.has_lamps()) {
    const LampLight lamps = shader_.LampsAt(surface, -ray, 0.5f, 0, 0);
    const Vector3f origin = Shader::OffsetOrigin(surface);
    const Vector3f way = lamps.shadow_target - origin;
    if (lamps.shadow_end == 0 || !world_.Occluded(origin, way, lamps.shadow_end * way.norm())) {
      light += surface.albedo.cwiseProduct(lamps.diffuse) + lamps.specular;
    }
  }
  return ToneCurve(lighting_.exposure * shader_.ThroughAir(light, hit.distance));
}

void FrameRenderer::EncodePixel(const Vector3f& display, int x, int y) {
  uint8_t* out = view_.image.at(x, y);
  Vector3f value = display;
  for (int c = 0; c < 3; ++c) out[c] = EncodeSrgb(value[c]);
  if (noise_.any()) {
    noise_.Add(MixBits(options_.seed) + static_cast<uint64_t>(y) * width_ + x, out);
  }
}

void FrameRenderer::StoreTruth(int x, int y) {
  const Pixel& pixel = at(x, y);
  if (pixel.depth <= 0) return;
  *view_.depth_m.at(x, y) = pixel.depth;
  *view_.object.at(x, y) = world_.instances()[pixel.instance].object;
  *view_.instance.at(x, y) = pixel.instance;
  *view_.part.at(x, y) = pixel.part;
  *view_.material.at(x, y) = pixel.material;
  int8_t* normal = view_.normal.at(x, y);
  for (int c = 0; c < 3; ++c) {
    normal[c] = static_cast<int8_t>(std::lround(127 * std::clamp(pixel.normal[c], -1.f, 1.f)));
  }
}

}  // namespace athanor
