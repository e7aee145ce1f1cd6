// What a 2D model says about the pixels of one view: a vector per cell of a grid, or per mask.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace athanor {

// Vectors are float16, of the length that the model gave them. All tensors are dense and on the
// CPU.
struct ViewFeatures {
  int width_px = 0, height_px = 0;  // of the view that was described

  // Dense: [Hf,Wf,D]. Cell (r, c) speaks for the pixels of [c W/Wf, (c+1) W/Wf) x [r H/Hf,
  // (r+1) H/Hf); a pixel belongs to the cell that holds its centre.
  // Per mask: [M,D], M >= 0.
  at::Tensor features;
  // Per mask: [L,H,W] i32, -1 = no mask there. A pixel lies in at most L masks (small ones in large
  // ones, say); its vector is the sum of theirs. Undefined when the features are dense.
  at::Tensor mask_ids;

  bool is_dense() const { return !mask_ids.defined(); }
  int dimension() const { return static_cast<int>(features.size(-1)); }
  int64_t size_bytes() const;

  // Throws Error, naming `where`, unless types and shapes are those above, every mask id is below M
  // and every value is finite.
  void Check(std::string_view where) const;
  // All of that but the values of the features.
  void CheckShapes(std::string_view where) const;
};

// One .safetensors file per view: "features", "mask_ids", and the view's size in the metadata.
// Written aside and renamed. Throws Error.
void WriteViewFeatures(const std::filesystem::path& path, const ViewFeatures& features);
// Throws Error (path, tensor, expectation) for a damaged file, and as Check does.
ViewFeatures ReadViewFeatures(const std::filesystem::path& path);

}  // namespace athanor
