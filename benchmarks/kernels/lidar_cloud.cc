#include "benchmarks/kernels/lidar_cloud.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "athanor/base/files.h"
#include "athanor/base/random.h"

namespace athanor {
namespace {

constexpr double kVoxelSize = 0.1;

// [N,3]
std::vector<float> ReadCloud() {
  const std::filesystem::path path = "../shared/data/voxel_benchmark/benchmark-pc.npz";
  std::vector<float> points;
  if (std::filesystem::exists(path)) {
    // One array, stored: the floats follow its header, the zip archive's directory follows them.
    const std::string bytes = ReadFile(path);
    constexpr size_t kFloats = 3 * 198130;
    const size_t begin = bytes.find('\n', bytes.find("\x93NUMPY")) + 1;
    points.resize(kFloats);
    std::memcpy(points.data(), bytes.data() + begin, kFloats * sizeof(float));
    return points;
  }
  Random random(1);
  for (int i = 0; i < 200'000; ++i) {
    const float wall = random.Uniform();
    points.push_back(random.Uniform(-50, 50));
    points.push_back(wall < 0.3f ? 10.0f : random.Uniform(-50, 50));
    points.push_back(wall < 0.3f ? random.Uniform(0, 5) : random.Uniform(-1, -0.8f));
  }
  return points;
}

}  // namespace

const std::vector<float>& LidarCloud(bool stacked) {
  static const std::vector<float> one = ReadCloud();
  static const std::vector<float> eight = [] {
    float low = one[1], high = one[1];
    for (size_t i = 1; i < one.size(); i += 3) {
      low = std::min(low, one[i]), high = std::max(high, one[i]);
    }
    std::vector<float> points;
    for (int copy = 0; copy < 8; ++copy) {
      for (size_t i = 0; i < one.size(); ++i) {
        const auto offset = static_cast<float>(copy) * (high - low + 1);
        points.push_back(one[i] + (i % 3 == 1 ? offset : 0));
      }
    }
    return points;
  }();
  return stacked ? eight : one;
}

VoxelSet LidarVoxels(bool stacked) {
  const auto& cloud = LidarCloud(stacked);
  std::vector<int32_t> rank;
  return Voxelize(cloud.data(), nullptr, static_cast<int64_t>(cloud.size()) / 3, kVoxelSize, &rank);
}

}  // namespace athanor
