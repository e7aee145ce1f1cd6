// Simulated rooms on disk: a COLMAP project with photographs, and the truth of every pixel beside
// it. Formats: docs/simulation.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "athanor/datasets/posed_images.h"
#include "athanor/simulation/ray_world.h"
#include "athanor/simulation/rooms/room.h"
#include "athanor/simulation/rooms/room_path.h"

namespace athanor {

struct SimRoomOptions {
  int rooms = 1;     // 1..10000; more than one: OUT/room_0000, OUT/room_0001 ...
  int64_t seed = 0;  // of the first room; the next has the next
  RoomOptions room;
  RoomCameraOptions camera;
  int points = 20000;          // of sparse/0, on surfaces that are seen
  std::string format = "jpg";  // "jpg" (quality 95), "png"
  bool antialias = true;
};

OptionList Describe(SimRoomOptions& options);

// The room as rays see it: object k of the room is MeshInstance::object k.
RayWorld MakeRoomWorld(const Room& room);

// Numbering of the label images; 0 is nothing (the sky outside).
//   instance: index into Room::objects + 1      class: index into RoomKinds() + 1
//   part: consecutive over the parts of all kinds, so that a number names kind and part
uint16_t RoomPartId(int kind, int part);

struct WriteRoomResult {
  int rooms = 0;
  int64_t images = 0;  // written now; those of an earlier call are kept
  int64_t kept = 0;
  double seconds = 0;
  bool interrupted = false;
};

// Writes the rooms under `out`. Images that an earlier call with the same options, or with fewer
// rooms but more than one, finished are kept; an output folder of other options is refused. The
// bytes depend on the options alone, not on the threads or on interruptions. `stop` is asked before
// each image. Throws Error.
WriteRoomResult WriteRooms(const std::filesystem::path& out, const SimRoomOptions& options,
                           const std::function<bool()>& stop = {});

}  // namespace athanor
