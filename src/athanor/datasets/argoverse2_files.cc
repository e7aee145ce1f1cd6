#include "athanor/datasets/argoverse2_files.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "athanor/base/error.h"
#include "athanor/base/files.h"

namespace athanor {
namespace {

std::vector<Box3> ParseBoxes(const ArrowTable& table) {
  const std::vector<Rigid3> poses = ParseArgoverse2Transforms(table);
  const auto length = table.FiniteReals("length_m");
  const auto width = table.FiniteReals("width_m");
  const auto height = table.FiniteReals("height_m");
  std::vector<Box3> boxes(poses.size());
  for (size_t i = 0; i < boxes.size(); ++i) {
    boxes[i].frame_from_box = poses[i];
    boxes[i].size_m = {length[i], width[i], height[i]};
    ATHANOR_CHECK((boxes[i].size_m.array() > 0).all(), table.source(), ": row ", i,
                  ": expected a box of positive size, found ", length[i], " x ", width[i], " x ",
                  height[i], " m");
  }
  return boxes;
}

}  // namespace

std::vector<Rigid3> ParseArgoverse2Transforms(const ArrowTable& table) {
  const auto qw = table.FiniteReals("qw"), qx = table.FiniteReals("qx");
  const auto qy = table.FiniteReals("qy"), qz = table.FiniteReals("qz");
  const auto tx = table.FiniteReals("tx_m"), ty = table.FiniteReals("ty_m");
  const auto tz = table.FiniteReals("tz_m");
  std::vector<Rigid3> transforms(qw.size());
  for (size_t i = 0; i < transforms.size(); ++i) {
    const Eigen::Quaterniond rotation(qw[i], qx[i], qy[i], qz[i]);
    ATHANOR_CHECK(std::abs(rotation.norm() - 1) < 1e-3, table.source(), ": row ", i,
                  ": expected a quaternion of length 1, found ", rotation.norm());
    transforms[i] = {rotation.normalized(), {tx[i], ty[i], tz[i]}};
  }
  return transforms;
}

std::vector<Argoverse2Cuboid> ParseArgoverse2Cuboids(const ArrowTable& table) {
  const auto times = table.Integers("timestamp_ns");
  const auto tracks = table.Strings("track_uuid");
  const auto categories = table.Strings("category");
  const auto points = table.Integers("num_interior_pts");
  const std::vector<Box3> boxes = ParseBoxes(table);
  std::vector<Argoverse2Cuboid> cuboids(boxes.size());
  for (size_t i = 0; i < cuboids.size(); ++i) {
    cuboids[i] = {times[i], std::string(tracks[i]), std::string(categories[i]), boxes[i],
                  points[i]};
  }
  return cuboids;
}

std::vector<Argoverse2Cuboid> ReadArgoverse2Cuboids(const std::filesystem::path& path) {
  return ParseArgoverse2Cuboids(ReadArrow(path));
}

std::vector<Argoverse2Detection> ParseArgoverse2Detections(const ArrowTable& table) {
  const auto logs = table.Strings("log_id");
  const auto times = table.Integers("timestamp_ns");
  const auto categories = table.Strings("category");
  const auto scores = table.FiniteReals("score");
  const std::vector<Box3> boxes = ParseBoxes(table);
  std::vector<Argoverse2Detection> detections(boxes.size());
  for (size_t i = 0; i < detections.size(); ++i) {
    detections[i] = {std::string(logs[i]), times[i], std::string(categories[i]), boxes[i],
                     scores[i]};
  }
  return detections;
}

std::vector<Argoverse2Detection> ReadArgoverse2Detections(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    return ParseArgoverse2Detections(ReadArrow(path));
  }
  const auto files = ListFiles(path, {".feather"});
  ATHANOR_CHECK(!files.empty(), path.string(), ": expected .feather files of detections, found ",
                "none");
  std::vector<Argoverse2Detection> detections;
  for (const auto& file : files) {
    auto more = ParseArgoverse2Detections(ReadArrow(file));
    std::move(more.begin(), more.end(), std::back_inserter(detections));
  }
  return detections;
}

void WriteArgoverse2Detections(const std::filesystem::path& path,
                               const std::vector<Argoverse2Detection>& detections) {
  ArrowTable table(path.string(), static_cast<int64_t>(detections.size()));
  const auto numbers = [&](const char* name, auto get) {
    std::vector<decltype(get(detections[0]))> column;
    for (const Argoverse2Detection& detection : detections) column.push_back(get(detection));
    table.AddNumbers(name, column);
  };
  const auto strings = [&](const char* name, std::string Argoverse2Detection::*member) {
    std::vector<std::string> column;
    for (const Argoverse2Detection& detection : detections) column.push_back(detection.*member);
    table.AddStrings(name, column);
  };
  using Row = const Argoverse2Detection&;
  numbers("length_m", [](Row row) { return row.box_in_ego.size_m.x(); });
  numbers("width_m", [](Row row) { return row.box_in_ego.size_m.y(); });
  numbers("height_m", [](Row row) { return row.box_in_ego.size_m.z(); });
  numbers("qw", [](Row row) { return row.box_in_ego.frame_from_box.rotation.w(); });
  numbers("qx", [](Row row) { return row.box_in_ego.frame_from_box.rotation.x(); });
  numbers("qy", [](Row row) { return row.box_in_ego.frame_from_box.rotation.y(); });
  numbers("qz", [](Row row) { return row.box_in_ego.frame_from_box.rotation.z(); });
  numbers("tx_m", [](Row row) { return row.box_in_ego.frame_from_box.translation.x(); });
  numbers("ty_m", [](Row row) { return row.box_in_ego.frame_from_box.translation.y(); });
  numbers("tz_m", [](Row row) { return row.box_in_ego.frame_from_box.translation.z(); });
  numbers("score", [](Row row) { return row.score; });
  strings("log_id", &Argoverse2Detection::log_id);
  numbers("timestamp_ns", [](Row row) { return row.timestamp_ns; });
  strings("category", &Argoverse2Detection::category);
  WriteArrow(path, table);
}

Rigid3 Argoverse2Poses::At(int64_t timestamp_ns) const {
  const auto after = std::lower_bound(timestamps_ns.begin(), timestamps_ns.end(), timestamp_ns);
  const size_t i = after - timestamps_ns.begin();
  if (after != timestamps_ns.end() && *after == timestamp_ns) return city_from_ego[i];
  ATHANOR_CHECK(i > 0 && i < timestamps_ns.size(), source, ": expected poses around the time ",
                timestamp_ns, " ns, found those from ", timestamps_ns.front(), " to ",
                timestamps_ns.back());
  const double t = static_cast<double>(timestamp_ns - timestamps_ns[i - 1]) /
                   static_cast<double>(timestamps_ns[i] - timestamps_ns[i - 1]);
  const Rigid3 &a = city_from_ego[i - 1], &b = city_from_ego[i];
  return {a.rotation.slerp(t, b.rotation), (1 - t) * a.translation + t * b.translation};
}

Argoverse2Poses ReadArgoverse2Poses(const std::filesystem::path& path) {
  const ArrowTable table = ReadArrow(path);
  const auto times = table.Integers("timestamp_ns");
  const std::vector<Rigid3> transforms = ParseArgoverse2Transforms(table);
  ATHANOR_CHECK(!times.empty(), path.string(), ": expected poses, found none");
  std::vector<size_t> order(times.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return times[a] < times[b]; });
  Argoverse2Poses poses;
  poses.source = path.string();
  for (const size_t i : order) {
    ATHANOR_CHECK(poses.timestamps_ns.empty() || poses.timestamps_ns.back() != times[i],
                  path.string(), ": row ", i, ": there are two poses of the time ", times[i],
                  " ns");
    poses.timestamps_ns.push_back(times[i]);
    poses.city_from_ego.push_back(transforms[i]);
  }
  return poses;
}

LidarSweep ParseArgoverse2Sweep(std::string_view bytes, std::string_view name) {
  const ArrowTable table = ParseArrow(bytes, name);
  const auto x = table.FiniteReals("x"), y = table.FiniteReals("y"), z = table.FiniteReals("z");
  const auto intensity = table.Integers("intensity");
  LidarSweep sweep;
  sweep.points.resize(x.size());
  sweep.intensity.resize(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    sweep.points[i] = Eigen::Vector3d(x[i], y[i], z[i]).cast<float>();
    sweep.intensity[i] = static_cast<float>(intensity[i]) / 255;
  }
  if (table.Has("laser_number")) {
    const auto lasers = table.Integers("laser_number");
    sweep.ring.assign(lasers.begin(), lasers.end());
  }
  if (table.Has("offset_ns")) {
    for (const int64_t offset_ns : table.Integers("offset_ns")) {
      sweep.time_s.push_back(static_cast<float>(1e-9 * static_cast<double>(offset_ns)));
    }
  }
  return sweep;
}

}  // namespace athanor
