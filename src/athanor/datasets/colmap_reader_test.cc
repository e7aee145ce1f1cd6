#include "athanor/datasets/colmap_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iomanip>
#include <sstream>

#include "athanor/base/files.h"
#include "athanor/datasets/dataset_test_util.h"

namespace athanor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr auto kBinary = ColmapEncoding::kBinary;
constexpr auto kText = ColmapEncoding::kText;

// A model as these tests decode it by themselves, with all that the reader skips.
struct RawModel {
  struct Image {
    uint32_t id, camera;
    double pose[7];
    std::string name;
    std::vector<std::pair<Eigen::Vector2d, uint64_t>> observations;
  };
  struct Point {
    Eigen::Vector3d position;
    uint8_t color[3];
    double error;
    std::vector<std::pair<uint32_t, uint32_t>> track;
  };
  std::string camera_text;
  std::vector<Image> images;
  std::map<uint64_t, Point> points;
};

template <typename T>
T Get(std::istream& stream) {
  T value{};
  stream.read(reinterpret_cast<char*>(&value), sizeof value);
  return value;
}

RawModel DecodeFox() {
  RawModel model;
  const auto folder = FoxFolder() / "sparse" / "0";
  std::ifstream images(folder / "images.bin", std::ios::binary);
  for (auto left = Get<uint64_t>(images); left > 0; --left) {
    RawModel::Image image;
    image.id = Get<uint32_t>(images);
    for (double& value : image.pose) value = Get<double>(images);
    image.camera = Get<uint32_t>(images);
    std::getline(images, image.name, '\0');
    for (auto seen = Get<uint64_t>(images); seen > 0; --seen) {
      const double x = Get<double>(images);
      const double y = Get<double>(images);
      image.observations.push_back({{x, y}, Get<uint64_t>(images)});
    }
    model.images.push_back(image);
  }
  std::ifstream points(folder / "points3D.bin", std::ios::binary);
  for (auto left = Get<uint64_t>(points); left > 0; --left) {
    const auto id = Get<uint64_t>(points);
    RawModel::Point& point = model.points[id];
    for (int i = 0; i < 3; ++i) point.position[i] = Get<double>(points);
    for (uint8_t& channel : point.color) channel = Get<uint8_t>(points);
    point.error = Get<double>(points);
    for (auto length = Get<uint64_t>(points); length > 0; --length) {
      const auto image = Get<uint32_t>(points);
      point.track.push_back({image, Get<uint32_t>(points)});
    }
  }
  return model;
}

std::string CameraBytes(uint32_t id, int32_t model, uint64_t width, uint64_t height,
                        const std::vector<double>& parameters) {
  std::string bytes = Bytes(id) + Bytes(model) + Bytes(width) + Bytes(height);
  for (const double value : parameters) bytes += Bytes(value);
  return bytes;
}

std::string ImageBytes(uint32_t id, uint32_t camera, const std::string& name,
                       std::array<double, 7> pose = {1, 0, 0, 0, 0, 0, 0}) {
  std::string bytes = Bytes(id);
  for (const double value : pose) bytes += Bytes(value);
  return bytes + Bytes(camera) + name + '\0' + Bytes(uint64_t{0});
}

std::string PointBytes(uint64_t id, double x, uint64_t track_length, uint64_t elements) {
  std::string bytes = Bytes(id) + Bytes(x) + Bytes(2.0) + Bytes(3.0) + "\x10\x20\x30" + Bytes(0.5) +
                      Bytes(track_length);
  for (uint64_t i = 0; i < elements; ++i) bytes += Bytes(uint32_t{1}) + Bytes(uint32_t{2});
  return bytes;
}

std::string Counted(const std::vector<std::string>& records) {
  std::string bytes = Bytes(uint64_t{records.size()});
  for (const std::string& record : records) bytes += record;
  return bytes;
}

const std::vector<double> kPinholeParameters = {100, 110, 60, 40};

// A capture of two photographs, one of them in a folder of its own.
std::filesystem::path WriteSmallCapture(const std::string& name) {
  const auto folder = TestFolder(name);
  WriteFile(folder / "sparse/0/cameras.bin",
            Counted({CameraBytes(7, 1, 120, 80, kPinholeParameters)}));
  WriteFile(folder / "sparse/0/images.bin",
            Counted({ImageBytes(2, 7, "left/b.png"), ImageBytes(1, 7, "a b é.png")}));
  WriteFile(folder / "sparse/0/points3D.bin", Counted({PointBytes(1, 1.5, 2, 2)}));
  std::filesystem::create_directories(folder / "images/left");
  WriteImage(folder / "images/a b é.png", WavyImage(120, 80));
  WriteImage(folder / "images/left/b.png", WavyImage(120, 80));
  return folder;
}

TEST(ColmapReaderTest, ReadsEveryModelOfCamera) {
  for (int32_t model = 0; model < kNumCameraModels; ++model) {
    std::vector<double> parameters;
    const int count = NumCameraParameters(static_cast<CameraModel>(model));
    for (int i = 0; i < count; ++i) parameters.push_back(i < 4 ? 100 + i : i / 1000.0);
    const auto binary = ParseColmapCameras(Counted({CameraBytes(3, model, 640, 480, parameters)}),
                                           "cameras.bin", kBinary);
    std::ostringstream text;
    text << "# Camera list\n\n3 " << CameraModelName(static_cast<CameraModel>(model)) << " 640 480";
    for (const double value : parameters) text << ' ' << value;
    const auto from_text = ParseColmapCameras(text.str(), "cameras.txt", kText);
    for (const auto& cameras : {binary, from_text}) {
      ASSERT_EQ(cameras.size(), 1u);
      const Camera& camera = cameras.at(3);
      EXPECT_EQ(static_cast<int>(camera.model), model);
      EXPECT_EQ(camera.width_px, 640);
      EXPECT_EQ(camera.height_px, 480);
      for (int i = 0; i < count; ++i) EXPECT_EQ(camera.parameters[i], parameters[i]);
    }
  }
}

TEST(ColmapReaderTest, FindsPhotographsMasksAndDepth) {
  const auto folder = WriteSmallCapture("small");
  WriteImage(folder / "masks/a b é.png.png", Image(120, 80, 1, 255));
  WriteDepthPng(folder / "depth/left/b.png", DepthImage(120, 80, 1, 5));
  for (const char* place : {".", "sparse", "sparse/0", "sparse/0/"}) {
    const PosedImages posed = ReadPosedImages(folder / place);
    ASSERT_EQ(posed.images.size(), 2u);
    EXPECT_EQ(posed.images[0].name, "a b é.png");
    EXPECT_EQ(posed.images[0].mask_path.filename(), "a b é.png.png");
    EXPECT_TRUE(posed.images[0].depth_path.empty());
    EXPECT_EQ(posed.images[1].name, "left/b.png");
    EXPECT_TRUE(posed.images[1].mask_path.empty());
    EXPECT_EQ(posed.images[1].depth_path.filename(), "b.png");
    EXPECT_EQ(ReadImageSize(posed.images[1].image_path).width, 120);
    ASSERT_EQ(posed.points.size(), 1u);
    EXPECT_EQ(posed.points[0].position[0], 1.5f);
    EXPECT_EQ(posed.points[0].color[2], 0x30);
  }
}

TEST(ColmapReaderTest, ScalesTheCameraToSmallerPhotographs) {
  const auto folder = WriteSmallCapture("scaled");
  WriteImage(folder / "images_2/a b é.png", WavyImage(60, 40));
  WriteImage(folder / "images_2/left/b.png", WavyImage(60, 40));
  const PosedImages posed = ReadPosedImages(folder, folder / "images_2");
  EXPECT_EQ(posed.cameras[0].width_px, 60);
  EXPECT_DOUBLE_EQ(posed.cameras[0].fx(), 50);
  EXPECT_DOUBLE_EQ(posed.cameras[0].cy(), 20);
  WriteImage(folder / "images_2/a b é.png", WavyImage(60, 60));
  EXPECT_THAT(ErrorOf([&] { ReadPosedImages(folder, folder / "images_2"); }),
              AllOf(HasSubstr("60x60"), HasSubstr("120x80"), HasSubstr("a b é.png")));
}

TEST(ColmapReaderTest, MissingPhotographsAreCountedAndTheFirstIsNamed) {
  const auto folder = WriteSmallCapture("missing");
  std::filesystem::remove(folder / "images/left/b.png");
  EXPECT_THAT(ErrorOf([&] { ReadPosedImages(folder); }),
              AllOf(HasSubstr("1 of the 2 photographs"), HasSubstr("'left/b.png'")));
  std::filesystem::remove_all(folder / "images");
  EXPECT_THAT(ErrorOf([&] { ReadPosedImages(folder); }), HasSubstr("in a folder images"));
}

TEST(ColmapReaderTest, ImageOfAnUnknownCamera) {
  const auto folder = WriteSmallCapture("camera");
  WriteFile(folder / "sparse/0/images.bin", Counted({ImageBytes(1, 8, "a b é.png")}));
  EXPECT_THAT(ErrorOf([&] { ReadPosedImages(folder); }),
              AllOf(HasSubstr("images.bin"), HasSubstr("'a b é.png'"), HasSubstr("found 8")));
}

TEST(ColmapReaderTest, RefusesBadBinaryRecords) {
  const auto cameras = [](const std::string& bytes) {
    return ErrorOf([&] { ParseColmapCameras(bytes, "dir/cameras.bin", kBinary); });
  };
  const auto images = [](const std::string& bytes) {
    return ErrorOf([&] { ParseColmapImages(bytes, "dir/images.bin", kBinary); });
  };
  const auto points = [](const std::string& bytes) {
    return ErrorOf([&] { ParseColmapPoints(bytes, "dir/points3D.bin", kBinary); });
  };
  const std::string good = CameraBytes(1, 1, 120, 80, kPinholeParameters);
  EXPECT_EQ(cameras(Counted({good})), "");
  EXPECT_THAT(cameras(Counted({good, good})), HasSubstr("camera id 1 occurs twice"));
  EXPECT_THAT(cameras(Counted({CameraBytes(1, 10, 120, 80, kPinholeParameters)})),
              AllOf(HasSubstr("dir/cameras.bin: byte 16"), HasSubstr("FULL_OPENCV"),
                    HasSubstr("found 10")));
  EXPECT_THAT(cameras(Counted({CameraBytes(1, 1, uint64_t{1} << 60, 80, kPinholeParameters)})),
              AllOf(HasSubstr("camera width"), HasSubstr("1152921504606846976")));
  EXPECT_THAT(cameras(Counted({CameraBytes(1, 1, 120, 0, kPinholeParameters)})),
              HasSubstr("camera height"));
  EXPECT_THAT(cameras(Counted({CameraBytes(1, 1, 120, 80, {NAN, 1, 1, 1})})), HasSubstr("finite"));
  EXPECT_THAT(cameras(Counted({CameraBytes(1, 1, 120, 80, {-5, 1, 1, 1})})), HasSubstr("camera 1"));
  EXPECT_THAT(cameras(Counted({good}) + "x"), HasSubstr("1 more bytes"));
  EXPECT_THAT(cameras(""), HasSubstr("byte 0"));

  EXPECT_THAT(images(Counted({ImageBytes(1, 1, "a"), ImageBytes(1, 1, "b")})),
              HasSubstr("image id 1 occurs twice"));
  EXPECT_THAT(images(Counted({ImageBytes(1, 1, "a", {0, 0, 0, 0, 1, 2, 3})})),
              AllOf(HasSubstr("image 1"), HasSubstr("quaternion")));
  EXPECT_THAT(images(Counted({ImageBytes(1, 1, "a", {1, 0, 0, INFINITY, 1, 2, 3})})),
              AllOf(HasSubstr("byte 44"), HasSubstr("finite")));
  EXPECT_THAT(images(Counted({ImageBytes(1, 1, "")})), HasSubstr("expected a name"));
  EXPECT_THAT(images(Bytes(uint64_t{1} << 60) + ImageBytes(1, 1, "a")),
              AllOf(HasSubstr("number of images"), HasSubstr("1152921504606846976")));
  std::string lying = Counted({ImageBytes(1, 1, "a")});
  lying[lying.size() - 1] = 0x10;  // observations
  EXPECT_THAT(images(lying), HasSubstr("observations of an image: 1152921504606846976"));

  EXPECT_THAT(points(Counted({PointBytes(1, NAN, 0, 0)})), HasSubstr("finite point position"));
  EXPECT_THAT(points(Counted({PointBytes(1, 1e300, 0, 0)})), HasSubstr("range of f32"));
  EXPECT_THAT(points(Counted({PointBytes(1, 1, uint64_t{1} << 60, 1)})),
              HasSubstr("length of a track"));
  EXPECT_THAT(points(Counted({PointBytes(1, 1, 3, 2)})), HasSubstr("length of a track"));
  EXPECT_THAT(points(Counted({PointBytes(1, 1, 0, 1)})), HasSubstr("8 more bytes"));
  EXPECT_THAT(points(Counted({PointBytes(4, 1, 0, 0), PointBytes(4, 1, 0, 0)})),
              HasSubstr("point id 4 occurs twice"));
}

TEST(ColmapReaderTest, TextNamesTheLine) {
  const auto cameras = [](const std::string& text) {
    return ErrorOf([&] { ParseColmapCameras(text, "cameras.txt", kText); });
  };
  const auto images = [](const std::string& text) {
    return ErrorOf([&] { ParseColmapImages(text, "images.txt", kText); });
  };
  const auto points = [](const std::string& text) {
    return ErrorOf([&] { ParseColmapPoints(text, "points3D.txt", kText); });
  };
  EXPECT_THAT(cameras("# c\n1 PINHOLE 120 80 1 2 3\n"),
              AllOf(HasSubstr("cameras.txt: line 2"), HasSubstr("the end of the line")));
  EXPECT_THAT(cameras("1 PINHOLE 120 80 1 2 3 4 5\n"), HasSubstr("4 parameters of PINHOLE"));
  EXPECT_THAT(cameras("1 FOV 120 80 1 2 3 4 5\n"), AllOf(HasSubstr("OPENCV"), HasSubstr("'FOV'")));
  EXPECT_THAT(cameras("1 PINHOLE 120 80 1 2 nan 4\n"), HasSubstr("finite"));
  EXPECT_THAT(cameras("-1 PINHOLE 120 80 1 2 3 4\n"), HasSubstr("integer as camera id"));

  EXPECT_THAT(images("1 1 0 0 0 0 0 0 1 a.png\n2 1 0 0 0 0 0 0 1 b.png\n"),
              AllOf(HasSubstr("line 2"), HasSubstr("three numbers each")))
      << "the second line of the first image is missing";
  EXPECT_THAT(images("1 0 0 0 0 0 0 0 1 a.png\n\n"), HasSubstr("quaternion"));
  EXPECT_THAT(images("1 1 0 0 0 0 0 0 1\n\n"), HasSubstr("expected a name"));
  EXPECT_THAT(images("1 1 0 0 0 0 0 0 1 a\n\n1 1 0 0 0 0 0 0 1 b\n\n"), HasSubstr("occurs twice"));

  EXPECT_THAT(points("1 1 2 3 256 0 0 0.5\n"), HasSubstr("0 to 255"));
  EXPECT_THAT(points("1 1 2 inf 25 0 0 0.5\n"), HasSubstr("finite"));
  EXPECT_THAT(points("1 1 2 3 25 0 0 0.5 1 2 3\n"), HasSubstr("two numbers each"));
}

TEST(ColmapReaderTest, TextHasCommentsSpacesAndEmptyLines) {
  const auto images = ParseColmapImages(
      "# Image list\r\n#  two lines per image\r\n1 2 0 0 0 1 2 3 1 a b.png \r\n\r\n"
      "\r\n# more\r\n2 1 0 0 0 4 5 6 1 c.png\r\n10 20 -1 11 21 5\r\n3 1 0 0 0 4 5 6 1 d.png",
      "images.txt", kText);
  ASSERT_EQ(images.size(), 3u);
  EXPECT_EQ(images[0].name, "a b.png");
  EXPECT_EQ(images[0].camera_from_world.rotation.w(), 1) << "normalised";
  EXPECT_EQ(images[1].name, "c.png");
  EXPECT_EQ(images[1].camera_from_world.translation.z(), 6);
  EXPECT_EQ(images[2].name, "d.png");
}

TEST(ColmapReaderTest, FoxHasTheNumbersOfItsFiles) {
  ATHANOR_SKIP_WITHOUT_FOX();
  const PosedImages posed = ReadPosedImages(FoxFolder());
  ASSERT_EQ(posed.cameras.size(), 1u);
  EXPECT_EQ(posed.cameras[0].model, CameraModel::kOpenCv);
  EXPECT_EQ(posed.cameras[0].width_px, 1080);
  EXPECT_EQ(posed.cameras[0].height_px, 1920);
  EXPECT_NEAR(posed.cameras[0].fx(), 1377.3289169489476, 1e-9);
  EXPECT_NEAR(posed.cameras[0].parameters[7], -0.002585273486762846, 1e-15);
  ASSERT_EQ(posed.images.size(), 50u);
  EXPECT_EQ(posed.images[0].name, "0001.jpg");
  EXPECT_NEAR(posed.images[0].camera_from_world.translation.z(), 3.3667777952521902, 1e-12);
  EXPECT_EQ(posed.points.size(), 13218u);
}

TEST(ColmapReaderTest, FoxPointsProjectWhereTheyWereSeen) {
  ATHANOR_SKIP_WITHOUT_FOX();
  const PosedImages posed = ReadPosedImages(FoxFolder());
  const RawModel raw = DecodeFox();
  std::map<std::string, const PosedImage*> image_of_name;
  for (const PosedImage& image : posed.images) image_of_name[image.name] = &image;
  std::map<uint32_t, const RawModel::Image*> raw_of_id;
  for (const RawModel::Image& image : raw.images) raw_of_id[image.id] = &image;

  // The file holds each point's mean error as COLMAP computed it: ours must be the same number.
  double sum = 0;
  double largest_difference = 0;
  int64_t count = 0;
  for (const auto& [id, point] : raw.points) {
    double point_sum = 0;
    for (const auto& [image_id, observation] : point.track) {
      const RawModel::Image& seen_by = *raw_of_id.at(image_id);
      ASSERT_EQ(seen_by.observations.at(observation).second, id);
      const PosedImage& image = *image_of_name.at(seen_by.name);
      const auto pixel =
          posed.cameras[image.camera].Project(image.camera_from_world * point.position);
      ASSERT_TRUE(pixel.has_value());
      point_sum += (*pixel - seen_by.observations[observation].first).norm();
      ++count;
    }
    sum += point_sum;
    largest_difference =
        std::max(largest_difference, std::abs(point_sum / point.track.size() - point.error));
  }
  RecordProperty("mean_reprojection_error_px", std::to_string(sum / count));
  EXPECT_LT(sum / count, 1.0) << "mean reprojection error, pixels";
  EXPECT_GT(count, 60'000);
  EXPECT_LT(largest_difference, 1e-6);
}

TEST(ColmapReaderTest, FoxAsTextIsTheSame) {
  ATHANOR_SKIP_WITHOUT_FOX();
  const RawModel raw = DecodeFox();
  const auto binary = ReadPosedImages(FoxFolder());
  std::ostringstream cameras, images, points;
  for (auto* stream : {&cameras, &images, &points}) *stream << std::setprecision(17);
  cameras << "# one\n1 OPENCV 1080 1920";
  for (int i = 0; i < 8; ++i) cameras << ' ' << binary.cameras[0].parameters[i];
  for (const auto& image : raw.images) {
    images << image.id;
    for (const double value : image.pose) images << ' ' << value;
    images << ' ' << image.camera << ' ' << image.name << '\n';
    for (const auto& [pixel, point] : image.observations) {
      images << pixel.x() << ' ' << pixel.y() << ' ' << static_cast<int64_t>(point) << ' ';
    }
    images << '\n';
  }
  for (const auto& [id, point] : raw.points) {
    points << id << ' ' << point.position.transpose().format(Eigen::IOFormat(17)) << ' ';
    for (const int channel : point.color) points << channel << ' ';
    points << point.error;
    for (const auto& [image, observation] : point.track)
      points << ' ' << image << ' ' << observation;
    points << '\n';
  }
  const auto folder = TestFolder("fox as text");
  WriteFile(folder / "cameras.txt", cameras.str());
  WriteFile(folder / "images.txt", images.str());
  WriteFile(folder / "points3D.txt", points.str());
  const PosedImages text = ReadPosedImages(folder, FoxFolder() / "images");

  EXPECT_EQ(text.cameras[0].parameters, binary.cameras[0].parameters);
  ASSERT_EQ(text.images.size(), binary.images.size());
  for (size_t i = 0; i < text.images.size(); ++i) {
    EXPECT_EQ(text.images[i].name, binary.images[i].name);
    EXPECT_EQ(text.images[i].camera_from_world.ToMatrix(),
              binary.images[i].camera_from_world.ToMatrix());
  }
  // The binary file has its points in another order.
  const auto sorted = [](std::vector<ColoredPoint> list) {
    std::vector<std::array<float, 6>> values;
    for (const ColoredPoint& p : list) {
      values.push_back({p.position[0], p.position[1], p.position[2], static_cast<float>(p.color[0]),
                        static_cast<float>(p.color[1]), static_cast<float>(p.color[2])});
    }
    std::sort(values.begin(), values.end());
    return values;
  };
  EXPECT_EQ(sorted(text.points), sorted(binary.points));
}

TEST(ColmapReaderTest, FoxCutAnywhereIsRefused) {
  ATHANOR_SKIP_WITHOUT_FOX();
  const auto folder = FoxFolder() / "sparse" / "0";
  const std::string cameras = ReadFile(folder / "cameras.bin");
  const std::string images = ReadFile(folder / "images.bin");
  const std::string points = ReadFile(folder / "points3D.bin");
  for (size_t size = 0; size < cameras.size(); ++size) {
    EXPECT_THAT(ErrorOf([&] {
                  ParseColmapCameras(std::string_view(cameras).substr(0, size), "c.bin", kBinary);
                }),
                HasSubstr("c.bin: byte "));
  }
  for (int i = 0; i < 500; ++i) {
    const size_t image_size = i < 200 ? i : images.size() * (i - 200) / 300;
    EXPECT_THAT(ErrorOf([&] {
                  ParseColmapImages(std::string_view(images).substr(0, image_size), "i.bin",
                                    kBinary);
                }),
                HasSubstr("i.bin: byte "))
        << image_size;
    const size_t point_size = i < 200 ? i : points.size() * (i - 200) / 300;
    EXPECT_THAT(ErrorOf([&] {
                  ParseColmapPoints(std::string_view(points).substr(0, point_size), "p.bin",
                                    kBinary);
                }),
                HasSubstr("p.bin: byte "))
        << point_size;
  }
}

}  // namespace
}  // namespace athanor
