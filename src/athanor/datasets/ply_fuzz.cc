// Feeds arbitrary bytes to the reader of PLY point clouds.
#include "athanor/base/error.h"
#include "athanor/datasets/ply_points.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace athanor;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    ParsePlyPoints(bytes, "points.ply");
  } catch (const Error&) {
    // What bad input should do.
  }
  return 0;
}
