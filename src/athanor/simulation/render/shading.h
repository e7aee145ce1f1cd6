// How light meets surfaces: what the camera renderer does at a hit. Internal to render/.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <span>
#include <vector>

#include "athanor/simulation/ray_world.h"
#include "athanor/simulation/render/lighting.h"

namespace athanor {

inline constexpr float kSunReachM = 1500;  // what is farther casts no shadow

// Which lamps can reach a place: a grid over the ground plan.
class LampGrid {
 public:
  explicit LampGrid(const std::vector<Lamp>& lamps);
  // Indices of lamps, ascending.
  std::span<const uint16_t> At(const Eigen::Vector3f& position) const;

 private:
  float min_x_ = 0, min_y_ = 0, per_m_ = 0;
  int columns_ = 0, rows_ = 0;
  std::vector<uint32_t> first_;
  std::vector<uint16_t> lamps_;
};

// A place with its material resolved.
struct Surface {
  Eigen::Vector3f position, normal, geometric_normal;  // world
  Eigen::Vector3f albedo;                              // diffuse
  Eigen::Vector3f specular;                            // reflected head-on
  Eigen::Vector3f emission;
  float roughness = 1, mirror = 0;
};

// Where the light of a Lamp with a cone begins, and how fast it grows, over the angle's cosine.
struct LampCone {
  float outer_cosine, per_cosine;
};

// Light of the lamps at a place, were nothing in between, and one of them drawn by its share, for
// the shadow ray that says how much is left.
struct LampLight {
  Eigen::Vector3f diffuse = Eigen::Vector3f::Zero();   // irradiance
  Eigen::Vector3f specular = Eigen::Vector3f::Zero();  // radiance towards the eye
  Eigen::Vector3f shadow_target;                       // point on the drawn lamp
  float shadow_end = 0;  // share of the way to it that has to be free; 0: no shadow ray
};

class Shader {
 public:
  Shader(const RayWorld& world, const Lighting& lighting);

  bool has_sun() const { return has_sun_; }
  bool has_lamps() const { return !lighting_.lamps.empty(); }

  // `width_m`: size of the pixel on the surface.
  Surface SurfaceAt(const RayHit& hit, float width_m) const;
  // `to_eye` unit; `u` in [0, 1) draws the lamp, `v`, `w` the point on it.
  LampLight LampsAt(const Surface& surface, const Eigen::Vector3f& to_eye, float u, float v,
                    float w) const;
  // Sunlight that leaves towards the eye: diffuse and highlight, no shadow. Zero on the far side.
  Eigen::Vector3f SunAt(const Surface& surface, const Eigen::Vector3f& to_eye) const;
  // Where a shadow ray from the surface starts.
  static Eigen::Vector3f OffsetOrigin(const Surface& surface);

  // Irradiance of the open sky (and the far ground) on a surface.
  Eigen::Vector3f OpenSky(const Eigen::Vector3f& normal) const;
  // Casts the rays of the packet (unit directions) and gives what comes back along each. For
  // bounces emission is left out (lamps carry it) and patterns are averaged; mirrors show both.
  void Radiance16(RayHitPacket* packet, bool for_mirror, uint32_t seed,
                  Eigen::Vector3f* radiance) const;
  // Sky without clouds, quick.
  Eigen::Vector3f PlainSky(const Eigen::Vector3f& direction) const;
  // After `distance_m` of air: Koschmieder's law.
  Eigen::Vector3f ThroughAir(const Eigen::Vector3f& color, float distance_m) const;

 private:
  const RayWorld& world_;
  const Lighting& lighting_;
  LampGrid grid_;
  std::vector<LampCone> cones_;  // of each lamp
  bool has_sun_;
  Eigen::Vector3f mean_sky_;
};

// Highlight of a rough surface for light from `to_light` (GGX with an approximate geometry term,
// times the cosine), such that irradiance times it is radiance.
Eigen::Vector3f Highlight(const Eigen::Vector3f& normal, const Eigen::Vector3f& to_eye,
                          const Eigen::Vector3f& to_light, const Eigen::Vector3f& specular,
                          float roughness);

}  // namespace athanor
