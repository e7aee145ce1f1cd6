#include "athanor/ops/rasterize.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "athanor/kernels/image_loss.h"
#include "athanor/kernels/rasterize.h"
#include "athanor/kernels/spherical_harmonics.h"
#include "athanor/ops/device.h"

namespace athanor {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

constexpr int64_t kSplatFields = sizeof(Splat) / sizeof(float);
constexpr int64_t kGradientFields = sizeof(SplatGradient) / sizeof(float);
constexpr int64_t kSharedFields = 7;  // x .. depth: where Splat and SplatGradient agree
constexpr int kAbsoluteField = 7;     // of SplatGradient: abs_x, abs_y
constexpr int kMaxContributors = 64;

// The tensor, dense; a copy that autograd knows about when it was not.
at::Tensor Dense(const at::Tensor& tensor, const char* name, const c10::Device& device,
                 std::initializer_list<int64_t> shape) {
  const at::Tensor dense = tensor.defined() ? tensor.contiguous() : tensor;
  CheckTensor(dense, name, at::kFloat, device, shape);
  return dense;
}

float* Floats(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.data_ptr<float>() : nullptr;
}

Splat* Splats(const at::Tensor& splats) { return reinterpret_cast<Splat*>(Floats(splats)); }

// Arguments of an autograd function that have no gradient travel in structs: what is passed as a
// tensor has to be defined.

// A plain struct as a tensor of bytes, the way that an autograd context keeps values.
template <typename T>
at::Tensor ToBytes(const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  at::Tensor bytes = at::empty({static_cast<int64_t>(sizeof(T))}, at::kByte);
  std::memcpy(bytes.data_ptr(), &value, sizeof(T));
  return bytes;
}

template <typename T>
T FromBytes(const c10::IValue& bytes) {
  T value;
  std::memcpy(&value, bytes.toTensor().data_ptr(), sizeof(T));
  return value;
}

// Kernels hide what they do from autograd: a derivative of a derivative would silently be wrong.
void CheckFirstDerivative() {
  ATHANOR_CHECK(
      !c10::GradMode::is_enabled(),
      "backward of a Gaussian operation: expected create_graph to be off, as there are no "
      "second derivatives");
}

struct ProjectCamera {
  PinholeView view;
  ProjectOptions options;
};

struct ProjectFunction : Function<ProjectFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& means,
                            const at::Tensor& quats, const at::Tensor& log_scales,
                            const at::Tensor& opacity_logits, const ProjectCamera& camera) {
    at::Tensor splats = at::empty({means.size(0), kSplatFields}, means.options());
    const ProjectForwardArgs args = {Arrays(means, quats, log_scales, opacity_logits), camera.view,
                                     camera.options, Splats(splats)};
    ATHANOR_RUN_KERNEL(means.device(), ProjectForward, args);
    context->save_for_backward({means, quats, log_scales, opacity_logits, splats});
    context->saved_data["camera"] = ToBytes(camera);
    return splats;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    CheckFirstDerivative();
    const variable_list saved = context->get_saved_variables();
    const auto camera = FromBytes<ProjectCamera>(context->saved_data["camera"]);
    const at::Tensor& d_splats = gradients[0];
    // Columns of SplatGradient that projection does not read stay 0.
    const at::Tensor fields = at::zeros({d_splats.size(0), kGradientFields}, d_splats.options());
    fields.narrow(1, 0, kSharedFields).copy_(d_splats.narrow(1, 0, kSharedFields));
    variable_list out;
    for (int i = 0; i < 4; ++i) out.push_back(at::empty_like(saved[i]));
    const ProjectBackwardArgs args = {Arrays(saved[0], saved[1], saved[2], saved[3]),
                                      camera.view,
                                      camera.options,
                                      Splats(saved[4]),
                                      reinterpret_cast<const SplatGradient*>(Floats(fields)),
                                      Floats(out[0]),
                                      Floats(out[1]),
                                      Floats(out[2]),
                                      Floats(out[3])};
    ATHANOR_RUN_KERNEL(d_splats.device(), ProjectBackward, args);
    out.emplace_back();
    return out;
  }

 private:
  static GaussianArrays Arrays(const at::Tensor& means, const at::Tensor& quats,
                               const at::Tensor& log_scales, const at::Tensor& opacity_logits) {
    return {means.size(0), Floats(means), Floats(quats), Floats(log_scales),
            Floats(opacity_logits)};
  }
};

struct ShConstants {
  int degree;
  float camera_center[3];
};

struct ShView {
  ShConstants constants;
  at::Tensor splats;
};

struct ShColorsFunction : Function<ShColorsFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& means, const at::Tensor& sh,
                            const ShView& view) {
    const at::Tensor& splats = view.splats;
    const ShConstants& constants = view.constants;
    // Zeros, because the kernel skips what is not visible.
    at::Tensor colors = at::zeros({means.size(0), 3}, means.options());
    ShForwardArgs args = {};
    args.n = means.size(0);
    args.degree = constants.degree;
    args.coefficients = static_cast<int>(sh.size(2));
    args.means = Floats(means), args.sh = Floats(sh), args.splats = Splats(splats);
    std::copy_n(constants.camera_center, 3, args.camera_center);
    args.colors = Floats(colors);
    ATHANOR_RUN_KERNEL(means.device(), ShForward, args);
    context->save_for_backward({means, sh, splats, colors});
    context->saved_data["constants"] = ToBytes(constants);
    return colors;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    CheckFirstDerivative();
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &means = saved[0], &sh = saved[1];
    const auto constants = FromBytes<ShConstants>(context->saved_data["constants"]);
    const at::Tensor d_colors = gradients[0].contiguous();
    const at::Tensor d_means = at::empty_like(means), d_sh = at::empty_like(sh);
    ShBackwardArgs args = {};
    args.n = means.size(0);
    args.degree = constants.degree;
    args.coefficients = static_cast<int>(sh.size(2));
    args.means = Floats(means), args.sh = Floats(sh), args.splats = Splats(saved[2]);
    std::copy_n(constants.camera_center, 3, args.camera_center);
    args.colors = Floats(saved[3]), args.d_colors = Floats(d_colors);
    args.d_sh = Floats(d_sh), args.d_means = Floats(d_means);
    ATHANOR_RUN_KERNEL(means.device(), ShBackward, args);
    return {d_means, d_sh, at::Tensor()};
  }
};

struct ImageSize {
  int width_px, height_px;
};

struct RasterizeTarget {
  at::Tensor offsets, ids;        // of the tiles
  at::Tensor absolute_gradients;  // may be undefined
  ImageSize size;
};

// What forward and backward of the rasteriser, and the search for contributors, have in common.
template <typename Args>
void SetInputs(const at::Tensor& splats, const at::Tensor& features, const at::Tensor& background,
               const at::Tensor& offsets, const at::Tensor& ids, const ImageSize& size,
               Args* args) {
  args->width_px = size.width_px, args->height_px = size.height_px;
  args->channels = static_cast<int>(features.size(1));
  args->splats = Splats(splats), args->features = Floats(features);
  args->background = Floats(background);
  args->tile_offsets = offsets.data_ptr<int32_t>(), args->tile_ids = ids.data_ptr<int32_t>();
}

struct RasterizeFunction : Function<RasterizeFunction> {
  static variable_list forward(AutogradContext* context, const at::Tensor& splats,
                               const at::Tensor& features, const at::Tensor& background,
                               const RasterizeTarget& target) {
    const at::Tensor &offsets = target.offsets, &ids = target.ids;
    const ImageSize& size = target.size;
    const at::TensorOptions options = splats.options();
    const at::Tensor image = at::empty({features.size(1), size.height_px, size.width_px}, options);
    const at::Tensor transmittance = at::empty({size.height_px, size.width_px}, options);
    const at::Tensor depth = at::empty_like(transmittance);
    const at::Tensor walked = at::empty({offsets.size(0) - 1}, offsets.options());
    RasterizeForwardArgs args = {};
    SetInputs(splats, features, background, offsets, ids, size, &args);
    args.image = Floats(image), args.transmittance = Floats(transmittance);
    args.depth = Floats(depth), args.tile_walked = walked.data_ptr<int32_t>();
    ATHANOR_RUN_KERNEL(splats.device(), RasterizeForward, args);
    context->set_materialize_grads(false);
    context->save_for_backward(
        {splats, features, background, offsets, ids, walked, image, transmittance, depth});
    context->saved_data["absolute"] = target.absolute_gradients;
    context->saved_data["size"] = ToBytes(size);
    return {image, transmittance, depth};
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    CheckFirstDerivative();
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &splats = saved[0], &features = saved[1], &background = saved[2];
    const at::Tensor &image = saved[6], &transmittance = saved[7], &depth = saved[8];
    const at::Tensor absolute_gradients = context->saved_data["absolute"].toTensor();
    const at::Tensor d_image =
        gradients[0].defined() ? gradients[0].contiguous() : at::zeros_like(image);
    const at::Tensor d_transmittance =
        gradients[1].defined() ? gradients[1].contiguous() : gradients[1];
    const at::Tensor d_depth = gradients[2].defined() ? gradients[2].contiguous() : gradients[2];
    const at::Tensor d_fields = at::empty({splats.size(0), kGradientFields}, splats.options());
    const at::Tensor d_features = at::empty_like(features);
    RasterizeBackwardArgs args = {};
    SetInputs(splats, features, background, saved[3], saved[4],
              FromBytes<ImageSize>(context->saved_data["size"]), &args);
    args.n = splats.size(0);
    args.image = Floats(image), args.transmittance = Floats(transmittance);
    args.depth = d_depth.defined() ? Floats(depth) : nullptr;
    args.tile_walked = saved[5].data_ptr<int32_t>();
    args.d_image = Floats(d_image), args.d_transmittance = Floats(d_transmittance);
    args.d_depth = Floats(d_depth);
    args.absolute = absolute_gradients.defined();
    args.d_splats = reinterpret_cast<SplatGradient*>(Floats(d_fields));
    args.d_features = Floats(d_features);
    ATHANOR_RUN_KERNEL(splats.device(), RasterizeBackward, args);
    if (args.absolute) absolute_gradients.add_(d_fields.narrow(1, kAbsoluteField, 2));
    // As the gradient of splats: the column of the radius is 0.
    const at::Tensor d_splats = d_fields.narrow(1, 0, kSplatFields);
    d_splats.select(1, kSplatFields - 1).zero_();
    at::Tensor d_background;
    if (background.requires_grad()) d_background = (d_image * transmittance).sum({1, 2});
    return {d_splats, d_features, d_background, at::Tensor()};
  }
};

void CheckBins(const TileBinTensors& bins, const at::Tensor& splats, int width_px, int height_px) {
  CheckImageSize(width_px, height_px);
  ATHANOR_CHECK(bins.num_splats == splats.size(0) && bins.width_px == width_px &&
                    bins.height_px == height_px && bins.ids.device() == splats.device(),
                "bins: expected those of ", splats.size(0), " splats in ", width_px, " x ",
                height_px, " px on ", splats.device(), ", found those of ", bins.num_splats,
                " splats in ", bins.width_px, " x ", bins.height_px, " px");
}

struct ImageLossTarget {
  at::Tensor target;
  at::Tensor mask;  // bytes; may be undefined
  double ssim_weight;
  bool with_gradient;
};

struct ImageLossFunction : Function<ImageLossFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& image,
                            const ImageLossTarget& to) {
    at::Tensor d_image;
    if (to.with_gradient) d_image = at::empty_like(image);
    ImageLossArgs args = {};
    args.channels = static_cast<int>(image.size(0));
    args.height_px = static_cast<int>(image.size(1));
    args.width_px = static_cast<int>(image.size(2));
    args.image = Floats(image), args.target = Floats(to.target), args.d_image = Floats(d_image);
    args.mask = to.mask.defined() ? to.mask.data_ptr<uint8_t>() : nullptr;
    args.ssim_weight = static_cast<float>(to.ssim_weight);
    context->save_for_backward({d_image});
#ifdef ATHANOR_HAS_CUDA
    if (image.is_cuda()) {
      const c10::DeviceGuard guard(image.device());
      const at::Tensor sums = at::empty({2}, image.options().dtype(at::kDouble));
      ImageLossCuda(args, sums.data_ptr<double>(),
                    c10::cuda::getCurrentCUDAStream(image.device().index()).stream());
      return (sums[0] * (1 - to.ssim_weight) + (1 - sums[1]) * to.ssim_weight).to(at::kFloat);
    }
#endif
    ImageLossCpu(&args);
    return at::scalar_tensor((1 - to.ssim_weight) * args.l1 + to.ssim_weight * (1 - args.ssim),
                             image.options());
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    CheckFirstDerivative();
    return {context->get_saved_variables()[0] * gradients[0], at::Tensor()};
  }
};

}  // namespace

at::Tensor Project(const GaussianTensors& gaussians, const PinholeView& view,
                   const ProjectOptions& options) {
  const c10::Device device = KernelDevice(gaussians.means, "means");
  const at::Tensor means = Dense(gaussians.means, "means", device, {-1, 3});
  const int64_t n = means.size(0);
  CheckImageSize(view.width_px, view.height_px);
  ATHANOR_CHECK(view.fx_px > 0 && view.fy_px > 0, "view: expected focal lengths above 0 px, found ",
                view.fx_px, " x ", view.fy_px);
  return ProjectFunction::apply(means, Dense(gaussians.quats, "quats", device, {n, 4}),
                                Dense(gaussians.log_scales, "log_scales", device, {n, 3}),
                                Dense(gaussians.opacity_logits, "opacity_logits", device, {n}),
                                ProjectCamera{view, options});
}

at::Tensor ShColors(const at::Tensor& means, const at::Tensor& sh, int degree,
                    const float camera_center[3], const at::Tensor& splats) {
  const c10::Device device = KernelDevice(means, "means");
  const at::Tensor dense_means = Dense(means, "means", device, {-1, 3});
  const int64_t n = means.size(0);
  const at::Tensor dense_sh = Dense(sh, "sh", device, {n, 3, -1});
  const int64_t k = sh.size(2);
  ATHANOR_CHECK(k == 1 || k == 4 || k == 9 || k == 16,
                "sh: expected 1, 4, 9 or 16 coefficients per channel, found ", k);
  ATHANOR_CHECK(degree >= 0 && degree <= 3 && (degree + 1) * (degree + 1) <= k,
                "degree of the spherical harmonics: expected 0..3 with (degree+1)^2 <= ", k,
                " coefficients, found ", degree);
  at::Tensor dense_splats;
  if (splats.defined()) dense_splats = Dense(splats, "splats", device, {n, kSplatFields}).detach();
  const ShConstants constants = {degree, {camera_center[0], camera_center[1], camera_center[2]}};
  return ShColorsFunction::apply(dense_means, dense_sh, ShView{constants, dense_splats});
}

Rasterized Rasterize(const at::Tensor& splats, const at::Tensor& features,
                     const TileBinTensors& bins, const at::Tensor& background, int width_px,
                     int height_px, const at::Tensor& absolute_gradients) {
  const c10::Device device = KernelDevice(splats, "splats");
  const at::Tensor dense_splats = Dense(splats, "splats", device, {-1, kSplatFields});
  const int64_t n = splats.size(0);
  const at::Tensor dense_features = Dense(features, "features", device, {n, -1});
  CheckBins(bins, splats, width_px, height_px);
  const int64_t channels = features.size(1);
  const at::Tensor dense_background = background.defined()
                                          ? Dense(background, "background", device, {channels})
                                          : at::zeros({channels}, splats.options());
  if (absolute_gradients.defined()) {
    CheckTensor(absolute_gradients, "absolute_gradients", at::kFloat, device, {n, 2});
  }
  // On the CPU the lists live in `bins`, whose next use may come before the backward pass.
  const bool kept =
      c10::GradMode::is_enabled() &&
      (splats.requires_grad() || features.requires_grad() || dense_background.requires_grad());
  const bool copied = kept && device.is_cpu();
  const RasterizeTarget target = {copied ? bins.offsets.clone() : bins.offsets,
                                  copied ? bins.ids.clone() : bins.ids, absolute_gradients,
                                  ImageSize{width_px, height_px}};
  const variable_list out =
      RasterizeFunction::apply(dense_splats, dense_features, dense_background, target);
  return {out[0], out[1], out[2], splats};
}

Rasterized RenderFeatures(const GaussianTensors& gaussians, const at::Tensor& features,
                          const PinholeView& view, const FeatureRenderOptions& options) {
  const at::Tensor splats = Project(gaussians, view, options.project);
  TileBinTensors bins;
  BinTiles(splats, view.width_px, view.height_px, &bins);
  return Rasterize(splats, features, bins, options.background, view.width_px, view.height_px,
                   options.absolute_gradients);
}

TopContributors FindTopContributors(const at::Tensor& splats, const TileBinTensors& bins,
                                    int width_px, int height_px, int k) {
  const c10::Device device = KernelDevice(splats, "splats");
  const at::Tensor dense_splats = Dense(splats, "splats", device, {-1, kSplatFields}).detach();
  CheckBins(bins, splats, width_px, height_px);
  ATHANOR_CHECK(k >= 1 && k <= kMaxContributors, "contributors per pixel: expected 1 to ",
                kMaxContributors, ", found ", k);
  const at::TensorOptions options = dense_splats.options();
  TopContributors out;
  out.ids = at::empty({height_px, width_px, k}, options.dtype(at::kInt));
  out.weights = at::empty({height_px, width_px, k}, options);
  out.median_depth = at::empty({height_px, width_px}, options);
  const at::Tensor transmittance = at::empty_like(out.median_depth);
  const at::Tensor walked = at::empty({bins.offsets.size(0) - 1}, options.dtype(at::kInt));
  const at::Tensor no_features = at::empty({splats.size(0), 0}, options);
  RasterizeForwardArgs args = {};
  SetInputs(dense_splats, no_features, at::Tensor(), bins.offsets, bins.ids,
            ImageSize{width_px, height_px}, &args);
  args.transmittance = Floats(transmittance), args.tile_walked = walked.data_ptr<int32_t>();
  args.median_depth = Floats(out.median_depth);
  args.top_k = k;
  args.top_ids = out.ids.data_ptr<int32_t>(), args.top_weights = Floats(out.weights);
  ATHANOR_RUN_KERNEL(device, RasterizeForward, args);
  return out;
}

at::Tensor ImageLoss(const at::Tensor& image, const at::Tensor& target, const at::Tensor& mask,
                     double ssim_weight) {
  const c10::Device device = KernelDevice(image, "image");
  const at::Tensor dense_image = Dense(image, "image", device, {-1, -1, -1});
  const int64_t channels = image.size(0), height_px = image.size(1), width_px = image.size(2);
  ATHANOR_CHECK(channels >= 1 && channels <= kMaxSidePx && width_px >= 1 &&
                    width_px <= kMaxSidePx && height_px >= 1 && height_px <= kMaxSidePx,
                "image: expected shape [C,H,W] with sizes of 1 to ", kMaxSidePx, ", found ",
                image.sizes());
  ATHANOR_CHECK(ssim_weight >= 0 && ssim_weight <= 1,
                "ssim_weight: expected a number in [0, 1], found ", ssim_weight);
  const at::Tensor dense_target =
      Dense(target, "target", device, {channels, height_px, width_px}).detach();
  at::Tensor bytes;
  if (mask.defined()) {
    bytes = mask.scalar_type() == at::kBool ? mask.to(at::kByte) : mask;
    bytes = bytes.contiguous();
    CheckTensor(bytes, "mask", at::kByte, device, {height_px, width_px});
  }
  const bool with_gradient = c10::GradMode::is_enabled() && image.requires_grad();
  return ImageLossFunction::apply(dense_image,
                                  ImageLossTarget{dense_target, bytes, ssim_weight, with_gradient});
}

}  // namespace athanor
