// What keeps a lake whole: recovery at opening, verification, collection of garbage.
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/base/sha256.h"
#include "athanor/lake/lake.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;

// The number of "00000012.shard"; 0 for other files.
int64_t ShardNumber(const fs::path& path) {
  const std::string stem = path.stem().string();
  const bool good = path.extension() == ".shard" && stem.size() >= 8 && stem.size() <= 18 &&
                    stem.find_first_not_of("0123456789") == std::string::npos;
  return good ? std::stoll(stem) : 0;
}

// A clip or a removal that the catalog does not know.
struct TailEvent {
  LakePlace place;
  uint32_t kind = 0;
};

struct Tail {
  LakeShard shard;  // as the catalog has it
  bool is_known = false;
  int64_t kept_end = 0;  // of the last block that became part of the lake
  ShardScan scan;
};

}  // namespace

void Lake::Recover() {
  Catalog& catalog = *catalog_;
  SqliteDatabase& database = catalog.database();
  std::error_code error;
  std::map<int64_t, LakeShard> known;
  for (const LakeShard& shard : catalog.Shards()) {
    if (!shard.dropped) {
      known[shard.number] = shard;
      continue;
    }
    fs::remove(ShardPath(shard.number), error);
    catalog.ForgetShard(shard.number);
  }

  // What lies behind the bytes that the catalog knows, of all shards in their order.
  std::map<int64_t, Tail> tails;
  std::vector<TailEvent> events;
  std::unordered_map<std::string, LakePlace> payloads;
  for (const fs::path& path : ListFiles(path_ / "shards")) {
    const int64_t number = ShardNumber(path);
    if (number == 0) {
      if (path.extension() == ".tmp") fs::remove(path, error);
      continue;
    }
    const auto row = known.find(number);
    const bool is_known = row != known.end();
    Tail tail{is_known ? row->second : LakeShard{number, kShardStart}, is_known};
    tail.kept_end = tail.shard.bytes;
    if (tail.shard.sealed ||
        (is_known && static_cast<int64_t>(fs::file_size(path, error)) <= tail.shard.bytes)) {
      continue;
    }
    tail.scan = ScanShard(path, tail.shard.bytes, -1,
                          [&](const ShardBlock& block, std::string_view payload) {
                            const LakePlace place{number, block.offset, block.length};
                            if (block.kind == kPayloadBlock && block.length >= kPayloadStart) {
                              payloads.emplace(HexOfBytes(payload.substr(0, kPayloadStart)), place);
                            } else {
                              events.push_back({place, block.kind});
                            }
                          });
    tails[number] = std::move(tail);
  }
  if (tails.empty()) return;

  // Shards first, so that places may refer to them.
  SqliteTransaction transaction(database);
  for (auto& [number, tail] : tails) catalog.SetShard(tail.shard);
  int64_t back = 0;
  const auto keep = [&](const LakePlace& place) {
    int64_t& end = tails.at(place.shard).kept_end;
    end = std::max(end, place.offset + kShardHeaderBytes + place.length);
  };
  for (const TailEvent& event : events) {
    const LakePlace& place = event.place;
    const std::string bytes =
        ShardReader(ShardPath(place.shard)).Read({place.offset, place.length, event.kind});
    if (event.kind == kRemovalBlock) {
      if (catalog.RemoveClip(HexOfBytes(bytes))) keep(place);
      continue;
    }
    const std::string id = ClipId(bytes);
    if (event.kind != kClipBlock || catalog.FindClip(id)) continue;
    const Clip clip =
        DecodeClip(bytes, StrCat(ShardPath(place.shard).string(), " at ", place.offset));
    std::map<std::string, LakePlace> found;
    bool is_whole = true;
    for (const ClipPayload& payload : clip.payloads) {
      if (payload.sha256.empty() || catalog.FindBlob(payload.sha256)) continue;
      const auto in_tail = payloads.find(payload.sha256);
      is_whole &= in_tail != payloads.end();
      if (in_tail != payloads.end()) found.emplace(*in_tail);
    }
    if (!is_whole) {
      LogWarning(StrCat(ShardPath(place.shard).string(), ": byte ", place.offset, ": clip ", id,
                        " (", clip.log.name, ") lacks payloads: it is left out"));
      continue;
    }
    for (const auto& [sha256, payload_place] : found) {
      catalog.AddBlob(sha256, payload_place);
      keep(payload_place);
    }
    catalog.AddClip(id, clip, place);
    keep(place);
    ++back;
  }
  for (auto& [number, tail] : tails) {
    LakeShard& shard = tail.shard;
    shard.sealed = tail.scan.sealed;
    shard.bytes = shard.sealed ? tail.scan.whole_end : tail.kept_end;
    // A shard of which nothing is needed: one begun in vain, or one that had been compacted into
    // others.
    const bool is_vain = !tail.is_known && tail.kept_end == kShardStart;
    shard.dropped = is_vain;
    catalog.SetShard(shard);
  }
  transaction.Commit();
  for (auto& [number, tail] : tails) {
    if (tail.shard.dropped) {
      fs::remove(ShardPath(number), error);
      catalog.ForgetShard(number);
    } else if (!tail.shard.sealed) {
      try {
        ShardWriter::Continue(ShardPath(number), tail.shard.bytes);  // cuts off what is torn
      } catch (const Error& damage) {
        LogWarning(damage.what());
      }
    }
  }
  if (back > 0) LogInfo(StrCat(path_.string(), ": put back ", back, " clips"));
}

LakeReport Lake::Verify(const std::function<void(int64_t, int64_t)>& progress) {
  ATHANOR_CHECK(!is_mirror(), path_.string(),
                ": is a mirror; its payloads are checked when they are read");
  Catalog& catalog = *catalog_;
  SqliteDatabase& database = catalog.database();
  LakeReport report;
  {
    SqliteStatement check(database, "PRAGMA quick_check");
    check.Bind();
    while (check.Step()) {
      if (check.Text(0) != "ok") {
        report.faults.push_back(StrCat(database.name(), ": ", check.Text(0)));
      }
    }
  }
  struct Expected {
    uint32_t kind;
    int64_t length;
    std::string name;   // id or SHA-256
    std::string owner;  // for messages
  };
  int64_t done = 0;
  std::set<int64_t> seen;  // shards
  // A collection of garbage that runs meanwhile takes shards away, and what they held is in newer
  // ones: these are looked at in another turn.
  for (bool is_whole = false; !is_whole;) {
    is_whole = true;
    // What the catalog expects where, one transaction's view of it.
    database.Execute("BEGIN");
    std::map<int64_t, std::map<int64_t, Expected>> expected;  // shard, offset
    const std::vector<LakeShard> shards = catalog.Shards();
    const std::vector<LakeClip> clips = catalog.Clips();
    for (const LakeClip& clip : clips) {
      expected[clip.place.shard][clip.place.offset] = {
          kClipBlock, clip.place.length, clip.id,
          StrCat("clip ", clip.id.substr(0, 12), " (", clip.name, ")")};
    }
    {
      SqliteStatement query(
          database,
          "SELECT blobs.shard, blobs.offset, blobs.length, sha256, id, name, channel, time_us "
          "FROM blobs LEFT JOIN payloads ON payloads.blob = blobs.blob "
          "LEFT JOIN clips ON clips.clip = payloads.clip GROUP BY blobs.blob");
      query.Bind();
      while (query.Step()) {
        const std::string owner =
            query.IsNull(4) ? "a payload of no clip"
                            : StrCat(query.Text(6), " at ", query.Integer(7), " of clip ",
                                     query.Text(4).substr(0, 12), " (", query.Text(5), ")");
        expected[query.Integer(0)][query.Integer(1)] = {kPayloadBlock, query.Integer(2),
                                                        HexOfBytes(query.Blob(3)), owner};
      }
    }
    report.clips = std::ssize(clips);
    report.payloads = database.QueryInteger("SELECT count(*) FROM payloads");
    database.Execute("COMMIT");

    int64_t total = done;
    for (const LakeShard& shard : shards) total += seen.contains(shard.number) ? 0 : shard.bytes;
    for (const LakeShard& shard : shards) {
      auto& places = expected[shard.number];
      if (shard.dropped) continue;
      if (!seen.insert(shard.number).second) {
        places.clear();
        continue;
      }
      const fs::path path = ShardPath(shard.number);
      const auto fault = [&](int64_t byte, const auto&... parts) {
        report.faults.push_back(StrCat(path.string(), ": byte ", byte, ": ", parts...));
      };
      const auto look = [&](const ShardBlock& block, std::string_view payload) {
        ++report.blocks;
        done += block.length + kShardHeaderBytes;
        if (progress) progress(std::min(done, total), total);
        const auto place = places.find(block.offset);
        if (place == places.end()) return;  // not needed any more
        const Expected& wanted = place->second;
        if (wanted.kind != block.kind || wanted.length != block.length) {
          fault(block.offset, "the catalog expects ", wanted.owner, " of ", wanted.length,
                " bytes, found another block");
        } else {
          const bool is_clip = block.kind == kClipBlock;
          const std::string sha256 = Sha256Of(is_clip ? payload : payload.substr(kPayloadStart));
          if (sha256 != wanted.name) {
            fault(block.offset, wanted.owner, ": expected SHA-256 ", wanted.name, ", found ",
                  sha256);
          }
        }
        places.erase(place);
      };
      std::optional<ShardScan> scan;
      std::error_code error;
      try {
        if (fs::exists(path, error)) scan = ScanShard(path, kShardStart, shard.bytes, look);
      } catch (const Error&) {
        if (fs::exists(path, error)) throw;  // else it went away just now
      }
      if (!scan) {
        const std::vector<LakeShard> now = catalog.Shards();
        const auto row = std::find_if(now.begin(), now.end(), [&](const LakeShard& other) {
          return other.number == shard.number;
        });
        if (row == now.end() || row->dropped) {
          is_whole = false;
        } else {
          report.faults.push_back(StrCat(path.string(), ": no such file, but the catalog has ",
                                         places.size(), " blocks in it"));
        }
        places.clear();
        continue;
      }
      ++report.shards;
      report.bytes += shard.bytes;
      for (const ShardFault& torn : scan->faults) {
        // What the damage hits, in the same line.
        std::string owners;
        auto place = places.lower_bound(torn.begin);
        int64_t hit = 0;
        while (place != places.end() && place->first < torn.end) {
          if (hit++ == 0) owners = StrCat("; it holds ", place->second.owner);
          place = places.erase(place);
        }
        if (hit > 1) owners += StrCat(" and ", hit - 1, " more");
        report.faults.push_back(torn.message + owners);
      }
      if (shard.sealed && !scan->sealed && scan->faults.empty()) {
        fault(scan->whole_end, "expected the seal of a shard, found none");
      }
      for (const auto& [offset, wanted] : places) {
        fault(offset, "the catalog expects ", wanted.owner, ", found no block");
      }
      places.clear();
    }
    for (const auto& [number, places] : expected) {
      if (is_whole && !places.empty()) {
        report.faults.push_back(StrCat(database.name(), ": shard ", number, " holds ",
                                       places.size(), " blocks, but is not listed"));
      }
    }
  }
  return report;
}

GarbageReport Lake::CollectGarbage() {
  RequireWriter();
  Catalog& catalog = *catalog_;
  SqliteDatabase& database = catalog.database();
  GarbageReport report;
  // The catalog may not know of a shard that was begun and holds nothing yet: its number is taken
  // below, and its file replaced.
  active_.reset();
  database.Execute(
      "DELETE FROM blobs WHERE blob NOT IN (SELECT blob FROM payloads WHERE blob IS NOT NULL)");
  const auto live_bytes = [&](int64_t shard) {
    return database.QueryInteger(StrCat("SELECT (SELECT coalesce(sum(length + ", kShardHeaderBytes,
                                        "), 0) FROM blobs WHERE shard = ", shard,
                                        ") + (SELECT coalesce(sum(length + ", kShardHeaderBytes,
                                        "), 0) FROM clips WHERE shard = ", shard, ")"));
  };
  // Removals come behind what they remove. They go with it, unless it stays because its shard could
  // not be compacted: a catalog that is made again must not bring it back.
  const auto keeps_removals = [&] { return !report.faults.empty(); };
  const auto block_bytes = [&](const LakeShard& shard) {
    int64_t bytes = 0;
    if (shard.sealed) {
      for (const ShardBlock& block : ShardReader(ShardPath(shard.number)).ReadIndex()) {
        if (block.kind == kRemovalBlock && keeps_removals()) continue;
        bytes += block.length + kShardHeaderBytes;
      }
    } else {
      bytes = shard.bytes - kShardStart;
    }
    return bytes;
  };

  for (LakeShard shard : catalog.Shards()) {
    const fs::path path = ShardPath(shard.number);
    fs::path aside = path;
    aside += ".tmp";
    try {
      if (block_bytes(shard) == live_bytes(shard.number)) continue;
      if (!shard.sealed) {  // it will not grow any more
        auto writer = ShardWriter::Continue(path, shard.bytes);
        writer.Seal();
        shard.bytes = writer.end();
        shard.sealed = true;
        catalog.SetShard(shard);
      }
      struct Live {
        LakePlace place;
        uint32_t kind;
        int64_t row;
      };
      std::vector<Live> blocks;
      for (const uint32_t kind : {kPayloadBlock, kClipBlock}) {
        SqliteStatement query(database,
                              kind == kPayloadBlock
                                  ? "SELECT blob, offset, length FROM blobs WHERE shard = ?"
                                  : "SELECT clip, offset, length FROM clips WHERE shard = ?");
        query.Bind(shard.number);
        while (query.Step()) {
          blocks.push_back(
              {{shard.number, query.Integer(1), query.Integer(2)}, kind, query.Integer(0)});
        }
      }
      if (keeps_removals()) {
        for (const ShardBlock& block : ShardReader(path).ReadIndex()) {
          if (block.kind != kRemovalBlock) continue;
          // One that came back stands behind its removal, and is to stay there.
          if (catalog.FindClip(HexOfBytes(ShardReader(path).Read(block)))) continue;
          blocks.push_back({{shard.number, block.offset, block.length}, kRemovalBlock, 0});
        }
      }
      std::sort(blocks.begin(), blocks.end(),
                [](const Live& a, const Live& b) { return a.place.offset < b.place.offset; });
      LakeShard target{catalog.Shards().back().number + 1, kShardStart, /*sealed=*/true};
      if (!blocks.empty()) {
        const ShardReader reader(path);
        std::error_code error;
        fs::remove(aside, error);
        auto writer = ShardWriter::Create(aside);
        for (Live& live : blocks) {
          const ShardBlock from{live.place.offset, live.place.length, live.kind};
          live.place.offset = writer.Append(live.kind, reader.Read(from)).offset;
        }
        writer.Seal();
        target.bytes = writer.end();
        PublishFile(aside, ShardPath(target.number));
      }
      {
        SqliteTransaction transaction(database);
        if (!blocks.empty()) catalog.SetShard(target);
        SqliteStatement move_blob(database,
                                  "UPDATE blobs SET shard = ?, offset = ? WHERE blob = ?");
        SqliteStatement move_clip(database,
                                  "UPDATE clips SET shard = ?, offset = ? WHERE clip = ?");
        for (const Live& live : blocks) {
          if (live.kind == kRemovalBlock) continue;
          SqliteStatement& move = live.kind == kPayloadBlock ? move_blob : move_clip;
          move.Run(target.number, live.place.offset, live.row);
        }
        shard.dropped = true;
        catalog.SetShard(shard);
        transaction.Commit();
      }
      std::error_code error;
      fs::remove(path, error);
      if (!error) catalog.ForgetShard(shard.number);  // else when the lake is opened again
      ++report.shards_removed;
      report.blocks_kept += std::ssize(blocks);
      report.bytes_freed += shard.bytes - (blocks.empty() ? 0 : target.bytes);
    } catch (const Error& error) {
      std::error_code ignored;
      fs::remove(aside, ignored);
      report.faults.push_back(error.what());
    }
  }
  return report;
}

}  // namespace athanor
