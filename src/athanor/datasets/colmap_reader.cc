#include "athanor/datasets/colmap_reader.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/datasets/text_lines.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxSidePx = 1 << 20;
constexpr uint32_t kObservationBytes = 24;  // x, y: f64; point id: u64
constexpr uint32_t kTrackElementBytes = 8;  // image id, index of the observation: u32

// By COLMAP's number of the model.
constexpr CameraModel kModels[] = {
    CameraModel::kSimplePinhole, CameraModel::kPinhole, CameraModel::kSimpleRadial,
    CameraModel::kRadial,        CameraModel::kOpenCv,  CameraModel::kOpenCvFisheye,
    CameraModel::kFullOpenCv,
};

std::string KnownModels() {
  std::string names;
  for (const CameraModel model : kModels) {
    names += StrCat(names.empty() ? "" : ", ", CameraModelName(model));
  }
  return names;
}

// One file, of either encoding, as a sequence of fields; what a record means is written once below.
class Fields {
 public:
  Fields(std::string_view bytes, std::string_view name, ColmapEncoding encoding)
      : binary_(encoding == ColmapEncoding::kBinary), reader_(bytes, name), lines_(bytes, name) {}

  bool binary() const { return binary_; }
  ByteReader& reader() { return reader_; }
  TextLines& lines() { return lines_; }

  // Begins: in a binary file, reads the number of records.
  void Begin(size_t record_bytes, std::string_view what) {
    if (binary_) left_ = reader_.ReadCount(record_bytes, what);
  }
  // Moves to the next record; false after the last.
  bool Next() {
    if (!binary_) return lines_.NextRecord();
    if (left_ == 0) {
      if (reader_.remaining() != 0) {
        reader_.Fail(StrCat("expected the end of the file after the last record, found ",
                            reader_.remaining(), " more bytes"));
      }
      return false;
    }
    --left_;
    return true;
  }
  template <typename T>
  T Read(std::string_view what) {
    return binary_ ? reader_.Read<T>(what) : lines_.Number<T>(what);
  }
  double ReadFinite(std::string_view what) {
    const auto value = Read<double>(what);
    if (!std::isfinite(value)) Fail(StrCat("expected a finite ", what, ", found ", value));
    return value;
  }
  [[noreturn]] void Fail(std::string_view message) const {
    if (binary_) reader_.Fail(message);
    lines_.Fail(message);
  }

 private:
  bool binary_;
  ByteReader reader_;
  TextLines lines_;
  uint64_t left_ = 0;
};

CameraModel ReadModel(Fields& fields, uint32_t id) {
  if (fields.binary()) {
    const auto number = fields.Read<int32_t>("camera model");
    if (number >= 0 && number < static_cast<int32_t>(std::size(kModels))) return kModels[number];
    fields.Fail(StrCat("camera ", id, ": expected a camera model of 0 to ", std::size(kModels) - 1,
                       " (", KnownModels(), "), found ", number));
  }
  const std::string_view name = fields.lines().Field();
  const auto model = CameraModelFromName(name);
  if (model) return *model;
  fields.Fail(StrCat("camera ", id, ": expected a camera model of ", KnownModels(), ", found ",
                     Quoted(name)));
}

int ReadSide(Fields& fields, std::string_view what) {
  const auto side = fields.Read<uint64_t>(what);
  if (side < 1 || side > kMaxSidePx) {
    fields.Fail(StrCat("expected a ", what, " of 1 to ", kMaxSidePx, " pixels, found ", side));
  }
  return static_cast<int>(side);
}

// What follows the name in a binary file, or stands in the second line of a text record.
void SkipObservations(Fields& fields) {
  if (fields.binary()) {
    const uint64_t count =
        fields.reader().ReadCount(kObservationBytes, "number of observations of an image");
    fields.reader().Take(count * kObservationBytes, "observations");
    return;
  }
  int64_t count = 0;
  // The last image of a file without a final line end has no second line when it sees nothing.
  if (fields.lines().Next()) {
    while (!fields.lines().Field().empty()) ++count;
  }
  if (count % 3 != 0) {
    fields.Fail(
        StrCat("expected observations of an image as x, y and point, three numbers each, "
               "found ",
               count, " fields"));
  }
}

void SkipTrack(Fields& fields) {
  if (fields.binary()) {
    const uint64_t count = fields.reader().ReadCount(kTrackElementBytes, "length of a track");
    fields.reader().Take(count * kTrackElementBytes, "track");
    return;
  }
  int64_t count = 0;
  while (!fields.lines().Field().empty()) ++count;
  if (count % 2 != 0) {
    fields.Fail(StrCat("expected a track of image and observation, two numbers each, found ", count,
                       " fields"));
  }
}

// The first of folder/name, folder/name.png and folder/stem.png that is there; empty for none.
fs::path FindCompanion(const fs::path& folder, const std::string& name) {
  fs::path with_png = folder / name;
  with_png += ".png";
  for (const fs::path& path :
       {folder / name, with_png, (folder / name).replace_extension(".png")}) {
    std::error_code error;
    if (fs::is_regular_file(path, error)) return path;
  }
  return {};
}

fs::path FindImagesFolder(const fs::path& folder) {
  const fs::path absolute = fs::absolute(folder).lexically_normal();
  fs::path parent = absolute.has_filename() ? absolute : absolute.parent_path();
  for (int level = 0; level < 3; ++level, parent = parent.parent_path()) {
    std::error_code error;
    if (fs::is_directory(parent / "images", error)) return parent / "images";
  }
  throw Error(StrCat(folder.string(),
                     ": expected the photographs in a folder images, here or up to two levels "
                     "above, found none"));
}

bool HasModel(const fs::path& folder, const char* extension) {
  std::error_code error;
  return fs::is_regular_file(folder / StrCat("cameras", extension), error) &&
         fs::is_regular_file(folder / StrCat("images", extension), error);
}

}  // namespace

std::map<uint32_t, Camera> ParseColmapCameras(std::string_view bytes, std::string_view name,
                                              ColmapEncoding encoding) {
  Fields fields(bytes, name, encoding);
  fields.Begin(48, "number of cameras");  // id, model, width, height, at least 3 parameters
  std::map<uint32_t, Camera> cameras;
  while (fields.Next()) {
    const auto id = fields.Read<uint32_t>("camera id");
    Camera camera;
    camera.model = ReadModel(fields, id);
    camera.width_px = ReadSide(fields, "camera width");
    camera.height_px = ReadSide(fields, "camera height");
    for (int i = 0; i < NumCameraParameters(camera.model); ++i) {
      camera.parameters[i] = fields.ReadFinite("camera parameter");
    }
    if (encoding == ColmapEncoding::kText && !fields.lines().Field().empty()) {
      fields.Fail(StrCat("camera ", id, ": expected ", NumCameraParameters(camera.model),
                         " parameters of ", CameraModelName(camera.model), ", found more"));
    }
    camera.Check(StrCat(name, ": camera ", id));
    if (!cameras.emplace(id, camera).second) fields.Fail(StrCat("camera id ", id, " occurs twice"));
  }
  return cameras;
}

std::vector<ColmapImage> ParseColmapImages(std::string_view bytes, std::string_view name,
                                           ColmapEncoding encoding) {
  Fields fields(bytes, name, encoding);
  fields.Begin(73, "number of images");  // ids, pose, an empty name, number of observations
  std::vector<ColmapImage> images;
  std::unordered_set<uint32_t> ids;
  while (fields.Next()) {
    ColmapImage image;
    const auto id = fields.Read<uint32_t>("image id");
    double pose[7];
    for (double& value : pose) value = fields.ReadFinite("pose of an image");
    const Eigen::Quaterniond rotation(pose[0], pose[1], pose[2], pose[3]);
    const double length = rotation.coeffs().stableNorm();
    if (!(length > 1e-6 && std::isfinite(length))) {
      fields.Fail(StrCat("image ", id, ": expected a quaternion that is a rotation, found length ",
                         length));
    }
    image.camera_from_world.rotation.coeffs() = rotation.coeffs() / length;
    image.camera_from_world.translation = Eigen::Vector3d(pose[4], pose[5], pose[6]);
    image.camera_id = fields.Read<uint32_t>("camera id of an image");
    if (encoding == ColmapEncoding::kBinary) {
      image.name = fields.reader().TakeString("image name");
    } else {
      // A name may hold spaces: it is all that is left of the line.
      const std::string_view rest = fields.lines().rest();
      const size_t begin = std::min(rest.find_first_not_of(" \t"), rest.size());
      image.name = rest.substr(begin, rest.find_last_not_of(" \t") + 1 - begin);
    }
    if (image.name.empty()) fields.Fail(StrCat("image ", id, ": expected a name, found none"));
    if (!ids.insert(id).second) fields.Fail(StrCat("image id ", id, " occurs twice"));
    SkipObservations(fields);
    images.push_back(std::move(image));
  }
  return images;
}

std::vector<ColoredPoint> ParseColmapPoints(std::string_view bytes, std::string_view name,
                                            ColmapEncoding encoding) {
  Fields fields(bytes, name, encoding);
  fields.Begin(51, "number of points");  // id, position, colour, error, length of the track
  std::vector<ColoredPoint> points;
  std::vector<uint64_t> ids;
  while (fields.Next()) {
    const auto id = fields.Read<uint64_t>("point id");
    ColoredPoint point;
    for (float& coordinate : point.position) {
      coordinate = static_cast<float>(fields.ReadFinite("point position"));
      if (!std::isfinite(coordinate)) {
        fields.Fail(StrCat("point ", id, ": expected a position within the range of f32"));
      }
    }
    for (uint8_t& channel : point.color) channel = fields.Read<uint8_t>("point colour (0 to 255)");
    fields.Read<double>("reprojection error of a point");
    SkipTrack(fields);
    points.push_back(point);
    ids.push_back(id);
  }
  std::sort(ids.begin(), ids.end());
  const auto twin = std::adjacent_find(ids.begin(), ids.end());
  ATHANOR_CHECK(twin == ids.end(), name, ": point id ", *twin, " occurs twice");
  return points;
}

bool IsColmapModel(const fs::path& folder) {
  return HasModel(folder, ".bin") || HasModel(folder, ".txt");
}

PosedImages ReadColmap(const fs::path& folder, const fs::path& images_folder) {
  ATHANOR_CHECK(IsColmapModel(folder), folder.string(),
                ": expected a COLMAP model: cameras and images, .bin or .txt");
  const bool binary = HasModel(folder, ".bin");
  const ColmapEncoding encoding = binary ? ColmapEncoding::kBinary : ColmapEncoding::kText;
  const auto file = [&](std::string_view name) {
    return folder / StrCat(name, binary ? ".bin" : ".txt");
  };

  PosedImages posed;
  posed.source = folder.string();
  std::map<uint32_t, int> index_of_camera;
  const auto cameras =
      ParseColmapCameras(ReadFile(file("cameras")), file("cameras").string(), encoding);
  for (const auto& [id, camera] : cameras) {
    index_of_camera[id] = static_cast<int>(posed.cameras.size());
    posed.cameras.push_back(camera);
  }

  const std::string images_name = file("images").string();
  const fs::path photographs = images_folder.empty() ? FindImagesFolder(folder) : images_folder;
  const fs::path root = (photographs / "").parent_path().parent_path();
  std::error_code error;
  const bool has_masks = fs::is_directory(root / "masks", error);
  const bool has_depth = fs::is_directory(root / "depth", error);
  int64_t missing = 0;
  std::string first_missing;
  for (ColmapImage& image : ParseColmapImages(ReadFile(file("images")), images_name, encoding)) {
    const auto camera = index_of_camera.find(image.camera_id);
    ATHANOR_CHECK(camera != index_of_camera.end(), images_name, ": image ", Quoted(image.name),
                  ": expected the id of a camera in ", file("cameras").string(), ", found ",
                  image.camera_id);
    PosedImage view;
    view.image_path = photographs / image.name;
    if (!fs::is_regular_file(view.image_path, error) && missing++ == 0) first_missing = image.name;
    if (has_masks) view.mask_path = FindCompanion(root / "masks", image.name);
    if (has_depth) view.depth_path = FindCompanion(root / "depth", image.name);
    view.name = std::move(image.name);
    view.camera = camera->second;
    view.camera_from_world = image.camera_from_world;
    posed.images.push_back(std::move(view));
  }
  ATHANOR_CHECK(missing == 0, photographs.string(), ": ", missing, " of the ", posed.images.size(),
                " photographs of ", images_name, " are missing, the first is ",
                Quoted(first_missing));
  if (fs::is_regular_file(file("points3D"), error)) {
    posed.points =
        ParseColmapPoints(ReadFile(file("points3D")), file("points3D").string(), encoding);
  }
  FinishPosedImages(posed);
  return posed;
}

}  // namespace athanor
