#include "athanor/loop/training/trainable.h"

#include <cmath>

namespace athanor {

ParetoPoint ScaledPoint(const std::vector<Objective>& objectives,
                        const std::map<std::string, double>& values) {
  ParetoPoint point;
  for (const Objective& objective : objectives) {
    const auto found = values.find(objective.name);
    ATHANOR_CHECK(found != values.end() && std::isfinite(found->second),
                  "expected a finite objective '", objective.name, "', found ",
                  found == values.end() ? "none" : "one that is not");
    point.push_back((found->second - objective.worst) / (objective.best - objective.worst));
  }
  return point;
}

}  // namespace athanor
