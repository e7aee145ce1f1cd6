// Filling polygons on a grid, cell by cell as two well-known libraries do, so that what is counted
// in their masks can be compared.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

namespace athanor {

// Sets `value`'s bits in the cells of a polygon as Pillow's ImageDraw.polygon fills it (12.x,
// integer corners, edges included): a row's crossings with the edges in float, paired and rounded
// outwards-to-nearest. `cells` is [height, width]; what lies outside is cut off.
void FillPolygonAsPillow(const std::vector<Eigen::Vector2i>& corners, int64_t width, int64_t height,
                         uint8_t value, std::vector<uint8_t>& cells);

// As OpenCV's fillPoly (4.x, lines of 8 neighbours, no shift): the outline as Bresenham draws it,
// from the left end of each edge, and between, per row, the cells from the first edge to the second
// and so on, in fixed point. Corners may lie outside; OpenCV cuts such edges off at the border
// first, so that there cells may differ by one.
void FillPolygonAsOpenCv(const std::vector<Eigen::Vector2i>& corners, int64_t width, int64_t height,
                         uint8_t value, std::vector<uint8_t>& cells);

}  // namespace athanor
