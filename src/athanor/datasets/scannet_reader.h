// ScanNet: indoor scans with colour, depth and poses, and labelled points.
//
// Format: github.com/ScanNet/ScanNet (Dai et al. 2017, "ScanNet: Richly-annotated 3D
// Reconstructions of Indoor Scenes"): the folder that its exporter writes (color/N.jpg,
// depth/N.png, pose/N.txt, intrinsic/intrinsic_color.txt), the container .sens that it reads, the
// meshes *_vh_clean_2.ply and *_vh_clean_2.labels.ply, label images and the table of labels.
#pragma once

#include <Eigen/Core>
#include <array>
#include <cstdint>
#include <filesystem>
#include <istream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/datasets/posed_images.h"
#include "athanor/media/image.h"

namespace athanor {

// True for a folder with color/, pose/ and intrinsic/.
bool IsScanNetFolder(const std::filesystem::path& folder);

// The exported folder. Images without a pose (-inf) are left out. Depth is along z, in millimetres,
// and may be of another size than the photographs. Points are those of *_vh_clean_2.ply, when it is
// there. Half a pixel is added to the principal point, which counts from the centre of the first.
// Throws Error (file, expectation).
PosedImages ReadScanNet(const std::filesystem::path& folder,
                        const std::filesystem::path& images_folder = {});

struct ScanNetPoints {
  std::vector<ColoredPoint> points;
  std::vector<int> labels;  // [points] NYU40 ids, 0 = unlabelled; empty without *.labels.ply
};
// The mesh's points of a scan's folder. Throws Error when there is no *_vh_clean_2.ply, or the
// labels are of another number.
ScanNetPoints ReadScanNetPoints(const std::filesystem::path& folder);

// A row of scannetv2-labels.combined.tsv.
struct ScanNetLabel {
  int id = 0;                // in label images
  std::string raw_category;  // what people wrote
  std::string category;
  int nyu40_id = 0;  // 0: none
  std::string nyu40_class;
};
std::vector<ScanNetLabel> ParseScanNetLabels(std::string_view text, std::string_view name);
std::vector<ScanNetLabel> ReadScanNetLabels(const std::filesystem::path& path);

// A label image (label-filt/N.png: 16-bit PNG of ids) as NYU40 ids. Throws Error for an id that the
// table lacks; 0 stays 0.
DepthImage ReadScanNetLabelImage(const std::filesystem::path& path,
                                 const std::vector<ScanNetLabel>& table);

// The 20 classes of ScanNet's benchmark.
struct ScanNetClass {
  int nyu40_id;
  std::string_view name;
};
inline constexpr std::array<ScanNetClass, 20> kScanNetClasses = {
    {{1, "wall"},    {2, "floor"},      {3, "cabinet"},       {4, "bed"},
     {5, "chair"},   {6, "sofa"},       {7, "table"},         {8, "door"},
     {9, "window"},  {10, "bookshelf"}, {11, "picture"},      {12, "counter"},
     {14, "desk"},   {16, "curtain"},   {24, "refrigerator"}, {28, "shower curtain"},
     {33, "toilet"}, {34, "sink"},      {36, "bathtub"},      {39, "other furniture"}}};

// A .sens container, version 4. Frames are read from the stream one by one, so files of many
// gigabytes are fine; not to be used by two threads at once.
class ScanNetSens {
 public:
  struct Frame {
    std::optional<Rigid3> world_from_camera;  // none where tracking was lost
    uint64_t color_time_us = 0, depth_time_us = 0;
    uint64_t color_offset = 0, color_bytes = 0, depth_bytes = 0;  // depth follows colour
  };

  // Read the header and where the frames lie. Throw Error (path, byte, expectation).
  explicit ScanNetSens(const std::filesystem::path& path);
  ScanNetSens(std::unique_ptr<std::istream> stream, std::string name);

  const std::string& sensor_name() const { return sensor_name_; }
  // Row-major in the file; 4 x 4 with the camera matrix in the upper left.
  const Eigen::Matrix4f& intrinsic_color() const { return matrices_[0]; }
  const Eigen::Matrix4f& intrinsic_depth() const { return matrices_[2]; }
  ImageSize color_size() const { return color_size_; }
  ImageSize depth_size() const { return depth_size_; }
  // Steps of depth per metre (1000).
  float depth_shift() const { return depth_shift_; }
  const std::vector<Frame>& frames() const { return frames_; }

  // The JPEG or PNG of a frame as it is stored.
  std::string ReadColorBytes(int64_t frame) const;
  Image ReadColor(int64_t frame) const;
  DepthImage ReadDepth(int64_t frame) const;

  // Writes every `every`-th frame as ScanNet's own exporter does, so that ReadScanNet reads them.
  void Export(const std::filesystem::path& folder, int every = 1) const;

 private:
  void ReadIndex();
  std::string ReadBytes(uint64_t offset, uint64_t count) const;
  const Frame& At(int64_t frame) const;

  std::unique_ptr<std::istream> stream_;
  std::string name_;
  uint64_t file_bytes_ = 0;
  std::string sensor_name_;
  std::array<Eigen::Matrix4f, 4> matrices_;  // colour: intrinsic, extrinsic; depth: the same
  int32_t color_compression_ = 0, depth_compression_ = 0;
  ImageSize color_size_, depth_size_;
  float depth_shift_ = 1000;
  std::vector<Frame> frames_;
};

}  // namespace athanor
