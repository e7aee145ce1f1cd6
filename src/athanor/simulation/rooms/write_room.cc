#include "athanor/simulation/rooms/write_room.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <iomanip>
#include <mutex>
#include <sstream>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/parallel.h"
#include "athanor/base/progress.h"
#include "athanor/base/random.h"
#include "athanor/datasets/colmap_writer.h"
#include "athanor/media/color_map.h"
#include "athanor/media/draw.h"
#include "athanor/simulation/render/camera_renderer.h"
#include "athanor/simulation/rooms/room_report.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr int kJpegQuality = 95;
constexpr double kDepthUnit_m = 0.001;
const char* const kTruthFolders[] = {"depth", "semantic", "instance", "part"};

std::string Digits(int64_t number, int width) {
  std::ostringstream text;
  text << std::setw(width) << std::setfill('0') << number;
  return text.str();
}

void Check(const SimRoomOptions& o) {
  ATHANOR_CHECK(o.rooms >= 1 && o.rooms <= 10000, "room: expected 1 to 10000 rooms, found ",
                o.rooms);
  ATHANOR_CHECK(o.points >= 0 && o.points <= 10000000,
                "room: expected 0 to 10000000 points, found ", o.points);
  ATHANOR_CHECK(o.format == "jpg" || o.format == "png",
                "room: expected the format jpg or png, found '", o.format, "'");
}

// The photograph and the four truths of one pose.
struct View {
  Image image;
  DepthImage truth[4];  // as kTruthFolders
};

View RenderView(const Room& room, const RayWorld& world, const Camera& camera, const Rigid3& pose,
                const SimRoomOptions& options, int index) {
  CameraRenderOptions render;
  render.antialias = options.antialias;
  render.gather_rays = 32;  // small bright things in dark rooms need more than a street
  render.max_distance_m = 60;
  render.seed = MixBits(room.seed) + static_cast<uint64_t>(index);
  RenderedView rendered = RenderCamera(world, room.lighting, camera, pose, render);
  View view;
  view.image = std::move(rendered.image);
  for (DepthImage& truth : view.truth) truth = DepthImage(camera.width_px, camera.height_px, 1);
  std::vector<uint16_t> class_of(room.objects.size()), first_part(room.objects.size());
  for (size_t k = 0; k < room.objects.size(); ++k) {
    class_of[k] = static_cast<uint16_t>(room.objects[k].kind + 1);
    first_part[k] = RoomPartId(room.objects[k].kind, 0);
  }
  for (size_t i = 0; i < rendered.object.data.size(); ++i) {
    const int32_t object = rendered.object.data[i];
    if (object < 0) continue;
    const double steps = rendered.depth_m.data[i] / kDepthUnit_m;
    view.truth[0].data[i] = static_cast<uint16_t>(std::clamp(std::lround(steps), 0L, 65535L));
    view.truth[1].data[i] = class_of[object];
    view.truth[2].data[i] = static_cast<uint16_t>(object + 1);
    view.truth[3].data[i] = static_cast<uint16_t>(first_part[object] + rendered.part.data[i]);
  }
  return view;
}

class RoomWriter {
 public:
  RoomWriter(fs::path out, const SimRoomOptions& options, int64_t seed)
      : out_(std::move(out)),
        options_(options),
        room_(MakeRoom(options.room, static_cast<uint64_t>(seed))),
        world_(MakeRoomWorld(room_)) {
    posed_.source = out_.string();
    posed_.depth_unit_m = kDepthUnit_m;
    posed_.cameras = {RoomCamera(options.camera)};
    for (const Rigid3& pose : RoomCameraPath(room_, options.camera)) {
      PosedImage image;
      const std::string stem = Digits(static_cast<int64_t>(posed_.images.size()) + 1, 5);
      image.name = stem + "." + options.format;
      image.image_path = out_ / "images" / image.name;
      image.depth_path = out_ / "depth" / (stem + ".png");
      image.camera_from_world = pose;
      posed_.images.push_back(std::move(image));
    }
    MakeFolder(out_ / "images");
    for (const char* folder : kTruthFolders) MakeFolder(out_ / folder);
  }

  int64_t num_images() const { return static_cast<int64_t>(posed_.images.size()); }

  // True when all files of the image were there already.
  bool WriteView(int64_t index) const {
    const PosedImage& image = posed_.images[index];
    bool finished = fs::exists(image.image_path);
    for (int t = 0; t < 4; ++t) finished = finished && fs::exists(TruthPath(index, t));
    if (finished) return true;
    const View view = RenderView(room_, world_, posed_.cameras[0], image.camera_from_world,
                                 options_, static_cast<int>(index));
    for (int t = 0; t < 4; ++t) WriteDepthPng(TruthPath(index, t), view.truth[t]);
    WriteImage(image.image_path, view.image, kJpegQuality);
    return false;
  }

  // What needs all images.
  void Finish() {
    SamplePoints();
    WriteColmapModel(out_ / "sparse" / "0", posed_);
    WriteFile(out_ / "objects.json", RoomObjectsJson(room_, visible_pixels_));
    WriteFile(out_ / "classes.json", RoomClassesJson());
    std::vector<Rigid3> poses;
    for (const PosedImage& image : posed_.images) poses.push_back(image.camera_from_world);
    WriteImage(out_ / "floor_plan.png", FloorPlan(room_, poses));
    WriteSheet();
  }

 private:
  fs::path TruthPath(int64_t index, int truth) const {
    return out_ / kTruthFolders[truth] / posed_.images[index].depth_path.filename();
  }

  // Points on what random pixels see, and how often each object is seen.
  void SamplePoints() {
    const int64_t images = num_images();
    posed_.points.assign(options_.points, {});
    std::vector<char> found(options_.points, 0);
    std::vector<std::vector<int64_t>> seen(images, std::vector<int64_t>(room_.objects.size(), 0));
    const Camera& camera = posed_.cameras[0];
    ParallelChunks(images, [&](int64_t k) {
      const DepthImage instance = ReadDepthPng(TruthPath(k, 2));
      for (const uint16_t id : instance.data) {
        if (id > 0 && id <= room_.objects.size()) ++seen[k][id - 1];
      }
      // From the file, so that a run that was stopped and one that was not agree.
      const Image image = ReadImage(posed_.images[k].image_path);
      const Rigid3 room_from_camera = posed_.images[k].camera_from_world.Inverse();
      const Eigen::Vector3f origin = room_from_camera.translation.cast<float>();
      Random random(MixBits(room_.seed) ^ MixBits(static_cast<uint64_t>(k) + 77));
      for (int64_t p = options_.points * k / images; p < options_.points * (k + 1) / images; ++p) {
        for (int attempt = 0; attempt < 20 && !found[p]; ++attempt) {
          const int x = static_cast<int>(random.Below(static_cast<uint32_t>(camera.width_px)));
          const int y = static_cast<int>(random.Below(static_cast<uint32_t>(camera.height_px)));
          const Eigen::Vector3d ray((x + 0.5 - camera.cx()) / camera.fx(),
                                    (y + 0.5 - camera.cy()) / camera.fy(), 1);
          const Eigen::Vector3f direction =
              (room_from_camera.rotation * ray).normalized().cast<float>();
          const RayHit hit = world_.Cast(origin, direction, 60);
          if (hit.instance < 0) continue;
          const Eigen::Vector3f at = origin + hit.distance * direction;
          for (int a = 0; a < 3; ++a) {
            posed_.points[p].position[a] = at[a];
            posed_.points[p].color[a] = image.at(x, y)[a];
          }
          found[p] = 1;
        }
      }
    });
    size_t kept = 0;
    for (size_t p = 0; p < found.size(); ++p) {
      if (found[p]) posed_.points[kept++] = posed_.points[p];
    }
    posed_.points.resize(kept);
    visible_pixels_.assign(room_.objects.size(), 0);
    for (const auto& counts : seen) {
      for (size_t o = 0; o < counts.size(); ++o) visible_pixels_[o] += counts[o];
    }
  }

  void WriteSheet() const {
    constexpr int kRows = 5;
    std::vector<std::vector<SheetCell>> rows;
    for (int r = 0; r < kRows && r < num_images(); ++r) {
      const int64_t k = num_images() * (2 * r + 1) / (2 * std::min<int64_t>(kRows, num_images()));
      const DepthImage steps = ReadDepthPng(TruthPath(k, 0));
      FloatImage depth(steps.width, steps.height, 1);
      for (size_t i = 0; i < steps.data.size(); ++i)
        depth.data[i] = static_cast<float>(kDepthUnit_m) * steps.data[i];
      rows.push_back({{ReadImage(posed_.images[k].image_path), posed_.images[k].name},
                      {ColorizeDepth(depth, 0.4f, 7), ""},
                      {ColorizeLabels(ReadDepthPng(TruthPath(k, 2))), ""},
                      {ColorizeLabels(ReadDepthPng(TruthPath(k, 3))), ""}});
    }
    WriteImage(out_ / "contact_sheet.png",
               ContactSheet({"image", "depth", "instances", "parts"}, rows, 400));
  }

  fs::path out_;
  const SimRoomOptions& options_;
  Room room_;
  RayWorld world_;
  PosedImages posed_;
  std::vector<int64_t> visible_pixels_;
};

}  // namespace

OptionList Describe(SimRoomOptions& options) {
  OptionList list;
  list.Add("rooms", &options.rooms,
           "how many rooms, each in a folder of its own when more than one",
           {.min = 1, .max = 10000});
  list.Add("seed", &options.seed, "number of the first room: same number, same room",
           {.min = 0, .max = 1e15});
  Describe(options.room, list);
  Describe(options.camera, list);
  list.Add("points", &options.points, "points of the sparse model", {.min = 0, .max = 1e7});
  list.Add("format", &options.format, "of the photographs; jpg has quality 95",
           {.choices = {"jpg", "png"}});
  list.Add("antialias", &options.antialias, "smooth edges");
  return list;
}

RayWorld MakeRoomWorld(const Room& room) {
  RayWorld world;
  std::vector<MeshInstance> instances;
  for (int k = 0; k < static_cast<int>(room.objects.size()); ++k) {
    MeshInstance instance;
    instance.mesh = world.AddMesh(room.objects[k].model.mesh);
    instance.world_from_mesh = room.objects[k].room_from_object;
    instance.object = k;
    instances.push_back(instance);
  }
  world.SetInstances(std::move(instances));
  return world;
}

uint16_t RoomPartId(int kind, int part) {
  static const std::vector<uint16_t> first = [] {
    std::vector<uint16_t> result;
    uint16_t next = 1;
    for (const ObjectKind& k : RoomKinds()) {
      result.push_back(next);
      next = static_cast<uint16_t>(next + k.parts.size());
    }
    return result;
  }();
  return static_cast<uint16_t>(first[kind] + part);
}

WriteRoomResult WriteRooms(const fs::path& out, const SimRoomOptions& options,
                           const std::function<bool()>& stop) {
  Check(options);
  const auto start = std::chrono::steady_clock::now();
  // What was asked for stands beside what came of it: only the same may go on, or more rooms.
  SimRoomOptions copy = options;
  const std::string config = Describe(copy).ToToml();
  const fs::path config_path = out / "config.toml";
  if (fs::exists(config_path)) {
    SimRoomOptions before;
    Describe(before).ReadToml(config_path);
    // A single room lies in `out` itself.
    const bool longer = before.rooms > 1 && options.rooms > before.rooms;
    if (longer) before.rooms = options.rooms;
    ATHANOR_CHECK(
        Describe(before).ToToml() == config, config_path.string(),
        ": this folder holds rooms of other options; expected the same ones, more rooms, or a new "
        "folder");
    if (longer) WriteFile(config_path, config);
  } else {
    ATHANOR_CHECK(!fs::exists(out) || (fs::is_directory(out) && fs::is_empty(out)), out.string(),
                  ": expected a new or empty folder, or one of the same rooms");
    WriteFile(config_path, config);
  }

  WriteRoomResult result;
  const int64_t per_room = options.camera.images;
  Progress progress("rooms", per_room * options.rooms);
  std::mutex mutex;
  int64_t done = 0;
  for (int r = 0; r < options.rooms; ++r) {
    RoomWriter writer(options.rooms == 1 ? out : out / ("room_" + Digits(r, 4)), options,
                      options.seed + r);
    std::atomic<bool> stopped = false;
    ParallelChunks(writer.num_images(), [&](int64_t k) {
      if (stopped || (stop && stop())) {
        stopped = true;
        return;
      }
      const bool kept = writer.WriteView(k);
      const std::lock_guard<std::mutex> lock(mutex);
      ++(kept ? result.kept : result.images);
      progress.Update(++done);
    });
    if (stopped) {
      result.interrupted = true;
      break;
    }
    writer.Finish();
    ++result.rooms;
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace athanor
