#include "athanor/simulation/traffic/sumo_session.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <utility>

#include "athanor/base/error.h"
#include "athanor/simulation/traffic/traffic.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

std::mutex& SumoMutex() {
  static std::mutex mutex;
  return mutex;
}

struct Opened {
  const AthanorSumoApi* api = nullptr;
  std::string reason;
};

Opened Open() {
  Opened opened;
  const char* const name = "athanor_sumo.so";
  std::vector<fs::path> places;
  // Beside the program, in its lib folder, and where the build put it.
  if (const char* chosen = std::getenv("ATHANOR_SUMO_LIBRARY")) places.push_back(chosen);
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (!error) {
    places.push_back(program.parent_path() / name);
    places.push_back(program.parent_path().parent_path() / "lib" / "athanor" / name);
  }
#ifdef ATHANOR_SUMO_BUILD_PATH
  places.push_back(ATHANOR_SUMO_BUILD_PATH);
#endif
  for (const fs::path& place : places) {
    if (!fs::exists(place, error)) continue;
    // Not RTLD_GLOBAL: what libsumo drags in must not replace symbols of ours.
    void* library = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      opened.reason = StrCat("SUMO cannot be loaded: ", dlerror(),
                             " (apt-get install sumo brings what is missing)");
      return opened;
    }
    const auto entry = reinterpret_cast<AthanorSumoEntry>(dlsym(library, "AthanorSumo"));
    if (entry == nullptr || entry()->version != ATHANOR_SUMO_API_VERSION) {
      opened.reason = StrCat(place.string(), ": is of another version of Athanor");
      return opened;
    }
    opened.api = entry();
    return opened;
  }
  opened.reason =
      "traffic needs SUMO, and this build has none: apt-get install sumo, then build again";
  return opened;
}

// Once per process: a library that was opened stays.
const Opened& OpenOnce() {
  static const Opened opened = Open();
  return opened;
}

}  // namespace

std::string WhyNoSumo() { return OpenOnce().reason; }

SumoSession::SumoSession(const std::vector<std::string>& arguments) : lock_(SumoMutex()) {
  const Opened& opened = OpenOnce();
  ATHANOR_CHECK(opened.api != nullptr, opened.reason);
  api_ = opened.api;
  std::vector<const char*> list = {"sumo"};
  for (const std::string& argument : arguments) list.push_back(argument.c_str());
  if (api_->start(static_cast<int>(list.size()), list.data()) != 0) {
    const std::string reason = api_->last_error();
    api_->close();
    throw Error(StrCat("SUMO does not start: ", reason));
  }
}

SumoSession::~SumoSession() { api_->close(); }

void SumoSession::Check(int status, const char* what) {
  ATHANOR_CHECK(status == 0, "SUMO failed ", what, ": ", api_->last_error());
}

void SumoSession::Step() { Check(api_->step(), "in a step"); }

SumoSession::Actors SumoSession::actors() {
  Actors actors{};
  Check(api_->actors(&actors.data, &actors.size), "to list its vehicles");
  return actors;
}

SumoSession::Lights SumoSession::lights() {
  Lights lights{};
  Check(api_->lights(&lights.data, &lights.size), "to list its traffic lights");
  return lights;
}

double SumoSession::DrivingDistance(const char* vehicle, const char* edge, double position_m,
                                    int lane) {
  double distance = -1;
  Check(api_->driving_distance(vehicle, edge, position_m, lane, &distance),
        "to measure a distance");
  return distance;
}

void SumoSession::LimitSpeed(const char* vehicle, double speed_mps) {
  Check(api_->limit_speed(vehicle, speed_mps), "to slow a vehicle down");
}

}  // namespace athanor
