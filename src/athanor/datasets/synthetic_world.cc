#include "athanor/datasets/synthetic_world.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "athanor/base/random.h"

namespace athanor::internal {
namespace {

using Eigen::Vector3f;

constexpr float kTableRadius = 1.7f;
constexpr float kTableThickness = 0.1f;
constexpr float kFloorY = 0.75f;
constexpr float kDomeRadius = 7.0f;
constexpr float kPi = 3.14159265f;
// Half the angle under which the lamp is seen: how soft its shadows are.
constexpr float kLampRadius_rad = 0.07f;
constexpr float kSurfaceError = 2e-5f;

const Vector3f& TowardsLamp() {
  static const Vector3f direction = Vector3f(-0.55f, -1.0f, -0.45f).normalized();
  return direction;
}

float Smooth(float low, float high, float x) {
  const float t = std::clamp((x - low) / (high - low), 0.0f, 1.0f);
  return t * t * (3 - 2 * t);
}

Vector3f Mix(const Vector3f& a, const Vector3f& b, float t) { return a + (b - a) * t; }

// sRGB 0..255 to linear light, near enough for choosing colours.
Vector3f Color(int r, int g, int b) {
  const auto linear = [](int value) {
    const float x = static_cast<float>(value) / 255.0f;
    return x * x * (0.8f + 0.2f * x);
  };
  return {linear(r), linear(g), linear(b)};
}

constexpr uint32_t kCellX = 0x8da6b343u, kCellY = 0xd8163841u, kCellZ = 0xcb1ab31fu;

// A number in [0, 1) from the mixed coordinates of a cell.
float CellHash(uint32_t h) {
  h = (h ^ (h >> 15)) * 0x2c1b3c6du;
  h = (h ^ (h >> 13)) * 0x297a2d39u;
  return static_cast<float>(h >> 8) * 0x1p-24f;
}

// A number in [0, 1) for each cell of the integer grid.
float CellValue(int x, int y, int z) {
  return CellHash(static_cast<uint32_t>(x) * kCellX + static_cast<uint32_t>(y) * kCellY +
                  static_cast<uint32_t>(z) * kCellZ);
}

int FloorToInt(float x) {
  const int towards_zero = static_cast<int>(x);
  return towards_zero - (static_cast<float>(towards_zero) > x ? 1 : 0);
}

// Smooth noise in [0, 1) with features of size 1.
float Noise(const Vector3f& p) {
  const int x = FloorToInt(p.x()), y = FloorToInt(p.y()), z = FloorToInt(p.z());
  const auto fade = [](float f) { return f * f * (3 - 2 * f); };
  const float tx = fade(p.x() - static_cast<float>(x));
  const float ty = fade(p.y() - static_cast<float>(y));
  const float tz = fade(p.z() - static_cast<float>(z));
  const uint32_t cell = static_cast<uint32_t>(x) * kCellX + static_cast<uint32_t>(y) * kCellY +
                        static_cast<uint32_t>(z) * kCellZ;
  const auto along_x = [&](uint32_t row) {
    const float a = CellHash(row);
    return a + (CellHash(row + kCellX) - a) * tx;
  };
  const auto along_y = [&](uint32_t slice) {
    const float a = along_x(slice);
    return a + (along_x(slice + kCellY) - a) * ty;
  };
  const float front = along_y(cell);
  return front + (along_y(cell + kCellZ) - front) * tz;
}

// Noise with finer detail added, in [0, 1).
float RoughNoise(const Vector3f& p) {
  return 0.6f * Noise(p) + 0.27f * Noise(2.1f * p + Vector3f(5, 1, 9)) +
         0.13f * Noise(4.3f * p + Vector3f(2, 7, 3));
}

float Radius2d(float x, float z) { return std::sqrt(x * x + z * z); }

// Radius of the vase at height `y` of its own axes, from its foot (y > 0) to its neck (y < 0).
float VaseRadius(float y, float half_height) {
  const float t = 0.5f - 0.5f * y / half_height;  // 0 at the foot, 1 at the neck
  return half_height * (0.36f + 0.24f * std::sin(0.6f + 4.3f * t));
}

// Share of the lamp seen past an edge that is `gap` away from the line to its centre, where the
// lamp's disc is `blur` in radius.
float LampPastEdge(float gap, float blur) {
  const float x = std::clamp(gap / blur, -1.0f, 1.0f);
  return 0.25f * (1 + x) * (1 + x) * (2 - x);
}

}  // namespace

Vector3f SyntheticWorld::Object::ToLocal(const Vector3f& v) const {
  return {cos_yaw * v.x() - sin_yaw * v.z(), v.y(), sin_yaw * v.x() + cos_yaw * v.z()};
}

float SyntheticWorld::Object::SignedDistance(const Vector3f& p) const {
  switch (shape) {
    case Shape::kBall:
      return p.norm() - size.x();
    case Shape::kBox: {
      constexpr float kRounding = 0.015f;
      const Vector3f outside = p.cwiseAbs() - size + Vector3f::Constant(kRounding);
      return outside.cwiseMax(0.0f).norm() + std::min(outside.maxCoeff(), 0.0f) - kRounding;
    }
    case Shape::kTorus:
      return Radius2d(Radius2d(p.x(), p.z()) - size.x(), p.y()) - size.y();
    case Shape::kVase: {
      const float side =
          Radius2d(p.x(), p.z()) - VaseRadius(std::clamp(p.y(), -size.x(), size.x()), size.x());
      const float ends = std::abs(p.y()) - size.x();
      // The side leans, so that the distance to it is less than along the radius.
      return 0.88f * std::max(side, ends);
    }
  }
  return 0;
}

SyntheticWorld::SyntheticWorld(uint64_t seed) {
  Random random(seed);
  texture_offset_ = {random.Uniform(0, 100), random.Uniform(0, 100), random.Uniform(0, 100)};
  const Vector3f white = Vector3f::Ones();
  Add(Shape::kVase, Look::kVase, {0.05f, -0.42f, 0.12f}, {0.42f, 0, 0}, 0, white);
  Add(Shape::kBall, Look::kCeramic, {-0.72f, -0.33f, 0.5f}, {0.33f, 0, 0}, 0, Color(150, 16, 28));
  Add(Shape::kBall, Look::kMarble, {0.62f, -0.27f, 0.68f}, {0.27f, 0, 0}, 0, white);
  Add(Shape::kBox, Look::kCube, {0.72f, -0.25f, -0.35f}, {0.25f, 0.25f, 0.25f}, 0.5f, white);
  Add(Shape::kBox, Look::kBook, {-0.5f, -0.06f, -0.55f}, {0.42f, 0.06f, 0.3f}, 0.3f,
      Color(28, 84, 120));
  Add(Shape::kBox, Look::kBook, {-0.48f, -0.165f, -0.56f}, {0.36f, 0.045f, 0.26f}, 0.05f,
      Color(196, 120, 30));
  Add(Shape::kTorus, Look::kDoughnut, {-0.48f, -0.21f - 0.095f, -0.56f}, {0.17f, 0.095f, 0}, 0,
      white);
  const Vector3f colors[] = {Color(240, 180, 20),  Color(40, 130, 60), Color(60, 70, 180),
                             Color(225, 225, 220), Color(200, 70, 20), Color(120, 40, 130)};
  // Small balls near the rim, each in its sector, where nothing else stands.
  for (int k = 0; k < 6; ++k) {
    const float angle = (static_cast<float>(k) + random.Uniform(0.1f, 0.9f)) * kPi / 3;
    const float radius = random.Uniform(0.07f, 0.11f);
    const float from_center = random.Uniform(1.36f, 1.5f);
    Add(Shape::kBall, Look::kBall,
        {from_center * std::cos(angle), -radius, from_center * std::sin(angle)}, {radius, 0, 0}, 0,
        colors[k]);
  }
}

void SyntheticWorld::Add(Shape shape, Look look, const Vector3f& center, const Vector3f& size,
                         float yaw, const Vector3f& color) {
  Object object{shape, look, center, size, std::cos(yaw), std::sin(yaw), 0, color};
  switch (shape) {
    case Shape::kBall:
      object.bound = size.x();
      break;
    case Shape::kBox:
      object.bound = size.norm();
      break;
    case Shape::kTorus:
      object.bound = size.x() + size.y();
      break;
    case Shape::kVase:
      object.bound = 1.13f * size.x();
      break;
  }
  objects_.push_back(object);
}

SyntheticWorld::Hit SyntheticWorld::FirstHit(const Vector3f& origin,
                                             const Vector3f& direction) const {
  // The dome, from inside, and the floor.
  const Vector3f from_center = origin - Vector3f(0, kFloorY, 0);
  const float b = from_center.dot(direction);
  const float c = from_center.squaredNorm() - kDomeRadius * kDomeRadius;
  Hit hit{-b + std::sqrt(std::max(b * b - c, 0.0f)), Look::kDome};
  if (direction.y() > 0) {
    const float floor = (kFloorY - origin.y()) / direction.y();
    if (floor < hit.distance) hit = {floor, Look::kFloor};
    const float table = -origin.y() / direction.y();
    const Vector3f at = origin + table * direction;
    if (table > 1e-4f && Radius2d(at.x(), at.z()) < kTableRadius) hit = {table, Look::kTable};
  }
  // The table's rim.
  const float a2 = direction.x() * direction.x() + direction.z() * direction.z();
  const float b2 = origin.x() * direction.x() + origin.z() * direction.z();
  const float c2 = origin.x() * origin.x() + origin.z() * origin.z() - kTableRadius * kTableRadius;
  if (c2 > 0 && b2 * b2 > a2 * c2) {
    const float rim = (-b2 - std::sqrt(b2 * b2 - a2 * c2)) / a2;
    const float y = origin.y() + rim * direction.y();
    if (rim > 0 && rim < hit.distance && y > 0 && y < kTableThickness) hit = {rim, Look::kTable};
  }

  for (const Object& object : objects_) {
    const Vector3f to_center = object.center - origin;
    const float middle = to_center.dot(direction);
    const float away2 = to_center.squaredNorm() - middle * middle;
    const float bound2 = object.bound * object.bound;
    if (away2 >= bound2) continue;
    const float half = std::sqrt(bound2 - away2);
    if (middle + half <= 0 || middle - half >= hit.distance) continue;
    if (object.shape == Shape::kBall) {
      if (middle - half > 1e-4f) hit = {middle - half, object.look, &object};
      continue;
    }
    // Steps as long as the nearest surface is far never step through one.
    const Vector3f local_origin = object.ToLocal(-to_center);
    const Vector3f local_direction = object.ToLocal(direction);
    const float end = std::min(middle + half, hit.distance);
    float t = std::max(middle - half, 0.0f);
    for (int step = 0; step < 200 && t < end; ++step) {
      const float distance = object.SignedDistance(local_origin + t * local_direction);
      if (distance < kSurfaceError) {
        hit = {t, object.look, &object};
        break;
      }
      t += distance;
    }
  }
  return hit;
}

Vector3f SyntheticWorld::NormalAt(const Hit& hit, const Vector3f& point) const {
  if (hit.look == Look::kDome) return (Vector3f(0, kFloorY, 0) - point).normalized();
  if (hit.look == Look::kFloor) return {0, -1, 0};
  if (hit.look == Look::kTable) {
    if (point.y() < 1e-4f) return {0, -1, 0};
    return Vector3f(point.x(), 0, point.z()).normalized();
  }
  const Object& object = *hit.object;
  if (object.shape == Shape::kBall) return (point - object.center) / object.size.x();
  // The gradient of the distance, from the corners of a tetrahedron.
  constexpr float kStep = 1e-3f;
  const Vector3f offset = point - object.center;
  Vector3f gradient = Vector3f::Zero();
  for (const Vector3f& corner :
       {Vector3f(1, -1, -1), Vector3f(-1, -1, 1), Vector3f(-1, 1, -1), Vector3f(1, 1, 1)}) {
    gradient += corner * object.SignedDistance(object.ToLocal(offset + kStep * corner));
  }
  return gradient.normalized();
}

Vector3f SyntheticWorld::DomeColor(const Vector3f& direction) const {
  // Three rows of hills, paler with distance, under an evening sky with thin clouds; from the
  // front row on, so that what is hidden costs nothing.
  const float up = -direction.y() / std::max(Radius2d(direction.x(), direction.z()), 1e-3f);
  const Vector3f hills[] = {Color(64, 92, 60), Color(98, 124, 118), Color(142, 156, 178)};
  Vector3f color = Vector3f::Zero();
  float clear = 1;  // what is not hidden yet
  for (int row = 0; row < 3 && clear > 0; ++row) {
    const float frequency = 4.0f - static_cast<float>(row);
    const float middle = 0.02f + 0.1f * static_cast<float>(row);
    if (up > middle + 0.13f) continue;
    const Vector3f around(frequency * direction.x(), 10.0f * static_cast<float>(row),
                          frequency * direction.z());
    const float top = middle + 0.16f * (RoughNoise(around + texture_offset_) - 0.3f);
    const float hidden = clear * (1 - Smooth(top - 0.006f, top + 0.006f, up));
    if (hidden == 0) continue;
    // Woods and meadows; turned a little against the axes, whose grid the noise would show.
    const Vector3f turned(direction.x() + 0.6f * direction.y(),
                          direction.y() - 0.5f * direction.z(),
                          direction.z() - 0.4f * direction.x());
    const float grass = 0.7f + 0.4f * Noise(21 * turned) + 0.2f * Noise(55 * turned);
    color += hidden * grass * hills[row];
    clear -= hidden;
  }
  if (clear > 0) {
    const Vector3f cloud_at(3 * direction.x(), 9 * direction.y(), 3 * direction.z());
    const float cloud = Smooth(0.45f, 0.75f, RoughNoise(cloud_at + texture_offset_));
    const Vector3f sky = Mix(Color(250, 214, 170), Color(86, 140, 200), Smooth(0.0f, 0.9f, up));
    color += clear * Mix(sky, Color(255, 240, 228), 0.6f * cloud);
  }
  return color;
}

Material SyntheticWorld::MaterialAt(const Hit& hit, const Vector3f& point) const {
  Material m;
  switch (hit.look) {
    case Look::kDome:
      m.albedo = DomeColor((point - Vector3f(0, kFloorY, 0)) / kDomeRadius);
      m.lit = false;
      return m;
    case Look::kFloor: {
      // Two kinds of tiles, each a little its own, with pale joints.
      const float x = point.x() / 0.6f, z = point.z() / 0.6f;
      const float cell_x = std::floor(x), cell_z = std::floor(z);
      const bool dark = (static_cast<int>(cell_x) + static_cast<int>(cell_z)) % 2 != 0;
      m.albedo = dark ? Color(96, 78, 70) : Color(206, 190, 168);
      m.albedo *= 0.82f + 0.3f * CellValue(static_cast<int>(cell_x), 7, static_cast<int>(cell_z));
      m.albedo *= 0.75f + 0.5f * RoughNoise(9 * point + texture_offset_);
      const float edge = std::min({x - cell_x, 1 - (x - cell_x), z - cell_z, 1 - (z - cell_z)});
      m.albedo = Mix(Color(150, 140, 130), m.albedo, Smooth(0.01f, 0.03f, edge));
      return m;
    }
    case Look::kTable: {
      // Planks with a grain that runs along x, and a dark rim.
      const float across = point.z() / 0.28f;
      const float plank = std::floor(across);
      const float shift = 20 * CellValue(static_cast<int>(plank), 3, 5);
      const Vector3f grain_at(1.2f * point.x() + shift, shift, 9 * point.z());
      const float warp = RoughNoise(grain_at + texture_offset_);
      const float rings = 0.5f + 0.5f * std::sin(40 * warp + 30 * point.z());
      m.albedo = Mix(Color(150, 92, 48), Color(206, 150, 92), 0.25f + 0.5f * warp + 0.25f * rings);
      m.albedo *= 0.8f + 0.35f * CellValue(static_cast<int>(plank), 1, 2);
      m.albedo *= 0.92f + 0.16f * Noise(Vector3f(15 * point.x(), 0, 140 * point.z()));
      const float joint = std::min(across - plank, 1 - (across - plank));
      m.albedo *= 0.35f + 0.65f * Smooth(0.0f, 0.03f, joint);
      const float from_center = Radius2d(point.x(), point.z());
      m.albedo *= 1 - 0.6f * Smooth(kTableRadius - 0.11f, kTableRadius - 0.1f, from_center);
      m.gloss = 0.06f;
      m.shininess = 30;
      return m;
    }
    case Look::kCeramic:
      m.albedo = hit.object->color;
      m.gloss = 0.9f;
      m.shininess = 160;
      m.mirror = 0.07f;
      return m;
    case Look::kMarble: {
      const Vector3f p = point * 4 + texture_offset_;
      const float vein =
          std::abs(std::sin(16 * RoughNoise(p) + 6 * point.x() + 9 * point.y() + 5 * point.z()));
      m.albedo = Mix(Color(44, 70, 74), Color(226, 228, 222), Smooth(0.0f, 0.4f, vein));
      m.albedo *= 0.85f + 0.3f * Noise(3 * p);
      m.gloss = 0.35f;
      m.shininess = 70;
      return m;
    }
    case Look::kCube: {
      // 3 x 3 coloured tiles on each face, with black between them.
      const Vector3f p = hit.object->ToLocal(point - hit.object->center) / hit.object->size.x();
      int face = 0;
      p.cwiseAbs().maxCoeff(&face);
      const float u = 1.5f * (p[(face + 1) % 3] + 1), v = 1.5f * (p[(face + 2) % 3] + 1);
      const int column = std::clamp(static_cast<int>(u), 0, 2);
      const int row = std::clamp(static_cast<int>(v), 0, 2);
      static const Vector3f kColors[] = {Color(200, 30, 30),   Color(240, 200, 30),
                                         Color(30, 120, 60),   Color(30, 70, 170),
                                         Color(235, 235, 230), Color(230, 110, 20)};
      const int side = face * 2 + (p[face] > 0 ? 1 : 0);
      const auto pick = static_cast<int>(6 * CellValue(side * 3 + column, row, 11));
      const float edge_u = std::abs(u - static_cast<float>(column) - 0.5f);
      const float edge_v = std::abs(v - static_cast<float>(row) - 0.5f);
      const float edge = Smooth(0.40f, 0.43f, std::max(edge_u, edge_v));
      m.albedo = Mix(kColors[pick], Color(24, 24, 26), edge);
      m.gloss = 0.25f;
      m.shininess = 60;
      return m;
    }
    case Look::kBook: {
      const Object& book = *hit.object;
      const Vector3f p = book.ToLocal(point - book.center).cwiseQuotient(book.size);
      m.albedo = book.color;
      if (std::abs(p.y()) > 0.8f || p.z() > 0.97f) {
        // The cover: linen, with a frame on its top.
        m.albedo *= 0.8f + 0.4f * Noise(150 * point);
        const float frame = std::max(std::abs(p.x()), std::abs(p.z()));
        if (p.y() < -0.9f && frame > 0.8f && frame < 0.85f) m.albedo = Color(230, 200, 120);
      } else {
        m.albedo = Color(236, 226, 204) * (0.8f + 0.25f * Noise(Vector3f(0, 400 * point.y(), 0)));
      }
      return m;
    }
    case Look::kDoughnut: {
      const Vector3f p = point - hit.object->center;
      const float icing_edge = 0.02f * (Noise(22 * point + texture_offset_) - 0.5f);
      m.albedo = Color(206, 146, 80) * (0.85f + 0.3f * RoughNoise(60 * point));
      if (p.y() < -0.005f + icing_edge) {
        m.albedo = Color(238, 130, 160);
        m.gloss = 0.3f;
        m.shininess = 40;
        // Sprinkles: a dot in the middle of every second cell.
        const Vector3f cell = (point * 34).array().floor();
        const float pick = CellValue(static_cast<int>(cell.x()), static_cast<int>(cell.y()),
                                     static_cast<int>(cell.z()));
        const float off = (point * 34 - cell - Vector3f::Constant(0.5f)).norm();
        if (pick > 0.55f && off < 0.42f) {
          m.albedo = pick > 0.85f  ? Color(255, 240, 120)
                     : pick > 0.7f ? Color(110, 210, 230)
                                   : Color(255, 255, 255);
        }
      }
      return m;
    }
    case Look::kVase: {
      const Vector3f p = point - hit.object->center;
      const float half = hit.object->size.x();
      const float height = p.y() / half;  // -1 at the neck, 1 at the foot
      const float inner = VaseRadius(-half, half) - 0.03f;
      if (height < -0.995f && Radius2d(p.x(), p.z()) < inner) {
        m.albedo = Color(20, 24, 34);
        return m;
      }
      const float angle = std::atan2(p.z(), p.x());
      const Vector3f cream = Color(232, 224, 206), blue = Color(28, 66, 130);
      m.albedo = cream * (0.94f + 0.12f * RoughNoise(30 * point));
      const float wave = 0.09f * std::sin(8 * angle);
      const float band = std::abs(height - 0.15f - wave);
      if (band < 0.05f || std::abs(height - 0.15f + wave) < 0.05f) m.albedo = blue;
      const float stripe = std::abs(std::abs(height - 0.15f) - 0.27f);
      if (stripe < 0.035f) m.albedo = blue;
      if (height < -0.8f && std::sin(24 * angle) > 0) m.albedo = Color(190, 120, 40);
      m.gloss = 0.5f;
      m.shininess = 90;
      m.mirror = 0.02f;
      return m;
    }
    case Look::kBall: {
      const Vector3f p = (point - hit.object->center) / hit.object->size.x();
      m.albedo = hit.object->color;
      if (std::abs(p.y() + 0.4f * p.x()) < 0.22f) m.albedo = Mix(m.albedo, Vector3f::Ones(), 0.75f);
      m.gloss = 0.5f;
      m.shininess = 80;
      return m;
    }
  }
  return m;
}

float SyntheticWorld::LightReaching(const Vector3f& point) const {
  const Vector3f& lamp = TowardsLamp();
  float share = 1;
  if (point.y() > kTableThickness) {
    const float up = point.y() / -lamp.y();
    const Vector3f at = point + up * lamp;
    share = LampPastEdge(Radius2d(at.x(), at.z()) - kTableRadius, kLampRadius_rad * up);
  }
  for (const Object& object : objects_) {
    const Vector3f to_center = object.center - point;
    const float middle = to_center.dot(lamp);
    if (middle <= -object.bound) continue;
    const float away = std::sqrt(std::max(to_center.squaredNorm() - middle * middle, 0.0f));
    const float blur = kLampRadius_rad * std::max(middle, 0.01f);
    if (away > object.bound + blur) continue;
    if (object.shape == Shape::kBall) {
      if (middle > 0) share = std::min(share, LampPastEdge(away - object.size.x(), blur));
      continue;
    }
    const Vector3f local_point = object.ToLocal(-to_center);
    const Vector3f local_lamp = object.ToLocal(lamp);
    float least = 1;
    float t = std::max(middle - object.bound - blur, 0.01f);
    while (t < middle + object.bound && least > -1) {
      const float distance = object.SignedDistance(local_point + t * local_lamp);
      least = std::min(least, distance / (kLampRadius_rad * t));
      t += std::clamp(distance, 0.01f, 0.1f);
    }
    share = std::min(share, LampPastEdge(least, 1));
  }
  return share;
}

float SyntheticWorld::Openness(const Vector3f& point, const Vector3f& normal) const {
  // How far the nearest thing is from a place a little above the surface.
  float open = 1;
  for (const float above : {0.04f, 0.14f}) {
    const Vector3f probe = point + above * normal;
    float nearest = above;
    if (probe.y() < 0 && Radius2d(probe.x(), probe.z()) < kTableRadius) {
      nearest = std::min(nearest, -probe.y());
    }
    for (const Object& object : objects_) {
      const Vector3f offset = probe - object.center;
      const float reach = object.bound + nearest;
      if (offset.squaredNorm() >= reach * reach) continue;
      nearest = std::min(nearest, object.SignedDistance(object.ToLocal(offset)));
    }
    open *= 0.45f + 0.55f * std::max(nearest, 0.0f) / above;
  }
  return open;
}

Vector3f SyntheticWorld::Shade(const Vector3f& origin, const Vector3f& direction,
                               bool reflections) const {
  const Hit hit = FirstHit(origin, direction);
  const Vector3f point = origin + hit.distance * direction;
  const Material material = MaterialAt(hit, point);
  if (!material.lit) return material.albedo;
  const Vector3f normal = NormalAt(hit, point);
  const float facing = normal.dot(TowardsLamp());
  const float lamp = facing > 0 ? LightReaching(point + 1e-3f * normal) : 0.0f;
  const Vector3f lamp_light = Vector3f(1.0f, 0.9f, 0.74f) * 1.15f;
  const Vector3f sky_light =
      Mix(Vector3f(0.34f, 0.26f, 0.2f), Vector3f(0.42f, 0.5f, 0.62f), 0.5f - 0.5f * normal.y());
  Vector3f light = material.albedo.cwiseProduct(lamp_light * (lamp * std::max(facing, 0.0f)) +
                                                sky_light * Openness(point, normal));
  if (material.gloss > 0 && lamp > 0) {
    const Vector3f half = (TowardsLamp() - direction).normalized();
    const float highlight = std::pow(std::max(half.dot(normal), 0.0f), material.shininess);
    light += lamp_light * (lamp * material.gloss * highlight);
  }
  if (material.mirror > 0) {
    // Schlick's approximation of Fresnel's law.
    const float grazing = std::pow(1 - std::clamp(-direction.dot(normal), 0.0f, 1.0f), 5.0f);
    const float share = material.mirror + (0.6f - material.mirror) * grazing;
    const Vector3f mirrored = direction - 2 * direction.dot(normal) * normal;
    const Vector3f seen = reflections ? Shade(point + 1e-3f * normal, mirrored, false)
                                      : Vector3f(DomeColor(mirrored));
    light += share * seen;
  }
  return light;
}

float SyntheticWorld::Distance(const Vector3f& origin, const Vector3f& direction) const {
  return FirstHit(origin, direction).distance;
}

Vector3f SyntheticWorld::Light(const Vector3f& origin, const Vector3f& direction) const {
  // A shoulder that leaves the middle as it is and lets highlights approach 1.
  const Eigen::Array3f light = Shade(origin, direction, true).array();
  return (light * (1 + light * 0.16f) / (1 + 0.45f * light * light)).min(1.0f).max(0.0f);
}

}  // namespace athanor::internal
