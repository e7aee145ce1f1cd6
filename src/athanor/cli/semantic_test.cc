// Words for scenes on simulated rooms, whose truth is known: through the program, and with a
// teacher whose errors we choose.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "athanor/base/files.h"
#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/cli/cli_test_util.h"
#include "athanor/scenes/gaussians/open_scene.h"
#include "athanor/scenes/gaussians/reconstruct_run.h"
#include "athanor/scenes/semantics/evaluation/segmentation_metrics.h"
#include "athanor/scenes/semantics/lifting/lift_features.h"
#include "athanor/scenes/semantics/query/protocols.h"
#include "athanor/scenes/semantics/teachers/id_maps.h"
#include "athanor/simulation/rooms/write_room.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

// Round Gaussians at the points, as training begins; every `step`-th point, and as much larger.
GaussianCloud SceneOfPoints(const PosedImages& room, size_t step) {
  std::vector<ColoredPoint> points;
  for (size_t i = 0; i < room.points.size(); i += step) points.push_back(room.points[i]);
  return GaussianModel::FromPoints(points, 0, 0.9f, 1.0f, at::kCPU).ToCloud();
}

fs::path MakeRoomFolder(const std::string& name, int images, int width, int height, int points) {
  const fs::path folder = TestFolder(name);
  SimRoomOptions options;
  options.seed = 5;
  options.camera.images = images;
  options.camera.width_px = width, options.camera.height_px = height;
  options.points = points;
  options.format = "png";
  options.antialias = false;
  WriteRooms(folder, options);
  return folder;
}

TEST(SemanticCommands, LiftQuerySegmentEval) {
  const fs::path room = MakeRoomFolder("commands", 16, 120, 90, 4000);
  // A run that has finished.
  const fs::path run = room / "run", scene = SceneOfRun(run);
  CreateReconstructRun(TrainingRun(run), room, {});
  WriteGaussians(scene, SceneOfPoints(ReadPosedImages(room), 1), GaussianFormat::kPly);
  WriteFile(room / "card.json",
            R"({"family": "id maps", "maps": "semantic", "classes": "classes.json"})");
  const std::string at = run.string();

  EXPECT_THAT(Execute({"semantic", "query", at, "wall"}).text(),
              AllOf(HasSubstr("scene.semantics.safetensors: there is none"),
                    HasSubstr("athanor semantic lift")));
  const Outcome lifted =
      Execute({"semantic", "lift", at, "--teacher", (room / "card.json").string()});
  ASSERT_EQ(lifted.status, 0) << lifted.text();
  EXPECT_THAT(lifted.text(), AllOf(HasSubstr("Gaussians seen"), HasSubstr("14 views described")));
  // The teacher is not asked again.
  const Outcome again = Execute({"semantic", "lift", at, "--teacher", (room / "card.json").string(),
                                 "--store", "cluster", "--tag", "small"});
  ASSERT_EQ(again.status, 0) << again.text();
  EXPECT_THAT(again.text(), AllOf(HasSubstr("(0 views described now)"), HasSubstr("2 bytes each")));
  // What is rendered are other pictures, the same ones each time.
  for (const char* described : {"(14 views described now)", "(0 views described now)"}) {
    const Outcome rendered =
        Execute({"semantic", "lift", at, "--teacher", (room / "card.json").string(), "--views",
                 "rendered", "--tag", "rendered"});
    ASSERT_EQ(rendered.status, 0) << rendered.text();
    EXPECT_THAT(rendered.text(), HasSubstr(described));
  }
  const SemanticField field = ReadSemanticField(SemanticFieldPath(scene));
  EXPECT_EQ(static_cast<int>(field.labels.size()), field.dimension());

  const fs::path out = room / "out ü";
  const Outcome query = Execute({"semantic", "query", at, "Floor", "wall", "-o", out.string()});
  ASSERT_EQ(query.status, 0) << query.text();
  const json report = json::parse(ReadFile(out / "objects.json"));
  ASSERT_EQ(report["prompts"].size(), 2u);
  EXPECT_EQ(report["prompts"][0]["prompt"], "Floor");
  EXPECT_GT(report["prompts"][0]["gaussians"].get<int>(), 50);
  // The room's floor is at z = 0; Gaussians at the foot of the walls are as large as they are
  // coarse.
  const json& floor = report["prompts"][0]["objects"][0];
  EXPECT_LT(floor["center"][2].get<double>(), 0.5);
  EXPECT_LT(floor["size"][2].get<double>(), floor["size"][0].get<double>() / 2);
  EXPECT_GT(floor["size"][0].get<double>(), 1.0);
  EXPECT_TRUE(fs::exists(out / "00_Floor_000.png"));
  EXPECT_TRUE(fs::exists(out / "overview.png"));

  const Outcome segment = Execute({"semantic", "segment", at, "--view-count", "2"});
  ASSERT_EQ(segment.status, 0) << segment.text();
  EXPECT_EQ(ReadGaussians(room / "run/segments/segments.ply").size(), field.size());
  const DepthImage map = ReadDepthPng(room / "run/segments/maps/0000.png");
  EXPECT_GT(std::count_if(map.data.begin(), map.data.end(), [](int id) { return id > 0; }),
            map.width * map.height / 2);

  const Outcome eval =
      Execute({"semantic", "eval", at, "--maps", "semantic", "--classes", "classes.json", "--json",
               (out / "eval.json").string(), "--tag", "", "--tag", "small"});
  ASSERT_EQ(eval.status, 0) << eval.text();
  const json scores = json::parse(ReadFile(out / "eval.json"))["results"];
  ASSERT_EQ(scores.size(), 2u);
  // Splats of points on surfaces are coarse, and small things have few.
  EXPECT_GT(scores[0]["pixel_accuracy"].get<double>(), 0.7);
  EXPECT_NEAR(scores[1]["mean_iou"].get<double>(), scores[0]["mean_iou"].get<double>(), 0.1);

  // The teacher that comes with the program: itself on the photographs, lifted two ways, and both
  // together.
  for (const char* mode : {"weights", "paper"}) {
    const Outcome taught =
        Execute({"semantic", "lift", at, "--teacher", "embedded", "--mode", mode, "--tag", mode});
    ASSERT_EQ(taught.status, 0) << taught.text();
  }
  const Outcome compared =
      Execute({"semantic", "eval", at, "--maps", "semantic", "--classes", "classes.json", "--json",
               (out / "eval.json").string(), "--teacher", "embedded", "--tag", "weights", "--tag",
               "weights+paper"});
  ASSERT_EQ(compared.status, 0) << compared.text();
  const json lines = json::parse(ReadFile(out / "eval.json"))["results"];
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0]["tag"], "embedded in 2D");
  EXPECT_EQ(lines[2]["tag"], "weights+paper");
  for (const json& line : lines)
    EXPECT_GT(line["pixel_accuracy"].get<double>(), 0.1) << line["tag"];
  EXPECT_NE(lines[1]["pixel_accuracy"], lines[2]["pixel_accuracy"]);

  // What is wrong is said in one line.
  const std::string card = (room / "card.json").string();
  const std::vector<std::pair<std::vector<std::string>, std::string>> bad = {
      {{"semantic", "query", at, ""}, "empty prompt"},
      {{"semantic", "query", at, "茶杯 🍵"}, "none is called so"},
      {{"semantic", "lift", at, "--teacher", "nobody"}, "nobody"},
      {{"semantic", "lift", scene.string(), "--teacher", card}, "--input"},
      {{"semantic", "segment", at, "--labels", card + "x"}, "card.jsonx"},
      {{"semantic", "eval", at}, "--annotations"},
      {{"semantic", "eval", at, "--annotations", "x", "--teacher", "embedded"}, "goes with --maps"},
  };
  for (const auto& [words, expected] : bad) {
    const Outcome outcome = Execute(words);
    EXPECT_NE(outcome.status, 0);
    EXPECT_THAT(outcome.text(), HasSubstr(expected));
  }
  WriteGaussians(scene, SceneOfPoints(ReadPosedImages(room), 2), GaussianFormat::kPly);
  EXPECT_THAT(Execute({"semantic", "query", at, "wall"}).text(), HasSubstr("Gaussians, but"));
}

// Says what the truth is, but for the errors that we choose: borders are blurred over 5 pixels, and
// 30 % of the pixels of each view say something else.
class Oracle {
 public:
  explicit Oracle(const fs::path& room)
      : posed_(ReadPosedImages(room)), maps_(room / "semantic"), teacher_(room / "semantic") {}

  const PosedImages& posed() const { return posed_; }
  const std::vector<std::string>& labels() const { return teacher_.labels(); }
  PinholeView View(int image) const {
    return MakeView(posed_.cameras[posed_.images[image].camera],
                    posed_.images[image].camera_from_world);
  }
  // [H,W] i32, -1 = nothing.
  at::Tensor TrueMap(int image) {
    const Camera& camera = posed_.cameras[posed_.images[image].camera];
    return teacher_.Describe(Image(camera.width_px, camera.height_px, 3), posed_.images[image].name)
        .mask_ids[0];
  }
  ViewFeatures Clean(int image) {
    ViewFeatures features;
    const at::Tensor map = TrueMap(image);
    features.height_px = static_cast<int>(map.size(0));
    features.width_px = static_cast<int>(map.size(1));
    features.features = at::eye(classes()).to(at::kHalf);
    features.mask_ids = map.unsqueeze(0).contiguous();
    return features;
  }
  ViewFeatures Noisy(int image) {
    constexpr double kFlipped = 0.3;
    constexpr int kBlur_px = 5;
    const at::Tensor map = TrueMap(image);
    const int64_t height = map.size(0), width = map.size(1);
    at::Tensor one_hot = at::zeros({classes() + 1, height, width});
    one_hot.scatter_(0, (map + 1).to(at::kLong).unsqueeze(0), 1.0);
    at::Tensor soft =
        at::avg_pool2d(one_hot.narrow(0, 1, classes()).unsqueeze(0),
                       {2 * kBlur_px + 1, 2 * kBlur_px + 1}, {1, 1}, {kBlur_px, kBlur_px})[0]
            .permute({1, 2, 0})
            .contiguous();
    Random random(static_cast<uint64_t>(image) + 77);
    float* values = soft.data_ptr<float>();
    for (int64_t p = 0; p < height * width; ++p) {
      if (random.Uniform() >= kFlipped) continue;
      std::fill_n(values + p * classes(), classes(), 0.0f);
      values[p * classes() + random.Below(static_cast<uint32_t>(classes()))] = 1;
    }
    ViewFeatures features;
    features.width_px = static_cast<int>(width), features.height_px = static_cast<int>(height);
    features.features = soft.to(at::kHalf);
    return features;
  }
  int64_t classes() const { return static_cast<int64_t>(teacher_.labels().size()); }

 private:
  PosedImages posed_;
  fs::path maps_;
  IdMapTeacher teacher_;
};

SemanticField LiftFrom(const GaussianModel& model, const Oracle& oracle,
                       const std::vector<int>& images, const LiftOptions& options,
                       const std::function<ViewFeatures(int)>& features) {
  std::vector<PinholeView> views;
  for (const int image : images) views.push_back(oracle.View(image));
  SemanticField field = LiftFeatures(
      model, views, {}, [&](int v) { return features(images[v]); }, options);
  field.labels = oracle.labels();
  return field;
}

// Of labels rendered into the views.
double MeanIou(const GaussianModel& model, const SemanticField& field, Oracle* oracle,
               const std::vector<int>& images) {
  const FieldSet fields({&field}, Combine::kMax);
  const auto encoder = MakeLabelEncoder(oracle->labels());
  std::vector<PinholeView> views;
  std::vector<int32_t> ids;
  for (const int image : images) views.push_back(oracle->View(image));
  for (int64_t k = 0; k < oracle->classes(); ++k) ids.push_back(static_cast<int32_t>(k));
  ConfusionMatrix confusion(static_cast<int>(oracle->classes()));
  AddLabelViews(
      {&model, {}, &fields, encoder.get()}, oracle->labels(), ids, views,
      [&](int v) {
        const at::Tensor map = oracle->TrueMap(images[v]).contiguous();
        const int32_t* label = map.data_ptr<int32_t>();
        return std::vector<int32_t>(label, label + map.numel());
      },
      &confusion);
  return confusion.Scores().mean_iou;
}

TEST(SemanticRoom, SlowSurvivesATeachersErrors) {
  const fs::path room = MakeRoomFolder("oracle", 200, 200, 150, 30000);
  Oracle oracle(room);
  const auto model = GaussianModel::FromCloud(SceneOfPoints(oracle.posed(), 1), false, at::kCPU);
  std::vector<int> train, test, tenth;
  for (int i = 0; i < 200; ++i) (i % 8 == 0 ? test : train).push_back(i);
  for (size_t k = 0; k < train.size(); k += 10) tenth.push_back(train[k]);
  const auto clean = [&](int image) { return oracle.Clean(image); };
  const auto noisy = [&](int image) { return oracle.Noisy(image); };

  // The truth of a Gaussian: what most of the light that it gives to pixels belongs to.
  LiftOptions options;
  const at::Tensor truth =
      LiftFrom(model, oracle, train, options, clean).features.DecodeAll().argmax(1);
  double full_iou = 0;
  for (const char* mode : {"weights", "topk", "max", "paper"}) {
    options.mode = mode;
    options.border_px = 3;
    const SemanticField field = LiftFrom(model, oracle, train, options, noisy);
    const at::Tensor labels = field.features.DecodeAll().argmax(1);
    const at::Tensor right = (labels == truth).masked_select(field.seen > 0);
    const double accuracy = right.to(at::kFloat).mean().item<float>();
    const double iou = MeanIou(model, field, &oracle, test);
    std::printf("%-8s  %5.2f %% of %lld seen Gaussians right, mIoU %.2f\n", mode, 100 * accuracy,
                static_cast<long long>(right.numel()), 100 * iou);
    if (std::string(mode) == "weights") {
      EXPECT_GE(accuracy, 0.95);
      full_iou = iou;
    } else {
      EXPECT_GE(accuracy, 0.85);
    }
  }

  options.mode = "weights";
  const double tenth_iou =
      MeanIou(model, LiftFrom(model, oracle, tenth, options, noisy), &oracle, test);
  // Features of a fifth of the Gaussians only; the others take those of the nearest one.
  SemanticField fifth = LiftFrom(model, oracle, train, options, noisy);
  const at::Tensor rows = fifth.features.DecodeAll();
  const at::Tensor means = model.means();
  std::vector<int64_t> kept;
  Random random(3);
  for (int64_t i = 0; i < fifth.size(); ++i) {
    if (fifth.seen[i].item<int>() == 1 && random.Below(5) == 0) kept.push_back(i);
  }
  const at::Tensor kept_rows = at::tensor(kept, at::kLong);
  const at::Tensor nearest = at::cdist(means, means.index_select(0, kept_rows)).argmin(1);
  fifth.features = FeatureTable::FromRows(rows.index_select(0, kept_rows.index_select(0, nearest)));
  fifth.seen.fill_(1);
  const double fifth_iou = MeanIou(model, fifth, &oracle, test);
  std::printf(
      "all %.2f, a tenth of the views %.2f, features of a fifth of the Gaussians %.2f mIoU\n",
      100 * full_iou, 100 * tenth_iou, 100 * fifth_iou);
  EXPECT_GT(tenth_iou, full_iou - 0.022);
  EXPECT_GT(fifth_iou, full_iou - 0.05);
}

}  // namespace
}  // namespace athanor
