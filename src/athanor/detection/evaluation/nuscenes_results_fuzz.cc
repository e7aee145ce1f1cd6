// Feeds any bytes to the reader of nuScenes results: an Error is fine, anything else is a bug.
#include <cstdint>
#include <string_view>

#include "athanor/base/error.h"
#include "athanor/detection/evaluation/nuscenes_files.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    athanor::ParseNuscenesResults({reinterpret_cast<const char*>(data), size}, "fuzz");
  } catch (const athanor::Error&) {
  }
  return 0;
}
