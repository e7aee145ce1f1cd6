#include "athanor/base/memory.h"

#include <malloc.h>

namespace athanor {

void KeepFreedMemory() {
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, 2147483647);
  mallopt(M_TOP_PAD, 256 << 20);
}

}  // namespace athanor
