#include "athanor/scenes/semantics/teachers/embedded/embedded_teacher.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/hash.h"
#include "athanor/base/log.h"
#include "athanor/scenes/semantics/wordnet.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "athanor embedded teacher 1";
constexpr int kLargestSide_px = 4096;

const std::string& Metadata(const SafeTensors& file, const char* name, std::string_view where) {
  const auto it = file.metadata.find(name);
  ATHANOR_CHECK(it != file.metadata.end(), where, ": expected '", name,
                "' in the metadata of a file of train-teacher, found none");
  return it->second;
}

// The content names the space: vectors of other weights mean other things.
std::string SpaceOf(const SafeTensors& file) {
  uint64_t hash = 0;
  for (const auto& [name, tensor] : file.tensors) {
    hash = HashBytes(name, hash);
    hash = HashBytes({static_cast<const char*>(tensor.data_ptr()),
                      static_cast<size_t>(tensor.numel()) * tensor.element_size()},
                     hash);
  }
  return "embedded-" + HexDigits(hash).substr(0, 8);
}

// The nearest thing that a noun is a kind of, in words that are all known; empty: none.
std::string KnownKindOf(const std::string& noun, const Vocabulary& vocabulary) {
  constexpr int kStepsUp = 5;
  // lexnames(5WN): the most general nouns, animals, artifacts, food, persons, plants.
  static const std::set<int> kThings = {3, 5, 6, 13, 18, 20};
  const WordNet* wordnet = WordNet::Installed();
  if (wordnet == nullptr) return {};
  std::vector<int64_t> senses = wordnet->Senses(noun);
  if (senses.empty()) senses = wordnet->Senses(wordnet->Singular(noun));
  if (senses.empty() && noun.ends_with('s')) {
    senses = wordnet->Senses(noun.substr(0, noun.size() - 1));
  }
  for (const int64_t offset : senses) {
    const WordNet::Synset sense = wordnet->Read(offset);
    if (!kThings.contains(sense.lexicographer_file)) continue;
    for (const WordNet::Synset& above : wordnet->Ancestors(sense, kStepsUp)) {
      for (const std::string& name : above.words) {
        const Vocabulary::Tokens tokens = vocabulary.Tokenize(name);
        if (!tokens.ids.empty() && tokens.unknown.empty()) return name;
      }
    }
    return {};  // rarer senses are not what was meant
  }
  return {};
}

}  // namespace

void DescribeEmbedded(const EmbeddedNetworkShape& shape, const Vocabulary& vocabulary,
                      SafeTensors* file) {
  const Json json = {{"dimension", shape.dimension},
                     {"channels", shape.channels},
                     {"blocks", shape.blocks},
                     {"decoder", shape.decoder},
                     {"words", shape.words},
                     {"text_width", shape.text_width},
                     {"text_layers", shape.text_layers},
                     {"text_heads", shape.text_heads}};
  file->metadata["format"] = kFormat;
  file->metadata["shape"] = json.dump();
  std::string words;
  for (const std::string& word : vocabulary.words()) words += word + "\n";
  file->metadata["vocabulary"] = words;
}

EmbeddedNetworkShape ReadEmbeddedShape(const SafeTensors& file, std::string_view where) {
  ATHANOR_CHECK(Metadata(file, "format", where) == kFormat, where, ": expected the format '",
                kFormat, "', found '", Metadata(file, "format", where), "'");
  const Json json = Json::parse(Metadata(file, "shape", where), nullptr, false);
  EmbeddedNetworkShape shape;
  try {
    shape.dimension = json.at("dimension").get<int>();
    shape.channels = json.at("channels").get<std::vector<int>>();
    shape.blocks = json.at("blocks").get<std::vector<int>>();
    shape.decoder = json.at("decoder").get<int>();
    shape.words = json.at("words").get<int>();
    shape.text_width = json.at("text_width").get<int>();
    shape.text_layers = json.at("text_layers").get<int>();
    shape.text_heads = json.at("text_heads").get<int>();
  } catch (const Json::exception& error) {
    throw Error(StrCat(where, ": 'shape' in the metadata: ", error.what()));
  }
  // Sizes are checked before memory is taken.
  const auto check = [&](const char* what, int value, int low, int high) {
    ATHANOR_CHECK(value >= low && value <= high, where, ": expected ", what, " from ", low, " to ",
                  high, ", found ", value);
  };
  check("dimension", shape.dimension, 1, 4096);
  check("decoder", shape.decoder, 1, 4096);
  check("words", shape.words, 1, 1000000);
  check("text_width", shape.text_width, 1, 4096);
  check("text_layers", shape.text_layers, 0, 64);
  check("text_heads", shape.text_heads, 1, shape.text_width);
  check("levels", static_cast<int>(shape.channels.size()), 5, 5);
  check("levels", static_cast<int>(shape.blocks.size()), 5, 5);
  for (const int channels : shape.channels) check("channels", channels, 1, 4096);
  for (const int blocks : shape.blocks) check("blocks", blocks, 0, 64);
  return shape;
}

Vocabulary ReadEmbeddedVocabulary(const SafeTensors& file, std::string_view where) {
  std::istringstream lines(Metadata(file, "vocabulary", where));
  std::vector<std::string> words;
  for (std::string word; std::getline(lines, word);) words.push_back(word);
  try {
    return Vocabulary(std::move(words));
  } catch (const Error& error) {
    throw Error(StrCat(where, ": ", error.what()));
  }
}

EmbeddedTeacher::EmbeddedTeacher(const SafeTensors& file, std::string_view where, std::string space,
                                 const EmbeddedOptions& options)
    : shape_(ReadEmbeddedShape(file, where)),
      space_(std::move(space)),
      options_(options),
      network_(shape_, 0) {
  ATHANOR_CHECK(options.side_px >= 32 && options.side_px <= kLargestSide_px,
                "embedded teacher: expected a side of 32 to ", kLargestSide_px, " pixels, found ",
                options.side_px);
  network_.LoadFolded(file, where);
}

std::string EmbeddedTeacher::key() const { return StrCat(space_, "-", options_.side_px); }

ViewFeatures EmbeddedTeacher::Describe(const Image& rgb, const std::string& name) {
  ATHANOR_CHECK(rgb.width > 0 && rgb.height > 0 && rgb.channels == 3, "embedded teacher: ", name,
                ": expected a colour picture, found ", rgb.width, " x ", rgb.height, " of ",
                rgb.channels, " channels");
  const at::NoGradGuard no_grad;
  // Each side becomes a multiple of 32; the small change of shape cancels out in the grid's cells.
  const double area = static_cast<double>(rgb.width) * rgb.height;
  const double factor =
      std::min(options_.side_px * std::sqrt(0.75 / area),
               static_cast<double>(kLargestSide_px) / std::max(rgb.width, rgb.height));
  const auto side = [&](int pixels) {
    return std::max(32, 32 * static_cast<int>(std::lround(pixels * factor / 32)));
  };
  const Image picture = Resize(rgb, side(rgb.width), side(rgb.height));
  const at::Tensor bytes = at::from_blob(const_cast<uint8_t*>(picture.data.data()),
                                         {1, picture.height, picture.width, 3}, at::kByte);
  const at::Tensor images = bytes.permute({0, 3, 1, 2}).to(at::kFloat) / 255;
  at::Tensor map = network_.Forward(images, /*training=*/false);
  // A picture so small has no more cells than pixels.
  const int64_t rows = std::min<int64_t>(map.size(2), rgb.height);
  const int64_t columns = std::min<int64_t>(map.size(3), rgb.width);
  if (rows < map.size(2) || columns < map.size(3)) {
    map = at::adaptive_avg_pool2d(map, {rows, columns});
  }
  ViewFeatures features;
  features.width_px = rgb.width;
  features.height_px = rgb.height;
  features.features = map[0].permute({1, 2, 0}).contiguous().to(at::kHalf);
  return features;
}

EmbeddedText::EmbeddedText(const SafeTensors& file, std::string_view where, std::string space)
    : shape_(ReadEmbeddedShape(file, where)),
      space_(std::move(space)),
      vocabulary_(ReadEmbeddedVocabulary(file, where)),
      network_(shape_, 0) {
  ATHANOR_CHECK(static_cast<int>(vocabulary_.words().size()) == shape_.words, where, ": expected ",
                shape_.words, " words, found ", vocabulary_.words().size());
  network_.parameters().Load("text.", file, where);
}

std::string EmbeddedText::Read(const std::string& prompt) const {
  std::string text;
  for (const std::string& word : SplitWords(prompt)) {
    const std::string read = vocabulary_.Find(word) >= 0 ? "" : KnownKindOf(word, vocabulary_);
    text += (text.empty() ? "" : " ") + (read.empty() ? word : read);
  }
  return text;
}

std::string EmbeddedText::Explain(const std::string& prompt) const {
  std::string plain;
  for (const std::string& word : SplitWords(prompt)) plain += (plain.empty() ? "" : " ") + word;
  const std::string read = Read(prompt);
  return read == plain ? "" : read;
}

std::vector<std::string> EmbeddedText::UnknownWords(std::string_view prompt) const {
  return vocabulary_.Tokenize(prompt).unknown;
}

at::Tensor EmbeddedText::Encode(std::span<const std::string> prompts) {
  const at::NoGradGuard no_grad;
  std::vector<std::vector<int>> ids;
  const auto list = [](const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) text += (text.empty() ? "'" : ", '") + word + "'";
    return text;
  };
  for (const std::string& prompt : prompts) {
    Vocabulary::Tokens tokens = vocabulary_.Tokenize(Read(prompt));
    ATHANOR_CHECK(!tokens.ids.empty() || !tokens.unknown.empty(), "prompt '", prompt,
                  "': expected words that say what to look for, found none");
    ATHANOR_CHECK(!tokens.ids.empty(), "prompt '", prompt, "': the embedded teacher does not know ",
                  list(tokens.unknown), "; spelt alike are ",
                  list(vocabulary_.Nearest(tokens.unknown[0], 4)));
    if (!tokens.unknown.empty()) {
      LogWarning(StrCat("prompt '", prompt, "': the embedded teacher does not know ",
                        list(tokens.unknown), " and reads the rest"));
    }
    ids.push_back(std::move(tokens.ids));
  }
  if (ids.empty()) return at::empty({0, shape_.dimension}, at::kFloat);
  return network_.Forward(ids, /*training=*/false);
}

EmbeddedPair EmbeddedPair::FromTensors(const SafeTensors& file, std::string_view where,
                                       const EmbeddedOptions& options) {
  const std::string space = SpaceOf(file);
  EmbeddedPair pair;
  pair.teacher.reset(new EmbeddedTeacher(file, where, space, options));
  pair.text.reset(new EmbeddedText(file, where, space));
  return pair;
}

EmbeddedPair OpenEmbedded(const fs::path& path, const EmbeddedOptions& options) {
  return EmbeddedPair::FromTensors(ReadSafeTensors(path), path.string(), options);
}

fs::path FindEmbeddedModel() {
  const fs::path file = fs::path("athanor-words") / "teacher.safetensors";
  if (const char* chosen = std::getenv("ATHANOR_MODELS"); chosen != nullptr && *chosen != '\0') {
    std::error_code error;
    if (fs::exists(fs::path(chosen) / file, error)) return fs::path(chosen) / file;
  }
  return FindShared("models" / file);
}

}  // namespace athanor
