#include "athanor/loop/training/toml_section.h"

#include <toml++/toml.h>

#include <algorithm>
#include <map>

#include "athanor/base/error.h"

namespace athanor {
namespace {

// The lines of the headers, and whose they are. (A table in braces is a value, not a section.)
std::map<uint32_t, std::string> HeadersOf(std::string_view text, std::string_view name) {
  toml::table root;
  try {
    root = toml::parse(text, name);
  } catch (const toml::parse_error& error) {
    throw Error(StrCat(name, ": line ", error.source().begin.line, ": ", error.description()));
  }
  std::map<uint32_t, std::string> headers;
  for (const auto& [key, node] : root) {
    const toml::table* table = node.as_table();
    if (table != nullptr && !table->is_inline()) {
      headers[node.source().begin.line] = key.str();
    }
  }
  return headers;
}

}  // namespace

std::string TomlSection(std::string_view text, std::string_view name, std::string_view table) {
  const auto headers = HeadersOf(text, name);
  std::string section;
  std::string current;
  uint32_t line = 1;
  for (size_t begin = 0; begin < text.size(); ++line) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const auto header = headers.find(line);
    if (header != headers.end()) {
      current = header->second;
    } else if (current == table) {
      section += text.substr(begin, end - begin);
    }
    section += '\n';
    begin = end + 1;
  }
  return section;
}

void CheckTomlTables(std::string_view text, std::string_view name,
                     const std::vector<std::string>& tables) {
  for (const auto& [line, table] : HeadersOf(text, name)) {
    ATHANOR_CHECK(std::find(tables.begin(), tables.end(), table) != tables.end(), name, ": line ",
                  line, ": no option is named '", table, "'");
  }
}

}  // namespace athanor
