#include "athanor/datasets/transforms_reader.h"

#include <Eigen/LU>
#include <Eigen/SVD>
#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>
#include <unordered_map>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/datasets/paths.h"
#include "athanor/datasets/ply_points.h"
#include "athanor/datasets/text_lines.h"
#include "athanor/media/image.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int kMaxSidePx = 1 << 20;
constexpr double kRigidTolerance = 1e-3;

// A value as a message may show it.
std::string Shown(const Json& value) {
  if (value.is_array() || value.is_object()) {
    return StrCat(value.type_name(), " of ", value.size());
  }
  return Quoted(value.dump(-1, ' ', true, Json::error_handler_t::replace));
}

// An object of the file, and where it stands: "transforms.json: frame 12".
struct Record {
  const Json& object;
  std::string where;

  [[noreturn]] void Fail(const char* key, std::string_view expected, const Json& found) const {
    throw Error(StrCat(where, ": ", key, ": expected ", expected, ", found ", Shown(found)));
  }
  // Null when the field is missing or null.
  const Json* Find(const char* key) const {
    const auto found = object.find(key);
    return found == object.end() || found->is_null() ? nullptr : &*found;
  }
  std::optional<double> Number(const char* key) const {
    const Json* value = Find(key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_number()) Fail(key, "a number", *value);
    return value->get<double>();
  }
  std::optional<double> Positive(const char* key) const {
    const auto number = Number(key);
    if (number && !(*number > 0)) Fail(key, "a number above 0", *Find(key));
    return number;
  }
  // A number of pixels, which files also write as 1080.0.
  std::optional<int> Side(const char* key) const {
    const auto number = Number(key);
    if (!number) return std::nullopt;
    if (!(*number >= 1 && *number <= kMaxSidePx && *number == std::floor(*number))) {
      Fail(key, StrCat("a whole number of pixels of 1 to ", kMaxSidePx), *Find(key));
    }
    return static_cast<int>(*number);
  }
  std::optional<double> Angle(const char* key) const {
    const auto number = Number(key);
    if (number && !(*number > 0 && *number < M_PI)) {
      Fail(key, "an angle between 0 and pi", *Find(key));
    }
    return number;
  }
  // Empty when missing.
  std::string Text(const char* key) const {
    const Json* value = Find(key);
    if (value == nullptr) return {};
    if (!value->is_string()) Fail(key, "text", *value);
    return value->get<std::string>();
  }
};

// Sets what the record names; the rest stays.
void ReadIntrinsics(const Record& record, TransformsIntrinsics& intrinsics) {
  const auto set = [](auto& field, const auto& value) {
    if (value) field = *value;
  };
  set(intrinsics.width_px, record.Side("w"));
  set(intrinsics.height_px, record.Side("h"));
  set(intrinsics.focal_x_px, record.Positive("fl_x"));
  set(intrinsics.focal_y_px, record.Positive("fl_y"));
  set(intrinsics.angle_x_rad, record.Angle("camera_angle_x"));
  set(intrinsics.angle_y_rad, record.Angle("camera_angle_y"));
  set(intrinsics.center_x_px, record.Number("cx"));
  set(intrinsics.center_y_px, record.Number("cy"));
  set(intrinsics.k[0], record.Number("k1"));
  set(intrinsics.k[1], record.Number("k2"));
  set(intrinsics.k[2], record.Number("k3"));
  set(intrinsics.k[3], record.Number("k4"));
  set(intrinsics.p[0], record.Number("p1"));
  set(intrinsics.p[1], record.Number("p2"));

  const std::string model = record.Text("camera_model");
  const Json* is_fisheye = record.Find("is_fisheye");
  if (is_fisheye != nullptr && !is_fisheye->is_boolean()) {
    record.Fail("is_fisheye", "true or false", *is_fisheye);
  }
  if (model == "OPENCV_FISHEYE" || (is_fisheye != nullptr && is_fisheye->get<bool>())) {
    intrinsics.model = CameraModel::kOpenCvFisheye;
  } else if (!model.empty()) {
    // The other models are special cases of OPENCV, written with the same fields.
    const auto known = CameraModelFromName(model);
    if (!known) {
      record.Fail("camera_model",
                  "PINHOLE, SIMPLE_PINHOLE, SIMPLE_RADIAL, RADIAL, OPENCV, FULL_OPENCV or "
                  "OPENCV_FISHEYE",
                  *record.Find("camera_model"));
    }
    intrinsics.model = CameraModel::kOpenCv;
  }
}

Rigid3 ReadPose(const Record& record) {
  constexpr const char* kKey = "transform_matrix";
  const Json* rows = record.Find(kKey);
  ATHANOR_CHECK(rows != nullptr, record.where, ": expected a field ", kKey, ", found none");
  if (!rows->is_array() || (rows->size() != 3 && rows->size() != 4)) {
    record.Fail(kKey, "3 or 4 rows of 4 numbers", *rows);
  }
  Eigen::Matrix4d world_from_camera = Eigen::Matrix4d::Identity();
  for (size_t r = 0; r < rows->size(); ++r) {
    const Json& row = (*rows)[r];
    if (!row.is_array() || row.size() != 4) record.Fail(kKey, "rows of 4 numbers", row);
    for (size_t c = 0; c < 4; ++c) {
      if (!row[c].is_number()) record.Fail(kKey, "rows of 4 numbers", row[c]);
      world_from_camera(r, c) = row[c].get<double>();
      if (!std::isfinite(world_from_camera(r, c))) record.Fail(kKey, "finite numbers", row[c]);
    }
  }
  ATHANOR_CHECK((world_from_camera.row(3) - Eigen::RowVector4d(0, 0, 0, 1)).cwiseAbs().maxCoeff() <=
                    kRigidTolerance,
                record.where, ": ", kKey, ": expected 0 0 0 1 as the last row, found ",
                world_from_camera.row(3));

  // Rigid, and possibly scaled a little: M^T M = s^2 I with s = 1 to the tolerance.
  const Eigen::Matrix3d matrix = world_from_camera.topLeftCorner<3, 3>();
  const double deviation =
      (matrix.transpose() * matrix - Eigen::Matrix3d::Identity()).cwiseAbs().maxCoeff();
  ATHANOR_CHECK(deviation <= 2 * kRigidTolerance && matrix.determinant() > 0, record.where, ": ",
                kKey, ": expected a rotation to ", kRigidTolerance, ", found a deviation of ",
                deviation / 2, " and determinant ", matrix.determinant());
  const Eigen::JacobiSVD<Eigen::Matrix3d> svd(matrix, Eigen::ComputeFullU | Eigen::ComputeFullV);
  Eigen::Matrix3d rotation = svd.matrixU() * svd.matrixV().transpose();
  rotation.rightCols<2>() *= -1;  // from OpenGL's axes to ours
  const Rigid3 pose = {Eigen::Quaterniond(rotation).normalized(),
                       world_from_camera.topRightCorner<3, 1>()};
  return pose.Inverse();
}

// Which frames the lists of file names hold out.
void ReadSplits(const Record& file, std::vector<TransformsFrame>& frames) {
  std::unordered_map<std::string_view, TransformsFrame*> frame_of_path;
  for (TransformsFrame& frame : frames) frame_of_path[frame.file_path] = &frame;
  constexpr std::pair<const char*, GivenSplit> kLists[] = {
      {"train_filenames", GivenSplit::kTrain},
      {"val_filenames", GivenSplit::kValidation},
      {"test_filenames", GivenSplit::kTest}};
  for (const auto& [key, split] : kLists) {
    const Json* list = file.Find(key);
    if (list == nullptr) continue;
    if (!list->is_array()) file.Fail(key, "a list of file names", *list);
    for (const Json& path : *list) {
      if (!path.is_string()) file.Fail(key, "a list of file names", path);
      const auto found = frame_of_path.find(path.get_ref<const std::string&>());
      if (found == frame_of_path.end()) file.Fail(key, "the file_path of a frame", path);
      found->second->split = split;
    }
  }
}

// The photograph that a frame names, with an extension added when it has none; empty for none.
fs::path FindPhotograph(const fs::path& path) {
  if (IsFile(path)) return path;
  for (const char* extension : {".png", ".jpg", ".jpeg", ".PNG", ".JPG"}) {
    fs::path with_extension = path;
    with_extension += extension;
    if (IsFile(with_extension)) return with_extension;
  }
  return {};
}

// Distinct cameras get one index each.
class CameraTable {
 public:
  explicit CameraTable(std::vector<Camera>& cameras) : cameras_(cameras) {}

  int IndexOf(const Camera& camera) {
    const Key key{static_cast<int>(camera.model), camera.width_px, camera.height_px,
                  camera.parameters};
    const auto [found, is_new] = index_of_.emplace(key, static_cast<int>(cameras_.size()));
    if (is_new) cameras_.push_back(camera);
    return found->second;
  }

 private:
  using Key = std::tuple<int, int, int, std::array<double, kMaxCameraParameters>>;
  std::vector<Camera>& cameras_;
  std::map<Key, int> index_of_;
};

}  // namespace

Camera TransformsIntrinsics::ToCamera(int image_width_px, int image_height_px,
                                      std::string_view where) const {
  Camera camera;
  camera.width_px = image_width_px;
  camera.height_px = image_height_px;
  const auto focal = [](const std::optional<double>& angle_rad, int side_px) {
    return angle_rad ? std::optional(0.5 * side_px / std::tan(0.5 * *angle_rad)) : std::nullopt;
  };
  auto fx = focal_x_px ? focal_x_px : focal(angle_x_rad, image_width_px);
  auto fy = focal_y_px ? focal_y_px : focal(angle_y_rad, image_height_px);
  ATHANOR_CHECK(fx || fy, where, ": expected fl_x or camera_angle_x, found neither");
  if (!fx) fx = fy;
  // A focal length stands for both axes before an angle does, which is often rounded.
  if (!fy || (focal_x_px && !focal_y_px)) fy = fx;
  const double cx = center_x_px.value_or(0.5 * image_width_px);
  const double cy = center_y_px.value_or(0.5 * image_height_px);
  if (model == CameraModel::kOpenCvFisheye) {
    camera.model = model;
    camera.parameters = {*fx, *fy, cx, cy, k[0], k[1], k[2], k[3]};
  } else {
    ATHANOR_CHECK(k[3] == 0, where, ": k4: expected 0 for a perspective camera, found ", k[3]);
    const bool distorted = k[0] != 0 || k[1] != 0 || k[2] != 0 || p[0] != 0 || p[1] != 0;
    camera.model = k[2] != 0   ? CameraModel::kFullOpenCv
                   : distorted ? CameraModel::kOpenCv
                               : CameraModel::kPinhole;
    camera.parameters = {*fx, *fy, cx, cy, k[0], k[1], p[0], p[1], k[2]};
  }
  camera.Check(where);
  return camera;
}

Transforms ParseTransforms(std::string_view json, std::string_view name) {
  Json root;
  try {
    root = Json::parse(json);
  } catch (const Json::parse_error& error) {
    // The library's reason may end in a whole token of the file.
    throw Error(StrCat(name, ": byte ", error.byte,
                       ": expected JSON: ", std::string_view(error.what()).substr(0, 200)));
  } catch (const Json::exception& error) {
    throw Error(StrCat(name, ": expected JSON: ", error.what()));
  }
  ATHANOR_CHECK(root.is_object(), name, ": expected a JSON object, found ", root.type_name());
  const Record file{root, std::string(name)};
  TransformsIntrinsics shared;
  ReadIntrinsics(file, shared);

  Transforms transforms;
  transforms.ply_file_path = file.Text("ply_file_path");
  transforms.depth_unit = file.Positive("depth_unit_scale_factor");
  if (!transforms.depth_unit) transforms.depth_unit = file.Positive("integer_depth_scale");

  const Json* frames = file.Find("frames");
  ATHANOR_CHECK(frames != nullptr, name, ": expected a field frames, found none");
  if (!frames->is_array()) file.Fail("frames", "a list", *frames);
  for (size_t i = 0; i < frames->size(); ++i) {
    const Record record{(*frames)[i], StrCat(name, ": frame ", i)};
    ATHANOR_CHECK(record.object.is_object(), record.where, ": expected an object, found ",
                  Shown(record.object));
    TransformsFrame frame;
    frame.file_path = record.Text("file_path");
    ATHANOR_CHECK(!frame.file_path.empty(), record.where, ": expected a field file_path");
    frame.mask_path = record.Text("mask_path");
    frame.depth_path = record.Text("depth_file_path");
    if (frame.depth_path.empty()) frame.depth_path = record.Text("depth_path");
    frame.camera_from_world = ReadPose(record);
    TransformsIntrinsics intrinsics = shared;
    ReadIntrinsics(record, intrinsics);
    // Frames of one camera follow one another, or all have the file's.
    if (transforms.intrinsics.empty() || !(transforms.intrinsics.back() == intrinsics)) {
      transforms.intrinsics.push_back(intrinsics);
    }
    frame.intrinsics = static_cast<int>(transforms.intrinsics.size()) - 1;
    transforms.frames.push_back(std::move(frame));
  }
  ReadSplits(file, transforms.frames);
  return transforms;
}

PosedImages ReadTransforms(const std::vector<TransformsFile>& files,
                           const fs::path& images_folder) {
  ATHANOR_CHECK(!files.empty(), "ReadTransforms: expected at least one file");
  PosedImages posed;
  posed.source = files[0].path.string();
  CameraTable cameras(posed.cameras);
  int64_t frames = 0;
  int64_t missing = 0;
  std::string first_missing;
  for (const TransformsFile& file : files) {
    const std::string file_name = file.path.string();
    const Transforms transforms = ParseTransforms(ReadFile(file.path), file_name);
    const fs::path folder = file.path.parent_path();
    if (transforms.depth_unit) posed.depth_unit_m = *transforms.depth_unit;
    for (size_t i = 0; i < transforms.frames.size(); ++i) {
      const TransformsFrame& frame = transforms.frames[i];
      const std::string where = StrCat(file_name, ": frame ", i);
      ++frames;
      const fs::path named = images_folder.empty()
                                 ? folder / frame.file_path
                                 : images_folder / fs::path(frame.file_path).filename();
      PosedImage image;
      image.image_path = FindPhotograph(named.lexically_normal());
      if (image.image_path.empty()) {
        if (missing++ == 0) first_missing = frame.file_path;
        continue;
      }
      fs::path relative = fs::path(frame.file_path).lexically_normal();
      image.name = relative.replace_filename(image.image_path.filename()).string();
      const auto companion = [&](const std::string& path, const char* field) -> fs::path {
        if (path.empty()) return {};
        ATHANOR_CHECK(IsFile(folder / path), where, ": ", field,
                      ": no such file: ", (folder / path).string());
        return (folder / path).lexically_normal();
      };
      image.mask_path = companion(frame.mask_path, "mask_path");
      image.depth_path = companion(frame.depth_path, "depth_file_path");
      image.camera_from_world = frame.camera_from_world;
      image.split = frame.split == GivenSplit::kNone ? file.split : frame.split;

      const TransformsIntrinsics& intrinsics = transforms.intrinsics[frame.intrinsics];
      ImageSize size;
      if (intrinsics.width_px && intrinsics.height_px) {
        size = {*intrinsics.width_px, *intrinsics.height_px};
      } else {
        size = ReadImageSize(image.image_path);
      }
      image.camera = cameras.IndexOf(intrinsics.ToCamera(size.width, size.height, where));
      posed.images.push_back(std::move(image));
    }
    if (!transforms.ply_file_path.empty() && posed.points.empty()) {
      posed.points = ReadPlyPoints(folder / transforms.ply_file_path);
    }
  }
  if (missing > 0) {
    const std::string what = StrCat(
        missing, " of ", frames, " photographs are missing, the first is ", Quoted(first_missing));
    ATHANOR_CHECK(missing < frames, posed.source, ": ", what);
    LogWarning(StrCat(posed.source, ": ", what, "; their frames are left out"));
  }
  FinishPosedImages(posed);
  return posed;
}

}  // namespace athanor
