// The tokenizer of CLIP (Radford et al. 2021): byte-pair encoding of lower-cased text, 49,408
// tokens.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace athanor {

class ClipTokenizer {
 public:
  static constexpr int32_t kStart = 49406, kEnd = 49407;

  // CLIP's bpe_simple_vocab_16e6.txt, packed (.gz) or plain. Throws Error (path, line).
  explicit ClipTokenizer(const std::filesystem::path& vocabulary);

  // Tokens of a text, kStart and kEnd around them. Before that, as OpenAI's does: curly quotes,
  // ligatures and full-width letters become plain ones, NFC, HTML entities (numeric ones, and the
  // names of HTML 2 and Latin-1) are replaced twice, runs of white space become one space, lower
  // case. Text that was decoded wrongly once ("cafÃ©") stays as it is. Throws Error for text that
  // is not UTF-8.
  std::vector<int32_t> Encode(std::string_view text) const;

  // [context] tokens, zeros after the end. Throws Error (prompt, its tokens) for an empty one and
  // for one that does not fit.
  std::vector<int32_t> EncodePadded(std::string_view text, int context) const;

 private:
  void AppendWord(std::string_view word, std::vector<int32_t>* tokens) const;

  std::unordered_map<std::string, int32_t> id_of_;
  std::unordered_map<std::string, int32_t> rank_of_;  // "left right" of a merge
};

}  // namespace athanor
