// Pictures of simulated worlds with the truth of each pixel, as `athanor sim` writes them
// (docs/simulation.md): what the embedded teacher learns from and is scored on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
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

  // Reads the lists of all worlds: each folder is a room of `sim room`, holds such rooms, or is a
  // data set of `sim street --truth`. Kinds come in the order of classes.json, those of rooms
  // before those of streets where rooms come first; a kind of both is one.
  // `calls`: kinds by another name, which then is their only one (dog=animal); two kinds may become
  // one. Pixels of a kind without a name say nothing.
  // Throws Error (path, what was expected) for damaged lists, for none, for worlds whose seed is
  // not meant for that use, and for a kind of `calls` that there is none of.
  LabelledWorlds(const std::vector<std::filesystem::path>& folders, Use use,
                 std::map<std::string, std::string> calls = {});

  // A lexicon of the words of these worlds, with WordNet's where it is given.
  Lexicon MakeLexicon(const WordNet* wordnet) const;
  // Numbers labels as `lexicon` does; before ReadView. Values that it does not know become
  // kUnknown. Throws Error for a kind that it does not know.
  void UseLexicon(const Lexicon& lexicon);

  // "rooms", "streets" or "rooms and streets".
  std::string Sort() const;
  int64_t num_worlds() const { return static_cast<int64_t>(worlds_.size()); }
  int64_t num_views() const { return static_cast<int64_t>(views_.size()); }
  const std::vector<PixelLabel>& labels() const { return labels_; }
  // 16 hexadecimal digits of the lists of all worlds and the names of their pictures, in order,
  // wherever the folders lie: training draws the same from worlds of the same digits.
  std::string Fingerprint() const;

  // Thread-safe. Throws Error when the pictures are damaged or do not fit the lists.
  LabelledView ReadView(int64_t view) const;

 private:
  struct Part {
    int number = 0;  // in part images
    std::string name, kind;
  };
  struct Thing {  // an object of a world
    std::string kind, color, material, size;
    std::optional<std::string> pattern;  // "" is plain
    std::vector<Part> parts;
  };
  struct World {
    std::filesystem::path list;      // the file that names its things
    std::map<int, size_t> thing_of;  // number in instance images to thing
    std::vector<Thing> things;
    // Per thing: number of the part, label.
    std::vector<std::vector<std::pair<int, int32_t>>> labels;
  };
  struct View {
    int32_t world = 0;
    std::filesystem::path picture, instance, part;
  };
  void ReadRoom(const std::filesystem::path& folder, Use use);
  void ReadStreets(const std::filesystem::path& folder, Use use);
  void ReadClasses(const std::filesystem::path& path);
  void ReadWorld(const std::filesystem::path& list, const char* about, Use use);
  KindWords* KindNamed(const std::string& name);
  std::string CallOf(const std::string& kind) const;

  std::vector<KindWords> kinds_;
  std::map<std::string, std::string> calls_;
  std::set<std::string> called_;                     // those of `calls_` that there are
  std::map<std::string, std::string> classes_read_;  // sort of worlds to the text of classes.json
  std::vector<std::string> colors_, materials_, patterns_, sizes_;
  std::vector<World> worlds_;
  std::vector<View> views_;
  std::vector<PixelLabel> labels_;
};

}  // namespace athanor
