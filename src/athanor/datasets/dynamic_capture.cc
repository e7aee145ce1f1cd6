#include "athanor/datasets/dynamic_capture.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/datasets/rotation_matrix.h"

namespace athanor {
namespace {

using Json = nlohmann::json;

// A list of the file: `value[key]`, of `count` items unless that is 0.
const Json& List(const Json& object, const char* key, size_t count, const std::string& where) {
  const auto found = object.find(key);
  ATHANOR_CHECK(found != object.end() && found->is_array(), where, ": expected a list '", key, "'");
  ATHANOR_CHECK(count == 0 || found->size() == count, where, ": '", key, "': expected ", count,
                " times, found ", found->size());
  return *found;
}

template <int kRows, int kColumns>
Eigen::Matrix<double, kRows, kColumns> Matrix(const Json& rows, const std::string& where) {
  Eigen::Matrix<double, kRows, kColumns> matrix;
  bool good = rows.is_array() && rows.size() == kRows;
  for (int r = 0; good && r < kRows; ++r) {
    good = rows[r].is_array() && rows[r].size() == kColumns;
    for (int c = 0; good && c < kColumns; ++c) {
      good = rows[r][c].is_number();
      if (good) matrix(r, c) = rows[r][c].template get<double>();
    }
  }
  ATHANOR_CHECK(good && matrix.allFinite(), where, ": expected ", kRows, " rows of ", kColumns,
                " finite numbers");
  return matrix;
}

int Side(const Json& object, const char* key, const std::string& where) {
  const auto found = object.find(key);
  const bool good = found != object.end() && found->is_number_integer() &&
                    found->get<int64_t>() > 0 && found->get<int64_t>() <= 1 << 20;
  ATHANOR_CHECK(good, where, ": expected '", key, "', a whole number of pixels");
  return found->get<int>();
}

}  // namespace

std::vector<PosedImages> ReadDynamicCapture(const std::filesystem::path& path) {
  const std::filesystem::path file =
      std::filesystem::is_directory(path) ? path / "train_meta.json" : path;
  const std::string name = file.string();
  const Json meta = Json::parse(ReadFile(file), nullptr, /*allow_exceptions=*/false);
  ATHANOR_CHECK(meta.is_object(), name, ": expected a JSON object");
  const int width_px = Side(meta, "w", name), height_px = Side(meta, "h", name);
  const Json& names = List(meta, "fn", 0, name);
  ATHANOR_CHECK(!names.empty(), name, ": expected at least one time, found none");
  const Json& intrinsics = List(meta, "k", names.size(), name);
  const Json& poses = List(meta, "w2c", names.size(), name);

  std::vector<PosedImages> captures;
  for (size_t t = 0; t < names.size(); ++t) {
    const std::string time = StrCat(name, ": time ", t);
    ATHANOR_CHECK(names[t].is_array() && intrinsics[t].is_array() && poses[t].is_array() &&
                      names[t].size() == intrinsics[t].size() && names[t].size() == poses[t].size(),
                  time, ": expected as many 'fn' as 'k' and 'w2c'");
    PosedImages posed;
    posed.source = time;
    for (size_t c = 0; c < names[t].size(); ++c) {
      const std::string where = StrCat(time, ", camera ", c);
      ATHANOR_CHECK(names[t][c].is_string(), where, ": expected a file name in 'fn'");
      const auto k = Matrix<3, 3>(intrinsics[t][c], where + ": 'k'");
      Camera camera;
      camera.width_px = width_px;
      camera.height_px = height_px;
      camera.parameters = {k(0, 0), k(1, 1), k(0, 2), k(1, 2)};
      camera.Check(where);
      const auto pose = Matrix<4, 4>(poses[t][c], where + ": 'w2c'");
      const auto rotation = NearestRotation(pose.topLeftCorner<3, 3>());
      ATHANOR_CHECK(rotation.has_value(), where, ": 'w2c': expected a rotation and a translation");
      PosedImage image;
      image.name = names[t][c].get<std::string>();
      image.image_path = file.parent_path() / "ims" / image.name;
      image.camera = static_cast<int>(c);
      image.camera_from_world = {*rotation, pose.topRightCorner<3, 1>()};
      posed.cameras.push_back(camera);
      posed.images.push_back(std::move(image));
    }
    FinishPosedImages(posed);
    captures.push_back(std::move(posed));
  }
  return captures;
}

}  // namespace athanor
