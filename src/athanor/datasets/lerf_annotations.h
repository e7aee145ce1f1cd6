// What people marked in the images of language scenes: for each phrase, boxes and polygons.
//
// Formats, told apart by content:
//   LERF-OVS (LangSplat's labels, minghanqin/LangSplat eval/evaluate_iou_loc.py): frame_*.json with
//     info {name, width, height} and objects [{category, bbox [x1, y1, x2, y2], segmentation
//     [[x, y], ...]}]
//   LERF's localisation boxes (kerrj/lerf issue 27): N_rgb.json as labelme writes it: shapes
//   [{label,
//     points, shape_type "rectangle" or "polygon"}], imageWidth, imageHeight, imagePath
// Coordinates are as in the files: pixel indices, so that a box of x1 = x2 covers one pixel.
#pragma once

#include <Eigen/Core>
#include <array>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/media/image.h"

namespace athanor {

// All that bears one phrase in one view.
struct PhraseRegion {
  std::string phrase;                                  // "red apple"
  std::vector<std::array<double, 4>> boxes;            // x0 <= x1, y0 <= y1: x0, y0, x1, y1
  std::vector<std::vector<Eigen::Vector2d>> polygons;  // may be none

  // In one of the boxes, their edges included: what counts as found.
  bool InBox(double x, double y) const;
};

struct AnnotatedView {
  std::string image_name;  // "frame_00041.jpg"
  int width_px = 0, height_px = 0;
  std::vector<PhraseRegion> regions;  // in the file's order of first mention

  // Grey: 255 in any of the region's polygons, filled as OpenCV's fillPoly fills them (corners cut
  // to whole pixels, outlines included), so that masks equal those of the published evaluation.
  Image Mask(const PhraseRegion& region) const;
};

// Throws Error (name, record, expectation): other JSON, sizes that are not positive, numbers that
// are not finite, polygons of fewer than 3 corners.
AnnotatedView ParseLerfAnnotations(std::string_view json, std::string_view name);

// All annotations of a folder (frame_*.json or *_rgb.json), sorted by name, numbers by their value.
// Throws Error when there is none.
std::vector<AnnotatedView> ReadLerfAnnotations(const std::filesystem::path& folder);

}  // namespace athanor
