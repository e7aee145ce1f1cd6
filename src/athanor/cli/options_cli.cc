#include "athanor/cli/options_cli.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <csignal>
#include <iomanip>

#include "athanor/base/files.h"

namespace athanor {
namespace {

std::string TypeText(const Option& option) {
  if (!option.limits.choices.empty()) {
    std::string text;
    for (const std::string& choice : option.limits.choices) {
      text += (text.empty() ? "" : "|") + choice;
    }
    return text;
  }
  if (option.TypeName() == "integer") return "N";
  return option.TypeName() == "number" ? "X" : "TEXT";
}

// The help of the field, its default and its limits.
std::string HelpText(const Option& option) {
  std::string text = option.help;
  std::string notes;
  const auto note = [&](const std::string& words) {
    if (!words.empty()) notes += (notes.empty() ? "" : "; ") + words;
  };
  const OptionLimits& limits = option.limits;
  const auto number = [&](double limit) {
    return option.TypeName() == "integer" ? std::to_string(static_cast<int64_t>(limit))
                                          : StrCat(limit);
  };
  if (std::isfinite(limits.min) && std::isfinite(limits.max)) {
    note(number(limits.min) + " to " + number(limits.max));
  } else if (std::isfinite(limits.min)) {
    note("at least " + number(limits.min));
  } else if (std::isfinite(limits.max)) {
    note("at most " + number(limits.max));
  }
  const std::string value = option.ToText();
  if (option.TypeName() == "flag") {
    note(value == "true" ? "default: on" : "default: off");
  } else if (!value.empty()) {
    note("default: " + value);
  }
  return notes.empty() ? text : text + " (" + notes + ")";
}

// "--[no-]masks" for a flag with a negative, otherwise all names: "-o, --out".
std::string NamesOf(const CLI::Option& option) {
  if (!option.get_positional()) {
    const auto& negatives = option.get_fnames();
    if (!negatives.empty()) return "--[no-]" + option.get_lnames().front();
  } else if (option.get_lnames().empty() && option.get_snames().empty()) {
    return option.get_name(true);
  }
  std::string text;
  for (const std::string& name : option.get_snames()) text += (text.empty() ? "-" : ", -") + name;
  for (const std::string& name : option.get_lnames()) {
    text += (text.empty() ? "--" : ", --") + name;
  }
  return text;
}

std::string TypeOf(const CLI::Option& option) {
  return option.get_type_size() == 0 ? "" : option.get_type_name();
}

class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter() {
    column_width(34);
    label("Subcommands", "Commands");
    label("SUBCOMMAND", "COMMAND");
  }
  std::string make_option_name(const CLI::Option* option, bool) const override {
    return NamesOf(*option);
  }
  std::string make_option_opts(const CLI::Option* option) const override {
    const std::string type =
        option->get_positional() && option->get_lnames().empty() ? std::string() : TypeOf(*option);
    return type.empty() ? "" : " " + type;
  }
  std::string make_option_desc(const CLI::Option* option) const override {
    return option->get_description() + (option->get_required() ? " [required]" : "");
  }
};

std::atomic<int> received_signal{0};

void OnSignal(int signal_number) {
  received_signal = signal_number;
  // The next one ends the program as usual.
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

// Letters on the screen, not bytes: continuation bytes of UTF-8 do not count.
size_t DisplayWidth(const std::string& text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xc0) != 0x80; }));
}

bool LooksLikeNumber(const std::string& text) {
  return !text.empty() && (std::isdigit(static_cast<uint8_t>(text[0])) ||
                           (text.size() > 1 && (text[0] == '-' || text[0] == '+') &&
                            std::isdigit(static_cast<uint8_t>(text[1]))));
}

// Text inside a cell of a Markdown table.
std::string MarkdownCell(std::string text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '|') escaped += '\\';
    if (c == '\n') {
      escaped += ' ';
    } else {
      escaped += c;
    }
  }
  return escaped;
}

// Words that begin each line of the usage of a command.
std::string UsageLine(const CLI::App& app, const std::string& path) {
  std::string line = path;
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_positional()) continue;
    const std::string name = option->get_name(true);
    line += option->get_required() ? " " + name : " [" + name + "]";
  }
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional() || !option->get_required()) continue;
    line += " " + (option->get_snames().empty() ? "--" + option->get_lnames().front()
                                                : "-" + option->get_snames().front());
    line += " " + TypeOf(*option);
  }
  return line + " [OPTIONS]";
}

void AppendCommand(const CLI::App& app, const std::string& path, std::string* page) {
  *page += StrCat("## ", path, "\n\n", app.get_description(), "\n\n```\n", UsageLine(app, path),
                  "\n```\n\n");
  if (!app.get_footer().empty()) *page += StrCat(app.get_footer(), "\n\n");
  for (const std::string& group : app.get_groups()) {
    std::string rows;
    for (const CLI::Option* option : app.get_options()) {
      if (option->get_group() != group || option == app.get_help_ptr()) continue;
      const std::string type = option->get_positional() ? "" : TypeOf(*option);
      rows += StrCat("| `", NamesOf(*option), type.empty() ? "" : " " + MarkdownCell(type), "` | ",
                     MarkdownCell(option->get_description()),
                     option->get_required() ? " **required**" : "", " |\n");
    }
    if (rows.empty()) continue;
    *page += StrCat(group == "Options" ? "" : group + ":\n\n", "| option | meaning |\n|---|---|\n",
                    rows, "\n");
  }
}

}  // namespace

OptionFlags::OptionFlags(CLI::App& app, OptionList list, bool with_preset, const std::string& group,
                         const std::string& presets)
    : state_(std::make_shared<State>()) {
  state_->list = std::move(list);
  state_->presets = presets;
  if (with_preset) {
    const std::string names = presets.empty() ? "" : StrCat("one of ", presets, ", or a ");
    app.add_option("--preset", state_->preset, names + "TOML file with values; flags override it")
        ->type_name(presets.empty() ? "FILE.toml" : "NAME|FILE.toml");
  }
  for (Option& option : state_->list.options()) {
    // Held by value of the shared pointer: the callbacks may outlive this object.
    const auto keep = [state = state_, &option](const std::string& text) {
      state->given.emplace_back(&option, text);
    };
    CLI::Option* flag = nullptr;
    if (option.TypeName() == "flag") {
      flag = app.add_flag_function(
          StrCat("--", option.name, ",!--no-", option.name),
          [keep](int64_t count) { keep(count > 0 ? "true" : "false"); }, HelpText(option));
    } else {
      flag = app.add_option_function<std::string>("--" + option.name, keep, HelpText(option))
                 ->type_name(TypeText(option));
    }
    flag->group(group);
  }
}

std::filesystem::path PresetPath(const std::string& folder, const std::string& preset) {
  const std::filesystem::path path = preset;
  const bool is_name = !folder.empty() && path.filename() == path && path.extension().empty();
  return is_name ? FindShared(std::filesystem::path(folder) / (preset + ".toml")) : path;
}

void OptionFlags::Apply() {
  if (!state_->preset.empty()) {
    state_->list.ReadToml(PresetPath(state_->presets, state_->preset));
  }
  for (const auto& [option, text] : state_->given) {
    try {
      option->Set(text);
    } catch (const Error& error) {
      throw UsageError(error.what());
    }
  }
}

std::string OptionFlags::FirstGiven() const {
  if (!state_->preset.empty()) return "--preset";
  return state_->given.empty() ? "" : "--" + state_->given.front().first->name;
}

CLI::Option* AddPath(CLI::App& app, const std::string& name, std::filesystem::path* path,
                     const std::string& help) {
  return app
      .add_option_function<std::string>(
          name, [path](const std::string& text) { *path = text; }, help)
      ->type_name("PATH");
}

std::shared_ptr<CLI::Formatter> MakeHelpFormatter() { return std::make_shared<HelpFormatter>(); }

std::string CommandReference(const CLI::App& root) {
  std::string page =
      "# Commands\n\n"
      "Made by `athanor docs` from the declarations of the program itself; do not edit.\n\n"
      "Every command has `--help`. Exit status: 0 done, 1 failed (one line on stderr says why), "
      "2 wrong usage; 130 or\n143 stopped by SIGINT or SIGTERM after saving.\n\n"
      "Options of every command:\n\n| option | meaning |\n|---|---|\n";
  for (const CLI::Option* option : root.get_options()) {
    page += StrCat("| `", NamesOf(*option),
                   TypeOf(*option).empty() ? "" : " " + MarkdownCell(TypeOf(*option)), "` | ",
                   MarkdownCell(option->get_description()), " |\n");
  }
  page += "\n";
  const auto visible = [](const CLI::App* app) { return !app->get_group().empty(); };
  for (const CLI::App* group : root.get_subcommands(visible)) {
    const auto verbs = group->get_subcommands(visible);
    if (verbs.empty()) AppendCommand(*group, "athanor " + group->get_name(), &page);
    for (const CLI::App* verb : verbs) {
      AppendCommand(*verb, StrCat("athanor ", group->get_name(), " ", verb->get_name()), &page);
    }
  }
  page.pop_back();  // one line break at the end
  return page;
}

StopOnSignal::StopOnSignal() {
  received_signal = 0;
  std::signal(SIGINT, OnSignal);
  std::signal(SIGTERM, OnSignal);
}

StopOnSignal::~StopOnSignal() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

int StopOnSignal::Received() { return received_signal; }

std::string Table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  std::vector<bool> to_the_right;
  for (size_t r = 0; r < rows.size(); ++r) {
    widths.resize(std::max(widths.size(), rows[r].size()));
    to_the_right.resize(widths.size(), true);
    for (size_t i = 0; i < rows[r].size(); ++i) {
      widths[i] = std::max(widths[i], DisplayWidth(rows[r][i]));
      if (r > 0 && !LooksLikeNumber(rows[r][i])) to_the_right[i] = false;
    }
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string space(widths[i] - DisplayWidth(row[i]), ' ');
      line += (i == 0 ? "" : "  ") + (to_the_right[i] && i > 0 ? space + row[i] : row[i] + space);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string Fixed(double value, int digits) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(digits) << value;
  return text.str();
}

std::string Grouped(int64_t value) {
  std::string digits = std::to_string(value);
  const int64_t first = value < 0 ? 1 : 0;
  for (int64_t i = static_cast<int64_t>(digits.size()) - 3; i > first; i -= 3) {
    digits.insert(static_cast<size_t>(i), ",");
  }
  return digits;
}

}  // namespace athanor
