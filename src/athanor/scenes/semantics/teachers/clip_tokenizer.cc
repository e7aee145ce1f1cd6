#include "athanor/scenes/semantics/teachers/clip_tokenizer.h"

#include <utf8proc.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <memory>
#include <sstream>

#include "athanor/base/error.h"

namespace athanor {
namespace {

constexpr int kMerges = 49152 - 256 - 2;
constexpr size_t kMaxVocabularyBytes = 16 << 20;
constexpr std::string_view kWordEnd = "</w>";
constexpr char32_t kCapitalSigma = 0x3a3, kCapitalIWithDot = 0x130;

std::string ToUtf8(char32_t code) {
  uint8_t bytes[4];
  const auto size = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code), bytes);
  return std::string(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
}

// A printable character for each byte, as GPT-2 and CLIP have it: bytes that are printable in
// Latin-1 stand for themselves, the others for 256, 257 ...; `order` is that of their tokens.
struct ByteAlphabet {
  std::array<std::string, 256> characters;
  std::vector<int> order;

  ByteAlphabet() {
    const auto is_plain = [](int b) {
      return (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
    };
    for (int b = 0; b < 256; ++b) {
      if (is_plain(b)) characters[b] = ToUtf8(static_cast<char32_t>(b)), order.push_back(b);
    }
    for (int b = 0, next = 256; b < 256; ++b) {
      if (!is_plain(b)) characters[b] = ToUtf8(static_cast<char32_t>(next++)), order.push_back(b);
    }
  }
};

const ByteAlphabet& Alphabet() {
  static const ByteAlphabet alphabet;
  return alphabet;
}

std::string ReadPacked(const std::filesystem::path& path) {
  const std::unique_ptr<gzFile_s, decltype(&gzclose)> file(gzopen(path.c_str(), "rb"), gzclose);
  ATHANOR_CHECK(file != nullptr, path.string(), ": no such file, or no permission");
  std::string text;
  std::vector<char> piece(1 << 16);
  int got;
  while ((got = gzread(file.get(), piece.data(), static_cast<unsigned>(piece.size()))) > 0) {
    text.append(piece.data(), static_cast<size_t>(got));
    ATHANOR_CHECK(text.size() <= kMaxVocabularyBytes, path.string(), ": more than ",
                  kMaxVocabularyBytes, " bytes, no vocabulary of CLIP");
  }
  int error = Z_OK;
  gzerror(file.get(), &error);
  ATHANOR_CHECK(got == 0 && error == Z_OK, path.string(), ": damaged or cut off after ",
                text.size(), " bytes of text");
  return text;
}

std::u32string Decode(std::string_view text) {
  std::u32string codes;
  for (size_t at = 0; at < text.size();) {
    utf8proc_int32_t code = 0;
    const auto size = utf8proc_iterate(reinterpret_cast<const uint8_t*>(text.data()) + at,
                                       static_cast<utf8proc_ssize_t>(text.size() - at), &code);
    ATHANOR_CHECK(size > 0, "prompt '", text.substr(0, std::min<size_t>(at, 40)),
                  "...': not UTF-8 at byte ", at);
    codes += static_cast<char32_t>(code);
    at += static_cast<size_t>(size);
  }
  return codes;
}

std::string Encode(const std::u32string& codes) {
  std::string text;
  for (const char32_t code : codes) text += ToUtf8(code);
  return text;
}

utf8proc_category_t Category(char32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code));
}

bool IsLetter(char32_t code) {
  const auto category = Category(code);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool IsDigit(char32_t code) {
  const auto category = Category(code);
  return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

bool IsSpace(char32_t code) {
  const auto category = Category(code);
  return (code >= 9 && code <= 13) || (code >= 28 && code <= 31) || code == 0x85 ||
         (category >= UTF8PROC_CATEGORY_ZS && category <= UTF8PROC_CATEGORY_ZP);
}

// What ftfy does to sound text: plain quotes, letters of full width and ligatures, NFC.
std::u32string MakePlain(const std::u32string& codes) {
  static const std::unordered_map<char32_t, std::u32string> replaced = {
      {0x2018, U"'"},   {0x2019, U"'"},   {0x201a, U"'"},      {0x201b, U"'"},
      {0x201c, U"\""},  {0x201d, U"\""},  {0x201e, U"\""},     {0x201f, U"\""},
      {0x3000, U" "},   {0xfb00, U"ff"},  {0xfb01, U"fi"},     {0xfb02, U"fl"},
      {0xfb03, U"ffi"}, {0xfb04, U"ffl"}, {0xfb05, U"\x17ft"}, {0xfb06, U"st"}};
  std::u32string plain;
  for (const char32_t code : codes) {
    const auto found = replaced.find(code);
    if (found != replaced.end()) {
      plain += found->second;
    } else if (code >= 0xff01 && code <= 0xff5e) {
      plain += code - 0xff01 + '!';
    } else {
      plain += code;
    }
  }
  const std::string text = Encode(plain);
  utf8proc_uint8_t* composed = nullptr;
  const auto size = utf8proc_map(
      reinterpret_cast<const uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
      &composed, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  ATHANOR_CHECK(size >= 0, "prompt '", text.substr(0, 40), "': ", utf8proc_errmsg(size));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owned(composed, std::free);
  return Decode({reinterpret_cast<const char*>(composed), static_cast<size_t>(size)});
}

// The code of an entity's name; 0 for one that we do not know.
char32_t NamedEntity(const std::string& name) {
  static const std::unordered_map<std::string, char32_t> codes = [] {
    std::unordered_map<std::string, char32_t> made = {
        {"amp", '&'},      {"lt", '<'},        {"gt", '>'},       {"quot", '"'},
        {"apos", '\''},    {"hellip", 0x2026}, {"ndash", 0x2013}, {"mdash", 0x2014},
        {"lsquo", 0x2018}, {"rsquo", 0x2019},  {"ldquo", 0x201c}, {"rdquo", 0x201d},
        {"bull", 0x2022},  {"trade", 0x2122},  {"euro", 0x20ac}};
    // 160 to 255, in order.
    std::istringstream latin(
        "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg "
        "plusmn sup2 sup3 acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 "
        "iquest Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave "
        "Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute "
        "Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring aelig ccedil egrave "
        "eacute ecirc euml igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml "
        "divide oslash ugrave uacute ucirc uuml yacute thorn yuml");
    char32_t code = 160;
    for (std::string each; latin >> each;) made[each] = code++;
    return made;
  }();
  const auto found = codes.find(name);
  return found == codes.end() ? 0 : found->second;
}

std::u32string ReplaceEntities(const std::u32string& codes) {
  std::u32string replaced;
  for (size_t at = 0; at < codes.size(); ++at) {
    const size_t end = codes[at] == '&' ? codes.find(U';', at) : std::u32string::npos;
    char32_t code = 0;
    if (end != std::u32string::npos && end - at <= 12) {
      const std::string name = Encode(codes.substr(at + 1, end - at - 1));
      if (name.starts_with("#")) {
        const bool is_hex = name.size() > 2 && (name[1] == 'x' || name[1] == 'X');
        uint32_t number = 0;
        const char* last = name.data() + name.size();
        const auto parsed =
            std::from_chars(name.data() + (is_hex ? 2 : 1), last, number, is_hex ? 16 : 10);
        if (parsed.ec == std::errc() && parsed.ptr == last && number > 0 &&
            utf8proc_codepoint_valid(static_cast<utf8proc_int32_t>(number))) {
          code = number;
        }
      } else {
        code = NamedEntity(name);
      }
    }
    replaced += code != 0 ? code : codes[at];
    if (code != 0) at = end;
  }
  return replaced;
}

std::u32string Lower(const std::u32string& codes) {
  std::u32string lower;
  for (size_t i = 0; i < codes.size(); ++i) {
    if (codes[i] == kCapitalSigma) {
      // At the end of a word it has a form of its own.
      const bool after = i > 0 && IsLetter(codes[i - 1]);
      const bool before = i + 1 < codes.size() && IsLetter(codes[i + 1]);
      lower += after && !before ? U'\x3c2' : U'\x3c3';
    } else if (codes[i] == kCapitalIWithDot) {
      lower += U"i\x307";
    } else {
      lower += static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(codes[i])));
    }
  }
  return lower;
}

// The end of the word that begins at `at`: the endings of English, letters, one digit, or what is
// neither.
size_t WordEnd(const std::u32string& text, size_t at) {
  for (const std::u32string_view whole :
       {U"<|startoftext|>", U"<|endoftext|>", U"'s", U"'t", U"'re", U"'ve", U"'m", U"'ll", U"'d"}) {
    if (text.compare(at, whole.size(), whole) == 0) return at + whole.size();
  }
  size_t end = at;
  if (IsDigit(text[at])) return at + 1;
  if (IsLetter(text[at])) {
    while (end < text.size() && IsLetter(text[end])) ++end;
    return end;
  }
  while (end < text.size() && !IsLetter(text[end]) && !IsDigit(text[end]) && !IsSpace(text[end])) {
    ++end;
  }
  return end;
}

}  // namespace

ClipTokenizer::ClipTokenizer(const std::filesystem::path& vocabulary) {
  std::istringstream lines(ReadPacked(vocabulary));
  const ByteAlphabet& alphabet = Alphabet();
  int32_t next = 0;
  for (const int byte : alphabet.order) id_of_[alphabet.characters[byte]] = next++;
  for (const int byte : alphabet.order) {
    id_of_[alphabet.characters[byte] + std::string(kWordEnd)] = next++;
  }
  std::string line;
  std::getline(lines, line);  // the version
  for (int i = 0; i < kMerges; ++i) {
    ATHANOR_CHECK(std::getline(lines, line), vocabulary.string(), ": ends after ", i,
                  " merges, expected ", kMerges);
    const size_t gap = line.find(' ');
    ATHANOR_CHECK(gap != std::string::npos && gap > 0 && gap + 1 < line.size() &&
                      line.find(' ', gap + 1) == std::string::npos,
                  vocabulary.string(), ":", i + 2, ": expected two parts of a word, found '", line,
                  "'");
    rank_of_.emplace(line, i);
    id_of_.emplace(line.substr(0, gap) + line.substr(gap + 1), next++);
  }
  id_of_["<|startoftext|>"] = kStart;
  id_of_["<|endoftext|>"] = kEnd;
}

void ClipTokenizer::AppendWord(std::string_view word, std::vector<int32_t>* tokens) const {
  std::vector<std::string> parts;
  for (const char c : word) parts.push_back(Alphabet().characters[static_cast<uint8_t>(c)]);
  parts.back() += kWordEnd;
  while (parts.size() > 1) {
    int32_t best = std::numeric_limits<int32_t>::max();
    std::string left, right;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto found = rank_of_.find(parts[i] + " " + parts[i + 1]);
      if (found != rank_of_.end() && found->second < best) {
        best = found->second;
        left = parts[i];
        right = parts[i + 1];
      }
    }
    if (left.empty()) break;
    std::vector<std::string> merged;
    for (size_t i = 0; i < parts.size(); ++i) {
      if (i + 1 < parts.size() && parts[i] == left && parts[i + 1] == right) {
        merged.push_back(left + right);
        ++i;
      } else {
        merged.push_back(parts[i]);
      }
    }
    parts = std::move(merged);
  }
  for (const std::string& part : parts) {
    const auto found = id_of_.find(part);
    ATHANOR_CHECK(found != id_of_.end(), "the vocabulary has no token '", part, "'");
    tokens->push_back(found->second);
  }
}

std::vector<int32_t> ClipTokenizer::Encode(std::string_view text) const {
  std::u32string codes = MakePlain(Decode(text));
  codes = Lower(ReplaceEntities(ReplaceEntities(codes)));
  std::vector<int32_t> tokens = {kStart};
  for (size_t at = 0; at < codes.size();) {
    if (IsSpace(codes[at])) {
      ++at;
      continue;
    }
    const size_t end = WordEnd(codes, at);
    const std::string word = athanor::Encode(codes.substr(at, end - at));
    if (word == "<|startoftext|>" || word == "<|endoftext|>") {
      tokens.push_back(id_of_.at(word));
    } else {
      AppendWord(word, &tokens);
    }
    at = end;
  }
  tokens.push_back(kEnd);
  return tokens;
}

std::vector<int32_t> ClipTokenizer::EncodePadded(std::string_view text, int context) const {
  std::vector<int32_t> tokens = Encode(text);
  ATHANOR_CHECK(tokens.size() > 2, "an empty prompt");
  ATHANOR_CHECK(static_cast<int>(tokens.size()) <= context, "prompt '", text.substr(0, 40),
                "...' has ", tokens.size(), " tokens, expected at most ", context,
                ", those of begin and end included: shorten it");
  tokens.resize(static_cast<size_t>(context), 0);
  return tokens;
}

}  // namespace athanor
