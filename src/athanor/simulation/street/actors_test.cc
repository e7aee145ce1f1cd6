#include "athanor/simulation/street/actors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "athanor/base/error.h"
#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/simulation/mesh_builder.h"
#include "athanor/simulation/street/kinds.h"

namespace athanor {
namespace {

using Eigen::Vector3d;
using Eigen::Vector3f;
using ::testing::HasSubstr;

// A usual size of each class, varied by a tenth.
Vector3d DrawSize(ActorClass actor_class, Random* random) {
  static const std::map<ActorClass, Vector3d> sizes = {
      {ActorClass::kCar, {4.5, 1.9, 1.5}},
      {ActorClass::kVan, {5.2, 2.0, 2.1}},
      {ActorClass::kTruck, {8.5, 2.5, 3.4}},
      {ActorClass::kBus, {12.5, 2.8, 3.2}},
      {ActorClass::kTrailer, {10, 2.5, 3.8}},
      {ActorClass::kMotorcycle, {2.1, 0.8, 1.5}},
      {ActorClass::kBicycle, {1.75, 0.62, 1.7}},
      {ActorClass::kPedestrian, {0.7, 0.65, 1.7}},
      {ActorClass::kScooter, {1.2, 0.6, 1.8}},
      {ActorClass::kStroller, {1.3, 0.6, 1.7}},
      {ActorClass::kWheelchair, {1.1, 0.7, 1.35}},
      {ActorClass::kDog, {0.9, 0.32, 0.65}},
      {ActorClass::kSheep, {1.2, 0.5, 0.95}},
      {ActorClass::kBag, {0.4, 0.3, 0.35}},
      {ActorClass::kShrub, {0.9, 0.9, 0.7}},
      {ActorClass::kFence, {0.12, 2.4, 1.1}},
      {ActorClass::kCone, {0.38, 0.38, 0.75}},
      {ActorClass::kBarrier, {0.5, 2.0, 1.0}},
      {ActorClass::kCargo, {1.2, 0.9, 0.8}},
      {ActorClass::kConstructionWorker, {0.7, 0.7, 1.8}},
      {ActorClass::kConstructionVehicle, {6.0, 2.2, 2.8}},
      {ActorClass::kBicycleRack, {3.0, 0.6, 0.85}},
      {ActorClass::kPushable, {0.6, 0.55, 1.05}}};
  const auto vary = [&] { return 1 + 0.1 * (2.0 * random->Uniform() - 1); };
  Vector3d size = sizes.at(actor_class);
  return size.cwiseProduct(Vector3d(vary(), vary(), vary()));
}

using Edge = std::tuple<float, float, float, float, float, float>;

// Every edge must be run through equally often both ways (vertices at one place count as one).
bool IsClosed(const Mesh& mesh) {
  std::map<Edge, int> count;
  for (const auto& triangle : mesh.triangles) {
    for (int k = 0; k < 3; ++k) {
      const Vector3f& a = mesh.vertices[triangle[k]];
      const Vector3f& b = mesh.vertices[triangle[(k + 1) % 3]];
      if (std::tie(a.x(), a.y(), a.z()) < std::tie(b.x(), b.y(), b.z())) {
        ++count[{a.x(), a.y(), a.z(), b.x(), b.y(), b.z()}];
      } else {
        --count[{b.x(), b.y(), b.z(), a.x(), a.y(), a.z()}];
      }
    }
  }
  for (const auto& [edge, difference] : count) {
    if (difference != 0) return false;
  }
  return true;
}

// By the divergence theorem; overlapping solids count twice.
double SignedVolume(const Mesh& mesh) {
  double volume = 0;
  for (const auto& t : mesh.triangles) {
    volume += mesh.vertices[t[0]].cast<double>().dot(
        mesh.vertices[t[1]].cast<double>().cross(mesh.vertices[t[2]].cast<double>()));
  }
  return volume / 6;
}

TEST(Actors, FillTheirBoxesAndAreClosed) {
  Random random(5);
  for (int c = 0; c < kNumActorClasses; ++c) {
    for (uint64_t seed = 0; seed < 12; ++seed) {
      ActorLook look;
      look.actor_class = static_cast<ActorClass>(c);
      look.size_m = DrawSize(look.actor_class, &random);
      look.seed = MixBits(seed * 100 + c);
      look.rider = seed % 3 != 0;
      const ActorModel model = BuildActor(look);
      SCOPED_TRACE(StrCat(ActorClassName(look.actor_class), " ", seed));
      Vector3f low = Vector3f::Constant(1e9f), high = -low;
      for (const Mesh& mesh : model.meshes) {
        CheckMesh(mesh, "actor");
        EXPECT_TRUE(IsClosed(mesh));
        EXPECT_GT(SignedVolume(mesh), 0) << "faces look inwards";
        EXPECT_LT(mesh.triangles.size(), 12000u);
        const auto [mesh_low, mesh_high] = BoundsOf(mesh);
        low = low.cwiseMin(mesh_low);
        high = high.cwiseMax(mesh_high);
      }
      const Vector3f half = look.size_m.cast<float>() / 2;
      EXPECT_LT((high - half).cwiseAbs().maxCoeff(), 0.001f);
      EXPECT_LT((low + half).cwiseAbs().maxCoeff(), 0.001f);
    }
  }
}

TEST(Actors, EverySeedLooksDifferentAndTheSameSeedTheSame) {
  for (int c = 0; c < kNumActorClasses; ++c) {
    std::set<std::vector<float>> shapes;
    Random random(9);
    ActorLook look;
    look.actor_class = static_cast<ActorClass>(c);
    look.size_m = DrawSize(look.actor_class, &random);
    const auto numbers = [&](uint64_t seed) {
      look.seed = seed;
      const Mesh mesh = BuildActor(look).meshes.front();
      std::vector<float> all;
      for (const Vector3f& v : mesh.vertices) all.insert(all.end(), v.data(), v.data() + 3);
      for (const SurfaceMaterial& m : mesh.materials) {
        all.insert(all.end(), m.color.data(), m.color.data() + 3);
      }
      return all;
    };
    for (uint64_t seed = 0; seed < 20; ++seed) shapes.insert(numbers(seed));
    EXPECT_EQ(shapes.size(), 20u) << ActorClassName(look.actor_class);
    EXPECT_EQ(numbers(3), numbers(3)) << ActorClassName(look.actor_class);
  }
}

TEST(Actors, PartsAndReflectorsAreThere) {
  ActorLook look;
  look.size_m = {4.5, 1.9, 1.5};
  look.seed = 2;
  const Mesh car = BuildActor(look).meshes.front();
  for (const char* part : {"body", "cabin", "wheel", "light", "plate", "mirror"}) {
    EXPECT_THAT(car.parts, testing::Contains(part));
  }
  const auto has_reflector = [](const Mesh& mesh) {
    for (const SurfaceMaterial& material : mesh.materials) {
      if (material.retroreflection > 0.5f) return true;
    }
    return false;
  };
  EXPECT_TRUE(has_reflector(car));
  look.actor_class = ActorClass::kCone;
  look.size_m = {0.4, 0.4, 0.8};
  EXPECT_TRUE(has_reflector(BuildActor(look).meshes.front()));
  look.actor_class = ActorClass::kConstructionWorker;
  look.size_m = {0.7, 0.7, 1.8};
  EXPECT_TRUE(has_reflector(BuildActor(look).meshes.front()));
}

TEST(Actors, LampsShineWithoutChangingTheShape) {
  const auto emission = [](const Mesh& mesh, float red_least, float green_least) {
    float most = 0;
    for (const SurfaceMaterial& m : mesh.materials) {
      const bool red = m.color.x() > red_least && m.color.y() < 0.05f;
      const bool amber = m.color.x() > red_least && m.color.y() > green_least;
      if (green_least > 0 ? amber && m.color.z() < 0.1f : red) most = std::max(most, m.emission);
    }
    return most;
  };
  for (const ActorClass c : {ActorClass::kCar, ActorClass::kVan, ActorClass::kTruck,
                             ActorClass::kBus, ActorClass::kTrailer, ActorClass::kMotorcycle}) {
    Random random(4);
    ActorLook look;
    look.actor_class = c;
    look.size_m = DrawSize(c, &random);
    look.seed = 11;
    const Mesh dark = BuildActor(look).meshes.front();
    look.braking = true;
    const Mesh braking = BuildActor(look).meshes.front();
    EXPECT_EQ(dark.vertices, braking.vertices);
    EXPECT_GT(emission(braking, 0.4f, 0), 2) << ActorClassName(c);
    EXPECT_EQ(emission(dark, 0.4f, 0), 0) << ActorClassName(c);
  }
  ActorLook look;
  look.size_m = {4.5, 1.9, 1.5};
  look.seed = 2;
  EXPECT_EQ(emission(BuildActor(look).meshes.front(), 0.4f, 0.2f), 0);
  look.blink_left = true;
  const Mesh left = BuildActor(look).meshes.front();
  EXPECT_GT(emission(left, 0.4f, 0.2f), 2);
  for (size_t i = 0; i < left.triangles.size(); ++i) {
    const SurfaceMaterial& m = left.materials[left.triangle_material[i]];
    if (m.emission > 2) {
      EXPECT_GT(left.vertices[left.triangles[i][0]].y(), 0);
    }
  }
}

TEST(Actors, CategoriesAndAttributesAreThoseOfNuScenes) {
  EXPECT_EQ(ActorCategory(ActorClass::kBus, {18, 2.9, 3.2}, 1), "vehicle.bus.bendy");
  EXPECT_EQ(ActorCategory(ActorClass::kBus, {12, 2.9, 3.2}, 1), "vehicle.bus.rigid");
  EXPECT_EQ(ActorCategory(ActorClass::kPedestrian, {0.5, 0.5, 1.1}, 1), "human.pedestrian.child");
  EXPECT_EQ(ActorCategory(ActorClass::kDog, {0.9, 0.3, 0.6}, 1), "animal");
  EXPECT_EQ(ActorCategory(ActorClass::kConstructionVehicle, {6, 2.2, 2.8}, 1),
            "vehicle.construction");
  EXPECT_EQ(ActorCategory(ActorClass::kBicycleRack, {3, 0.6, 0.8}, 1),
            "static_object.bicycle_rack");
  EXPECT_EQ(ActorCategory(ActorClass::kPushable, {0.6, 0.6, 1}, 1),
            "movable_object.pushable_pullable");
  EXPECT_EQ(ActorAttribute("vehicle.car", 3, false, false), "vehicle.moving");
  EXPECT_EQ(ActorAttribute("vehicle.car", 0, false, false), "vehicle.stopped");
  EXPECT_EQ(ActorAttribute("vehicle.car", 0, true, false), "vehicle.parked");
  EXPECT_EQ(ActorAttribute("vehicle.bicycle", 0, true, false), "cycle.without_rider");
  EXPECT_EQ(ActorAttribute("human.pedestrian.child", 1.2, false, false), "pedestrian.moving");
  EXPECT_EQ(ActorAttribute("movable_object.barrier", 0, false, false), "");
}

TEST(StreetKinds, NameEverythingInTheStreet) {
  std::set<std::string> names;
  for (const StreetKind& kind : StreetKinds()) EXPECT_TRUE(names.insert(kind.name).second);
  for (int part = 0; part < kNumTownParts; ++part) {
    EXPECT_EQ(names.count(std::string(KindOfTown(static_cast<TownPart>(part)))), 1u) << part;
  }
  for (int c = 0; c < kNumActorClasses; ++c) {
    const auto actor_class = static_cast<ActorClass>(c);
    for (uint64_t seed = 0; seed < 30; ++seed) {
      const std::string category = ActorCategory(actor_class, {2, 1, 1.5}, seed);
      EXPECT_EQ(names.count(std::string(KindOfActor(actor_class, category))), 1u) << category;
    }
  }
  const auto bicycle = [](const char* part) {
    return KindOfActorPart(ActorClass::kBicycle, "vehicle.bicycle", part);
  };
  EXPECT_EQ(bicycle("torso"), "person");
  EXPECT_EQ(bicycle("wheel"), "bicycle");
  // Riders are people down to their shoes.
  for (const ActorClass actor_class : {ActorClass::kBicycle, ActorClass::kMotorcycle}) {
    ActorLook look;
    look.actor_class = actor_class;
    look.size_m = {1.8, 0.7, 1.7};
    const ActorModel with = BuildActor(look);
    look.rider = false;
    const ActorModel without = BuildActor(look);
    const auto& own = without.meshes[0].parts;
    for (const std::string& part : with.meshes[0].parts) {
      const bool added = std::find(own.begin(), own.end(), part) == own.end();
      EXPECT_EQ(KindOfActorPart(actor_class, with.category, part) == "person", added) << part;
    }
  }
}

TEST(StreetKinds, PaintHasAName) {
  ActorLook look;
  look.size_m = {4.4, 1.8, 1.45};
  std::set<std::string> colors;
  for (look.seed = 0; look.seed < 40; ++look.seed) {
    colors.insert(ColorOfActor(ActorClass::kCar, BuildActor(look).meshes[0]));
  }
  EXPECT_GE(colors.size(), 4u);
  EXPECT_EQ(colors.count("blue") + colors.count("red") + colors.count("white"), 3u);
  EXPECT_EQ(ColorOfActor(ActorClass::kPedestrian, {}), "");
}

TEST(Actors, ASizeThatCannotBeIsAnError) {
  ActorLook look;
  look.size_m = {4.5, std::nan(""), 1.5};
  EXPECT_THAT(ErrorOf([&] { BuildActor(look); }), HasSubstr("size of a car"));
  look.size_m = {400, 2, 1.5};
  EXPECT_THAT(ErrorOf([&] { BuildActor(look); }), HasSubstr("0.05 to 40 m"));
}

}  // namespace
}  // namespace athanor
