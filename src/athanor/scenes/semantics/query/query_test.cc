#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "athanor/base/random.h"
#include "athanor/base/test_util.h"
#include "athanor/scenes/gaussians/camera_path.h"
#include "athanor/scenes/semantics/query/objects.h"
#include "athanor/scenes/semantics/query/pictures.h"
#include "athanor/scenes/semantics/query/protocols.h"
#include "athanor/scenes/semantics/query/scores.h"

namespace athanor {
namespace {

using ::testing::HasSubstr;

constexpr int kDimension = 12;

// A vector per phrase that depends on its bytes.
class HashEncoder : public TextEncoder {
 public:
  std::string space() const override { return "hash"; }
  int dimension() const override { return kDimension; }
  at::Tensor Encode(std::span<const std::string> prompts) override {
    at::Tensor text = at::empty({static_cast<int64_t>(prompts.size()), kDimension});
    float* out = text.data_ptr<float>();
    for (const std::string& prompt : prompts) {
      uint64_t seed = 1;
      for (const char c : prompt) seed = MixBits(seed ^ static_cast<uint8_t>(c));
      Random random(seed);
      for (int c = 0; c < kDimension; ++c) *out++ = spoiled ? NAN : random.Normal();
    }
    return text / at::norm(text, 2, {1}, true);
  }
  bool spoiled = false;
};

SemanticField RandomField(int64_t n, int seed, int64_t unseen_every) {
  at::manual_seed(seed);
  at::Tensor rows = at::randn({n, kDimension});
  SemanticField field;
  field.seen = at::ones({n}, at::kByte);
  if (unseen_every > 0) {
    const at::Tensor unseen = at::arange(0, n, unseen_every, at::kLong);
    rows.index_fill_(0, unseen, 0);
    field.seen.index_fill_(0, unseen, 0);
  }
  field.features = FeatureTable::FromRows(rows);
  field.agreement = field.seen.to(at::kFloat);
  field.max_weight = field.seen.to(at::kFloat);
  field.text_space = "hash";
  return field;
}

TEST(Scores, RelevancyIsTheWorstSoftmaxAgainstANegative) {
  const SemanticField field = RandomField(50, 1, 7);
  const FieldSet fields({&field}, Combine::kMax);
  HashEncoder encoder;
  const std::vector<std::string> prompts = {"a red mug", "茶杯", "🍵"};
  const at::Tensor scores = ScorePrompts(fields, &encoder, prompts).scores;
  const at::Tensor rows = field.features.DecodeAll();
  const at::Tensor text = encoder.Encode(prompts), others = encoder.Encode(kNegativePhrases);
  for (int64_t i = 0; i < 50; ++i) {
    for (int64_t p = 0; p < 3; ++p) {
      const double t = std::exp(10 * (rows[i] * text[p]).sum().item<float>());
      double expected = 1;
      for (int64_t k = 0; k < 4; ++k) {
        const double n = std::exp(10 * (rows[i] * others[k]).sum().item<float>());
        expected = std::min(expected, t / (t + n));
      }
      EXPECT_NEAR(scores[i][p].item<float>(), i % 7 == 0 ? 0 : expected, 1e-4);
    }
  }
}

// Words as given vectors.
class GivenEncoder : public HashEncoder {
 public:
  at::Tensor Encode(std::span<const std::string> prompts) override {
    std::vector<at::Tensor> rows;
    for (const std::string& prompt : prompts) rows.push_back(vectors.at(prompt));
    return at::stack(rows);
  }
  std::map<std::string, at::Tensor> vectors;
};

TEST(Scores, NegativesThatMeanThePromptDoNotSpeakAgainstIt) {
  const at::Tensor axes = at::eye(kDimension);
  const auto unit = [](const at::Tensor& x) { return x / x.norm(); };
  GivenEncoder encoder;
  encoder.vectors = {{"car", axes[0]},
                     {"truck", unit(axes[0] + 0.5 * axes[1])},
                     {"road", axes[2]},
                     {"vehicle", unit(axes[0] + 0.25 * axes[1])}};
  SemanticField field = RandomField(3, 1, 0);
  field.features = FeatureTable::FromRows(
      at::stack({encoder.vectors["car"], encoder.vectors["truck"], encoder.vectors["road"]}));
  const FieldSet fields({&field}, Combine::kMax);
  const std::vector<std::string> prompts = {"car", "vehicle"}, others = {"car", "truck", "road"};
  const auto found = [&] {
    return ScorePrompts(fields, &encoder, prompts, others).scores.gt(kNeutralRelevancy);
  };
  // Free words: the prompt itself and what is as near as "vehicle" and "car" are left out.
  EXPECT_TRUE(at::equal(found()[0], at::tensor({1, 1}).to(at::kBool)));
  EXPECT_TRUE(at::equal(found()[2], at::tensor({0, 0}).to(at::kBool)));
  // LERF's protocol is frozen: there, all negatives count.
  EXPECT_NEAR(ScorePrompts(fields, &encoder, prompts, others, kRelevancyTemperature, true)
                  .scores[0][0]
                  .item<float>(),
              0.5, 1e-6);
  // A closed vocabulary: a car is no truck, both are vehicles.
  field.classes = others;
  EXPECT_TRUE(at::equal(found()[0], at::tensor({1, 1}).to(at::kBool)));
  EXPECT_TRUE(at::equal(found()[1], at::tensor({0, 1}).to(at::kBool)));
  EXPECT_TRUE(at::equal(found()[2], at::tensor({0, 0}).to(at::kBool)));
  // When all mean the same, all count.
  const std::vector<std::string> same = {"car"};
  const at::Tensor scores = ScorePrompts(fields, &encoder, same, same).scores;
  EXPECT_NEAR(scores[0][0].item<float>(), 0.5, 1e-6);
}

TEST(Scores, TwoFieldsAreCombined) {
  const SemanticField a = RandomField(40, 1, 5), b = RandomField(40, 2, 4);
  HashEncoder encoder;
  const std::vector<std::string> prompts = {"x", "y"};
  const at::Tensor text = encoder.Encode(prompts);
  const at::Tensor of_a = at::mm(a.features.DecodeAll(), text.t());
  const at::Tensor of_b = at::mm(b.features.DecodeAll(), text.t());
  const at::Tensor larger = FieldSet({&a, &b}, Combine::kMax).Cosines(text);
  const at::Tensor mean = FieldSet({&a, &b}, Combine::kConcat).Cosines(text);
  const at::Tensor filled = FieldSet({&a, &b}, Combine::kFill).Cosines(text);
  for (int64_t i = 0; i < 40; ++i) {
    for (int64_t p = 0; p < 2; ++p) {
      const float x = of_a[i][p].item<float>(), y = of_b[i][p].item<float>();
      const bool has_a = i % 5 != 0, has_b = i % 4 != 0;
      const float max = has_a && has_b ? std::max(x, y) : has_a ? x : y;
      const float half = has_a && has_b ? (x + y) / 2 : has_a ? x : y;
      EXPECT_NEAR(larger[i][p].item<float>(), max, 1e-4);
      EXPECT_NEAR(mean[i][p].item<float>(), half, 1e-4);
      EXPECT_NEAR(filled[i][p].item<float>(), has_a ? x : y, 1e-4);
    }
  }
}

TEST(Scores, TenThousandLabelsGoThroughInBlocks) {
  const SemanticField field = RandomField(30, 3, 6);
  const FieldSet fields({&field}, Combine::kMax);
  HashEncoder encoder;
  std::vector<std::string> labels;
  for (int k = 0; k < 10000; ++k) labels.push_back("label " + std::to_string(k));
  const GaussianLabels found = LabelGaussians(fields, &encoder, labels, 10);
  const at::Tensor cosines = at::mm(field.features.DecodeAll(), encoder.Encode(labels).t());
  const at::Tensor best = cosines.argmax(1);
  const at::Tensor share = std::get<0>(at::softmax(10 * cosines, 1).max(1));
  for (int64_t i = 0; i < 30; ++i) {
    if (i % 6 == 0) {
      EXPECT_EQ(found.labels[i].item<int>(), -1);
      EXPECT_EQ(found.confidence[i].item<float>(), 0);
      continue;
    }
    const int64_t label = found.labels[i].item<int>();
    EXPECT_NEAR(cosines[i][label].item<float>(), cosines[i][best[i].item<int64_t>()].item<float>(),
                1e-5);
    EXPECT_NEAR(found.confidence[i].item<float>(), share[i].item<float>(),
                1e-3 * share[i].item<float>());
  }
}

TEST(Scores, BadQuestionsAreNamed) {
  const SemanticField field = RandomField(10, 3, 0);
  const FieldSet fields({&field}, Combine::kMax);
  HashEncoder encoder;
  const auto error_of = [&](const std::vector<std::string>& prompts) {
    return ErrorOf([&] { ScorePrompts(fields, &encoder, prompts); });
  };
  EXPECT_THAT(error_of({}), HasSubstr("at least one prompt"));
  EXPECT_THAT(error_of({"mug", " \t"}), HasSubstr("empty prompt"));
  encoder.spoiled = true;
  EXPECT_THAT(error_of({"mug"}), HasSubstr("'hash' gives vectors that are not finite"));
  const SemanticField unseen = RandomField(10, 3, 1), longer = RandomField(11, 3, 0);
  EXPECT_THAT(ErrorOf([&] { FieldSet({&unseen}, Combine::kMax); }),
              HasSubstr("none of the scene's 10 Gaussians has a feature"));
  EXPECT_THAT(ErrorOf([&] {
                FieldSet({&field, &longer}, Combine::kMax);
              }),
              HasSubstr("10 x 12 'hash' and 11 x 12"));
}

// Two balls of Gaussians, 200 and 100, and a few that lie alone.
GaussianCloud TwoBalls() {
  GaussianCloud cloud;
  Random random(8);
  const auto add = [&](double x, double y, double z) {
    for (const double v : {x, y, z}) cloud.means.push_back(static_cast<float>(v));
    for (const float v : {1.0f, 0.0f, 0.0f, 0.0f}) cloud.quats.push_back(v);
    for (int axis = 0; axis < 3; ++axis) cloud.log_scales.push_back(std::log(0.03f));
    cloud.opacity_logits.push_back(3);
    for (int k = 0; k < 3; ++k) cloud.sh.push_back(0);
  };
  const auto ball = [&](double x, double radius, int count) {
    for (int i = 0; i < count; ++i) {
      double p[3];
      do {
        for (double& v : p) v = random.Uniform(-1, 1);
      } while (p[0] * p[0] + p[1] * p[1] + p[2] * p[2] > 1);
      add(x + radius * p[0], radius * p[1], 3 + radius * p[2]);
    }
  };
  ball(-1, 0.4, 200);
  ball(1, 0.3, 100);
  for (int i = 0; i < 5; ++i) add(0.1 * i - 0.2, 4 + 3 * i, 3);
  return cloud;
}

TEST(Objects, AreTheConnectedParts) {
  const GaussianCloud cloud = TwoBalls();
  std::vector<float> scores(cloud.size(), 0.9f);
  std::fill_n(scores.begin() + 200, 100, 0.7f);
  scores[3] = 0.1f;
  const std::vector<FoundObject> objects = FindObjects(cloud, scores, {});
  ASSERT_EQ(objects.size(), 2u);
  EXPECT_EQ(objects[0].gaussians.size(), 199u);
  EXPECT_EQ(objects[1].gaussians.size(), 100u);
  EXPECT_NEAR(objects[0].score, 0.9, 1e-5);
  EXPECT_NEAR(objects[1].score, 0.7, 1e-5);
  EXPECT_NEAR(objects[0].box.frame_from_box.translation.x(), -1, 0.06);
  EXPECT_NEAR(objects[1].box.frame_from_box.translation.x(), 1, 0.06);
  EXPECT_NEAR(objects[0].box.size_m.y(), 0.8, 0.12);
  EXPECT_TRUE(FindObjects(cloud, std::vector<float>(cloud.size(), 0.2f), {}).empty());
}

// Scenes of points with some of them much closer together than others.
GaussianCloud Points(const std::vector<Eigen::Vector3f>& points) {
  GaussianCloud cloud;
  cloud.Resize(static_cast<int64_t>(points.size()));
  for (size_t i = 0; i < points.size(); ++i) {
    for (int axis = 0; axis < 3; ++axis) cloud.means[3 * i + axis] = points[i][axis];
    cloud.quats[4 * i] = 1;
    cloud.opacity_logits[i] = 3;
  }
  return cloud;
}

// Sizes and first members of the connected parts, by looking at every pair.
std::map<int32_t, int64_t> PartsByBruteForce(const std::vector<Eigen::Vector3f>& points,
                                             double factor) {
  const size_t n = points.size();
  std::vector<double> near;
  for (size_t i = 0; i < n; ++i) {
    std::vector<double> squares;
    for (size_t j = 0; j < n; ++j) {
      if (i != j)
        squares.push_back((points[i].cast<double>() - points[j].cast<double>()).squaredNorm());
    }
    std::partial_sort(squares.begin(), squares.begin() + 3, squares.end());
    near.push_back((squares[0] + squares[1] + squares[2]) / 3);
  }
  std::nth_element(near.begin(), near.begin() + n / 2, near.end());
  const double radius = std::max(factor * std::sqrt(near[n / 2]), 1e-6);
  std::vector<int32_t> part(n);
  std::iota(part.begin(), part.end(), 0);
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < i; ++j) {
        if (part[i] == part[j] ||
            (points[i].cast<double>() - points[j].cast<double>()).norm() > radius) {
          continue;
        }
        part[i] = part[j] = std::min(part[i], part[j]);
        changed = true;
      }
    }
  }
  std::map<int32_t, int64_t> parts;
  for (const int32_t p : part) ++parts[p];
  return parts;
}

TEST(Objects, AreThoseOfBruteForce) {
  Random random(4);
  for (int trial = 0; trial < 12; ++trial) {
    std::vector<Eigen::Vector3f> points;
    const auto add = [&](const Eigen::Vector3f& at, float spread, int count) {
      for (int i = 0; i < count; ++i) {
        points.push_back(
            at + spread * Eigen::Vector3f(random.Normal(), random.Normal(), random.Normal()));
      }
    };
    add({0, 0, 0}, 1, 300);
    for (int spot = 0; spot < 6; ++spot) {
      add(3 * Eigen::Vector3f(random.Normal(), random.Normal(), random.Normal()),
          trial % 3 == 0 ? 0.0f : 0.03f, 40);
    }
    if (trial % 4 == 1) points.push_back({1e30f, 0, 0});
    ObjectOptions options;
    options.min_gaussians = 1, options.max_objects = 1000;
    options.neighbor_factor = 0.5 + 0.3 * trial;
    std::map<int32_t, int64_t> found;
    for (const FoundObject& object :
         FindObjects(Points(points), std::vector<float>(points.size(), 1), options)) {
      found[object.gaussians.front()] = std::ssize(object.gaussians);
    }
    EXPECT_EQ(found, PartsByBruteForce(points, options.neighbor_factor)) << trial;
  }
}

// Every pair of these would take hours.
TEST(Objects, ManyOnOneSpotAreFound) {
  Random random(5);
  std::vector<Eigen::Vector3f> points;
  // A grid that gives the typical distance, 1, and so the radius, 4; and two balls that are 4.03
  // apart from each other and farther from the grid, though boxes around them are nearer.
  for (int i = 0; i < 450 * 450; ++i) {
    points.emplace_back(static_cast<float>(i % 450), static_cast<float>(i / 450), 0.0f);
  }
  for (int i = 0; i < 100000; ++i) {
    Eigen::Vector3f p;
    do {
      for (float& v : p) v = random.Uniform(-0.15f, 0.15f);
    } while (p.norm() > 0.15f);
    points.push_back(Eigen::Vector3f(0, 0, 4.65f) + p);
    points.push_back(Eigen::Vector3f(2.5f, 2.5f, 7.15f) + p);
  }
  const std::vector<FoundObject> objects =
      FindObjects(Points(points), std::vector<float>(points.size(), 1), {});
  ASSERT_EQ(objects.size(), 3u);
  EXPECT_EQ(objects[0].gaussians.size(), 450u * 450u);
  EXPECT_EQ(objects[1].gaussians.size(), 100000u);
  EXPECT_EQ(objects[2].gaussians.size(), 100000u);
}

PinholeView TestView() {
  Camera camera;
  camera.width_px = 80, camera.height_px = 60;
  camera.parameters = {60, 60, 40, 30};
  return MakeView(camera, LookAt({0, 0, 0}, {0, 0, 1}, {0, -1, 0}));
}

TEST(Pictures, ScoresAndLabelsAreSplatted) {
  const GaussianCloud cloud = TwoBalls();
  const auto model = GaussianModel::FromCloud(cloud, false, at::kCPU);
  at::Tensor scores = at::zeros({cloud.size(), 40});
  scores.narrow(0, 0, 200).select(1, 37).fill_(1);
  scores.select(1, 2).fill_(0.25);
  const ScoreMaps drawn = RenderScores(model, TestView(), {}, scores);
  const at::Tensor labels = at::full({cloud.size()}, -1, at::kInt);
  labels.narrow(0, 0, 200).fill_(4);
  labels.narrow(0, 200, 100).fill_(1);
  const at::Tensor map = RenderLabels(model, TestView(), {}, labels, at::ones({cloud.size()}), 5);
  // The balls' middles are at x = 40 -+ 20. (LookAt's x axis points where it points: find it.)
  const bool mirrored = map[30][20].item<int>() == 1;
  const int first = mirrored ? 60 : 20, second = mirrored ? 20 : 60;
  EXPECT_EQ(map[30][first].item<int>(), 4);
  EXPECT_EQ(map[30][second].item<int>(), 1);
  EXPECT_EQ(map[2][40].item<int>(), -1);
  EXPECT_NEAR(drawn.maps[37][30][first].item<float>(), 1, 1e-3);
  EXPECT_NEAR(drawn.maps[37][30][second].item<float>(), 0, 1e-3);
  EXPECT_NEAR(drawn.maps[2][30][second].item<float>(), 0.25, 1e-3);
  EXPECT_EQ(drawn.maps[2][2][40].item<float>(), 0);

  at::Tensor chosen = at::zeros({cloud.size()}, at::kBool);
  EXPECT_EQ(RenderSilhouette(model, TestView(), {}, chosen).max().item<float>(), 0);
  chosen.narrow(0, 200, 100).fill_(true);
  const at::Tensor silhouette = RenderSilhouette(model, TestView(), {}, chosen);
  EXPECT_GT(silhouette[30][second].item<float>(), 0.7);
  EXPECT_LT(silhouette[30][first].item<float>(), 0.01);
}

TEST(Pictures, AMapOfZerosIsNotBlack) {
  const Image picture(120, 80, 3, 90);
  const Image drawn = DrawHeatMap(picture, at::zeros({80, 120}), 0.5, 0.6, "nothing such");
  ASSERT_EQ(drawn.width, 120);
  EXPECT_EQ(drawn.at(60, 40)[0], 90);
  int dark = 0;  // letters of the line below
  for (int y = 80; y < drawn.height; ++y) {
    for (int x = 0; x < 120; ++x) dark += drawn.at(x, y)[0] < 150;
  }
  EXPECT_GT(dark, 50);
  const Image hot = DrawHeatMap(picture, at::ones({80, 120}), 0.5, 0.6, "all");
  EXPECT_NE(hot.at(60, 40)[0], hot.at(60, 40)[2]);
}

TEST(Protocols, TheMaskRuleFindsAPlateau) {
  at::Tensor map = at::full({90, 120}, 0.3);
  map.narrow(0, 20, 40).narrow(1, 30, 50).fill_(0.9);
  const std::vector<uint8_t> mask = MaskFromRelevancy(map);
  std::vector<uint8_t> truth(mask.size(), 0);
  for (int y = 20; y < 60; ++y) {
    for (int x = 30; x < 80; ++x) truth[y * 120 + x] = 1;
  }
  EXPECT_GT(MaskIou({truth, 120, 90}, {mask, 120, 90}), 0.8);
  const std::vector<uint8_t> flat = MaskFromRelevancy(at::full({9, 12}, 0.5));
  EXPECT_EQ(std::count(flat.begin(), flat.end(), 0), 9 * 12);
}

TEST(Protocols, SmoothingIsTheMeanOfTheWindow) {
  const at::Tensor map = at::rand({50, 70});
  const at::Tensor smooth = SmoothRelevancy(map);
  for (const auto& [y, x] : {std::pair{0, 0}, std::pair{25, 33}, std::pair{49, 69}}) {
    const int top = std::max(0, y - 15), left = std::max(0, x - 15);
    const at::Tensor window =
        map.narrow(0, top, std::min(50, y + 15) - top).narrow(1, left, std::min(70, x + 15) - left);
    EXPECT_NEAR(smooth[y][x].item<float>(), window.mean().item<float>(), 1e-5);
  }
}

TEST(Protocols, PhrasesOfScenesArePooledBothWays) {
  std::vector<std::vector<PhraseScore>> scenes(2);
  scenes[0] = {{"v", "a", true, 0.8, 0.6}, {"v", "b", false, 0.2, 0.3}, {"v", "c", true, -1, -1}};
  scenes[1] = {{"v", "a", false, 0.5, 0.1}};
  const PhraseSummary summary = SummarizePhrases(scenes);
  EXPECT_EQ(summary.queries, 4);
  EXPECT_NEAR(summary.localization.scene_mean, (2.0 / 3 + 0) / 2, 1e-9);
  EXPECT_NEAR(summary.localization.query_weighted, 0.5, 1e-9);
  EXPECT_NEAR(summary.iou_2d_scenes, 0.5, 1e-9);
  EXPECT_NEAR(summary.iou_2d_queries, 0.5, 1e-9);
  EXPECT_NEAR(summary.selection.mean_iou, 1.0 / 3, 1e-9);
  EXPECT_NEAR(summary.selection.accuracy_25, 2.0 / 3, 1e-9);
}

TEST(Protocols, SelectionIsRelativeToWhatWasSeen) {
  const at::Tensor scores = at::tensor({0.0f, 0.2f, 0.3f, 0.4f, 0.38f});
  const at::Tensor seen = at::tensor({0, 1, 1, 1, 1}, at::kByte);
  // Above 0.2 + 0.7 x 0.2.
  EXPECT_TRUE(at::equal(SelectGaussians(scores, seen),
                        at::tensor({0, 0, 0, 1, 1}, at::kByte).to(at::kBool)));
}

}  // namespace
}  // namespace athanor
