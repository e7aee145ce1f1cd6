// Feeds any bytes to the readers of labels: versions, and what people send back as JSON and as
// COCO. An Error is fine, anything else is a bug.
#include <cstdint>
#include <string_view>

#include "athanor/base/error.h"
#include "athanor/loop/labeling/people_queue.h"

namespace {

template <typename F>
void Try(F&& f) {
  try {
    f();
  } catch (const athanor::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace athanor;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  static const LabelSet labels = [] {
    LabelSet one;
    FrameLabels& frame = one.frames.emplace_back();
    frame.log = "scene";
    frame.frame = "a";
    frame.time_us = 1;
    Label& label = frame.labels.emplace_back();
    label.box.translation_m = {10, 0, 1};
    label.box.size_wlh_m = {2, 4, 1.5};
    return one;
  }();
  static const Log log = [] {
    Log one;
    one.name = "scene";
    LogSensor camera{"CAM", SensorKind::kCamera, {}, {}};
    camera.camera.width_px = 64;
    camera.camera.height_px = 36;
    camera.camera.parameters = {50, 50, 32, 18};
    Eigen::Matrix3d ahead;
    ahead << 0, 0, 1, -1, 0, 0, 0, -1, 0;
    camera.ego_from_sensor = {Eigen::Quaterniond(ahead), {0, 0, 1}};
    one.sensors = {camera};
    LogReading reading;
    reading.path = "p.jpg";
    reading.frame = 0;
    one.readings = {reading};
    LogFrame frame;
    frame.id = "a";
    frame.time_us = 1;
    frame.readings = {0};
    one.frames = {frame};
    return one;
  }();
  Try([&] { EncodeLabels(DecodeLabels(bytes, "fuzz")); });
  Try([&] { ImportQueueJson(labels, "parent", bytes, "fuzz"); });
  Try([&] { ImportQueueCoco(labels, "parent", bytes, "fuzz", {&log}); });
  return 0;
}
