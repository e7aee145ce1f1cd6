// Attention inside windows of a map, on tensors and with gradients. The maths, and which keys a
// query may meet, stand in kernels/window_attention.h.
#pragma once

#include <ATen/core/Tensor.h>

namespace athanor {

struct WindowOptions {
  int window = 6;  // M: side of a window, in pixels
  int heads = 8;
  // Keys and values are those so many rows below and columns right of the queries' window.
  int shift_rows = 0, shift_columns = 0;
  // The first window of queries begins so many rows above and columns left of the map's corner:
  // 0 .. M-1. Swin's shift by s is an offset of M - s.
  int offset_rows = 0, offset_columns = 0;
};

// queries [B,H,W,C], keys_values [B,H,W,2C] (keys first), bias_table [heads,(2M-1)^2] f32, to
// [B,H,W,C]. Maps are float32 or bfloat16, channels last: a head's part of a pixel is then one run
// of memory, and what comes before and after is a linear layer without a transposition. float64 is
// computed by plain tensors, for tests of gradients. Differentiable once in all three.
// Throws Error for other shapes and types, an M outside 1..16, a head of other than 4, 8, .., 64
// channels, a shift of M and more, or an offset outside 0..M-1. On CUDA M is at most 8, d at most
// 32, all is float32 inside.
at::Tensor WindowAttention(const at::Tensor& queries, const at::Tensor& keys_values,
                           const at::Tensor& bias_table, const WindowOptions& options);

// The same by plain tensors (pad, torch.roll, masks, softmax), slow, of any floating type,
// differentiable by Torch: the oracle.
at::Tensor WindowAttentionReference(const at::Tensor& queries, const at::Tensor& keys_values,
                                    const at::Tensor& bias_table, const WindowOptions& options);

}  // namespace athanor
