// Vectors of many megabytes that are read here and there: on pages of 2 MB where the system has
// them (Linux, transparent huge pages by madvise), so that looking up addresses costs little.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <new>
#include <vector>

namespace athanor {

template <typename T>
struct BigAllocator {
  using value_type = T;
  BigAllocator() = default;
  template <typename U>
  BigAllocator(const BigAllocator<U>&) {}

  T* allocate(size_t n) {
    constexpr size_t kPage = 2 << 20, kLine = 64;
    const size_t bytes = n * sizeof(T), unit = bytes >= kPage ? kPage : kLine;
    void* memory = std::aligned_alloc(unit, (bytes + unit - 1) / unit * unit);
    if (memory == nullptr) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
    // A wish: it does not matter when it is refused.
    if (unit == kPage) madvise(memory, (bytes + unit - 1) / unit * unit, MADV_HUGEPAGE);
#endif
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, size_t) { std::free(memory); }
  bool operator==(const BigAllocator&) const { return true; }
};

template <typename T>
using BigVector = std::vector<T, BigAllocator<T>>;

}  // namespace athanor
