// Corruptions of a driving log: what each reading becomes, and readings corrupted as they are read.
#pragma once

#include <vector>

#include "athanor/datasets/log.h"
#include "athanor/detection/corruption/corruption.h"
#include "athanor/media/image.h"

namespace athanor {

struct ReadingPlan {
  // Which reading's data is shown: its own index, or an earlier one's of the same sensor
  // (kTemporalMisalignment, kStaleLidar, kStaleCameras).
  int source = 0;
  bool is_changed = false;  // by CorruptSweep or CorruptImage
};

// One entry per reading of the log. Radar is left as it is.
//
// kTemporalMisalignment: a sensor that is drawn at a frame shows what it saw at the frame before,
// the readings in between too (each the one nearest to as long before); a LiDAR from the third
// frame on, a camera from the second. Throws Error for a wrong severity.
std::vector<ReadingPlan> PlanCorruption(const Log& log, const Corruption& corruption);

// Turns and moves a camera's mount by as much as kExtrinsics says, in a direction that depends on
// seed and channel alone: the error of one car, in all its logs.
Rigid3 MisalignedMount(const Corruption& corruption, const std::string& channel,
                       const Rigid3& ego_from_camera);

// The log as far as it is not about what is in the files: readings have the path of the reading
// that is shown (none when their sensor is lost), cameras their wrong mounts.
Log CorruptLog(const Log& log, const Corruption& corruption);

// Fog on pictures by depth guessed from the sweep nearest in time, or as MultiCorrupt draws it.
enum class ImageFog { kByDepth, kAsPublished };

// A reading of the clean log, corrupted. `plan` is that of its PlanCorruption. Throws Error for
// files that are damaged or missing.
LidarSweep ReadCorruptedSweep(const Log& log, int reading, const Corruption& corruption,
                              const ReadingPlan& plan);
Image ReadCorruptedImage(const Log& log, int reading, const Corruption& corruption,
                         const ReadingPlan& plan, ImageFog fog = ImageFog::kByDepth);

}  // namespace athanor
