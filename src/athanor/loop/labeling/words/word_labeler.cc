#include "athanor/loop/labeling/words/word_labeler.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>
#include <span>

#include "athanor/base/error.h"
#include "athanor/loop/features/class_words.h"
#include "athanor/scenes/semantics/lifting/lift_features.h"
#include "athanor/scenes/semantics/query/scores.h"
#include "athanor/scenes/semantics/teachers/id_maps.h"

namespace athanor {
namespace {

bool CanRead(TextEncoder* encoder, const std::string& phrase) {
  try {
    encoder->Encode(std::span(&phrase, 1));
    return true;
  } catch (const Error&) {
    return false;
  }
}

// Whether one is another word for the other, or a kind of it. All is a kind of "object".
bool IsRelated(const std::string& phrase, const std::string& other) {
  if (std::find(kNegativePhrases.begin(), kNegativePhrases.end(), other) !=
      kNegativePhrases.end()) {
    return phrase == other;
  }
  return FitClasses(phrase, std::span(&other, 1), WordNet::Installed())[0] > 0;
}

// The mean of some rows of a field, of length 1; zeros where none was seen.
at::Tensor MeanOf(const SemanticField& field, const std::vector<int64_t>& rows) {
  if (rows.empty()) return at::zeros({field.features.dimension()});
  const at::Tensor mean = field.features.Decode(at::tensor(rows, at::kLong)).mean(0);
  return mean / mean.norm().clamp_min(1e-12);
}

void AddVectors(const MomentScene& scene, const SemanticField& field, WordLabeler::Found* found) {
  const auto count = static_cast<int64_t>(scene.points.size());
  std::vector<int64_t> all(count);
  std::iota(all.begin(), all.end(), 0);
  found->vector = MeanOf(field, all);
  found->box_vectors =
      at::zeros({static_cast<int64_t>(found->boxes.size()), field.features.dimension()});
  for (size_t b = 0; b < found->boxes.size(); ++b) {
    const NuscenesBox& box = found->boxes[b];
    const Eigen::Vector4d& q = box.rotation_wxyz;
    const Eigen::Quaterniond scene_from_box(q[0], q[1], q[2], q[3]);
    const Eigen::Vector3d centre = box.translation_m - scene.origin_in_world;
    const Eigen::Vector3d half =
        0.5 * Eigen::Vector3d(box.size_wlh_m.y(), box.size_wlh_m.x(), box.size_wlh_m.z());
    std::vector<int64_t> inside;
    for (int64_t i = 0; i < count; ++i) {
      const Eigen::Vector3d at = scene_from_box.inverse() * (scene.points[i] - centre);
      if ((at.cwiseAbs().array() <= half.array()).all()) inside.push_back(i);
    }
    found->box_vectors[static_cast<int64_t>(b)].copy_(MeanOf(field, inside));
  }
}

}  // namespace

const std::vector<std::string> kStreetWords = {
    "road",         "sidewalk",      "grass",        "building", "wall",   "fence",
    "tree",         "hedge",         "shrub",        "sky",      "car",    "truck",
    "bus",          "motorcycle",    "bicycle",      "person",   "animal", "street lamp",
    "traffic sign", "traffic light", "traffic cone", "barrier",  "bench",  "dustbin",
    "object",       "things",        "stuff",        "texture"};

OptionList Describe(WordLabelOptions& options) {
  OptionList list;
  list.Add("sweeps", &options.moment.sweeps,
           "LiDAR sweeps of a moment, the frame's and those before; more of them smear what moves",
           {.min = 1, .max = 100});
  list.Add("range", &options.moment.max_range_m, "labels end so many metres from the LiDAR",
           {.min = 1, .max = 200});
  list.Add("spread", &options.moment.spread_rad,
           "size of a point's Gaussian, as an angle at the LiDAR, radians",
           {.min = 1e-4, .max = 0.1});
  list.Add("threshold", &options.boxes.threshold, "a point belongs to the words above this score",
           {.min = 0, .max = 1});
  list.Add("clearance", &options.boxes.clearance_m,
           "what is lower above the ground is ground, metres", {.min = 0, .max = 10});
  list.Add("points", &options.boxes.min_points, "least points of a box", {.min = 1, .max = 1e6});
  list.Add("temperature", &options.temperature, "of the relevancy", {.min = 0.01, .max = 1000});
  return list;
}

AskedWords AskFor(const std::string& text) {
  if (const size_t equals = text.rfind('='); equals != std::string::npos) {
    const std::string given = text.substr(equals + 1);
    const int index = FindNuscenesClass(given);
    ATHANOR_CHECK(index >= 0, "'", text, "': there is no class \"", given, "\"");
    return {text.substr(0, equals), index};
  }
  std::string name = text;
  std::replace(name.begin(), name.end(), ' ', '_');
  if (const int index = FindNuscenesClass(name); index >= 0) return {text, index};
  // The classes in words of one meaning: a trailer is also a person who trails.
  const std::vector<std::string> classes = {
      "car",        "truck",      "bus",     "semitrailer",  "construction vehicle",
      "pedestrian", "motorcycle", "bicycle", "traffic cone", "barrier",
      "animal"};
  const std::vector<double> fits = FitClasses(text, classes, WordNet::Installed());
  const auto best = std::max_element(fits.begin(), fits.end());
  ATHANOR_CHECK(*best > 0, "'", text, "': fits no class of labels; expected a class with it (",
                "\"", text, "=animal\", say)");
  return {text, static_cast<int>(best - fits.begin())};
}

WordLabeler::WordLabeler(Teacher* teacher, TextEncoder* encoder, std::vector<AskedWords> asked,
                         const std::vector<std::string>& negatives, const WordLabelOptions& options)
    : teacher_(teacher), encoder_(encoder), asked_(std::move(asked)), options_(options) {
  ATHANOR_CHECK(!asked_.empty(), "word labels: expected at least one phrase");
  std::vector<std::string> readable;
  std::vector<std::string> given = negatives;
  if (given.empty()) given = teacher->classes();
  for (const std::string& word : given.empty() ? kStreetWords : given) {
    if (CanRead(encoder, word)) readable.push_back(word);
  }
  for (const AskedWords& phrase : asked_) {
    encoder->Encode(std::span(&phrase.text, 1));  // throws where it cannot be read
    std::vector<std::string>& others = negatives_.emplace_back();
    for (const AskedWords& other : asked_) {
      if (&other != &phrase && !IsRelated(phrase.text, other.text)) others.push_back(other.text);
    }
    for (const std::string& word : readable) {
      const bool is_there = std::find(others.begin(), others.end(), word) != others.end();
      if (!is_there && !IsRelated(phrase.text, word)) others.push_back(word);
    }
    ATHANOR_CHECK(!others.empty(), "'", phrase.text,
                  "': there are no words left to compare it with");
  }
}

WordLabeler::Found WordLabeler::Look(const MomentScene& scene, bool with_vectors) {
  const at::NoGradGuard no_grad;
  Found found;
  found.gaussians = std::ssize(scene.points);
  found.pictures = std::ssize(scene.views);
  if (scene.is_empty()) return found;
  LiftOptions lift;
  lift.progress = false;
  SemanticField field = LiftFeatures(
      scene.model, scene.views, ProjectOptions{},
      [&](int view) { return teacher_->Describe(scene.pictures[view], scene.names[view]); }, lift);
  found.seen = field.num_seen();
  field.text_space = teacher_->text_space();
  field.classes = teacher_->classes();
  if (const auto* maps = dynamic_cast<const IdMapTeacher*>(teacher_)) field.labels = maps->labels();
  const FieldSet fields({&field}, Combine::kMax);
  std::vector<at::Tensor> scores;  // [N] each
  for (size_t p = 0; p < asked_.size(); ++p) {
    scores.push_back(ScorePrompts(fields, encoder_, std::span(&asked_[p].text, 1), negatives_[p],
                                  options_.temperature)
                         .scores.select(1, 0)
                         .contiguous());
  }
  // A point belongs to one phrase.
  for (int64_t i = 0; i < found.gaussians; ++i) {
    size_t best = 0;
    for (size_t p = 1; p < scores.size(); ++p) {
      float& higher = scores[best].data_ptr<float>()[i];
      float& score = scores[p].data_ptr<float>()[i];
      if (score > higher) {
        higher = 0;
        best = p;
      } else {
        score = 0;
      }
    }
  }
  for (size_t p = 0; p < asked_.size(); ++p) {
    const ScoredPoints scored = {
        scene.points,
        scene.height_m,
        {scores[p].data_ptr<float>(), static_cast<size_t>(found.gaussians)},
        scene.lidar};
    for (NuscenesBox& box : FindWordBoxes(scored, asked_[p].class_index, options_.boxes)) {
      box.translation_m += scene.origin_in_world;
      found.boxes.push_back(box);
    }
  }
  if (with_vectors) AddVectors(scene, field, &found);
  return found;
}

}  // namespace athanor
