// Networks that find things of fixed classes in boxes.
#pragma once

#include <string>
#include <vector>

#include "athanor/media/image.h"
#include "athanor/nn/foreign_model.h"
#include "athanor/nn/model_card.h"
#include "athanor/nn/model_store.h"
#include "athanor/scenes/semantics/teachers/masks.h"

namespace athanor {

struct FoundBox {
  PixelRect box;  // in the picture
  int label = 0;
  float score = 0;
};

// Card of kind "detector": file "network", labels, port "decoder" = how its output is read, numbers
// "min_score", "max_iou" (of boxes of one class).
//   "ssd"         ports boxes [1,A,4] and scores [1,A,1+C] (logits, class 0 = nothing), anchors as
//                 TensorFlow's detection API makes them for 300 x 300 (Liu et al. 2016)
//   "fastestdet"  port map [1,5+C,h,w]: objectness, offsets, sizes, classes of each cell
class PictureDetector {
 public:
  PictureDetector(const ModelCard& card, const ModelStore& store);

  // Best score first. Throws Error when the network's output is of another shape or holds NaN.
  std::vector<FoundBox> Find(const Image& rgb);

 private:
  std::vector<FoundBox> DecodeSsd(const at::Tensor& boxes, const at::Tensor& logits,
                                  const Image& rgb) const;
  std::vector<FoundBox> DecodeFastestDet(const at::Tensor& map, const Image& rgb) const;

  ModelCard card_;
  std::string decoder_;
  std::unique_ptr<ForeignModel> model_;
  float min_score_;
};

}  // namespace athanor
