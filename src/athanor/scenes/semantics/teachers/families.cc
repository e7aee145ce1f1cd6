#include "athanor/scenes/semantics/teachers/families.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

#include "athanor/base/error.h"
#include "athanor/base/hash.h"
#include "athanor/scenes/semantics/teachers/conse_teacher.h"

namespace athanor {
namespace {

constexpr int kTilePx = 64, kDefaultCellPx = 8;

ViewFeatures PerMask(const Image& rgb, const std::vector<BitMask>& masks, const at::Tensor& vectors,
                     const std::string& name) {
  ViewFeatures features;
  features.width_px = rgb.width;
  features.height_px = rgb.height;
  features.features = vectors.to(at::kHalf).contiguous();
  features.mask_ids = LayerMasks(masks, rgb.width, rgb.height);
  features.Check(name);
  return features;
}

int64_t CellAt(int pixel, int64_t cells, int pixels) {
  return (2 * int64_t{pixel} + 1) * cells / (2 * int64_t{pixels});
}

at::Tensor UnitLength(const at::Tensor& vectors) {
  return vectors / vectors.norm(2, -1, true).clamp_min(1e-12);
}

}  // namespace

PixelTeacher::PixelTeacher(const ModelCard& card, const ModelStore& store)
    : key_(CardKey(card, store)),
      text_space_(card.text_space),
      dimension_(static_cast<int>(card.Number("dimension", 0))),
      cell_px_(static_cast<int>(card.Number("cell", kDefaultCellPx))),
      network_(OpenForeignModel(store.Require(card, "network")), card, card.Port("features"),
               dimension_, card.Number("channels_last", 0) != 0, WindowOptionsOf(card)) {
  ATHANOR_CHECK(dimension_ > 0, card.path.string(), ": numbers.dimension should say how long the ",
                "vectors are");
  ATHANOR_CHECK(cell_px_ >= 1 && cell_px_ <= 256, card.path.string(), ": cell ", cell_px_,
                ", expected 1 to 256 pixels");
}

ViewFeatures PixelTeacher::Describe(const Image& rgb, const std::string& name) {
  ViewFeatures features;
  features.width_px = rgb.width;
  features.height_px = rgb.height;
  features.features = network_.Map(rgb, GridOf(rgb, cell_px_)).to(at::kHalf).contiguous();
  features.Check(name);
  return features;
}

PooledTeacher::PooledTeacher(std::unique_ptr<Teacher> teacher, std::unique_ptr<MaskSource> masks)
    : teacher_(std::move(teacher)), masks_(std::move(masks)) {}

at::Tensor PoolBelowMasks(const ViewFeatures& dense, const std::vector<BitMask>& masks) {
  ATHANOR_CHECK(dense.is_dense(), "pooling below masks: expected dense features");
  const int64_t rows = dense.features.size(0), columns = dense.features.size(1);
  const at::Tensor cells = dense.features.to(at::kFloat).view({rows * columns, -1});
  std::vector<int64_t> column_of(dense.width_px);
  for (int x = 0; x < dense.width_px; ++x) column_of[x] = CellAt(x, columns, dense.width_px);
  at::Tensor pooled = at::zeros({static_cast<int64_t>(masks.size()), cells.size(1)});
  std::vector<float> weight(static_cast<size_t>(rows * columns));
  for (size_t index = 0; index < masks.size(); ++index) {
    const BitMask& mask = masks[index];
    ATHANOR_CHECK(mask.width() == dense.width_px && mask.height() == dense.height_px, "mask ",
                  index, " is ", mask.width(), " x ", mask.height(), " pixels, the picture ",
                  dense.width_px, " x ", dense.height_px);
    if (mask.area() == 0) continue;
    std::fill(weight.begin(), weight.end(), 0.0f);
    for (int y = mask.box().top; y < mask.box().bottom; ++y) {
      float* row = &weight[static_cast<size_t>(CellAt(y, rows, dense.height_px) * columns)];
      for (int x = mask.box().left; x < mask.box().right; ++x) {
        if (mask.Get(x, y)) row[column_of[x]] += 1;
      }
    }
    std::vector<int64_t> touched;
    std::vector<float> share;
    for (size_t cell = 0; cell < weight.size(); ++cell) {
      if (weight[cell] == 0) continue;
      touched.push_back(static_cast<int64_t>(cell));
      share.push_back(weight[cell] / static_cast<float>(mask.area()));
    }
    const at::Tensor below = cells.index_select(0, at::tensor(touched, at::kLong));
    pooled[static_cast<int64_t>(index)] = at::matmul(at::tensor(share), below);
  }
  return pooled;
}

ViewFeatures PooledTeacher::Describe(const Image& rgb, const std::string& name) {
  const ViewFeatures dense = teacher_->Describe(rgb, name);
  ATHANOR_CHECK(dense.is_dense(), teacher_->key(),
                ": gives vectors per mask already; only dense ones are pooled");
  std::vector<BitMask> masks = masks_->Everything(rgb);
  BitMask covered(rgb.width, rgb.height);
  for (const BitMask& mask : masks) {
    for (int y = mask.box().top; y < mask.box().bottom; ++y) {
      for (int word = 0; word < mask.words(); ++word) covered.Row(y)[word] |= mask.Row(y)[word];
    }
  }
  for (int top = 0; top < rgb.height; top += kTilePx) {
    for (int left = 0; left < rgb.width; left += kTilePx) {
      BitMask rest(rgb.width, rgb.height);
      for (int y = top; y < std::min(rgb.height, top + kTilePx); ++y) {
        for (int x = left; x < std::min(rgb.width, left + kTilePx); ++x) {
          if (!covered.Get(x, y)) rest.Set(x, y, true);
        }
      }
      rest.Close();
      if (rest.area() > 0) masks.push_back(std::move(rest));
    }
  }
  return PerMask(rgb, masks, PoolBelowMasks(dense, masks), name);
}

RegionTeacher::RegionTeacher(const ModelCard& card, const ModelStore& store,
                             ClipImageEncoder encoder, std::unique_ptr<MaskSource> masks)
    : key_(CardKey(card, store) + "@" + masks->key()),
      text_space_(card.text_space),
      encoder_(std::move(encoder)),
      masks_(std::move(masks)) {}

Image CutOut(const Image& rgb, const BitMask& mask) {
  const PixelRect& box = mask.box();
  const int width = box.right - box.left, height = box.bottom - box.top;
  const int side = std::max(width, height);
  Image cut(side, side, 3);
  const int shift_x = (side - width) / 2, shift_y = (side - height) / 2;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      if (!mask.Get(box.left + x, box.top + y)) continue;
      std::memcpy(cut.at(shift_x + x, shift_y + y), rgb.at(box.left + x, box.top + y), 3);
    }
  }
  return cut;
}

ViewFeatures RegionTeacher::Describe(const Image& rgb, const std::string& name) {
  std::vector<BitMask> masks = masks_->Everything(rgb);
  std::erase_if(masks, [](const BitMask& mask) { return mask.area() == 0; });
  std::vector<Image> cuts;
  for (const BitMask& mask : masks) cuts.push_back(CutOut(rgb, mask));
  return PerMask(rgb, masks, encoder_.Encode(cuts), name);
}

InstanceTeacher::InstanceTeacher(const ModelCard& card, const ModelStore& store, TextEncoder& words,
                                 std::unique_ptr<MaskSource> masks)
    : text_space_(card.text_space),
      vectors_(words.Encode(LabelPhrases(card))),
      detector_(card, store),
      masks_(std::move(masks)) {
  ATHANOR_CHECK(words.space() == text_space_, card.path.string(), ": text space ", text_space_,
                ", found an encoder of ", words.space());
  key_ = CardKey(card, store) + "@" + masks_->key() + "-" + VectorsKey(vectors_);
}

ViewFeatures InstanceTeacher::Describe(const Image& rgb, const std::string& name) {
  const std::vector<FoundBox> found = detector_.Find(rgb);
  std::vector<PixelRect> boxes;
  for (const FoundBox& each : found) boxes.push_back(each.box);
  const std::vector<BitMask> masks = masks_->InBoxes(rgb, boxes);
  ATHANOR_CHECK(masks.size() == found.size(), masks_->key(), ": ", masks.size(), " masks for ",
                found.size(), " boxes");
  at::Tensor vectors = at::zeros({static_cast<int64_t>(found.size()), vectors_.size(1)});
  for (size_t i = 0; i < found.size(); ++i) {
    vectors[static_cast<int64_t>(i)] = vectors_[found[i].label] * found[i].score;
  }
  return PerMask(rgb, masks, vectors, name);
}

FusedTeacher::FusedTeacher(std::vector<std::unique_ptr<Teacher>> teachers, Fusion fusion)
    : teachers_(std::move(teachers)), fusion_(fusion) {
  ATHANOR_CHECK(!teachers_.empty(), "fusing teachers: there are none");
  for (const auto& teacher : teachers_) {
    const Teacher& first = *teachers_.front();
    ATHANOR_CHECK(fusion == Fusion::kConcat || (teacher->text_space() == first.text_space() &&
                                                teacher->dimension() == first.dimension()),
                  "the mean of teachers needs one space: ", first.key(), " gives ",
                  first.text_space(), " [", first.dimension(), "], ", teacher->key(), " gives ",
                  teacher->text_space(), " [", teacher->dimension(), "]");
  }
}

std::string FusedTeacher::key() const {
  std::string keys;
  for (const auto& teacher : teachers_) {
    if (!keys.empty()) keys += fusion_ == Fusion::kConcat ? '+' : '|';
    keys += teacher->key();
  }
  return "fused-unit-" + HexDigits(HashBytes(keys));
}

int FusedTeacher::dimension() const {
  int sum = 0;
  for (const auto& teacher : teachers_) sum += teacher->dimension();
  return fusion_ == Fusion::kMean ? teachers_.front()->dimension() : sum;
}

std::string FusedTeacher::text_space() const {
  if (fusion_ == Fusion::kMean) return teachers_.front()->text_space();
  std::string spaces;
  for (const auto& teacher : teachers_) {
    if (!spaces.empty()) spaces += '+';
    spaces += teacher->text_space();
  }
  return spaces;
}

at::Tensor OnGrid(const ViewFeatures& features, GridSize grid) {
  const int64_t rows = features.is_dense() ? features.features.size(0) : features.height_px;
  const int64_t columns = features.is_dense() ? features.features.size(1) : features.width_px;
  at::Tensor row = at::empty({grid.rows}, at::kLong), column = at::empty({grid.columns}, at::kLong);
  for (int i = 0; i < grid.rows; ++i) row[i] = (2 * int64_t{i} + 1) * rows / (2 * grid.rows);
  for (int i = 0; i < grid.columns; ++i) {
    column[i] = (2 * int64_t{i} + 1) * columns / (2 * grid.columns);
  }
  if (features.is_dense()) {
    return features.features.index_select(0, row).index_select(1, column).to(at::kFloat);
  }
  const at::Tensor vectors = features.features.to(at::kFloat);
  at::Tensor sum = at::zeros({grid.rows, grid.columns, vectors.size(1)});
  for (int64_t layer = 0; layer < features.mask_ids.size(0); ++layer) {
    const at::Tensor ids =
        features.mask_ids[layer].index_select(0, row).index_select(1, column).to(at::kLong);
    const at::Tensor inside = ids.ge(0);
    if (!inside.any().item<bool>()) continue;
    sum.index_put_({inside}, sum.index({inside}) + vectors.index({ids.index({inside})}));
  }
  return sum;
}

ViewFeatures FusedTeacher::Describe(const Image& rgb, const std::string& name) {
  std::vector<ViewFeatures> parts;
  GridSize grid = GridOf(rgb, kDefaultCellPx);
  bool has_dense = false;
  for (const auto& teacher : teachers_) {
    parts.push_back(teacher->Describe(rgb, name));
    if (!parts.back().is_dense()) continue;
    const auto rows = static_cast<int>(parts.back().features.size(0));
    const auto columns = static_cast<int>(parts.back().features.size(1));
    grid = has_dense ? GridSize{std::max(grid.rows, rows), std::max(grid.columns, columns)}
                     : GridSize{rows, columns};
    has_dense = true;
  }
  std::vector<at::Tensor> maps;
  for (const ViewFeatures& part : parts) {
    maps.push_back(UnitLength(OnGrid(part, grid)));
  }
  ViewFeatures fused;
  fused.width_px = rgb.width;
  fused.height_px = rgb.height;
  const at::Tensor joined = fusion_ == Fusion::kMean ? at::stack(maps).mean(0) : at::cat(maps, 2);
  fused.features = joined.to(at::kHalf).contiguous();
  fused.Check(name);
  return fused;
}

}  // namespace athanor
