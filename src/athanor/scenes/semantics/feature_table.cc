#include "athanor/scenes/semantics/feature_table.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "athanor/base/error.h"
#include "athanor/kernels/feature_scores.h"

namespace athanor {
namespace {

constexpr const char* kStoreNames[] = {"half", "product", "codebook", "cluster"};
constexpr int kPartLength = 8;

const uint16_t* Words(const at::Tensor& tensor) {
  return static_cast<const uint16_t*>(tensor.data_ptr());
}

const at::Tensor& Find(const std::vector<std::pair<std::string, at::Tensor>>& state,
                       const char* name, at::ScalarType type, int64_t axes,
                       std::string_view where) {
  for (const auto& [key, tensor] : state) {
    if (key != name) continue;
    ATHANOR_CHECK(tensor.scalar_type() == type && tensor.dim() == axes, where, ": '", name,
                  "' should be ", c10::toString(type), " with ", axes, " axes, found ",
                  c10::toString(tensor.scalar_type()), " ", tensor.sizes());
    return tensor;
  }
  throw Error(StrCat(where, ": expected a tensor named '", name, "', found none"));
}

}  // namespace

std::string_view FeatureStoreName(FeatureStore store) {
  return kStoreNames[static_cast<int>(store)];
}

FeatureStore FeatureStoreFromName(std::string_view name) {
  for (int i = 0; i < 4; ++i) {
    if (name == kStoreNames[i]) return static_cast<FeatureStore>(i);
  }
  throw Error(StrCat("store: expected half, product, codebook or cluster, found '", name, "'"));
}

FeatureTable FeatureTable::FromRows(const at::Tensor& rows) {
  ATHANOR_CHECK(rows.defined() && rows.dim() == 2 && rows.size(1) > 0 &&
                    (rows.scalar_type() == at::kHalf || rows.scalar_type() == at::kFloat),
                "features: expected [N,D] float16 or float32");
  FeatureTable table;
  table.size_ = rows.size(0);
  table.dimension_ = static_cast<int>(rows.size(1));
  table.rows_ = at::empty(rows.sizes(), at::kHalf);
  constexpr int64_t kBlock = 16384;  // rows in float32 at a time
  for (int64_t first = 0; first < table.size_; first += kBlock) {
    const int64_t count = std::min(kBlock, table.size_ - first);
    const at::Tensor block = rows.narrow(0, first, count).to(at::kFloat);
    const at::Tensor length = at::norm(block, 2, {1}, /*keepdim=*/true);
    const at::Tensor finite = at::isfinite(length).view({count});
    if (!finite.all().item<bool>()) {
      const int64_t bad = at::argmin(finite.to(at::kInt)).item<int64_t>();
      throw Error(StrCat("features: row ", first + bad, " is not finite"));
    }
    table.rows_.narrow(0, first, count).copy_(block / at::where(length > 0, length, at::ones({1})));
  }
  return table;
}

double FeatureTable::bytes_per_row() const {
  const auto of = [&](const at::Tensor& tensor) {
    return tensor.defined() && size_ > 0
               ? static_cast<double>(tensor.nbytes()) / static_cast<double>(size_)
               : 0.0;
  };
  return of(rows_) + of(codes_) + of(weights_);
}

int64_t FeatureTable::table_bytes() const {
  return table_.defined() ? static_cast<int64_t>(table_.nbytes()) : 0;
}

at::Tensor FeatureTable::Decode(const at::Tensor& rows) const {
  switch (store_) {
    case FeatureStore::kHalf:
      return rows_.index_select(0, rows).to(at::kFloat);
    case FeatureStore::kProduct: {
      const int64_t count = rows.numel(), parts = codes_.size(1);
      const at::Tensor first = at::arange(parts, at::kLong) * 256;
      const at::Tensor entries =
          (codes_.index_select(0, rows).to(at::kLong) + first).reshape({count * parts});
      return table_.view({parts * 256, kPartLength})
          .index_select(0, entries)
          .view({count, parts * kPartLength})
          .narrow(1, 0, dimension_)
          .contiguous();
    }
    default: {
      const int64_t count = rows.numel(), terms = codes_.size(1) / 2;
      const at::Tensor bytes = codes_.index_select(0, rows).to(at::kLong).view({count, terms, 2});
      const at::Tensor entries = bytes.select(2, 0) + 256 * bytes.select(2, 1);
      if (store_ == FeatureStore::kCluster) return table_.index_select(0, entries.view({count}));
      const at::Tensor weights = weights_.index_select(0, rows).to(at::kFloat);
      at::Tensor sum = at::zeros({count, dimension_});
      for (int64_t k = 0; k < terms; ++k) {
        sum += weights.narrow(1, k, 1) * table_.index_select(0, entries.select(1, k));
      }
      return sum;
    }
  }
}

at::Tensor FeatureTable::DecodeAll() const {
  at::Tensor all = at::empty({size_, dimension_});
  constexpr int64_t kBlock = 65536;
  for (int64_t first = 0; first < size_; first += kBlock) {
    const int64_t count = std::min(kBlock, size_ - first);
    all.narrow(0, first, count).copy_(Decode(at::arange(first, first + count, at::kLong)));
  }
  return all;
}

int64_t FeatureTable::FindNonZero(const at::Tensor& rows) const {
  if (store_ == FeatureStore::kHalf) {
    // A number is zero when all of its bits but the sign are.
    constexpr uint16_t kAllButSign = 0x7fff;
    const auto* row = rows.data_ptr<int64_t>();
    for (int64_t i = 0; i < rows.numel(); ++i) {
      const uint16_t* values = Words(rows_) + row[i] * dimension_;
      uint16_t bits = 0;
      for (int k = 0; k < dimension_; ++k) bits |= values[k];
      if ((bits & kAllButSign) != 0) return i;
    }
    return -1;
  }
  constexpr int64_t kBlock = 16384;  // rows in float32 at a time
  for (int64_t first = 0; first < rows.numel(); first += kBlock) {
    const at::Tensor block = rows.narrow(0, first, std::min(kBlock, rows.numel() - first));
    const at::Tensor is_zero = Decode(block).eq(0).all(1);
    if (!is_zero.all().item<bool>()) {
      return first + at::argmin(is_zero.to(at::kInt)).item<int64_t>();
    }
  }
  return -1;
}

FeatureTable FeatureTable::TakeRows(const at::Tensor& rows) const {
  FeatureTable taken = *this;
  taken.size_ = rows.numel();
  for (at::Tensor* column : {&taken.rows_, &taken.codes_, &taken.weights_}) {
    if (column->defined()) *column = column->index_select(0, rows);
  }
  return taken;
}

at::Tensor FeatureTable::Score(const at::Tensor& targets) const {
  ATHANOR_CHECK(targets.defined() && targets.dim() == 2 && targets.scalar_type() == at::kFloat &&
                    targets.size(1) == dimension_,
                "scores: expected [P,", dimension_, "] float32 vectors to compare with");
  const at::Tensor dense = targets.contiguous();
  const int vectors = static_cast<int>(dense.size(0));
  at::Tensor scores = at::empty({size_, vectors});
  if (scores.numel() == 0) return scores;
  if (store_ == FeatureStore::kHalf) {
    HalfScoresArgs args = {};
    args.n = size_, args.dimension = dimension_, args.vectors = vectors;
    args.rows = Words(rows_);
    args.targets = dense.data_ptr<float>();
    args.scores = scores.data_ptr<float>();
    HalfScoresCpu(args);
  } else if (store_ == FeatureStore::kProduct) {
    const int64_t parts = codes_.size(1);
    const at::Tensor padded = at::zeros({vectors, parts * kPartLength});
    padded.narrow(1, 0, dimension_).copy_(dense);
    // [M,256,8] x [M,8,P]
    const at::Tensor table =
        at::bmm(table_, padded.view({vectors, parts, kPartLength}).permute({1, 2, 0})).contiguous();
    ProductScoresArgs args = {};
    args.n = size_, args.parts = static_cast<int>(parts), args.vectors = vectors;
    args.codes = codes_.data_ptr<uint8_t>();
    args.table = table.data_ptr<float>();
    args.scores = scores.data_ptr<float>();
    ProductScoresCpu(args);
  } else {
    const at::Tensor entry_scores = at::mm(table_, dense.t()).contiguous();
    CodedScoresArgs args = {};
    args.n = size_, args.terms = static_cast<int>(codes_.size(1) / 2), args.vectors = vectors;
    args.codes = Words(codes_);
    if (weights_.defined()) args.weights = Words(weights_);
    args.entries = static_cast<int>(entry_scores.size(0));
    args.entry_scores = entry_scores.data_ptr<float>();
    args.scores = scores.data_ptr<float>();
    CodedScoresCpu(args);
  }
  return scores;
}

std::vector<std::pair<std::string, at::Tensor>> FeatureTable::State() const {
  if (store_ == FeatureStore::kHalf) return {{"features", rows_}};
  std::vector<std::pair<std::string, at::Tensor>> state = {{"codes", codes_}, {"table", table_}};
  if (weights_.defined()) state.emplace_back("weights", weights_);
  return state;
}

FeatureTable FeatureTable::FromState(FeatureStore store, int dimension,
                                     const std::vector<std::pair<std::string, at::Tensor>>& state,
                                     std::string_view where) {
  ATHANOR_CHECK(dimension > 0, where, ": vectors of length ", dimension);
  FeatureTable table;
  table.store_ = store;
  table.dimension_ = dimension;
  if (store == FeatureStore::kHalf) {
    table.rows_ = Find(state, "features", at::kHalf, 2, where);
    table.size_ = table.rows_.size(0);
    ATHANOR_CHECK(table.rows_.size(1) == dimension, where, ": 'features' should have ", dimension,
                  " columns, found ", table.rows_.size(1));
    ATHANOR_CHECK(at::isfinite(table.rows_).all().item<bool>(), where,
                  ": 'features' hold NaN or infinity");
    return table;
  }
  table.codes_ = Find(state, "codes", at::kByte, 2, where);
  table.size_ = table.codes_.size(0);
  const bool product = store == FeatureStore::kProduct;
  table.table_ = Find(state, "table", at::kFloat, product ? 3 : 2, where);
  const int64_t columns = table.codes_.size(1);
  ATHANOR_CHECK(at::isfinite(table.table_).all().item<bool>(), where,
                ": 'table' holds NaN or infinity");
  if (product) {
    const int64_t parts = (dimension + kPartLength - 1) / kPartLength;
    ATHANOR_CHECK(columns == parts && table.table_.size(0) == parts &&
                      table.table_.size(1) == 256 && table.table_.size(2) == kPartLength,
                  where, ": expected 'codes' [N,", parts, "] and 'table' [", parts, ",256,",
                  kPartLength, "], found ", table.codes_.sizes(), " and ", table.table_.sizes());
    return table;
  }
  const int64_t terms = store == FeatureStore::kCluster ? 1 : 4;
  ATHANOR_CHECK(columns == 2 * terms && table.table_.size(1) == dimension, where,
                ": expected 'codes' [N,", 2 * terms, "] and 'table' [..,", dimension, "], found ",
                table.codes_.sizes(), " and ", table.table_.sizes());
  const uint16_t* codes = Words(table.codes_);
  for (int64_t i = 0; i < table.size_ * terms; ++i) {
    ATHANOR_CHECK(codes[i] < table.table_.size(0), where, ": 'codes' of Gaussian ", i / terms,
                  ": expected entries below ", table.table_.size(0), ", found ", codes[i]);
  }
  if (store == FeatureStore::kCodebook) {
    table.weights_ = Find(state, "weights", at::kHalf, 2, where);
    ATHANOR_CHECK(table.weights_.size(0) == table.size_ && table.weights_.size(1) == terms, where,
                  ": expected 'weights' [", table.size_, ",", terms, "], found ",
                  table.weights_.sizes());
    ATHANOR_CHECK(at::isfinite(table.weights_).all().item<bool>(), where,
                  ": 'weights' hold NaN or infinity");
  }
  return table;
}

}  // namespace athanor
