// People, what they ride, and animals.
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <optional>

#include "athanor/simulation/street/actor_shapes.h"

namespace athanor {
namespace {

using Eigen::Vector3f;
constexpr float kTurn = 2 * std::numbers::pi_v<float>;

Vector3f DrawSkin(Random* random) {
  const float t = random->Uniform();
  return Vector3f(0.62f, 0.40f, 0.29f) * (1 - t) + Vector3f(0.12f, 0.06f, 0.035f) * t;
}

Vector3f DrawCloth(Random* random) {
  const float grey = random->Uniform(0.02f, 0.35f);
  if (random->Uniform() < 0.5f) {
    return {grey * 0.9f, grey * 0.95f, grey * random->Uniform(1.0f, 1.6f)};
  }
  return {random->Uniform(0.02f, 0.6f), random->Uniform(0.02f, 0.4f), random->Uniform(0.02f, 0.5f)};
}

// Joint angles; 0 hangs straight down, positive swings forward.
struct Pose {
  float hip[2] = {0, 0}, knee[2] = {0, 0};  // the knee bends backwards
  float shoulder[2] = {0, 0}, elbow[2] = {0.15f, 0.15f};
  float lean = 0;  // of the trunk, forward
};

Pose WalkingPose(float phase, float stride) {
  Pose pose;
  for (int side = 0; side < 2; ++side) {
    const float a = kTurn * (phase + 0.5f * static_cast<float>(side));
    pose.hip[side] = stride * std::sin(a);
    pose.knee[side] = 0.1f + stride * 1.3f * std::max(0.0f, std::cos(a));
    pose.shoulder[side] = -0.8f * stride * std::sin(a);
    pose.elbow[side] = 0.35f;
  }
  pose.lean = 0.04f;
  return pose;
}

struct Clothes {
  uint16_t shirt, skin, trousers, shoes, hair;
  bool skirt = false, long_sleeves = true;

  // The shirt has the actor's paint and is material 0.
  Clothes(const Vector3f& shirt_color, Random* random, SolidBuilder* out) {
    SurfaceMaterial cloth = PlainFinish(shirt_color, random->Uniform(0.25f, 0.6f));
    cloth.pattern = random->Uniform() < 0.3f ? SurfaceMaterial::Pattern::kStripes
                                             : SurfaceMaterial::Pattern::kFabric;
    cloth.second_color = cloth.pattern == SurfaceMaterial::Pattern::kStripes ? DrawCloth(random)
                                                                             : 0.85f * shirt_color;
    cloth.pattern_scale = random->Uniform(6.0f, 14.0f);
    shirt = out->AddMaterial(cloth);
    skin = out->AddMaterial(PlainFinish(DrawSkin(random), 0.4f));
    trousers = out->AddMaterial(PlainFinish(DrawCloth(random), random->Uniform(0.15f, 0.5f)));
    shoes = out->AddMaterial(PlainFinish(Vector3f::Constant(random->Uniform(0.01f, 0.5f)), 0.2f));
    const float t = random->Uniform();
    const Vector3f hair_color = t < 0.6f   ? Vector3f(0.02f, 0.013f, 0.008f)
                                : t < 0.8f ? Vector3f(0.12f, 0.06f, 0.02f)
                                : t < 0.9f ? Vector3f(0.35f, 0.24f, 0.09f)
                                           : Vector3f(0.35f, 0.35f, 0.36f);
    hair = out->AddMaterial(PlainFinish(hair_color, 0.2f));
    skirt = random->Uniform() < 0.15f;
    long_sleeves = random->Uniform() < 0.65f;
  }
};

struct Hand {
  Vector3f position[2];
};

// A person with the hips at `hips`, looking along +x. `height` is that of the standing person.
Hand AddPerson(const Vector3f& hips, float height, float child, const Pose& pose, const Clothes& c,
               float girth, bool long_hair, SolidBuilder* out) {
  const float hh = height, thigh = 0.245f * hh, shin = 0.235f * hh;
  const float hip_half = 0.05f * hh, shoulder_half = 0.108f * hh * girth;
  Hand hand;
  for (int side = 0; side < 2; ++side) {
    const float y = side == 0 ? hip_half : -hip_half;
    const float a = pose.hip[side], b = a - pose.knee[side];
    const Vector3f hip = hips + Vector3f(0, y, 0);
    const Vector3f knee = hip + thigh * Vector3f(std::sin(a), 0, -std::cos(a));
    const Vector3f ankle = knee + shin * Vector3f(std::sin(b), 0, -std::cos(b));
    out->Use(c.trousers, "leg");
    out->Limb(hip, knee, 0.056f * hh * girth, 0.039f * hh * girth, 8);
    out->Use(c.skirt ? c.skin : c.trousers, "leg");
    out->Limb(knee, ankle, 0.038f * hh * girth, 0.027f * hh, 8);
    out->Use(c.shoes, "foot");
    out->Ellipsoid(ankle + Vector3f(0.035f * hh, 0, -0.006f * hh),
                   {0.075f * hh, 0.028f * hh, 0.026f * hh}, 4, 8, -b);
  }
  if (c.skirt) {
    out->Use(c.trousers, "skirt");
    out->Tube(hips + Vector3f(0, 0, -0.2f * hh), hips + Vector3f(0, 0, 0.04f * hh), 0.125f * hh,
              0.075f * hh, 10);
  }
  const Vector3f up(std::sin(pose.lean), 0, std::cos(pose.lean));
  const Vector3f forward(up.z(), 0, -up.x());
  const Vector3f chest = hips + 0.31f * hh * up;
  // Trunk: waist, chest and shoulders as rings of an oval.
  out->Use(c.shirt, "torso");
  std::vector<SolidBuilder::Ring> rings;
  for (const auto& [t, wide, deep] : {std::array{-0.03f, 0.75f, 0.55f},
                                      {0.03f, 0.85f, 0.6f},
                                      {0.10f, 0.80f, 0.55f},
                                      {0.22f, 1.0f, 0.66f},
                                      {0.30f, 0.98f, 0.55f},
                                      {0.33f, 0.62f, 0.4f}}) {
    SolidBuilder::Ring ring;
    for (int i = 0; i < 12; ++i) {
      const float a = kTurn * static_cast<float>(i) / 12;
      ring.push_back(hips + t * hh * up + forward * (deep * shoulder_half * girth * std::cos(a)) +
                     Vector3f(0, wide * shoulder_half * std::sin(a), 0));
    }
    rings.push_back(ring);
  }
  out->Loft(rings);
  for (int side = 0; side < 2; ++side) {
    const float y = (side == 0 ? 1 : -1) * (shoulder_half + 0.012f * hh);
    const float a = pose.shoulder[side], b = a + pose.elbow[side];
    const Vector3f shoulder = hips + 0.295f * hh * up + Vector3f(0, y, 0);
    const Vector3f elbow = shoulder + 0.17f * hh * Vector3f(std::sin(a), 0, -std::cos(a));
    const Vector3f wrist = elbow + 0.15f * hh * Vector3f(std::sin(b), 0, -std::cos(b));
    out->Use(c.shirt, "arm");
    out->Limb(shoulder, elbow, 0.031f * hh * girth, 0.024f * hh, 8);
    out->Use(c.long_sleeves ? c.shirt : c.skin, "arm");
    out->Limb(elbow, wrist, 0.023f * hh, 0.018f * hh, 8);
    out->Use(c.skin, "hand");
    hand.position[side] = wrist + 0.03f * hh * Vector3f(std::sin(b), 0, -std::cos(b));
    out->Ellipsoid(hand.position[side], {0.022f * hh, 0.015f * hh, 0.034f * hh}, 4, 6);
  }
  const float head = 0.066f * hh * (1 + 0.25f * child);
  const Vector3f skull = chest + up * (0.055f * hh + head);
  out->Use(c.skin, "head");
  out->Limb(chest, skull, 0.028f * hh, 0.026f * hh, 8);
  out->Ellipsoid(skull, {0.88f * head, 0.75f * head, 1.12f * head}, 8, 12);
  out->Ellipsoid(skull + Vector3f(0.88f * head, 0, -0.1f * head),
                 {0.16f * head, 0.12f * head, 0.2f * head}, 3, 6);
  out->Use(c.hair, "hair");
  out->Ellipsoid(skull + Vector3f(-0.16f * head, 0, 0.3f * head),
                 {0.86f * head, 0.82f * head, 0.92f * head}, 7, 12);
  if (long_hair) {
    out->Ellipsoid(skull + Vector3f(-0.62f * head, 0, -0.55f * head),
                   {0.4f * head, 0.72f * head, 1.1f * head}, 6, 10);
  }
  return hand;
}

}  // namespace

void ShapePerson(PersonStyle style, const Vector3f& size_m, bool walking, float phase,
                 const ActorPaint& paint, Random* random, SolidBuilder* out) {
  const bool worker = style == PersonStyle::kWorker, police = style == PersonStyle::kPolice;
  const bool child = style == PersonStyle::kChild;
  const Vector3f shirt = worker   ? (random->Uniform() < 0.5f ? Vector3f(0.9f, 0.25f, 0.01f)
                                                              : Vector3f(0.6f, 0.85f, 0.02f))
                         : police ? Vector3f(0.01f, 0.015f, 0.05f)
                                  : paint.body;
  Clothes clothes(shirt, random, out);
  const float girth = random->Uniform(0.92f, 1.12f);
  const bool long_hair = random->Uniform() < 0.4f;
  const float stride = random->Uniform(0.38f, 0.52f) * (child ? 1.15f : 1.0f);
  const bool bag = !worker && !police && random->Uniform() < 0.35f;
  const bool telephone = random->Uniform() < 0.4f;  // looks at it while standing
  if (worker || police) clothes.skirt = false;
  const float h = size_m.z();
  if (style == PersonStyle::kWheelchair) {
    const float hh = h / 0.76f;
    Pose pose;
    for (int s = 0; s < 2; ++s) {
      pose.hip[s] = 1.5f;
      pose.knee[s] = 1.5f;
      pose.shoulder[s] = 0.3f + 0.4f * std::sin(kTurn * phase);
      pose.elbow[s] = 0.9f;
    }
    clothes.skirt = false;
    AddPerson({-0.08f, 0, 0.52f}, hh, 0, pose, clothes, girth, long_hair, out);
    const uint16_t rubber = out->AddMaterial(RubberFinish());
    const uint16_t metal = out->AddMaterial(MetalFinish(0.5f));
    const uint16_t seat = out->AddMaterial(PlainFinish({0.03f, 0.03f, 0.05f}, 0.15f));
    const float y = 0.46f * size_m.y();
    out->Use(seat, "seat");
    out->Box({0.08f, 0, 0.43f}, {0.44f, 1.6f * y, 0.06f});
    out->Box({-0.2f, 0, 0.68f}, {0.05f, 1.6f * y, 0.5f});
    for (const float side : {1.0f, -1.0f}) {
      out->Use(rubber, "wheel");
      out->Torus({-0.1f, side * y, 0.31f}, 0.29f, 0.02f, 18, 6);
      out->Torus({0.36f, side * 0.75f * y, 0.09f}, 0.075f, 0.018f, 10, 6);
      out->Use(metal, "frame");
      for (int i = 0; i < 3; ++i) {
        const float a = kTurn / 6 * static_cast<float>(i) + kTurn * phase;
        const Vector3f spoke(0.28f * std::cos(a), 0, 0.28f * std::sin(a));
        out->Tube(Vector3f(-0.1f, side * y, 0.31f) - spoke,
                  Vector3f(-0.1f, side * y, 0.31f) + spoke, 0.006f, 0.006f, 5);
      }
      out->Tube({-0.22f, side * 0.8f * y, 0.62f}, {0.3f, side * 0.8f * y, 0.62f}, 0.015f, 0.015f,
                6);
      out->Tube({0.3f, side * 0.75f * y, 0.45f}, {0.42f, side * 0.5f * y, 0.08f}, 0.015f, 0.015f,
                6);
    }
    return;
  }
  float hips = 0.505f * h;
  Pose pose = walking ? WalkingPose(phase, stride) : Pose{};
  float x = 0;
  if (style == PersonStyle::kScooter) {
    hips = 0.505f * h + 0.13f;
    pose = Pose{};
    pose.hip[0] = 0.25f;
    pose.knee[0] = 0.3f;
    pose.hip[1] = -0.15f;
    pose.knee[1] = 0.1f;
    for (int s = 0; s < 2; ++s) pose.shoulder[s] = 0.7f, pose.elbow[s] = 0.5f;
    x = -0.15f;
  } else if (style == PersonStyle::kStroller) {
    for (int s = 0; s < 2; ++s) pose.shoulder[s] = 0.6f, pose.elbow[s] = 0.75f;
    x = -size_m.x() / 2 + 0.3f;
  } else if (!walking) {
    pose.shoulder[0] = 0.05f;
    if (telephone) {
      pose.shoulder[1] = 0.35f;
      pose.elbow[1] = 1.7f;
    }
  }
  const Hand hand = AddPerson({x, 0, hips}, h - (style == PersonStyle::kScooter ? 0.13f : 0), child,
                              pose, clothes, girth, long_hair, out);
  if (worker) {
    const uint16_t retro = out->AddMaterial(RetroFinish({0.8f, 0.82f, 0.8f}, 1.0f));
    const uint16_t helmet = out->AddMaterial(PaintFinish(
        random->Uniform() < 0.6f ? Vector3f(0.85f, 0.6f, 0.02f) : Vector3f(0.85f, 0.85f, 0.85f),
        0.5f));
    out->Use(retro, "vest");
    for (const float z : {0.60f, 0.70f}) {
      std::vector<SolidBuilder::Ring> band;
      for (const float dz : {-0.014f, 0.014f}) {
        SolidBuilder::Ring ring;
        for (int i = 0; i < 12; ++i) {
          const float a = kTurn * static_cast<float>(i) / 12;
          const float r = 0.112f * h * girth;
          ring.emplace_back(x + 0.7f * r * girth * std::cos(a) + 0.01f, r * std::sin(a),
                            (z + dz) * h);
        }
        band.push_back(ring);
      }
      out->Loft(band);
    }
    out->Use(helmet, "helmet");
    out->Ellipsoid({x + 0.012f * h, 0, 0.955f * h}, {0.075f * h, 0.066f * h, 0.052f * h}, 6, 12);
    out->Ellipsoid({x + 0.035f * h, 0, 0.94f * h}, {0.08f * h, 0.06f * h, 0.012f * h}, 4, 12);
  }
  if (police) {
    const uint16_t cap = out->AddMaterial(PlainFinish({0.01f, 0.012f, 0.04f}, 0.2f));
    const uint16_t badge = out->AddMaterial(RetroFinish({0.8f, 0.82f, 0.85f}, 0.9f));
    out->Use(cap, "cap");
    out->Tube({x, 0, 0.95f * h}, {x, 0, 0.995f * h}, 0.062f * h, 0.075f * h, 12);
    out->Ellipsoid({x + 0.06f * h, 0, 0.948f * h}, {0.05f * h, 0.05f * h, 0.008f * h}, 4, 10);
    out->Use(badge, "badge");
    out->Box({x + 0.005f * h, 0, 0.72f * h}, {0.15f * h, 0.12f * h, 0.03f * h});
  }
  if (bag && (style == PersonStyle::kAdult || child)) {
    const uint16_t cloth = out->AddMaterial(PlainFinish(DrawCloth(random), 0.3f));
    out->Use(cloth, "bag");
    if (random->Uniform() < 0.6f) {
      out->Ellipsoid({x - 0.095f * h, 0, 0.7f * h}, {0.055f * h, 0.085f * h, 0.12f * h}, 6, 8);
    } else {
      out->Box(hand.position[1] + Vector3f(0, 0, -0.1f * h), {0.15f * h, 0.04f * h, 0.13f * h});
    }
  }
  if (style == PersonStyle::kScooter) {
    const uint16_t rubber = out->AddMaterial(RubberFinish());
    const uint16_t metal = out->AddMaterial(MetalFinish(0.2f));
    const float front = size_m.x() / 2 - 0.12f, back = -size_m.x() / 2 + 0.12f;
    out->Use(metal, "deck");
    out->Box({0, 0, 0.11f}, {front - back, 0.16f, 0.04f});
    out->Tube({front, 0, 0.12f}, {front - 0.14f, 0, 1.0f}, 0.022f, 0.02f, 6);
    out->Tube({front - 0.14f, 0.24f, 1.0f}, {front - 0.14f, -0.24f, 1.0f}, 0.016f, 0.016f, 6);
    out->Use(rubber, "wheel");
    out->Torus({front, 0, 0.1f}, 0.08f, 0.02f, 12, 6);
    out->Torus({back, 0, 0.1f}, 0.08f, 0.02f, 12, 6);
  }
  if (style == PersonStyle::kStroller) {
    const uint16_t rubber = out->AddMaterial(RubberFinish());
    const uint16_t metal = out->AddMaterial(MetalFinish(0.4f));
    const uint16_t cloth = out->AddMaterial(PlainFinish(DrawCloth(random), 0.4f));
    const float front = size_m.x() / 2;
    const float xc = front - 0.36f;
    out->Use(cloth, "stroller");
    out->Ellipsoid({xc, 0, 0.58f}, {0.33f, 0.2f, 0.16f}, 6, 10, 0.15f);
    out->Ellipsoid({xc - 0.1f, 0, 0.78f}, {0.2f, 0.21f, 0.2f}, 6, 10);
    out->Use(metal, "frame");
    for (const float side : {0.21f, -0.21f}) {
      out->Tube({xc + 0.26f, side, 0.12f}, {xc - 0.42f, side, 1.02f}, 0.014f, 0.014f, 6);
      out->Tube({xc - 0.3f, side, 0.12f}, {xc + 0.1f, side, 0.55f}, 0.014f, 0.014f, 6);
    }
    out->Tube({xc - 0.42f, 0.21f, 1.02f}, {xc - 0.42f, -0.21f, 1.02f}, 0.016f, 0.016f, 6);
    out->Use(rubber, "wheel");
    for (const float side : {0.23f, -0.23f}) {
      out->Torus({xc + 0.26f, side, 0.12f}, 0.1f, 0.02f, 12, 6);
      out->Torus({xc - 0.3f, side, 0.12f}, 0.1f, 0.02f, 12, 6);
    }
  }
}

void ShapeBicycle(const Vector3f& size_m, bool rider, float phase, const ActorPaint& paint,
                  Random* random, SolidBuilder* out) {
  const float l = size_m.x();
  // With a rider, material 0 is the shirt; without, the frame.
  std::optional<Clothes> clothes;
  if (rider) clothes.emplace(paint.body, random, out);
  const Vector3f frame_color(random->Uniform(), random->Uniform(), random->Uniform());
  const uint16_t frame = out->AddMaterial(PaintFinish(rider ? frame_color : paint.body, 0.6f));
  const uint16_t rubber = out->AddMaterial(RubberFinish());
  const uint16_t metal = out->AddMaterial(MetalFinish(0.6f));
  SurfaceMaterial rear = LampFinish({0.8f, 0.02f, 0.02f}, paint.lights_on ? 1.5f : 0);
  rear.retroreflection = 0.8f;
  const uint16_t reflector = out->AddMaterial(rear);
  const uint16_t lamp = out->AddMaterial(LampFinish({0.9f, 0.9f, 0.85f}, paint.lights_on ? 4 : 0));
  const float r = std::min(0.345f, 0.2f * l);
  const float front = l / 2 - r, back = -l / 2 + r;
  const Vector3f crank(0.45f * back + 0.1f, 0, 0.28f), saddle(0.5f * back - 0.02f, 0, 0.92f);
  const Vector3f head(front - 0.2f, 0, 0.82f), bar(front - 0.24f, 0, 1.03f);
  for (const float x : {front, back}) {
    out->Use(rubber, "wheel");
    out->Torus({x, 0, r}, r - 0.018f, 0.018f, 20, 6);
    out->Use(metal, "wheel");
    for (int i = 0; i < 5; ++i) {
      const float a = kTurn / 10 * static_cast<float>(i) + kTurn * phase;
      const Vector3f spoke((r - 0.03f) * std::cos(a), 0, (r - 0.03f) * std::sin(a));
      out->Tube(Vector3f(x, 0, r) - spoke, Vector3f(x, 0, r) + spoke, 0.005f, 0.005f, 4);
    }
  }
  out->Use(frame, "frame");
  const auto bar_of = [&](const Vector3f& a, const Vector3f& b, float radius) {
    out->Tube(a, b, radius, radius, 7);
  };
  const bool step_through = random->Uniform() < 0.4f;
  bar_of(crank, saddle, 0.018f);
  bar_of(crank, head, 0.02f);
  if (!step_through) bar_of(saddle - Vector3f(-0.02f, 0, 0.14f), head, 0.018f);
  bar_of({back, 0.04f, r}, crank, 0.012f);
  bar_of({back, -0.04f, r}, crank, 0.012f);
  bar_of({back, 0.04f, r}, saddle - Vector3f(0, 0, 0.18f), 0.011f);
  bar_of({front, 0, r}, bar, 0.017f);
  out->Use(metal, "handlebar");
  const float grip = 0.45f * std::min(size_m.y(), 0.66f);
  bar_of(bar + Vector3f(0, grip, 0), bar - Vector3f(0, grip, 0), 0.014f);
  const Vector3f pedal(0.16f * std::cos(kTurn * phase), 0, 0.16f * std::sin(kTurn * phase));
  bar_of(crank + pedal + Vector3f(0, 0.09f, 0), crank - pedal - Vector3f(0, 0.09f, 0), 0.012f);
  out->Use(rubber, "saddle");
  out->Ellipsoid(saddle + Vector3f(0, 0, 0.03f), {0.14f, 0.07f, 0.035f}, 4, 8);
  out->Use(reflector, "light");
  out->Box(saddle + Vector3f(-0.12f, 0, -0.15f), {0.03f, 0.06f, 0.06f});
  out->Use(lamp, "light");
  out->Box(bar + Vector3f(0.07f, 0, -0.06f), {0.06f, 0.06f, 0.05f});
  if (!rider) return;
  clothes->skirt = false;
  const float hh = std::clamp(size_m.z() * 0.98f, 1.4f, 1.95f);
  Pose pose;
  pose.lean = random->Uniform(0.3f, 0.65f);
  const Vector3f hips = saddle + Vector3f(0.02f, 0, 0.09f);
  for (int s = 0; s < 2; ++s) {
    // Both bones reach from the hip to the pedal: the law of cosines gives the knee.
    const float sign = s == 0 ? 1.0f : -1.0f;
    const Vector3f foot = crank + sign * pedal + Vector3f(-0.03f, 0, 0.04f);
    const Vector3f way = foot - hips;
    const float thigh = 0.245f * hh, shin = 0.235f * hh;
    const float d = std::clamp(std::hypot(way.x(), way.z()), 0.1f, 0.995f * (thigh + shin));
    const float toward = std::atan2(way.x(), -way.z());
    const float at_hip = std::acos((thigh * thigh + d * d - shin * shin) / (2 * thigh * d));
    const float at_knee = std::acos((thigh * thigh + shin * shin - d * d) / (2 * thigh * shin));
    pose.hip[s] = toward + at_hip;
    pose.knee[s] = kTurn / 2 - at_knee;
    pose.shoulder[s] = 0.95f - 0.3f * pose.lean;
    pose.elbow[s] = 0.3f;
  }
  AddPerson(hips, hh, 0, pose, *clothes, random->Uniform(0.92f, 1.05f), random->Uniform() < 0.3f,
            out);
  if (random->Uniform() < 0.6f) {
    const Vector3f up(std::sin(pose.lean), 0, std::cos(pose.lean));
    const Vector3f skull = hips + up * (0.365f * hh + 0.066f * hh);
    out->Use(out->AddMaterial(
                 PaintFinish({random->Uniform(), random->Uniform(), random->Uniform()}, 0.5f)),
             "helmet");
    out->Ellipsoid(skull + Vector3f(0, 0, 0.035f * hh), {0.078f * hh, 0.062f * hh, 0.05f * hh}, 6,
                   10);
  }
}

void ShapeMotorcycle(const Vector3f& size_m, bool rider, const ActorPaint& paint, Random* random,
                     SolidBuilder* out) {
  const float l = size_m.x();
  const uint16_t body = out->AddMaterial(PaintFinish(paint.body, 0.8f));
  const uint16_t rubber = out->AddMaterial(RubberFinish());
  const uint16_t metal = out->AddMaterial(MetalFinish(0.5f));
  const uint16_t dark = out->AddMaterial(PlainFinish({0.02f, 0.02f, 0.02f}, 0.1f));
  SurfaceMaterial rear = LampFinish({0.8f, 0.02f, 0.02f}, paint.braking     ? 5
                                                          : paint.lights_on ? 1.5f
                                                                            : 0);
  rear.retroreflection = 0.7f;
  const uint16_t tail = out->AddMaterial(rear);
  const uint16_t lamp =
      out->AddMaterial(LampFinish({0.95f, 0.92f, 0.85f}, paint.lights_on ? 6 : 0.3f));
  const uint16_t plate = out->AddMaterial(RetroFinish({0.85f, 0.85f, 0.8f}, 0.9f));
  const bool scooter = random->Uniform() < 0.4f;
  const float r = scooter ? 0.23f : 0.31f, front = l / 2 - r, back = -l / 2 + r;
  for (const float x : {front, back}) {
    out->Use(rubber, "wheel");
    out->Torus({x, 0, r}, r - 0.06f, 0.06f, 18, 8);
    out->Use(metal, "wheel");
    out->Tube({x, -0.03f, r}, {x, 0.03f, r}, r - 0.07f, r - 0.07f, 12);
  }
  out->Use(metal, "fork");
  const Vector3f bar(front - 0.3f, 0, 0.98f);
  for (const float y : {0.09f, -0.09f})
    out->Tube({front, y, r}, bar + Vector3f(0, y, 0), 0.025f, 0.025f, 7);
  out->Tube(bar + Vector3f(-0.05f, 0.34f, 0.05f), bar + Vector3f(-0.05f, -0.34f, 0.05f), 0.018f,
            0.018f, 7);
  out->Use(dark, "engine");
  out->Box({0.02f * l, 0, 0.42f}, {0.3f * l, 0.28f, 0.3f});
  out->Use(body, "tank");
  if (scooter) {
    out->Box({0.0f, 0, 0.3f}, {0.4f * l, 0.34f, 0.1f});
    out->Box({front - 0.32f, 0, 0.62f}, {0.1f, 0.38f, 0.6f});
    out->Ellipsoid({back + 0.12f, 0, 0.58f}, {0.36f, 0.18f, 0.2f}, 6, 10);
  } else {
    out->Ellipsoid({0.1f * l, 0, 0.76f}, {0.17f * l, 0.15f, 0.14f}, 6, 10, -0.1f);
    out->Ellipsoid({back + 0.15f, 0, 0.78f}, {0.2f * l, 0.11f, 0.08f}, 5, 8, 0.15f);
    out->Ellipsoid({front, 0, r + 0.3f}, {0.26f, 0.08f, 0.05f}, 5, 8);
  }
  out->Use(dark, "seat");
  out->Ellipsoid({-0.12f * l, 0, 0.8f}, {0.17f * l, 0.14f, 0.06f}, 5, 10);
  out->Use(lamp, "light");
  out->Ellipsoid({bar.x() + 0.12f, 0, 0.86f}, {0.08f, 0.1f, 0.1f}, 6, 10);
  out->Use(tail, "light");
  out->Box({back - 0.1f, 0, 0.76f}, {0.06f, 0.16f, 0.07f});
  out->Use(plate, "plate");
  out->Box({back - 0.16f, 0, 0.55f}, {0.03f, 0.2f, 0.15f});
  out->Use(metal, "exhaust");
  out->Limb({0, -0.17f, 0.3f}, {back, -0.19f, 0.36f}, 0.045f, 0.055f, 8);
  if (!rider) return;
  Clothes clothes(0.5f * DrawCloth(random), random, out);
  clothes.skirt = false;
  clothes.long_sleeves = true;
  const float hh = std::clamp(size_m.z() / 0.86f, 1.5f, 1.95f);
  Pose pose;
  pose.lean = scooter ? 0.08f : random->Uniform(0.2f, 0.5f);
  for (int s = 0; s < 2; ++s) {
    pose.hip[s] = 1.15f;
    pose.knee[s] = 1.35f;
    pose.shoulder[s] = 0.9f;
    pose.elbow[s] = 0.35f;
  }
  const Vector3f hips(-0.13f * l, 0, 0.9f);
  AddPerson(hips, hh, 0, pose, clothes, 1.05f, false, out);
  const Vector3f up(std::sin(pose.lean), 0, std::cos(pose.lean));
  out->Use(out->AddMaterial(
               PaintFinish({random->Uniform(), random->Uniform(), random->Uniform()}, 0.9f)),
           "helmet");
  out->Ellipsoid(hips + up * (0.43f * hh), {0.088f * hh, 0.08f * hh, 0.09f * hh}, 7, 12);
  out->Use(dark, "visor");
  out->Ellipsoid(hips + up * (0.43f * hh) + Vector3f(0.05f * hh, 0, 0),
                 {0.046f * hh, 0.066f * hh, 0.035f * hh}, 5, 10);
}

namespace {

struct Quadruped {
  float leg, leg_radius, hoof;  // length of a leg as a share of the height at the back
  float stride;
};

void AddLegs(float x_front, float x_back, float y, float top, const Quadruped& q, float phase,
             SolidBuilder* out) {
  for (int i = 0; i < 4; ++i) {
    const bool front = i < 2;
    const float side = i % 2 == 0 ? 1.0f : -1.0f;
    // Diagonal legs together: a trot.
    const float a = q.stride * std::sin(kTurn * (phase + (front == (i % 2 == 0) ? 0.0f : 0.5f)));
    const Vector3f hip(front ? x_front : x_back, side * y, top);
    const Vector3f knee = hip + 0.5f * top * Vector3f(std::sin(a) + (front ? 0 : 0.15f), 0, -1);
    Vector3f foot = hip + Vector3f(0.9f * top * std::sin(a), 0, -top + q.hoof);
    foot.z() += 0.06f * top * std::max(0.0f, std::cos(kTurn * phase + (front ? 0.0f : 3.0f)));
    out->Limb(hip, knee, q.leg_radius * 1.5f, q.leg_radius, 7);
    out->Limb(knee, foot, q.leg_radius, 0.8f * q.leg_radius, 7);
    out->Ellipsoid(foot + Vector3f(0.4f * q.hoof, 0, -0.2f * q.hoof),
                   {1.1f * q.hoof, 0.8f * q.hoof, 0.7f * q.hoof}, 3, 6);
  }
}

}  // namespace

void ShapeDog(const Vector3f& size_m, float phase, const ActorPaint& paint, Random* random,
              SolidBuilder* out) {
  const float l = size_m.x(), h = size_m.z();
  SurfaceMaterial fur = PlainFinish(paint.body, 0.35f);
  fur.pattern = SurfaceMaterial::Pattern::kNoise;
  fur.second_color =
      random->Uniform() < 0.4f ? Vector3f(0.6f, 0.55f, 0.5f) : Vector3f(0.6f * paint.body);
  fur.pattern_scale = 5;
  const uint16_t coat = out->AddMaterial(fur);
  const uint16_t nose = out->AddMaterial(PlainFinish({0.01f, 0.01f, 0.01f}, 0.1f));
  const uint16_t collar = out->AddMaterial(
      PlainFinish({random->Uniform(), random->Uniform(), random->Uniform()}, 0.3f));
  const float back = 0.72f * h, girth = random->Uniform(0.85f, 1.2f);
  const float body_radius = 0.15f * h * girth, x0 = -0.24f * l, x1 = 0.16f * l;
  out->Use(coat, "body");
  out->Limb({x0, 0, back - body_radius}, {x1, 0, back - 1.05f * body_radius}, 0.85f * body_radius,
            1.15f * body_radius, 10);
  AddLegs(x1, x0, 0.55f * body_radius, back - body_radius,
          {0.6f, 0.034f * h * girth, 0.035f * h, 0.45f}, phase, out);
  const Vector3f neck(0.2f * l, 0, back - 0.5f * body_radius), head(0.31f * l, 0, 0.87f * h);
  out->Use(coat, "head");
  out->Limb(neck, head, 0.75f * body_radius, 0.55f * body_radius, 8);
  out->Ellipsoid(head, {0.1f * l, 0.08f * l, 0.105f * h}, 6, 10);
  out->Limb(head + Vector3f(0.05f * l, 0, -0.03f * h),
            head + Vector3f(random->Uniform(0.13f, 0.17f) * l, 0, -0.05f * h), 0.06f * h, 0.04f * h,
            8);
  const bool upright = random->Uniform() < 0.5f;
  for (const float side : {1.0f, -1.0f}) {
    const Vector3f ear = head + Vector3f(-0.02f * l, side * 0.06f * l, 0.05f * h);
    if (upright) {
      out->Tube(ear, ear + Vector3f(0, side * 0.01f, 0.09f * h), 0.035f * h, 0.004f, 6);
    } else {
      out->Ellipsoid(ear + Vector3f(0, side * 0.02f * l, -0.06f * h),
                     {0.03f * h, 0.015f * h, 0.08f * h}, 5, 6);
    }
  }
  out->Use(nose, "head");
  out->Ellipsoid(head + Vector3f(0.19f * l, 0, -0.03f * h), {0.022f * h, 0.022f * h, 0.02f * h}, 4,
                 6);
  out->Use(collar, "collar");
  const Vector3f mid = 0.5f * (neck + head), axis = (head - neck).normalized();
  out->Tube(mid - 0.02f * h * axis, mid + 0.02f * h * axis, 0.72f * body_radius, 0.7f * body_radius,
            10);
  out->Use(coat, "tail");
  const float wag = 0.25f * std::sin(2 * kTurn * phase);
  out->Limb({x0 - 0.6f * body_radius, 0, back - 0.6f * body_radius},
            {-0.46f * l, wag * 0.2f * l, back + random->Uniform(-0.05f, 0.14f) * h}, 0.03f * h,
            0.015f * h, 6);
}

void ShapeSheep(const Vector3f& size_m, float phase, const ActorPaint& paint, Random* random,
                SolidBuilder* out) {
  const float l = size_m.x(), w = size_m.y(), h = size_m.z();
  SurfaceMaterial wool = PlainFinish(paint.body, 0.6f);
  wool.pattern = SurfaceMaterial::Pattern::kNoise;
  wool.second_color = 0.8f * paint.body;
  wool.pattern_scale = 12;
  const uint16_t coat = out->AddMaterial(wool);
  const Vector3f face_color =
      random->Uniform() < 0.5f ? Vector3f(0.03f, 0.025f, 0.02f) : Vector3f(0.5f, 0.42f, 0.32f);
  const uint16_t face = out->AddMaterial(PlainFinish(face_color, 0.3f));
  out->Use(coat, "wool");
  AddBlob({-0.08f * l, 0, 0.6f * h}, {0.36f * l, 0.48f * w, 0.27f * h}, 0.1f, 10, 14, random, out);
  out->Use(face, "leg");
  AddLegs(0.12f * l, -0.28f * l, 0.22f * w, 0.5f * h, {0.5f, 0.032f * h, 0.03f * h, 0.35f}, phase,
          out);
  const Vector3f head(0.37f * l, 0, 0.84f * h);
  out->Use(face, "head");
  out->Limb({0.2f * l, 0, 0.7f * h}, head, 0.11f * h, 0.08f * h, 8);
  out->Limb(head, head + Vector3f(0.11f * l, 0, -0.09f * h), 0.085f * h, 0.05f * h, 8);
  for (const float side : {1.0f, -1.0f}) {
    out->Ellipsoid(head + Vector3f(-0.02f * l, side * 0.11f * h, 0.01f * h),
                   {0.03f * h, 0.07f * h, 0.025f * h}, 4, 6);
  }
  out->Use(coat, "wool");
  AddBlob(head + Vector3f(-0.03f * l, 0, 0.07f * h), {0.07f * l, 0.16f * w, 0.06f * h}, 0.1f, 6, 9,
          random, out);
}

}  // namespace athanor
