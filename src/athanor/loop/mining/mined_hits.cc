#include "athanor/loop/mining/mined_hits.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "athanor/base/error.h"
#include "athanor/base/files.h"

namespace athanor {
namespace {

using nlohmann::json;

json ToJson(const MinedHit& hit) {
  json out = {{"frame", StrCat(hit.log, "/", hit.frame)},
              {"log", hit.log},
              {"number", hit.frame},
              {"id", hit.id},
              {"time_us", hit.time_us},
              {"boxes_in_frame", hit.boxes_in_frame},
              {"score", hit.score},
              {"why", hit.why}};
  if (hit.box >= 0) out["box"] = hit.box;
  if (!hit.class_name.empty()) out["class"] = hit.class_name;
  if (hit.box_in_world) {
    const Rigid3& pose = hit.box_in_world->frame_from_box;
    const Eigen::Vector3d& size = hit.box_in_world->size_m;
    out["center_m"] = {pose.translation.x(), pose.translation.y(), pose.translation.z()};
    out["size_m"] = {size.x(), size.y(), size.z()};
    out["rotation_wxyz"] = {pose.rotation.w(), pose.rotation.x(), pose.rotation.y(),
                            pose.rotation.z()};
  }
  if (!hit.camera.empty()) {
    out["camera"] = hit.camera;
    out["region_px"] = hit.region_px;
  }
  return out;
}

template <int N>
Eigen::Vector<double, N> VectorFrom(const json& numbers) {
  const auto values = numbers.get<std::vector<double>>();
  ATHANOR_CHECK(values.size() == N, "expected ", N, " numbers, found ", values.size());
  return Eigen::Map<const Eigen::Vector<double, N>>(values.data());
}

MinedHit FromJson(const json& in) {
  MinedHit hit;
  hit.log = in.at("log");
  hit.frame = in.at("number");
  hit.id = in.value("id", "");
  hit.time_us = in.value("time_us", int64_t{0});
  hit.boxes_in_frame = in.value("boxes_in_frame", 0);
  hit.score = in.at("score");
  hit.why = in.value("why", "");
  hit.box = in.value("box", -1);
  hit.class_name = in.value("class", "");
  if (in.contains("camera")) {
    hit.camera = in.at("camera");
    hit.region_px = in.at("region_px");
  }
  if (in.contains("center_m")) {
    const Eigen::Vector4d q = VectorFrom<4>(in.at("rotation_wxyz"));
    hit.box_in_world = Box3{
        {Eigen::Quaterniond(q[0], q[1], q[2], q[3]).normalized(), VectorFrom<3>(in.at("center_m"))},
        VectorFrom<3>(in.at("size_m"))};
  }
  return hit;
}

}  // namespace

MinedHit HitOf(const MinedData& data, const FrameRef& ref) {
  const std::shared_ptr<const Log> log = data.Read(ref.log);
  ATHANOR_CHECK(ref.frame >= 0 && ref.frame < std::ssize(log->frames), data.path().string(),
                ": log ", data.name(ref.log), ": expected a frame of 0 to ", log->frames.size(),
                " (excluded), found ", ref.frame);
  const LogFrame& frame = log->frames[ref.frame];
  MinedHit hit;
  hit.log = data.name(ref.log);
  hit.frame = ref.frame;
  hit.id = frame.id;
  hit.time_us = frame.time_us;
  hit.boxes_in_frame = static_cast<int>(frame.boxes.size());
  hit.box = ref.box;
  return hit;
}

void WriteMinedHits(const std::filesystem::path& path, const MinedHits& hits) {
  json about = json::object();
  for (const auto& [name, text] : hits.about) about[name] = text;
  json list = json::array();
  for (const MinedHit& hit : hits.hits) list.push_back(ToJson(hit));
  const json all = {
      {"miner", hits.miner}, {"data", hits.data}, {"about", about}, {"hits", std::move(list)}};
  WriteFile(path, all.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
}

MinedHits ReadMinedHits(const std::filesystem::path& path) {
  MinedHits hits;
  std::string where = path.string();
  const std::string text = ReadFile(path);
  try {
    const json all = json::parse(text);
    hits.miner = all.at("miner");
    hits.data = all.value("data", "");
    const json about = all.value("about", json::object());
    for (const auto& [name, value] : about.items()) {
      hits.about.emplace_back(name, value.get<std::string>());
    }
    for (const json& hit : all.at("hits")) {
      where = StrCat(path.string(), ": hit ", hits.hits.size());
      hits.hits.push_back(FromJson(hit));
      ATHANOR_CHECK(std::isfinite(hits.hits.back().score), "expected a finite score");
    }
  } catch (const json::exception& error) {
    throw Error(StrCat(where, ": expected what `athanor mine` writes: ", error.what()));
  } catch (const Error& error) {
    throw Error(StrCat(where, ": ", error.what()));
  }
  return hits;
}

}  // namespace athanor
