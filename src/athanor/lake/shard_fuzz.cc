// Feeds any bytes to the readers of a lake: a shard, and the clip in one of its blocks. An Error is
// fine, anything else is a bug.
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "athanor/base/error.h"
#include "athanor/lake/clip.h"
#include "athanor/lake/shard.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace athanor;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  static const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("shard_fuzz_" + std::to_string(::getpid()));
  {
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file.write(bytes.data(), static_cast<std::streamsize>(size));
  }
  try {
    // Every block that the scan calls whole has to be read, and where an index is it has to hold.
    const ShardScan scan = ScanShard(path);
    const ShardReader reader(path);
    for (const ShardBlock& block : scan.blocks) reader.Read(block);
    reader.ReadIndex();
  } catch (const Error&) {
  }
  try {
    EncodeClip(DecodeClip(bytes, "fuzz"));  // without the checksums that would keep most of it out
  } catch (const Error&) {
  }
  std::filesystem::remove(path);
  return 0;
}
