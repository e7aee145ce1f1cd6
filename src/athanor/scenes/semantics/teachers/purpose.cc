#include "athanor/scenes/semantics/teachers/purpose.h"

#include <algorithm>
#include <cctype>
#include <set>

namespace athanor {
namespace {

using Words = std::vector<std::string>;

const std::set<std::string> kAnything = {"something", "anything", "everything", "thing",
                                         "things",    "what",     "whatever",   "all"};
const std::set<std::string> kPersons = {"one", "you", "we", "i", "people", "someone", "they"};

Words Split(std::string_view text) {
  Words words;
  std::string word;
  for (const char c : text) {
    if (std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '-') {
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

bool Has(const Words& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

}  // namespace

std::optional<Purpose> ReadPurpose(std::string_view prompt) {
  const Words words = Split(prompt);
  size_t at = 0;
  if (at == words.size() || !kAnything.contains(words[at])) return std::nullopt;
  ++at;
  if (at < words.size() && (words[at] == "that" || words[at] == "which")) ++at;
  if (at < words.size() && kPersons.contains(words[at])) ++at;
  if (at < words.size() && (words[at] == "is" || words[at] == "are")) ++at;
  if (at < words.size() && (words[at] == "used" || words[at] == "made" || words[at] == "good"))
    ++at;
  if (at + 1 >= words.size()) return std::nullopt;
  const std::string& link = words[at];
  const std::string& verb = words[at + 1];
  if (verb.size() < 3) return std::nullopt;
  Purpose purpose;
  if (link == "for" && verb.size() > 5 && verb.ends_with("ing")) {
    const std::string stem = verb.substr(0, verb.size() - 3);
    purpose.gerunds = {verb};
    purpose.bare = {stem, stem + "e"};
    if (stem[stem.size() - 1] == stem[stem.size() - 2]) {
      purpose.bare.push_back(stem.substr(0, stem.size() - 1));
    }
    return purpose;
  }
  if (link != "to" && link != "can" && link != "could" && link != "may") return std::nullopt;
  purpose.bare = {verb};
  if (verb.ends_with("e")) {
    purpose.gerunds = {verb.substr(0, verb.size() - 1) + "ing", verb + "ing"};
  } else {
    purpose.gerunds = {verb + "ing", verb + verb.back() + "ing"};
  }
  return purpose;
}

bool Serves(std::string_view definition, const Purpose& purpose) {
  const Words words = Split(definition);
  for (size_t i = 1; i < words.size(); ++i) {
    if (Has(purpose.gerunds, words[i])) {
      // "for sitting", "for comfortable sitting", "used in writing"
      if (words[i - 1] == "for" || (i > 1 && words[i - 2] == "for")) return true;
      if (words[i - 1] == "in" && i > 1 && words[i - 2] == "used") return true;
    }
    if (Has(purpose.bare, words[i])) {
      if (words[i - 1] == "can" || words[i - 1] == "to" || words[i - 1] == "may") return true;
    }
  }
  return false;
}

}  // namespace athanor
