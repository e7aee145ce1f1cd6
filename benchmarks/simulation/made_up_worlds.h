// A room and a street to time the sensors on: as many triangles and materials as real ones have.
#pragma once

#include <vector>

#include "athanor/geometry/camera.h"
#include "athanor/geometry/rigid3.h"
#include "athanor/simulation/ray_world.h"
#include "athanor/simulation/render/lighting.h"

namespace athanor {

struct MadeUpWorld {
  RayWorld world;
  Lighting lighting;
  std::vector<Camera> cameras;
  std::vector<Rigid3> camera_from_world;
  std::vector<int> driving;  // instances that move
  int64_t triangles = 0;
};

MadeUpWorld MakeRoom();
// Six cameras as on nuScenes' cars, 704 x 256.
MadeUpWorld MakeStreet();

}  // namespace athanor
