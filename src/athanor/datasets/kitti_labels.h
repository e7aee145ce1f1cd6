// Labels and results of the KITTI object benchmark: one text file per frame, one object per line.
//
// Format: the readme.txt of the object development kit (Geiger, Lenz, Urtasun 2012, "Are we ready
// for autonomous driving?"): type truncated occluded alpha x1 y1 x2 y2 h w l x y z rotation_y, and
// in results the score.
#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/geometry/box3.h"

namespace athanor {

// As in the file; "camera" is the rectified frame of camera 0 (x right, y down, z forward).
struct KittiLabel {
  std::string type;        // "Car", "Pedestrian", "DontCare", ...
  double truncated = -1;   // 0 to 1; -1: not said
  int occluded = -1;       // 0 visible, 1 partly, 2 largely, 3 unknown; -1: not said
  double alpha_rad = -10;  // observation angle; -10: not said
  std::array<double, 4> box_px = {0, 0, 0, 0};              // x1, y1, x2, y2
  double height_m = -1, width_m = -1, length_m = -1;        // -1: has no box in 3D
  Eigen::Vector3d bottom_in_camera_m{-1000, -1000, -1000};  // middle of the box's floor
  double rotation_y_rad = -10;                              // about the camera's y axis
  std::optional<double> score;                              // of results

  bool has_box3() const { return height_m > 0 && width_m > 0 && length_m > 0; }
};

// One object per line, empty lines skipped, with 15 columns or 16. `name` is the path that messages
// name. Throws Error (name, line, expectation): another number of columns, a number that is not
// finite, a size that is neither positive nor -1.
std::vector<KittiLabel> ParseKittiLabels(std::string_view text, std::string_view name);
std::vector<KittiLabel> ReadKittiLabels(const std::filesystem::path& path);

// With the fewest digits that read back as the same numbers; the score only where there is one.
std::string FormatKittiLabels(const std::vector<KittiLabel>& labels);
void WriteKittiLabels(const std::filesystem::path& path, const std::vector<KittiLabel>& labels);

// The label's box in the camera's frame: its z axis is up, against the camera's y. Needs
// has_box3().
Box3 KittiBoxInCamera(const KittiLabel& label);
// Sets sizes, bottom, rotation_y and alpha from a box in the camera's frame. A tilt of the box is
// lost, for labels have none.
void SetKittiBox(const Box3& box_in_camera, KittiLabel* label);

}  // namespace athanor
