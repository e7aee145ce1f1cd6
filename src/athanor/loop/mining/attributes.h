// The attribute tables that rules are asked of: what is known of each frame and of each box, small
// whole numbers in SQLite. 1 M frames with 20 M boxes: about 1.2 GB (rules_benchmark states it).
//
//   frames  frame, clip, time_us, place, weather, daylight, ego_speed_cmps, num_boxes
//   boxes   frame, box, class, track, score_pct (0 .. 100), x_cm, y_cm (ego frame: forward, left),
//           distance_cm (in the plane, to the ego vehicle), length_cm, width_cm, height_cm,
//           yaw_deg, points (LiDAR; -1: not known)
//   tags    frame, tag
//   logs    clip, name, identity (what the log held; attribute_base.h)
//
// These are views that show names; below them, place, weather, daylight, class and tag are numbers.
// Boxes lie in the order of their frames, and once more by (class, distance_cm, score_pct), so that
// a class nearby is found without reading the others, and a frame's boxes without looking for them.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "athanor/lake/sqlite.h"

namespace athanor {

struct BoxAttributes {
  std::string class_name;
  int64_t track = -1;
  double score = 1;                                           // 0 .. 1
  Eigen::Vector3d center_in_ego_m = Eigen::Vector3d::Zero();  // forward, left, up
  Eigen::Vector3d size_m = Eigen::Vector3d::Zero();           // length, width, height
  double yaw_rad = 0;
  int points = -1;
};

struct FrameAttributes {
  int64_t frame = 0;  // unique
  int64_t clip = 0, time_us = 0;
  std::string place, weather, daylight;  // empty: not known
  double ego_speed_mps = 0;
  std::vector<std::string> tags;
  std::vector<BoxAttributes> boxes;
};

// Makes the tables, or checks that they are of this version.
void MakeAttributeTables(SqliteDatabase& database);

// Adds and removes frames, in one transaction until Commit().
class AttributeWriter {
 public:
  // `bulk`: for filling empty tables with millions of rows: indices are made at Commit().
  explicit AttributeWriter(SqliteDatabase& database, bool bulk = false);

  // Takes the place of a frame of the same number. Throws Error for NaN, naming frame and box.
  void Add(const FrameAttributes& frame);
  void Remove(int64_t frame);
  // Nothing may be added after it. Looks at the sizes of the tables anew, for SQLite's planner.
  void Commit();
  // Without that look: for a few frames among many.
  void CommitSmall() { transaction_.Commit(); }

 private:
  int64_t NameId(const std::string& name);

  SqliteDatabase& database_;
  bool bulk_;
  SqliteTransaction transaction_;
  SqliteStatement add_frame_, add_box_, add_tag_, remove_frame_, remove_boxes_, remove_tags_;
  std::unordered_map<std::string, int64_t> names_;
};

}  // namespace athanor
