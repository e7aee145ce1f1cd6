#include "athanor/loop/inference/inference_table.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/detection/evaluation/nuscenes_eval.h"
#include "athanor/detection/evaluation/nuscenes_files.h"
#include "athanor/loop/mining/vector_table.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kFormat = "athanor inference 1";
constexpr int kMaxResultBoxes = 500;  // nuScenes takes no more of a sample
constexpr size_t kAppendRows = 16384;

// A table that is made beside its place, and takes it when it is whole.
class VectorFile {
 public:
  VectorFile(fs::path path, const ModelSpec& model, const char* level)
      : path_(std::move(path)), aside_(path_), model_(model), level_(level) {
    aside_ += ".new";
    std::error_code error;
    fs::remove(aside_, error);
  }
  ~VectorFile() {
    std::error_code error;
    fs::remove(aside_, error);
  }

  void Add(int64_t id, const float* vector, int dimension) {
    if (dimension == 0) return;
    if (table_ == nullptr) {
      VectorTableSpec spec;
      spec.model = model_.Key();
      spec.level = level_;
      spec.dimension = dimension;
      table_ = VectorTable::Create(aside_, spec);
    }
    ATHANOR_CHECK(dimension == table_->spec().dimension, path_.string(), ": expected vectors of ",
                  table_->spec().dimension, " numbers, found one of ", dimension);
    ids_.push_back(id);
    vectors_.insert(vectors_.end(), vector, vector + dimension);
    if (ids_.size() >= kAppendRows) Flush();
  }

  // The dimension; 0: there was no vector, and is no file.
  int Publish() {
    std::error_code error;
    if (table_ == nullptr) {
      fs::remove(path_, error);
      return 0;
    }
    Flush();
    const int dimension = table_->spec().dimension;
    table_.reset();
    PublishFile(aside_, path_);
    return dimension;
  }

 private:
  void Flush() {
    if (!ids_.empty()) table_->Append(ids_, vectors_);
    ids_.clear();
    vectors_.clear();
  }

  fs::path path_, aside_;
  const ModelSpec& model_;
  const char* level_;
  std::shared_ptr<VectorTable> table_;
  std::vector<int64_t> ids_;
  std::vector<float> vectors_;
};

// As the benchmark has them, in the world frame.
std::vector<NuscenesBox> ResultsOf(const Log& log, int frame, const FrameOutput& output) {
  std::vector<NuscenesBox> results;
  const Rigid3& world_from_ego = log.frames[frame].world_from_ego;
  int count = 0;
  for (const FoundObject& object : output.objects) {
    if (object.class_index < 0 || ++count > kMaxResultBoxes) continue;
    const auto& b = object.box;
    const Box3 box = world_from_ego * MakeBox3({b[0], b[1], b[2]}, {b[3], b[4], b[5]}, b[6]);
    const auto known = [](float x) { return std::isfinite(x) ? double{x} : 0; };
    const Eigen::Vector3d velocity =
        world_from_ego.rotation * Eigen::Vector3d(known(b[7]), known(b[8]), 0);
    const Eigen::Quaterniond& q = box.frame_from_box.rotation;
    NuscenesBox& out = results.emplace_back();
    out.translation_m = box.frame_from_box.translation;
    out.size_wlh_m = {box.size_m.y(), box.size_m.x(), box.size_m.z()};
    out.rotation_wxyz = {q.w(), q.x(), q.y(), q.z()};
    out.velocity_mps = velocity.head<2>();
    out.score = object.score;
    out.class_index = static_cast<int8_t>(object.class_index);
    out.attribute = static_cast<int8_t>(object.attribute);
  }
  return results;
}

json ToJson(const InferredModel& model) {
  json failed = json::array();
  for (const FailedFrame& frame : model.failed) {
    failed.push_back({{"clip", frame.clip}, {"frame", frame.frame}, {"reason", frame.reason}});
  }
  return {{"frame_dimension", model.frame_dimension},
          {"object_dimension", model.object_dimension},
          {"objects", model.objects},
          {"failed", failed}};
}

// The files of a model, and what is said of them.
class ModelFiles {
 public:
  ModelFiles(const fs::path& folder, const ModelSpec& spec)
      : folder_(folder / "models" / spec.name),
        frames_(folder_ / "frames.vectors", spec, "frame"),
        objects_(folder_ / "objects.vectors", spec, "object") {
    MakeFolder(folder_);
    model_.spec = spec;
    if (!spec.has_boxes) return;
    RemoveTornBoxes();
    boxes_.emplace(folder_ / "boxes.json",
                   R"({"use_camera": true, "use_lidar": true, "use_radar": false, )"
                   R"("use_map": false, "use_external": false})");
  }

  // `log` is null only for failures.
  void Add(const Log* log, int clip, int frame, const FrameOutput& output) {
    if (!output.failure.empty()) {
      model_.failed.push_back({clip, frame, output.failure});
      return;
    }
    const int64_t number = FrameNumber(clip, frame);
    frames_.Add(number, output.vector.data(), static_cast<int>(output.vector.size()));
    const auto count = std::ssize(output.objects);
    const auto dimension =
        count == 0 ? 0 : static_cast<int>(std::ssize(output.object_vectors) / count);
    for (int64_t k = 0; k < count; ++k) {
      objects_.Add(ObjectNumber(number, k), output.object_vectors.data() + k * dimension,
                   dimension);
    }
    model_.objects += count;
    const std::string& id = log->frames[frame].id;
    const std::string token = id.empty() ? StrCat(log->name, "/", frame) : id;
    // A frame that is in the data twice has one sample.
    if (boxes_ && tokens_.insert(token).second) {
      boxes_->Add(token, ResultsOf(*log, frame, output));
    }
  }

  InferredModel Publish() {
    model_.frame_dimension = frames_.Publish();
    model_.object_dimension = objects_.Publish();
    if (boxes_) boxes_->Commit();
    return model_;
  }

 private:
  // What runs that were killed at this have left. (Only one makes a table at a time.)
  void RemoveTornBoxes() const {
    for (const fs::path& path : ListFiles(folder_, {".tmp"})) {
      std::error_code error;
      fs::remove(path, error);
    }
  }

  fs::path folder_;
  InferredModel model_;
  VectorFile frames_, objects_;
  std::optional<NuscenesResultsWriter> boxes_;
  std::set<std::string> tokens_;
};

}  // namespace

void WriteInferenceTable(const fs::path& folder, const InferencePlan& plan,
                         const Ensembles& ensembles,
                         const std::map<std::string, std::string>& dead) {
  const CellStore cells(plan.cells);
  std::vector<std::unique_ptr<ModelFiles>> files;
  for (const ModelSpec& model : plan.models) {
    files.push_back(std::make_unique<ModelFiles>(folder, model));
  }
  ClipReader reader;
  for (size_t c = 0; c < plan.clips.size(); ++c) {
    const PlannedClip& clip = plan.clips[c];
    ATHANOR_CHECK(clip.frames <= 1 << kFrameNumberBits, clip.source.string(), ": log ", clip.name,
                  ": expected at most ", 1 << kFrameNumberBits, " frames, found ", clip.frames);
    std::shared_ptr<const Log> log;
    std::string unreadable;
    try {
      log = reader.Read(clip);
    } catch (const Error& error) {
      unreadable = error.what();
    }
    for (size_t m = 0; m < plan.models.size(); ++m) {
      for (const CellShard& shard : ShardsOf(plan.models[m].Key(), clip.id, clip.frames)) {
        const auto why = dead.find(shard.Id());
        std::vector<FrameOutput> outputs(shard.count);
        if (log != nullptr && why == dead.end()) {
          outputs = cells.Read(shard);
        } else {
          for (FrameOutput& output : outputs) {
            output.failure = log == nullptr ? unreadable : why->second;
          }
        }
        for (int f = 0; f < shard.count; ++f) {
          files[m]->Add(log.get(), static_cast<int>(c), shard.first + f, outputs[f]);
        }
      }
    }
  }
  json root = json::parse(EncodePlan(plan));
  root["format"] = kFormat;
  root["ensembles"] = ensembles;
  root["cells"] = fs::absolute(plan.cells).lexically_proximate(fs::absolute(folder)).string();
  // Files that are replaced one by one are not those that an older table.json tells of.
  std::error_code error;
  fs::remove(folder / "table.json", error);
  for (size_t m = 0; m < files.size(); ++m) {
    root["models"][m].update(ToJson(files[m]->Publish()));
  }
  // Reasons hold what files held: any bytes.
  WriteFile(folder / "table.json", root.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
}

InferenceTable::InferenceTable(const fs::path& folder) : folder_(folder) {
  const std::string path = (folder / "table.json").string();
  std::error_code error;
  ATHANOR_CHECK(fs::is_regular_file(path, error), folder.string(),
                ": expected the table of an inference (table.json), found none");
  const std::string text = ReadFile(path);
  plan_ = DecodePlan(text, path);
  plan_.cells = folder / plan_.cells;
  try {
    const json root = json::parse(text);
    ATHANOR_CHECK(root.at("format") == kFormat, path, ": expected the format '", kFormat,
                  "', found ", root.at("format").dump());
    ensembles_ = root.at("ensembles").get<Ensembles>();
    for (size_t m = 0; m < plan_.models.size(); ++m) {
      const json& entry = root.at("models").at(m);
      InferredModel& model = models_.emplace_back();
      model.spec = plan_.models[m];
      model.frame_dimension = entry.at("frame_dimension").get<int>();
      model.object_dimension = entry.at("object_dimension").get<int>();
      model.objects = entry.at("objects").get<int64_t>();
      for (const json& failed : entry.at("failed")) {
        model.failed.push_back({failed.at("clip").get<int>(), failed.at("frame").get<int>(),
                                failed.at("reason").get<std::string>()});
      }
      const fs::path files = folder / "models" / model.spec.name;
      if (model.spec.has_boxes) model.boxes = files / "boxes.json";
      if (model.frame_dimension > 0) model.frame_vectors = files / "frames.vectors";
      if (model.object_dimension > 0) model.object_vectors = files / "objects.vectors";
    }
  } catch (const json::exception& bad) {
    throw Error(StrCat(path, ": expected the table of an inference: ", bad.what()));
  }
}

const InferredModel& InferenceTable::model(std::string_view name) const {
  if (name.empty() && models_.size() == 1) return models_[0];
  std::string names;
  for (const InferredModel& model : models_) {
    if (model.spec.name == name) return model;
    names += (names.empty() ? "" : ", ") + model.spec.name;
  }
  throw Error(
      StrCat(folder_.string(), ": expected one of its models (", names, "), found '", name, "'"));
}

FrameOutput InferenceTable::Read(const InferredModel& model, int clip, int frame) const {
  ATHANOR_CHECK(
      clip >= 0 && clip < std::ssize(plan_.clips) && frame >= 0 && frame < plan_.clips[clip].frames,
      folder_.string(), ": there is no frame ", frame, " of clip ", clip);
  const int first = frame / kShardFrames * kShardFrames;
  const CellShard shard{model.spec.Key(), plan_.clips[clip].id, first,
                        std::min(kShardFrames, plan_.clips[clip].frames - first)};
  if (shard.Id() != last_shard_) {
    last_outputs_ = CellStore(plan_.cells).Read(shard);
    last_shard_ = shard.Id();
  }
  return last_outputs_[frame - first];
}

}  // namespace athanor
