// What a car uploads: a snippet's pixels as one file, and before that its features as another.
//
//   ID.clip   "ATHUPLD1", the length of the clip (u64), the clip (lake/clip.h), its payloads one
//             after another in the order of its readings, CRC32C of all before it (u32)
//   ID.json   id, name, times, size, value and its reasons, the feature of its best frame, what the
//             small model saw in it
//
// A folder of *.clip files opens as driving logs (OpenLogs) once RegisterUploads() was called, so
// that `lake ingest` takes what a car sent. It holds no boxes: a car has no truth.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/datasets/log.h"
#include "athanor/lake/clip.h"
#include "athanor/loop/vehicle/selector.h"

namespace athanor {

// Frames `first` to `last` of a log as a log of its own, with all readings since the frame before
// `first`: no boxes, no tracks, no tags but the ego vehicle's own and the weather's.
Log CutLog(const Log& log, int first, int last);
// Which frame each reading belongs to: the one that it is part of, else the next; -1: behind all.
std::vector<int> FramesOfReadings(const Log& log);

// The bytes of a .clip. Throws Error when a payload cannot be read.
std::string EncodeUpload(const Log& log);
struct Upload {
  Clip clip;
  std::vector<int64_t> offsets;  // of payloads, in the bytes
};
// Throws Error (`name`, byte, expectation) for anything else, or damaged.
Upload DecodeUpload(std::string_view bytes, std::string_view name);

// The log of a .clip, whose payloads stay in the file. Throws Error.
Log ReadUpload(const std::filesystem::path& path);
// The files of a folder, or of clips/ in it, sorted by name, as logs.
std::unique_ptr<LogDataset> OpenUploads(const std::filesystem::path& folder);
void RegisterUploads();

struct FeatureRecord {
  std::string id, log;
  int64_t begin_us = 0, end_us = 0;
  int64_t bundle = 0;  // version that the car had
  Snippet snippet;
  std::vector<float> feature;     // of the best frame; sent as 8-bit numbers and a scale
  std::vector<std::string> seen;  // "pedestrian 0.91 at 8.2 m", the surest ones
};
std::string EncodeFeatures(const FeatureRecord& record);
// Throws Error (`name`). `snippet` comes back with frames numbered from 0.
FeatureRecord DecodeFeatures(std::string_view bytes, std::string_view name);

}  // namespace athanor
