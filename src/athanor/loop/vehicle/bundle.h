// What the cloud tells a car, as one versioned file: what to look for, what it is worth, and how
// many bytes and milliseconds it may take.
//
// File: one line "athanor-bundle 1 SHA256" over what follows, and a JSON object. A bundle is taken
// whole or not at all, and never over a newer one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace athanor {

// What a find looks like to the small model.
struct VehiclePrototype {
  std::string name;
  double value = 1;         // of a frame exactly like it; half of that at `similarity`
  double similarity = 0.8;  // least cosine, less the mean of what the car has seen
  std::vector<float> vector;
};

// A mining rule (loop/mining/rules.h) over what the small model sees; a hit is worth `value`.
struct VehicleRule {
  std::string name, sql;
  double value = 1;
};

// Hard limits. None of them is ever exceeded.
struct VehicleBudgets {
  int64_t bytes_stored = int64_t{4} << 30;   // ring buffer and what waits for upload, together
  int64_t bytes_per_day = int64_t{1} << 30;  // of uploads, features and all
  // Of the bytes recorded so far, at any time; 1: only bytes_per_day counts.
  double share = 1;
  double ms_per_frame = 5;  // of one core, for all that mining adds to the small model
  // Per day, by the reason that was worth most in a snippet ("prototype.dog", "rarity").
  std::map<std::string, int64_t> quota_bytes;

  bool operator==(const VehicleBudgets&) const = default;
};

struct VehicleBundle {
  int64_t version = 0;
  VehicleBudgets budgets;
  // What ten bits of surprise are worth: a frame of which the car sees one in a thousand.
  double rarity = 1, scenario = 0.5, margin = 1, tracks = 1;
  std::map<std::string, double> events;  // what the planner says: "ego.hard_brake"
  std::vector<VehiclePrototype> prototypes;
  std::vector<VehicleRule> rules;
  int pre_roll = 1, post_roll = 1, longest = 40;  // frames
  // Pictures and sweeps are uploaded only when they are asked for; features always.
  bool pixels_on_demand = false;
};

// What a car does before it hears from the cloud: surprise and hard braking.
VehicleBundle DefaultBundle();

std::string EncodeBundle(const VehicleBundle& bundle);
// Throws Error (`name`, what) in one line: damaged, of a newer program, numbers that are none.
VehicleBundle DecodeBundle(std::string_view bytes, std::string_view name);
// The JSON object alone, as people write it; missing fields keep DefaultBundle()'s.
VehicleBundle ParseBundle(std::string_view json, std::string_view name);

// The bundle of a car, in a file.
class BundleSlot {
 public:
  // A damaged file is put aside with a warning, and the car begins with `first`.
  BundleSlot(const std::filesystem::path& path, const VehicleBundle& first);

  const VehicleBundle& bundle() const { return bundle_; }
  // True when it is newer than ours, and is ours now. Throws Error for a damaged one; ours stays.
  bool Take(std::string_view bytes, std::string_view name);

 private:
  std::filesystem::path path_;
  VehicleBundle bundle_;
};

}  // namespace athanor
