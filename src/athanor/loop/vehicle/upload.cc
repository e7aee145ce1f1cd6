#include "athanor/loop/vehicle/upload.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/sha256.h"
#include "athanor/datasets/paths.h"
#include "athanor/lake/crc32c.h"
#include "athanor/lake/lake.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::string_view kMagic = "ATHUPLD1";
constexpr int64_t kMostFrames = 1'000'000;  // of a snippet

template <typename T>
void Append(std::string* bytes, T value) {
  bytes->append(reinterpret_cast<const char*>(&value), sizeof value);
}

// Payloads out of the file, which is checked when it is opened.
class UploadPayloads : public PayloadSource {
 public:
  UploadPayloads(fs::path path, const Upload& upload) : path_(std::move(path)) {
    for (size_t i = 0; i < upload.offsets.size(); ++i) {
      const LogReading& reading = upload.clip.log.readings[i];
      places_[{reading.sensor, reading.time_us}] = {upload.offsets[i],
                                                    upload.clip.payloads[i].length};
    }
  }
  bool Has(const LogReading& reading) const override {
    return places_.contains({reading.sensor, reading.time_us}) && IsFile(path_);
  }
  std::string Read(const LogReading& reading) const override {
    const auto place = places_.find({reading.sensor, reading.time_us});
    ATHANOR_CHECK(place != places_.end(), path_.string(), ": there is no reading of ",
                  reading.time_us, " us");
    const auto [offset, length] = place->second;
    std::ifstream file(path_, std::ios::binary);
    std::string bytes(static_cast<size_t>(length), '\0');
    file.seekg(offset);
    file.read(bytes.data(), length);
    ATHANOR_CHECK(file.good(), path_.string(), ": expected ", length, " bytes from byte ", offset,
                  ", found ", file.gcount());
    return bytes;
  }

 private:
  fs::path path_;
  std::map<std::pair<int, int64_t>, std::pair<int64_t, int64_t>> places_;
};

// Where the files are: the folder, or clips/ in what a car fills.
fs::path FolderOfClips(const fs::path& folder) {
  return IsFolder(folder / "clips") ? folder / "clips" : folder;
}

class UploadLogs : public LogDataset {
 public:
  explicit UploadLogs(const fs::path& folder)
      : files_(ListFiles(FolderOfClips(folder), {".clip"})) {
    ATHANOR_CHECK(!files_.empty(), folder.string(), ": expected *.clip files, found none");
    for (const fs::path& file : files_) names_.push_back(file.stem().string());
  }
  const std::string& format() const override { return format_; }
  const std::vector<std::string>& names() const override { return names_; }
  Log Read(int index) const override { return ReadUpload(files_.at(index)); }

 private:
  std::string format_ = "uploads";
  std::vector<fs::path> files_;
  std::vector<std::string> names_;
};

}  // namespace

std::vector<int> FramesOfReadings(const Log& log) {
  std::vector<int> frames;
  for (const LogReading& reading : log.readings) {
    int frame = reading.frame;
    if (frame < 0) {
      const auto next =
          std::lower_bound(log.frames.begin(), log.frames.end(), reading.time_us,
                           [](const LogFrame& f, int64_t time_us) { return f.time_us < time_us; });
      frame = next == log.frames.end() ? -1 : static_cast<int>(next - log.frames.begin());
    }
    frames.push_back(frame);
  }
  return frames;
}

Log CutLog(const Log& log, int first, int last) {
  ATHANOR_CHECK(0 <= first && first <= last && last < std::ssize(log.frames), log.source, ": log ",
                log.name, ": expected frames of 0 to ", std::ssize(log.frames) - 1, ", found ",
                first, " to ", last);
  Log cut;
  cut.source = log.source;
  cut.dataset = log.dataset;
  cut.name = StrCat(log.name, "-", log.frames[first].time_us);
  cut.location = log.location;
  cut.description = log.description;
  cut.vehicle = log.vehicle;
  cut.sensors = log.sensors;
  cut.payloads = log.payloads;
  const std::vector<int> frames = FramesOfReadings(log);
  std::vector<int> moved(log.readings.size(), -1);
  for (size_t i = 0; i < log.readings.size(); ++i) {
    if (frames[i] < first || frames[i] > last || !HasPayload(log, log.readings[i])) continue;
    moved[i] = static_cast<int>(cut.readings.size());
    LogReading& reading = cut.readings.emplace_back(log.readings[i]);
    if (reading.frame >= 0) reading.frame -= first;
  }
  for (int f = first; f <= last; ++f) {
    LogFrame frame = log.frames[f];
    frame.boxes.clear();
    for (int& reading : frame.readings) reading = reading < 0 ? -1 : moved[reading];
    cut.frames.push_back(std::move(frame));
  }
  for (const LogTag& tag : log.tags) {
    const bool is_known = tag.name.starts_with("ego.") || tag.name.starts_with("weather.");
    if (!is_known || tag.end_us < cut.frames.front().time_us ||
        tag.begin_us > cut.frames.back().time_us) {
      continue;
    }
    cut.tags.push_back(tag);
    cut.tags.back().track = -1;
  }
  return cut;
}

std::string EncodeUpload(const Log& log) {
  Clip clip;
  clip.log = log;
  std::string payloads;
  for (const LogReading& reading : log.readings) {
    const std::string bytes = ReadPayload(log, reading);
    const std::string extension = PayloadExtension(reading.path);
    CheckPayload(bytes, extension, StrCat(log.name, ", ", reading.path.string()));
    clip.payloads.push_back({Sha256Of(bytes), extension, static_cast<int64_t>(bytes.size())});
    payloads += bytes;
  }
  for (LogReading& reading : clip.log.readings) reading.path.clear();
  clip.log.source.clear();
  clip.log.payloads = nullptr;
  CheckClip(clip.log);
  const std::string encoded = EncodeClip(clip);
  std::string bytes(kMagic);
  Append(&bytes, static_cast<uint64_t>(encoded.size()));
  bytes += encoded;
  bytes += payloads;
  Append(&bytes, Crc32c(bytes));
  return bytes;
}

Upload DecodeUpload(std::string_view bytes, std::string_view name) {
  ATHANOR_CHECK(bytes.starts_with(kMagic), name, ": expected \"", kMagic,
                "\" at byte 0, found something else");
  ATHANOR_CHECK(bytes.size() >= kMagic.size() + 12, name, ": expected a clip behind byte ",
                kMagic.size(), ", found the end at byte ", bytes.size());
  const std::string_view body = bytes.substr(0, bytes.size() - 4);
  uint32_t expected = 0;
  std::memcpy(&expected, bytes.data() + body.size(), sizeof expected);
  ATHANOR_CHECK(Crc32c(body) == expected, name, ": damaged or cut off: its CRC32C does not hold");
  ByteReader reader(body, name);
  reader.Take(kMagic.size(), "magic");
  const auto length = reader.Read<uint64_t>("length of the clip");
  Upload upload;
  upload.clip = DecodeClip(reader.Take(length, "clip"), name);
  for (const ClipPayload& payload : upload.clip.payloads) {
    upload.offsets.push_back(static_cast<int64_t>(reader.position()));
    reader.Take(static_cast<size_t>(payload.length), "payload");
  }
  ATHANOR_CHECK(reader.remaining() == 0, name, ": expected the end at byte ", reader.position(),
                ", found ", reader.remaining(), " bytes more");
  return upload;
}

Log ReadUpload(const fs::path& path) {
  Upload upload = DecodeUpload(ReadFile(path), path.string());
  upload.clip.log.payloads = std::make_shared<UploadPayloads>(path, upload);
  Log log = std::move(upload.clip.log);
  log.source = path.string();
  for (size_t i = 0; i < log.readings.size(); ++i) {
    log.readings[i].path = std::to_string(i) + upload.clip.payloads[i].extension;
  }
  return log;
}

std::unique_ptr<LogDataset> OpenUploads(const fs::path& folder) {
  return std::make_unique<UploadLogs>(folder);
}

void RegisterUploads() {
  RegisterLogFormat({"uploads of a car (*.clip)",
                     [](const fs::path& path) {
                       if (!IsFolder(path)) return false;
                       std::error_code error;
                       for (fs::directory_iterator entry(FolderOfClips(path), error), end;
                            !error && entry != end; entry.increment(error)) {
                         if (entry->path().extension() == ".clip") return true;
                       }
                       return false;
                     },
                     OpenUploads});
}

std::string EncodeFeatures(const FeatureRecord& record) {
  float most = 0;
  for (const float x : record.feature) most = std::max(most, std::abs(x));
  std::vector<int> quantised;
  for (const float x : record.feature) {
    quantised.push_back(most > 0 ? static_cast<int>(std::lround(127 * x / most)) : 0);
  }
  Json reasons = Json::object();
  for (const auto& [reason, value] : record.snippet.reasons) {
    reasons[reason] = std::round(1e4 * value) * 1e-4;
  }
  const Json json = {{"id", record.id},
                     {"log", record.log},
                     {"begin_us", record.begin_us},
                     {"end_us", record.end_us},
                     {"bundle", record.bundle},
                     {"number", record.snippet.id},
                     {"frames", record.snippet.last - record.snippet.first + 1},
                     {"bytes", record.snippet.bytes},
                     {"value", std::round(1e4 * record.snippet.value) * 1e-4},
                     {"peak", record.snippet.peak - record.snippet.first},
                     {"values", record.snippet.values},
                     {"reasons", reasons},
                     {"seen", record.seen},
                     {"scale", most / 127},
                     {"feature", quantised}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

FeatureRecord DecodeFeatures(std::string_view bytes, std::string_view name) {
  FeatureRecord record;
  try {
    const Json json = Json::parse(bytes);
    json.at("id").get_to(record.id);
    json.at("log").get_to(record.log);
    json.at("begin_us").get_to(record.begin_us);
    json.at("end_us").get_to(record.end_us);
    json.at("bundle").get_to(record.bundle);
    json.at("number").get_to(record.snippet.id);
    const auto frames = json.at("frames").get<int64_t>();
    ATHANOR_CHECK(frames >= 1 && frames <= kMostFrames, "expected 1 to ", kMostFrames,
                  " frames, found ", frames);
    record.snippet.last = frames - 1;
    json.at("bytes").get_to(record.snippet.bytes);
    json.at("value").get_to(record.snippet.value);
    json.at("peak").get_to(record.snippet.peak);
    ATHANOR_CHECK(record.snippet.peak >= 0 && record.snippet.peak < frames,
                  "expected a peak of 0 to ", frames - 1, ", found ", record.snippet.peak);
    json.at("values").get_to(record.snippet.values);
    json.at("reasons").get_to(record.snippet.reasons);
    json.at("seen").get_to(record.seen);
    const auto scale = json.at("scale").get<float>();
    for (const Json& x : json.at("feature")) {
      ATHANOR_CHECK(x.is_number_integer(), "expected whole numbers in feature, found ", x.dump());
      record.feature.push_back(scale * static_cast<float>(x.get<int64_t>()));
    }
  } catch (const std::exception& error) {
    throw Error(StrCat(name, ": expected the features of a snippet: ", error.what()));
  }
  return record;
}

}  // namespace athanor
