#include "athanor/simulation/rooms/room_path.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <queue>

#include "athanor/base/error.h"
#include "athanor/base/random.h"

namespace athanor {
namespace {

using Eigen::Vector2d;
using Eigen::Vector3d;

constexpr double kCell_m = 0.1;
constexpr double kLowest_m = 1.3, kHighest_m = 1.7;  // of the eyes

void Check(const RoomCameraOptions& o) {
  const auto check = [](std::string_view name, double value, double low, double high) {
    ATHANOR_CHECK(value >= low && value <= high, "room: expected ", name, " from ", low, " to ",
                  high, ", found ", value);
  };
  check("images", o.images, 1, 100000);
  check("width", o.width_px, 16, 8192);
  check("height", o.height_px, 16, 8192);
  check("fov", o.fov_deg, 20, 120);
  ATHANOR_CHECK(o.path == "walk" || o.path == "orbit" || o.path == "both",
                "room: expected the path walk, orbit or both, found '", o.path, "'");
}

Rigid3 LookAt(const Vector3d& position, const Vector3d& direction) {
  const Vector3d forward = direction.normalized();
  const Vector3d right = forward.cross(Vector3d::UnitZ()).normalized();
  Eigen::Matrix3d room_from_camera;
  room_from_camera << right, forward.cross(right), forward;
  return Rigid3{Eigen::Quaterniond(room_from_camera).normalized(), position}.Inverse();
}

// What stands in the way, and how far off it is.
class Clearance {
 public:
  explicit Clearance(const Room& room) : room_(room) {
    for (const RoomObject& object : room.objects) {
      if (RoomKinds()[object.kind].category == "structure") continue;
      boxes_.push_back(BoxOf(object));
    }
  }
  // Horizontal distance to the nearest wall or thing that reaches between the two heights.
  double At(const Vector2d& p, double low_m, double high_m) const {
    double least =
        std::min(room_.size_m.x() / 2 - std::abs(p.x()), room_.size_m.y() / 2 - std::abs(p.y()));
    for (const Box3& box : boxes_) {
      const double z = box.frame_from_box.translation.z(), half = box.size_m.z() / 2;
      if (z + half < low_m || z - half > high_m) continue;
      const Vector3d local = box.frame_from_box.Inverse() * Vector3d(p.x(), p.y(), z);
      const double dx = std::abs(local.x()) - box.size_m.x() / 2,
                   dy = std::abs(local.y()) - box.size_m.y() / 2;
      least = std::min(least, dx < 0 && dy < 0 ? std::max(dx, dy)
                                               : std::hypot(std::max(dx, 0.0), std::max(dy, 0.0)));
    }
    return least;
  }
  double Walking(const Vector2d& p) const { return At(p, 0.06, kHighest_m + 0.1); }

 private:
  const Room& room_;
  std::vector<Box3> boxes_;
};

// Cells of free floor that hang together, and ways between them.
class FreeFloor {
 public:
  FreeFloor(const Room& room, const Clearance& clearance, double radius_m)
      : columns_(static_cast<int>(room.size_m.x() / kCell_m)),
        rows_(static_cast<int>(room.size_m.y() / kCell_m)) {
    std::vector<char> open(columns_ * rows_);
    for (int c = 0; c < columns_ * rows_; ++c) open[c] = clearance.Walking(Center(c)) > radius_m;
    std::vector<char> seen(open.size());
    for (int start = 0; start < columns_ * rows_; ++start) {
      if (!open[start] || seen[start]) continue;
      std::vector<int> component = {start};
      seen[start] = 1;
      for (size_t k = 0; k < component.size(); ++k) {
        for (const int next : Neighbors(component[k])) {
          if (open[next] && !seen[next]) seen[next] = 1, component.push_back(next);
        }
      }
      if (component.size() > cells_.size()) cells_ = component;
    }
    inside_.assign(open.size(), 0);
    for (const int c : cells_) inside_[c] = 1;
  }
  const std::vector<int>& cells() const { return cells_; }
  Vector2d Center(int cell) const {
    return {(cell % columns_ + 0.5 - columns_ / 2.0) * kCell_m,
            (cell / columns_ + 0.5 - rows_ / 2.0) * kCell_m};
  }
  // The shortest way (Dijkstra).
  std::vector<int> Way(int from, int to) const {
    std::vector<double> distance(inside_.size(), std::numeric_limits<double>::infinity());
    std::vector<int> before(inside_.size(), -1);
    using Entry = std::pair<double, int>;
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue;
    distance[from] = 0;
    queue.push({0, from});
    while (!queue.empty()) {
      const auto [d, cell] = queue.top();
      queue.pop();
      if (cell == to) break;
      if (d > distance[cell]) continue;
      for (const int next : Neighbors(cell)) {
        const double further = d + (Center(next) - Center(cell)).norm();
        if (inside_[next] && further < distance[next] - 1e-12) {
          distance[next] = further;
          before[next] = cell;
          queue.push({further, next});
        }
      }
    }
    std::vector<int> way;
    for (int cell = to; cell >= 0; cell = before[cell]) way.push_back(cell);
    std::reverse(way.begin(), way.end());
    return way;
  }

 private:
  std::vector<int> Neighbors(int cell) const {
    std::vector<int> result;
    const int x = cell % columns_, y = cell / columns_;
    for (int dy = -1; dy <= 1; ++dy) {
      for (int dx = -1; dx <= 1; ++dx) {
        if ((dx != 0 || dy != 0) && x + dx >= 0 && x + dx < columns_ && y + dy >= 0 &&
            y + dy < rows_) {
          result.push_back((y + dy) * columns_ + x + dx);
        }
      }
    }
    return result;
  }

  int columns_, rows_;
  std::vector<int> cells_;
  std::vector<char> inside_;
};

// A closed tour of the free floor through places far from one another.
std::vector<Vector2d> Tour(const Room& room, const Clearance& clearance, Random& random) {
  for (const double radius : {0.33, 0.25, 0.17, 0.1}) {
    const FreeFloor floor(room, clearance, radius);
    const std::vector<int>& cells = floor.cells();
    if (cells.size() < (radius > 0.12 ? 90 : 4)) continue;
    // Farthest point sampling, then always on to the nearest that is left.
    std::vector<int> stops = {cells[random.Below(static_cast<uint32_t>(cells.size()))]};
    const size_t count = std::min<size_t>(9, cells.size() / 12 + 2);
    while (stops.size() < count) {
      int best = cells[0];
      double farthest = -1;
      for (const int cell : cells) {
        double nearest = std::numeric_limits<double>::infinity();
        for (const int stop : stops)
          nearest = std::min(nearest, (floor.Center(cell) - floor.Center(stop)).norm());
        if (nearest > farthest) farthest = nearest, best = cell;
      }
      stops.push_back(best);
    }
    for (size_t k = 1; k + 1 < stops.size(); ++k) {
      const auto nearer = [&](int a, int b) {
        return (floor.Center(a) - floor.Center(stops[k - 1])).norm() <
               (floor.Center(b) - floor.Center(stops[k - 1])).norm();
      };
      std::iter_swap(
          stops.begin() + static_cast<std::ptrdiff_t>(k),
          std::min_element(stops.begin() + static_cast<std::ptrdiff_t>(k), stops.end(), nearer));
    }
    std::vector<Vector2d> line;
    for (size_t k = 0; k < stops.size(); ++k) {
      for (const int cell : floor.Way(stops[k], stops[(k + 1) % stops.size()])) {
        if (line.empty() || (line.back() - floor.Center(cell)).norm() > 1e-9)
          line.push_back(floor.Center(cell));
      }
    }
    // Smoothed as far as it stays clear.
    for (int round = 0; round < 60; ++round) {
      const std::vector<Vector2d> before = line;
      for (size_t k = 0; k < line.size(); ++k) {
        const Vector2d& a = before[(k + line.size() - 1) % line.size()];
        const Vector2d& b = before[(k + 1) % line.size()];
        const Vector2d p = 0.5 * before[k] + 0.25 * (a + b);
        if (clearance.Walking(p) > radius) line[k] = p;
      }
    }
    return line;
  }
  return {Vector2d::Zero()};
}

// `count` points at equal distances along a closed line.
std::vector<Vector2d> Resample(const std::vector<Vector2d>& line, int count) {
  std::vector<double> until = {0};
  for (size_t k = 0; k < line.size(); ++k)
    until.push_back(until.back() + (line[(k + 1) % line.size()] - line[k]).norm());
  std::vector<Vector2d> points;
  size_t piece = 0;
  for (int k = 0; k < count; ++k) {
    const double at = until.back() * k / count;
    while (piece + 2 < until.size() && until[piece + 1] < at) ++piece;
    const double length = until[piece + 1] - until[piece];
    const double t = length > 0 ? (at - until[piece]) / length : 0;
    points.push_back((1 - t) * line[piece] + t * line[(piece + 1) % line.size()]);
  }
  return points;
}

// A direction for each place: from thing to thing, those seen least first.
std::vector<Vector3d> Gaze(const Room& room, const std::vector<Vector3d>& eyes, Random& random) {
  const int n = static_cast<int>(eyes.size());
  std::vector<int> seen(room.objects.size(), 0);
  std::vector<Vector3d> raw(n);
  const int dwell = std::max(1, n / 22);
  Vector3d heading = Vector3d::UnitX();
  for (int k = 0; k < n; ++k) {
    if (k % dwell == 0) {
      double best = -std::numeric_limits<double>::infinity();
      int target = -1;
      for (size_t o = 6; o < room.objects.size(); ++o) {
        const RoomObject& object = room.objects[o];
        const Vector3d to = BoxOf(object).frame_from_box.translation - eyes[k];
        const double distance = to.norm();
        if (distance < 0.5 || to.z() > 0.35 * distance || to.z() < -0.9 * distance) continue;
        const double turn = std::acos(std::clamp(heading.dot(to.normalized()), -1.0, 1.0));
        // Furniture and what lies on it share a look: small things count less each.
        const double score =
            -2.0 * seen[o] - 0.5 * std::abs(distance - 1.8) - 0.35 * turn + 0.5 * random.Uniform();
        if (score > best) best = score, target = static_cast<int>(o);
      }
      if (target >= 0) {
        const Vector3d at = BoxOf(room.objects[target]).frame_from_box.translation;
        for (size_t o = 6; o < room.objects.size(); ++o) {
          if ((BoxOf(room.objects[o]).frame_from_box.translation - at).norm() < 0.9) ++seen[o];
        }
        heading = (at - eyes[k]).normalized();
      }
    }
    raw[k] = heading;
  }
  std::vector<Vector3d> smooth(n);
  const double sigma = 0.8 * dwell;
  const int reach = std::min(n / 2, static_cast<int>(3 * sigma) + 1);
  for (int k = 0; k < n; ++k) {
    Vector3d sum = 1e-6 * Vector3d(raw[k]);
    for (int d = -reach; d <= reach; ++d)
      sum += std::exp(-0.5 * d * d / (sigma * sigma)) * raw[((k + d) % n + n) % n];
    Vector3d direction = sum.normalized();
    direction.z() = std::clamp(direction.z(), -0.7, 0.3);
    if (direction.head<2>().norm() < 0.1)
      direction.head<2>() =
          raw[k].head<2>().norm() > 1e-3 ? Vector2d(raw[k].head<2>()) : Vector2d(1, 0);
    smooth[k] = direction.normalized();
  }
  return smooth;
}

void AddWalk(const Room& room, const Clearance& clearance, int count, Random& random,
             std::vector<Rigid3>* poses) {
  const std::vector<Vector2d> places = Resample(Tour(room, clearance, random), count);
  const double phase = random.Uniform(0, 6.2831853f), middle = (kLowest_m + kHighest_m) / 2;
  std::vector<Vector3d> eyes;
  for (int k = 0; k < count; ++k) {
    const double bob =
        0.9 * std::sin(phase + 2 * M_PI * 3 * k / count) * (kHighest_m - kLowest_m) / 2;
    eyes.push_back({places[k].x(), places[k].y(), middle + bob});
  }
  const std::vector<Vector3d> gaze = Gaze(room, eyes, random);
  for (int k = 0; k < count; ++k) poses->push_back(LookAt(eyes[k], gaze[k]));
}

void AddOrbit(const Room& room, const Clearance& clearance, int count, Random& random,
              std::vector<Rigid3>* poses) {
  Vector3d target(0, 0, 0.5);
  double radius = 1.4;
  if (room.camera_target >= 0) {
    const Box3 box = BoxOf(room.objects[room.camera_target]);
    target = box.frame_from_box.translation + Vector3d(0, 0, 0.4 * box.size_m.z());
    radius = 0.5 * box.size_m.head<2>().norm() + 0.7;
  }
  const double phase = random.Uniform(0, 6.2831853f);
  for (int k = 0; k < count; ++k) {
    const double angle = phase + 2 * M_PI * k / count;
    const Vector2d direction(std::cos(angle), std::sin(angle));
    const double height = std::min(room.size_m.z() - 0.3, 1.55 + 0.15 * std::sin(2 * angle));
    // Nearer, then higher, where something is in the way.
    Vector3d eye(target.x(), target.y(), room.size_m.z() - 0.3);
    bool free = false;
    for (double up = 0; up < 0.6 && !free; up += 0.15) {
      for (double r = radius; r > 0.3 * radius && !free; r *= 0.93) {
        const Vector2d p = target.head<2>() + r * direction;
        const double z = std::min(room.size_m.z() - 0.3, height + up);
        free = clearance.At(p, z - 0.15, z + 0.15) > 0.15;
        if (free) eye = {p.x(), p.y(), z};
      }
    }
    const Vector3d to = target - eye;
    poses->push_back(LookAt(eye, to + Vector3d(1e-3 * direction.x(), 1e-3 * direction.y(), 0)));
  }
}

}  // namespace

void Describe(RoomCameraOptions& options, OptionList& list) {
  list.Add("images", &options.images, "photographs of each room", {.min = 1, .max = 100000});
  list.Add("width", &options.width_px, "width of the photographs, pixels",
           {.min = 16, .max = 8192});
  list.Add("height", &options.height_px, "height of the photographs, pixels",
           {.min = 16, .max = 8192});
  list.Add("fov", &options.fov_deg, "horizontal field of view, degrees", {.min = 20, .max = 120});
  list.Add("path", &options.path,
           "through the room, around a table, or two thirds and one third of both",
           {.choices = {"walk", "orbit", "both"}});
}

Camera RoomCamera(const RoomCameraOptions& options) {
  Check(options);
  Camera camera;
  camera.width_px = options.width_px;
  camera.height_px = options.height_px;
  const double focal_px = 0.5 * options.width_px / std::tan(options.fov_deg * M_PI / 360);
  camera.parameters = {focal_px, focal_px, 0.5 * options.width_px, 0.5 * options.height_px};
  return camera;
}

std::vector<Rigid3> RoomCameraPath(const Room& room, const RoomCameraOptions& options) {
  Check(options);
  Random random(MixBits(room.seed) ^ 0x70617468ull);
  const Clearance clearance(room);
  const int orbit = options.path == "orbit"  ? options.images
                    : options.path == "both" ? options.images / 3
                                             : 0;
  std::vector<Rigid3> poses;
  if (options.images > orbit) AddWalk(room, clearance, options.images - orbit, random, &poses);
  if (orbit > 0) AddOrbit(room, clearance, orbit, random, &poses);
  return poses;
}

}  // namespace athanor
