// Photographs with known cameras and poses: what every reader of a capture format returns.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "athanor/geometry/camera.h"
#include "athanor/geometry/rigid3.h"

namespace athanor {

struct ColoredPoint {
  float position[3];  // world frame
  uint8_t color[3];   // sRGB
};

// Which images the capture itself holds out.
enum class GivenSplit {
  kNone,        // it does not say
  kTrain,       //
  kValidation,  // neither trained on nor counted in the test, when there is a test
  kTest,        //
};

struct PosedImage {
  std::string name;                  // as in the capture; unique ("0001.jpg", "left/0001.png")
  std::filesystem::path image_path;  // PNG or JPEG
  std::filesystem::path mask_path;   // grey, 0 = ignore; empty when there is none
  std::filesystem::path depth_path;  // 16-bit PNG; empty when there is none
  int camera = 0;                    // index into PosedImages::cameras
  Rigid3 camera_from_world;
  GivenSplit split = GivenSplit::kNone;
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
//   ScanNet     color/, pose/, intrinsic/ as its exporter writes them
// COLMAP comes first when a folder has both. The photographs are looked for where the format says,
// or under `images_folder` when one is given (images_4: cameras are scaled to the photographs).
// Throws Error (file, record, expectation).
PosedImages ReadPosedImages(const std::filesystem::path& path,
                            const std::filesystem::path& images_folder = {});

// What every reader does last: sorts the images by name and fits each camera to the size of its
// first photograph, when that is the camera's at another scale. Throws Error, naming the source,
// for no image, two of one name, or a photograph of another shape than its camera.
void FinishPosedImages(PosedImages& posed);

// `count` points of random colours, uniform in the cube around the box that the camera centres
// span, as wide as the longest side of that box: where to start when a capture has no points. Same
// seed, same points. Throws Error when all cameras stand on one spot.
std::vector<ColoredPoint> RandomPoints(const PosedImages& posed, int64_t count, uint64_t seed = 0);

struct Split {
  std::vector<int> train;  // indices into PosedImages::images
  std::vector<int> test;
};

// Every `test_every`-th image, beginning with the first, is held out; 0 holds out none.
Split SplitEvery(const PosedImages& posed, int test_every = 8);
// The images whose names stand in `list_path`, one per line, are held out. Throws Error for a name
// that no image has.
Split SplitByList(const PosedImages& posed, const std::filesystem::path& list_path);
// The capture's own split; none when it has none. Held out are its test images, or its validation
// images when it has no others. Images of no split are trained on only when none is named for it.
std::optional<Split> SplitAsGiven(const PosedImages& posed);

}  // namespace athanor
