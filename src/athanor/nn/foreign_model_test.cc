#include "athanor/nn/foreign_model.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/api/module.h>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"
#include "athanor/nn/onnx_test_util.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

#define SKIP_WITHOUT_ONNX() \
  if (OnnxRuntimeInfo().empty()) GTEST_SKIP() << "needs ONNX Runtime"

// y = a weights + bias, z = y > 0 ? y : 0; a: [n,3].
OnnxGraph LinearGraph(const at::Tensor& weights, const at::Tensor& bias) {
  OnnxGraph graph;
  graph.Input("a", at::kFloat, {-1, 3});
  graph.Constant("w", weights);
  graph.Constant("b", bias);
  graph.Node("MatMul", {"a", "w"}, {"aw"});
  graph.Node("Add", {"aw", "b"}, {"y"});
  graph.Node("Relu", {"y"}, {"z"});
  graph.Output("y", at::kFloat, {-1, 2});
  graph.Output("z", at::kFloat, {-1, 2});
  return graph;
}

TEST(OnnxModelTest, GivesWhatItsGraphSays) {
  SKIP_WITHOUT_ONNX();
  const fs::path path = TestFolder("onnx") / "linear.onnx";
  const at::Tensor weights = at::randn({3, 2}), bias = at::randn({2}), a = at::randn({5, 3});
  WriteFile(path, LinearGraph(weights, bias).Model());
  const auto model = OpenForeignModel(path);
  ASSERT_EQ(model->inputs().size(), 1u);
  EXPECT_EQ(model->inputs()[0].name, "a");
  EXPECT_EQ(model->inputs()[0].shape, (std::vector<int64_t>{-1, 3}));
  ASSERT_EQ(model->outputs().size(), 2u);
  const at::Tensor y = at::matmul(a, weights) + bias;
  const auto found = model->Run({{"a", a}}, {"z", "y"});
  ASSERT_EQ(found.size(), 2u);
  EXPECT_TRUE(at::allclose(found[0], at::relu(y), 1e-5, 1e-5));
  EXPECT_TRUE(at::allclose(found[1], y, 1e-5, 1e-5));
  // A transposed view in double precision goes in as well.
  EXPECT_TRUE(at::allclose(model->Run({{"a", a.to(at::kDouble).t().contiguous().t()}}, {"y"})[0], y,
                           1e-5, 1e-5));
}

TEST(OnnxModelTest, RefusesWhatDoesNotFitInOneLine) {
  SKIP_WITHOUT_ONNX();
  const fs::path folder = TestFolder("onnx_bad"), path = folder / "linear.onnx";
  const OnnxGraph graph = LinearGraph(at::ones({3, 2}), at::ones({2}));
  WriteFile(path, graph.Model());
  const auto model = OpenForeignModel(path);
  const at::Tensor a = at::ones({5, 3});
  EXPECT_THAT(ErrorOf([&] {
                model->Run({{"b", a}}, {});
              }),
              AllOf(StartsWith(path.string()), HasSubstr("input 'a' was not given")));
  EXPECT_THAT(ErrorOf([&] {
                model->Run({{"a", at::ones({5, 4})}}, {});
              }),
              HasSubstr("input 'a' should be [?,3], found [5,4]"));
  EXPECT_THAT(ErrorOf([&] {
                model->Run({{"a", at::ones({5, 3}, at::kInt)}}, {});
              }),
              HasSubstr("should be of type Float, found Int"));
  EXPECT_THAT(ErrorOf([&] {
                model->Run({{"a", a}, {"b", a}}, {});
              }),
              HasSubstr("takes 1 inputs ('a'), found 2"));
  EXPECT_THAT(ErrorOf([&] {
                model->Run({{"a", a}}, {"q"});
              }),
              HasSubstr("has no output 'q', but 'y', 'z'"));

  WriteFile(folder / "opset.onnx", graph.Model(999));
  EXPECT_THAT(ErrorOf([&] { OpenForeignModel(folder / "opset.onnx"); }),
              AllOf(HasSubstr("opset.onnx: ONNX Runtime refuses it"), HasSubstr("999")));
  WriteFile(folder / "cut.onnx", graph.Model().substr(0, 60));
  EXPECT_THAT(ErrorOf([&] { OpenForeignModel(folder / "cut.onnx"); }), HasSubstr("refuses it"));
  WriteFile(folder / "text.onnx", "an error page of a server");
  EXPECT_THAT(ErrorOf([&] { OpenForeignModel(folder / "text.onnx"); }), HasSubstr("refuses it"));
  WriteFile(folder / "empty.onnx", "");
  EXPECT_THAT(ErrorOf([&] { OpenForeignModel(folder / "empty.onnx"); }), HasSubstr("too short"));
  EXPECT_THAT(ErrorOf([&] { OpenForeignModel(folder / "none.onnx"); }), HasSubstr("no such file"));
}

TEST(OnnxModelTest, ANetworkOfOthersSaysWhatItTakesAndGives) {
  SKIP_WITHOUT_ONNX();
  ATHANOR_SKIP_WITHOUT("models_vision");
  const auto model = OpenForeignModel(SharedData("models_vision") / "mobilenet_v2_imagenet.onnx");
  EXPECT_EQ(model->inputs()[0].shape, (std::vector<int64_t>{1, 3, 224, 224}));
  const auto found = model->Run({{"input", at::zeros({1, 3, 224, 224})}}, {"embedding", "probs"});
  EXPECT_EQ(found[0].sizes(), (std::vector<int64_t>{1, 1280, 1, 1}));
  EXPECT_NEAR(found[1].sum().item<float>(), 1.0f, 1e-3f);
}

fs::path WriteScript(const std::string& name, const std::string& source) {
  torch::jit::Module module("tiny");
  module.register_parameter("w", at::full({3, 2}, 0.5).to(at::kHalf), false);
  module.define(source);
  const fs::path path = TestFolder(name) / "tiny.pt";
  module.save(path.string());
  return path;
}

TEST(TorchScriptModelTest, RunsAMethodOnTheCpuThoughItWasMadeForAGpu) {
  const fs::path path = WriteScript("script", R"(
def encode_image(self, image):
    x = torch.to(image, torch.device("cuda:0"), 5, False, False)
    return torch.matmul(x, self.w) * 5
def encode_text(self, text):
    return (text + 1, torch.to(text, torch.device("cuda:0"), 6, False, False))
)");
  const auto image = OpenForeignModel(path, "encode_image");
  ASSERT_EQ(image->inputs().size(), 1u);
  EXPECT_EQ(image->inputs()[0].name, "image");
  const at::Tensor found = image->Run(at::full({4, 3}, 2.0));
  EXPECT_EQ(found.scalar_type(), at::kFloat);
  EXPECT_TRUE(at::equal(found, at::full({4, 2}, 15.0f)));

  const auto text = OpenForeignModel(path, "encode_text");
  const at::Tensor tokens = at::arange(4);
  const auto both = text->Run({{"text", tokens}}, {"1", "0"});
  EXPECT_TRUE(at::equal(both[0], tokens.to(at::kFloat)));
  EXPECT_TRUE(at::equal(both[1], tokens + 1));
}

TEST(TorchScriptModelTest, RefusesWhatDoesNotFitInOneLine) {
  const fs::path path = WriteScript("script_bad", R"(
def forward(self, x):
    return torch.matmul(x, self.w)
def count(self, n: int):
    return n
)");
  EXPECT_THAT(ErrorOf([&] { OpenForeignModel(path, "encode_text"); }),
              HasSubstr("has no method 'encode_text'"));
  EXPECT_THAT(ErrorOf([&] { OpenForeignModel(path, "count"); }),
              HasSubstr("argument 'n' of 'count' is no tensor"));
  const auto model = OpenForeignModel(path);
  const std::string message = ErrorOf([&] { model->Run(at::ones({2, 7})); });
  EXPECT_THAT(message, AllOf(StartsWith(path.string()), HasSubstr("'forward' failed"),
                             HasSubstr("cannot be multiplied")));
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_THAT(ErrorOf([&] {
                model->Run({{"x", at::ones({2, 3})}}, {"1"});
              }),
              HasSubstr("has no output '1'"));
  const std::string bytes = ReadFile(path);
  WriteFile(path, bytes.substr(0, bytes.size() / 2));
  EXPECT_THAT(ErrorOf([&] { OpenForeignModel(path); }), HasSubstr("not a TorchScript file"));
}

}  // namespace
}  // namespace athanor
