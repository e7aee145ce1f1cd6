#include <algorithm>

#include "athanor/simulation/color_names.h"
#include "athanor/simulation/rooms/room_builder.h"
#include "athanor/simulation/rooms/shape_builder.h"

namespace athanor {
namespace {

using Eigen::Vector2f;
using Eigen::Vector3f;
using Pattern = SurfaceMaterial::Pattern;

}  // namespace

void RoomBuilder::BuildShell(float length_m, float width_m, float height_m) {
  room.size_m = {length_m, width_m, height_m};
  // Windows in one or two walls, then the door in another.
  const int first = Pick(4), second = (first + 1 + Pick(3)) % 4;
  for (const int wall : {first, second}) {
    if (wall == second && Chance(0.5)) break;
    const float length = Wall(wall).length;
    const int count = length > 4.2f && Chance(0.6) ? 2 : 1;
    for (int k = 0; k < count; ++k) {
      const float center = length * (k + 0.5f) / count + Uniform(-0.15f, 0.15f);
      windows_.push_back({wall, center, Uniform(1.0f, 1.5f), Uniform(0.8f, 1.0f),
                          std::min(height_m - 0.25f, Uniform(2.05f, 2.2f))});
    }
  }
  BuildWalls();
  BuildOpenings();
}

void RoomBuilder::BuildWalls() {
  const std::string color = [&] {
    const char* colors[] = {"white", "white", "beige", "beige", "yellow",
                            "blue",  "green", "grey",  "pink"};
    return std::string(colors[Pick(9)]);
  }();
  SurfaceMaterial paint;
  paint.color = 0.55f * RandomColor(color, random) + 0.45f * LinearFromSrgb(238, 234, 226);
  paint.second_color = 0.93f * paint.color;
  paint.pattern = Pattern::kNoise;
  paint.pattern_scale = 2.5f;
  paint.roughness = 0.95f;
  SurfaceMaterial accent = paint;
  const int accent_wall = Chance(0.55) ? Pick(4) : -1;
  std::string accent_pattern;
  std::string accent_material = "plaster";
  const int style = Pick(4);
  if (style == 0) {
    accent.color = LinearFromSrgb(165, 85, 65);
    accent.second_color = LinearFromSrgb(190, 180, 170);
    accent.pattern = Pattern::kBricks;
    accent.pattern_scale = 4;
    accent_material = "brick";
  } else if (style == 1) {
    accent.second_color = RandomColor(color, random);
    accent.pattern = Pattern::kStripes;
    accent.pattern_scale = Uniform(4, 9);
    accent_pattern = "striped";
  } else {
    accent.color = RandomColor(ColorNames()[Pick(8)], random);
    accent.second_color = 0.92f * accent.color;
  }
  const bool tiled = room.type == "kitchen";
  if (tiled) {
    accent = paint;
    accent.color = RandomColor(Chance(0.6) ? "white" : "turquoise", random);
    accent.second_color = LinearFromSrgb(150, 150, 150);
    accent.pattern = Pattern::kTiles;
    accent.pattern_scale = 7;
    accent.roughness = 0.25f;
    accent_pattern = "tiled";
    accent_material = "ceramic";
  }
  SurfaceMaterial board;
  board.color = LinearFromSrgb(232, 230, 225);
  board.roughness = 0.5f;

  const float t = 0.18f, h = room.size_m.z(), skirting = 0.015f;
  for (int wall = 0; wall < 4; ++wall) {
    const WallFrame frame = Wall(wall);
    ShapeBuilder shapes({"surface", "baseboard"});
    // Wall frame: x along, y outwards.
    Eigen::Affine3f place = Eigen::Affine3f::Identity();
    place.linear().col(0) << frame.along, 0;
    place.linear().col(1) << -frame.inward, 0;
    place.translation() << frame.start, 0;
    const bool mirrored = place.linear().determinant() < 0;
    if (mirrored) {  // keep the faces outwards: run the other way along the wall
      place.linear().col(0) *= -1;
      place.translation().head<2>() += frame.length * frame.along;
    }
    shapes.Place(place);
    const bool special = wall == accent_wall;
    shapes.Material(special ? accent : paint);
    shapes.Part("surface");
    std::vector<Opening> holes;
    for (const Opening& window : windows_) {
      if (window.wall == wall) holes.push_back(window);
    }
    for (Opening& hole : holes) hole.center = mirrored ? frame.length - hole.center : hole.center;
    std::sort(holes.begin(), holes.end(),
              [](const Opening& a, const Opening& b) { return a.center < b.center; });
    const float end = wall % 2 == 0 ? 0 : t;  // two walls cover the corners
    float from = -end;
    for (const Opening& hole : holes) {
      const float low = hole.center - hole.width / 2, high = hole.center + hole.width / 2;
      shapes.Box({from, 0, 0}, {low, t, h});
      shapes.Box({low, 0, 0}, {high, t, hole.low});
      shapes.Box({low, 0, hole.high}, {high, t, h});
      from = high;
    }
    shapes.Box({from, 0, 0}, {frame.length + end, t, h});
    shapes.Part("baseboard");
    shapes.Material(board);
    shapes.Box({skirting, -skirting, 0}, {frame.length - skirting, 0.001f, 0.085f}, 0.005f);
    const SurfaceMaterial& surface = special ? accent : paint;
    AddStructure("wall", shapes, ColorName(surface.color), special ? accent_material : "plaster",
                 special ? accent_pattern : "");
  }

  const float x = room.size_m.x() / 2 + t, y = room.size_m.y() / 2 + t;
  SurfaceMaterial ground;
  std::string ground_material = "wooden", ground_pattern;
  const int floor_style = room.type == "kitchen" ? 1 : Pick(4);
  if (floor_style == 1) {
    ground.color = RandomColor(Chance(0.5) ? "grey" : "beige", random);
    ground.second_color = 0.55f * ground.color;
    ground.pattern = Chance(0.6) ? Pattern::kTiles : Pattern::kChecks;
    ground.pattern_scale = Uniform(2.2f, 3.5f);
    ground.roughness = 0.3f;
    ground_material = "ceramic";
    ground_pattern = ground.pattern == Pattern::kTiles ? "tiled" : "checked";
  } else if (floor_style == 2) {
    ground.color = RandomColor(Chance(0.5) ? "grey" : Chance(0.5) ? "blue" : "beige", random);
    ground.second_color = 0.8f * ground.color;
    ground.pattern = Pattern::kFabric;
    ground.pattern_scale = 60;
    ground.roughness = 1;
    ground_material = "carpet";
  } else {
    ground.color = RandomColor(Chance(0.6) ? "brown" : "beige", random);
    ground.second_color = Uniform(0.6f, 0.75f) * ground.color;
    ground.pattern = Pattern::kWood;
    ground.pattern_scale = Uniform(6, 9);
    ground.roughness = 0.45f;
  }
  ShapeBuilder floor({"surface"});
  floor.Material(ground);
  floor.Box({-x, -y, -0.1f}, {x, y, 0});
  AddStructure("floor", floor, ColorName(ground.color), ground_material, ground_pattern);
  ShapeBuilder ceiling({"surface"});
  SurfaceMaterial white;
  white.color = LinearFromSrgb(240, 240, 236);
  ceiling.Material(white);
  ceiling.Box({-x, -y, h}, {x, y, h + 0.1f});
  AddStructure("ceiling", ceiling, ColorName(white.color), "plaster", "");
}

void RoomBuilder::BuildOpenings() {
  const auto frame_of = [&](int wall, float s) {
    const WallFrame frame = Wall(wall);
    // x into the room, y along the wall to the left of one who looks into the room.
    const Vector2f at = frame.start + s * frame.along;
    Eigen::Affine3f place = Eigen::Affine3f::Identity();
    place.translate(Vector3f(at.x(), at.y(), 0));
    place.rotate(Eigen::AngleAxisf(frame.yaw, Vector3f::UnitZ()));
    return place;
  };
  const std::string paint_name = Chance(0.6) ? "white" : "brown";
  for (const Opening& window : windows_) {
    ShapeBuilder shapes({"frame", "sill"});
    shapes.Place(frame_of(window.wall, window.center));
    SurfaceMaterial paint;
    paint.color = RandomColor(paint_name, random);
    paint.roughness = 0.4f;
    shapes.Material(paint);
    shapes.Part("frame");
    const float w = window.width / 2, a = window.low, b = window.high, t = 0.05f;
    shapes.Box({-0.12f, -w, a}, {-0.06f, w, a + t});
    shapes.Box({-0.12f, -w, b - t}, {-0.06f, w, b});
    shapes.Box({-0.12f, -w, a + t}, {-0.06f, -w + t, b - t});
    shapes.Box({-0.12f, w - t, a + t}, {-0.06f, w, b - t});
    shapes.Box({-0.11f, -0.025f, a + t}, {-0.07f, 0.025f, b - t});
    if (Chance(0.5))
      shapes.Box({-0.105f, -w + t, (a + b) / 2 - 0.015f}, {-0.075f, w - t, (a + b) / 2 + 0.015f});
    shapes.Part("sill");
    shapes.Box({-0.06f, -w - 0.0f, a - 0.0f}, {0.05f, w, a + 0.025f}, 0.006f);
    AddStructure("window", shapes, ColorName(paint.color), "wooden", "");
  }
  // The door: where no window is.
  int wall = Pick(4);
  for (int k = 0; k < 4; ++k, wall = (wall + 1) % 4) {
    if (std::none_of(windows_.begin(), windows_.end(),
                     [&](const Opening& window) { return window.wall == wall; })) {
      break;
    }
  }
  const float length = Wall(wall).length, s = Chance(0.5) ? 0.75f : length - 0.75f;
  const float w = 0.42f, h = 2.02f;
  ShapeBuilder shapes({"leaf", "frame", "handle"});
  shapes.Place(frame_of(wall, s));
  SurfaceMaterial wood;
  wood.color = RandomColor(Chance(0.5) ? "white" : "brown", random);
  if (ColorName(wood.color) == "brown") wood.pattern = Pattern::kWood;
  wood.second_color = 0.75f * wood.color;
  wood.pattern_scale = 6;
  wood.roughness = 0.5f;
  shapes.Material(wood);
  shapes.Part("leaf");
  shapes.Box({0.001f, -w, 0.005f}, {0.03f, w, h}, 0.003f);
  for (const float z : {0.25f, 1.15f})
    shapes.Box({0.028f, -w + 0.12f, z}, {0.036f, w - 0.12f, z + 0.7f}, 0.004f);
  shapes.Part("frame");
  shapes.Box({0.0005f, -w - 0.08f, 0}, {0.045f, -w, h + 0.08f}, 0.004f);
  shapes.Box({0.0005f, w, 0}, {0.045f, w + 0.08f, h + 0.08f}, 0.004f);
  shapes.Box({0.0005f, -w, h}, {0.045f, w, h + 0.08f}, 0.004f);
  SurfaceMaterial steel;
  steel.color = LinearFromSrgb(150, 150, 152);
  steel.roughness = 0.3f;
  steel.metallic = 0.7f;
  shapes.Material(steel);
  shapes.Part("handle");
  shapes.Rod({0.03f, w - 0.08f, 1.02f}, {0.075f, w - 0.08f, 1.02f}, 0.01f, 0.01f);
  shapes.Rod({0.072f, w - 0.07f, 1.02f}, {0.072f, w - 0.2f, 1.02f}, 0.01f, 0.009f);
  AddStructure("door", shapes, ColorName(wood.color), "wooden", "");
  RoomObject clear = ClearBox({0, -w - 0.1f, 0}, {0.95f, w + 0.1f, 2.05f});
  clear.room_from_object = PoseInRoom(frame_of(wall, s).translation().x(),
                                      frame_of(wall, s).translation().y(), 0, Wall(wall).yaw);
  clear_.push_back(clear);

  // Curtains beside, radiators below; the wall before a window stays free of tall furniture.
  const bool curtains = room.type != "kitchen" && room.type != "office" && Chance(0.75);
  for (const Opening& window : windows_) {
    if (curtains) {
      const ObjectModel curtain = New("curtain");
      for (const float side : {-1.0f, 1.0f}) {
        const float at = window.center + side * (window.width / 2 + curtain.size_m.y() / 2 - 0.1f);
        ObjectModel model = curtain;
        model.seed = next_seed_ + (side > 0);
        const Vector2f p = Wall(window.wall).start + at * Wall(window.wall).along +
                           (0.055f + model.size_m.x() / 2) * Wall(window.wall).inward;
        RoomObject candidate;
        candidate.kind = model.kind;
        candidate.model = std::move(model);
        candidate.room_from_object = PoseInRoom(p.x(), p.y(), 0.1f, Wall(window.wall).yaw);
        if (Fits(candidate, false)) Add(std::move(candidate), window.wall);
      }
    }
    if (Chance(0.6)) {
      AgainstWall("radiator", window.wall, 0, window.center);
    }
    RoomObject light = ClearBox({0, -window.width / 2, window.low}, {0.6f, window.width / 2, 2.3f});
    const Vector3f at = frame_of(window.wall, window.center).translation();
    light.room_from_object = PoseInRoom(at.x(), at.y(), 0, Wall(window.wall).yaw);
    clear_.push_back(light);
  }
}

}  // namespace athanor
