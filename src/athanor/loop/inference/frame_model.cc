#include "athanor/loop/inference/frame_model.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/base/sha256.h"
#include "athanor/detection/evaluation/nuscenes_eval.h"

namespace athanor {
namespace {

// Of the way in which outputs are kept: another one makes other keys.
constexpr std::string_view kOutputVersion = "frame outputs 1";

std::string FindNonFinite(const std::vector<float>& values, std::string_view what) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      return StrCat("expected finite numbers, found ", values[i], " at ", i, " of ", what);
    }
  }
  return {};
}

}  // namespace

std::string ModelSpec::Key() const {
  std::string text = StrCat(kOutputVersion, "\n", kind, "\n", weights_sha256, "\n");
  for (const auto& [setting, value] : settings) text += StrCat(setting, "=", value, "\n");
  return Sha256Of(text).substr(0, 32);
}

void CheckModelName(std::string_view name) {
  const bool is_name = !name.empty() && name.size() <= 64 && name[0] != '.' && name[0] != '-' &&
                       std::all_of(name.begin(), name.end(), [](unsigned char c) {
                         return std::isalnum(c) || c == '-' || c == '_' || c == '.';
                       });
  ATHANOR_CHECK(is_name, "model '", name,
                "': expected a name of up to 64 letters, digits, '-', '_' and '.'");
}

std::string FaultOf(const FrameOutput& output, const FrameModel& model) {
  const auto expect = [](size_t found, size_t expected, std::string_view what) {
    return found == expected
               ? std::string()
               : StrCat("expected ", expected, " numbers in ", what, ", found ", found);
  };
  std::string fault = expect(output.vector.size(), model.frame_dimension(), "the frame's vector");
  if (fault.empty()) {
    fault = expect(output.object_vectors.size(), output.objects.size() * model.object_dimension(),
                   "the objects' vectors");
  }
  if (fault.empty() && output.objects.size() > kMaxFrameObjects) {
    fault =
        StrCat("expected at most ", kMaxFrameObjects, " objects, found ", output.objects.size());
  }
  if (fault.empty()) fault = FindNonFinite(output.vector, "the frame's vector");
  if (fault.empty()) fault = FindNonFinite(output.object_vectors, "the objects' vectors");
  for (size_t i = 0; i < output.objects.size() && fault.empty(); ++i) {
    const FoundObject& object = output.objects[i];
    if (!(object.score >= 0 && object.score <= 1)) {
      fault = StrCat("object ", i, ": expected a score of 0 to 1, found ", object.score);
    } else if (object.class_index < 0) {
      if (object.sensor < 0) fault = StrCat("object ", i, ": expected a box or a region");
    } else if (object.class_index >= kNuscenesAllClasses) {
      fault = StrCat("object ", i, ": expected a class of 0 to ", kNuscenesAllClasses - 1,
                     ", found ", object.class_index);
    } else {
      // A velocity may be unknown.
      for (int k = 0; k < 7 && fault.empty(); ++k) {
        const bool is_size = k >= 3 && k < 6;
        if (!std::isfinite(object.box[k]) || (is_size && object.box[k] <= 0)) {
          fault = StrCat("object ", i, ": expected a box with a place and a size, found ",
                         object.box[k], " at ", k, " of it");
        }
      }
    }
  }
  return fault;
}

}  // namespace athanor
