// Feeds arbitrary bytes to the readers of COLMAP's files. The first byte chooses which.
#include "athanor/base/error.h"
#include "athanor/datasets/colmap_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace athanor;
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto encoding = (data[0] & 1) != 0 ? ColmapEncoding::kText : ColmapEncoding::kBinary;
  try {
    switch (data[0] / 2 % 3) {
      case 0:
        ParseColmapCameras(bytes, "cameras", encoding);
        break;
      case 1:
        ParseColmapImages(bytes, "images", encoding);
        break;
      default:
        ParseColmapPoints(bytes, "points3D", encoding);
    }
  } catch (const Error&) {
    // What bad input should do.
  }
  return 0;
}
