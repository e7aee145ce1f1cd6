// What stands in a living room, a kitchen, an office, a bedroom and a child's room.
#include <algorithm>
#include <cmath>
#include <string_view>

#include "athanor/simulation/rooms/room_builder.h"

namespace athanor {
namespace {

using Kinds = std::vector<std::string_view>;

constexpr float kPi = 3.14159265f;

std::string_view AnyOf(RoomBuilder& b, const Kinds& kinds) {
  return kinds[b.Pick(static_cast<int>(kinds.size()))];
}

void Scatter(RoomBuilder& b, int carrier, const Kinds& kinds, int count) {
  for (int k = 0; k < count; ++k) b.On(carrier, AnyOf(b, kinds));
}

void ScatterOnFloor(RoomBuilder& b, const Kinds& kinds, int count) {
  for (int k = 0; k < count; ++k) b.OnFloor(AnyOf(b, kinds));
}

void Pictures(RoomBuilder& b, int count) {
  for (int k = 0; k < count; ++k) b.OnWall("picture", b.Uniform(1.25f, 1.5f));
}

// A plate with cutlery and a glass before each chair.
void LayTable(RoomBuilder& b, int table, const std::vector<int>& chairs) {
  const RoomObject& self = b.object(table);
  const Eigen::Vector2f half = 0.5f * self.model.size_m.head<2>();
  const Rigid3 table_from_room = self.room_from_object.Inverse();
  for (const int chair : chairs) {
    const Eigen::Vector2f at =
        (table_from_room * b.object(chair).room_from_object.translation).head<2>().cast<float>();
    const bool along_x = std::abs(at.x()) / half.x() > std::abs(at.y()) / half.y();
    Eigen::Vector2f in =
        along_x ? Eigen::Vector2f(at.x() > 0 ? -1 : 1, 0) : Eigen::Vector2f(0, at.y() > 0 ? -1 : 1);
    const Eigen::Vector2f left(-in.y(), in.x());
    const float reach = (along_x ? half.x() : half.y()) - 0.2f;
    const Eigen::Vector2f middle =
        along_x ? Eigen::Vector2f(-in.x() * reach,
                                  std::clamp(at.y(), -half.y() + 0.3f, half.y() - 0.3f))
                : Eigen::Vector2f(std::clamp(at.x(), -half.x() + 0.3f, half.x() - 0.3f),
                                  -in.y() * reach);
    const float yaw = std::atan2(in.y(), in.x());
    const auto put = [&](std::string_view kind, float side, float forward) {
      const Eigen::Vector2f p = middle + side * left + forward * in;
      b.On(table, kind, p.x(), p.y(), yaw);
    };
    put("plate", 0, 0);
    put("fork", 0.17f, 0);
    put("knife", -0.165f, 0);
    if (b.Chance(0.5)) put("spoon", -0.2f, 0);
    put("glass", -0.15f, 0.17f);
  }
}

void FurnishLivingRoom(RoomBuilder& b) {
  b.BuildShell(b.Uniform(4.6f, 6.0f), b.Uniform(4.0f, 5.0f), b.Uniform(2.45f, 2.8f));
  const int sofa = b.AgainstWall("sofa", -1, 1.2f, -1, /*reserve=*/false);
  int coffee = -1;
  if (sofa >= 0) {
    const Rigid3 pose = b.object(sofa).room_from_object;
    const float yaw = b.yaw(sofa);
    const double depth = b.object(sofa).model.size_m.x();
    const Eigen::Vector3d rug = pose * Eigen::Vector3d(depth / 2 + 0.75, 0, 0);
    if (b.Chance(0.8)) b.At("rug", static_cast<float>(rug.x()), static_cast<float>(rug.y()), yaw);
    ObjectModel table = b.New("coffee table");
    const Eigen::Vector3d at = pose * Eigen::Vector3d(depth / 2 + 0.4 + table.size_m.x() / 2, 0, 0);
    // The free floor before the sofa is for its table.
    coffee = b.At(std::move(table), static_cast<float>(at.x()), static_cast<float>(at.y()), yaw,
                  0.05f, 6);
    for (int k = 0; k < b.Count(1, 3); ++k) b.On(sofa, "cushion");
    const int chair_side = b.Chance(0.5) ? 1 : -1;
    const Eigen::Vector3d chair = pose * Eigen::Vector3d(depth / 2 + 0.8, chair_side * 1.45, 0);
    b.At("armchair", static_cast<float>(chair.x()), static_cast<float>(chair.y()),
         yaw - chair_side * 1.9f);
  }
  const int stand = b.AgainstWall(b.Chance(0.5) ? "cabinet" : "dresser", -1, 0.5f);
  if (stand >= 0) b.On(stand, "television", 0.0f, 0.0f, 0.0f);
  Scatter(b, stand, {"speaker", "vase", "candle", "potted plant", "camera"}, b.Count(0, 3));
  const Kinds shelf_things = {"vase", "camera", "speaker",    "teddy bear", "candle",
                              "bowl", "box",    "toy rocket", "headphones", "hat"};
  b.FillShelf(b.AgainstWall("bookshelf", -1, 0.5f), shelf_things, 0.75);
  if (b.Chance(0.6)) b.FillShelf(b.AgainstWall("bookshelf", -1, 0.5f), shelf_things, 0.6);
  b.AgainstWall("floor lamp", -1, 0);
  if (b.Chance(0.6)) b.AgainstWall("floor lamp", -1, 0);
  b.OnCeiling("ceiling lamp", b.Uniform(-0.5f, 0.5f), b.Uniform(-0.5f, 0.5f));
  b.AgainstWall("potted plant", -1, 0);
  if (b.Chance(0.4)) b.AgainstWall("armchair", -1, 0.4f);
  if (b.Chance(0.5)) b.OnWall("clock", 1.6f);
  Pictures(b, 2 + b.Pick(3));
  Scatter(b, coffee,
          {"book", "mug", "cup", "bowl", "phone", "candle", "vase", "glass", "apple", "banana",
           "camera", "teapot", "headphones", "laptop"},
          b.Count(3, 9));
  ScatterOnFloor(
      b, {"backpack", "ball", "box", "waste basket", "suitcase", "cushion", "toy car", "book"},
      b.Count(0, 5));
  b.room.camera_target = coffee;
}

void FurnishKitchen(RoomBuilder& b) {
  b.BuildShell(b.Uniform(4.0f, 5.2f), b.Uniform(3.6f, 4.4f), b.Uniform(2.45f, 2.7f));
  const int wall = b.Pick(4);
  const int counter = b.AgainstWall("kitchen counter", wall, 0.9f);
  b.AgainstWall("stove", wall, 0.8f);
  b.AgainstWall("refrigerator", -1, 0.8f);
  const int second = b.AgainstWall("kitchen counter", -1, 0.8f);
  Scatter(b, counter, {"kettle", "toaster", "microwave"}, 2);
  Scatter(b, counter,
          {"pot", "pan", "bottle", "mug", "bowl", "plate", "knife", "teapot", "glass", "apple"},
          b.Count(2, 7));
  Scatter(b, second, {"microwave", "toaster", "kettle"}, 1);
  Scatter(b, second,
          {"pot", "bottle", "mug", "bowl", "plate", "potted plant", "glass", "orange", "pear"},
          b.Count(2, 7));
  ObjectModel model = b.New("table");
  const int table = b.At(std::move(model), 0, 0, b.Chance(0.5) ? 0 : kPi / 2, 0.6f, 30);
  const std::vector<int> chairs = b.ChairsAt(table, "chair", 2 + b.Pick(3));
  if (table >= 0) {
    b.room.camera_target = table;
    const Eigen::Vector3d at = b.object(table).room_from_object.translation;
    b.OnCeiling("ceiling lamp", static_cast<float>(at.x()), static_cast<float>(at.y()));
    if (b.Chance(0.75)) LayTable(b, table, chairs);
    Scatter(b, table,
            {"bottle", "teapot", "bowl", "mug", "cup", "vase", "candle", "apple", "pear", "orange",
             "banana", "pan", "glass"},
            b.Count(2, 9));
  } else {
    b.OnCeiling("ceiling lamp", 0, 0);
  }
  if (b.Chance(0.5)) b.AgainstWall("stool", -1, 0);
  b.FillShelf(b.Chance(0.5) ? b.AgainstWall("bookshelf", -1, 0.5f) : -1,
              {"bowl", "mug", "glass", "bottle", "vase", "box"}, 0.2);
  b.AgainstWall("waste basket", -1, 0);
  b.OnWall("clock", 1.75f);
  Pictures(b, b.Pick(3));
  ScatterOnFloor(b, {"box", "backpack", "stool", "umbrella"}, b.Count(0, 2));
}

int FurnishDesk(RoomBuilder& b, int desk) {
  if (desk < 0) return -1;
  const Rigid3 pose = b.object(desk).room_from_object;
  const float depth = b.object(desk).model.size_m.x();
  const Eigen::Vector3d seat = pose * Eigen::Vector3d(depth / 2 + 0.3, b.Uniform(-0.1f, 0.1f), 0);
  b.At(b.New("office chair"), static_cast<float>(seat.x()), static_cast<float>(seat.y()),
       b.yaw(desk) + kPi + b.Uniform(-0.5f, 0.5f), 0.12f, 12);
  if (b.Chance(0.5)) {
    b.On(desk, "laptop", 0.05f, b.Uniform(-0.1f, 0.1f), b.Uniform(-0.15f, 0.15f));
  } else {
    const float y = b.Uniform(-0.15f, 0.15f);
    b.On(desk, "monitor", -depth / 2 + 0.15f, y, 0);
    b.On(desk, "keyboard", depth / 2 - 0.15f, y, 0);
    b.On(desk, "mouse", depth / 2 - 0.15f, y + 0.29f, kPi);
  }
  if (b.Chance(0.7)) b.On(desk, "table lamp");
  b.On(desk, "pencil cup");
  Scatter(b, desk,
          {"book", "mug", "phone", "headphones", "camera", "mouse", "potted plant", "glass",
           "apple", "speaker", "bottle"},
          b.Count(2, 8));
  return desk;
}

void FurnishOffice(RoomBuilder& b) {
  b.BuildShell(b.Uniform(4.0f, 5.4f), b.Uniform(3.6f, 4.6f), b.Uniform(2.45f, 2.8f));
  b.room.camera_target = FurnishDesk(b, b.AgainstWall("desk", -1, 0.0f));
  FurnishDesk(b, b.Chance(0.7) ? b.AgainstWall("desk", -1, 0.0f) : -1);
  const Kinds things = {"box",        "camera",  "speaker", "vase",  "potted plant",
                        "headphones", "toy car", "candle",  "bottle"};
  for (int k = 0; k < 2; ++k) b.FillShelf(b.AgainstWall("bookshelf", -1, 0.5f), things, 0.8);
  const int cabinet = b.AgainstWall("cabinet", -1, 0.5f);
  Scatter(b, cabinet, {"book", "potted plant", "speaker", "box", "vase", "kettle", "mug"},
          b.Count(1, 5));
  const int table = b.At(b.New("table"), 0, 0, b.Uniform(-0.1f, 0.1f), 0.7f, 20);
  b.ChairsAt(table, "chair", 3);
  Scatter(b, table, {"book", "laptop", "mug", "phone", "glass", "bottle", "cup", "camera"},
          b.Count(2, 7));
  if (table < 0) b.AgainstWall("armchair", -1, 0.4f);
  b.AgainstWall("waste basket", -1, 0);
  b.AgainstWall("potted plant", -1, 0);
  if (b.Chance(0.5)) b.AgainstWall("floor lamp", -1, 0);
  b.OnCeiling("ceiling lamp", 0, 0);
  b.OnWall("clock", 1.7f);
  Pictures(b, 1 + b.Pick(3));
  ScatterOnFloor(b, {"backpack", "box", "umbrella", "suitcase", "shoe", "book"}, b.Count(0, 4));
}

void BesideBed(RoomBuilder& b, int bed, float side) {
  const ObjectModel stand = b.New("nightstand");
  const Eigen::Vector3f size = b.object(bed).model.size_m;
  const Eigen::Vector3d at =
      b.object(bed).room_from_object *
      Eigen::Vector3d(-size.x() / 2 + stand.size_m.x() / 2 + 0.01,
                      side * (size.y() / 2 + stand.size_m.y() / 2 + 0.06), 0);
  const int placed =
      b.At(stand, static_cast<float>(at.x()), static_cast<float>(at.y()), b.yaw(bed), 0, 1);
  if (placed < 0) return;
  if (b.Chance(0.8)) b.On(placed, "table lamp");
  Scatter(b, placed, {"book", "glass", "phone", "mug", "candle", "headphones"}, b.Count(0, 3));
}

void FurnishBedroom(RoomBuilder& b) {
  b.BuildShell(b.Uniform(4.0f, 5.2f), b.Uniform(3.6f, 4.6f), b.Uniform(2.4f, 2.7f));
  const int bed = b.AgainstWall("bed", -1, 0.4f);
  if (bed >= 0) {
    BesideBed(b, bed, 1);
    BesideBed(b, bed, -1);
    Scatter(b, bed, {"teddy bear", "book", "cushion", "laptop", "hat", "headphones"},
            b.Count(0, 3));
  }
  b.AgainstWall("wardrobe", -1, 0.6f);
  const int dresser = b.AgainstWall("dresser", -1, 0.6f);
  Scatter(b, dresser,
          {"vase", "candle", "hat", "camera", "book", "box", "potted plant", "table lamp",
           "headphones"},
          b.Count(1, 6));
  b.OnWall("mirror", 1.1f);
  if (b.Chance(0.8))
    b.At("rug", b.Uniform(-0.5f, 0.5f), b.Uniform(-0.5f, 0.5f), b.Chance(0.5) ? 0 : kPi / 2);
  if (b.Chance(0.5)) b.AgainstWall("armchair", -1, 0.3f);
  const int desk = b.Chance(0.5) ? b.AgainstWall("desk", -1, 0.0f) : -1;
  FurnishDesk(b, desk);
  b.FillShelf(b.AgainstWall("bookshelf", -1, 0.5f),
              {"vase", "candle", "teddy bear", "camera", "hat", "box"}, 0.6);
  if (b.Chance(0.6)) b.AgainstWall("bench", -1, 0.2f);
  b.AgainstWall("potted plant", -1, 0);
  b.OnCeiling("ceiling lamp", b.Uniform(-0.3f, 0.3f), b.Uniform(-0.3f, 0.3f));
  Pictures(b, 2 + b.Pick(2));
  for (int k = 0; k < b.Count(1, 3); ++k) b.OnFloor("shoe");
  ScatterOnFloor(b, {"backpack", "suitcase", "book", "cushion", "box", "umbrella", "stool"},
                 b.Count(0, 5));
  b.room.camera_target = desk >= 0 ? desk : bed;
}

void FurnishChildsRoom(RoomBuilder& b) {
  b.BuildShell(b.Uniform(3.9f, 5.0f), b.Uniform(3.6f, 4.4f), b.Uniform(2.4f, 2.7f));
  const Kinds toys = {"teddy bear",  "toy car",    "building blocks",
                      "rubber duck", "toy rocket", "toy train"};
  const int bed = b.AgainstWall("bed", -1, 0.4f);
  Scatter(b, bed, {"teddy bear", "cushion", "book", "teddy bear"}, b.Count(1, 3));
  if (bed >= 0) BesideBed(b, bed, b.Chance(0.5) ? 1.0f : -1.0f);
  Kinds shelf = toys;
  shelf.insert(shelf.end(), {"box", "camera", "hat"});
  b.FillShelf(b.AgainstWall("bookshelf", -1, 0.5f), shelf, 0.35);
  const int desk = b.AgainstWall("desk", -1, 0.0f);
  FurnishDesk(b, desk);
  Scatter(b, desk, toys, b.Count(1, 3));
  b.At("rug", b.Uniform(-0.4f, 0.4f), b.Uniform(-0.4f, 0.4f), b.Chance(0.5) ? 0 : kPi / 2);
  const int low = b.At(b.New("coffee table"), 0, 0, b.Uniform(-0.3f, 0.3f), 0.9f, 20);
  Scatter(b, low, toys, b.Count(2, 5));
  Scatter(b, low, {"mug", "apple", "banana", "book", "glass", "bowl"}, b.Count(1, 3));
  if (low >= 0 && b.Chance(0.7)) b.OnFloor("stool");
  b.AgainstWall(b.Chance(0.5) ? "dresser" : "wardrobe", -1, 0.5f);
  ScatterOnFloor(b,
                 {"ball", "toy car", "teddy bear", "building blocks", "toy train", "toy rocket",
                  "rubber duck", "book", "cushion", "backpack", "shoe"},
                 b.Count(4, 14));
  b.AgainstWall("waste basket", -1, 0);
  b.OnCeiling("ceiling lamp", 0, 0);
  if (b.Chance(0.5)) b.OnWall("clock", 1.6f);
  Pictures(b, 2 + b.Pick(3));
  b.room.camera_target = low >= 0 ? low : desk;
}

}  // namespace

void Furnish(RoomBuilder& builder) {
  const std::string& type = builder.room.type;
  if (type == "living_room") FurnishLivingRoom(builder);
  if (type == "kitchen") FurnishKitchen(builder);
  if (type == "office") FurnishOffice(builder);
  if (type == "bedroom") FurnishBedroom(builder);
  if (type == "childs_room") FurnishChildsRoom(builder);
}

}  // namespace athanor
