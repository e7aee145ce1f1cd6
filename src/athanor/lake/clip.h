// A clip: one log's stretch of driving as the lake keeps it: everything but the bytes of its
// pictures and sweeps, which it names by their SHA-256. It never changes, and its name is its
// content: the SHA-256 of its own bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/datasets/log.h"

namespace athanor {

// The bytes of one reading.
struct ClipPayload {
  std::string sha256;     // 64 hexadecimal digits; empty: the data set came without it
  std::string extension;  // of its file, which says how it is decoded: ".jpg", ".pcd.bin"
  int64_t length = 0;     // bytes
};

struct Clip {
  Log log;                            // source, paths and `payloads` are empty
  std::vector<ClipPayload> payloads;  // one per reading
};

// The ending of a reading's path, ".pcd.bin" being one.
std::string PayloadExtension(const std::filesystem::path& path);

// Throws Error (source, log, place, expectation) unless the log can be a clip: indices that point
// into it, cameras with a size, finite poses and boxes of frames, and times that rise from reading
// to reading of a sensor and from frame to frame: where a clock jumped back, a time names no
// moment.
void CheckClip(const Log& log);

// The clip's bytes: the same clip gives the same bytes on every machine. What is not part of it
// (source, paths) does not count.
std::string EncodeClip(const Clip& clip);
// Throws Error (`name`, byte, expectation) for anything else, damaged, or of a newer program.
Clip DecodeClip(std::string_view bytes, std::string_view name);

// 64 hexadecimal digits: the clip's id by its bytes.
std::string ClipId(std::string_view bytes);

// 32 bytes for 64 hexadecimal digits, and back. Throws Error for other text.
std::string BytesOfHex(std::string_view digits);
std::string HexOfBytes(std::string_view bytes);

}  // namespace athanor
