#include "athanor/scenes/gaussians/renderer.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "athanor/base/error.h"
#include "athanor/kernels/rasterize.h"
#include "athanor/kernels/spherical_harmonics.h"
#include "athanor/ops/device.h"

namespace athanor {
namespace {

constexpr int kSplatFields = sizeof(Splat) / sizeof(float);
constexpr int kGradientFields = sizeof(SplatGradient) / sizeof(float);

// The tensor with this shape; memory is only asked for when it grows.
float* Sized(at::Tensor* tensor, at::IntArrayRef shape, const c10::Device& device) {
  if (!tensor->defined()) {
    *tensor = at::empty(shape, at::TensorOptions().dtype(at::kFloat).device(device));
  } else {
    tensor->resize_(shape);
  }
  return tensor->data_ptr<float>();
}

Splat* Splats(const at::Tensor& tensor) {
  return reinterpret_cast<Splat*>(tensor.data_ptr<float>());
}

}  // namespace

PinholeView MakeView(const Camera& camera, const Rigid3& camera_from_world) {
  ATHANOR_CHECK(camera.IsPinhole(), "rendering: expected a pinhole camera, found ",
                CameraModelName(camera.model));
  PinholeView view;
  const Eigen::Matrix<double, 3, 4> matrix = camera_from_world.ToMatrix();
  for (int row = 0; row < 3; ++row) {
    for (int column = 0; column < 4; ++column) {
      view.camera_from_world[4 * row + column] = static_cast<float>(matrix(row, column));
    }
  }
  view.fx_px = static_cast<float>(camera.fx());
  view.fy_px = static_cast<float>(camera.fy());
  view.cx_px = static_cast<float>(camera.cx());
  view.cy_px = static_cast<float>(camera.cy());
  view.width_px = camera.width_px;
  view.height_px = camera.height_px;
  return view;
}

void CameraCenter(const PinholeView& view, float center[3]) {
  const float* m = view.camera_from_world;
  for (int axis = 0; axis < 3; ++axis) {
    center[axis] = -(m[axis] * m[3] + m[4 + axis] * m[7] + m[8 + axis] * m[11]);
  }
}

void GaussianRenderer::Render(const GaussianModel& model, const PinholeView& view,
                              const RenderOptions& options) {
  const c10::Device device = model.device();
  const int64_t n = model.size();
  const int width = view.width_px, height = view.height_px;

  ProjectForwardArgs project = {};
  project.gaussians = model.arrays();
  project.view = view;
  project.options = options.project;
  Sized(&splats, {n, kSplatFields}, device);
  project.splats = Splats(splats);
  ATHANOR_RUN_KERNEL(device, ProjectForward, project);

  ShForwardArgs harmonics = {};
  harmonics.n = n;
  harmonics.degree = std::min(options.sh_degree, model.sh_degree());
  harmonics.coefficients = model.sh_coefficients();
  harmonics.means = project.gaussians.means;
  harmonics.sh = model.sh().data_ptr<float>();
  CameraCenter(view, harmonics.camera_center);
  harmonics.splats = project.splats;
  harmonics.colors = Sized(&colors, {n, 3}, device);
  ATHANOR_RUN_KERNEL(device, ShForward, harmonics);

  BinTiles(splats, width, height, &bins_);

  if (!tile_walked_.defined()) {
    tile_walked_ = at::empty({0}, at::TensorOptions().dtype(at::kInt).device(device));
  }
  tile_walked_.resize_({MakeTileGrid(width, height).size()});
  background_ = at::tensor(at::ArrayRef<float>(options.background, 3)).to(device);
  RasterizeForwardArgs raster = {};
  raster.width_px = width, raster.height_px = height, raster.channels = 3;
  raster.splats = project.splats;
  raster.features = harmonics.colors;
  raster.background = background_.data_ptr<float>();
  raster.tile_offsets = bins_.offsets.data_ptr<int32_t>();
  raster.tile_ids = bins_.ids.data_ptr<int32_t>();
  raster.image = Sized(&image, {3, height, width}, device);
  raster.transmittance = Sized(&transmittance, {height, width}, device);
  if (options.depth) raster.depth = Sized(&depth, {height, width}, device);
  if (options.median_depth) raster.median_depth = Sized(&median_depth, {height, width}, device);
  raster.tile_walked = tile_walked_.data_ptr<int32_t>();
  ATHANOR_RUN_KERNEL(device, RasterizeForward, raster);
}

void GaussianRenderer::Backward(const GaussianModel& model, const PinholeView& view,
                                const RenderOptions& options, const at::Tensor& d_image,
                                const at::Tensor& d_transmittance, const at::Tensor& d_depth,
                                bool absolute_gradients) {
  const c10::Device device = model.device();
  ATHANOR_CHECK(!d_depth.defined() || options.depth,
                "backward of depth: the forward pass did not render it");
  RasterizeBackwardArgs args = {};
  args.n = model.size();
  args.width_px = view.width_px, args.height_px = view.height_px, args.channels = 3;
  args.splats = Splats(splats);
  args.features = colors.data_ptr<float>();
  args.background = background_.data_ptr<float>();
  args.tile_offsets = bins_.offsets.data_ptr<int32_t>();
  args.tile_ids = bins_.ids.data_ptr<int32_t>();
  args.image = image.data_ptr<float>();
  args.transmittance = transmittance.data_ptr<float>();
  args.tile_walked = tile_walked_.data_ptr<int32_t>();
  args.d_image = d_image.data_ptr<float>();
  if (d_transmittance.defined()) args.d_transmittance = d_transmittance.data_ptr<float>();
  if (d_depth.defined()) {
    args.depth = depth.data_ptr<float>();
    args.d_depth = d_depth.data_ptr<float>();
  }
  args.absolute = absolute_gradients;
  Sized(&d_splats, {args.n, kGradientFields}, device);
  args.d_splats = reinterpret_cast<SplatGradient*>(d_splats.data_ptr<float>());
  args.d_features = Sized(&d_colors, {args.n, 3}, device);
  ATHANOR_RUN_KERNEL(device, RasterizeBackward, args);
}

void GaussianRenderer::ReleaseSceneMemory() {
  splats.reset();
  colors.reset();
  d_splats.reset();
  d_colors.reset();
  bins_ = {};
}

}  // namespace athanor
