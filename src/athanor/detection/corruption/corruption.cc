#include "athanor/detection/corruption/corruption.h"

#include "athanor/base/error.h"
#include "athanor/base/hash.h"
#include "athanor/base/random.h"

namespace athanor {
namespace {

struct KindText {
  std::string_view name, help;
};

constexpr KindText kKinds[kNumCorruptions] = {
    {"beamsreducing", "16, 8 or 4 of 32 LiDAR beams are left"},
    {"pointsreducing", "70, 80 or 90 % of the LiDAR points are lost at random"},
    {"spatialmisalignment",
     "each sweep is turned by 1, 2 or 3 degrees and moved 2 m, with probability 0.2, 0.4 or 0.6"},
    {"temporalmisalignment",
     "each sensor shows the frame before, with probability 0.2, 0.4 or 0.6"},
    {"motionblur", "points jitter by 6, 10 or 13 cm, pictures blur along a line"},
    {"missingcamera", "each picture is black with probability 0.2, 0.4 or 0.6"},
    {"brightness", "pictures overexposed by 0.5, 0.6 or 0.7 of the range"},
    {"dark", "pictures as at night: 0.6, 0.4 or 0.3 of the light, with the noise of the sensor"},
    {"fog", "fog of 150, 100 or 50 m visibility in LiDAR and pictures"},
    {"snow", "snowfall of 0.5, 2.5 or 1.5 mm/h, at 1.2, 1.6 or 0.4 m/s, on wet ground"},
    {"nolidar", "the LiDAR is lost"},
    {"nocameras", "all cameras are lost"},
    {"lostcamera", "1, 2 or 3 cameras are lost through the whole log"},
    {"beamloss", "an eighth, a quarter or half of the beams are dead through the whole log"},
    {"fieldloss", "the LiDAR sees only 90, 60 or 45 degrees to each side of straight ahead"},
    {"extrinsics", "cameras stand 1, 3 or 5 degrees and 5, 7.5 or 10 mm from their calibration"},
    {"stalelidar", "sweeps come 0.1, 0.2 or 0.5 s late"},
    {"stalecameras", "pictures come 0.1, 0.2 or 0.5 s late"},
};

}  // namespace

std::string_view CorruptionName(CorruptionKind kind) { return kKinds[static_cast<int>(kind)].name; }

std::string_view CorruptionHelp(CorruptionKind kind) { return kKinds[static_cast<int>(kind)].help; }

CorruptionKind CorruptionFromName(std::string_view name) {
  std::string names;
  for (int i = 0; i < kNumCorruptions; ++i) {
    if (kKinds[i].name == name) return static_cast<CorruptionKind>(i);
    if (i > 0) names += ", ";
    names += kKinds[i].name;
  }
  throw Error(StrCat("corruption: expected one of ", names, "; found '", name, "'"));
}

int NumSeverities(CorruptionKind kind) {
  return kind == CorruptionKind::kNoLidar || kind == CorruptionKind::kNoCameras ? 1
                                                                                : kNumSeverities;
}

void Corruption::Check() const {
  ATHANOR_CHECK(severity >= 1 && severity <= kNumSeverities,
                "severity of a corruption: expected 1, 2 or 3, found ", severity);
}

uint64_t CorruptionKey(const Corruption& corruption, std::string_view log, std::string_view channel,
                       int64_t time_us) {
  uint64_t key = MixBits(corruption.seed);
  for (const std::string_view text : {CorruptionName(corruption.kind), log, channel}) {
    key = MixBits(HashBytes(text, key) ^ text.size());
  }
  return MixBits(key ^ static_cast<uint64_t>(time_us));
}

}  // namespace athanor
