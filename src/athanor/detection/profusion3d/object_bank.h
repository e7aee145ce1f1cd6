// Objects cut out of training frames, to be pasted into others: points of the LiDAR and patches of
// the pictures.
//
//   Y. Yan, Y. Mao, B. Li, "SECOND: Sparsely Embedded Convolutional Detection", Sensors 2018
//   C. Wang et al., "PointAugmenting: Cross-Modal Augmentation for 3D Object Detection", CVPR 2021
#pragma once

#include <Eigen/Core>
#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "athanor/base/files.h"
#include "athanor/detection/evaluation/mapped_file.h"
#include "athanor/detection/profusion3d/sample.h"
#include "athanor/media/image.h"

namespace athanor {

// A camera of a sample, apart from its picture.
struct SampleCamera {
  std::array<float, 12> camera_from_ego;  // [3,4]
  std::array<float, 4> fx_fy_cx_cy;
};
SampleCamera CameraOf(const DetectionSample& sample, int64_t camera);

// What one camera saw of an object: the smallest upright rectangle of pixels around its box.
struct ObjectPatch {
  SampleCamera camera;
  int left_px = 0, top_px = 0;
  Image image;
};

struct BankObject {
  int label = 0;
  int attribute = -1;                       // as in DetectionSample::attributes
  std::array<float, kBoxColumns> box = {};  // a row of DetectionSample::boxes
  std::vector<float> points;                // [N,5], rows of DetectionSample::points
  std::vector<ObjectPatch> patches;
};

// The outline of a box in a camera: points on its edges, pixels, as far as they lie before it. The
// camera may be mirrored.
std::vector<Eigen::Vector2d> OutlineOf(const std::array<float, kBoxColumns>& box,
                                       const SampleCamera& camera);

struct BankOptions {
  int min_points = 5;
  // Nearer ones fill pictures and stand beside the car itself.
  float min_distance_m = 2;
  int min_patch_px = 4;  // patches of less in width or height are left out
};

// FILE: "ATHOBANK", u32 version, u32 columns of points; then objects, each packed; then an index
// with offset, size and class of each; then its offset, the number of objects, "ATHOBANK".
// Little-endian. Patches are JPEGs.
class ObjectBankWriter {
 public:
  // FILE appears when Finish() is reached.
  explicit ObjectBankWriter(const std::filesystem::path& path, const BankOptions& options = {});

  // Adds the objects of a training frame that nothing has augmented (MakeFrameSample). Returns how
  // many.
  int AddFrame(const DetectionSample& sample);
  // Throws Error when no object was added.
  void Finish();

 private:
  struct Entry {
    uint64_t offset;
    uint32_t size;
    uint32_t label;
  };
  std::filesystem::path path_;
  BankOptions options_;
  FileWriter file_;
  uint64_t written_ = 0;
  std::vector<Entry> entries_;
};

// Objects are read from the file as they are needed. Const use is thread-safe.
class ObjectBank {
 public:
  // Throws Error (path, byte) for a file that is no bank, of another version, or damaged.
  explicit ObjectBank(const std::filesystem::path& path);

  int64_t count(int label) const { return static_cast<int64_t>(entries_.at(label).size()); }
  // Throws Error for a damaged object.
  BankObject Read(int label, int64_t index) const;

 private:
  struct Entry {
    uint64_t offset;
    uint32_t size;
  };
  std::string name_;
  MappedFile file_;
  std::array<std::vector<Entry>, kNumDetectionClasses> entries_;
};

}  // namespace athanor
