// What every Gaussian of a scene means: a feature vector per Gaussian, in a file beside the
// scene's.
//
// Format: docs/formats.md, "Semantic fields".
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/scenes/semantics/feature_table.h"

namespace athanor {

struct SemanticField {
  FeatureTable features;  // [N,D]; zeros where never seen
  at::Tensor seen;        // [N] u8: 1 = some view saw the Gaussian, 0 = never seen
  // [N] f32 in [0,1]: length of the mean of the unit vectors that were averaged. 1: all views say
  // the same; 0 where never seen.
  at::Tensor agreement;
  at::Tensor max_weight;  // [N] f32 in [0,1]: largest blending weight in any pixel of any view

  std::string text_space;  // that the features live in ("clip-vit-b-32"); empty: words mean nothing
  std::string teacher_key;  // Teacher::key()
  std::string lift_mode;    // "weights", "paper", "max", "topk", "network"
  std::string scene_hash;   // SceneFileHash of the scene's file
  // Names of the classes, when features are one-hot labels; else empty.
  std::vector<std::string> labels;
  std::vector<std::string> classes;  // Teacher::classes()

  int64_t size() const { return features.size(); }
  int dimension() const { return features.dimension(); }
  int64_t num_seen() const;
  // The field of these Gaussians ([R] i64), in their order. The hash is that of the old scene.
  SemanticField TakeRows(const at::Tensor& rows) const;
  // This field and then `more` Gaussians that were never seen, or these before it. Kept in the
  // store of this one.
  SemanticField AppendUnseen(int64_t more) const;
  SemanticField PrependUnseen(int64_t more) const;
  // This field and then the other's Gaussians, in the store of this one. Throws Error when words
  // mean something else to the two: another text space, length or list of labels.
  SemanticField Append(const SemanticField& other) const;

  // Throws Error, naming `where`, unless shapes and types are those above, values are finite, and
  // rows that were never seen are zero.
  void Check(std::string_view where) const;
  // Throws Error unless the field was made for this scene.
  void CheckScene(const std::filesystem::path& scene_file, int64_t gaussians,
                  std::string_view where) const;
};

// 16 hexadecimal digits of the bytes of a file.
std::string SceneFileHash(const std::filesystem::path& scene_file);

// "runs/a/scene.ply" -> "runs/a/scene.semantics.safetensors", with a tag
// "runs/a/scene.semantics-TAG.safetensors". The 3D network's field has the tag "3d".
std::filesystem::path SemanticFieldPath(const std::filesystem::path& scene_file,
                                        std::string_view tag = {});

// Written aside and renamed. Throws Error.
void WriteSemanticField(const std::filesystem::path& path, const SemanticField& field);
// Throws Error (path, tensor, expectation), and as Check does.
SemanticField ReadSemanticField(const std::filesystem::path& path);

}  // namespace athanor
