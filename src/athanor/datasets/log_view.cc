#include "athanor/datasets/log_view.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <utility>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/datasets/log_drawing.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

const LogFrame& FrameOf(const Log& log, int frame) {
  ATHANOR_CHECK(frame >= 0 && frame < static_cast<int>(log.frames.size()), log.source, ": log ",
                log.name, ": expected a frame of 0 to ", log.frames.size(), " (excluded), found ",
                frame);
  return log.frames[frame];
}

// The points of the main LiDAR, in the world.
struct WorldPoints {
  std::vector<Eigen::Vector3d> points;
  std::vector<float> intensity;
};

WorldPoints PointsOf(const Log& log, int frame, int sweeps) {
  WorldPoints world;
  const int lidar = log.MainLidar();
  const int reading = lidar < 0 ? -1 : log.frames[frame].readings[lidar];
  if (reading < 0 || !HasPayload(log, log.readings[reading])) return world;
  const LidarSweep sweep = sweeps > 1 ? MergeSweeps(log, frame, sweeps) : ReadSweep(log, reading);
  const Rigid3 world_from_lidar =
      log.readings[reading].world_from_ego * log.sensors[lidar].ego_from_sensor;
  const Eigen::Matrix3d rotation = world_from_lidar.rotation.toRotationMatrix();
  world.points.reserve(sweep.points.size());
  for (const Eigen::Vector3f& point : sweep.points) {
    world.points.push_back(rotation * point.cast<double>() + world_from_lidar.translation);
  }
  world.intensity = sweep.intensity;
  world.intensity.resize(world.points.size(), 0.5f);
  return world;
}

// Lower-case words apart from each other by '_': "vehicle.car" and "REGULAR_VEHICLE" alike.
bool HasAny(std::string_view category, std::initializer_list<const char*> words) {
  std::string lower;
  for (const char c : category)
    lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return std::any_of(words.begin(), words.end(),
                     [&](const char* word) { return lower.find(word) != std::string::npos; });
}

// The name behind the last point: "vehicle.car" is "car".
std::string_view ShortName(std::string_view category) {
  const size_t point = category.rfind('.');
  return point == std::string_view::npos ? category : category.substr(point + 1);
}

std::string TimeText(int64_t delta_us) {
  char text[32];
  std::snprintf(text, sizeof text, "%+.0f ms", 1e-3 * static_cast<double>(delta_us));
  return text;
}

// The categories of a frame, most frequent first, as lines of a legend.
void DrawLegend(Image* image, const Log& log, const LogFrame& frame, int x, int y, int width,
                int lines) {
  std::map<std::string, int> counts;
  for (const LogBox& box : frame.boxes) ++counts[log.tracks[box.track].category];
  std::vector<std::pair<int, std::string>> sorted;
  for (const auto& [category, count] : counts) sorted.emplace_back(-count, category);
  std::sort(sorted.begin(), sorted.end());
  constexpr int kLine_px = 14, kColumns = 3;
  for (size_t i = 0; i < sorted.size() && static_cast<int>(i) < lines * kColumns; ++i) {
    const int left = x + static_cast<int>(i) % kColumns * (width / kColumns);
    const int top = y + static_cast<int>(i) / kColumns * kLine_px;
    FillRectangle(image, left, top, 9, 9, CategoryColor(sorted[i].second));
    const std::string text = StrCat(-sorted[i].first, " ", ShortName(sorted[i].second));
    DrawText(image, left + 14, top + 1, FitText(text, width / kColumns - 18), kViewFaint);
  }
}

// Indices of sensors, in rows.
std::vector<std::vector<int>> RowsOfCameras(const Log& log) {
  std::vector<int> sensors;
  std::vector<CameraPlace> places;
  for (size_t i = 0; i < log.sensors.size(); ++i) {
    if (log.sensors[i].kind != SensorKind::kCamera) continue;
    const Rigid3& ego_from_sensor = log.sensors[i].ego_from_sensor;
    sensors.push_back(static_cast<int>(i));
    places.push_back(
        {ego_from_sensor.rotation * Eigen::Vector3d::UnitZ(), ego_from_sensor.translation});
  }
  std::vector<std::vector<int>> rows = CameraRows(places);
  for (std::vector<int>& row : rows) {
    for (int& camera : row) camera = sensors[camera];
  }
  return rows;
}

}  // namespace

OptionList Describe(LogViewOptions& o) {
  OptionList list;
  list.Add("camera-width", &o.camera_width_px,
           "width of each camera's picture, pixels; a single one gets twice that",
           {.min = 64, .max = 4096});
  list.Add("range", &o.range_m, "from the car to the edge of the view from above, metres",
           {.min = 1, .max = 1000});
  list.Add("sweeps", &o.sweeps, "LiDAR sweeps to merge: the frame's and those before it",
           {.min = 1, .max = 100});
  list.Add("color", &o.color, "what colours the points from above",
           {.choices = {"height", "intensity"}});
  list.Add("points-in-cameras", &o.points_in_cameras, "draw LiDAR points into the pictures");
  list.Add("boxes", &o.boxes, "draw the boxes");
  list.Add("max-box-distance", &o.max_box_distance_m,
           "boxes further away are not drawn into pictures, metres", {.min = 0});
  return list;
}

Color CategoryColor(std::string_view category) {
  if (HasAny(category, {"animal", "dog", "sheep"})) return {120, 230, 120};
  if (HasAny(category, {"bicycle_rack", "static"})) return {150, 150, 170};
  if (HasAny(category, {"bicycl", "motorcycl", "cyclist", "wheeled_rider"})) return {255, 80, 110};
  if (HasAny(category, {"pedestrian", "person", "stroller", "wheelchair"})) return {80, 170, 255};
  if (HasAny(category, {"cone", "bollard", "barrier", "sign", "barrel"})) return {190, 140, 255};
  if (HasAny(category, {"truck", "bus", "trailer", "construction", "van", "tram", "train",
                        "large_vehicle", "vehicular"})) {
    return {255, 215, 70};
  }
  if (HasAny(category, {"car", "vehicle"})) return {255, 150, 50};
  return {200, 200, 200};
}

Image DrawFromAbove(const Log& log, int frame_index, int side_px, const LogViewOptions& options) {
  const LogFrame& frame = FrameOf(log, frame_index);
  Image image(side_px, side_px, 3);
  AboveView view(&image, options.range_m);

  const Rigid3 ego_from_world = frame.world_from_ego.Inverse();
  const Eigen::Matrix3d rotation = ego_from_world.rotation.toRotationMatrix();
  const WorldPoints cloud = PointsOf(log, frame_index, options.sweeps);
  const bool by_height = options.color == "height";
  std::vector<Eigen::Vector3d> in_ego(cloud.points.size());
  std::vector<Color> colors(cloud.points.size());
  for (size_t i = 0; i < cloud.points.size(); ++i) {
    in_ego[i] = rotation * cloud.points[i] + ego_from_world.translation;
    colors[i] = by_height
                    ? HeightColor(static_cast<float>(in_ego[i].z()))
                    : MapColor(ColorMap::kViridis, std::sqrt(std::max(cloud.intensity[i], 0.0f)));
  }
  view.DrawPoints(in_ego, colors);
  if (options.boxes) {
    for (const LogBox& box : frame.boxes) {
      view.DrawBox((ego_from_world * box.box).Corners(),
                   CategoryColor(log.tracks[box.track].category));
    }
  }
  view.DrawCar();
  return image;
}

Image DrawCamera(const Log& log, int frame_index, int sensor_index, const LogViewOptions& options) {
  const LogFrame& frame = FrameOf(log, frame_index);
  const LogSensor& sensor = log.sensors[sensor_index];
  const int reading_index = frame.readings[sensor_index];
  const int width = options.camera_width_px;
  const int height = std::max(
      1, static_cast<int>(std::lround(static_cast<double>(width) * sensor.camera.height_px /
                                      std::max(1, sensor.camera.width_px))));
  const Camera camera = sensor.camera.Resized(width, height);
  Image image(width, height, 3);
  FillRectangle(&image, 0, 0, width, height, kViewPanel);
  const LogReading* reading = reading_index < 0 ? nullptr : &log.readings[reading_index];
  const bool on_disk = reading != nullptr && HasPayload(log, *reading);
  if (on_disk)
    image = Resize(DecodeImage(ReadPayload(log, *reading), reading->path.string()), width, height);

  const Rigid3& world_from_ego =
      reading != nullptr ? reading->world_from_ego : frame.world_from_ego;
  const Rigid3 camera_from_world = (world_from_ego * sensor.ego_from_sensor).Inverse();
  CameraView view(&image, camera);
  if (options.points_in_cameras) {
    std::vector<Eigen::Vector3d> points = PointsOf(log, frame_index, options.sweeps).points;
    const Eigen::Matrix3d rotation = camera_from_world.rotation.toRotationMatrix();
    for (Eigen::Vector3d& point : points) {
      point = rotation * point + camera_from_world.translation;
    }
    view.DrawPoints(points);
  }
  if (options.boxes) {
    std::vector<std::pair<double, const LogBox*>> boxes;
    for (const LogBox& box : frame.boxes) {
      const double distance_m = (camera_from_world * box.box.frame_from_box.translation).norm();
      if (distance_m <= options.max_box_distance_m) boxes.emplace_back(-distance_m, &box);
    }
    std::sort(boxes.begin(), boxes.end());  // the near over the far
    for (const auto& [distance_m, box] : boxes) {
      view.DrawBox((camera_from_world * box->box).Corners(),
                   CategoryColor(log.tracks[box->track].category));
    }
  }
  if (!on_disk) DrawText(&image, 6, 6, "picture not on disk", kViewFaint);
  return image;
}

Image DrawFrame(const Log& log, int frame_index, const LogViewOptions& given) {
  constexpr int kGap_px = 4, kCaption_px = 14, kHeader_px = 40, kLegendLines = 4, kLegend_px = 62;
  constexpr int kLeastAbove_px = 420;
  const LogFrame& frame = FrameOf(log, frame_index);

  // Pictures first: the sheet is as large as they are. Tall ones are shrunk to the widescreen cell.
  const std::vector<std::vector<int>> rows = RowsOfCameras(log);
  LogViewOptions options = given;
  if (rows.size() == 1 && rows[0].size() == 1) options.camera_width_px *= 2;
  const int cell_width = options.camera_width_px;
  const int max_height = cell_width * 3 / 4;
  std::vector<std::vector<Image>> pictures;
  std::vector<int> row_heights;
  int cameras_height = 0, columns = 0;
  for (const std::vector<int>& row : rows) {
    int row_height = 0;
    std::vector<Image>& row_pictures = pictures.emplace_back();
    for (const int sensor : row) {
      Image picture = DrawCamera(log, frame_index, sensor, options);
      if (picture.height > max_height) {
        picture =
            Resize(picture, std::max(1, picture.width * max_height / picture.height), max_height);
      }
      row_height = std::max(row_height, picture.height);
      row_pictures.push_back(std::move(picture));
    }
    row_heights.push_back(row_height);
    cameras_height += row_height + kCaption_px + kGap_px;
    columns = std::max(columns, static_cast<int>(row.size()));
  }
  const int above_side = std::max(kLeastAbove_px, cameras_height - kLegend_px);
  const int width = above_side + 2 * kGap_px + columns * (cell_width + kGap_px);
  const int height = kHeader_px + std::max(above_side + kLegend_px, cameras_height) + kGap_px;
  Image sheet(width, height, 3);
  FillRectangle(&sheet, 0, 0, width, height, kViewPanel);

  std::string title = StrCat(log.name, "   frame ", frame_index, " of ", log.frames.size());
  if (!log.location.empty()) title += "   " + log.location;
  DrawText(&sheet, 8, 6, FitText(title, width - 16, 2), kWhite, 2);
  std::string facts = StrCat(log.dataset, "   ", frame.boxes.size(), " boxes");
  if (!log.description.empty()) facts += "   " + log.description;
  std::map<std::string, int> tag_counts;
  for (const LogTag& tag : log.tags) {
    if (tag.begin_us <= frame.time_us && frame.time_us <= tag.end_us) ++tag_counts[tag.name];
  }
  std::string tags;
  for (const auto& [name, count] : tag_counts) {
    tags += "  " + name + (count > 1 ? StrCat(" x", count) : "");
  }
  if (!tags.empty()) facts += "   tags:" + tags;
  DrawText(&sheet, 8, 27, FitText(facts, width - 16), kViewFaint);

  Paste(&sheet, DrawFromAbove(log, frame_index, above_side, options), kGap_px, kHeader_px);
  DrawLegend(&sheet, log, frame, kGap_px + 4, kHeader_px + above_side + 6, above_side - 8,
             kLegendLines);
  int y = kHeader_px;
  for (size_t r = 0; r < rows.size(); ++r) {
    int x = above_side + 2 * kGap_px;
    for (size_t i = 0; i < rows[r].size(); ++i) {
      Paste(&sheet, pictures[r][i], x + (cell_width - pictures[r][i].width) / 2, y);
      const int reading = frame.readings[rows[r][i]];
      std::string caption = log.sensors[rows[r][i]].channel;
      if (reading >= 0) caption += "  " + TimeText(log.readings[reading].time_us - frame.time_us);
      DrawText(&sheet, x + 2, y + row_heights[r] + 3, FitText(caption, cell_width - 4), kViewFaint);
      x += cell_width + kGap_px;
    }
    y += row_heights[r] + kCaption_px + kGap_px;
  }
  return sheet;
}

int FrameToShow(const Log& log) {
  ATHANOR_CHECK(!log.frames.empty(), log.source, ": log ", log.name,
                ": expected at least one frame, found none");
  const auto middle = static_cast<int>(log.frames.size() / 2);
  int best = middle, best_files = -1;
  for (int f = 0; f < static_cast<int>(log.frames.size()); ++f) {
    int files = 0;
    for (const int reading : log.frames[f].readings) {
      files += reading >= 0 && HasPayload(log, log.readings[reading]);
    }
    const bool nearer = std::abs(f - middle) < std::abs(best - middle);
    if (files > best_files || (files == best_files && nearer)) {
      best = f;
      best_files = files;
    }
  }
  return best;
}

}  // namespace athanor
