#include "athanor/detection/profusion3d/detector_options.h"

#include <charconv>
#include <cmath>

#include "athanor/base/error.h"

namespace athanor {
namespace {

std::vector<int64_t> ReadList(const std::string& text, const char* what, int64_t least) {
  std::vector<int64_t> numbers;
  const char *at = text.data(), *end = at + text.size();
  while (at < end) {
    int64_t number = 0;
    const auto [rest, error] = std::from_chars(at, end, number);
    ATHANOR_CHECK(error == std::errc() && number >= least && (rest == end || *rest == ','), what,
                  ": expected numbers from ", least, " on with commas between, found '", text, "'");
    numbers.push_back(number);
    at = rest + 1;
  }
  ATHANOR_CHECK(!numbers.empty(), what, ": expected numbers with commas between, found none");
  return numbers;
}

}  // namespace

BevGrid DetectorOptions::Grid() const {
  const auto factor = static_cast<float>(int64_t{1} << (LidarChannels().size() - 1));
  BevGrid grid;
  grid.range_m = {-range_m, -range_m, low_m, range_m, range_m, high_m};
  grid.cell_m = factor * voxel_m;
  const double cells = 2.0 * range_m / grid.cell_m;
  ATHANOR_CHECK(low_m < high_m, "detector: expected low below high, found ", low_m, " and ",
                high_m);
  ATHANOR_CHECK(std::abs(cells - std::round(cells)) < 1e-3, "detector: expected a range of whole ",
                "cells of ", grid.cell_m, " m (voxel times 2^(stages - 1)), found ", range_m);
  return grid;
}

std::vector<int64_t> DetectorOptions::LidarChannels() const {
  return ReadList(lidar_channels, "lidar-channels", 1);
}

std::vector<int64_t> DetectorOptions::CameraChannels() const {
  return ReadList(camera_channels, "camera-channels", 1);
}

std::vector<int> DetectorOptions::CameraBlocks() const {
  const std::vector<int64_t> blocks = ReadList(camera_blocks, "camera-blocks", 0);
  return {blocks.begin(), blocks.end()};
}

SwinOptions DetectorOptions::Swin() const {
  const std::vector<int64_t> depths = ReadList(swin_depths, "swin-depths", 1);
  const std::vector<int64_t> heads = ReadList(swin_heads, "swin-heads", 1);
  SwinOptions swin;
  swin.embed = swin_embed;
  swin.depths = {depths.begin(), depths.end()};
  swin.heads = {heads.begin(), heads.end()};
  swin.window = swin_window;
  return swin;
}

OptionList Describe(DetectorOptions& o) {
  OptionList list;
  list.Add("image-width", &o.image_width_px, "of pictures as the network sees them, pixels",
           {.min = 32, .max = 4096});
  list.Add("image-height", &o.image_height_px, "of pictures as the network sees them, pixels",
           {.min = 32, .max = 4096});
  list.Add("sweeps", &o.sweeps, "LiDAR sweeps that are merged, the key sweep and those before it",
           {.min = 1, .max = 20});
  list.Add("range", &o.range_m, "x and y of what is seen reach from minus this to this, metres",
           {.min = 1, .max = 500});
  list.Add("low", &o.low_m, "lowest z, metres over the ego frame's origin",
           {.min = -100, .max = 100});
  list.Add("high", &o.high_m, "highest z", {.min = -100, .max = 100});
  list.Add("voxel", &o.voxel_m, "sides of a voxel in x and y, metres", {.min = 0.01, .max = 10});
  list.Add("voxel-height", &o.voxel_height_m, "height of a voxel, metres",
           {.min = 0.01, .max = 10});
  list.Add("lidar", &o.use_lidar, "look at the LiDAR");
  list.Add("cameras", &o.use_cameras, "look at the cameras");
  list.Add("width", &o.width, "channels of maps and queries", {.min = 8, .max = 4096});
  list.Add("lidar-channels", &o.lidar_channels,
           "of the sparse network, per stage; each but the first halves the resolution");
  list.Add("lidar-blocks", &o.lidar_blocks, "residual blocks per stage", {.min = 0, .max = 16});
  list.Add("bev-layers", &o.bev_layers, "dense convolutions of the LiDAR's map",
           {.min = 0, .max = 32});
  list.Add("camera-backbone", &o.camera_backbone,
           "the camera network: a residual network of convolutions, or a Swin Transformer",
           {.choices = {"conv", "swin"}});
  list.Add("camera-channels", &o.camera_channels, "conv: channels at strides 2, 4, 8 ...");
  list.Add("camera-blocks", &o.camera_blocks, "conv: residual blocks at each stride");
  list.Add("swin-embed", &o.swin_embed, "swin: channels at stride 4; they double at 8, 16 ...",
           {.min = 4, .max = 1024});
  list.Add("swin-depths", &o.swin_depths, "swin: blocks at strides 4, 8, 16 ...");
  list.Add("swin-heads", &o.swin_heads, "swin: heads of attention at each stride");
  list.Add("swin-window", &o.swin_window, "swin: side of the windows of attention",
           {.min = 2, .max = 16});
  list.Add("camera-stride", &o.camera_stride, "of the cameras' maps, pixels",
           {.min = 2, .max = 64});
  list.Add("depth-low", &o.depth_low_m, "nearest depth that a camera pixel may have, metres",
           {.min = 0.1, .max = 1000});
  list.Add("depth-high", &o.depth_high_m, "farthest depth", {.min = 0.2, .max = 1000});
  list.Add("depths", &o.depths, "how many depths between", {.min = 1, .max = 1024});
  list.Add("slices", &o.slices, "of height, in what cameras give to the bird's-eye view",
           {.min = 1, .max = 64});
  list.Add("lift-width", &o.lift_width, "channels of what cameras give to the bird's-eye view",
           {.min = 1, .max = 1024});
  list.Add("fusion", &o.fusion, "how the two sensors' maps of a view meet (the paper's ablation)",
           {.choices = {"full", "unit", "windows", "self_cross", "concat"}});
  list.Add("fuse-pv", &o.fuse_pv, "fuse in the camera views too, not in the bird's-eye view alone");
  list.Add("window", &o.window, "side of the windows of attention", {.min = 2, .max = 16});
  list.Add("heads", &o.heads, "of attention", {.min = 1, .max = 64});
  list.Add("bev-pool", &o.bev_pool,
           "the decoder looks at means of so many by so many cells of the bird's-eye view",
           {.min = 1, .max = 16});
  list.Add("queries", &o.queries, "objects that can be found, at most", {.min = 1, .max = 10000});
  list.Add(
      "proposals", &o.proposals,
      "of them, those that begin where a heat map has its peaks; 0: all begin at learnt places, "
      "as in the paper",
      {.min = 0, .max = 10000});
  list.Add("decoder-hidden", &o.decoder_hidden, "width of the decoder's perceptrons",
           {.min = 8, .max = 16384});
  list.Add("view-layers", &o.view_layers, "decoder layers of each view", {.min = 0, .max = 16});
  list.Add("joint-layers", &o.joint_layers, "decoder layers of both views", {.min = 1, .max = 16});
  list.Add("view-agnostic", &o.view_agnostic,
           "one decoder that sees both views at once (the paper's ablation)");
  return list;
}

}  // namespace athanor
