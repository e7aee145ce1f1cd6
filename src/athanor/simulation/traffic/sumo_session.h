// One run of SUMO in this process. The library athanor_sumo is opened with the first one.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "athanor/simulation/traffic/sumo_api.h"

namespace athanor {

// From the constructor to the destructor this process runs one simulation; a second one waits.
// Errors of SUMO are thrown as Error with its reason. Not to be shared between threads.
class SumoSession {
 public:
  // `arguments` as of the program sumo, without its name. What SUMO prints goes to its log options.
  explicit SumoSession(const std::vector<std::string>& arguments);
  ~SumoSession();
  SumoSession(const SumoSession&) = delete;
  SumoSession& operator=(const SumoSession&) = delete;

  void Step();
  // Sorted: vehicles by id, then walkers by id. Valid until the next call.
  struct Actors {
    const AthanorSumoActor* data;
    int size;
    const AthanorSumoActor* begin() const { return data; }
    const AthanorSumoActor* end() const { return data + size; }
  };
  Actors actors();
  struct Lights {
    const AthanorSumoLight* data;
    int size;
    const AthanorSumoLight* begin() const { return data; }
    const AthanorSumoLight* end() const { return data + size; }
  };
  Lights lights();
  // Metres along a vehicle's route; negative when it does not pass there.
  double DrivingDistance(const char* vehicle, const char* edge, double position_m, int lane);
  // -1 gives the speed back to SUMO.
  void LimitSpeed(const char* vehicle, double speed_mps);

 private:
  void Check(int status, const char* what);

  std::unique_lock<std::mutex> lock_;
  const AthanorSumoApi* api_;
};

}  // namespace athanor
