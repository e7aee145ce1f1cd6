#include "athanor/media/draw.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "athanor/base/error.h"

namespace athanor {
namespace {

// Letters ' ' to '~': bit 5 y + x is the pixel in column x of row y, from the top left. Seven rows,
// and one for what hangs below the line.
constexpr uint64_t kLetters[95] = {
    0x0000000000, 0x0100421084, 0x000000294a, 0x0295f57d4a, 0x011f4717c4, 0x0672222273,
    0x0593511526, 0x0000001084, 0x0208210888, 0x0088842082, 0x0009575480, 0x00084f9080,
    0x1108000000, 0x0000070000, 0x018c000000, 0x0042222210, 0x03a33ae62e, 0x03884210c4,
    0x07c226422e, 0x03a306422e, 0x0211f4a988, 0x03a3083c3f, 0x03a317844c, 0x010844221f,
    0x03a317462e, 0x01910f462e, 0x000c6018c0, 0x00886018c0, 0x0410411110, 0x0001f07c00,
    0x0044441041, 0x010046422e, 0x0783daf62e, 0x0463f8c544, 0x03e317c62f, 0x03a210862e,
    0x01d318c527, 0x07c217843f, 0x004217843f, 0x07a31e862e, 0x04631fc631, 0x038842108e,
    0x019284211c, 0x0452519531, 0x07c2108421, 0x04631ad771, 0x04739ace71, 0x03a318c62e,
    0x004217c62f, 0x059358c62e, 0x045257c62f, 0x03e107043e, 0x010842109f, 0x03a318c631,
    0x0114a8c631, 0x04775ac631, 0x0462a22a31, 0x0108422a31, 0x07c222221f, 0x038421084e,
    0x0420820821, 0x039084210e, 0x0000004544, 0x07c0000000, 0x0000002082, 0x07a3e83800,
    0x03e318bc21, 0x078210f800, 0x07a318fa10, 0x0783f8b800, 0x0084213c4c, 0x743d18f800,
    0x046318bc21, 0x0388421804, 0x3210843008, 0x024a32a421, 0x0388421086, 0x056b5aac00,
    0x046318bc00, 0x03a318b800, 0x085f18bc00, 0x843d18f800, 0x004211b400, 0x03e0e0f800,
    0x0304213c42, 0x05b318c400, 0x0114a8c400, 0x02ab5ac400, 0x0454454400, 0x743d18c400,
    0x07c4447c00, 0x0608411098, 0x0108421084, 0x00c8441083, 0x00008a8800};
constexpr uint64_t kBoxLetter = 0x7e318c63f;

void CheckRgb(const Image& image) {
  ATHANOR_CHECK(image.channels == 3, "drawing: expected an RGB image, found ", image.channels,
                " channels");
}

// Whether the byte begins a character of UTF-8.
bool BeginsCharacter(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) != 0x80; }

void Blend(uint8_t* pixel, Color color, double share) {
  const auto mix = [&](uint8_t* value, uint8_t target) {
    *value = static_cast<uint8_t>(*value + share * (target - *value) + 0.5);
  };
  mix(&pixel[0], color.r);
  mix(&pixel[1], color.g);
  mix(&pixel[2], color.b);
}

}  // namespace

Image ToRgb(const Image& image) {
  if (image.channels == 3) return image;
  ATHANOR_CHECK(image.channels == 1 || image.channels == 4,
                "image to RGB: expected 1, 3 or 4 channels, found ", image.channels);
  Image rgb(image.width, image.height, 3);
  const size_t pixels = static_cast<size_t>(image.width) * image.height;
  for (size_t i = 0; i < pixels; ++i) {
    for (int c = 0; c < 3; ++c) {
      rgb.data[3 * i + c] = image.data[i * image.channels + (image.channels == 1 ? 0 : c)];
    }
  }
  return rgb;
}

void FillRectangle(Image* image, int x, int y, int width, int height, Color color) {
  CheckRgb(*image);
  const auto right = static_cast<int>(std::min<int64_t>(int64_t{x} + width, image->width));
  const auto bottom = static_cast<int>(std::min<int64_t>(int64_t{y} + height, image->height));
  for (int row = std::max(y, 0); row < bottom; ++row) {
    for (int column = std::max(x, 0); column < right; ++column) {
      uint8_t* pixel = image->at(column, row);
      pixel[0] = color.r;
      pixel[1] = color.g;
      pixel[2] = color.b;
    }
  }
}

void DrawRectangle(Image* image, int x, int y, int width, int height, Color color, int thickness) {
  if (width <= 0 || height <= 0) return;
  const int across = std::min({thickness, width, height});
  FillRectangle(image, x, y, width, across, color);
  FillRectangle(image, x, y + height - across, width, across, color);
  FillRectangle(image, x, y, across, height, color);
  FillRectangle(image, x + width - across, y, across, height, color);
}

void DrawLine(Image* image, double x0, double y0, double x1, double y1, Color color,
              double thickness) {
  CheckRgb(*image);
  if (!std::isfinite(x0 + y0 + x1 + y1)) return;
  const double dx = x1 - x0, dy = y1 - y0;
  const double square = dx * dx + dy * dy;
  const double radius = 0.5 * thickness;
  // Steps along the longer axis; across it, only the pixels near the line are looked at.
  const bool steep = std::abs(dy) > std::abs(dx);
  const double a0 = steep ? y0 : x0, a1 = steep ? y1 : x1;  // along
  const double b0 = steep ? x0 : y0, b1 = steep ? x1 : y1;  // across
  const double slope = a1 == a0 ? 0 : (b1 - b0) / (a1 - a0);
  const double reach = (radius + 1) * std::numbers::sqrt2;
  const int along_size = steep ? image->height : image->width;
  const int across_size = steep ? image->width : image->height;
  const auto first = [](double value) { return static_cast<int>(std::max(value, 0.0)); };
  const auto last = [](double value, int size) {
    return static_cast<int>(std::min(value, size - 1.0));
  };
  const double low = std::min(a0, a1) - reach, high = std::max(a0, a1) + reach;
  if (high < 0 || low > along_size) return;
  for (int a = first(low); a <= last(high, along_size); ++a) {
    const double center =
        b0 + slope * (std::clamp(a + 0.5, std::min(a0, a1), std::max(a0, a1)) - a0);
    if (center + reach < 0 || center - reach > across_size) continue;
    for (int b = first(center - reach); b <= last(center + reach, across_size); ++b) {
      const int x = steep ? b : a, y = steep ? a : b;
      const double px = x + 0.5 - x0, py = y + 0.5 - y0;
      const double t = square > 0 ? std::clamp((px * dx + py * dy) / square, 0.0, 1.0) : 0;
      const double distance = std::hypot(px - t * dx, py - t * dy);
      const double cover = std::clamp(radius + 0.5 - distance, 0.0, 1.0);
      if (cover > 0) Blend(image->at(x, y), color, cover);
    }
  }
}

void DrawText(Image* image, int x, int y, std::string_view text, Color color, int scale) {
  for (const char c : text) {
    if (!BeginsCharacter(c)) continue;
    const uint64_t letter = c >= ' ' && c <= '~' ? kLetters[c - ' '] : kBoxLetter;
    for (int bit = 0; bit < 40; ++bit) {
      if ((letter >> bit & 1) == 0) continue;
      FillRectangle(image, x + bit % 5 * scale, y + bit / 5 * scale, scale, scale, color);
    }
    x += kLetterWidth * scale;
  }
}

int TextWidth(std::string_view text, int scale) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), BeginsCharacter)) * kLetterWidth *
         scale;
}

std::string FitText(std::string_view text, int width, int scale) {
  if (TextWidth(text, scale) <= width) return std::string(text);
  while (!text.empty() && TextWidth(text, scale) + TextWidth("..", scale) > width) {
    while (!BeginsCharacter(text.back()) && text.size() > 1) text.remove_suffix(1);
    text.remove_suffix(1);
  }
  return TextWidth("..", scale) <= width ? std::string(text) + ".." : std::string();
}

void Paste(Image* image, const Image& picture, int x, int y) {
  CheckRgb(*image);
  CheckRgb(picture);
  const int left = std::max(x, 0), right = std::min(x + picture.width, image->width);
  if (left >= right) return;
  for (int row = std::max(y, 0); row < std::min(y + picture.height, image->height); ++row) {
    const uint8_t* from = picture.at(left - x, row - y);
    std::copy(from, from + 3 * (right - left), image->at(left, row));
  }
}

Image ContactSheet(const std::vector<std::string>& column_titles,
                   const std::vector<std::vector<SheetCell>>& rows, int cell_width) {
  constexpr int kMargin = 8;
  constexpr int kTitleScale = 2;
  constexpr int kTitleHeight = kLetterHeight * kTitleScale + kMargin;
  constexpr int kCaptionHeight = kLetterHeight + 4;
  ATHANOR_CHECK(cell_width >= 1, "contact sheet: expected cells of at least 1 pixel, found ",
                cell_width);
  size_t columns = column_titles.size();
  for (const auto& row : rows) columns = std::max(columns, row.size());
  ATHANOR_CHECK(columns > 0, "contact sheet: expected at least one cell");

  const auto height_of = [&](const Image& picture) {
    if (picture.data.empty()) return 0;
    return std::max(1, static_cast<int>(std::lround(static_cast<double>(cell_width) *
                                                    picture.height / picture.width)));
  };
  std::vector<int> row_heights;
  int height = kMargin + (column_titles.empty() ? 0 : kTitleHeight);
  for (const auto& row : rows) {
    int tallest = 0;
    for (const SheetCell& cell : row) tallest = std::max(tallest, height_of(cell.picture));
    row_heights.push_back(tallest);
    height += tallest + kCaptionHeight + kMargin;
  }
  Image sheet(kMargin + static_cast<int>(columns) * (cell_width + kMargin), height, 3, 255);
  int y = kMargin;
  for (size_t i = 0; i < column_titles.size(); ++i) {
    const std::string title = FitText(column_titles[i], cell_width, kTitleScale);
    const int x = kMargin + static_cast<int>(i) * (cell_width + kMargin);
    DrawText(&sheet, x + (cell_width - TextWidth(title, kTitleScale)) / 2, y, title, kBlack,
             kTitleScale);
  }
  if (!column_titles.empty()) y += kTitleHeight;
  for (size_t r = 0; r < rows.size(); ++r) {
    for (size_t i = 0; i < rows[r].size(); ++i) {
      const SheetCell& cell = rows[r][i];
      const int x = kMargin + static_cast<int>(i) * (cell_width + kMargin);
      if (!cell.picture.data.empty()) {
        Paste(&sheet, Resize(ToRgb(cell.picture), cell_width, height_of(cell.picture)), x, y);
      }
      DrawText(&sheet, x, y + row_heights[r] + 3, FitText(cell.caption, cell_width), kBlack);
    }
    y += row_heights[r] + kCaptionHeight + kMargin;
  }
  return sheet;
}

}  // namespace athanor
