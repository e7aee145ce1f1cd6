#include "athanor/simulation/street/prepared_scene.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>
#include <utility>

#include "athanor/base/error.h"
#include "athanor/base/log.h"
#include "athanor/base/random.h"
#include "athanor/simulation/street/map_mask.h"
#include "athanor/simulation/street/stopwatch.h"
#include "athanor/simulation/traffic/sumo_files.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr int kTrafficAttempts = 4;
constexpr double kMappedAhead_m = 150;

uint64_t SceneSeed(const StreetOptions& options, int scene) {
  return MixBits(MixBits(static_cast<uint64_t>(options.seed)) + static_cast<uint64_t>(scene));
}

StreetWeather DrawWeather(const std::string& wanted, uint64_t seed) {
  for (int i = 0; i < 6; ++i) {
    if (StreetWeatherName(static_cast<StreetWeather>(i)) == wanted)
      return static_cast<StreetWeather>(i);
  }
  const float draw = Random(MixBits(seed ^ 0x77656174686572ull)).Uniform();
  return draw < 0.42f   ? StreetWeather::kSun
         : draw < 0.60f ? StreetWeather::kOvercast
         : draw < 0.71f ? StreetWeather::kDusk
         : draw < 0.83f ? StreetWeather::kNight
         : draw < 0.93f ? StreetWeather::kRain
                        : StreetWeather::kFog;
}

struct DrawnNetwork {
  TrafficNetwork network;
  std::string kind;
  std::unique_ptr<SumoFiles> files;  // of generated ones, while SUMO needs them
};

DrawnNetwork DrawNetwork(const StreetOptions& options, uint64_t seed) {
  Random random(MixBits(seed ^ 0x6e6574776f726bull));
  DrawnNetwork drawn;
  drawn.kind = options.network;
  if (options.network == "mixed") {
    constexpr std::array<const char*, 5> kKinds = {"town", "roundabout", "arterial", "grid",
                                                   "town"};
    drawn.kind = kKinds[random.Below(5)];
  }
  const std::set<std::string> generated = {"grid", "arterial", "roundabout", "town"};
  if (!generated.contains(drawn.kind)) {
    drawn.network = LoadNetwork(drawn.kind);
    drawn.kind = fs::path(drawn.kind).stem().string();
    return drawn;
  }
  NetworkOptions network;
  network.kind = drawn.kind;
  network.seed = static_cast<int64_t>(random.NextBits());
  drawn.files = std::make_unique<SumoFiles>();
  drawn.network = GenerateNetwork(network, drawn.files->folder());
  return drawn;
}

}  // namespace

std::string StreetSceneName(int number) {
  const std::string digits = std::to_string(number + 1);
  return "scene-" + std::string(4 - std::min<size_t>(4, digits.size()), '0') + digits;
}

PreparedScene PrepareScene(const StreetOptions& options, int number) {
  PreparedScene prepared;
  prepared.name = StreetSceneName(number);
  prepared.seed = SceneSeed(options, number);
  DrawnNetwork drawn;
  TrafficLog traffic;
  {
    const Stopwatch watch(&prepared.traffic_s);
    // Some traffic has no car that stays long enough: then another.
    for (int attempt = 0;; ++attempt) {
      const uint64_t seed = MixBits(prepared.seed + static_cast<uint64_t>(attempt));
      drawn = DrawNetwork(options, seed);
      TrafficOptions traffic_options = options.traffic;
      traffic_options.seed = static_cast<int64_t>(seed >> 33);
      traffic_options.duration_s = options.seconds + 0.2f;
      if (traffic_options.wish == "any" && drawn.kind == "roundabout" && attempt < 2) {
        traffic_options.wish = "roundabout";
      }
      try {
        traffic = RunTraffic(drawn.network, traffic_options);
        break;
      } catch (const Error& error) {
        if (attempt + 1 >= kTrafficAttempts) throw;
        LogWarning(StrCat(prepared.name, ": ", error.what(), "; trying other traffic"));
      }
    }
  }
  const Stopwatch watch(&prepared.build_s);
  prepared.road_kind = drawn.kind;
  prepared.weather = DrawWeather(options.weather, prepared.seed);
  TownOptions town;
  town.buildings = options.buildings;
  town.tree_spacing_m = options.tree_spacing_m;
  Eigen::Vector2d high = Eigen::Vector2d::Zero();
  for (double t = 0; t <= traffic.duration_s(); t += 0.5) {
    high = high.cwiseMax(traffic.WorldFromEgo(t).translation.head<2>());
  }
  prepared.map_mask =
      DrawMapMask(drawn.network.roads, high + Eigen::Vector2d::Constant(kMappedAhead_m));
  prepared.scene = std::make_unique<StreetScene>(drawn.network, std::move(traffic),
                                                 prepared.weather, town, prepared.seed);
  prepared.roads = std::move(drawn.network.roads);
  return prepared;
}

}  // namespace athanor
