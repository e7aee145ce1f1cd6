// Networks of a few operators with the inputs and outputs of the real ones.
#pragma once

#include <ATen/ATen.h>

#include "athanor/base/files.h"
#include "athanor/nn/onnx_test_util.h"

namespace athanor {

// [1,3,size,size] -> logits [1,C,size,size], the image under a 1 x 1 convolution [C,3].
inline std::string PixelOnnx(const at::Tensor& weights, int size, const std::string& output) {
  OnnxGraph graph;
  const int64_t channels = weights.size(0);
  graph.Input("input", at::kFloat, {1, 3, size, size});
  graph.Constant("w", weights.view({channels, 3, 1, 1}));
  graph.Node("Conv", {"input", "w"}, {output});
  graph.Output(output, at::kFloat, {1, channels, size, size});
  return graph.Model();
}

// CLIP's image half: [N,3,S,S] -> [N,3], the mean colour.
inline std::string ClipImageOnnx(int size) {
  OnnxGraph graph;
  graph.Input("image", at::kFloat, {-1, 3, size, size});
  graph.Node("ReduceMean", {"image"}, {"vector"},
             {{"axes", std::vector<int64_t>{2, 3}}, {"keepdims", int64_t{0}}});
  graph.Output("vector", at::kFloat, {-1, 3});
  return graph.Model();
}

// SAM's image half: [H,W,3] of any size -> [1,3,H,W].
inline std::string SamEncoderOnnx() {
  OnnxGraph graph;
  graph.Input("input_image", at::kFloat, {-1, -1, 3});
  graph.Node("Transpose", {"input_image"}, {"chw"}, {{"perm", std::vector<int64_t>{2, 0, 1}}});
  graph.Constant("axis", at::zeros({1}, at::kLong));
  graph.Node("Unsqueeze", {"chw", "axis"}, {"image_embeddings"});
  graph.Output("image_embeddings", at::kFloat, {1, 3, -1, -1});
  return graph.Model();
}

// SAM's decoder with its six inputs: the mask of a prompt is what has the colour at the first point
// (or at the middle of the box), as logits 20 - |difference|; its predicted IoU is `iou`.
inline std::string SamDecoderOnnx(float iou, int channels = 1) {
  OnnxGraph graph;
  graph.Input("image_embeddings", at::kFloat, {1, 3, -1, -1});
  graph.Input("point_coords", at::kFloat, {1, -1, 2});
  graph.Input("point_labels", at::kFloat, {1, -1});
  graph.Input("mask_input", at::kFloat, {1, 1, 256, 256});
  graph.Input("has_mask_input", at::kFloat, {1});
  graph.Input("orig_im_size", at::kFloat, {2});
  // The place: the mean of box corners (labels 2 and 3), or the point (label 1); padding (-1)
  // counts nothing.
  graph.Constant("zero", at::zeros({1}));
  graph.Node("Greater", {"point_labels", "zero"}, {"is_used"});
  graph.Node("Cast", {"is_used"}, {"used"}, {{"to", int64_t{1}}});
  graph.Constant("axis2", at::full({1}, 2, at::kLong));
  graph.Constant("axis1", at::full({1}, 1, at::kLong));
  graph.Node("Unsqueeze", {"used", "axis2"}, {"used3"});
  graph.Node("Mul", {"point_coords", "used3"}, {"used_coords"});
  graph.Node("ReduceSum", {"used_coords", "axis1"}, {"sum"}, {{"keepdims", int64_t{0}}});
  graph.Node("ReduceSum", {"used", "axis1"}, {"count"}, {{"keepdims", int64_t{1}}});
  graph.Node("Div", {"sum", "count"}, {"place"});  // [1,2] x, y
  graph.Node("Cast", {"place"}, {"place_int"}, {{"to", int64_t{7}}});
  graph.Constant("i0", at::zeros({1}, at::kLong));
  graph.Constant("i1", at::ones({1}, at::kLong));
  graph.Node("Gather", {"place_int", "i0"}, {"x"}, {{"axis", int64_t{1}}});  // [1,1]
  graph.Node("Gather", {"place_int", "i1"}, {"y"}, {{"axis", int64_t{1}}});
  graph.Constant("flat", at::full({1}, -1, at::kLong));
  graph.Node("Reshape", {"x", "flat"}, {"x1"});
  graph.Node("Reshape", {"y", "flat"}, {"y1"});
  graph.Node("Gather", {"image_embeddings", "y1"}, {"row"}, {{"axis", int64_t{2}}});
  graph.Node("Gather", {"row", "x1"}, {"colour"}, {{"axis", int64_t{3}}});  // [1,3,1,1]
  graph.Node("Sub", {"image_embeddings", "colour"}, {"difference"});
  graph.Node("Abs", {"difference"}, {"distance"});
  graph.Node("ReduceMean", {"distance"}, {"mean"},
             {{"axes", std::vector<int64_t>{1}}, {"keepdims", int64_t{1}}});
  graph.Constant("limit", at::full({1}, 20.0f));
  graph.Node("Sub", {"limit", "mean"}, {"logits_in"});
  // To the size that is asked for.
  graph.Node("Cast", {"orig_im_size"}, {"size"}, {{"to", int64_t{7}}});
  graph.Constant("head", at::tensor({int64_t{1}, int64_t{1}}, at::kLong));
  graph.Node("Concat", {"head", "size"}, {"sizes"}, {{"axis", int64_t{0}}});
  graph.Node("Resize", {"logits_in", "", "", "sizes"}, {"logits"},
             {{"mode", std::string("nearest")},
              {"coordinate_transformation_mode", std::string("asymmetric")},
              {"nearest_mode", std::string("floor")}});
  graph.Node("Concat", std::vector<std::string>(static_cast<size_t>(channels), "logits"), {"masks"},
             {{"axis", int64_t{1}}});
  graph.Constant("quality", at::full({1, channels}, iou));
  graph.Constant("one", at::ones({1, 1}));
  graph.Node("Mul", {"quality", "one"}, {"iou_predictions"});
  graph.Output("masks", at::kFloat, {1, -1, -1, -1});
  graph.Output("iou_predictions", at::kFloat, {1, -1});
  return graph.Model();
}

}  // namespace athanor
