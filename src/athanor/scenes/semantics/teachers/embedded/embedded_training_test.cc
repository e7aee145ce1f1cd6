// Reading labelled worlds, and training on a tiny one.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <functional>

#include "athanor/base/files.h"
#include "athanor/base/test_util.h"
#include "athanor/media/image.h"
#include "athanor/scenes/semantics/teachers/embedded/train_teacher.h"
#include "athanor/scenes/semantics/teachers/embedded/training_crop.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int kSide = 96;

// A wall with two mugs, a red and a blue one, each with a darker handle; as `sim room` writes it.
void WriteWorld(const fs::path& folder, int64_t seed, int shift_px = 0) {
  WriteFile(folder / "classes.json", R"({"classes": [
    {"id": 1, "name": "mug", "synonyms": ["beaker"], "category": "tableware",
     "affordances": ["to drink from"],
     "parts": [{"id": 1, "name": "body"}, {"id": 2, "name": "handle"}]},
    {"id": 2, "name": "wall", "synonyms": [], "category": "structure", "affordances": [],
     "parts": [{"id": 3, "name": "surface"}]}]})");
  const auto mug = [](int id, const std::string& color) {
    return R"({"id": )" + std::to_string(id) + R"(, "kind": "mug", "attributes": {"color": ")" +
           color + R"(", "material": "ceramic", "pattern": "", "size": "medium"}, "parts":
           [{"id": 1, "name": "body"}, {"id": 2, "name": "handle"}]})";
  };
  WriteFile(folder / "objects.json", R"({"room": {"seed": )" + std::to_string(seed) +
                                         R"(}, "objects": [
    {"id": 1, "kind": "wall", "attributes": {"color": "", "material": "", "pattern": "",
     "size": ""}, "parts": [{"id": 3, "name": "surface"}]}, )" +
                                         mug(2, "red") + "," + mug(3, "blue") + "]}");
  Image image(kSide, kSide, 3, 200);
  DepthImage instance(kSide, kSide, 1, 1), part(kSide, kSide, 1, 3);
  const auto fill = [&](int x0, int x1, int id, int part_id, std::array<uint8_t, 3> color) {
    for (int y = 30; y < 70; ++y) {
      for (int x = x0 + shift_px; x < x1 + shift_px; ++x) {
        std::copy(color.begin(), color.end(), image.at(x, y));
        *instance.at(x, y) = static_cast<uint16_t>(id);
        *part.at(x, y) = static_cast<uint16_t>(part_id);
      }
    }
  };
  fill(8, 28, 2, 1, {220, 30, 30});
  fill(28, 40, 2, 2, {120, 10, 10});
  fill(50, 70, 3, 1, {30, 30, 220});
  fill(70, 82, 3, 2, {10, 10, 120});
  for (const char* name : {"images", "instance", "part"}) MakeFolder(folder / name);
  WriteImage(folder / "images" / "00001.png", image);
  WriteDepthPng(folder / "instance" / "00001.png", instance);
  WriteDepthPng(folder / "part" / "00001.png", part);
}

TEST(LabelledWorlds, ReadsLabelsAndKeepsTrainingAndScoringApart) {
  const auto folder = TestFolder("worlds");
  WriteWorld(folder / "room_0000", kFirstTrainingSeed + 3);
  WriteWorld(folder / "room_0001", kFirstTrainingSeed + 4);
  LabelledWorlds worlds({folder}, LabelledWorlds::Use::kTraining);
  EXPECT_EQ(worlds.num_worlds(), 2);
  EXPECT_EQ(worlds.num_views(), 2);
  const Lexicon lexicon = worlds.MakeLexicon(nullptr);
  worlds.UseLexicon(lexicon);
  const LabelledView view = worlds.ReadView(1);
  const PixelLabel& handle = worlds.labels()[view.labels[50 * kSide + 75]];
  EXPECT_EQ(handle.kind, lexicon.FindKind("mug"));
  EXPECT_EQ(handle.color, lexicon.FindColor("blue"));
  EXPECT_EQ(handle.part, lexicon.FindPart("handle"));
  const PixelLabel& wall = worlds.labels()[view.labels[0]];
  EXPECT_EQ(wall.kind, lexicon.FindKind("wall"));
  EXPECT_EQ(wall.color, kUnknown);
  EXPECT_THAT(
      ErrorOf([&] { LabelledWorlds({folder}, LabelledWorlds::Use::kScoring); }),
      AllOf(HasSubstr("objects.json"), HasSubstr("1000003"), HasSubstr("is of a training world")));
  WriteWorld(folder / "room_0002", 7);
  EXPECT_THAT(ErrorOf([&] { LabelledWorlds({folder}, LabelledWorlds::Use::kTraining); }),
              AllOf(HasSubstr("seed 7 is held out"), HasSubstr("1000000")));
}

// Sky over a road with a bicycle and its rider, as `sim street --truth` writes it.
void WriteStreets(const fs::path& folder, int64_t seed) {
  WriteFile(folder / "street.toml", "");
  const fs::path truth = folder / "truth", channel = truth / "CAM_FRONT";
  WriteFile(truth / "classes.json", R"({"classes": [
    {"name": "sky", "synonyms": [], "category": "nature", "affordances": []},
    {"name": "road", "synonyms": ["street"], "category": "ground", "affordances": ["to drive on"]},
    {"name": "bicycle", "synonyms": ["bike"], "category": "vehicle", "affordances": []},
    {"name": "person", "synonyms": [], "category": "person", "affordances": []}]})");
  WriteFile(truth / "scene-0001.json", R"({"street": {"seed": )" + std::to_string(seed) + R"(},
    "objects": [{"id": 0, "kind": "sky", "parts": [{"id": 0, "name": ""}]},
      {"id": 2, "kind": "road", "parts": [{"id": 1, "name": "road"}]},
      {"id": 20, "kind": "bicycle", "attributes": {"color": "red"}, "parts":
        [{"id": 2, "name": "wheel"}, {"id": 3, "name": "torso", "kind": "person"}]}]})");
  Image image(kSide, kSide, 3, 90);
  DepthImage instance(kSide, kSide, 1, 0), part = instance;
  for (int y = 0; y < kSide; ++y) {
    for (int x = 0; x < kSide; ++x) {
      const bool bicycle = x > 40 && x < 60 && y > 30;
      *instance.at(x, y) = y < 30 ? 0 : bicycle ? 20 : 2;
      *part.at(x, y) = y < 30 ? 0 : !bicycle ? 1 : y < 60 ? 3 : 2;
    }
  }
  const std::string name = "scene-0001__CAM_FRONT__17";
  WriteImage(folder / "samples" / "CAM_FRONT" / (name + ".jpg"), image);
  WriteDepthPng(channel / (name + ".instance.png"), instance);
  WriteDepthPng(channel / (name + ".part.png"), part);
}

TEST(LabelledWorlds, RoomsAndStreetsShareOneLexicon) {
  const auto folder = TestFolder("both worlds");
  WriteWorld(folder / "room", kFirstTrainingSeed);
  WriteStreets(folder / "streets", kFirstTrainingSeed);
  LabelledWorlds worlds({folder / "room", folder / "streets"}, LabelledWorlds::Use::kTraining);
  EXPECT_EQ(worlds.Sort(), "rooms and streets");
  ASSERT_EQ(worlds.num_views(), 2);
  const Lexicon lexicon = worlds.MakeLexicon(nullptr);
  worlds.UseLexicon(lexicon);
  EXPECT_EQ(worlds.labels()[worlds.ReadView(0).labels[0]].kind, lexicon.FindKind("wall"));
  const LabelledView street = worlds.ReadView(1);
  const auto label = [&](int x, int y) { return worlds.labels()[street.labels[y * kSide + x]]; };
  EXPECT_EQ(label(5, 5).kind, lexicon.FindKind("sky"));
  EXPECT_EQ(label(5, 70).kind, lexicon.FindKind("road"));
  EXPECT_EQ(label(5, 70).part, kUnknown);
  EXPECT_EQ(label(5, 70).pattern, kUnknown);
  EXPECT_EQ(label(50, 70).kind, lexicon.FindKind("bicycle"));
  EXPECT_EQ(label(50, 70).color, lexicon.FindColor("red"));
  EXPECT_EQ(label(50, 70).part, lexicon.FindPart("wheel"));
  // What is said of the bicycle is not said of its rider.
  EXPECT_EQ(label(50, 40).kind, lexicon.FindKind("person"));
  EXPECT_EQ(label(50, 40).color, kUnknown);

  // Kinds by other names: a bicycle is but a vehicle, and nobody says what the road is.
  LabelledWorlds other({folder / "streets"}, LabelledWorlds::Use::kTraining,
                       {{"bicycle", "vehicle"}, {"road", ""}});
  const Lexicon others = other.MakeLexicon(nullptr);
  other.UseLexicon(others);
  const LabelledView called = other.ReadView(0);
  EXPECT_EQ(called.labels[70 * kSide + 5], -1);
  EXPECT_EQ(other.labels()[called.labels[70 * kSide + 50]].kind, others.FindKind("vehicle"));
  for (const char* word : {"bicycle", "bike", "road", "street"}) {
    EXPECT_THAT(others.Words(), ::testing::Not(::testing::Contains(word)));
  }
  EXPECT_THAT(ErrorOf([&] {
                LabelledWorlds({folder / "streets"}, LabelledWorlds::Use::kTraining,
                               {{"dragon", "animal"}});
              }),
              HasSubstr("no kind 'dragon'"));

  WriteStreets(folder / "held_out", 3);
  EXPECT_THAT(
      ErrorOf([&] { LabelledWorlds({folder / "held_out"}, LabelledWorlds::Use::kTraining); }),
      AllOf(HasSubstr("scene-0001.json"), HasSubstr("seed 3 is held out")));
  fs::remove_all(folder / "held_out" / "truth");
  EXPECT_THAT(
      ErrorOf([&] { LabelledWorlds({folder / "held_out"}, LabelledWorlds::Use::kScoring); }),
      HasSubstr("`sim street --truth` writes"));
}

TEST(LabelledWorlds, RefusesDamagedFolders) {
  const auto folder = TestFolder("bad worlds");
  const auto open = [&] {
    return ErrorOf([&] {
      LabelledWorlds worlds({folder}, LabelledWorlds::Use::kScoring);
      worlds.UseLexicon(worlds.MakeLexicon(nullptr));
      worlds.ReadView(0);
    });
  };
  EXPECT_THAT(open(), HasSubstr("expected objects.json"));
  WriteWorld(folder, 1);
  EXPECT_EQ(open(), "");
  WriteDepthPng(folder / "part" / "00001.png", DepthImage(20, 30, 1));
  EXPECT_THAT(open(), AllOf(HasSubstr("part"), HasSubstr("found 20 x 30")));
  WriteWorld(folder, 1);
  WriteDepthPng(folder / "instance" / "00001.png", DepthImage(kSide, kSide, 1, 9));
  EXPECT_THAT(open(), HasSubstr("names object 9, which is not in "));
  WriteFile(folder / "objects.json", "{\"room\": {\"seed\": 1}}");
  EXPECT_THAT(open(), HasSubstr("objects.json"));
  WriteFile(folder / "objects.json", "{");
  EXPECT_THAT(open(), HasSubstr("expected a JSON object"));
  WriteFile(folder / "classes.json", "[1");
  EXPECT_THAT(open(), AllOf(HasSubstr("classes.json"), HasSubstr("expected a JSON object")));
}

TEST(TrainingCrop, LabelsLieWhereThePictureShowsThem) {
  // Left half black and label 0, right half white and label 1.
  LabelledView view{Image(200, 150, 3), std::vector<int32_t>(200 * 150, 0)};
  for (int y = 0; y < 150; ++y) {
    for (int x = 100; x < 200; ++x) {
      std::fill_n(view.rgb.at(x, y), 3, uint8_t{255});
      view.labels[y * 200 + x] = 1;
    }
  }
  int both = 0;
  for (int i = 0; i < 40; ++i) {
    Random random(static_cast<uint64_t>(i));
    const TrainingCrop crop = MakeCrop(view, 64, {}, random);
    const at::Tensor grey = crop.image.mean({0});
    EXPECT_TRUE(grey.ge(0).all().item<bool>() && grey.le(1).all().item<bool>());
    std::array<double, 2> sum{}, count{};
    for (int row = 0; row < 16; ++row) {
      for (int column = 0; column < 16; ++column) {
        const int32_t label = crop.labels[row * 16 + column];
        sum[label] += grey[4 * row + 2][4 * column + 2].item<double>();
        count[label] += 1;
      }
    }
    if (count[0] < 16 || count[1] < 16) continue;
    ++both;
    EXPECT_GT(sum[1] / count[1], sum[0] / count[0] + 0.4);
  }
  EXPECT_GT(both, 5);
}

TrainTeacherOptions TinyOptions(int64_t steps) {
  TrainTeacherOptions options;
  options.steps = steps;
  options.pictures = 2;
  options.crop_px = 96;
  options.zoom_high = 1.5;
  options.pixels = 128;
  options.rate = 3e-3;
  options.wordnet = "";
  return options;
}

TEST(TrainTeacher, GoesOnAfterAKillAsIfThereHadBeenNone) {
  const auto folder = TestFolder("resume");
  WriteWorld(folder / "train", kFirstTrainingSeed);
  const TrainTeacherOptions options = TinyOptions(12);
  const auto train = [&](const char* out, const TrainTeacherOptions& with, bool resume,
                         const std::function<bool()>& stop = {}) {
    return TrainTeacher({folder / "train"}, {}, folder / out, with, resume, stop);
  };
  const TrainTeacherResult whole = train("whole", options, false);
  int calls = 0;
  const TrainTeacherResult first = train("parts", options, false, [&] { return ++calls == 5; });
  EXPECT_TRUE(first.interrupted);
  EXPECT_EQ(first.step, 5);
  // Other worlds are not what the run began with; the same ones elsewhere are.
  WriteWorld(folder / "other", kFirstTrainingSeed + 1);
  const auto go_on = [&](const std::vector<fs::path>& worlds) {
    return TrainTeacher(worlds, {}, folder / "parts", options, true);
  };
  for (const std::vector<fs::path>& worlds :
       {std::vector<fs::path>{folder / "other"}, {folder / "train", folder / "other"}}) {
    EXPECT_THAT(ErrorOf([&] { go_on(worlds); }),
                AllOf(HasSubstr("run.json: the run began with the worlds of "),
                      HasSubstr("train; expected the same"), HasSubstr("other")));
  }
  fs::rename(folder / "train", folder / "moved");
  WriteFile(folder / "parts" / "card.md", "of other weights");
  const TrainTeacherResult rest = go_on({folder / "moved"});
  fs::rename(folder / "moved", folder / "train");
  EXPECT_FALSE(rest.interrupted);
  EXPECT_FALSE(fs::exists(folder / "parts" / "card.md"));
  EXPECT_EQ(ReadFile(rest.weights), ReadFile(whole.weights));
  EXPECT_EQ(ReadFile(folder / "parts" / "metrics.jsonl"),
            ReadFile(folder / "whole" / "metrics.jsonl"));
  EXPECT_TRUE(whole.scores.empty());

  EXPECT_THAT(ErrorOf([&] { train("whole", options, false); }), HasSubstr("already holds a run"));
  TrainTeacherOptions other = options;
  other.rate = 1e-3;
  EXPECT_THAT(ErrorOf([&] { train("whole", other, true); }), HasSubstr("only --steps may change"));
  EXPECT_THAT(ErrorOf([&] { train("none", options, true); }), HasSubstr("found no config.toml"));
  other.crop_px = 100;
  EXPECT_THAT(ErrorOf([&] { train("odd", other, false); }), HasSubstr("multiple of 32"));
}

TEST(TrainTeacher, StartsFromAnotherRunThatKnewFewerWords) {
  const auto folder = TestFolder("start");
  WriteWorld(folder / "room", kFirstTrainingSeed);
  WriteStreets(folder / "streets", kFirstTrainingSeed);
  const TrainTeacherResult first =
      TrainTeacher({folder / "room"}, {}, folder / "first", TinyOptions(4), false);
  TrainTeacherOptions options = TinyOptions(1);
  options.start_from = (folder / "first" / "checkpoints" / "step_00000004.safetensors").string();
  options.rate = 0;  // nothing is learned
  const TrainTeacherResult second =
      TrainTeacher({folder / "room", folder / "streets"}, {}, folder / "second", options, false);
  EmbeddedPair old_pair = OpenEmbedded(first.weights), new_pair = OpenEmbedded(second.weights);
  const auto phrases = [](EmbeddedPair* pair, const char* text) {
    const std::vector<std::string> prompts = {text};
    return pair->text->Encode(prompts);
  };
  // Running means have moved a little.
  EXPECT_GT((phrases(&old_pair, "red mug") * phrases(&new_pair, "red mug")).sum().item<float>(),
            0.98f);
  EXPECT_THAT(ErrorOf([&] { phrases(&old_pair, "bicycle"); }), HasSubstr("does not know"));
  EXPECT_EQ(ErrorOf([&] { phrases(&new_pair, "bicycle"); }), "");

  options.start_from = first.weights.string();
  EXPECT_THAT(
      ErrorOf([&] { TrainTeacher({folder / "room"}, {}, folder / "third", options, false); }),
      HasSubstr("teacher.safetensors"));
}

TEST(TrainTeacher, SlowLearnsATinyWorld) {
  const auto folder = TestFolder("tiny");
  WriteWorld(folder / "train", kFirstTrainingSeed);
  WriteWorld(folder / "test", 5, 6);
  const TrainTeacherResult result =
      TrainTeacher({folder / "train"}, {folder / "test"}, folder / "run", TinyOptions(200), false);
  ASSERT_EQ(result.scores.size(), 1u);
  EXPECT_GT(result.scores[0].miou, 0.7);
  EXPECT_GT(result.scores[0].color_accuracy, 0.9);
  EXPECT_GT(result.scores[0].part_accuracy, 0.7);
  EXPECT_THAT(ReadFile(result.card),
              AllOf(HasSubstr("| mug * |"), HasSubstr("seeds from 1000000")));
  EXPECT_TRUE(fs::exists(folder / "run" / "curves.png"));

  // Words: a red mug is the red one, its handle the handle.
  EmbeddedPair pair = OpenEmbedded(result.weights);
  const Image image = ReadImage(folder / "test" / "images" / "00001.png");
  const at::Tensor features = pair.teacher->Describe(image, "test").features.to(at::kFloat);
  const auto at_pixel = [&](int x, int y) {
    return features[y * features.size(0) / kSide][x * features.size(1) / kSide];
  };
  const std::vector<std::string> prompts = {"a red mug", "blue beaker", "handle of the mug"};
  const at::Tensor words = pair.text->Encode(prompts);
  const at::Tensor red_body = at::matmul(words, at_pixel(24, 50));
  const at::Tensor blue_handle = at::matmul(words, at_pixel(82, 50));
  EXPECT_GT(red_body[0].item<double>(), red_body[1].item<double>());
  EXPECT_GT(blue_handle[1].item<double>(), blue_handle[0].item<double>());
  EXPECT_GT(blue_handle[2].item<double>(), red_body[2].item<double>());
  // Phrases keep apart: a text encoder that learns too fast says the same of all.
  const std::vector<std::string> kinds = {"mug", "wall"};
  const at::Tensor names = pair.text->Encode(kinds);
  EXPECT_LT(at::matmul(names[0], names[1]).item<double>(), 0.6);
}

}  // namespace
}  // namespace athanor
