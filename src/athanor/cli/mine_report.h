// What the commands of `athanor mine` share: their flags, and what they leave behind.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <string>

#include "athanor/loop/mining/box_miners.h"
#include "athanor/loop/mining/mined_hits.h"

namespace athanor {

struct MineArguments {
  std::filesystem::path data, out;
  int count = 200;
  double window_s = 0;
  int drawn = 60;
  int64_t window_us() const { return static_cast<int64_t>(window_s * 1e6); }
};
// DATA, -o, --count, --window, --drawn. `window_s`: the default.
void AddMineArguments(CLI::App& app, MineArguments* arguments, double window_s);

// A bar that goes when all is done.
MiningProgress ShowProgress(const std::string& what);

inline constexpr const char* kBoxSourceHelp =
    "annotations, or a file of results in nuScenes' format";

// Writes OUT/hits.json and OUT/sheet.jpg (the best `drawn`), and the best few as a table to
// standard output. No sheet when nothing was found.
void ReportMined(const MineArguments& arguments, const MinedData& data, const MinedHits& hits);

}  // namespace athanor
