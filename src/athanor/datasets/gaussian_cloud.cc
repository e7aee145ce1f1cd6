#include "athanor/datasets/gaussian_cloud.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <string>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/parallel.h"
#include "athanor/datasets/gaussian_formats.h"

namespace athanor {
namespace {

std::string LowerCaseExtension(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension;
}

void CheckSize(size_t found, int64_t n, int64_t per_gaussian, std::string_view what,
               std::string_view where) {
  ATHANOR_CHECK(found == static_cast<size_t>(n * per_gaussian), where, ": expected ",
                n * per_gaussian, " values of ", what, " for ", n, " Gaussians, found ", found);
}

// Every value finite. Chunks throw on their own, so that the first bad Gaussian of a chunk is
// named.
void CheckFinite(const std::vector<float>& values, int64_t per_gaussian, std::string_view what,
                 std::string_view where) {
  ParallelFor(static_cast<int64_t>(values.size()), 1 << 18, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      ATHANOR_CHECK(std::isfinite(values[i]), where, ": Gaussian ", i / per_gaussian,
                    ": expected a finite ", what, ", found ", values[i]);
    }
  });
}

}  // namespace

void GaussianCloud::Resize(int64_t n) {
  means.resize(n * 3);
  quats.resize(n * 4);
  log_scales.resize(n * 3);
  opacity_logits.resize(n);
  sh.resize(n * 3 * sh_coefficients());
}

void GaussianCloud::Check(std::string_view where) const {
  ATHANOR_CHECK(sh_degree >= 0 && sh_degree <= 3, where,
                ": expected an SH degree of 0 to 3, found ", sh_degree);
  CheckSize(means.size(), size(), 3, "means", where);
  CheckSize(quats.size(), size(), 4, "quaternions", where);
  CheckSize(log_scales.size(), size(), 3, "log-scales", where);
  CheckSize(sh.size(), size(), 3 * sh_coefficients(), "SH coefficients", where);
  CheckFinite(means, 3, "mean", where);
  CheckFinite(quats, 4, "quaternion", where);
  CheckFinite(log_scales, 3, "log-scale", where);
  CheckFinite(sh, 3 * sh_coefficients(), "SH coefficient", where);
  for (int64_t i = 0; i < size(); ++i) {
    const float* q = &quats[i * 4];
    ATHANOR_CHECK(!std::isnan(opacity_logits[i]), where, ": Gaussian ", i,
                  ": expected an opacity, found nan");
    const float largest =
        std::max({std::abs(q[0]), std::abs(q[1]), std::abs(q[2]), std::abs(q[3])});
    ATHANOR_CHECK(largest > 0, where, ": Gaussian ", i,
                  ": expected a quaternion of positive length, found 0");
  }
}

GaussianCloud ReadGaussians(const std::filesystem::path& path) {
  const std::string bytes = ReadFile(path);
  const std::string_view view = bytes;
  const std::string name = path.string();
  if (view.substr(0, 3) == "ply") return internal::DecodeGaussianPly(view, name);
  if (view.substr(0, 2) == "\x1f\x8b" || view.substr(0, 4) == "NGSP") {
    return internal::DecodeSpz(view, name);
  }
  if (view.substr(0, 4) == "PK\x03\x04") return internal::DecodeGardenNpz(view, name);
  if (LowerCaseExtension(path) == ".splat") return internal::DecodeSplat(view, name);
  throw Error(StrCat(name,
                     ": byte 0: expected a scene of Gaussians (PLY, SPZ, test_garden.npz, or "
                     "a file named .splat), found ",
                     view.empty() ? "an empty file" : "none of their first bytes"));
}

GaussianFormat GaussianFormatFromPath(const std::filesystem::path& path) {
  const std::string extension = LowerCaseExtension(path);
  if (extension == ".ply") return GaussianFormat::kPly;
  if (extension == ".splat") return GaussianFormat::kSplat;
  if (extension == ".spz") return GaussianFormat::kSpz;
  throw Error(StrCat(path.string(), ": expected a name that ends in .ply, .splat or .spz"));
}

void WriteGaussians(const std::filesystem::path& path, const GaussianCloud& cloud,
                    GaussianFormat format) {
  cloud.Check(StrCat("scene to be written to ", path.string()));
  switch (format) {
    case GaussianFormat::kPly:
      WriteFile(path, internal::EncodeGaussianPly(cloud));
      return;
    case GaussianFormat::kSplat:
      WriteFile(path, internal::EncodeSplat(cloud));
      return;
    case GaussianFormat::kSpz:
      WriteFile(path, internal::EncodeSpz(cloud, path.string()));
      return;
  }
}

PosedImages ReadGardenViews(const std::filesystem::path& path) {
  return internal::DecodeGardenViews(ReadFile(path), path.string());
}

}  // namespace athanor
