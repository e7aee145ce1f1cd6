#include "athanor/simulation/render/shading.h"

#include <algorithm>
#include <cmath>

#include "athanor/base/random.h"
#include "athanor/simulation/render/patterns.h"

namespace athanor {
namespace {

using Eigen::Vector3f;
using Pattern = SurfaceMaterial::Pattern;

constexpr int kMaxGridCells = 256;       // along each axis
constexpr size_t kMaxLampsAtOnce = 48;   // that one place counts; the first of the list
constexpr float kMattRoughness = 0.75f;  // highlights of rougher surfaces are not seen

float Luminance(const Vector3f& c) { return 0.2126f * c.x() + 0.7152f * c.y() + 0.0722f * c.z(); }

// Strength of the lamp at a place, without the cosine at the surface.
float LampStrength(const Lamp& lamp, const LampCone& cone, const Vector3f& to_lamp, float squared,
                   float distance) {
  const float reach = squared / (lamp.range_m * lamp.range_m);
  if (reach >= 1) return 0;
  float fade = 1 - reach * reach;
  fade *= fade;
  float strength = lamp.strength * fade / (squared + lamp.radius_m * lamp.radius_m);
  if (lamp.is_panel || lamp.outer_angle_rad < 3.1f) {
    const float cosine = -lamp.direction.dot(to_lamp) / distance;
    if (lamp.is_panel) strength *= std::max(cosine, 0.f);
    if (lamp.outer_angle_rad < 3.1f) {
      const float t = std::clamp((cosine - cone.outer_cosine) * cone.per_cosine, 0.f, 1.f);
      strength *= t * t * (3 - 2 * t);
    }
  }
  return strength;
}

}  // namespace

LampGrid::LampGrid(const std::vector<Lamp>& lamps) {
  if (lamps.empty()) return;
  float max_x = -1e30f, max_y = -1e30f;
  min_x_ = min_y_ = 1e30f;
  for (const Lamp& lamp : lamps) {
    min_x_ = std::min(min_x_, lamp.position_m.x() - lamp.range_m);
    min_y_ = std::min(min_y_, lamp.position_m.y() - lamp.range_m);
    max_x = std::max(max_x, lamp.position_m.x() + lamp.range_m);
    max_y = std::max(max_y, lamp.position_m.y() + lamp.range_m);
  }
  const float extent = std::max({max_x - min_x_, max_y - min_y_, 1e-3f});
  const float cell = std::max(4.f, extent / kMaxGridCells);
  per_m_ = 1 / cell;
  columns_ = static_cast<int>((max_x - min_x_) * per_m_) + 1;
  rows_ = static_cast<int>((max_y - min_y_) * per_m_) + 1;
  std::vector<std::vector<uint16_t>> cells(static_cast<size_t>(columns_) * rows_);
  for (size_t i = 0; i < lamps.size(); ++i) {
    const Lamp& lamp = lamps[i];
    const auto index = [&](float value, float low, int count) {
      return std::clamp(static_cast<int>((value - low) * per_m_), 0, count - 1);
    };
    const float x = lamp.position_m.x(), y = lamp.position_m.y(), r = lamp.range_m;
    for (int row = index(y - r, min_y_, rows_); row <= index(y + r, min_y_, rows_); ++row) {
      for (int c = index(x - r, min_x_, columns_); c <= index(x + r, min_x_, columns_); ++c) {
        cells[static_cast<size_t>(row) * columns_ + c].push_back(static_cast<uint16_t>(i));
      }
    }
  }
  first_.push_back(0);
  for (const auto& list : cells) {
    lamps_.insert(lamps_.end(), list.begin(), list.end());
    first_.push_back(static_cast<uint32_t>(lamps_.size()));
  }
}

std::span<const uint16_t> LampGrid::At(const Vector3f& position) const {
  const float x = (position.x() - min_x_) * per_m_, y = (position.y() - min_y_) * per_m_;
  if (!(x >= 0 && y >= 0 && x < static_cast<float>(columns_) && y < static_cast<float>(rows_))) {
    return {};
  }
  const size_t cell = static_cast<size_t>(y) * columns_ + static_cast<size_t>(x);
  return {lamps_.data() + first_[cell], first_[cell + 1] - first_[cell]};
}

Vector3f Highlight(const Vector3f& normal, const Vector3f& to_eye, const Vector3f& to_light,
                   const Vector3f& specular, float roughness) {
  const float n_l = normal.dot(to_light);
  if (n_l <= 0) return Vector3f::Zero();
  const Vector3f half = (to_eye + to_light).normalized();
  const float n_h = std::max(normal.dot(half), 0.f), l_h = std::max(to_light.dot(half), 0.05f);
  const float a = std::max(roughness * roughness, 0.02f), a2 = a * a;
  const float d = (n_h * a2 - n_h) * n_h + 1;
  const float ggx = a2 / (d * d);
  const float visibility = 0.25f / std::max(l_h * l_h * (roughness + 0.5f), 0.02f);
  const float away = 1 - l_h, away2 = away * away;
  const float grazing = away2 * away2 * away;
  return (specular + grazing * (Vector3f::Ones() - specular)) *
         std::min(ggx * visibility * n_l, 30.f);
}

Shader::Shader(const RayWorld& world, const Lighting& lighting)
    : world_(world),
      lighting_(lighting),
      grid_(lighting.lamps),
      has_sun_(lighting.sun_color.maxCoeff() > 0 && lighting.to_sun.z() > 0) {
  // Mean of the gradient over the hemisphere, weighted by the cosine: the integral of
  // 2 z exp(-4 z).
  const float horizon_share = 2 * (1 - 5 * std::exp(-4.f)) / 16;
  const Vector3f clear =
      lighting.zenith_color + horizon_share * (lighting.horizon_color - lighting.zenith_color);
  for (const Lamp& lamp : lighting.lamps) {
    const float outer = std::cos(lamp.outer_angle_rad);
    const float inner = std::cos(std::min(lamp.inner_angle_rad, 3.1f));
    cones_.push_back({outer, 1 / std::max(inner - outer, 1e-3f)});
  }
  mean_sky_ = clear + 0.6f * lighting.cloud_cover * (lighting.horizon_color - clear);
}

Vector3f Shader::OpenSky(const Vector3f& normal) const {
  const float up = 0.5f + 0.5f * normal.z();
  return up * mean_sky_ + (1 - up) * lighting_.ground_color;
}

Vector3f Shader::PlainSky(const Vector3f& direction) const {
  if (direction.z() < 0) return lighting_.ground_color;
  const float t = 1 - std::exp(-4 * direction.z());
  const Vector3f clear =
      lighting_.horizon_color + t * (lighting_.zenith_color - lighting_.horizon_color);
  return clear + 0.6f * lighting_.cloud_cover * (lighting_.horizon_color - clear);
}

Vector3f Shader::ThroughAir(const Vector3f& color, float distance_m) const {
  if (lighting_.fog_extinction_per_m <= 0) return color;
  const float left = std::exp(-lighting_.fog_extinction_per_m * distance_m);
  return left * color + (1 - left) * lighting_.airlight_color;
}

Surface Shader::SurfaceAt(const RayHit& hit, float width_m) const {
  const MeshInstance& instance = world_.instances()[hit.instance];
  const SurfaceMaterial& material = world_.mesh(instance.mesh).materials[hit.material];
  const bool painted = hit.material == 0 && instance.paint.x() >= 0;
  const Vector3f& base = painted ? instance.paint : material.color;
  const PatternSample sample =
      EvaluatePattern(material, base, hit.position, hit.uv, width_m, lighting_.lit_windows,
                      static_cast<uint32_t>(instance.object));
  Surface surface;
  surface.normal = hit.normal;
  surface.geometric_normal = hit.geometric_normal;
  surface.roughness = material.roughness;
  surface.mirror = std::min(1.f, material.mirror + sample.mirror);
  surface.albedo = (1 - material.metallic) * sample.color;
  surface.specular =
      Vector3f::Constant(0.04f * (1 - material.metallic)) + material.metallic * sample.color;
  surface.emission = (material.emission + sample.emission) * sample.color;
  if (lighting_.wetness > 0 && hit.normal.z() > 0.6f && material.mirror == 0) {
    // Water fills the pores: darker, and in puddles it shines. World coordinates would be needed
    // for moving things, but those are seldom flat.
    const float puddle = std::clamp(
        (Noise(0.12f * hit.position, 0.12f * width_m) - 0.42f) * 6 * lighting_.wetness, 0.f, 1.f);
    surface.albedo *= 1 - lighting_.wetness * (0.35f + 0.25f * puddle);
    surface.roughness = surface.roughness +
                        (0.12f - surface.roughness) * (0.5f * lighting_.wetness + 0.5f * puddle);
    surface.mirror = 0.04f * lighting_.wetness + 0.10f * puddle;
  }
  return surface;
}

Vector3f Shader::OffsetOrigin(const Surface& surface) {
  return surface.position + RayWorld::StartDistance(surface.position) * surface.geometric_normal;
}

Vector3f Shader::SunAt(const Surface& surface, const Vector3f& to_eye) const {
  const float cosine = surface.normal.dot(lighting_.to_sun);
  if (!has_sun_ || cosine <= 0) return Vector3f::Zero();
  Vector3f light = cosine * surface.albedo;
  if (surface.roughness < kMattRoughness) {
    light +=
        Highlight(surface.normal, to_eye, lighting_.to_sun, surface.specular, surface.roughness);
  }
  return light.cwiseProduct(lighting_.sun_color);
}

LampLight Shader::LampsAt(const Surface& surface, const Vector3f& to_eye, float u, float v,
                          float w) const {
  LampLight light;
  const std::span<const uint16_t> candidates = grid_.At(surface.position);
  float share[kMaxLampsAtOnce];
  float total = 0;
  const size_t count = std::min(candidates.size(), kMaxLampsAtOnce);
  for (size_t i = 0; i < count; ++i) {
    const Lamp& lamp = lighting_.lamps[candidates[i]];
    share[i] = 0;
    const Vector3f to_lamp = lamp.position_m - surface.position;
    const float along = surface.normal.dot(to_lamp);
    if (along <= 0) continue;
    const float squared = to_lamp.squaredNorm();
    const float distance = std::sqrt(squared);
    const float strength = LampStrength(lamp, cones_[candidates[i]], to_lamp, squared, distance);
    if (strength <= 1e-5f) continue;
    const Vector3f irradiance = strength * lamp.color;
    const float cosine = along / distance;
    light.diffuse += cosine * irradiance;
    if (surface.roughness < kMattRoughness) {
      light.specular +=
          Highlight(surface.normal, to_eye, to_lamp / distance, surface.specular,
                    std::min(1.f, surface.roughness + 0.3f * lamp.radius_m / distance))
              .cwiseProduct(irradiance);
    }
    share[i] = cosine * Luminance(irradiance);
    total += share[i];
  }
  if (!(total > 0)) return light;
  // A lamp in proportion to its share: the shadow then is the share of drawn lamps that are seen.
  float left = u * total;
  size_t drawn = count;
  for (size_t i = 0; i < count; ++i) {
    if (share[i] <= 0) continue;
    drawn = i;
    left -= share[i];
    if (left < 0) break;
  }
  const Lamp& lamp = lighting_.lamps[candidates[drawn]];
  if (!lamp.casts_shadow) return light;
  const Vector3f to_lamp = lamp.position_m - surface.position;
  const float distance = to_lamp.norm();
  // A disc that faces the surface.
  const Vector3f axis = to_lamp / distance;
  const Vector3f other = std::abs(axis.z()) < 0.8f ? Vector3f::UnitZ() : Vector3f::UnitX();
  const Vector3f side = axis.cross(other).normalized(), up = axis.cross(side);
  const float radius = lamp.radius_m * std::sqrt(v), angle = 6.2831853f * w;
  light.shadow_target = lamp.position_m + radius * (std::cos(angle) * side + std::sin(angle) * up);
  light.shadow_end = std::max(0.01f, 1 - lamp.clearance_m / distance);
  return light;
}

void Shader::Radiance16(RayHitPacket* packet, bool for_mirror, uint32_t seed,
                        Vector3f* radiance) const {
  world_.Cast16(packet);
  RayPacket sun_rays, lamp_rays;
  Surface surfaces[kRayPacketSize];
  Vector3f sun[kRayPacketSize];
  LampLight lamps[kRayPacketSize];
  bool any_sun = false, any_lamp = false;
  const RayPacket& ray = packet->ray;
  for (int i = 0; i < kRayPacketSize; ++i) {
    sun_rays.Disable(i);
    lamp_rays.Disable(i);
    radiance[i] = sun[i] = Vector3f::Zero();
    const bool cast = ray.far[i] >= ray.near[i];
    const Vector3f direction(ray.direction_x[i], ray.direction_y[i], ray.direction_z[i]);
    if (!packet->hit.IsHit(i)) {
      if (cast) radiance[i] = for_mirror ? SkyColor(lighting_, direction) : PlainSky(direction);
      continue;
    }
    const RayHit hit = world_.Describe(packet->hit.instance[i], packet->hit.triangle[i],
                                       packet->hit.u[i], packet->hit.v[i], ray.far[i], direction);
    Surface& surface = surfaces[i];
    // Bounces see patterns from afar, as their mean.
    surface = SurfaceAt(hit, for_mirror ? 0.01f * hit.distance : 10);
    // And matt: the few rays of a gathering point would turn highlights into spots.
    if (!for_mirror) surface.roughness = 1;
    surface.position =
        Vector3f(ray.origin_x[i], ray.origin_y[i], ray.origin_z[i]) + hit.distance * direction;
    const Vector3f origin = OffsetOrigin(surface);
    if (has_sun_ && surface.geometric_normal.dot(lighting_.to_sun) > 0) {
      sun[i] = SunAt(surface, -direction);
      if (!sun[i].isZero()) {
        sun_rays.Set(i, origin.data(), lighting_.to_sun.data(), 0, kSunReachM);
        any_sun = true;
      }
    }
    if (has_lamps()) {
      const uint64_t bits = MixBits(seed * 16ull + i);
      lamps[i] = LampsAt(surface, -direction, static_cast<float>(bits & 0xffff) * 0x1p-16f, 0.5f,
                         static_cast<float>(bits >> 16 & 0xffff) * 0x1p-16f);
      if (lamps[i].shadow_end > 0) {
        const Vector3f way = lamps[i].shadow_target - origin;
        lamp_rays.Set(i, origin.data(), way.data(), 0, lamps[i].shadow_end);
        any_lamp = true;
      }
    }
    radiance[i] = surface.albedo.cwiseProduct(lighting_.ambient + lighting_.sky_share_of_bounces *
                                                                      OpenSky(surface.normal));
    if (for_mirror) radiance[i] += surface.emission;
  }
  if (any_sun) world_.Occlude16(&sun_rays);
  if (any_lamp) world_.Occlude16(&lamp_rays);
  for (int i = 0; i < kRayPacketSize; ++i) {
    if (!packet->hit.IsHit(i)) continue;
    if (sun_rays.far[i] > 0) radiance[i] += sun[i];
    if (lamps[i].shadow_end == 0 || lamp_rays.far[i] > 0) {
      radiance[i] += surfaces[i].albedo.cwiseProduct(lamps[i].diffuse);
      if (for_mirror) radiance[i] += lamps[i].specular;
    }
    radiance[i] = ThroughAir(radiance[i], ray.far[i]);
  }
}

}  // namespace athanor
