#include "athanor/scenes/semantics/teachers/embedded/wordnet_nouns.h"

#include <algorithm>
#include <sstream>

#include "athanor/base/error.h"
#include "athanor/base/files.h"

namespace athanor {
namespace {

std::string WithSpaces(std::string text) {
  for (char& c : text) {
    if (c == '_') c = ' ';
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

}  // namespace

WordNetNouns::WordNetNouns(const std::filesystem::path& folder) : data_path_(folder / "data.noun") {
  const std::filesystem::path index_path = folder / "index.noun";
  data_ = ReadFile(data_path_);
  std::istringstream lines(ReadFile(index_path));
  int64_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (line.starts_with(' ')) continue;  // the licence
    // lemma pos synsets pointers [symbol...] senses tagged offset...
    std::istringstream fields(line);
    std::string lemma, pos, symbol;
    int64_t synsets = 0, pointers = 0, senses = 0, tagged = 0;
    fields >> lemma >> pos >> synsets >> pointers;
    ATHANOR_CHECK(fields && pos == "n" && pointers >= 0 && pointers < 100, index_path.string(),
                  ": line ", number, ": expected a noun of WordNet's index");
    for (int64_t i = 0; i < pointers; ++i) fields >> symbol;
    fields >> senses >> tagged;
    std::vector<int64_t>& offsets = index_[WithSpaces(lemma)];
    for (int64_t offset; fields >> offset;) offsets.push_back(offset);
    ATHANOR_CHECK(static_cast<int64_t>(offsets.size()) == synsets, index_path.string(), ": line ",
                  number, ": expected ", synsets, " senses, found ", offsets.size());
  }
  ATHANOR_CHECK(!index_.empty(), index_path.string(), ": expected nouns, found none");
}

std::vector<WordNetNouns::Synset> WordNetNouns::Senses(std::string_view phrase) const {
  std::vector<Synset> senses;
  if (const auto it = index_.find(WithSpaces(std::string(phrase))); it != index_.end()) {
    for (const int64_t offset : it->second) senses.push_back(At(offset));
  }
  return senses;
}

WordNetNouns::Synset WordNetNouns::At(int64_t offset) const {
  const auto where = [&] { return StrCat(data_path_.string(), ": byte ", offset); };
  ATHANOR_CHECK(offset >= 0 && offset < static_cast<int64_t>(data_.size()), where(),
                ": is past the end of the file");
  const size_t end = data_.find('\n', static_cast<size_t>(offset));
  std::istringstream fields(data_.substr(static_cast<size_t>(offset), end - offset));
  Synset synset;
  std::string type, count_text, word, lexical_id;
  // offset file type count(hex) [word id]... pointers [symbol offset pos source]...
  int64_t stated = -1;
  fields >> stated >> synset.lexicographer_file >> type >> count_text;
  ATHANOR_CHECK(fields && stated == offset && count_text.size() == 2, where(),
                ": expected a synset of that offset");
  const int64_t words = std::strtol(count_text.c_str(), nullptr, 16);
  for (int64_t i = 0; i < words && fields >> word >> lexical_id; ++i) {
    synset.words.push_back(WithSpaces(word));
  }
  int64_t pointers = 0;
  fields >> pointers;
  for (int64_t i = 0; i < pointers; ++i) {
    std::string symbol, pos, source;
    int64_t target = 0;
    fields >> symbol >> target >> pos >> source;
    if (fields && symbol == "@" && pos == "n") synset.hypernyms.push_back(target);
  }
  ATHANOR_CHECK(fields && !synset.words.empty(), where(), ": the synset's line is cut short");
  synset.offset = offset;
  return synset;
}

std::vector<WordNetNouns::Synset> WordNetNouns::Ancestors(const Synset& synset, int depth) const {
  std::vector<Synset> found;
  std::vector<Synset> level = {synset};
  for (int step = 0; step < depth && !level.empty(); ++step) {
    std::vector<Synset> next;
    for (const Synset& below : level) {
      for (const int64_t offset : below.hypernyms) {
        const auto same = [&](const Synset& s) { return s.offset == offset; };
        if (std::any_of(found.begin(), found.end(), same)) continue;
        found.push_back(At(offset));
        next.push_back(found.back());
      }
    }
    level = std::move(next);
  }
  return found;
}

}  // namespace athanor
