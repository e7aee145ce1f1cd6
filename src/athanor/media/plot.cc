#include "athanor/media/plot.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <limits>

#include "athanor/base/error.h"
#include "athanor/media/draw.h"

namespace athanor {
namespace {

// M. Okabe and K. Ito 2008: told apart by the colour blind too.
constexpr Color kSeriesColors[] = {{0, 114, 178},   {213, 94, 0},  {0, 158, 115},
                                   {204, 121, 167}, {230, 159, 0}, {86, 180, 233}};
constexpr Color kGridColor = {225, 225, 225};

// One direction of the plot: from values to pixels, and where its ticks are.
struct Axis {
  double low = 0;
  double high = 1;
  bool logarithmic = false;
  double first_px = 0;  // of low
  double last_px = 1;   // of high
  std::vector<double> ticks;

  // The coordinate that is drawn evenly; not finite where the axis has no place for the value.
  double Even(double value) const {
    if (!logarithmic) return value;
    return value > 0 ? std::log10(value) : std::numeric_limits<double>::quiet_NaN();
  }
  double Pixel(double value) const {
    return first_px + (Even(value) - low) / (high - low) * (last_px - first_px);
  }
};

// Round steps of 1, 2 or 5 times a power of ten, about `wanted` of them.
double RoundStep(double range, int wanted) {
  const double raw = range / wanted;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (raw <= factor * power * 1.0001) return factor * power;
  }
  return 10 * power;
}

// Sets the limits to hold [low, high] (even coordinates) and the ticks.
void SetRange(Axis* axis, double low, double high, int wanted, bool widen_to_ticks) {
  if (!(low <= high)) low = 0, high = 1;  // no finite point
  // Too narrow for the digits of a double, or a single value.
  const double least = std::max({std::abs(low), std::abs(high), 1e-300}) * 1e-9;
  if (high - low < least) {
    const double half = low == 0 ? 0.5 : 0.1 * std::abs(low);
    low -= half;
    high += half;
  }
  double step = RoundStep(high - low, wanted);
  if (axis->logarithmic) step = std::max(1.0, std::round(step));
  if (widen_to_ticks) {
    low = std::floor(low / step + 1e-9) * step;
    high = std::ceil(high / step - 1e-9) * step;
    if (high <= low) high = low + step;
  }
  axis->low = low;
  axis->high = high;
  axis->ticks.clear();
  // Adding 0 makes a negative zero a zero.
  for (double i = std::ceil(low / step - 1e-9) + 0.0; i * step <= high + 1e-9 * step; ++i) {
    axis->ticks.push_back(axis->logarithmic ? std::pow(10, i * step) : i * step);
  }
}

std::string TickText(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

}  // namespace

Image PlotLines(const std::vector<PlotSeries>& series, const PlotOptions& options) {
  ATHANOR_CHECK(options.width_px >= 200 && options.height_px >= 120,
                "plot: expected at least 200x120 pixels, found ", options.width_px, "x",
                options.height_px);
  Axis x_axis, y_axis;
  y_axis.logarithmic = options.log_y;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  double x_low = kInfinity, x_high = -kInfinity, y_low = kInfinity, y_high = -kInfinity;
  // Values whose differences overflow have no place on an axis either.
  const auto drawable = [&](double x, double y) {
    return std::abs(x) < 1e300 && std::abs(y_axis.Even(y)) < 1e300;
  };
  for (const PlotSeries& line : series) {
    ATHANOR_CHECK(line.x.size() == line.y.size(), "plot: series '", line.name,
                  "': expected as many x as y, found ", line.x.size(), " and ", line.y.size());
    for (size_t i = 0; i < line.x.size(); ++i) {
      if (!drawable(line.x[i], line.y[i])) continue;
      x_low = std::min(x_low, line.x[i]);
      x_high = std::max(x_high, line.x[i]);
      y_low = std::min(y_low, y_axis.Even(line.y[i]));
      y_high = std::max(y_high, y_axis.Even(line.y[i]));
    }
  }
  SetRange(&y_axis, y_low, y_high, std::max(2, options.height_px / 60), true);
  SetRange(&x_axis, x_low, x_high, std::max(2, options.width_px / 90), false);

  int label_width = 0;
  for (const double tick : y_axis.ticks) {
    label_width = std::max(label_width, TextWidth(TickText(tick)));
  }
  const int left = label_width + 14, right = options.width_px - 20;
  const int top = options.title.empty() ? 24 : 40, bottom = options.height_px - 36;
  x_axis.first_px = left, x_axis.last_px = right;
  y_axis.first_px = bottom, y_axis.last_px = top;

  Image plot(options.width_px, options.height_px, 3, 255);
  for (const double tick : y_axis.ticks) {
    const int y = static_cast<int>(std::lround(y_axis.Pixel(tick)));
    FillRectangle(&plot, left, y, right - left, 1, kGridColor);
    const std::string text = TickText(tick);
    DrawText(&plot, left - 6 - TextWidth(text), y - 3, text, kBlack);
  }
  for (const double tick : x_axis.ticks) {
    const int x = static_cast<int>(std::lround(x_axis.Pixel(tick)));
    FillRectangle(&plot, x, top, 1, bottom - top, kGridColor);
    const std::string text = TickText(tick);
    DrawText(&plot, std::min(x - TextWidth(text) / 2, options.width_px - TextWidth(text)),
             bottom + 6, text, kBlack);
  }
  FillRectangle(&plot, left, top, 1, bottom - top + 1, kGrey);
  FillRectangle(&plot, left, bottom, right - left + 1, 1, kGrey);

  for (size_t s = 0; s < series.size(); ++s) {
    const PlotSeries& line = series[s];
    const Color color = kSeriesColors[s % std::size(kSeriesColors)];
    bool has_previous = false;
    double previous_x = 0, previous_y = 0;
    for (size_t i = 0; i < line.x.size(); ++i) {
      if (!drawable(line.x[i], line.y[i])) {
        has_previous = false;
        continue;
      }
      const double x = x_axis.Pixel(line.x[i]), y = y_axis.Pixel(line.y[i]);
      // A point with no neighbours shows as a dot.
      const bool has_next = i + 1 < line.x.size() && drawable(line.x[i + 1], line.y[i + 1]);
      if (has_previous) {
        DrawLine(&plot, previous_x, previous_y, x, y, color, 1.6);
      } else if (!has_next) {
        DrawLine(&plot, x, y, x, y, color, 5);
      }
      previous_x = x;
      previous_y = y;
      has_previous = true;
    }
  }

  const int title_width = TextWidth(options.title, 2);
  DrawText(&plot, std::max(4, (options.width_px - title_width) / 2), 6, options.title, kBlack, 2);
  DrawText(&plot, 4, top - 14, options.y_label, kBlack);
  DrawText(&plot, (left + right - TextWidth(options.x_label)) / 2, options.height_px - 14,
           options.x_label, kBlack);

  // The legend, in a box at the top right.
  int names = 0, name_width = 0;
  for (const PlotSeries& line : series) {
    if (line.name.empty()) continue;
    ++names;
    name_width = std::max(name_width, TextWidth(line.name));
  }
  if (names == 0) return plot;
  constexpr int kLineHeight = kLetterHeight + 5;
  const int box_width = name_width + 34, box_height = names * kLineHeight + 5;
  const int box_x = right - box_width - 6;
  int y = top + 6;
  FillRectangle(&plot, box_x, y, box_width, box_height, kWhite);
  DrawRectangle(&plot, box_x, y, box_width, box_height, kGridColor);
  for (size_t s = 0; s < series.size(); ++s) {
    if (series[s].name.empty()) continue;
    DrawLine(&plot, box_x + 7, y + 8.5, box_x + 21, y + 8.5,
             kSeriesColors[s % std::size(kSeriesColors)], 2);
    DrawText(&plot, box_x + 28, y + 5, series[s].name, kBlack);
    y += kLineHeight;
  }
  return plot;
}

}  // namespace athanor
