#include "athanor/loop/vehicle/kept_sheet.h"

#include <algorithm>
#include <cstdio>

#include "athanor/base/error.h"
#include "athanor/base/log.h"

namespace athanor {
namespace {

constexpr size_t kSeen = 2;

std::string WhyOf(const KeptSnippet& kept) {
  std::vector<std::pair<double, std::string>> reasons;
  for (const auto& [reason, value] : kept.snippet.reasons) reasons.emplace_back(-value, reason);
  std::sort(reasons.begin(), reasons.end());
  std::string why = kept.waits_for.empty() ? "" : StrCat("waits (", kept.waits_for, "): ");
  for (size_t i = 0; i < reasons.size(); ++i) {
    char value[32];
    std::snprintf(value, sizeof value, " %.2f", -reasons[i].first);
    why += (i == 0 ? "" : ", ") + reasons[i].second + value;
  }
  for (size_t i = 0; i < std::min(kSeen, kept.seen.size()); ++i) {
    why += (i == 0 ? "; saw " : ", ") + kept.seen[i];
  }
  return why;
}

}  // namespace

std::vector<MinedHit> KeptHits(const VehicleReport& report, const MinedData& data) {
  std::vector<KeptSnippet> all = report.sent;
  all.insert(all.end(), report.spooled.begin(), report.spooled.end());
  std::vector<MinedHit> hits;
  for (const KeptSnippet& kept : all) {
    const int index = data.FindLog(kept.log);
    if (index < 0) continue;
    try {
      const std::shared_ptr<const Log> log = data.Read(index);
      const auto begin = std::find_if(log->frames.begin(), log->frames.end(),
                                      [&](auto& frame) { return frame.time_us == kept.begin_us; });
      const int64_t frame = begin - log->frames.begin() + kept.peak;
      if (begin == log->frames.end() || frame >= std::ssize(log->frames)) continue;
      MinedHit& hit = hits.emplace_back(HitOf(data, {index, static_cast<int>(frame), -1}));
      hit.score = kept.snippet.value;
      hit.why = WhyOf(kept);
    } catch (const Error& damage) {
      LogWarning(damage.what());
    }
  }
  return hits;
}

}  // namespace athanor
