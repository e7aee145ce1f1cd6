// Teachers and text encoders by name.
#pragma once

#include <memory>
#include <string>

#include "athanor/scenes/semantics/teachers/teacher.h"

namespace athanor {

// The name of a card, or the path of one. Throws Error for what names no teacher.
std::unique_ptr<Teacher> OpenTeacher(const std::string& name_or_card);

// The encoder whose vectors can be compared with features of this space. Throws Error when there is
// none.
std::unique_ptr<TextEncoder> OpenTextEncoder(const std::string& space);

}  // namespace athanor
