#include "athanor/loop/features/teacher_vectors.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/hash.h"
#include "athanor/loop/mining/contact_sheet.h"

namespace athanor {
namespace {

// Boxes hold some background at their edges.
constexpr double kInner = 0.8;
constexpr double kSmallestView_px = 4;

void Normalize(std::span<float> vector) {
  double sum = 0;
  for (const float x : vector) sum += static_cast<double>(x) * x;
  if (!(sum > 0)) return;
  const float scale = static_cast<float>(1 / std::sqrt(sum));
  for (float& x : vector) x *= scale;
}

int64_t IdOf(std::string bytes) {
  return static_cast<int64_t>(HashBytes(bytes) & 0x7fffffffffffffffULL);
}

std::string FrameBytes(const Log& log, int frame) {
  return StrCat(log.name, "\n", log.frames[frame].id, "\n", log.frames[frame].time_us);
}

VectorLevel OpenLevel(const std::filesystem::path& folder, const Teacher& teacher,
                      const std::string& level) {
  const std::filesystem::path path =
      folder / (HexDigits(HashBytes(teacher.key())) + "_" + level + ".vectors");
  if (std::filesystem::exists(path)) return {VectorTable::Open(path, true), {}};
  VectorTableSpec spec;
  spec.model = teacher.key();
  spec.level = level;
  spec.dimension = teacher.dimension();
  return {VectorTable::Create(path, spec), {}};
}

}  // namespace

int64_t FrameVectorId(const Log& log, int frame) { return IdOf(FrameBytes(log, frame)); }

int64_t BoxVectorId(const Log& log, int frame, const Box3& box) {
  std::string bytes = FrameBytes(log, frame);
  for (const double x : {box.frame_from_box.translation.x(), box.frame_from_box.translation.y(),
                         box.frame_from_box.translation.z(), box.size_m.x(), box.size_m.y(),
                         box.size_m.z(), box.yaw_rad()}) {
    // Millimetres: what a file format rounds is the same box.
    const int64_t rounded = std::llround(1000 * x);
    bytes.append(reinterpret_cast<const char*>(&rounded), sizeof rounded);
  }
  return IdOf(std::move(bytes));
}

std::vector<float> PoolFeatures(const ViewFeatures& features, double x0, double y0, double x1,
                                double y1) {
  const int64_t d = features.dimension();
  const auto slice = [](double low, double high, double size, int64_t cells) {
    const double scale = static_cast<double>(cells) / size;
    const auto first = std::clamp<int64_t>(std::llround(low * scale), 0, cells - 1);
    const auto last = std::clamp<int64_t>(std::llround(high * scale), first + 1, cells);
    return std::pair(first, last);
  };
  at::Tensor sum;
  if (features.is_dense()) {
    const auto [left, right] = slice(x0, x1, features.width_px, features.features.size(1));
    const auto [top, bottom] = slice(y0, y1, features.height_px, features.features.size(0));
    sum = features.features.slice(0, top, bottom)
              .slice(1, left, right)
              .to(at::kFloat)
              .sum(at::IntArrayRef{0, 1});
  } else {
    const auto [left, right] = slice(x0, x1, features.width_px, features.width_px);
    const auto [top, bottom] = slice(y0, y1, features.height_px, features.height_px);
    const at::Tensor ids =
        features.mask_ids.slice(1, top, bottom).slice(2, left, right).reshape({-1});
    const at::Tensor kept = ids.masked_select(ids.ge(0)).to(at::kLong);
    const at::Tensor counts = at::bincount(kept, {}, features.features.size(0)).to(at::kFloat);
    sum = features.features.size(0) == 0 ? at::zeros({d}, at::kFloat)
                                         : at::mv(features.features.to(at::kFloat).t(), counts);
  }
  sum = sum.contiguous();
  std::vector<float> vector(sum.data_ptr<float>(), sum.data_ptr<float>() + d);
  Normalize(vector);
  return vector;
}

TeacherVectors::TeacherVectors(Teacher* teacher, const std::filesystem::path& folder)
    : teacher_(teacher) {
  MakeFolder(folder);
  boxes_ = OpenLevel(folder, *teacher, "box");
  frames_ = OpenLevel(folder, *teacher, "frame");
}

std::vector<float> TeacherVectors::OfPicture(const Image& picture, const std::string& name) {
  const double w = picture.width, h = picture.height;
  return PoolFeatures(teacher_->Describe(picture, name), 0.1 * w, 0.1 * h, 0.9 * w, 0.9 * h);
}

void TeacherVectors::UpdateLog(const MinedData& data, int log_index, const BoxSource& boxes,
                               Report* report) {
  const std::shared_ptr<const Log> log = data.Read(log_index);
  const int d = teacher_->dimension();
  std::vector<int64_t> box_ids, frame_ids;
  std::vector<float> box_vectors, frame_vectors;
  for (int f = 0; f < std::ssize(log->frames); ++f) {
    // What each picture is asked for: all of it, when the frame is new, and the boxes in it.
    struct Wanted {
      int64_t id;
      BoxView view;
    };
    std::map<int, std::vector<Wanted>> by_sensor;
    const std::vector<SourcedBox> of_frame = boxes.Boxes(*log, f);
    for (int b = 0; b < std::ssize(of_frame); ++b) {
      const int64_t id = BoxVectorId(*log, f, of_frame[b].box);
      boxes_.items[id] = {log_index, f, b};
      ++report->boxes;
      if (boxes_.table->Find(id) >= 0) continue;
      const BoxView view = BestView(*log, f, of_frame[b].box);
      if (view.sensor < 0 || view.x1 - view.x0 < kSmallestView_px ||
          view.y1 - view.y0 < kSmallestView_px) {
        ++report->unseen;
        continue;
      }
      by_sensor[view.sensor].push_back({id, view});
    }
    const int64_t frame_id = FrameVectorId(*log, f);
    frames_.items[frame_id] = {log_index, f, -1};
    ++report->frames;
    const bool is_new = frames_.table->Find(frame_id) < 0;
    std::vector<float> of_all(d, 0);
    for (int s = 0; s < std::ssize(log->sensors); ++s) {
      const int reading = log->frames[f].readings[s];
      if (log->sensors[s].kind != SensorKind::kCamera || reading < 0 ||
          !(is_new || by_sensor.contains(s)) || !HasPayload(*log, log->readings[reading])) {
        continue;
      }
      const std::string name = log->readings[reading].path.string();
      const Image picture = DecodeImage(ReadPayload(*log, reading), name, 3);
      const ViewFeatures features = teacher_->Describe(picture, name);
      ++report->pictures;
      const std::vector<float> whole = PoolFeatures(features, 0, 0, picture.width, picture.height);
      for (int c = 0; c < d; ++c) of_all[c] += whole[c];
      for (const Wanted& wanted : by_sensor[s]) {
        const BoxView& view = wanted.view;
        const double x_edge = 0.5 * (1 - kInner) * (view.x1 - view.x0);
        const double y_edge = 0.5 * (1 - kInner) * (view.y1 - view.y0);
        const std::vector<float> vector = PoolFeatures(features, view.x0 + x_edge, view.y0 + y_edge,
                                                       view.x1 - x_edge, view.y1 - y_edge);
        box_ids.push_back(wanted.id);
        box_vectors.insert(box_vectors.end(), vector.begin(), vector.end());
      }
    }
    if (is_new) {
      Normalize(of_all);
      frame_ids.push_back(frame_id);
      frame_vectors.insert(frame_vectors.end(), of_all.begin(), of_all.end());
    }
  }
  if (!box_ids.empty()) boxes_.table->Append(box_ids, box_vectors);
  if (!frame_ids.empty()) frames_.table->Append(frame_ids, frame_vectors);
}

TeacherVectors::Report TeacherVectors::Update(
    const MinedData& data, const BoxSource& boxes,
    const std::function<void(int64_t, int64_t)>& progress) {
  Report report;
  boxes_.items.clear();
  frames_.items.clear();
  for (int l = 0; l < data.num_logs(); ++l) {
    UpdateLog(data, l, boxes, &report);
    if (progress) progress(l + 1, data.num_logs());
  }
  return report;
}

}  // namespace athanor
