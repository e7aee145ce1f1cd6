// Feeds arbitrary bytes to the reader of Arrow's IPC files.
#include "athanor/base/error.h"
#include "athanor/datasets/arrow_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace athanor;
  try {
    const ArrowTable table =
        ParseArrow({reinterpret_cast<const char*>(data), size}, "table.feather", 64 << 20);
    for (const ArrowColumn& column : table.columns()) {
      const bool is_text = column.type == ArrowType::kUtf8 || column.type == ArrowType::kLargeUtf8;
      try {
        is_text ? static_cast<void>(table.Strings(column.name))
                : static_cast<void>(table.Integers(column.name));
      } catch (const Error&) {
        // A column of reals, or one with gaps.
      }
    }
    FormatArrow(table, ArrowCompression::kNone);
  } catch (const Error&) {
    // What bad input should do.
  }
  return 0;
}
