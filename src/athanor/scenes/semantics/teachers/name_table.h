// A text encoder without a network: text vectors of a few thousand names, computed once by the real
// one, found by name.
#pragma once

#include <optional>
#include <unordered_map>

#include "athanor/nn/model_card.h"
#include "athanor/nn/model_store.h"
#include "athanor/scenes/semantics/teachers/teacher.h"
#include "athanor/scenes/semantics/wordnet.h"

namespace athanor {

// A prompt becomes a vector by the first of these that works, after "a photo of", articles and case
// are gone:
//   1. the name itself, or a synonym that the table lists, in the singular if need be;
//   2. the card's phrase for it ("road" = "road map + street light"): the mean of names;
//   3. WordNet: another word of the same sense; the mean of the kinds of it that have names
//      ("vehicle"); the nearest thing that it is a kind of ("terrier": dog), three steps up at
//      most;
//   4. "something to sit on": the mean of the names that are for it by WordNet's definitions, of
//      themselves or of what they are kinds of;
//   5. the mean of the longest parts of the phrase that 1 to 3 know, words of grammar aside.
// What none of them knows ("something that my aunt likes") needs a network: an Error says so.
class NameTable : public TextEncoder {
 public:
  // Card of kind "names". Files come in pairs of roles "vectors:X" (.npy, [N,D] f16 or f32) and
  // "names:X" (.txt: one name a line; .csv: the last column; .json: LVIS's categories, synonyms).
  // `wordnet` may be null. Throws Error.
  NameTable(const ModelCard& card, const ModelStore& store, const WordNet* wordnet);

  std::string space() const override { return space_; }
  int dimension() const override { return static_cast<int>(vectors_.size(1)); }
  at::Tensor Encode(std::span<const std::string> prompts) override;

  std::string Explain(const std::string& prompt) const override;
  int64_t size() const { return vectors_.size(0); }

 private:
  struct Match {
    std::vector<int64_t> rows;
    std::string words;
  };
  void AddNames(const std::string& names_path, const std::string& text, int64_t first,
                int64_t count);
  void AddName(std::string name, int64_t row);
  std::optional<Match> FindName(const std::string& words) const;
  std::optional<Match> FindPhrase(const std::string& words) const;
  std::optional<Match> FindByWordNet(const std::string& words) const;
  std::optional<Match> FindByPurpose(const std::string& words) const;
  std::optional<Match> FindWhole(const std::string& words) const;
  std::optional<Match> Find(const std::string& prompt) const;

  std::string name_, space_;
  at::Tensor vectors_;  // [N,D] f32, rows of length 1
  std::unordered_map<std::string, int64_t> row_of_;
  std::map<std::string, std::string> phrases_;
  const WordNet* wordnet_;
};

// A .npy file of [N,D] float16 or float32, as float32 (format: numpy.lib.format, versions 1 to 3).
// Throws Error (path, what was expected).
at::Tensor ReadNpyMatrix(const std::filesystem::path& path);

}  // namespace athanor
