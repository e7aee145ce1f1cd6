// Writes posed images as a COLMAP sparse model, which every trainer of radiance fields reads.
//
// Format: colmap.github.io/format.html.
#pragma once

#include <filesystem>

#include "athanor/datasets/colmap_reader.h"
#include "athanor/datasets/posed_images.h"

namespace athanor {

// Writes cameras, images and points3D (.bin or .txt) into `model_folder`, usually
// PROJECT/sparse/0, making the folder. Identifiers count from 1 in the order of `posed`; points
// have no tracks and images no keypoints, since a PosedImages holds none. Binary models are exact;
// text has 17 digits, which is exact too. Throws Error (image, reason) for a camera index out of
// range or a name that COLMAP cannot hold (empty, or with a line break or zero byte), before
// anything is written.
void WriteColmapModel(const std::filesystem::path& model_folder, const PosedImages& posed,
                      ColmapEncoding encoding = ColmapEncoding::kBinary);

}  // namespace athanor
