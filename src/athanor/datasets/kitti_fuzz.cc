// Feeds arbitrary bytes to the readers of KITTI's files. The first byte chooses which.
#include "athanor/base/error.h"
#include "athanor/datasets/kitti_labels.h"
#include "athanor/datasets/kitti_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace athanor;
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    switch (data[0] % 3) {
      case 0:
        ParseKittiSweep(bytes, "000000.bin");
        break;
      case 1:
        ParseKittiCalibration(bytes, "calib.txt");
        break;
      default:
        for (const KittiLabel& label : ParseKittiLabels(bytes, "label.txt")) {
          if (label.has_box3()) KittiBoxInCamera(label);
        }
    }
  } catch (const Error&) {
    // What bad input should do.
  }
  return 0;
}
