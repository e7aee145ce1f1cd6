// COLMAP's sparse models: cameras, images and points3D, binary or text.
//
// Format: colmap.github.io/format.html. rigs.bin and frames.bin of newer versions are not needed:
// images still hold their own poses.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/datasets/posed_images.h"

namespace athanor {

enum class ColmapEncoding { kBinary, kText };

struct ColmapImage {
  std::string name;  // path below the folder of the photographs
  uint32_t camera_id = 0;
  Rigid3 camera_from_world;
};

// From bytes in memory; `name` is the path that messages name. Throw Error (name, byte or line,
// expectation) for anything damaged, truncated or not finite.
std::map<uint32_t, Camera> ParseColmapCameras(std::string_view bytes, std::string_view name,
                                              ColmapEncoding encoding);
std::vector<ColmapImage> ParseColmapImages(std::string_view bytes, std::string_view name,
                                           ColmapEncoding encoding);
std::vector<ColoredPoint> ParseColmapPoints(std::string_view bytes, std::string_view name,
                                            ColmapEncoding encoding);

// True when the folder holds cameras and images, both .bin or both .txt.
bool IsColmapModel(const std::filesystem::path& folder);

// Reads the model in `folder`. The photographs are under `images_folder`; when that is empty, under
// the first of folder/images, folder/../images and folder/../../images. Beside that folder, masks/
// and depth/ may hold files of the same names (or with .png added, or in place of the extension).
// Throws Error (path, byte or line, expectation), also when photographs are missing.
PosedImages ReadColmap(const std::filesystem::path& folder,
                       const std::filesystem::path& images_folder = {});

}  // namespace athanor
