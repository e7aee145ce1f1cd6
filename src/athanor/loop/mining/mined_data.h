// What is mined: the logs of a data set or a lake, and names for their frames and boxes that people
// can type: "scene-0001/12" is a frame, "scene-0001/12:3" a box of it.
//
// Logs are read when they are asked for: a lake may hold more than memory does.
#pragma once

#include <cstdint>
#include <filesystem>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "athanor/datasets/log.h"

namespace athanor {

struct FrameRef {
  int log = -1;
  int frame = -1;
  int box = -1;  // -1: the frame as a whole

  friend bool operator==(const FrameRef&, const FrameRef&) = default;
};

class MinedData {
 public:
  // A frame's number in this object: log * 65536 + frame.
  static constexpr int kFrameBits = 16;

  // Throws Error (path, what was looked for).
  explicit MinedData(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  bool is_lake() const { return is_lake_; }
  int num_logs() const { return static_cast<int>(logs_->names().size()); }
  const std::string& name(int log) const { return logs_->names()[log]; }
  // What the log holds, in a word: the id of a clip, else a hash of frames, boxes and tags.
  std::string Identity(int log) const;
  // The last few stay in memory. Throws Error for a log of more than 65,536 frames.
  std::shared_ptr<const Log> Read(int log) const;

  static int64_t NumberOf(const FrameRef& ref) {
    return (static_cast<int64_t>(ref.log) << kFrameBits) + ref.frame;
  }
  static FrameRef FrameOf(int64_t number) {
    return {static_cast<int>(number >> kFrameBits),
            static_cast<int>(number & ((1 << kFrameBits) - 1)), -1};
  }
  std::string NameOf(const FrameRef& ref) const;
  // Throws Error that says what was expected, for a name that is none or of what is not there.
  FrameRef Parse(std::string_view text) const;
  int FindLog(std::string_view name) const;  // -1: none

 private:
  std::filesystem::path path_;
  bool is_lake_;
  std::unique_ptr<LogDataset> logs_;
  std::vector<std::string> clip_ids_;  // of a lake
  mutable std::list<std::pair<int, std::shared_ptr<const Log>>> recent_;
};

// The moment's weather and light as far as a log's description has words for them, nuScenes' and
// ours: "rain", "snow", "fog", "overcast", "sun" or ""; "night", "dusk", or "day".
std::string WeatherOf(const Log& log);
std::string DaylightOf(const Log& log);
// Of the ego vehicle, from the frames before and after; 0 for a single frame.
double EgoSpeedAt(const Log& log, int frame);

}  // namespace athanor
