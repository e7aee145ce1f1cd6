// transforms.json of nerfstudio, instant-ngp and Blender (NeRF's synthetic scenes).
//
// Format: docs.nerf.studio/quickstart/data_conventions.html. Matrices are world_from_camera with
// OpenGL's camera axes (x right, y up, z back); ours are y down and z forward. applied_transform
// and applied_scale are not undone: the poses and the point cloud of ply_file_path already hold
// them, so both lie in one frame.
#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/datasets/posed_images.h"

namespace athanor {

// The intrinsics of a frame: its own fields over those of the file.
struct TransformsIntrinsics {
  CameraModel model = CameraModel::kPinhole;  // kPinhole, kOpenCv, kFullOpenCv or kOpenCvFisheye
  std::optional<int> width_px, height_px;
  std::optional<double> focal_x_px, focal_y_px;
  std::optional<double> angle_x_rad, angle_y_rad;  // of view, when there is no focal length
  std::optional<double> center_x_px, center_y_px;
  std::array<double, 4> k = {};
  std::array<double, 2> p = {};

  bool operator==(const TransformsIntrinsics&) const = default;
  // The camera of photographs of this size. Throws Error naming `where`.
  Camera ToCamera(int image_width_px, int image_height_px, std::string_view where) const;
};

struct TransformsFrame {
  std::string file_path;  // as the file writes it
  std::string mask_path;  // empty when there is none
  std::string depth_path;
  int intrinsics = 0;  // index into Transforms::intrinsics
  Rigid3 camera_from_world;
  GivenSplit split = GivenSplit::kNone;
};

struct Transforms {
  std::vector<TransformsIntrinsics> intrinsics;  // distinct ones
  std::vector<TransformsFrame> frames;
  std::string ply_file_path;
  std::optional<double> depth_unit;  // scene units per step of the depth PNGs
};

// From text in memory; `name` is the path that messages name. Throws Error (name, byte or frame,
// field, expectation): no JSON, wrong types, numbers out of range, matrices that are not a rotation
// and a translation to 1e-3.
Transforms ParseTransforms(std::string_view json, std::string_view name);

struct TransformsFile {
  std::filesystem::path path;
  GivenSplit split = GivenSplit::kNone;  // of all its frames, where the file itself names none
};

// Reads one or more files of the same capture. Photographs without an extension are .png, .jpg or
// .jpeg. Frames whose photograph is missing are left out, with one warning: captures are shipped
// so. Throws Error when every photograph is missing, and as ParseTransforms.
PosedImages ReadTransforms(const std::vector<TransformsFile>& files,
                           const std::filesystem::path& images_folder = {});

}  // namespace athanor
