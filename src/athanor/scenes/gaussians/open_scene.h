// Opens what a person points at: the folder of a run, or a bare file of Gaussians.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "athanor/datasets/gaussian_cloud.h"
#include "athanor/datasets/posed_images.h"
#include "athanor/datasets/view_cache.h"
#include "athanor/scenes/gaussians/camera_path.h"
#include "athanor/scenes/gaussians/renderer.h"
#include "athanor/scenes/gaussians/trainer.h"

namespace athanor {

// What a run with these options is trained and scored on: the capture at `input`, or the clip of
// the driving data set there, whose masks and depth maps are written to `run`/clip.
PosedImages ReadCapture(const std::filesystem::path& input, const ReconstructOptions& options,
                        const std::filesystem::path& run);

// The photographs, and the rendering, of a run with these options.
ViewOptions ViewOptionsOf(const ReconstructOptions& options);
RenderOptions RenderOptionsOf(const ReconstructOptions& options);

struct OpenedScene {
  GaussianCloud cloud;
  std::filesystem::path file;  // that the cloud was read from
  int64_t file_bytes = 0;
  int64_t times = 1;                   // of a scene that moves: the cloud is that of one of them
  ReconstructOptions options;          // of the run; the defaults for a bare file
  std::optional<PosedImages> capture;  // of the run, or of a file that brings cameras
};

// Reads the scene of a finished run, or the file: any that ReadGaussians reads, or the params.npz
// of a scene that moves, at a `time` from 0 on. The run's capture is read when `with_capture` is
// set. Throws Error (path, what is missing), for a run that has not finished too.
OpenedScene OpenScene(const std::filesystem::path& run_or_file, bool with_capture,
                      int64_t time = 0);

// What a scene is made of. Percentiles: the smallest, 10th, 50th, 90th and the largest.
struct SceneSummary {
  int64_t gaussians = 0;
  int sh_degree = 0;
  SceneBox box;       // of what is solid
  SceneBox full_box;  // of all centres
  double opacity[5] = {};
  double scale[5] = {};  // largest standard deviation of each Gaussian, scene units
};
// Throws Error for a scene of no Gaussians.
SceneSummary Summarize(const GaussianCloud& cloud);

}  // namespace athanor
