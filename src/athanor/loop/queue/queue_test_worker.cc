// A worker process of the tests: turns the bytes of jobs round until none is left.
//
//   queue_test_worker sqlite:PATH|nats:URL FOLDER LEASE_S PAUSE_MS
//
// A job's result is FOLDER/results/ID; FOLDER/acks/PID has a line for each job that it
// acknowledged.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string>
#include <thread>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/loop/queue/queue_test_util.h"

int main(int argc, char** argv) {
  using namespace athanor;
  try {
    ATHANOR_CHECK(argc == 5, "expected 4 arguments, found ", argc - 1);
    const std::filesystem::path folder = argv[2];
    WorkQueueOptions options;
    options.lease_s = std::atof(argv[3]);
    const auto queue = OpenTestQueue(argv[1], options);
    while (true) {
      const auto job = queue->Pull(0.2);
      if (!job) {
        const WorkQueueCounts counts = queue->Counts();
        if (counts.waiting + counts.leased == 0) return 0;
        continue;
      }
      const LeaseKeeper keeper(*queue, *job, options);
      std::this_thread::sleep_for(std::chrono::milliseconds(std::atoi(argv[4])));
      std::string result = job->bytes;
      std::reverse(result.begin(), result.end());
      WriteFile(folder / "results" / job->id, result);
      if (queue->Ack(*job)) {
        AppendFile(folder / "acks" / std::to_string(::getpid()), job->id + "\n");
      }
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "queue_test_worker: %s\n", error.what());
    return 1;
  }
}
