#include "athanor/simulation/rooms/room_builder.h"

#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/simulation/rooms/color_names.h"
#include "athanor/simulation/rooms/shape_builder.h"

namespace athanor {
namespace {

using Eigen::Vector2f;
using Eigen::Vector3f;
using Pattern = SurfaceMaterial::Pattern;

constexpr float kPi = 3.14159265f;
constexpr float kGap_m = 0.0005f;        // between a thing and what carries it
constexpr float kWallGap_m = 0.022f;     // furniture stands off the wall: the baseboard is there
constexpr float kTolerance_m = 0.0002f;  // of overlaps, for rounding
constexpr int kTries = 24;

Rigid3 Pose(float x, float y, float z, float yaw) {
  return {Eigen::Quaterniond(Eigen::AngleAxisd(yaw, Eigen::Vector3d::UnitZ())), {x, y, z}};
}

RoomObject ClearBox(const Vector3f& low, const Vector3f& high) {
  RoomObject box;
  box.model.colliders.push_back({low, high});
  return box;
}

}  // namespace

RoomBuilder::RoomBuilder(const RoomOptions& options, std::string type, uint64_t seed)
    : random(MixBits(seed) ^ 0x6675726eull), clutter_(options.clutter), next_seed_(MixBits(~seed)) {
  room.type = std::move(type);
  room.seed = seed;
}

int RoomBuilder::Count(int few, int many) {
  const double spread = few + clutter_ * (many - few);
  return static_cast<int>(std::floor(spread + random.Uniform()));
}

ObjectModel RoomBuilder::New(std::string_view kind) {
  next_seed_ = MixBits(next_seed_);
  return MakeObject(FindObjectKind(kind), next_seed_);
}

float RoomBuilder::yaw(int index) const {
  const Eigen::Matrix3d turn = object(index).room_from_object.rotation.toRotationMatrix();
  return static_cast<float>(std::atan2(turn(1, 0), turn(0, 0)));
}

RoomBuilder::WallFrame RoomBuilder::Wall(int wall) const {
  const float x = room.size_m.x() / 2, y = room.size_m.y() / 2;
  switch (wall) {
    case 0:
      return {{-x, -y}, {0, 1}, {1, 0}, 2 * y, 0};
    case 1:
      return {{-x, -y}, {1, 0}, {0, 1}, 2 * x, kPi / 2};
    case 2:
      return {{x, -y}, {0, 1}, {-1, 0}, 2 * y, kPi};
    default:
      return {{-x, y}, {1, 0}, {0, -1}, 2 * x, -kPi / 2};
  }
}

int RoomBuilder::AddStructure(std::string_view kind, ShapeBuilder& shapes, const std::string& color,
                              const std::string& material, const std::string& pattern) {
  RoomObject object;
  const auto& kinds = RoomKinds();
  object.kind = static_cast<int>(std::find_if(kinds.begin(), kinds.end(),
                                              [&](const ObjectKind& k) { return k.name == kind; }) -
                                 kinds.begin());
  object.model.kind = object.kind;
  object.model.mesh = shapes.mesh();
  object.model.colliders = shapes.shape_boxes();
  Eigen::AlignedBox3f box;
  for (const Eigen::AlignedBox3f& shape : shapes.shape_boxes()) box.extend(shape);
  object.model.size_m = box.sizes();
  object.model.attributes = {color, material, pattern, "medium"};
  room.objects.push_back(std::move(object));
  return static_cast<int>(room.objects.size()) - 1;
}

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
  clear.room_from_object = Pose(frame_of(wall, s).translation().x(),
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
        candidate.room_from_object = Pose(p.x(), p.y(), 0.1f, Wall(window.wall).yaw);
        if (Fits(candidate, false)) Add(std::move(candidate), window.wall);
      }
    }
    if (Chance(0.6)) {
      AgainstWall("radiator", window.wall, 0, window.center);
    }
    RoomObject light = ClearBox({0, -window.width / 2, window.low}, {0.6f, window.width / 2, 2.3f});
    const Vector3f at = frame_of(window.wall, window.center).translation();
    light.room_from_object = Pose(at.x(), at.y(), 0, Wall(window.wall).yaw);
    clear_.push_back(light);
  }
}

bool RoomBuilder::Fits(const RoomObject& candidate, bool keeps_clear) const {
  const Box3 box = BoxOf(candidate);
  for (const Eigen::Vector3d& corner : box.Corners()) {
    if (std::abs(corner.x()) > room.size_m.x() / 2 - 0.001 ||
        std::abs(corner.y()) > room.size_m.y() / 2 - 0.001 || corner.z() < -0.001 ||
        corner.z() > room.size_m.z() + 0.001) {
      return false;
    }
  }
  for (size_t k = 0; k < room.objects.size(); ++k) {
    if (Interpenetrate(candidate, room.objects[k], kTolerance_m)) return false;
  }
  if (!keeps_clear) return true;
  return std::none_of(clear_.begin(), clear_.end(), [&](const RoomObject& clear) {
    return Interpenetrate(candidate, clear, kTolerance_m);
  });
}

int RoomBuilder::Add(RoomObject candidate, int resting_on) {
  candidate.resting_on = resting_on;
  candidate.reference = resting_on;
  candidate.relation = "on";
  room.objects.push_back(std::move(candidate));
  return static_cast<int>(room.objects.size()) - 1;
}

int RoomBuilder::At(ObjectModel model, float x, float y, float yaw_rad, float jitter_m, int tries) {
  RoomObject candidate;
  candidate.kind = model.kind;
  candidate.model = std::move(model);
  const int rug_kind = FindObjectKind("rug");
  for (int k = 0; k < tries; ++k) {
    const float at_x = x + (k == 0 ? 0 : Uniform(-jitter_m, jitter_m));
    const float at_y = y + (k == 0 ? 0 : Uniform(-jitter_m, jitter_m));
    candidate.room_from_object = Pose(at_x, at_y, kGap_m, yaw_rad);
    // What touches a rug stands on it.
    int carrier = floor();
    for (int r = 0; r < static_cast<int>(room.objects.size()); ++r) {
      if (room.objects[r].kind == rug_kind && Interpenetrate(candidate, room.objects[r], 0)) {
        candidate.room_from_object.translation.z() = room.objects[r].model.size_m.z() + 2 * kGap_m;
        carrier = r;
      }
    }
    if (Fits(candidate, candidate.kind != rug_kind)) return Add(std::move(candidate), carrier);
  }
  return -1;
}

int RoomBuilder::At(std::string_view kind, float x, float y, float yaw_rad) {
  return At(New(kind), x, y, yaw_rad, 0.08f, 8);
}

int RoomBuilder::AgainstWall(std::string_view kind, int wall, float free_m, float along,
                             bool reserve) {
  const ObjectModel model = New(kind);
  for (int k = 0; k < kTries; ++k) {
    const int on = wall >= 0 ? wall : Pick(4);
    const WallFrame frame = Wall(on);
    const float reach = model.size_m.y() / 2 + 0.03f;
    if (frame.length < 2 * reach) continue;
    const float s = along >= 0 ? along + (k == 0 ? 0 : Uniform(-0.4f, 0.4f))
                               : reach + (frame.length - 2 * reach) * random.Uniform();
    const Vector2f p = frame.start + s * frame.along +
                       (kWallGap_m + Uniform(0, 0.02f) + model.size_m.x() / 2) * frame.inward;
    // The floor before it must be free too, now and later.
    RoomObject clear = ClearBox({0, -model.size_m.y() / 2, 0.02f},
                                {model.size_m.x() / 2 + free_m, model.size_m.y() / 2, 0.3f});
    clear.room_from_object = Pose(p.x(), p.y(), 0, frame.yaw);
    bool free = true;
    for (size_t r = 5; r < room.objects.size() && free; ++r) {
      free = !Interpenetrate(clear, room.objects[r], kTolerance_m);
    }
    if (!free) continue;
    const int placed = At(model, p.x(), p.y(), frame.yaw, 0, 1);
    if (placed < 0) continue;
    if (free_m > 0 && reserve) {
      clear.model.colliders[0].min().x() = model.size_m.x() / 2 + 0.01f;
      clear_.push_back(clear);
    }
    return placed;
  }
  return -1;
}

int RoomBuilder::OnFloor(std::string_view kind) {
  const ObjectModel model = New(kind);
  for (int k = 0; k < kTries; ++k) {
    const float x = Uniform(-0.5f, 0.5f) * (room.size_m.x() - 0.3f),
                y = Uniform(-0.5f, 0.5f) * (room.size_m.y() - 0.3f);
    const int placed = At(model, x, y, Uniform(-kPi, kPi), 0, 1);
    if (placed >= 0) return placed;
  }
  return -1;
}

int RoomBuilder::OnWall(std::string_view kind, float z_m, int wall, float along) {
  RoomObject candidate;
  candidate.model = New(kind);
  candidate.kind = candidate.model.kind;
  const Vector3f size = candidate.model.size_m;
  for (int k = 0; k < kTries; ++k) {
    const int on = wall >= 0 ? wall : Pick(4);
    const WallFrame frame = Wall(on);
    const float reach = size.y() / 2 + 0.1f;
    if (frame.length < 2 * reach) continue;
    const float s = along >= 0 ? along : reach + (frame.length - 2 * reach) * random.Uniform();
    const Vector2f p = frame.start + s * frame.along + (0.001f + size.x() / 2) * frame.inward;
    candidate.room_from_object = Pose(p.x(), p.y(), z_m, frame.yaw);
    RoomObject padded = candidate;  // things on walls keep apart from what stands before them
    padded.model.colliders = {Eigen::AlignedBox3f(
        Vector3f(-size.x() / 2, -size.y() / 2 - 0.05f, -0.02f),
        Vector3f(size.x() / 2 + 0.04f, size.y() / 2 + 0.05f, size.z() + 0.02f))};
    bool over_window = false;
    for (const Opening& window : windows_) {
      over_window |= window.wall == on &&
                     std::abs(window.center - s) < window.width / 2 + size.y() / 2 + 0.05f;
    }
    if (over_window || !Fits(padded, true) || !Fits(candidate, true)) continue;
    return Add(candidate, on);
  }
  return -1;
}

int RoomBuilder::OnCeiling(std::string_view kind, float x, float y) {
  RoomObject candidate;
  candidate.model = New(kind);
  candidate.kind = candidate.model.kind;
  candidate.room_from_object =
      Pose(x, y, room.size_m.z() - candidate.model.size_m.z() - kGap_m, Uniform(-kPi, kPi));
  if (!Fits(candidate, false)) return -1;
  const int placed = Add(std::move(candidate), 5);
  room.objects[placed].relation = "hanging from";
  return placed;
}

int RoomBuilder::OnSupport(int carrier, const SupportSurface& support, ObjectModel model, float x,
                           float y, float yaw_rad) {
  if (model.size_m.z() + 0.004f > support.clearance_m) return -1;
  const float c = std::abs(std::cos(yaw_rad)), s = std::abs(std::sin(yaw_rad));
  const float reach_x = 0.5f * (model.size_m.x() * c + model.size_m.y() * s);
  const float reach_y = 0.5f * (model.size_m.x() * s + model.size_m.y() * c);
  constexpr float kEdge_m = 1e-4f;
  if (x - reach_x < support.low.x() - kEdge_m || x + reach_x > support.high.x() + kEdge_m ||
      y - reach_y < support.low.y() - kEdge_m || y + reach_y > support.high.y() + kEdge_m) {
    return -1;
  }
  RoomObject candidate;
  candidate.kind = model.kind;
  candidate.model = std::move(model);
  candidate.room_from_object =
      object(carrier).room_from_object * Pose(x, y, support.z_m + kGap_m, yaw_rad);
  if (!Fits(candidate, false)) return -1;
  const int placed = Add(std::move(candidate), carrier);
  if (support.inside) room.objects[placed].relation = "in";
  return placed;
}

int RoomBuilder::On(int carrier, std::string_view kind, float turn_rad) {
  if (carrier < 0 || object(carrier).model.supports.empty()) return -1;
  const SupportSurface support = object(carrier).model.supports.back();
  const ObjectModel model = New(kind);
  const Vector2f size = support.high - support.low;
  for (int k = 0; k < kTries; ++k) {
    const float x = support.low.x() + size.x() * random.Uniform();
    const float y = support.low.y() + size.y() * random.Uniform();
    const int placed = OnSupport(carrier, support, model, x, y, Uniform(-turn_rad, turn_rad));
    if (placed >= 0) return placed;
  }
  return -1;
}

int RoomBuilder::On(int carrier, std::string_view kind, float x, float y, float yaw_rad) {
  if (carrier < 0 || object(carrier).model.supports.empty()) return -1;
  const SupportSurface support = object(carrier).model.supports.back();
  const ObjectModel model = New(kind);
  for (int k = 0; k < 6; ++k) {
    const float spread = 0.02f * k;
    const int placed = OnSupport(carrier, support, model, x + Uniform(-spread, spread),
                                 y + Uniform(-spread, spread), yaw_rad);
    if (placed >= 0) return placed;
  }
  return -1;
}

void RoomBuilder::FillShelf(int shelf, const std::vector<std::string_view>& kinds,
                            double book_share) {
  if (shelf < 0) return;
  const std::vector<SupportSurface> supports = object(shelf).model.supports;
  for (const SupportSurface& support : supports) {
    float y = support.low.y() + 0.003f;
    const float width = support.high.y() - support.low.y();
    if (support.inside && Chance(book_share)) {
      const float until =
          support.low.y() + width * Uniform(0.35f, 0.5f + 0.5f * static_cast<float>(clutter_));
      while (y < until) {
        ObjectModel book = StoodUp(New("book"));
        const float half = book.size_m.y() / 2;
        const float x = support.high.x() - book.size_m.x() / 2 - Uniform(0.005f, 0.02f);
        const bool fits = OnSupport(shelf, support, std::move(book), x, y + half, 0) >= 0;
        y += fits ? 2 * half + Uniform(0.0008f, 0.003f) : 0.02f;
      }
    }
    const int things = support.inside ? Count(0, 3) : Count(0, 2);
    for (int k = 0; k < things && y < support.high.y() - 0.08f; ++k) {
      const ObjectModel model = New(kinds[Pick(static_cast<int>(kinds.size()))]);
      for (int attempt = 0; attempt < 6; ++attempt) {
        const float at = Uniform(y, support.high.y());
        if (OnSupport(shelf, support, model,
                      (support.low.x() + support.high.x()) / 2 + Uniform(-0.03f, 0.05f), at,
                      Uniform(-0.5f, 0.5f)) >= 0)
          break;
      }
    }
  }
}

std::vector<int> RoomBuilder::ChairsAt(int table, std::string_view kind, int count) {
  std::vector<int> chairs;
  if (table < 0) return chairs;
  const Vector3f size = object(table).model.size_m;
  const Rigid3 pose = object(table).room_from_object;
  struct Seat {
    float x, y, yaw;
  };
  std::vector<Seat> seats;
  const bool round = size.y() < 1.2f * size.x();
  if (round) {
    for (int k = 0; k < 4; ++k)
      seats.push_back({std::cos(kPi / 2 * k), std::sin(kPi / 2 * k), kPi / 2 * k + kPi});
  } else {
    for (const float side : {1.0f, -1.0f}) {
      for (const float y : {-0.24f, 0.24f})
        seats.push_back({side, y * size.y(), side > 0 ? kPi : 0});
    }
  }
  const ObjectModel first = New(kind);  // a set: all alike
  for (const Seat& seat : seats) {
    if (static_cast<int>(chairs.size()) >= count) break;
    for (const float pulled : {0.02f, 0.12f, 0.22f}) {
      ObjectModel chair = first;
      const float reach = size.x() / 2 + chair.size_m.x() / 2 - 0.2f + pulled + Uniform(0, 0.05f);
      const Eigen::Vector3d at = pose * (round ? Eigen::Vector3d(reach * seat.x, reach * seat.y, 0)
                                               : Eigen::Vector3d(reach * seat.x, seat.y, 0));
      const int placed =
          At(std::move(chair), static_cast<float>(at.x()), static_cast<float>(at.y()),
             yaw(table) + seat.yaw + Uniform(-0.12f, 0.12f), 0, 1);
      if (placed < 0) continue;
      chairs.push_back(placed);
      break;
    }
  }
  return chairs;
}

void RoomBuilder::FindRelations() {
  // What stands on the floor is better told by its neighbour.
  for (int k = 0; k < static_cast<int>(room.objects.size()); ++k) {
    RoomObject& self = room.objects[k];
    if (self.resting_on != floor() || self.kind == FindObjectKind("rug")) continue;
    const Box3 box = BoxOf(self);
    const Eigen::Vector3d center = box.frame_from_box.translation;
    double nearest = 0.45;
    for (int other = 6; other < static_cast<int>(room.objects.size()); ++other) {
      const RoomObject& neighbour = room.objects[other];
      if (other == k || neighbour.resting_on != floor()) continue;
      const Box3 around = BoxOf(neighbour);
      const Eigen::Vector3d local = around.frame_from_box.Inverse() * center;
      const Eigen::Vector3d outside = local.cwiseAbs() - 0.5 * around.size_m;
      const double gap = std::hypot(std::max(0.0, outside.x()), std::max(0.0, outside.y())) -
                         0.5 * std::min(box.size_m.x(), box.size_m.y());
      if (outside.x() < 0 && outside.y() < 0 && box.size_m.z() < 0.7 * around.size_m.z()) {
        self.relation = "under";
        self.reference = other;
        break;
      }
      // Told by what is larger.
      if (gap < nearest && neighbour.model.size_m.prod() > self.model.size_m.prod()) {
        nearest = gap;
        self.relation = "next to";
        self.reference = other;
      }
    }
  }
}

void RoomBuilder::MakeLight(const std::string& light) {
  const bool day = light == "day";
  room.light = light;
  room.lighting = day ? DayLighting(0, 0.6f, 0.2f) : IndoorLighting();
  Lighting& l = room.lighting;
  l.lamps.clear();
  if (!day) {
    l.zenith_color = {0.008f, 0.012f, 0.035f};
    l.horizon_color = {0.03f, 0.03f, 0.055f};
    l.ground_color = {0.008f, 0.008f, 0.01f};
    l.cloud_cover = 0;
  }
  if (day && !windows_.empty()) {
    const float outward = Wall(windows_[0].wall).yaw + kPi + Uniform(-0.7f, 0.7f);
    const float up = Uniform(0.45f, 0.85f);
    l = DayLighting(outward, up, Uniform(0, 0.4f));
    // Patches of full sun are seen by few of the rays that gather light: spots on the walls.
    l.sun_color *= 0.5f;
    for (const Opening& window : windows_) {  // light of the sky, as a panel in the opening
      const WallFrame frame = Wall(window.wall);
      const Vector2f p = frame.start + window.center * frame.along;
      Lamp panel;
      panel.position_m = {p.x(), p.y(), (window.low + window.high) / 2};
      panel.color = {0.86f, 0.93f, 1.0f};
      panel.strength = 1.5f * window.width * (window.high - window.low);
      panel.radius_m = 0.8f;  // what stands close to it must not outshine the room
      panel.direction = {frame.inward.x(), frame.inward.y(), -0.15f};
      panel.direction.normalize();
      panel.is_panel = true;
      panel.clearance_m = 0.16f;
      l.lamps.push_back(panel);
    }
  }
  for (RoomObject& object : room.objects) {
    for (const ObjectLight& bulb : object.model.lights) {
      if (day) continue;
      Lamp lamp;
      lamp.position_m = (object.room_from_object * bulb.position.cast<double>()).cast<float>();
      lamp.color = bulb.color;
      lamp.strength = 1.3f * bulb.intensity;
      lamp.clearance_m = 0.35f;
      lamp.radius_m = 0.3f;  // its shade glows: soft shadows, and no spot where it is near
      l.lamps.push_back(lamp);
    }
    if (!object.model.lights.empty()) {
      for (SurfaceMaterial& m : object.model.mesh.materials) m.emission *= day ? 0.1f : 1.0f;
    }
  }
  l.ambient = day ? Vector3f(0.2f, 0.205f, 0.21f) : Vector3f(0.12f, 0.105f, 0.09f);
  l.exposure = day ? 1.0f : 1.5f;
}

Room RoomBuilder::Finish(const std::string& light) {
  FindRelations();
  MakeLight(light);
  return std::move(room);
}

}  // namespace athanor
