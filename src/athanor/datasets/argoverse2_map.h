// The local map of an Argoverse 2 log: where one can drive, what the evaluation looks at, and how
// high the ground lies.
//
// The rasters are those of the official tools (argoverse/av2-api, src/av2/map/map_api.py, with
// polygons filled as Pillow does), cell by cell, so that results agree.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace athanor {

// Safe to read from several threads.
class Argoverse2Map {
 public:
  // The folder map/ of a log, or the log's: log_map_archive_*.json, and when it is there the ground
  // height (*_ground_height_surface____*.npy with *___img_Sim2_city.json). Throws Error (file,
  // record, expectation).
  static Argoverse2Map Read(const std::filesystem::path& folder);
  // The map without ground height. `name` is the path that messages name.
  static Argoverse2Map Parse(std::string_view json, std::string_view name);

  // Polygons in the city frame, in the file's order; the last corner is not the first again.
  const std::vector<std::vector<Eigen::Vector3d>>& drivable_areas() const {
    return drivable_areas_;
  }

  // Points in the city frame, by cells of 10 cm; false beyond the raster.
  bool InDrivableArea(const Eigen::Vector2d& point_in_city_m) const;
  // Within 5 m of the drivable area: the region of interest of the evaluation.
  bool InRoi(const Eigen::Vector2d& point_in_city_m) const;
  // Number of cells of the drivable area and of the region of interest.
  int64_t CountCells(bool roi) const;

  // Height of the ground, cells of 30 cm; none where it is not known.
  std::optional<double> GroundHeight(const Eigen::Vector2d& point_in_city_m) const;
  bool has_ground_height() const { return !ground_m_.empty(); }

 private:
  uint8_t CellAt(const Eigen::Vector2d& point_in_city_m) const;
  void Rasterize(std::string_view name);
  void ReadGroundHeight(const std::filesystem::path& heights, const std::filesystem::path& sim2);

  std::vector<std::vector<Eigen::Vector3d>> drivable_areas_;
  Eigen::Vector2d origin_m_ = Eigen::Vector2d::Zero();  // of the raster
  int64_t width_ = 0, height_ = 0;
  std::vector<uint8_t> cells_;  // [height, width] bit 0: drivable, bit 1: region of interest

  // cell = scale (rotation point + translation)
  Eigen::Matrix2d ground_rotation_ = Eigen::Matrix2d::Identity();
  Eigen::Vector2d ground_translation_ = Eigen::Vector2d::Zero();
  double ground_scale_ = 1;
  int64_t ground_width_ = 0, ground_height_ = 0;
  std::vector<float> ground_m_;
};

}  // namespace athanor
