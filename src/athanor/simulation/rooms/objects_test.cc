// Every kind of object: what rooms and questions about them rely on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "athanor/base/test_util.h"
#include "athanor/simulation/color_names.h"
#include "athanor/simulation/rooms/object_model.h"

namespace athanor {
namespace {

using Eigen::Vector3f;
using ::testing::HasSubstr;

constexpr int kSeeds = 12;

std::string Name(int kind, int seed) {
  return ObjectKinds()[kind].name + " " + std::to_string(seed);
}

// Edges, with equal places welded, that do not belong to as many triangles one way as the other.
int OpenEdges(const Mesh& mesh) {
  std::map<std::array<float, 3>, int> places;
  std::vector<int> place;
  for (const Vector3f& v : mesh.vertices) {
    // -0 and 0 are one place.
    place.push_back(places.try_emplace({v.x() + 0.0f, v.y() + 0.0f, v.z() + 0.0f}, places.size())
                        .first->second);
  }
  std::map<std::pair<int, int>, int> balance;
  for (const auto& t : mesh.triangles) {
    for (int k = 0; k < 3; ++k) {
      const int a = place[t[k]], b = place[t[(k + 1) % 3]];
      a < b ? ++balance[{a, b}] : --balance[{b, a}];
    }
  }
  int open = 0;
  for (const auto& [edge, count] : balance) open += count != 0;
  return open;
}

double Volume(const Mesh& mesh) {
  double sum = 0;
  for (const auto& t : mesh.triangles) {
    sum += mesh.vertices[t[0]].cast<double>().dot(
        mesh.vertices[t[1]].cast<double>().cross(mesh.vertices[t[2]].cast<double>()));
  }
  return sum / 6;
}

TEST(Objects, ThereAreManyKindsWithWordsForThem) {
  std::set<std::string> names;
  for (const ObjectKind& kind : ObjectKinds()) {
    EXPECT_TRUE(names.insert(kind.name).second) << kind.name << " twice";
    EXPECT_FALSE(kind.synonyms.empty()) << kind.name;
    EXPECT_FALSE(kind.affordances.empty()) << kind.name;
    EXPECT_FALSE(kind.stands.empty()) << kind.name;
    EXPECT_FALSE(kind.category.empty()) << kind.name;
    EXPECT_EQ(ObjectKinds()[FindObjectKind(kind.name)].name, kind.name);
  }
  EXPECT_GE(names.size(), 70u);
  EXPECT_THAT(ErrorOf([] { FindObjectKind("unicorn"); }), HasSubstr("unicorn"));
  EXPECT_THAT(ErrorOf([] { MakeObject(-1, 0); }), HasSubstr("found -1"));
}

TEST(Objects, MeshesAreClosedFiniteAndInTheirBoxes) {
  for (int kind = 0; kind < static_cast<int>(ObjectKinds().size()); ++kind) {
    for (int seed = 0; seed < kSeeds; ++seed) {
      const ObjectModel object = MakeObject(kind, seed);
      SCOPED_TRACE(Name(kind, seed));
      const Mesh& mesh = object.mesh;
      ASSERT_GT(mesh.triangles.size(), 20u);
      ASSERT_EQ(mesh.normals.size(), mesh.vertices.size());
      ASSERT_EQ(mesh.triangle_part.size(), mesh.triangles.size());
      ASSERT_EQ(mesh.triangle_material.size(), mesh.triangles.size());
      Eigen::AlignedBox3f box;
      for (size_t i = 0; i < mesh.vertices.size(); ++i) {
        ASSERT_TRUE(mesh.vertices[i].allFinite());
        ASSERT_NEAR(mesh.normals[i].norm(), 1, 1e-3);
        box.extend(mesh.vertices[i]);
      }
      EXPECT_EQ(OpenEdges(mesh), 0);
      EXPECT_GT(Volume(mesh), 1e-6);  // faces look outwards
      for (int axis = 0; axis < 3; ++axis) {
        EXPECT_GT(object.size_m[axis], 0.002f);
        EXPECT_LT(object.size_m[axis], 2.9f);
        EXPECT_NEAR(object.size_m[axis], box.sizes()[axis], 1e-3);
      }
      EXPECT_NEAR(box.min().z(), 0, 1e-4);
      EXPECT_NEAR(box.center().x(), 0, 1e-3);
      EXPECT_NEAR(box.center().y(), 0, 1e-3);
      for (const Vector3f& v : mesh.vertices) {
        bool held = false;
        for (const auto& collider : object.colliders) held |= collider.exteriorDistance(v) < 1e-4f;
        ASSERT_TRUE(held);
      }
      for (const SupportSurface& support : object.supports) {
        EXPECT_LT(support.low.x(), support.high.x());
        EXPECT_LT(support.low.y(), support.high.y());
        EXPECT_LE(support.z_m, object.size_m.z() + 1e-3f);
        EXPECT_GT(support.clearance_m, 0.1f);
      }
    }
  }
}

TEST(Objects, EveryPartOfAKindIsMadeBySome) {
  for (int kind = 0; kind < static_cast<int>(ObjectKinds().size()); ++kind) {
    std::set<uint16_t> used;
    for (int seed = 0; seed < 40; ++seed) {
      const ObjectModel object = MakeObject(kind, seed);
      ASSERT_EQ(object.mesh.parts, ObjectKinds()[kind].parts);
      used.insert(object.mesh.triangle_part.begin(), object.mesh.triangle_part.end());
    }
    EXPECT_EQ(used.size(), ObjectKinds()[kind].parts.size()) << ObjectKinds()[kind].name;
  }
}

TEST(Objects, NoTwoAreEqualAndOneSeedIsOneObject) {
  for (int kind = 0; kind < static_cast<int>(ObjectKinds().size()); ++kind) {
    std::set<std::vector<float>> looks;
    for (int seed = 0; seed < kSeeds; ++seed) {
      const ObjectModel a = MakeObject(kind, seed), b = MakeObject(kind, seed);
      ASSERT_EQ(a.mesh.vertices, b.mesh.vertices) << Name(kind, seed);
      std::vector<float> look = {a.size_m.x(), a.size_m.y(), a.size_m.z()};
      for (const SurfaceMaterial& m : a.mesh.materials)
        look.insert(look.end(), m.color.data(), m.color.data() + 3);
      EXPECT_TRUE(looks.insert(look).second) << Name(kind, seed);
    }
  }
}

TEST(Objects, TheNamedColourIsThatOfAMaterialOfTheObject) {
  for (int kind = 0; kind < static_cast<int>(ObjectKinds().size()); ++kind) {
    for (int seed = 0; seed < kSeeds; ++seed) {
      const ObjectModel object = MakeObject(kind, seed);
      ASSERT_FALSE(object.attributes.color.empty()) << Name(kind, seed);
      std::set<std::string> colors;
      for (const uint16_t m : std::set<uint16_t>(object.mesh.triangle_material.begin(),
                                                 object.mesh.triangle_material.end())) {
        colors.insert(ColorName(object.mesh.materials[m].color));
      }
      EXPECT_TRUE(colors.contains(object.attributes.color)) << Name(kind, seed);
    }
  }
}

TEST(Objects, ABookStandsUpWhole) {
  const ObjectModel book = MakeObject(FindObjectKind("book"), 3), up = StoodUp(book);
  EXPECT_FLOAT_EQ(up.size_m.z(), book.size_m.y());
  EXPECT_FLOAT_EQ(up.size_m.y(), book.size_m.z());
  EXPECT_NEAR(Volume(up.mesh), Volume(book.mesh), 1e-9);
  EXPECT_EQ(OpenEdges(up.mesh), 0);
}

TEST(ColorNames, RandomColorsHaveTheirNames) {
  Random random(5);
  for (const std::string& name : ColorNames()) {
    for (int k = 0; k < 50; ++k) EXPECT_EQ(ColorName(RandomColor(name, random)), name);
  }
  EXPECT_EQ(ColorName(LinearFromSrgb(255, 0, 0)), "red");
  EXPECT_EQ(ColorName(LinearFromSrgb(255, 255, 255)), "white");
  EXPECT_EQ(ColorName(LinearFromSrgb(0, 0, 0)), "black");
  EXPECT_EQ(ColorName(LinearFromSrgb(20, 60, 180)), "blue");
  EXPECT_THAT(ErrorOf([&] { RandomColor("octarine", random); }), HasSubstr("octarine"));
}

}  // namespace
}  // namespace athanor
