// The nouns of WordNet 3.0 (Fellbaum 1998; file formats: wndb(5WN)), as Debian's wordnet-base has
// them: other words for a thing, and what it is a kind of.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace athanor {

class WordNet {
 public:
  struct Synset {
    int64_t offset = 0;              // byte in data.noun: its name
    int lexicographer_file = 0;      // 6 artifact, 13 food, 20 plant (lexnames(5WN))
    std::vector<std::string> words;  // lower case, spaces between
    std::vector<int64_t> kinds_of;   // hypernyms: what it is
    std::vector<int64_t> kinds;      // hyponyms: what is one
    std::string gloss;               // what it means, without the examples
  };

  // index.noun and data.noun of a folder, and noun.exc where it is there. Throws Error (path,
  // line).
  explicit WordNet(const std::filesystem::path& folder);
  // That of this machine, read when first asked for; null where it is not installed.
  static const WordNet* Installed();

  // The synsets of a noun, written in any case with spaces between its words, most frequent sense
  // first; none for a word that it does not know.
  std::vector<int64_t> Senses(std::string_view noun) const;
  // Throws Error for an offset that is not that of a synset.
  Synset Read(int64_t synset) const;
  // All that the synset is a kind of, nearest first, at most `depth` steps up.
  std::vector<Synset> Ancestors(const Synset& synset, int depth) const;
  // "mice" -> "mouse", by the list of irregular nouns; empty when it is not there.
  std::string Singular(std::string_view noun) const;

 private:
  std::string path_, data_;
  std::unordered_map<std::string, std::vector<int64_t>> senses_;
  std::unordered_map<std::string, std::string> singular_;
};

}  // namespace athanor
