// Networks that take pictures of one size, on pictures of any size: windows that overlap, at
// several scales, blended into one map.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "athanor/media/image.h"
#include "athanor/nn/foreign_model.h"
#include "athanor/nn/model_card.h"

namespace athanor {

// The picture, resized to this size, as the card wants it: [1,3,H,W], [1,H,W,3] or [H,W,3] f32.
at::Tensor InputTensor(const Image& rgb, int width_px, int height_px, const ModelInput& input);

// How many cells a map of a picture has, at `cell_px` pixels a cell; at least one.
struct GridSize {
  int rows, columns;
};
GridSize GridOf(const Image& rgb, int cell_px);

struct WindowOptions {
  // Height of the resized picture, in heights of the network's input: 1 sees the whole height at
  // once, 2 looks closer, 0.5 sees close things as if from further away. What lies beside the
  // picture has the mean colour. 0: the whole picture in one window, squeezed to its shape.
  std::vector<double> scales = {1};
  double overlap = 0.25;  // of neighbouring windows, at least
  bool softmax = false;   // over channels, before blending
  // With softmax: where windows disagree, the surer one counts more, by its largest probability to
  // this power.
  double sureness = 0;
};

class WindowNetwork {
 public:
  // The input size is the card's; `output` is a map [1,C,h,w] or [1,h,w,C], of any h and w, that
  // covers the input.
  WindowNetwork(std::unique_ptr<ForeignModel> model, const ModelCard& card, std::string output,
                int channels, bool channels_last, WindowOptions options);

  // [rows,columns,C] f32. Throws Error when the network's output is of another shape or holds NaN.
  at::Tensor Map(const Image& rgb, GridSize grid);

 private:
  at::Tensor RunWindow(const Image& window);

  std::unique_ptr<ForeignModel> model_;
  ModelInput input_;
  std::string where_, output_;
  int channels_;
  bool channels_last_;
  WindowOptions options_;
};

// The part of a picture; what lies outside is of this colour.
Image Crop(const Image& image, int left, int top, int width_px, int height_px,
           const std::array<uint8_t, 3>& outside = {0, 0, 0});

}  // namespace athanor
