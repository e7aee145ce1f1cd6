#include "athanor/datasets/polygon_raster.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace athanor {
namespace {

struct Edge {
  int x_min, x_max, y_min, y_max;
  int x0, y0;       // where it begins
  float slope = 0;  // x per row

  float XAt(int64_t y) const { return static_cast<float>(y - y0) * slope + static_cast<float>(x0); }
};

// To the nearest; halves away from zero, or towards it.
int64_t RoundHalfOut(float x) { return static_cast<int64_t>(std::lround(x)); }
int64_t RoundHalfIn(float x) {
  const double half_down = std::ceil(std::abs(x) - 0.5f);
  return static_cast<int64_t>(x >= 0 ? half_down : -half_down);
}

// Where a corner is a spike thinner than a cell, both of its edges leave it sideways by more than a
// cell per row, and the pairs of crossings would miss the cells between: the crossing moves to
// beside the next row's. `before` are the edges of this row that come before `edge`.
float SpikeCrossing(const Edge& edge, const std::vector<const Edge*>& before, int64_t y) {
  const float x = edge.XAt(y);
  for (const Edge* other : before) {
    if ((y != other->y_min && y != other->y_max) || other->slope == 0) continue;
    if (std::round(x) != std::round(other->XAt(y))) continue;
    const int64_t next = y == edge.y_max ? y - 1 : y + 1;
    if (next < other->y_min || next > other->y_max) continue;
    const float a = edge.XAt(next), b = other->XAt(next);
    if (x > a + 1 && x > b + 1) return std::round(std::max(a, b)) + 1;
    if (x < a - 1 && x < b - 1) return std::round(std::min(a, b)) - 1;
    return x;
  }
  return x;
}

}  // namespace

void FillPolygonAsPillow(const std::vector<Eigen::Vector2i>& corners, int64_t width, int64_t height,
                         uint8_t value, std::vector<uint8_t>& cells) {
  const auto fill = [&](int64_t x0, int64_t y, int64_t x1) {
    if (y < 0 || y >= height) return;
    x0 = std::max<int64_t>(x0, 0);
    x1 = std::min(x1, width - 1);
    for (int64_t x = x0; x <= x1; ++x) cells[y * width + x] |= value;
  };
  std::vector<Edge> edges;
  int64_t first = INT64_MAX, last = INT64_MIN;
  for (size_t i = 0; i < corners.size(); ++i) {
    const Eigen::Vector2i &a = corners[i], &b = corners[(i + 1) % corners.size()];
    Edge edge{std::min(a.x(), b.x()),
              std::max(a.x(), b.x()),
              std::min(a.y(), b.y()),
              std::max(a.y(), b.y()),
              a.x(),
              a.y()};
    first = std::min<int64_t>(first, edge.y_min);
    last = std::max<int64_t>(last, edge.y_max);
    if (edge.y_min == edge.y_max) {
      fill(edge.x_min, edge.y_min, edge.x_max);
      continue;
    }
    edge.slope = static_cast<float>(b.x() - a.x()) / static_cast<float>(b.y() - a.y());
    edges.push_back(edge);
  }
  std::vector<size_t> by_row(edges.size());
  for (size_t i = 0; i < by_row.size(); ++i) by_row[i] = i;
  std::stable_sort(by_row.begin(), by_row.end(),
                   [&](size_t a, size_t b) { return edges[a].y_min < edges[b].y_min; });

  std::vector<const Edge*> active, before;  // in the polygon's order
  std::vector<float> crossings;
  size_t next_edge = 0;
  const int64_t end = std::min(last, height);
  for (int64_t y = first; y <= end; ++y) {
    std::erase_if(active, [&](const Edge* edge) { return edge->y_max < y; });
    const size_t kept = active.size();
    while (next_edge < by_row.size() && edges[by_row[next_edge]].y_min <= y) {
      active.push_back(&edges[by_row[next_edge++]]);
    }
    if (active.size() != kept) std::sort(active.begin(), active.end());
    if (y < 0) continue;
    crossings.clear();
    before.clear();
    for (const Edge* edge : active) {
      const bool ends_here = y == edge->y_max;
      if (ends_here && y < end) {
        // Counted twice, so that a row of corners keeps its pairs.
        crossings.insert(crossings.end(), 2, edge->XAt(y));
      } else if ((ends_here || y == edge->y_min) && edge->slope != 0) {
        crossings.push_back(SpikeCrossing(*edge, before, y));
      } else {
        crossings.push_back(edge->XAt(y));
      }
      before.push_back(edge);
    }
    std::sort(crossings.begin(), crossings.end());
    for (size_t i = 1; i < crossings.size(); i += 2) {
      fill(RoundHalfOut(crossings[i - 1]), y, RoundHalfIn(crossings[i]));
    }
  }
}

void FillPolygonAsOpenCv(const std::vector<Eigen::Vector2i>& corners, int64_t width, int64_t height,
                         uint8_t value, std::vector<uint8_t>& cells) {
  const auto set = [&](int64_t x, int64_t y) {
    if (x >= 0 && y >= 0 && x < width && y < height) cells[y * width + x] |= value;
  };
  constexpr int kFraction = 16;  // bits
  struct Side {
    int64_t y_begin, y_end;  // the last row is not its own
    int64_t x, step;         // of the next row, fixed point
  };
  std::vector<Side> sides;
  for (size_t i = 0; i < corners.size(); ++i) {
    Eigen::Vector2i a = corners[i], b = corners[(i + 1) % corners.size()];
    if (a.y() != b.y()) {
      const Eigen::Vector2i &top = a.y() < b.y() ? a : b, &bottom = a.y() < b.y() ? b : a;
      const int64_t way = (int64_t{bottom.x()} - top.x()) * (1 << kFraction);
      sides.push_back({top.y(), bottom.y(), int64_t{top.x()} * (1 << kFraction),
                       way / (int64_t{bottom.y()} - top.y())});
    }
    if (a.x() > b.x()) std::swap(a, b);
    const int64_t dx = int64_t{b.x()} - a.x(), dy = std::abs(int64_t{b.y()} - a.y());
    const int64_t down = b.y() >= a.y() ? 1 : -1;
    const int64_t major = std::max(dx, dy), minor = std::min(dx, dy);
    int64_t x = a.x(), y = a.y(), error = major - 2 * minor;
    for (int64_t step = 0; step <= major; ++step) {
      set(x, y);
      const bool aside = error < 0;
      error += (aside ? 2 * major : 0) - 2 * minor;
      if (dx >= dy || aside) ++x;
      if (dx < dy || aside) y += down;
    }
  }
  std::sort(sides.begin(), sides.end(),
            [](const Side& a, const Side& b) { return a.y_begin < b.y_begin; });
  if (sides.empty()) return;
  std::vector<Side> active;
  size_t next = 0;
  for (int64_t y = sides[0].y_begin; y < height && (next < sides.size() || !active.empty()); ++y) {
    std::erase_if(active, [&](const Side& side) { return side.y_end <= y; });
    while (next < sides.size() && sides[next].y_begin <= y) active.push_back(sides[next++]);
    std::sort(active.begin(), active.end(), [](const Side& a, const Side& b) { return a.x < b.x; });
    for (size_t i = 1; i < active.size() && y >= 0; i += 2) {
      const int64_t first = (active[i - 1].x + (1 << kFraction) - 1) >> kFraction;
      const int64_t last = std::min(active[i].x >> kFraction, width - 1);
      for (int64_t x = std::max<int64_t>(first, 0); x <= last; ++x) set(x, y);
    }
    for (Side& side : active) side.x += side.step;
  }
}

}  // namespace athanor
