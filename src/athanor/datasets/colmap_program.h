// Poses and points from photographs, by the installed program `colmap` (on the CPU).
//
// A run keeps what it finished: calling again with the same photographs and options goes on where
// the last call stopped.
#pragma once

#include <filesystem>
#include <string>

#include "athanor/datasets/posed_images.h"

namespace athanor {

struct ColmapOptions {
  std::string program = "colmap";       // name to be found in PATH, or a path
  std::string matcher = "exhaustive";   // or "sequential": neighbours of a video, by name
  std::string camera_model = "OPENCV";  // as COLMAP names it
  bool single_camera = true;            // all photographs are of one camera
  int max_image_side_px = 3200;         // features are found in photographs shrunk to this
};

// Finds the poses of the PNG and JPEG files under `images_folder` and writes to `out_folder`:
// sparse/0 (COLMAP's model with the most images), images (a link to the photographs), database.db,
// models/ (all models), colmap.log. Photographs that COLMAP cannot place are left out, with a
// warning. `out_folder` must be new, or that of an earlier run. Returns what
// ReadPosedImages(out_folder) returns. Throws Error (the step, its exit status, the last line it
// wrote and the path of the log).
PosedImages ImportImages(const std::filesystem::path& images_folder,
                         const std::filesystem::path& out_folder,
                         const ColmapOptions& options = {});

// Triangulates points with the poses that are known: for a capture that has none. Returns `posed`
// with the points; writes to `out_folder` as ImportImages does. Throws Error.
PosedImages TriangulateFromPoses(const PosedImages& posed, const std::filesystem::path& out_folder,
                                 const ColmapOptions& options = {});

}  // namespace athanor
