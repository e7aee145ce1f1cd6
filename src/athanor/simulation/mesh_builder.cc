#include "athanor/simulation/mesh_builder.h"

#include <Eigen/LU>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>

#include "athanor/base/error.h"

namespace athanor {
namespace {

using Eigen::Affine3f;
using Eigen::Matrix3f;
using Eigen::Vector2f;
using Eigen::Vector3f;

constexpr float kTwoPi = 2 * std::numbers::pi_v<float>;
// Bevels and their faces meet at 45 degrees and are to look round.
constexpr float kBevelCreaseRad = 1.1f;
constexpr float kRoundCreaseRad = 0.9f;

// Two directions that make a right-handed frame with the unit vector `axis` as its z.
Matrix3f FrameAround(const Vector3f& axis) {
  const Vector3f other = std::abs(axis.x()) < 0.7f ? Vector3f::UnitX() : Vector3f::UnitY();
  Matrix3f frame;
  frame.col(2) = axis;
  frame.col(1) = axis.cross(other).normalized();
  frame.col(0) = frame.col(1).cross(axis);
  return frame;
}

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

void MeshBuilder::AddTriangle(const Vector3f& a, const Vector3f& b, const Vector3f& c) {
  Surface surface;
  surface.points = {a, b, c};
  surface.AddFlat({0, 1, 2});
  Emit(surface, 0);
}

void MeshBuilder::AddQuad(const Vector3f& a, const Vector3f& b, const Vector3f& c,
                          const Vector3f& d) {
  Surface surface;
  surface.points = {a, b, c, d};
  surface.AddFlat({0, 1, 2, 3});
  Emit(surface, 1.5f);
}

void MeshBuilder::AddPlane(const Vector3f& center, float size_x, float size_y, float cell_m) {
  ATHANOR_CHECK(cell_m >= 0, "mesh builder: expected a cell of 0 m or more, found ", cell_m);
  const auto cells = [&](float size) {
    return cell_m > 0 ? std::clamp(static_cast<int>(std::ceil(size / cell_m)), 1, 4096) : 1;
  };
  const int columns = cells(size_x), rows = cells(size_y);
  Surface surface;
  const auto uv = [&](int x, int y) {
    return Vector2f(center.x() + size_x * (static_cast<float>(x) / columns - 0.5f),
                    center.y() + size_y * (static_cast<float>(y) / rows - 0.5f));
  };
  for (int y = 0; y <= rows; ++y) {
    for (int x = 0; x <= columns; ++x) {
      surface.points.push_back({uv(x, y).x(), uv(x, y).y(), center.z()});
    }
  }
  for (int y = 0; y < rows; ++y) {
    for (int x = 0; x < columns; ++x) {
      const auto a = static_cast<uint32_t>(y * (columns + 1) + x);
      const uint32_t d = a + columns + 1;
      surface.AddTriangle(a, a + 1, d + 1, uv(x, y), uv(x + 1, y), uv(x + 1, y + 1));
      surface.AddTriangle(a, d + 1, d, uv(x, y), uv(x + 1, y + 1), uv(x, y + 1));
    }
  }
  Emit(surface, 0.5f);
}

void MeshBuilder::AddPolygon(const std::vector<Vector2f>& outline, float z) {
  Surface surface;
  for (const Vector2f& p : outline) surface.points.push_back({p.x(), p.y(), z});
  for (const auto& [a, b, c] : Triangulate(outline)) {
    surface.AddTriangle(a, b, c, outline[a], outline[b], outline[c]);
  }
  Emit(surface, 0.5f);
}

void MeshBuilder::AddBox(const Vector3f& center, const Vector3f& size, float bevel) {
  const Vector3f half = 0.5f * size;
  const float b = std::clamp(bevel, 0.f, 0.49f * size.minCoeff());
  // Corner i has signs by its bits; its point on the face of axis k keeps the full half size there
  // and steps back by the bevel along the others.
  Surface surface;
  const int copies = b > 0 ? 3 : 1;
  for (int corner = 0; corner < 8; ++corner) {
    for (int k = 0; k < copies; ++k) {
      Vector3f p;
      for (int axis = 0; axis < 3; ++axis) {
        const float reach = half[axis] - (b > 0 && axis != k ? b : 0);
        p[axis] = center[axis] + ((corner >> axis & 1) ? reach : -reach);
      }
      surface.points.push_back(p);
    }
  }
  const auto id = [&](int corner, int axis) {
    return static_cast<uint32_t>(b > 0 ? corner * 3 + axis : corner);
  };
  const auto add = [&](std::vector<uint32_t> loop) {
    // Outwards: away from the centre.
    const Vector3f& p = surface.points[loop[0]];
    const Vector3f n =
        (surface.points[loop[1]] - p).cross(surface.points[loop[2]] - surface.points[loop[1]]);
    Vector3f middle = Vector3f::Zero();
    for (const uint32_t i : loop) middle += surface.points[i] / static_cast<float>(loop.size());
    if (n.dot(middle - center) < 0) std::reverse(loop.begin(), loop.end());
    surface.AddFlat(loop);
  };
  for (int axis = 0; axis < 3; ++axis) {
    const int u = 1 << (axis + 1) % 3, v = 1 << (axis + 2) % 3, w = 1 << axis;
    for (const int side : {0, w}) {
      add({id(side, axis), id(side + u, axis), id(side + u + v, axis), id(side + v, axis)});
    }
    if (b == 0) continue;
    // Edges along `axis`.
    const int p = (axis + 1) % 3, q = (axis + 2) % 3;
    for (const int corner : {0, u, v, u + v}) {
      add({id(corner, p), id(corner, q), id(corner + w, q), id(corner + w, p)});
    }
  }
  if (b > 0) {
    for (int corner = 0; corner < 8; ++corner) {
      add({id(corner, 0), id(corner, 1), id(corner, 2)});
    }
  }
  Emit(surface, b > 0 ? kBevelCreaseRad : 0.1f);
}

void MeshBuilder::AddCylinder(const Vector3f& from, const Vector3f& to, float radius, int segments,
                              bool caps) {
  AddCone(from, to, radius, radius, segments, caps);
}

void MeshBuilder::AddCone(const Vector3f& from, const Vector3f& to, float radius_from,
                          float radius_to, int segments, bool caps) {
  const float length = (to - from).norm();
  if (!(length > 0)) return;
  Affine3f frame = Affine3f::Identity();
  frame.linear() = FrameAround((to - from) / length);
  frame.translation() = from;
  std::vector<Vector2f> profile = {{radius_from, 0}, {radius_to, length}};
  if (caps && radius_from > 0) profile.insert(profile.begin(), {0, 0});
  if (caps && radius_to > 0) profile.push_back({0, length});
  Push(frame);
  AddLathe(Vector3f::Zero(), profile, segments, 1.0f);
  Pop();
}

void MeshBuilder::AddSphere(const Vector3f& center, float radius, int segments) {
  AddEllipsoid(center, Vector3f::Constant(radius), segments);
}

void MeshBuilder::AddEllipsoid(const Vector3f& center, const Vector3f& radii, int segments) {
  const int rows = std::max(2, segments / 2);
  std::vector<Vector2f> profile;
  for (int i = 0; i <= rows; ++i) {
    const float angle = std::numbers::pi_v<float> * static_cast<float>(i) / rows;
    profile.push_back({i == 0 || i == rows ? 0 : std::sin(angle), -std::cos(angle)});
  }
  Affine3f frame = Affine3f::Identity();
  frame.translate(center).scale(radii);
  Push(frame);
  AddLathe(Vector3f::Zero(), profile, segments, 2.0f);
  Pop();
}

void MeshBuilder::AddTorus(const Vector3f& center, const Vector3f& axis, float ring_radius,
                           float tube_radius, int segments, int tube_segments) {
  std::vector<Vector2f> profile;
  for (int i = 0; i <= tube_segments; ++i) {
    const float angle = kTwoPi * static_cast<float>(i % tube_segments) / tube_segments;
    profile.push_back({ring_radius + tube_radius * std::cos(angle), tube_radius * std::sin(angle)});
  }
  Affine3f frame = Affine3f::Identity();
  frame.linear() = FrameAround(axis.normalized());
  frame.translation() = center;
  Push(frame);
  AddLathe(Vector3f::Zero(), profile, segments, 2.0f);
  Pop();
}

void MeshBuilder::AddLathe(const Vector3f& base, const std::vector<Vector2f>& profile, int segments,
                           float crease_rad) {
  ATHANOR_CHECK(segments >= 3, "mesh builder: expected at least 3 segments, found ", segments);
  const size_t rows = profile.size();
  if (rows < 2) return;
  Surface surface;
  // A point on the axis is one point; a profile that ends where it began is welded.
  const bool loop = rows > 2 && (profile.front() - profile.back()).norm() < 1e-7f;
  std::vector<uint32_t> first(rows);
  for (size_t r = 0; r < rows; ++r) {
    if (loop && r == rows - 1) {
      first[r] = first[0];
      continue;
    }
    first[r] = static_cast<uint32_t>(surface.points.size());
    const int count = profile[r].x() > 0 ? segments : 1;
    for (int s = 0; s < count; ++s) {
      const float angle = kTwoPi * static_cast<float>(s) / segments;
      surface.points.push_back(base + Vector3f(profile[r].x() * std::cos(angle),
                                               profile[r].x() * std::sin(angle), profile[r].y()));
    }
  }
  const auto id = [&](size_t r, int s) {
    return first[r] + (profile[r].x() > 0 ? static_cast<uint32_t>(s % segments) : 0);
  };
  float widest = 0, v = 0;
  for (const Vector2f& p : profile) widest = std::max(widest, p.x());
  for (size_t r = 0; r + 1 < rows; ++r) {
    const float next_v = v + (profile[r + 1] - profile[r]).norm();
    for (int s = 0; s < segments; ++s) {
      const float u0 = kTwoPi * widest * static_cast<float>(s) / segments;
      const float u1 = kTwoPi * widest * static_cast<float>(s + 1) / segments;
      if (profile[r].x() > 0) {
        surface.AddTriangle(id(r, s), id(r, s + 1), id(r + 1, s + 1), {u0, v}, {u1, v},
                            {u1, next_v});
      }
      if (profile[r + 1].x() > 0) {
        surface.AddTriangle(id(r, s), id(r + 1, s + 1), id(r + 1, s), {u0, v}, {u1, next_v},
                            {u0, next_v});
      }
    }
    v = next_v;
  }
  Emit(surface, crease_rad);
}

void MeshBuilder::AddExtrusion(const std::vector<Vector2f>& outline, float z0, float z1,
                               float crease_rad) {
  const auto n = static_cast<uint32_t>(outline.size());
  if (n < 3) return;
  Surface surface;
  for (const float z : {z0, z1}) {
    for (const Vector2f& p : outline) surface.points.push_back({p.x(), p.y(), z});
  }
  float u = 0;
  for (uint32_t i = 0; i < n; ++i) {
    const uint32_t j = (i + 1) % n;
    const float next_u = u + (outline[j] - outline[i]).norm();
    surface.AddTriangle(i, j, n + j, {u, z0}, {next_u, z0}, {next_u, z1});
    surface.AddTriangle(i, n + j, n + i, {u, z0}, {next_u, z1}, {u, z1});
    u = next_u;
  }
  for (const auto& [a, b, c] : Triangulate(outline)) {
    surface.AddTriangle(n + a, n + b, n + c, outline[a], outline[b], outline[c]);
    surface.AddTriangle(c, b, a, outline[c], outline[b], outline[a]);
  }
  Emit(surface, crease_rad);
}

void MeshBuilder::AddTube(const std::vector<Vector3f>& curve, const std::vector<float>& radii,
                          int segments, bool closed, bool caps) {
  const size_t n = curve.size();
  ATHANOR_CHECK(segments >= 3, "mesh builder: expected at least 3 segments, found ", segments);
  ATHANOR_CHECK(radii.size() == 1 || radii.size() == n, "mesh builder: expected 1 or ", n,
                " radii, found ", radii.size());
  if (n < 2) return;
  std::vector<std::vector<Vector3f>> rings;
  Vector3f side = Vector3f::Zero();
  for (size_t i = 0; i < n; ++i) {
    const Vector3f& before = curve[i > 0 ? i - 1 : closed ? n - 1 : 0];
    const Vector3f& after = curve[i + 1 < n ? i + 1 : closed ? 0 : n - 1];
    const Vector3f along = (after - before).normalized();
    // The frame is carried along, so that the tube does not twist.
    side -= side.dot(along) * along;
    if (side.squaredNorm() < 1e-8f) side = FrameAround(along).col(0);
    side.normalize();
    const Vector3f up = along.cross(side);
    const float radius = radii[radii.size() == 1 ? 0 : i];
    rings.emplace_back();
    for (int s = 0; s < segments; ++s) {
      const float angle = kTwoPi * static_cast<float>(s) / segments;
      rings.back().push_back(curve[i] + radius * (std::cos(angle) * side + std::sin(angle) * up));
    }
  }
  if (closed) rings.push_back(rings.front());
  AddLoft(rings, true, caps && !closed, kRoundCreaseRad);
}

void MeshBuilder::AddLoft(const std::vector<std::vector<Vector3f>>& rings, bool closed_rings,
                          bool caps, float crease_rad) {
  const size_t rows = rings.size();
  if (rows < 2) return;
  const auto n = static_cast<uint32_t>(rings[0].size());
  Surface surface;
  for (const auto& ring : rings) {
    ATHANOR_CHECK(ring.size() == n && n >= 2, "mesh builder: rings of ", n, " and ", ring.size(),
                  " points");
    surface.points.insert(surface.points.end(), ring.begin(), ring.end());
  }
  // A loop of rings is welded where it closes.
  const bool loop = rows > 2 && rings.front() == rings.back();
  if (loop) surface.points.resize((rows - 1) * n);
  const auto id = [&](size_t r, uint32_t i) {
    return static_cast<uint32_t>((loop && r == rows - 1 ? 0 : r) * n + i % n);
  };
  const uint32_t sides = closed_rings ? n : n - 1;
  float u = 0;
  for (size_t r = 0; r + 1 < rows; ++r) {
    Vector3f here = Vector3f::Zero(), there = Vector3f::Zero();
    for (uint32_t i = 0; i < n; ++i) {
      here += rings[r][i];
      there += rings[r + 1][i];
    }
    const float next_u = u + (there - here).norm() / static_cast<float>(n);
    float v = 0;
    for (uint32_t i = 0; i < sides; ++i) {
      const float next_v = v + (rings[r][(i + 1) % n] - rings[r][i]).norm();
      surface.AddTriangle(id(r, i), id(r, i + 1), id(r + 1, i + 1), {u, v}, {u, next_v},
                          {next_u, next_v});
      surface.AddTriangle(id(r, i), id(r + 1, i + 1), id(r + 1, i), {u, v}, {next_u, next_v},
                          {next_u, v});
      v = next_v;
    }
    u = next_u;
  }
  if (caps && closed_rings && !loop) {
    std::vector<uint32_t> first, last;
    for (uint32_t i = 0; i < n; ++i) {
      first.push_back(n - 1 - i);
      last.push_back(static_cast<uint32_t>((rows - 1) * n + i));
    }
    surface.AddFlat(first);
    surface.AddFlat(last);
  }
  Emit(surface, crease_rad);
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
