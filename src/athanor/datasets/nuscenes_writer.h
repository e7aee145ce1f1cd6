// Writes driving logs as a nuScenes v1.0 data set, which the official devkit opens.
//
// Tables: https://github.com/nutonomy/nuscenes-devkit/blob/master/docs/schema_nuscenes.md
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/datasets/log.h"
#include "athanor/media/image.h"

namespace athanor {

struct NuscenesWriterOptions {
  // Folder of the tables. The devkit evaluates the split mini_* only on names that end in "mini",
  // train and val on "trainval", test on "test".
  std::string version = "v1.0-mini";
};

// One data set folder:
//
//   ROOT/samples/CHANNEL/, ROOT/sweeps/CHANNEL/   pictures and points; the caller writes them
//   ROOT/maps/TOKEN.png                           one mask per location
//   ROOT/VERSION/*.json                           13 tables, and scenario_tag.json (tags of logs,
//                                                 which the devkit does not read)
//   ROOT/VERSION/scenes/NAME.rows                 the rows of each scene, from which Finish() makes
//                                                 the tables
//
// A scene is there whole or not at all, so that interrupted work goes on with the first scene that
// Has() denies. Tokens are 32 hexadecimal digits: the ids of the log where they look like that,
// else made from the name of the scene and what the row is, so that the same input gives the same
// bytes. Not thread-safe.
class NuscenesWriter {
 public:
  // Opens the folder, which may hold scenes that an earlier writer put there. Throws Error when it
  // holds tables that this class did not write.
  explicit NuscenesWriter(const std::filesystem::path& root,
                          const NuscenesWriterOptions& options = {});

  // Where a reading belongs, relative to the root: samples/CAM_FRONT/NAME__CAM_FRONT__TIME.jpg for
  // a key frame, else under sweeps/. `extension` with its dot: ".jpg", ".png", ".pcd.bin".
  static std::filesystem::path ReadingPath(const std::string& scene, const std::string& channel,
                                           int64_t time_us, bool key_frame,
                                           std::string_view extension);

  // True when the folder holds the scene of that name.
  bool Has(const std::string& scene) const;

  // Adds the log as a scene, or replaces the scene of its name. Every reading's `path` is relative
  // to the root, and the file must be there already. Velocities are not stored: readers take the
  // difference of positions, as the devkit does. No two scenes should begin at the same time, since
  // the devkit's list_scenes() cannot sort those. Throws Error when the log is not one that
  // nuScenes can hold: no frames, frames or readings out of order, a camera with distortion, a
  // track twice in one frame, sizes that are not positive, numbers that are not finite, paths out
  // of the folder.
  void AddScene(const Log& log);

  // The map mask of all scenes of a location: grey, 255 where cars drive and people walk, 0.1 m a
  // pixel, the origin of the world at the lower left corner. A location without one gets a small
  // empty mask, because the devkit wants a file.
  void SetMap(const std::string& location, const Image& mask);

  // Writes the tables from all scenes of the folder, ordered by name; scene.json last, so that a
  // folder whose tables are not complete is not taken for a data set. Throws Error when there is no
  // scene, or two rows have one token.
  void Finish();

 private:
  std::filesystem::path root_, tables_, parts_;
};

}  // namespace athanor
