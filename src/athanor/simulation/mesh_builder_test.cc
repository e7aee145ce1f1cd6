#include "athanor/simulation/mesh_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <numbers>

#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using Eigen::Vector2f;
using Eigen::Vector3f;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr double kPi = std::numbers::pi;

Mesh Built(const std::function<void(MeshBuilder*)>& add) {
  MeshBuilder builder;
  add(&builder);
  Mesh mesh = std::move(builder).Build();
  CheckMesh(mesh, "test");
  return mesh;
}

// Positive when triangles face outwards (divergence theorem).
double Volume(const Mesh& mesh) {
  double volume = 0;
  for (const auto& [a, b, c] : mesh.triangles) {
    volume += mesh.vertices[a].cast<double>().dot(
                  mesh.vertices[b].cast<double>().cross(mesh.vertices[c].cast<double>())) /
              6;
  }
  return volume;
}

void ExpectNormalsFaceOut(const Mesh& mesh) {
  for (const auto& [a, b, c] : mesh.triangles) {
    const Vector3f face = (mesh.vertices[b] - mesh.vertices[a])
                              .cross(mesh.vertices[c] - mesh.vertices[a])
                              .normalized();
    for (const uint32_t v : {a, b, c}) {
      ASSERT_NEAR(mesh.normals[v].norm(), 1, 1e-5);
      ASSERT_GT(mesh.normals[v].dot(face), 0.4);
    }
  }
}

TEST(MeshBuilder, SolidsEncloseTheirVolumes) {
  struct Case {
    const char* name;
    std::function<void(MeshBuilder*)> add;
    double volume, tolerance;
  };
  const std::vector<Vector2f> ell = {{0, 0}, {2, 0}, {2, 1}, {1, 1}, {1, 3}, {0, 3}};
  const Case cases[] = {
      {"box",
       [](auto* b) {
         b->AddBox({1, 2, 3}, {1, 2, 3});
       },
       6, 1e-4},
      // A bevel b on a cube of side 1 takes away 12 edges of b^2 / 2 and leaves 1 - 6 b^2 + 16/3
      // b^3 in all (inclusion-exclusion of the prisms at the corners).
      {"bevelled box",
       [](auto* b) {
         b->AddBox({1, 2, 3}, {1, 1, 1}, 0.1f);
       },
       1 - 6 * 0.01 + 16.0 / 3 * 0.001, 1e-3},
      {"cylinder",
       [](auto* b) {
         b->AddCylinder({1, 0, 0}, {1, 2, 0}, 0.5f, 200);
       },
       2 * kPi * 0.25, 2e-3},
      {"cone",
       [](auto* b) {
         b->AddCone({0, 0, 0}, {0, 0, 3}, 1, 0, 200);
       },
       kPi, 2e-3},
      {"truncated cone",
       [](auto* b) {
         b->AddCone({0, 0, 0}, {3, 0, 0}, 1, 2, 200);
       },
       7 * kPi, 2e-2},
      {"sphere",
       [](auto* b) {
         b->AddSphere({5, 0, 0}, 1, 200);
       },
       4 * kPi / 3, 5e-3},
      {"ellipsoid",
       [](auto* b) {
         b->AddEllipsoid({5, 0, 0}, {1, 2, 3}, 200);
       },
       8 * kPi, 3e-2},
      {"torus",
       [](auto* b) {
         b->AddTorus({1, 2, 3}, {1, 1, 0}, 2, 0.5f, 200, 100);
       },
       2 * kPi * kPi * 2 * 0.25, 2e-2},
      {"extrusion", [&](auto* b) { b->AddExtrusion(ell, 1, 3); }, 8, 1e-4},
      {"cup",
       [](auto* b) {
         b->AddLathe({0, 0, 0}, {{0, 0}, {1, 0}, {1, 2}, {0.5f, 2}, {0.5f, 1}, {0, 1}}, 200);
       },
       kPi * (2 - 0.25), 5e-3},
      {"tube",
       [](auto* b) {
         b->AddTube({{0, 0, 0}, {1, 0, 0}, {3, 0, 0}}, {0.5f}, 100);
       },
       3 * kPi * 0.25, 5e-3},
      {"loft",
       [](auto* b) {
         b->AddLoft({{{0, 1, -1}, {0, 1, 1}, {0, -1, 1}, {0, -1, -1}},
                     {{2, 1, -1}, {2, 1, 1}, {2, -1, 1}, {2, -1, -1}}});
       },
       8, 1e-4},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const Mesh mesh = Built(c.add);
    EXPECT_NEAR(Volume(mesh), c.volume, c.tolerance);
    ExpectNormalsFaceOut(mesh);
    // Mirrored and scaled, it still faces outwards.
    const Mesh mirrored = Built([&](MeshBuilder* builder) {
      builder->Push(Eigen::Affine3f(Eigen::Scaling(-2.f, 1.f, 1.f)));
      c.add(builder);
      builder->Pop();
    });
    EXPECT_NEAR(Volume(mirrored), 2 * c.volume, 2 * c.tolerance + 1e-4);
    ExpectNormalsFaceOut(mirrored);
    const Mesh copied = Built([&](MeshBuilder* builder) {
      builder->AddMesh(mesh, Eigen::Affine3f(Eigen::Scaling(-2.f, 1.f, 1.f)));
    });
    EXPECT_NEAR(Volume(copied), 2 * c.volume, 2 * c.tolerance + 1e-4);
    ExpectNormalsFaceOut(copied);
  }
}

TEST(MeshBuilder, SmoothWhereFlatSharpAtCreases) {
  const Mesh sphere = Built([](auto* b) { b->AddSphere({1, 2, 3}, 2, 40); });
  for (size_t i = 0; i < sphere.vertices.size(); ++i) {
    const Vector3f radial = (sphere.vertices[i] - Vector3f(1, 2, 3)).normalized();
    EXPECT_GT(sphere.normals[i].dot(radial), 0.995) << i;
  }
  const Mesh box = Built([](auto* b) { b->AddBox({0, 0, 0}, {1, 1, 1}); });
  EXPECT_EQ(box.vertices.size(), 24u);
  for (const Vector3f& n : box.normals) EXPECT_NEAR(n.cwiseAbs().maxCoeff(), 1, 1e-6);
}

TEST(MeshBuilder, PartsAndMaterialsAreScopes) {
  SurfaceMaterial red, wood;
  red.color = {1, 0, 0};
  wood.pattern = SurfaceMaterial::Pattern::kWood;
  MeshBuilder builder;
  builder.UseMaterial(red);
  builder.BeginPart("leg");
  builder.AddQuad({0, 0, 0}, {1, 0, 0}, {1, 1, 0}, {0, 1, 0});
  builder.UseMaterial(wood);
  builder.BeginPart("top");
  builder.AddQuad({0, 0, 1}, {1, 0, 1}, {1, 1, 1}, {0, 1, 1});
  builder.UseMaterial(red);
  builder.BeginPart("leg");
  builder.AddTriangle({0, 0, 2}, {1, 0, 2}, {1, 1, 2});
  const Mesh mesh = std::move(builder).Build();
  EXPECT_THAT(mesh.parts, ElementsAre("leg", "top"));
  EXPECT_EQ(mesh.materials.size(), 2u);
  EXPECT_THAT(mesh.triangle_part, ElementsAre(0, 0, 1, 1, 0));
  EXPECT_THAT(mesh.triangle_material, ElementsAre(0, 0, 1, 1, 0));
}

TEST(MeshBuilder, TextureCoordinatesAreMetres) {
  const Mesh mesh = Built([](auto* b) { b->AddBox({0, 0, 0}, {1, 2, 3}, 0); });
  for (const auto& [a, b, c] : mesh.triangles) {
    EXPECT_NEAR((mesh.uv[a] - mesh.uv[b]).norm(), (mesh.vertices[a] - mesh.vertices[b]).norm(),
                1e-5);
    EXPECT_NEAR((mesh.uv[b] - mesh.uv[c]).norm(), (mesh.vertices[b] - mesh.vertices[c]).norm(),
                1e-5);
  }
}

TEST(MeshBuilder, PolygonThatCrossesItselfEnds) {
  const std::vector<Vector2f> bow = {{0, 0}, {1, 1}, {1, 0}, {0, 1}, {0.5f, 2}, {0.5f, -1}};
  EXPECT_EQ(Triangulate(bow).size(), 4u);
  EXPECT_TRUE(Triangulate({{0, 0}, {1, 0}}).empty());
}

TEST(MeshBuilder, RefusesDamagedMeshes) {
  const Mesh good = Built([](auto* b) { b->AddBox({0, 0, 0}, {1, 1, 1}); });
  const auto error = [&](const std::function<void(Mesh*)>& damage) {
    Mesh mesh = good;
    damage(&mesh);
    return ErrorOf([&] { CheckMesh(mesh, "mesh 7"); });
  };
  EXPECT_THAT(error([](Mesh* m) { m->vertices[3].y() = std::nanf(""); }),
              HasSubstr("mesh 7: vertex 3 is not finite"));
  EXPECT_THAT(error([](Mesh* m) { m->triangles[2][1] = 99; }),
              HasSubstr("triangle 2: vertex 99 of 24"));
  EXPECT_THAT(error([](Mesh* m) { m->triangle_material[1] = 5; }), HasSubstr("material 5 of 1"));
  EXPECT_THAT(error([](Mesh* m) { m->triangle_part[1] = 5; }), HasSubstr("part 5 of 1"));
  EXPECT_THAT(error([](Mesh* m) { m->normals.pop_back(); }), HasSubstr("found 23"));
  EXPECT_THAT(error([](Mesh* m) { m->uv[0].x() = std::numeric_limits<float>::infinity(); }),
              HasSubstr("uv 0 is not finite"));
  EXPECT_THAT(ErrorOf([] { BoundsOf(Mesh{}); }), HasSubstr("no vertices"));
}

}  // namespace
}  // namespace athanor
