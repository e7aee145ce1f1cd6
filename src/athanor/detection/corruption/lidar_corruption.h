// Corruptions of one LiDAR sweep.
#pragma once

#include <cstdint>

#include "athanor/datasets/log.h"
#include "athanor/detection/corruption/corruption.h"

namespace athanor {

struct SweepContext {
  uint64_t key = 0;        // CorruptionKey of the reading
  uint64_t log_key = 0;    // CorruptionKey of the log and sensor, time 0: what is dead stays dead
  Rigid3 ego_from_sensor;  // which way is ahead
};

// The sweep as the corrupted sensor would give it; a copy for kinds that leave sweeps alone or that
// are about when and where a sensor is (kTemporalMisalignment, kExtrinsics, kStaleLidar,
// kStaleCameras: log_corruption.h has those). kSpatialMisalignment is decided by its probability
// here. Works on an empty sweep. Throws Error for a wrong severity, arrays of different lengths, or
// when a kind needs rings and the sweep has none. Thread-safe.
LidarSweep CorruptSweep(const LidarSweep& sweep, const Corruption& corruption,
                        const SweepContext& context);

// Whether MultiCorrupt's draw of this reading falls below the probability of the severity:
// 0.2, 0.4, 0.6 (kSpatialMisalignment, kTemporalMisalignment, kMissingCamera).
bool IsDrawn(const Corruption& corruption, uint64_t key);

// kSpatialMisalignment's transform of the points: 1, 2 or 3 degrees about x, y and z, then 2 m in
// x.
Rigid3 SpatialMisalignment(const Corruption& corruption);

}  // namespace athanor
