// A teacher that reads what others found: one PNG of ids per view, from a tracker (SAM with DEVA,
// say), from people, or from a simulator that knows the truth.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "athanor/scenes/semantics/teachers/teacher.h"

namespace athanor {

// One feature per id: one-hot, so that lifting counts votes, or a given vector.
//
// A card is a JSON file:
//   {"family": "id maps",
//    "maps": "semantic",           folder beside the card: STEM.png for a view STEM.jpg, grey, 8 or
//                                  16 bits, as the view is (undistorted); other sizes are resized
//    "classes": "classes.json",    optional: [{"id": 3, "name": "mug"}, ..] or {"classes": [..]}
//    "ignore": [0],                optional: ids that say nothing; by default 0
//    "vectors": "v.safetensors",   optional: "vectors" [K,D] f16 or f32, row = id
//    "text_space": "clip-vit-b-32"}  with vectors: the space that they live in
class IdMapTeacher : public Teacher {
 public:
  // Reads the card, or a bare folder of maps, and looks through all maps for their ids. Throws
  // Error (file, expectation): no map, an id that has no vector or more than 4096 ids.
  explicit IdMapTeacher(const std::filesystem::path& card_or_folder);

  std::string key() const override { return key_; }
  int dimension() const override { return static_cast<int>(vectors_.size(1)); }
  std::string text_space() const override { return text_space_; }
  // Per mask, one level: a mask per id. Throws Error for a view without a map.
  ViewFeatures Describe(const Image& rgb, const std::string& name) override;

  // Without given vectors: what each component stands for, the class's name or its id in digits.
  const std::vector<std::string>& labels() const { return labels_; }

 private:
  std::filesystem::path maps_;
  std::string key_, text_space_;
  std::map<int, int> rows_;  // of ids that say something
  at::Tensor vectors_;       // [rows,D] f16
  std::vector<std::string> labels_;
};

// True for a folder of PNGs, or a card of this family.
bool IsIdMaps(const std::filesystem::path& card_or_folder);

// Encodes the names of labels as the one-hot vectors that IdMapTeacher gives, in any case of
// letters. Throws Error for another word, naming a few that exist.
std::unique_ptr<TextEncoder> MakeLabelEncoder(std::vector<std::string> labels);

}  // namespace athanor
