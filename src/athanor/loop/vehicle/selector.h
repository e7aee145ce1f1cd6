// Which moments a car keeps and which it uploads, decided while it drives: the most value per byte
// that fits, under limits that are never exceeded. Knows frames only by number, size and value.
//
// Frames whose value per byte is among the best `kCandidates` times what may be uploaded open a
// snippet: the frames before and after with it, longer while it goes on. Closed snippets wait in
// the store, the best first; where the store is full, the worst go. A snippet leaves by the uplink
// once it is worth its price: the value per byte from which on snippets so far would have used up
// the share exactly. The price falls as unspent bytes pile up and rises when they are overspent, so
// that good moments early do not use up what better ones later need, and nothing is left unused.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "athanor/loop/vehicle/bundle.h"
#include "athanor/loop/vehicle/triggers.h"

namespace athanor {

// Time for budgets, out of a clock that may jump: never runs back. Steps of up to a day count (a
// night in the garage), longer ones, either way, count as nothing.
class TrustedClock {
 public:
  int64_t Advance(int64_t clock_us);
  int64_t now_us() const { return now_us_; }
  int64_t day() const;
  int64_t jumps() const { return jumps_; }

 private:
  friend class Selector;
  int64_t now_us_ = 0;
  int64_t last_us_ = 0;    // what the clock said last
  int64_t behind_us_ = 0;  // by how much it ran back: that is not counted twice
  int64_t jumps_ = 0;
  bool has_begun_ = false;
};

// What was recorded and what was sent, written down before it is sent: a car that is switched off
// in between has spent the bytes.
struct UplinkLedger {
  int64_t recorded_bytes = 0, sent_bytes = 0, feature_bytes = 0;
  int64_t day = 0, sent_today = 0, recorded_today = 0;
  double usual_day_bytes = 0;                       // recorded on days before; 0: this is the first
  int64_t now_us = 0, clock_us = 0, behind_us = 0;  // of the TrustedClock
  int64_t next_frame = 0;                           // all before it are counted
  std::map<std::string, int64_t> sent_today_by_reason;

  bool operator==(const UplinkLedger&) const = default;
};
std::string EncodeLedger(const UplinkLedger& ledger);
// Throws Error (`name`).
UplinkLedger DecodeLedger(std::string_view bytes, std::string_view name);

struct Snippet {
  int64_t id = 0;  // the frame that opened it
  int64_t first = 0, last = 0;
  int64_t peak = 0;                       // the frame of most value
  int64_t bytes = 0;                      // as it is stored and uploaded
  double value = 0;                       // sum over its frames
  std::vector<double> values;             // of its frames; sums to `value`
  std::map<std::string, double> reasons;  // value by reason; that of all its frames when it opened
  bool features_sent = false, is_asked_for = false;

  double density() const { return value / static_cast<double>(bytes > 0 ? bytes : 1); }
  std::string main_reason() const;
};

enum class UploadResult {
  kSent,
  kNoLink,  // nothing goes just now: it is tried again
  kLost     // what was stored is damaged, or gone
};

// Does what is decided. Each may fail without harm: false.
class SnippetSink {
 public:
  virtual ~SnippetSink() = default;
  // The bytes that storing, and uploading, takes; its frames are in the ring. 0: it cannot be kept
  // (its files are damaged).
  virtual int64_t Measure(const Snippet& snippet) = 0;
  virtual bool Store(const Snippet& snippet) = 0;
  virtual void Evict(const Snippet& snippet) = 0;
  // Cuts what is stored down to `count` frames from the `from`-th on. Returns the bytes that are
  // left; 0: it stays as it was.
  virtual int64_t Trim(const Snippet& snippet, int64_t from, int64_t count) = 0;
  virtual int64_t FeatureBytes(const Snippet& snippet) = 0;
  virtual bool SendFeatures(const Snippet& snippet) = 0;
  virtual UploadResult Upload(const Snippet& snippet) = 0;
  // Before bytes are sent, and after snippets are stored. What is not written down is not sent.
  virtual bool Write(const UplinkLedger& ledger) = 0;
};

struct Tally {
  int64_t frames = 0, bytes = 0;
  double value = 0;
};

struct SelectorReport {
  Tally recorded, uploaded, waiting;
  int64_t snippets = 0, uploads = 0, uploads_failed = 0;
  int64_t features_sent = 0, feature_bytes = 0;
  int64_t most_stored_bytes = 0, most_sent_in_a_day = 0;
  // "unremarkable" (no trigger), "below the price", "store full", "too large", "cannot be stored",
  // "damaged" (in the store), "trimmed" (the rest of a snippet of which only the best fitted).
  std::map<std::string, Tally> dropped;
  std::map<std::string, Tally> seen_by_reason, uploaded_by_reason;  // what the cloud weighs by
};

class Selector {
 public:
  static constexpr double kCandidates = 4;
  static constexpr double kFeatureShare = 0.1;  // of what may be uploaded

  Selector(const VehicleBundle& bundle, SnippetSink* sink);

  void SetBundle(const VehicleBundle& bundle);
  // Goes on from an earlier run: what was sent, and what waits.
  void Restore(const UplinkLedger& ledger, std::vector<Snippet> waiting);

  // The next frame, and what triggers say of it and of the one before.
  void Push(const VehicleFrame& frame, const std::vector<TriggerValue>& values);
  // The clip is over; what triggers say of its last frame.
  void EndClip(const std::vector<TriggerValue>& values);
  // The cloud asks for the pixels of a snippet; true when they are still here.
  bool AskFor(int64_t id);
  // Driving ends here: closes what is open, and uploads what the limits allow.
  void Park();

  SelectorReport Report() const;
  // Why a snippet still waits: "not asked for", "quota of NAME", "no bytes left".
  std::string WhyWaiting(const Snippet& snippet) const;
  const UplinkLedger& ledger() const { return ledger_; }
  const TrustedClock& clock() const { return clock_; }
  const std::vector<Snippet>& waiting() const { return stored_; }
  // The value per byte asked for an upload now.
  double price() const;

 private:
  struct Held {
    int64_t number, bytes;
    double value = 0;
    std::map<std::string, double> reasons;
    bool is_settled = false, is_in_snippet = false;
  };
  // Bytes by value per byte, of which old ones fade.
  class PriceCurve {
   public:
    void Add(double density, double bytes);
    void AddTotal(double bytes);
    // From which value per byte on there are `share` of all bytes; 0: there are not so many.
    double PriceAt(double share) const;

   private:
    static constexpr int kBins = 2048;
    std::vector<double> bytes_ = std::vector<double>(kBins);
    double total_ = 0;
  };

  double Share() const;
  int64_t AllowedBytes() const;
  int64_t StoredBytes() const { return ring_bytes_ + waiting_bytes_; }
  bool MakeRoom(int64_t bytes, double density);
  bool Hold(int64_t number, int64_t bytes);
  void Settle(size_t index);
  void SettleAll();
  void AddValues(const std::vector<TriggerValue>& values);
  void Close();
  void Forget(size_t count);
  void TrimRing();
  void Sync(bool parks);
  void SendFeatures();
  void TrimToFit(Snippet* snippet);
  bool HasQuota(const Snippet& snippet) const;
  bool WriteDown();
  // False: it cannot be written down, and is not spent.
  bool Spend(int64_t bytes, const std::string& reason);
  void Refund(int64_t bytes, const std::string& reason);
  void WaitForTheLink();
  void Drop(const std::string& why, int64_t frames, int64_t bytes, double value);
  void BeginDay();

  VehicleBundle bundle_;
  SnippetSink* sink_;
  TrustedClock clock_;
  UplinkLedger ledger_;
  std::deque<Held> ring_;
  int64_t ring_bytes_ = 0, waiting_bytes_ = 0;
  bool is_open_ = false;
  Snippet open_;
  int64_t open_until_ = 0;
  std::vector<Snippet> stored_;
  PriceCurve frame_curve_, snippet_curve_;
  double snippet_bytes_ = 0;    // a usual one
  int64_t patience_until_ = 0;  // the frame until which a failed upload is not tried again
  int64_t day_began_us_ = 0, clip_ = 0;
  SelectorReport report_;
};

}  // namespace athanor
