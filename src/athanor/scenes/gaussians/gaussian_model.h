// A scene of Gaussians on a device: parameters, and the optimiser's moments beside them.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "athanor/datasets/gaussian_cloud.h"
#include "athanor/datasets/posed_images.h"
#include "athanor/kernels/gaussian_step.h"

namespace athanor {

// Rows are Gaussians. Tensors have room for more rows than are in use, so that growing and pruning
// happen in place: on the CPU, memory that no row has touched costs nothing.
//
// Bytes per Gaussian at SH degree 3: parameters 236, moments 84.
class GaussianModel {
 public:
  // No Gaussians. `with_moments` is off for a scene that is only rendered.
  GaussianModel(int sh_degree, bool with_moments, c10::Device device);

  // From points: DC colour, isotropic scale from the distance to the 3 nearest neighbours (Kerbl et
  // al. 2023), the given opacity. Throws Error for fewer than 1 point.
  static GaussianModel FromPoints(const std::vector<ColoredPoint>& points, int sh_degree,
                                  float opacity, float scale_factor, c10::Device device);
  // For rendering; a scene of lower degree than `sh_degree` is padded with zeros.
  static GaussianModel FromCloud(const GaussianCloud& cloud, bool with_moments, c10::Device device);

  GaussianCloud ToCloud() const;

  int64_t size() const { return size_; }
  int sh_degree() const { return sh_degree_; }
  int sh_coefficients() const { return (sh_degree_ + 1) * (sh_degree_ + 1); }
  c10::Device device() const { return device_; }
  bool has_moments() const { return with_moments_; }

  // Views of the rows in use, float32 unless said otherwise.
  at::Tensor means() const { return Rows(means_); }                    // [N,3]
  at::Tensor quats() const { return Rows(quats_); }                    // [N,4]
  at::Tensor log_scales() const { return Rows(log_scales_); }          // [N,3]
  at::Tensor opacity_logits() const { return Rows(opacity_logits_); }  // [N]
  at::Tensor sh() const { return Rows(sh_); }                          // [N,3,K]

  GaussianArrays arrays() const;
  GaussianParameters parameters();
  GaussianMoments moments();

  // Adds copies of these rows (i64, on the model's device) behind the last; their moments are zero.
  void Append(const at::Tensor& source_rows);
  // Keeps these rows only (i64, rising, on the model's device).
  void Keep(const at::Tensor& rows);
  // Forgets the moments of these rows (i64), of all parameters.
  void ZeroMoments(const at::Tensor& rows);
  void ZeroOpacityMoments();

  // Everything by name, for checkpoints; first_moments is bfloat16.
  std::vector<std::pair<std::string, at::Tensor>> State() const;
  // The same tensors back, with any number of rows. Throws Error for a missing one or a wrong
  // shape.
  void SetState(const std::vector<std::pair<std::string, at::Tensor>>& state);

 private:
  struct Column {
    const char* name;
    at::Tensor* tensor;
    bool is_moment;
  };
  std::vector<Column> Columns();
  at::Tensor Rows(const at::Tensor& tensor) const { return tensor.narrow(0, 0, size_); }
  // Makes room for `rows`; the content is kept.
  void Reserve(int64_t rows);

  int64_t size_ = 0;
  int64_t capacity_ = 0;
  int sh_degree_;
  bool with_moments_;
  c10::Device device_;
  at::Tensor means_, quats_, log_scales_, opacity_logits_, sh_;
  at::Tensor first_moments_;   // [N,14] bfloat16
  at::Tensor second_moments_;  // [N,14]
};

}  // namespace athanor
