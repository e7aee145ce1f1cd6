#include "athanor/scenes/semantics/teachers/embedded/lexicon.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "athanor/base/error.h"
#include "athanor/scenes/semantics/teachers/embedded/words.h"

namespace athanor {
namespace {

using Strings = std::vector<std::string>;

// Other words for values of attributes.
const std::map<std::string, Strings>& OtherWords() {
  static const std::map<std::string, Strings> words = {
      {"red", {"crimson", "scarlet"}},
      {"orange", {"tangerine"}},
      {"yellow", {"golden"}},
      {"green", {"olive", "emerald"}},
      {"blue", {"navy", "azure"}},
      {"purple", {"violet", "lilac"}},
      {"pink", {"rose"}},
      {"brown", {"chestnut"}},
      {"beige", {"tan", "cream"}},
      {"turquoise", {"teal", "cyan"}},
      {"grey", {"gray"}},
      {"wooden", {"wood"}},
      {"metal", {"metallic", "steel"}},
      {"fabric", {"cloth", "textile"}},
      {"ceramic", {"porcelain"}},
      {"leafy", {"green"}},
      {"striped", {"stripy"}},
      {"checked", {"chequered", "plaid"}},
      {"small", {"little"}},
      {"large", {"big"}},
  };
  return words;
}

const Strings kRelations = {"on", "in", "under", "next to", "hanging from", "near", "beside"};
const Strings kForms = {"something", "thing", "one can", "object", "used", ""};  // "to sit on"

// Names that cover more of the kinds than this tell nothing.
constexpr double kLargestGroup = 0.4;
constexpr int kHypernymSteps = 3;
// Lexicographer files of things that one can see, lexnames(5WN).
constexpr int kAnimal = 5, kArtifact = 6, kFood = 13, kObject = 17, kPerson = 18, kPlant = 20;

// Whether a sense from that file can be meant by a kind of that category: a mouse on a desk is no
// animal.
bool MayMean(const std::string& category, int file) {
  if (category == "animal") return file == kAnimal;
  if (category == "person") return file == kPerson;
  if (category == "nature") return file == kObject;
  return file == kArtifact || file == kFood || file == kPlant;
}
// Hypernyms that nobody would look for things by.
constexpr std::array<std::string_view, 32> kVague = {"instrumentality",
                                                     "instrumentation",
                                                     "reproductive structure",
                                                     "shock",
                                                     "shock absorber",
                                                     "side",
                                                     "muffler",
                                                     "damper",
                                                     "whole",
                                                     "unit",
                                                     "physical object",
                                                     "article",
                                                     "ware",
                                                     "creation",
                                                     "product",
                                                     "device",
                                                     "production",
                                                     "system",
                                                     "instrument",
                                                     "construction",
                                                     "covering",
                                                     "way",
                                                     "approach",
                                                     "access",
                                                     "support",
                                                     "implement",
                                                     "material",
                                                     "artefact",
                                                     "artifact",
                                                     "false fruit",
                                                     "solid",
                                                     "garden truck"};

int IndexOf(const Strings& list, std::string_view name) {
  const auto it = std::find(list.begin(), list.end(), name);
  return it == list.end() ? kUnknown : static_cast<int>(it - list.begin());
}

const std::string& Pick(const Strings& list, Random& random) {
  return list[random.Below(static_cast<uint32_t>(list.size()))];
}

bool Contains(const Strings& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

// Joined by spaces; empty words are left out.
std::string Join(std::initializer_list<std::string> words) {
  std::string text;
  for (const std::string& word : words) {
    if (word.empty()) continue;
    if (!text.empty()) text += ' ';
    text += word;
  }
  return text;
}

std::string Normal(const std::string& phrase) {
  std::string text;
  for (const std::string& word : SplitWords(phrase)) text += (text.empty() ? "" : " ") + word;
  return text;
}

// A value, or one of its other names.
std::string PickWord(const std::string& value, Random& random) {
  const auto it = OtherWords().find(value);
  if (it == OtherWords().end() || random.Uniform() < 0.65f) return value;
  return Pick(it->second, random);
}

Truth Agree(int asked, int found, Truth so_far) {
  if (asked == kUnknown || so_far == Truth::kFalse) return so_far;
  if (found == kUnknown) return Truth::kUnsaid;
  return asked == found ? so_far : Truth::kFalse;
}

}  // namespace

const Strings& NeutralWords() {
  static const Strings words = {"object", "thing", "stuff", "texture", "something", "anything"};
  return words;
}

Truth Holds(const Phrase& phrase, const PixelLabel& label) {
  Truth best = Truth::kFalse;
  for (const Clause& clause : phrase.any_of) {
    Truth truth = Truth::kTrue;
    if (!clause.kinds.empty()) {
      if (label.kind == kUnknown) {
        truth = Truth::kUnsaid;
      } else if (!clause.kinds[label.kind]) {
        truth = Truth::kFalse;
      }
    }
    truth = Agree(clause.color, label.color, truth);
    truth = Agree(clause.material, label.material, truth);
    truth = Agree(clause.pattern, label.pattern, truth);
    truth = Agree(clause.size, label.size, truth);
    truth = Agree(clause.part, label.part, truth);
    if (truth == Truth::kTrue) return truth;
    if (truth == Truth::kUnsaid) best = truth;
  }
  return best;
}

Lexicon::Lexicon(std::vector<KindWords> kinds, Strings colors, Strings materials, Strings patterns,
                 Strings sizes, const WordNet* wordnet)
    : kinds_(std::move(kinds)),
      colors_(std::move(colors)),
      materials_(std::move(materials)),
      patterns_(std::move(patterns)),
      sizes_(std::move(sizes)),
      names_(kinds_.size()),
      groups_(kinds_.size()) {
  ATHANOR_CHECK(!kinds_.empty(), "lexicon: expected at least one kind");
  std::set<std::string> parts;
  for (size_t k = 0; k < kinds_.size(); ++k) {
    const KindWords& kind = kinds_[k];
    AddName(static_cast<int>(k), kind.name);
    for (const std::string& synonym : kind.synonyms) AddName(static_cast<int>(k), synonym);
    ATHANOR_CHECK(!names_[k].empty(), "lexicon: the kind '", kind.name,
                  "' has no name that says something; words like 'thing' mean anything");
    AddGroup(static_cast<int>(k), kind.category);
    for (const std::string& use : kind.affordances) AddGroup(static_cast<int>(k), use);
    parts.insert(kind.parts.begin(), kind.parts.end());
  }
  parts_.assign(parts.begin(), parts.end());
  if (wordnet != nullptr) {
    for (size_t k = 0; k < kinds_.size(); ++k) Enlarge(static_cast<int>(k), *wordnet);
  }
  // What nearly everything is tells nothing.
  for (auto it = grouped_.begin(); it != grouped_.end();) {
    const auto members = std::count(it->second.begin(), it->second.end(), true);
    const bool vague =
        static_cast<double>(members) > kLargestGroup * kinds_.size() && kinds_.size() > 4;
    if (vague) {
      for (Strings& groups : groups_) std::erase(groups, it->first);
      it = grouped_.erase(it);
    } else {
      ++it;
    }
  }
}

void Lexicon::AddName(int kind, const std::string& name) {
  const std::string phrase = Normal(name);
  if (phrase.empty() || Contains(names_[kind], phrase) || Contains(NeutralWords(), phrase)) return;
  names_[kind].push_back(phrase);
  named_.try_emplace(phrase, kinds_.size(), false).first->second[kind] = true;
}

void Lexicon::AddGroup(int kind, const std::string& name) {
  const std::string phrase = Normal(name);
  if (phrase.empty() || Contains(groups_[kind], phrase) || Contains(NeutralWords(), phrase)) return;
  groups_[kind].push_back(phrase);
  grouped_.try_emplace(phrase, kinds_.size(), false).first->second[kind] = true;
}

void Lexicon::Enlarge(int kind, const WordNet& wordnet) {
  const KindWords& words = kinds_[kind];
  Strings known = words.synonyms;
  known.push_back(words.category);
  // The sense of a name that shares most words with what else is known; that of the kind's last
  // word ("office chair" is a chair) where WordNet has none of the names.
  double best_score = -1;
  WordNet::Synset best;
  const auto consider = [&](const std::string& phrase, double bonus) {
    const auto counts = [&](const std::string& word) {
      return word != phrase && Contains(known, word);
    };
    for (const int64_t offset : wordnet.Senses(phrase)) {
      const WordNet::Synset sense = wordnet.Read(offset);
      const int file = sense.lexicographer_file;
      if (!MayMean(words.category, file)) continue;
      double score = bonus + (file == kArtifact ? 0.5 : 0);
      for (const std::string& word : sense.words) score += counts(word) ? 2 : 0;
      for (const WordNet::Synset& above : wordnet.Ancestors(sense, 8)) {
        for (const std::string& word : above.words) score += counts(word) ? 1 : 0;
      }
      if (score > best_score) {
        best_score = score;
        best = sense;
      }
    }
  };
  consider(words.name, 1);
  for (const std::string& synonym : words.synonyms) {
    consider(synonym, synonym.find(' ') == std::string::npos ? 0.25 : 0.75);
  }
  const bool whole = best_score >= 0;
  // A toy car is no car.
  if (!whole && words.category != "toy") {
    consider(words.name.substr(words.name.rfind(' ') + 1), 0);
  }
  if (best_score < 0) return;
  const auto vague = [](const std::string& word) {
    return std::find(kVague.begin(), kVague.end(), word) != kVague.end();
  };
  for (const std::string& word : best.words) {
    if (vague(word)) continue;
    if (whole) {
      AddName(kind, word);
    } else {
      AddGroup(kind, word);
    }
  }
  for (const WordNet::Synset& above : wordnet.Ancestors(best, kHypernymSteps)) {
    for (const std::string& word : above.words) {
      if (!vague(word)) AddGroup(kind, word);
    }
  }
}

int Lexicon::FindKind(std::string_view name) const {
  for (size_t k = 0; k < kinds_.size(); ++k) {
    if (kinds_[k].name == name) return static_cast<int>(k);
  }
  return kUnknown;
}
int Lexicon::FindColor(std::string_view name) const { return IndexOf(colors_, name); }
int Lexicon::FindMaterial(std::string_view name) const { return IndexOf(materials_, name); }
int Lexicon::FindPattern(std::string_view name) const { return IndexOf(patterns_, name); }
int Lexicon::FindSize(std::string_view name) const { return IndexOf(sizes_, name); }
int Lexicon::FindPart(std::string_view name) const { return IndexOf(parts_, name); }

Strings Lexicon::Words() const {
  std::set<std::string> words;
  const auto add = [&](const std::string& phrase) {
    for (std::string& word : SplitWords(phrase)) words.insert(std::move(word));
  };
  for (const auto& [phrase, kinds] : named_) add(phrase);
  for (const auto& [phrase, kinds] : grouped_) add(phrase);
  for (const Strings* list : {&colors_, &materials_, &patterns_, &sizes_, &parts_, &NeutralWords(),
                              &kRelations, &kForms}) {
    for (const std::string& phrase : *list) {
      add(phrase);
      const auto it = OtherWords().find(phrase);
      if (it == OtherWords().end()) continue;
      for (const std::string& other : it->second) add(other);
    }
  }
  add("of with made from colored coloured part");
  return {words.begin(), words.end()};
}

std::vector<bool> Lexicon::KindsOf(const std::string& phrase) const {
  std::vector<bool> kinds(kinds_.size(), false);
  for (const auto* map : {&named_, &grouped_}) {
    if (const auto it = map->find(phrase); it != map->end()) {
      for (size_t k = 0; k < kinds.size(); ++k) kinds[k] = kinds[k] || it->second[k];
    }
  }
  return kinds;
}

bool Lexicon::Shares(int kind, const Phrase& name) const {
  const auto it = named_.find(name.text);
  return it != named_.end() && it->second[kind];
}

std::string Lexicon::PickName(int kind, Random& random) const {
  if (random.Uniform() < 0.65f) return names_[kind][0];
  return Pick(names_[kind], random);
}
std::string Lexicon::PickColor(int color, Random& random) const {
  if (color == kUnknown) return "";
  std::string word = PickWord(colors_[color], random);
  if (random.Uniform() < 0.04f) word += random.Uniform() < 0.5f ? " colored" : " coloured";
  return word;
}
std::string Lexicon::PickMaterial(int material, Random& random) const {
  return material == kUnknown ? "" : PickWord(materials_[material], random);
}
std::string Lexicon::PickPattern(int pattern, Random& random) const {
  return pattern == kUnknown ? "" : PickWord(patterns_[pattern], random);
}

std::string Lexicon::PickGroup(int kind, Random& random) const {
  const Strings& groups = groups_[kind];
  if (groups.empty()) return names_[kind][0];
  // The kind's own category and uses come before what WordNet adds.
  const auto own =
      static_cast<uint32_t>(std::min(groups.size(), 1 + kinds_[kind].affordances.size()));
  return groups[random.Below(random.Uniform() < 0.6f ? own : static_cast<uint32_t>(groups.size()))];
}

void Lexicon::AddReadings(Phrase* phrase) const {
  const auto add = [&](Clause clause) { phrase->any_of.push_back(std::move(clause)); };
  const std::vector<bool> kinds = KindsOf(phrase->text);
  if (std::find(kinds.begin(), kinds.end(), true) != kinds.end()) add({.kinds = kinds});
  if (const int part = FindPart(phrase->text); part >= 0) add({.part = part});
  if (const int color = FindColor(phrase->text); color >= 0) add({.color = color});
  if (const int material = FindMaterial(phrase->text); material >= 0) add({.material = material});
  if (phrase->text == "glass" || phrase->text == "wood") {
    add({.material = FindMaterial(phrase->text == "wood" ? "wooden" : "glass")});
  }
}

Phrase Lexicon::NameOf(int kind, Random& random, bool first) const {
  Phrase phrase;
  phrase.text = first ? names_[kind][0] : PickName(kind, random);
  AddReadings(&phrase);
  return phrase;
}

Phrase Lexicon::Describe(int kind, int color, int part, Random& random, bool first) const {
  const std::string name = first ? names_[kind][0] : PickName(kind, random);
  const std::string color_word = color == kUnknown ? ""
                                 : first           ? colors_[color]
                                                   : PickColor(color, random);
  Phrase phrase;
  if (part == kUnknown) {
    phrase.text = Join({color_word, name});
  } else if (first || random.Uniform() < 0.5f) {
    phrase.text = Join({color_word, name, parts_[part]});
  } else {
    phrase.text = Join({parts_[part], "of", color_word, name});
  }
  phrase.any_of.push_back({.kinds = KindsOf(name), .color = color, .part = part});
  if (color == kUnknown) AddReadings(&phrase);
  return phrase;
}

Phrase Lexicon::TrueOf(const PixelLabel& label, Random& random) const {
  const float choice = random.Uniform();
  const auto chance = [&](float share) { return random.Uniform() < share; };
  if (choice < 0.12f && label.part != kUnknown) {
    return Describe(label.kind, chance(0.3f) ? label.color : kUnknown, label.part, random);
  }
  Phrase phrase;
  Clause clause;
  if (choice < 0.2f && label.part != kUnknown) {
    phrase.text = parts_[label.part];
    AddReadings(&phrase);
    return phrase;
  }
  if (choice < 0.3f && (label.color != kUnknown || label.material != kUnknown)) {
    // Nothing but how it looks.
    clause.color = label.material == kUnknown || chance(0.7f) ? label.color : kUnknown;
    clause.material = clause.color == kUnknown || chance(0.3f) ? label.material : kUnknown;
    phrase.text = Join({PickColor(clause.color, random), PickMaterial(clause.material, random),
                        chance(0.6f) ? Pick(NeutralWords(), random) : ""});
    phrase.any_of.push_back(clause);
    if (clause.color == kUnknown || clause.material == kUnknown) AddReadings(&phrase);
    return phrase;
  }
  const bool group = choice < 0.45f;
  std::string noun = group ? PickGroup(label.kind, random) : PickName(label.kind, random);
  clause.kinds = KindsOf(noun);
  if (group && noun.starts_with("to ")) {
    const std::string& form = Pick(kForms, random);
    noun = form == "one can" ? Join({form, noun.substr(3)}) : Join({form, noun});
  }
  std::string tail;
  if (choice < 0.85f || group) {
    if (chance(group ? 0.25f : 0.55f)) clause.color = label.color;
    if (chance(0.2f)) clause.material = label.material;
    // Plain things are not called so.
    if (label.pattern > 0 && chance(0.3f)) clause.pattern = label.pattern;
    if (chance(0.06f)) clause.size = label.size;
  } else {
    clause.color = label.color;
    clause.material = label.material;
    if (label.pattern > 0) clause.pattern = label.pattern;
    if (chance(0.5f)) clause.size = label.size;
  }
  std::string material = PickMaterial(clause.material, random);
  if (!material.empty() && !group && chance(0.2f)) {
    tail = Join({"made of", material});
    material.clear();
  }
  phrase.text = Join({clause.size == kUnknown ? "" : PickWord(sizes_[clause.size], random),
                      PickPattern(clause.pattern, random), PickColor(clause.color, random),
                      material, noun, tail});
  // Where something is, is no part of what it is.
  if (!group && chance(0.15f)) {
    const int other = static_cast<int>(random.Below(static_cast<uint32_t>(kinds_.size())));
    const int color = colors_.empty() || chance(0.5f)
                          ? kUnknown
                          : static_cast<int>(random.Below(static_cast<uint32_t>(colors_.size())));
    phrase.text = Join(
        {phrase.text, Pick(kRelations, random), PickColor(color, random), PickName(other, random)});
  }
  phrase.any_of.push_back(std::move(clause));
  if (phrase.text == noun) AddReadings(&phrase);
  return phrase;
}

Phrase Lexicon::NearlyTrueOf(const PixelLabel& label, Random& random) const {
  PixelLabel other = label;
  const auto change = [&](int* value, size_t count) {
    if (*value == kUnknown || count < 2) return false;
    *value = static_cast<int>((*value + 1 + random.Below(static_cast<uint32_t>(count) - 1)) %
                              static_cast<uint32_t>(count));
    return true;
  };
  const float choice = random.Uniform();
  bool changed = false;
  if (choice < 0.5f) changed = change(&other.color, colors_.size());
  if (choice >= 0.5f && choice < 0.65f) changed = change(&other.material, materials_.size());
  if (choice >= 0.65f && choice < 0.75f) changed = change(&other.pattern, patterns_.size());
  if (!changed) {
    change(&other.kind, kinds_.size());
    const Strings& parts = kinds_[other.kind].parts;
    other.part = parts.empty() ? kUnknown : FindPart(Pick(parts, random));
  }
  return TrueOf(other, random);
}

}  // namespace athanor
