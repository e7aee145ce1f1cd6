#include "athanor/loop/vehicle/triggers.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "athanor/base/error.h"
#include "athanor/base/log.h"
#include "athanor/loop/mining/rules.h"

namespace athanor {
namespace {

constexpr double kNear_m = 30;
constexpr double kUsualBits = 3, kUnit_bits = 10;
constexpr size_t kPrototypesAtOnce = 64;
// A stage is believed to take so much until it was seen.
constexpr double kFirst_ms = 0.05, kFirstRule_ms = 1;

Eigen::Vector2d InEgo(const VehicleFrame& frame, const Eigen::Vector3d& in_world) {
  return (frame.world_from_ego.Inverse() * in_world).head<2>();
}

// 1 at the car, 0 from kNear_m on.
double Nearness(const VehicleFrame& frame, const MinedBox& box) {
  return std::max(0.0, 1 - InEgo(frame, box.center_m).norm() / kNear_m);
}

// In bits: 1 where the model cannot say whether there is anything.
double Entropy(double p) {
  if (p <= 0 || p >= 1) return 0;
  return -p * std::log2(p) - (1 - p) * std::log2(1 - p);
}

double WorthOf(double bits) { return std::max(0.0, bits - kUsualBits) / (kUnit_bits - kUsualBits); }

// Of two vectors less a third.
double Cosine(const std::vector<float>& a, const std::vector<float>& b,
              std::span<const float> mean) {
  float dot = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const float x = a[i] - mean[i], y = b[i] - mean[i];
    dot += x * y;
    aa += x * x;
    bb += y * y;
  }
  return aa > 0 && bb > 0 ? dot / std::sqrt(double{aa} * bb) : 0;
}

}  // namespace

double TrackWatch::Watch(const VehicleFrame& frame) {
  constexpr double kSure = 0.4, kMost_m = 4, kInside = 0.8;
  constexpr int kKnown = 3;
  const double step_s = 1e-6 * static_cast<double>(frame.time_us - time_us_);
  const bool begins = frame.clip != clip_ || step_s <= 0 || step_s > 2;
  if (begins) tracks_.clear();
  clip_ = frame.clip;
  time_us_ = frame.time_us;
  std::vector<Track> next;
  std::vector<uint8_t> is_taken(tracks_.size());
  double sum = 0;
  for (const MinedBox& box : frame.boxes) {
    if (box.score < kSure) continue;
    size_t best = tracks_.size();
    double best_m = kMost_m;
    for (size_t t = 0; t < tracks_.size(); ++t) {
      if (is_taken[t] || tracks_[t].box.class_index != box.class_index) continue;
      const Eigen::Vector2d expected =
          tracks_[t].box.center_m.head<2>() + step_s * tracks_[t].velocity_mps;
      const double distance_m = (box.center_m.head<2>() - expected).norm();
      if (distance_m < best_m) best_m = distance_m, best = t;
    }
    Track track{box};
    if (best < tracks_.size()) {
      is_taken[best] = 1;
      track.hits = tracks_[best].hits + 1;
      track.velocity_mps = (box.center_m - tracks_[best].box.center_m).head<2>() / step_s;
    } else if (!begins) {
      sum += box.score * Nearness(frame, box);
    }
    next.push_back(track);
  }
  for (size_t t = 0; t < tracks_.size(); ++t) {
    MinedBox expected = tracks_[t].box;
    expected.center_m.head<2>() += step_s * tracks_[t].velocity_mps;
    // What leaves at the edge may.
    if (!is_taken[t] && tracks_[t].hits >= kKnown &&
        InEgo(frame, expected.center_m).norm() < kInside * kNear_m) {
      sum += expected.score * Nearness(frame, expected);
    }
  }
  tracks_ = std::move(next);
  return sum;
}

struct Triggers::RunningRule {
  RunningRule(const VehicleRule& from, const RuleLimits& limits)
      : rule(from), stream({from.name, 0, from.sql}, nullptr, 0, 0, limits) {}

  // Once for each frame that was hit.
  void Add(const std::vector<RuleHit>& hits, std::vector<TriggerValue>* values) const {
    std::set<int64_t> frames;
    for (const RuleHit& hit : hits) frames.insert(hit.frame);
    for (const int64_t frame : frames) {
      values->push_back({frame, "rule." + rule.name, rule.value});
    }
  }
  // A rule that fails is off: an endless join would be one in every frame.
  void Guard(const std::function<void()>& work, int64_t* faults) {
    try {
      work();
    } catch (const Error& error) {
      is_broken = true;
      ++*faults;
      LogWarning(StrCat(error.what(), "; the rule is off"));
    }
  }

  VehicleRule rule;
  RuleStream stream;
  bool is_broken = false;
};

Triggers::Triggers(const VehicleBundle& bundle, std::vector<std::string> class_names,
                   std::function<double()> now_ms)
    : class_names_(std::move(class_names)), timer_(bundle.budgets.ms_per_frame, std::move(now_ms)) {
  event_stage_ = timer_.AddStage("events", kFirst_ms / 10);
  prototype_stage_ = timer_.AddStage("prototypes", kFirst_ms);
  rarity_stage_ = timer_.AddStage("rarity", kFirst_ms);
  scenario_stage_ = timer_.AddStage("scenario", kFirst_ms);
  margin_stage_ = timer_.AddStage("margin", kFirst_ms);
  track_stage_ = timer_.AddStage("tracks", kFirst_ms);
  rule_stage_ = timer_.AddStage("rules", kFirstRule_ms);
  SetBundle(bundle);
}

Triggers::~Triggers() = default;

void Triggers::SetBundle(const VehicleBundle& bundle) {
  RuleLimits limits;
  limits.seconds = std::max(1e-3, 0.5e-3 * bundle.budgets.ms_per_frame);
  limits.memory_bytes = int64_t{64} << 20;
  limits.hits = 10'000;
  std::vector<std::unique_ptr<RunningRule>> rules;
  for (const VehicleRule& rule : bundle.rules) {
    rules.push_back(std::make_unique<RunningRule>(rule, limits));
  }
  rules_ = std::move(rules);
  bundle_ = bundle;
  timer_.set_budget(bundle.budgets.ms_per_frame);
}

void Triggers::Guard(const char* what, const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    if (faults_++ == 0) LogWarning(StrCat(what, ": ", error.what(), "; the frame goes without"));
  }
}

double Triggers::MarginOf(const VehicleFrame& frame) const {
  constexpr size_t kBoxes = 3;
  std::vector<double> doubts;
  for (const MinedBox& box : frame.boxes) {
    if (box.score > 0.1) doubts.push_back(Entropy(box.score) * Nearness(frame, box));
  }
  const size_t n = std::min(kBoxes, doubts.size());
  std::partial_sort(doubts.begin(), doubts.begin() + static_cast<int64_t>(n), doubts.end(),
                    std::greater<>());
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += doubts[i];
  return sum;
}

double Triggers::ScenarioSurprise(const VehicleFrame& frame) {
  constexpr double kSure = 0.3;
  const char speed = frame.ego_speed_mps < 0.5 ? '0' : frame.ego_speed_mps < 8 ? '1' : '2';
  std::set<std::string> words;
  for (const MinedBox& box : frame.boxes) {
    if (box.score < kSure) continue;
    const double distance_m = InEgo(frame, box.center_m).norm();
    const char band = distance_m < 10 ? '0' : distance_m < 25 ? '1' : '2';
    words.insert({static_cast<char>('A' + box.class_index % 64), band, speed});
  }
  for (const std::string& event : frame.events) words.insert(event + speed);
  double most = 0;
  for (const std::string& word : words) {
    most = std::max(most, std::log2((scenarios_.total() + 1) / (scenarios_.Count(word) + 1)));
  }
  for (const std::string& word : words) scenarios_.Add(word);
  return most;
}

void Triggers::LookAtPrototypes(const VehicleFrame& frame, std::vector<TriggerValue>* values) {
  const auto& all = bundle_.prototypes;
  for (size_t begin = 0; begin < all.size(); begin += kPrototypesAtOnce) {
    timer_.Run(prototype_stage_, [&] {
      Guard("prototypes", [&] {
        for (size_t i = begin; i < std::min(all.size(), begin + kPrototypesAtOnce); ++i) {
          const VehiclePrototype& p = all[i];
          ATHANOR_CHECK(p.vector.size() == frame.feature.size() &&
                            features_.mean().size() == frame.feature.size(),
                        "prototype ", p.name, ": expected ", frame.feature.size(),
                        " numbers as the small model gives, found ", p.vector.size());
          const double cosine = Cosine(p.vector, frame.feature, features_.mean());
          if (!(cosine >= p.similarity)) continue;
          const double above = (cosine - p.similarity) / (1 - p.similarity);
          values->push_back({frame.number, "prototype." + p.name, p.value * (0.5 + 0.5 * above)});
        }
      });
    });
  }
}

void Triggers::Judge(Unusual* unusual, double lasting, std::vector<TriggerValue>* values) {
  if (before_ < 0) return;
  const double value = bundle_.*unusual->weight * WorthOf(unusual->tail.BitsThenAdd(lasting));
  if (value > 0) values->push_back({before_, unusual->reason, value});
}

void Triggers::Next(Unusual* unusual, double score, std::vector<TriggerValue>* values) {
  const double pair = before_ < 0 ? 0 : 0.5 * (unusual->last + score);
  Judge(unusual, std::max(unusual->last_pair, pair), values);
  unusual->last = score;
  unusual->last_pair = pair;
}

void Triggers::JudgeLast(std::vector<TriggerValue>* values) {
  for (Unusual* unusual : {&rarity_, &scenario_, &margin_, &track_}) {
    Judge(unusual, unusual->last_pair, values);
    unusual->last = unusual->last_pair = 0;
  }
  before_ = -1;
}

std::vector<TriggerValue> Triggers::EndClip() {
  std::vector<TriggerValue> values;
  JudgeLast(&values);
  for (const auto& running : rules_) {
    if (running->is_broken) continue;
    running->Guard([&] { running->Add(running->stream.Flush(), &values); }, &faults_);
  }
  return values;
}

std::vector<TriggerValue> Triggers::Look(const VehicleFrame& frame) {
  std::vector<TriggerValue> values;
  features_.Prepare(frame.feature);
  timer_.BeginFrame();
  // What the cloud asks for comes first.
  timer_.Run(event_stage_, [&] {
    for (const std::string& event : frame.events) {
      const auto worth = bundle_.events.find(event);
      if (worth == bundle_.events.end() || worth->second <= 0) continue;
      values.push_back({frame.number, "event." + event, worth->second});
    }
  });
  if (!frame.feature.empty()) {
    LookAtPrototypes(frame, &values);
  }
  if (frame.clip != clip_) JudgeLast(&values);
  clip_ = frame.clip;
  if (!frame.feature.empty()) {
    timer_.Run(rarity_stage_, [&] {
      Guard("rarity", [&] { Next(&rarity_, features_.SurpriseThenAdd(frame.feature), &values); });
    });
  }
  timer_.Run(scenario_stage_, [&] { Next(&scenario_, ScenarioSurprise(frame), &values); });
  timer_.Run(margin_stage_, [&] { Next(&margin_, MarginOf(frame), &values); });
  timer_.Run(track_stage_, [&] { Next(&track_, track_watch_.Watch(frame), &values); });
  before_ = frame.number;
  FrameAttributes attributes;
  bool is_filled = false;
  const auto fill_attributes = [&] {
    is_filled = true;
    attributes.frame = frame.number;
    attributes.clip = frame.clip;
    attributes.time_us = frame.time_us;
    attributes.ego_speed_mps = frame.ego_speed_mps;
    attributes.tags = frame.events;
    for (const MinedBox& box : frame.boxes) {
      BoxAttributes& out = attributes.boxes.emplace_back();
      out.class_name = class_names_.at(box.class_index);
      out.score = box.score;
      out.center_in_ego_m = frame.world_from_ego.Inverse() * box.center_m;
      out.size_m = box.size_m;
      out.yaw_rad = box.yaw_rad;
    }
  };
  for (const auto& running : rules_) {
    if (running->is_broken) continue;
    timer_.Run(rule_stage_, [&] {
      if (!is_filled) fill_attributes();
      running->Guard([&] { running->Add(running->stream.Push(attributes), &values); }, &faults_);
    });
  }
  timer_.EndFrame();
  return values;
}

}  // namespace athanor
