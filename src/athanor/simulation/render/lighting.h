// Light and weather of a simulated world. Colours are linear; strengths are such that a white matt
// surface in full light of strength 1 shows as 1 (no division by pi anywhere).
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

namespace athanor {

// A light at a place. Its irradiance at distance d is color * strength / d^2.
struct Lamp {
  Eigen::Vector3f position_m = Eigen::Vector3f::Zero();  // world
  Eigen::Vector3f color = Eigen::Vector3f::Ones();
  float strength = 1;      // at 1 m, head-on
  float radius_m = 0.05f;  // size of what shines: soft shadows
  // Cone in which it shines: full inside the inner angle, nothing outside the outer one. An outer
  // angle of pi or more shines everywhere.
  Eigen::Vector3f direction = -Eigen::Vector3f::UnitZ();
  float inner_angle_rad = 4;
  float outer_angle_rad = 4;
  // True: a flat panel, whose light falls off with the cosine to `direction`.
  bool is_panel = false;
  // Beyond this distance the light ends (smoothly). Keep it small where there are many lamps.
  float range_m = 20;
  // Shadow rays end this far before the lamp, past its own shade and bulb.
  float clearance_m = 0.1f;
  bool casts_shadow = true;
};

struct Lighting {
  // Direction towards the sun, world, unit; colour zero for none (night, indoors).
  Eigen::Vector3f to_sun = Eigen::Vector3f(0.4f, 0.3f, 0.85f);
  Eigen::Vector3f sun_color = Eigen::Vector3f(1.0f, 0.95f, 0.85f);

  // Sky: gradient from the horizon to the zenith, and what lies below the horizon (ground far
  // away).
  Eigen::Vector3f zenith_color = Eigen::Vector3f(0.22f, 0.38f, 0.72f);
  Eigen::Vector3f horizon_color = Eigen::Vector3f(0.70f, 0.80f, 0.92f);
  Eigen::Vector3f ground_color = Eigen::Vector3f(0.25f, 0.24f, 0.22f);
  float cloud_cover = 0.3f;  // 0..1
  uint32_t cloud_seed = 1;

  std::vector<Lamp> lamps;
  // Light that comes from everywhere however deep inside: what more bounces would bring.
  Eigen::Vector3f ambient = Eigen::Vector3f::Constant(0.02f);
  // Share of the open sky's light that surfaces get which are seen only in mirrors or by bounces.
  float sky_share_of_bounces = 0.5f;
  // Strength of what shines by itself at night: SurfaceMaterial::Pattern::kWindows lights this
  // share of its panes.
  float lit_windows = 0;

  // Weather. Fog: light left after d metres is exp(-extinction d), the rest is airlight
  // (Koschmieder 1924). Visibility in metres is about 3 / extinction.
  float fog_extinction_per_m = 0;
  Eigen::Vector3f airlight_color = Eigen::Vector3f(0.75f, 0.78f, 0.80f);
  float rain_mm_per_h = 0;  // 1 drizzle, 5 rain, 25 downpour: streaks and haze
  float wetness = 0;        // 0..1: dark and glossy ground

  // How the camera sees it: pixel value = tone curve(exposure x light).
  float exposure = 1;
};

// Presets. The sun's azimuth counts from +x counter-clockwise.
Lighting DayLighting(float sun_azimuth_rad, float sun_elevation_rad, float cloud_cover = 0.3f);
Lighting OvercastLighting();
Lighting DuskLighting(float sun_azimuth_rad);
Lighting NightLighting();
// No sun, no sky: lamps only.
Lighting IndoorLighting();
// Changes of weather on top.
void AddFog(Lighting* lighting, float visibility_m);
void AddRain(Lighting* lighting, float rain_mm_per_h);

// Light of the sky in a unit direction (world, z up), without the sun's disc.
Eigen::Vector3f SkyColor(const Lighting& lighting, const Eigen::Vector3f& direction);

}  // namespace athanor
