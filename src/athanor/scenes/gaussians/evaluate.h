// How well a scene renders photographs that it has not seen.
#pragma once

#include <c10/core/Device.h>

#include <filesystem>
#include <string>
#include <vector>

#include "athanor/datasets/posed_images.h"
#include "athanor/datasets/view_cache.h"
#include "athanor/media/image.h"
#include "athanor/scenes/gaussians/gaussian_model.h"
#include "athanor/scenes/gaussians/renderer.h"

namespace athanor {

struct ViewScore {
  std::string name;
  double psnr_db = 0;     // over unmasked pixels, colours clipped to [0, 1]
  double ssim = 0;        // as in kernels/image_loss.h
  double depth_mae = -1;  // mean |expected depth - truth|, scene units; -1: no truth
  double depth_median_error = -1;
};

struct SceneScore {
  std::vector<ViewScore> views;
  // Means over views.
  double psnr_db = 0, ssim = 0, depth_mae = -1;
};

// Scores `images` (indices into posed.images). With a `sheet_folder`, also writes contact sheets of
// truth, render and error there.
SceneScore Evaluate(const GaussianModel& model, const PosedImages& posed, ViewCache* views,
                    const std::vector<int>& images, const RenderOptions& options,
                    const std::filesystem::path& sheet_folder = {});

// [3,H,W] f32 in [0,1], clipped, as bytes.
Image ToImage(const at::Tensor& planar);

}  // namespace athanor
