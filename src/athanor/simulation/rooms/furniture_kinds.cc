// Furniture: chairs, tables, shelves, beds, lamps.
#include <cmath>

#include "athanor/simulation/rooms/object_maker.h"

namespace athanor {
namespace {

using Eigen::Vector2f;
using V = Eigen::Vector3f;
using Pattern = SurfaceMaterial::Pattern;

constexpr float kPi = 3.14159265f;

// Four legs under a rectangle of half sizes x and y, splayed outwards at the floor.
void Legs(ObjectMaker& m, float x, float y, float height, float radius, bool round, float splay) {
  for (const float sx : {-1.0f, 1.0f}) {
    for (const float sy : {-1.0f, 1.0f}) {
      const V top(sx * x, sy * y, height), foot(sx * (x + splay), sy * (y + splay), 0);
      if (round) {
        m.Rod(foot, top, 0.65f * radius, radius);
      } else {
        m.Box({top.x() - radius, top.y() - radius, 0}, {top.x() + radius, top.y() + radius, height},
              0.2f * radius);
      }
    }
  }
}

void MakeChair(ObjectMaker& m) {
  const float s = m.PickScale();
  const float seat = 0.45f * s, width = m.Uniform(0.4f, 0.47f) * s,
              depth = m.Uniform(0.4f, 0.45f) * s;
  const float back = m.Uniform(0.82f, 0.98f) * s, x = depth / 2, y = width / 2;
  const Look wood = m.Chance(0.7f) ? m.Wood({"brown", "beige", "white", "black", "red", "blue"})
                                   : m.Metal({"grey", "black"});
  m.Main(wood);
  const bool round = m.Chance(0.5f);
  const float leg = m.Uniform(0.016f, 0.022f);
  m.Part("leg");
  Legs(m, x - 0.03f, y - 0.03f, seat, leg, round, round ? 0.025f : 0);
  if (m.Chance(0.5f)) {
    for (const float side : {-1.0f, 1.0f}) {
      m.Rod({-x + 0.03f, side * (y - 0.03f), seat * 0.4f},
            {x - 0.03f, side * (y - 0.03f), seat * 0.4f}, 0.01f, 0.01f);
    }
  }
  m.Part("back");
  for (const float side : {-1.0f, 1.0f}) {
    m.Rod({-x + 0.02f, side * (y - 0.025f), seat}, {-x - 0.04f, side * (y - 0.025f), back}, leg,
          leg * 0.8f);
  }
  const int style = m.Pick(3);
  if (style == 0) {  // rungs
    const int rungs = 2 + m.Pick(3);
    for (int k = 0; k < rungs; ++k) {
      const float z = seat + (back - seat) * (k + 1.0f) / rungs - 0.05f;
      const float at = -x + 0.02f - 0.06f * (z - seat) / (back - seat);
      m.Box({at - 0.009f, -y + 0.03f, z - 0.03f}, {at + 0.009f, y - 0.03f, z + 0.035f}, 0.008f);
    }
  } else if (style == 1) {  // bars
    m.Box({-x - 0.055f, -y + 0.01f, back - 0.07f}, {-x - 0.02f, y - 0.01f, back}, 0.012f);
    const int bars = 3 + m.Pick(3);
    for (int k = 0; k < bars; ++k) {
      const float at = (y - 0.06f) * (2.0f * k / (bars - 1) - 1);
      m.Rod({-x + 0.02f, at, seat}, {-x - 0.036f, at, back - 0.03f}, 0.008f, 0.008f);
    }
  } else {  // a board
    m.Box({-x - 0.05f, -y + 0.01f, seat + (back - seat) * 0.35f}, {-x - 0.01f, y - 0.01f, back},
          0.015f);
  }
  m.Part("seat");
  if (m.Chance(0.4f)) {
    m.Use(m.Fabric());
    m.Box({-x, -y, seat - 0.01f}, {x, y, seat + 0.05f}, 0.022f);
  } else {
    m.Use(wood);
    m.Box({-x, -y, seat - 0.015f}, {x, y, seat + 0.015f}, 0.01f);
  }
}

void MakeOfficeChair(ObjectMaker& m) {
  const float s = m.PickScale();
  m.Part("base");
  m.Use(m.Metal({"black", "grey"}));
  for (int k = 0; k < 5; ++k) {
    const float a = 2 * kPi * k / 5;
    const V end(0.28f * std::cos(a), 0.28f * std::sin(a), 0.07f);
    m.Rod({0, 0, 0.11f}, end, 0.022f, 0.014f);
    m.Part("wheel");
    m.Ellipsoid({end.x(), end.y(), 0.03f}, {0.03f, 0.03f, 0.03f}, 2, 8, 10);
    m.Part("base");
  }
  const float seat = 0.46f * s;
  m.Rod({0, 0, 0.1f}, {0, 0, seat}, 0.025f, 0.02f);
  m.Main(m.Chance(0.5f) ? m.Fabric({"black", "grey", "blue", "red", "green"}, 0) : m.Leather());
  m.Part("seat");
  m.Box({-0.24f, -0.24f, seat}, {0.24f, 0.24f, seat + 0.08f}, 0.035f);
  m.Part("back");
  const float high = m.Uniform(0.45f, 0.62f);
  m.Sheet(
      8, 8,
      [&](float u, float v) {
        const float y = 0.44f * (v - 0.5f) * (1 - 0.25f * u * u);
        return V(-0.25f - 0.08f * u + 0.5f * y * y, y, seat + 0.13f + high * u);
      },
      0.05f);
  m.Use("black");
  m.Rod({-0.05f, 0, seat}, {-0.27f, 0, seat + 0.3f}, 0.02f, 0.02f);
  if (m.Chance(0.6f)) {
    m.Part("armrest");
    for (const float side : {-1.0f, 1.0f}) {
      m.Rod({0, side * 0.25f, seat + 0.03f}, {0, side * 0.27f, seat + 0.22f}, 0.013f, 0.013f);
      m.Box({-0.13f, side * 0.27f - 0.03f, seat + 0.22f},
            {0.13f, side * 0.27f + 0.03f, seat + 0.25f}, 0.012f);
    }
  }
}

void MakeStool(ObjectMaker& m) {
  const float s = m.PickScale(), height = m.Uniform(0.42f, 0.66f) * s,
              radius = m.Uniform(0.15f, 0.19f);
  m.Main(m.Chance(0.6f) ? m.Wood({"brown", "beige", "white", "red", "green", "blue"})
                        : m.Metal({"grey", "black", "red", "yellow"}));
  m.Part("leg");
  const int legs = m.Chance(0.5f) ? 3 : 4;
  for (int k = 0; k < legs; ++k) {
    const float a = 2 * kPi * (k + 0.5f) / legs;
    const V d(std::cos(a), std::sin(a), 0);
    m.Rod(d * (radius + 0.02f), V(d * radius * 0.7f) + V(0, 0, height - 0.02f), 0.014f, 0.018f);
  }
  std::vector<V> ring;
  for (int k = 0; k < 24; ++k) {
    ring.push_back({radius * 0.88f * std::cos(2 * kPi * k / 24),
                    radius * 0.88f * std::sin(2 * kPi * k / 24), height * 0.35f});
  }
  m.Tube(ring, 0.008f, true);
  m.Part("seat");
  m.Lathe({{0, height - 0.03f},
           {radius - 0.01f, height - 0.03f},
           {radius, height - 0.02f},
           {radius, height - 0.008f},
           {radius - 0.01f, height},
           {0, height - 0.004f}},
          28);
}

void MakeBench(ObjectMaker& m) {
  const float length = m.Uniform(0.9f, 1.4f);
  m.PickScale();
  m.Main(m.Wood());
  m.Part("leg");
  Legs(m, 0.12f, length / 2 - 0.08f, 0.42f, 0.025f, m.Chance(0.5f), 0.02f);
  m.Part("seat");
  m.Box({-0.18f, -length / 2, 0.42f}, {0.18f, length / 2, 0.46f}, 0.012f);
}

// Sofas and armchairs: `seats` cushions between two arms.
void Upholstered(ObjectMaker& m, int seats) {
  const float s = m.PickScale();
  const float cushion = m.Uniform(0.58f, 0.68f) * s, arm = m.Uniform(0.12f, 0.2f),
              depth = m.Uniform(0.8f, 0.92f) * s;
  const float seat = m.Uniform(0.4f, 0.45f), back = m.Uniform(0.75f, 0.9f) * s,
              half = seats * cushion / 2;
  const Look look = m.Chance(0.7f) ? m.Fabric({}, seats == 1 ? 0.4f : 0.15f) : m.Leather();
  m.Main(look);
  const float x = depth / 2, round = m.Uniform(0.03f, 0.06f);
  m.Part("body");
  m.Box({-x + 0.05f, -half - 0.02f, 0.1f}, {x - 0.03f, half + 0.02f, seat - 0.1f}, 0.02f);
  m.Part("back");
  m.Box({-x, -half - arm, 0.1f}, {-x + 0.18f, half + arm, back - 0.06f}, round);
  for (int k = 0; k < seats; ++k) {
    const float y = -half + cushion * (k + 0.5f);
    m.Box({-x + 0.14f, y - cushion / 2 + 0.006f, seat - 0.03f},
          {-x + 0.34f, y + cushion / 2 - 0.006f, back}, 0.07f);
  }
  m.Part("armrest");
  for (const float side : {-1.0f, 1.0f}) {
    const float a = side * half, b = side * (half + arm);
    m.Box({-x + 0.02f, std::min(a, b), 0.1f}, {x, std::max(a, b), seat + m.Uniform(0.15f, 0.16f)},
          round);
  }
  m.Part("seat");
  for (int k = 0; k < seats; ++k) {
    const float y = -half + cushion * (k + 0.5f);
    m.Box({-x + 0.2f, y - cushion / 2 + 0.004f, seat - 0.13f},
          {x + 0.01f, y + cushion / 2 - 0.004f, seat + 0.03f}, 0.05f);
  }
  m.Support(-x + 0.38f, -half + 0.1f, x - 0.06f, half - 0.1f, seat + 0.03f, 1);
  m.Use(m.Wood({"brown", "black"}));
  m.Part("leg");
  Legs(m, x - 0.1f, half + arm - 0.1f, 0.12f, 0.025f, true, 0.01f);
}

void MakeSofa(ObjectMaker& m) { Upholstered(m, 2 + m.Pick(2)); }
void MakeArmchair(ObjectMaker& m) { Upholstered(m, 1); }

void TableOf(ObjectMaker& m, float length, float width, float height, bool round) {
  const Look top = m.Chance(0.85f) ? m.Wood({"brown", "brown", "beige", "white", "black"})
                                   : m.Glass({"white", "green", "blue"});
  const float thick = m.Uniform(0.022f, 0.04f);
  m.Describe(top);
  m.Part("leg");
  m.Use(top.material == "wooden" && m.Chance(0.6f) ? top : m.Metal({"black", "grey"}));
  const float x = width / 2, y = length / 2;
  if (round && m.Chance(0.5f)) {
    m.Lathe({{0, 0},
             {0.55f * x, 0},
             {0.55f * x, 0.02f},
             {0.06f, 0.05f},
             {0.04f, height * 0.5f},
             {0.07f, height - thick},
             {0, height - thick}});
  } else {
    const float inset = round ? 0.3f * x : m.Uniform(0.04f, 0.1f);
    Legs(m, x - inset, y - inset, height - thick, m.Uniform(0.022f, 0.036f), m.Chance(0.4f), 0);
    if (!round) {
      m.Part("frame");
      for (const float side : {-1.0f, 1.0f}) {
        m.Box({side * (x - inset) - 0.01f, -y + inset, height - thick - 0.08f},
              {side * (x - inset) + 0.01f, y - inset, height - thick + 0.002f});
        m.Box({-x + inset, side * (y - inset) - 0.01f, height - thick - 0.08f},
              {x - inset, side * (y - inset) + 0.01f, height - thick + 0.002f});
      }
    }
  }
  m.Part("top");
  m.Use(top);
  if (round) {
    m.Lathe({{0, height - thick},
             {x - 0.01f, height - thick},
             {x, height - thick / 2},
             {x - 0.005f, height},
             {0, height}},
            48);
    m.Support(-0.66f * x, -0.66f * x, 0.66f * x, 0.66f * x, height);
  } else {
    m.Box({-x, -y, height - thick}, {x, y, height}, 0.006f);
    m.Support(-x + 0.03f, -y + 0.03f, x - 0.03f, y - 0.03f, height);
  }
}

void MakeTable(ObjectMaker& m) {
  const float s = m.PickScale();
  const bool round = m.Chance(0.3f);
  const float width = m.Uniform(0.78f, 0.95f) * s;
  const float length = round ? 1.1f * width : m.Uniform(1.3f, 1.75f) * s;
  TableOf(m, round ? length : length, round ? length : width, m.Uniform(0.72f, 0.77f), round);
}

void MakeCoffeeTable(ObjectMaker& m) {
  const float s = m.PickScale();
  const bool round = m.Chance(0.4f);
  const float width = m.Uniform(0.5f, 0.65f) * s, length = m.Uniform(0.85f, 1.15f) * s;
  TableOf(m, round ? 0.78f * s : length, round ? 0.78f * s : width, m.Uniform(0.38f, 0.46f), round);
}

void MakeDesk(ObjectMaker& m) {
  const float s = m.PickScale(), length = m.Uniform(1.2f, 1.5f) * s,
              width = m.Uniform(0.62f, 0.75f) * s, height = m.Uniform(0.72f, 0.76f);
  const Look wood = m.Wood();
  const float x = width / 2, y = length / 2;
  m.Main(wood);
  m.Part("top");
  m.Box({-x, -y, height - 0.03f}, {x, y, height}, 0.006f);
  m.Support(-x + 0.04f, -y + 0.04f, x - 0.03f, y - 0.04f, height);
  m.Part("drawer");
  const float side = m.Chance(0.5f) ? 1.0f : -1.0f, inner = side * (y - 0.42f),
              outer = side * (y - 0.02f);
  const float low = std::min(inner, outer), high = std::max(inner, outer);
  m.Part("side");
  m.Box({-x + 0.03f, low, 0.04f}, {x - 0.06f, high, height - 0.028f}, 0.004f);
  m.Box({-x + 0.03f, -side * (y - 0.02f) - 0.015f, 0},
        {x - 0.06f, -side * (y - 0.02f) + 0.015f, height - 0.028f}, 0.003f);
  const Look front = m.Chance(0.5f) ? wood : m.Wood({"white", "beige", "black"});
  for (int k = 0; k < 3; ++k) {
    const float step = (height - 0.1f) / 3, z = 0.06f + step * k;
    m.Part("drawer");
    m.Use(front);
    m.Box({x - 0.064f, low + 0.012f, z}, {x - 0.045f, high - 0.012f, z + step - 0.012f}, 0.004f);
    m.Part("handle");
    m.Use("grey");
    m.Rod({x - 0.03f, (low + high) / 2 - 0.05f, z + step * 0.6f},
          {x - 0.03f, (low + high) / 2 + 0.05f, z + step * 0.6f}, 0.006f, 0.006f);
  }
}

void MakeBookshelf(ObjectMaker& m) {
  const float s = m.PickScale(), width = m.Uniform(0.75f, 1.0f) * s,
              height = m.Uniform(1.3f, 1.95f) * s, depth = m.Uniform(0.28f, 0.33f);
  const int shelves = 3 + (height > 1.6f) + m.Pick(2);
  m.Main(m.Wood());
  const float x = depth / 2, y = width / 2, t = 0.02f;
  m.Part("side");
  m.Box({-x, -y, 0}, {x, -y + t, height}, 0.002f);
  m.Box({-x, y - t, 0}, {x, y, height}, 0.002f);
  m.Part("back");
  m.Box({-x, -y + t, 0.02f}, {-x + 0.008f, y - t, height - 0.005f});
  m.Part("shelf");
  const float gap = (height - 0.06f - t) / shelves;
  for (int k = 0; k <= shelves; ++k) {
    const float z = 0.06f + gap * k;
    m.Box({-x + 0.005f, -y + t - 0.001f, z}, {x - 0.004f, y - t + 0.001f, z + t}, 0.002f);
    if (k < shelves)
      m.Support(-x + 0.02f, -y + t + 0.01f, x - 0.02f, y - t - 0.01f, z + t, gap - t - 0.01f, true);
  }
  m.Support(-x + 0.02f, -y + 0.02f, x - 0.02f, y - 0.02f, 0.06f + gap * shelves + t, 0.5f);
}

// A closed box with doors or drawers in front.
void Chest(ObjectMaker& m, float width, float depth, float height, int columns, int rows,
           bool doors) {
  const Look wood = m.Wood({"brown", "brown", "beige", "white", "white", "black", "green", "blue"});
  m.Main(wood);
  const float x = depth / 2, y = width / 2;
  m.Part("leg");
  Legs(m, x - 0.06f, y - 0.06f, 0.09f, 0.022f, false, 0);
  m.Part("body");
  m.Box({-x, -y, 0.08f}, {x - 0.02f, y, height}, 0.005f);
  const Look front = m.Chance(0.6f) ? wood : m.Wood({"white", "beige", "brown"});
  const Look knob = m.Metal({"grey", "black", "yellow"});
  for (int c = 0; c < columns; ++c) {
    for (int r = 0; r < rows; ++r) {
      const float w = (width - 0.02f) / columns, h = (height - 0.11f) / rows;
      const float y0 = -y + 0.01f + w * c + 0.004f, y1 = y0 + w - 0.008f;
      const float z0 = 0.095f + h * r + 0.004f, z1 = z0 + h - 0.008f;
      m.Part(doors ? "door" : "drawer");
      m.Use(front);
      m.Box({x - 0.021f, y0, z0}, {x - 0.002f, y1, z1}, 0.004f);
      m.Part("handle");
      m.Use(knob);
      if (doors) {
        const float at = c % 2 == 0 && columns > 1 ? y1 - 0.04f : y0 + 0.04f, z = (z0 + z1) / 2;
        m.Rod({x + 0.012f, at, z - 0.06f}, {x + 0.012f, at, z + 0.06f}, 0.006f, 0.006f);
        m.Rod({x - 0.01f, at, z}, {x + 0.012f, at, z}, 0.005f, 0.005f);
      } else {
        m.Ellipsoid({x + 0.008f, (y0 + y1) / 2, (z0 + z1) / 2}, {0.014f, 0.014f, 0.014f}, 2, 8, 10);
      }
    }
  }
  m.Support(-x + 0.02f, -y + 0.02f, x - 0.05f, y - 0.02f, height, 0.9f);
}

void MakeCabinet(ObjectMaker& m) {
  const float s = m.PickScale();
  Chest(m, m.Uniform(0.8f, 1.2f) * s, m.Uniform(0.4f, 0.46f), m.Uniform(0.75f, 0.95f) * s, 2, 1,
        true);
}
void MakeDresser(ObjectMaker& m) {
  const float s = m.PickScale();
  Chest(m, m.Uniform(0.75f, 1.1f) * s, m.Uniform(0.42f, 0.5f), m.Uniform(0.72f, 1.0f) * s,
        1 + m.Pick(2), 3 + m.Pick(2), false);
}
void MakeNightstand(ObjectMaker& m) {
  const float s = m.PickScale();
  Chest(m, m.Uniform(0.4f, 0.5f) * s, m.Uniform(0.36f, 0.42f), m.Uniform(0.45f, 0.58f) * s, 1, 2,
        false);
}
void MakeWardrobe(ObjectMaker& m) {
  const float s = m.PickScale();
  Chest(m, m.Uniform(0.9f, 1.2f) * s, m.Uniform(0.52f, 0.6f), m.Uniform(1.75f, 1.95f) * s, 2, 1,
        true);
}

void MakeBed(ObjectMaker& m) {
  const float s = m.PickScale(), length = m.Uniform(1.95f, 2.1f), width = m.Uniform(0.9f, 1.5f) * s;
  const float x = length / 2, y = width / 2, top = m.Uniform(0.46f, 0.54f);
  const Look wood = m.Wood();
  m.Part("frame");
  m.Use(wood);
  m.Box({-x, -y, 0.14f}, {x, y, 0.3f}, 0.01f);
  m.Part("leg");
  Legs(m, x - 0.06f, y - 0.06f, 0.15f, 0.03f, false, 0);
  m.Part("headboard");
  m.Box({-x - 0.05f, -y - 0.01f, 0.1f}, {-x + 0.001f, y + 0.01f, m.Uniform(0.85f, 1.1f)}, 0.015f);
  m.Part("mattress");
  m.Use("white");
  m.Box({-x + 0.01f, -y + 0.02f, 0.29f}, {x - 0.02f, y - 0.02f, top - 0.02f}, 0.05f);
  m.Main(m.Fabric({"blue", "red", "green", "grey", "white", "purple", "pink", "yellow", "beige"},
                  0.5f));
  m.Part("blanket");
  m.Box({-x + 0.55f, -y - 0.01f, 0.26f}, {x + 0.005f, y + 0.01f, top + 0.03f}, 0.05f);
  m.Part("pillow");
  m.Use(m.Fabric({"white", "white", "blue", "grey", "pink"}, 0.2f));
  const int pillows = width > 1.15f ? 2 : 1;
  for (int k = 0; k < pillows; ++k) {
    const float at = pillows == 1 ? 0 : (k == 0 ? -0.25f : 0.25f) * width;
    m.Ellipsoid({-x + 0.28f, at, top + 0.035f},
                {0.2f, std::min(0.34f, 0.23f * width * (3 - pillows)), 0.075f}, 3.2f);
  }
  m.Support(-x + 0.8f, -y + 0.1f, x - 0.1f, y - 0.1f, top + 0.03f, 1);
}

void Shade(ObjectMaker& m, float z, float low, float high, float height) {
  m.Part("shade");
  Look look =
      m.Fabric({"white", "white", "beige", "yellow", "red", "blue", "green", "orange"}, 0.15f);
  look.surface.emission = 0.25f;
  m.Main(look);
  m.Lathe({{0, z + height - 0.012f},
           {high - 0.008f, z + height - 0.012f},
           {low - 0.008f, z},
           {low, z},
           {high, z + height},
           {0, z + height}},
          32, 0.5f);
  Look bulb = m.Matt("white", "glass");
  bulb.surface.emission = 3;
  m.Part("bulb");
  m.Use(bulb);
  m.Ellipsoid({0, 0, z + 0.35f * height}, {0.028f, 0.028f, 0.036f}, 2, 8, 12);
  m.model.lights.push_back({{0, 0, z - 0.02f}, {1.0f, 0.82f, 0.6f}, 1});
}

void MakeFloorLamp(ObjectMaker& m) {
  const float s = m.PickScale(), height = m.Uniform(1.25f, 1.5f) * s;
  m.Use(m.Metal({"black", "grey", "yellow"}));
  m.Part("base");
  m.Lathe({{0, 0}, {0.14f, 0}, {0.14f, 0.012f}, {0.03f, 0.03f}, {0, 0.03f}}, 28);
  m.Part("pole");
  m.Rod({0, 0, 0.02f}, {0, 0, height + 0.2f}, 0.012f, 0.01f);
  Shade(m, height, m.Uniform(0.19f, 0.24f), m.Uniform(0.12f, 0.18f), m.Uniform(0.22f, 0.3f));
}

void MakeTableLamp(ObjectMaker& m) {
  const float s = m.PickScale(), height = m.Uniform(0.2f, 0.28f) * s;
  m.Use(m.Chance(0.6f) ? m.Ceramic() : m.Metal({"black", "grey", "yellow"}));
  m.Part("base");
  if (m.Chance(0.5f)) {
    m.Lathe({{0, 0},
             {0.06f, 0},
             {0.06f, 0.01f},
             {0.085f, height * 0.35f},
             {0.06f, height * 0.7f},
             {0.02f, height},
             {0, height}},
            24, 1.2f);
  } else {
    m.Lathe({{0, 0}, {0.075f, 0}, {0.075f, 0.015f}, {0.02f, 0.025f}, {0.015f, height}, {0, height}},
            24);
  }
  m.Part("pole");
  m.Rod({0, 0, height - 0.01f}, {0, 0, height + 0.12f}, 0.008f, 0.008f);
  Shade(m, height + 0.01f, m.Uniform(0.12f, 0.15f), m.Uniform(0.07f, 0.11f),
        m.Uniform(0.14f, 0.19f));
}

void MakeCeilingLamp(ObjectMaker& m) {
  m.PickScale();
  const float drop = m.Uniform(0.25f, 0.5f);
  m.Use("black");
  m.Part("cord");
  m.Rod({0, 0, 0.15f}, {0, 0, drop + 0.2f}, 0.004f, 0.004f);
  m.Part("base");
  m.Cylinder({0, 0, drop + 0.18f}, 0.05f, 0.02f);
  Shade(m, 0, m.Uniform(0.18f, 0.26f), m.Uniform(0.05f, 0.12f), 0.2f);
  m.model.lights.back().intensity = 2;
}

void MakeRug(ObjectMaker& m) {
  m.PickScale();
  const float x = m.Uniform(0.65f, 0.9f), y = m.Uniform(0.95f, 1.3f);
  m.Main(m.Fabric({}, 0.75f));
  m.Part("body");
  if (m.Chance(0.3f)) {
    m.Lathe({{0, 0}, {x + 0.1f, 0}, {x + 0.1f, 0.008f}, {0, 0.008f}}, 64);
  } else {
    m.Box({-x, -y, 0}, {x, y, 0.008f});
    m.Part("border");
    m.Use(m.Fabric({}, 0));
    for (const float side : {-1.0f, 1.0f}) {
      m.Box({-x, side * (y + 0.03f) - 0.03f, 0}, {x, side * (y + 0.03f) + 0.03f, 0.008f});
    }
  }
}

void MakeCurtain(ObjectMaker& m) {
  m.PickScale();
  const float width = m.Uniform(0.4f, 0.55f), height = m.Uniform(1.95f, 2.05f);
  m.Part("rail");
  m.Use(m.Metal({"grey", "black"}));
  m.Rod({0, -width / 2 - 0.06f, height + 0.02f}, {0, width / 2 + 0.06f, height + 0.02f}, 0.012f,
        0.012f);
  m.Main(m.Fabric({"white", "beige", "grey", "red", "blue", "green", "orange", "purple"}, 0.3f));
  m.Part("body");
  const float folds = static_cast<float>(4 + m.Pick(4)), phase = m.Uniform(0, 6);
  m.Sheet(
      10, 60,
      [&](float u, float v) {
        const float wave = 0.03f * std::sin(2 * kPi * folds * v + phase + 0.6f * u);
        return V(wave * (0.7f + 0.3f * (1 - u)), width * (v - 0.5f), height * u + 0.012f);
      },
      0.004f);
}

void MakeMirror(ObjectMaker& m) {
  m.PickScale();
  const float w = m.Uniform(0.2f, 0.32f), h = m.Uniform(0.3f, 0.55f);
  m.Main(m.Chance(0.6f) ? m.Wood() : m.Metal({"grey", "black", "yellow"}));
  m.Part("frame");
  const float t = 0.03f;
  m.Box({0, -w, 0}, {0.03f, w, t}, 0.006f);
  m.Box({0, -w, 2 * h - t}, {0.03f, w, 2 * h}, 0.006f);
  m.Box({0, -w, t - 0.01f}, {0.03f, -w + t, 2 * h - t + 0.01f}, 0.006f);
  m.Box({0, w - t, t - 0.01f}, {0.03f, w, 2 * h - t + 0.01f}, 0.006f);
  m.Part("glass");
  Look glass = m.Matt("grey", "glass");
  glass.surface.mirror = 0.85f;
  glass.surface.roughness = 0.02f;
  m.Use(glass);
  m.Box({0, -w + 0.02f, 0.02f}, {0.012f, w - 0.02f, 2 * h - 0.02f});
}

}  // namespace

std::vector<ObjectKind> FurnitureKinds() {
  using enum Stand;
  const std::string f = "furniture";
  return {
      {"chair",
       {"seat", "dining chair"},
       f,
       {kFloor},
       {"to sit on"},
       {"seat", "back", "leg"},
       MakeChair},
      {"office chair",
       {"desk chair", "swivel chair"},
       f,
       {kFloor},
       {"to sit on", "to roll"},
       {"seat", "back", "base", "wheel", "armrest"},
       MakeOfficeChair},
      {"stool", {"bar stool", "footstool"}, f, {kFloor}, {"to sit on"}, {"seat", "leg"}, MakeStool},
      {"bench", {"seat"}, f, {kFloor}, {"to sit on"}, {"seat", "leg"}, MakeBench},
      {"sofa",
       {"couch", "settee"},
       f,
       {kFloor},
       {"to sit on", "to lie on"},
       {"seat", "back", "armrest", "body", "leg"},
       MakeSofa},
      {"armchair",
       {"easy chair", "lounge chair"},
       f,
       {kFloor},
       {"to sit on"},
       {"seat", "back", "armrest", "body", "leg"},
       MakeArmchair},
      {"table",
       {"dining table"},
       f,
       {kFloor},
       {"to put things on", "to eat at"},
       {"top", "leg", "frame"},
       MakeTable},
      {"coffee table",
       {"low table", "side table"},
       f,
       {kFloor},
       {"to put things on"},
       {"top", "leg", "frame"},
       MakeCoffeeTable},
      {"desk",
       {"writing desk", "work table"},
       f,
       {kFloor},
       {"to work at", "to put things on"},
       {"top", "side", "drawer", "handle"},
       MakeDesk},
      {"bookshelf",
       {"bookcase", "shelves"},
       f,
       {kFloor},
       {"to store things in"},
       {"shelf", "side", "back"},
       MakeBookshelf},
      {"cabinet",
       {"cupboard", "sideboard"},
       f,
       {kFloor},
       {"to store things in", "to open"},
       {"body", "door", "handle", "leg"},
       MakeCabinet},
      {"dresser",
       {"chest of drawers"},
       f,
       {kFloor},
       {"to store things in", "to open"},
       {"body", "drawer", "handle", "leg"},
       MakeDresser},
      {"nightstand",
       {"bedside table"},
       f,
       {kFloor},
       {"to put things on", "to open"},
       {"body", "drawer", "handle", "leg"},
       MakeNightstand},
      {"wardrobe",
       {"closet"},
       f,
       {kFloor},
       {"to store things in", "to open"},
       {"body", "door", "handle", "leg"},
       MakeWardrobe},
      {"bed",
       {"cot"},
       f,
       {kFloor},
       {"to lie on", "to sleep in", "to sit on"},
       {"frame", "leg", "headboard", "mattress", "blanket", "pillow"},
       MakeBed},
      {"floor lamp",
       {"standing lamp", "lamp", "light"},
       f,
       {kFloor},
       {"to give light"},
       {"base", "pole", "shade", "bulb"},
       MakeFloorLamp},
      {"table lamp",
       {"desk lamp", "lamp", "light"},
       f,
       {kTable},
       {"to give light"},
       {"base", "pole", "shade", "bulb"},
       MakeTableLamp},
      {"ceiling lamp",
       {"pendant lamp", "lamp", "light"},
       f,
       {kCeiling},
       {"to give light"},
       {"base", "cord", "shade", "bulb"},
       MakeCeilingLamp},
      {"rug", {"carpet", "mat"}, f, {kFloor}, {"to walk on"}, {"body", "border"}, MakeRug},
      {"curtain", {"drape"}, f, {kWall}, {"to keep light out"}, {"body", "rail"}, MakeCurtain},
      {"mirror", {"looking glass"}, f, {kWall}, {"to look into"}, {"frame", "glass"}, MakeMirror},
  };
}

}  // namespace athanor
