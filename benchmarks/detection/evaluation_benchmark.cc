// How long the nuScenes evaluation takes on an input as large as the validation set: 6,019 samples
// in 150 scenes, 35 true boxes and 200 detections each, made at random, the detections read from
// JSON.
//
//   evaluation_benchmark [RESULTS.json]    where the made results go, and stay (default: a
//   temporary
//                                          file, which is removed)
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <string>

#include "athanor/base/hash.h"
#include "athanor/base/parallel.h"
#include "athanor/base/random.h"
#include "athanor/detection/evaluation/compare.h"
#include "athanor/detection/evaluation/nuscenes_files.h"

namespace athanor {
namespace {

constexpr int kSamples = 6019, kScenes = 150, kTruths = 35, kDetections = 200;

// Shares of the classes among the boxes of nuScenes, roughly, in thousandths.
constexpr int kShares[kNuscenesClasses] = {430, 75, 15, 20, 15, 200, 10, 10, 80, 145};

int8_t RandomClass(Random& random) {
  int left = static_cast<int>(random.Below(1000)), c = 0;
  while (c + 1 < kNuscenesClasses && left >= kShares[c]) left -= kShares[c++];
  return static_cast<int8_t>(c);
}

NuscenesBox RandomBox(Random& random, const Eigen::Vector2d& ego) {
  NuscenesBox box;
  box.class_index = RandomClass(random);
  box.translation_m = {ego.x() + random.Uniform(-50, 50), ego.y() + random.Uniform(-50, 50),
                       random.Uniform(0, 2)};
  box.size_wlh_m = {random.Uniform(0.5f, 2.5f), random.Uniform(0.5f, 6), random.Uniform(1, 3)};
  const double half_yaw = random.Uniform(-1.5f, 1.5f);
  box.rotation_wxyz = {std::cos(half_yaw), 0, 0, std::sin(half_yaw)};
  box.velocity_mps = {random.Uniform(-5, 5), random.Uniform(-5, 5)};
  box.attribute = static_cast<int8_t>(random.Below(8));
  return box;
}

// `noise_m`: how far detections lie from what they found.
void MakeInput(float noise_m, NuscenesTruth* truth, NuscenesResults* results) {
  Random random(1);
  truth->source = "truth";
  results->source = "results";
  for (int s = 0; s < kSamples; ++s) {
    NuscenesSample sample;
    sample.token = HexDigits(MixBits(static_cast<uint64_t>(s)));
    sample.scene = s * kScenes / kSamples;
    sample.ego_xy_m = {random.Uniform(0, 2000), random.Uniform(0, 2000)};
    for (int k = 0; k < kTruths; ++k) {
      sample.boxes.push_back(RandomBox(random, sample.ego_xy_m));
      sample.boxes.back().num_points = 1 + static_cast<int>(random.Below(50));
    }
    for (int k = 0; k < kDetections; ++k) {
      NuscenesBox box = RandomBox(random, sample.ego_xy_m);
      box.score = 0.5 * random.Uniform();
      if (k < kTruths) {
        const NuscenesBox& near = sample.boxes[k];
        box.class_index = near.class_index;
        box.translation_m = near.translation_m;
        for (int i = 0; i < 2; ++i) box.translation_m[i] += noise_m * random.Normal();
        box.score += 0.3;
      }
      results->boxes.push_back(box);
    }
    results->sample_tokens.push_back(sample.token);
    results->first_box.push_back(static_cast<int64_t>(results->boxes.size()));
    truth->samples.push_back(std::move(sample));
  }
}

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double ProcessorSeconds() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

template <typename F>
double Time(const char* what, F&& f) {
  const double start = Seconds(), processor = ProcessorSeconds();
  f();
  const double seconds = Seconds() - start;
  std::printf("%-44s %7.2f s  (processor %6.2f s)\n", what, seconds,
              ProcessorSeconds() - processor);
  return seconds;
}

int Main(int argc, char** argv) {
  const bool keep = argc > 1;
  const std::filesystem::path path =
      keep ? std::filesystem::path(argv[1])
           : std::filesystem::temp_directory_path() /
                 ("evaluation_benchmark_" + std::to_string(getpid()) + ".json");
  NuscenesTruth truth;
  NuscenesResults made, other;
  MakeInput(0.5f, &truth, &made);
  NuscenesTruth same;
  MakeInput(0.52f, &same, &other);
  WriteNuscenesResults(path, made);
  std::printf("%d samples, %zu detections, %.0f MB of JSON, %d threads\n", kSamples,
              made.boxes.size(), 1e-6 * static_cast<double>(std::filesystem::file_size(path)),
              NumThreads());
  made = {};
  const NuscenesConfig config;
  NuscenesResults results;
  NuscenesMatches matches;
  NuscenesMetrics metrics;
  double total = 0;
  for (int repeat = 0; repeat < 3; ++repeat) {
    double sum = Time("read the results", [&] { results = ReadNuscenesResults(path); });
    sum += Time("match", [&] { matches = MatchNuscenes(truth, results, config); });
    sum += Time("summarise", [&] {
      std::vector<NuscenesCurve> curves;
      metrics = SummarizeNuscenes(matches, config, {}, &curves);
    });
    total = repeat == 0 ? sum : std::min(total, sum);
  }
  std::printf("evaluation, best of 3: %.2f s (mAP %.4f, NDS %.4f)\n", total, metrics.mean_ap,
              metrics.nd_score);
  const NuscenesMatches of_other = MatchNuscenes(truth, other, config);
  CompareOptions options;
  options.draws = 100;
  Time("bootstrap of two detectors, 100 draws",
       [&] { CompareNuscenes(truth, matches, of_other, config, options); });
  if (!keep) std::filesystem::remove(path);
  return 0;
}

}  // namespace
}  // namespace athanor

int main(int argc, char** argv) { return athanor::Main(argc, argv); }
