// Cars, vans, trucks, buses, trailers and building machines.
#include <algorithm>
#include <array>
#include <cmath>

#include "athanor/simulation/street/actor_shapes.h"

namespace athanor {
namespace {

using Eigen::Vector2f;
using Eigen::Vector3f;
using Ring = SolidBuilder::Ring;

// Brighter than tail lamps, so that they are told apart by night.
constexpr float kBrakeEmission = 5, kBlinkEmission = 5;

// What every vehicle has; paint is material 0 so that it can be replaced.
struct VehicleMaterials {
  uint16_t paint, glass, rubber, metal, dark, front_lamp, rear_lamp;
  uint16_t left_indicator, right_indicator, plate;

  VehicleMaterials(const ActorPaint& look, float gloss, SolidBuilder* out) {
    paint = out->AddMaterial(PaintFinish(look.body, gloss));
    glass = out->AddMaterial(GlassFinish());
    rubber = out->AddMaterial(RubberFinish());
    metal = out->AddMaterial(MetalFinish(0.6f));
    dark = out->AddMaterial(PlainFinish({0.025f, 0.025f, 0.028f}, 0.08f));
    front_lamp = out->AddMaterial(LampFinish({0.95f, 0.93f, 0.85f}, look.lights_on ? 6 : 0));
    SurfaceMaterial rear = LampFinish({0.75f, 0.02f, 0.02f}, look.braking     ? kBrakeEmission
                                                             : look.lights_on ? 1.2f
                                                                              : 0);
    rear.retroreflection = 0.6f;
    rear_lamp = out->AddMaterial(rear);
    const Vector3f amber(0.85f, 0.35f, 0.03f);
    left_indicator = out->AddMaterial(LampFinish(amber, look.blink_left ? kBlinkEmission : 0));
    right_indicator = out->AddMaterial(LampFinish(amber, look.blink_right ? kBlinkEmission : 0));
    plate = out->AddMaterial(RetroFinish({0.85f, 0.85f, 0.8f}, 0.9f));
  }
};

void AddWheel(const Vector3f& center, float radius, float width, bool outside_left,
              const VehicleMaterials& m, SolidBuilder* out) {
  const float side = outside_left ? 1.0f : -1.0f;
  const Vector3f half(0, side * width / 2, 0);
  out->Use(m.rubber, "wheel");
  out->Loft([&] {
    std::vector<Ring> rings;
    for (const auto& [y, r] :
         {std::pair{-1.0f, 0.88f}, {-0.8f, 1.0f}, {0.8f, 1.0f}, {1.0f, 0.88f}}) {
      Ring ring;
      for (int i = 0; i < 16; ++i) {
        const float a = 0.3926991f * static_cast<float>(i);
        // Counter-clockwise seen from +y: z to x.
        ring.emplace_back(center.x() + radius * r * std::sin(a), center.y() + y * width / 2,
                          center.z() + radius * r * std::cos(a));
      }
      rings.push_back(std::move(ring));
    }
    return rings;
  }());
  out->Use(m.metal, "wheel");
  out->Tube(center, center + half * 1.04f, radius * 0.62f, radius * 0.58f, 10);
  out->Use(m.dark, "wheel");
  for (int i = 0; i < 5; ++i) {
    const float a = 1.2566371f * static_cast<float>(i);
    out->Box(
        center + Vector3f(0.36f * radius * std::sin(a), 0, 0.36f * radius * std::cos(a)) + half,
        {0.2f * radius, 0.03f, 0.2f * radius});
  }
}

// A pair of wheels with dark arches. `half_width` is that of the body's side.
void AddAxle(float x, float half_width, float radius, float width, bool arches,
             const VehicleMaterials& m, SolidBuilder* out) {
  for (const float side : {1.0f, -1.0f}) {
    if (arches) {
      out->Use(m.dark, "arch");
      out->Tube({x, side * (half_width - 0.25f), radius * 1.05f},
                {x, side * (half_width + 0.004f), radius * 1.05f}, radius * 1.16f, radius * 1.16f,
                16);
    }
    AddWheel({x, side * (half_width - width / 2 + 0.012f), radius}, radius, width, side > 0, m,
             out);
  }
}

// Cross-section of a body at x: rounded at the shoulder, tucked in at the sill.
Ring BodyRing(float x, float half, float z0, float z1, float crown) {
  const float d = z1 - z0;
  const std::array<Vector2f, 6> side = {Vector2f{0.88f, 0}, {0.975f, 0.18f}, {1.0f, 0.55f},
                                        {0.97f, 0.84f},     {0.86f, 1.0f},   {0.4f, 1.0f}};
  Ring ring;
  for (int i = 0; i < 6; ++i) {
    ring.emplace_back(x, half * side[i].x(), z0 + d * side[i].y() + (i == 5 ? crown : 0));
  }
  for (int i = 5; i >= 0; --i) {
    ring.emplace_back(x, -half * side[i].x(), z0 + d * side[i].y() + (i == 5 ? crown : 0));
  }
  return ring;
}

// Everything as a share of length, width or height.
struct CarProportions {
  float ground, belt, hood_front, hood_rear, trunk;    // heights
  float screen_base, screen_top, rear_top, rear_base;  // along the length, -0.5 rear .. 0.5 front
  float front_axle, rear_axle, roof_width, wheel_m;
};

CarProportions Proportions(CarStyle style) {
  switch (style) {
    case CarStyle::kHatchback:
      return {0.14f,  0.58f,   0.47f, 0.58f,  0.60f, 0.27f, 0.07f,
              -0.38f, -0.475f, 0.32f, -0.31f, 0.76f, 0.31f};
    case CarStyle::kSuv:
      return {0.17f,  0.60f,  0.52f, 0.61f,  0.62f, 0.26f, 0.12f,
              -0.40f, -0.48f, 0.30f, -0.29f, 0.80f, 0.37f};
    case CarStyle::kSports:
      return {0.11f,  0.60f,  0.45f, 0.60f,  0.64f, 0.22f, -0.02f,
              -0.17f, -0.38f, 0.31f, -0.30f, 0.70f, 0.34f};
    case CarStyle::kVan:
      return {0.14f,  0.52f,  0.40f, 0.53f,  0.53f, 0.37f, 0.21f,
              -0.46f, -0.49f, 0.33f, -0.29f, 0.84f, 0.34f};
    case CarStyle::kCargoVan:
    case CarStyle::kAmbulance:
      return {0.12f,   0.46f,  0.36f, 0.45f,  0.46f, 0.40f, 0.28f,
              -0.475f, -0.49f, 0.34f, -0.27f, 0.88f, 0.36f};
    case CarStyle::kSedan:
    case CarStyle::kTaxi:
    case CarStyle::kPolice:
      break;
  }
  return {0.13f,  0.59f,  0.48f, 0.60f,  0.63f, 0.24f, 0.07f,
          -0.20f, -0.36f, 0.31f, -0.28f, 0.74f, 0.32f};
}

// The cabin over the belt line: glass between pillars, a roof with a crown.
void AddCabin(const CarProportions& p, CarStyle style, float l, float half, float z_belt,
              float z_roof, const VehicleMaterials& m, SolidBuilder* out) {
  const bool cargo = style == CarStyle::kCargoVan || style == CarStyle::kAmbulance;
  const float middle = cargo ? 0.66f : style == CarStyle::kSports ? 0.3f : 0.47f;
  // Along a side from rear to front, and along the front and rear from side to side.
  const std::array<float, 5> along = {0.0f, 0.07f, middle, middle + 0.045f, 0.95f};
  const auto ring_at = [&](float t, float z) {  // t: 0 at the belt, 1 at the roof
    const float rear = l * (p.rear_base + (p.rear_top - p.rear_base) * t);
    const float front = l * (p.screen_base + (p.screen_top - p.screen_base) * t);
    const float y = half * (0.93f + (p.roof_width - 0.93f) * t);
    const float corner = 0.07f * half;
    Ring ring;
    for (const float a : along) ring.emplace_back(rear + (front - rear) * a, -y, z);
    ring.emplace_back(front, -y + corner, z);
    ring.emplace_back(front + 0.012f * l, 0, z);
    ring.emplace_back(front, y - corner, z);
    for (int i = 4; i >= 0; --i) ring.emplace_back(rear + (front - rear) * along[i], y, z);
    ring.emplace_back(rear, y - corner, z);
    ring.emplace_back(rear - 0.01f * l, 0, z);
    ring.emplace_back(rear, -y + corner, z);
    return ring;
  };
  const float h = z_roof - z_belt;
  std::vector<Ring> rings = {ring_at(0, z_belt - 0.02f), ring_at(0.06f, z_belt + 0.04f * h),
                             ring_at(0.84f, z_belt + 0.82f * h), ring_at(1.0f, z_belt + 0.95f * h)};
  Ring crown = ring_at(1.0f, z_roof);
  Vector3f mean = Vector3f::Zero();
  for (const Vector3f& v : crown) mean += v / static_cast<float>(crown.size());
  for (Vector3f& v : crown) v.head<2>() = mean.head<2>() + 0.86f * (v - mean).head<2>();
  rings.push_back(crown);
  out->Use(m.paint, "cabin");
  out->Loft(rings, [&](int r, int q) -> uint16_t {
    if (r != 1) return m.paint;
    const bool right = q < 5, left = q >= 8 && q < 12;
    if (right) {
      if (q == 1) return cargo ? m.paint : m.glass;
      return q == 3 ? m.glass : m.paint;
    }
    if (q == 5 || q == 6) return m.glass;  // windscreen
    if (left) {
      if (q == 10) return cargo ? m.paint : m.glass;
      return q == 8 ? m.glass : m.paint;
    }
    if (q == 13 || q == 14) return cargo ? m.paint : m.glass;  // rear window
    return m.paint;
  });
}

void AddLightBar(float x, float half, float z, const std::array<Vector3f, 2>& colors,
                 float emission, SolidBuilder* out) {
  for (int i = 0; i < 2; ++i) {
    const float side = i == 0 ? 1.0f : -1.0f;
    out->Use(out->AddMaterial(LampFinish(colors[i], emission)), "beacon");
    out->Box({x, side * 0.35f * half, z + 0.05f}, {0.22f, 0.6f * half, 0.12f});
  }
}

}  // namespace

void ShapeCar(CarStyle style, const Vector3f& size_m, const ActorPaint& paint, Random* random,
              SolidBuilder* out) {
  const VehicleMaterials m(paint, 0.8f, out);
  const float l = size_m.x(), h = size_m.z();
  const float half = 0.455f * size_m.y();  // the mirrors reach the full width
  CarProportions p = Proportions(style);
  const auto vary = [&](float* value, float by) { *value += random->Uniform(-by, by); };
  vary(&p.belt, 0.02f);
  vary(&p.hood_front, 0.025f);
  vary(&p.screen_base, 0.018f);
  vary(&p.screen_top, 0.02f);
  vary(&p.rear_top, 0.02f);
  vary(&p.rear_base, 0.01f);
  vary(&p.trunk, 0.015f);
  vary(&p.roof_width, 0.03f);
  vary(&p.front_axle, 0.012f);
  vary(&p.rear_axle, 0.012f);
  p.rear_base = std::max(p.rear_base, -0.49f);
  p.rear_top = std::max(p.rear_top, p.rear_base + 0.005f);
  const bool beacon =
      style == CarStyle::kTaxi || style == CarStyle::kPolice || style == CarStyle::kAmbulance;
  const float roof = beacon ? h - 0.14f : h;
  const float z0 = p.ground * h;

  const float nose = random->Uniform(0.72f, 0.88f);
  struct Station {
    float x, half, z0, z1;
  };
  const std::vector<Station> stations = {
      {-0.500f, 0.84f, z0 + 0.08f * h, (p.trunk - 0.16f) * h},
      {-0.488f, 0.94f, z0 + 0.02f * h, (p.trunk - 0.05f) * h},
      {-0.455f, 0.99f, z0, p.trunk * h},
      {p.rear_base + 0.02f, 1.0f, z0, std::max(p.trunk, p.belt) * h},
      {-0.1f, 1.0f, z0, p.belt * h},
      {p.screen_base - 0.03f, 1.0f, z0, p.belt * h},
      {p.screen_base + 0.02f, 1.0f, z0, p.hood_rear * h},
      {0.5f * (p.screen_base + 0.46f), 0.995f, z0,
       (0.45f * p.hood_rear + 0.55f * p.hood_front) * h},
      {0.455f, 0.97f, z0, p.hood_front * h},
      {0.486f, 0.92f, z0 + 0.02f * h, (p.hood_front - 0.05f) * h},
      {0.500f, nose, z0 + 0.06f * h, (p.hood_front - 0.13f) * h}};
  std::vector<Ring> rings;
  float last_x = -1;
  for (const Station& s : stations) {
    last_x = std::max(s.x, last_x + 0.004f);
    rings.push_back(BodyRing(last_x * l, half * s.half, s.z0, s.z1, 0.012f * h));
  }
  out->Use(m.paint, "body");
  out->Loft(rings);
  AddCabin(p, style, l, half, p.belt * h, roof, m, out);

  const float radius = std::min(p.wheel_m * random->Uniform(0.95f, 1.06f), 0.27f * h);
  AddAxle(p.front_axle * l, half, radius, 0.21f, true, m, out);
  AddAxle(p.rear_axle * l, half, radius, 0.21f, true, m, out);

  const float lamp_z = (p.hood_front - 0.11f) * h, lamp_h = random->Uniform(0.05f, 0.085f) * h;
  const float lamp_w = random->Uniform(0.14f, 0.22f) * size_m.y();
  for (const float side : {1.0f, -1.0f}) {
    out->Use(m.front_lamp, "light");
    out->Box({0.475f * l, side * (0.93f * half - lamp_w / 2), lamp_z},
             {0.042f * l, lamp_w, lamp_h});
    out->Use(m.rear_lamp, "light");
    out->Box({-0.48f * l, side * (0.955f * half - lamp_w / 2), (p.trunk - 0.1f) * h},
             {0.038f * l, lamp_w, 1.3f * lamp_h});
    out->Use(side > 0 ? m.left_indicator : m.right_indicator, "light");
    out->Box({-0.481f * l, side * (0.95f * half - 0.06f), (p.trunk - 0.18f) * h},
             {0.038f * l, 0.1f, 0.04f});
    out->Use(m.paint, "mirror");
    out->Box(
        {(p.screen_base - 0.035f) * l, side * (0.5f * size_m.y() - 0.09f), (p.belt + 0.04f) * h},
        {0.1f, 0.18f, 0.13f});
  }
  out->Use(m.dark, "grille");
  out->Box({0.484f * l, 0, (p.hood_front - 0.2f) * h}, {0.036f * l, 1.1f * half, 0.09f * h});
  out->Box({0.30f * l, 0, z0}, {0.3f * l, 1.5f * half, 0.04f});
  out->Use(m.plate, "plate");
  out->Box({0.494f * l, 0, z0 + 0.12f * h}, {0.02f, 0.46f, 0.11f});
  out->Box({-0.495f * l, 0, (p.trunk - 0.2f) * h}, {0.03f, 0.46f, 0.11f});
  out->Use(m.dark, "trim");
  for (const float side : {1.0f, -1.0f}) {  // handles and door gaps
    out->Box({0.02f * l, side * half * 0.985f, (p.belt - 0.08f) * h}, {0.16f, 0.03f, 0.03f});
    out->Box({-0.16f * l, side * half * 0.985f, (p.belt - 0.08f) * h}, {0.16f, 0.03f, 0.03f});
    out->Box({-0.065f * l, side * half * 0.992f, (p.belt - 0.2f) * h}, {0.012f, 0.03f, 0.34f * h});
  }
  if (style == CarStyle::kSuv && random->Uniform() < 0.6f) {
    for (const float side : {1.0f, -1.0f}) {
      out->Box({-0.12f * l, side * 0.68f * half, h - 0.02f}, {0.42f * l, 0.04f, 0.04f});
    }
  }
  if (style == CarStyle::kTaxi) {
    out->Use(out->AddMaterial(LampFinish({0.95f, 0.8f, 0.15f}, paint.lights_on ? 2 : 0)), "sign");
    out->Box({-0.05f * l, 0, roof + 0.06f}, {0.2f, 0.5f, 0.16f});
  } else if (beacon) {
    AddLightBar(
        style == CarStyle::kAmbulance ? 0.22f * l : -0.03f * l, half, roof - 0.02f,
        {Vector3f(0.05f, 0.1f, 0.9f),
         style == CarStyle::kPolice ? Vector3f(0.85f, 0.05f, 0.05f) : Vector3f(0.05f, 0.1f, 0.9f)},
        1.5f, out);
    SurfaceMaterial band = RetroFinish(
        style == CarStyle::kPolice ? Vector3f(0.05f, 0.12f, 0.55f) : Vector3f(0.8f, 0.1f, 0.05f),
        0.7f);
    out->Use(out->AddMaterial(band), "marking");
    for (const float side : {1.0f, -1.0f}) {
      out->Box({-0.02f * l, side * half * 0.99f, 0.43f * h}, {0.5f * l, 0.03f, 0.09f * h});
    }
  }
}

void ShapeBus(const Vector3f& size_m, bool bendy, const ActorPaint& paint, Random* random,
              SolidBuilder* out) {
  const VehicleMaterials m(paint, 0.5f, out);
  const float l = size_m.x(), h = size_m.z(), half = 0.475f * size_m.y();
  const Vector3f lower(random->Uniform(0.05f, 0.9f), random->Uniform(0.05f, 0.9f),
                       random->Uniform(0.05f, 0.9f));
  const uint16_t second = out->AddMaterial(PaintFinish(lower, 0.5f));
  const uint16_t sign =
      out->AddMaterial(LampFinish({0.9f, 0.55f, 0.05f}, paint.lights_on ? 2.5f : 0.4f));
  // One stiff part of the bus between two x: a tube with rounded edges.
  const auto hull = [&](float x0, float x1) {
    const auto ring = [&](float x, float shrink) {
      Ring r;
      const float y = half - shrink, top = h - shrink, bottom = 0.1f * h + shrink, c = 0.16f;
      for (const auto& [py, pz] : {std::pair{y - 0.03f, bottom},
                                   {y, bottom + 0.1f},
                                   {y, 0.3f * h},
                                   {y, top - 2 * c},
                                   {y - 0.3f * c, top - 0.6f * c},
                                   {y - c, top},
                                   {-y + c, top},
                                   {-y + 0.3f * c, top - 0.6f * c},
                                   {-y, top - 2 * c},
                                   {-y, 0.3f * h},
                                   {-y, bottom + 0.1f},
                                   {-y + 0.03f, bottom}}) {
        r.emplace_back(x, py, pz);
      }
      return r;
    };
    out->Use(m.paint, "body");
    out->Loft({ring(x0, 0.1f), ring(x0 + 0.12f, 0), ring(x1 - 0.12f, 0), ring(x1, 0.1f)},
              [&](int, int p) { return p == 1 || p == 9 || p == 0 || p == 10 ? second : m.paint; });
    // Windows between pillars, doors on the right side.
    const int panes = std::max(2, static_cast<int>((x1 - x0 - 0.6f) / 1.5f));
    const float pane = (x1 - x0 - 0.5f) / static_cast<float>(panes);
    for (int i = 0; i < panes; ++i) {
      const float x = x0 + 0.25f + pane * (static_cast<float>(i) + 0.5f);
      const bool door = i == panes - 1 || (panes > 4 && i == panes / 2);
      for (const float side : {1.0f, -1.0f}) {
        out->Use(m.glass, "window");
        const bool tall = door && side < 0;
        const float z0 = tall ? 0.14f * h : 0.42f * h, z1 = 0.84f * h;
        out->Box({x, side * (half - 0.03f), (z0 + z1) / 2}, {pane - 0.14f, 0.075f, z1 - z0});
        if (tall) {
          out->Use(m.dark, "door");
          out->Box({x, side * (half - 0.03f), 0.48f * h}, {0.05f, 0.085f, 0.7f * h});
        }
      }
    }
  };
  if (bendy) {
    const float joint = -0.06f * l;
    hull(-l / 2 + 0.02f, joint - 0.55f);
    hull(joint + 0.55f, l / 2 - 0.02f);
    out->Use(m.dark, "bellows");
    for (int i = 0; i < 7; ++i) {
      const float shrink = i % 2 == 0 ? 0.12f : 0.05f;
      out->Box({joint - 0.5f + 0.167f * static_cast<float>(i), 0, 0.54f * h},
               {0.16f, 2 * (half - shrink), 0.84f * h - shrink});
    }
    AddAxle(joint - 0.2f * l, half, 0.48f, 0.28f, true, m, out);
  } else {
    hull(-l / 2 + 0.02f, l / 2 - 0.02f);
  }
  AddAxle(0.27f * l, half, 0.48f, 0.28f, true, m, out);
  AddAxle(bendy ? 0.02f * l : -0.24f * l, half, 0.48f, 0.28f, true, m, out);
  if (bendy) AddAxle(-0.36f * l, half, 0.48f, 0.28f, true, m, out);
  const float front = l / 2 - 0.02f;
  out->Use(m.glass, "windscreen");
  out->Box({front, 0, 0.53f * h}, {0.03f, 1.7f * half, 0.42f * h});
  out->Box({-front, 0, 0.62f * h}, {0.03f, 1.4f * half, 0.24f * h});
  out->Use(sign, "sign");
  out->Box({front, 0, 0.83f * h}, {0.03f, 1.3f * half, 0.1f * h});
  for (const float side : {1.0f, -1.0f}) {
    out->Use(m.front_lamp, "light");
    out->Box({front, side * 0.72f * half, 0.24f * h}, {0.035f, 0.34f, 0.16f});
    out->Use(m.rear_lamp, "light");
    out->Box({-front, side * 0.8f * half, 0.3f * h}, {0.035f, 0.2f, 0.4f});
    out->Use(m.dark, "mirror");
    out->Box({front - 0.1f, side * (size_m.y() / 2 - 0.11f), 0.66f * h}, {0.1f, 0.22f, 0.34f});
  }
  out->Use(m.plate, "plate");
  out->Box({front, 0, 0.17f * h}, {0.035f, 0.5f, 0.12f});
  out->Box({-front, 0, 0.2f * h}, {0.035f, 0.5f, 0.12f});
}

namespace {

// The goods side of a truck or trailer between two x, above `floor`.
void AddLoad(int kind, float x0, float x1, float half, float floor, float h,
             const VehicleMaterials& m, Random* random, SolidBuilder* out) {
  const float xc = (x0 + x1) / 2, length = x1 - x0;
  if (kind == 0) {  // box with ribs
    const Vector3f color = random->Uniform() < 0.5f
                               ? Vector3f(0.75f, 0.75f, 0.73f)
                               : Vector3f(random->Uniform(), random->Uniform(), random->Uniform());
    out->Use(out->AddMaterial(PlainFinish(color, 0.55f)), "box");
    out->Box({xc, 0, (floor + h) / 2}, {length, 2 * half, h - floor});
    out->Use(m.metal, "rib");
    for (const float side : {1.0f, -1.0f}) {
      out->Box({xc, side * half, h - 0.06f}, {length, 0.05f, 0.1f});
      out->Box({xc, side * half, floor + 0.05f}, {length, 0.05f, 0.1f});
    }
    SurfaceMaterial emblem =
        PlainFinish({random->Uniform(), random->Uniform(), random->Uniform()}, 0.5f);
    out->Use(out->AddMaterial(emblem), "marking");
    const float w = random->Uniform(0.3f, 0.7f) * length,
                t = random->Uniform(0.15f, 0.5f) * (h - floor);
    for (const float side : {1.0f, -1.0f}) {
      out->Box({xc, side * half, (floor + h) / 2}, {w, 0.03f, t});
    }
  } else if (kind == 1) {  // tank
    out->Use(out->AddMaterial(MetalFinish(0.75f)), "tank");
    const float r = std::min(half, (h - floor) / 2);
    const float zc = h - r;
    std::vector<Ring> rings;
    for (const auto& [x, s] : {std::pair{x0, 0.6f},
                               {x0 + 0.25f, 0.95f},
                               {x0 + 0.6f, 1.0f},
                               {x1 - 0.6f, 1.0f},
                               {x1 - 0.25f, 0.95f},
                               {x1, 0.6f}}) {
      Ring ring;
      for (int i = 0; i < 18; ++i) {
        const float a = 0.3490659f * static_cast<float>(i);
        ring.emplace_back(x, half * s * std::cos(a), zc + r * s * std::sin(a));
      }
      rings.push_back(ring);
    }
    out->Loft(rings);
    out->Use(m.dark, "frame");
    out->Box({xc, 0, floor}, {length, 1.2f * half, 0.3f});
  } else if (kind == 2) {  // curtain sides
    SurfaceMaterial curtain =
        PlainFinish({random->Uniform(), random->Uniform(), random->Uniform()}, 0.35f);
    curtain.pattern = SurfaceMaterial::Pattern::kFabric;
    curtain.second_color = 0.8f * curtain.color;
    curtain.pattern_scale = 4;
    out->Use(out->AddMaterial(curtain), "curtain");
    out->Box({xc, 0, (floor + h) / 2 + 0.05f},
             {length - 0.06f, 2 * half - 0.04f, h - floor - 0.2f});
    out->Use(m.metal, "frame");
    out->Box({xc, 0, h - 0.05f}, {length, 2 * half, 0.1f});
    out->Box({xc, 0, floor + 0.08f}, {length, 2 * half, 0.16f});
    for (const float x : {x0 + 0.05f, xc, x1 - 0.05f}) {
      out->Box({x, 0, (floor + h) / 2}, {0.1f, 2 * half + 0.02f, h - floor});
    }
  } else {  // open bed with goods
    out->Use(m.metal, "bed");
    out->Box({xc, 0, floor + 0.08f}, {length, 2 * half, 0.16f});
    const float wall = 0.35f * (h - floor);
    for (const float side : {1.0f, -1.0f}) {
      out->Box({xc, side * (half - 0.04f), floor + wall / 2}, {length, 0.08f, wall});
    }
    out->Box({x1 - 0.05f, 0, (floor + h) / 2}, {0.1f, 2 * half, h - floor});
    const int goods = 3 + static_cast<int>(random->Below(4));
    const float step = (length - 0.4f) / static_cast<float>(goods);
    for (int i = 0; i < goods; ++i) {
      SurfaceMaterial wood = PlainFinish(
          {random->Uniform(0.3f, 0.6f), random->Uniform(0.2f, 0.4f), random->Uniform(0.05f, 0.25f)},
          0.4f);
      wood.pattern = SurfaceMaterial::Pattern::kWood;
      wood.second_color = 0.6f * wood.color;
      out->Use(out->AddMaterial(wood), "goods");
      const float height = random->Uniform(0.3f, 0.85f) * (h - floor);
      out->Box({x0 + 0.1f + step * (static_cast<float>(i) + 0.5f), 0, floor + 0.1f + height / 2},
               {step * random->Uniform(0.6f, 0.95f), random->Uniform(1.2f, 1.7f) * half, height});
    }
  }
}

}  // namespace

void ShapeTruck(const Vector3f& size_m, const ActorPaint& paint, Random* random,
                SolidBuilder* out) {
  const VehicleMaterials m(paint, 0.5f, out);
  const float l = size_m.x(), h = size_m.z(), half = 0.465f * size_m.y();
  const float cab = std::clamp(random->Uniform(1.7f, 2.3f), 0.2f * l, 0.38f * l);
  const float cab_h = std::min(h, random->Uniform(2.5f, 3.1f));
  const float front = l / 2, back = front - cab, radius = std::clamp(0.15f * h, 0.35f, 0.52f);
  const float floor = radius * 2 + 0.12f;
  out->Use(m.paint, "cab");
  const float lean = random->Uniform(0.06f, 0.22f);
  out->Extrude({{back, 0.45f},
                {front - 0.03f, 0.45f},
                {front, 0.55f},
                {front, 0.52f * cab_h},
                {front - lean, 0.93f * cab_h},
                {front - lean - 0.2f, cab_h},
                {back, cab_h}},
               -half, half);
  out->Use(m.glass, "window");
  // The windscreen lies on the leaning face.
  {
    const float z0 = 0.55f * cab_h, z1 = 0.88f * cab_h;
    const float x0 = front - lean * (z0 / cab_h - 0.52f) / 0.41f;
    const float x1 = front - lean * (z1 / cab_h - 0.52f) / 0.41f;
    out->Extrude({{x0 - 0.1f, z0}, {x0 + 0.012f, z0}, {x1 + 0.012f, z1}, {x1 - 0.1f, z1}},
                 -0.9f * half, 0.9f * half);
    const float side_length = 0.42f * cab;
    out->Box({front - lean - 0.2f - side_length / 2, 0, (z0 + z1) / 2},
             {side_length, 2 * half + 0.016f, z1 - z0});
  }
  out->Use(m.dark, "frame");
  out->Box({-cab / 2 + 0.1f, 0, radius + 0.1f}, {l - cab - 0.1f, 1.1f * half, 0.3f});
  out->Box({front - 0.05f, 0, 0.48f}, {0.12f, 1.98f * half, 0.22f});
  out->Box({front - 0.02f, 0, 0.42f * cab_h}, {0.05f, 1.3f * half, 0.12f * cab_h});
  for (const float side : {1.0f, -1.0f}) {
    out->Box({0.02f * l, side * 0.85f * half, radius + 0.05f}, {0.24f * l, 0.3f * half, 0.4f});
    out->Box({front - lean - 0.1f, side * (size_m.y() / 2 - 0.1f), 0.68f * cab_h},
             {0.12f, 0.2f, 0.45f});
    out->Use(m.front_lamp, "light");
    out->Box({front - 0.01f, side * 0.78f * half, 0.62f}, {0.04f, 0.3f, 0.18f});
    out->Use(m.rear_lamp, "light");
    out->Box({-l / 2 + 0.03f, side * 0.8f * half, 0.85f}, {0.06f, 0.3f, 0.15f});
    out->Use(m.dark, "frame");
  }
  const uint32_t draw = random->Below(10);
  const int kind = draw < 5 ? 0 : draw < 6 ? 1 : draw < 8 ? 2 : 3;
  AddLoad(kind, -l / 2 + 0.02f, back - 0.12f, half, floor, h, m, random, out);
  out->Use(m.plate, "plate");
  out->Box({-l / 2 + 0.02f, 0, 0.8f}, {0.04f, 0.5f, 0.12f});
  out->Box({front, 0, 0.5f}, {0.04f, 0.5f, 0.12f});
  AddAxle(front - 0.55f * cab, half, radius, 0.3f, true, m, out);
  AddAxle(-0.27f * l, half, radius, 0.32f, false, m, out);
  if (l > 8.5f) AddAxle(-0.27f * l - 2.15f * radius, half, radius, 0.32f, false, m, out);
}

void ShapeTrailer(const Vector3f& size_m, const ActorPaint& paint, Random* random,
                  SolidBuilder* out) {
  const VehicleMaterials m(paint, 0.4f, out);
  const float l = size_m.x(), h = size_m.z(), half = 0.49f * size_m.y();
  const float radius = std::clamp(0.14f * h, 0.28f, 0.5f), floor = 2 * radius + 0.15f;
  const uint32_t draw = random->Below(10);
  AddLoad(draw < 5   ? 0
          : draw < 8 ? 2
          : draw < 9 ? 1
                     : 3,
          -l / 2 + 0.03f, l / 2 - 0.03f, half, floor, h, m, random, out);
  out->Use(m.dark, "frame");
  out->Box({0, 0, floor - 0.12f}, {l - 0.1f, 1.0f * half, 0.26f});
  for (const float side : {1.0f, -1.0f}) {
    out->Use(m.dark, "leg");
    out->Box({0.28f * l, side * 0.5f * half, floor / 2}, {0.12f, 0.12f, floor - 0.1f});
    out->Use(m.rear_lamp, "light");
    out->Box({-l / 2 + 0.03f, side * 0.8f * half, floor - 0.1f}, {0.06f, 0.3f, 0.14f});
  }
  out->Use(m.plate, "plate");
  out->Box({-l / 2 + 0.03f, 0, floor - 0.1f}, {0.06f, 0.5f, 0.12f});
  const int axles = l > 9 ? 3 : l > 5 ? 2 : 1;
  for (int i = 0; i < axles; ++i) {
    AddAxle(-0.2f * l - 2.2f * radius * static_cast<float>(i), half, radius, 0.3f, false, m, out);
  }
}

void ShapeConstructionVehicle(const Vector3f& size_m, const ActorPaint& paint, Random* random,
                              SolidBuilder* out) {
  const VehicleMaterials m(paint, 0.2f, out);
  const float l = size_m.x(), h = size_m.z(), half = size_m.y() / 2;
  const bool excavator = random->Uniform() < 0.6f;
  const float base = excavator ? 0.28f * h : 0.3f * h;
  if (excavator) {
    out->Use(m.dark, "track");
    for (const float side : {1.0f, -1.0f}) {
      const float y = side * (half - 0.18f * half);
      const float x0 = -0.45f * l, x1 = 0.08f * l, z = 0.13f * h;
      out->Extrude({{x0, z},
                    {x0 + 0.03f * l, 0.02f * h},
                    {x1 - 0.03f * l, 0.02f * h},
                    {x1, z},
                    {x1 - 0.03f * l, 2 * z},
                    {x0 + 0.03f * l, 2 * z}},
                   y - 0.18f * half, y + 0.18f * half);
    }
  } else {
    AddAxle(0.18f * l, half, 0.21f * h, 0.45f, false, m, out);
    AddAxle(-0.26f * l, half, 0.21f * h, 0.45f, false, m, out);
  }
  out->Use(m.paint, "body");
  out->Box({-0.22f * l, 0, base + 0.16f * h}, {0.52f * l, 1.6f * half, 0.32f * h});
  out->Box({-0.42f * l, 0, base + 0.2f * h}, {0.15f * l, 1.7f * half, 0.3f * h});
  out->Use(m.paint, "cab");
  const float cab_x = -0.1f * l, cab_y = excavator ? 0.35f * half : 0;
  out->Box({cab_x, cab_y, h - 0.05f * h}, {0.24f * l, 0.9f * half, 0.06f * h});
  out->Use(m.glass, "window");
  out->Box({cab_x, cab_y, base + 0.48f * h}, {0.22f * l, 0.82f * half, 0.42f * h});
  out->Use(m.paint, "arm");
  const float arm_y = excavator ? -0.35f * half : 0;
  if (excavator) {
    out->Limb({-0.02f * l, arm_y, base + 0.25f * h}, {0.22f * l, arm_y, 0.92f * h}, 0.16f, 0.14f);
    out->Limb({0.22f * l, arm_y, 0.92f * h}, {0.42f * l, arm_y, 0.4f * h}, 0.13f, 0.1f);
    out->Use(m.dark, "bucket");
    out->Extrude({{0.34f * l, 0.3f * h},
                  {0.36f * l, 0.1f * h},
                  {0.45f * l, 0.05f * h},
                  {0.5f * l, 0.14f * h},
                  {0.46f * l, 0.38f * h}},
                 arm_y - 0.4f * half, arm_y + 0.4f * half);
  } else {
    for (const float side : {1.0f, -1.0f}) {
      out->Limb({0.02f * l, side * 0.35f * half, base + 0.3f * h},
                {0.36f * l, side * 0.35f * half, 0.25f * h}, 0.12f, 0.12f);
    }
    out->Use(m.dark, "bucket");
    out->Extrude({{0.36f * l, 0.42f * h},
                  {0.35f * l, 0.08f * h},
                  {0.5f * l, 0.03f * h},
                  {0.42f * l, 0.12f * h},
                  {0.41f * l, 0.42f * h}},
                 -0.96f * half, 0.96f * half);
  }
  out->Use(out->AddMaterial(LampFinish({0.95f, 0.45f, 0.02f}, paint.lights_on ? 3 : 0.8f)),
           "beacon");
  out->Tube({cab_x, cab_y, 0.97f * h}, {cab_x, cab_y, h + 0.08f}, 0.07f, 0.06f, 8);
}

}  // namespace athanor
