#include "athanor/loop/mining/score_table.h"

#include <algorithm>
#include <map>
#include <utility>

#include "athanor/base/error.h"

namespace athanor {

std::vector<MinedHit> MergeHits(std::span<const MinedHits> lists) {
  struct Row {
    MinedHit hit;
    double best_share = 0;
    std::map<size_t, size_t> places;  // by list
  };
  std::vector<Row> rows;
  std::map<std::pair<std::string, int>, size_t> row_of;
  for (size_t l = 0; l < lists.size(); ++l) {
    std::vector<size_t> order(lists[l].hits.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return lists[l].hits[a].score > lists[l].hits[b].score;
    });
    for (size_t place = 0; place < order.size(); ++place) {
      const MinedHit& hit = lists[l].hits[order[place]];
      const auto [entry, is_new] = row_of.try_emplace({hit.log, hit.frame}, rows.size());
      if (is_new) {
        rows.push_back({hit, 0, {}});
        rows.back().hit.score = 0;
      }
      Row& row = rows[entry->second];
      if (!row.places.try_emplace(l, place + 1).second) continue;  // a later box of the frame
      const double share =
          static_cast<double>(order.size() - place) / static_cast<double>(order.size());
      row.hit.score += share;
      if (share > row.best_share) {
        row.best_share = share;
        row.hit.box = hit.box;
        row.hit.class_name = hit.class_name;
        row.hit.box_in_world = hit.box_in_world;
        row.hit.camera = hit.camera;
        row.hit.region_px = hit.region_px;
        row.hit.why = hit.why;
      }
    }
  }
  std::vector<MinedHit> merged;
  for (Row& row : rows) {
    std::string places;
    for (const auto& [list, place] : row.places) {
      places += StrCat(places.empty() ? "" : ", ", lists[list].miner, " #", place);
    }
    row.hit.why = places + (row.hit.why.empty() ? "" : ": " + row.hit.why);
    merged.push_back(std::move(row.hit));
  }
  std::stable_sort(merged.begin(), merged.end(),
                   [](const MinedHit& a, const MinedHit& b) { return a.score > b.score; });
  return merged;
}

}  // namespace athanor
