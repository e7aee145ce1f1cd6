// Loops over several cores. Every parallel loop of the project runs through here, on one pool.
#pragma once

#include <cstdint>
#include <functional>

namespace athanor {

// Number of threads that the loops below use. Default: all cores (or OMP_NUM_THREADS).
int NumThreads();
// n >= 1, or 0 for the default. Not to be called inside a loop.
void SetNumThreads(int n);

// Calls body(chunk) for every chunk in [0, chunks), in any order, each once. Threads take chunks as
// they become free. An exception thrown by the body is rethrown here.
void ParallelChunks(int64_t chunks, const std::function<void(int64_t chunk)>& body);

// Calls body(begin, end) on consecutive pieces of [0, n), each `grain` long but the last. The
// pieces depend on `grain` alone, never on the number of threads.
void ParallelFor(int64_t n, int64_t grain,
                 const std::function<void(int64_t begin, int64_t end)>& body);

// Calls body(thread, threads) once on each of NumThreads() threads (fewer, when nested).
void ParallelThreads(const std::function<void(int thread, int threads)>& body);

}  // namespace athanor
