// Things on and beside the road, and the finishes that all shapes share.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "athanor/simulation/street/actor_shapes.h"

namespace athanor {

using Eigen::Vector2f;
using Eigen::Vector3f;

SurfaceMaterial PaintFinish(const Vector3f& color, float gloss) {
  SurfaceMaterial material;
  material.color = material.second_color = color;
  material.roughness = 0.6f - 0.45f * gloss;
  material.mirror = 0.12f * gloss;
  // Near infrared sees paints brighter than the eye does, black ones still dark.
  material.lidar_reflectance = 0.12f + 0.55f * color.mean();
  return material;
}

SurfaceMaterial GlassFinish() {
  SurfaceMaterial material;
  material.color = material.second_color = {0.018f, 0.024f, 0.028f};
  material.roughness = 0.05f;
  material.mirror = 0.4f;
  material.lidar_reflectance = 0.04f;
  return material;
}

SurfaceMaterial RubberFinish() { return PlainFinish({0.022f, 0.022f, 0.023f}, 0.06f); }

SurfaceMaterial MetalFinish(float brightness) {
  SurfaceMaterial material;
  material.color = material.second_color = Vector3f::Constant(brightness);
  material.roughness = 0.3f;
  material.metallic = 0.7f;
  material.mirror = 0.15f;
  material.lidar_reflectance = 0.5f;
  return material;
}

SurfaceMaterial PlainFinish(const Vector3f& color, float lidar_reflectance) {
  SurfaceMaterial material;
  material.color = material.second_color = color;
  material.roughness = 0.85f;
  material.lidar_reflectance = lidar_reflectance;
  return material;
}

SurfaceMaterial RetroFinish(const Vector3f& color, float retroreflection) {
  SurfaceMaterial material = PlainFinish(color, 0.6f);
  material.roughness = 0.4f;
  material.retroreflection = retroreflection;
  return material;
}

SurfaceMaterial LampFinish(const Vector3f& color, float emission) {
  SurfaceMaterial material = PlainFinish(color, 0.35f);
  material.roughness = 0.1f;
  material.mirror = 0.08f;
  material.emission = emission;
  return material;
}

void AddBlob(const Vector3f& center, const Vector3f& half_axes, float bumps, int rings,
             int segments, Random* random, SolidBuilder* out) {
  constexpr float kTurn = 2 * std::numbers::pi_v<float>;
  const float turn = random->Uniform(0, kTurn);
  std::vector<SolidBuilder::Ring> skin;
  for (int r = 0; r <= rings; ++r) {
    const float t = std::clamp(static_cast<float>(r) / static_cast<float>(rings), 0.08f, 0.92f);
    SolidBuilder::Ring ring;
    for (int i = 0; i < segments; ++i) {
      const float a = turn + kTurn * static_cast<float>(i) / static_cast<float>(segments);
      const float s = 1 + bumps * random->Uniform(-1, 1);
      const float radius = s * std::sin(kTurn / 2 * t);
      ring.push_back(center + Vector3f(half_axes.x() * radius * std::cos(a),
                                       half_axes.y() * radius * std::sin(a),
                                       -half_axes.z() * s * std::cos(kTurn / 2 * t)));
    }
    skin.push_back(std::move(ring));
  }
  out->Loft(skin);
}

void ShapePlasticBag(const Vector3f& size_m, Random* random, SolidBuilder* out) {
  const float tint = random->Uniform();
  SurfaceMaterial plastic = PlainFinish(tint < 0.5f   ? Vector3f(0.8f, 0.82f, 0.84f)
                                        : tint < 0.8f ? Vector3f(0.02f, 0.02f, 0.025f)
                                                      : Vector3f(0.15f, 0.4f, 0.7f),
                                        0.25f);
  plastic.roughness = 0.25f;
  plastic.mirror = 0.08f;
  out->Use(out->AddMaterial(plastic), "bag");
  const float l = size_m.x(), w = size_m.y(), h = size_m.z();
  AddBlob({0, 0, 0.42f * h}, {0.5f * l, 0.5f * w, 0.42f * h}, 0.22f, 7, 11, random, out);
  for (const float side : {1.0f, -1.0f}) {  // the handles
    AddBlob({0.12f * l * side, 0.1f * w * side, 0.86f * h}, {0.1f * l, 0.05f * w, 0.16f * h}, 0.2f,
            5, 6, random, out);
  }
}

void ShapeShrub(const Vector3f& size_m, Random* random, SolidBuilder* out) {
  SurfaceMaterial leaves = PlainFinish(
      {random->Uniform(0.03f, 0.12f), random->Uniform(0.10f, 0.22f), random->Uniform(0.01f, 0.05f)},
      0.45f);
  leaves.pattern = SurfaceMaterial::Pattern::kLeaves;
  leaves.second_color = 0.45f * leaves.color;
  leaves.pattern_scale = 6;
  out->Use(out->AddMaterial(leaves), "leaves");
  const float l = size_m.x(), w = size_m.y(), h = size_m.z();
  AddBlob({0, 0, 0.48f * h}, {0.4f * l, 0.4f * w, 0.46f * h}, 0.16f, 7, 12, random, out);
  const int lumps = 4 + static_cast<int>(random->Below(4));
  for (int i = 0; i < lumps; ++i) {
    const float a = 6.2831853f * static_cast<float>(i) / static_cast<float>(lumps);
    const float s = random->Uniform(0.18f, 0.28f);
    AddBlob({0.26f * l * std::cos(a), 0.26f * w * std::sin(a), random->Uniform(0.3f, 0.65f) * h},
            {s * l, s * w, s * 1.2f * h}, 0.16f, 6, 9, random, out);
  }
}

void ShapeFence(const Vector3f& size_m, Random* random, SolidBuilder* out) {
  // The long side may lie along x or y.
  const bool along_x = size_m.x() >= size_m.y();
  const float l = along_x ? size_m.x() : size_m.y(), w = along_x ? size_m.y() : size_m.x();
  const float h = size_m.z();
  SolidBuilder fence;
  const bool metal = random->Uniform() < 0.5f;
  SurfaceMaterial finish =
      metal ? MetalFinish(random->Uniform(0.3f, 0.6f)) : PlainFinish({0.3f, 0.18f, 0.08f}, 0.4f);
  if (!metal) {
    finish.pattern = SurfaceMaterial::Pattern::kWood;
    finish.second_color = 0.6f * finish.color;
    finish.pattern_scale = 3;
  }
  fence.Use(fence.AddMaterial(finish), "rail");
  const float t = std::min(w, 0.06f);
  for (const float z : {0.2f * h, 0.9f * h}) fence.Box({0, 0, z}, {l, t, 0.07f * h + 0.01f});
  fence.Use(0, "post");
  const int posts = std::max(2, static_cast<int>(l / 1.8f) + 1);
  for (int i = 0; i < posts; ++i) {
    const float x =
        -l / 2 + 0.04f + (l - 0.08f) * static_cast<float>(i) / static_cast<float>(posts - 1);
    fence.Box({x, 0, h / 2}, {0.08f, w, h});
  }
  fence.Use(0, "bar");
  const float step = metal ? 0.14f : 0.2f;
  const int bars = std::min(200, static_cast<int>(l / step));
  for (int i = 0; i < bars; ++i) {
    const float x = -l / 2 + l * (static_cast<float>(i) + 0.5f) / static_cast<float>(bars);
    fence.Box({x, 0, 0.53f * h}, {metal ? 0.025f : 0.12f, 0.6f * t, 0.86f * h});
  }
  out->Append(fence, Vector3f::Zero(), along_x ? 0 : std::numbers::pi_v<float> / 2);
}

void ShapeCone(const Vector3f& size_m, Random* random, SolidBuilder* out) {
  const float w = std::min(size_m.x(), size_m.y()), h = size_m.z();
  const uint16_t orange = out->AddMaterial(
      PlainFinish({random->Uniform(0.75f, 0.9f), random->Uniform(0.12f, 0.2f), 0.01f}, 0.5f));
  const uint16_t white = out->AddMaterial(RetroFinish({0.85f, 0.85f, 0.83f}, 0.9f));
  const uint16_t base = out->AddMaterial(PlainFinish({0.03f, 0.03f, 0.03f}, 0.1f));
  out->Use(base, "base");
  out->Box({0, 0, 0.03f * h}, {size_m.x(), size_m.y(), 0.06f * h});
  const auto radius = [&](float z) { return w * (0.38f - 0.31f * z / h); };
  const int bands = random->Uniform() < 0.5f ? 1 : 2;
  float z = 0.06f * h;
  const float band = 0.16f * h, gap = bands == 1 ? 0.36f * h : 0.2f * h;
  for (int i = 0; i <= 2 * bands; ++i) {
    const float top = i == 2 * bands ? h : z + (i % 2 == 0 ? gap : band);
    out->Use(i % 2 == 0 ? orange : white, i % 2 == 0 ? "cone" : "band");
    out->Tube({0, 0, z}, {0, 0, top}, radius(z), radius(top), 14);
    z = top;
  }
}

void ShapeBarrier(const Vector3f& size_m, Random* random, SolidBuilder* out) {
  const bool along_x = size_m.x() >= size_m.y();
  const float l = along_x ? size_m.x() : size_m.y(), w = along_x ? size_m.y() : size_m.x();
  const float h = size_m.z();
  SolidBuilder barrier;
  const uint32_t kind = random->Below(3);
  if (kind == 0) {  // concrete wall
    SurfaceMaterial concrete = PlainFinish(Vector3f::Constant(random->Uniform(0.35f, 0.55f)), 0.4f);
    concrete.pattern = SurfaceMaterial::Pattern::kNoise;
    concrete.second_color = 0.8f * concrete.color;
    concrete.pattern_scale = 3;
    barrier.Use(barrier.AddMaterial(concrete), "wall");
    const float y = w / 2;
    std::vector<SolidBuilder::Ring> rings;
    for (const float x : {-l / 2, l / 2}) {
      rings.push_back({{x, y, 0},
                       {x, y, 0.1f * h},
                       {x, 0.45f * y, 0.45f * h},
                       {x, 0.3f * y, h},
                       {x, -0.3f * y, h},
                       {x, -0.45f * y, 0.45f * h},
                       {x, -y, 0.1f * h},
                       {x, -y, 0}});
    }
    barrier.Loft(rings);
  } else {  // red and white: boards on feet, or filled plastic
    const uint16_t red = barrier.AddMaterial(RetroFinish({0.75f, 0.03f, 0.02f}, 0.5f));
    const uint16_t white = barrier.AddMaterial(RetroFinish({0.85f, 0.85f, 0.83f}, 0.8f));
    const uint16_t foot = barrier.AddMaterial(PlainFinish({0.03f, 0.03f, 0.03f}, 0.1f));
    const int fields = std::max(3, static_cast<int>(l / 0.3f));
    const float step = l / static_cast<float>(fields);
    for (int i = 0; i < fields; ++i) {
      barrier.Use(i % 2 == 0 ? red : white, "board");
      const float x = -l / 2 + step * (static_cast<float>(i) + 0.5f);
      if (kind == 1) {
        barrier.Box({x, 0, 0.85f * h}, {step, 0.2f * w, 0.3f * h});
        barrier.Box({x, 0, 0.4f * h}, {step, 0.2f * w, 0.2f * h});
      } else {
        barrier.Box({x, 0, 0.56f * h}, {step, 0.5f * w, 0.88f * h});
        barrier.Box({x, 0, 0.09f * h}, {step, w, 0.18f * h});
      }
    }
    if (kind == 1) {
      barrier.Use(foot, "foot");
      for (const float side : {1.0f, -1.0f}) {
        barrier.Box({side * (0.5f * l - 0.15f), 0, 0.05f * h}, {0.2f, w, 0.1f * h});
        barrier.Box({side * (0.5f * l - 0.15f), 0, 0.5f * h}, {0.05f, 0.15f * w, h * 0.98f});
      }
    }
  }
  out->Append(barrier, Vector3f::Zero(), along_x ? 0 : std::numbers::pi_v<float> / 2);
}

void ShapeCargo(const Vector3f& size_m, Random* random, SolidBuilder* out) {
  const float l = size_m.x(), w = size_m.y(), h = size_m.z();
  const uint32_t kind = random->Below(4);
  SurfaceMaterial card = PlainFinish({0.42f, 0.27f, 0.13f}, 0.45f);
  card.pattern = SurfaceMaterial::Pattern::kNoise;
  card.second_color = 0.85f * card.color;
  card.pattern_scale = 2;
  SurfaceMaterial wood = PlainFinish({0.45f, 0.3f, 0.14f}, 0.45f);
  wood.pattern = SurfaceMaterial::Pattern::kWood;
  wood.second_color = 0.6f * wood.color;
  wood.pattern_scale = 3;
  if (kind == 0) {  // burst boxes
    out->Use(out->AddMaterial(card), "box");
    out->Box({-0.12f * l, 0.05f * w, 0.5f * h}, {0.62f * l, 0.66f * w, h},
             random->Uniform(-0.2f, 0.2f));
    out->Box({0.3f * l, -0.15f * w, 0.3f * h}, {0.36f * l, 0.5f * w, 0.6f * h},
             random->Uniform(-0.5f, 0.5f));
    out->Box({0.2f * l, 0.3f * w, 0.2f * h}, {0.3f * l, 0.3f * w, 0.4f * h},
             random->Uniform(-0.5f, 0.5f));
  } else if (kind == 1) {  // pallet with sacks
    out->Use(out->AddMaterial(wood), "pallet");
    for (const float z : {0.03f * h, 0.22f * h}) {
      for (int i = 0; i < 5; ++i) {
        out->Box({0, w * (-0.4f + 0.2f * static_cast<float>(i)), z}, {l, 0.14f * w, 0.06f * h});
      }
    }
    for (const float x : {-0.45f * l, 0.0f, 0.45f * l})
      out->Box({x, 0, 0.12f * h}, {0.1f * l, w, 0.16f * h});
    SurfaceMaterial sack = PlainFinish({0.5f, 0.45f, 0.35f}, 0.5f);
    sack.pattern = SurfaceMaterial::Pattern::kFabric;
    sack.second_color = 0.8f * sack.color;
    sack.pattern_scale = 10;
    out->Use(out->AddMaterial(sack), "sack");
    for (int i = 0; i < 5; ++i) {
      AddBlob({random->Uniform(-0.22f, 0.22f) * l, random->Uniform(-0.2f, 0.2f) * w,
               (0.4f + 0.11f * static_cast<float>(i)) * h},
              {0.26f * l, 0.26f * w, 0.16f * h}, 0.06f, 6, 10, random, out);
    }
  } else if (kind == 2) {  // tyres
    out->Use(out->AddMaterial(RubberFinish()), "tyre");
    const float r = std::min({0.25f * l, 0.5f * w, 0.5f * h});
    for (int i = 0; i < 3; ++i) {
      out->Torus(
          {l * (-0.25f + 0.25f * static_cast<float>(i)), 0.2f * w * static_cast<float>(i - 1), r},
          0.72f * r, 0.28f * r, 16, 8);
    }
  } else {  // timber
    out->Use(out->AddMaterial(wood), "plank");
    for (int i = 0; i < 6; ++i) {
      const float t = (static_cast<float>(i) + 0.5f) / 6;
      out->Box({0, random->Uniform(-0.25f, 0.25f) * w, t * h},
               {l * random->Uniform(0.75f, 1.0f), 0.4f * w, h / 6}, random->Uniform(-0.15f, 0.15f));
    }
  }
}

void ShapePushable(const Vector3f& size_m, Random* random, SolidBuilder* out) {
  const float l = size_m.x(), w = size_m.y(), h = size_m.z();
  const uint16_t plastic = out->AddMaterial(PlainFinish(
      {random->Uniform(0.02f, 0.2f), random->Uniform(0.05f, 0.3f), random->Uniform(0.02f, 0.25f)},
      0.3f));
  const uint16_t rubber = out->AddMaterial(RubberFinish());
  out->Use(plastic, "bin");
  std::vector<SolidBuilder::Ring> rings;
  for (const auto& [z, s] : {std::pair{0.08f, 0.8f}, {0.86f, 1.0f}, {0.9f, 1.0f}, {1.0f, 0.9f}}) {
    const float x = s * l / 2, y = s * w / 2;
    rings.push_back({{-x, -y, z * h}, {x, -y, z * h}, {x, y, z * h}, {-x, y, z * h}});
  }
  out->Loft(rings);
  out->Use(rubber, "wheel");
  for (const float side : {1.0f, -1.0f}) {
    out->Tube({-0.35f * l, side * 0.44f * w, 0.1f * h}, {-0.35f * l, side * 0.5f * w, 0.1f * h},
              0.1f * h, 0.1f * h, 10);
  }
}

void ShapeBicycleRack(const Vector3f& size_m, Random* random, SolidBuilder* out) {
  const float l = size_m.x(), w = size_m.y(), h = size_m.z();
  out->Use(out->AddMaterial(MetalFinish(0.5f)), "rack");
  const int hoops = std::max(2, static_cast<int>(l / 0.8f));
  for (int i = 0; i < hoops; ++i) {
    const float x = -0.48f * l + 0.96f * l * static_cast<float>(i) / static_cast<float>(hoops - 1);
    const float top = random->Uniform(0.98f, 1.0f) * h;
    for (const float side : {1.0f, -1.0f}) {
      out->Tube({x, side * 0.47f * w, 0}, {x, side * 0.47f * w, top}, 0.025f, 0.025f, 7);
    }
    out->Tube({x, -0.47f * w, top}, {x, 0.47f * w, top}, 0.025f, 0.025f, 7);
  }
}

}  // namespace athanor
