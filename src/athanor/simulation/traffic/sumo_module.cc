// libsumo behind a C interface; see sumo_api.h. No exception leaves this file.

#include <libsumo/libsumo.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "athanor/simulation/traffic/sumo_api.h"

namespace {

std::string error;
std::string version;
std::vector<AthanorSumoActor> actors;
std::vector<AthanorSumoLight> lights;
// What the pointers of the arrays above point to.
std::vector<std::string> actor_texts, light_texts;
struct Size {
  double length, width, height;
  std::string vehicle_class;
};
std::map<std::string, Size> sizes;  // by type

template <typename Body>
int Guard(Body&& body) {
  try {
    body();
    return 0;
  } catch (const std::exception& e) {
    error = e.what();
  } catch (...) {
    error = "unknown failure";
  }
  if (error.empty()) error = "SUMO gave no reason";
  return 1;
}

int Start(int count, const char* const* arguments) {
  return Guard([&] {
    sizes.clear();
    const std::vector<std::string> list(arguments, arguments + count);
    // load() leaves a running simulation; start() begins the first one.
    libsumo::Simulation::start(list);
  });
}

int Step() {
  return Guard([] { libsumo::Simulation::step(); });
}

const Size& SizeOf(const std::string& type) {
  auto found = sizes.find(type);
  if (found == sizes.end()) {
    using libsumo::VehicleType;
    found =
        sizes
            .emplace(type, Size{VehicleType::getLength(type), VehicleType::getWidth(type),
                                VehicleType::getHeight(type), VehicleType::getVehicleClass(type)})
            .first;
  }
  return found->second;
}

int Actors(const AthanorSumoActor** out, int* count) {
  return Guard([&] {
    using libsumo::Person;
    using libsumo::Vehicle;
    std::vector<std::string> vehicles = Vehicle::getIDList();
    std::vector<std::string> persons = Person::getIDList();
    std::sort(vehicles.begin(), vehicles.end());
    std::sort(persons.begin(), persons.end());
    actors.clear();
    actor_texts.clear();
    actor_texts.reserve(3 * (vehicles.size() + persons.size()));
    const auto keep = [](std::string text) {
      actor_texts.push_back(std::move(text));
      return actor_texts.back().c_str();
    };
    const auto add = [&](const std::string& id, const std::string& type, const std::string& lane) {
      const Size& size = SizeOf(type);
      AthanorSumoActor actor{};
      actor.id = keep(id);
      actor.type = keep(type);
      actor.lane = keep(lane);
      actor.vehicle_class = size.vehicle_class.c_str();  // nodes of a map stay where they are
      actor.length = size.length;
      actor.width = size.width;
      actor.height = size.height;
      actors.push_back(actor);
      return &actors.back();
    };
    for (const std::string& id : vehicles) {
      const libsumo::TraCIPosition at = Vehicle::getPosition3D(id);
      if (at.x == libsumo::INVALID_DOUBLE_VALUE) continue;  // waits to be inserted
      AthanorSumoActor* actor = add(id, Vehicle::getTypeID(id), Vehicle::getLaneID(id));
      actor->x = at.x;
      actor->y = at.y;
      actor->z = at.z == libsumo::INVALID_DOUBLE_VALUE ? 0 : at.z;
      actor->angle_deg = Vehicle::getAngle(id);
      actor->speed = Vehicle::getSpeed(id);
      actor->accel = Vehicle::getAcceleration(id);
      actor->lane_position = Vehicle::getLanePosition(id);
      actor->signals = Vehicle::getSignals(id);
    }
    for (const std::string& id : persons) {
      if (!Person::getVehicle(id).empty()) continue;
      const libsumo::TraCIPosition at = Person::getPosition3D(id);
      if (at.x == libsumo::INVALID_DOUBLE_VALUE) continue;
      AthanorSumoActor* actor = add(id, Person::getTypeID(id), Person::getLaneID(id));
      actor->x = at.x;
      actor->y = at.y;
      actor->z = at.z == libsumo::INVALID_DOUBLE_VALUE ? 0 : at.z;
      actor->angle_deg = Person::getAngle(id);
      actor->speed = Person::getSpeed(id);
      actor->lane_position = Person::getLanePosition(id);
      actor->is_person = 1;
    }
    *out = actors.data();
    *count = static_cast<int>(actors.size());
  });
}

int Lights(const AthanorSumoLight** out, int* count) {
  return Guard([&] {
    std::vector<std::string> ids = libsumo::TrafficLight::getIDList();
    std::sort(ids.begin(), ids.end());
    lights.clear();
    light_texts.clear();
    light_texts.reserve(2 * ids.size());
    for (const std::string& id : ids) {
      light_texts.push_back(id);
      const char* kept_id = light_texts.back().c_str();
      light_texts.push_back(libsumo::TrafficLight::getRedYellowGreenState(id));
      lights.push_back({kept_id, light_texts.back().c_str()});
    }
    *out = lights.data();
    *count = static_cast<int>(lights.size());
  });
}

int DrivingDistance(const char* vehicle, const char* edge, double position, int lane,
                    double* distance) {
  return Guard([&] {
    const double found = libsumo::Vehicle::getDrivingDistance(vehicle, edge, position, lane);
    *distance = found == libsumo::INVALID_DOUBLE_VALUE ? -1 : found;
  });
}

int LimitSpeed(const char* vehicle, double speed) {
  return Guard([&] {
    using libsumo::Vehicle;
    // Bits: 1 safe speed, 2 greatest acceleration, 4 greatest deceleration, 8 right of way at
    // junctions, 16 red lights. Emergency braking may exceed the usual deceleration.
    Vehicle::setSpeedMode(vehicle, speed < 0 ? 31 : 31 - 4);
    Vehicle::setSpeed(vehicle, speed < 0 ? -1 : speed);
  });
}

int Close() {
  return Guard([] {
    if (libsumo::Simulation::isLoaded()) libsumo::Simulation::close();
  });
}

const char* LastError() { return error.c_str(); }

const char* Version() {
  if (Guard([] { version = libsumo::Simulation::getVersion().second; }) != 0) version = "unknown";
  return version.c_str();
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const AthanorSumoApi* AthanorSumo() {
  static const AthanorSumoApi api = {
      ATHANOR_SUMO_API_VERSION, LastError,  Version, Start, Step, Actors, Lights,
      DrivingDistance,          LimitSpeed, Close};
  return &api;
}
