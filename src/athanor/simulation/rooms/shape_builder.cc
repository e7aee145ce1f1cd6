#include "athanor/simulation/rooms/shape_builder.h"

#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"

namespace athanor {
namespace {

using Eigen::Vector2f;
using Eigen::Vector3f;

constexpr float kPi = 3.14159265358979f;

float Cross(const Vector2f& a, const Vector2f& b, const Vector2f& c) {
  return (b.x() - a.x()) * (c.y() - a.y()) - (b.y() - a.y()) * (c.x() - a.x());
}

// Triangles of a simple counter-clockwise polygon, by cutting off ears.
std::vector<std::array<int, 3>> Triangulate(const std::vector<Vector2f>& polygon) {
  std::vector<int> left(polygon.size());
  for (size_t i = 0; i < left.size(); ++i) left[i] = static_cast<int>(i);
  std::vector<std::array<int, 3>> triangles;
  while (left.size() > 3) {
    size_t ear = left.size();
    for (size_t i = 0; i < left.size() && ear == left.size(); ++i) {
      const int a = left[(i + left.size() - 1) % left.size()], b = left[i],
                c = left[(i + 1) % left.size()];
      if (Cross(polygon[a], polygon[b], polygon[c]) <= 0) continue;
      const bool empty = std::none_of(left.begin(), left.end(), [&](int k) {
        return k != a && k != b && k != c && Cross(polygon[a], polygon[b], polygon[k]) >= 0 &&
               Cross(polygon[b], polygon[c], polygon[k]) >= 0 &&
               Cross(polygon[c], polygon[a], polygon[k]) >= 0;
      });
      if (empty) ear = i;
    }
    ATHANOR_CHECK(ear < left.size(),
                  "prism: expected a counter-clockwise polygon without crossings");
    triangles.push_back(
        {left[(ear + left.size() - 1) % left.size()], left[ear], left[(ear + 1) % left.size()]});
    left.erase(left.begin() + static_cast<std::ptrdiff_t>(ear));
  }
  triangles.push_back({left[0], left[1], left[2]});
  return triangles;
}

Vector3f AnyNormalTo(const Vector3f& direction) {
  const Vector3f other =
      std::abs(direction.z()) < 0.9f ? Vector3f(Vector3f::UnitZ()) : Vector3f(Vector3f::UnitX());
  return direction.cross(other).normalized();
}

float SignedPower(float x, float exponent) {
  return std::copysign(std::pow(std::abs(x), exponent), x);
}

}  // namespace

ShapeBuilder::ShapeBuilder(std::vector<std::string> parts) { mesh_.parts = std::move(parts); }

void ShapeBuilder::Part(std::string_view name) {
  const auto found = std::find(mesh_.parts.begin(), mesh_.parts.end(), name);
  ATHANOR_CHECK(found != mesh_.parts.end(), "object: part '", name, "' is not declared");
  part_ = static_cast<uint16_t>(found - mesh_.parts.begin());
}

void ShapeBuilder::Material(const SurfaceMaterial& material) {
  material_ = static_cast<uint16_t>(mesh_.materials.size());
  mesh_.materials.push_back(material);
}

void ShapeBuilder::Place(const Vector3f& at, float yaw_rad) {
  frame_ = Eigen::Translation3f(at) * Eigen::AngleAxisf(yaw_rad, Vector3f::UnitZ());
}

uint32_t ShapeBuilder::Vertex(const Vector3f& position, const Vector3f& normal) {
  mesh_.vertices.push_back(frame_ * position);
  // Normals go with the inverse transpose: frames may stretch.
  mesh_.normals.push_back((frame_.linear().inverse().transpose() * normal).normalized());
  return static_cast<uint32_t>(mesh_.vertices.size() - 1);
}

void ShapeBuilder::Triangle(uint32_t a, uint32_t b, uint32_t c) {
  const auto& v = mesh_.vertices;
  if (v[a] == v[b] || v[b] == v[c] || v[c] == v[a]) return;  // at a pole
  mesh_.triangles.push_back({a, b, c});
  mesh_.triangle_material.push_back(material_);
  mesh_.triangle_part.push_back(part_);
}

void ShapeBuilder::Finish(size_t first_vertex) {
  Eigen::AlignedBox3f box;
  for (size_t i = first_vertex; i < mesh_.vertices.size(); ++i) box.extend(mesh_.vertices[i]);
  shape_boxes_.push_back(box);
}

void ShapeBuilder::Box(const Vector3f& low, const Vector3f& high, float round_m) {
  const size_t first = mesh_.vertices.size();
  const Vector3f center = 0.5f * (low + high), half = 0.5f * (high - low);
  if (round_m <= 0) {
    for (int axis = 0; axis < 3; ++axis) {
      for (const float side : {-1.0f, 1.0f}) {
        const int u = (axis + 1) % 3, v = (axis + 2) % 3;
        Vector3f normal = Vector3f::Zero();
        normal[axis] = side;
        uint32_t corner[4];
        for (int k = 0; k < 4; ++k) {
          Vector3f p = center;
          p[axis] += side * half[axis];
          p[u] += (k == 1 || k == 2 ? 1 : -1) * half[u];
          p[v] += (k >= 2 ? 1 : -1) * half[v];
          corner[k] = Vertex(p, normal);
        }
        if (side > 0) {
          Triangle(corner[0], corner[1], corner[2]);
          Triangle(corner[0], corner[2], corner[3]);
        } else {
          Triangle(corner[0], corner[2], corner[1]);
          Triangle(corner[0], corner[3], corner[2]);
        }
      }
    }
    Finish(first);
    return;
  }
  // A sphere pulled apart along its three great circles.
  const float r = std::min(round_m, 0.999f * half.minCoeff());
  const Vector3f inner = half - Vector3f::Constant(r);
  const int steps = 3;                 // per quarter of a circle
  const int around = 4 * (steps + 1);  // the seams are double
  const int down = 2 * (steps + 1);
  std::vector<uint32_t> grid(static_cast<size_t>(around) * down);
  for (int i = 0; i < down; ++i) {
    const int half_index = i / (steps + 1);
    const float latitude = kPi / 2 * (half_index * 1.0f + float(i % (steps + 1)) / steps) - kPi / 2;
    const bool pole = i == 0 || i == down - 1;
    for (int j = 0; j < around; ++j) {
      const int quarter = j / (steps + 1);
      const float longitude = kPi / 2 * (quarter + float(j % (steps + 1)) / steps);
      // Exact at the seams, so that equal places have equal bytes.
      float c = std::cos(longitude), s = std::sin(longitude);
      if (j % (steps + 1) == 0 || j % (steps + 1) == steps) c = std::round(c), s = std::round(s);
      float cl = std::cos(latitude), sl = std::sin(latitude);
      if (i % (steps + 1) == 0 || i % (steps + 1) == steps)
        cl = std::round(cl), sl = std::round(sl);
      if (pole) cl = 0;
      const Vector3f direction(cl * c, cl * s, sl);
      const Vector3f offset((quarter == 0 || quarter == 3 ? 1 : -1) * inner.x(),
                            (quarter <= 1 ? 1 : -1) * inner.y(),
                            (half_index == 1 ? 1 : -1) * inner.z());
      grid[static_cast<size_t>(i) * around + j] =
          Vertex(center + offset + r * direction, direction);
    }
  }
  const auto at = [&](int i, int j) { return grid[static_cast<size_t>(i) * around + j % around]; };
  for (int i = 0; i + 1 < down; ++i) {
    for (int j = 0; j < around; ++j) {
      Triangle(at(i, j), at(i, j + 1), at(i + 1, j + 1));
      Triangle(at(i, j), at(i + 1, j + 1), at(i + 1, j));
    }
  }
  const int q = steps + 1;
  Triangle(at(down - 1, 0), at(down - 1, q), at(down - 1, 2 * q));
  Triangle(at(down - 1, 0), at(down - 1, 2 * q), at(down - 1, 3 * q));
  Triangle(at(0, 0), at(0, 2 * q), at(0, q));
  Triangle(at(0, 0), at(0, 3 * q), at(0, 2 * q));
  Finish(first);
}

void ShapeBuilder::Lathe(const std::vector<Vector2f>& profile, int segments, float smooth_rad) {
  const size_t first = mesh_.vertices.size();
  const int n = static_cast<int>(profile.size());
  ATHANOR_CHECK(n >= 3 && profile.front().x() == 0 && profile.back().x() == 0,
                "lathe: expected a profile of 3 points or more from axis to axis, found ", n);
  // Outward normals of the pieces: the profile runs upward on the outside.
  std::vector<Vector2f> normals(n - 1);
  for (int k = 0; k + 1 < n; ++k) {
    const Vector2f along = profile[k + 1] - profile[k];
    normals[k] = Vector2f(along.y(), -along.x()).normalized();
  }
  const float smooth_cosine = std::cos(smooth_rad);
  const auto normal_at = [&](int point, int piece) {
    const int other = point == piece ? piece - 1 : piece + 1;
    if (other < 0 || other >= n - 1) return normals[piece];
    if (normals[piece].dot(normals[other]) < smooth_cosine) return normals[piece];
    return Vector2f((normals[piece] + normals[other]).normalized());
  };
  std::vector<Vector2f> circle(segments);
  for (int j = 0; j < segments; ++j) {
    circle[j] = {std::cos(2 * kPi * j / segments), std::sin(2 * kPi * j / segments)};
  }
  const auto ring = [&](int point, int piece) {
    const Vector2f normal = normal_at(point, piece);
    uint32_t start = static_cast<uint32_t>(mesh_.vertices.size());
    for (const Vector2f& c : circle) {
      Vertex({profile[point].x() * c.x(), profile[point].x() * c.y(), profile[point].y()},
             {normal.x() * c.x(), normal.x() * c.y(), normal.y()});
    }
    return start;
  };
  for (int k = 0; k + 1 < n; ++k) {
    const uint32_t low = ring(k, k), high = ring(k + 1, k);
    for (int j = 0; j < segments; ++j) {
      const auto next = static_cast<uint32_t>((j + 1) % segments), here = static_cast<uint32_t>(j);
      Triangle(low + here, low + next, high + next);
      Triangle(low + here, high + next, high + here);
    }
  }
  Finish(first);
}

void ShapeBuilder::Cylinder(const Vector3f& bottom, float radius_m, float height_m, int segments) {
  Rod(bottom, bottom + Vector3f(0, 0, height_m), radius_m, radius_m, segments);
}

void ShapeBuilder::Rod(const Vector3f& from, const Vector3f& to, float from_radius_m,
                       float to_radius_m, int segments) {
  const Vector3f along = to - from;
  const Eigen::Affine3f outer = frame_;
  frame_ = frame_ * Eigen::Translation3f(from) *
           Eigen::Quaternionf::FromTwoVectors(Vector3f::UnitZ(), along);
  const float length = along.norm();
  Lathe({{0, 0}, {from_radius_m, 0}, {to_radius_m, length}, {0, length}}, segments);
  frame_ = outer;
}

void ShapeBuilder::Tube(const std::vector<Vector3f>& line, float radius_m, bool loop,
                        int segments) {
  Tube(line, std::vector<float>(line.size(), radius_m), loop, segments);
}

void ShapeBuilder::Tube(const std::vector<Vector3f>& line, const std::vector<float>& radii_m,
                        bool loop, int segments) {
  const size_t first = mesh_.vertices.size();
  const int n = static_cast<int>(line.size());
  ATHANOR_CHECK(n >= 2 && radii_m.size() == line.size(), "tube: expected 2 points or more, found ",
                n);
  Vector3f side = Vector3f::Zero();
  std::vector<uint32_t> rings(n);
  for (int k = 0; k < n; ++k) {
    const Vector3f& before = line[k > 0 ? k - 1 : (loop ? n - 1 : 0)];
    const Vector3f& after = line[k + 1 < n ? k + 1 : (loop ? 0 : n - 1)];
    const Vector3f direction = (after - before).normalized();
    // Carried along without twist.
    side = k == 0 ? AnyNormalTo(direction)
                  : Vector3f((side - direction * direction.dot(side)).normalized());
    const Vector3f up = direction.cross(side);
    rings[k] = static_cast<uint32_t>(mesh_.vertices.size());
    for (int j = 0; j < segments; ++j) {
      const float angle = 2 * kPi * j / segments;
      const Vector3f normal = std::cos(angle) * side + std::sin(angle) * up;
      Vertex(line[k] + radii_m[k] * normal, normal);
    }
  }
  const auto quad = [&](uint32_t low, uint32_t high) {
    for (int j = 0; j < segments; ++j) {
      const auto here = static_cast<uint32_t>(j), next = static_cast<uint32_t>((j + 1) % segments);
      Triangle(low + here, low + next, high + next);
      Triangle(low + here, high + next, high + here);
    }
  };
  for (int k = 0; k + 1 < n; ++k) quad(rings[k], rings[k + 1]);
  if (loop) {
    quad(rings[n - 1], rings[0]);
  } else {
    for (const bool end : {false, true}) {
      const int k = end ? n - 1 : 0;
      const Vector3f normal = end ? Vector3f((line[n - 1] - line[n - 2]).normalized())
                                  : Vector3f((line[0] - line[1]).normalized());
      const uint32_t middle = Vertex(line[k], normal);
      std::vector<uint32_t> rim(segments);
      for (int j = 0; j < segments; ++j) {
        // A copy with the cap's normal, at the very same place.
        mesh_.vertices.push_back(mesh_.vertices[rings[k] + j]);
        mesh_.normals.push_back(mesh_.normals[middle]);
        rim[j] = static_cast<uint32_t>(mesh_.vertices.size() - 1);
      }
      for (int j = 0; j < segments; ++j) {
        const uint32_t a = rim[j], b = rim[(j + 1) % segments];
        end ? Triangle(middle, a, b) : Triangle(middle, b, a);
      }
    }
  }
  Finish(first);
}

void ShapeBuilder::Ellipsoid(const Vector3f& center, const Vector3f& radii_m, float exponent,
                             int rings, int segments) {
  const size_t first = mesh_.vertices.size();
  const float power = 2 / exponent;
  std::vector<uint32_t> starts(rings + 1);
  for (int i = 0; i <= rings; ++i) {
    const float latitude = kPi * i / rings - kPi / 2;
    const bool pole = i == 0 || i == rings;
    starts[i] = static_cast<uint32_t>(mesh_.vertices.size());
    for (int j = 0; j < segments; ++j) {
      const float longitude = 2 * kPi * j / segments;
      const float cl = pole ? 0 : std::cos(latitude);
      const Vector3f unit(cl * std::cos(longitude), cl * std::sin(longitude), std::sin(latitude));
      const Vector3f p(SignedPower(cl, power) * SignedPower(std::cos(longitude), power),
                       SignedPower(cl, power) * SignedPower(std::sin(longitude), power),
                       SignedPower(unit.z(), power));
      // Gradient of |x|^e + |y|^e + |z|^e in the scaled frame.
      Vector3f normal;
      for (int a = 0; a < 3; ++a) normal[a] = SignedPower(p[a], exponent - 1) / radii_m[a];
      if (normal.squaredNorm() < 1e-12f) normal = unit;
      Vertex(center + p.cwiseProduct(radii_m), normal);
    }
  }
  for (int i = 0; i < rings; ++i) {
    for (int j = 0; j < segments; ++j) {
      const auto here = static_cast<uint32_t>(j), next = static_cast<uint32_t>((j + 1) % segments);
      Triangle(starts[i] + here, starts[i] + next, starts[i + 1] + next);
      Triangle(starts[i] + here, starts[i + 1] + next, starts[i + 1] + here);
    }
  }
  Finish(first);
}

void ShapeBuilder::Prism(const std::vector<Vector2f>& polygon, float z0_m, float z1_m) {
  const size_t first = mesh_.vertices.size();
  const int n = static_cast<int>(polygon.size());
  const auto at = [](const Vector2f& p, float z) { return Vector3f(p.x(), p.y(), z); };
  for (int k = 0; k < n; ++k) {
    const Vector2f &a = polygon[k], &b = polygon[(k + 1) % n];
    const Vector3f normal = Vector3f(b.y() - a.y(), a.x() - b.x(), 0).normalized();
    const uint32_t v[] = {Vertex(at(a, z0_m), normal), Vertex(at(b, z0_m), normal),
                          Vertex(at(b, z1_m), normal), Vertex(at(a, z1_m), normal)};
    Triangle(v[0], v[1], v[2]);
    Triangle(v[0], v[2], v[3]);
  }
  uint32_t bottom = 0, top = 0;
  for (int k = 0; k < n; ++k) {
    const uint32_t v = Vertex(at(polygon[k], z0_m), -Vector3f::UnitZ());
    if (k == 0) bottom = v;
  }
  for (int k = 0; k < n; ++k) {
    const uint32_t v = Vertex(at(polygon[k], z1_m), Vector3f::UnitZ());
    if (k == 0) top = v;
  }
  for (const auto& t : Triangulate(polygon)) {
    Triangle(top + t[0], top + t[1], top + t[2]);
    Triangle(bottom + t[0], bottom + t[2], bottom + t[1]);
  }
  Finish(first);
}

void ShapeBuilder::Sheet(int u_steps, int v_steps, const std::function<Vector3f(float, float)>& at,
                         float thickness_m) {
  const size_t first = mesh_.vertices.size();
  const auto point = [&](int i, int j) {
    return at(static_cast<float>(i) / u_steps, static_cast<float>(j) / v_steps);
  };
  const int columns = v_steps + 1;
  uint32_t sides[2];
  for (int side = 0; side < 2; ++side) {
    sides[side] = static_cast<uint32_t>(mesh_.vertices.size());
    for (int i = 0; i <= u_steps; ++i) {
      for (int j = 0; j <= v_steps; ++j) {
        const Vector3f du = point(std::min(i + 1, u_steps), j) - point(std::max(i - 1, 0), j);
        const Vector3f dv = point(i, std::min(j + 1, v_steps)) - point(i, std::max(j - 1, 0));
        const Vector3f normal = du.cross(dv).normalized() * (side == 0 ? 1.0f : -1.0f);
        Vertex(point(i, j) + 0.5f * thickness_m * normal, normal);
      }
    }
  }
  const auto index = [&](int side, int i, int j) {
    return sides[side] + static_cast<uint32_t>(i * columns + j);
  };
  for (int i = 0; i < u_steps; ++i) {
    for (int j = 0; j < v_steps; ++j) {
      Triangle(index(0, i, j), index(0, i + 1, j), index(0, i + 1, j + 1));
      Triangle(index(0, i, j), index(0, i + 1, j + 1), index(0, i, j + 1));
      Triangle(index(1, i, j), index(1, i + 1, j + 1), index(1, i + 1, j));
      Triangle(index(1, i, j), index(1, i, j + 1), index(1, i + 1, j + 1));
    }
  }
  // The rim, counter-clockwise as seen from side 0.
  std::vector<std::array<int, 2>> rim;
  for (int i = 0; i < u_steps; ++i) rim.push_back({i, 0});
  for (int j = 0; j < v_steps; ++j) rim.push_back({u_steps, j});
  for (int i = u_steps; i > 0; --i) rim.push_back({i, v_steps});
  for (int j = v_steps; j > 0; --j) rim.push_back({0, j});
  for (size_t k = 0; k < rim.size(); ++k) {
    const auto &a = rim[k], &b = rim[(k + 1) % rim.size()];
    const uint32_t a0 = index(0, a[0], a[1]), b0 = index(0, b[0], b[1]);
    const uint32_t a1 = index(1, a[0], a[1]), b1 = index(1, b[0], b[1]);
    Triangle(a0, a1, b1);
    Triangle(a0, b1, b0);
  }
  Finish(first);
}

}  // namespace athanor
