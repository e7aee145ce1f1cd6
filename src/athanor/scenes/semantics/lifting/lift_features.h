// From features of views to a feature per Gaussian, without training.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "athanor/base/options.h"
#include "athanor/kernels/project.h"
#include "athanor/scenes/gaussians/gaussian_model.h"
#include "athanor/scenes/semantics/semantic_field.h"
#include "athanor/scenes/semantics/view_features.h"

namespace athanor {

// How a Gaussian's feature comes from the pixels. All features are of length 1 before they are
// averaged, pixels whose vector is zero say nothing, and the result has length 1.
//   weights  sum_p w_ip f_p / sum_p w_ip over all pixels of all views, w the blending weights
//            (LUDVIG, Marrie et al. 2024); with `equal_views`, w per pixel that the Gaussian's
//            splat covers in the view: what a teacher says of one thing in the pixels of one view
//            is one opinion, right or wrong, so that a near view shall not outvote the others
//   topk     the same over the `top_k` largest weights of each pixel (Dr.Splat, Kim et al. 2025)
//   max      the pixel at the projected centre, weighted with the largest blending weight within
//            1 px of it (Occam's LGS, Cheng et al. 2024)
//   paper    the pixel at the projected centre in the views that see it: those where the scene's
//            own median depth (transmittance 0.5) is that of the centre up to `depth_threshold`
//            times the depth, `border` px from the edges; plain mean (Semantic Gaussians, Guo et
//            al. 2024, section III-B)
struct LiftOptions {
  std::string mode = "weights";
  int top_k = 16;
  bool equal_views = true;         // weights, topk
  std::string preset = "scannet";  // of depth_threshold: scannet, mipnerf360, mvimgnet, panoptic
  double depth_threshold = 0;      // 0: that of the preset
  int border_px = 10;
  // Robustness.
  // Weights below this say nothing: they do not show in a photograph of 8 bits.
  double least_weight = 1.0 / 255;
  double min_weight = 0.02;        // a Gaussian that no pixel weighs more than this is not seen
  std::string outliers = "masks";  // leave out contradicting views: "never", "masks", "always"
  double z_limit = 3;
  bool progress = true;  // a line that says how far it is
  // Of the products of weights and dense vectors; sums are float32. "bfloat16" rounds both to 8
  // bits where the processor is faster at that (AVX-512 BF16), which moves a result by a cosine of
  // some 1e-6; else it is "float32".
  std::string precision = "bfloat16";
};
OptionList Describe(LiftOptions& options);

struct LiftSummary {
  int views = 0;
  int64_t gaussians = 0, seen = 0;
  int64_t rejected = 0;        // (Gaussian, view) pairs left out
  double mean_agreement = 0;   // of the seen
  double feature_seconds = 0;  // waiting for features
  double lift_seconds = 0;     // the rest
};

// Lifts the features of `views`. `features(v)` is asked for the view's features when they are
// needed, one view at a time: once, or twice more when dense features are lifted without outliers.
// At no time are there more than one view's dense features and one float32 row per Gaussian; of
// features per mask, the vectors and the weights per Gaussian and mask (20 bytes each) are kept.
// Views must be pinholes of the size that was described. Runs on the CPU. Same inputs, same bytes.
// scene_hash, teacher_key, text_space and labels of the result are left empty. Throws Error (view,
// what is wrong) for bad features, and when no Gaussian is seen at all.
SemanticField LiftFeatures(const GaussianModel& model, std::span<const PinholeView> views,
                           const ProjectOptions& project,
                           const std::function<ViewFeatures(int view)>& features,
                           const LiftOptions& options, LiftSummary* summary = nullptr);

}  // namespace athanor
