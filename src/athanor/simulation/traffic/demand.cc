#include "athanor/simulation/traffic/demand.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <sstream>

#include "athanor/base/error.h"
#include "athanor/base/random.h"
#include "athanor/simulation/traffic/xml.h"

namespace athanor {
namespace {

// Range of one class; each type draws its own.
struct TypeRange {
  ActorClass actor_class;
  const char* vehicle_class;  // SUMO's
  int count;
  double length[2], width[2], height[2];
  double accel[2], decel[2], max_speed[2];
  double min_gap;
};

constexpr TypeRange kTypes[] = {
    {ActorClass::kCar,
     "passenger",
     24,
     {3.6, 5.1},
     {1.62, 1.95},
     {1.42, 1.85},
     {2.0, 3.2},
     {2.2, 2.9},
     {36, 55},
     1.6},
    {ActorClass::kVan,
     "delivery",
     6,
     {4.8, 6.4},
     {1.9, 2.1},
     {1.9, 2.7},
     {1.6, 2.4},
     {2.1, 2.8},
     {32, 45},
     1.8},
    {ActorClass::kTruck,
     "truck",
     6,
     {6.5, 10.0},
     {2.2, 2.5},
     {2.8, 3.8},
     {0.9, 1.4},
     {1.8, 2.4},
     {25, 28},
     2.5},
    {ActorClass::kBus,
     "bus",
     3,
     {10.5, 12.5},
     {2.45, 2.55},
     {3.0, 3.4},
     {0.9, 1.3},
     {1.7, 2.3},
     {25, 28},
     2.5},
    {ActorClass::kTrailer,
     "trailer",
     4,
     {14.5, 16.5},
     {2.5, 2.55},
     {3.6, 4.0},
     {0.7, 1.0},
     {1.7, 2.3},
     {24, 26},
     2.5},
    {ActorClass::kMotorcycle,
     "motorcycle",
     4,
     {1.9, 2.4},
     {0.7, 0.9},
     {1.4, 1.7},
     {3.5, 5.5},
     {2.4, 3.0},
     {36, 60},
     1.5},
    {ActorClass::kBicycle,
     "bicycle",
     6,
     {1.6, 1.9},
     {0.55, 0.7},
     {1.6, 1.85},
     {0.9, 1.3},
     {1.8, 2.5},
     {4.0, 7.0},
     0.8},
};
constexpr int kPedestrianTypes = 10;

double Between(Random* random, const double (&range)[2]) {
  return range[0] + (range[1] - range[0]) * random->Uniform();
}

void WriteVehicleTypes(std::ostream& out, Random* random) {
  for (const TypeRange& range : kTypes) {
    for (int i = 0; i < range.count; ++i) {
      const double impatience = random->Uniform(0, 0.6f), sigma = random->Uniform(0.1f, 0.5f);
      const double tau = random->Uniform(0.9f, 1.6f);
      const double assertive = random->Uniform(0.7f, 1.6f);
      out << "  <vType id=\"" << ActorClassName(range.actor_class) << "." << i << "\" vClass=\""
          << range.vehicle_class << "\" length=\"" << Between(random, range.length) << "\" width=\""
          << Between(random, range.width) << "\" height=\"" << Between(random, range.height)
          << "\" accel=\"" << Between(random, range.accel) << "\" decel=\""
          << Between(random, range.decel) << "\" emergencyDecel=\"8\" maxSpeed=\""
          << Between(random, range.max_speed) << "\" minGap=\"" << range.min_gap << "\" sigma=\""
          << sigma << "\" tau=\"" << tau << "\" impatience=\"" << impatience << "\" lcAssertive=\""
          << assertive
          << "\" speedFactor=\"normc(1.0,0.10,0.75,1.25)\""
          // Nobody moves sideways while standing.
          << " lcMaxSpeedLatStanding=\"0\" lcMaxSpeedLatFactor=\"0.2\" latAlignment=\""
          << (range.actor_class == ActorClass::kBicycle ? "right" : "center") << "\"/>\n";
    }
  }
}

// Walkers come to the demand of a user's configuration too, whose ids are not like these.
constexpr char kWalkerType[] = "athanor.pedestrian.", kWalker[] = "athanor.p";

void WriteWalkerTypes(std::ostream& out, Random* random) {
  for (int i = 0; i < kPedestrianTypes; ++i) {
    const bool child = i == 0;
    out << "  <vType id=\"" << kWalkerType << i << "\" vClass=\"pedestrian\" length=\""
        << random->Uniform(0.45f, 0.7f) << "\" width=\"" << random->Uniform(0.45f, 0.7f)
        << "\" height=\"" << (child ? random->Uniform(1.05f, 1.4f) : random->Uniform(1.52f, 1.95f))
        << "\" maxSpeed=\"" << random->Uniform(0.9f, 1.8f)
        << "\" minGap=\"0.25\" speedFactor=\"normc(1.0,0.1,0.7,1.3)\"/>\n";
  }
}

// An edge, and how much of the demand begins or ends there.
struct End {
  int edge;
  double weight;
};

int Draw(const std::vector<End>& ends, Random* random) {
  double sum = 0;
  for (const End& end : ends) sum += end.weight;
  double at = random->Uniform() * sum;
  for (const End& end : ends) {
    at -= end.weight;
    if (at < 0) return end.edge;
  }
  return ends.back().edge;
}

struct Departure {
  double time_s;
  std::string text;
};

}  // namespace

int SidewalkOf(const RoadNetwork& roads, int edge) {
  for (const int lane : roads.edges[edge].lanes) {
    if (roads.lanes[lane].kind == LaneKind::kSidewalk) return lane;
  }
  return -1;
}

bool HasDrivingLane(const RoadNetwork& roads, int edge) {
  const auto& lanes = roads.edges[edge].lanes;
  return std::any_of(lanes.begin(), lanes.end(),
                     [&](int lane) { return roads.lanes[lane].kind == LaneKind::kDriving; });
}

ActorClass ClassOfType(std::string_view type, std::string_view vehicle_class, bool is_person) {
  if (is_person) return ActorClass::kPedestrian;
  const std::string_view prefix = type.substr(0, type.find('.'));
  for (const TypeRange& range : kTypes) {
    if (prefix == ActorClassName(range.actor_class)) return range.actor_class;
  }
  for (const TypeRange& range : kTypes) {
    if (vehicle_class == range.vehicle_class) return range.actor_class;
  }
  if (vehicle_class == "moped") return ActorClass::kMotorcycle;
  if (vehicle_class == "coach") return ActorClass::kBus;
  return ActorClass::kCar;
}

std::string MakeDemand(const RoadNetwork& roads, const TrafficOptions& options, double begin_s,
                       double end_s, bool vehicles) {
  Random random(MixBits(static_cast<uint64_t>(options.seed)) ^ 0x64656d616e64);
  std::ostringstream out;
  out << std::fixed << std::setprecision(2) << "<routes>\n";
  if (vehicles) WriteVehicleTypes(out, &random);
  WriteWalkerTypes(out, &random);

  // The rim: edges that nothing but their own other direction leads to, or on from.
  std::vector<int> incoming(roads.junctions.size()), outgoing(roads.junctions.size());
  double road_km = 0, walk_km = 0;
  for (size_t i = 0; i < roads.edges.size(); ++i) {
    const RoadEdge& edge = roads.edges[i];
    if (edge.inside_junction) continue;
    const double km = roads.lanes[edge.lanes[0]].length_m / 1000;
    if (SidewalkOf(roads, static_cast<int>(i)) >= 0) walk_km += km;
    if (!HasDrivingLane(roads, static_cast<int>(i))) continue;
    road_km += km;
    ++outgoing[edge.from_junction];
    ++incoming[edge.to_junction];
  }
  std::vector<End> sources, sinks, inner, walks;
  for (size_t i = 0; i < roads.edges.size(); ++i) {
    const RoadEdge& edge = roads.edges[i];
    const int index = static_cast<int>(i);
    if (edge.inside_junction) continue;
    const double length = roads.lanes[edge.lanes[0]].length_m;
    if (SidewalkOf(roads, index) >= 0) walks.push_back({index, length});
    if (!HasDrivingLane(roads, index)) continue;
    const auto driving = std::count_if(edge.lanes.begin(), edge.lanes.end(), [&](int lane) {
      return roads.lanes[lane].kind == LaneKind::kDriving;
    });
    if (incoming[edge.from_junction] <= 1 && outgoing[edge.from_junction] == 1) {
      sources.push_back({index, static_cast<double>(driving)});
    }
    if (outgoing[edge.to_junction] <= 1 && incoming[edge.to_junction] == 1) {
      sinks.push_back({index, static_cast<double>(driving)});
    }
    if (length > 25 && edge.roundabout < 0) inner.push_back({index, length});
  }
  if (sources.size() < 2) sources = inner;
  if (sinks.size() < 2) sinks = inner;

  std::vector<Departure> departures;
  const double minutes = (end_s - begin_s) / 60;
  const auto pick_type = [&](bool bicycle) {
    ActorClass actor_class = ActorClass::kCar;
    const float draw = random.Uniform();
    if (bicycle) {
      actor_class = ActorClass::kBicycle;
    } else if (draw < options.heavy) {
      constexpr ActorClass kHeavy[] = {ActorClass::kVan,    ActorClass::kVan,   ActorClass::kVan,
                                       ActorClass::kTruck,  ActorClass::kTruck, ActorClass::kBus,
                                       ActorClass::kTrailer};
      actor_class = kHeavy[random.Below(std::size(kHeavy))];
    } else if (draw < options.heavy + options.motorcycles) {
      actor_class = ActorClass::kMotorcycle;
    }
    for (const TypeRange& range : kTypes) {
      if (range.actor_class == actor_class) {
        return StrCat(ActorClassName(actor_class), ".", random.Below(range.count));
      }
    }
    return std::string("car.0");
  };
  int number = 0;
  const auto add_trips = [&](double rate, bool bicycle) {
    if (sources.empty() || sinks.empty()) return;
    const int count = static_cast<int>(std::lround(rate * road_km * minutes));
    for (int i = 0; i < count; ++i) {
      const double time = begin_s + (end_s - begin_s) * random.Uniform();
      // In the first part of the warm-up some begin in the middle, so that streets fill quickly.
      const bool early = time < begin_s + 0.5 * options.warm_up_s && !inner.empty();
      const int from = Draw(early && random.Uniform() < 0.6f ? inner : sources, &random);
      int to = from;
      for (int attempt = 0; attempt < 8; ++attempt) {
        to = Draw(sinks, &random);
        const bool back = roads.edges[to].to_junction == roads.edges[from].from_junction;
        if (to != from && !back) break;
      }
      if (to == from) continue;
      std::ostringstream text;
      text << std::fixed << std::setprecision(2) << "  <trip id=\"v" << number++ << "\" type=\""
           << pick_type(bicycle) << "\" depart=\"" << time << "\" from=\""
           << XmlEscape(roads.edges[from].id) << "\" to=\"" << XmlEscape(roads.edges[to].id)
           << "\" departLane=\"best\" departSpeed=\"max\"/>\n";
      departures.push_back({time, text.str()});
    }
  };
  if (vehicles) {
    add_trips(options.vehicles, false);
    add_trips(options.bicycles, true);
  }
  if (walks.size() > 1) {
    const int count = static_cast<int>(std::lround(options.pedestrians * walk_km * minutes));
    for (int i = 0; i < count; ++i) {
      const double time = begin_s + (end_s - begin_s) * random.Uniform();
      const int from = Draw(walks, &random), to = Draw(walks, &random);
      std::ostringstream text;
      text << std::fixed << std::setprecision(2) << "  <person id=\"" << kWalker << i
           << "\" type=\"" << kWalkerType << random.Below(kPedestrianTypes) << "\" depart=\""
           << time << "\" departPos=\"random\"><walk from=\"" << XmlEscape(roads.edges[from].id)
           << "\" to=\"" << XmlEscape(roads.edges[to].id)
           << "\" arrivalPos=\"random\"/></person>\n";
      departures.push_back({time, text.str()});
    }
  }
  std::stable_sort(departures.begin(), departures.end(),
                   [](const Departure& a, const Departure& b) { return a.time_s < b.time_s; });
  for (const Departure& departure : departures) out << departure.text;
  out << "</routes>\n";
  return out.str();
}

}  // namespace athanor
