// Everything else: books, plants, fruit, clothes, decoration.
#include <cmath>

#include "athanor/simulation/rooms/object_maker.h"

namespace athanor {
namespace {

using Eigen::Vector2f;
using V = Eigen::Vector3f;
using Pattern = SurfaceMaterial::Pattern;

constexpr float kPi = 3.14159265f;

// A book that lies on its back cover, spine at the front.
void MakeBook(ObjectMaker& m) {
  const float s = m.PickScale(), h = m.Uniform(0.18f, 0.26f) * s, d = h * m.Uniform(0.66f, 0.76f),
              t = m.Uniform(0.015f, 0.042f);
  Look cover = m.Matt(ColorNames()[m.Pick(static_cast<int>(ColorNames().size()))], "paper");
  cover.surface.roughness = 0.5f;
  m.Describe(cover);
  m.Part("pages");
  m.Use("white");
  m.Box({-d / 2 + 0.004f, -h / 2 + 0.004f, 0.002f}, {d / 2 - 0.002f, h / 2 - 0.004f, t - 0.002f});
  m.Part("cover");
  m.Use(cover);
  m.Box({-d / 2, -h / 2, 0}, {d / 2, h / 2, 0.0026f});
  m.Box({-d / 2, -h / 2, t - 0.0026f}, {d / 2, h / 2, t});
  m.Part("spine");
  m.Box({d / 2 - 0.003f, -h / 2, 0.001f}, {d / 2, h / 2, t - 0.001f});
  m.Part("title");
  m.Use(cover.color == "white" || cover.color == "yellow" || cover.color == "beige" ? "black"
                                                                                    : "yellow");
  const float y = h * m.Uniform(0.1f, 0.25f);
  m.Box({-d * 0.3f, y, t - 0.001f}, {d * 0.3f, y + h * 0.08f, t + 0.0006f});
  m.Box({-d * 0.18f, y - h * 0.14f, t - 0.001f}, {d * 0.18f, y - h * 0.1f, t + 0.0006f});
  m.Box({d / 2 - 0.001f, -h * 0.2f, t * 0.3f}, {d / 2 + 0.0006f, h * 0.25f, t * 0.7f});
}

// A pointed leaf from `root`, `length` long, rising at `pitch` and hanging by its tip.
void Leaf(ObjectMaker& m, const V& root, float yaw, float pitch, float length, float width,
          float droop) {
  m.Place(root, yaw);
  m.Sheet(
      7, 4,
      [&](float u, float v) {
        const float half = width * std::sin(kPi * std::pow(u, 0.75f)) * 0.5f + 0.0012f;
        const float angle = pitch - droop * u;
        const float side = 2 * v - 1;
        return V(length * u * std::cos(angle), side * half,
                 length * u * std::sin(angle) + 0.3f * half * side * side);
      },
      0.0014f);
  m.PlaceAtOrigin();
}

void MakePlant(ObjectMaker& m) {
  const float s = m.PickScale(), r = m.Uniform(0.07f, 0.1f) * s, h = r * m.Uniform(1.5f, 1.9f);
  Look pot = m.Chance(0.6f) ? m.Ceramic({"orange", "brown", "white", "grey", "blue", "black"}, 0.1f)
                            : m.Plastic({"white", "green", "black", "red"});
  m.Part("pot");
  m.Use(pot);
  m.Lathe({{0, 0},
           {r * 0.72f, 0},
           {r * 0.95f, h * 0.82f},
           {r, h * 0.82f},
           {r, h},
           {r * 0.9f, h},
           {r * 0.88f, h * 0.88f},
           {0, h * 0.88f}},
          28);
  m.Part("soil");
  m.Use("brown");
  m.Lathe({{0, h * 0.86f}, {r * 0.885f, h * 0.86f}, {r * 0.885f, h * 0.89f}, {0, h * 0.9f}}, 24);
  m.Part("leaf");
  const Look leaf = m.Matt("green", "leafy");
  m.Main(leaf);
  const Look second = m.Matt("green", "leafy");
  const int leaves = 14 + m.Pick(14);
  const float length = m.Uniform(0.16f, 0.32f) * s, width = length * m.Uniform(0.14f, 0.35f),
              droop = m.Uniform(0.2f, 1.4f);
  for (int k = 0; k < leaves; ++k) {
    if (k == leaves / 2) m.Use(second);
    const float t = static_cast<float>(k) / leaves;
    Leaf(m, {0.2f * r * std::cos(2.4f * k), 0.2f * r * std::sin(2.4f * k), h * 0.88f},
         2.4f * k + m.Uniform(-0.3f, 0.3f), 0.35f + 1.15f * t, length * m.Uniform(0.7f, 1.15f),
         width, droop);
  }
}

void MakeVase(ObjectMaker& m) {
  const float s = m.PickScale(), h = m.Uniform(0.16f, 0.24f) * s, r = h * m.Uniform(0.25f, 0.36f),
              neck = r * m.Uniform(0.4f, 0.7f);
  m.Main(m.Chance(0.75f) ? m.Ceramic() : m.Glass({"blue", "green", "turquoise", "white"}));
  m.Part("body");
  m.Lathe({{0, 0},
           {r * 0.6f, 0},
           {r * 0.65f, 0.006f},
           {r, h * 0.4f},
           {r * 0.85f, h * 0.65f},
           {neck, h * 0.85f},
           {neck * 1.15f, h},
           {neck * 1.15f - 0.004f, h},
           {neck - 0.004f, h * 0.85f},
           {0, h * 0.8f}},
          32, 1.0f);
  const int flowers = 4 + m.Pick(4);
  const char* colors[] = {"red", "yellow", "pink", "white", "purple", "orange", "blue"};
  const Look petal = m.Matt(colors[m.Pick(7)], "leafy"), stem = m.Matt("green", "leafy");
  const Look heart = m.Matt(petal.color == "yellow" ? "brown" : "yellow", "leafy");
  for (int k = 0; k < flowers; ++k) {
    const float a = 2 * kPi * k / flowers + m.Uniform(-0.2f, 0.2f), lean = m.Uniform(0.1f, 0.45f),
                l = m.Uniform(0.12f, 0.2f) * s;
    const V foot(neck * 0.35f * std::cos(a), neck * 0.35f * std::sin(a), h * 0.8f);
    const V tip = foot + V(l * std::sin(lean) * std::cos(a), l * std::sin(lean) * std::sin(a),
                           h * 0.2f + l * std::cos(lean));
    m.Part("stem");
    m.Use(stem);
    m.Rod(foot, tip, 0.0025f, 0.002f, 6);
    m.Part("flower");
    m.Use(petal);
    for (int p = 0; p < 6; ++p)
      Leaf(m, tip, a + 2 * kPi * p / 6, 0.5f, 0.035f * s, 0.022f * s, 0.4f);
    m.Use(heart);
    m.Ellipsoid(tip + V(0, 0, 0.005f), {0.009f, 0.009f, 0.008f}, 2, 8, 10);
  }
}

void MakeClock(ObjectMaker& m) {
  const float r = m.Uniform(0.13f, 0.19f) * m.PickScale();
  m.Main(m.Chance(0.5f) ? m.Plastic({"black", "white", "red", "blue", "green"})
                        : m.Wood({"brown", "beige"}));
  Eigen::Affine3f out = Eigen::Affine3f::Identity();
  out.translate(V(0, 0, r));
  out.rotate(Eigen::AngleAxisf(kPi / 2, V::UnitY()));
  out.rotate(Eigen::AngleAxisf(kPi / 2, V::UnitZ()));
  m.Place(out);  // z of the shapes comes out of the wall
  m.Part("frame");
  m.Lathe({{0, 0}, {r, 0}, {r, 0.03f}, {r * 0.9f, 0.036f}, {r * 0.9f, 0.02f}, {0, 0.02f}}, 40);
  m.Part("face");
  m.Use(m.model.attributes.color == "white" ? "yellow" : "white");
  m.Lathe({{0, 0.018f}, {r * 0.9f, 0.018f}, {r * 0.9f, 0.022f}, {0, 0.022f}}, 40);
  m.Part("mark");
  m.Use("black");
  for (int k = 0; k < 12; ++k) {
    Eigen::Affine3f turn = out;
    turn.rotate(Eigen::AngleAxisf(2 * kPi * k / 12, V::UnitZ()));
    m.Place(turn);
    m.Box({r * 0.72f, -0.004f, 0.021f}, {r * 0.84f, 0.004f, 0.0235f});
  }
  m.Part("hand");
  const float time = m.Uniform(0, 2 * kPi);
  for (const bool hour : {true, false}) {
    Eigen::Affine3f turn = out;
    turn.rotate(Eigen::AngleAxisf(hour ? time : 12 * time, V::UnitZ()));
    m.Place(turn);
    m.Box({-0.1f * r, hour ? -0.006f : -0.004f, 0.024f},
          {hour ? 0.45f * r : 0.68f * r, hour ? 0.006f : 0.004f, hour ? 0.0255f : 0.027f});
  }
  m.PlaceAtOrigin();
}

void MakePicture(ObjectMaker& m) {
  m.PickScale();
  const float w = m.Uniform(0.18f, 0.4f), h = m.Uniform(0.18f, 0.35f),
              t = m.Uniform(0.015f, 0.035f);
  m.Main(m.Chance(0.7f) ? m.Wood({"brown", "black", "white", "beige"})
                        : m.Metal({"yellow", "grey", "black"}));
  m.Part("frame");
  m.Box({0, -w - t, 0}, {0.025f, w + t, t}, 0.004f);
  m.Box({0, -w - t, 2 * h + t}, {0.025f, w + t, 2 * h + 2 * t}, 0.004f);
  m.Box({0, -w - t, t - 0.002f}, {0.025f, -w, 2 * h + t + 0.002f}, 0.004f);
  m.Box({0, w, t - 0.002f}, {0.025f, w + t, 2 * h + t + 0.002f}, 0.004f);
  m.Part("picture");
  const int style = m.Pick(3);
  const auto slab = [&](float y0, float y1, float z0, float z1, float x) {
    m.Box({0, y0, t + z0}, {x, y1, t + z1});
  };
  if (style == 0) {  // a landscape
    m.Use(m.Matt("blue", "paper"));
    slab(-w, w, 0, 2 * h, 0.008f);
    m.Use(m.Matt("yellow", "paper"));
    Eigen::Affine3f out = Eigen::Affine3f::Identity();
    out.translate(V(0.0055f, m.Uniform(-0.6f, 0.6f) * w, t + 1.55f * h));
    out.rotate(Eigen::AngleAxisf(kPi / 2, V::UnitY()));
    m.Place(out);
    m.Cylinder({0, 0, 0}, 0.2f * std::min(w, h), 0.0035f, 28);
    m.PlaceAtOrigin();
    Eigen::Affine3f hills = Eigen::Affine3f::Identity();
    hills.linear() << 0, 0, 1, 1, 0, 0, 0, 1, 0;  // x, y of a prism lie in y, z of the picture
    for (int layer = 0; layer < 3; ++layer) {
      m.Use(m.Matt(layer == 0 ? "turquoise" : "green", "paper"));
      std::vector<Vector2f> outline = {{-w, 0}, {w, 0}};
      const float phase = m.Uniform(0, 6), level = h * (1.05f - 0.33f * layer);
      for (int k = 12; k >= 0; --k)
        outline.push_back({-w + 2 * w * k / 12, level + 0.16f * h * std::sin(0.55f * k + phase)});
      hills.translation() = V(0, 0, t);
      m.Place(hills);
      m.Prism(outline, 0, 0.0095f + 0.001f * layer);
      m.PlaceAtOrigin();
    }
  } else if (style == 1) {  // rectangles
    m.Use(m.Matt("white", "paper"));
    slab(-w, w, 0, 2 * h, 0.008f);
    const char* colors[] = {"red", "blue", "yellow", "black", "green", "orange"};
    for (int k = 0; k < 6; ++k) {
      m.Use(m.Matt(colors[m.Pick(6)], "paper"));
      const float y = m.Uniform(-0.95f, 0.4f) * w, z = m.Uniform(0.05f, 1.4f) * h;
      slab(y, std::min(w, y + m.Uniform(0.2f, 0.9f) * w), z,
           std::min(2 * h, z + m.Uniform(0.15f, 0.8f) * h), 0.0085f + 0.0005f * k);
    }
  } else {  // clouds of paint
    Look paint = m.Matt(ColorNames()[m.Pick(10)], "paper");
    paint.surface.pattern = Pattern::kNoise;
    paint.surface.second_color = RandomColor(ColorNames()[m.Pick(10)], m.random);
    paint.surface.pattern_scale = 6;
    m.Use(paint);
    slab(-w, w, 0, 2 * h, 0.008f);
  }
}

void MakeCushion(ObjectMaker& m) {
  const float s = m.PickScale(), a = m.Uniform(0.19f, 0.23f) * s;
  m.Main(m.Fabric({}, 0.55f));
  m.Part("body");
  m.Ellipsoid({0, 0, 0.07f * s}, {a, a * m.Uniform(0.8f, 1.0f), 0.07f * s}, 3.0f, 16, 32);
}

void MakeBackpack(ObjectMaker& m) {
  const float s = m.PickScale();
  m.Main(m.Fabric({"blue", "red", "green", "black", "grey", "yellow", "purple", "pink"}, 0.15f));
  m.Part("body");
  m.Box({-0.09f * s, -0.145f * s, 0}, {0.07f * s, 0.145f * s, 0.42f * s}, 0.06f * s);
  m.Part("pocket");
  m.Use(m.Fabric({}, 0));
  m.Box({0.05f * s, -0.11f * s, 0.03f * s}, {0.115f * s, 0.11f * s, 0.2f * s}, 0.028f * s);
  m.Part("strap");
  m.Use("black");
  for (const float y : {-0.08f, 0.08f})
    m.Tube({{-0.08f * s, y * s, 0.4f * s},
            {-0.13f * s, y * s, 0.33f * s},
            {-0.14f * s, y * s, 0.2f * s},
            {-0.085f * s, y * s, 0.04f * s}},
           0.012f * s);
  m.Part("handle");
  m.Tube({{-0.05f * s, -0.03f * s, 0.415f * s},
          {-0.05f * s, -0.02f * s, 0.45f * s},
          {-0.05f * s, 0.02f * s, 0.45f * s},
          {-0.05f * s, 0.03f * s, 0.415f * s}},
         0.007f * s);
}

void MakeShoe(ObjectMaker& m) {
  const float s = m.PickScale(), l = 0.14f * s;
  m.Main(m.Chance(0.5f) ? m.Leather({"brown", "black", "red"})
                        : m.Fabric({"white", "blue", "red", "grey", "green", "pink"}, 0));
  std::vector<Vector2f> sole;
  for (int k = 0; k < 28; ++k) {
    const float a = 2 * kPi * k / 28, x = std::cos(a);
    sole.push_back({l * x, l * (0.33f + 0.06f * x) * std::sin(a) * (1 - 0.12f * std::cos(2 * a))});
  }
  m.Part("upper");
  m.Ellipsoid({l * 0.35f, 0, 0.04f * s}, {l * 0.62f, l * 0.36f, 0.045f * s}, 2.3f, 14, 24);
  m.Lathe({{0, 0.01f},
           {l * 0.3f, 0.01f},
           {l * 0.33f, 0.05f * s},
           {l * 0.27f, 0.1f * s},
           {l * 0.24f, 0.1f * s},
           {l * 0.22f, 0.05f * s},
           {0, 0.03f * s}},
          24, 0.9f);
  Eigen::Affine3f heel = Eigen::Affine3f::Identity();
  heel.translate(V(-l * 0.5f, 0, 0));
  m.Place(heel);
  m.Lathe({{0, 0.01f},
           {l * 0.34f, 0.01f},
           {l * 0.36f, 0.05f * s},
           {l * 0.31f, 0.105f * s},
           {l * 0.28f, 0.105f * s},
           {l * 0.27f, 0.05f * s},
           {0, 0.03f * s}},
          24, 0.9f);
  m.PlaceAtOrigin();
  m.Part("sole");
  m.Use(m.Chance(0.5f) ? "white" : "black");
  m.Prism(sole, 0, 0.02f * s);
  m.Part("lace");
  m.Use("white");
  for (int k = 0; k < 4; ++k) {
    const float x = l * (0.12f + 0.13f * k), z = 0.085f * s - 0.004f * k * k * s;
    m.Rod({x, -0.16f * l, z}, {x + 0.03f * l, 0.16f * l, z}, 0.003f, 0.003f, 6);
  }
}

void MakeApple(ObjectMaker& m) {
  const float r = 0.037f * m.PickScale();
  Look skin = m.Matt(m.Chance(0.5f) ? "red" : m.Chance(0.5f) ? "green" : "yellow", "fruit");
  skin.material = "";
  skin.surface.roughness = 0.35f;
  m.Main(skin);
  m.Part("body");
  std::vector<Vector2f> profile = {{0, 0.12f * r}};
  for (int k = 1; k < 16; ++k) {
    const float a = kPi * k / 16 - kPi / 2;
    profile.push_back(
        {r * std::cos(a) * (1 + 0.1f * std::sin(a)),
         r * (0.92f + 0.9f * std::sin(a)) -
             0.14f * r * (std::exp(-25 * std::cos(a) * std::cos(a)) * (a > 0 ? 1.0f : -0.6f))});
  }
  profile.push_back({0, 1.55f * r});
  m.Lathe(profile, 28, 1.2f);
  m.Part("stem");
  m.Use("brown");
  m.Rod({0, 0, 1.5f * r}, {0.12f * r, 0, 2.1f * r}, 0.0018f, 0.0024f, 8);
}

void MakePear(ObjectMaker& m) {
  const float r = 0.036f * m.PickScale();
  Look skin = m.Matt(m.Chance(0.6f) ? "green" : "yellow", "");
  skin.surface.roughness = 0.45f;
  m.Main(skin);
  m.Part("body");
  m.Lathe({{0, 0.03f * r},
           {0.5f * r, 0.08f * r},
           {0.9f * r, 0.45f * r},
           {r, 0.9f * r},
           {0.85f * r, 1.4f * r},
           {0.55f * r, 1.9f * r},
           {0.42f * r, 2.3f * r},
           {0.25f * r, 2.55f * r},
           {0, 2.6f * r}},
          28, 1.2f);
  m.Part("stem");
  m.Use("brown");
  m.Rod({0, 0, 2.55f * r}, {0.1f * r, 0.06f * r, 3.1f * r}, 0.0018f, 0.0024f, 8);
}

void MakeOrange(ObjectMaker& m) {
  const float r = 0.038f * m.PickScale();
  Look skin = m.Matt("orange", "");
  skin.surface.pattern = Pattern::kNoise;
  skin.surface.second_color = 0.9f * skin.surface.color;
  skin.surface.pattern_scale = 150;
  m.Main(skin);
  m.Part("body");
  m.Ellipsoid({0, 0, 0.96f * r}, {r, r, 0.96f * r}, 2, 18, 28);
  m.Part("stem");
  m.Use("green");
  m.Lathe({{0, 1.9f * r}, {0.12f * r, 1.9f * r}, {0.1f * r, 1.96f * r}, {0, 1.97f * r}}, 8);
}

void MakeBanana(ObjectMaker& m) {
  const float s = m.PickScale();
  m.Main(m.Matt("yellow", ""));
  m.Part("body");
  std::vector<V> line;
  std::vector<float> radii;
  for (int k = 0; k <= 16; ++k) {
    const float t = k / 16.0f, a = -0.75f + 1.5f * t;
    line.push_back({0.13f * s * std::sin(a), 0.13f * s * std::cos(a), 0.018f * s});
    radii.push_back(s * (0.018f * std::pow(std::sin(kPi * (0.06f + 0.88f * t)), 0.5f)));
  }
  m.Tube(line, radii, false, 10);
  m.Part("stem");
  m.Use("brown");
  const V end = line.back();
  m.Rod(end, end + V(0.022f * s, -0.012f * s, 0), 0.006f * s, 0.005f * s, 8);
}

void MakeCandle(ObjectMaker& m) {
  const float s = m.PickScale(), r = m.Uniform(0.02f, 0.035f) * s, h = m.Uniform(0.07f, 0.16f) * s;
  m.Main(m.Matt(m.Chance(0.5f)   ? "white"
                : m.Chance(0.5f) ? "red"
                : m.Chance(0.5f) ? "blue"
                                 : "yellow",
                "wax"));
  m.Part("body");
  m.Lathe({{0, 0.004f}, {r, 0.004f}, {r, h}, {r * 0.9f, h}, {0, h - 0.004f}}, 24);
  m.Part("holder");
  m.Use(m.Metal({"grey", "yellow", "black"}));
  m.Lathe({{0, 0}, {r * 1.7f, 0}, {r * 1.8f, 0.008f}, {r * 1.6f, 0.006f}, {0, 0.006f}}, 24);
  m.Part("wick");
  m.Use("black");
  m.Rod({0, 0, h - 0.006f}, {0, 0, h + 0.01f}, 0.0013f, 0.001f, 6);
}

void MakeBasket(ObjectMaker& m) {
  const float s = m.PickScale(), r = m.Uniform(0.12f, 0.15f) * s, h = m.Uniform(0.26f, 0.34f) * s;
  m.Main(m.Chance(0.6f) ? m.Plastic({"black", "grey", "blue", "red", "white", "green"})
                        : m.Metal({"grey", "black"}));
  m.Part("body");
  m.Lathe(
      {{0, 0}, {r * 0.8f, 0}, {r, h}, {r - 0.004f, h}, {r * 0.8f - 0.004f, 0.006f}, {0, 0.006f}},
      32);
  m.Part("rim");
  std::vector<V> ring;
  for (int k = 0; k < 32; ++k)
    ring.push_back({r * std::cos(2 * kPi * k / 32), r * std::sin(2 * kPi * k / 32), h});
  m.Tube(ring, 0.006f, true);
  m.Part("paper");
  m.Use("white");
  for (int k = 0; k < 3; ++k)
    m.Ellipsoid({m.Uniform(-0.3f, 0.3f) * r, m.Uniform(-0.3f, 0.3f) * r, 0.05f + 0.04f * k},
                {0.045f, 0.04f, 0.035f}, 1.5f, 5, 7);
}

void MakeBox(ObjectMaker& m) {
  const float s = m.PickScale(), x = m.Uniform(0.09f, 0.18f) * s, y = m.Uniform(0.12f, 0.22f) * s,
              h = m.Uniform(0.12f, 0.28f) * s;
  m.Main(m.Matt(m.Chance(0.6f) ? "brown" : m.Chance(0.5f) ? "beige" : "white", "cardboard"));
  m.Part("body");
  m.Box({-x, -y, 0}, {x, y, h});
  m.Part("lid");
  if (m.Chance(0.5f)) {
    m.Box({-x - 0.004f, -y - 0.004f, h - 0.05f}, {x + 0.004f, y + 0.004f, h + 0.003f});
  } else {
    m.Use(m.Matt("beige", "paper"));
    m.Box({-x - 0.0006f, -0.025f, h * 0.75f}, {x + 0.0006f, 0.025f, h + 0.0008f});
  }
}

void MakeUmbrella(ObjectMaker& m) {  // open, on its side would be odd indoors: closed, standing
  const float s = m.PickScale();
  m.Main(m.Fabric({"black", "red", "blue", "green", "yellow", "purple"}, 0.2f));
  m.Part("canopy");
  m.Lathe({{0, 0.1f},
           {0.012f, 0.1f},
           {0.035f, 0.25f * s},
           {0.05f, 0.6f * s},
           {0.045f, 0.66f * s},
           {0.012f, 0.7f * s},
           {0, 0.7f * s}},
          12, 0.4f);
  m.Part("shaft");
  m.Use(m.Metal({"grey"}));
  m.Rod({0, 0, 0}, {0, 0, 0.8f * s}, 0.005f, 0.006f);
  m.Part("handle");
  m.Use(m.Wood({"brown", "black"}));
  std::vector<V> hook;
  for (int k = 0; k <= 10; ++k) {
    const float a = kPi * k / 10;
    hook.push_back({0.035f - 0.035f * std::cos(a), 0, 0.85f * s + 0.035f * std::sin(a)});
  }
  hook.insert(hook.begin(), V(0, 0, 0.77f * s));
  m.Tube(hook, 0.01f, false, 10);
}

void MakePencilCup(ObjectMaker& m) {
  const float s = m.PickScale(), r = 0.038f * s, h = 0.1f * s;
  m.Main(m.Chance(0.5f) ? m.Plastic({"black", "red", "blue", "green", "white"})
                        : m.Metal({"grey", "black"}));
  m.Part("body");
  m.Lathe({{0, 0}, {r, 0}, {r, h}, {r - 0.003f, h}, {r - 0.003f, 0.004f}, {0, 0.004f}}, 28);
  m.Part("pencil");
  const char* colors[] = {"yellow", "red", "blue", "green", "black", "orange"};
  const int pencils = 4 + m.Pick(4);
  for (int k = 0; k < pencils; ++k) {
    const float a = 2 * kPi * k / pencils + m.Uniform(-0.2f, 0.2f);
    const V foot(-0.4f * r * std::cos(a), -0.4f * r * std::sin(a), 0.006f);
    const V tip(0.85f * r * std::cos(a), 0.85f * r * std::sin(a), m.Uniform(1.35f, 1.75f) * h);
    m.Use(m.Matt(colors[m.Pick(6)], "wooden"));
    m.Rod(foot, tip, 0.0036f, 0.0036f, 7);
    m.Use("beige");
    m.Rod(tip, V(tip + (tip - foot).normalized() * 0.014f), 0.0036f, 0.0006f, 7);
  }
}

void MakeSuitcase(ObjectMaker& m) {
  const float s = m.PickScale(), h = 0.55f * s, w = 0.19f * s, d = 0.115f * s;
  m.Main(m.Plastic({"red", "blue", "black", "grey", "yellow", "turquoise", "purple"}));
  m.Part("body");
  m.Box({-d, -w, 0.045f}, {d, w, h}, 0.045f);
  for (int k = 0; k < 5; ++k) {
    const float y = w * (-0.72f + 0.36f * k);
    m.Box({d - 0.01f, y - 0.012f, 0.11f}, {d + 0.006f, y + 0.012f, h - 0.06f}, 0.006f);
  }
  m.Part("wheel");
  m.Use("black");
  for (const float x : {-0.7f, 0.7f}) {
    for (const float y : {-0.75f, 0.75f})
      m.Ellipsoid({x * d, y * w, 0.026f}, {0.026f, 0.018f, 0.026f}, 2, 10, 14);
  }
  m.Part("handle");
  m.Use("grey");
  m.Tube({{-d * 0.6f, -0.07f, h - 0.02f},
          {-d * 0.6f, -0.07f, h + 0.3f},
          {-d * 0.6f, 0.07f, h + 0.3f},
          {-d * 0.6f, 0.07f, h - 0.02f}},
         0.008f);
}

void MakeHat(ObjectMaker& m) {
  const float s = m.PickScale();
  m.Main(m.Fabric({"beige", "brown", "black", "red", "blue", "grey"}, 0));
  m.Part("brim");
  m.Lathe({{0, 0},
           {0.12f * s, 0},
           {0.165f * s, 0.012f},
           {0.165f * s, 0.016f},
           {0.1f * s, 0.006f},
           {0, 0.006f}},
          40, 0.9f);
  m.Part("crown");
  m.Lathe({{0, 0.003f},
           {0.095f * s, 0.003f},
           {0.088f * s, 0.08f * s},
           {0.07f * s, 0.105f * s},
           {0, 0.1f * s}},
          36, 0.9f);
  m.Part("ribbon");
  m.Use(m.model.attributes.color == "black" ? "red" : "black");
  m.Lathe({{0, 0.006f}, {0.0965f * s, 0.006f}, {0.0955f * s, 0.032f * s}, {0, 0.032f * s}}, 36);
}

}  // namespace

std::vector<ObjectKind> HouseholdKinds() {
  using enum Stand;
  const std::string h = "household", food = "food", deco = "decoration", wear = "clothing";
  return {
      {"book",
       {"volume", "paperback"},
       h,
       {kTable, kShelf, kFloor},
       {"to read"},
       {"cover", "pages", "spine", "title"},
       MakeBook},
      {"potted plant",
       {"plant", "houseplant", "plant in a pot"},
       deco,
       {kTable, kFloor, kShelf},
       {"to water"},
       {"pot", "soil", "leaf"},
       MakePlant},
      {"vase",
       {"flower vase", "vase with flowers"},
       deco,
       {kTable, kShelf},
       {"to hold flowers"},
       {"body", "stem", "flower"},
       MakeVase},
      {"clock",
       {"wall clock"},
       deco,
       {kWall},
       {"to tell the time"},
       {"frame", "face", "mark", "hand"},
       MakeClock},
      {"picture",
       {"painting", "picture frame"},
       deco,
       {kWall},
       {"to look at"},
       {"frame", "picture"},
       MakePicture},
      {"cushion",
       {"pillow", "throw pillow"},
       h,
       {kFloor},
       {"to lean on", "to sit on"},
       {"body"},
       MakeCushion},
      {"backpack",
       {"rucksack", "school bag"},
       h,
       {kFloor},
       {"to carry things in", "to open"},
       {"body", "pocket", "strap", "handle"},
       MakeBackpack},
      {"shoe",
       {"sneaker", "footwear"},
       wear,
       {kFloor},
       {"to wear"},
       {"upper", "sole", "lace"},
       MakeShoe},
      {"hat",
       {"sun hat"},
       wear,
       {kTable, kShelf},
       {"to wear"},
       {"brim", "crown", "ribbon"},
       MakeHat},
      {"apple", {"fruit"}, food, {kTable}, {"to eat"}, {"body", "stem"}, MakeApple},
      {"pear", {"fruit"}, food, {kTable}, {"to eat"}, {"body", "stem"}, MakePear},
      {"orange",
       {"fruit", "citrus fruit"},
       food,
       {kTable},
       {"to eat"},
       {"body", "stem"},
       MakeOrange},
      {"banana", {"fruit"}, food, {kTable}, {"to eat"}, {"body", "stem"}, MakeBanana},
      {"candle",
       {"wax candle"},
       deco,
       {kTable, kShelf},
       {"to give light"},
       {"body", "holder", "wick"},
       MakeCandle},
      {"waste basket",
       {"bin", "trash can"},
       h,
       {kFloor},
       {"to throw rubbish into"},
       {"body", "rim", "paper"},
       MakeBasket},
      {"box",
       {"cardboard box", "carton"},
       h,
       {kFloor, kShelf},
       {"to store things in", "to open"},
       {"body", "lid"},
       MakeBox},
      {"umbrella",
       {"parasol"},
       h,
       {kFloor},
       {"to keep rain off"},
       {"canopy", "shaft", "handle"},
       MakeUmbrella},
      {"pencil cup",
       {"pen holder", "desk tidy"},
       h,
       {kTable},
       {"to hold pencils"},
       {"body", "pencil"},
       MakePencilCup},
      {"suitcase",
       {"trolley case", "luggage"},
       h,
       {kFloor},
       {"to carry things in", "to open"},
       {"body", "wheel", "handle"},
       MakeSuitcase},
  };
}

}  // namespace athanor
