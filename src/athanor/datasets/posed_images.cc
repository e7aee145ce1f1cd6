#include "athanor/datasets/posed_images.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/base/random.h"
#include "athanor/datasets/colmap_reader.h"
#include "athanor/datasets/paths.h"
#include "athanor/datasets/scannet_reader.h"
#include "athanor/datasets/text_lines.h"
#include "athanor/datasets/transforms_reader.h"
#include "athanor/media/image.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

// True when one is the other scaled by one factor, to the rounding of its sides.
bool SameShape(const Camera& camera, const ImageSize& size) {
  const double scale = camera.width_px >= camera.height_px
                           ? static_cast<double>(size.width) / camera.width_px
                           : static_cast<double>(size.height) / camera.height_px;
  return std::abs(scale * camera.width_px - size.width) <= 1 &&
         std::abs(scale * camera.height_px - size.height) <= 1;
}

Split SplitWhere(const PosedImages& posed, const std::vector<bool>& held_out) {
  Split split;
  for (size_t i = 0; i < posed.images.size(); ++i) {
    (held_out[i] ? split.test : split.train).push_back(static_cast<int>(i));
  }
  return split;
}

}  // namespace

PosedImages ReadPosedImages(const fs::path& path, const fs::path& images_folder) {
  std::error_code error;
  ATHANOR_CHECK(fs::exists(path, error), path.string(), ": no such file or folder");
  if (!fs::is_directory(path, error)) {
    ATHANOR_CHECK(path.extension() == ".json", path.string(),
                  ": expected a folder or a transforms.json");
    return ReadTransforms({{path, GivenSplit::kNone}}, images_folder);
  }
  for (const fs::path& model : {path / "sparse" / "0", path / "sparse", path / "0", path}) {
    if (IsColmapModel(model)) return ReadColmap(model, images_folder);
  }
  if (IsFile(path / "transforms.json")) {
    return ReadTransforms({{path / "transforms.json", GivenSplit::kNone}}, images_folder);
  }
  if (IsFile(path / "transforms_train.json")) {
    std::vector<TransformsFile> files = {{path / "transforms_train.json", GivenSplit::kTrain}};
    if (IsFile(path / "transforms_val.json")) {
      files.push_back({path / "transforms_val.json", GivenSplit::kValidation});
    }
    if (IsFile(path / "transforms_test.json")) {
      files.push_back({path / "transforms_test.json", GivenSplit::kTest});
    }
    return ReadTransforms(files, images_folder);
  }
  if (IsScanNetFolder(path)) return ReadScanNet(path, images_folder);
  throw Error(StrCat(path.string(),
                     ": no capture found: expected a COLMAP model (cameras and images, .bin or "
                     ".txt, in sparse/0, sparse or the folder itself), transforms.json, "
                     "transforms_train.json, or an exported ScanNet scan (color/, pose/, "
                     "intrinsic/)"));
}

void FinishPosedImages(PosedImages& posed) {
  ATHANOR_CHECK(!posed.images.empty(), posed.source, ": expected at least one image, found none");
  std::sort(posed.images.begin(), posed.images.end(),
            [](const PosedImage& a, const PosedImage& b) { return a.name < b.name; });
  const auto twin =
      std::adjacent_find(posed.images.begin(), posed.images.end(),
                         [](const PosedImage& a, const PosedImage& b) { return a.name == b.name; });
  ATHANOR_CHECK(twin == posed.images.end(), posed.source, ": two images are named ",
                Quoted(twin->name));

  std::vector<bool> fitted(posed.cameras.size(), false);
  for (const PosedImage& image : posed.images) {
    if (fitted[image.camera]) continue;
    fitted[image.camera] = true;
    Camera& camera = posed.cameras[image.camera];
    const ImageSize size = ReadImageSize(image.image_path);
    if (size.width == camera.width_px && size.height == camera.height_px) continue;
    ATHANOR_CHECK(SameShape(camera, size), image.image_path.string(), ": the photograph is ",
                  size.width, "x", size.height, ", but its camera in ", posed.source, " is ",
                  camera.width_px, "x", camera.height_px);
    LogInfo(StrCat(posed.source, ": camera of ", camera.width_px, "x", camera.height_px,
                   " scaled to its photographs of ", size.width, "x", size.height));
    camera = camera.Resized(size.width, size.height);
  }
}

std::vector<ColoredPoint> RandomPoints(const PosedImages& posed, int64_t count, uint64_t seed) {
  ATHANOR_CHECK(count >= 0, "random points: expected a count of 0 or more, found ", count);
  ATHANOR_CHECK(!posed.images.empty(), posed.source, ": random points need cameras, found none");
  Eigen::Vector3d low = posed.images[0].camera_from_world.Inverse().translation;
  Eigen::Vector3d high = low;
  for (const PosedImage& image : posed.images) {
    const Eigen::Vector3d centre = image.camera_from_world.Inverse().translation;
    low = low.cwiseMin(centre);
    high = high.cwiseMax(centre);
  }
  const double side = (high - low).maxCoeff();
  ATHANOR_CHECK(side > 0, posed.source,
                ": random points need a box that the cameras span, but all stand on one spot");
  const Eigen::Vector3d corner = 0.5 * (low + high) - Eigen::Vector3d::Constant(0.5 * side);

  Random random(seed);
  std::vector<ColoredPoint> points(static_cast<size_t>(count));
  for (ColoredPoint& point : points) {
    for (int i = 0; i < 3; ++i) {
      point.position[i] = static_cast<float>(corner[i] + side * random.Uniform());
    }
    for (uint8_t& channel : point.color) channel = static_cast<uint8_t>(random.Below(256));
  }
  return points;
}

Split SplitEvery(const PosedImages& posed, int test_every) {
  ATHANOR_CHECK(test_every >= 0, "test_every: expected 0 (none) or more, found ", test_every);
  std::vector<bool> held_out(posed.images.size(), false);
  for (size_t i = 0; test_every > 0 && i < held_out.size(); i += test_every) held_out[i] = true;
  return SplitWhere(posed, held_out);
}

Split SplitByList(const PosedImages& posed, const fs::path& list_path) {
  std::unordered_map<std::string_view, size_t> index_of_name;
  for (size_t i = 0; i < posed.images.size(); ++i) index_of_name[posed.images[i].name] = i;
  const std::string text = ReadFile(list_path);
  const std::string list_name = list_path.string();
  TextLines lines(text, list_name);
  std::vector<bool> held_out(posed.images.size(), false);
  while (lines.Next()) {
    if (lines.rest().empty()) continue;
    const auto found = index_of_name.find(lines.rest());
    if (found == index_of_name.end()) {
      lines.Fail(StrCat("no image of ", posed.source, " is named ", Quoted(lines.rest())));
    }
    held_out[found->second] = true;
  }
  return SplitWhere(posed, held_out);
}

std::optional<Split> SplitAsGiven(const PosedImages& posed) {
  const auto has = [&](GivenSplit split) {
    return std::any_of(posed.images.begin(), posed.images.end(),
                       [&](const PosedImage& image) { return image.split == split; });
  };
  const bool has_test = has(GivenSplit::kTest);
  if (!has_test && !has(GivenSplit::kValidation) && !has(GivenSplit::kTrain)) return std::nullopt;
  const GivenSplit test = has_test ? GivenSplit::kTest : GivenSplit::kValidation;
  const GivenSplit train = has(GivenSplit::kTrain) ? GivenSplit::kTrain : GivenSplit::kNone;
  Split split;
  for (size_t i = 0; i < posed.images.size(); ++i) {
    if (posed.images[i].split == train) split.train.push_back(static_cast<int>(i));
    if (posed.images[i].split == test) split.test.push_back(static_cast<int>(i));
  }
  return split;
}

}  // namespace athanor
