// Simulated driving logs: traffic from SUMO in generated or given road networks, seen by nuScenes'
// cameras and LiDAR through ray casting, written as a nuScenes v1.0 data set with exact truth.
// docs/simulation.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "athanor/base/options.h"
#include "athanor/simulation/traffic/traffic.h"

namespace athanor {

struct StreetOptions {
  int scenes = 4;
  float seconds = 20;  // of each scene
  int64_t seed = 0;
  // "mixed", "grid", "arterial", "roundabout", "town", or the path of a .net.xml or .sumocfg.
  std::string network = "mixed";
  // "mixed", "sun", "overcast", "dusk", "night", "rain", "fog".
  std::string weather = "mixed";
  int width_px = 704, height_px = 256;
  int lidar_sweeps = 1;   // sweeps up to and with each key frame, 20 a second: 1 to 10
  int camera_sweeps = 0;  // pictures between key frames, 12 a second: 0 to 5
  bool truth = false;     // depth, instance and part images beside the key frames' pictures
  bool pictures = true;   // a contact sheet and a bird's-eye view per scene
  int jpeg_quality = 90;
  float buildings = 0.85f;  // share of the lots that are built on
  float tree_spacing_m = 13;
  // Demand and long-tail actors; seed, duration and area are set for each scene.
  TrafficOptions traffic;
};
void Describe(StreetOptions& options, OptionList& list);

struct StreetReport {
  int scenes_made = 0, scenes_kept = 0;  // kept: they were there already
  int64_t frames = 0;                    // key frames made
  int64_t pictures = 0, sweeps = 0, boxes = 0;
  // Wall-clock seconds: SUMO; towns and meshes (of all scenes but the first, both while the sensors
  // of the scene before work); pictures; sweeps; encoding and writing; truth.
  double traffic_s = 0, build_s = 0, render_s = 0, lidar_s = 0, write_s = 0, truth_s = 0;
  double total_s = 0;
};

// Makes the scenes that the folder lacks and then the tables. A scene depends on the options and on
// its number alone, so that a folder may be continued or made longer; one begun with other options
// (scenes apart) is refused. The same options give the same bytes, whatever the threads.
//
//   FOLDER/v1.0-mini/, samples/, sweeps/, maps/    nuScenes; each scene is a location of its own
//   FOLDER/truth/CHANNEL/NAME.depth.png            centimetres along the camera's z axis, 0: sky
//   FOLDER/truth/CHANNEL/NAME.instance.png         "id" of an object in truth/SCENE.json, 0: sky
//   FOLDER/truth/CHANNEL/NAME.part.png             "id" of one of its parts
//   FOLDER/truth/classes.json                      what the kinds of objects are
//   FOLDER/pictures/SCENE.png                      contact sheet and the traffic from above
//   FOLDER/pictures/SCENE.boxes.png                the same moment with points and boxes
//   FOLDER/street.toml                             the options
//
// num_lidar_pts counts the points of the written key sweep that lie in the box at the key frame's
// time. Boxes: every actor within 80 m, from the first to the last key frame in which a sensor got
// anything of it. Visibility: of 48 points on the actor's surface, those that face a camera: the
// share that lies in its picture with nothing before it, the best camera counting.
// Throws Error (SUMO missing, bad network, folder of other options, options out of range).
StreetReport SimulateStreets(const StreetOptions& options, const std::filesystem::path& folder);

}  // namespace athanor
