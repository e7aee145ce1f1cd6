#include "athanor/simulation/street/street_log.h"

#include <future>
#include <string>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/parallel.h"
#include "athanor/base/progress.h"
#include "athanor/datasets/nuscenes_writer.h"
#include "athanor/simulation/street/scene_maker.h"
#include "athanor/simulation/street/stopwatch.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

// Everything but the number of scenes, so that a folder can be made longer.
std::string OptionsText(StreetOptions options) {
  options.scenes = 0;
  OptionList list;
  Describe(options, list);
  return list.ToToml();
}

// While the sensors look at one scene, SUMO, which takes one core, moves the traffic of the next.
// With one thread that waits until it is asked for. No scene depends on when it was prepared.
std::future<PreparedScene> PrepareBeside(const StreetOptions& options, int number) {
  if (NumThreads() == 1) {
    return std::async(std::launch::deferred,
                      [&options, number] { return PrepareScene(options, number); });
  }
  return std::async(std::launch::async, [&options, number] {
    SetNumThreads(1);  // of this thread; the others are the sensors'
    return PrepareScene(options, number);
  });
}

}  // namespace

void Describe(StreetOptions& o, OptionList& list) {
  list.Add("scenes", &o.scenes, "how many scenes", {.min = 1, .max = 9999});
  list.Add("seconds", &o.seconds, "length of a scene", {.min = 0.5, .max = 600});
  list.Add("seed", &o.seed, "everything follows from it");
  list.Add("network", &o.network,
           "roads: mixed, grid, arterial, roundabout, town, or the path of a .net.xml or .sumocfg");
  list.Add("weather", &o.weather, "weather and light",
           {.choices = {"mixed", "sun", "overcast", "dusk", "night", "rain", "fog"}});
  list.Add("width", &o.width_px, "width of the pictures, pixels", {.min = 32, .max = 4096});
  list.Add("height", &o.height_px, "height of the pictures, pixels", {.min = 32, .max = 4096});
  list.Add("lidar-sweeps", &o.lidar_sweeps,
           "LiDAR sweeps up to and with each key frame, 20 a second", {.min = 1, .max = 10});
  list.Add("camera-sweeps", &o.camera_sweeps, "pictures between key frames, 12 a second",
           {.min = 0, .max = 5});
  list.Add("truth", &o.truth, "write depth, instance and part images of the key frames");
  list.Add("pictures", &o.pictures, "write a contact sheet with a bird's-eye view per scene");
  list.Add("jpeg-quality", &o.jpeg_quality, "of the pictures", {.min = 1, .max = 100});
  list.Add("buildings", &o.buildings, "share of the lots along the roads that are built on",
           {.min = 0, .max = 1});
  list.Add("tree-spacing", &o.tree_spacing_m, "metres between the trees of an avenue",
           {.min = 2, .max = 1000});
  // Of the traffic all but what each scene decides for itself.
  OptionList traffic;
  Describe(o.traffic, traffic);
  for (Option& option : traffic.options()) {
    if (option.name == "seed" || option.name == "duration" || option.name == "step") continue;
    if (list.Find(option.name) == nullptr) list.options().push_back(option);
  }
}

StreetReport SimulateStreets(const StreetOptions& options, const fs::path& folder) {
  StreetReport report;
  const std::string text = OptionsText(options);
  const fs::path record = folder / "street.toml";
  if (fs::exists(record)) {
    ATHANOR_CHECK(ReadFile(record) == text, record.string(),
                  ": the folder holds scenes that other options made; expected the same options, "
                  "or another folder");
  }
  const std::string why = WhyNoSumo();
  ATHANOR_CHECK(why.empty(), why);
  {
    const Stopwatch watch(&report.total_s);
    MakeFolder(folder);
    NuscenesWriter writer(folder);
    WriteFile(record, text);
    std::vector<int> missing;
    for (int i = 0; i < options.scenes; ++i) {
      if (!writer.Has(StreetSceneName(i))) missing.push_back(i);
    }
    report.scenes_kept = options.scenes - static_cast<int>(missing.size());
    const int64_t frames = NumKeyFrames(options);
    Progress progress("streets", options.scenes * frames, report.scenes_kept * frames);
    PreparedScene prepared;
    if (!missing.empty()) prepared = PrepareScene(options, missing[0]);
    for (size_t k = 0; k < missing.size(); ++k) {
      std::future<PreparedScene> next;
      if (k + 1 < missing.size()) next = PrepareBeside(options, missing[k + 1]);
      const int64_t before = (report.scenes_kept + report.scenes_made) * frames;
      const Log log = MakeScene(prepared, options, missing[k], folder, &report,
                                [&](int made) { progress.Update(before + made, prepared.name); });
      if (!prepared.map_mask.data.empty()) writer.SetMap(log.location, prepared.map_mask);
      writer.AddScene(log);
      ++report.scenes_made;
      report.traffic_s += prepared.traffic_s;
      report.build_s += prepared.build_s;
      if (next.valid()) prepared = next.get();
    }
    writer.Finish();
  }
  return report;
}

}  // namespace athanor
