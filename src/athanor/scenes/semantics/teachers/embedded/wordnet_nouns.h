// The nouns of WordNet 3.0 (Miller 1995), as the files `data.noun` and `index.noun` hold them
// (wndb(5WN)). Used while training, to give kinds of things more names; never at run time.
#pragma once

#include <filesystem>
#include <string>
#include <unordered_map>
#include <vector>

namespace athanor {

class WordNetNouns {
 public:
  // Throws Error (path, line) when a file is missing or not of that format.
  explicit WordNetNouns(const std::filesystem::path& folder);

  struct Synset {
    int64_t offset = 0;              // byte in data.noun: its name
    int lexicographer_file = 0;      // 6 artifact, 13 food, 20 plant (lexnames(5WN))
    std::vector<std::string> words;  // "drinking glass": spaces, lower case
    std::vector<int64_t> hypernyms;  // "is a kind of"; instances are left out
  };
  // Senses of a word or phrase, most frequent first; empty for an unknown one.
  std::vector<Synset> Senses(std::string_view phrase) const;
  Synset At(int64_t offset) const;
  // All that the synset is a kind of, nearest first, at most `depth` steps up.
  std::vector<Synset> Ancestors(const Synset& synset, int depth) const;

 private:
  std::filesystem::path data_path_;
  std::string data_;
  std::unordered_map<std::string, std::vector<int64_t>> index_;
};

}  // namespace athanor
