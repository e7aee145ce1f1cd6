// Attention of queries to many keys (Vaswani et al., 2017), in memory that does not grow with
// queries x keys: a block of queries at a time, and again on the way back.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "athanor/nn/dense_layers.h"

namespace athanor {

// softmax(q k^T / sqrt(d)) v by head: q [H,N,d], k [H,M,d], v [H,M,d] with M >= 1, to [H,N,d].
// `allowed`, [N,M] bool or undefined: which keys a query sees; each must see one at least.
// Differentiable in q, k, v; weights are computed anew for the gradient instead of being kept. The
// blocks depend on the shapes alone.
at::Tensor BlockedAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const at::Tensor& allowed);

class MultiHeadAttention {
 public:
  MultiHeadAttention() = default;
  // Throws Error when `width` is not a multiple of `heads`.
  MultiHeadAttention(const LayerScope& scope, int64_t width, int64_t heads);
  // queries [N,width], keys and values [M,width], to [N,width].
  at::Tensor Forward(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values,
                     const at::Tensor& allowed = {}) const;

 private:
  int64_t heads_ = 1;
  Linear query_, key_, value_, out_;
};

}  // namespace athanor
