// Builds meshes from simple solids, in parts and materials.
//
//   MeshBuilder builder;
//   builder.BeginPart("leg");
//   builder.UseMaterial(oak);
//   builder.AddCylinder({0, 0, 0}, {0, 0, 0.7f}, 0.03f);
//   Mesh table = std::move(builder).Build();
//
// All lengths are metres in the frame on top of the transform stack (mesh frame at first); surfaces
// face outwards. Every vertex gets a normal, smooth across edges flatter than a crease angle, and a
// `uv` in metres along the surface, so that patterns follow it: u along the longer side of a box's
// face, around a lathe, along a tube; v across.
#pragma once

#include <Eigen/Core>
#include <Eigen/Geometry>
#include <array>
#include <string_view>
#include <vector>

#include "athanor/simulation/mesh.h"

namespace athanor {

class MeshBuilder {
 public:
  // Triangles from now on have this material / belong to this part. The first material is the one
  // that MeshInstance::paint replaces. An equal name is the same part again. Without any, material
  // and part are a grey one and "body".
  void UseMaterial(const SurfaceMaterial& material);
  // One of those used before, by the order of their first use.
  void UseMaterial(int index);
  void BeginPart(std::string_view name);

  // Everything added until Pop is in this frame, within the one before. Mirroring is fine.
  void Push(const Eigen::Affine3f& outer_from_inner);
  void Push(const Eigen::Vector3f& translation, float yaw_rad = 0);
  void Pop();

  void AddTriangle(const Eigen::Vector3f& a, const Eigen::Vector3f& b, const Eigen::Vector3f& c);
  // Counter-clockwise seen from the front.
  void AddQuad(const Eigen::Vector3f& a, const Eigen::Vector3f& b, const Eigen::Vector3f& c,
               const Eigen::Vector3f& d);
  // Horizontal rectangle facing up, cut into cells of at most `cell_m` (0 = one cell).
  void AddPlane(const Eigen::Vector3f& center, float size_x, float size_y, float cell_m = 0);
  // A flat polygon (simple, any shape, counter-clockwise) at height z, facing up.
  void AddPolygon(const std::vector<Eigen::Vector2f>& outline, float z);

  // `bevel` > 0 cuts the edges, shaded round.
  void AddBox(const Eigen::Vector3f& center, const Eigen::Vector3f& size, float bevel = 0);
  void AddCylinder(const Eigen::Vector3f& from, const Eigen::Vector3f& to, float radius,
                   int segments = 20, bool caps = true);
  // Truncated when neither radius is 0.
  void AddCone(const Eigen::Vector3f& from, const Eigen::Vector3f& to, float radius_from,
               float radius_to, int segments = 20, bool caps = true);
  void AddSphere(const Eigen::Vector3f& center, float radius, int segments = 20);
  void AddEllipsoid(const Eigen::Vector3f& center, const Eigen::Vector3f& radii, int segments = 20);
  void AddTorus(const Eigen::Vector3f& center, const Eigen::Vector3f& axis, float ring_radius,
                float tube_radius, int segments = 24, int tube_segments = 10);

  // Turns a profile of (radius, height) points about the z axis through `base`. The profile runs
  // with the solid on its left: from bottom to top on the outside, back down on an inside (a cup).
  // Points with radius 0 close it.
  void AddLathe(const Eigen::Vector3f& base, const std::vector<Eigen::Vector2f>& profile,
                int segments = 24, float crease_rad = 0.6f);
  // A polygon in xy (simple, counter-clockwise) from z0 to z1.
  void AddExtrusion(const std::vector<Eigen::Vector2f>& outline, float z0, float z1,
                    float crease_rad = 0.6f);
  // A round tube along a curve; one radius for all points or one each. Without caps it is open.
  void AddTube(const std::vector<Eigen::Vector3f>& curve, const std::vector<float>& radii,
               int segments = 10, bool closed = false, bool caps = true);
  // A skin over rings of equally many points, one ring after another (a car's body: cross
  // sections). With rings that follow each other along +x, points run counter-clockwise for one who
  // looks against x (from +y over +z to -y). Rings are closed loops unless `closed_rings` is false:
  // then it is a sheet that faces (next point - point) x (next ring - ring). Caps fill the first
  // and last ring; first ring = last ring closes a loop of rings.
  void AddLoft(const std::vector<std::vector<Eigen::Vector3f>>& rings, bool closed_rings = true,
               bool caps = true, float crease_rad = 0.6f);

  // Triangles of another mesh, with its materials and parts.
  void AddMesh(const Mesh& mesh,
               const Eigen::Affine3f& here_from_mesh = Eigen::Affine3f::Identity());

  int64_t num_triangles() const { return static_cast<int64_t>(mesh_.triangles.size()); }
  // The mesh so far; the builder is empty afterwards.
  Mesh Build() &&;

 private:
  // A surface before it is in the mesh: welded points, triangles, uv per corner.
  struct Surface {
    std::vector<Eigen::Vector3f> points;
    std::vector<std::array<uint32_t, 3>> triangles;
    std::vector<std::array<Eigen::Vector2f, 3>> uv;

    void AddTriangle(uint32_t a, uint32_t b, uint32_t c, const Eigen::Vector2f& uv_a,
                     const Eigen::Vector2f& uv_b, const Eigen::Vector2f& uv_c);
    // uv from the plane of the triangle, u along its longest horizontal direction.
    void AddFlat(const std::vector<uint32_t>& loop);
  };
  void Emit(const Surface& surface, float crease_rad);
  void EnsureScopes();

  Mesh mesh_;
  int material_ = -1;
  int part_ = -1;
  std::vector<Eigen::Affine3f> stack_ = {Eigen::Affine3f::Identity()};
};

// Triangles of a simple polygon (counter-clockwise, any shape), by cutting ears; indices into
// `outline`. A polygon that crosses itself gets some cover of it, never an endless loop.
std::vector<std::array<uint32_t, 3>> Triangulate(const std::vector<Eigen::Vector2f>& outline);

// Texture coordinates for surfaces that have none: the point without the axis along which the
// normal is largest. Keeps metres.
Eigen::Vector2f BoxProjection(const Eigen::Vector3f& point, const Eigen::Vector3f& normal);

// Smallest box around the vertices: minimum and maximum. Throws Error for a mesh without any.
std::array<Eigen::Vector3f, 2> BoundsOf(const Mesh& mesh);

// Throws Error, naming `where`, unless indices are in range, attributes fit the vertices, and all
// is finite.
void CheckMesh(const Mesh& mesh, std::string_view where);

}  // namespace athanor
