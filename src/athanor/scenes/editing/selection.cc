#include "athanor/scenes/editing/selection.h"

#include <Eigen/Core>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <string>
#include <string_view>

#include "athanor/base/error.h"
#include "athanor/base/files.h"

namespace athanor {
namespace {

Eigen::Map<const Eigen::Vector3f> MeanOf(const GaussianCloud& cloud, int64_t row) {
  return Eigen::Map<const Eigen::Vector3f>(&cloud.means[3 * row]);
}

void SortOnce(Rows* rows) {
  std::sort(rows->begin(), rows->end());
  rows->erase(std::unique(rows->begin(), rows->end()), rows->end());
}

// The rows without those that lie apart along any axis.
Rows WithoutOutliers(const GaussianCloud& cloud, std::span<const int64_t> rows) {
  Eigen::Vector3f low, high;
  std::vector<float> values(rows.size());
  for (int axis = 0; axis < 3; ++axis) {
    for (size_t i = 0; i < rows.size(); ++i) values[i] = cloud.means[3 * rows[i] + axis];
    const auto quantile = [&](size_t at) {
      std::nth_element(values.begin(), values.begin() + at, values.end());
      return values[at];
    };
    const float q1 = quantile(values.size() / 4), q3 = quantile(values.size() * 3 / 4);
    low[axis] = q1 - (q3 - q1);
    high[axis] = q3 + (q3 - q1);
  }
  Rows kept;
  for (const int64_t row : rows) {
    const auto mean = MeanOf(cloud, row);
    if ((mean.array() >= low.array()).all() && (mean.array() <= high.array()).all()) {
      kept.push_back(row);
    }
  }
  return kept;
}

}  // namespace

Rows RowsInBox(const GaussianCloud& cloud, const Box3& box) {
  Rows rows;
  for (int64_t row = 0; row < cloud.size(); ++row) {
    if (box.Contains(MeanOf(cloud, row).cast<double>())) rows.push_back(row);
  }
  return rows;
}

Rows ReadRows(const std::filesystem::path& path, int64_t n) {
  const std::string text = ReadFile(path);
  Rows rows;
  int64_t line_number = 0;
  for (std::string_view rest = text; !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    ++line_number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    int64_t row = 0;
    const auto [stop, error] = std::from_chars(line.data(), line.data() + line.size(), row);
    ATHANOR_CHECK(error == std::errc() && stop == line.data() + line.size() && row >= 0 && row < n,
                  path.string(), ":", line_number, ": expected a row from 0 to ", n - 1,
                  ", found '", line.substr(0, 40), "'");
    rows.push_back(row);
  }
  ATHANOR_CHECK(!rows.empty(), path.string(), ": expected row numbers, found none");
  SortOnce(&rows);
  return rows;
}

void WriteRows(const std::filesystem::path& path, std::span<const int64_t> rows) {
  std::string text;
  for (const int64_t row : rows) text += std::to_string(row) + "\n";
  WriteFile(path, text);
}

Rows OtherRows(std::span<const int64_t> rows, int64_t n) {
  Rows others;
  auto next = rows.begin();
  for (int64_t row = 0; row < n; ++row) {
    if (next != rows.end() && *next == row) {
      ++next;
    } else {
      others.push_back(row);
    }
  }
  return others;
}

Rows GrowIntoHull(const GaussianCloud& cloud, std::span<const int64_t> rows) {
  if (rows.empty()) return {};
  const Rows core = WithoutOutliers(cloud, rows);
  if (core.empty()) return {rows.begin(), rows.end()};
  // Directions of one half of the sphere, spread evenly (a Fibonacci spiral): each bounds the hull
  // on both sides.
  constexpr int kDirections = 128;
  const double golden_angle_rad = M_PI * (3 - std::sqrt(5.0));
  std::vector<Eigen::Vector3f> directions;
  std::vector<float> low(kDirections, std::numeric_limits<float>::infinity());
  std::vector<float> high(kDirections, -std::numeric_limits<float>::infinity());
  for (int i = 0; i < kDirections; ++i) {
    const double z = (i + 0.5) / kDirections, r = std::sqrt(1 - z * z);
    directions.push_back(
        Eigen::Vector3d(r * std::cos(golden_angle_rad * i), r * std::sin(golden_angle_rad * i), z)
            .cast<float>());
    for (const int64_t row : core) {
      const float along = directions[i].dot(MeanOf(cloud, row));
      low[i] = std::min(low[i], along);
      high[i] = std::max(high[i], along);
    }
  }
  Rows grown(rows.begin(), rows.end());
  for (int64_t row = 0; row < cloud.size(); ++row) {
    bool inside = true;
    for (int i = 0; inside && i < kDirections; ++i) {
      const float along = directions[i].dot(MeanOf(cloud, row));
      inside = along >= low[i] && along <= high[i];
    }
    if (inside) grown.push_back(row);
  }
  SortOnce(&grown);
  return grown;
}

}  // namespace athanor
