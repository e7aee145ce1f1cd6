// Flags from option lists, and what the commands share.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/base/options.h"

namespace athanor {

// The command line is wrong: exit status 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

// The flags of the fields of an option list: --name VALUE, or --name and --no-name.
class OptionFlags {
 public:
  // `list` points into a struct that must outlive this. With a preset, also --preset FILE.toml,
  // which is read before the flags, whatever the order on the command line. `presets`: a folder of
  // files that come with the program ("configs/detect"), which are named without folder and ending.
  OptionFlags(CLI::App& app, OptionList list, bool with_preset, const std::string& group,
              const std::string& presets = "");

  // Sets the fields from preset and flags. Throws UsageError for a flag's value that is refused,
  // Error for the preset.
  void Apply();
  // The first flag that was given, with its dashes; empty when none was.
  std::string FirstGiven() const;

 private:
  struct State {
    OptionList list;
    std::string preset, presets;
    std::vector<std::pair<Option*, std::string>> given;  // in the order of the command line
  };
  // CLI11 keeps callbacks that point here.
  std::shared_ptr<State> state_;
};

// The file of a preset: a name of one in `folder`, which comes with the program
// ("configs/detect"), or a path.
std::filesystem::path PresetPath(const std::string& folder, const std::string& preset);

// A required or optional path as a flag ("-o,--out") or a positional ("INPUT").
CLI::Option* AddPath(CLI::App& app, const std::string& name, std::filesystem::path* path,
                     const std::string& help);

// How the program's --help looks.
std::shared_ptr<CLI::Formatter> MakeHelpFormatter();

// The reference page of all commands, docs/cli.md, from the declarations themselves.
std::string CommandReference(const CLI::App& root);

// While one lives, SIGINT and SIGTERM ask for a clean stop; a second one ends the program at once.
class StopOnSignal {
 public:
  StopOnSignal();
  ~StopOnSignal();
  StopOnSignal(const StopOnSignal&) = delete;
  StopOnSignal& operator=(const StopOnSignal&) = delete;
  // The signal that came, or 0.
  static int Received();
};

// Columns of text, aligned: those of numbers to the right, the others to the left. The first row is
// the head.
std::string Table(const std::vector<std::vector<std::string>>& rows);
// A number with so many digits behind the point.
std::string Fixed(double value, int digits);
// 1,234,567
std::string Grouped(int64_t value);

}  // namespace athanor
