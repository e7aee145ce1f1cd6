// Tableware and what one cooks with.
#include <cmath>

#include "athanor/simulation/rooms/object_maker.h"

namespace athanor {
namespace {

using Eigen::Vector2f;
using V = Eigen::Vector3f;

constexpr float kPi = 3.14159265f;

// A handle beside a body of the given radius, as an open ring in the x-z plane.
void RingHandle(ObjectMaker& m, float radius, float z, float height, float reach, float thick) {
  std::vector<V> line;
  for (int k = 0; k <= 12; ++k) {
    const float a = kPi * k / 12 - kPi / 2;
    line.push_back({radius - 0.002f + reach * std::cos(a), 0, z + 0.5f * height * std::sin(a)});
  }
  m.Tube(line, thick);
}

void MakeMug(ObjectMaker& m) {
  const float s = m.PickScale(), r = m.Uniform(0.037f, 0.044f) * s,
              h = m.Uniform(0.085f, 0.11f) * s, t = 0.004f;
  const float foot = m.Uniform(0.85f, 1.0f);
  m.Main(m.Ceramic());
  m.Part("body");
  m.Lathe({{0, 0},
           {r * foot, 0},
           {r, 0.015f},
           {r, h},
           {r - t, h},
           {r - t, 0.02f},
           {r * foot - t, t},
           {0, t}},
          32, 0.9f);
  m.Part("handle");
  RingHandle(m, r, h * 0.52f, h * 0.6f, 0.028f * s, 0.0055f);
  if (m.Chance(0.4f)) {
    m.Part("content");
    m.Use("brown");
    m.Cylinder({0, 0, h * 0.7f}, r - t * 0.5f, 0.004f, 32);
  }
}

void MakeCup(ObjectMaker& m) {
  const float s = m.PickScale(), r = m.Uniform(0.038f, 0.045f) * s,
              h = m.Uniform(0.055f, 0.065f) * s;
  m.Main(m.Ceramic());
  m.Part("saucer");
  m.Lathe({{0, 0}, {0.04f, 0}, {0.075f, 0.012f}, {0.075f, 0.015f}, {0.04f, 0.006f}, {0, 0.006f}},
          36, 0.9f);
  m.Part("body");
  m.Lathe({{0, 0.005f},
           {r * 0.5f, 0.005f},
           {r * 0.85f, h * 0.45f},
           {r, h},
           {r - 0.003f, h},
           {r * 0.8f, h * 0.45f},
           {r * 0.4f, 0.012f},
           {0, 0.012f}},
          32, 1.0f);
  m.Part("handle");
  RingHandle(m, r * 0.88f, h * 0.6f, h * 0.5f, 0.022f, 0.004f);
}

void MakeGlass(ObjectMaker& m) {
  const float s = m.PickScale(), h = m.Uniform(0.1f, 0.14f) * s, r = m.Uniform(0.03f, 0.036f) * s;
  m.Main(m.Glass({"white", "blue", "green", "turquoise"}));
  if (m.Chance(0.4f)) {
    m.Part("stem");
    m.Lathe({{0, 0}, {0.034f, 0}, {0.03f, 0.004f}, {0.005f, 0.01f}, {0.004f, 0.08f}, {0, 0.08f}},
            24);
    m.Part("body");
    m.Lathe({{0, 0.078f},
             {r * 0.7f, 0.09f},
             {r * 1.15f, 0.12f},
             {r, 0.175f},
             {r - 0.002f, 0.175f},
             {r * 1.1f, 0.12f},
             {r * 0.6f, 0.094f},
             {0, 0.084f}},
            28, 1.0f);
  } else {
    m.Part("body");
    m.Lathe({{0, 0}, {r * 0.85f, 0}, {r, h}, {r - 0.0025f, h}, {r * 0.8f, 0.01f}, {0, 0.01f}}, 28);
  }
}

void MakePlate(ObjectMaker& m) {
  const float r = m.Uniform(0.11f, 0.13f) * m.PickScale();
  const Look look = m.Ceramic({}, 0);
  m.Main(look);
  m.Part("body");
  m.Lathe({{0, 0},
           {r * 0.6f, 0},
           {r * 0.72f, 0.009f},
           {r, 0.02f},
           {r, 0.0235f},
           {r * 0.72f, 0.014f},
           {r * 0.62f, 0.006f},
           {0, 0.006f}},
          44, 0.9f);
  m.Part("rim");
  if (m.Chance(0.5f)) m.Use(m.Ceramic({"blue", "red", "green", "yellow", "black"}, 0));
  std::vector<V> ring;
  for (int k = 0; k < 44; ++k)
    ring.push_back({r * std::cos(2 * kPi * k / 44), r * std::sin(2 * kPi * k / 44), 0.022f});
  m.Tube(ring, 0.0025f, true, 6);
}

void MakeBowl(ObjectMaker& m) {
  const float s = m.PickScale(), r = m.Uniform(0.07f, 0.12f) * s, h = r * m.Uniform(0.5f, 0.65f);
  m.Main(m.Chance(0.75f) ? m.Ceramic() : m.Wood({"brown", "beige"}));
  std::vector<Vector2f> profile = {{0, 0}, {r * 0.42f, 0}, {r * 0.42f, 0.006f}};
  for (int k = 2; k <= 8; ++k)
    profile.push_back({r * std::sin(kPi / 2 * k / 8 * 0.96f + 0.06f),
                       0.006f + h * (1 - std::cos(kPi / 2 * k / 8))});
  for (int k = 8; k >= 1; --k)
    profile.push_back({(r - 0.005f) * std::sin(kPi / 2 * k / 8 * 0.96f + 0.06f),
                       0.012f + (h - 0.004f) * (1 - std::cos(kPi / 2 * k / 8))});
  profile.push_back({0, 0.012f});
  m.Part("body");
  m.Lathe(profile, 36, 0.9f);
}

void MakeBottle(ObjectMaker& m) {
  const float s = m.PickScale(), r = m.Uniform(0.034f, 0.042f) * s, h = m.Uniform(0.23f, 0.31f) * s,
              neck = m.Uniform(0.012f, 0.016f);
  const Look look = m.Chance(0.65f) ? m.Glass({"green", "brown", "blue", "white"}) : m.Plastic();
  m.Main(look);
  m.Part("body");
  m.Lathe({{0, 0},
           {r * 0.95f, 0},
           {r, 0.006f},
           {r, h * 0.58f},
           {r * 0.8f, h * 0.68f},
           {neck, h * 0.78f},
           {neck, h * 0.95f},
           {0, h * 0.95f}},
          28, 1.0f);
  m.Part("label");
  m.Use(m.Matt(m.Chance(0.5f) ? "white" : "yellow", "paper"));
  m.Cylinder({0, 0, h * 0.2f}, r + 0.0006f, h * 0.25f, 28);
  m.Part("cap");
  m.Use(m.Plastic({"red", "white", "black", "blue", "green"}));
  m.Cylinder({0, 0, h * 0.93f}, neck + 0.003f, h * 0.07f, 20);
}

void MakeTeapot(ObjectMaker& m) {
  const float s = m.PickScale(), r = 0.075f * s, h = 0.11f * s;
  m.Main(m.Ceramic({"white", "blue", "green", "brown", "red", "black", "yellow", "turquoise"}));
  m.Part("body");
  m.Lathe({{0, 0},
           {r * 0.6f, 0},
           {r * 0.62f, 0.006f},
           {r * 0.95f, h * 0.3f},
           {r, h * 0.5f},
           {r * 0.85f, h * 0.8f},
           {r * 0.5f, h * 0.97f},
           {0, h}},
          32, 1.0f);
  m.Part("lid");
  m.Lathe({{0, h * 0.92f},
           {r * 0.52f, h * 0.93f},
           {r * 0.45f, h * 1.03f},
           {r * 0.12f, h * 1.12f},
           {r * 0.16f, h * 1.2f},
           {r * 0.08f, h * 1.27f},
           {0, h * 1.28f}},
          24, 1.0f);
  m.Part("spout");
  m.Tube({{r * 0.8f, 0, h * 0.3f},
          {r * 1.25f, 0, h * 0.42f},
          {r * 1.5f, 0, h * 0.7f},
          {r * 1.75f, 0, h * 0.9f}},
         {0.02f * s, 0.017f * s, 0.012f * s, 0.009f * s}, false, 12);
  m.Part("handle");
  m.Place({0, 0, 0}, kPi);
  RingHandle(m, r * 0.9f, h * 0.55f, h * 0.65f, 0.05f * s, 0.007f);
  m.PlaceAtOrigin();
}

Look Steel(ObjectMaker& m) { return m.Metal({"grey"}); }

void MakeFork(ObjectMaker& m) {
  const float s = m.PickScale();
  m.Main(Steel(m));
  m.Part("handle");
  m.Box({-0.1f * s, -0.006f, 0}, {0.025f * s, 0.006f, 0.004f}, 0.0018f);
  m.Part("head");
  m.Box({0.02f * s, -0.013f, 0}, {0.055f * s, 0.013f, 0.004f}, 0.0018f);
  for (int k = 0; k < 4; ++k) {
    const float y = -0.0105f + 0.007f * k;
    m.Box({0.05f * s, y - 0.0018f, 0}, {0.1f * s, y + 0.0018f, 0.0038f}, 0.0015f);
  }
}

void MakeKnife(ObjectMaker& m) {
  const float s = m.PickScale();
  m.Main(m.Chance(0.5f) ? Steel(m) : m.Plastic({"black", "red", "blue", "white"}));
  m.Part("handle");
  m.Box({-0.11f * s, -0.009f, 0}, {0.0f, 0.009f, 0.009f}, 0.004f);
  m.Part("blade");
  m.Use(Steel(m));
  m.Prism({{-0.005f, -0.008f},
           {0.09f * s, -0.011f},
           {0.115f * s, -0.004f},
           {0.12f * s, 0.009f},
           {-0.005f, 0.009f}},
          0.003f, 0.0055f);
}

void MakeSpoon(ObjectMaker& m) {
  const float s = m.PickScale();
  m.Main(m.Chance(0.7f) ? Steel(m) : m.Wood({"brown", "beige"}));
  m.Part("handle");
  m.Box({-0.1f * s, -0.0055f, 0.001f}, {0.045f * s, 0.0055f, 0.005f}, 0.0019f);
  m.Part("head");
  m.Ellipsoid({0.068f * s, 0, 0.006f}, {0.032f * s, 0.021f, 0.006f}, 2, 10, 18);
}

void MakePan(ObjectMaker& m) {
  const float s = m.PickScale(), r = m.Uniform(0.115f, 0.145f) * s, h = 0.045f;
  m.Main(m.Metal({"black", "grey", "red"}));
  m.Part("body");
  m.Lathe({{0, 0}, {r * 0.82f, 0}, {r, h}, {r - 0.005f, h}, {r * 0.8f, 0.006f}, {0, 0.006f}}, 40);
  m.Part("handle");
  m.Use(m.Chance(0.7f) ? m.Plastic({"black"}) : m.Wood({"brown"}));
  m.Rod({r * 0.93f, 0, h * 0.75f}, {r + 0.17f * s, 0, h * 1.2f}, 0.009f, 0.012f);
}

void MakePot(ObjectMaker& m) {
  const float s = m.PickScale(), r = m.Uniform(0.09f, 0.12f) * s, h = m.Uniform(0.1f, 0.15f) * s;
  m.Main(m.Metal({"grey", "grey", "red", "blue", "white", "green", "orange"}));
  m.Part("body");
  m.Lathe({{0, 0}, {r * 0.96f, 0}, {r, 0.008f}, {r, h}, {0, h}}, 36);
  m.Part("lid");
  m.Lathe({{0, h - 0.002f},
           {r + 0.004f, h - 0.002f},
           {r + 0.004f, h + 0.005f},
           {r * 0.6f, h + 0.02f},
           {0, h + 0.026f}},
          36, 0.9f);
  m.Use("black");
  m.Ellipsoid({0, 0, h + 0.04f}, {0.018f, 0.018f, 0.016f}, 2, 8, 12);
  m.Part("handle");
  for (const float side : {0.0f, kPi}) {
    m.Place({0, 0, 0}, side + kPi / 2);
    std::vector<V> line;
    for (int k = 0; k <= 10; ++k) {
      const float a = kPi * k / 10 - kPi / 2;
      line.push_back({r - 0.003f + 0.035f * std::cos(a), 0.04f * std::sin(a), h * 0.8f});
    }
    m.Tube(line, 0.006f);
  }
  m.PlaceAtOrigin();
}

void MakeKettle(ObjectMaker& m) {
  const float s = m.PickScale(), r = 0.08f * s, h = 0.19f * s;
  m.Main(m.Chance(0.5f) ? m.Metal({"grey", "black", "red"})
                        : m.Plastic({"white", "black", "red", "blue", "turquoise"}));
  m.Part("body");
  m.Lathe({{0, 0.02f},
           {r, 0.02f},
           {r, 0.03f},
           {r * 0.9f, h * 0.6f},
           {r * 0.7f, h * 0.95f},
           {r * 0.5f, h},
           {0, h}},
          32, 0.9f);
  m.Part("spout");
  m.Rod({r * 0.5f, 0, h * 0.78f}, {r * 1.1f, 0, h * 0.97f}, 0.03f, 0.014f, 14);
  m.Part("base");
  m.Use("black");
  m.Cylinder({0, 0, 0}, r * 1.08f, 0.022f, 32);
  m.Part("handle");
  m.Tube({{-r * 0.6f, 0, h * 0.95f},
          {-r * 1.2f, 0, h * 1.0f},
          {-r * 1.55f, 0, h * 0.85f},
          {-r * 1.6f, 0, h * 0.5f},
          {-r * 1.3f, 0, h * 0.25f},
          {-r * 0.9f, 0, h * 0.22f}},
         0.011f);
  m.Part("lid");
  m.Ellipsoid({0, 0, h + 0.008f}, {0.015f, 0.015f, 0.014f}, 2, 8, 12);
}

}  // namespace

std::vector<ObjectKind> TablewareKinds() {
  using enum Stand;
  const std::string t = "tableware";
  return {
      {"mug",
       {"coffee mug", "beaker"},
       t,
       {kTable, kShelf},
       {"to drink from", "to hold liquid"},
       {"body", "handle", "content"},
       MakeMug},
      {"cup",
       {"teacup", "coffee cup"},
       t,
       {kTable},
       {"to drink from", "to hold liquid"},
       {"body", "handle", "saucer"},
       MakeCup},
      {"glass",
       {"drinking glass", "tumbler", "wine glass"},
       t,
       {kTable, kShelf},
       {"to drink from", "to hold liquid"},
       {"body", "stem"},
       MakeGlass},
      {"plate", {"dish"}, t, {kTable}, {"to eat from"}, {"body", "rim"}, MakePlate},
      {"bowl",
       {"dish", "basin"},
       t,
       {kTable, kShelf},
       {"to eat from", "to hold things"},
       {"body"},
       MakeBowl},
      {"bottle",
       {"flask", "flagon"},
       t,
       {kTable, kShelf},
       {"to drink from", "to hold liquid", "to pour from"},
       {"body", "label", "cap"},
       MakeBottle},
      {"teapot",
       {"tea pot"},
       t,
       {kTable},
       {"to pour from", "to hold liquid"},
       {"body", "lid", "spout", "handle"},
       MakeTeapot},
      {"fork", {"cutlery"}, t, {kTable}, {"to eat with"}, {"handle", "head"}, MakeFork},
      {"knife",
       {"table knife", "cutlery"},
       t,
       {kTable},
       {"to cut with"},
       {"handle", "blade"},
       MakeKnife},
      {"spoon",
       {"cutlery"},
       t,
       {kTable},
       {"to eat with", "to stir with"},
       {"handle", "head"},
       MakeSpoon},
      {"pan", {"frying pan", "skillet"}, t, {kTable}, {"to cook in"}, {"body", "handle"}, MakePan},
      {"pot",
       {"saucepan", "cooking pot"},
       t,
       {kTable},
       {"to cook in"},
       {"body", "lid", "handle"},
       MakePot},
      {"kettle",
       {"water boiler"},
       t,
       {kTable},
       {"to pour from", "to boil water in"},
       {"body", "spout", "base", "handle", "lid"},
       MakeKettle},
  };
}

}  // namespace athanor
