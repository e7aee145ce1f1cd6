// Options of a command: one list of fields per struct drives flags, TOML presets, --help,
// docs/cli.md and the run's config.toml.
//
//   struct RenderOptions { int width_px = 0; std::string path = "orbit"; };
//   void Describe(RenderOptions& o, OptionList& list) {
//     list.Add("width", &o.width_px, "width of the pictures, pixels; 0 = as the camera", {.min =
//     0}); list.Add("path", &o.path, "where the camera goes", {.choices = {"orbit", "cameras"}});
//   }
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace athanor {

// What a value may be. Numbers outside [min, max] and words not among `choices` are refused.
struct OptionLimits {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  std::vector<std::string> choices;
};

// One field: its name as in flags and files ("sh-degree"), where it lives, what it means.
struct Option {
  std::string name;
  std::variant<bool*, int*, int64_t*, float*, double*, std::string*> value;
  std::string help;
  OptionLimits limits;

  // "flag", "integer", "number" or "text".
  std::string_view TypeName() const;
  // The value as TOML writes it: 0.2, true, "orbit".
  std::string ToToml() const;
  // As people read it: 0.2, true, orbit.
  std::string ToText() const;
  // Sets the value from text. Throws Error naming the option, what was expected and `text`.
  void Set(std::string_view text);
};

// The fields of one options struct; holds pointers into it.
class OptionList {
 public:
  template <typename T>
  void Add(std::string name, T* value, std::string help, OptionLimits limits = {}) {
    options_.push_back({std::move(name), value, std::move(help), std::move(limits)});
  }

  std::vector<Option>& options() { return options_; }
  const std::vector<Option>& options() const { return options_; }
  // Null when there is none of that name.
  Option* Find(std::string_view name);

  // Sets what a TOML file names. Throws Error (file, line) for bad TOML, an unknown name, a wrong
  // type or a value out of range.
  void ReadToml(const std::filesystem::path& path);
  // As ReadToml, from text; `name` is what messages call it.
  void ParseToml(std::string_view text, std::string_view name);
  // All fields, one per line with its help as a comment.
  std::string ToToml() const;

 private:
  std::vector<Option> options_;
};

}  // namespace athanor
