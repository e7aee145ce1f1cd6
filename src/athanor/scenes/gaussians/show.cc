#include "athanor/scenes/gaussians/show.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "athanor/base/error.h"
#include "athanor/base/progress.h"
#include "athanor/media/color_map.h"
#include "athanor/media/draw.h"
#include "athanor/scenes/gaussians/evaluate.h"

namespace athanor {
namespace {

// Depth of what was rendered last, 0 where less than half of a pixel is covered.
FloatImage DepthOf(const GaussianRenderer& renderer, Channel channel) {
  const bool median = channel == Channel::kMedianDepth;
  const at::Tensor depth = (median ? renderer.median_depth : renderer.depth).to(at::kCPU);
  const at::Tensor left = renderer.transmittance.to(at::kCPU);
  FloatImage image(static_cast<int>(depth.size(1)), static_cast<int>(depth.size(0)), 1);
  const float* d = depth.data_ptr<float>();
  const float* t = left.data_ptr<float>();
  for (size_t i = 0; i < image.data.size(); ++i) {
    const float alpha = 1 - t[i];
    if (alpha > 0.5f) image.data[i] = median ? d[i] : d[i] / alpha;
  }
  return image;
}

struct DepthRange {
  float near = 1, far = 2;
};

// What most pixels of a few views along the path lie within.
DepthRange FindDepthRange(GaussianRenderer* renderer, const GaussianModel& model,
                          const std::vector<PathView>& path, const RenderOptions& options,
                          Channel channel) {
  constexpr size_t kSamples = 6;
  std::vector<float> depths;
  const size_t samples = std::min(kSamples, path.size());
  for (size_t i = 0; i < samples; ++i) {
    const PathView& view = path[i * path.size() / samples];
    renderer->Render(model, MakeView(view.camera, view.camera_from_world), options);
    for (const float depth : DepthOf(*renderer, channel).data) {
      if (depth > 0) depths.push_back(depth);
    }
  }
  if (depths.empty()) return {};
  std::sort(depths.begin(), depths.end());
  DepthRange range = {depths[depths.size() / 50], depths[depths.size() - 1 - depths.size() / 50]};
  // The far end of the colour map is as dark as nothing at all: what is there stays clear of it.
  range.far *= 1.25f;
  return range;
}

Image GreyOf(const at::Tensor& transmittance) {
  const at::Tensor left = transmittance.to(at::kCPU);
  Image image(static_cast<int>(left.size(1)), static_cast<int>(left.size(0)), 1);
  const float* t = left.data_ptr<float>();
  for (size_t i = 0; i < image.data.size(); ++i) {
    image.data[i] = static_cast<uint8_t>(std::lround(255 * std::clamp(1 - t[i], 0.0f, 1.0f)));
  }
  return image;
}

}  // namespace

Channel ChannelFromName(std::string_view name) {
  if (name == "rgb") return Channel::kRgb;
  if (name == "depth") return Channel::kDepth;
  if (name == "median_depth") return Channel::kMedianDepth;
  ATHANOR_CHECK(name == "alpha", "channel: expected rgb, depth, median_depth or alpha, found '",
                name, "'");
  return Channel::kAlpha;
}

std::vector<PathView> ResizePath(std::vector<PathView> path, int width_px, int max_side_px) {
  for (PathView& view : path) {
    const Camera& camera = view.camera;
    const int side = std::max(camera.width_px, camera.height_px);
    double scale = 1;
    if (width_px > 0) {
      scale = static_cast<double>(width_px) / camera.width_px;
    } else if (max_side_px > 0) {
      scale = std::min(1.0, static_cast<double>(max_side_px) / side);
    }
    const auto scaled = [&](int pixels) {
      return std::max(1, static_cast<int>(std::lround(scale * pixels)));
    };
    view.camera = camera.Resized(scaled(camera.width_px), scaled(camera.height_px));
  }
  return path;
}

std::filesystem::path RenderPath(const GaussianModel& model, const std::vector<PathView>& path,
                                 const RenderOptions& given_options, Channel channel,
                                 const std::filesystem::path& folder) {
  ATHANOR_CHECK(!path.empty(), "rendering: expected at least one view, found none");
  const bool is_depth = channel == Channel::kDepth || channel == Channel::kMedianDepth;
  RenderOptions options = given_options;
  options.depth = channel == Channel::kDepth;
  options.median_depth = channel == Channel::kMedianDepth;
  GaussianRenderer renderer;
  DepthRange range;
  if (is_depth) range = FindDepthRange(&renderer, model, path, options, channel);

  constexpr size_t kSheetCells = 12, kSheetColumns = 4;
  std::vector<std::vector<SheetCell>> rows;
  size_t cells = 0;
  Progress progress("rendering", static_cast<int64_t>(path.size()));
  for (size_t i = 0; i < path.size(); ++i) {
    renderer.Render(model, MakeView(path[i].camera, path[i].camera_from_world), options);
    const Image picture = channel == Channel::kRgb ? ToImage(renderer.image)
                          : channel == Channel::kAlpha
                              ? GreyOf(renderer.transmittance)
                              : ColorizeDepth(DepthOf(renderer, channel), range.near, range.far);
    char name[32];
    std::snprintf(name, sizeof name, "frame_%04zu.png", i);
    WriteImage(folder / name, picture);
    // Evenly spaced: the first frame at or after each cell's share of the path.
    if (cells < kSheetCells && i * std::min(kSheetCells, path.size()) >= cells * path.size()) {
      if (cells % kSheetColumns == 0) rows.emplace_back();
      rows.back().push_back({picture, name});
      ++cells;
    }
    progress.Update(static_cast<int64_t>(i) + 1);
  }
  const auto overview = folder / "overview.png";
  WriteImage(overview, ContactSheet({}, rows, std::min(path[0].camera.width_px, 400)));
  return overview;
}

}  // namespace athanor
