// Feeds arbitrary bytes to the readers of nuScenes' files. The first byte chooses which: tables
// (each begins with a line "==NAME"), points of the LiDAR, points of a radar, or a sample.json.
#include <map>
#include <sstream>
#include <string>

#include "athanor/base/error.h"
#include "athanor/datasets/nuscenes_keyframe_reader.h"
#include "athanor/datasets/nuscenes_points.h"
#include "athanor/datasets/nuscenes_reader.h"

namespace {

std::map<std::string, std::string> SplitTables(std::string_view text) {
  constexpr std::string_view kMark = "==";
  std::map<std::string, std::string> tables;
  std::string* table = nullptr;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    if (line.substr(0, kMark.size()) == kMark) {
      table = &tables[std::string(line.substr(kMark.size()))];
    } else if (table != nullptr) {
      table->append(line).push_back('\n');
    }
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return tables;
}

void ReadTables(std::string_view text, bool collect) {
  const std::map<std::string, std::string> tables = SplitTables(text);
  const auto open = [&](const std::string& table) -> std::unique_ptr<std::istream> {
    const auto found = tables.find(table);
    if (found == tables.end()) return nullptr;
    return std::make_unique<std::istringstream>(found->second);
  };
  athanor::FaultSink faults;
  if (collect) faults = [](const std::string&) {};
  const auto logs = athanor::OpenNuscenesTables("tables", "/none", open, faults);
  for (int i = 0; i < static_cast<int>(logs->names().size()); ++i) logs->Read(i);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace athanor;
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    switch (data[0] % 5) {
      case 0:
        ReadTables(bytes, /*collect=*/false);
        break;
      case 1:
        ReadTables(bytes, /*collect=*/true);
        break;
      case 2:
        DecodePcdBin(bytes, "x.pcd.bin");
        break;
      case 3:
        DecodeRadarPcd(bytes, "x.pcd");
        break;
      default:
        ParseNuscenesKeyframe(bytes, "sample.json", "/none");
    }
  } catch (const Error&) {
    // What bad input should do.
  }
  return 0;
}
