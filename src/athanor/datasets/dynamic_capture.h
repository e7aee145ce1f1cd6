// Moving scenes filmed by cameras that stand still: the train_meta.json of Dynamic 3D Gaussians
// (Luiten et al. 2024) for CMU Panoptic, with its photographs in ims/.
#pragma once

#include <filesystem>
#include <vector>

#include "athanor/datasets/posed_images.h"

namespace athanor {

// Reads FOLDER/train_meta.json, or the file itself: "w", "h", and per time and camera "k" (3 x 3),
// "w2c" (4 x 4, camera from world) and "fn" (file below ims/). Returns one capture per time, with a
// camera per image and no points. Throws Error (path, time, camera, expectation).
std::vector<PosedImages> ReadDynamicCapture(const std::filesystem::path& path);

}  // namespace athanor
