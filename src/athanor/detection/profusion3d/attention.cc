#include "athanor/detection/profusion3d/attention.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "athanor/base/error.h"

namespace athanor {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Weights of a block of queries: 16 MB in float32, so that a pass over them stays near the caches.
constexpr int64_t kBlockWeights = int64_t{1} << 22;

int64_t BlockRows(const at::Tensor& q, const at::Tensor& k) {
  return std::max<int64_t>(16, kBlockWeights / std::max<int64_t>(1, q.size(0) * k.size(1)));
}

at::Tensor Weights(const at::Tensor& q, const at::Tensor& k, const at::Tensor& allowed,
                   int64_t begin, int64_t end) {
  at::Tensor scores = at::matmul(q.slice(1, begin, end), k.transpose(1, 2));
  scores.mul_(1 / std::sqrt(static_cast<double>(q.size(2))));
  if (allowed.defined()) {
    scores.masked_fill_(allowed.slice(0, begin, end).logical_not(),
                        -std::numeric_limits<double>::infinity());
  }
  return at::softmax(scores, -1);
}

// Apart from the tensors that gradients are asked of: these must be defined.
struct Mask {
  at::Tensor allowed;
};

class AttentionFunction : public torch::autograd::Function<AttentionFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const Mask& mask) {
    at::Tensor out = at::empty({q.size(0), q.size(1), v.size(2)}, q.options());
    const int64_t rows = BlockRows(q, k);
    for (int64_t begin = 0; begin < q.size(1); begin += rows) {
      const int64_t end = std::min(q.size(1), begin + rows);
      out.slice(1, begin, end).copy_(at::matmul(Weights(q, k, mask.allowed, begin, end), v));
    }
    context->save_for_backward({q, k, v, mask.allowed, out});
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2], &out = saved[4];
    const at::Tensor& g = gradients[0];
    at::Tensor dq = at::empty_like(q), dk = at::zeros_like(k), dv = at::zeros_like(v);
    const double scale = 1 / std::sqrt(static_cast<double>(q.size(2)));
    // What the softmax takes off every score's gradient.
    const at::Tensor mean = (g * out).sum(-1, true);
    const int64_t rows = BlockRows(q, k);
    for (int64_t begin = 0; begin < q.size(1); begin += rows) {
      const int64_t end = std::min(q.size(1), begin + rows);
      const auto block = [&](const at::Tensor& x) { return x.slice(1, begin, end); };
      const at::Tensor weights = Weights(q, k, saved[3], begin, end);
      dv.add_(at::matmul(weights.transpose(1, 2), block(g)));
      at::Tensor scores = at::matmul(block(g), v.transpose(1, 2));
      scores.sub_(block(mean)).mul_(weights).mul_(scale);
      block(dq).copy_(at::matmul(scores, k));
      dk.add_(at::matmul(scores.transpose(1, 2), block(q)));
    }
    return {dq, dk, dv, at::Tensor()};
  }
};

}  // namespace

at::Tensor BlockedAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const at::Tensor& allowed) {
  ATHANOR_CHECK(q.dim() == 3 && k.dim() == 3 && v.dim() == 3 && q.size(0) == k.size(0) &&
                    q.size(2) == k.size(2) && k.size(0) == v.size(0) && k.size(1) == v.size(1) &&
                    k.size(1) > 0,
                "attention: expected q [H,N,d], k [H,M,d], v [H,M,d] with M > 0, found ", q.sizes(),
                ", ", k.sizes(), ", ", v.sizes());
  ATHANOR_CHECK(!allowed.defined() || allowed.sizes() == at::IntArrayRef({q.size(1), k.size(1)}),
                "attention: expected a mask [", q.size(1), ",", k.size(1), "], found ",
                allowed.defined() ? allowed.sizes() : at::IntArrayRef());
  return AttentionFunction::apply(q, k, v, Mask{allowed});
}

MultiHeadAttention::MultiHeadAttention(const LayerScope& scope, int64_t width, int64_t heads)
    : heads_(heads),
      query_(scope / "query", width, width),
      key_(scope / "key", width, width),
      value_(scope / "value", width, width),
      out_(scope / "out", width, width) {
  ATHANOR_CHECK(heads > 0 && width % heads == 0, "attention: expected a width that ", heads,
                " heads share, found ", width);
}

at::Tensor MultiHeadAttention::Forward(const at::Tensor& queries, const at::Tensor& keys,
                                       const at::Tensor& values, const at::Tensor& allowed) const {
  const auto split = [&](const at::Tensor& x) {
    return x.view({x.size(0), heads_, x.size(1) / heads_}).transpose(0, 1).contiguous();
  };
  const at::Tensor mixed =
      BlockedAttention(split(query_.Forward(queries)), split(key_.Forward(keys)),
                       split(value_.Forward(values)), allowed);
  return out_.Forward(mixed.transpose(0, 1).flatten(1));
}

}  // namespace athanor
