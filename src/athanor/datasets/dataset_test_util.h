// What the tests of this folder share.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <type_traits>

#include "athanor/base/error.h"
#include "athanor/base/test_util.h"
#include "athanor/media/image.h"

namespace athanor {

// The capture "fox" of instant-ngp with COLMAP's model; empty where it is not at hand.
inline std::filesystem::path FoxFolder() {
  return SharedData("fox/sparse/0").empty() ? std::filesystem::path() : SharedData("fox");
}
#define ATHANOR_SKIP_WITHOUT_FOX() \
  if (FoxFolder().empty()) GTEST_SKIP() << "needs the fox capture in ../shared/data/fox"

// The bytes of a value, as little-endian files hold it.
template <typename T>
std::string Bytes(const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

// A smooth picture that differs from place to place.
inline Image WavyImage(int width, int height, double period_px = 20) {
  Image image(width, height, 3);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c) {
        const double phase = 2 * M_PI / period_px * (x * (1 + 0.3 * c) + y * (0.7 - 0.2 * c));
        image.at(x, y)[c] = static_cast<uint8_t>(std::lround(128 + 100 * std::sin(phase)));
      }
    }
  }
  return image;
}

}  // namespace athanor
