// What the sensors of the car see of one scene, key frame by key frame, with its truth. Internal to
// street/.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "athanor/datasets/log.h"
#include "athanor/simulation/street/prepared_scene.h"

namespace athanor {

// Of each scene: two a second.
int NumKeyFrames(const StreetOptions& options);
// The place, as nuScenes' logs name it. Every scene has its own, for no two lie on one map.
std::string StreetLocation(const PreparedScene& prepared);

// Renders pictures and sweeps on all threads, writes their files into the folder of the data set
// and gives the log, whose paths are relative to it. `on_frame` is called after each key frame with
// how many there are. Counts and times are added to `report`.
Log MakeScene(const PreparedScene& prepared, const StreetOptions& options, int number,
              const std::filesystem::path& folder, StreetReport* report,
              const std::function<void(int frames)>& on_frame);

}  // namespace athanor
