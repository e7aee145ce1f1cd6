// Feeds arbitrary bytes to the reader of ScanNet's .sens containers.
#include <sstream>

#include "athanor/base/error.h"
#include "athanor/datasets/scannet_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace athanor;
  try {
    const ScanNetSens sens(std::make_unique<std::istringstream>(
                               std::string(reinterpret_cast<const char*>(data), size)),
                           "scan.sens");
    // Large images take long, and are the business of the image fuzzer.
    if (sens.depth_size().width > 256 || sens.depth_size().height > 256) return 0;
    for (size_t i = 0; i < sens.frames().size() && i < 4; ++i) {
      sens.ReadDepth(static_cast<int64_t>(i));
      sens.ReadColorBytes(static_cast<int64_t>(i));
    }
  } catch (const Error&) {
    // What bad input should do.
  }
  return 0;
}
