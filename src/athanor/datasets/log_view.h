// Pictures of driving logs for people: a frame from above, and what its cameras saw, with boxes and
// LiDAR points drawn in.
#pragma once

#include <string>
#include <string_view>

#include "athanor/base/options.h"
#include "athanor/datasets/log.h"
#include "athanor/media/color_map.h"
#include "athanor/media/image.h"

namespace athanor {

struct LogViewOptions {
  int camera_width_px = 480;      // of each camera's picture; twice that for a single one
  float range_m = 50;             // from the car to the edge of the view from above
  int sweeps = 1;                 // LiDAR sweeps merged, the frame's and those before
  std::string color = "height";   // of the points from above: "height" or "intensity"
  bool points_in_cameras = true;  //
  bool boxes = true;              //
  float max_box_distance_m = 80;  // boxes further away are not drawn into pictures
};
OptionList Describe(LogViewOptions& options);

// The colour of a category, whatever the data set calls it: cars, heavy vehicles, people, cycles,
// cones and barriers, animals, the rest.
Color CategoryColor(std::string_view category);

// The view from above, square: the car in the middle, driving up; LiDAR points by height (turbo,
// 0.5 m below to 3.5 m above the ground plane of the car) or intensity, boxes with a line towards
// the heading, rings every 10 m. `side_px` is its width. Throws Error for a frame that is not there
// or files that are damaged; sensors without a file are left out.
Image DrawFromAbove(const Log& log, int frame, int side_px, const LogViewOptions& options = {});

// The picture of a camera, with boxes (a stroke on the ground towards the heading), and points by
// depth (near is warm). Boxes are where they were at the time of the frame. Dark when the picture
// is not on disk.
Image DrawCamera(const Log& log, int frame, int sensor, const LogViewOptions& options = {});

// All of it on one sheet: a title, the view from above with the counts of the categories, the
// cameras looking ahead in the upper row and those looking back in the lower, as they stand from
// left to right.
Image DrawFrame(const Log& log, int frame, const LogViewOptions& options = {});

// The frame worth showing when nobody names one: of those with most files on disk (data sets are
// shipped in parts), the one nearest to the middle. Throws Error for a log without frames.
int FrameToShow(const Log& log);

}  // namespace athanor
