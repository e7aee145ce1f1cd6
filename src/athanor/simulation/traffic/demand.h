// Who drives, rides and walks where: SUMO's demand files (vehicle types, trips, walks) from a seed.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "athanor/simulation/traffic/traffic.h"

namespace athanor {

// Types of vehicles and walkers of varied size, speed and temper; those of vehicles have ids
// "CLASS.NUMBER" ("van.3"). Trips between the rims of the network, walks between edges with
// sidewalks. With `vehicles` false (a user's own drive): walkers only, whose ids and types begin
// with "athanor.".
std::string MakeDemand(const RoadNetwork& roads, const TrafficOptions& options, double begin_s,
                       double end_s, bool vehicles);

// The class of what SUMO moves: of our types by their id, of the user's by SUMO's vehicle class.
ActorClass ClassOfType(std::string_view type, std::string_view vehicle_class, bool is_person);

// Whether an edge has a sidewalk / a lane for cars.
int SidewalkOf(const RoadNetwork& roads, int edge);  // lane, or -1
bool HasDrivingLane(const RoadNetwork& roads, int edge);

}  // namespace athanor
