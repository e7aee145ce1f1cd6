#include "athanor/simulation/street/kinds.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "athanor/base/error.h"
#include "athanor/simulation/color_names.h"

namespace athanor {
namespace {

// Parts that living_shapes.cc gives to people.
constexpr std::array<std::string_view, 12> kBodyParts = {
    "leg", "foot", "torso", "arm", "hand", "head", "hair", "vest", "helmet", "cap", "bag", "visor"};

}  // namespace

const std::vector<StreetKind>& StreetKinds() {
  static const std::vector<StreetKind> kinds = {
      {"sky", {}, "nature", {}},
      {"grass", {"meadow", "lawn"}, "ground", {"to walk on"}},
      {"road", {"street", "roadway"}, "ground", {"to drive on"}},
      {"road marking", {"lane marking", "painted line"}, "ground", {"to drive on"}},
      {"sidewalk", {"pavement", "footpath"}, "ground", {"to walk on"}},
      {"building", {"house"}, "building", {"to live in"}},
      {"tree", {}, "plant", {"to give shade"}},
      {"hedge", {"shrubbery"}, "plant", {}},
      {"street lamp", {"lamppost", "street light"}, "street furniture", {"to light the street"}},
      {"traffic sign", {"road sign", "sign"}, "street furniture", {"to inform drivers"}},
      {"traffic light", {"stoplight", "traffic signal"}, "street furniture", {"to stop traffic"}},
      {"bench", {}, "street furniture", {"to sit on"}},
      {"car", {"auto", "automobile"}, "vehicle", {"to drive", "to ride in"}},
      {"police car", {"patrol car", "cruiser"}, "vehicle", {"to drive", "to ride in"}},
      {"van", {"minivan"}, "vehicle", {"to drive", "to carry loads"}},
      {"ambulance", {}, "vehicle", {"to drive", "to carry people"}},
      {"truck", {"lorry"}, "vehicle", {"to drive", "to carry loads"}},
      {"trailer", {"semitrailer"}, "vehicle", {"to carry loads"}},
      {"bus", {"coach", "omnibus"}, "vehicle", {"to drive", "to carry people"}},
      {"motorcycle", {"motorbike"}, "vehicle", {"to ride"}},
      {"bicycle", {"bike", "cycle"}, "vehicle", {"to ride"}},
      {"excavator", {"power shovel", "digger"}, "vehicle", {"to dig"}},
      {"scooter", {"kick scooter"}, "vehicle", {"to ride"}},
      {"stroller", {"pushchair", "baby buggy"}, "vehicle", {"to push", "to carry children"}},
      {"wheelchair", {}, "vehicle", {"to sit on"}},
      {"person", {"pedestrian", "human"}, "person", {}},
      {"child", {"kid"}, "person", {}},
      {"police officer", {"policeman"}, "person", {}},
      {"construction worker", {"worker"}, "person", {}},
      {"dog", {}, "animal", {}},
      {"sheep", {}, "animal", {}},
      {"plastic bag", {"carrier bag"}, "obstacle", {"to carry things"}},
      {"shrub", {"bush"}, "plant", {}},
      {"fence", {"fencing"}, "obstacle", {"to keep people out"}},
      {"traffic cone", {"cone", "pylon"}, "obstacle", {"to close a lane"}},
      {"barrier", {}, "obstacle", {"to close a lane"}},
      {"cargo", {"lost load"}, "obstacle", {}},
      {"bicycle rack", {"bike rack"}, "street furniture", {"to park bicycles"}},
      {"dustbin", {"trash bin", "garbage can"}, "street furniture", {"to throw rubbish in"}},
  };
  return kinds;
}

std::string_view KindOfTown(TownPart part) {
  constexpr std::array<std::string_view, kNumTownParts> kNames = {
      "grass", "road",        "road marking", "sidewalk",      "building", "tree",
      "hedge", "street lamp", "traffic sign", "traffic light", "bench"};
  return kNames[static_cast<size_t>(part)];
}

std::string_view KindOfActor(ActorClass actor_class, std::string_view category) {
  switch (actor_class) {
    case ActorClass::kCar:
      return category == "vehicle.emergency.police" ? "police car" : "car";
    case ActorClass::kVan:
      return category == "vehicle.emergency.ambulance" ? "ambulance" : "van";
    case ActorClass::kTruck:
      return "truck";
    case ActorClass::kBus:
      return "bus";
    case ActorClass::kTrailer:
      return "trailer";
    case ActorClass::kMotorcycle:
      return "motorcycle";
    case ActorClass::kBicycle:
      return "bicycle";
    case ActorClass::kPedestrian:
      return category == "human.pedestrian.child"            ? "child"
             : category == "human.pedestrian.police_officer" ? "police officer"
                                                             : "person";
    case ActorClass::kScooter:
      return "scooter";
    case ActorClass::kStroller:
      return "stroller";
    case ActorClass::kWheelchair:
      return "wheelchair";
    case ActorClass::kDog:
      return "dog";
    case ActorClass::kSheep:
      return "sheep";
    case ActorClass::kBag:
      return "plastic bag";
    case ActorClass::kShrub:
      return "shrub";
    case ActorClass::kFence:
      return "fence";
    case ActorClass::kCone:
      return "traffic cone";
    case ActorClass::kBarrier:
      return "barrier";
    case ActorClass::kCargo:
      return "cargo";
    case ActorClass::kConstructionWorker:
      return "construction worker";
    case ActorClass::kConstructionVehicle:
      return "excavator";
    case ActorClass::kBicycleRack:
      return "bicycle rack";
    case ActorClass::kPushable:
      return "dustbin";
  }
  throw Error(StrCat("unknown actor class ", static_cast<int>(actor_class)));
}

std::string_view KindOfActorPart(ActorClass actor_class, std::string_view category,
                                 std::string_view part) {
  switch (actor_class) {
    case ActorClass::kMotorcycle:
    case ActorClass::kBicycle:
    case ActorClass::kScooter:
    case ActorClass::kStroller:
    case ActorClass::kWheelchair:
      if (std::find(kBodyParts.begin(), kBodyParts.end(), part) != kBodyParts.end()) {
        return "person";
      }
      [[fallthrough]];
    default:
      return KindOfActor(actor_class, category);
  }
}

std::string ColorOfActor(ActorClass actor_class, const Mesh& mesh) {
  const bool painted = IsVehicle(actor_class) && actor_class != ActorClass::kBicycle;
  if (!painted && actor_class != ActorClass::kDog) return "";
  return ColorName(mesh.materials.front().color);
}

std::string StreetClassesJson() {
  nlohmann::ordered_json json;
  for (const StreetKind& kind : StreetKinds()) {
    json["classes"].push_back({{"name", kind.name},
                               {"synonyms", kind.synonyms},
                               {"category", kind.category},
                               {"affordances", kind.affordances}});
  }
  return json.dump(1) + "\n";
}

}  // namespace athanor
