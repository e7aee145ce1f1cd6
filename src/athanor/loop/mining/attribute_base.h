// Attribute tables of a data set or a lake, kept up to date: logs that are new are read, those that
// changed are read again, those that are gone leave. All else stays as it is.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "athanor/loop/mining/attributes.h"
#include "athanor/loop/mining/box_source.h"
#include "athanor/loop/mining/mined_data.h"

namespace athanor {

struct AttributeUpdate {
  int64_t logs_added = 0, logs_removed = 0, logs_kept = 0;
  int64_t logs_unreadable = 0;  // left out, with a warning
  int64_t frames_added = 0;
};

class AttributeBase {
 public:
  // Makes the tables when they are missing. `database` must outlive this.
  explicit AttributeBase(SqliteDatabase& database);

  // One transaction; several processes may do the same at a time. With results as `boxes`, frames
  // that these do not have stay out.
  AttributeUpdate Update(const MinedData& data, const BoxSource& boxes,
                         const std::function<void(int64_t done, int64_t total)>& progress = {});

  // The number that the tables have for a log, by its name.
  std::map<std::string, int64_t> ClipsByName();
  // Which log and frame of `data` a frame number of the tables is; nothing when it is none of them.
  std::optional<FrameRef> FrameOf(const MinedData& data, int64_t frame);

 private:
  using Known = std::map<std::pair<std::string, std::string>, int64_t>;
  Known KnownLogs();  // their numbers by name and identity

  SqliteDatabase& database_;
};

// What the tables say of a frame: `frame` is its number in them, and `clip` that of its log.
FrameAttributes AttributesOf(const Log& log, int frame_index, int64_t frame, int64_t clip,
                             const BoxSource& boxes);

}  // namespace athanor
