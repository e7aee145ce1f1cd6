// How large the detector is, and what it leaves out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "athanor/base/options.h"
#include "athanor/detection/profusion3d/bev_grid.h"
#include "athanor/nn/swin_transformer.h"

namespace athanor {

// The shape of a network: a file of weights fits one of these only.
struct DetectorOptions {
  // What it sees.
  int image_width_px = 704, image_height_px = 256;
  int sweeps = 1;                // LiDAR sweeps that are merged
  float range_m = 51.2f;         // x and y reach from minus this to this
  float low_m = -5, high_m = 3;  // z
  float voxel_m = 0.1f, voxel_height_m = 0.2f;
  bool use_lidar = true, use_cameras = true;

  // Encoders. Lists are numbers with commas.
  int64_t width = 64;                          // of all maps and queries
  std::string lidar_channels = "16,32,64,64";  // per stage; a cell is 2^(stages - 1) voxels
  int lidar_blocks = 1, bev_layers = 2;
  std::string camera_backbone = "conv";             // or "swin": which of the following count
  std::string camera_channels = "16,32,64,96,128";  // at strides 2, 4, 8 ...
  std::string camera_blocks = "0,1,2,2,1";
  int64_t swin_embed = 96;  // Swin-T, of patches of 4 pixels: strides 4, 8, 16, 32
  std::string swin_depths = "2,2,6,2", swin_heads = "3,6,12,24";
  int swin_window = 7;
  int camera_stride = 16;

  // Camera views to bird's-eye view.
  float depth_low_m = 1, depth_high_m = 57;
  int depths = 56;
  int slices = 2;  // of height
  int64_t lift_width = 32;

  // Fusion.
  std::string fusion = "full";
  bool fuse_pv = true;  // else camera views are the decoder's as they are
  int window = 8, heads = 4;

  // Decoder.
  // The decoder looks at means of so many by so many cells of the bird's-eye view.
  int bev_pool = 2;
  int64_t queries = 150;
  // Of the queries, those that begin at peaks of a heat map (heat_map.h); 0: all at learnt places,
  // as in the paper.
  int64_t proposals = 150;
  int64_t decoder_hidden = 128;
  int view_layers = 2, joint_layers = 2;
  bool view_agnostic = false;

  BevGrid Grid() const;
  std::vector<int64_t> LidarChannels() const;
  std::vector<int64_t> CameraChannels() const;
  std::vector<int> CameraBlocks() const;
  SwinOptions Swin() const;
};

// Throws Error in Grid() and the lists for values that do not fit together.
OptionList Describe(DetectorOptions& options);

}  // namespace athanor
