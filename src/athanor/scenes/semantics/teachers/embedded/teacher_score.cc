#include "athanor/scenes/semantics/teachers/embedded/teacher_score.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "athanor/base/error.h"
#include "athanor/base/progress.h"

namespace athanor {
namespace {

constexpr size_t kFrequentKinds = 20;
constexpr int64_t kLeastCells = 4;  // of a thing whose colour is judged

// Pixels of each true kind that were given each kind.
struct Confusion {
  size_t kinds;
  std::vector<int64_t> counts;  // [kinds * kinds]: true kind, given kind
  explicit Confusion(size_t n) : kinds(n), counts(n * n) {}
  int64_t& at(size_t truth, size_t given) { return counts[truth * kinds + given]; }
  int64_t True(size_t k) const {
    return std::accumulate(counts.begin() + k * kinds, counts.begin() + (k + 1) * kinds,
                           int64_t{0});
  }
  int64_t Given(size_t k) const {
    int64_t sum = 0;
    for (size_t t = 0; t < kinds; ++t) sum += counts[t * kinds + k];
    return sum;
  }
  double Iou(size_t k) const {
    const int64_t hit = counts[k * kinds + k];
    return static_cast<double>(hit) / static_cast<double>(True(k) + Given(k) - hit);
  }
  double Recall(size_t k) const {
    return static_cast<double>(counts[k * kinds + k]) / static_cast<double>(True(k));
  }
};

// Means over the kinds that are there.
std::pair<double, double> MeanIouAndRecall(const Confusion& confusion) {
  double iou = 0, recall = 0, count = 0;
  for (size_t k = 0; k < confusion.kinds; ++k) {
    if (confusion.True(k) == 0) continue;
    iou += confusion.Iou(k);
    recall += confusion.Recall(k);
    ++count;
  }
  return {iou / std::max(1.0, count), recall / std::max(1.0, count)};
}

std::vector<int64_t> ToVector(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.contiguous().view({-1});
  return {flat.data_ptr<int64_t>(), flat.data_ptr<int64_t>() + flat.size(0)};
}

}  // namespace

TeacherScore ScoreTeacher(EmbeddedTeacher& teacher, EmbeddedText& text,
                          const LabelledWorlds& worlds, const Lexicon& lexicon, int64_t max_views) {
  const at::NoGradGuard no_grad;
  const size_t kinds = lexicon.kinds().size();
  Random random;
  const auto encode = [&](const std::vector<std::string>& prompts) { return text.Encode(prompts); };
  std::vector<std::string> names, colors;
  for (size_t k = 0; k < kinds; ++k) {
    names.push_back(lexicon.NameOf(static_cast<int>(k), random, true).text);
  }
  for (const std::string& color : lexicon.colors()) colors.push_back(color);
  const at::Tensor name_vectors = encode(names).t();  // [D,kinds]
  const at::Tensor color_vectors = encode(colors).t();
  std::vector<at::Tensor> part_vectors(kinds);
  for (size_t k = 0; k < kinds; ++k) {
    std::vector<std::string> prompts;
    for (const std::string& part : lexicon.kinds()[k].parts) {
      prompts.push_back(
          lexicon.Describe(static_cast<int>(k), kUnknown, lexicon.FindPart(part), random, true)
              .text);
    }
    if (prompts.size() > 1) part_vectors[k] = encode(prompts).t();
  }

  // Structure and the kinds of most pixels are chosen by the labels alone.
  const int64_t all_views = worlds.num_views();
  const int64_t views = max_views > 0 ? std::min(max_views, all_views) : all_views;
  std::vector<LabelledView> kept;
  std::vector<int64_t> pixels_of(kinds, 0);
  for (int64_t v = 0; v < views; ++v) {
    kept.push_back(worlds.ReadView(v * all_views / views));
    for (const int32_t label : kept.back().labels) {
      if (label >= 0) ++pixels_of[worlds.labels()[label].kind];
    }
  }
  std::vector<size_t> order(kinds);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return pixels_of[a] > pixels_of[b]; });
  std::vector<int64_t> frequent;
  size_t things = 0;
  for (const size_t k : order) {
    if (pixels_of[k] == 0) continue;
    const bool structure = lexicon.kinds()[k].category == "structure";
    if (!structure && things++ >= kFrequentKinds) continue;
    frequent.push_back(static_cast<int64_t>(k));
  }
  std::vector<int64_t> place(kinds, -1);
  for (size_t i = 0; i < frequent.size(); ++i) place[frequent[i]] = static_cast<int64_t>(i);
  at::Tensor frequent_index = at::empty({static_cast<int64_t>(frequent.size())}, at::kLong);
  std::copy(frequent.begin(), frequent.end(), frequent_index.data_ptr<int64_t>());

  Confusion all(kinds), few(frequent.size());
  int64_t colors_right = 0, colors_asked = 0;
  std::map<std::pair<int, int>, std::pair<int64_t, int64_t>> parts;  // kind, part: right, all
  Progress progress("scoring", views);
  for (int64_t v = 0; v < views; ++v) {
    const LabelledView& view = kept[v];
    const ViewFeatures features = teacher.Describe(view.rgb, std::to_string(v));
    const int64_t rows = features.features.size(0), columns = features.features.size(1);
    const at::Tensor cells =
        features.features.to(at::kFloat).view({rows * columns, features.dimension()});
    const at::Tensor scores = at::matmul(cells, name_vectors);
    const std::vector<int64_t> best = ToVector(scores.argmax(1));
    const std::vector<int64_t> best_frequent =
        ToVector(scores.index_select(1, frequent_index).argmax(1));
    std::map<int32_t, std::vector<int64_t>> cells_of;  // label to the cells whose middle it holds
    for (int y = 0; y < view.rgb.height; ++y) {
      const int64_t row = (2 * y + 1) * rows / (2 * view.rgb.height);
      for (int x = 0; x < view.rgb.width; ++x) {
        const int32_t label = view.labels[static_cast<size_t>(y) * view.rgb.width + x];
        if (label < 0) continue;
        const int64_t cell = row * columns + (2 * x + 1) * columns / (2 * view.rgb.width);
        const int kind = worlds.labels()[label].kind;
        ++all.at(kind, best[cell]);
        if (place[kind] >= 0) ++few.at(place[kind], best_frequent[cell]);
      }
    }
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t y = (2 * row + 1) * view.rgb.height / (2 * rows);
      for (int64_t column = 0; column < columns; ++column) {
        const int64_t x = (2 * column + 1) * view.rgb.width / (2 * columns);
        const int32_t label = view.labels[static_cast<size_t>(y) * view.rgb.width + x];
        if (label >= 0) cells_of[label].push_back(row * columns + column);
      }
    }
    for (const auto& [label, list] : cells_of) {
      const PixelLabel& truth = worlds.labels()[label];
      at::Tensor index = at::empty({static_cast<int64_t>(list.size())}, at::kLong);
      std::copy(list.begin(), list.end(), index.data_ptr<int64_t>());
      const at::Tensor own = cells.index_select(0, index);
      const bool structure = lexicon.kinds()[truth.kind].category == "structure";
      if (!structure && truth.color != kUnknown && own.size(0) >= kLeastCells) {
        ++colors_asked;
        const at::Tensor mean = own.mean(0, /*keepdim=*/true);
        colors_right += at::matmul(mean, color_vectors).argmax(1).item<int64_t>() == truth.color;
      }
      if (part_vectors[truth.kind].defined() && truth.part != kUnknown) {
        const auto& of_kind = lexicon.kinds()[truth.kind].parts;
        auto& [right, asked] = parts[{truth.kind, truth.part}];
        for (const int64_t given : ToVector(at::matmul(own, part_vectors[truth.kind]).argmax(1))) {
          right += lexicon.FindPart(of_kind[given]) == truth.part;
          ++asked;
        }
      }
    }
    progress.Update(v + 1);
  }

  TeacherScore score;
  score.sort = worlds.Sort();
  score.worlds = worlds.num_worlds();
  score.views = views;
  std::tie(score.miou, score.macc) = MeanIouAndRecall(all);
  std::tie(score.frequent_miou, score.frequent_macc) = MeanIouAndRecall(few);
  int64_t right = 0, asked = 0;
  for (const size_t k : order) {
    if (pixels_of[k] == 0) continue;
    right += all.at(k, k);
    asked += pixels_of[k];
    score.kinds.push_back({lexicon.kinds()[k].name, pixels_of[k], all.Iou(k), place[k] >= 0});
  }
  score.pixel_accuracy =
      static_cast<double>(right) / static_cast<double>(std::max<int64_t>(1, asked));
  score.color_accuracy =
      static_cast<double>(colors_right) / static_cast<double>(std::max<int64_t>(1, colors_asked));
  for (const auto& [part, counts] : parts) {
    score.part_accuracy += static_cast<double>(counts.first) / static_cast<double>(counts.second) /
                           static_cast<double>(parts.size());
  }
  return score;
}

}  // namespace athanor
