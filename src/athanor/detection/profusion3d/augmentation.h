// Random changes of a training sample, the same for all of its sensors: a point lands on the same
// spot of the same picture before and after.
//
// World and pictures: Liu et al., "BEVFusion", ICRA 2023; Zhou and Tuzel, "VoxelNet", CVPR 2018.
// Sensor dropout: Yan et al., "Cross Modal Transformer", ICCV 2023.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <numbers>
#include <vector>

#include "athanor/base/random.h"
#include "athanor/detection/profusion3d/frame_sample.h"

namespace athanor {

struct AugmentationOptions {
  // The world: flipped, turned about z, scaled and moved, in this order.
  double flip_probability = 0.5;  // along x, and along y
  double max_rotation_rad = std::numbers::pi / 4;
  double min_scale = 0.9, max_scale = 1.1;
  double translation_sigma_m = 0.5;  // along each axis
  // Pictures: the window of FitWindow at a zoom, anywhere along the width. 0.87 to 1.25 is 0.38 to
  // 0.55 of 1600x900 for 704x256.
  double min_zoom = 0.87, max_zoom = 1.25;
  double mirror_probability = 0;  // of one picture alone; see DrawAugmentation
  // Colours of each picture: brightness and contrast are factors within 1 +- this, so is
  // saturation; hue turns within +- this.
  double brightness = 0.2, contrast = 0.2, saturation = 0.3, max_hue_rad = 0.1;
  // Sensors: all pictures or all points are taken away, never both; then single cameras.
  double drop_pictures = 0.25, drop_points = 0.25;
  double drop_camera = 0.05;
};

// Nothing is changed, but no sensor either: the last epochs, and tests.
AugmentationOptions NoAugmentation();

// What was drawn for one sample.
struct Augmentation {
  bool flips_x = false, flips_y = false;  // x becomes -x, y becomes -y
  double rotation_rad = 0;
  double scale = 1;
  Eigen::Vector3d translation_m = Eigen::Vector3d::Zero();
  struct Picture {
    ImageWindow window;
    float brightness = 1, contrast = 1, saturation = 1, hue_rad = 0;
    bool is_dropped = false;
  };
  std::vector<Picture> pictures;  // one for each of CamerasOf(log)
  bool drops_pictures = false, drops_points = false;

  bool IsMirrored() const { return flips_x != flips_y; }
  std::vector<ImageWindow> Windows() const;
};

// When the world is mirrored, so is every picture: a mirrored scene, seen by mirrored cameras, is a
// scene like any other, and camera_from_ego stays a rotation and a shift with positive focal
// lengths. What the front left camera showed is then on the right; cameras keep their index. Only
// pictures mirrored by themselves (mirror_probability) make a camera_from_ego with a reflection.
Augmentation DrawAugmentation(const Log& log, const FrameSampleOptions& sample_options,
                              const AugmentationOptions& options, Random* random);

// Points, boxes, velocities and camera_from_ego of a sample that was read with the windows drawn.
// Depths along a camera's view scale with the world, so that camera_from_ego stays rigid.
void TransformWorld(const Augmentation& augmentation, DetectionSample* sample);

// Pixels that are black stay black: there is nothing there.
void ChangeColors(const Augmentation& augmentation, DetectionSample* sample);

// Takes sensors away: black pictures and no points, with their flags at 0. Depths of pixels are
// still known.
void DropSensors(const Augmentation& augmentation, DetectionSample* sample);

}  // namespace athanor
