// Any bytes as a road network: an Error or a network whose indices hold.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "athanor/base/error.h"
#include "athanor/simulation/traffic/road_network.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const athanor::RoadNetwork net = athanor::ParseRoadNetwork(
        std::string_view(reinterpret_cast<const char*>(data), size), "fuzz");
    for (size_t i = 0; i < net.lanes.size(); ++i) {
      if (net.lanes[i].shape.size() < 2 && net.lanes[i].shape.empty()) std::abort();
      if (net.CirculatingRoundabout(static_cast<int>(i)) >=
          static_cast<int>(net.roundabouts.size())) {
        std::abort();
      }
    }
  } catch (const athanor::Error&) {
  }
  return 0;
}
