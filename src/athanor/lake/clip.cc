#include "athanor/lake/clip.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/sha256.h"

namespace athanor {
namespace {

constexpr std::string_view kMagic = "ATHCLIP1";
constexpr size_t kSha256Bytes = 32;

class Encoder {
 public:
  void Integer(int64_t value) { Put(value); }
  void Small(int32_t value) { Put(value); }
  // Every NaN is the same.
  void Real(double value) { Put(std::isnan(value) ? std::nan("") : value); }
  void Text(std::string_view text) {
    Put(static_cast<uint32_t>(text.size()));
    bytes += text;
  }
  void Count(size_t count) { Put(static_cast<uint64_t>(count)); }
  void Pose(const Rigid3& pose) {
    for (const double value :
         {pose.rotation.w(), pose.rotation.x(), pose.rotation.y(), pose.rotation.z(),
          pose.translation.x(), pose.translation.y(), pose.translation.z()}) {
      Real(value);
    }
  }

  std::string bytes;

 private:
  template <typename T>
  void Put(T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
};

class Decoder {
 public:
  Decoder(std::string_view bytes, std::string_view name) : reader_(bytes, name) {}

  int64_t Integer() { return reader_.Read<int64_t>("a number"); }
  int Small() { return reader_.Read<int32_t>("a number"); }
  double Real() { return reader_.Read<double>("a number"); }
  std::string Text() {
    return std::string(reader_.Take(reader_.Read<uint32_t>("the length of text"), "text"));
  }
  // Of records that take at least so many bytes.
  size_t Count(size_t record_bytes) { return reader_.ReadCount(record_bytes, "records"); }
  Rigid3 Pose() {
    double v[7];
    for (double& value : v) value = Real();
    return {Eigen::Quaterniond(v[0], v[1], v[2], v[3]), {v[4], v[5], v[6]}};
  }
  std::string_view Take(size_t size) { return reader_.Take(size, "bytes"); }
  void Expect(bool good, std::string_view what) {
    if (!good) reader_.Fail(what);
  }
  bool AtEnd() const { return reader_.remaining() == 0; }

 private:
  ByteReader reader_;
};

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

bool IsFinite(const Rigid3& pose) {
  return pose.translation.allFinite() && pose.rotation.coeffs().allFinite();
}

void EncodeBox(const LogBox& box, Encoder* out) {
  out->Text(box.id);
  out->Small(box.track);
  out->Pose(box.box.frame_from_box);
  for (int i = 0; i < 3; ++i) out->Real(box.box.size_m[i]);
  for (int i = 0; i < 2; ++i) out->Real(box.velocity_mps[i]);
  out->Count(box.attributes.size());
  for (const std::string& attribute : box.attributes) out->Text(attribute);
  out->Small(box.num_lidar_points);
  out->Small(box.num_radar_points);
  out->Small(box.visibility);
}

LogBox DecodeBox(Decoder& in) {
  LogBox box;
  box.id = in.Text();
  box.track = in.Small();
  box.box.frame_from_box = in.Pose();
  for (int i = 0; i < 3; ++i) box.box.size_m[i] = in.Real();
  for (int i = 0; i < 2; ++i) box.velocity_mps[i] = in.Real();
  box.attributes.resize(in.Count(4));
  for (std::string& attribute : box.attributes) attribute = in.Text();
  box.num_lidar_points = in.Small();
  box.num_radar_points = in.Small();
  box.visibility = in.Small();
  return box;
}

}  // namespace

std::string PayloadExtension(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  return name.ends_with(".pcd.bin") ? ".pcd.bin" : path.extension().string();
}

void CheckClip(const Log& log) {
  const std::string where = StrCat(log.source, ": log ", log.name);
  const int sensors = static_cast<int>(log.sensors.size());
  const int tracks = static_cast<int>(log.tracks.size());
  const int readings = static_cast<int>(log.readings.size());
  ATHANOR_CHECK(!log.name.empty(), log.source, ": expected a log with a name");
  ATHANOR_CHECK(!log.readings.empty(), where, ": expected at least one reading, found none");
  for (const LogSensor& sensor : log.sensors) {
    if (sensor.kind == SensorKind::kCamera) {
      sensor.camera.Check(StrCat(where, ": ", sensor.channel));
    }
    ATHANOR_CHECK(log.FindSensor(sensor.channel) == &sensor, where, ": two sensors are called ",
                  sensor.channel);
  }
  const auto expect_after = [&](const std::string& what, int64_t before_us, int64_t time_us) {
    ATHANOR_CHECK(before_us < time_us, where, ": ", what, ": expected a time after ", before_us,
                  " us, found ", time_us, " us: the clock jumped back by ",
                  1e-6 * static_cast<double>(before_us - time_us), " s");
  };
  for (int i = 0; i < readings; ++i) {
    const LogReading& reading = log.readings[i];
    ATHANOR_CHECK(reading.sensor >= 0 && reading.sensor < sensors && reading.frame >= -1 &&
                      reading.frame < static_cast<int>(log.frames.size()),
                  where, ": reading ", i, ": its sensor or frame is not in the log");
    if (i == 0) continue;
    const LogReading& before = log.readings[i - 1];
    ATHANOR_CHECK(before.sensor <= reading.sensor, where, ": reading ", i,
                  ": expected readings by sensor");
    if (before.sensor == reading.sensor) {
      expect_after(StrCat(log.sensors[reading.sensor].channel, ", reading ", i), before.time_us,
                   reading.time_us);
    }
  }
  for (size_t f = 0; f < log.frames.size(); ++f) {
    const LogFrame& frame = log.frames[f];
    ATHANOR_CHECK(IsFinite(frame.world_from_ego), where, ": frame ", f,
                  ": expected a finite pose of the vehicle");
    if (f > 0) expect_after(StrCat("frame ", f), log.frames[f - 1].time_us, frame.time_us);
    ATHANOR_CHECK(static_cast<int>(frame.readings.size()) == sensors &&
                      std::all_of(frame.readings.begin(), frame.readings.end(),
                                  [&](int r) { return r >= -1 && r < readings; }),
                  where, ": frame ", f, ": expected a reading or -1 for each sensor");
    for (const LogBox& box : frame.boxes) {
      ATHANOR_CHECK(box.track >= 0 && box.track < tracks, where, ": frame ", f, ": box of track ",
                    box.track, ", which the log does not have");
      ATHANOR_CHECK(IsFinite(box.box.frame_from_box) && box.box.size_m.allFinite(), where,
                    ": frame ", f, ": box of track ", box.track,
                    ": expected a finite place and size");
    }
  }
  for (const LogTag& tag : log.tags) {
    ATHANOR_CHECK(tag.track >= -1 && tag.track < tracks, where, ": tag ", tag.name, " is of track ",
                  tag.track, ", which the log does not have");
  }
}

std::string EncodeClip(const Clip& clip) {
  const Log& log = clip.log;
  ATHANOR_CHECK(clip.payloads.size() == log.readings.size(), "clip ", log.name, ": expected ",
                log.readings.size(), " payloads, found ", clip.payloads.size());
  Encoder out;
  out.bytes = kMagic;
  for (const std::string* text :
       {&log.dataset, &log.name, &log.location, &log.description, &log.vehicle}) {
    out.Text(*text);
  }
  out.Count(log.sensors.size());
  for (const LogSensor& sensor : log.sensors) {
    out.Text(sensor.channel);
    out.Small(static_cast<int>(sensor.kind));
    out.Pose(sensor.ego_from_sensor);
    out.Small(static_cast<int>(sensor.camera.model));
    out.Small(sensor.camera.width_px);
    out.Small(sensor.camera.height_px);
    for (const double parameter : sensor.camera.parameters) out.Real(parameter);
  }
  out.Count(log.readings.size());
  for (size_t i = 0; i < log.readings.size(); ++i) {
    const LogReading& reading = log.readings[i];
    out.Text(reading.id);
    out.Small(reading.sensor);
    out.Integer(reading.time_us);
    out.Pose(reading.world_from_ego);
    out.Small(reading.frame);
    out.Text(clip.payloads[i].extension);
    out.Integer(clip.payloads[i].length);
    const bool here = !clip.payloads[i].sha256.empty();
    out.Small(here);
    if (here) out.bytes += BytesOfHex(clip.payloads[i].sha256);
  }
  out.Count(log.tracks.size());
  for (const LogTrack& track : log.tracks) {
    out.Text(track.id);
    out.Text(track.category);
  }
  out.Count(log.frames.size());
  for (const LogFrame& frame : log.frames) {
    out.Text(frame.id);
    out.Integer(frame.time_us);
    out.Pose(frame.world_from_ego);
    out.Count(frame.readings.size());
    for (const int reading : frame.readings) out.Small(reading);
    out.Count(frame.boxes.size());
    for (const LogBox& box : frame.boxes) EncodeBox(box, &out);
  }
  out.Count(log.tags.size());
  for (const LogTag& tag : log.tags) {
    out.Text(tag.name);
    out.Small(tag.track);
    out.Integer(tag.begin_us);
    out.Integer(tag.end_us);
  }
  return std::move(out.bytes);
}

Clip DecodeClip(std::string_view bytes, std::string_view name) {
  constexpr size_t kPose = 7 * 8;
  Decoder in(bytes, name);
  in.Expect(bytes.size() >= kMagic.size() && in.Take(kMagic.size()) == kMagic,
            "expected a clip of version 1, found other bytes or a clip of a newer program");
  Clip clip;
  Log& log = clip.log;
  log.source = name;
  for (std::string* text :
       {&log.dataset, &log.name, &log.location, &log.description, &log.vehicle}) {
    *text = in.Text();
  }
  log.sensors.resize(in.Count(4 + 4 + kPose + 12 + 8 * kMaxCameraParameters));
  for (LogSensor& sensor : log.sensors) {
    sensor.channel = in.Text();
    const int kind = in.Small();
    in.Expect(kind >= 0 && kind <= static_cast<int>(SensorKind::kRadar),
              "expected a kind of sensor");
    sensor.kind = static_cast<SensorKind>(kind);
    sensor.ego_from_sensor = in.Pose();
    const int model = in.Small();
    in.Expect(model >= 0 && model < kNumCameraModels, "expected a camera model");
    sensor.camera.model = static_cast<CameraModel>(model);
    sensor.camera.width_px = in.Small();
    sensor.camera.height_px = in.Small();
    for (double& parameter : sensor.camera.parameters) parameter = in.Real();
  }
  log.readings.resize(in.Count(4 + 4 + 8 + kPose + 4 + 4 + 8 + 4));
  clip.payloads.resize(log.readings.size());
  for (size_t i = 0; i < log.readings.size(); ++i) {
    LogReading& reading = log.readings[i];
    reading.id = in.Text();
    reading.sensor = in.Small();
    reading.time_us = in.Integer();
    reading.world_from_ego = in.Pose();
    reading.frame = in.Small();
    clip.payloads[i].extension = in.Text();
    clip.payloads[i].length = in.Integer();
    if (in.Small() != 0) clip.payloads[i].sha256 = HexOfBytes(in.Take(kSha256Bytes));
  }
  log.tracks.resize(in.Count(8));
  for (LogTrack& track : log.tracks) {
    track.id = in.Text();
    track.category = in.Text();
  }
  log.frames.resize(in.Count(4 + 8 + kPose + 16));
  for (LogFrame& frame : log.frames) {
    frame.id = in.Text();
    frame.time_us = in.Integer();
    frame.world_from_ego = in.Pose();
    frame.readings.resize(in.Count(4));
    for (int& reading : frame.readings) reading = in.Small();
    frame.boxes.resize(in.Count(4 + 4 + kPose + 5 * 8 + 8 + 12));
    for (LogBox& box : frame.boxes) box = DecodeBox(in);
  }
  log.tags.resize(in.Count(4 + 4 + 16));
  for (LogTag& tag : log.tags) {
    tag.name = in.Text();
    tag.track = in.Small();
    tag.begin_us = in.Integer();
    tag.end_us = in.Integer();
  }
  in.Expect(in.AtEnd(), "expected the end of the clip");
  CheckClip(log);
  return clip;
}

std::string ClipId(std::string_view bytes) { return Sha256Of(bytes); }

std::string BytesOfHex(std::string_view digits) {
  std::string bytes;
  bool good = digits.size() == 2 * kSha256Bytes;
  for (size_t i = 0; good && i < digits.size(); i += 2) {
    const int high = HexDigit(digits[i]), low = HexDigit(digits[i + 1]);
    good = high >= 0 && low >= 0;
    bytes += static_cast<char>(high << 4 | low);
  }
  ATHANOR_CHECK(good, "expected 64 hexadecimal digits, found '", digits, "'");
  return bytes;
}

std::string HexOfBytes(std::string_view bytes) {
  std::string digits;
  for (const char c : bytes) {
    digits += "0123456789abcdef"[static_cast<uint8_t>(c) >> 4];
    digits += "0123456789abcdef"[c & 15];
  }
  return digits;
}

}  // namespace athanor
