#include "athanor/cli/semantic_pictures.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cctype>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/progress.h"
#include "athanor/cli/options_cli.h"
#include "athanor/cli/semantic_scene.h"
#include "athanor/media/draw.h"
#include "athanor/scenes/gaussians/show.h"
#include "athanor/scenes/semantics/query/pictures.h"
#include "athanor/scenes/semantics/query/pixels.h"
#include "athanor/scenes/semantics/teachers/open_teacher.h"

namespace athanor {
namespace fs = std::filesystem;
using nlohmann::json;

std::vector<fs::path> FindPhotographs(const fs::path& path) {
  const auto is_photograph = [](const fs::path& file) {
    std::string extension = file.extension().string();
    for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return extension == ".png" || extension == ".jpg" || extension == ".jpeg";
  };
  std::error_code error;
  std::vector<fs::path> found;
  if (fs::is_directory(path, error)) {
    for (const auto& entry : fs::directory_iterator(path)) {
      if (is_photograph(entry.path()) && entry.is_regular_file(error))
        found.push_back(entry.path());
    }
    std::sort(found.begin(), found.end());
  } else if (is_photograph(path)) {
    found.push_back(path);
  }
  return found;
}

std::string Slug(const std::string& prompt) {
  std::string slug;
  for (const char c : prompt) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      slug += c;
    } else if (!slug.empty() && slug.back() != '-') {
      slug += '-';
    }
    if (slug.size() >= 32) break;
  }
  while (!slug.empty() && slug.back() == '-') slug.pop_back();
  return slug.empty() ? "prompt" : slug;
}

void QueryPictures(const std::vector<fs::path>& photographs, const PictureQuery& query,
                   const fs::path& out) {
  const std::unique_ptr<Teacher> teacher = OpenTeacher(query.teacher);
  ATHANOR_CHECK(!teacher->text_space().empty(), "teacher '", query.teacher,
                "': words mean nothing to it");
  const std::unique_ptr<TextEncoder> encoder = OpenTextEncoder(teacher->text_space());
  const size_t prompts = query.prompts.size();
  const size_t drawn = std::min(prompts, static_cast<size_t>(query.drawn));
  std::vector<double> best(prompts, 0), pixels(prompts, 0);
  double all_pixels = 0;
  json report = {{"teacher", teacher->key()}, {"pictures", json::array()}};
  std::vector<std::vector<SheetCell>> sheet(drawn);
  // Pictures are named after the photographs: a.jpg and a.png keep their extensions, to be two.
  std::set<std::string> stems;
  for (const fs::path& path : photographs) stems.insert(path.stem().string());
  const bool one_by_stem = stems.size() == photographs.size();
  Progress progress("pictures", std::ssize(photographs));
  for (const fs::path& path : photographs) {
    const Image picture = ReadImage(path, 3);
    const ViewFeatures features = teacher->Describe(picture, path.filename().string());
    json of_picture = {{"picture", path.string()}, {"prompts", json::array()}};
    at::Tensor maps = at::zeros({static_cast<int64_t>(prompts), picture.height, picture.width});
    const ViewCells cells = MakeViewCells(features, path.string());
    double neutral = kNeutralRelevancy;
    if (std::any_of(cells.scales.begin(), cells.scales.end(), [](float s) { return s > 0; })) {
      const SemanticField field = FieldOfView(cells, *teacher);
      const ScoredPrompts scored =
          ScorePrompts(FieldSet({&field}, Combine::kMax), encoder.get(), query.prompts,
                       ChooseNegatives(query.negatives, field, encoder.get()), query.temperature);
      neutral = scored.neutral;
      maps = SpreadOverPixels(cells, features, scored.scores);
    }
    const double size = static_cast<double>(picture.width) * picture.height;
    all_pixels += size;
    for (size_t p = 0; p < prompts; ++p) {
      const at::Tensor map = maps[static_cast<int64_t>(p)];
      const double highest = map.max().item<float>();
      const double above = (map > query.threshold).sum().item<double>();
      best[p] = std::max(best[p], highest);
      pixels[p] += above;
      of_picture["prompts"].push_back(
          {{"prompt", query.prompts[p]}, {"best_score", highest}, {"share", above / size}});
      if (p >= drawn) continue;
      const double upper = std::max(neutral + 0.05, highest);
      char number[32];
      std::snprintf(number, sizeof number, "%02zu_", p);
      const std::string name = number + Slug(query.prompts[p]) + "_" +
                               (one_by_stem ? path.stem() : path.filename()).string() + ".png";
      const Image drawing = DrawHeatMap(picture, map, neutral, upper, query.prompts[p]);
      WriteImage(out / name, drawing);
      if (sheet[p].size() < 8) sheet[p].push_back({drawing, name});
    }
    report["pictures"].push_back(std::move(of_picture));
    progress.Update(std::ssize(report["pictures"]));
  }
  WriteFile(out / "pictures.json",
            report.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
  if (drawn > 0) WriteImage(out / "overview.png", ContactSheet({}, sheet, 400));
  std::vector<std::vector<std::string>> rows = {{"prompt", "best", "% of pixels"}};
  constexpr size_t kLines = 40;
  for (size_t p = 0; p < std::min(prompts, kLines); ++p) {
    rows.push_back({query.prompts[p], Fixed(best[p], 3), Fixed(100 * pixels[p] / all_pixels, 1)});
  }
  std::cout << Table(rows);
  PrintUnderstanding(*encoder, query.prompts);
  std::cout << "scores     " << (out / "pictures.json").string() << "\n";
  if (drawn > 0) std::cout << "pictures   " << (out / "overview.png").string() << "\n";
}

}  // namespace athanor
