// The still life behind synthetic_scene.h, as a function of rays: a wooden table with a vase, two
// books, a doughnut, a cube, polished and marble balls, on a tiled floor before painted hills.
// Internal to datasets/.
//
// World axes: x right, y down, z forward; the table top is the plane y = 0, one unit is a metre.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <string_view>
#include <vector>

namespace athanor::internal {

// What a point of a surface looks like before light falls on it.
struct Material {
  Eigen::Vector3f albedo = Eigen::Vector3f::Constant(0.5f);  // linear light, 0..1
  float gloss = 0;      // how much of the light's highlight it shows, 0..1
  float shininess = 1;  // exponent of the highlight
  float mirror = 0;     // share of its surroundings that it reflects when seen head-on
  bool lit = true;      // false: painted, shows its albedo
};

class SyntheticWorld {
 public:
  // The seed moves the small balls, their colours and every texture.
  explicit SyntheticWorld(uint64_t seed);

  // Distance along the unit `direction` to the first surface. There always is one: the world is
  // closed by a dome of radius 7. `origin` lies inside it and outside the objects.
  float Distance(const Eigen::Vector3f& origin, const Eigen::Vector3f& direction) const;
  // Linear light that comes from there, 0..1 (highlights are compressed into it).
  Eigen::Vector3f Light(const Eigen::Vector3f& origin, const Eigen::Vector3f& direction) const;

 private:
  enum class Shape { kBall, kBox, kTorus, kVase };
  enum class Look {
    kTable,
    kFloor,
    kDome,
    kCeramic,
    kMarble,
    kCube,
    kBook,
    kDoughnut,
    kVase,
    kBall
  };

  struct Object {
    Shape shape;
    Look look;
    Eigen::Vector3f center;
    Eigen::Vector3f size;  // ball: radius; box: half extents; torus: both radii; vase: half height
    float cos_yaw = 1, sin_yaw = 0;
    float bound = 0;  // radius of a ball around `center` that holds it
    Eigen::Vector3f color = Eigen::Vector3f::Ones();

    Eigen::Vector3f ToLocal(const Eigen::Vector3f& vector_in_world) const;
    // Signed distance from a point in its own axes, or a little less.
    float SignedDistance(const Eigen::Vector3f& local) const;
  };
  struct Hit {
    float distance;
    Look look;
    const Object* object = nullptr;  // null for table, floor and dome
  };

  void Add(Shape shape, Look look, const Eigen::Vector3f& center, const Eigen::Vector3f& size,
           float yaw, const Eigen::Vector3f& color);
  Hit FirstHit(const Eigen::Vector3f& origin, const Eigen::Vector3f& direction) const;
  Eigen::Vector3f NormalAt(const Hit& hit, const Eigen::Vector3f& point) const;
  Material MaterialAt(const Hit& hit, const Eigen::Vector3f& point) const;
  Eigen::Vector3f DomeColor(const Eigen::Vector3f& direction) const;
  // Share of the light that reaches a point, 0..1.
  float LightReaching(const Eigen::Vector3f& point) const;
  // Share of the sky that a point sees, 0..1.
  float Openness(const Eigen::Vector3f& point, const Eigen::Vector3f& normal) const;
  Eigen::Vector3f Shade(const Eigen::Vector3f& origin, const Eigen::Vector3f& direction,
                        bool reflections) const;

  std::vector<Object> objects_;
  Eigen::Vector3f texture_offset_;
};

}  // namespace athanor::internal
