#include "athanor/datasets/synthetic_scene.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <sstream>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/parallel.h"
#include "athanor/base/random.h"
#include "athanor/datasets/colmap_writer.h"
#include "athanor/datasets/synthetic_world.h"

namespace athanor {
namespace {

// Steps of the depth maps: a millimetre, what ReadPosedImages takes them for.
constexpr double kDepthUnit_m = 0.001;

void CheckOptions(const SyntheticSceneOptions& o) {
  const auto check = [](std::string_view name, double value, double low, double high) {
    ATHANOR_CHECK(value >= low && value <= high, "synthetic scene: expected ", name, " from ", low,
                  " to ", high, ", found ", value);
  };
  check("num_images", o.num_images, 1, 9999);
  check("width_px", o.width_px, 8, 8192);
  check("height_px", o.height_px, 8, 8192);
  check("supersampling", o.supersampling, 1, 8);
  check("num_points", o.num_points, 0, 1e8);
  check("point_noise", o.point_noise, 0, 1);
  check("pixel_noise", o.pixel_noise, 0, 255);
}

// A camera at `position` that looks at `target`, upright.
Rigid3 LookAt(const Eigen::Vector3d& position, const Eigen::Vector3d& target) {
  const Eigen::Vector3d forward = (target - position).normalized();
  const Eigen::Vector3d right = Eigen::Vector3d::UnitY().cross(forward).normalized();
  Eigen::Matrix3d world_from_camera;
  world_from_camera << right, forward.cross(right), forward;
  const Rigid3 pose{Eigen::Quaterniond(world_from_camera).normalized(), position};
  return pose.Inverse();
}

PosedImages MakeViews(const SyntheticSceneOptions& o) {
  PosedImages posed;
  posed.source = "synthetic scene";
  posed.depth_unit_m = kDepthUnit_m;
  Camera camera;
  camera.width_px = o.width_px;
  camera.height_px = o.height_px;
  const double focal_px = 1.2 * std::min(o.width_px / 4.0 * 3.0, double(o.height_px));
  camera.parameters = {focal_px, focal_px, 0.5 * o.width_px, 0.5 * o.height_px};
  posed.cameras.push_back(camera);

  Random random(MixBits(o.seed) ^ 1);
  const double phase = 2 * M_PI * random.Uniform();
  for (int k = 0; k < o.num_images; ++k) {
    const double angle = phase + 2 * M_PI * k / o.num_images;
    const double radius = 3.0 + 0.3 * std::sin(3 * angle);
    const double height = 1.25 + 0.5 * std::sin(2 * angle + phase);
    const Eigen::Vector3d position(radius * std::cos(angle), -height, radius * std::sin(angle));
    const Eigen::Vector3d target(random.Uniform(-0.1f, 0.1f), -0.2 + random.Uniform(-0.05f, 0.05f),
                                 random.Uniform(-0.1f, 0.1f));
    PosedImage image;
    std::ostringstream name;
    name << std::setw(4) << std::setfill('0') << k + 1 << ".png";
    image.name = name.str();
    image.camera_from_world = LookAt(position, target);
    posed.images.push_back(std::move(image));
  }
  return posed;
}

uint8_t EncodeSrgb(float linear, float noise) {
  const float encoded =
      linear <= 0.0031308f ? 12.92f * linear : 1.055f * std::pow(linear, 1 / 2.4f) - 0.055f;
  return static_cast<uint8_t>(std::clamp(std::round(255 * encoded + noise), 0.0f, 255.0f));
}

void RenderRow(const internal::SyntheticWorld& world, const SyntheticSceneOptions& o,
               const Camera& camera, const Rigid3& camera_from_world, int row, uint64_t noise_seed,
               Image& image, FloatImage& depth) {
  const Rigid3 world_from_camera = camera_from_world.Inverse();
  const Eigen::Matrix3f rotation = world_from_camera.rotation.toRotationMatrix().cast<float>();
  const Eigen::Vector3f origin = world_from_camera.translation.cast<float>();
  const auto ray = [&](double x_px, double y_px) {
    const Eigen::Vector3f in_camera(static_cast<float>((x_px - camera.cx()) / camera.fx()),
                                    static_cast<float>((y_px - camera.cy()) / camera.fy()), 1);
    return Eigen::Vector3f(rotation * in_camera.normalized());
  };
  Random random(noise_seed);
  for (int x = 0; x < o.width_px; ++x) {
    Eigen::Vector3f light = Eigen::Vector3f::Zero();
    for (int sy = 0; sy < o.supersampling; ++sy) {
      for (int sx = 0; sx < o.supersampling; ++sx) {
        light += world.Light(
            origin, ray(x + (sx + 0.5) / o.supersampling, row + (sy + 0.5) / o.supersampling));
      }
    }
    light /= static_cast<float>(o.supersampling * o.supersampling);
    for (int c = 0; c < 3; ++c) {
      const float noise =
          o.pixel_noise > 0 ? static_cast<float>(o.pixel_noise) * random.Normal() : 0.0f;
      image.at(x, row)[c] = EncodeSrgb(light[c], noise);
    }
    const Eigen::Vector3f direction = ray(x + 0.5, row + 0.5);
    *depth.at(x, row) = world.Distance(origin, direction) * rotation.col(2).dot(direction);
  }
}

// Points on what random pixels see.
std::vector<ColoredPoint> SamplePoints(const SyntheticSceneOptions& o,
                                       const SyntheticScene& scene) {
  Random random(MixBits(o.seed) ^ 2);
  const Camera& camera = scene.posed.cameras[0];
  std::vector<ColoredPoint> points(o.num_points);
  for (ColoredPoint& point : points) {
    const uint32_t view = random.Below(static_cast<uint32_t>(scene.images.size()));
    const auto x = static_cast<int>(random.Below(static_cast<uint32_t>(o.width_px)));
    const auto y = static_cast<int>(random.Below(static_cast<uint32_t>(o.height_px)));
    const double depth = *scene.depths[view].at(x, y);
    Eigen::Vector3d in_camera((x + 0.5 - camera.cx()) / camera.fx() * depth,
                              (y + 0.5 - camera.cy()) / camera.fy() * depth, depth);
    for (int j = 0; j < 3; ++j) in_camera[j] += o.point_noise * depth * random.Normal();
    const Eigen::Vector3d in_world =
        scene.posed.images[view].camera_from_world.Inverse() * in_camera;
    for (int j = 0; j < 3; ++j) {
      point.position[j] = static_cast<float>(in_world[j]);
      point.color[j] = scene.images[view].at(x, y)[j];
    }
  }
  return points;
}

}  // namespace

SyntheticScene RenderSyntheticScene(const SyntheticSceneOptions& options) {
  CheckOptions(options);
  const internal::SyntheticWorld world(options.seed);
  SyntheticScene scene;
  scene.posed = MakeViews(options);
  const int64_t views = options.num_images;
  scene.images.assign(views, Image(options.width_px, options.height_px, 3));
  scene.depths.assign(views, FloatImage(options.width_px, options.height_px, 1));
  ParallelFor(views * options.height_px, 4, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const int64_t view = k / options.height_px;
      RenderRow(world, options, scene.posed.cameras[0], scene.posed.images[view].camera_from_world,
                static_cast<int>(k % options.height_px), MixBits(options.seed) ^ MixBits(k),
                scene.images[view], scene.depths[view]);
    }
  });
  scene.posed.points = SamplePoints(options, scene);
  return scene;
}

PosedImages WriteSyntheticCapture(const std::filesystem::path& folder,
                                  const SyntheticSceneOptions& options) {
  SyntheticScene scene = RenderSyntheticScene(options);
  PosedImages& posed = scene.posed;
  posed.source = folder.string();
  MakeFolder(folder / "images");
  MakeFolder(folder / "depth");
  for (PosedImage& image : posed.images) {
    image.image_path = folder / "images" / image.name;
    image.depth_path = folder / "depth" / image.name;
  }
  ParallelChunks(static_cast<int64_t>(posed.images.size()), [&](int64_t k) {
    WriteImage(posed.images[k].image_path, scene.images[k]);
    const FloatImage& depth = scene.depths[k];
    DepthImage steps(depth.width, depth.height, 1);
    for (size_t i = 0; i < steps.data.size(); ++i) {
      // The dome is 7 m in radius: far below what 16 bits of millimetres hold.
      steps.data[i] = static_cast<uint16_t>(std::lround(depth.data[i] / kDepthUnit_m));
    }
    WriteDepthPng(posed.images[k].depth_path, steps);
  });
  WriteColmapModel(folder / "sparse" / "0", posed, ColmapEncoding::kBinary);
  return posed;
}

}  // namespace athanor
