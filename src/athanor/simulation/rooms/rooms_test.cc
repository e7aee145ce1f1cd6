// Rooms: placement, camera paths, and what is written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "athanor/base/files.h"
#include "athanor/base/parallel.h"
#include "athanor/base/test_util.h"
#include "athanor/datasets/posed_images.h"
#include "athanor/media/image.h"
#include "athanor/simulation/color_names.h"
#include "athanor/simulation/rooms/write_room.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using Eigen::Vector3d;
using ::testing::HasSubstr;

const char* const kTypes[] = {"living_room", "kitchen", "office", "bedroom", "childs_room"};

RoomOptions OfType(const std::string& type, double clutter = 0.8) {
  RoomOptions options;
  options.type = type;
  options.clutter = clutter;
  return options;
}

std::string KindName(const RoomObject& object) { return RoomKinds()[object.kind].name; }

SimRoomOptions SmallOptions() {
  SimRoomOptions options;
  options.seed = 11;
  options.room = OfType("living_room", 0.6);
  options.camera.images = 4;
  options.camera.width_px = 160;
  options.camera.height_px = 120;
  options.points = 400;
  return options;
}

// Every file below the folder with its bytes.
std::map<std::string, std::string> Contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file())
      files[fs::relative(entry.path(), folder).string()] = ReadFile(entry.path());
  }
  return files;
}

TEST(Rooms, NothingInterpenetratesAndAllIsInside) {
  for (const char* type : kTypes) {
    for (uint64_t seed = 0; seed < 6; ++seed) {
      SCOPED_TRACE(std::string(type) + " " + std::to_string(seed));
      const Room room = MakeRoom(OfType(type), seed);
      EXPECT_GT(room.objects.size(), 25u);
      EXPECT_LT(room.objects.size(), 600u);
      for (size_t a = 0; a < room.objects.size(); ++a) {
        const bool structure = RoomKinds()[room.objects[a].kind].category == "structure";
        for (size_t b = a + 1; b < room.objects.size(); ++b) {
          if (structure && RoomKinds()[room.objects[b].kind].category == "structure") continue;
          EXPECT_FALSE(Interpenetrate(room.objects[a], room.objects[b], 0.001f))
              << Describe(room.objects[a]) << " and " << Describe(room.objects[b]);
        }
        if (structure) continue;
        for (const Vector3d& corner : BoxOf(room.objects[a]).Corners()) {
          EXPECT_LT(std::abs(corner.x()), room.size_m.x() / 2 + 0.001);
          EXPECT_LT(std::abs(corner.y()), room.size_m.y() / 2 + 0.001);
          EXPECT_GT(corner.z(), -0.001);
          EXPECT_LT(corner.z(), room.size_m.z() + 0.001);
        }
      }
    }
  }
}

// Rays straight down from points of an object's underside hit what it says that it rests on.
TEST(Rooms, ThingsRestOnWhatCarriesThem) {
  for (const char* type : kTypes) {
    const Room room = MakeRoom(OfType(type), 3);
    const RayWorld world = MakeRoomWorld(room);
    int checked = 0;
    for (size_t k = 0; k < room.objects.size(); ++k) {
      const RoomObject& object = room.objects[k];
      if (object.resting_on < 4 || object.resting_on == 5) continue;
      // The lowest vertex is where it stands.
      Eigen::Vector3f lowest(0, 0, 1e9f);
      for (const Eigen::Vector3f& v : object.model.mesh.vertices) {
        if (v.z() < lowest.z()) lowest = v;
      }
      const Vector3d foot = object.room_from_object * lowest.cast<double>();
      const RayHit hit = world.Cast((foot - Vector3d(0, 0, 2e-4)).cast<float>(), {0, 0, -1}, 10);
      // What stands on a rug may have this foot beside it.
      const bool on_rug = KindName(room.objects[object.resting_on]) == "rug" && hit.object == 4;
      EXPECT_TRUE(hit.object == object.resting_on || on_rug)
          << Describe(object) << " on " << Describe(room.objects[object.resting_on]);
      EXPECT_LT(hit.distance, 0.012f) << Describe(object);
      ++checked;
    }
    EXPECT_GT(checked, 15) << type;
  }
}

TEST(Rooms, AreFurnishedForTheirUse) {
  const std::map<std::string, std::string> expected = {{"living_room", "sofa"},
                                                       {"kitchen", "stove"},
                                                       {"office", "desk"},
                                                       {"bedroom", "bed"},
                                                       {"childs_room", "bed"}};
  for (const auto& [type, kind] : expected) {
    int found = 0;
    for (uint64_t seed = 0; seed < 10; ++seed) {
      for (const RoomObject& object : MakeRoom(OfType(type), seed).objects)
        found += KindName(object) == kind;
    }
    EXPECT_GE(found, 9) << type << ": " << kind;
  }
}

TEST(Rooms, ClutterAddsThingsAndSeedsChangeAll) {
  size_t bare = 0, full = 0;
  std::set<std::string> captions;
  for (uint64_t seed = 0; seed < 5; ++seed) {
    bare += MakeRoom(OfType("office", 0), seed).objects.size();
    const Room room = MakeRoom(OfType("office", 1), seed);
    full += room.objects.size();
    std::string all;
    for (size_t k = 0; k < room.objects.size(); ++k)
      all += Caption(room, static_cast<int>(k)) + "\n";
    captions.insert(all);
  }
  EXPECT_GT(full, bare * 3 / 2);
  EXPECT_EQ(captions.size(), 5u);
  RoomOptions wrong;
  wrong.clutter = 2;
  EXPECT_THAT(ErrorOf([&] { MakeRoom(wrong, 0); }), HasSubstr("clutter from 0 to 1, found 2"));
  wrong = OfType("dungeon");
  EXPECT_THAT(ErrorOf([&] { MakeRoom(wrong, 0); }), HasSubstr("'dungeon'"));
}

TEST(Rooms, CaptionsNameTrueColoursAndRelations) {
  std::set<std::string> relations;
  for (const char* type : kTypes) {
    for (uint64_t seed = 0; seed < 3; ++seed) {
      const Room room = MakeRoom(OfType(type), seed);
      for (size_t k = 0; k < room.objects.size(); ++k) {
        const RoomObject& object = room.objects[k];
        const std::string caption = Caption(room, static_cast<int>(k));
        EXPECT_THAT(caption, HasSubstr(KindName(object)));
        std::set<std::string> colors;
        for (const SurfaceMaterial& m : object.model.mesh.materials)
          colors.insert(ColorName(m.color));
        EXPECT_TRUE(colors.contains(object.model.attributes.color)) << caption;
        EXPECT_THAT(caption, HasSubstr(object.model.attributes.color));
        if (object.reference < 0) continue;
        relations.insert(object.relation);
        EXPECT_THAT(caption, HasSubstr(object.relation + " the "));
        if (object.relation == "under") {
          EXPECT_LT(object.model.size_m.z(), room.objects[object.reference].model.size_m.z());
        }
      }
    }
  }
  EXPECT_THAT(relations, ::testing::IsSupersetOf({"on", "in", "next to", "hanging from"}));
}

TEST(RoomPath, WalksAtEyeHeightClearOfFurniture) {
  for (const char* type : kTypes) {
    const Room room = MakeRoom(OfType(type), 5);
    RoomCameraOptions options;
    options.images = 60;
    const std::vector<Rigid3> poses = RoomCameraPath(room, options);
    ASSERT_EQ(poses.size(), 60u);
    Vector3d before = poses.back().Inverse().translation;
    double length = 0;
    for (const Rigid3& pose : poses) {
      const Vector3d eye = pose.Inverse().translation;
      EXPECT_GE(eye.z(), 1.3);
      EXPECT_LE(eye.z(), 1.7);
      EXPECT_LT(std::abs(eye.x()), room.size_m.x() / 2 - 0.08);
      EXPECT_LT(std::abs(eye.y()), room.size_m.y() / 2 - 0.08);
      for (const RoomObject& object : room.objects) {
        EXPECT_FALSE(RoomKinds()[object.kind].category != "structure" &&
                     BoxOf(object).Contains(eye))
            << Describe(object);
      }
      EXPECT_LT((eye - before).norm(), 0.6);  // no jumps
      length += (eye - before).norm();
      before = eye;
      // Upright: the camera's x axis is level.
      EXPECT_NEAR((pose.rotation.conjugate() * Vector3d::UnitX()).z(), 0, 1e-9);
    }
    EXPECT_GT(length, 2) << type;
  }
}

TEST(RoomPath, OrbitsLookAtTheTarget) {
  const Room room = MakeRoom(OfType("living_room"), 1);
  ASSERT_GE(room.camera_target, 0);
  const Box3 box = BoxOf(room.objects[room.camera_target]);
  RoomCameraOptions options;
  options.images = 12;
  options.path = "orbit";
  const Camera camera = RoomCamera(options);
  for (const Rigid3& pose : RoomCameraPath(room, options)) {
    const auto pixel = camera.Project(
        pose * (box.frame_from_box.translation + Vector3d(0, 0, 0.4 * box.size_m.z())));
    ASSERT_TRUE(pixel.has_value());
    EXPECT_NEAR(pixel->x(), camera.cx(), 3);
    EXPECT_NEAR(pixel->y(), camera.cy(), 3);
  }
  options.images = 0;
  EXPECT_THAT(ErrorOf([&] { RoomCameraPath(room, options); }), HasSubstr("images from 1"));
  options.images = 1;
  options.path = "fly";
  EXPECT_THAT(ErrorOf([&] { RoomCameraPath(room, options); }), HasSubstr("'fly'"));
}

TEST(WriteRooms, PartNumbersNameKindAndPart) {
  std::set<uint16_t> ids;
  size_t count = 0;
  for (int kind = 0; kind < static_cast<int>(RoomKinds().size()); ++kind) {
    for (int part = 0; part < static_cast<int>(RoomKinds()[kind].parts.size()); ++part, ++count) {
      ids.insert(RoomPartId(kind, part));
    }
  }
  EXPECT_EQ(ids.size(), count);
  EXPECT_EQ(*ids.begin(), 1);
}

TEST(WriteRooms, TruthAgreesWithRaysAndTheCaptureIsRead) {
  const fs::path folder = TestFolder("truth");
  const SimRoomOptions options = SmallOptions();
  const WriteRoomResult result = WriteRooms(folder, options);
  EXPECT_EQ(result.images, 4);
  EXPECT_EQ(result.kept, 0);
  const PosedImages posed = ReadPosedImages(folder);
  ASSERT_EQ(posed.images.size(), 4u);
  EXPECT_GT(posed.points.size(), 350u);
  const Room room = MakeRoom(options.room, options.seed);
  const RayWorld world = MakeRoomWorld(room);
  const Camera& camera = posed.cameras[0];
  std::vector<DepthImage> depths;
  for (const PosedImage& image : posed.images) {
    ASSERT_FALSE(image.depth_path.empty());
    const std::string name = image.depth_path.filename().string();
    const DepthImage depth = ReadDepthPng(image.depth_path),
                     instance = ReadDepthPng(folder / "instance" / name);
    const DepthImage semantic = ReadDepthPng(folder / "semantic" / name),
                     part = ReadDepthPng(folder / "part" / name);
    EXPECT_EQ(ReadImageSize(image.image_path).width, 160);
    const Rigid3 room_from_camera = image.camera_from_world.Inverse();
    int same = 0, total = 0;
    for (int y = 3; y < depth.height; y += 7) {
      for (int x = 3; x < depth.width; x += 7, ++total) {
        const Vector3d ray((x + 0.5 - camera.cx()) / camera.fx(),
                           (y + 0.5 - camera.cy()) / camera.fy(), 1);
        const RayHit hit =
            world.Cast(room_from_camera.translation.cast<float>(),
                       (room_from_camera.rotation * ray).normalized().cast<float>(), 60);
        const int id = *instance.at(x, y);
        if (id == 0) {
          EXPECT_EQ(*depth.at(x, y), 0);
          EXPECT_EQ(*semantic.at(x, y), 0);
          EXPECT_EQ(*part.at(x, y), 0);
        } else {
          const RoomObject& object = room.objects.at(id - 1);
          EXPECT_EQ(*semantic.at(x, y), object.kind + 1);
          const int first = RoomPartId(object.kind, 0);
          EXPECT_GE(*part.at(x, y), first);
          EXPECT_LT(*part.at(x, y),
                    first + static_cast<int>(RoomKinds()[object.kind].parts.size()));
        }
        // At edges a ray may go either way.
        same +=
            (hit.object + 1 == id) &&
            (id == 0 || (std::abs(hit.distance / ray.norm() * 1000 - *depth.at(x, y)) < 3 &&
                         RoomPartId(room.objects[hit.object].kind, hit.part) == *part.at(x, y)));
      }
    }
    EXPECT_GT(same, total * 99 / 100);
    depths.push_back(depth);
  }
  // Each point lies at the depth of its pixel in some image.
  int on_depth = 0;
  for (const ColoredPoint& point : posed.points) {
    bool agrees = false;
    for (size_t k = 0; k < posed.images.size(); ++k) {
      const Vector3d in_camera = posed.images[k].camera_from_world *
                                 Vector3d(point.position[0], point.position[1], point.position[2]);
      const auto pixel = camera.Project(in_camera);
      if (!pixel || pixel->x() < 0 || pixel->y() < 0 || pixel->x() >= 160 || pixel->y() >= 120)
        continue;
      agrees |= std::abs(*depths[k].at(static_cast<int>(pixel->x()), static_cast<int>(pixel->y())) -
                         1000 * in_camera.z()) < 4;
    }
    on_depth += agrees;
  }
  EXPECT_GT(on_depth, static_cast<int>(posed.points.size()) * 99 / 100);
  // The lists beside the pictures.
  const auto objects = nlohmann::json::parse(ReadFile(folder / "objects.json"));
  ASSERT_EQ(objects["objects"].size(), room.objects.size());
  int64_t seen = 0;
  for (const auto& entry : objects["objects"]) {
    seen += entry["visible_pixels"].get<int64_t>();
    EXPECT_FALSE(entry["caption"].get<std::string>().empty());
    EXPECT_FALSE(entry["parts"].empty());
  }
  EXPECT_GT(seen, 4 * 160 * 120 * 9 / 10);
  EXPECT_EQ(nlohmann::json::parse(ReadFile(folder / "classes.json"))["classes"].size(),
            RoomKinds().size());
  EXPECT_GT(ReadImageSize(folder / "contact_sheet.png").width, 1000);
  EXPECT_GT(ReadImageSize(folder / "floor_plan.png").width, 500);
  fs::remove_all(folder);
}

TEST(WriteRooms, SameSeedSameBytesWhateverTheThreadsAndStops) {
  SimRoomOptions options = SmallOptions();
  options.camera.images = 3;
  options.camera.width_px = 96;
  options.camera.height_px = 72;
  options.rooms = 2;
  const fs::path once = TestFolder("once"), again = TestFolder("again");
  SetNumThreads(1);
  WriteRooms(once, options);
  SetNumThreads(3);
  int asked = 0;
  const WriteRoomResult stopped = WriteRooms(again, options, [&] { return ++asked > 2; });
  EXPECT_TRUE(stopped.interrupted);
  EXPECT_FALSE(fs::exists(again / "room_0001" / "objects.json"));
  const WriteRoomResult rest = WriteRooms(again, options);
  SetNumThreads(0);
  EXPECT_FALSE(rest.interrupted);
  EXPECT_EQ(rest.kept, stopped.images);
  EXPECT_EQ(rest.kept + rest.images, 6);
  const auto first = Contents(once), second = Contents(again);
  EXPECT_EQ(first.size(), 1 + 2 * (3 * 5 + 3 + 4u));
  EXPECT_TRUE(first == second);
  EXPECT_NE(first.at("room_0000/images/00001.jpg"), first.at("room_0001/images/00001.jpg"));
  options.rooms = 3;
  const WriteRoomResult longer = WriteRooms(again, options);
  EXPECT_EQ(longer.kept, 6);
  EXPECT_EQ(longer.images, 3);
  EXPECT_TRUE(fs::exists(again / "room_0002" / "objects.json"));
  options.rooms = 2;
  EXPECT_THAT(ErrorOf([&] { WriteRooms(again, options); }), HasSubstr("other options"));
  options.seed = 12;
  EXPECT_THAT(ErrorOf([&] { WriteRooms(once, options); }), HasSubstr("other options"));
  const fs::path other = TestFolder("other");
  fs::create_directories(other);
  WriteFile(other / "letter.txt", "dear");
  EXPECT_THAT(ErrorOf([&] { WriteRooms(other, options); }), HasSubstr("new or empty folder"));
  fs::remove_all(once.parent_path());
}

}  // namespace
}  // namespace athanor
