// Regions of a picture as sets of pixels, and what is done to a heap of them that a segmenter
// gives.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace athanor {

// Pixels [left, right) x [top, bottom).
struct PixelRect {
  int left = 0, top = 0, right = 0, bottom = 0;

  bool empty() const { return right <= left || bottom <= top; }
  int64_t area() const { return empty() ? 0 : int64_t{right - left} * (bottom - top); }
  PixelRect Intersect(const PixelRect& other) const;
};

// One bit a pixel; a row begins at a word, so that two masks are compared 64 pixels at a time.
class BitMask {
 public:
  BitMask() = default;
  BitMask(int width_px, int height_px);
  // True where values[y * width + x] != 0 (labels: where it is `label`).
  static BitMask FromLabels(std::span<const int32_t> labels, int width_px, int height_px,
                            int32_t label);

  int width() const { return width_; }
  int height() const { return height_; }
  bool Get(int x, int y) const { return Row(y)[x >> 6] >> (x & 63) & 1; }
  void Set(int x, int y, bool value);
  // After the last Set: finds the box and the area.
  void Close();
  const PixelRect& box() const { return box_; }  // tight
  int64_t area() const { return area_; }

  uint64_t* Row(int y) { return bits_.data() + static_cast<size_t>(y) * words_; }
  const uint64_t* Row(int y) const { return bits_.data() + static_cast<size_t>(y) * words_; }
  int words() const { return words_; }

 private:
  int width_ = 0, height_ = 0, words_ = 0;
  std::vector<uint64_t> bits_;
  PixelRect box_;
  int64_t area_ = 0;
};

// Pixels in both. Masks of one size; only the common part of their boxes is looked at.
int64_t Overlap(const BitMask& a, const BitMask& b);

// Nearest pixel, to another size.
BitMask ResizeMask(const BitMask& mask, int width_px, int height_px);

// Gaps inside of fewer than `max_hole_px` pixels are filled, islands of fewer than `min_island_px`
// are removed (the largest stays). SAM's small-region clean-up.
BitMask CleanMask(const BitMask& mask, int64_t max_hole_px, int64_t min_island_px);

// Indices of the masks to keep, best score first: none of which overlaps a better one by more than
// `max_iou`. Boxes that cannot reach it are passed over without a look at the pixels.
std::vector<size_t> SuppressMasks(std::span<const BitMask> masks, std::span<const float> scores,
                                  double max_iou);

// [L,H,W] i32 of mask indices, -1 = none, as ViewFeatures has them: large masks first, each in the
// lowest layer where it overlaps none. Empty masks lie nowhere. Throws Error for masks of another
// size.
at::Tensor LayerMasks(std::span<const BitMask> masks, int width_px, int height_px);

}  // namespace athanor
