// One key frame of nuScenes exported by itself: sample.json beside six pictures and the points of
// the LiDAR. Boxes are in the frame of the LiDAR there, poses are 4x4 matrices.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "athanor/datasets/log.h"

namespace athanor {

// True when `path` is such a sample.json or the folder of one.
bool IsNuscenesKeyframe(const std::filesystem::path& path);

// A data set of one log of one frame. All readings have the pose of the LiDAR's, because the file
// has no other: cameras are calibrated against the LiDAR at the moment of the frame. Throws Error
// (file, field).
std::unique_ptr<LogDataset> OpenNuscenesKeyframe(const std::filesystem::path& path);

// From the text of a sample.json; `folder` is where its files lie.
Log ParseNuscenesKeyframe(std::string_view text, const std::string& name,
                          const std::filesystem::path& folder);

}  // namespace athanor
