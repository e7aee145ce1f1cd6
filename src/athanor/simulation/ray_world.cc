#include "athanor/simulation/ray_world.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "athanor/base/error.h"
#include "athanor/simulation/big_vector.h"
#include "athanor/simulation/embree_compat.h"
#include "athanor/simulation/mesh_builder.h"

namespace athanor {
namespace {

using Eigen::Matrix3f;
using Eigen::Vector2f;
using Eigen::Vector3f;

// One thread builds a hierarchy: the same triangles always give the same one, so that rays through
// edges that two triangles share hit the same one in every run.
constexpr char kDeviceConfig[] = "threads=1,verbose=0";

// One division instead of three.
Vector3f Unit(const Vector3f& v) { return v * (1 / std::max(v.norm(), 1e-30f)); }

void ThrowEmbreeError(void*, RTCError code, const char* message) {
  if (code != RTC_ERROR_NONE) {
    throw Error(StrCat("ray casting: Embree reports error ", static_cast<int>(code), ": ",
                       message != nullptr ? message : ""));
  }
}

// All that a hit on a triangle needs, in two cache lines: gathered from the arrays of a Mesh it
// would be a dozen.
struct alignas(64) Triangle {
  Vector3f position[3], normal[3];
  Vector2f uv[3];
  uint16_t part, material;
  bool smooth;  // has normals
};

BigVector<Triangle> TrianglesOf(const Mesh& mesh) {
  BigVector<Triangle> triangles(mesh.triangles.size());
  for (size_t t = 0; t < triangles.size(); ++t) {
    Triangle& triangle = triangles[t];
    const auto& corners = mesh.triangles[t];
    const Vector3f face = (mesh.vertices[corners[1]] - mesh.vertices[corners[0]])
                              .cross(mesh.vertices[corners[2]] - mesh.vertices[corners[0]]);
    for (int k = 0; k < 3; ++k) {
      const uint32_t vertex = mesh.triangles[t][k];
      triangle.position[k] = mesh.vertices[vertex];
      triangle.normal[k] = mesh.normals.empty() ? Vector3f::Zero().eval() : mesh.normals[vertex];
      triangle.uv[k] =
          mesh.uv.empty() ? BoxProjection(mesh.vertices[vertex], face) : mesh.uv[vertex];
    }
    triangle.part = mesh.triangle_part[t];
    triangle.material = mesh.triangle_material[t];
    triangle.smooth = !mesh.normals.empty();
  }
  return triangles;
}

}  // namespace

struct RayWorld::State {
  struct Instance {
    RTCGeometry geometry = nullptr;
    Matrix3f rotation;
    Vector3f translation;
  };

  RTCDevice device = nullptr;
  RTCScene world = nullptr;
  std::vector<Mesh> meshes;
  std::vector<BigVector<Triangle>> triangles;  // of each mesh
  std::vector<RTCScene> mesh_scenes;
  std::vector<MeshInstance> instances;
  std::vector<Instance> built;

  State() {
    device = rtcNewDevice(kDeviceConfig);
    ATHANOR_CHECK(device != nullptr, "ray casting: Embree does not start (error ",
                  static_cast<int>(rtcGetDeviceError(nullptr)), ")");
    rtcSetDeviceErrorFunction(device, ThrowEmbreeError, nullptr);
    world = rtcNewScene(device);
    rtcSetSceneFlags(world, RTC_SCENE_FLAG_DYNAMIC);
    rtcSetSceneBuildQuality(world, RTC_BUILD_QUALITY_MEDIUM);
    rtcCommitScene(world);
  }
  ~State() {
    for (const Instance& instance : built) rtcReleaseGeometry(instance.geometry);
    rtcReleaseScene(world);
    for (RTCScene scene : mesh_scenes) rtcReleaseScene(scene);
    rtcReleaseDevice(device);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void SetPose(Instance* instance, const Rigid3& world_from_mesh) {
    instance->rotation = world_from_mesh.rotation.toRotationMatrix().cast<float>();
    instance->translation = world_from_mesh.translation.cast<float>();
    float matrix[12];  // columns
    for (int i = 0; i < 3; ++i) {
      for (int k = 0; k < 3; ++k) matrix[3 * k + i] = instance->rotation(i, k);
      matrix[9 + i] = instance->translation[i];
    }
    rtcSetGeometryTransform(instance->geometry, 0, RTC_FORMAT_FLOAT3X4_COLUMN_MAJOR, matrix);
    rtcCommitGeometry(instance->geometry);
  }
};

RayWorld::RayWorld() : state_(std::make_unique<State>()) {}
RayWorld::~RayWorld() = default;
RayWorld::RayWorld(RayWorld&&) noexcept = default;
RayWorld& RayWorld::operator=(RayWorld&&) noexcept = default;

int RayWorld::AddMesh(Mesh mesh, bool asked_often) {
  const int index = num_meshes();
  CheckMesh(mesh, StrCat("ray world: mesh ", index));
  RTCDevice device = state_->device;
  RTCScene scene = rtcNewScene(device);
  state_->mesh_scenes.push_back(scene);
  if (asked_often) rtcSetSceneBuildQuality(scene, RTC_BUILD_QUALITY_HIGH);
  if (!mesh.triangles.empty()) {
    RTCGeometry geometry = rtcNewGeometry(device, RTC_GEOMETRY_TYPE_TRIANGLE);
    auto* vertices = static_cast<float*>(
        rtcSetNewGeometryBuffer(geometry, RTC_BUFFER_TYPE_VERTEX, 0, RTC_FORMAT_FLOAT3,
                                3 * sizeof(float), mesh.vertices.size()));
    auto* triangles = static_cast<uint32_t*>(
        rtcSetNewGeometryBuffer(geometry, RTC_BUFFER_TYPE_INDEX, 0, RTC_FORMAT_UINT3,
                                3 * sizeof(uint32_t), mesh.triangles.size()));
    for (const Vector3f& v : mesh.vertices) vertices = std::copy_n(v.data(), 3, vertices);
    for (const auto& t : mesh.triangles) triangles = std::copy_n(t.data(), 3, triangles);
    rtcCommitGeometry(geometry);
    rtcAttachGeometry(scene, geometry);
    rtcReleaseGeometry(geometry);
  }
  rtcCommitScene(scene);
  state_->triangles.push_back(TrianglesOf(mesh));
  state_->meshes.push_back(std::move(mesh));
  return index;
}

int RayWorld::num_meshes() const { return static_cast<int>(state_->meshes.size()); }

const Mesh& RayWorld::mesh(int index) const {
  ATHANOR_CHECK(index >= 0 && index < num_meshes(), "ray world: mesh ", index, " of ",
                num_meshes());
  return state_->meshes[index];
}

void RayWorld::SetInstances(std::vector<MeshInstance> instances) {
  State& s = *state_;
  for (size_t i = 0; i < instances.size(); ++i) {
    const MeshInstance& instance = instances[i];
    ATHANOR_CHECK(instance.mesh >= 0 && instance.mesh < num_meshes(), "ray world: instance ", i,
                  ": mesh ", instance.mesh, " of ", num_meshes());
    ATHANOR_CHECK(instance.object >= 0, "ray world: instance ", i, ": object ", instance.object,
                  ", expected 0 or more");
    ATHANOR_CHECK(instance.world_from_mesh.translation.allFinite() &&
                      std::abs(instance.world_from_mesh.rotation.norm() - 1) < 1e-3,
                  "ray world: instance ", i, ": the pose is not a finite rotation and translation");
  }
  // Slots are used again: making an instance anew costs many times what moving it does.
  const size_t kept = std::min(instances.size(), s.built.size());
  bool changed = instances.size() != s.built.size();
  for (size_t i = 0; i < kept; ++i) {
    const Rigid3 &pose = instances[i].world_from_mesh, &old = s.instances[i].world_from_mesh;
    const bool other_mesh = instances[i].mesh != s.instances[i].mesh;
    if (!other_mesh && pose.translation == old.translation &&
        pose.rotation.coeffs() == old.rotation.coeffs()) {
      continue;
    }
    if (other_mesh) {
      rtcSetGeometryInstancedScene(s.built[i].geometry, s.mesh_scenes[instances[i].mesh]);
    }
    s.SetPose(&s.built[i], pose);
    changed = true;
  }
  while (s.built.size() > kept) {
    rtcDetachGeometry(s.world, static_cast<unsigned>(s.built.size() - 1));
    rtcReleaseGeometry(s.built.back().geometry);
    s.built.pop_back();
  }
  for (size_t i = kept; i < instances.size(); ++i) {
    State::Instance instance;
    instance.geometry = rtcNewGeometry(s.device, RTC_GEOMETRY_TYPE_INSTANCE);
    rtcSetGeometryInstancedScene(instance.geometry, s.mesh_scenes[instances[i].mesh]);
    rtcSetGeometryTimeStepCount(instance.geometry, 1);
    s.SetPose(&instance, instances[i].world_from_mesh);
    rtcAttachGeometryByID(s.world, instance.geometry, static_cast<unsigned>(i));
    s.built.push_back(instance);
  }
  if (changed) rtcCommitScene(s.world);
  s.instances = std::move(instances);
}

const std::vector<MeshInstance>& RayWorld::instances() const { return state_->instances; }

float RayWorld::StartDistance(const Vector3f& origin) {
  return 2e-4f + 4e-6f * origin.cwiseAbs().maxCoeff();
}

RayHit RayWorld::Cast(const Vector3f& origin, const Vector3f& direction, float max_distance) const {
  const Vector3f unit = direction.normalized();
  alignas(16) RTCRayHit ray;
  ray.ray.org_x = origin.x();
  ray.ray.org_y = origin.y();
  ray.ray.org_z = origin.z();
  ray.ray.dir_x = unit.x();
  ray.ray.dir_y = unit.y();
  ray.ray.dir_z = unit.z();
  ray.ray.tnear = 0;
  ray.ray.tfar = max_distance;
  ray.ray.time = 0;
  ray.ray.mask = 0xffffffffu;
  ray.ray.id = 0;
  ray.ray.flags = 0;
  ray.hit.geomID = RTC_INVALID_GEOMETRY_ID;
  ray.hit.instID[0] = RTC_INVALID_GEOMETRY_ID;
  embree::Intersect1(state_->world, &ray);
  if (ray.hit.geomID == RTC_INVALID_GEOMETRY_ID) {
    RayHit none;
    none.distance = std::numeric_limits<float>::infinity();
    none.position = none.normal = none.geometric_normal = Vector3f::Zero();
    none.uv = Vector2f::Zero();
    return none;
  }
  return Describe(ray.hit.instID[0], ray.hit.primID, ray.hit.u, ray.hit.v, ray.ray.tfar, unit);
}

bool RayWorld::Occluded(const Vector3f& origin, const Vector3f& direction,
                        float max_distance) const {
  const Vector3f unit = direction.normalized();
  alignas(16) RTCRay ray;
  ray.org_x = origin.x();
  ray.org_y = origin.y();
  ray.org_z = origin.z();
  ray.dir_x = unit.x();
  ray.dir_y = unit.y();
  ray.dir_z = unit.z();
  ray.tnear = 0;
  ray.tfar = max_distance;
  ray.time = 0;
  ray.mask = 0xffffffffu;
  ray.id = 0;
  ray.flags = 0;
  embree::Occluded1(state_->world, &ray);
  return ray.tfar < 0;
}

// The packets of our headers are Embree's, member by member.
static_assert(sizeof(RayPacket) == sizeof(RTCRay16));
static_assert(sizeof(RayHitPacket) == sizeof(RTCRayHit16));
static_assert(offsetof(RayPacket, far) == offsetof(RTCRay16, tfar));
static_assert(offsetof(RayPacket, flags) == offsetof(RTCRay16, flags));
static_assert(offsetof(HitPacket, triangle) == offsetof(RTCHit16, primID));
static_assert(offsetof(HitPacket, instance) == offsetof(RTCHit16, instID));
static_assert(offsetof(RayHitPacket, hit) == offsetof(RTCRayHit16, hit));

void RayWorld::Cast16(RayHitPacket* packet) const {
  alignas(64) int valid[kRayPacketSize];
  for (int i = 0; i < kRayPacketSize; ++i) {
    valid[i] = packet->ray.far[i] >= packet->ray.near[i] ? -1 : 0;
    packet->hit.geometry[i] = kNoHit;
    packet->hit.instance[i] = kNoHit;
  }
  embree::Intersect16(valid, state_->world, reinterpret_cast<RTCRayHit16*>(packet));
}

void RayWorld::CastTogether16(RayHitPacket* packet) const {
  alignas(64) int valid[kRayPacketSize];
  bool used[kRayPacketSize];
  int first = -1;
  for (int i = 0; i < kRayPacketSize; ++i) {
    valid[i] = -1;
    packet->hit.geometry[i] = kNoHit;
    packet->hit.instance[i] = kNoHit;
    used[i] = packet->ray.far[i] >= packet->ray.near[i];
    if (used[i] && first < 0) first = i;
  }
  if (first < 0) return;
  RayPacket& ray = packet->ray;
  for (int i = 0; i < kRayPacketSize; ++i) {
    if (used[i]) continue;
    const float origin[3] = {ray.origin_x[first], ray.origin_y[first], ray.origin_z[first]};
    const float direction[3] = {ray.direction_x[first], ray.direction_y[first],
                                ray.direction_z[first]};
    ray.Set(i, origin, direction, ray.near[first], ray.far[first]);
  }
  embree::Intersect16(valid, state_->world, reinterpret_cast<RTCRayHit16*>(packet), true);
  for (int i = 0; i < kRayPacketSize; ++i) {
    if (used[i]) continue;
    ray.Disable(i);
    packet->hit.geometry[i] = kNoHit;
    packet->hit.instance[i] = kNoHit;
  }
}

void RayWorld::Occlude16(RayPacket* packet) const {
  alignas(64) int valid[kRayPacketSize];
  for (int i = 0; i < kRayPacketSize; ++i) valid[i] = packet->far[i] >= packet->near[i] ? -1 : 0;
  embree::Occluded16(valid, state_->world, reinterpret_cast<RTCRay16*>(packet));
}

RayHit RayWorld::Describe(uint32_t instance, uint32_t triangle, float u, float v, float distance,
                          const Vector3f& unit_direction) const {
  const MeshInstance& what = state_->instances[instance];
  const State::Instance& pose = state_->built[instance];
  const Triangle& on = state_->triangles[what.mesh][triangle];
  const float w = 1 - u - v;
  RayHit hit;
  hit.distance = distance;
  hit.instance = static_cast<int32_t>(instance);
  hit.object = what.object;
  hit.part = on.part;
  hit.material = on.material;
  const Vector3f &a = on.position[0], &b = on.position[1], &c = on.position[2];
  hit.position = w * a + u * b + v * c;
  hit.uv = w * on.uv[0] + u * on.uv[1] + v * on.uv[2];
  Vector3f geometric = pose.rotation * Unit((b - a).cross(c - a));
  Vector3f normal = geometric;
  if (on.smooth) {
    const Vector3f smooth = w * on.normal[0] + u * on.normal[1] + v * on.normal[2];
    if (smooth.squaredNorm() > 1e-8f) normal = pose.rotation * Unit(smooth);
  }
  if (geometric.dot(unit_direction) > 0) {
    geometric = -geometric;
    normal = -normal;
  }
  hit.geometric_normal = geometric;
  hit.normal = normal;
  return hit;
}

}  // namespace athanor
