#include "athanor/ops/bev_pool.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <limits>
#include <utility>
#include <vector>

#include "athanor/kernels/bev_pool.h"
#include "athanor/ops/device.h"

namespace athanor {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// Keeps the links alive as long as the graph that needs them.
struct LinksHolder : torch::CustomClassHolder {
  explicit LinksHolder(BevLinks links) : value(std::move(links)) {}
  BevLinks value;
};

void Keep(AutogradContext* context, const BevLinks& links) {
  context->saved_data["links"] = c10::IValue::make_capsule(c10::make_intrusive<LinksHolder>(links));
}

BevLinks Kept(AutogradContext* context) {
  const auto holder = context->saved_data["links"].toCapsule();
  return static_cast<const LinksHolder*>(holder.get())->value;
}

void CheckFirstDerivative(const char* what) {
  ATHANOR_CHECK(!c10::GradMode::is_enabled(), "backward of ", what,
                ": expected create_graph to be off, as there are no second derivatives");
}

const float* Floats(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.data_ptr<float>() : nullptr;
}

// features [pixels,F], weights undefined: 1. Both dense.
at::Tensor Pool(const at::Tensor& features, const at::Tensor& weights, const BevLinks& links) {
  const int64_t channels = features.size(1);
  const at::Tensor out = at::empty({links.cells, channels}, features.options());
  BevPoolArgs args = {};
  args.cells = links.cells, args.channels = static_cast<int>(channels);
  args.offsets = links.offsets.data_ptr<int32_t>();
  args.pixels = links.pixels.data_ptr<int32_t>();
  args.places = links.places.data_ptr<int32_t>();
  args.weights = Floats(weights), args.features = Floats(features);
  args.out = out.data_ptr<float>();
  ATHANOR_RUN_KERNEL(features.device(), BevPool, args);
  return out;
}

BevSpreadArgs SpreadArgs(const at::Tensor& values, const BevLinks& links) {
  BevSpreadArgs args = {};
  args.pixels = links.cell_of.size(0), args.plane = links.height * links.width;
  args.bins = static_cast<int>(links.bins);
  args.cells = links.cell_of.data_ptr<int32_t>();
  args.channels = static_cast<int>(values.size(1)), args.values = Floats(values);
  return args;
}

struct PoolFunction : Function<PoolFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& features,
                            const at::Tensor& weights, const BevLinks& links) {
    context->save_for_backward({features, weights});
    Keep(context, links);
    return Pool(features, weights, links);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    CheckFirstDerivative("BEV pooling");
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &features = saved[0], &weights = saved[1];
    const at::Tensor d_out = gradients[0].contiguous();
    const BevLinks links = Kept(context);
    BevSpreadArgs args = SpreadArgs(d_out, links);
    args.weights = Floats(weights);
    at::Tensor d_features, d_weights;
    if (context->needs_input_grad(0)) {
      d_features = at::empty_like(features);
      args.out = d_features.data_ptr<float>();
    }
    if (context->needs_input_grad(1)) {
      d_weights = at::empty_like(weights);
      args.features = Floats(features), args.d_weights = d_weights.data_ptr<float>();
    }
    ATHANOR_RUN_KERNEL(features.device(), BevSpread, args);
    return {d_features, d_weights, at::Tensor()};
  }
};

struct SpreadFunction : Function<SpreadFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& values,
                            const BevLinks& links) {
    Keep(context, links);
    const at::Tensor out = at::empty({links.cell_of.size(0), values.size(1)}, values.options());
    BevSpreadArgs args = SpreadArgs(values, links);
    args.out = out.data_ptr<float>();
    ATHANOR_RUN_KERNEL(values.device(), BevSpread, args);
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    CheckFirstDerivative("BEV spreading");
    return {Pool(gradients[0].contiguous(), {}, Kept(context)), at::Tensor()};
  }
};

void CheckType(const at::Tensor& tensor, const char* name) {
  ATHANOR_CHECK(tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kBFloat16, name,
                ": expected type Float or BFloat16, found ", c10::toString(tensor.scalar_type()));
}

void CheckShape(const at::Tensor& tensor, const char* name, at::IntArrayRef expected) {
  bool same = tensor.dim() == static_cast<int64_t>(expected.size());
  for (size_t i = 0; same && i < expected.size(); ++i) {
    same = expected[i] < 0 ? tensor.size(i) >= 1 : tensor.size(i) == expected[i];
  }
  ATHANOR_CHECK(same, name, ": expected shape ", expected, " (-1: any from 1), found ",
                tensor.sizes());
}

void CheckLinks(const BevLinks& links, const c10::Device& device) {
  CheckTensor(links.cell_of, "links", at::kInt, device,
              {links.cameras * links.height * links.width, links.bins});
  CheckTensor(links.offsets, "offsets of links", at::kInt, device, {links.cells + 1});
}

}  // namespace

BevLinks BevLinks::To(const c10::Device& device) const {
  BevLinks moved = *this;
  moved.cell_of = cell_of.to(device), moved.offsets = offsets.to(device);
  moved.pixels = pixels.to(device), moved.places = places.to(device);
  return moved;
}

BevLinks MakeBevLinks(const at::Tensor& cell_of, int64_t cells) {
  const at::Tensor table = cell_of.contiguous();
  CheckTensor(table, "cells of pixels", at::kInt, at::kCPU, {-1, -1, -1, -1});
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  ATHANOR_CHECK(cells >= 0 && cells < kMost, "cells of pixels: expected at most ", kMost - 1,
                " cells, found ", cells);
  ATHANOR_CHECK(table.numel() <= kMost, "cells of pixels: expected at most ", kMost,
                " pixels times bins, found ", table.numel());
  BevLinks links;
  links.cameras = table.size(0), links.height = table.size(1), links.width = table.size(2);
  links.bins = table.size(3), links.cells = cells;
  const int64_t plane = links.height * links.width, pixels = links.cameras * plane;
  links.cell_of = table.view({pixels, links.bins});
  links.offsets = at::zeros({cells + 1}, at::kInt);
  const auto* cell = table.data_ptr<int32_t>();
  auto* offsets = links.offsets.data_ptr<int32_t>();
  const int64_t entries = table.numel();
  for (int64_t i = 0; i < entries; ++i) {
    ATHANOR_CHECK(cell[i] < cells, "cells of pixels: expected cells below ", cells, ", found ",
                  cell[i], " at entry ", i);
    if (cell[i] >= 0) ++offsets[cell[i] + 1];
  }
  for (int64_t c = 0; c < cells; ++c) offsets[c + 1] += offsets[c];
  links.pixels = at::empty({offsets[cells]}, at::kInt);
  links.places = at::empty({offsets[cells]}, at::kInt);
  auto* pixel_list = links.pixels.data_ptr<int32_t>();
  auto* place_list = links.places.data_ptr<int32_t>();
  std::vector<int32_t> next(offsets, offsets + cells);
  for (int64_t camera = 0, pixel = 0, entry = 0; camera < links.cameras; ++camera) {
    for (int64_t p = 0; p < plane; ++p, ++pixel) {
      for (int64_t bin = 0; bin < links.bins; ++bin, ++entry) {
        if (cell[entry] < 0) continue;
        const int32_t at = next[cell[entry]]++;
        pixel_list[at] = static_cast<int32_t>(pixel);
        place_list[at] = static_cast<int32_t>((camera * links.bins + bin) * plane + p);
      }
    }
  }
  return links;
}

at::Tensor BevPool(const at::Tensor& features, const at::Tensor& weights, const BevLinks& links) {
  const c10::Device device = KernelDevice(features, "features");
  CheckType(features, "features");
  CheckShape(features, "features", {links.cameras, -1, links.height, links.width});
  ATHANOR_CHECK(weights.defined() && weights.device() == device,
                "weights: expected a tensor on the device of the features, ", device);
  CheckType(weights, "weights");
  CheckShape(weights, "weights", {links.cameras, links.bins, links.height, links.width});
  CheckLinks(links, device);
  const at::Tensor rows = features.to(at::kFloat).permute({0, 2, 3, 1}).contiguous();
  const at::Tensor sums = PoolFunction::apply(rows.view({links.cell_of.size(0), features.size(1)}),
                                              weights.to(at::kFloat).contiguous(), links);
  return sums.to(features.scalar_type());
}

at::Tensor BevSpread(const at::Tensor& values, const BevLinks& links) {
  const c10::Device device = KernelDevice(values, "values");
  CheckType(values, "values");
  CheckShape(values, "values", {links.cells, -1});
  CheckLinks(links, device);
  const at::Tensor rows = SpreadFunction::apply(values.to(at::kFloat).contiguous(), links);
  return rows.to(values.scalar_type())
      .view({links.cameras, links.height, links.width, values.size(1)})
      .permute({0, 3, 1, 2});
}

}  // namespace athanor
