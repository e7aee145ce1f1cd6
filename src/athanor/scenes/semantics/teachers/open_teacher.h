// Teachers and text encoders by name: what a card says, put together from the parts that it needs.
#pragma once

#include <memory>
#include <string>

#include "athanor/nn/model_store.h"
#include "athanor/scenes/semantics/teachers/teacher.h"

namespace athanor {

// `name_or_card`: "embedded" (a small one of our own), the name of a card
// (`athanor models list`) or the path of one. "a+b" joins teachers end to end, "a|b" adds vectors
// of one text space. Throws Error: no such card, a file that is not in the store (and how to fetch
// it), a card that describes no teacher.
std::unique_ptr<Teacher> OpenTeacher(const std::string& name_or_card,
                                     const ModelStore& store = DefaultModelStore());

// The best encoder of the space whose files are in the store: a network that reads any phrase
// before a table of names. Throws Error saying what to fetch when there is none.
std::unique_ptr<TextEncoder> OpenTextEncoder(const std::string& space,
                                             const ModelStore& store = DefaultModelStore());

}  // namespace athanor
