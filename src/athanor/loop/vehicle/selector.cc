#include "athanor/loop/vehicle/selector.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "athanor/base/error.h"

namespace athanor {
namespace {

constexpr int64_t kDay_us = int64_t{86'400} * 1'000'000;
constexpr double kDriving_us = 8 * 3600e6;  // in a day, until the car knows its own days
constexpr double kWindow = 8;               // snippets' worth of savings that bring the price to 0
constexpr int64_t kRetry_frames = 20;
constexpr double kMemory_bytes = 0.5;  // what of old bytes is kept when they fade
constexpr double kInfinite = std::numeric_limits<double>::infinity();

using Json = nlohmann::ordered_json;

}  // namespace

int64_t TrustedClock::day() const { return now_us_ / kDay_us; }

int64_t TrustedClock::Advance(int64_t clock_us) {
  if (!has_begun_) {
    has_begun_ = true;
    last_us_ = now_us_ = clock_us;
    return now_us_;
  }
  // The difference of any two times, without overflow.
  const double step = static_cast<double>(clock_us) - static_cast<double>(last_us_);
  const int64_t last_us = last_us_;
  last_us_ = clock_us;
  if (std::abs(step) > static_cast<double>(kDay_us)) {
    ++jumps_;
  } else if (step < 0) {
    ++jumps_;
    behind_us_ += last_us - clock_us;
  } else {
    const int64_t counted = clock_us - last_us;
    const int64_t again = std::min(counted, behind_us_);
    behind_us_ -= again;
    now_us_ += counted - again;
  }
  return now_us_;
}

std::string EncodeLedger(const UplinkLedger& ledger) {
  const Json json = {{"recorded_bytes", ledger.recorded_bytes},
                     {"sent_bytes", ledger.sent_bytes},
                     {"feature_bytes", ledger.feature_bytes},
                     {"day", ledger.day},
                     {"sent_today", ledger.sent_today},
                     {"recorded_today", ledger.recorded_today},
                     {"usual_day_bytes", ledger.usual_day_bytes},
                     {"now_us", ledger.now_us},
                     {"clock_us", ledger.clock_us},
                     {"behind_us", ledger.behind_us},
                     {"next_frame", ledger.next_frame},
                     {"sent_today_by_reason", ledger.sent_today_by_reason}};
  return json.dump(1) + "\n";
}

UplinkLedger DecodeLedger(std::string_view bytes, std::string_view name) {
  UplinkLedger ledger;
  try {
    const Json json = Json::parse(bytes);
    json.at("recorded_bytes").get_to(ledger.recorded_bytes);
    json.at("sent_bytes").get_to(ledger.sent_bytes);
    json.at("feature_bytes").get_to(ledger.feature_bytes);
    json.at("day").get_to(ledger.day);
    json.at("sent_today").get_to(ledger.sent_today);
    json.at("recorded_today").get_to(ledger.recorded_today);
    json.at("usual_day_bytes").get_to(ledger.usual_day_bytes);
    json.at("now_us").get_to(ledger.now_us);
    json.at("clock_us").get_to(ledger.clock_us);
    json.at("behind_us").get_to(ledger.behind_us);
    json.at("next_frame").get_to(ledger.next_frame);
    json.at("sent_today_by_reason").get_to(ledger.sent_today_by_reason);
  } catch (const std::exception& error) {
    throw Error(StrCat(name, ": expected a car's ledger: ", error.what()));
  }
  return ledger;
}

std::string Snippet::main_reason() const {
  std::string best;
  double most = 0;
  for (const auto& [reason, worth] : reasons) {
    if (worth > most) most = worth, best = reason;
  }
  return best;
}

void Selector::PriceCurve::AddTotal(double bytes) {
  // Roads change: half of what is known fades with every thousand frames or so of this size.
  constexpr double kFrames = 20'000;
  total_ += bytes;
  if (total_ <= kFrames * bytes || bytes <= 0) return;
  for (double& of_bin : bytes_) of_bin *= kMemory_bytes;
  total_ *= kMemory_bytes;
}

void Selector::PriceCurve::Add(double density, double bytes) {
  if (!(density > 0)) return;
  const double bin = (std::log2(density) + 64) * (kBins / 96.0);
  bytes_[static_cast<size_t>(std::clamp(bin, 0.0, kBins - 1.0))] += bytes;
}

double Selector::PriceCurve::PriceAt(double share) const {
  const double wanted = share * total_;
  double above = 0;
  for (int bin = kBins - 1; bin >= 0; --bin) {
    above += bytes_[bin];
    if (above > wanted) return std::exp2(bin * (96.0 / kBins) - 64);
  }
  return 0;
}

Selector::Selector(const VehicleBundle& bundle, SnippetSink* sink) : sink_(sink) {
  SetBundle(bundle);
}

void Selector::SetBundle(const VehicleBundle& bundle) {
  bundle_ = bundle;
  // A smaller store holds at once.
  MakeRoom(0, kInfinite);
}

void Selector::Restore(const UplinkLedger& ledger, std::vector<Snippet> waiting) {
  ledger_ = ledger;
  clock_.now_us_ = ledger.now_us;
  clock_.last_us_ = ledger.clock_us;
  clock_.behind_us_ = ledger.behind_us;
  clock_.has_begun_ = ledger.clock_us != 0;
  stored_ = std::move(waiting);
  waiting_bytes_ = 0;
  for (const Snippet& snippet : stored_) waiting_bytes_ += snippet.bytes;
  MakeRoom(0, kInfinite);
}

double Selector::Share() const {
  const VehicleBudgets& budgets = bundle_.budgets;
  double day_bytes = ledger_.usual_day_bytes;
  if (day_bytes <= 0) {
    const double driven_us = std::max(60e6, static_cast<double>(clock_.now_us() - day_began_us_));
    day_bytes =
        static_cast<double>(ledger_.recorded_today) * std::max(1.0, kDriving_us / driven_us);
  }
  if (day_bytes <= 0) return budgets.share;
  return std::min(budgets.share, static_cast<double>(budgets.bytes_per_day) / day_bytes);
}

int64_t Selector::AllowedBytes() const {
  const VehicleBudgets& budgets = bundle_.budgets;
  const auto of_share =
      static_cast<int64_t>(budgets.share * static_cast<double>(ledger_.recorded_bytes));
  return std::max<int64_t>(
      0, std::min(of_share - ledger_.sent_bytes, budgets.bytes_per_day - ledger_.sent_today));
}

double Selector::price() const {
  const double share = Share();
  const double price = snippet_curve_.PriceAt(share);
  const double pace_today = share * static_cast<double>(ledger_.recorded_today);
  const double savings =
      std::min(pace_today - static_cast<double>(ledger_.sent_today),
               bundle_.budgets.share * static_cast<double>(ledger_.recorded_bytes) -
                   static_cast<double>(ledger_.sent_bytes));
  const double window = std::max(kWindow * snippet_bytes_, 0.05 * pace_today);
  if (window <= 0) return price;
  return price * std::clamp(1 - (savings - snippet_bytes_) / window, 0.0, 8.0);
}

void Selector::Drop(const std::string& why, int64_t frames, int64_t bytes, double value) {
  Tally& tally = report_.dropped[why];
  tally.frames += frames;
  tally.bytes += bytes;
  tally.value += value;
}

// Evicts the worst, as far as they are worth less, until `bytes` more can be stored.
bool Selector::MakeRoom(int64_t bytes, double density) {
  const int64_t limit = bundle_.budgets.bytes_stored;
  if (StoredBytes() + bytes <= limit) return true;
  std::sort(stored_.begin(), stored_.end(), [](const Snippet& a, const Snippet& b) {
    if (a.is_asked_for != b.is_asked_for) return a.is_asked_for;
    return a.density() != b.density() ? a.density() > b.density() : a.id < b.id;
  });
  int64_t freed = 0;
  size_t kept = stored_.size();
  while (kept > 0 && StoredBytes() + bytes - freed > limit) {
    const Snippet& worst = stored_[kept - 1];
    if ((worst.is_asked_for ? kInfinite : worst.density()) >= density && density < kInfinite) break;
    freed += worst.bytes;
    --kept;
  }
  if (StoredBytes() + bytes - freed > limit) return false;
  for (size_t i = kept; i < stored_.size(); ++i) {
    const Snippet& gone = stored_[i];
    Drop("store full", gone.last - gone.first + 1, gone.bytes, gone.value);
    sink_->Evict(gone);
  }
  stored_.resize(kept);
  waiting_bytes_ -= freed;
  return true;
}

// Takes the oldest frames out of the ring.
void Selector::Forget(size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const Held& held = ring_.front();
    if (!held.is_in_snippet) {
      Drop(held.value > 0 ? "below the price" : "unremarkable", 1, held.bytes, held.value);
    }
    ring_bytes_ -= held.bytes;
    ring_.pop_front();
  }
}

void Selector::TrimRing() {
  // The newest frame is not settled yet.
  int64_t keep_from = ring_.back().number - bundle_.pre_roll;
  if (is_open_) keep_from = std::min(keep_from, open_.first);
  size_t count = 0;
  while (count < ring_.size() && ring_[count].number < keep_from && ring_[count].is_settled) {
    ++count;
  }
  Forget(count);
}

bool Selector::Hold(int64_t number, int64_t bytes) {
  const int64_t limit = bundle_.budgets.bytes_stored;
  // An open snippet is written beside the ring before that is emptied.
  if (is_open_ && 2 * (ring_bytes_ + bytes) > limit) Close();
  if (ring_bytes_ + bytes > limit) Forget(ring_.size());
  if (ring_bytes_ + bytes > limit || !MakeRoom(bytes, kInfinite)) return false;
  ring_bytes_ += bytes;
  ring_.push_back({number, bytes, 0, {}});
  report_.most_stored_bytes = std::max(report_.most_stored_bytes, StoredBytes());
  return true;
}

void Selector::Settle(size_t index) {
  Held& held = ring_[index];
  held.is_settled = true;
  const auto bytes = static_cast<double>(held.bytes);
  const double density = held.value / std::max(1.0, bytes);
  const double least = frame_curve_.PriceAt(kCandidates * Share());
  frame_curve_.AddTotal(bytes);
  frame_curve_.Add(density, bytes);
  for (const auto& [reason, worth] : held.reasons) {
    Tally& tally = report_.seen_by_reason[reason];
    ++tally.frames;
    tally.bytes += held.bytes;
    tally.value += worth;
  }
  const bool is_hot = held.value > 0 && density >= least;
  if (is_open_ && held.number > open_until_ && !is_hot) Close();
  if (is_hot && !is_open_) {
    is_open_ = true;
    open_ = {};
    open_.id = open_.peak = held.number;
    open_.first = held.number;
    for (size_t i = index; i > 0; --i) {
      const Held& before = ring_[i - 1];
      if (before.is_in_snippet || before.number < held.number - bundle_.pre_roll) break;
      open_.first = before.number;
    }
  }
  if (is_open_) {
    open_.last = held.number;
    if (is_hot) open_until_ = held.number + bundle_.post_roll;
    if (open_.last - open_.first + 1 >= bundle_.longest || open_.last >= open_until_) {
      // Another hot frame right behind would belong to it.
      if (bundle_.post_roll > 0 || open_.last - open_.first + 1 >= bundle_.longest) Close();
    }
  }
}

void Selector::Close() {
  if (!is_open_) return;
  is_open_ = false;
  Snippet snippet = std::move(open_);
  double peak = -1;
  int64_t raw_bytes = 0;
  for (Held& held : ring_) {
    if (held.number < snippet.first || held.number > snippet.last) continue;
    held.is_in_snippet = true;
    raw_bytes += held.bytes;
    snippet.value += held.value;
    snippet.values.push_back(held.value);
    for (const auto& [reason, worth] : held.reasons) snippet.reasons[reason] += worth;
    if (held.value > peak) peak = held.value, snippet.peak = held.number;
  }
  const int64_t frames = snippet.last - snippet.first + 1;
  ++report_.snippets;
  snippet.bytes = sink_->Measure(snippet);
  if (snippet.bytes <= 0) return Drop("cannot be stored", frames, raw_bytes, snippet.value);
  const auto bytes = static_cast<double>(snippet.bytes);
  snippet_bytes_ +=
      (bytes - snippet_bytes_) / std::min<double>(20, static_cast<double>(report_.snippets));
  snippet_curve_.Add(snippet.density(), bytes);
  if (snippet.bytes > std::min(bundle_.budgets.bytes_per_day, bundle_.budgets.bytes_stored)) {
    return Drop("too large", frames, snippet.bytes, snippet.value);
  }
  if (!MakeRoom(snippet.bytes, snippet.density())) {
    return Drop("store full", frames, snippet.bytes, snippet.value);
  }
  if (!sink_->Store(snippet)) {
    return Drop("cannot be stored", frames, snippet.bytes, snippet.value);
  }
  waiting_bytes_ += snippet.bytes;
  stored_.push_back(std::move(snippet));
  report_.most_stored_bytes = std::max(report_.most_stored_bytes, StoredBytes());
  WriteDown();  // or its frames would be driven again after a kill, and kept twice
}

void Selector::BeginDay() {
  if (clock_.day() == ledger_.day && day_began_us_ != 0) return;
  if (clock_.day() != ledger_.day) {
    const auto recorded = static_cast<double>(ledger_.recorded_today);
    if (recorded > 0) {
      ledger_.usual_day_bytes =
          ledger_.usual_day_bytes > 0 ? 0.7 * ledger_.usual_day_bytes + 0.3 * recorded : recorded;
    }
    ledger_.day = clock_.day();
    ledger_.sent_today = ledger_.recorded_today = 0;
    ledger_.sent_today_by_reason.clear();
  }
  day_began_us_ = clock_.now_us();
}

void Selector::SettleAll() {
  for (size_t i = 0; i < ring_.size(); ++i) {
    if (!ring_[i].is_settled) Settle(i);
  }
}

void Selector::AddValues(const std::vector<TriggerValue>& values) {
  for (const TriggerValue& value : values) {
    for (Held& held : ring_) {
      if (held.number != value.frame || held.is_settled || !(value.value > 0)) continue;
      held.value += value.value;
      held.reasons[value.reason] += value.value;
      report_.recorded.value += value.value;
    }
  }
}

void Selector::EndClip(const std::vector<TriggerValue>& values) {
  AddValues(values);
  SettleAll();
  Close();
  Forget(ring_.size());
}

void Selector::Push(const VehicleFrame& frame, const std::vector<TriggerValue>& values) {
  ATHANOR_CHECK(frame.bytes >= 0, "frame ", frame.number, ": expected a size, found ", frame.bytes,
                " bytes");
  clock_.Advance(frame.time_us);
  BeginDay();
  ledger_.recorded_bytes += frame.bytes;
  ledger_.recorded_today += frame.bytes;
  ledger_.next_frame = frame.number + 1;
  snippet_curve_.AddTotal(static_cast<double>(frame.bytes));
  ++report_.recorded.frames;
  report_.recorded.bytes += frame.bytes;
  // Values of the frame before come with this one, and then it is complete.
  AddValues(values);
  SettleAll();
  if (frame.clip != clip_) {  // a snippet is of one piece
    EndClip({});
    clip_ = frame.clip;
  }
  if (Hold(frame.number, frame.bytes)) {
    AddValues(values);
  } else {
    Drop("too large", 1, frame.bytes, 0);
  }
  if (!ring_.empty()) TrimRing();
  Sync(false);
}

bool Selector::HasQuota(const Snippet& snippet) const {
  const std::string reason = snippet.main_reason();
  const auto quota = bundle_.budgets.quota_bytes.find(reason);
  if (quota == bundle_.budgets.quota_bytes.end()) return true;
  const auto sent = ledger_.sent_today_by_reason.find(reason);
  return (sent == ledger_.sent_today_by_reason.end() ? 0 : sent->second) + snippet.bytes <=
         quota->second;
}

bool Selector::WriteDown() {
  ledger_.now_us = clock_.now_us_;
  ledger_.clock_us = clock_.last_us_;
  ledger_.behind_us = clock_.behind_us_;
  return sink_->Write(ledger_);
}

bool Selector::Spend(int64_t bytes, const std::string& reason) {
  ledger_.sent_bytes += bytes;
  ledger_.sent_today += bytes;
  ledger_.sent_today_by_reason[reason] += bytes;
  if (!WriteDown()) {
    Refund(bytes, reason);
    return false;
  }
  report_.most_sent_in_a_day = std::max(report_.most_sent_in_a_day, ledger_.sent_today);
  return true;
}

// Should this not be written down, the file says that more was spent than was.
void Selector::Refund(int64_t bytes, const std::string& reason) {
  ledger_.sent_bytes -= bytes;
  ledger_.sent_today -= bytes;
  ledger_.sent_today_by_reason[reason] -= bytes;
  WriteDown();
}

void Selector::WaitForTheLink() {
  ++report_.uploads_failed;
  patience_until_ = ledger_.next_frame + kRetry_frames;
}

void Selector::SendFeatures() {
  const double most = kFeatureShare * Share() * static_cast<double>(ledger_.recorded_bytes);
  for (Snippet& snippet : stored_) {
    if (snippet.features_sent) continue;
    const int64_t bytes = sink_->FeatureBytes(snippet);
    if (bytes > AllowedBytes() || static_cast<double>(ledger_.feature_bytes + bytes) > most) return;
    ledger_.feature_bytes += bytes;
    const bool is_spent = Spend(bytes, "features");
    if (!is_spent || !sink_->SendFeatures(snippet)) {
      ledger_.feature_bytes -= bytes;
      if (is_spent) Refund(bytes, "features");
      return WaitForTheLink();
    }
    snippet.features_sent = true;
    ++report_.features_sent;
    report_.feature_bytes += bytes;
  }
}

// Driving is over, and all of it will not fit: the best frames around its peak may.
void Selector::TrimToFit(Snippet* snippet) {
  while (snippet->bytes > AllowedBytes() && snippet->values.size() > 1) {
    const auto frames = std::ssize(snippet->values);
    const int64_t peak = std::clamp<int64_t>(snippet->peak - snippet->first, 0, frames - 1);
    const int64_t fitting = AllowedBytes() * frames / snippet->bytes;
    if (fitting < 1) return;
    const int64_t count = std::min(fitting, frames - 1);
    int64_t from = 0;
    double best = -1;
    for (int64_t begin = std::max<int64_t>(0, peak - count + 1);
         begin <= std::min(peak, frames - count); ++begin) {
      double sum = 0;
      for (int64_t i = 0; i < count; ++i) sum += snippet->values[begin + i];
      if (sum > best) best = sum, from = begin;
    }
    const int64_t bytes = sink_->Trim(*snippet, from, count);
    if (bytes <= 0 || bytes >= snippet->bytes) return;
    Drop("trimmed", frames - count, snippet->bytes - bytes, snippet->value - best);
    waiting_bytes_ -= snippet->bytes - bytes;
    snippet->bytes = bytes;
    snippet->value = best;
    snippet->values = {snippet->values.begin() + from, snippet->values.begin() + from + count};
    snippet->first += from;
    snippet->last = snippet->first + count - 1;
  }
}

void Selector::Sync(bool parks) {
  if (ledger_.next_frame < patience_until_ && !parks) return;
  std::sort(stored_.begin(), stored_.end(), [](const Snippet& a, const Snippet& b) {
    if (a.is_asked_for != b.is_asked_for) return a.is_asked_for;
    return a.density() != b.density() ? a.density() > b.density() : a.id < b.id;
  });
  SendFeatures();
  const double least = parks ? 0 : price();
  for (size_t i = 0; i < stored_.size();) {
    Snippet& snippet = stored_[i];
    if (!snippet.is_asked_for && (bundle_.pixels_on_demand || snippet.density() < least)) break;
    if (!HasQuota(snippet)) {
      ++i;
      continue;
    }
    if (snippet.bytes > AllowedBytes()) {
      if (!parks) break;  // it is saved for
      TrimToFit(&snippet);
      if (snippet.bytes > AllowedBytes()) {
        ++i;
        continue;
      }
    }
    const std::string reason = snippet.main_reason();
    if (!Spend(snippet.bytes, reason)) return WaitForTheLink();
    const UploadResult result = sink_->Upload(snippet);
    if (result != UploadResult::kSent) Refund(snippet.bytes, reason);
    if (result == UploadResult::kNoLink) return WaitForTheLink();
    const int64_t frames = snippet.last - snippet.first + 1;
    if (result == UploadResult::kLost) {  // it does not keep the others from going
      Drop("damaged", frames, snippet.bytes, snippet.value);
      sink_->Evict(snippet);
      waiting_bytes_ -= snippet.bytes;
      stored_.erase(stored_.begin() + static_cast<int64_t>(i));
      continue;
    }
    ++report_.uploads;
    for (Tally* tally : {&report_.uploaded, &report_.uploaded_by_reason[reason]}) {
      tally->frames += frames;
      tally->bytes += snippet.bytes;
      tally->value += snippet.value;
    }
    waiting_bytes_ -= snippet.bytes;
    stored_.erase(stored_.begin() + static_cast<int64_t>(i));
  }
}

bool Selector::AskFor(int64_t id) {
  for (Snippet& snippet : stored_) {
    if (snippet.id != id) continue;
    snippet.is_asked_for = true;
    return true;
  }
  return false;
}

void Selector::Park() {
  EndClip({});
  Sync(true);
  WriteDown();  // where driving ended
}

std::string Selector::WhyWaiting(const Snippet& snippet) const {
  if (bundle_.pixels_on_demand && !snippet.is_asked_for) return "not asked for";
  if (!HasQuota(snippet)) return "quota of " + snippet.main_reason();
  return "no bytes left";
}

SelectorReport Selector::Report() const {
  SelectorReport report = report_;
  for (const Snippet& snippet : stored_) {
    report.waiting.frames += snippet.last - snippet.first + 1;
    report.waiting.bytes += snippet.bytes;
    report.waiting.value += snippet.value;
  }
  return report;
}

}  // namespace athanor
