#include "athanor/ops/window_attention.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstdlib>

#include "athanor/kernels/window_attention.h"
#include "athanor/ops/device.h"

namespace athanor {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

constexpr int64_t kMaxWindow = 16, kMaxHeadChannels = 64;
constexpr int64_t kMaxCudaWindow = 8, kMaxCudaHeadChannels = 32;

WindowShape ShapeOf(const at::Tensor& queries, const WindowOptions& options) {
  WindowShape shape = {};
  shape.maps = queries.size(0);
  shape.rows = queries.size(1), shape.columns = queries.size(2);
  shape.heads = options.heads;
  shape.channels = static_cast<int>(queries.size(3) / options.heads);
  shape.window = options.window;
  shape.shift_rows = options.shift_rows, shape.shift_columns = options.shift_columns;
  shape.offset_rows = options.offset_rows, shape.offset_columns = options.offset_columns;
  return shape;
}

void CheckInputs(const at::Tensor& queries, const at::Tensor& keys_values,
                 const at::Tensor& bias_table, const WindowOptions& options) {
  ATHANOR_CHECK(queries.defined() && keys_values.defined() && bias_table.defined(),
                "window attention: expected queries, keys and a table, found one undefined");
  const int64_t m = options.window;
  ATHANOR_CHECK(m >= 1 && m <= kMaxWindow, "window attention: expected a window of 1 to ",
                kMaxWindow, " pixels, found ", m);
  ATHANOR_CHECK(std::abs(options.shift_rows) < m && std::abs(options.shift_columns) < m,
                "window attention: expected a shift of less than the window's ", m,
                " pixels, found (", options.shift_rows, ", ", options.shift_columns, ")");
  const auto is_offset = [m](int64_t pixels) { return pixels >= 0 && pixels < m; };
  ATHANOR_CHECK(is_offset(options.offset_rows) && is_offset(options.offset_columns),
                "window attention: expected an offset of 0 to ", m - 1, " pixels, found (",
                options.offset_rows, ", ", options.offset_columns, ")");
  const at::ScalarType type = queries.scalar_type();
  ATHANOR_CHECK(type == at::kFloat || type == at::kBFloat16 || type == at::kDouble,
                "window attention: expected queries of float32, bfloat16 or float64, found ", type);
  ATHANOR_CHECK(queries.dim() == 4, "window attention: expected queries [B,H,W,C], found ",
                queries.sizes());
  const int64_t channels = queries.size(3), heads = options.heads;
  ATHANOR_CHECK(heads >= 1 && channels >= 1 && channels % heads == 0,
                "window attention: expected channels that are a multiple of ", heads,
                " heads, found ", channels);
  ATHANOR_CHECK(channels / heads % 4 == 0 && channels / heads <= kMaxHeadChannels,
                "window attention: expected 4, 8, .., ", kMaxHeadChannels,
                " channels per head, found ", channels / heads);
  ATHANOR_CHECK(keys_values.scalar_type() == type && keys_values.device() == queries.device(),
                "window attention: expected keys of the queries' type and device, found ",
                keys_values.scalar_type(), " on ", keys_values.device());
  const std::vector<int64_t> expected = {queries.size(0), queries.size(1), queries.size(2),
                                         2 * channels};
  ATHANOR_CHECK(keys_values.sizes() == expected, "window attention: expected keys and values ",
                at::IntArrayRef(expected), " for queries ", queries.sizes(), ", found ",
                keys_values.sizes());
  const std::vector<int64_t> table = {heads, (2 * m - 1) * (2 * m - 1)};
  ATHANOR_CHECK(bias_table.sizes() == table, "window attention: expected a table ",
                at::IntArrayRef(table), ", found ", bias_table.sizes());
  if (queries.is_cuda()) {
    ATHANOR_CHECK(m <= kMaxCudaWindow && channels / heads <= kMaxCudaHeadChannels,
                  "window attention on CUDA: expected a window of at most ", kMaxCudaWindow,
                  " pixels and ", kMaxCudaHeadChannels, " channels per head, found ", m, " and ",
                  channels / heads);
  }
}

WindowForwardArgs ForwardArgs(const variable_list& tensors, const WindowOptions& options) {
  WindowForwardArgs args = {};
  args.shape = ShapeOf(tensors[0], options);
  args.is_bfloat16 = tensors[0].scalar_type() == at::kBFloat16;
  args.queries = tensors[0].data_ptr(), args.keys_values = tensors[1].data_ptr();
  args.bias_table = tensors[2].data_ptr<float>();
  return args;
}

struct WindowFunction : Function<WindowFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& queries,
                            const at::Tensor& keys_values, const at::Tensor& bias_table,
                            const WindowOptions& options) {
    context->save_for_backward({queries, keys_values, bias_table});
    context->saved_data["options"] =
        std::vector<int64_t>{options.window,        options.heads,       options.shift_rows,
                             options.shift_columns, options.offset_rows, options.offset_columns};
    WindowForwardArgs args = ForwardArgs({queries, keys_values, bias_table}, options);
    const at::Tensor out = at::empty_like(queries);
    args.out = out.data_ptr();
    ATHANOR_RUN_KERNEL(queries.device(), WindowAttentionForward, args);
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    ATHANOR_CHECK(!c10::GradMode::is_enabled(),
                  "backward of window attention: expected create_graph to be off, as there are no "
                  "second derivatives");
    const variable_list saved = context->get_saved_variables();
    const std::vector<int64_t> kept = context->saved_data["options"].toIntVector();
    WindowOptions options;
    options.window = static_cast<int>(kept[0]), options.heads = static_cast<int>(kept[1]);
    options.shift_rows = static_cast<int>(kept[2]);
    options.shift_columns = static_cast<int>(kept[3]);
    options.offset_rows = static_cast<int>(kept[4]);
    options.offset_columns = static_cast<int>(kept[5]);
    const at::Tensor d_out = gradients[0].to(saved[0].scalar_type()).contiguous();
    const at::Tensor d_queries = at::empty_like(saved[0]);
    const bool all_met = options.shift_rows == 0 && options.shift_columns == 0;
    const at::Tensor d_keys = all_met ? at::empty_like(saved[1]) : at::zeros_like(saved[1]);
    const at::Tensor d_table = at::empty_like(saved[2]);
    WindowBackwardArgs args = {};
    args.forward = ForwardArgs(saved, options);
    args.d_out = d_out.data_ptr();
    args.d_queries = d_queries.data_ptr(), args.d_keys_values = d_keys.data_ptr();
    args.d_bias_table = d_table.data_ptr<float>();
    ATHANOR_RUN_KERNEL(saved[0].device(), WindowAttentionBackward, args);
    return {d_queries, d_keys, d_table, at::Tensor()};
  }
};

}  // namespace

at::Tensor WindowAttention(const at::Tensor& queries, const at::Tensor& keys_values,
                           const at::Tensor& bias_table, const WindowOptions& options) {
  CheckInputs(queries, keys_values, bias_table, options);
  if (queries.scalar_type() == at::kDouble) {
    return WindowAttentionReference(queries, keys_values, bias_table, options);
  }
  const c10::Device device = KernelDevice(queries, "queries");
  const at::Tensor table = bias_table.contiguous();
  CheckTensor(table, "table of window attention", at::kFloat, device, {options.heads, -1});
  // The CUDA kernels know float32 alone.
  const at::ScalarType given = queries.scalar_type();
  const at::ScalarType type = device.is_cuda() ? at::kFloat : given;
  return WindowFunction::apply(queries.to(type).contiguous(), keys_values.to(type).contiguous(),
                               table, options)
      .to(given);
}

}  // namespace athanor
