#include "athanor/loop/vehicle/selector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "athanor/base/error.h"
#include "athanor/base/random.h"
#include "athanor/base/test_util.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kDay_us = int64_t{86'400} * 1'000'000;

// Keeps its own books of everything that is asked of it.
class StrictSink : public SnippetSink {
 public:
  explicit StrictSink(const std::map<int64_t, int64_t>* bytes) : bytes_of(bytes) {}

  int64_t Measure(const Snippet& snippet) override {
    int64_t bytes = 0;
    for (int64_t f = snippet.first; f <= snippet.last; ++f) bytes += bytes_of->at(f);
    return bytes + overhead;
  }
  bool Store(const Snippet& snippet) override {
    for (int64_t f = snippet.first; f <= snippet.last; ++f) {
      EXPECT_TRUE(frames.insert(f).second) << "frame " << f << " is in two snippets";
    }
    if (is_full) return false;
    stored[snippet.id] = snippet.bytes;
    return true;
  }
  void Evict(const Snippet& snippet) override { EXPECT_EQ(stored.erase(snippet.id), 1u); }
  int64_t Trim(const Snippet& snippet, int64_t from, int64_t count) override {
    EXPECT_LE(from + count, snippet.last - snippet.first + 1);
    Snippet left;
    left.first = snippet.first + from;
    left.last = left.first + count - 1;
    return stored[snippet.id] = Measure(left);
  }
  int64_t FeatureBytes(const Snippet&) override { return 100; }
  bool SendFeatures(const Snippet&) override {
    if (!is_online) return false;
    sent += 100;
    EXPECT_LE(sent, written);
    return true;
  }
  UploadResult Upload(const Snippet& snippet) override {
    if (!is_online) return UploadResult::kNoLink;
    if (++tried % 7 == 0 && damages) return UploadResult::kLost;
    EXPECT_EQ(stored.erase(snippet.id), 1u);
    sent += snippet.bytes;
    EXPECT_LE(sent, written) << "bytes were sent before they were written down";
    uploads.push_back(snippet);
    return UploadResult::kSent;
  }
  bool Write(const UplinkLedger& ledger) override {
    if (!is_writable) return false;
    written = ledger.sent_bytes;
    return true;
  }

  int64_t StoredBytes() const {
    int64_t sum = 0;
    for (const auto& [id, bytes] : stored) sum += bytes;
    return sum;
  }

  const std::map<int64_t, int64_t>* bytes_of;
  std::map<int64_t, int64_t> stored;
  std::set<int64_t> frames;
  std::vector<Snippet> uploads;
  int64_t sent = 0, written = 0, overhead = 0, tried = 0;
  bool is_full = false, is_online = true, is_writable = true, damages = false;
};

TEST(TrustedClock, NeverRunsBackAndForgetsLongJumps) {
  TrustedClock clock;
  EXPECT_EQ(clock.Advance(1000), 1000);
  EXPECT_EQ(clock.Advance(2000), 2000);
  EXPECT_EQ(clock.Advance(500), 2000);   // back by 1500
  EXPECT_EQ(clock.Advance(1500), 2000);  // which is made up for first
  EXPECT_EQ(clock.Advance(2500), 2500);
  EXPECT_EQ(clock.Advance(2500 + 30 * kDay_us), 2500);
  EXPECT_EQ(clock.Advance(2600 + 30 * kDay_us), 2600);
  EXPECT_EQ(clock.Advance(std::numeric_limits<int64_t>::min()), 2600);
  EXPECT_EQ(clock.Advance(std::numeric_limits<int64_t>::max()), 2600);
  EXPECT_EQ(clock.jumps(), 4);
}

// Whatever comes: sizes, values, clocks, a cloud that changes its mind, a link that breaks.
TEST(Selector, BudgetsAreNeverExceeded) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    Random random(seed);
    VehicleBundle bundle = DefaultBundle();
    const auto change = [&] {
      bundle.budgets.bytes_stored = 2000 + random.Below(40'000);
      bundle.budgets.bytes_per_day = random.Below(4) == 0 ? 0 : random.Below(20'000);
      bundle.budgets.share = random.Below(3) == 0 ? 1 : random.Uniform(0, 0.2f);
      bundle.pre_roll = static_cast<int>(random.Below(4));
      bundle.post_roll = static_cast<int>(random.Below(4));
      bundle.longest = 1 + static_cast<int>(random.Below(10));
      bundle.pixels_on_demand = random.Below(4) == 0;
      bundle.budgets.quota_bytes = {{"a", random.Below(5000)}};
    };
    change();
    std::map<int64_t, int64_t> bytes;
    StrictSink sink(&bytes);
    sink.overhead = random.Below(50);
    sink.damages = seed % 2 == 1;
    Selector selector(bundle, &sink);
    int64_t time_us = 1'700'000'000'000'000, recorded = 0, clip = 0;
    std::map<int64_t, int64_t> most_per_day, sent_per_day, of_a;
    for (int64_t f = 0; f < 1500; ++f) {
      if (random.Below(300) == 0) change(), selector.SetBundle(bundle);
      if (random.Below(200) == 0) sink.is_online = !sink.is_online;
      if (random.Below(200) == 0) sink.is_full = !sink.is_full;
      if (random.Below(200) == 0) sink.is_writable = !sink.is_writable;
      if (random.Below(400) == 0) time_us += kDay_us * (static_cast<int64_t>(random.Below(9)) - 4);
      if (random.Below(100) == 0) ++clip;
      time_us += random.Below(120'000'000);
      VehicleFrame frame;
      frame.number = f;
      frame.clip = clip;
      frame.time_us = time_us;
      frame.bytes = bytes[f] = random.Below(20) == 0 ? random.Below(60'000) : random.Below(900);
      std::vector<TriggerValue> values;
      if (random.Below(4) == 0)
        values.push_back({f, random.Below(2) ? "a" : "b", random.Uniform()});
      if (f > 0 && random.Below(9) == 0) values.push_back({f - 1, "rule.c", random.Uniform(0, 3)});
      recorded += frame.bytes;
      const int64_t sent_before = sink.sent;
      const int64_t jumps_before = selector.clock().jumps();
      selector.Push(frame, values);
      if (!selector.waiting().empty() && random.Below(20) == 0) {
        EXPECT_TRUE(selector.AskFor(selector.waiting().front().id));
      }
      const int64_t day = selector.clock().day();
      sent_per_day[day] += sink.sent - sent_before;
      // The limit of the moment: another may have held before.
      ASSERT_TRUE(sent_per_day[day] <= bundle.budgets.bytes_per_day || sink.sent == sent_before)
          << "seed " << seed << " frame " << f;
      ASSERT_TRUE(static_cast<double>(sink.sent) <=
                      bundle.budgets.share * static_cast<double>(recorded) ||
                  sink.sent == sent_before)
          << "seed " << seed << " frame " << f;
      ASSERT_LE(sink.StoredBytes(), bundle.budgets.bytes_stored);
      ASSERT_GE(selector.clock().jumps(), jumps_before);
    }
    selector.Park();
    const SelectorReport report = selector.Report();
    EXPECT_EQ(report.recorded.frames, 1500);
    int64_t frames = report.uploaded.frames + report.waiting.frames;
    for (const auto& [why, tally] : report.dropped) frames += tally.frames;
    EXPECT_EQ(frames, 1500) << "seed " << seed << ": every frame is accounted for, once";
    EXPECT_EQ(report.uploads, std::ssize(sink.uploads));
  }
}

struct Stream {
  std::map<int64_t, int64_t> bytes;
  std::vector<double> values;
};

Stream MakeStream(uint64_t seed, int frames) {
  Random random(seed);
  Stream stream;
  for (int f = 0; f < frames; ++f) {
    stream.bytes[f] = 500 + random.Below(1000);
    stream.values.push_back(std::exp(1.5 * random.Normal()));
  }
  return stream;
}

double Play(const Stream& stream, VehicleBundle bundle, StrictSink* sink) {
  Selector selector(bundle, sink);
  for (size_t f = 0; f < stream.values.size(); ++f) {
    VehicleFrame frame;
    frame.number = static_cast<int64_t>(f);
    frame.time_us = 1'700'000'000'000'000 + frame.number * 500'000;
    frame.bytes = stream.bytes.at(frame.number);
    selector.Push(frame, {{frame.number, "a", stream.values[f]}});
  }
  selector.Park();
  double sum = 0;
  for (const Snippet& snippet : sink->uploads) sum += snippet.value;
  return sum;
}

// The best choice, by dynamic programming over whole bytes / 50.
double BestChoice(const Stream& stream, int64_t budget) {
  constexpr int64_t kUnit = 50;
  std::vector<double> best(budget / kUnit + 1);
  for (size_t f = 0; f < stream.values.size(); ++f) {
    // Rounded down: the bound is never below the truth.
    const int64_t size = stream.bytes.at(static_cast<int64_t>(f)) / kUnit;
    for (int64_t b = std::ssize(best) - 1; b >= size; --b) {
      best[b] = std::max(best[b], best[b - size] + stream.values[f]);
    }
  }
  return best.back();
}

TEST(Selector, ComesNearTheBestChoiceInHindsight) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const Stream stream = MakeStream(seed, 4000);
    int64_t total = 0;
    for (const auto& [f, bytes] : stream.bytes) total += bytes;
    VehicleBundle bundle = DefaultBundle();
    bundle.budgets.share = 0.02;
    bundle.pre_roll = bundle.post_roll = 0;
    bundle.longest = 1;
    StrictSink sink(&stream.bytes);
    const double value = Play(stream, bundle, &sink);
    const double best = BestChoice(stream, total / 50);
    EXPECT_GE(value, 0.8 * best) << "seed " << seed;
    EXPECT_LE(value, best);
  }
}

TEST(Selector, KeepsWhatCameBeforeAndAfter) {
  Stream stream;
  for (int f = 0; f < 40; ++f) stream.bytes[f] = 10, stream.values.push_back(f == 20 ? 5 : 0);
  VehicleBundle bundle = DefaultBundle();
  bundle.pre_roll = 3;
  bundle.post_roll = 2;
  StrictSink sink(&stream.bytes);
  Play(stream, bundle, &sink);
  ASSERT_EQ(sink.uploads.size(), 1u);
  EXPECT_EQ(sink.uploads[0].first, 17);
  EXPECT_EQ(sink.uploads[0].last, 22);
  EXPECT_EQ(sink.uploads[0].peak, 20);
  EXPECT_EQ(sink.uploads[0].main_reason(), "a");
}

TEST(Selector, TheBestFramesOfWhatDoesNotFit) {
  Stream stream;
  for (int f = 0; f < 50; ++f) stream.bytes[f] = 1000, stream.values.push_back(0);
  stream.values[20] = 3, stream.values[21] = 7, stream.values[22] = 4;
  VehicleBundle bundle = DefaultBundle();
  bundle.budgets.share = 0.05;  // 2,500 bytes in the end
  bundle.pre_roll = bundle.post_roll = 2;
  StrictSink sink(&stream.bytes);
  Play(stream, bundle, &sink);
  ASSERT_EQ(sink.uploads.size(), 1u);
  EXPECT_EQ(sink.uploads[0].first, 21);
  EXPECT_EQ(sink.uploads[0].last, 22);
  EXPECT_EQ(sink.uploads[0].value, 11);
}

TEST(Selector, PixelsWaitUntilTheyAreAskedFor) {
  std::map<int64_t, int64_t> bytes;
  StrictSink sink(&bytes);
  VehicleBundle bundle = DefaultBundle();
  bundle.pixels_on_demand = true;
  bundle.pre_roll = bundle.post_roll = 0;
  Selector selector(bundle, &sink);
  for (int64_t f = 0; f < 10; ++f) {
    bytes[f] = 1000;
    VehicleFrame frame;
    frame.number = f;
    frame.time_us = f * 500'000;
    frame.bytes = 1000;
    selector.Push(frame,
                  f == 4 ? std::vector<TriggerValue>{{4, "a", 1}} : std::vector<TriggerValue>{});
  }
  EXPECT_EQ(selector.Report().features_sent, 1);
  EXPECT_TRUE(sink.uploads.empty());
  EXPECT_EQ(selector.WhyWaiting(selector.waiting().at(0)), "not asked for");
  EXPECT_FALSE(selector.AskFor(5));
  EXPECT_TRUE(selector.AskFor(4));
  selector.Park();
  EXPECT_EQ(sink.uploads.size(), 1u);
}

TEST(Selector, GoesOnFromItsLedger) {
  UplinkLedger ledger;
  ledger.recorded_bytes = 1000;
  ledger.sent_bytes = 990;
  ledger.sent_today_by_reason = {{"a", 12}};
  ledger.clock_us = 1'700'000'000'000'000;
  ledger.now_us = 1'600'000'000'000'000;
  ledger.next_frame = 7;
  EXPECT_EQ(DecodeLedger(EncodeLedger(ledger), "x"), ledger);
  EXPECT_THAT(ErrorOf([] { DecodeLedger("{\"recorded_bytes\": 1}", "car/ledger.json"); }),
              HasSubstr("car/ledger.json"));
  std::map<int64_t, int64_t> bytes = {{7, 100}, {8, 100}};
  StrictSink sink(&bytes);
  sink.written = 990;
  Selector selector(DefaultBundle(), &sink);
  Snippet old;
  old.id = 3;
  old.bytes = 5;
  old.value = 1;
  sink.stored[3] = 5;
  selector.Restore(ledger, {old});
  VehicleFrame frame;
  frame.number = 7;
  frame.bytes = 100;
  frame.time_us = 1'700'000'001'000'000;
  selector.Push(frame, {});
  EXPECT_EQ(selector.clock().now_us(), 1'600'000'001'000'000);
  EXPECT_EQ(selector.ledger().recorded_bytes, 1100);
  selector.Park();
  EXPECT_EQ(sink.uploads.size(), 1u);
}

}  // namespace
}  // namespace athanor
