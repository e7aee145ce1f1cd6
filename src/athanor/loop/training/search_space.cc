#include "athanor/loop/training/search_space.h"

#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "athanor/base/error.h"

namespace athanor {
namespace {

using Kind = HyperRange::Kind;

double Clamp(const HyperRange& range, double value) {
  if (range.kind == Kind::kInteger) value = std::round(value);
  return std::clamp(value, range.low, range.high);
}

std::string Draw(const HyperRange& range, Random* random) {
  if (range.kind == Kind::kChoice) {
    return range.choices[random->Below(static_cast<uint32_t>(range.choices.size()))];
  }
  // An integer's ends come as often as what is between.
  const double room = range.kind == Kind::kInteger ? 0.5 : 0;
  const double low = range.low - room, high = range.high + room, u = random->Uniform();
  const double value = range.is_log ? std::exp(std::log(low) + u * (std::log(high) - std::log(low)))
                                    : low + u * (high - low);
  return HyperText(Clamp(range, value));
}

std::string Move(const HyperRange& range, const std::string& text, Random* random) {
  const bool up = random->Below(2) == 1;
  if (range.kind == Kind::kChoice) {
    const auto place = std::find(range.choices.begin(), range.choices.end(), text);
    const auto last = std::ssize(range.choices) - 1;
    const int64_t index = place - range.choices.begin() + (up ? 1 : -1);
    return range.choices[std::clamp<int64_t>(index, 0, last)];
  }
  const double value = HyperNumber({{range.name, text}}, range.name);
  double moved = value * (up ? 1.2 : 0.8);
  if (range.kind == Kind::kInteger && std::round(moved) == value) moved = value + (up ? 1 : -1);
  return HyperText(Clamp(range, moved));
}

double NumberOf(const toml::node& node, const std::string& where, std::string_view key) {
  const auto number = node.value<double>();
  ATHANOR_CHECK(number && (node.is_integer() || node.is_floating_point()), where, key,
                ": expected a number");
  return *number;
}

HyperRange RangeOf(std::string_view name, const toml::table& table, const std::string& where) {
  HyperRange range;
  range.name = name;
  bool has_low = false, has_high = false;
  for (const auto& [key, node] : table) {
    const std::string_view word = key.str();
    if (word == "low") {
      range.low = NumberOf(node, where, word), has_low = true;
    } else if (word == "high") {
      range.high = NumberOf(node, where, word), has_high = true;
    } else if (word == "scale") {
      const auto scale = node.value<std::string>();
      ATHANOR_CHECK(scale == "log" || scale == "linear", where,
                    "scale: expected \"linear\" or \"log\"");
      range.is_log = scale == "log";
    } else if (word == "integer" || word == "fixed") {
      const auto flag = node.value<bool>();
      ATHANOR_CHECK(node.is_boolean() && flag, where, word, ": expected true or false");
      if (word == "fixed") range.is_fixed = *flag;
      if (word == "integer" && *flag) range.kind = Kind::kInteger;
    } else if (word == "choices") {
      const toml::array* list = node.as_array();
      ATHANOR_CHECK(list != nullptr, where, "choices: expected a list of texts");
      range.kind = Kind::kChoice;
      for (const toml::node& choice : *list) {
        const auto text = choice.value<std::string>();
        ATHANOR_CHECK(choice.is_string() && text, where, "choices: expected a list of texts");
        range.choices.push_back(*text);
      }
    } else {
      throw Error(StrCat(where, "expected low, high, scale, integer, fixed or choices, found '",
                         word, "'"));
    }
  }
  const bool is_choice = range.kind == Kind::kChoice;
  ATHANOR_CHECK(is_choice != (has_low && has_high) && (!is_choice || (!has_low && !has_high)),
                where, "expected low and high, or choices");
  return range;
}

}  // namespace

std::string HyperText(double value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value);
  return {text, end.ptr};
}

double HyperNumber(const HyperParameters& hyper, const std::string& name) {
  const auto found = hyper.find(name);
  ATHANOR_CHECK(found != hyper.end(), "expected a hyper-parameter '", name, "', found none");
  const std::string& text = found->second;
  double value = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  ATHANOR_CHECK(
      end.ec == std::errc() && end.ptr == text.data() + text.size() && std::isfinite(value),
      "hyper-parameter '", name, "': expected a number, found '", text, "'");
  return value;
}

SearchSpace::SearchSpace(std::vector<HyperRange> ranges) : ranges_(std::move(ranges)) {
  std::set<std::string> names;
  for (const HyperRange& range : ranges_) {
    const std::string where = StrCat("search space: '", range.name, "': ");
    ATHANOR_CHECK(!range.name.empty() && names.insert(range.name).second, where,
                  "expected names, each once");
    if (range.kind == Kind::kChoice) {
      ATHANOR_CHECK(!range.choices.empty(), where, "the range is empty: expected choices");
      const std::set<std::string> choices(range.choices.begin(), range.choices.end());
      ATHANOR_CHECK(choices.size() == range.choices.size(), where, "a choice comes twice");
      continue;
    }
    ATHANOR_CHECK(std::isfinite(range.low) && std::isfinite(range.high) && range.low < range.high,
                  where, "the range is empty: expected low below high, found ", range.low, " and ",
                  range.high);
    ATHANOR_CHECK(!range.is_log || range.low > 0, where,
                  "expected low above 0 for a logarithmic scale, found ", range.low);
    ATHANOR_CHECK(range.kind != Kind::kInteger ||
                      (range.low == std::round(range.low) && range.high == std::round(range.high)),
                  where, "expected integers, found ", range.low, " and ", range.high);
  }
}

SearchSpace SearchSpace::FromToml(std::string_view text, std::string_view name) {
  toml::table root;
  try {
    root = toml::parse(text, name);
  } catch (const toml::parse_error& error) {
    throw Error(StrCat(name, ": line ", error.source().begin.line, ": ", error.description()));
  }
  const toml::table* table = root["space"].as_table();
  ATHANOR_CHECK(table != nullptr && !table->empty(), name,
                ": expected a table [space] of hyper-parameters, found none");
  // In the order of the file, which that of names is not.
  std::vector<std::pair<uint32_t, HyperRange>> found;
  for (const auto& [key, node] : *table) {
    const auto line = node.source().begin.line;
    const std::string where = StrCat(name, ": line ", line, ": '", key.str(), "': ");
    ATHANOR_CHECK(node.is_table(), where,
                  "expected { low = ..., high = ... } or { choices = ... }");
    HyperRange range = RangeOf(key.str(), *node.as_table(), where);
    try {
      const SearchSpace alone({range});
    } catch (const Error& error) {
      throw Error(StrCat(name, ": line ", line, ": ", error.what()));
    }
    found.emplace_back(line, std::move(range));
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<HyperRange> ranges;
  for (auto& [line, range] : found) ranges.push_back(std::move(range));
  return SearchSpace(std::move(ranges));
}

HyperParameters SearchSpace::Sample(Random* random) const {
  HyperParameters hyper;
  for (const HyperRange& range : ranges_) hyper[range.name] = Draw(range, random);
  return hyper;
}

HyperParameters SearchSpace::Perturb(const HyperParameters& hyper, double resample,
                                     Random* random) const {
  HyperParameters changed = hyper;
  for (const HyperRange& range : ranges_) {
    if (range.is_fixed) continue;
    std::string& text = changed.at(range.name);
    text = random->Uniform() < resample ? Draw(range, random) : Move(range, text, random);
  }
  return changed;
}

HyperParameters SearchSpace::Cross(const HyperParameters& first, const HyperParameters& second,
                                   Random* random) const {
  HyperParameters crossed = first;
  for (const HyperRange& range : ranges_) {
    if (!range.is_fixed && random->Below(2) == 1) crossed[range.name] = second.at(range.name);
  }
  return crossed;
}

void SearchSpace::Check(const HyperParameters& hyper, std::string_view where) const {
  for (const HyperRange& range : ranges_) {
    const auto found = hyper.find(range.name);
    ATHANOR_CHECK(found != hyper.end(), where, ": expected a hyper-parameter '", range.name, "'");
    if (range.kind == Kind::kChoice) {
      ATHANOR_CHECK(std::find(range.choices.begin(), range.choices.end(), found->second) !=
                        range.choices.end(),
                    where, ": '", range.name, "': '", found->second, "' is none of the choices");
      continue;
    }
    const double value = HyperNumber(hyper, range.name);
    ATHANOR_CHECK(value >= range.low && value <= range.high, where, ": '", range.name,
                  "': expected ", range.low, " to ", range.high, ", found ", value);
  }
  ATHANOR_CHECK(hyper.size() == ranges_.size(), where, ": expected ", ranges_.size(),
                " hyper-parameters, found ", hyper.size());
}

}  // namespace athanor
