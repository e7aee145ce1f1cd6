#include "athanor/detection/profusion3d/detect_train_options.h"

#include <algorithm>

#include "athanor/base/files.h"

namespace athanor {

DetectTrainOptions DetectTrainPreset(const std::string& name) {
  DetectTrainOptions options;
  Describe(options).ReadToml(FindShared("configs/detect/" + name + ".toml"));
  return options;
}

std::vector<std::filesystem::path> SplitPaths(const std::string& text) {
  std::vector<std::filesystem::path> paths;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    if (end > begin) paths.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return paths;
}

OptionList Describe(DetectTrainOptions& o) {
  OptionList list = Describe(o.model);
  list.Add("steps", &o.steps, "of the training", {.min = 1, .max = 1e9});
  list.Add("batch", &o.batch, "samples per step", {.min = 1, .max = 1024});
  list.Add("rate", &o.rate, "highest learning rate; it rises first and then falls to 0",
           {.min = 0, .max = 1});
  list.Add("rise", &o.rise, "part of the steps over which the rate rises", {.min = 0, .max = 1});
  list.Add("weight-decay", &o.weight_decay, "of AdamW", {.min = 0, .max = 10});
  list.Add("clip", &o.clip_norm, "longest gradient that is taken whole; 0: any",
           {.min = 0, .max = 1e9});
  list.Add("average", &o.average, "of weights over steps, exponential: these are the result",
           {.min = 0, .max = 1});
  list.Add("bfloat16", &o.bfloat16,
           "convolutions compute in bfloat16, where the processor has AVX-512");
  list.Add("dropout", &o.dropout, "in the decoder, a tenth");
  list.Add("heat-weight", &o.heat_weight, "of the heat map's loss", {.min = 0, .max = 1000});
  list.Add("proposal-weight", &o.proposal_weight,
           "of the boxes that proposals say at the true places", {.min = 0, .max = 1000});
  list.Add("camera-weight", &o.camera_weight,
           "of what teaches cameras by themselves: depths and classes of pixels, a heat map",
           {.min = 0, .max = 1000});
  list.Add(
      "cameras-alone", &o.cameras_alone,
      "teaches cameras by themselves and nothing else, for --start-from; several times faster");
  list.Add("denoising-groups", &o.denoising_groups,
           "of true boxes, moved a little, that queries are to find back", {.min = 0, .max = 100});
  list.Add("share", &o.share, "of the frames that is trained on", {.min = 0.001, .max = 1});
  list.Add("older", &o.older, "driving logs that were learned from before, PATH,PATH,...");
  list.Add("replay", &o.replay, "share of the samples that are of the older logs",
           {.min = 0, .max = 1});
  list.Add("balanced", &o.balanced, "each class is seen equally often");
  list.Add("paste", &o.paste, "objects of other frames into each sample");
  list.Add("paste-until", &o.paste_until, "part of the steps that paste", {.min = 0, .max = 1});
  list.Add("augment", &o.augment, "turn, flip, scale and move the world, zoom pictures, colours");
  AugmentationOptions& a = o.augmentation;
  list.Add("flip", &a.flip_probability, "how often the world is flipped, along x and along y",
           {.min = 0, .max = 1});
  list.Add("rotation", &a.max_rotation_rad, "of the world, at most, radians",
           {.min = 0, .max = 3.15});
  list.Add("scale-low", &a.min_scale, "least scale of the world", {.min = 0.1, .max = 10});
  list.Add("scale-high", &a.max_scale, "largest", {.min = 0.1, .max = 10});
  list.Add("translation", &a.translation_sigma_m, "of the world, standard deviation, metres",
           {.min = 0, .max = 100});
  list.Add("zoom-low", &a.min_zoom, "least zoom of a picture", {.min = 0.1, .max = 10});
  list.Add("zoom-high", &a.max_zoom, "largest", {.min = 0.1, .max = 10});
  list.Add("drop-cameras", &a.drop_pictures, "how often all pictures are taken away",
           {.min = 0, .max = 1});
  list.Add("drop-lidar", &a.drop_points, "how often all points are", {.min = 0, .max = 1});
  list.Add("drop-camera", &a.drop_camera, "how often each picture is", {.min = 0, .max = 1});
  list.Add("start-from", &o.start_from,
           "weights of `detect pretrain` or of another run; tensors that fit are taken");
  list.Add("score-every", &o.score_every, "steps between scores on the data of --score; 0: none",
           {.min = 0, .max = 1e9});
  list.Add("score-frames", &o.score_frames, "of each of these scores; the last takes all",
           {.min = 1, .max = 1e9});
  list.Add("checkpoint-every", &o.checkpoint_every, "steps between checkpoints",
           {.min = 0, .max = 1e9});
  list.Add("metrics-every", &o.metrics_every, "steps between lines of metrics.jsonl",
           {.min = 1, .max = 1e9});
  list.Add("device", &o.device, "cpu, cuda or cuda:N");
  list.Add("workers", &o.workers, "threads that make samples", {.min = 0, .max = 256});
  list.Add("seed", &o.seed, "of weights and of everything random", {.min = 0, .max = 2147483647});
  return list;
}

}  // namespace athanor
