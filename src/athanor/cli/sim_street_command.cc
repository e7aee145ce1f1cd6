// athanor sim street: driving logs with exact truth.
#include <iostream>

#include "athanor/cli/commands.h"
#include "athanor/cli/options_cli.h"
#include "athanor/simulation/street/street_log.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

OptionList DescribeStreets(StreetOptions& options) {
  OptionList list;
  Describe(options, list);
  return list;
}

}  // namespace

CommandAction SetUpSimStreet(CLI::App& app) {
  struct Arguments {
    fs::path out;
    StreetOptions options;
  };
  auto arguments = std::make_shared<Arguments>();
  AddPath(app, "-o,--out", &arguments->out, "folder of the data set")->required();
  OptionFlags flags(app, DescribeStreets(arguments->options), true, "Options of the streets");
  app.footer(
      "Scenes that the folder has are kept: a run that was stopped goes on, one with more --scenes "
      "makes\nthe folder longer.");
  return [arguments, flags]() mutable {
    flags.Apply();
    const auto& [out, options] = *arguments;
    const StreetReport report = SimulateStreets(options, out);
    std::cout << "written    " << out.string() << ": " << Grouped(report.scenes_made) << " scenes";
    if (report.scenes_kept > 0) std::cout << ", " << Grouped(report.scenes_kept) << " kept";
    std::cout << "\n";
    if (report.frames > 0) {
      const double sensors_s = report.render_s + report.lidar_s + report.write_s + report.truth_s;
      std::cout << "key frames " << Grouped(report.frames) << ", " << Grouped(report.pictures)
                << " pictures, " << Grouped(report.sweeps) << " sweeps, " << Grouped(report.boxes)
                << " boxes\nspeed      "
                << Fixed(static_cast<double>(report.frames) / report.total_s, 2)
                << " key frames/s, " << Fixed(static_cast<double>(report.frames) / sensors_s, 2)
                << " in the sensors alone\nseconds    traffic " << Fixed(report.traffic_s, 1)
                << ", towns " << Fixed(report.build_s, 1) << ", pictures "
                << Fixed(report.render_s, 1) << ", sweeps " << Fixed(report.lidar_s, 1)
                << ", truth " << Fixed(report.truth_s, 1) << ", encoding and writing "
                << Fixed(report.write_s, 1) << "\n";
    }
    return 0;
  };
}

}  // namespace athanor
