// What can go wrong with the sensors of a car: the kinds of corruption, their three severities, and
// the random numbers that they draw.
//
// The first ten are those of MultiCorrupt with its parameters:
//   T. Beemelmanns et al., "MultiCorrupt: A Multi-Modal Robustness Dataset and Benchmark of
//   LiDAR-Camera Fusion for 3D Object Detection", IV 2024, arXiv 2402.11677
//   https://github.com/ika-rwth-aachen/MultiCorrupt (6cd6225)
// Random numbers are ours, so that files differ from theirs while their statistics do not.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace athanor {

enum class CorruptionKind {
  kBeamsReducing,
  kPointsReducing,
  kSpatialMisalignment,
  kTemporalMisalignment,
  kMotionBlur,
  kMissingCamera,
  kBrightness,
  kDark,
  kFog,
  kSnow,
  // Ours.
  kNoLidar,
  kNoCameras,
  kLostCamera,
  kBeamLoss,
  kFieldLoss,
  kExtrinsics,
  kStaleLidar,
  kStaleCameras,
};

inline constexpr int kNumCorruptions = 18;
inline constexpr int kNumMultiCorrupt = 10;  // the first ones
inline constexpr int kNumSeverities = 3;

// "fog", as MultiCorrupt names its folders.
std::string_view CorruptionName(CorruptionKind kind);
// What it does, in one line, with the parameters of the three severities.
std::string_view CorruptionHelp(CorruptionKind kind);
// Throws Error that lists the names.
CorruptionKind CorruptionFromName(std::string_view name);
// How many severities make a difference: 1 for the loss of a whole sensor, else 3.
int NumSeverities(CorruptionKind kind);

struct Corruption {
  CorruptionKind kind = CorruptionKind::kFog;
  int severity = 1;      // 1 to 3
  uint64_t seed = 1000;  // MultiCorrupt's

  // Throws Error unless the severity is 1, 2 or 3.
  void Check() const;
  // The value of this severity.
  template <typename T>
  T Of(const std::array<T, kNumSeverities>& values) const {
    return values[severity - 1];
  }
};

// What the random numbers of one reading begin from: the same for the same arguments, whatever was
// drawn before and on whichever thread. The severity is no part of it: points that are lost at
// severity 1 are lost at 2 and 3 too. `time_us` is the reading's; 0 for what holds through a log.
uint64_t CorruptionKey(const Corruption& corruption, std::string_view log, std::string_view channel,
                       int64_t time_us);

}  // namespace athanor
