// A moment of a driving log as the detector takes it: sweeps merged, pictures of one size, boxes in
// the ego frame of the moment.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <span>

#include "athanor/datasets/log.h"
#include "athanor/detection/profusion3d/bev_grid.h"
#include "athanor/detection/profusion3d/sample.h"
#include "athanor/geometry/camera.h"

namespace athanor {

struct FrameSampleOptions {
  int width_px = 704, height_px = 256;  // of the pictures as the network takes them
  int sweeps = 10;                      // the key sweep and those before it, ...
  double max_age_s = 0.6;               // ... as far as they are not older than this
  // Boxes are kept by their centre; points up to the margin outside of it too.
  std::array<float, 6> range_m = BevGrid{}.range_m;
  float margin_m = 0;
  // Without: as if the sensors were missing, and their files are not read.
  bool with_pictures = true, with_points = true;
  bool with_empty_boxes = false;  // boxes that are known to hold no LiDAR point
};

// What the network sees of a camera's picture: resized to `scaled`, cut out at (left, top), then
// mirrored left to right. Outside of the picture it is black. The network's pixel of a pixel x of
// the picture is x * scaled_width / width - left, and its width less that when mirrored.
struct ImageWindow {
  int scaled_width_px = 0, scaled_height_px = 0;
  int left_px = 0, top_px = 0;
  bool is_mirrored = false;
};

// The window that the picture fills, times `zoom`: from the middle in width and from the bottom in
// height (the sky is left out), but no lower than where the horizon, taken to be at the principal
// point, is a quarter of the way down. So 1600x900 becomes 704x396, of which the last 256 rows are
// taken, as in Liu et al., "BEVFusion", ICRA 2023.
ImageWindow FitWindow(const Camera& camera, const FrameSampleOptions& options, double zoom = 1);

// The pinhole that a picture of the camera shows: its own, or the lens's undistorted one.
Camera PinholeOf(const Camera& camera);

// Indices of the log's cameras in Log::sensors: the order of DetectionSample::images.
std::vector<int> CamerasOf(const Log& log);

// The whole moment, points and boxes of any distance. `windows` has one for each camera, of its
// PinholeOf; empty: FitWindow. camera_from_ego leads from the ego frame of the moment to the camera
// at the time of its own picture: the car moves in between.
//
// A picture or sweep that is not on disk, or a sensor without a reading, is black or empty with its
// flag at 0, and a warning says so once. Throws Error for damaged files, for a picture of another
// size than its camera's, and for poses whose rotation is none (log, sensor).
DetectionSample ReadFrameSample(const Log& log, int frame, const FrameSampleOptions& options,
                                std::span<const ImageWindow> windows = {});

// Removes the points and the boxes out of range.
void CutToRange(const FrameSampleOptions& options, DetectionSample* sample);

// Both of the above: what the network sees when nothing is augmented.
DetectionSample MakeFrameSample(const Log& log, int frame, const FrameSampleOptions& options);

// Boxes, labels and attributes as in the sample, and where each stands in LogFrame::boxes, without
// reading a file. Not cut to the range.
struct FrameBoxes {
  at::Tensor boxes;        // [B,9] f32
  at::Tensor labels;       // [B] i64
  at::Tensor attributes;   // [B] i64, -1 unless the log says one that nuScenes has
  std::vector<int> index;  // [B]
};
FrameBoxes BoxesOfFrame(const Log& log, int frame, const FrameSampleOptions& options);

}  // namespace athanor
