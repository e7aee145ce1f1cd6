// nuScenes v1.0: a folder of tables (v1.0-mini, v1.0-trainval, v1.0-test) beside samples/ and
// sweeps/.
//
//   H. Caesar et al., "nuScenes: a multimodal dataset for autonomous driving", CVPR 2020
//   https://github.com/nutonomy/nuscenes-devkit/blob/master/docs/schema_nuscenes.md
//
// A scene becomes a Log; tokens become ids. Boxes (width, length, height in the files) and poses
// are in the global frame. Velocities are the devkit's: the difference of the centres of the next
// and the previous box of the object over their time, one-sided at the ends, NaN when there is
// neither or they are more than 1.5 s (3 s with both) apart. Intrinsics are taken as they stand in
// the files. Our own table scenario_tag.json, where there is one, gives the tags.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "athanor/datasets/json_table.h"
#include "athanor/datasets/log.h"

namespace athanor {

// True when `path` is the folder of the data set (it holds v1.0-*/scene.json) or that of the
// tables.
bool IsNuscenes(const std::filesystem::path& path);

// Reads the tables whole: about 0.3 kB a row, read as a stream, so that gigabytes of JSON need a
// fraction of their size. Read() may then be called from several threads. Throws Error (file,
// record, field) for the first thing that is wrong; with `faults`, each goes there instead, in one
// line, and what it concerns is left out. Throws Error when the folder holds several sets of
// tables: name one of them.
std::unique_ptr<LogDataset> OpenNuscenesLogs(const std::filesystem::path& path,
                                             const FaultSink& faults = {});

// As above, from tables that `open` gives; files lie under `root`. For tests of the reader.
std::unique_ptr<LogDataset> OpenNuscenesTables(
    const std::string& where, const std::filesystem::path& root,
    const std::function<std::unique_ptr<std::istream>(const std::string& table)>& open,
    const FaultSink& faults = {});

}  // namespace athanor
