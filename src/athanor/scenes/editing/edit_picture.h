// What an edit changed, as a picture.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "athanor/media/image.h"
#include "athanor/scenes/gaussians/camera_path.h"
#include "athanor/scenes/gaussians/open_scene.h"

namespace athanor {

// Where one may look at a scene from: the photographs' places, no larger than the run trained on,
// or, for a bare file, an orbit around it with `up` pointing up.
std::vector<PathView> ViewsOf(const OpenedScene& scene, const Eigen::Vector3d& up);

// The view that shows most of the rows: the sum of what they contribute to its pixels. Rendered
// small. At most 48 of the views are tried, evenly spread. Throws Error for no views.
PathView FindBestView(const GaussianCloud& cloud, std::span<const int64_t> rows,
                      const std::vector<PathView>& views);

// The two scenes side by side.
Image BeforeAndAfter(const GaussianCloud& before, const GaussianCloud& after, const PathView& view,
                     const RenderOptions& options);

}  // namespace athanor
