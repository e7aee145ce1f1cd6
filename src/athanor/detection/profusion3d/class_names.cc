#include "athanor/detection/profusion3d/class_names.h"

#include <array>
#include <utility>

#include "athanor/detection/evaluation/evaluation_inputs.h"

namespace athanor {
namespace {

// Category, class. The first of a class stands for it in results.
using Names = std::pair<std::string_view, std::string_view>;
constexpr std::array kArgoverse = {
    Names{"REGULAR_VEHICLE", "car"},
    Names{"TRUCK", "truck"},
    Names{"BOX_TRUCK", "truck"},
    Names{"TRUCK_CAB", "truck"},
    Names{"BUS", "bus"},
    Names{"SCHOOL_BUS", "bus"},
    Names{"ARTICULATED_BUS", "bus"},
    Names{"LARGE_VEHICLE", "construction_vehicle"},
    Names{"VEHICULAR_TRAILER", "trailer"},
    Names{"MESSAGE_BOARD_TRAILER", "trailer"},
    Names{"TRAFFIC_LIGHT_TRAILER", "trailer"},
    Names{"MOTORCYCLE", "motorcycle"},
    Names{"BICYCLE", "bicycle"},
    Names{"PEDESTRIAN", "pedestrian"},
    Names{"OFFICIAL_SIGNALER", "pedestrian"},
    Names{"CONSTRUCTION_CONE", "traffic_cone"},
    Names{"CONSTRUCTION_BARREL", "traffic_cone"},
    Names{"DOG", "animal"},
    Names{"ANIMAL", "animal"},
};
constexpr std::array kKitti = {
    Names{"Car", "car"},
    Names{"Van", "car"},
    Names{"Truck", "truck"},
    Names{"Pedestrian", "pedestrian"},
    Names{"Person_sitting", "pedestrian"},
    Names{"Cyclist", "bicycle"},
};

template <size_t kCount>
int ClassIn(const std::array<Names, kCount>& names, std::string_view category) {
  for (const auto& [name, of_class] : names) {
    if (name == category) return FindDetectionClass(of_class);
  }
  return -1;
}

template <size_t kCount>
std::string_view CategoryIn(const std::array<Names, kCount>& names, int detection_class) {
  for (const auto& [name, of_class] : names) {
    if (of_class == kDetectionClasses.at(detection_class)) return name;
  }
  return {};
}

}  // namespace

int FindDetectionClass(std::string_view name) {
  for (int i = 0; i < kNumDetectionClasses; ++i) {
    if (kDetectionClasses[i] == name) return i;
  }
  return -1;
}

int DetectionClassOf(std::string_view dataset, std::string_view category) {
  if (dataset == "argoverse2") return ClassIn(kArgoverse, category);
  if (dataset == "kitti") return ClassIn(kKitti, category);
  const int index = NuscenesClassOfCategory(category);
  return FindDetectionClass(index < 0 ? category : kNuscenesClassNames[index]);
}

std::string_view ArgoverseCategoryOf(int detection_class) {
  return CategoryIn(kArgoverse, detection_class);
}

std::string_view KittiTypeOf(int detection_class) { return CategoryIn(kKitti, detection_class); }

}  // namespace athanor
