#include "athanor/detection/profusion3d/augmentation.h"

#include <Eigen/Geometry>
#include <algorithm>
#include <cmath>
#include <cstring>

#include "athanor/base/error.h"
#include "athanor/detection/profusion3d/plain_tensor.h"

namespace athanor {
namespace {

using RowMatrix4f = Eigen::Matrix<float, 4, 4, Eigen::RowMajor>;

void Check(const AugmentationOptions& o) {
  const auto is_share = [](double p) { return p >= 0 && p <= 1; };
  ATHANOR_CHECK(is_share(o.flip_probability) && is_share(o.mirror_probability) &&
                    is_share(o.drop_camera) && is_share(o.drop_pictures) &&
                    is_share(o.drop_points) && o.drop_pictures + o.drop_points <= 1,
                "augmentation: expected probabilities from 0 to 1, of pictures and points dropped "
                "at most 1 together");
  ATHANOR_CHECK(
      o.min_scale > 0 && o.min_scale <= o.max_scale && o.min_zoom > 0 && o.min_zoom <= o.max_zoom,
      "augmentation: expected 0 < least <= most as scale and zoom, found scale ", o.min_scale,
      " to ", o.max_scale, ", zoom ", o.min_zoom, " to ", o.max_zoom);
}

// Turns, saturates and scales colours. Hue turns about the grey axis.
Eigen::Matrix3f ColorMatrix(const Augmentation::Picture& picture) {
  const Eigen::Vector3f grey = Eigen::Vector3f::Constant(1 / std::sqrt(3.0f));
  const Eigen::Matrix3f hue = Eigen::AngleAxisf(picture.hue_rad, grey).toRotationMatrix();
  const Eigen::RowVector3f luma(0.299f, 0.587f, 0.114f);
  const Eigen::Matrix3f saturation = picture.saturation * Eigen::Matrix3f::Identity() +
                                     (1 - picture.saturation) * Eigen::Vector3f::Ones() * luma;
  return picture.brightness * picture.contrast * saturation * hue;
}

}  // namespace

AugmentationOptions NoAugmentation() {
  AugmentationOptions none;
  none.flip_probability = none.max_rotation_rad = none.translation_sigma_m = 0;
  none.min_scale = none.max_scale = none.min_zoom = none.max_zoom = 1;
  none.brightness = none.contrast = none.saturation = none.max_hue_rad = 0;
  none.drop_pictures = none.drop_points = none.drop_camera = 0;
  return none;
}

std::vector<ImageWindow> Augmentation::Windows() const {
  std::vector<ImageWindow> windows;
  for (const Picture& picture : pictures) windows.push_back(picture.window);
  return windows;
}

Augmentation DrawAugmentation(const Log& log, const FrameSampleOptions& sample_options,
                              const AugmentationOptions& options, Random* random) {
  Check(options);
  const auto happens = [&](double probability) { return random->Uniform() < probability; };
  const auto between = [&](double low, double high) {
    return low + (high - low) * random->Uniform();
  };
  const auto around_one = [&](double reach) {
    return static_cast<float>(between(1 - reach, 1 + reach));
  };
  Augmentation drawn;
  drawn.flips_x = happens(options.flip_probability);
  drawn.flips_y = happens(options.flip_probability);
  drawn.rotation_rad = between(-options.max_rotation_rad, options.max_rotation_rad);
  drawn.scale = between(options.min_scale, options.max_scale);
  for (int axis = 0; axis < 3; ++axis) {
    drawn.translation_m[axis] = options.translation_sigma_m * random->Normal();
  }
  const float sensors = random->Uniform();
  drawn.drops_pictures = sensors < options.drop_pictures;
  drawn.drops_points =
      !drawn.drops_pictures && sensors < options.drop_pictures + options.drop_points;
  for (const int camera : CamerasOf(log)) {
    Augmentation::Picture picture;
    const double zoom = between(options.min_zoom, options.max_zoom);
    const float along = random->Uniform();
    picture.window = FitWindow(PinholeOf(log.sensors[camera].camera), sample_options, zoom);
    const int slack = picture.window.scaled_width_px - sample_options.width_px;
    // What is wider than the network at zoom 1 is cut in the middle when nothing is to be random.
    if (options.min_zoom < options.max_zoom) {
      picture.window.left_px = static_cast<int>(std::lround(slack * along));
    }
    picture.window.is_mirrored = drawn.IsMirrored() != happens(options.mirror_probability);
    picture.brightness = around_one(options.brightness);
    picture.contrast = around_one(options.contrast);
    picture.saturation = around_one(options.saturation);
    picture.hue_rad = static_cast<float>(between(-options.max_hue_rad, options.max_hue_rad));
    picture.is_dropped = happens(options.drop_camera);
    drawn.pictures.push_back(picture);
  }
  return drawn;
}

void TransformWorld(const Augmentation& augmentation, DetectionSample* sample) {
  sample->world_scale *= static_cast<float>(augmentation.scale);
  Eigen::Matrix3d rotation =
      Eigen::AngleAxisd(augmentation.rotation_rad, Eigen::Vector3d::UnitZ()).toRotationMatrix();
  if (augmentation.flips_x) rotation.col(0) *= -1;
  if (augmentation.flips_y) rotation.col(1) *= -1;
  const double scale = augmentation.scale;
  const Eigen::Matrix3f linear = (scale * rotation).cast<float>();
  const Eigen::Vector3f shift = augmentation.translation_m.cast<float>();

  sample->points = PlainCopy(sample->points);
  float* point = sample->points.data_ptr<float>();
  for (int64_t i = 0; i < sample->points.size(0); ++i, point += kPointColumns) {
    const Eigen::Vector3f moved = linear * Eigen::Vector3f(point[0], point[1], point[2]) + shift;
    std::copy(moved.data(), moved.data() + 3, point);
  }

  sample->boxes = PlainCopy(sample->boxes);
  float* box = sample->boxes.data_ptr<float>();
  for (int64_t i = 0; i < sample->boxes.size(0); ++i, box += kBoxColumns) {
    const Eigen::Vector3f center = linear * Eigen::Vector3f(box[0], box[1], box[2]) + shift;
    std::copy(center.data(), center.data() + 3, box);
    for (int k = 3; k < 6; ++k) box[k] *= static_cast<float>(scale);
    const Eigen::Vector3f heading = linear * Eigen::Vector3f(std::cos(box[6]), std::sin(box[6]), 0);
    box[6] = std::atan2(heading.y(), heading.x());
    // NaN stays NaN.
    const Eigen::Vector2f velocity = linear.topLeftCorner<2, 2>() * Eigen::Vector2f(box[7], box[8]);
    box[7] = velocity.x(), box[8] = velocity.y();
  }

  sample->camera_from_ego = PlainCopy(sample->camera_from_ego);
  for (int64_t c = 0; c < sample->camera_from_ego.size(0); ++c) {
    Eigen::Map<RowMatrix4f> matrix(sample->camera_from_ego.data_ptr<float>() + c * 16);
    const Eigen::Matrix4d before = matrix.cast<double>();
    const Eigen::Matrix3d turned = before.topLeftCorner<3, 3>() * rotation.transpose();
    matrix.topLeftCorner<3, 3>() = turned.cast<float>();
    matrix.topRightCorner<3, 1>() =
        (scale * before.topRightCorner<3, 1>() - turned * augmentation.translation_m).cast<float>();
  }
}

void ChangeColors(const Augmentation& augmentation, DetectionSample* sample) {
  sample->images = PlainCopy(sample->images);
  const int64_t pixels = sample->images.size(2) * sample->images.size(3);
  const auto count =
      std::min<int64_t>(sample->images.size(0), static_cast<int64_t>(augmentation.pictures.size()));
  for (int64_t c = 0; c < count; ++c) {
    const Augmentation::Picture& picture = augmentation.pictures[c];
    const Eigen::Matrix3f m = ColorMatrix(picture);
    // Contrast is about the middle grey.
    const float offset = 127.5f * picture.brightness * (1 - picture.contrast) + 0.5f;
    const float m00 = m(0, 0), m01 = m(0, 1), m02 = m(0, 2), m10 = m(1, 0), m11 = m(1, 1),
                m12 = m(1, 2), m20 = m(2, 0), m21 = m(2, 1), m22 = m(2, 2);
    uint8_t* red = sample->images.data_ptr<uint8_t>() + c * 3 * pixels;
    uint8_t* green = red + pixels;
    uint8_t* blue = green + pixels;
    const auto to_byte = [](float value) {
      return static_cast<uint8_t>(static_cast<int>(std::min(std::max(value, 0.0f), 255.0f)));
    };
    for (int64_t i = 0; i < pixels; ++i) {
      const float r = red[i], g = green[i], b = blue[i];
      const auto is_there =
          static_cast<uint8_t>(-static_cast<int>((red[i] | green[i] | blue[i]) != 0));
      red[i] = is_there & to_byte(m00 * r + m01 * g + m02 * b + offset);
      green[i] = is_there & to_byte(m10 * r + m11 * g + m12 * b + offset);
      blue[i] = is_there & to_byte(m20 * r + m21 * g + m22 * b + offset);
    }
  }
}

void DropSensors(const Augmentation& augmentation, DetectionSample* sample) {
  if (augmentation.drops_points) {
    sample->depth_points = sample->points;
    sample->points = at::empty({0, kPointColumns}, at::kFloat);
    sample->has_lidar = false;
  }
  sample->images = PlainCopy(sample->images);
  sample->has_camera = PlainCopy(sample->has_camera);
  const int64_t bytes = sample->images.size(1) * sample->images.size(2) * sample->images.size(3);
  for (int64_t c = 0; c < sample->images.size(0); ++c) {
    const bool is_dropped =
        augmentation.drops_pictures || (c < static_cast<int64_t>(augmentation.pictures.size()) &&
                                        augmentation.pictures[c].is_dropped);
    if (!is_dropped) continue;
    std::memset(sample->images.data_ptr<uint8_t>() + c * bytes, 0, bytes);
    sample->has_camera.data_ptr<uint8_t>()[c] = 0;
  }
}

}  // namespace athanor
