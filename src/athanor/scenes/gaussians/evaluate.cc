#include "athanor/scenes/gaussians/evaluate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <sstream>

#include "athanor/base/error.h"
#include "athanor/base/progress.h"
#include "athanor/kernels/image_loss.h"
#include "athanor/media/color_map.h"
#include "athanor/media/draw.h"

namespace athanor {
namespace {

// [H,W,3] bytes as [3,H,W] floats in [0, 1].
at::Tensor ToPlanar(const Image& rgb) {
  const int64_t pixels = int64_t{rgb.width} * rgb.height;
  at::Tensor planar = at::empty({3, rgb.height, rgb.width}, at::kFloat);
  float* out = planar.data_ptr<float>();
  for (int64_t i = 0; i < pixels; ++i) {
    for (int c = 0; c < 3; ++c) {
      out[c * pixels + i] = static_cast<float>(rgb.data[3 * i + c]) / 255.0f;
    }
  }
  return planar;
}

// Of [3,H,W] images over the pixels that the mask (empty: all) keeps. Equal images: 100 dB.
double Psnr(const at::Tensor& image, const at::Tensor& truth, const Image& mask) {
  const int64_t pixels = image.size(1) * image.size(2);
  const float* x = image.data_ptr<float>();
  const float* y = truth.data_ptr<float>();
  double sum = 0;
  int64_t count = 0;
  for (int64_t i = 0; i < pixels; ++i) {
    if (!mask.data.empty() && mask.data[i] == 0) continue;
    for (int c = 0; c < 3; ++c) {
      const double difference = double{x[c * pixels + i]} - double{y[c * pixels + i]};
      sum += difference * difference;
    }
    count += 3;
  }
  constexpr double kLeastError = 1e-10;
  return count == 0 ? 0 : -10 * std::log10(std::max(sum / static_cast<double>(count), kLeastError));
}

double Ssim(const at::Tensor& image, const at::Tensor& truth, const Image& mask) {
  ImageLossArgs args = {};
  args.width_px = static_cast<int>(image.size(2));
  args.height_px = static_cast<int>(image.size(1));
  args.channels = 3;
  args.image = image.data_ptr<float>();
  args.target = truth.data_ptr<float>();
  args.mask = mask.data.empty() ? nullptr : mask.data.data();
  args.ssim_weight = 1;
  ImageLossCpu(&args);
  return args.ssim;
}

// Where the truth is known, not masked, and the scene is more solid than not.
void ScoreDepth(const at::Tensor& depth, const at::Tensor& transmittance, const View& view,
                ViewScore* score) {
  const at::Tensor weighted = depth.to(at::kCPU).contiguous();
  const at::Tensor left = transmittance.to(at::kCPU).contiguous();
  const float* d = weighted.data_ptr<float>();
  const float* t = left.data_ptr<float>();
  std::vector<double> errors;
  double sum = 0;
  for (size_t i = 0; i < view.depth.data.size(); ++i) {
    const float truth = view.depth.data[i];
    const float alpha = 1 - t[i];
    if (!(truth > 0) || !(alpha > 0.5f)) continue;
    if (!view.mask.data.empty() && view.mask.data[i] == 0) continue;
    errors.push_back(std::abs(double{d[i]} / alpha - truth));
    sum += errors.back();
  }
  if (errors.empty()) return;
  score->depth_mae = sum / static_cast<double>(errors.size());
  const auto middle = errors.begin() + static_cast<int64_t>(errors.size() / 2);
  std::nth_element(errors.begin(), middle, errors.end());
  score->depth_median_error = *middle;
}

std::string Fixed(double value, int digits) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(digits) << value;
  return text.str();
}

// The name of an image as that of one file: "left/0001.jpg" becomes left_0001.png.
std::string SheetName(std::string name) {
  std::replace(name.begin(), name.end(), '/', '_');
  return std::filesystem::path(name).replace_extension(".png").string();
}

}  // namespace

Image ToImage(const at::Tensor& planar) {
  ATHANOR_CHECK(planar.dim() == 3 && planar.size(0) == 3 && planar.scalar_type() == at::kFloat,
                "picture: expected a float tensor [3,H,W], found ", planar.scalar_type(), " ",
                planar.sizes());
  const at::Tensor values = planar.to(at::kCPU).contiguous();
  Image image(static_cast<int>(values.size(2)), static_cast<int>(values.size(1)), 3);
  const int64_t pixels = values.size(1) * values.size(2);
  const float* in = values.data_ptr<float>();
  for (int64_t i = 0; i < pixels; ++i) {
    for (int c = 0; c < 3; ++c) {
      // NaN fails both comparisons of fmin and fmax and becomes black.
      const float clipped = std::fmin(std::fmax(in[c * pixels + i], 0.0f), 1.0f);
      image.data[3 * i + c] = static_cast<uint8_t>(std::lround(255.0f * clipped));
    }
  }
  return image;
}

SceneScore Evaluate(const GaussianModel& model, const PosedImages& posed, ViewCache* views,
                    const std::vector<int>& images, const RenderOptions& options,
                    const std::filesystem::path& sheet_folder) {
  SceneScore score;
  if (images.empty()) return score;
  GaussianRenderer renderer;
  Progress progress("evaluating", static_cast<int64_t>(images.size()));
  double depth_sum = 0;
  int depth_views = 0;
  for (const int index : images) {
    ATHANOR_CHECK(index >= 0 && index < static_cast<int>(posed.images.size()), posed.source,
                  ": expected an image of 0 to ", static_cast<int>(posed.images.size()) - 1,
                  ", found ", index);
    const std::shared_ptr<const View> view = views->Get(index);
    const bool has_depth = !view->depth.data.empty();
    RenderOptions view_options = options;
    view_options.depth = options.depth || has_depth;
    renderer.Render(model, MakeView(views->camera(index), posed.images[index].camera_from_world),
                    view_options);
    const at::Tensor image = renderer.image.to(at::kCPU).contiguous().clamp(0, 1);
    const at::Tensor truth = ToPlanar(view->rgb);

    ViewScore view_score;
    view_score.name = posed.images[index].name;
    view_score.psnr_db = Psnr(image, truth, view->mask);
    view_score.ssim = Ssim(image, truth, view->mask);
    if (has_depth) ScoreDepth(renderer.depth, renderer.transmittance, *view, &view_score);
    score.psnr_db += view_score.psnr_db / static_cast<double>(images.size());
    score.ssim += view_score.ssim / static_cast<double>(images.size());
    if (view_score.depth_mae >= 0) {
      depth_sum += view_score.depth_mae;
      ++depth_views;
    }

    if (!sheet_folder.empty()) {
      const Image rendered = ToImage(image);
      const std::string numbers =
          StrCat("PSNR ", Fixed(view_score.psnr_db, 2), " dB, SSIM ", Fixed(view_score.ssim, 3));
      WriteImage(sheet_folder / SheetName(view_score.name),
                 ContactSheet({"truth", "render", "error"},
                              {{{view->rgb, view_score.name},
                                {rendered, numbers},
                                {ColorizeError(view->rgb, rendered), "mean over R, G, B"}}},
                              std::clamp(view->rgb.width, 160, 640)));
    }
    score.views.push_back(std::move(view_score));
    progress.Update(static_cast<int64_t>(score.views.size()),
                    StrCat("PSNR ", Fixed(score.views.back().psnr_db, 2)));
  }
  if (depth_views > 0) score.depth_mae = depth_sum / depth_views;
  return score;
}

}  // namespace athanor
