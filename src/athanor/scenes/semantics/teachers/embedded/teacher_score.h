// What the embedded teacher knows of worlds that it has not seen.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "athanor/scenes/semantics/teachers/embedded/embedded_teacher.h"
#include "athanor/scenes/semantics/teachers/embedded/labelled_worlds.h"

namespace athanor {

struct TeacherScore {
  std::string sort;  // "rooms", "streets"
  int64_t worlds = 0, views = 0;
  double miou = 0, macc = 0, pixel_accuracy = 0;  // over all kinds that are seen
  double frequent_miou = 0, frequent_macc = 0;    // over structure and the 20 kinds of most pixels
  double color_accuracy = 0;  // of things: the nearest of "red", "blue" ... to their mean vector
  double part_accuracy = 0;   // of "mug handle", "mug body" ...: mean over kinds' parts
  struct Kind {
    std::string name;
    int64_t pixels = 0;
    double iou = 0;
    bool frequent = false;
  };
  std::vector<Kind> kinds;  // most pixels first
};

// Every pixel of the worlds goes to the kind whose name its vector is nearest to. `max_views`: at
// most so many, evenly picked; 0 = all.
TeacherScore ScoreTeacher(EmbeddedTeacher& teacher, EmbeddedText& text,
                          const LabelledWorlds& worlds, const Lexicon& lexicon,
                          int64_t max_views = 0);

}  // namespace athanor
