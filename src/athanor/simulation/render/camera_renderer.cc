#include "athanor/simulation/render/camera_renderer.h"

#include <Eigen/Geometry>
#include <algorithm>
#include <cmath>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/simulation/render/frame_renderer.h"

namespace athanor {
namespace {

using Eigen::Vector2f;
using Eigen::Vector3f;

// Order in which the pixels of a block take their share of the lamps: any 4 x 4 window has all.
constexpr int kOrder[16] = {0, 8, 2, 10, 12, 4, 14, 6, 3, 11, 1, 9, 15, 7, 13, 5};

class ScratchPool {
 public:
  std::unique_ptr<Scratch> Take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return std::make_unique<Scratch>();
    std::unique_ptr<Scratch> scratch = std::move(free_.back());
    free_.pop_back();
    return scratch;
  }
  void GiveBack(std::unique_ptr<Scratch> scratch) {
    constexpr size_t kMaxKept = 4, kMaxPixels = 1 << 22;
    const std::lock_guard lock(mutex_);
    if (free_.size() < kMaxKept && scratch->pixels.capacity() <= kMaxPixels) {
      free_.push_back(std::move(scratch));
    }
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Scratch>> free_;
};

ScratchPool& Pool() {
  static ScratchPool pool;
  return pool;
}

}  // namespace

FrameRenderer::FrameRenderer(const RayWorld& world, const Lighting& lighting, const Camera& camera,
                             const Rigid3& camera_from_world, const CameraRenderOptions& options)
    : world_(world),
      lighting_(lighting),
      options_(options),
      shader_(world, lighting),
      noise_(options.noise_dark, options.noise_bright),
      rays_(RaysOf(camera)),
      width_(rays_->width),
      height_(rays_->height),
      block_width_((width_ + kBlock - 1) / kBlock),
      block_height_((height_ + kBlock - 1) / kBlock),
      gather_width_((width_ + kGather - 1) / kGather),
      gather_height_((height_ + kGather - 1) / kGather),
      scratch_(Pool().Take()),
      pixels_(scratch_->pixels),
      colors_(scratch_->colors),
      block_ratio_(scratch_->block_ratio),
      gathered_(scratch_->gathered),
      smoothed_(scratch_->smoothed) {
  const Rigid3 world_from_camera = camera_from_world.Inverse();
  rotation_ = world_from_camera.rotation.toRotationMatrix().cast<float>();
  eye_ = world_from_camera.translation.cast<float>();
  if (options_.indirect) MakeGatherDirections();
}

FrameRenderer::~FrameRenderer() { Pool().GiveBack(std::move(scratch_)); }

RenderedView FrameRenderer::Render() {
  const int columns = (width_ + kTile - 1) / kTile, rows = (height_ + kTile - 1) / kTile;
  const int64_t tiles = int64_t{columns} * rows;
  pixels_.resize(static_cast<size_t>(width_) * height_);
  colors_.resize(pixels_.size());
  block_ratio_.assign(static_cast<size_t>(block_width_) * block_height_, 1);
  view_.image = Image(width_, height_, 3);
  if (options_.truth) {
    view_.depth_m = FloatImage(width_, height_, 1);
    view_.object = ImageOf<int32_t>(width_, height_, 1, -1);
    view_.instance = ImageOf<int32_t>(width_, height_, 1, -1);
    view_.part = ImageOf<uint16_t>(width_, height_, 1);
    view_.material = ImageOf<uint16_t>(width_, height_, 1);
    view_.normal = ImageOf<int8_t>(width_, height_, 3);
  }
  const auto for_tiles = [&](auto&& body) {
    ParallelChunks(tiles, [&](int64_t tile) {
      const int x0 = static_cast<int>(tile % columns) * kTile;
      const int y0 = static_cast<int>(tile / columns) * kTile;
      body(x0, y0, std::min(x0 + kTile, width_), std::min(y0 + kTile, height_));
    });
  };
  // Gathered light and the averages of lamps take more pixels than a tile's; without them it is
  // shaded while it is at hand.
  const bool at_once = !options_.indirect && !shader_.has_lamps();
  for_tiles([&](int x0, int y0, int x1, int y1) {
    SeeTile(x0, y0, x1, y1);
    if (at_once) ShadeTile(x0, y0, x1, y1);
  });
  if (options_.indirect) {
    gathered_.assign(static_cast<size_t>(gather_width_) * gather_height_, {});
    ParallelFor(gather_height_, 2, [&](int64_t begin, int64_t end) {
      for (int64_t y = begin; y < end; ++y) GatherRow(static_cast<int>(y));
    });
    smoothed_ = gathered_;
    ParallelFor(gather_height_, 4, [&](int64_t begin, int64_t end) {
      for (int64_t y = begin; y < end; ++y) SmoothRow(static_cast<int>(y));
    });
  }
  if (!at_once) {
    for_tiles([&](int x0, int y0, int x1, int y1) { ShadeTile(x0, y0, x1, y1); });
  }
  for_tiles([&](int x0, int y0, int x1, int y1) { FinishTile(x0, y0, x1, y1); });
  if (lighting_.rain_mm_per_h > 0) {
    DrawRain(lighting_, options_.seed, &view_.image);
  }
  return std::move(view_);
}

void FrameRenderer::SeeTile(int x0, int y0, int x1, int y1) {
  for (int y = y0; y < y1; y += kBlock) {
    for (int x = x0; x < x1; x += kBlock) SeeBlock(x, y);
  }
}

void FrameRenderer::SeeBlock(int x0, int y0) {
  RayHitPacket packet;
  Vector3f directions[kRayPacketSize];
  Pixel* pixels[kRayPacketSize] = {};
  for (int i = 0; i < kRayPacketSize; ++i) {
    const int x = x0 + i % kBlock, y = y0 + i / kBlock;
    packet.ray.Disable(i);
    if (x >= width_ || y >= height_) continue;
    pixels[i] = &at(x, y);
    // Written after the rays: until then the memory can arrive.
    __builtin_prefetch(pixels[i], 1);
    __builtin_prefetch(reinterpret_cast<const char*>(pixels[i]) + 64, 1);
    const Vector2f& direction = rays_->at(x, y);
    if (!direction.allFinite()) continue;
    directions[i] = WorldDirection(direction);
    packet.ray.Set(i, eye_.data(), directions[i].data(), 0, options_.max_distance_m);
  }
  world_.CastTogether16(&packet);

  RayPacket sun_rays;
  Vector3f sun[kRayPacketSize];
  Vector3f origins[kRayPacketSize];
  Surface surfaces[kRayPacketSize];
  bool any_sun = false, any_hit = false;
  for (int i = 0; i < kRayPacketSize; ++i) {
    sun_rays.Disable(i);
    if (pixels[i] == nullptr) continue;
    *pixels[i] = Pixel();
    if (!packet.hit.IsHit(i)) continue;
    any_hit = true;
    Pixel& pixel = *pixels[i];
    const float length = directions[i].norm();
    const Vector3f direction = directions[i] * (1 / length);
    pixel.depth = packet.ray.far[i];
    pixel.distance = pixel.depth * length;
    const RayHit hit = world_.Describe(packet.hit.instance[i], packet.hit.triangle[i],
                                       packet.hit.u[i], packet.hit.v[i], pixel.distance, direction);
    const float cosine = -hit.geometric_normal.dot(direction);
    Surface& surface = surfaces[i];
    surface = shader_.SurfaceAt(hit, Footprint(pixel.distance, cosine));
    surface.position = eye_ + pixel.depth * directions[i];
    pixel.position = surface.position;
    pixel.normal = surface.normal;
    pixel.geometric_normal = surface.geometric_normal;
    pixel.albedo = surface.albedo;
    pixel.instance = hit.instance;
    pixel.part = hit.part;
    pixel.material = hit.material;
    pixel.lit = surface.emission;
    pixel.mirror = MirrorShare(surface, cosine);
    origins[i] = Shader::OffsetOrigin(surface);
    if (shader_.has_sun() && surface.geometric_normal.dot(lighting_.to_sun) > 0) {
      sun[i] = shader_.SunAt(surface, -direction);
      if (!sun[i].isZero()) {
        sun_rays.Set(i, origins[i].data(), lighting_.to_sun.data(), 0, kSunReachM);
        any_sun = true;
      }
    }
  }
  if (any_sun) {
    world_.Occlude16(&sun_rays);
    for (int i = 0; i < kRayPacketSize; ++i) {
      if (sun_rays.far[i] <= 0) continue;
      pixels[i]->sun_visible = true;
      pixels[i]->lit += sun[i];
    }
  }
  if (any_hit && shader_.has_lamps()) {
    LightByLamps(packet, directions, surfaces, origins, pixels, x0, y0);
  }
}

void FrameRenderer::LightByLamps(const RayHitPacket& packet, const Vector3f* directions,
                                 const Surface* surfaces, const Vector3f* origins,
                                 Pixel* const* pixels, int x0, int y0) {
  float sum[kRayPacketSize] = {};
  for (int k = 0; k < options_.lamp_rays; ++k) {
    RayPacket lamp_rays;
    bool any = false;
    bool cast[kRayPacketSize] = {};
    for (int i = 0; i < kRayPacketSize; ++i) {
      lamp_rays.Disable(i);
      if (pixels[i] == nullptr || !packet.hit.IsHit(i)) continue;
      const float order = static_cast<float>(kOrder[i]) + 0.5f;
      const float u =
          (order + static_cast<float>(k) * 16) / (16.0f * static_cast<float>(options_.lamp_rays));
      const float v = order * 0.618034f + 0.37f * static_cast<float>(k);
      const float w = order * 0.754878f + 0.61f * static_cast<float>(k);
      const LampLight light = shader_.LampsAt(surfaces[i], -directions[i].normalized(), u,
                                              v - std::floor(v), w - std::floor(w));
      pixels[i]->lamps = pixels[i]->albedo.cwiseProduct(light.diffuse) + light.specular;
      if (light.shadow_end > 0) {
        const Vector3f way = light.shadow_target - origins[i];
        lamp_rays.Set(i, origins[i].data(), way.data(), 0, light.shadow_end);
        any = cast[i] = true;
      }
    }
    if (any) world_.Occlude16(&lamp_rays);
    for (int i = 0; i < kRayPacketSize; ++i) {
      sum[i] += !cast[i] || lamp_rays.far[i] > 0 ? 1 : 0;
    }
  }
  float low = 1, high = 0;
  for (int i = 0; i < kRayPacketSize; ++i) {
    if (pixels[i] == nullptr || !packet.hit.IsHit(i)) continue;
    pixels[i]->lamp_ratio = sum[i] / static_cast<float>(options_.lamp_rays);
    low = std::min(low, pixels[i]->lamp_ratio);
    high = std::max(high, pixels[i]->lamp_ratio);
  }
  // Blocks in which all lamps are free, or none, need no averaging with others like them.
  block_ratio_[static_cast<size_t>(y0 / kBlock) * block_width_ + x0 / kBlock] =
      low >= high ? low : -1;
}

float FrameRenderer::MirrorShare(const Surface& surface, float cosine) {
  if (surface.mirror <= 0) return 0;
  const float grazing = 1 - std::clamp(cosine, 0.f, 1.f);
  const float power = grazing * grazing * grazing * grazing * grazing;
  return surface.mirror + (1 - surface.mirror) * power * (1 - surface.roughness);
}

RenderedView RenderCamera(const RayWorld& world, const Lighting& lighting, const Camera& camera,
                          const Rigid3& camera_from_world, const CameraRenderOptions& options) {
  ATHANOR_CHECK(camera_from_world.translation.allFinite() &&
                    std::abs(camera_from_world.rotation.norm() - 1) < 1e-3,
                "render: the camera's pose is not a finite rotation and translation");
  ATHANOR_CHECK(options.gather_rays >= 1 && options.gather_rays <= 256,
                "render: expected 1 to 256 gathering rays, found ", options.gather_rays);
  ATHANOR_CHECK(options.lamp_rays >= 1 && options.lamp_rays <= 16,
                "render: expected 1 to 16 rays to lamps, found ", options.lamp_rays);
  ATHANOR_CHECK(options.max_distance_m > 0, "render: expected a distance above 0 m, found ",
                options.max_distance_m);
  ATHANOR_CHECK(lighting.lamps.size() <= 65535, "render: expected at most 65535 lamps, found ",
                lighting.lamps.size());
  return FrameRenderer(world, lighting, camera, camera_from_world, options).Render();
}

Image ClassImage(const RenderedView& view, const std::vector<uint8_t>& class_of_object,
                 uint8_t none) {
  Image image(view.object.width, view.object.height, 1, none);
  for (size_t i = 0; i < view.object.data.size(); ++i) {
    const int32_t object = view.object.data[i];
    if (object < 0) continue;
    ATHANOR_CHECK(static_cast<size_t>(object) < class_of_object.size(),
                  "class image: no class for object ", object, " of ", class_of_object.size());
    image.data[i] = class_of_object[object];
  }
  return image;
}

}  // namespace athanor
