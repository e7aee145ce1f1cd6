// Times the simulated cameras and the simulated LiDAR.
//
//   render_benchmark [--pictures FOLDER] [Google Benchmark's flags]
#include <benchmark/benchmark.h>

#include <filesystem>
#include <string_view>
#include <utility>
#include <vector>

#include "athanor/base/parallel.h"
#include "athanor/media/image.h"
#include "athanor/simulation/render/camera_renderer.h"
#include "athanor/simulation/render/lidar.h"
#include "benchmarks/simulation/made_up_worlds.h"

namespace athanor {
namespace {

MadeUpWorld& Room() {
  static MadeUpWorld room = MakeRoom();
  return room;
}

MadeUpWorld& Street() {
  static MadeUpWorld street = MakeStreet();
  return street;
}

Lighting StreetLight(std::string_view weather) {
  Lighting day = Street().lighting;
  const std::vector<Lamp> lamps = std::move(day.lamps);
  day.lamps.clear();
  if (weather == "night") {
    day = NightLighting();
    day.lamps = lamps;
  } else if (weather == "dusk") {
    day = DuskLighting(0.9f);
    day.lamps = lamps;
  } else if (weather == "fog") {
    AddFog(&day, 80);
  } else if (weather == "rain") {
    AddRain(&day, 8);
  } else if (weather == "overcast") {
    day = OvercastLighting();
  }
  return day;
}

void BM_RoomImage(benchmark::State& state) {
  MadeUpWorld& room = Room();
  CameraRenderOptions options;
  options.antialias = state.range(0) != 0;
  options.indirect = state.range(1) != 0;
  size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(RenderCamera(room.world, room.lighting, room.cameras[i % 2],
                                          room.camera_from_world[i % 2], options));
    ++i;
  }
  state.SetItemsProcessed(state.iterations());
  state.counters["triangles"] = static_cast<double>(room.triangles);
}
BENCHMARK(BM_RoomImage)
    ->ArgNames({"antialias", "indirect"})
    ->Args({1, 1})
    ->Args({0, 1})
    ->Args({0, 0})
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

LidarMotion Driving() {
  LidarMotion motion;
  motion.world_from_sensor = [](double time_s) {
    return Rigid3{Eigen::Quaterniond::Identity(), {10 * time_s, -1.9, 1.84}};
  };
  return motion;
}

// One frame as `sim street` makes it: six cameras of 704 x 256, between which the cars move, and a
// sweep of 32 beams.
void BM_StreetFrame(benchmark::State& state, std::string_view weather) {
  MadeUpWorld& street = Street();
  const Lighting lighting = StreetLight(weather);
  const LidarModel lidar = NuScenesLidar();
  CameraRenderOptions options;
  options.indirect = false;
  options.truth = false;
  options.noise_dark = weather == "night" ? 2.5f : 1.0f;
  options.noise_bright = 1.2f;
  const std::vector<MeshInstance> still = street.world.instances();
  for (auto _ : state) {
    for (size_t i = 0; i < street.cameras.size(); ++i) {
      std::vector<MeshInstance> moved = still;
      for (const int car : street.driving) {
        moved[car].world_from_mesh.translation.x() += 0.1 * static_cast<double>(i);
      }
      street.world.SetInstances(std::move(moved));
      benchmark::DoNotOptimize(RenderCamera(street.world, lighting, street.cameras[i],
                                            street.camera_from_world[i], options));
    }
    benchmark::DoNotOptimize(SimulateLidar(&street.world, lighting, lidar, Driving(), 1));
  }
  state.SetItemsProcessed(state.iterations());
  street.world.SetInstances(still);
  state.counters["triangles"] = static_cast<double>(street.triangles);
}
BENCHMARK_CAPTURE(BM_StreetFrame, day, "day")
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_StreetFrame, rain, "rain")
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_StreetFrame, night, "night")
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

void BM_LidarSweep(benchmark::State& state) {
  MadeUpWorld& street = Street();
  const Lighting lighting = StreetLight("day");
  const LidarModel lidar = NuScenesLidar();
  for (auto _ : state) {
    benchmark::DoNotOptimize(SimulateLidar(&street.world, lighting, lidar, Driving(), 1));
  }
  state.SetItemsProcessed(state.iterations() * lidar.azimuth_steps *
                          static_cast<int64_t>(lidar.elevations_rad.size()));
}
BENCHMARK(BM_LidarSweep)->MeasureProcessCPUTime()->UseRealTime()->Unit(benchmark::kMillisecond);

// Rays through the pixels of the street's front camera, in packets, one thread.
void BM_CameraRays(benchmark::State& state) {
  MadeUpWorld& street = Street();
  const Rigid3 world_from_camera = street.camera_from_world[0].Inverse();
  const Eigen::Vector3f eye = world_from_camera.translation.cast<float>();
  int64_t rays = 0;
  for (auto _ : state) {
    for (int y = 0; y < 256; y += 4) {
      for (int x = 0; x < 704; x += 4) {
        RayHitPacket packet;
        for (int i = 0; i < kRayPacketSize; ++i) {
          const auto pixel = street.cameras[0].parameters;
          const Eigen::Vector3d direction((x + i % 4 + 0.5 - pixel[2]) / pixel[0],
                                          (y + i / 4 + 0.5 - pixel[3]) / pixel[1], 1);
          const Eigen::Vector3f d = (world_from_camera.rotation * direction).cast<float>();
          packet.ray.Set(i, eye.data(), d.data(), 0, 600);
        }
        street.world.Cast16(&packet);
        benchmark::DoNotOptimize(packet);
        rays += kRayPacketSize;
      }
    }
  }
  state.SetItemsProcessed(rays);
}
BENCHMARK(BM_CameraRays)->Unit(benchmark::kMillisecond);

void WritePictures(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  for (size_t i = 0; i < Room().cameras.size(); ++i) {
    const RenderedView view =
        RenderCamera(Room().world, Room().lighting, Room().cameras[i], Room().camera_from_world[i]);
    WriteImage(folder / ("room_" + std::to_string(i) + ".png"), view.image);
  }
  for (const std::string weather : {"day", "overcast", "dusk", "night", "fog", "rain"}) {
    const Lighting lighting = StreetLight(weather);
    const size_t count = weather == "day" ? 6 : 1;
    for (size_t i = 0; i < count; ++i) {
      const RenderedView view = RenderCamera(Street().world, lighting, Street().cameras[i],
                                             Street().camera_from_world[i]);
      WriteImage(folder / ("street_" + weather + "_" + std::to_string(i) + ".png"), view.image);
    }
  }
}

}  // namespace
}  // namespace athanor

int main(int argc, char** argv) {
  if (argc == 3 && std::string_view(argv[1]) == "--pictures") {
    athanor::WritePictures(argv[2]);
    return 0;
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
