// Another process of the groups of process_group_test.cc: ADDRESS WHAT.
#include <ATen/ATen.h>

#include <csignal>
#include <iostream>
#include <string>

#include "athanor/nn/process_group.h"

int main(int, char** arguments) {
  const std::string what = arguments[2];
  try {
    if (what == "never comes") throw athanor::Error("no disk");
    const auto group = athanor::ProcessGroup::Follow(arguments[1]);
    if (what == "is killed") raise(SIGKILL);
    if (what == "gives up") throw athanor::Error("out of memory");
    const at::Tensor values = at::arange(1000).div(3.0f).pow(1.5 * group->rank());
    group->Sum(values);
    const at::Tensor shared = at::zeros({3}, at::kDouble);
    group->Share(shared);
    group->Tell("");
    for (int rank = 0; rank < group->size(); ++rank) {
      group->Tell("I am " + std::to_string(group->rank()), rank);
    }
    // What this process holds now, for the leader to compare.
    group->Tell(std::string(static_cast<const char*>(values.data_ptr()), values.nbytes()),
                group->size() - 1);
    group->Tell(std::to_string(shared.sum().item<double>()), group->size() - 1);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
