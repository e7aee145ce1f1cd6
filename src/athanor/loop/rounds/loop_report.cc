#include "athanor/loop/rounds/loop_report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/detection/evaluation/evaluation_inputs.h"
#include "athanor/detection/evaluation/nuscenes_files.h"
#include "athanor/loop/mining/box_miners.h"
#include "athanor/loop/mining/box_source.h"
#include "athanor/loop/mining/contact_sheet.h"
#include "athanor/loop/rounds/loop_run.h"
#include "athanor/media/plot.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr double kMatch_m = 2;       // a detection is of a true box within this distance
constexpr double kLeastScore = 0.1;  // below, nothing was found
constexpr int kPictures = 24;

constexpr const char* kStyle = R"(
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1180px; margin: 2em auto; padding: 0 1em; color: #1c2430; }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid #d5dae1; }
table { border-collapse: collapse; } th, td { padding: .2em .8em; text-align: right; border-bottom: 1px solid #e8ebef; }
th:first-child, td:first-child, td.words { text-align: left; } img { max-width: 100%; } .note { color: #5b6675; }
details { margin: .6em 0; } summary { cursor: pointer; }
)";

std::string Escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    out += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : std::string(1, c);
  }
  return out;
}

std::string Number(double value, int digits) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.*f", digits, value);
  return text;
}

std::string Base64(const std::string& bytes) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) {
      bits = bits << 8 | (i + k < bytes.size() ? static_cast<uint8_t>(bytes[i + k]) : 0);
    }
    for (size_t k = 0; k < 4; ++k) {
      out += i + k > bytes.size() ? '=' : kDigits[bits >> (18 - 6 * k) & 63];
    }
  }
  return out;
}

std::string Picture(const std::string& bytes, const std::string& type, const std::string& words) {
  return "<img alt=\"" + Escaped(words) + "\" src=\"data:image/" + type + ";base64," +
         Base64(bytes) + "\">\n";
}

std::string Row(const std::vector<std::string>& cells, const std::string& tag = "td") {
  std::string row = "<tr>";
  for (const std::string& cell : cells) row += "<" + tag + ">" + cell + "</" + tag + ">";
  return row + "</tr>\n";
}

// The true boxes of the rare class on the test logs, each with what every model says of it: first
// those that were missed and are found now.
std::vector<MinedHit> RareOfTest(const fs::path& folder, const LoopOptions& options,
                                 const std::vector<int>& rounds, const MinedData& data,
                                 std::vector<int64_t>* found, int64_t* count) {
  std::vector<BoxSource> models;
  for (const int r : rounds) {
    models.push_back(BoxSource::Results(LoopRoundFolder(folder, r) / "eval" / "results_nusc.json"));
  }
  const int class_index = FindNuscenesClass(options.rare);
  const double range_m = ReadNuscenesConfig(options.ranges).class_range_m[class_index];
  const BoxSource truth = BoxSource::Annotations();
  found->assign(models.size(), 0);
  std::vector<MinedHit> hits;
  for (int l = 0; l < data.num_logs(); ++l) {
    const auto log = data.Read(l);
    for (int f = 0; f < std::ssize(log->frames); ++f) {
      const std::vector<SourcedBox> boxes = truth.Boxes(*log, f);
      for (int b = 0; b < std::ssize(boxes); ++b) {
        const Eigen::Vector3d center = boxes[b].box.frame_from_box.translation;
        const double distance_m =
            (center - log->frames[f].world_from_ego.translation).head<2>().norm();
        if (NuscenesClassOfCategory(boxes[b].class_name) != class_index || distance_m >= range_m ||
            boxes[b].points == 0) {
          continue;
        }
        MinedHit& hit = hits.emplace_back(HitOf(data, {l, f, b}));
        hit.box_in_world = boxes[b].box;
        hit.class_name = options.rare;
        std::vector<double> scores;
        for (size_t m = 0; m < models.size(); ++m) {
          double best = 0;
          for (const SourcedBox& box : models[m].Boxes(*log, f)) {
            const Eigen::Vector3d offset = box.box.frame_from_box.translation - center;
            if (box.class_index == class_index && offset.head<2>().norm() < kMatch_m) {
              best = std::max(best, box.score);
            }
          }
          scores.push_back(best);
          (*found)[m] += best >= kLeastScore;
          hit.why += StrCat(m > 0 ? ", " : "", rounds[m], ": ",
                            best >= kLeastScore ? Number(best, 2) : "missed");
        }
        hit.score = scores.back() - scores.front();
      }
    }
  }
  *count = std::ssize(hits);
  return BestHits(std::move(hits), 0, kPictures);
}

std::string Sheet(const fs::path& path, const std::string& title) {
  if (!fs::exists(path)) return "";
  return "<details><summary>" + Escaped(title) + "</summary>\n" +
         Picture(ReadFile(path), "jpeg", title) + "</details>\n";
}

std::string PlotOf(const LoopState& state, const LoopOptions& options) {
  PlotSeries rare{options.rare + " AP", {}, {}}, mean{"mAP", {}, {}};
  for (size_t r = 0; r < state.rounds.size(); ++r) {
    const LoopRoundRecord& round = state.rounds[r];
    if (!round.Has("evaluate")) continue;
    for (PlotSeries* series : {&rare, &mean}) series->x.push_back(static_cast<double>(r));
    rare.y.push_back(round.scores.at(options.rare));
    mean.y.push_back(round.scores.at("mAP"));
  }
  PlotOptions plot;
  plot.title = "on the test logs", plot.x_label = "round", plot.y_label = "average precision";
  return Picture(EncodePng(PlotLines({rare, mean}, plot), "plot"), "png", "scores over rounds");
}

}  // namespace

std::string MakeLoopReport(const fs::path& folder) {
  const LoopOptions options = OptionsOfLoop(folder);
  const LoopState state = ReadLoopState(folder);
  std::vector<int> scored;
  for (int r = 0; r < std::ssize(state.rounds); ++r) {
    if (state.rounds[r].Has("evaluate")) scored.push_back(r);
  }
  std::string html = StrCat(
      "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Athanor: the loop</title>",
      "<style>", kStyle, "</style>\n<h1>The loop, ",
      std::max<int64_t>(std::ssize(state.rounds) - 1, 0), " of ", options.rounds,
      " rounds</h1>\n<p>Looking for <b>", Escaped(options.words), "</b>. Each round ",
      options.batch, " frames are labelled, ",
      options.choose == "mined" ? "those that the miners choose" : "drawn at random",
      "; labels by ", options.labels == "people" ? "people" : "the large model alone", ".</p>\n");

  html += "<h2>The models</h2>\n" + PlotOf(state, options) + "<table>\n" +
          Row({"round", Escaped(options.rare) + " AP", "mAP", "NDS", "labelled", "of them with one",
               "in all logs", "purity", "minutes", ""},
              "th");
  for (int r = 0; r < std::ssize(state.rounds); ++r) {
    const LoopRoundRecord& round = state.rounds[r];
    double seconds = 0;
    for (const LoopStageRecord& stage : round.stages) seconds += stage.seconds;
    const auto score = [&](const std::string& name) {
      return round.scores.contains(name) ? Number(round.scores.at(name), 3) : "";
    };
    const bool is_known = round.rare_in_batch >= 0 && round.frames > 0;
    const double base = round.lake_frames > 0 ? static_cast<double>(round.rare_frames) /
                                                    static_cast<double>(round.lake_frames)
                                              : 0;
    const double share =
        is_known ? static_cast<double>(round.rare_in_batch) / static_cast<double>(round.frames) : 0;
    html += Row({std::to_string(r), score(options.rare), score("mAP"), score("NDS"),
                 r > 0 ? std::to_string(round.frames) : "",
                 is_known ? std::to_string(round.rare_in_batch) : "",
                 is_known ? StrCat(round.rare_frames, " of ", round.lake_frames) : "",
                 is_known && base > 0 ? StrCat(Number(share / base, 1), "x") : "",
                 Number(seconds / 60, 1), Escaped(round.decision)});
  }
  html += StrCat("</table>\n<p class=\"note\">Purity: the share of frames with the rare class in ",
                 "what was labelled, over its share in all that came in.</p>\n");

  if (!scored.empty()) {
    const MinedData data(LoopTest(folder, options));
    std::vector<int64_t> found;
    int64_t count = 0;
    const std::vector<MinedHit> hits = RareOfTest(folder, options, scored, data, &found, &count);
    html += "<h2>" + Escaped(options.rare) + " on the test logs</h2>\n<p>";
    for (size_t m = 0; m < scored.size(); ++m) {
      html += StrCat(m > 0 ? "; round " : "Found with a score of 0.1 or more: round ", scored[m],
                     ": <b>", found[m], "</b> of ", count);
    }
    html += ".</p>\n";
    if (!hits.empty()) {
      ContactSheetOptions sheet;
      sheet.most = kPictures;
      html += Picture(EncodeJpeg(DrawMinedHits(data, hits, sheet), "sheet", 88), "jpeg",
                      "what each model says of them");
    }
  }
  for (int r = 1; r < std::ssize(state.rounds); ++r) {
    const LoopRoundRecord& round = state.rounds[r];
    const fs::path here = LoopRoundFolder(folder, r);
    html += StrCat("<h2>Round ", r, "</h2>\n");
    if (round.Has("mine")) {
      html += Sheet(here / "batch" / "sheet.jpg", "What was labelled");
      html += Sheet(here / "similar" / "sheet.jpg", "Found by words: " + options.words);
      html += Sheet(here / "undigested" / "sheet.jpg", "Where the small model fails the large one");
    }
    html += "<table>\n" + Row({"stage", "seconds"}, "th");
    for (const LoopStageRecord& stage : round.stages) {
      html += Row({stage.name, Number(stage.seconds, 1)});
    }
    html += "</table>\n";
  }
  LoopOptions copy = options;
  html += "<h2>How</h2>\n<details><summary>Options</summary><pre>" +
          Escaped(Describe(copy).ToToml()) + "</pre></details>\n";
  const fs::path commands = folder / "commands.sh";
  if (fs::exists(commands)) {
    html += "<details><summary>Commands</summary><pre>" + Escaped(ReadFile(commands)) +
            "</pre></details>\n";
  }
  return html + "</html>\n";
}

}  // namespace athanor
