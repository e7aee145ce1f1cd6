// One picture while it is made: rays, gathered light, shading, edges, each in a file of its own
// (camera_renderer.cc, gathered_light.cc, frame_shading.cc, frame_edges.cc). Internal to render/.
#pragma once

#include <Eigen/Geometry>
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "athanor/simulation/big_vector.h"
#include "athanor/simulation/render/camera_rays.h"
#include "athanor/simulation/render/camera_renderer.h"
#include "athanor/simulation/render/sensor_effects.h"
#include "athanor/simulation/render/shading.h"

namespace athanor {

inline constexpr int kTile = 16;   // pixels
inline constexpr int kBlock = 4;   // a packet of rays
inline constexpr int kGather = 8;  // pixels between gathering points

// What a pixel's centre sees.
struct Pixel {
  Eigen::Vector3f position = Eigen::Vector3f::Zero();
  float depth = 0;  // along z; 0: nothing hit
  Eigen::Vector3f normal = Eigen::Vector3f::Zero();
  float lamp_ratio = 1;  // of the lamps' light that arrives
  Eigen::Vector3f geometric_normal = Eigen::Vector3f::Zero();
  float mirror = 0;
  Eigen::Vector3f albedo = Eigen::Vector3f::Zero();
  float distance = 0;
  Eigen::Vector3f lit = Eigen::Vector3f::Zero();  // emission and sun
  int32_t instance = -1;
  Eigen::Vector3f lamps = Eigen::Vector3f::Zero();  // what they add where all of it arrives
  uint16_t part = 0, material = 0;
  bool sun_visible = false;
};

struct GatherPoint {
  Eigen::Vector3f light = Eigen::Vector3f::Zero();  // irradiance
  Eigen::Vector3f position, normal;
  bool valid = false;
};

// Pixels that show what a subsample hits, in the sun and in shadow; null: none does.
struct Alike {
  const Pixel *lit = nullptr, *shaded = nullptr;
};

// What a picture is made in: some 40 MB, kept from one to the next, for fresh memory is slow.
struct Scratch {
  BigVector<Pixel> pixels;
  BigVector<Eigen::Vector3f> colors;
  std::vector<float> block_ratio;
  std::vector<GatherPoint> gathered, smoothed;
};

// Whether two pixels show one smooth surface.
inline bool IsSameSurface(const Pixel& a, const Pixel& b) {
  return a.instance == b.instance && a.normal.dot(b.normal) > 0.9f &&
         std::abs((b.position - a.position).dot(a.geometric_normal)) < 0.004f * a.distance + 0.002f;
}

class FrameRenderer {
 public:
  FrameRenderer(const RayWorld& world, const Lighting& lighting, const Camera& camera,
                const Rigid3& camera_from_world, const CameraRenderOptions& options);
  ~FrameRenderer();
  FrameRenderer(const FrameRenderer&) = delete;
  FrameRenderer& operator=(const FrameRenderer&) = delete;

  RenderedView Render();

 private:
  Pixel& at(int x, int y) { return pixels_[static_cast<size_t>(y) * width_ + x]; }
  const Pixel& at(int x, int y) const { return pixels_[static_cast<size_t>(y) * width_ + x]; }
  const Eigen::Vector3f& color(int x, int y) const {
    return colors_[static_cast<size_t>(y) * width_ + x];
  }
  Eigen::Vector3f& color(int x, int y) { return colors_[static_cast<size_t>(y) * width_ + x]; }

  Eigen::Vector3f WorldDirection(const Eigen::Vector2f& direction) const {
    return rotation_ * Eigen::Vector3f(direction.x(), direction.y(), 1);
  }
  // Size of a pixel on a surface.
  float Footprint(float distance, float cosine) const {
    return distance * rays_->pixel_angle_rad / std::sqrt(std::max(cosine, 0.05f));
  }

  // camera_renderer.cc: rays, surfaces, direct light.
  void SeeTile(int x0, int y0, int x1, int y1);
  void SeeBlock(int x0, int y0);
  // Each pixel draws one lamp (or a few) and a point on it, in turn with its neighbours; ShadeTile
  // averages over them.
  void LightByLamps(const RayHitPacket& packet, const Eigen::Vector3f* directions,
                    const Surface* surfaces, const Eigen::Vector3f* origins, Pixel* const* pixels,
                    int x0, int y0);
  // Schlick's law on what the material reflects head-on; matt surfaces reflect no image.
  static float MirrorShare(const Surface& surface, float cosine);

  // gathered_light.cc.
  // Directions over the hemisphere, denser around z by the cosine; four turned copies.
  void MakeGatherDirections();
  void GatherRow(int row);
  Eigen::Vector3f Gather(const Pixel& pixel, int copy, uint32_t seed) const;
  // A tent over 3 x 3 points weighs the four turned copies alike, which hides their difference.
  void SmoothRow(int row);
  // Light gathered around a pixel.
  Eigen::Vector3f Indirect(float px, float py, const Eigen::Vector3f& position,
                           const Eigen::Vector3f& normal, float distance) const;

  // frame_shading.cc: light, reflections, air.
  float LampRatio(int x, int y) const;
  void ShadeTile(int x0, int y0, int x1, int y1);
  // Pixels outside the camera's domain get no light.
  Eigen::Vector3f SkyAt(const Eigen::Vector2f& direction) const;

  // frame_edges.cc: anti-aliasing, bytes.
  bool Differs(const Pixel& a, const Pixel& b) const;
  // Which of `count` pixels from (x, y) on differ from those `dx`, `dy` on such that averaging the
  // two can be seen: about two of 255 steps apart. Channel by channel, for vector instructions.
  void CompareColors(int x, int y, int dx, int dy, int count, bool* differs) const;
  // Sets edge[index] for the pixels of a tile that differ from one beside, above or below.
  void FindEdges(int x0, int y0, int x1, int y1, bool* edge) const;
  void FinishTile(int x0, int y0, int x1, int y1);
  // Four rays through each of up to four pixels. What they hit is mostly what the pixels around
  // have shaded, so its colour is taken from there.
  void Supersample(int x0, int y0, const int* pixels, int count, Eigen::Vector3f* out);
  Eigen::Vector3f SkyFrom(int x, int y, const Eigen::Vector3f& direction);
  // Of the pixel and those around, the nearest to the subsample that show the same surface.
  Alike FindAlike(int x, int y, const float* offset, const RayHit& hit,
                  const Eigen::Vector3f& position) const;
  // Something thin that no pixel's centre hits.
  Eigen::Vector3f ShadeAlone(int x, int y, const RayHit& hit, const Eigen::Vector3f& position,
                             bool sun_visible) const;
  void EncodePixel(const Eigen::Vector3f& display, int x, int y);
  void StoreTruth(int x, int y);

  const RayWorld& world_;
  const Lighting& lighting_;
  const CameraRenderOptions& options_;
  Shader shader_;
  SensorNoise noise_;
  std::shared_ptr<const CameraRays> rays_;
  int width_, height_, block_width_, block_height_, gather_width_, gather_height_;
  Eigen::Matrix3f rotation_;  // world from camera
  Eigen::Vector3f eye_;
  std::array<std::vector<Eigen::Vector3f>, 4> gather_directions_;  // z along the normal
  std::unique_ptr<Scratch> scratch_;
  BigVector<Pixel>& pixels_;
  BigVector<Eigen::Vector3f>& colors_;  // as displayed, linear
  std::vector<float>& block_ratio_;     // of 4 x 4 pixels: their common lamp_ratio, or -1
  std::vector<GatherPoint>&gathered_, &smoothed_;
  RenderedView view_;
};

}  // namespace athanor
