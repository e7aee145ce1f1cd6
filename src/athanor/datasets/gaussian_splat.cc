// .splat of antimatter15/splat: 32 bytes per Gaussian and nothing else.
//   0  3 float   position
//   12 3 float   scale (standard deviation)
//   24 4 uint8   R, G, B, opacity; 255 = 1
//   28 4 uint8   quaternion w, x, y, z; 128 + 128 q
#include <algorithm>
#include <limits>
#include <numeric>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/parallel.h"
#include "athanor/datasets/gaussian_formats.h"

namespace athanor::internal {
namespace {

constexpr size_t kRecordBytes = 32;

}  // namespace

GaussianCloud DecodeSplat(std::string_view bytes, std::string_view name) {
  ATHANOR_CHECK(bytes.size() % kRecordBytes == 0, name, ": byte ",
                bytes.size() / kRecordBytes * kRecordBytes,
                ": expected a .splat of 32 bytes per Gaussian, found ", bytes.size(),
                " bytes: the last record is cut off");
  GaussianCloud cloud;
  cloud.Resize(static_cast<int64_t>(bytes.size() / kRecordBytes));
  ParallelFor(cloud.size(), kGaussianGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const char* record = bytes.data() + i * kRecordBytes;
      float scale[3];
      uint8_t packed[8];
      std::memcpy(&cloud.means[i * 3], record, 12);
      std::memcpy(scale, record + 12, 12);
      std::memcpy(packed, record + 24, 8);
      for (int j = 0; j < 3; ++j) {
        ATHANOR_CHECK(scale[j] >= 0, name, ": byte ", i * kRecordBytes + 12 + j * 4, ": Gaussian ",
                      i, ": expected a scale of at least 0, found ", scale[j]);
        // A scale that underflowed to 0 when it was written.
        cloud.log_scales[i * 3 + j] =
            std::log(std::max(scale[j], std::numeric_limits<float>::min()));
        cloud.sh[i * 3 + j] = (static_cast<float>(packed[j]) / 255.0f - 0.5f) / kShDc;
      }
      cloud.opacity_logits[i] = LogitOfStored(static_cast<float>(packed[3]) / 255.0f);
      for (int j = 0; j < 4; ++j) {
        cloud.quats[i * 4 + j] = (static_cast<float>(packed[4 + j]) - 128.0f) / 128.0f;
      }
    }
  });
  cloud.Check(name);
  return cloud;
}

std::string EncodeSplat(const GaussianCloud& cloud) {
  const int64_t n = cloud.size();
  // Logarithm of volume times opacity; in double, where no sum of finite floats overflows.
  std::vector<double> importance(n);
  for (int64_t i = 0; i < n; ++i) {
    const float* s = &cloud.log_scales[i * 3];
    importance[i] =
        double{s[0]} + s[1] + s[2] - std::log1p(std::exp(-double{cloud.opacity_logits[i]}));
  }
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return importance[a] > importance[b]; });

  std::string bytes(n * kRecordBytes, '\0');
  ParallelFor(n, kGaussianGrain, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const int64_t i = order[k];
      float scale[3];
      uint8_t packed[8];
      for (int j = 0; j < 3; ++j) {
        scale[j] =
            std::min(std::exp(cloud.log_scales[i * 3 + j]), std::numeric_limits<float>::max());
        packed[j] =
            ToByte(255.0f * (0.5f + kShDc * cloud.sh[(i * 3 + j) * cloud.sh_coefficients()]));
      }
      packed[3] = ToByte(255.0f * Sigmoid(cloud.opacity_logits[i]));
      const float* q = &cloud.quats[i * 4];
      const double length =
          std::hypot(std::hypot(double{q[0]}, q[1]), std::hypot(double{q[2]}, q[3]));
      for (int j = 0; j < 4; ++j) {
        packed[4 + j] = ToByte(128.0f + 128.0f * static_cast<float>(q[j] / length));
      }
      char* record = bytes.data() + k * kRecordBytes;
      std::memcpy(record, &cloud.means[i * 3], 12);
      std::memcpy(record + 12, scale, 12);
      std::memcpy(record + 24, packed, 8);
    }
  });
  return bytes;
}

}  // namespace athanor::internal
