#include "athanor/loop/mining/attributes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <string_view>

#include "athanor/base/error.h"

namespace athanor {
namespace {

constexpr std::string_view kIndices = R"(
CREATE INDEX frames_by_condition ON frame_rows (weather, daylight, place, ego_speed_cmps);
CREATE INDEX frames_by_clip ON frame_rows (clip, time_us);
CREATE INDEX boxes_by_class ON box_rows (class, distance_cm, score_pct);
CREATE INDEX tags_by_name ON tag_rows (tag, frame);
)";

constexpr std::string_view kSchema = R"(
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE frame_rows (
  frame INTEGER PRIMARY KEY, clip INTEGER NOT NULL, time_us INTEGER NOT NULL,
  place INTEGER NOT NULL, weather INTEGER NOT NULL, daylight INTEGER NOT NULL,
  ego_speed_cmps INTEGER NOT NULL, num_boxes INTEGER NOT NULL);
CREATE TABLE box_rows (
  frame INTEGER NOT NULL, box INTEGER NOT NULL, class INTEGER NOT NULL, track INTEGER NOT NULL,
  score_pct INTEGER NOT NULL, x_cm INTEGER NOT NULL, y_cm INTEGER NOT NULL,
  distance_cm INTEGER NOT NULL, length_cm INTEGER NOT NULL, width_cm INTEGER NOT NULL,
  height_cm INTEGER NOT NULL, yaw_deg INTEGER NOT NULL, points INTEGER NOT NULL,
  PRIMARY KEY (frame, box)) WITHOUT ROWID;
CREATE TABLE tag_rows (
  frame INTEGER NOT NULL, tag INTEGER NOT NULL, PRIMARY KEY (frame, tag)) WITHOUT ROWID;
)";

// Left joins: SQLite leaves out those that a rule does not ask for, and turns those that it does
// into a look-up of the name, once. A box always has its class asked for.
constexpr std::string_view kViews = R"(
CREATE VIEW frames AS
  SELECT f.frame, f.clip, f.time_us, p.name AS place, w.name AS weather, d.name AS daylight,
         f.ego_speed_cmps, f.num_boxes
  FROM frame_rows f LEFT JOIN names p ON p.id = f.place LEFT JOIN names w ON w.id = f.weather
       LEFT JOIN names d ON d.id = f.daylight;
CREATE VIEW boxes AS
  SELECT b.frame, b.box, c.name AS class, b.track, b.score_pct, b.x_cm, b.y_cm, b.distance_cm,
         b.length_cm, b.width_cm, b.height_cm, b.yaw_deg, b.points
  FROM box_rows b JOIN names c ON c.id = b.class;
CREATE VIEW tags AS
  SELECT t.frame, n.name AS tag FROM tag_rows t JOIN names n ON n.id = t.tag;
)";

// Which log the frames of a clip come from, and what it held when they were taken.
constexpr std::string_view kLogs = R"(
CREATE TABLE logs (
  clip INTEGER PRIMARY KEY, name TEXT NOT NULL, identity TEXT NOT NULL, UNIQUE (name, identity));
)";

int64_t Rounded(double value, double unit) { return std::llround(value * unit); }

}  // namespace

void MakeAttributeTables(SqliteDatabase& database) {
  const std::array<std::string_view, 4> steps = {kSchema, kViews, kIndices, kLogs};
  database.Migrate(steps);
}

AttributeWriter::AttributeWriter(SqliteDatabase& database, bool bulk)
    : database_(database),
      bulk_(bulk),
      transaction_(database),
      add_frame_(database, "INSERT INTO frame_rows VALUES (?, ?, ?, ?, ?, ?, ?, ?)"),
      add_box_(database, "INSERT INTO box_rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
      add_tag_(database, "INSERT OR IGNORE INTO tag_rows VALUES (?, ?)"),
      remove_frame_(database, "DELETE FROM frame_rows WHERE frame = ?"),
      remove_boxes_(database, "DELETE FROM box_rows WHERE frame = ?"),
      remove_tags_(database, "DELETE FROM tag_rows WHERE frame = ?") {
  if (bulk_) {
    database.Execute(
        "DROP INDEX frames_by_condition; DROP INDEX frames_by_clip; DROP INDEX boxes_by_class; "
        "DROP INDEX tags_by_name");
  }
}

int64_t AttributeWriter::NameId(const std::string& name) {
  const auto known = names_.find(name);
  if (known != names_.end()) return known->second;
  SqliteStatement(database_, "INSERT OR IGNORE INTO names (name) VALUES (?)").Run(name);
  SqliteStatement find(database_, "SELECT id FROM names WHERE name = ?");
  find.Bind(name);
  find.Step();
  return names_[name] = find.Integer(0);
}

void AttributeWriter::Add(const FrameAttributes& frame) {
  for (size_t b = 0; b < frame.boxes.size(); ++b) {
    const BoxAttributes& box = frame.boxes[b];
    ATHANOR_CHECK(box.center_in_ego_m.allFinite() && box.size_m.allFinite() &&
                      std::isfinite(box.yaw_rad) && box.score >= 0 && box.score <= 1,
                  database_.name(), ": frame ", frame.frame, ": box ", b,
                  ": expected finite numbers and a score of 0 to 1, found a score of ", box.score);
  }
  ATHANOR_CHECK(std::isfinite(frame.ego_speed_mps), database_.name(), ": frame ", frame.frame,
                ": expected a finite speed, found ", frame.ego_speed_mps);
  if (!bulk_) Remove(frame.frame);
  add_frame_.Run(frame.frame, frame.clip, frame.time_us, NameId(frame.place), NameId(frame.weather),
                 NameId(frame.daylight), Rounded(frame.ego_speed_mps, 100), frame.boxes.size());
  int64_t index = 0;
  for (const BoxAttributes& box : frame.boxes) {
    constexpr double kDegrees = 57.29577951308232;
    add_box_.Run(frame.frame, index++, NameId(box.class_name), box.track, Rounded(box.score, 100),
                 Rounded(box.center_in_ego_m.x(), 100), Rounded(box.center_in_ego_m.y(), 100),
                 Rounded(box.center_in_ego_m.head<2>().norm(), 100), Rounded(box.size_m.x(), 100),
                 Rounded(box.size_m.y(), 100), Rounded(box.size_m.z(), 100),
                 Rounded(box.yaw_rad, kDegrees), box.points);
  }
  for (const std::string& tag : frame.tags) add_tag_.Run(frame.frame, NameId(tag));
}

void AttributeWriter::Remove(int64_t frame) {
  remove_frame_.Run(frame);
  remove_boxes_.Run(frame);
  remove_tags_.Run(frame);
}

void AttributeWriter::Commit() {
  if (bulk_) database_.Execute(kIndices);
  // What the planner believes of the sizes of things. Without it a rule about the boxes of some
  // frames would read all boxes of the class for each of them; and what ANALYZE finds in a sample
  // misleads it. Names count as very many: the planner begins with one that a rule gives, and never
  // with all of them.
  const int64_t frames = database_.QueryInteger("SELECT count(*) FROM frame_rows") + 1;
  const int64_t boxes = database_.QueryInteger("SELECT sum(num_boxes) FROM frame_rows") + 1;
  const int64_t tags = database_.QueryInteger("SELECT count(*) FROM tag_rows") + 1;
  database_.Execute("PRAGMA analysis_limit = 100; ANALYZE; DELETE FROM sqlite_stat1");
  SqliteStatement state(database_, "INSERT INTO sqlite_stat1 VALUES (?, ?, ?)");
  const auto sizes = [](int64_t rows, std::initializer_list<int64_t> alike) {
    std::string text = std::to_string(rows);
    for (const int64_t n : alike) text += ' ' + std::to_string(std::max<int64_t>(n, 1));
    return text;
  };
  state.Run("box_rows", "box_rows", sizes(boxes, {boxes / frames, 1}));
  state.Run("box_rows", "boxes_by_class", sizes(boxes, {boxes / 8, boxes / 5000, boxes / 100000}));
  state.Run("frame_rows", "frames_by_clip", sizes(frames, {200, 1}));
  state.Run("frame_rows", "frames_by_condition",
            sizes(frames, {frames / 3, frames / 6, frames / 60, frames / 10000}));
  state.Run("tag_rows", "tag_rows", sizes(tags, {2, 1}));
  state.Run("tag_rows", "tags_by_name", sizes(tags, {tags / 20, 1}));
  state.Run("names", "sqlite_autoindex_names_1", "10000000 1");
  database_.Execute("ANALYZE sqlite_schema");
  transaction_.Commit();
}

}  // namespace athanor
