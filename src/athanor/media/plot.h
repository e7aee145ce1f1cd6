// Line plots as images: training curves and the like.
#pragma once

#include <string>
#include <vector>

#include "athanor/media/image.h"

namespace athanor {

// One line. A point whose x or y is not finite (on a logarithmic axis: or y not positive) breaks
// it.
struct PlotSeries {
  std::string name;       // in the legend, when not empty
  std::vector<double> x;  // [N]
  std::vector<double> y;  // [N]
};

struct PlotOptions {
  std::string title;
  std::string x_label;
  std::string y_label;
  int width_px = 640;
  int height_px = 400;
  bool log_y = false;  // logarithmic y axis
};

// Axes with round ticks around all finite points, a grid, the lines in distinct colours, a legend.
// Without any finite point: empty axes. RGB. Throws Error when x and y of a series differ in
// length, or the plot is smaller than 200 x 120.
Image PlotLines(const std::vector<PlotSeries>& series, const PlotOptions& options = {});

}  // namespace athanor
