// How long rules take over a large history.
//
//   rules_benchmark [FRAMES] [FILE]   default 1000000 /tmp/rules_benchmark.sqlite, made when
//   missing
//
// Frames of 20 boxes at random: classes with the shares of nuScenes and a rare one (dog, 0.1 %),
// up to 60 m away; a fifth of the frames in rain, a tenth at night, clips of 200 frames at 10 Hz.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <string>

#include "athanor/base/error.h"
#include "athanor/base/random.h"
#include "athanor/loop/mining/rules.h"

namespace athanor {
namespace {

double Seconds() {
  using Clock = std::chrono::steady_clock;
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

const char* RandomClass(Random& random) {
  constexpr struct {
    const char* name;
    int share;  // thousandths
  } kClasses[] = {{"dog", 1},      {"car", 429},       {"pedestrian", 200}, {"barrier", 145},
                  {"cone", 80},    {"truck", 75},      {"trailer", 20},     {"bus", 15},
                  {"bicycle", 10}, {"motorcycle", 10}, {"other", 15}};
  int left = static_cast<int>(random.Below(1000));
  for (const auto& c : kClasses) {
    if (left < c.share) return c.name;
    left -= c.share;
  }
  return "other";
}

void Fill(SqliteDatabase& database, int64_t frames) {
  MakeAttributeTables(database);
  database.Execute("PRAGMA cache_size = -400000");
  AttributeWriter writer(database, true);
  Random random(1);
  FrameAttributes frame;
  for (int64_t f = 0; f < frames; ++f) {
    frame.frame = f;
    frame.clip = f / 200;
    frame.time_us = f * 100'000;
    if (f % 200 == 0) {
      frame.weather = random.Below(5) == 0 ? "rain" : "dry";
      frame.daylight = random.Below(10) == 0 ? "night" : "day";
      frame.place = "town" + std::to_string(random.Below(20));
    }
    frame.ego_speed_mps = random.Uniform(0, 20);
    frame.boxes.resize(20);
    for (BoxAttributes& box : frame.boxes) {
      box.class_name = RandomClass(random);
      box.track = random.Below(100);
      box.score = random.Uniform();
      const float distance = 60 * std::sqrt(random.Uniform()), bearing = random.Uniform(-3, 3);
      box.center_in_ego_m = {distance * std::cos(bearing), distance * std::sin(bearing), 0};
      box.size_m = {random.Uniform(1, 5), random.Uniform(0.5f, 2), random.Uniform(1, 3)};
      box.points = static_cast<int>(random.Below(200));
    }
    writer.Add(frame);
  }
  writer.Commit();
  database.Execute("PRAGMA wal_checkpoint(TRUNCATE)");
}

int Main(int64_t frames, const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) {
    const double begin = Seconds();
    SqliteDatabase database(path, SqliteDatabase::Mode::kCreate);
    Fill(database, frames);
    std::printf("filled in %.1f s\n", Seconds() - begin);
  }
  SqliteDatabase database(path, SqliteDatabase::Mode::kRead);
  std::printf("%lld frames, %lld boxes, %.2f GB\n",
              static_cast<long long>(database.QueryInteger("SELECT count(*) FROM frame_rows")),
              static_cast<long long>(database.QueryInteger("SELECT count(*) FROM box_rows")),
              static_cast<double>(std::filesystem::file_size(path)) / 1e9);
  RuleEngine engine(database, nullptr, {.seconds = 60, .hits = 10'000'000});
  const struct {
    const char* what;
    const char* sql;
  } rules[] = {
      {"a rare class nearby",
       "SELECT frame, box FROM boxes WHERE class = 'dog' AND distance_cm < 2000"},
      {"a common class very near, surely seen",
       "SELECT frame, box FROM boxes WHERE class = 'car' AND distance_cm < 500 AND score_pct > 90"},
      {"two classes",
       "SELECT frame, box FROM boxes WHERE class IN ('dog', 'bus') AND distance_cm < "
       "1000"},
      {"a frame's conditions",
       "SELECT frame FROM frames WHERE weather = 'rain' AND daylight = 'night' AND ego_speed_cmps "
       "> "
       "1500"},
      {"frames with a box",
       "SELECT frame FROM frames WHERE weather = 'rain' AND frame IN (SELECT "
       "frame FROM boxes WHERE class = 'dog' AND distance_cm < 3000)"},
      {"frames with a box, as EXISTS",
       "SELECT frame FROM frames f WHERE weather = 'rain' AND daylight = 'night' AND EXISTS "
       "(SELECT 1 "
       "FROM boxes b WHERE b.frame = f.frame AND b.class = 'pedestrian' AND b.distance_cm < 300)"},
      {"a join",
       "SELECT b.frame, b.box FROM frames f JOIN boxes b ON b.frame = f.frame WHERE "
       "f.daylight = 'night' AND b.class = 'bicycle' AND b.distance_cm < 1500"},
      {"two boxes of a frame",
       "SELECT a.frame FROM boxes a JOIN boxes b ON b.frame = a.frame WHERE a.class = 'dog' AND "
       "b.class = 'bus' AND a.distance_cm < 1500 AND b.distance_cm < 1500"},
      {"what no index holds",
       "SELECT frame, box FROM boxes WHERE length_cm > 499 AND points > 198"},
  };
  for (const auto& [what, sql] : rules) {
    // Beside the clock on the wall the processor's own, which other work on the machine does not
    // move: of all threads together.
    double seconds[2], processor_s[2];
    size_t hits = 0;
    for (int i = 0; i < 2; ++i) {
      const std::clock_t begin = std::clock();
      const RuleResult result = engine.Run({"", 0, sql});
      processor_s[i] = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
      seconds[i] = result.seconds;
      hits = result.hits.size();
    }
    std::printf("%8.3f s, again %7.3f s (processor %6.3f s)   %7zu hits   %s\n", seconds[0],
                seconds[1], processor_s[1], hits, what);
  }
  return 0;
}

}  // namespace
}  // namespace athanor

int main(int argc, char** argv) {
  try {
    return athanor::Main(argc > 1 ? std::atoll(argv[1]) : 1000000,
                         argc > 2 ? argv[2] : "/tmp/rules_benchmark.sqlite");
  } catch (const athanor::Error& error) {
    std::fprintf(stderr, "rules_benchmark: %s\n", error.what());
    return 1;
  }
}
