// The bird's-eye-view grid of the detector.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

namespace athanor {

// Cells over the ego frame. Maps over the grid are [C,rows,columns]: the row goes with y, the
// column with x, both rising.
struct BevGrid {
  // x low, y low, z low, x high, y high, z high; metres.
  std::array<float, 6> range_m = {-54, -54, -5, 54, 54, 3};
  float cell_m = 0.6f;

  int64_t columns() const { return std::lround((range_m[3] - range_m[0]) / cell_m); }
  int64_t rows() const { return std::lround((range_m[4] - range_m[1]) / cell_m); }
};

}  // namespace athanor
