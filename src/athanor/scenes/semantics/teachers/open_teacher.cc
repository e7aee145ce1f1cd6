#include "athanor/scenes/semantics/teachers/open_teacher.h"

#include "athanor/base/error.h"
#include "athanor/nn/model_card.h"
#include "athanor/scenes/semantics/teachers/conse_teacher.h"
#include "athanor/scenes/semantics/teachers/embedded/embedded_teacher.h"
#include "athanor/scenes/semantics/teachers/name_table.h"

namespace athanor {

std::unique_ptr<Teacher> OpenTeacher(const std::string& name_or_card, const ModelStore& store) {
  if (name_or_card == "embedded") return OpenEmbedded(FindEmbeddedModel()).teacher;
  const ModelCard card = FindModelCard(name_or_card);
  if (card.kind == "closed-vocabulary") {
    const auto words = OpenTextEncoder(card.text_space, store);
    return std::make_unique<ConseTeacher>(card, store, *words);
  }
  throw Error(card.path.string() + ": a card of kind '" + card.kind + "' describes no teacher");
}

std::unique_ptr<TextEncoder> OpenTextEncoder(const std::string& space, const ModelStore& store) {
  if (space.starts_with("embedded-")) {
    EmbeddedPair pair = OpenEmbedded(FindEmbeddedModel());
    ATHANOR_CHECK(pair.text->space() == space, "expected the text space '", space,
                  "', found embedded weights of '", pair.text->space(),
                  "': features of other weights need their own text encoder");
    return std::move(pair.text);
  }
  std::string names;
  for (const ModelCard& card : ListModelCards()) {
    if (card.kind != "names" || card.text_space != space) continue;
    if (store.HasAll(card)) {
      return std::make_unique<NameTable>(card, store, WordNet::Installed());
    }
    names += (names.empty() ? "" : " or ") + card.name;
  }
  ATHANOR_CHECK(!names.empty(), "no model card has a text encoder of the space '", space, "'");
  throw Error("no text encoder of the space '" + space + "' in " + store.folder.string() +
              "; fetch one: athanor models fetch " + names);
}

}  // namespace athanor
