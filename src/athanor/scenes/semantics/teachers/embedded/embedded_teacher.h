// The embedded teacher: a small network of our own for the things of rooms and streets, and the
// text encoder of its space. Trained by `athanor semantic train-teacher`
// (docs/teachers_embedded.md); nothing is downloaded.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "athanor/nn/safetensors.h"
#include "athanor/scenes/semantics/teachers/embedded/network.h"
#include "athanor/scenes/semantics/teachers/embedded/words.h"
#include "athanor/scenes/semantics/teachers/teacher.h"

namespace athanor {

struct EmbeddedOptions {
  // Before the network sees them, pictures are brought to the area of one of 4:3 with this longer
  // side; one vector per 4 x 4 pixels comes out. Things look best when they are as large as in
  // training, whose crops show rooms of 480 pixels and streets of 704 at 0.5 to 1.3 of their size.
  int side_px = 384;
};

class EmbeddedTeacher : public Teacher {
 public:
  std::string key() const override;
  int dimension() const override { return shape_.dimension; }
  std::string text_space() const override { return space_; }
  ViewFeatures Describe(const Image& rgb, const std::string& name) override;

 private:
  friend class EmbeddedText;
  friend struct EmbeddedPair;
  EmbeddedTeacher(const SafeTensors& file, std::string_view where, std::string space,
                  const EmbeddedOptions& options);
  EmbeddedNetworkShape shape_;
  std::string space_;
  EmbeddedOptions options_;
  ImageNetwork network_;
};

class EmbeddedText : public TextEncoder {
 public:
  std::string space() const override { return space_; }
  int dimension() const override { return shape_.dimension; }
  // A noun that is not known is read as the nearest thing that it is a kind of by WordNet, where
  // that is installed ("dog" as "animal"), five steps up at most. Other words that are not known
  // are left out, with a warning that names them. Throws Error, naming the nearest known words, for
  // a prompt of which no word is known.
  at::Tensor Encode(std::span<const std::string> prompts) override;
  // The prompt with what its nouns were read as; empty when they were read as they are.
  std::string Explain(const std::string& prompt) const override;

  const Vocabulary& vocabulary() const { return vocabulary_; }
  // Of a prompt, those that Encode would leave out.
  std::vector<std::string> UnknownWords(std::string_view prompt) const;

 private:
  friend struct EmbeddedPair;
  EmbeddedText(const SafeTensors& file, std::string_view where, std::string space);
  // The prompt's words, unknown nouns replaced.
  std::string Read(const std::string& prompt) const;
  EmbeddedNetworkShape shape_;
  std::string space_;
  Vocabulary vocabulary_;
  TextNetwork network_;
};

struct EmbeddedPair {
  std::unique_ptr<EmbeddedTeacher> teacher;
  std::unique_ptr<EmbeddedText> text;

  // From a file's content; `where` is what messages call it. The space is named by the content.
  static EmbeddedPair FromTensors(const SafeTensors& file, std::string_view where,
                                  const EmbeddedOptions& options = {});
};

// Reads a file that train-teacher wrote. Throws Error (path, expectation) for another one.
EmbeddedPair OpenEmbedded(const std::filesystem::path& path, const EmbeddedOptions& options = {});

// The weights of the name "embedded": teacher.safetensors in the folder $ATHANOR_MODELS/
// athanor-words, else in share/athanor/models/ of the installation that this program belongs to,
// else in the source tree it was built from. Throws Error that lists the places when there is none.
std::filesystem::path FindEmbeddedModel();

// What the file says of itself: writes shape and vocabulary into its metadata, and back.
void DescribeEmbedded(const EmbeddedNetworkShape& shape, const Vocabulary& vocabulary,
                      SafeTensors* file);
EmbeddedNetworkShape ReadEmbeddedShape(const SafeTensors& file, std::string_view where);
Vocabulary ReadEmbeddedVocabulary(const SafeTensors& file, std::string_view where);

}  // namespace athanor
