// Closed shapes with named parts and materials, put together into one object: what the makers of
// rooms/ are written with.
#pragma once

#include <Eigen/Geometry>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/simulation/mesh.h"

namespace athanor {

// Every shape is closed (each edge belongs to two triangles), faces outward and has normals. Shapes
// of one object may pass into one another, as a leg does into its seat.
class ShapeBuilder {
 public:
  // `parts`: all names that Part() may choose.
  explicit ShapeBuilder(std::vector<std::string> parts);

  // What the following shapes belong to. Throws Error for a name that is not among the parts.
  void Part(std::string_view name);
  // What the following shapes are made of.
  void Material(const SurfaceMaterial& material);
  // Where the following shapes are: object_from_shape. Starts as the identity.
  void Place(const Eigen::Affine3f& frame) { frame_ = frame; }
  void Place(const Eigen::Vector3f& at, float yaw_rad = 0);
  void PlaceAtOrigin() { frame_ = Eigen::Affine3f::Identity(); }

  // From corner to corner; edges rounded with radius `round_m` (0 = sharp, at most half of the
  // thinnest side).
  void Box(const Eigen::Vector3f& low, const Eigen::Vector3f& high, float round_m = 0);
  // A solid of revolution about z. profile: (radius, z), from the bottom of the axis over the
  // outside to the top of the axis, first and last radius 0; a hollow body's goes down again on the
  // inside. Corners sharper than `smooth_rad` stay sharp.
  void Lathe(const std::vector<Eigen::Vector2f>& profile, int segments = 24,
             float smooth_rad = 0.7f);
  void Cylinder(const Eigen::Vector3f& bottom, float radius_m, float height_m, int segments = 20);
  // Cylinder or cone between any two points.
  void Rod(const Eigen::Vector3f& from, const Eigen::Vector3f& to, float from_radius_m,
           float to_radius_m, int segments = 10);
  // A round rod along a line; `loop` joins its ends.
  void Tube(const std::vector<Eigen::Vector3f>& line, float radius_m, bool loop = false,
            int segments = 8);
  void Tube(const std::vector<Eigen::Vector3f>& line, const std::vector<float>& radii_m,
            bool loop = false, int segments = 8);
  // Exponent 2 is an ellipsoid; more comes nearer to a box, between 1 and 2 to a diamond.
  void Ellipsoid(const Eigen::Vector3f& center, const Eigen::Vector3f& radii_m, float exponent = 2,
                 int rings = 12, int segments = 18);
  // A polygon without crossings, counter-clockwise, in x and y, from z0 to z1.
  void Prism(const std::vector<Eigen::Vector2f>& polygon, float z0_m, float z1_m);
  // A bent sheet: at(u, v) for u, v in [0, 1]; thickened to both sides along its normals.
  void Sheet(int u_steps, int v_steps, const std::function<Eigen::Vector3f(float, float)>& at,
             float thickness_m);

  const Mesh& mesh() const { return mesh_; }
  // Of all shapes so far, in the object's frame.
  const std::vector<Eigen::AlignedBox3f>& shape_boxes() const { return shape_boxes_; }

 private:
  uint32_t Vertex(const Eigen::Vector3f& position, const Eigen::Vector3f& normal);
  void Triangle(uint32_t a, uint32_t b, uint32_t c);
  void Finish(size_t first_vertex);

  Mesh mesh_;
  Eigen::Affine3f frame_ = Eigen::Affine3f::Identity();
  uint16_t part_ = 0;
  uint16_t material_ = 0;
  std::vector<Eigen::AlignedBox3f> shape_boxes_;
};

}  // namespace athanor
