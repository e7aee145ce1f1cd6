// Plain networks from a seed: grids, arterials, roundabouts, and towns that mix them. Written as
// SUMO's plain XML (https://sumo.dlr.de/docs/Networks/PlainXML.html), from which netconvert builds
// lanes, junctions, right of way, crossings and traffic lights.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iomanip>
#include <numbers>
#include <sstream>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/program.h"
#include "athanor/base/random.h"
#include "athanor/simulation/traffic/sumo_files.h"
#include "athanor/simulation/traffic/traffic.h"
#include "athanor/simulation/traffic/xml.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using Eigen::Vector2d;

constexpr double kPi = std::numbers::pi;

struct Place {
  Vector2d at;
  bool roundabout = false;
  bool light = false;
  double radius_m = 0;  // of the roundabout
};

enum class RoadClass { kResidential, kStreet, kArterial };

struct Road {
  int a = 0, b = 0;  // places
  RoadClass road_class = RoadClass::kStreet;
  bool bicycles = false;
  double bend = 0;  // sideways offset of the middle, share of the length
};

struct Plan {
  std::vector<Place> places;
  std::vector<Road> roads;
};

// No coordinate of the network is negative then, which nuScenes' maps want. Bends and sidewalks
// reach beyond the places.
void ShiftToPositive(Plan* plan) {
  constexpr double kRim_m = 60;
  Vector2d low = plan->places.front().at;
  for (const Place& place : plan->places) low = low.cwiseMin(place.at);
  for (Place& place : plan->places) place.at += Vector2d::Constant(kRim_m) - low;
}

int Degree(const Plan& plan, int place) {
  return static_cast<int>(
      std::count_if(plan.roads.begin(), plan.roads.end(),
                    [&](const Road& road) { return road.a == place || road.b == place; }));
}

void AddRoad(Plan* plan, const NetworkOptions& options, Random* random, int a, int b,
             RoadClass road_class) {
  Road road{a, b, road_class};
  road.bicycles = road_class != RoadClass::kResidential && random->Uniform() < 0.4f;
  road.bend = options.curviness * random->Uniform(-0.16f, 0.16f);
  plan->roads.push_back(road);
}

// A road out of town, where traffic comes from and goes to.
void AddStub(Plan* plan, const NetworkOptions& options, Random* random, int place,
             const Vector2d& direction, RoadClass road_class) {
  const double length = options.block_m * random->Uniform(0.9f, 1.2f);
  const int end = static_cast<int>(plan->places.size());
  plan->places.push_back({plan->places[place].at + direction * length});
  AddRoad(plan, options, random, place, end, road_class);
}

// Junctions at the corners of blocks; roads out of town at the rim.
Plan PlanGrid(const NetworkOptions& options, Random* random) {
  Plan plan;
  const int n = options.blocks + 1;
  const float jitter = 0.12f * options.curviness * options.block_m;
  // One street each way is wider than the rest.
  const int wide_row = static_cast<int>(random->Below(n)),
            wide_column = static_cast<int>(random->Below(n));
  for (int y = 0; y < n; ++y) {
    for (int x = 0; x < n; ++x) {
      Place place{{x * options.block_m + random->Uniform(-jitter, jitter),
                   y * options.block_m + random->Uniform(-jitter, jitter)}};
      place.light =
          x == wide_column || y == wide_row ? random->Uniform() < 0.7f : random->Uniform() < 0.15f;
      plan.places.push_back(place);
    }
  }
  const auto road_class = [&](bool wide) {
    if (wide) return RoadClass::kArterial;
    return random->Uniform() < 0.5f ? RoadClass::kResidential : RoadClass::kStreet;
  };
  for (int y = 0; y < n; ++y) {
    for (int x = 0; x < n; ++x) {
      if (x + 1 < n) {
        AddRoad(&plan, options, random, y * n + x, y * n + x + 1, road_class(y == wide_row));
      }
      if (y + 1 < n) {
        AddRoad(&plan, options, random, y * n + x, y * n + x + n, road_class(x == wide_column));
      }
    }
  }
  for (int i = 0; i < n; ++i) {
    const std::pair<int, Vector2d> rim[] = {
        {i, {0, -1}}, {(n - 1) * n + i, {0, 1}}, {i * n, {-1, 0}}, {i * n + n - 1, {1, 0}}};
    for (int side = 0; side < 4; ++side) {
      const bool wide = i == (side < 2 ? wide_column : wide_row);
      if (wide || random->Uniform() < 0.6f) {
        AddStub(&plan, options, random, rim[side].first, rim[side].second,
                wide ? RoadClass::kArterial : RoadClass::kStreet);
      }
    }
  }
  return plan;
}

Plan PlanTown(const NetworkOptions& options, Random* random) {
  Plan plan = PlanGrid(options, random);
  const int inner = (options.blocks + 1) * (options.blocks + 1);
  // At least one, at a random place, whatever the share.
  const int certain = static_cast<int>(random->Below(inner));
  for (int i = 0; i < inner; ++i) {
    const bool wanted = random->Uniform() < options.roundabouts;
    if (Degree(plan, i) < 3 || !(wanted || (i == certain && options.roundabouts > 0))) continue;
    plan.places[i].roundabout = true;
  }
  return plan;
}

// A wide road with lights, and streets that cross it.
Plan PlanArterial(const NetworkOptions& options, Random* random) {
  Plan plan;
  const int n = options.blocks + 1;
  for (int i = 0; i < n; ++i) {
    Place place{{i * options.block_m * 1.4,
                 random->Uniform(-0.1f, 0.1f) * options.block_m * options.curviness}};
    place.light = random->Uniform() < 0.75f;
    plan.places.push_back(place);
  }
  for (int i = 0; i + 1 < n; ++i) AddRoad(&plan, options, random, i, i + 1, RoadClass::kArterial);
  AddStub(&plan, options, random, 0, {-1, 0}, RoadClass::kArterial);
  AddStub(&plan, options, random, n - 1, {1, 0}, RoadClass::kArterial);
  for (int i = 0; i < n; ++i) {
    const RoadClass side = random->Uniform() < 0.5f ? RoadClass::kResidential : RoadClass::kStreet;
    AddStub(&plan, options, random, i, {0, 1}, side);
    if (random->Uniform() < 0.8f) AddStub(&plan, options, random, i, {0, -1}, side);
  }
  return plan;
}

// One roundabout with three to five arms.
Plan PlanRoundabout(const NetworkOptions& options, Random* random) {
  Plan plan;
  plan.places.push_back({{0, 0}, true});
  const int arms = 3 + static_cast<int>(random->Below(3));
  const float turn = random->Uniform(0, 6.28f);
  for (int i = 0; i < arms; ++i) {
    const double angle = turn + 2 * kPi * (i + random->Uniform(-0.15f, 0.15f)) / arms;
    AddStub(&plan, options, random, 0, {std::cos(angle), std::sin(angle)},
            i == 0 && random->Uniform() < 0.3f ? RoadClass::kArterial : RoadClass::kStreet);
    plan.places.back().at *= 1.4;
  }
  return plan;
}

// Lanes of one direction of a road, from the kerb to the middle, as elements of plain XML.
std::string LanesOf(const Road& road, const NetworkOptions& options, int* count) {
  std::ostringstream out;
  int index = 0;
  const auto add = [&](const char* permissions, double width) {
    out << "    <lane index=\"" << index++ << "\" " << permissions << " width=\"" << width
        << "\"/>\n";
  };
  add("allow=\"pedestrian\"", road.road_class == RoadClass::kArterial ? 3.0 : 2.2);
  if (road.bicycles) add("allow=\"bicycle\"", 1.6);
  if (options.parking && road.road_class == RoadClass::kResidential) {
    add("disallow=\"all\"", 2.3);
  }
  const int driving = road.road_class == RoadClass::kArterial ? 2 : 1;
  for (int i = 0; i < driving; ++i) {
    add("disallow=\"pedestrian tram rail rail_urban rail_electric rail_fast ship\"",
        road.road_class == RoadClass::kResidential ? 3.0 : 3.4);
  }
  *count = index;
  return out.str();
}

double SpeedOf(RoadClass road_class) {
  switch (road_class) {
    case RoadClass::kResidential:
      return 30 / 3.6;
    case RoadClass::kStreet:
      return 50 / 3.6;
    case RoadClass::kArterial:
      return 60 / 3.6;
  }
  return 50 / 3.6;
}

const char* NameOf(RoadClass road_class) {
  switch (road_class) {
    case RoadClass::kResidential:
      return "residential";
    case RoadClass::kStreet:
      return "street";
    case RoadClass::kArterial:
      return "arterial";
  }
  return "street";
}

std::string ShapeText(const std::vector<Vector2d>& points) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(2);
  for (size_t i = 0; i < points.size(); ++i) {
    out << (i ? " " : "") << points[i].x() << "," << points[i].y();
  }
  return out.str();
}

// The plan as plain XML: nodes, edges and crossings.
class PlainXml {
 public:
  PlainXml(const Plan& plan, const NetworkOptions& options, Random* random)
      : plan_(plan), options_(options), random_(random) {
    for (std::ostringstream* out : {&nodes_, &edges_, &connections_}) {
      *out << std::fixed << std::setprecision(2);
    }
  }

  void Write(const fs::path& folder) {
    nodes_ << "<nodes>\n";
    edges_ << "<edges>\n";
    connections_ << "<connections>\n";
    ends_.assign(plan_.roads.size() * 2, {});
    for (size_t i = 0; i < plan_.places.size(); ++i) WritePlace(static_cast<int>(i));
    for (size_t i = 0; i < plan_.roads.size(); ++i) WriteRoad(static_cast<int>(i));
    nodes_ << "</nodes>\n";
    edges_ << roundabouts_.str() << "</edges>\n";
    connections_ << "</connections>\n";
    WriteFile(folder / "plain.nod.xml", nodes_.str());
    WriteFile(folder / "plain.edg.xml", edges_.str());
    WriteFile(folder / "plain.con.xml", connections_.str());
    // Only names: every edge says itself what it is like.
    WriteFile(folder / "plain.typ.xml",
              "<types>\n  <type id=\"residential\"/>\n  <type id=\"street\"/>\n"
              "  <type id=\"arterial\"/>\n  <type id=\"roundabout\"/>\n</types>\n");
  }

 private:
  struct End {
    std::string node;
    Vector2d at = Vector2d::Zero();
  };

  // Direction in which a road leaves one of its ends: its bend shows there too.
  double LeavingAngle(int road, bool at_a) const {
    const Road& r = plan_.roads[road];
    const Vector2d a = plan_.places[r.a].at, b = plan_.places[r.b].at;
    const Vector2d handle = Middle(r, a, b) - (at_a ? a : b);
    return std::atan2(handle.y(), handle.x());
  }

  static Vector2d Middle(const Road& road, const Vector2d& a, const Vector2d& b) {
    const Vector2d along = b - a;
    return (a + b) / 2 + road.bend * Vector2d(-along.y(), along.x());
  }

  void WritePlace(int index) {
    const Place& place = plan_.places[index];
    const std::string id = StrCat("J", index);
    struct Arm {
      int road;
      bool at_a;
      double angle;
    };
    std::vector<Arm> arms;
    for (size_t i = 0; i < plan_.roads.size(); ++i) {
      if (plan_.roads[i].a == index) arms.push_back({int(i), true, LeavingAngle(int(i), true)});
      if (plan_.roads[i].b == index) arms.push_back({int(i), false, LeavingAngle(int(i), false)});
    }
    if (!place.roundabout) {
      for (const Arm& arm : arms) ends_[2 * arm.road + !arm.at_a] = {id, place.at};
      nodes_ << "  <node id=\"" << id << "\" x=\"" << place.at.x() << "\" y=\"" << place.at.y()
             << "\" type=\"" << (place.light && arms.size() > 2 ? "traffic_light" : "priority")
             << "\" radius=\"6\"/>\n";
      if (arms.size() > 2) {
        for (const Arm& arm : arms) {
          if (place.light || random_->Uniform() < 0.7f) WriteCrossing(id, arm.road);
        }
      }
      return;
    }
    std::sort(arms.begin(), arms.end(),
              [](const Arm& a, const Arm& b) { return a.angle < b.angle; });
    // Room for every arm on the ring, however close two of them lie.
    const double radius = std::max<double>(
        options_.roundabout_radius_m * random_->Uniform(0.8f, 1.3f), 3.2 * arms.size());
    const bool two_lanes = radius > 19 && random_->Uniform() < 0.5f;
    double least = 2 * kPi;
    for (size_t i = 0; i < arms.size(); ++i) {
      const double next = i + 1 < arms.size() ? arms[i + 1].angle : arms[0].angle + 2 * kPi;
      least = std::min(least, next - arms[i].angle);
    }
    // Arms that lie too close share the ring evenly instead.
    if (least < 0.6) {
      for (size_t i = 0; i < arms.size(); ++i) {
        arms[i].angle = arms[0].angle + 2 * kPi * i / arms.size();
      }
    }
    std::ostringstream ring_nodes, ring_edges;
    for (size_t i = 0; i < arms.size(); ++i) {
      const std::string node = StrCat(id, "_", i);
      const Vector2d at =
          place.at + radius * Vector2d(std::cos(arms[i].angle), std::sin(arms[i].angle));
      nodes_ << "  <node id=\"" << node << "\" x=\"" << at.x() << "\" y=\"" << at.y()
             << "\" type=\"priority\" radius=\"5\"/>\n";
      ends_[2 * arms[i].road + !arms[i].at_a] = {node, at};
      const size_t next = (i + 1) % arms.size();
      const double end = next > i ? arms[next].angle : arms[next].angle + 2 * kPi;
      std::vector<Vector2d> arc;
      const int pieces = std::max(4, static_cast<int>((end - arms[i].angle) * radius / 2.5));
      for (int k = 0; k <= pieces; ++k) {
        const double angle = arms[i].angle + (end - arms[i].angle) * k / pieces;
        arc.push_back(place.at + radius * Vector2d(std::cos(angle), std::sin(angle)));
      }
      const std::string edge = StrCat("R", index, "_", i);
      edges_ << "  <edge id=\"" << edge << "\" from=\"" << node << "\" to=\"" << id << "_" << next
             << "\" type=\"roundabout\" priority=\"15\" speed=\"8.33\" spreadType=\"center\" "
             << "numLanes=\"" << (two_lanes ? 3 : 2) << "\" shape=\"" << ShapeText(arc) << "\">\n"
             << "    <lane index=\"0\" allow=\"pedestrian\" width=\"2.2\"/>\n";
      for (int lane = 0; lane <= two_lanes; ++lane) {
        edges_ << "    <lane index=\"" << lane + 1
               << "\" disallow=\"pedestrian tram rail rail_urban rail_electric rail_fast ship\" "
               << "width=\"" << (two_lanes ? 3.8 : 4.6) << "\"/>\n";
      }
      edges_ << "  </edge>\n";
      ring_nodes << (i ? " " : "") << node;
      ring_edges << (i ? " " : "") << edge;
      if (random_->Uniform() < 0.8f) WriteCrossing(node, arms[i].road);
    }
    roundabouts_ << "  <roundabout nodes=\"" << ring_nodes.str() << "\" edges=\""
                 << ring_edges.str() << "\"/>\n";
  }

  void WriteCrossing(const std::string& node, int road) {
    connections_ << "  <crossing node=\"" << node << "\" edges=\"E" << road << "f E" << road
                 << "b\" priority=\"true\" width=\"3.5\"/>\n";
  }

  void WriteRoad(int index) {
    const Road& road = plan_.roads[index];
    const Vector2d a = ends_[2 * index].at, b = ends_[2 * index + 1].at;
    const Vector2d middle = Middle(road, plan_.places[road.a].at, plan_.places[road.b].at);
    std::vector<Vector2d> line;
    for (int k = 0; k <= 12; ++k) {
      const double t = k / 12.0;
      line.push_back((1 - t) * (1 - t) * a + 2 * t * (1 - t) * middle + t * t * b);
    }
    int lanes = 0;
    const std::string lane_text = LanesOf(road, options_, &lanes);
    for (const bool forth : {true, false}) {
      edges_ << "  <edge id=\"E" << index << (forth ? "f" : "b") << "\" from=\""
             << ends_[2 * index + !forth].node << "\" to=\"" << ends_[2 * index + forth].node
             << "\" type=\"" << NameOf(road.road_class) << "\" priority=\""
             << (road.road_class == RoadClass::kArterial ? 10 : 5) << "\" speed=\""
             << SpeedOf(road.road_class) << "\" numLanes=\"" << lanes << "\" shape=\""
             << ShapeText(line) << "\">\n"
             << lane_text << "  </edge>\n";
      std::reverse(line.begin(), line.end());
    }
  }

  const Plan& plan_;
  const NetworkOptions& options_;
  Random* random_;
  std::ostringstream nodes_, edges_, connections_, roundabouts_;
  std::vector<End> ends_;  // per road and end (2 i: a, 2 i + 1: b)
};

// Without the comment in which netconvert writes the time and the paths.
std::string WithoutComments(std::string text) {
  for (size_t begin; (begin = text.find("<!--")) != text.npos;) {
    const size_t end = text.find("-->", begin);
    if (end == text.npos) break;
    text.erase(begin, end + 3 - begin);
  }
  return text;
}

}  // namespace

void Describe(NetworkOptions& o, OptionList& list) {
  list.Add("network", &o.kind, "which network to make",
           {.choices = {"grid", "arterial", "roundabout", "town"}});
  list.Add("network-seed", &o.seed, "equal seeds make equal networks", {.min = 0});
  list.Add("blocks", &o.blocks, "blocks along each side of a town or grid, or along an arterial",
           {.min = 1, .max = 20});
  list.Add("block-length", &o.block_m, "length of a block, metres", {.min = 70, .max = 1000});
  list.Add("curviness", &o.curviness, "0 = straight roads", {.min = 0, .max = 1});
  list.Add("roundabouts", &o.roundabouts, "share of a town's junctions that are roundabouts",
           {.min = 0, .max = 1});
  list.Add("roundabout-radius", &o.roundabout_radius_m,
           "mean radius of roundabouts, metres; each varies", {.min = 12, .max = 30});
  list.Add("parking", &o.parking, "parking strips along residential roads");
}

TrafficNetwork GenerateNetwork(const NetworkOptions& options, const fs::path& folder) {
  Random random(MixBits(static_cast<uint64_t>(options.seed)) ^ 0x6e657477);
  Plan plan;
  if (options.kind == "grid") {
    plan = PlanGrid(options, &random);
  } else if (options.kind == "arterial") {
    plan = PlanArterial(options, &random);
  } else if (options.kind == "roundabout") {
    plan = PlanRoundabout(options, &random);
  } else {
    ATHANOR_CHECK(options.kind == "town", "network: expected grid, arterial, roundabout or town, ",
                  "found '", options.kind, "'");
    plan = PlanTown(options, &random);
  }
  ShiftToPositive(&plan);
  MakeFolder(folder);
  PlainXml(plan, options, &random).Write(folder);
  const fs::path aside = folder / "network.unfinished.net.xml", log = folder / "netconvert.log";
  SumoFiles files;
  const fs::path plain = files.Plain(folder);
  fs::remove(log);
  const int status =
      RunProgram({"netconvert",
                  "--node-files",
                  (plain / "plain.nod.xml").string(),
                  "--edge-files",
                  (plain / "plain.edg.xml").string(),
                  "--connection-files",
                  (plain / "plain.con.xml").string(),
                  "--type-files",
                  (plain / "plain.typ.xml").string(),
                  "--output-file",
                  (plain / aside.filename()).string(),
                  "--no-turnarounds.except-deadend",
                  "true",
                  "--walkingareas",
                  "true",
                  "--junctions.corner-detail",
                  "5",
                  "--junctions.internal-link-detail",
                  "8",
                  "--check-lane-foes.roundabout",
                  "true",
                  "--precision",
                  "3",
                  "--offset.disable-normalization",
                  "true",
                  "--xml-validation",
                  "never"},
                 log, "SUMO must be installed to make road networks (apt-get install sumo)");
  ATHANOR_CHECK(status == 0, "netconvert failed with status ", status, "; see ", log.string());
  const fs::path path = folder / "network.net.xml";
  WriteFile(path, WithoutComments(ReadFile(aside)));
  std::error_code error;
  fs::remove(aside, error);
  TrafficNetwork network;
  network.roads = ReadRoadNetwork(path);
  return network;
}

TrafficNetwork LoadNetwork(const fs::path& path) {
  TrafficNetwork network;
  if (path.filename().string().ends_with(".net.xml")) {
    network.roads = ReadRoadNetwork(path);
    return network;
  }
  ATHANOR_CHECK(path.extension() == ".sumocfg", path.string(),
                ": expected a road network (.net.xml) or a configuration of SUMO (.sumocfg)");
  const auto list_files = [&](const std::string& text) {
    std::vector<fs::path> files;
    std::istringstream in(text);
    for (std::string name; std::getline(in, name, ',');) {
      const size_t begin = name.find_first_not_of(" \t\n");
      if (begin == name.npos) continue;
      name = name.substr(begin, name.find_last_not_of(" \t\n") + 1 - begin);
      files.push_back(path.parent_path() / name);
    }
    return files;
  };
  const std::string text = ReadFile(path);
  std::vector<fs::path> nets;
  VisitXml(text, path.string(), [&](const XmlElement& element) {
    if (element.name() == "net-file" || element.name() == "n") {
      nets = list_files(element.Text("value"));
    } else if (element.name() == "route-files" || element.name() == "r") {
      network.route_files = list_files(element.Text("value"));
    } else if (element.name() == "additional-files" || element.name() == "a") {
      network.additional_files = list_files(element.Text("value"));
    } else if (element.name() == "begin" || element.name() == "b") {
      network.begin_s = element.Number("value", 0, 1e8);
    }
  });
  ATHANOR_CHECK(nets.size() == 1, path.string(), ": names no road network (net-file)");
  for (const auto* files : {&network.route_files, &network.additional_files}) {
    for (const fs::path& file : *files) {
      ATHANOR_CHECK(fs::exists(file), path.string(), ": names ", file.string(),
                    ", which is not there");
    }
  }
  network.roads = ReadRoadNetwork(nets[0]);
  return network;
}

}  // namespace athanor
