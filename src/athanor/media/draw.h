// Drawing on RGB images: boxes, lines, text, and sheets of pictures side by side. What lies outside
// of the image is cut off.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "athanor/media/color_map.h"
#include "athanor/media/image.h"

namespace athanor {

inline constexpr Color kBlack = {0, 0, 0};
inline constexpr Color kWhite = {255, 255, 255};
inline constexpr Color kGrey = {128, 128, 128};

// Grey or RGBA as RGB (alpha is dropped); RGB as it is. Throws Error for other channel counts.
Image ToRgb(const Image& image);

// The pixels from (x, y), `width` x `height` of them. Like all below: RGB images only, else Error.
void FillRectangle(Image* image, int x, int y, int width, int height, Color color);
// Their outline, `thickness` pixels inwards.
void DrawRectangle(Image* image, int x, int y, int width, int height, Color color,
                   int thickness = 1);

// A smooth line with round ends; pixel centres at +0.5. Nothing when an end is not finite.
void DrawLine(Image* image, double x0, double y0, double x1, double y1, Color color,
              double thickness = 1);

// Text in letters of 5 x 8 pixels, 6 apart, times `scale`; (x, y) is the top left corner. ASCII;
// any other character of UTF-8 is drawn as a box.
inline constexpr int kLetterWidth = 6;
inline constexpr int kLetterHeight = 8;
void DrawText(Image* image, int x, int y, std::string_view text, Color color, int scale = 1);
// Width of the text in pixels.
int TextWidth(std::string_view text, int scale = 1);
// The text, or its beginning and "..", such that it is at most `width` pixels wide.
std::string FitText(std::string_view text, int width, int scale = 1);

// Copies a picture onto another, its top left corner at (x, y).
void Paste(Image* image, const Image& picture, int x, int y);

// One picture of a sheet and the line below it.
struct SheetCell {
  Image picture;  // grey, RGB or RGBA; empty leaves the cell blank
  std::string caption;
};

// A table of pictures: titles above the columns ("truth", "render", "error"), a caption below each
// picture. Pictures are resized to `cell_width` pixels; a row is as tall as its tallest. Rows may
// have different lengths. RGB. Throws Error when there is no cell at all.
Image ContactSheet(const std::vector<std::string>& column_titles,
                   const std::vector<std::vector<SheetCell>>& rows, int cell_width = 320);

}  // namespace athanor
