// The processes of the tests.
//
//   training_test_worker worker SESSION NAME
//   training_test_worker run CONFIG.toml RUN WORKERS [NATS URL]     prints "steps N deaths N"
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "athanor/base/files.h"
#include "athanor/loop/training/population_run.h"
#include "athanor/loop/training/training_test_util.h"

int main(int argc, char** argv) {
  using namespace athanor;
  const std::string mode = argc > 1 ? argv[1] : "";
  try {
    if (mode == "worker" && argc == 4) {
      return RunPopulationWorker(argv[2], argv[3], &OpenUnreliable);
    }
    ATHANOR_CHECK(mode == "run" && argc >= 5, "expected worker or run");
    PopulationRunOptions options;
    options.open = &OpenUnreliable;
    options.workers = std::atoi(argv[4]);
    if (argc > 5) options.nats = argv[5];
    options.worker_command = [&](const std::filesystem::path& session, const std::string& name) {
      return std::vector<std::string>{argv[0], "worker", session.string(), name};
    };
    const PopulationReport report =
        RunPopulation(argv[3], ParsePopulationConfig(ReadFile(argv[2]), argv[2]), options);
    std::printf("steps %d deaths %d\n", static_cast<int>(report.steps),
                static_cast<int>(report.deaths));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "training_test_worker: %s\n", error.what());
    return 1;
  }
}
