// Looks for faults in driving logs: broken tables, missing and damaged files, boxes that do not sit
// on their points.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "athanor/datasets/log.h"

namespace athanor {

struct LogCheckResult {
  int64_t logs = 0, frames = 0, files = 0, boxes = 0;
  // Over the boxes that say how many LiDAR points they hold, in sweeps that are on disk: points
  // that lie in them, and how many they say.
  int64_t points_counted = 0, points_annotated = 0;
  int64_t faults = 0;
};

// Reads everything below `path`: tables, logs, the head of every picture, every point of every
// sweep. Calls `fault` with one line for each thing that is wrong (from one thread); `progress`,
// when given, after each log with how many are done of how many. A frame whose boxes hold a number
// of points more than a tenth (and more than 20) off what they say is at fault: readers disagree on
// points at the faces of boxes, and boxes in the wrong place hold next to nothing. Throws Error
// when it is no data set at all.
LogCheckResult CheckLogs(const std::filesystem::path& path,
                         const std::function<void(const std::string&)>& fault,
                         const std::function<void(int64_t done, int64_t total)>& progress = {});

// How many points of the main LiDAR's sweep in the frame lie in each of its boxes.
std::vector<int64_t> CountPointsInBoxes(const Log& log, int frame);

}  // namespace athanor
