// Electronics, and the large machines of a kitchen.
#include <cmath>

#include "athanor/simulation/rooms/object_maker.h"

namespace athanor {
namespace {

using Eigen::Vector2f;
using V = Eigen::Vector3f;
using Pattern = SurfaceMaterial::Pattern;

constexpr float kPi = 3.14159265f;

// A lit screen: windows and lines on a ground of one colour. Faces +x of the current frame at
// x = 0, centred at y = 0, from z = 0.
void Screen(ObjectMaker& m, float width, float height, bool lit) {
  Look look = m.Matt(lit ? (m.Chance(0.5f) ? "blue" : "turquoise") : "black", "glass");
  look.surface.roughness = 0.15f;
  if (lit) look.surface.emission = 0.7f;
  m.Part("screen");
  m.Use(look);
  m.Box({-0.002f, -width / 2, 0}, {0.0008f, width / 2, height});
  if (!lit) return;
  const int windows = 1 + m.Pick(3);
  for (int k = 0; k < windows; ++k) {
    Look pane = m.Matt(m.Chance(0.7f) ? "white" : "yellow", "glass");
    pane.surface.emission = 0.7f;
    m.Use(pane);
    const float w = width * m.Uniform(0.3f, 0.5f), h = height * m.Uniform(0.35f, 0.6f);
    const float y = m.Uniform(-0.45f, 0.45f) * (width - w),
                z = m.Uniform(0.1f, 0.9f) * (height - h);
    const float x = 0.001f + 0.0003f * k;
    m.Box({0, y - w / 2, z}, {x, y + w / 2, z + h});
    m.Use("grey");
    for (int line = 0; line < 5; ++line) {
      const float at = z + h * (0.85f - 0.16f * line);
      m.Box({0, y - 0.4f * w, at - 0.012f * height},
            {x + 0.0002f, y - 0.4f * w + w * m.Uniform(0.3f, 0.8f), at});
    }
  }
}

void Keys(ObjectMaker& m, float x0, float x1, float y0, float y1, float z, float rise) {
  m.Part("key");
  const int rows = 5;
  for (int r = 0; r < rows; ++r) {
    const int columns = r == 0 ? 5 : 12;
    for (int c = 0; c < columns; ++c) {
      const float dx = (x1 - x0) / rows, dy = (y1 - y0) / columns;
      m.Box({x1 - dx * (r + 0.92f) * 1.0f, y0 + dy * (c + 0.08f), z - 0.001f},
            {x1 - dx * (r + 0.08f), y0 + dy * (c + 0.92f), z + rise});
    }
  }
}

void MakeLaptop(ObjectMaker& m) {
  const float s = m.PickScale(), w = 0.32f * s, d = 0.22f * s, t = 0.015f;
  m.Main(m.Metal({"grey", "grey", "black", "white", "blue", "red"}));
  m.Part("base");
  m.Box({-d / 2, -w / 2, 0}, {d / 2, w / 2, t}, 0.005f);
  const Look body = m.Matt(m.model.attributes.color, "metal");
  // The keys lie nearer to the screen; row 0 with the space bar is the nearest to the user at +x.
  m.Use("black");
  Keys(m, -d * 0.4f, d * 0.12f, -w * 0.44f, w * 0.44f, t, 0.0018f);
  m.Part("touchpad");
  m.Use("grey");
  m.Box({d * 0.18f, -w * 0.17f, t - 0.001f}, {d * 0.44f, w * 0.17f, t + 0.0006f});
  const float open = m.Uniform(1.75f, 2.0f);
  Eigen::Affine3f lid = Eigen::Affine3f::Identity();
  lid.translate(V(-d / 2 + 0.006f, 0, t));
  lid.rotate(Eigen::AngleAxisf(-(open - kPi / 2), V::UnitY()));
  m.Place(lid);
  m.Part("lid");
  m.Use(body);
  m.Box({-0.007f, -w / 2, 0}, {0, w / 2, d * 0.98f}, 0.003f);
  lid.translate(V(0.0003f, 0, 0.012f));
  m.Place(lid);
  Screen(m, w * 0.94f, d * 0.86f, m.Chance(0.75f));
  m.PlaceAtOrigin();
}

void MakeMonitor(ObjectMaker& m) {
  const float s = m.PickScale(), w = m.Uniform(0.5f, 0.62f) * s, h = w * 0.58f, lift = 0.12f;
  m.Main(m.Plastic({"black", "black", "grey", "white"}));
  m.Part("stand");
  m.Box({-0.09f, -0.12f, 0}, {0.09f, 0.12f, 0.012f}, 0.004f);
  m.Box({-0.045f, -0.03f, 0.01f}, {-0.025f, 0.03f, lift + h * 0.5f}, 0.004f);
  m.Part("frame");
  m.Box({-0.028f, -w / 2, lift}, {0.0f, w / 2, lift + h}, 0.006f);
  m.Place(V(0.0005f, 0, lift + 0.02f));
  Screen(m, w - 0.025f, h - 0.035f, m.Chance(0.7f));
  m.PlaceAtOrigin();
}

void MakeTelevision(ObjectMaker& m) {
  const float s = m.PickScale(), w = m.Uniform(0.85f, 1.1f) * s, h = w * 0.57f;
  m.Main(m.Plastic({"black", "grey"}));
  m.Part("stand");
  for (const float side : {-1.0f, 1.0f})
    m.Box({-0.1f, side * w * 0.3f - 0.015f, 0}, {0.1f, side * w * 0.3f + 0.015f, 0.05f}, 0.006f);
  m.Part("frame");
  m.Box({-0.035f, -w / 2, 0.045f}, {0, w / 2, 0.045f + h}, 0.008f);
  m.Place(V(0.0005f, 0, 0.06f));
  Screen(m, w - 0.03f, h - 0.03f, m.Chance(0.4f));
  m.PlaceAtOrigin();
}

void MakeKeyboard(ObjectMaker& m) {
  const float s = m.PickScale(), w = 0.42f * s, d = 0.14f;
  const Look look = m.Plastic({"black", "white", "grey", "pink"});
  m.Main(look);
  m.Part("body");
  m.Box({-d / 2, -w / 2, 0}, {d / 2, w / 2, 0.018f}, 0.006f);
  m.Use(look.color == "black" ? "grey" : look.color == "white" ? "grey" : "white");
  Keys(m, -d * 0.42f, d * 0.42f, -w * 0.47f, w * 0.47f, 0.018f, 0.006f);
}

void MakeMouse(ObjectMaker& m) {
  const float s = m.PickScale();
  m.Main(m.Plastic({"black", "white", "grey", "red", "blue", "pink"}));
  m.Part("body");
  m.Ellipsoid({0, 0, 0.012f}, {0.056f * s, 0.031f * s, 0.024f}, 2.4f, 14, 24);
  m.Part("wheel");
  m.Use("grey");
  m.Ellipsoid({-0.03f * s, 0, 0.031f}, {0.009f, 0.004f, 0.007f}, 2, 8, 10);
}

void MakePhone(ObjectMaker& m) {
  const float s = m.PickScale();
  m.Main(m.Plastic({"black", "white", "grey", "blue", "red", "pink", "green"}));
  m.Part("body");
  m.Box({-0.074f * s, -0.036f * s, 0}, {0.074f * s, 0.036f * s, 0.009f}, 0.004f);
  Eigen::Affine3f up = Eigen::Affine3f::Identity();
  up.translate(V(0.069f * s, 0, 0.009f));
  up.rotate(Eigen::AngleAxisf(-kPi / 2, V::UnitY()));
  m.Place(up);
  Screen(m, 0.064f * s, 0.138f * s, m.Chance(0.5f));
  m.PlaceAtOrigin();
}

void MakeSpeaker(ObjectMaker& m) {
  const float s = m.PickScale(), w = m.Uniform(0.14f, 0.18f) * s, h = m.Uniform(0.22f, 0.32f) * s;
  m.Main(m.Chance(0.5f) ? m.Wood({"brown", "black", "white"})
                        : m.Plastic({"black", "white", "grey", "red"}));
  m.Part("body");
  m.Box({-0.09f, -w / 2, 0}, {0.09f, w / 2, h}, 0.008f);
  m.Part("membrane");
  Eigen::Affine3f front = Eigen::Affine3f::Identity();
  front.translate(V(0.088f, 0, 0));
  front.rotate(Eigen::AngleAxisf(kPi / 2, V::UnitY()));  // z of the lathe looks along +x
  for (const bool woofer : {true, false}) {
    const float r = (woofer ? 0.4f : 0.2f) * w, z = woofer ? h * 0.35f : h * 0.78f;
    Eigen::Affine3f at = Eigen::Translation3f(0, 0, z) * front;
    m.Place(at);
    m.Use("grey");
    m.Lathe({{0, 0}, {r * 1.12f, 0}, {r * 1.12f, 0.006f}, {r, 0.008f}, {r, 0.003f}, {0, 0.003f}},
            28);
    m.Use("black");
    m.Lathe(
        {{0, 0.0005f}, {r * 0.98f, 0.0005f}, {r * 0.9f, 0.006f}, {r * 0.3f, 0.0035f}, {0, 0.009f}},
        28, 0.9f);
  }
  m.PlaceAtOrigin();
}

void MakeCamera(ObjectMaker& m) {
  const float s = m.PickScale();
  m.Main(m.Plastic({"black", "black", "grey", "brown", "white"}));
  m.Part("body");
  m.Box({-0.03f * s, -0.065f * s, 0}, {0.03f * s, 0.065f * s, 0.085f * s}, 0.01f * s);
  m.Box({-0.025f * s, -0.022f * s, 0.08f * s}, {0.025f * s, 0.022f * s, 0.105f * s}, 0.006f * s);
  m.Part("lens");
  m.Use("grey");
  m.Rod({0.02f * s, 0, 0.043f * s}, {0.06f * s, 0, 0.043f * s}, 0.034f * s, 0.032f * s, 28);
  m.Use("black");
  m.Rod({0.05f * s, 0, 0.043f * s}, {0.078f * s, 0, 0.043f * s}, 0.031f * s, 0.029f * s, 28);
  Look glass = m.Glass({"blue"});
  m.Use(glass);
  m.Ellipsoid({0.077f * s, 0, 0.043f * s}, {0.004f, 0.024f * s, 0.024f * s}, 2, 10, 20);
  m.Part("button");
  m.Use("red");
  m.Cylinder({0, -0.045f * s, 0.083f * s}, 0.009f * s, 0.007f * s, 14);
}

void MakeHeadphones(ObjectMaker& m) {
  const float s = m.PickScale(), r = 0.085f * s;
  m.Main(m.Plastic({"black", "white", "red", "blue", "grey", "pink"}));
  // Lying on their back: the band in the plane of the table.
  std::vector<V> band;
  for (int k = 0; k <= 18; ++k) {
    const float a = kPi * k / 18;
    band.push_back({-r * 1.1f * std::sin(a), r * std::cos(a), 0.035f});
  }
  m.Part("band");
  m.Tube(band, 0.008f, false, 10);
  for (const float side : {-1.0f, 1.0f}) {
    m.Part("ear cup");
    m.Rod({0.02f, side * (r - 0.02f), 0.036f}, {0.02f, side * (r + 0.012f), 0.036f}, 0.034f, 0.03f,
          24);
    m.Part("cushion");
    m.Use("black");
    m.Ellipsoid({0.02f, side * (r - 0.026f), 0.036f}, {0.036f, 0.012f, 0.036f}, 2, 10, 20);
    m.Use(m.Matt(m.model.attributes.color, "plastic"));
  }
}

void MakeMicrowave(ObjectMaker& m) {
  const float s = m.PickScale(), w = 0.46f * s, d = 0.34f, h = 0.27f * s;
  m.Main(m.Metal({"grey", "white", "black"}));
  m.Part("body");
  m.Box({-d / 2, -w / 2, 0.012f}, {d / 2, w / 2, h}, 0.008f);
  m.Part("door");
  m.Use(m.model.attributes.color == "black" ? "grey" : "black");
  m.Box({d / 2 - 0.002f, -w * 0.46f, 0.035f}, {d / 2 + 0.004f, w * 0.2f, h - 0.025f}, 0.002f);
  m.Part("handle");
  m.Use(m.Metal({"grey"}));
  m.Rod({d / 2 + 0.025f, w * 0.24f, 0.05f}, {d / 2 + 0.025f, w * 0.24f, h - 0.04f}, 0.007f, 0.007f);
  m.Part("button");
  m.Use("white");
  for (int k = 0; k < 4; ++k)
    m.Box({d / 2 - 0.001f, w * 0.31f, 0.05f + 0.045f * k},
          {d / 2 + 0.004f, w * 0.44f, 0.08f + 0.045f * k}, 0.001f);
  m.Support(-d / 2 + 0.03f, -w / 2 + 0.03f, d / 2 - 0.05f, w / 2 - 0.03f, h, 0.4f);
}

void MakeToaster(ObjectMaker& m) {
  const float s = m.PickScale(), x = 0.085f * s, y = 0.14f * s, h = 0.18f * s;
  m.Main(m.Metal({"grey", "red", "white", "black", "turquoise"}));
  m.Part("body");
  m.Box({-x, -y, 0.01f}, {x, y, h}, 0.035f);
  m.Part("slot");
  m.Use("black");
  for (const float side : {-1.0f, 1.0f})
    m.Box({side * x * 0.4f - 0.012f, -y * 0.7f, h - 0.01f},
          {side * x * 0.4f + 0.012f, y * 0.7f, h + 0.0015f});
  m.Part("lever");
  m.Box({-0.012f, y - 0.005f, h * 0.55f}, {0.012f, y + 0.025f, h * 0.63f}, 0.004f);
  m.Part("foot");
  m.Box({-x + 0.02f, -y + 0.02f, 0}, {x - 0.02f, y - 0.02f, 0.014f});
}

void MakeRefrigerator(ObjectMaker& m) {
  const float s = m.PickScale(), w = m.Uniform(0.58f, 0.66f), d = 0.62f, h = 1.6f * s,
              split = h * m.Uniform(0.58f, 0.68f);
  m.Main(m.Metal({"white", "white", "grey", "red", "turquoise"}));
  const float x = d / 2;
  m.Part("body");
  m.Box({-x, -w / 2, 0.02f}, {x - 0.05f, w / 2, h}, 0.01f);
  m.Part("door");
  m.Box({x - 0.05f, -w / 2, 0.05f}, {x, w / 2, split - 0.005f}, 0.015f);
  m.Box({x - 0.05f, -w / 2, split + 0.005f}, {x, w / 2, h}, 0.015f);
  m.Part("handle");
  m.Use(m.Metal({"grey"}));
  m.Rod({x + 0.03f, w / 2 - 0.06f, split - 0.45f}, {x + 0.03f, w / 2 - 0.06f, split - 0.06f},
        0.011f, 0.011f);
  m.Rod({x + 0.03f, w / 2 - 0.06f, split + 0.06f},
        {x + 0.03f, w / 2 - 0.06f, std::min(h - 0.05f, split + 0.35f)}, 0.011f, 0.011f);
  m.Support(-x + 0.03f, -w / 2 + 0.03f, x - 0.08f, w / 2 - 0.03f, h, 0.35f);
}

void MakeStove(ObjectMaker& m) {
  m.PickScale();
  const float w = 0.6f, d = 0.6f, h = 0.88f, x = d / 2;
  m.Main(m.Metal({"white", "grey", "black"}));
  m.Part("body");
  m.Box({-x, -w / 2, 0}, {x - 0.02f, w / 2, h}, 0.006f);
  m.Part("hob");
  m.Use("black");
  m.Box({-x + 0.01f, -w / 2 + 0.01f, h - 0.003f}, {x - 0.03f, w / 2 - 0.01f, h + 0.006f}, 0.002f);
  m.Part("burner");
  m.Use("grey");
  for (const float sx : {-1.0f, 1.0f}) {
    for (const float sy : {-1.0f, 1.0f})
      m.Cylinder({sx * 0.14f - 0.01f, sy * 0.14f, h + 0.004f}, sx * sy > 0 ? 0.09f : 0.075f,
                 0.0035f, 32);
  }
  m.Part("door");
  m.Use("black");
  m.Box({x - 0.025f, -w / 2 + 0.03f, 0.14f}, {x, w / 2 - 0.03f, h - 0.2f}, 0.008f);
  m.Part("handle");
  m.Use(m.Metal({"grey"}));
  m.Rod({x + 0.03f, -w / 2 + 0.06f, h - 0.24f}, {x + 0.03f, w / 2 - 0.06f, h - 0.24f}, 0.01f,
        0.01f);
  m.Part("knob");
  for (int k = 0; k < 5; ++k)
    m.Rod({x - 0.03f, -0.2f + 0.1f * k, h - 0.09f}, {x + 0.012f, -0.2f + 0.1f * k, h - 0.09f},
          0.02f, 0.017f, 16);
  m.Support(-0.22f, -0.22f, 0.2f, 0.22f, h + 0.0075f, 0.7f);
}

// A run of kitchen cupboards with a worktop, a sink in it.
void MakeCounter(ObjectMaker& m) {
  m.PickScale();
  const float w = m.Uniform(1.2f, 1.8f), d = 0.6f, h = 0.88f, x = d / 2, y = w / 2;
  const Look front = m.Wood({"white", "white", "brown", "beige", "green", "blue", "grey"});
  m.Main(front);
  m.Part("body");
  m.Box({-x, -y, 0.1f}, {x - 0.04f, y, h - 0.04f});
  m.Use("black");
  m.Box({-x, -y + 0.01f, 0}, {x - 0.09f, y - 0.01f, 0.101f});
  const int columns = static_cast<int>(w / 0.42f);
  for (int c = 0; c < columns; ++c) {
    const float y0 = -y + w * c / columns + 0.004f, y1 = -y + w * (c + 1) / columns - 0.004f;
    m.Part("door");
    m.Use(front);
    m.Box({x - 0.041f, y0, 0.11f}, {x - 0.02f, y1, h - 0.05f}, 0.004f);
    m.Part("handle");
    m.Use(m.Metal({"grey"}));
    m.Rod({x - 0.005f, (y0 + y1) / 2 - 0.06f, h - 0.1f},
          {x - 0.005f, (y0 + y1) / 2 + 0.06f, h - 0.1f}, 0.006f, 0.006f);
  }
  m.Part("top");
  Look top = m.Matt(m.Chance(0.5f) ? "grey" : "beige", "stone");
  top.surface.pattern = Pattern::kMarble;
  top.surface.second_color = 0.6f * top.surface.color;
  top.surface.pattern_scale = 3;
  top.surface.roughness = 0.3f;
  m.Use(top);
  // The sink is a hole that four strips of worktop leave.
  const float sink = y - 0.32f, sx = 0.18f, sy = 0.22f, low = h - 0.038f;
  m.Box({-x, -y, low}, {x, sink - sy, h});
  m.Box({-x, sink + sy, low}, {x, y, h});
  m.Box({-x, sink - sy, low}, {-sx, sink + sy, h});
  m.Box({sx, sink - sy, low}, {x, sink + sy, h});
  m.Part("sink");
  m.Use(m.Metal({"grey"}));
  m.Box({-sx, sink - sy, h - 0.04f}, {sx, sink + sy, h - 0.03f});
  m.Part("tap");
  m.Tube({{-0.23f, sink, h - 0.01f},
          {-0.23f, sink, h + 0.2f},
          {-0.2f, sink, h + 0.26f},
          {-0.13f, sink, h + 0.27f},
          {-0.08f, sink, h + 0.22f}},
         0.012f);
  m.Support(-x + 0.03f, -y + 0.03f, x - 0.03f, sink - sy - 0.03f, h, 0.9f);
}

void MakeRadiator(ObjectMaker& m) {
  const float w = m.Uniform(0.6f, 1.1f) * m.PickScale();
  m.Main(m.Metal({"white", "white", "grey", "black"}));
  const int ribs = static_cast<int>(w / 0.075f);
  m.Part("body");
  for (int k = 0; k < ribs; ++k) {
    const float y = -w / 2 + w * (k + 0.5f) / ribs;
    m.Box({-0.045f, y - 0.027f, 0.1f}, {0.045f, y + 0.027f, 0.62f}, 0.025f);
  }
  m.Part("pipe");
  for (const float z : {0.15f, 0.57f})
    m.Rod({0, -w / 2 - 0.01f, z}, {0, w / 2 + 0.01f, z}, 0.018f, 0.018f);
  for (const float side : {-1.0f, 1.0f})
    m.Rod({0, side * (w / 2 - 0.04f), 0}, {0, side * (w / 2 - 0.04f), 0.2f}, 0.012f, 0.012f);
}

}  // namespace

std::vector<ObjectKind> ElectronicsKinds() {
  using enum Stand;
  const std::string e = "electronics";
  return {
      {"laptop",
       {"notebook computer", "computer"},
       e,
       {kTable},
       {"to work with", "to type on"},
       {"base", "key", "touchpad", "lid", "screen"},
       MakeLaptop},
      {"monitor",
       {"computer screen", "display"},
       e,
       {kTable},
       {"to look at"},
       {"stand", "frame", "screen"},
       MakeMonitor},
      {"television",
       {"TV", "TV set"},
       e,
       {kTable},
       {"to watch"},
       {"stand", "frame", "screen"},
       MakeTelevision},
      {"keyboard",
       {"computer keyboard"},
       e,
       {kTable},
       {"to type on"},
       {"body", "key"},
       MakeKeyboard},
      {"mouse", {"computer mouse"}, e, {kTable}, {"to point with"}, {"body", "wheel"}, MakeMouse},
      {"phone",
       {"mobile phone", "smartphone", "cell phone"},
       e,
       {kTable, kShelf},
       {"to call with"},
       {"body", "screen"},
       MakePhone},
      {"speaker",
       {"loudspeaker"},
       e,
       {kTable, kShelf},
       {"to hear music from"},
       {"body", "membrane"},
       MakeSpeaker},
      {"camera",
       {"photo camera"},
       e,
       {kTable, kShelf},
       {"to take pictures with"},
       {"body", "lens", "button"},
       MakeCamera},
      {"headphones",
       {"earphones", "headset"},
       e,
       {kTable, kShelf},
       {"to hear music from"},
       {"band", "ear cup", "cushion"},
       MakeHeadphones},
      {"microwave",
       {"microwave oven"},
       e,
       {kTable},
       {"to heat food in", "to open"},
       {"body", "door", "handle", "button"},
       MakeMicrowave},
      {"toaster",
       {"bread toaster"},
       e,
       {kTable},
       {"to toast bread in"},
       {"body", "slot", "lever", "foot"},
       MakeToaster},
  };
}

std::vector<ObjectKind> FixtureKinds() {
  using enum Stand;
  const std::string f = "fixture";
  return {
      {"refrigerator",
       {"fridge"},
       f,
       {kFloor},
       {"to keep food cold in", "to open"},
       {"body", "door", "handle"},
       MakeRefrigerator},
      {"stove",
       {"cooker", "oven"},
       f,
       {kFloor},
       {"to cook on", "to open"},
       {"body", "hob", "burner", "door", "handle", "knob"},
       MakeStove},
      {"kitchen counter",
       {"worktop", "sink unit"},
       f,
       {kFloor},
       {"to put things on", "to wash in"},
       {"body", "door", "handle", "top", "sink", "tap"},
       MakeCounter},
      {"radiator", {"heater"}, f, {kFloor}, {"to warm the room"}, {"body", "pipe"}, MakeRadiator},
  };
}

}  // namespace athanor
