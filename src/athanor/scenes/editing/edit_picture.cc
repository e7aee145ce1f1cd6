#include "athanor/scenes/editing/edit_picture.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "athanor/base/error.h"
#include "athanor/media/draw.h"
#include "athanor/ops/rasterize.h"
#include "athanor/scenes/gaussians/evaluate.h"
#include "athanor/scenes/gaussians/show.h"

namespace athanor {
namespace {

Image Rendered(const GaussianCloud& cloud, const PathView& view, const RenderOptions& options) {
  const PinholeView pinhole = MakeView(view.camera, view.camera_from_world);
  if (cloud.size() == 0) return Image(view.camera.width_px, view.camera.height_px, 3);
  GaussianRenderer renderer;
  renderer.Render(GaussianModel::FromCloud(cloud, /*with_moments=*/false, c10::kCPU), pinhole,
                  options);
  return ToImage(renderer.image);
}

}  // namespace

std::vector<PathView> ViewsOf(const OpenedScene& scene, const Eigen::Vector3d& up) {
  if (scene.capture) {
    std::vector<int> images(scene.capture->images.size());
    std::iota(images.begin(), images.end(), 0);
    return ResizePath(CapturePath(*scene.capture, images), 0, scene.options.max_side_px);
  }
  constexpr int kWidth_px = 800, kHeight_px = 600, kFrames = 24;
  return OrbitBox(FindSceneBox(scene.cloud), up, kWidth_px, kHeight_px, kFrames);
}

PathView FindBestView(const GaussianCloud& cloud, std::span<const int64_t> rows,
                      const std::vector<PathView>& views) {
  ATHANOR_CHECK(!views.empty(), "the best view of a selection: expected views, found none");
  constexpr size_t kMaxTried = 48;
  constexpr int kSide_px = 160;
  const auto model = GaussianModel::FromCloud(cloud, /*with_moments=*/false, c10::kCPU);
  at::Tensor is_row = at::zeros({cloud.size(), 1});
  for (const int64_t row : rows) is_row.data_ptr<float>()[row] = 1;
  const GaussianTensors gaussians = {model.means(), model.quats(), model.log_scales(),
                                     model.opacity_logits()};
  const size_t tried = std::min(kMaxTried, views.size());
  double best_share = -1;
  size_t best = 0;
  for (size_t i = 0; i < tried; ++i) {
    const size_t index = i * views.size() / tried;
    const PathView small = ResizePath({views[index]}, 0, kSide_px)[0];
    const at::Tensor image =
        RenderFeatures(gaussians, is_row, MakeView(small.camera, small.camera_from_world), {})
            .image;
    const double share = image.mean().item<double>();
    if (share > best_share) best_share = share, best = index;
  }
  return views[best];
}

Image BeforeAndAfter(const GaussianCloud& before, const GaussianCloud& after, const PathView& view,
                     const RenderOptions& options) {
  const Image first = Rendered(before, view, options), second = Rendered(after, view, options);
  return ContactSheet({"before", "after"}, {{{first, ""}, {second, ""}}}, first.width);
}

}  // namespace athanor
