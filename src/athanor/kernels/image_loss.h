// The photometric loss of Gaussian splatting and its gradient in one pass over the image:
// (1 - w) mean |x - y| + w (1 - SSIM(x, y)).
//
// SSIM (Wang et al. 2004) with an 11 x 11 Gaussian window of sigma 1.5, zeros outside the image,
// C1 = 0.01^2, C2 = 0.03^2 on values in [0, 1], mean over pixels and channels: as Inria's trainer.
#pragma once

#include <cstdint>

namespace athanor {

struct ImageLossArgs {
  int width_px, height_px, channels;
  const float* image;   // [C,H,W] x
  const float* target;  // [C,H,W] y
  const uint8_t* mask;  // [H,W]; pixels of 0 count as equal in both images. Null: none does
  float ssim_weight;    // w in [0, 1]
  float* d_image;       // [C,H,W] out: gradient of the loss; null: values only
  // Out.
  double l1;    // mean |x - y|
  double ssim;  // mean SSIM
};

// Same inputs, same bytes, whatever the number of threads.
void ImageLossCpu(ImageLossArgs* args);

// `sums` is device memory for 2 doubles (l1, ssim), which the caller reads back.
void ImageLossCuda(const ImageLossArgs& args, double* sums, void* stream);

}  // namespace athanor
