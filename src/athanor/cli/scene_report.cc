#include "athanor/cli/scene_report.h"

#include <iostream>
#include <nlohmann/json.hpp>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/program.h"
#include "athanor/cli/options_cli.h"
#include "athanor/ops/device.h"
#include "athanor/scenes/gaussians/reconstruct_run.h"

namespace athanor {

SceneScore EvaluateHeldOut(const OpenedScene& scene, const c10::Device& device,
                           const std::filesystem::path& sheet_folder) {
  const PosedImages& posed = scene.capture.value();
  const std::vector<int> test = MakeSplit(posed, scene.options).test;
  ATHANOR_CHECK(!test.empty(), posed.source, ": no images are held out (test-every is 0)");
  ViewCache views(posed, ViewOptionsOf(scene.options));
  const auto model = GaussianModel::FromCloud(scene.cloud, /*with_moments=*/false, device);
  return Evaluate(model, posed, &views, test, RenderOptionsOf(scene.options), sheet_folder);
}

std::string ScoreTable(const SceneScore& score) {
  const bool depth = score.depth_mae >= 0;
  std::vector<std::vector<std::string>> rows = {{"image", "PSNR dB", "SSIM"}};
  if (depth) rows[0].insert(rows[0].end(), {"depth error", "median"});
  const auto error_text = [](double value) { return value < 0 ? "" : Fixed(value, 4); };
  for (const ViewScore& view : score.views) {
    rows.push_back({view.name, Fixed(view.psnr_db, 2), Fixed(view.ssim, 4)});
    if (depth) {
      rows.back().insert(rows.back().end(),
                         {error_text(view.depth_mae), error_text(view.depth_median_error)});
    }
  }
  rows.push_back({"mean", Fixed(score.psnr_db, 2), Fixed(score.ssim, 4)});
  if (depth) rows.back().push_back(error_text(score.depth_mae));
  return Table(rows);
}

std::string ScoreJson(const SceneScore& score, const OpenedScene& scene) {
  nlohmann::ordered_json json = {
      {"scene", scene.file.string()},   {"gaussians", scene.cloud.size()},
      {"file_bytes", scene.file_bytes}, {"input", scene.capture.value().source},
      {"psnr_db", score.psnr_db},       {"ssim", score.ssim}};
  if (score.depth_mae >= 0) json["depth_mae"] = score.depth_mae;
  json["views"] = nlohmann::ordered_json::array();
  for (const ViewScore& view : score.views) {
    nlohmann::ordered_json row = {
        {"name", view.name}, {"psnr_db", view.psnr_db}, {"ssim", view.ssim}};
    if (view.depth_mae >= 0) {
      row["depth_mae"] = view.depth_mae;
      row["depth_median_error"] = view.depth_median_error;
    }
    json["views"].push_back(std::move(row));
  }
  return json.dump(2) + "\n";
}

std::string ScoreLine(const SceneScore& score) {
  std::string line = StrCat("PSNR ", Fixed(score.psnr_db, 2), " dB, SSIM ", Fixed(score.ssim, 4));
  if (score.depth_mae >= 0) line += StrCat(", depth error ", Fixed(score.depth_mae, 4));
  return line;
}

void PrintRun(const std::filesystem::path& run, const ReconstructResult& result) {
  const OpenedScene scene = OpenScene(run, true);
  std::cout << "scene      " << scene.file.string() << "\ngaussians  " << Grouped(result.gaussians)
            << "\ntime       " << Fixed(result.seconds, 1) << " s\n";
  if (!MakeSplit(*scene.capture, scene.options).test.empty()) {
    const SceneScore score = EvaluateHeldOut(scene, ParseDevice(scene.options.device), {});
    WriteFile(run / "eval.json", ScoreJson(score, scene));
    std::cout << "held out   " << score.views.size() << " images: " << ScoreLine(score) << "\n";
  } else {
    std::cout << "held out   no images\n";
  }
  const std::string word = ShellWord(run);
  std::cout << "next       athanor scene eval " << word << "\n           athanor scene render "
            << word << "\n           athanor scene export " << word << " -o "
            << ShellWord(run / "scene.spz") << "\n";
}

}  // namespace athanor
