#include "athanor/scenes/gaussians/gaussian_model.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "athanor/base/error.h"
#include "athanor/geometry/nearest.h"
#include "athanor/kernels/spherical_harmonics_math.h"

namespace athanor {
namespace {

// Untouched rows cost no memory on the CPU, so the room there is generous.
constexpr int64_t kCpuCapacity = int64_t{1} << 22;
constexpr int64_t kMoveRows = 1 << 16;  // rows moved at a time: bounds the copy

}  // namespace

GaussianModel::GaussianModel(int sh_degree, bool with_moments, c10::Device device)
    : sh_degree_(sh_degree), with_moments_(with_moments), device_(device) {
  ATHANOR_CHECK(sh_degree >= 0 && sh_degree <= 3, "SH degree: expected 0 to 3, found ", sh_degree);
  const auto options = at::TensorOptions().dtype(at::kFloat).device(device);
  const int64_t k = sh_coefficients();
  means_ = at::empty({0, 3}, options);
  quats_ = at::empty({0, 4}, options);
  log_scales_ = at::empty({0, 3}, options);
  opacity_logits_ = at::empty({0}, options);
  sh_ = at::empty({0, 3, k}, options);
  first_moments_ = at::empty({0, kNumMoments}, options.dtype(at::kBFloat16));
  second_moments_ = at::empty({0, kNumMoments}, options);
}

std::vector<GaussianModel::Column> GaussianModel::Columns() {
  std::vector<Column> columns = {{"means", &means_, false},
                                 {"quats", &quats_, false},
                                 {"log_scales", &log_scales_, false},
                                 {"opacity_logits", &opacity_logits_, false},
                                 {"sh", &sh_, false}};
  if (with_moments_) {
    columns.insert(columns.end(), {{"first_moments", &first_moments_, true},
                                   {"second_moments", &second_moments_, true}});
  }
  return columns;
}

void GaussianModel::Reserve(int64_t rows) {
  if (rows <= capacity_) return;
  const int64_t capacity =
      device_.is_cpu() ? std::max(kCpuCapacity, 2 * rows) : std::max<int64_t>(rows, rows * 5 / 4);
  for (const Column& column : Columns()) {
    std::vector<int64_t> shape = column.tensor->sizes().vec();
    shape[0] = capacity;
    at::Tensor grown = at::empty(shape, column.tensor->options());
    grown.narrow(0, 0, size_).copy_(column.tensor->narrow(0, 0, size_));
    *column.tensor = grown;
  }
  capacity_ = capacity;
}

GaussianModel GaussianModel::FromPoints(const std::vector<ColoredPoint>& points, int sh_degree,
                                        float opacity, float scale_factor, c10::Device device) {
  ATHANOR_CHECK(!points.empty(), "a scene needs at least 1 point to start from, found none");
  const auto n = static_cast<int64_t>(points.size());
  GaussianModel model(sh_degree, /*with_moments=*/true, device);
  model.Reserve(n);
  model.size_ = n;
  std::vector<float> positions(3 * n);
  for (int64_t i = 0; i < n; ++i) std::copy_n(points[i].position, 3, positions.data() + 3 * i);
  const std::vector<float> distance2 = MeanSquaredDistanceToNearest(positions.data(), n, 3);
  const at::Tensor log_scales = at::empty({n, 1}, at::kFloat);
  for (int64_t i = 0; i < n; ++i) {
    log_scales.data_ptr<float>()[i] =
        std::log(scale_factor * std::sqrt(std::max(distance2[i], 1e-7f)));
  }
  const at::Tensor base_colors = at::empty({n, 3}, at::kFloat);
  for (int64_t i = 0; i < 3 * n; ++i) {
    base_colors.data_ptr<float>()[i] =
        (static_cast<float>(points[i / 3].color[i % 3]) / 255.0f - 0.5f) / kSh0;
  }
  model.means().copy_(at::from_blob(positions.data(), {n, 3}, at::kFloat));
  model.quats().zero_().select(1, 0).fill_(1);
  model.log_scales().copy_(log_scales.expand({n, 3}));
  model.opacity_logits().fill_(std::log(opacity / (1 - opacity)));
  model.sh().zero_().select(2, 0).copy_(base_colors);
  for (const Column& column : model.Columns()) {
    if (column.is_moment) column.tensor->narrow(0, 0, n).zero_();
  }
  return model;
}

GaussianModel GaussianModel::FromCloud(const GaussianCloud& cloud, bool with_moments,
                                       c10::Device device) {
  GaussianModel model(cloud.sh_degree, with_moments, device);
  const int64_t n = cloud.size();
  model.Reserve(n);
  model.size_ = n;
  const auto fill = [&](const at::Tensor& rows, const std::vector<float>& values) {
    rows.copy_(at::from_blob(const_cast<float*>(values.data()), rows.sizes(), at::kFloat));
  };
  fill(model.means(), cloud.means);
  fill(model.quats(), cloud.quats);
  fill(model.log_scales(), cloud.log_scales);
  fill(model.opacity_logits(), cloud.opacity_logits);
  fill(model.sh(), cloud.sh);
  for (const Column& column : model.Columns()) {
    if (column.is_moment) column.tensor->narrow(0, 0, n).zero_();
  }
  return model;
}

GaussianCloud GaussianModel::ToCloud() const {
  GaussianCloud cloud;
  cloud.sh_degree = sh_degree_;
  const auto values = [](const at::Tensor& rows) {
    const at::Tensor dense = rows.to(at::kCPU).contiguous();
    const float* data = dense.data_ptr<float>();
    return std::vector<float>(data, data + dense.numel());
  };
  cloud.means = values(means());
  cloud.quats = values(quats());
  cloud.log_scales = values(log_scales());
  cloud.opacity_logits = values(opacity_logits());
  cloud.sh = values(sh());
  return cloud;
}

GaussianArrays GaussianModel::arrays() const {
  return {size_, means_.data_ptr<float>(), quats_.data_ptr<float>(), log_scales_.data_ptr<float>(),
          opacity_logits_.data_ptr<float>()};
}

GaussianParameters GaussianModel::parameters() {
  return {means_.data_ptr<float>(), quats_.data_ptr<float>(), log_scales_.data_ptr<float>(),
          opacity_logits_.data_ptr<float>(), sh_.data_ptr<float>()};
}

GaussianMoments GaussianModel::moments() {
  return {reinterpret_cast<uint16_t*>(first_moments_.data_ptr<at::BFloat16>()),
          second_moments_.data_ptr<float>()};
}

void GaussianModel::Append(const at::Tensor& source_rows) {
  const int64_t added = source_rows.numel();
  Reserve(size_ + added);
  for (const Column& column : Columns()) {
    at::Tensor rows = column.tensor->narrow(0, size_, added);
    if (column.is_moment) {
      rows.zero_();
    } else {
      rows.copy_(column.tensor->index_select(0, source_rows));
    }
  }
  size_ += added;
}

void GaussianModel::Keep(const at::Tensor& rows) {
  const int64_t kept = rows.numel();
  if (kept == size_) return;
  // Rows only move towards the front, so a piece never overwrites what a later piece reads.
  for (const Column& column : Columns()) {
    for (int64_t begin = 0; begin < kept; begin += kMoveRows) {
      const int64_t count = std::min(kMoveRows, kept - begin);
      column.tensor->narrow(0, begin, count)
          .copy_(column.tensor->index_select(0, rows.narrow(0, begin, count)));
    }
  }
  size_ = kept;
}

void GaussianModel::ZeroMoments(const at::Tensor& rows) {
  for (const Column& column : Columns()) {
    if (column.is_moment) column.tensor->index_fill_(0, rows, 0);
  }
}

void GaussianModel::ZeroOpacityMoments() {
  constexpr int kOpacity = 10;  // of the moments of a Gaussian
  Rows(first_moments_).select(1, kOpacity).zero_();
  Rows(second_moments_).select(1, kOpacity).zero_();
}

std::vector<std::pair<std::string, at::Tensor>> GaussianModel::State() const {
  std::vector<std::pair<std::string, at::Tensor>> state;
  for (const Column& column : const_cast<GaussianModel*>(this)->Columns()) {
    state.emplace_back(column.name, Rows(*column.tensor));
  }
  return state;
}

void GaussianModel::SetState(const std::vector<std::pair<std::string, at::Tensor>>& state) {
  const auto find = [&](const std::string& name) -> const at::Tensor& {
    for (const auto& [key, tensor] : state) {
      if (key == name) return tensor;
    }
    throw Error(StrCat("scene state: expected a tensor named '", name, "', found none"));
  };
  const int64_t n = find("means").size(0);
  size_ = 0;
  Reserve(n);
  for (const Column& column : Columns()) {
    const at::Tensor& value = find(column.name);
    std::vector<int64_t> shape = column.tensor->sizes().vec();
    shape[0] = n;
    ATHANOR_CHECK(
        value.sizes().vec() == shape && value.scalar_type() == column.tensor->scalar_type(),
        "scene state: '", column.name, "': expected shape ", c10::IntArrayRef(shape), ", found ",
        value.sizes());
    column.tensor->narrow(0, 0, n).copy_(value);
  }
  size_ = n;
}

}  // namespace athanor
