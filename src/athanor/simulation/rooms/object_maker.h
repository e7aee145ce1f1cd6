// What the makers of the kinds are given: shapes, looks, and where to say what they made.
#pragma once

#include <initializer_list>
#include <string_view>
#include <vector>

#include "athanor/base/random.h"
#include "athanor/simulation/color_names.h"
#include "athanor/simulation/rooms/object_model.h"
#include "athanor/simulation/rooms/shape_builder.h"

namespace athanor {

// A surface, and the words for it.
struct Look {
  SurfaceMaterial surface;
  std::string color;
  std::string material;
  std::string pattern;
};

class ObjectMaker : public ShapeBuilder {
 public:
  ObjectMaker(const ObjectKind& kind, uint64_t seed) : ShapeBuilder(kind.parts), random(seed) {}

  Random random;
  ObjectModel model;  // supports, lights and attributes are filled by the maker

  float Uniform(float low, float high) { return random.Uniform(low, high); }
  bool Chance(float share) { return random.Uniform() < share; }
  int Pick(int n) { return static_cast<int>(random.Below(static_cast<uint32_t>(n))); }
  // Scale of the whole thing, 0.85 to 1.18; its name becomes the size attribute.
  float PickScale();

  // Looks of a colour picked among names; an empty list picks among all.
  using Names = std::initializer_list<const char*>;
  Look Wood(Names colors = {"brown", "brown", "beige", "white", "black"});
  Look Metal(Names colors = {"grey", "grey", "black", "white"});
  Look Plastic(Names colors = {});
  Look Fabric(Names colors = {}, float pattern_share = 0.4f);
  Look Leather(Names colors = {"brown", "black", "beige", "red", "white"});
  Look Ceramic(Names colors = {}, float pattern_share = 0.25f);
  Look Glass(Names colors = {"green", "blue", "brown", "white"});
  Look Matt(std::string_view color,
            std::string_view material);  // paper, wax, rubber, skin of fruit

  // The look is the one that the object is described by.
  void Describe(const Look& look);
  // Describe and Material.
  void Main(const Look& look) {
    Describe(look);
    Material(look.surface);
  }
  void Use(const Look& look) { Material(look.surface); }
  void Use(std::string_view color) { Material(Matt(color, "").surface); }

  void Support(float x0, float y0, float x1, float y1, float z, float clearance = 10,
               bool inside = false) {
    model.supports.push_back({{x0, y0}, {x1, y1}, z, clearance, inside});
  }

 private:
  std::string PickName(Names colors);
};

// The kinds of each file.
std::vector<ObjectKind> FurnitureKinds();
std::vector<ObjectKind> FixtureKinds();
std::vector<ObjectKind> TablewareKinds();
std::vector<ObjectKind> ElectronicsKinds();
std::vector<ObjectKind> ToyKinds();
std::vector<ObjectKind> HouseholdKinds();

}  // namespace athanor
