#include "athanor/scenes/semantics/lifting/lift_features.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>

#include "athanor/base/aligned.h"
#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/base/progress.h"
#include "athanor/kernels/lift.h"
#include "athanor/kernels/rasterize.h"
#include "athanor/kernels/tile_binning.h"
#include "athanor/scenes/semantics/lifting/view_cells.h"

namespace athanor {
namespace {

struct Preset {
  const char* name;
  double depth_threshold;
};
// Of the paper's code, per data set.
constexpr Preset kPresets[] = {
    {"scannet", 0.05}, {"mipnerf360", 0.05}, {"mvimgnet", 0.02}, {"panoptic", 0.01}};

double DepthThreshold(const LiftOptions& options) {
  if (options.depth_threshold > 0) return options.depth_threshold;
  for (const Preset& preset : kPresets) {
    if (options.preset == preset.name) return preset.depth_threshold;
  }
  throw Error(StrCat("lifting: expected the preset scannet, mipnerf360, mvimgnet or panoptic, ",
                     "found '", options.preset, "'"));
}

double Seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

// A row per Gaussian and one for every unit vector that reaches it.
class Lifter {
 public:
  Lifter(const GaussianModel& model, std::span<const PinholeView> views,
         const ProjectOptions& project, const std::function<ViewFeatures(int)>& features,
         const LiftOptions& options)
      : model_(model),
        views_(views),
        project_(project),
        features_(features),
        options_(options),
        n_(model.size()),
        by_center_(options.mode == "paper" || options.mode == "max"),
        splats_(model.size()),
        weights_(model.size(), 0.0f),
        max_weights_(model.size(), 0.0f) {
    ATHANOR_CHECK(model.device().is_cpu(), "lifting: expected a scene on the CPU");
    ATHANOR_CHECK(n_ > 0, "lifting: the scene has no Gaussians");
    ATHANOR_CHECK(!views.empty(), "lifting: expected at least one view");
    ATHANOR_CHECK(by_center_ || options.mode == "weights" || options.mode == "topk",
                  "lifting: expected the mode weights, topk, max or paper, found '", options.mode,
                  "'");
    DepthThreshold(options);
  }

  SemanticField Run(LiftSummary* summary);

 private:
  // Features of the view, checked, and its splats.
  ViewCells Prepare(int view);
  LiftView ViewOf(const ViewCells& cells) const;
  int dimension() const { return dimension_; }

  // Modes that read the pixel at the centre: one entry per Gaussian that the view sees.
  std::vector<LiftEntry> CenterEntries(int view, const ViewCells& cells, bool first_time);
  // Adds the view to rows of sums, see LiftTilesArgs, and to weights ([N], not null).
  void AddView(int view, const ViewCells& cells, const int32_t* rows, float factor, float* sums,
               float* weights, bool first_time);
  void LiftDense(ViewCells first);
  void RejectDense();
  void LiftMasks(ViewCells first);
  SemanticField Finish() const;

  const GaussianModel& model_;
  const std::span<const PinholeView> views_;
  const ProjectOptions project_;
  const std::function<ViewFeatures(int)>& features_;
  const LiftOptions& options_;
  const int64_t n_;
  const bool by_center_;

  std::vector<Splat> splats_;  // of the view at hand
  TileBins bins_;
  std::vector<float> weights_, max_weights_;
  int dimension_ = 0;
  bool dense_ = false;
  int64_t stride_ = 0;
  at::Tensor sums_;  // [N,stride] f32
  int64_t rejected_ = 0;
  double feature_seconds_ = 0;
};

ViewCells Lifter::Prepare(int v) {
  const auto start = std::chrono::steady_clock::now();
  const ViewFeatures features = features_(v);
  feature_seconds_ += Seconds(start);
  const std::string where = StrCat("features of view ", v);
  const PinholeView& view = views_[v];
  ATHANOR_CHECK(features.width_px == view.width_px && features.height_px == view.height_px, where,
                ": expected them for ", view.width_px, " x ", view.height_px, " pixels, found ",
                features.width_px, " x ", features.height_px);
  features.CheckShapes(where);
  if (dimension_ == 0) {
    dimension_ = features.dimension();
    dense_ = features.is_dense();
    stride_ = (dimension_ + 15) / 16 * 16;
    sums_ = at::zeros({n_, stride_});
  }
  ATHANOR_CHECK(features.dimension() == dimension_ && features.is_dense() == dense_, where,
                ": expected ", dense_ ? "dense" : "masks'", " vectors of length ", dimension_,
                " as in the views before, found ", features.is_dense() ? "dense" : "masks'",
                " ones of length ", features.dimension());

  ProjectForwardArgs project = {};
  project.gaussians = model_.arrays();
  project.view = view;
  project.options = project_;
  project.splats = splats_.data();
  ProjectForwardCpu(project);
  BinTilesCpu(splats_.data(), n_, view.width_px, view.height_px, &bins_);
  return MakeViewCells(features, where);
}

LiftView Lifter::ViewOf(const ViewCells& cells) const {
  LiftView view = {};
  view.width_px = cells.width_px, view.height_px = cells.height_px;
  view.n = n_;
  view.splats = splats_.data();
  view.tile_offsets = bins_.offsets.data(), view.tile_ids = bins_.ids.data();
  view.cells = cells.cells.data();
  view.least_weight = static_cast<float>(options_.least_weight);
  view.top_k = options_.mode == "topk" ? options_.top_k : 0;
  view.per_footprint = options_.equal_views && !by_center_;
  return view;
}

std::vector<LiftEntry> Lifter::CenterEntries(int v, const ViewCells& cells, bool first_time) {
  const int width = cells.width_px, height = cells.height_px;
  const bool paper = options_.mode == "paper";
  std::vector<float> centers(paper ? 0 : n_, 0.0f), median;
  LiftTotals totals = {};
  if (first_time) totals.max_weights = max_weights_.data();
  if (!paper) totals.center_weights = centers.data();
  if (first_time || !paper) LiftWeightsCpu(ViewOf(cells), totals, nullptr);
  if (paper) {
    median.resize(static_cast<size_t>(width) * height);
    std::vector<float> transmittance(median.size());
    std::vector<int32_t> walked(MakeTileGrid(width, height).size());
    RasterizeForwardArgs raster = {};
    raster.width_px = width, raster.height_px = height;
    raster.splats = splats_.data();
    raster.tile_offsets = bins_.offsets.data(), raster.tile_ids = bins_.ids.data();
    raster.transmittance = transmittance.data();
    raster.median_depth = median.data();
    raster.tile_walked = walked.data();
    RasterizeForwardCpu(raster);
  }
  const double threshold = DepthThreshold(options_);
  const int border = paper ? options_.border_px : 0;
  std::vector<LiftEntry> entries;
  for (int64_t i = 0; i < n_; ++i) {
    const Splat& splat = splats_[i];
    if (!(splat.radius > 0)) continue;
    const float column = std::floor(splat.x), row = std::floor(splat.y);
    if (!(column >= static_cast<float>(border) && column < static_cast<float>(width - border) &&
          row >= static_cast<float>(border) && row < static_cast<float>(height - border))) {
      continue;
    }
    const int64_t pixel = static_cast<int64_t>(row) * width + static_cast<int64_t>(column);
    const int32_t cell = cells.cells[pixel];
    if (cell < 0) continue;
    float weight = 1;
    if (paper) {
      const float depth = median[pixel];
      if (!(depth > 0 && std::abs(depth - splat.depth) <= threshold * depth)) continue;
    } else {
      weight = centers[i];
      if (!(weight > 0)) continue;
    }
    entries.push_back({static_cast<int32_t>(i), cell, weight});
  }
  static_cast<void>(v);
  return entries;
}

void Lifter::AddView(int v, const ViewCells& cells, const int32_t* rows, float factor, float* sums,
                     float* weights, bool first_time) {
  if (!by_center_) {
    LiftTilesArgs args = {};
    args.view = ViewOf(cells);
    args.totals.weights = weights;
    if (first_time) args.totals.max_weights = max_weights_.data();
    args.dimension = dimension_;
    args.features = cells.data(), args.scales = cells.scales.data();
    args.rows = rows;
    args.factor = factor;
    args.bfloat16 = options_.precision == "bfloat16";
    args.sums = sums, args.stride = stride_;
    LiftTilesCpu(args);
    return;
  }
  std::vector<int32_t> row_ids, columns;
  std::vector<int64_t> offsets = {0};
  std::vector<float> entry_weights;
  for (const LiftEntry& entry : CenterEntries(v, cells, first_time)) {
    const int32_t row = rows != nullptr ? rows[entry.splat] : entry.splat;
    if (row < 0) continue;
    weights[entry.splat] += entry.weight;
    row_ids.push_back(row);
    columns.push_back(entry.cell);
    entry_weights.push_back(factor * entry.weight);
    offsets.push_back(static_cast<int64_t>(columns.size()));
  }
  LiftRowsCpu({static_cast<int64_t>(row_ids.size()), row_ids.data(), offsets.data(), columns.data(),
               entry_weights.data(), dimension_, cells.data(), cells.scales.data(), sums, stride_});
}

void Lifter::LiftDense(ViewCells first) {
  std::optional<Progress> progress;
  if (options_.progress) progress.emplace("lifting", static_cast<int64_t>(views_.size()));
  for (int v = 0; v < static_cast<int>(views_.size()); ++v) {
    const ViewCells cells = v == 0 ? std::move(first) : Prepare(v);
    AddView(v, cells, nullptr, 1.0f, sums_.data_ptr<float>(), weights_.data(), true);
    if (progress) progress->Update(v + 1);
  }
  if (options_.outliers == "always") RejectDense();
}

// Dense features do not stay in memory, so views come by twice more: to compare what each says with
// the sum of all, then to take the outliers back out of the sum.
void Lifter::RejectDense() {
  struct Opinion {
    int32_t gaussian;
    float cosine;
  };
  const auto views = static_cast<int>(views_.size());
  std::vector<std::vector<Opinion>> opinions(views);
  std::vector<double> mean(n_, 0.0), square(n_, 0.0);
  std::vector<int32_t> count(n_, 0);
  std::optional<Progress> progress;
  if (options_.progress) progress.emplace("comparing views", 2 * views);
  for (int v = 0; v < views; ++v) {
    const ViewCells cells = Prepare(v);
    std::vector<int32_t> rows(n_, -1);
    std::vector<int32_t> visible;
    for (int64_t i = 0; i < n_; ++i) {
      if (!(splats_[i].radius > 0)) continue;
      rows[i] = static_cast<int32_t>(visible.size());
      visible.push_back(static_cast<int32_t>(i));
    }
    const at::Tensor part = at::zeros({static_cast<int64_t>(visible.size()), stride_});
    std::vector<float> weights(n_, 0.0f);
    AddView(v, cells, rows.data(), 1.0f, part.data_ptr<float>(), weights.data(), false);
    const float* parts = part.data_ptr<float>();
    const float* sums = sums_.data_ptr<float>();
    std::vector<float> cosines(visible.size(), 0.0f);
    ParallelFor(static_cast<int64_t>(visible.size()), 1024, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const float* a = parts + r * stride_;
        const float* b = sums + visible[r] * stride_;
        double ab = 0, aa = 0, bb = 0;
        for (int64_t c = 0; c < dimension_; ++c) {
          ab += double{a[c]} * b[c], aa += double{a[c]} * a[c], bb += double{b[c]} * b[c];
        }
        if (aa > 0 && bb > 0) cosines[r] = static_cast<float>(ab / std::sqrt(aa * bb));
      }
    });
    for (size_t r = 0; r < visible.size(); ++r) {
      const int32_t i = visible[r];
      if (!(weights[i] > 0)) continue;
      opinions[v].push_back({i, cosines[r]});
      mean[i] += cosines[r];
      square[i] += double{cosines[r]} * cosines[r];
      ++count[i];
    }
    if (progress) progress->Update(v + 1);
  }
  for (int v = 0; v < views; ++v) {
    std::vector<int32_t> rows(n_, -1);
    int64_t outliers = 0;
    for (const Opinion& opinion : opinions[v]) {
      const int32_t i = opinion.gaussian;
      const double center = mean[i] / count[i];
      const double deviation = std::sqrt(std::max(0.0, square[i] / count[i] - center * center));
      if (opinion.cosine < center - options_.z_limit * std::max(deviation, 1e-4)) {
        rows[i] = i;
        ++outliers;
      }
    }
    if (outliers > 0) {
      rejected_ += outliers;
      const ViewCells cells = Prepare(v);
      std::vector<float> weights(n_, 0.0f);
      AddView(v, cells, rows.data(), -1.0f, sums_.data_ptr<float>(), weights.data(), false);
      for (int64_t i = 0; i < n_; ++i) weights_[i] -= weights[i];
    }
    if (progress) progress->Update(views + v + 1);
  }
}

// Weights per Gaussian and mask first, of all views; then each vector is read from a table that
// stays in cache, and each Gaussian's sum is written once.
void Lifter::LiftMasks(ViewCells first) {
  std::vector<std::vector<LiftEntry>> entries(views_.size());
  std::vector<at::Tensor> tables;
  std::vector<float> scales;
  std::vector<int32_t> view_of_column;
  std::vector<int64_t> offsets(n_ + 1, 0);
  std::optional<Progress> progress;
  if (options_.progress) progress.emplace("lifting", static_cast<int64_t>(views_.size()));
  for (int v = 0; v < static_cast<int>(views_.size()); ++v) {
    const ViewCells cells = v == 0 ? std::move(first) : Prepare(v);
    if (by_center_) {
      entries[v] = CenterEntries(v, cells, true);
    } else {
      LiftWeightsCpu(ViewOf(cells), {nullptr, max_weights_.data(), nullptr}, &entries[v]);
    }
    const auto base = static_cast<int32_t>(scales.size());
    for (LiftEntry& entry : entries[v]) {
      entry.cell += base;
      ++offsets[entry.splat + 1];
    }
    tables.push_back(cells.vectors);
    scales.insert(scales.end(), cells.scales.begin(), cells.scales.end());
    view_of_column.resize(scales.size(), v);
    if (progress) progress->Update(v + 1);
  }
  for (int64_t i = 0; i < n_; ++i) offsets[i + 1] += offsets[i];
  std::vector<int32_t> columns(offsets[n_]);
  std::vector<float> weights(offsets[n_]);
  std::vector<int64_t> next(offsets.begin(), offsets.end() - 1);
  for (std::vector<LiftEntry>& of_view : entries) {
    for (const LiftEntry& entry : of_view) {
      const int64_t at = next[entry.splat]++;
      columns[at] = entry.cell;
      weights[at] = entry.weight;
    }
    of_view = {};
  }
  const at::Tensor table = at::cat(tables);
  LiftRobustRowsArgs args = {};
  args.rows = {n_,
               nullptr,
               offsets.data(),
               columns.data(),
               weights.data(),
               dimension_,
               static_cast<const uint16_t*>(table.data_ptr()),
               scales.data(),
               sums_.data_ptr<float>(),
               stride_};
  args.views = view_of_column.data();
  args.z_limit = options_.outliers == "never" ? std::numeric_limits<float>::infinity()
                                              : static_cast<float>(options_.z_limit);
  std::vector<int32_t> rejected(n_);
  args.weights = weights_.data();
  args.rejected_views = rejected.data();
  LiftRobustRowsCpu(args);
  for (const int32_t r : rejected) rejected_ += r;
}

SemanticField Lifter::Finish() const {
  SemanticField field;
  field.seen = at::zeros({n_}, at::kByte);
  field.agreement = at::zeros({n_});
  field.max_weight = at::zeros({n_});
  auto* seen = field.seen.data_ptr<uint8_t>();
  auto* agreement = field.agreement.data_ptr<float>();
  auto* max_weight = field.max_weight.data_ptr<float>();
  float* sums = sums_.data_ptr<float>();
  ParallelFor(n_, 1024, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* row = sums + i * stride_;
      max_weight[i] = std::min(max_weights_[i], 1.0f);
      double square = 0;
      for (int64_t c = 0; c < dimension_; ++c) square += double{row[c]} * row[c];
      // What rounding leaves of a sum that was taken back says nothing.
      const bool valid = weights_[i] > 0 && square > 1e-12 * weights_[i] * weights_[i] &&
                         max_weights_[i] >= options_.min_weight;
      if (!valid) {
        std::fill_n(row, dimension_, 0.0f);
        continue;
      }
      seen[i] = 1;
      agreement[i] = static_cast<float>(std::min(1.0, std::sqrt(square) / weights_[i]));
    }
  });
  field.features = FeatureTable::FromRows(sums_.narrow(1, 0, dimension_));
  field.lift_mode = options_.mode;
  return field;
}

SemanticField Lifter::Run(LiftSummary* summary) {
  const auto start = std::chrono::steady_clock::now();
  ViewCells first = Prepare(0);
  if (dense_) {
    LiftDense(std::move(first));
  } else {
    LiftMasks(std::move(first));
  }
  SemanticField field = Finish();
  const int64_t seen = field.num_seen();
  ATHANOR_CHECK(seen > 0, "lifting: no Gaussian is seen in any of ", views_.size(),
                " views by a pixel that says something; are these the scene's cameras?");
  if (summary != nullptr) {
    summary->views = static_cast<int>(views_.size());
    summary->gaussians = n_;
    summary->seen = seen;
    summary->rejected = rejected_;
    summary->mean_agreement = field.agreement.sum().item<double>() / static_cast<double>(seen);
    summary->feature_seconds = feature_seconds_;
    summary->lift_seconds = Seconds(start) - feature_seconds_;
  }
  return field;
}

}  // namespace

OptionList Describe(LiftOptions& o) {
  OptionList list;
  list.Add("mode", &o.mode,
           "how a Gaussian's feature comes from pixels: by blending weights, the largest of them "
           "per pixel, the pixel at its centre by weight, or as in Semantic Gaussians' paper",
           {.choices = {"weights", "topk", "max", "paper"}});
  list.Add("top-k", &o.top_k, "weights per pixel that count, mode topk", {.min = 1, .max = 256});
  list.Add(
      "equal-views", &o.equal_views,
      "a view counts by how much it sees of a Gaussian, not by how near it is (how many pixels "
      "that fills), modes weights and topk");
  list.Add("depth-preset", &o.preset, "data set whose depth threshold to use, mode paper",
           {.choices = {"scannet", "mipnerf360", "mvimgnet", "panoptic"}});
  list.Add("depth-threshold", &o.depth_threshold,
           "a centre is seen up to this part of the depth away, mode paper; 0 = as the preset",
           {.min = 0, .max = 1});
  list.Add("border", &o.border_px, "pixels at the edges that do not count, mode paper",
           {.min = 0, .max = 1000});
  list.Add("min-weight", &o.min_weight,
           "Gaussians that no pixel weighs more than this count as never seen",
           {.min = 0, .max = 1});
  list.Add(
      "outliers", &o.outliers,
      "where to leave out views that contradict the others (dense features are then read three "
      "times)",
      {.choices = {"never", "masks", "always"}});
  list.Add("z-limit", &o.z_limit, "standard deviations from which a view is an outlier",
           {.min = 0.1, .max = 100});
  list.Add("least-weight", &o.least_weight, "blending weights below this say nothing of a pixel",
           {.min = 0, .max = 1});
  list.Add("precision", &o.precision,
           "of products with dense vectors; bfloat16 is faster where the processor multiplies it",
           {.choices = {"float32", "bfloat16"}});
  return list;
}

SemanticField LiftFeatures(const GaussianModel& model, std::span<const PinholeView> views,
                           const ProjectOptions& project,
                           const std::function<ViewFeatures(int view)>& features,
                           const LiftOptions& options, LiftSummary* summary) {
  return Lifter(model, views, project, features, options).Run(summary);
}

}  // namespace athanor
