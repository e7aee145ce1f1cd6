// Sixteen rays side by side, as Embree takes them: what the renderer and the LiDAR cast.
#pragma once

#include <cstdint>

namespace athanor {

inline constexpr int kRayPacketSize = 16;

// Fill origin, direction (any length: distances count in its lengths) and the interval; unused rays
// have far < near.
struct alignas(64) RayPacket {
  float origin_x[16], origin_y[16], origin_z[16];
  float near[16];
  float direction_x[16], direction_y[16], direction_z[16];
  float time[16];
  float far[16];  // after Cast: where it hit; after Occlude: negative when something is in between
  uint32_t mask[16];
  uint32_t id[16];
  uint32_t flags[16];

  void Set(int i, const float* origin, const float* direction, float near_distance,
           float far_distance) {
    origin_x[i] = origin[0];
    origin_y[i] = origin[1];
    origin_z[i] = origin[2];
    direction_x[i] = direction[0];
    direction_y[i] = direction[1];
    direction_z[i] = direction[2];
    near[i] = near_distance;
    far[i] = far_distance;
    time[i] = 0;
    mask[i] = 0xffffffffu;
    id[i] = 0;
    flags[i] = 0;
  }
  // Leaves lane `i` out.
  void Disable(int i) {
    const float zero[3] = {0, 0, 0}, up[3] = {0, 0, 1};
    Set(i, zero, up, 0, -1);
  }
};

inline constexpr uint32_t kNoHit = 0xffffffffu;

struct alignas(64) HitPacket {
  float normal_x[16], normal_y[16], normal_z[16];  // mesh frame, not unit
  float u[16], v[16];                              // barycentric: of the second and third vertex
  uint32_t triangle[16];
  uint32_t geometry[16];  // kNoHit when the ray hits nothing
  uint32_t instance[16];  // into RayWorld::instances()

  bool IsHit(int i) const { return geometry[i] != kNoHit; }
};

struct RayHitPacket {
  RayPacket ray;
  HitPacket hit;
};

}  // namespace athanor
