#include "athanor/simulation/street/actors.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/base/random.h"
#include "athanor/simulation/street/actor_shapes.h"

namespace athanor {
namespace {

using Eigen::Vector3f;

constexpr int kWalkPhases = 8;
// What a vehicle's wheels or a person's shoes never reach: below this speed they stand.
constexpr double kMovingMps = 0.3;

// Separate streams of one seed, so that a category may be asked for without building the mesh.
Random StyleOf(uint64_t seed) { return Random(MixBits(seed ^ 0x7374796c65ull)); }

CarStyle DrawCarStyle(const Eigen::Vector3d& size, Random* random) {
  const float draw = random->Uniform();
  if (draw < 0.07f) return CarStyle::kTaxi;
  if (draw < 0.09f) return CarStyle::kPolice;
  if (size.z() > 1.62) return CarStyle::kSuv;
  if (size.z() < 1.36) return CarStyle::kSports;
  if (size.x() < 4.15) return CarStyle::kHatchback;
  return draw < 0.55f   ? CarStyle::kSedan
         : draw < 0.75f ? CarStyle::kHatchback
         : draw < 0.93f ? CarStyle::kSuv
                        : CarStyle::kSports;
}

CarStyle DrawVanStyle(Random* random) {
  const float draw = random->Uniform();
  return draw < 0.05f ? CarStyle::kAmbulance : draw < 0.45f ? CarStyle::kVan : CarStyle::kCargoVan;
}

PersonStyle DrawPersonStyle(const Eigen::Vector3d& size, Random* random) {
  if (size.z() < 1.4) return PersonStyle::kChild;
  return random->Uniform() < 0.03f ? PersonStyle::kPolice : PersonStyle::kAdult;
}

bool IsBendy(const Eigen::Vector3d& size) { return size.x() > 14.5; }

Vector3f DrawCarPaint(CarStyle style, Random* random) {
  if (style == CarStyle::kTaxi) {
    return random->Uniform() < 0.7f ? Vector3f(0.85f, 0.55f, 0.02f) : Vector3f(0.78f, 0.75f, 0.62f);
  }
  if (style == CarStyle::kPolice || style == CarStyle::kAmbulance) return {0.8f, 0.8f, 0.8f};
  const float draw = random->Uniform(), t = random->Uniform();
  if (draw < 0.24f) return Vector3f::Constant(0.65f + 0.2f * t);                // white
  if (draw < 0.44f) return Vector3f::Constant(0.008f + 0.02f * t);              // black
  if (draw < 0.64f) return Vector3f(0.98f, 1.0f, 1.03f) * (0.1f + 0.35f * t);   // grey, silver
  if (draw < 0.76f) return Vector3f(0.02f, 0.06f + 0.1f * t, 0.2f + 0.4f * t);  // blue
  if (draw < 0.88f) return Vector3f(0.35f + 0.4f * t, 0.02f, 0.025f);           // red
  if (draw < 0.92f) return Vector3f(0.02f + 0.1f * t, 0.1f + 0.2f * t, 0.05f);  // green
  if (draw < 0.96f) return Vector3f(0.3f, 0.22f, 0.13f) * (0.5f + t);           // brown, beige
  return Vector3f(0.8f, 0.3f + 0.3f * t, 0.02f);                                // orange, yellow
}

Vector3f DrawShirt(Random* random) {
  const float draw = random->Uniform(), t = random->Uniform();
  if (draw < 0.3f) return Vector3f::Constant(0.02f + 0.1f * t);
  if (draw < 0.45f) return Vector3f::Constant(0.5f + 0.3f * t);
  if (draw < 0.65f) return Vector3f(0.03f, 0.06f + 0.08f * t, 0.15f + 0.35f * t);
  return {random->Uniform(0.05f, 0.7f), random->Uniform(0.04f, 0.5f), random->Uniform(0.03f, 0.5f)};
}

// One phase, near the wanted size, standing on z = 0.
void Shape(const ActorLook& look, bool walks, float phase, SolidBuilder* out) {
  const Vector3f size = look.size_m.cast<float>();
  Random style = StyleOf(look.seed);
  Random random(MixBits(look.seed ^ 0x7368617065ull));
  ActorPaint paint;
  paint.lights_on = look.lights_on;
  paint.braking = look.braking;
  paint.blink_left = look.blink_left;
  paint.blink_right = look.blink_right;
  switch (look.actor_class) {
    case ActorClass::kCar:
    case ActorClass::kVan: {
      const CarStyle car = look.actor_class == ActorClass::kVan ? DrawVanStyle(&style)
                                                                : DrawCarStyle(look.size_m, &style);
      paint.body = DrawCarPaint(car, &random);
      if (car == CarStyle::kCargoVan && random.Uniform() < 0.5f) paint.body.setConstant(0.75f);
      return ShapeCar(car, size, paint, &random, out);
    }
    case ActorClass::kTruck:
      paint.body = DrawCarPaint(CarStyle::kSedan, &random);
      return ShapeTruck(size, paint, &random, out);
    case ActorClass::kBus:
      paint.body = random.Uniform() < 0.4f ? Vector3f(0.75f, 0.74f, 0.7f)
                                           : DrawCarPaint(CarStyle::kSedan, &random);
      return ShapeBus(size, IsBendy(look.size_m), paint, &random, out);
    case ActorClass::kTrailer:
      paint.body = DrawCarPaint(CarStyle::kSedan, &random);
      return ShapeTrailer(size, paint, &random, out);
    case ActorClass::kMotorcycle:
      paint.body = DrawCarPaint(CarStyle::kSedan, &random);
      return ShapeMotorcycle(size, look.rider, paint, &random, out);
    case ActorClass::kBicycle:
      paint.body = DrawShirt(&random);
      return ShapeBicycle(size, look.rider, phase, paint, &random, out);
    case ActorClass::kPedestrian:
      paint.body = DrawShirt(&random);
      return ShapePerson(DrawPersonStyle(look.size_m, &style), size, walks, phase, paint, &random,
                         out);
    case ActorClass::kConstructionWorker:
      return ShapePerson(PersonStyle::kWorker, size, walks, phase, paint, &random, out);
    case ActorClass::kScooter:
      paint.body = DrawShirt(&random);
      return ShapePerson(PersonStyle::kScooter, size, false, phase, paint, &random, out);
    case ActorClass::kStroller:
      paint.body = DrawShirt(&random);
      return ShapePerson(PersonStyle::kStroller, size, walks, phase, paint, &random, out);
    case ActorClass::kWheelchair:
      paint.body = DrawShirt(&random);
      return ShapePerson(PersonStyle::kWheelchair, size, walks, phase, paint, &random, out);
    case ActorClass::kDog: {
      const float t = random.Uniform();
      paint.body = t < 0.3f   ? Vector3f(0.03f, 0.025f, 0.02f)
                   : t < 0.6f ? Vector3f(0.32f, 0.17f, 0.06f)
                   : t < 0.8f ? Vector3f(0.5f, 0.38f, 0.2f)
                              : Vector3f(0.65f, 0.62f, 0.58f);
      return ShapeDog(size, phase, paint, &random, out);
    }
    case ActorClass::kSheep:
      paint.body = Vector3f(0.66f, 0.62f, 0.54f) * random.Uniform(0.75f, 1.05f);
      return ShapeSheep(size, phase, paint, &random, out);
    case ActorClass::kBag:
      return ShapePlasticBag(size, &random, out);
    case ActorClass::kShrub:
      return ShapeShrub(size, &random, out);
    case ActorClass::kFence:
      return ShapeFence(size, &random, out);
    case ActorClass::kCone:
      return ShapeCone(size, &random, out);
    case ActorClass::kBarrier:
      return ShapeBarrier(size, &random, out);
    case ActorClass::kCargo:
      return ShapeCargo(size, &random, out);
    case ActorClass::kConstructionVehicle:
      paint.body = Vector3f(0.8f, random.Uniform(0.3f, 0.5f), 0.02f);
      return ShapeConstructionVehicle(size, paint, &random, out);
    case ActorClass::kBicycleRack:
      return ShapeBicycleRack(size, &random, out);
    case ActorClass::kPushable:
      return ShapePushable(size, &random, out);
  }
}

}  // namespace

ActorModel BuildActor(const ActorLook& look) {
  ATHANOR_CHECK(
      look.size_m.allFinite() && look.size_m.minCoeff() >= 0.05 && look.size_m.maxCoeff() <= 40,
      "size of a ", ActorClassName(look.actor_class), ": expected 0.05 to 40 m each way, got ",
      look.size_m.transpose());
  ActorModel model;
  model.category = ActorCategory(look.actor_class, look.size_m, look.seed);
  int phases = 1;
  switch (look.actor_class) {
    case ActorClass::kPedestrian:
    case ActorClass::kConstructionWorker:
    case ActorClass::kStroller:
    case ActorClass::kWheelchair:
      phases = kWalkPhases;
      model.stands = true;
      model.cycle_m = static_cast<float>(0.82 * look.size_m.z());
      break;
    case ActorClass::kDog:
    case ActorClass::kSheep:
      phases = kWalkPhases;
      model.stands = true;
      model.cycle_m = static_cast<float>(1.1 * look.size_m.z());
      break;
    case ActorClass::kBicycle:
      phases = look.rider ? kWalkPhases : 1;
      model.cycle_m = 4.5f;
      break;
    default:
      break;
  }
  std::vector<SolidBuilder> builders(phases + (model.stands ? 1 : 0));
  Vector3f low = Vector3f::Constant(1e9f), high = -low;
  for (size_t i = 0; i < builders.size(); ++i) {
    const bool walks = static_cast<int>(i) < phases;
    Shape(look, walks, walks ? static_cast<float>(i) / static_cast<float>(phases) : 0.02f,
          &builders[i]);
    Vector3f own_low, own_high;
    builders[i].Bounds(&own_low, &own_high);
    low = low.cwiseMin(own_low);
    high = high.cwiseMax(own_high);
  }
  const Vector3f scale = look.size_m.cast<float>().cwiseQuotient(high - low);
  const Vector3f offset = -0.5f * (high + low).cwiseProduct(scale);
  // Age and dirt: nothing is quite as bright as when it was new.
  Random wear(MixBits(look.seed ^ 0x77656172ull));
  std::vector<float> brightness;
  for (SolidBuilder& builder : builders) {
    builder.Transform(scale, offset);
    Mesh& mesh = model.meshes.emplace_back(builder.Build());
    while (brightness.size() < mesh.materials.size())
      brightness.push_back(wear.Uniform(0.78f, 1.04f));
    for (size_t i = 0; i < mesh.materials.size(); ++i) {
      mesh.materials[i].color *= brightness[i];
      mesh.materials[i].second_color *= brightness[i];
    }
  }
  return model;
}

std::string ActorCategory(ActorClass actor_class, const Eigen::Vector3d& size_m, uint64_t seed) {
  Random style = StyleOf(seed);
  switch (actor_class) {
    case ActorClass::kCar:
      return DrawCarStyle(size_m, &style) == CarStyle::kPolice ? "vehicle.emergency.police"
                                                               : "vehicle.car";
    case ActorClass::kVan:
      // nuScenes counts vans among cars.
      return DrawVanStyle(&style) == CarStyle::kAmbulance ? "vehicle.emergency.ambulance"
                                                          : "vehicle.car";
    case ActorClass::kTruck:
      return "vehicle.truck";
    case ActorClass::kBus:
      return IsBendy(size_m) ? "vehicle.bus.bendy" : "vehicle.bus.rigid";
    case ActorClass::kTrailer:
      return "vehicle.trailer";
    case ActorClass::kMotorcycle:
      return "vehicle.motorcycle";
    case ActorClass::kBicycle:
      return "vehicle.bicycle";
    case ActorClass::kPedestrian:
      switch (DrawPersonStyle(size_m, &style)) {
        case PersonStyle::kChild:
          return "human.pedestrian.child";
        case PersonStyle::kPolice:
          return "human.pedestrian.police_officer";
        default:
          return "human.pedestrian.adult";
      }
    case ActorClass::kConstructionWorker:
      return "human.pedestrian.construction_worker";
    case ActorClass::kScooter:
      return "human.pedestrian.personal_mobility";
    case ActorClass::kStroller:
      return "human.pedestrian.stroller";
    case ActorClass::kWheelchair:
      return "human.pedestrian.wheelchair";
    case ActorClass::kDog:
    case ActorClass::kSheep:
      return "animal";
    case ActorClass::kBag:
    case ActorClass::kShrub:
    case ActorClass::kCargo:
      return "movable_object.debris";
    case ActorClass::kFence:
    case ActorClass::kBarrier:
      return "movable_object.barrier";
    case ActorClass::kCone:
      return "movable_object.trafficcone";
    case ActorClass::kConstructionVehicle:
      return "vehicle.construction";
    case ActorClass::kBicycleRack:
      return "static_object.bicycle_rack";
    case ActorClass::kPushable:
      return "movable_object.pushable_pullable";
  }
  throw Error(StrCat("unknown actor class ", static_cast<int>(actor_class)));
}

std::string ActorAttribute(std::string_view category, double speed_mps, bool parked, bool rider) {
  const bool moves = std::abs(speed_mps) > kMovingMps;
  if (category == "vehicle.bicycle" || category == "vehicle.motorcycle") {
    return rider ? "cycle.with_rider" : "cycle.without_rider";
  }
  if (category.starts_with("vehicle.")) {
    return moves ? "vehicle.moving" : parked ? "vehicle.parked" : "vehicle.stopped";
  }
  if (category == "human.pedestrian.stroller" || category == "human.pedestrian.wheelchair" ||
      category == "human.pedestrian.personal_mobility") {
    return "";
  }
  if (category.starts_with("human.")) return moves ? "pedestrian.moving" : "pedestrian.standing";
  return "";
}

}  // namespace athanor
