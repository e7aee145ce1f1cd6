#include "athanor/scenes/semantics/lifting/vote.h"

#include <ATen/ATen.h>

#include "athanor/base/error.h"

namespace athanor {

void FieldVote::Add(const SemanticField& field) {
  if (!sum_.defined()) {
    first_ = field;
    sum_ = at::zeros({field.size(), field.dimension()});
    times_seen_ = at::zeros({field.size()});
    max_weight_ = at::zeros({field.size()});
  }
  ATHANOR_CHECK(field.size() == first_.size() && field.dimension() == first_.dimension() &&
                    field.text_space == first_.text_space && field.labels == first_.labels,
                "a vote over times: expected ", first_.size(), " vectors of length ",
                first_.dimension(), " in '", first_.text_space, "' and one list of labels, found ",
                field.size(), " of ", field.dimension(), " in '", field.text_space, "'");
  sum_ += field.features.DecodeAll();  // rows that were not seen are zero
  times_seen_ += field.seen;
  max_weight_ = at::maximum(max_weight_, field.max_weight);
}

SemanticField FieldVote::Result() const {
  ATHANOR_CHECK(sum_.defined(), "a vote over times: expected at least one field");
  SemanticField field = first_;
  const at::Tensor mean = sum_ / times_seen_.clamp_min(1).unsqueeze(1);
  field.features = FeatureTable::FromRows(mean);
  field.seen = times_seen_.gt(0).to(at::kByte);
  field.agreement = mean.norm(2, 1).clamp_max(1);
  field.max_weight = max_weight_;
  return field;
}

}  // namespace athanor
