#include "athanor/simulation/render/lighting.h"

#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/simulation/render/patterns.h"

namespace athanor {
namespace {

using Eigen::Vector3f;

Vector3f DirectionOf(float azimuth_rad, float elevation_rad) {
  return {std::cos(elevation_rad) * std::cos(azimuth_rad),
          std::cos(elevation_rad) * std::sin(azimuth_rad), std::sin(elevation_rad)};
}

}  // namespace

Lighting DayLighting(float sun_azimuth_rad, float sun_elevation_rad, float cloud_cover) {
  Lighting lighting;
  lighting.to_sun = DirectionOf(sun_azimuth_rad, sun_elevation_rad);
  // The lower, the longer the way through air, which takes the blue away.
  const float air = 1 / std::max(0.08f, std::sin(std::max(sun_elevation_rad, 0.f)));
  const Vector3f depth(0.05f, 0.11f, 0.22f);
  for (int c = 0; c < 3; ++c) lighting.sun_color[c] = 1.25f * std::exp(-depth[c] * (air - 0.7f));
  lighting.cloud_cover = cloud_cover;
  lighting.exposure = 1.0f;
  return lighting;
}

Lighting OvercastLighting() {
  Lighting lighting;
  lighting.to_sun = DirectionOf(0.8f, 1.0f);
  lighting.sun_color = Vector3f(0.10f, 0.10f, 0.10f);
  lighting.zenith_color = Vector3f(0.62f, 0.66f, 0.70f);
  lighting.horizon_color = Vector3f(0.72f, 0.75f, 0.78f);
  lighting.cloud_cover = 1;
  lighting.exposure = 1.1f;
  return lighting;
}

Lighting DuskLighting(float sun_azimuth_rad) {
  Lighting lighting;
  lighting.to_sun = DirectionOf(sun_azimuth_rad, 0.06f);
  lighting.sun_color = Vector3f(0.30f, 0.13f, 0.05f);
  lighting.zenith_color = Vector3f(0.07f, 0.10f, 0.22f);
  lighting.horizon_color = Vector3f(0.55f, 0.30f, 0.20f);
  lighting.ground_color = Vector3f(0.06f, 0.05f, 0.05f);
  lighting.ambient = Vector3f::Constant(0.01f);
  lighting.lit_windows = 0.25f;
  lighting.exposure = 1.8f;
  return lighting;
}

Lighting NightLighting() {
  Lighting lighting;
  lighting.sun_color = Vector3f::Zero();
  lighting.zenith_color = Vector3f(0.004f, 0.006f, 0.014f);
  lighting.horizon_color = Vector3f(0.020f, 0.018f, 0.020f);
  lighting.ground_color = Vector3f(0.008f, 0.008f, 0.008f);
  lighting.ambient = Vector3f(0.003f, 0.003f, 0.004f);
  lighting.airlight_color = Vector3f(0.03f, 0.03f, 0.035f);
  lighting.cloud_cover = 0.2f;
  lighting.lit_windows = 0.35f;
  lighting.exposure = 2.2f;
  return lighting;
}

Lighting IndoorLighting() {
  Lighting lighting;
  lighting.sun_color = Vector3f::Zero();
  lighting.zenith_color = lighting.horizon_color = Vector3f(0.75f, 0.85f, 1.0f);
  lighting.ground_color = Vector3f(0.35f, 0.36f, 0.32f);
  lighting.cloud_cover = 0;
  lighting.ambient = Vector3f(0.05f, 0.05f, 0.05f);
  lighting.sky_share_of_bounces = 0;
  return lighting;
}

void AddFog(Lighting* lighting, float visibility_m) {
  ATHANOR_CHECK(visibility_m > 0, "fog: expected a visibility above 0 m, found ", visibility_m);
  // Koschmieder: contrast falls to 5 % at the visibility.
  lighting->fog_extinction_per_m += 3.0f / visibility_m;
  lighting->airlight_color =
      0.5f * (lighting->horizon_color + Vector3f::Constant(lighting->horizon_color.mean()));
  // What hides the distance hides the sun, too.
  const float left = std::exp(-150 / visibility_m);
  const Vector3f lost = lighting->sun_color * (1 - left) * 0.35f;
  lighting->sun_color *= left;
  lighting->zenith_color = left * lighting->zenith_color + (1 - left) * lighting->airlight_color;
  lighting->ambient += 0.1f * lost;
}

void AddRain(Lighting* lighting, float rain_mm_per_h) {
  ATHANOR_CHECK(rain_mm_per_h >= 0 && rain_mm_per_h <= 200, "rain: expected 0 to 200 mm/h, found ",
                rain_mm_per_h);
  lighting->rain_mm_per_h += rain_mm_per_h;
  lighting->wetness = std::min(1.f, 0.5f + 0.08f * rain_mm_per_h);
  // Extinction of rain grows with the 0.63rd power of its rate (Atlas 1953), in 1/km.
  lighting->fog_extinction_per_m += 0.365e-3f * std::pow(rain_mm_per_h, 0.63f);
  const float grey = lighting->horizon_color.mean();
  lighting->sun_color *= 0.1f;
  lighting->horizon_color = Vector3f::Constant(0.8f * grey);
  lighting->zenith_color = Vector3f::Constant(0.7f * grey);
  lighting->airlight_color = Vector3f::Constant(0.75f * grey);
  lighting->cloud_cover = 1;
}

Vector3f SkyColor(const Lighting& lighting, const Vector3f& direction) {
  const float up = direction.z();
  if (up < 0) {
    const float t = std::clamp(-8 * up, 0.f, 1.f);
    return lighting.horizon_color + t * (lighting.ground_color - lighting.horizon_color);
  }
  // Most of the gradient lies near the horizon.
  const float t = 1 - std::exp(-4 * up);
  Vector3f color = lighting.horizon_color + t * (lighting.zenith_color - lighting.horizon_color);
  const float toward = direction.dot(lighting.to_sun);
  if (toward > 0) {
    const float glow = toward * toward * toward * toward;
    const float glare = glow * glow * glow * glow;
    color += lighting.sun_color * (0.06f * glow + 0.25f * glare * glare);
  }
  if (lighting.cloud_cover > 0 && up > 0.02f) {
    // A flat layer: far clouds crowd together.
    const Vector3f at(direction.x() / (up + 0.12f), direction.y() / (up + 0.12f),
                      static_cast<float>(lighting.cloud_seed % 64) * 0.37f);
    const float cloud = 0.65f * Noise(0.7f * at, 0) + 0.35f * Noise(2.1f * at, 0.1f);
    const float edge = 0.85f - 0.6f * lighting.cloud_cover;
    const float cover = std::clamp((cloud - edge) / 0.25f, 0.f, 1.f) * std::min(1.f, 8 * up);
    const Vector3f white = 0.75f * lighting.horizon_color + 0.3f * lighting.sun_color +
                           Vector3f::Constant(0.15f * lighting.horizon_color.mean());
    color += cover * (1.15f - 0.4f * cloud) * (white - color);
  }
  return color;
}

}  // namespace athanor
