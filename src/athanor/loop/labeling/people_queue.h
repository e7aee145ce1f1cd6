// Labels for people to look at: those frames first where looking changes most, handed out and taken
// back as plain JSON, as COCO (https://cocodataset.org/#format-data) or as nuScenes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/datasets/log.h"
#include "athanor/loop/labeling/label_set.h"

namespace athanor {

struct QueuedFrame {
  size_t index = 0;  // into LabelSet::frames
  double gain = 0;   // expected number of corrections, rare classes counting more
};

// The frames of most gain, best first. A label of confidence c that is not accepted is expected to
// give 4 c (1 - c) of a correction, times sqrt(usual number of labels of a class / number of its
// own), at most 10. Once a track is queued, its other frames give a tenth: they say the same again.
std::vector<QueuedFrame> QueueForPeople(const LabelSet& labels, int64_t count);

// {"athanor_queue": 1, "frames": [{"log", "frame", "time_us", "gain", "labels": [...]}]}: people
// change, remove and add labels; what comes back is the truth of these frames.
std::string EncodeQueueJson(const LabelSet& labels, const std::vector<QueuedFrame>& queue);
// COCO detection: the pictures of these frames, each label a box in every picture that shows it.
// People remove annotations, and change their categories.
std::string EncodeQueueCoco(const LabelSet& labels, const std::vector<QueuedFrame>& queue,
                            const std::vector<const Log*>& logs);

struct ImportedLabels {
  LabelSet labels;  // a child version, the frames that came back complete
  int64_t frames = 0, kept = 0, changed = 0, removed = 0, added = 0;
  int64_t flat = 0;  // new boxes in pictures: without depth they are no labels
};
// `id`: of `labels`. Throws Error (`name`, what) for damaged files and frames that are not in
// `labels`.
ImportedLabels ImportQueueJson(const LabelSet& labels, const std::string& id, std::string_view json,
                               std::string_view name);
// An annotation is a label when it overlaps its box in that picture by half (IoU). A label that is
// in none of the pictures that came back stays as it was.
ImportedLabels ImportQueueCoco(const LabelSet& labels, const std::string& id, std::string_view json,
                               std::string_view name, const std::vector<const Log*>& logs);
// The boxes of logs in nuScenes' classes, frames by their ids; with `only`, of these frames.
ImportedLabels ImportLogs(const LabelSet& labels, const std::string& id,
                          const std::vector<const Log*>& logs,
                          const std::set<std::string>* only = nullptr);

}  // namespace athanor
