// Where masks come from: SAM, or a graph-based segmenter that needs no weights.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "athanor/media/image.h"
#include "athanor/nn/foreign_model.h"
#include "athanor/nn/model_card.h"
#include "athanor/nn/model_store.h"
#include "athanor/scenes/semantics/teachers/masks.h"

namespace athanor {

class MaskSource {
 public:
  virtual ~MaskSource() = default;

  // As Teacher::key.
  virtual std::string key() const = 0;
  // Everything in the picture, large and small things, of the picture's size. They may overlap.
  virtual std::vector<BitMask> Everything(const Image& rgb) = 0;
  // The thing in each box; an empty mask where there is none.
  virtual std::vector<BitMask> InBoxes(const Image& rgb, const std::vector<PixelRect>& boxes) = 0;
};

// Efficient graph-based segmentation (Felzenszwalb & Huttenlocher, IJCV 2004) at several scales of
// observation, from parts to whole things: a region grows while the difference across its border is
// small beside that inside it.
struct GraphSegmenterOptions {
  double smooth_px = 0.8;                         // Gaussian, before edges are measured
  std::vector<double> scales = {100, 400, 1600};  // k of the paper, of colours 0..255
  int min_area_px = 60;                           // at the working size; smaller ones are merged
  int max_side_px = 512;                          // working size of the picture
  double max_iou = 0.85;                          // regions of two scales that are alike are one
};
std::unique_ptr<MaskSource> MakeGraphSegmenter(const GraphSegmenterOptions& options = {});
// Labels from 0, without gaps, of one scale: [height * width].
std::vector<int32_t> SegmentGraph(const Image& rgb, double scale, double smooth_px,
                                  int min_area_px);

// Segment Anything (Kirillov et al. 2023), exported as an encoder and a decoder. Card of kind
// "sam": files "encoder" and "decoder", ports image, embeddings_out, embeddings, point_coords,
// point_labels, mask_input, has_mask_input, orig_im_size, masks, iou; numbers "points" (a side of
// the grid), "min_iou", "min_stability", "max_iou", "min_area", "long_side" (of the encoder's
// input), "mask_side" (of the masks while they are sorted out). Throws Error.
std::unique_ptr<MaskSource> OpenSam(const ModelCard& card, const ModelStore& store);

}  // namespace athanor
