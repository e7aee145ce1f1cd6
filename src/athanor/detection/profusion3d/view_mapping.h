// The two mappings between a detector's views: camera features to the bird's-eye-view (BEV) grid,
// and LiDAR features of the grid to the perspective views (PV) of the cameras (ProFusion3D,
// Mohan et al. 2024, section 3.1).
//
// Both have a plan, which depends on calibration (and on where the LiDAR has points) alone, and a
// product over it that is differentiable in the features. Plans are made on the CPU in double
// precision; products run where the tensors of the plan are. One sample at a time. Same inputs,
// same bytes, whatever the threads.
//
// Frames are those of DetectionSample: ego x forward, y left, z up; camera z along its view.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "athanor/detection/profusion3d/bev_grid.h"
#include "athanor/ops/bev_pool.h"

namespace athanor {

// The cameras of a sample.
struct CameraRig {
  at::Tensor camera_from_ego;  // [C,4,4] f32, rigid
  at::Tensor intrinsics;       // [C,3,3] f32, pixels of the images
  // [C] u8: 0 for a missing camera, which meets nothing; nor is its calibration looked at.
  // Undefined: all are there.
  at::Tensor has_camera;
  int64_t image_height_px = 0, image_width_px = 0;
};

// The feature maps of the cameras. The centre of feature pixel (row i, column j) lies in the image
// at (x, y) = stride (j + 0.5, i + 0.5); where that is beyond the image (padding), the feature
// pixel meets nothing.
struct PvGrid {
  int64_t height = 0, width = 0;
  int stride_px = 16;
};

// Bin d reaches from first_m + d step_m to first_m + (d + 1) step_m of depth, which is z of the
// camera; it stands for its centre.
struct DepthBins {
  float first_m = 1, step_m = 1;
  int64_t count = 58;
};

// What a camera's geometry says about the depths of its feature pixels, [C,3,h,w] f32: sine of the
// ray's angle above the horizon of the ego frame, cosine of its angle to the optical axis, and
// image width over focal length. Zeros for a missing camera. Throws Error as MakeLiftPlan does.
at::Tensor ViewRays(const CameraRig& cameras, const PvGrid& pv);

// ---- Camera PV -> BEV: lift-splat (Philion & Fidler 2020) with interval pooling (BEVFusion, Liu
// et al. 2023).

struct LiftPlan {
  int64_t rows = 0, columns = 0;
  int64_t slices = 0;  // of the height of the grid's range, all alike
  BevLinks links;      // cells [rows,columns,slices]

  LiftPlan To(const c10::Device& device) const;
};

// What falls outside the grid's range is left out. Throws Error, with the camera's number, for
// calibrations that are not finite, not rigid or no pinhole, and for sizes below one.
// O(C h w D); a few milliseconds for 200,000 points of rays.
LiftPlan MakeLiftPlan(const CameraRig& cameras, const PvGrid& pv, const DepthBins& bins,
                      const BevGrid& grid, int64_t slices);

// In each cell the sum of probability times feature over the points of rays that fall into it.
//   features [C,F,h,w] f32 or bf16
//   depth [C,D,h,w] f32 or bf16: of each pixel, the probabilities of its bins
// Returns [slices*F,rows,columns] in the type of the features: channel s F + f is feature f in
// slice s, the lowest first. In memory the channels lie together, as a channels-last convolution
// wants them. Differentiable in both. Throws Error for shapes other than those of the plan.
at::Tensor LiftToBev(const at::Tensor& features, const at::Tensor& depth, const LiftPlan& plan);

// ---- LiDAR BEV -> PV.

// The voxels of the columns above BEV cells that hold points. By cell, then by height.
struct OccupiedColumns {
  at::Tensor cells;  // [V] i32, row * columns + column
  at::Tensor z_m;    // [V] f32, ego frame
};

// points [N,3 or more] f32, x, y, z first, on the CPU. Voxels are z_step_m high, from the bottom of
// the grid's range, and stand for their centres. Points that are out of range or not finite are
// left out. Throws Error for other tensors and for a grid of no or of 2^31 voxels.
OccupiedColumns FindOccupiedColumns(const at::Tensor& points, const BevGrid& grid, float z_step_m);

struct PvPlan {
  int64_t rows = 0, columns = 0;
  BevLinks links;    // of each pixel at most one cell [rows,columns]
  at::Tensor depth;  // [C,h,w] f32, metres along z of the camera; 0 = nothing there

  PvPlan To(const c10::Device& device) const;
};

// Every voxel, at the (x, y) centre of its cell and at its own z, is projected into every camera;
// its cell goes to the feature pixel that it hits. Where several do, the nearest one stays; of
// equally near ones, that of the lower cell. What is nearer than 0.1 m, behind the camera or
// beside the image is left out. Throws Error as MakeLiftPlan does, and for cells off the grid.
PvPlan MakePvPlan(const CameraRig& cameras, const PvGrid& pv, const BevGrid& grid,
                  const OccupiedColumns& occupied);

// The nearest of `points` (as for FindOccupiedColumns, of any range) in each feature pixel.
struct NearestPoints {
  at::Tensor index;  // [C,h,w] i64, -1 = no point there; of equally near ones the first
  at::Tensor depth;  // [C,h,w] f32, metres along z of the camera; 0 = no point there
};
// Throws Error as MakePvPlan does.
NearestPoints FindNearestPoints(const CameraRig& cameras, const PvGrid& pv,
                                const at::Tensor& points);

// bev [F,rows,columns] f32 or bf16, read without a copy where its channels lie together, to
// [C,F,h,w] of the same type, channels-last: each pixel has the feature of its cell, or zeros.
// Differentiable.
at::Tensor ProjectToPv(const at::Tensor& bev, const PvPlan& plan);

}  // namespace athanor
