#include "athanor/simulation/street/solid.h"

#include <Eigen/Geometry>
#include <algorithm>
#include <cmath>
#include <numbers>

#include "athanor/base/error.h"

namespace athanor {
namespace {

using Eigen::Vector3f;
constexpr float kTurn = 2 * std::numbers::pi_v<float>;

// Two unit vectors that make a right-handed frame with `axis`.
void Frame(const Vector3f& axis, Vector3f* u, Vector3f* v) {
  const Vector3f helper = std::abs(axis.z()) < 0.9f ? Vector3f::UnitZ() : Vector3f::UnitX();
  *u = helper.cross(axis).normalized();
  *v = axis.cross(*u);
}

SolidBuilder::Ring Circle(const Vector3f& center, const Vector3f& u, const Vector3f& v,
                          float radius, int segments) {
  SolidBuilder::Ring ring(segments);
  for (int i = 0; i < segments; ++i) {
    const float angle = kTurn * static_cast<float>(i) / static_cast<float>(segments);
    ring[i] = center + radius * (std::cos(angle) * u + std::sin(angle) * v);
  }
  return ring;
}

}  // namespace

uint16_t SolidBuilder::AddMaterial(const SurfaceMaterial& material) {
  mesh_.materials.push_back(material);
  return static_cast<uint16_t>(mesh_.materials.size() - 1);
}

void SolidBuilder::Use(uint16_t material, std::string_view part) {
  ATHANOR_DCHECK(material < mesh_.materials.size(), "material ", material);
  material_ = material;
  const auto found = std::find(mesh_.parts.begin(), mesh_.parts.end(), part);
  part_ = static_cast<uint16_t>(found - mesh_.parts.begin());
  if (found == mesh_.parts.end()) mesh_.parts.emplace_back(part);
}

uint32_t SolidBuilder::AddVertex(const Vector3f& vertex) {
  mesh_.vertices.push_back(vertex);
  return static_cast<uint32_t>(mesh_.vertices.size() - 1);
}

void SolidBuilder::AddTriangle(uint32_t a, uint32_t b, uint32_t c) {
  mesh_.triangles.push_back({a, b, c});
  mesh_.triangle_material.push_back(material_);
  mesh_.triangle_part.push_back(part_);
}

void SolidBuilder::Box(const Vector3f& center, const Vector3f& size, float yaw_rad) {
  const Vector3f half = size / 2;
  const float c = std::cos(yaw_rad), s = std::sin(yaw_rad);
  const auto corner = [&](float x, float y, float z) {
    const float px = x * half.x(), py = y * half.y();
    return Vector3f(center + Vector3f(c * px - s * py, s * px + c * py, z * half.z()));
  };
  Loft({{corner(-1, -1, -1), corner(1, -1, -1), corner(1, 1, -1), corner(-1, 1, -1)},
        {corner(-1, -1, 1), corner(1, -1, 1), corner(1, 1, 1), corner(-1, 1, 1)}});
}

void SolidBuilder::Tube(const Vector3f& a, const Vector3f& b, float radius_a, float radius_b,
                        int segments) {
  Vector3f u, v;
  Frame((b - a).normalized(), &u, &v);
  Loft({Circle(a, u, v, radius_a, segments), Circle(b, u, v, radius_b, segments)});
}

void SolidBuilder::Limb(const Vector3f& a, const Vector3f& b, float radius_a, float radius_b,
                        int segments) {
  const Vector3f axis = (b - a).normalized();
  Vector3f u, v;
  Frame(axis, &u, &v);
  Loft({Circle(a - axis * (0.7f * radius_a), u, v, 0.6f * radius_a, segments),
        Circle(a, u, v, radius_a, segments), Circle(b, u, v, radius_b, segments),
        Circle(b + axis * (0.7f * radius_b), u, v, 0.6f * radius_b, segments)});
}

void SolidBuilder::Ellipsoid(const Vector3f& center, const Vector3f& half_axes, int rings,
                             int segments, float pitch_rad) {
  const float c = std::cos(pitch_rad), s = std::sin(pitch_rad);
  std::vector<Ring> skin;
  for (int r = 0; r <= rings; ++r) {
    // The ends are small caps, so that no triangle is degenerate.
    const float t = std::clamp(static_cast<float>(r) / static_cast<float>(rings), 0.06f, 0.94f);
    const float polar = kTurn / 2 * t;
    Ring ring(segments);
    for (int i = 0; i < segments; ++i) {
      const float angle = kTurn * static_cast<float>(i) / static_cast<float>(segments);
      const Vector3f p(half_axes.x() * std::sin(polar) * std::cos(angle),
                       half_axes.y() * std::sin(polar) * std::sin(angle),
                       -half_axes.z() * std::cos(polar));
      ring[i] = center + Vector3f(c * p.x() + s * p.z(), p.y(), -s * p.x() + c * p.z());
    }
    skin.push_back(std::move(ring));
  }
  Loft(skin);
}

void SolidBuilder::Torus(const Vector3f& center, float radius, float tube_radius, int segments,
                         int tube_segments) {
  const auto base = static_cast<uint32_t>(mesh_.vertices.size());
  for (int i = 0; i < segments; ++i) {
    const float a = kTurn * static_cast<float>(i) / static_cast<float>(segments);
    for (int j = 0; j < tube_segments; ++j) {
      const float b = kTurn * static_cast<float>(j) / static_cast<float>(tube_segments);
      const float r = radius + tube_radius * std::cos(b);
      AddVertex(center + Vector3f(r * std::cos(a), tube_radius * std::sin(b), r * std::sin(a)));
    }
  }
  for (int i = 0; i < segments; ++i) {
    for (int j = 0; j < tube_segments; ++j) {
      const int i1 = (i + 1) % segments, j1 = (j + 1) % tube_segments;
      const uint32_t p00 = base + i * tube_segments + j, p01 = base + i * tube_segments + j1;
      const uint32_t p10 = base + i1 * tube_segments + j, p11 = base + i1 * tube_segments + j1;
      AddTriangle(p00, p01, p11);
      AddTriangle(p00, p11, p10);
    }
  }
}

void SolidBuilder::Loft(const std::vector<Ring>& rings,
                        const std::function<uint16_t(int r, int p)>& material_of) {
  const auto base = static_cast<uint32_t>(mesh_.vertices.size());
  const int count = static_cast<int>(rings.front().size());
  const int last = static_cast<int>(rings.size()) - 1;
  for (const Ring& ring : rings) {
    ATHANOR_DCHECK(static_cast<int>(ring.size()) == count, "rings differ in size");
    for (const Vector3f& point : ring) AddVertex(point);
  }
  const uint16_t material = material_;
  for (int r = 0; r < last; ++r) {
    for (int p = 0; p < count; ++p) {
      const int q = (p + 1) % count;
      const uint32_t p0 = base + r * count + p, q0 = base + r * count + q;
      const uint32_t p1 = p0 + count, q1 = q0 + count;
      if (material_of != nullptr) material_ = material_of(r, p);
      AddTriangle(p0, q0, q1);
      AddTriangle(p0, q1, p1);
    }
  }
  material_ = material;
  for (const bool end : {false, true}) {
    const Ring& ring = rings[end ? last : 0];
    Vector3f middle = Vector3f::Zero();
    for (const Vector3f& point : ring) middle += point;
    const uint32_t hub = AddVertex(middle / static_cast<float>(count));
    const uint32_t first = base + (end ? last * count : 0);
    for (int p = 0; p < count; ++p) {
      const int q = (p + 1) % count;
      if (end) {
        AddTriangle(hub, first + p, first + q);
      } else {
        AddTriangle(hub, first + q, first + p);
      }
    }
  }
}

void SolidBuilder::Extrude(const std::vector<Eigen::Vector2f>& outline_xz, float y0, float y1) {
  // Counter-clockwise with x right and z up is what is seen from -y: the skin runs from y1 to y0.
  Ring near, far;
  for (const Eigen::Vector2f& p : outline_xz) {
    far.emplace_back(p.x(), y1, p.y());
    near.emplace_back(p.x(), y0, p.y());
  }
  Loft({far, near});
}

void SolidBuilder::Append(const SolidBuilder& other, const Vector3f& offset, float yaw_rad) {
  const auto base = static_cast<uint32_t>(mesh_.vertices.size());
  const auto first_material = static_cast<uint16_t>(mesh_.materials.size());
  const float c = std::cos(yaw_rad), s = std::sin(yaw_rad);
  for (const SurfaceMaterial& material : other.mesh_.materials) AddMaterial(material);
  for (const Vector3f& v : other.mesh_.vertices) {
    AddVertex(offset + Vector3f(c * v.x() - s * v.y(), s * v.x() + c * v.y(), v.z()));
  }
  const uint16_t material = material_, part = part_;
  for (size_t i = 0; i < other.mesh_.triangles.size(); ++i) {
    Use(first_material + other.mesh_.triangle_material[i],
        other.mesh_.parts[other.mesh_.triangle_part[i]]);
    const auto& t = other.mesh_.triangles[i];
    AddTriangle(base + t[0], base + t[1], base + t[2]);
  }
  material_ = material;
  part_ = part;
}

void SolidBuilder::Bounds(Vector3f* low, Vector3f* high) const {
  *low = Vector3f::Constant(std::numeric_limits<float>::max());
  *high = -*low;
  for (const Vector3f& v : mesh_.vertices) {
    *low = low->cwiseMin(v);
    *high = high->cwiseMax(v);
  }
}

void SolidBuilder::Transform(const Vector3f& scale, const Vector3f& offset) {
  for (Vector3f& v : mesh_.vertices) v = v.cwiseProduct(scale) + offset;
}

Mesh SolidBuilder::Build(float crease_rad) const {
  Mesh mesh;
  mesh.materials = mesh_.materials;
  mesh.parts = mesh_.parts;
  mesh.triangle_material = mesh_.triangle_material;
  mesh.triangle_part = mesh_.triangle_part;
  const size_t count = mesh_.triangles.size();
  std::vector<Vector3f> weighted(count);  // normal times area: large faces decide
  std::vector<std::vector<uint32_t>> faces(mesh_.vertices.size());
  for (size_t i = 0; i < count; ++i) {
    const auto& t = mesh_.triangles[i];
    const Vector3f& a = mesh_.vertices[t[0]];
    weighted[i] = (mesh_.vertices[t[1]] - a).cross(mesh_.vertices[t[2]] - a);
    for (const uint32_t corner : t) faces[corner].push_back(static_cast<uint32_t>(i));
  }
  const float limit = std::cos(crease_rad);
  // Corners of one vertex with the same normal share a vertex of the result.
  std::vector<std::vector<uint32_t>> made(mesh_.vertices.size());
  for (size_t i = 0; i < count; ++i) {
    std::array<uint32_t, 3> triangle;
    const Vector3f own = weighted[i].stableNormalized();
    for (int k = 0; k < 3; ++k) {
      const uint32_t v = mesh_.triangles[i][k];
      Vector3f normal = Vector3f::Zero();
      for (const uint32_t f : faces[v]) {
        if (weighted[f].stableNormalized().dot(own) >= limit) normal += weighted[f];
      }
      normal.stableNormalize();
      if (!(normal.squaredNorm() > 0.5f)) normal = Vector3f::UnitZ();  // a triangle without area
      uint32_t index = UINT32_MAX;
      for (const uint32_t candidate : made[v]) {
        if ((mesh.normals[candidate] - normal).squaredNorm() < 1e-8f) index = candidate;
      }
      if (index == UINT32_MAX) {
        index = static_cast<uint32_t>(mesh.vertices.size());
        mesh.vertices.push_back(mesh_.vertices[v]);
        mesh.normals.push_back(normal);
        made[v].push_back(index);
      }
      triangle[k] = index;
    }
    mesh.triangles.push_back(triangle);
  }
  return mesh;
}

}  // namespace athanor
