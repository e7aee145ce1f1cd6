#include "athanor/loop/mining/mined_data.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <initializer_list>

#include "athanor/base/error.h"
#include "athanor/base/hash.h"
#include "athanor/lake/lake.h"

namespace athanor {
namespace {

constexpr size_t kRecentLogs = 16;

// Numbers one behind the other, as bytes to hash.
class Bytes {
 public:
  template <typename T>
  void Add(const T& value) {
    static_assert(std::is_arithmetic_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void Text(const std::string& text) {
    Add(text.size());
    bytes_ += text;
  }
  void Pose(const Rigid3& pose) {
    for (const double x : pose.translation) Add(x);
    for (const double x : pose.rotation.coeffs()) Add(x);
  }
  const std::string& all() const { return bytes_; }

 private:
  std::string bytes_;
};

bool DescriptionHas(const Log& log, std::initializer_list<std::string_view> words) {
  std::string text;
  for (const char c : log.description) {
    text += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view word) { return text.find(word) != std::string::npos; });
}

// A whole number >= 0, or -1.
int IndexOf(std::string_view text) {
  int value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= 0 ? value : -1;
}

}  // namespace

MinedData::MinedData(const std::filesystem::path& path)
    : path_(path), is_lake_(Lake::IsLake(path)) {
  if (!is_lake_) {
    logs_ = OpenLogs(path);
    return;
  }
  std::vector<LakeClip> clips;
  logs_ = OpenLakeLogs(path, &clips);
  for (const LakeClip& clip : clips) clip_ids_.push_back(clip.id);
}

std::string MinedData::Identity(int log) const {
  if (is_lake_) return clip_ids_[log];
  const std::shared_ptr<const Log> read = Read(log);
  Bytes bytes;
  bytes.Text(read->name);
  bytes.Text(read->location);
  bytes.Text(read->description);
  for (const LogTrack& track : read->tracks) bytes.Text(track.category);
  for (const LogFrame& frame : read->frames) {
    bytes.Add(frame.time_us);
    bytes.Text(frame.id);
    bytes.Pose(frame.world_from_ego);
    for (const LogBox& box : frame.boxes) {
      bytes.Add(box.track);
      bytes.Add(box.num_lidar_points);
      bytes.Pose(box.box.frame_from_box);
      for (const double x : box.box.size_m) bytes.Add(x);
    }
  }
  for (const LogTag& tag : read->tags) {
    bytes.Text(tag.name);
    bytes.Add(tag.begin_us);
    bytes.Add(tag.end_us);
  }
  return HexDigits(HashBytes(bytes.all())) + HexDigits(HashBytes(bytes.all(), 1));
}

std::shared_ptr<const Log> MinedData::Read(int log) const {
  for (auto entry = recent_.begin(); entry != recent_.end(); ++entry) {
    if (entry->first != log) continue;
    recent_.splice(recent_.begin(), recent_, entry);
    return recent_.front().second;
  }
  auto read = std::make_shared<const Log>(logs_->Read(log));
  ATHANOR_CHECK(read->frames.size() <= size_t{1} << kFrameBits, path_.string(), ": log ", name(log),
                ": expected at most ", 1 << kFrameBits, " frames, found ", read->frames.size());
  recent_.emplace_front(log, read);
  if (recent_.size() > kRecentLogs) recent_.pop_back();
  return read;
}

std::string MinedData::NameOf(const FrameRef& ref) const {
  return ref.box < 0 ? StrCat(name(ref.log), "/", ref.frame)
                     : StrCat(name(ref.log), "/", ref.frame, ":", ref.box);
}

int MinedData::FindLog(std::string_view name) const {
  const std::vector<std::string>& names = logs_->names();
  const auto found = std::find(names.begin(), names.end(), name);
  return found == names.end() ? -1 : static_cast<int>(found - names.begin());
}

FrameRef MinedData::Parse(std::string_view text) const {
  const std::string expected =
      StrCat("expected a frame (LOG/NUMBER) or a box (LOG/NUMBER:BOX), found '", text, "'");
  const size_t slash = text.rfind('/');
  ATHANOR_CHECK(slash != std::string_view::npos, expected);
  FrameRef ref;
  ref.log = FindLog(text.substr(0, slash));
  ATHANOR_CHECK(ref.log >= 0, path_.string(), ": no log is called '", text.substr(0, slash), "'");
  const std::string_view rest = text.substr(slash + 1);
  const size_t colon = rest.find(':');
  ref.frame = IndexOf(rest.substr(0, colon));
  ATHANOR_CHECK(ref.frame >= 0, expected);
  const std::shared_ptr<const Log> log = Read(ref.log);
  ATHANOR_CHECK(ref.frame < std::ssize(log->frames), path_.string(), ": log ", log->name, " has ",
                log->frames.size(), " frames, found ", text);
  if (colon != std::string_view::npos) {
    ref.box = IndexOf(rest.substr(colon + 1));
    ATHANOR_CHECK(ref.box >= 0, expected);
  }
  return ref;
}

std::string WeatherOf(const Log& log) {
  if (DescriptionHas(log, {"rain"})) return "rain";
  if (DescriptionHas(log, {"snow"})) return "snow";
  if (DescriptionHas(log, {"fog"})) return "fog";
  if (DescriptionHas(log, {"overcast", "cloud"})) return "overcast";
  if (DescriptionHas(log, {"sun", "clear"})) return "sun";
  return {};
}

std::string DaylightOf(const Log& log) {
  if (DescriptionHas(log, {"night"})) return "night";
  if (DescriptionHas(log, {"dusk", "dawn"})) return "dusk";
  return "day";
}

double EgoSpeedAt(const Log& log, int frame) {
  const LogFrame& before = log.frames[std::max(frame - 1, 0)];
  const LogFrame& after = log.frames[std::min<size_t>(frame + 1, log.frames.size() - 1)];
  const double seconds = 1e-6 * static_cast<double>(after.time_us - before.time_us);
  if (!(seconds > 0)) return 0;
  return (after.world_from_ego.translation - before.world_from_ego.translation).norm() / seconds;
}

}  // namespace athanor
