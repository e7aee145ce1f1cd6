#include "athanor/scenes/semantics/teachers/masks.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <numeric>

#include "athanor/base/error.h"

namespace athanor {
namespace {

struct Region {
  int64_t pixels = 0;
  bool touches_border = false;
};

// Connected parts of the pixels that are `value`; 4 neighbours. Labels from 0, -1 elsewhere.
std::vector<Region> LabelParts(const BitMask& mask, bool value, std::vector<int32_t>* labels) {
  const int width = mask.width(), height = mask.height();
  labels->assign(static_cast<size_t>(width) * height, -1);
  std::vector<Region> regions;
  std::vector<int64_t> open;
  for (int64_t start = 0; start < int64_t{width} * height; ++start) {
    const auto is_free = [&](int64_t at) {
      return (*labels)[at] < 0 &&
             mask.Get(static_cast<int>(at % width), static_cast<int>(at / width)) == value;
    };
    if (!is_free(start)) continue;
    const auto label = static_cast<int32_t>(regions.size());
    Region region;
    open.assign(1, start);
    (*labels)[start] = label;
    while (!open.empty()) {
      const int64_t at = open.back();
      open.pop_back();
      ++region.pixels;
      const int64_t x = at % width, y = at / width;
      region.touches_border |= x == 0 || y == 0 || x == width - 1 || y == height - 1;
      const auto visit = [&](bool inside, int64_t next) {
        if (!inside || !is_free(next)) return;
        (*labels)[next] = label;
        open.push_back(next);
      };
      visit(x > 0, at - 1);
      visit(x < width - 1, at + 1);
      visit(y > 0, at - width);
      visit(y < height - 1, at + width);
    }
    regions.push_back(region);
  }
  return regions;
}

}  // namespace

PixelRect PixelRect::Intersect(const PixelRect& other) const {
  return {std::max(left, other.left), std::max(top, other.top), std::min(right, other.right),
          std::min(bottom, other.bottom)};
}

BitMask::BitMask(int width_px, int height_px)
    : width_(width_px), height_(height_px), words_((width_px + 63) / 64) {
  ATHANOR_CHECK(width_px > 0 && height_px > 0, "a mask of ", width_px, " x ", height_px, " pixels");
  bits_.assign(static_cast<size_t>(words_) * height_px, 0);
}

BitMask BitMask::FromLabels(std::span<const int32_t> labels, int width_px, int height_px,
                            int32_t label) {
  BitMask mask(width_px, height_px);
  ATHANOR_CHECK(labels.size() == static_cast<size_t>(width_px) * height_px, "a mask of ", width_px,
                " x ", height_px, " pixels from ", labels.size(), " labels");
  for (int y = 0; y < height_px; ++y) {
    uint64_t* row = mask.Row(y);
    const int32_t* from = labels.data() + static_cast<size_t>(y) * width_px;
    for (int x = 0; x < width_px; ++x) {
      row[x >> 6] |= static_cast<uint64_t>(from[x] == label) << (x & 63);
    }
  }
  mask.Close();
  return mask;
}

void BitMask::Set(int x, int y, bool value) {
  const uint64_t bit = uint64_t{1} << (x & 63);
  uint64_t& word = Row(y)[x >> 6];
  word = value ? word | bit : word & ~bit;
}

void BitMask::Close() {
  area_ = 0;
  box_ = {width_, height_, 0, 0};
  for (int y = 0; y < height_; ++y) {
    const uint64_t* row = Row(y);
    int64_t pixels = 0;
    for (int word = 0; word < words_; ++word) {
      if (row[word] == 0) continue;
      pixels += std::popcount(row[word]);
      box_.left = std::min(box_.left, word * 64 + std::countr_zero(row[word]));
      box_.right = std::max(box_.right, word * 64 + 64 - std::countl_zero(row[word]));
    }
    if (pixels == 0) continue;
    box_.top = std::min(box_.top, y);
    box_.bottom = y + 1;
    area_ += pixels;
  }
  if (area_ == 0) box_ = {};
}

int64_t Overlap(const BitMask& a, const BitMask& b) {
  ATHANOR_CHECK(a.width() == b.width() && a.height() == b.height(), "a mask of ", a.width(), " x ",
                a.height(), " pixels beside one of ", b.width(), " x ", b.height());
  const PixelRect common = a.box().Intersect(b.box());
  if (common.empty()) return 0;
  const int first = common.left >> 6, last = (common.right - 1) >> 6;
  int64_t pixels = 0;
  for (int y = common.top; y < common.bottom; ++y) {
    const uint64_t* row_a = a.Row(y);
    const uint64_t* row_b = b.Row(y);
    for (int word = first; word <= last; ++word) pixels += std::popcount(row_a[word] & row_b[word]);
  }
  return pixels;
}

BitMask ResizeMask(const BitMask& mask, int width_px, int height_px) {
  BitMask resized(width_px, height_px);
  for (int y = 0; y < height_px; ++y) {
    const int from_y = static_cast<int>((2 * int64_t{y} + 1) * mask.height() / (2 * height_px));
    for (int x = 0; x < width_px; ++x) {
      const int from_x = static_cast<int>((2 * int64_t{x} + 1) * mask.width() / (2 * width_px));
      if (mask.Get(from_x, from_y)) resized.Set(x, y, true);
    }
  }
  resized.Close();
  return resized;
}

BitMask CleanMask(const BitMask& mask, int64_t max_hole_px, int64_t min_island_px) {
  BitMask clean = mask;
  std::vector<int32_t> labels;
  const std::vector<Region> gaps = LabelParts(clean, false, &labels);
  for (int64_t at = 0; at < static_cast<int64_t>(labels.size()); ++at) {
    if (labels[at] < 0) continue;
    const Region& gap = gaps[labels[at]];
    // A gap at the border is no hole.
    if (gap.pixels < max_hole_px && !gap.touches_border) {
      clean.Set(static_cast<int>(at % mask.width()), static_cast<int>(at / mask.width()), true);
    }
  }
  const std::vector<Region> islands = LabelParts(clean, true, &labels);
  const auto largest =
      std::max_element(islands.begin(), islands.end(),
                       [](const Region& a, const Region& b) { return a.pixels < b.pixels; });
  for (int64_t at = 0; at < static_cast<int64_t>(labels.size()); ++at) {
    if (labels[at] < 0) continue;
    if (islands[labels[at]].pixels < min_island_px && labels[at] != largest - islands.begin()) {
      clean.Set(static_cast<int>(at % mask.width()), static_cast<int>(at / mask.width()), false);
    }
  }
  clean.Close();
  return clean;
}

std::vector<size_t> SuppressMasks(std::span<const BitMask> masks, std::span<const float> scores,
                                  double max_iou) {
  ATHANOR_CHECK(masks.size() == scores.size(), masks.size(), " masks with ", scores.size(),
                " scores");
  std::vector<size_t> order(masks.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  std::vector<size_t> kept;
  for (const size_t index : order) {
    const BitMask& mask = masks[index];
    if (mask.area() == 0) continue;
    const bool is_new = std::none_of(kept.begin(), kept.end(), [&](size_t better) {
      const BitMask& other = masks[better];
      // IoU > t needs an overlap above t (A + B) / (1 + t), which neither the smaller mask nor the
      // common box can exceed.
      const double needed =
          max_iou * static_cast<double>(mask.area() + other.area()) / (1 + max_iou);
      if (std::min(mask.area(), other.area()) <= needed) return false;
      if (mask.box().Intersect(other.box()).area() <= needed) return false;
      return Overlap(mask, other) > needed;
    });
    if (is_new) kept.push_back(index);
  }
  return kept;
}

at::Tensor LayerMasks(std::span<const BitMask> masks, int width_px, int height_px) {
  std::vector<size_t> order(masks.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return masks[a].area() > masks[b].area(); });
  std::vector<BitMask> layers;
  std::vector<int> layer_of(masks.size(), -1);
  for (const size_t index : order) {
    const BitMask& mask = masks[index];
    ATHANOR_CHECK(mask.width() == width_px && mask.height() == height_px, "mask ", index, " is ",
                  mask.width(), " x ", mask.height(), " pixels, the picture ", width_px, " x ",
                  height_px);
    if (mask.area() == 0) continue;
    size_t layer = 0;
    while (layer < layers.size() && Overlap(layers[layer], mask) > 0) ++layer;
    if (layer == layers.size()) layers.emplace_back(width_px, height_px);
    for (int y = mask.box().top; y < mask.box().bottom; ++y) {
      for (int word = 0; word < mask.words(); ++word)
        layers[layer].Row(y)[word] |= mask.Row(y)[word];
    }
    layers[layer].Close();
    layer_of[index] = static_cast<int>(layer);
  }
  at::Tensor ids =
      at::full({static_cast<int64_t>(layers.size()), height_px, width_px}, -1, at::kInt);
  int32_t* data = ids.data_ptr<int32_t>();
  for (size_t index = 0; index < masks.size(); ++index) {
    if (layer_of[index] < 0) continue;
    const PixelRect& box = masks[index].box();
    for (int y = box.top; y < box.bottom; ++y) {
      int32_t* row = data + (int64_t{layer_of[index]} * height_px + y) * width_px;
      for (int x = box.left; x < box.right; ++x) {
        if (masks[index].Get(x, y)) row[x] = static_cast<int32_t>(index);
      }
    }
  }
  return ids;
}

}  // namespace athanor
