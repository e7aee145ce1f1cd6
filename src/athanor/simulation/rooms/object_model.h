// The things that stand in rooms: kinds, and how one of a kind is made from a seed.
#pragma once

#include <Eigen/Geometry>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/simulation/mesh.h"

namespace athanor {

enum class Stand : uint8_t { kFloor, kTable, kShelf, kWall, kCeiling };  // where a thing may be

std::string_view StandName(Stand stand);  // "floor"

// What its maker chose, in words that describe what one sees.
struct ObjectAttributes {
  std::string color;     // name of the main colour (color_names.h)
  std::string material;  // "wooden", "metal"
  std::string pattern;   // "striped", "checked"; empty for plain
  std::string size;      // "small", "medium", "large", among its kind
};

// A level rectangle that small things can stand on, in the object's frame.
struct SupportSurface {
  Eigen::Vector2f low, high;
  float z_m = 0;
  float clearance_m = 10;  // height free above it
  bool inside = false;     // things here are "in", not "on": a compartment of a shelf
};

// Light that leaves an object, in its frame.
struct ObjectLight {
  Eigen::Vector3f position;
  Eigen::Vector3f color;  // linear, brightest channel 1
  float intensity = 1;    // of a usual lamp
};

// One thing. Object frame: x to its front, y to its left, z up; the middle of its footprint's box
// is the origin, its lowest point at z = 0. Things on walls have their back at the lowest x.
struct ObjectModel {
  int kind = 0;  // into ObjectKinds()
  uint64_t seed = 0;
  Mesh mesh;  // parts: all those of the kind, in its order
  Eigen::Vector3f size_m = Eigen::Vector3f::Zero();
  ObjectAttributes attributes;
  std::vector<SupportSurface> supports;
  std::vector<Eigen::AlignedBox3f> colliders;  // boxes that hold all of the mesh
  std::vector<ObjectLight> lights;
};

struct ObjectKind {
  std::string name;  // "mug"
  std::vector<std::string> synonyms;
  // "furniture", "fixture", "tableware", "electronics", "toy", "food", "clothing", "household",
  // "decoration".
  std::string category;
  std::vector<Stand> stands;
  std::vector<std::string> affordances;  // "to drink from"
  std::vector<std::string> parts;        // names that its makers may use
  void (*make)(class ObjectMaker& maker);
};

// All kinds, always in the same order: an index is a name.
const std::vector<ObjectKind>& ObjectKinds();
// Index of a kind. Throws Error for a name that no kind has.
int FindObjectKind(std::string_view name);

// One of the kind; same seed, same object. Thread-safe.
ObjectModel MakeObject(int kind, uint64_t seed);

// The same object turned about its x axis so that its left side is up: a book that stands.
ObjectModel StoodUp(ObjectModel object);

}  // namespace athanor
