// What phrases mean: which pixels of a labelled world a description is true of.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/base/random.h"
#include "athanor/scenes/semantics/wordnet.h"

namespace athanor {

// A kind of things, in words.
struct KindWords {
  std::string name;
  std::vector<std::string> synonyms;
  std::string category;
  std::vector<std::string> affordances;  // "to drink from"
  std::vector<std::string> parts;
};

constexpr int kUnknown = -1;  // the labels do not say

// All that labels say of a pixel: indices into the lists of a Lexicon.
struct PixelLabel {
  int kind = kUnknown;
  int color = kUnknown, material = kUnknown, pattern = kUnknown, size = kUnknown;
  int part = kUnknown;
  auto operator<=>(const PixelLabel&) const = default;
};

// True of pixels that fulfil each condition that is set.
struct Clause {
  std::vector<bool> kinds;  // [kinds]; empty = of any kind
  int color = kUnknown, material = kUnknown, pattern = kUnknown, size = kUnknown, part = kUnknown;
};

struct Phrase {
  std::string text;
  std::vector<Clause> any_of;
};

enum class Truth : uint8_t { kFalse, kTrue, kUnsaid };
Truth Holds(const Phrase& phrase, const PixelLabel& label);

// Words that say nothing about a pixel: prompts of these alone are what others are compared with.
const std::vector<std::string>& NeutralWords();

class Lexicon {
 public:
  // Names of kinds are told apart; lists of attributes hold the value for "unknown" nowhere, and
  // "" of `patterns` is plain. With `wordnet`, kinds get the synonyms and hypernyms of the sense
  // that fits their words best.
  Lexicon(std::vector<KindWords> kinds, std::vector<std::string> colors,
          std::vector<std::string> materials, std::vector<std::string> patterns,
          std::vector<std::string> sizes, const WordNet* wordnet);

  const std::vector<KindWords>& kinds() const { return kinds_; }
  const std::vector<std::string>& colors() const { return colors_; }
  const std::vector<std::string>& parts() const { return parts_; }
  // Index in a list; kUnknown when it is not there.
  int FindKind(std::string_view name) const;
  int FindColor(std::string_view name) const;
  int FindMaterial(std::string_view name) const;
  int FindPattern(std::string_view name) const;
  int FindSize(std::string_view name) const;
  int FindPart(std::string_view name) const;

  // All words that phrases can have, sorted.
  std::vector<std::string> Words() const;

  // A name of the kind and what it is true of; `first` takes the kind's own name.
  Phrase NameOf(int kind, Random& random, bool first = false) const;
  // "red mug" and the like for given values; kUnknown leaves a word out.
  Phrase Describe(int kind, int color, int part, Random& random, bool first = false) const;
  // A random description that is true of the pixel.
  Phrase TrueOf(const PixelLabel& label, Random& random) const;
  // TrueOf with something that makes it false, as a rule, of the same pixel: another colour, part
  // or kind.
  Phrase NearlyTrueOf(const PixelLabel& label, Random& random) const;

  // Phrases that the kind alone is called by: two kinds may share one. (Not what it is a kind of.)
  bool Shares(int kind, const Phrase& name) const;

 private:
  std::vector<bool> KindsOf(const std::string& phrase) const;
  std::string PickName(int kind, Random& random) const;
  std::string PickColor(int color, Random& random) const;
  std::string PickMaterial(int material, Random& random) const;
  std::string PickPattern(int pattern, Random& random) const;
  std::string PickGroup(int kind, Random& random) const;
  void AddName(int kind, const std::string& name);
  void AddGroup(int kind, const std::string& name);
  void Enlarge(int kind, const WordNet& wordnet);
  // Adds what else the whole text can mean: a part, a colour, a kind.
  void AddReadings(Phrase* phrase) const;

  std::vector<KindWords> kinds_;
  std::vector<std::string> colors_, materials_, patterns_, sizes_, parts_;
  std::vector<std::vector<std::string>> names_;   // per kind, its own first
  std::vector<std::vector<std::string>> groups_;  // per kind: category, affordances, hypernyms
  std::map<std::string, std::vector<bool>> named_, grouped_;  // phrase to kinds
};

}  // namespace athanor
