#include "athanor/loop/mining/purity.h"

#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/detection/evaluation/evaluation_inputs.h"

namespace athanor {
namespace {

PurityAt ShareOf(int64_t with, int64_t frames) {
  constexpr double z = 1.959964;  // two-sided 95 %
  PurityAt at;
  at.frames = frames, at.with = with;
  if (frames == 0) return at;
  const auto n = static_cast<double>(frames);
  at.share = static_cast<double>(with) / n;
  const double middle = (at.share + z * z / (2 * n)) / (1 + z * z / n);
  const double half =
      z / (1 + z * z / n) * std::sqrt(at.share * (1 - at.share) / n + z * z / (4 * n * n));
  at.low = std::max(0.0, middle - half), at.high = std::min(1.0, middle + half);
  return at;
}

}  // namespace

std::set<std::string> FramesWithClass(const Log& log, int class_index, double range_m) {
  std::set<std::string> ids;
  for (const LogFrame& frame : log.frames) {
    for (const LogBox& box : frame.boxes) {
      const Eigen::Vector3d to_box =
          box.box.frame_from_box.translation - frame.world_from_ego.translation;
      if (NuscenesClassOfCategory(log.tracks[box.track].category) == class_index &&
          to_box.head<2>().norm() < range_m && box.num_lidar_points != 0) {
        ids.insert(frame.id);
      }
    }
  }
  return ids;
}

double Purity::Gain(const PurityAt& at) const { return all.share > 0 ? at.share / all.share : 0; }

Purity MeasurePurity(const MinedData& truth, const std::vector<MinedHit>& hits, int class_index,
                     double range_m, const std::vector<int64_t>& counts,
                     const std::set<std::string>& without) {
  std::set<std::string> known, with;
  for (int l = 0; l < truth.num_logs(); ++l) {
    const auto log = truth.Read(l);
    for (const LogFrame& frame : log->frames) known.insert(frame.id);
    with.merge(FramesWithClass(*log, class_index, range_m));
  }
  for (const std::string& id : without) known.erase(id), with.erase(id);
  Purity purity;
  purity.all = ShareOf(std::ssize(with), std::ssize(known));
  std::set<std::string> seen;
  int64_t of_class = 0;
  for (const MinedHit& hit : hits) {
    if (!known.contains(hit.id) || !seen.insert(hit.id).second) continue;
    of_class += with.contains(hit.id);
    if (std::find(counts.begin(), counts.end(), std::ssize(seen)) != counts.end()) {
      purity.best.push_back(ShareOf(of_class, std::ssize(seen)));
    }
  }
  ATHANOR_CHECK(!seen.empty(), truth.path().string(), ": none of the hits' frames is there");
  // All of a shorter list.
  if (purity.best.empty() || purity.best.back().frames < std::ssize(seen)) {
    const bool is_short = std::any_of(counts.begin(), counts.end(),
                                      [&](int64_t count) { return count > std::ssize(seen); });
    if (is_short) purity.best.push_back(ShareOf(of_class, std::ssize(seen)));
  }
  return purity;
}

}  // namespace athanor
