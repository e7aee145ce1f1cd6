#include "athanor/loop/vehicle/vehicle.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/hash.h"
#include "athanor/base/log.h"
#include "athanor/datasets/paths.h"
#include "athanor/loop/vehicle/triggers.h"
#include "athanor/loop/vehicle/upload.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr size_t kSeenBoxes = 12;
constexpr size_t kLongestName = 40;  // it begins the names of messages

// A frame on the road: of which log, which of its frames, and what the model saw.
struct RoadFrame {
  int log = 0, frame = 0;
  std::vector<float> feature;
  std::vector<std::string> seen;
};

class Car : public SnippetSink {
 public:
  Car(const LogDataset& logs, SmallModel* model, const VehicleBundle& first, Transport* transport,
      const fs::path& folder, const VehicleOptions& options)
      : logs_(logs),
        model_(model),
        transport_(transport),
        folder_(folder),
        options_(options),
        slot_(folder / "bundle", first),
        triggers_(slot_.bundle(), ClassNames()),
        selector_(slot_.bundle(), this) {
    CheckMessageName(options.name);
    ATHANOR_CHECK(options.name.size() <= kLongestName, "a car's name: expected up to ",
                  kLongestName, " letters, found \"", options.name, "\"");
    MakeFolder(folder_ / "spool");
    Recover();
  }

  VehicleReport Drive() {
    const int64_t skipped = selector_.ledger().next_frame;
    for (int l = 0; l < std::ssize(logs_.names()); ++l) {
      try {
        log_ = logs_.Read(l);
      } catch (const Error& error) {
        Warn(error.what());
        continue;
      }
      log_index_ = l;
      ++clip_;
      if (number_ + std::ssize(log_.frames) > skipped) MeasureFrames();
      for (int f = 0; f < std::ssize(log_.frames); ++f, ++number_) {
        if (number_ < skipped) continue;
        if (number_ % std::max(1, options_.listen_every) == 0) Listen();
        DriveFrame(f);
        if (options_.progress) options_.progress(number_ + 1, selector_);
      }
      selector_.EndClip(triggers_.EndClip());
    }
    Listen();
    selector_.Park();
    VehicleReport report = Report();
    WriteFile(folder_ / "report.json", EncodeReport(report));
    return report;
  }

  int64_t Measure(const Snippet& snippet) override {
    bytes_.clear();
    try {
      const RoadFrame& first = road_.at(snippet.first);
      ATHANOR_CHECK(first.log == log_index_, "snippet ", snippet.id, " spans logs");
      const Log cut = CutLog(log_, first.frame, road_.at(snippet.last).frame);
      bytes_ = EncodeUpload(cut);
      begin_us_ = cut.frames.front().time_us;
      end_us_ = cut.frames.back().time_us;
    } catch (const Error& error) {
      Warn(error.what());
    }
    return std::ssize(bytes_);
  }

  bool Store(const Snippet& snippet) override {
    FeatureRecord record;
    record.id = IdOf(snippet);
    record.log = log_.name;
    record.begin_us = begin_us_;
    record.end_us = end_us_;
    record.bundle = slot_.bundle().version;
    record.snippet = snippet;
    record.feature = road_.at(snippet.peak).feature;
    record.seen = road_.at(snippet.peak).seen;
    try {
      WriteFile(SpoolPath(record.id, ".clip"), bytes_);
      WriteFile(SpoolPath(record.id, ".json"), EncodeFeatures(record));
    } catch (const Error& error) {
      Warn(error.what());
      RemoveSpooled(record.id);
      return false;
    }
    records_[snippet.id] = std::move(record);
    return true;
  }

  void Evict(const Snippet& snippet) override {
    RemoveSpooled(records_.at(snippet.id).id);
    records_.erase(snippet.id);
  }

  int64_t Trim(const Snippet& snippet, int64_t from, int64_t count) override {
    const fs::path path = SpoolPath(records_.at(snippet.id).id, ".clip");
    try {
      const Log whole = ReadUpload(path);
      const std::string bytes =
          EncodeUpload(CutLog(whole, static_cast<int>(from), static_cast<int>(from + count - 1)));
      WriteFile(path, bytes);
      return std::ssize(bytes);
    } catch (const Error& error) {
      Warn(error.what());
      return 0;
    }
  }

  int64_t FeatureBytes(const Snippet& snippet) override {
    return std::ssize(EncodeFeatures(records_.at(snippet.id)));
  }
  bool SendFeatures(const Snippet& snippet) override {
    const FeatureRecord& record = records_.at(snippet.id);
    return Send("features", record.id + ".json", EncodeFeatures(record));
  }
  UploadResult Upload(const Snippet& snippet) override {
    const FeatureRecord& record = records_.at(snippet.id);
    const fs::path path = SpoolPath(record.id, ".clip");
    std::string bytes;
    try {
      bytes = ReadFile(path);
      DecodeUpload(bytes, path.string());
    } catch (const Error& error) {
      Warn(error.what());
      return UploadResult::kLost;
    }
    if (!Send("clips", record.id + ".clip", bytes)) return UploadResult::kNoLink;
    sent_.push_back(KeptOf(record, snippet));
    RemoveSpooled(record.id);
    records_.erase(snippet.id);
    return UploadResult::kSent;
  }
  bool Write(const UplinkLedger& ledger) override {
    try {
      WriteFile(folder_ / "ledger.json", EncodeLedger(ledger));
      return true;
    } catch (const Error& error) {
      Warn(error.what());
      return false;
    }
  }

 private:
  static constexpr const char* kAsked = ".asked";  // the cloud wants the pixels

  static std::vector<std::string> ClassNames() {
    return {kNuscenesClassNames.begin(), kNuscenesClassNames.end()};
  }

  // The record knows the snippet as it was stored, before it was trimmed.
  static KeptSnippet KeptOf(const FeatureRecord& record, const Snippet& snippet) {
    return {record.id,
            record.log,
            record.begin_us,
            record.end_us,
            record.snippet.peak - record.snippet.first,
            record.seen,
            snippet,
            {}};
  }

  fs::path SpoolPath(const std::string& id, const char* extension) const {
    return folder_ / "spool" / (id + extension);
  }
  void RemoveSpooled(const std::string& id) {
    std::error_code error;
    for (const char* extension : {".json", ".clip", kAsked}) {
      fs::remove(SpoolPath(id, extension), error);
    }
  }
  // The same snippet has the same id after a kill.
  std::string IdOf(const Snippet& snippet) const {
    return StrCat(options_.name, "-", log_.frames[road_.at(snippet.first).frame].time_us, "-",
                  HexDigits(HashBytes(bytes_)).substr(0, 8));
  }

  void Warn(std::string_view line) {
    ++faults_;
    LogWarning(line.substr(0, line.find('\n')));
  }

  bool Send(const char* kind, const std::string& name, const std::string& bytes) {
    if (transport_ == nullptr) return false;
    try {
      transport_->Send(kind, name, bytes);
      return true;
    } catch (const Error& error) {
      Warn(error.what());
      return false;
    }
  }

  // What an earlier run left: the ledger, and snippets that are whole.
  void Recover() {
    UplinkLedger ledger;
    if (IsFile(folder_ / "ledger.json")) {
      ledger = DecodeLedger(ReadFile(folder_ / "ledger.json"), (folder_ / "ledger.json").string());
    }
    std::vector<Snippet> waiting;
    for (const fs::path& path : ListFiles(folder_ / "spool", {".clip"})) {
      const fs::path json = fs::path(path).replace_extension(".json");
      if (!IsFile(json)) {  // killed between the two: its frames are driven again
        RemoveSpooled(path.stem().string());
        continue;
      }
      try {
        FeatureRecord record = DecodeFeatures(ReadFile(json), json.string());
        // Killed before the ledger counted its frames: they are driven again.
        ATHANOR_CHECK(record.snippet.id < ledger.next_frame, json.string(),
                      ": expected a snippet from before frame ", ledger.next_frame, ", found ",
                      record.snippet.id);
        record.snippet.bytes = static_cast<int64_t>(fs::file_size(path));
        record.snippet.is_asked_for = IsFile(SpoolPath(record.id, kAsked));
        waiting.push_back(record.snippet);
        records_[record.snippet.id] = std::move(record);
      } catch (const Error& error) {
        // It must not stay, uncounted, in a store that has a limit.
        Warn(StrCat(error.what(), "; it is dropped"));
        RemoveSpooled(path.stem().string());
      }
    }
    selector_.Restore(ledger, std::move(waiting));
  }

  void Listen() {
    if (transport_ == nullptr) return;
    try {
      transport_->Receive(
          [&](const std::string& kind, const std::string& name, std::string_view bytes) {
            if (kind == "bundle") {
              const VehicleBundle offered = DecodeBundle(bytes, name);
              if (offered.version <= slot_.bundle().version) return;
              triggers_.SetBundle(offered);  // first: its rules may not compile
              slot_.Take(bytes, name);
              selector_.SetBundle(slot_.bundle());
              LogInfo(StrCat("bundle ", slot_.bundle().version, " taken"));
            } else if (kind == "request") {
              for (const auto& [number, record] : records_) {
                if (record.id != name || !selector_.AskFor(number)) continue;
                WriteFile(SpoolPath(record.id, kAsked), "");  // it is said once
                return;
              }
              LogInfo(StrCat(name, " is asked for and not here any more"));
            }
          });
    } catch (const Error& error) {
      Warn(error.what());
    }
  }

  // How large each frame is, and whether its files are there.
  void MeasureFrames() {
    frame_bytes_.assign(log_.frames.size(), 0);
    const std::vector<int> frames = FramesOfReadings(log_);
    for (size_t i = 0; i < log_.readings.size(); ++i) {
      const LogReading& reading = log_.readings[i];
      if (frames[i] < 0 || !HasPayload(log_, reading)) continue;
      std::error_code error;
      try {
        const auto size = static_cast<int64_t>(log_.payloads ? log_.payloads->Read(reading).size()
                                                             : fs::file_size(reading.path, error));
        if (!error) frame_bytes_[frames[i]] += size;
      } catch (const Error& damage) {
        Warn(damage.what());
      }
    }
  }

  void DriveFrame(int f) {
    const LogFrame& at = log_.frames[f];
    VehicleFrame frame;
    frame.number = number_;
    frame.clip = clip_;
    frame.time_us = at.time_us;
    frame.bytes = frame_bytes_[f];
    frame.world_from_ego = at.world_from_ego;
    if (f > 0) {
      const LogFrame& before = log_.frames[f - 1];
      const double seconds = 1e-6 * static_cast<double>(at.time_us - before.time_us);
      if (seconds > 0) {
        frame.ego_speed_mps =
            (at.world_from_ego.translation - before.world_from_ego.translation).norm() / seconds;
      } else {
        ++clip_;  // the clock jumped: what lasts over time begins anew
        frame.clip = clip_;
      }
    }
    for (const LogTag& tag : log_.tags) {
      if (tag.name.starts_with("ego.") && tag.begin_us <= at.time_us && at.time_us <= tag.end_us) {
        frame.events.push_back(tag.name);
      }
    }
    RoadFrame& road = road_[number_];
    road.log = log_index_;
    road.frame = f;
    try {
      SmallModelSight sight = model_->Look(log_, f);
      for (MinedBox& box : sight.boxes) {
        const bool is_finite = std::isfinite(box.score) && box.center_m.allFinite() &&
                               box.size_m.allFinite() && std::isfinite(box.yaw_rad);
        ATHANOR_CHECK(is_finite, "log ", log_.name, ", frame ", f,
                      ": expected finite boxes of the small model, found NaN");
      }
      for (const float x : sight.feature) {
        ATHANOR_CHECK(std::isfinite(x), "log ", log_.name, ", frame ", f,
                      ": expected a finite feature of the small model, found ", x);
      }
      frame.boxes = std::move(sight.boxes);
      frame.feature = std::move(sight.feature);
    } catch (const Error& error) {
      Warn(error.what());  // it is recorded all the same
    }
    road.feature = frame.feature;
    Describe(frame, &road.seen);
    selector_.Push(frame, triggers_.Look(frame));
    // What no snippet can need any more.
    const VehicleBundle& bundle = slot_.bundle();
    kept_frames_ =
        std::max<int64_t>(kept_frames_, bundle.longest + bundle.pre_roll + bundle.post_roll + 2);
    road_.erase(road_.begin(), road_.lower_bound(number_ - kept_frames_));
  }

  static void Describe(const VehicleFrame& frame, std::vector<std::string>* seen) {
    std::vector<const MinedBox*> boxes;
    for (const MinedBox& box : frame.boxes) boxes.push_back(&box);
    const size_t n = std::min(kSeenBoxes, boxes.size());
    std::partial_sort(boxes.begin(), boxes.begin() + static_cast<int64_t>(n), boxes.end(),
                      [](const MinedBox* a, const MinedBox* b) { return a->score > b->score; });
    for (size_t i = 0; i < n; ++i) {
      char text[96];
      std::snprintf(text, sizeof text, "%s %.2f at %.0f m",
                    std::string(kNuscenesClassNames[boxes[i]->class_index]).c_str(),
                    boxes[i]->score,
                    (boxes[i]->center_m - frame.world_from_ego.translation).head<2>().norm());
      seen->emplace_back(text);
    }
  }

  VehicleReport Report() const {
    VehicleReport report;
    report.selection = selector_.Report();
    for (const Snippet& snippet : selector_.waiting()) {
      Tally& tally = report.waiting[selector_.WhyWaiting(snippet)];
      tally.frames += snippet.last - snippet.first + 1;
      tally.bytes += snippet.bytes;
      tally.value += snippet.value;
      report.spooled.push_back(KeptOf(records_.at(snippet.id), snippet));
      report.spooled.back().waits_for = selector_.WhyWaiting(snippet);
    }
    const FrameTimer& timer = triggers_.timer();
    report.stages = timer.stages();
    report.worst_ms = timer.worst_ms();
    report.mean_ms = timer.total_ms() /
                     static_cast<double>(std::max<int64_t>(1, report.selection.recorded.frames));
    report.budget_ms = timer.budget_ms();
    report.overruns = timer.overruns();
    report.bundle = slot_.bundle().version;
    report.clock_jumps = selector_.clock().jumps();
    report.faults = faults_ + triggers_.faults();
    report.sent = sent_;
    return report;
  }

  const LogDataset& logs_;
  SmallModel* model_;
  Transport* transport_;
  fs::path folder_;
  VehicleOptions options_;
  BundleSlot slot_;
  Triggers triggers_;
  Selector selector_;
  Log log_;
  int log_index_ = 0;
  int64_t number_ = 0, clip_ = 0, kept_frames_ = 0;
  std::vector<int64_t> frame_bytes_;
  std::map<int64_t, RoadFrame> road_;
  std::map<int64_t, FeatureRecord> records_;  // of snippets in the spool
  std::string bytes_;                         // of the snippet that was measured last
  int64_t begin_us_ = 0, end_us_ = 0;
  std::vector<KeptSnippet> sent_;
  int64_t faults_ = 0;
};

Json JsonOf(const Tally& tally) {
  return {{"frames", tally.frames}, {"bytes", tally.bytes}, {"value", tally.value}};
}

Json JsonOf(const std::map<std::string, Tally>& tallies) {
  Json json = Json::object();
  for (const auto& [name, tally] : tallies) json[name] = JsonOf(tally);
  return json;
}

}  // namespace

VehicleReport DriveLogs(const LogDataset& logs, SmallModel* model, const VehicleBundle& first,
                        Transport* transport, const fs::path& folder,
                        const VehicleOptions& options) {
  return Car(logs, model, first, transport, folder, options).Drive();
}

std::string EncodeReport(const VehicleReport& report) {
  const SelectorReport& selection = report.selection;
  Json json = {{"bundle", report.bundle},
               {"recorded", JsonOf(selection.recorded)},
               {"uploaded", JsonOf(selection.uploaded)},
               {"waiting", JsonOf(report.waiting)},
               {"dropped", JsonOf(selection.dropped)},
               {"seen_by_reason", JsonOf(selection.seen_by_reason)},
               {"uploaded_by_reason", JsonOf(selection.uploaded_by_reason)},
               {"snippets", selection.snippets},
               {"uploads", selection.uploads},
               {"uploads_failed", selection.uploads_failed},
               {"features_sent", selection.features_sent},
               {"feature_bytes", selection.feature_bytes},
               {"most_stored_bytes", selection.most_stored_bytes},
               {"most_sent_in_a_day", selection.most_sent_in_a_day},
               {"worst_ms", report.worst_ms},
               {"mean_ms", report.mean_ms},
               {"budget_ms", report.budget_ms},
               {"overruns", report.overruns},
               {"clock_jumps", report.clock_jumps},
               {"faults", report.faults}};
  for (const StageTimes& stage : report.stages) {
    json["stages"].push_back({{"name", stage.name},
                              {"runs", stage.runs},
                              {"skipped", stage.skipped},
                              {"worst_ms", stage.worst_ms},
                              {"total_ms", stage.total_ms}});
  }
  json["sent"] = Json::array();
  for (const KeptSnippet& sent : report.sent) {
    json["sent"].push_back({{"id", sent.id},
                            {"log", sent.log},
                            {"begin_us", sent.begin_us},
                            {"end_us", sent.end_us},
                            {"bytes", sent.snippet.bytes},
                            {"value", sent.snippet.value},
                            {"reasons", sent.snippet.reasons}});
  }
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace athanor
