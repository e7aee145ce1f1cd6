// One field from the fields of several times: in a scene that moves, a Gaussian is the same thing
// at all times (Dynamic 3D Gaussians, Luiten et al. 2024), so what its times say is averaged.
#pragma once

#include "athanor/scenes/semantics/semantic_field.h"

namespace athanor {

class FieldVote {
 public:
  // Throws Error for a field of another size, length or text space than the first.
  void Add(const SemanticField& field);
  // Mean of the unit vectors of the times that saw a Gaussian, of length 1 again; its agreement is
  // the mean's length. Seen: at any time. Names and hash are those of the first field. Throws Error
  // when no field was added.
  SemanticField Result() const;

 private:
  SemanticField first_;
  at::Tensor sum_;         // [N,D] f32
  at::Tensor times_seen_;  // [N] f32
  at::Tensor max_weight_;  // [N] f32
};

}  // namespace athanor
