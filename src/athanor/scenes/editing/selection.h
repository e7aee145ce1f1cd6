// Which Gaussians of a scene are meant. A selection is a list of rows of the cloud, rising, each
// once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "athanor/datasets/gaussian_cloud.h"
#include "athanor/geometry/box3.h"

namespace athanor {

using Rows = std::vector<int64_t>;

// Those whose centres lie in the box, which is in the scene's frame.
Rows RowsInBox(const GaussianCloud& cloud, const Box3& box);

// Row numbers from a text file, one a line, in any order, each once or more. Throws Error (path,
// line, expectation) for what is no row of a scene of `n` Gaussians, and for a file without any.
Rows ReadRows(const std::filesystem::path& path, int64_t n);
// Written aside and renamed. Throws Error.
void WriteRows(const std::filesystem::path& path, std::span<const int64_t> rows);

// All rows of a scene of `n` Gaussians that are not in `rows`.
Rows OtherRows(std::span<const int64_t> rows, int64_t n);

// The selection and what lies inside of it: all Gaussians within the convex hull of its centres,
// after centres that lie apart are dropped (beyond 1 interquartile range from the quartiles, per
// axis), as Gaussian Grouping (Ye et al. 2024) removes objects. What hides inside an object, or
// floats in it, was never named by any photograph. The hull is that of 256 directions (a k-DOP,
// Klosowski et al. 1998): never smaller than the true one, and a few percent larger. That of no
// rows holds none.
Rows GrowIntoHull(const GaussianCloud& cloud, std::span<const int64_t> rows);

}  // namespace athanor
