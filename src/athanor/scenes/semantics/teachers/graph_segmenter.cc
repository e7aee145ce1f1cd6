#include <algorithm>
#include <cmath>
#include <numeric>

#include "athanor/base/error.h"
#include "athanor/base/hash.h"
#include "athanor/scenes/semantics/teachers/mask_source.h"

namespace athanor {
namespace {

// A region belongs to a box when this much of it lies inside.
constexpr double kInsideBox = 0.8;

struct Edge {
  int32_t a, b;
  float weight;
};

class Forest {
 public:
  explicit Forest(int n) : parent_(n), size_(n, 1), inside_(n, 0.0f) {
    std::iota(parent_.begin(), parent_.end(), 0);
  }
  int Find(int x) {
    while (parent_[x] != x) x = parent_[x] = parent_[parent_[x]];
    return x;
  }
  // Roots of two regions, and the weight of the edge that joins them.
  void Join(int a, int b, float weight) {
    if (size_[a] < size_[b]) std::swap(a, b);
    parent_[b] = a;
    size_[a] += size_[b];
    inside_[a] = weight;
  }
  int size(int root) const { return size_[root]; }
  float inside(int root) const { return inside_[root]; }

 private:
  std::vector<int> parent_, size_;
  std::vector<float> inside_;  // the largest edge of the region's minimum spanning tree
};

// Separable Gaussian; borders are repeated.
std::vector<float> Smooth(const Image& rgb, double sigma) {
  const int width = rgb.width, height = rgb.height, radius = static_cast<int>(std::ceil(3 * sigma));
  std::vector<float> kernel(2 * radius + 1);
  float sum = 0;
  for (int i = -radius; i <= radius; ++i) {
    kernel[i + radius] =
        sigma > 0 ? static_cast<float>(std::exp(-0.5 * i * i / (sigma * sigma))) : 1.0f;
    sum += kernel[i + radius];
  }
  for (float& each : kernel) each /= sum;
  std::vector<float> rows(rgb.data.size()), out(rgb.data.size());
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c) {
        float value = 0;
        for (int i = -radius; i <= radius; ++i) {
          value += kernel[i + radius] * rgb.at(std::clamp(x + i, 0, width - 1), y)[c];
        }
        rows[(static_cast<size_t>(y) * width + x) * 3 + c] = value;
      }
    }
  }
  for (int y = 0; y < height; ++y) {
    for (int i = -radius; i <= radius; ++i) {
      const float* from = &rows[static_cast<size_t>(std::clamp(y + i, 0, height - 1)) * width * 3];
      float* to = &out[static_cast<size_t>(y) * width * 3];
      for (int j = 0; j < width * 3; ++j) to[j] += kernel[i + radius] * from[j];
    }
  }
  return out;
}

class GraphSegmenter : public MaskSource {
 public:
  explicit GraphSegmenter(const GraphSegmenterOptions& options) : options_(options) {
    ATHANOR_CHECK(options.max_side_px >= 16 && options.min_area_px >= 1 && !options.scales.empty(),
                  "graph segmenter: max_side_px ", options.max_side_px, ", min_area_px ",
                  options.min_area_px, ", ", options.scales.size(), " scales");
  }

  std::string key() const override {
    std::string text = StrCat(options_.smooth_px, " ", options_.min_area_px, " ",
                              options_.max_side_px, " ", options_.max_iou);
    for (const double scale : options_.scales) text += StrCat(" ", scale);
    return "graph-" + HexDigits(HashBytes(text));
  }

  std::vector<BitMask> Everything(const Image& rgb) override {
    ATHANOR_CHECK(rgb.channels == 3 && rgb.width > 0 && rgb.height > 0,
                  "graph segmenter: expected an RGB picture");
    const double shrink =
        std::min(1.0, static_cast<double>(options_.max_side_px) / std::max(rgb.width, rgb.height));
    const int width = std::max(1, static_cast<int>(std::lround(rgb.width * shrink)));
    const int height = std::max(1, static_cast<int>(std::lround(rgb.height * shrink)));
    const Image small = shrink < 1 ? Resize(rgb, width, height) : rgb;
    std::vector<BitMask> masks;
    std::vector<float> scores;
    for (const double scale : options_.scales) {
      const std::vector<int32_t> labels =
          SegmentGraph(small, scale, options_.smooth_px, options_.min_area_px);
      const int count = 1 + *std::max_element(labels.begin(), labels.end());
      for (int label = 0; label < count; ++label) {
        masks.push_back(BitMask::FromLabels(labels, width, height, label));
        scores.push_back(static_cast<float>(scale));
      }
    }
    std::vector<BitMask> kept;
    for (const size_t index : SuppressMasks(masks, scores, options_.max_iou)) {
      kept.push_back(ResizeMask(masks[index], rgb.width, rgb.height));
    }
    return kept;
  }

  std::vector<BitMask> InBoxes(const Image& rgb, const std::vector<PixelRect>& boxes) override {
    const std::vector<BitMask> all = Everything(rgb);
    std::vector<BitMask> found;
    for (const PixelRect& box : boxes) {
      BitMask inside(rgb.width, rgb.height);
      for (int y = std::max(0, box.top); y < std::min(rgb.height, box.bottom); ++y) {
        for (int x = std::max(0, box.left); x < std::min(rgb.width, box.right); ++x) {
          inside.Set(x, y, true);
        }
      }
      inside.Close();
      BitMask thing(rgb.width, rgb.height);
      for (const BitMask& mask : all) {
        if (static_cast<double>(Overlap(mask, inside)) <
            kInsideBox * static_cast<double>(mask.area())) {
          continue;
        }
        for (int y = mask.box().top; y < mask.box().bottom; ++y) {
          for (int word = 0; word < mask.words(); ++word) {
            thing.Row(y)[word] |= mask.Row(y)[word] & inside.Row(y)[word];
          }
        }
      }
      thing.Close();
      found.push_back(std::move(thing));
    }
    return found;
  }

 private:
  GraphSegmenterOptions options_;
};

}  // namespace

std::vector<int32_t> SegmentGraph(const Image& rgb, double scale, double smooth_px,
                                  int min_area_px) {
  const int width = rgb.width, height = rgb.height;
  const std::vector<float> colours = Smooth(rgb, smooth_px);
  std::vector<Edge> edges;
  edges.reserve(static_cast<size_t>(width) * height * 4);
  const auto add = [&](int x, int y, int other_x, int other_y) {
    if (other_x < 0 || other_x >= width || other_y >= height) return;
    const int a = y * width + x, b = other_y * width + other_x;
    float sum = 0;
    for (int c = 0; c < 3; ++c) {
      const float d =
          colours[static_cast<size_t>(a) * 3 + c] - colours[static_cast<size_t>(b) * 3 + c];
      sum += d * d;
    }
    edges.push_back({a, b, std::sqrt(sum)});
  };
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      add(x, y, x + 1, y);
      add(x, y, x, y + 1);
      add(x, y, x + 1, y + 1);
      add(x, y, x - 1, y + 1);
    }
  }
  std::stable_sort(edges.begin(), edges.end(),
                   [](const Edge& a, const Edge& b) { return a.weight < b.weight; });
  Forest forest(width * height);
  for (const Edge& edge : edges) {
    const int a = forest.Find(edge.a), b = forest.Find(edge.b);
    if (a == b) continue;
    const double limit = std::min(forest.inside(a) + scale / forest.size(a),
                                  forest.inside(b) + scale / forest.size(b));
    if (edge.weight <= limit) forest.Join(a, b, edge.weight);
  }
  for (const Edge& edge : edges) {
    const int a = forest.Find(edge.a), b = forest.Find(edge.b);
    if (a != b && std::min(forest.size(a), forest.size(b)) < min_area_px) {
      forest.Join(a, b, edge.weight);
    }
  }
  std::vector<int32_t> labels(static_cast<size_t>(width) * height), label_of(labels.size(), -1);
  int32_t next = 0;
  for (int i = 0; i < width * height; ++i) {
    int32_t& label = label_of[forest.Find(i)];
    if (label < 0) label = next++;
    labels[i] = label;
  }
  return labels;
}

std::unique_ptr<MaskSource> MakeGraphSegmenter(const GraphSegmenterOptions& options) {
  return std::make_unique<GraphSegmenter>(options);
}

}  // namespace athanor
