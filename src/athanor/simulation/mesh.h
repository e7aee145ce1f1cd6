// Triangle meshes with materials and named parts: what simulated worlds are built from.
#pragma once

#include <Eigen/Core>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace athanor {

// What a surface looks like. Colours are linear light, 0..1.
//
// Noise, asphalt, grass, marble and leaves are solid: they fill the mesh frame. The other patterns
// lie on the surface, in the mesh's `uv` (MeshBuilder makes it in metres along the surface), or,
// when the mesh has none, in the mesh frame projected along the axis nearest to the normal.
struct SurfaceMaterial {
  enum class Pattern : uint8_t {
    kPlain,
    kNoise,    // clouds of two colours
    kWood,     // rings and grain along the first texture axis
    kTiles,    // tiles of 1 x 1 texture units with joints
    kBricks,   // rows of bricks
    kChecks,   // squares
    kStripes,  // along the second texture axis
    kAsphalt,  // fine grains
    kGrass,    // blades and patches
    kMarble,   // veins
    kFabric,   // weave
    kWindows,  // a facade: one pane per texture unit on the wall, some lit at night
    kLeaves,   // dark and bright spots, holes
  };
  Eigen::Vector3f color = Eigen::Vector3f::Constant(0.5f);
  Eigen::Vector3f second_color = Eigen::Vector3f::Constant(0.4f);  // of the pattern
  Pattern pattern = Pattern::kPlain;
  float pattern_scale = 1;  // texture units (tiles, planks, grains) per metre, or per unit of `uv`
  float roughness = 0.8f;   // 0 = polished, 1 = matt
  float metallic = 0;       // 0..1
  float mirror = 0;         // share of the surroundings reflected when seen head-on, 0..1
  float emission = 0;       // light it sends out itself, times `color`
  // LiDAR: share of the beam that returns diffusely at normal incidence, 0..1, and how much of it
  // goes straight back whatever the angle (plates, signs, vests).
  float lidar_reflectance = 0.3f;
  float retroreflection = 0;
};

struct Mesh {
  std::vector<Eigen::Vector3f> vertices;  // mesh frame, metres
  std::vector<Eigen::Vector3f> normals;   // per vertex, unit; empty: flat shading
  std::vector<Eigen::Vector2f> uv;        // per vertex; empty: patterns lie in the mesh frame
  std::vector<std::array<uint32_t, 3>> triangles;  // counter-clockwise seen from outside
  std::vector<uint16_t> triangle_material;         // per triangle, into `materials`
  std::vector<uint16_t> triangle_part;             // per triangle, into `parts`
  std::vector<SurfaceMaterial> materials;
  std::vector<std::string> parts;  // "leg", "seat", "wheel"
};

}  // namespace athanor
