#include "athanor/scenes/semantics/teachers/embedded/description_loss.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>

namespace athanor {
namespace {

// A true pair weighs as much as so many false ones, of which there are far more.
constexpr double kTrueWeight = 3;
constexpr double kPairsWeight = 6, kNeutralWeight = 0.02;
constexpr int kColorGroups = 8, kPartGroups = 10, kFreeDescriptions = 64;

}  // namespace

DescriptionLoss ComputeDescriptionLoss(const at::Tensor& pixels, const at::Tensor& phrases,
                                       const at::Tensor& neutral, double scale,
                                       const DescriptionTargets& targets) {
  const at::Tensor cosines = at::matmul(pixels, phrases.t());  // [N,T]
  const at::Tensor logits = cosines * scale;
  const at::Tensor positive = targets.truth.eq(1);
  const at::Tensor sign = positive.to(pixels.scalar_type()) * 2 - 1;
  const at::Tensor weights = (positive.to(pixels.scalar_type()) * (kTrueWeight - 1) + 1) *
                             targets.truth.ge(0).to(pixels.scalar_type());
  DescriptionLoss loss;
  loss.pairs = (at::softplus((kDescriptionCosine * scale - logits) * sign) * weights).sum() /
               weights.sum().clamp_min(1);
  loss.groups = at::zeros({}, pixels.options());
  for (const PhraseGroup& group : targets.groups) {
    if (group.pixels.size(0) == 0) continue;
    const at::Tensor rows = logits.narrow(1, group.first, group.count)
                                .index_select(0, group.pixels)
                                .masked_fill(group.excluded, -1e9);
    loss.groups =
        loss.groups + at::nll_loss(at::log_softmax(rows, 1), group.targets) * group.weight;
  }
  loss.neutral =
      (at::matmul(pixels, neutral.unsqueeze(1)) - kDescriptionCosine).mul(scale).square().mean();
  loss.total = loss.groups + kPairsWeight * loss.pairs + kNeutralWeight * loss.neutral;
  return loss;
}

DescriptionSet SampleDescriptions(const Lexicon& lexicon, std::span<const PixelLabel> seen,
                                  Random& random) {
  DescriptionSet set;
  const auto size = [&] { return static_cast<int64_t>(set.phrases.size()); };
  for (size_t k = 0; k < lexicon.kinds().size(); ++k) {
    set.phrases.push_back(lexicon.NameOf(static_cast<int>(k), random));
  }
  set.groups.push_back({0, size(), true, 1});
  if (seen.empty()) return set;
  // Kinds count alike, however many labels they have: books have hundreds.
  std::map<int, std::vector<const PixelLabel*>> of_kind;
  for (const PixelLabel& label : seen) of_kind[label.kind].push_back(&label);
  std::vector<const std::vector<const PixelLabel*>*> lists;
  for (const auto& [kind, list] : of_kind) lists.push_back(&list);
  const auto any = [&]() -> const PixelLabel& {
    const auto& list = *lists[random.Below(static_cast<uint32_t>(lists.size()))];
    return *list[random.Below(static_cast<uint32_t>(list.size()))];
  };
  for (int g = 0; g < kColorGroups; ++g) {
    const PixelLabel& label = any();
    if (label.color == kUnknown) continue;
    const int64_t first = size();
    for (size_t color = 0; color < lexicon.colors().size(); ++color) {
      set.phrases.push_back(
          lexicon.Describe(label.kind, static_cast<int>(color), kUnknown, random));
    }
    set.groups.push_back({first, size() - first, false});
  }
  for (int g = 0; g < kPartGroups; ++g) {
    const PixelLabel& label = any();
    const auto& parts = lexicon.kinds()[label.kind].parts;
    if (parts.size() < 2) continue;
    const int64_t first = size();
    for (const std::string& part : parts) {
      set.phrases.push_back(lexicon.Describe(label.kind, kUnknown, lexicon.FindPart(part), random));
    }
    set.groups.push_back({first, size() - first, false});
  }
  for (int i = 0; i < kFreeDescriptions; ++i) {
    const PixelLabel& label = any();
    set.phrases.push_back(lexicon.TrueOf(label, random));
    if (random.Uniform() < 0.5f) set.phrases.push_back(lexicon.NearlyTrueOf(label, random));
  }
  return set;
}

DescriptionTargets MakeTargets(const Lexicon& lexicon, const DescriptionSet& set,
                               std::span<const PixelLabel> seen,
                               std::span<const int32_t> of_pixel) {
  const int64_t labels = static_cast<int64_t>(seen.size());
  const int64_t phrases = static_cast<int64_t>(set.phrases.size());
  at::Tensor truth = at::empty({labels, phrases}, at::kChar);
  auto values = truth.accessor<int8_t, 2>();
  for (int64_t l = 0; l < labels; ++l) {
    for (int64_t p = 0; p < phrases; ++p) {
      const Truth holds = Holds(set.phrases[p], seen[l]);
      values[l][p] = holds == Truth::kTrue ? 1 : holds == Truth::kFalse ? 0 : -1;
    }
  }
  at::Tensor index = at::empty({static_cast<int64_t>(of_pixel.size())}, at::kLong);
  for (size_t i = 0; i < of_pixel.size(); ++i) index.data_ptr<int64_t>()[i] = of_pixel[i];
  DescriptionTargets targets;
  targets.truth = truth.index_select(0, index);
  for (const DescriptionSet::Group& group : set.groups) {
    // Per label: the phrase that it belongs to, or -1; and what is left out for it.
    std::vector<int64_t> target(labels, -1);
    at::Tensor excluded = at::zeros({labels, group.count}, at::kBool);
    auto left_out = excluded.accessor<bool, 2>();
    for (int64_t l = 0; l < labels; ++l) {
      if (group.names_kinds) {
        target[l] = seen[l].kind;
        for (int64_t k = 0; k < group.count; ++k) {
          left_out[l][k] =
              k != seen[l].kind && lexicon.Shares(seen[l].kind, set.phrases[group.first + k]);
        }
        continue;
      }
      int64_t count = 0;
      for (int64_t k = 0; k < group.count; ++k) {
        if (values[l][group.first + k] != 1) continue;
        target[l] = k;
        ++count;
      }
      if (count != 1) target[l] = -1;
    }
    std::vector<int64_t> pixels, wanted;
    for (size_t i = 0; i < of_pixel.size(); ++i) {
      if (target[of_pixel[i]] < 0) continue;
      pixels.push_back(static_cast<int64_t>(i));
      wanted.push_back(target[of_pixel[i]]);
    }
    PhraseGroup result{.first = group.first, .count = group.count, .weight = group.weight};
    const int64_t n = static_cast<int64_t>(pixels.size());
    result.pixels = at::empty({n}, at::kLong);
    result.targets = at::empty({n}, at::kLong);
    std::copy(pixels.begin(), pixels.end(), result.pixels.data_ptr<int64_t>());
    std::copy(wanted.begin(), wanted.end(), result.targets.data_ptr<int64_t>());
    result.excluded = excluded.index_select(0, index.index_select(0, result.pixels));
    targets.groups.push_back(std::move(result));
  }
  return targets;
}

}  // namespace athanor
