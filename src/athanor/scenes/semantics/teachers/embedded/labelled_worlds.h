// Pictures of simulated worlds with the truth of each pixel, as `athanor sim` writes them
// (docs/simulation.md): what the embedded teacher learns from and is scored on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "athanor/media/image.h"
#include "athanor/scenes/semantics/teachers/embedded/lexicon.h"

namespace athanor {

// Worlds of this seed and above are for training, those below for tests and scores, so that no
// score is ever of a world that was trained on.
constexpr int64_t kFirstTrainingSeed = 1000000;

struct LabelledView {
  Image rgb;                    // [H,W,3]
  std::vector<int32_t> labels;  // [H*W] into LabelledWorlds::labels(); -1 = nothing is known
};

class LabelledWorlds {
 public:
  enum class Use { kTraining, kScoring };

  // Reads the lists of all worlds: each folder is a room of `sim room`, or holds such rooms. Kinds
  // come in the order of classes.json, which must be one for all rooms.
  // Throws Error (path, what was expected) for damaged lists, for none, and for worlds whose seed
  // is not meant for that use.
  LabelledWorlds(const std::vector<std::filesystem::path>& folders, Use use);

  // A lexicon of the words of these worlds, with WordNet's where it is given.
  Lexicon MakeLexicon(const WordNet* wordnet) const;
  // Numbers labels as `lexicon` does; before ReadView. Values that it does not know become
  // kUnknown. Throws Error for a kind that it does not know.
  void UseLexicon(const Lexicon& lexicon);

  int64_t num_worlds() const { return static_cast<int64_t>(worlds_.size()); }
  int64_t num_views() const { return static_cast<int64_t>(views_.size()); }
  const std::vector<PixelLabel>& labels() const { return labels_; }

  // Thread-safe. Throws Error when the pictures are damaged or do not fit the lists.
  LabelledView ReadView(int64_t view) const;

 private:
  struct Thing {  // an object of a world
    std::string kind, color, material, pattern, size;
    std::vector<std::pair<int, std::string>> parts;  // number in part images, name
  };
  struct World {
    std::filesystem::path folder;
    std::vector<Thing> things;  // number in instance images, less 1
    // Per thing: number of the part, label.
    std::vector<std::vector<std::pair<int, int32_t>>> labels;
  };
  void ReadRoom(const std::filesystem::path& folder, Use use);

  std::vector<KindWords> kinds_;
  std::string classes_json_;
  std::vector<std::string> colors_, materials_, patterns_, sizes_;
  std::vector<World> worlds_;
  std::vector<std::pair<int32_t, std::string>> views_;  // world, stem of the files
  std::vector<PixelLabel> labels_;
};

}  // namespace athanor
