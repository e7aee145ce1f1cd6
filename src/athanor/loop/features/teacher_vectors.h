// Vectors of what is in driving logs, in the space of a 2D teacher: of boxes, by the pixels that
// they cover in the camera that sees most of them, and of frames, by all of their pictures. Each is
// computed once and kept in the vector tables of a folder.
//
//   FOLDER/KEY_box.vectors, KEY_frame.vectors    KEY: a hash of the teacher's key
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "athanor/loop/mining/box_source.h"
#include "athanor/loop/mining/mined_data.h"
#include "athanor/loop/mining/vector_table.h"
#include "athanor/scenes/semantics/teachers/teacher.h"

namespace athanor {

// The rows of a level that are of this data.
struct VectorLevel {
  std::shared_ptr<VectorTable> table;
  std::unordered_map<int64_t, FrameRef> items;  // by the row's id
};

// Names a row: the frame by its log and time, the box by where it is, so that the order of boxes
// and of logs does not matter.
int64_t FrameVectorId(const Log& log, int frame);
int64_t BoxVectorId(const Log& log, int frame, const Box3& box_in_world);

class TeacherVectors {
 public:
  // Opens the tables for writing, made when missing. `teacher` must outlive this.
  TeacherVectors(Teacher* teacher, const std::filesystem::path& folder);

  struct Report {
    int64_t pictures = 0;                       // described now
    int64_t boxes = 0, frames = 0, unseen = 0;  // of the data; boxes that no picture shows
  };
  // Computes what is missing. Killed and run again, it goes on behind the last log that was whole.
  // Throws Error.
  Report Update(const MinedData& data, const BoxSource& boxes,
                const std::function<void(int64_t done, int64_t total)>& progress = {});

  const VectorLevel& boxes() const { return boxes_; }
  const VectorLevel& frames() const { return frames_; }

  // Of a picture as a whole, its edges left out: [D], of length 1.
  std::vector<float> OfPicture(const Image& picture, const std::string& name);

 private:
  void UpdateLog(const MinedData& data, int log, const BoxSource& boxes, Report* report);

  Teacher* teacher_;
  VectorLevel boxes_, frames_;
};

// Mean of a view's vectors over the pixels of [x0,x1) x [y0,y1), of length 1; zeros where it says
// nothing there.
std::vector<float> PoolFeatures(const ViewFeatures& features, double x0, double y0, double x1,
                                double y1);

}  // namespace athanor
