#include "athanor/scenes/semantics/view_features.h"

#include <ATen/ATen.h>

#include <charconv>
#include <cmath>
#include <string>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/kernels/lift.h"
#include "athanor/nn/safetensors.h"

namespace athanor {
namespace {

int ReadSize(const SafeTensors& content, const std::string& key, std::string_view where) {
  const auto entry = content.metadata.find(key);
  ATHANOR_CHECK(entry != content.metadata.end(), where, ": expected '", key, "' in the metadata");
  const std::string& text = entry->second;
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  ATHANOR_CHECK(error == std::errc() && end == text.data() + text.size(), where, ": '", key,
                "' should be a number, found '", text, "'");
  return value;
}

}  // namespace

int64_t ViewFeatures::size_bytes() const {
  return static_cast<int64_t>(features.nbytes() + (mask_ids.defined() ? mask_ids.nbytes() : 0));
}

void ViewFeatures::CheckShapes(std::string_view where) const {
  ATHANOR_CHECK(width_px > 0 && height_px > 0, where, ": a view of ", width_px, " x ", height_px,
                " pixels");
  ATHANOR_CHECK(features.defined() && features.scalar_type() == at::kHalf &&
                    features.device().is_cpu() && features.is_contiguous(),
                where, ": 'features' should be dense float16 on the CPU");
  const int64_t dimensions = is_dense() ? 3 : 2;
  ATHANOR_CHECK(features.dim() == dimensions, where, ": 'features' should have ", dimensions,
                " axes, found ", features.dim());
  ATHANOR_CHECK(features.size(-1) > 0, where, ": 'features' are vectors of length 0");
  if (is_dense()) {
    ATHANOR_CHECK(features.size(0) > 0 && features.size(1) > 0 && features.size(0) <= height_px &&
                      features.size(1) <= width_px,
                  where, ": a grid of ", features.size(0), " x ", features.size(1),
                  " cells for a view of ", height_px, " x ", width_px, " pixels");
  } else {
    ATHANOR_CHECK(mask_ids.scalar_type() == at::kInt && mask_ids.device().is_cpu() &&
                      mask_ids.is_contiguous() && mask_ids.dim() == 3 &&
                      mask_ids.size(1) == height_px && mask_ids.size(2) == width_px,
                  where, ": 'mask_ids' should be dense int32 [L,", height_px, ",", width_px,
                  "] on the CPU, found ", mask_ids.scalar_type(), " ", mask_ids.sizes());
    if (mask_ids.numel() > 0) {
      const int low = mask_ids.min().item<int>(), high = mask_ids.max().item<int>();
      ATHANOR_CHECK(low >= -1 && high < features.size(0), where, ": mask ids from ", low, " to ",
                    high, ", expected -1 to ", features.size(0) - 1);
    }
  }
}

void ViewFeatures::Check(std::string_view where) const {
  CheckShapes(where);
  const int64_t rows = features.numel() / features.size(-1);
  std::vector<float> scales(rows);
  InverseLengthsCpu(static_cast<const uint16_t*>(features.data_ptr()), rows, dimension(),
                    scales.data());
  for (int64_t r = 0; r < rows; ++r) {
    ATHANOR_CHECK(!std::isnan(scales[r]), where, ": 'features' hold NaN or infinity, first in ",
                  is_dense() ? "cell " : "mask ", r);
  }
}

void WriteViewFeatures(const std::filesystem::path& path, const ViewFeatures& features) {
  features.Check(path.string());
  SafeTensors content;
  content.tensors.emplace_back("features", features.features);
  if (!features.is_dense()) content.tensors.emplace_back("mask_ids", features.mask_ids);
  content.metadata = {{"width_px", std::to_string(features.width_px)},
                      {"height_px", std::to_string(features.height_px)}};
  WriteSafeTensors(path, content);
}

ViewFeatures ReadViewFeatures(const std::filesystem::path& path) {
  const SafeTensors content = ReadSafeTensors(path);
  ViewFeatures features;
  features.width_px = ReadSize(content, "width_px", path.string());
  features.height_px = ReadSize(content, "height_px", path.string());
  features.features = content.Get("features", path.string());
  for (const auto& [name, tensor] : content.tensors) {
    if (name == "mask_ids") features.mask_ids = tensor;
  }
  features.Check(path.string());
  return features;
}

}  // namespace athanor
