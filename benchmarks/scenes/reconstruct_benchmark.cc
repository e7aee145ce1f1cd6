// Reconstruction against its targets, and beside OpenSplat when its program is given.
//
//   reconstruct_benchmark [--fox DIR] [--opensplat PROGRAM] [--iterations N] [--work DIR]
//
// Both programs get the same capture: photographs that we have undistorted and resized, with
// pinhole cameras, as a COLMAP project; both results are scored by our evaluator on the same
// held-out image. Per iteration means (time of N - time of N0) / (N - N0), so that reading the
// images is left out.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/base/parallel.h"
#include "athanor/base/random.h"
#include "athanor/datasets/colmap_writer.h"
#include "athanor/datasets/synthetic_scene.h"
#include "athanor/datasets/view_cache.h"
#include "athanor/kernels/rasterize.h"
#include "athanor/media/image.h"
#include "athanor/ops/device.h"
#include "athanor/scenes/gaussians/evaluate.h"
#include "athanor/scenes/gaussians/reconstruct_run.h"
#include "athanor/scenes/gaussians/trainer.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr int kWarmUp = 50;  // N0

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct ProcessCost {
  double seconds, peak_bytes;
};

// Runs a program; its output goes to `log`.
ProcessCost CostOf(const std::vector<std::string>& command, const fs::path& log) {
  const double start = Now();
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    if (std::freopen(log.c_str(), "w", stdout) == nullptr) ::_exit(126);
    ::dup2(STDOUT_FILENO, STDERR_FILENO);
    std::vector<char*> argv;
    for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  int status = 0;
  rusage usage = {};
  ::wait4(child, &status, 0, &usage);
  ATHANOR_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, command[0], " failed: see ",
                log.string());
  return {Now() - start, 1024.0 * static_cast<double>(usage.ru_maxrss)};
}

// The capture as both programs read it: pinhole, at the training resolution.
void WritePinholeCapture(const fs::path& input, int max_side_px, const fs::path& folder) {
  PosedImages posed = ReadPosedImages(input);
  ViewOptions options;
  options.max_side_px = max_side_px;
  ViewCache views(posed, options);
  PosedImages pinhole = posed;
  pinhole.cameras.clear();
  for (int i = 0; i < views.size(); ++i) {
    WriteImage(folder / "images" / fs::path(posed.images[i].name).replace_extension(".png"),
               views.Get(i)->rgb);
    pinhole.images[i].name = fs::path(posed.images[i].name).replace_extension(".png").string();
    pinhole.images[i].camera = static_cast<int>(pinhole.cameras.size());
    pinhole.cameras.push_back(views.camera(i));
  }
  WriteColmapModel(folder / "sparse" / "0", pinhole);
}

struct Measured {
  double seconds_per_iteration = 0;
  double psnr_db = 0, ssim = 0;
  int64_t gaussians = 0;
};

Measured Score(const fs::path& capture, const fs::path& scene, const fs::path& test_list) {
  const PosedImages posed = ReadPosedImages(capture);
  ReconstructOptions options;
  options.test_list = test_list.string();
  ViewCache views(posed, {});
  const GaussianModel model =
      GaussianModel::FromCloud(ReadGaussians(scene), /*with_moments=*/false, c10::kCPU);
  const SceneScore score = Evaluate(model, posed, &views, MakeSplit(posed, options).test, {});
  Measured measured;
  measured.psnr_db = score.psnr_db;
  measured.ssim = score.ssim;
  measured.gaussians = model.size();
  return measured;
}

Measured RunOurs(const fs::path& capture, const fs::path& test_list, int iterations,
                 const fs::path& run) {
  fs::remove_all(run);
  ReconstructOptions options;
  options.iterations = iterations;
  options.coarse_levels = 0;  // the peer trains at full size from the first step
  options.max_side_px = 0;
  options.test_list = test_list.string();
  options.checkpoint_every = 0;
  double begun = 0, ended = 0;
  int64_t step = 0;
  const int first = std::min(kWarmUp, iterations / 2);
  Reconstruct(capture, run, options, /*resume=*/false, [&] {
    if (++step == first) begun = Now();
    if (step == iterations - 1) ended = Now();
    return false;
  });
  // The last step is not asked about.
  Measured measured = Score(capture, run / "scene.ply", test_list);
  measured.seconds_per_iteration = (ended - begun) / (iterations - 1 - first);
  return measured;
}

Measured RunOpenSplat(const std::string& program, const fs::path& capture,
                      const std::string& held_out, const fs::path& test_list, int iterations,
                      const fs::path& out) {
  const auto run = [&](int n) {
    return CostOf({program, capture.string(), "-n", std::to_string(n), "--num-downscales", "0",
                   "--cpu", "--val", "--val-image", held_out, "-o", out.string()},
                  fs::path(out).replace_extension(".log"))
        .seconds;
  };
  const int first = std::min(kWarmUp, iterations / 2);
  const double short_run = run(first);
  const double long_run = run(iterations);
  Measured measured = Score(capture, out, test_list);
  measured.seconds_per_iteration = (long_run - short_run) / (iterations - first);
  return measured;
}

void PrintRow(const std::string& what, const std::string& target, const Measured& ours,
              const Measured* peer) {
  std::printf("| %s | %s | %.1f ms, %.2f dB |", what.c_str(), target.c_str(),
              1e3 * ours.seconds_per_iteration, ours.psnr_db);
  if (peer != nullptr) {
    std::printf(" %.1f ms, %.2f dB | 1/%.1f |\n", 1e3 * peer->seconds_per_iteration, peer->psnr_db,
                peer->seconds_per_iteration / ours.seconds_per_iteration);
  } else {
    std::printf(" - | - |\n");
  }
  std::fflush(stdout);
}

// One run of the memory measurement, in a process of its own: this program with --memory.
void TrainForMemory(const fs::path& work, int points) {
  SyntheticSceneOptions scene;
  scene.num_images = 4;
  scene.num_points = points;
  const fs::path capture = work / StrCat("memory_", points);
  if (!fs::exists(capture / "sparse")) WriteSyntheticCapture(capture, scene);
  fs::remove_all(work / "memory_run");
  ReconstructOptions options;
  options.iterations = 60;
  options.coarse_levels = 0;
  options.sh_interval = 10;  // degree 3 from step 30
  options.test_every = 0;
  options.checkpoint_every = 0;
  // Densified too, since that moves rows about; nothing is asked for, so the count stays.
  options.densify_from = 10, options.densify_until = 60, options.densify_every = 20;
  options.densify_gradient = 1e9, options.prune_opacity = 0;
  // Stopped before the scene is written: this is about training.
  int step = 0;
  Reconstruct(capture, work / "memory_run", options, /*resume=*/false,
              [&] { return ++step == 59; });
}

// Bytes of peak memory per Gaussian in training: the slope between two sizes of one scene.
double TrainingBytesPerGaussian(const std::string& program, const fs::path& work) {
  const auto peak = [&](int points) {
    const std::vector<std::string> command = {program, "--work", work.string(), "--memory",
                                              std::to_string(points)};
    CostOf(command, work / "memory.log");  // makes the capture
    return CostOf(command, work / "memory.log").peak_bytes;
  };
  constexpr int kFew = 100'000, kMany = 400'000;
  return (peak(kMany) - peak(kFew)) / (kMany - kFew);
}

// Time of the rasteriser's forward pass with 32 channels over that with 3, on one view.
double ChannelRatio(const fs::path& capture, const fs::path& scene) {
  const PosedImages posed = ReadPosedImages(capture);
  const GaussianModel model =
      GaussianModel::FromCloud(ReadGaussians(scene), /*with_moments=*/false, c10::kCPU);
  const PinholeView view =
      MakeView(posed.cameras[posed.images[0].camera], posed.images[0].camera_from_world);
  std::vector<Splat> splats(model.size());
  ProjectForwardCpu({model.arrays(), view, {}, splats.data()});
  TileBins bins;
  BinTilesCpu(splats.data(), model.size(), view.width_px, view.height_px, &bins);
  const auto time = [&](int channels) {
    std::vector<float> features(model.size() * channels, 0.5f);
    const size_t pixels = static_cast<size_t>(view.width_px) * view.height_px;
    std::vector<float> image(pixels * channels), transmittance(pixels);
    std::vector<int32_t> walked(MakeTileGrid(view.width_px, view.height_px).size());
    RasterizeForwardArgs args = {};
    args.width_px = view.width_px, args.height_px = view.height_px, args.channels = channels;
    args.splats = splats.data(), args.features = features.data();
    args.tile_offsets = bins.offsets.data(), args.tile_ids = bins.ids.data();
    args.image = image.data(), args.transmittance = transmittance.data();
    args.tile_walked = walked.data();
    double best = 1e9;
    for (int trial = 0; trial < 15; ++trial) {
      const double start = Now();
      RasterizeForwardCpu(args);
      best = std::min(best, Now() - start);
    }
    return best;
  };
  return time(32) / time(3);
}

int Main(int argc, char** argv) {
  std::string fox, opensplat;
  fs::path work = fs::temp_directory_path() / "athanor_benchmark";
  int iterations = 300, memory_points = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i], value = argv[i + 1];
    if (flag == "--fox") {
      fox = value;
    } else if (flag == "--opensplat") {
      opensplat = value;
    } else if (flag == "--work") {
      work = value;
    } else if (flag == "--memory") {
      memory_points = std::stoi(value);
    } else if (flag == "--iterations") {
      iterations = std::stoi(value);
    } else {
      throw Error(StrCat("unknown flag ", flag));
    }
  }
  SetLogLevel(LogLevel::kWarning);
  MakeFolder(work);
  if (memory_points > 0) {
    TrainForMemory(work, memory_points);
    return 0;
  }
  const fs::path test_list = work / "held_out.txt";
  std::printf("%d threads, first %d iterations\n\n", NumThreads(), iterations);
  std::printf("| setting | target | Athanor | OpenSplat | time ratio |\n|---|---|---|---|---|\n");

  struct Setting {
    const char* name;
    int points, width, height;
  };
  for (const Setting& s :
       {Setting{"5k, 400x300", 5000, 400, 300}, Setting{"50k, 400x300", 50'000, 400, 300},
        Setting{"50k, 800x600", 50'000, 800, 600}}) {
    const fs::path capture = work / StrCat("synthetic_", s.points, "_", s.width);
    if (!fs::exists(capture / "sparse")) {
      SyntheticSceneOptions scene;
      scene.num_images = 8;
      scene.num_points = s.points;
      scene.width_px = s.width, scene.height_px = s.height;
      WriteSyntheticCapture(capture, scene);
      fs::remove_all(capture / "depth");
    }
    WriteFile(test_list, "0004.png\n");
    const int n = std::min(iterations, 100);
    const Measured ours = RunOurs(capture, test_list, n, work / "run");
    Measured peer;
    if (!opensplat.empty()) {
      peer = RunOpenSplat(opensplat, capture, "0004.png", test_list, n, work / "peer.ply");
    }
    PrintRow(s.name, "1/10", ours, opensplat.empty() ? nullptr : &peer);
  }

  if (!fox.empty()) {
    const fs::path capture = work / "fox_pinhole";
    if (!fs::exists(capture / "sparse")) WritePinholeCapture(fox, 960, capture);
    WriteFile(test_list, "0074.png\n");
    const Measured ours = RunOurs(capture, test_list, iterations, work / "run");
    Measured peer;
    if (!opensplat.empty()) {
      peer = RunOpenSplat(opensplat, capture, "0074.png", test_list, iterations, work / "peer.ply");
    }
    const Camera camera = ReadPosedImages(capture).cameras[0];
    PrintRow(StrCat("fox, ", camera.width_px, "x", camera.height_px), "1/12", ours,
             opensplat.empty() ? nullptr : &peer);
    std::printf("\nrasteriser forward, 32 channels over 3: %.2f (target: at most 4)\n",
                ChannelRatio(capture, work / "run" / "scene.ply"));
  }
  std::printf("training memory: %.0f bytes per Gaussian (target: at most 500)\n",
              TrainingBytesPerGaussian(argv[0], work));
  return 0;
}

}  // namespace
}  // namespace athanor

int main(int argc, char** argv) {
  try {
    return athanor::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "reconstruct_benchmark: %s\n", error.what());
    return 1;
  }
}
