#include "athanor/scenes/semantics/teachers/embedded/teacher_trainer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "athanor/base/error.h"
#include "athanor/base/parallel.h"
#include "athanor/scenes/semantics/teachers/embedded/description_loss.h"
#include "athanor/scenes/semantics/teachers/embedded/embedded_teacher.h"
#include "athanor/scenes/semantics/teachers/embedded/training_crop.h"

namespace athanor {
namespace {

constexpr int kCropsOfPicture = 2;
constexpr int64_t kWarmup = 150;
constexpr double kAverageDecay = 0.998;
// Of the rate. At 0.5 the layers outgrow the words within a hundred steps, and the phrases' mean
// cosine was 0.9.
constexpr double kTextRate = 0.15;

EmbeddedNetworkShape WithWords(EmbeddedNetworkShape shape, const Vocabulary& vocabulary) {
  shape.words = static_cast<int>(vocabulary.words().size());
  return shape;
}

// Half of the pixels from anywhere, half from labels picked evenly, so that small things count.
std::vector<int32_t> PickPixels(const std::vector<int32_t>& labels, int count, Random& random) {
  std::map<int32_t, std::vector<int32_t>> cells;
  std::vector<int32_t> all;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 0) continue;
    cells[labels[i]].push_back(static_cast<int32_t>(i));
    all.push_back(static_cast<int32_t>(i));
  }
  std::vector<const std::vector<int32_t>*> lists;
  for (const auto& [label, list] : cells) lists.push_back(&list);
  std::vector<int32_t> picked;
  const auto any = [&](const std::vector<int32_t>& list) {
    return list[random.Below(static_cast<uint32_t>(list.size()))];
  };
  for (int i = 0; i < count && !all.empty(); ++i) {
    picked.push_back(i % 2 == 0 ? any(all)
                                : any(*lists[random.Below(static_cast<uint32_t>(lists.size()))]));
  }
  return picked;
}

}  // namespace

OptionList Describe(TrainTeacherOptions& options) {
  OptionList list;
  list.Add("steps", &options.steps, "how long to train; a run may be made longer while it goes on",
           {.min = 1, .max = 1e7});
  list.Add("pictures", &options.pictures, "per step; each gives two crops", {.min = 1, .max = 256});
  list.Add("crop", &options.crop_px, "side of a crop, pixels; a multiple of 32",
           {.min = 32, .max = 1024});
  list.Add("zoom-low", &options.zoom_low, "least scale of a crop against its picture",
           {.min = 0.05, .max = 20});
  list.Add("zoom-high", &options.zoom_high, "largest scale of a crop", {.min = 0.05, .max = 20});
  list.Add("pixels", &options.pixels, "of each crop that the loss looks at",
           {.min = 1, .max = 65536});
  list.Add("rate", &options.rate, "highest learning rate", {.min = 0, .max = 1});
  list.Add("decay", &options.decay, "share of the steps in which the rate falls to 0",
           {.min = 0, .max = 1});
  list.Add("bfloat16", &options.bfloat16,
           "compute convolutions in bfloat16: twice as fast where the processor has it");
  list.Add("seed", &options.seed, "of first weights and of what is drawn", {.min = 0, .max = 1e15});
  list.Add("wordnet", &options.wordnet,
           "folder of WordNet's data.noun and index.noun (Debian: wordnet-base), for more names of "
           "things; empty = without");
  list.Add("start-from", &options.start_from,
           "begin with the networks of another run: a file of its checkpoints/; words that both "
           "know keep their meaning");
  list.Add("call", &options.call,
           "kinds by another name, which then is their only one: KIND=NAME, between commas; pixels "
           "of a kind without a name say nothing");
  return list;
}

TeacherTrainer::TeacherTrainer(const LabelledWorlds& worlds, const Lexicon& lexicon,
                               const TrainTeacherOptions& options,
                               const EmbeddedNetworkShape& shape)
    : worlds_(worlds),
      lexicon_(lexicon),
      options_(options),
      vocabulary_(lexicon.Words()),
      shape_(WithWords(shape, vocabulary_)),
      image_(shape_, static_cast<uint64_t>(options.seed)),
      average_image_(shape_, static_cast<uint64_t>(options.seed)),
      text_(shape_, static_cast<uint64_t>(options.seed)),
      average_text_(shape_, static_cast<uint64_t>(options.seed)),
      image_adam_(&image_.parameters(), {}),
      text_adam_(&text_.parameters(), {}) {
  ATHANOR_CHECK(options.crop_px % 32 == 0, "train-teacher: expected a crop of a multiple of 32 ",
                "pixels, found ", options.crop_px);
  ATHANOR_CHECK(options.zoom_low <= options.zoom_high, "train-teacher: expected zoom-low up to ",
                "zoom-high ", options.zoom_high, ", found ", options.zoom_low);
}

TrainStepReport TeacherTrainer::Step() {
  Random random(MixBits(static_cast<uint64_t>(options_.seed)) ^
                MixBits(static_cast<uint64_t>(step_) + 1));
  const int64_t crops = int64_t{options_.pictures} * kCropsOfPicture;
  const int side = options_.crop_px, cells = side / kEmbeddedStride;
  at::Tensor images = at::empty({crops, 3, side, side}, at::kFloat);
  std::vector<int64_t> views(options_.pictures);
  for (int64_t& view : views) {
    view = random.Below(static_cast<uint32_t>(worlds_.num_views()));
  }
  const uint64_t crop_seed = (uint64_t{random.NextBits()} << 32) | random.NextBits();
  const ZoomRange zoom = {static_cast<float>(options_.zoom_low),
                          static_cast<float>(options_.zoom_high)};
  std::vector<std::vector<int32_t>> picked(crops), labels(crops);
  ParallelChunks(options_.pictures, [&](int64_t p) {
    const LabelledView view = worlds_.ReadView(views[p]);
    for (int64_t k = p * kCropsOfPicture; k < (p + 1) * kCropsOfPicture; ++k) {
      Random own(MixBits(crop_seed + static_cast<uint64_t>(k)));
      TrainingCrop crop = MakeCrop(view, side, zoom, own);
      std::copy_n(crop.image.data_ptr<float>(), 3 * side * side,
                  images.data_ptr<float>() + k * 3 * side * side);
      picked[k] = PickPixels(crop.labels, options_.pixels, own);
      labels[k] = std::move(crop.labels);
    }
  });
  // Labels that are seen, numbered anew; and where their pixels are.
  std::map<int32_t, int32_t> number;
  std::vector<PixelLabel> seen;
  std::vector<int32_t> of_pixel;
  std::vector<int64_t> place;
  for (int64_t k = 0; k < crops; ++k) {
    for (const int32_t cell : picked[k]) {
      const int32_t label = labels[k][cell];
      const auto [it, added] = number.emplace(label, static_cast<int32_t>(seen.size()));
      if (added) seen.push_back(worlds_.labels()[label]);
      of_pixel.push_back(it->second);
      place.push_back(k * cells * cells + cell);
    }
  }
  ATHANOR_CHECK(!seen.empty(), "train-teacher: step ", step_, " drew pictures without any label");
  const DescriptionSet set = SampleDescriptions(lexicon_, seen, random);
  const DescriptionTargets targets = MakeTargets(lexicon_, set, seen, of_pixel);
  std::vector<std::vector<int>> prompts;
  for (const Phrase& phrase : set.phrases) {
    prompts.push_back(vocabulary_.Tokenize(phrase.text).ids);
  }
  const auto& neutral = NeutralWords();
  prompts.push_back(
      vocabulary_.Tokenize(neutral[random.Below(static_cast<uint32_t>(neutral.size()))]).ids);

  const int64_t count = static_cast<int64_t>(place.size());
  at::Tensor index = at::empty({count}, at::kLong);
  std::copy(place.begin(), place.end(), index.data_ptr<int64_t>());
  const at::Tensor features = image_.Forward(images, /*training=*/true, options_.bfloat16);
  const at::Tensor pixels = features.permute({0, 2, 3, 1})
                                .reshape({crops * cells * cells, shape_.dimension})
                                .index_select(0, index);
  const at::Tensor texts = text_.Forward(prompts, /*training=*/true);
  const int64_t phrases = static_cast<int64_t>(set.phrases.size());
  const DescriptionLoss loss = ComputeDescriptionLoss(
      pixels, texts.narrow(0, 0, phrases), texts.select(0, phrases), kDescriptionScale, targets);
  TrainStepReport report;
  report.loss = loss.total.item<double>();
  report.pairs = loss.pairs.item<double>();
  report.groups = loss.groups.item<double>();
  ATHANOR_CHECK(std::isfinite(report.loss), "train-teacher: the loss of step ", step_,
                " is not finite; a lower --rate may help");
  loss.total.backward();
  report.rate = WarmupStableDecay(step_, options_.steps, kWarmup, options_.decay, options_.rate);
  report.gradient_norm = image_adam_.Step(report.rate);
  text_adam_.Step(kTextRate * report.rate);
  ++step_;
  Average();
  return report;
}

// The mean of the weights over some hundred steps is better than those of any step.
void TeacherTrainer::Average() {
  const at::NoGradGuard no_grad;
  const double age = static_cast<double>(step_);
  const double keep = std::min(kAverageDecay, (1 + age) / (10 + age));
  for (const auto& [average, now] : {std::pair(&average_image_.parameters(), &image_.parameters()),
                                     std::pair(&average_text_.parameters(), &text_.parameters())}) {
    for (size_t i = 0; i < now->trained().size(); ++i) {
      at::Tensor mean = average->trained()[i].second;
      mean.mul_(keep).add_(now->trained()[i].second, 1 - keep);
    }
    for (size_t i = 0; i < now->buffers().size(); ++i) {
      at::Tensor mean = average->buffers()[i].second;
      mean.mul_(keep).add_(now->buffers()[i].second, 1 - keep);
    }
  }
}

SafeTensors TeacherTrainer::Checkpoint() const {
  SafeTensors file;
  image_.parameters().Save("image.", &file);
  text_.parameters().Save("text.", &file);
  average_image_.parameters().Save("average.image.", &file);
  average_text_.parameters().Save("average.text.", &file);
  image_adam_.Save("image.", &file);
  text_adam_.Save("text.", &file);
  file.metadata["step"] = std::to_string(step_);
  DescribeEmbedded(shape_, vocabulary_, &file);
  return file;
}

void TeacherTrainer::Restore(const SafeTensors& file, std::string_view where) {
  const auto words = file.metadata.find("vocabulary");
  SafeTensors mine;
  DescribeEmbedded(shape_, vocabulary_, &mine);
  ATHANOR_CHECK(words != file.metadata.end() && words->second == mine.metadata.at("vocabulary"),
                where, ": was trained with other words; expected the same worlds and WordNet");
  image_.parameters().Load("image.", file, where);
  text_.parameters().Load("text.", file, where);
  average_image_.parameters().Load("average.image.", file, where);
  average_text_.parameters().Load("average.text.", file, where);
  image_adam_.Load("image.", file, where);
  text_adam_.Load("text.", file, where);
  const auto step = file.metadata.find("step");
  ATHANOR_CHECK(step != file.metadata.end(), where, ": expected 'step' in the metadata");
  step_ = std::stoll(step->second);
}

void TeacherTrainer::StartFrom(const SafeTensors& checkpoint, std::string_view where) {
  const at::NoGradGuard no_grad;
  const Vocabulary known = ReadEmbeddedVocabulary(checkpoint, where);
  for (const auto& [image, text, prefix] :
       {std::tuple(&image_, &text_, ""), std::tuple(&average_image_, &average_text_, "average.")}) {
    image->parameters().Load(StrCat(prefix, "image."), checkpoint, where);
    const std::string text_prefix = StrCat(prefix, "text.");
    SafeTensors fitted;
    for (const auto& [name, tensor] : checkpoint.tensors) {
      if (!name.starts_with(text_prefix)) continue;
      at::Tensor value = tensor;
      if (name == text_prefix + "words") {
        // Row 0 fills up short phrases; word w has row w + 1.
        value = text->parameters().Get("words").detach().clone();
        ATHANOR_CHECK(tensor.dim() == 2 && tensor.size(1) == value.size(1) &&
                          tensor.size(0) == std::ssize(known.words()) + 1,
                      where, ": ", name, ": expected [", known.words().size() + 1, ",",
                      value.size(1), "], found ", tensor.sizes());
        value[0].copy_(tensor[0]);
        for (size_t w = 0; w < known.words().size(); ++w) {
          const auto& mine = vocabulary_.words();
          const auto it = std::lower_bound(mine.begin(), mine.end(), known.words()[w]);
          if (it == mine.end() || *it != known.words()[w]) continue;
          value[it - mine.begin() + 1].copy_(tensor[static_cast<int64_t>(w) + 1]);
        }
      }
      fitted.tensors.emplace_back(name, value);
    }
    text->parameters().Load(text_prefix, fitted, where);
  }
}

SafeTensors TeacherTrainer::Export() const {
  SafeTensors file;
  average_image_.SaveFolded(&file);
  SafeTensors text;
  average_text_.parameters().Save("text.", &text);
  for (const auto& [name, tensor] : text.tensors) {
    file.tensors.emplace_back(name, tensor.to(at::kHalf).contiguous());
  }
  DescribeEmbedded(shape_, vocabulary_, &file);
  file.metadata["scale"] = std::to_string(kDescriptionScale);
  file.metadata["steps"] = std::to_string(step_);
  return file;
}

int64_t TeacherTrainer::CountParameters() const {
  return image_.parameters().CountTrained() + text_.parameters().CountTrained();
}

}  // namespace athanor
