// What is told about a simulated room beside its pixels: lists for programs, pictures for people.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "athanor/media/image.h"
#include "athanor/simulation/rooms/room.h"

namespace athanor {

// objects.json. visible_pixels: per object, over all images.
std::string RoomObjectsJson(const Room& room, const std::vector<int64_t>& visible_pixels);
// classes.json: all kinds with their parts and numbers; the same for every room.
std::string RoomClassesJson();

// Labels as colours, 0 is black: neighbouring numbers look different. [H,W,3]
Image ColorizeLabels(const DepthImage& labels);

// The room from above, with names and the way of the camera.
Image FloorPlan(const Room& room, const std::vector<Rigid3>& cameras_from_room,
                int width_px = 1000);

}  // namespace athanor
