// One table of a TOML file for an OptionList, which reads files without tables.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace athanor {

// The lines between the header of a table of the root ("stream" for [stream]) and the next header;
// all other lines are empty, so that messages name the lines of the file. An empty `table`: the
// lines before the first header. Empty when there is no such table. Throws Error (name, line) for
// bad TOML.
std::string TomlSection(std::string_view text, std::string_view name, std::string_view table);

// Throws Error (name, line) for a table of the root that is none of these.
void CheckTomlTables(std::string_view text, std::string_view name,
                     const std::vector<std::string>& tables);

}  // namespace athanor
