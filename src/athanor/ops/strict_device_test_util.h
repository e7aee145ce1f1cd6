// For tests without a GPU: a second device. Its memory is the host's and its functions are the
// CPU's, but tensors of it and of the CPU do not mix, as those of a GPU would not: whatever was
// made on the wrong device throws.
#pragma once

#include <c10/core/Device.h>

namespace athanor {

// Torch's device for backends of others ("privateuseone").
c10::Device StrictDevice();

}  // namespace athanor
