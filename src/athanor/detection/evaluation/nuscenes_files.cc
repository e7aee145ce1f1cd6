#include "athanor/detection/evaluation/nuscenes_files.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "athanor/base/error.h"
#include "athanor/base/files.h"
#include "athanor/base/parallel.h"
#include "athanor/detection/evaluation/json_cursor.h"
#include "athanor/detection/evaluation/mapped_file.h"

namespace athanor {
namespace {

// The fields of a box that must be there.
enum Field {
  kToken,
  kTranslation,
  kSize,
  kRotation,
  kVelocity,
  kName,
  kScore,
  kAttribute,
  kFields
};
constexpr std::array<std::string_view, kFields> kFieldNames = {
    "sample_token",   "translation",     "size",          "rotation", "velocity",
    "detection_name", "detection_score", "attribute_name"};

// The largest number of points that fits; more are all the same to us.
constexpr double kMostPoints = 1e9;

// Reads one box of a scored class, or of one that is not; the cursor stands before it.
NuscenesBox ReadBox(JsonCursor* cursor, const std::string& token, bool is_scored,
                    std::string* word) {
  NuscenesBox box;
  unsigned seen = 0;
  cursor->Expect('{', "a box, as an object");
  const auto check_finite = [&](bool finite, Field field) {
    if (!finite) cursor->Fail(StrCat("finite numbers before this, in ", kFieldNames[field]));
  };
  for (bool first = true; cursor->NextMember(word, &first);) {
    const auto found = std::find(kFieldNames.begin(), kFieldNames.end(), *word);
    if (found == kFieldNames.end()) {
      if (*word == "num_pts") {
        box.num_points =
            static_cast<int32_t>(std::clamp(cursor->ReadNumber("a number"), -1.0, kMostPoints));
      } else {
        cursor->SkipValue();
      }
      continue;
    }
    const auto field = static_cast<Field>(found - kFieldNames.begin());
    seen |= 1u << field;
    switch (field) {
      case kToken:
        cursor->ReadString(word, "sample_token as text");
        if (*word != token) cursor->Fail("the sample_token under which the box is listed");
        break;
      case kTranslation:
        cursor->ReadNumbers(box.translation_m.data(), 3, "translation as 3 numbers");
        check_finite(box.translation_m.allFinite(), field);
        break;
      case kSize:
        cursor->ReadNumbers(box.size_wlh_m.data(), 3, "size as 3 numbers");
        check_finite(box.size_wlh_m.allFinite(), field);
        if (!(box.size_wlh_m.array() > 0).all()) cursor->Fail("sizes > 0 before this");
        break;
      case kRotation:
        cursor->ReadNumbers(box.rotation_wxyz.data(), 4, "rotation as 4 numbers");
        check_finite(box.rotation_wxyz.allFinite(), field);
        break;
      case kVelocity:
        cursor->ReadNumbers(box.velocity_mps.data(), 2, "velocity as 2 numbers");
        break;
      case kName: {
        cursor->ReadString(word, "detection_name as text");
        const int index = FindNuscenesClass(*word);
        if (index < 0 || (index < kNuscenesClasses) != is_scored) {
          cursor->Fail(StrCat(is_scored ? "one of the ten class names" : "\"animal\"",
                              " before this, not '", *word, "'"));
        }
        box.class_index = static_cast<int8_t>(index);
        break;
      }
      case kScore:
        box.score = cursor->ReadNumber("detection_score as a number");
        check_finite(std::isfinite(box.score), field);
        break;
      case kAttribute: {
        cursor->ReadString(word, "attribute_name as text");
        const int index = FindNuscenesAttribute(*word);
        if (index < 0 && !word->empty()) {
          cursor->Fail("an attribute name of nuScenes or \"\" before this, not '" + *word + "'");
        }
        box.attribute = static_cast<int8_t>(index);
        break;
      }
      case kFields:
        break;
    }
  }
  for (int field = 0; field < kFields; ++field) {
    if ((seen >> field & 1) == 0)
      cursor->Fail(StrCat("a box with ", kFieldNames[field], " before"));
  }
  return box;
}

void AppendNumbers(std::string* out, const double* values, int count) {
  *out += '[';
  for (int i = 0; i < count; ++i) {
    if (i > 0) *out += ", ";
    *out += PythonNumber(values[i]);
  }
  *out += ']';
}

// `token` as JSON.
void AppendBox(const std::string& token, const NuscenesBox& box, std::string* out) {
  *out += "{\"sample_token\": " + token + ", \"translation\": ";
  AppendNumbers(out, box.translation_m.data(), 3);
  *out += ", \"size\": ";
  AppendNumbers(out, box.size_wlh_m.data(), 3);
  *out += ", \"rotation\": ";
  AppendNumbers(out, box.rotation_wxyz.data(), 4);
  *out += ", \"velocity\": ";
  AppendNumbers(out, box.velocity_mps.data(), 2);
  *out += ", \"detection_name\": \"";
  *out += kNuscenesClassNames.at(box.class_index);
  *out += "\", \"detection_score\": " + PythonNumber(box.score) + ", \"attribute_name\": \"";
  if (box.attribute >= 0) *out += kNuscenesAttributeNames.at(box.attribute);
  *out += "\"}";
}

// JSON with two blanks per level, as json.dump(indent=2).
class IndentedJson {
 public:
  void Open(std::string_view key) { Begin(key), text_ += '{', is_first_ = true, ++depth_; }
  void Close() {
    --depth_;
    if (!is_first_) NewLine();
    text_ += '}';
    is_first_ = false;
  }
  void Raw(std::string_view key, std::string_view value) { Begin(key), text_ += value; }
  void Number(std::string_view key, double value) { Raw(key, PythonNumber(value)); }
  void Array(std::string_view key, std::span<const double> values) {
    Begin(key);
    text_ += '[';
    ++depth_;
    for (size_t i = 0; i < values.size(); ++i) {
      if (i > 0) text_ += ',';
      NewLine();
      text_ += PythonNumber(values[i]);
    }
    --depth_;
    NewLine();
    text_ += ']';
  }
  const std::string& text() const { return text_; }

 private:
  void NewLine() { text_ += '\n', text_.append(2 * depth_, ' '); }
  void Begin(std::string_view key) {
    if (depth_ > 0) {
      if (!is_first_) text_ += ',';
      NewLine();
      text_ += nlohmann::json(key).dump() + ": ";
    }
    is_first_ = false;
  }

  std::string text_;
  bool is_first_ = true;
  size_t depth_ = 0;
};

// A number of the configuration: whole ones without a point, as they stand in the devkit's file.
std::string ConfigNumber(double value) {
  return value == std::floor(value) && std::abs(value) < 1e15
             ? std::to_string(static_cast<int64_t>(value))
             : PythonNumber(value);
}

}  // namespace

std::string PythonNumber(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  char buffer[32];
  const auto scientific =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific);
  const std::string_view text(buffer, scientific.ptr - buffer);
  const size_t e = text.find('e');
  const int exponent = std::atoi(std::string(text.substr(e + 1)).c_str());
  if (exponent < -4 || exponent >= 16) return std::string(text);
  char fixed[400];
  const auto end = std::to_chars(fixed, fixed + sizeof(fixed), value, std::chars_format::fixed);
  std::string out(fixed, end.ptr);
  if (out.find('.') == std::string::npos) out += ".0";
  return out;
}

NuscenesResults ParseNuscenesResults(std::string_view text, const std::string& name,
                                     int max_boxes_per_sample) {
  NuscenesResults results;
  results.source = name;
  bool has_meta = false, has_results = false;
  std::vector<size_t> begins;                        // per sample: where its list begins
  std::unordered_map<std::string, size_t> unscored;  // the same of the second list
  JsonCursor cursor(text, name);
  cursor.Expect('{', "an object with \"meta\" and \"results\"");
  std::string key;
  for (bool first = true; cursor.NextMember(&key, &first);) {
    if (key == "meta") {
      if (cursor.Peek() != '{') cursor.Fail("meta as an object");
      results.meta_json = cursor.SkipValue();
      has_meta = true;
    } else if (key == "results") {
      if (has_results) cursor.Fail("one \"results\" only");
      has_results = true;
      cursor.Expect('{', "results as an object: sample token to list of boxes");
      std::string token;
      for (bool is_first = true; cursor.NextMember(&token, &is_first);) {
        if (cursor.Peek() != '[') cursor.Fail("a list of boxes");
        begins.push_back(cursor.position());
        results.sample_tokens.push_back(token);
        cursor.SkipValue();
      }
    } else if (key == "unscored") {
      cursor.Expect('{', "unscored as an object: sample token to list of boxes");
      std::string token;
      for (bool is_first = true; cursor.NextMember(&token, &is_first);) {
        if (cursor.Peek() != '[') cursor.Fail("a list of boxes");
        if (!unscored.emplace(token, cursor.position()).second) {
          cursor.Fail("each sample once in \"unscored\"");
        }
        cursor.SkipValue();
      }
    } else {
      cursor.SkipValue();
    }
  }
  cursor.ExpectEnd();
  ATHANOR_CHECK(has_results, name, ": expected a field \"results\", found none");
  ATHANOR_CHECK(has_meta, name, ": expected a field \"meta\", found none");
  ATHANOR_CHECK(nlohmann::json::accept(results.meta_json), name,
                ": expected \"meta\" to be valid JSON");
  std::unordered_set<std::string_view> tokens;
  for (const std::string& token : results.sample_tokens) {
    ATHANOR_CHECK(tokens.insert(token).second, name, ": sample ", token, " comes twice");
  }
  for (const auto& [token, begin] : unscored) {
    ATHANOR_CHECK(tokens.contains(token), name, ": sample ", token,
                  " is in \"unscored\" and not in \"results\"");
  }

  constexpr int64_t kGrain = 64;
  const auto samples = static_cast<int64_t>(begins.size());
  std::vector<std::vector<NuscenesBox>> pieces((samples + kGrain - 1) / kGrain);
  results.first_box.assign(samples + 1, 0);
  ParallelFor(samples, kGrain, [&](int64_t begin, int64_t end) {
    std::vector<NuscenesBox>& boxes = pieces[begin / kGrain];
    std::string word;
    for (int64_t i = begin; i < end; ++i) {
      const std::string& token = results.sample_tokens[i];
      const size_t before = boxes.size();
      const auto read = [&](size_t begin_of_list, bool is_scored) {
        JsonCursor list(text, name, begin_of_list);
        list.Expect('[', "a list of boxes");
        for (bool first = true; list.NextElement(&first);) {
          boxes.push_back(ReadBox(&list, token, is_scored, &word));
        }
      };
      read(begins[i], true);
      if (const auto more = unscored.find(token); more != unscored.end()) read(more->second, false);
      const size_t count = boxes.size() - before;
      ATHANOR_CHECK(count <= static_cast<size_t>(max_boxes_per_sample), name, ": sample ", token,
                    ": expected at most ", max_boxes_per_sample, " boxes, found ", count);
      results.first_box[i + 1] = static_cast<int64_t>(count);
    }
  });
  for (int64_t i = 0; i < samples; ++i) results.first_box[i + 1] += results.first_box[i];
  results.boxes.resize(results.first_box.back());
  ParallelChunks(static_cast<int64_t>(pieces.size()), [&](int64_t chunk) {
    std::copy(pieces[chunk].begin(), pieces[chunk].end(),
              results.boxes.begin() + results.first_box[chunk * kGrain]);
    std::vector<NuscenesBox>().swap(pieces[chunk]);
  });
  return results;
}

NuscenesResults ReadNuscenesResults(const std::filesystem::path& path, int max_boxes_per_sample) {
  const MappedFile file(path);
  return ParseNuscenesResults(file.bytes(), path.string(), max_boxes_per_sample);
}

struct NuscenesResultsWriter::State {
  explicit State(const std::filesystem::path& path) : file(path) {}
  FileWriter file;
  std::vector<std::string> tokens;         // as JSON
  std::map<size_t, std::string> unscored;  // lists of boxes, by sample
  std::string out;

  // The boxes of a sample that are scored, or are not, as a list.
  std::string ListOf(const std::string& token, std::span<const NuscenesBox> boxes, bool is_scored) {
    std::string list;
    for (const NuscenesBox& box : boxes) {
      if ((box.class_index < kNuscenesClasses) != is_scored) continue;
      if (!list.empty()) list += ", ";
      AppendBox(token, box, &list);
    }
    return list;
  }
  void Put(size_t sample, const std::string& list) {
    out += (sample > 0 ? ", " : "") + tokens[sample] + ": [" + list + "]";
    file.Write(out);
    out.clear();
  }
};

NuscenesResultsWriter::NuscenesResultsWriter(const std::filesystem::path& path,
                                             const std::string& meta_json)
    : state_(std::make_unique<State>(path)) {
  state_->out = "{\"meta\": " + meta_json + ", \"results\": {";
}

NuscenesResultsWriter::~NuscenesResultsWriter() = default;

void NuscenesResultsWriter::Add(const std::string& sample_token,
                                std::span<const NuscenesBox> boxes) {
  State& state = *state_;
  const size_t sample = state.tokens.size();
  state.tokens.push_back(nlohmann::json(sample_token).dump());
  const std::string& token = state.tokens.back();
  std::string unscored = state.ListOf(token, boxes, false);
  if (!unscored.empty()) state.unscored[sample] = std::move(unscored);
  state.Put(sample, state.ListOf(token, boxes, true));
}

void NuscenesResultsWriter::Commit() {
  State& state = *state_;
  state.out += '}';
  if (!state.unscored.empty()) {
    state.out += ", \"unscored\": {";
    for (size_t sample = 0; sample < state.tokens.size(); ++sample) {
      const auto found = state.unscored.find(sample);
      state.Put(sample, found == state.unscored.end() ? std::string() : found->second);
    }
    state.out += '}';
  }
  state.file.Write(state.out + "}");
  state.file.Commit();
}

void WriteNuscenesResults(const std::filesystem::path& path, const NuscenesResults& results) {
  NuscenesResultsWriter writer(path, results.meta_json);
  const std::span<const NuscenesBox> boxes = results.boxes;
  for (size_t i = 0; i < results.sample_tokens.size(); ++i) {
    writer.Add(results.sample_tokens[i],
               boxes.subspan(static_cast<size_t>(results.first_box[i]),
                             static_cast<size_t>(results.first_box[i + 1] - results.first_box[i])));
  }
  writer.Commit();
}

NuscenesConfig ReadNuscenesConfig(const std::filesystem::path& path) {
  const std::string text = ReadFile(path);
  NuscenesConfig config;
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    const nlohmann::json& ranges = json.at("class_range");
    // Ours may also say how far animals count.
    const int classes =
        ranges.contains(kNuscenesClassNames.back()) ? kNuscenesAllClasses : kNuscenesClasses;
    ATHANOR_CHECK(static_cast<int>(ranges.size()) == classes, path.string(), ": expected ", classes,
                  " classes in class_range, found ", ranges.size());
    for (int c = 0; c < classes; ++c) {
      config.class_range_m[c] = ranges.at(std::string(kNuscenesClassNames[c])).get<double>();
    }
    const auto function = json.at("dist_fcn").get<std::string>();
    ATHANOR_CHECK(function == "center_distance", path.string(),
                  ": expected dist_fcn center_distance, found ", function);
    config.match_distances_m = json.at("dist_ths").get<std::vector<double>>();
    config.tp_distance_m = json.at("dist_th_tp").get<double>();
    config.min_recall = json.at("min_recall").get<double>();
    config.min_precision = json.at("min_precision").get<double>();
    config.max_boxes_per_sample = json.at("max_boxes_per_sample").get<int>();
    config.mean_ap_weight = json.at("mean_ap_weight").get<double>();
  } catch (const nlohmann::json::exception& error) {
    throw Error(
        StrCat(path.string(), ": expected a nuScenes detection configuration: ", error.what()));
  }
  return config;
}

void WriteNuscenesMetrics(const std::filesystem::path& folder, const NuscenesMetrics& metrics,
                          const std::vector<NuscenesCurve>& curves, const NuscenesConfig& config,
                          const std::string& meta_json) {
  const size_t distances = config.match_distances_m.size();
  IndentedJson summary;
  summary.Open("");
  summary.Open("label_aps");
  for (int c = 0; c < kNuscenesClasses; ++c) {
    summary.Open(kNuscenesClassNames[c]);
    for (size_t t = 0; t < distances; ++t) {
      summary.Number(PythonNumber(config.match_distances_m[t]), metrics.label_aps[c][t]);
    }
    summary.Close();
  }
  summary.Close();
  summary.Open("mean_dist_aps");
  for (int c = 0; c < kNuscenesClasses; ++c) {
    summary.Number(kNuscenesClassNames[c], metrics.mean_dist_aps[c]);
  }
  summary.Close();
  summary.Number("mean_ap", metrics.mean_ap);
  const auto write_errors = [&](std::string_view key, const NuscenesMetrics::Errors& errors) {
    summary.Open(key);
    for (int e = 0; e < kNuscenesErrors; ++e) summary.Number(kNuscenesErrorNames[e], errors[e]);
    summary.Close();
  };
  summary.Open("label_tp_errors");
  for (int c = 0; c < kNuscenesClasses; ++c) {
    write_errors(kNuscenesClassNames[c], metrics.label_tp_errors[c]);
  }
  summary.Close();
  write_errors("tp_errors", metrics.tp_errors);
  write_errors("tp_scores", metrics.tp_scores);
  summary.Number("nd_score", metrics.nd_score);
  summary.Number("eval_time", metrics.eval_time_s);
  summary.Open("cfg");
  summary.Open("class_range");
  for (int c = 0; c < kNuscenesClasses; ++c) {
    summary.Raw(kNuscenesClassNames[c], ConfigNumber(config.class_range_m[c]));
  }
  summary.Close();
  summary.Raw("dist_fcn", "\"center_distance\"");
  summary.Array("dist_ths", config.match_distances_m);
  summary.Number("dist_th_tp", config.tp_distance_m);
  summary.Number("min_recall", config.min_recall);
  summary.Number("min_precision", config.min_precision);
  summary.Raw("max_boxes_per_sample", std::to_string(config.max_boxes_per_sample));
  summary.Raw("mean_ap_weight", ConfigNumber(config.mean_ap_weight));
  summary.Close();
  std::string meta = nlohmann::ordered_json::parse(meta_json).dump(2);
  for (size_t at = 0; (at = meta.find('\n', at)) != std::string::npos; at += 3) {
    meta.replace(at, 1, "\n  ");
  }
  summary.Raw("meta", meta);
  summary.Close();

  IndentedJson details;
  details.Open("");
  for (int c = 0; c < kNuscenesClasses; ++c) {
    for (size_t t = 0; t < distances; ++t) {
      const NuscenesCurve& curve = curves.at(c * distances + t);
      details.Open(StrCat(kNuscenesClassNames[c], ":", PythonNumber(config.match_distances_m[t])));
      details.Array("recall", curve.recall);
      details.Array("precision", curve.precision);
      details.Array("confidence", curve.confidence);
      // In the devkit's order, which is not that of the summary.
      for (const int e : {0, 3, 1, 2, 4}) details.Array(kNuscenesErrorNames[e], curve.errors[e]);
      details.Close();
    }
  }
  details.Close();
  IndentedJson unscored;
  unscored.Open("");
  for (int c = kNuscenesClasses; c < kNuscenesAllClasses; ++c) {
    unscored.Open(kNuscenesClassNames[c]);
    unscored.Number("mean_dist_ap", metrics.mean_dist_aps[c]);
    unscored.Close();
  }
  unscored.Close();
  MakeFolder(folder);
  WriteFile(folder / "metrics_unscored.json", unscored.text());
  WriteFile(folder / "metrics_details.json", details.text());
  WriteFile(folder / "metrics_summary.json", summary.text());
}

}  // namespace athanor
