// Which registry of models a command means, and models by their names.
#pragma once

#include <filesystem>
#include <string>

namespace athanor {

inline constexpr const char* kRegistryHelp =
    "folder of the registry of models (default: $ATHANOR_REGISTRY, else registry)";

// The folder that was given, else the default.
std::filesystem::path RegistryFolder(const std::filesystem::path& given);

struct FoundModel {
  std::string name;
  std::filesystem::path weights;
};
// A model of the registry (there need be none), one that comes with the program ("tiny", "words"),
// the card of a teacher, or a file of weights. Throws Error that says what was looked for.
FoundModel FindModelFile(const std::filesystem::path& registry, const std::string& model);

}  // namespace athanor
