#include "athanor/detection/profusion3d/object_paste.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <Eigen/Core>
#include <Eigen/Geometry>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "athanor/datasets/log_projection.h"
#include "athanor/detection/profusion3d/plain_tensor.h"
#include "athanor/geometry/box3.h"

namespace athanor {
namespace {

using BoxRow = std::array<float, kBoxColumns>;
using Rectangle = Eigen::AlignedBox2d;

// As an object appears in one picture of the sample.
struct View {
  std::vector<Eigen::Vector2d> outline;
  Rectangle whole;    // of the outline
  Rectangle visible;  // inside the picture; empty when there is nothing
  double distance_m = 0;
  int patch = -1;  // of a pasted object
};

struct Placed {
  BoxRow box;
  std::vector<View> views;  // [cameras]
  int object = -1;          // index into the pasted ones; -1: of the sample itself
};

Eigen::Matrix<double, 3, 4> MatrixOf(const SampleCamera& camera) {
  return Eigen::Map<const Eigen::Matrix<float, 3, 4, Eigen::RowMajor>>(
             camera.camera_from_ego.data())
      .cast<double>();
}

Rectangle BoundsOf(const std::vector<Eigen::Vector2d>& outline) {
  Rectangle bounds;
  for (const Eigen::Vector2d& pixel : outline) bounds.extend(pixel);
  return bounds;
}

double AreaOf(const Rectangle& rectangle) {
  return rectangle.isEmpty() ? 0 : rectangle.sizes().prod();
}

class Paster {
 public:
  Paster(const PasteOptions& options, DetectionSample* sample)
      : options_(options), sample_(*sample) {
    for (int64_t c = 0; c < sample_.images.size(0); ++c) {
      if (sample_.has_camera.data_ptr<uint8_t>()[c] == 0) continue;
      pictures_.push_back(c);
      cameras_.push_back(CameraOf(sample_, c));
    }
    const at::Tensor boxes = sample_.boxes.contiguous();
    for (int64_t b = 0; b < boxes.size(0); ++b) {
      BoxRow row;
      std::memcpy(row.data(), boxes.data_ptr<float>() + b * kBoxColumns, sizeof row);
      placed_.push_back({row, ViewsOf(row), -1});
    }
  }

  bool Offer(BankObject object) {
    for (const Placed& other : placed_) {
      if (OverlapOnGround(object.box, other.box)) return false;
    }
    Placed placed = {object.box, ViewsOf(object.box), static_cast<int>(objects_.size())};
    for (size_t c = 0; c < cameras_.size(); ++c) {
      View& view = placed.views[c];
      if (view.visible.isEmpty()) continue;
      view.patch = FindPatch(object, cameras_[c]);
      // What is but a pixel or two may stay unseen.
      if (view.patch < 0 && AreaOf(view.visible) > 16) return false;
      for (const Placed& other : placed_) {
        const View& farther = other.views[c].distance_m > view.distance_m ? other.views[c] : view;
        const double common = AreaOf(other.views[c].visible.intersection(view.visible));
        if (common > options_.max_hidden * AreaOf(farther.visible)) return false;
      }
    }
    placed_.push_back(std::move(placed));
    objects_.push_back(std::move(object));
    return true;
  }

  void Finish() {
    if (objects_.empty()) return;
    const auto before = static_cast<int64_t>(placed_.size() - objects_.size());
    const auto after = static_cast<int64_t>(placed_.size());
    at::Tensor boxes = at::empty({after, kBoxColumns}, at::kFloat);
    at::Tensor labels = at::empty({after}, at::kLong), attributes = at::empty({after}, at::kLong);
    for (int64_t b = 0; b < after; ++b) {
      std::memcpy(boxes.data_ptr<float>() + b * kBoxColumns, placed_[b].box.data(), sizeof(BoxRow));
      const bool is_own = b < before;
      labels.data_ptr<int64_t>()[b] =
          is_own ? sample_.labels.data_ptr<int64_t>()[b] : objects_[b - before].label;
      attributes.data_ptr<int64_t>()[b] =
          is_own ? sample_.attributes.data_ptr<int64_t>()[b] : objects_[b - before].attribute;
    }
    sample_.boxes = boxes;
    sample_.labels = labels;
    sample_.attributes = attributes;
    if (sample_.has_lidar) PastePoints();
    if (!cameras_.empty()) PastePictures();
  }

 private:
  std::vector<View> ViewsOf(const BoxRow& box) const {
    const Rectangle picture(Eigen::Vector2d(0, 0),
                            Eigen::Vector2d(sample_.images.size(3), sample_.images.size(2)));
    std::vector<View> views;
    for (const SampleCamera& camera : cameras_) {
      View view;
      view.outline = OutlineOf(box, camera);
      view.whole = BoundsOf(view.outline);
      view.visible = view.whole.isEmpty() ? Rectangle() : view.whole.intersection(picture);
      view.distance_m = (MatrixOf(camera) * Eigen::Vector4d(box[0], box[1], box[2], 1)).norm();
      views.push_back(std::move(view));
    }
    return views;
  }

  // The patch seen from most nearly the camera's direction; -1: none within 45 degrees.
  static int FindPatch(const BankObject& object, const SampleCamera& camera) {
    int best = -1;
    double best_cosine = std::sqrt(0.5);
    for (size_t i = 0; i < object.patches.size(); ++i) {
      const double cosine = MatrixOf(object.patches[i].camera)
                                .row(2)
                                .head<3>()
                                .normalized()
                                .dot(MatrixOf(camera).row(2).head<3>().normalized());
      if (cosine <= best_cosine) continue;
      best = static_cast<int>(i);
      best_cosine = cosine;
    }
    return best;
  }

  void PastePoints() {
    const at::Tensor points = sample_.points.contiguous();
    const float* const first_point = points.data_ptr<float>();
    std::vector<float> rows;
    std::vector<Box3> boxes;
    for (const BankObject& object : objects_) {
      const BoxRow& b = object.box;
      boxes.push_back(MakeBox3({b[0], b[1], b[2]}, {b[3], b[4], b[5]}, b[6]));
    }
    for (int64_t i = 0; i < points.size(0); ++i) {
      const float* p = first_point + i * kPointColumns;
      const Eigen::Vector3d point(p[0], p[1], p[2]);
      const bool is_inside = std::any_of(boxes.begin(), boxes.end(), [&](const Box3& box) {
        const Eigen::Vector3d off = point - box.frame_from_box.translation;
        return off.squaredNorm() <= 0.25 * box.size_m.squaredNorm() && box.Contains(point);
      });
      if (!is_inside) rows.insert(rows.end(), p, p + kPointColumns);
    }
    for (const BankObject& object : objects_) {
      rows.insert(rows.end(), object.points.begin(), object.points.end());
    }
    sample_.points =
        at::empty({static_cast<int64_t>(rows.size()) / kPointColumns, kPointColumns}, at::kFloat);
    std::copy(rows.begin(), rows.end(), sample_.points.data_ptr<float>());
  }

  void PastePictures() {
    const at::Tensor original = sample_.images.contiguous();
    sample_.images = PlainCopy(original);
    for (size_t c = 0; c < cameras_.size(); ++c) {
      std::vector<const Placed*> order;
      for (const Placed& placed : placed_) {
        if (!placed.views[c].visible.isEmpty()) order.push_back(&placed);
      }
      std::stable_sort(order.begin(), order.end(), [c](const Placed* a, const Placed* b) {
        return a->views[c].distance_m > b->views[c].distance_m;
      });
      bool is_changed = false;
      for (const Placed* placed : order) {
        if (placed->object < 0 && !is_changed) continue;
        Paint(*placed, c, original);
        is_changed = true;
      }
    }
  }

  // Fills the hull of an object in picture `c` of pictures_: with its patch, or as it was.
  void Paint(const Placed& placed, size_t c, const at::Tensor& original) {
    const View& view = placed.views[c];
    if (placed.object >= 0 && view.patch < 0) return;
    const auto width = static_cast<int>(original.size(3));
    const auto height = static_cast<int>(original.size(2));
    Image mask(width, height, 1, 255);
    CutHull(view.outline, &mask);
    const int64_t plane = int64_t{width} * height;
    uint8_t* out = sample_.images.data_ptr<uint8_t>() + pictures_[c] * 3 * plane;
    const uint8_t* was = original.data_ptr<uint8_t>() + pictures_[c] * 3 * plane;
    const ObjectPatch* patch =
        placed.object < 0 ? nullptr : &objects_[placed.object].patches[view.patch];
    Rectangle source;
    bool is_turned = false;
    if (patch != nullptr) {
      source = BoundsOf(OutlineOf(placed.box, patch->camera));
      is_turned = MatrixOf(patch->camera).leftCols<3>().determinant() *
                      MatrixOf(cameras_[c]).leftCols<3>().determinant() <
                  0;
    }
    const int right = std::min(width, static_cast<int>(std::ceil(view.visible.max().x())));
    const int bottom = std::min(height, static_cast<int>(std::ceil(view.visible.max().y())));
    for (int y = static_cast<int>(view.visible.min().y()); y < bottom; ++y) {
      for (int x = static_cast<int>(view.visible.min().x()); x < right; ++x) {
        if (*mask.at(x, y) != 0) continue;
        const int64_t at = int64_t{y} * width + x;
        if (patch == nullptr) {
          for (int k = 0; k < 3; ++k) out[k * plane + at] = was[k * plane + at];
          continue;
        }
        Eigen::Vector2d share = (Eigen::Vector2d(x + 0.5, y + 0.5) - view.whole.min())
                                    .cwiseQuotient(view.whole.sizes());
        if (is_turned) share.x() = 1 - share.x();
        const Eigen::Vector2d from = source.min() + share.cwiseProduct(source.sizes()) -
                                     Eigen::Vector2d(patch->left_px, patch->top_px);
        PaintPixel(patch->image, from, out + at, plane);
      }
    }
  }

  // Bilinear; nothing where the patch ends, because its own picture did.
  static void PaintPixel(const Image& patch, const Eigen::Vector2d& from, uint8_t* out,
                         int64_t plane) {
    if (from.x() < 0 || from.y() < 0 || from.x() > patch.width || from.y() > patch.height) return;
    const double x = std::clamp(from.x() - 0.5, 0.0, patch.width - 1.0);
    const double y = std::clamp(from.y() - 0.5, 0.0, patch.height - 1.0);
    const int x0 = static_cast<int>(x), y0 = static_cast<int>(y);
    const int x1 = std::min(x0 + 1, patch.width - 1), y1 = std::min(y0 + 1, patch.height - 1);
    const double u = x - x0, v = y - y0;
    for (int k = 0; k < 3; ++k) {
      const double value = (1 - v) * ((1 - u) * patch.at(x0, y0)[k] + u * patch.at(x1, y0)[k]) +
                           v * ((1 - u) * patch.at(x0, y1)[k] + u * patch.at(x1, y1)[k]);
      out[k * plane] = static_cast<uint8_t>(std::lround(value));
    }
  }

  const PasteOptions& options_;
  DetectionSample& sample_;
  std::vector<int64_t> pictures_;  // cameras that have one
  std::vector<SampleCamera> cameras_;
  std::vector<Placed> placed_;  // those of the sample, then those pasted
  std::vector<BankObject> objects_;
};

}  // namespace

bool OverlapOnGround(const BoxRow& a, const BoxRow& b) {
  // Two convex shapes are apart when one of their sides' directions tells them apart.
  const Eigen::Vector2d between(b[0] - a[0], b[1] - a[1]);
  const auto axes = [](const BoxRow& box) { return Eigen::Rotation2Dd(box[6]).toRotationMatrix(); };
  const Eigen::Matrix2d of_a = axes(a), of_b = axes(b);
  for (const Eigen::Matrix2d& directions : {of_a, of_b}) {
    for (int k = 0; k < 2; ++k) {
      const Eigen::Vector2d along = directions.col(k);
      const auto reach = [&](const Eigen::Matrix2d& own, const BoxRow& box) {
        return 0.5 * (std::abs(along.dot(own.col(0))) * box[3] +
                      std::abs(along.dot(own.col(1))) * box[4]);
      };
      if (std::abs(along.dot(between)) >= reach(of_a, a) + reach(of_b, b)) return false;
    }
  }
  return true;
}

int PasteObjects(const ObjectBank& bank, const PasteOptions& options, Random* random,
                 DetectionSample* sample) {
  std::array<int, kNumDetectionClasses> present = {};
  for (int64_t b = 0; b < sample->labels.size(0); ++b) {
    ++present[sample->labels.data_ptr<int64_t>()[b]];
  }
  Paster paster(options, sample);
  int pasted = 0;
  for (int label = 0; label < kNumDetectionClasses; ++label) {
    if (bank.count(label) == 0) continue;
    for (int k = present[label]; k < options.counts[label]; ++k) {
      const uint32_t index = random->Below(static_cast<uint32_t>(bank.count(label)));
      pasted += paster.Offer(bank.Read(label, index));
    }
  }
  paster.Finish();
  return pasted;
}

}  // namespace athanor
