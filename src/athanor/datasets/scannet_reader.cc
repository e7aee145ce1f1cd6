#include "athanor/datasets/scannet_reader.h"

#include <algorithm>
#include <charconv>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/datasets/paths.h"
#include "athanor/datasets/ply_points.h"
#include "athanor/datasets/rotation_matrix.h"
#include "athanor/datasets/text_lines.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

// 4 x 4 numbers as text; -inf and nan are allowed, since that is how lost poses are written.
Eigen::Matrix4d ReadMatrix(const fs::path& path) {
  const std::string text = ReadFile(path), name = path.string();
  TextLines lines(text, name);
  Eigen::Matrix4d matrix;
  for (int row = 0; row < 4; ++row) {
    ATHANOR_CHECK(lines.NextRecord(), name, ": expected 4 rows of 4 numbers, found ", row);
    for (int column = 0; column < 4; ++column) {
      matrix(row, column) = lines.Number<double>("element of a matrix");
    }
  }
  return matrix;
}

// The one file of the folder whose name ends so; empty when there is none.
fs::path FindFile(const fs::path& folder, std::string_view ending) {
  for (const fs::path& path : ListFiles(folder, {".ply"})) {
    if (path.filename().string().ends_with(ending)) return path;
  }
  return {};
}

}  // namespace

bool IsScanNetFolder(const fs::path& folder) {
  return IsFolder(folder / "color") && IsFolder(folder / "pose") && IsFolder(folder / "intrinsic");
}

PosedImages ReadScanNet(const fs::path& folder, const fs::path& images_folder) {
  PosedImages posed;
  posed.source = folder.string();
  const fs::path photographs = images_folder.empty() ? folder / "color" : images_folder;
  for (const fs::path& path : ListFiles(photographs, {".jpg", ".jpeg", ".png"})) {
    const fs::path pose_path = folder / "pose" / (path.stem().string() + ".txt");
    if (!IsFile(pose_path)) continue;
    const Eigen::Matrix4d pose = ReadMatrix(pose_path);
    if (!pose.allFinite()) continue;
    const auto rotation = NearestRotation(pose.topLeftCorner<3, 3>());
    ATHANOR_CHECK(rotation, pose_path.string(),
                  ": expected a pose (world from camera), found what is no rotation");
    PosedImage image;
    image.name = path.filename().string();
    image.image_path = path;
    const fs::path depth = folder / "depth" / (path.stem().string() + ".png");
    if (IsFile(depth)) image.depth_path = depth;
    image.camera_from_world = Rigid3{*rotation, pose.topRightCorner<3, 1>()}.Inverse();
    posed.images.push_back(std::move(image));
  }
  ATHANOR_CHECK(!posed.images.empty(), folder.string(), ": expected photographs in ",
                photographs.string(), " with poses in pose/, found none");

  const fs::path intrinsic_path = folder / "intrinsic" / "intrinsic_color.txt";
  const Eigen::Matrix4d intrinsic = ReadMatrix(intrinsic_path);
  const ImageSize size = ReadImageSize(posed.images[0].image_path);
  Camera camera{CameraModel::kPinhole,
                size.width,
                size.height,
                {intrinsic(0, 0), intrinsic(1, 1), intrinsic(0, 2) + 0.5, intrinsic(1, 2) + 0.5}};
  camera.Check(intrinsic_path.string());
  // Copies of the set with smaller photographs often keep the intrinsics of the large ones.
  const double x = camera.cx() / size.width, y = camera.cy() / size.height;
  ATHANOR_CHECK(x > 0.25 && x < 0.75 && y > 0.25 && y < 0.75, intrinsic_path.string(),
                ": expected a principal point near the middle of the ", size.width, "x",
                size.height, " photographs, found ", intrinsic(0, 2), ", ", intrinsic(1, 2),
                ": it belongs to images of another size");
  posed.cameras.push_back(camera);
  if (const fs::path mesh = FindFile(folder, "_vh_clean_2.ply"); !mesh.empty()) {
    posed.points = ReadPlyPoints(mesh);
  }
  FinishPosedImages(posed);
  return posed;
}

ScanNetPoints ReadScanNetPoints(const fs::path& folder) {
  const fs::path mesh = FindFile(folder, "_vh_clean_2.ply");
  ATHANOR_CHECK(!mesh.empty(), folder.string(), ": expected *_vh_clean_2.ply, found none");
  ScanNetPoints points{ReadPlyPoints(mesh), {}};
  const fs::path labels = FindFile(folder, "_vh_clean_2.labels.ply");
  if (labels.empty()) return points;
  ReadPlyPoints(labels, &points.labels);
  ATHANOR_CHECK(points.labels.size() == points.points.size(), labels.string(), ": expected ",
                points.points.size(), " points as in ", mesh.string(), ", found ",
                points.labels.size());
  return points;
}

std::vector<ScanNetLabel> ParseScanNetLabels(std::string_view text, std::string_view name) {
  // Columns are parted by single tabs, and may be empty.
  const auto split = [](std::string_view line) {
    std::vector<std::string_view> fields;
    while (true) {
      const size_t tab = line.find('\t');
      fields.push_back(line.substr(0, tab));
      if (tab == std::string_view::npos) return fields;
      line.remove_prefix(tab + 1);
    }
  };
  TextLines lines(text, name);
  ATHANOR_CHECK(lines.Next(), name, ": expected a table of labels, found an empty file");
  const auto header = split(lines.rest());
  const auto column = [&](std::string_view title) {
    const auto found = std::find(header.begin(), header.end(), title);
    if (found == header.end()) lines.Fail(StrCat("expected a column ", Quoted(title)));
    return static_cast<size_t>(found - header.begin());
  };
  const size_t id = column("id"), raw = column("raw_category"), category = column("category");
  const size_t nyu40_id = column("nyu40id"), nyu40_class = column("nyu40class");
  std::vector<ScanNetLabel> labels;
  while (lines.Next()) {
    if (lines.rest().empty()) continue;
    const auto fields = split(lines.rest());
    if (fields.size() != header.size()) {
      lines.Fail(StrCat("expected ", header.size(), " columns, found ", fields.size()));
    }
    const auto number = [&](std::string_view field, std::string_view what) {
      int value = 0;
      const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
      if (error != std::errc() || end != field.data() + field.size() || value < 0 ||
          value > 65535) {
        lines.Fail(StrCat("expected a number of 0 to 65535 as ", what, ", found ", Quoted(field)));
      }
      return value;
    };
    ScanNetLabel label;
    label.id = number(fields[id], "id");
    label.raw_category = fields[raw];
    label.category = fields[category];
    if (!fields[nyu40_id].empty()) label.nyu40_id = number(fields[nyu40_id], "nyu40id");
    label.nyu40_class = fields[nyu40_class];
    labels.push_back(std::move(label));
  }
  return labels;
}

std::vector<ScanNetLabel> ReadScanNetLabels(const fs::path& path) {
  return ParseScanNetLabels(ReadFile(path), path.string());
}

DepthImage ReadScanNetLabelImage(const fs::path& path, const std::vector<ScanNetLabel>& table) {
  std::vector<int> nyu40_of_id(65536, -1);
  nyu40_of_id[0] = 0;
  for (const ScanNetLabel& label : table) nyu40_of_id[label.id] = label.nyu40_id;
  DepthImage image = ReadDepthPng(path);
  for (size_t i = 0; i < image.data.size(); ++i) {
    const int nyu40 = nyu40_of_id[image.data[i]];
    ATHANOR_CHECK(nyu40 >= 0, path.string(), ": pixel ", i % image.width, ", ", i / image.width,
                  ": expected an id of the table of labels, found ", image.data[i]);
    image.data[i] = static_cast<uint16_t>(nyu40);
  }
  return image;
}

}  // namespace athanor
