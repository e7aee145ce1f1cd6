#include "athanor/simulation/rooms/room_report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "athanor/base/random.h"
#include "athanor/media/draw.h"
#include "athanor/simulation/color_names.h"
#include "athanor/simulation/rooms/write_room.h"

namespace athanor {
namespace {

using Json = nlohmann::ordered_json;

Json Array(const Eigen::Vector3d& v) {
  // A tenth of a millimetre is enough, and makes short files.
  const auto rounded = [](double x) { return std::round(x * 1e4) / 1e4; };
  return {rounded(v.x()), rounded(v.y()), rounded(v.z())};
}

Color ToColor(const Eigen::Vector3f& linear) {
  const auto byte = [](float c) {
    return static_cast<uint8_t>(std::clamp(255 * std::pow(c, 1 / 2.2f), 0.0f, 255.0f));
  };
  return {byte(linear.x()), byte(linear.y()), byte(linear.z())};
}

}  // namespace

std::string RoomObjectsJson(const Room& room, const std::vector<int64_t>& visible_pixels) {
  Json json;
  json["room"] = {{"type", room.type},
                  {"light", room.light},
                  {"seed", room.seed},
                  {"size_m", Array(room.size_m.cast<double>())}};
  json["objects"] = Json::array();
  for (int k = 0; k < static_cast<int>(room.objects.size()); ++k) {
    const RoomObject& object = room.objects[k];
    const ObjectKind& kind = RoomKinds()[object.kind];
    Json entry;
    entry["id"] = k + 1;
    entry["kind"] = kind.name;
    entry["class"] = object.kind + 1;
    entry["synonyms"] = kind.synonyms;
    entry["category"] = kind.category;
    entry["affordances"] = kind.affordances;
    const ObjectAttributes& a = object.model.attributes;
    entry["attributes"] = {
        {"color", a.color}, {"material", a.material}, {"pattern", a.pattern}, {"size", a.size}};
    entry["description"] = Describe(object);
    entry["caption"] = Caption(room, k);
    if (object.reference >= 0) {
      entry["relation"] = {{"is", object.relation}, {"to", object.reference + 1}};
    }
    entry["parts"] = Json::array();
    const std::vector<uint16_t>& used = object.model.mesh.triangle_part;
    for (size_t part = 0; part < kind.parts.size(); ++part) {
      if (std::find(used.begin(), used.end(), part) == used.end()) continue;
      entry["parts"].push_back(
          {{"id", RoomPartId(object.kind, static_cast<int>(part))}, {"name", kind.parts[part]}});
    }
    const Box3 box = BoxOf(object);
    entry["box"] = {{"center_m", Array(box.frame_from_box.translation)},
                    {"size_m", Array(box.size_m)},
                    {"yaw_rad", std::round(box.yaw_rad() * 1e6) / 1e6}};
    entry["visible_pixels"] = visible_pixels[k];
    json["objects"].push_back(std::move(entry));
  }
  return json.dump(1) + "\n";
}

std::string RoomClassesJson() {
  Json json;
  json["classes"] = Json::array();
  for (int k = 0; k < static_cast<int>(RoomKinds().size()); ++k) {
    const ObjectKind& kind = RoomKinds()[k];
    Json entry = {{"id", k + 1},
                  {"name", kind.name},
                  {"synonyms", kind.synonyms},
                  {"category", kind.category},
                  {"affordances", kind.affordances}};
    entry["stands_on"] = Json::array();
    for (const Stand stand : kind.stands) entry["stands_on"].push_back(StandName(stand));
    entry["parts"] = Json::array();
    for (int part = 0; part < static_cast<int>(kind.parts.size()); ++part) {
      entry["parts"].push_back({{"id", RoomPartId(k, part)}, {"name", kind.parts[part]}});
    }
    json["classes"].push_back(std::move(entry));
  }
  return json.dump(1) + "\n";
}

Image ColorizeLabels(const DepthImage& labels) {
  Image image(labels.width, labels.height, 3);
  for (size_t i = 0; i < labels.data.size(); ++i) {
    if (labels.data[i] == 0) continue;
    const uint64_t bits = MixBits(labels.data[i]);
    for (int c = 0; c < 3; ++c)
      image.data[3 * i + c] = static_cast<uint8_t>(50 + (bits >> (8 * c)) % 206);
  }
  return image;
}

Image FloorPlan(const Room& room, const std::vector<Rigid3>& cameras_from_room, int width_px) {
  constexpr double kMargin_m = 0.35;
  const double scale = width_px / (room.size_m.x() + 2 * kMargin_m);
  const int height_px = static_cast<int>(std::lround(scale * (room.size_m.y() + 2 * kMargin_m)));
  Image plan(width_px, height_px, 3, 255);
  const auto x_px = [&](double x) { return (x + room.size_m.x() / 2 + kMargin_m) * scale; };
  const auto y_px = [&](double y) { return (room.size_m.y() / 2 + kMargin_m - y) * scale; };
  const auto line = [&](const Eigen::Vector3d& a, const Eigen::Vector3d& b, Color color,
                        double thickness) {
    DrawLine(&plan, x_px(a.x()), y_px(a.y()), x_px(b.x()), y_px(b.y()), color, thickness);
  };
  const int wall = static_cast<int>(0.12 * scale);
  const int left = static_cast<int>(x_px(-room.size_m.x() / 2)),
            top = static_cast<int>(y_px(room.size_m.y() / 2));
  const int right = static_cast<int>(x_px(room.size_m.x() / 2)),
            bottom = static_cast<int>(y_px(-room.size_m.y() / 2));
  DrawRectangle(&plan, left - wall, top - wall, right - left + 2 * wall, bottom - top + 2 * wall,
                {70, 70, 75}, wall);
  // Low things first, so that what stands on others is seen.
  std::vector<int> order;
  for (int k = 0; k < static_cast<int>(room.objects.size()); ++k) order.push_back(k);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return BoxOf(room.objects[a]).frame_from_box.translation.z() <
           BoxOf(room.objects[b]).frame_from_box.translation.z();
  });
  for (const int k : order) {
    const RoomObject& object = room.objects[k];
    const std::string& name = RoomKinds()[object.kind].name;
    if (name == "wall" || name == "floor" || name == "ceiling") continue;
    const Box3 box = BoxOf(object);
    const Eigen::Vector3d half = 0.5 * box.size_m;
    const auto at = [&](double x, double y) {
      return box.frame_from_box * Eigen::Vector3d(x * half.x(), y * half.y(), 0);
    };
    Color color = {200, 200, 200};
    Random random(0);
    for (const std::string& known : ColorNames()) {
      if (known == object.model.attributes.color) color = ToColor(RandomColor(known, random));
    }
    // Filled with lines, since boxes are turned.
    const int lines = std::max(1, static_cast<int>(box.size_m.y() * scale));
    for (int i = 0; i <= lines; ++i) {
      const double y = 2.0 * i / lines - 1;
      line(at(-1, y), at(1, y), color, 1.6);
    }
    const Color edge = {40, 40, 40};
    line(at(-1, -1), at(1, -1), edge, 1);
    line(at(1, -1), at(1, 1), edge, 1);
    line(at(1, 1), at(-1, 1), edge, 1);
    line(at(-1, 1), at(-1, -1), edge, 1);
  }
  for (const int k : order) {
    const RoomObject& object = room.objects[k];
    const ObjectKind& kind = RoomKinds()[object.kind];
    const Box3 box = BoxOf(object);
    if (kind.category == "structure" || box.size_m.head<2>().maxCoeff() < 0.28) continue;
    const int x =
        static_cast<int>(x_px(box.frame_from_box.translation.x())) - TextWidth(kind.name) / 2;
    const int y = static_cast<int>(y_px(box.frame_from_box.translation.y())) - kLetterHeight / 2;
    FillRectangle(&plan, x - 2, y - 1, TextWidth(kind.name) + 3, kLetterHeight + 2, kWhite);
    DrawText(&plan, x, y, kind.name, kBlack);
  }
  for (size_t k = 0; k < cameras_from_room.size(); ++k) {
    const Rigid3 room_from_camera = cameras_from_room[k].Inverse();
    const Eigen::Vector3d eye = room_from_camera.translation;
    const Eigen::Vector3d ahead = room_from_camera * Eigen::Vector3d(0, 0, 0.15);
    line(eye, ahead, {220, 30, 30}, 1);
    line(eye, eye, {200, 0, 0}, 4);
  }
  return plan;
}

}  // namespace athanor
