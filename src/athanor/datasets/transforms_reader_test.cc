#include "athanor/datasets/transforms_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <Eigen/Geometry>
#include <map>

#include "athanor/base/files.h"
#include "athanor/datasets/dataset_test_util.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* kPose = "[[1,0,0,0],[0,1,0,0],[0,0,1,5],[0,0,0,1]]";

std::string Frame(const std::string& path, const std::string& more = "",
                  const std::string& pose = kPose) {
  return StrCat("{\"file_path\": \"", path, "\", \"transform_matrix\": ", pose, more, "}");
}

std::string File(const std::string& fields, const std::vector<std::string>& frames) {
  std::string text = "{" + fields + (fields.empty() ? "" : ", ") + "\"frames\": [";
  for (size_t i = 0; i < frames.size(); ++i) text += (i > 0 ? ", " : "") + frames[i];
  return text + "]}";
}

constexpr const char* kIntrinsics =
    R"("fl_x": 100, "fl_y": 110, "cx": 61, "cy": 41, "w": 120, "h": 80.0)";

std::string ParseError(const std::string& text) {
  return ErrorOf([&] { ParseTransforms(text, "dir/transforms.json"); });
}

TEST(TransformsReaderTest, CameraLooksAlongMinusZWithYUp) {
  // OpenGL's camera at z = 5 without a rotation sees the origin 5 ahead, and +y above the centre.
  const Transforms transforms = ParseTransforms(File(kIntrinsics, {Frame("a.png")}), "t.json");
  const Rigid3& pose = transforms.frames[0].camera_from_world;
  EXPECT_TRUE((pose * Eigen::Vector3d(0, 0, 0)).isApprox(Eigen::Vector3d(0, 0, 5)));
  EXPECT_TRUE((pose * Eigen::Vector3d(1, 0, 0)).isApprox(Eigen::Vector3d(1, 0, 5)));
  EXPECT_TRUE((pose * Eigen::Vector3d(0, 2, 1)).isApprox(Eigen::Vector3d(0, -2, 4)));
}

TEST(TransformsReaderTest, IntrinsicsOfTheFileAndOfFrames) {
  const auto camera = [](const std::string& file, const std::string& frame) {
    const Transforms t = ParseTransforms(File(file, {Frame("a.png", frame)}), "t.json");
    return t.intrinsics[t.frames[0].intrinsics].ToCamera(120, 80, "t.json");
  };
  Camera c = camera(kIntrinsics, "");
  EXPECT_EQ(c.model, CameraModel::kPinhole);
  EXPECT_THAT(c.parameters, testing::ElementsAre(100, 110, 61, 41, 0, 0, 0, 0, 0, 0, 0, 0));
  c = camera(kIntrinsics, R"(, "fl_x": 200, "k1": 0.1, "k2": 0.2, "p1": 0.3, "p2": 0.4)");
  EXPECT_EQ(c.model, CameraModel::kOpenCv);
  EXPECT_THAT(c.parameters, testing::ElementsAre(200, 110, 61, 41, 0.1, 0.2, 0.3, 0.4, 0, 0, 0, 0));
  c = camera(kIntrinsics, R"(, "k1": 0.1, "k2": 0.2, "k3": 0.3, "p1": 0.4, "p2": 0.5)");
  EXPECT_EQ(c.model, CameraModel::kFullOpenCv);
  EXPECT_THAT(c.parameters,
              testing::ElementsAre(100, 110, 61, 41, 0.1, 0.2, 0.4, 0.5, 0.3, 0, 0, 0));
  c = camera(std::string(kIntrinsics) + R"(, "camera_model": "OPENCV_FISHEYE")",
             R"(, "k1": 0.1, "k2": 0.2, "k3": 0.3, "k4": 0.4)");
  EXPECT_EQ(c.model, CameraModel::kOpenCvFisheye);
  EXPECT_THAT(c.parameters, testing::ElementsAre(100, 110, 61, 41, 0.1, 0.2, 0.3, 0.4, 0, 0, 0, 0));
  // Blender: only an angle. tan(0.6) * f = 60.
  c = camera(R"("camera_angle_x": 1.2)", "");
  EXPECT_NEAR(c.fx(), 60 / std::tan(0.6), 1e-9);
  EXPECT_EQ(c.fy(), c.fx());
  EXPECT_EQ(c.cx(), 60);
  EXPECT_EQ(c.cy(), 40);
}

TEST(TransformsReaderTest, RefusesWithFrameFieldAndExpectation) {
  EXPECT_EQ(ParseError(File(kIntrinsics, {Frame("a.png")})), "");
  EXPECT_THAT(ParseError("{\"frames\": [}"),
              AllOf(HasSubstr("dir/transforms.json: byte 13"), HasSubstr("JSON")));
  EXPECT_THAT(ParseError("[]"), HasSubstr("JSON object, found array"));
  EXPECT_THAT(ParseError("{}"), HasSubstr("field frames"));
  EXPECT_THAT(ParseError(R"({"frames": 3})"), HasSubstr("frames: expected a list, found '3'"));
  EXPECT_THAT(ParseError(R"({"w": 1e999, "frames": []})"), HasSubstr("JSON"));
  EXPECT_THAT(ParseError(File(R"("w": 1.5)", {})), HasSubstr("w: expected a whole number"));
  EXPECT_THAT(ParseError(File(R"("w": 1e18)", {})), HasSubstr("w: expected a whole number"));
  EXPECT_THAT(ParseError(File(R"("fl_x": "big")", {})),
              HasSubstr("fl_x: expected a number, found '\"big\"'"));
  EXPECT_THAT(ParseError(File(R"("fl_x": -3)", {})), HasSubstr("above 0"));
  EXPECT_THAT(ParseError(File(R"("camera_angle_x": 4)", {})), HasSubstr("between 0 and pi"));
  EXPECT_THAT(ParseError(File(R"("camera_model": "EQUIRECTANGULAR")", {})),
              AllOf(HasSubstr("OPENCV_FISHEYE"), HasSubstr("EQUIRECTANGULAR")));
  EXPECT_THAT(ParseError(File(kIntrinsics, {Frame("a"), "3"})), HasSubstr("frame 1: "));
  EXPECT_THAT(ParseError(File(kIntrinsics, {Frame("a"), "{}"})),
              HasSubstr("frame 1: expected a field file_path"));
  EXPECT_THAT(ParseError(File(kIntrinsics, {R"({"file_path": "a"})"})),
              HasSubstr("frame 0: expected a field transform_matrix"));
  const auto pose_error = [](const std::string& pose) {
    return ParseError(File(kIntrinsics, {Frame("a"), Frame("b", "", pose)}));
  };
  EXPECT_THAT(pose_error("[[1,0,0,0],[0,1,0,0]]"),
              HasSubstr("frame 1: transform_matrix: expected 3 or 4 rows"));
  EXPECT_THAT(pose_error("[[1,0,0],[0,1,0],[0,0,1]]"), HasSubstr("rows of 4 numbers"));
  EXPECT_THAT(pose_error("[[1,0,0,null],[0,1,0,0],[0,0,1,0]]"), HasSubstr("found 'null'"));
  EXPECT_THAT(pose_error("[[1,0,0,0],[0,1,0,0],[0,0,1.01,0],[0,0,0,1]]"), HasSubstr("a rotation"));
  EXPECT_THAT(pose_error("[[1,0,0,0],[0,1,0,0],[0,0,-1,0],[0,0,0,1]]"),
              HasSubstr("determinant -1"));
  EXPECT_THAT(pose_error("[[1,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,1,1]]"), HasSubstr("last row"));
  EXPECT_EQ(pose_error("[[1.0005,0,0,0],[0,1.0005,0,0],[0,0,1.0005,0],[0,0,0,1]]"), "");
  EXPECT_THAT(ParseError(File(R"("test_filenames": ["c.png"])", {Frame("a.png")})),
              AllOf(HasSubstr("test_filenames"), HasSubstr("c.png")));
}

TEST(TransformsReaderTest, ReadsANerfstudioCapture) {
  const auto folder = TestFolder("nerfstudio");
  for (const char* name : {"a", "b", "c"}) {
    WriteImage(folder / "images" / StrCat(name, ".png"), WavyImage(120, 80));
  }
  WriteImage(folder / "masks/a.png", Image(120, 80, 1, 255));
  WriteDepthPng(folder / "depths/b.png", DepthImage(120, 80, 1, 5));
  WriteFile(folder / "points.ply",
            "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
            "property float z\nend_header\n1 2 3\n");
  WriteFile(folder / "transforms.json",
            File(std::string(kIntrinsics) +
                     R"(, "ply_file_path": "points.ply", "depth_unit_scale_factor": 0.01,
                  "train_filenames": ["images/a.png"], "test_filenames": ["./images/b"],
                  "val_filenames": ["images/gone.png"])",
                 {Frame("./images/b", R"(, "depth_file_path": "depths/b.png", "fl_x": 90)"),
                  Frame("images/a.png", R"(, "mask_path": "masks/a.png")"),
                  Frame("images/gone.png"), Frame("images/c.png")}));
  const PosedImages posed = ReadPosedImages(folder);
  ASSERT_EQ(posed.images.size(), 3u);
  EXPECT_EQ(posed.images[0].name, "images/a.png");
  EXPECT_EQ(posed.images[1].name, "images/b.png") << "the extension is found";
  EXPECT_EQ(posed.images[0].mask_path, folder / "masks/a.png");
  EXPECT_EQ(posed.images[1].depth_path, folder / "depths/b.png");
  EXPECT_EQ(posed.depth_unit_m, 0.01);
  EXPECT_EQ(posed.cameras.size(), 2u) << "equal cameras are one";
  EXPECT_EQ(posed.images[0].camera, posed.images[2].camera);
  EXPECT_EQ(posed.cameras[posed.images[1].camera].fx(), 90);
  ASSERT_EQ(posed.points.size(), 1u);
  EXPECT_EQ(posed.points[0].position[2], 3);
  const auto split = SplitAsGiven(posed);
  ASSERT_TRUE(split.has_value());
  EXPECT_THAT(split->train, testing::ElementsAre(0));
  EXPECT_THAT(split->test, testing::ElementsAre(1));
}

TEST(TransformsReaderTest, FilesThatAreNotThere) {
  const auto folder = TestFolder("nothing");
  WriteFile(folder / "transforms.json",
            File(kIntrinsics, {Frame("a.png"), Frame("b.png"), Frame("c.png")}));
  EXPECT_THAT(ErrorOf([&] { ReadPosedImages(folder); }),
              AllOf(HasSubstr("3 of 3 photographs"), HasSubstr("'a.png'")));
  WriteImage(folder / "b.png", WavyImage(120, 80));
  WriteFile(folder / "transforms.json",
            File(kIntrinsics, {Frame("b.png", R"(, "mask_path": "m.png")")}));
  EXPECT_THAT(ErrorOf([&] { ReadPosedImages(folder); }),
              AllOf(HasSubstr("frame 0: mask_path"), HasSubstr("m.png")));
  WriteFile(folder / "transforms.json", File(kIntrinsics, {Frame("b.png"), Frame("./b.png")}));
  EXPECT_THAT(ErrorOf([&] { ReadPosedImages(folder); }), HasSubstr("two images are named 'b.png'"));
  WriteFile(folder / "transforms.json", File("", {Frame("b.png")}));
  EXPECT_THAT(ErrorOf([&] { ReadPosedImages(folder); }), HasSubstr("fl_x or camera_angle_x"));
}

TEST(TransformsReaderTest, ReadsABlenderScene) {
  const auto folder = TestFolder("blender");
  for (const char* part : {"train", "val", "test"}) {
    std::vector<std::string> frames;
    for (int i = 0; i < 2; ++i) {
      WriteImage(folder / StrCat(part, "/r_", i, ".png"), Image(50, 40, 4, 7));
      frames.push_back(Frame(StrCat("./", part, "/r_", i), ", \"rotation\": 0.01"));
    }
    WriteFile(folder / StrCat("transforms_", part, ".json"),
              File(R"("camera_angle_x": 0.7)", frames));
  }
  const PosedImages posed = ReadPosedImages(folder);
  ASSERT_EQ(posed.images.size(), 6u);
  ASSERT_EQ(posed.cameras.size(), 1u);
  EXPECT_EQ(posed.cameras[0].width_px, 50);
  EXPECT_NEAR(posed.cameras[0].fx(), 25 / std::tan(0.35), 1e-9);
  const auto split = SplitAsGiven(posed);
  ASSERT_TRUE(split.has_value());
  EXPECT_EQ(posed.images[split->train.at(1)].name, "train/r_1.png");
  EXPECT_EQ(posed.images[split->test.at(1)].name, "test/r_1.png");
  EXPECT_EQ(split->train.size() + split->test.size(), 4u) << "validation images are in neither";
}

TEST(TransformsReaderTest, FoxAgreesWithColmapUpToASimilarity) {
  ATHANOR_SKIP_WITHOUT_FOX();
  const PosedImages colmap = ReadPosedImages(FoxFolder());
  const PosedImages transforms = ReadPosedImages(FoxFolder() / "transforms.json");
  ASSERT_EQ(transforms.images.size(), 50u) << "67 frames are listed, 50 photographs are there";
  EXPECT_EQ(transforms.cameras[0].model, CameraModel::kOpenCv);

  // Two reconstructions of the same photographs: COLMAP's world and that of transforms.json differ
  // by scale, rotation and translation. Camera axes that are wrong by a flip would show as
  // rotations that disagree by 180 degrees.
  Eigen::Matrix3Xd from(3, 50);
  Eigen::Matrix3Xd to(3, 50);
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ("images/" + colmap.images[i].name, transforms.images[i].name);
    from.col(i) = colmap.images[i].camera_from_world.Inverse().translation;
    to.col(i) = transforms.images[i].camera_from_world.Inverse().translation;
  }
  const Eigen::Matrix4d similarity = Eigen::umeyama(from, to);
  const Eigen::Matrix3d scaled = similarity.topLeftCorner<3, 3>();
  const Eigen::Matrix3d rotation = scaled / std::cbrt(scaled.determinant());
  const double extent = (to.colwise() - to.rowwise().mean()).colwise().norm().maxCoeff();
  double largest_m = 0;
  double largest_rad = 0;
  for (int i = 0; i < 50; ++i) {
    const Eigen::Vector3d moved = scaled * from.col(i) + similarity.topRightCorner<3, 1>();
    largest_m = std::max(largest_m, (moved - to.col(i)).norm());
    const Eigen::Matrix3d expected =
        colmap.images[i].camera_from_world.rotation.toRotationMatrix() * rotation.transpose();
    const Eigen::AngleAxisd difference(
        expected.transpose() * transforms.images[i].camera_from_world.rotation.toRotationMatrix());
    largest_rad = std::max(largest_rad, std::abs(difference.angle()));
  }
  RecordProperty("largest_centre_error_of_extent", std::to_string(largest_m / extent));
  RecordProperty("largest_rotation_error_rad", std::to_string(largest_rad));
  EXPECT_LT(largest_m / extent, 0.02);
  EXPECT_LT(largest_rad, 0.02);
}

}  // namespace
}  // namespace athanor
