#include "athanor/base/options.h"

#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <type_traits>

#include "athanor/base/error.h"
#include "athanor/base/files.h"

namespace athanor {
namespace {

template <typename T>
std::string NumberText(T value) {
  char text[64];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  return std::string(text, end);
}

template <typename T>
constexpr std::string_view kTypeName = std::is_same_v<T, bool>       ? "flag"
                                       : std::is_integral_v<T>       ? "integer"
                                       : std::is_floating_point_v<T> ? "number"
                                                                     : "text";

std::string LimitsText(const OptionLimits& limits) {
  std::string text;
  if (!limits.choices.empty()) {
    for (const std::string& choice : limits.choices) text += (text.empty() ? "" : "|") + choice;
    return "one of " + text;
  }
  if (std::isfinite(limits.min)) text += StrCat(" of at least ", limits.min);
  if (std::isfinite(limits.max))
    text += StrCat(text.empty() ? " of" : " and", " at most ", limits.max);
  return text;
}

}  // namespace

std::string_view Option::TypeName() const {
  return std::visit([](auto* v) { return kTypeName<std::remove_pointer_t<decltype(v)>>; }, value);
}

std::string Option::ToText() const {
  return std::visit(
      [](auto* v) -> std::string {
        using T = std::remove_pointer_t<decltype(v)>;
        if constexpr (std::is_same_v<T, bool>) {
          return *v ? "true" : "false";
        } else if constexpr (std::is_same_v<T, std::string>) {
          return *v;
        } else {
          return NumberText(*v);
        }
      },
      value);
}

std::string Option::ToToml() const {
  const std::string text = ToText();
  if (std::holds_alternative<std::string*>(value)) {
    std::ostringstream quoted;
    quoted << toml::value<std::string>(text);
    return quoted.str();
  }
  const bool is_float =
      std::holds_alternative<float*>(value) || std::holds_alternative<double*>(value);
  if (is_float && text.find_first_not_of("-0123456789") == std::string::npos) return text + ".0";
  return text;
}

void Option::Set(std::string_view text) {
  const auto refuse = [&] {
    const std::string limits_text = LimitsText(limits);
    throw Error(StrCat("option '", name, "': expected ",
                       limits.choices.empty() ? StrCat(TypeName(), limits_text) : limits_text,
                       ", found '", text, "'"));
  };
  std::visit(
      [&](auto* v) {
        using T = std::remove_pointer_t<decltype(v)>;
        if constexpr (std::is_same_v<T, bool>) {
          if (text != "true" && text != "false") refuse();
          *v = text == "true";
        } else if constexpr (std::is_same_v<T, std::string>) {
          if (!limits.choices.empty() && std::find(limits.choices.begin(), limits.choices.end(),
                                                   text) == limits.choices.end()) {
            refuse();
          }
          *v = text;
        } else {
          T parsed{};
          const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parsed);
          if (error != std::errc() || end != text.data() + text.size()) refuse();
          const auto number = static_cast<double>(parsed);
          if (!(number >= limits.min && number <= limits.max)) refuse();
          *v = parsed;
        }
      },
      value);
}

Option* OptionList::Find(std::string_view name) {
  for (Option& option : options_) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

void OptionList::ReadToml(const std::filesystem::path& path) {
  ParseToml(ReadFile(path), path.string());
}

void OptionList::ParseToml(std::string_view text, std::string_view name) {
  toml::table table;
  try {
    table = toml::parse(text, name);
  } catch (const toml::parse_error& error) {
    throw Error(StrCat(name, ": line ", error.source().begin.line, ": ", error.description()));
  }
  for (const auto& [key, node] : table) {
    const auto where = StrCat(name, ": line ", node.source().begin.line, ": ");
    Option* option = Find(key.str());
    ATHANOR_CHECK(option != nullptr, where, "no option is named '", key.str(), "'");
    std::ostringstream value;
    const bool is_text = node.is_string();
    if (is_text) {
      value << node.as_string()->get();
    } else if (node.is_integer() || node.is_floating_point() || node.is_boolean()) {
      // Numbers go through the same text as flags do, without loss.
      node.visit([&](const auto& leaf) {
        if constexpr (toml::is_integer<decltype(leaf)> || toml::is_floating_point<decltype(leaf)>) {
          value << NumberText(leaf.get());
        } else if constexpr (toml::is_boolean<decltype(leaf)>) {
          value << (leaf.get() ? "true" : "false");
        }
      });
    } else {
      throw Error(StrCat(where, "option '", key.str(), "': expected ", option->TypeName(),
                         ", found a table, list or date"));
    }
    ATHANOR_CHECK(is_text == std::holds_alternative<std::string*>(option->value), where, "option '",
                  key.str(), "': expected ", option->TypeName(), ", found ", value.str());
    try {
      option->Set(value.str());
    } catch (const Error& error) {
      throw Error(where + error.what());
    }
  }
}

std::string OptionList::ToToml() const {
  std::string text;
  for (const Option& option : options_) {
    text += StrCat("# ", option.help, "\n", option.name, " = ", option.ToToml(), "\n");
  }
  return text;
}

}  // namespace athanor
