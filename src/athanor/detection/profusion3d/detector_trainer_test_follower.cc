// Another process of the trainings of tests: ADDRESS [FILE]. While there is no FILE, it makes one
// and dies in the middle of the training.
#include <csignal>
#include <filesystem>
#include <iostream>

#include "athanor/base/files.h"
#include "athanor/detection/profusion3d/detector_trainer.h"

int main(int argc, char** arguments) {
  try {
    const auto group = athanor::ProcessGroup::Follow(arguments[1]);
    if (argc > 2 && !std::filesystem::exists(arguments[2])) {
      athanor::WriteFile(arguments[2], "");
      group->Tell("");
      std::raise(SIGKILL);
    }
    athanor::FollowTraining(*group);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
