// Photographs with known cameras and poses: what every reader of a capture format returns.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "athanor/geometry/camera.h"
#include "athanor/geometry/rigid3.h"

namespace athanor {

struct ColoredPoint {
  float position[3];  // world frame
  uint8_t color[3];   // sRGB
};

struct PosedImage {
  std::string name;                  // as in the capture; unique ("0001.jpg", "left/0001.png")
  std::filesystem::path image_path;  // PNG or JPEG
  std::filesystem::path mask_path;   // grey, 0 = ignore; empty when there is none
  std::filesystem::path depth_path;  // 16-bit PNG; empty when there is none
  int camera = 0;                    // index into PosedImages::cameras
  Rigid3 camera_from_world;
};

struct PosedImages {
  std::string source;  // the path it was read from, for messages
  std::vector<Camera> cameras;
  std::vector<PosedImage> images;    // sorted by name
  std::vector<ColoredPoint> points;  // empty when the capture has none
  double depth_unit_m = 0.001;       // metres (scene units) per step of the depth PNGs
};

// Reads a folder or file, telling the format by content:
//   COLMAP      sparse/0, sparse or the folder itself holds cameras/images/points3D .bin or .txt
//   nerfstudio, instant-ngp   transforms.json
//   Blender     transforms_train.json (and _test, _val)
// COLMAP comes first when a folder has both. Throws Error (file, record, expectation).
PosedImages ReadPosedImages(const std::filesystem::path& path);

struct Split {
  std::vector<int> train;  // indices into PosedImages::images
  std::vector<int> test;
};

// Every `test_every`-th image, beginning with the first, is held out; 0 holds out none.
Split SplitEvery(const PosedImages& posed, int test_every = 8);
// The images whose names stand in `list_path`, one per line, are held out. Throws Error for a name
// that no image has.
Split SplitByList(const PosedImages& posed, const std::filesystem::path& list_path);

}  // namespace athanor
