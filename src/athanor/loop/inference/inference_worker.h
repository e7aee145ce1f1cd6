// One worker of an inference: takes shards from a queue and fills their cells, frame by frame.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "athanor/loop/inference/inference_plan.h"
#include "athanor/loop/queue/work_queue.h"

namespace athanor {

// One forward pass. Workers append them to a file as they are done: what a run is measured by.
struct PassRecord {
  int32_t model = 0, clip = 0, frame = 0;       // indices into the plan; of the clip
  float read_s = 0, wait_s = 0, forward_s = 0;  // reading, the network's wait for it, the pass
};
// Whole records of a file; none when it is missing.
std::vector<PassRecord> ReadPasses(const std::filesystem::path& path);

// A frame at which so many workers died or hung is recorded as failed. (Workers that are killed
// from outside do not count.)
inline constexpr int kDeathsOfFrame = 2;

struct WorkerOptions {
  WorkQueueOptions queue;
  // Unique among all workers: names their files.
  std::string name;
  std::filesystem::path passes;  // where passes are recorded; empty: nowhere
  // The process is the worker's own: a frame that takes longer than the lease or a crash leaves a
  // note, and ends the process.
  bool owns_process = false;
  int read_ahead = 2;  // frames that are read while another is computed; 0: none
};

// Works until the queue is empty. The lease is extended after each frame only: a model that hangs
// loses it. A frame for which the model, or the reading of its data, throws, and one whose output
// is not whole, is recorded as failed, with the reason. Throws Error for what is no frame's fault:
// a full disk, a model that cannot be opened, a queue that is gone.
void RunInferenceWorker(const InferencePlan& plan, WorkQueue& queue, const ModelOpener& open,
                        const WorkerOptions& options);

}  // namespace athanor
