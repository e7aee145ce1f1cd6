#include "athanor/simulation/render/camera_renderer.h"

#include <Eigen/Geometry>
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <mutex>
#include <utility>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/base/random.h"
#include "athanor/simulation/render/camera_rays.h"
#include "athanor/simulation/render/sensor_effects.h"
#include "athanor/simulation/render/shading.h"

namespace athanor {
namespace {

using Eigen::Matrix3f;
using Eigen::Vector2f;
using Eigen::Vector3f;

constexpr int kTile = 16;       // pixels
constexpr int kBlock = 4;       // a packet of rays
constexpr int kGather = 8;      // pixels between gathering points
constexpr int kSubsamples = 4;  // of an edge pixel, on a rotated grid
constexpr float kOffsets[kSubsamples][2] = {
    {-0.125f, -0.375f}, {0.375f, -0.125f}, {0.125f, 0.375f}, {-0.375f, 0.125f}};
// Order in which the pixels of a block take their share of the lamps: any 4 x 4 window has all.
constexpr int kOrder[16] = {0, 8, 2, 10, 12, 4, 14, 6, 3, 11, 1, 9, 15, 7, 13, 5};
constexpr float kSunReachM = 1500;
constexpr float kMirrorMin = 0.015f;
constexpr float kFaintMirror = 0.12f;  // 2 x 2 pixels that mirror less share a ray

// What a pixel's centre sees.
struct Pixel {
  Vector3f position = Vector3f::Zero();
  float depth = 0;  // along z; 0: nothing hit
  Vector3f normal = Vector3f::Zero();
  float lamp_ratio = 1;  // of the lamps' light that arrives
  Vector3f geometric_normal = Vector3f::Zero();
  float mirror = 0;
  Vector3f albedo = Vector3f::Zero();
  float distance = 0;
  Vector3f lit = Vector3f::Zero();  // emission and sun
  int32_t instance = -1;
  Vector3f lamps = Vector3f::Zero();  // what they add where all of it arrives
  uint16_t part = 0, material = 0;
  bool sun_visible = false;
};

struct GatherPoint {
  Vector3f light = Vector3f::Zero();  // irradiance
  Vector3f position, normal;
  bool valid = false;
};

// Pixels that show what a subsample hits, in the sun and in shadow; null: none does.
struct Alike {
  const Pixel *lit = nullptr, *shaded = nullptr;
};

// What a picture is made in: some 40 MB, kept from one to the next, for fresh memory is slow.
struct Scratch {
  std::vector<Pixel> pixels;
  std::vector<Vector3f> colors;
  std::vector<float> block_ratio;
  std::vector<GatherPoint> gathered, smoothed;
};

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

bool IsSameSurface(const Pixel& a, const Pixel& b) {
  return a.instance == b.instance && a.normal.dot(b.normal) > 0.9f &&
         std::abs((b.position - a.position).dot(a.geometric_normal)) < 0.004f * a.distance + 0.002f;
}

class FrameRenderer {
 public:
  FrameRenderer(const RayWorld& world, const Lighting& lighting, const Camera& camera,
                const Rigid3& camera_from_world, const RenderOptions& options)
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
    MakeGatherDirections();
  }
  ~FrameRenderer() { Pool().GiveBack(std::move(scratch_)); }
  FrameRenderer(const FrameRenderer&) = delete;
  FrameRenderer& operator=(const FrameRenderer&) = delete;

  RenderedView Render() {
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
    for_tiles([&](int x0, int y0, int x1, int y1) { SeeTile(x0, y0, x1, y1); });
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
    for_tiles([&](int x0, int y0, int x1, int y1) { ShadeTile(x0, y0, x1, y1); });
    for_tiles([&](int x0, int y0, int x1, int y1) { FinishTile(x0, y0, x1, y1); });
    if (lighting_.rain_mm_per_h > 0) {
      DrawRain(lighting_, options_.seed, &view_.image);
    }
    return std::move(view_);
  }

 private:
  Pixel& at(int x, int y) { return pixels_[static_cast<size_t>(y) * width_ + x]; }
  const Pixel& at(int x, int y) const { return pixels_[static_cast<size_t>(y) * width_ + x]; }
  const Vector3f& color(int x, int y) const { return colors_[static_cast<size_t>(y) * width_ + x]; }
  Vector3f& color(int x, int y) { return colors_[static_cast<size_t>(y) * width_ + x]; }

  Vector3f WorldDirection(const Vector2f& direction) const {
    return rotation_ * Vector3f(direction.x(), direction.y(), 1);
  }
  // Size of a pixel on a surface.
  float Footprint(float distance, float cosine) const {
    return distance * rays_->pixel_angle_rad / std::sqrt(std::max(cosine, 0.05f));
  }

  // Rays, surfaces, direct light.
  void SeeTile(int x0, int y0, int x1, int y1) {
    for (int y = y0; y < y1; y += kBlock) {
      for (int x = x0; x < x1; x += kBlock) SeeBlock(x, y);
    }
  }

  void SeeBlock(int x0, int y0) {
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
      const RayHit hit =
          world_.Describe(packet.hit.instance[i], packet.hit.triangle[i], packet.hit.u[i],
                          packet.hit.v[i], pixel.distance, direction);
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

  // Each pixel draws one lamp (or a few) and a point on it, in turn with its neighbours; ShadeTile
  // averages over them.
  void LightByLamps(const RayHitPacket& packet, const Vector3f* directions, const Surface* surfaces,
                    const Vector3f* origins, Pixel* const* pixels, int x0, int y0) {
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

  // Schlick's law on what the material reflects head-on; matt surfaces reflect no image.
  static float MirrorShare(const Surface& surface, float cosine) {
    if (surface.mirror <= 0) return 0;
    const float grazing = 1 - std::clamp(cosine, 0.f, 1.f);
    const float power = grazing * grazing * grazing * grazing * grazing;
    return surface.mirror + (1 - surface.mirror) * power * (1 - surface.roughness);
  }

  // Directions over the hemisphere, denser around z by the cosine; four turned copies.
  void MakeGatherDirections() {
    const int n = (options_.gather_rays + kRayPacketSize - 1) / kRayPacketSize * kRayPacketSize;
    for (int copy = 0; copy < 4; ++copy) {
      for (int i = 0; i < n; ++i) {
        const int k = 4 * i + copy;  // all copies together are one even set
        const float u = (static_cast<float>(k) + 0.5f) / static_cast<float>(4 * n);
        const float turns = static_cast<float>(k) * 0.6180339887f;
        const float angle = 6.2831853f * (turns - std::floor(turns));
        const float r = std::sqrt(u);
        gather_directions_[copy].push_back(
            {r * std::cos(angle), r * std::sin(angle), std::sqrt(1 - u)});
      }
    }
  }

  void GatherRow(int row) {
    for (int column = 0; column < gather_width_; ++column) {
      const int x = std::min(column * kGather + kGather / 2, width_ - 1);
      const int y = std::min(row * kGather + kGather / 2, height_ - 1);
      const Pixel& pixel = at(x, y);
      if (pixel.depth <= 0) continue;
      GatherPoint& point = gathered_[static_cast<size_t>(row) * gather_width_ + column];
      point.position = pixel.position;
      point.normal = pixel.normal;
      point.valid = true;
      point.light = Gather(pixel, (row & 1) * 2 + (column & 1),
                           static_cast<uint32_t>(row * gather_width_ + column));
    }
  }

  Vector3f Gather(const Pixel& pixel, int copy, uint32_t seed) const {
    const Vector3f& z = pixel.normal;
    const Vector3f other = std::abs(z.z()) < 0.8f ? Vector3f::UnitZ() : Vector3f::UnitX();
    const Vector3f x = z.cross(other).normalized(), y = z.cross(x);
    const Vector3f origin =
        pixel.position + RayWorld::StartDistance(pixel.position) * pixel.geometric_normal;
    const std::vector<Vector3f>& directions = gather_directions_[copy];
    Vector3f sum = Vector3f::Zero();
    RayHitPacket packet;
    Vector3f radiance[kRayPacketSize];
    for (size_t first = 0; first < directions.size(); first += kRayPacketSize) {
      for (int i = 0; i < kRayPacketSize; ++i) {
        const Vector3f& d = directions[first + i];
        const Vector3f direction = d.x() * x + d.y() * y + d.z() * z;
        packet.ray.Set(i, origin.data(), direction.data(), 0, options_.max_distance_m);
      }
      shader_.Radiance16(&packet, false, seed * 8 + static_cast<uint32_t>(first), radiance);
      for (const Vector3f& r : radiance) sum += r;
    }
    return sum / static_cast<float>(directions.size()) + lighting_.ambient;
  }

  // A tent over 3 x 3 points weighs the four turned copies alike, which hides their difference.
  void SmoothRow(int row) {
    for (int column = 0; column < gather_width_; ++column) {
      const size_t index = static_cast<size_t>(row) * gather_width_ + column;
      const GatherPoint& center = gathered_[index];
      if (!center.valid) continue;
      const float size = (center.position - eye_).norm() * rays_->pixel_angle_rad * kGather;
      Vector3f sum = Vector3f::Zero();
      float total = 0;
      for (int dy = -2; dy <= 2; ++dy) {
        for (int dx = -2; dx <= 2; ++dx) {
          const int gx = column + dx, gy = row + dy;
          if (gx < 0 || gy < 0 || gx >= gather_width_ || gy >= gather_height_) continue;
          const GatherPoint& point = gathered_[static_cast<size_t>(gy) * gather_width_ + gx];
          if (!point.valid || point.normal.dot(center.normal) < 0.8f) continue;
          const float off = (point.position - center.position).dot(center.normal);
          if (std::abs(off) > 0.5f * size + 0.01f) continue;
          constexpr float kTent[5] = {1, 2, 2, 2, 1};
          const float weight = kTent[dx + 2] * kTent[dy + 2];
          sum += weight * point.light;
          total += weight;
        }
      }
      smoothed_[index].light = sum / total;
    }
  }

  // Light gathered around a pixel.
  Vector3f Indirect(float px, float py, const Vector3f& position, const Vector3f& normal,
                    float distance) const {
    if (!options_.indirect) return lighting_.ambient + shader_.OpenSky(normal);
    const float gx = px / kGather - 0.5f, gy = py / kGather - 0.5f;
    const int x0 = static_cast<int>(std::floor(gx)), y0 = static_cast<int>(std::floor(gy));
    const float scale = 1 / (0.25f * distance * rays_->pixel_angle_rad * kGather + 0.01f);
    Vector3f sum = Vector3f::Zero();
    float total = 0;
    const auto add = [&](int x, int y, float weight) {
      if (x < 0 || y < 0 || x >= gather_width_ || y >= gather_height_) return;
      const GatherPoint& point = smoothed_[static_cast<size_t>(y) * gather_width_ + x];
      if (!point.valid) return;
      const float cosine = point.normal.dot(normal);
      if (cosine < 0.5f) return;
      const float off = (point.position - position).dot(normal) * scale;
      const float squared = cosine * cosine;
      weight *= squared * squared / (1 + off * off * off * off);
      sum += weight * point.light;
      total += weight;
    };
    const float fx = gx - static_cast<float>(x0), fy = gy - static_cast<float>(y0);
    add(x0, y0, (1 - fx) * (1 - fy) + 1e-3f);
    add(x0 + 1, y0, fx * (1 - fy) + 1e-3f);
    add(x0, y0 + 1, (1 - fx) * fy + 1e-3f);
    add(x0 + 1, y0 + 1, fx * fy + 1e-3f);
    if (total < 0.02f) {
      for (int y = y0 - 2; y <= y0 + 3; ++y) {
        for (int x = x0 - 2; x <= x0 + 3; ++x) add(x, y, 0.1f);
      }
    }
    if (total > 1e-3f) return sum / total;
    // A surface too narrow for points of its own: what those close by get, whichever way they face.
    const float per_m2 = scale * scale / 16;
    for (int y = y0 - 1; y <= y0 + 2; ++y) {
      for (int x = x0 - 1; x <= x0 + 2; ++x) {
        if (x < 0 || y < 0 || x >= gather_width_ || y >= gather_height_) continue;
        const GatherPoint& point = smoothed_[static_cast<size_t>(y) * gather_width_ + x];
        if (!point.valid) continue;
        const float squared = (point.position - position).squaredNorm() * per_m2;
        const float weight =
            (0.05f + std::max(point.normal.dot(normal), 0.f)) / (1 + squared * squared);
        sum += weight * point.light;
        total += weight;
      }
    }
    if (total > 1e-3f) return sum / total;
    return lighting_.ambient + lighting_.sky_share_of_bounces * shader_.OpenSky(normal);
  }

  float LampRatio(int x, int y) const {
    const Pixel& pixel = at(x, y);
    const int bx0 = std::max(x - 2, 0) / kBlock, bx1 = std::min(x + 1, width_ - 1) / kBlock;
    const int by0 = std::max(y - 2, 0) / kBlock, by1 = std::min(y + 1, height_ - 1) / kBlock;
    const float first = block_ratio_[static_cast<size_t>(by0) * block_width_ + bx0];
    if (first >= 0 && first == block_ratio_[static_cast<size_t>(by0) * block_width_ + bx1] &&
        first == block_ratio_[static_cast<size_t>(by1) * block_width_ + bx0] &&
        first == block_ratio_[static_cast<size_t>(by1) * block_width_ + bx1]) {
      return first;
    }
    float sum = 0, total = 0;
    for (int j = std::max(y - 2, 0); j <= std::min(y + 1, height_ - 1); ++j) {
      for (int i = std::max(x - 2, 0); i <= std::min(x + 1, width_ - 1); ++i) {
        const Pixel& other = at(i, j);
        if (other.depth <= 0 || !IsSameSurface(pixel, other)) continue;
        sum += other.lamp_ratio;
        total += 1;
      }
    }
    return total > 0 ? sum / total : pixel.lamp_ratio;
  }

  void ShadeTile(int x0, int y0, int x1, int y1) {
    int mirrors[kTile * kTile];           // pixels that cast a ray
    int mirrored[kTile * kTile];          // pixels that show one
    int ray_of_pixel[kTile * kTile];      // into `mirrors`; -1: shows none
    Vector3f reflections[kTile * kTile];  // of `mirrors`
    int borrowers[kTile * kTile];         // pixels that show the ray of another
    int num_mirrors = 0, num_mirrored = 0, num_borrowers = 0;
    std::fill_n(ray_of_pixel, kTile * kTile, -1);
    for (int y = y0; y < y1; ++y) {
      for (int x = x0; x < x1; ++x) {
        const Pixel& pixel = at(x, y);
        if (pixel.depth <= 0) {
          color(x, y) = SkyAt(rays_->at(x, y));
          continue;
        }
        const Vector3f indirect =
            Indirect(static_cast<float>(x) + 0.5f, static_cast<float>(y) + 0.5f, pixel.position,
                     pixel.normal, pixel.distance);
        Vector3f light = pixel.lit + pixel.albedo.cwiseProduct(indirect);
        if (shader_.has_lamps()) {
          light += LampRatio(x, y) * pixel.lamps;
        }
        color(x, y) = light;
        if (options_.mirrors && pixel.mirror > kMirrorMin) {
          const int index = (y - y0) * kTile + x - x0;
          const int lender = index & ~(kTile | 1);  // first of its 2 x 2 pixels
          mirrored[num_mirrored++] = index;
          if (lender != index && pixel.mirror < kFaintMirror) {
            const Pixel& other = at(x0 + lender % kTile, y0 + lender / kTile);
            if (other.mirror > kMirrorMin && IsSameSurface(pixel, other)) {
              ray_of_pixel[index] = ray_of_pixel[lender];
              borrowers[num_borrowers++] = index;
              continue;
            }
          }
          ray_of_pixel[index] = num_mirrors;
          mirrors[num_mirrors++] = index;
        }
      }
    }
    const auto reflect = [&](int begin) {
      for (int first = begin; first < num_mirrors; first += kRayPacketSize) {
        RayHitPacket packet;
        Vector3f radiance[kRayPacketSize];
        const int count = std::min(kRayPacketSize, num_mirrors - first);
        for (int i = 0; i < kRayPacketSize; ++i) {
          packet.ray.Disable(i);
          if (i >= count) continue;
          const Pixel& pixel = at(x0 + mirrors[first + i] % kTile, y0 + mirrors[first + i] / kTile);
          const Vector3f ray = (pixel.position - eye_) / pixel.distance;
          Vector3f direction = ray - 2 * ray.dot(pixel.normal) * pixel.normal;
          // A smooth normal must not send the ray into the surface.
          const float into = direction.dot(pixel.geometric_normal);
          if (into < 0.01f) direction += (0.01f - into) * pixel.geometric_normal;
          direction.normalize();
          const Vector3f origin =
              pixel.position + RayWorld::StartDistance(pixel.position) * pixel.geometric_normal;
          packet.ray.Set(i, origin.data(), direction.data(), 0, options_.max_distance_m);
        }
        shader_.Radiance16(&packet, true, static_cast<uint32_t>(first), radiance);
        std::copy_n(radiance, count, reflections + first);
      }
    };
    reflect(0);
    // Where the reflections of neighbours visibly differ, each pixel casts its own after all.
    const int num_shared = num_mirrors;
    for (int i = 0; i < num_borrowers; ++i) {
      const int index = borrowers[i], x = index % kTile, y = index / kTile;
      const Vector3f& own = reflections[ray_of_pixel[index]];
      const float scale = lighting_.exposure * at(x0 + x, y0 + y).mirror;
      bool differs = false;
      for (const auto& [dx, dy] : {std::pair(-2, 0), {2, 0}, {0, -2}, {0, 2}}) {
        const int nx = (x & ~1) + dx, ny = (y & ~1) + dy;
        if (nx < 0 || ny < 0 || nx >= kTile || ny >= kTile) continue;
        const int ray = ray_of_pixel[ny * kTile + nx];
        if (ray < 0 || ray >= num_shared) continue;
        differs |= (reflections[ray] - own).cwiseAbs().maxCoeff() * scale > 0.015f;
      }
      if (differs) mirrors[num_mirrors++] = index;
    }
    reflect(num_shared);
    for (int ray = num_shared; ray < num_mirrors; ++ray) ray_of_pixel[mirrors[ray]] = ray;
    for (int i = 0; i < num_mirrored; ++i) {
      const int x = x0 + mirrored[i] % kTile, y = y0 + mirrored[i] / kTile;
      color(x, y) += at(x, y).mirror * (reflections[ray_of_pixel[mirrored[i]]] - color(x, y));
    }
    for (int y = y0; y < y1; ++y) {
      for (int x = x0; x < x1; ++x) {
        const Pixel& pixel = at(x, y);
        if (pixel.depth > 0) color(x, y) = shader_.ThroughAir(color(x, y), pixel.distance);
        color(x, y) = ToneCurve(lighting_.exposure * color(x, y));
      }
    }
  }

  // Pixels outside the camera's domain get no light.
  Vector3f SkyAt(const Vector2f& direction) const {
    if (!direction.allFinite()) return Vector3f::Zero();
    const Vector3f unit = WorldDirection(direction).normalized();
    const Vector3f sky = SkyColor(lighting_, unit);
    if (lighting_.fog_extinction_per_m <= 0) return sky;
    // Fog and haze are a layer some 150 m high.
    return shader_.ThroughAir(sky, std::min(150 / std::max(unit.z(), 0.01f), 5000.f));
  }

  bool Differs(const Pixel& a, const Pixel& b) const {
    if (a.instance != b.instance) return true;
    if (a.instance < 0) return false;
    return a.part != b.part || a.material != b.material || a.sun_visible != b.sun_visible ||
           !IsSameSurface(a, b);
  }

  // Which of `count` pixels from (x, y) on differ from those `dx`, `dy` on such that averaging the
  // two can be seen: about two of 255 steps apart. Channel by channel, for vector instructions.
  void CompareColors(int x, int y, int dx, int dy, int count, bool* differs) const {
    const float* a = color(x, y).data();
    const float* b = color(x + dx, y + dy).data();
    uint32_t apart[3 * (kTile + 1)];
    for (int i = 0; i < 3 * count; ++i) {
      apart[i] = std::abs(a[i] - b[i]) > 0.03f * a[i] + 0.002f ? 1 : 0;
    }
    for (int i = 0; i < count; ++i) {
      differs[i] = (apart[3 * i] | apart[3 * i + 1] | apart[3 * i + 2]) != 0;
    }
  }

  // Sets edge[index] for the pixels of a tile that differ from one beside, above or below.
  void FindEdges(int x0, int y0, int x1, int y1, bool* edge) const {
    bool differs[kTile + 1];
    const int left = std::max(x0 - 1, 0), right = std::min(x1, width_ - 1);
    for (int y = y0; y < y1; ++y) {
      CompareColors(left, y, 1, 0, right - left, differs);
      for (int x = left; x < right; ++x) {
        if (!differs[x - left] || !Differs(at(x, y), at(x + 1, y))) continue;
        if (x >= x0) edge[(y - y0) * kTile + x - x0] = true;
        if (x + 1 < x1) edge[(y - y0) * kTile + x + 1 - x0] = true;
      }
    }
    for (int y = std::max(y0 - 1, 0); y < std::min(y1, height_ - 1); ++y) {
      CompareColors(x0, y, 0, 1, x1 - x0, differs);
      for (int x = x0; x < x1; ++x) {
        if (!differs[x - x0] || !Differs(at(x, y), at(x, y + 1))) continue;
        if (y >= y0) edge[(y - y0) * kTile + x - x0] = true;
        if (y + 1 < y1) edge[(y + 1 - y0) * kTile + x - x0] = true;
      }
    }
  }

  void FinishTile(int x0, int y0, int x1, int y1) {
    int edges[kTile * kTile];
    int num_edges = 0;
    Vector3f out[kTile * kTile];
    bool edge[kTile * kTile] = {};
    if (options_.antialias) FindEdges(x0, y0, x1, y1, edge);
    for (int y = y0; y < y1; ++y) {
      for (int x = x0; x < x1; ++x) {
        const int index = (y - y0) * kTile + x - x0;
        out[index] = color(x, y);
        if (edge[index] && rays_->at(x, y).allFinite()) edges[num_edges++] = index;
      }
    }
    for (int first = 0; first < num_edges; first += kRayPacketSize / kSubsamples) {
      Supersample(x0, y0, edges + first, std::min(kRayPacketSize / kSubsamples, num_edges - first),
                  out);
    }
    for (int y = y0; y < y1; ++y) {
      for (int x = x0; x < x1; ++x) {
        EncodePixel(out[(y - y0) * kTile + x - x0], x, y);
        if (options_.truth) StoreTruth(x, y);
      }
    }
  }

  // Four rays through each of up to four pixels. What they hit is mostly what the pixels around
  // have shaded, so its colour is taken from there.
  void Supersample(int x0, int y0, const int* pixels, int count, Vector3f* out) {
    RayHitPacket packet;
    Vector3f directions[kRayPacketSize];
    for (int i = 0; i < kRayPacketSize; ++i) {
      packet.ray.Disable(i);
      if (i / kSubsamples >= count) continue;
      const int index = pixels[i / kSubsamples];
      const float* offset = kOffsets[i % kSubsamples];
      directions[i] = WorldDirection(
          rays_->Beside(x0 + index % kTile, y0 + index / kTile, offset[0], offset[1]));
      packet.ray.Set(i, eye_.data(), directions[i].data(), 0, options_.max_distance_m);
    }
    world_.CastTogether16(&packet);
    RayHit hits[kRayPacketSize];
    RayPacket sun_rays;
    bool sun_visible[kRayPacketSize] = {};
    bool any_sun = false;
    Alike alike[kRayPacketSize];
    for (int i = 0; i < kRayPacketSize; ++i) {
      sun_rays.Disable(i);
      if (!packet.hit.IsHit(i)) continue;
      const float length = directions[i].norm();
      hits[i] =
          world_.Describe(packet.hit.instance[i], packet.hit.triangle[i], packet.hit.u[i],
                          packet.hit.v[i], packet.ray.far[i] * length, directions[i] / length);
      const int index = pixels[i / kSubsamples];
      alike[i] = FindAlike(x0 + index % kTile, y0 + index / kTile, kOffsets[i % kSubsamples],
                           hits[i], eye_ + packet.ray.far[i] * directions[i]);
      // Only where sun and shadow meet does it take a ray to tell them apart.
      if ((alike[i].lit != nullptr) != (alike[i].shaded != nullptr)) continue;
      if (shader_.has_sun() && hits[i].geometric_normal.dot(lighting_.to_sun) > 0 &&
          hits[i].normal.dot(lighting_.to_sun) > 0) {
        Vector3f position = eye_ + packet.ray.far[i] * directions[i];
        position += RayWorld::StartDistance(position) * hits[i].geometric_normal;
        sun_rays.Set(i, position.data(), lighting_.to_sun.data(), 0, kSunReachM);
        any_sun = true;
      }
    }
    if (any_sun) {
      world_.Occlude16(&sun_rays);
      for (int i = 0; i < kRayPacketSize; ++i) sun_visible[i] = sun_rays.far[i] > 0;
    }
    for (int k = 0; k < count; ++k) {
      const int x = x0 + pixels[k] % kTile, y = y0 + pixels[k] / kTile;
      Vector3f sum = Vector3f::Zero();
      for (int s = 0; s < kSubsamples; ++s) {
        const int i = k * kSubsamples + s;
        if (!packet.hit.IsHit(i)) {
          sum += SkyFrom(x, y, directions[i]);
          continue;
        }
        const Vector3f position = eye_ + packet.ray.far[i] * directions[i];
        const Pixel* like = sun_visible[i] ? alike[i].lit : alike[i].shaded;
        if (like == nullptr) like = sun_visible[i] ? alike[i].shaded : alike[i].lit;
        sum += like != nullptr ? colors_[static_cast<size_t>(like - pixels_.data())]
                               : ShadeAlone(x, y, hits[i], position, sun_visible[i]);
      }
      out[pixels[k]] = sum / kSubsamples;
    }
  }

  Vector3f SkyFrom(int x, int y, const Vector3f& direction) {
    for (const auto& [dx, dy] : {std::pair(0, 0), {-1, 0}, {1, 0}, {0, -1}, {0, 1}}) {
      const int i = x + dx, j = y + dy;
      if (i < 0 || j < 0 || i >= width_ || j >= height_) continue;
      if (at(i, j).depth <= 0 && rays_->at(i, j).allFinite()) return color(i, j);
    }
    Vector3f sky = SkyColor(lighting_, direction.normalized());
    sky = shader_.ThroughAir(sky, 150 / std::max(direction.normalized().z(), 0.03f));
    return ToneCurve(lighting_.exposure * sky);
  }

  // Of the pixel and those around, the nearest to the subsample that show the same surface.
  Alike FindAlike(int x, int y, const float* offset, const RayHit& hit,
                  const Vector3f& position) const {
    Alike best;
    float nearest[2] = {1e9f, 1e9f};
    const float tolerance = 0.004f * hit.distance + 0.002f;
    for (int j = std::max(y - 1, 0); j <= std::min(y + 1, height_ - 1); ++j) {
      for (int i = std::max(x - 1, 0); i <= std::min(x + 1, width_ - 1); ++i) {
        const Pixel& pixel = at(i, j);
        if (pixel.instance != hit.instance || pixel.material != hit.material ||
            pixel.part != hit.part) {
          continue;
        }
        const float dx = static_cast<float>(i - x) - offset[0];
        const float dy = static_cast<float>(j - y) - offset[1];
        const float distance = dx * dx + dy * dy;
        if (distance >= nearest[pixel.sun_visible] || pixel.normal.dot(hit.normal) < 0.93f ||
            std::abs((pixel.position - position).dot(hit.geometric_normal)) > tolerance) {
          continue;
        }
        nearest[pixel.sun_visible] = distance;
        (pixel.sun_visible ? best.lit : best.shaded) = &pixel;
      }
    }
    return best;
  }

  // Something thin that no pixel's centre hits.
  Vector3f ShadeAlone(int x, int y, const RayHit& hit, const Vector3f& position,
                      bool sun_visible) const {
    const Vector3f ray = (position - eye_) / hit.distance;
    Surface surface =
        shader_.SurfaceAt(hit, Footprint(hit.distance, -hit.geometric_normal.dot(ray)));
    surface.position = position;
    Vector3f light = surface.emission;
    if (sun_visible) light += shader_.SunAt(surface, -ray);
    light += surface.albedo.cwiseProduct(Indirect(static_cast<float>(x) + 0.5f,
                                                  static_cast<float>(y) + 0.5f, position,
                                                  hit.normal, hit.distance));
    if (shader_.has_lamps()) {
      const LampLight lamps = shader_.LampsAt(surface, -ray, 0.5f, 0, 0);
      const Vector3f origin = Shader::OffsetOrigin(surface);
      const Vector3f way = lamps.shadow_target - origin;
      if (lamps.shadow_end == 0 || !world_.Occluded(origin, way, lamps.shadow_end * way.norm())) {
        light += surface.albedo.cwiseProduct(lamps.diffuse) + lamps.specular;
      }
    }
    return ToneCurve(lighting_.exposure * shader_.ThroughAir(light, hit.distance));
  }

  void EncodePixel(const Vector3f& display, int x, int y) {
    uint8_t* out = view_.image.at(x, y);
    Vector3f value = display;
    for (int c = 0; c < 3; ++c) out[c] = EncodeSrgb(value[c]);
    if (noise_.any()) {
      noise_.Add(MixBits(options_.seed) + static_cast<uint64_t>(y) * width_ + x, out);
    }
  }

  void StoreTruth(int x, int y) {
    const Pixel& pixel = at(x, y);
    if (pixel.depth <= 0) return;
    *view_.depth_m.at(x, y) = pixel.depth;
    *view_.object.at(x, y) = world_.instances()[pixel.instance].object;
    *view_.instance.at(x, y) = pixel.instance;
    *view_.part.at(x, y) = pixel.part;
    *view_.material.at(x, y) = pixel.material;
    int8_t* normal = view_.normal.at(x, y);
    for (int c = 0; c < 3; ++c) {
      normal[c] = static_cast<int8_t>(std::lround(127 * std::clamp(pixel.normal[c], -1.f, 1.f)));
    }
  }

  const RayWorld& world_;
  const Lighting& lighting_;
  const RenderOptions& options_;
  Shader shader_;
  SensorNoise noise_;
  std::shared_ptr<const CameraRays> rays_;
  int width_, height_, block_width_, block_height_, gather_width_, gather_height_;
  Matrix3f rotation_;  // world from camera
  Vector3f eye_;
  std::array<std::vector<Vector3f>, 4> gather_directions_;  // z along the normal
  std::unique_ptr<Scratch> scratch_;
  std::vector<Pixel>& pixels_;
  std::vector<Vector3f>& colors_;    // as displayed, linear
  std::vector<float>& block_ratio_;  // of 4 x 4 pixels: their common lamp_ratio, or -1
  std::vector<GatherPoint>&gathered_, &smoothed_;
  RenderedView view_;
};

}  // namespace

RenderedView RenderCamera(const RayWorld& world, const Lighting& lighting, const Camera& camera,
                          const Rigid3& camera_from_world, const RenderOptions& options) {
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
