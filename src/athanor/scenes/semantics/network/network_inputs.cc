#include "athanor/scenes/semantics/network/network_inputs.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/kernels/spherical_harmonics_math.h"
#include "athanor/kernels/voxel_set.h"

namespace athanor {
namespace {

constexpr int64_t kGrain = 4096;
constexpr int kMostCoefficients = 16;
constexpr int kGaussianChannels = 1 + 3 * kMostCoefficients + 3 + 4, kColorChannels = 6;

void FillGaussian(const GaussianCloud& cloud, int64_t i, float* out) {
  constexpr float kMostLogit = 20;
  const int coefficients = cloud.sh_coefficients();
  *out++ = std::clamp(cloud.opacity_logits[i], -kMostLogit, kMostLogit);
  const float* sh = cloud.sh.data() + 3 * coefficients * i;
  for (int c = 0; c < 3; ++c) *out++ = sh[c * coefficients];
  for (int c = 0; c < 3; ++c) {
    for (int k = 1; k < kMostCoefficients; ++k) {
      *out++ = k < coefficients ? sh[c * coefficients + k] : 0.0f;
    }
  }
  out = std::copy_n(cloud.log_scales.data() + 3 * i, 3, out);
  const float* q = cloud.quats.data() + 4 * i;
  const float length = std::sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
  const float scale = length > 0 ? (q[0] < 0 ? -1 : 1) / length : 0;
  for (int k = 0; k < 4; ++k) *out++ = scale * q[k];
}

}  // namespace

NetworkInput NetworkInputFromName(const std::string& name) {
  ATHANOR_CHECK(name == "gaussian" || name == "color",
                "network input: expected gaussian or color, found '", name, "'");
  return name == "gaussian" ? NetworkInput::kGaussian : NetworkInput::kColor;
}

int NumInputChannels(NetworkInput input) {
  return input == NetworkInput::kGaussian ? kGaussianChannels : kColorChannels;
}

at::Tensor NetworkFeatures(const GaussianCloud& cloud, NetworkInput input) {
  const int channels = NumInputChannels(input);
  const at::Tensor features = at::empty({cloud.size(), channels}, at::kFloat);
  auto* out = features.data_ptr<float>();
  double middle[3] = {};
  for (int64_t i = 0; i < cloud.size(); ++i) {
    for (int axis = 0; axis < 3; ++axis) middle[axis] += cloud.means[3 * i + axis];
  }
  for (double& m : middle) m /= static_cast<double>(std::max<int64_t>(1, cloud.size()));
  ParallelFor(cloud.size(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* row = out + i * channels;
      if (input == NetworkInput::kGaussian) {
        FillGaussian(cloud, i, row);
        continue;
      }
      for (int axis = 0; axis < 3; ++axis) {
        row[axis] = static_cast<float>(cloud.means[3 * i + axis] - middle[axis]);
        const float dc = cloud.sh[(3 * i + axis) * cloud.sh_coefficients()];
        row[3 + axis] = std::clamp(0.5f + kSh0 * dc, 0.0f, 1.0f);
      }
    }
  });
  return features;
}

double VoxelReach(double voxel_size) { return kMaxVoxelCoordinate * voxel_size; }

std::vector<int64_t> RowsWithinReach(const float* means, int64_t n, double voxel_size) {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < n; ++i) {
    bool within = true;
    for (int axis = 0; axis < 3; ++axis) {
      within &=
          std::abs(std::floor(double{means[3 * i + axis]} / voxel_size)) <= kMaxVoxelCoordinate;
    }
    if (within) rows.push_back(i);
  }
  return rows;
}

NetworkSample MakeNetworkSample(const GaussianCloud& cloud, NetworkInput input, double voxel_size,
                                const int* shift) {
  at::Tensor means =
      at::from_blob(const_cast<float*>(cloud.means.data()), {cloud.size(), 3}, at::kFloat);
  if (shift[0] != 0 || shift[1] != 0 || shift[2] != 0) {
    const auto along = [&](int axis) { return static_cast<float>(shift[axis] * voxel_size); };
    means = means + at::tensor({along(0), along(1), along(2)});
  }
  const std::vector<int64_t> within =
      RowsWithinReach(means.data_ptr<float>(), cloud.size(), voxel_size);
  if (std::ssize(within) < cloud.size()) {
    NetworkSample sample =
        MakeNetworkSample(SelectGaussians(cloud, within), input, voxel_size, shift);
    const at::Tensor voxels = at::full({cloud.size()}, -1, at::kLong);
    voxels.index_put_({at::tensor(within, at::kLong)}, sample.voxel_of_gaussian);
    return {std::move(sample.voxels), voxels};
  }
  const VoxelizedPoints points = VoxelizePoints(means, {}, voxel_size);
  return {{points.grid, VoxelMeans(points, NetworkFeatures(cloud, input))}, points.voxel_of_point};
}

GaussianCloud SelectGaussians(const GaussianCloud& cloud, const std::vector<int64_t>& rows) {
  GaussianCloud selected;
  selected.sh_degree = cloud.sh_degree;
  selected.Resize(static_cast<int64_t>(rows.size()));
  const auto copy = [&](const std::vector<float>& from, int width, std::vector<float>* to) {
    for (size_t i = 0; i < rows.size(); ++i) {
      std::copy_n(from.data() + rows[i] * width, width, to->data() + i * width);
    }
  };
  copy(cloud.means, 3, &selected.means);
  copy(cloud.quats, 4, &selected.quats);
  copy(cloud.log_scales, 3, &selected.log_scales);
  copy(cloud.opacity_logits, 1, &selected.opacity_logits);
  copy(cloud.sh, 3 * cloud.sh_coefficients(), &selected.sh);
  return selected;
}

}  // namespace athanor
