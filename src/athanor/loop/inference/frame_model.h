// Any model over moments of driving logs, behind one interface: what it says of a frame, and what
// names that for good.
//
// A result belongs to the key (clip, frame, model): the clip by its content (lake/clip.h), the
// model by its weights, and by how its inputs are made and its outputs read. What has a key is
// computed once.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/datasets/log.h"

namespace athanor {

// Something in a frame: a box of a detector, or a region of a picture.
struct FoundObject {
  int class_index = -1;  // into kNuscenesClassNames; -1: a region
  float score = 0;       // 0 .. 1
  // Of a box, in the ego frame of the moment: centre x, y, z, length, width, height (metres), yaw
  // (radians), velocity x, y (metres per second).
  std::array<float, 9> box = {};
  int attribute = -1;  // into kNuscenesAttributeNames; -1: none, or not known
  // Of a region: which sensor's picture (index into Log::sensors; -1: a box), and where: left, top,
  // right, bottom in its pixels.
  int sensor = -1;
  std::array<float, 4> region_px = {};

  bool operator==(const FoundObject&) const = default;
};

// What a model says of a frame.
struct FrameOutput {
  std::string failure;                // one line, and nothing else is there; empty: none
  std::vector<float> vector;          // [frame_dimension]
  std::vector<FoundObject> objects;   // best first
  std::vector<float> object_vectors;  // [objects,object_dimension]

  bool operator==(const FrameOutput&) const = default;
};

// More would not fit into the numbers of objects (inference_table.h).
inline constexpr int kMaxFrameObjects = 1024;

// What is known of a model without its weights in memory.
struct ModelSpec {
  std::string name;  // as people call it: letters, digits, '-', '_', '.'
  std::string kind;  // "detector", "teacher": who opens it
  std::filesystem::path weights;
  std::string weights_sha256;
  // All that changes a bit of the outputs beside the weights.
  std::map<std::string, std::string> settings;
  bool has_boxes = true;  // finds boxes; else regions of pictures

  bool operator==(const ModelSpec&) const = default;

  // 32 hexadecimal digits over kind, weights and settings; the name and the place do not count.
  std::string Key() const;
};

// Throws Error unless the name can be that of a model, and of a folder.
void CheckModelName(std::string_view name);

// What was read for a frame: sweeps, pictures.
class FrameInput {
 public:
  virtual ~FrameInput() = default;
};

class FrameModel {
 public:
  virtual ~FrameModel() = default;

  virtual int frame_dimension() const = 0;   // 0: no vectors of frames
  virtual int object_dimension() const = 0;  // 0: no vectors of objects

  // Reads and decodes what it needs. Called from another thread, beside Forward(). Throws Error.
  virtual std::unique_ptr<FrameInput> Read(const Log& log, int frame) const = 0;
  // One forward pass: a function of the input alone. Throws Error.
  virtual FrameOutput Forward(const FrameInput& input) = 0;
};

// Makes the model of a spec. Throws Error for a kind that it does not know, or weights that are not
// those of the spec any more.
using ModelOpener = std::function<std::unique_ptr<FrameModel>(const ModelSpec& spec)>;

// What is wrong with an output of this model, in one line; empty when nothing is: NaN, other
// dimensions, scores outside 0 .. 1, boxes without a size.
std::string FaultOf(const FrameOutput& output, const FrameModel& model);

}  // namespace athanor
