#include "athanor/datasets/colmap_writer.h"

#include <iomanip>
#include <limits>
#include <sstream>
#include <string>

#include "athanor/base/error.h"
#include "athanor/base/files.h"

namespace athanor {
namespace {

template <typename T>
void Append(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void CheckImages(const PosedImages& posed) {
  for (const PosedImage& image : posed.images) {
    ATHANOR_CHECK(image.camera >= 0 && image.camera < static_cast<int>(posed.cameras.size()),
                  posed.source, ": image '", image.name, "': expected a camera below ",
                  posed.cameras.size(), ", found ", image.camera);
    ATHANOR_CHECK(!image.name.empty() &&
                      image.name.find_first_of(std::string_view("\0\r\n", 3)) == std::string::npos,
                  posed.source, ": image '", image.name,
                  "': expected a name of one line for a COLMAP model");
  }
}

struct Model {
  std::string cameras;
  std::string images;
  std::string points;
};

Model EncodeBinary(const PosedImages& posed) {
  Model model;
  Append<uint64_t>(model.cameras, posed.cameras.size());
  for (size_t k = 0; k < posed.cameras.size(); ++k) {
    const Camera& camera = posed.cameras[k];
    Append<uint32_t>(model.cameras, k + 1);
    // The enumeration has COLMAP's numbers.
    Append<int32_t>(model.cameras, static_cast<int32_t>(camera.model));
    Append<uint64_t>(model.cameras, camera.width_px);
    Append<uint64_t>(model.cameras, camera.height_px);
    for (int j = 0; j < NumCameraParameters(camera.model); ++j) {
      Append<double>(model.cameras, camera.parameters[j]);
    }
  }
  Append<uint64_t>(model.images, posed.images.size());
  for (size_t k = 0; k < posed.images.size(); ++k) {
    const PosedImage& image = posed.images[k];
    const Eigen::Quaterniond& q = image.camera_from_world.rotation;
    Append<uint32_t>(model.images, k + 1);
    for (const double v : {q.w(), q.x(), q.y(), q.z()}) Append(model.images, v);
    for (int j = 0; j < 3; ++j)
      Append<double>(model.images, image.camera_from_world.translation[j]);
    Append<uint32_t>(model.images, image.camera + 1);
    model.images += image.name;
    model.images += '\0';
    Append<uint64_t>(model.images, 0);  // keypoints
  }
  Append<uint64_t>(model.points, posed.points.size());
  for (size_t k = 0; k < posed.points.size(); ++k) {
    const ColoredPoint& point = posed.points[k];
    Append<uint64_t>(model.points, k + 1);
    for (const float v : point.position) Append<double>(model.points, v);
    for (const uint8_t v : point.color) Append(model.points, v);
    Append<double>(model.points, 0);    // reprojection error
    Append<uint64_t>(model.points, 0);  // length of its track
  }
  return model;
}

Model EncodeText(const PosedImages& posed) {
  std::ostringstream cameras, images, points;
  for (std::ostringstream* stream : {&cameras, &images, &points}) {
    *stream << std::setprecision(std::numeric_limits<double>::max_digits10);
  }
  cameras << "# CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]\n";
  for (size_t k = 0; k < posed.cameras.size(); ++k) {
    const Camera& camera = posed.cameras[k];
    cameras << k + 1 << ' ' << CameraModelName(camera.model) << ' ' << camera.width_px << ' '
            << camera.height_px;
    for (int j = 0; j < NumCameraParameters(camera.model); ++j) {
      cameras << ' ' << camera.parameters[j];
    }
    cameras << '\n';
  }
  images << "# IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME, then a line of keypoints\n";
  for (size_t k = 0; k < posed.images.size(); ++k) {
    const PosedImage& image = posed.images[k];
    const Eigen::Quaterniond& q = image.camera_from_world.rotation;
    const Eigen::Vector3d& t = image.camera_from_world.translation;
    images << k + 1 << ' ' << q.w() << ' ' << q.x() << ' ' << q.y() << ' ' << q.z() << ' ' << t.x()
           << ' ' << t.y() << ' ' << t.z() << ' ' << image.camera + 1 << ' ' << image.name
           << "\n\n";
  }
  points << "# POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[]\n";
  for (size_t k = 0; k < posed.points.size(); ++k) {
    const ColoredPoint& point = posed.points[k];
    points << k + 1;
    for (const float v : point.position) points << ' ' << v;
    for (const uint8_t v : point.color) points << ' ' << int{v};
    points << " 0\n";
  }
  return {cameras.str(), images.str(), points.str()};
}

}  // namespace

void WriteColmapModel(const std::filesystem::path& model_folder, const PosedImages& posed,
                      ColmapEncoding encoding) {
  CheckImages(posed);
  const bool binary = encoding == ColmapEncoding::kBinary;
  const Model model = binary ? EncodeBinary(posed) : EncodeText(posed);
  const std::string extension = binary ? ".bin" : ".txt";
  MakeFolder(model_folder);
  WriteFile(model_folder / ("points3D" + extension), model.points);
  WriteFile(model_folder / ("cameras" + extension), model.cameras);
  WriteFile(model_folder / ("images" + extension), model.images);
}

}  // namespace athanor
