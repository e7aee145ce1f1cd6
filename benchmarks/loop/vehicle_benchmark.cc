// What a car keeps of a long drive under a byte budget, against an oracle that knows the true value
// of every frame beforehand.
//
//   vehicle_benchmark [FRAMES] [SEEDS] [FIRST]   default 100000 5 1: seeds from the first on
//
// The drive: 200 kinds of places, the most common 20 times as common as the rarest, for 60 frames
// or so at a time; features of 64 numbers around a place's centre; ten objects that come and go at
// the edge of the view, with scores that flicker; frames of 0.9 MB, log-normal. Ordinary frames are
// worth 0.005 on average, log-normal, by nothing that a car could see. Planted, each for 2 to 6
// frames, together 0.5 % of the frames:
//   asked     one of 4 kinds for which the cloud pushed a prototype, more or less alike; worth 1
//   new       one of 40 kinds of places never seen else; worth 1
//   doubt     objects nearby of which the model is not sure; worth 0.7
//   brake     the planner brakes hard; worth 0.7
//   flicker   objects nearby that come and go; worth 0.5
// and, for nothing: dirt on a lens (0.1 %: features far from all), things half like a prototype
// (0.5 %), hard braking without a cause (0.05 %).
//
// The car has driven as many frames before, none of which can be uploaded any more.
//
// Oracle: the fractional knapsack over true values, which no choice of frames can beat.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/base/random.h"
#include "athanor/loop/vehicle/selector.h"
#include "athanor/loop/vehicle/triggers.h"

namespace athanor {
namespace {

constexpr int kDimension = 64, kPlaces = 200, kAsked = 4, kNew = 40;
constexpr const char* kKinds[] = {"asked", "new", "doubt", "brake", "flicker"};
constexpr double kWorth[] = {1, 1, 0.7, 0.7, 0.5};

std::vector<float> Direction(Random& random) {
  std::vector<float> direction(kDimension);
  for (float& x : direction) x = random.Normal();
  return direction;
}

struct Truth {
  double value = 0;
  int64_t bytes = 0;
  int event = -1;
};
struct Event {
  int kind = 0;
  bool is_found = false;
};

// One drive, frame by frame.
class Drive {
 public:
  explicit Drive(uint64_t seed) : random_(seed) {
    for (int i = 0; i < kPlaces; ++i) places_.push_back(Direction(random_));
    for (int i = 0; i < kAsked; ++i) asked_.push_back(Direction(random_));
    for (int i = 0; i < kNew; ++i) new_.push_back(Direction(random_));
    double sum = 0;
    for (int i = 0; i < kPlaces; ++i)
      shares_.push_back(sum += std::pow(20.0, -double(i) / kPlaces));
    for (double& share : shares_) share /= sum;
    for (int i = 0; i < 10; ++i) objects_.push_back(NewObject(random_.Uniform(-60, 60)));
  }

  const std::vector<std::vector<float>>& asked() const { return asked_; }
  const std::vector<Truth>& truths() const { return truths_; }
  std::vector<Event>& events() { return events_; }

  void Reseed(uint64_t seed) { random_ = Random(seed); }

  VehicleFrame Next() {
    VehicleFrame frame;
    frame.number = static_cast<int64_t>(truths_.size());
    frame.time_us = 1'700'000'000'000'000 + frame.number * 500'000;
    frame.bytes = std::lround(9e5 * std::exp(0.3 * random_.Normal()));
    frame.ego_speed_mps = 10;
    if (place_left_-- <= 0) {
      place_left_ = 30 + static_cast<int>(random_.Below(60));
      const double at = random_.Uniform();
      place_ = std::min<int64_t>(
          kPlaces - 1, std::upper_bound(shares_.begin(), shares_.end(), at) - shares_.begin());
    }
    Truth truth{0.005 * std::exp(random_.Normal() - 0.5), frame.bytes};
    if (event_left_ == 0 && random_.Uniform() < 0.00125) {
      event_left_ = 2 + static_cast<int>(random_.Below(5));
      events_.push_back({static_cast<int>(random_.Below(5))});
      which_ = static_cast<int>(random_.Below(kNew));
      likeness_ = random_.Uniform(0.75, 1.3);
    }
    const int kind = event_left_ > 0 ? events_.back().kind : -1;
    if (kind >= 0) {
      truth.event = static_cast<int>(events_.size()) - 1;
      truth.value = kWorth[kind];
      --event_left_;
    }
    const auto mix = [&](const std::vector<float>& a, float of_a, const std::vector<float>& b,
                         float of_b) {
      for (int i = 0; i < kDimension; ++i) {
        frame.feature.push_back(of_a * a[i] + of_b * b[i] + 0.35f * random_.Normal());
      }
    };
    if (kind == 0) {
      mix(places_[place_], 0.4f, asked_[which_ % kAsked], likeness_);
    } else if (kind == 1) {
      mix(new_[which_], 1, new_[which_], 0);
    } else if (random_.Uniform() < 0.001f) {
      const std::vector<float> dirt = Direction(random_);
      mix(dirt, 1, places_[place_], 0.3f);
    } else if (random_.Uniform() < 0.005f) {
      mix(places_[place_], 1, asked_[random_.Below(kAsked)], 0.7f);
    } else {
      mix(places_[place_], 1, places_[place_], 0);
    }
    if (kind == 3 || random_.Uniform() < 0.0005f) frame.events.push_back("ego.hard_brake");
    AddBoxes(kind, &frame);
    truths_.push_back(truth);
    return frame;
  }

 private:
  struct Object {
    double x, y, speed;
    int class_index;
  };

  Object NewObject(double x) {
    return {x, random_.Uniform(-25, 25), random_.Uniform(1, 6), static_cast<int>(random_.Below(4))};
  }

  void AddBoxes(int kind, VehicleFrame* frame) {
    const auto add = [&](double x, double y, int class_index, double score) {
      MinedBox box;
      box.frame = frame->number;
      box.class_index = class_index;
      box.center_m = {x, y, 0};
      box.score = std::clamp(score, 0.0, 1.0);
      frame->boxes.push_back(box);
    };
    for (Object& object : objects_) {
      object.x -= 0.5 * object.speed;
      if (object.x < -60) object = NewObject(60);
      // A detector's usual noise: unsure far away, blind once in a hundred frames.
      const double far = std::hypot(object.x, object.y) / 60;
      const double score = 0.9 - 0.4 * far + 0.08 * random_.Normal();
      if (random_.Uniform() > 0.01f) add(object.x, object.y, object.class_index, score);
    }
    if (kind == 2) {
      for (int i = 0; i < 3; ++i) {
        add(random_.Uniform(3, 12), random_.Uniform(-6, 6), 1, random_.Uniform(0.35f, 0.65f));
      }
    }
    if (kind == 4) {
      for (int i = 0; i < 3; ++i) {
        add(random_.Uniform(-10, 10), random_.Uniform(-10, 10), 2, random_.Uniform(0.6f, 0.9f));
      }
    }
  }

  Random random_;
  std::vector<std::vector<float>> places_, asked_, new_;
  std::vector<double> shares_;
  std::vector<Object> objects_;
  int place_left_ = 0, event_left_ = 0, which_ = 0;
  int64_t place_ = 0;
  float likeness_ = 1;
  std::vector<Truth> truths_;
  std::vector<Event> events_;
};

// Remembers which frames were uploaded.
class CountingSink : public SnippetSink {
 public:
  explicit CountingSink(const Drive& drive) : drive_(drive) {}
  int64_t Measure(const Snippet& snippet) override {
    int64_t bytes = 0;
    for (int64_t f = snippet.first; f <= snippet.last; ++f) bytes += drive_.truths()[f].bytes;
    return bytes;
  }
  bool Store(const Snippet&) override { return true; }
  void Evict(const Snippet&) override {}
  int64_t Trim(const Snippet& snippet, int64_t from, int64_t count) override {
    Snippet left;
    left.first = snippet.first + from;
    left.last = left.first + count - 1;
    return Measure(left);
  }
  int64_t FeatureBytes(const Snippet&) override { return 300; }
  bool SendFeatures(const Snippet&) override { return true; }
  UploadResult Upload(const Snippet& snippet) override {
    for (int64_t f = snippet.first; f <= snippet.last; ++f) uploaded.push_back(f);
    return UploadResult::kSent;
  }
  bool Write(const UplinkLedger&) override { return true; }

  std::vector<int64_t> uploaded;

 private:
  const Drive& drive_;
};

// The most that any choice of frames within `budget` bytes is worth: at most one frame is cut.
double FractionalKnapsack(const std::vector<double>& values, const std::vector<Truth>& truths,
                          double budget, std::vector<size_t>* chosen = nullptr) {
  std::vector<size_t> order(values.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return values[a] * static_cast<double>(truths[b].bytes) >
           values[b] * static_cast<double>(truths[a].bytes);
  });
  double sum = 0;
  for (const size_t i : order) {
    const auto bytes = static_cast<double>(truths[i].bytes);
    if (bytes >= budget) return sum + values[i] * budget / bytes;
    budget -= bytes;
    sum += values[i];
    if (chosen != nullptr) chosen->push_back(i);
  }
  return sum;
}

struct Outcome {
  double ratio = 0, hindsight = 0, chance = 0, recall = 0, share = 0, ms = 0;
  std::map<std::string, double> recalls;
};

Outcome Run(uint64_t seed, int64_t frames, double share, int roll) {
  Drive drive(seed);
  VehicleBundle bundle = DefaultBundle();
  bundle.version = 1;
  bundle.budgets = {.bytes_stored = int64_t{4} << 30, .bytes_per_day = int64_t{1} << 50};
  bundle.budgets.share = share;
  bundle.pre_roll = bundle.post_roll = roll;
  bundle.longest = 20;
  for (int i = 0; i < kAsked; ++i) {
    bundle.prototypes.push_back({"kind" + std::to_string(i), 1.5, 0.75, drive.asked()[i]});
  }
  CountingSink sink(drive);
  Triggers triggers(bundle, {"car", "person", "bicycle", "truck"});
  Selector selector(bundle, &sink);
  // Before: the triggers know the roads.
  Drive past = drive;
  for (int64_t f = 0; f < frames; ++f) triggers.Look(past.Next());
  drive.Reseed(seed + 1000);
  std::vector<double> seen(frames);
  for (int64_t f = 0; f < frames; ++f) {
    const VehicleFrame frame = drive.Next();
    const std::vector<TriggerValue> values = triggers.Look(frame);
    for (const TriggerValue& value : values) seen[value.frame] += value.value;
    selector.Push(frame, values);
  }
  selector.Park();
  const auto& truths = drive.truths();
  double captured = 0, total = 0, bytes = 0;
  std::vector<double> values;
  for (const Truth& truth : truths) {
    values.push_back(truth.value);
    total += truth.value;
    bytes += static_cast<double>(truth.bytes);
  }
  for (const int64_t f : sink.uploaded) {
    captured += truths[f].value;
    if (truths[f].event >= 0) drive.events()[truths[f].event].is_found = true;
  }
  const double oracle = FractionalKnapsack(values, truths, share * bytes);
  std::vector<size_t> hindsight;
  FractionalKnapsack(seen, truths, share * bytes, &hindsight);
  Outcome outcome;
  for (const size_t f : hindsight) outcome.hindsight += truths[f].value / oracle;
  outcome.ratio = captured / oracle;
  outcome.chance = share * total / oracle;
  outcome.share = static_cast<double>(selector.ledger().sent_bytes) / bytes;
  outcome.ms = triggers.timer().total_ms() / static_cast<double>(frames);
  std::map<std::string, std::pair<int, int>> counts;
  for (const Event& event : drive.events()) {
    auto& [found, all] = counts[kKinds[event.kind]];
    found += event.is_found;
    ++all;
    outcome.recall += event.is_found / static_cast<double>(drive.events().size());
  }
  for (const auto& [kind, count] : counts) {
    outcome.recalls[kind] = static_cast<double>(count.first) / count.second;
  }
  ATHANOR_CHECK(outcome.share <= share, "the budget was exceeded: ", outcome.share);
  return outcome;
}

// Mean, and half the width of its 95 % interval (Student's t).
std::string Interval(const std::vector<double>& x) {
  constexpr double kT[] = {0, 12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26};
  const auto n = static_cast<double>(x.size());
  double mean = 0, squares = 0;
  for (const double v : x) mean += v / n;
  for (const double v : x) squares += (v - mean) * (v - mean);
  const double half =
      x.size() < 2 ? 0 : kT[std::min<size_t>(9, x.size() - 1)] * std::sqrt(squares / (n - 1) / n);
  char text[64];
  std::snprintf(text, sizeof text, "%.3f +- %.3f", mean, half);
  return text;
}

int Main(int64_t frames, int seeds, int first) {
  std::printf("%lld frames, %d seeds from %d; mean +- 95 %% interval\n",
              static_cast<long long>(frames), seeds, first);
  struct Case {
    double share;
    int roll;
  };
  for (const Case& c : {Case{0.01, 0}, {0.01, 1}, {0.001, 0}, {0.1, 0}}) {
    std::vector<Outcome> outcomes;
    for (int seed = first; seed < first + seeds; ++seed)
      outcomes.push_back(Run(seed, frames, c.share, c.roll));
    const auto of = [&](auto&& field) {
      std::vector<double> x;
      for (const Outcome& outcome : outcomes) x.push_back(field(outcome));
      return Interval(x);
    };
    std::printf("\n%.1f %% of bytes, pre- and post-roll of %d frames\n", 100 * c.share, c.roll);
    std::printf("  value / oracle's            %s\n", of([](auto& o) { return o.ratio; }).c_str());
    std::printf("  same triggers in hindsight  %s\n",
                of([](auto& o) { return o.hindsight; }).c_str());
    std::printf("  frames at random            %s\n", of([](auto& o) { return o.chance; }).c_str());
    std::printf("  planted events recalled     %s\n", of([](auto& o) { return o.recall; }).c_str());
    for (const char* kind : kKinds) {
      std::printf("    %-10s %s\n", kind, of([&](auto& o) { return o.recalls.at(kind); }).c_str());
    }
    std::printf("  bytes used, %%               %s\n",
                of([](auto& o) { return 100 * o.share; }).c_str());
    std::printf("  triggers, ms a frame        %s\n", of([](auto& o) { return o.ms; }).c_str());
  }
  return 0;
}

}  // namespace
}  // namespace athanor

int main(int argc, char** argv) {
  try {
    return athanor::Main(argc > 1 ? std::atoll(argv[1]) : 100000, argc > 2 ? std::atoi(argv[2]) : 5,
                         argc > 3 ? std::atoi(argv[3]) : 1);
  } catch (const athanor::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
