// Loops over several cores. Every parallel loop of the project runs through here, on one pool.
#pragma once

#include <cstdint>
#include <functional>

namespace athanor {

// Number of threads that loops begun by the calling thread use. Default: OMP_NUM_THREADS, else all
// cores.
int NumThreads();
// For the calling thread. n >= 1, or 0 for the default. Not to be called inside a loop.
void SetNumThreads(int n);

// Calls body(chunk) for every chunk in [0, chunks), in any order, each once. Threads take chunks as
// they become free. An exception thrown by the body is rethrown here; the other chunks may or may
// not have run. A loop inside a loop runs on its own thread.
void ParallelChunks(int64_t chunks, const std::function<void(int64_t chunk)>& body);

// Calls body(begin, end) on consecutive pieces of [0, n), each `grain` long but the last. The
// pieces depend on `grain` alone, never on the number of threads.
void ParallelFor(int64_t n, int64_t grain,
                 const std::function<void(int64_t begin, int64_t end)>& body);

}  // namespace athanor
