// Puts objects into a room one after another, without collisions. What room_types.cc is written
// with; internal to rooms/.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "athanor/base/random.h"
#include "athanor/simulation/rooms/room.h"

namespace athanor {

// On the floor or above it, turned by `yaw` about the z axis.
Rigid3 PoseInRoom(float x, float y, float z, float yaw);
// A place that has to stay free of colliders, in its own frame.
RoomObject ClearBox(const Eigen::Vector3f& low, const Eigen::Vector3f& high);

class RoomBuilder {
 public:
  RoomBuilder(const RoomOptions& options, std::string type, uint64_t seed);

  Random random;
  Room room;

  float Uniform(float low, float high) { return random.Uniform(low, high); }
  bool Chance(double share) { return random.Uniform() < share; }
  int Pick(int n) { return static_cast<int>(random.Below(static_cast<uint32_t>(n))); }
  // A number of things: `few` in a bare room, `many` in a cluttered one.
  int Count(int few, int many);

  // Walls, floor, ceiling, door, windows with curtains; fills room.size_m.
  void BuildShell(float length_m, float width_m, float height_m);

  ObjectModel New(std::string_view kind);

  // Each of these places one new object and returns its index, or -1 where there was no room.
  // Back to a wall (0: low x, 1: low y, 2: high x, 3: high y; -1: any), with free floor before it,
  // which stays free of what comes later when `reserve`.
  int AgainstWall(std::string_view kind, int wall = -1, float free_m = 0.4f, float along = -1,
                  bool reserve = true);
  int OnFloor(std::string_view kind);
  // At a place on the floor, its front turned to yaw.
  int At(std::string_view kind, float x, float y, float yaw_rad);
  int At(ObjectModel model, float x, float y, float yaw_rad, float jitter_m, int tries);
  int OnWall(std::string_view kind, float z_m, int wall = -1, float along = -1);
  int OnCeiling(std::string_view kind, float x, float y);
  // Anywhere on the upper support of `carrier`; facing as the carrier does, turned by up to
  // `turn_rad` to either side.
  int On(int carrier, std::string_view kind, float turn_rad = 3.2f);
  // At a place in the carrier's frame.
  int On(int carrier, std::string_view kind, float x, float y, float yaw_rad);
  int OnSupport(int carrier, const SupportSurface& support, ObjectModel model, float x, float y,
                float yaw_rad);
  // Rows of books and other things into all compartments.
  void FillShelf(int shelf, const std::vector<std::string_view>& kinds, double book_share);
  // Chairs around a table, at most `count`; returns those that were placed.
  std::vector<int> ChairsAt(int table, std::string_view kind, int count);

  const RoomObject& object(int index) const { return room.objects[index]; }
  float yaw(int index) const;
  int floor() const { return 4; }

  // Relations, light, camera target. The last call.
  Room Finish(const std::string& light);

 private:
  struct WallFrame {
    Eigen::Vector2f start;   // s = 0
    Eigen::Vector2f along;   // unit
    Eigen::Vector2f inward;  // unit
    float length;
    float yaw;  // of `inward`
  };
  struct Opening {
    int wall;
    float center, width, low, high;
  };

  WallFrame Wall(int wall) const;
  int AddStructure(std::string_view kind, class ShapeBuilder& shapes, const std::string& color,
                   const std::string& material, const std::string& pattern);
  void BuildWalls();
  void BuildOpenings();
  bool Fits(const RoomObject& candidate, bool keeps_clear) const;
  int Add(RoomObject candidate, int resting_on);
  void FindRelations();
  void MakeLight(const std::string& light);

  double clutter_;
  std::vector<Opening> windows_;
  std::vector<RoomObject> clear_;  // boxes that furniture keeps free
  uint64_t next_seed_;
};

// Furnishes a room of its type.
void Furnish(RoomBuilder& builder);

}  // namespace athanor
