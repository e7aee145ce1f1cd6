// A log driven again as a car would drive it: the small model looks, triggers speak, the selector
// decides, and what is kept goes to the cloud, under the budgets of the bundle.
//
// Folder of the car:
//   bundle        what the cloud said last
//   ledger.json   what was recorded and sent, written before anything is sent
//   spool/        snippets that wait for upload: ID.clip, ID.json, and ID.asked when wanted
//   report.json   counts of what was kept and dropped, and why
// After a kill the same call goes on: what was spooled is there, what was sent counts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "athanor/datasets/log.h"
#include "athanor/loop/vehicle/bundle.h"
#include "athanor/loop/vehicle/selector.h"
#include "athanor/loop/vehicle/small_model.h"
#include "athanor/loop/vehicle/transport.h"

namespace athanor {

struct VehicleOptions {
  std::string name = "car";  // letters, digits, '-', '_' and '.', up to 40
  int listen_every = 20;     // frames between looks for what the cloud says
  // Called after each frame.
  std::function<void(int64_t frames, const Selector& selector)> progress;
};

struct KeptSnippet {
  std::string id;
  std::string log;
  int64_t begin_us = 0, end_us = 0;
  int64_t peak = 0;               // the frame of most value, counted from that of begin_us
  std::vector<std::string> seen;  // what the small model saw in it
  Snippet snippet;
  std::string waits_for;  // of what is still here: Selector::WhyWaiting
};

struct VehicleReport {
  SelectorReport selection;
  std::map<std::string, Tally> waiting;  // by why
  std::vector<StageTimes> stages;
  double worst_ms = 0, mean_ms = 0, budget_ms = 0;
  int64_t overruns = 0;
  int64_t bundle = 0;  // version in the end
  int64_t clock_jumps = 0;
  int64_t faults = 0;  // frames that the model could not see, messages that were damaged, ...
  std::vector<KeptSnippet> sent, spooled;  // what went, and what is still here
};

// Drives all logs of a data set one after another. `transport` may be null: then nothing is sent.
// Throws Error when the car's folder cannot be used; what goes wrong on the road is a warning of
// one line, counted, and the rest goes on.
VehicleReport DriveLogs(const LogDataset& logs, SmallModel* model, const VehicleBundle& first,
                        Transport* transport, const std::filesystem::path& folder,
                        const VehicleOptions& options = {});

// The report as JSON.
std::string EncodeReport(const VehicleReport& report);

}  // namespace athanor
