// Instances of meshes that rays can be cast into: Embree behind a small interface. The meshes are
// built once, the instances move every step.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <memory>
#include <vector>

#include "athanor/geometry/rigid3.h"
#include "athanor/simulation/mesh.h"
#include "athanor/simulation/ray_packet.h"

namespace athanor {

struct MeshInstance {
  int mesh = 0;  // from RayWorld::AddMesh
  Rigid3 world_from_mesh;
  int32_t object = 0;  // id that hits report: what the caller calls this object; >= 0
  // The first material's colour is replaced by this when it is not negative (paint of cars,
  // shirts).
  Eigen::Vector3f paint = Eigen::Vector3f::Constant(-1);
};

struct RayHit {
  float distance = 0;        // metres along the unit direction; infinity for none
  int32_t instance = -1;     // index into the instances; -1 for none
  int32_t object = -1;       // MeshInstance::object
  uint16_t part = 0;         // into Mesh::parts
  uint16_t material = 0;     // into Mesh::materials
  Eigen::Vector3f position;  // mesh frame, for patterns
  Eigen::Vector2f uv;        // where the mesh has none: position without the normal's main axis
  Eigen::Vector3f normal;    // world frame, unit, towards the ray's origin; smooth when the mesh is
  Eigen::Vector3f geometric_normal;  // of the triangle itself
};

// Casting is thread-safe; changing is not.
class RayWorld {
 public:
  RayWorld();
  ~RayWorld();
  RayWorld(RayWorld&&) noexcept;
  RayWorld& operator=(RayWorld&&) noexcept;

  // Takes the mesh and builds its hierarchy. Throws Error for indices out of range or a vertex that
  // is not finite. `asked_often`: a better hierarchy, which takes several times as long to build;
  // for what fills much of many pictures.
  int AddMesh(Mesh mesh, bool asked_often = false);
  const Mesh& mesh(int index) const;

  int num_meshes() const;

  // What the world holds from now on. Cheap for instances that are those of the last call, at the
  // same places in the list: only what moved or has another mesh is updated. Throws Error for an
  // unknown mesh, a negative object or a pose that is not finite.
  void SetInstances(std::vector<MeshInstance> instances);
  const std::vector<MeshInstance>& instances() const;

  RayHit Cast(const Eigen::Vector3f& origin, const Eigen::Vector3f& direction,
              float max_distance) const;
  // For distances near the surface that a ray leaves: how far off it has to start. Grows with the
  // coordinates.
  static float StartDistance(const Eigen::Vector3f& origin);
  // True when anything lies within `max_distance`. Quicker than Cast.
  bool Occluded(const Eigen::Vector3f& origin, const Eigen::Vector3f& direction,
                float max_distance) const;

  // Sixteen rays at once, those with far >= near. Coordinates are world; the normals of hits are
  // not (see HitPacket).
  void Cast16(RayHitPacket* packet) const;
  // The same for rays from one place in much the same direction, such as those of neighbouring
  // pixels: quicker.
  void CastTogether16(RayHitPacket* packet) const;
  // far becomes negative where something is in between.
  void Occlude16(RayPacket* packet) const;

  // What a hit is on: instance, triangle and barycentric coordinates as a HitPacket has them.
  RayHit Describe(uint32_t instance, uint32_t triangle, float u, float v, float distance,
                  const Eigen::Vector3f& unit_direction) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace athanor
