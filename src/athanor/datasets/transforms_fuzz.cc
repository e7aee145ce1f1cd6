// Feeds arbitrary bytes to the reader of transforms.json.
#include "athanor/base/error.h"
#include "athanor/datasets/transforms_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace athanor;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const Transforms transforms = ParseTransforms(text, "transforms.json");
    for (const TransformsIntrinsics& intrinsics : transforms.intrinsics) {
      intrinsics.ToCamera(640, 480, "transforms.json");
    }
  } catch (const Error&) {
    // What bad input should do.
  }
  return 0;
}
