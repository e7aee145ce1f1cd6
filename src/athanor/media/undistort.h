// Resampling an image of one camera as another with the same centre and orientation sees it:
// taking the distortion of a lens out.
#pragma once

#include "athanor/geometry/camera.h"
#include "athanor/media/image.h"

namespace athanor {

enum class Sampling {
  kBilinear,  // photographs
  kNearest,   // masks and labels, where a mean of two values means nothing
};

// The image that `target`, a pinhole camera (see UndistortedCamera), takes where `source` took
// `image`. Exact to rounding: each pixel's ray goes through the source's forward model. Pixels that
// the source does not see are 0; within half a pixel of its border they repeat the border.
//
// Bilinear sampling reads the four nearest pixels and no more: where the target is much smaller,
// first Resize the image and its camera (Camera::Resized), else fine detail turns into noise.
// On all threads. Throws Error when the image has not the source's size, or target is no pinhole.
Image Undistort(const Image& image, const Camera& source, const Camera& target,
                Sampling sampling = Sampling::kBilinear);

// The same for 16-bit maps, nearest sampling. Depth along the optical axis, and labels, keep their
// values.
DepthImage Undistort(const DepthImage& image, const Camera& source, const Camera& target);

}  // namespace athanor
