// The loop: rounds of record, drive, ingest, infer, mine, label, train, evaluate, promote. Each
// stage is commands of the program itself, which people can type as well; what was run is in
// FOLDER/commands.sh.
//
//   FOLDER/loop.toml            the options      state.json   how far it has come
//   FOLDER/world/               simulated logs   lake/        all that came in
//   FOLDER/table/               what the models say of it     registry/  models
//   FOLDER/rounds/01/           of a round: car/, undigested/, similar/, batch/, labels/, data/,
//                               train/, eval/, and what each stage printed: STAGE.log
//
// A loop may be killed at any time; the same call goes on at the stage that was broken off, and
// stages that can (simulation, inference, training, driving) within it.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "athanor/loop/rounds/loop_options.h"
#include "athanor/loop/rounds/loop_state.h"

namespace athanor {

struct LoopRunOptions {
  std::vector<std::string> program;  // what starts the program: its path, and global flags
  // Weights of the options' `small` and `large`.
  std::filesystem::path small, large;
  std::function<bool()> stop;  // asked between stages, and when one fails
};

// Runs up to options.rounds rounds; those that are done stay. Returns false when `stop` said so.
// Throws Error (round, stage, command, its last line) when a command fails, and when the folder
// holds a loop of other options: only the number of rounds may change.
bool RunLoop(const std::filesystem::path& folder, const LoopOptions& options,
             const LoopRunOptions& run);

// Where the parts of a round are.
std::filesystem::path LoopRoundFolder(const std::filesystem::path& folder, int round);
// The logs of a round; `round` 0 throws.
std::filesystem::path LoopLogs(const std::filesystem::path& folder, const LoopOptions& options,
                               int round);
std::filesystem::path LoopTest(const std::filesystem::path& folder, const LoopOptions& options);
// The options of the loop in a folder. Throws Error when there is none.
LoopOptions OptionsOfLoop(const std::filesystem::path& folder);

}  // namespace athanor
