#include "athanor/lake/catalog.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "athanor/base/error.h"

namespace athanor {
namespace {

constexpr std::string_view kSteps[] = {R"(
CREATE TABLE shards(
  shard INTEGER PRIMARY KEY, bytes INTEGER NOT NULL, sealed INTEGER NOT NULL,
  dropped INTEGER NOT NULL);
CREATE TABLE clips(
  clip INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, dataset TEXT NOT NULL,
  location TEXT NOT NULL, description TEXT NOT NULL, vehicle TEXT NOT NULL,
  begin_us INTEGER NOT NULL, end_us INTEGER NOT NULL, readings INTEGER NOT NULL,
  frames INTEGER NOT NULL, boxes INTEGER NOT NULL, bytes INTEGER NOT NULL,
  shard INTEGER NOT NULL REFERENCES shards, offset INTEGER NOT NULL, length INTEGER NOT NULL);
CREATE INDEX clips_by_time ON clips(begin_us);
CREATE TABLE blobs(
  blob INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE,
  shard INTEGER NOT NULL REFERENCES shards, offset INTEGER NOT NULL, length INTEGER NOT NULL);
CREATE INDEX blobs_by_place ON blobs(shard, offset);
CREATE TABLE payloads(
  clip INTEGER NOT NULL REFERENCES clips, reading INTEGER NOT NULL, channel TEXT NOT NULL,
  time_us INTEGER NOT NULL, frame INTEGER NOT NULL, blob INTEGER REFERENCES blobs,
  PRIMARY KEY(clip, reading)) WITHOUT ROWID;
CREATE UNIQUE INDEX payloads_by_time ON payloads(clip, channel, time_us);
CREATE INDEX payloads_by_blob ON payloads(blob);
CREATE TABLE frames(
  frame INTEGER PRIMARY KEY, clip INTEGER NOT NULL REFERENCES clips, number INTEGER NOT NULL,
  time_us INTEGER NOT NULL, x_m REAL NOT NULL, y_m REAL NOT NULL, yaw_rad REAL NOT NULL,
  speed_mps REAL, boxes INTEGER NOT NULL);
CREATE UNIQUE INDEX frames_by_clip ON frames(clip, number);
CREATE INDEX frames_by_time ON frames(time_us);
CREATE TABLE categories(category INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE tracks(
  track INTEGER PRIMARY KEY, clip INTEGER NOT NULL REFERENCES clips, number INTEGER NOT NULL,
  category INTEGER NOT NULL REFERENCES categories, begin_us INTEGER, end_us INTEGER,
  boxes INTEGER NOT NULL);
CREATE UNIQUE INDEX tracks_by_clip ON tracks(clip, number);
CREATE TABLE boxes(
  box INTEGER PRIMARY KEY, frame INTEGER NOT NULL REFERENCES frames,
  track INTEGER NOT NULL REFERENCES tracks, category INTEGER NOT NULL REFERENCES categories,
  number INTEGER NOT NULL,
  forward_m REAL NOT NULL, left_m REAL NOT NULL, up_m REAL NOT NULL, distance_m REAL NOT NULL,
  heading_rad REAL NOT NULL, length_m REAL NOT NULL, width_m REAL NOT NULL, height_m REAL NOT NULL,
  speed_mps REAL, attribute TEXT, lidar_points INTEGER, visibility INTEGER);
CREATE INDEX boxes_by_frame ON boxes(frame);
CREATE INDEX boxes_by_track ON boxes(track);
CREATE INDEX boxes_by_category ON boxes(category, distance_m, frame);
CREATE TABLE tags(
  tag INTEGER PRIMARY KEY, clip INTEGER NOT NULL REFERENCES clips, name TEXT NOT NULL,
  track INTEGER REFERENCES tracks, begin_us INTEGER NOT NULL, end_us INTEGER NOT NULL);
CREATE INDEX tags_by_name ON tags(name, begin_us);
CREATE INDEX tags_by_clip ON tags(clip);
CREATE INDEX tags_by_track ON tags(track);
CREATE TABLE dead_letters(
  source TEXT NOT NULL, name TEXT NOT NULL, reason TEXT NOT NULL, time_us INTEGER NOT NULL,
  PRIMARY KEY(source, name)) WITHOUT ROWID;
CREATE VIEW objects AS
  SELECT boxes.box, boxes.frame, frames.clip, frames.number AS frame_number, frames.time_us,
         boxes.number AS box_number, boxes.track, categories.name AS category, forward_m, left_m,
         up_m, distance_m, heading_rad, length_m, width_m, height_m, boxes.speed_mps, attribute,
         lidar_points, visibility, frames.speed_mps AS ego_speed_mps
  FROM boxes JOIN frames USING (frame) JOIN categories ON categories.category = boxes.category;
)"};

constexpr std::string_view kClipColumns =
    "SELECT clip, id, name, dataset, location, vehicle, begin_us, end_us, readings, frames, boxes, "
    "bytes, shard, offset, length FROM clips ";

LakeClip ClipOf(const SqliteStatement& row) {
  LakeClip clip;
  clip.clip = row.Integer(0);
  clip.id = row.Text(1);
  clip.name = row.Text(2);
  clip.dataset = row.Text(3);
  clip.location = row.Text(4);
  clip.vehicle = row.Text(5);
  clip.begin_us = row.Integer(6);
  clip.end_us = row.Integer(7);
  clip.readings = row.Integer(8);
  clip.frames = row.Integer(9);
  clip.boxes = row.Integer(10);
  clip.bytes = row.Integer(11);
  clip.place = {row.Integer(12), row.Integer(13), row.Integer(14)};
  return clip;
}

double YawOf(const Eigen::Quaterniond& rotation) {
  const Eigen::Vector3d forward = rotation * Eigen::Vector3d::UnitX();
  return std::atan2(forward.y(), forward.x());
}

// From the frames before and after; NaN for a single one.
double SpeedAt(const Log& log, size_t f) {
  const LogFrame& before = log.frames[f == 0 ? 0 : f - 1];
  const LogFrame& after = log.frames[std::min(f + 1, log.frames.size() - 1)];
  const double seconds = 1e-6 * static_cast<double>(after.time_us - before.time_us);
  return (after.world_from_ego.translation - before.world_from_ego.translation).norm() / seconds;
}

// Numbers of categories, which are made as they come.
class Categories {
 public:
  explicit Categories(SqliteDatabase& database)
      : insert_(database, "INSERT OR IGNORE INTO categories(name) VALUES (?)"),
        find_(database, "SELECT category FROM categories WHERE name = ?") {}
  int64_t Number(const std::string& name) {
    const auto [entry, is_new] = known_.try_emplace(name, 0);
    if (is_new) {
      insert_.Run(name);
      find_.Bind(name);
      find_.Step();
      entry->second = find_.Integer(0);
      find_.Reset();
    }
    return entry->second;
  }

 private:
  SqliteStatement insert_, find_;
  std::map<std::string, int64_t> known_;
};

}  // namespace

Catalog::Catalog(const std::filesystem::path& path, SqliteDatabase::Mode mode)
    : database_(path, mode) {
  if (mode != SqliteDatabase::Mode::kRead) {
    database_.Migrate(kSteps);
    return;
  }
  const int64_t version = database_.QueryInteger("PRAGMA user_version");
  ATHANOR_CHECK(version == std::ssize(kSteps), database_.name(), ": expected a catalog of version ",
                std::ssize(kSteps), ", found ", version);
}

std::vector<LakeClip> Catalog::Clips() {
  SqliteStatement query(database_, StrCat(kClipColumns, "ORDER BY begin_us, name, id"));
  query.Bind();
  std::vector<LakeClip> clips;
  while (query.Step()) clips.push_back(ClipOf(query));
  return clips;
}

std::optional<LakeClip> Catalog::FindClip(std::string_view id) {
  SqliteStatement query(database_, StrCat(kClipColumns, "WHERE id = ?"));
  query.Bind(id);
  if (!query.Step()) return std::nullopt;
  return ClipOf(query);
}

std::vector<std::string> Catalog::IdsWith(std::string_view prefix, int most) {
  SqliteStatement query(database_,
                        "SELECT id FROM clips WHERE id >= ?1 AND substr(id, 1, length(?1)) = ?1 "
                        "ORDER BY id LIMIT ?2");
  query.Bind(prefix, most);
  std::vector<std::string> ids;
  while (query.Step()) ids.emplace_back(query.Text(0));
  return ids;
}

std::optional<LakePlace> Catalog::FindBlob(std::string_view sha256) {
  SqliteStatement query(database_, "SELECT shard, offset, length FROM blobs WHERE sha256 = ?");
  const std::string bytes = BytesOfHex(sha256);
  query.Bind(SqliteBlob{bytes});
  if (!query.Step()) return std::nullopt;
  return LakePlace{query.Integer(0), query.Integer(1), query.Integer(2)};
}

std::vector<LakeShard> Catalog::Shards() {
  SqliteStatement query(database_, "SELECT shard, bytes, sealed, dropped FROM shards ORDER BY 1");
  query.Bind();
  std::vector<LakeShard> shards;
  while (query.Step()) {
    shards.push_back(
        {query.Integer(0), query.Integer(1), query.Integer(2) != 0, query.Integer(3) != 0});
  }
  return shards;
}

std::vector<DeadLetter> Catalog::DeadLetters() {
  SqliteStatement query(database_,
                        "SELECT source, name, reason, time_us FROM dead_letters ORDER BY 4, 1, 2");
  query.Bind();
  std::vector<DeadLetter> letters;
  while (query.Step()) {
    letters.push_back({std::string(query.Text(0)), std::string(query.Text(1)),
                       std::string(query.Text(2)), query.Integer(3)});
  }
  return letters;
}

void Catalog::AddBlob(std::string_view sha256, const LakePlace& place) {
  const std::string bytes = BytesOfHex(sha256);
  SqliteStatement(database_, "INSERT INTO blobs(sha256, shard, offset, length) VALUES (?, ?, ?, ?)")
      .Run(SqliteBlob{bytes}, place.shard, place.offset, place.length);
}

void Catalog::AddClip(std::string_view id, const Clip& clip, const LakePlace& place) {
  const Log& log = clip.log;
  int64_t begin_us = log.readings[0].time_us, end_us = begin_us, boxes = 0, bytes = 0;
  for (const LogReading& reading : log.readings) {
    begin_us = std::min(begin_us, reading.time_us);
    end_us = std::max(end_us, reading.time_us);
  }
  for (const LogFrame& frame : log.frames) boxes += std::ssize(frame.boxes);
  for (const ClipPayload& payload : clip.payloads) bytes += payload.length;
  SqliteStatement(database_,
                  "INSERT INTO clips(id, name, dataset, location, description, vehicle, begin_us, "
                  "end_us, readings, frames, boxes, bytes, shard, offset, length) "
                  "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
      .Run(id, log.name, log.dataset, log.location, log.description, log.vehicle, begin_us, end_us,
           std::ssize(log.readings), std::ssize(log.frames), boxes, bytes, place.shard,
           place.offset, place.length);
  const int64_t number = database_.last_insert_id();
  SqliteStatement insert(database_,
                         "INSERT INTO payloads(clip, reading, channel, time_us, frame, blob) "
                         "VALUES (?, ?, ?, ?, ?, (SELECT blob FROM blobs WHERE sha256 = ?))");
  for (size_t i = 0; i < log.readings.size(); ++i) {
    const LogReading& reading = log.readings[i];
    const std::string& sha256 = clip.payloads[i].sha256;
    const std::string blob = sha256.empty() ? "" : BytesOfHex(sha256);
    insert.Run(number, i, log.sensors[reading.sensor].channel, reading.time_us, reading.frame,
               SqliteBlob{blob});
  }
  AddFrames(number, log);
}

void Catalog::AddFrames(int64_t clip, const Log& log) {
  struct Span {
    int64_t begin_us = 0, end_us = 0, boxes = 0;
  };
  std::vector<Span> spans(log.tracks.size());
  for (const LogFrame& frame : log.frames) {
    for (const LogBox& box : frame.boxes) {
      Span& span = spans[box.track];
      if (span.boxes++ == 0) span.begin_us = frame.time_us;
      span.end_us = frame.time_us;
    }
  }
  Categories categories(database_);
  std::vector<int64_t> tracks, track_categories;
  SqliteStatement add_track(database_,
                            "INSERT INTO tracks(clip, number, category, begin_us, end_us, boxes) "
                            "VALUES (?, ?, ?, ?, ?, ?)");
  for (size_t t = 0; t < log.tracks.size(); ++t) {
    track_categories.push_back(categories.Number(log.tracks[t].category));
    if (spans[t].boxes > 0) {
      add_track.Run(clip, t, track_categories[t], spans[t].begin_us, spans[t].end_us,
                    spans[t].boxes);
    } else {
      add_track.Run(clip, t, track_categories[t], nullptr, nullptr, 0);
    }
    tracks.push_back(database_.last_insert_id());
  }
  SqliteStatement add_frame(
      database_,
      "INSERT INTO frames(clip, number, time_us, x_m, y_m, yaw_rad, speed_mps, boxes) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
  SqliteStatement add_box(
      database_,
      "INSERT INTO boxes(frame, track, category, number, forward_m, left_m, up_m, distance_m, "
      "heading_rad, length_m, width_m, height_m, speed_mps, attribute, lidar_points, visibility) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  for (size_t f = 0; f < log.frames.size(); ++f) {
    const LogFrame& frame = log.frames[f];
    const Rigid3& ego = frame.world_from_ego;
    add_frame.Run(clip, f, frame.time_us, ego.translation.x(), ego.translation.y(),
                  YawOf(ego.rotation), SpeedAt(log, f), frame.boxes.size());
    const int64_t row = database_.last_insert_id();
    const Rigid3 ego_from_world = ego.Inverse();
    for (size_t b = 0; b < frame.boxes.size(); ++b) {
      const LogBox& box = frame.boxes[b];
      const Box3 in_ego = ego_from_world * box.box;
      const Eigen::Vector3d& centre = in_ego.frame_from_box.translation;
      const std::string attribute = box.attributes.empty() ? "" : box.attributes[0];
      add_box.Run(row, tracks[box.track], track_categories[box.track], b, centre.x(), centre.y(),
                  centre.z(), centre.head<2>().norm(), in_ego.yaw_rad(), box.box.size_m.x(),
                  box.box.size_m.y(), box.box.size_m.z(), box.velocity_mps.norm(), attribute,
                  box.num_lidar_points, box.visibility);
    }
  }
  SqliteStatement add_tag(database_,
                          "INSERT INTO tags(clip, name, track, begin_us, end_us) "
                          "VALUES (?, ?, ?, ?, ?)");
  for (const LogTag& tag : log.tags) {
    if (tag.track < 0) {
      add_tag.Run(clip, tag.name, nullptr, tag.begin_us, tag.end_us);
    } else {
      add_tag.Run(clip, tag.name, tracks[tag.track], tag.begin_us, tag.end_us);
    }
  }
}

bool Catalog::RemoveClip(std::string_view id) {
  const auto found = FindClip(id);
  if (!found) return false;
  for (const char* sql :
       {"DELETE FROM tags WHERE clip = ?",
        "DELETE FROM boxes WHERE frame IN (SELECT frame FROM frames "
        "WHERE clip = ?)",
        "DELETE FROM tracks WHERE clip = ?", "DELETE FROM frames WHERE clip = ?",
        "DELETE FROM payloads WHERE clip = ?", "DELETE FROM clips WHERE clip = ?"}) {
    SqliteStatement(database_, sql).Run(found->clip);
  }
  return true;
}

void Catalog::SetShard(const LakeShard& shard) {
  SqliteStatement(database_,
                  "INSERT INTO shards(shard, bytes, sealed, dropped) VALUES (?1, ?2, ?3, ?4) "
                  "ON CONFLICT(shard) DO UPDATE SET bytes = ?2, sealed = ?3, dropped = ?4")
      .Run(shard.number, shard.bytes, shard.sealed, shard.dropped);
}

void Catalog::ForgetShard(int64_t number) {
  SqliteStatement(database_, "DELETE FROM shards WHERE shard = ?").Run(number);
}

void Catalog::AddDeadLetter(const DeadLetter& letter) {
  SqliteStatement(database_, "INSERT OR REPLACE INTO dead_letters VALUES (?, ?, ?, ?)")
      .Run(letter.source, letter.name, letter.reason, letter.time_us);
}

void Catalog::ForgetDeadLetter(std::string_view source, std::string_view name) {
  SqliteStatement(database_, "DELETE FROM dead_letters WHERE source = ? AND name = ?")
      .Run(source, name);
}

}  // namespace athanor
