#include "athanor/datasets/log_view.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "athanor/base/error.h"
#include "athanor/media/draw.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr Color kBackground = {16, 18, 22};
constexpr Color kPanel = {26, 29, 35};
constexpr Color kRing = {52, 58, 68};
constexpr Color kFaint = {150, 156, 166};
constexpr Color kEgo = {255, 255, 255};
constexpr double kNear_m = 0.1;

bool OnDisk(const LogReading& reading) {
  std::error_code error;
  return fs::is_regular_file(reading.path, error);
}

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
  if (reading < 0 || !OnDisk(log.readings[reading])) return world;
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

Color Scaled(Color color, double factor) {
  const auto scale = [&](uint8_t value) {
    return static_cast<uint8_t>(std::clamp(value * factor, 0.0, 255.0));
  };
  return {scale(color.r), scale(color.g), scale(color.b)};
}

// A segment of the camera's world in its picture. Lenses bend lines, so that it is drawn in pieces;
// what lies behind the near plane is cut off.
class SegmentPainter {
 public:
  SegmentPainter(Image* image, const Camera& camera) : image_(image), camera_(camera) {}

  void Draw(Eigen::Vector3d a, Eigen::Vector3d b, Color color, double thickness) const {
    if (a.z() < kNear_m && b.z() < kNear_m) return;
    if (a.z() < kNear_m) std::swap(a, b);
    if (b.z() < kNear_m) b = a + (b - a) * ((a.z() - kNear_m) / (a.z() - b.z()));
    const int pieces = camera_.IsPinhole() ? 1 : 16;
    std::optional<Eigen::Vector2d> last = camera_.Project(a);
    for (int i = 1; i <= pieces; ++i) {
      const auto next = camera_.Project(a + (b - a) * (static_cast<double>(i) / pieces));
      if (last && next) {
        DrawLine(image_, last->x(), last->y(), next->x(), next->y(), color, thickness);
      }
      last = next;
    }
  }

 private:
  Image* image_;
  const Camera& camera_;
};

void DrawBoxInCamera(const SegmentPainter& painter, const Box3& box_in_camera, Color color) {
  const std::array<Eigen::Vector3d, 8> corners = box_in_camera.Corners();
  // Corners are numbered front/left/bottom by bits 4, 2, 1: edges join those that differ in one.
  for (int i = 0; i < 8; ++i) {
    for (const int bit : {4, 2, 1}) {
      if ((i & bit) != 0) continue;
      const bool front = (i & 4) == 0 && bit != 4;
      painter.Draw(corners[i], corners[i | bit], front ? color : Scaled(color, 0.75),
                   front ? 2.0 : 1.4);
    }
  }
  const Eigen::Vector3d half = 0.5 * box_in_camera.size_m;
  const Rigid3& camera_from_box = box_in_camera.frame_from_box;
  painter.Draw(camera_from_box * Eigen::Vector3d(0, 0, -half.z()),
               camera_from_box * Eigen::Vector3d(half.x(), 0, -half.z()), color, 1.4);
}

// Metres ahead and to the left of the car as pixels.
struct AboveScale {
  double side_px, px_per_m;
  Eigen::Vector2d operator()(const Eigen::Vector3d& in_ego) const {
    return {0.5 * side_px - px_per_m * in_ego.y(), 0.5 * side_px - px_per_m * in_ego.x()};
  }
};

void DrawRings(Image* image, const AboveScale& scale, double range_m) {
  const double step_m = range_m > 80 ? 25 : 10;
  for (double radius_m = step_m; radius_m < 1.42 * range_m; radius_m += step_m) {
    constexpr int kPieces = 180;
    Eigen::Vector2d last = scale({radius_m, 0, 0});
    for (int i = 1; i <= kPieces; ++i) {
      const double angle = 2 * M_PI * i / kPieces;
      const Eigen::Vector2d next =
          scale({radius_m * std::cos(angle), radius_m * std::sin(angle), 0});
      DrawLine(image, last.x(), last.y(), next.x(), next.y(), kRing);
      last = next;
    }
    if (radius_m < range_m) {
      const Eigen::Vector2d at = scale({radius_m, 0, 0});
      DrawText(image, static_cast<int>(at.x()) + 3, static_cast<int>(at.y()) + 2,
               StrCat(radius_m, " m"), kFaint);
    }
  }
}

void DrawBoxFromAbove(Image* image, const AboveScale& scale, const Box3& box_in_ego, Color color) {
  const std::array<Eigen::Vector3d, 8> corners = box_in_ego.Corners();
  constexpr int kAround[] = {0, 2, 6, 4};  // front left, front right, back right, back left
  for (int i = 0; i < 4; ++i) {
    const Eigen::Vector2d a = scale(corners[kAround[i]]), b = scale(corners[kAround[(i + 1) % 4]]);
    DrawLine(image, a.x(), a.y(), b.x(), b.y(), color, i == 0 ? 2.5 : 1.5);
  }
  const Eigen::Vector2d middle = scale(box_in_ego.frame_from_box.translation);
  const Eigen::Vector2d front =
      scale(box_in_ego.frame_from_box * Eigen::Vector3d(0.5 * box_in_ego.size_m.x(), 0, 0));
  DrawLine(image, middle.x(), middle.y(), front.x(), front.y(), color, 1.5);
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
    DrawText(image, left + 14, top + 1, FitText(text, width / kColumns - 18), kFaint);
  }
}

// Indices of cameras: a row of those that look ahead, and one of those that look back, each from
// left to right.
std::vector<std::vector<int>> CameraRows(const Log& log) {
  constexpr size_t kMaxColumns = 4;
  // Sorted by direction, in steps of 3 degrees, then place: the cameras of a stereo pair look the
  // same way.
  std::vector<std::tuple<double, double, int>> ahead, back;
  for (size_t i = 0; i < log.sensors.size(); ++i) {
    if (log.sensors[i].kind != SensorKind::kCamera) continue;
    const Rigid3& ego_from_sensor = log.sensors[i].ego_from_sensor;
    const Eigen::Vector3d direction = ego_from_sensor.rotation * Eigen::Vector3d::UnitZ();
    (direction.x() > -0.2 ? ahead : back)
        .emplace_back(-std::round(20 * direction.y()), -ego_from_sensor.translation.y(),
                      static_cast<int>(i));
  }
  std::vector<std::vector<int>> rows;
  for (auto* list : {&ahead, &back}) {
    std::sort(list->begin(), list->end());
    const size_t num_rows = (list->size() + kMaxColumns - 1) / kMaxColumns;
    for (size_t r = 0; r < num_rows; ++r) {
      std::vector<int>& row = rows.emplace_back();
      for (size_t i = r * list->size() / num_rows; i < (r + 1) * list->size() / num_rows; ++i) {
        row.push_back(std::get<2>((*list)[i]));
      }
    }
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
  FillRectangle(&image, 0, 0, side_px, side_px, kBackground);
  const AboveScale scale{static_cast<double>(side_px), side_px / (2.0 * options.range_m)};
  DrawRings(&image, scale, options.range_m);

  const Rigid3 ego_from_world = frame.world_from_ego.Inverse();
  const Eigen::Matrix3d rotation = ego_from_world.rotation.toRotationMatrix();
  const WorldPoints cloud = PointsOf(log, frame_index, options.sweeps);
  constexpr float kLow_m = -0.5f, kHigh_m = 3.5f;
  const bool by_height = options.color == "height";
  // Higher points over lower ones: what stands is not painted over by the road.
  std::vector<std::pair<float, int>> order(cloud.points.size());
  std::vector<Eigen::Vector3d> in_ego(cloud.points.size());
  for (size_t i = 0; i < cloud.points.size(); ++i) {
    in_ego[i] = rotation * cloud.points[i] + ego_from_world.translation;
    order[i] = {static_cast<float>(in_ego[i].z()), static_cast<int>(i)};
  }
  std::sort(order.begin(), order.end());
  for (const auto& [height_m, i] : order) {
    const Eigen::Vector2d at = scale(in_ego[i]);
    if (!(at.x() >= 0 && at.y() >= 0 && at.x() < side_px && at.y() < side_px)) continue;
    const Color color =
        by_height ? MapColor(ColorMap::kTurbo,
                             0.1f + 0.85f * std::clamp((height_m - kLow_m) / (kHigh_m - kLow_m),
                                                       0.0f, 1.0f))
                  : MapColor(ColorMap::kViridis, std::sqrt(std::max(cloud.intensity[i], 0.0f)));
    FillRectangle(&image, static_cast<int>(at.x()), static_cast<int>(at.y()), 1, 1, color);
  }
  if (options.boxes) {
    for (const LogBox& box : frame.boxes) {
      DrawBoxFromAbove(&image, scale, ego_from_world * box.box,
                       CategoryColor(log.tracks[box.track].category));
    }
  }
  // A car of common size, its rear axle at the origin.
  DrawBoxFromAbove(&image, scale, MakeBox3({1.4, 0, 0}, {4.6, 1.9, 1.6}, 0), kEgo);
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
  FillRectangle(&image, 0, 0, width, height, kPanel);
  const LogReading* reading = reading_index < 0 ? nullptr : &log.readings[reading_index];
  const bool on_disk = reading != nullptr && OnDisk(*reading);
  if (on_disk) image = Resize(ReadImage(reading->path), width, height);

  const Rigid3& world_from_ego =
      reading != nullptr ? reading->world_from_ego : frame.world_from_ego;
  const Rigid3 camera_from_world = (world_from_ego * sensor.ego_from_sensor).Inverse();
  if (options.points_in_cameras) {
    constexpr double kNearest_m = 1.0;
    constexpr float kWarmest_m = 3.0f, kColdest_m = 60.0f;
    const WorldPoints cloud = PointsOf(log, frame_index, options.sweeps);
    const Eigen::Matrix3d rotation = camera_from_world.rotation.toRotationMatrix();
    std::vector<std::pair<float, Eigen::Vector2f>> projected;
    for (const Eigen::Vector3d& point : cloud.points) {
      const Eigen::Vector3d in_camera = rotation * point + camera_from_world.translation;
      if (in_camera.z() < kNearest_m) continue;
      const auto pixel = camera.Project(in_camera);
      if (!pixel ||
          !(pixel->x() >= 0 && pixel->y() >= 0 && pixel->x() < width && pixel->y() < height)) {
        continue;
      }
      projected.emplace_back(static_cast<float>(in_camera.z()), pixel->cast<float>());
    }
    std::sort(projected.begin(), projected.end(),
              [](const auto& a, const auto& b) { return a.first > b.first; });
    // Where points are dense, small ones leave the picture visible.
    const int size = 16 * projected.size() > static_cast<size_t>(width) * height ? 1 : 2;
    for (const auto& [depth_m, pixel] : projected) {
      const float t = (1 / depth_m - 1 / kColdest_m) / (1 / kWarmest_m - 1 / kColdest_m);
      FillRectangle(&image, static_cast<int>(pixel.x()) + 1 - size,
                    static_cast<int>(pixel.y()) + 1 - size, size, size,
                    MapColor(ColorMap::kTurbo, 0.08f + 0.85f * std::sqrt(std::max(t, 0.0f))));
    }
  }
  if (options.boxes) {
    std::vector<std::pair<double, const LogBox*>> boxes;
    for (const LogBox& box : frame.boxes) {
      const double distance_m = (camera_from_world * box.box.frame_from_box.translation).norm();
      if (distance_m <= options.max_box_distance_m) boxes.emplace_back(-distance_m, &box);
    }
    std::sort(boxes.begin(), boxes.end());  // the near over the far
    const SegmentPainter painter(&image, camera);
    for (const auto& [distance_m, box] : boxes) {
      DrawBoxInCamera(painter, camera_from_world * box->box,
                      CategoryColor(log.tracks[box->track].category));
    }
  }
  if (!on_disk) DrawText(&image, 6, 6, "picture not on disk", kFaint);
  return image;
}

Image DrawFrame(const Log& log, int frame_index, const LogViewOptions& given) {
  constexpr int kGap_px = 4, kCaption_px = 14, kHeader_px = 40, kLegendLines = 4, kLegend_px = 62;
  constexpr int kLeastAbove_px = 420;
  const LogFrame& frame = FrameOf(log, frame_index);

  // Pictures first: the sheet is as large as they are. Tall ones are shrunk to the widescreen cell.
  const std::vector<std::vector<int>> rows = CameraRows(log);
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
  FillRectangle(&sheet, 0, 0, width, height, kPanel);

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
  DrawText(&sheet, 8, 27, FitText(facts, width - 16), kFaint);

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
      DrawText(&sheet, x + 2, y + row_heights[r] + 3, FitText(caption, cell_width - 4), kFaint);
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
      files += reading >= 0 && OnDisk(log.readings[reading]);
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
