#include "athanor/nn/window_attention.h"

#include "athanor/base/error.h"

namespace athanor {

WindowAttentionLayer::WindowAttentionLayer(const LayerScope& scope, int64_t width,
                                           int64_t context_width, const WindowOptions& options)
    : options_(options) {
  const int64_t heads = options.heads;
  ATHANOR_CHECK(heads >= 1 && width % (4 * heads) == 0 && width <= 64 * heads, scope.prefix,
                ": expected a width that ", heads,
                " heads divide into 4, 8, .., 64 channels each, found ", width);
  query_ = Linear(scope / "query", width, width);
  key_value_ = Linear(scope / "key_value", context_width, 2 * width);
  out_ = Linear(scope / "out", width, width);
  const int64_t side = 2 * options.window - 1;
  constexpr double kDeviation = 0.02;  // Swin's
  table_ = scope.Normal("table", {heads, side * side}, kDeviation);
}

at::Tensor WindowAttentionLayer::Forward(const at::Tensor& x, const at::Tensor& context,
                                         int offset_rows, int offset_columns) const {
  WindowOptions options = options_;
  options.offset_rows = offset_rows, options.offset_columns = offset_columns;
  return out_.Forward(
      WindowAttention(query_.Forward(x), key_value_.Forward(context), table_, options));
}

}  // namespace athanor
