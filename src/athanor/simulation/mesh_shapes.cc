#include <algorithm>
#include <cmath>
#include <numbers>

#include "athanor/base/error.h"
#include "athanor/simulation/mesh_builder.h"

// The shapes; how they become triangles is in mesh_builder.cc.
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

}  // namespace

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

}  // namespace athanor
