// What commands say about runs and scores.
#pragma once

#include <c10/core/Device.h>

#include <filesystem>
#include <string>

#include "athanor/scenes/gaussians/evaluate.h"
#include "athanor/scenes/gaussians/open_scene.h"

namespace athanor {

// Scores the scene on the photographs that its options hold out of its capture, which must be
// there. Writes contact sheets to `sheet_folder`, unless it is empty. Throws Error when none are
// held out.
SceneScore EvaluateHeldOut(const OpenedScene& scene, const c10::Device& device,
                           const std::filesystem::path& sheet_folder);

// One line per image, and the means.
std::string ScoreTable(const SceneScore& score);
// The same as JSON, with the scene's file and size.
std::string ScoreJson(const SceneScore& score, const OpenedScene& scene);
// "PSNR 28.31 dB, SSIM 0.912, depth error 0.021"
std::string ScoreLine(const SceneScore& score);

// Scores a run that has just finished, if it holds out images, writes RUN/eval.json, and prints
// where the scene is, how long it took, how good it is, and what to do next.
void PrintRun(const std::filesystem::path& run, const ReconstructResult& result);

}  // namespace athanor
