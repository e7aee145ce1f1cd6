#include "athanor/loop/mining/attribute_base.h"

#include <algorithm>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/base/log.h"

namespace athanor {

FrameAttributes AttributesOf(const Log& log, int frame_index, int64_t frame, int64_t clip,
                             const BoxSource& boxes) {
  const LogFrame& of_log = log.frames[frame_index];
  FrameAttributes attributes;
  attributes.frame = frame;
  attributes.clip = clip;
  attributes.time_us = of_log.time_us;
  attributes.place = log.location;
  attributes.weather = WeatherOf(log);
  attributes.daylight = DaylightOf(log);
  attributes.ego_speed_mps = EgoSpeedAt(log, frame_index);
  for (const LogTag& tag : log.tags) {
    if (tag.begin_us <= of_log.time_us && of_log.time_us <= tag.end_us) {
      attributes.tags.push_back(tag.name);
    }
  }
  const Rigid3 ego_from_world = of_log.world_from_ego.Inverse();
  for (const SourcedBox& box : boxes.Boxes(log, frame_index)) {
    const Box3 in_ego = ego_from_world * box.box;
    BoxAttributes& out = attributes.boxes.emplace_back();
    out.class_name = box.class_name;
    out.track = box.track;
    out.score = box.score;
    out.center_in_ego_m = in_ego.frame_from_box.translation;
    out.size_m = in_ego.size_m;
    out.yaw_rad = in_ego.yaw_rad();
    out.points = box.points;
  }
  return attributes;
}

AttributeBase::AttributeBase(SqliteDatabase& database) : database_(database) {
  MakeAttributeTables(database);
}

AttributeUpdate AttributeBase::Update(const MinedData& data, const BoxSource& boxes,
                                      const std::function<void(int64_t, int64_t)>& progress) {
  AttributeUpdate update;
  Known old = KnownLogs();
  const bool is_empty = old.empty();
  std::vector<std::pair<int, std::string>> wanted;
  bool is_same = true;
  for (int i = 0; i < data.num_logs(); ++i) {
    try {
      // The source of the boxes is part of what the rows say.
      std::string identity = StrCat(data.Identity(i), " ", boxes.identity());
      if (old.erase({data.name(i), identity}) == 0) {
        data.Read(i);
        is_same = false;
      }
      wanted.emplace_back(i, std::move(identity));
    } catch (const Error& damage) {
      LogWarning(StrCat("left out: ", damage.what()));
      ++update.logs_unreadable;
    }
  }
  if (is_same && old.empty()) {
    update.logs_kept = std::ssize(wanted);
    return update;
  }
  AttributeWriter writer(database_, is_empty);
  // Only now nobody else writes: another process may just have done the same.
  old = KnownLogs();
  int64_t next_clip = 0;
  for (const auto& [key, clip] : old) next_clip = std::max(next_clip, clip + 1);
  std::vector<std::pair<int, std::string>> added;
  for (auto& [log, identity] : wanted) {
    if (old.erase({data.name(log), identity}) > 0) {
      ++update.logs_kept;
    } else {
      added.emplace_back(log, std::move(identity));
    }
  }
  update.logs_removed = std::ssize(old);
  SqliteStatement forget(database_, "DELETE FROM logs WHERE clip = ?");
  for (const auto& [key, clip] : old) {
    std::vector<int64_t> frames;
    SqliteStatement find(database_, "SELECT frame FROM frame_rows WHERE clip = ?");
    find.Bind(clip);
    while (find.Step()) frames.push_back(find.Integer(0));
    find.Reset();
    for (const int64_t frame : frames) writer.Remove(frame);
    forget.Run(clip);
  }
  SqliteStatement insert(database_, "INSERT INTO logs(clip, name, identity) VALUES (?, ?, ?)");
  for (size_t i = 0; i < added.size(); ++i) {
    const std::shared_ptr<const Log> log = data.Read(added[i].first);
    const int64_t clip = next_clip++;
    insert.Run(clip, data.name(added[i].first), added[i].second);
    for (int f = 0; f < std::ssize(log->frames); ++f) {
      if (!boxes.Has(*log, f)) continue;
      writer.Add(AttributesOf(*log, f, (clip << MinedData::kFrameBits) + f, clip, boxes));
      ++update.frames_added;
    }
    ++update.logs_added;
    if (progress) progress(static_cast<int64_t>(i) + 1, std::ssize(added));
  }
  writer.Commit();
  return update;
}

AttributeBase::Known AttributeBase::KnownLogs() {
  Known known;
  SqliteStatement all(database_, "SELECT clip, name, identity FROM logs");
  while (all.Step()) {
    known[{std::string(all.Text(1)), std::string(all.Text(2))}] = all.Integer(0);
  }
  return known;
}

std::map<std::string, int64_t> AttributeBase::ClipsByName() {
  std::map<std::string, int64_t> clips;
  SqliteStatement all(database_, "SELECT name, clip FROM logs");
  while (all.Step()) clips.emplace(all.Text(0), all.Integer(1));
  return clips;
}

std::optional<FrameRef> AttributeBase::FrameOf(const MinedData& data, int64_t frame) {
  // A rule may say any number.
  SqliteStatement find(database_,
                       "SELECT name FROM frame_rows JOIN logs USING (clip) WHERE frame = ?");
  find.Bind(frame);
  if (!find.Step()) return std::nullopt;
  FrameRef ref = MinedData::FrameOf(frame);
  ref.log = data.FindLog(find.Text(0));
  if (ref.log < 0) return std::nullopt;
  return ref;
}

}  // namespace athanor
