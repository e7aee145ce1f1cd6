#include "athanor/simulation/rooms/room_builder.h"

#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/simulation/rooms/shape_builder.h"

namespace athanor {
namespace {

using Eigen::Vector2f;
using Eigen::Vector3f;

constexpr float kPi = 3.14159265f;
constexpr float kGap_m = 0.0005f;        // between a thing and what carries it
constexpr float kWallGap_m = 0.022f;     // furniture stands off the wall: the baseboard is there
constexpr float kTolerance_m = 0.0002f;  // of overlaps, for rounding
constexpr int kTries = 24;

}  // namespace

Rigid3 PoseInRoom(float x, float y, float z, float yaw) {
  return {Eigen::Quaterniond(Eigen::AngleAxisd(yaw, Eigen::Vector3d::UnitZ())), {x, y, z}};
}

RoomObject ClearBox(const Vector3f& low, const Vector3f& high) {
  RoomObject box;
  box.model.colliders.push_back({low, high});
  return box;
}

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
    candidate.room_from_object = PoseInRoom(at_x, at_y, kGap_m, yaw_rad);
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
    clear.room_from_object = PoseInRoom(p.x(), p.y(), 0, frame.yaw);
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
    candidate.room_from_object = PoseInRoom(p.x(), p.y(), z_m, frame.yaw);
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
      PoseInRoom(x, y, room.size_m.z() - candidate.model.size_m.z() - kGap_m, Uniform(-kPi, kPi));
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
      object(carrier).room_from_object * PoseInRoom(x, y, support.z_m + kGap_m, yaw_rad);
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
