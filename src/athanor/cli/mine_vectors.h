// Where vectors of what is mined come from: a 2D teacher that looks at the pictures now, or a table
// that `athanor infer` left.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "athanor/loop/features/teacher_vectors.h"
#include "athanor/loop/mining/box_source.h"
#include "athanor/loop/mining/mined_hits.h"

namespace athanor {

class MinedVectors {
 public:
  virtual ~MinedVectors() = default;

  // Rows of a level ("box", "frame") that are of the data. A row of "box" is a box, or a region of
  // a picture. Throws Error where there are none.
  virtual const VectorLevel& Level(const std::string& level) const = 0;
  // What a row of the level is.
  virtual MinedHit Hit(const FrameRef& ref) const = 0;
  // "LOG/NUMBER" of a frame, "LOG/NUMBER:BOX" of a box, or the path of a picture. Throws Error.
  virtual std::vector<float> Example(const std::string& text, const std::string& level) = 0;
  virtual std::vector<float> Words(const std::string& words) = 0;
  // Of a frame's row, whether it is there or not.
  virtual int64_t FrameId(int log, int frame) const = 0;
  // What is to be said of them.
  virtual std::vector<std::pair<std::string, std::string>> About() const = 0;
};

struct TeacherVectorOptions {
  std::string teacher = "embedded";
  std::filesystem::path folder;  // of the tables
};
// Describes what is not described yet. `data` and `boxes` must outlive it.
std::unique_ptr<MinedVectors> DescribeByTeacher(const MinedData& data, const BoxSource& boxes,
                                                const TeacherVectorOptions& options);

// The vectors of one model in a table of `athanor infer`; an empty name: the only model. Rows whose
// log is not in the data are left out: of a lake, clips of other content too. Examples are boxes of
// `boxes`, whose nearest box of the model within 2 m then counts, or the model's own when it is
// null.
std::unique_ptr<MinedVectors> VectorsOfTable(const MinedData& data, const BoxSource* boxes,
                                             const std::filesystem::path& table,
                                             const std::string& model);
// The results file of the model, for words; empty when it finds no boxes.
std::filesystem::path BoxesOfTable(const std::filesystem::path& table, const std::string& model);

}  // namespace athanor
