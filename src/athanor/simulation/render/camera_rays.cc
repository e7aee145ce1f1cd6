#include "athanor/simulation/render/camera_rays.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <list>
#include <mutex>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"

namespace athanor {
namespace {

using Eigen::Vector2f;

constexpr size_t kMaxKept = 16;
constexpr int64_t kMaxPixels = 1 << 26;

struct Kept {
  Camera camera;
  std::shared_ptr<const CameraRays> rays;
};

bool IsSame(const Camera& a, const Camera& b) {
  return a.model == b.model && a.width_px == b.width_px && a.height_px == b.height_px &&
         a.parameters == b.parameters;
}

std::shared_ptr<const CameraRays> MakeRays(const Camera& camera) {
  camera.Check("simulated camera");
  ATHANOR_CHECK(int64_t{camera.width_px} * camera.height_px <= kMaxPixels,
                "simulated camera: expected at most ", kMaxPixels, " pixels, found ",
                camera.width_px, " x ", camera.height_px);
  auto rays = std::make_shared<CameraRays>();
  rays->width = camera.width_px;
  rays->height = camera.height_px;
  rays->directions.resize(static_cast<size_t>(camera.width_px) * camera.height_px);
  rays->pixel_angle_rad = static_cast<float>(1 / std::sqrt(camera.fx() * camera.fy()));
  ParallelFor(camera.height_px, 8, [&](int64_t begin, int64_t end) {
    for (int64_t y = begin; y < end; ++y) {
      for (int x = 0; x < camera.width_px; ++x) {
        const auto direction = camera.Unproject({x + 0.5, static_cast<double>(y) + 0.5});
        rays->directions[static_cast<size_t>(y) * camera.width_px + x] =
            direction ? Vector2f(direction->head<2>().cast<float>())
                      : Vector2f::Constant(std::numeric_limits<float>::quiet_NaN());
      }
    }
  });
  return rays;
}

}  // namespace

Vector2f CameraRays::Beside(int x, int y, float dx, float dy) const {
  const auto slope = [&](const Vector2f& before, const Vector2f& after, float span) {
    const Vector2f change = (after - before) / span;
    return change.allFinite() ? change : Vector2f(0, 0);
  };
  const int left = std::max(x - 1, 0), right = std::min(x + 1, width - 1);
  const int top = std::max(y - 1, 0), bottom = std::min(y + 1, height - 1);
  Vector2f direction = at(x, y);
  if (right > left) {
    direction += dx * slope(at(left, y), at(right, y), static_cast<float>(right - left));
  }
  if (bottom > top) {
    direction += dy * slope(at(x, top), at(x, bottom), static_cast<float>(bottom - top));
  }
  return direction;
}

std::shared_ptr<const CameraRays> RaysOf(const Camera& camera) {
  static std::mutex mutex;
  static std::list<Kept> kept;  // used last first
  {
    const std::lock_guard lock(mutex);
    for (auto it = kept.begin(); it != kept.end(); ++it) {
      if (!IsSame(it->camera, camera)) continue;
      kept.splice(kept.begin(), kept, it);
      return it->rays;
    }
  }
  std::shared_ptr<const CameraRays> rays = MakeRays(camera);
  const std::lock_guard lock(mutex);
  kept.push_front({camera, rays});
  if (kept.size() > kMaxKept) kept.pop_back();
  return rays;
}

}  // namespace athanor
