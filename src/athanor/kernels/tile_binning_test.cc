// Every tile that a splat reaches lists it, once, in order of depth.
#include "athanor/kernels/tile_binning.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "athanor/kernels/kernel_test_util.h"

namespace athanor {
namespace {

TEST(TileBinningTest, ListsAreSortedAndHoldEveryTileReached) {
  TestScene s(3000, 9);
  s.view.width_px = 200, s.view.height_px = 150, s.view.cx_px = 100, s.view.cy_px = 75;
  s.view.fx_px = s.view.fy_px = 170;
  const Rendered r = Render(s);
  const TileGrid grid = MakeTileGrid(200, 150);
  std::vector<std::vector<char>> listed(grid.size(), std::vector<char>(s.n));
  for (int tile = 0; tile < grid.size(); ++tile) {
    for (int k = r.bins.offsets[tile]; k < r.bins.offsets[tile + 1]; ++k) {
      const int32_t id = r.bins.ids[k];
      EXPECT_FALSE(listed[tile][id]) << "listed twice";
      listed[tile][id] = 1;
      if (k > r.bins.offsets[tile]) {
        ASSERT_LE(r.splats[r.bins.ids[k - 1]].depth, r.splats[id].depth);
      }
    }
  }
  int64_t needed = 0;
  for (int64_t i = 0; i < s.n; ++i) {
    const Splat& p = r.splats[i];
    if (p.radius == 0) continue;
    std::vector<char> reached(grid.size());
    for (int y = 0; y < 150; ++y) {
      for (int x = 0; x < 200; ++x) {
        const double dx = x + 0.5 - p.x, dy = y + 0.5 - p.y;
        const double alpha =
            p.opacity * std::exp(-0.5 * (p.a * dx * dx + p.c * dy * dy) - p.b * dx * dy);
        if (alpha >= 1.0 / 255) reached[y / kTileSize * grid.columns + x / kTileSize] = 1;
      }
    }
    for (int tile = 0; tile < grid.size(); ++tile) {
      ASSERT_GE(listed[tile][i], reached[tile]) << "splat " << i << " tile " << tile;
      needed += reached[tile];
    }
  }
  EXPECT_LT(static_cast<double>(r.bins.ids.size()), 1.06 * static_cast<double>(needed))
      << "tiles that the ellipse does not reach are left out";
}

}  // namespace
}  // namespace athanor
