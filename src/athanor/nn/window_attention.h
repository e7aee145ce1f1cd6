// The layer around window attention (ops/window_attention.h): projections in and out, and the
// table of relative positions (Liu et al., "Swin Transformer", 2021).
#pragma once

#include "athanor/nn/dense_layers.h"
#include "athanor/ops/window_attention.h"

namespace athanor {

// Queries come from one map, keys and values from another of the same size, which may be wider.
// The table counts from the corners of the two windows, so that with a shift its values belong to
// true offsets moved by that shift: it is learned either way.
class WindowAttentionLayer {
 public:
  WindowAttentionLayer() = default;
  // Throws Error when the heads do not divide the width into 4, 8, .., 64 channels each.
  WindowAttentionLayer(const LayerScope& scope, int64_t width, int64_t context_width,
                       const WindowOptions& options);

  // x [B,H,W,width] and context [B,H,W,context_width] to [B,H,W,width]; float32 or bfloat16.
  at::Tensor Forward(const at::Tensor& x, const at::Tensor& context) const {
    return Forward(x, context, options_.offset_rows, options_.offset_columns);
  }
  // With windows that begin elsewhere (WindowOptions::offset_rows).
  at::Tensor Forward(const at::Tensor& x, const at::Tensor& context, int offset_rows,
                     int offset_columns) const;

 private:
  WindowOptions options_;
  Linear query_, key_value_, out_;
  at::Tensor table_;
};

}  // namespace athanor
