#include "athanor/scenes/semantics/teachers/families.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/api/module.h>

#include "athanor/base/test_util.h"
#include "athanor/scenes/semantics/teachers/open_teacher.h"
#include "athanor/scenes/semantics/teachers/teacher_models_test_util.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

// A folder of cards and small networks; the real code paths run on them.
class FamiliesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (OnnxRuntimeInfo().empty()) GTEST_SKIP() << "needs ONNX Runtime";
    folder_ = TestFolder("families");
    Card("tiny-sam", R"(kind = "sam"
[input]
layout = "hwc"
[[file]]
role = "encoder"
name = "encoder.onnx"
[[file]]
role = "decoder"
name = "decoder.onnx"
[ports]
image = "input_image"
embeddings_out = "image_embeddings"
embeddings = "image_embeddings"
point_coords = "point_coords"
point_labels = "point_labels"
mask_input = "mask_input"
has_mask_input = "has_mask_input"
orig_im_size = "orig_im_size"
masks = "masks"
iou = "iou_predictions"
[numbers]
points = 8
long_side = 64
mask_side = 64
min_area = 4
)");
    Write("encoder.onnx", SamEncoderOnnx());
    Write("decoder.onnx", SamDecoderOnnx(0.9f, 2));
    Card("tiny-clip", R"(kind = "clip"
text_space = "colours"
[input]
width = 8
height = 8
mean = [0, 0, 0]
std = [255, 255, 255]
[[file]]
role = "image"
name = "clip.onnx"
[numbers]
dimension = 3
batch = 2
)");
    Write("clip.onnx", ClipImageOnnx(8));
    Card("tiny-pixel", R"(kind = "pixel"
text_space = "colours"
[input]
width = 16
height = 16
std = [255, 255, 255]
[[file]]
role = "network"
name = "pixel.onnx"
[ports]
features = "features"
[numbers]
dimension = 3
cell = 4
scale1 = 1
scale2 = 2
)");
    Write("pixel.onnx", PixelOnnx(at::eye(3), 16, "features"));
  }

  void Card(const std::string& name, const std::string& text) {
    Write(name + ".toml", "summary = \"a test\"\nlicense = \"none\"\n" + text);
  }
  void Write(const std::string& name, const std::string& bytes) {
    WriteFile(folder_ / name, bytes);
  }
  std::string Path(const std::string& name) const { return (folder_ / (name + ".toml")).string(); }
  ModelStore Store() const { return {folder_}; }

  // Grey, with a red thing on the left and a green one on the right.
  static Image TwoThings() {
    Image rgb(64, 48, 3, 100);
    for (int y = 10; y < 40; ++y) {
      for (int x = 5; x < 25; ++x) rgb.at(x, y)[0] = 250, rgb.at(x, y)[1] = rgb.at(x, y)[2] = 0;
      for (int x = 36; x < 60; ++x) rgb.at(x, y)[1] = 200, rgb.at(x, y)[0] = rgb.at(x, y)[2] = 0;
    }
    return rgb;
  }

  fs::path folder_;
};

TEST_F(FamiliesTest, SamFindsEverythingOnce) {
  const auto sam = OpenMaskSource(Path("tiny-sam"), Store());
  const auto masks = sam->Everything(TwoThings());
  std::vector<int64_t> areas;
  for (const BitMask& mask : masks) areas.push_back(mask.area());
  EXPECT_THAT(areas, ::testing::UnorderedElementsAre(20 * 30, 24 * 30, 64 * 48 - 44 * 30));

  const auto boxed = sam->InBoxes(TwoThings(), {{5, 10, 25, 40}});
  ASSERT_EQ(boxed.size(), 1u);
  EXPECT_EQ(boxed[0].area(), 20 * 30);
  EXPECT_EQ(boxed[0].box().left, 5);
  EXPECT_TRUE(sam->InBoxes(TwoThings(), {}).empty());
}

TEST_F(FamiliesTest, SamDropsWhatItDoesNotTrust) {
  Write("decoder.onnx", SamDecoderOnnx(0.5f));
  EXPECT_TRUE(OpenMaskSource(Path("tiny-sam"), Store())->Everything(TwoThings()).empty());
  Write("decoder.onnx", SamDecoderOnnx(NAN));
  EXPECT_THAT(ErrorOf([&] { OpenMaskSource(Path("tiny-sam"), Store())->Everything(TwoThings()); }),
              HasSubstr("NaN"));
  Write("decoder.onnx", SamEncoderOnnx());
  EXPECT_THAT(ErrorOf([&] { OpenMaskSource(Path("tiny-sam"), Store())->Everything(TwoThings()); }),
              HasSubstr("takes 1 inputs ('input_image')"));
}

TEST_F(FamiliesTest, RegionsBecomeVectorsOfTheirCutOuts) {
  const auto teacher = OpenTeacher(Path("tiny-clip") + "@" + Path("tiny-sam"), Store());
  EXPECT_EQ(teacher->text_space(), "colours");
  const ViewFeatures found = teacher->Describe(TwoThings(), "view");
  ASSERT_FALSE(found.is_dense());
  EXPECT_EQ(found.features.size(0), 3);
  const at::Tensor map = OnGrid(found, {48, 64});
  // The red thing on black has the direction of red, the green one that of green.
  EXPECT_TRUE(at::allclose(map[20][10], at::tensor({1.0f, 0.0f, 0.0f}), 0, 2e-3));
  EXPECT_TRUE(at::allclose(map[20][50], at::tensor({0.0f, 1.0f, 0.0f}), 0, 2e-3));
  EXPECT_TRUE(at::allclose(map[2][2], at::full({3}, 0.5774f), 0, 2e-3));

  Write("clip.onnx", PixelOnnx(at::eye(3), 8, "vector"));
  EXPECT_THAT(ErrorOf([&] {
                OpenTeacher(Path("tiny-clip") + "@" + Path("tiny-sam"), Store())
                    ->Describe(TwoThings(), "view");
              }),
              HasSubstr("expected vectors [1,3], found [1, 3, 8, 8]"));
}

TEST_F(FamiliesTest, CutOutsAreSquaresOnBlack) {
  const Image rgb = TwoThings();
  BitMask mask(64, 48);
  for (int x = 5; x < 25; ++x) {
    for (int y = 12; y < 20; ++y) mask.Set(x, y, true);
  }
  mask.Set(5, 12, false);
  mask.Close();
  const Image cut = CutOut(rgb, mask);
  EXPECT_EQ(cut.width, 20);
  EXPECT_EQ(cut.height, 20);
  EXPECT_EQ(cut.at(1, 6)[0], 250);
  EXPECT_EQ(cut.at(0, 6)[0], 0);   // not of the mask
  EXPECT_EQ(cut.at(10, 5)[0], 0);  // padding
  EXPECT_EQ(cut.at(10, 14)[0], 0);
}

TEST_F(FamiliesTest, WindowsAgreeWithTheNetworkOnTheWholePicture) {
  const auto teacher = OpenTeacher(Path("tiny-pixel"), Store());
  const Image rgb = TwoThings();
  const ViewFeatures found = teacher->Describe(rgb, "view");
  EXPECT_EQ(found.features.sizes(), (std::vector<int64_t>{12, 16, 3}));
  // The network is a point-wise identity: far from edges, windows at any scale give the colour.
  for (const auto& [row, column] :
       std::vector<std::pair<int, int>>{{0, 0}, {6, 3}, {6, 12}, {11, 15}}) {
    const uint8_t* colour = rgb.at(column * 4 + 2, row * 4 + 2);
    for (int c = 0; c < 3; ++c) {
      EXPECT_NEAR(found.features[row][column][c].item<float>(), colour[c] / 255.0f, 2e-3f)
          << row << " " << column;
    }
  }
  EXPECT_THAT(ErrorOf([&] {
                Write("pixel.onnx", PixelOnnx(at::ones({2, 3}), 16, "features"));
                OpenTeacher(Path("tiny-pixel"), Store())->Describe(rgb, "view");
              }),
              HasSubstr("output 'features' should be a map of 3 channels, found [1, 2, 16, 16]"));
  EXPECT_THAT(ErrorOf([&] {
                Write("pixel.onnx", PixelOnnx(at::full({3, 3}, NAN), 16, "features"));
                OpenTeacher(Path("tiny-pixel"), Store())->Describe(rgb, "view");
              }),
              HasSubstr("holds NaN"));
}

TEST_F(FamiliesTest, PoolingGivesTheMeanBelowEachMask) {
  const auto teacher = OpenTeacher(Path("tiny-pixel") + "@graph", Store());
  const ViewFeatures found = teacher->Describe(TwoThings(), "view");
  ASSERT_FALSE(found.is_dense());
  EXPECT_GE(found.mask_ids.amax(0).min().item<int>(), 0) << "every pixel has a vector";

  ViewFeatures dense;
  dense.width_px = 5;
  dense.height_px = 4;
  dense.features = at::randn({2, 3, 7}).to(at::kHalf);
  BitMask mask(5, 4);
  at::Tensor sum = at::zeros({7});
  for (const auto& [x, y] : std::vector<std::pair<int, int>>{{0, 0}, {1, 0}, {2, 1}, {4, 3}}) {
    mask.Set(x, y, true);
    sum +=
        dense.features[static_cast<int>((y + 0.5) * 2 / 4)][static_cast<int>((x + 0.5) * 3 / 5)].to(
            at::kFloat);
  }
  mask.Close();
  EXPECT_TRUE(at::allclose(PoolBelowMasks(dense, {mask})[0], sum / 4, 1e-4, 1e-4));
  EXPECT_THAT(ErrorOf([&] { PoolBelowMasks(dense, {BitMask(4, 4)}); }),
              HasSubstr("mask 0 is 4 x 4 pixels, the picture 5 x 4"));
}

TEST_F(FamiliesTest, FusedTeachersJoinOrAverage) {
  const std::string pixel = Path("tiny-pixel"), clip = Path("tiny-clip") + "@" + Path("tiny-sam");
  const auto joined = OpenTeacher(pixel + "+" + clip, Store());
  EXPECT_EQ(joined->dimension(), 6);
  EXPECT_EQ(joined->text_space(), "colours+colours");
  const ViewFeatures both = joined->Describe(TwoThings(), "view");
  ASSERT_TRUE(both.is_dense());
  EXPECT_TRUE(at::allclose(both.features[6][3].to(at::kFloat),
                           at::tensor({1.f, 0.f, 0.f, 1.f, 0.f, 0.f}), 0, 3e-3));

  const auto mean = OpenTeacher(pixel + "|" + clip, Store());
  EXPECT_EQ(mean->dimension(), 3);
  EXPECT_EQ(mean->text_space(), "colours");
  EXPECT_TRUE(at::allclose(mean->Describe(TwoThings(), "view").features[6][3].to(at::kFloat),
                           at::tensor({1.f, 0.f, 0.f}), 0, 3e-3));
  EXPECT_NE(mean->key(), joined->key());
  EXPECT_THAT(ErrorOf([&] { OpenTeacher(pixel + "+" + pixel + "|" + pixel, Store()); }),
              HasSubstr("do not go together"));
  Card("other",
       "kind = \"clip\"\ntext_space = \"sounds\"\n[input]\nwidth = 8\nheight = 8\n[[file]]\n"
       "role = \"image\"\nname = \"clip.onnx\"\n[numbers]\ndimension = 3\n");
  EXPECT_THAT(ErrorOf([&] { OpenTeacher(pixel + "|" + Path("other"), Store()); }),
              AllOf(HasSubstr("needs one space"), HasSubstr("sounds")));
}

TEST_F(FamiliesTest, SaysWhatIsMissing) {
  EXPECT_THAT(
      ErrorOf([&] { OpenTeacher("no-such-model", Store()); }),
      AllOf(HasSubstr("there is no model card 'no-such-model'"), HasSubstr("clip-vit-b-32")));
  EXPECT_THAT(ErrorOf([&] { OpenTeacher("clip-vit-b-32", Store()); }),
              HasSubstr("fetch it with: athanor models fetch clip-vit-b-32"));
  EXPECT_THAT(ErrorOf([&] { OpenTeacher(Path("tiny-sam"), Store()); }),
              HasSubstr("describes no teacher"));
  EXPECT_THAT(ErrorOf([&] { OpenMaskSource(Path("tiny-clip"), Store()); }),
              HasSubstr("expected a card of kind 'sam', found 'clip'"));
  EXPECT_THAT(ErrorOf([&] { OpenTextEncoder("colours of the deep", Store()); }),
              HasSubstr("no model card has a text encoder of the space 'colours of the deep'"));
}

// CLIP's two halves as OpenAI ships them: one TorchScript file with two methods.
TEST_F(FamiliesTest, ClipAsTorchScriptReadsPhrases) {
  ATHANOR_SKIP_WITHOUT("clip_text_space");
  torch::jit::Module module("clip");
  module.register_parameter("w", at::randn({77, 4}), false);
  module.define(R"(
def encode_image(self, image):
    return torch.cat([torch.mean(image, [2, 3]), torch.ones([image.size(0), 1])], 1)
def encode_text(self, text):
    return torch.matmul(torch.to(text, torch.device("cuda:0"), 5, False, False), self.w)
)");
  module.save((folder_ / "clip.pt").string());
  fs::copy_file(SharedData("clip_text_space") / "bpe_simple_vocab_16e6.txt.gz",
                folder_ / "bpe_simple_vocab_16e6.txt.gz");
  Card("script", R"(kind = "clip"
text_space = "script"
[input]
width = 8
height = 8
[[file]]
role = "network"
name = "clip.pt"
[[file]]
role = "vocabulary"
name = "bpe_simple_vocab_16e6.txt.gz"
[numbers]
dimension = 4
)");
  ClipTextEncoder words(ReadModelCard(Path("script")), Store());
  const std::vector<std::string> prompts = {"a photo of a cat", "a photo of a dog"};
  const at::Tensor vectors = words.Encode(prompts);
  EXPECT_EQ(vectors.sizes(), (std::vector<int64_t>{2, 4}));
  EXPECT_TRUE(at::allclose(vectors.norm(2, 1), at::ones({2})));
  EXPECT_FALSE(at::allclose(vectors[0], vectors[1]));
  EXPECT_THAT(ErrorOf([&] { words.Encode(std::vector<std::string>{""}); }),
              HasSubstr("an empty prompt"));
  EXPECT_EQ(OpenTeacher(Path("script"), Store())->Describe(TwoThings(), "v").dimension(), 4);
}

TEST_F(FamiliesTest, RealDetectorsFindTheCarsOfAStreet) {
  ATHANOR_SKIP_WITHOUT("models_vision");
  ATHANOR_SKIP_WITHOUT("nuscenes_keyframe");
  for (const char* name : {"fastestdet-coco", "ssd-openimages"}) {
    const ModelStore store{TestFolder("detector")};
    FetchModel(FindModelCard(name), store, SharedData("models_vision"));
    PictureDetector detector(FindModelCard(name), store);
    int cars = 0;
    for (const char* camera : {"CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK"}) {
      const Image rgb = ReadImage(SharedData("nuscenes_keyframe") / (std::string(camera) + ".jpg"));
      for (const FoundBox& found : detector.Find(rgb)) {
        const std::string label = FindModelCard(name).labels[found.label];
        cars += label == "car" || label == "truck" || label == "vehicle" || label == "land vehicle";
      }
    }
    EXPECT_GE(cars, 1) << name;
  }
}

}  // namespace
}  // namespace athanor
