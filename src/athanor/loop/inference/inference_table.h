// What an inference leaves: for each model its boxes and its vectors of all frames, in the forms
// that miners read, and what that is made of.
//
//   TABLE/table.json                      clips, models, failed frames; published last, and gone
//                                         while the others change
//   TABLE/models/NAME/boxes.json          results of the nuScenes benchmark, by LogFrame::id (mine
//                                         uncertain, undigested, rule); animals come last there
//   TABLE/models/NAME/frames.vectors      a VectorTable, one row per frame
//   TABLE/models/NAME/objects.vectors     one row per object: box or region (mine similar)
//   TABLE/cells/                          all that models said (cell_store.h)
//
// Rows of tables are numbered by where they are in the data: FrameNumber() is also MinedData's
// number of the frame when the data is one data set or lake. Files hold the same bytes whoever
// computed what, and in whatever order.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/loop/inference/cell_store.h"
#include "athanor/loop/inference/inference_plan.h"

namespace athanor {

inline constexpr int kFrameNumberBits = 16, kObjectNumberBits = 10;

constexpr int64_t FrameNumber(int64_t clip, int64_t frame) {
  return (clip << kFrameNumberBits) + frame;
}
constexpr int64_t ObjectNumber(int64_t frame_number, int64_t object) {
  return (frame_number << kObjectNumberBits) + object;
}
// Where a row is from: clip and frame, and the index into FrameOutput::objects.
struct RowOrigin {
  int clip = 0, frame = 0, object = -1;  // -1: the frame as a whole
  bool operator==(const RowOrigin&) const = default;
};
constexpr RowOrigin FrameRowOrigin(int64_t id) {
  return {static_cast<int>(id >> kFrameNumberBits),
          static_cast<int>(id & ((1 << kFrameNumberBits) - 1))};
}
constexpr RowOrigin ObjectRowOrigin(int64_t id) {
  RowOrigin origin = FrameRowOrigin(id >> kObjectNumberBits);
  origin.object = static_cast<int>(id & ((1 << kObjectNumberBits) - 1));
  return origin;
}

// A frame that a model failed at.
struct FailedFrame {
  int clip = 0, frame = 0;
  std::string reason;
  bool operator==(const FailedFrame&) const = default;
};

struct InferredModel {
  ModelSpec spec;
  int frame_dimension = 0, object_dimension = 0;  // 0: no such vectors
  int64_t objects = 0;
  std::vector<FailedFrame> failed;
  // Empty where there is none.
  std::filesystem::path boxes, frame_vectors, object_vectors;
};

// Several models that are one ensemble: their boxes are to be compared.
using Ensembles = std::map<std::string, std::vector<std::string>>;

class InferenceTable {
 public:
  // Throws Error (path, expectation).
  explicit InferenceTable(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }
  const std::vector<PlannedClip>& clips() const { return plan_.clips; }
  const std::vector<InferredModel>& models() const { return models_; }
  const Ensembles& ensembles() const { return ensembles_; }
  // The model of that name; the only one for an empty name. Throws Error that lists them.
  const InferredModel& model(std::string_view name) const;
  // What a model said of a frame. Not thread-safe: the last shard stays in memory.
  FrameOutput Read(const InferredModel& model, int clip, int frame) const;

 private:
  std::filesystem::path folder_;
  InferencePlan plan_;
  std::vector<InferredModel> models_;
  Ensembles ensembles_;
  mutable std::string last_shard_;
  mutable std::vector<FrameOutput> last_outputs_;
};

// Makes the files from the cells, which are all there but those of `dead` shards (by
// CellShard::Id: the reason, which becomes that of their frames). Throws CellDamage, Error.
void WriteInferenceTable(const std::filesystem::path& folder, const InferencePlan& plan,
                         const Ensembles& ensembles,
                         const std::map<std::string, std::string>& dead);

}  // namespace athanor
