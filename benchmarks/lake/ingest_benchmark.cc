// What a lake takes on one core: a clip of 200 payloads of 1 MB each, from memory and into memory
// (/dev/shm), so that neither disk counts; the checksum and the hash alone; and a plain copy of the
// same bytes, file by file, which is the limit.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>

#include "athanor/base/files.h"
#include "athanor/base/random.h"
#include "athanor/base/sha256.h"
#include "athanor/lake/crc32c.h"
#include "athanor/lake/lake.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr int kPayloads = 200;
constexpr size_t kBytes = 1'000'000;

std::string MakeBytes(uint64_t seed) {
  std::string bytes(kBytes, '\0');
  for (size_t i = 0; i + 8 <= bytes.size(); i += 8) {
    const uint64_t word = MixBits(seed * kBytes + i);
    std::memcpy(bytes.data() + i, &word, 8);
  }
  return bytes;
}

class Folder {
 public:
  Folder() {
    ATHANOR_CHECK(::mkdtemp(path_.data()) != nullptr, path_, ": cannot make");
    log_.source = path_;
    log_.name = "clip";
    log_.sensors = {{"LIDAR_TOP", SensorKind::kLidar, {}, {}}};
    for (int i = 0; i < kPayloads; ++i) {
      LogReading reading;
      reading.time_us = i;
      reading.path = fs::path(path_) / StrCat(i, ".dat");
      WriteFile(reading.path, MakeBytes(i));
      log_.readings.push_back(reading);
    }
  }
  ~Folder() { fs::remove_all(path_); }
  fs::path path() const { return path_; }
  const Log& log() const { return log_; }

 private:
  std::string path_ = "/dev/shm/athanor ingest XXXXXX";
  Log log_;
};

void BM_Ingest(benchmark::State& state) {
  const Folder folder;
  for (auto _ : state) {
    state.PauseTiming();
    fs::remove_all(folder.path() / "lake");
    auto lake = std::make_unique<Lake>(folder.path() / "lake", Lake::Mode::kCreate);
    state.ResumeTiming();
    lake->Ingest(folder.log());
    state.PauseTiming();
    lake.reset();
    state.ResumeTiming();
  }
  state.SetBytesProcessed(state.iterations() * kPayloads * kBytes);
}
BENCHMARK(BM_Ingest)->Unit(benchmark::kMillisecond)->UseRealTime();

// Without checks, names or catalog.
void BM_CopyFiles(benchmark::State& state) {
  const Folder folder;
  std::string bytes;
  for (auto _ : state) {
    for (const LogReading& reading : folder.log().readings) {
      ReadFile(reading.path, &bytes);
      fs::path copy = reading.path;
      copy += ".copy";
      WriteFile(copy, bytes);
    }
    state.PauseTiming();
    for (const LogReading& reading : folder.log().readings) {
      fs::path copy = reading.path;
      copy += ".copy";
      fs::remove(copy);
    }
    state.ResumeTiming();
  }
  state.SetBytesProcessed(state.iterations() * kPayloads * kBytes);
}
BENCHMARK(BM_CopyFiles)->Unit(benchmark::kMillisecond)->UseRealTime();

void BM_Read(benchmark::State& state) {
  const Folder folder;
  Lake lake(folder.path() / "lake", Lake::Mode::kCreate);
  const Log log = lake.Read(lake.Ingest(folder.log()).id);
  for (auto _ : state) {
    for (const LogReading& reading : log.readings) {
      benchmark::DoNotOptimize(ReadPayload(log, reading));
    }
  }
  state.SetBytesProcessed(state.iterations() * kPayloads * kBytes);
}
BENCHMARK(BM_Read)->Unit(benchmark::kMillisecond)->UseRealTime();

void BM_Crc32c(benchmark::State& state) {
  const std::string bytes = MakeBytes(1);
  for (auto _ : state) benchmark::DoNotOptimize(Crc32c(bytes));
  state.SetBytesProcessed(state.iterations() * kBytes);
  state.SetLabel(std::string(Crc32cMethod()));
}
BENCHMARK(BM_Crc32c);

void BM_Crc32cTable(benchmark::State& state) {
  const std::string bytes = MakeBytes(1);
  for (auto _ : state) benchmark::DoNotOptimize(internal::Crc32cTable(bytes));
  state.SetBytesProcessed(state.iterations() * kBytes);
}
BENCHMARK(BM_Crc32cTable);

void BM_Sha256(benchmark::State& state) {
  const std::string bytes = MakeBytes(1);
  for (auto _ : state) benchmark::DoNotOptimize(Sha256Of(bytes));
  state.SetBytesProcessed(state.iterations() * kBytes);
}
BENCHMARK(BM_Sha256);

}  // namespace
}  // namespace athanor

BENCHMARK_MAIN();
