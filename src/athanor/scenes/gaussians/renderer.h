// Renders a scene of Gaussians into a view. Memory is kept from call to call.
#pragma once

#include <ATen/core/Tensor.h>

#include "athanor/geometry/camera.h"
#include "athanor/geometry/rigid3.h"
#include "athanor/kernels/project.h"
#include "athanor/ops/tile_bins.h"
#include "athanor/scenes/gaussians/gaussian_model.h"

namespace athanor {

// `camera` must be a pinhole.
PinholeView MakeView(const Camera& camera, const Rigid3& camera_from_world);

struct RenderOptions {
  ProjectOptions project;
  int sh_degree = 3;  // bands to evaluate, at most those of the model
  float background[3] = {0, 0, 0};
  bool depth = false;         // fill depth
  bool median_depth = false;  // fill median_depth
};

class GaussianRenderer {
 public:
  // Fills image, transmittance and, when asked for, depth and median_depth.
  void Render(const GaussianModel& model, const PinholeView& view, const RenderOptions& options);

  // After Render of the same model, view and options: gradients of splats and colours from those of
  // the outputs. `d_transmittance` and `d_depth` may be undefined.
  void Backward(const GaussianModel& model, const PinholeView& view, const RenderOptions& options,
                const at::Tensor& d_image, const at::Tensor& d_transmittance,
                const at::Tensor& d_depth, bool absolute_gradients);

  // Outputs; valid until the next call. On the model's device, float32.
  at::Tensor image;          // [3,H,W]
  at::Tensor transmittance;  // [H,W]: 1 - alpha
  at::Tensor depth;          // [H,W] sum of weight * z; divide by alpha for the expected depth
  at::Tensor median_depth;   // [H,W] 0 = none
  at::Tensor splats;         // [N,8], see Splat
  at::Tensor colors;         // [N,3]
  at::Tensor d_splats;       // [N,9], see SplatGradient
  at::Tensor d_colors;       // [N,3]

  // Gives back the memory that grows with the scene.
  void ReleaseSceneMemory();

 private:
  TileBinTensors bins_;
  at::Tensor background_, tile_walked_;
};

// The centre of a view in the world frame.
void CameraCenter(const PinholeView& view, float center[3]);

}  // namespace athanor
