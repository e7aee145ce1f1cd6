#include "athanor/simulation/street/scene.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/base/random.h"
#include "athanor/simulation/street/kinds.h"

namespace athanor {
namespace {

using Eigen::Vector2d;
using Eigen::Vector3d;
using Eigen::Vector3f;

constexpr double kDrawn_m = 160;      // actors farther from the ego vehicle are left out
constexpr double kWalkingMps = 0.25;  // below this people stand
constexpr int kMaxHeadlamps = 14;

bool IsDark(StreetWeather weather) {
  return weather == StreetWeather::kNight || weather == StreetWeather::kDusk;
}

bool LightsOn(StreetWeather weather) {
  return weather != StreetWeather::kSun && weather != StreetWeather::kOvercast;
}

// People, animals and things stand on what is under them; vehicles stay on the road.
bool FollowsGround(ActorClass actor_class) { return !IsVehicle(actor_class); }

constexpr double kBlinks_hz = 1.5;

// Bicycles have none that tell, and who is parked shows none.
bool HasLamps(const TrafficActor& actor) {
  return IsVehicle(actor.actor_class) && actor.actor_class != ActorClass::kBicycle &&
         !actor.parked && !actor.states.empty();
}

Lighting DrawLighting(StreetWeather weather, Random* random) {
  const float azimuth = random->Uniform(-3.14f, 3.14f);
  const float elevation = random->Uniform(0.35f, 1.0f), clouds = random->Uniform(0.1f, 0.55f);
  const float rain = random->Uniform(2.0f, 18.0f), visibility = random->Uniform(55.0f, 180.0f);
  Lighting lighting;
  switch (weather) {
    case StreetWeather::kSun:
      lighting = DayLighting(azimuth, elevation, clouds);
      break;
    case StreetWeather::kOvercast:
    case StreetWeather::kRain:
    case StreetWeather::kFog:
      lighting = OvercastLighting();
      break;
    case StreetWeather::kDusk:
      lighting = DuskLighting(azimuth);
      break;
    case StreetWeather::kNight:
      lighting = NightLighting();
      break;
  }
  if (weather == StreetWeather::kRain) AddRain(&lighting, rain);
  if (weather == StreetWeather::kFog) AddFog(&lighting, visibility);
  lighting.cloud_seed = random->NextBits();
  return lighting;
}

}  // namespace

std::string_view StreetWeatherName(StreetWeather weather) {
  constexpr std::array<std::string_view, 6> kNames = {"sun",   "overcast", "dusk",
                                                      "night", "rain",     "fog"};
  return kNames[static_cast<int>(weather)];
}

StreetScene::StreetScene(const TrafficNetwork& network, TrafficLog traffic, StreetWeather weather,
                         const TownOptions& town_options, uint64_t seed)
    : traffic_(std::move(traffic)), weather_(weather), seed_(seed) {
  Random random(MixBits(seed ^ 0x6c69676874ull));
  lighting_ = DrawLighting(weather, &random);
  TownOptions options = town_options;
  options.seed = MixBits(seed ^ 0x746f776eull);
  options.night = IsDark(weather);
  for (double t = 0; t <= traffic_.duration_s() + 1e-6; t += 1) {
    options.around.push_back(traffic_.WorldFromEgo(t).translation.head<2>());
  }
  for (const TrafficActor& actor : traffic_.actors) {
    // Who drives keeps to the lanes, which are free anyway; who is parked may stand beside them.
    if (!FollowsGround(actor.actor_class) && !actor.parked) continue;
    const double margin = actor.parked ? 0.2 : 0.5;
    for (size_t i = 0; i < actor.states.size(); i += 4) {
      const ActorState& state = actor.states[i];
      TownBuilding taken;
      taken.center_m = state.center_m.head<2>();
      taken.half_m = actor.size_m.head<2>() / 2 + Vector2d::Constant(margin);
      taken.yaw_rad = state.yaw_rad;
      options.keep_free.push_back(taken);
    }
  }
  town_ = BuildTown(network.roads, options);
  lighting_.lamps = town_.lamps;

  // Meshes: made on all threads, added in order.
  const int count = static_cast<int>(traffic_.actors.size());
  std::vector<ActorModel> models(count);
  std::vector<std::array<std::optional<Mesh>, kNumLamps>> lamp_models(count);
  ParallelChunks(count, [&](int64_t i) {
    const TrafficActor& actor = traffic_.actors[i];
    if (static_cast<int>(i) == traffic_.ego) return;
    ActorLook look;
    look.actor_class = actor.actor_class;
    look.size_m = actor.size_m;
    look.seed = actor.look_seed;
    look.rider = !actor.parked;
    look.lights_on = LightsOn(weather) && !actor.parked;
    models[i] = BuildActor(look);
    if (!HasLamps(actor)) return;
    for (const ActorState& state : actor.states) {
      const int lamps = LampsOf(actor.actor_class, state);
      // As it blinks, its indicators are dark half of the time.
      for (const int shine : {lamps, lamps & 1}) {
        if (shine == 0 || lamp_models[i][shine]) continue;
        look.braking = (shine & 1) != 0;
        look.blink_left = (shine & 2) != 0;
        look.blink_right = (shine & 4) != 0;
        lamp_models[i][shine] = std::move(BuildActor(look).meshes.front());
      }
    }
  });
  for (Mesh& mesh : town_.meshes) world_.AddMesh(std::move(mesh), true);
  static_instances_ = town_.instances;
  actors_.resize(count);
  for (int i = 0; i < count; ++i) {
    Actor& actor = actors_[i];
    const TrafficActor& source = traffic_.actors[i];
    actor.category = std::move(models[i].category);
    actor.stands = models[i].stands;
    actor.cycle_m = models[i].cycle_m;
    actor.rider = !source.parked;
    for (Mesh& mesh : models[i].meshes) actor.meshes.push_back(world_.AddMesh(std::move(mesh)));
    for (int lamps = 0; lamps < kNumLamps; ++lamps) {
      std::optional<Mesh>& mesh = lamp_models[i][lamps];
      actor.lamp_meshes[lamps] = mesh ? world_.AddMesh(std::move(*mesh)) : -1;
    }
    double way = 0;
    for (size_t s = 0; s < source.states.size(); ++s) {
      if (s > 0)
        way += (source.states[s].center_m - source.states[s - 1].center_m).head<2>().norm();
      actor.travel_m.push_back(static_cast<float>(way));
    }
  }
  MeasureGround();
}

int StreetScene::LampsOf(ActorClass actor_class, const ActorState& state) {
  const bool has_indicators = actor_class == ActorClass::kCar || actor_class == ActorClass::kVan;
  return (state.brake_light ? 1 : 0) | (has_indicators && state.blink_left ? 2 : 0) |
         (has_indicators && state.blink_right ? 4 : 0);
}

void StreetScene::MeasureGround() {
  world_.SetInstances(static_instances_);
  ParallelChunks(static_cast<int64_t>(actors_.size()), [&](int64_t i) {
    const TrafficActor& source = traffic_.actors[i];
    actors_[i].lift_m.assign(source.states.size(), 0);
    if (!FollowsGround(source.actor_class)) return;
    for (size_t s = 0; s < source.states.size(); ++s) {
      const Vector3d foot = source.states[s].center_m - Vector3d(0, 0, source.size_m.z() / 2);
      // The mean of a few places, so that nobody jumps up a kerb.
      constexpr std::array<std::array<float, 2>, 5> kPlaces = {
          {{0, 0}, {0.25f, 0}, {-0.25f, 0}, {0, 0.25f}, {0, -0.25f}}};
      float sum = 0;
      for (const auto& [dx, dy] : kPlaces) {
        const Vector3f from = foot.cast<float>() + Vector3f(dx, dy, 0.6f);
        const RayHit hit = world_.Cast(from, -Vector3f::UnitZ(), 1.0f);
        const auto part = static_cast<TownPart>(hit.object);
        if (hit.instance >= 0 && part <= TownPart::kSidewalk) sum += 0.6f - hit.distance;
      }
      actors_[i].lift_m[s] = std::clamp(sum / 5, -0.06f, 0.25f);
    }
  });
}

double StreetScene::Interpolate(const std::vector<float>& per_state, int actor,
                                double time_s) const {
  if (per_state.empty()) return 0;
  const double at = std::clamp(time_s / traffic_.step_s - traffic_.actors[actor].first_step, 0.0,
                               static_cast<double>(per_state.size() - 1));
  const auto i = static_cast<size_t>(at);
  const size_t j = std::min(i + 1, per_state.size() - 1);
  const double t = at - static_cast<double>(i);
  return (1 - t) * per_state[i] + t * per_state[j];
}

std::optional<Box3> StreetScene::BoxAt(int actor, double time_s) const {
  std::optional<Box3> box = traffic_.BoxAt(actor, time_s);
  if (box) box->frame_from_box.translation.z() += Interpolate(actors_[actor].lift_m, actor, time_s);
  return box;
}

std::string StreetScene::Attribute(int actor, double time_s) const {
  const std::optional<ActorState> state = traffic_.StateAt(actor, time_s);
  return ActorAttribute(actors_[actor].category, state ? state->speed_mps : 0,
                        traffic_.actors[actor].parked, actors_[actor].rider);
}

std::string StreetScene::Color(int actor) const {
  return ColorOfActor(traffic_.actors[actor].actor_class,
                      world_.mesh(actors_[actor].meshes.front()));
}

std::vector<MeshInstance> StreetScene::InstancesAt(double time_s) const {
  std::vector<MeshInstance> instances = static_instances_;
  const int step = std::clamp(static_cast<int>(std::floor(time_s / traffic_.step_s + 1e-6)), 0,
                              traffic_.num_steps - 1);
  for (const TownSignal& signal : town_.signals) {
    const std::string state = traffic_.LightState(signal.light, step);
    const char letter =
        signal.light_index < static_cast<int>(state.size()) ? state[signal.light_index] : 'O';
    MeshInstance instance;
    instance.mesh = town_.signal_meshes[SignalMeshOf(letter)];
    instance.world_from_mesh = signal.world_from_head;
    instance.object = static_cast<int32_t>(TownPart::kSignal);
    instances.push_back(instance);
  }
  const Vector2d ego = WorldFromEgo(time_s).translation.head<2>();
  for (int i = 0; i < static_cast<int>(actors_.size()); ++i) {
    if (i == traffic_.ego) continue;
    const std::optional<Box3> box = BoxAt(i, time_s);
    if (!box || (box->frame_from_box.translation.head<2>() - ego).norm() > kDrawn_m) continue;
    const Actor& actor = actors_[i];
    MeshInstance instance;
    instance.mesh = actor.meshes.front();
    const int phases = static_cast<int>(actor.meshes.size()) - (actor.stands ? 1 : 0);
    if (actor.meshes.size() > 1) {
      const double speed = traffic_.StateAt(i, time_s)->speed_mps;
      if (actor.stands && std::abs(speed) < kWalkingMps) {
        instance.mesh = actor.meshes.back();
      } else {
        const double turns = Interpolate(actor.travel_m, i, time_s) / actor.cycle_m;
        instance.mesh =
            actor.meshes[static_cast<int>((turns - std::floor(turns)) * phases) % phases];
      }
    }
    if (HasLamps(traffic_.actors[i])) {
      const TrafficActor& source = traffic_.actors[i];
      const int at = static_cast<int>(std::floor(time_s / traffic_.step_s + 1e-6));
      const int state =
          std::clamp(at - source.first_step, 0, static_cast<int>(source.states.size()) - 1);
      const bool bright = std::fmod(kBlinks_hz * time_s + 0.37 * i, 1.0) < 0.5;
      const int mesh =
          actor.lamp_meshes[LampsOf(source.actor_class, source.states[state]) & (bright ? 7 : 1)];
      if (mesh >= 0) instance.mesh = mesh;
    }
    instance.world_from_mesh = box->frame_from_box;
    instance.object = kFirstActorObject + i;
    instances.push_back(instance);
  }
  return instances;
}

Lighting StreetScene::LightingAt(double time_s) const {
  Lighting lighting = lighting_;
  if (!IsDark(weather_)) return lighting;
  const Rigid3 world_from_ego = WorldFromEgo(time_s);
  const auto add = [&](const Vector3d& at, const Vector3d& forward, float strength, bool shadow) {
    Lamp lamp;
    lamp.position_m = at.cast<float>();
    lamp.color = {1.0f, 0.95f, 0.85f};
    lamp.strength = strength;
    lamp.direction = (forward - 0.06 * Vector3d::UnitZ()).normalized().cast<float>();
    lamp.inner_angle_rad = 0.22f;
    lamp.outer_angle_rad = 0.62f;
    lamp.range_m = 45;
    lamp.clearance_m = 0.1f;
    lamp.casts_shadow = shadow;
    lighting.lamps.push_back(lamp);
  };
  for (const double side : {0.65, -0.65}) {
    add(world_from_ego * Vector3d(3.55, side, 0.7), world_from_ego.rotation * Vector3d::UnitX(), 45,
        true);
  }
  // The nearest of the others.
  std::vector<std::pair<double, int>> others;
  for (int i = 0; i < static_cast<int>(actors_.size()); ++i) {
    const TrafficActor& actor = traffic_.actors[i];
    if (i == traffic_.ego || actor.parked || !IsVehicle(actor.actor_class) ||
        actor.actor_class == ActorClass::kBicycle || actor.actor_class == ActorClass::kTrailer) {
      continue;
    }
    const std::optional<Box3> box = BoxAt(i, time_s);
    if (!box) continue;
    const double distance = (box->frame_from_box.translation - world_from_ego.translation).norm();
    if (distance < 70) others.emplace_back(distance, i);
  }
  std::sort(others.begin(), others.end());
  if (others.size() > kMaxHeadlamps) others.resize(kMaxHeadlamps);
  for (const auto& [distance, i] : others) {
    const Box3 box = *BoxAt(i, time_s);
    const Vector3d front(box.size_m.x() / 2 + 0.12, 0, 0.65 - box.size_m.z() / 2);
    add(box.frame_from_box * front, box.frame_from_box.rotation * Vector3d::UnitX(), 60, false);
  }
  return lighting;
}

}  // namespace athanor
