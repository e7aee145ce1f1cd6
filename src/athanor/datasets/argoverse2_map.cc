#include "athanor/datasets/argoverse2_map.h"

#include <algorithm>
#include <charconv>
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

constexpr double kCellsPerM = 10;
constexpr int64_t kRoiCells = 50;  // 5 m
constexpr int64_t kMaxCells = int64_t{1} << 29;
constexpr double kMaxCoordinateM = 1e7;  // a city's frame is some tens of kilometres wide
constexpr uint8_t kDrivable = 1, kRoi = 2;

Json ParseJson(std::string_view text, std::string_view name) {
  try {
    return Json::parse(text);
  } catch (const Json::exception& error) {
    throw Error(StrCat(name, ": ", Quoted(error.what())));
  }
}

double Number(const Json& value, std::string_view name, std::string_view what) {
  ATHANOR_CHECK(value.is_number() && std::isfinite(value.get<double>()), name, ": expected ", what,
                " to be a finite number, found ", Quoted(value.dump(-1, ' ', true)));
  return value.get<double>();
}

// The one file of a folder whose name begins and ends so; empty when there is none.
fs::path FindFile(const fs::path& folder, std::string_view begin, std::string_view end) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) return {};
  for (const fs::path& path : ListFiles(folder)) {
    const std::string name = path.filename().string();
    if (name.starts_with(begin) && name.ends_with(end)) return path;
  }
  return {};
}

// Marks the cells within kRoiCells of a drivable one, measured between their centres.
void Dilate(int64_t width, int64_t height, std::vector<uint8_t>& cells) {
  // Rows to the nearest drivable cell above or below, up to kRoiCells + 1.
  std::vector<uint8_t> rows_away(cells.size(), kRoiCells + 1);
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const int64_t i = y * width + x;
      const int above = y > 0 ? rows_away[i - width] + 1 : kRoiCells + 1;
      rows_away[i] = (cells[i] & kDrivable) != 0 ? 0 : std::min<int>(above, kRoiCells + 1);
    }
  }
  for (int64_t i = static_cast<int64_t>(cells.size()) - width - 1; i >= 0; --i) {
    rows_away[i] = std::min<int>(rows_away[i], rows_away[i + width] + 1);
  }
  int64_t reach[kRoiCells + 1];
  for (int64_t away = 0; away <= kRoiCells; ++away) {
    reach[away] =
        static_cast<int64_t>(std::sqrt(static_cast<double>(kRoiCells * kRoiCells - away * away)));
  }
  std::vector<int> begins(width + 1);
  for (int64_t y = 0; y < height; ++y) {
    std::fill(begins.begin(), begins.end(), 0);
    for (int64_t x = 0; x < width; ++x) {
      const int away = rows_away[y * width + x];
      if (away > kRoiCells) continue;
      ++begins[std::max<int64_t>(x - reach[away], 0)];
      --begins[std::min(x + reach[away] + 1, width)];
    }
    int open = 0;
    for (int64_t x = 0; x < width; ++x) {
      open += begins[x];
      if (open > 0) cells[y * width + x] |= kRoi;
    }
  }
}

}  // namespace

Argoverse2Map Argoverse2Map::Parse(std::string_view json, std::string_view name) {
  const Json root = ParseJson(json, name);
  ATHANOR_CHECK(
      root.is_object() && root.contains("drivable_areas") && root["drivable_areas"].is_object(),
      name, ": expected an object 'drivable_areas'");
  Argoverse2Map map;
  // In the order of their ids as text, which does not matter to the rasters.
  for (const auto& [id, area] : root["drivable_areas"].items()) {
    const std::string where = StrCat(name, ": drivable area ", Quoted(id));
    ATHANOR_CHECK(
        area.is_object() && area.contains("area_boundary") && area["area_boundary"].is_array(),
        where, ": expected a list 'area_boundary'");
    std::vector<Eigen::Vector3d> polygon;
    for (const Json& point : area["area_boundary"]) {
      ATHANOR_CHECK(
          point.is_object() && point.contains("x") && point.contains("y") && point.contains("z"),
          where, ": expected points with x, y and z");
      polygon.emplace_back(Number(point["x"], where, "x"), Number(point["y"], where, "y"),
                           Number(point["z"], where, "z"));
      ATHANOR_CHECK(polygon.back().cwiseAbs().maxCoeff() < kMaxCoordinateM, where,
                    ": expected coordinates within ", kMaxCoordinateM, " m");
    }
    ATHANOR_CHECK(polygon.size() >= 3, where, ": expected a polygon of at least 3 points, found ",
                  polygon.size());
    map.drivable_areas_.push_back(std::move(polygon));
  }
  map.Rasterize(name);
  return map;
}

void Argoverse2Map::Rasterize(std::string_view name) {
  if (drivable_areas_.empty()) return;
  Eigen::Vector2d low = drivable_areas_[0][0].head<2>(), high = low;
  for (const auto& polygon : drivable_areas_) {
    for (const Eigen::Vector3d& point : polygon) {
      low = low.cwiseMin(point.head<2>());
      high = high.cwiseMax(point.head<2>());
    }
  }
  low = low.array().floor();
  high = high.array().ceil();
  origin_m_ = low;
  width_ = static_cast<int64_t>((high.x() - low.x() + 1) * kCellsPerM);
  height_ = static_cast<int64_t>((high.y() - low.y() + 1) * kCellsPerM);
  ATHANOR_CHECK(height_ <= kMaxCells / width_, name, ": expected drivable areas of at most ",
                kMaxCells, " cells of 10 cm, found ", width_, " x ", height_);
  cells_.assign(static_cast<size_t>(width_ * height_), 0);
  for (const auto& polygon : drivable_areas_) {
    std::vector<Eigen::Vector2i> corners;
    for (const Eigen::Vector3d& point : polygon) {
      const Eigen::Vector2d cell = kCellsPerM * (point.head<2>() - low);
      corners.emplace_back(static_cast<int>(std::nearbyint(cell.x())),
                           static_cast<int>(std::nearbyint(cell.y())));
    }
    FillPolygonAsPillow(corners, width_, height_, kDrivable, cells_);
  }
  Dilate(width_, height_, cells_);
}

Argoverse2Map Argoverse2Map::Read(const fs::path& folder) {
  fs::path map_folder = folder;
  fs::path archive = FindFile(map_folder, "log_map_archive_", ".json");
  if (archive.empty()) {
    map_folder = folder / "map";
    archive = FindFile(map_folder, "log_map_archive_", ".json");
  }
  ATHANOR_CHECK(!archive.empty(), folder.string(), ": expected log_map_archive_*.json, found none");
  Argoverse2Map map = Parse(ReadFile(archive), archive.string());
  fs::path heights, sim2;
  for (const fs::path& path : ListFiles(map_folder)) {
    const std::string name = path.filename().string();
    if (name.find("_ground_height_surface____") != name.npos && name.ends_with(".npy")) {
      heights = path;
    }
    if (name.ends_with("___img_Sim2_city.json")) sim2 = path;
  }
  if (!heights.empty() && !sim2.empty()) map.ReadGroundHeight(heights, sim2);
  return map;
}

void Argoverse2Map::ReadGroundHeight(const fs::path& heights, const fs::path& sim2) {
  const Json root = ParseJson(ReadFile(sim2), sim2.string());
  const auto numbers = [&](const char* key, size_t count) {
    ATHANOR_CHECK(
        root.is_object() && root.contains(key) && root[key].is_array() && root[key].size() == count,
        sim2.string(), ": expected ", count, " numbers as ", key);
    std::vector<double> values;
    for (const Json& value : root[key]) values.push_back(Number(value, sim2.string(), key));
    return values;
  };
  const auto rotation = numbers("R", 4), translation = numbers("t", 2);
  ATHANOR_CHECK(root.contains("s"), sim2.string(), ": expected a scale s");
  ground_scale_ = Number(root["s"], sim2.string(), "s");
  ground_rotation_ << rotation[0], rotation[1], rotation[2], rotation[3];
  ground_translation_ = {translation[0], translation[1]};

  // NumPy's file of one array: magic, version, length of the header, header, values.
  const std::string bytes = ReadFile(heights);
  const std::string name = heights.string();
  ByteReader reader(bytes, name);
  if (reader.Take(6, "magic of a NumPy file") != "\x93NUMPY") {
    reader.Fail("expected a NumPy file, which begins with '\\x93NUMPY'");
  }
  const auto version = reader.Read<uint8_t>("version");
  reader.Read<uint8_t>("version");
  const size_t length = version == 1 ? reader.Read<uint16_t>("length of the header")
                                     : reader.Read<uint32_t>("length of the header");
  const std::string header(reader.Take(length, "header"));
  const size_t shape = header.find("'shape': (");
  int64_t rows = 0, columns = 0;
  bool good = header.find("'descr': '<f2'") != header.npos &&
              header.find("'fortran_order': False") != header.npos && shape != header.npos;
  if (good) {
    const char *begin = header.data() + shape + 10, *end = header.data() + header.size();
    const auto first = std::from_chars(begin, end, rows);
    good = first.ec == std::errc() && end - first.ptr > 2 && first.ptr[0] == ',';
    if (good) good = std::from_chars(first.ptr + 2, end, columns).ec == std::errc();
  }
  if (!good || rows <= 0 || columns <= 0 || columns > kMaxCells / rows) {
    reader.Fail(
        StrCat("expected an array [rows, columns] of float16 (<f2), found ", Quoted(header)));
  }
  reader.CheckFits(rows * columns, 2, "ground heights");
  ground_width_ = columns;
  ground_height_ = rows;
  ground_m_.resize(static_cast<size_t>(rows * columns));
  for (float& height : ground_m_) {
    height = Eigen::numext::bit_cast<Eigen::half>(reader.Read<uint16_t>("ground height"));
  }
}

uint8_t Argoverse2Map::CellAt(const Eigen::Vector2d& point_in_city_m) const {
  // Cut off towards zero as the official tools do: the raster's first cells are two wide.
  const Eigen::Vector2d cell = kCellsPerM * (point_in_city_m - origin_m_);
  if (!(cell.x() > -1 && cell.y() > -1 && cell.x() < static_cast<double>(width_) &&
        cell.y() < static_cast<double>(height_))) {
    return 0;
  }
  return cells_[static_cast<int64_t>(cell.y()) * width_ + static_cast<int64_t>(cell.x())];
}

bool Argoverse2Map::InDrivableArea(const Eigen::Vector2d& point_in_city_m) const {
  return (CellAt(point_in_city_m) & kDrivable) != 0;
}

bool Argoverse2Map::InRoi(const Eigen::Vector2d& point_in_city_m) const {
  return (CellAt(point_in_city_m) & kRoi) != 0;
}

int64_t Argoverse2Map::CountCells(bool roi) const {
  const uint8_t bit = roi ? kRoi : kDrivable;
  return std::count_if(cells_.begin(), cells_.end(),
                       [&](uint8_t cell) { return (cell & bit) != 0; });
}

std::optional<double> Argoverse2Map::GroundHeight(const Eigen::Vector2d& point_in_city_m) const {
  const Eigen::Vector2d cell =
      ground_scale_ * (ground_rotation_ * point_in_city_m + ground_translation_);
  if (!(cell.x() > -1 && cell.y() > -1 && cell.x() < static_cast<double>(ground_width_) &&
        cell.y() < static_cast<double>(ground_height_))) {
    return std::nullopt;
  }
  const float height =
      ground_m_[static_cast<int64_t>(cell.y()) * ground_width_ + static_cast<int64_t>(cell.x())];
  if (!std::isfinite(height)) return std::nullopt;
  return height;
}

}  // namespace athanor
