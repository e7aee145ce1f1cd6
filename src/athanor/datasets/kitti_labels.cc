#include "athanor/datasets/kitti_labels.h"

#include <charconv>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/datasets/text_lines.h"

namespace athanor {
namespace {

double ReadFinite(TextLines& lines, std::string_view what) {
  const auto value = lines.Number<double>(what);
  if (!std::isfinite(value)) {
    lines.Fail(StrCat("expected a finite number as ", what, ", found ", value));
  }
  return value;
}

double ReadSize(TextLines& lines, std::string_view what) {
  const double size = ReadFinite(lines, what);
  if (!(size > 0 || size == -1)) {
    lines.Fail(StrCat("expected ", what, " to be positive, or -1 for none, found ", size));
  }
  return size;
}

void Append(double value, std::string& text) {
  char digits[32];
  const auto [end, error] = std::to_chars(digits, digits + sizeof digits, value);
  text += ' ';
  text.append(digits, end);
}

double WrapAngle(double angle_rad) { return std::remainder(angle_rad, 2 * M_PI); }

}  // namespace

std::vector<KittiLabel> ParseKittiLabels(std::string_view text, std::string_view name) {
  std::vector<KittiLabel> labels;
  TextLines lines(text, name);
  while (lines.Next()) {
    KittiLabel label;
    label.type = lines.Field();
    if (label.type.empty()) continue;
    label.truncated = ReadFinite(lines, "truncation (column 2)");
    // Some programs write it as a real number.
    const double occluded = ReadFinite(lines, "occlusion (column 3)");
    if (!(occluded == -1 || occluded == 0 || occluded == 1 || occluded == 2 || occluded == 3)) {
      lines.Fail(StrCat("expected occlusion (column 3) to be -1, 0, 1, 2 or 3, found ", occluded));
    }
    label.occluded = static_cast<int>(occluded);
    label.alpha_rad = ReadFinite(lines, "alpha (column 4)");
    for (double& edge : label.box_px) edge = ReadFinite(lines, "edge of the box (columns 5 to 8)");
    label.height_m = ReadSize(lines, "height (column 9)");
    label.width_m = ReadSize(lines, "width (column 10)");
    label.length_m = ReadSize(lines, "length (column 11)");
    for (double& coordinate : label.bottom_in_camera_m) {
      coordinate = ReadFinite(lines, "location (columns 12 to 14)");
    }
    label.rotation_y_rad = ReadFinite(lines, "rotation_y (column 15)");
    if (lines.rest().find_first_not_of(" \t") != std::string_view::npos) {
      label.score = ReadFinite(lines, "score (column 16)");
    }
    if (const std::string_view more = lines.Field(); !more.empty()) {
      lines.Fail(StrCat("expected 15 columns, or 16 with a score, found more: ", Quoted(more)));
    }
    labels.push_back(std::move(label));
  }
  return labels;
}

std::vector<KittiLabel> ReadKittiLabels(const std::filesystem::path& path) {
  return ParseKittiLabels(ReadFile(path), path.string());
}

std::string FormatKittiLabels(const std::vector<KittiLabel>& labels) {
  std::string text;
  for (const KittiLabel& label : labels) {
    text += label.type;
    Append(label.truncated, text);
    Append(label.occluded, text);
    Append(label.alpha_rad, text);
    for (const double edge : label.box_px) Append(edge, text);
    for (const double size : {label.height_m, label.width_m, label.length_m}) Append(size, text);
    for (const double coordinate : label.bottom_in_camera_m) Append(coordinate, text);
    Append(label.rotation_y_rad, text);
    if (label.score) Append(*label.score, text);
    text += '\n';
  }
  return text;
}

void WriteKittiLabels(const std::filesystem::path& path, const std::vector<KittiLabel>& labels) {
  WriteFile(path, FormatKittiLabels(labels));
}

Box3 KittiBoxInCamera(const KittiLabel& label) {
  ATHANOR_CHECK(label.has_box3(), "KITTI label of type ", Quoted(label.type),
                ": expected a box in 3D, found sizes ", label.height_m, " ", label.width_m, " ",
                label.length_m);
  const double cosine = std::cos(label.rotation_y_rad), sine = std::sin(label.rotation_y_rad);
  Eigen::Matrix3d camera_from_box;
  camera_from_box.col(0) = Eigen::Vector3d(cosine, 0, -sine);  // along the length
  camera_from_box.col(1) = Eigen::Vector3d(sine, 0, cosine);   // to the left
  camera_from_box.col(2) = Eigen::Vector3d(0, -1, 0);          // up
  Box3 box;
  box.frame_from_box.rotation = Eigen::Quaterniond(camera_from_box);
  box.frame_from_box.translation =
      label.bottom_in_camera_m - Eigen::Vector3d(0, 0.5 * label.height_m, 0);
  box.size_m = {label.length_m, label.width_m, label.height_m};
  return box;
}

void SetKittiBox(const Box3& box_in_camera, KittiLabel* label) {
  const Eigen::Vector3d heading = box_in_camera.frame_from_box.rotation * Eigen::Vector3d::UnitX();
  label->length_m = box_in_camera.size_m.x();
  label->width_m = box_in_camera.size_m.y();
  label->height_m = box_in_camera.size_m.z();
  label->bottom_in_camera_m = box_in_camera.frame_from_box.translation +
                              Eigen::Vector3d(0, 0.5 * box_in_camera.size_m.z(), 0);
  label->rotation_y_rad = std::atan2(-heading.z(), heading.x());
  label->alpha_rad = WrapAngle(label->rotation_y_rad - std::atan2(label->bottom_in_camera_m.x(),
                                                                  label->bottom_in_camera_m.z()));
}

}  // namespace athanor
