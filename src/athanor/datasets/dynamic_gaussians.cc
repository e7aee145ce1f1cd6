#include "athanor/datasets/dynamic_gaussians.h"

#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/datasets/gaussian_formats.h"
#include "athanor/datasets/numpy_files.h"

namespace athanor {
namespace {

std::vector<float> ReadFloats(const NpzArchive& archive, std::string_view key,
                              const std::vector<uint64_t>& shape, std::string_view name,
                              std::vector<uint64_t>* found = nullptr) {
  const NpyArray array = archive.Read(key, "<f4", shape);
  uint64_t count = 1;
  for (const uint64_t size : array.shape) count *= size;
  std::vector<float> values(count);
  std::copy_n(array.bytes.data() + array.start, count * sizeof(float),
              reinterpret_cast<char*>(values.data()));
  for (size_t i = 0; i < values.size(); ++i) {
    ATHANOR_CHECK(std::isfinite(values[i]), name, ": ", key, ".npy: value ", i,
                  ": expected a finite number, found ", values[i]);
  }
  if (found != nullptr) *found = array.shape;
  return values;
}

}  // namespace

GaussianCloud DynamicGaussians::At(int64_t frame) const {
  ATHANOR_CHECK(frame >= 0 && frame < frames, "frame ", frame, " of a scene of ", frames);
  const int64_t n = size();
  GaussianCloud cloud;
  cloud.Resize(n);
  std::copy_n(&means[3 * n * frame], 3 * n, cloud.means.begin());
  std::copy_n(&quats[4 * n * frame], 4 * n, cloud.quats.begin());
  cloud.log_scales = log_scales;
  cloud.opacity_logits = opacity_logits;
  for (int64_t i = 0; i < 3 * n; ++i) {
    cloud.sh[i] = (colors[3 * n * frame + i] - 0.5f) / internal::kShDc;
  }
  return cloud;
}

bool IsDynamicGaussians(const std::filesystem::path& path) {
  if (path.extension() != ".npz") return false;
  const std::string bytes = ReadFile(path);
  return NpzArchive(bytes, path.string()).Has("means3D");
}

DynamicGaussians ReadDynamicGaussians(const std::filesystem::path& path) {
  const std::string bytes = ReadFile(path), name = path.string();
  const NpzArchive archive(bytes, name);
  DynamicGaussians scene;
  std::vector<uint64_t> shape;
  scene.means = ReadFloats(archive, "means3D", {0, 0, 3}, name, &shape);
  const uint64_t t = shape[0], n = shape[1];
  ATHANOR_CHECK(t > 0 && n > 0, name, ": means3D.npy: expected times and Gaussians, found ", t,
                " and ", n);
  scene.frames = static_cast<int64_t>(t);
  scene.quats = ReadFloats(archive, "unnorm_rotations", {t, n, 4}, name);
  scene.colors = ReadFloats(archive, "rgb_colors", {t, n, 3}, name);
  scene.log_scales = ReadFloats(archive, "log_scales", {n, 3}, name);
  scene.opacity_logits = ReadFloats(archive, "logit_opacities", {n, 1}, name);
  scene.is_foreground.assign(n, 1);
  if (archive.Has("seg_colors")) {
    const std::vector<float> segments = ReadFloats(archive, "seg_colors", {n, 3}, name);
    for (uint64_t i = 0; i < n; ++i) scene.is_foreground[i] = segments[3 * i] > 0.5f;
  }
  for (uint64_t i = 0; i < t * n; ++i) {
    const float* q = &scene.quats[4 * i];
    ATHANOR_CHECK(q[0] != 0 || q[1] != 0 || q[2] != 0 || q[3] != 0, name,
                  ": unnorm_rotations.npy: time ", i / n, ", Gaussian ", i % n,
                  ": a rotation of length 0");
  }
  return scene;
}

void WriteDynamicGaussians(const std::filesystem::path& path, const DynamicGaussians& scene) {
  const auto t = static_cast<uint64_t>(scene.frames), n = static_cast<uint64_t>(scene.size());
  std::vector<float> segments(3 * n, 0.0f);
  for (uint64_t i = 0; i < n; ++i) segments[3 * i + (scene.is_foreground[i] ? 0 : 2)] = 1;
  NpzBuilder archive;
  archive.Add("means3D", "<f4", {t, n, 3}, scene.means.data());
  archive.Add("rgb_colors", "<f4", {t, n, 3}, scene.colors.data());
  archive.Add("unnorm_rotations", "<f4", {t, n, 4}, scene.quats.data());
  archive.Add("logit_opacities", "<f4", {n, 1}, scene.opacity_logits.data());
  archive.Add("log_scales", "<f4", {n, 3}, scene.log_scales.data());
  archive.Add("seg_colors", "<f4", {n, 3}, segments.data());
  WriteFile(path, archive.Finish());
}

}  // namespace athanor
