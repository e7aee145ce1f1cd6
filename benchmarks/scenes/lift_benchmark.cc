// Lifting and asking at the sizes of a capture with a phone: seconds for all views of a run with
// features that are at hand, milliseconds for a query.
//
//   lift_benchmark RUN [VIEWS]     (with VIEWS: lifting only, of so many)
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/scenes/gaussians/open_scene.h"
#include "athanor/scenes/semantics/lifting/lift_features.h"

namespace athanor {
namespace {

constexpr int kDimension = 512;

double Milliseconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

// Every view says the same: what is lifted does not matter here.
void MeasureLifting(const char* run, int most_views) {
  const OpenedScene scene = OpenScene(run, true);
  const auto model = GaussianModel::FromCloud(scene.cloud, false, at::kCPU);
  ViewCache photographs(*scene.capture, ViewOptionsOf(scene.options));
  std::vector<PinholeView> views;
  for (int i = 0; i < std::min(photographs.size(), most_views); ++i) {
    views.push_back(MakeView(photographs.camera(i), scene.capture->images[i].camera_from_world));
  }
  const int width = views[0].width_px, height = views[0].height_px;
  std::printf("%zu views of %d x %d, %lld Gaussians, vectors of %d\n", views.size(), width, height,
              static_cast<long long>(scene.cloud.size()), kDimension);
  const auto measure = [&](const char* name, const ViewFeatures& features,
                           const LiftOptions& options) {
    LiftSummary summary;
    LiftFeatures(
        model, views, RenderOptionsOf(scene.options).project, [&](int) { return features; },
        options, &summary);
    std::printf("%-28s %7.2f s  (%lld seen)\n", name, summary.lift_seconds,
                static_cast<long long>(summary.seen));
  };
  LiftOptions options;
  ViewFeatures features;
  features.width_px = width, features.height_px = height;
  for (const int cell_px : {1, 4, 14}) {
    features.features =
        at::randn({height / cell_px, width / cell_px, kDimension}, at::kFloat).to(at::kHalf);
    const std::string name = StrCat("weights, cells of ", cell_px, " px");
    measure(name.c_str(), features, options);
    if (cell_px > 1) continue;
    options.precision = "float32";
    measure("the same in float32", features, options);
    options.precision = "bfloat16";
  }
  for (const char* mode : {"max", "paper"}) {
    options.mode = mode;
    measure(mode, features, options);
  }
  options.mode = "weights";
  // 10 x 10 masks.
  features.features = at::randn({100, kDimension}).to(at::kHalf);
  const at::Tensor rows = (at::arange(height, at::kFloat) * 10 / height).floor();
  const at::Tensor columns = (at::arange(width, at::kFloat) * 10 / width).floor();
  features.mask_ids = (rows.view({height, 1}) * 10 + columns.view({1, width}))
                          .to(at::kInt)
                          .view({1, height, width})
                          .contiguous();
  measure("weights, 100 masks", features, options);
  options.outliers = "never";
  measure("the same, outliers kept", features, options);
}

void MeasureQueries() {
  constexpr int64_t kGaussians = 1'000'000;
  at::Tensor rows = at::empty({kGaussians, kDimension}, at::kHalf);
  // Around 200 directions, as the objects of a room have them.
  const at::Tensor centers = at::randn({200, kDimension});
  for (int64_t first = 0; first < kGaussians; first += 50000) {
    rows.narrow(0, first, 50000)
        .copy_(centers.index_select(0, at::randint(200, {50000}, at::kLong)) +
               0.5 * at::randn({50000, kDimension}));
  }
  const FeatureTable full = FeatureTable::FromRows(rows);
  rows.reset();
  std::printf("\n%lld Gaussians x %d, median of 7\n", static_cast<long long>(kGaussians),
              kDimension);
  for (const FeatureStore store : {FeatureStore::kHalf, FeatureStore::kProduct,
                                   FeatureStore::kCodebook, FeatureStore::kCluster}) {
    FeatureTable table;
    const double compress = Milliseconds([&] { table = full.Compress(store); });
    std::printf("%-10s %6.0f bytes each", std::string(FeatureStoreName(store)).c_str(),
                table.bytes_per_row());
    for (const int prompts : {1, 5}) {
      const at::Tensor text = at::randn({prompts, kDimension});
      std::vector<double> times;
      for (int repeat = 0; repeat < 7; ++repeat) {
        times.push_back(Milliseconds([&] { table.Score(text); }));
      }
      std::printf("  %d prompts %7.2f ms", prompts, Median(times));
    }
    const at::Tensor some = at::randint(kGaussians, {2000}, at::kLong);
    const double cosine =
        at::cosine_similarity(table.Decode(some), full.Decode(some), 1).mean().item<float>();
    std::printf("  cosine %.4f  compressed in %.1f s\n", cosine, compress / 1000);
  }
}

}  // namespace
}  // namespace athanor

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    std::fprintf(stderr, "usage: lift_benchmark RUN [VIEWS]\n");
    return 2;
  }
  at::set_num_threads(athanor::NumThreads());
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  athanor::MeasureLifting(argv[1], argc > 2 ? std::atoi(argv[2]) : 1 << 30);
  if (argc == 2) athanor::MeasureQueries();
}
