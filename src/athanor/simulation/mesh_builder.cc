#include "athanor/simulation/mesh_builder.h"

#include <Eigen/LU>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "athanor/base/error.h"

namespace athanor {
namespace {

using Eigen::Affine3f;
using Eigen::Matrix3f;
using Eigen::Vector2f;
using Eigen::Vector3f;

float Cross(const Vector2f& a, const Vector2f& b) { return a.x() * b.y() - a.y() * b.x(); }

bool IsInside(const Vector2f& p, const Vector2f& a, const Vector2f& b, const Vector2f& c) {
  return Cross(b - a, p - a) >= 0 && Cross(c - b, p - b) >= 0 && Cross(a - c, p - c) >= 0;
}

// Not a comparison of meaning, only of identity, so that equal materials are stored once.
bool IsSame(const SurfaceMaterial& a, const SurfaceMaterial& b) {
  return a.color == b.color && a.second_color == b.second_color && a.pattern == b.pattern &&
         a.pattern_scale == b.pattern_scale && a.roughness == b.roughness &&
         a.metallic == b.metallic && a.mirror == b.mirror && a.emission == b.emission &&
         a.lidar_reflectance == b.lidar_reflectance && a.retroreflection == b.retroreflection;
}

int FindOrAdd(std::vector<SurfaceMaterial>* materials, const SurfaceMaterial& material) {
  for (size_t i = 0; i < materials->size(); ++i) {
    if (IsSame((*materials)[i], material)) return static_cast<int>(i);
  }
  ATHANOR_CHECK(materials->size() < 65535, "mesh: more than 65535 materials");
  materials->push_back(material);
  return static_cast<int>(materials->size()) - 1;
}

int FindOrAdd(std::vector<std::string>* parts, std::string_view name) {
  const auto found = std::find(parts->begin(), parts->end(), name);
  if (found != parts->end()) return static_cast<int>(found - parts->begin());
  ATHANOR_CHECK(parts->size() < 65535, "mesh: more than 65535 parts");
  parts->emplace_back(name);
  return static_cast<int>(parts->size()) - 1;
}

}  // namespace

Vector2f BoxProjection(const Vector3f& point, const Vector3f& normal) {
  const Vector3f n = normal.cwiseAbs();
  if (n.z() >= n.x() && n.z() >= n.y()) return {point.x(), point.y()};
  if (n.x() >= n.y()) return {point.y(), point.z()};
  return {point.x(), point.z()};
}

std::vector<std::array<uint32_t, 3>> Triangulate(const std::vector<Vector2f>& outline) {
  std::vector<std::array<uint32_t, 3>> triangles;
  const auto n = static_cast<uint32_t>(outline.size());
  if (n < 3) return triangles;
  std::vector<uint32_t> left(n);
  for (uint32_t i = 0; i < n; ++i) left[i] = i;
  size_t at = 0, misses = 0;
  while (left.size() > 3) {
    const size_t m = left.size();
    const uint32_t a = left[(at + m - 1) % m], b = left[at % m], c = left[(at + 1) % m];
    bool ear = Cross(outline[b] - outline[a], outline[c] - outline[b]) >= 0;
    for (size_t i = 0; ear && i < m; ++i) {
      const uint32_t p = left[i];
      if (p == a || p == b || p == c || outline[p] == outline[a] || outline[p] == outline[b] ||
          outline[p] == outline[c]) {
        continue;
      }
      ear = !IsInside(outline[p], outline[a], outline[b], outline[c]);
    }
    // After a whole round without an ear the polygon is not simple: cut anywhere.
    if (ear || misses > m) {
      triangles.push_back({a, b, c});
      left.erase(left.begin() + static_cast<std::ptrdiff_t>(at % m));
      misses = 0;
      // One step on spreads the cuts, which avoids fans of slivers.
      at = (at + 1) % left.size();
    } else {
      ++misses;
      at = (at + 1) % m;
    }
  }
  triangles.push_back({left[0], left[1], left[2]});
  return triangles;
}

void MeshBuilder::UseMaterial(const SurfaceMaterial& material) {
  material_ = FindOrAdd(&mesh_.materials, material);
}

void MeshBuilder::UseMaterial(int index) {
  ATHANOR_CHECK(index >= 0 && index < static_cast<int>(mesh_.materials.size()),
                "mesh builder: material ", index, " of ", mesh_.materials.size());
  material_ = index;
}

void MeshBuilder::BeginPart(std::string_view name) { part_ = FindOrAdd(&mesh_.parts, name); }

void MeshBuilder::EnsureScopes() {
  if (material_ < 0) UseMaterial(SurfaceMaterial{});
  if (part_ < 0) BeginPart("body");
}

void MeshBuilder::Push(const Affine3f& outer_from_inner) {
  stack_.push_back(stack_.back() * outer_from_inner);
}

void MeshBuilder::Push(const Vector3f& translation, float yaw_rad) {
  Affine3f frame = Affine3f::Identity();
  frame.translate(translation).rotate(Eigen::AngleAxisf(yaw_rad, Vector3f::UnitZ()));
  Push(frame);
}

void MeshBuilder::Pop() {
  ATHANOR_CHECK(stack_.size() > 1, "mesh builder: Pop without Push");
  stack_.pop_back();
}

void MeshBuilder::Surface::AddTriangle(uint32_t a, uint32_t b, uint32_t c, const Vector2f& uv_a,
                                       const Vector2f& uv_b, const Vector2f& uv_c) {
  triangles.push_back({a, b, c});
  uv.push_back({uv_a, uv_b, uv_c});
}

void MeshBuilder::Surface::AddFlat(const std::vector<uint32_t>& loop) {
  // Newell's normal holds for polygons that are not quite flat, too.
  Vector3f normal = Vector3f::Zero();
  for (size_t i = 0; i < loop.size(); ++i) {
    normal += points[loop[i]].cross(points[loop[(i + 1) % loop.size()]]);
  }
  if (!(normal.squaredNorm() > 0)) return;
  normal.normalize();
  // u along the longest edge.
  Vector3f u_axis = Vector3f::Zero();
  for (size_t i = 0; i < loop.size(); ++i) {
    const Vector3f edge = points[loop[(i + 1) % loop.size()]] - points[loop[i]];
    if (edge.squaredNorm() > u_axis.squaredNorm() * 1.001f) u_axis = edge;
  }
  u_axis.normalize();
  // The same edge seen from either end is the same texture.
  int largest;
  u_axis.cwiseAbs().maxCoeff(&largest);
  if (u_axis[largest] < 0) u_axis = -u_axis;
  const Vector3f v_axis = normal.cross(u_axis);
  std::vector<Vector2f> flat(loop.size());
  for (size_t i = 0; i < loop.size(); ++i) {
    flat[i] = {points[loop[i]].dot(u_axis), points[loop[i]].dot(v_axis)};
  }
  for (const auto& [a, b, c] : Triangulate(flat)) {
    AddTriangle(loop[a], loop[b], loop[c], flat[a], flat[b], flat[c]);
  }
}

void MeshBuilder::Emit(const Surface& surface, float crease_rad) {
  EnsureScopes();
  const Affine3f& frame = stack_.back();
  const bool mirrored = frame.linear().determinant() < 0;
  const size_t num_points = surface.points.size(), num_triangles = surface.triangles.size();
  std::vector<Vector3f> points(num_points);
  for (size_t i = 0; i < num_points; ++i) points[i] = frame * surface.points[i];

  // Twice the area times the normal: large triangles count more.
  std::vector<Vector3f> face(num_triangles);
  std::vector<uint32_t> first(num_points + 1, 0);  // where the corners at a point begin
  for (size_t t = 0; t < num_triangles; ++t) {
    const auto& [a, b, c] = surface.triangles[t];
    face[t] = (points[b] - points[a]).cross(points[c] - points[a]) * (mirrored ? -1.f : 1.f);
    for (const uint32_t p : surface.triangles[t]) ++first[p + 1];
  }
  for (size_t p = 0; p < num_points; ++p) first[p + 1] += first[p];
  std::vector<uint32_t> around(3 * num_triangles), fill(first.begin(), first.end() - 1);
  for (size_t t = 0; t < num_triangles; ++t) {
    for (const uint32_t p : surface.triangles[t]) around[fill[p]++] = static_cast<uint32_t>(t);
  }

  const float cos_crease = std::cos(crease_rad);
  std::vector<std::vector<uint32_t>> made(num_points);  // vertices in the mesh at a point
  for (size_t t = 0; t < num_triangles; ++t) {
    const float length = face[t].norm();
    if (!(length > 1e-12f)) continue;  // no area: the pole of a sphere
    std::array<uint32_t, 3> triangle;
    for (int k = 0; k < 3; ++k) {
      const uint32_t p = surface.triangles[t][k];
      Vector3f normal = face[t];
      for (uint32_t i = first[p]; i < first[p + 1]; ++i) {
        const Vector3f& other = face[around[i]];
        if (around[i] != t && other.dot(face[t]) > cos_crease * length * other.norm()) {
          normal += other;
        }
      }
      normal.normalize();
      const Vector2f& uv = surface.uv[t][k];
      uint32_t vertex = std::numeric_limits<uint32_t>::max();
      for (const uint32_t v : made[p]) {
        if ((mesh_.normals[v] - normal).squaredNorm() < 1e-6f &&
            (mesh_.uv[v] - uv).squaredNorm() < 1e-8f) {
          vertex = v;
        }
      }
      if (vertex == std::numeric_limits<uint32_t>::max()) {
        vertex = static_cast<uint32_t>(mesh_.vertices.size());
        mesh_.vertices.push_back(points[p]);
        mesh_.normals.push_back(normal);
        mesh_.uv.push_back(uv);
        made[p].push_back(vertex);
      }
      triangle[k] = vertex;
    }
    if (mirrored) std::swap(triangle[1], triangle[2]);
    mesh_.triangles.push_back(triangle);
    mesh_.triangle_material.push_back(static_cast<uint16_t>(material_));
    mesh_.triangle_part.push_back(static_cast<uint16_t>(part_));
  }
}

void MeshBuilder::AddMesh(const Mesh& mesh, const Affine3f& here_from_mesh) {
  CheckMesh(mesh, "mesh builder");
  const Affine3f frame = stack_.back() * here_from_mesh;
  const bool mirrored = frame.linear().determinant() < 0;
  const Matrix3f normal_matrix = frame.linear().inverse().transpose();
  std::vector<int> material(mesh.materials.size()), part(mesh.parts.size());
  for (size_t i = 0; i < material.size(); ++i) {
    material[i] = FindOrAdd(&mesh_.materials, mesh.materials[i]);
  }
  for (size_t i = 0; i < part.size(); ++i) part[i] = FindOrAdd(&mesh_.parts, mesh.parts[i]);
  const bool shared = !mesh.normals.empty();
  const auto first = static_cast<uint32_t>(mesh_.vertices.size());
  const auto add = [&](uint32_t v, const Vector3f& normal) {
    mesh_.vertices.push_back(frame * mesh.vertices[v]);
    mesh_.normals.push_back((normal_matrix * normal).normalized());
    mesh_.uv.push_back(mesh.uv.empty() ? BoxProjection(mesh.vertices[v], normal) : mesh.uv[v]);
  };
  if (shared) {
    for (uint32_t v = 0; v < mesh.vertices.size(); ++v) add(v, mesh.normals[v]);
  }
  for (size_t t = 0; t < mesh.triangles.size(); ++t) {
    std::array<uint32_t, 3> triangle = mesh.triangles[t];
    if (shared) {
      for (uint32_t& v : triangle) v += first;
    } else {
      const Vector3f& a = mesh.vertices[triangle[0]];
      const Vector3f normal =
          (mesh.vertices[triangle[1]] - a).cross(mesh.vertices[triangle[2]] - a).normalized();
      for (uint32_t& v : triangle) {
        add(v, normal);
        v = static_cast<uint32_t>(mesh_.vertices.size()) - 1;
      }
    }
    if (mirrored) std::swap(triangle[1], triangle[2]);
    mesh_.triangles.push_back(triangle);
    mesh_.triangle_material.push_back(static_cast<uint16_t>(material[mesh.triangle_material[t]]));
    mesh_.triangle_part.push_back(static_cast<uint16_t>(part[mesh.triangle_part[t]]));
  }
}

Mesh MeshBuilder::Build() && {
  ATHANOR_CHECK(stack_.size() == 1, "mesh builder: ", stack_.size() - 1, " Push without Pop");
  Mesh mesh = std::move(mesh_);
  *this = MeshBuilder();
  return mesh;
}

std::array<Vector3f, 2> BoundsOf(const Mesh& mesh) {
  ATHANOR_CHECK(!mesh.vertices.empty(), "mesh: no vertices, so no bounds");
  std::array<Vector3f, 2> bounds = {mesh.vertices[0], mesh.vertices[0]};
  for (const Vector3f& v : mesh.vertices) {
    bounds[0] = bounds[0].cwiseMin(v);
    bounds[1] = bounds[1].cwiseMax(v);
  }
  return bounds;
}

void CheckMesh(const Mesh& mesh, std::string_view where) {
  const size_t num_vertices = mesh.vertices.size(), num_triangles = mesh.triangles.size();
  ATHANOR_CHECK(num_vertices < 0xffffffffu && num_triangles < 0xffffffffu, where,
                ": mesh too large: ", num_vertices, " vertices, ", num_triangles, " triangles");
  ATHANOR_CHECK(mesh.normals.empty() || mesh.normals.size() == num_vertices, where,
                ": expected no normals or ", num_vertices, ", found ", mesh.normals.size());
  ATHANOR_CHECK(mesh.uv.empty() || mesh.uv.size() == num_vertices, where, ": expected no uv or ",
                num_vertices, ", found ", mesh.uv.size());
  ATHANOR_CHECK(
      mesh.triangle_material.size() == num_triangles && mesh.triangle_part.size() == num_triangles,
      where, ": expected a material and a part for each of ", num_triangles, " triangles, found ",
      mesh.triangle_material.size(), " and ", mesh.triangle_part.size());
  for (size_t i = 0; i < num_vertices; ++i) {
    ATHANOR_CHECK(mesh.vertices[i].allFinite(), where, ": vertex ", i,
                  " is not finite: ", mesh.vertices[i].transpose());
    ATHANOR_CHECK(mesh.normals.empty() || mesh.normals[i].allFinite(), where, ": normal ", i,
                  " is not finite");
    ATHANOR_CHECK(mesh.uv.empty() || mesh.uv[i].allFinite(), where, ": uv ", i, " is not finite");
  }
  for (size_t t = 0; t < num_triangles; ++t) {
    for (const uint32_t v : mesh.triangles[t]) {
      ATHANOR_CHECK(v < num_vertices, where, ": triangle ", t, ": vertex ", v, " of ",
                    num_vertices);
    }
    ATHANOR_CHECK(mesh.triangle_material[t] < mesh.materials.size(), where, ": triangle ", t,
                  ": material ", mesh.triangle_material[t], " of ", mesh.materials.size());
    ATHANOR_CHECK(mesh.triangle_part[t] < mesh.parts.size(), where, ": triangle ", t, ": part ",
                  mesh.triangle_part[t], " of ", mesh.parts.size());
  }
}

}  // namespace athanor
