#include "athanor/loop/mining/contact_sheet.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <string>

#include "athanor/base/error.h"
#include "athanor/datasets/log_drawing.h"
#include "athanor/datasets/log_projection.h"
#include "athanor/datasets/log_view.h"
#include "athanor/media/draw.h"

namespace athanor {
namespace {

constexpr int kLine_px = kLetterHeight + 3;
constexpr int kWhyLines = 3;
constexpr Color kHitColor = {255, 220, 60};
constexpr double kContext = 3.0;      // a crop's side is so many times the box's
constexpr double kSmallestCrop = 64;  // pixels

Box3 InCamera(const Log& log, int frame, int sensor, const Box3& box_in_world) {
  const LogReading& reading = log.readings[log.frames[frame].readings[sensor]];
  return (reading.world_from_ego * log.sensors[sensor].ego_from_sensor).Inverse() * box_in_world;
}

bool HasPicture(const Log& log, int frame, int sensor) {
  const int reading = log.frames[frame].readings[sensor];
  return log.sensors[sensor].kind == SensorKind::kCamera && reading >= 0 &&
         HasPayload(log, log.readings[reading]);
}

// The camera that looks most along the drive, of those whose picture is at hand; -1: none.
int CameraAhead(const Log& log, int frame) {
  int best = -1;
  double most = -2;
  for (int s = 0; s < std::ssize(log.sensors); ++s) {
    if (!HasPicture(log, frame, s)) continue;
    const double ahead = (log.sensors[s].ego_from_sensor.rotation * Eigen::Vector3d::UnitZ()).x();
    if (ahead > most) {
      most = ahead;
      best = s;
    }
  }
  return best;
}

Image ReadPicture(const Log& log, int frame, int sensor) {
  const LogReading& reading = log.readings[log.frames[frame].readings[sensor]];
  return DecodeImage(ReadPayload(log, reading), reading.path.string(), 3);
}

Image Crop(const Image& image, int x0, int y0, int width, int height) {
  Image crop(width, height, image.channels);
  for (int y = 0; y < height; ++y) {
    std::copy_n(image.at(x0, y0 + y), static_cast<size_t>(width) * image.channels, crop.at(0, y));
  }
  return crop;
}

// 4:3, around the view, as far as the picture goes; enlarged, so that lines and pixels are fine.
Image DrawBoxHit(const Log& log, const MinedHit& hit, const BoxView& view, int width_px) {
  const Image picture = ReadPicture(log, hit.frame, view.sensor);
  const double need = std::max({(view.x1 - view.x0), (view.y1 - view.y0) * 4 / 3, 1.0});
  const int width =
      std::min({picture.width, picture.height * 4 / 3,
                static_cast<int>(std::lround(std::max(kContext * need, kSmallestCrop * 4 / 3)))});
  const int height = std::max(width * 3 / 4, 1);
  const auto place = [](double middle, int size, int limit) {
    return std::clamp(static_cast<int>(std::lround(middle - 0.5 * size)), 0, limit - size);
  };
  const int x0 = place(0.5 * (view.x0 + view.x1), width, picture.width);
  const int y0 = place(0.5 * (view.y0 + view.y1), height, picture.height);
  const double scale = static_cast<double>(width_px) / width;
  Image cell = Resize(Crop(picture, x0, y0, width, height), width_px, width_px * 3 / 4);
  if (!hit.box_in_world) {
    DrawRectangle(&cell, static_cast<int>((view.x0 - x0) * scale),
                  static_cast<int>((view.y0 - y0) * scale),
                  static_cast<int>((view.x1 - view.x0) * scale),
                  static_cast<int>((view.y1 - view.y0) * scale), kHitColor, 2);
    DrawText(&cell, 4, 4, hit.camera, kWhite);
    return cell;
  }
  // Edges by the camera, then into the crop.
  const Camera& camera = log.sensors[view.sensor].camera;
  const auto corners = InCamera(log, hit.frame, view.sensor, *hit.box_in_world).Corners();
  for (int i = 0; i < 8; ++i) {
    for (const int bit : {4, 2, 1}) {
      if ((i & bit) != 0) continue;
      const auto a = camera.Project(corners[i]), b = camera.Project(corners[i | bit]);
      if (!a || !b) continue;
      DrawLine(&cell, (a->x() - x0) * scale, (a->y() - y0) * scale, (b->x() - x0) * scale,
               (b->y() - y0) * scale, kHitColor, (i & 4) == 0 && bit != 4 ? 1.6 : 1.0);
    }
  }
  DrawText(&cell, 4, 4, log.sensors[view.sensor].channel, kWhite);
  return cell;
}

BoxView ViewOf(const Log& log, const MinedHit& hit) {
  if (hit.box_in_world) return BestView(log, hit.frame, *hit.box_in_world);
  const LogSensor* camera = log.FindSensor(hit.camera);
  if (camera == nullptr) return {};
  const int sensor = static_cast<int>(camera - log.sensors.data());
  if (!HasPicture(log, hit.frame, sensor)) return {};
  // A file of hits may say anything.
  const double width = camera->camera.width_px, height = camera->camera.height_px;
  const auto& [left, top, right, bottom] = hit.region_px;
  const BoxView view = {sensor, std::clamp(left, 0.0, width), std::clamp(top, 0.0, height),
                        std::clamp(right, 0.0, width), std::clamp(bottom, 0.0, height)};
  return view.x0 < view.x1 && view.y0 < view.y1 ? view : BoxView{};
}

Image DrawFrameHit(const Log& log, const MinedHit& hit, int width_px) {
  const int sensor = CameraAhead(log, hit.frame);
  LogViewOptions options;
  options.camera_width_px = width_px;
  options.points_in_cameras = false;
  return sensor >= 0 ? DrawCamera(log, hit.frame, sensor, options)
                     : DrawFromAbove(log, hit.frame, width_px, options);
}

// The text in lines of at most `width` pixels, broken at spaces where it has any.
std::vector<std::string> Wrapped(std::string_view text, int width, int most) {
  std::vector<std::string> lines;
  const size_t letters = std::max(width / kLetterWidth, 1);
  while (!text.empty() && std::ssize(lines) < most) {
    if (std::ssize(lines) + 1 == most || text.size() <= letters) {
      lines.push_back(FitText(text, width));
      break;
    }
    size_t cut = text.rfind(' ', letters);
    if (cut == std::string_view::npos || cut == 0) cut = letters;
    lines.emplace_back(text.substr(0, cut));
    text.remove_prefix(std::min(cut + (text[cut] == ' ' ? 1 : 0), text.size()));
  }
  return lines;
}

Image WithText(const Image& picture, const std::vector<std::string>& lines) {
  const int height = picture.height + 4 + static_cast<int>(lines.size()) * kLine_px;
  Image cell(picture.width, height, 3, 255);
  Paste(&cell, picture, 0, 0);
  for (size_t i = 0; i < lines.size(); ++i) {
    DrawText(&cell, 0, picture.height + 4 + static_cast<int>(i) * kLine_px, lines[i],
             i == 0 ? kBlack : Color{90, 90, 90});
  }
  return cell;
}

// In place of a picture that is damaged.
Image Unreadable(std::string_view why, int width_px) {
  Image picture(width_px, width_px * 3 / 4, 3, 60);
  int y = 4;
  for (const std::string& line : Wrapped(why, width_px - 8, 6)) {
    DrawText(&picture, 4, y, line, kWhite);
    y += kLine_px;
  }
  return picture;
}

}  // namespace

BoxView BestView(const Log& log, int frame, const Box3& box_in_world) {
  BoxView best;
  double most = 0;
  for (int s = 0; s < std::ssize(log.sensors); ++s) {
    if (!HasPicture(log, frame, s)) continue;
    const Camera& camera = log.sensors[s].camera;
    const Box3 in_camera = InCamera(log, frame, s, box_in_world);
    if (in_camera.frame_from_box.translation.z() < kNearestProjected_m) continue;
    BoxView view;
    view.sensor = s;
    view.x0 = view.y0 = 1e9;
    view.x1 = view.y1 = -1e9;
    for (const Eigen::Vector2d& point : OutlineOf(in_camera, camera)) {
      view.x0 = std::min(view.x0, point.x());
      view.y0 = std::min(view.y0, point.y());
      view.x1 = std::max(view.x1, point.x());
      view.y1 = std::max(view.y1, point.y());
    }
    view.x0 = std::max(view.x0, 0.0);
    view.y0 = std::max(view.y0, 0.0);
    view.x1 = std::min<double>(view.x1, camera.width_px);
    view.y1 = std::min<double>(view.y1, camera.height_px);
    const double area = std::max(view.x1 - view.x0, 0.0) * std::max(view.y1 - view.y0, 0.0);
    if (area > most) {
      most = area;
      best = view;
    }
  }
  return best;
}

Image DrawMinedHits(const MinedData& data, const std::vector<MinedHit>& hits,
                    const ContactSheetOptions& options) {
  ATHANOR_CHECK(!hits.empty(), "contact sheet: expected at least one hit");
  std::vector<std::vector<SheetCell>> rows;
  for (int i = 0; i < std::min<int>(options.most, static_cast<int>(hits.size())); ++i) {
    const MinedHit& hit = hits[i];
    const int index = data.FindLog(hit.log);
    ATHANOR_CHECK(index >= 0, data.path().string(), ": no log is called '", hit.log, "'");
    const std::shared_ptr<const Log> log = data.Read(index);
    ATHANOR_CHECK(hit.frame >= 0 && hit.frame < std::ssize(log->frames), data.path().string(),
                  ": log ", hit.log, " has ", log->frames.size(), " frames, found ", hit.frame);
    const BoxView view = ViewOf(*log, hit);
    std::string title = StrCat(i + 1, "  ", hit.log, "/", hit.frame);
    if (hit.box >= 0) title += StrCat(":", hit.box);
    if (!hit.class_name.empty()) title += "  " + hit.class_name;
    char score[32];
    std::snprintf(score, sizeof score, "  %.3f", hit.score);
    std::vector<std::string> lines = {FitText(title + score, options.cell_width)};
    for (std::string& line : Wrapped(hit.why, options.cell_width, kWhyLines)) {
      lines.push_back(std::move(line));
    }
    Image picture;
    try {
      picture = view.sensor >= 0 ? DrawBoxHit(*log, hit, view, options.cell_width)
                                 : DrawFrameHit(*log, hit, options.cell_width);
    } catch (const Error& damage) {
      picture = Unreadable(damage.what(), options.cell_width);
    }
    if (i % options.columns == 0) rows.emplace_back();
    rows.back().push_back({WithText(picture, lines), {}});
  }
  return ContactSheet({}, rows, options.cell_width);
}

}  // namespace athanor
