// What a population's training leaves to look at and to go on with.
//
//   RUN/front.json      the front: objectives, hyper-parameters, schedule and descent of each
//   model.
//                       Without times: synchronous runs of one configuration end in the same bytes
//   RUN/front.png       every model a point, the fronts of earlier moments beside the last
//   RUN/progress.png    hypervolume over short steps
//   RUN/members.csv     all members: objectives, monitors of plasticity, work, seconds
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "athanor/loop/training/population_options.h"
#include "athanor/loop/training/population_store.h"

namespace athanor {

void WriteFrontReport(const std::filesystem::path& run, const PopulationStore& store,
                      const PopulationOptions& options, const std::vector<Objective>& objectives,
                      const std::vector<int64_t>& front, const std::string& work_unit);

// Adds the models of the front to a registry as candidates, with all that they descend from as
// intermediates: NAME-000042, in order of their ids; those that are there already stay. Returns the
// names of the front's. Throws Error.
std::vector<std::string> RegisterFront(const std::filesystem::path& run,
                                       const PopulationStore& store, const std::string& name,
                                       const std::vector<Objective>& objectives,
                                       const std::vector<int64_t>& front, Trainable& trainable,
                                       const std::filesystem::path& registry);

// Hypervolume of all members that were evaluated, after each of them in their order.
std::vector<double> HypervolumesOf(const std::vector<Member>& members,
                                   const std::vector<Objective>& objectives);

}  // namespace athanor
