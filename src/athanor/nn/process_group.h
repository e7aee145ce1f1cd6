// Processes that train one network together, each on its part of every batch (data parallelism):
// c10d of libtorch, over Gloo. On one machine, or on several that reach each other.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "athanor/base/error.h"

namespace athanor {

// A process of the group has ended, or cannot be reached any more.
class GroupLost : public Error {
 public:
  using Error::Error;
};

// The words of a command that starts one more process, which is to call ProcessGroup::Follow().
using FollowerCommand = std::function<std::vector<std::string>(const std::string& address)>;

struct ProcessGroupOptions {
  int processes = 2;          // with the leader
  FollowerCommand follower;   // starts the others, on this machine; none: they come by themselves
  std::filesystem::path log;  // what those print is added to it
  int port = 0;               // where the leader waits for the others; 0: any, on this machine only
  double wait_s = 600;        // for all to be there
};

// All processes of a group make the same calls in the same order. Every call throws GroupLost.
class ProcessGroup {
 public:
  // Returns when all processes are there. Throws Error, also where libtorch came without Gloo.
  static std::unique_ptr<ProcessGroup> Lead(const ProcessGroupOptions& options);
  // `address` is HOST:PORT of the leader. GLOO_SOCKET_IFNAME chooses the network, as for PyTorch.
  static std::unique_ptr<ProcessGroup> Follow(const std::string& address);
  // Waits for the followers that it has started: they end with the group.
  ~ProcessGroup();
  ProcessGroup(const ProcessGroup&) = delete;
  ProcessGroup& operator=(const ProcessGroup&) = delete;

  int rank() const;  // the leader's is 0
  int size() const;

  // Values become their sums over all processes: the same bits in each. Contiguous, on the CPU.
  void Sum(at::Tensor values);
  // The leader's values, in all.
  void Share(at::Tensor values);
  // What the process of this rank says, in all.
  std::string Tell(const std::string& text, int rank = 0);

 private:
  struct Impl;
  explicit ProcessGroup(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace athanor
