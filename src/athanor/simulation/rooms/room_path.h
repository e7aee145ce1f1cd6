// Where a camera goes in a room: as a person walks and looks around, and around a table.
#pragma once

#include <vector>

#include "athanor/geometry/camera.h"
#include "athanor/simulation/rooms/room.h"

namespace athanor {

struct RoomCameraOptions {
  int images = 100;           // 1..100000
  int width_px = 640;         // 16..8192
  int height_px = 480;        // 16..8192
  double fov_deg = 75;        // horizontal field of view, 20..120
  std::string path = "walk";  // "walk", "orbit" (around a table), "both" (a third around the table)
};

void Describe(RoomCameraOptions& options, OptionList& list);

// The pinhole camera of the options.
Camera RoomCamera(const RoomCameraOptions& options);

// Poses camera_from_room, one per image. The walk is a closed, smooth line at eye height (1.3 to
// 1.7 m) that keeps clear of furniture, as far as there is free floor; the gaze wanders from thing
// to thing. Same room and options, same poses. Throws Error for options out of range.
std::vector<Rigid3> RoomCameraPath(const Room& room, const RoomCameraOptions& options);

}  // namespace athanor
