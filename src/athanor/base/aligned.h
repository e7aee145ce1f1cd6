// std::vector whose data begins on a cache line, as vector loads want it.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace athanor {

inline constexpr size_t kCacheLineBytes = 64;

template <typename T>
struct AlignedAllocator {
  using value_type = T;
  AlignedAllocator() = default;
  template <typename U>
  AlignedAllocator(const AlignedAllocator<U>&) {}

  T* allocate(size_t n) {
    return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t(kCacheLineBytes)));
  }
  void deallocate(T* data, size_t) { ::operator delete(data, std::align_val_t(kCacheLineBytes)); }
  bool operator==(const AlignedAllocator&) const { return true; }
};

template <typename T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

}  // namespace athanor
