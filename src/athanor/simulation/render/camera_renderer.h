// Pictures of a simulated world with the truth of every pixel, by ray casting.
//
// Light: sun, sky, lamps (shadowed), one bounce of indirect light gathered at every eighth pixel,
// highlights and mirrors. Edges are anti-aliased where objects, normals or shadows change. The same
// world and options give the same bytes, whatever the number of threads.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "athanor/geometry/camera.h"
#include "athanor/geometry/rigid3.h"
#include "athanor/media/image.h"
#include "athanor/simulation/ray_world.h"
#include "athanor/simulation/render/lighting.h"

namespace athanor {

struct CameraRenderOptions {
  bool antialias = true;
  bool indirect = true;        // one bounce of light; otherwise Lighting::ambient and the sky alone
  int gather_rays = 16;        // per gathering point, 1 to 256; rounded up to a multiple of 16
  int lamp_rays = 1;           // shadow rays to lamps per pixel, 1 to 16; neighbours share theirs
  bool mirrors = true;         // reflections of smooth surfaces
  float max_distance_m = 600;  // along the z axis; of reflections: along the ray
  uint64_t seed = 0;           // of rain, noise: e.g. the frame's number
  // Sensor: standard deviation of the noise in dark and in bright parts, of 255.
  float noise_dark = 0;
  float noise_bright = 0;
  bool truth = true;  // fill the fields of RenderedView other than `image`
};

// [height, width] each. Truth is that of the ray through the pixel's centre.
struct RenderedView {
  Image image;                       // RGB
  FloatImage depth_m;                // along the camera's z axis; 0: nothing hit
  ImageOf<int32_t> object;           // MeshInstance::object; -1: nothing hit
  ImageOf<int32_t> instance;         // into RayWorld::instances(), whose mesh names the parts; -1
  ImageOf<uint16_t> part, material;  // of that object's mesh; 0 where nothing is hit
  ImageOf<int8_t> normal;            // 3 channels, world frame, times 127; 0 where nothing is hit
};

// The classes of objects, for each pixel: classes[object], `none` where nothing is hit. Throws
// Error for an object that `classes` does not have.
Image ClassImage(const RenderedView& view, const std::vector<uint8_t>& class_of_object,
                 uint8_t none = 0);

// Renders `camera` at a pose. Pixels outside the camera model's domain are black and hit nothing.
// The direction tables of the last cameras are kept, so a rig of a few costs nothing to repeat.
// Thread-safe; uses all threads itself (base/parallel.h). Throws Error for a camera that is not
// valid, a pose that is not finite, or options out of range.
RenderedView RenderCamera(const RayWorld& world, const Lighting& lighting, const Camera& camera,
                          const Rigid3& camera_from_world, const CameraRenderOptions& options = {});

}  // namespace athanor
