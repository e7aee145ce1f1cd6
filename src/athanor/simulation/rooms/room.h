// A furnished room: walls, openings, objects with places and relations, and its light; all from a
// seed. The first step of simulated rooms (write_room.h renders them).
#pragma once

#include <Eigen/Geometry>
#include <cstdint>
#include <string>
#include <vector>

#include "athanor/base/options.h"
#include "athanor/geometry/box3.h"
#include "athanor/simulation/render/lighting.h"
#include "athanor/simulation/rooms/object_model.h"

namespace athanor {

struct RoomOptions {
  std::string type = "any";   // "living_room", "kitchen", "office", "bedroom", "childs_room"
  std::string light = "any";  // "day", "evening"
  double clutter = 0.5;       // 0 = bare furniture, 1 = things everywhere
};

void Describe(RoomOptions& options, OptionList& list);

// What pixels can belong to: ObjectKinds() and then the room itself ("wall", "floor", "ceiling",
// "door", "window"; category "structure"). Their order is the numbering of classes.
const std::vector<ObjectKind>& RoomKinds();

struct RoomObject {
  int kind = 0;  // into RoomKinds()
  ObjectModel model;
  // A turn about +z only. Structure has the identity: its mesh is in the room's frame.
  Rigid3 room_from_object;
  // "on", "in", "under", "next to", "hanging from"; `reference` is the other object.
  std::string relation;
  int reference = -1;   // into Room::objects
  int resting_on = -1;  // what carries it; -1 for structure
};

// Room frame: z up, floor at z = 0, the middle of the floor is the origin.
struct Room {
  std::string type;
  std::string light;
  uint64_t seed = 0;
  Eigen::Vector3f size_m = Eigen::Vector3f::Zero();  // inner: along x, y, z
  std::vector<RoomObject> objects;                   // structure first
  Lighting lighting;
  int camera_target = -1;  // the object whose things are worth a walk around it; a table mostly
};

// The box of an object in the room's frame, along the object's own axes.
Box3 BoxOf(const RoomObject& object);

// True when a pair of colliders of the two objects overlaps by more than `tolerance_m` along each
// axis that could part them.
bool Interpenetrate(const RoomObject& a, const RoomObject& b, float tolerance_m);

// Same options and seed, same room. Throws Error for options out of range.
Room MakeRoom(const RoomOptions& options, uint64_t seed);

// Words for an object: "small striped red ceramic mug".
std::string Describe(const RoomObject& object);
// "a red ceramic mug on the brown wooden table".
std::string Caption(const Room& room, int object);

}  // namespace athanor
