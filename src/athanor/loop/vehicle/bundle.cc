#include "athanor/loop/vehicle/bundle.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/log.h"
#include "athanor/base/sha256.h"
#include "athanor/datasets/paths.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::string_view kMagic = "athanor-bundle 1 ";
constexpr size_t kDigits = 64;
constexpr int64_t kMaxBytes = int64_t{1} << 50;

// Takes fields out of an object, and knows which were not taken.
class Fields {
 public:
  Fields(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
    ATHANOR_CHECK(json.is_object(), where_, ": expected a JSON object, found ", json.type_name());
  }
  void Number(const char* name, double* value, double least, double most) {
    const Json* field = Find(name);
    if (field == nullptr) return;
    ATHANOR_CHECK(field->is_number(), where_, ": ", name, ": expected a number, found ",
                  field->dump());
    *value = field->get<double>();
    ATHANOR_CHECK(*value >= least && *value <= most, where_, ": ", name, ": expected ", least,
                  " to ", most, ", found ", field->dump());
  }
  template <typename T>
  void Whole(const char* name, T* value, int64_t least, int64_t most) {
    double number = static_cast<double>(*value);
    Number(name, &number, static_cast<double>(least), static_cast<double>(most));
    ATHANOR_CHECK(number == std::floor(number), where_, ": ", name,
                  ": expected a whole number, found ", number);
    *value = static_cast<T>(number);
  }
  void Text(const char* name, std::string* value) {
    const Json* field = Find(name);
    if (field == nullptr) return;
    ATHANOR_CHECK(field->is_string(), where_, ": ", name, ": expected text, found ", field->dump());
    *value = field->get<std::string>();
  }
  void Flag(const char* name, bool* value) {
    const Json* field = Find(name);
    if (field == nullptr) return;
    ATHANOR_CHECK(field->is_boolean(), where_, ": ", name, ": expected true or false, found ",
                  field->dump());
    *value = field->get<bool>();
  }
  // Null when it is not there.
  const Json* Find(const char* name) {
    const auto field = json_.find(name);
    if (field == json_.end()) return nullptr;
    ++taken_;
    return &*field;
  }
  std::string At(const std::string& name) const { return where_ + ": " + name; }
  // A word that is misspelt must not be a limit that is not kept.
  void Finish(const std::vector<std::string>& names) const {
    if (taken_ == json_.size()) return;
    for (const auto& [name, value] : json_.items()) {
      ATHANOR_CHECK(std::find(names.begin(), names.end(), name) != names.end(), where_,
                    ": no such field: \"", name, "\"");
    }
  }

 private:
  const Json& json_;
  std::string where_;
  size_t taken_ = 0;
};

Json JsonOf(const VehicleBundle& bundle) {
  Json json;
  json["version"] = bundle.version;
  json["bytes_stored"] = bundle.budgets.bytes_stored;
  json["bytes_per_day"] = bundle.budgets.bytes_per_day;
  json["share"] = bundle.budgets.share;
  json["ms_per_frame"] = bundle.budgets.ms_per_frame;
  json["quota_bytes"] = bundle.budgets.quota_bytes;
  json["rarity"] = bundle.rarity;
  json["scenario"] = bundle.scenario;
  json["margin"] = bundle.margin;
  json["tracks"] = bundle.tracks;
  json["events"] = bundle.events;
  json["prototypes"] = Json::array();
  for (const VehiclePrototype& p : bundle.prototypes) {
    json["prototypes"].push_back(
        {{"name", p.name}, {"value", p.value}, {"similarity", p.similarity}, {"vector", p.vector}});
  }
  json["rules"] = Json::array();
  for (const VehicleRule& rule : bundle.rules) {
    json["rules"].push_back({{"name", rule.name}, {"sql", rule.sql}, {"value", rule.value}});
  }
  json["pre_roll"] = bundle.pre_roll;
  json["post_roll"] = bundle.post_roll;
  json["longest"] = bundle.longest;
  json["pixels_on_demand"] = bundle.pixels_on_demand;
  return json;
}

// The elements of a list, or of none.
template <typename Function>
void ForEach(Fields& fields, const char* name, const Function& function) {
  const Json* list = fields.Find(name);
  if (list == nullptr) return;
  ATHANOR_CHECK(list->is_array(), fields.At(name), ": expected a list, found ", list->type_name());
  for (size_t i = 0; i < list->size(); ++i) function((*list)[i], StrCat(fields.At(name), " ", i));
}

}  // namespace

VehicleBundle DefaultBundle() {
  VehicleBundle bundle;
  bundle.events = {{"ego.hard_brake", 2}, {"ego.takeover", 2}};
  return bundle;
}

std::string EncodeBundle(const VehicleBundle& bundle) {
  const std::string body = JsonOf(bundle).dump(1) + "\n";
  return StrCat(kMagic, Sha256Of(body), "\n", body);
}

VehicleBundle ParseBundle(std::string_view text, std::string_view name) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  ATHANOR_CHECK(!json.is_discarded(), name,
                ": expected a bundle's JSON object, found damaged JSON");
  VehicleBundle bundle = DefaultBundle();
  Fields fields(json, std::string(name));
  fields.Whole("version", &bundle.version, 0, int64_t{1} << 53);
  VehicleBudgets& budgets = bundle.budgets;
  fields.Whole("bytes_stored", &budgets.bytes_stored, 0, kMaxBytes);
  fields.Whole("bytes_per_day", &budgets.bytes_per_day, 0, kMaxBytes);
  fields.Number("share", &budgets.share, 0, 1);
  fields.Number("ms_per_frame", &budgets.ms_per_frame, 0, 1e6);
  if (const Json* quotas = fields.Find("quota_bytes")) {
    Fields each(*quotas, fields.At("quota_bytes"));
    for (const auto& [reason, unused] : quotas->items()) {
      each.Whole(reason.c_str(), &budgets.quota_bytes[reason], 0, kMaxBytes);
    }
  }
  fields.Number("rarity", &bundle.rarity, 0, 1e6);
  fields.Number("scenario", &bundle.scenario, 0, 1e6);
  fields.Number("margin", &bundle.margin, 0, 1e6);
  fields.Number("tracks", &bundle.tracks, 0, 1e6);
  if (const Json* events = fields.Find("events")) {
    bundle.events.clear();
    Fields each(*events, fields.At("events"));
    for (const auto& [event, unused] : events->items()) {
      each.Number(event.c_str(), &bundle.events[event], 0, 1e6);
    }
  }
  ForEach(fields, "prototypes", [&](const Json& item, const std::string& where) {
    Fields each(item, where);
    VehiclePrototype& p = bundle.prototypes.emplace_back();
    each.Text("name", &p.name);
    each.Number("value", &p.value, 0, 1e6);
    each.Number("similarity", &p.similarity, -1, 0.999);
    ForEach(each, "vector", [&](const Json& number, const std::string& at) {
      ATHANOR_CHECK(number.is_number(), at, ": expected a number, found ", number.dump());
      const auto x = static_cast<float>(number.get<double>());
      ATHANOR_CHECK(std::isfinite(x), at, ": expected a number of 32 bits, found ", number.dump());
      p.vector.push_back(x);
    });
    ATHANOR_CHECK(!p.name.empty() && !p.vector.empty(), where,
                  ": expected a name and a vector, found ",
                  p.name.empty() ? "no name" : "no vector");
    each.Finish({"name", "value", "similarity", "vector"});
  });
  ForEach(fields, "rules", [&](const Json& item, const std::string& where) {
    Fields each(item, where);
    VehicleRule& rule = bundle.rules.emplace_back();
    each.Text("name", &rule.name);
    each.Text("sql", &rule.sql);
    each.Number("value", &rule.value, 0, 1e6);
    ATHANOR_CHECK(!rule.name.empty() && !rule.sql.empty(), where,
                  ": expected a name and sql, found ", rule.name.empty() ? "no name" : "no sql");
    each.Finish({"name", "sql", "value"});
  });
  fields.Whole("pre_roll", &bundle.pre_roll, 0, 10000);
  fields.Whole("post_roll", &bundle.post_roll, 0, 10000);
  fields.Whole("longest", &bundle.longest, 1, 100000);
  fields.Flag("pixels_on_demand", &bundle.pixels_on_demand);
  std::vector<std::string> names;
  const Json known = JsonOf(bundle);
  for (const auto& [field, unused] : known.items()) names.push_back(field);
  fields.Finish(names);
  return bundle;
}

VehicleBundle DecodeBundle(std::string_view bytes, std::string_view name) {
  ATHANOR_CHECK(bytes.starts_with(kMagic) && bytes.size() > kMagic.size() + kDigits &&
                    bytes[kMagic.size() + kDigits] == '\n',
                name, ": expected \"", kMagic, "SHA256\" in the first line, found something else");
  const std::string_view body = bytes.substr(kMagic.size() + kDigits + 1);
  const std::string_view digits = bytes.substr(kMagic.size(), kDigits);
  const std::string found = Sha256Of(body);
  ATHANOR_CHECK(found == digits, name, ": damaged: expected SHA-256 ", digits, ", found ", found);
  return ParseBundle(body, name);
}

BundleSlot::BundleSlot(const fs::path& path, const VehicleBundle& first)
    : path_(path), bundle_(first) {
  if (!IsFile(path)) return;
  try {
    bundle_ = DecodeBundle(ReadFile(path), path.string());
  } catch (const Error& error) {
    LogWarning(StrCat(error.what(), "; beginning with version ", first.version));
    PublishFile(path, path.string() + ".damaged");
  }
}

bool BundleSlot::Take(std::string_view bytes, std::string_view name) {
  VehicleBundle bundle = DecodeBundle(bytes, name);
  if (bundle.version <= bundle_.version) return false;
  WriteFile(path_, bytes);
  bundle_ = std::move(bundle);
  return true;
}

}  // namespace athanor
