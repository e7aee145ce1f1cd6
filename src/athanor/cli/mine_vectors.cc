#include "athanor/cli/mine_vectors.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>

#include "athanor/base/error.h"
#include "athanor/cli/mine_report.h"
#include "athanor/cli/options_cli.h"
#include "athanor/cli/semantic_pictures.h"
#include "athanor/detection/evaluation/nuscenes_eval.h"
#include "athanor/loop/inference/inference_table.h"
#include "athanor/loop/inference/models/open_model.h"
#include "athanor/scenes/semantics/teachers/open_teacher.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

void CheckLevel(const FrameRef& ref, const std::string& text, const std::string& level) {
  ATHANOR_CHECK((ref.box >= 0) == (level == "box"), "example ", text, ": expected a ",
                level == "box" ? "box (LOG/NUMBER:BOX)" : "frame (LOG/NUMBER)", " with --level ",
                level);
}

std::vector<float> ReadRow(const VectorTable& table, int64_t id, const std::string& text) {
  const int64_t row = table.Find(id);
  ATHANOR_CHECK(row >= 0, "example ", text, ": it has no vector in ", table.path().string());
  std::vector<float> vector(table.spec().dimension);
  table.Read(row, vector.data());
  return vector;
}

SourcedBox BoxOf(const MinedData& data, const BoxSource& boxes, const FrameRef& ref,
                 const std::string& text) {
  const std::vector<SourcedBox> of_frame = boxes.Boxes(*data.Read(ref.log), ref.frame);
  ATHANOR_CHECK(ref.box < std::ssize(of_frame), "example ", text, ": the frame has ",
                of_frame.size(), " boxes in ", boxes.name());
  return of_frame[ref.box];
}

class ByTeacher : public MinedVectors {
 public:
  ByTeacher(const MinedData& data, const BoxSource& boxes, const TeacherVectorOptions& options)
      : data_(data),
        boxes_(boxes),
        teacher_(OpenTeacher(options.teacher)),
        vectors_(teacher_.get(), options.folder),
        report_(vectors_.Update(data, boxes, ShowProgress("describing logs"))) {}

  const VectorLevel& Level(const std::string& level) const override {
    return level == "box" ? vectors_.boxes() : vectors_.frames();
  }

  MinedHit Hit(const FrameRef& ref) const override {
    MinedHit hit = HitOf(data_, ref);
    const std::vector<SourcedBox> of_frame = boxes_.Boxes(*data_.Read(ref.log), ref.frame);
    hit.boxes_in_frame = static_cast<int>(of_frame.size());
    if (ref.box >= 0) {
      hit.box_in_world = of_frame.at(ref.box).box;
      hit.class_name = of_frame.at(ref.box).class_name;
    }
    return hit;
  }

  std::vector<float> Example(const std::string& text, const std::string& level) override {
    if (fs::is_regular_file(text) && !FindPhotographs(text).empty()) {
      return vectors_.OfPicture(ReadImage(text, 3), text);
    }
    const FrameRef ref = data_.Parse(text);
    CheckLevel(ref, text, level);
    const std::shared_ptr<const Log> log = data_.Read(ref.log);
    const int64_t id = ref.box < 0
                           ? FrameVectorId(*log, ref.frame)
                           : BoxVectorId(*log, ref.frame, BoxOf(data_, boxes_, ref, text).box);
    return ReadRow(*Level(level).table, id, text);
  }

  std::vector<float> Words(const std::string& words) override {
    ATHANOR_CHECK(!teacher_->text_space().empty(), "teacher ", teacher_->key(),
                  ": words mean nothing to it");
    const at::Tensor vector = OpenTextEncoder(teacher_->text_space())
                                  ->Encode(std::vector<std::string>{words})
                                  .contiguous();
    return {vector.data_ptr<float>(), vector.data_ptr<float>() + vector.numel()};
  }

  int64_t FrameId(int log, int frame) const override {
    return FrameVectorId(*data_.Read(log), frame);
  }

  std::vector<std::pair<std::string, std::string>> About() const override {
    return {{"teacher", teacher_->key()},
            {"vectors", StrCat(Grouped(report_.boxes), " boxes (", Grouped(report_.unseen),
                               " in no picture), ", Grouped(report_.frames), " frames; ",
                               Grouped(report_.pictures), " pictures described now")}};
  }

 private:
  const MinedData& data_;
  const BoxSource& boxes_;
  std::unique_ptr<Teacher> teacher_;
  TeacherVectors vectors_;
  TeacherVectors::Report report_;
};

bool HasFrames(const MinedData& data, int log, int frames) {
  try {
    return std::ssize(data.Read(log)->frames) == frames;
  } catch (const Error&) {
    return false;  // a log that cannot be read has none
  }
}

class OfTable : public MinedVectors {
 public:
  OfTable(const MinedData& data, const BoxSource* boxes, const fs::path& table,
          const std::string& model)
      : data_(data), boxes_(boxes), table_(table), model_(table_.model(model)) {
    for (const PlannedClip& clip : table_.clips()) {
      const int log = data.FindLog(clip.name);
      const bool same = log >= 0 && (data.is_lake() ? data.Identity(log) == clip.id
                                                    : HasFrames(data, log, clip.frames));
      log_of_clip_.push_back(same ? log : -1);
      if (same) clip_of_log_[log] = static_cast<int>(log_of_clip_.size()) - 1;
    }
    ATHANOR_CHECK(!clip_of_log_.empty(), table.string(), ": expected logs of ",
                  data.path().string(), ", found none");
    objects_ = OpenLevel(model_.object_vectors, &ObjectRowOrigin);
    frames_ = OpenLevel(model_.frame_vectors, &FrameRowOrigin);
  }

  const VectorLevel& Level(const std::string& level) const override {
    const VectorLevel& rows = level == "box" ? objects_ : frames_;
    ATHANOR_CHECK(rows.table != nullptr, table_.folder().string(), ": model ", model_.spec.name,
                  " has no vectors of ", level == "box" ? "boxes" : "frames");
    return rows;
  }

  MinedHit Hit(const FrameRef& ref) const override {
    MinedHit hit = HitOf(data_, ref);
    if (ref.box < 0) return hit;
    const std::shared_ptr<const Log> log = data_.Read(ref.log);
    const FoundObject object = Objects(ref).at(ref.box);
    if (object.sensor >= 0) {
      hit.camera = log->sensors.at(object.sensor).channel;
      std::copy(object.region_px.begin(), object.region_px.end(), hit.region_px.begin());
    } else {
      hit.box_in_world = WorldBox(*log, ref.frame, object);
      if (object.class_index >= 0) hit.class_name = kNuscenesClassNames.at(object.class_index);
    }
    return hit;
  }

  std::vector<float> Example(const std::string& text, const std::string& level) override {
    FrameRef ref = data_.Parse(text);
    CheckLevel(ref, text, level);
    ATHANOR_CHECK(clip_of_log_.contains(ref.log), "example ", text, ": its log is not in ",
                  table_.folder().string());
    if (ref.box >= 0 && boxes_ != nullptr) {
      ref.box = NearestObject(ref, BoxOf(data_, *boxes_, ref, text), text);
    }
    const int64_t frame = FrameId(ref.log, ref.frame);
    return ReadRow(*Level(level).table, ref.box < 0 ? frame : ObjectNumber(frame, ref.box), text);
  }

  std::vector<float> Words(const std::string& words) override {
    return EncodeWords(model_.spec, words);
  }

  int64_t FrameId(int log, int frame) const override {
    const auto clip = clip_of_log_.find(log);
    return clip == clip_of_log_.end() ? -1 : FrameNumber(clip->second, frame);
  }

  std::vector<std::pair<std::string, std::string>> About() const override {
    return {{"model", StrCat(model_.spec.name, " of ", table_.folder().string())},
            {"vectors", StrCat(Grouped(std::ssize(objects_.items)), " objects, ",
                               Grouped(std::ssize(frames_.items)), " frames of ",
                               clip_of_log_.size(), " logs")}};
  }

 private:
  VectorLevel OpenLevel(const fs::path& path, RowOrigin (*origin_of)(int64_t)) const {
    VectorLevel level;
    if (path.empty()) return level;
    level.table = VectorTable::Open(path);
    for (int64_t row = 0; row < level.table->rows(); ++row) {
      if (level.table->is_deleted(row)) continue;
      const RowOrigin origin = origin_of(level.table->id(row));
      const int log = log_of_clip_.at(origin.clip);
      if (log >= 0) level.items[level.table->id(row)] = {log, origin.frame, origin.object};
    }
    return level;
  }

  std::vector<FoundObject> Objects(const FrameRef& ref) const {
    return table_.Read(model_, clip_of_log_.at(ref.log), ref.frame).objects;
  }

  static Box3 WorldBox(const Log& log, int frame, const FoundObject& object) {
    const auto& b = object.box;
    return log.frames[frame].world_from_ego *
           MakeBox3({b[0], b[1], b[2]}, {b[3], b[4], b[5]}, b[6]);
  }

  int NearestObject(const FrameRef& ref, const SourcedBox& box, const std::string& text) const {
    constexpr double kNear_m = 2;
    const std::shared_ptr<const Log> log = data_.Read(ref.log);
    const std::vector<FoundObject> objects = Objects(ref);
    int best = -1;
    double nearest = kNear_m;
    for (size_t i = 0; i < objects.size(); ++i) {
      if (objects[i].sensor >= 0) continue;
      const double distance = (WorldBox(*log, ref.frame, objects[i]).frame_from_box.translation -
                               box.box.frame_from_box.translation)
                                  .head<2>()
                                  .norm();
      if (distance < nearest) {
        nearest = distance;
        best = static_cast<int>(i);
      }
    }
    ATHANOR_CHECK(best >= 0, "example ", text, ": model ", model_.spec.name, " has no box within ",
                  kNear_m, " m of it");
    return best;
  }

  const MinedData& data_;
  const BoxSource* boxes_;
  InferenceTable table_;
  const InferredModel& model_;
  std::vector<int> log_of_clip_;
  std::unordered_map<int, int> clip_of_log_;
  VectorLevel objects_, frames_;
};

}  // namespace

std::unique_ptr<MinedVectors> DescribeByTeacher(const MinedData& data, const BoxSource& boxes,
                                                const TeacherVectorOptions& options) {
  return std::make_unique<ByTeacher>(data, boxes, options);
}

std::unique_ptr<MinedVectors> VectorsOfTable(const MinedData& data, const BoxSource* boxes,
                                             const fs::path& table, const std::string& model) {
  return std::make_unique<OfTable>(data, boxes, table, model);
}

fs::path BoxesOfTable(const fs::path& table, const std::string& model) {
  return InferenceTable(table).model(model).boxes;
}

}  // namespace athanor
