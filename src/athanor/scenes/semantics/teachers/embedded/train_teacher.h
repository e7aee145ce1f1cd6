// The run that makes the embedded teacher: folders of simulated worlds in, weights and a card out.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "athanor/scenes/semantics/teachers/embedded/teacher_score.h"
#include "athanor/scenes/semantics/teachers/embedded/teacher_trainer.h"

namespace athanor {

struct TrainTeacherResult {
  int64_t step = 0;
  int64_t parameters = 0;
  double seconds = 0;
  bool interrupted = false;
  std::filesystem::path weights, card;
  std::vector<TeacherScore> scores;  // one per folder of worlds to score on
};

// Trains on the worlds of `folders` and writes to `out`: config.toml, run.json, metrics.jsonl,
// curves.png, checkpoints/, and at the end teacher.safetensors (OpenEmbedded reads it). With
// `scored_on`, scores on those worlds now and then, and at the end on all of them for card.md,
// which has a table per folder; without, there is no card.
// `resume`: goes on from the newest checkpoint, with the same worlds, wherever they lie, and
// options but for `steps`; the result is that of a run in one piece, unless `steps` rises after the
// rate began to fall, or the number of threads is another, which the log says. Throws Error.
TrainTeacherResult TrainTeacher(const std::vector<std::filesystem::path>& folders,
                                const std::vector<std::filesystem::path>& scored_on,
                                const std::filesystem::path& out,
                                const TrainTeacherOptions& options, bool resume,
                                const std::function<bool()>& stop = {});

// What scores say, for people. `trained_on`: "3,200 pictures of 320 simulated rooms".
std::string TeacherCard(const TrainTeacherResult& run, const TrainTeacherOptions& options,
                        const Lexicon& lexicon, const std::string& trained_on);

}  // namespace athanor
