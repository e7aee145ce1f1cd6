// Any bytes as a road network: an Error or a network whose indices hold.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <string_view>

#include "athanor/base/error.h"
#include "athanor/simulation/traffic/road_network.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const athanor::RoadNetwork net = athanor::ParseRoadNetwork(
        std::string_view(reinterpret_cast<const char*>(data), size), "fuzz");
    for (size_t i = 0; i < net.lanes.size(); ++i) {
      const auto& lane = net.lanes[i];
      if (lane.shape.size() < 2 || lane.edge < 0 || lane.edge >= std::ssize(net.edges))
        std::abort();
      if (net.CirculatingRoundabout(static_cast<int>(i)) >=
          static_cast<int>(net.roundabouts.size())) {
        std::abort();
      }
    }
  } catch (const athanor::Error&) {
  }
  return 0;
}
