// Feeds any bytes to the readers of what a car and its cloud send each other: bundles, features,
// clips, and the car's own ledger. An Error is fine, anything else is a bug.
#include <cstdint>
#include <string>
#include <string_view>

#include "athanor/base/error.h"
#include "athanor/lake/crc32c.h"
#include "athanor/loop/vehicle/upload.h"

namespace {

template <typename F>
void Try(F&& f) {
  try {
    f();
  } catch (const athanor::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace athanor;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  Try([&] { DecodeBundle(bytes, "fuzz"); });
  Try([&] { EncodeBundle(ParseBundle(bytes, "fuzz")); });
  Try([&] { EncodeFeatures(DecodeFeatures(bytes, "fuzz")); });
  Try([&] { EncodeLedger(DecodeLedger(bytes, "fuzz")); });
  // As if its checksum held.
  const uint32_t crc = Crc32c(bytes);
  Try([&] {
    DecodeUpload(bytes + std::string(reinterpret_cast<const char*>(&crc), sizeof crc), "fuzz");
  });
  return 0;
}
