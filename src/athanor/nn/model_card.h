// Model cards: what a network of others is, where it comes from and how it wants to be fed. A TOML
// file of models/cards/ each, or one of the user's own.
#pragma once

#include <array>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace athanor {

struct ModelFile {
  std::string role;    // "network", "encoder", "vocabulary" ...: what the code asks for
  std::string name;    // as it lies in the models folder
  std::string url;     // empty: made by an export that the card describes
  std::string sha256;  // empty: unknown, pinned when the file is first fetched
};

// How pixels become an input tensor: (value - mean) / std, of 0..255 values.
struct ModelInput {
  int width_px = 0, height_px = 0;  // 0: any
  std::string layout = "nchw";      // "nchw", "nhwc" or "hwc"
  std::array<float, 3> mean = {0, 0, 0}, std = {1, 1, 1};
  bool bgr = false;  // blue first
};

struct ModelCard {
  std::filesystem::path path;
  // "pixel", "closed-vocabulary", "clip", "detector", "sam", "names": docs/teachers.md.
  std::string name, kind, summary, license, source, notes;
  std::string text_space;  // empty: words mean nothing to it
  ModelInput input;
  std::vector<ModelFile> files;
  std::map<std::string, std::string> ports;    // what we call an input or output: its name there
  std::map<std::string, double> numbers;       // settings of its kind
  std::map<std::string, std::string> parts;    // other cards that it needs: "masks" = "mobile-sam"
  std::vector<std::string> labels;             // classes, in the order of the network
  std::map<std::string, std::string> phrases;  // another phrase for a label or a word

  // Throw Error naming the card when there is none.
  const ModelFile& File(const std::string& role) const;
  const std::string& Port(const std::string& ours) const;
  double Number(const std::string& key, double otherwise) const;
};

// Throws Error (file, line or key, expectation).
ModelCard ReadModelCard(const std::filesystem::path& path);

// Where the cards of this installation lie: $ATHANOR_CARDS, beside the program, or in the sources.
// Throws Error when there are none.
std::filesystem::path CardsFolder();
// All cards there, by name.
std::vector<ModelCard> ListModelCards();
// A name among them, or the path of a .toml file. Throws Error listing the names.
ModelCard FindModelCard(const std::string& name_or_path);

}  // namespace athanor
