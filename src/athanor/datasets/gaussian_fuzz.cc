// Fuzz target: the decoders of all formats of Gaussians. The first byte chooses the format, so that
// one corpus serves all. Only Error may come out, and a scene that is accepted can be written.
#include <cstdint>

#include "athanor/base/error.h"
#include "athanor/base/log.h"
#include "athanor/datasets/gaussian_formats.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace athanor;
  SetLogLevel(LogLevel::kError);
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    GaussianCloud cloud;
    switch (data[0] % 4) {
      case 0:
        cloud = internal::DecodeGaussianPly(bytes, "ply");
        break;
      case 1:
        cloud = internal::DecodeSplat(bytes, "splat");
        break;
      case 2:
        cloud = internal::DecodeSpz(bytes, "spz");
        break;
      default:
        internal::DecodeGardenViews(bytes, "npz");
        cloud = internal::DecodeGardenNpz(bytes, "npz");
    }
    internal::EncodeGaussianPly(cloud);
    internal::EncodeSplat(cloud);
    internal::EncodeSpz(cloud, "spz");
  } catch (const Error&) {
  }
  return 0;
}
