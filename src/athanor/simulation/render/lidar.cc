#include "athanor/simulation/render/lidar.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/base/random.h"

namespace athanor {
namespace {

using Eigen::Vector3f;

constexpr float kGlassMirror = 0.15f;   // materials that mirror more let light through
constexpr float kIntensityRangeM = 50;  // where calibration no longer makes up for distance
constexpr float kPowerRangeM = 100;     // where power is counted
constexpr float kSpuriousPathM = 5;     // of fog that sends back a return of its own
constexpr float kMaxSpuriousRangeM = 20;

struct Return {
  float range = 0;  // 0: none
  float power = 0, intensity = 0;
  int32_t object = -1;
};

// One ray: which beam at which moment.
struct Shot {
  Vector3f direction;  // world, unit
  Vector3f origin;     // world
  Random random{0};
};

struct Chunk {
  std::vector<Vector3f> points;
  std::vector<float> intensity, time_s;
  std::vector<uint16_t> ring;
  std::vector<int32_t> object;
};

class Turn {
 public:
  Turn(const RayWorld& world, const Lighting& weather, const LidarModel& model, uint64_t seed)
      : world_(world), model_(model), extinction_(weather.fog_extinction_per_m), seed_(seed) {
    spurious_ = 1 - std::exp(-kSpuriousPathM * extinction_);
  }

  // Azimuth steps [begin, end), with the sensor's pose at each.
  Chunk Measure(int begin, int end, const std::vector<Rigid3>& world_from_sensor,
                const std::vector<double>& times) const {
    Chunk chunk;
    const int rings = static_cast<int>(model_.elevations_rad.size());
    std::vector<Return> returns(static_cast<size_t>(rings) * (end - begin));
    std::vector<Vector3f> directions(returns.size());  // sensor frame
    for (int ring = 0; ring < rings; ++ring) {
      for (int first = begin; first < end; first += kRayPacketSize) {
        Shot shots[kRayPacketSize];
        const int count = std::min(kRayPacketSize, end - first);
        for (int i = 0; i < count; ++i) {
          const size_t slot = static_cast<size_t>(first + i - begin) * rings + ring;
          shots[i].random = Random(MixBits(seed_) + static_cast<uint64_t>(first + i) * rings +
                                   static_cast<uint64_t>(ring));
          directions[slot] = DirectionOf(first + i, ring, &shots[i].random);
          const Rigid3& pose = world_from_sensor[first + i];
          shots[i].direction =
              (pose.rotation * directions[slot].cast<double>()).cast<float>().normalized();
          shots[i].origin = pose.translation.cast<float>();
        }
        Return packet[kRayPacketSize];
        Shoot(shots, count, packet);
        for (int i = 0; i < count; ++i) {
          returns[static_cast<size_t>(first + i - begin) * rings + ring] = packet[i];
        }
      }
    }
    const Rigid3 sensor_from_world = end_pose_.Inverse();
    for (int step = begin; step < end; ++step) {
      const Rigid3 end_from_sensor = sensor_from_world * world_from_sensor[step];
      for (int ring = 0; ring < rings; ++ring) {
        const size_t slot = static_cast<size_t>(step - begin) * rings + ring;
        const Return& hit = returns[slot];
        if (hit.range <= 0) continue;
        const Eigen::Vector3d measured = (hit.range * directions[slot]).cast<double>();
        chunk.points.push_back((end_from_sensor * measured).cast<float>());
        chunk.intensity.push_back(hit.intensity);
        chunk.time_s.push_back(static_cast<float>(times[step]));
        chunk.ring.push_back(static_cast<uint16_t>(ring));
        chunk.object.push_back(hit.object);
      }
    }
    return chunk;
  }

  void set_end_pose(const Rigid3& pose) { end_pose_ = pose; }

 private:
  Vector3f DirectionOf(int step, int ring, Random* random) const {
    float azimuth = model_.start_azimuth_rad + (model_.clockwise ? -1.f : 1.f) * 2 *
                                                   std::numbers::pi_v<float> *
                                                   (static_cast<float>(step) + 0.5f) /
                                                   static_cast<float>(model_.azimuth_steps);
    float elevation = model_.elevations_rad[ring];
    if (model_.noise && model_.direction_noise_rad > 0) {
      azimuth += model_.direction_noise_rad * random->Normal();
      elevation += model_.direction_noise_rad * random->Normal();
    }
    const float flat = std::cos(elevation);
    return {flat * std::cos(azimuth), flat * std::sin(azimuth), std::sin(elevation)};
  }

  // What comes back from a hit, at `range` in all, of `light` that got there.
  Return ReturnOf(const RayHit& hit, const Vector3f& direction, float range, float light) const {
    const MeshInstance& instance = world_.instances()[hit.instance];
    const SurfaceMaterial& material = world_.mesh(instance.mesh).materials[hit.material];
    const float cosine = std::max(0.f, -hit.normal.dot(direction));
    const float reflected = material.lidar_reflectance * cosine + material.retroreflection;
    const float air = std::exp(-2 * extinction_ * range);
    const float ratio = kPowerRangeM / std::max(range, 1.f);
    const float calibrated = range / kIntensityRangeM;
    Return result;
    result.range = range;
    result.power = light * reflected * air * ratio * ratio;
    result.intensity = light * reflected * air / (1 + calibrated * calibrated);
    result.object = hit.object;
    return result;
  }

  void Shoot(Shot* shots, int count, Return* returns) const {
    RayHitPacket packet;
    for (int i = 0; i < kRayPacketSize; ++i) {
      packet.ray.Disable(i);
      if (i < count) {
        packet.ray.Set(i, shots[i].origin.data(), shots[i].direction.data(), model_.min_range_m,
                       model_.max_range_m);
      }
    }
    world_.Cast16(&packet);
    for (int i = 0; i < count; ++i) {
      Return& result = returns[i];
      if (packet.hit.IsHit(i)) {
        const float range = packet.ray.far[i];
        const RayHit hit =
            world_.Describe(packet.hit.instance[i], packet.hit.triangle[i], packet.hit.u[i],
                            packet.hit.v[i], range, shots[i].direction);
        result = ReturnOf(hit, shots[i].direction, range, 1);
        const SurfaceMaterial& material =
            world_.mesh(world_.instances()[hit.instance].mesh).materials[hit.material];
        if (material.mirror > kGlassMirror && material.metallic < 0.5f) {
          result = ThroughGlass(shots[i], range, material.mirror, result);
        }
      }
      if (model_.noise) AddNoise(&shots[i].random, &result);
      result.intensity = std::clamp(result.intensity, 0.f, 1.f);
    }
  }

  Return ThroughGlass(const Shot& shot, float range, float mirror, const Return& front) const {
    // Clean glass scatters next to nothing back.
    Return best = front;
    best.power *= 1 - mirror;
    best.intensity *= 1 - mirror;
    const float start = range + 0.02f;
    if (start >= model_.max_range_m) return best;
    const RayHit hit = world_.Cast(shot.origin + start * shot.direction, shot.direction,
                                   model_.max_range_m - start);
    if (hit.instance < 0) return best;
    const float passed = (1 - mirror) * (1 - mirror);
    const Return behind = ReturnOf(hit, shot.direction, start + hit.distance, passed);
    return behind.power > best.power ? behind : best;
  }

  void AddNoise(Random* random, Return* result) const {
    const float lost = random->Uniform(), needed = random->Uniform(0.5f, 1.5f);
    const float range_noise = random->Normal(), intensity_noise = random->Normal();
    const float chance = random->Uniform(), depth = random->Uniform();
    if (result->range > 0 &&
        (lost < model_.dropout || result->power < needed * model_.detection_threshold)) {
      *result = Return();
    }
    if (result->range > 0) {
      result->range = std::clamp(result->range + model_.range_noise_m * range_noise,
                                 model_.min_range_m, model_.max_range_m);
      result->intensity += model_.intensity_noise * intensity_noise * std::sqrt(result->intensity);
    }
    if (chance < spurious_) {
      // Drops near the sensor shine brightest.
      const float range =
          model_.min_range_m -
          std::log(std::max(1 - depth, 1e-6f)) * std::min(0.3f / std::max(extinction_, 1e-6f), 6.f);
      if (range < kMaxSpuriousRangeM && (result->range <= 0 || range < result->range)) {
        *result = Return();
        result->range = range;
        result->intensity = 0.004f + 0.03f * random->Uniform();
      }
    }
  }

  const RayWorld& world_;
  const LidarModel& model_;
  float extinction_, spurious_;
  uint64_t seed_;
  Rigid3 end_pose_;
};

}  // namespace

LidarModel NuScenesLidar() {
  LidarModel model;
  for (int i = 0; i < 32; ++i) {
    model.elevations_rad.push_back((-30.67f + 41.34f * static_cast<float>(i) / 31) *
                                   std::numbers::pi_v<float> / 180);
  }
  model.start_azimuth_rad = -0.5f * std::numbers::pi_v<float>;
  return model;
}

SimulatedSweep SimulateLidar(RayWorld* world, const Lighting& weather, const LidarModel& model,
                             const LidarMotion& motion, uint64_t seed) {
  ATHANOR_CHECK(!model.elevations_rad.empty() && model.elevations_rad.size() <= 1024,
                "lidar: expected 1 to 1024 beams, found ", model.elevations_rad.size());
  ATHANOR_CHECK(model.azimuth_steps >= 1 && model.azimuth_steps <= 100000,
                "lidar: expected 1 to 100000 steps per turn, found ", model.azimuth_steps);
  ATHANOR_CHECK(model.min_range_m >= 0 && model.max_range_m > model.min_range_m,
                "lidar: range from ", model.min_range_m, " to ", model.max_range_m, " m");
  ATHANOR_CHECK(motion.world_from_sensor != nullptr, "lidar: no pose is given");
  ATHANOR_CHECK(motion.instance_steps >= 1, "lidar: expected 1 or more steps of instances, found ",
                motion.instance_steps);

  const int steps = model.azimuth_steps;
  std::vector<Rigid3> poses(steps);
  std::vector<double> times(steps);
  for (int i = 0; i < steps; ++i) {
    times[i] = -model.turn_s * (1 - (i + 0.5) / steps);
    poses[i] = motion.world_from_sensor(times[i]);
    ATHANOR_CHECK(poses[i].translation.allFinite() && poses[i].rotation.coeffs().allFinite(),
                  "lidar: the pose at ", times[i], " s is not finite");
  }
  Turn turn(*world, weather, model, seed);
  turn.set_end_pose(motion.world_from_sensor(0));

  SimulatedSweep result;
  const int groups = motion.instances ? std::min(motion.instance_steps, steps) : 1;
  constexpr int kStepsPerChunk = 4 * kRayPacketSize;
  for (int group = 0; group < groups; ++group) {
    const int first = static_cast<int>(int64_t{steps} * group / groups);
    const int last = static_cast<int>(int64_t{steps} * (group + 1) / groups);
    if (motion.instances) {
      world->SetInstances(motion.instances(0.5 * (times[first] + times[last - 1])));
    }
    const int chunks = (last - first + kStepsPerChunk - 1) / kStepsPerChunk;
    std::vector<Chunk> measured(chunks);
    ParallelChunks(chunks, [&](int64_t c) {
      const int begin = first + static_cast<int>(c) * kStepsPerChunk;
      measured[c] = turn.Measure(begin, std::min(begin + kStepsPerChunk, last), poses, times);
    });
    for (const Chunk& chunk : measured) {
      const auto append = [](const auto& from, auto* to) {
        to->insert(to->end(), from.begin(), from.end());
      };
      append(chunk.points, &result.sweep.points);
      append(chunk.intensity, &result.sweep.intensity);
      append(chunk.ring, &result.sweep.ring);
      append(chunk.time_s, &result.sweep.time_s);
      append(chunk.object, &result.object);
    }
  }
  if (motion.instances) world->SetInstances(motion.instances(0));
  return result;
}

}  // namespace athanor
