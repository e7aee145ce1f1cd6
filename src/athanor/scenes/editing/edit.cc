#include "athanor/scenes/editing/edit.h"

#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/kernels/spherical_harmonics_math.h"

namespace athanor {
namespace {

void CheckRows(const GaussianCloud& cloud, std::span<const int64_t> rows) {
  for (const int64_t row : rows) {
    ATHANOR_CHECK(row >= 0 && row < cloud.size(), "Gaussian ", row, " of a scene of ",
                  cloud.size());
  }
}

double Opacity(const GaussianCloud& cloud, int64_t row) {
  return 1 / (1 + std::exp(-static_cast<double>(cloud.opacity_logits[row])));
}

// The same scene with more bands, all zero.
void RaiseDegree(int degree, GaussianCloud* cloud) {
  if (cloud->sh_degree >= degree) return;
  const int from = cloud->sh_coefficients(), to = (degree + 1) * (degree + 1);
  std::vector<float> sh(static_cast<size_t>(cloud->size()) * 3 * to, 0.0f);
  for (int64_t i = 0; i < 3 * cloud->size(); ++i) {
    std::copy_n(&cloud->sh[i * from], from, &sh[i * to]);
  }
  cloud->sh = std::move(sh);
  cloud->sh_degree = degree;
}

}  // namespace

GaussianCloud TakeRows(const GaussianCloud& cloud, std::span<const int64_t> rows) {
  CheckRows(cloud, rows);
  GaussianCloud taken;
  taken.sh_degree = cloud.sh_degree;
  taken.Resize(static_cast<int64_t>(rows.size()));
  const auto take = [&](const std::vector<float>& from, int columns, std::vector<float>* to) {
    for (size_t i = 0; i < rows.size(); ++i) {
      std::copy_n(&from[rows[i] * columns], columns, &(*to)[i * columns]);
    }
  };
  take(cloud.means, 3, &taken.means);
  take(cloud.quats, 4, &taken.quats);
  take(cloud.log_scales, 3, &taken.log_scales);
  take(cloud.opacity_logits, 1, &taken.opacity_logits);
  take(cloud.sh, 3 * cloud.sh_coefficients(), &taken.sh);
  return taken;
}

void AppendScene(const GaussianCloud& other, GaussianCloud* cloud) {
  GaussianCloud added = other;  // may be *cloud itself
  const int degree = std::max(added.sh_degree, cloud->sh_degree);
  RaiseDegree(degree, &added);
  RaiseDegree(degree, cloud);
  const auto append = [](const std::vector<float>& from, std::vector<float>* to) {
    to->insert(to->end(), from.begin(), from.end());
  };
  append(added.means, &cloud->means);
  append(added.quats, &cloud->quats);
  append(added.log_scales, &cloud->log_scales);
  append(added.opacity_logits, &cloud->opacity_logits);
  append(added.sh, &cloud->sh);
}

Eigen::Vector3d CenterOf(const GaussianCloud& cloud, std::span<const int64_t> rows) {
  ATHANOR_CHECK(!rows.empty(), "the centre of a selection: expected Gaussians, found none");
  CheckRows(cloud, rows);
  Eigen::Vector3d sum = Eigen::Vector3d::Zero();
  double weights = 0;
  for (const int64_t row : rows) {
    const double weight = Opacity(cloud, row);
    sum += weight * Eigen::Map<const Eigen::Vector3f>(&cloud.means[3 * row]).cast<double>();
    weights += weight;
  }
  ATHANOR_CHECK(weights > 0, "the centre of a selection: all of it is transparent");
  return sum / weights;
}

Similarity3 AboutCenter(const Eigen::Vector3d& center, const Eigen::Quaterniond& rotation,
                        double scale, const Eigen::Vector3d& by) {
  return {scale, rotation.toRotationMatrix(), center + by - scale * (rotation * center)};
}

void Recolor(const Eigen::Vector3f& color, std::span<const int64_t> rows, GaussianCloud* cloud) {
  CheckRows(*cloud, rows);
  // Colours are 0.5 + sum_k c_k Y_k, so their brightness is a function of the same form.
  const float luma[3] = {0.2126f, 0.7152f, 0.0722f};
  const int k = cloud->sh_coefficients();
  const auto brightness = [&](int64_t row, int band) {
    float sum = 0;
    for (int c = 0; c < 3; ++c) sum += luma[c] * cloud->sh[(3 * row + c) * k + band];
    return sum;
  };
  double sum = 0, weights = 0;
  for (const int64_t row : rows) {
    const double weight = Opacity(*cloud, row);
    sum += weight * std::max(0.0f, 0.5f + kSh0 * brightness(row, 0));
    weights += weight;
  }
  const float mean = weights > 0 ? static_cast<float>(sum / weights) : 0;
  constexpr float kBlack = 1.0f / 255;
  for (const int64_t row : rows) {
    for (int band = 0; band < k; ++band) {
      const float shade = brightness(row, band);
      for (int c = 0; c < 3; ++c) {
        float& value = cloud->sh[(3 * row + c) * k + band];
        const float gain = mean > kBlack ? color[c] / mean : 0;
        value = gain * shade;
        if (band == 0) {
          // 0.5 + Y_0 value = gain (0.5 + Y_0 shade), or the colour itself.
          value += ((mean > kBlack ? gain * 0.5f : color[c]) - 0.5f) / kSh0;
        }
      }
    }
  }
}

}  // namespace athanor
