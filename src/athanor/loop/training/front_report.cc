#include "athanor/loop/training/front_report.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/sha256.h"
#include "athanor/loop/registry/model_registry.h"
#include "athanor/loop/training/pareto.h"
#include "athanor/media/plot.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int kMoments = 4;  // of which the front is drawn

std::vector<const Member*> Evaluated(const std::vector<Member>& members) {
  std::vector<const Member*> evaluated;
  for (const Member& member : members) {
    if (member.state == MemberState::kEvaluated) evaluated.push_back(&member);
  }
  std::sort(evaluated.begin(), evaluated.end(),
            [](const Member* a, const Member* b) { return a->order < b->order; });
  return evaluated;
}

// How a model came to be: which hyper-parameters over which updates, so that it can be done again.
Json ScheduleOf(const PopulationStore& store, int64_t id, int64_t updates) {
  std::vector<int64_t> line = store.AncestorsOf(id, /*by_weights=*/true);
  line.push_back(id);
  Json schedule = Json::array();
  for (const int64_t one : line) {
    const Member& member = store.members()[one];
    if (member.state == MemberState::kImported) {
      schedule.push_back({{"member", one}, {"imported", member.checkpoint_sha256}});
      continue;
    }
    Json step = {{"member", one},
                 {"first_update", (member.steps - 1) * updates},
                 {"updates", updates},
                 {"seed", std::to_string(member.seed)},
                 {"hyper", member.hyper}};
    if (!member.mutation.IsNone()) {
      step["mutation"] = {{"shrink", member.mutation.shrink},
                          {"perturb", member.mutation.perturb},
                          {"replace", member.mutation.replace}};
    }
    schedule.push_back(std::move(step));
  }
  return schedule;
}

Json FrontJson(const PopulationStore& store, const PopulationOptions& options,
               const std::vector<Objective>& objectives, const std::vector<int64_t>& front) {
  Json models = Json::array();
  std::vector<ParetoPoint> points;
  for (const int64_t id : front) {
    const Member& member = store.members()[id];
    points.push_back(ScaledPoint(objectives, member.objectives));
    models.push_back({{"member", id},
                      {"objectives", member.objectives},
                      {"hyper", member.hyper},
                      {"steps", member.steps},
                      {"checkpoint", store.CheckpointOf(id).filename().string()},
                      {"sha256", member.checkpoint_sha256},
                      {"monitors", member.report.monitors},
                      {"parents", member.parents},
                      {"ancestors", store.AncestorsOf(id)},
                      {"schedule", ScheduleOf(store, id, options.updates)}});
  }
  Json axes = Json::array();
  for (const Objective& objective : objectives) {
    axes.push_back(
        {{"name", objective.name}, {"worst", objective.worst}, {"best", objective.best}});
  }
  return {{"objectives", axes},
          {"hypervolume", Hypervolume(points, ParetoPoint(objectives.size(), 0.0))},
          {"front", models}};
}

// The outline of a front in two of its objectives, as steps.
PlotSeries OutlineOf(const std::string& name, const std::vector<const Member*>& members,
                     size_t count, const Objective& across, const Objective& up) {
  std::vector<ParetoPoint> points;
  for (size_t i = 0; i < count; ++i) {
    points.push_back(ScaledPoint({across, up}, members[i]->objectives));
  }
  std::vector<ParetoPoint> front;
  const std::vector<int> ranks = NonDominatedRanks(points);
  for (size_t i = 0; i < points.size(); ++i) {
    if (ranks[i] == 0) front.push_back(points[i]);
  }
  std::sort(front.begin(), front.end());
  PlotSeries series{name};
  const auto add = [&](double x, double y) {
    series.x.push_back(across.worst + x * (across.best - across.worst));
    series.y.push_back(up.worst + y * (up.best - up.worst));
  };
  for (size_t i = 0; i < front.size(); ++i) {
    if (i > 0) add(front[i - 1][0], front[i][1]);
    add(front[i][0], front[i][1]);
  }
  return series;
}

void PlotFront(const fs::path& path, const std::vector<const Member*>& evaluated,
               const std::vector<Objective>& objectives) {
  // What costs is drawn across, what is wanted most upwards.
  const Objective& up = objectives.front();
  const Objective& across = objectives.back();
  PlotSeries dots{"models"};
  for (const Member* member : evaluated) {
    dots.x.insert(dots.x.end(), {member->objectives.at(across.name), NAN});
    dots.y.insert(dots.y.end(), {member->objectives.at(up.name), NAN});
  }
  std::vector<PlotSeries> series = {dots};
  for (int moment = 1; moment <= kMoments; ++moment) {
    const size_t count = evaluated.size() * moment / kMoments;
    if (count == 0) continue;
    series.push_back(OutlineOf(StrCat("front after ", count), evaluated, count, across, up));
  }
  WriteImage(path, PlotLines(series, {.title = "the front over time",
                                      .x_label = across.name,
                                      .y_label = up.name,
                                      .width_px = 800,
                                      .height_px = 560}));
}

std::string CsvOf(const PopulationStore& store, const std::vector<Objective>& objectives,
                  const std::string& work_unit) {
  std::set<std::string> monitors, hyper;
  for (const Member& member : store.members()) {
    for (const auto& [name, value] : member.report.monitors) monitors.insert(name);
    for (const auto& [name, value] : member.hyper) hyper.insert(name);
  }
  std::string text = StrCat("member,state,trial,parent,steps,work (", work_unit, ")");
  for (const Objective& objective : objectives) text += StrCat(",", objective.name);
  for (const std::string& name : monitors) text += StrCat(",", name);
  for (const std::string& name : hyper) text += StrCat(",", name);
  text += ",train_s,evaluate_s\n";
  for (const Member& member : store.members()) {
    text += StrCat(member.id, ",", MemberStateName(member.state), ",", member.trial, ",",
                   member.parents.empty() ? "" : std::to_string(member.parents[0]), ",",
                   member.steps, ",", HyperText(member.report.work));
    const auto add = [&](const std::map<std::string, double>& values, const std::string& name) {
      const auto found = values.find(name);
      text += StrCat(",", found == values.end() ? std::string() : HyperText(found->second));
    };
    for (const Objective& objective : objectives) add(member.objectives, objective.name);
    for (const std::string& name : monitors) add(member.report.monitors, name);
    for (const std::string& name : hyper) {
      const auto found = member.hyper.find(name);
      text += StrCat(",", found == member.hyper.end() ? std::string() : found->second);
    }
    text += StrCat(",", HyperText(member.train_s), ",", HyperText(member.evaluate_s), "\n");
  }
  return text;
}

}  // namespace

std::vector<double> HypervolumesOf(const std::vector<Member>& members,
                                   const std::vector<Objective>& objectives) {
  std::vector<double> volumes;
  EpsilonArchive archive(std::vector<double>(objectives.size(), 0.0));
  for (const Member* member : Evaluated(members)) {
    const bool is_new = archive.Insert(member->id, ScaledPoint(objectives, member->objectives));
    double volume = volumes.empty() ? 0 : volumes.back();
    if (is_new) {
      std::vector<ParetoPoint> points;
      for (const auto& [id, point] : archive.points()) points.push_back(point);
      volume = Hypervolume(points, ParetoPoint(objectives.size(), 0.0));
    }
    volumes.push_back(volume);
  }
  return volumes;
}

void WriteFrontReport(const fs::path& run, const PopulationStore& store,
                      const PopulationOptions& options, const std::vector<Objective>& objectives,
                      const std::vector<int64_t>& front, const std::string& work_unit) {
  const std::vector<const Member*> evaluated = Evaluated(store.members());
  WriteFile(run / "members.csv", CsvOf(store, objectives, work_unit));
  PlotFront(run / "front.png", evaluated, objectives);
  PlotSeries progress{"hypervolume"};
  for (const double volume : HypervolumesOf(store.members(), objectives)) {
    progress.x.push_back(static_cast<double>(progress.x.size() + 1));
    progress.y.push_back(volume);
  }
  WriteImage(run / "progress.png", PlotLines({progress}, {.title = "hypervolume of the front",
                                                          .x_label = "short steps",
                                                          .y_label = "hypervolume"}));
  // Last: who waits for the front finds all of it.
  WriteFile(run / "front.json", FrontJson(store, options, objectives, front).dump(1) + "\n");
}

std::vector<std::string> RegisterFront(const fs::path& run, const PopulationStore& store,
                                       const std::string& name,
                                       const std::vector<Objective>& objectives,
                                       const std::vector<int64_t>& front, Trainable& trainable,
                                       const fs::path& registry_folder) {
  ModelRegistry registry(registry_folder, ModelRegistry::Mode::kCreate);
  std::set<int64_t> all(front.begin(), front.end());
  for (const int64_t id : front) {
    for (const int64_t ancestor : store.AncestorsOf(id)) all.insert(ancestor);
  }
  const auto name_of = [&](int64_t id) {
    return StrCat(name, "-", store.CheckpointOf(id).filename().string());
  };
  std::vector<std::string> names;
  const fs::path weights = run / "work" / "weights";
  for (const int64_t id : all) {
    const Member& member = store.members()[id];
    const bool is_front = std::find(front.begin(), front.end(), id) != front.end();
    if (is_front) names.push_back(name_of(id));
    trainable.Export(store.CheckpointOf(id), weights);
    if (const auto known = registry.Find(name_of(id))) {
      ATHANOR_CHECK(known->weights == Sha256OfFile(weights), registry_folder.string(),
                    ": there is a model '", name_of(id),
                    "' of something else; choose another name");
      continue;
    }
    NewModel added;
    added.model.name = name_of(id), added.model.kind = trainable.kind();
    added.model.role = is_front ? ModelRole::kCandidate : ModelRole::kIntermediate;
    added.model.hyper = member.hyper;
    for (const int64_t parent : member.parents) added.model.parents.push_back(name_of(parent));
    for (const Objective& objective : objectives) {
      const auto value = member.objectives.find(objective.name);
      if (value == member.objectives.end()) continue;  // of one that was imported
      added.model.metrics["all"][objective.name] = value->second;
    }
    added.weights = weights, added.optimizer = store.CheckpointOf(id);
    registry.Add(added);
  }
  std::error_code error;
  fs::remove(weights, error);
  return names;
}

}  // namespace athanor
