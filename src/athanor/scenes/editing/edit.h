// Changes to a scene of Gaussians; the result is a scene like any other. Rows: selection.h; each
// function throws Error for a row that the scene does not have.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <span>

#include "athanor/datasets/gaussian_cloud.h"
#include "athanor/scenes/gaussians/transform.h"

namespace athanor {

// The scene of these rows alone, in their order.
GaussianCloud TakeRows(const GaussianCloud& cloud, std::span<const int64_t> rows);

// Adds the Gaussians of `other` behind the last. The SH degree becomes the higher of the two.
void AppendScene(const GaussianCloud& other, GaussianCloud* cloud);

// Mean of the centres, weighted by opacity: what rotations and scalings leave where it is. Throws
// Error for no rows.
Eigen::Vector3d CenterOf(const GaussianCloud& cloud, std::span<const int64_t> rows);

// The similarity that leaves `center` where it is, then shifts by `by`.
Similarity3 AboutCenter(const Eigen::Vector3d& center, const Eigen::Quaterniond& rotation,
                        double scale, const Eigen::Vector3d& by);

// Gives the selection one colour and keeps its light and shade: the colour towards any direction
// becomes `color` times its brightness (Rec. 709 luma) over the mean brightness of the selection.
// color: sRGB, 0..1. A selection that is black all over gets `color` as it is.
void Recolor(const Eigen::Vector3f& color, std::span<const int64_t> rows, GaussianCloud* cloud);

}  // namespace athanor
