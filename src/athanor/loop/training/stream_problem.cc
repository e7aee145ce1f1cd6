#include "athanor/loop/training/stream_problem.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/loop/training/toml_section.h"

namespace athanor {
namespace {

constexpr int kDefaultHidden = 16;
constexpr int kMonitored = 256;  // samples

// What a hyper-parameter is without a range in the space, and what it may be.
struct Known {
  const char* name;
  double otherwise, low, high;
};
constexpr Known kKnown[] = {
    {"rate", 0.05, 0, 1e6},
    {"momentum", 0.9, 0, 0.9999},
    {"weight-decay", 1e-4, 0, 10},
    {"rare-weight", 1, 0, 1e6},
    {"hidden", kDefaultHidden, 1, 4096},
    {"replay", -1, 0, 1},
    {"replacement-rate", 0, 0, 1},
};

uint64_t Seed(uint64_t a, uint64_t b) { return MixBits(a ^ MixBits(b + 0x51ed)); }

}  // namespace

OptionList Describe(StreamProblemOptions& o) {
  OptionList list;
  list.Add("inputs", &o.inputs, "dimensions of the inputs", {.min = 1, .max = 1024});
  list.Add("classes", &o.classes, "of which the last is rare", {.min = 2, .max = 100});
  list.Add("clouds", &o.clouds, "of each class at first", {.min = 1, .max = 100});
  list.Add("new-clouds", &o.new_clouds, "of each class in every other drop",
           {.min = 0, .max = 100});
  list.Add("drops", &o.drops, "of data that have come", {.min = 1, .max = 10000});
  list.Add("samples", &o.samples, "of each drop", {.min = 1, .max = 1e6});
  list.Add("rare", &o.rare, "share of the rare class", {.min = 0, .max = 1});
  list.Add("spread", &o.spread, "of a cloud", {.min = 0, .max = 100});
  list.Add("drift", &o.drift, "that a cloud moves from drop to drop", {.min = 0, .max = 100});
  list.Add("wrong", &o.wrong, "share of labels that are", {.min = 0, .max = 1});
  list.Add("tests", &o.tests, "samples to score on", {.min = 1, .max = 1e6});
  list.Add("layers", &o.layers, "hidden layers", {.min = 1, .max = 8});
  list.Add("batch", &o.batch, "samples per update", {.min = 1, .max = 4096});
  list.Add("most-multiply-adds", &o.most_multiply_adds, "of an input: the worst cost",
           {.min = 1, .max = 1e12});
  list.Add("data-seed", &o.data_seed, "of the data", {.min = 0, .max = 2147483647});
  return list;
}

double AveragePrecision(const std::vector<float>& scores, const std::vector<bool>& is_positive) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (scores[a] != scores[b]) return scores[a] > scores[b];
    if (is_positive[a] != is_positive[b]) return !is_positive[a];
    return a < b;
  });
  double sum = 0;
  int64_t found = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    if (!is_positive[order[i]]) continue;
    ++found;
    sum += static_cast<double>(found) / static_cast<double>(i + 1);
  }
  return found > 0 ? sum / static_cast<double>(found) : 0;
}

StreamProblem::StreamProblem(const StreamProblemOptions& options) : options_(options) {
  const auto seed = static_cast<uint64_t>(options.data_seed);
  for (int drop = 0; drop < options.drops; ++drop) {
    drops_.push_back(MakeSamples(drop, options.samples, options.wrong, Seed(seed, 2 * drop)));
    const int first = options.tests * drop / options.drops,
              last = options.tests * (drop + 1) / options.drops;
    for (Sample& sample : MakeSamples(drop, last - first, 0, Seed(seed, 2 * drop + 1))) {
      tests_.push_back(std::move(sample));
    }
  }
}

std::unique_ptr<StreamProblem> StreamProblem::FromToml(std::string_view toml,
                                                       std::string_view name) {
  StreamProblemOptions options;
  Describe(options).ParseToml(TomlSection(toml, name, "stream"), name);
  return std::make_unique<StreamProblem>(options);
}

std::vector<StreamProblem::Sample> StreamProblem::MakeSamples(int drop, int count, double wrong,
                                                              uint64_t seed) const {
  const StreamProblemOptions& o = options_;
  const auto centre = [&](int label, int cloud) {
    Random random(Seed(static_cast<uint64_t>(o.data_seed), 1000003ull * label + cloud + 17));
    std::vector<float> place(o.inputs), way(o.inputs);
    for (float& x : place) x = random.Normal();
    float length = 0;
    for (float& x : way) x = random.Normal(), length += x * x;
    // A cloud is where it first came, and moves from then on.
    const int came =
        cloud < o.clouds ? 0 : (cloud - o.clouds) / std::max(o.new_clouds, 1) + 1;  // in which drop
    const int moves = drop - came;
    for (int i = 0; i < o.inputs; ++i) {
      place[i] += static_cast<float>(o.drift) * static_cast<float>(moves) * way[i] /
                  std::sqrt(length) * std::sqrt(static_cast<float>(o.inputs));
    }
    return place;
  };
  std::vector<std::vector<std::vector<float>>> centres(o.classes);
  for (int label = 0; label < o.classes; ++label) {
    for (int cloud = 0; cloud < o.clouds + o.new_clouds * drop; ++cloud) {
      centres[label].push_back(centre(label, cloud));
    }
  }
  Random random(seed);
  std::vector<Sample> samples(count);
  for (Sample& sample : samples) {
    const bool is_rare = random.Uniform() < o.rare;
    sample.label = is_rare ? o.classes - 1 : static_cast<int>(random.Below(o.classes - 1));
    const auto& clouds = centres[sample.label];
    sample.input = clouds[random.Below(static_cast<uint32_t>(clouds.size()))];
    for (float& x : sample.input) x += static_cast<float>(o.spread) * random.Normal();
    if (random.Uniform() < wrong) sample.label = static_cast<int>(random.Below(o.classes));
  }
  return samples;
}

std::vector<Objective> StreamProblem::objectives() const {
  return {{"rare_ap", 0, 1}, {"map", 0, 1}, {"cost", options_.most_multiply_adds, 0}};
}

void StreamProblem::CheckSpace(const SearchSpace& space) const {
  for (const HyperRange& range : space.ranges()) {
    const auto* known = std::find_if(std::begin(kKnown), std::end(kKnown),
                                     [&](const Known& k) { return range.name == k.name; });
    std::string names;
    for (const Known& k : kKnown) names += StrCat(names.empty() ? "" : ", ", k.name);
    ATHANOR_CHECK(known != std::end(kKnown), "stream: there is no hyper-parameter '", range.name,
                  "' (there are: ", names, ")");
    ATHANOR_CHECK(range.kind != HyperRange::Kind::kChoice && range.low >= known->low &&
                      range.high <= known->high,
                  "stream: '", range.name, "': expected numbers of ", known->low, " to ",
                  known->high);
    ATHANOR_CHECK(range.name != "hidden" || range.is_fixed,
                  "stream: 'hidden': expected fixed = true: a network keeps its size");
  }
}

double StreamProblem::Number(const HyperParameters& hyper, const std::string& name,
                             double otherwise) const {
  return hyper.contains(name) ? HyperNumber(hyper, name) : otherwise;
}

TrainReport StreamProblem::Train(const TrainRequest& request,
                                 const std::filesystem::path& checkpoint) {
  const auto number = [&](const char* name) {
    const auto* known = std::find_if(std::begin(kKnown), std::end(kKnown), [&](const Known& k) {
      return std::string_view(k.name) == name;
    });
    return Number(request.hyper, name, known->otherwise);
  };
  const auto hidden = static_cast<int>(std::lround(number("hidden")));
  std::vector<int> sizes(options_.layers + 2, hidden);
  sizes.front() = options_.inputs, sizes.back() = options_.classes;
  StreamNetwork network =
      request.from.empty() ? StreamNetwork(sizes, Seed(request.seed, 1))
                           : StreamNetwork::Decode(ReadFile(request.from), request.from.string());
  ATHANOR_CHECK(network.sizes() == sizes, request.from.string(), ": expected a network of ", hidden,
                " hidden units, found ", network.sizes()[1]);
  Random random(Seed(request.seed, 2));
  if (request.mutation.shrink != 1 || request.mutation.perturb != 0) {
    network.ShrinkAndPerturb(request.mutation.shrink, request.mutation.perturb,
                             Seed(request.seed, 3));
  }
  if (request.mutation.replace > 0) network.ReplaceLeastUsed(request.mutation.replace, &random);

  StreamUpdate update;
  update.rate = number("rate"), update.momentum = number("momentum");
  update.weight_decay = number("weight-decay");
  update.replacement_rate = number("replacement-rate");
  // Without a wish, each drop is seen as often as any other.
  double replay = number("replay");
  const auto newest = static_cast<uint32_t>(drops_.size() - 1);
  if (replay < 0) replay = newest / static_cast<double>(drops_.size());
  std::vector<float> weights(options_.classes, 1);
  weights.back() = static_cast<float>(number("rare-weight"));
  double loss = 0;
  for (int64_t i = 0; i < request.updates; ++i) {
    std::vector<const float*> inputs;
    std::vector<int> labels;
    for (int b = 0; b < options_.batch; ++b) {
      const bool is_old = newest > 0 && random.Uniform() < replay;
      const std::vector<Sample>& drop = drops_[is_old ? random.Below(newest) : newest];
      const Sample& sample = drop[random.Below(static_cast<uint32_t>(drop.size()))];
      inputs.push_back(sample.input.data());
      labels.push_back(sample.label);
    }
    const double step = network.Update(inputs, labels, weights, update, &random);
    if (!std::isfinite(step)) {
      throw MemberFailure(StrCat("the loss is not finite at update ", request.updates_before + i));
    }
    loss = i == 0 ? step : 0.95 * loss + 0.05 * step;
  }
  std::vector<const float*> monitored;
  for (size_t i = 0; i < std::min<size_t>(kMonitored, tests_.size()); ++i) {
    monitored.push_back(tests_[i].input.data());
  }
  const StreamMonitors monitors = network.Monitor(monitored);
  if (!std::isfinite(monitors.weight_norm)) throw MemberFailure("weights are not finite");
  TrainReport report;
  report.monitors = {{"loss", loss},
                     {"dormant", monitors.dormant},
                     {"weight_norm", monitors.weight_norm},
                     {"stable_rank", monitors.stable_rank}};
  // Forward, and twice as much back.
  report.work = 3e-6 * static_cast<double>(network.multiply_adds() * options_.batch) *
                static_cast<double>(request.updates);
  WriteFile(checkpoint, network.Encode());
  return report;
}

std::map<std::string, double> StreamProblem::Evaluate(const std::filesystem::path& checkpoint,
                                                      const HyperParameters&) {
  const StreamNetwork network = StreamNetwork::Decode(ReadFile(checkpoint), checkpoint.string());
  std::vector<std::vector<float>> scores(options_.classes);
  for (const Sample& sample : tests_) {
    const std::vector<float> of_sample = network.Scores(sample.input.data());
    for (int c = 0; c < options_.classes; ++c) {
      if (!std::isfinite(of_sample[c])) throw MemberFailure("a score is not finite");
      scores[c].push_back(of_sample[c]);
    }
  }
  double sum = 0, rare = 0;
  for (int c = 0; c < options_.classes; ++c) {
    std::vector<bool> is_positive;
    for (const Sample& sample : tests_) is_positive.push_back(sample.label == c);
    rare = AveragePrecision(scores[c], is_positive);
    sum += rare;
  }
  return {{"rare_ap", rare},
          {"map", sum / options_.classes},
          {"cost", static_cast<double>(network.multiply_adds())}};
}

void StreamProblem::Export(const std::filesystem::path& checkpoint,
                           const std::filesystem::path& weights) {
  const std::string bytes = ReadFile(checkpoint);
  StreamNetwork::Decode(bytes, checkpoint.string());
  WriteFile(weights, bytes);
}

double StreamProblem::Accuracy(const StreamNetwork& network, bool on_tests) const {
  int64_t right = 0, all = 0;
  const auto count = [&](const std::vector<Sample>& samples) {
    for (const Sample& sample : samples) {
      const std::vector<float> scores = network.Scores(sample.input.data());
      const auto best = std::max_element(scores.begin(), scores.end()) - scores.begin();
      right += best == sample.label;
      ++all;
    }
  };
  if (on_tests) count(tests_);
  if (!on_tests) std::for_each(drops_.begin(), drops_.end(), count);
  return static_cast<double>(right) / static_cast<double>(std::max<int64_t>(all, 1));
}

}  // namespace athanor
