// Feeds arbitrary bytes to the reader of Argoverse 2's ground heights (a NumPy array).
#include "athanor/base/error.h"
#include "athanor/datasets/argoverse2_map.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace athanor;
  try {
    ParseGroundHeights({reinterpret_cast<const char*>(data), size}, "heights.npy");
  } catch (const Error&) {
    // What bad input should do.
  }
  return 0;
}
