// The processes of the tests.
//
//   inference_test_worker worker RUN NAME
//   inference_test_worker run PLAN FOLDER WORKERS LEASE_S [NATS URL]     prints "passes N deaths N"
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "athanor/base/files.h"
#include "athanor/loop/inference/inference_run.h"
#include "athanor/loop/inference/inference_test_util.h"

int main(int argc, char** argv) {
  using namespace athanor;
  const std::string mode = argc > 1 ? argv[1] : "";
  try {
    if (mode == "worker" && argc == 4) return RunWorkerProcess(argv[2], argv[3], &OpenFakeModel);
    ATHANOR_CHECK(mode == "run" && argc >= 6, "expected worker or run");
    InferenceOptions options;
    options.workers = std::atoi(argv[4]);
    options.lease_s = std::atof(argv[5]);
    if (argc > 6) options.nats = argv[6];
    options.worker_command = [&](const std::filesystem::path& run, const std::string& name) {
      return std::vector<std::string>{argv[0], "worker", run.string(), name};
    };
    const InferenceReport report =
        RunInference(argv[3], DecodePlan(ReadFile(argv[2]), argv[2]), {}, options);
    std::printf("passes %d deaths %d\n", static_cast<int>(report.passes),
                static_cast<int>(report.deaths));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "inference_test_worker: %s\n", error.what());
    return 1;
  }
}
