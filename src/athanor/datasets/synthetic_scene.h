// A small world whose truth is known: a still life, rendered by ray tracing from cameras on a wavy
// orbit, with exact depth, poses and surface points. What `make demo` reconstructs, and what tests
// of readers, trainers and metrics are given.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "athanor/datasets/posed_images.h"
#include "athanor/media/image.h"

namespace athanor {

struct SyntheticSceneOptions {
  int num_images = 40;        // along one turn around the table, >= 1
  int width_px = 320;         // 8..8192
  int height_px = 240;        // 8..8192
  int supersampling = 2;      // rays per pixel and side, 1..8
  int num_points = 6000;      // surface points, as structure from motion would find, >= 0
  double point_noise = 5e-4;  // standard deviation of their positions, share of their depth
  double pixel_noise = 0;     // standard deviation of the sensor's noise, grey levels of 255
  uint64_t seed = 0;          // moves the small things, the textures, the orbit and all noise
};

struct SyntheticScene {
  // One pinhole camera; images "0001.png" ... with poses and empty paths; points on surfaces that
  // are seen, with the colour they are seen in. World: x right, y down, z forward; table top y = 0.
  PosedImages posed;
  std::vector<Image> images;       // per posed.images, [H,W,3] sRGB
  std::vector<FloatImage> depths;  // [H,W,1] z-depth at the pixel's centre, metres; never 0 here
};

// Same options, same bytes, with any number of threads. About 3 s on two cores for the default.
// Throws Error for options out of range.
SyntheticScene RenderSyntheticScene(const SyntheticSceneOptions& options = {});

// Writes a capture as a COLMAP project: images/*.png, depth/*.png (16 bits, millimetres, 0 = none)
// and sparse/0/*.bin. Returns what ReadPosedImages(folder) returns. Throws Error.
PosedImages WriteSyntheticCapture(const std::filesystem::path& folder,
                                  const SyntheticSceneOptions& options = {});

}  // namespace athanor
