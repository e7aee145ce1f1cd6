// Labels of a frame as JSON, for the files of this folder.
#pragma once

#include <nlohmann/json.hpp>

#include "athanor/loop/labeling/label_set.h"

namespace athanor {

nlohmann::ordered_json JsonOfFrame(const FrameLabels& frame);
// Throws Error or nlohmann's, without the file's name. What is not said of a label: it is a
// person's, accepted, sure.
FrameLabels FrameOfJson(const nlohmann::ordered_json& json);

}  // namespace athanor
