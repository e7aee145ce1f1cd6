// A quick test of every kernel on a device, against oracles in double precision: what `athanor
// doctor` runs on the machine that it finds itself on.
#pragma once

#include <c10/core/Device.h>

#include <string>
#include <vector>

namespace athanor {

struct KernelCheck {
  std::string name;
  // Largest difference from the oracle, relative to the largest value of the same column or
  // channel. Infinite when anything is not finite. For the tile lists: the number of wrong entries.
  double max_error;
  double tolerance;

  bool passed() const { return max_error <= tolerance; }
};

// Throws Error where this build runs no kernels on `device`. Takes less than a second, once Torch
// and the device have started.
std::vector<KernelCheck> CheckKernels(const c10::Device& device);

}  // namespace athanor
