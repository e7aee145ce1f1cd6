// Feeds any bytes to the image decoders. Only Error may come out of them.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "athanor/base/error.h"
#include "athanor/media/image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const int channels : {0, 1, 3, 4}) {
    try {
      athanor::DecodeImage(bytes, "fuzz", channels);
    } catch (const athanor::Error&) {
    }
  }
  try {
    athanor::DecodeDepthPng(bytes, "fuzz");
  } catch (const athanor::Error&) {
  }
  return 0;
}
