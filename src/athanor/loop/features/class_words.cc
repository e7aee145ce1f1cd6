#include "athanor/loop/features/class_words.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <set>

namespace athanor {
namespace {

constexpr int kStepsUp = 10;  // a sheep is nine steps from an animal

// Lower case, one space for '_' and runs of spaces, articles gone.
std::string Clean(std::string_view text) {
  std::string clean;
  for (const char c : text) {
    const bool is_gap = c == '_' || std::isspace(static_cast<unsigned char>(c)) != 0;
    if (!is_gap) {
      clean += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!clean.empty() && clean.back() != ' ') {
      clean += ' ';
    }
  }
  while (!clean.empty() && clean.back() == ' ') clean.pop_back();
  for (const char* article : {"a ", "an ", "the "}) {
    if (clean.starts_with(article)) return clean.substr(std::string_view(article).size());
  }
  return clean;
}

// lexnames(5WN): the most general nouns ("animal"), animals, artifacts, persons, plants (a tree is
// no person, though people are called so).
const std::set<int> kThings = {3, 5, 6, 18, 20};

std::optional<WordNet::Synset> ThingOf(const std::string& noun, const WordNet& wordnet) {
  std::vector<int64_t> senses = wordnet.Senses(noun);
  if (senses.empty()) senses = wordnet.Senses(wordnet.Singular(noun));
  if (senses.empty() && noun.ends_with('s'))
    senses = wordnet.Senses(noun.substr(0, noun.size() - 1));
  for (const int64_t sense : senses) {
    WordNet::Synset synset = wordnet.Read(sense);
    if (kThings.contains(synset.lexicographer_file)) return synset;
  }
  return std::nullopt;
}

// Steps from a synset up to another: 0 itself; -1: it is no kind of it.
int StepsUp(const WordNet::Synset& from, const WordNet::Synset& to, const WordNet& wordnet) {
  std::vector<int64_t> level = {from.offset};
  std::set<int64_t> seen(level.begin(), level.end());
  for (int steps = 0; steps <= kStepsUp && !level.empty(); ++steps) {
    std::vector<int64_t> above;
    for (const int64_t synset : level) {
      if (synset == to.offset) return steps;
      for (const int64_t parent : wordnet.Read(synset).kinds_of) {
        if (seen.insert(parent).second) above.push_back(parent);
      }
    }
    level = std::move(above);
  }
  return -1;
}

}  // namespace

std::vector<double> FitClasses(std::string_view words, std::span<const std::string> classes,
                               const WordNet* wordnet) {
  const std::string asked = Clean(words);
  std::optional<WordNet::Synset> thing;
  if (wordnet != nullptr) thing = ThingOf(asked, *wordnet);
  std::vector<double> fits;
  for (const std::string& name : classes) {
    const std::string clean = Clean(name);
    double fit = clean == asked || clean + "s" == asked ? 1 : 0;
    if (fit == 0 && thing) {
      if (const auto known = ThingOf(clean, *wordnet)) {
        const int up = StepsUp(*thing, *known, *wordnet);
        if (up >= 0) fit = 1.0 / (1 + up);
        if (StepsUp(*known, *thing, *wordnet) >= 0) fit = 1;
      }
    }
    fits.push_back(fit);
  }
  return fits;
}

}  // namespace athanor
