// Pictures of a scene along a camera path.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "athanor/media/image.h"
#include "athanor/scenes/gaussians/camera_path.h"
#include "athanor/scenes/gaussians/gaussian_model.h"
#include "athanor/scenes/gaussians/renderer.h"

namespace athanor {

enum class Channel {
  kRgb,
  kDepth,        // expected depth, coloured: near is warm, far cold, nothing there is black
  kMedianDepth,  // where half of the light is gone, coloured likewise
  kAlpha,        // grey: 0 nothing there, 255 solid
};
// "rgb", "depth", "median_depth" or "alpha". Throws Error for others.
Channel ChannelFromName(std::string_view name);

// The views at `width_px`, heights in proportion. With 0, their size is kept, but views whose
// longer side is above `max_side_px` (0: no limit) shrink to that.
std::vector<PathView> ResizePath(std::vector<PathView> path, int width_px, int max_side_px);

// Renders the views to folder/frame_0000.png and so on; depths of all frames are coloured on one
// scale. Also writes folder/overview.png, a sheet of at most 12 of the frames, and returns its
// path. Throws Error for an empty path.
std::filesystem::path RenderPath(const GaussianModel& model, const std::vector<PathView>& path,
                                 const RenderOptions& options, Channel channel,
                                 const std::filesystem::path& folder);

}  // namespace athanor
