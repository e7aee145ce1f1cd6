// Corruptions of one camera picture.
#pragma once

#include <cstdint>

#include "athanor/detection/corruption/corruption.h"
#include "athanor/media/image.h"

namespace athanor {

// The picture (RGB) as the corrupted camera would give it; a copy for kinds that leave pictures
// alone or that are about when and where a camera is. kMissingCamera is decided by its probability
// here; kLostCamera blackens what it is given (which cameras are lost: log_corruption.h).
//
// Fog: with `depth` (metres, one channel, any size: stretched over the picture), Koschmieder's law
// J t + A (1 - t), t = exp(-alpha d), with the extinction of the LiDAR fog of the same severity
// (0.02, 0.03, 0.06 per metre), thicker and thinner by a plasma fractal, and the airlight A of the
// sky in the picture. Without, MultiCorrupt's own picture: plasma noise, and a depth that is the
// distance in pixels from a rectangle on the road, beta 0.0005, 0.001, 0.002.
//
// Throws Error for a picture that is not RGB or a wrong severity. Any size works, also 1 x 1 and
// none. Thread-safe; the result does not depend on the number of threads.
Image CorruptImage(const Image& image, const Corruption& corruption, uint64_t key,
                   const FloatImage* depth = nullptr);

// A plasma fractal (diamond-square on a torus, decay 1.7), 0 to 1, of `side` x `side`, a power of
// two of at least 2.
FloatImage PlasmaFractal(int side, uint64_t key);

}  // namespace athanor
