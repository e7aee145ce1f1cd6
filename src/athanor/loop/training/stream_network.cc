#include "athanor/loop/training/stream_network.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "athanor/base/error.h"
#include "athanor/base/files.h"

namespace athanor {
namespace {

constexpr std::string_view kMagic = "ATHMLP01";
constexpr int kLargestLayer = 1 << 16;
constexpr float kUtilityDecay = 0.99f;
constexpr double kDormant = 0.025;

void PutFloats(const std::vector<float>& values, std::string* bytes) {
  bytes->append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

void TakeFloats(ByteReader& reader, std::string_view what, std::vector<float>* values) {
  const std::string_view bytes = reader.Take(values->size() * sizeof(float), what);
  std::memcpy(values->data(), bytes.data(), bytes.size());
}

float WeightSpread(int inputs) { return std::sqrt(2.0f / static_cast<float>(inputs)); }

}  // namespace

StreamNetwork::StreamNetwork(const std::vector<int>& sizes, uint64_t seed) : sizes_(sizes) {
  ATHANOR_CHECK(sizes.size() >= 3, "network: expected inputs, hidden layers and classes");
  Random random(seed);
  for (size_t l = 0; l + 1 < sizes.size(); ++l) {
    Layer& layer = layers_.emplace_back();
    layer.inputs = sizes[l], layer.outputs = sizes[l + 1];
    layer.weights.resize(static_cast<size_t>(layer.inputs) * layer.outputs);
    for (float& weight : layer.weights) weight = WeightSpread(layer.inputs) * random.Normal();
    layer.biases.resize(layer.outputs);
    layer.weight_speed.resize(layer.weights.size());
    layer.bias_speed.resize(layer.outputs);
    if (l + 2 < sizes.size()) {
      usage_.push_back({std::vector<float>(layer.outputs), std::vector<float>(layer.outputs)});
    }
  }
}

int64_t StreamNetwork::multiply_adds() const {
  int64_t count = 0;
  for (const Layer& layer : layers_) count += std::ssize(layer.weights);
  return count;
}

void StreamNetwork::Forward(const float* input,
                            std::vector<std::vector<float>>* activations) const {
  activations->resize(layers_.size());
  for (size_t l = 0; l < layers_.size(); ++l) {
    const Layer& layer = layers_[l];
    std::vector<float>& out = (*activations)[l];
    out.resize(layer.outputs);
    const float* in = l == 0 ? input : (*activations)[l - 1].data();
    for (int o = 0; o < layer.outputs; ++o) {
      const float* weights = &layer.weights[static_cast<size_t>(o) * layer.inputs];
      float sum = layer.biases[o];
      for (int i = 0; i < layer.inputs; ++i) sum += weights[i] * in[i];
      // Not max(): a NaN is to come through.
      out[o] = l + 1 < layers_.size() && sum < 0 ? 0 : sum;
    }
  }
}

std::vector<float> StreamNetwork::Scores(const float* input) const {
  std::vector<std::vector<float>> activations;
  Forward(input, &activations);
  std::vector<float>& scores = activations.back();
  const float highest = *std::max_element(scores.begin(), scores.end());
  float sum = 0;
  for (float& score : scores) sum += score = std::exp(score - highest);
  for (float& score : scores) score /= sum;
  return std::move(scores);
}

double StreamNetwork::Update(const std::vector<const float*>& inputs,
                             const std::vector<int>& labels, const std::vector<float>& weights,
                             const StreamUpdate& options, Random* random) {
  std::vector<std::vector<float>> activations, errors(layers_.size());
  std::vector<std::vector<float>> weight_gradients, bias_gradients;
  for (const Layer& layer : layers_) {
    weight_gradients.emplace_back(layer.weights.size());
    bias_gradients.emplace_back(layer.biases.size());
  }
  std::vector<std::vector<float>> mean_activation;
  for (const Usage& usage : usage_) mean_activation.emplace_back(usage.utility.size());
  const auto share = 1 / static_cast<float>(inputs.size());
  double loss = 0;
  for (size_t n = 0; n < inputs.size(); ++n) {
    Forward(inputs[n], &activations);
    const std::vector<float>& last = activations.back();
    const float highest = *std::max_element(last.begin(), last.end());
    float sum = 0;
    for (const float value : last) sum += std::exp(value - highest);
    const float weight = weights[labels[n]];
    loss += weight * share * (std::log(sum) + highest - last[labels[n]]);
    std::vector<float>& top = errors.back();
    top.resize(last.size());
    for (size_t c = 0; c < last.size(); ++c) {
      const float target = static_cast<int>(c) == labels[n] ? 1.0f : 0.0f;
      top[c] = weight * share * (std::exp(last[c] - highest) / sum - target);
    }
    for (size_t l = layers_.size(); l-- > 0;) {
      const Layer& layer = layers_[l];
      const float* in = l == 0 ? inputs[n] : activations[l - 1].data();
      if (l > 0) errors[l - 1].assign(layer.inputs, 0);
      for (int o = 0; o < layer.outputs; ++o) {
        const float error = errors[l][o];
        if (error == 0) continue;
        const size_t row = static_cast<size_t>(o) * layer.inputs;
        bias_gradients[l][o] += error;
        for (int i = 0; i < layer.inputs; ++i) weight_gradients[l][row + i] += error * in[i];
        if (l == 0) continue;
        for (int i = 0; i < layer.inputs; ++i) errors[l - 1][i] += error * layer.weights[row + i];
      }
      if (l == 0) continue;
      for (int i = 0; i < layer.inputs; ++i) {
        if (activations[l - 1][i] <= 0) errors[l - 1][i] = 0;
        mean_activation[l - 1][i] += share * std::abs(activations[l - 1][i]);
      }
    }
  }
  const auto rate = static_cast<float>(options.rate), kept = static_cast<float>(options.momentum),
             decay = static_cast<float>(options.weight_decay);
  for (size_t l = 0; l < layers_.size(); ++l) {
    Layer& layer = layers_[l];
    for (size_t i = 0; i < layer.weights.size(); ++i) {
      layer.weight_speed[i] =
          kept * layer.weight_speed[i] + weight_gradients[l][i] + decay * layer.weights[i];
      layer.weights[i] -= rate * layer.weight_speed[i];
    }
    for (size_t i = 0; i < layer.biases.size(); ++i) {
      layer.bias_speed[i] = kept * layer.bias_speed[i] + bias_gradients[l][i];
      layer.biases[i] -= rate * layer.bias_speed[i];
    }
  }
  for (size_t l = 0; l < usage_.size(); ++l) {
    const Layer& next = layers_[l + 1];
    for (int u = 0; u < next.inputs; ++u) {
      float outgoing = 0;
      for (int o = 0; o < next.outputs; ++o) {
        outgoing += std::abs(next.weights[static_cast<size_t>(o) * next.inputs + u]);
      }
      usage_[l].utility[u] = kUtilityDecay * usage_[l].utility[u] +
                             (1 - kUtilityDecay) * mean_activation[l][u] * outgoing;
      usage_[l].age[u] += 1;
    }
  }
  if (options.replacement_rate > 0) ReplaceUnits(options, random);
  return loss;
}

int StreamNetwork::LeastUsed(size_t layer, int maturity) const {
  const Usage& usage = usage_[layer];
  int least = -1;
  float utility = 0;
  for (int u = 0; u < std::ssize(usage.utility); ++u) {
    if (usage.age[u] <= static_cast<float>(maturity)) continue;
    // A young mean is too small by what it began with, which was 0.
    const float mean = usage.utility[u] / (1 - std::pow(kUtilityDecay, usage.age[u]));
    if (least < 0 || mean < utility) least = u, utility = mean;
  }
  return least;
}

void StreamNetwork::ReplaceUnits(const StreamUpdate& options, Random* random) {
  for (size_t l = 0; l < usage_.size(); ++l) {
    const auto mature = std::count_if(usage_[l].age.begin(), usage_[l].age.end(), [&](float age) {
      return age > static_cast<float>(options.maturity);
    });
    usage_[l].due += static_cast<float>(options.replacement_rate) * static_cast<float>(mature);
    for (; usage_[l].due >= 1; usage_[l].due -= 1) {
      const int unit = LeastUsed(l, options.maturity);
      if (unit >= 0) BeginAnew(l, unit, random);
    }
  }
}

void StreamNetwork::ReplaceLeastUsed(double share, Random* random) {
  for (size_t l = 0; l < usage_.size(); ++l) {
    const auto count = std::lround(share * static_cast<double>(usage_[l].age.size()));
    for (int64_t i = 0; i < count; ++i) {
      const int unit = LeastUsed(l, 0);
      if (unit >= 0) BeginAnew(l, unit, random);
    }
  }
}

void StreamNetwork::BeginAnew(size_t layer, int unit, Random* random) {
  Layer& own = layers_[layer];
  const size_t row = static_cast<size_t>(unit) * own.inputs;
  for (int i = 0; i < own.inputs; ++i) {
    own.weights[row + i] = WeightSpread(own.inputs) * random->Normal();
    own.weight_speed[row + i] = 0;
  }
  own.biases[unit] = own.bias_speed[unit] = 0;
  // Nothing of what the network says changes but for what the old unit said.
  Layer& next = layers_[layer + 1];
  for (int o = 0; o < next.outputs; ++o) {
    next.weights[static_cast<size_t>(o) * next.inputs + unit] = 0;
    next.weight_speed[static_cast<size_t>(o) * next.inputs + unit] = 0;
  }
  usage_[layer].utility[unit] = usage_[layer].age[unit] = 0;
}

void StreamNetwork::ShrinkAndPerturb(double shrink, double perturb, uint64_t seed) {
  const StreamNetwork fresh(sizes_, seed);
  const auto kept = static_cast<float>(shrink), added = static_cast<float>(perturb);
  for (size_t l = 0; l < layers_.size(); ++l) {
    Layer& layer = layers_[l];
    for (size_t i = 0; i < layer.weights.size(); ++i) {
      layer.weights[i] = kept * layer.weights[i] + added * fresh.layers_[l].weights[i];
    }
    for (float& bias : layer.biases) bias *= kept;
    std::fill(layer.weight_speed.begin(), layer.weight_speed.end(), 0.0f);
    std::fill(layer.bias_speed.begin(), layer.bias_speed.end(), 0.0f);
  }
}

StreamMonitors StreamNetwork::Monitor(const std::vector<const float*>& inputs) const {
  StreamMonitors monitors;
  double squares = 0;
  for (const Layer& layer : layers_) {
    for (const float weight : layer.weights) squares += double{weight} * weight;
  }
  monitors.weight_norm = std::sqrt(squares);
  const int width = sizes_[sizes_.size() - 2];
  std::vector<std::vector<double>> means;
  for (const Usage& usage : usage_) means.emplace_back(usage.age.size());
  std::vector<double> moments(static_cast<size_t>(width) * width), mean(width);
  std::vector<std::vector<float>> activations;
  const double share = 1.0 / static_cast<double>(inputs.size());
  for (const float* input : inputs) {
    Forward(input, &activations);
    for (size_t l = 0; l < usage_.size(); ++l) {
      for (size_t u = 0; u < means[l].size(); ++u) means[l][u] += share * activations[l][u];
    }
    const std::vector<float>& last = activations[usage_.size() - 1];
    for (int i = 0; i < width; ++i) {
      mean[i] += share * last[i];
      for (int j = 0; j < width; ++j) {
        moments[static_cast<size_t>(i) * width + j] += share * last[i] * last[j];
      }
    }
  }
  int64_t units = 0, dormant = 0;
  for (const std::vector<double>& layer : means) {
    const double all = std::accumulate(layer.begin(), layer.end(), 0.0);
    units += std::ssize(layer);
    for (const double unit : layer) {
      dormant += unit * static_cast<double>(layer.size()) <= kDormant * all;
    }
  }
  monitors.dormant = static_cast<double>(dormant) / static_cast<double>(units);
  // Sum of squared singular values over the largest, by power iteration on the covariance.
  double trace = 0;
  for (int i = 0; i < width; ++i) {
    for (int j = 0; j < width; ++j) {
      moments[static_cast<size_t>(i) * width + j] -= mean[i] * mean[j];
    }
    trace += moments[static_cast<size_t>(i) * width + i];
  }
  std::vector<double> vector(width, 1), next(width);
  double largest = 0;
  for (int step = 0; step < 50; ++step) {
    double norm = 0;
    for (int i = 0; i < width; ++i) {
      next[i] = std::inner_product(vector.begin(), vector.end(),
                                   &moments[static_cast<size_t>(i) * width], 0.0);
      norm += next[i] * next[i];
    }
    norm = std::sqrt(norm);
    if (!(norm > 0)) break;
    largest = norm;
    for (int i = 0; i < width; ++i) vector[i] = next[i] / norm;
  }
  monitors.stable_rank = largest > 0 ? trace / largest : 0;
  return monitors;
}

std::string StreamNetwork::Encode() const {
  std::string bytes(kMagic);
  const auto put = [&](uint32_t number) {
    bytes.append(reinterpret_cast<const char*>(&number), sizeof number);
  };
  put(static_cast<uint32_t>(sizes_.size()));
  for (const int size : sizes_) put(static_cast<uint32_t>(size));
  for (const Layer& layer : layers_) {
    for (const auto* part :
         {&layer.weights, &layer.biases, &layer.weight_speed, &layer.bias_speed}) {
      PutFloats(*part, &bytes);
    }
  }
  for (const Usage& usage : usage_) {
    PutFloats(usage.utility, &bytes);
    PutFloats(usage.age, &bytes);
    PutFloats({usage.due}, &bytes);
  }
  return bytes;
}

StreamNetwork StreamNetwork::Decode(std::string_view bytes, std::string_view name) {
  ByteReader reader(bytes, name);
  if (reader.Take(kMagic.size(), "the kind of file") != kMagic) {
    reader.Fail("expected a network (ATHMLP01), found something else");
  }
  const uint64_t count = reader.Read<uint32_t>("the number of layers");
  if (count < 3 || count > 16) reader.Fail(StrCat("expected 3 to 16 layers, found ", count));
  std::vector<int> sizes;
  uint64_t floats = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const auto size = reader.Read<uint32_t>("a size");
    if (size < 1 || size > kLargestLayer) reader.Fail(StrCat("expected a size, found ", size));
    if (i > 0) floats += 2ull * size * (static_cast<uint64_t>(sizes.back()) + 1);
    sizes.push_back(static_cast<int>(size));
  }
  reader.CheckFits(floats, sizeof(float), "weights");
  StreamNetwork mlp(sizes, 0);
  for (Layer& layer : mlp.layers_) {
    for (auto* part : {&layer.weights, &layer.biases, &layer.weight_speed, &layer.bias_speed}) {
      TakeFloats(reader, "weights", part);
    }
  }
  for (Usage& usage : mlp.usage_) {
    TakeFloats(reader, "utilities", &usage.utility);
    TakeFloats(reader, "ages", &usage.age);
    usage.due = reader.Read<float>("units due");
  }
  if (reader.remaining() > 0) reader.Fail("expected the end of the network");
  return mlp;
}

}  // namespace athanor
