// A nuScenes data set with its files corrupted, as a folder that any reader of nuScenes opens.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "athanor/detection/corruption/log_corruption.h"

namespace athanor {

struct CorruptDatasetOptions {
  ImageFog image_fog = ImageFog::kByDepth;
  int jpeg_quality = 95;  // as MultiCorrupt's
};

struct CorruptDatasetResult {
  int64_t changed = 0;  // written, or another reading's file
  int64_t present = 0;  // of those, there already from an interrupted run
  int64_t linked = 0;   // the others: hard links, or copies where the file system has none
};

// Writes `to`: changed files new, all others hard links to those of `from` (never write into either
// in place), the tables as they are, scene.json last: what is not finished is not taken for a data
// set. Only kExtrinsics changes a table, calibrated_sensor.json. Files missing from `from` stay
// missing. Work that was interrupted goes on; `to`/corruption.json says what it was, and another
// corruption is refused. The same input gives the same bytes, whatever the number of threads.
// `progress` is called with files done and files to change. Throws Error when `from` is no nuScenes
// data set, or one folder lies in the other.
CorruptDatasetResult CorruptDataset(
    const std::filesystem::path& from, const std::filesystem::path& to,
    const Corruption& corruption, const CorruptDatasetOptions& options = {},
    const std::function<void(int64_t done, int64_t total)>& progress = {});

// Before and after, side by side: the frame with most changed files, from above and by its cameras.
Image DrawBeforeAfter(const std::filesystem::path& from, const std::filesystem::path& to,
                      const Corruption& corruption);

}  // namespace athanor
