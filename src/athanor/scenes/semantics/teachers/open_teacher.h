// Teachers and text encoders by name: what a card says, put together from the parts that it needs.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "athanor/nn/model_store.h"
#include "athanor/scenes/semantics/teachers/mask_source.h"
#include "athanor/scenes/semantics/teachers/teacher.h"

namespace athanor {

// `name`: "embedded" (a small one of our own), a file of `semantic train-teacher` (.safetensors),
// the name of a card (`athanor models list`) or the path of one. "NAME@MASKS" chooses where masks
// come from: "graph" (no weights needed) or a card of kind "sam"; a dense teacher is pooled below
// them. "A+B" puts vectors end to end, "A|B" takes the mean of vectors of one text space. Throws
// Error: no such card, a file that is not in the store (and how to fetch it), a card that describes
// no teacher.
std::unique_ptr<Teacher> OpenTeacher(const std::string& name,
                                     const ModelStore& store = DefaultModelStore());

// A teacher, maps of ids (id_maps.h) included, and what encodes words for it, also for files whose
// text space has no name. Throws Error for a teacher to whom words mean nothing.
struct TeacherWithWords {
  std::unique_ptr<Teacher> teacher;
  std::unique_ptr<TextEncoder> encoder;
  std::filesystem::path weights;  // of "embedded" and files; empty: a card says which
};
TeacherWithWords OpenTeacherWithWords(const std::string& name,
                                      const ModelStore& store = DefaultModelStore());

// "graph" or a card of kind "sam".
std::unique_ptr<MaskSource> OpenMaskSource(const std::string& name,
                                           const ModelStore& store = DefaultModelStore());

// The best encoder of the space whose files are in the store: a network that reads any phrase
// before a table of names. Throws Error saying what to fetch when there is none.
// "a+b" joins spaces end to end, as fused teachers have them.
std::unique_ptr<TextEncoder> OpenTextEncoder(const std::string& space,
                                             const ModelStore& store = DefaultModelStore());

}  // namespace athanor
