#include "athanor/scenes/semantics/teachers/name_table.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"
#include "athanor/scenes/semantics/teachers/open_teacher.h"
#include "athanor/scenes/semantics/teachers/purpose.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string Npy(const at::Tensor& rows) {
  std::string header = StrCat("{'descr': '<f4', 'fortran_order': False, 'shape': (", rows.size(0),
                              ", ", rows.size(1), "), }");
  header.append(64 - (10 + header.size() + 1) % 64, ' ');
  header += '\n';
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(header.size() & 255);
  bytes += static_cast<char>(header.size() >> 8);
  bytes += header;
  return bytes.append(static_cast<const char*>(rows.data_ptr()), rows.nbytes());
}

// A table of unit vectors along the axes, one for each name.
class SmallTable {
 public:
  SmallTable() : folder_(TestFolder("small_table")) {
    WriteFile(folder_ / "v.npy", Npy(at::eye(6) * 3));
    WriteFile(folder_ / "n.txt", "Tree\nbus_(vehicle)\nCabinet/shelf\nmouse\ntraffic cone\ndog\n");
    WriteFile(folder_ / "small.toml", R"(
kind = "names"
summary = "six names"
license = "none"
text_space = "axes"
[[file]]
role = "vectors:a"
name = "v.npy"
[[file]]
role = "names:a"
name = "n.txt"
[phrases]
road = "bus + traffic cone"
)");
  }
  NameTable Open(const WordNet* wordnet = nullptr) const {
    return NameTable(ReadModelCard(folder_ / "small.toml"), {folder_}, wordnet);
  }
  const fs::path& folder() const { return folder_; }

 private:
  fs::path folder_;
};

at::Tensor Encode(NameTable& table, const std::string& prompt) {
  return table.Encode(std::vector<std::string>{prompt})[0];
}

TEST(NameTableTest, FindsNamesHoweverTheyAreWritten) {
  const SmallTable small;
  NameTable table = small.Open();
  EXPECT_EQ(table.space(), "axes");
  EXPECT_EQ(table.dimension(), 6);
  const at::Tensor axes = at::eye(6);
  for (const auto& [prompt, row] :
       std::vector<std::pair<std::string, int>>{{"tree", 0},
                                                {"  A photo of THE trees. ", 0},
                                                {"buses", 1},
                                                {"bus (vehicle)", 1},
                                                {"cabinets", 2},
                                                {"shelf", 2},
                                                {"shelves", 2},
                                                {"traffic_cones", 4}}) {
    EXPECT_TRUE(at::equal(Encode(table, prompt), axes[row])) << prompt;
  }
  // A phrase of the card, and a mean of the words that are known.
  EXPECT_TRUE(at::allclose(Encode(table, "the road"), (axes[1] + axes[4]) / std::sqrt(2.0)));
  EXPECT_TRUE(
      at::allclose(Encode(table, "a dog under the tree"), (axes[5] + axes[0]) / std::sqrt(2.0)));
  EXPECT_EQ(table.Explain("a dog on the road"), "dog + bus + traffic cone");
}

TEST(NameTableTest, SaysWhatItDoesNotKnow) {
  const SmallTable small;
  NameTable table = small.Open();
  EXPECT_THAT(ErrorOf([&] { Encode(table, "something to walk on"); }),
              AllOf(StartsWith("prompt 'something to walk on': none of its words is among the "),
                    HasSubstr("CLIP")));
  EXPECT_THAT(ErrorOf([&] { Encode(table, "  . "); }), HasSubstr("an empty prompt"));
  EXPECT_THAT(ErrorOf([&] { Encode(table, std::string(5000, 'x')); }), HasSubstr("5000 bytes"));
  EXPECT_EQ(table.Encode({}).sizes(), (std::vector<int64_t>{0, 6}));

  WriteFile(small.folder() / "n.txt", "Tree\nbus\n");
  EXPECT_THAT(ErrorOf([&] { small.Open(); }), HasSubstr("n.txt: 2 names for 6 vectors"));
  WriteFile(small.folder() / "v.npy", Npy(at::full({6, 6}, NAN)));
  EXPECT_THAT(ErrorOf([&] { small.Open(); }), HasSubstr("v.npy: holds NaN"));
  const std::string whole = Npy(at::eye(6));
  for (size_t size = 0; size < whole.size(); size += 7) {
    WriteFile(small.folder() / "v.npy", whole.substr(0, size));
    EXPECT_THAT(ErrorOf([&] { small.Open(); }), HasSubstr("v.npy: ")) << size;
  }
}

TEST(NameTableTest, WordNetKnowsOtherWordsAndKinds) {
  if (WordNet::Installed() == nullptr) GTEST_SKIP() << "needs wordnet-base";
  const SmallTable small;
  NameTable table = small.Open(WordNet::Installed());
  const at::Tensor axes = at::eye(6);
  EXPECT_TRUE(at::equal(Encode(table, "mice"), axes[3]));      // irregular
  EXPECT_TRUE(at::equal(Encode(table, "motorbus"), axes[1]));  // same sense
  EXPECT_TRUE(at::equal(Encode(table, "poodle"), axes[5]));    // is a dog
  EXPECT_THAT(ErrorOf([&] { Encode(table, "theorem"); }), HasSubstr("none of its words"));
}

TEST(PurposeTest, ReadsPromptsAndDefinitions) {
  for (const char* prompt :
       {"something to sit on", "everything one can sit on", "what is for sitting",
        "things that you can sit on", "anything used for sitting"}) {
    const auto purpose = ReadPurpose(prompt);
    ASSERT_TRUE(purpose.has_value()) << prompt;
    EXPECT_TRUE(Serves("furniture that is designed for sitting on", *purpose)) << prompt;
    EXPECT_TRUE(Serves("any support where you can sit (a chair, say)", *purpose)) << prompt;
    EXPECT_FALSE(Serves("a salon is an elegant sitting room", *purpose)) << prompt;
    EXPECT_FALSE(Serves("the site of a city", *purpose)) << prompt;
  }
  EXPECT_TRUE(Serves("an implement for writing", *ReadPurpose("something to write with")));
  for (const char* prompt :
       {"a chair", "something", "something to", "something red", "to sit on"}) {
    EXPECT_FALSE(ReadPurpose(prompt).has_value()) << prompt;
  }
}

TEST(NameTableTest, RealTablesKeepNeighboursTogether) {
  ATHANOR_SKIP_WITHOUT("clip_text_space/detic");
  const ModelStore store{TestFolder("real_table")};
  FetchModel(FindModelCard("clip-vit-b-32-names"), store, SharedData("clip_text_space"));
  const auto table = OpenTextEncoder("clip-vit-b-32", store);
  EXPECT_EQ(table->dimension(), 512);
  const std::vector<std::string> prompts = {"cat", "dog", "kitten", "fire truck"};
  const at::Tensor vectors = table->Encode(prompts);
  const at::Tensor cosines = at::matmul(vectors, vectors.t());
  EXPECT_GT(cosines[0][1].item<float>(), cosines[0][3].item<float>());
  EXPECT_GT(cosines[0][2].item<float>(), cosines[1][2].item<float>());
  if (WordNet::Installed() == nullptr) return;
  const std::vector<std::string> uses = {"something to sit on", "something to walk on", "chair",
                                         "sidewalk", "car"};
  const at::Tensor used = table->Encode(uses), alike = at::matmul(used, used.t());
  EXPECT_GT(alike[0][2].item<float>(), alike[0][4].item<float>() + 0.05f);
  EXPECT_GT(alike[1][3].item<float>(), alike[1][4].item<float>() + 0.05f);
}

}  // namespace
}  // namespace athanor
