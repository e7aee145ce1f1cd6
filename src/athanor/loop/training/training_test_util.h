// A trainable for tests that misbehaves on demand, and configurations.
#pragma once

#include <chrono>
#include <cstdlib>
#include <memory>
#include <sstream>
#include <string>
#include <thread>

#include "athanor/base/error.h"
#include "athanor/loop/training/stream_problem.h"
#include "athanor/loop/training/toml_section.h"

namespace athanor {

// The small problem. What it does at the step of a member is in the environment, which worker
// processes inherit: words of ATHANOR_TRAINING_TEST
//   nan=ID crash=ID hang=ID     the member of this id diverges, takes its process along, never ends
//   pause_ms=N                  each step takes so much longer
class UnreliableProblem : public StreamProblem {
 public:
  using StreamProblem::StreamProblem;

  TrainReport Train(const TrainRequest& request, const std::filesystem::path& checkpoint) override {
    const std::string id = std::to_string(std::atoi(checkpoint.filename().c_str()));
    const char* behaviour = std::getenv("ATHANOR_TRAINING_TEST");
    std::istringstream words(behaviour == nullptr ? "" : behaviour);
    for (std::string word; words >> word;) {
      if (word == "nan=" + id) throw MemberFailure("the loss is not finite");
      if (word == "crash=" + id) std::abort();
      while (word == "hang=" + id) std::this_thread::sleep_for(std::chrono::seconds(1));
      if (word.starts_with("pause_ms=")) {
        std::this_thread::sleep_for(std::chrono::milliseconds(std::atoi(word.c_str() + 9)));
      }
    }
    return StreamProblem::Train(request, checkpoint);
  }
};

inline std::unique_ptr<Trainable> OpenUnreliable(const std::string&, std::string_view toml,
                                                 std::string_view name) {
  StreamProblemOptions options;
  Describe(options).ParseToml(TomlSection(toml, name, "stream"), name);
  return std::make_unique<UnreliableProblem>(options);
}

// Steps of a few milliseconds. `root`: lines before the tables.
inline std::string SmallPopulation(const std::string& root) {
  return root + R"(
updates = 20
population = 4
lease = 1
[space]
rate = { low = 0.003, high = 0.3, scale = "log" }
rare-weight = { low = 1, high = 20, scale = "log" }
hidden = { low = 2, high = 24, scale = "log", integer = true, fixed = true }
[stream]
samples = 300
tests = 200
)";
}

}  // namespace athanor
