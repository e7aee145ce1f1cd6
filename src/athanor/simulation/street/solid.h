// Closed solids put together into one mesh: the shapes that vehicles, people and animals are made
// of. Every primitive is a closed surface of its own, outward faces counter-clockwise; solids may
// run into one another.
#pragma once

#include <Eigen/Core>
#include <functional>
#include <string_view>
#include <vector>

#include "athanor/simulation/mesh.h"

namespace athanor {

// Collects primitives. Not thread-safe; one per mesh.
class SolidBuilder {
 public:
  using Ring = std::vector<Eigen::Vector3f>;

  // Index of a new material. The first one added is the one that MeshInstance::paint replaces.
  uint16_t AddMaterial(const SurfaceMaterial& material);
  // Primitives from now on have this material and belong to the part of this name.
  void Use(uint16_t material, std::string_view part);

  // `size` along x, y, z, turned by `yaw_rad` about z through its middle.
  void Box(const Eigen::Vector3f& center, const Eigen::Vector3f& size, float yaw_rad = 0);
  // Cone frustum from `a` to `b` with flat ends; a radius may be 0 at one end only.
  void Tube(const Eigen::Vector3f& a, const Eigen::Vector3f& b, float radius_a, float radius_b,
            int segments = 10);
  // A tube with round ends: limbs.
  void Limb(const Eigen::Vector3f& a, const Eigen::Vector3f& b, float radius_a, float radius_b,
            int segments = 8);
  // Half axes along x, y, z; `pitch_rad` turns about y (nose down when positive).
  void Ellipsoid(const Eigen::Vector3f& center, const Eigen::Vector3f& half_axes, int rings = 6,
                 int segments = 10, float pitch_rad = 0);
  // A wheel's tyre: a ring about the axis y through `center`.
  void Torus(const Eigen::Vector3f& center, float radius, float tube_radius, int segments = 16,
             int tube_segments = 6);
  // Skin over rings of equally many points, closed with flat ends; each ring runs counter-clockwise
  // seen from beyond the last ring. `material_of`, when given, chooses the material of the quad
  // between ring r and r + 1, points p and p + 1.
  void Loft(const std::vector<Ring>& rings,
            const std::function<uint16_t(int r, int p)>& material_of = nullptr);
  // The outline in the x-z plane (clockwise in x-z seen from -y, that is counter-clockwise as x to
  // the right and z up are drawn), drawn out from y0 to y1. The outline must be star-shaped about
  // its mean.
  void Extrude(const std::vector<Eigen::Vector2f>& outline_xz, float y0, float y1);
  // All of another builder's mesh, moved by `offset` after turning by `yaw_rad`; materials are
  // taken over.
  void Append(const SolidBuilder& other, const Eigen::Vector3f& offset, float yaw_rad = 0);

  // Smallest and largest corner of what was added.
  void Bounds(Eigen::Vector3f* low, Eigen::Vector3f* high) const;
  // x -> x * scale + offset per axis, on everything so far.
  void Transform(const Eigen::Vector3f& scale, const Eigen::Vector3f& offset);
  // The mesh: edges sharper than `crease_rad` stay sharp, the others are shaded smoothly.
  Mesh Build(float crease_rad = 0.7f) const;

 private:
  uint32_t AddVertex(const Eigen::Vector3f& vertex);
  void AddTriangle(uint32_t a, uint32_t b, uint32_t c);

  Mesh mesh_;  // without normals; primitives do not share vertices
  uint16_t material_ = 0;
  uint16_t part_ = 0;
};

}  // namespace athanor
