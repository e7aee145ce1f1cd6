#include "athanor/detection/evaluation/compare.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <map>
#include <numeric>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/base/random.h"

namespace athanor {
namespace {

// The value below which a share of the sorted values lies, interpolated.
double Quantile(const std::vector<double>& sorted, double share) {
  if (sorted.empty()) return std::numeric_limits<double>::quiet_NaN();
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

std::vector<int32_t> EverySample(size_t count) {
  std::vector<int32_t> units(count);
  std::iota(units.begin(), units.end(), 0);
  return units;
}

}  // namespace

void Describe(CompareOptions& o, OptionList& list) {
  list.Add("draws", &o.draws, "how often samples are drawn anew", {.min = 10, .max = 1e6});
  list.Add("confidence", &o.confidence, "share of the differences inside the interval",
           {.min = 0.5, .max = 0.9999});
  list.Add("unit", &o.unit, "what is drawn: whole scenes, or single samples",
           {.choices = {"scene", "sample"}});
  list.Add("seed", &o.seed, "seed of the draws");
}

std::vector<ComparisonRow> CompareByBootstrap(
    const std::vector<std::string>& names, std::span<const int32_t> unit_of_sample,
    const CompareOptions& options,
    const std::function<std::vector<double>(int which, std::span<const int32_t> weights)>&
        summarize) {
  ATHANOR_CHECK(!unit_of_sample.empty(), "expected at least one sample to compare on, found none");
  const int32_t units = 1 + *std::max_element(unit_of_sample.begin(), unit_of_sample.end());
  const size_t metrics = names.size();
  std::vector<double> differences(options.draws * metrics);
  ParallelChunks(options.draws, [&](int64_t draw) {
    Random random(MixBits(static_cast<uint64_t>(options.seed)) + static_cast<uint64_t>(draw));
    std::vector<int32_t> drawn(units), weights(unit_of_sample.size());
    for (int32_t i = 0; i < units; ++i) ++drawn[random.Below(static_cast<uint32_t>(units))];
    for (size_t i = 0; i < weights.size(); ++i) weights[i] = drawn[unit_of_sample[i]];
    const std::vector<double> a = summarize(0, weights), b = summarize(1, weights);
    for (size_t m = 0; m < metrics; ++m) differences[draw * metrics + m] = b[m] - a[m];
  });

  const std::vector<double> a = summarize(0, {}), b = summarize(1, {});
  std::vector<ComparisonRow> rows;
  for (size_t m = 0; m < metrics; ++m) {
    std::vector<double> sorted;
    for (int draw = 0; draw < options.draws; ++draw) {
      const double difference = differences[draw * metrics + m];
      if (!std::isnan(difference)) sorted.push_back(difference);
    }
    std::sort(sorted.begin(), sorted.end());
    const double tail = (1 - options.confidence) / 2;
    rows.push_back({names[m], a[m], b[m], Quantile(sorted, tail), Quantile(sorted, 1 - tail)});
  }
  return rows;
}

std::vector<ComparisonRow> CompareNuscenes(const NuscenesTruth& truth, const NuscenesMatches& a,
                                           const NuscenesMatches& b, const NuscenesConfig& config,
                                           const CompareOptions& options) {
  ATHANOR_CHECK(
      a.num_samples == b.num_samples && a.num_samples == static_cast<int64_t>(truth.samples.size()),
      "expected matches of the same ", truth.samples.size(), " samples, found ", a.num_samples,
      " and ", b.num_samples);
  std::vector<std::string> names = {"NDS", "mAP", "mATE", "mASE", "mAOE", "mAVE", "mAAE"};
  for (int c = 0; c < kNuscenesClasses; ++c) names.push_back(StrCat("AP ", kNuscenesClassNames[c]));
  std::vector<int32_t> units = EverySample(truth.samples.size());
  if (options.unit == "scene") {
    for (size_t i = 0; i < units.size(); ++i) units[i] = truth.samples[i].scene;
  }
  return CompareByBootstrap(
      names, units, options, [&](int which, std::span<const int32_t> weights) {
        const NuscenesMetrics metrics = SummarizeNuscenes(which == 0 ? a : b, config, weights);
        std::vector<double> values = {metrics.nd_score, metrics.mean_ap};
        for (const double error : metrics.tp_errors) values.push_back(error);
        for (int c = 0; c < kNuscenesClasses; ++c) values.push_back(metrics.mean_dist_aps[c]);
        return values;
      });
}

std::vector<ComparisonRow> CompareArgoverse(const std::vector<ArgoverseSweep>& sweeps,
                                            const ArgoverseMatches& a, const ArgoverseMatches& b,
                                            const ArgoverseConfig& config,
                                            const CompareOptions& options) {
  ATHANOR_CHECK(a.num_sweeps == b.num_sweeps && a.num_sweeps == static_cast<int64_t>(sweeps.size()),
                "expected matches of the same ", sweeps.size(), " sweeps, found ", a.num_sweeps,
                " and ", b.num_sweeps);
  std::vector<std::string> names = {"CDS", "mAP", "mATE", "mASE", "mAOE"};
  std::vector<size_t> shown;
  for (size_t c = 0; c < config.categories.size(); ++c) {
    const std::vector<int32_t>& truths = a.categories[c].truths;
    if (std::all_of(truths.begin(), truths.end(), [](int32_t n) { return n == 0; })) continue;
    shown.push_back(c);
    names.push_back("AP " + config.categories[c]);
  }
  std::vector<int32_t> units = EverySample(sweeps.size());
  if (options.unit == "scene") {
    std::map<std::string, int32_t> logs;
    for (size_t i = 0; i < units.size(); ++i) {
      units[i] = logs.emplace(sweeps[i].log_id, static_cast<int32_t>(logs.size())).first->second;
    }
  }
  return CompareByBootstrap(
      names, units, options, [&](int which, std::span<const int32_t> weights) {
        const ArgoverseMetrics metrics = SummarizeArgoverse(which == 0 ? a : b, config, weights);
        const ArgoverseScores& average = metrics.average;
        std::vector<double> values = {average.cds, average.ap, average.ate_m, average.ase,
                                      average.aoe_rad};
        for (const size_t c : shown) values.push_back(metrics.categories[c].ap);
        return values;
      });
}

std::vector<ComparisonRow> CompareKitti(const KittiMatches& a, const KittiMatches& b,
                                        const CompareOptions& options) {
  ATHANOR_CHECK(a.num_frames == b.num_frames, "expected matches of the same frames, found ",
                a.num_frames, " and ", b.num_frames);
  constexpr int kModerate = 1;
  constexpr KittiTask kTasks[] = {KittiTask::kBox3d, KittiTask::kGround, KittiTask::kImage,
                                  KittiTask::kOrientation};
  const auto averages = [&](const KittiMatches& matches, std::span<const int32_t> weights) {
    const KittiMetrics metrics = SummarizeKitti(matches, {weights.begin(), weights.end()});
    std::vector<double> values;
    for (int c = 0; c < kKittiClasses; ++c) {
      for (const KittiTask task : kTasks) {
        values.push_back(metrics.At(c, task, KittiOverlap::kStrict, kModerate).Average40());
      }
    }
    return values;
  };
  // What either detector does not do is not compared.
  const std::vector<double> of_a = averages(a, {}), of_b = averages(b, {});
  std::vector<std::string> names;
  std::vector<size_t> shown;
  for (size_t i = 0; i < of_a.size(); ++i) {
    if (std::isnan(of_a[i]) || std::isnan(of_b[i])) continue;
    shown.push_back(i);
    names.push_back(StrCat(kKittiClassNames[i / std::size(kTasks)], " ",
                           kKittiTaskNames[static_cast<int>(kTasks[i % std::size(kTasks)])]));
  }
  return CompareByBootstrap(names, EverySample(a.num_frames), options,
                            [&](int which, std::span<const int32_t> weights) {
                              const auto all = averages(which == 0 ? a : b, weights);
                              std::vector<double> values;
                              for (const size_t i : shown) values.push_back(all[i]);
                              return values;
                            });
}

}  // namespace athanor
