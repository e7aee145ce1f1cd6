// What a scene of a street log is before any sensor looks at it: roads, traffic, town, light.
// Internal to street/.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "athanor/media/image.h"
#include "athanor/simulation/street/scene.h"
#include "athanor/simulation/street/street_log.h"

namespace athanor {

struct PreparedScene {
  std::string name;       // "scene-0001"
  uint64_t seed = 0;      // of all that is drawn in the scene
  std::string road_kind;  // "town", "grid" ..., or the name of the user's network
  StreetWeather weather = StreetWeather::kSun;
  RoadNetwork roads;
  std::unique_ptr<StreetScene> scene;
  Image map_mask;                     // as NuscenesWriter::SetMap takes it; empty: none
  double traffic_s = 0, build_s = 0;  // seconds that it took
};

// "scene-0001" for 0.
std::string StreetSceneName(int number);

// Everything follows from the options and the scene's number. Uses one core but for town and
// meshes, which take as many as the calling thread may. Throws Error as SimulateStreets.
PreparedScene PrepareScene(const StreetOptions& options, int number);

}  // namespace athanor
