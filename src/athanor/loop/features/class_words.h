// What words mean to a detector that knows a few classes, by WordNet: "dog" is an animal, "vehicle"
// is cars, trucks and buses.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/scenes/semantics/wordnet.h"

namespace athanor {

// How well each class fits, 0 .. 1:
//   1            its name (in the singular, '_' is a space), another word for it, or a kind of what
//                was asked for
//   1 / (1 + n)  what was asked for is a kind of it, n steps up (ten at most)
//   0            else
// Of a noun of several senses, the most frequent one that is an animal, a person, an artifact or a
// plant. `wordnet` may be null: then only names fit.
std::vector<double> FitClasses(std::string_view words, std::span<const std::string> classes,
                               const WordNet* wordnet);

}  // namespace athanor
