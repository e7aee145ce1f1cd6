#include "athanor/scenes/semantics/query/scores.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"

namespace athanor {
namespace {

constexpr int64_t kBlockPrompts = 64;
constexpr int64_t kGrain = 8192;

bool IsBlank(const std::string& text) {
  return text.find_first_not_of(" \t\r\n") == std::string::npos;
}

// Text vectors, checked: a wrong one would give scores that look right.
at::Tensor EncodeChecked(TextEncoder* encoder, std::span<const std::string> prompts,
                         int dimension) {
  ATHANOR_CHECK(!prompts.empty(), "query: expected at least one prompt");
  for (const std::string& prompt : prompts) {
    ATHANOR_CHECK(!IsBlank(prompt), "query: expected words, found an empty prompt");
  }
  const at::Tensor text = encoder->Encode(prompts).to(at::kFloat).contiguous();
  ATHANOR_CHECK(text.dim() == 2 && text.size(0) == static_cast<int64_t>(prompts.size()) &&
                    text.size(1) == dimension,
                "query: text space '", encoder->space(), "' gives vectors ", text.sizes(),
                ", but the features have length ", dimension);
  ATHANOR_CHECK(at::isfinite(text).all().item<bool>(), "query: text space '", encoder->space(),
                "' gives vectors that are not finite");
  return text;
}

}  // namespace

Combine CombineFromName(const std::string& name) {
  if (name == "max") return Combine::kMax;
  if (name == "concat") return Combine::kConcat;
  ATHANOR_CHECK(name == "fill", "combine: expected max, concat or fill, found '", name, "'");
  return Combine::kFill;
}

FieldSet::FieldSet(std::vector<const SemanticField*> fields, Combine combine)
    : fields_(std::move(fields)), combine_(combine) {
  ATHANOR_CHECK(!fields_.empty(), "query: expected a semantic field");
  const SemanticField& first = *fields_[0];
  seen_ = first.seen.clone();
  for (const SemanticField* field : fields_) {
    ATHANOR_CHECK(field->size() == first.size() && field->dimension() == first.dimension() &&
                      field->text_space == first.text_space && field->labels == first.labels,
                  "query: expected fields of one scene, text space and labels, found ",
                  first.size(), " x ", first.dimension(), " '", first.text_space, "' and ",
                  field->size(), " x ", field->dimension(), " '", field->text_space, "'");
    seen_ = at::bitwise_or(seen_, field->seen);
  }
  ATHANOR_CHECK(size() > 0 && seen_.max().item<int>() > 0, "query: none of the scene's ", size(),
                " Gaussians has a feature: no view saw them; lift again with other views");
}

at::Tensor FieldSet::Cosines(const at::Tensor& text) const {
  at::Tensor cosines = fields_[0]->features.Score(text);
  if (fields_.size() == 1) return cosines;
  float* sums = cosines.data_ptr<float>();
  const int64_t prompts = text.size(0);
  std::vector<int32_t> voices(size());
  const uint8_t* seen = fields_[0]->seen.data_ptr<uint8_t>();
  for (int64_t i = 0; i < size(); ++i) voices[i] = seen[i];
  for (size_t f = 1; f < fields_.size(); ++f) {
    const at::Tensor more = fields_[f]->features.Score(text);
    const float* other = more.data_ptr<float>();
    const uint8_t* other_seen = fields_[f]->seen.data_ptr<uint8_t>();
    ParallelFor(size(), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        if (other_seen[i] == 0) continue;
        for (int64_t p = 0; p < prompts; ++p) {
          float& sum = sums[i * prompts + p];
          const float value = other[i * prompts + p];
          if (voices[i] == 0) {
            sum = value;
          } else if (combine_ != Combine::kFill) {
            sum = combine_ == Combine::kMax ? std::max(sum, value) : sum + value;
          }
        }
        ++voices[i];
      }
    });
  }
  if (combine_ == Combine::kConcat) {
    for (int64_t i = 0; i < size(); ++i) {
      if (voices[i] < 2) continue;
      for (int64_t p = 0; p < prompts; ++p) sums[i * prompts + p] /= static_cast<float>(voices[i]);
    }
  }
  return cosines;
}

at::Tensor Relevancy(const at::Tensor& cosines, const at::Tensor& negatives, double temperature,
                     const at::Tensor& excluded) {
  ATHANOR_CHECK(
      negatives.dim() == 2 && negatives.size(1) > 0 && negatives.size(0) == cosines.size(0),
      "relevancy: expected at least one negative phrase");
  const int64_t n = cosines.size(0), prompts = cosines.size(1), count = negatives.size(1);
  at::Tensor relevancy = at::empty_like(cosines);
  const float* from = cosines.data_ptr<float>();
  const float* others = negatives.data_ptr<float>();
  float* to = relevancy.data_ptr<float>();
  const auto t = static_cast<float>(temperature);
  // Per phrase, the negatives that count; empty when all do for all.
  std::vector<std::vector<int64_t>> counting;
  if (excluded.defined() && excluded.any().item<bool>()) {
    const auto out = excluded.accessor<bool, 2>();
    counting.resize(prompts);
    for (int64_t p = 0; p < prompts; ++p) {
      for (int64_t m = 0; m < count; ++m) {
        if (!out[p][m]) counting[p].push_back(m);
      }
    }
  }
  ParallelFor(n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* row = others + i * count;
      float highest = *std::max_element(row, row + count);
      for (int64_t p = 0; p < prompts; ++p) {
        if (!counting.empty()) {
          highest = -1;
          for (const int64_t m : counting[p]) highest = std::max(highest, row[m]);
        }
        to[i * prompts + p] = 1.0f / (1.0f + std::exp(t * (highest - from[i * prompts + p])));
      }
    }
  });
  return relevancy;
}

ScoredPrompts ScorePrompts(const FieldSet& fields, TextEncoder* encoder,
                           std::span<const std::string> prompts,
                           const std::vector<std::string>& negatives, double temperature,
                           bool all_negatives) {
  const at::Tensor text = EncodeChecked(encoder, prompts, fields.dimension());
  ScoredPrompts result;
  if (!fields.first().labels.empty()) {
    result.scores = at::clamp(fields.Cosines(text), 0, 1);
    return result;
  }
  const at::Tensor other = EncodeChecked(encoder, negatives, fields.dimension());
  // One pass over the features: prompts and negatives together.
  const at::Tensor cosines = fields.Cosines(at::cat({text, other}));
  const int64_t count = text.size(0);
  at::Tensor same;  // [P,M]
  if (!all_negatives) {
    const at::Tensor meaning = at::matmul(text, other.t());
    same = meaning > kSameMeaning;
    if (negatives == fields.first().classes) {
      const at::Tensor nearest = meaning.amax(1, /*keepdim=*/true);
      same = meaning >= at::where(nearest > kIsClass, nearest, nearest - kMeaningMargin);
    }
    same = same.logical_and(same.all(1, true).logical_not()).contiguous();
  }
  result.scores =
      Relevancy(cosines.narrow(1, 0, count).contiguous(),
                cosines.narrow(1, count, other.size(0)).contiguous(), temperature, same);
  result.neutral = kNeutralRelevancy;
  float* scores = result.scores.data_ptr<float>();
  const uint8_t* seen = fields.seen().data_ptr<uint8_t>();
  ParallelFor(fields.size(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (seen[i] == 0) std::fill_n(scores + i * count, count, 0.0f);
    }
  });
  return result;
}

GaussianLabels LabelGaussians(const FieldSet& fields, TextEncoder* encoder,
                              std::span<const std::string> labels, double temperature) {
  const int64_t n = fields.size();
  GaussianLabels result;
  result.labels = at::full({n}, -1, at::kInt);
  result.confidence = at::zeros({n});
  int32_t* best = result.labels.data_ptr<int32_t>();
  float* confidence = result.confidence.data_ptr<float>();
  std::vector<float> highest(n, -2.0f);
  std::vector<double> sums(n, 0.0);  // of exp(T (cosine - highest so far))
  const uint8_t* seen = fields.seen().data_ptr<uint8_t>();
  const at::Tensor text = EncodeChecked(encoder, labels, fields.dimension());
  for (int64_t first = 0; first < text.size(0); first += kBlockPrompts) {
    const int64_t count = std::min(kBlockPrompts, text.size(0) - first);
    const at::Tensor block = fields.Cosines(text.narrow(0, first, count).contiguous());
    const float* cosines = block.data_ptr<float>();
    ParallelFor(n, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        if (seen[i] == 0) continue;
        for (int64_t p = 0; p < count; ++p) {
          const float cosine = cosines[i * count + p];
          if (cosine > highest[i]) {
            sums[i] = sums[i] * std::exp(temperature * (highest[i] - cosine)) + 1;
            highest[i] = cosine;
            best[i] = static_cast<int32_t>(first + p);
          } else {
            sums[i] += std::exp(temperature * (cosine - highest[i]));
          }
        }
      }
    });
  }
  for (int64_t i = 0; i < n; ++i) {
    if (best[i] >= 0) confidence[i] = static_cast<float>(1 / sums[i]);
  }
  return result;
}

}  // namespace athanor
