#include "athanor/simulation/rooms/room.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "athanor/base/error.h"
#include "athanor/simulation/rooms/room_builder.h"

namespace athanor {
namespace {

const char* const kTypes[] = {"living_room", "kitchen", "office", "bedroom", "childs_room"};

struct FlatBox {
  Eigen::Vector2f center, axis, half;  // axis: of x
  float low, high;
};

FlatBox InRoom(const RoomObject& object, const Eigen::AlignedBox3f& box) {
  const Eigen::Matrix3f turn = object.room_from_object.rotation.toRotationMatrix().cast<float>();
  const Eigen::Vector3f at = object.room_from_object.translation.cast<float>();
  const Eigen::Vector3f center = turn * box.center() + at;
  return {center.head<2>(), turn.col(0).head<2>(), 0.5f * box.sizes().head<2>(),
          box.min().z() + at.z(), box.max().z() + at.z()};
}

// By how much two boxes overlap along the axis that parts them best; not positive: apart.
float Overlap(const FlatBox& a, const FlatBox& b) {
  float least = std::min(a.high, b.high) - std::max(a.low, b.low);
  const Eigen::Vector2f between = b.center - a.center;
  for (const FlatBox* box : {&a, &b}) {
    const Eigen::Vector2f axes[] = {box->axis, {-box->axis.y(), box->axis.x()}};
    for (const Eigen::Vector2f& axis : axes) {
      float reach = 0;
      for (const FlatBox* other : {&a, &b}) {
        const Eigen::Vector2f side(-other->axis.y(), other->axis.x());
        reach += other->half.x() * std::abs(axis.dot(other->axis)) +
                 other->half.y() * std::abs(axis.dot(side));
      }
      least = std::min(least, reach - std::abs(axis.dot(between)));
    }
  }
  return least;
}

Eigen::AlignedBox3f Bounds(const RoomObject& object) {
  Eigen::AlignedBox3f box;
  for (const Eigen::AlignedBox3f& collider : object.model.colliders) box.extend(collider);
  return box;
}

std::string WithArticle(const std::string& words) {
  return (std::string_view("aeiou").find(words[0]) != std::string_view::npos ? "an " : "a ") +
         words;
}

void Append(std::string* words, const std::string& word) {
  if (!word.empty()) *words += (words->empty() ? "" : " ") + word;
}

}  // namespace

void Describe(RoomOptions& options, OptionList& list) {
  list.Add("type", &options.type, "what the room is for",
           {.choices = {"any", "living_room", "kitchen", "office", "bedroom", "childs_room"}});
  list.Add("light", &options.light, "sun and sky through the windows, or lamps",
           {.choices = {"any", "day", "evening"}});
  list.Add("clutter", &options.clutter, "0 = bare furniture, 1 = things everywhere",
           {.min = 0, .max = 1});
}

const std::vector<ObjectKind>& RoomKinds() {
  static const std::vector<ObjectKind> kinds = [] {
    std::vector<ObjectKind> all = ObjectKinds();
    const std::string s = "structure";
    all.push_back(
        {"wall", {"partition"}, s, {}, {"to hang things on"}, {"surface", "baseboard"}, nullptr});
    all.push_back({"floor", {"ground"}, s, {}, {"to walk on"}, {"surface"}, nullptr});
    all.push_back({"ceiling", {"roof"}, s, {}, {"to hang lamps from"}, {"surface"}, nullptr});
    all.push_back({"door",
                   {"doorway"},
                   s,
                   {},
                   {"to walk through", "to open"},
                   {"leaf", "frame", "handle"},
                   nullptr});
    all.push_back({"window",
                   {"casement"},
                   s,
                   {},
                   {"to look through", "to open"},
                   {"frame", "sill"},
                   nullptr});
    return all;
  }();
  return kinds;
}

Box3 BoxOf(const RoomObject& object) {
  const Eigen::AlignedBox3f box = Bounds(object);
  Rigid3 pose = object.room_from_object;
  pose.translation = object.room_from_object * box.center().cast<double>();
  return {pose, box.sizes().cast<double>()};
}

bool Interpenetrate(const RoomObject& a, const RoomObject& b, float tolerance_m) {
  if (Overlap(InRoom(a, Bounds(a)), InRoom(b, Bounds(b))) <= tolerance_m) return false;
  for (const Eigen::AlignedBox3f& first : a.model.colliders) {
    const FlatBox box = InRoom(a, first);
    for (const Eigen::AlignedBox3f& second : b.model.colliders) {
      if (Overlap(box, InRoom(b, second)) > tolerance_m) return true;
    }
  }
  return false;
}

Room MakeRoom(const RoomOptions& options, uint64_t seed) {
  ATHANOR_CHECK(options.clutter >= 0 && options.clutter <= 1,
                "room: expected clutter from 0 to 1, found ", options.clutter);
  Random random(MixBits(seed) ^ 0x726f6f6dull);
  std::string type = options.type, light = options.light;
  const std::string any_type = kTypes[random.Below(std::size(kTypes))];
  if (type == "any") type = any_type;
  ATHANOR_CHECK(std::find(std::begin(kTypes), std::end(kTypes), type) != std::end(kTypes),
                "room: unknown type '", type, "'");
  const bool day = random.Uniform() < 0.65f;
  if (light == "any") light = day ? "day" : "evening";
  ATHANOR_CHECK(light == "day" || light == "evening", "room: unknown light '", light, "'");
  RoomBuilder builder(options, type, seed);
  Furnish(builder);
  return builder.Finish(light);
}

std::string Describe(const RoomObject& object) {
  const ObjectAttributes& a = object.model.attributes;
  std::string words;
  if (a.size != "medium") Append(&words, a.size);
  Append(&words, a.pattern);
  Append(&words, a.color);
  if (a.material != "leafy") Append(&words, a.material);
  Append(&words, RoomKinds()[object.kind].name);
  return words;
}

std::string Caption(const Room& room, int object) {
  const RoomObject& self = room.objects[object];
  std::string text = WithArticle(Describe(self));
  if (self.reference < 0) return text;
  const RoomObject& other = room.objects[self.reference];
  const ObjectAttributes& a = other.model.attributes;
  std::string words;
  const bool structure = RoomKinds()[other.kind].category == "structure";
  if (!structure) {
    Append(&words, a.color);
    if (a.material != "leafy") Append(&words, a.material);
  }
  Append(&words, RoomKinds()[other.kind].name);
  return text + " " + self.relation + " the " + words;
}

}  // namespace athanor
