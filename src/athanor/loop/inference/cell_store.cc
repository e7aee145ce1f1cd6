#include "athanor/loop/inference/cell_store.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <type_traits>

#include "athanor/base/files.h"
#include "athanor/lake/crc32c.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "ATHCELL1";

template <typename T>
void Put(const T& value, std::string* bytes) {
  static_assert(std::is_trivially_copyable_v<T>);
  bytes->append(reinterpret_cast<const char*>(&value), sizeof value);
}

void PutFloats(const std::vector<float>& values, std::string* bytes) {
  Put(static_cast<uint32_t>(values.size()), bytes);
  bytes->append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

std::vector<float> TakeFloats(ByteReader& reader, std::string_view what) {
  const auto count = reader.Read<uint32_t>(what);
  reader.CheckFits(count, sizeof(float), what);
  std::vector<float> values(count);
  const std::string_view bytes = reader.Take(count * sizeof(float), what);
  if (count > 0) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

// Frame, length, CRC of both and of the bytes, bytes.
std::string RecordOf(int frame, const FrameOutput& output) {
  const std::string cell = EncodeOutput(output);
  std::string head;
  Put(static_cast<int32_t>(frame), &head);
  Put(static_cast<uint32_t>(cell.size()), &head);
  const uint32_t crc = Crc32c(cell, Crc32c(head));
  Put(crc, &head);
  return head + cell;
}

// False when what is left is no whole record.
bool TakeRecord(ByteReader& reader, std::string_view name, int* frame, FrameOutput* output) {
  constexpr size_t kCheckedHead = 8, kHead = 12;
  if (reader.remaining() < kHead) return false;
  const std::string_view head = reader.Take(kHead, "a record");
  uint32_t size = 0, crc = 0;
  int32_t number = 0;
  std::memcpy(&number, head.data(), 4);
  std::memcpy(&size, head.data() + 4, 4);
  std::memcpy(&crc, head.data() + 8, 4);
  if (reader.remaining() < size) return false;
  const std::string_view cell = reader.Take(size, "a cell");
  if (Crc32c(cell, Crc32c(head.substr(0, kCheckedHead))) != crc) return false;
  *frame = number;
  *output = DecodeOutput(cell, name);
  return true;
}

}  // namespace

std::string EncodeOutput(const FrameOutput& output) {
  std::string bytes;
  Put(static_cast<uint32_t>(output.failure.size()), &bytes);
  bytes += output.failure;
  PutFloats(output.vector, &bytes);
  Put(static_cast<uint32_t>(output.objects.size()), &bytes);
  for (const FoundObject& object : output.objects) {
    Put(static_cast<int32_t>(object.class_index), &bytes);
    Put(object.score, &bytes);
    Put(object.box, &bytes);
    Put(static_cast<int32_t>(object.attribute), &bytes);
    Put(static_cast<int32_t>(object.sensor), &bytes);
    Put(object.region_px, &bytes);
  }
  PutFloats(output.object_vectors, &bytes);
  return bytes;
}

FrameOutput DecodeOutput(std::string_view bytes, std::string_view name) {
  constexpr size_t kObjectBytes = 4 + 4 + 36 + 4 + 4 + 16;
  ByteReader reader(bytes, name);
  FrameOutput output;
  output.failure = reader.Take(reader.Read<uint32_t>("a failure"), "a failure");
  output.vector = TakeFloats(reader, "a frame's vector");
  const auto objects = reader.Read<uint32_t>("the number of objects");
  reader.CheckFits(objects, kObjectBytes, "objects");
  output.objects.resize(objects);
  for (FoundObject& object : output.objects) {
    object.class_index = reader.Read<int32_t>("a class");
    object.score = reader.Read<float>("a score");
    object.box = reader.Read<std::array<float, 9>>("a box");
    object.attribute = reader.Read<int32_t>("an attribute");
    object.sensor = reader.Read<int32_t>("a sensor");
    object.region_px = reader.Read<std::array<float, 4>>("a region");
  }
  output.object_vectors = TakeFloats(reader, "objects' vectors");
  if (reader.remaining() > 0) reader.Fail("expected the end of a cell");
  return output;
}

std::string CellShard::Id() const { return StrCat(model, ".", clip, ".", first); }

std::vector<CellShard> ShardsOf(const std::string& model, const std::string& clip, int frames) {
  std::vector<CellShard> shards;
  for (int first = 0; first < frames; first += kShardFrames) {
    shards.push_back({model, clip, first, std::min(kShardFrames, frames - first)});
  }
  return shards;
}

fs::path CellStore::FolderOf(const CellShard& shard) const {
  return folder_ / shard.model / shard.clip;
}

fs::path CellStore::PathOf(const CellShard& shard) const {
  return FolderOf(shard) / StrCat(shard.first, ".cells");
}

bool CellStore::Has(const CellShard& shard) const {
  std::error_code error;
  return fs::is_regular_file(PathOf(shard), error);
}

std::vector<FrameOutput> CellStore::Read(const CellShard& shard) const {
  const std::string name = PathOf(shard).string();
  const std::string bytes = ReadFile(name);
  std::vector<FrameOutput> outputs;
  try {
    ByteReader reader(bytes, name);
    ATHANOR_CHECK(reader.Take(kMagic.size(), "the beginning") == kMagic, name,
                  ": expected a file of cells");
    while (reader.remaining() > 0) {
      const size_t begin = reader.position();
      int frame = 0;
      FrameOutput output;
      ATHANOR_CHECK(TakeRecord(reader, name, &frame, &output), name, ": byte ", begin,
                    ": expected a cell with its checksum");
      ATHANOR_CHECK(frame == shard.first + std::ssize(outputs), name, ": byte ", begin,
                    ": expected frame ", shard.first + std::ssize(outputs), ", found ", frame);
      outputs.push_back(std::move(output));
    }
    ATHANOR_CHECK(std::ssize(outputs) == shard.count, name, ": expected ", shard.count,
                  " cells, found ", outputs.size());
  } catch (const Error& error) {
    throw CellDamage(error.what(), shard);
  }
  return outputs;
}

void CellStore::Write(const CellShard& shard, const std::vector<FrameOutput>& outputs) const {
  ATHANOR_CHECK(std::ssize(outputs) == shard.count, PathOf(shard).string(), ": expected ",
                shard.count, " cells to write, found ", outputs.size());
  std::string bytes(kMagic);
  for (size_t i = 0; i < outputs.size(); ++i) {
    bytes += RecordOf(shard.first + static_cast<int>(i), outputs[i]);
  }
  WriteFile(PathOf(shard), bytes);
  std::error_code error;
  for (const char* ending : {".part", ".died"}) {
    for (const fs::path& path : Leftovers(shard, ending)) fs::remove(path, error);
  }
}

void CellStore::SetAside(const CellShard& shard) const {
  fs::path aside = PathOf(shard);
  aside += ".damaged";
  std::error_code error;
  fs::rename(PathOf(shard), aside, error);
  ATHANOR_CHECK(!error, PathOf(shard).string(), ": cannot put it aside: ", error.message());
}

std::vector<fs::path> CellStore::Leftovers(const CellShard& shard, std::string_view ending) const {
  std::vector<fs::path> paths;
  const std::string begin = StrCat(shard.first, ".");
  std::error_code error;
  for (fs::directory_iterator entry(FolderOf(shard), error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with(begin) && name.ends_with(ending)) paths.push_back(entry->path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::map<int, FrameOutput> CellStore::ReadParts(const CellShard& shard) const {
  std::map<int, FrameOutput> outputs;
  for (const fs::path& path : Leftovers(shard, ".part")) {
    std::string bytes;
    try {
      bytes = ReadFile(path);
    } catch (const Error&) {
      continue;  // published by another worker, just now
    }
    ByteReader reader(bytes, path.native());
    int frame = 0;
    FrameOutput output;
    while (TakeRecord(reader, path.native(), &frame, &output)) {
      if (frame >= shard.first && frame < shard.first + shard.count) {
        outputs.try_emplace(frame, std::move(output));
      }
    }
  }
  return outputs;
}

void CellStore::AppendPart(const CellShard& shard, const std::string& worker, int frame,
                           const FrameOutput& output) const {
  MakeFolder(FolderOf(shard));
  AppendFile(FolderOf(shard) / StrCat(shard.first, ".", worker, ".part"), RecordOf(frame, output));
}

void CellStore::ForgetFailures(const CellShard& shard, const std::string& worker) const {
  std::map<int, FrameOutput> outputs;
  if (Has(shard)) {
    std::vector<FrameOutput> all = Read(shard);
    for (int f = 0; f < shard.count; ++f) outputs[shard.first + f] = std::move(all[f]);
  } else {
    outputs = ReadParts(shard);
  }
  if (std::all_of(outputs.begin(), outputs.end(),
                  [](const auto& output) { return output.second.failure.empty(); })) {
    return;
  }
  std::vector<fs::path> old = Leftovers(shard, ".part");
  const std::vector<fs::path> notes = Leftovers(shard, ".died");
  old.insert(old.end(), notes.begin(), notes.end());
  old.push_back(PathOf(shard));
  for (const auto& [frame, output] : outputs) {
    if (output.failure.empty()) AppendPart(shard, worker, frame, output);
  }
  std::error_code error;
  for (const fs::path& path : old) fs::remove(path, error);
}

fs::path CellStore::NotePath(const CellShard& shard, const std::string& worker, int frame) const {
  return FolderOf(shard) / StrCat(shard.first, ".", frame, ".", worker, ".died");
}

std::map<int, std::vector<std::string>> CellStore::ReadNotes(const CellShard& shard) const {
  std::map<int, std::vector<std::string>> notes;
  for (const fs::path& path : Leftovers(shard, ".died")) {
    const std::string name = path.filename().string();
    const size_t begin = name.find('.') + 1;
    int frame = -1;
    std::from_chars(name.data() + begin, name.data() + name.size(), frame);
    try {
      notes[frame].push_back(ReadFile(path));
    } catch (const Error&) {
      continue;
    }
  }
  for (auto& [frame, reasons] : notes) std::sort(reasons.begin(), reasons.end());
  return notes;
}

}  // namespace athanor
