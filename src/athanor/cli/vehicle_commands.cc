// athanor vehicle ...
#include <algorithm>
#include <charconv>
#include <iostream>
#include <optional>

#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/base/progress.h"
#include "athanor/cli/commands.h"
#include "athanor/cli/detect_results.h"
#include "athanor/cli/options_cli.h"
#include "athanor/loop/inference/models/open_model.h"
#include "athanor/loop/mining/contact_sheet.h"
#include "athanor/loop/vehicle/kept_sheet.h"
#include "athanor/loop/vehicle/upload.h"
#include "athanor/loop/vehicle/vehicle.h"
#ifdef ATHANOR_WITH_NATS
#include "athanor/loop/queue/nats_queue.h"
#endif

namespace athanor {
namespace {

namespace fs = std::filesystem;

// "1%" is a share of what is recorded; "200MB" are bytes a day.
void ParseBudget(const std::string& text, VehicleBudgets* budgets) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string unit(end, text.data() + text.size());
  const double factor = unit == "%" ? 0.01 : unit == "kB" ? 1e3 : unit == "MB" ? 1e6 : 1e9;
  const bool is_known = unit == "%" || unit == "kB" || unit == "MB" || unit == "GB";
  if (error != std::errc() || !is_known || !(number >= 0) || number > 1e6 ||
      (unit == "%" && number > 100)) {
    throw UsageError("--budget: expected a share (1%) or bytes a day (200MB), found '" + text +
                     "'");
  }
  if (unit == "%") {
    budgets->share = number * factor;
  } else {
    budgets->bytes_per_day = static_cast<int64_t>(number * factor);
  }
}

// How a car and the cloud reach each other, from either side.
struct Link {
  std::string nats, name = "car";

  void AddTo(CLI::App& app) {
    app.add_option("--name", name, "the car's (default: car)")->type_name("NAME");
#ifdef ATHANOR_WITH_NATS
    app.add_option("--nats", nats, "over a NATS server with JetStream, instead of a folder")
        ->type_name("URL");
#endif
  }
  // Null without --nats.
  std::unique_ptr<Transport> Open(bool is_car) {
    if (nats.empty()) return nullptr;
#ifdef ATHANOR_WITH_NATS
    NatsQueueOptions options;
    options.attempts = QueueTransport::kAttempts;
    up_ = std::make_unique<NatsQueue>(nats, "vehicle-" + name + "-up", options);
    down_ = std::make_unique<NatsQueue>(nats, "vehicle-" + name + "-down", options);
    WorkQueue* out = is_car ? up_.get() : down_.get();
    WorkQueue* in = is_car ? down_.get() : up_.get();
    return std::make_unique<QueueTransport>(out, in);
#else
    (void)is_car;
    throw Error("this build is without NATS");
#endif
  }

 private:
  std::unique_ptr<WorkQueue> up_, down_;
};

std::string Megabytes(int64_t bytes) { return Fixed(1e-6 * static_cast<double>(bytes), 2); }

void PrintReport(const VehicleReport& report, const fs::path& folder, int64_t list) {
  const SelectorReport& selection = report.selection;
  std::vector<std::vector<std::string>> rows = {{"what", "frames", "MB", "value"}};
  const auto add = [&](const std::string& what, const Tally& tally) {
    rows.push_back({what, Grouped(tally.frames), Megabytes(tally.bytes), Fixed(tally.value, 1)});
  };
  add("recorded", selection.recorded);
  add("uploaded", selection.uploaded);
  for (const auto& [why, tally] : report.waiting) add("waiting: " + why, tally);
  for (const auto& [why, tally] : selection.dropped) add("dropped: " + why, tally);
  std::cout << Table(rows) << "\n";
  rows = {{"reason", "frames seen", "value seen", "frames uploaded for it"}};
  for (const auto& [reason, tally] : selection.seen_by_reason) {
    const auto uploaded = selection.uploaded_by_reason.find(reason);
    rows.push_back(
        {reason, Grouped(tally.frames), Fixed(tally.value, 1),
         Grouped(uploaded == selection.uploaded_by_reason.end() ? 0 : uploaded->second.frames)});
  }
  std::cout << Table(rows) << "\n";
  if (!report.sent.empty() && list > 0) {
    rows = {{"uploaded", "log", "frames", "MB", "value", "why"}};
    for (const KeptSnippet& sent : report.sent) {
      if (std::ssize(rows) > list) break;
      std::string why;
      for (const auto& [reason, value] : sent.snippet.reasons) {
        why += (why.empty() ? "" : ", ") + reason + " " + Fixed(value, 2);
      }
      rows.push_back({sent.id, sent.log, Grouped(sent.snippet.last - sent.snippet.first + 1),
                      Megabytes(sent.snippet.bytes), Fixed(sent.snippet.value, 2), why});
    }
    std::cout << Table(rows) << "\n";
  }
  std::cout << "features   " << Grouped(selection.features_sent) << " sent, "
            << Megabytes(selection.feature_bytes) << " MB\nstored     "
            << Megabytes(selection.most_stored_bytes) << " MB at most\ntriggers   "
            << Fixed(report.mean_ms, 3) << " ms a frame, " << Fixed(report.worst_ms, 3)
            << " at most, of " << Fixed(report.budget_ms, 1) << "\nbundle     " << report.bundle
            << "\nfaults     " << report.faults << "\nreport     "
            << (folder / "report.json").string() << "\n";
}

}  // namespace

CommandAction SetUpVehicleRun(CLI::App& app) {
  struct Arguments {
    fs::path logs, car, cloud, bundle, predictions;
    std::string budget, model = "tiny", device = "cpu";
    int64_t stored_megabytes = -1, list = 20, drawn = 60;
    double milliseconds = -1;
    Link link;
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "LOGS", &arguments->logs, "driving logs, any that `log info` opens")->required();
  AddPath(app, "-o,--out", &arguments->car, "folder of the car; goes on where it holds a drive")
      ->required();
  app.add_option("--budget", arguments->budget,
                 "what may be uploaded: a share of what is recorded (1%), or bytes a day (200MB) "
                 "(default: as the bundle says)")
      ->type_name("SHARE|BYTES");
  app.add_option("--stored", arguments->stored_megabytes,
                 "what may be stored on the car, MB (default: as the bundle says)")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30).description(""))
      ->type_name("MB");
  app.add_option("--ms", arguments->milliseconds,
                 "what triggers may take, milliseconds a frame (default: as the bundle says)")
      ->check(CLI::Range(0.0, 1e6).description(""))
      ->type_name("MS");
  AddPath(app, "--bundle", &arguments->bundle,
          "what the car begins with: a bundle, or its JSON alone");
  app.add_option("--model", arguments->model, kDetectorModelHelp)->type_name("NAME|FILE");
  app.add_option("--device", arguments->device, "cpu, cuda or cuda:N (default: cpu)")
      ->type_name("DEVICE");
  AddPath(app, "--predictions", &arguments->predictions,
          "results_nusc.json of an earlier `detect predict`, instead of running the model");
  AddPath(app, "--cloud", &arguments->cloud,
          "folder that uploads go to, and from whose inbox/ bundles and requests come (default: "
          "cloud/ in the car's)");
  app.add_option("--list", arguments->list, "uploads to list one by one (default: 20)")
      ->check(CLI::Range(int64_t{0}, int64_t{1000000000}).description(""))
      ->type_name("N");
  app.add_option("--drawn", arguments->drawn,
                 "what it kept, on sheet.jpg in its folder: so many pictures, each with the reason "
                 "(default: 60)")
      ->check(CLI::Range(int64_t{0}, int64_t{10000}).description(""))
      ->type_name("N");
  arguments->link.AddTo(app);
  return [arguments] {
    Arguments& a = *arguments;
    VehicleBundle bundle = DefaultBundle();
    if (!a.bundle.empty()) {
      const std::string bytes = ReadFile(a.bundle);
      bundle = bytes.starts_with("{") ? ParseBundle(bytes, a.bundle.string())
                                      : DecodeBundle(bytes, a.bundle.string());
    }
    if (!a.budget.empty()) ParseBudget(a.budget, &bundle.budgets);
    if (a.stored_megabytes >= 0) bundle.budgets.bytes_stored = a.stored_megabytes * 1'000'000;
    if (a.milliseconds >= 0) bundle.budgets.ms_per_frame = a.milliseconds;
    const auto logs = OpenLogs(a.logs);
    std::unique_ptr<SmallModel> model;
    if (a.predictions.empty()) {
      ModelSettings settings;
      settings.device = a.device;
      model = std::make_unique<FrameModelSight>(
          OpenFrameModel(SpecOfWeights("small", DetectorFile(a.model), settings)));
    } else {
      model = std::make_unique<PredictedModel>(a.predictions);
    }
    std::unique_ptr<Transport> transport = a.link.Open(/*is_car=*/true);
    const fs::path cloud = a.cloud.empty() ? a.car / "cloud" : a.cloud;
    if (transport == nullptr) transport = std::make_unique<FolderTransport>(cloud, cloud / "inbox");
    int64_t total = 0;
    for (int i = 0; i < std::ssize(logs->names()); ++i) {
      try {
        total += std::ssize(logs->Read(i).frames);
      } catch (const Error&) {
        // The car will say so.
      }
    }
    std::optional<Progress> progress;
    progress.emplace("driving", total);
    VehicleOptions options;
    options.name = a.link.name;
    options.progress = [&](int64_t frames, const Selector& selector) {
      const UplinkLedger& ledger = selector.ledger();
      progress->Update(frames, StrCat(Megabytes(ledger.sent_bytes), " of ",
                                      Megabytes(ledger.recorded_bytes), " MB sent"));
    };
    const VehicleReport report =
        DriveLogs(*logs, model.get(), bundle, transport.get(), a.car, options);
    progress.reset();
    PrintReport(report, a.car, a.list);
    if (a.link.nats.empty()) std::cout << "uploads    " << cloud.string() << "\n";
    if (a.drawn > 0) {
      const MinedData data(a.logs);
      const std::vector<MinedHit> kept = KeptHits(report, data);
      if (!kept.empty()) {
        ContactSheetOptions sheet;
        sheet.most = static_cast<int>(a.drawn);
        WriteImage(a.car / "sheet.jpg", DrawMinedHits(data, kept, sheet));
        std::cout << "pictures   " << (a.car / "sheet.jpg").string() << "\n";
      }
    }
    return 0;
  };
}

CommandAction SetUpVehicleBundle(CLI::App& app) {
  struct Arguments {
    fs::path spec, cloud;
    std::vector<std::string> prototypes, asks;
    Link link;
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "SPEC", &arguments->spec,
          "JSON with the version, budgets, weights, rules and prototypes; `vehicle bundle` alone "
          "prints the one that cars begin with");
  app.add_option("--prototype", arguments->prototypes,
                 "more like what a car saw: a name, and features/ID.json that it sent")
      ->type_name("NAME=FILE");
  app.add_option("--ask", arguments->asks, "ids of snippets whose pixels are wanted")
      ->type_name("ID");
  AddPath(app, "--cloud", &arguments->cloud, "folder that the car looks into");
  arguments->link.AddTo(app);
  return [arguments] {
    Arguments& a = *arguments;
    if (a.spec.empty() && !a.prototypes.empty()) {
      throw UsageError("--prototype: expected SPEC, the bundle that it goes into");
    }
    if (a.spec.empty() && a.asks.empty()) {
      const std::string encoded = EncodeBundle(DefaultBundle());
      std::cout << encoded.substr(encoded.find('\n') + 1);
      return 0;
    }
    std::unique_ptr<Transport> transport = a.link.Open(/*is_car=*/false);
    if (transport == nullptr) {
      if (a.cloud.empty()) throw UsageError("expected --cloud FOLDER or --nats URL");
      transport = std::make_unique<FolderTransport>(a.cloud / "inbox", a.cloud);
    }
    if (!a.spec.empty()) {
      VehicleBundle bundle = ParseBundle(ReadFile(a.spec), a.spec.string());
      ATHANOR_CHECK(bundle.version >= 1, a.spec.string(),
                    ": expected a version of 1 or more, which cars take over their own 0, found ",
                    bundle.version);
      for (const std::string& text : a.prototypes) {
        const size_t equals = text.find('=');
        if (equals == std::string::npos || equals == 0) {
          throw UsageError("--prototype: expected NAME=FILE, found '" + text + "'");
        }
        const std::string file = text.substr(equals + 1);
        const FeatureRecord record = DecodeFeatures(ReadFile(file), file);
        ATHANOR_CHECK(!record.feature.empty(), file, ": expected a feature, found none");
        VehiclePrototype& prototype = bundle.prototypes.emplace_back();
        prototype.name = text.substr(0, equals);
        prototype.vector = record.feature;
      }
      transport->Send("bundle", std::to_string(bundle.version), EncodeBundle(bundle));
      std::cout << "bundle     " << bundle.version << ", " << bundle.prototypes.size()
                << " prototypes, " << bundle.rules.size() << " rules\n";
    }
    for (const std::string& id : a.asks) {
      transport->Send("request", id, id);
      std::cout << "asked for  " << id << "\n";
    }
    return 0;
  };
}

CommandAction SetUpVehicleReceive(CLI::App& app) {
  struct Arguments {
    fs::path cloud;
    Link link;
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "-o,--out", &arguments->cloud, "folder to fill, for `lake ingest`")->required();
  arguments->link.AddTo(app);
  return [arguments] {
    Arguments& a = *arguments;
    const std::unique_ptr<Transport> car = a.link.Open(/*is_car=*/false);
    if (car == nullptr) throw UsageError("expected --nats URL");
    FolderTransport folder(a.cloud, a.cloud / "inbox");
    int64_t files = 0, bytes = 0;
    car->Receive([&](const std::string& kind, const std::string& name, std::string_view content) {
      if (kind == "clips") DecodeUpload(content, name);  // damaged ones come again
      folder.Send(kind, name, content);
      ++files;
      bytes += std::ssize(content);
    });
    std::cout << "received   " << Grouped(files) << " files, " << Megabytes(bytes)
              << " MB\nfolder     " << a.cloud.string() << "\n";
    return 0;
  };
}

}  // namespace athanor
