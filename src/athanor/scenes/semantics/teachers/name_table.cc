#include "athanor/scenes/semantics/teachers/name_table.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/scenes/semantics/teachers/purpose.h"

namespace athanor {
namespace {

constexpr int kStepsUp = 3, kStepsDown = 2;
constexpr size_t kMaxKinds = 12, kMaxPromptBytes = 1000;
// lexnames(5WN): animals, artifacts, food, places, natural objects, plants.
const std::set<int> kThings = {5, 6, 13, 15, 17, 20};

const std::set<std::string> kGrammar = {"a",    "an",   "the",   "of",      "in",   "on",   "at",
                                        "to",   "with", "and",   "or",      "for",  "by",   "my",
                                        "is",   "are",  "its",   "it",      "this", "that", "some",
                                        "from", "near", "photo", "picture", "image"};

// Lower case, without punctuation at the ends; '_' and runs of spaces become one space.
std::string Clean(std::string_view text) {
  std::string clean;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool is_gap =
        c == '_' || std::isspace(byte) || c == ',' || c == '.' || c == '?' || c == '!' || c == '"';
    if (!is_gap) {
      clean += static_cast<char>(byte < 128 ? std::tolower(byte) : byte);
    } else if (!clean.empty() && clean.back() != ' ') {
      clean += ' ';
    }
  }
  while (!clean.empty() && clean.back() == ' ') clean.pop_back();
  return clean;
}

std::vector<std::string> Words(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

std::string Join(const std::vector<std::string>& words, size_t begin, size_t end) {
  std::string text;
  for (size_t i = begin; i < end; ++i) text += (i > begin ? " " : "") + words[i];
  return text;
}

// "a photo of a red car" -> "red car".
std::string WithoutArticles(const std::string& clean) {
  std::vector<std::string> words = Words(clean);
  const auto is_photo = [](const std::string& word) {
    return word == "photo" || word == "picture" || word == "image";
  };
  const auto is_article = [](const std::string& word) {
    return word == "a" || word == "an" || word == "the";
  };
  size_t begin = 0;
  if (begin < words.size() && is_article(words[begin])) ++begin;
  if (begin + 1 < words.size() && is_photo(words[begin]) && words[begin + 1] == "of") begin += 2;
  if (begin < words.size() && is_article(words[begin])) ++begin;
  return begin == words.size() ? clean : Join(words, begin, words.size());
}

std::vector<std::string> Singulars(const std::string& words, const WordNet* wordnet) {
  std::vector<std::string> found;
  const size_t gap = words.rfind(' ');
  const std::string head = gap == std::string::npos ? "" : words.substr(0, gap + 1);
  const std::string last = words.substr(head.size());
  const auto cut = [&](std::string_view ending, const char* instead) {
    if (last.size() > ending.size() + 1 && last.ends_with(ending)) {
      found.push_back(head + last.substr(0, last.size() - ending.size()) + instead);
    }
  };
  if (wordnet != nullptr && !wordnet->Singular(last).empty()) {
    found.push_back(head + wordnet->Singular(last));
  }
  cut("ies", "y");
  cut("ves", "f");
  cut("es", "");
  if (!last.ends_with("ss")) cut("s", "");
  cut("men", "man");
  return found;
}

}  // namespace

at::Tensor ReadNpyMatrix(const std::filesystem::path& path) {
  const std::string bytes = ReadFile(path), where = path.string();
  ByteReader reader(bytes, where);
  ATHANOR_CHECK(reader.Take(6, "magic") == "\x93NUMPY", where, ": no .npy file");
  const auto version = reader.Read<uint8_t>("version");
  reader.Read<uint8_t>("version");
  ATHANOR_CHECK(version >= 1 && version <= 3, where, ": .npy version ", int{version});
  const size_t size =
      version == 1 ? reader.Read<uint16_t>("header size") : reader.Read<uint32_t>("header size");
  const std::string header(reader.Take(size, "header"));
  const bool is_half = header.find("'<f2'") != std::string::npos;
  ATHANOR_CHECK(is_half || header.find("'<f4'") != std::string::npos, where,
                ": expected '<f2' or '<f4' in ", header.substr(0, 80));
  ATHANOR_CHECK(header.find("'fortran_order': False") != std::string::npos, where,
                ": expected rows one after the other");
  const size_t open = header.find("'shape': (");
  ATHANOR_CHECK(open != std::string::npos, where, ": the header has no shape");
  int64_t shape[2] = {};
  const char* at = header.data() + open + 10;
  const char* end = header.data() + header.size();
  for (int64_t& each : shape) {
    while (at < end && (*at == ' ' || *at == ',')) ++at;
    const auto parsed = std::from_chars(at, end, each);
    ATHANOR_CHECK(parsed.ec == std::errc() && each > 0 && each < 1 << 30, where,
                  ": expected a shape of two sizes in ", header.substr(open, 40));
    at = parsed.ptr;
  }
  const size_t row_bytes = static_cast<size_t>(shape[1]) * (is_half ? 2 : 4);
  reader.CheckFits(static_cast<uint64_t>(shape[0]), row_bytes, "rows");
  const std::string_view data = reader.Take(static_cast<size_t>(shape[0]) * row_bytes, "rows");
  return at::from_blob(const_cast<char*>(data.data()), {shape[0], shape[1]},
                       is_half ? at::kHalf : at::kFloat)
      .to(at::kFloat)
      .clone();
}

NameTable::NameTable(const ModelCard& card, const ModelStore& store, const WordNet* wordnet)
    : name_(card.name), space_(card.text_space), wordnet_(wordnet) {
  std::vector<at::Tensor> tables;
  int64_t rows = 0;
  for (const ModelFile& file : card.files) {
    if (!file.role.starts_with("vectors:")) continue;
    const std::string names_role = "names:" + file.role.substr(8);
    const auto vectors_path = store.Require(card, file.role);
    const auto names_path = store.Require(card, names_role);
    tables.push_back(ReadNpyMatrix(vectors_path));
    ATHANOR_CHECK(at::isfinite(tables.back()).all().item<bool>(), vectors_path.string(),
                  ": holds NaN or infinity");
    ATHANOR_CHECK(tables.back().size(1) == tables.front().size(1), vectors_path.string(),
                  ": vectors of length ", tables.back().size(1), ", expected ",
                  tables.front().size(1));
    AddNames(names_path.string(), ReadFile(names_path), rows, tables.back().size(0));
    rows += tables.back().size(0);
  }
  ATHANOR_CHECK(!tables.empty(), card.path.string(), ": expected files of the role 'vectors:...'");
  vectors_ = at::cat(tables);
  const at::Tensor lengths = vectors_.norm(2, 1, true);
  ATHANOR_CHECK(lengths.min().item<float>() > 0, card.path.string(), ": a vector has length 0");
  vectors_ = vectors_ / lengths;
  for (const auto& [word, phrase] : card.phrases) phrases_[Clean(word)] = phrase;
}

void NameTable::AddNames(const std::string& path, const std::string& text, int64_t first,
                         int64_t count) {
  std::vector<std::vector<std::string>> names;
  if (path.ends_with(".json")) {
    try {
      for (const auto& category : nlohmann::json::parse(text)) {
        std::vector<std::string> all = {category.at("name").get<std::string>()};
        for (const auto& synonym : category.at("synonyms")) all.push_back(synonym);
        names.push_back(std::move(all));
      }
    } catch (const nlohmann::json::exception& error) {
      throw Error(path + ": expected LVIS's list of categories: " + error.what());
    }
  } else {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      while (!line.empty() && line.back() == '\r') line.pop_back();
      if (path.ends_with(".csv")) line = line.substr(line.rfind(',') + 1);
      if (!line.empty()) names.push_back({line});
    }
  }
  ATHANOR_CHECK(static_cast<int64_t>(names.size()) == count, path, ": ", names.size(),
                " names for ", count, " vectors");
  // Names before synonyms: a name of one row may be a synonym of another.
  for (size_t i = 0; i < names.size(); ++i) {
    AddName(names[i].front(), first + static_cast<int64_t>(i));
  }
  for (size_t i = 0; i < names.size(); ++i) {
    for (const std::string& synonym : names[i]) AddName(synonym, first + static_cast<int64_t>(i));
  }
}

void NameTable::AddName(std::string name, int64_t row) {
  const std::string clean = Clean(name);
  row_of_.emplace(clean, row);
  // "bus_(vehicle)", "Cabinet/shelf"
  const size_t bracket = clean.find(" (");
  if (bracket != std::string::npos) row_of_.emplace(clean.substr(0, bracket), row);
  if (clean.find('/') != std::string::npos) {
    std::istringstream parts(clean);
    for (std::string part; std::getline(parts, part, '/');) row_of_.emplace(Clean(part), row);
  }
}

std::optional<NameTable::Match> NameTable::FindName(const std::string& words) const {
  std::vector<std::string> spellings = {words};
  for (std::string& singular : Singulars(words, wordnet_)) spellings.push_back(std::move(singular));
  for (const std::string& spelling : spellings) {
    const auto found = row_of_.find(spelling);
    if (found != row_of_.end()) return Match{{found->second}, spelling};
  }
  return std::nullopt;
}

std::optional<NameTable::Match> NameTable::FindPhrase(const std::string& words) const {
  auto found = phrases_.find(words);
  for (const std::string& singular : Singulars(words, wordnet_)) {
    if (found == phrases_.end()) found = phrases_.find(singular);
  }
  if (found == phrases_.end()) return std::nullopt;
  Match match;
  std::istringstream parts(found->second);
  for (std::string part; std::getline(parts, part, '+');) {
    const auto name = FindName(Clean(part));
    ATHANOR_CHECK(name.has_value(), name_, ": the phrase for '", found->first, "' names '",
                  Clean(part), "', which the table does not have");
    match.rows.push_back(name->rows.front());
    match.words += (match.words.empty() ? "" : " + ") + name->words;
  }
  return match;
}

std::optional<NameTable::Match> NameTable::FindByWordNet(const std::string& words) const {
  if (wordnet_ == nullptr) return std::nullopt;
  std::vector<int64_t> senses = wordnet_->Senses(words);
  for (const std::string& singular : Singulars(words, wordnet_)) {
    if (senses.empty()) senses = wordnet_->Senses(singular);
  }
  const auto add_words = [&](const WordNet::Synset& synset, Match* match) {
    for (const std::string& word : synset.words) {
      const auto found = row_of_.find(word);
      if (found == row_of_.end()) continue;
      if (std::find(match->rows.begin(), match->rows.end(), found->second) == match->rows.end()) {
        match->rows.push_back(found->second);
        match->words += (match->words.empty() ? "" : " + ") + word;
      }
      return true;
    }
    return false;
  };
  for (const int64_t sense : senses) {
    Match match;
    if (add_words(wordnet_->Read(sense), &match)) return match;
  }
  if (senses.empty()) return std::nullopt;
  // Rare senses lead astray from here on.
  const int64_t sense = senses.front();
  Match kinds;
  std::vector<int64_t> level = {sense};
  for (int step = 0; step < kStepsDown && kinds.rows.size() < kMaxKinds; ++step) {
    std::vector<int64_t> below;
    for (const int64_t synset : level) {
      for (const int64_t kind : wordnet_->Read(synset).kinds) {
        if (kinds.rows.size() < kMaxKinds) add_words(wordnet_->Read(kind), &kinds);
        below.push_back(kind);
      }
    }
    level = std::move(below);
  }
  if (kinds.rows.size() > 1) return kinds;
  level = {sense};
  for (int step = 0; step < kStepsUp; ++step) {
    std::vector<int64_t> above;
    for (const int64_t synset : level) {
      for (const int64_t what : wordnet_->Read(synset).kinds_of) {
        Match match;
        if (add_words(wordnet_->Read(what), &match)) return match;
        above.push_back(what);
      }
    }
    level = std::move(above);
  }
  return kinds.rows.empty() ? std::nullopt : std::optional<Match>(kinds);
}

std::optional<NameTable::Match> NameTable::FindByPurpose(const std::string& words) const {
  const auto purpose = ReadPurpose(words);
  if (wordnet_ == nullptr || !purpose.has_value()) return std::nullopt;
  const auto serves = [&](const std::string& name) {
    const std::vector<int64_t> senses = wordnet_->Senses(name);
    if (senses.empty()) return false;
    const WordNet::Synset sense = wordnet_->Read(senses.front());
    if (!kThings.contains(sense.lexicographer_file)) return false;
    if (Serves(sense.gloss, *purpose)) return true;
    const auto above = wordnet_->Ancestors(sense, kStepsUp);
    return std::any_of(above.begin(), above.end(),
                       [&](const WordNet::Synset& what) { return Serves(what.gloss, *purpose); });
  };
  std::set<std::string> names;  // in an order that the hash table's does not change
  for (const auto& [name, row] : row_of_) names.insert(name);
  for (const auto& [name, phrase] : phrases_) names.insert(name);
  Match match;
  for (const std::string& name : names) {
    if (!serves(name)) continue;
    auto found = FindName(name);
    if (!found.has_value()) found = FindPhrase(name);
    bool is_new = false;
    for (const int64_t row : found->rows) {
      if (std::find(match.rows.begin(), match.rows.end(), row) != match.rows.end()) continue;
      match.rows.push_back(row);
      is_new = true;
    }
    if (is_new) match.words += (match.words.empty() ? "" : " + ") + name;
  }
  return match.rows.empty() ? std::nullopt : std::optional<Match>(match);
}

std::optional<NameTable::Match> NameTable::FindWhole(const std::string& words) const {
  if (auto match = FindName(words)) return match;
  if (auto match = FindPhrase(words)) return match;
  return FindByWordNet(words);
}

std::optional<NameTable::Match> NameTable::Find(const std::string& prompt) const {
  const std::string words = WithoutArticles(Clean(prompt));
  if (auto match = FindWhole(words)) return match;
  if (auto match = FindByPurpose(words)) return match;
  const std::vector<std::string> parts = Words(words);
  Match mean;
  for (size_t begin = 0; begin < parts.size();) {
    size_t next = begin + 1;
    for (size_t end = std::min(parts.size(), begin + 4); end > begin; --end) {
      const std::string part = Join(parts, begin, end);
      if (kGrammar.contains(part)) continue;
      const auto match = FindWhole(part);
      if (!match.has_value()) continue;
      mean.rows.insert(mean.rows.end(), match->rows.begin(), match->rows.end());
      mean.words += (mean.words.empty() ? "" : " + ") + match->words;
      next = end;
      break;
    }
    begin = next;
  }
  return mean.rows.empty() ? std::nullopt : std::optional<Match>(mean);
}

std::string NameTable::Explain(const std::string& prompt) const {
  const auto match = Find(prompt);
  return match.has_value() ? match->words : "";
}

at::Tensor NameTable::Encode(std::span<const std::string> prompts) {
  std::vector<at::Tensor> rows;
  for (const std::string& prompt : prompts) {
    ATHANOR_CHECK(!Clean(prompt).empty(), "an empty prompt");
    ATHANOR_CHECK(prompt.size() <= kMaxPromptBytes, "prompt '", prompt.substr(0, 40),
                  "...': ", prompt.size(), " bytes, expected at most ", kMaxPromptBytes);
    const auto match = Find(prompt);
    ATHANOR_CHECK(match.has_value(), "prompt '", prompt, "': none of its words is among the ",
                  row_of_.size(), " names of ", name_,
                  wordnet_ == nullptr ? " (wordnet-base would add words)" : "",
                  "; the text encoder of a CLIP model reads any phrase (athanor models list)");
    const at::Tensor mean = vectors_.index({at::tensor(match->rows, at::kLong)}).mean(0);
    rows.push_back(mean / mean.norm().clamp_min(1e-12));
  }
  return rows.empty() ? at::empty({0, vectors_.size(1)}) : at::stack(rows);
}

}  // namespace athanor
