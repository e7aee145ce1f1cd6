// Prompts that say what a thing is for ("something to sit on", "anything one can drink from"), and
// which definitions of a dictionary say that of a thing.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace athanor {

// The verb of such a prompt.
struct Purpose {
  std::vector<std::string> bare;     // "sit"; both "writ" and "write" of "something for writing"
  std::vector<std::string> gerunds;  // "siting", "sitting": spellings that may be none
};

// prompt: lower case, single spaces. Nothing when it asks for no purpose.
std::optional<Purpose> ReadPurpose(std::string_view prompt);

// Whether a definition says that what it defines serves the purpose: "furniture that is designed
// for sitting on", "any support where you can sit", "a small open container usually used for
// drinking". What merely mentions the verb ("a bedsitting room", "a kitchen where one can sit") is
// not told apart from that by more than the words before it.
bool Serves(std::string_view definition, const Purpose& purpose);

}  // namespace athanor
