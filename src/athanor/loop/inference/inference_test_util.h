// A model for tests, cheap and deterministic, that misbehaves on demand.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <thread>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/hash.h"
#include "athanor/base/random.h"
#include "athanor/loop/inference/frame_model.h"

namespace athanor {

// Its behaviour is in its file of weights, "NAME=VALUE" in lines:
//   calls=FILE       a line is added for each forward pass: "LOG FRAME"
//   pause_ms=N       a pass takes so long
//   throw=F nan=F read=F    the frame of each log at which it fails; say=TEXT what it says then
//   crash=F hang=F read_crash=F   the frame of the log scene-0001 at which it takes its process
//   along
class FakeModel : public FrameModel {
 public:
  explicit FakeModel(const ModelSpec& spec) : salt_(HashBytes(spec.Key())) {
    std::istringstream words(ReadFile(spec.weights));
    for (std::string word; std::getline(words, word);) {
      const size_t middle = word.find('=');
      behaviour_[word.substr(0, middle)] = word.substr(middle + 1);
    }
    ATHANOR_CHECK(!behaviour_.contains("broken"), spec.weights.string(), ": broken weights");
  }

  int frame_dimension() const override { return 8; }
  int object_dimension() const override { return 4; }

  std::unique_ptr<FrameInput> Read(const Log& log, int frame) const override {
    if (Is("read", frame)) throw Error("a torn sweep");
    if (log.name == "scene-0001" && Is("read_crash", frame)) std::abort();
    auto input = std::make_unique<Input>();
    input->log = log.name;
    input->frame = frame;
    std::string bytes = StrCat(log.name, frame);
    for (const int reading : log.frames[frame].readings) bytes += ReadPayload(log, reading);
    input->seed = HashBytes(bytes, salt_);
    return input;
  }

  FrameOutput Forward(const FrameInput& input) override {
    const auto& in = static_cast<const Input&>(input);
    if (behaviour_.contains("calls")) {
      AppendFile(behaviour_["calls"], StrCat(in.log, " ", in.frame, "\n"));
    }
    if (behaviour_.contains("pause_ms")) {
      std::this_thread::sleep_for(
          std::chrono::milliseconds(std::atoi(behaviour_["pause_ms"].c_str())));
    }
    if (Is("throw", in.frame)) {
      throw Error(behaviour_.contains("say") ? behaviour_["say"]
                                             : "the model does not like it\nat all");
    }
    if (in.log == "scene-0001" && Is("crash", in.frame)) std::abort();
    if (in.log == "scene-0001" && Is("hang", in.frame)) {
      while (true) std::this_thread::sleep_for(std::chrono::seconds(1));
    }
    FrameOutput output;
    Random random(in.seed);
    for (int i = 0; i < frame_dimension(); ++i) output.vector.push_back(random.Normal());
    if (Is("nan", in.frame)) output.vector[3] = NAN;
    for (uint32_t k = 0; k < 1 + in.seed % 3; ++k) {
      FoundObject object;
      object.class_index = static_cast<int>(random.Below(10));
      object.score = random.Uniform();
      object.box = {random.Uniform(-20, 20), random.Uniform(-20, 20), 0, 4, 2, 1.5f, 0.3f, 1, 0};
      output.objects.push_back(object);
      for (int i = 0; i < object_dimension(); ++i) {
        output.object_vectors.push_back(random.Normal());
      }
    }
    return output;
  }

 private:
  struct Input : FrameInput {
    std::string log;
    int frame = 0;
    uint64_t seed = 0;
  };
  bool Is(const std::string& what, int frame) const {
    const auto found = behaviour_.find(what);
    return found != behaviour_.end() && std::atoi(found->second.c_str()) == frame;
  }

  const uint64_t salt_;
  std::map<std::string, std::string> behaviour_;
};

inline std::unique_ptr<FrameModel> OpenFakeModel(const ModelSpec& spec) {
  return std::make_unique<FakeModel>(spec);
}

// The same model (of the same key) whatever its behaviour.
inline ModelSpec FakeSpec(const std::filesystem::path& folder, const std::string& name,
                          const std::string& behaviour) {
  WriteFile(folder / name, behaviour);
  return {name, "fake", folder / name, "0123", {{"salt", name}}, true};
}

// All that a table promises to be the same, by path.
inline std::map<std::string, std::string> TableBytes(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const std::string path = entry.path().lexically_relative(folder).string();
    if (entry.is_regular_file() && !path.starts_with("work")) files[path] = ReadFile(entry.path());
  }
  return files;
}

}  // namespace athanor
