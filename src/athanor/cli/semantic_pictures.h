// semantic query PHOTOGRAPH... : heat maps of words over photographs, without a scene.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace athanor {

struct PictureQuery {
  std::string teacher;
  std::vector<std::string> prompts;
  std::string negatives;  // as ChooseNegatives takes them
  double temperature = 10;
  double threshold = 0.5;
  int drawn = 16;  // prompts to draw
};

// The photograph itself, or the .png, .jpg and .jpeg files of a folder, by name; empty when the
// path is neither.
std::vector<std::filesystem::path> FindPhotographs(const std::filesystem::path& path);

// Describes each photograph, scores the prompts in every pixel; writes heat maps, an overview and
// pictures.json to `out`, and a table to standard output. Throws Error.
void QueryPictures(const std::vector<std::filesystem::path>& photographs, const PictureQuery& query,
                   const std::filesystem::path& out);

// "a red mug" -> "a-red-mug", for names of files.
std::string Slug(const std::string& prompt);

}  // namespace athanor
