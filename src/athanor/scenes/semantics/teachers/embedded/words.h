// Prompts as words of a fixed vocabulary.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace athanor {

// Lower-case words of letters and digits, without articles and other words that say nothing about a
// picture ("a", "the", "some", "please").
std::vector<std::string> SplitWords(std::string_view text);

class Vocabulary {
 public:
  Vocabulary() = default;
  // Throws Error for a word that comes twice or that SplitWords would not leave as it is.
  explicit Vocabulary(std::vector<std::string> words);

  const std::vector<std::string>& words() const { return words_; }
  // Index of the word, or of the word that it is a form of: a plural ("mugs", "shelves"), an "-ing"
  // ("sitting"). -1 for an unknown one.
  int Find(const std::string& word) const;

  struct Tokens {
    std::vector<int> ids;              // of the known words, in order
    std::vector<std::string> unknown;  // the others
  };
  Tokens Tokenize(std::string_view prompt) const;

  // Up to `count` words that are spelt most like this one.
  std::vector<std::string> Nearest(std::string_view word, size_t count) const;

 private:
  std::vector<std::string> words_;
  std::unordered_map<std::string, int> ids_;
};

}  // namespace athanor
