#include "athanor/datasets/lerf_annotations.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/datasets/polygon_raster.h"
#include "athanor/datasets/text_lines.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr double kMaxCoordinate = 1 << 20;
constexpr double kMaxSidePx = 1 << 14;

const Json& Get(const Json& object, const char* key, std::string_view where) {
  ATHANOR_CHECK(object.is_object() && object.contains(key), where, ": expected a field ", key);
  return object[key];
}

std::string Text(const Json& object, const char* key, std::string_view where) {
  const Json& value = Get(object, key, where);
  ATHANOR_CHECK(value.is_string() && !value.get_ref<const std::string&>().empty(), where,
                ": expected a text as ", key);
  return value.get<std::string>();
}

const Json& List(const Json& object, const char* key, std::string_view where) {
  const Json& value = Get(object, key, where);
  ATHANOR_CHECK(value.is_array(), where, ": expected a list as ", key);
  return value;
}

double Number(const Json& value, std::string_view where) {
  const double number = value.is_number() ? value.get<double>() : NAN;
  ATHANOR_CHECK(std::abs(number) <= kMaxCoordinate, where, ": expected coordinates within ",
                kMaxCoordinate, ", found ", Quoted(value.dump(-1, ' ', true)));
  return number;
}

int Side(const Json& object, const char* key, std::string_view where) {
  const double side = Number(Get(object, key, where), where);
  ATHANOR_CHECK(side >= 1 && side <= kMaxSidePx && side == std::floor(side), where, ": expected ",
                key, " to be a whole number of 1 to ", kMaxSidePx, ", found ", side);
  return static_cast<int>(side);
}

std::vector<Eigen::Vector2d> Points(const Json& list, std::string_view where) {
  std::vector<Eigen::Vector2d> points;
  for (const Json& point : list) {
    ATHANOR_CHECK(point.is_array() && point.size() == 2, where, ": expected points [x, y]");
    points.emplace_back(Number(point[0], where), Number(point[1], where));
  }
  return points;
}

std::array<double, 4> BoxAround(const std::vector<Eigen::Vector2d>& points) {
  Eigen::Vector2d low = points[0], high = points[0];
  for (const Eigen::Vector2d& point : points) {
    low = low.cwiseMin(point);
    high = high.cwiseMax(point);
  }
  return {low.x(), low.y(), high.x(), high.y()};
}

PhraseRegion& RegionOf(std::string phrase, AnnotatedView& view) {
  for (PhraseRegion& region : view.regions) {
    if (region.phrase == phrase) return region;
  }
  view.regions.push_back({std::move(phrase), {}, {}});
  return view.regions.back();
}

void CheckPolygon(const std::vector<Eigen::Vector2d>& polygon, std::string_view where) {
  ATHANOR_CHECK(polygon.size() >= 3, where, ": expected a polygon of at least 3 points, found ",
                polygon.size());
}

void AddLangSplatObject(const Json& object, std::string_view where, AnnotatedView& view) {
  PhraseRegion& region = RegionOf(Text(object, "category", where), view);
  // Some files nest the four numbers once more, as [[x1, y1], [x2, y2]].
  std::vector<double> box;
  for (const Json& value : List(object, "bbox", where)) {
    if (value.is_array()) {
      for (const Json& inner : value) box.push_back(Number(inner, where));
    } else {
      box.push_back(Number(value, where));
    }
  }
  ATHANOR_CHECK(box.size() == 4, where, ": expected 4 numbers as bbox, found ", box.size());
  region.boxes.push_back(BoxAround({{box[0], box[1]}, {box[2], box[3]}}));
  auto polygon = Points(List(object, "segmentation", where), where);
  CheckPolygon(polygon, where);
  region.polygons.push_back(std::move(polygon));
}

void AddLabelmeShape(const Json& shape, std::string_view where, AnnotatedView& view) {
  PhraseRegion& region = RegionOf(Text(shape, "label", where), view);
  const std::string type =
      shape.contains("shape_type") ? Text(shape, "shape_type", where) : std::string("rectangle");
  auto points = Points(List(shape, "points", where), where);
  if (type == "polygon") {
    CheckPolygon(points, where);
  } else {
    ATHANOR_CHECK(type == "rectangle" && points.size() == 2, where,
                  ": expected a rectangle of 2 points or a polygon, found ", Quoted(type), " of ",
                  points.size());
  }
  region.boxes.push_back(BoxAround(points));
  if (type == "polygon") region.polygons.push_back(std::move(points));
}

// The first number in a file's name, so that 2_rgb.json comes before 10_rgb.json.
int64_t NumberIn(const std::string& name) {
  int64_t number = 0;
  size_t i = name.find_first_of("0123456789");
  for (; i < name.size() && name[i] >= '0' && name[i] <= '9' && number < int64_t{1} << 50; ++i) {
    number = 10 * number + (name[i] - '0');
  }
  return number;
}

}  // namespace

bool PhraseRegion::InBox(double x, double y) const {
  return std::any_of(boxes.begin(), boxes.end(), [&](const std::array<double, 4>& box) {
    return x >= box[0] && y >= box[1] && x <= box[2] && y <= box[3];
  });
}

Image AnnotatedView::Mask(const PhraseRegion& region) const {
  Image mask(width_px, height_px, 1);
  for (const auto& polygon : region.polygons) {
    std::vector<Eigen::Vector2i> corners;
    for (const Eigen::Vector2d& point : polygon) corners.push_back(point.cast<int>());
    FillPolygonAsOpenCv(corners, width_px, height_px, 255, mask.data);
  }
  return mask;
}

AnnotatedView ParseLerfAnnotations(std::string_view json, std::string_view name) {
  Json root;
  try {
    root = Json::parse(json);
  } catch (const Json::exception& error) {
    throw Error(StrCat(name, ": ", Quoted(error.what())));
  }
  AnnotatedView view;
  if (root.is_object() && root.contains("shapes")) {
    view.width_px = Side(root, "imageWidth", name);
    view.height_px = Side(root, "imageHeight", name);
    view.image_name = Text(root, "imagePath", name);
    int i = 0;
    for (const Json& shape : List(root, "shapes", name)) {
      AddLabelmeShape(shape, StrCat(name, ": shape ", i++), view);
    }
    return view;
  }
  ATHANOR_CHECK(root.is_object() && root.contains("info") && root.contains("objects"), name,
                ": expected the fields info and objects (LERF-OVS), or shapes (labelme)");
  const std::string where = StrCat(name, ": info");
  view.width_px = Side(root["info"], "width", where);
  view.height_px = Side(root["info"], "height", where);
  view.image_name = Text(root["info"], "name", where);
  int i = 0;
  for (const Json& object : List(root, "objects", name)) {
    AddLangSplatObject(object, StrCat(name, ": object ", i++), view);
  }
  return view;
}

std::vector<AnnotatedView> ReadLerfAnnotations(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const fs::path& path : ListFiles(folder, {".json"})) {
    const std::string name = path.filename().string();
    if (name.starts_with("frame_") || name.ends_with("_rgb.json")) files.push_back(path);
  }
  ATHANOR_CHECK(!files.empty(), folder.string(),
                ": expected annotations, frame_*.json or *_rgb.json, found none");
  std::stable_sort(files.begin(), files.end(), [](const fs::path& a, const fs::path& b) {
    return NumberIn(a.filename().string()) < NumberIn(b.filename().string());
  });
  std::vector<AnnotatedView> views;
  for (const fs::path& path : files) {
    views.push_back(ParseLerfAnnotations(ReadFile(path), path.string()));
  }
  return views;
}

}  // namespace athanor
