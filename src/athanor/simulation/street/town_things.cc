// What stands in a town: houses, trees, lamps, signs, traffic lights.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "athanor/simulation/street/actor_shapes.h"
#include "athanor/simulation/street/town_parts.h"

namespace athanor {
namespace {

using Eigen::Vector2f;
using Eigen::Vector3f;
using Pattern = SurfaceMaterial::Pattern;

SurfaceMaterial Patterned(const Vector3f& color, const Vector3f& second, Pattern pattern,
                          float scale, float reflectance) {
  SurfaceMaterial material = PlainFinish(color, reflectance);
  material.second_color = second;
  material.pattern = pattern;
  material.pattern_scale = scale;
  return material;
}

Vector3f DrawWall(Random* random) {
  const Vector3f palette[] = {{0.62f, 0.55f, 0.42f}, {0.55f, 0.36f, 0.2f},  {0.6f, 0.58f, 0.54f},
                              {0.42f, 0.4f, 0.38f},  {0.58f, 0.44f, 0.33f}, {0.35f, 0.42f, 0.46f},
                              {0.66f, 0.6f, 0.3f},   {0.5f, 0.25f, 0.18f}};
  const Vector3f color = palette[random->Below(8)];
  return color * random->Uniform(0.75f, 1.15f);
}

}  // namespace

void AddBuilding(const TownBuilding& building, double ground_z, Random* random, MeshBuilder* out) {
  const auto w = static_cast<float>(2 * building.half_m.x());
  const auto d = static_cast<float>(2 * building.half_m.y());
  const auto h = static_cast<float>(building.height_m);
  // Building frames look along -y of themselves; the road lies to the left (+y) of the border.
  out->Push(Vector3f(static_cast<float>(building.center_m.x()),
                     static_cast<float>(building.center_m.y()), static_cast<float>(ground_z)),
            static_cast<float>(building.yaw_rad) + std::numbers::pi_v<float>);
  const Vector3f wall = DrawWall(random);
  const Vector3f trim =
      random->Uniform() < 0.5f ? Vector3f(Vector3f::Constant(0.6f)) : Vector3f(0.5f * wall);
  const bool tall = h > 9.5f;
  const bool bricks = !tall && random->Uniform() < 0.5f;
  const SurfaceMaterial glass = GlassFinish();
  const float front = -d / 2;
  if (tall) {
    const float floor = random->Uniform(2.9f, 3.4f), ground_floor = random->Uniform(3.3f, 4.2f);
    out->UseMaterial(Patterned(wall, {0.05f, 0.07f, 0.09f}, Pattern::kWindows, 1 / floor, 0.4f));
    out->BeginPart("facade");
    out->AddBox({0, 0, h / 2}, {w, d, h});
    out->UseMaterial(PlainFinish(0.7f * wall, 0.35f));
    out->BeginPart("ground floor");
    out->AddBox({0, 0, ground_floor / 2}, {w + 0.16f, d + 0.16f, ground_floor});
    // Shop windows with a door, and awnings over some.
    const int shops = std::max(1, static_cast<int>(w / 5));
    const float shop = w / static_cast<float>(shops);
    for (int i = 0; i < shops; ++i) {
      const float x = -w / 2 + shop * (static_cast<float>(i) + 0.5f);
      out->UseMaterial(glass);
      out->BeginPart("window");
      out->AddBox({x - 0.08f * shop, front - 0.08f, 1.55f}, {0.6f * shop, 0.06f, 2.1f});
      out->UseMaterial(PlainFinish({0.1f, 0.06f, 0.03f}, 0.3f));
      out->BeginPart("door");
      out->AddBox({x + 0.36f * shop, front - 0.08f, 1.15f}, {0.95f, 0.06f, 2.2f});
      if (random->Uniform() < 0.45f) {
        const Vector3f cloth(random->Uniform(0.1f, 0.7f), random->Uniform(0.05f, 0.5f),
                             random->Uniform(0.05f, 0.4f));
        out->UseMaterial(Patterned(cloth, {0.75f, 0.73f, 0.7f}, Pattern::kStripes, 2, 0.4f));
        out->BeginPart("awning");
        const float x0 = x - 0.4f * shop, x1 = x + 0.26f * shop, y = front - 0.08f;
        out->AddLoft({{{x0, y, 3.0f}, {x0, y - 1.1f, 2.55f}, {x0, y - 1.1f, 2.5f}, {x0, y, 2.9f}},
                      {{x1, y, 3.0f}, {x1, y - 1.1f, 2.55f}, {x1, y - 1.1f, 2.5f}, {x1, y, 2.9f}}});
      } else if (random->Uniform() < 0.5f) {
        SurfaceMaterial sign =
            PlainFinish({random->Uniform(0.02f, 0.7f), random->Uniform(0.02f, 0.5f),
                         random->Uniform(0.02f, 0.5f)},
                        0.4f);
        sign.emission = 0.15f;
        out->UseMaterial(sign);
        out->BeginPart("shop sign");
        out->AddBox({x - 0.05f * shop, front - 0.11f, 2.95f}, {0.7f * shop, 0.1f, 0.5f});
      }
    }
    // Balconies.
    if (random->Uniform() < 0.5f) {
      out->UseMaterial(PlainFinish(trim, 0.4f));
      out->BeginPart("balcony");
      for (float z = ground_floor + floor; z + 1.2f < h; z += floor) {
        for (const float x : {-0.25f * w, 0.25f * w}) {
          out->AddBox({x, front - 0.5f, z}, {0.28f * w, 1.0f, 0.14f});
          out->AddBox({x, front - 0.97f, z + 0.5f}, {0.28f * w, 0.06f, 0.9f});
        }
      }
    }
    out->UseMaterial(PlainFinish(trim, 0.35f));
    out->BeginPart("roof");
    out->AddBox({0, 0, h + 0.2f}, {w + 0.5f, d + 0.5f, 0.4f});
    out->UseMaterial(PlainFinish(Vector3f::Constant(0.3f), 0.3f));
    for (int i = 0; i < 3; ++i) {
      const float s = random->Uniform(0.9f, 2.2f);
      out->AddBox(
          {random->Uniform(-0.3f, 0.3f) * w, random->Uniform(-0.3f, 0.3f) * d, h + 0.4f + s / 2},
          {s * 1.3f, s, s});
    }
  } else {
    const float eaves = h - random->Uniform(1.8f, 2.8f);
    out->UseMaterial(bricks ? Patterned({0.42f, 0.16f, 0.1f}, {0.5f, 0.47f, 0.42f},
                                        Pattern::kBricks, 2.5f, 0.35f)
                            : Patterned(wall, 0.85f * wall, Pattern::kNoise, 0.5f, 0.4f));
    out->BeginPart("facade");
    out->AddBox({0, 0, eaves / 2}, {w, d, eaves});
    // Windows with frames on the front, the back and one gable.
    const int floors = std::max(1, static_cast<int>(eaves / 2.7f));
    const int columns = std::max(2, static_cast<int>(w / 2.6f));
    const int door = static_cast<int>(random->Below(static_cast<uint32_t>(columns)));
    for (int f = 0; f < floors; ++f) {
      for (int i = 0; i < columns; ++i) {
        const float x = -w / 2 + w * (static_cast<float>(i) + 0.5f) / static_cast<float>(columns);
        const float z = 1.55f + 2.75f * static_cast<float>(f);
        if (z + 0.7f > eaves) continue;
        for (const float side : {1.0f, -1.0f}) {
          const float y = side * d / 2;
          if (f == 0 && i == door && side < 0) {
            out->UseMaterial(PlainFinish({0.22f, 0.09f, 0.04f}, 0.3f));
            out->BeginPart("door");
            out->AddBox({x, y, 1.1f}, {1.0f, 0.14f, 2.2f});
            continue;
          }
          out->UseMaterial(PlainFinish(Vector3f::Constant(0.62f), 0.45f));
          out->BeginPart("window frame");
          out->AddBox({x, y, z}, {1.22f, 0.1f, 1.42f});
          out->UseMaterial(glass);
          out->BeginPart("window");
          out->AddBox({x, y, z}, {1.04f, 0.14f, 1.24f});
        }
      }
    }
    const Vector3f tiles =
        random->Uniform() < 0.6f ? Vector3f(0.35f, 0.12f, 0.06f) : Vector3f(0.1f, 0.1f, 0.11f);
    out->UseMaterial(Patterned(tiles, 0.6f * tiles, Pattern::kTiles, 3, 0.35f));
    out->BeginPart("roof");
    const float x0 = -w / 2 - 0.35f, y0 = d / 2 + 0.45f,
                hip = random->Uniform() < 0.35f ? 0.35f * w : 0;
    const float z0 = eaves - 0.1f;
    out->AddLoft(
        {{{x0, -y0, z0}, {x0, y0, z0}, {x0, 0.01f, hip > 0 ? z0 + 0.02f : h}},
         {{x0 + hip + 0.01f, -y0, z0}, {x0 + hip + 0.01f, y0, z0}, {x0 + hip + 0.01f, 0.01f, h}},
         {{-x0 - hip - 0.01f, -y0, z0}, {-x0 - hip - 0.01f, y0, z0}, {-x0 - hip - 0.01f, 0.01f, h}},
         {{-x0, -y0, z0}, {-x0, y0, z0}, {-x0, 0.01f, hip > 0 ? z0 + 0.02f : h}}},
        true, true, 0.2f);
    out->UseMaterial(
        Patterned({0.3f, 0.12f, 0.08f}, {0.4f, 0.38f, 0.35f}, Pattern::kBricks, 3, 0.3f));
    out->BeginPart("chimney");
    out->AddBox({random->Uniform(-0.25f, 0.25f) * w, 0.12f * d, h}, {0.6f, 0.6f, 1.5f});
  }
  out->Pop();
}

void AddDistantBuilding(const TownBuilding& building, double ground_z, Random* random,
                        MeshBuilder* out) {
  const auto h = static_cast<float>(building.height_m);
  out->Push(Vector3f(static_cast<float>(building.center_m.x()),
                     static_cast<float>(building.center_m.y()), static_cast<float>(ground_z)),
            static_cast<float>(building.yaw_rad));
  out->UseMaterial(
      Patterned(DrawWall(random), {0.06f, 0.08f, 0.1f}, Pattern::kWindows, 0.32f, 0.4f));
  out->BeginPart("facade");
  const Vector2f size = 2 * building.half_m.cast<float>();
  out->AddBox({0, 0, h / 2}, {size.x(), size.y(), h});
  out->UseMaterial(PlainFinish({0.3f, 0.25f, 0.22f}, 0.3f));
  out->BeginPart("roof");
  out->AddBox({0, 0, h + 0.3f}, {size.x() + 0.4f, size.y() + 0.4f, 0.6f});
  out->Pop();
}

Mesh TreeMesh(int kind, Random* random) {
  SolidBuilder tree;
  const uint16_t leaves = tree.AddMaterial(
      Patterned({0.08f, 0.17f, 0.03f}, {0.03f, 0.07f, 0.015f}, Pattern::kLeaves, 1.2f, 0.4f));
  const uint16_t bark = tree.AddMaterial(
      Patterned({0.14f, 0.09f, 0.055f}, {0.07f, 0.045f, 0.03f}, Pattern::kNoise, 4, 0.3f));
  const float height = random->Uniform(5.0f, 10.5f);
  tree.Use(bark, "trunk");
  if (kind % 4 == 3) {  // conifer
    tree.Tube({0, 0, -0.1f}, {0, 0, 0.3f * height}, 0.18f, 0.14f, 7);
    tree.Use(leaves, "leaves");
    for (int i = 0; i < 5; ++i) {
      const float z = height * (0.15f + 0.17f * static_cast<float>(i));
      const float r = height * (0.22f - 0.037f * static_cast<float>(i));
      tree.Tube({0, 0, z}, {0, 0, z + 0.27f * height}, r, 0.08f, 9);
    }
    return tree.Build();
  }
  const float crown = random->Uniform(0.3f, 0.42f) * height;  // where it begins
  const float thick = 0.022f * height + 0.04f;
  tree.Limb({0, 0, 0},
            {random->Uniform(-0.2f, 0.2f), random->Uniform(-0.2f, 0.2f), crown + 0.2f * height},
            thick, 0.6f * thick, 8);
  const int lumps = 5 + static_cast<int>(random->Below(4));
  const float wide = random->Uniform(0.22f, 0.36f) * height;
  for (int i = 0; i < 3; ++i) {
    const float a = 2.1f * static_cast<float>(i) + random->Uniform(-0.4f, 0.4f);
    tree.Limb({0, 0, 0.85f * crown},
              {0.5f * wide * std::cos(a), 0.5f * wide * std::sin(a), crown + 0.2f * height},
              0.5f * thick, 0.25f * thick, 6);
  }
  tree.Use(leaves, "leaves");
  const float middle = (crown + height) / 2;
  AddBlob({0, 0, middle}, {0.75f * wide, 0.75f * wide, 0.46f * (height - crown)}, 0.16f, 7, 11,
          random, &tree);
  for (int i = 0; i < lumps; ++i) {
    const float a = 6.2831853f * static_cast<float>(i) / static_cast<float>(lumps);
    const float s = random->Uniform(0.42f, 0.6f), r = random->Uniform(0.45f, 0.7f) * wide;
    AddBlob({r * std::cos(a), r * std::sin(a),
             middle + random->Uniform(-0.22f, 0.25f) * (height - crown)},
            {s * wide, s * wide, s * 0.6f * (height - crown)}, 0.18f, 6, 9, random, &tree);
  }
  return tree.Build();
}

Mesh HedgeMesh(Random* random) {
  SolidBuilder hedge;
  hedge.Use(hedge.AddMaterial(Patterned({0.07f, 0.16f, 0.03f}, {0.03f, 0.08f, 0.015f},
                                        Pattern::kLeaves, 2.5f, 0.45f)),
            "leaves");
  const float height = random->Uniform(0.6f, 1.3f);
  for (int i = 0; i < 3; ++i) {
    AddBlob({0.55f * static_cast<float>(i - 1), random->Uniform(-0.1f, 0.1f), 0.42f * height},
            {random->Uniform(0.45f, 0.6f), 0.5f, random->Uniform(0.45f, 0.55f) * height}, 0.15f, 6,
            10, random, &hedge);
  }
  return hedge.Build();
}

Mesh BenchMesh() {
  SolidBuilder bench;
  const uint16_t wood = bench.AddMaterial(
      Patterned({0.3f, 0.17f, 0.07f}, {0.2f, 0.1f, 0.04f}, Pattern::kWood, 3, 0.4f));
  const uint16_t metal = bench.AddMaterial(MetalFinish(0.15f));
  bench.Use(wood, "seat");
  for (int i = 0; i < 3; ++i) {
    bench.Box({0, -0.15f + 0.15f * static_cast<float>(i), 0.45f}, {1.6f, 0.12f, 0.04f});
    bench.Box({0, -0.25f, 0.58f + 0.13f * static_cast<float>(i)}, {1.6f, 0.04f, 0.1f});
  }
  bench.Use(metal, "leg");
  for (const float x : {-0.65f, 0.65f}) {
    bench.Box({x, 0, 0.22f}, {0.06f, 0.4f, 0.44f});
    bench.Box({x, -0.22f, 0.6f}, {0.06f, 0.05f, 0.6f});
  }
  return bench.Build();
}

Mesh StreetLampMesh(bool shines) {
  SolidBuilder lamp;
  const uint16_t metal = lamp.AddMaterial(MetalFinish(0.22f));
  const uint16_t bulb = lamp.AddMaterial(LampFinish({1.0f, 0.85f, 0.6f}, shines ? 6 : 0));
  lamp.Use(metal, "pole");
  lamp.Tube({0, 0, -0.1f}, {0, 0, 0.9f}, 0.1f, 0.09f, 8);
  lamp.Tube({0, 0, 0.9f}, {0, 0, kLampHeight_m - 0.3f}, 0.075f, 0.05f, 8);
  lamp.Limb({0, 0, kLampHeight_m - 0.35f}, {kLampArm_m - 0.3f, 0, kLampHeight_m + 0.05f}, 0.05f,
            0.04f, 7);
  lamp.Use(metal, "head");
  lamp.Ellipsoid({kLampArm_m - 0.1f, 0, kLampHeight_m + 0.08f}, {0.42f, 0.15f, 0.09f}, 5, 10);
  lamp.Use(bulb, "bulb");
  lamp.Box({kLampArm_m - 0.1f, 0, kLampHeight_m}, {0.5f, 0.2f, 0.03f});
  return lamp.Build();
}

Mesh SignMesh(SignKind kind) {
  SolidBuilder sign;
  const uint16_t metal = sign.AddMaterial(MetalFinish(0.45f));
  const uint16_t red = sign.AddMaterial(RetroFinish({0.65f, 0.02f, 0.02f}, 0.9f));
  const uint16_t white = sign.AddMaterial(RetroFinish({0.8f, 0.8f, 0.78f}, 1.0f));
  const uint16_t blue = sign.AddMaterial(RetroFinish({0.02f, 0.1f, 0.5f}, 0.9f));
  const uint16_t black = sign.AddMaterial(PlainFinish({0.01f, 0.01f, 0.01f}, 0.1f));
  sign.Use(metal, "pole");
  sign.Tube({0, 0, -0.1f}, {0, 0, 2.9f}, 0.035f, 0.035f, 7);
  const Vector3f at(0.05f, 0, 2.5f);
  // A plate of `corners` corners, its face `layer` steps before the pole.
  const auto plate = [&](int corners, float radius, float turn, int layer, uint16_t material) {
    sign.Use(material, "face");
    const float x0 = at.x() + 0.008f * static_cast<float>(layer - 1),
                x1 = at.x() + 0.008f * static_cast<float>(layer);
    SolidBuilder::Ring back, front;
    for (int i = 0; i < corners; ++i) {
      const float a = turn + 6.2831853f * static_cast<float>(i) / static_cast<float>(corners);
      back.emplace_back(x0, radius * std::cos(a), at.z() + radius * std::sin(a));
      front.emplace_back(x1, radius * std::cos(a), at.z() + radius * std::sin(a));
    }
    sign.Loft({back, front});
  };
  // Strokes of the digits, each (y, z, width, height) in units of the sign's face.
  const auto bar = [&](uint16_t material, float y, float z, float width, float height) {
    sign.Use(material, "symbol");
    sign.Box({at.x() + 0.03f, y, at.z() + z}, {0.012f, width, height});
  };
  constexpr float kQuarter = 1.5707963f;
  switch (kind) {
    case SignKind::kSpeed30:
    case SignKind::kSpeed50:
      plate(20, 0.32f, 0, 1, red);
      plate(20, 0.25f, 0, 2, white);
      // The reader sees +y on the right: the sign's face looks along +x.
      for (const float z : {0.12f, 0.0f, -0.12f}) bar(black, -0.09f, z, 0.12f, 0.03f);
      bar(black, kind == SignKind::kSpeed30 ? -0.045f : -0.135f, 0.06f, 0.03f, 0.12f);
      bar(black, -0.045f, -0.06f, 0.03f, 0.12f);
      for (const float z : {0.12f, -0.12f}) bar(black, 0.09f, z, 0.12f, 0.03f);
      for (const float y : {0.045f, 0.135f}) bar(black, y, 0, 0.03f, 0.24f);
      break;
    case SignKind::kYield:
      plate(3, 0.42f, -kQuarter, 1, red);
      plate(3, 0.26f, -kQuarter, 2, white);
      break;
    case SignKind::kStop:
      plate(8, 0.36f, 0.3926991f, 1, white);
      plate(8, 0.33f, 0.3926991f, 2, red);
      for (int i = 0; i < 4; ++i)
        bar(white, -0.18f + 0.12f * static_cast<float>(i), 0, 0.08f, 0.16f);
      break;
    case SignKind::kCrossing:
      plate(4, 0.42f, kQuarter / 2, 1, blue);
      plate(3, 0.26f, kQuarter, 2, white);
      bar(black, 0, -0.03f, 0.05f, 0.16f);
      break;
    case SignKind::kRoundabout:
      plate(20, 0.32f, 0, 1, blue);
      for (int i = 0; i < 3; ++i) {
        const float a = 2.0944f * static_cast<float>(i);
        bar(white, 0.16f * std::cos(a), 0.16f * std::sin(a), 0.16f, 0.07f);
      }
      break;
    case SignKind::kNoParking:
      plate(20, 0.3f, 0, 1, red);
      plate(20, 0.23f, 0, 2, blue);
      for (int i = -2; i <= 2; ++i) {
        bar(red, 0.07f * static_cast<float>(i), 0.07f * static_cast<float>(i), 0.08f, 0.08f);
      }
      break;
  }
  return sign.Build();
}

Mesh SignalPoleMesh() {
  SolidBuilder pole;
  pole.Use(pole.AddMaterial(MetalFinish(0.16f)), "pole");
  pole.Tube({0, 0, -0.1f}, {0, 0, 6.1f}, 0.11f, 0.08f, 8);
  pole.Limb({0, 0, 5.95f}, {0, kSignalArm_m + 0.2f, 6.1f}, 0.07f, 0.05f, 7);
  return pole.Build();
}

Mesh SignalHeadMesh(int shown) {
  SolidBuilder head;
  const uint16_t housing = head.AddMaterial(PlainFinish({0.015f, 0.018f, 0.016f}, 0.15f));
  head.Use(housing, "housing");
  head.Box({0, 0, 0}, {0.22f, 0.32f, 0.95f});
  head.Box({-0.08f, 0, 0}, {0.03f, 0.52f, 1.15f});
  const Vector3f colors[] = {{1.0f, 0.06f, 0.03f}, {1.0f, 0.5f, 0.02f}, {0.05f, 1.0f, 0.35f}};
  for (int i = 0; i < 3; ++i) {
    const bool on = shown == i + 1 || (shown == 4 && i < 2);
    head.Use(
        head.AddMaterial(LampFinish(on ? colors[i] : Vector3f(0.08f * colors[i]), on ? 3.5f : 0)),
        "lamp");
    const float z = 0.3f - 0.3f * static_cast<float>(i);
    head.Tube({0.08f, 0, z}, {0.125f, 0, z}, 0.115f, 0.1f, 12);
    head.Use(housing, "visor");
    head.Box({0.19f, 0, z + 0.125f}, {0.16f, 0.26f, 0.02f});
  }
  return head.Build();
}

}  // namespace athanor
