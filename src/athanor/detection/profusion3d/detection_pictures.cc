#include "athanor/detection/profusion3d/detection_pictures.h"

#include <Eigen/Core>
#include <Eigen/Geometry>
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <utility>

#include "athanor/base/error.h"
#include "athanor/datasets/log_drawing.h"
#include "athanor/geometry/box3.h"
#include "athanor/media/draw.h"

namespace athanor {

const Color kTruthColor = {170, 255, 190};

namespace {

constexpr std::array<Color, kNumDetectionClasses> kClassColors = {{
    {255, 150, 50},   // car
    {255, 90, 90},    // truck
    {215, 175, 110},  // construction vehicle
    {255, 225, 60},   // bus
    {240, 120, 190},  // trailer
    {150, 160, 185},  // barrier
    {190, 120, 255},  // motorcycle
    {110, 130, 255},  // bicycle
    {70, 190, 255},   // pedestrian
    {40, 220, 200},   // traffic cone
    {120, 230, 120},  // animal
}};

using Matrix34 = Eigen::Matrix<double, 3, 4>;

// A box that is to be drawn.
struct Mark {
  BoxCorners corners;  // ego frame
  Eigen::Vector3d center;
  Color color;
  bool is_truth;
  std::string name;
};

BoxCorners CornersOf(const float* row) {
  return MakeBox3({row[0], row[1], row[2]}, {row[3], row[4], row[5]}, row[6]).Corners();
}

// Unsure ones first: the others are drawn over them. Then the truth, which is thin.
std::vector<Mark> MarksOf(const DetectionSample& sample, std::span<const Detection> detections,
                          const DetectionPictureOptions& options) {
  std::vector<Mark> marks;
  std::vector<const Detection*> sorted;
  for (const Detection& detection : detections) {
    if (detection.score >= options.min_score) sorted.push_back(&detection);
  }
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Detection* a, const Detection* b) { return a->score < b->score; });
  for (const Detection* detection : sorted) {
    const float* row = detection->box.data();
    const double brightness = 0.4 + 0.6 * std::clamp(detection->score, 0.0f, 1.0f);
    char score[16];
    std::snprintf(score, sizeof score, " %.2f", detection->score);
    marks.push_back({CornersOf(row), Eigen::Vector3d(row[0], row[1], row[2]),
                     Scaled(DetectionColor(detection->label), brightness), false,
                     std::string(kDetectionClasses[detection->label]) + score});
  }
  if (!options.truth) return marks;
  for (const Detection& truth : TruthAsDetections(sample)) {
    const float* row = truth.box.data();
    marks.push_back(
        {CornersOf(row), Eigen::Vector3d(row[0], row[1], row[2]), kTruthColor, true, ""});
  }
  return marks;
}

std::vector<Eigen::Vector3d> PointsOf(const DetectionSample& sample) {
  std::vector<Eigen::Vector3d> points;
  if (!sample.has_lidar || !sample.points.defined()) return points;
  const at::Tensor rows = sample.points.contiguous();
  for (int64_t i = 0; i < rows.size(0); ++i) {
    const float* p = rows.data_ptr<float>() + i * kPointColumns;
    points.emplace_back(p[0], p[1], p[2]);
  }
  return points;
}

int64_t CountCameras(const DetectionSample& sample) {
  return sample.images.defined() && sample.has_camera.defined() ? sample.has_camera.size(0) : 0;
}

bool HasCamera(const DetectionSample& sample, int64_t camera) {
  return sample.has_camera.contiguous().data_ptr<uint8_t>()[camera] != 0;
}

// May be mirrored.
Matrix34 CameraFromEgo(const DetectionSample& sample, int64_t camera) {
  const at::Tensor matrices = sample.camera_from_ego.contiguous();
  return Eigen::Map<const Eigen::Matrix<float, 3, 4, Eigen::RowMajor>>(matrices.data_ptr<float>() +
                                                                       camera * 16)
      .cast<double>();
}

Camera CameraOfSample(const DetectionSample& sample, int64_t camera) {
  const at::Tensor intrinsics = sample.intrinsics.contiguous();
  const float* k = intrinsics.data_ptr<float>() + camera * 9;
  return {CameraModel::kPinhole,
          static_cast<int>(sample.images.size(3)),
          static_cast<int>(sample.images.size(2)),
          {k[0], k[4], k[2], k[5]}};
}

Image PictureOf(const DetectionSample& sample, int64_t camera) {
  const at::Tensor images = sample.images.contiguous();
  Image image(static_cast<int>(images.size(3)), static_cast<int>(images.size(2)), 3);
  const int64_t plane = images.size(2) * images.size(3);
  const uint8_t* from = images.data_ptr<uint8_t>() + camera * 3 * plane;
  uint8_t* to = image.at(0, 0);
  for (int64_t i = 0; i < plane; ++i) {
    for (int c = 0; c < 3; ++c) *to++ = from[c * plane + i];
  }
  return image;
}

// Names on a dark ground above their boxes, as far as the picture lets them.
class NamePainter {
 public:
  explicit NamePainter(Image* image) : image_(image) {}

  // Nothing for a box that is too small, or where another name stands.
  void Draw(const Eigen::AlignedBox2d& bounds, const Mark& mark) {
    const Eigen::AlignedBox2d picture(Eigen::Vector2d(0, 0),
                                      Eigen::Vector2d(image_->width, image_->height));
    const Eigen::AlignedBox2d visible = bounds.intersection(picture);
    constexpr double kLeast_px = 7;
    if (bounds.isEmpty() || visible.isEmpty() || visible.sizes().minCoeff() < kLeast_px) return;
    const int width = TextWidth(mark.name) + 2, height = kLetterHeight + 2;
    const int x = std::max(0, std::min(static_cast<int>(visible.min().x()), image_->width - width));
    const int y = std::max(static_cast<int>(visible.min().y()) - height, 0);
    const Eigen::AlignedBox2i place(Eigen::Vector2i(x, y),
                                    Eigen::Vector2i(x + width - 1, y + height - 1));
    for (const Eigen::AlignedBox2i& other : taken_) {
      if (other.intersects(place)) return;
    }
    taken_.push_back(place);
    FillRectangle(image_, x, y, width, height, kViewBackground);
    DrawText(image_, x + 1, y + 1, mark.name, mark.color);
  }

 private:
  Image* image_;
  std::vector<Eigen::AlignedBox2i> taken_;
};

// Text in a column of a panel, from the top down.
class TextColumn {
 public:
  TextColumn(Image* image, int x, int y, int width) : image_(image), x_(x), y_(y), width_(width) {}

  int y() const { return y_; }
  void Skip(int px) { y_ += px; }
  void Line(const std::string& text, Color color, int scale = 1) {
    DrawText(image_, x_, y_, FitText(text, width_, scale), color, scale);
    y_ += scale == 1 ? 14 : 10 * scale;
  }
  void Swatch(const std::string& text, Color color) {
    FillRectangle(image_, x_, y_, 16, 16, color);
    DrawText(image_, x_ + 24, y_, FitText(text, width_ - 24, 2), kViewFaint, 2);
    y_ += 22;
  }

 private:
  Image* image_;
  int x_, y_, width_;
};

std::string Padded(std::string text, size_t width) {
  text.resize(std::max(width, text.size()), ' ');
  return text;
}

// "0.93  car  12.4 m  5.1 m/s  vehicle.moving"; a speed that is not known is left out.
std::string DescribeDetection(const Detection& detection) {
  const std::array<float, kBoxColumns>& box = detection.box;
  const double speed_mps = std::hypot(box[7], box[8]);
  char score[16], distance[16], speed[16] = "";
  std::snprintf(score, sizeof score, "%.2f  ", detection.score);
  std::snprintf(distance, sizeof distance, "%6.1f m ", std::hypot(box[0], box[1]));
  if (!std::isnan(speed_mps)) std::snprintf(speed, sizeof speed, "%5.1f m/s", speed_mps);
  return score + Padded(std::string(kDetectionClasses[detection.label]), 20) + distance +
         Padded(speed, 11) + std::string(detection.AttributeName());
}

void DrawPanel(const DetectionSample& sample, std::span<const Detection> detections,
               const DetectionPictureOptions& options, int x, int y, int width, int end,
               Image* sheet) {
  std::array<int, kNumDetectionClasses> found = {}, there = {};
  std::vector<const Detection*> best;
  for (const Detection& detection : detections) {
    if (detection.score < options.min_score) continue;
    ++found[detection.label];
    best.push_back(&detection);
  }
  std::stable_sort(best.begin(), best.end(),
                   [](const Detection* a, const Detection* b) { return a->score > b->score; });
  const std::vector<Detection> truth =
      options.truth ? TruthAsDetections(sample) : std::vector<Detection>();
  for (const Detection& box : truth) ++there[box.label];

  TextColumn column(sheet, x, y, width);
  char least[16];
  std::snprintf(least, sizeof least, "%.2f", options.min_score);
  column.Line(StrCat(best.size(), " detections with a score of ", least, " and more"), kWhite, 2);
  column.Skip(6);
  for (int k = 0; k < kNumDetectionClasses; ++k) {
    if (found[k] == 0 && there[k] == 0) continue;
    std::string text = StrCat(Padded(std::string(kDetectionClasses[k]), 21), found[k], " detected");
    if (options.truth) text += StrCat(", ", there[k], " true");
    column.Swatch(text, DetectionColor(k));
  }
  if (!truth.empty()) column.Swatch("truth", kTruthColor);
  column.Skip(12);
  if (!best.empty()) column.Line("Score Class                 Distance  Speed", kWhite);
  for (const Detection* detection : best) {
    if (column.y() + kLetterHeight > end) break;
    column.Line(DescribeDetection(*detection), kViewFaint);
  }
}

}  // namespace

OptionList Describe(DetectionPictureOptions& o) {
  OptionList list;
  list.Add("camera-width", &o.camera_width_px,
           "width of each camera's picture, pixels; a single one gets twice that",
           {.min = 64, .max = 4096});
  list.Add("above", &o.above_px, "side of the view from above, pixels", {.min = 100, .max = 8192});
  list.Add("view-range", &o.range_m, "from the car to the edge of the view from above, metres",
           {.min = 1, .max = 1000});
  list.Add("min-score", &o.min_score, "detections below are left out", {.min = 0, .max = 1});
  list.Add("truth", &o.truth, "draw the true boxes, too");
  return list;
}

Color DetectionColor(int label) { return kClassColors.at(label); }

std::vector<Detection> TruthAsDetections(const DetectionSample& sample) {
  std::vector<Detection> detections;
  if (!sample.boxes.defined()) return detections;
  const at::Tensor boxes = sample.boxes.contiguous(), labels = sample.labels.contiguous();
  const at::Tensor attributes =
      sample.attributes.defined() ? sample.attributes.contiguous() : sample.attributes;
  for (int64_t b = 0; b < boxes.size(0); ++b) {
    Detection& detection = detections.emplace_back();
    const float* row = boxes.data_ptr<float>() + b * kBoxColumns;
    std::copy(row, row + kBoxColumns, detection.box.begin());
    detection.score = 1;
    detection.label = static_cast<int>(labels.data_ptr<int64_t>()[b]);
    if (attributes.defined()) {
      detection.attribute = static_cast<int>(attributes.data_ptr<int64_t>()[b]);
    }
  }
  return detections;
}

Image DrawDetectionsFromAbove(const DetectionSample& sample, std::span<const Detection> detections,
                              const DetectionPictureOptions& options) {
  Image image(options.above_px, options.above_px, 3);
  AboveView view(&image, options.range_m);
  const std::vector<Eigen::Vector3d> points = PointsOf(sample);
  std::vector<Color> colors;
  for (const Eigen::Vector3d& point : points) {
    // Boxes are to stand out.
    colors.push_back(Scaled(HeightColor(static_cast<float>(point.z())), 0.6));
  }
  view.DrawPoints(points, colors);
  for (const Mark& mark : MarksOf(sample, detections, options)) {
    view.DrawBox(mark.corners, mark.color, mark.is_truth ? 1.0 : 2.0);
  }
  view.DrawCar();
  if (!sample.has_lidar) DrawText(&image, 8, 8, "LiDAR missing", kViewFaint, 2);
  return image;
}

Image DrawDetectionsInCamera(const DetectionSample& sample, int camera,
                             std::span<const Detection> detections,
                             const DetectionPictureOptions& options) {
  const Camera whole = CameraOfSample(sample, camera);
  const int width = options.camera_width_px;
  const auto height =
      std::max(1, static_cast<int>(std::lround(static_cast<double>(width) * whole.height_px /
                                               std::max(1, whole.width_px))));
  Image image(width, height, 3);
  const bool is_there = HasCamera(sample, camera);
  if (is_there) {
    image = Resize(PictureOf(sample, camera), width, height);
  } else {
    FillRectangle(&image, 0, 0, width, height, kViewBackground);
  }
  const Matrix34 camera_from_ego = CameraFromEgo(sample, camera);
  std::vector<Mark> marks = MarksOf(sample, detections, options);
  for (Mark& mark : marks) {
    for (Eigen::Vector3d& corner : mark.corners) corner = camera_from_ego * corner.homogeneous();
    mark.center = camera_from_ego * mark.center.homogeneous();
  }
  // The near over the far.
  std::stable_sort(marks.begin(), marks.end(), [](const Mark& a, const Mark& b) {
    return a.center.squaredNorm() > b.center.squaredNorm();
  });
  CameraView view(&image, whole.Resized(width, height));
  std::vector<std::pair<Eigen::AlignedBox2d, const Mark*>> names;
  for (const Mark& mark : marks) {
    const Eigen::AlignedBox2d bounds =
        view.DrawBox(mark.corners, mark.color, mark.is_truth ? 1.0 : 2.0);
    if (!mark.is_truth) names.emplace_back(bounds, &mark);
  }
  NamePainter painter(&image);
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    painter.Draw(name->first, *name->second);
  }
  if (!is_there) {
    DrawText(&image, 8, height - 2 * kLetterHeight - 8, "camera missing", kViewFaint, 2);
  }
  return image;
}

Image DrawDetections(const DetectionSample& sample, std::span<const Detection> detections,
                     const std::vector<std::string>& camera_names,
                     const DetectionPictureOptions& given) {
  constexpr int kGap_px = 4, kCaption_px = 14, kHeader_px = 44, kLeastPanel_px = 400;
  const int64_t cameras = CountCameras(sample);
  ATHANOR_CHECK(camera_names.empty() || static_cast<int64_t>(camera_names.size()) == cameras,
                "picture of sample ", sample.id, ": expected a name for each of ", cameras,
                " cameras, found ", camera_names.size());
  std::vector<CameraPlace> places;
  int64_t present = 0;
  for (int64_t c = 0; c < cameras; ++c) {
    const Matrix34 camera_from_ego = CameraFromEgo(sample, c);
    const Eigen::Matrix3d turn = camera_from_ego.leftCols<3>().transpose();
    places.push_back({turn.col(2), -turn * camera_from_ego.col(3)});
    present += HasCamera(sample, c);
  }
  const std::vector<std::vector<int>> rows = CameraRows(places);
  DetectionPictureOptions options = given;
  if (cameras == 1) options.camera_width_px *= 2;
  const int cell = options.camera_width_px + kGap_px;
  std::vector<std::vector<Image>> pictures;
  int columns = 0, top = kHeader_px;
  for (const std::vector<int>& row : rows) {
    pictures.emplace_back();
    for (const int camera : row) {
      pictures.back().push_back(DrawDetectionsInCamera(sample, camera, detections, options));
    }
    columns = std::max(columns, static_cast<int>(row.size()));
    top += pictures.back()[0].height + kCaption_px + kGap_px;
  }
  const int side = options.above_px;
  const int width = std::max(columns * cell + kGap_px, side + kLeastPanel_px + 4 * kGap_px);
  Image sheet(width, top + side + kGap_px, 3);
  FillRectangle(&sheet, 0, 0, sheet.width, sheet.height, kViewPanel);
  DrawText(&sheet, 8, 6, FitText(sample.id, width - 16, 2), kWhite, 2);
  DrawText(&sheet, 8, 28,
           StrCat(present, " of ", cameras, " cameras   ",
                  sample.has_lidar ? StrCat(PointsOf(sample).size(), " LiDAR points")
                                   : std::string("LiDAR missing")),
           kViewFaint);

  int y = kHeader_px;
  for (size_t r = 0; r < rows.size(); ++r) {
    int x = (width - static_cast<int>(rows[r].size()) * cell + kGap_px) / 2;
    for (size_t i = 0; i < rows[r].size(); ++i) {
      Paste(&sheet, pictures[r][i], x, y);
      const int camera = rows[r][i];
      const std::string name =
          camera_names.empty() ? StrCat("camera ", camera) : camera_names[camera];
      DrawText(&sheet, x + 2, y + pictures[r][i].height + 3,
               FitText(name + (HasCamera(sample, camera) ? "" : "  missing"), cell - 8),
               kViewFaint);
      x += cell;
    }
    y += pictures[r][0].height + kCaption_px + kGap_px;
  }
  Paste(&sheet, DrawDetectionsFromAbove(sample, detections, options), kGap_px, top);
  const int panel = side + 6 * kGap_px;
  DrawPanel(sample, detections, options, panel, top + 8, width - panel - 8, top + side, &sheet);
  return sheet;
}

}  // namespace athanor
