#include "athanor/scenes/semantics/wordnet.h"

#include <algorithm>
#include <charconv>
#include <sstream>

#include "athanor/base/error.h"
#include "athanor/base/files.h"

namespace athanor {
namespace {

// Words of a line, of which no count is trusted.
class Fields {
 public:
  Fields(std::string_view line, const std::string& where) : rest_(line), where_(where) {}

  std::string_view Next() {
    const size_t begin = rest_.find_first_not_of(' ');
    ATHANOR_CHECK(begin != std::string_view::npos, where_, ": the line ends too early");
    const size_t end = std::min(rest_.find(' ', begin), rest_.size());
    const std::string_view field = rest_.substr(begin, end - begin);
    rest_.remove_prefix(end);
    return field;
  }
  int64_t Number(int base = 10) {
    const std::string_view field = Next();
    int64_t value = 0;
    const auto [end, error] =
        std::from_chars(field.data(), field.data() + field.size(), value, base);
    ATHANOR_CHECK(error == std::errc() && end == field.data() + field.size() && value >= 0, where_,
                  ": expected a number, found '", field, "'");
    return value;
  }

 private:
  std::string_view rest_;
  const std::string& where_;
};

std::string Spaced(std::string_view word) {
  std::string text(word);
  for (char& c : text) c = c == '_' ? ' ' : static_cast<char>(std::tolower(c));
  return text;
}

}  // namespace

WordNet::WordNet(const std::filesystem::path& folder)
    : path_((folder / "data.noun").string()), data_(ReadFile(path_)) {
  const std::filesystem::path index_path = folder / "index.noun";
  std::istringstream index(ReadFile(index_path));
  int number = 0;
  for (std::string line; std::getline(index, line);) {
    ++number;
    if (line.empty() || line[0] == ' ') continue;  // the licence
    const std::string where = StrCat(index_path.string(), ":", number);
    Fields fields(line, where);
    const std::string lemma = Spaced(fields.Next());
    const std::string_view part = fields.Next();
    ATHANOR_CHECK(part == "n", where, ": expected a noun of WordNet's index, found '", part, "'");
    const int64_t count = fields.Number();
    for (int64_t pointers = fields.Number(); pointers > 0; --pointers) fields.Next();
    fields.Next();
    fields.Next();
    std::vector<int64_t>& senses = senses_[lemma];
    for (int64_t i = 0; i < count; ++i) senses.push_back(fields.Number());
  }
  ATHANOR_CHECK(!senses_.empty(), index_path.string(), ": expected nouns, found none");
  const std::filesystem::path irregular_path = folder / "noun.exc";
  std::error_code error;
  if (!std::filesystem::exists(irregular_path, error)) return;
  std::istringstream irregular(ReadFile(irregular_path));
  for (std::string line; std::getline(irregular, line);) {
    std::istringstream words(line);
    std::string plural, base;
    if (words >> plural >> base) singular_.emplace(Spaced(plural), Spaced(base));
  }
}

const WordNet* WordNet::Installed() {
  static const WordNet* const installed = []() -> const WordNet* {
    const std::filesystem::path folder = "/usr/share/wordnet";
    std::error_code error;
    return std::filesystem::exists(folder / "data.noun", error) ? new WordNet(folder) : nullptr;
  }();
  return installed;
}

std::vector<int64_t> WordNet::Senses(std::string_view noun) const {
  const auto found = senses_.find(Spaced(noun));
  return found == senses_.end() ? std::vector<int64_t>() : found->second;
}

WordNet::Synset WordNet::Read(int64_t synset) const {
  ATHANOR_CHECK(synset >= 0 && synset < static_cast<int64_t>(data_.size()), path_,
                ": there is no synset at byte ", synset);
  const std::string_view text = std::string_view(data_).substr(static_cast<size_t>(synset));
  const std::string where = StrCat(path_, ": byte ", synset);
  const std::string_view line = text.substr(0, text.find('\n'));
  // offset file type count(hex) [word id]... pointers [symbol offset pos source]... | gloss
  const size_t bar = line.find(" | ");
  Fields fields(line.substr(0, bar), where);
  ATHANOR_CHECK(fields.Number() == synset, where, ": no synset begins here");
  Synset found;
  found.offset = synset;
  found.lexicographer_file = static_cast<int>(fields.Number());
  fields.Next();
  for (int64_t words = fields.Number(16); words > 0; --words) {
    found.words.push_back(Spaced(fields.Next()));
    fields.Next();
  }
  for (int64_t pointers = fields.Number(); pointers > 0; --pointers) {
    const std::string_view symbol = fields.Next();
    const int64_t target = fields.Number();
    const std::string_view part = fields.Next();
    fields.Next();
    if (part != "n") continue;
    if (symbol == "@" || symbol == "@i") found.kinds_of.push_back(target);
    if (symbol == "~" || symbol == "~i") found.kinds.push_back(target);
  }
  ATHANOR_CHECK(!found.words.empty(), where, ": a synset without words");
  if (bar != std::string_view::npos) {
    const std::string_view gloss = line.substr(bar + 3);
    found.gloss = std::string(gloss.substr(0, gloss.find("; \"")));
    while (found.gloss.ends_with(' ')) found.gloss.pop_back();
  }
  return found;
}

std::vector<WordNet::Synset> WordNet::Ancestors(const Synset& synset, int depth) const {
  std::vector<Synset> found;
  std::vector<Synset> level = {synset};
  for (int step = 0; step < depth && !level.empty(); ++step) {
    std::vector<Synset> next;
    for (const Synset& below : level) {
      for (const int64_t offset : below.kinds_of) {
        const auto same = [&](const Synset& s) { return s.offset == offset; };
        if (std::any_of(found.begin(), found.end(), same)) continue;
        found.push_back(Read(offset));
        next.push_back(found.back());
      }
    }
    level = std::move(next);
  }
  return found;
}

std::string WordNet::Singular(std::string_view noun) const {
  const auto found = singular_.find(std::string(noun));
  return found == singular_.end() ? std::string() : found->second;
}

}  // namespace athanor
