// What a miner found, in a form that people, `mine select` and labelling take: names, boxes, scores
// and reasons. JSON:
//
//   {"miner": "rule", "data": "/data/town", "about": {...}, "hits": [{
//      "frame": "scene-0001/12", "log": "scene-0001", "number": 12, "id": "ca9a...",
//      "time_us": 1700000006500000, "boxes_in_frame": 23, "score": 0.93, "why": "...",
//      "box": 3, "class": "animal", "center_m": [x, y, z], "size_m": [length, width, height],
//      "rotation_wxyz": [...]}]}                                     boxes are in the world frame
//
// A region of a picture has "camera" and "region_px": [left, top, right, bottom] instead.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "athanor/loop/mining/mined_data.h"

namespace athanor {

struct MinedHit {
  std::string log;
  int frame = 0;   // of the log
  std::string id;  // the data set's own of the frame
  int64_t time_us = 0;
  int boxes_in_frame = 0;  // what labelling it costs
  double score = 0;        // more is better
  std::string why;
  int box = -1;            // index into the boxes of the miner's source; -1: the frame as a whole,
                           // or a box that none of them is
  std::string class_name;  // of the box
  std::optional<Box3> box_in_world;
  std::string camera;                    // of a region: the channel of its picture
  std::array<double, 4> region_px = {};  // left, top, right, bottom
};

// `about` is what the miner says of itself: pairs of a name and a text.
struct MinedHits {
  std::string miner;
  std::string data;
  std::vector<std::pair<std::string, std::string>> about;
  std::vector<MinedHit> hits;
};

// Fills in what a log says of a frame.
MinedHit HitOf(const MinedData& data, const FrameRef& ref);

// Written aside and renamed. Throws Error.
void WriteMinedHits(const std::filesystem::path& path, const MinedHits& hits);
// Throws Error (path, hit, expectation).
MinedHits ReadMinedHits(const std::filesystem::path& path);

}  // namespace athanor
