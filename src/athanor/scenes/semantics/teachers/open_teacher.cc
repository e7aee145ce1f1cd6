#include "athanor/scenes/semantics/teachers/open_teacher.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/nn/model_card.h"
#include "athanor/scenes/semantics/teachers/clip_model.h"
#include "athanor/scenes/semantics/teachers/conse_teacher.h"
#include "athanor/scenes/semantics/teachers/embedded/embedded_teacher.h"
#include "athanor/scenes/semantics/teachers/families.h"
#include "athanor/scenes/semantics/teachers/id_maps.h"
#include "athanor/scenes/semantics/teachers/name_table.h"

namespace athanor {
namespace {

constexpr const char* kGraph = "graph";

// Encoders of several spaces as one: vectors end to end, brought to length 1 together.
class JoinedEncoder : public TextEncoder {
 public:
  explicit JoinedEncoder(std::vector<std::unique_ptr<TextEncoder>> parts)
      : parts_(std::move(parts)) {}

  std::string space() const override {
    std::string spaces;
    for (const auto& part : parts_) {
      if (!spaces.empty()) spaces += '+';
      spaces += part->space();
    }
    return spaces;
  }
  int dimension() const override {
    int sum = 0;
    for (const auto& part : parts_) sum += part->dimension();
    return sum;
  }
  at::Tensor Encode(std::span<const std::string> prompts) override {
    std::vector<at::Tensor> vectors;
    for (const auto& part : parts_) vectors.push_back(part->Encode(prompts));
    return at::cat(vectors, 1) / std::sqrt(static_cast<double>(parts_.size()));
  }
  // What the parts say, each once.
  std::string Explain(const std::string& prompt) const override {
    std::vector<std::string> said;
    std::string all;
    for (const auto& part : parts_) {
      const std::string words = part->Explain(prompt);
      if (words.empty() || std::find(said.begin(), said.end(), words) != said.end()) continue;
      said.push_back(words);
      all += (all.empty() ? "" : "; ") + words;
    }
    return all;
  }

 private:
  std::vector<std::unique_ptr<TextEncoder>> parts_;
};

// The weights of "embedded", or a file of them; empty for other names.
std::filesystem::path EmbeddedFile(const std::string& name) {
  if (name == "embedded") return FindEmbeddedModel();
  return name.ends_with(".safetensors") ? std::filesystem::path(name) : std::filesystem::path();
}

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == separator) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

std::unique_ptr<Teacher> OpenOne(const std::string& name, const ModelStore& store) {
  const size_t at = name.rfind('@');
  const std::string chosen_masks = at == std::string::npos ? "" : name.substr(at + 1);
  if (const auto file = EmbeddedFile(name.substr(0, at)); !file.empty()) {
    std::unique_ptr<Teacher> embedded = OpenEmbedded(file).teacher;
    if (chosen_masks.empty()) return embedded;
    return std::make_unique<PooledTeacher>(std::move(embedded),
                                           OpenMaskSource(chosen_masks, store));
  }
  const ModelCard card = FindModelCard(name.substr(0, at));
  const auto masks = [&] {
    const auto part = card.parts.find("masks");
    return OpenMaskSource(!chosen_masks.empty()      ? chosen_masks
                          : part != card.parts.end() ? part->second
                                                     : kGraph,
                          store);
  };
  if (card.kind == "clip") {
    ClipImageEncoder encoder(card, store);
    return std::make_unique<RegionTeacher>(card, store, std::move(encoder), masks());
  }
  std::unique_ptr<Teacher> dense;
  if (card.kind == "pixel") {
    dense = std::make_unique<PixelTeacher>(card, store);
  } else if (card.kind == "closed-vocabulary" || card.kind == "detector") {
    const auto words = OpenTextEncoder(card.text_space, store);
    if (card.kind == "detector") {
      return std::make_unique<InstanceTeacher>(card, store, *words, masks());
    }
    dense = std::make_unique<ConseTeacher>(card, store, *words);
  }
  ATHANOR_CHECK(dense != nullptr, card.path.string(), ": a card of kind '", card.kind,
                "' describes no teacher");
  if (chosen_masks.empty()) return dense;
  return std::make_unique<PooledTeacher>(std::move(dense), masks());
}

}  // namespace

std::unique_ptr<Teacher> OpenTeacher(const std::string& name, const ModelStore& store) {
  const bool is_mean = name.find('|') != std::string::npos;
  ATHANOR_CHECK(!is_mean || name.find('+') == std::string::npos, "teacher '", name,
                "': '+' and '|' do not go together");
  const std::vector<std::string> names = Split(name, is_mean ? '|' : '+');
  if (names.size() == 1) return OpenOne(name, store);
  std::vector<std::unique_ptr<Teacher>> teachers;
  for (const std::string& each : names) teachers.push_back(OpenOne(each, store));
  return std::make_unique<FusedTeacher>(std::move(teachers),
                                        is_mean ? Fusion::kMean : Fusion::kConcat);
}

TeacherWithWords OpenTeacherWithWords(const std::string& name, const ModelStore& store) {
  TeacherWithWords both;
  if (IsIdMaps(name)) {
    auto maps = std::make_unique<IdMapTeacher>(name);
    both.encoder = maps->labels().empty() ? OpenTextEncoder(maps->text_space(), store)
                                          : MakeLabelEncoder(maps->labels());
    both.teacher = std::move(maps);
    return both;
  }
  both.weights = EmbeddedFile(name.substr(0, name.rfind('@')));
  both.teacher = OpenTeacher(name, store);
  ATHANOR_CHECK(!both.teacher->text_space().empty(), "teacher '", name,
                "': words mean nothing to it");
  both.encoder = both.weights.empty() ? OpenTextEncoder(both.teacher->text_space(), store)
                                      : std::move(OpenEmbedded(both.weights).text);
  return both;
}

std::unique_ptr<MaskSource> OpenMaskSource(const std::string& name, const ModelStore& store) {
  if (name == kGraph) return MakeGraphSegmenter();
  const ModelCard card = FindModelCard(name);
  ATHANOR_CHECK(card.kind == "sam", card.path.string(), ": expected a card of kind 'sam', found '",
                card.kind, "'");
  return OpenSam(card, store);
}

std::unique_ptr<TextEncoder> OpenTextEncoder(const std::string& space, const ModelStore& store) {
  if (space.starts_with("embedded-") && space.find('+') == std::string::npos) {
    EmbeddedPair pair = OpenEmbedded(FindEmbeddedModel());
    ATHANOR_CHECK(pair.text->space() == space, "expected the text space '", space,
                  "', found embedded weights of '", pair.text->space(),
                  "': features of other weights need their own text encoder");
    return std::move(pair.text);
  }
  const std::vector<std::string> spaces = Split(space, '+');
  if (spaces.size() > 1) {
    std::vector<std::unique_ptr<TextEncoder>> parts;
    for (const std::string& each : spaces) parts.push_back(OpenTextEncoder(each, store));
    return std::make_unique<JoinedEncoder>(std::move(parts));
  }
  std::string names;
  for (const char* kind : {"clip", "names"}) {
    for (const ModelCard& card : ListModelCards()) {
      if (card.kind != kind || card.text_space != space) continue;
      names += (names.empty() ? "" : " (or ") + card.name + (names.empty() ? "" : ")");
      if (!store.HasAll(card)) continue;
      if (card.kind == "clip") return std::make_unique<ClipTextEncoder>(card, store);
      return std::make_unique<NameTable>(card, store, WordNet::Installed());
    }
  }
  ATHANOR_CHECK(!names.empty(), "no model card has a text encoder of the space '", space, "'");
  throw Error("no text encoder of the space '" + space + "' in " + store.folder.string() +
              "; fetch one: athanor models fetch " + names);
}

}  // namespace athanor
