#include "athanor/scenes/gaussians/open_scene.h"

#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/datasets/dynamic_gaussians.h"
#include "athanor/datasets/log_scene.h"
#include "athanor/scenes/gaussians/reconstruct_run.h"

namespace athanor {
namespace {

constexpr double kPercentiles[5] = {0, 0.1, 0.5, 0.9, 1};

void FillPercentiles(std::vector<double>* values, double out[5]) {
  std::sort(values->begin(), values->end());
  for (int i = 0; i < 5; ++i) {
    out[i] = (*values)[std::lround(kPercentiles[i] * static_cast<double>(values->size() - 1))];
  }
}

// test_garden.npz holds cameras beside its points; other .npz files are refused by its reader.
bool BringsCameras(const std::filesystem::path& file) { return file.extension() == ".npz"; }

}  // namespace

PosedImages ReadCapture(const std::filesystem::path& input, const ReconstructOptions& options,
                        const std::filesystem::path& run) {
  return options.clip.empty() ? ReadPosedImages(input)
                              : ReadClip(input, options.clip, run / "clip");
}

ViewOptions ViewOptionsOf(const ReconstructOptions& options) {
  ViewOptions view;
  view.max_side_px = options.max_side_px;
  view.cache_bytes = options.cache_mb << 20;
  const uint8_t level = options.background == "white" ? 255 : 0;
  view.background = {level, level, level};
  return view;
}

RenderOptions RenderOptionsOf(const ReconstructOptions& options) {
  RenderOptions render;
  render.project.antialias = options.antialias;
  std::fill_n(render.background, 3, options.background == "white" ? 1.0f : 0.0f);
  return render;
}

OpenedScene OpenScene(const std::filesystem::path& run_or_file, bool with_capture, int64_t time) {
  OpenedScene scene;
  std::error_code error;
  if (std::filesystem::is_directory(run_or_file, error)) {
    const RunInfo run = ReadRun(run_or_file);
    ATHANOR_CHECK(std::filesystem::exists(run.scene, error), run_or_file.string(),
                  ": the run has not finished: it has a checkpoint of step ", run.step, " of ",
                  run.options.iterations, " and no scene.ply; go on with --resume");
    scene.file = run.scene;
    scene.options = run.options;
    if (with_capture) scene.capture = ReadCapture(run.input, run.options, run_or_file);
  } else {
    scene.file = run_or_file;
    if (IsDynamicGaussians(run_or_file)) {
      const DynamicGaussians moving = ReadDynamicGaussians(run_or_file);
      ATHANOR_CHECK(time >= 0 && time < moving.frames, run_or_file.string(),
                    ": expected a time from 0 to ", moving.frames - 1, ", found ", time);
      scene.times = moving.frames;
      scene.cloud = moving.At(time);
    } else if (with_capture && BringsCameras(run_or_file)) {
      scene.capture = ReadGardenViews(run_or_file);
    }
  }
  if (scene.cloud.size() == 0) {
    ATHANOR_CHECK(time == 0, run_or_file.string(), ": nothing moves in it: expected time 0, found ",
                  time);
    scene.cloud = ReadGaussians(scene.file);
  }
  scene.file_bytes = static_cast<int64_t>(std::filesystem::file_size(scene.file, error));
  return scene;
}

SceneSummary Summarize(const GaussianCloud& cloud) {
  SceneSummary summary;
  summary.gaussians = cloud.size();
  summary.sh_degree = cloud.sh_degree;
  summary.box = FindSceneBox(cloud);
  for (int axis = 0; axis < 3; ++axis) {
    summary.full_box.low[axis] = summary.full_box.high[axis] = cloud.means[axis];
  }
  std::vector<double> opacities, scales;
  for (int64_t i = 0; i < cloud.size(); ++i) {
    for (int axis = 0; axis < 3; ++axis) {
      const double x = cloud.means[3 * i + axis];
      summary.full_box.low[axis] = std::min(summary.full_box.low[axis], x);
      summary.full_box.high[axis] = std::max(summary.full_box.high[axis], x);
    }
    opacities.push_back(1 / (1 + std::exp(-double{cloud.opacity_logits[i]})));
    const float* s = cloud.log_scales.data() + 3 * i;
    scales.push_back(std::exp(double{std::max({s[0], s[1], s[2]})}));
  }
  FillPercentiles(&opacities, summary.opacity);
  FillPercentiles(&scales, summary.scale);
  return summary;
}

}  // namespace athanor
