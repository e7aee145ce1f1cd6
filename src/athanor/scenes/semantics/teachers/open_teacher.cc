#include "athanor/scenes/semantics/teachers/open_teacher.h"

#include "athanor/base/error.h"

namespace athanor {

std::unique_ptr<Teacher> OpenTeacher(const std::string& name_or_card) {
  throw Error(StrCat("teacher '", name_or_card,
                     "': expected a folder of id maps (PNG), or a card of them (JSON)"));
}

std::unique_ptr<TextEncoder> OpenTextEncoder(const std::string& space) {
  throw Error(StrCat("text space '", space, "': no encoder is installed for it"));
}

}  // namespace athanor
