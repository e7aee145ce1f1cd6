#include "athanor/cli/mine_report.h"

#include <algorithm>
#include <iostream>

#include "athanor/base/files.h"
#include "athanor/base/progress.h"
#include "athanor/cli/options_cli.h"
#include "athanor/loop/mining/contact_sheet.h"

namespace athanor {

void AddMineArguments(CLI::App& app, MineArguments* arguments, double window_s) {
  arguments->window_s = window_s;
  AddPath(app, "DATA", &arguments->data, "driving logs, or a lake")->required();
  AddPath(app, "-o,--out", &arguments->out, "folder for hits.json and sheet.jpg")->required();
  app.add_option("--count", arguments->count,
                 StrCat("hits to keep (default: ", arguments->count, ")"))
      ->check(CLI::Range(1, 1'000'000).description(""))
      ->type_name("N");
  app.add_option(
         "--window", arguments->window_s,
         StrCat("of each log one hit in so many seconds; 0 = all (default: ", window_s, ")"))
      ->check(CLI::Range(0.0, 1e9).description(""))
      ->type_name("SECONDS");
  app.add_option("--drawn", arguments->drawn,
                 StrCat("hits on the sheet (default: ", arguments->drawn, ")"))
      ->check(CLI::Range(0, 10'000).description(""))
      ->type_name("N");
}

MiningProgress ShowProgress(const std::string& what) {
  auto bar = std::make_shared<std::unique_ptr<Progress>>();
  return [bar, what](int64_t done, int64_t total) {
    if (*bar == nullptr) *bar = std::make_unique<Progress>(what, total);
    (*bar)->Update(done);
    if (done == total) bar->reset();
  };
}

void ReportMined(const MineArguments& arguments, const MinedData& data, const MinedHits& hits) {
  MakeFolder(arguments.out);
  WriteMinedHits(arguments.out / "hits.json", hits);
  constexpr size_t kLines = 10;
  if (!hits.hits.empty()) {
    std::vector<std::vector<std::string>> rows = {{"frame", "class", "score", "why"}};
    for (size_t i = 0; i < std::min(hits.hits.size(), kLines); ++i) {
      const MinedHit& hit = hits.hits[i];
      std::string frame = StrCat(hit.log, "/", hit.frame);
      if (hit.box >= 0) frame += StrCat(":", hit.box);
      rows.push_back(
          {frame, hit.class_name.empty() ? "-" : hit.class_name, Fixed(hit.score, 3), hit.why});
    }
    std::cout << Table(rows);
    if (hits.hits.size() > kLines) std::cout << "and " << hits.hits.size() - kLines << " more\n";
    std::cout << "\n";
  }
  for (const auto& [name, text] : hits.about) {
    std::cout << name << std::string(name.size() < 11 ? 11 - name.size() : 1, ' ') << text << "\n";
  }
  std::cout << "hits       " << hits.hits.size() << ", " << (arguments.out / "hits.json").string()
            << "\n";
  if (!hits.hits.empty() && arguments.drawn > 0) {
    ContactSheetOptions options;
    options.most = arguments.drawn;
    const std::filesystem::path sheet = arguments.out / "sheet.jpg";
    WriteImage(sheet, DrawMinedHits(data, hits.hits, options));
    std::cout << "pictures   " << sheet.string() << "\n";
  }
}

}  // namespace athanor
