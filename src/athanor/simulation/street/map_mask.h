// The raster of a scene's ground that nuScenes' table `map` names. Internal to street/.
#pragma once

#include <Eigen/Core>

#include "athanor/media/image.h"
#include "athanor/simulation/traffic/road_network.h"

namespace athanor {

// Metres of a pixel of nuScenes' map masks.
inline constexpr double kMapMaskPixel_m = 0.1;

// Grey, 255 where cars drive, park or people walk (lanes, junctions, sidewalks, crossings), else 0.
// The origin of the world is the lower left corner; what is beyond `high_m` or has a negative
// coordinate is left out. An empty image when that leaves nothing, or more than 400 million pixels.
Image DrawMapMask(const RoadNetwork& roads, const Eigen::Vector2d& high_m);

}  // namespace athanor
