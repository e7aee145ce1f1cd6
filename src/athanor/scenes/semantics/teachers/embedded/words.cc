#include "athanor/scenes/semantics/teachers/embedded/words.h"

#include <algorithm>
#include <array>
#include <utility>

#include "athanor/base/error.h"

namespace athanor {
namespace {

constexpr std::array<std::string_view, 20> kSilent = {
    "a",  "an",  "the", "some", "any",   "all",   "this", "that", "these",  "those",
    "my", "our", "is",  "are",  "there", "which", "its",  "it",   "please", "s"};

bool EndsIn(const std::string& word, std::string_view end) {
  return word.size() > end.size() + 1 && std::string_view(word).ends_with(end);
}

// What the word may be a form of, likeliest first.
std::vector<std::string> BaseForms(const std::string& word) {
  const auto without = [&](size_t letters, std::string_view instead = "") {
    return word.substr(0, word.size() - letters).append(instead);
  };
  std::vector<std::string> forms;
  if (EndsIn(word, "ies")) forms.push_back(without(3, "y"));
  if (EndsIn(word, "ves")) forms.insert(forms.end(), {without(3, "f"), without(3, "fe")});
  if (EndsIn(word, "s")) forms.push_back(without(1));
  if (EndsIn(word, "es")) forms.push_back(without(2));
  if (EndsIn(word, "ing")) {
    const std::string stem = without(3);
    forms.insert(forms.end(), {stem, stem + "e"});
    if (stem.size() > 2 && stem.back() == stem[stem.size() - 2]) {
      forms.push_back(stem.substr(0, stem.size() - 1));  // "sitting"
    }
  }
  // A vocabulary that knows the plural alone.
  forms.push_back(word + "s");
  return forms;
}

// Letters to insert, drop or change (Levenshtein).
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({changed, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::vector<std::string> SplitWords(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  const auto finish = [&] {
    if (!word.empty() && std::find(kSilent.begin(), kSilent.end(), word) == kSilent.end()) {
      words.push_back(word);
    }
    word.clear();
  };
  for (const char c : text) {
    if (c >= 'A' && c <= 'Z') {
      word += static_cast<char>(c - 'A' + 'a');
    } else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c & 0x80) != 0) {
      word += c;  // bytes of UTF-8 letters belong to the word
    } else {
      finish();
    }
  }
  finish();
  return words;
}

Vocabulary::Vocabulary(std::vector<std::string> words) : words_(std::move(words)) {
  for (size_t i = 0; i < words_.size(); ++i) {
    const std::vector<std::string> split = SplitWords(words_[i]);
    ATHANOR_CHECK(split.size() == 1 && split[0] == words_[i],
                  "vocabulary: expected a lower-case word that says something, found '", words_[i],
                  "'");
    const bool added = ids_.emplace(words_[i], static_cast<int>(i)).second;
    ATHANOR_CHECK(added, "vocabulary: '", words_[i], "' comes twice");
  }
}

int Vocabulary::Find(const std::string& word) const {
  if (const auto it = ids_.find(word); it != ids_.end()) return it->second;
  for (const std::string& form : BaseForms(word)) {
    if (const auto it = ids_.find(form); it != ids_.end()) return it->second;
  }
  return -1;
}

Vocabulary::Tokens Vocabulary::Tokenize(std::string_view prompt) const {
  Tokens tokens;
  for (const std::string& word : SplitWords(prompt)) {
    const int id = Find(word);
    if (id >= 0) {
      tokens.ids.push_back(id);
    } else {
      tokens.unknown.push_back(word);
    }
  }
  return tokens;
}

std::vector<std::string> Vocabulary::Nearest(std::string_view word, size_t count) const {
  std::vector<std::pair<size_t, size_t>> ranked;
  for (size_t i = 0; i < words_.size(); ++i) ranked.emplace_back(EditDistance(word, words_[i]), i);
  count = std::min(count, ranked.size());
  std::partial_sort(ranked.begin(), ranked.begin() + static_cast<std::ptrdiff_t>(count),
                    ranked.end());
  std::vector<std::string> nearest;
  for (size_t i = 0; i < count; ++i) nearest.push_back(words_[ranked[i].second]);
  return nearest;
}

}  // namespace athanor
