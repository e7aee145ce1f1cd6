#include "athanor/simulation/traffic/road_network.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <limits>
#include <set>
#include <unordered_set>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/simulation/traffic/xml.h"

namespace athanor {
namespace {

using Line = std::vector<Eigen::Vector3d>;

constexpr double kMaxCoordinate_m = 1e7;
constexpr double kDefaultLaneWidth_m = 3.2;  // SUMO's
constexpr int kMaxIndex = 1 << 24;

std::vector<std::string_view> Words(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    const size_t begin = text.find_first_not_of(" \t\n\r");
    if (begin == text.npos) break;
    text.remove_prefix(begin);
    const size_t end = std::min(text.find_first_of(" \t\n\r"), text.size());
    words.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return words;
}

// "x,y x,y,z ..."
Line ParseShape(const XmlElement& element, const std::string& text) {
  Line line;
  for (const std::string_view word : Words(text)) {
    Eigen::Vector3d point = Eigen::Vector3d::Zero();
    const char* at = word.data();
    const char* const end = at + word.size();
    int count = 0;
    while (count < 3) {
      const auto [next, code] = std::from_chars(at, end, point[count]);
      if (code != std::errc() || !(std::abs(point[count]) <= kMaxCoordinate_m)) {
        count = 0;
        break;
      }
      ++count;
      at = next;
      if (at == end || *at != ',') break;
      ++at;
    }
    if (count < 2 || at != end) {
      element.Fail(
          StrCat("shape: expected points 'x,y' or 'x,y,z', found '", word.substr(0, 40), "'"));
    }
    // Equal neighbours have no direction.
    if (line.empty() || (line.back() - point).head<2>().norm() > 1e-6) line.push_back(point);
  }
  return line;
}

// Whether a lane with these permissions lets a class of vehicles in.
bool Permits(const XmlElement& element, std::string_view vehicle_class) {
  const auto lists = [&](std::string_view attribute) {
    const std::string text = element.Text(attribute, "");
    for (const std::string_view word : Words(text)) {
      if (word == vehicle_class || word == "all") return true;
    }
    return false;
  };
  if (element.Has("allow")) return lists("allow");
  return !lists("disallow");
}

LaneKind KindOf(const XmlElement& lane, const std::string& function) {
  if (function == "crossing") return LaneKind::kCrossing;
  if (function == "walkingarea") return LaneKind::kWalkingArea;
  if (Permits(lane, "passenger")) return LaneKind::kDriving;
  if (Permits(lane, "bus") || Permits(lane, "delivery") || Permits(lane, "taxi")) {
    return LaneKind::kBus;
  }
  if (Permits(lane, "bicycle")) return LaneKind::kBicycle;
  if (Permits(lane, "pedestrian")) return LaneKind::kSidewalk;
  if (Permits(lane, "tram") || Permits(lane, "rail")) return LaneKind::kRail;
  return LaneKind::kForbidden;
}

TurnDirection DirectionOf(const std::string& text) {
  if (text == "s") return TurnDirection::kStraight;
  if (text == "l") return TurnDirection::kLeft;
  if (text == "L") return TurnDirection::kPartLeft;
  if (text == "r") return TurnDirection::kRight;
  if (text == "R") return TurnDirection::kPartRight;
  if (text == "t" || text == "T") return TurnDirection::kUTurn;
  return TurnDirection::kNone;
}

// What a connection says before all lanes are known.
struct RawConnection {
  std::string from, to, via, light;
  int from_lane, to_lane, light_index;
  TurnDirection direction;
};
struct RawRoundabout {
  std::string nodes, edges;
};
struct RawEdge {
  std::string from, to, function;
};

class Reader {
 public:
  Reader(std::string_view name) : name_(name) {}

  void Visit(const XmlElement& element) {
    if (element.depth() == 0) {
      if (element.name() != "net") element.Fail("is not <net>: expected a road network of SUMO");
    } else if (element.name() == "edge" && element.depth() == 1) {
      AddEdge(element);
    } else if (element.name() == "lane" && element.depth() == 2) {
      AddLane(element);
    } else if (element.name() == "junction" && element.depth() == 1) {
      AddJunction(element);
    } else if (element.name() == "connection" && element.depth() == 1) {
      connections_.push_back(
          {element.Text("from"), element.Text("to"), element.Text("via", ""),
           element.Text("tl", ""), element.Integer("fromLane", 0, kMaxIndex),
           element.Integer("toLane", 0, kMaxIndex),
           element.Has("linkIndex") ? element.Integer("linkIndex", 0, 100000) : 0,
           DirectionOf(element.Text("dir", ""))});
    } else if (element.name() == "roundabout" && element.depth() == 1) {
      roundabouts_.push_back({element.Text("nodes", ""), element.Text("edges", "")});
    } else if (element.name() == "tlLogic" && element.depth() == 1) {
      const std::string id = element.Text("id");
      if (light_index_.emplace(id, static_cast<int>(net_.lights.size())).second) {
        net_.lights.push_back(id);
      }
    }
  }

  RoadNetwork Finish() {
    ATHANOR_CHECK(!net_.lanes.empty(), name_, ": holds no lanes; expected a road network of SUMO");
    ResolveJunctions();
    ResolveConnections();
    ResolveRoundabouts();
    net_.min_m.setConstant(std::numeric_limits<double>::infinity());
    net_.max_m = -net_.min_m;
    for (const RoadLane& lane : net_.lanes) {
      for (const Eigen::Vector3d& point : lane.shape) {
        net_.min_m = net_.min_m.cwiseMin(point.head<2>());
        net_.max_m = net_.max_m.cwiseMax(point.head<2>());
      }
    }
    return std::move(net_);
  }

 private:
  void AddEdge(const XmlElement& element) {
    RoadEdge edge;
    edge.id = element.Text("id");
    edge.type = element.Text("type", "");
    edge.priority = static_cast<int>(element.Number("priority", -1e6, 1e6, 0));
    RawEdge raw{element.Text("from", ""), element.Text("to", ""), element.Text("function", "")};
    edge.inside_junction =
        raw.function == "internal" || raw.function == "crossing" || raw.function == "walkingarea";
    if (!edge.inside_junction && (raw.from.empty() || raw.to.empty())) {
      element.Fail(StrCat("'", edge.id, "' does not say from which junction to which it leads"));
    }
    const int index = static_cast<int>(net_.edges.size());
    if (!net_.edge_by_id.emplace(edge.id, index).second) {
      element.Fail(StrCat("'", edge.id, "' is there twice"));
    }
    net_.edges.push_back(std::move(edge));
    raw_edges_.push_back(std::move(raw));
  }

  void AddLane(const XmlElement& element) {
    if (net_.edges.empty()) element.Fail("outside of an edge");
    const int edge = static_cast<int>(net_.edges.size()) - 1;
    RoadLane lane;
    lane.id = element.Text("id");
    lane.edge = edge;
    lane.index = element.Integer("index", 0, kMaxIndex);
    // Inside junctions numbers may be left out, and netconvert repeats some; the id has the true
    // one.
    if (net_.edges[edge].inside_junction) {
      const size_t mark = lane.id.rfind('_');
      const char* const end = lane.id.data() + lane.id.size();
      int index = -1;
      if (mark == lane.id.npos ||
          std::from_chars(lane.id.data() + mark + 1, end, index).ptr != end || index < 0) {
        element.Fail(StrCat("'", lane.id, "': expected an id that ends in _NUMBER"));
      }
      lane.index = index;
    }
    const auto& before = net_.edges[edge].lanes;
    if (!before.empty() && net_.lanes[before.back()].index >= lane.index) {
      element.Fail(
          StrCat("'", lane.id, "': expected an index above ", net_.lanes[before.back()].index));
    }
    lane.kind = KindOf(element, raw_edges_[edge].function);
    lane.speed_mps = element.Number("speed", 0, 1000);
    lane.length_m = element.Number("length", 0, kMaxCoordinate_m);
    lane.width_m = element.Number("width", 0, 1000, kDefaultLaneWidth_m);
    lane.shape = ParseShape(element, element.Text("shape"));
    if (lane.shape.empty()) element.Fail(StrCat("'", lane.id, "' has no shape"));
    if (lane.shape.size() == 1) {  // a stub inside a junction: all points fell together
      lane.shape.push_back(lane.shape[0] + Eigen::Vector3d(1e-3, 0, 0));
    }
    const int index = static_cast<int>(net_.lanes.size());
    if (!net_.lane_by_id.emplace(lane.id, index).second) {
      element.Fail(StrCat("'", lane.id, "' is there twice"));
    }
    net_.edges[edge].lanes.push_back(index);
    net_.lanes.push_back(std::move(lane));
  }

  void AddJunction(const XmlElement& element) {
    RoadJunction junction;
    junction.id = element.Text("id");
    junction.type = element.Text("type", "");
    if (junction.type == "internal") return;  // a waiting place within a junction
    junction.position = {element.Number("x", -kMaxCoordinate_m, kMaxCoordinate_m),
                         element.Number("y", -kMaxCoordinate_m, kMaxCoordinate_m),
                         element.Number("z", -kMaxCoordinate_m, kMaxCoordinate_m, 0)};
    junction.shape = ParseShape(element, element.Text("shape", ""));
    if (junction.shape.size() < 3) junction.shape.clear();
    if (!junction_by_id_.emplace(junction.id, static_cast<int>(net_.junctions.size())).second) {
      element.Fail(StrCat("'", junction.id, "' is there twice"));
    }
    net_.junctions.push_back(std::move(junction));
  }

  void ResolveJunctions() {
    for (size_t i = 0; i < net_.edges.size(); ++i) {
      RoadEdge& edge = net_.edges[i];
      ATHANOR_CHECK(!edge.lanes.empty(), name_, ": edge '", edge.id, "' has no lanes");
      if (edge.inside_junction) {
        // ":J3_4" is the fifth part of junction J3; names of junctions may hold underscores.
        const size_t end = edge.id.rfind('_');
        if (edge.id.starts_with(':') && end != std::string::npos) {
          const auto found = junction_by_id_.find(edge.id.substr(1, end - 1));
          if (found != junction_by_id_.end()) edge.junction = found->second;
        }
        continue;
      }
      edge.from_junction = Junction(raw_edges_[i].from, edge.id);
      edge.to_junction = Junction(raw_edges_[i].to, edge.id);
    }
  }

  int Junction(const std::string& id, const std::string& edge) const {
    const auto found = junction_by_id_.find(id);
    ATHANOR_CHECK(found != junction_by_id_.end(), name_, ": edge '", edge, "' names the junction '",
                  id, "', which is not there");
    return found->second;
  }

  int LaneOf(const std::string& edge_id, int index) const {
    const int edge = net_.FindEdge(edge_id);
    ATHANOR_CHECK(edge >= 0, name_, ": a connection names the edge '", edge_id,
                  "', which is not there");
    for (const int lane : net_.edges[edge].lanes) {
      if (net_.lanes[lane].index == index) return lane;
    }
    throw Error(StrCat(name_, ": a connection names lane ", index, " of edge '", edge_id,
                       "', which is not there"));
  }

  void ResolveConnections() {
    std::unordered_map<int, int> next_inside;  // lane inside a junction -> the one it goes on in
    for (const RawConnection& raw : connections_) {
      RoadConnection connection;
      connection.from_lane = LaneOf(raw.from, raw.from_lane);
      connection.to_lane = LaneOf(raw.to, raw.to_lane);
      connection.direction = raw.direction;
      if (!raw.via.empty()) {
        connection.via_lane = net_.FindLane(raw.via);
        ATHANOR_CHECK(connection.via_lane >= 0, name_, ": a connection leads over the lane '",
                      raw.via, "', which is not there");
      }
      if (!raw.light.empty()) {
        const auto found = light_index_.find(raw.light);
        ATHANOR_CHECK(found != light_index_.end(), name_, ": a connection names the light '",
                      raw.light, "', which is not there");
        connection.light = found->second;
        connection.light_index = raw.light_index;
      }
      if (net_.edges[net_.lanes[connection.from_lane].edge].inside_junction) {
        if (connection.via_lane >= 0) next_inside[connection.from_lane] = connection.via_lane;
        continue;
      }
      net_.connections.push_back(connection);
    }
    for (const RoadConnection& connection : net_.connections) {
      int lane = connection.via_lane;
      // No way through a junction has more than a few pieces; a cycle in a bad file ends here.
      for (int piece = 0; lane >= 0 && piece < 8; ++piece) {
        net_.lanes[lane].from_edge = net_.lanes[connection.from_lane].edge;
        net_.lanes[lane].to_edge = net_.lanes[connection.to_lane].edge;
        net_.lanes[lane].direction = connection.direction;
        const auto next = next_inside.find(lane);
        lane = next == next_inside.end() ? -1 : next->second;
      }
    }
  }

  void ResolveRoundabouts() {
    for (const RawRoundabout& raw : roundabouts_) {
      if (Words(raw.edges).empty()) continue;
      Roundabout roundabout;
      const int index = static_cast<int>(net_.roundabouts.size());
      for (const std::string_view id : Words(raw.edges)) {
        const int edge = net_.FindEdge(id);
        ATHANOR_CHECK(edge >= 0, name_, ": a roundabout names the edge '", id,
                      "', which is not there");
        net_.edges[edge].roundabout = index;
        roundabout.edges.push_back(edge);
      }
      for (const std::string_view id : Words(raw.nodes)) {
        const int junction = Junction(std::string(id), "of a roundabout");
        net_.junctions[junction].roundabout = index;
        roundabout.junctions.push_back(junction);
      }
      FitCircle(&roundabout);
      net_.roundabouts.push_back(std::move(roundabout));
    }
  }

  // Circle of least squares (Kasa 1976) through the ring's lanes, sampled every metre or less, so
  // that gaps at junctions and long pieces do not pull it aside.
  void FitCircle(Roundabout* roundabout) const {
    std::vector<Eigen::Vector2d> points;
    for (const int edge : roundabout->edges) {
      for (const int index : net_.edges[edge].lanes) {
        const RoadLane& lane = net_.lanes[index];
        if (lane.kind != LaneKind::kDriving && lane.kind != LaneKind::kBus) continue;
        for (size_t i = 1; i < lane.shape.size(); ++i) {
          const Eigen::Vector2d a = lane.shape[i - 1].head<2>(), b = lane.shape[i].head<2>();
          const int pieces = static_cast<int>(std::clamp(std::ceil((b - a).norm()), 1.0, 1000.0));
          for (int k = 0; k <= pieces; ++k) points.push_back(a + (b - a) * k / pieces);
        }
      }
    }
    if (points.empty()) return;
    Eigen::Vector2d mean = Eigen::Vector2d::Zero();
    for (const Eigen::Vector2d& point : points) mean += point / static_cast<double>(points.size());
    Eigen::Matrix2d scatter = Eigen::Matrix2d::Zero();
    Eigen::Vector2d moment = Eigen::Vector2d::Zero();
    for (const Eigen::Vector2d& point : points) {
      const Eigen::Vector2d d = point - mean;
      scatter += d * d.transpose();
      moment += d.squaredNorm() * d / 2;
    }
    roundabout->center_m = mean;
    // Points on one line have no circle: their mean will do.
    const double determinant = scatter(0, 0) * scatter(1, 1) - scatter(0, 1) * scatter(0, 1);
    if (determinant > 1e-6 * scatter.trace() * scatter.trace()) {
      roundabout->center_m +=
          Eigen::Vector2d((moment.x() * scatter(1, 1) - moment.y() * scatter(0, 1)) / determinant,
                          (moment.y() * scatter(0, 0) - moment.x() * scatter(0, 1)) / determinant);
    }
    for (const Eigen::Vector2d& point : points) {
      roundabout->radius_m += (point - roundabout->center_m).norm() / points.size();
    }
  }

  std::string_view name_;
  RoadNetwork net_;
  std::vector<RawEdge> raw_edges_;
  std::vector<RawConnection> connections_;
  std::vector<RawRoundabout> roundabouts_;
  std::unordered_map<std::string, int> junction_by_id_, light_index_;
};

}  // namespace

int RoadNetwork::FindLane(std::string_view id) const {
  const auto found = lane_by_id.find(std::string(id));
  return found == lane_by_id.end() ? -1 : found->second;
}

int RoadNetwork::FindEdge(std::string_view id) const {
  const auto found = edge_by_id.find(std::string(id));
  return found == edge_by_id.end() ? -1 : found->second;
}

int RoadNetwork::CirculatingRoundabout(int lane) const {
  if (lane < 0) return -1;
  const RoadLane& l = lanes[lane];
  if (!edges[l.edge].inside_junction) return edges[l.edge].roundabout;
  if (l.from_edge < 0 || l.to_edge < 0) return -1;
  const int from = edges[l.from_edge].roundabout;
  return from >= 0 && from == edges[l.to_edge].roundabout ? from : -1;
}

RoadNetwork ParseRoadNetwork(std::string_view text, std::string_view name) {
  Reader reader(name);
  VisitXml(text, name, [&](const XmlElement& element) { reader.Visit(element); });
  return reader.Finish();
}

RoadNetwork ReadRoadNetwork(const std::filesystem::path& path) {
  RoadNetwork network = ParseRoadNetwork(ReadFile(path), path.string());
  network.path = path;
  return network;
}

LinePoint PointOnLine(const std::vector<Eigen::Vector3d>& line, double s_m) {
  LinePoint result;
  if (line.empty()) return result;
  result.position = line.front();
  for (size_t i = 1; i < line.size(); ++i) {
    const Eigen::Vector3d step = line[i] - line[i - 1];
    const double length = step.head<2>().norm();
    if (length > 0) result.yaw_rad = std::atan2(step.y(), step.x());
    if (s_m <= length || i + 1 == line.size()) {
      const double share = length > 0 ? std::clamp(s_m / length, 0.0, 1.0) : 0;
      result.position = line[i - 1] + share * step;
      return result;
    }
    s_m -= length;
  }
  return result;
}

double LineLength(const std::vector<Eigen::Vector3d>& line) {
  double length = 0;
  for (size_t i = 1; i < line.size(); ++i) length += (line[i] - line[i - 1]).head<2>().norm();
  return length;
}

LineFoot NearestOnLine(const std::vector<Eigen::Vector3d>& line, const Eigen::Vector2d& point) {
  LineFoot best;
  best.distance_m = std::numeric_limits<double>::infinity();
  double before = 0;
  for (size_t i = 1; i < line.size(); ++i) {
    const Eigen::Vector2d a = line[i - 1].head<2>();
    const Eigen::Vector2d step = line[i].head<2>() - a;
    const double length = step.norm();
    const double share =
        length > 0 ? std::clamp((point - a).dot(step) / (length * length), 0.0, 1.0) : 0;
    const Eigen::Vector2d offset = point - (a + share * step);
    if (offset.norm() < best.distance_m) {
      best.distance_m = offset.norm();
      best.s_m = before + share * length;
      best.left_m = length > 0 ? (step.x() * offset.y() - step.y() * offset.x()) / length : 0;
    }
    before += length;
  }
  return best;
}

}  // namespace athanor
