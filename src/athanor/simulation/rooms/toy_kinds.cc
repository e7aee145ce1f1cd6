// Toys.
#include <cmath>

#include "athanor/simulation/rooms/object_maker.h"

namespace athanor {
namespace {

using Eigen::Vector2f;
using V = Eigen::Vector3f;
using Pattern = SurfaceMaterial::Pattern;

constexpr float kPi = 3.14159265f;

void MakeTeddy(ObjectMaker& m) {
  const float s = m.PickScale() * m.Uniform(0.8f, 1.3f);
  Look fur = m.Fabric({"brown", "brown", "beige", "white", "pink", "grey", "blue"}, 0);
  const Look light =
      m.Matt(fur.color == "white" || fur.color == "beige" ? "brown" : "beige", "fabric");
  m.Main(fur);
  m.Part("body");
  m.Ellipsoid({0, 0, 0.095f * s}, {0.07f * s, 0.075f * s, 0.095f * s}, 2.1f, 14, 22);
  m.Part("head");
  m.Ellipsoid({0.01f * s, 0, 0.235f * s}, {0.065f * s, 0.07f * s, 0.062f * s}, 2, 14, 22);
  m.Part("ear");
  for (const float y : {-1.0f, 1.0f})
    m.Ellipsoid({0, y * 0.055f * s, 0.29f * s}, {0.014f * s, 0.025f * s, 0.025f * s}, 2, 10, 14);
  m.Part("arm");
  for (const float y : {-1.0f, 1.0f}) {
    m.Tube({{0.01f * s, y * 0.06f * s, 0.155f * s},
            {0.045f * s, y * 0.09f * s, 0.12f * s},
            {0.085f * s, y * 0.09f * s, 0.1f * s}},
           {0.025f * s, 0.027f * s, 0.021f * s}, false, 12);
    m.Ellipsoid({0.088f * s, y * 0.09f * s, 0.098f * s}, {0.024f * s, 0.024f * s, 0.024f * s}, 2,
                10, 14);
  }
  m.Part("leg");
  for (const float y : {-1.0f, 1.0f}) {
    m.Tube({{0.02f * s, y * 0.045f * s, 0.035f * s},
            {0.09f * s, y * 0.06f * s, 0.035f * s},
            {0.13f * s, y * 0.065f * s, 0.037f * s}},
           {0.03f * s, 0.031f * s, 0.029f * s}, false, 12);
    m.Ellipsoid({0.135f * s, y * 0.066f * s, 0.045f * s}, {0.018f * s, 0.03f * s, 0.042f * s}, 2,
                12, 16);
  }
  m.Use(light);
  for (const float y : {-1.0f, 1.0f})
    m.Ellipsoid({0.148f * s, y * 0.066f * s, 0.045f * s}, {0.008f * s, 0.02f * s, 0.028f * s}, 2,
                10, 14);
  m.Part("muzzle");
  m.Ellipsoid({0.062f * s, 0, 0.222f * s}, {0.028f * s, 0.03f * s, 0.024f * s}, 2, 10, 16);
  m.Part("body");
  m.Ellipsoid({0.03f * s, 0, 0.095f * s}, {0.045f * s, 0.05f * s, 0.065f * s}, 2, 12, 18);
  m.Use("black");
  m.Part("nose");
  m.Ellipsoid({0.089f * s, 0, 0.232f * s}, {0.007f * s, 0.011f * s, 0.008f * s}, 2, 8, 10);
  m.Part("eye");
  for (const float y : {-1.0f, 1.0f})
    m.Ellipsoid({0.068f * s, y * 0.025f * s, 0.253f * s}, {0.007f * s, 0.008f * s, 0.009f * s}, 2,
                8, 10);
}

void MakeToyCar(ObjectMaker& m) {
  const float s = m.PickScale();
  m.Main(m.Chance(0.6f) ? m.Plastic({"red", "blue", "yellow", "green", "orange", "white"})
                        : m.Wood({"red", "blue", "green", "beige"}));
  const float x = 0.085f * s, y = 0.04f * s, z = 0.018f * s;
  m.Part("body");
  m.Box({-x, -y, z}, {x, y, z + 0.032f * s}, 0.012f * s);
  m.Part("cabin");
  const float back = m.Uniform(0.55f, 0.85f) * x;
  m.Box({-back, -y * 0.85f, z + 0.025f * s}, {0.3f * x, y * 0.85f, z + 0.062f * s}, 0.012f * s);
  m.Part("window");
  m.Use("black");
  m.Box({-back * 0.85f, -y * 0.87f, z + 0.036f * s}, {0.12f * x, y * 0.87f, z + 0.054f * s},
        0.004f * s);
  m.Box({0.2f * x, -y * 0.7f, z + 0.036f * s}, {0.315f * x, y * 0.7f, z + 0.055f * s}, 0.004f * s);
  m.Part("wheel");
  for (const float sx : {-0.58f, 0.58f}) {
    for (const float sy : {-1.0f, 1.0f}) {
      m.Use("black");
      m.Rod({sx * x, sy * (y - 0.008f * s), 0.021f * s},
            {sx * x, sy * (y + 0.006f * s), 0.021f * s}, 0.021f * s, 0.021f * s, 20);
      m.Use("grey");
      m.Rod({sx * x, sy * (y - 0.007f * s), 0.021f * s},
            {sx * x, sy * (y + 0.0075f * s), 0.021f * s}, 0.01f * s, 0.01f * s, 14);
    }
  }
  m.Part("light");
  m.Use("yellow");
  for (const float sy : {-1.0f, 1.0f})
    m.Ellipsoid({x - 0.002f, sy * y * 0.6f, z + 0.018f * s}, {0.005f, 0.008f * s, 0.008f * s}, 2, 8,
                10);
}

void MakeBall(ObjectMaker& m) {
  const float r = m.Uniform(0.06f, 0.12f) * m.PickScale();
  const Look look =
      m.Plastic({"red", "blue", "yellow", "green", "orange", "white", "pink", "purple"});
  const Look other = m.Plastic({look.color == "white" ? "black" : "white"});
  m.Main(look);
  m.Part("body");
  m.Ellipsoid({0, 0, r}, {r, r, r}, 2, 24, 36);
  if (m.Chance(0.6f)) {  // a band around it
    m.model.attributes.pattern = "banded";
    m.Part("band");
    m.Use(other);
    Eigen::Affine3f tilt = Eigen::Affine3f::Identity();
    tilt.translate(V(0, 0, r));
    tilt.rotate(Eigen::AngleAxisf(m.Uniform(0.2f, 1.3f), V(1, m.Uniform(-1, 1), 0).normalized()));
    m.Place(tilt);
    std::vector<Vector2f> profile = {{0, -0.22f * r}};
    for (int k = 0; k <= 8; ++k) {
      const float a = -0.225f + 0.45f * k / 8;
      profile.push_back({1.004f * r * std::cos(a), 1.004f * r * std::sin(a)});
    }
    profile.push_back({0, 0.22f * r});
    m.Lathe(profile, 40);
    m.PlaceAtOrigin();
  }
}

void MakeBlocks(ObjectMaker& m) {
  const float a = 0.045f * m.PickScale();
  const char* colors[] = {"red", "blue", "yellow", "green", "orange", "purple"};
  m.Part("block");
  const int base = 3 + m.Pick(2);
  const int first = m.Pick(6);
  for (int k = 0; k < base; ++k) {
    Look look = m.Matt(colors[(first + k) % 6], "wooden");
    look.pattern = "colourful";
    k == 0 ? m.Main(look) : m.Use(look);
    m.Place({0, (k - base / 2.0f) * a * 1.25f, 0}, m.Uniform(-0.2f, 0.2f));
    m.Box({-a / 2, -a / 2, 0}, {a / 2, a / 2, a}, 0.003f);
  }
  for (int k = 0; k + 1 < base; ++k) {
    m.Use(colors[(first + base + k) % 6]);
    m.Place({0, (k + 0.5f - base / 2.0f) * a * 1.25f, a}, m.Uniform(-0.25f, 0.25f));
    if (k == base - 2 && m.Chance(0.6f)) {
      m.Lathe({{0, 0}, {a * 0.5f, 0}, {0, a * 0.9f}}, 20);
    } else if (m.Chance(0.3f)) {
      m.Cylinder({0, 0, 0}, a * 0.5f, a, 24);
    } else {
      m.Box({-a / 2, -a / 2, 0}, {a / 2, a / 2, a}, 0.003f);
    }
  }
  m.PlaceAtOrigin();
}

void MakeDuck(ObjectMaker& m) {
  const float s = m.PickScale();
  Look rubber = m.Plastic({"yellow", "yellow", "yellow", "pink", "blue", "green"});
  rubber.material = "rubber";
  m.Main(rubber);
  m.Part("body");
  m.Ellipsoid({0, 0, 0.032f * s}, {0.055f * s, 0.042f * s, 0.034f * s}, 2.1f, 14, 24);
  m.Tube({{-0.03f * s, 0, 0.04f * s}, {-0.055f * s, 0, 0.055f * s}, {-0.07f * s, 0, 0.075f * s}},
         {0.028f * s, 0.018f * s, 0.004f * s}, false, 12);
  m.Part("head");
  m.Ellipsoid({0.028f * s, 0, 0.084f * s}, {0.03f * s, 0.029f * s, 0.029f * s}, 2, 14, 20);
  m.Part("wing");
  for (const float y : {-1.0f, 1.0f})
    m.Ellipsoid({-0.01f * s, y * 0.039f * s, 0.04f * s}, {0.03f * s, 0.009f * s, 0.018f * s}, 2, 10,
                14);
  m.Part("beak");
  m.Use("orange");
  m.Ellipsoid({0.06f * s, 0, 0.078f * s}, {0.018f * s, 0.015f * s, 0.006f * s}, 2, 10, 14);
  m.Part("eye");
  m.Use("black");
  for (const float y : {-1.0f, 1.0f})
    m.Ellipsoid({0.05f * s, y * 0.015f * s, 0.095f * s}, {0.005f * s, 0.004f * s, 0.006f * s}, 2, 8,
                10);
}

void MakeRocket(ObjectMaker& m) {
  const float s = m.PickScale(), r = 0.04f * s, h = 0.26f * s;
  m.Main(m.Plastic({"white", "red", "blue", "grey", "green", "yellow"}));
  const bool red = m.model.attributes.color == "red";
  m.Part("body");
  m.Lathe({{0, 0.04f * s},
           {r * 0.75f, 0.04f * s},
           {r, h * 0.4f},
           {r * 0.92f, h * 0.7f},
           {0, h * 0.72f}},
          28, 0.9f);
  m.Part("nose");
  m.Use(red ? "white" : "red");
  m.Lathe({{0, h * 0.69f}, {r * 0.93f, h * 0.695f}, {r * 0.6f, h * 0.87f}, {0, h}}, 28, 0.9f);
  m.Part("fin");
  for (int k = 0; k < 3; ++k) {
    Eigen::Affine3f frame = Eigen::Affine3f::Identity();
    frame.rotate(Eigen::AngleAxisf(2 * kPi * k / 3, V::UnitZ()));
    frame.rotate(Eigen::AngleAxisf(kPi / 2, V::UnitX()));  // the prism's y stands up
    m.Place(frame);
    m.Prism({{r * 0.5f, 0.045f * s}, {r * 2.1f, 0}, {r * 2.1f, 0.05f * s}, {r * 0.8f, 0.12f * s}},
            -0.004f, 0.004f);
  }
  m.PlaceAtOrigin();
  m.Part("engine");
  m.Use("black");
  m.Lathe({{0, 0.012f * s}, {r * 0.6f, 0.012f * s}, {r * 0.45f, 0.045f * s}, {0, 0.045f * s}}, 20);
  m.Part("window");
  m.Use("blue");
  m.Rod({r * 0.5f, 0, h * 0.5f}, {r * 1.06f, 0, h * 0.5f}, r * 0.4f, r * 0.4f, 20);
}

void MakeTrain(ObjectMaker& m) {
  const float s = m.PickScale(), r = 0.026f * s;
  m.Main(m.Wood({"red", "blue", "green", "black"}));
  m.Part("body");
  m.Rod({-0.01f * s, 0, 0.055f * s}, {0.085f * s, 0, 0.055f * s}, r, r, 24);
  m.Part("cabin");
  m.Use(m.Matt("yellow", "wooden"));
  m.Box({-0.075f * s, -0.032f * s, 0.026f * s}, {-0.008f * s, 0.032f * s, 0.1f * s}, 0.003f);
  m.Part("roof");
  m.Use("red");
  m.Box({-0.083f * s, -0.038f * s, 0.098f * s}, {0, 0.038f * s, 0.108f * s}, 0.003f);
  m.Part("chassis");
  m.Use("black");
  m.Box({-0.078f * s, -0.028f * s, 0.018f * s}, {0.088f * s, 0.028f * s, 0.03f * s}, 0.003f);
  m.Part("chimney");
  m.Lathe({{0, 0.06f * s},
           {0.009f * s, 0.06f * s},
           {0.009f * s, 0.1f * s},
           {0.015f * s, 0.112f * s},
           {0, 0.112f * s}},
          16);
  m.Part("wheel");
  m.Use("orange");
  for (const float x : {-0.05f, 0.01f, 0.062f}) {
    for (const float side : {-1.0f, 1.0f})
      m.Rod({x * s, side * 0.026f * s, 0.02f * s}, {x * s, side * 0.036f * s, 0.02f * s}, 0.02f * s,
            0.02f * s, 18);
  }
}

}  // namespace

std::vector<ObjectKind> ToyKinds() {
  using enum Stand;
  const std::string t = "toy";
  return {
      {"teddy bear",
       {"teddy", "stuffed bear", "plush bear"},
       t,
       {kFloor, kTable, kShelf},
       {"to play with", "to hug"},
       {"body", "head", "ear", "arm", "leg", "muzzle", "nose", "eye"},
       MakeTeddy},
      {"toy car",
       {"model car", "toy automobile"},
       t,
       {kFloor, kTable, kShelf},
       {"to play with", "to roll"},
       {"body", "cabin", "window", "wheel", "light"},
       MakeToyCar},
      {"ball",
       {"play ball"},
       t,
       {kFloor},
       {"to play with", "to throw", "to roll"},
       {"body", "band"},
       MakeBall},
      {"building blocks",
       {"toy blocks", "bricks"},
       t,
       {kFloor, kTable, kShelf},
       {"to play with", "to build with"},
       {"block"},
       MakeBlocks},
      {"rubber duck",
       {"toy duck", "bath duck"},
       t,
       {kTable, kShelf, kFloor},
       {"to play with"},
       {"body", "head", "wing", "beak", "eye"},
       MakeDuck},
      {"toy rocket",
       {"rocket", "toy spaceship"},
       t,
       {kTable, kShelf, kFloor},
       {"to play with"},
       {"body", "nose", "fin", "engine", "window"},
       MakeRocket},
      {"toy train",
       {"toy locomotive"},
       t,
       {kFloor, kTable, kShelf},
       {"to play with", "to roll"},
       {"body", "cabin", "roof", "chassis", "chimney", "wheel"},
       MakeTrain},
  };
}

}  // namespace athanor
