// The tables of a nuScenes v1.0 data set in memory: compact rows that refer to one another by
// index. Internal to the reader; others want nuscenes_reader.h.
//
// https://github.com/nutonomy/nuscenes-devkit/blob/master/docs/schema_nuscenes.md
#pragma once

#include <cstdint>
#include <functional>
#include <istream>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "athanor/datasets/json_table.h"
#include "athanor/datasets/log.h"

namespace athanor {

// A token: the number itself for 32 lower-case hexadecimal digits, any other text by its place in
// the pool.
struct Token {
  uint64_t high = ~uint64_t{0}, low = 0;  // no text
  bool operator==(const Token&) const = default;
};

class TokenPool {
 public:
  Token Of(std::string_view text);
  std::string TextOf(Token token) const;

 private:
  std::vector<std::string> others_ = {""};
  std::unordered_map<std::string, uint64_t> index_of_other_ = {{"", 0}};
};

// Row numbers by token, 16 bytes and some a row.
class TokenIndex {
 public:
  // The number of the new row, counting from 0; -1 when the token is there already.
  int Add(Token token);
  int Find(Token token) const;  // -1: not there
  int size() const { return static_cast<int>(tokens_.size()); }
  Token token(int row) const { return tokens_[row]; }

 private:
  size_t SlotOf(Token token) const;
  std::vector<Token> tokens_;
  std::vector<int32_t> slots_;  // a power of two; -1: free
};

struct NuscenesTables {
  struct Sensor {
    std::string channel;
    SensorKind kind = SensorKind::kCamera;
  };
  struct CalibratedSensor {
    int sensor = 0;
    Rigid3 ego_from_sensor;
    double fx = 0, fy = 0, cx = 0, cy = 0;
  };
  struct Pose {
    double rotation[4];  // w, x, y, z
    double translation[3];
    Rigid3 world_from_ego() const {
      return {{rotation[0], rotation[1], rotation[2], rotation[3]},
              {translation[0], translation[1], translation[2]}};
    }
  };
  struct LogRow {
    std::string vehicle, location;
  };
  struct Scene {
    std::string name, description;
    int log = 0;
  };
  struct Sample {
    int64_t time_us = 0;
    int scene = 0;
  };
  struct SampleData {
    int64_t time_us = 0;
    uint64_t filename = 0;  // where it begins in `filenames`
    int sample = 0, pose = 0, calibrated_sensor = 0;
    int width_px = 0, height_px = 0;
    bool is_key_frame = false;
  };
  struct Instance {
    int category = 0;
    int64_t num_annotations = 0;
  };
  struct Annotation {
    int sample = 0, instance = 0;
    int prev = -1, next = -1;
    double translation[3], size[3] /* width, length, height */, rotation[4];
    int num_lidar_points = -1, num_radar_points = -1;
    uint32_t attributes_begin = 0;  // in `attribute_lists`
    uint8_t num_attributes = 0;
    uint8_t visibility = 0;
  };
  struct Tag {
    int scene = 0;
    int instance = -1;
    std::string name;
    int64_t begin_us = 0, end_us = 0;
  };

  TokenPool pool;
  TokenIndex sensor_index, calibrated_index, pose_index, log_index, scene_index, sample_index,
      data_index, category_index, attribute_index, instance_index, annotation_index;
  std::vector<Sensor> sensors;
  std::vector<CalibratedSensor> calibrated_sensors;
  std::vector<Pose> poses;
  std::vector<LogRow> logs;
  std::vector<Scene> scenes;
  std::vector<Sample> samples;
  std::vector<SampleData> data;
  std::string filenames;  // each ends with '\0'
  std::vector<std::string> categories, attributes;
  std::vector<Instance> instances;
  std::vector<Annotation> annotations;
  std::vector<int> attribute_lists;
  std::vector<Tag> tags;

  const char* FilenameOf(const SampleData& row) const { return filenames.data() + row.filename; }
};

// Opens a table by its name ("sample_data"); null when the data set has none of it.
using TableOpener = std::function<std::unique_ptr<std::istream>(const std::string& table)>;

// Reads and checks all tables: tokens unique, references to rows that exist, prev and next that
// name one another and go forward in time, sizes above 0, numbers finite. `map`, `attribute`,
// `visibility` and `scenario_tag` may be missing. `where` is the folder that messages name. Faults
// go to `faults`, where given (and their rows are left out), else the first is thrown as Error.
NuscenesTables ReadNuscenesTables(const std::string& where, const TableOpener& open,
                                  const FaultSink& faults = {});

}  // namespace athanor
