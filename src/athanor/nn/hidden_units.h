// Units between two layers of a network with nothing but a ReLU (and a normalisation of each unit
// by itself) between them: how much each is used, and new ones in place of those of least use, as
// in continual backpropagation (Dohare et al., "Loss of plasticity in deep continual learning",
// Nature 632, 2024).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "athanor/nn/adamw.h"

namespace athanor {

struct HiddenLayer {
  std::string in, out;  // names of the layers before and behind its units, "decoder.bev.0.expand"
  int64_t units = 0;
};

// Found by the names that layers give their tensors: perceptrons (0 and 1, 1 and 2, ...; expand and
// shrink) and residual blocks (first and second), linear, dense or sparse convolutions.
std::vector<HiddenLayer> HiddenLayersOf(const Parameters& parameters);

// [units], on the CPU: what leaving a unit out would change of the loss, by its first derivative
// (Molchanov et al., "Pruning convolutional neural networks for resource efficient inference", ICLR
// 2017): the sum over the weights behind it of |weight| times the root of the gradient's mean
// square, which AdamW has at hand. All 0 before its first step.
at::Tensor UseOfUnits(const HiddenLayer& layer, const Parameters& parameters, const AdamW& adam);

// The share of all hidden units whose use is below 0.025 of their layer's mean.
double DormantShare(const Parameters& parameters, const AdamW& adam);

// Of each hidden layer the share 0..1 of least use begins anew: weights to it, and its
// normalisation, become those of `fresh`, a new network of the same shape, weights behind it 0, so
// that nothing changes but for what the old unit said; the moments of all of these 0. Returns how
// many units did.
int64_t RenewLeastUsed(double share, const Parameters& fresh, Parameters* parameters, AdamW* adam);

}  // namespace athanor
