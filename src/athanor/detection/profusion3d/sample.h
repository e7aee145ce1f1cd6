// What the detector sees of one moment, and what it is to find there.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <string>
#include <string_view>

namespace athanor {

// The ten classes of nuScenes' benchmark, and one that nuScenes and Argoverse 2 annotate but do not
// score: what runs onto the road on four legs.
inline constexpr int kNumDetectionClasses = 11;
inline constexpr std::array<std::string_view, kNumDetectionClasses> kDetectionClasses = {
    "car",        "truck",   "construction_vehicle", "bus",          "trailer", "barrier",
    "motorcycle", "bicycle", "pedestrian",           "traffic_cone", "animal"};

// Columns of DetectionSample::points and ::boxes.
inline constexpr int kPointColumns = 5;
inline constexpr int kBoxColumns = 9;

// Positions are in the ego frame of the moment: x forward, y left, z up, metres.
struct DetectionSample {
  std::string id;  // the frame's; names it in messages and results
  // [N,5] f32: x, y, z, intensity 0..1, seconds since the key sweep (<= 0). [0,5] without a LiDAR.
  at::Tensor points;
  // [C,3,H,W] u8, RGB, as large as the network takes them. A camera that is missing is black.
  at::Tensor images;
  at::Tensor camera_from_ego;  // [C,4,4] f32; z of the camera along its view
  // [C,3,3] f32, pixels of `images`; a pixel's centre lies at (column + 0.5, row + 0.5).
  at::Tensor intrinsics;
  at::Tensor has_camera;  // [C] u8: 0 for a missing one
  bool has_lidar = true;
  // Points that say how far the pictures' pixels are, in training: the LiDAR's also where it has
  // been taken away. Columns as in `points`; undefined: those.
  at::Tensor depth_points;
  // Augmentation has made the world so many times as large as the pictures show it.
  float world_scale = 1;

  // Truth; empty when it is not known.
  at::Tensor
      boxes;  // [B,9] f32: centre x, y, z, length, width, height, yaw, velocity x, y (may be NaN)
  at::Tensor labels;  // [B] i64, into kDetectionClasses
  // [B] i64, into kNuscenesAttributeNames (attributes.h); -1: none, or not known.
  at::Tensor attributes;
};

}  // namespace athanor
